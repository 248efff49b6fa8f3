import Alert from "@cloudscape-design/components/alert";
import AttributeEditor from "@cloudscape-design/components/attribute-editor";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Checkbox from "@cloudscape-design/components/checkbox";
import Container from "@cloudscape-design/components/container";
import CopyToClipboard from "@cloudscape-design/components/copy-to-clipboard";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import Form from "@cloudscape-design/components/form";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import Input from "@cloudscape-design/components/input";
import Modal from "../ui/modal";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Tabs from "@cloudscape-design/components/tabs";
import Textarea from "@cloudscape-design/components/textarea";
import { useEffect, useRef, useState, type ReactNode } from "react";
import { useBlocker, useNavigate } from "react-router";
import { APIError, call, queries, session, useCall } from "../api";
import type { CreateProjectInput, Project, Tag, Webhook } from "../api.gen";
import { useCredentials } from "../source/credential";
import { useProviders } from "../source/providers";
import { describe, flash } from "../ui/flash";
import { Copyable, Text } from "../ui/text";
import { BuildspecFields } from "./buildspec";
import { awsCLI, importCLI, terraform, type Stored } from "./commands";
import {
  atProvider,
  check,
  fromProject,
  fromRefusal,
  fromWebhookRefusal,
  isGitHost,
  toCreate,
  toUpdate,
  toWebhook,
  toWebhookUpdate,
  versionsOf,
  webhookChanged,
  type Draft,
  type Had,
  type Problems,
} from "./draft";
import { EnvironmentFields } from "./environment";
import { Folded } from "./folded";
import { ArtifactsFields, CacheFields, LogsFields } from "./output";
import { SecondarySources, SourceFields, optional } from "./source";
import { WebhookFields } from "./webhook";

function Section({ title, description, children }: { title: string; description?: string; children: ReactNode }) {
  return (
    <Container
      header={
        <Header variant="h2" description={description}>
          {title}
        </Header>
      }
    >
      <SpaceBetween size="l">{children}</SpaceBetween>
    </Container>
  );
}

/** What has to be answered before it is saved. */
type Question = { about: "webhook" } | { about: "change"; fresh: Project; unhook: boolean };

/** The form that creates a project beginning with start, or changes the one that is given. reload begins anew with a project. */
export function ProjectForm({ start, project, reload }: { start: Draft; project?: Project; reload?: (p: Project) => void }) {
  const [draft, setDraft] = useState(start);
  const [had, setHad] = useState<Had>(project ? start : {}); // more of it once a part of saving has been done
  const [problems, setProblems] = useState<Problems>({});
  const [saving, setSaving] = useState(false);
  const [tried, setTried] = useState(0);
  const [question, setQuestion] = useState<Question>();
  const [half, setHalf] = useState(false);
  const [made, setMade] = useState<Webhook>();
  const saved = useRef(false);
  const seen = useRef(project); // as the server had it when it was last looked at
  const watched = useRef(start.project.source); // by the webhook
  const form = useRef<HTMLDivElement>(null);
  const navigate = useNavigate();
  const { providers } = useProviders();
  const { credentials } = useCredentials();
  const executor = useCall("DescribeServer", {}).data?.executor;
  const p = draft.project;
  const dirty = draft !== start;
  const blocker = useBlocker(() => dirty && !saved.current);

  const change = (patch: Partial<CreateProjectInput>) => setDraft((d) => ({ ...d, project: { ...d.project, ...patch } }));

  useEffect(() => {
    if (!dirty) return;
    const stay = (e: BeforeUnloadEvent) => {
      if (!saved.current) e.preventDefault();
    };
    addEventListener("beforeunload", stay);
    return () => removeEventListener("beforeunload", stay);
  }, [dirty]);

  useEffect(() => {
    // After a refusal the first field that is wrong gets the focus.
    if (tried > 0 && form.current) focusProblem(form.current);
  }, [tried]);

  function refuse(found: Problems) {
    if (session.ended()) return; // which the shell says; saving again is all there is to do
    setProblems(found);
    setTried((n) => n + 1);
  }

  async function save(had: Had, unhook = false) {
    const found = check(draft);
    if (Object.keys(found).length > 0) return refuse(found);
    if (had.webhook && !draft.webhook && !unhook) return setQuestion({ about: "webhook" });
    setProblems({});
    setSaving(true);
    try {
      if (had.project) {
        const fresh = (await call("BatchGetProjects", { names: [p.name] })).projects?.[0];
        if (fresh && JSON.stringify(fresh) !== JSON.stringify(seen.current)) {
          setSaving(false);
          return setQuestion({ about: "change", fresh, unhook });
        }
        seen.current = (await call("UpdateProject", toUpdate(draft, had.project))).project;
      } else {
        seen.current = (await call("CreateProject", toCreate(draft))).project;
      }
      setHad({ ...had, project: p });
    } catch (e) {
      setSaving(false);
      return refuse(e instanceof APIError && e.status === 400 ? fromRefusal(describe(e)) : { "": describe(e) });
    }
    let hook: Webhook | undefined;
    try {
      if (draft.webhook && !had.webhook) hook = (await call("CreateWebhook", { projectName: p.name, ...toWebhook(draft.webhook) })).webhook;
      else if (had.webhook && !draft.webhook) await call("DeleteWebhook", { projectName: p.name });
      else if (draft.webhook && had.webhook && webhookChanged(draft, had.webhook, watched.current)) {
        hook = (await call("UpdateWebhook", { projectName: p.name, ...toWebhookUpdate(draft.webhook) })).webhook;
      }
    } catch (e) {
      setSaving(false);
      setHalf(true);
      void queries.invalidateQueries();
      return refuse(fromWebhookRefusal(describe(e), draft.webhook?.filterGroups));
    }
    saved.current = true;
    await queries.invalidateQueries();
    if (hook?.secret || hook?.statusMessage) setMade(hook);
    else leave();
  }

  function leave() {
    flash("success", project ? `Saved project ${p.name}` : `Created project ${p.name}`);
    navigate(`/projects/${encodeURIComponent(p.name)}`);
  }

  /** The form is about what somebody else made of the project meanwhile. */
  function overwrite(fresh: Project, unhook: boolean) {
    const now = fromProject(fresh);
    seen.current = fresh;
    watched.current = now.project.source;
    setHad(now);
    setQuestion(undefined);
    void save(now, unhook);
  }

  const provider = providers.find((o) => o.serverType === p.source.type);
  const credential = credentials.find((c) => c.serverType === p.source.type);
  const halfSaved = half && p === had.project;
  const elsewhere = unplaced(problems);

  return (
    <div ref={form}>
      <Form
        actions={
          <SpaceBetween direction="horizontal" size="xs">
            <Button variant="link" onClick={() => navigate(had.project ? `/projects/${encodeURIComponent(p.name)}` : "/projects")}>
              Cancel
            </Button>
            <Button variant="primary" loading={saving} onClick={() => void save(had)}>
              {had.project ? "Update project" : "Create build project"}
            </Button>
          </SpaceBetween>
        }
        errorText={
          Object.keys(problems).length > 0 && (
            <>
              {halfSaved && <div>The project is saved, its webhook is not.</div>}
              {elsewhere.map(([k, v]) => (
                <div key={k}>
                  <Text lines>{k ? `${k}: ${v}` : v}</Text>
                </div>
              ))}
              {elsewhere.length === 0 && <div>{halfSaved ? "" : "Not saved. "}The fields that are marked say why.</div>}
            </>
          )
        }
      >
        <SpaceBetween size="l">
          <Section title="Project configuration">
            <FormField label="Project name" description={had.project ? "A project keeps its name." : "A project name must be 2 to 150 characters. It can include letters, digits, dashes and underscores."} errorText={problems["name"] && <Text>{problems["name"]}</Text>}>
              <Input value={p.name} disabled={!!had.project} onChange={(e) => change({ name: e.detail.value.trim() })} spellcheck={false} autoFocus={!project} />
            </FormField>
            <FormField label={optionally("Description")} errorText={problems["description"] && <Text>{problems["description"]}</Text>}>
              <Textarea value={p.description ?? ""} onChange={(e) => change({ description: optional(e.detail.value) })} rows={2} />
            </FormField>
            <Folded title="Additional configuration" description="Build badge, concurrent build limit, tags" open={!!p.badgeEnabled || !!p.concurrentBuildLimit || !!p.tags?.length} problems={problems} about={/^(badgeEnabled|concurrentBuildLimit|tags)/}>
              <SpaceBetween size="l">
                <FormField label="Build badge">
                  <Checkbox checked={p.badgeEnabled ?? false} onChange={(e) => change({ badgeEnabled: e.detail.checked })} description="A picture with the state of the newest build, at an address that is public and cannot be guessed.">
                    Enable build badge
                  </Checkbox>
                </FormField>
                <FormField label="Concurrent build limit" errorText={problems["concurrentBuildLimit"] && <Text>{problems["concurrentBuildLimit"]}</Text>}>
                  <SpaceBetween size="xs">
                    <Checkbox checked={p.concurrentBuildLimit !== undefined} onChange={(e) => change({ concurrentBuildLimit: e.detail.checked ? 1 : undefined })}>
                      Restrict number of concurrent builds this project can start
                    </Checkbox>
                    {p.concurrentBuildLimit !== undefined && (
                      <Input
                        type="number"
                        inputMode="numeric"
                        ariaLabel="Concurrent build limit"
                        value={Number.isNaN(p.concurrentBuildLimit) ? "" : String(p.concurrentBuildLimit)}
                        onChange={(e) => change({ concurrentBuildLimit: e.detail.value === "" ? NaN : Math.trunc(Number(e.detail.value)) })}
                      />
                    )}
                  </SpaceBetween>
                </FormField>
                <FormField label="Tags" errorText={problems["tags"] && <Text>{problems["tags"]}</Text>} stretch>
                  <Tags tags={p.tags ?? []} onChange={(tags) => change({ tags })} problems={problems} />
                </FormField>
              </SpaceBetween>
            </Folded>
          </Section>

          <Section title="Source">
            <Header variant="h3">Source 1 - Primary</Header>
            <SourceFields
              primary
              at="source"
              source={p.source}
              version={p.sourceVersion}
              problems={problems}
              onChange={(source) => {
                change({ source });
                if (source.type === p.source.type) return;
                const next = providers.find((o) => o.serverType === source.type);
                setDraft((d) => ({ ...d, webhook: isGitHost(source.type) ? atProvider(d.webhook, next?.events ?? [], next?.approverRoles ?? []) : undefined }));
              }}
              onVersion={(sourceVersion) => change({ sourceVersion })}
            />
            <Folded title="Secondary sources" description="Up to 12 more, each in a directory of its own" open={!!p.secondarySources?.length} problems={problems} about={/^secondarySource/}>
              <SecondarySources
                sources={p.secondarySources ?? []}
                versions={versionsOf(draft)}
                problems={problems}
                onChange={(secondarySources, versions) => setDraft((d) => ({ ...d, project: { ...d.project, secondarySources }, versions }))}
              />
            </Folded>
          </Section>

          {provider && (provider.events?.length ?? 0) > 0 && (
            <Section title="Primary source webhook events">
              <WebhookFields
                webhook={draft.webhook}
                onChange={(webhook) => setDraft((d) => ({ ...d, webhook }))}
                provider={provider}
                problems={problems}
                had={had.webhook}
                project={had.project && sameSource(had.project, p) ? p.name : undefined}
                location={p.source.location}
                connected={!!credential}
              />
            </Section>
          )}

          <Section title="Environment">
            <EnvironmentFields project={p} onChange={change} problems={problems} executor={executor} />
          </Section>

          <Section title="Buildspec">
            <BuildspecFields source={p.source} onChange={(buildspec) => change({ source: { ...p.source, buildspec } })} problems={problems} />
          </Section>

          <Section title="Artifacts">
            <ArtifactsFields artifacts={p.artifacts} onChange={(artifacts) => change({ artifacts })} problems={problems} />
            <Folded title="Additional configuration" description="Cache" open={(p.cache?.type ?? "NO_CACHE") !== "NO_CACHE"} problems={problems} about={/^cache/}>
              <CacheFields cache={p.cache} onChange={(cache) => change({ cache })} problems={problems} />
            </Folded>
          </Section>

          <Section title="Logs">
            <LogsFields logs={p.logsConfig} onChange={(logsConfig) => change({ logsConfig })} problems={problems} />
          </Section>

          <Commands draft={draft} had={had} credential={credential} />
        </SpaceBetween>
      </Form>
      {blocker.state === "blocked" && (
        <Modal
          visible
          header="Leave without saving?"
          closeAriaLabel="Stay"
          onDismiss={() => blocker.reset()}
          footer={
            <Box float="right">
              <SpaceBetween direction="horizontal" size="xs">
                <Button variant="link" onClick={() => blocker.reset()}>
                  Stay
                </Button>
                <Button variant="primary" onClick={() => blocker.proceed()}>
                  Leave
                </Button>
              </SpaceBetween>
            </Box>
          }
        >
          {halfSaved ? "The project is saved. What you changed of its webhook is not." : "What you changed in this form is not saved. Credentials that you saved in it are."}
        </Modal>
      )}
      {question?.about === "webhook" && (
        <Ask
          header="Delete the webhook?"
          answers={[
            ["Cancel", () => setQuestion(undefined)],
            [
              "Delete the webhook",
              () => {
                setQuestion(undefined);
                void save(had, true);
              },
            ],
          ]}
        >
          The project is saved without a webhook: it is deleted, here and at the provider, and what happens in the repository starts no builds any more.
        </Ask>
      )}
      {question?.about === "change" && (
        <Ask
          header="The project was changed meanwhile"
          answers={[
            ["Cancel", () => setQuestion(undefined)],
            ["Reload", () => reload?.(question.fresh)],
            ["Overwrite", () => overwrite(question.fresh, question.unhook)],
          ]}
        >
          Since this form was opened, somebody else changed the project. Reload begins the form anew with what the project is now; Overwrite makes the project what the form says.
        </Ask>
      )}
      {made && <Made webhook={made} provider={provider?.name ?? "the provider"} onClose={leave} />}
    </div>
  );
}

/** A dialog with a question; the last answer is the one that goes on. */
function Ask({ header, answers, children }: { header: string; answers: [string, () => void][]; children: ReactNode }) {
  return (
    <Modal
      visible
      header={header}
      closeAriaLabel="Close"
      onDismiss={answers[0]![1]}
      footer={
        <Box float="right">
          <SpaceBetween direction="horizontal" size="xs">
            {answers.map(([text, go], i) => (
              <Button key={text} variant={i === 0 ? "link" : i === answers.length - 1 ? "primary" : "normal"} onClick={go}>
                {text}
              </Button>
            ))}
          </SpaceBetween>
        </Box>
      }
    >
      {children}
    </Modal>
  );
}

/** What has to be entered at the provider, with the secret that no later answer has. */
function Made({ webhook: w, provider, onClose }: { webhook: Webhook; provider: string; onClose: () => void }) {
  return (
    <Ask header="The webhook" answers={[["Close", onClose]]}>
      <SpaceBetween size="m">
        {w.statusMessage && (
          <Alert type="warning">
            <Text lines>{w.statusMessage}</Text>
          </Alert>
        )}
        {w.secret && <Box>Enter these at {provider}, in the settings of the repository. Its events are to be sent as JSON.</Box>}
        {w.payloadUrl && (
          <FormField label="Payload URL">
            <Copyable what="the payload URL">{w.payloadUrl}</Copyable>
          </FormField>
        )}
        {w.secret && (
          <FormField label="Secret" description="It is shown this once.">
            <Copyable what="the secret">{w.secret}</Copyable>
          </FormField>
        )}
      </SpaceBetween>
    </Ask>
  );
}

/** Whether two projects are built from the same repository, with the same credential. */
function sameSource(a: CreateProjectInput, b: CreateProjectInput): boolean {
  const of = ({ source: { type, location, auth } }: CreateProjectInput) => JSON.stringify([type, location, auth]);
  return of(a) === of(b);
}

/** Gives the focus to the first field that is marked as wrong. */
function focusProblem(form: HTMLElement) {
  const first = form.querySelector<HTMLElement>('[aria-invalid="true"], [id$="-error"]');
  const field = first?.matches('[aria-invalid="true"]') ? first : first && form.querySelector<HTMLElement>(`[aria-describedby~="${CSS.escape(first.id)}"]`);
  field?.focus();
  (field ?? first)?.scrollIntoView({ block: "center" });
}

function optionally(label: string) {
  return (
    <>
      {label} <i>- optional</i>
    </>
  );
}

/** Problems that no field of the form shows. */
function unplaced(problems: Problems): [string, string][] {
  const shown =
    /^(name|description|concurrentBuildLimit|tags(\.\d+\.member\.(key|value))?|serviceRole|timeoutInMinutes|queuedTimeoutInMinutes|sourceVersion|webhook|logsConfig|cache\.(location|modes)|artifacts\.location|filterGroups\..*|environment\.(image|type|computeType|certificate|environmentVariables(\.\d+\.member\.(name|value))?)|source\.(type|location|gitCloneDepth|buildspec|auth\.resource)|secondarySources\.\d+\.member\.(type|location|gitCloneDepth|sourceIdentifier|auth\.resource))$/;
  return Object.entries(problems).filter(([k]) => !shown.test(k));
}

function Tags({ tags, onChange, problems }: { tags: Tag[]; onChange: (t: Tag[]) => void; problems: Problems }) {
  const set = (i: number, patch: Tag) => onChange(tags.map((t, j) => (j === i ? { ...t, ...patch } : t)));
  return (
    <AttributeEditor
      items={tags}
      addButtonText="Add tag"
      removeButtonText="Remove"
      removeButtonAriaLabel={(t) => `Remove tag ${t.key ?? ""}`}
      disableAddButton={tags.length >= 50}
      empty="There are none."
      onAddButtonClick={() => onChange([...tags, { key: "", value: "" }])}
      onRemoveButtonClick={(e) => onChange(tags.filter((_, i) => i !== e.detail.itemIndex))}
      definition={[
        {
          label: "Key",
          control: (t, i) => <Input value={t.key ?? ""} onChange={(e) => set(i, { key: e.detail.value })} ariaLabel={`Key of tag ${i + 1}`} />,
          errorText: (_, i) => problems[`tags.${i + 1}.member.key`],
        },
        {
          label: "Value",
          control: (t, i) => <Input value={t.value ?? ""} onChange={(e) => set(i, { value: e.detail.value })} ariaLabel={`Value of tag ${i + 1}`} />,
          errorText: (_, i) => problems[`tags.${i + 1}.member.value`],
        },
      ]}
    />
  );
}

/** The same as commands and as configuration, to take along. */
function Commands({ draft, had, credential }: { draft: Draft; had: Had; credential: Stored | undefined }) {
  const [open, setOpen] = useState(false);
  return (
    <ExpandableSection
      variant="container"
      headerText="As AWS CLI and Terraform"
      headerDescription="What was filled in above, for a shell or a repository"
      expanded={open}
      onChange={(e) => setOpen(e.detail.expanded)}
    >
      {open && (
        <Tabs
          ariaLabel="Forms of the project"
          tabs={[
            { id: "cli", label: "AWS CLI", content: <Code what="the commands" text={(credential && !had.project ? importCLI(credential) + "\n" : "") + awsCLI(draft, had)} /> },
            { id: "terraform", label: "Terraform", content: <Code what="the configuration" text={terraform(draft, credential)} /> },
          ]}
        />
      )}
    </ExpandableSection>
  );
}

function Code({ text, what }: { text: string; what: string }) {
  return (
    <SpaceBetween size="s">
      <CopyToClipboard textToCopy={text} copyButtonText="Copy" copyButtonAriaLabel={`Copy ${what}`} copySuccessText="Copied" copyErrorText="The browser did not copy" />
      {text.includes("token.txt") && <Alert type="info">The token is in a file of yours, token.txt. It is never shown here.</Alert>}
      <pre className="code-block" tabIndex={0} aria-label={what}>
        {text}
      </pre>
    </SpaceBetween>
  );
}

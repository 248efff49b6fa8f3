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
import type { CreateProjectInput, Tag } from "../api.gen";
import { useCredentials } from "../source/credential";
import { useProviders } from "../source/providers";
import { describe, flash } from "../ui/flash";
import { Text } from "../ui/text";
import { BuildspecFields } from "./buildspec";
import { awsCLI, importCLI, terraform, type Stored } from "./commands";
import { check, fromRefusal, isGitHost, toCreate, toUpdate, toWebhook, toWebhookUpdate, type Draft, type Problems } from "./draft";
import { EnvironmentFields } from "./environment";
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

/** The form that creates a project, or changes the one that it began with. */
export function ProjectForm({ start, had }: { start: Draft; had: { project: boolean; webhook: boolean } }) {
  const [draft, setDraft] = useState(start);
  const [problems, setProblems] = useState<Problems>({});
  const [saving, setSaving] = useState(false);
  const [tried, setTried] = useState(0);
  const saved = useRef(false);
  const exists = useRef(had); // also true once a part of saving has been done
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
    if (tried > 0) form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  }, [tried]);

  function refuse(found: Problems) {
    if (session.ended()) return; // which the shell says; saving again is all there is to do
    setProblems(found);
    setTried((n) => n + 1);
  }

  async function save() {
    const found = check(draft);
    if (Object.keys(found).length > 0) return refuse(found);
    setProblems({});
    setSaving(true);
    try {
      if (exists.current.project) await call("UpdateProject", toUpdate(draft));
      else await call("CreateProject", toCreate(draft));
      exists.current = { ...exists.current, project: true };
    } catch (e) {
      setSaving(false);
      return refuse(e instanceof APIError && e.status === 400 ? fromRefusal(describe(e)) : { "": describe(e) });
    }
    try {
      if (draft.webhook) {
        if (exists.current.webhook) await call("UpdateWebhook", { projectName: p.name, ...toWebhookUpdate(draft.webhook) });
        else await call("CreateWebhook", { projectName: p.name, ...toWebhook(draft.webhook) });
      } else if (exists.current.webhook) {
        await call("DeleteWebhook", { projectName: p.name });
      }
    } catch (e) {
      setSaving(false);
      void queries.invalidateQueries();
      return refuse({ webhook: `The project is saved, its webhook is not. ${describe(e)}` });
    }
    saved.current = true;
    await queries.invalidateQueries();
    flash("success", had.project ? `Saved project ${p.name}` : `Created project ${p.name}`);
    navigate(`/projects/${encodeURIComponent(p.name)}`);
  }

  const provider = providers.find((o) => o.serverType === p.source.type);
  const credential = credentials.find((c) => c.serverType === p.source.type);
  const versions = Object.fromEntries((p.secondarySourceVersions ?? []).map((v) => [v.sourceIdentifier, v.sourceVersion]));
  const elsewhere = unplaced(problems);

  return (
    <div ref={form}>
      <Form
        actions={
          <SpaceBetween direction="horizontal" size="xs">
            <Button variant="link" onClick={() => navigate(had.project ? `/projects/${encodeURIComponent(p.name)}` : "/projects")}>
              Cancel
            </Button>
            <Button variant="primary" loading={saving} onClick={() => void save()}>
              {exists.current.project ? "Update project" : "Create build project"}
            </Button>
          </SpaceBetween>
        }
        errorText={
          elsewhere.length > 0
            ? elsewhere.map(([k, v]) => (
                <div key={k}>
                  <Text lines>{k ? `${k}: ${v}` : v}</Text>
                </div>
              ))
            : Object.keys(problems).length > 0
              ? "Not saved. The fields that are marked say why."
              : undefined
        }
      >
        <SpaceBetween size="l">
          <Section title="Project configuration">
            <FormField label="Project name" description={had.project ? "A project keeps its name." : "A project name must be 2 to 150 characters. It can include letters, digits, dashes and underscores."} errorText={problems["name"] && <Text>{problems["name"]}</Text>}>
              <Input value={p.name} disabled={had.project} onChange={(e) => change({ name: e.detail.value.trim() })} spellcheck={false} autoFocus={!had.project} />
            </FormField>
            <FormField label={optionally("Description")} errorText={problems["description"] && <Text>{problems["description"]}</Text>}>
              <Textarea value={p.description ?? ""} onChange={(e) => change({ description: optional(e.detail.value) })} rows={2} />
            </FormField>
            <ExpandableSection headerText="Additional configuration" headerDescription="Build badge, concurrent build limit, tags" defaultExpanded={!!p.badgeEnabled || !!p.concurrentBuildLimit || !!p.tags?.length}>
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
            </ExpandableSection>
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
                if (!isGitHost(source.type)) setDraft((d) => ({ ...d, webhook: undefined }));
              }}
              onVersion={(sourceVersion) => change({ sourceVersion })}
            />
            <ExpandableSection headerText="Secondary sources" headerDescription="Up to 12 more, each in a directory of its own" defaultExpanded={!!p.secondarySources?.length}>
              <SecondarySources
                sources={p.secondarySources ?? []}
                versions={versions}
                problems={problems}
                onChange={(secondarySources, v) =>
                  change({
                    secondarySources,
                    secondarySourceVersions: secondarySources.flatMap((s) => {
                      const version = v[s.sourceIdentifier ?? ""];
                      return version ? [{ sourceIdentifier: s.sourceIdentifier ?? "", sourceVersion: version }] : [];
                    }),
                  })
                }
              />
            </ExpandableSection>
          </Section>

          {provider && (provider.events?.length ?? 0) > 0 && (
            <Section title="Primary source webhook events">
              <WebhookFields
                webhook={draft.webhook}
                onChange={(webhook) => setDraft((d) => ({ ...d, webhook }))}
                provider={provider}
                problems={problems}
                project={had.project ? p.name : undefined}
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
            <ExpandableSection headerText="Additional configuration" headerDescription="Cache" defaultExpanded={(p.cache?.type ?? "NO_CACHE") !== "NO_CACHE"}>
              <CacheFields cache={p.cache} onChange={(cache) => change({ cache })} problems={problems} />
            </ExpandableSection>
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
          What you changed in this form is not saved. Credentials that you saved in it are.
        </Modal>
      )}
    </div>
  );
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
    /^(name|description|concurrentBuildLimit|tags(\.\d+\.member\.(key|value))?|serviceRole|timeoutInMinutes|queuedTimeoutInMinutes|sourceVersion|webhook|logsConfig|cache\.(location|modes)|artifacts\.location|filterGroups\..*|environment\.(image|type|computeType|certificate|environmentVariables(\.\d+\.member\.(name|value))?)|source\.(type|location|gitCloneDepth|buildspec)|secondarySources\.\d+\.member\.(type|location|gitCloneDepth|sourceIdentifier))$/;
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
function Commands({ draft, had, credential }: { draft: Draft; had: { project: boolean; webhook: boolean }; credential: Stored | undefined }) {
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

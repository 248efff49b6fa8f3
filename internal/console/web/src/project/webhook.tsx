import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Checkbox from "@cloudscape-design/components/checkbox";
import Container from "@cloudscape-design/components/container";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import FormField from "@cloudscape-design/components/form-field";
import Grid from "@cloudscape-design/components/grid";
import Header from "@cloudscape-design/components/header";
import Input from "@cloudscape-design/components/input";
import Multiselect from "@cloudscape-design/components/multiselect";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import Textarea from "@cloudscape-design/components/textarea";
import { useState } from "react";
import { useMutation } from "@tanstack/react-query";
import { call, type APIError, type Input as In, type Output } from "../api";
import { PullRequestBuildCommentApprovalValues, type PullRequestBuildApproverRole, type WebhookFilter, type WebhookFilterType, type WebhookScopeType } from "../api.gen";
import type { Provider } from "../source/providers";
import { Failure } from "../ui/state";
import { Text } from "../ui/text";
import { atProvider, firstWebhook, type Problems, type WebhookDraft } from "./draft";
import { sample } from "./sample";

interface FilterType {
  value: WebhookFilterType;
  label: string;
  example: string;
  /** A name: without ^ and $, the pattern also matches longer ones. */
  name?: boolean;
  /** The event without which it has nothing to match. */
  of?: string;
  /** It is for webhooks of more than one repository, or for those with this scope. */
  scope?: true | WebhookScopeType;
}

const filterTypes: FilterType[] = [
  { value: "HEAD_REF", label: "Head reference", example: "^refs/heads/main$", name: true },
  { value: "BASE_REF", label: "Base reference", example: "^refs/heads/main$", name: true },
  { value: "ACTOR_ACCOUNT_ID", label: "Actor account ID", example: "12345678" },
  { value: "FILE_PATH", label: "File path", example: "^src/" },
  { value: "COMMIT_MESSAGE", label: "Commit message", example: "\\[build\\]" },
  { value: "TAG_NAME", label: "Tag name", example: "^v\\d", of: "RELEASED" },
  { value: "RELEASE_NAME", label: "Release name", example: "^v\\d", of: "RELEASED" },
  { value: "REPOSITORY_NAME", label: "Repository name", example: "^shop$", name: true, scope: true },
  { value: "ORGANIZATION_NAME", label: "Organization name", example: "^octo$", name: true, scope: "GITHUB_GLOBAL" },
];

const approval: Record<string, string> = {
  DISABLED: "Builds start without approval",
  ALL_PULL_REQUESTS: "All pull requests need a comment of somebody who may approve",
  FORK_PULL_REQUESTS: "Pull requests from forks need a comment of somebody who may approve",
};

/** PULL_REQUEST_CREATED as words. */
export const words = (s: string) => s.charAt(0) + s.slice(1).toLowerCase().replaceAll("_", " ");

/** GITHUB_WRITE as the provider's own word for the role. */
export const role = (r: string) => words(r.replace(/^[A-Z]+_/, ""));

const events = (g: WebhookFilter[]) =>
  (g.find((f) => f.type === "EVENT")?.pattern ?? "")
    .split(",")
    .map((e) => e.trim())
    .filter(Boolean);

interface Props {
  webhook: WebhookDraft | undefined;
  onChange: (w: WebhookDraft | undefined) => void;
  provider: Provider;
  problems: Problems;
  /** The webhook that there is. */
  had: WebhookDraft | undefined;
  /** The name of the project if it exists with this source, whose credential the tester then uses. */
  project?: string;
  /** The address of the repository. */
  location: string | undefined;
  connected: boolean;
}

/** Which events of the provider start a build. */
export function WebhookFields({ webhook, onChange, provider, problems, had, project, location, connected }: Props) {
  const groups = webhook?.filterGroups ?? [];
  const scope = webhook?.scopeConfiguration?.scope;
  const types = filterTypes.filter((t) => (!t.of || provider.events?.includes(t.of)) && (!t.scope || (t.scope === true ? scope : t.scope === scope)));
  const setGroups = (filterGroups: WebhookFilter[][]) => onChange({ ...webhook, filterGroups });
  const policy = webhook?.pullRequestBuildPolicy;
  const approvalOf = (p: typeof policy) => p?.requiresCommentApproval ?? "ALL_PULL_REQUESTS";
  return (
    <SpaceBetween size="l">
      <FormField label="Webhook" errorText={problems["webhook"] && <Text lines>{problems["webhook"]}</Text>}>
        <Checkbox
          checked={!!webhook}
          onChange={(e) => onChange(e.detail.checked ? ((project ? had : atProvider(had, provider.events ?? [], provider.approverRoles ?? [])) ?? firstWebhook) : undefined)}
          description={!connected ? "Needs a connection to the provider whose token may make webhooks." : undefined}
        >
          Rebuild every time a code change is pushed to this repository
        </Checkbox>
      </FormField>
      {webhook && !had && (
        <Checkbox
          checked={webhook.manualCreation ?? false}
          onChange={(e) => onChange({ ...webhook, manualCreation: e.detail.checked || undefined })}
          description="The provider is not asked for it. The address and the secret to enter there are shown once, when it is created here."
        >
          Manually create a webhook for this repository in {provider.name} console
        </Checkbox>
      )}
      {webhook && had && provider.serverType !== "BITBUCKET" && (
        <Checkbox
          checked={webhook.rotateSecret ?? false}
          onChange={(e) => onChange({ ...webhook, rotateSecret: e.detail.checked || undefined })}
          description={had.manualCreation ? "The new secret is shown once, to be entered at the provider within a minute." : "The provider is told the new secret."}
        >
          Rotate webhook secret
        </Checkbox>
      )}
      {webhook && webhook.branchFilter && (
        <Alert type="info" action={<Button onClick={() => onChange({ ...webhook, branchFilter: undefined, filterGroups: [[{ type: "EVENT", pattern: "PUSH" }]] })}>Use filter groups</Button>}>
          This webhook has a branch filter: <Text code>{webhook.branchFilter}</Text>
        </Alert>
      )}
      {webhook && !webhook.branchFilter && (
        <SpaceBetween size="l">
          <Box color="text-body-secondary">
            {groups.length > 0
              ? "A build starts when an event fits one of the groups. It fits a group when it is one of its events and every condition holds."
              : "Without a filter group every push starts a build, and every pull request that is created, updated or reopened."}
          </Box>
          {groups.map((g, i) => (
            <Group
              key={i}
              number={i + 1}
              group={g}
              types={types}
              provider={provider}
              problems={problems}
              at={`filterGroups.${i}`}
              onChange={(n) => setGroups(groups.map((o, j) => (j === i ? n : o)))}
              onRemove={() => setGroups(groups.filter((_, j) => j !== i))}
            />
          ))}
          <Button iconName="add-plus" onClick={() => setGroups([...groups, [{ type: "EVENT", pattern: "PUSH" }]])}>
            Add filter group
          </Button>
          <FormField label="Pull requests" description="Who may have their pull requests built.">
            <Select
              selectedOption={{ value: approvalOf(policy), label: approval[approvalOf(policy)] }}
              options={PullRequestBuildCommentApprovalValues.map((v) => ({ value: v, label: approval[v] }))}
              onChange={(e) => {
                const v = PullRequestBuildCommentApprovalValues.find((o) => o === e.detail.selectedOption.value);
                onChange({ ...webhook, pullRequestBuildPolicy: v && { ...policy, requiresCommentApproval: v } });
              }}
            />
          </FormField>
          {policy && policy.requiresCommentApproval !== "DISABLED" && (provider.approverRoles?.length ?? 0) > 0 && (
            <FormField
              label={
                <>
                  Who may approve <i>- optional</i>
                </>
              }
              description="Roles at the provider."
            >
              <Multiselect
                selectedOptions={(policy.approverRoles ?? []).map((r) => ({ value: r, label: role(r) }))}
                options={provider.approverRoles!.map((r) => ({ value: r, label: role(r) }))}
                onChange={(e) =>
                  onChange({
                    ...webhook,
                    pullRequestBuildPolicy: { ...policy, approverRoles: e.detail.selectedOptions.map((o) => o.value as PullRequestBuildApproverRole) },
                  })
                }
                placeholder="By default those who may write"
                deselectAriaLabel={(o) => `Remove ${o.label}`}
              />
            </FormField>
          )}
          <Tester key={provider.serverType} project={project && had ? project : undefined} groups={groups} provider={provider} location={location} />
        </SpaceBetween>
      )}
    </SpaceBetween>
  );
}

function Group({
  number,
  group,
  types,
  provider,
  problems,
  at,
  onChange,
  onRemove,
}: {
  number: number;
  group: WebhookFilter[];
  types: FilterType[];
  provider: Provider;
  problems: Problems;
  at: string;
  onChange: (g: WebhookFilter[]) => void;
  onRemove: () => void;
}) {
  const known = [...new Set([...(provider.events ?? ["PUSH"]), ...events(group)])];
  const conditions = group.map((f, j) => ({ f, j })).filter(({ f }) => f.type !== "EVENT");
  const setEvents = (list: string[]) => onChange([{ type: "EVENT", pattern: list.join(", ") }, ...group.filter((f) => f.type !== "EVENT")]);
  const set = (j: number, patch: Partial<WebhookFilter>) => onChange(group.map((f, k) => (k === j ? { ...f, ...patch } : f)));
  return (
    <Container
      header={
        <Header variant="h3" actions={<Button onClick={onRemove} ariaLabel={`Remove filter group ${number}`}>Remove</Button>}>
          Filter group {number}
        </Header>
      }
    >
      <SpaceBetween size="m">
        <FormField label="Event type" errorText={problems[`${at}.events`] && <Text>{problems[`${at}.events`]}</Text>}>
          <Multiselect
            selectedOptions={events(group).map((e) => ({ value: e, label: words(e) }))}
            options={known.map((e) => ({ value: e, label: words(e) }))}
            onChange={(e) => setEvents(e.detail.selectedOptions.map((o) => o.value!))}
            placeholder="Choose events"
            deselectAriaLabel={(o) => `Remove ${o.label}`}
          />
        </FormField>
        {conditions.map(({ f, j }, n) => {
          const type = filterTypes.find((t) => t.value === f.type) ?? { value: f.type, label: words(f.type), example: "", name: false };
          return (
            <Grid key={j} gridDefinition={[{ colspan: { default: 12, s: 3 } }, { colspan: { default: 12, s: 3 } }, { colspan: { default: 12, s: 4 } }, { colspan: { default: 12, s: 2 } }]}>
              <FormField label={`Condition ${n + 1}`}>
                <Select
                  selectedOption={{ value: type.value, label: type.label }}
                  options={types.map(({ value, label }) => ({ value, label }))}
                  onChange={(e) => set(j, { type: e.detail.selectedOption.value as WebhookFilterType })}
                />
              </FormField>
              <FormField label="The build">
                <Select
                  selectedOption={f.excludeMatchedPattern ? { value: "no", label: "does not start if it matches" } : { value: "yes", label: "starts if it matches" }}
                  options={[
                    { value: "yes", label: "starts if it matches" },
                    { value: "no", label: "does not start if it matches" },
                  ]}
                  onChange={(e) => set(j, { excludeMatchedPattern: e.detail.selectedOption.value === "no" || undefined })}
                />
              </FormField>
              <FormField
                label="Pattern"
                errorText={problems[`${at}.${j}`] && <Text>{problems[`${at}.${j}`]}</Text>}
                warningText={type.name && f.pattern && !/^\^.*\$$/.test(f.pattern) ? "Without ^ and $ around it this also matches longer names that contain it." : undefined}
              >
                <Input value={f.pattern} onChange={(e) => set(j, { pattern: e.detail.value })} placeholder={type.example} spellcheck={false} />
              </FormField>
              <FormField label={<span className="spacer">&nbsp;</span>}>
                <Button onClick={() => onChange(group.filter((_, k) => k !== j))} ariaLabel={`Remove condition ${n + 1} of filter group ${number}`}>
                  Remove
                </Button>
              </FormField>
            </Grid>
          );
        })}
        <Button iconName="add-plus" onClick={() => onChange([...group, { type: "HEAD_REF", pattern: "" }])}>
          Add condition
        </Button>
      </SpaceBetween>
    </Container>
  );
}

type Results = NonNullable<Output<"TestWebhook">["results"]>;

/** Asks the server which group a delivery would fit, without starting a build. */
function Tester({ project, groups, provider, location }: { project: string | undefined; groups: WebhookFilter[][]; provider: Provider; location: string | undefined }) {
  const example = sample(provider.serverType, location);
  const [headers, setHeaders] = useState(example.headers);
  const [payload, setPayload] = useState("");
  const test = useMutation<Output<"TestWebhook">, APIError, In<"TestWebhook">>({ mutationFn: (input) => call("TestWebhook", input) });
  const results: Results = test.data?.results ?? [];
  return (
    <ExpandableSection headerText="Test the filter groups" headerDescription="With a delivery of the provider, as it shows them on the page of the webhook. No build is started.">
      <SpaceBetween size="m">
        {headers.map((h, i) => (
          <FormField key={h.name} label={`Header ${h.name}`}>
            <Input value={h.value ?? ""} onChange={(e) => setHeaders(headers.map((o, j) => (j === i ? { ...o, value: e.detail.value } : o)))} spellcheck={false} />
          </FormField>
        ))}
        <FormField label="Payload" description="The JSON of the delivery.">
          <Textarea value={payload} onChange={(e) => setPayload(e.detail.value)} rows={8} spellcheck={false} />
        </FormField>
        <SpaceBetween direction="horizontal" size="xs">
          <Button onClick={() => setPayload(example.push)}>Insert a sample push</Button>
          <Button
            loading={test.isPending}
            disabled={!payload.trim() || !location}
            disabledReason={location ? undefined : "Choose the repository first."}
            onClick={() => test.mutate({ ...(project ? { projectName: project } : { source: { type: provider.serverType, location: location! } }), headers, payload, filterGroups: groups })}
          >
            Test
          </Button>
        </SpaceBetween>
        <div aria-live="polite">
          {test.error && <Failure what="the verdict" error={test.error} />}
          {results.map((r, i) => (
            <SpaceBetween key={i} size="xs">
              <StatusIndicator type={r.outcome === "WOULD_START" || r.outcome === "STARTED" ? "success" : r.outcome === "AWAITING_APPROVAL" ? "pending" : "stopped"}>
                {r.outcome === "WOULD_START" ? `A build would start, by group ${r.groups?.find((g) => g.matched)?.group ?? "-"}` : words(r.outcome ?? "")}
              </StatusIndicator>
              <Box>
                <Text>{[r.event && words(r.event), r.headRef, r.baseRef && `into ${r.baseRef}`, (r.login || r.actor) && `by ${[r.login, r.actor].filter(Boolean).join(", account ID ")}`].filter(Boolean).join(" ")}</Text>
              </Box>
              {r.reason && <Text lines>{r.reason}</Text>}
              {r.note && <Text lines>{r.note}</Text>}
              <ul className="plain">
                {(r.groups ?? []).map((g) => (
                  <li key={g.group}>
                    Group {g.group} {g.matched ? "matches" : "does not match"}
                    {g.reason && <Text>{`: ${g.reason}`}</Text>}
                  </li>
                ))}
              </ul>
            </SpaceBetween>
          ))}
          {test.data && results.length === 0 && <Box>The delivery has no event that could start a build.</Box>}
        </div>
      </SpaceBetween>
    </ExpandableSection>
  );
}

import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Checkbox from "@cloudscape-design/components/checkbox";
import Container from "@cloudscape-design/components/container";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import FileUpload from "@cloudscape-design/components/file-upload";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import AttributeEditor from "@cloudscape-design/components/attribute-editor";
import Input from "@cloudscape-design/components/input";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import Textarea from "@cloudscape-design/components/textarea";
import { useInfiniteQuery, useMutation, type InfiniteData } from "@tanstack/react-query";
import { useState } from "react";
import { useNavigate, useParams } from "react-router";
import { APIError, askAgain, call, useAction, useCall, type Input as In, type Output } from "../api";
import type { Project, WayStrength, WebhookDelivery } from "../api.gen";
import { sample } from "../project/sample";
import { flash, flashError } from "../ui/flash";
import { Page } from "../ui/page";
import { Answer, Empty, Failure } from "../ui/state";
import { Copyable, Text } from "../ui/text";
import { Time } from "../ui/time";
import { Approvals } from "../webhook/approvals";
import { Verdict } from "../webhook/verdict";

export default function ProjectWebhook() {
  const name = useParams()["project"]!;
  const navigate = useNavigate();
  const q = useCall("BatchGetProjects", { names: [name] });
  const project = q.data?.projects?.[0];
  const edit = <Button onClick={() => navigate(`/projects/${encodeURIComponent(name)}/edit`)}>Edit</Button>;
  return (
    <Page title={`Webhook of ${name}`} description="What the provider tells about the repository, and which of it starts builds." actions={project && edit}>
      <Answer of={q} what="the project">
        {() =>
          !project ? (
            <Empty title="There is no such project" action={<Button onClick={() => navigate("/projects")}>All projects</Button>}>
              It may have been deleted, or be in another region.
            </Empty>
          ) : !project.webhook ? (
            <Empty title="The project has no webhook" action={edit}>
              With one, pushes and pull requests start builds by themselves. Add it to the project's source.
            </Empty>
          ) : (
            <Parts key={name} project={project} />
          )
        }
      </Answer>
    </Page>
  );
}

function Parts({ project }: { project: Project }) {
  const name = project.name!;
  return (
    <SpaceBetween size="l">
      <State project={name} />
      <Approvals project={name} />
      <Deliveries project={name} />
      <Try project={project} />
    </SpaceBetween>
  );
}

const strengths: Record<WayStrength, ["error" | "warning" | "info" | "success", string]> = {
  ANYBODY: ["error", "Anybody"],
  ANYBODY_AFTER_APPROVAL: ["warning", "Anybody, after approval"],
  WRITERS: ["success", "Who may write to the repository"],
  NAMED_ACCOUNTS: ["success", "Named accounts"],
};

/** How the webhook is, and who could start a build by it. */
function State({ project }: { project: string }) {
  const q = useCall("DescribeWebhook", { projectName: project }, { poll: 15_000 });
  return (
    <Answer of={q} what="the webhook">
      {(w) => (
        <SpaceBetween size="l">
          {w.serverPayloadUrl && <Elsewhere project={project} webhook={w} />}
          {(w.refused ?? 0) > 0 && (
            <Alert type="warning" header={`${w.refused} deliveries were refused`}>
              The last one <Time at={w.lastRefused} />. <Text lines>{w.refusedReason}</Text>
            </Alert>
          )}
          {w.pollProblem && (
            <Alert type="warning" header="Polling fails">
              Since <Time at={w.pollFailingSince} />. <Text lines>{w.pollProblem}</Text>
            </Alert>
          )}
          <Container
            header={
              <Header variant="h2" description="The weakest way first. Whoever can start a build runs their code with the project's variables and secrets.">
                Who can start builds
              </Header>
            }
          >
            <ul className="ways">
              {(w.ways ?? []).map((way, i) => {
                const [type, text] = strengths[way.strength ?? "ANYBODY"];
                return (
                  <li key={i}>
                    <StatusIndicator type={type}>{text}</StatusIndicator>
                    <div>
                      <Text>{way.text && `${way.text}.`}</Text> {way.group ? <Box display="inline" color="text-body-secondary">Filter group {way.group}.</Box> : null}
                    </div>
                  </li>
                );
              })}
            </ul>
            {(w.ways ?? []).length === 0 && <Box>Nobody: no filter group can match.</Box>}
          </Container>
          <Container header={<Header variant="h2">Webhook</Header>}>
            <SpaceBetween size="l">
              <KeyValuePairs
                columns={3}
                minColumnWidth={220}
                items={[
                  { label: "Watches", value: <Text>{`${w.owner ?? "-"} at ${w.host ?? "-"}`}</Text> },
                  { label: "At the provider", value: w.manualCreation ? "Made by hand" : <Text>{w.hookId ? `Number ${w.hookId}` : "-"}</Text> },
                  { label: "Last delivery", value: w.lastDelivery ? <Time at={w.lastDelivery.received} /> : "None yet" },
                  { label: "Payload address", value: w.payloadUrl ? <Copyable what="the payload address">{w.payloadUrl}</Copyable> : "-" },
                ]}
              />
              <Polling key={w.pollSeconds} project={project} seconds={w.pollSeconds ?? 0} next={w.nextPoll} />
            </SpaceBetween>
          </Container>
        </SpaceBetween>
      )}
    </Answer>
  );
}

/** That the provider has the address of before, and what to do. */
function Elsewhere({ project, webhook }: { project: string; webhook: Output<"DescribeWebhook"> }) {
  const update = useAction("UpdateWebhook");
  return (
    <Alert
      type="warning"
      header="The provider has another address than this server"
      action={
        <Button
          loading={update.isPending}
          onClick={() =>
            update.mutate({ projectName: project }, { onSuccess: () => flash("success", `The webhook of ${project} has this server's address`), onError: (err) => flashError("Update the webhook", err) })
          }
        >
          Update the webhook
        </Button>
      }
    >
      <Box>
        It sends to <Text>{webhook.payloadUrl}</Text>, which may not lead here. This server takes deliveries at:
      </Box>
      <Copyable what="this server's payload address">{webhook.serverPayloadUrl!}</Copyable>
      <Box>
        {webhook.manualCreation
          ? "The hook was made by hand: change its address at the provider, then update the webhook here."
          : "Update the webhook to give this address to the provider."}
      </Box>
    </Alert>
  );
}

const intervals = [0, 15, 30, 60, 300, 900, 3600];
const every = (s: number) => (s === 0 ? "Off" : s < 60 ? `Every ${s} seconds` : s === 60 ? "Every minute" : s < 3600 ? `Every ${s / 60} minutes` : "Every hour");

function Polling({ project, seconds, next }: { project: string; seconds: number; next: number | undefined }) {
  const update = useAction("UpdateWebhookPolling");
  return (
    <FormField
      label="Polling"
      description={
        <>
          For a server that the provider cannot reach: it asks the provider for news instead.{" "}
          {seconds > 0 && next !== undefined && (
            <>
              Next time <Time at={next} coming />.
            </>
          )}
        </>
      }
    >
      <Select
        selectedOption={{ value: String(seconds), label: every(seconds) }}
        options={[...new Set([...intervals, seconds])].sort((a, b) => a - b).map((s) => ({ value: String(s), label: every(s) }))}
        disabled={update.isPending}
        onChange={(e) =>
          update.mutate(
            { projectName: project, seconds: Number(e.detail.selectedOption.value) },
            { onSuccess: (out) => flash("success", `Polling of ${project}: ${every(out.seconds ?? 0).toLowerCase()}`), onError: (err) => flashError("Change the polling", err) },
          )
        }
      />
    </FormField>
  );
}

const origins: Record<string, string> = { DELIVERED: "Delivered", POLLED: "Polled", REDELIVERED: "Redelivered", REPLAYED: "Tried here", PERMITTED: "Approved here" };

/** What came from the provider, and what came of it. */
function Deliveries({ project }: { project: string }) {
  const q = useInfiniteQuery<Output<"ListWebhookDeliveries">, APIError, InfiniteData<Output<"ListWebhookDeliveries">>, unknown[], string | undefined>({
    queryKey: ["ListWebhookDeliveries", project],
    initialPageParam: undefined,
    getNextPageParam: (last) => last.nextToken,
    refetchInterval: (q) => askAgain(q.state.error, q.state.data?.pages.some((p) => p.deliveries?.some((d) => d.state === "WAITING")) ? 2_000 : 10_000),
    queryFn: ({ pageParam, signal }) => call("ListWebhookDeliveries", { projectName: project, maxResults: 20, ...(pageParam && { nextToken: pageParam }) }, signal),
  });
  const list = (q.data?.pages ?? []).flatMap((p) => p.deliveries ?? []);
  return (
    <Container header={<Header variant="h2">Deliveries</Header>}>
      <Answer of={q} what="the deliveries">
        {() => (
          <SpaceBetween size="m">
            {list.length === 0 && <Empty title="None yet">When something happens at the repository, it is here a moment later.</Empty>}
            {list.map((d) => (
              <Delivery key={d.id} delivery={d} />
            ))}
            {q.hasNextPage && (
              <div className="center">
                <Button loading={q.isFetchingNextPage} onClick={() => void q.fetchNextPage()}>
                  Show older deliveries
                </Button>
              </div>
            )}
          </SpaceBetween>
        )}
      </Answer>
    </Container>
  );
}

/** What a delivery came to, in a word. */
function Outcome({ delivery: d }: { delivery: WebhookDelivery }) {
  if (d.state === "WAITING") return <StatusIndicator type="pending">{d.attempts ? `Is tried again` : "Waits"}</StatusIndicator>;
  if (d.state === "FAILED") return <StatusIndicator type="error">Failed</StatusIndicator>;
  const results = d.results ?? [];
  const has = (o: string) => results.some((r) => r.outcome === o);
  if (has("STARTED")) return <StatusIndicator type="success">Started a build</StatusIndicator>;
  if (has("FAILED")) return <StatusIndicator type="error">Failed</StatusIndicator>;
  if (has("AWAITING_APPROVAL")) return <StatusIndicator type="pending">Approval was asked for</StatusIndicator>;
  if (has("NO_MATCH")) return <StatusIndicator type="stopped">No group matches</StatusIndicator>;
  return <StatusIndicator type="stopped">Ignored</StatusIndicator>;
}

function Delivery({ delivery: d }: { delivery: WebhookDelivery }) {
  const redeliver = useAction("RedeliverWebhook");
  return (
    <ExpandableSection
      variant="inline"
      headerText={
        <span className="delivery">
          <Text>{d.origin === "PERMITTED" ? "approval" : d.event || "Event"}</Text> <Outcome delivery={d} />
          <Box display="inline" color="text-body-secondary" fontWeight="normal">
            <Time at={d.received} />
          </Box>
        </span>
      }
    >
      <SpaceBetween size="s">
        {d.problem && (
          <Alert type={d.state === "FAILED" ? "error" : "warning"}>
            <Text lines>{d.problem}</Text>
            {d.nextAttempt !== undefined && (
              <Box>
                It is tried again <Time at={d.nextAttempt} coming />.
              </Box>
            )}
          </Alert>
        )}
        {(d.results ?? []).map((r, i) => (
          <Verdict key={i} result={r} />
        ))}
        {d.state === "DONE" && (d.results ?? []).length === 0 && <Box>It has no event that could start a build.</Box>}
        <KeyValuePairs
          columns={4}
          minColumnWidth={150}
          items={[
            { label: "Received", value: <Time at={d.received} exact /> },
            { label: "How", value: origins[d.origin ?? ""] ?? d.origin ?? "-" },
            ...(d.attempts ? [{ label: "Failed attempts", value: String(d.attempts) }] : []),
            { label: "The provider's id", value: <Text>{d.providerId ?? "-"}</Text> },
          ]}
        />
        <Button
          loading={redeliver.isPending}
          disabled={d.state === "WAITING"}
          ariaLabel={`Redeliver delivery ${d.id}`}
          onClick={() =>
            redeliver.mutate({ deliveryId: d.id! }, { onSuccess: () => flash("success", `Delivery ${d.id} is in the inbox again`, "What it matches now starts another build."), onError: (e) => flashError("Redeliver", e) })
          }
        >
          Redeliver
        </Button>
      </SpaceBetween>
    </ExpandableSection>
  );
}

/** What would come of a payload, and, if wanted, lets it come. */
function Try({ project }: { project: Project }) {
  const [example] = useState(() => sample(project.source?.type, project.source?.location));
  const [headers, setHeaders] = useState(example.headers);
  const [payload, setPayload] = useState("");
  const [files, setFiles] = useState<File[]>([]);
  const [start, setStart] = useState(false);
  const test = useMutation<Output<"TestWebhook">, APIError, In<"TestWebhook">>({ mutationFn: (input) => call("TestWebhook", input) });
  const results = test.data?.results ?? [];
  const set = (i: number, patch: Partial<{ name: string; value: string }>) => setHeaders(headers.map((h, j) => (j === i ? { ...h, ...patch } : h)));
  return (
    <Container header={<Header variant="h2" description="With a payload as the provider shows it on the page of its webhook.">Try a payload</Header>}>
      <SpaceBetween size="l">
        <FormField label="Headers" description="By them each provider says what a delivery is." stretch>
          <AttributeEditor
            items={headers}
            addButtonText="Add header"
            removeButtonText="Remove"
            removeButtonAriaLabel={(h: { name: string }) => `Remove header ${h.name}`}
            onAddButtonClick={() => setHeaders([...headers, { name: "", value: "" }])}
            onRemoveButtonClick={(e) => setHeaders(headers.filter((_, i) => i !== e.detail.itemIndex))}
            definition={[
              { label: "Name", control: (h, i) => <Input value={h.name} onChange={(e) => set(i, { name: e.detail.value })} spellcheck={false} ariaLabel={`Name of header ${i + 1}`} /> },
              { label: "Value", control: (h, i) => <Input value={h.value} onChange={(e) => set(i, { value: e.detail.value })} spellcheck={false} ariaLabel={`Value of header ${i + 1}`} /> },
            ]}
          />
        </FormField>
        <FormField label="Payload" description="The JSON of the delivery." stretch>
          <Textarea value={payload} onChange={(e) => setPayload(e.detail.value)} rows={8} spellcheck={false} />
        </FormField>
        <FormField label="Or a file with it">
          <FileUpload
            value={files}
            accept="application/json,.json"
            showFileSize
            i18nStrings={{ uploadButtonText: () => "Choose a file", dropzoneText: () => "Drop the file here", removeFileAriaLabel: () => "Remove the file", errorIconAriaLabel: "Error" }}
            onChange={(e) => {
              setFiles(e.detail.value);
              void e.detail.value[0]?.text().then(setPayload, (err) => flashError("Read the file", err));
            }}
          />
        </FormField>
        <Checkbox checked={start} onChange={(e) => setStart(e.detail.checked)} description="As if the provider had delivered it now. Without this nothing happens.">
          Start what it matches
        </Checkbox>
        <Button
          loading={test.isPending}
          disabled={!payload.trim()}
          onClick={() =>
            test.mutate(
              { projectName: project.name!, headers: headers.filter((h) => h.name.trim()), payload, ...(start && { start }) },
              { onSuccess: (out) => out.delivery && flash("success", `The payload is in the inbox as delivery ${out.delivery.id}`) },
            )
          }
        >
          Try it
        </Button>
        <div aria-live="polite">
          <SpaceBetween size="s">
            {test.error && <Failure what="the verdict" error={test.error} />}
            {results.map((r, i) => (
              <Verdict key={i} result={r} />
            ))}
            {test.data && !test.data.delivery && results.length === 0 && <Box>The payload has no event that could start a build.</Box>}
          </SpaceBetween>
        </div>
      </SpaceBetween>
    </Container>
  );
}

import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import CloudscapeLink from "@cloudscape-design/components/link";
import Container from "@cloudscape-design/components/container";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import Input from "@cloudscape-design/components/input";
import KeyValuePairs, { type KeyValuePairsProps } from "@cloudscape-design/components/key-value-pairs";
import Modal from "../ui/modal";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import Tabs from "@cloudscape-design/components/tabs";
import { useState } from "react";
import { Navigate, useNavigate, useParams, useSearchParams } from "react-router";
import { answer, useAction, useCall } from "../api";
import type { Project, ProjectSource } from "../api.gen";
import { BuildList } from "../build/list";
import { isInline } from "../project/draft";
import { StartBuild } from "../project/start";
import { words } from "../project/webhook";
import { useProviders } from "../source/providers";
import { describe, flash } from "../ui/flash";
import { isWebAddress, Link } from "../ui/link";
import { Page } from "../ui/page";
import { Answer, Empty } from "../ui/state";
import { CredentialStatus } from "../ui/status";
import { Copyable, Text } from "../ui/text";
import { Time } from "../ui/time";

export default function ProjectPage() {
  const name = useParams()["project"]!;
  const navigate = useNavigate();
  const q = useCall("BatchGetProjects", { names: [name] }, { poll: 30_000 });
  const project = q.data?.projects?.[0];
  const [deleting, setDeleting] = useState(false);
  return (
    <Page
      title={name}
      description={project?.description && <Text>{project.description}</Text>}
      actions={
        project && (
          <SpaceBetween direction="horizontal" size="xs">
            <Button onClick={() => setDeleting(true)}>Delete</Button>
            {project.webhook && <Button onClick={() => navigate(`/projects/${encodeURIComponent(name)}/webhook`)}>Webhook</Button>}
            <Button onClick={() => navigate(`/projects/${encodeURIComponent(name)}/edit`)}>Edit</Button>
            <StartBuild project={name} primary />
          </SpaceBetween>
        )
      }
    >
      <Answer of={q} what="the project">
        {() =>
          project ? (
            <Parts project={project} />
          ) : name === "create" ? (
            <Navigate to="/create-project" replace /> // where it was once
          ) : (
            <Empty title="There is no such project" action={<Button onClick={() => navigate("/projects")}>All projects</Button>}>
              It may have been deleted, or be in another region.
            </Empty>
          )
        }
      </Answer>
      {deleting && <Delete name={name} onClose={() => setDeleting(false)} />}
    </Page>
  );
}

/** The parts of a project, each a tab with an address of its own. */
function Parts({ project }: { project: Project }) {
  const [params, setParams] = useSearchParams();
  return (
    <Tabs
      ariaLabel="Parts of the project"
      activeTabId={params.get("tab") ?? "builds"}
      onChange={(e) => setParams({ tab: e.detail.activeTabId }, { replace: true })}
      tabs={[
        { id: "builds", label: "Build history", content: <BuildList key={project.name} project={project.name!} /> },
        { id: "details", label: "Build details", content: <Details project={project} /> },
      ]}
    />
  );
}

/** Who can start builds by the webhook, in the server's words, and whether deliveries arrive. */
function Deliveries({ name }: { name: string }) {
  const q = useCall("DescribeWebhook", { projectName: name });
  const d = q.data;
  if (!d) return q.error ? <Text>{describe(q.error)}</Text> : null;
  const last = d.lastDelivery;
  return (
    <>
      <div>
        <Box variant="h4">Who can start a build</Box>
        <ul className="plain">
          {d.ways?.map((w, i) => (
            <li key={i}>
              <Text>{`Group ${w.group ?? "-"}: ${w.text ?? ""}`}</Text>
            </li>
          ))}
        </ul>
      </div>
      <KeyValuePairs
        columns={3}
        minColumnWidth={200}
        items={[
          { label: "Last delivery", value: last ? <><Time at={last.received} /> <Text>{`${last.event ?? ""} ${words(last.state ?? "")}`}</Text></> : "None yet" },
          { label: "Refused deliveries", value: d.refused ? <Text>{`${d.refused}, the last one because ${d.refusedReason ?? "?"}`}</Text> : "None" },
          { label: "Polling", value: d.pollSeconds ? `Every ${d.pollSeconds} seconds` : "Off" },
        ]}
      />
    </>
  );
}

function Part({ title, items, children }: { title: string; items?: KeyValuePairsProps["items"]; children?: React.ReactNode }) {
  return (
    <Container header={<Header variant="h2">{title}</Header>}>
      <SpaceBetween size="l">
        {items && <KeyValuePairs columns={3} minColumnWidth={200} items={items} />}
        {children}
      </SpaceBetween>
    </Container>
  );
}

function Details({ project: p }: { project: Project }) {
  const e = p.environment;
  const a = p.artifacts;
  const cw = p.logsConfig?.cloudWatchLogs;
  return (
    <SpaceBetween size="l">
      <Part
        title="Project configuration"
        items={[
          { label: "ARN", value: <Copyable what="the ARN">{p.arn ?? ""}</Copyable> },
          { label: "Created", value: <Time at={p.created} exact /> },
          { label: "Last modified", value: <Time at={p.lastModified} exact /> },
          { label: "Concurrent build limit", value: p.concurrentBuildLimit ?? "None" },
          { label: "Build badge", value: p.badge?.badgeEnabled ? <Badge url={p.badge.badgeRequestUrl} /> : "Off" },
          { label: "Tags", value: p.tags?.length ? p.tags.map((t) => <div key={t.key}><Text>{`${t.key}: ${t.value ?? ""}`}</Text></div>) : "None" },
        ]}
      />
      <Sources project={p} />
      {p.webhook && (
        <Part
          title="Primary source webhook events"
          items={[
            { label: "Payload address", value: p.webhook.payloadUrl ? <Text>{p.webhook.payloadUrl}</Text> : "-" },
            { label: "At the provider", value: isWebAddress(p.webhook.url) ? <Text>{p.webhook.url}</Text> : "-" },
            { label: "Pull requests", value: words(p.webhook.pullRequestBuildPolicy?.requiresCommentApproval ?? "-") },
          ]}
        >
          {p.webhook.branchFilter && <Text>{`Branch filter ${p.webhook.branchFilter}`}</Text>}
          {p.webhook.filterGroups?.map((g, i) => (
            <div key={i}>
              <Box variant="h4">Filter group {i + 1}</Box>
              <ul className="plain">
                {g.map((f, j) => (
                  <li key={j}>
                    {words(f.type)} {f.excludeMatchedPattern ? "does not match" : f.type === "EVENT" ? "is one of" : "matches"} <Text code>{f.pattern}</Text>
                  </li>
                ))}
              </ul>
            </div>
          ))}
          <Deliveries name={p.name!} />
        </Part>
      )}
      <Part
        title="Environment"
        items={[
          { label: "Image", value: <Text>{e?.image}</Text> },
          { label: "Environment type", value: e?.type ?? "-" },
          { label: "Compute", value: e?.computeType ?? "-" },
          { label: "Privileged", value: e?.privilegedMode ? "Yes" : "No" },
          { label: "Timeout", value: `${p.timeoutInMinutes ?? 60} minutes` },
          { label: "Queued timeout", value: `${p.queuedTimeoutInMinutes ?? 480} minutes` },
          { label: "Service role", value: <Text>{p.serviceRole}</Text> },
        ]}
      >
        {e?.environmentVariables?.length ? (
          <Table
            variant="embedded"
            items={e.environmentVariables}
            ariaLabels={{ tableLabel: "Environment variables" }}
            columnDefinitions={[
              { id: "name", header: "Environment variable", isRowHeader: true, cell: (v) => <Text>{v.name}</Text> },
              { id: "value", header: "Value", cell: (v) => <Text>{v.value}</Text> },
              { id: "type", header: "Type", cell: (v) => v.type ?? "PLAINTEXT" },
            ]}
          />
        ) : null}
      </Part>
      <Part title="Buildspec">
        {isInline(p.source?.buildspec) ? (
          <pre className="code-block" tabIndex={0} aria-label="The buildspec">
            <Text lines>{p.source?.buildspec}</Text>
          </pre>
        ) : (
          <Text>{p.source?.buildspec || "buildspec.yml in the root of the source"}</Text>
        )}
      </Part>
      <Part
        title="Artifacts and logs"
        items={[
          { label: "Artifacts", value: a?.type === "S3" ? <Text>{`s3://${[a.location, a.path, a.name].filter(Boolean).join("/")}`}</Text> : a?.type === "CODEPIPELINE" ? "AWS CodePipeline" : "No artifacts" },
          { label: "Cache", value: p.cache?.type === "S3" ? <Text>{p.cache.location}</Text> : p.cache?.type === "LOCAL" ? (p.cache.modes ?? []).map(words).join(", ") : "No cache" },
          { label: "Log group", value: <Text>{cw?.groupName ?? `/aws/codebuild/${p.name}`}</Text> },
        ]}
      />
    </SpaceBetween>
  );
}

/** The sources of a project, and which credential each would use and why. */
function Sources({ project: p }: { project: Project }) {
  const { providers } = useProviders();
  const resolved = useCall("ResolveSourceCredentials", { projectName: p.name! });
  const list: { source: ProjectSource; version?: string }[] = [
    ...(p.source ? [{ source: p.source, version: p.sourceVersion }] : []),
    ...(p.secondarySources ?? []).map((source) => ({ source, version: p.secondarySourceVersions?.find((v) => v.sourceIdentifier === source.sourceIdentifier)?.sourceVersion })),
  ];
  return (
    <Part title="Source">
      {list.map(({ source: s, version }, i) => {
        const r = resolved.data?.sources?.[i];
        return (
          <KeyValuePairs
            key={i}
            columns={3}
            minColumnWidth={200}
            items={[
              { label: i === 0 ? "Source provider" : `Source ${s.sourceIdentifier}`, value: providers.find((o) => o.serverType === s.type)?.name ?? (s.type === "NO_SOURCE" ? "No source" : s.type) },
              {
                label: "Repository",
                value: isWebAddress(s.location) ? (
                  <CloudscapeLink external href={s.location}>
                    <Text>{s.location}</Text>
                  </CloudscapeLink>
                ) : (
                  <Text>{s.location ?? "-"}</Text>
                ),
              },
              { label: "Source version", value: version ? <Text>{version}</Text> : "The default branch" },
              {
                label: "Credential",
                value: resolved.error ? (
                  <Text>{describe(resolved.error)}</Text>
                ) : !r ? (
                  "-"
                ) : r.arn ? (
                  <>
                    <Link to={`/credentials?arn=${encodeURIComponent(r.arn)}`}>{r.arn.split(":").slice(5).join(":")}</Link> <CredentialStatus state={r.state} />
                    {r.reason && <Box color="text-body-secondary"><Text>{r.reason}</Text></Box>}
                  </>
                ) : (
                  <Text>{r.reason ?? "None"}</Text>
                ),
              },
              { label: "Git clone depth", value: s.gitCloneDepth ? String(s.gitCloneDepth) : "Full" },
              { label: "Build status to the provider", value: s.reportBuildStatus ? "Reported" : "Not reported" },
            ]}
          />
        );
      })}
    </Part>
  );
}

/** The badge's address as Markdown. The picture itself is not shown: it may come from another address than this page. */
function Badge({ url }: { url: string | undefined }) {
  if (!url) return <>On; its address is written with the next change of the project</>;
  return <Copyable what="the badge as Markdown">{`![build](${url})`}</Copyable>;
}

function Delete({ name, onClose }: { name: string; onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const navigate = useNavigate();
  const del = useAction("DeleteProject", () => {
    answer("BatchGetProjects", { names: [name] }, { projects: [], projectsNotFound: [name] }); // so that no part of the page asks for more of it
    flash("success", `Deleted project ${name}`);
    navigate("/projects");
  });
  function go() {
    if (typed.trim() === name) del.mutate({ name });
  }
  return (
    <Modal
      visible
      header={
        <>
          Delete <Text>{name}</Text>?
        </>
      }
      closeAriaLabel="Close"
      onDismiss={onClose}
      footer={
        <Box float="right">
          <SpaceBetween direction="horizontal" size="xs">
            <Button variant="link" onClick={onClose}>
              Cancel
            </Button>
            <Button variant="primary" loading={del.isPending} disabled={typed.trim() !== name} onClick={go}>
              Delete
            </Button>
          </SpaceBetween>
        </Box>
      }
    >
      <SpaceBetween size="m">
        <Box>The project and its webhook are deleted and cannot be brought back. Its builds and their logs stay. Running builds go on.</Box>
        <FormField label={`To confirm, enter ${name}`} errorText={del.error && <Text lines>{describe(del.error)}</Text>}>
          <Input value={typed} onChange={(e) => setTyped(e.detail.value)} onKeyDown={(e) => e.detail.key === "Enter" && go()} autoFocus spellcheck={false} />
        </FormField>
      </SpaceBetween>
    </Modal>
  );
}

import Alert from "@cloudscape-design/components/alert";
import Button from "@cloudscape-design/components/button";
import Container from "@cloudscape-design/components/container";
import Header from "@cloudscape-design/components/header";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Tabs from "@cloudscape-design/components/tabs";
import { useState } from "react";
import { useNavigate, useParams, useSearchParams } from "react-router";
import { useCall } from "../api";
import type { Build } from "../api.gen";
import { Retry, Stop } from "../build/actions";
import { Commit } from "../build/commit";
import { BuildDetails, Variables } from "../build/details";
import { Lasting } from "../build/lasting";
import { PhaseStrip, PhaseTimeline, troubles } from "../build/phases";
import { StartWithOverrides } from "../build/start";
import { LogView } from "../log/view";
import { Link } from "../ui/link";
import { Page } from "../ui/page";
import { Answer, Empty } from "../ui/state";
import { BuildStatus } from "../ui/status";
import { Text } from "../ui/text";
import { Time } from "../ui/time";

export default function BuildPage() {
  const id = useParams()["build"]!;
  const navigate = useNavigate();
  const q = useCall("BatchGetBuilds", { ids: [id] }, { poll: (d) => (d?.builds?.[0]?.buildComplete ? 30_000 : 1_000) });
  const build = q.data?.builds?.[0];
  const [again, setAgain] = useState(false);
  return (
    <Page
      title={build ? `${build.projectName} #${build.buildNumber}` : "Build"}
      actions={
        build && (
          <span className="actions">
            {!build.buildComplete && <Stop id={build.id} />}
            {build.buildComplete && <Retry id={build.id} />}
            <Button onClick={() => setAgain(true)}>Start with overrides</Button>
          </span>
        )
      }
    >
      <Answer of={q} what="the build">
        {() =>
          build ? (
            <Parts key={build.id} build={build} />
          ) : (
            <Empty title="There is no such build" action={<Button onClick={() => navigate("/builds")}>All builds</Button>}>
              It may be in another region or account, or its id is mistyped.
            </Empty>
          )
        }
      </Answer>
      {again && build && <StartWithOverrides project={build.projectName!} like={build} onClose={() => setAgain(false)} />}
    </Page>
  );
}

function Parts({ build: b }: { build: Build }) {
  const [params, setParams] = useSearchParams();
  const bad = troubles(b);
  return (
    <SpaceBetween size="l">
      {bad.map((t, i) => (
        <Alert key={i} type={b.buildStatus === "SUCCEEDED" || t.code === "COMMIT_STATUS_NOT_SENT" ? "warning" : "error"} header={t.code === "COMMIT_STATUS_NOT_SENT" ? "The commit has no status of this build" : `${t.phase}: ${t.code}`}>
          <Text lines>{t.message}</Text>
        </Alert>
      ))}
      <Container header={<Header variant="h2">Build status</Header>}>
        <SpaceBetween size="m">
          <KeyValuePairs
            columns={4}
            minColumnWidth={150}
            items={[
              { label: "Status", value: <BuildStatus status={b.buildStatus} /> },
              {
                label: "Project",
                value: (
                  <Link to={`/projects/${encodeURIComponent(b.projectName ?? "")}`}>
                    <Text>{b.projectName}</Text>
                  </Link>
                ),
              },
              { label: "Started", value: <Time at={b.startTime} /> },
              { label: "Duration", value: <Lasting from={b.startTime} to={b.endTime} /> },
              { label: "Source version", value: b.sourceVersion ? <Text>{b.sourceVersion}</Text> : b.source?.type === "NO_SOURCE" ? "-" : "The default branch" },
              { label: "Commit", value: <Commit source={b.source} sha={b.resolvedSourceVersion} short /> },
              { label: "Initiator", value: <Text>{b.initiator ?? "-"}</Text> },
            ]}
          />
          <PhaseStrip build={b} />
        </SpaceBetween>
      </Container>
      <Tabs
        ariaLabel="Parts of the build"
        activeTabId={params.get("tab") ?? "log"}
        onChange={(e) => setParams({ tab: e.detail.activeTabId }, { replace: true, preventScrollReset: true })}
        tabs={[
          { id: "log", label: "Build log", content: <BuildLog build={b} /> },
          {
            id: "phases",
            label: "Phase details",
            content: (
              <Container header={<Header variant="h2">Phase details</Header>}>
                <PhaseTimeline build={b} />
              </Container>
            ),
          },
          { id: "variables", label: "Environment variables", content: <Variables build={b} /> },
          { id: "details", label: "Build details", content: <BuildDetails build={b} /> },
        ]}
      />
    </SpaceBetween>
  );
}

function BuildLog({ build: b }: { build: Build }) {
  if (b.logs?.groupName && b.logs.streamName)
    return <LogView key={b.id} place={{ group: b.logs.groupName, stream: b.logs.streamName }} running={!b.buildComplete} name={`${b.projectName} #${b.buildNumber}`} />;
  if (b.logs?.cloudWatchLogs?.status === "DISABLED") return <Empty title="No log">The project writes no logs to CloudWatch Logs.</Empty>;
  if (b.buildComplete) return <Empty title="No log">The build ended before it printed anything.</Empty>;
  return <Empty title="No log yet">The build waits for its turn. The log begins with the phase Provisioning.</Empty>;
}

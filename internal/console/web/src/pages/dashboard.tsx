import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Container from "@cloudscape-design/components/container";
import Header from "@cloudscape-design/components/header";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import SegmentedControl from "@cloudscape-design/components/segmented-control";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import { lazy, Suspense } from "react";
import { useNavigate, useSearchParams } from "react-router";
import { useCall } from "../api";
import type { DescribeBuildStatisticsOutput, StatusType } from "../api.gen";
import { buildPath } from "../build/actions";
import { useCredentials } from "../source/credential";
import { useProviders } from "../source/providers";
import { Link } from "../ui/link";
import { Page } from "../ui/page";
import { Answer, Empty, Loading } from "../ui/state";
import { BuildStatus } from "../ui/status";
import { Text } from "../ui/text";
import { Time } from "../ui/time";
import { Approvals } from "../webhook/approvals";

const Charts = lazy(() => import("../dashboard/charts"));

const spans = [7, 30, 90];

export default function Dashboard() {
  const [params, setParams] = useSearchParams();
  const days = spans.find((n) => String(n) === params.get("days")) ?? 30;
  const q = useCall("DescribeBuildStatistics", { days }, { poll: (d) => ((d?.running ?? 0) + (d?.queued ?? 0) > 0 ? 3_000 : 15_000), keep: true });
  return (
    <Page
      title="Dashboard"
      actions={
        <SegmentedControl
          label="Time that is shown"
          selectedId={String(days)}
          options={spans.map((n) => ({ id: String(n), text: `${n} days` }))}
          onChange={(e) => setParams({ days: e.detail.selectedId }, { replace: true })}
        />
      }
    >
      <Credentials />
      <Answer of={q} what="the statistics">
        {(d) => (
          <SpaceBetween size="l">
            <Now statistics={d} days={days} />
            <Suspense fallback={<Loading what="the charts" />}>
              <Charts days={d.days ?? []} />
            </Suspense>
            <Projects statistics={d} />
          </SpaceBetween>
        )}
      </Answer>
      <Approvals />
    </Page>
  );
}

/** The credentials that need somebody: about to expire, expired, refused or without what they need. */
function Credentials() {
  const { credentials } = useCredentials();
  const { providers } = useProviders();
  const navigate = useNavigate();
  const texts: Record<string, string> = { EXPIRING: "is about to expire", EXPIRED: "has expired", REVOKED: "is refused by the provider", INSUFFICIENT: "lacks scopes" };
  const needy = credentials.filter((c) => texts[c.state ?? ""]);
  if (needy.length === 0) return null;
  return (
    <SpaceBetween size="l">
      {needy
        .map((c) => (
          <Alert
            key={c.arn}
            type={c.state === "EXPIRED" || c.state === "REVOKED" ? "error" : "warning"}
            header={`The credential for ${providers.find((p) => p.serverType === c.serverType)?.name ?? c.serverType} ${texts[c.state ?? ""]}`}
            action={<Button onClick={() => navigate(`/credentials?arn=${encodeURIComponent(c.arn ?? "")}`)}>See to it</Button>}
          >
            {c.detail && <Text lines>{c.detail}</Text>}{" "}
            {c.state === "EXPIRING" && c.expires !== undefined && (
              <>
                It expires <Time at={c.expires} coming />.
              </>
            )}
          </Alert>
        ))}
    </SpaceBetween>
  );
}

function Now({ statistics: d, days }: { statistics: DescribeBuildStatisticsOutput; days: number }) {
  const sum = (pick: (x: NonNullable<typeof d.days>[number]) => number | undefined) => (d.days ?? []).reduce((n, x) => n + (pick(x) ?? 0), 0);
  const good = sum((x) => x.succeeded);
  const bad = sum((x) => (x.failed ?? 0) + (x.faulted ?? 0) + (x.timedOut ?? 0));
  const figure = (n: string | number) => (
    <Box fontSize="display-l" variant="span">
      {n}
    </Box>
  );
  return (
    <Container header={<Header variant="h2">Builds</Header>}>
      <KeyValuePairs
        columns={4}
        minColumnWidth={130}
        items={[
          { label: "Running", value: figure(d.running ?? 0) },
          { label: "Queued", value: figure(d.queued ?? 0) },
          { label: `Succeeded in ${days} days`, value: figure(good + bad ? `${Math.round((100 * good) / (good + bad))}%` : "-") },
          { label: `Ended in ${days} days`, value: figure(good + bad + sum((x) => x.stopped)) },
        ]}
      />
    </Container>
  );
}

function Projects({ statistics: d }: { statistics: DescribeBuildStatisticsOutput }) {
  const navigate = useNavigate();
  const list = d.projects ?? [];
  return (
    <Table
      items={list}
      trackBy="name"
      wrapLines
      ariaLabels={{ tableLabel: "Projects at a glance" }}
      header={<Header counter={`(${list.length})`}>Projects at a glance</Header>}
      empty={
        <Empty title="Nothing was built in this time" action={<Button onClick={() => navigate("/projects")}>Projects</Button>}>
          Here are the projects with builds, and how they fare.
        </Empty>
      }
      columnDefinitions={[
        {
          id: "name",
          header: "Project",
          isRowHeader: true,
          minWidth: 140,
          cell: (p) => (
            <Link to={`/projects/${encodeURIComponent(p.name ?? "")}`}>
              <Text>{p.name}</Text>
            </Link>
          ),
        },
        { id: "status", header: "Last build", minWidth: 130, cell: (p) => <BuildStatus status={p.last?.buildStatus as StatusType} /> },
        {
          id: "build",
          header: "Number",
          minWidth: 90,
          cell: (p) => (p.last?.id ? <Link to={buildPath(p.last.id)}>{`#${p.last.buildNumber}`}</Link> : "-"),
        },
        { id: "started", header: "Started", minWidth: 130, cell: (p) => <Time at={p.last?.startTime} /> },
        { id: "good", header: "Succeeded", minWidth: 100, cell: (p) => p.succeeded ?? 0 },
        { id: "bad", header: "Failed", minWidth: 90, cell: (p) => p.failed ?? 0 },
      ]}
    />
  );
}

import Header from "@cloudscape-design/components/header";
import Table from "@cloudscape-design/components/table";
import { useQuery } from "@tanstack/react-query";
import { call, type APIError } from "../api";
import type { Build } from "../api.gen";
import { Answer, Empty } from "../ui/state";
import { BuildStatus } from "../ui/status";
import { Text } from "../ui/text";
import { Time, span } from "../ui/time";

/** The newest builds of a project. */
export function ProjectBuilds({ project }: { project: string }) {
  const q = useQuery<Build[], APIError>({
    queryKey: ["ListBuildsForProject", project],
    refetchInterval: (q) => (q.state.data?.some((b) => !b.buildComplete) ? 2_000 : 15_000),
    queryFn: async ({ signal }) => {
      const { ids } = await call("ListBuildsForProject", { projectName: project }, signal);
      return ids?.length ? ((await call("BatchGetBuilds", { ids: ids.slice(0, 25) }, signal)).builds ?? []) : [];
    },
  });
  return (
    <Answer of={q} what="the builds">
      {(builds) => (
        <Table
          items={[...builds].sort((a, b) => (b.buildNumber ?? 0) - (a.buildNumber ?? 0))}
          trackBy="id"
          enableKeyboardNavigation
          ariaLabels={{ tableLabel: "Builds" }}
          header={<Header>Builds</Header>}
          empty={<Empty title="No builds yet" />}
          columnDefinitions={[
            { id: "number", header: "Build", isRowHeader: true, cell: (b) => `#${b.buildNumber}` },
            { id: "status", header: "Status", cell: (b) => <BuildStatus status={b.buildStatus} /> },
            { id: "version", header: "Source version", minWidth: 140, cell: (b) => <Text>{b.sourceVersion ?? "-"}</Text> },
            { id: "commit", header: "Commit", cell: (b) => <Text code>{b.resolvedSourceVersion?.slice(0, 7) ?? "-"}</Text> },
            { id: "by", header: "Initiator", minWidth: 120, cell: (b) => <Text>{b.initiator ?? "-"}</Text> },
            { id: "started", header: "Started", cell: (b) => <Time at={b.startTime} /> },
            { id: "took", header: "Duration", cell: (b) => (b.endTime && b.startTime ? span(b.endTime - b.startTime) : "-") },
          ]}
        />
      )}
    </Answer>
  );
}

import Button from "@cloudscape-design/components/button";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import Input from "@cloudscape-design/components/input";
import Select from "@cloudscape-design/components/select";
import Table from "@cloudscape-design/components/table";
import { keepPreviousData, useInfiniteQuery, useQuery, type InfiniteData } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { useNavigate, useSearchParams } from "react-router";
import { ask, askAgain, call, type APIError, type Output } from "../api";
import { StatusTypeValues, type StatusType } from "../api.gen";
import { words } from "../project/webhook";
import { useRested } from "../ui/editor";
import { Link } from "../ui/link";
import { Answer, Empty } from "../ui/state";
import { BuildStatus } from "../ui/status";
import { Text } from "../ui/text";
import { Time } from "../ui/time";
import { buildPath, Retry, Stop } from "./actions";
import { Lasting } from "./lasting";

const ages: { value: string; label: string; seconds?: number }[] = [
  { value: "", label: "Any time" },
  { value: "1h", label: "The last hour", seconds: 3_600 },
  { value: "1d", label: "The last 24 hours", seconds: 86_400 },
  { value: "7d", label: "The last 7 days", seconds: 7 * 86_400 },
  { value: "30d", label: "The last 30 days", seconds: 30 * 86_400 },
];

/** Builds, the newest first, of one project or of all. The filters are in the page's address. */
export function BuildList({ project }: { project?: string }) {
  const [params, setParams] = useSearchParams();
  const navigate = useNavigate();
  const [chosenId, setChosenId] = useState<string>();
  const [initiator, setInitiator] = useState(params.get("initiator") ?? "");
  const by = useRested(initiator.trim(), 400);
  const get = (name: string) => params.get(name) ?? "";
  const set = (name: string, value: string) =>
    setParams(
      (old) => {
        const next = new URLSearchParams(old);
        if (value) next.set(name, value);
        else next.delete(name);
        return next;
      },
      { replace: true },
    );
  const of = project ?? get("project");
  const status = get("status");
  const age = ages.find((a) => a.value === get("since")) ?? ages[0]!;
  // From when it was chosen: the token of a next page is of the same question only.
  const since = useMemo(() => age.seconds && Math.floor(Date.now() / 1000) - age.seconds, [age]);
  const projects = useQuery<string[], APIError>({
    queryKey: ["ListProjects", "names"],
    enabled: project === undefined,
    queryFn: async ({ signal }) => {
      const all: string[] = [];
      for (let nextToken: string | undefined; ; ) {
        const page = await call("ListProjects", nextToken ? { nextToken } : {}, signal);
        all.push(...(page.projects ?? []));
        if (!page.nextToken) return all;
        nextToken = page.nextToken;
      }
    },
  });
  const q = useInfiniteQuery<Output<"ListBuildSummaries">, APIError, InfiniteData<Output<"ListBuildSummaries">>, unknown[], string | undefined>({
    queryKey: ["ListBuildSummaries", of, status, by, age.value],
    initialPageParam: undefined,
    getNextPageParam: (last) => last.nextToken,
    placeholderData: keepPreviousData,
    refetchInterval: (q) => askAgain(q.state.error, q.state.data?.pages.some((p) => p.builds?.some((b) => b.buildStatus === "IN_PROGRESS")) ? 2_000 : 10_000),
    queryFn: async ({ pageParam, signal }) => {
      // Whether somebody deleted the project is a question that has an answer; to list its builds would be refused.
      if (project !== undefined && !(await ask("BatchGetProjects", { names: [project] })).projects?.length) return {};
      return call(
        "ListBuildSummaries",
        {
          maxResults: 50,
          ...(of && { projectName: of }),
          ...(status && { status }),
          ...(by && { initiator: by }),
          ...(since && { since }),
          ...(pageParam && { nextToken: pageParam }),
        },
        signal,
      );
    },
  });
  const builds = (q.data?.pages ?? []).flatMap((p) => p.builds ?? []);
  const chosen = builds.find((b) => b.id === chosenId);
  const running = chosen?.buildStatus === "IN_PROGRESS";
  const filtered = !!(status || by || age.value || (project === undefined && of));

  return (
    <Answer of={q} what="the builds">
      {() => (
        <Table
          items={builds}
          trackBy="id"
          selectionType="single"
          selectedItems={chosen ? [chosen] : []}
          onSelectionChange={(e) => setChosenId(e.detail.selectedItems[0]?.id)}
          enableKeyboardNavigation
          wrapLines
          ariaLabels={{ tableLabel: "Builds", selectionGroupLabel: "Choose a build", itemSelectionLabel: (_, b) => `Choose build ${b.buildNumber} of ${b.projectName}` }}
          header={
            <Header
              counter={`(${builds.length}${q.hasNextPage ? "+" : ""})`}
              actions={
                <span className="actions">
                  <Stop id={chosen?.id} disabled={!running} />
                  <Retry id={chosen?.id} disabled={!chosen || running} />
                </span>
              }
            >
              Builds
            </Header>
          }
          filter={
            <div className="filters">
              {project === undefined && (
                <FormField label="Project">
                  <Select
                    selectedOption={of ? { value: of, label: of } : { value: "", label: "All projects" }}
                    options={[{ value: "", label: "All projects" }, ...(projects.data ?? []).map((p) => ({ value: p, label: p }))]}
                    filteringType="auto"
                    onChange={(e) => set("project", e.detail.selectedOption.value ?? "")}
                  />
                </FormField>
              )}
              <FormField label="Status">
                <Select
                  selectedOption={status ? { value: status, label: words(status) } : { value: "", label: "Any status" }}
                  options={[{ value: "", label: "Any status" }, ...StatusTypeValues.map((s) => ({ value: s, label: words(s) }))]}
                  onChange={(e) => set("status", e.detail.selectedOption.value ?? "")}
                />
              </FormField>
              <FormField label="Started">
                <Select selectedOption={age} options={ages} onChange={(e) => set("since", e.detail.selectedOption.value ?? "")} />
              </FormField>
              <FormField label="Initiator">
                <Input
                  type="search"
                  value={initiator}
                  placeholder="Exactly as listed"
                  spellcheck={false}
                  onChange={(e) => {
                    setInitiator(e.detail.value);
                    set("initiator", e.detail.value.trim());
                  }}
                />
              </FormField>
            </div>
          }
          empty={
            filtered ? (
              <Empty
                title="No build fits"
                action={
                  <Button
                    onClick={() => {
                      setInitiator("");
                      setParams(project === undefined ? {} : { tab: "builds" }, { replace: true });
                    }}
                  >
                    Clear the filters
                  </Button>
                }
              />
            ) : (
              <Empty title="No builds yet" action={project === undefined && <Button onClick={() => navigate("/projects")}>Projects</Button>}>
                Start one from the page of its project.
              </Empty>
            )
          }
          footer={
            q.hasNextPage && (
              <div className="center">
                <Button loading={q.isFetchingNextPage} onClick={() => void q.fetchNextPage()}>
                  Show older builds
                </Button>
              </div>
            )
          }
          columnDefinitions={[
            {
              id: "build",
              header: "Build",
              isRowHeader: true,
              minWidth: 130,
              cell: (b) => (
                <Link to={buildPath(b.id!)}>
                  <Text>{project === undefined ? `${b.projectName} #${b.buildNumber}` : `#${b.buildNumber}`}</Text>
                </Link>
              ),
            },
            {
              id: "status",
              header: "Status",
              minWidth: 140,
              cell: (b) => (
                <>
                  <BuildStatus status={b.buildStatus as StatusType} />
                  {b.buildStatus === "IN_PROGRESS" && b.currentPhase && <div>{words(b.currentPhase)}</div>}
                </>
              ),
            },
            { id: "version", header: "Source version", minWidth: 140, cell: (b) => <Text>{b.sourceVersion ?? "-"}</Text> },
            { id: "commit", header: "Commit", minWidth: 90, cell: (b) => <Text code>{b.resolvedSourceVersion?.slice(0, 7) ?? "-"}</Text> },
            { id: "by", header: "Initiator", minWidth: 120, cell: (b) => <Text>{b.initiator ?? "-"}</Text> },
            { id: "started", header: "Started", minWidth: 130, cell: (b) => <Time at={b.startTime} /> },
            { id: "took", header: "Duration", minWidth: 100, cell: (b) => <Lasting from={b.startTime} to={b.endTime} /> },
          ]}
        />
      )}
    </Answer>
  );
}

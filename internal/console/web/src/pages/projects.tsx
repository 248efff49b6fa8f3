import { useCollection } from "@cloudscape-design/collection-hooks";
import Button from "@cloudscape-design/components/button";
import Header from "@cloudscape-design/components/header";
import Pagination from "@cloudscape-design/components/pagination";
import Table from "@cloudscape-design/components/table";
import TextFilter from "@cloudscape-design/components/text-filter";
import { useNavigate } from "react-router";
import type { Project } from "../api.gen";
import { useAllProjects } from "../project/all";
import { StartBuild } from "../project/start";
import { useProviders } from "../source/providers";
import { Link } from "../ui/link";
import { Page } from "../ui/page";
import { Answer, Empty } from "../ui/state";
import { Text } from "../ui/text";
import { Time } from "../ui/time";

export default function Projects() {
  const q = useAllProjects({ poll: 30_000 });
  return (
    <Page title="Build projects">
      <Answer of={q} what="the projects">{(list) => <List projects={list} />}</Answer>
    </Page>
  );
}

function List({ projects }: { projects: Project[] }) {
  const navigate = useNavigate();
  const { providers } = useProviders();
  const providerName = (p: Project) => providers.find((o) => o.serverType === p.source?.type)?.name ?? (p.source?.type === "NO_SOURCE" ? "No source" : (p.source?.type ?? "-"));
  const create = (
    <Button variant="primary" onClick={() => navigate("/create-project")}>
      Create build project
    </Button>
  );
  const { items, actions, filteredItemsCount, collectionProps, filterProps, paginationProps } = useCollection(projects, {
    filtering: {
      filteringFunction: (p, text) => [p.name, p.description, p.source?.location, providerName(p)].some((s) => s?.toLowerCase().includes(text.toLowerCase())),
      empty: (
        <Empty title="No projects" action={create}>
          A project says where the source is and what builds do with it.
        </Empty>
      ),
      noMatch: <Empty title="No project fits" action={<Button onClick={() => actions.setFiltering("")}>Clear the filter</Button>} />,
    },
    pagination: { pageSize: 25 },
    sorting: { defaultState: { sortingColumn: { sortingField: "name" } } },
    selection: { trackBy: "name" },
  });
  const chosen = collectionProps.selectedItems?.[0];
  const open = (p: Project | undefined, to = "") => p && navigate(`/projects/${encodeURIComponent(p.name!)}${to}`);
  return (
    <Table
      {...collectionProps}
      items={items}
      variant="container"
      selectionType="single"
      enableKeyboardNavigation
      wrapLines
      ariaLabels={{
        tableLabel: "Build projects",
        selectionGroupLabel: "Choose a project",
        itemSelectionLabel: (_, p) => `Choose ${p.name}`,
      }}
      header={
        <Header
          counter={`(${projects.length})`}
          actions={
            <span className="actions">
              <StartBuild project={chosen?.name} />
              <Button disabled={!chosen} onClick={() => open(chosen, "/edit")}>
                Edit
              </Button>
              {create}
            </span>
          }
        >
          Projects
        </Header>
      }
      filter={
        <TextFilter
          {...filterProps}
          filteringPlaceholder="Find by name, repository or description"
          filteringAriaLabel="Find projects"
          countText={`${filteredItemsCount} ${filteredItemsCount === 1 ? "fits" : "fit"}`}
        />
      }
      pagination={<Pagination {...paginationProps} ariaLabels={{ nextPageLabel: "Next page", previousPageLabel: "Previous page", pageLabel: (n) => `Page ${n}` }} />}
      columnDefinitions={[
        {
          id: "name",
          header: "Name",
          sortingField: "name",
          isRowHeader: true,
          minWidth: 160,
          maxWidth: 360,
          cell: (p) => (
            <Link to={`/projects/${encodeURIComponent(p.name!)}`}>
              <Text>{p.name}</Text>
            </Link>
          ),
        },
        { id: "provider", header: "Source provider", sortingComparator: (a, b) => providerName(a).localeCompare(providerName(b)), cell: providerName },
        { id: "repository", header: "Repository", sortingComparator: (a, b) => (a.source?.location ?? "").localeCompare(b.source?.location ?? ""), minWidth: 200, maxWidth: 360, cell: (p) => <Text>{p.source?.location ?? "-"}</Text> },
        { id: "description", header: "Description", minWidth: 160, maxWidth: 320, cell: (p) => <Text>{p.description ?? "-"}</Text> },
        { id: "modified", header: "Last modified", sortingField: "lastModified", cell: (p) => <Time at={p.lastModified} /> },
      ]}
    />
  );
}

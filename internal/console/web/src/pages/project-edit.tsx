import { useState } from "react";
import { useParams } from "react-router";
import { useCall } from "../api";
import type { Project } from "../api.gen";
import { fromProject } from "../project/draft";
import { ProjectForm } from "../project/form";
import { Page } from "../ui/page";
import { Answer, Empty } from "../ui/state";

export default function EditProject() {
  const name = useParams()["project"]!;
  const q = useCall("BatchGetProjects", { names: [name] });
  return (
    <Page title={`Edit ${name}`}>
      <Answer of={q} what="the project">
        {(d) => (d.projects?.[0] ? <Begin key={name} project={d.projects[0]} /> : <Empty title={`There is no project ${name}`} />)}
      </Answer>
    </Page>
  );
}

/** The project as it was when the page was opened: a later answer does not overwrite what is typed. */
function Begin({ project }: { project: Project }) {
  const [start] = useState(() => fromProject(project));
  return <ProjectForm start={start} had={{ project: true, webhook: !!start.webhook }} />;
}

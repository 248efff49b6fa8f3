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
  return (
    <Page title={`Edit ${name}`}>
      <Fresh key={name} name={name} />
    </Page>
  );
}

/** Waits for an answer of now: what another page has read may be what somebody has changed since. */
function Fresh({ name }: { name: string }) {
  const [opened] = useState(Date.now);
  const q = useCall("BatchGetProjects", { names: [name] }, { anew: true });
  return (
    <Answer of={{ ...q, data: q.dataUpdatedAt >= opened ? q.data : undefined }} what="the project">
      {(d) => (d.projects?.[0] ? <Begin project={d.projects[0]} /> : <Empty title={`There is no project ${name}`} />)}
    </Answer>
  );
}

/** The project as it was when the page was opened: a later answer does not overwrite what is typed. */
function Begin({ project }: { project: Project }) {
  const [from, setFrom] = useState({ project, start: fromProject(project), times: 0 });
  return <ProjectForm key={from.times} start={from.start} project={from.project} reload={(p) => setFrom({ project: p, start: fromProject(p), times: from.times + 1 })} />;
}

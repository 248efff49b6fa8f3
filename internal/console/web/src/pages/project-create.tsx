import { useState } from "react";
import { useCall, type Output } from "../api";
import { blank } from "../project/draft";
import { ProjectForm } from "../project/form";
import { Page } from "../ui/page";
import { Answer } from "../ui/state";

export default function CreateProject() {
  const session = useCall("DescribeSession", {});
  return (
    <Page title="Create build project">
      <Answer of={session} what="your account">
        {(s) => <Begin session={s} />}
      </Answer>
    </Page>
  );
}

function Begin({ session: s }: { session: Output<"DescribeSession"> }) {
  const [start] = useState(() => blank(s.account ?? "", s.partition ?? "aws"));
  return <ProjectForm start={start} />;
}

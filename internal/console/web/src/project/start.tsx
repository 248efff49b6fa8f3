import ButtonDropdown from "@cloudscape-design/components/button-dropdown";
import { useState } from "react";
import { useNavigate } from "react-router";
import { useAction } from "../api";
import { buildPath } from "../build/actions";
import { StartWithOverrides } from "../build/start";
import { flash, flashError } from "../ui/flash";

/** Starts a build of a project, as it is configured or with overrides, and goes to its page. */
export function StartBuild({ project, primary }: { project: string | undefined; primary?: boolean }) {
  const start = useAction("StartBuild");
  const navigate = useNavigate();
  const [asking, setAsking] = useState(false);
  return (
    <>
      <ButtonDropdown
        variant={primary ? "primary" : "normal"}
        disabled={!project}
        loading={start.isPending}
        ariaLabel="More ways to start a build"
        items={[{ id: "overrides", text: "Start build with overrides" }]}
        onItemClick={() => setAsking(true)}
        mainAction={{
          text: "Start build",
          disabled: !project,
          loading: start.isPending,
          onClick: () =>
            start.mutate(
              { projectName: project! },
              {
                onSuccess: (out) => {
                  flash("success", `Started build ${out.build?.buildNumber ?? ""} of ${project}`);
                  if (out.build?.id) navigate(buildPath(out.build.id));
                },
                onError: (e) => flashError(`Start a build of ${project}`, e),
              },
            ),
        }}
      />
      {asking && project && <StartWithOverrides project={project} onClose={() => setAsking(false)} />}
    </>
  );
}

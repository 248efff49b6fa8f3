import Button from "@cloudscape-design/components/button";
import { useAction } from "../api";
import { flash, flashError } from "../ui/flash";

/** Starts a build of a project as it is configured. */
export function StartBuild({ project, primary }: { project: string | undefined; primary?: boolean }) {
  const start = useAction("StartBuild");
  return (
    <Button
      variant={primary ? "primary" : "normal"}
      disabled={!project}
      loading={start.isPending}
      onClick={() =>
        start.mutate(
          { projectName: project! },
          {
            onSuccess: (out) => flash("success", `Started build ${out.build?.buildNumber ?? ""} of ${project}`, out.build?.id),
            onError: (e) => flashError(`Start a build of ${project}`, e),
          },
        )
      }
    >
      Start build
    </Button>
  );
}

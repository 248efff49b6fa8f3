import Button from "@cloudscape-design/components/button";
import { useNavigate } from "react-router";
import { useAction } from "../api";
import { flash, flashError } from "../ui/flash";

/** The address of a build's page. */
export const buildPath = (id: string) => `/builds/${encodeURIComponent(id)}`;

/** Stops a build that waits or runs. */
export function Stop({ id, disabled }: { id: string | undefined; disabled?: boolean }) {
  const stop = useAction("StopBuild");
  return (
    <Button
      disabled={disabled || !id}
      loading={stop.isPending}
      onClick={() =>
        stop.mutate(
          { id: id! },
          {
            onSuccess: (out) => flash("info", `Stopping build ${out.build?.buildNumber ?? ""} of ${out.build?.projectName ?? ""}`),
            onError: (e) => flashError("Stop the build", e),
          },
        )
      }
    >
      Stop
    </Button>
  );
}

/** Builds once more what a build built, and goes to its page. */
export function Retry({ id, disabled }: { id: string | undefined; disabled?: boolean }) {
  const retry = useAction("RetryBuild");
  const navigate = useNavigate();
  return (
    <Button
      disabled={disabled || !id}
      loading={retry.isPending}
      onClick={() =>
        retry.mutate(
          { id: id! },
          {
            onSuccess: (out) => {
              flash("success", `Started build ${out.build?.buildNumber ?? ""} of ${out.build?.projectName ?? ""}`);
              if (out.build?.id) navigate(buildPath(out.build.id));
            },
            onError: (e) => flashError("Retry the build", e),
          },
        )
      }
    >
      Retry
    </Button>
  );
}

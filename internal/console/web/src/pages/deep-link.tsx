import { useQuery } from "@tanstack/react-query";
import { Navigate, useLocation, useSearchParams } from "react-router";
import { call, type APIError } from "../api";
import { buildPath } from "../build/actions";
import { logOf, projectOf, uuidOf } from "../log/address";
import type { Place } from "../log/tail";
import { Link } from "../ui/link";
import { Page } from "../ui/page";
import { Answer, Empty } from "../ui/state";
import { Text } from "../ui/text";

/**
 * Where the addresses of logs lead that builds have as their deepLink: on to
 * the page of the build. One that Corbel writes names its build; the others,
 * as AWS has them, name a log group and a stream.
 */
export default function DeepLink() {
  const [query] = useSearchParams();
  const log = logOf(useLocation().hash);
  const uuid = log && uuidOf(log);
  const project = log && projectOf(log);
  const build = query.get("build") ?? (uuid && project && `${project}:${uuid}`);
  if (build) return <Navigate to={buildPath(build)} replace />;
  return (
    <Page title="Log of a build">
      {log && uuid ? (
        <Search log={log} uuid={uuid} />
      ) : log ? (
        <NotFound log={log}>Its name does not end in the id of a build, as those of builds do.</NotFound>
      ) : (
        <Empty title="The address names no log" action={<Link to="/builds">All builds</Link>}>
          It may have been copied before the build had a log, or only a part of it was copied.
        </Empty>
      )}
    </Page>
  );
}

/** Looks for the build in every project: any of them can have a log group of any name. */
function Search({ log, uuid }: { log: Place; uuid: string }) {
  const q = useQuery<string | null, APIError>({
    queryKey: ["ListProjects", "with the build", uuid],
    queryFn: async ({ signal }) => {
      for (let nextToken: string | undefined; ; ) {
        const page = await call("ListProjects", nextToken ? { nextToken } : {}, signal);
        const ids = (page.projects ?? []).map((p) => `${p}:${uuid}`);
        const found = ids.length > 0 && (await call("BatchGetBuilds", { ids }, signal)).builds?.[0]?.id;
        if (found) return found;
        if (!page.nextToken) return null;
        nextToken = page.nextToken;
      }
    },
  });
  return (
    <Answer of={q} what="the build of the log">
      {(id) => (id ? <Navigate to={buildPath(id)} replace /> : <NotFound log={log}>No project that is here now has its build. It may be in another region or account, or have been deleted.</NotFound>)}
    </Answer>
  );
}

function NotFound({ log, children }: { log: Place; children: string }) {
  return (
    <Empty title="The log is not to be found" action={<Link to="/builds">All builds</Link>}>
      There is no build for the log stream <Text code>{log.stream}</Text> of the log group <Text code>{log.group}</Text>. {children}
    </Empty>
  );
}

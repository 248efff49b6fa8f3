/** The pages that providers have of repositories, commits and pull requests. */
import type { ProjectSource, ProviderHost } from "../api.gen";

/** The paths of a commit's and of a pull request's page, from the repository's. */
const paths: Record<string, { commit: string; pull: string }> = {
  GITHUB: { commit: "commit", pull: "pull" },
  GITHUB_ENTERPRISE: { commit: "commit", pull: "pull" },
  GITEA: { commit: "commit", pull: "pulls" },
  BITBUCKET: { commit: "commits", pull: "pull-requests" },
  BITBUCKET_DATA_CENTER: { commit: "commits", pull: "pull-requests" },
  GITLAB: { commit: "-/commit", pull: "-/merge_requests" },
  GITLAB_SELF_MANAGED: { commit: "-/commit", pull: "-/merge_requests" },
};

/** The page of a repository, "" if there is none that is known: only at hosts that the server knows, as it reaches them. */
function repository(source: ProjectSource | undefined, hosts: ProviderHost[]): string {
  try {
    const u = new URL(source?.location ?? "");
    const known = (h: ProviderHost) => (u.protocol === "https:" && h.name === u.host) || (!!h.git && new URL(h.git).origin === u.origin);
    if (!/^https?:$/.test(u.protocol) || !hosts.some(known)) return "";
    let path = u.pathname.replace(/\/$/, "").replace(/\.git$/, "");
    if (source?.type === "BITBUCKET_DATA_CENTER") {
      // Where it is cloned from is not where it is looked at.
      const m = /^(.*)\/scm\/(~?)([^/]+)\/([^/]+)$/.exec(path);
      if (!m) return "";
      path = `${m[1]}/${m[2] ? "users" : "projects"}/${m[3]}/repos/${m[4]}`;
    }
    return u.origin + path;
  } catch {
    return "";
  }
}

/** The page of a commit, "" if none is known. */
export function commitPage(source: ProjectSource | undefined, sha: string | undefined, hosts: ProviderHost[]): string {
  const path = paths[source?.type ?? ""]?.commit;
  const at = repository(source, hosts);
  return path && at && /^[0-9a-f]{40,64}$/.test(sha ?? "") ? `${at}/${path}/${sha}` : "";
}

/** The page of a pull request, "" if none is known. */
export function pullPage(source: ProjectSource | undefined, pull: number | undefined, hosts: ProviderHost[]): string {
  const path = paths[source?.type ?? ""]?.pull;
  const at = repository(source, hosts);
  return path && at && pull ? `${at}/${path}/${pull}` : "";
}

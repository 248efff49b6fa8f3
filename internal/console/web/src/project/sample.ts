/** Deliveries to try filter groups with: a push as each provider tells of it, in the fewest words. */
export interface Sample {
  headers: { name: string; value: string }[];
  /** The payload of a push to a repository's main branch. */
  push: string;
}

const commit = "0123456789abcdef0123456789abcdef01234567";
const before = "89abcdef0123456789abcdef0123456789abcdef";
const message = "Change the shop";

/** The path of a repository at its host: "owner/name". */
function path(location: string | undefined): string {
  try {
    return new URL(location ?? "").pathname.replace(/^\/|\.git$|\/$/g, "") || "OWNER/REPOSITORY";
  } catch {
    return "OWNER/REPOSITORY";
  }
}

export function sample(serverType: string | undefined, location: string | undefined): Sample {
  const repository = path(location);
  const write = (o: object) => JSON.stringify(o, null, 2);
  const github = {
    ref: "refs/heads/main",
    before,
    after: commit,
    repository: { id: 1, full_name: repository, clone_url: location },
    sender: { id: 12345678, login: "octocat", type: "User" },
    head_commit: { id: commit, message },
    commits: [{ id: commit, message, added: [], removed: [], modified: ["src/main.go"] }],
  };
  switch (serverType) {
    case "BITBUCKET":
      return {
        headers: [{ name: "X-Event-Key", value: "repo:push" }],
        push: write({
          repository: { uuid: "{00000000-0000-0000-0000-000000000001}", full_name: repository },
          actor: { account_id: "557058:12345678", nickname: "octocat" },
          push: { changes: [{ old: { type: "branch", name: "main", target: { hash: before, message: "" } }, new: { type: "branch", name: "main", target: { hash: commit, message } } }] },
        }),
      };
    case "BITBUCKET_DATA_CENTER":
      return {
        headers: [{ name: "X-Event-Key", value: "repo:refs_changed" }],
        push: write({
          eventKey: "repo:refs_changed",
          date: "2026-01-01T00:00:00+0000",
          actor: { id: 12345678, name: "octocat" },
          repository: { id: 1, slug: repository.split("/").at(-1), project: { key: repository.split("/").at(-2) } },
          changes: [{ ref: { id: "refs/heads/main", displayId: "main", type: "BRANCH" }, refId: "refs/heads/main", fromHash: before, toHash: commit, type: "UPDATE" }],
          toCommit: { id: commit, message },
        }),
      };
    case "GITLAB":
    case "GITLAB_SELF_MANAGED":
      return {
        headers: [{ name: "X-Gitlab-Event", value: "Push Hook" }],
        push: write({
          object_kind: "push",
          ref: "refs/heads/main",
          before,
          after: commit,
          checkout_sha: commit,
          user_id: 12345678,
          user_username: "octocat",
          project: { id: 1, path_with_namespace: repository, git_http_url: location },
          commits: github.commits,
          total_commits_count: 1,
        }),
      };
    case "GITEA":
      return { headers: [{ name: "X-Gitea-Event", value: "push" }], push: write({ ...github, pusher: github.sender }) };
    default:
      return { headers: [{ name: "X-GitHub-Event", value: "push" }], push: write(github) };
  }
}

import { expect, test } from "vitest";
import { commitPage, pullPage } from "./pages";

const sha = "0123456789abcdef0123456789abcdef01234567";
const hosts = [{ name: "github.com", git: "http://127.0.0.1:1" }, { git: "https://git.example.com/bb" }, { git: "http://127.0.0.1:3000" }];

test.each([
  ["GITHUB", "https://github.com/octo/app.git", `https://github.com/octo/app/commit/${sha}`, "https://github.com/octo/app/pull/7"],
  ["GITEA", "http://127.0.0.1:3000/octo/app", `http://127.0.0.1:3000/octo/app/commit/${sha}`, "http://127.0.0.1:3000/octo/app/pulls/7"],
  ["BITBUCKET_DATA_CENTER", "https://git.example.com/bb/scm/prj/app.git", `https://git.example.com/bb/projects/prj/repos/app/commits/${sha}`, "https://git.example.com/bb/projects/prj/repos/app/pull-requests/7"],
  ["BITBUCKET_DATA_CENTER", "https://git.example.com/scm/~ada/app.git", `https://git.example.com/users/ada/repos/app/commits/${sha}`, "https://git.example.com/users/ada/repos/app/pull-requests/7"],
  ["GITLAB_SELF_MANAGED", "https://git.example.com/a/b/app.git", `https://git.example.com/a/b/app/-/commit/${sha}`, "https://git.example.com/a/b/app/-/merge_requests/7"],
  ["GITHUB", "https://evil.example/octo/app.git", "", ""],
  ["GITHUB", "http://github.com/octo/app.git", "", ""],
  ["GITHUB", "javascript:alert(1)", "", ""],
  ["S3", "https://github.com/octo/app", "", ""],
] as const)("%s %s", (type, location, commit, pull) => {
  expect(commitPage({ type, location }, sha, hosts)).toBe(commit);
  expect(pullPage({ type, location }, 7, hosts)).toBe(pull);
});

test("what is no commit has no page", () => {
  expect(commitPage({ type: "GITHUB", location: "https://github.com/octo/app" }, "main", hosts)).toBe("");
});

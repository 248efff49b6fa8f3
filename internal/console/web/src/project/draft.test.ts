import { describe, expect, it } from "vitest";
import type { Project, ProjectSource } from "../api.gen";
import { atProvider, blank, check, fromProject, fromRefusal, fromWebhookRefusal, minimalBuildspec, toUpdate, toWebhook, toWebhookUpdate, versionsOf, webhookChanged, withType, type Draft } from "./draft";

const own = "version: 0.2\nphases: {}\n";
const host = { location: "", gitCloneDepth: 1, reportBuildStatus: true };

const cases: { name: string; from: ProjectSource; to: ProjectSource["type"]; want: ProjectSource }[] = [
  { name: "no source begins with commands that build", from: { type: "GITHUB", ...host, location: "x" }, to: "NO_SOURCE", want: { type: "NO_SOURCE", buildspec: minimalBuildspec } },
  { name: "it has no file", from: { type: "GITHUB", ...host, buildspec: "ci/build.yml" }, to: "NO_SOURCE", want: { type: "NO_SOURCE", buildspec: minimalBuildspec } },
  { name: "commands that are there stay", from: { type: "GITHUB", ...host, buildspec: own }, to: "NO_SOURCE", want: { type: "NO_SOURCE", buildspec: own } },
  { name: "what was not touched goes", from: { type: "NO_SOURCE", buildspec: minimalBuildspec }, to: "GITLAB", want: { type: "GITLAB", ...host } },
  { name: "what was written stays", from: { type: "NO_SOURCE", buildspec: own }, to: "GITLAB", want: { type: "GITLAB", ...host, buildspec: own } },
  { name: "chosen again", from: { type: "NO_SOURCE", buildspec: minimalBuildspec }, to: "NO_SOURCE", want: { type: "NO_SOURCE", buildspec: minimalBuildspec } },
  { name: "another host", from: { type: "GITHUB", location: "x", gitCloneDepth: 0, reportBuildStatus: false, buildspec: "b.yml" }, to: "GITEA", want: { type: "GITEA", location: "", gitCloneDepth: 0, reportBuildStatus: false, buildspec: "b.yml" } },
];
for (const c of cases) it(c.name, () => expect(withType(c.from, c.to)).toEqual(c.want));

const project: Project = {
  name: "app",
  serviceRole: "arn:aws:iam::123456789012:role/x",
  source: { type: "GITHUB", location: "https://github.com/octo/app.git", buildspec: "", buildStatusConfig: {} },
  secondarySources: [
    { type: "GITHUB", location: "https://github.com/octo/a.git", sourceIdentifier: "a" },
    { type: "GITHUB", location: "https://github.com/octo/b.git", sourceIdentifier: "b" },
  ],
  secondarySourceVersions: [
    { sourceIdentifier: "b", sourceVersion: "v2" },
    { sourceIdentifier: "a", sourceVersion: "v1" },
  ],
  artifacts: { type: "S3", location: "bucket", path: "" },
  cache: { type: "NO_CACHE", location: "" },
  environment: { type: "LINUX_CONTAINER", image: "host", computeType: "BUILD_GENERAL1_SMALL", certificate: "", environmentVariables: [{ name: "A", value: "" }] },
  timeoutInMinutes: 30,
  queuedTimeoutInMinutes: 60,
};

describe("a project that is there", () => {
  const d = fromProject(project);
  it("is sent as it is", () => expect(toUpdate(d, d.project)).toMatchObject(project));
  it("loses what was emptied", () => {
    const emptied = { ...d, project: { ...d.project, source: { ...d.project.source, location: "" }, timeoutInMinutes: undefined } };
    const sent = toUpdate(emptied, d.project);
    expect(sent.source).toEqual({ type: "GITHUB", buildspec: "", buildStatusConfig: {} });
    expect([sent.timeoutInMinutes, sent.queuedTimeoutInMinutes, sent.concurrentBuildLimit]).toEqual([60, 60, -1]);
  });
  it("keeps the versions of its sources by their place", () => {
    expect(versionsOf(d)).toEqual(["v1", "v2"]);
    const typed = { ...d, versions: versionsOf(d), project: { ...d.project, secondarySources: d.project.secondarySources!.with(0, { ...d.project.secondarySources![0]!, sourceIdentifier: "b" }) } };
    expect(versionsOf(typed)).toEqual(["v1", "v2"]);
    expect(toUpdate(typed).secondarySourceVersions).toEqual([
      { sourceIdentifier: "b", sourceVersion: "v1" },
      { sourceIdentifier: "b", sourceVersion: "v2" },
    ]);
  });
});

describe("a webhook", () => {
  const push = [[{ type: "EVENT" as const, pattern: "PUSH, RELEASED" }, { type: "HEAD_REF" as const, pattern: "main" }]];
  const had = { filterGroups: push, pullRequestBuildPolicy: { requiresCommentApproval: "ALL_PULL_REQUESTS" as const, approverRoles: ["GITHUB_ADMIN" as const] }, manualCreation: false };
  const d: Draft = { ...fromProject(project), webhook: had };
  const source = d.project.source;
  it("says that it has no filter groups", () => {
    expect(toWebhookUpdate({ filterGroups: [] })).toEqual({ filterGroups: [] });
    expect(toWebhookUpdate({ branchFilter: "main", filterGroups: [] })).toEqual({ branchFilter: "main" });
    expect(toWebhook({ filterGroups: [], rotateSecret: true, manualCreation: true })).toEqual({ manualCreation: true });
  });
  it("is told of what changed only", () => {
    expect(webhookChanged(d, { ...had }, { ...source, buildspec: "x" })).toBe(false);
    expect(webhookChanged({ ...d, webhook: { ...had, filterGroups: [] } }, had, source)).toBe(true);
    expect(webhookChanged({ ...d, webhook: { ...had, rotateSecret: true } }, had, source)).toBe(true);
    expect(webhookChanged(d, had, { ...source, location: "x" })).toBe(true);
  });
  it("has the words of its provider", () => {
    expect(atProvider({ ...had, scopeConfiguration: { name: "octo", scope: "GITHUB_ORGANIZATION" } }, ["PUSH"], ["GITLAB_OWNER"])).toEqual({
      filterGroups: [[{ type: "EVENT", pattern: "PUSH" }, { type: "HEAD_REF", pattern: "main" }]],
      pullRequestBuildPolicy: { requiresCommentApproval: "ALL_PULL_REQUESTS", approverRoles: [] },
      manualCreation: false,
    });
    expect(atProvider(undefined, [], [])).toBeUndefined();
  });
  it("has its faults where they are", () => {
    const place = (text: string) => fromWebhookRefusal(text, push);
    expect(place("Invalid filterGroups: filter 2 of filter group 1: the pattern of HEAD_REF is not an RE2 regular expression: x")).toEqual({ "filterGroups.0.1": "The pattern of HEAD_REF is not an RE2 regular expression: x" });
    expect(place("Invalid filterGroups: filter 1 of filter group 1: EVENT X is not one")).toEqual({ "filterGroups.0.events": "EVENT X is not one" });
    expect(place("Invalid filterGroups: filter group 1 has no filter of type EVENT: add one")).toEqual({ "filterGroups.0.events": "Filter group 1 has no filter of type EVENT: add one" });
    expect(place("Failed to create webhook. filter group 1")).toEqual({ webhook: "Failed to create webhook. filter group 1" });
  });
});

it("wants to know the secret of a source that says it has one", () => {
  const d = blank("123456789012", "aws");
  d.project.source.auth = { type: "SECRETS_MANAGER", resource: "" };
  expect(check(d)["source.auth.resource"]).toBeTruthy();
});

it("has no regular expressions for people", () => {
  const text = "1 validation error detected: Value 'a%' at 'tags.1.member.key' failed to satisfy constraint: Member must satisfy regular expression pattern: ^([\\p{L}\\p{Z}\\p{N}_.:/=@+\\-]*)$";
  expect(fromRefusal(text)).toEqual({ "tags.1.member.key": "Only letters, digits, spaces and _ . : / = + - @ can be used." });
});

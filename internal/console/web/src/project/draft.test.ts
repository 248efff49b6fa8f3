import { expect, it } from "vitest";
import type { ProjectSource } from "../api.gen";
import { minimalBuildspec, withType } from "./draft";

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

/** What the project form edits: the API's own documents, and how they come from a project and go to an operation. */
import type { CreateProjectInput, CreateWebhookInput, Project, ProjectSource, ServerType, SourceType, UpdateProjectInput, UpdateWebhookInput, Webhook } from "../api.gen";

export type WebhookDraft = Pick<CreateWebhookInput, "filterGroups" | "buildType" | "pullRequestBuildPolicy" | "branchFilter" | "scopeConfiguration" | "manualCreation"> &
  Pick<UpdateWebhookInput, "rotateSecret">;

export interface Draft {
  project: CreateProjectInput;
  /** The versions of the secondary sources in their order, in place of those of project: two identifiers may be alike while one is typed. */
  versions?: (string | undefined)[];
  /** Undefined if the project has no webhook. */
  webhook: WebhookDraft | undefined;
}

/** What of a draft is at the server already, as it is there. */
export interface Had {
  project?: CreateProjectInput;
  webhook?: WebhookDraft;
}

export const minimalBuildspec = `version: 0.2

phases:
  build:
    commands:
      - echo "Hello from $CODEBUILD_BUILD_ID"
`;

/** A new project as the form first shows it. */
export function blank(account: string, partition: string): Draft {
  return {
    project: {
      name: "",
      source: { type: "GITHUB", location: "", gitCloneDepth: 1, reportBuildStatus: true },
      artifacts: { type: "NO_ARTIFACTS" },
      environment: { type: "LINUX_CONTAINER", image: "host", computeType: "BUILD_GENERAL1_SMALL" },
      serviceRole: `arn:${partition}:iam::${account}:role/unused`,
    },
    webhook: undefined,
  };
}

function webhookDraft(w: Webhook): WebhookDraft {
  const { filterGroups, buildType, pullRequestBuildPolicy, branchFilter, scopeConfiguration, manualCreation } = w;
  return { filterGroups, buildType, pullRequestBuildPolicy, branchFilter, scopeConfiguration, manualCreation };
}

/** A webhook as the form first shows it. The policy is the one of the server where none is sent. */
export const firstWebhook: WebhookDraft = { filterGroups: [[{ type: "EVENT", pattern: "PUSH" }]], pullRequestBuildPolicy: { requiresCommentApproval: "ALL_PULL_REQUESTS" } };

/** A project as the form edits it: all that can be changed, also what the form has no field for. */
export function fromProject(p: Project): Draft {
  const { arn, created, lastModified, webhook, badge, projectVisibility, publicProjectAlias, resourceAccessRole, ...rest } = p;
  void [arn, created, lastModified, projectVisibility, publicProjectAlias, resourceAccessRole];
  return {
    project: {
      ...rest,
      name: p.name ?? "",
      source: p.source ?? { type: "NO_SOURCE" },
      artifacts: p.artifacts ?? { type: "NO_ARTIFACTS" },
      environment: p.environment ?? { type: "LINUX_CONTAINER", image: "", computeType: "BUILD_GENERAL1_SMALL" },
      serviceRole: p.serviceRole ?? "",
      badgeEnabled: badge?.badgeEnabled ?? false,
    },
    webhook: webhook && webhookDraft(webhook),
  };
}

/**
 * Takes out what was left empty: members that are undefined, "", or an object
 * or list of nothing. Values of variables and tags may be "", and what was
 * empty at the server already stays as it was.
 */
function tidy<T>(value: T, was?: unknown): T {
  const before = (was ?? {}) as Record<string, unknown>;
  if (Array.isArray(value)) return value.map((v, i) => tidy<unknown>(v, before[i])) as T;
  if (value === null || typeof value !== "object") return value;
  const out: Record<string, unknown> = {};
  for (const [k, v] of Object.entries(value)) {
    const t = tidy(v, before[k]);
    const empty = (t === "" && k !== "value" && k !== "pattern") || (t !== null && typeof t === "object" && Object.keys(t).length === 0);
    if (t === undefined || (empty && !same(t, before[k]))) continue;
    out[k] = t;
  }
  return out as T;
}

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

/** The versions of the secondary sources, in their order. */
export function versionsOf(d: Draft): (string | undefined)[] {
  const list = d.project.secondarySourceVersions ?? [];
  return d.versions ?? (d.project.secondarySources ?? []).map((s) => list.find((v) => v.sourceIdentifier === s.sourceIdentifier)?.sourceVersion);
}

/** The document of CreateProject. */
export function toCreate(d: Draft, had?: CreateProjectInput): CreateProjectInput {
  const { versions } = d;
  const secondarySourceVersions = versions
    ? (d.project.secondarySources ?? []).flatMap((s, i) => (versions[i] ? [{ sourceIdentifier: s.sourceIdentifier ?? "", sourceVersion: versions[i] }] : []))
    : d.project.secondarySourceVersions;
  const p = tidy({ ...d.project, secondarySourceVersions }, had);
  // The API wants these members even when they are empty, and says so itself.
  return { ...p, name: d.project.name, source: p.source ?? d.project.source, serviceRole: d.project.serviceRole };
}

/**
 * The document of UpdateProject for a project that is as had. A member that is
 * missing keeps its value, so what was emptied is sent in the way that empties
 * it, or as its default.
 * Source: user guide, UpdateProject; the idioms are those of Terraform.
 */
export function toUpdate(d: Draft, had?: CreateProjectInput): UpdateProjectInput {
  const p = toCreate(d, had);
  return {
    ...p,
    description: p.description ?? "",
    sourceVersion: p.sourceVersion ?? "",
    secondarySources: p.secondarySources ?? [],
    secondarySourceVersions: p.secondarySourceVersions ?? [],
    secondaryArtifacts: p.secondaryArtifacts ?? [],
    cache: p.cache ?? { type: "NO_CACHE" },
    timeoutInMinutes: p.timeoutInMinutes ?? 60,
    queuedTimeoutInMinutes: p.queuedTimeoutInMinutes ?? 480,
    concurrentBuildLimit: p.concurrentBuildLimit ?? -1,
    tags: p.tags ?? [],
    badgeEnabled: p.badgeEnabled ?? false,
    environment: { ...p.environment, environmentVariables: p.environment.environmentVariables ?? [] },
  };
}

/** The document of CreateWebhook, without the name of the project. */
export function toWebhook(w: WebhookDraft): WebhookDraft {
  const { rotateSecret, ...rest } = tidy(w);
  void rotateSecret; // it is new
  return rest;
}

/**
 * The document of UpdateWebhook, which cannot change whose events come and who
 * made the hook. Without filter groups it says so: the old ones would stay.
 */
export function toWebhookUpdate(w: WebhookDraft): WebhookDraft {
  const { scopeConfiguration, manualCreation, ...rest } = tidy(w);
  void [scopeConfiguration, manualCreation];
  return w.branchFilter || rest.filterGroups ? rest : { ...rest, filterGroups: [] };
}

/** Whether the webhook has to be told of d: what it says is other than it was, or it watches another source than start's. */
export function webhookChanged(d: Draft, had: WebhookDraft, start: ProjectSource): boolean {
  const { type, location, auth } = d.project.source;
  return !same(toWebhookUpdate(d.webhook ?? {}), toWebhookUpdate(had)) || !same([type, location, auth], [start.type, start.location, start.auth]);
}

/** A webhook at another provider: what that one has no word for is left out. */
export function atProvider(w: WebhookDraft | undefined, events: string[], roles: string[]): WebhookDraft | undefined {
  if (!w) return undefined;
  const { pullRequestBuildPolicy: policy, scopeConfiguration, ...rest } = w;
  void scopeConfiguration;
  const left = (pattern: string) =>
    pattern
      .split(",")
      .map((e) => e.trim())
      .filter((e) => events.includes(e))
      .join(", ");
  return {
    ...rest,
    filterGroups: w.filterGroups?.map((g) => g.map((f) => (f.type === "EVENT" ? { ...f, pattern: left(f.pattern) } : f))),
    pullRequestBuildPolicy: policy && { ...policy, approverRoles: policy.approverRoles?.filter((r) => roles.includes(r)) },
  };
}

/** Whether a source of this type is a repository at a provider that tokens are stored for. */
export function isGitHost(type: SourceType | undefined): type is SourceType & ServerType {
  return !!type && !["S3", "CODECOMMIT", "CODEPIPELINE", "NO_SOURCE"].includes(type);
}

/**
 * A source with another provider: what holds for any stays, the rest begins
 * anew. Without a source there is no file with the build commands, so they
 * begin with some that build.
 */
export function withType(s: ProjectSource, type: ProjectSource["type"]): ProjectSource {
  let { buildspec } = s;
  if (type === "NO_SOURCE" && !isInline(buildspec)) buildspec = minimalBuildspec;
  if (s.type === "NO_SOURCE" && type !== "NO_SOURCE" && buildspec === minimalBuildspec) buildspec = undefined;
  const kept: ProjectSource = { type, sourceIdentifier: s.sourceIdentifier, buildspec };
  return isGitHost(type) ? { ...kept, location: "", gitCloneDepth: s.gitCloneDepth ?? 1, reportBuildStatus: s.reportBuildStatus ?? true } : kept;
}

/** Whether a buildspec is YAML rather than the path of a file, by the rule of the server. */
export function isInline(buildspec: string | undefined): boolean {
  const s = buildspec ?? "";
  return s.includes("\n") || s.startsWith("{") || s.trim().startsWith("version:");
}

/** Problems by the path of the member that they are about; "" for those that name none. */
export type Problems = Record<string, string>;

/** What the form itself can tell before the API is asked. */
export function check(d: Draft): Problems {
  const found: Problems = {};
  const p = d.project;
  if (!/^[A-Za-z0-9][A-Za-z0-9\-_]{1,149}$/.test(p.name)) {
    found["name"] = "Enter 2 to 150 letters, digits, dashes and underscores, beginning with a letter or digit.";
  }
  const source = (s: ProjectSource, at: string) => {
    if (s.auth && s.auth.type !== "OAUTH" && !s.auth.resource) found[`${at}.auth.resource`] = "Enter the ARN of a secret or a connection.";
    if (isGitHost(s.type) && !s.location) found[`${at}.location`] = "Choose a repository or enter its address.";
    else if (isGitHost(s.type) && !/^https?:\/\/[^/]+\/./.test(s.location!) && s.location !== "CODEBUILD_DEFAULT_WEBHOOK_SOURCE_LOCATION") {
      found[`${at}.location`] = "Enter the address that the repository is cloned from with HTTPS, such as https://github.com/OWNER/REPOSITORY.git.";
    }
  };
  source(p.source, "source");
  p.secondarySources?.forEach((s, i) => {
    source(s, `secondarySources.${i + 1}.member`);
    if (!/^\w{1,127}$/.test(s.sourceIdentifier ?? "")) found[`secondarySources.${i + 1}.member.sourceIdentifier`] = "Enter up to 127 letters, digits and underscores.";
    else if (p.secondarySources!.findIndex((o) => o.sourceIdentifier === s.sourceIdentifier) !== i) found[`secondarySources.${i + 1}.member.sourceIdentifier`] = "Another source has this identifier.";
  });
  if (p.source.type === "NO_SOURCE" && !isInline(p.source.buildspec)) found["source.buildspec"] = "Without a source there is no file: insert the build commands.";
  if (p.concurrentBuildLimit !== undefined && !(p.concurrentBuildLimit >= 1)) found["concurrentBuildLimit"] = "Enter a number from 1 on.";
  if (!p.environment.image) found["environment.image"] = "Enter an image.";
  p.environment.environmentVariables?.forEach((v, i) => {
    if (!v.name) found[`environment.environmentVariables.${i + 1}.member.name`] = "Enter a name.";
  });
  p.tags?.forEach((t, i) => {
    if (!t.key) found[`tags.${i + 1}.member.key`] = "Enter a key.";
  });
  if (p.artifacts.type === "S3" && !p.artifacts.location) found["artifacts.location"] = "Enter the name of a bucket.";
  if (p.cache?.type === "S3" && !p.cache.location) found["cache.location"] = "Enter a bucket, with a prefix after a slash if there is one.";
  if (p.cache?.type === "LOCAL" && !p.cache.modes?.length) found["cache.modes"] = "Choose what to cache.";
  d.webhook?.filterGroups?.forEach((g, i) => {
    const events = g.find((f) => f.type === "EVENT");
    if (!events?.pattern) found[`filterGroups.${i}.events`] = "Choose at least one event.";
    g.forEach((f, j) => {
      if (f.type !== "EVENT" && !f.pattern) found[`filterGroups.${i}.${j}`] = "Enter a regular expression.";
    });
  });
  return found;
}

/** Which member the service's own texts are about; those of shape name it themselves. */
const texts: [RegExp, string][] = [
  [/project already exists|only alphanumeric characters, dash/i, "name"],
  [/service role|sts:AssumeRole/i, "serviceRole"],
  [/source location is required|invalid project source: the location|must not have a location|CloneUrl|No Access token found/i, "source.location"],
  [/inline buildspec|buildspec/i, "source.buildspec"],
  [/concurrentBuildLimit/, "concurrentBuildLimit"],
  [/image/i, "environment.image"],
  [/environment variable/i, "environment.environmentVariables"],
  [/compute type/i, "environment.computeType"],
  [/invalid artifacts|artifact/i, "artifacts.location"],
  [/cache/i, "cache.location"],
  [/logs/i, "logsConfig"],
  [/tag/i, "tags"],
];

/** Puts the API's refusal at the members that it names. */
export function fromRefusal(message: string): Problems {
  const found: Problems = {};
  const shape = /Value (?:'[^]*?' )?at '([^']+)' failed to satisfy constraint: ([^]*?)(?=; Value |$)/g;
  for (const m of message.matchAll(shape)) found[m[1]!] ??= plain(m[2]!);
  if (Object.keys(found).length > 0) return found;
  const text = texts.find(([re]) => re.test(message));
  return { [text?.[1] ?? ""]: message };
}

/** A constraint of the API in words; the pattern of tags is the only one that people meet. */
const plain = (constraint: string) => (/regular expression pattern: .*\\p\{L\}/.test(constraint) ? "Only letters, digits, spaces and _ . : / = + - @ can be used." : constraint);

/** Puts the refusal of a webhook at the filter that it names; "webhook" where it names none. */
export function fromWebhookRefusal(message: string, groups: WebhookDraft["filterGroups"]): Problems {
  const m = /(?:filter (\d+) of )?filter group (\d+):? ?([^]*)$/.exec(message);
  if (!m || !/^Invalid filterGroups/.test(message)) return { webhook: message };
  const [group, filter] = [Number(m[2]) - 1, Number(m[1] ?? 0) - 1];
  const type = groups?.[group]?.[filter]?.type;
  const text = m[3]!.charAt(0).toUpperCase() + m[3]!.slice(1);
  if (type && type !== "EVENT") return { [`filterGroups.${group}.${filter}`]: text };
  return { [`filterGroups.${group}.events`]: m[1] ? text : message.replace("Invalid filterGroups: ", "").replace(/^./, (c) => c.toUpperCase()) };
}

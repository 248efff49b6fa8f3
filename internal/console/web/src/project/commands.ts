/** A project as the commands and the configuration that make the same. */
import type { CreateProjectInput, ProjectArtifacts, ProjectSource } from "../api.gen";
import { toCreate, toUpdate, toWebhook, type Draft } from "./draft";

/** One word of a POSIX shell. */
export function shellQuote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function command(name: string, document: object): string {
  return `aws codebuild ${name} --cli-input-json ${shellQuote(JSON.stringify(document, null, 2))}`;
}

/** The commands of the AWS CLI that do what the form does. */
export function awsCLI(d: Draft, had: { project: boolean; webhook: boolean }): string {
  const list = [had.project ? command("update-project", toUpdate(d)) : command("create-project", toCreate(d))];
  const projectName = d.project.name;
  if (d.webhook) list.push(command(had.webhook ? "update-webhook" : "create-webhook", { projectName, ...toWebhook(d.webhook) }));
  else if (had.webhook) list.push(`aws codebuild delete-webhook --project-name ${shellQuote(projectName)}`);
  return list.join("\n\n") + "\n";
}

/** What no command does, as a comment of a shell and of HCL. */
function byHand(serverType: string): string {
  return `# ${serverType} is connected with OAuth, which is done in the console.\n`;
}

/** How a token is stored, without the token: it is read from a file. */
export function importCLI(serverType: string, authType: string): string {
  if (authType === "OAUTH") return byHand(serverType);
  const user = authType === "BASIC_AUTH" ? " --username USERNAME" : "";
  return `aws codebuild import-source-credentials --server-type ${serverType} --auth-type ${authType}${user} --token file://token.txt\n`;
}

type Value = string | number | boolean | string[] | Record<string, string> | Block | Block[] | undefined;
class Block {
  readonly members: [string, Value][];
  constructor(members: [string, Value][]) {
    this.members = members;
  }
}

const block = (...members: [string, Value][]) => new Block(members);

/** A string of HCL. In it, "${" and "%{" would begin a template. */
export function hclQuote(s: string): string {
  const escaped = s
    .replaceAll("\\", "\\\\")
    .replaceAll('"', '\\"')
    .replaceAll("\n", "\\n")
    .replaceAll("\r", "\\r")
    .replaceAll("\t", "\\t")
    .replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"))
    .replace(/([$%])\{/g, "$1$1{");
  return `"${escaped}"`;
}

/** Text of several lines as it is, where HCL can hold it so. */
function hclText(s: string): string {
  if (!s.includes("\n") || !s.endsWith("\n") || /[^\P{Cc}\n]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/u.test(s) || /^\s*EOT\s*$/m.test(s)) return hclQuote(s);
  return `<<EOT\n${s.replace(/([$%])\{/g, "$1$1{")}EOT`;
}

function write(members: [string, Value][], indent: string): string {
  let out = "";
  const scalars = members.filter(([, v]) => v !== undefined && !(v instanceof Block) && !(Array.isArray(v) && v[0] instanceof Block));
  const width = Math.max(0, ...scalars.map(([k]) => k.length));
  for (const [k, v] of members) {
    if (v === undefined || (Array.isArray(v) && v.length === 0)) continue;
    if (v instanceof Block) {
      if (v.members.some(([, m]) => m !== undefined)) out += `\n${indent}${k} {\n${write(v.members, indent + "  ")}${indent}}\n`;
    } else if (Array.isArray(v) && v[0] instanceof Block) {
      for (const b of v as Block[]) out += `\n${indent}${k} {\n${write(b.members, indent + "  ")}${indent}}\n`;
    } else {
      out += `${indent}${k.padEnd(width)} = ${scalar(v as string | number | boolean | string[] | Record<string, string>, indent)}\n`;
    }
  }
  return out.replace(/^\n/, "");
}

function scalar(v: string | number | boolean | string[] | Record<string, string>, indent: string): string {
  if (typeof v === "string") return v.startsWith("\u0000") ? v.slice(1) : hclText(v);
  if (Array.isArray(v)) return `[${v.map(hclQuote).join(", ")}]`;
  if (typeof v === "object") return `{\n${Object.entries(v).map(([k, t]) => `${indent}  ${hclQuote(k)} = ${hclQuote(t)}\n`).join("")}${indent}}`;
  return String(v);
}

/** An expression rather than a string. No text of a user begins with the mark: the API refuses it. */
const expression = (e: string) => "\u0000" + e;

function source(s: ProjectSource, secondary: boolean): Block {
  return block(
    ...(secondary ? ([["source_identifier", s.sourceIdentifier]] as [string, Value][]) : []),
    ["type", s.type],
    ["location", s.location],
    ["git_clone_depth", s.gitCloneDepth || undefined],
    ["insecure_ssl", s.insecureSsl || undefined],
    ["report_build_status", s.reportBuildStatus || undefined],
    ["buildspec", s.buildspec],
    ["git_submodules_config", s.gitSubmodulesConfig && block(["fetch_submodules", s.gitSubmodulesConfig.fetchSubmodules])],
    ["build_status_config", s.buildStatusConfig && block(["context", s.buildStatusConfig.context], ["target_url", s.buildStatusConfig.targetUrl])],
    ["auth", s.auth && block(["type", s.auth.type], ["resource", s.auth.resource])],
  );
}

function artifacts(a: ProjectArtifacts): Block {
  return block(
    ["artifact_identifier", a.artifactIdentifier],
    ["type", a.type],
    ["location", a.location],
    ["name", a.name],
    ["path", a.path],
    ["namespace_type", a.namespaceType],
    ["packaging", a.packaging],
    ["override_artifact_name", a.overrideArtifactName || undefined],
    ["encryption_disabled", a.encryptionDisabled || undefined],
    ["bucket_owner_access", a.bucketOwnerAccess],
  );
}

/** A name of a Terraform resource out of that of a project. */
function resourceName(name: string): string {
  const n = name.replace(/[^A-Za-z0-9_-]/g, "_");
  return /^[A-Za-z_]/.test(n) ? n : `project_${n}`;
}

/** The configuration of the Terraform provider for AWS that makes the project, its webhook and the credential that it uses, whose token is a variable. */
export function terraform(d: Draft, credential?: { serverType: string; authType: string }): string {
  const p: CreateProjectInput = toCreate(d);
  const id = resourceName(p.name || "project");
  const e = p.environment;
  const l = p.logsConfig;
  let out = "";
  if (credential?.authType === "OAUTH") out += byHand(credential.serverType) + "\n";
  else if (credential) {
    const kind = credential.serverType.toLowerCase();
    out += `variable "${kind}_token" {\n  type      = string\n  sensitive = true\n}\n\n`;
    out += `resource "aws_codebuild_source_credential" "${kind}" {\n${write(
      [
        ["auth_type", credential.authType],
        ["server_type", credential.serverType],
        ["user_name", credential.authType === "BASIC_AUTH" ? "USERNAME" : undefined],
        ["token", expression(`var.${kind}_token`)],
      ],
      "  ",
    )}}\n\n`;
  }
  out += `resource "aws_codebuild_project" "${id}" {\n${write(
    [
      ["name", p.name],
      ["description", p.description],
      ["service_role", p.serviceRole],
      ["source_version", p.sourceVersion],
      ["build_timeout", p.timeoutInMinutes],
      ["queued_timeout", p.queuedTimeoutInMinutes],
      ["concurrent_build_limit", p.concurrentBuildLimit],
      ["badge_enabled", p.badgeEnabled || undefined],
      ["encryption_key", p.encryptionKey],
      ["tags", p.tags?.length ? Object.fromEntries(p.tags.map((t) => [t.key ?? "", t.value ?? ""])) : undefined],
      ["source", source(p.source, false)],
      ["secondary_sources", p.secondarySources?.map((s) => source(s, true))],
      ["secondary_source_version", p.secondarySourceVersions?.map((v) => block(["source_identifier", v.sourceIdentifier], ["source_version", v.sourceVersion]))],
      [
        "environment",
        block(
          ["type", e.type],
          ["image", e.image],
          ["compute_type", e.computeType],
          ["image_pull_credentials_type", e.imagePullCredentialsType],
          ["privileged_mode", e.privilegedMode || undefined],
          ["certificate", e.certificate],
          ["environment_variable", e.environmentVariables?.map((v) => block(["name", v.name], ["value", v.value ?? ""], ["type", v.type]))],
          ["registry_credential", e.registryCredential && block(["credential", e.registryCredential.credential], ["credential_provider", e.registryCredential.credentialProvider])],
          ["fleet", e.fleet && block(["fleet_arn", e.fleet.fleetArn])],
        ),
      ],
      ["artifacts", artifacts(p.artifacts)],
      ["secondary_artifacts", p.secondaryArtifacts?.map(artifacts)],
      ["cache", p.cache && p.cache.type !== "NO_CACHE" ? block(["type", p.cache.type], ["location", p.cache.location], ["modes", p.cache.modes]) : undefined],
      [
        "logs_config",
        l &&
          block(
            ["cloudwatch_logs", l.cloudWatchLogs && block(["status", l.cloudWatchLogs.status], ["group_name", l.cloudWatchLogs.groupName], ["stream_name", l.cloudWatchLogs.streamName])],
            ["s3_logs", l.s3Logs && l.s3Logs.status === "ENABLED" ? block(["status", l.s3Logs.status], ["location", l.s3Logs.location], ["encryption_disabled", l.s3Logs.encryptionDisabled || undefined]) : undefined],
          ),
      ],
      ["vpc_config", p.vpcConfig?.vpcId ? block(["vpc_id", p.vpcConfig.vpcId], ["subnets", p.vpcConfig.subnets], ["security_group_ids", p.vpcConfig.securityGroupIds]) : undefined],
    ],
    "  ",
  )}}\n`;
  if (d.webhook) {
    const w = toWebhook(d.webhook);
    out += `\nresource "aws_codebuild_webhook" "${id}" {\n${write(
      [
        ["project_name", expression(`aws_codebuild_project.${id}.name`)],
        ["build_type", w.buildType],
        ["branch_filter", w.branchFilter],
        ["manual_creation", w.manualCreation || undefined],
        [
          "filter_group",
          w.filterGroups?.map((g) => block(["filter", g.map((f) => block(["type", f.type], ["pattern", f.pattern], ["exclude_matched_pattern", f.excludeMatchedPattern || undefined]))])),
        ],
        ["scope_configuration", w.scopeConfiguration && block(["name", w.scopeConfiguration.name], ["domain", w.scopeConfiguration.domain], ["scope", w.scopeConfiguration.scope])],
        ["pull_request_build_policy", w.pullRequestBuildPolicy && block(["requires_comment_approval", w.pullRequestBuildPolicy.requiresCommentApproval], ["approver_roles", w.pullRequestBuildPolicy.approverRoles])],
      ],
      "  ",
    )}}\n`;
  }
  return out;
}

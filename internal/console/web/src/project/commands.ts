/** A project as the commands and the configuration that make the same. */
import type { CreateProjectInput, ProjectArtifacts, ProjectSource, SourceCredential, SourceType } from "../api.gen";
import { unseen } from "../ui/unseen";
import { toCreate, toUpdate, toWebhook, toWebhookUpdate, type Draft, type Had } from "./draft";

/** A string of JSON or of HCL with an escape for each character that whoever copies it would not see, or that a terminal obeys. */
const visible = (s: string) => s.replace(new RegExp(unseen, "g"), (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));

/** One word of a POSIX shell. */
export function shellQuote(word: string): string {
  return /^[\w@%+:,./-][\w@%+=:,./-]*$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function command(name: string, document: object): string {
  return `aws codebuild ${name} --cli-input-json ${shellQuote(visible(JSON.stringify(document, null, 2)))}`;
}

/** The commands of the AWS CLI that do what the form does. */
export function awsCLI(d: Draft, had: Had): string {
  const list = [had.project ? command("update-project", toUpdate(d, had.project)) : command("create-project", toCreate(d))];
  const projectName = d.project.name;
  if (d.webhook) list.push(had.webhook ? command("update-webhook", { projectName, ...toWebhookUpdate(d.webhook) }) : command("create-webhook", { projectName, ...toWebhook(d.webhook) }));
  else if (had.webhook) list.push(`aws codebuild delete-webhook --project-name ${shellQuote(projectName)}`);
  return list.join("\n\n") + "\n";
}

/** What is stored for a provider: how it authenticates, and the ARN of what stands for the token if anything does. */
export type Stored = Pick<SourceCredential, "serverType" | "authType" | "resource">;

/** What OAuth connected, which no operation of the API imports. */
const byHand = (c: Stored) => `# ${c.serverType} is connected by OAuth. That is done in the console: connect it there first.\n`;

/** How a credential is stored, without its token: that is read from a file. */
export function importCLI(c: Stored): string {
  if (c.authType === "OAUTH") return byHand(c);
  const user = c.authType === "BASIC_AUTH" ? " --username USERNAME" : "";
  return `aws codebuild import-source-credentials --server-type ${c.serverType} --auth-type ${c.authType}${user} --token ${c.resource ? shellQuote(c.resource) : "file://token.txt"}\n`;
}

/** What stands on the right of "=". */
type Expression = string | number | boolean | string[] | Record<string, string> | Reference | Reference[];
type Value = Expression | Block | Block[] | undefined;

/** A name of something else in the configuration, rather than a string. */
class Reference {
  readonly to: string;
  constructor(to: string) {
    this.to = to;
  }
}

class Block {
  readonly members: [string, Value][];
  constructor(members: [string, Value][]) {
    this.members = members;
  }
}

const block = (...members: [string, Value][]) => new Block(members);

/** A string of HCL. In it, "${" and "%{" would begin a template. */
export function hclQuote(s: string): string {
  const text = s.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t");
  return `"${visible(text).replace(/([$%])\{/g, "$1$1{")}"`;
}

/** Text of several lines as it is, where HCL can hold it so. */
function hclText(s: string): string {
  if (!s.endsWith("\n") || unseen.test(s) || /^\s*EOT\s*$/m.test(s)) return hclQuote(s);
  return `<<EOT\n${s.replace(/([$%])\{/g, "$1$1{")}EOT`;
}

/** The members of a block, as "terraform fmt" has them: the "=" of neighbours are below each other, and blocks have an empty line before them. */
function write(members: [string, Value][], indent: string): string {
  const lines: string[] = [];
  let run: [string, string][] = []; // neighbours so far
  const close = () => {
    const width = Math.max(...run.map(([k]) => k.length));
    for (const [k, v] of run) lines.push(`${indent}${k.padEnd(width)} = ${v}\n`);
    run = [];
  };
  for (const [k, v] of members) {
    if (v === undefined || (Array.isArray(v) && v.length === 0)) continue;
    const blocks = v instanceof Block ? [v] : Array.isArray(v) && v[0] instanceof Block ? (v as Block[]) : undefined;
    if (!blocks) {
      const text = expression(v as Expression, indent);
      const map = text.startsWith("{"); // which is nobody's neighbour
      if (map) close();
      run.push([k, text]);
      if (map) close();
      continue;
    }
    close();
    for (const b of blocks) {
      const inside = write(b.members, indent + "  ");
      if (inside) lines.push(`${lines.length > 0 ? "\n" : ""}${indent}${k} {\n${inside}${indent}}\n`);
    }
  }
  close();
  return lines.join("");
}

function expression(v: Expression, indent: string): string {
  if (v instanceof Reference) return v.to;
  if (typeof v === "string") return hclText(v);
  if (Array.isArray(v)) return `[${v.map((x) => (x instanceof Reference ? x.to : hclQuote(x))).join(", ")}]`;
  if (typeof v === "object") return `{\n${write(Object.entries(v).map(([k, t]) => [hclQuote(k), new Reference(hclQuote(t))]), indent + "  ")}${indent}}`;
  return String(v);
}

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

/** The source types of the Terraform provider for AWS, which names its server types alike. */
const known = new Set<SourceType>(["BITBUCKET", "CODECOMMIT", "CODEPIPELINE", "GITHUB", "GITHUB_ENTERPRISE", "GITLAB", "GITLAB_SELF_MANAGED", "NO_SOURCE", "S3"]);

/** The configuration of the Terraform provider for AWS that makes the project, its webhook and the credential that it uses, whose token is a variable. */
export function terraform(d: Draft, credential?: Stored): string {
  const p: CreateProjectInput = toCreate(d);
  const id = resourceName(p.name || "project");
  const e = p.environment;
  const l = p.logsConfig;
  const batch = p.buildBatchConfig;
  let out = "";
  let made: Reference[] | undefined; // the credential, if the configuration makes it
  const strange = [...new Set([p.source, ...(p.secondarySources ?? [])].map((s) => s.type))].filter((t) => !known.has(t));
  for (const t of strange) out += `# The provider for AWS does not know the source type ${t}, and refuses it.\n`;
  if (e.computeConfiguration) out += "# The provider for AWS cannot set the computeConfiguration of a project's environment.\n";
  if (out) out += "\n";
  if (credential?.authType === "OAUTH") out += `${byHand(credential)}\n`;
  else if (credential && !known.has(credential.serverType as SourceType)) out += `# The provider for AWS cannot import a credential for ${credential.serverType}: aws codebuild import-source-credentials can.\n\n`;
  else if (credential) {
    made = [new Reference(`aws_codebuild_source_credential.${credential.serverType!.toLowerCase()}`)];
    const kind = credential.serverType!.toLowerCase();
    if (!credential.resource) out += `variable "${kind}_token" {\n  type      = string\n  sensitive = true\n}\n\n`;
    out += `resource "aws_codebuild_source_credential" "${kind}" {\n${write(
      [
        ["auth_type", credential.authType],
        ["server_type", credential.serverType],
        ["user_name", credential.authType === "BASIC_AUTH" ? "USERNAME" : undefined],
        ["token", credential.resource ?? new Reference(`var.${kind}_token`)],
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
      ["auto_retry_limit", p.autoRetryLimit],
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
          ["docker_server", e.dockerServer && block(["compute_type", e.dockerServer.computeType], ["security_group_ids", e.dockerServer.securityGroupIds])],
        ),
      ],
      ["artifacts", artifacts(p.artifacts)],
      ["secondary_artifacts", p.secondaryArtifacts?.map(artifacts)],
      ["cache", p.cache && p.cache.type !== "NO_CACHE" ? block(["type", p.cache.type], ["location", p.cache.location], ["modes", p.cache.modes], ["cache_namespace", p.cache.cacheNamespace]) : undefined],
      [
        "logs_config",
        l &&
          block(
            ["cloudwatch_logs", l.cloudWatchLogs && block(["status", l.cloudWatchLogs.status], ["group_name", l.cloudWatchLogs.groupName], ["stream_name", l.cloudWatchLogs.streamName])],
            ["s3_logs", l.s3Logs && l.s3Logs.status === "ENABLED" ? block(["status", l.s3Logs.status], ["location", l.s3Logs.location], ["encryption_disabled", l.s3Logs.encryptionDisabled || undefined], ["bucket_owner_access", l.s3Logs.bucketOwnerAccess]) : undefined],
          ),
      ],
      ["vpc_config", p.vpcConfig?.vpcId ? block(["vpc_id", p.vpcConfig.vpcId], ["subnets", p.vpcConfig.subnets], ["security_group_ids", p.vpcConfig.securityGroupIds]) : undefined],
      ["file_system_locations", p.fileSystemLocations?.map((f) => block(["identifier", f.identifier], ["type", f.type], ["location", f.location], ["mount_point", f.mountPoint], ["mount_options", f.mountOptions]))],
      [
        "build_batch_config",
        batch &&
          block(
            ["service_role", batch.serviceRole],
            ["combine_artifacts", batch.combineArtifacts],
            ["timeout_in_mins", batch.timeoutInMins],
            ["restrictions", batch.restrictions && block(["maximum_builds_allowed", batch.restrictions.maximumBuildsAllowed], ["compute_types_allowed", batch.restrictions.computeTypesAllowed])],
          ),
      ],
    ],
    "  ",
  )}}\n`;
  if (d.webhook) {
    const w = toWebhook(d.webhook);
    out += `\nresource "aws_codebuild_webhook" "${id}" {\n${write(
      [
        ["project_name", new Reference(`aws_codebuild_project.${id}.name`)],
        ["build_type", w.buildType],
        ["branch_filter", w.branchFilter],
        ["manual_creation", w.manualCreation || undefined],
        ["depends_on", made], // the hook is made with it
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

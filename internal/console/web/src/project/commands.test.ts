import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { unseen } from "../ui/unseen";
import { awsCLI, hclQuote, importCLI, shellQuote, terraform, type Stored } from "./commands";
import { blank, toCreate, toUpdate, toWebhook, fromProject, type Draft, type Had } from "./draft";

/** What somebody may have typed or a provider may have sent. */
const hostile = [
  "",
  "plain-word_1.2/3:4,5@6%7+8",
  " ",
  "two words",
  "'",
  "''",
  "it's",
  "'\\''",
  '"',
  'say "x"',
  "$HOME",
  "$(id)",
  "${HOME}",
  "$${HOME}",
  "$$${HOME}",
  "%{ if true }",
  "%%{x}",
  "$%{x}",
  "%${x}",
  "${",
  "$",
  "a$",
  "{}",
  "`id`",
  "!x!!",
  "\\",
  "a\\",
  "\\n",
  "\\\\'",
  "\\u0041",
  "a\nb",
  "a\n",
  "\n",
  "\n\n",
  "a\r\nb\r\n",
  "a\tb\tc\n",
  "EOT",
  "EOT\n",
  "x\n  EOT  \ny\n",
  "x\nEOTx\n",
  "<<EOT\nx\nEOT\n",
  "${x}\n%{y}\n$${z}\n\\n \"q\" 'q'\n",
  "#!/bin/sh\necho \"$(date)\" | tee 'a b' && rm -rf ~ # \\\n",
  ";&|<>()*?[]{}~^#=",
  "=ls",
  "-rf",
  "~root",
  "#x",
  "a=b",
  "\u00e9\u4e2d\u6587\ud83d\ude80",
  "\u200bzero\u202eturned\u2066\ufeff\u2028",
  "\u001b]0;title\u0007\u001b[31mred",
  "\u0001\u0008\u007f\u009b",
  "x".repeat(10_000),
];

const says = (s: string) => JSON.stringify(s).slice(0, 60);

describe("words of a shell", () => {
  for (const shell of ["sh", "bash"])
    it(`are what they were in ${shell}`, () => {
      const out = execFileSync(shell, ["-c", `printf '%s\\0' ${hostile.map(shellQuote).join(" ")}`]).toString();
      expect(out.split("\0").slice(0, -1)).toEqual(hostile);
    });

  it("have no quotes that they need not", () => {
    expect(["app", "a/b:c,d=e", "it's", ""].map(shellQuote)).toEqual(["app", "a/b:c,d=e", `'it'\\''s'`, "''"]);
  });
});

const model = JSON.parse(readFileSync(new URL("../../../../../api/model/codebuild.json", import.meta.url), "utf8")) as { shapes: Record<string, { members?: Record<string, string>; member?: string }> };

const role = "arn:aws:iam::123456789012:role/x";

/** A project in which every text that is free is the given one. */
function draft(text: string): Draft {
  const d = blank("123456789012", "aws");
  return {
    project: {
      ...d.project,
      name: "app",
      description: text,
      source: { ...d.project.source, location: "https://github.com/octo/app.git", buildspec: text, buildStatusConfig: { context: text } },
      environment: { ...d.project.environment, environmentVariables: [{ name: "A", value: text, type: "PLAINTEXT" }] },
      tags: [{ key: text || "k", value: text }],
      serviceRole: role,
    },
    webhook: { filterGroups: [[{ type: "EVENT", pattern: "PUSH" }, { type: "COMMIT_MESSAGE", pattern: text || "x" }]] },
  };
}

/**
 * The calls of the program aws that commands make: the words of each. An
 * interactive shell gets them as a terminal does, which obeys tabs and control
 * characters, and in which "!" has a meaning.
 */
function calls(commands: string, shell = "sh", interactive = false): string[][] {
  const input = `aws() { printf '%s\\0' "$#" "$@"; }\n${commands}\nexit\n`;
  const options = { input, maxBuffer: 1 << 24, env: { PATH: process.env["PATH"] }, stdio: ["pipe", "pipe", "ignore"] as ["pipe", "pipe", "ignore"] };
  const out = execFileSync(shell, interactive ? ["--norc", "--noprofile", "-i"] : ["-s"], options).toString().split("\0");
  const list: string[][] = [];
  for (let i = 0; i < out.length - 1; i += 1 + Number(out[i])) list.push(out.slice(i + 1, i + 1 + Number(out[i])));
  return list;
}

describe("commands of the AWS CLI", () => {
  for (const text of hostile)
    it(`carry ${says(text)}`, () => {
      const d = draft(text);
      const commands = awsCLI(d, {});
      expect(commands).not.toMatch(unseen);
      for (const [shell, interactive] of [["sh"], ["bash"], ["bash", true]] as [string, boolean?][]) {
        const [create, webhook, ...more] = calls(commands, shell, interactive);
        expect(more).toEqual([]);
        expect(create!.slice(0, 3)).toEqual(["codebuild", "create-project", "--cli-input-json"]);
        expect(JSON.parse(create![3]!)).toEqual(toCreate(d));
        expect(webhook!.slice(0, 3)).toEqual(["codebuild", "create-webhook", "--cli-input-json"]);
        expect(JSON.parse(webhook![3]!)).toEqual({ projectName: "app", ...toWebhook(d.webhook!) });
      }
    });

  const kept: Draft & Had = { ...draft("x"), webhook: { ...draft("x").webhook, scopeConfiguration: { name: "octo", scope: "GITHUB_ORGANIZATION" as const }, manualCreation: true } };
  const cases: { name: string; d: Draft; had: Had; want: [string, string, unknown][] }[] = [
    { name: "create a project", d: { ...kept, webhook: undefined }, had: {}, want: [["create-project", "--cli-input-json", toCreate(kept)]] },
    {
      name: "create a project and a webhook",
      d: kept,
      had: {},
      want: [
        ["create-project", "--cli-input-json", toCreate(kept)],
        ["create-webhook", "--cli-input-json", { projectName: "app", ...kept.webhook }],
      ],
    },
    {
      name: "change both, but not what the webhook keeps",
      d: kept,
      had: kept,
      want: [
        ["update-project", "--cli-input-json", toUpdate(kept)],
        ["update-webhook", "--cli-input-json", { projectName: "app", filterGroups: kept.webhook!.filterGroups }],
      ],
    },
    {
      name: "take the webhook away",
      d: { ...kept, webhook: undefined },
      had: kept,
      want: [
        ["update-project", "--cli-input-json", toUpdate({ ...kept, webhook: undefined })],
        ["delete-webhook", "--project-name", "app"],
      ],
    },
  ];
  for (const c of cases)
    it(c.name, () => {
      const got = calls(awsCLI(c.d, c.had)).map(([service, operation, option, value, ...rest]) => {
        expect([service, ...rest]).toEqual(["codebuild"]);
        return [operation, option, option === "--cli-input-json" ? JSON.parse(value!) : value];
      });
      expect(got).toEqual(c.want);
    });

  const arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:it's-AbCdEf";
  const stored: { c: Stored; want: string[] }[] = [
    { c: { serverType: "GITHUB", authType: "PERSONAL_ACCESS_TOKEN" }, want: ["--server-type", "GITHUB", "--auth-type", "PERSONAL_ACCESS_TOKEN", "--token", "file://token.txt"] },
    { c: { serverType: "BITBUCKET", authType: "BASIC_AUTH" }, want: ["--server-type", "BITBUCKET", "--auth-type", "BASIC_AUTH", "--username", "USERNAME", "--token", "file://token.txt"] },
    { c: { serverType: "GITHUB", authType: "SECRETS_MANAGER", resource: arn }, want: ["--server-type", "GITHUB", "--auth-type", "SECRETS_MANAGER", "--token", arn] },
  ];
  for (const { c, want } of stored) it(`import ${c.authType} of ${c.serverType}`, () => expect(calls(importCLI(c))).toEqual([["codebuild", "import-source-credentials", ...want]]));

  it("import nothing that OAuth connected", () => {
    expect(calls(importCLI({ serverType: "GITLAB", authType: "OAUTH" }))).toEqual([]);
    expect(importCLI({ serverType: "GITLAB", authType: "OAUTH" })).toMatch(/^# GITLAB is connected by OAuth/);
  });

  /** The members of a document that the API's model does not have where they stand. */
  function strangers(value: unknown, shape: string, at = ""): string[] {
    const { members, member } = model.shapes[shape]!;
    if (Array.isArray(value)) return value.flatMap((v, i) => strangers(v, member!, `${at}.${i}`));
    if (value === null || typeof value !== "object") return [];
    return Object.entries(value).flatMap(([k, v]) => (members![k] ? strangers(v, members![k]!, `${at}.${k}`) : [`${at}.${k}`]));
  }
  it("have only members that the operations have", () => {
    const d = fromProject({
      ...everything.project,
      arn: "arn:p",
      created: 1,
      lastModified: 2,
      badge: { badgeEnabled: true, badgeRequestUrl: "https://x" },
      projectVisibility: "PRIVATE",
      publicProjectAlias: "x",
      resourceAccessRole: role,
      webhook: { ...everything.webhook, url: "https://x", payloadUrl: "https://y", secret: "whsec_NotToBeToldAgain0001", manualCreation: false, lastModifiedSecret: 3, status: "ACTIVE", statusMessage: "x" },
    });
    for (const had of [d, {}])
      for (const [, operation, , text] of calls(awsCLI(d, had))) {
        const shape = operation!.replace(/(^|-)(.)/g, (_, __, c: string) => c.toUpperCase()) + "Input";
        expect(strangers(JSON.parse(text!), shape), operation).toEqual([]);
      }
  });
});

/** A project that has everything. */
const everything = {
  project: {
    name: "1 app",
    description: "it's",
    serviceRole: role,
    sourceVersion: "main",
    timeoutInMinutes: 10,
    queuedTimeoutInMinutes: 20,
    concurrentBuildLimit: 3,
    autoRetryLimit: 1,
    badgeEnabled: true,
    encryptionKey: "alias/x",
    tags: [{ key: "team", value: "shop" }, { key: "cost center", value: "" }],
    source: {
      type: "GITHUB",
      location: "https://github.com/octo/app.git",
      gitCloneDepth: 1,
      reportBuildStatus: true,
      insecureSsl: false,
      gitSubmodulesConfig: { fetchSubmodules: true },
      buildStatusConfig: { context: "ci", targetUrl: "https://ci.example.com" },
      auth: { type: "SECRETS_MANAGER", resource: "arn:x" },
    },
    secondarySources: [{ type: "BITBUCKET", sourceIdentifier: "lib", location: "https://bitbucket.org/octo/lib.git" }],
    secondarySourceVersions: [{ sourceIdentifier: "lib", sourceVersion: "v1" }],
    environment: {
      type: "LINUX_CONTAINER",
      image: "host",
      computeType: "BUILD_GENERAL1_SMALL",
      privilegedMode: true,
      certificate: "bucket/cert.pem",
      imagePullCredentialsType: "CODEBUILD",
      environmentVariables: [{ name: "A", value: "", type: "PLAINTEXT" }],
      registryCredential: { credential: "arn:y", credentialProvider: "SECRETS_MANAGER" },
      fleet: { fleetArn: "arn:z" },
      dockerServer: { computeType: "BUILD_GENERAL1_SMALL", securityGroupIds: ["sg-2"] },
    },
    artifacts: { type: "S3", location: "bucket", name: "n", path: "p", namespaceType: "BUILD_ID", packaging: "ZIP", overrideArtifactName: true, encryptionDisabled: true },
    secondaryArtifacts: [{ type: "S3", artifactIdentifier: "more", location: "bucket" }],
    cache: { type: "LOCAL", modes: ["LOCAL_SOURCE_CACHE", "LOCAL_CUSTOM_CACHE"], cacheNamespace: "shop" },
    logsConfig: { cloudWatchLogs: { status: "ENABLED", groupName: "g", streamName: "s" }, s3Logs: { status: "ENABLED", location: "bucket/logs", bucketOwnerAccess: "FULL" } },
    vpcConfig: { vpcId: "vpc-1", subnets: ["subnet-1", "subnet-2"], securityGroupIds: ["sg-1"] },
    fileSystemLocations: [{ identifier: "efs", type: "EFS", location: "fs:/", mountPoint: "/mnt", mountOptions: "ro" }],
    buildBatchConfig: { serviceRole: role, combineArtifacts: true, timeoutInMins: 60, restrictions: { maximumBuildsAllowed: 5, computeTypesAllowed: ["BUILD_GENERAL1_SMALL"] } },
  },
  webhook: {
    buildType: "BUILD",
    filterGroups: [[{ type: "EVENT", pattern: "PUSH, PULL_REQUEST_CREATED" }, { type: "HEAD_REF", pattern: "^refs/heads/\\d+$", excludeMatchedPattern: true }], [{ type: "EVENT", pattern: "RELEASED" }]],
    scopeConfiguration: { name: "octo", scope: "GITHUB_ORGANIZATION" },
    pullRequestBuildPolicy: { requiresCommentApproval: "ALL_PULL_REQUESTS", approverRoles: ["GITHUB_WRITE"] },
  },
} satisfies Draft;

describe("Terraform", () => {
  const strings: [string, string][] = [
    ["", `""`],
    ["plain", `"plain"`],
    [`"q" \\ \n\r\t`, `"\\"q\\" \\\\ \\n\\r\\t"`],
    ["${a} %{b} $${c} $%{d} $ % {", `"$\${a} %%{b} $$\${c} $%%{d} $ % {"`],
    ["\u001b[31m\u202e\u2028\ufeff\u007f", `"\\u001b[31m\\u202e\\u2028\\ufeff\\u007f"`],
    ["\u00e9\u4e2d\ud83d\ude80", `"\u00e9\u4e2d\ud83d\ude80"`],
  ];
  for (const [text, want] of strings) it(`has the string ${says(text)}`, () => expect(hclQuote(text)).toBe(want));

  const buildspecs: [string, string][] = [
    ["buildspec.yml", `= "buildspec.yml"\n`],
    ["version: 0.2\nphases:\n  build:\n    commands:\n      - echo \"${A}\" \\\n", `= <<EOT\nversion: 0.2\nphases:\n  build:\n    commands:\n      - echo "$\${A}" \\\nEOT\n`],
    ["no end", `= "no end"\n`],
    ["a\nb", `= "a\\nb"\n`],
    ["a\n EOT\nb\n", `= "a\\n EOT\\nb\\n"\n`],
    ["a\r\n", `= "a\\r\\n"\n`],
    ["a\u202e\n", `= "a\\u202e\\n"\n`],
  ];
  for (const [text, want] of buildspecs) it(`has the buildspec ${says(text)}`, () => expect(terraform(draft(text))).toMatch(new RegExp(`^    buildspec +${want.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")}`, "m")));

  it("has everything that a project has", () => {
    expect(terraform(everything, { serverType: "GITHUB", authType: "PERSONAL_ACCESS_TOKEN" })).toBe(whole);
  });

  it("takes what stands for a token as it is", () => {
    const text = terraform({ ...draft("x"), webhook: undefined }, { serverType: "GITHUB", authType: "CODECONNECTIONS", resource: "arn:aws:codeconnections:x" });
    expect(text).toMatch(/^resource "aws_codebuild_source_credential" "github" {\n  auth_type   = "CODECONNECTIONS"\n  server_type = "GITHUB"\n  token       = "arn:aws:codeconnections:x"\n}\n\nresource "aws_codebuild_project" "app" {\n/);
  });

  it("says what it cannot make", () => {
    expect(terraform(draft("x"), { serverType: "GITLAB", authType: "OAUTH" })).toMatch(/^# GITLAB is connected by OAuth[^\n]*\n\nresource "aws_codebuild_project"/);
    const d = draft("x");
    d.project.source = { type: "GITEA", location: "https://git.example.com/o/a.git" };
    d.project.environment.computeConfiguration = { vCpu: 2 };
    const text = terraform(d, { serverType: "GITEA", authType: "PERSONAL_ACCESS_TOKEN" });
    for (const part of ["source type GITEA", "computeConfiguration", "credential for GITEA"]) expect(text).toMatch(new RegExp(`^# The provider for AWS [^\n]*${part}`, "m"));
    expect(text).not.toContain("aws_codebuild_source_credential");
  });

  // The judge of all that, where it is installed.
  const env = { ...process.env, TF_CLI_CONFIG_FILE: "/dev/null", CHECKPOINT_DISABLE: "1" };
  const installed = spawnSync("terraform", ["version"], { env }).status === 0;
  describe.skipIf(!installed)("itself", () => {
    it("reads each string as it was", { timeout: 60_000 }, () => {
      const dir = mkdtempSync(join(tmpdir(), "corbel-terraform-"));
      try {
        const list = [...hostile, ...buildspecs.map(([t]) => t)];
        // As the value of an output, what a project has as its buildspec.
        const values = list.map((text) => /^    buildspec +(= [^]*?)\n\n    build_status_config/m.exec(terraform(draft(text)))?.[1] ?? '= ""');
        writeFileSync(join(dir, "main.tf"), values.map((v, i) => `output "o${i}" {\n  value ${v}\n}\noutput "q${i}" {\n  value = ${hclQuote(list[i]!)}\n}\n`).join(""));
        execFileSync("terraform", ["apply", "-auto-approve", "-no-color"], { cwd: dir, env, stdio: ["ignore", "ignore", "pipe"] });
        const out = JSON.parse(execFileSync("terraform", ["output", "-json"], { cwd: dir, env, maxBuffer: 1 << 24 }).toString()) as Record<string, { value: string }>;
        for (const [i, text] of list.entries()) expect([out[`o${i}`]!.value, out[`q${i}`]!.value], says(text)).toEqual([text, text]);
      } finally {
        rmSync(dir, { recursive: true });
      }
    });

    it("has nothing to format", { timeout: 60_000 }, () => {
      for (const text of [whole, ...hostile.map((t) => terraform(draft(t), { serverType: "BITBUCKET", authType: "BASIC_AUTH" }))])
        expect(execFileSync("terraform", ["fmt", "-"], { input: text, env }).toString()).toBe(text);
    });
  });
});

const whole = `variable "github_token" {
  type      = string
  sensitive = true
}

resource "aws_codebuild_source_credential" "github" {
  auth_type   = "PERSONAL_ACCESS_TOKEN"
  server_type = "GITHUB"
  token       = var.github_token
}

resource "aws_codebuild_project" "project_1_app" {
  name                   = "1 app"
  description            = "it's"
  service_role           = "arn:aws:iam::123456789012:role/x"
  source_version         = "main"
  build_timeout          = 10
  queued_timeout         = 20
  concurrent_build_limit = 3
  auto_retry_limit       = 1
  badge_enabled          = true
  encryption_key         = "alias/x"
  tags = {
    "team"        = "shop"
    "cost center" = ""
  }

  source {
    type                = "GITHUB"
    location            = "https://github.com/octo/app.git"
    git_clone_depth     = 1
    report_build_status = true

    git_submodules_config {
      fetch_submodules = true
    }

    build_status_config {
      context    = "ci"
      target_url = "https://ci.example.com"
    }

    auth {
      type     = "SECRETS_MANAGER"
      resource = "arn:x"
    }
  }

  secondary_sources {
    source_identifier = "lib"
    type              = "BITBUCKET"
    location          = "https://bitbucket.org/octo/lib.git"
  }

  secondary_source_version {
    source_identifier = "lib"
    source_version    = "v1"
  }

  environment {
    type                        = "LINUX_CONTAINER"
    image                       = "host"
    compute_type                = "BUILD_GENERAL1_SMALL"
    image_pull_credentials_type = "CODEBUILD"
    privileged_mode             = true
    certificate                 = "bucket/cert.pem"

    environment_variable {
      name  = "A"
      value = ""
      type  = "PLAINTEXT"
    }

    registry_credential {
      credential          = "arn:y"
      credential_provider = "SECRETS_MANAGER"
    }

    fleet {
      fleet_arn = "arn:z"
    }

    docker_server {
      compute_type       = "BUILD_GENERAL1_SMALL"
      security_group_ids = ["sg-2"]
    }
  }

  artifacts {
    type                   = "S3"
    location               = "bucket"
    name                   = "n"
    path                   = "p"
    namespace_type         = "BUILD_ID"
    packaging              = "ZIP"
    override_artifact_name = true
    encryption_disabled    = true
  }

  secondary_artifacts {
    artifact_identifier = "more"
    type                = "S3"
    location            = "bucket"
  }

  cache {
    type            = "LOCAL"
    modes           = ["LOCAL_SOURCE_CACHE", "LOCAL_CUSTOM_CACHE"]
    cache_namespace = "shop"
  }

  logs_config {
    cloudwatch_logs {
      status      = "ENABLED"
      group_name  = "g"
      stream_name = "s"
    }

    s3_logs {
      status              = "ENABLED"
      location            = "bucket/logs"
      bucket_owner_access = "FULL"
    }
  }

  vpc_config {
    vpc_id             = "vpc-1"
    subnets            = ["subnet-1", "subnet-2"]
    security_group_ids = ["sg-1"]
  }

  file_system_locations {
    identifier    = "efs"
    type          = "EFS"
    location      = "fs:/"
    mount_point   = "/mnt"
    mount_options = "ro"
  }

  build_batch_config {
    service_role      = "arn:aws:iam::123456789012:role/x"
    combine_artifacts = true
    timeout_in_mins   = 60

    restrictions {
      maximum_builds_allowed = 5
      compute_types_allowed  = ["BUILD_GENERAL1_SMALL"]
    }
  }
}

resource "aws_codebuild_webhook" "project_1_app" {
  project_name = aws_codebuild_project.project_1_app.name
  build_type   = "BUILD"
  depends_on   = [aws_codebuild_source_credential.github]

  filter_group {
    filter {
      type    = "EVENT"
      pattern = "PUSH, PULL_REQUEST_CREATED"
    }

    filter {
      type                    = "HEAD_REF"
      pattern                 = "^refs/heads/\\\\d+$"
      exclude_matched_pattern = true
    }
  }

  filter_group {
    filter {
      type    = "EVENT"
      pattern = "RELEASED"
    }
  }

  scope_configuration {
    name  = "octo"
    scope = "GITHUB_ORGANIZATION"
  }

  pull_request_build_policy {
    requires_comment_approval = "ALL_PULL_REQUESTS"
    approver_roles            = ["GITHUB_WRITE"]
  }
}
`;

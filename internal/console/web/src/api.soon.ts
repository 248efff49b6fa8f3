/** Operations that the server has only partly yet. Each goes from here when the generator writes it. */
import type { AuthType, ServerType, WebhookFilter } from "./api.gen";

interface Results {
  results?: {
    event?: string;
    headRef?: string;
    baseRef?: string;
    sha?: string;
    actor?: string;
    pullRequest?: string;
    outcome?: string;
    reason?: string;
    group?: number;
    groups?: { group?: number; matched?: boolean; reason?: string }[];
    buildId?: string;
  }[];
}

export interface SoonOperations {
  DescribeSession: {
    input: object;
    output: { account?: string; user?: string; accessKeyId?: string; region?: string; partition?: string; regions?: string[]; restricted?: boolean; expires?: number };
  };
  DescribeServer: {
    input: object;
    output: {
      version?: string;
      publicUrl?: string;
      builds?: number;
      executor?: string;
      verifyCredentials?: string;
      providers?: {
        serverType?: ServerType;
        name?: string;
        known?: boolean;
        hosts?: { name?: string; git?: string; api?: string; insecureSsl?: boolean }[];
        authTypes?: AuthType[];
        tokenUrls?: { host?: string; url?: string }[];
        gitUserHint?: string;
        oauth?: { web?: boolean; device?: boolean };
        scopes?: { scope?: string; neededFor?: string }[];
        events?: string[];
        approverRoles?: string[];
      }[];
    };
  };
  ListRepositories: {
    input: { serverType: ServerType; host?: string; search?: string; nextToken?: string };
    output: { repositories?: { name?: string; url?: string; private?: boolean; defaultBranch?: string }[]; nextToken?: string };
  };
  CheckBuildspec: {
    input: { buildspec: string };
    output: {
      problems?: { line?: number; column?: number; severity?: string; message?: string }[];
      phases?: { name?: string; commands?: number }[];
      variables?: string[];
    };
  };
  ListAuditRecords: {
    input: { resource?: string; nextToken?: string; maxResults?: number };
    output: {
      records?: {
        seq?: number;
        at?: number;
        principal?: string;
        event?: string;
        resource?: string;
        outcome?: string;
        message?: string;
        detail?: string;
        from?: string;
      }[];
      nextToken?: string;
    };
  };
  StartOAuth: {
    input: { serverType: ServerType; host?: string; flow: "WEB" | "DEVICE" };
    output: { authorizeUrl?: string; userCode?: string; verificationUrl?: string; interval?: number; flowId?: string; expires?: number };
  };
  PollOAuth: { input: { flowId: string }; output: { state?: string; arn?: string } };
  TestWebhook: {
    input: { projectName: string; headers?: { name: string; value: string }[]; payload: string; filterGroups?: WebhookFilter[][]; start?: boolean };
    output: Results;
  };
}

export const soon = {
  DescribeSession: "Corbel_20261101.DescribeSession",
  DescribeServer: "Corbel_20261101.DescribeServer",
  ListRepositories: "Corbel_20261101.ListRepositories",
  CheckBuildspec: "Corbel_20261101.CheckBuildspec",
  ListAuditRecords: "Corbel_20261101.ListAuditRecords",
  StartOAuth: "Corbel_20261101.StartOAuth",
  PollOAuth: "Corbel_20261101.PollOAuth",
  TestWebhook: "Corbel_20261101.TestWebhook",
} as const satisfies Record<keyof SoonOperations, string>;

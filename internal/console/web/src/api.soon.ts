/** Operations that the server has only partly yet. Each goes from here when the generator writes it. */
import type { WebhookFilter } from "./api.gen";

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
  TestWebhook: {
    input: { projectName: string; headers?: { name: string; value: string }[]; payload: string; filterGroups?: WebhookFilter[][]; start?: boolean };
    output: Results;
  };
}

export const soon = {
  TestWebhook: "Corbel_20261101.TestWebhook",
} as const satisfies Record<keyof SoonOperations, string>;

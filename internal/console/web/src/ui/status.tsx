import StatusIndicator, { type StatusIndicatorProps } from "@cloudscape-design/components/status-indicator";
import type { CredentialState, StatusType } from "../api.gen";

/** A status in a word or a few, which are not broken within. */
export function Status({ type, children }: { type: StatusIndicatorProps.Type; children: string }) {
  return (
    <span className="status">
      <StatusIndicator type={type}>{children}</StatusIndicator>
    </span>
  );
}

const build: Record<StatusType, [StatusIndicatorProps.Type, string]> = {
  SUCCEEDED: ["success", "Succeeded"],
  FAILED: ["error", "Failed"],
  FAULT: ["error", "Fault"],
  TIMED_OUT: ["error", "Timed out"],
  IN_PROGRESS: ["in-progress", "In progress"],
  STOPPED: ["stopped", "Stopped"],
};

/** The status of a build or of one of its phases. */
export function BuildStatus({ status }: { status: StatusType | undefined }) {
  const [type, text] = status ? build[status] : (["pending", "Pending"] as const);
  return <Status type={type}>{text}</Status>;
}

const credential: Record<CredentialState, [StatusIndicatorProps.Type, string]> = {
  VALID: ["success", "Valid"],
  UNVERIFIED: ["pending", "Not verified yet"],
  INSUFFICIENT: ["warning", "Lacks scopes"],
  EXPIRING: ["warning", "About to expire"],
  EXPIRED: ["error", "Expired"],
  REVOKED: ["error", "Refused by the provider"],
};

/** How good a source credential is. */
export function CredentialStatus({ state }: { state: CredentialState | undefined }) {
  const [type, text] = state ? credential[state] : (["pending", "Unknown"] as const);
  return <Status type={type}>{text}</Status>;
}

import Box from "@cloudscape-design/components/box";
import StatusIndicator, { type StatusIndicatorProps } from "@cloudscape-design/components/status-indicator";
import type { DeliveryOutcome, DeliveryResult } from "../api.gen";
import { buildPath } from "../build/actions";
import { words } from "../project/webhook";
import { Link } from "../ui/link";
import { Text } from "../ui/text";

const outcomes: Record<DeliveryOutcome, [StatusIndicatorProps.Type, string]> = {
  STARTED: ["success", "Started a build"],
  WOULD_START: ["success", "Would start a build"],
  NO_MATCH: ["stopped", "No group matches"],
  AWAITING_APPROVAL: ["pending", "Approval was asked for"],
  IGNORED: ["stopped", "Ignored"],
  FAILED: ["error", "Failed"],
};

/** What came of one event of a delivery: the verdict of each filter group, and the build if there is one. */
export function Verdict({ result: r }: { result: DeliveryResult }) {
  const [type, text] = r.outcome ? outcomes[r.outcome] : (["pending", "Not decided"] as const);
  const facts = [
    r.event && words(r.event),
    r.pullRequest && `pull request ${r.pullRequest}`,
    r.headRef,
    r.baseRef && `into ${r.baseRef}`,
    (r.login ?? r.actor) && `by ${r.login ? `${r.login} (${r.actor ?? "?"})` : r.actor}`,
    r.sha && `at ${r.sha.slice(0, 7)}`,
  ].filter(Boolean);
  return (
    <div className="verdict">
      <div>
        <StatusIndicator type={type}>{text}</StatusIndicator>{" "}
        {r.buildId && (
          <Link to={buildPath(r.buildId)}>
            <Text>{r.buildId}</Text>
          </Link>
        )}
      </div>
      {facts.length > 0 && (
        <Box color="text-body-secondary">
          <Text>{facts.join(", ")}</Text>
        </Box>
      )}
      {[...new Set([r.reason, r.note])].map((t, i) => t && <div key={i}><Text lines>{t}</Text></div>)}
      {(r.groups?.length ?? 0) > 0 && (
        <ul className="plain">
          {r.groups!.map((g) => (
            <li key={g.group}>
              Group {g.group} {g.matched ? "matches" : "does not match"}
              {g.reason && <Text>{`: ${g.reason}`}</Text>}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

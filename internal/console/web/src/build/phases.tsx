import Box from "@cloudscape-design/components/box";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import type { Build, BuildPhase } from "../api.gen";
import { words } from "../project/webhook";
import { BuildStatus } from "../ui/status";
import { Text } from "../ui/text";
import { span } from "../ui/time";
import { useSeconds } from "./lasting";

interface Bar {
  phase: BuildPhase;
  /** Seconds from the build's start, and how long so far. */
  from: number;
  took: number;
  running: boolean;
}

/** The phases as far as the build has come, with their times until now. */
function useBars(build: Build): { bars: Bar[]; total: number } {
  const now = useSeconds(!build.buildComplete);
  const start = build.startTime ?? now;
  const bars = (build.phases ?? []).map((phase) => {
    const from = (phase.startTime ?? start) - start;
    const running = !build.buildComplete && phase.endTime === undefined && phase.phaseType !== "COMPLETED";
    const end = phase.endTime ?? (running ? now : phase.startTime) ?? start;
    return { phase, from, took: Math.max(0, end - start - from), running };
  });
  return { bars, total: Math.max(0.001, ...bars.map((b) => b.from + b.took)) };
}

const colour = (b: Bar) => (b.running ? "running" : (b.phase.phaseStatus ?? "SUCCEEDED").toLowerCase());

/** The phases in one line, each as wide as it is long. */
export function PhaseStrip({ build }: { build: Build }) {
  const { bars } = useBars(build);
  const shown = bars.filter((b) => b.phase.phaseType !== "COMPLETED");
  const current = shown.at(-1);
  if (!current) return null;
  return (
    <div className="strip-box">
      <div className="strip" aria-hidden="true">
        {shown.map((b) => (
          // 100 times, since a sum below 1 leaves a part of the line empty.
          <div key={b.phase.phaseType} className={`strip-part ${colour(b)}`} style={{ flexGrow: 100 * (Math.sqrt(b.took) + 0.05) }} title={`${words(b.phase.phaseType ?? "")}: ${span(b.took)}`} />
        ))}
      </div>
      {!build.buildComplete && (
        <Box color="text-body-secondary">
          <span role="status">{words(current.phase.phaseType ?? "")}</span>, {span(Math.floor(current.took))}
        </Box>
      )}
    </div>
  );
}

/** Whether a context of a phase is about something that went wrong. */
const isTrouble = (p: BuildPhase, code: string | undefined) => (p.phaseStatus !== undefined && !["SUCCEEDED", "IN_PROGRESS", "STOPPED"].includes(p.phaseStatus)) || code === "COMMIT_STATUS_NOT_SENT";

/** What went wrong, by phase. */
export function troubles(build: Build): { phase: string; code: string; message: string }[] {
  return (build.phases ?? []).flatMap((p) =>
    (p.contexts ?? [])
      .filter((c) => (c.message || c.statusCode) && isTrouble(p, c.statusCode))
      .map((c) => ({ phase: words(p.phaseType ?? ""), code: c.statusCode ?? "", message: c.message ?? "" })),
  );
}

/** The phases below each other over the time of the build, with what each had to say. */
export function PhaseTimeline({ build }: { build: Build }) {
  const { bars, total } = useBars(build);
  return (
    <ol className="timeline" aria-label="Phases">
      {bars.map((b) => (
        <li key={b.phase.phaseType}>
          <div className="timeline-name">{words(b.phase.phaseType ?? "")}</div>
          <div className="timeline-status">
            {b.phase.phaseType === "COMPLETED" ? <BuildStatus status={build.buildStatus} /> : b.running ? <StatusIndicator type="in-progress">In progress</StatusIndicator> : <BuildStatus status={b.phase.phaseStatus} />}
          </div>
          <div className="timeline-track" aria-hidden="true">
            {b.phase.phaseType !== "COMPLETED" && <div className={`timeline-bar ${colour(b)}`} style={{ insetInlineStart: `${(b.from / total) * 100}%`, inlineSize: `${(b.took / total) * 100}%` }} />}
          </div>
          <div className="timeline-time">{b.phase.phaseType === "COMPLETED" ? "" : span(b.running ? Math.floor(b.took) : b.took)}</div>
          {(b.phase.contexts ?? [])
            .filter((c) => c.statusCode || c.message)
            .map((c, i) => (
              <div key={i} className={"timeline-context" + (isTrouble(b.phase, c.statusCode) ? " trouble" : "")}>
                {c.statusCode && <Text code>{c.statusCode}</Text>} <Text lines>{c.message}</Text>
              </div>
            ))}
        </li>
      ))}
    </ol>
  );
}

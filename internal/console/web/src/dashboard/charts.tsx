/** The charts of the dashboard, in a chunk of their own: they are half of what the page weighs. */
import BarChart from "@cloudscape-design/components/bar-chart";
import Container from "@cloudscape-design/components/container";
import Header from "@cloudscape-design/components/header";
import MixedLineBarChart from "@cloudscape-design/components/mixed-line-bar-chart";
import type { BuildDay } from "../api.gen";
import { Empty } from "../ui/state";
import { span } from "../ui/time";

const dayText = new Intl.DateTimeFormat("en", { month: "short", day: "numeric", timeZone: "UTC" });
const date = (d: BuildDay) => dayText.format(new Date(`${d.date}T00:00:00Z`));

/** The share of builds that succeeded, in percent; stopped ones say nothing of it. */
export function passRate(days: BuildDay[]): number | undefined {
  let good = 0;
  let all = 0;
  for (const d of days) {
    good += d.succeeded ?? 0;
    all += (d.succeeded ?? 0) + (d.failed ?? 0) + (d.faulted ?? 0) + (d.timedOut ?? 0);
  }
  return all ? (100 * good) / all : undefined;
}

/** Weeks in the place of days, each by its first, so that bars stay wide enough to be seen. */
function weeks(days: BuildDay[]): BuildDay[] {
  const list: BuildDay[] = [];
  for (let end = days.length; end > 0; end -= 7) {
    const part = days.slice(Math.max(0, end - 7), end);
    const sum = (pick: (d: BuildDay) => number | undefined) => part.reduce((n, d) => n + (pick(d) ?? 0), 0);
    const most = (pick: (d: BuildDay) => number | undefined) => Math.max(...part.map((d) => pick(d) ?? 0));
    list.unshift({ date: part[0]!.date, succeeded: sum((d) => d.succeeded), failed: sum((d) => d.failed), faulted: sum((d) => d.faulted), timedOut: sum((d) => d.timedOut), stopped: sum((d) => d.stopped), mostQueued: most((d) => d.mostQueued), mostRunning: most((d) => d.mostRunning) });
  }
  return list;
}

const none = <Empty title="No builds in this time" />;

export default function Charts({ days: each }: { days: BuildDay[] }) {
  const long = each.length > 31;
  const days = long ? weeks(each) : each;
  const per = long ? "a week" : "a day";
  const most = Math.max(1, ...days.map((d) => (d.succeeded ?? 0) + (d.failed ?? 0) + (d.faulted ?? 0) + (d.timedOut ?? 0) + (d.stopped ?? 0)));
  const count = (pick: (d: BuildDay) => number | undefined) => days.map((d) => ({ x: date(d), y: pick(d) ?? 0 }));
  const any = days.some((d) => (d.succeeded ?? 0) + (d.failed ?? 0) + (d.faulted ?? 0) + (d.timedOut ?? 0) + (d.stopped ?? 0) > 0);
  const known = each.filter((d) => d.medianSeconds !== undefined);
  const rates = days.map((d) => ({ x: date(d), y: passRate([d]) })).filter((p): p is { x: string; y: number } => p.y !== undefined);
  const common = { height: 200, hideFilter: true, xScaleType: "categorical" } as const;
  return (
    <div className="charts">
      <Container header={<Header variant="h2" description="Days are those of UTC.">Builds {per}</Header>}>
        <BarChart
          {...common}
          xDomain={days.map(date)}
          stackedBars
          ariaLabel={`Builds ${per} by outcome`}
          yDomain={[0, most]}
          yTickFormatter={(n) => (Number.isInteger(n) ? String(n) : "")}
          series={
            any
              ? [
                  { type: "bar", title: "Succeeded", color: "#2ea597", data: count((d) => d.succeeded) },
                  { type: "bar", title: "Failed", color: "#d63f38", data: count((d) => (d.failed ?? 0) + (d.faulted ?? 0) + (d.timedOut ?? 0)) },
                  { type: "bar", title: "Stopped", color: "#7d8998", data: count((d) => d.stopped) },
                ]
              : []
          }
          empty={none}
        />
      </Container>
      <Container header={<Header variant="h2">Pass rate</Header>}>
        <BarChart {...common} xDomain={days.map(date)} ariaLabel={`Pass rate ${per}, in percent`} yDomain={[0, 100]} yTickFormatter={(n) => `${n}%`} series={rates.length ? [{ type: "bar", title: "Succeeded", color: "#2ea597", data: rates, valueFormatter: (n) => `${Math.round(n)}%` }] : []} empty={none} />
      </Container>
      <Container header={<Header variant="h2" description="At the same time, at the busiest moment.">Running and queued</Header>}>
        <MixedLineBarChart
          {...common}
          xDomain={days.map(date)}
          ariaLabel={`Builds that ran and waited at the same time, at most ${per}`}
          yDomain={[0, Math.max(1, ...days.map((d) => Math.max(d.mostRunning ?? 0, d.mostQueued ?? 0)))]}
          yTickFormatter={(n) => (Number.isInteger(n) ? String(n) : "")}
          series={
            days.some((d) => (d.mostRunning ?? 0) + (d.mostQueued ?? 0) > 0)
              ? [
                  { type: "bar", title: "Running", color: "#688ae8", data: count((d) => d.mostRunning) },
                  { type: "line", title: "Queued", color: "#e07f2d", data: count((d) => d.mostQueued) },
                ]
              : []
          }
          empty={none}
        />
      </Container>
      <Container header={<Header variant="h2">Duration</Header>}>
        <MixedLineBarChart
          {...common}
          xDomain={each.map(date)}
          ariaLabel="Duration of builds a day"
          yDomain={[0, Math.max(1, ...known.map((d) => d.p90Seconds ?? 0)) * 1.1]}
          yTickFormatter={(n) => span(n)}
          series={
            known.length
              ? [
                  { type: long ? "line" : "bar", title: "Median", color: "#688ae8", data: known.map((d) => ({ x: date(d), y: d.medianSeconds! })), valueFormatter: span },
                  { type: "line", title: "9 of 10 are faster", color: "#c33d69", data: known.map((d) => ({ x: date(d), y: d.p90Seconds ?? d.medianSeconds! })), valueFormatter: span },
                ]
              : []
          }
          empty={none}
        />
      </Container>
    </div>
  );
}

import { useSyncExternalStore } from "react";

// With the zone, since the times in logs are in another.
const absolute = new Intl.DateTimeFormat("en", { year: "numeric", month: "short", day: "numeric", hour: "numeric", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

const watchers = new Set<() => void>();
let now = Date.now();
setInterval(() => {
  now = Date.now();
  for (const f of watchers) f();
}, 5_000);

function subscribe(f: () => void) {
  watchers.add(f);
  return () => watchers.delete(f);
}

const units: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** How far a time is away, in words. What was there before is never to come, whatever the clocks of the server and of the browser say. */
export function away(seconds: number, coming: boolean): string {
  if (!coming) seconds = Math.min(seconds, 0);
  for (const [unit, size] of units) if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit);
  return coming && seconds > 0 ? "in less than a minute" : "less than a minute ago";
}

/** A point in time, seconds since 1970 as the API gives it: how long ago, and exactly when pointed at. One that can be ahead is coming. */
export function Time({ at, exact, coming = false }: { at: number | undefined; exact?: boolean; coming?: boolean }) {
  useSyncExternalStore(subscribe, () => now); // shown anew now and then, by the clock itself
  if (at === undefined) return <>-</>;
  const date = new Date(at * 1000);
  const full = absolute.format(date);
  return (
    <time dateTime={date.toISOString()} title={full}>
      {exact ? full : away(at - Date.now() / 1000, coming)}
    </time>
  );
}

/** A span of seconds in words: 75 is "1 min 15 s", 0.36 is "0.4 s". */
export function span(seconds: number | undefined): string {
  if (seconds === undefined || Number.isNaN(seconds)) return "-";
  if (seconds > 0 && seconds < 10) return `${Math.max(0.1, Number(seconds.toFixed(1)))} s`;
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3_600)} h ${Math.floor((s % 3_600) / 60)} min`;
}

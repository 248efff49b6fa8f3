import { useSyncExternalStore } from "react";

const absolute = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
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

function ago(seconds: number): string {
  for (const [unit, size] of units) if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit);
  return seconds > 0 ? "in less than a minute" : "less than a minute ago";
}

/** A point in time, seconds since 1970 as the API gives it: how long ago, and exactly when pointed at. */
export function Time({ at, exact }: { at: number | undefined; exact?: boolean }) {
  useSyncExternalStore(subscribe, () => now); // shown anew now and then, by the clock itself: what has just happened is not to come
  if (at === undefined) return <>-</>;
  const date = new Date(at * 1000);
  const full = absolute.format(date);
  return (
    <time dateTime={date.toISOString()} title={full}>
      {exact ? full : ago(at - Date.now() / 1000)}
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

/** Reads a build's log from GetLogEvents into a Log, and goes on while the build runs. */
import { useEffect, useRef, useState } from "react";
import { APIError, call, session } from "../api";
import { Log, type LogPage } from "./model";

/** Events in a request: as many as can be taken in without a frame being late. */
const pageEvents = 5_000;

/** Lines are taken in by slices, between two frames for so many milliseconds. */
const sliceEvents = 500;
const sliceTime = 6;

/** How long to wait for more, in milliseconds: while the page is seen, and while it is not. */
const seenWait = 1_000;
const hiddenWait = 15_000;

export interface Place {
  group: string;
  stream: string;
}

export async function readPage(place: Place, from: string, limit: number, signal?: AbortSignal): Promise<LogPage> {
  const out = await call(
    "GetLogEvents",
    { logGroupName: place.group, logStreamName: place.stream, startFromHead: true, limit: Math.min(limit, pageEvents), ...(from && { nextToken: from }) },
    signal,
  );
  return { messages: (out.events ?? []).map((e) => e.message ?? ""), next: out.nextForwardToken ?? from };
}

/** Ends after ms milliseconds, or before when the page comes to be seen. */
function rest(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const seen = () => document.visibilityState === "visible" && end();
    const timer = setTimeout(end, document.hidden ? hiddenWait : seenWait);
    document.addEventListener("visibilitychange", seen);
    signal.addEventListener("abort", end);
  });
}

/** Ends before the next frame is drawn. A page that is not seen has none. */
function frame(): Promise<void> {
  if (document.hidden) return Promise.resolve();
  return new Promise((resolve) => requestAnimationFrame(() => resolve()));
}

export interface Tail {
  log: Log;
  /** All that there is was read, and there will be no more. */
  complete: boolean;
  /** All that there was has been read. */
  caughtUp: boolean;
  /** Why nothing comes, if so. It is tried again. */
  error: unknown;
}

/** The log at a place; running says whether more may come. */
export function useTail(place: Place, running: boolean): Tail {
  const [tail, setTail] = useState<Tail>(() => ({ log: new Log((from, limit, signal) => readPage(place, from, limit, signal)), complete: false, caughtUp: false, error: undefined }));
  const { log } = tail;
  const live = useRef(running);
  live.current = running;

  useEffect(() => {
    const stop = new AbortController();
    const set = (patch: Partial<Tail>) => setTail((t) => (Object.entries(patch).some(([k, v]) => t[k as keyof Tail] !== v) ? { ...t, ...patch } : t));
    let at = "";
    void (async () => {
      while (!stop.signal.aborted) {
        const mayGrow = live.current;
        if (session.ended()) {
          await rest(stop.signal);
          continue;
        }
        let page: LogPage;
        try {
          page = await readPage(place, at, pageEvents, stop.signal);
          set({ error: undefined });
        } catch (e) {
          if (stop.signal.aborted) return;
          const none = e instanceof APIError && e.code === "ResourceNotFoundException"; // before the first line
          if (none && !mayGrow) return set({ complete: true, caughtUp: true });
          if (!none) set({ error: e });
          if (!none && !(e instanceof APIError && e.temporary) && !session.ended()) return;
          await rest(stop.signal);
          continue;
        }
        let until = 0;
        for (let i = 0; i < page.messages.length && !stop.signal.aborted; i += sliceEvents) {
          if (performance.now() > until) {
            await frame();
            until = performance.now() + sliceTime;
          }
          log.append(page.messages.slice(i, i + sliceEvents), at);
        }
        if (stop.signal.aborted) return;
        at = page.next;
        const much = page.messages.length > pageEvents / 2 || page.messages.reduce((n, m) => n + m.length, 0) > 256 * 1024;
        if (much) continue;
        set({ caughtUp: true });
        if (page.messages.length === 0 && !mayGrow) return set({ complete: true });
        if (mayGrow) await rest(stop.signal);
      }
    })();
    return () => stop.abort();
  }, [log]); // eslint-disable-line

  return tail;
}

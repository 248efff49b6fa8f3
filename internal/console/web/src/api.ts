/**
 * The API as the console calls it: what the AWS CLI sends, with the cookie of
 * the session in place of a signature. There is no private endpoint.
 */
import { QueryClient, keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";
import { targets, type Operations } from "./api.gen";
import { keepFocus } from "./ui/focus";

export type Operation = keyof Operations;
export type Input<O extends Operation> = Operations[O]["input"];
export type Output<O extends Operation> = Operations[O]["output"];

/** Where the console is, with a slash at the end. The page's base element says it. */
export const root = new URL("./", document.baseURI);

/** Where the API is: one step above the console. */
const endpoint = new URL("../", root);

/** A request that takes longer than this is given up. Milliseconds. */
const timeout = 30_000;

/** An answer that is no success, or none at all. */
export class APIError extends Error {
  /** The code of the service, such as InvalidInputException; "Unreachable" when there was no answer. */
  readonly code: string;
  /** The HTTP status; 0 without an answer. */
  readonly status: number;
  /** The id under which the server's log has the request, if there was one. */
  readonly requestId: string;

  constructor(code: string, message: string, status: number, requestId = "") {
    super(message);
    this.name = "APIError";
    this.code = code;
    this.status = status;
    this.requestId = requestId;
  }

  /** Whether the same request may succeed later without a change. */
  get temporary(): boolean {
    return this.status === 0 || this.status >= 502 || this.code === "ThrottlingException";
  }

  /** Whether the same request will be refused again: what it names is not there, or may not be had. */
  get final(): boolean {
    return this.status >= 400 && this.status < 500 && !this.temporary;
  }
}

const regionKey = "corbel.region";

/** Whether a text can name a region, by the server's own rule: one that cannot is refused with every call. */
export const isRegion = (text: string) => /^[a-z]{2,}(-[a-z0-9]+)+$/.test(text);

/** The region that this tab works in; empty for the one of the session. */
export function chosenRegion(): string {
  const region = sessionStorage.getItem(regionKey) ?? "";
  return isRegion(region) ? region : "";
}

/** Takes over the region that a link names: that of a commit status, or the one that was typed at the sign-in. */
export function takeLinkedRegion() {
  const address = new URL(location.href);
  const region = address.searchParams.get("region");
  if (!region) return;
  if (isRegion(region)) sessionStorage.setItem(regionKey, region);
  address.searchParams.delete("region");
  history.replaceState(history.state, "", address);
}

/** Chooses the region of this tab and begins anew, since nothing on the page holds there. */
export function chooseRegion(region: string) {
  sessionStorage.setItem(regionKey, region);
  location.assign(root);
}

/** The way to the sign-in page, and from there back to where the user is: also to the region, which another tab would not know. */
export function loginAddress(): string {
  const { pathname, searchParams, hash } = new URL(location.href);
  if (chosenRegion()) searchParams.set("region", chosenRegion());
  const here = pathname.slice(root.pathname.length) + (searchParams.size > 0 ? `?${searchParams}` : "") + hash;
  return `${new URL("login", root).href}?next=${encodeURIComponent(here)}`;
}

let begun = false;
let leaving: Promise<never> | undefined;
let ended = false;
const watchers = new Set<() => void>();

/** Whether the session has ended, for useSyncExternalStore. */
export const session = {
  subscribe(f: () => void) {
    watchers.add(f);
    return () => watchers.delete(f);
  },
  ended: () => ended,
  set(now: boolean) {
    if (now === ended) return;
    ended = now;
    for (const f of watchers) f();
  },
};

/** The codes that the API answers when a request has neither a signature nor a session that holds. */
const signedOut = new Set(["MissingAuthenticationTokenException", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"]);

/** Who has done nothing on the page for so long is not at it: what the page asks then by itself does not make the session last. Milliseconds. */
const idleAfter = 60_000;

let touched = Date.now();
for (const event of ["pointerdown", "pointermove", "keydown", "wheel"]) addEventListener(event, () => (touched = Date.now()), { capture: true, passive: true });

/** Calls an operation. It throws APIError. */
export async function call<O extends Operation>(operation: O, input: Input<O>, signal?: AbortSignal): Promise<Output<O>> {
  const headers: Record<string, string> = {
    "Content-Type": "application/x-amz-json-1.1",
    "X-Amz-Target": targets[operation],
    "X-Corbel-Console": "1",
  };
  const region = chosenRegion();
  if (region) headers["X-Corbel-Region"] = region;
  if (Date.now() - touched > idleAfter) headers["X-Corbel-Idle"] = "1";
  const limit = AbortSignal.timeout(timeout);
  let answer: Response;
  let body: unknown;
  try {
    answer = await fetch(endpoint, {
      method: "POST",
      headers,
      body: JSON.stringify(input),
      credentials: "same-origin",
      cache: "no-store",
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    const text = await answer.text();
    try {
      body = text ? JSON.parse(text) : {};
    } catch {
      body = { message: `The server answered ${answer.status} with something that is not from its API. A proxy may be in between.` };
      if (answer.ok) throw new APIError("Unreachable", (body as { message: string }).message, 0);
    }
  } catch (e) {
    if (signal?.aborted || e instanceof APIError) throw e;
    const message = limit.aborted
      ? `The server did not answer within ${timeout / 1000} seconds. It may be busy; try again.`
      : "The server cannot be reached. It may be restarting, or the network is down.";
    throw new APIError("Unreachable", message, 0);
  }
  if (answer.ok) {
    begun = true;
    return body as Output<O>;
  }
  const fault = body as { __type?: string; message?: string; Message?: string };
  const code = (fault.__type ?? "").split("#").at(-1) || `HTTP ${answer.status}`;
  if (answer.status === 401 || signedOut.has(code)) {
    // Nothing was done here yet that could be lost. The page is left once, and when it is whole.
    if (!begun) {
      leaving ??= new Promise(() => {
        const go = () => setTimeout(() => location.replace(loginAddress()));
        if (document.readyState === "complete") go();
        else addEventListener("load", go, { once: true });
      });
      return leaving;
    }
    session.set(true);
  }
  throw new APIError(code, fault.message ?? fault.Message ?? "", answer.status, answer.headers.get("x-amzn-RequestId") ?? "");
}

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 2_000,
      networkMode: "always", // the server may be on this machine, whatever the browser thinks of the network
      retry: (count, error) => count < 2 && error instanceof APIError && error.temporary,
      retryDelay: (count) => Math.min(500 * 2 ** count, 5_000),
    },
    mutations: { networkMode: "always" },
  },
});

/** How a query is made. */
export interface CallOptions<T> {
  /** Ask again after so many milliseconds while the page is seen, or say by the last answer whether to. */
  poll?: number | ((data: T | undefined) => number | false);
  /** Do not ask yet. */
  skip?: boolean;
  /** Show the answer to the last input until there is one to this. */
  keep?: boolean;
  /** Ask even if an answer has just come. */
  anew?: boolean;
}

/** Milliseconds until a question is asked again: those that are given, but never for what was refused for good. */
export const askAgain = (last: APIError | null, ms: number | false) => (last instanceof APIError && last.final ? false : ms);

/** The answer of an operation that reads. Equal calls of a page share one request. */
export function useCall<O extends Operation>(operation: O, input: Input<O>, options: CallOptions<Output<O>> = {}) {
  const { poll, skip, keep, anew } = options;
  return useQuery<Output<O>, APIError>({
    queryKey: [operation, input],
    queryFn: ({ signal }) => call(operation, input, signal),
    enabled: !skip,
    refetchInterval: (q) => askAgain(q.state.error, typeof poll === "function" ? poll(q.state.data) : (poll ?? false)),
    ...(keep && { placeholderData: keepPreviousData }),
    ...(anew && { refetchOnMount: "always" as const }),
  });
}

/** The answer of an operation that reads, the one that the page has if that is new; the page has it afterwards. */
export function ask<O extends Operation>(operation: O, input: Input<O>): Promise<Output<O>> {
  return queries.fetchQuery({ queryKey: [operation, input], queryFn: ({ signal }) => call(operation, input, signal) });
}

/** Gives the answer of an operation where it is known without asking. */
export function answer<O extends Operation>(operation: O, input: Input<O>, output: Output<O>) {
  queries.setQueryData([operation, input], output);
}

/** What follows when an operation was done, and when it was not. */
interface Then<O extends Operation> {
  onSuccess?: (out: Output<O>) => void;
  onError?: (e: APIError) => void;
}

/**
 * An operation that changes something. When it has, everything on the page is
 * read again; unless it took away what the page is about, which leave then
 * leaves: the next page reads what it needs. What was asked for to follow does
 * so even if the page no longer shows what asked: an answer to another question
 * may have taken it away before.
 */
export function useAction<O extends Operation>(operation: O, leave?: () => void) {
  const { mutateAsync, isPending, error, reset } = useMutation<Output<O>, APIError, Input<O>>({ mutationFn: (input) => call(operation, input) });
  const mutate = (input: Input<O>, then: Then<O> = {}) =>
    void mutateAsync(input).then(
      (out) => {
        leave?.();
        then.onSuccess?.(out);
        void queries.invalidateQueries(leave && { refetchType: "none" }).then(keepFocus);
      },
      (e: APIError) => then.onError?.(e),
    );
  return { mutate, isPending, error, reset };
}

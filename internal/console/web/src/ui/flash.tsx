import type { FlashbarProps } from "@cloudscape-design/components/flashbar";
import { APIError, session } from "../api";
import { Text } from "./text";

let list: FlashbarProps.MessageDefinition[] = [];
const watchers = new Set<() => void>();

function set(l: FlashbarProps.MessageDefinition[]) {
  list = l;
  for (const f of watchers) f();
}

/** The messages at the top of the page, for useSyncExternalStore. */
export const flashes = {
  subscribe(f: () => void) {
    watchers.add(f);
    return () => watchers.delete(f);
  },
  list: () => list,
};

/** Shows a message until it is dismissed or five newer ones came. The same message again takes the place of the first. */
export function flash(type: "success" | "info" | "warning" | "error", header: string, text?: string) {
  const id = `${type} ${header}`;
  set(
    [
      {
        id,
        type,
        header: <Text>{header}</Text>,
        content: text ? <Text lines>{text}</Text> : undefined,
        dismissible: true,
        dismissLabel: "Dismiss the message",
        ariaRole: type === "error" ? ("alert" as const) : ("status" as const),
        onDismiss: () => set(list.filter((m) => m.id !== id)),
      },
      ...list.filter((m) => m.id !== id),
    ].slice(0, 5),
  );
}

/** Says that what was tried did not work, and why. "Delete project app". That the session has ended is said elsewhere. */
export function flashError(tried: string, error: unknown) {
  if (session.ended()) return;
  flash("error", `${tried}: not done`, describe(error));
}

/** An error in words for people. */
export function describe(error: unknown): string {
  if (!(error instanceof APIError)) return error instanceof Error ? error.message : String(error);
  if (error.code === "AccessDeniedException") return `Your access key may not do this. ${error.message}`;
  const id = error.requestId && error.status === 500 ? ` The server's log has the cause under request ${error.requestId}.` : "";
  return (error.message || error.code) + id;
}

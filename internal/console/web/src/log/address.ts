/** Addresses of logs, in the forms of CloudWatch's console. */
import type { Place } from "./tail";

/**
 * The group and stream that the fragment of an address names; undefined if it
 * names none, as before a build has a log.
 *
 *   #logEvent:group=/aws/codebuild/app;stream=ID       and the older #logEventViewer
 *   #logsV2:log-groups/log-group/$252Faws$252Fcodebuild$252Fapp/log-events/ID
 *
 * In the last form each name is encoded twice, with "$" in the place of the
 * second "%"; what was typed there to filter begins with a "?", encoded once.
 */
export function logOf(fragment: string): Place | undefined {
  try {
    const [, group, stream] = /^#logEvent(?:Viewer)?:group=([^;]+);stream=([^;]+)/.exec(fragment) ?? [];
    if (group && stream) return named(decodeURIComponent(group), decodeURIComponent(stream));
    const [, ...names] = /^#logsV2:log-groups\/log-group\/(.+)\/log-events\/(.+)$/.exec(fragment) ?? [];
    const [g, s] = names.map((n) => decodeURIComponent(decodeURIComponent(n.replaceAll("$", "%")).split("?")[0]!));
    if (g && s) return named(g, s);
  } catch {
    // a "%" that encodes nothing
  }
  return undefined;
}

/** The service writes the word null for what is not known yet. */
const named = (group: string, stream: string) => (group === "null" || stream === "null" ? undefined : { group, stream });

/** The UUID of the build that a stream is the log of; it ends with it, behind a prefix of the project's. */
export const uuidOf = (log: Place): string | undefined => /(?:^|\/)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(log.stream)?.[1];

/** The project that a group belongs to by its name, as groups do unless a project names another. */
export const projectOf = (log: Place): string | undefined => /^\/aws\/codebuild\/([A-Za-z0-9][\w-]*)$/.exec(log.group)?.[1];

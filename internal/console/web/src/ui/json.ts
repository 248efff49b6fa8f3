import type { Mark } from "./editor";

/**
 * Whether a text cannot become JSON, whatever follows it. Browsers tell in
 * words of their own what is wrong, and not all of them where.
 */
function broken(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (e) {
    const message = (e as Error).message;
    if (/end of|unterminated|EOF/i.test(message)) return undefined;
    const position = /position (\d+)/.exec(message);
    return position && Number(position[1]) >= text.length ? undefined : message;
  }
}

/** What is wrong with a text that is to be an object in JSON, in which line. */
export function problems(text: string): Mark[] {
  const lines = text.split("\n");
  for (let n = 1; n <= lines.length; n++) {
    const message = broken(lines.slice(0, n).join("\n"));
    if (message === undefined) continue;
    const found = /^(?:JSON\.parse: )?(.*?)(?:, (?:\.\.\.)?".*| (?:in JSON )?(?:at position|at line).*)?$/s.exec(message)?.[1] ?? message;
    return [{ line: n, severity: "ERROR", message: found }];
  }
  try {
    const v: unknown = JSON.parse(text);
    return typeof v === "object" && v !== null && !Array.isArray(v) ? [] : [{ line: 1, severity: "ERROR", message: "It is to be an object, in { and }" }];
  } catch {
    return [{ line: lines.length, severity: "ERROR", message: "It ends too early" }];
  }
}

import CopyToClipboard from "@cloudscape-design/components/copy-to-clipboard";
import { Fragment, type ReactNode } from "react";
import { unseen } from "./unseen";

const names: Record<string, string> = {
  "\u001b": "ESC",
  "\u200b": "ZWSP",
  "\u200e": "LRM",
  "\u200f": "RLM",
  "\u202a": "LRE",
  "\u202b": "RLE",
  "\u202c": "PDF",
  "\u202d": "LRO",
  "\u202e": "RLO",
  "\u2066": "LRI",
  "\u2067": "RLI",
  "\u2068": "FSI",
  "\u2069": "PDI",
  "\ufeff": "BOM",
};

/** Text with what could not be seen in it made visible. */
export function shown(text: string): ReactNode {
  if (!unseen.test(text)) return text;
  return text.split(unseen).map((p, i) =>
    i % 2 === 0 ? (
      <Fragment key={i}>{p}</Fragment>
    ) : (
      <span key={i} className="invisible">
        {names[p] ?? "U+" + p.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}
      </span>
    ),
  );
}

/**
 * Text that somebody else wrote: a name, a branch, a message of a provider. It
 * is shown as it is, its direction does not reach beyond it, and characters
 * that cannot be seen are.
 */
export function Text({ children, lines, code }: { children: string | undefined; lines?: boolean; code?: boolean }) {
  return <bdi className={"text" + (lines ? " lines" : "") + (code ? " code" : "")}>{shown(children ?? "")}</bdi>;
}

/** An ARN, id or address that people copy. */
export function Copyable({ children, what }: { children: string; what: string }) {
  return (
    <span className="copyable">
      <CopyToClipboard variant="icon" textToCopy={children} copyButtonAriaLabel={`Copy ${what}`} copySuccessText={`Copied ${what}`} copyErrorText="The browser did not copy" />
      <Text>{children}</Text>
    </span>
  );
}

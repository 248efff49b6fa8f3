import { useEffect, useId, useRef, useState } from "react";

export interface Mark {
  line: number;
  column?: number;
  severity: "ERROR" | "WARNING";
  message: string;
}

/** Waits until text has rested for ms milliseconds. */
export function useRested<T>(value: T, ms: number): T {
  const [rested, setRested] = useState(value);
  useEffect(() => {
    const t = setTimeout(() => setRested(value), ms);
    return () => clearTimeout(t);
  }, [value, ms]);
  return rested;
}

/**
 * A field for text of several lines with numbers and marks beside them. It is
 * the browser's own field, so that it works with a keyboard, a screen reader
 * and a phone as any other; a new line begins where the last one did.
 */
export function Editor({ value, onChange, marks, label, readOnly }: { value: string; onChange?: (v: string) => void; marks: Mark[]; label: string; readOnly?: boolean }) {
  const area = useRef<HTMLTextAreaElement>(null);
  const gutter = useRef<HTMLDivElement>(null);
  const id = useId();
  const lines = value.split("\n");
  const worst = new Map<number, Mark>();
  for (const m of marks) if (worst.get(m.line)?.severity !== "ERROR") worst.set(m.line, m);

  function goTo(line: number, column = 1) {
    const a = area.current!;
    const at = lines.slice(0, line - 1).reduce((n, l) => n + l.length + 1, 0) + Math.max(0, column - 1);
    a.focus();
    a.setSelectionRange(at, at);
    const height = a.scrollHeight / Math.max(1, lines.length);
    a.scrollTop = Math.max(0, (line - 4) * height);
  }

  return (
    <div className="editor">
      <div className="editor-box">
        <div className="editor-gutter" ref={gutter} aria-hidden="true">
          {lines.map((_, i) => {
            const m = worst.get(i + 1);
            return (
              <div key={i} className={m ? `mark ${m.severity.toLowerCase()}` : undefined} title={m?.message}>
                {i + 1}
              </div>
            );
          })}
        </div>
        <textarea
          ref={area}
          aria-label={label}
          aria-invalid={marks.some((m) => m.severity === "ERROR") || undefined}
          aria-describedby={marks.length ? id : undefined}
          value={value}
          readOnly={readOnly}
          wrap="off"
          spellCheck={false}
          autoCapitalize="off"
          autoComplete="off"
          rows={Math.min(30, Math.max(12, lines.length + 1))}
          onScroll={(e) => {
            gutter.current!.scrollTop = e.currentTarget.scrollTop;
          }}
          onChange={(e) => onChange?.(e.target.value)}
          onKeyDown={(e) => {
            if (e.key !== "Enter" || e.ctrlKey || e.metaKey || e.altKey || e.nativeEvent.isComposing) return;
            const a = e.currentTarget;
            const line = a.value.slice(a.value.lastIndexOf("\n", a.selectionStart - 1) + 1, a.selectionStart);
            const indent = /^[ ]*(- )?/.exec(line)![0].replace("- ", line.trim() === "-" ? "" : "- ");
            const add = "\n" + (/:\s*$/.test(line) ? /^ */.exec(line)![0] + "  " : indent);
            e.preventDefault();
            // The one way to type for the user that undo knows.
            document.execCommand("insertText", false, add);
          }}
        />
      </div>
      {marks.length > 0 && (
        <ul className="editor-problems" id={id} aria-live="polite">
          {marks.map((m, i) => (
            <li key={i} className={m.severity.toLowerCase()}>
              <button type="button" onClick={() => goTo(m.line, m.column)}>
                {m.severity === "ERROR" ? "Error" : "Warning"} in line {m.line}
                {m.column ? `, column ${m.column}` : ""}
              </button>
              : <bdi className="text">{m.message}</bdi>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

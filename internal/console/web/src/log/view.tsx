import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import ButtonDropdown from "@cloudscape-design/components/button-dropdown";
import Input from "@cloudscape-design/components/input";
import Toggle from "@cloudscape-design/components/toggle";
import { memo, useCallback, useEffect, useLayoutEffect, useRef, useState, useSyncExternalStore, type ReactNode } from "react";
import { useHref, useLocation, useNavigate } from "react-router";
import { describe, flash, flashError } from "../ui/flash";
import { Text, shown } from "../ui/text";
import { look, spans, type Style } from "./ansi";
import { type Log, type Section } from "./model";
import { readPage, useTail, type Place } from "./tail";

/** The height of a line in pixels; main.css has the same. */
const lineHeight = 20;

/** A page element can be about 17 million pixels high in the strictest browser. A longer log is scrolled in proportion. */
const highest = 15_000_000;

/** Lines that are drawn above and below what is seen. */
const beyond = 8;

/** The clipboard gets so many characters at most. */
const mostCopied = 8 * 1024 * 1024;

const phaseText = (p: string) => p.charAt(0) + p.slice(1).toLowerCase().replaceAll("_", " ");

/** The lines that an address names: "#L5" or "#L5-L10", from 0. */
function rangeOf(hash: string): [number, number] | undefined {
  const m = /^#L(\d+)(?:-L?(\d+))?$/.exec(hash);
  if (!m) return undefined;
  const a = Number(m[1]) - 1;
  const b = m[2] ? Number(m[2]) - 1 : a;
  return a < 0 || b < 0 ? undefined : [Math.min(a, b), Math.max(a, b)];
}

/** The log of a build, live. It is text whatever is in it: only colours are interpreted. */
export function LogView({ place, running, name }: { place: Place; running: boolean; name: string }) {
  const { log, complete, caughtUp, error } = useTail(place, running);
  useSyncExternalStore(log.subscribe, () => log.version);
  const box = useRef<HTMLDivElement>(null);
  const [height, setHeight] = useState(480);
  const [top, setTop] = useState(0); // pixels of the log above what is seen
  const { hash, pathname, search: query } = useLocation();
  const here = useHref({ pathname, search: query }); // in full: the page's base element is elsewhere
  const navigate = useNavigate();
  const marked = rangeOf(hash);
  const [follow, setFollow] = useState(running && !marked);
  const [current, setCurrent] = useState<number>();
  const lastTop = useRef(0);
  const gone = useRef(false); // to the line that the address names

  const rows = log.rows;
  const virtual = rows * lineHeight;
  const real = Math.min(virtual, highest);
  const scale = real > height && virtual > real ? (virtual - height) / (real - height) : 1;

  // While the build runs the box ends where the window does, whatever is above it on the page.
  useLayoutEffect(() => {
    const b = box.current!;
    const fit = () => {
      b.style.setProperty("--log-above", `${Math.round(b.getBoundingClientRect().top + scrollY)}px`);
      setHeight(b.clientHeight);
    };
    const observer = new ResizeObserver(fit);
    observer.observe(b);
    observer.observe(document.body);
    return () => observer.disconnect();
  }, []);

  /** Scrolls so that the log begins at a pixel of it. */
  const scrollTo = useCallback(
    (pixel: number) => {
      const b = box.current!;
      b.scrollTop = lastTop.current = Math.max(0, Math.min(pixel, virtual - height)) / scale;
      setTop(b.scrollTop * scale);
    },
    [virtual, height, scale],
  );

  useLayoutEffect(() => {
    if (follow) scrollTo(virtual - height);
  }, [follow, scrollTo, virtual, height]);

  const goTo = useCallback(
    (line: number) => {
      const section = log.sectionAt(line);
      if (section?.folded && line > section.first) log.fold(section, false);
      setFollow(false);
      const row = log.rowOfLine(line);
      const b = box.current!;
      const pixel = Math.max(0, row * lineHeight - b.clientHeight / 3);
      // After the drawing that unfolds: the height must be there first.
      requestAnimationFrame(() => {
        const v = log.rows * lineHeight;
        const r = Math.min(v, highest);
        const s = r > b.clientHeight && v > r ? (v - b.clientHeight) / (r - b.clientHeight) : 1;
        b.scrollTop = lastTop.current = pixel / s;
        setTop(b.scrollTop * s);
      });
    },
    [log],
  );

  useEffect(() => {
    if (!marked || gone.current || log.count <= marked[0]) return;
    gone.current = true;
    goTo(marked[0]);
  });

  function onScroll() {
    const b = box.current!;
    const up = b.scrollTop < lastTop.current - 1;
    const atEnd = b.scrollTop + b.clientHeight >= b.scrollHeight - lineHeight;
    lastTop.current = b.scrollTop;
    if (up && !atEnd) setFollow(false);
    else if (atEnd && running && !follow && b.scrollHeight > b.clientHeight) setFollow(true);
    setTop(b.scrollTop * scale);
  }

  /** The line whose link is in the order of the tabulator: one of all that there are. From it arrows lead to the others. */
  const [linked, setLinked] = useState<number>();
  const moves = useRef(false);
  useLayoutEffect(() => {
    if (moves.current) box.current!.querySelector<HTMLElement>(".log-number[tabindex='0']")?.focus({ preventScroll: true });
    moves.current = false;
  }, [linked]);

  function onLinkKey(e: React.KeyboardEvent, line: number) {
    const d = e.key === "ArrowDown" ? 1 : e.key === "ArrowUp" ? -1 : 0;
    const row = log.rowOfLine(line) + d;
    if (d === 0 || row < 0 || row >= rows) return;
    e.preventDefault();
    setFollow(false);
    if (row * lineHeight < top) scrollTo(row * lineHeight);
    else if ((row + 1) * lineHeight > top + height) scrollTo((row + 1) * lineHeight - height);
    moves.current = true;
    setLinked(log.lineOfRow(row));
  }

  function onKeyDown(e: React.KeyboardEvent) {
    const link = (e.target as HTMLElement).closest(".log-number");
    if (link) return onLinkKey(e, Number(link.textContent) - 1);
    if (e.target !== box.current || e.ctrlKey || e.metaKey || e.altKey) return;
    const by: Record<string, number> = { ArrowUp: -lineHeight, ArrowDown: lineHeight, PageUp: lineHeight - height, PageDown: height - lineHeight, Home: -virtual, End: virtual };
    const d = by[e.key];
    if (d === undefined) return;
    e.preventDefault();
    setFollow(running && (e.key === "End" || (follow && d > 0)));
    scrollTo(top + d);
  }

  // A wheel moves as far as in a short log; it can only be said to a listener that is not passive.
  useEffect(() => {
    const b = box.current!;
    if (scale === 1) return;
    const wheel = (e: WheelEvent) => {
      if (e.ctrlKey || e.deltaY === 0 || Math.abs(e.deltaX) > Math.abs(e.deltaY)) return;
      e.preventDefault();
      const unit = e.deltaMode === 1 ? lineHeight : e.deltaMode === 2 ? height : 1;
      if (e.deltaY < 0) setFollow(false);
      scrollTo(lastTop.current * scale + e.deltaY * unit);
    };
    b.addEventListener("wheel", wheel, { passive: false });
    return () => b.removeEventListener("wheel", wheel);
  }, [scale, scrollTo, height]);

  const mark = useCallback(
    (line: number, extend: boolean) => {
      const from = extend && marked ? marked[0] : line;
      const [a, b] = [Math.min(from, line) + 1, Math.max(from, line) + 1];
      gone.current = true;
      navigate({ search: query, hash: a === b ? `#L${a}` : `#L${a}-L${b}` }, { replace: true, preventScrollReset: true });
    },
    [marked?.[0], navigate, query], // eslint-disable-line
  );

  const first = Math.max(0, Math.floor(top / lineHeight) - beyond);
  const last = Math.min(rows, Math.ceil((top + height) / lineHeight) + beyond);
  const find = log.search?.text ?? "";
  const stop = linked !== undefined && log.rowOfLine(linked) >= first && log.rowOfLine(linked) < last ? linked : rows > 0 ? log.lineOfRow(Math.min(Math.ceil(top / lineHeight), rows - 1)) : -1;
  const drawn: ReactNode[] = [];
  for (let row = first; row < last; row++) {
    const n = log.lineOfRow(row);
    const l = log.line(n);
    const section = log.sections.find((s) => s.first === n);
    drawn.push(
      <Row
        key={n}
        n={n}
        text={l?.text}
        style={l?.style}
        find={find}
        href={`${here}#L${n + 1}`}
        marked={!!marked && n >= marked[0] && n <= marked[1]}
        current={n === current}
        phase={section?.phase}
        folded={section?.folded}
        hidden={section?.folded ? log.end(section) - section.first - 1 : 0}
        tab={n === stop}
        onMark={mark}
        onFold={section && ((folded) => foldAt(section, folded))}
      />,
    );
  }

  function foldAt(s: Section, folded: boolean) {
    setFollow(false);
    log.fold(s, folded);
  }

  return (
    <div className="log">
      <Tools log={log} place={place} name={name} running={running} follow={follow} onFollow={setFollow} marked={marked} current={current} firstSeen={log.lineOfRow(first)} onGo={(line) => (setCurrent(line), goTo(line))} />
      {error ? (
        <Alert type="error" header="The log could not be read on">
          <Text lines>{describe(error)}</Text>
        </Alert>
      ) : null}
      <div ref={box} className={"log-box" + (running ? " running" : "")} role="log" aria-live="off" aria-label={`Log of build ${name}`} tabIndex={0} onScroll={onScroll} onKeyDown={onKeyDown}>
        <div className="log-space" style={{ blockSize: Math.max(real, height), inlineSize: `calc(${Math.min(log.width, 5000)}ch + 116px)` }}>
          <div className="log-window" style={{ blockSize: height }}>
            <div className="log-rows" style={{ transform: `translateY(${first * lineHeight - top}px)` }}>
              {drawn}
            </div>
          </div>
        </div>
        {log.count === 0 && <div className="log-empty">{complete ? "The build has no log." : caughtUp || running ? "Nothing was printed yet." : "Loading the log"}</div>}
      </div>
      <div className="log-foot">
        <span>
          {log.count.toLocaleString("en")} lines{!caughtUp && log.count > 0 && ", loading"}
          {caughtUp && running && ", waiting for more"}. Times of Corbel's own lines are UTC.
        </span>
        <span role="status" className="log-said">
          {log.sections.length > 0 ? `Phase ${phaseText(log.sections.at(-1)!.phase)}${complete ? ". The log is complete." : ""}` : ""}
        </span>
      </div>
    </div>
  );
}

interface RowProps {
  n: number;
  text: string | undefined;
  style: Style | undefined;
  find: string;
  href: string;
  marked: boolean;
  current: boolean;
  phase?: string;
  folded?: boolean;
  hidden: number;
  tab: boolean;
  onMark: (line: number, extend: boolean) => void;
  onFold?: (folded: boolean) => void;
}

const Row = memo(function Row({ n, text, style, find, href, marked, current, phase, folded, hidden, tab, onMark, onFold }: RowProps) {
  return (
    <div className={"log-row" + (marked ? " marked" : "") + (current ? " current" : "") + (phase ? " phase" : "")}>
      <a
        className="log-number"
        href={href}
        tabIndex={tab ? 0 : -1}
        aria-label={`Line ${n + 1}`}
        onClick={(e) => {
          if (e.ctrlKey || e.metaKey) return;
          e.preventDefault();
          onMark(n, e.shiftKey);
        }}
      >
        {n + 1}
      </a>
      <span className="log-fold">
        {phase && (
          <button type="button" aria-expanded={!folded} aria-label={`Phase ${phaseText(phase)}`} onClick={() => onFold?.(!folded)}>
            {folded ? "\u25b8" : "\u25be"}
          </button>
        )}
      </span>
      <bdi className="log-text">{text === undefined ? "\u2026" : <Line text={text} style={style!} find={find} />}</bdi>
      {hidden > 0 && <span className="log-hidden">{hidden.toLocaleString("en")} lines</span>}
    </div>
  );
});

const Line = memo(function Line({ text, style, find }: { text: string; style: Style; find: string }) {
  const parts = spans(text, style);
  const hits = find ? matches(parts.map((p) => p.text).join(""), find) : [];
  const nodes: ReactNode[] = [];
  let from = 0; // of the part, in the whole text
  for (const [i, p] of parts.entries()) {
    const pieces: ReactNode[] = [];
    let at = 0;
    for (const hit of hits) {
      const a = Math.max(0, hit - from);
      const b = Math.min(p.text.length, hit + find.length - from);
      if (b <= a || a < at) continue;
      pieces.push(shown(p.text.slice(at, a)), <mark key={a}>{shown(p.text.slice(a, b))}</mark>);
      at = b;
    }
    pieces.push(shown(p.text.slice(at)));
    nodes.push(
      <span key={i} style={look(p.style)}>
        {...pieces}
      </span>,
    );
    from += p.text.length;
  }
  return <>{nodes}</>;
});

function matches(text: string, find: string): number[] {
  const lower = text.toLowerCase();
  const list: number[] = [];
  if (lower.length !== text.length) return list; // a letter that is longer in lower case: found, but not marked
  for (let i = lower.indexOf(find); i >= 0; i = lower.indexOf(find, i + find.length)) list.push(i);
  return list;
}

interface ToolsProps {
  log: Log;
  place: Place;
  name: string;
  running: boolean;
  follow: boolean;
  onFollow: (f: boolean) => void;
  marked: [number, number] | undefined;
  current: number | undefined;
  firstSeen: number;
  onGo: (line: number) => void;
}

function Tools({ log, place, name, running, follow, onFollow, marked, current, firstSeen, onGo }: ToolsProps) {
  const [text, setText] = useState("");
  const [saved, setSaved] = useState<number>(); // lines that were read for the download
  const s = log.search;
  const searching = !!s && s.upTo < log.count;

  useEffect(() => {
    const t = setTimeout(() => log.find(text), 150);
    return () => clearTimeout(t);
  }, [log, text]);

  // Looks through the log a few milliseconds of each frame.
  useEffect(() => {
    if (!searching) return;
    let stopped = false;
    let id = 0;
    const more = () =>
      void log.findMore(6).then(
        (again) => {
          if (again && !stopped) id = requestAnimationFrame(more);
        },
        () => undefined,
      );
    id = requestAnimationFrame(more);
    return () => {
      stopped = true;
      cancelAnimationFrame(id);
    };
  }, [log, searching, s]);

  function go(back: boolean) {
    const line = log.next(current ?? (back ? firstSeen : firstSeen - 1), back);
    if (line !== undefined) onGo(line);
  }
  const place_ = s && current !== undefined ? s.lines.indexOf(current) + 1 : 0;
  const found = !s ? "" : s.lines.length === 0 ? (searching ? "Searching" : "No line has it") : `${place_ > 0 ? `${place_.toLocaleString("en")} of ` : ""}${s.lines.length.toLocaleString("en")} lines${searching ? " so far" : ""}`;

  async function copy() {
    try {
      const [a, b] = marked ?? [0, log.count - 1];
      const { text, all } = await log.text(a, b, mostCopied);
      await navigator.clipboard.writeText(text);
      if (all) flash("success", marked ? `Copied ${(b - a + 1).toLocaleString("en")} ${b === a ? "line" : "lines"}` : "Copied the log");
      else flash("warning", "Copied the first lines only", "The log is too long for the clipboard. Download it instead.");
    } catch (e) {
      flashError("Copy the log", e);
    }
  }

  async function save() {
    setSaved(0);
    try {
      const parts: Blob[] = [];
      for (let at = "", n = 0; ; ) {
        const page = await readPage(place, at, 10_000);
        if (page.messages.length === 0) break;
        parts.push(new Blob(page.messages));
        at = page.next;
        setSaved((n += page.messages.length));
      }
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(parts, { type: "text/plain;charset=utf-8" }));
      link.download = `${name.replace(/[^\w.-]+/g, "-")}.log`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    } catch (e) {
      flashError("Download the log", e);
    }
    setSaved(undefined);
  }

  return (
    <div className="log-tools">
      <div className="log-find">
        <Input
          type="search"
          ariaLabel="Search in the log"
          placeholder="Search in the log"
          value={text}
          spellcheck={false}
          onChange={(e) => setText(e.detail.value)}
          onKeyDown={(e) => {
            if (e.detail.key === "Enter") go(e.detail.shiftKey);
          }}
        />
        <Button iconName="angle-up" variant="icon" ariaLabel="Previous match" disabled={!s?.lines.length} onClick={() => go(true)} />
        <Button iconName="angle-down" variant="icon" ariaLabel="Next match" disabled={!s?.lines.length} onClick={() => go(false)} />
        <Box color="text-body-secondary" fontSize="body-s">
          <span aria-live="polite">{found}</span>
        </Box>
      </div>
      <span className="actions">
        {running && (
          <Toggle checked={follow} onChange={(e) => onFollow(e.detail.checked)}>
            Follow
          </Toggle>
        )}
        <ButtonDropdown
          disabled={log.sections.length === 0}
          items={[
            ...log.sections.map((x) => ({ id: String(x.first), text: phaseText(x.phase), secondaryText: `Line ${x.first + 1}` })),
            { id: "fold", text: "Fold all" },
            { id: "unfold", text: "Unfold all" },
          ]}
          onItemClick={(e) => {
            const id = e.detail.id;
            if (id !== "fold" && id !== "unfold") return onGo(Number(id));
            onFollow(false);
            for (const x of log.sections) log.fold(x, id === "fold");
          }}
        >
          Phases
        </ButtonDropdown>
        <Button iconName="copy" disabled={log.count === 0} onClick={() => void copy()}>
          {marked ? "Copy lines" : "Copy"}
        </Button>
        <Button iconName="download" disabled={log.count === 0} loading={saved !== undefined} onClick={() => void save()}>
          {saved ? `${saved.toLocaleString("en")} lines` : "Download"}
        </Button>
      </span>
    </div>
  );
}

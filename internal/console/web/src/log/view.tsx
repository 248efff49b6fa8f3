import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import ButtonDropdown from "@cloudscape-design/components/button-dropdown";
import Input from "@cloudscape-design/components/input";
import Toggle from "@cloudscape-design/components/toggle";
import { memo, useCallback, useEffect, useLayoutEffect, useReducer, useRef, useState, useSyncExternalStore, type CSSProperties, type ReactNode } from "react";
import { useHref, useLocation, useNavigate } from "react-router";
import { describe, flash, flashError } from "../ui/flash";
import { Text, shown } from "../ui/text";
import { look, spans, type Style } from "./ansi";
import { type Log, type Section } from "./model";
import { readPage, useTail, type Place } from "./tail";

/** The height of a row in pixels; main.css has the same. */
const lineHeight = 20;

/** Lines are not wrapped after fewer characters than these, however narrow the page is. */
const fewestColumns = 16;

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

const wrapKey = "corbel.log.wrap";

/** Whether long lines are wrapped, as it was chosen last. */
function useWrap(): [boolean, (w: boolean) => void] {
  const [wrap, set] = useState(() => localStorage.getItem(wrapKey) === "true");
  return [
    wrap,
    (w) => {
      localStorage.setItem(wrapKey, String(w));
      set(w);
    },
  ];
}

/** A line, and how many pixels below the upper edge of what is seen it begins. */
interface Anchor {
  line: number;
  at: number;
}

/** The log of a build, live. It is text whatever is in it: only colours are interpreted. */
export function LogView({ place, running, name }: { place: Place; running: boolean; name: string }) {
  const { log, complete, caughtUp, error } = useTail(place, running);
  useSyncExternalStore(log.subscribe, () => log.version);
  const box = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const ruler = useRef<HTMLDivElement>(null);
  const [height, setHeight] = useState(480);
  const [top, setTop] = useState(0); // pixels of the log above what was drawn last
  const seen = useRef(0); // and above what is seen, before that is drawn
  const [wrap, setWrap] = useWrap();
  const [columns, setColumns] = useState(0); // in which lines are wrapped, 0 if they are not
  const { hash, pathname, search: query } = useLocation();
  const here = useHref({ pathname, search: query }); // in full: the page's base element is elsewhere
  const navigate = useNavigate();
  const marked = rangeOf(hash);
  const [follow, setFollow] = useState(running && !marked);
  const [current, setCurrent] = useState<number>();
  const [, draw] = useReducer((n: number) => n + 1, 0);
  const lastTop = useRef(0);
  const gone = useRef(""); // to the line that the address named, its fragment
  const wanted = useRef<Anchor>(undefined); // stays in its place until somebody scrolls
  const moved = useRef<Anchor>(undefined); // has to get to its place with the next drawing

  const rows = log.rows;
  const virtual = rows * lineHeight;
  const real = Math.min(virtual, highest);
  const scale = real > height && virtual > real ? (virtual - height) / (real - height) : 1;

  // While the build runs the box ends where the window does, whatever is above it on the page.
  useLayoutEffect(() => {
    const b = box.current!;
    const measure = () => {
      b.style.setProperty("--log-above", `${Math.round(b.getBoundingClientRect().top + scrollY)}px`);
      setHeight(b.clientHeight);
      const { width } = ruler.current!.firstElementChild!.getBoundingClientRect();
      setColumns(wrap ? Math.max(fewestColumns, Math.floor((ruler.current!.clientWidth / width) * 100 - 0.5)) : 0);
    };
    const observer = new ResizeObserver(measure);
    for (const e of [b, ruler.current!, document.body]) observer.observe(e);
    measure();
    return () => observer.disconnect();
  }, [wrap]);

  /** Scrolls so that the log begins at a pixel of it. */
  const scrollTo = useCallback(
    (pixel: number) => {
      const b = box.current!;
      seen.current = Math.max(0, Math.min(pixel, virtual - height));
      b.scrollTop = seen.current / scale;
      lastTop.current = b.scrollTop; // which may be rounded
      setTop(seen.current);
    },
    [virtual, height, scale],
  );

  /** The same, for somebody who wants to be there. */
  const scroll = useCallback(
    (pixel: number) => {
      wanted.current = undefined;
      scrollTo(pixel);
    },
    [scrollTo],
  );

  useLayoutEffect(() => {
    if (follow) scroll(virtual - height);
  }, [follow, scroll, virtual, height]);

  useLayoutEffect(() => scrollTo(seen.current), [scale]); // eslint-disable-line

  useLayoutEffect(() => {
    const a = moved.current;
    moved.current = undefined;
    if (a && !follow) scrollTo(log.rowOfLine(a.line) * lineHeight - a.at);
  });

  /** Changes how many rows lines have, if it does. What is seen stays in its place, with the next drawing. */
  function keep(change: () => boolean) {
    const line = log.lineOfRow(Math.floor(seen.current / lineHeight));
    const anchor = wanted.current ?? { line, at: log.rowOfLine(line) * lineHeight - seen.current };
    if (change()) moved.current = anchor;
  }

  useLayoutEffect(() => keep(() => log.wrap(columns)), [log, columns]); // eslint-disable-line

  // What was drawn tells how many rows it takes. Nobody has seen it yet.
  useLayoutEffect(() => {
    if (columns === 0) return;
    const texts = [...list.current!.querySelectorAll<HTMLElement>("[data-line]")];
    keep(() => log.measured(texts.map((e) => [Number(e.dataset["line"]), Math.max(1, Math.round(e.offsetHeight / lineHeight))])));
  });

  const goTo = useCallback(
    (line: number) => {
      const section = log.sectionAt(line);
      if (section?.folded && line > section.first) log.fold(section, false);
      setFollow(false);
      wanted.current = moved.current = { line, at: Math.round(box.current!.clientHeight / 3) };
      draw();
    },
    [log],
  );

  useEffect(() => {
    if (!marked || gone.current === hash || log.count <= marked[0]) return;
    gone.current = hash;
    goTo(marked[0]);
  });

  function onScroll() {
    const b = box.current!;
    if (Math.abs(b.scrollTop - lastTop.current) < 1) return; // that was us
    const up = b.scrollTop < lastTop.current;
    const atEnd = b.scrollTop + b.clientHeight >= b.scrollHeight - lineHeight;
    lastTop.current = b.scrollTop;
    wanted.current = undefined;
    if (up && !atEnd) setFollow(false);
    else if (atEnd && running && !follow && b.scrollHeight > b.clientHeight) setFollow(true);
    setTop((seen.current = b.scrollTop * scale));
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
    scroll(seen.current + d);
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
      scroll(seen.current + e.deltaY * unit);
    };
    b.addEventListener("wheel", wheel, { passive: false });
    return () => b.removeEventListener("wheel", wheel);
  }, [scale, scroll, height]);

  const mark = useCallback(
    (line: number, extend: boolean) => {
      const from = extend && marked ? marked[0] : line;
      const [a, b] = [Math.min(from, line) + 1, Math.max(from, line) + 1];
      gone.current = a === b ? `#L${a}` : `#L${a}-L${b}`;
      navigate({ search: query, hash: gone.current }, { replace: true, preventScrollReset: true });
    },
    [marked?.[0], navigate, query], // eslint-disable-line
  );

  const first = log.lineOfRow(Math.max(0, Math.min(Math.floor(top / lineHeight), rows - 1) - beyond));
  const begin = log.rowOfLine(first);
  const end = Math.ceil((top + height) / lineHeight) + beyond;
  const find = log.search?.text ?? "";
  const stop = linked !== undefined && log.rowOfLine(linked) >= begin && log.rowOfLine(linked) < end ? linked : rows > 0 ? log.lineOfRow(Math.min(Math.ceil(top / lineHeight), rows - 1)) : -1;
  const drawn: ReactNode[] = [];
  for (let n = first, row = begin; row < end && n < log.count; row += log.height(n), n = log.after(n)) {
    const l = log.line(n);
    const section = log.sections.find((s) => s.first === n);
    drawn.push(
      <Row
        key={n}
        n={n}
        rows={log.height(n)}
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
      <Tools log={log} place={place} name={name} running={running} follow={follow} onFollow={setFollow} marked={marked} current={current} wrap={wrap} onWrap={setWrap} firstSeen={first} onGo={(line) => (setCurrent(line), goTo(line))} />
      {error ? (
        <Alert type="error" header="The log could not be read on">
          <Text lines>{describe(error)}</Text>
        </Alert>
      ) : null}
      <div ref={box} className={"log-box" + (columns > 0 ? " wrapped" : "") + (running ? " running" : "")} role="log" aria-live="off" aria-label={`Log of build ${name}`} tabIndex={0} onScroll={onScroll} onKeyDown={onKeyDown}>
        <div ref={ruler} className="log-ruler" aria-hidden>
          <div />
        </div>
        <div className="log-space" style={{ blockSize: Math.max(real, height), inlineSize: columns > 0 ? undefined : `calc(${Math.min(log.width, 5000)}ch + 116px)` }}>
          <div className="log-window" style={{ blockSize: height }}>
            <div ref={list} className="log-rows" style={{ transform: `translateY(${begin * lineHeight - top}px)`, "--columns": columns } as CSSProperties}>
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
  rows: number;
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

const Row = memo(function Row({ n, rows, text, style, find, href, marked, current, phase, folded, hidden, tab, onMark, onFold }: RowProps) {
  return (
    <div className={"log-row" + (marked ? " marked" : "") + (current ? " current" : "") + (phase ? " phase" : "")} style={{ blockSize: rows * lineHeight }}>
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
      <bdi className="log-text" data-line={text === undefined ? undefined : n}>
        {text === undefined ? "\u2026" : <Line text={text} style={style!} find={find} />}
        {hidden > 0 && <span className="log-hidden">{hidden.toLocaleString("en")} lines</span>}
      </bdi>
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
  wrap: boolean;
  onWrap: (w: boolean) => void;
  marked: [number, number] | undefined;
  current: number | undefined;
  firstSeen: number;
  onGo: (line: number) => void;
}

function Tools({ log, place, name, running, follow, onFollow, wrap, onWrap, marked, current, firstSeen, onGo }: ToolsProps) {
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
        <Toggle checked={wrap} onChange={(e) => onWrap(e.detail.checked)}>
          Wrap lines
        </Toggle>
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

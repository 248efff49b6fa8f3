/**
 * A log as the console keeps it: lines in chunks, of which the oldest unused
 * are given up when there are too many and read again when they are needed;
 * the phases by which it folds; and what a search found. It knows neither the
 * page nor the API, only how to read a page of events.
 */
import { plain, strip, styleAfter, hasEscapes, type Style } from "./ansi";

/** A page of events: what the messages are, and where to go on. At the end of the log it is empty and next stays the same. */
export interface LogPage {
  messages: string[];
  next: string;
}

/** Reads from a place, "" for the start, limit events at most. */
export type ReadPage = (from: string, limit: number, signal?: AbortSignal) => Promise<LogPage>;

/** Of one line so many characters are kept; the download has the rest. */
export const longestLine = 4_096;

/** A chunk is closed at the next page after so many lines or characters. */
const chunkLines = 4_096;
const chunkChars = 512 * 1024;

/** What the memory of a line costs beside its characters, about. */
const lineCost = 48;

export interface Line {
  text: string;
  /** How the line begins to look: colours go on from line to line. */
  style: Style;
}

interface Chunk {
  /** Where to read it again: the place of its first event and how many there are. */
  from: string;
  events: number;
  first: number;
  count: number;
  /** undefined when given up. */
  lines: string[] | undefined;
  /** How many characters of each line are shown. */
  lengths: number[];
  /** The first line's row when nothing is folded, and how many rows the lines have. */
  row: number;
  rows: number;
  /** The styles of those lines that do not begin plain. */
  styles: Map<number, Style>;
  startStyle: Style;
  size: number;
  used: number;
  /** Where the page was that it got lines from last: a page is never divided between two chunks. */
  lastPage: string;
}

/** A phase in the log: its lines from first up to the next one's. */
export interface Section {
  phase: string;
  first: number;
  folded: boolean;
}

const entering = /^\[Container\] \S+ \S+ Entering phase ([A-Z_]+)\s*$/;
const phases = new Set(["DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD", "UPLOAD_ARTIFACTS", "FINALIZING"]);

/** What a terminal would show of a line with carriage returns at last: what stands behind the last of them. */
function afterReturns(text: string): number {
  let end = text.length;
  while (end > 0 && text.charCodeAt(end - 1) === 13) end--;
  return end === 0 ? 0 : text.lastIndexOf("\r", end - 1) + 1;
}

/** Makes lines of messages: an event need not end a line, and a style goes on from one to the next. */
class Lines {
  /** The line that has no end yet. */
  open = "";
  /** Whether there is one. */
  isOpen = false;
  style: Style;
  private openStyle: Style;

  constructor(style: Style) {
    this.style = style;
    this.openStyle = style;
  }

  /** Adds a message; line is called with each line it gives, new or, if it was open, again. */
  add(message: string, line: (text: string, style: Style, again: boolean) => void) {
    let from = 0;
    while (from < message.length) {
      const newline = message.indexOf("\n", from);
      const part = newline < 0 ? message.slice(from) : message.slice(from, newline);
      const again = this.isOpen;
      if (!again) this.openStyle = this.style;
      let text = again ? this.open + part : part;
      if (text.startsWith("[Container] ")) this.style = this.openStyle = plain; // the agent's lines are its own
      const at = text.includes("\r") ? afterReturns(text) : 0;
      if (at > 0) {
        this.openStyle = styleAfter(text.slice(0, at), this.openStyle);
        text = text.slice(at);
      }
      if (text.length > longestLine) text = text.slice(0, longestLine) + " [the rest of this line is in the download]";
      const shown = text.endsWith("\r") ? text.replace(/\r+$/, "") : text;
      line(shown, this.openStyle, again);
      if (newline < 0) {
        this.open = text;
        this.isOpen = true;
        return;
      }
      if (hasEscapes(text)) this.style = styleAfter(text, this.openStyle);
      else this.style = this.openStyle;
      this.open = "";
      this.isOpen = false;
      from = newline + 1;
    }
  }
}

export interface Search {
  text: string;
  /** The lines that have it, in order. */
  lines: number[];
  /** Lines up to here were looked at. */
  upTo: number;
}

export class Log {
  readonly sections: Section[] = [];
  /** How many lines there are. */
  count = 0;
  /** How many characters the longest line shows. */
  width = 0;
  /** Counts changes, for whoever draws. */
  version = 0;
  search: Search | undefined;

  private chunks: Chunk[] = [];
  private tail = new Lines(plain);
  private size = 0;
  private clock = 0;
  /** A line goes on in a further row after so many characters; never if 0. */
  private columns = 0;
  private loading = new Map<Chunk, Promise<string[]>>();
  private watchers = new Set<() => void>();
  private readonly read: ReadPage;
  /** Characters to keep, about. */
  private readonly budget: number;

  constructor(read: ReadPage, budget = 160 * 1024 * 1024) {
    this.read = read;
    this.budget = budget;
  }

  subscribe = (f: () => void) => {
    this.watchers.add(f);
    return () => this.watchers.delete(f);
  };

  private changed() {
    this.version++;
    for (const f of this.watchers) f();
  }

  /** Adds messages that were read from a place; all of a page, in order, if in parts. */
  append(messages: readonly string[], from: string) {
    if (messages.length === 0) return;
    let chunk = this.chunks.at(-1);
    if (!chunk || (chunk.lastPage !== from && !this.tail.isOpen && (chunk.count >= chunkLines || chunk.size >= chunkChars))) {
      chunk = this.begin(from);
    }
    chunk.lastPage = from;
    const lines = chunk.lines!;
    for (const m of messages) {
      chunk.events++;
      this.tail.add(m, (text, style, again) => {
        const length = strip(text).length;
        if (again) {
          this.grow(chunk, text.length - lines[lines.length - 1]!.length);
          lines[lines.length - 1] = text;
          chunk.rows -= this.rowsOf(chunk.lengths.pop()!);
          if (this.search) this.search.upTo = Math.min(this.search.upTo, this.count - 1);
        } else {
          lines.push(text);
          chunk.count++;
          this.count++;
          this.grow(chunk, text.length + lineCost);
        }
        chunk.lengths.push(length);
        chunk.rows += this.rowsOf(length);
        if (style !== plain) chunk.styles.set(lines.length - 1, style);
        else if (again) chunk.styles.delete(lines.length - 1);
        if (length > this.width) this.width = length;
        if (text.startsWith("[Container] ")) this.enter(text);
      });
    }
    this.evict();
    this.changed();
  }

  private begin(from: string): Chunk {
    const before = this.chunks.at(-1);
    const c: Chunk = {
      from,
      events: 0,
      first: this.count,
      count: 0,
      lines: [],
      lengths: [],
      row: before ? before.row + before.rows : 0,
      rows: 0,
      styles: new Map(),
      startStyle: this.tail.style,
      size: 0,
      used: ++this.clock,
      lastPage: from,
    };
    this.chunks.push(c);
    return c;
  }

  private grow(c: Chunk, n: number) {
    c.size += n;
    this.size += n;
  }

  private enter(text: string) {
    const phase = entering.exec(text)?.[1];
    // A build can print such lines too: each phase counts once.
    if (!phase || !phases.has(phase) || this.sections.some((s) => s.phase === phase)) return;
    this.sections.push({ phase, first: this.count - 1, folded: false });
  }

  /** Gives up the chunks that were not used for the longest, until there is room. The last one is still written to. */
  private evict(keep?: Chunk) {
    while (this.size > this.budget) {
      let oldest: Chunk | undefined;
      for (const c of this.chunks.slice(0, -1)) if (c !== keep && c.lines && (!oldest || c.used < oldest.used)) oldest = c;
      if (!oldest) return;
      oldest.lines = undefined;
      oldest.styles.clear();
      this.size -= oldest.size;
    }
  }

  /** The last chunk that begins at or before a line, or a row. */
  private chunkOf(n: number, by: "first" | "row" = "first"): Chunk | undefined {
    let low = 0;
    let high = this.chunks.length - 1;
    while (low < high) {
      const mid = (low + high + 1) >> 1;
      if (this.chunks[mid]![by] <= n) low = mid;
      else high = mid - 1;
    }
    return this.chunks[low];
  }

  /** A line by its index; undefined if it has to be read again, which begins. */
  line(n: number): Line | undefined {
    const c = this.chunkOf(n);
    if (!c || n >= c.first + c.count) return undefined;
    c.used = ++this.clock;
    if (!c.lines) {
      void this.load(c).catch(() => undefined); // the next drawing tries again
      return undefined;
    }
    return { text: c.lines[n - c.first]!, style: c.styles.get(n - c.first) ?? plain };
  }

  /** Reads a chunk again that was given up. */
  private load(c: Chunk): Promise<string[]> {
    let p = this.loading.get(c);
    if (p) return p;
    p = (async () => {
      const lines: string[] = [];
      const styles = new Map<number, Style>();
      const make = new Lines(c.startStyle);
      let at = c.from;
      for (let left = c.events; left > 0; ) {
        const page = await this.read(at, left);
        if (page.messages.length === 0) break;
        left -= page.messages.length;
        at = page.next;
        for (const m of page.messages)
          make.add(m, (text, style, again) => {
            if (again) lines[lines.length - 1] = text;
            else lines.push(text);
            if (style !== plain) styles.set(lines.length - 1, style);
          });
      }
      while (lines.length < c.count) lines.push(""); // the log was deleted meanwhile
      c.lines = lines;
      c.styles = styles;
      c.used = ++this.clock;
      this.size += c.size;
      this.evict(c);
      return lines;
    })().finally(() => {
      this.loading.delete(c);
      this.changed();
    });
    this.loading.set(c, p);
    return p;
  }

  /** Lines of a range without escape sequences, up to so many characters. */
  async text(first: number, last: number, most: number): Promise<{ text: string; all: boolean }> {
    const parts: string[] = [];
    let size = 0;
    for (const c of this.chunks) {
      if (c.first + c.count <= first || c.first > last) continue;
      const lines = c.lines ?? (await this.load(c));
      for (let i = Math.max(0, first - c.first); i < c.count && c.first + i <= last; i++) {
        const t = strip(lines[i]!);
        size += t.length + 1;
        if (size > most) return { text: parts.join("\n"), all: false };
        parts.push(t);
      }
    }
    return { text: parts.join("\n"), all: true };
  }

  // Rows. A line has one, or as many as it takes where lines are wrapped. The
  // line that enters a phase is always shown; of what is folded away there are
  // no rows.

  private rowsOf(length: number): number {
    return this.columns > 0 ? Math.max(1, Math.ceil(length / this.columns)) : 1;
  }

  /** Wraps lines after so many characters, 0 for not at all; whether they were not. */
  wrap(columns: number): boolean {
    if (columns === this.columns) return false;
    this.columns = columns;
    let row = 0;
    for (const c of this.chunks) {
      c.row = row;
      c.rows = columns > 0 ? c.lengths.reduce((n, l) => n + this.rowsOf(l), 0) : c.count;
      row += c.rows;
    }
    this.changed();
    return true;
  }

  /** How many rows a line has. */
  height(line: number): number {
    const c = this.chunkOf(line);
    return this.rowsOf(c?.lengths[line - c.first] ?? 0);
  }

  /**
   * Notes how many rows lines take in truth, which are others for tabs and for
   * characters that are wide or none; whether that was not known.
   */
  measured(lines: readonly (readonly [line: number, rows: number])[]): boolean {
    let from: Chunk | undefined;
    for (const [line, rows] of lines) {
      const c = this.chunkOf(line)!;
      const d = rows - this.rowsOf(c.lengths[line - c.first]!);
      if (d === 0) continue;
      c.lengths[line - c.first] = rows * this.columns;
      c.rows += d;
      if (!from || c.first < from.first) from = c;
    }
    if (!from) return false;
    for (let i = this.chunks.indexOf(from) + 1; i < this.chunks.length; i++) this.chunks[i]!.row = this.chunks[i - 1]!.row + this.chunks[i - 1]!.rows;
    this.changed();
    return true;
  }

  /** The row of a line when nothing is folded; of the end for the line after the last. */
  private unfolded(line: number): number {
    const c = this.chunkOf(line);
    if (!c || this.columns === 0) return line;
    if (line >= c.first + c.count) return c.row + c.rows;
    let row = c.row;
    for (let i = 0; i < line - c.first; i++) row += this.rowsOf(c.lengths[i]!);
    return row;
  }

  /** Where a section ends: the first line after it. */
  end(s: Section): number {
    return this.sections[this.sections.indexOf(s) + 1]?.first ?? this.count;
  }

  fold(s: Section, folded: boolean) {
    s.folded = folded;
    this.changed();
  }

  /** How many rows a section has beside that of its first line, when nothing is folded. */
  private inside(s: Section): number {
    return this.unfolded(this.end(s)) - this.unfolded(s.first + 1);
  }

  /** How many rows there are. */
  get rows(): number {
    return this.sections.reduce((n, s) => n - (s.folded ? this.inside(s) : 0), this.unfolded(this.count));
  }

  /** The line that has a row. */
  lineOfRow(row: number): number {
    for (const s of this.sections) {
      if (!s.folded) continue;
      if (row < this.unfolded(s.first + 1)) break;
      row += this.inside(s);
    }
    const c = this.chunkOf(row, "row");
    if (!c || this.columns === 0) return row;
    let line = c.first;
    for (let at = c.row; line < c.first + c.count - 1; line++) {
      at += this.rowsOf(c.lengths[line - c.first]!);
      if (at > row) break;
    }
    return line;
  }

  /** The first row of a line; of the one that enters its phase if it is folded away. */
  rowOfLine(line: number): number {
    let row = this.unfolded(line);
    for (const s of this.sections) {
      if (line <= s.first) break;
      if (s.folded) row -= line < this.end(s) ? this.unfolded(line) - this.unfolded(s.first) : this.inside(s);
    }
    return row;
  }

  /** The line that is shown after one. */
  after(line: number): number {
    const s = this.sections.find((x) => x.first === line);
    return s?.folded ? this.end(s) : line + 1;
  }

  sectionAt(line: number): Section | undefined {
    return this.sections.findLast((s) => s.first <= line);
  }

  // Search. Without regard to case, in what is shown.

  find(text: string) {
    this.search = text ? { text: text.toLowerCase(), lines: [], upTo: 0 } : undefined;
    this.changed();
  }

  /** Looks for more until the time is over, in milliseconds; false when everything was looked at. */
  async findMore(time: number, now = () => performance.now()): Promise<boolean> {
    const s = this.search;
    if (!s || s.upTo >= this.count) return false;
    const until = now() + time;
    while (s === this.search && s.upTo < this.count) {
      const c = this.chunkOf(s.upTo)!;
      const lines = c.lines ?? (await this.load(c));
      c.used = ++this.clock;
      // The line that is still written to is looked at when it has its end, or again.
      while (s.lines.length > 0 && s.lines[s.lines.length - 1]! >= s.upTo) s.lines.pop();
      for (let i = s.upTo - c.first; i < c.count && s.upTo < this.count; i++) {
        if (strip(lines[i]!).toLowerCase().includes(s.text)) s.lines.push(s.upTo);
        s.upTo++;
        if ((i & 255) === 255 && now() > until) {
          this.changed();
          return true;
        }
      }
    }
    this.changed();
    return false;
  }

  /** The line with a match after (or before) one, going around; undefined if there is none. */
  next(line: number, back: boolean): number | undefined {
    const list = this.search?.lines;
    if (!list?.length) return undefined;
    let low = 0;
    let high = list.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (back ? list[mid]! < line : list[mid]! <= line) low = mid + 1;
      else high = mid;
    }
    return back ? list[(low - 1 + list.length) % list.length] : list[low % list.length];
  }
}

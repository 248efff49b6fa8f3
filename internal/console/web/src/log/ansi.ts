/**
 * Escape sequences in log lines. Colours and the like (SGR) are shown; every
 * other sequence is dropped, and none can do anything to the page. What a
 * program wants hidden is shown all the same.
 */

/** How text looks. A colour is "#rrggbb"; undefined is that of the log. */
export interface Style {
  fg?: string;
  bg?: string;
  bold?: boolean;
  dim?: boolean;
  italic?: boolean;
  underline?: boolean;
  strike?: boolean;
  inverse?: boolean;
}

export const plain: Style = {};

/**
 * The sequences of ECMA-48 and the string controls of terminals: CSI with its
 * parameters; OSC, DCS, SOS, PM and APC up to their end; any other escape. One
 * that is not ended goes to the end of the text.
 */
// eslint-disable-next-line no-control-regex
const sequence = /\u001b\[([0-?]*)[ -/]*([@-~])|\u001b\[[0-?]*[ -/]*$|\u001b[\]PX^_][^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c|(?=\u001b)|$)|\u001b[ -/]*[0-~]?|\u009b([0-?]*)[ -/]*([@-~])/g;

/** The 16 colours, chosen to be read on the log's dark ground. */
const palette = [
  "#8b98a8", "#ff7b72", "#56d364", "#e3b341", "#79c0ff", "#e58fff", "#56d4dd", "#d3dbe3",
  "#a7b3c1", "#ffa198", "#7ee787", "#f2cc60", "#a5d6ff", "#f0b8ff", "#8ae9f0", "#ffffff",
];

const hex = (n: number) => Math.max(0, Math.min(255, n | 0)).toString(16).padStart(2, "0");

/** A colour of the table of 256. */
function indexed(n: number): string | undefined {
  if (!(n >= 0 && n < 256)) return undefined;
  if (n < 16) return palette[n];
  if (n >= 232) return "#" + hex(8 + (n - 232) * 10).repeat(3);
  const level = (v: number) => hex(v === 0 ? 0 : 55 + v * 40);
  const c = n - 16;
  return "#" + level(Math.floor(c / 36)) + level(Math.floor(c / 6) % 6) + level(c % 6);
}

/** The style after an SGR sequence with these parameters. */
function sgr(s: Style, parameters: string): Style {
  if (/[<=>?]/.test(parameters)) return s;
  const next = { ...s };
  // 38:2::r:g:b is the same as 38;2;r;g;b but for its empty colour space.
  const list = parameters.replace(/([34]8):2:(\d*):(\d+:\d+:\d+)/g, "$1:2:$3").split(/[;:]/).map((p) => (p === "" ? 0 : Number(p)));
  for (let i = 0; i < list.length; i++) {
    const p = list[i]!;
    if (p === 0) for (const k in next) delete next[k as keyof Style];
    else if (p === 1) next.bold = true;
    else if (p === 2) next.dim = true;
    else if (p === 3) next.italic = true;
    else if (p === 4 || p === 21) next.underline = true;
    else if (p === 7) next.inverse = true;
    else if (p === 9) next.strike = true;
    else if (p === 22) delete next.bold, delete next.dim;
    else if (p === 23) delete next.italic;
    else if (p === 24) delete next.underline;
    else if (p === 27) delete next.inverse;
    else if (p === 29) delete next.strike;
    else if (p >= 30 && p <= 37) next.fg = palette[p - 30];
    else if (p >= 90 && p <= 97) next.fg = palette[p - 82];
    else if (p >= 40 && p <= 47) next.bg = palette[p - 40];
    else if (p >= 100 && p <= 107) next.bg = palette[p - 92];
    else if (p === 39) delete next.fg;
    else if (p === 49) delete next.bg;
    else if (p === 38 || p === 48) {
      let c: string | undefined;
      if (list[i + 1] === 5) {
        c = indexed(list[i + 2] ?? -1);
        i += 2;
      } else if (list[i + 1] === 2) {
        c = "#" + hex(list[i + 2] ?? 0) + hex(list[i + 3] ?? 0) + hex(list[i + 4] ?? 0);
        i += 4;
      }
      if (c) next[p === 38 ? "fg" : "bg"] = c;
    }
  }
  return next;
}

export interface Span {
  text: string;
  style: Style;
}

/** Whether there is anything to interpret. */
export const hasEscapes = (text: string) => text.includes("\u001b") || text.includes("\u009b");

/** Text without its escape sequences: what is searched, copied and read aloud. */
export const strip = (text: string) => (hasEscapes(text) ? text.replace(sequence, "") : text);

/** The style after a text. */
export function styleAfter(text: string, style: Style): Style {
  if (!hasEscapes(text)) return style;
  for (const m of text.matchAll(sequence)) if ((m[2] ?? m[4]) === "m") style = sgr(style, m[1] ?? m[3] ?? "");
  return style;
}

/** The parts of a text that look alike, in order. */
export function spans(text: string, style: Style): Span[] {
  if (!hasEscapes(text)) return text ? [{ text, style }] : [];
  const list: Span[] = [];
  let from = 0;
  const add = (to: number) => {
    if (to > from) list.push({ text: text.slice(from, to), style });
  };
  for (const m of text.matchAll(sequence)) {
    add(m.index);
    from = m.index + m[0].length;
    if ((m[2] ?? m[4]) === "m") style = sgr(style, m[1] ?? m[3] ?? "");
  }
  add(text.length);
  return list;
}

/** The log's own colours; main.css has the same. */
const ground = "#0f1b2a";
const ink = "#e6edf3";

function channels(c: string): [number, number, number] {
  return [parseInt(c.slice(1, 3), 16), parseInt(c.slice(3, 5), 16), parseInt(c.slice(5, 7), 16)];
}

/** Relative luminance. Source: WCAG 2.2, "relative luminance". */
function luminance(c: string): number {
  const [r, g, b] = channels(c).map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4)) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

export function contrast(a: string, b: string): number {
  const x = luminance(a);
  const y = luminance(b);
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

/** The nearest colour to c, towards white or black, that can be read on bg: contrast 4.5 as WCAG AA wants. */
function readable(c: string, bg: string): string {
  const to = luminance(bg) > 0.18 ? 0 : 255;
  const from = channels(c);
  for (let step = 0; step <= 10; step++) {
    const mixed = "#" + from.map((v) => hex(Math.round(v + ((to - v) * step) / 10))).join("");
    if (step === 10 || contrast(mixed, bg) >= 4.5) return mixed;
  }
  return c;
}

export interface Look {
  color?: string;
  background?: string;
  fontWeight?: number;
  fontStyle?: string;
  textDecoration?: string;
}

const looks = new Map<string, Look>();

/** A style as the page shows it. Text can be read whatever the colours are. */
export function look(s: Style): Look | undefined {
  if (s === plain) return undefined;
  const key = JSON.stringify(s);
  let l = looks.get(key);
  if (l) return l;
  let fg = s.fg;
  let bg = s.bg;
  if (s.inverse) [fg, bg] = [bg ?? ground, fg ?? ink];
  if (s.dim && !s.inverse) fg = fg ?? "#9aa7b4";
  l = {};
  if (fg || bg) l.color = readable(fg ?? ink, bg ?? ground);
  if (bg) l.background = bg;
  if (s.bold) l.fontWeight = 700;
  if (s.italic) l.fontStyle = "italic";
  if (s.underline || s.strike) l.textDecoration = [s.underline && "underline", s.strike && "line-through"].filter(Boolean).join(" ");
  if (looks.size > 4096) looks.clear(); // a log can ask for any colour
  looks.set(key, l);
  return l;
}

import { describe, expect, it } from "vitest";
import { contrast, look, plain, spans, strip, styleAfter } from "./ansi";
import { Log, longestLine, type LogPage } from "./model";

const ESC = "\u001b";

describe("escape sequences", () => {
  const cases: { name: string; in: string; want: [string, object][] }[] = [
    { name: "none", in: "plain", want: [["plain", {}]] },
    { name: "a colour and its end", in: `${ESC}[31mred${ESC}[0m not`, want: [["red", { fg: "#ff7b72" }], [" not", {}]] },
    { name: "no parameter is 0", in: `${ESC}[1mb${ESC}[mp`, want: [["b", { bold: true }], ["p", {}]] },
    { name: "several at once", in: `${ESC}[1;4;92mx`, want: [["x", { bold: true, underline: true, fg: "#7ee787" }]] },
    { name: "256 colours", in: `${ESC}[38;5;196mx${ESC}[48;5;232my`, want: [["x", { fg: "#ff0000" }], ["y", { fg: "#ff0000", bg: "#080808" }]] },
    { name: "true colour", in: `${ESC}[38;2;1;2;300mx`, want: [["x", { fg: "#0102ff" }]] },
    { name: "true colour with colons", in: `${ESC}[38:2::10:20:30mx`, want: [["x", { fg: "#0a141e" }]] },
    { name: "a colour that is no colour", in: `${ESC}[38;5;999mx`, want: [["x", {}]] },
    { name: "hidden text is shown", in: `${ESC}[8mpassword`, want: [["password", {}]] },
    { name: "moving the cursor", in: `a${ESC}[2Ab${ESC}[Kc${ESC}[?25ld`, want: [["a", {}], ["b", {}], ["c", {}], ["d", {}]] },
    { name: "a private sequence with m", in: `${ESC}[>4;2mx`, want: [["x", {}]] },
    { name: "a title", in: `${ESC}]0;title\u0007x`, want: [["x", {}]] },
    { name: "a link keeps its text", in: `${ESC}]8;;https://example.com${ESC}\\text${ESC}]8;;${ESC}\\`, want: [["text", {}]] },
    { name: "a title that does not end", in: `x${ESC}]0;title`, want: [["x", {}]] },
    { name: "a device string", in: `${ESC}Pq#0;2;0${ESC}\\x`, want: [["x", {}]] },
    { name: "a sequence that is cut off", in: `x${ESC}[3`, want: [["x", {}]] },
    { name: "an escape alone", in: `x${ESC}`, want: [["x", {}]] },
    { name: "one character", in: `${ESC}cx`, want: [["x", {}]] },
    { name: "8-bit control", in: `\u009b31mx`, want: [["x", { fg: "#ff7b72" }]] },
    { name: "markup is text", in: `<img src=x onerror=alert(1)>${ESC}[1m</script>`, want: [["<img src=x onerror=alert(1)>", {}], ["</script>", { bold: true }]] },
  ];
  for (const c of cases) {
    it(c.name, () => {
      const got = spans(c.in, plain);
      expect(got.map((s) => [s.text, s.style])).toEqual(c.want);
      expect(strip(c.in)).toBe(c.want.map(([t]) => t).join(""));
      expect(strip(c.in)).not.toContain(ESC);
    });
  }

  it("goes on with the style of the line before", () => {
    const s = styleAfter(`${ESC}[33mone`, plain);
    expect(spans("two", s)[0]!.style).toEqual({ fg: "#e3b341" });
    expect(styleAfter(`${ESC}[39m`, s)).toEqual({});
  });

  it("can be read whatever the colours are", () => {
    for (let fg = 0; fg < 256; fg++)
      for (const bg of [undefined, 0, 1, 7, 15, 21, 46, 226, 240]) {
        for (const inverse of ["", ";7"]) {
          const [span] = spans(`${ESC}[38;5;${fg}${bg === undefined ? "" : `;48;5;${bg}`}${inverse}mx`, plain);
          const l = look(span!.style)!;
          expect(contrast(l.color!, l.background ?? "#0f1b2a"), `${fg} on ${bg}${inverse}`).toBeGreaterThanOrEqual(4.5);
        }
      }
  });

  it("takes no long time for a line that is made to", () => {
    const start = performance.now();
    for (const s of [`${ESC}[`.repeat(20_000), `${ESC}[${"1;".repeat(20_000)}`, `${ESC}]`.repeat(20_000), `${ESC}P${"x".repeat(50_000)}`]) strip(s);
    expect(performance.now() - start).toBeLessThan(1_000);
  });
});

/** A log at a server: pages of a few events, by their number. */
function server(events: string[], page = 7) {
  let asked = 0;
  const read = async (from: string, limit: number): Promise<LogPage> => {
    asked++;
    const at = Number(from || 0);
    const messages = events.slice(at, at + Math.min(limit, page));
    return { messages, next: String(at + messages.length) };
  };
  return { read, asked: () => asked };
}

/** Reads all of it. */
async function fill(log: Log, read: (from: string, limit: number) => Promise<LogPage>) {
  for (let at = ""; ; ) {
    const p = await read(at, 1e9);
    if (p.messages.length === 0) return;
    log.append(p.messages, at);
    at = p.next;
  }
}

async function logOf(events: string[]) {
  const s = server(events);
  const log = new Log(s.read);
  await fill(log, s.read);
  return log;
}

const texts = (log: Log) => Array.from({ length: log.count }, (_, i) => log.line(i)?.text);

describe("lines", () => {
  const cases: { name: string; in: string[]; want: string[] }[] = [
    { name: "one an event", in: ["a\n", "b\n"], want: ["a", "b"] },
    { name: "a line in several events", in: ["a", "b", "c\n", "d\n"], want: ["abc", "d"] },
    { name: "several lines in an event", in: ["a\nb\n\nc\n"], want: ["a", "b", "", "c"] },
    { name: "no end yet", in: ["a\n", "b"], want: ["a", "b"] },
    { name: "an empty line", in: ["\n"], want: [""] },
    { name: "CR LF", in: ["a\r\n", "\r\n"], want: ["a", ""] },
    { name: "a progress bar", in: ["10%\r50%\r100%\n"], want: ["100%"] },
    { name: "a progress bar that moves", in: ["10%\r", "50%\r", "100%"], want: ["100%"] },
    { name: "a progress bar that waits", in: ["10%\r50%\r"], want: ["50%"] },
    { name: "a return before everything", in: ["\rdone\n"], want: ["done"] },
  ];
  for (const c of cases) it(c.name, async () => expect(texts(await logOf(c.in))).toEqual(c.want));

  it("cuts a line that is too long and says so", async () => {
    const log = await logOf(["x".repeat(longestLine + 10), "y".repeat(10), "\n", "next\n"]);
    expect(log.count).toBe(2);
    expect(log.line(0)!.text).toHaveLength(longestLine + " [the rest of this line is in the download]".length);
    expect(log.line(1)!.text).toBe("next");
  });

  it("keeps a colour across lines, but not into the agent's", async () => {
    const log = await logOf([`${ESC}[31mred\n`, "still\n", `x${ESC}[32m10%\r20%\n`, "green\n", "[Container] 2026/11/27 10:00:00 Running command ls\n", "plain\n"]);
    expect([0, 1, 2, 3, 4, 5].map((i) => log.line(i)!.style.fg)).toEqual([undefined, "#ff7b72", "#56d364", "#56d364", undefined, undefined]);
    expect(log.line(2)!.text).toBe("20%");
  });
});

const agent = (text: string) => `[Container] 2026/11/27 10:00:00 ${text}\n`;

describe("folding", () => {
  const make = () => logOf([agent("Waiting for agent ping"), agent("Entering phase INSTALL"), "i1\n", "i2\n", agent("Entering phase BUILD"), "b1\n", "b2\n", "b3\n", agent("Entering phase POST_BUILD"), "p1\n"]);

  it("knows the phases", async () => {
    const log = await make();
    expect(log.sections.map((s) => [s.phase, s.first, log.end(s)])).toEqual([["INSTALL", 1, 4], ["BUILD", 4, 8], ["POST_BUILD", 8, 10]]);
    expect(log.sectionAt(0)).toBeUndefined();
    expect(log.sectionAt(5)!.phase).toBe("BUILD");
  });

  it("shows a phase's first line and hides the others", async () => {
    const log = await make();
    log.fold(log.sections[1]!, true);
    expect(log.rows).toBe(7);
    expect(Array.from({ length: log.rows }, (_, r) => log.lineOfRow(r))).toEqual([0, 1, 2, 3, 4, 8, 9]);
    expect([0, 3, 4, 5, 7, 8, 9].map((l) => log.rowOfLine(l))).toEqual([0, 3, 4, 4, 4, 5, 6]);
    log.fold(log.sections[0]!, true);
    expect(Array.from({ length: log.rows }, (_, r) => log.lineOfRow(r))).toEqual([0, 1, 4, 8, 9]);
  });

  it("grows while the last phase is folded", async () => {
    const log = await make();
    log.fold(log.sections[2]!, true);
    log.append(["more\n", "more\n"], "x");
    expect(log.count).toBe(12);
    expect(log.rows).toBe(9);
  });

  it("is not taken in by a build that prints such lines", async () => {
    const log = await logOf([agent("Entering phase BUILD"), agent("Entering phase BUILD"), agent("Entering phase EVIL"), "x [Container] 1 2 Entering phase INSTALL\n", agent("Entering phase BUILD and more")]);
    expect(log.sections.map((s) => s.phase)).toEqual(["BUILD"]);
  });
});

describe("wrapping", () => {
  const lines = [agent("Entering phase INSTALL"), "\n", "x".repeat(10) + "\n", "x".repeat(11) + "\n", `${ESC}[31m${"x".repeat(20)}${ESC}[0m\n`, agent("Entering phase BUILD"), "x".repeat(95) + "\n"];

  it("gives a line the rows that it takes", async () => {
    const log = await logOf(lines);
    log.wrap(10);
    expect(lines.map((_, i) => log.height(i))).toEqual([6, 1, 1, 2, 2, 6, 10]);
    expect(lines.map((_, i) => log.rowOfLine(i))).toEqual([0, 6, 7, 8, 10, 12, 18]);
    expect(log.rows).toBe(28);
    expect([0, 5, 6, 7, 8, 9, 10, 27].map((r) => log.lineOfRow(r))).toEqual([0, 0, 1, 2, 3, 3, 4, 6]);
    expect(log.lineOfRow(1_000)).toBe(6);
    log.wrap(0);
    expect([log.rows, log.height(6), log.rowOfLine(6), log.lineOfRow(6)]).toEqual([7, 1, 6, 6]);
  });

  it("folds phases all the same", async () => {
    const log = await logOf(lines);
    log.wrap(10);
    log.fold(log.sections[0]!, true);
    expect(log.rows).toBe(22);
    expect([0, 1, 3, 4, 5, 6].map((l) => log.rowOfLine(l))).toEqual([0, 0, 0, 0, 6, 12]);
    expect([5, 6, 11, 12].map((r) => log.lineOfRow(r))).toEqual([0, 5, 5, 6]);
    expect([log.after(0), log.after(5)]).toEqual([5, 6]);
    log.fold(log.sections[1]!, true);
    expect(log.rows).toBe(12);
  });

  it("counts anew while the last line grows", async () => {
    const log = new Log(async () => ({ messages: [], next: "" }));
    log.wrap(4);
    log.append(["aaa"], "");
    expect(log.rows).toBe(1);
    log.append(["bbb"], "1");
    expect(log.rows).toBe(2);
    log.append(["\rc\n", "dddd\n"], "2");
    expect([log.rows, log.height(0), log.height(1)]).toEqual([2, 1, 1]);
    expect(log.width).toBe(6);
  });

  it("learns what was measured", async () => {
    const log = await logOf(lines);
    log.wrap(10);
    expect(log.measured([[1, 1], [2, 1]])).toBe(false);
    expect(log.measured([[2, 3], [4, 1]])).toBe(true);
    expect([log.height(2), log.height(4), log.rows, log.rowOfLine(5)]).toEqual([3, 1, 29, 13]);
    expect(log.measured([[2, 3], [4, 1]])).toBe(false);
    log.wrap(20);
    expect(log.rows).toBe(16);
  });

  it("finds its way in many chunks", async () => {
    let seed = 1;
    const random = (n: number) => (seed = (seed * 16807) % 2147483647) % n;
    const events = Array.from({ length: 30_000 }, (_, i) => (i % 7_000 === 50 ? agent(`Entering phase ${["INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD", "FINALIZING"][Math.floor(i / 7_000)]}`) : "y".repeat(random(50)) + "\n"));
    const s = server(events, 1_000);
    const log = new Log(s.read, 300_000); // most of them are given up
    log.wrap(7);
    await fill(log, s.read);
    expect(log.sections).toHaveLength(5);
    const known = new Map<number, number>();
    const check = () => {
      const heights = events.map((e, i) => known.get(i) ?? Math.max(1, Math.ceil((e.length - 1) / 7)));
      let row = 0;
      const rows = heights.map((h, i) => {
        const hidden = log.sections.some((x) => x.folded && i > x.first && i < log.end(x));
        const at = row;
        if (!hidden) row += h;
        return hidden ? undefined : at;
      });
      expect(log.rows).toBe(row);
      for (let i = 0; i < 300; i++) {
        const line = random(events.length);
        const at = rows[line];
        if (at === undefined) continue;
        expect(log.rowOfLine(line)).toBe(at);
        expect(log.lineOfRow(at)).toBe(line);
        expect(log.lineOfRow(at + heights[line]! - 1)).toBe(line);
        if (log.after(line) < log.count) expect(log.rowOfLine(log.after(line))).toBe(at + heights[line]!);
      }
    };
    check();
    for (const line of [3, 9_999, 29_000]) known.set(line, 12);
    log.measured([...known]);
    check();
    log.fold(log.sections[1]!, true);
    log.fold(log.sections[3]!, true);
    check();
    log.append(["z".repeat(70) + "\n"], "end");
    events.push("z".repeat(70) + "\n");
    check();
  });
});

describe("search", () => {
  async function all(log: Log) {
    while (await log.findMore(1e9));
    return log.search!.lines;
  }

  it("finds without regard to case and to colours", async () => {
    const log = await logOf(["Error: one\n", "fine\n", `${ESC}[31mER${ESC}[1mROR${ESC}[0m two\n`, "terror\n"]);
    log.find("eRRor");
    expect(await all(log)).toEqual([0, 2, 3]);
    expect([log.next(-1, false), log.next(0, false), log.next(3, false), log.next(0, true), log.next(3, true), log.next(1, true)]).toEqual([0, 2, 0, 3, 2, 0]);
  });

  it("goes on when lines come, and looks again at one that grows", async () => {
    const log = await logOf(["a x\n", "b"]);
    log.find("x");
    expect(await all(log)).toEqual([0]);
    log.append(["bx", "x\n", "c\n", "x"], "p");
    expect(await all(log)).toEqual([0, 1, 3]);
    log.append(["\ro"], "q");
    expect(await all(log)).toEqual([0, 1]);
  });

  it("stops when its time is over", async () => {
    const log = await logOf(Array.from({ length: 2_000 }, (_, i) => `${i}\n`));
    log.find("7");
    let t = 0;
    expect(await log.findMore(1, () => t++)).toBe(true);
    expect(log.search!.upTo).toBeLessThan(2_000);
    expect(await all(log)).toHaveLength(542);
  });
});

describe("memory", () => {
  it("gives chunks up and reads them again", async () => {
    const events = Array.from({ length: 40_000 }, (_, i) => (i % 10 === 3 ? `${ESC}[3${i % 8}mline ` : `line ${i}\n`));
    const s = server(events, 1_000);
    const whole = new Log(s.read);
    await fill(whole, s.read);
    const want = Array.from({ length: whole.count }, (_, i) => whole.line(i));

    const log = new Log(s.read, 700_000);
    await fill(log, s.read);
    const before = s.asked();
    expect(log.count).toBe(whole.count);
    expect(log.line(0)).toBeUndefined();
    for (const n of [0, 5_000, 11, log.count - 1, 20_000]) {
      log.line(n);
      await log.text(n, n, 1e9);
      expect(log.line(n)).toEqual(want[n]);
    }
    expect(s.asked()).toBeGreaterThan(before);
    const kept = want.filter((_, i) => (log as unknown as { chunks: { first: number; count: number; lines?: string[] }[] }).chunks.some((c) => c.lines && i >= c.first && i < c.first + c.count));
    expect(kept.length).toBeLessThan(want.length / 2);
    log.find("line 39999");
    while (await log.findMore(1e9));
    expect(log.search!.lines).toEqual([log.count - 1]);
    expect((await log.text(0, log.count, 1e9)).text).toBe(want.map((l) => strip(l!.text)).join("\n"));
  });

  it("copies no more than it may", async () => {
    const log = await logOf(["aaaa\n", "bbbb\n", "cccc\n"]);
    expect(await log.text(0, 2, 10)).toEqual({ text: "aaaa\nbbbb", all: false });
    expect(await log.text(1, 1, 10)).toEqual({ text: "bbbb", all: true });
  });
});

// A browser for the tests: Debian's Chromium, driven by what a user sees.
//
// The environment says where things are: CONSOLE is the console's address with
// a slash at the end, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY the key to
// sign in with, CHROMIUM the browser's program. SHOTS is a directory for
// pictures of the pages, for people to look at.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

export const at = process.env.CONSOLE;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let running;

export async function browser() {
  running ??= await chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  return running;
}

export async function close() {
  await running?.close();
}

/** The ways in which each page is looked at. */
export const looks = [
  { name: "light", colorScheme: "light", viewport: { width: 1400, height: 900 } },
  { name: "dark", colorScheme: "dark", viewport: { width: 1400, height: 900 } },
  { name: "phone", colorScheme: "light", viewport: { width: 390, height: 844 } },
];

export async function signIn(page, path = "") {
  await page.goto(`${at}login?next=${encodeURIComponent(path)}`);
  await page.getByLabel("Access key ID").fill(process.env.AWS_ACCESS_KEY_ID);
  await page.getByLabel("Secret access key").fill(process.env.AWS_SECRET_ACCESS_KEY);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL((u) => !u.pathname.endsWith("/login"));
}

/**
 * A page of a user who has signed in. What the page complains about, and what
 * it was kept from by its policy, is in page.complaints; requests that fail on
 * purpose are complaints too.
 */
export async function open(path = "", look = looks[0]) {
  const context = await (await browser()).newContext({ colorScheme: look.colorScheme, viewport: look.viewport });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.complaints = [];
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && page.complaints.push(m.text()));
  page.on("pageerror", (e) => page.complaints.push(String(e)));
  await signIn(page, path);
  return page;
}

/** Fails if axe finds a violation of WCAG 2.2 AA, or if the page is wider than the window. */
export async function accessible(page, name) {
  await page.waitForTimeout(400); // messages fade in, and have no contrast until they have
  await page.evaluate(axe + ";0");
  const found = await page.evaluate(async () => {
    const r = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] });
    return r.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 200)).join(" | ")}`);
  });
  if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `${name}.png`) });
  assert.deepEqual(found, [], `axe on ${name}`);
  const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(over <= 0, `${name} is ${over} pixels wider than the window`);
}

/** Chooses from one of Cloudscape's selects by their labels. */
export async function choose(scope, label, option) {
  await scope.getByRole("button", { name: new RegExp(label) }).click();
  const page = scope.page?.() ?? scope;
  await page
    .getByRole("option")
    .filter({ hasText: new RegExp(`${option}\\s*$`) })
    .first()
    .click();
}

/** Puts text into the focused field as a paste does. */
export async function paste(field, text) {
  await field.focus();
  await field.evaluate((e, text) => {
    const data = new DataTransfer();
    data.setData("text", text);
    e.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  }, text);
}

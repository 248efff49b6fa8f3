// What holds for every page: accessibility in each look, a first load that is
// not large, and what is shown when the server is slow, gone or refuses.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { accessible, at, close, looks, open, signIn } from "./browser.mjs";

after(close);

/** Projects that the test's server has: "plain", and one whose texts are hostile. */
const pages = ["projects", "projects/create", "projects/plain", "projects/plain?tab=details", "projects/plain/edit", "projects/hostile?tab=details", "projects/gone", "credentials", "nowhere"];

for (const look of looks) {
  test(`axe, width and policy: ${look.name}`, async () => {
    const page = await open("projects", look);
    for (const path of pages) {
      await page.goto(at + path);
      await page.locator("#root h1").waitFor();
      await page.waitForLoadState("networkidle");
      await accessible(page, `${path.replace(/\W+/g, "-")}-${look.name}`);
    }
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });
}

test("what others wrote is shown as text", async () => {
  const page = await open("projects/hostile?tab=details");
  await page.getByText("<script>alert(1)</script>").first().waitFor();
  await page.getByText("RLO").first().waitFor();
  assert.equal(await page.evaluate(() => [...document.scripts].some((s) => s.textContent)), false);
  await page.context().close();
});

test("the first load is below 600 kB", async () => {
  const page = await open("projects");
  await page.context().clearCookies();
  await signIn(page, "projects");
  const sum = await page.evaluate(async () => {
    await new Promise((f) => setTimeout(f, 500));
    return performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation")).reduce((n, e) => n + (e.encodedBodySize ?? 0), 0);
  });
  assert.ok(sum > 100_000 && sum < 600_000, `${sum} bytes`);
  await page.context().close();
});

test("a session that ends loses nothing that was typed", async () => {
  const page = await open("projects/create");
  await page.getByLabel("Project name").fill("typed-before");
  await page.getByLabel("Description").fill("kept");
  await page.getByLabel("Repository URL").fill("https://github.com/octo/app.git");

  // Signed out in another tab.
  const other = await page.context().newPage();
  await other.goto(at + "projects");
  await other.getByRole("button", { name: /Account of/ }).click();
  await other.getByRole("menuitem", { name: "Sign out" }).click();
  await other.waitForURL(/\/login/);

  const dialog = page.getByRole("dialog", { name: "Your session has ended" });
  // The page may hear of it by itself, or when it asks for something.
  await page
    .getByRole("button", { name: "Create build project" })
    .click({ timeout: 3_000 })
    .catch(() => undefined);
  await dialog.waitFor();
  await accessible(page, "session-ended");

  await signIn(other, "projects");
  // It may also notice that when it is looked at again.
  await dialog
    .getByRole("button", { name: "I have signed in again" })
    .click({ timeout: 3_000 })
    .catch(() => undefined);
  await dialog.waitFor({ state: "hidden" });
  assert.equal(await page.getByLabel("Project name").inputValue(), "typed-before");
  await page.getByRole("button", { name: "Create build project" }).click();
  await page.getByRole("heading", { name: "typed-before" }).waitFor();
  await page.context().close();
});

test("a slow server, one that is gone, and one that refuses", async () => {
  const page = await open("projects");
  await page.getByRole("link", { name: "plain" }).waitFor();
  let answer;
  await page.route((u) => u.href === new URL("../", at).href, (route) => answer(route));

  let let_go;
  const later = new Promise((f) => (let_go = f));
  answer = async (route) => {
    await later;
    await route.continue();
  };
  await page.reload();
  await page.getByText("The server takes its time; still waiting.").waitFor();
  let_go();
  await page.getByRole("link", { name: "plain" }).waitFor();

  answer = (route) => route.abort();
  await page.reload();
  await page.getByText("The server cannot be reached").waitFor();
  await accessible(page, "unreachable");
  answer = (route) => route.continue();
  await page.getByRole("button", { name: "Try again" }).first().click();
  await page.getByRole("link", { name: "plain" }).waitFor();

  answer = (route) =>
    route.fulfill({ status: 400, contentType: "application/x-amz-json-1.1", body: JSON.stringify({ __type: "AccessDeniedException", message: "User: arn:aws:iam::1:user/ci is not authorized to perform: codebuild:ListProjects" }) });
  await page.reload();
  await page.getByText("You may not see the projects").waitFor();
  await page.getByText("codebuild:ListProjects").waitFor();
  await accessible(page, "forbidden");
  await page.context().close();
});

test("the keyboard alone", async () => {
  const page = await open("projects");
  await page.getByRole("link", { name: "plain" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "plain", exact: true }).waitFor();
  await page.getByRole("button", { name: "Delete" }).focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  assert.ok(await dialog.evaluate((d) => d.contains(document.activeElement)), "the dialog has the focus");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  await page.context().close();
});

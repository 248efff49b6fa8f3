// The guide's steps in the console, word by word, for GitHub and Bitbucket.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { accessible, at, choose, close, open, paste } from "./browser.mjs";

after(close);

/** Where a secret must not be: in a field, in the page, in storage, in an address. */
async function nowhere(page, secret) {
  const places = await page.evaluate(() => [
    document.documentElement.outerHTML,
    JSON.stringify(localStorage),
    JSON.stringify(sessionStorage),
    location.href,
    ...[...document.querySelectorAll("input, textarea")].map((e) => e.value),
  ]);
  assert.ok(!places.some((p) => p.includes(secret)), "the token is in the page after it was saved");
}

test("GitHub: connect, choose a repository, create the project, build it", async () => {
  const page = await open("projects/create");
  const sent = [];
  page.on("request", (r) => {
    if ((r.postData() ?? "").includes(process.env.GITHUB_TOKEN)) sent.push(r.headers()["x-amz-target"]);
    assert.ok(!r.url().includes(process.env.GITHUB_TOKEN));
  });
  await page.getByLabel("Project name").fill("by-the-guide");

  await choose(page, "Source provider", "GitHub");
  await page.getByRole("radio", { name: "Connect with a GitHub personal access token" }).check();
  const token = page.getByRole("textbox", { name: "GitHub personal access token" });

  // A token that the provider refuses.
  await token.fill("ghp_RefusedByTheProvider0000000000000000");
  await page.getByRole("button", { name: "Save token" }).click();
  await page.getByText("The token was not stored").waitFor();
  await accessible(page, "token-refused");

  // One that lacks scopes, with a line end around it.
  await token.fill("");
  await paste(token, `  ${process.env.GITHUB_TOKEN_FEW}\n`);
  await page.getByText("Blanks or a line end around what you pasted were left out.").waitFor();
  assert.equal(await token.inputValue(), process.env.GITHUB_TOKEN_FEW);
  await page.getByRole("button", { name: "Save token" }).click();
  await page.getByText("Scopes are missing").waitFor();
  await accessible(page, "scopes-missing");
  await nowhere(page, process.env.GITHUB_TOKEN_FEW);

  // The right one.
  await page.getByRole("button", { name: "Replace" }).click();
  await token.fill(process.env.GITHUB_TOKEN);
  await page.getByRole("button", { name: "Save token" }).click();
  await page.getByText("Scopes are missing").waitFor({ state: "detached" });
  await page.getByText("octocat").first().waitFor();
  await nowhere(page, process.env.GITHUB_TOKEN);

  const repository = page.getByRole("combobox", { name: "Repository URL" });
  await repository.click();
  await repository.pressSequentially("app");
  await page.getByRole("option").filter({ hasText: "octo/app" }).click();
  assert.equal(await repository.inputValue(), "https://github.com/octo/app.git");

  await page.getByRole("radio", { name: "Insert build commands" }).check();
  const commands = page.getByRole("textbox", { name: "Build commands" });
  await commands.fill("version: 0.2\nphases:\n  build: 3\n");
  await page.getByRole("button", { name: "Error in line 3" }).waitFor();
  await accessible(page, "buildspec-problem");
  const word = `it's "quoted" $HOME`;
  await commands.fill(`version: 0.2\nphases:\n  build:\n    commands:\n      - cat word # ${word}\n`);
  await page.getByText("build: 1 command").waitFor();

  await page.getByRole("button", { name: /As AWS CLI and Terraform/ }).click();
  const cli = await page.locator("pre").first().innerText();
  assert.match(cli, /aws codebuild import-source-credentials --server-type GITHUB --auth-type PERSONAL_ACCESS_TOKEN --token file:\/\/token\.txt/);
  assert.ok(cli.includes(`it'\\''s \\"quoted\\" $HOME`), cli);
  assert.ok(!cli.includes(process.env.GITHUB_TOKEN));

  await page.getByRole("button", { name: "Create build project" }).click();
  await page.getByRole("heading", { name: "by-the-guide" }).waitFor();
  await page.getByRole("button", { name: "Start build" }).click();
  await page.getByText("Succeeded", { exact: true }).first().waitFor({ timeout: 60_000 });
  assert.deepEqual(sent, ["CodeBuild_20161006.ImportSourceCredentials"]);

  // The same form edits.
  await page.goto(at + "projects/by-the-guide");
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("Description").fill("changed \u202e here");
  await page.getByRole("button", { name: "Update project" }).click();
  await page.getByText("Saved project by-the-guide").waitFor();
  await page.getByText("RLO").first().waitFor();

  // And the credential's page knows who uses it, and disconnects.
  await page.getByRole("link", { name: "Credentials" }).click();
  await page.getByRole("tab", { name: "Projects" }).click();
  await page.getByRole("link", { name: "by-the-guide" }).waitFor();
  await page.getByRole("tab", { name: "Audit" }).click();
  await page.getByRole("cell", { name: "ImportSourceCredentials" }).first().waitFor();
  await page.getByRole("button", { name: "Check now" }).click();
  await page.getByText("The provider takes the token").waitFor();
  await page.getByRole("button", { name: "Delete" }).click();
  const dialog = page.getByRole("dialog", { name: "Disconnect GitHub?" });
  await dialog.getByRole("link", { name: "by-the-guide" }).waitFor();
  await accessible(page, "disconnect");
  await dialog.getByRole("button", { name: "Disconnect" }).click();
  await page.getByText("Nothing is connected").waitFor();
  await page.context().close();
});

test("Bitbucket: connect with an app password", async () => {
  const page = await open("projects/create");
  await choose(page, "Source provider", "Bitbucket");
  await page.getByRole("radio", { name: "Connect with a Bitbucket app password" }).check();
  await page.getByText("Atlassian has replaced app passwords by API tokens").waitFor();
  await page.getByRole("button", { name: "Save Bitbucket credentials" }).click();
  await page.getByText("Enter the Bitbucket username.").waitFor();
  await page.getByRole("textbox", { name: "Bitbucket username" }).fill("mona");
  await page.getByRole("textbox", { name: "Bitbucket app password" }).fill(process.env.BITBUCKET_PASSWORD);
  await page.getByRole("button", { name: "Save Bitbucket credentials" }).click();
  await page.getByRole("heading", { name: "Connected to Bitbucket" }).waitFor();
  await nowhere(page, process.env.BITBUCKET_PASSWORD);
  await accessible(page, "bitbucket");
  await page.context().close();
});

// A webhook by the form: filter groups, the tester's verdict, and what the
// project's page tells of it.
import { after, test } from "node:test";
import { accessible, close, open } from "./browser.mjs";

after(close);

test("a webhook with filter groups is made, tested and removed", async () => {
  const page = await open("credentials");
  await page.getByRole("button", { name: "Connect", exact: true }).first().click();
  const connect = page.getByRole("dialog");
  await connect.getByRole("textbox", { name: "GitHub personal access token" }).fill(process.env.GITHUB_TOKEN);
  await connect.getByRole("button", { name: "Save token" }).click();
  await page.getByText("Connected to GitHub").waitFor();

  await page.getByRole("link", { name: "Projects" }).click();
  await page.getByRole("link", { name: "plain" }).click();
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByRole("checkbox", { name: "Rebuild every time a code change is pushed to this repository" }).check();
  await page.getByRole("button", { name: "Add condition" }).click();
  await page.getByRole("button", { name: "Update project" }).click();
  await page.getByText("Enter a regular expression.").waitFor();
  await page.getByRole("textbox", { name: "Pattern" }).fill("^refs/heads/main$");
  await page.getByRole("button", { name: "Update project" }).click();
  await page.getByText("Saved project plain").waitFor();

  await page.getByRole("tab", { name: "Build details" }).click();
  await page.getByText("Who can start a build").waitFor();
  await accessible(page, "webhook-details");

  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByRole("button", { name: /Test the filter groups/ }).click();
  await page.getByRole("button", { name: "Insert a sample push" }).click();
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await page.getByText("A build would start, by group 1").waitFor();
  await page.getByRole("textbox", { name: "Pattern" }).fill("^refs/heads/release$");
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await page.getByText("No match").waitFor();
  await page.getByText("Group 1 does not match").waitFor();
  await accessible(page, "webhook-tester");

  await page.getByRole("checkbox", { name: "Rebuild every time a code change is pushed to this repository" }).uncheck();
  await page.getByRole("button", { name: "Update project" }).click();
  await page.getByText("Saved project plain").first().waitFor();
  await page.context().close();
});

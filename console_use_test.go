package corbel_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// A key that may do little sees what it may see, and hears what it may not and
// whom to ask.
func TestConsole_Forbidden(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	s.project("app", "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n")
	file := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(file, []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["codebuild:ListProjects","codebuild:BatchGetProjects","corbel:Describe*"],"Resource":"*"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	pair := strings.Fields(s.must(corbel(t), "keys", "create", "-user", "reader", "-policy", file, "-data", s.data))
	b := newTab(t, s.url+"/console/")
	b.expects(refused)
	b.signIn(pair[0], pair[1], "projects")
	b.click("radio", "Choose app")
	b.click("button", "Start build")
	b.reads("Start a build of app: not done", "Your access key may not do this.", "codebuild:StartBuild")
	b.click("link", "Access keys")
	b.reads("You may not see the access keys", "corbel:ListAccessKeys")
	b.click("link", "Builds")
	b.reads("You may not see the builds")
	if b.has("button", "Try again") {
		t.Error("what is forbidden is offered again")
	}
}

// All of it works without a mouse.
func TestConsole_Keyboard(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	s.project("app", "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n")
	b := s.console("projects")
	b.focus("link", "app")
	b.press(kb.Enter)
	b.find("heading", "app")
	b.focus("button", "Delete")
	b.press(kb.Enter)
	dialog := b.in("dialog", "Delete app*")
	dialog.find("textbox", "To confirm, enter app")
	b.try("the dialog has the focus", b.focused(`document.querySelector("[role=dialog]").contains(document.activeElement)`))
	b.press(kb.Escape)
	b.gone("dialog", "*")
	b.try("the focus is back at the button", b.focused(`document.activeElement.localName === "button" && document.activeElement.textContent === "Delete"`))
	b.press(kb.Enter)
	dialog.focus("textbox", "To confirm, enter app")
	for _, r := range "app" {
		b.press(string(r))
	}
	b.press(kb.Enter)
	b.reads("Deleted project app", "No projects")
}

// Who may build is set, tried and seen; what waits for approval is approved; a
// build is stopped, and started once more with other values.
func TestConsole_Webhook(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	h := newHooked(t, map[string]string{"buildspec.yml": "version: 0.2\nphases:\n  build:\n    commands:\n      - echo \"as $MODE\"; if [ \"$MODE\" != short ]; then " + gate.command() + "; fi\n"})
	b := h.console("projects/app/edit")
	b.expects(refused) // of the webhook with a pattern that is none
	b.click("checkbox", "Rebuild every time a code change is pushed to this repository*")
	b.click("button", "Add condition")
	b.fill("Pattern", "^refs/heads/ma*in(")
	b.click("button", "Update project")
	b.reads("The project is saved, its webhook is not.")
	b.fill("Pattern", "^refs/heads/main$")
	b.click("button", "Update project")
	b.reads("Saved project app")
	if hooks := h.host.Hooks("octo/app"); len(hooks) != 1 {
		t.Fatalf("the host has the hooks %+v", hooks)
	}

	// The groups are tried with a sample, by what the form has and not what is
	// saved. From here on nothing is refused.
	b = b.another()
	b.goTo("projects/app/edit")
	b.click("button", "Test the filter groups*")
	b.click("button", "Insert a sample push")
	b.click("button", "Test")
	b.reads("A build would start, by group 1")
	b.fill("Pattern", "^refs/heads/release$")
	b.click("button", "Test")
	b.reads("Group 1 does not match")

	// A push starts a build, which is stopped and retried.
	if _, err := h.host.Push("octo/app", "octocat", forgetest.Commit{Message: "second", Files: map[string]string{"a": "1"}}); err != nil {
		t.Fatal(err)
	}
	b.goTo("builds")
	b.click("link", "app #1")
	b.reads("In progress", "GitHub-Hookshot/")
	b.reads("as ")
	b.click("button", "Stop")
	b.reads("Stopped")
	b.click("button", "Start with overrides")
	dialog := b.in("dialog", "Start a build of app")
	dialog.click("button", "Add environment variable")
	dialog.fill("Value of variable 1", "short")
	dialog.click("button", "Start build")
	dialog.reads("Enter a name.")
	dialog.fill("Name of variable 1", "MODE")
	dialog.click("button", "Start build")
	b.find("heading", "app #2")
	b.reads("as short", "The log is complete.", "Succeeded")
	b.click("button", "Retry")
	b.find("heading", "app #3")
	b.reads("as short", "The log is complete.", "Succeeded")

	// What was delivered is seen, with the verdict of each group.
	b.goTo("projects/app/webhook")
	b.click("button", "push Started a build*")
	b.reads("refs/heads/main")
	if _, err := h.host.Push("octo/app", "octocat", forgetest.Commit{Branch: "topic", Message: "topic", Files: map[string]string{"b": "1"}}); err != nil {
		t.Fatal(err)
	}
	h.outcome()
	b.goTo("projects/app/webhook")
	b.click("button", "push No group matches*")
	b.reads(`HEAD_REF does not match "refs/heads/topic"`)
}

// A project without a source begins with commands that build as they are.
func TestConsole_NoSource(t *testing.T) {
	t.Parallel()
	s := serve(t)
	b := s.console("create-project")
	b.fill("Project name", "app")
	b.choose("Source provider", "No source")
	b.find("radio", "Insert build commands*")
	if !with[bool](b, "radio", "Insert build commands*", `function () { return this.checked }`) || !with[bool](b, "radio", "Use a buildspec file*", `function () { return this.disabled }`) {
		t.Error("the commands can be elsewhere than in the project")
	}
	b.reads("build: 1 command")

	// With a source they are the file's again, unless somebody wrote some.
	b.choose("Source provider", "GitHub")
	b.find("textbox", "Buildspec name*")
	b.choose("Source provider", "No source")
	b.fill("Build commands", "version: 0.2\nphases:\n  build:\n    commands:\n      - echo mine\n")
	b.choose("Source provider", "GitHub")
	if got := b.value("textbox", "Build commands"); !strings.Contains(got, "echo mine") {
		t.Errorf("the commands are %q", got)
	}
	b.click("radio", "Use a buildspec file*")
	b.choose("Source provider", "No source")
	b.click("button", "Create build project")
	b.find("heading", "app")
	b.click("button", "Start build")
	b.reads("Hello from app:", "The log is complete.", "Succeeded")
}

// Who is faster than the page that comes keeps the focus, and the menu that was
// opened stays open.
func TestConsole_FasterThanPage(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	s.project("app", "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n")
	b := s.console("projects")
	b.find("link", "app")
	evaluate[int](b, `(() => {
		const push = history.pushState;
		history.pushState = function (...args) {
			push.apply(this, args);
			const menu = [...document.querySelectorAll('#top button[aria-label^="Account of"]')].find((e) => !e.closest("[aria-hidden=true]"));
			setTimeout(() => { menu.focus(); menu.click(); });
		};
		return 1;
	})()`)
	b.click("link", "app")
	b.find("heading", "app")
	b.settles()
	b.find("menuitem", "Sign out")
	b.press(kb.Escape)
	b.gone("menuitem", "*")
	b.try("the focus is at the menu", b.focused(`document.activeElement.getAttribute("aria-label")?.startsWith("Account of")`))
}

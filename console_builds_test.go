package corbel_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// rows are the lines of the log that a tab has drawn, with their numbers.
func (b *tab) rows() []string {
	b.t.Helper()
	return evaluate[[]string](b, `[...document.querySelectorAll(".log-row")].map((r) => r.innerText.replace(/\s+/g, " ").trim())`)
}

// shows waits until the log has drawn a line with a text.
func (b *tab) shows(text string) {
	b.t.Helper()
	b.try(fmt.Sprintf("the line %q", text), func(context.Context) error {
		rows := b.rows()
		for _, r := range rows {
			if strings.Contains(r, text) {
				return nil
			}
		}
		return fmt.Errorf("it shows %d lines: %.300q", len(rows), rows)
	})
}

// A long log is drawn where it is looked at, searched, folded and pointed to,
// and followed to its end while it is written.
func TestConsole_Log(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	s := serve(t)
	s.projectOf("long", &api.ProjectSource{Type: api.SourceTypeNO_SOURCE, Buildspec: new(`version: 0.2
phases:
  install:
    commands:
      - for i in $(seq 3000); do echo "install $i"; done
      - echo "a Needle here"
  build:
    commands:
      - printf '\033[31mred alert\033[0m\n'
      - printf '10%%\r50%%\r100%%\n'
      - seq -f 'build %.0f' 40000
      - echo "another needle"
      - ` + gate.command() + `
      - echo "behind the gate"
`)})
	started, err := s.client().StartBuild(t.Context(), &api.StartBuildInput{ProjectName: new("long")})
	if err != nil {
		t.Fatal(err)
	}
	at := "builds/" + url.PathEscape(*started.Build.Id)
	b := s.console(at)

	// It follows: the end is seen, and of the rest only what fits is drawn.
	b.shows("another needle")
	if n := len(b.rows()); n > 150 {
		t.Errorf("%d lines are drawn at once", n)
	}

	b.fillAs("searchbox", "Search in the log", "NEEDLE")
	b.reads("4 lines") // with the agent's lines that name the commands
	b.press("\r")
	b.reads("of 4 lines")

	b.focus("log", "Log of build long #1")
	evaluate[int](b, `document.querySelector(".log-box").dispatchEvent(new KeyboardEvent("keydown", { key: "Home", bubbles: true })) ? 1 : 0`)
	b.shows("Running on Corbel")

	// A phase is folded away behind its first line.
	b.click("button", "Phases*")
	b.click("menuitem", "Install*")
	b.shows("Entering phase INSTALL")
	b.focus("button", "Phase Install")
	b.press("\r")
	b.shows("Entering phase BUILD")
	b.try("colours and what a progress bar shows at last", func(context.Context) error {
		red := evaluate[bool](b, `[...document.querySelectorAll(".log-text span")].some((e) => e.textContent === "red alert" && getComputedStyle(e).color === "rgb(255, 123, 114)")`)
		bar := evaluate[bool](b, `[...document.querySelectorAll(".log-text")].some((e) => e.textContent === "100%")`)
		if !red || !bar {
			return fmt.Errorf("red: %v, 100%%: %v", red, bar)
		}
		return nil
	})

	// The log needs no project.
	if _, err := s.client().DeleteProject(t.Context(), &api.DeleteProjectInput{Name: new("long")}); err != nil {
		t.Fatal(err)
	}
	gate.Close()
	b.reads("The log is complete.")

	// An address leads to its line, however far it is.
	b.goTo(at + "#L20000")
	b.try("the line of the address", func(context.Context) error {
		if got := evaluate[string](b, `[...document.querySelectorAll(".log-row.marked")].map((r) => r.innerText.replace(/\s+/g, " ").trim()).join()`); !strings.HasPrefix(got, "20000 build ") {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
	with[chromedp.Void](b, "link", "Line 20001", "function () { this.click() }")
	b.arrives("#L20001")
	if link := with[string](b, "link", "Line 20002", "function () { return this.href }"); link != s.url+"/console/"+at+"#L20002" {
		t.Errorf("line 20002 has the address %s", link)
	}
}

// A pull request from a fork waits on the dashboard, and what is approved there
// is the commit that was shown.
func TestConsole_Approve(t *testing.T) {
	t.Parallel()
	h := newHooked(t, map[string]string{"buildspec.yml": told})
	if _, err := h.host.AddRepository(forgetest.Repository{Name: "mallory/app", Fork: "octo/app"}); err != nil {
		t.Fatal(err)
	}
	h.codebuild(nil, "create-webhook", "--project-name", "app", "--filter-groups", `[[{"type":"EVENT","pattern":"PULL_REQUEST_CREATED,PULL_REQUEST_UPDATED"}]]`)
	p, err := h.host.OpenPull("octo/app", forgetest.Pull{Author: "mallory", Fork: "mallory/app", Head: "evil", Title: "An improvement", Commits: []forgetest.Commit{{Message: "improve", Files: map[string]string{"e": "1"}}}})
	if err != nil {
		t.Fatal(err)
	}
	b := h.console("dashboard")
	b.reads("An improvement", "mallory")
	b.click("button", fmt.Sprintf("Approve pull request %d*", p.Number))
	dialog := b.in("dialog", "*")
	dialog.find("button", "Approve this commit")
	b.reads(p.SHA, "/codebuild_run("+p.SHA+")")
	dialog.click("button", "Approve this commit")
	b.reads("Approved pull request")
	if build := h.next(); *build.ResolvedSourceVersion != p.SHA || build.BuildStatus != api.StatusTypeSUCCEEDED {
		t.Errorf("the build is %s of %s, want SUCCEEDED of %s", build.BuildStatus, *build.ResolvedSourceVersion, p.SHA)
	}
	b.reads("None waits")

	// The webhook's page tells the same story.
	b.goTo("projects/app/webhook")
	b.reads("Who can start builds", "Anybody, after approval", "Started a build")
	b.click("button", "approval*")
	b.reads("Approved here", "Group 1 matches")
}

// A key is made with its secret shown once, and opens no more than its policy
// says; what it does not is said with the permission that is missing.
func TestConsole_AccessKeys(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	b := s.console("access-keys")
	b.click("button", "Create access key")
	dialog := b.in("dialog", "*")
	dialog.fill("User", "ci")
	dialog.click("checkbox", "Restrict the key by a policy*")
	dialog.fill("Policy", "{\n  \"Version\": oops\n}")
	b.reads("Error in line 2")
	dialog.fill("Policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["codebuild:List*","corbel:DescribeSession"],"Resource":"*"}]}`)
	b.readsNot("Error in line")
	dialog.click("button", "Create")
	b.reads("The secret is shown this once")
	pair := evaluate[[]string](b, `[...document.querySelectorAll("[role=dialog] bdi")].map((e) => e.textContent).filter((s) => /^[A-Za-z0-9+\/]{16,}$/.test(s))`)
	if len(pair) != 2 {
		t.Fatalf("the dialog shows %d values, want the key and its secret", len(pair))
	}
	dialog.click("checkbox", "I have copied the secret")
	dialog.click("button", "Done")
	b.reads("ci", "What its policy allows")
	b.holdsNo([]byte(pair[1]))
	if bytes.Contains([]byte(s.log.String()), []byte(pair[1])) {
		t.Error("the server's log has the new key's secret")
	}

	other := newTab(t, s.url+"/console/")
	other.expects(refused)
	other.signIn(pair[0], pair[1], "access-keys")
	other.reads("You may not see the access keys", "corbel:ListAccessKeys")
	other.goTo("audit")
	other.reads("You may not see the audit records", "corbel:ListAuditRecords")
}

package corbel_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// axeSource is the program that looks for what keeps people out of a page.
func axeSource(t *testing.T) string {
	t.Helper()
	file := os.Getenv("CORBEL_AXE")
	if file == "" {
		if strict {
			t.Fatal("CORBEL_AXE is not set, and CI may skip nothing")
		}
		t.Skip("CORBEL_AXE does not say where axe.min.js is (testdata/fetch-axe.sh)")
	}
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// violations are what axe finds that breaks WCAG 2, A or AA, on a page.
func (b *tab) violations(axe string) []string {
	b.t.Helper()
	if !evaluate[bool](b, `"axe" in window`) {
		evaluate[int](b, axe+"\n;0")
	}
	var found []string
	b.try("axe", func(ctx context.Context) (err error) { // it fails when the page changes meanwhile
		found, err = chromedp.Run(ctx, chromedp.Evaluate[[]string](`axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"], resultTypes: ["violations"] }).then(
			(r) => r.violations.map((v) => v.id + ": " + v.nodes.map((n) => n.html.slice(0, 300) + " (" + n.failureSummary.replace(/\s+/g, " ") + ")").join(" | ")))`, chromedp.EvalAwaitPromise))
		return err
	})
	return found
}

// accessible fails if axe finds something on a page, or if the page is wider
// than the window.
func (b *tab) accessible(axe, as string) {
	b.t.Helper()
	for _, v := range b.violations(axe) {
		b.t.Errorf("%s: %s", as, v)
	}
	b.try(as+" fits into the window", func(ctx context.Context) error { // soon after that has got another size
		over, err := chromedp.Run(ctx, chromedp.Evaluate[int](`document.documentElement.scrollWidth - innerWidth`))
		if err == nil && over > 0 {
			err = fmt.Errorf("it is %d pixels wider", over)
		}
		return err
	})
}

// What somebody else may write where the console shows it: markup, a script,
// marks that turn the direction of writing, and what terminals obey.
const (
	markup = `<img src=x onerror="window.pwned=1"><script>window.pwned=2</script>"'><svg onload=window.pwned=3>`
	turned = "\u202eesrever\u2066\u200b"
	escape = "\x1b]0;pwned\x07\x1b[2J\x1b[31mred\x1b[0m\x1b]8;;javascript:window.pwned=4\x07link\x1b]8;;\x07"
)

// A furnished server has something on every page of the console, much of it
// hostile.
func furnished(t *testing.T) (h *hooked, build string) {
	h = newHooked(t, map[string]string{"said": markup + "\n" + turned + "\n" + escape + "\n" + strings.Repeat("long ", 500) + "\n", "buildspec.yml": `version: 0.2
phases:
  build:
    commands:
      - cat said
      - echo the end of it
      - "false"
`})
	h.codebuild(nil, "create-webhook", "--project-name", "app", "--filter-groups", `[[{"type":"EVENT","pattern":"PUSH"}]]`)
	h.codebuild(nil, "update-project", "--name", "app", "--description", markup+turned)
	if _, err := h.host.Push("octo/app", "octocat", forgetest.Commit{Branch: `<img/src=x/onerror=pwned=5>`, Message: markup + turned, Files: map[string]string{"a": "1"}}); err != nil {
		t.Fatal(err)
	}
	b := h.next()
	if b.BuildStatus != api.StatusTypeFAILED {
		t.Fatalf("the build is %s:\n%s", b.BuildStatus, h.logOf(b))
	}
	return h, *b.Id
}

// addresses has a place for each route of the console.
func addresses(t *testing.T, build string) []string {
	t.Helper()
	source, err := os.ReadFile("internal/console/web/src/routes.tsx")
	if err != nil {
		t.Fatal(err)
	}
	parameters := strings.NewReplacer(":project", "app", ":build", url.PathEscape(build))
	var list []string
	for _, m := range regexp.MustCompile(`\{ path: "([^"]+)", crumb:`).FindAllStringSubmatch(string(source), -1) {
		path := parameters.Replace(m[1])
		if strings.Contains(path, "/:") {
			t.Errorf("this test does not know what to put into the route %s", m[1])
		}
		list = append(list, path)
	}
	if len(list) < 10 {
		t.Fatalf("routes.tsx has the routes %q", list)
	}
	return append(list, "projects/app?tab=details", "builds/"+url.PathEscape(build)+"?tab=phases", "builds/"+url.PathEscape(build)+"?tab=details", "no/such/page")
}

// Each page can be used by everybody, in light and dark, on a desk and in a
// hand; and what others wrote is text on each.
func TestConsole_EveryPage(t *testing.T) {
	t.Parallel()
	axe := axeSource(t)
	h, build := furnished(t)
	list := addresses(t, build)
	t.Run("pages", func(t *testing.T) {
		t.Parallel()
		everyLook(h.consoleOf(t, "dashboard"), axe, list[:len(list)/2])
	})
	t.Run("more pages", func(t *testing.T) {
		t.Parallel()
		everyLook(h.consoleOf(t, "dashboard"), axe, list[len(list)/2:])
	})
	t.Run("dialogs", func(t *testing.T) {
		t.Parallel()
		dialogs(h.consoleOf(t, "dashboard"), axe, build)
	})
}

// everyLook looks at pages in light and dark, wide and narrow.
func everyLook(b *tab, axe string, paths []string) {
	b.t.Helper()
	// Cloudscape's charts say this while they are drawn and have no width yet.
	b.expects("<rect> attribute width: A negative value")
	for _, path := range paths {
		b.look("light", 1280)
		b.goTo(path)
		b.settles()
		b.accessible(axe, path+" in light")
		b.look("dark", 1280)
		b.accessible(axe, path+" in dark")
		b.look("dark", 390)
		b.accessible(axe, path+" in dark, narrow")
		b.look("light", 390)
		b.accessible(axe, path+" in light, narrow")
		b.harmless(path)
		if n := evaluate[int](b, `[...document.querySelectorAll("rect")].filter((r) => parseFloat(r.getAttribute("width")) < 0).length`); n > 0 {
			b.t.Errorf("on %s %d bars of charts have no width", path, n)
		}
	}
}

// dialogs looks at what opens on pages, at a form with mistakes, and at the
// form to sign in.
func dialogs(b *tab, axe, build string) {
	b.t.Helper()
	for _, c := range []struct{ path, button, dialog string }{
		{"projects/app", "Delete", "Delete app*"},
		{"builds/" + url.PathEscape(build), "Start with overrides", "Start a build of app"},
		{"credentials", "Delete", "Disconnect GitHub?"},
		{"credentials", "Replace", "Replace the credential of GitHub"},
	} {
		b.look("light", 1280)
		b.goTo(c.path)
		b.settles()
		b.click("button", c.button)
		b.find("dialog", c.dialog)
		b.settles()
		b.accessible(axe, c.dialog)
		b.look("dark", 390)
		b.accessible(axe, c.dialog+" in dark, narrow")
	}
	b.look("light", 1280)
	b.goTo("builds/" + url.PathEscape(build))
	b.settles()
	b.click("checkbox", "Wrap lines")
	b.laidOut("a wrapped log", 0)
	b.accessible(axe, "a wrapped log")
	b.look("dark", 390)
	b.accessible(axe, "a wrapped log in dark, narrow")
	b.harmless("a wrapped log")
	b.goTo("create-project")
	b.settles()
	b.click("button", "Create build project")
	b.reads("Enter 2 to 150 letters")
	b.accessible(axe, "a form with mistakes")
	b.goTo("login")
	b.accessible(axe, "the form to sign in")
	b.look("dark", 390)
	b.accessible(axe, "the form to sign in, in dark")
	evaluate[int](b, `document.body.append(document.createElement("button")), 1`)
	if found := b.violations(axe); len(found) != 1 || !strings.HasPrefix(found[0], "button-name: ") {
		b.t.Errorf("axe finds %q about a button without a name", found)
	}
}

// harmless fails if something that is text has run or become an element.
func (b *tab) harmless(as string) {
	b.t.Helper()
	if done := evaluate[string](b, `JSON.stringify([window.pwned, document.title.includes("pwned"), document.querySelectorAll("img[onerror], svg[onload], script:not([src]), a[href^=javascript]").length])`); done != "[null,false,0]" {
		b.t.Errorf("on %s what was text did something: %s", as, done)
	}
}

// What others wrote is shown as it is, and does nothing.
func TestConsole_Hostile(t *testing.T) {
	t.Parallel()
	h, build := furnished(t)
	if _, err := h.host.AddRepository(forgetest.Repository{Name: "octo/xss-img-onerror", Commits: []forgetest.Commit{{Files: map[string]string{"x": "y"}}}}); err != nil {
		t.Fatal(err)
	}
	b := h.console("projects")
	const words = `<img src=x onerror="window.pwned=1"><script>window.pwned=2</script>`
	b.reads(words, "RLO")
	b.harmless("the projects")
	b.goTo("projects/app")
	b.reads(words, "RLO")
	b.harmless("the project")
	b.goTo("builds/" + url.PathEscape(build))
	b.reads(words, "RLO", "the end of it", "red", "link")
	b.harmless("the build")
	b.fillAs("searchbox", "Search in the log", "<script>")
	b.reads("1 lines")
	b.harmless("the search")
	b.goTo("projects/app/webhook")
	b.click("button", "push Started a build*")
	b.reads("<img/src=x/onerror=pwned=5>")
	b.harmless("the webhook")
	b.goTo("audit")
	b.settles()
	b.harmless("the audit log")
	// An address is somebody else's text too.
	b.goTo("projects/%3Cimg%20src%3Dx%20onerror%3Dx%3D6%3E?tab=%3Cscript%3E#%22%3E%3Cscript%3E")
	b.reads("There is no such project")
	b.harmless("a page of no project")
	// And so is the document that a form is about to send.
	b.goTo("projects/app/edit")
	if got := b.value("textbox", "Description*"); got != markup+turned {
		b.t.Errorf("the form has the description %q", got)
	}
	b.click("button", "As AWS CLI and Terraform*")
	b.reads("<script>window.pwned=2</script>")
	b.harmless("the form")
	b.try("no picture is asked for", func(ctx context.Context) error {
		asked, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`performance.getEntriesByType("resource").some((e) => /\/x$/.test(e.name))`))
		if err == nil && asked {
			err = errors.New("the page asked for the picture x")
		}
		return err
	})
}

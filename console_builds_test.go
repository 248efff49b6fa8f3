package corbel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

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

// laidOut fails if rows of the log do not follow each other, show less than
// their lines have, or leave a part of what is seen empty; and if a line is not
// among those that are seen, 0 for any.
func (b *tab) laidOut(as string, line int) {
	b.t.Helper()
	b.try(as, func(ctx context.Context) error {
		problems, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](fmt.Sprintf(`(() => {
			const box = document.querySelector(".log-box"), edge = box.getBoundingClientRect(), found = [];
			const count = Number(/^([\d,]+) lines/.exec(document.querySelector(".log-foot").innerText)[1].replaceAll(",", ""));
			const rows = [...box.querySelectorAll(".log-row")].map((r) => {
				const { top, bottom, height } = r.getBoundingClientRect();
				return { n: Number(r.querySelector(".log-number").textContent), top, bottom, height, text: Math.max(20, r.querySelector(".log-text").getBoundingClientRect().height) };
			});
			if (rows.length === 0) return ["it has no rows"];
			for (const [i, r] of rows.entries()) {
				if (i > 0 && (r.n !== rows[i - 1].n + 1 || Math.abs(r.top - rows[i - 1].bottom) > 0.5)) found.push("line " + r.n + " does not follow line " + rows[i - 1].n);
				if (r.height %% 20 !== 0 || r.text > r.height + 0.5 || r.text <= r.height - 20) found.push("line " + r.n + " is " + r.height + " high and its text " + r.text);
			}
			const last = rows.at(-1);
			if (rows[0].n > 1 && rows[0].top > edge.top + 1) found.push("there is nothing above line " + rows[0].n);
			if (last.n < count && last.bottom < edge.bottom - 1) found.push("there is nothing below line " + last.n);
			const want = %d, at = rows.find((r) => r.n === want);
			if (want > 0 && !(at && at.top >= edge.top - 1 && at.top < edge.bottom - 20)) found.push("line " + want + " is not seen, but lines " + rows[0].n + " to " + last.n);
			if (box.scrollWidth > box.clientWidth) found.push("it is wider than what is seen");
			return found;
		})()`, line)))
		if err == nil && len(problems) > 0 {
			err = errors.New(strings.Join(problems[:min(len(problems), 5)], "; "))
		}
		return err
	})
}

// Long lines are wrapped where somebody wants that, whatever is in them, and
// the way to a line stays what it was.
func TestConsole_LogWrapped(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	s := serve(t)
	// Narrow, the log is higher than an element of a page may be.
	s.projectOf("wide", &api.ProjectSource{Type: api.SourceTypeNO_SOURCE, Buildspec: new(`version: 0.2
phases:
  build:
    commands:
      - |
        awk 'BEGIN {
          for (j = 0; j < 27; j++) s = s "/usr/lib/a-long-path/of some words  "
          odd[0] = "a\tb\t\tc\t"; odd[1] = "\344\270\255\346\226\207"; odd[2] = "\360\237\232\200"; odd[3] = "\342\200\213\342\200\256\331\205"; odd[4] = "\033[1;31mred\033[0m "; odd[5] = "e\314\201"
          for (i = 0; i < 6; i++) for (j = 0; j < 6; j++) odd[i] = odd[i] odd[i]
          for (i = 1; i <= 30000; i++) print i, (i % 7 == 0 ? substr(odd[i / 7 % 6], 1, 300) : i % 5 == 0 ? "" : s)
        }'
      - ` + gate.command() + `
      - seq -f 'needle %.0f of the last lines, which are followed' 300
`)})
	started, err := s.client().StartBuild(t.Context(), &api.StartBuildInput{ProjectName: new("wide")})
	if err != nil {
		t.Fatal(err)
	}
	at := "builds/" + url.PathEscape(*started.Build.Id)
	b := s.console(at)
	b.reads("30,0", "waiting for more")
	b.focus("checkbox", "Wrap lines")
	b.press(" ")
	b.laidOut("followed, wrapped", 0)
	gate.Close()
	b.reads("The log is complete.")
	count := 0
	b.try("the last line is seen", func(ctx context.Context) error {
		rows := b.rows()
		last := rows[len(rows)-1]
		if !strings.Contains(last, "Phase complete") && !strings.Contains(last, "Phase context") {
			return fmt.Errorf("it is %q", last)
		}
		_, err := fmt.Sscan(last, &count)
		return err
	})
	b.laidOut("the end", count)

	// The address of a line, as it is and after a change of the width.
	b.goTo(at + "#L20000")
	b.laidOut("the line of the address", 20000)
	for _, width := range []int64{700, 280, 1280} {
		b.look("light", width)
		b.laidOut(fmt.Sprintf("the line of the address, %d pixels wide", width), 20000)
	}
	b.focus("checkbox", "Wrap lines")
	b.press(" ")
	b.try("the same line, not wrapped", func(context.Context) error {
		if rows := b.rows(); !slices.ContainsFunc(rows, func(r string) bool { return strings.HasPrefix(r, "20000 ") }) {
			return fmt.Errorf("it shows %.200q", rows)
		}
		return nil
	})
	b.press(" ")
	b.laidOut("wrapped again", 20000)

	for _, width := range []int64{1280, 280} {
		b.look("dark", width)
		b.goTo("builds")
		b.goTo(at + "#L20000")
		b.laidOut("loaded in another width", 20000)
		if high := evaluate[float64](b, `document.querySelector(".log-space").offsetHeight`); (high == 15_000_000) != (width == 280) {
			t.Errorf("%d pixels wide, the log is %.0f pixels high", width, high)
		}
		b.fillAs("searchbox", "Search in the log", "needle 177 ")
		b.reads(" 1 lines Wrap lines")
		b.press("\r")
		b.reads("1 of 1 lines")
		found := 0
		b.try("the line that was found", func(context.Context) error {
			_, err := fmt.Sscan(evaluate[string](b, `document.querySelector(".log-row.current .log-number").textContent`), &found)
			return err
		})
		b.laidOut("what was found", found)

		// Through odd lines, by the keyboard and by the bar.
		b.focus("log", "Log of build wide #1")
		for _, part := range []string{"0.5", "0.1", "0.999", "0.3"} {
			evaluate[int](b, `(() => { const box = document.querySelector(".log-box"); box.scrollTop = box.scrollHeight * `+part+`; return 1 })()`)
			b.laidOut("at "+part, 0)
			for range 4 {
				b.press(kb.PageUp)
				b.laidOut("a page up from "+part, 0)
			}
		}
		b.press(kb.Home)
		b.laidOut("the beginning", 1)
		b.press(kb.End)
		b.laidOut("the end", count)

		// Folded away, a phase has its first line.
		b.click("button", "Phases*")
		b.click("menuitem", "Build*")
		b.focus("button", "Phase Build")
		b.press("\r")
		b.try("the phase is folded away", func(context.Context) error {
			rows := b.rows()
			i := slices.IndexFunc(rows, func(r string) bool { return strings.Contains(r, "Entering phase BUILD") })
			if i < 0 || i+1 >= len(rows) || !strings.Contains(rows[i+1], "Entering phase POST_BUILD") {
				return fmt.Errorf("it shows %.2000q", rows)
			}
			if over := evaluate[int](b, `(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector(".log-box"))`); over > 0 || !strings.HasSuffix(rows[i], " lines") {
				return fmt.Errorf("the phase %q is %d pixels wider than what is seen", rows[i], over)
			}
			return nil
		})
		b.focus("button", "Phase Build")
		b.press("\r")
		b.laidOut("unfolded", 0)
	}

	// It is remembered.
	b.goTo("builds")
	b.goTo(at + "#L123")
	b.laidOut("the log, later", 123)
	evaluate[string](b, `location.hash = "#L777"`)
	b.laidOut("another address", 777)
	if !with[bool](b, "checkbox", "Wrap lines", `function () { return this.checked }`) {
		t.Error("it was forgotten that lines are wrapped")
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

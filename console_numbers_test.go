package corbel_test

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

// What the console costs, written to the test's log: "go test -v -run
// TestConsole_Numbers .". Time is never a failure, since the machine may be
// busy with anything; the bytes are the same on each.
func TestConsole_Numbers(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	s.project("app", "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n")
	c := s.client()
	b := newTab(t, s.url+"/console/")
	// The first load is measured with an empty cache, after the form to sign in.
	b.signIn(c.AccessKeyID, c.Secret.Reveal(), "projects")
	b.find("link", "app")
	type load struct{ Bytes, Files, Painted, Largest, Whole float64 }
	first := evaluate[load](b, `new Promise((done) => {
		const after = performance.now();
		const files = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].filter((e) => e.responseEnd > 0);
		const sum = files.reduce((n, e) => n + e.encodedBodySize, 0);
		const painted = performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? -1;
		new PerformanceObserver((l) => done({ Bytes: sum, Files: files.length, Painted: painted, Largest: l.getEntries().at(-1).startTime, Whole: after })).observe({ type: "largest-contentful-paint", buffered: true });
	})`)
	t.Logf("first load: %.0f bytes in %.0f files; first paint after %.0f ms, largest after %.0f ms, seen by the test after %.0f ms", first.Bytes, first.Files, first.Painted, first.Largest, first.Whole)
	if first.Bytes < 100_000 || first.Bytes > 600_000 {
		t.Errorf("the first load has %.0f bytes, want fewer than 600,000", first.Bytes)
	}
	for range 2 { // the second time the pages' code is there, as it is after a second of rest
		for _, page := range []struct{ link, title string }{
			{"Builds", "Builds"}, {"Credentials", "Source credentials"}, {"Dashboard", "Dashboard"}, {"Access keys", "Access keys"}, {"Projects", "Build projects"},
		} {
			took := evaluate[float64](b, fmt.Sprintf(`new Promise((done) => {
				const link = [...document.querySelectorAll("nav a")].find((a) => a.textContent.trim() === %q);
				const there = () => document.querySelector("h1")?.textContent.trim() === %q;
				const began = performance.now();
				const watch = new MutationObserver(() => {
					if (!there()) return;
					watch.disconnect();
					requestAnimationFrame(() => done(performance.now() - began));
				});
				watch.observe(document.body, { subtree: true, childList: true, characterData: true });
				link.click();
			})`, page.link, page.title))
			t.Logf("to %s: %.0f ms", page.link, took)
			b.settles()
		}
	}
	if err := chromedp.Do(b.ctx, chromedp.Reload()); err != nil {
		t.Fatal(err)
	}
	b.find("link", "app")
	t.Logf("loaded again: %.0f bytes, first paint after %.0f ms", evaluate[float64](b, `[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].reduce((n, e) => n + e.transferSize, 0)`),
		evaluate[float64](b, `performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? -1`))
}

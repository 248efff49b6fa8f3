package corbel_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	tabpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// patience is how long a person waits for something on a page. It is long,
// since nothing that works takes it.
const patience = 45 * time.Second

// chromium is the browser of all tests: a process, in which each test has a
// profile of its own.
var chromium struct {
	once sync.Once
	ctx  context.Context
	err  error
	quit []context.CancelFunc
}

// startChromium starts the browser if it does not run yet.
func startChromium(path string) (context.Context, error) {
	chromium.once.Do(func() {
		opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.DisableGPU, chromedp.IgnoreCertErrors,
			chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
		if os.Getuid() == 0 {
			opts = append(opts, chromedp.NoSandbox) // which it cannot have as root
		}
		ctx, end := chromedp.NewExecAllocator(context.Background(), opts...)
		ctx, quit := chromedp.NewContext(ctx)
		chromium.quit = []context.CancelFunc{quit, end}
		chromium.ctx, chromium.err = ctx, chromedp.Do(ctx)
	})
	return chromium.ctx, chromium.err
}

// stopChromium ends the browser, if it was started, with the test binary.
func stopChromium() {
	for _, f := range chromium.quit {
		f()
	}
}

// A tab is a tab of Chromium and the person before it, who knows what things
// are by their role and name, waits until they are there, and takes it amiss
// when the page complains in the console, throws, or breaks its policy.
type tab struct {
	t   *testing.T
	ctx context.Context
	at  string // the console's address, with a slash at the end
	// inside are the things that hold what is looked for, from outside in.
	inside []thing
	heard  *complaints
	// front is the tab of the profile's that is looked at. Of what is behind it
	// Chromium draws nothing, and may answer no question about it.
	front *target.ID
}

// A thing is what a screen reader calls something: "button", "Save token". The
// name may have "*" in the place of any text.
type thing struct{ role, name string }

func (h thing) String() string { return fmt.Sprintf("%s %q", h.role, h.name) }

type complaints struct {
	mu       sync.Mutex
	list     []string
	expected []string
}

func (c *complaints) add(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, text)
}

// all are the complaints so far.
func (c *complaints) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}

// unexpected are the complaints that the test did not announce.
func (c *complaints) unexpected() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.list), func(text string) bool {
		return slices.ContainsFunc(c.expected, func(e string) bool { return strings.Contains(text, e) })
	})
}

// newTab opens an empty tab in a profile of its own for the console at an
// address. The test's end closes it, and looks at what it complained of.
func newTab(t *testing.T, at string) *tab {
	t.Helper()
	ctx, err := startChromium(needs(t, "chromium", "chromium-browser", "google-chrome"))
	if err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	return openTab(t, ctx, at, new(target.ID), chromedp.WithNewBrowserContext())
}

// another opens a second tab beside one, which has its cookies.
func (b *tab) another() *tab {
	b.t.Helper()
	return openTab(b.t, b.ctx, b.at, b.front, chromedp.WithNewWindow(true))
}

func openTab(t *testing.T, parent context.Context, at string, front *target.ID, opts ...chromedp.ContextOption) *tab {
	t.Helper()
	ctx, end := chromedp.NewContext(parent, opts...)
	b := &tab{t: t, ctx: ctx, at: at, heard: &complaints{}, front: front}
	console := chromedp.Console(ctx)
	dialogs := chromedp.Events(ctx, tabpage.JavascriptDialogOpening)
	var listeners sync.WaitGroup
	// Both end with the tab.
	listeners.Go(func() {
		for m, err := range console {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleWarning || m.IsException() {
				b.heard.add(strings.TrimSpace(m.String() + " " + m.URL))
			}
		}
	})
	listeners.Go(func() {
		for d, err := range dialogs {
			if err != nil {
				return
			}
			if d.Type != tabpage.DialogTypeBeforeunload {
				b.heard.add("a dialog opened: " + d.Message)
			}
			_, _ = chromedp.Call(ctx, tabpage.HandleJavaScriptDialog, tabpage.HandleJavaScriptDialogParams{Accept: true})
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			b.picture()
		}
		end()
		listeners.Wait()
		for _, text := range b.heard.unexpected() {
			t.Errorf("the page complains: %s", text)
		}
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	// A tab believes that it is looked at, whichever is. What moves is still.
	tell(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	tell(b, tabpage.AddScriptToEvaluateOnNewDocument, tabpage.AddScriptToEvaluateOnNewDocumentParams{Source: `
		addEventListener("securitypolicyviolation", (e) => console.error("against the policy: " + e.violatedDirective + " " + e.blockedURI));`})
	b.look("light", 1280)
	*front = b.target()
	return b
}

// target is what the browser calls a tab.
func (b *tab) target() target.ID { return chromedp.FromContext(b.ctx).Target.TargetID }

// looks brings the tab before the others of its profile.
func (b *tab) looks() {
	b.t.Helper()
	if *b.front != b.target() {
		tell(b, tabpage.BringToFront, cdp.Empty{})
		*b.front = b.target()
	}
}

// tell sends a command to the browser about a tab.
func tell[P, R any](b *tab, c cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, c, params); err != nil {
		b.t.Fatalf("%s: %v", c.Method, err)
	}
}

// look sets how the page is looked at: light or dark, and how wide.
func (b *tab) look(scheme string, width int64) {
	b.t.Helper()
	tell(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1})
	tell(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// expects announces complaints by a part of them.
func (b *tab) expects(parts ...string) {
	b.heard.mu.Lock()
	defer b.heard.mu.Unlock()
	b.heard.expected = append(b.heard.expected, parts...)
}

// refused is how Chromium complains of an answer that is no success.
const refused = "the server responded with a status of 400"

// picture saves what the page looks like and says where.
func (b *tab) picture() {
	dir, err := os.MkdirTemp("", "corbel-pictures-")
	if f := flag.Lookup("test.artifacts"); f != nil && f.Value.String() == "true" {
		dir, err = b.t.ArtifactDir(), nil
	}
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	shot, failed := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	where, _ := chromedp.Run(ctx, chromedp.Location())
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](seen))
	if err = errors.Join(err, failed); err == nil {
		file := filepath.Join(dir, regexp.MustCompile(`\W+`).ReplaceAllString(b.t.Name(), "-")+"-"+string(b.target()[:6])+".png")
		err = os.WriteFile(file, shot, 0o600)
		b.t.Logf("the page %s is in %s", where, file)
	}
	if err != nil {
		b.t.Logf("no picture of the page: %v", err)
	}
	b.t.Logf("its text:\n%s", text)
}

// try does something again and again until it has no error. What begins while
// another document comes may never be answered: it is given up after a second,
// and the next may take twice as long.
func (b *tab) try(what string, do func(ctx context.Context) error) {
	b.t.Helper()
	b.looks()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	var last error
	limit := time.Second
	for {
		once, done := context.WithTimeout(ctx, limit)
		err := do(once)
		if once.Err() != nil {
			limit *= 2
		}
		done()
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("%s: %v", what, cmp.Or(last, err))
		case <-tick.C:
		}
	}
}

// goTo loads a page of the console, anew.
func (b *tab) goTo(path string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(b.at+path)); err != nil {
		b.t.Fatalf("go to %s: %v", path, err)
	}
}

// signIn fills the form to sign in, which leads to path.
func (b *tab) signIn(key, secret, path string) {
	b.t.Helper()
	b.goTo("login?next=" + path)
	b.fillSignIn(key, secret)
	b.leaves("/login")
}

func (b *tab) fillSignIn(key, secret string) {
	b.t.Helper()
	b.fill("Access key ID", key)
	b.fill("Secret access key", secret)
	b.click("button", "Sign in")
}

// leaves waits until the address has no longer a part.
func (b *tab) leaves(part string) {
	b.t.Helper()
	b.try("leave "+part, func(ctx context.Context) error {
		where, err := chromedp.Run(ctx, chromedp.Location())
		if err == nil && strings.Contains(where, part) {
			err = fmt.Errorf("the address is %s", where)
		}
		return err
	})
}

// arrives waits until the address ends in path.
func (b *tab) arrives(path string) {
	b.t.Helper()
	b.try("arrive at "+path, func(ctx context.Context) error {
		where, err := chromedp.Run(ctx, chromedp.Location())
		if err == nil && !strings.HasSuffix(where, path) {
			err = fmt.Errorf("the address is %s", where)
		}
		return err
	})
}

// in is the tab with eyes for what is inside a thing only.
func (b *tab) in(role, name string) *tab {
	c := *b
	c.inside = append(slices.Clone(b.inside), thing{role, name})
	return &c
}

// all finds what a thing's description fits, in the order of the page, by the
// browser's own tree for screen readers.
func (b *tab) all(ctx context.Context, what thing) ([]cdp.BackendNodeID, error) {
	root, err := chromedp.Call(ctx, dom.GetDocument, dom.GetDocumentParams{Depth: new(int64(0))})
	if err != nil {
		return nil, err
	}
	within := []cdp.BackendNodeID{root.Root.BackendNodeID}
	for _, part := range append(slices.Clone(b.inside), what) {
		var found []cdp.BackendNodeID
		for _, node := range within {
			list, err := matching(ctx, node, part)
			if err != nil {
				return nil, err
			}
			found = append(found, list...)
		}
		if len(found) == 0 {
			return nil, nil
		}
		within = found
	}
	return within, nil
}

func matching(ctx context.Context, root cdp.BackendNodeID, what thing) ([]cdp.BackendNodeID, error) {
	tree, err := chromedp.Call(ctx, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{BackendNodeID: root, Role: what.role})
	if err != nil {
		return nil, err
	}
	var found []cdp.BackendNodeID
	for _, n := range tree.Nodes {
		if !n.Ignored && n.BackendDOMNodeID != 0 && n.Name != nil && fits(what.name, text(n.Name)) {
			found = append(found, n.BackendDOMNodeID)
		}
	}
	return found, nil
}

// names are those of what a role has on the page, for a message.
func (b *tab) names(ctx context.Context, role string) []string {
	root, err := chromedp.Call(ctx, dom.GetDocument, dom.GetDocumentParams{Depth: new(int64(0))})
	if err != nil {
		return nil
	}
	tree, err := chromedp.Call(ctx, accessibility.QueryAXTree, accessibility.QueryAXTreeParams{BackendNodeID: root.Root.BackendNodeID, Role: role})
	if err != nil {
		return nil
	}
	var names []string
	for _, n := range tree.Nodes {
		if !n.Ignored && n.Name != nil {
			names = append(names, text(n.Name))
		}
	}
	return names
}

func text(v *accessibility.Value) string {
	var s string
	_ = json.Unmarshal(v.Value, &s) // it is a string, or nothing
	return strings.Join(strings.Fields(s), " ")
}

// fits reports whether a name is as a pattern says.
func fits(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(parts, ".*") + `$`).MatchString(name)
}

// with calls a function of JavaScript on a thing, as soon as it is there and
// the function throws nothing.
func with[T any](b *tab, role, name, function string, args ...any) T {
	b.t.Helper()
	var out T
	b.try(fmt.Sprintf("%s %v", thing{role, name}, b.inside), func(ctx context.Context) error {
		list, err := b.all(ctx, thing{role, name})
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return fmt.Errorf("it is not on the page; of its role there are %q", b.names(ctx, role))
		}
		object, err := chromedp.Call(ctx, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: list[0], ObjectGroup: "things"})
		if err != nil {
			return err
		}
		out, err = chromedp.Run(ctx, chromedp.CallFunctionOn[T](function, func(p *runtime.CallFunctionOnParams) {
			p.ObjectID, p.AwaitPromise, p.UserGesture = object.Object.ObjectID, new(true), new(true)
		}, args...))
		if errors.Is(err, chromedp.ErrJSUndefined) {
			err = nil
		}
		return err
	})
	return out
}

// where says where the middle of a thing is, which must be still, enabled, and
// not covered by anything else.
const where = `async function () {
	const busy = (e) => e.closest("[aria-disabled=true]") || e.disabled;
	if (busy(this)) throw new Error("it is disabled");
	this.scrollIntoView({ block: "center", inline: "nearest", behavior: "instant" });
	const frame = () => new Promise((f) => requestAnimationFrame(f));
	await frame();
	const before = this.getBoundingClientRect();
	await frame();
	const r = this.getBoundingClientRect();
	if (r.x !== before.x || r.y !== before.y) throw new Error("it moves");
	if (r.width === 0 || r.height === 0) throw new Error("it cannot be seen");
	const x = r.x + r.width / 2, y = r.y + r.height / 2;
	const hit = document.elementFromPoint(x, y);
	const mine = hit && (this.contains(hit) || hit.contains(this) || [...(this.labels ?? [])].some((l) => l.contains(hit) || hit.contains(l)));
	if (!mine) throw new Error("it is covered by " + (hit ? hit.outerHTML.slice(0, 200) : "nothing"));
	return [x, y];
}`

// click clicks the middle of a thing with the mouse.
func (b *tab) click(role, name string) {
	b.t.Helper()
	at := with[[]float64](b, role, name, where)
	if err := chromedp.Do(b.ctx, chromedp.MouseClickXY(at[0], at[1])); err != nil {
		b.t.Fatalf("click %s %q: %v", role, name, err)
	}
}

// focus puts the keyboard's focus on a thing.
func (b *tab) focus(role, name string) {
	b.t.Helper()
	with[chromedp.Void](b, role, name, `function () {
		if (this.disabled || this.readOnly) throw new Error("it is disabled");
		this.focus();
		if (document.activeElement !== this) throw new Error("it does not take the focus");
		this.select?.();
	}`)
}

// focused is whether an expression about the focus holds, for try.
func (b *tab) focused(expression string) func(context.Context) error {
	return func(ctx context.Context) error {
		holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		if err == nil && !holds {
			err = errors.New("the focus is elsewhere")
		}
		return err
	}
}

// press presses keys, with what is held down beside them.
func (b *tab) press(keys string, held ...chromedp.Modifier) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.KeyEvent(keys, chromedp.KeyModifiers(held...))); err != nil {
		b.t.Fatalf("press %q: %v", keys, err)
	}
}

// fillAs writes text into a field of a role, in the place of what was there.
func (b *tab) fillAs(role, label, value string) {
	b.t.Helper()
	b.focus(role, label)
	if err := chromedp.Do(b.ctx, chromedp.KeyEvent("\b")); err != nil {
		b.t.Fatal(err)
	}
	tell(b, input.InsertText, input.InsertTextParams{Text: value})
}

// fill writes text into the field with a label.
func (b *tab) fill(label, value string) {
	b.t.Helper()
	b.fillAs("textbox", label, value)
}

// paste pastes text into the field with a label.
func (b *tab) paste(label, value string) {
	b.t.Helper()
	b.focus("textbox", label)
	with[chromedp.Void](b, "textbox", label, `function (text) {
		const clipboardData = new DataTransfer();
		clipboardData.setData("text", text);
		this.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
	}`, value)
}

// value is what the field with a label holds.
func (b *tab) value(role, label string) string {
	b.t.Helper()
	return with[string](b, role, label, `function () { return this.value ?? this.innerText }`)
}

// choose opens a list by its label and chooses from it.
func (b *tab) choose(label, option string) {
	b.t.Helper()
	b.click("button", label+"*")
	b.click("option", "*"+option) // "Selected GitHub", if it is
}

// find waits until a thing is there.
func (b *tab) find(role, name string) {
	b.t.Helper()
	with[chromedp.Void](b, role, name, `function () {}`)
}

// has reports whether a thing is there now.
func (b *tab) has(role, name string) bool {
	b.t.Helper()
	list, err := b.all(b.ctx, thing{role, name})
	return err == nil && len(list) > 0
}

// gone waits until a thing is there no more.
func (b *tab) gone(role, name string) {
	b.t.Helper()
	b.try("the end of "+thing{role, name}.String(), func(ctx context.Context) error {
		list, err := b.all(ctx, thing{role, name})
		if err == nil && len(list) > 0 {
			err = errors.New("it is still there")
		}
		return err
	})
}

// seen is the text of the page, as it is seen.
const seen = `document.body ? document.body.innerText.replace(/\s+/g, " ") : ""`

// reads waits until the page has texts.
func (b *tab) reads(parts ...string) {
	b.t.Helper()
	for _, part := range parts {
		b.try(fmt.Sprintf("read %q", part), func(ctx context.Context) error {
			text, err := chromedp.Run(ctx, chromedp.Evaluate[string](seen))
			if err == nil && !strings.Contains(text, part) {
				err = errors.New("it is not on the page")
			}
			return err
		})
	}
}

// readsNot waits until the page has a text no more.
func (b *tab) readsNot(part string) {
	b.t.Helper()
	b.try(fmt.Sprintf("the end of %q", part), func(ctx context.Context) error {
		text, err := chromedp.Run(ctx, chromedp.Evaluate[string](seen))
		if err == nil && strings.Contains(text, part) {
			err = errors.New("it is still on the page")
		}
		return err
	})
}

// settles waits until the page has what it asked the server for.
func (b *tab) settles() {
	b.t.Helper()
	b.find("heading", "*")
	b.try("the page comes to rest", func(ctx context.Context) error {
		rest, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.fonts.ready.then(() =>
			document.querySelector("[aria-busy=true]") ? "a part is busy" : /\bLoading\b/.test(document.body.innerText) ? "a part is loading" : "")`, chromedp.EvalAwaitPromise))
		if err == nil && rest != "" {
			err = errors.New(rest)
		}
		return err
	})
}

// passes lets time go by for the page, which it does faster than for us. The
// page stands still afterwards.
func (b *tab) passes(d time.Duration) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	over := chromedp.Events(ctx, emulation.VirtualTimeBudgetExpired)
	tell(b, emulation.SetVirtualTimePolicy, emulation.SetVirtualTimePolicyParams{Policy: emulation.VirtualTimePolicyPauseIfNetworkFetchesPending, Budget: new(float64(d.Milliseconds()))})
	for _, err := range over {
		if err != nil {
			b.t.Fatalf("let %v pass: %v", d, err)
		}
		return
	}
}

// evaluate is the value of an expression or a promise of JavaScript.
func evaluate[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("evaluate %.80s: %v", expression, err)
	}
	return v
}

// holdsNo fails if one of some secrets is anywhere in the page, its fields, its
// storage or its address.
func (b *tab) holdsNo(secrets ...[]byte) {
	b.t.Helper()
	all := evaluate[string](b, `JSON.stringify([
		document.documentElement.outerHTML, [...document.querySelectorAll("input, textarea")].map((e) => e.value), location.href, history.state, document.cookie, window.name,
		localStorage, sessionStorage, performance.getEntries().map((e) => e.name),
	])`)
	for _, s := range secrets {
		if bytes.Contains([]byte(all), s) {
			b.t.Errorf("the page holds the planted token (as %q...)", s[:8])
		}
	}
}

// console opens the console of a server at a page, signed in with the key that
// "corbel env" prints.
func (s *server) console(path string) *tab {
	s.t.Helper()
	return s.consoleOf(s.t, path)
}

// consoleOf is console for a test within the server's own.
func (s *server) consoleOf(t *testing.T, path string) *tab {
	t.Helper()
	b := newTab(t, s.url+"/console/")
	c := s.client()
	b.signIn(c.AccessKeyID, c.Secret.Reveal(), path)
	return b
}

// The tests of the console would hear of what they are to hear of.
func TestBrowser_Complains(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	b := s.console("")
	b.find("heading", "*")
	if list := b.heard.unexpected(); len(list) > 0 {
		t.Fatalf("it complains before: %q", list)
	}
	for does, hears := range map[string]string{
		`document.head.append(Object.assign(document.createElement("script"), { textContent: "1" })), 1`:  "against the policy: script-src",
		`document.head.append(Object.assign(document.createElement("style"), { textContent: "a{}" })), 1`: "against the policy: style-src",
		`fetch("http://127.0.0.1:1/").catch(() => 1)`:                                                     "against the policy: connect-src",
		`setTimeout(() => { throw new Error("thrown") }), 1`:                                              "thrown",
		`Promise.reject(new Error("rejected")), 1`:                                                        "rejected",
		`console.error("shown"), 1`:                                                                       "shown",
		`setTimeout(() => alert("alarm")), 1`:                                                             "a dialog opened: alarm",
	} {
		evaluate[int](b, does)
		b.try(hears, func(context.Context) error {
			if !slices.ContainsFunc(b.heard.unexpected(), func(text string) bool { return strings.Contains(text, hears) }) {
				return fmt.Errorf("it heard %q", b.heard.unexpected())
			}
			return nil
		})
	}
	b.expects("")
}

package corbel_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/corbel-build/corbel/api"
)

// A between is a proxy between the browser and a server, which can keep the
// API from answering. The console's files come through.
type between struct {
	*httptest.Server
	to    atomic.Pointer[url.URL]
	strip string                       // what is taken off the path
	api   atomic.Pointer[http.Handler] // answers in the place of the API
}

func newBetween(t *testing.T, s *server, start func(*httptest.Server), strip string) *between {
	t.Helper()
	p := &between{strip: strip}
	through := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(p.to.Load())
			r.Out.URL.Path = strings.TrimPrefix(r.In.URL.Path, p.strip)
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := p.api.Load(); h != nil && r.Method == http.MethodPost && r.Header.Get("X-Amz-Target") != "" {
			(*h).ServeHTTP(w, r)
			return
		}
		through.ServeHTTP(w, r)
	}))
	start(p.Server)
	t.Cleanup(p.Close)
	if s != nil {
		p.to.Store(mustURL(t, s.url))
	}
	return p
}

// answer has a handler answer in the place of the API; nil is the API itself.
func (p *between) answer(h http.HandlerFunc) {
	if h == nil {
		p.api.Store(nil)
		return
	}
	handler := http.Handler(h)
	p.api.Store(&handler)
}

// fillIn fills the form for a project without a source.
func (b *tab) fillIn(name string) {
	b.t.Helper()
	b.fill("Project name", name)
	b.choose("Source provider", "No source")
	b.fill("Build commands", "version: 0.2\nphases:\n  build:\n    commands:\n      - date\n      - date\n")
	b.reads("build: 2 commands") // the check is of these, and asks no more later
}

// A slow API, one that is gone and one behind a proxy that lost it are told
// apart from an empty one, and tried again.
func TestConsole_Unreachable(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	s.project("app", "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n")
	p := newBetween(t, s, (*httptest.Server).Start, "")
	b := newTab(t, p.URL+"/console/")
	b.expects("Failed to load resource") // which is the matter here
	c := s.client()
	b.signIn(c.AccessKeyID, c.Secret.Reveal(), "projects")
	b.find("link", "app")

	release := make(chan struct{})
	p.answer(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
			p.Config.Handler.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
	b.goTo("projects")
	b.reads("The server takes its time; still waiting.")
	p.answer(nil)
	close(release)
	b.find("link", "app")

	p.answer(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	b.goTo("projects")
	b.reads("Could not load the projects", "The server cannot be reached")
	p.answer(nil)
	b.click("button", "Try again")
	b.find("link", "app")
	b.readsNot("Could not load")

	p.answer(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "<h1>504 from a proxy</h1>", http.StatusGatewayTimeout)
	})
	b.goTo("credentials")
	b.reads("Could not load the credentials")
	p.answer(nil)
	b.click("button", "Try again")
	b.reads("Nothing is connected")

	// What was tried and not done is said, and can be tried again.
	p.answer(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	b.goTo("create-project")
	b.reads("Could not load")
	p.answer(nil)
	b.click("button", "Try again")
	b.fillIn("second")
	p.answer(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	b.click("button", "Create build project")
	b.reads("The server cannot be reached")
	p.answer(nil)
	b.click("button", "Create build project")
	b.find("heading", "second")
}

// The server is stopped and started again in the middle: the page says so, goes
// on by itself, and the session holds.
func TestConsole_ServerRestarted(t *testing.T) {
	t.Parallel()
	s := serve(t)
	gate := newGate(t)
	s.project("app", "version: 0.2\nphases:\n  build:\n    commands:\n      - echo before the gate\n      - "+gate.command()+"\n")
	p := newBetween(t, s, (*httptest.Server).Start, "")
	b := newTab(t, p.URL+"/console/")
	b.expects("Failed to load resource")
	c := s.client()
	b.signIn(c.AccessKeyID, c.Secret.Reveal(), "projects/app")
	b.click("button", "Start build")
	b.reads("before the gate")

	s.kill()
	p.to.Store(mustURL(t, "http://127.0.0.1:1")) // another server may get the port
	b.reads("What you see may be out of date", "The server cannot be reached")
	b.reads("before the gate") // what was read stays
	s.start()
	p.to.Store(mustURL(t, s.url))
	// The build did not outlive the server; the page shows what became of it.
	b.readsNot("What you see may be out of date")
	b.readsNot("In progress")
	b.gone("dialog", "*")
	b.goTo("projects")
	b.find("link", "app")
}

// A session that ends in the middle of a form leads to the sign-in page and
// back, and one that another tab ended loses nothing that was typed.
func TestConsole_SessionEnds(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	pair := strings.Fields(s.must(corbel(t), "keys", "create", "-user", "guest", "-data", s.data))
	c := s.client()
	b := newTab(t, s.url+"/console/")
	b.expects("the server responded with a status of 40") // calls without a session
	dialog := b.in("dialog", "Your session has ended")

	b.signIn(pair[0], pair[1], "create-project")
	b.fillIn("typed")
	s.must(corbel(t), "keys", "delete", pair[0], "-data", s.data)
	wait(t, "the end of the guest's session", func() bool { return b.calls("ListProjects") != http.StatusOK })
	b.click("button", "Create build project")
	dialog.find("heading", "Your session has ended")

	// Somebody signs in in another tab, and comes back.
	other := b.another()
	other.expects("the server responded with a status of 40")
	other.signIn(c.AccessKeyID, c.Secret.Reveal(), "projects")
	other.find("heading", "Build projects")
	dialog.click("button", "I have signed in again")
	b.gone("dialog", "Your session has ended")
	if got := b.value("textbox", "Project name"); got != "typed" {
		t.Errorf("the form has the name %q", got)
	}
	b.click("button", "Create build project")
	b.find("heading", "typed")

	// The other tab signs out, and this one signs in itself.
	b.goTo("create-project")
	b.fillIn("lost")
	other.click("button", "Account of*")
	other.click("menuitem", "Sign out")
	other.find("button", "Sign in")
	b.click("button", "Create build project")
	dialog.click("link", "sign in here")
	b.fillSignIn(c.AccessKeyID, c.Secret.Reveal())
	b.arrives("/console/create-project")
	b.find("textbox", "Project name")
	if _, err := s.client().BatchGetProjects(t.Context(), &api.BatchGetProjectsInput{Names: []string{"lost"}}); err != nil {
		t.Fatal(err)
	}
	b.goTo("projects")
	b.find("link", "typed")
	if b.has("link", "lost") {
		t.Error("a form was saved without a session")
	}
}

// What was refused for good is not asked for again and again, and what was
// deleted is not asked for at all.
func TestConsole_AsksNoMore(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	s.project("app", "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n")
	b := s.console("builds/app:none")
	b.expects(refused)
	b.reads("Invalid build ID provided")
	b.passes(30 * time.Second)
	if asked := strings.Count(strings.Join(b.heard.all(), "\n"), refused); asked != 1 {
		t.Errorf("a build that cannot be was asked for %d times", asked)
	}

	// Somebody else deletes the project that the page is about. Nothing is
	// refused then.
	b = s.console("projects/app")
	b.reads("No builds yet")
	if _, err := s.client().DeleteProject(t.Context(), &api.DeleteProjectInput{Name: new("app")}); err != nil {
		t.Fatal(err)
	}
	b.passes(time.Minute)
	b.reads("There is no such project")
}

// calls is the status of a call of an operation by the page's own origin.
func (b *tab) calls(operation string) int {
	b.t.Helper()
	return evaluate[int](b, `fetch(new URL("../", document.baseURI), { method: "POST", body: "{}", headers: { "Content-Type": "application/x-amz-json-1.1",
		"X-Amz-Target": "CodeBuild_20161006.`+operation+`", "X-Corbel-Console": "1" } }).then((r) => r.status)`)
}

// A page of somebody else can neither call the API with the session of whoever
// looks at it, nor sign them out, nor show the console in a frame.
func TestConsole_OtherOrigins(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	s.project("app", "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n")
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>evil</title><iframe name=frame src="%s/console/projects"></iframe>
			<form method=post target=frame action="%s/console/logout"></form>`, s.url, s.url)
	}))
	t.Cleanup(evil.Close)
	b := s.console("projects")
	b.find("link", "app")
	b.expects("") // they are many, and below

	// The same host at another port, which cookies do not tell apart, and
	// another name of it.
	for _, origin := range []string{evil.URL, strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)} {
		if err := chromedp.Do(b.ctx, chromedp.Navigate(origin)); err != nil {
			t.Fatal(err)
		}
		b.try("the frame is refused", func(context.Context) error {
			b.heard.mu.Lock()
			defer b.heard.mu.Unlock()
			for _, text := range b.heard.list {
				if strings.Contains(text, "frame-ancestors") || strings.Contains(text, "X-Frame-Options") {
					return nil
				}
			}
			return fmt.Errorf("heard %q", b.heard.list)
		})
		b.heard.mu.Lock()
		b.heard.list = nil
		b.heard.mu.Unlock()
		outcomes := evaluate[[]string](b, fmt.Sprintf(`(async () => {
			const to = %q + "/", body = '{"name":"app"}', target = "CodeBuild_20161006.DeleteProject";
			const ways = [
				{ headers: { "Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target, "X-Corbel-Console": "1" } },
				{ mode: "no-cors", headers: { "Content-Type": "text/plain" } },
				{ mode: "no-cors" },
			];
			const list = [];
			for (const way of ways) list.push(await fetch(to, { method: "POST", credentials: "include", body, ...way }).then((r) => r.type + " " + r.status, (e) => "refused"));
			document.forms[0].submit();
			return list;
		})()`, s.url))
		if outcomes[0] != "refused" {
			t.Errorf("%s: a call was answered: %q", origin, outcomes)
		}
	}
	b.goTo("projects")
	b.find("link", "app")
}

// The console works below a path at a proxy that does TLS, from the first page
// to one that is loaded anew.
func TestConsole_BehindTLS(t *testing.T) {
	t.Parallel()
	p := newBetween(t, nil, (*httptest.Server).StartTLS, "/deep/corbel")
	s := serve(t, "-builds", "0", "-public-url", p.URL+"/deep/corbel")
	p.to.Store(mustURL(t, s.url))
	b := newTab(t, p.URL+"/deep/corbel/console/")
	c := s.client()
	b.signIn(c.AccessKeyID, c.Secret.Reveal(), "create-project")
	b.fillIn("app")
	b.click("button", "Create build project")
	b.arrives("/deep/corbel/console/projects/app")
	if err := chromedp.Do(b.ctx, chromedp.Reload()); err != nil {
		t.Fatal(err)
	}
	b.find("heading", "app")
	b.click("link", "Credentials")
	b.arrives("/deep/corbel/console/credentials")
	b.reads("Nothing is connected")
	b.click("link", "Projects")
	b.click("link", "app")
	b.arrives("/deep/corbel/console/projects/app")
	b.click("button", "Account of*")
	b.click("menuitem", "Sign out")
	b.find("button", "Sign in")
	b.arrives("/deep/corbel/console/login")
	if outside := evaluate[[]string](b, `performance.getEntries().map((e) => e.name).filter((n) => /^https?:/.test(n) && !n.includes("/deep/corbel/"))`); len(outside) > 0 {
		t.Errorf("the console asked for %q", outside)
	}
}

package forgetest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// happenSecret is the secret of the hooks of these tests.
const happenSecret = "whsec_ForgetestSecretOfAHook000000000000001"

// A catcher gets deliveries.
type catcher struct {
	url string

	mu     sync.Mutex
	status int
	got    []caught
}

type caught struct {
	header http.Header
	text   string
	body   map[string]any // nil if it is not JSON
}

func catch(t *testing.T) *catcher {
	c := &catcher{status: 200}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read a delivery: %v", err)
		}
		one := caught{header: r.Header, text: string(b)}
		_ = json.Unmarshal(b, &one.body)
		c.mu.Lock()
		c.got = append(c.got, one)
		status := c.status
		c.mu.Unlock()
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "thanks")
	}))
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

// take returns what came since the last time.
func (c *catcher) take() []caught {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

// events are what came, as "event action".
func (c *catcher) events() []string {
	var list []string
	for _, g := range c.take() {
		action, _ := g.body["action"].(string)
		list = append(list, strings.TrimSpace(g.header.Get("X-GitHub-Event")+" "+action))
	}
	return list
}

// wants fails the test unless exactly these came.
func (c *catcher) wants(t *testing.T, what string, events ...string) {
	t.Helper()
	if diff := cmp.Diff(events, c.events()); diff != "" {
		t.Errorf("%s told (-want +got):\n%s", what, diff)
	}
}

// must is for calls that may not fail.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var everything = []string{"push", "pull_request", "issue_comment", "release", "workflow_job"}

// hooked is a server with a fork and a hook that wants to know everything.
func hooked(t *testing.T, o Options) (*Server, *catcher) {
	t.Helper()
	s, _ := start(t, o)
	must[[]string](t)(s.AddRepository(Repository{Name: "hubot/shop", Fork: "octo-org/shop"}))
	c := catch(t)
	s.AddPerson(Person{Login: "hubot"})
	s.AddHook("octo-org/shop", "octocat", Hook{Active: true, Events: everything, URL: c.url + "/hook", Secret: happenSecret})
	c.wants(t, "making a hook", "ping")
	return s, c
}

// story lets everything happen once, and says what is told of it.
func story(t *testing.T, s *Server, told func(what string, events ...string)) {
	t.Helper()
	must[[]string](t)(s.Push("octo-org/shop", "mona", Commit{Files: map[string]string{"a": "1"}}, Commit{Tag: "v2", Files: map[string]string{"b": "1"}, Delete: []string{"a"}}, Commit{Branch: "topic", Files: map[string]string{"c": "1"}}))
	told("a push to two branches with a tag", "push", "push", "push")
	p := must[Pull](t)(s.OpenPull("octo-org/shop", Pull{Title: "One", Author: "mona", Head: "topic"}))
	told("a pull request", "pull_request opened")
	fork := must[Pull](t)(s.OpenPull("octo-org/shop", Pull{Author: "hubot", Head: "work", Fork: "hubot/shop", Commits: []Commit{{Files: map[string]string{"d": "1"}}}}))
	told("one from a fork", "pull_request opened")
	must[Pull](t)(s.UpdatePull("octo-org/shop", p.Number, "mona", Commit{Files: map[string]string{"c": "2"}}))
	told("a commit on the branch of a pull request", "push", "pull_request synchronize")
	must[Pull](t)(s.UpdatePull("octo-org/shop", fork.Number, "hubot", Commit{Files: map[string]string{"d": "2"}}))
	told("one on the branch of a fork's", "pull_request synchronize")
	must[Pull](t)(s.RetitlePull("octo-org/shop", p.Number, "mona", "Other"))
	told("another title", "pull_request edited")
	must[Pull](t)(s.ClosePull("octo-org/shop", p.Number, "mona"))
	told("closing", "pull_request closed")
	must[Pull](t)(s.ReopenPull("octo-org/shop", p.Number, "mona"))
	told("reopening", "pull_request reopened")
	n := must[Note](t)(s.Comment("octo-org/shop", fork.Number, "octocat", "/codebuild_run(0123abcd)"))
	told("a comment", "issue_comment created")
	if err := s.EditComment("octo-org/shop", fork.Number, "hubot", n, "other"); err != nil {
		t.Error(err)
	}
	told("another text", "issue_comment edited")
	must[Pull](t)(s.MergePull("octo-org/shop", fork.Number, "octocat"))
	told("merging", "pull_request closed", "push")
	must[Release](t)(s.Publish("octo-org/shop", "octocat", Release{Tag: "v3"}))
	told("a release", "push", "release created", "release published", "release released")
	must[Release](t)(s.Publish("octo-org/shop", "octocat", Release{Tag: "v3", Name: "soon", Prerelease: true}))
	told("a prerelease of a tag", "release created", "release published", "release prereleased")
	must[Job](t)(s.Queue("octo-org/shop", "octocat", Job{Workflow: "CI", Name: "test", Labels: []string{"codebuild-shop-1-1"}}))
	told("a job", "workflow_job queued")
	if err := s.Move("octo-org/shop", "mona", "refs/heads/topic", ""); err != nil {
		t.Error(err)
	}
	told("deleting a branch", "push")
	if err := s.Move("octo-org/shop", "mona", "refs/heads/main", p.BaseSHA); err != nil {
		t.Error(err)
	}
	told("a forced push", "push")
	s.RemoveRepository("hubot/shop")
	must[Pull](t)(s.ClosePull("octo-org/shop", must[Pull](t)(s.OpenPull("octo-org/shop", Pull{Head: "feature/x"})).Number, "octocat"))
	told("another pull request", "pull_request opened", "pull_request closed")
}

func TestHappen(t *testing.T) {
	t.Parallel()
	s, c := hooked(t, Options{})
	story(t, s, func(what string, events ...string) { t.Helper(); c.wants(t, what, events...) })
	for _, d := range s.Deliveries("octo-org/shop") {
		if d.Status != 200 || d.Err != nil || string(d.Answer) != "thanks" || d.GUID == "" {
			t.Errorf("delivery %+v, want one that was answered", d)
		}
		if got, want := d.Header.Get("X-Hub-Signature-256"), "sha256="+sign256(happenSecret, d.Body); got != want {
			t.Errorf("%s: signature %q, want %q", d.Event, got, want)
		}
		if strings.Contains(string(d.Body)+strings.Join(slices.Concat(d.Header["X-Hub-Signature"], d.Header["X-Github-Event"]), ""), happenSecret) {
			t.Errorf("%s shows the secret", d.Event)
		}
	}
}

// TestWebhooksOpenAPI: GitHub's description finds nothing wrong with what is
// told.
func TestWebhooksOpenAPI(t *testing.T) {
	t.Parallel()
	d := Webhooks(t)
	s, _ := hooked(t, Options{})
	story(t, s, func(string, ...string) {})
	all := s.Deliveries("octo-org/shop")
	if len(all) < 20 {
		t.Errorf("%d deliveries, want 20 at least", len(all))
	}
	for _, one := range all {
		if err := d.CheckDelivery(one); err != nil {
			t.Error(err)
		}
	}
	// The judge can say no.
	one := all[len(all)-1]
	one.json = []byte(strings.Replace(string(one.json), `"number":`, `"nummer":`, 1))
	if d.CheckDelivery(one) == nil {
		t.Error("CheckDelivery found nothing wrong with a pull request without a number")
	}
}

// TestPush: what a push says.
func TestPush(t *testing.T) {
	t.Parallel()
	s, c := hooked(t, Options{})
	ids := must[[]string](t)(s.Push("octo-org/shop", "mona", Commit{Files: map[string]string{"é\" x": "1", "README": "3"}}, Commit{Message: "more\n\nof it", Files: map[string]string{"y": "1"}, Delete: []string{"README"}}))
	got := c.take()[0]
	b := got.body
	commits, head, repo := b["commits"].([]any), b["head_commit"].(map[string]any), b["repository"].(map[string]any)
	if b["ref"] != "refs/heads/main" || b["after"] != ids[1] || b["created"] != false || b["deleted"] != false || b["forced"] != false || len(commits) != 2 || head["id"] != ids[1] || head["message"] != "more\n\nof it" {
		t.Errorf("a push of two commits: %s", got.text)
	}
	first := commits[0].(map[string]any)
	if diff := cmp.Diff([]any{first["id"], first["added"], first["removed"], first["modified"]}, []any{ids[0], []any{"é\" x"}, []any{}, []any{"README"}}); diff != "" {
		t.Errorf("its first commit:\n%s", diff)
	}
	if sender := b["sender"].(map[string]any); sender["login"] != "mona" || int64(sender["id"].(float64)) != s.Person("mona").ID || repo["full_name"] != "octo-org/shop" || b["organization"].(map[string]any)["login"] != "octo-org" {
		t.Errorf("sender %v, repository %v", sender["login"], repo["full_name"])
	}
	if err := s.Move("octo-org/shop", "mona", "refs/tags/v9", ids[0]); err != nil {
		t.Fatal(err)
	}
	if b := c.take()[0].body; b["ref"] != "refs/tags/v9" || b["before"] != zeros || b["created"] != true || b["after"] != ids[0] {
		t.Errorf("a tag: %v", b["ref"])
	}
	if err := s.Move("octo-org/shop", "mona", "refs/heads/main", ids[0]); err != nil {
		t.Fatal(err)
	}
	if b := c.take()[0].body; b["forced"] != true || len(b["commits"].([]any)) != 0 {
		t.Errorf("a branch that went back: forced %v, commits %v", b["forced"], b["commits"])
	}
	if err := s.Move("octo-org/shop", "mona", "refs/heads/main", ""); err != nil {
		t.Fatal(err)
	}
	if b := c.take()[0].body; b["deleted"] != true || b["head_commit"] != nil || b["after"] != zeros {
		t.Errorf("a branch that is gone: %v", b["deleted"])
	}
}

// TestGitPushTells: a real push is told of as any.
func TestGitPushTells(t *testing.T) {
	t.Parallel()
	s, c := hooked(t, Options{})
	dir := t.TempDir()
	if out, err := git(t, dir, "clone", "-q", with(s, Good, "/octo-org/shop.git"), "w"); err != nil {
		t.Fatalf("clone: %v\n%s", err, out)
	}
	if out, err := git(t, dir+"/w", "push", "-q", "origin", "HEAD:refs/heads/new"); err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
	got := c.take()
	if len(got) != 1 || got[0].body["ref"] != "refs/heads/new" || got[0].body["sender"].(map[string]any)["login"] != "octocat" {
		t.Errorf("git push told %+v, want of refs/heads/new by octocat", got)
	}
}

// TestForkPull: the head of a fork's pull request is to be had from the
// repository that it asks.
func TestForkPull(t *testing.T) {
	t.Parallel()
	s, c := hooked(t, Options{})
	p := must[Pull](t)(s.OpenPull("octo-org/shop", Pull{Author: "hubot", Head: "work", Fork: "hubot/shop", Commits: []Commit{{Files: map[string]string{"d": "1"}}}}))
	pull := c.take()[0].body["pull_request"].(map[string]any)
	head := pull["head"].(map[string]any)
	if head["sha"] != p.SHA || head["ref"] != "work" || head["repo"].(map[string]any)["full_name"] != "hubot/shop" || head["repo"].(map[string]any)["fork"] != true {
		t.Errorf("head %v of %v", head["sha"], head["repo"])
	}
	dir := t.TempDir()
	if out, err := git(t, dir, "ls-remote", with(s, Good, "/octo-org/shop.git"), "refs/pull/1/head"); err != nil || !strings.HasPrefix(out, p.SHA) {
		t.Errorf("ls-remote: %v\n%s", err, out)
	}
	s.RemoveRepository("hubot/shop")
	must[Pull](t)(s.ClosePull("octo-org/shop", p.Number, "octocat"))
	if head := c.take()[0].body["pull_request"].(map[string]any)["head"].(map[string]any); head["repo"] != nil || head["sha"] != p.SHA {
		t.Errorf("head of a fork that is gone: %v", head)
	}
}

// TestMisdelivery: what can go wrong on the way.
func TestMisdelivery(t *testing.T) {
	t.Parallel()
	s, c := hooked(t, Options{Patience: time.Minute})
	push := func() {
		t.Helper()
		must[[]string](t)(s.Push("octo-org/shop", "mona", Commit{Files: map[string]string{"x": "1"}}))
	}
	id := func(g caught) string { return g.header.Get("X-GitHub-Delivery") }
	s.Misdeliver(Misdelivery{Twice: true})
	push()
	if got := c.take(); len(got) != 2 || id(got[0]) != id(got[1]) || got[0].text != got[1].text {
		t.Errorf("twice: %d deliveries, want the same two", len(got))
	}
	s.Misdeliver(Misdelivery{Forged: true})
	push()
	if got := c.take()[0]; got.header.Get("X-Hub-Signature-256") == "sha256="+sign256(happenSecret, []byte(got.text)) || got.header.Get("X-Hub-Signature-256") == "" {
		t.Errorf("forged: signature %q", got.header.Get("X-Hub-Signature-256"))
	}
	s.Misdeliver(Misdelivery{Bare: true})
	push()
	if got := c.take()[0]; got.header.Get("X-Hub-Signature-256") != "" {
		t.Error("bare: it is signed")
	}
	s.Misdeliver(Misdelivery{Held: true})
	push()
	push()
	if got := c.take(); len(got) != 0 {
		t.Errorf("held: %d deliveries came", len(got))
	}
	s.Release(true)
	if got := c.take(); len(got) != 2 || got[0].body["before"] != got[1].body["after"] {
		t.Errorf("released newest first: %d deliveries, or not in that order", len(got))
	}
	push()
	got := c.take()
	list := s.Deliveries("octo-org/shop")
	again := must[Delivery](t)(s.Redeliver(list[len(list)-1].ID))
	if more := c.take(); len(more) != 1 || id(more[0]) != id(got[0]) || more[0].text != got[0].text || !again.Again || again.ID == list[len(list)-1].ID {
		t.Errorf("redelivered: %+v, want the same body and id", again)
	}
	c.mu.Lock()
	c.status = 503
	c.mu.Unlock()
	push()
	if all := s.Deliveries("octo-org/shop"); all[len(all)-1].Status != 503 || s.Hooks("octo-org/shop")[0].Last != 503 {
		t.Error("an answer 503 is not written down")
	}
	if _, err := s.Redeliver(1); err == nil {
		t.Error("Redeliver found what was never delivered")
	}
}

// TestDeliverNowhere: no delivery leaves this machine, and one that nobody
// takes holds nothing up.
func TestDeliverNowhere(t *testing.T) {
	t.Parallel()
	s, _ := hooked(t, Options{Patience: 50 * time.Millisecond})
	never := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-never:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(never) })
	s.AddHook("octo-org/shop", "octocat", Hook{Active: true, Events: everything, URL: "https://hooks.example.com/x"})
	s.AddHook("octo-org/shop", "octocat", Hook{Active: true, Events: everything, URL: silent.URL})
	s.AddHook("octo-org/shop", "octocat", Hook{Events: everything, URL: "http://127.0.0.1:1/"})
	must[[]string](t)(s.Push("octo-org/shop", "mona", Commit{Files: map[string]string{"x": "1"}}))
	var errs []string
	for _, d := range s.Deliveries("") {
		if d.Event == "push" {
			text := ""
			if d.Err != nil {
				text = d.Err.Error()
			}
			errs = append(errs, text)
		}
	}
	if len(errs) != 3 || errs[0] != "" || !strings.Contains(errs[1], "not on this machine") || !strings.Contains(errs[2], "deadline") {
		t.Errorf("errors %q, want none, another machine, a deadline and nothing to a hook that is not active", errs)
	}
}

// TestOwnerHooks: those of an organization hear of its repositories alone,
// and forms are one.
func TestOwnerHooks(t *testing.T) {
	t.Parallel()
	s, repoHook := hooked(t, Options{})
	c := catch(t)
	s.AddHook("orgs/octo-org", "octocat", Hook{Active: true, Events: []string{"push"}, URL: c.url, Form: true, Secret: happenSecret})
	s.AddHook("enterprises/acme", "octocat", Hook{Active: true, Events: []string{"workflow_job"}, URL: c.url})
	c.take()
	must[[]string](t)(s.Push("hubot/shop", "hubot", Commit{Files: map[string]string{"x": "1"}}))
	if got := c.take(); len(got) != 0 {
		t.Errorf("a push elsewhere: %d deliveries", len(got))
	}
	must[[]string](t)(s.Push("octo-org/shop", "mona", Commit{Files: map[string]string{"x": "1"}}))
	must[Job](t)(s.Queue("hubot/shop", "hubot", Job{Workflow: "CI"}))
	got := c.take()
	if len(got) != 2 || got[0].header.Get("X-GitHub-Event") != "push" || got[1].header.Get("X-GitHub-Event") != "workflow_job" {
		t.Fatalf("got %d deliveries, want a push and a job", len(got))
	}
	form, err := url.ParseQuery(got[0].text)
	if err != nil || !json.Valid([]byte(form.Get("payload"))) || got[0].header.Get("X-Hub-Signature-256") != "sha256="+sign256(happenSecret, []byte(got[0].text)) {
		t.Errorf("form: %v, %.100s", err, got[0].text)
	}
	repoHook.wants(t, "the repository's hook", "push")
}

// TestPeople: who takes a login does not take what it could do.
func TestPeople(t *testing.T) {
	t.Parallel()
	s, _ := start(t, Options{})
	if err := s.SetRole("octo-org/shop", "mona", "admin"); err != nil {
		t.Fatal(err)
	}
	old := s.Person("Mona")
	taken := s.AddPerson(Person{Login: "mona"})
	r := s.repository("octo-org/shop")
	if s.role(r, old) != "admin" || s.role(r, taken) != "" || s.Person("MONA").ID != taken.ID || old.Account == taken.Account {
		t.Errorf("roles %q and %q of %+v and %+v", s.role(r, old), s.role(r, taken), old, taken)
	}
	if err := s.SetRole("octo-org/none", "mona", "admin"); err == nil {
		t.Error("a role in no repository")
	}
}

package source

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// planted is the token of the tests. It must be found nowhere but in requests
// to its host.
const planted = "ghp_PlantedInSourceTest0123456789abcdefgh"

var plantedHeader = "Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+planted))

// needles are the forms in which the token could leak.
var needles = []string{planted, plantedHeader[len("Basic "):], planted[4:30]}

// A host serves bare repositories over HTTP with git's own http-backend, the
// way a forge does. Repositories whose name begins with "private" want the
// token.
type host struct {
	*httptest.Server
	t    testing.TB
	root string

	mu       sync.Mutex
	token    string // "" refuses everybody
	version0 bool   // speak the old protocol only
	seen     []*http.Request
	hook     func(w http.ResponseWriter, r *http.Request) bool // true: answered
	spent    time.Duration                                     // in http-backend
}

func newHost(t testing.TB) *host {
	t.Helper()
	exe, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatalf("git is needed for this test: %v", err)
	}
	backend := filepath.Join(strings.TrimSpace(string(exe)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Skipf("SKIPPED: this machine has no git-http-backend: %v", err)
	}
	h := &host{t: t, root: t.TempDir(), token: plantedHeader}
	env := []string{"GIT_PROJECT_ROOT=" + h.root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*", "GIT_CONFIG_KEY_1=uploadpack.allowFilter", "GIT_CONFIG_VALUE_1=true"}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.seen = append(h.seen, r.Clone(context.Background()))
		token, version0, hook := h.token, h.version0, h.hook
		h.mu.Unlock()
		if hook != nil && hook(w, r) {
			return
		}
		if strings.HasPrefix(r.URL.Path, "/private") && r.Header.Get("Authorization") != token {
			http.Error(w, "who are you, "+r.Header.Get("Authorization"), http.StatusUnauthorized) // echoes, as a bad host may
			return
		}
		if r.Header.Get("Authorization") != "" && r.Header.Get("Authorization") != token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		c := &cgi.Handler{Path: backend, Root: "/", Env: env, Stderr: new(bytes.Buffer)}
		if v := r.Header.Get("Git-Protocol"); v != "" && !version0 {
			c.Env = append(c.Env[:len(c.Env):len(c.Env)], "GIT_PROTOCOL="+v)
		}
		began := time.Now()
		c.ServeHTTP(w, r)
		h.mu.Lock()
		h.spent += time.Since(began)
		h.mu.Unlock()
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *host) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// requests returns what came since the last call.
func (h *host) requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, r := range h.seen {
		out = append(out, r.Method+" "+r.URL.Path)
	}
	h.seen = nil
	return out
}

// received reports whether a token came with any request.
func (h *host) received(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.seen {
		if text := fmt.Sprint(r.Header, r.URL); hasNeedle(text) {
			t.Errorf("%s got the token: %s %s", h.URL, r.Method, r.URL)
		}
	}
}

func hasNeedle(text string) bool {
	for _, n := range needles {
		if strings.Contains(text, n) {
			return true
		}
	}
	return false
}

// A repo is a repository of a host, with a work tree to make commits in.
type repo struct {
	t    testing.TB
	url  string
	bare string
	work string
}

func (h *host) repo(name string, initOptions ...string) *repo {
	h.t.Helper()
	r := &repo{t: h.t, url: h.URL + "/" + name, bare: filepath.Join(h.root, name), work: h.t.TempDir()}
	git(h.t, h.root, append([]string{"init", "-q", "--bare", "-b", "main"}, append(initOptions, name)...)...)
	git(h.t, r.work, append([]string{"init", "-q", "-b", "main"}, append(initOptions, ".")...)...)
	git(h.t, r.work, "remote", "add", "up", r.bare)
	return r
}

// commit writes a file for each name and content, commits, and pushes to ref.
func (r *repo) commit(ref string, files ...string) string {
	r.t.Helper()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(r.work, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	git(r.t, r.work, "add", "-A")
	git(r.t, r.work, "commit", "-q", "--allow-empty", "-m", "a commit")
	return r.push(ref)
}

func (r *repo) push(ref string) string {
	r.t.Helper()
	git(r.t, r.work, "push", "-q", "--force", "up", "HEAD:"+ref)
	return git(r.t, r.work, "rev-parse", "HEAD")
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=protocol.file.allow", "GIT_CONFIG_VALUE_0=always", "GIT_CONFIG_KEY_1=safe.directory", "GIT_CONFIG_VALUE_1=*"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func newFetcher(t testing.TB, change ...func(*Config)) *Fetcher {
	t.Helper()
	c := Config{Dir: t.TempDir(), Transport: &http.Transport{}}
	for _, f := range change {
		f(&c)
	}
	f, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	f.wait = func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) }
	t.Cleanup(func() { f.Close() })
	return f
}

// authorized is a request with the token.
func authorized(url, version string) Request {
	return Request{Key: "account", URL: url, Version: version, Authorize: func(context.Context) (string, error) { return plantedHeader, nil }}
}

func fetch(t testing.TB, f *Fetcher, r Request) *Tree {
	t.Helper()
	tree, err := f.Fetch(t.Context(), r)
	if err != nil {
		t.Fatalf("Fetch(%s, %q): %v", r.URL, r.Version, err)
	}
	t.Cleanup(tree.Release)
	return tree
}

// wantError fetches what must not be had.
func wantError(t *testing.T, f *Fetcher, r Request, want string) {
	t.Helper()
	tree, err := f.Fetch(t.Context(), r)
	if err == nil {
		tree.Release()
		t.Fatalf("Fetch(%s, %q) = %s, want the error %q", r.URL, r.Version, tree.Commit, want)
	}
	known, ok := err.(*Error)
	if !ok || known.Message != want {
		t.Errorf("Fetch(%s, %q):\n got  %T %q\n want *source.Error %q", r.URL, r.Version, err, err, want)
	}
	if hasNeedle(err.Error()) {
		t.Errorf("the error has the token: %v", err)
	}
}

func read(t testing.TB, tree *Tree, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(tree.Dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u.Host
}

// mktree makes a tree object, without git's checks of what is in it.
func mktree(t testing.TB, dir, entries string) string {
	t.Helper()
	cmd := exec.Command("git", "mktree", "--missing")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(entries)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git mktree: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

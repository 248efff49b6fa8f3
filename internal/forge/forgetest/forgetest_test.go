package forgetest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/api"
)

// start makes a server with a private repository of several branches.
func start(t *testing.T, o Options) (*Server, []string) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	ids, err := s.AddRepository(Repository{Name: "octo-org/shop", Commits: []Commit{
		{Message: "first", Files: map[string]string{"README": "one\n", "bin/run": "#!/bin/sh\n"}, Modes: map[string]string{"bin/run": "100755"}, Tag: "v1"},
		{Message: "second", Files: map[string]string{"README": "two\n", "link": "README"}, Modes: map[string]string{"link": "120000"}},
		{Branch: "feature/x", Files: map[string]string{"feature": "x\n"}, Delete: []string{"link"}},
		{Pull: 7, Files: map[string]string{"pull": "7\n"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.AddToken(Token{Value: Good, Scopes: []string{"repo", "admin:repo_hook"}, Expires: Expires})
	s.AddToken(Token{Value: Narrow, Scopes: []string{"public_repo"}})
	s.AddToken(Token{Value: Elsewhere, Scopes: []string{"repo"}, Repositories: []string{"octo-org/other"}})
	s.AddToken(Token{Value: FineGrained, Permissions: map[string]string{"contents": "read", "statuses": "write"}})
	return s, ids
}

// do sends a request, with the token in the way that scheme names.
func do(t *testing.T, c *http.Client, method, url, scheme string, token api.Secret, body string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case token == "":
	case scheme == "basic":
		r.SetBasicAuth("x-access-token", token.Reveal())
	default:
		r.Header.Set("Authorization", scheme+" "+token.Reveal())
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// plain follows no redirect.
var plain = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// git runs git with nothing of this machine's configuration.
func git(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=/bin/false"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// with is the address of the server with a token in it, as nobody should do.
func with(s *Server, token api.Secret, path string) string {
	return strings.Replace(s.URL, "://", "://x-access-token:"+token.Reveal()+"@", 1) + path
}

func TestGitClone(t *testing.T) {
	t.Parallel()
	s, ids := start(t, Options{})
	dir := t.TempDir()
	if out, err := git(t, dir, "clone", "-q", with(s, Good, "/octo-org/shop.git"), "w"); err != nil {
		t.Fatalf("clone: %v\n%s", err, out)
	}
	w := filepath.Join(dir, "w")
	if b, err := os.ReadFile(filepath.Join(w, "README")); err != nil || string(b) != "two\n" {
		t.Errorf("README = %q, %v, want two", b, err)
	}
	if i, err := os.Stat(filepath.Join(w, "bin/run")); err != nil || i.Mode()&0o111 == 0 {
		t.Errorf("bin/run is not executable: %v", err)
	}
	if l, err := os.Readlink(filepath.Join(w, "link")); err != nil || l != "README" {
		t.Errorf("link = %q, %v, want README", l, err)
	}
	out, err := git(t, w, "ls-remote", "origin")
	if err != nil {
		t.Fatalf("ls-remote: %v\n%s", err, out)
	}
	want := []string{"HEAD " + ids[1], "refs/heads/feature/x " + ids[2], "refs/heads/main " + ids[1], "refs/pull/7/head " + ids[3], "refs/tags/v1 " + ids[0]}
	var got []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 {
			got = append(got, f[1]+" "+f[0])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refs (-want +got):\n%s", diff)
	}
	// As from GitHub, any commit can be had by its id.
	if out, err := git(t, w, "fetch", "-q", "--depth=1", "origin", ids[3]); err != nil {
		t.Errorf("fetch by id: %v\n%s", err, out)
	}
	if out, err := git(t, dir, "clone", "-q", "--filter=blob:none", "--no-checkout", with(s, FineGrained, "/octo-org/shop"), "w2"); err != nil {
		t.Errorf("partial clone with a fine-grained token, without .git: %v\n%s", err, out)
	}
	added, err := s.AddCommits("octo-org/shop", Commit{Files: map[string]string{"README": "three\n"}}, Commit{Branch: "feature/x", Message: "more"})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := git(t, w, "pull", "-q"); err != nil {
		t.Errorf("pull: %v\n%s", err, out)
	}
	if out, _ := git(t, w, "log", "--format=%H", "-3"); !slices.Equal(strings.Fields(out), []string{added[0], ids[1], ids[0]}) {
		t.Errorf("after a pull, main has %v, want %v", strings.Fields(out), []string{added[0], ids[1], ids[0]})
	}
}

func TestSameIDsEachTime(t *testing.T) {
	t.Parallel()
	_, one := start(t, Options{})
	_, two := start(t, Options{})
	if diff := cmp.Diff(one, two); diff != "" || len(one) != 4 || one[0] == "" {
		t.Errorf("ids of two servers:\n%s", diff)
	}
}

// TestGitRefusals: github.com's way of telling who may not know from who gave
// no password.
func TestGitRefusals(t *testing.T) {
	t.Parallel()
	s, _ := start(t, Options{})
	if _, err := s.AddRepository(Repository{Name: "octo-org/open", Public: true, Commits: []Commit{{}}}); err != nil {
		t.Fatal(err)
	}
	const up, down = "/info/refs?service=git-upload-pack", "/info/refs?service=git-receive-pack"
	for _, c := range []struct {
		path   string
		token  api.Secret
		status int
		text   string
	}{
		{"/octo-org/shop.git" + up, "", 401, "Repository not found."},
		{"/octo-org/none.git" + up, "", 401, "Repository not found."},
		{"/octo-org/shop.git" + up, Unknown, 401, "Invalid username or token."},
		{"/octo-org/open.git" + up, Unknown, 401, "Invalid username or token."},
		{"/octo-org/shop.git" + up, Elsewhere, 404, "Repository not found."},
		{"/octo-org/shop.git" + up, Narrow, 404, "Repository not found."},
		{"/octo-org/none.git" + up, Good, 404, "Repository not found."},
		{"/octo-org/shop.git" + up, Good, 200, "# service=git-upload-pack"},
		{"/OCTO-org/Shop" + up, Good, 200, "# service=git-upload-pack"},
		{"/octo-org/open.git" + up, "", 200, "# service=git-upload-pack"},
		{"/octo-org/open.git" + down, "", 401, ""},
		{"/octo-org/open.git" + down, Narrow, 403, ""},
		{"/octo-org/shop.git" + down, FineGrained, 403, "Write access to repository not granted."},
		{"/octo-org/shop.git" + down, Good, 200, "# service=git-receive-pack"},
		{"/octo-org/shop.git/info/refs", Good, 403, "dumb-http"},
		{"/octo-org/shop.git/config", Good, 404, ""},
		{"/../../etc/passwd", Good, 404, ""},
	} {
		res, body := do(t, plain, "GET", s.URL+c.path, "basic", c.token, "")
		if res.StatusCode != c.status || !strings.Contains(body, c.text) {
			t.Errorf("GET %s with %q: %d %q, want %d %q", c.path, c.token.Reveal(), res.StatusCode, body, c.status, c.text)
		}
		if has := res.Header.Get("WWW-Authenticate") != ""; has != (c.status == 401) {
			t.Errorf("GET %s: WWW-Authenticate %q with status %d", c.path, res.Header.Get("WWW-Authenticate"), res.StatusCode)
		}
	}
}

func TestGitProtocol(t *testing.T) {
	t.Parallel()
	s, _ := start(t, Options{})
	send := func(method, path, protocol string, body io.Reader) string {
		r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("x-access-token", Good.Reveal())
		if protocol != "" {
			r.Header.Set("Git-Protocol", protocol)
		}
		r.Header.Set("Content-Type", "application/x-git-upload-pack-request")
		res, err := plain.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const refs = "/octo-org/shop.git/info/refs?service=git-upload-pack"
	if got := send("GET", refs, "version=2", nil); !strings.Contains(got, "version 2") {
		t.Errorf("with Git-Protocol version=2: %q", got)
	}
	if got := send("GET", refs, "", nil); strings.Contains(got, "version 2") || !strings.Contains(got, "refs/heads/main") {
		t.Errorf("without Git-Protocol: %q", got)
	}
	// A body of unknown length, as a proxy may send it.
	body := io.MultiReader(strings.NewReader("0014command=ls-refs\n"), strings.NewReader("0000"))
	if got := send("POST", "/octo-org/shop.git/git-upload-pack", "version=2", body); !strings.Contains(got, "refs/heads/main") {
		t.Errorf("ls-refs with a chunked body: %q", got)
	}
}

func TestGitPush(t *testing.T) {
	t.Parallel()
	s, _ := start(t, Options{})
	dir := t.TempDir()
	if out, err := git(t, dir, "clone", "-q", with(s, Good, "/octo-org/shop.git"), "w"); err != nil {
		t.Fatalf("clone: %v\n%s", err, out)
	}
	w := filepath.Join(dir, "w")
	if out, err := git(t, w, "push", "-q", "origin", "HEAD:refs/heads/new"); err != nil {
		t.Errorf("push with repo: %v\n%s", err, out)
	}
	if out, err := git(t, w, "push", "-q", with(s, FineGrained, "/octo-org/shop.git"), "HEAD:refs/heads/new2"); err == nil || !strings.Contains(out, "403") {
		t.Errorf("push with contents: read: %v\n%s", err, out)
	}
}

// TestGitHasNoToken: the fake does not put the token into the environment of
// the git that it runs, where a scan for leaked tokens would find it.
func TestGitHasNoToken(t *testing.T) {
	t.Parallel()
	s, _ := start(t, Options{})
	dump := filepath.Join(t.TempDir(), "env")
	script := filepath.Join(t.TempDir(), "git")
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\nenv >>%s\nexec %s \"$@\"\n", dump, s.git), 0o755); err != nil {
		t.Fatal(err)
	}
	s.git = script
	res, _ := do(t, plain, "GET", s.URL+"/octo-org/shop.git/info/refs?service=git-upload-pack", "basic", Good, "")
	env, err := os.ReadFile(dump)
	if res.StatusCode != 200 || err != nil || !bytes.Contains(env, []byte("GIT_PROJECT_ROOT")) {
		t.Fatalf("status %d, %v, environment %q", res.StatusCode, err, env)
	}
	for _, needle := range []string{Good.Reveal(), base64.StdEncoding.EncodeToString([]byte("x-access-token:" + Good.Reveal())), "AUTHORIZATION"} {
		if bytes.Contains(env, []byte(needle)) {
			t.Errorf("git's environment has %q", needle)
		}
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	s, ids := start(t, Options{})
	if err := s.RenameRepository("octo-org/shop", "octo-org/store"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := git(t, dir, "clone", "-q", with(s, Good, "/octo-org/shop.git"), "w"); err != nil {
		t.Errorf("clone by the old name: %v\n%s", err, out)
	}
	for _, c := range []struct {
		method, path string
		status       int
		location     string
	}{
		{"GET", "/api/v3/repos/octo-org/shop", 301, "/api/v3/repositories/"},
		{"GET", "/repos/octo-org/shop/hooks", 301, "/hooks"},
		{"POST", "/repos/octo-org/shop/statuses/" + ids[0], 307, "/statuses/" + ids[0]},
		{"GET", "/octo-org/shop.git/info/refs?service=git-upload-pack", 301, "/octo-org/store.git/info/refs?service=git-upload-pack"},
	} {
		res, body := do(t, plain, c.method, s.URL+c.path, "basic", Good, `{"state":"success"}`)
		at := res.Header.Get("Location")
		if res.StatusCode != c.status || !strings.HasPrefix(at, s.URL) || !strings.Contains(at, c.location) {
			t.Errorf("%s %s: %d to %q (%s), want %d to %q", c.method, c.path, res.StatusCode, at, body, c.status, c.location)
			continue
		}
		if res, body := do(t, plain, c.method, at, "basic", Good, `{"state":"success"}`); res.StatusCode > 299 {
			t.Errorf("%s %s: %d %s", c.method, at, res.StatusCode, body)
		}
	}
}

// TestOpenAPI makes every call of the API, the good ones and the bad ones, and
// lets GitHub's description judge request and answer.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	d := OpenAPI(t)
	s, ids := start(t, Options{})
	repo := "/api/v3/repos/octo-org/shop"
	status := repo + "/statuses/" + ids[1]
	for _, c := range []struct {
		method, path, body string
		token              api.Secret
		status             int
	}{
		{"GET", "/api/v3/user", "", Good, 200},
		{"GET", "/user", "", FineGrained, 200},
		{"GET", "/user", "", "", 401},
		{"GET", "/user", "", Unknown, 401},
		{"GET", "/rate_limit", "", Good, 200},
		{"GET", repo, "", Good, 200},
		{"GET", repo, "", Elsewhere, 404},
		{"GET", repo, "", "", 404},
		{"POST", status, `{"state":"pending","target_url":"https://corbel.example.com/1","description":"d","context":"ci"}`, Good, 201},
		{"POST", status, `{"state":"success","context":"ci"}`, FineGrained, 201},
		{"POST", status, `{"state":"failure"}`, Good, 201},
		{"GET", repo + "/commits/" + ids[1] + "/statuses", "", Good, 200},
		{"GET", repo + "/commits/main/status", "", Good, 200},
		{"GET", repo + "/commits/nothing/status", "", Good, 404},
		{"POST", repo + "/hooks", `{"name":"web","active":true,"events":["push","pull_request"],"config":{"url":"https://corbel.example.com/hook","content_type":"json","secret":"s3cret","insecure_ssl":"0"}}`, Good, 201},
		{"POST", repo + "/hooks", `{"config":{"url":"https://corbel.example.com/hook"}}`, Good, 422},
		{"POST", repo + "/hooks", `{"config":{}}`, Good, 422},
		{"POST", repo + "/hooks", `{"config":{"url":"https://x.example.com"}}`, FineGrained, 403},
		{"GET", repo + "/hooks", "", Good, 200},
		{"DELETE", repo + "/hooks/HOOK", "", Good, 204},
		{"DELETE", repo + "/hooks/HOOK", "", Good, 404},
	} {
		if h := s.Hooks("octo-org/shop"); len(h) > 0 {
			c.path = strings.Replace(c.path, "HOOK", fmt.Sprint(h[0].ID), 1)
		}
		res, body := do(t, plain, c.method, s.URL+c.path, "Bearer", c.token, c.body)
		if res.StatusCode != c.status {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, res.StatusCode, body, c.status)
		}
		all := s.Requests()
		last := all[len(all)-1]
		if last.Pattern == "" && c.status == 401 {
			continue // refused before any route
		}
		if err := d.Check(last); err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
		}
	}
	// The judge can say no.
	good := s.Requests()[0]
	for _, change := range []func(*Request){
		func(r *Request) { r.Answer = bytes.Replace(r.Answer, []byte(`"login"`), []byte(`"logn"`), 1) },
		func(r *Request) { r.Answer = bytes.Replace(r.Answer, []byte(`"id":`), []byte(`"id":"x","x":`), 1) },
		func(r *Request) { r.Status = 299 },
		func(r *Request) { r.Pattern = "GET /usr" },
	} {
		r := good
		r.Answer = slices.Clone(good.Answer)
		change(&r)
		if err := d.Check(r); err == nil {
			t.Errorf("Check(%+v) found nothing wrong", r)
		}
	}
	bad := Request{Pattern: "POST /repos/{owner}/{repo}/statuses/{sha}", Status: 201, Body: []byte(`{"state":"fine"}`)}
	if err := d.Check(bad); err == nil {
		t.Error("Check found nothing wrong with state fine")
	}
}

// TestHeaders: what GitHub says beside the body.
func TestHeaders(t *testing.T) {
	t.Parallel()
	s, _ := start(t, Options{})
	for _, c := range []struct {
		path  string
		token api.Secret
		want  map[string]string
	}{
		{"/user", Good, map[string]string{
			"X-OAuth-Scopes": "repo, admin:repo_hook", "X-Accepted-OAuth-Scopes": "", "github-authentication-token-expiration": "2036-12-01 00:00:00 UTC",
			"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4999", "X-RateLimit-Used": "1", "X-RateLimit-Resource": "core",
			"X-GitHub-Media-Type": "github.v3; format=json", "Content-Type": "application/json; charset=utf-8",
		}},
		{"/repos/octo-org/shop", Good, map[string]string{"X-Accepted-OAuth-Scopes": "repo", "X-RateLimit-Remaining": "4998"}},
		{"/repos/octo-org/shop/hooks", FineGrained, map[string]string{"X-OAuth-Scopes": "", "X-Accepted-GitHub-Permissions": "repository_hooks=read"}},
		{"/user", Unknown, map[string]string{"X-OAuth-Scopes": "", "X-RateLimit-Limit": "60"}},
	} {
		res, _ := do(t, plain, "GET", s.URL+c.path, "token", c.token, "")
		for k, want := range c.want {
			if got := res.Header.Get(k); got != want {
				t.Errorf("GET %s: %s = %q, want %q", c.path, k, got, want)
			}
		}
		if res.Header.Get("X-GitHub-Request-Id") == "" || res.Header.Get("X-RateLimit-Reset") == "" {
			t.Errorf("GET %s: headers missing: %v", c.path, res.Header)
		}
	}
	_, body := do(t, plain, "GET", s.URL+"/user", "Bearer", Unknown, "")
	var doc map[string]string
	if err := json.Unmarshal([]byte(body), &doc); err != nil || doc["message"] != "Bad credentials" || doc["status"] != "401" || doc["documentation_url"] == "" {
		t.Errorf("bad token: %s", body)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	now := Expires.Add(-time.Second)
	s, _ := start(t, Options{Now: func() time.Time { return now }})
	if res, _ := do(t, plain, "GET", s.URL+"/user", "Bearer", Good, ""); res.StatusCode != 200 {
		t.Errorf("before the end: %d, want 200", res.StatusCode)
	}
	now = Expires
	if res, _ := do(t, plain, "GET", s.URL+"/user", "Bearer", Good, ""); res.StatusCode != 401 {
		t.Errorf("at the end: %d, want 401", res.StatusCode)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s, _ := start(t, Options{TLS: true})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CA) {
		t.Fatal("CA is not PEM")
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	defer c.CloseIdleConnections()
	res, _ := do(t, c, "GET", s.URL+"/user", "Bearer", Good, "")
	if res.StatusCode != 200 || res.ProtoMajor != 2 || !strings.HasPrefix(s.URL, "https://") {
		t.Errorf("GET %s: %d over %s, want 200 over HTTP/2", s.URL, res.StatusCode, res.Proto)
	}
	if _, err := plain.Get(s.URL); err == nil {
		t.Error("a client without the CA trusts the server")
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s, _ := start(t, Options{})
	get := func(path string) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("x", Good.Reveal())
		res, err := plain.Do(r)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		_, err = io.Copy(io.Discard, res.Body)
		return res.StatusCode, err
	}
	const refs = "/octo-org/shop.git/info/refs?service=git-upload-pack"
	s.Inject(Fault{Path: "/user", Times: 2, Do: Answer(503, nil, "")})
	s.Inject(Fault{Method: "POST", Path: "/rate_limit", Do: Answer(503, nil, "")})
	for i, want := range []int{503, 503, 200} {
		if got, err := get("/api/v3/user"); got != want || err != nil {
			t.Errorf("call %d: %d, %v, want %d", i, got, err, want)
		}
	}
	if got, err := get("/rate_limit"); got != 200 || err != nil {
		t.Errorf("a fault of another method: %d, %v, want 200", got, err)
	}
	for name, f := range map[string]func(http.ResponseWriter, *http.Request, http.Handler){"reset": Reset(), "truncate": Truncate(10)} {
		s.Heal()
		s.Inject(Fault{Path: "/octo-org/", Do: f})
		if _, err := get(refs); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	s.Heal()
	if got, err := get(refs); got != 200 || err != nil {
		t.Errorf("after the faults: %d, %v", got, err)
	}
	gate, done := make(chan struct{}), make(chan int)
	s.Inject(Fault{Path: "/user", Times: 1, Do: Hold(gate)})
	go func() { // ends with the answer
		got, _ := get("/user")
		done <- got
	}()
	select {
	case <-done:
		t.Error("Hold did not hold")
	default:
	}
	close(gate)
	if got := <-done; got != 200 {
		t.Errorf("held call: %d, want 200", got)
	}
}

func TestSaw(t *testing.T) {
	t.Parallel()
	const token = api.Secret("ghp_SawMe/0123456789+abc")
	text := token.Reveal()
	for name, c := range map[string]struct {
		header, path, body string
		want               bool
	}{
		"nothing":       {"Bearer ghp_other", "/a", "SawMe", false},
		"bearer":        {"Bearer " + text, "/", "", true},
		"basic":         {"Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+text)), "/", "", true},
		"basic short":   {"Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+text)), "/", "", true},
		"basic shorter": {"Basic " + base64.StdEncoding.EncodeToString([]byte(":"+text)), "/", "", true},
		"query":         {"", "/?token=" + url.QueryEscape(text), "", true},
		"hex":           {"", "/" + hex.EncodeToString([]byte(text)), "", true},
		"body":          {"", "/", strings.Repeat("x", 1000) + text, true},
	} {
		e, err := NewEvil(200)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		r, err := http.NewRequestWithContext(t.Context(), "POST", e.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", c.header)
		res, err := plain.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := len(e.Saw(token)) == 1; got != c.want || len(e.Requests()) != 1 {
			t.Errorf("%s: Saw = %v of %d requests, want %v", name, got, len(e.Requests()), c.want)
		}
	}
}

// TestEvil: git goes on talking to the one that says 200, and asks for a
// password at the one that says 401.
func TestEvil(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		posts  bool
	}{{200, true}, {401, false}} {
		e, err := NewEvil(c.status)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		if out, err := git(t, t.TempDir(), "ls-remote", e.URL+"/octo-org/shop.git"); err == nil {
			t.Errorf("ls-remote of the evil host %d went well: %s", c.status, out)
		}
		posts := slices.ContainsFunc(e.Requests(), func(r Request) bool { return r.Method == "POST" })
		if posts != c.posts || len(e.Requests()) == 0 {
			t.Errorf("evil %d got a POST: %v, want %v", c.status, posts, c.posts)
		}
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("directory after Close: %v, want gone", err)
	}
}

package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// processes returns the ids of running processes whose working directory is
// below dir.
func processes(t testing.TB, dir string) (pids []int) {
	t.Helper()
	list, err := os.ReadDir("/proc")
	if err != nil {
		t.Skipf("SKIPPED: no /proc: %v", err)
	}
	for _, e := range list {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		if strings.HasPrefix(cwd, dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// scanProcess returns where in a process the token is: its arguments,
// environment or memory.
func scanProcess(t *testing.T, pid int) (found []string) {
	t.Helper()
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Errorf("read %s of %d: %v", name, pid, err)
		}
		if hasNeedle(string(b)) {
			found = append(found, name)
		}
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Errorf("read maps of %d: %v", pid, err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if errors.Is(err, os.ErrPermission) {
		t.Log("SKIPPED: memory of other processes cannot be read here")
		return found
	} else if err != nil {
		t.Errorf("open memory of %d: %v", pid, err)
		return found
	}
	defer mem.Close()
	scanned := 0
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); n != 3 || mode[0] != 'r' || to-from > 64<<20 {
			continue
		}
		b := make([]byte, to-from)
		n, _ := mem.ReadAt(b, from) // vvar and the like cannot be read
		scanned += n
		if hasNeedle(string(b[:n])) {
			found = append(found, "memory: "+strings.TrimSpace(line))
		}
	}
	if scanned == 0 {
		t.Errorf("nothing of the memory of %d could be read", pid)
	}
	return found
}

func scanFiles(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if hasNeedle(string(b)) {
			t.Errorf("the token is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// The promise of the package: the token is in no process but this one, and in
// no file.
func TestSecret_GitDoesNotHaveTheToken(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("private.git")
	sub := h.repo("private-sub.git")
	sub.commit("refs/heads/main", "s", "1")
	r.addSubmodule("sub", "../private-sub.git", sub)
	r.commit("refs/heads/main", "a", strings.Repeat("content", 1000))
	f := newFetcher(t)

	scans := 0
	h.set(func() {
		h.hook = func(w http.ResponseWriter, req *http.Request) bool {
			// Each request that git waits for: look at it meanwhile.
			for _, pid := range processes(t, f.config.Dir) {
				scans++
				for _, where := range scanProcess(t, pid) {
					t.Errorf("the token is in process %d: %s", pid, where)
				}
				args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
				_, capability, ok := strings.Cut(string(env), capabilityHeader+": ")
				if !ok {
					t.Errorf("process %d has no capability: it is not what should be looked at", pid)
				}
				capability, _, _ = strings.Cut(capability, "\x00")
				if strings.Contains(string(args), capability) {
					t.Errorf("the capability is in the arguments %q", args)
				}
			}
			return false
		}
	})
	for _, depth := range []int{0, 1} {
		req := authorized(r.url, "main")
		req.Depth, req.Submodules = depth, true
		fetch(t, f, req)
	}
	if scans < 8 {
		t.Errorf("%d processes were looked at, want at least 8", scans)
	}
	scanFiles(t, f.config.Dir)

	// The scanner must be able to find it.
	cmd := exec.Command("sh", "-c", "echo ready; read line")
	cmd.Dir, cmd.Env = f.config.Dir, []string{"TOKEN=" + planted}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close() // which ends it
	if _, err := io.ReadFull(stdout, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	pids := processes(t, f.config.Dir)
	if len(pids) != 1 || len(scanProcess(t, pids[0])) < 2 {
		t.Errorf("the scanner does not find a planted token in processes %v", pids)
	}
}

// The environment of git is ours to the last entry.
func TestSecret_EnvironmentOfGit(t *testing.T) {
	t.Setenv("https_proxy", "http://evil.example.com")
	t.Setenv("GIT_TRACE_CURL", "/tmp/trace")
	t.Setenv("SSL_CERT_FILE", "/tmp/evil.pem")
	t.Setenv("LD_PRELOAD", "")
	var mu sync.Mutex
	var seen []*exec.Cmd
	h := newHost(t)
	r := h.repo("private.git")
	r.commit("refs/heads/main", "a", "1")
	f := newFetcher(t, func(c *Config) {
		c.Confine = func(cmd *exec.Cmd, readWrite ...string) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, cmd)
			if len(readWrite) != 1 || !strings.HasPrefix(readWrite[0], c.Dir) || readWrite[0] != cmd.Dir {
				t.Errorf("git %q may write in %q", cmd.Args, readWrite)
			}
		}
	})
	fetch(t, f, authorized(r.url, "main"))
	if len(seen) < 4 {
		t.Fatalf("%d git processes were confined", len(seen))
	}
	for _, cmd := range seen {
		for _, kv := range cmd.Env {
			key, _, _ := strings.Cut(kv, "=")
			switch {
			case strings.HasPrefix(key, "GIT_") && !strings.HasPrefix(key, "GIT_TRACE"):
			case key == "PATH", key == "HOME", key == "LC_ALL", key == "SSH_ASKPASS", key == "GCM_INTERACTIVE":
			default:
				t.Errorf("git %q gets %s", cmd.Args[1:], kv)
			}
		}
	}
}

// An evil host gets nothing, whichever way a request is sent to it and whatever
// it answers.
func TestSecret_Redirects(t *testing.T) {
	t.Parallel()
	for _, answer := range []int{401, 200} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			for _, part := range []string{"POST", "GET"} {
				t.Run(fmt.Sprint(answer, status, part), func(t *testing.T) {
					t.Parallel()
					h, evil := newHost(t), newHost(t)
					r := h.repo("private.git")
					r.commit("refs/heads/main", "a", "1")
					evil.hook = func(w http.ResponseWriter, r *http.Request) bool {
						if answer == 401 {
							w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
							w.WriteHeader(401)
							return true
						}
						w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
						fmt.Fprint(w, "0000")
						return true
					}
					h.hook = func(w http.ResponseWriter, r *http.Request) bool {
						if r.Method != part {
							return false
						}
						http.Redirect(w, r, evil.URL+r.URL.String(), status)
						return true
					}
					f := newFetcher(t)
					wantError(t, f, authorized(r.url, "main"), h.host()+" redirects to "+evil.URL+", which was not followed: a source is fetched from its own host only for primary source and source version main")
					evil.received(t)
					if got := evil.requests(); len(got) > 0 {
						t.Errorf("requests to the evil host: %q", got)
					}
				})
			}
		}
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	const base = "https://host.example.com/o/old.git"
	for _, c := range []struct{ location, want string }{
		{"https://host.example.com/o/new.git/info/refs?service=git-upload-pack", "https://host.example.com/o/new.git"},
		{"https://HOST.example.com:443/o/new.git/info/refs?service=git-upload-pack", "https://host.example.com/o/new.git"},
		{"/p/new/info/refs?service=git-upload-pack", "https://host.example.com/p/new"},
		{"//evil.example.com/o/new.git/info/refs?service=git-upload-pack", ""},
		{"http://host.example.com/o/new.git/info/refs?service=git-upload-pack", ""},
		{"https://host.example.com:8443/o/new.git/info/refs?service=git-upload-pack", ""},
		{"https://user@host.example.com/o/new.git/info/refs?service=git-upload-pack", ""},
		{"https://host.example.com@evil.example.com/o/new.git/info/refs?service=git-upload-pack", ""},
		{"https://host.example.com\\@evil.example.com/o/info/refs?service=git-upload-pack", ""},
		{"https://host.example.com./o/new.git/info/refs?service=git-upload-pack", ""},
		{"https://[::1%25eth0]/o/new.git/info/refs?service=git-upload-pack", ""},
		{"https://host.example.com/login?return=/o/old.git/info/refs", ""},
		{"https://host.example.com/o/new.git/info/refs", ""},
		{"https://host.example.com/o/new.git/info/refs?service=git-receive-pack", ""},
		{"https://host.example.com/o/../new.git/info/refs?service=git-upload-pack", "https://host.example.com/new.git"},
		{"https://host.example.com/o/%2e%2e/new.git/info/refs?service=git-upload-pack", ""},
		{"https://host.example.com/info/refs?service=git-upload-pack", ""},
		{"file:///o/new.git/info/refs?service=git-upload-pack", ""},
		{"", ""},
		{":", ""},
	} {
		u, err := url.Parse(base)
		if err != nil {
			t.Fatal(err)
		}
		got, err := follow(u, infoRefs, c.location)
		if (err == nil) != (c.want != "") || err == nil && got.String() != c.want {
			t.Errorf("follow(%q) = %v, %v; want %q", c.location, got, err, c.want)
		}
	}
}

func TestFetch_RenamedRepository(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("private.git")
	want := r.commit("refs/heads/main", "a", "1")
	for _, methods := range []string{"GET POST", "GET", "POST"} {
		h.set(func() {
			h.hook = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/old") {
					return false
				}
				if strings.Contains(methods, r.Method) {
					http.Redirect(w, r, strings.Replace(r.URL.String(), "/old", "/private", 1), http.StatusMovedPermanently)
					return true
				}
				r.URL.Path = strings.Replace(r.URL.Path, "/old", "/private", 1)
				return false
			}
		})
		f := newFetcher(t)
		tree := fetch(t, f, authorized(h.URL+"/old.git", "main"))
		if tree.Commit != want {
			t.Errorf("%s redirected: got %s, want %s", methods, tree.Commit, want)
		}
		if got := git(t, tree.Dir, "remote", "get-url", "origin"); got != h.URL+"/old.git" {
			t.Errorf("%s redirected: origin is %s", methods, got)
		}
	}
	h.set(func() {
		h.hook = func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, "/a"+r.URL.String(), http.StatusFound) // for ever
			return true
		}
	})
	wantError(t, newFetcher(t), authorized(r.url, ""), h.host()+" redirects to more than one other address, which was not followed: a source is fetched from its own host only for primary source")
}

// recorder is a host that is never reached.
type recorder struct{ requests []*http.Request }

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.requests = append(r.requests, req)
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/x-git-upload-pack-result"}, "Set-Cookie": {"a=b"}}, Body: io.NopCloser(strings.NewReader("0000"))}, nil
}

func TestSecret_NoTokenWithoutTLS(t *testing.T) {
	t.Parallel()
	rec := &recorder{}
	f := newFetcher(t, func(c *Config) { c.Transport = rec })
	wantError(t, f, authorized("http://git.example.com/r.git", ""), "no token is sent to git.example.com without TLS for primary source")
	if len(rec.requests) > 0 {
		t.Error("a request was made")
	}
	wantError(t, f, Request{URL: "http://git.example.com/r.git"}, "reference not found for primary source")
	wantError(t, f, authorized("https://git.example.com/r.git", ""), "reference not found for primary source")
	if len(rec.requests) != 2 || rec.requests[0].Header.Get("Authorization") != "" || rec.requests[1].Header.Get("Authorization") != plantedHeader {
		t.Error("want one request without and one with the header")
	}
	// Who says that the token is not for the upstream is listened to.
	elsewhere := authorized("https://git.example.com/r.git", "")
	elsewhere.Upstream = func(string) (string, bool, error) { return "https://other.example.com/r.git", false, nil }
	wantError(t, f, elsewhere, "reference not found for primary source")
	last := rec.requests[len(rec.requests)-1]
	if last.URL.Host != "other.example.com" || last.Header.Get("Authorization") != "" {
		t.Errorf("request to %s with header %q", last.URL, last.Header)
	}
}

func TestSecret_AuthorizeFails(t *testing.T) {
	t.Parallel()
	f := newFetcher(t, func(c *Config) { c.Transport = &recorder{} })
	sealed := errors.New("the vault is sealed")
	_, err := f.Fetch(t.Context(), Request{URL: "https://git.example.com/r.git", Authorize: func(context.Context) (string, error) { return "", sealed }})
	var known *Error
	if !errors.Is(err, sealed) || errors.As(err, &known) {
		t.Errorf("got %v, want an error of the server that wraps %v", err, sealed)
	}
}

func TestProxy(t *testing.T) {
	t.Parallel()
	rec := &recorder{}
	r := &remote{transport: rec, agent: "git/1", authorize: func(context.Context) (string, error) { return plantedHeader, nil }}
	base, err := url.Parse("https://git.example.com/o/r.git")
	if err != nil {
		t.Fatal(err)
	}
	r.base.Store(base)
	p, err := newProxy(t.Context(), 1<<20, forFetch(r))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for _, c := range []struct {
		name, method, path, capability string
		want                           int
	}{
		{"advertisement", "GET", "/source/info/refs?service=git-upload-pack", p.capability, 200},
		{"fetch", "POST", "/source/git-upload-pack", p.capability, 200},
		{"no capability", "GET", "/source/info/refs?service=git-upload-pack", "", 403},
		{"wrong capability", "GET", "/source/info/refs?service=git-upload-pack", p.capability[1:] + "A", 403},
		{"push", "GET", "/source/info/refs?service=git-receive-pack", p.capability, 403},
		{"push", "POST", "/source/git-receive-pack", p.capability, 403},
		{"dumb", "GET", "/source/info/refs", p.capability, 403},
		{"dumb", "GET", "/source/HEAD", p.capability, 403},
		{"another repository", "GET", "/other/info/refs?service=git-upload-pack", p.capability, 403},
		{"another repository", "GET", "/source/../other/info/refs?service=git-upload-pack", p.capability, 403},
		{"two services", "GET", "/source/info/refs?service=git-upload-pack&service=git-receive-pack", p.capability, 403},
		{"method", "PUT", "/source/git-upload-pack", p.capability, 403},
		{"LFS", "POST", "/source/info/lfs/objects/batch", p.capability, 403},
	} {
		rec.requests = nil
		req, err := http.NewRequestWithContext(t.Context(), c.method, p.address+c.path, bytes.NewReader([]byte("0000")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(capabilityHeader, c.capability)
		req.Header.Set("Authorization", "Basic c29tZXRoaW5nIGVsc2U=")
		req.Header.Set("Cookie", "a=b")
		req.Header.Set("X-Forwarded-For", "1.2.3.4")
		req.Header.Set("Git-Protocol", "version=2")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s: %s %s = %d, want %d", c.name, c.method, c.path, resp.StatusCode, c.want)
		}
		if c.want != 200 {
			if len(rec.requests) > 0 {
				t.Errorf("%s: the host was asked", c.name)
			}
			continue
		}
		got := rec.requests[0]
		if got.URL.Host != "git.example.com" || got.Header.Get("Authorization") != plantedHeader || got.Header.Get("Git-Protocol") != "version=2" {
			t.Errorf("%s: the host got %s %q", c.name, got.URL, got.Header)
		}
		for name := range got.Header {
			if name == "Cookie" || name == capabilityHeader || strings.HasPrefix(name, "X-") {
				t.Errorf("%s: the host got %s", c.name, name)
			}
		}
		if hasNeedle(fmt.Sprint(resp.Header)) || resp.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: git got %q", c.name, resp.Header)
		}
	}
	p.close()
	if resp, err := http.Get(p.address); err == nil {
		resp.Body.Close()
		t.Error("the proxy lives on after close")
	}
}

func TestReason_HasNoWordsOfTheHost(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprintf(conn, "HTTP/1.1 %s %s\r\n\r\n", planted, planted)
		conn.Close()
	}))
	defer s.Close()
	f := newFetcher(t)
	wantError(t, f, authorized(s.URL+"/r.git", ""), "no connection to "+hostOf(s.URL)+": its answer is not HTTP as it should be for primary source")
}

func owner(path string) (uid, gid int) {
	info, err := os.Lstat(path)
	if err != nil {
		return -1, -1
	}
	st := info.Sys().(*syscall.Stat_t)
	return int(st.Uid), int(st.Gid)
}

package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFetch_Versions(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("private.git")
	first := r.commit("refs/heads/main", "a", "1")
	git(t, r.work, "tag", "-a", "v1", "-m", "one")
	git(t, r.work, "push", "-q", "up", "v1")
	second := r.commit("refs/heads/main", "a", "2")
	feature := r.commit("refs/heads/feature/x", "a", "3")
	pull := r.commit("refs/pull/7/head", "a", "4")
	pullNew := r.commit("refs/pull/7/head", "a", "5")
	git(t, r.work, "checkout", "-q", "--orphan", "fork")
	fork := r.commit("refs/pull/9/head", "a", "fork")
	r.push("refs/tags/both")
	git(t, r.work, "checkout", "-q", second)
	r.push("refs/heads/both")
	git(t, r.bare, "symbolic-ref", "HEAD", "refs/heads/main")

	// One cache for all, so that what is there of one version can help a
	// wrong one.
	fetchers := []*Fetcher{newFetcher(t), newFetcher(t), newFetcher(t)} // by depth
	const missing = "0123456789012345678901234567890123456789"
	for _, c := range []struct{ version, commit, ref string }{
		{"", second, "refs/heads/main"},
		{"main", second, "refs/heads/main"},
		{"refs/heads/main", second, "refs/heads/main"},
		{"heads/main", second, "refs/heads/main"},
		{"feature/x", feature, "refs/heads/feature/x"},
		{"v1", first, "refs/tags/v1"},
		{"refs/tags/v1", first, "refs/tags/v1"},
		{"both", second, "refs/heads/both"},
		{"pr/7", pullNew, "refs/pull/7/head"},
		{"refs/pull/7/head", pullNew, "refs/pull/7/head"},
		{first, first, ""},
		{second, second, ""},
		{first[:10], first, ""},
		{"refs/heads/feature/x^{" + feature + "}", feature, "refs/heads/feature/x"},
		{"refs/heads/feature/x^{" + first + "}", first, "refs/heads/feature/x"},
		{"pr/7^{" + pull + "}", pull, "refs/pull/7/head"},
		{"v1^{" + first + "}", first, "refs/tags/v1"},
		// A commit is found if a branch or tag has it; of a pull request only by its name.
		{fork, fork, ""},
		{pull, "", ""},
		{pullNew, "", ""},
		{"main^{" + pull + "}", "", ""},
		{"main^{" + feature + "}", "", ""},
		{missing, "", ""},
		{missing[:12], "", ""},
		{"main^{" + missing + "}", "", ""},
		{"nothing", "", ""},
		{"pr/8", "", ""},
		{"deadbeef", "", ""},
		{"main2", "", ""},
		{"mai", "", ""},
	} {
		for depth, f := range fetchers {
			for _, way := range []string{"cold", "warm"} {
				req := authorized(r.url, c.version)
				req.Depth = depth
				if c.commit == "" {
					wantError(t, f, req, "reference not found for primary source and source version "+c.version)
					continue
				}
				tree := fetch(t, f, req)
				if tree.Commit != c.commit || tree.Ref != c.ref {
					t.Errorf("%s, depth %d, %s: got %s %q, want %s %q", c.version, depth, way, tree.Commit, tree.Ref, c.commit, c.ref)
				}
				if got := git(t, tree.Dir, "status", "--porcelain"); got != "" {
					t.Errorf("%s, depth %d: status of the tree is %q", c.version, depth, got)
				}
				if got := git(t, tree.Dir, "rev-parse", "HEAD"); got != c.commit {
					t.Errorf("%s, depth %d: HEAD is %s, want %s", c.version, depth, got, c.commit)
				}
				if way == "cold" {
					git(t, tree.Dir, "fsck", "--strict")
				}
			}
		}
	}
}

// What a fetch costs is a promise of the package.
func TestFetch_Requests(t *testing.T) {
	t.Parallel()
	const ask, talk, get = "POST /private.git/git-upload-pack", "POST /private.git/git-upload-pack", "GET /private.git/info/refs"
	h := newHost(t)
	r := h.repo("private.git")
	r.commit("refs/heads/main", "a", "1")
	for _, c := range []struct {
		name  string
		depth int
		cold  []string
		push  []string
	}{
		{"depth 1", 1, []string{ask, get, talk}, []string{ask, get, talk}},
		{"whole", 0, []string{ask, ask, get, talk}, []string{ask, ask, get, talk}},
	} {
		f := newFetcher(t)
		req := authorized(r.url, "main")
		req.Depth = c.depth
		check := func(when string, want []string) {
			t.Helper()
			h.requests()
			tree := fetch(t, f, req)
			if got := h.requests(); !cmp.Equal(got, want) {
				t.Errorf("%s, %s: requests are\n%q, want\n%q", c.name, when, got, want)
			}
			if git(t, tree.Dir, "rev-parse", "HEAD") != git(t, r.work, "rev-parse", "HEAD") {
				t.Errorf("%s, %s: not the newest commit", c.name, when)
			}
		}
		check("cold", c.cold)
		check("warm", []string{ask})
		r.commit("refs/heads/main", "a", c.name)
		check("after a push", c.push)
		req.Version = git(t, r.work, "rev-parse", "HEAD")
		check("by id", []string{ask})
		check("by id, warm", []string{ask})
		var from []string
		for range 2 {
			fetch(t, f, req)
			h.mu.Lock()
			from = append(from, h.seen[len(h.seen)-1].RemoteAddr)
			h.mu.Unlock()
		}
		if from[0] != from[1] {
			t.Errorf("%s: two warm fetches use connections %q, want one", c.name, from)
		}
	}
}

// nobody is where nobody listens: the system gives out higher ports only, so
// that no other test gets this one.
const nobody = "127.0.0.1:1"

func TestFetch_Errors(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("private.git")
	r.commit("refs/heads/main", "a", "1")
	h.repo("empty.git")
	anonymous := func(url, version string) Request { return Request{Key: "anonymous", URL: url, Version: version} }
	wrong := authorized(r.url, "main")
	wrong.Authorize = func(context.Context) (string, error) { return "Basic d3Jvbmc6d3Jvbmc=", nil }
	named := authorized(r.url, "nothing")
	named.Name = "second_source"
	f := newFetcher(t)
	for _, c := range []struct {
		req  Request
		want string
	}{
		{anonymous(r.url, ""), "authentication required for primary source"},
		{anonymous(r.url, "v1"), "authentication required for primary source and source version v1"},
		{wrong, "authorization failed for primary source and source version main"},
		{authorized(h.URL+"/none.git", "main"), "repository not found for primary source and source version main"},
		{authorized(h.URL+"/none.git", ""), "repository not found for primary source"},
		{named, "reference not found for second_source and source version nothing"},
		{anonymous(h.URL+"/empty.git", ""), "reference not found for primary source"},
		{anonymous(h.URL+"/empty.git", strings.Repeat("1", 40)), "reference not found for primary source and source version " + strings.Repeat("1", 40)},
		{anonymous(h.URL+"/empty.git", "abcdef12"), "reference not found for primary source and source version abcdef12"},
		{anonymous("http://"+nobody+"/r.git", ""), "no connection to " + nobody + ": dial: connect: connection refused for primary source"},
		{anonymous("https://user:pw@example.com/r.git", ""), "an address must not have a user name or password (primary source)"},
		{anonymous("ssh://git@example.com/r.git", ""), "only https addresses can be fetched (primary source)"},
		{anonymous("https://example.com/a\n.git", ""), "the address has characters that no address has (primary source)"},
		{anonymous("https://example.com/a%0d%0a.git", ""), "the address has control characters (primary source)"},
		{anonymous("https://example.com/a/../b", ""), "an address must not have . or .. in its path (primary source)"},
	} {
		wantError(t, f, c.req, c.want)
	}
}

// What nobody should be able to do with a source version: be an option, end a
// line, reach a shell.
func TestFetch_HostileVersions(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("private.git")
	want := r.commit("refs/heads/main", "a", "1")
	f := newFetcher(t)
	for _, name := range []string{"--upload-pack=x", "-x", "$(id)", "`id`", "a;id", "'", "a\"b", "a|b"} {
		git(t, r.work, "push", "-q", "up", "HEAD:refs/heads/"+name)
		for _, depth := range []int{0, 1} {
			req := authorized(r.url, name)
			req.Depth = depth
			if tree := fetch(t, f, req); tree.Commit != want {
				t.Errorf("version %q, depth %d: got %s", name, depth, tree.Commit)
			}
		}
	}
	for _, version := range []string{"main\r", "main\n", "main\x00", "main\nref-prefix refs/", "--upload-pack=touch /tmp/x", "../main", "main..main", "main~1", "main^", "@{-1}", ":a", "refs/../x", "main:a", strings.Repeat("a", 2000)} {
		wantError(t, f, authorized(r.url, version), "reference not found for primary source and source version "+printable(version))
	}
}

func TestFetch_RevokedTokenAfterWarmCache(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("private.git")
	id := r.commit("refs/heads/main", "a", "1")
	f := newFetcher(t)
	for _, version := range []string{"main", id} {
		fetch(t, f, authorized(r.url, version))
	}
	h.set(func() { h.token = "" })
	for _, version := range []string{"main", id} {
		wantError(t, f, authorized(r.url, version), "authorization failed for primary source and source version "+version)
	}
}

// What one key fetched does not help another.
func TestFetch_KeysShareNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("open.git")
	r.commit("refs/heads/main", "a", "1")
	f := newFetcher(t)
	one := fetch(t, f, Request{Key: "one", URL: r.url})
	two := fetch(t, f, Request{Key: "two", URL: r.url})
	again := fetch(t, f, Request{Key: "one", URL: r.url, Version: "main"})
	if one.Dir == two.Dir {
		t.Errorf("two keys share %s", one.Dir)
	}
	if one.Dir != again.Dir {
		t.Errorf("HEAD and main are %s and %s, want the same tree", one.Dir, again.Dir)
	}
	if n := len(entries(t, f.dir("mirrors"))); n != 2 {
		t.Errorf("%d mirrors, want 2", n)
	}
}

func entries(t testing.TB, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestFetch_TreeIsWhatAPersonExpects(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("private.git")
	r.commit("refs/heads/old", "a", "1")
	git(t, r.work, "tag", "v1")
	git(t, r.work, "push", "-q", "up", "v1")
	r.commit("refs/heads/main", "a", "2", "dir/b", "b")
	if err := errors.Join(os.Symlink("/etc/passwd", filepath.Join(r.work, "out")), os.Chmod(filepath.Join(r.work, "a"), 0o755)); err != nil {
		t.Fatal(err)
	}
	want := r.commit("refs/heads/main")
	f := newFetcher(t)
	whole := fetch(t, f, authorized(r.url, "main"))
	shallow := authorized(r.url, "main")
	shallow.Depth = 1
	one := fetch(t, f, shallow)
	for _, tree := range []*Tree{whole, one} {
		if got := git(t, tree.Dir, "remote", "get-url", "origin"); got != r.url {
			t.Errorf("origin is %s, want %s", got, r.url)
		}
		if got := git(t, tree.Dir, "rev-parse", "--abbrev-ref", "HEAD"); got != "HEAD" {
			t.Errorf("HEAD is %s, want it detached", got)
		}
		if got, err := os.Readlink(filepath.Join(tree.Dir, "out")); got != "/etc/passwd" {
			t.Errorf("link is %q, %v", got, err)
		}
		if info, err := os.Stat(filepath.Join(tree.Dir, "a")); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("mode of a program: %v, %v", info.Mode(), err)
		}
		if info, err := os.Stat(tree.Dir); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("mode of the tree: %v, %v", info.Mode(), err)
		}
		wantConfig := "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n" +
			"[remote \"origin\"]\n\turl = \"" + r.url + "\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
		if diff := cmp.Diff(wantConfig, read(t, tree, ".git/config")); diff != "" {
			t.Errorf("config (-want +got):\n%s", diff)
		}
	}
	log := func(tree *Tree) string { return git(t, tree.Dir, "rev-list", "--count", "HEAD") }
	if log(whole) != "3" || log(one) != "1" {
		t.Errorf("history: %s and %s commits, want 3 and 1", log(whole), log(one))
	}
	refs := func(tree *Tree) string { return git(t, tree.Dir, "for-each-ref", "--format=%(refname)") }
	if diff := cmp.Diff("refs/remotes/origin/main\nrefs/remotes/origin/old\nrefs/tags/v1", refs(whole)); diff != "" {
		t.Errorf("refs of the whole history (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("refs/remotes/origin/main", refs(one)); diff != "" {
		t.Errorf("refs at depth 1 (-want +got):\n%s", diff)
	}
	if got := git(t, whole.Dir, "describe", "--tags"); !strings.HasPrefix(got, "v1-2-g") || whole.Commit != want {
		t.Errorf("describe is %s at %s", got, whole.Commit)
	}
}

// A depth stays what it is, also after later fetches into the same mirror.
func TestFetch_Depth(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("open.git")
	f := newFetcher(t, func(c *Config) { c.KeepTrees = -1 })
	for i := range 8 {
		r.commit("refs/heads/main", "a", fmt.Sprint(i))
		if i < 4 {
			r.push("refs/heads/old")
		}
		if i < 3 {
			continue
		}
		for _, version := range []string{"main", "old"} {
			for depth := 1; depth < 4; depth++ {
				tree, err := f.Fetch(t.Context(), Request{URL: r.url, Version: version, Depth: depth})
				if err != nil {
					t.Fatal(err)
				}
				if got := git(t, tree.Dir, "rev-list", "--count", "HEAD"); got != fmt.Sprint(depth) {
					t.Errorf("push %d of %s, depth %d: %s commits", i, version, depth, got)
				}
				git(t, tree.Dir, "fsck")
				tree.Release()
			}
		}
	}
}

func TestFetch_ManyPushesAndRepack(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("open.git")
	for _, depth := range []int{0, 1} {
		f := newFetcher(t)
		for i := range maxPacks + 3 {
			want := r.commit("refs/heads/main", "a", fmt.Sprint(depth, i))
			tree, err := f.Fetch(t.Context(), Request{URL: r.url, Depth: depth})
			if err != nil {
				t.Fatal(err)
			}
			if tree.Commit != want || read(t, tree, "a") != fmt.Sprint(depth, i) {
				t.Errorf("depth %d, push %d: got %s, want %s", depth, i, tree.Commit, want)
			}
			if i >= maxPacks {
				git(t, tree.Dir, "fsck")
			}
			tree.Release()
		}
		packs, err := filepath.Glob(f.dir("mirrors", "*", "objects/pack/*.pack"))
		if err != nil || len(packs) == 0 || len(packs) > maxPacks {
			t.Errorf("depth %d: %d packs, %v; want 1 to %d", depth, len(packs), err, maxPacks)
		}
	}
}

func TestFetch_HistoryRewritten(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("open.git")
	r.commit("refs/heads/main", "a", "1")
	r.push("refs/heads/gone")
	f := newFetcher(t)
	fetch(t, f, Request{URL: r.url})
	git(t, r.work, "checkout", "-q", "--orphan", "other")
	want := r.commit("refs/heads/main", "b", "2")
	git(t, r.work, "push", "-q", "up", ":gone")
	git(t, r.work, "push", "-q", "up", "HEAD:refs/heads/gone/deeper")
	tree := fetch(t, f, Request{URL: r.url})
	if tree.Commit != want {
		t.Errorf("got %s, want %s", tree.Commit, want)
	}
	if got := git(t, tree.Dir, "for-each-ref", "--format=%(refname)"); got != "refs/remotes/origin/gone/deeper\nrefs/remotes/origin/main" {
		t.Errorf("refs are %q", got)
	}
}

func TestFetch_OldProtocolAndSHA256(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"sha1", "sha256"} {
		for _, old := range []bool{false, true} {
			h := newHost(t)
			h.version0 = old
			r := h.repo("private.git", "--object-format="+format)
			first := r.commit("refs/heads/main", "a", "1")
			git(t, r.work, "tag", "-a", "v1", "-m", "one")
			git(t, r.work, "push", "-q", "up", "v1")
			second := r.commit("refs/heads/main", "a", "2")
			git(t, r.bare, "symbolic-ref", "HEAD", "refs/heads/main")
			f := newFetcher(t)
			for _, version := range []string{"", "main", "v1", first, second, first[:9]} {
				for _, depth := range []int{0, 1} {
					req := authorized(r.url, version)
					req.Depth = depth
					tree := fetch(t, f, req)
					want := second
					if version == "v1" || version != "" && strings.HasPrefix(first, version) {
						want = first
					}
					if tree.Commit != want {
						t.Errorf("%s, old %t, version %q, depth %d: got %s, want %s", format, old, version, depth, tree.Commit, want)
					}
					git(t, tree.Dir, "fsck")
				}
			}
			h.requests()
			fetch(t, f, authorized(r.url, "main"))
			if got := h.requests(); len(got) != 1 {
				t.Errorf("%s, old %t: a warm fetch makes the requests %q, want one", format, old, got)
			}
		}
	}
}

func TestFetch_Parallel(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("private.git")
	r.commit("refs/heads/main", "a", "1")
	r.push("refs/heads/other")
	f := newFetcher(t)
	var wg sync.WaitGroup
	dirs := make([]string, 24)
	for i := range dirs {
		wg.Go(func() {
			req := authorized(r.url, []string{"main", "other", "HEAD"}[i%3])
			req.Depth = i % 2
			tree, err := f.Fetch(t.Context(), req)
			if err != nil {
				t.Error(err)
				return
			}
			defer tree.Release()
			dirs[i] = tree.Dir
			if got := read(t, tree, "a"); got != "1" {
				t.Errorf("content is %q", got)
			}
		})
	}
	wg.Wait()
	for i := range dirs[6:] {
		if dirs[i] != dirs[i+6] {
			t.Errorf("fetch %d got %s, fetch %d of the same got %s", i, dirs[i], i+6, dirs[i+6])
		}
	}
	packs := 0
	for _, request := range h.requests() {
		if strings.HasPrefix(request, "GET") {
			packs++
		}
	}
	if packs != 2 {
		t.Errorf("git fetched %d times, want once for each depth", packs)
	}
}

// The first of two fetches of the same tree is cancelled; the second is not
// touched by that.
func TestFetch_CancelEndsGitAndNobodyElse(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("private.git")
	r.commit("refs/heads/main", "a", "1")
	f := newFetcher(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	h.set(func() {
		h.hook = func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method == http.MethodGet { // git's
				once.Do(func() {
					close(arrived)
					select {
					case <-release:
					case <-req.Context().Done():
					}
				})
			}
			return false
		}
	})
	why := errors.New("the build was stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	first := make(chan error, 1)
	go func() { // ends with ctx
		_, err := f.Fetch(ctx, authorized(r.url, "main"))
		first <- err
	}()
	<-arrived
	if n := len(processes(t, f.config.Dir)); n == 0 {
		t.Error("no git process found: the test looks in the wrong place")
	}
	second := make(chan error, 1)
	go func() { // ends when the first has
		tree, err := f.Fetch(t.Context(), authorized(r.url, "main"))
		if err == nil {
			tree.Release()
		}
		second <- err
	}()
	cancel(why)
	if err := <-first; err != why {
		t.Errorf("the cancelled fetch says %v, want %v", err, why)
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("the other fetch: %v", err)
	}
	if left := processes(t, f.config.Dir); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
}

func TestFetch_PassingFailuresAreRepeated(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("private.git")
	r.commit("refs/heads/main", "a", "1")
	for _, c := range []struct {
		name  string
		fails func(w http.ResponseWriter, n int) bool
		want  string // "" is success
	}{
		{"502 now and then", func(w http.ResponseWriter, n int) bool {
			if n == 3 || n == 5 || n > 6 {
				return false
			}
			w.WriteHeader(http.StatusBadGateway)
			return true
		}, ""},
		{"connection lost now and then", func(w http.ResponseWriter, n int) bool {
			if n != 1 && n != 3 && n != 5 {
				return false
			}
			panic(http.ErrAbortHandler)
		}, ""},
		{"always 503", func(w http.ResponseWriter, n int) bool { w.WriteHeader(503); return true },
			h.host() + " answered with status 503 for primary source"},
		{"429", func(w http.ResponseWriter, n int) bool { w.WriteHeader(429); return true },
			h.host() + " limits requests at the moment; start the build again later: status 429 for primary source"},
		{"a login page", func(w http.ResponseWriter, n int) bool {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>", planted)
			return true
		}, h.host() + " did not answer like a git repository for primary source"},
		{"garbage", func(w http.ResponseWriter, n int) bool {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			fmt.Fprint(w, "00zz", planted)
			return true
		}, h.host() + " did not answer like a git repository for primary source"},
		{"cut off", func(w http.ResponseWriter, n int) bool {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			fmt.Fprint(w, "0032")
			return true
		}, h.host() + " did not answer like a git repository for primary source"},
	} {
		f := newFetcher(t)
		n := 0
		h.set(func() {
			h.hook = func(w http.ResponseWriter, r *http.Request) bool {
				h.mu.Lock()
				n++
				now := n
				h.mu.Unlock()
				return c.fails(w, now)
			}
		})
		if c.want == "" {
			fetch(t, f, authorized(r.url, ""))
		} else {
			wantError(t, f, authorized(r.url, ""), c.want)
		}
	}
}

func (h *host) host() string { return hostOf(h.URL) }

// A host that breaks off in the middle of the pack, and one that sends too much.
func TestFetch_TransferFails(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("private.git")
	r.commit("refs/heads/main", "a", strings.Repeat("0123456789", 1000))
	small := newFetcher(t, func(c *Config) { c.MaxBytes = 300 })
	wantError(t, small, authorized(r.url, "main"), "the repository is too large to be fetched for primary source and source version main")

	f := newFetcher(t)
	h.set(func() {
		h.hook = func(w http.ResponseWriter, req *http.Request) bool {
			if req.Method == http.MethodPost && req.Header.Get("User-Agent") != "" && strings.Contains(req.Header.Get("Accept"), "upload-pack-result") && req.ContentLength > 150 {
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
				fmt.Fprint(w, "000dpackfile\n0011\x01PACK")
				http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			return false
		}
	})
	wantError(t, f, authorized(r.url, "main"), "no connection to "+h.host()+": it closed the connection for primary source and source version main")
	h.set(func() { h.hook = nil })
	fetch(t, f, authorized(r.url, "main"))
}

func TestFetch_CacheAfterCrash(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("private.git")
	r.commit("refs/heads/main", "a", "1")
	f := newFetcher(t)
	old := fetch(t, f, authorized(r.url, "main"))
	mirror := f.dir("mirrors", entries(t, f.dir("mirrors"))[0])
	// What git and we leave when killed.
	for _, name := range []string{
		filepath.Join(mirror, "packed-refs.lock"), filepath.Join(mirror, "shallow.lock"), filepath.Join(mirror, "packed-refs.new"),
		filepath.Join(mirror, "objects/pack/tmp_pack_abc"), filepath.Join(mirror, "objects/pack/pack-1.keep"),
		f.dir("tmp", "half", "a"),
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte("half"), 0o444)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = newFetcher(t, func(c *Config) { c.Dir = f.config.Dir })
	h.requests()
	if tree := fetch(t, f, authorized(r.url, "main")); tree.Dir != old.Dir {
		t.Errorf("the tree is %s after a restart, was %s", tree.Dir, old.Dir)
	}
	if n := len(h.requests()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	want := r.commit("refs/heads/main", "a", "2")
	if tree := fetch(t, f, authorized(r.url, "main")); tree.Commit != want {
		t.Errorf("got %s, want %s", tree.Commit, want)
	}
	f.Close()
	if left := entries(t, f.dir("tmp")); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(mirror, "objects/pack/*p*_*")); len(left) > 0 {
		t.Errorf("left in the mirror: %v", left)
	}

	// Another boot: trees may not have reached the disk.
	if err := os.WriteFile(f.dir("trees", "boot"), []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	f = newFetcher(t, func(c *Config) { c.Dir = f.config.Dir })
	if len(f.trees) != 0 {
		t.Errorf("%d trees after a reboot, want none", len(f.trees))
	}
	h.requests()
	fetch(t, f, authorized(r.url, "main"))
	for _, request := range h.requests() {
		if strings.HasPrefix(request, "GET") {
			t.Error("the mirror was fetched again after a reboot")
		}
	}

	// A mirror that nobody has used for long goes.
	long := time.Now().Add(-31 * 24 * time.Hour)
	if err := os.Chtimes(mirror, long, long); err != nil {
		t.Fatal(err)
	}
	f = newFetcher(t, func(c *Config) { c.Dir = f.config.Dir })
	f.Close()
	if left := entries(t, f.dir("mirrors")); len(left) > 0 {
		t.Errorf("left in mirrors: %v", left)
	}
}

func TestFetch_BrokenMirrorIsMadeAnew(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, mirror string){
		"packs gone": func(t *testing.T, mirror string) {
			packs, _ := filepath.Glob(filepath.Join(mirror, "objects/pack/*"))
			for _, p := range packs {
				os.Remove(p)
			}
		},
		"packs cut": func(t *testing.T, mirror string) {
			packs, _ := filepath.Glob(filepath.Join(mirror, "objects/pack/*.pack"))
			for _, p := range packs {
				info, _ := os.Stat(p)
				os.Remove(p)
				os.WriteFile(p, make([]byte, info.Size()), 0o444)
			}
		},
		"no config": func(t *testing.T, mirror string) { os.Remove(filepath.Join(mirror, "config")) },
		"no HEAD":   func(t *testing.T, mirror string) { os.Remove(filepath.Join(mirror, "HEAD")) },
	} {
		for _, depth := range []int{0, 1} {
			t.Run(fmt.Sprint(name, ", depth ", depth), func(t *testing.T) {
				t.Parallel()
				h := newHost(t)
				r := h.repo("private.git")
				r.commit("refs/heads/main", "a", "1")
				f := newFetcher(t)
				req := authorized(r.url, "main")
				req.Depth = depth
				fetch(t, f, req)
				spoil(t, f.dir("mirrors", entries(t, f.dir("mirrors"))[0]))
				want := r.commit("refs/heads/main", "b", "2")
				if tree := fetch(t, f, req); tree.Commit != want || read(t, tree, "a") != "1" {
					t.Errorf("got %s, want %s", tree.Commit, want)
				}
			})
		}
	}
}

func TestTrees_UnusedOnesGoUsedOnesStay(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	r := h.repo("open.git")
	f := newFetcher(t, func(c *Config) { c.KeepTrees = 2 })
	var trees []*Tree
	for i := range 5 {
		r.commit("refs/heads/main", "a", fmt.Sprint(i))
		trees = append(trees, fetch(t, f, Request{URL: r.url}))
	}
	there := func() (s string) {
		for i, tree := range trees {
			if _, err := os.Stat(tree.Dir); err == nil {
				s += fmt.Sprint(i)
			}
		}
		return s
	}
	for i, want := range []string{"01234", "01234", "1234"} {
		trees[i].Release()
		trees[i].Release()
		if got := there(); got != want {
			t.Errorf("after release of %d the trees %s are there, want %s", i, got, want)
		}
	}
}

// Started as root, git runs as somebody else, and so the files are theirs.
func TestFetch_AsAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can run git as another user")
	}
	h := newHost(t)
	r := h.repo("private.git")
	r.commit("refs/heads/main", "a", "1", "dir/b", "2")
	parent := t.TempDir()
	config := Config{Dir: filepath.Join(parent, "cache"), Transport: &http.Transport{}, UID: 54321, GID: 54321}
	if err := errors.Join(os.Chmod(parent, 0o700), os.Chmod(filepath.Dir(parent), 0o711)); err != nil {
		t.Fatal(err)
	}
	if _, err := New(config); err == nil || !strings.Contains(err.Error(), "user 54321 must be able to pass through the directories above "+config.Dir) {
		t.Errorf("New where git cannot go: %v", err)
	}
	if err := os.Chmod(parent, 0o711); err != nil {
		t.Fatal(err)
	}
	f := newFetcher(t, func(c *Config) { *c = config })
	for _, depth := range []int{0, 1} {
		req := authorized(r.url, "main")
		req.Depth = depth
		tree := fetch(t, f, req)
		err := filepath.WalkDir(tree.Dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if uid, gid := owner(path); uid != 54321 || gid != 54321 {
				t.Errorf("%s belongs to %d:%d", path, uid, gid)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	r.commit("refs/heads/main", "a", "2")
	fetch(t, f, authorized(r.url, "main"))
}

package source

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// addSubmodule adds what git submodule add would, for any path and address.
func (r *repo) addSubmodule(path, address string, sub *repo) {
	r.t.Helper()
	r.gitmodules(fmt.Sprintf("[submodule %q]\n\tpath = %s\n\turl = %s\n", path, path, address))
	r.gitlink(path, git(r.t, sub.work, "rev-parse", "HEAD"))
}

func (r *repo) gitmodules(text string) {
	r.t.Helper()
	f, err := os.OpenFile(filepath.Join(r.work, ".gitmodules"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		r.t.Fatal(err)
	}
}

// gitlink puts a gitlink into the index; commit keeps it, since an empty
// directory is there.
func (r *repo) gitlink(path, id string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Join(r.work, path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	git(r.t, r.work, "update-index", "--add", "--cacheinfo", "160000,"+id+","+path)
}

func TestSubmodules(t *testing.T) {
	t.Parallel()
	h, other := newHost(t), newHost(t)
	leaf := other.repo("open.git")
	leaf.commit("refs/heads/main", "leaf", "leaf")
	inner := h.repo("private-inner.git")
	inner.commit("refs/heads/main", "inner", "1")
	middle := h.repo("private-middle.git")
	middle.addSubmodule("deep/inner", "../private-inner.git", inner)
	middle.commit("refs/heads/main", "middle", "middle")
	pinned := git(t, inner.work, "rev-parse", "HEAD")
	inner.commit("refs/heads/main", "inner", "2") // the pin is no tip any more
	top := h.repo("private-top.git")
	top.addSubmodule("libs/middle", "./../private-middle.git", middle)
	top.addSubmodule("leaf", other.URL+"/open.git", leaf)
	top.gitmodules("[submodule \"gone\"]\n\tpath = gone\n\turl = ext::sh -c touch% /tmp/pwned\n") // no such gitlink
	top.gitmodules("[submodule \"leaf\"]\n\tupdate = none\n\tbranch = other\n")
	top.commit("refs/heads/main", "top", "top")
	for _, old := range []bool{false, true} {
		h.set(func() { h.version0 = old })
		for _, depth := range []int{0, 1} {
			f := newFetcher(t)
			req := authorized(top.url, "main")
			req.Depth = depth
			// http is for the parent's own host only; the operator's word is needed for another.
			req.Upstream = func(s string) (string, bool, error) {
				return strings.Replace(s, "https://leaf.example.com", other.URL, 1), strings.HasPrefix(s, h.URL), nil
			}
			plain := fetch(t, f, req)
			if got := entries(t, filepath.Join(plain.Dir, "libs/middle")); len(got) > 0 {
				t.Errorf("without Submodules the directory has %q", got)
			}
			req.Submodules = true
			wantError(t, f, req, "only https addresses can be fetched: "+other.URL+"/open.git, submodule leaf of primary source and source version main")
		}
	}
	text := strings.ReplaceAll(string(must(os.ReadFile(filepath.Join(top.work, ".gitmodules")))), other.URL, "https://leaf.example.com")
	if err := os.WriteFile(filepath.Join(top.work, ".gitmodules"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	want := top.commit("refs/heads/main")
	for _, old := range []bool{false, true} {
		h.set(func() { h.version0 = old })
		for _, depth := range []int{0, 1} {
			f := newFetcher(t)
			req := authorized(top.url, "main")
			req.Depth, req.Submodules = depth, true
			req.Upstream = func(s string) (string, bool, error) {
				return strings.Replace(s, "https://leaf.example.com", other.URL, 1), strings.HasPrefix(s, h.URL), nil
			}
			tree := fetch(t, f, req)
			if tree.Commit != want {
				t.Errorf("got %s, want %s", tree.Commit, want)
			}
			for name, content := range map[string]string{"top": "top", "leaf/leaf": "leaf", "libs/middle/middle": "middle", "libs/middle/deep/inner/inner": "1"} {
				if got := read(t, tree, name); got != content {
					t.Errorf("old %t, depth %d: %s is %q, want %q", old, depth, name, got, content)
				}
			}
			if got := git(t, filepath.Join(tree.Dir, "libs/middle/deep/inner"), "rev-parse", "HEAD"); got != pinned {
				t.Errorf("inner is at %s, want %s", got, pinned)
			}
			if got := git(t, filepath.Join(tree.Dir, "leaf"), "remote", "get-url", "origin"); got != "https://leaf.example.com/open.git" {
				t.Errorf("origin of leaf is %s", got)
			}
			if got := git(t, tree.Dir, "status", "--porcelain"); got != "" {
				t.Errorf("status is %q", got)
			}
		}
	}
	other.received(t)
	if len(other.requests()) == 0 {
		t.Error("the other host was not asked")
	}
	if _, err := os.Stat("/tmp/pwned"); err == nil {
		t.Error("a repository ran a program")
	}
}

// A public repository with a private submodule: the tree has private content,
// so it must not be found by somebody without the token.
func TestSubmodules_PrivateInPublic(t *testing.T) {
	t.Parallel()
	h, other := newHost(t), newHost(t)
	sub := h.repo("private-sub.git")
	sub.commit("refs/heads/main", "s", "secret")
	top := other.repo("open.git")
	top.addSubmodule("sub", "https://sub.example.com/private-sub.git", sub)
	top.commit("refs/heads/main", "top", "top")
	f := newFetcher(t)
	req := authorized(top.url, "main")
	req.Submodules = true
	req.Upstream = func(s string) (string, bool, error) {
		s = strings.Replace(s, "https://sub.example.com", h.URL, 1)
		return s, strings.HasPrefix(s, h.URL), nil
	}
	if got := read(t, fetch(t, f, req), "sub/s"); got != "secret" {
		t.Errorf("content of the submodule is %q", got)
	}
	other.received(t)
	req.Key, req.Authorize = "somebody else", nil
	wantError(t, f, req, "authentication required for submodule sub of primary source and source version main")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Each of these repositories wants something that it must not get.
func TestSubmodules_Hostile(t *testing.T) {
	t.Parallel()
	h, evil := newHost(t), newHost(t)
	sub := h.repo("private-sub.git")
	sub.commit("refs/heads/main", "s", "1")
	lure := evil.repo("lure.git")
	lure.commit("refs/heads/main", "s", "1")
	simple := func(address string) func(*repo) {
		return func(r *repo) { r.addSubmodule("sub", address, sub) }
	}
	const plain = "main"
	for _, c := range []struct {
		name string
		make func(*repo)
		want string // the beginning of the error; "" is success
	}{
		{"file", simple("file:///etc"), "only https addresses can be fetched: file:///etc, submodule sub of"},
		{"path", simple("/etc"), "only https addresses can be fetched: /etc, submodule sub of"},
		{"ext", simple("ext::sh -c touch% /tmp/pwned"), "the address has characters that no address has: ext::sh -c touch% /tmp/pwned, submodule sub of"},
		{"ext without spaces", simple("ext::id"), "only https addresses can be fetched: ext::id, submodule sub of"},
		{"ssh", simple("git@github.com:o/r.git"), "the address cannot be understood: git@github.com:o/r.git, submodule sub of"},
		{"out of the host", simple("../../../../evil.example.com/x"), "the relative address leads out of the host: ../../../../evil.example.com/x, submodule sub of"},
		{"plain http elsewhere", simple(evil.URL + "/lure.git"), "only https addresses can be fetched: " + evil.URL + "/lure.git, submodule sub of"},
		{"credentials", simple("https://a:b@example.com/r.git"), "an address must not have a user name or password: https://a:b@example.com/r.git, submodule sub of"},
		{"tab", simple("https://example.com/%09host=github.com/r"), "the address has control characters: https://example.com/%09host=github.com/r, submodule sub of"},
		{"missing", simple("../private-none.git"), "repository not found for submodule sub of"},
		{"commit of another", func(r *repo) {
			r.addSubmodule("sub", "../private-sub.git", lure2(h))
		}, "reference not found for submodule sub of"},
		{"itself", func(r *repo) {
			r.commit("refs/heads/main", "a", "b")
			r.addSubmodule("sub", "./../private-r.git", r)
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h2 := newHost(t)
			for _, name := range []string{"private-sub.git", "private-r.git"} {
				if err := os.CopyFS(filepath.Join(h2.root, name), os.DirFS(sub.bare)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.RemoveAll(filepath.Join(h2.root, "private-r.git")); err != nil {
				t.Fatal(err)
			}
			r := h2.repo("private-r.git")
			c.make(r)
			r.commit("refs/heads/main", "top", "top")
			f := newFetcher(t)
			req := authorized(r.url, plain)
			req.Submodules, req.Depth = true, 1
			if c.want == "" {
				fetch(t, f, req)
			} else {
				wantError(t, f, req, c.want+" primary source and source version main")
			}
			// Nothing half-made is left.
			f.Close()
			if left := entries(t, f.dir("tmp")); len(left) > 0 {
				t.Errorf("left in tmp: %v", left)
			}
		})
	}
	evil.received(t)
	if got := evil.requests(); len(got) > 0 {
		t.Errorf("requests to the evil host: %q", got)
	}
	if _, err := os.Stat("/tmp/pwned"); err == nil {
		t.Error("a repository ran a program")
	}
}

// lure2 is a repository whose commits no other has.
func lure2(h *host) *repo {
	r := h.repo("private-lure2.git")
	r.commit("refs/heads/main", "unique", "unique")
	return r
}

// What git's own checks must refuse, on the way in.
func TestHostileObjects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		make func(t *testing.T, r *repo)
	}{
		{"submodule name", func(t *testing.T, r *repo) {
			r.gitmodules("[submodule \"../../hooks\"]\n\tpath = sub\n\turl = https://example.com/r.git\n")
		}},
		{"newline in a submodule address", func(t *testing.T, r *repo) {
			r.gitmodules("[submodule \"a\"]\n\tpath = sub\n\turl = https://example.com/%0ahost=github.com/r\n")
		}},
		{"submodule address is an option", func(t *testing.T, r *repo) {
			r.gitmodules("[submodule \"a\"]\n\tpath = sub\n\turl = -u./payload\n")
		}},
		{"submodule path is an option", func(t *testing.T, r *repo) {
			r.gitmodules("[submodule \"a\"]\n\tpath = -sub\n\turl = https://example.com/r.git\n")
		}},
		{"update is a command", func(t *testing.T, r *repo) {
			r.gitmodules("[submodule \"a\"]\n\tpath = sub\n\turl = https://example.com/r.git\n\tupdate = !touch /tmp/pwned\n")
		}},
		{"gitmodules is a link", func(t *testing.T, r *repo) {
			r.entry(t, "120000", ".gitmodules")
		}},
		{"a .git directory", func(t *testing.T, r *repo) { r.entry(t, "040000", ".git") }},
		{"a .GIT directory", func(t *testing.T, r *repo) { r.entry(t, "040000", ".GIT") }},
		{"a git~1 directory", func(t *testing.T, r *repo) { r.entry(t, "040000", "git~1") }},
		{"dot dot", func(t *testing.T, r *repo) { r.entry(t, "040000", "..") }},
	} {
		for _, depth := range []int{0, 1} {
			t.Run(fmt.Sprint(c.name, ", depth ", depth), func(t *testing.T) {
				t.Parallel()
				h := newHost(t)
				r := h.repo("private.git")
				c.make(t, r)
				if git(t, r.bare, "for-each-ref") == "" {
					r.commit("refs/heads/main")
				}
				f := newFetcher(t)
				req := authorized(r.url, "main")
				req.Submodules, req.Depth = true, depth
				_, err := f.Fetch(t.Context(), req)
				if err == nil || !strings.Contains(err.Error(), "git could not use the repository") {
					t.Errorf("got %v, want git to refuse the repository", err)
				}
				if left := entries(t, f.dir("mirrors")); len(left) > 0 {
					t.Errorf("the mirror is left: %v", left)
				}
				if _, err := os.Stat("/tmp/pwned"); err == nil {
					t.Error("a repository ran a program")
				}
			})
		}
	}
}

// entry pushes a commit whose tree has one entry that git would not add: a
// directory, or a link.
func (r *repo) entry(t *testing.T, mode, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.work, "content"), []byte("/etc/passwd"), 0o644); err != nil {
		t.Fatal(err)
	}
	id, kind := git(t, r.work, "hash-object", "-w", "content"), "blob"
	if mode == "040000" {
		id, kind = mktree(t, r.work, "100644 blob "+id+"\tconfig\n"), "tree"
	}
	outer := mktree(t, r.work, mode+" "+kind+" "+id+"\t"+name+"\n")
	commit := git(t, r.work, "commit-tree", "-m", "x", outer)
	git(t, r.work, "push", "-q", "up", commit+":refs/heads/main")
}

// A path of a submodule that leads through a link that the same tree has.
func TestSubmodules_PathThroughALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outside := t.TempDir()
	for _, d := range []string{"real/empty", "full"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(outside, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "full", "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"link": outside, "inside": "real", "real/last": "empty"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for path, ok := range map[string]bool{
		"real/empty": true, "link/sub": false, "inside/empty": false, "real/last": false, "full": false, "full/file": false, "none": false,
		"../x": false, "/etc": false, "real/../real/empty": false, ".git/x": false, "real/.GIT": false, "real//empty": false, "-x": false, "real/empty\r": false, "real/empty/": false, ".": false,
	} {
		if err := checkPlace(dir, path); (err == nil) != ok {
			t.Errorf("checkPlace(%q) = %v, want ok %t", path, err, ok)
		}
	}
}

func TestSubmodules_Bounds(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	sub := h.repo("private-sub.git")
	sub.commit("refs/heads/main", "s", "1")
	below := sub
	for i := range 6 {
		r := h.repo(fmt.Sprintf("private-level%d.git", i))
		r.addSubmodule("sub", "../"+filepath.Base(below.bare), below)
		r.commit("refs/heads/main")
		below = r
	}
	req := authorized(below.url, "main")
	req.Submodules, req.Depth = true, 1
	f := newFetcher(t)
	wantError(t, f, req, "submodules are nested more than 5 levels deep: submodule sub of submodule sub of submodule sub of submodule sub of submodule sub of submodule sub of primary source and source version main")
	budget := 0
	p, err := f.origin(req)
	if err != nil {
		t.Fatal(err)
	}
	tree := fetch(t, f, authorized(below.url, "main"))
	err = f.submodules(t.Context(), tree.Dir, p, tree.Commit, 0, &budget)
	if err == nil || err.Error() != "there are more than 100 submodules: submodule sub of primary source and source version main" {
		t.Errorf("over the budget: %v", err)
	}
}

func TestSubmoduleURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ parent, url, want string }{
		{"https://h.example.com/o/r.git", "../x.git", "https://h.example.com/o/x.git"},
		{"https://h.example.com/o/r.git", "./x", "https://h.example.com/o/r.git/x"},
		{"https://h.example.com/o/r.git", "../../p/x", "https://h.example.com/p/x"},
		{"https://h.example.com/o/r.git", "../../../x", ""},
		{"https://h.example.com/o/r.git", "../x/../../y", ""},
		{"https://h.example.com/o/r.git", "../", "https://h.example.com/o"},
		{"https://h.example.com/o/r.git", "https://other.example.com/x.git", "https://other.example.com/x.git"},
		{"https://h.example.com/o/r.git", "http://other.example.com/x.git", ""},
		{"http://h.example.com/o/r.git", "http://h.example.com/x.git", "http://h.example.com/x.git"},
		{"http://h.example.com/o/r.git", "http://h.example.com:81/x.git", ""},
		{"https://h.example.com/o/r.git", "//other.example.com/x", ""},
		{"https://h.example.com/o/r.git", "/x", ""},
		{"https://h.example.com/o/r.git", "x", ""},
		{"https://h.example.com/o/r.git", "https://h.example.com\\@evil.example.com/x", ""},
		{"https://h.example.com/o/r.git", "https://h.example.com/x?y", ""},
		{"https://h.example.com/o/r.git", "https://h.example.com/x#y", ""},
		{"https://h.example.com/o/r.git", "https://h.example.com", ""},
		{"https://h.example.com/o/r.git", "../x\r", ""},
	} {
		parent, err := url.Parse(c.parent)
		if err != nil {
			t.Fatal(err)
		}
		got, err := submoduleURL(parent, c.url)
		if (err == nil) != (c.want != "") || err == nil && got.String() != c.want {
			t.Errorf("submoduleURL(%s, %q) = %v, %v; want %q", c.parent, c.url, got, err, c.want)
		}
	}
}

func TestParseModules(t *testing.T) {
	t.Parallel()
	in := "submodule.a.b.path\np\x00submodule.a.b.url\nu1\x00submodule.a.b.url\nu2\x00" +
		"submodule.no-url.path\nq\x00submodule.url\nx\x00submodule.\x00other.path\ny\x00submodule.slash.path\nz/\x00submodule.slash.url\nv\x00submodule.valueless.path\x00" +
		"submodule.long.path\n" + strings.Repeat("l", 5000) + "\x00submodule.long.url\nw\x00"
	if diff := cmp.Diff(map[string]string{"p": "u2", "z": "v"}, parseModules(in)); diff != "" {
		t.Errorf("parseModules (-want +got):\n%s", diff)
	}
}

package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNew_RefusesAnUnsafeGit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ version, value, want string }{
		{"git version 2.50.1", `"c\r"`, ""},
		{"git version 2.39.5", `"c\r"`, ""},
		{"git version 2.39.5 (Apple Git-154)", `c\r`, "git 2.39.5 (Apple Git-154) lacks the fix of CVE-2025-48384, with which a repository can run programs: install git 2.43.7, 2.50.1 or later"},
		{"git version 2.50.0", `c\r`, "lacks the fix of CVE-2025-48384"},
		{"git version 2.30.2", `"c\r"`, "git 2.30.2 is too old: install 2.43.7, 2.50.1 or later"},
		{"hello", "", "says that its version is hello"},
	} {
		program := filepath.Join(t.TempDir(), "git")
		script := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = version ]; then echo '%s'; else printf '[a]\\n\\tb = %s\\n' >probe; fi\n", c.version, c.value)
		if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := New(Config{Dir: t.TempDir(), Transport: &http.Transport{}, Git: program})
		if err == nil {
			f.Close()
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("New with %q that writes %s: %v, want %q", c.version, c.value, err, c.want)
		}
	}
	_, err := New(Config{Dir: t.TempDir(), Transport: &http.Transport{}, Git: "/nonexistent/git"})
	if err == nil || !strings.Contains(err.Error(), "install it") {
		t.Errorf("New without git: %v", err)
	}
	for _, c := range []Config{{Dir: "relative", Transport: &http.Transport{}}, {Dir: t.TempDir()}} {
		if _, err := New(c); err == nil {
			t.Errorf("New(%+v) succeeds", c)
		}
	}
}

func TestGitError_LeavesOutWhatTheHostSaid(t *testing.T) {
	t.Parallel()
	err := &gitError{"fetch", "remote: " + planted + "\nfatal: remote error: " + planted + "\nfatal: unable to access 'http://127.0.0.1:1/source/': " + planted + "\n", errors.New("exit status 128")}
	if hasNeedle(err.Error()) {
		t.Errorf("the text is %q", err)
	}
	err.stderr += "error: one\r\x1b[31mfatal: two\n"
	if got := err.Error(); !strings.Contains(got, "two") || strings.ContainsAny(got, "\x1b\r\n") {
		t.Errorf("the text is %q", got)
	}
}

func TestCheckTree(t *testing.T) {
	t.Parallel()
	s := skeleton{format: sha1Format, url: `https://example.com/a"b\c`, head: id1, refs: map[string]string{"refs/tags/a": id1}}
	f := &Fetcher{}
	make := func() string {
		dir := t.TempDir()
		git := filepath.Join(dir, ".git")
		if err := errors.Join(f.mkdir(git), f.initialize(git, s)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	dir := make()
	if err := checkTree(dir, s); err != nil {
		t.Errorf("a tree as we wrote it: %v", err)
	}
	if got := git(t, dir, "config", "remote.origin.url"); got != s.url {
		t.Errorf("git reads the address %s, want %s", got, s.url)
	}
	for name, spoil := range map[string]func(git string) error{
		"config": func(git string) error {
			return os.WriteFile(git+"/config", []byte(s.text()+"[core]\n\tfsmonitor = id\n"), 0o644)
		},
		"HEAD":       func(git string) error { return os.WriteFile(git+"/HEAD", []byte(id2+"\n"), 0o644) },
		"hooks":      func(git string) error { return os.Mkdir(git+"/hooks", 0o755) },
		"dangling":   func(git string) error { return os.Symlink("nowhere", git+"/hooks") },
		"alternates": func(git string) error { return os.WriteFile(git+"/objects/info/alternates", []byte("/"), 0o644) },
		"linked away": func(git string) error {
			return errors.Join(os.Remove(git+"/config"), os.Symlink("/etc/passwd", git+"/config"))
		},
		"config is no": func(git string) error { return os.Remove(git + "/config") },
	} {
		dir := make()
		if err := spoil(filepath.Join(dir, ".git")); err != nil {
			t.Fatal(err)
		}
		if err := checkTree(dir, s); err == nil {
			t.Errorf("%s: the tree passes", name)
		}
	}
}

// A mirror whose packs lead elsewhere gives nothing of that away.
func TestLink_StaysInTheMirror(t *testing.T) {
	t.Parallel()
	f := &Fetcher{}
	outside, mirror, tree := t.TempDir(), t.TempDir(), t.TempDir()
	for _, dir := range []string{mirror, tree} {
		if err := f.initialize(dir, skeleton{format: sha1Format}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{outside + "/pack-1.pack", mirror + "/objects/pack/pack-2.pack", mirror + "/objects/pack/pack-2.keep", mirror + "/objects/pack/tmp_pack_3"} {
		if err := os.WriteFile(name, nil, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside+"/pack-1.pack", mirror+"/objects/pack/pack-3.pack"); err != nil {
		t.Fatal(err)
	}
	if err := f.link(mirror, tree); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, tree+"/objects/pack"); len(got) != 1 || got[0] != "pack-2.pack" {
		t.Errorf("linked are %q", got)
	}
	if err := errors.Join(os.RemoveAll(mirror+"/objects/pack"), os.Symlink(outside, mirror+"/objects/pack")); err != nil {
		t.Fatal(err)
	}
	if err := f.link(mirror, tree); err == nil {
		t.Errorf("a link out of the mirror was followed: %q", entries(t, tree+"/objects/pack"))
	}
}

func TestLocks(t *testing.T) {
	t.Parallel()
	var l locks
	unlock, err := l.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := l.lock(ctx, "a"); err != why {
		t.Errorf("waiting for a held lock: %v, want %v", err, why)
	}
	other, err := l.lock(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	unlock()
	if len(l.m) > 0 {
		t.Errorf("%d locks are left", len(l.m))
	}
}

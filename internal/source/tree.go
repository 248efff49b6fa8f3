package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// complete finds the commit of an abbreviated id among branches and tags.
func (f *Fetcher) complete(ctx context.Context, p *place, t target) (target, error) {
	var err error
	if t.listing, err = f.refs(ctx, p.remote, branchesAndTags, isBranchOrTag); err != nil {
		return t, err
	} else if len(t.listing) == 0 {
		return t, errNotFound
	}
	err = f.withMirror(ctx, p.repository(t.depth), func(m *mirror) error {
		if err := f.update(ctx, m, p.remote, t); err != nil {
			return err
		}
		id, err := f.commit(ctx, command{dir: m.dir, bare: true}, t.prefix)
		if err != nil {
			return err
		}
		t.commit, t.object = id, id
		return f.prove(ctx, m, t)
	})
	t.prefix, t.tip = "", ""
	return t, err
}

// withMirror calls use with a repository's mirror. If git finds the mirror
// broken it is discarded: there is no quarantine in a fetch, so after a failed
// check of objects nothing in it is to be trusted.
func (f *Fetcher) withMirror(ctx context.Context, repository string, use func(*mirror) error) error {
	m, unlock, err := f.mirror(ctx, repository)
	if err != nil {
		return err
	}
	defer unlock()
	err = use(m)
	var broken *gitError
	if errors.As(err, &broken) && ctx.Err() == nil {
		f.log.WarnContext(ctx, "mirror discarded", "mirror", m.id, "error", err)
		return errors.Join(err, f.discard(m))
	}
	return err
}

// commit returns the full id of a commit that may be abbreviated. c says in
// which repository.
func (f *Fetcher) commit(ctx context.Context, c command, id string) (string, error) {
	c.args, c.stdin = []string{"cat-file", "--batch-check=%(objectname)"}, strings.NewReader(id+"^{commit}\n")
	out, err := f.run(ctx, c)
	if err != nil {
		return "", err
	}
	full := strings.TrimSpace(string(out))
	if !isID(full) || !strings.HasPrefix(full, id) {
		return "", errNotFound // missing, ambiguous, or no commit
	}
	return full, nil
}

// prove makes sure that t.commit belongs to what t.tip says. A host also serves
// commits of forks.
func (f *Fetcher) prove(ctx context.Context, m *mirror, t target) error {
	if t.tip == "" {
		return nil
	}
	in := command{dir: m.dir, bare: true}
	if _, err := f.commit(ctx, in, t.commit); err != nil {
		return err
	}
	if t.tip != anyTip {
		in.args = []string{"merge-base", "--is-ancestor", "--end-of-options", t.commit, t.tip}
		_, err := f.run(ctx, in)
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 1 {
			return errNotFound
		}
		return err
	}
	in.args = []string{"for-each-ref", "--count=1", "--format=%(refname)", "--contains=" + t.commit, "refs/heads/", "refs/tags/"}
	out, err := f.run(ctx, in)
	if err == nil && len(out) == 0 {
		return errNotFound
	}
	return err
}

// fill makes the tree of a target in the empty directory dir, and returns the
// target as it then is.
func (f *Fetcher) fill(ctx context.Context, dir string, p *place, t target, level int, budget *int) (target, error) {
	if t.depth == 0 && t.listing == nil {
		var err error
		if t.listing, err = f.refs(ctx, p.remote, branchesAndTags, isBranchOrTag); err != nil {
			return t, err
		}
		// One list, one moment. The question before may be a moment older.
		for _, r := range t.listing {
			if r.name == t.ref && t.tip == "" {
				t.commit, t.object = r.commit(), r.object
			} else if r.name == t.ref {
				t.tip = r.object
			}
		}
	}
	git := filepath.Join(dir, ".git")
	if err := f.mkdir(git); err != nil {
		return t, err
	}
	s := skeleton{format: formatOf(t.commit), url: p.url.String(), head: t.commit, refs: t.treeRefs()}
	if err := f.initialize(git, s); err != nil {
		return t, err
	}
	repository := p.repository(t.depth)
	err := f.withMirror(ctx, repository, func(m *mirror) error {
		if err := f.update(ctx, m, p.remote, t); err != nil {
			return err
		}
		if err := f.prove(ctx, m, t); err != nil {
			return err
		}
		return f.link(m.dir, git)
	})
	if err != nil {
		return t, err
	}
	if err := f.checkout(ctx, dir, t.commit); err != nil {
		// The tree has all of the mirror: what it lacks is lacking there.
		return t, f.withMirror(ctx, repository, func(*mirror) error { return err })
	}
	if err := checkTree(dir, s); err != nil {
		return t, err
	}
	if p.Submodules {
		return t, f.submodules(ctx, dir, p, t.commit, level, budget)
	}
	return t, nil
}

// treeRefs are the refs of a target's tree.
func (t target) treeRefs() map[string]string {
	refs := map[string]string{}
	put := func(name, object string) {
		if branch, ok := strings.CutPrefix(name, "refs/heads/"); ok {
			refs["refs/remotes/origin/"+branch] = object
		} else if strings.HasPrefix(name, "refs/tags/") {
			refs[name] = object
		}
	}
	for _, r := range t.listing {
		put(r.name, r.object)
	}
	if t.tip == "" {
		put(t.ref, t.object)
	}
	return refs
}

// checkout writes the work tree of a commit. Only plumbing: no hook is called,
// nothing is asked of a remote, HEAD is as we wrote it.
func (f *Fetcher) checkout(ctx context.Context, dir, commit string) error {
	in := command{dir: dir}
	if full, err := f.commit(ctx, in, commit); err != nil {
		return err
	} else if full != commit {
		return errNotFound
	}
	in.args = []string{"read-tree", "--reset", "-u", commit}
	_, err := f.run(ctx, in)
	return err
}

// checkTree makes sure that what git has left in a tree is what we wrote.
func checkTree(dir string, s skeleton) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for name, want := range map[string]string{".git/config": s.text(), ".git/HEAD": s.head + "\n"} {
		if got, err := root.ReadFile(name); err != nil || string(got) != want {
			return fmt.Errorf("%s of a new tree is not what was written: %w", name, err)
		}
	}
	for _, name := range []string{".git/hooks", ".git/objects/info/alternates", ".git/info"} {
		if _, err := root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("a new tree has %s", name)
		}
	}
	return nil
}

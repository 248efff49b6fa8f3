package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A mirror is a bare repository of the cache. Whoever holds its lock may use
// its fields and its directory.
type mirror struct {
	id    string
	dir   string
	clean bool // the last call of git has ended well
}

const (
	// ownRefs is where a mirror remembers what it fetched beside branches and
	// tags, so that git can tell the host what it has.
	ownRefs = "refs/corbel/"
	// maxOwnRefs bounds them.
	maxOwnRefs = 200
	// maxPacks is the number of packs from which on small ones are put
	// together. Each is linked into each tree.
	maxPacks = 24
)

// mirror returns the mirror of a repository, locked. The caller calls unlock.
func (f *Fetcher) mirror(ctx context.Context, repository string) (m *mirror, unlock func(), err error) {
	unlock, err = f.locks.lock(ctx, "mirror "+repository)
	if err != nil {
		return nil, nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m = f.mirrors[repository]
	if m == nil {
		m = &mirror{id: repository, dir: f.dir("mirrors", repository)}
		f.mirrors[repository] = m
	}
	return m, unlock, nil
}

// discard removes a mirror, so that the next use begins anew.
func (f *Fetcher) discard(m *mirror) error {
	m.clean = false
	return f.remove(m.dir)
}

// update brings the mirror to the state in which it has t.object and, at depth
// 0, everything in t.listing.
func (f *Fetcher) update(ctx context.Context, m *mirror, r *remote, t target) error {
	if err := f.open(m, t); err != nil {
		return err
	}
	have, err := readRefs(m.dir)
	if err != nil {
		return err
	}
	// Beside branches and tags: the ref that is asked for, or its pinned commit.
	others := map[string]string{ownRefs + hash(t.ref): t.object}
	if t.tip != "" && t.tip != anyTip {
		others[ownRefs+hash("tip", t.ref)] = t.tip
	}
	known := map[string]bool{"": true}
	for _, object := range have {
		known[object] = true
	}
	var wants []string
	want := func(object string) {
		if !known[object] {
			known[object] = true
			wants = append(wants, object)
		}
	}
	next := maps.Clone(have)
	if len(t.listing) > 0 {
		maps.DeleteFunc(next, func(name, _ string) bool { return isBranchOrTag(name) })
	}
	for _, r := range t.listing {
		want(r.object)
		next[r.name] = r.object
	}
	listed := len(wants)
	for _, object := range others {
		want(object)
	}
	if t.depth > 1 && len(wants) == 0 {
		wants = append(wants, t.object) // that it is there says nothing of its history's length
	}

	m.clean = false
	if len(wants) > 0 {
		err := f.fetch(ctx, m, r, wants, t.depth)
		if errors.Is(err, errNotServed) && 0 < listed && listed < len(wants) {
			// What is asked for beside the branches may be a commit of theirs.
			others = nil
			err = f.fetch(ctx, m, r, wants[:listed], t.depth)
		}
		if err != nil {
			return err
		}
	}
	for name, object := range others {
		if object != "" {
			next[name] = object
		}
	}
	if err := f.writeRefs(m.dir, next); err != nil {
		return err
	}
	if len(wants) > 0 {
		f.repack(ctx, m)
		now := time.Now()
		if err := os.Chtimes(m.dir, now, now); err != nil {
			return err
		}
	}
	m.clean = true
	return nil
}

// open makes the mirror if it is not there, and tidies it if git was killed.
func (f *Fetcher) open(m *mirror, t target) error {
	_, err := os.Lstat(m.dir)
	if err == nil {
		if m.clean {
			return nil
		}
		return tidy(m.dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir, err := f.temp()
	if err != nil {
		return err
	}
	format := formatOf(t.object)
	if t.object == "" && len(t.listing) > 0 {
		format = formatOf(t.listing[0].object)
	}
	err = f.initialize(dir, skeleton{bare: true, format: format})
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o700), os.Rename(dir, m.dir))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return nil
}

// readRefs reads the list of refs of a mirror.
func readRefs(dir string) (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "packed-refs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(string(b)) {
		object, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if ok && isID(object) {
			refs[name] = object
		}
	}
	return refs, nil
}

// writeRefs replaces the list of refs of a mirror.
func (f *Fetcher) writeRefs(dir string, refs map[string]string) error {
	own := 0
	for name := range refs {
		if strings.HasPrefix(name, ownRefs) {
			if own++; own > maxOwnRefs {
				delete(refs, name) // any one: git only negotiates a little worse
			}
		}
	}
	path := filepath.Join(dir, "packed-refs")
	if err := f.write(path+".new", packedRefs(refs)); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// packedRefs is the file packed-refs with these refs.
func packedRefs(refs map[string]string) []byte {
	var b bytes.Buffer
	b.WriteString("# pack-refs with: sorted \n")
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		fmt.Fprintf(&b, "%s %s\n", refs[name], name)
	}
	return b.Bytes()
}

// fetch lets git fetch objects through a proxy.
func (f *Fetcher) fetch(ctx context.Context, m *mirror, r *remote, objects []string, depth int) error {
	for attempt := 1; ; attempt++ {
		err := f.fetchOnce(ctx, m, r, objects, depth)
		if err == nil || attempt == attempts || ctx.Err() != nil || !passing(err) {
			return err
		}
		if err := f.wait(ctx, pause(attempt)); err != nil {
			return err
		}
		if err := tidy(m.dir); err != nil {
			return err
		}
	}
}

func (f *Fetcher) fetchOnce(ctx context.Context, m *mirror, r *remote, objects []string, depth int) error {
	p, err := newProxy(ctx, f.config.MaxBytes, forFetch(r))
	if err != nil {
		return err
	}
	defer p.close()
	args := []string{"fetch", "--quiet", "--no-tags", "--no-auto-maintenance", "--no-write-fetch-head", "--no-recurse-submodules", "--stdin"}
	if depth > 0 {
		args = append(args, fmt.Sprintf("--depth=%d", depth))
	}
	_, err = f.run(ctx, command{
		dir: m.dir, bare: true,
		config: [][2]string{{"http." + p.address + proxyPath + ".extraHeader", capabilityHeader + ": " + p.capability}},
		stdin:  strings.NewReader(strings.Join(objects, "\n") + "\n"),
		args:   append(args, "--end-of-options", p.address+proxyPath),
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	if failure := p.failure(); failure != nil {
		return failure
	}
	var broken *gitError
	if errors.As(err, &broken) && (strings.Contains(broken.stderr, "not our ref") || strings.Contains(broken.stderr, "unadvertised object")) {
		return errNotServed
	}
	return err
}

// repack puts small packs together when there are many. A failure does no
// harm.
func (f *Fetcher) repack(ctx context.Context, m *mirror) {
	packs, err := filepath.Glob(filepath.Join(m.dir, "objects/pack/*.pack"))
	if err != nil || len(packs) <= maxPacks {
		return
	}
	if _, err := f.run(ctx, command{dir: m.dir, bare: true, args: []string{"repack", "-d", "-q", "--geometric=2"}}); err != nil {
		f.log.WarnContext(ctx, "repack a mirror", "mirror", m.id, "error", err)
	}
}

// tidy removes what a killed git leaves: nobody else uses the mirror.
func tidy(dir string) error {
	for _, pattern := range []string{"*.lock", "*.new", "objects/pack/tmp_*", "objects/pack/.tmp-*", "objects/pack/*.keep", "objects/tmp_*", "objects/info/*.lock"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

package source

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A cached tree is whole and in its place.
type cached struct {
	dir   string
	users int
	used  int64 // Fetcher.uses of the last use
}

// dir is a path in the cache.
func (f *Fetcher) dir(parts ...string) string {
	return filepath.Join(append([]string{f.config.Dir}, parts...)...)
}

// load makes the directories of the cache, finds the trees that are there, and
// removes what nobody will use.
func (f *Fetcher) load() error {
	for _, name := range []string{"", "mirrors", "trees", "tmp"} {
		// Git's user passes through and does not list.
		if err := os.MkdirAll(f.dir(name), 0o711); err != nil {
			return err
		}
		if err := os.Chmod(f.dir(name), 0o711); err != nil {
			return err
		}
	}
	leftovers, err := os.ReadDir(f.dir("tmp"))
	if err != nil {
		return err
	}
	for _, entry := range leftovers {
		f.background.Go(func() { f.erase(f.dir("tmp", entry.Name())) }) // ends by itself
	}
	if err := f.afterReboot(); err != nil {
		return err
	}
	mirrors, err := os.ReadDir(f.dir("mirrors"))
	if err != nil {
		return err
	}
	oldest := time.Now().Add(-f.config.KeepMirrors)
	for _, entry := range mirrors {
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.ModTime().Before(oldest) {
			if err := errors.Join(f.remove(f.dir("mirrors", entry.Name())), f.remove(f.dir("trees", entry.Name()))); err != nil {
				return err
			}
		}
	}
	return f.loadTrees()
}

func (f *Fetcher) loadTrees() error {
	repositories, err := os.ReadDir(f.dir("trees"))
	if err != nil {
		return err
	}
	for _, repository := range repositories {
		if !repository.IsDir() {
			continue
		}
		entries, err := os.ReadDir(f.dir("trees", repository.Name()))
		if err != nil {
			return err
		}
		found := map[string]*cached{}
		for _, entry := range entries {
			if entry.IsDir() {
				found[entry.Name()] = &cached{dir: f.dir("trees", repository.Name(), entry.Name())}
			}
		}
		f.trees[repository.Name()] = found
		f.shrink(repository.Name())
	}
	return nil
}

// afterReboot removes all trees if the machine was started since they were
// made, since they were not flushed to disk.
func (f *Fetcher) afterReboot() error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		boot = []byte(rand.Text()) // not Linux: never the same
	}
	mark := f.dir("trees", "boot")
	if was, err := os.ReadFile(mark); err == nil && string(was) == string(boot) {
		return nil
	}
	entries, err := os.ReadDir(f.dir("trees"))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := f.remove(f.dir("trees", entry.Name())); err != nil {
			return err
		}
	}
	return os.WriteFile(mark, boot, 0o600)
}

// remove takes a directory or file out of the cache at once; its content goes
// in the background.
func (f *Fetcher) remove(path string) error {
	away := f.tempName()
	err := os.Rename(path, away)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	f.background.Go(func() { f.erase(away) }) // ends by itself
	return nil
}

func (f *Fetcher) erase(path string) {
	if err := os.RemoveAll(path); err != nil {
		f.log.Error("remove from the cache of sources", "path", path, "error", err)
	}
}

func (f *Fetcher) tempName() string { return f.dir("tmp", rand.Text()) }

// temp makes a directory in which git may write.
func (f *Fetcher) temp() (string, error) {
	dir := f.tempName()
	return dir, f.mkdir(dir)
}

// mkdir makes a directory for git's user, who has it alone to write.
func (f *Fetcher) mkdir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o755); err != nil { // whatever the umask
		return err
	}
	return f.own(path)
}

// write writes a new file for git's user.
func (f *Fetcher) write(path string, content []byte) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = out.Write(content)
	if err = errors.Join(err, out.Chmod(0o644), out.Close()); err != nil {
		return err
	}
	return f.own(path)
}

func (f *Fetcher) own(path string) error {
	if !f.foreign {
		return nil
	}
	return os.Lchown(path, f.config.UID, f.config.GID)
}

// A skeleton is a repository before it has objects.
type skeleton struct {
	bare   bool
	format string
	url    string            // of origin; "" is none
	head   string            // commit id; "" is no commit
	refs   map[string]string // name to object
}

// text is the file config.
func (s skeleton) text() string {
	var b strings.Builder
	version := 0
	if s.format != sha1Format {
		version = 1 // that of extensions. gitrepository-layout(5)
	}
	fmt.Fprintf(&b, "[core]\n\trepositoryformatversion = %d\n\tfilemode = true\n\tbare = %t\n", version, s.bare)
	if !s.bare {
		b.WriteString("\tlogallrefupdates = true\n")
	}
	if version > 0 {
		fmt.Fprintf(&b, "[extensions]\n\tobjectformat = %s\n", s.format)
	}
	if s.url != "" {
		fmt.Fprintf(&b, "[remote \"origin\"]\n\turl = \"%s\"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
			strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s.url))
	}
	return b.String()
}

// initialize makes a repository in the existing directory dir. There is no
// template, so there are no hooks.
func (f *Fetcher) initialize(dir string, s skeleton) error {
	for _, name := range []string{"objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags"} {
		if err := f.mkdir(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	head := s.head
	if head == "" {
		head = "ref: refs/heads/main"
	}
	return errors.Join(
		f.write(filepath.Join(dir, "config"), []byte(s.text())),
		f.write(filepath.Join(dir, "packed-refs"), packedRefs(s.refs)),
		f.write(filepath.Join(dir, "HEAD"), []byte(head+"\n")))
}

// link gives the repository at to all objects of the mirror at from, as hard
// links where the file system has them. Nothing is followed out of from.
func (f *Fetcher) link(from, to string) error {
	root, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer root.Close()
	src, err := root.Open("objects/pack")
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Open(filepath.Join(to, "objects/pack"))
	if err != nil {
		return err
	}
	defer dst.Close()
	entries, err := src.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		if !entry.Type().IsRegular() || !strings.HasPrefix(name, "pack-") || !slices.Contains([]string{".pack", ".idx", ".rev"}, filepath.Ext(name)) {
			continue
		}
		if unix.Linkat(int(src.Fd()), name, int(dst.Fd()), name, 0) == nil {
			continue
		}
		if err := f.copy(root, filepath.Join("objects/pack", name), filepath.Join(to, "objects/pack", name)); err != nil {
			return err
		}
	}
	// Where history is cut off; absent if it is not.
	if err := f.copy(root, "shallow", filepath.Join(to, "shallow")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (f *Fetcher) copy(root *os.Root, from, to string) (err error) {
	in, err := root.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), f.own(to))
}

// name is what a target's tree is called in its repository's directory.
func (t target) name(submodules bool) string {
	return t.commit + "-" + hash(t.ref, t.object, fmt.Sprint(submodules))
}

// cached reports whether a target's tree is in the cache.
func (f *Fetcher) cached(p *place, t target) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trees[p.repository(t.depth)][t.name(p.Submodules)] != nil
}

// use returns a target's tree, if it is in the cache.
func (f *Fetcher) use(p *place, t target) *Tree {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.useLocked(p, t)
}

func (f *Fetcher) useLocked(p *place, t target) *Tree {
	repository := p.repository(t.depth)
	c := f.trees[repository][t.name(p.Submodules)]
	if c == nil {
		return nil
	}
	f.uses++
	c.users++
	c.used = f.uses
	return &Tree{Dir: c.dir, Commit: t.commit, Ref: t.ref, Release: sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		c.users--
		f.shrink(repository)
	})}
}

// shrink removes the trees of a repository that were not used for longest, down
// to KeepTrees unused ones. f.mu is held, or nobody else knows f yet.
func (f *Fetcher) shrink(repository string) {
	trees := f.trees[repository]
	var unused []string
	for name, c := range trees {
		if c.users == 0 {
			unused = append(unused, name)
		}
	}
	slices.SortFunc(unused, func(a, b string) int { return int(trees[a].used - trees[b].used) })
	for len(unused) > max(f.config.KeepTrees, 0) {
		dir := trees[unused[0]].dir
		if err := f.remove(dir); err != nil {
			f.log.Error("remove from the cache of sources", "path", dir, "error", err)
		}
		delete(trees, unused[0])
		unused = unused[1:]
	}
}

// tree returns a target's tree, and makes it if it is not in the cache.
func (f *Fetcher) tree(ctx context.Context, p *place, t target) (*Tree, error) {
	if tree := f.use(p, t); t.prefix == "" && tree != nil {
		return tree, nil
	}
	if t.prefix != "" {
		var err error
		if t, err = f.complete(ctx, p, t); err != nil {
			return nil, err
		}
	}
	unlock, err := f.locks.lock(ctx, "tree "+p.repository(t.depth)+" "+t.name(p.Submodules))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if tree := f.use(p, t); tree != nil { // somebody else made it
		return tree, nil
	}
	began := time.Now()
	dir, err := f.temp()
	if err != nil {
		return nil, err
	}
	budget := maxSubmodules
	tree, err := func() (*Tree, error) {
		t, err := f.fill(ctx, dir, p, t, 0, &budget)
		if err != nil {
			return nil, err
		}
		return f.settle(dir, p, t)
	}()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	f.log.InfoContext(ctx, "source fetched", "host", p.url.Host, "path", p.url.Path, "commit", tree.Commit, "depth", t.depth, "duration", time.Since(began))
	return tree, nil
}

// settle puts a finished tree in its place, unless one is there, and uses it.
func (f *Fetcher) settle(dir string, p *place, t target) (*Tree, error) {
	repository, name := p.repository(t.depth), t.name(p.Submodules)
	parent := f.dir("trees", repository)
	if err := os.MkdirAll(parent, 0o711); err != nil {
		return nil, err
	}
	if err := os.Chmod(parent, 0o711); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.trees[repository] == nil {
		f.trees[repository] = map[string]*cached{}
	}
	if f.trees[repository][name] != nil {
		if err := f.remove(dir); err != nil {
			return nil, err
		}
	} else {
		final := filepath.Join(parent, name)
		if err := os.Rename(dir, final); err != nil {
			return nil, err
		}
		f.trees[repository][name] = &cached{dir: final}
	}
	tree := f.useLocked(p, t)
	f.shrink(repository)
	return tree, nil
}

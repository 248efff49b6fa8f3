package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

const (
	maxSubmodules = 100 // of one source, at all levels together
	maxLevel      = 5   // of submodules in submodules
	maxPath       = 4096
)

// submodules fetches the submodules of a commit into its work tree at dir.
func (f *Fetcher) submodules(ctx context.Context, dir string, p *place, commit string, level int, budget *int) error {
	urls, err := f.gitmodules(ctx, dir, p, commit)
	if err != nil || len(urls) == 0 {
		return err
	}
	commits, err := f.gitlinks(ctx, dir, commit, slices.Sorted(maps.Keys(urls)))
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(commits)) {
		label := "submodule " + printable(path) + " of " + p.label
		if level == maxLevel {
			return &Error{Message: fmt.Sprintf("submodules are nested more than %d levels deep: %s", maxLevel, label)}
		}
		if *budget--; *budget < 0 {
			return &Error{Message: fmt.Sprintf("there are more than %d submodules: %s", maxSubmodules, label)}
		}
		if err := f.submodule(ctx, dir, p, path, urls[path], commits[path], label, level, budget); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fetcher) submodule(ctx context.Context, dir string, parent *place, path, address, commit, label string, level int, budget *int) error {
	if err := checkPlace(dir, path); err != nil {
		return &Error{Message: err.Error() + ": " + label}
	}
	u, err := submoduleURL(parent.url, address)
	if err != nil {
		return &Error{Message: fmt.Sprintf("%v: %s, %s", err, printable(address), label)}
	}
	p, err := f.place(parent.Request, u, label)
	if err != nil {
		return err
	}
	// Also when everything is in the mirror: a token may have been revoked.
	if _, err := f.refs(ctx, p.remote, []string{"HEAD"}, func(string) bool { return false }); err != nil {
		return p.explain(ctx, err)
	}
	t := target{commit: commit, object: commit, depth: parent.Depth}
	sub := filepath.Join(dir, filepath.FromSlash(path))
	_, err = f.fill(ctx, sub, p, t, level+1, budget)
	if errors.Is(err, errNotServed) && t.depth > 0 {
		// A host that speaks the old protocol hands out tips only.
		if err := os.RemoveAll(filepath.Join(sub, ".git")); err != nil {
			return err
		}
		t.depth = 0
		_, err = f.fill(ctx, sub, p, t, level+1, budget)
	}
	var broken *gitError
	if err != nil && !errors.As(err, &broken) { // Fetch begins anew after a broken one
		return p.explain(ctx, err)
	}
	return err
}

// gitmodules reads the file .gitmodules of a commit: the address by path. What
// else it says is of no interest.
func (f *Fetcher) gitmodules(ctx context.Context, dir string, p *place, commit string) (map[string]string, error) {
	out, err := f.run(ctx, command{dir: dir, args: []string{"ls-tree", "-z", "--full-tree", commit, "--", ".gitmodules"}})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	mode, blob := parseEntry(strings.TrimSuffix(string(out), "\x00"))
	if mode != "100644" && mode != "100755" || !isID(blob) {
		return nil, &Error{Message: ".gitmodules is not a file for " + p.label}
	}
	out, err = f.run(ctx, command{dir: dir, args: []string{"config", "--no-includes", "--blob", blob, "--list", "-z"}})
	var broken *gitError
	if errors.As(err, &broken) && ctx.Err() == nil {
		return nil, &Error{Message: ".gitmodules cannot be understood for " + p.label}
	} else if err != nil {
		return nil, err
	}
	return parseModules(string(out)), nil
}

// parseModules reads the output of git config --list -z.
func parseModules(text string) map[string]string {
	type module struct{ path, url string }
	modules := map[string]*module{}
	for entry := range strings.SplitSeq(text, "\x00") {
		key, value, _ := strings.Cut(entry, "\n")
		rest, ok := strings.CutPrefix(key, "submodule.")
		i := strings.LastIndexByte(rest, '.')
		if !ok || i < 0 {
			continue
		}
		m := modules[rest[:i]]
		if m == nil {
			m = &module{}
			modules[rest[:i]] = m
		}
		switch rest[i+1:] {
		case "path":
			m.path = strings.TrimSuffix(value, "/")
		case "url":
			m.url = value
		}
	}
	urls := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(modules)) { // the same one, whoever names a path twice
		if m := modules[name]; m.path != "" && len(m.path) <= maxPath && m.url != "" {
			urls[m.path] = m.url
		}
	}
	return urls
}

// gitlinks returns the commits that a commit has at those paths. Paths at which
// it has something else are left out.
func (f *Fetcher) gitlinks(ctx context.Context, dir, commit string, paths []string) (map[string]string, error) {
	links := map[string]string{}
	for part := range slices.Chunk(paths, maxSubmodules) {
		out, err := f.run(ctx, command{dir: dir, args: append([]string{"ls-tree", "-z", "--full-tree", commit, "--"}, part...)})
		if err != nil {
			return nil, err
		}
		for entry := range strings.SplitSeq(string(out), "\x00") {
			_, path, _ := strings.Cut(entry, "\t")
			if mode, id := parseEntry(entry); mode == "160000" && isID(id) && slices.Contains(part, path) {
				links[path] = id
			}
		}
	}
	return links, nil
}

// parseEntry reads `<mode> <type> <id>\t<path>`. git-ls-tree(1).
func parseEntry(entry string) (mode, id string) {
	meta, _, _ := strings.Cut(entry, "\t")
	fields := strings.Fields(meta)
	if len(fields) != 3 {
		return "", ""
	}
	return fields[0], fields[2]
}

// checkPlace makes sure that a submodule's path leads, without any link, to the
// empty directory that git makes for it.
func checkPlace(dir, path string) error {
	if strings.ContainsFunc(path, unicode.IsControl) || path[0] == '-' {
		return errors.New("the path of a submodule is not allowed")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if part == "" || part == "." || part == ".." || strings.EqualFold(part, ".git") {
			return errors.New("the path of a submodule is not allowed")
		}
		info, err := root.Lstat(filepath.Join(parts[:i+1]...))
		if err != nil || !info.IsDir() {
			return errors.New("the path of a submodule is not a directory")
		}
	}
	if entries, err := fs.ReadDir(root.FS(), path); err != nil || len(entries) > 0 {
		return errors.New("the directory of a submodule is not empty")
	}
	return nil
}

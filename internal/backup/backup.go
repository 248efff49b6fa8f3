// Package backup writes a data directory into one file and reads it back.
//
// A backup is a gzipped tar archive: the database as it was at one moment, the
// logs of builds, the listed hosts, and at its end manifest.json with the
// SHA-256 of each file and the numbers of the root keys that are needed.
// Everything acknowledged before Write was called is in
// it. The ring of root keys never is, so nothing sealed can be read with the
// backup alone. Caches and working directories are left out.
package backup

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

const (
	version  = 1
	database = "corbel.db"
	manifest = "manifest.json"
	// maxManifest bounds the manifest, in bytes: a hundred bytes for each of a
	// million files.
	maxManifest = 100 << 20
)

// kept are the parts of a data directory beside the database.
var kept = []string{"logs", "hosts"}

// A Manifest says what is in a backup.
type Manifest struct {
	Version  int               `json:"version"`
	Made     time.Time         `json:"made"`
	RootKeys []uint32          `json:"rootKeys"` // that seal what is in it
	Files    map[string]string `json:"files"`    // SHA-256 by name
}

// Write writes a backup of the data directory to w. snapshot makes a copy of
// the database as it is at one moment, in a new file, and tells which root keys
// it needs. The server may run.
func Write(ctx context.Context, data string, w io.Writer, snapshot func(ctx context.Context, file string) ([]uint32, error)) (m Manifest, err error) {
	m = Manifest{Version: version, Made: time.Now().UTC(), Files: map[string]string{}}
	tmp, err := os.MkdirTemp(data, ".backup-*")
	if err != nil {
		return m, fmt.Errorf("make a place for the copy of the database: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	copied := filepath.Join(tmp, database)
	if m.RootKeys, err = snapshot(ctx, copied); err != nil {
		return m, fmt.Errorf("copy the database: %w", err)
	}
	zip := gzip.NewWriter(w)
	archive := tar.NewWriter(zip)
	if err := add(archive, &m, database, copied); err != nil {
		return m, err
	}
	for _, part := range kept {
		err := filepath.WalkDir(filepath.Join(data, part), func(file string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
			name, err := filepath.Rel(data, file)
			if err != nil {
				return err
			}
			return add(archive, &m, filepath.ToSlash(name), file)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return m, fmt.Errorf("back up %s: %w", part, err)
		}
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, err
	}
	if err := archive.WriteHeader(&tar.Header{Name: manifest, Mode: 0o600, Size: int64(len(text)), ModTime: m.Made}); err != nil {
		return m, err
	}
	_, err = archive.Write(text)
	return m, errors.Join(err, archive.Close(), zip.Close())
}

// add puts a file into the archive as long as it is now: a log may grow.
func add(archive *tar.Writer, m *Manifest, name, file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // of a build that was deleted just now
	} else if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(archive, h), f, info.Size()); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	m.Files[name] = hex.EncodeToString(h.Sum(nil))
	return nil
}

// ErrNotABackup says that what was read is none, or is damaged.
var ErrNotABackup = errors.New("it is not a backup, or it is damaged")

// Read reads a backup into an empty directory. If it fails, the directory is
// empty again.
func Read(r io.Reader, dir string) (m Manifest, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return m, err
	}
	defer root.Close()
	defer func() {
		if err != nil {
			for _, part := range append([]string{database}, kept...) {
				err = errors.Join(err, root.RemoveAll(part))
			}
		}
	}()
	zip, err := gzip.NewReader(r)
	if err != nil {
		return m, fmt.Errorf("%w: %w", ErrNotABackup, err)
	}
	archive := tar.NewReader(zip)
	found := map[string]string{}
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return m, fmt.Errorf("%w: it has no %s at its end", ErrNotABackup, manifest)
		} else if err != nil {
			return m, fmt.Errorf("%w: %w", ErrNotABackup, err)
		}
		if h.Name == manifest {
			text, err := io.ReadAll(io.LimitReader(archive, maxManifest))
			if err != nil || json.Unmarshal(text, &m) != nil || m.Version != version {
				return m, fmt.Errorf("%w: its %s is not one of version %d", ErrNotABackup, manifest, version)
			}
			// To the end: the checksum of the whole comes last.
			if _, err := io.Copy(io.Discard, zip); err != nil {
				return m, fmt.Errorf("%w: %w", ErrNotABackup, err)
			}
			break
		}
		if !allowed(h) {
			return m, fmt.Errorf("%w: %q does not belong into one", ErrNotABackup, h.Name)
		}
		if found[h.Name], err = extract(root, h.Name, archive); err != nil {
			return m, err
		}
	}
	if len(found) != len(m.Files) || found[database] == "" {
		return m, fmt.Errorf("%w: %d files are there, and %d should be", ErrNotABackup, len(found), len(m.Files))
	}
	for name, sum := range m.Files {
		if found[name] != sum {
			return m, fmt.Errorf("%w: %s has changed", ErrNotABackup, name)
		}
	}
	return m, nil
}

// allowed reports whether Write would have made the entry.
func allowed(h *tar.Header) bool {
	if h.Typeflag != tar.TypeReg || path.Clean(h.Name) != h.Name || !filepath.IsLocal(h.Name) {
		return false
	}
	if h.Name == database {
		return true
	}
	for _, part := range kept {
		if h.Name == part || strings.HasPrefix(h.Name, part+"/") {
			return true
		}
	}
	return false
}

// extract writes a file and returns its hash.
func extract(root *os.Root, name string, from io.Reader) (sum string, err error) {
	if dir := path.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("restore %s: %w", name, err)
		}
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("restore %s: %w", name, err)
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), from)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", fmt.Errorf("restore %s: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

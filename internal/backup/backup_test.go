package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBackup(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	put(t, data, map[string]string{"corbel.db": "live", "root.key": "THE ROOT KEY", "hosts": "h\n", "logs/ab/x.log": "log", "sources/y": "cache", "builds/z/f": "work", "server.json": "{}"})
	var b bytes.Buffer
	m, err := Write(context.Background(), data, &b, func(_ context.Context, to string) ([]uint32, error) {
		return []uint32{2, 7}, os.WriteFile(to, []byte("snapshot"), 0o600)
	})
	if err != nil || len(m.Files) != 3 {
		t.Fatalf("Write: %v, %v", m, err)
	}
	whole := b.Bytes()
	dir := t.TempDir()
	if m, err := Read(bytes.NewReader(whole), dir); err != nil || !slices.Equal(m.RootKeys, []uint32{2, 7}) {
		t.Fatalf("Read: %v, %v", m, err)
	}
	for name, want := range map[string]string{"corbel.db": "snapshot", "hosts": "h\n", "logs/ab/x.log": "log"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s = %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"root.key", "sources", "builds", "server.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was backed up", name)
		}
	}
	for n := range len(whole) { // cut anywhere
		dir := t.TempDir()
		if _, err := Read(bytes.NewReader(whole[:n]), dir); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", n, len(whole))
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
			t.Errorf("the first %d of %d bytes left %v, %v", n, len(whole), list, err)
		}
	}
}

// An archive that Write did not make is refused, and nothing of it lands
// outside the directory.
func TestRead_Refuses(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]tar.Header{
		"parent":    {Name: "../evil", Typeflag: tar.TypeReg},
		"absolute":  {Name: "/tmp/evil", Typeflag: tar.TypeReg},
		"through":   {Name: "logs/../../evil", Typeflag: tar.TypeReg},
		"link":      {Name: "logs/x", Typeflag: tar.TypeSymlink, Linkname: "/etc"},
		"hard link": {Name: "logs/x", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"},
		"device":    {Name: "logs/x", Typeflag: tar.TypeChar},
		"the ring":  {Name: "root.key", Typeflag: tar.TypeReg},
		"a program": {Name: "builds/x", Typeflag: tar.TypeReg},
	} {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		w := tar.NewWriter(zip)
		if err := errors.Join(w.WriteHeader(&h), w.Close(), zip.Close()); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if _, err := Read(&b, dir); !errors.Is(err, ErrNotABackup) {
			t.Errorf("%s: %v", name, err)
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
			t.Errorf("%s left %v, %v", name, list, err)
		}
	}
	for _, text := range []string{"", "x", "\x1f\x8b"} {
		if _, err := Read(bytes.NewReader([]byte(text)), t.TempDir()); !errors.Is(err, ErrNotABackup) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

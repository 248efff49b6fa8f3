package vault

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/corbel-build/corbel/api"
)

func addKey(t testing.TB, v *Vault) {
	t.Helper()
	if err := v.Change((*Change).AddKey); err != nil {
		t.Fatalf("AddKey: %v", err)
	}
}

func keyOf(t testing.TB, sealed []byte) uint32 {
	t.Helper()
	id, err := KeyID(sealed)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Two vaults on one file stand for a server and a command beside it.
func TestChange_IsFollowed(t *testing.T) {
	t.Parallel()
	server, path := newVault(t)
	command, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	first := seal(t, server, here, planted)
	addKey(t, command)
	if _, err := server.Open(here, seal(t, command, here, planted)); err != nil {
		t.Errorf("the server does not open what the new key sealed: %v", err)
	}
	addKey(t, command)
	if id := keyOf(t, seal(t, server, here, planted)); id != 3 {
		t.Errorf("the server seals under key %d, want 3", id)
	}
	if err := command.Change(func(c *Change) error { return c.Retire(3) }); err == nil || !strings.Contains(err.Error(), "primary") {
		t.Errorf("Retire of the primary key: %v", err)
	}
	if err := command.Change(func(c *Change) error { return c.Retire(1, 2) }); err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, k := range command.Keys() {
		states = append(states, k.State)
	}
	if got := strings.Join(states, " "); got != "retired retired primary" {
		t.Errorf("the states are %s", got)
	}
	// Who read the row before it was sealed again may still open it; who starts
	// now may not.
	seal(t, server, here, planted)
	if _, err := server.Open(here, first); err != nil {
		t.Errorf("a running server has forgotten the key: %v", err)
	}
	later, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := later.Open(here, first); !errors.Is(err, ErrNoKey) {
		t.Errorf("after a restart: %v", err)
	}
	if file, err := os.ReadFile(path); err != nil || bytes.Count(file, []byte(`"key":`)) != 1 {
		t.Errorf("retired keys are still in the ring (%v):\n%s", err, file)
	}
}

// A server whose ring is gone, unreadable or another one opens what it could
// open and seals nothing: it could not be opened after a restart.
func TestSeal_NotWithoutTheFile(t *testing.T) {
	t.Parallel()
	other, err := os.ReadFile(writeRing(t, testKey(1, primary)))
	if err != nil {
		t.Fatal(err)
	}
	v, path := newVault(t)
	older, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	addKey(t, v)
	right, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sealed := seal(t, v, here, planted)
	for name, c := range map[string]struct {
		put  func() error
		want string
	}{
		"gone":     {func() error { return nil }, "no ring"},
		"cut":      {func() error { return os.WriteFile(path, right[:len(right)/2], 0o600) }, "not a ring"},
		"empty":    {func() error { return os.WriteFile(path, nil, 0o600) }, "not a ring"},
		"readable": {func() error { return errors.Join(os.WriteFile(path, append(right, ' '), 0o644), os.Chmod(path, 0o644)) }, "0644"},
		"another":  {func() error { return os.WriteFile(path, other, 0o600) }, "another ring"},
		"older":    {func() error { return os.WriteFile(path, older, 0o600) }, "another ring"},
		"a link":   {func() error { return os.Symlink(filepath.Join(t.TempDir(), "x"), path) }, "not a regular file"},
		"a folder": {func() error { return os.Mkdir(path, 0o700) }, "not a regular file"},
		"wrapped": {func() error {
			return os.WriteFile(path, []byte(`{"wrap":{"kind":"aws-kms"},"keys":[{"id":2,"state":"primary","key":"AAAA"}]}`), 0o600)
		}, "aws-kms"},
		"no primary": {func() error { return os.WriteFile(path, []byte(`{"keys":[]}`), 0o600) }, "no root key is primary"},
	} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := c.put(); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second is answered from memory
			if _, err := v.Seal(here, planted); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: Seal: %v, want %q", name, err, c.want)
			}
		}
		if err := v.Change((*Change).AddKey); err == nil {
			t.Errorf("%s: the ring can be changed", name)
		}
		if _, err := v.Open(here, sealed); err != nil {
			t.Errorf("%s: Open: %v", name, err)
		}
		if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, right, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Seal(here, planted); err != nil {
			t.Errorf("%s: with the right ring back: %v", name, err)
		}
	}
}

// Only one process at a time changes the ring: of two rotations, one might
// forget the key that the other has just made.
func TestChange_Alone(t *testing.T) {
	t.Parallel()
	v, path := newVault(t)
	other, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	err = v.Change(func(c *Change) error {
		if err := other.Change((*Change).AddKey); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("a second change: %v", err)
		}
		return c.AddKey()
	})
	if err != nil {
		t.Fatal(err)
	}
	addKey(t, other)
	if n := len(other.Keys()); n != 3 {
		t.Errorf("there are %d keys, want 3", n)
	}
}

// What a killed writer left may hold keys, so the next one removes it.
func TestChange_RemovesLeftovers(t *testing.T) {
	t.Parallel()
	v, path := newVault(t)
	dir := filepath.Dir(path)
	for _, name := range []string{unfinished(path) + "123", ".ring-another.key-123"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half a ring"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addKey(t, v)
	left, err := filepath.Glob(filepath.Join(dir, ".ring-*"))
	if err != nil || len(left) != 1 || !strings.Contains(left[0], "another") {
		t.Errorf("left are %v, %v", left, err)
	}
}

// Sealing, opening and changing at once: everything sealed opens, and nothing
// is sealed under a key that was no more primary when Seal was called.
func TestChange_WhileSealing(t *testing.T) {
	t.Parallel()
	command, path := newVault(t)
	server, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{}) // closed when the changes are done
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := command.Primary()
				sealed, err := server.Seal(here, planted)
				if err != nil {
					t.Errorf("Seal: %v", err)
					return
				}
				if id, err := KeyID(sealed); err != nil || id < least {
					t.Errorf("key %d seals after key %d was made (%v)", id, least, err)
				}
				if got, err := server.Open(here, sealed); err != nil || got != api.Secret(planted) {
					t.Errorf("Open: %v", err)
				}
			}
		})
	}
	for range 20 {
		former := command.Primary()
		addKey(t, command)
		if err := command.Change(func(c *Change) error { return c.Retire(former) }); err != nil {
			t.Errorf("Retire: %v", err)
		}
	}
	close(stop)
	wg.Wait()
}

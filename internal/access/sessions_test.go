package access

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
	"github.com/corbel-build/corbel/internal/vault"
)

// A session lasts while it is used, but no longer than its life and its key.
func TestSessions_End(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		keyEnds time.Duration // 0 is never
		uses    []time.Duration
		ends    time.Duration
	}{
		"idle":           {0, nil, DefaultIdle},
		"idle after use": {0, []time.Duration{30 * time.Minute, 80 * time.Minute}, 80*time.Minute + DefaultIdle},
		"used for long": {0, []time.Duration{
			50 * time.Minute, 100 * time.Minute, 150 * time.Minute, 200 * time.Minute, 250 * time.Minute, 300 * time.Minute, 350 * time.Minute, 400 * time.Minute,
			450 * time.Minute, 500 * time.Minute, 550 * time.Minute, 600 * time.Minute, 650 * time.Minute, 700 * time.Minute,
		}, DefaultLife},
		"with its key": {10 * time.Minute, nil, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := start
			s, key := newSessions(t, func() time.Time { return now }, c.keyEnds)
			var token string
			if err := s.Keys.Store.Update(t.Context(), func(tx store.Tx) (err error) {
				token, err = s.Open(t.Context(), tx, key, "eu-west-1")
				return err
			}); err != nil {
				t.Fatal(err)
			}
			for _, at := range append(c.uses, c.ends-time.Millisecond) {
				now = start.Add(at)
				if _, err := s.Find(t.Context(), token, false); err != nil { // which is no use
					t.Fatalf("after %v: %v", at, err)
				}
				p, err := s.Find(t.Context(), token, true)
				if err != nil || p.User != "ada" || p.Region != "eu-west-1" || p.KeyID != key.ID || p.Session == "" || p.Session == token {
					t.Fatalf("after %v the session is of %+v, %v", at, p, err)
				}
			}
			// The last use may have been noted: look with the note of before.
			now = start.Add(c.ends)
			if name == "idle" || name == "idle after use" {
				now = now.Add(DefaultIdle - 2*time.Millisecond)
				if _, err := s.Find(t.Context(), token, false); err != nil {
					t.Errorf("just before the end: %v", err)
				}
				now = now.Add(2 * time.Millisecond)
			}
			if _, err := s.Find(t.Context(), token, true); !errors.Is(err, ErrNoSession) {
				t.Errorf("after %v: %v", c.ends, err)
			}
			if _, err := s.Find(t.Context(), token+"x", true); !errors.Is(err, ErrNoSession) {
				t.Errorf("another token: %v", err)
			}
			// The next sign-in removes what has ended.
			if err := s.Keys.Store.Update(t.Context(), func(tx store.Tx) error {
				if err := tx.DeleteSessions(t.Context(), now, now.Add(-s.Idle)); err != nil {
					return err
				}
				err := s.Close(t.Context(), tx, token)
				if name == "with its key" { // its time is not over, only its key's
					return err
				}
				if !errors.Is(err, ErrNoSession) {
					t.Errorf("the session is still there: %v", err)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

func newSessions(t *testing.T, now func() time.Time, keyEnds time.Duration) (*Sessions, store.AccessKey) {
	t.Helper()
	dir := t.TempDir()
	st, err := sqlite.Open(t.Context(), filepath.Join(dir, "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	v, err := vault.OpenOrCreate(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := CreateAccount(t.Context(), st, now())
	if err != nil {
		t.Fatal(err)
	}
	k := &Keys{Store: st, Vault: v, Now: now}
	var expires time.Time
	if keyEnds > 0 {
		expires = now().Add(keyEnds)
	}
	id, _, err := k.Create(t.Context(), a.ID, "ada", "", expires)
	if err != nil {
		t.Fatal(err)
	}
	key, err := st.AccessKey(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return &Sessions{Keys: k, Life: DefaultLife, Idle: DefaultIdle}, key
}

// Match knows a key by its secret, and nothing else.
func TestKeys_Match(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s, key := newSessions(t, func() time.Time { return now }, time.Hour)
	_, _, secret, err := s.Keys.Find(t.Context(), key.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Keys.Match(t.Context(), key.ID, secret); err != nil || got.ID != key.ID {
		t.Errorf("the right secret: %+v, %v", got, err)
	}
	if got, err := s.Keys.Match(t.Context(), key.ID, secret[:len(secret)-1]); !errors.Is(err, store.ErrNotFound) || got.Account != "" {
		t.Errorf("a part of it: %+v, %v", got, err)
	}
	if _, err := s.Keys.Match(t.Context(), key.ID, ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("none: %v", err)
	}
	if _, err := s.Keys.Match(t.Context(), "AKIA0000000000000000", secret); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of another key: %v", err)
	}
	now = now.Add(time.Hour)
	if _, err := s.Keys.Match(t.Context(), key.ID, secret); !errors.Is(err, ErrEnded) {
		t.Errorf("after its end: %v", err)
	}
}

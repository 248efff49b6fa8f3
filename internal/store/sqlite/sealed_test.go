package sqlite

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

// What was sealed before is nowhere in the files after everything was sealed
// again, or deleted, whatever its length.
func TestWipe(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "corbel.db")
	s := open(t, path)
	blob := func(n int) []byte {
		b := make([]byte, n)
		rand.Read(b)
		return b
	}
	var old [][]byte
	const count = 600
	for round := range 3 {
		if err := s.Update(ctx, func(tx store.Tx) error {
			for i := range count {
				size := 60 + (i*37+round*911)%400
				if i%50 == 0 {
					size = 9000 // pages of its own
				}
				c := store.Credential{Scope: store.Scope{Account: fmt.Sprintf("%012d", i), Region: "eu-west-1"}, ServerType: api.ServerTypeGITHUB, ARN: fmt.Sprint("arn:", i), Generation: 1, Sealed: blob(size)}
				if round > 0 && i%3 == 0 {
					if err := tx.DeleteCredential(ctx, c.Scope, c.ServerType); err != nil {
						return err
					}
				}
				if err := tx.PutCredential(ctx, c); err != nil {
					return err
				}
				old = append(old, c.Sealed)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (n int) {
		for _, file := range []string{path, path + "-wal"} {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range old {
				for at := 0; at+16 <= len(b); at += 44 {
					if bytes.Contains(data, b[at:at+16]) {
						n++
						break
					}
				}
			}
		}
		return n
	}
	values, err := s.SealedValues(ctx, "source-credential", nil, 2*count)
	if err != nil || len(values) != count {
		t.Fatalf("there are %d values, %v", len(values), err)
	}
	for i := 0; i < count; i += 100 {
		if err := s.Update(ctx, func(tx store.Tx) error {
			for _, v := range values[i : i+100] {
				if err := tx.Reseal(ctx, v, blob(len(v.Sealed))); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if left() == 0 {
		t.Error("nothing is left before Wipe; this shows nothing")
	}
	for range 2 {
		if err := s.Wipe(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := left(); n > 0 {
		t.Errorf("%d of %d former values are still in the files", n, len(old))
	}
	if after, err := s.SealedValues(ctx, "source-credential", nil, 2*count); err != nil || len(after) != count {
		t.Errorf("there are %d values after it, %v", len(after), err)
	}
	sound(t, s)
}

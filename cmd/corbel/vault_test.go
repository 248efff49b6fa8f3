package main

import (
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
	"github.com/corbel-build/corbel/internal/vault"
)

// BenchmarkRotate changes the root key over 10,000 secrets.
func BenchmarkRotate(b *testing.B) {
	dir := b.TempDir()
	s, err := sqlite.Open(b.Context(), filepath.Join(dir, "db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	v, err := vault.OpenOrCreate(filepath.Join(dir, "key"))
	if err != nil {
		b.Fatal(err)
	}
	for first := 0; first < 10000; first += 500 {
		err := s.Update(b.Context(), func(tx store.Tx) error {
			for i := first; i < first+500; i++ {
				c := store.Credential{
					Scope: store.Scope{Account: fmt.Sprintf("%012d", i), Region: "us-east-1"}, ServerType: api.ServerTypeGITHUB, ARN: fmt.Sprint("arn:", i), Generation: 1, Created: time.Now(),
				}
				var err error
				if c.Sealed, err = credential.Seal(v, c, "", "ghp_OfTheBenchmark000000000000000000001"); err != nil {
					return err
				}
				if err := tx.PutCredential(b.Context(), c); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := rotateVault(b.Context(), s, v, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

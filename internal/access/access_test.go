package access

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
	"github.com/corbel-build/corbel/internal/vault"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	st, err := sqlite.Open(ctx, filepath.Join(dir, "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	v, err := vault.OpenOrCreate(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := CreateAccount(ctx, st, time.Now())
	if err != nil || !regexp.MustCompile(`^[1-9][0-9]{11}$`).MatchString(a.ID) {
		t.Fatalf("CreateAccount = %+v, %v", a, err)
	}
	k := &Keys{Store: st, Vault: v, Now: time.Now}
	id, secret, err := k.Create(ctx, a.ID, "ci", "", time.Time{})
	if err != nil || !regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`).MatchString(id) || len(secret.Reveal()) != 40 {
		t.Fatalf("Create = %s, %d characters, %v", id, len(secret.Reveal()), err)
	}
	for range 2 { // the second time from memory
		key, _, got, err := k.Find(ctx, id)
		if err != nil || key.User != "ci" || key.Account != a.ID || got != secret {
			t.Fatalf("Find = %+v, %v", key, err)
		}
	}
	key, err := st.AccessKey(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	// The sealed secret of one key is no other's.
	key.ID = "AKIAANOTHERKEYOFTHIS"
	if err := st.Update(ctx, func(tx store.Tx) error { return tx.PutAccessKey(ctx, key) }); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := k.Find(ctx, key.ID); !errors.Is(err, vault.ErrTampered) {
		t.Errorf("a moved secret: %v", err)
	}
	if _, _, _, err := k.Find(ctx, "AKIANOTHERE"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a key that is not there: %v", err)
	}
	for _, user := range []string{"", "a b", "a/b", string(make([]byte, 65))} {
		if _, _, err := k.Create(ctx, a.ID, user, "", time.Time{}); err == nil {
			t.Errorf("the user name %q was accepted", user)
		}
	}
	p := Principal{Scope: store.Scope{Account: a.ID, Region: "eu-west-1"}, User: "ci"}
	if got := From(With(ctx, p)); got != p || p.ARN() != "arn:aws:iam::"+a.ID+":user/ci" {
		t.Errorf("From(With(p)) = %+v; ARN %s", got, p.ARN())
	}
}

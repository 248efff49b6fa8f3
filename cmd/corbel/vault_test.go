package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/secret"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
	"github.com/corbel-build/corbel/internal/vault"
)

const planted = "ghp_VaultCommandPlanted000000000000000001"

// opened is a data directory as one process has it open.
type opened struct {
	dir string
	s   *sqlite.Store
	v   *vault.Vault
}

func openData(t testing.TB, dir string) opened {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(dir, "corbel.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	v, err := vault.OpenOrCreate(filepath.Join(dir, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	return opened{dir, s, v}
}

func (o opened) update(t testing.TB, fn func(tx store.Tx) error) {
	t.Helper()
	if err := o.s.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// put imports a token as the service does: sealed in the transaction.
func (o opened) put(tx store.Tx, scope store.Scope, server api.ServerType, token string) error {
	ctx := context.Background()
	c := store.Credential{Scope: scope, ServerType: server, ARN: fmt.Sprintf("arn:aws:codebuild:%s:%s:token/%s", scope.Region, scope.Account, server), Generation: 1, Created: time.Now()}
	if old, err := tx.Credential(ctx, scope, server); err == nil {
		c.Generation = old.Generation + 1
	}
	var err error
	if c.Sealed, err = credential.Seal(o.v, c, "", api.Secret(token)); err != nil {
		return err
	}
	return tx.PutCredential(ctx, c)
}

// load stores n tokens, in as many accounts.
func (o opened) load(t testing.TB, n int) {
	t.Helper()
	for first := 0; first < n; first += 500 {
		o.update(t, func(tx store.Tx) error {
			for i := first; i < min(first+500, n); i++ {
				if err := o.put(tx, scopeOf(i), api.ServerTypeGITHUB, tokenOf(i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func scopeOf(i int) store.Scope {
	return store.Scope{Account: fmt.Sprintf("%012d", i), Region: "us-east-1"}
}

func tokenOf(i int) string { return fmt.Sprintf("%s%d", planted, i) }

// all lists every sealed value.
func (o opened) all(t testing.TB) (list []store.SealedValue) {
	t.Helper()
	if err := sealedValues(t.Context(), o.s, func(page []store.SealedValue) error { list = append(list, page...); return nil }); err != nil {
		t.Fatal(err)
	}
	return list
}

// rotated fails unless everything is sealed under the primary key, opens with
// the ring as it is in the file, and holds the tokens of load.
func (o opened) rotated(t testing.TB, tokens int) {
	t.Helper()
	fresh, err := vault.Open(filepath.Join(o.dir, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	if ids := activeKeys(fresh); len(ids) > 0 {
		t.Errorf("root keys %v are not retired", ids)
	}
	if ids, err := neededKeys(t.Context(), o.s); err != nil || !slices.Equal(ids, []uint32{fresh.Primary()}) {
		t.Errorf("root keys %v are in use, want %d (%v)", ids, fresh.Primary(), err)
	}
	var bad bytes.Buffer
	if err := verifyVault(t.Context(), o.s, fresh, io.Discard, &bad); err != nil {
		t.Errorf("verify: %v\n%s", err, &bad)
	}
	for i := range tokens {
		c, err := o.s.Credential(t.Context(), scopeOf(i), api.ServerTypeGITHUB)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := fresh.Open(credential.Binding(c), c.Sealed); err != nil || !strings.Contains(text.Reveal(), tokenOf(i)+`"`) {
			t.Errorf("token %d is lost: %v", i, err)
		}
	}
}

// The store's knowledge of what seals are bound to is that of those who seal.
func TestVerify_EveryKind(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	o := openData(t, t.TempDir())
	home := store.Scope{Account: "111122223333", Region: "eu-west-1"}
	o.update(t, func(tx store.Tx) error { return tx.PutAccount(ctx, store.Account{ID: home.Account}) })
	if _, _, err := (&access.Keys{Store: o.s, Vault: o.v, Now: time.Now}).Create(ctx, home.Account, "ci", "", time.Time{}); err != nil {
		t.Fatal(err)
	}
	o.update(t, func(tx store.Tx) error {
		v := store.SecretVersion{Scope: home, Secret: "arn:aws:secretsmanager:eu-west-1:111122223333:secret:x-AbCdEf", ID: "v1", Stages: []string{}}
		p := store.Parameter{Scope: home, Name: "/p", ARN: "arn:aws:ssm:eu-west-1:111122223333:parameter/p", Version: 12}
		w := store.Webhook{Scope: home, Project: "app", Address: "t", Version: 7}
		var errs [3]error
		w.Sealed, errs[2] = credential.SealHook(o.v, w, credential.HookSecret{Value: planted})
		v.Sealed, errs[0] = o.v.Seal(secret.Binding(v), planted)
		p.Sealed, errs[1] = o.v.Seal(secret.ParameterBinding(p), planted)
		check, err := o.v.CheckValue()
		return errors.Join(errs[0], errs[1], errs[2], err, tx.PutWebhook(ctx, w), o.put(tx, home, api.ServerTypeGITHUB, planted), tx.PutSecretVersion(ctx, v), tx.PutParameter(ctx, p), tx.PutCheck(ctx, "root-key", check))
	})
	for round := range 2 {
		var out, bad strings.Builder
		if err := verifyVault(ctx, o.s, o.v, &out, &bad); err != nil {
			t.Errorf("verify: %v\n%s", err, bad.String())
		}
		for _, kind := range o.s.SealedKinds() {
			if want := fmt.Sprintf("1 of kind %s open, under root key %d\n", kind, round+1); !strings.Contains(out.String(), want) {
				t.Errorf("verify says\n%swant %s", out.String(), want)
			}
		}
		if err := rotateVault(ctx, o.s, o.s.Wipe, o.v, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
}

// A sealed value that was moved to another row, account, region, kind of server
// or generation does not open, and verify names the row.
func TestVerify_Moved(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	o := openData(t, t.TempDir())
	scopes := []store.Scope{{Account: "111122223333", Region: "eu-west-1"}, {Account: "444455556666", Region: "eu-west-1"}, {Account: "111122223333", Region: "us-east-1"}}
	o.update(t, func(tx store.Tx) error {
		for _, s := range scopes {
			for _, server := range []api.ServerType{api.ServerTypeGITHUB, api.ServerTypeGITLAB} {
				if err := o.put(tx, s, server, planted); err != nil {
					return err
				}
			}
		}
		return nil
	})
	former, err := o.s.Credential(ctx, scopes[0], api.ServerTypeGITHUB)
	if err != nil {
		t.Fatal(err)
	}
	o.update(t, func(tx store.Tx) error { return o.put(tx, scopes[0], api.ServerTypeGITHUB, planted) })
	all := o.all(t)
	if len(all) != 6 {
		t.Fatalf("there are %d values", len(all))
	}
	for _, to := range all {
		for _, from := range append(slices.Clone(all), store.SealedValue{Sealed: former.Sealed}) {
			if bytes.Equal(from.Sealed, to.Sealed) {
				continue
			}
			o.update(t, func(tx store.Tx) error { return tx.Reseal(ctx, to, from.Sealed) })
			var bad strings.Builder
			err := verifyVault(ctx, o.s, o.v, io.Discard, &bad)
			if err == nil || !strings.Contains(err.Error(), "1 sealed values do not open") || !strings.Contains(bad.String(), fmt.Sprintf("source-credential %q", to.Key)) {
				t.Errorf("%q opens in the place of %q: %v\n%s", from.Key, to.Key, err, bad.String())
			}
			moved := to
			moved.Sealed = from.Sealed
			o.update(t, func(tx store.Tx) error { return tx.Reseal(ctx, moved, to.Sealed) })
		}
	}
	last := all[len(all)-1]
	o.update(t, func(tx store.Tx) error { return tx.Reseal(ctx, last, all[0].Sealed) })
	if err := rotateVault(ctx, o.s, o.s.Wipe, o.v, io.Discard); !errors.Is(err, vault.ErrTampered) || len(activeKeys(o.v)) != 1 {
		t.Errorf("a rotation over what does not open: %v", err)
	}
	moved := last
	moved.Sealed = all[0].Sealed
	o.update(t, func(tx store.Tx) error { return tx.Reseal(ctx, moved, last.Sealed) })
	if err := rotateVault(ctx, o.s, o.s.Wipe, o.v, io.Discard); err != nil {
		t.Errorf("with everything in its place: %v", err)
	}
	o.rotated(t, 0)
}

// stopping is a store whose process is killed around its Update number at.
type stopping struct {
	store.Store
	at    int
	after bool // of the commit
	count int
}

var errStopped = errors.New("stopped")

func (s *stopping) Update(ctx context.Context, fn func(store.Tx) error) error {
	s.count++
	if s.count < s.at {
		return s.Store.Update(ctx, fn)
	}
	if s.after && s.count == s.at {
		if err := s.Store.Update(ctx, fn); err != nil {
			return err
		}
	}
	return errStopped
}

// A rotation that is stopped anywhere loses nothing and is finished by the
// next, with one more key and not two.
func TestRotate_StoppedAnywhere(t *testing.T) {
	t.Parallel()
	const tokens = 250 // three pages
	ctx := t.Context()
	type stop struct {
		name string
		run  func(o opened) error
	}
	steps := []stop{
		{"after the new key", func(o opened) error {
			return errors.Join(o.v.Change((*vault.Change).AddKey), errStopped)
		}},
		{"before the wiping", func(o opened) error {
			return rotateVault(ctx, o.s, func(context.Context) error { return errStopped }, o.v, io.Discard)
		}},
		{"after the wiping", func(o opened) error {
			return rotateVault(ctx, o.s, func(ctx context.Context) error { return errors.Join(o.s.Wipe(ctx), errStopped) }, o.v, io.Discard)
		}},
	}
	for at := 1; at <= 4; at++ {
		for _, after := range []bool{false, true} {
			steps = append(steps, stop{fmt.Sprintf("update %d, committed %v", at, after), func(o opened) error {
				return rotateVault(ctx, &stopping{Store: o.s, at: at, after: after}, o.s.Wipe, o.v, io.Discard)
			}})
		}
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			t.Parallel()
			o := openData(t, t.TempDir())
			o.load(t, tokens)
			if err := step.run(o); !errors.Is(err, errStopped) {
				t.Fatalf("it was not stopped: %v", err)
			}
			if err := verifyVault(ctx, o.s, o.v, io.Discard, io.Discard); err != nil {
				t.Errorf("after the stop: %v", err)
			}
			next := openData(t, o.dir) // another process
			if err := rotateVault(ctx, next.s, next.s.Wipe, next.v, io.Discard); err != nil {
				t.Fatalf("again: %v", err)
			}
			next.rotated(t, tokens)
			if p := next.v.Primary(); p != 2 {
				t.Errorf("root key %d is primary, want 2", p)
			}
		})
	}
}

// While several goroutines of one process import, another process changes the
// root key again and again. Nothing acknowledged is lost, and of what was
// sealed under a former key no trace is in the database's files.
func TestRotate_WhileWriting(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server := openData(t, t.TempDir())
	const tokens, writers, rounds = 200, 4, 5
	server.load(t, tokens)
	before := server.all(t)
	command := openData(t, server.dir)
	stop := make(chan struct{}) // closed when the last rotation is done
	var wg sync.WaitGroup
	var written [writers]int
	progress := make(chan struct{}, 1) // after each import
	for w := range writers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				i := w + writers*(written[w]%(tokens/writers))
				if err := server.s.Update(ctx, func(tx store.Tx) error { return server.put(tx, scopeOf(i), api.ServerTypeGITHUB, tokenOf(i)) }); err != nil {
					t.Errorf("an import: %v", err)
					return
				}
				if c, err := server.s.Credential(ctx, scopeOf(i), api.ServerTypeGITHUB); err != nil {
					t.Error(err)
				} else if _, err := server.v.Open(credential.Binding(c), c.Sealed); err != nil {
					t.Errorf("what was just imported does not open: %v", err)
				}
				written[w]++
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	for range rounds {
		<-progress
		if err := rotateVault(ctx, command.s, command.s.Wipe, command.v, io.Discard); err != nil {
			t.Errorf("rotate: %v", err)
		}
	}
	close(stop)
	wg.Wait()
	command.rotated(t, tokens)
	if p := command.v.Primary(); p != 1+rounds {
		t.Errorf("root key %d is primary, want %d", p, 1+rounds)
	}
	if err := command.s.Wipe(ctx); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"corbel.db", "corbel.db-wal"} {
		data, err := os.ReadFile(filepath.Join(server.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range before {
			if bytes.Contains(data, v.Sealed[len(v.Sealed)/2:]) {
				t.Errorf("%s still has what was sealed for %q under the first key", name, v.Key)
			}
		}
	}
	t.Logf("%v imports during %d rotations", written, rounds)
}

// BenchmarkRotate changes the root key over 10,000 secrets.
func BenchmarkRotate(b *testing.B) {
	o := openData(b, b.TempDir())
	o.load(b, 10000)
	for b.Loop() {
		if err := rotateVault(b.Context(), o.s, o.s.Wipe, o.v, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

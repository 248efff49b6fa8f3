package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/providers"
	"github.com/corbel-build/corbel/internal/phase"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
	"github.com/corbel-build/corbel/internal/vault"
)

var scope = store.Scope{Account: "123456789012", Region: "us-west-2"}

// A provider keeps the statuses that it took, and answers each attempt with
// the next error.
type provider struct {
	forge.Hooks // nil: nothing here makes hooks

	mu     sync.Mutex
	errs   []error
	took   []string
	tried  int
	change chan struct{} // receives after each attempt
}

func (*provider) CheckCredential(context.Context, forge.Host, forge.Token) (forge.Check, error) {
	return forge.Check{}, errors.New("not asked for in these tests")
}

func (*provider) CheckRepository(context.Context, forge.Host, forge.Token, string) (forge.Abilities, error) {
	return forge.Abilities{}, errors.New("not asked for in these tests")
}

func (p *provider) SetStatus(ctx context.Context, h forge.Host, token forge.Token, repo string, s forge.Status) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.change <- struct{}{} }()
	p.tried++
	if h.Name == "silent.example.com" {
		p.mu.Unlock()
		<-ctx.Done()
		p.mu.Lock()
		return ctx.Err()
	}
	if h.Name != "github.com" || token.Value.Reveal() != "ghp_StatusTest" || repo != "octo/app" {
		return fmt.Errorf("called with host %s and repository %s", h.Name, repo)
	}
	if len(p.errs) > 0 {
		err := p.errs[0]
		p.errs = p.errs[1:]
		if err != nil {
			return err
		}
	}
	p.took = append(p.took, s.State)
	return nil
}

func start(t *testing.T, p *provider, imported bool) store.Store {
	t.Helper()
	p.change = make(chan struct{}, 100)
	dir := t.TempDir()
	st, err := sqlite.Open(context.Background(), filepath.Join(dir, "db"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.OpenOrCreate(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := forge.NewHosts(providers.All, []string{"GITHUB_ENTERPRISE=https://silent.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if imported {
		c := store.Credential{Scope: scope, ServerType: api.ServerTypeGITHUB, AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, ARN: "arn", Generation: 1}
		if c.Sealed, err = credential.Seal(v, c, "", "ghp_StatusTest"); err != nil {
			t.Fatal(err)
		}
		far := store.Credential{Scope: scope, ServerType: "GITHUB_ENTERPRISE", AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, ARN: "arn-2", Generation: 1}
		if far.Sealed, err = credential.Seal(v, far, "", "ghp_StatusTest"); err != nil {
			t.Fatal(err)
		}
		if err := st.Update(context.Background(), func(tx store.Tx) error {
			return errors.Join(tx.PutCredential(context.Background(), c), tx.PutCredential(context.Background(), far))
		}); err != nil {
			t.Fatal(err)
		}
	}
	s := &Sender{
		Store: st, Credentials: &credential.Resolver{Store: st, Vault: v, Hosts: hosts, Now: time.Now}, Forges: map[api.ServerType]forge.Forge{api.ServerTypeGITHUB: p, "GITHUB_ENTERPRISE": p},
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, st.Close()); err != nil {
			t.Error(err)
		}
	})
	return st
}

func put(t *testing.T, st store.Store, created time.Time, states ...string) {
	t.Helper()
	for _, state := range states {
		err := st.Update(context.Background(), func(tx store.Tx) error {
			return tx.PutStatus(context.Background(), store.CommitStatus{
				Scope: scope, Project: "app", Build: "app:1", SHA: "abc", State: state, Context: "c", Created: created, Next: created,
				Source: &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")},
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// attempts waits for n attempts.
func (p *provider) attempts(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-p.change:
		case <-time.After(time.Minute):
			t.Fatalf("fewer than %d attempts", n)
		}
	}
}

// empty waits until the outbox is empty.
func empty(t *testing.T, st store.Store) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := st.Update(context.Background(), func(tx store.Tx) error {
			_, err := tx.NextStatus(context.Background(), nil, nil)
			return err
		})
		if errors.Is(err, store.ErrNotFound) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the outbox is not empty: %v", err)
		}
	}
}

// A host that is down for a while gets the statuses later, in their order.
func TestSender_TriesAgainInOrder(t *testing.T) {
	t.Parallel()
	p := &provider{errs: []error{&forge.Error{Host: "github.com", Text: "down", Again: forge.Again{Worthwhile: true}}}}
	st := start(t, p, true)
	put(t, st, time.Now(), "pending", "success")
	p.attempts(t, 3)
	empty(t, st)
	if want := []string{"pending", "success"}; !slices.Equal(p.took, want) {
		t.Errorf("the host has %v, want %v", p.took, want)
	}
}

// A host that does not answer holds up no other, however much waits for it, nor
// what comes after to the others.
func TestSender_SilentHost(t *testing.T) {
	t.Parallel()
	p := &provider{}
	st := start(t, p, true)
	if err := st.Update(t.Context(), func(tx store.Tx) (err error) {
		for i := range 3 * crowded {
			err = errors.Join(err, tx.PutStatus(t.Context(), store.CommitStatus{
				Scope: scope, Project: "far", SHA: fmt.Sprint(i), State: "pending", Context: "c", Created: time.Now(), Next: time.Now(),
				Source: &api.ProjectSource{Type: api.SourceTypeGITHUB_ENTERPRISE, Location: new("https://silent.example.com/octo/app.git")},
			}))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, state := range []string{"pending", "success"} {
		put(t, st, time.Now(), state)
		p.attempts(t, 1)
	}
	if took := time.Since(began); took > callTime/2 {
		t.Errorf("the statuses of another host took %v", took)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if want := []string{"pending", "success"}; !slices.Equal(p.took, want) {
		t.Errorf("the host has %v, want %v", p.took, want)
	}
	if p.tried > crowded+2 {
		t.Errorf("%d were under way at a time to the silent host, want %d at most", p.tried-2, crowded)
	}
}

// What cannot succeed is given up, and what comes after it is sent.
func TestSender_GivesUp(t *testing.T) {
	t.Parallel()
	p := &provider{errs: []error{&forge.Error{Host: "github.com", Text: "no such commit"}}}
	st := start(t, p, true)
	put(t, st, time.Now(), "pending", "success")
	p.attempts(t, 2)
	empty(t, st)
	if want := []string{"success"}; !slices.Equal(p.took, want) {
		t.Errorf("the host has %v, want %v", p.took, want)
	}
	// A day is enough.
	p.mu.Lock()
	p.errs = []error{&forge.Error{Host: "github.com", Text: "down", Again: forge.Again{Worthwhile: true}}}
	p.mu.Unlock()
	put(t, st, time.Now().Add(-25*time.Hour), "failure")
	p.attempts(t, 1)
	empty(t, st)
}

func TestSender_WithoutCredential(t *testing.T) {
	t.Parallel()
	p := &provider{}
	st := start(t, p, false)
	put(t, st, time.Now(), "pending")
	empty(t, st)
	if p.tried != 0 {
		t.Errorf("the host was called %d times", p.tried)
	}
}

// A build whose status was given up says so, once it has ended.
func TestSender_TellsTheBuild(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	p := &provider{errs: []error{&forge.Error{Host: "github.com", Text: "the token lacks the scope repo:status"}}}
	st := start(t, p, true)
	now := time.Now()
	b := store.Build{Scope: scope, Requested: now, QueueUntil: now.Add(time.Hour), Doc: &api.Build{Id: new("app:1"), ProjectName: new("app"), BuildNumber: new(int64(1))}}
	phase.Submit(b.Doc, now)
	update := func(fn func(tx store.Tx) error) {
		t.Helper()
		if err := st.Update(ctx, fn); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx store.Tx) error { return tx.QueueBuild(ctx, b) })
	update(func(tx store.Tx) (err error) {
		b, err = tx.ClaimBuild(ctx, "here", now.Add(time.Hour))
		return err
	})
	phase.Leave(b.Doc, api.StatusTypeSUCCEEDED, "", "", now)
	phase.Complete(b.Doc, api.StatusTypeSUCCEEDED, now)
	b.State = store.Complete
	update(func(tx store.Tx) error { return tx.SaveBuild(ctx, b) })

	put(t, st, now, "success")
	p.attempts(t, 1)
	empty(t, st)
	got, err := st.Build(ctx, scope, "app:1")
	if err != nil {
		t.Fatal(err)
	}
	last := got.Doc.Phases[len(got.Doc.Phases)-2]
	if n := len(last.Contexts); n == 0 || *last.Contexts[n-1].StatusCode != "COMMIT_STATUS_NOT_SENT" || !strings.Contains(*last.Contexts[n-1].Message, "was given up at attempt 1: github.com: the token lacks the scope repo:status") {
		t.Errorf("the build's phase %s has the contexts %+v", last.PhaseType, last.Contexts)
	}
}

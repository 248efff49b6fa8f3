package service

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/buildlog"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/providers"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
	"github.com/corbel-build/corbel/internal/vault"
)

// A bench is a service on a store of its own, and a context of its caller.
type bench struct {
	*Service
	dir    string
	ctx    context.Context
	mu     sync.Mutex
	at     time.Time
	answer func(api.Secret) (forge.Check, error) // what the provider says of a token
}

// forward moves the clock.
func (b *bench) forward(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = b.at.Add(d)
}

// forgeFunc is a provider that only checks tokens.
type forgeFunc struct {
	forge.Hooks // nil: no test of this package makes hooks with it
	check       func(api.Secret) (forge.Check, error)
}

func (f forgeFunc) CheckCredential(_ context.Context, _ forge.Host, t forge.Token) (forge.Check, error) {
	return f.check(t.Value)
}

func (forgeFunc) CheckRepository(context.Context, forge.Host, forge.Token, string) (forge.Abilities, error) {
	return forge.Abilities{}, errors.New("not asked for in these tests")
}

func (forgeFunc) SetStatus(context.Context, forge.Host, forge.Token, string, forge.Status) error {
	return errors.New("not asked for in these tests")
}

func as(user string) context.Context { return in("123456789012", "us-west-2", user) }

func in(account, region, user string) context.Context {
	return access.With(context.Background(), access.Principal{Scope: store.Scope{Account: account, Region: region}, User: user, KeyID: "AKIATEST"})
}

func newBench(t testing.TB) *bench {
	t.Helper()
	dir := t.TempDir()
	st, err := sqlite.Open(context.Background(), filepath.Join(dir, "corbel.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	v, err := vault.OpenOrCreate(filepath.Join(dir, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := forge.NewHosts(providers.All, []string{"GITHUB_ENTERPRISE=https://ghe.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	logs, err := buildlog.Open(filepath.Join(dir, "logs"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{dir: dir, ctx: as("alice"), at: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	ask := forgeFunc{check: func(token api.Secret) (forge.Check, error) {
		if b.answer != nil {
			return b.answer(token)
		}
		return forge.Check{Login: "octocat", Scopes: []string{"repo"}}, nil
	}}
	now := func() time.Time {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.at
	}
	log := slog.New(slog.DiscardHandler)
	resolver := &credential.Resolver{Store: st, Vault: v, Hosts: hosts, Now: now, Secret: func(context.Context, store.Scope, string) (api.Secret, error) {
		return "", errors.New("there are no secrets in these tests")
	}}
	b.Service = &Service{
		Store: st, Vault: v, Keys: &access.Keys{Store: st, Vault: v, Now: now}, Hosts: hosts, Logs: logs, Log: log, Verify: Reject, URL: "http://127.0.0.1:8040", Now: now,
		Checker: credential.NewChecker(resolver, map[api.ServerType]forge.Forge{api.ServerTypeGITHUB: ask, api.ServerTypeGITHUB_ENTERPRISE: ask}, time.Hour, log),
	}
	return b
}

// wantError fails unless err is the service's error of that code whose text
// has the words.
func wantError(t *testing.T, err error, code, words string) {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, words) {
		t.Errorf("error = %v, want %s with %q", err, code, words)
	}
}

// project creates a project that runs nothing.
func (b *bench) project(t *testing.T, name string, change func(*api.CreateProjectInput)) *api.Project {
	t.Helper()
	in := &api.CreateProjectInput{
		Name:        &name,
		Source:      &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")},
		Artifacts:   &api.ProjectArtifacts{Type: api.ArtifactsTypeNO_ARTIFACTS},
		Environment: &api.ProjectEnvironment{Type: api.EnvironmentTypeLINUX_CONTAINER, Image: new("aws/codebuild/standard:7.0"), ComputeType: api.ComputeTypeBUILD_GENERAL1_SMALL},
		ServiceRole: new("arn:aws:iam::123456789012:role/build"),
	}
	if change != nil {
		change(in)
	}
	out, err := b.CreateProject(b.ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	return out.Project
}

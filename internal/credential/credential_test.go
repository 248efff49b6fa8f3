package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/forge/providers"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
	"github.com/corbel-build/corbel/internal/vault"
)

var home = store.Scope{Account: "123456789012", Region: "us-west-2"}

// resolver makes a resolver that has a token for each server type.
func resolver(t *testing.T) *Resolver {
	t.Helper()
	dir := t.TempDir()
	st, err := sqlite.Open(context.Background(), filepath.Join(dir, "db"))
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
	hosts, err := forge.NewHosts(providers.All, []string{"GITHUB_ENTERPRISE=https://ghe.example.com", "GITLAB_SELF_MANAGED=https://git.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []api.ServerType{api.ServerTypeGITHUB, api.ServerTypeGITHUB_ENTERPRISE, api.ServerTypeBITBUCKET, api.ServerTypeGITLAB, api.ServerTypeGITLAB_SELF_MANAGED} {
		c := store.Credential{Scope: home, ServerType: server, AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, ARN: "arn:" + string(server), Generation: 3}
		if c.Sealed, err = Seal(v, c, "", api.Secret("token-of-"+server)); err != nil {
			t.Fatal(err)
		}
		if err := st.Update(context.Background(), func(tx store.Tx) error { return tx.PutCredential(context.Background(), c) }); err != nil {
			t.Fatal(err)
		}
	}
	return &Resolver{Store: st, Vault: v, Hosts: hosts, Now: time.Now}
}

// A token is used for its own hosts and for no other.
func TestResolve_TokenOnlyForItsHosts(t *testing.T) {
	t.Parallel()
	r := resolver(t)
	for _, c := range []struct {
		kind     api.SourceType
		location string
		want     string // what the Authorization header says; "" is anonymous
	}{
		{api.SourceTypeGITHUB, "https://github.com/o/r.git", "x-access-token:token-of-GITHUB"},
		{api.SourceTypeGITHUB, "https://GitHub.com:443/o/r", "x-access-token:token-of-GITHUB"},
		{api.SourceTypeGITHUB_ENTERPRISE, "https://ghe.example.com/o/r", "x-access-token:token-of-GITHUB_ENTERPRISE"},
		{api.SourceTypeGITHUB_ENTERPRISE, "http://ghe.example.com/o/r", ""},
		{api.SourceTypeGITHUB_ENTERPRISE, "https://ghe.example.com:8443/o/r", ""},
		{api.SourceTypeGITHUB_ENTERPRISE, "https://evil.example.com/o/r", ""},
		{api.SourceTypeGITHUB_ENTERPRISE, "https://ghe.example.com.evil.com/o/r", ""},
		{api.SourceTypeBITBUCKET, "https://bob@bitbucket.org/o/r.git", "x-token-auth:token-of-BITBUCKET"},
		{api.SourceTypeGITLAB, "https://gitlab.com/group/sub/r", "oauth2:token-of-GITLAB"},
		{api.SourceTypeGITLAB_SELF_MANAGED, "https://git.example.com/o/r", "oauth2:token-of-GITLAB_SELF_MANAGED"},
	} {
		src := &api.ProjectSource{Type: c.kind, Location: &c.location}
		a, err := r.Resolve(context.Background(), home, src, src)
		if err != nil {
			t.Errorf("%s %s: %v", c.kind, c.location, err)
			continue
		}
		got := ""
		if authorize := a.Authorize(ForSource); authorize != nil {
			header, err := authorize(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			b, err := base64.StdEncoding.DecodeString(header[len("Basic "):])
			if err != nil {
				t.Fatal(err)
			}
			got = string(b)
		}
		if got != c.want {
			t.Errorf("%s %s is fetched as %q, want %q", c.kind, c.location, got, c.want)
		}
	}
}

func TestResolve_Refuses(t *testing.T) {
	t.Parallel()
	r := resolver(t)
	for _, location := range []string{"https://evil.com/o/r", "https://github.com@evil.com/o/r", "https://github.com.evil.com/o/r", "git@github.com:o/r", "http://github.com/o/r"} {
		src := &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: &location}
		if a, err := r.Resolve(context.Background(), home, src, src); err == nil {
			t.Errorf("%s as GITHUB gives %+v", location, a.Repository)
		}
	}
	src := &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/o/r"), Auth: &api.SourceAuth{Type: api.SourceAuthTypeSECRETS_MANAGER}}
	var mendable *Problem
	if _, err := r.Resolve(context.Background(), home, src, src); !errors.As(err, &mendable) {
		t.Errorf("auth of a secret without its ARN: %v", err)
	}
	plain := &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/o/r")}
	fallback := &api.ProjectSource{Type: api.SourceTypeNO_SOURCE, Auth: &api.SourceAuth{Type: api.SourceAuthTypeCODECONNECTIONS, Resource: new("arn:c")}}
	if _, err := r.Resolve(context.Background(), home, plain, fallback); !errors.As(err, &mendable) || !strings.Contains(err.Error(), "SECRETS_MANAGER") {
		t.Errorf("a project's connection: %v", err)
	}
	for _, elsewhere := range []store.Scope{{Account: home.Account, Region: "eu-west-1"}, {Account: "210987654321", Region: home.Region}} {
		if a, err := r.Resolve(context.Background(), elsewhere, plain, plain); err != nil || a.Credential != nil {
			t.Errorf("in %v the credential is %+v, %v", elsewhere, a.Credential, err)
		}
	}
}

// A submodule gets the token where its repository's own host has it.
func TestUpstream_OfSubmodules(t *testing.T) {
	t.Parallel()
	r := resolver(t)
	src := &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/o/r")}
	a, err := r.Resolve(context.Background(), home, src, src)
	if err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]bool{
		"https://github.com/o/other.git": true, "https://gitlab.com/o/r": false, "https://ghe.example.com/o/r": false, "https://evil.com/o/r": false,
	} {
		if _, authorized, err := a.Upstream(url); err != nil || authorized != want {
			t.Errorf("Upstream(%s): authorized %t, %v; want %t", url, authorized, err, want)
		}
	}
	if _, _, err := a.Upstream("file:///etc"); err == nil {
		t.Error("a file was accepted as a submodule")
	}
}

// A sealed token that is copied to another row does not open.
func TestSeal_BindsToItsRow(t *testing.T) {
	t.Parallel()
	r := resolver(t)
	c, err := r.Store.Credential(context.Background(), home, api.ServerTypeGITHUB)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*store.Credential){
		"region": func(c *store.Credential) { c.Region = "eu-west-1" }, "account": func(c *store.Credential) { c.Account = "210987654321" },
		"ARN": func(c *store.Credential) { c.ARN = "arn:GITLAB" }, "generation": func(c *store.Credential) { c.Generation-- },
	} {
		moved := c
		change(&moved)
		if _, err := open(r.Vault, moved); !errors.Is(err, vault.ErrTampered) {
			t.Errorf("with another %s: %v", name, err)
		}
	}
	if p, err := open(r.Vault, c); err != nil || p.Token != "token-of-GITHUB" {
		t.Errorf("unchanged: %v", err)
	}
}

package service

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

const planted = "ghp_PlantedInServiceTests0123456789abcdef"

func importInput(server api.ServerType, auth api.AuthType) *api.ImportSourceCredentialsInput {
	return &api.ImportSourceCredentialsInput{ServerType: server, AuthType: auth, Token: planted}
}

func TestImportSourceCredentials_SecondImportReplacesToken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first, err := b.ImportSourceCredentials(b.ctx, importInput(api.ServerTypeBITBUCKET, api.AuthTypePERSONAL_ACCESS_TOKEN))
	if err != nil {
		t.Fatal(err)
	}
	if want := "arn:aws:codebuild:us-west-2:123456789012:token/bitbucket"; *first.Arn != want {
		t.Errorf("arn = %s, want %s", *first.Arn, want)
	}
	// Another way of authentication takes the same place.
	again := importInput(api.ServerTypeBITBUCKET, api.AuthTypeBASIC_AUTH)
	again.Username, again.Token = new("bob"), "ATBBother0123456789"
	second, err := b.ImportSourceCredentials(b.ctx, again)
	if err != nil {
		t.Fatal(err)
	}
	if *second.Arn != *first.Arn {
		t.Errorf("the second import has the ARN %s, the first %s", *second.Arn, *first.Arn)
	}
	list, err := b.ListSourceCredentials(b.ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []api.SourceCredentialsInfo{{Arn: first.Arn, ServerType: api.ServerTypeBITBUCKET, AuthType: api.AuthTypeBASIC_AUTH}}
	if d := cmp.Diff(want, list.SourceCredentialsInfos); d != "" {
		t.Errorf("list (-want +got):\n%s", d)
	}
	r := credential.Resolver{Store: b.Store, Vault: b.Vault, Hosts: b.Hosts, Now: b.Now}
	src := &api.ProjectSource{Type: api.SourceTypeBITBUCKET, Location: new("https://bitbucket.org/o/r.git")}
	a, err := r.Resolve(context.Background(), store.Scope{Account: "123456789012", Region: "us-west-2"}, src, src)
	if err != nil {
		t.Fatal(err)
	}
	if header, err := a.Authorize(credential.ForSource)(context.Background()); err != nil || header != "Basic "+base64.StdEncoding.EncodeToString([]byte("bob:ATBBother0123456789")) {
		t.Errorf("Authorize() = %q, %v", header, err)
	}
}

func TestImportSourceCredentials_WithoutOverwriteKeepsToken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in := importInput(api.ServerTypeGITHUB, api.AuthTypePERSONAL_ACCESS_TOKEN)
	in.ShouldOverwrite = new(false)
	if _, err := b.ImportSourceCredentials(b.ctx, in); err != nil {
		t.Fatal(err)
	}
	_, err := b.ImportSourceCredentials(b.ctx, in)
	wantError(t, err, "ResourceAlreadyExistsException", "Access token with server type GITHUB already exists. Delete its source credential and try again.")
}

func TestImportSourceCredentials_Matrix(t *testing.T) {
	t.Parallel()
	auths := []api.AuthType{api.AuthTypeOAUTH, api.AuthTypeBASIC_AUTH, api.AuthTypePERSONAL_ACCESS_TOKEN, api.AuthTypeCODECONNECTIONS, api.AuthTypeSECRETS_MANAGER}
	for server, accepted := range map[api.ServerType]string{
		api.ServerTypeGITHUB:              "..+++",
		api.ServerTypeGITHUB_ENTERPRISE:   "..+++",
		api.ServerTypeBITBUCKET:           ".++++",
		api.ServerTypeGITLAB:              "..+++",
		api.ServerTypeGITLAB_SELF_MANAGED: "..+++",
	} {
		for i, auth := range auths {
			t.Run(fmt.Sprint(server, auth), func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				in := importInput(server, auth)
				in.Username = new("octocat")
				switch auth {
				case api.AuthTypeCODECONNECTIONS:
					in.Token = "arn:aws:codeconnections:us-west-2:123456789012:connection/1"
				case api.AuthTypeSECRETS_MANAGER:
					in.Token = "arn:aws:secretsmanager:us-west-2:123456789012:secret:s"
				}
				_, err := b.ImportSourceCredentials(b.ctx, in)
				if accepted[i] == '.' {
					wantError(t, err, "InvalidInputException", string(auth))
				} else if err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestImportSourceCredentials_Invalid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		in    api.ImportSourceCredentialsInput
		words string
	}{
		{"BASIC_AUTH without user", *importInput(api.ServerTypeBITBUCKET, api.AuthTypeBASIC_AUTH), "Username is required"},
		{"user with a colon", api.ImportSourceCredentialsInput{ServerType: api.ServerTypeBITBUCKET, AuthType: api.AuthTypeBASIC_AUTH, Token: "x", Username: new("a:b")}, "colons"},
		{"token in two lines", api.ImportSourceCredentialsInput{ServerType: api.ServerTypeGITHUB, AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, Token: planted + "\nx"}, "white space"},
		{"no token but white space", api.ImportSourceCredentialsInput{ServerType: api.ServerTypeGITHUB, AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, Token: " \n"}, "empty"},
		{"token with NUL", api.ImportSourceCredentialsInput{ServerType: api.ServerTypeGITHUB, AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, Token: "a\x00b"}, "control characters"},
		{"connection that is none", api.ImportSourceCredentialsInput{ServerType: api.ServerTypeGITHUB, AuthType: api.AuthTypeCODECONNECTIONS, Token: planted}, "ARN of a connection"},
		{"secret that is none", api.ImportSourceCredentialsInput{ServerType: api.ServerTypeGITHUB, AuthType: api.AuthTypeSECRETS_MANAGER, Token: planted}, "ARN of a secret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			_, err := b.ImportSourceCredentials(b.ctx, &c.in)
			wantError(t, err, "InvalidInputException", c.words)
			if err != nil && bytes.Contains([]byte(err.Error()), []byte(planted)) {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

func TestImportSourceCredentials_AsksTheProvider(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		verify Verify
		check  forge.Check
		err    error
		want   string // state; "" is a refused import
	}{
		{"good", Reject, forge.Check{Login: "octocat", Scopes: []string{"repo"}}, nil, credential.Valid},
		{"scopes missing", Reject, forge.Check{Login: "octocat", Scopes: []string{}, Missing: []string{"repo"}}, nil, credential.Insufficient},
		{"refused", Reject, forge.Check{}, fmt.Errorf("github.com says no: %w", forge.ErrRefused), ""},
		{"refused but recorded", Record, forge.Check{}, fmt.Errorf("github.com says no: %w", forge.ErrRefused), credential.Revoked},
		{"from a file, with its line end", Reject, forge.Check{Login: "octocat", Scopes: []string{"repo"}}, nil, credential.Valid},
		{"not asked", Off, forge.Check{}, fmt.Errorf("github.com says no: %w", forge.ErrRefused), credential.Unverified},
		{"unreachable", Reject, forge.Check{}, fmt.Errorf("no route: %w", forge.ErrUnreachable), credential.Unverified},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.Verify = c.verify
			b.answer = func(token api.Secret) (forge.Check, error) {
				if token.Reveal() != planted {
					t.Errorf("the provider is asked about another token")
				}
				return c.check, c.err
			}
			in := importInput(api.ServerTypeGITHUB, api.AuthTypePERSONAL_ACCESS_TOKEN)
			if strings.Contains(c.name, "line end") {
				in.Token += "\n"
			}
			_, err := b.ImportSourceCredentials(b.ctx, in)
			stored, readErr := b.Store.Credential(b.ctx, store.Scope{Account: "123456789012", Region: "us-west-2"}, api.ServerTypeGITHUB)
			if c.want == "" {
				wantError(t, err, "InvalidInputException", "github.com says no")
				if !absent(readErr) {
					t.Errorf("a refused token was stored: %v", readErr)
				}
				return
			}
			if err != nil || readErr != nil || stored.Health.State != c.want {
				t.Errorf("import: %v, read: %v, state %s, want %s", err, readErr, stored.Health.State, c.want)
			}
		})
	}
}

func TestSourceCredentials_AccountsAndRegionsApart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out, err := b.ImportSourceCredentials(b.ctx, importInput(api.ServerTypeGITHUB, api.AuthTypePERSONAL_ACCESS_TOKEN))
	if err != nil {
		t.Fatal(err)
	}
	for _, ctx := range []context.Context{in("123456789012", "eu-west-1", "alice"), in("210987654321", "us-west-2", "mallory")} {
		list, err := b.ListSourceCredentials(ctx, nil)
		if err != nil || len(list.SourceCredentialsInfos) != 0 {
			t.Errorf("list elsewhere = %v, %v; want nothing", list, err)
		}
		_, err = b.DeleteSourceCredentials(ctx, &api.DeleteSourceCredentialsInput{Arn: out.Arn})
		wantError(t, err, "ResourceNotFoundException", "Could not find access token for server type github")
	}
	if list, err := b.ListSourceCredentials(b.ctx, nil); err != nil || len(list.SourceCredentialsInfos) != 1 {
		t.Errorf("list at home = %v, %v; want one", list, err)
	}
}

func TestDeleteSourceCredentials(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out, err := b.ImportSourceCredentials(b.ctx, importInput(api.ServerTypeGITHUB, api.AuthTypePERSONAL_ACCESS_TOKEN))
	if err != nil {
		t.Fatal(err)
	}
	deleted, err := b.DeleteSourceCredentials(b.ctx, &api.DeleteSourceCredentialsInput{Arn: out.Arn})
	if err != nil || *deleted.Arn != *out.Arn {
		t.Errorf("delete = %v, %v", deleted, err)
	}
	_, err = b.DeleteSourceCredentials(b.ctx, &api.DeleteSourceCredentialsInput{Arn: out.Arn})
	wantError(t, err, "ResourceNotFoundException", "github")
	for _, bad := range []string{"github", "arn:aws:codebuild:us-west-2:123456789012:project/x", "arn:aws:s3:::token/github"} {
		_, err = b.DeleteSourceCredentials(b.ctx, &api.DeleteSourceCredentialsInput{Arn: &bad})
		wantError(t, err, "InvalidInputException", "Invalid ARN")
	}
}

func TestImportSourceCredentials_TokenIsNotInTheDatabase(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if _, err := b.ImportSourceCredentials(b.ctx, importInput(api.ServerTypeGITHUB, api.AuthTypePERSONAL_ACCESS_TOKEN)); err != nil {
		t.Fatal(err)
	}
	found := 0
	err := filepath.Walk(b.dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() || !bytes.Contains([]byte(path), []byte("corbel.db")) {
			return nil
		}
		found++
		data, err := os.ReadFile(path)
		if err == nil && (bytes.Contains(data, []byte(planted)) || bytes.Contains(data, []byte(base64.StdEncoding.EncodeToString([]byte(planted))))) {
			t.Errorf("%s has the token", path)
		}
		return nil
	})
	if err != nil || found == 0 {
		t.Errorf("looked at %d files: %v", found, err)
	}
}

// Imports and deletes at once end as if they had come one after the other:
// without overwriting, each import that succeeds is followed by a delete that
// does, but for the last.
func TestImportSourceCredentials_AtOnceWithDeletes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const each = 100
	arn := new("arn:aws:codebuild:us-west-2:123456789012:token/github")
	var stored, deleted atomic.Int64
	var all sync.WaitGroup
	for i := range each {
		all.Go(func() {
			_, err := b.ImportSourceCredentials(b.ctx, &api.ImportSourceCredentialsInput{
				ServerType: api.ServerTypeGITHUB, AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, Token: api.Secret(fmt.Sprintf("ghp_AtOnce%04d", i)), ShouldOverwrite: new(false),
			})
			var e *api.Error
			switch {
			case err == nil:
				stored.Add(1)
			case !errors.As(err, &e) || e.Code != "ResourceAlreadyExistsException":
				t.Errorf("import: %v", err)
			}
		})
		all.Go(func() {
			_, err := b.DeleteSourceCredentials(b.ctx, &api.DeleteSourceCredentialsInput{Arn: arn})
			var e *api.Error
			switch {
			case err == nil:
				deleted.Add(1)
			case !errors.As(err, &e) || e.Code != "ResourceNotFoundException":
				t.Errorf("delete: %v", err)
			}
		})
	}
	all.Wait()
	list, err := b.ListSourceCredentials(b.ctx, &api.ListSourceCredentialsInput{})
	if err != nil {
		t.Fatal(err)
	}
	left := int64(len(list.SourceCredentialsInfos))
	if stored.Load()-deleted.Load() != left || stored.Load() == 0 {
		t.Errorf("%d imports and %d deletes succeeded, and %d credentials are left", stored.Load(), deleted.Load(), left)
	}
	if left == 1 {
		src := &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/o/r")}
		a, err := b.Checker.Resolve(b.ctx, access.From(b.ctx).Scope, src, src)
		if err != nil {
			t.Fatal(err)
		}
		if token, err := a.Token(b.ctx, credential.ForStatus); err != nil || !strings.HasPrefix(token.Value.Reveal(), "ghp_AtOnce") {
			t.Errorf("what is left opens as %v, %v", token, err)
		}
	}
}

func TestImportSourceCredentials_BadTokens(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, c := range []struct{ token, user, words string }{
		{" \n", "", "empty"},
		{"ghp_one ghp_two", "", "white space"},
		{"ghp_one\r\nX-Evil: 1", "", "white space"},
		{"ghp_one\x00", "", "control characters"},
		{"ghp_ünïcode", "", "not ASCII"},
		{"ghp_\xff\xfe", "", "not ASCII"},
		{strings.Repeat("x", 1<<20), "", "1048576 bytes"},
		{"ATBBgood", "a:b", "colons"},
		{"ATBBgood", "a\nb", "control"},
		{"ATBBgood", strings.Repeat("x", 256), "255"},
	} {
		in := importInput(api.ServerTypeGITHUB, api.AuthTypePERSONAL_ACCESS_TOKEN)
		if c.user != "" {
			in = importInput(api.ServerTypeBITBUCKET, api.AuthTypeBASIC_AUTH)
			in.Username = &c.user
		}
		in.Token = api.Secret(c.token)
		_, err := b.ImportSourceCredentials(b.ctx, in)
		wantError(t, err, "InvalidInputException", c.words)
		if strings.Contains(err.Error(), "ghp_") {
			t.Errorf("the error repeats the token: %v", err)
		}
	}
	if list, err := b.ListSourceCredentials(b.ctx, &api.ListSourceCredentialsInput{}); err != nil || len(list.SourceCredentialsInfos) != 0 {
		t.Errorf("something was stored: %v, %v", list, err)
	}
}

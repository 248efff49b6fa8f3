package corbel_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// health is what "corbel credentials --output json" tells of a credential.
type health struct {
	Arn, State, User, Kind, Detail, AuthType string
	Scopes                                   []string
	MissingScopes                            []struct{ Scope, NeededFor string }
	Expires                                  float64
	Hosts                                    []string
	LastUsed                                 *struct{ Purpose, Build, Host string }
}

func (s *server) health() health {
	s.t.Helper()
	var out struct{ SourceCredentials []health }
	if err := json.Unmarshal([]byte(s.must(corbel(s.t), "credentials", "list", "--output", "json")), &out); err != nil {
		s.t.Fatal(err)
	}
	if len(out.SourceCredentials) != 1 {
		s.t.Fatalf("there are %d credentials, want 1", len(out.SourceCredentials))
	}
	return out.SourceCredentials[0]
}

// load imports a token for GitHub. It is not in an argument list, where the
// tests that look for leaks would find it.
func (s *server) load(token string) {
	s.t.Helper()
	_, err := s.client().ImportSourceCredentials(context.Background(), &api.ImportSourceCredentialsInput{
		ServerType: api.ServerTypeGITHUB, AuthType: api.AuthTypePERSONAL_ACCESS_TOKEN, Token: api.Secret(token),
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// What the server knows of a token follows the token's life: imported with
// too little, replaced, used by a build, about to end, revoked.
func TestCredentials_Health(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	host, _ := newHost(t, map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n"})
	const narrow = "ghp_NarrowTokenOfHealthTest0000000000001"
	host.AddToken(forgetest.Token{Value: narrow, Login: "octocat", Scopes: []string{"repo:status"}})
	s := serve(t, "-host", "github.com="+host.URL)
	s.load(narrow)
	h := s.health()
	if h.State != "INSUFFICIENT" || h.User != "octocat" || len(h.MissingScopes) != 2 || h.MissingScopes[0].Scope != "repo" || h.MissingScopes[0].NeededFor == "" || h.LastUsed != nil {
		t.Errorf("a token that lacks repo: %+v", h)
	}
	s.load(planted)
	if h = s.health(); h.State != "VALID" || len(h.MissingScopes) != 0 || len(h.Hosts) != 1 || h.Hosts[0] != "github.com" {
		t.Errorf("a token with everything: %+v", h)
	}
	s.projectOf("app", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")})
	resolved := s.must(corbel(t), "credentials", "resolve", "app", "--output", "json")
	if !strings.Contains(resolved, `"origin": "ACCOUNT"`) || !strings.Contains(resolved, h.Arn) {
		t.Errorf("resolve says %s", resolved)
	}
	build := func() string {
		t.Helper()
		return string(s.build(&api.StartBuildInput{ProjectName: new("app")}).BuildStatus)
	}
	if status := build(); status != "SUCCEEDED" {
		t.Fatalf("the build ended as %s", status)
	}
	if h = s.health(); h.LastUsed == nil || h.LastUsed.Purpose != "DOWNLOAD_SOURCE" || !strings.HasPrefix(h.LastUsed.Build, "app:") || h.LastUsed.Host != "github.com" {
		t.Errorf("after a build the last use is %+v", h.LastUsed)
	}

	host.AddToken(forgetest.Token{Value: planted, Login: "octocat", Scopes: []string{"repo"}, Expires: time.Now().Add(5 * 24 * time.Hour)})
	s.must(corbel(t), "credentials", "check")
	if h = s.health(); h.State != "EXPIRING" {
		t.Errorf("five days before its end the state is %s", h.State)
	}
	if log := s.log.String(); !strings.Contains(log, "source credential ends soon") {
		t.Error("the log has no word of the token's end")
	}

	host.RevokeToken(planted)
	if status := build(); status != "FAILED" {
		t.Fatalf("with a revoked token the build ended as %s", status)
	}
	s.until("the state is REVOKED", func() bool { return s.health().State == "REVOKED" })
	if out, err := s.run(corbel(t), "credentials", "check"); err == nil || !strings.Contains(out, "REVOKED") {
		t.Errorf("check of a revoked token: %v\n%s", err, out)
	}
	for _, text := range []string{s.log.String(), s.must(corbel(t), "credentials", "list")} {
		if strings.Contains(text, planted) || strings.Contains(text, narrow) {
			t.Error("a token shows")
		}
	}
}

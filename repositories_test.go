package corbel_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// Repositories to choose from are listed with the stored token, which is used
// for that at its host alone and is written down.
func TestListRepositories(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	host, _ := newHost(t, map[string]string{"x": "y"})
	if _, err := host.AddRepository(forgetest.Repository{Name: "octo/library", Commits: []forgetest.Commit{{Files: map[string]string{"x": "y"}}}}); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "-builds", "0", "-host", "github.com="+host.URL, "-host", "GITHUB_ENTERPRISE=https://one.example", "-host", "GITHUB_ENTERPRISE=https://two.example")
	c := s.client()
	b := newBrowser(t, s.url+"/console/")
	b.login(c.AccessKeyID, c.Secret.Reveal(), "region", c.Region)
	const target = "Corbel_20261101.ListRepositories"
	for doc, want := range map[string][2]string{
		`{"serverType":"GITHUB"}`:                                         {"ResourceNotFoundException", "Could not find access token for server type github"},
		`{"serverType":"SVN"}`:                                            {"InvalidInputException", "no server type SVN"},
		`{"serverType":"GITHUB_ENTERPRISE"}`:                              {"InvalidInputException", "say which"},
		`{"serverType":"GITHUB_ENTERPRISE","host":"evil.example"}`:        {"InvalidInputException", "evil.example is not a host"},
		`{"serverType":"GITHUB","nextToken":"https://evil.example/next"}`: {"InvalidInputException", "nextToken"},
	} {
		if status, out := b.call(target, doc); status != http.StatusBadRequest || out["__type"] != want[0] || !strings.Contains(out["message"].(string), want[1]) {
			t.Errorf("%s: %d %v, want %v", doc, status, out, want)
		}
	}
	s.load(planted)
	names := func(doc string) string {
		t.Helper()
		status, out := b.call(target, doc)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %v", doc, status, out)
		}
		var list []string
		for _, r := range out["repositories"].([]any) {
			r := r.(map[string]any)
			list = append(list, r["name"].(string))
			if !strings.HasPrefix(r["url"].(string), "https://github.com/octo/") || r["private"] != true || r["defaultBranch"] == nil {
				t.Errorf("repository %v", r)
			}
		}
		return strings.Join(list, " ")
	}
	if got := names(`{"serverType":"GITHUB"}`); !strings.Contains(got, "octo/app") || !strings.Contains(got, "octo/library") {
		t.Errorf("the repositories are %s", got)
	}
	if got := names(`{"serverType":"GITHUB","host":"github.com","search":"libr"}`); got != "octo/library" {
		t.Errorf("those like libr are %s", got)
	}
	if log := s.must(corbel(t), "audit", "list", "-event", "UseSourceCredential", "-data", s.data); !strings.Contains(log, "LIST_REPOSITORIES at github.com") {
		t.Errorf("the audit log is\n%s", log)
	}
	host.RevokeToken(planted)
	if status, out := b.call(target, `{"serverType":"GITHUB"}`); status != http.StatusBadRequest || strings.Contains(out["message"].(string), planted) {
		t.Errorf("with a revoked token: %d %v", status, out)
	}
}

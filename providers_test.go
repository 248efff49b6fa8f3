package corbel_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// The page's steps for every provider and way of authentication, with the real
// AWS CLI: import from a filled skeleton, list, build a private repository with
// a status on its commit, check, delete.
func TestProviders(t *testing.T) {
	t.Parallel()
	awsCLI(t)
	needs(t, "git")
	for name, c := range map[string]struct {
		dialect  *forgetest.Dialect
		server   string
		known    string // the host's name, or "" for an installation of one's own
		auth     string
		username string
		token    forgetest.Token
		repo     string
		path     string // of the location
		success  string
	}{
		"GitHub fine-grained": {
			&forgetest.GitHub, "GITHUB", "github.com", "PERSONAL_ACCESS_TOKEN", "",
			forgetest.Token{Value: "github_pat_11OfProvidersTest_0000000000000001", Login: "mona", Permissions: map[string]string{"contents": "read", "statuses": "write", "repository_hooks": "write"}},
			"octo/app", "/octo/app.git", "success",
		},
		"GitHub Enterprise": {
			&forgetest.GitHub, "GITHUB_ENTERPRISE", "", "PERSONAL_ACCESS_TOKEN", "",
			forgetest.Token{Value: "ghp_OfProvidersTest0000000000000000000002", Login: "mona", Scopes: []string{"repo"}},
			"octo/app", "/octo/app.git", "success",
		},
		"Bitbucket app password": {
			&forgetest.Bitbucket, "BITBUCKET", "bitbucket.org", "BASIC_AUTH", "mona",
			forgetest.Token{Value: "ATBBOfProvidersTest00000000003", Login: "mona", Scopes: []string{"account", "repository", "pullrequest", "webhook"}},
			"octo/app", "/octo/app.git", "SUCCESSFUL",
		},
		"Bitbucket API token": {
			&forgetest.Bitbucket, "BITBUCKET", "bitbucket.org", "BASIC_AUTH", "mona@example.com",
			forgetest.Token{Value: "ATATTOfProvidersTest0000000000004", Login: "mona", Email: "mona@example.com", Scopes: []string{"read:user:bitbucket", "read:repository:bitbucket", "read:pullrequest:bitbucket", "write:webhook:bitbucket"}},
			"octo/app", "/octo/app.git", "SUCCESSFUL",
		},
		"Bitbucket access token": {
			&forgetest.Bitbucket, "BITBUCKET", "bitbucket.org", "PERSONAL_ACCESS_TOKEN", "",
			forgetest.Token{Value: "ATCTTOfProvidersTest0000000000005", Login: "octo", Bot: true, Scopes: []string{"repository", "pullrequest", "webhook"}},
			"octo/app", "/octo/app.git", "SUCCESSFUL",
		},
		"GitLab": {
			&forgetest.GitLab, "GITLAB", "gitlab.com", "PERSONAL_ACCESS_TOKEN", "",
			forgetest.Token{Value: "glpat-OfProvidersTest0000006", Login: "mona", Scopes: []string{"api"}},
			"group/sub/app", "/group/sub/app", "success",
		},
		"GitLab self-managed": {
			&forgetest.GitLab, "GITLAB_SELF_MANAGED", "", "PERSONAL_ACCESS_TOKEN", "",
			forgetest.Token{Value: "glpat-OfProvidersTest0000007", Login: "project_1_bot_x", Bot: true, Scopes: []string{"api"}},
			"group/app", "/group/app.git", "success",
		},
		"Bitbucket Data Center": {
			&forgetest.DataCenter, "BITBUCKET_DATA_CENTER", "", "PERSONAL_ACCESS_TOKEN", "",
			forgetest.Token{Value: "BBDC-OfProvidersTest0000000000000008", Login: "mona", Scopes: []string{"repository:admin"}},
			"OCTO/app", "/scm/OCTO/app.git", "SUCCESSFUL",
		},
		"Gitea": {
			&forgetest.Gitea, "GITEA", "", "PERSONAL_ACCESS_TOKEN", "",
			forgetest.Token{Value: "0f9b0f1de5740000000000000000000000000009", Login: "mona", Scopes: []string{"read:user", "write:repository"}},
			"octo/app", "/octo/app.git", "success",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, err := forgetest.New(forgetest.Options{Dialect: c.dialect})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = host.Close() })
			host.AddToken(c.token)
			ids, err := host.AddRepository(forgetest.Repository{Name: c.repo, Commits: []forgetest.Commit{{
				Files: map[string]string{"buildspec.yml": "version: 0.2\nphases: {build: {commands: [\"env; cat .git/config; echo built\"]}}\n"},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			entry, location := c.known+"="+host.URL, "https://"+c.known+c.path
			if c.known == "" {
				entry, location = c.server+"="+host.URL, host.URL+c.path
			}
			s := serve(t, "-host", entry)

			in := map[string]any{"serverType": c.server, "authType": c.auth, "token": c.token.Value.Reveal()}
			if c.username != "" {
				in["username"] = c.username
			}
			filled, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "import-source-credentials.json")
			if err := os.WriteFile(file, filled, 0o600); err != nil {
				t.Fatal(err)
			}
			var imported struct{ Arn string }
			if err := json.Unmarshal([]byte(s.must("aws", "codebuild", "import-source-credentials", "--cli-input-json", "file://"+file)), &imported); err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(imported.Arn, ":token/"+strings.ToLower(c.server)) {
				t.Errorf("arn = %s", imported.Arn)
			}
			if list := s.must("aws", "codebuild", "list-source-credentials"); !strings.Contains(list, imported.Arn) || !strings.Contains(list, c.auth) {
				t.Errorf("the list is %s", list)
			}
			if h := s.health(); h.State != "VALID" {
				t.Errorf("the health is %+v", h)
			}
			s.projectOf("app", &api.ProjectSource{Type: api.SourceType(c.server), Location: &location, ReportBuildStatus: new(true)})
			b := s.build(&api.StartBuildInput{ProjectName: new("app")})
			log := s.must(corbel(t), "logs", "app")
			if b.BuildStatus != api.StatusTypeSUCCEEDED || !strings.Contains(log, "built") {
				t.Fatalf("the build ended as %s\n%s", b.BuildStatus, log)
			}
			s.until("the commit has its status", func() bool {
				list := host.Statuses(c.repo, ids[0])
				return len(list) > 0 && list[len(list)-1].State == c.success
			})
			if out := s.must(corbel(t), "credentials", "check", "--repository", location); strings.Count(out, " YES ") != 3 {
				t.Errorf("the check of the repository says\n%s", out)
			}
			for what, text := range map[string]string{"the build's log": log, "the server's log": s.log.String()} {
				if strings.Contains(text, c.token.Value.Reveal()) {
					t.Errorf("%s has the token", what)
				}
			}
			findPlanted(t, s.data, [][]byte{[]byte(c.token.Value.Reveal())})
			s.must("aws", "codebuild", "delete-source-credentials", "--arn", imported.Arn)
			if b := s.build(&api.StartBuildInput{ProjectName: new("app")}); b.BuildStatus != api.StatusTypeFAILED || !strings.Contains(s.must(corbel(t), "codebuild", "batch-get-builds", "--ids", *b.Id), "authentication required for primary source") {
				t.Errorf("without the token the build ended as %s", b.BuildStatus)
			}
		})
	}
}

package corbel_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// The console in a browser, by the words that a user sees. The steps are in
// internal/console/web/test.
func TestConsole_Browser(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	node := needs(t, "node", "nodejs")
	chromium := needs(t, "chromium", "chromium-browser", "google-chrome")
	const web = "internal/console/web"
	if _, err := os.Stat(web + "/node_modules/playwright-core"); err != nil {
		if strict {
			t.Fatalf("%s/node_modules is not there (npm ci), and CI may skip nothing", web)
		}
		t.Skipf("%s/node_modules is not there: run npm ci in %s", web, web)
	}

	host, _ := newHost(t, map[string]string{"word": "from the private repository", "buildspec.yml": "version: 0.2\nphases: {build: {commands: [cat word]}}\n"})
	const few = "ghp_PlantedInConsoleTestWithFewScopes0123"
	host.AddToken(forgetest.Token{Value: few, Login: "octocat", Scopes: []string{"repo:status"}})
	bitbucket, err := forgetest.New(forgetest.Options{Dialect: &forgetest.Bitbucket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bitbucket.Close() })
	const password = "ATBBPlantedInConsoleTest00000000000"
	bitbucket.AddToken(forgetest.Token{Value: password, Login: "mona", Scopes: []string{"account", "repository", "pullrequest", "webhook"}})

	s := serve(t, "-host", "github.com="+host.URL, "-host", "bitbucket.org="+bitbucket.URL)
	s.projectOf("plain", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git")})
	s.projectOf("hostile", &api.ProjectSource{
		Type:      api.SourceTypeNO_SOURCE,
		Buildspec: new("version: 0.2\n# <script>alert(1)</script> \u202e\u001b[31m " + string(bytes.Repeat([]byte("long"), 100)) + "\nphases: {build: {commands: [date]}}\n"),
	})

	steps, err := filepath.Glob(web + "/test/*.test.mjs")
	if err != nil || len(steps) == 0 {
		t.Fatalf("no steps: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), node, append([]string{"--test", "--test-concurrency=1"}, steps...)...)
	cmd.Env = append(s.env(), "CONSOLE="+s.url+"/console/", "CHROMIUM="+chromium, "GITHUB_TOKEN="+planted, "GITHUB_TOKEN_FEW="+few, "BITBUCKET_PASSWORD="+password)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	planted := append(needles(), []byte(few), []byte(password))
	findPlanted(t, s.data, planted)
	for _, n := range planted {
		if bytes.Contains([]byte(s.log.String()), n) {
			t.Errorf("the log has the token (as %q...)", n[:8])
		}
	}
}

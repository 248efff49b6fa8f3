package corbel_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/corbel-build/corbel/"

// mayImport is the import rule: which packages of Corbel a package may
// import. "foreign" allows modules of others; without it a package keeps to
// the standard library. docs/design.md gives the reasons.
var mayImport = map[string]string{
	"internal/backup":    "",
	"api":                "",
	"api/logs":           "api",
	"api/corbel":         "api",
	"api/secretsmanager": "api",
	"api/ssm":            "api",
	"api/modelgen":       "",

	"internal/arn":       "",
	"internal/awsjson":   "",
	"internal/sigv4":     "",
	"internal/redact":    "",
	"internal/buildspec": "foreign",
	"internal/phase":     "api",
	"internal/crowd":     "",

	"internal/store":                 "api api/secretsmanager api/ssm internal/arn",
	"internal/store/storetest":       "api api/secretsmanager api/ssm internal/store foreign",
	"internal/store/sqlite":          "api internal/arn internal/store foreign",
	"internal/executor":              "api internal/arn",
	"internal/executor/executortest": "internal/executor foreign",
	"internal/executor/sandbox":      "api internal/arn internal/executor foreign",
	"internal/forge":                 "api internal/arn foreign",
	"internal/forge/forgetest":       "api internal/forge foreign",
	"internal/forge/github":          "api internal/arn internal/forge foreign",
	"internal/forge/bitbucket":       "api internal/arn internal/forge foreign",
	"internal/forge/gitlab":          "api internal/arn internal/forge foreign",
	"internal/forge/datacenter":      "api internal/arn internal/forge foreign",
	"internal/forge/gitea":           "api internal/arn internal/forge foreign",
	"internal/forge/providers":       "internal/forge internal/forge/github internal/forge/bitbucket internal/forge/gitlab internal/forge/datacenter internal/forge/gitea",

	"internal/vault":             "api internal/arn",
	"internal/vault/kek":         "internal/vault foreign",
	"internal/vault/kek/kektest": "internal/sigv4",
	"internal/access":            "api internal/arn internal/store internal/vault",
	"internal/buildlog":          "api internal/arn internal/redact",
	"internal/source":            "api internal/arn internal/redact internal/executor internal/forge foreign",
	"internal/credential":        "internal/audit api internal/arn internal/store internal/forge internal/vault",
	"internal/audit":             "internal/store foreign",
	"internal/secret":            "api internal/store internal/vault foreign",
	"internal/filtergroup":       "api internal/forge",
	"internal/delivery":          "api internal/forge internal/store",
	"internal/webhook":           "api internal/credential internal/crowd internal/delivery internal/filtergroup internal/forge internal/store internal/vault",
	"internal/metrics":           "internal/store internal/credential foreign",
	"internal/status":            "api internal/arn internal/crowd internal/store internal/forge internal/credential",

	"internal/service": "internal/audit api api/corbel api/logs api/secretsmanager api/ssm internal/secret internal/arn internal/access internal/awsjson internal/buildlog internal/buildspec internal/credential internal/delivery internal/filtergroup internal/forge internal/phase internal/store internal/vault foreign",
	"internal/runner":  "api internal/arn internal/buildlog internal/buildspec internal/credential internal/executor internal/forge internal/phase internal/redact internal/source internal/store foreign",

	"internal/console": "",
	"internal/server":  "internal/audit internal/console api api/corbel api/logs api/secretsmanager api/ssm internal/access internal/awsjson internal/credential internal/service internal/sigv4 internal/store",
	"internal/client":  "api internal/awsjson internal/sigv4",
}

// wiring may import everything: the program, the demo and the benchmarks.
var wiring = []string{"cmd/", "demo", "bench"}

func TestImports(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "tools" || name == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || dir == "." {
			return nil
		}
		for _, w := range wiring {
			if strings.HasPrefix(dir+"/", strings.TrimSuffix(w, "/")+"/") {
				return nil
			}
		}
		rule, ok := mayImport[dir]
		if !ok {
			t.Errorf("package %s has no row in the import rule", dir)
			return nil
		}
		seen[dir] = true
		allowed := map[string]bool{}
		for _, p := range strings.Fields(rule) {
			allowed[p] = true
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			name := strings.Trim(i.Path.Value, `"`)
			own, isOwn := strings.CutPrefix(name, module)
			switch {
			case isOwn && !allowed[own] && own != dir:
				t.Errorf("%s imports %s, which the rule for %s does not allow", path, own, dir)
			case !isOwn && strings.Contains(strings.SplitN(name, "/", 2)[0], ".") && !allowed["foreign"]:
				t.Errorf("%s imports %s; %s keeps to the standard library", path, name, dir)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range mayImport {
		if !seen[dir] {
			t.Errorf("the import rule has a row for %s, which does not exist", dir)
		}
	}
}

// mayReveal lists who may turn an api.Secret into text, and why. A secret is
// in few hands.
var mayReveal = map[string]string{
	"internal/secret/secret.go":               "looks for a key in it",
	"internal/service/secretsmanager.go":      "checks that bytes are base64",
	"internal/service/ssm.go":                 "matches the allowed pattern",
	"internal/runner/variables.go":            "gives it to the build that it is for",
	"internal/vault/vault.go":                 "seals it",
	"internal/access/access.go":               "compares it with what a sign-in gives",
	"internal/credential/credential.go":       "seals it, and makes the Authorization header of git",
	"internal/forge/github/github.go":         "makes the Authorization header of the API",
	"internal/forge/github/hooks.go":          "tells GitHub the secret of a hook",
	"internal/forge/oauth.go":                 "shows an OAuth app's secret and a refresh token to their host",
	"internal/credential/oauth.go":            "seals what a user let Corbel have",
	"internal/forge/signature.go":             "verifies deliveries with it",
	"internal/forge/rest.go":                  "checks its characters, and keeps it out of repeated words",
	"internal/forge/bitbucket/bitbucket.go":   "makes the header of the API",
	"internal/forge/datacenter/datacenter.go": "makes the header of the API",
	"internal/forge/gitea/gitea.go":           "makes the header of the API",
	"internal/forge/gitlab/gitlab.go":         "makes the header of the API",
	"internal/forge/bitbucket/hooks.go":       "tells the provider the secret of a hook",
	"internal/forge/datacenter/hooks.go":      "tells the provider the secret of a hook",
	"internal/forge/gitea/hooks.go":           "tells the provider the secret of a hook",
	"internal/forge/gitlab/hooks.go":          "tells the provider the secret of a hook",
	"internal/credential/hook.go":             "seals the secret of a hook",
	"internal/service/webhooks.go":            "answers the secret of a new hook that the user installs",
	"internal/service/credentials.go":         "checks its characters; the ARN of a secret or connection is none",
	"internal/runner/output.go":               "keeps it out of the log",
	"internal/server/server.go":               "verifies a signature with it",
	"internal/client/client.go":               "signs with it",
	"cmd/corbel/keys.go":                      "shows a new access key, once",
	"cmd/corbel/env.go":                       "prints an access key for a shell",
}

func TestReveal_FewCallers(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "forgetest") || path == "api/api.go" {
			return err
		}
		src, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(src), ".Reveal()") {
			name := filepath.ToSlash(path)
			found[name] = true
			if mayReveal[name] == "" {
				t.Errorf("%s reveals a secret; if it must, say why in the list", name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range mayReveal {
		if !found[name] {
			t.Errorf("%s is in the list and reveals nothing", name)
		}
	}
}

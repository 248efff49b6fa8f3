package corbel_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/forge/forgetest"
	"github.com/corbel-build/corbel/internal/sigv4"
)

// post sends a body as it is, signed, and returns the answer.
func (s *server) post(target, contentType, body string, change func(*http.Request)) (status int, answer string) {
	s.t.Helper()
	c := s.client()
	r, err := http.NewRequest(http.MethodPost, s.url+"/", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Amz-Target", target)
	sigv4.Sign(r, []byte(body), c.AccessKeyID, c.Secret.Reveal(), "us-east-1", "codebuild", time.Now())
	if change != nil {
		change(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error() // a server may close the connection on a body that is too large
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestHostileRequests(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	const list, json11 = "CodeBuild_20161006.ListProjects", "application/x-amz-json-1.1"
	for _, c := range []struct {
		name, target, contentType, body string
		change                          func(*http.Request)
		status                          int
		want                            string
	}{
		{"good", list, json11, "{}", nil, 200, `{"projects":[]}`},
		{"empty body", list, json11, "", nil, 200, `{"projects":[]}`},
		{"unsigned", list, json11, "{}", func(r *http.Request) { r.Header.Del("Authorization") }, 400, "MissingAuthenticationTokenException"},
		{"half a signature", list, json11, "{}", func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x") }, 400, "IncompleteSignatureException"},
		{"tampered body", list, json11, "{}", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{ ")); r.ContentLength = 2 }, 400, "InvalidSignatureException"},
		{"tampered target", list, json11, "{}", func(r *http.Request) { r.Header.Set("X-Amz-Target", "CodeBuild_20161006.ListBuilds") }, 400, "InvalidSignatureException"},
		{"unknown key", list, json11, "{}", func(r *http.Request) {
			sigv4.Sign(r, []byte("{}"), "AKIAUNKNOWN", "x", "us-east-1", "codebuild", time.Now())
		}, 400, "UnrecognizedClientException"},
		{"old", list, json11, "{}", func(r *http.Request) {
			c := s.client()
			sigv4.Sign(r, []byte("{}"), c.AccessKeyID, c.Secret.Reveal(), "us-east-1", "codebuild", time.Now().Add(-16*time.Minute))
		}, 400, "Signature expired"},
		{"for another service", list, json11, "{}", func(r *http.Request) {
			c := s.client()
			sigv4.Sign(r, []byte("{}"), c.AccessKeyID, c.Secret.Reveal(), "us-east-1", "s3", time.Now())
		}, 400, "InvalidSignatureException"},
		{"unknown operation", "CodeBuild_20161006.Nothing", json11, "{}", nil, 400, "UnknownOperationException"},
		{"unknown prefix", "Other_1.ListProjects", json11, "{}", nil, 400, "UnknownOperationException"},
		{"not there yet", "CodeBuild_20161006.ListFleets", json11, "{}", nil, 501, "NotImplementedException"},
		{"not JSON", list, json11, "hello", nil, 400, "SerializationException"},
		{"nested deeply", list, json11, strings.Repeat(`{"a":`, 100_000), nil, 400, "SerializationException"},
		{"NUL", list, json11, "{\"nextToken\":\"\x00\"}", nil, 400, "SerializationException"},
		{"not UTF-8", list, json11, "{\"nextToken\":\"\xff\"}", nil, 400, "SerializationException"},
		{"wrong type", "CodeBuild_20161006.BatchGetProjects", json11, `{"names":"x"}`, nil, 400, "SerializationException"},
		{"member twice", "CodeBuild_20161006.BatchGetProjects", json11, `{"names":5,"names":["x"]}`, nil, 200, `"projectsNotFound":["x"]`},
		{"names beyond bounds", "CodeBuild_20161006.BatchGetProjects", json11, `{"names":[]}`, nil, 400, "ValidationException"},
		{"unicode name", "CodeBuild_20161006.BatchGetProjects", json11, `{"names":["naïve\u0000 日本"]}`, nil, 200, "projectsNotFound"},
		{"sort of nothing", list, json11, `{"sortBy":"NONSENSE"}`, nil, 400, "enum value set"},
		{"large", list, json11, `{"nextToken":"` + strings.Repeat("x", 50<<20) + `"}`, nil, 413, "RequestEntityTooLargeException"},
	} {
		status, answer := s.post(c.target, c.contentType, c.body, c.change)
		if c.status == 413 && status == 0 {
			continue // the connection was closed before all was sent
		}
		if status != c.status || !strings.Contains(answer, c.want) {
			t.Errorf("%s: HTTP %d %.300s; want %d with %q", c.name, status, answer, c.status, c.want)
		}
	}
	if status, _ := s.post(list, json11, "{}", nil); status != 200 {
		t.Errorf("afterwards the server answers %d", status)
	}
}

// build runs a build with these overrides and returns its end.
func (s *server) build(in *api.StartBuildInput) *api.Build {
	s.t.Helper()
	out, err := s.client().StartBuild(context.Background(), in)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.await(*out.Build.Id)
}

func TestHostileBuildspecsAndCommands(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.project("app", "version: 0.2\nphases:\n  build:\n    commands: [true]\n")
	spec := func(command string) string {
		return "version: 0.2\nphases:\n  build:\n    commands:\n      - " + command + "\n"
	}
	for _, c := range []struct {
		name, spec string
		status     api.StatusType
		phase      api.BuildPhaseType
		code, want string
	}{
		{"not YAML", "version: 0.2\nphases: [\n", "FAILED", "DOWNLOAD_SOURCE", "YAML_FILE_ERROR", "line 2, column"},
		{"no version", "phases:\n  build:\n    commands: [a]\n", "FAILED", "DOWNLOAD_SOURCE", "YAML_FILE_ERROR", "version is missing"},
		{"unknown phase", "version: 0.2\nphases:\n  biuld:\n    commands: [a]\n", "FAILED", "DOWNLOAD_SOURCE", "YAML_FILE_ERROR", "line 3, column 3"},
		{"binary", "version: 0.2\n\x00", "FAILED", "DOWNLOAD_SOURCE", "YAML_FILE_ERROR", "UTF-8"},
		{"a failing command", spec("exit 7"), "FAILED", "BUILD", "COMMAND_EXECUTION_ERROR", "Error while executing command: exit 7. Reason: exit status 7"},
		{"no such command", spec("no-such-command"), "FAILED", "BUILD", "COMMAND_EXECUTION_ERROR", "exit status 127"},
		{"killed", spec("sh -c 'kill -9 $$'"), "FAILED", "BUILD", "COMMAND_EXECUTION_ERROR", "exit status 137"},
		{"kills everything it can", spec("kill -9 -1; kill -9 1; true"), "SUCCEEDED", "", "", ""},
		{"writes to the machine", spec("touch /usr/x || touch /etc/x"), "FAILED", "BUILD", "COMMAND_EXECUTION_ERROR", "exit status 1"},
		{"mounts", spec("mount -t tmpfs none /mnt"), "FAILED", "BUILD", "COMMAND_EXECUTION_ERROR", "exit status"},
		{"prints 20 MB", spec("head -c 20000000 /dev/zero | tr '\\\\0' x"), "SUCCEEDED", "", "", ""},
		{"bash", "version: 0.2\nenv:\n  shell: bash\nphases:\n  build:\n    commands:\n      - list=(a b)\n      - '[[ ${list[1]} == b ]]'\n", "SUCCEEDED", "", "", ""},
		{"no bash by itself", "version: 0.2\nphases:\n  build:\n    commands:\n      - '[ -z \"$BASH_VERSION\" ]'\n", "SUCCEEDED", "", "", ""},
		{"another user", "version: 0.2\nrun-as: nobody\nphases:\n  build:\n    commands:\n      - '[ \"$(id -un)\" = nobody ]'\n", "SUCCEEDED", "", "", ""},
		{"no such user", "version: 0.2\nrun-as: nosuchuser\nphases:\n  build:\n    commands: [id]\n", "FAILED", "BUILD", "CLIENT_ERROR", "nosuchuser"},
		{"shell code in odd places", spec(`'echo "$(id)"; echo ${HOME}'`), "SUCCEEDED", "", "", ""},
	} {
		b := s.build(&api.StartBuildInput{ProjectName: new("app"), BuildspecOverride: new(c.spec)})
		phase, code, message := problem(b)
		if b.BuildStatus != c.status || phase != c.phase || code != c.code || !strings.Contains(message, c.want) {
			t.Errorf("%s: %s in %s with %s %q; want %s in %s with %s %q", c.name, b.BuildStatus, phase, code, message, c.status, c.phase, c.code, c.want)
		}
	}
	b := s.build(&api.StartBuildInput{ProjectName: new("app"), EnvironmentVariablesOverride: []api.EnvironmentVariable{{Name: new("X"), Value: new("y"), Type: api.EnvironmentVariableTypeSECRETS_MANAGER}}})
	if phase, _, message := problem(b); phase != "DOWNLOAD_SOURCE" || !strings.Contains(message, "secret y: there is none in this account and region") {
		t.Errorf("a variable of a secret that is not there: %s %q", phase, message)
	}
}

// A build that forks without end is kept within its limits, and another one
// runs beside it.
func TestHostileForks(t *testing.T) {
	t.Parallel()
	s := serve(t, "-build-processes", "100", "-builds", "2")
	s.project("app", "version: 0.2\nphases:\n  build:\n    commands: [echo fine]\n")
	c := s.client()
	out, err := c.StartBuild(context.Background(), &api.StartBuildInput{ProjectName: new("app"),
		BuildspecOverride: new("version: 0.2\nphases:\n  build:\n    commands:\n      - 'f() { f | f & }; f; for i in 1 2 3 4 5 6 7 8 9; do sleep 1; done; echo done'\n")})
	if err != nil {
		t.Fatal(err)
	}
	if b := s.build(&api.StartBuildInput{ProjectName: new("app")}); b.BuildStatus != "SUCCEEDED" {
		_, _, message := problem(b)
		t.Errorf("beside the fork bomb a build ends as %s: %s", b.BuildStatus, message)
	}
	if _, err := c.StopBuild(context.Background(), &api.StopBuildInput{Id: out.Build.Id}); err != nil {
		t.Fatal(err)
	}
	s.await(*out.Build.Id)
}

func TestHostileRepositories(t *testing.T) {
	t.Parallel()
	good := "version: 0.2\nphases:\n  build:\n    commands: ['ls -la; cat buildspec.yml']\n"
	host, _ := newHost(t, map[string]string{"buildspec.yml": good})
	host.AddToken(forgetest.Token{Value: "ghp_OtherTokenOfTests0123456789abcdefgh", Login: "other", Scopes: []string{"repo"}, Repositories: []string{"octo/other"}})
	evil, err := forgetest.NewEvil(http.StatusOK)
	if err != nil {
		t.Fatal(err)
	}
	defer evil.Close()
	add := func(name string, commit forgetest.Commit) {
		t.Helper()
		if _, err := host.AddRepository(forgetest.Repository{Name: name, Commits: []forgetest.Commit{commit}}); err != nil {
			t.Fatal(err)
		}
	}
	add("octo/other", forgetest.Commit{Files: map[string]string{"buildspec.yml": good}})
	add("octo/bare", forgetest.Commit{Files: map[string]string{"README": "x"}})
	add("octo/directory", forgetest.Commit{Files: map[string]string{"buildspec.yml/x": "x"}})
	add("octo/link", forgetest.Commit{Files: map[string]string{"buildspec.yml": "/etc/passwd"}, Modes: map[string]string{"buildspec.yml": "120000"}})
	add("octo/modules", forgetest.Commit{Files: map[string]string{"buildspec.yml": good, ".gitmodules": "[submodule \"x\"]\n\tpath = x\n\turl = -u./evil\n", "x": strings.Repeat("1", 40)}, Modes: map[string]string{"x": "160000"}})
	if _, err := host.AddCommits("octo/app", forgetest.Commit{Branch: "--upload-pack=touch", Files: map[string]string{"a": "b"}}, forgetest.Commit{Pull: 7, Files: map[string]string{"pull": "7"}}, forgetest.Commit{Tag: "v1", Files: map[string]string{"c": "d"}}); err != nil {
		t.Fatal(err)
	}
	host.Inject(forgetest.Fault{Path: "/octo/moved", Do: forgetest.Redirect(http.StatusFound, evil.URL+"/octo/moved.git/info/refs")})
	s := serve(t, "-host", "github.com="+host.URL)
	s.project("app", good)
	if _, err := s.client().ImportSourceCredentials(context.Background(), &api.ImportSourceCredentialsInput{ServerType: "GITHUB", AuthType: "PERSONAL_ACCESS_TOKEN", Token: planted}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, repo, version string
		submodules          bool
		status              api.StatusType
		code, want          string
	}{
		{"good", "octo/app", "", false, "SUCCEEDED", "", ""},
		{"a branch", "octo/app", "main", false, "SUCCEEDED", "", ""},
		{"a tag", "octo/app", "v1", false, "SUCCEEDED", "", ""},
		{"a pull request", "octo/app", "pr/7", false, "SUCCEEDED", "", ""},
		{"a ref", "octo/app", "refs/heads/main", false, "SUCCEEDED", "", ""},
		{"an option for a branch", "octo/app", "--upload-pack=touch", false, "SUCCEEDED", "", ""},
		{"an option that is none", "octo/app", "--upload-pack=id", false, "FAILED", "CLIENT_ERROR", "reference not found for primary source"},
		{"no such branch", "octo/app", "nothing", false, "FAILED", "CLIENT_ERROR", "reference not found for primary source and source version nothing"},
		{"no such commit", "octo/app", strings.Repeat("a", 40), false, "FAILED", "CLIENT_ERROR", "reference not found for primary source"},
		{"line end in the version", "octo/app", "main\nx", false, "FAILED", "CLIENT_ERROR", "primary source"},
		{"no such repository", "octo/nothing", "", false, "FAILED", "CLIENT_ERROR", "repository not found for primary source"},
		{"redirect to another host", "octo/moved", "", false, "FAILED", "CLIENT_ERROR", "redirect"},
		{"no buildspec", "octo/bare", "", false, "FAILED", "YAML_FILE_ERROR", "buildspec.yml: no such file or directory"},
		{"buildspec is a directory", "octo/directory", "", false, "FAILED", "YAML_FILE_ERROR", "is not a regular file"},
		{"buildspec leads out", "octo/link", "", false, "FAILED", "YAML_FILE_ERROR", "not a file of the source"},
		{"hostile submodule", "octo/modules", "", true, "FAILED", "CLIENT_ERROR", "disallowed submodule url"},
		{"hostile submodule not asked for", "octo/modules", "", false, "FAILED", "CLIENT_ERROR", "disallowed submodule url"},
	} {
		in := &api.StartBuildInput{
			ProjectName: new("app"), SourceTypeOverride: "GITHUB", SourceLocationOverride: new("https://github.com/" + c.repo + ".git"), BuildspecOverride: new("buildspec.yml"),
			GitSubmodulesConfigOverride: &api.GitSubmodulesConfig{FetchSubmodules: &c.submodules},
		}
		if c.version != "" {
			in.SourceVersion = &c.version
		}
		b := s.build(in)
		_, code, message := problem(b)
		if b.BuildStatus != c.status || code != c.code || !strings.Contains(message, c.want) {
			t.Errorf("%s: %s with %s %q; want %s with %s %q", c.name, b.BuildStatus, code, message, c.status, c.code, c.want)
		}
		if strings.Contains(message, planted) {
			t.Errorf("%s: the message has the token", c.name)
		}
	}
	if saw := evil.Saw(planted); len(saw) > 0 {
		t.Errorf("the token got to another host: %+v", saw)
	}
	// A token that may see only another repository.
	if _, err := s.client().ImportSourceCredentials(context.Background(), &api.ImportSourceCredentialsInput{ServerType: "GITHUB", AuthType: "PERSONAL_ACCESS_TOKEN", Token: "ghp_OtherTokenOfTests0123456789abcdefgh"}); err != nil {
		t.Fatal(err)
	}
	b := s.build(&api.StartBuildInput{ProjectName: new("app"), SourceTypeOverride: "GITHUB", SourceLocationOverride: new("https://github.com/octo/app.git"), BuildspecOverride: new("buildspec.yml")})
	if _, code, message := problem(b); code != "CLIENT_ERROR" || !strings.Contains(message, "not found for primary source") && !strings.Contains(message, "authorization failed") {
		t.Errorf("another token: %s with %s %q", b.BuildStatus, code, message)
	}
	// The token is revoked after the commit is in the cache.
	if _, err := s.client().ImportSourceCredentials(context.Background(), &api.ImportSourceCredentialsInput{ServerType: "GITHUB", AuthType: "PERSONAL_ACCESS_TOKEN", Token: planted}); err != nil {
		t.Fatal(err)
	}
	host.RevokeToken(planted)
	b = s.build(&api.StartBuildInput{ProjectName: new("app"), SourceTypeOverride: "GITHUB", SourceLocationOverride: new("https://github.com/octo/app.git"), BuildspecOverride: new("buildspec.yml")})
	if _, code, message := problem(b); code != "CLIENT_ERROR" || !strings.Contains(message, "authorization failed for primary source") {
		t.Errorf("a revoked token: %s with %s %q", b.BuildStatus, code, message)
	}
	findPlanted(t, s.data, needles())
	if bytes.Contains([]byte(s.log.String()), []byte(planted)) {
		t.Error("the server's log has the token")
	}
}

package corbel_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/corbel-build/corbel/internal/forge/forgetest"
)

// planted is the token of these tests. It must be found nowhere.
const planted = "ghp_PlantedInPageTests0123456789abcdefgh"

// needles are the planted token, raw and as tools encode it.
func needles() [][]byte {
	raw := []byte(planted)
	return [][]byte{
		raw, []byte(url.QueryEscape(planted)),
		// The middles of the three alignments, without the padding at the ends.
		[]byte(base64.StdEncoding.EncodeToString(raw)[4:40]), []byte(base64.StdEncoding.EncodeToString(raw[1:])[4:40]), []byte(base64.StdEncoding.EncodeToString(raw[2:])[4:40]),
	}
}

// A host is a git host with the private repository octo/app.
func newHost(t *testing.T, files map[string]string) (host *forgetest.Server, sha string) {
	t.Helper()
	host, err := forgetest.New(forgetest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	host.AddToken(forgetest.Token{Value: planted, Login: "octocat", Scopes: []string{"repo"}})
	ids, err := host.AddRepository(forgetest.Repository{Name: "octo/app", Commits: []forgetest.Commit{{Files: files}}})
	if err != nil {
		t.Fatal(err)
	}
	return host, ids[len(ids)-1]
}

const spec = `version: 0.2
env:
  variables:
    GREETING: hello from the private repository
  exported-variables: [RESULT]
phases:
  install:
    commands:
      - PLAIN=kept; cd sub
  build:
    commands:
      - echo "$GREETING"; echo "plain $PLAIN in $(basename "$PWD")"
      - git -C "$CODEBUILD_SRC_DIR" config --list; git -C "$CODEBUILD_SRC_DIR" remote -v
      - RESULT=42
      - sleep 0.2; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep -c . ; grep -r ghp_ / --include='*' -s -l --exclude-dir=proc --exclude-dir=sys --exclude-dir=usr | head; echo searched
    finally:
      - echo "succeeding $CODEBUILD_BUILD_SUCCEEDING"
  post_build:
    commands:
      - echo "commit $CODEBUILD_RESOLVED_SOURCE_VERSION"
`

// The steps of "Using access tokens with your source provider", with the real
// AWS CLI, from the skeleton to the deleted credential; and what it is for:
// a private repository gets built.
func TestPage_AWSCLI(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, program string }{{"v1", ""}, {"of Debian", "/usr/bin/aws"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			program := c.program
			if program == "" {
				program = awsCLI(t)
			} else {
				program = needs(t, program)
			}
			page(t, program, "--endpoint-url")
		})
	}
}

func TestPage_Corbel(t *testing.T) {
	t.Parallel()
	page(t, corbel(t), "")
}

// page does what the guide says. Old versions of the AWS CLI need to be told
// the endpoint.
func page(t *testing.T, program, endpointFlag string) {
	host, sha := newHost(t, map[string]string{"buildspec.yml": spec, "sub/file": "x"})
	s := serve(t, "-host", "github.com="+host.URL)
	work := t.TempDir()
	run := func(args ...string) []byte {
		t.Helper()
		if endpointFlag != "" {
			args = append(args, endpointFlag, s.url)
		}
		cmd := exec.Command(program, args...)
		cmd.Env, cmd.Dir = s.env(), work
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v\n%s%s", args, err, out, stderr.Bytes())
		}
		return out
	}

	var skeleton map[string]any
	if err := json.Unmarshal(run("codebuild", "import-source-credentials", "--generate-cli-skeleton"), &skeleton); err != nil {
		t.Fatal(err)
	}
	for _, member := range []string{"serverType", "authType", "shouldOverwrite", "token", "username"} {
		if _, ok := skeleton[member]; !ok {
			t.Errorf("the skeleton lacks %s", member)
		}
	}
	filled := fmt.Sprintf(`{"serverType": "GITHUB", "authType": "PERSONAL_ACCESS_TOKEN", "shouldOverwrite": true, "token": %q, "username": "ignored"}`, planted)
	if err := os.WriteFile(filepath.Join(work, "import-source-credentials.json"), []byte(filled), 0o600); err != nil {
		t.Fatal(err)
	}
	var credential struct{ Arn string }
	for range 2 { // the second time updates the token
		if err := json.Unmarshal(run("codebuild", "import-source-credentials", "--cli-input-json", "file://import-source-credentials.json"), &credential); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(credential.Arn, "arn:aws:codebuild:us-east-1:") || !strings.HasSuffix(credential.Arn, ":token/github") {
		t.Errorf("arn = %s", credential.Arn)
	}
	account := strings.Split(credential.Arn, ":")[4]
	var list struct{ SourceCredentialsInfos []map[string]string }
	if err := json.Unmarshal(run("codebuild", "list-source-credentials"), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.SourceCredentialsInfos) != 1 || len(list.SourceCredentialsInfos[0]) != 3 || list.SourceCredentialsInfos[0]["arn"] != credential.Arn ||
		list.SourceCredentialsInfos[0]["authType"] != "PERSONAL_ACCESS_TOKEN" || list.SourceCredentialsInfos[0]["serverType"] != "GITHUB" {
		t.Errorf("list = %v", list.SourceCredentialsInfos)
	}

	run("codebuild", "create-project", "--name", "app",
		"--source", "type=GITHUB,location=https://github.com/octo/app.git,reportBuildStatus=true,gitCloneDepth=1",
		"--artifacts", "type=NO_ARTIFACTS", "--environment", "type=LINUX_CONTAINER,image=host,computeType=BUILD_GENERAL1_SMALL",
		"--service-role", "arn:aws:iam::"+account+":role/x")
	var started struct{ Build struct{ ID string } }
	if err := json.Unmarshal(run("codebuild", "start-build", "--project-name", "app", "--source-version", "main"), &started); err != nil {
		t.Fatal(err)
	}
	// The log is followed to the end of the build.
	log, err := s.run(corbel(t), "logs", "app", "--follow", "--build", started.Build.ID)
	if err != nil {
		t.Fatalf("the build failed: %v\n%s", err, log)
	}
	for _, want := range []string{
		"hello from the private repository", "plain kept in sub", "remote.origin.url=https://github.com/octo/app.git", "succeeding 1", "commit " + sha, "searched",
		"Entering phase BUILD\n", "Phase complete: POST_BUILD State: SUCCEEDED\n", "Phase context status code:  Message: \n",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if t.Failed() {
		t.Logf("log:\n%s", log)
	}
	var got struct {
		Builds []struct {
			BuildStatus, ResolvedSourceVersion string
			ExportedEnvironmentVariables       []struct{ Name, Value string }
		}
	}
	text := run("codebuild", "batch-get-builds", "--ids", started.Build.ID)
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if b := got.Builds[0]; b.BuildStatus != "SUCCEEDED" || b.ResolvedSourceVersion != sha || len(b.ExportedEnvironmentVariables) != 1 || b.ExportedEnvironmentVariables[0].Value != "42" {
		t.Errorf("build = %s", text)
	}
	awaitStatus(t, host, sha, "success")

	// The token is nowhere: not in the server's files, log, arguments or
	// environment, not in an answer, not in the build's log.
	findPlanted(t, s.data, needles())
	for _, n := range needles() {
		for what, where := range map[string]string{
			"the server's log": s.log.String(), "the build's log": log, "an answer": string(text),
			"the server's process": readProc(s.cmd.Process.Pid, "cmdline") + readProc(s.cmd.Process.Pid, "environ"),
		} {
			if strings.Contains(where, string(n)) {
				t.Errorf("%s has the planted token", what)
			}
		}
	}

	run("codebuild", "delete-source-credentials", "--arn", credential.Arn)
	if out := run("codebuild", "list-source-credentials"); bytes.Contains(out, []byte("token/github")) {
		t.Errorf("after the delete: %s", out)
	}
	// Without the token the private repository cannot be built.
	if err := json.Unmarshal(run("codebuild", "start-build", "--project-name", "app"), &started); err != nil {
		t.Fatal(err)
	}
	if log, err := s.run(corbel(t), "logs", "app", "--follow", "--build", started.Build.ID); err == nil || !strings.Contains(log, "authentication required for primary source") {
		t.Errorf("a build without the token: %v\n%s", err, log)
	}
}

func readProc(pid int, file string) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// awaitStatus waits until the newest status of the commit has the state.
func awaitStatus(t *testing.T, host *forgetest.Server, sha, state string) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		list := host.Statuses("octo/app", sha)
		for _, st := range list {
			if st.State == state {
				if want := "AWS CodeBuild us-east-1 (app)"; st.Context != want {
					t.Errorf("context = %q, want %q", st.Context, want)
				}
				return
			}
		}
		select {
		case <-deadline:
			t.Fatalf("no status %s on %s; there are %+v", state, sha, list)
		case <-tick.C:
		}
	}
}

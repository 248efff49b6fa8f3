package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/api"
)

// tool finds a program, or skips the test aloud; in CI it fails.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name+" is not installed")
	}
	return path
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CORBEL_TEST_STRICT") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// skeletons has botocore, the heart of the AWS CLI, print the skeleton of
// every operation. It fills an enum with any of its values, so those become
// the first.
const skeletons = `
import json, botocore.session, botocore.utils
class First(botocore.utils.ArgumentGenerator):
    def _generate_type_structure(self, shape, stack): return super()._generate_type_structure(shape, stack)
    def _generate_skeleton(self, shape, stack, name=''):
        if shape.type_name == 'string' and shape.enum: return shape.enum[0]
        return super()._generate_skeleton(shape, stack, name)
m = botocore.session.get_session().get_service_model('codebuild')
print(json.dumps({op: json.dumps(First().generate_skeleton(m.operation_model(op).input_shape) if m.operation_model(op).input_shape else {}, indent=4) for op in m.operation_names}))
`

func TestSkeletons_AsTheAWSCLI(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(tool(t, "python3"), "-c", skeletons).Output()
	if err != nil {
		missing(t, "python3 has no botocore")
	}
	var want map[string]string
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	if len(want) != len(api.Contract.Operations) {
		missing(t, "this botocore knows other operations than the contract")
	}
	for _, o := range api.Contract.Operations {
		var got bytes.Buffer
		if err := codebuild(context.Background(), []string{kebab(o.Name), "--generate-cli-skeleton"}, &got, io.Discard); err != nil {
			t.Errorf("%s: %v", o.Name, err)
		}
		if d := cmp.Diff(want[o.Name]+"\n", got.String()); d != "" {
			t.Errorf("%s (-AWS CLI +corbel):\n%s", o.Name, d)
		}
	}
}

// A recorder answers {} and keeps what it was sent.
type recorder struct {
	mu     sync.Mutex
	target string
	body   string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.target, r.body = req.Header.Get("X-Amz-Target"), string(body)
	r.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_, _ = io.WriteString(w, "{}")
}

// last returns the latest request and forgets it.
func (r *recorder) last() (target, body string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	target, body, r.target, r.body = r.target, r.body, "", ""
	return target, body
}

// What is typed means the same to the AWS CLI and to corbel.
func TestCommandLines_AsTheAWSCLI(t *testing.T) {
	rec := &recorder{}
	srv := httptest.NewServer(rec)
	defer srv.Close()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_PAGER": "", "AWS_ENDPOINT_URL_CODEBUILD": srv.URL, "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
	os.Unsetenv("AWS_PROFILE")
	os.Unsetenv("AWS_SESSION_TOKEN")
	aws := tool(t, "aws")
	dir := t.TempDir()
	spec := filepath.Join(dir, "spec.yml")
	if err := os.WriteFile(spec, []byte("version: 0.2\nphases: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	input := filepath.Join(dir, "in.json")
	if err := os.WriteFile(input, []byte(`{"projectName": "fromfile", "sourceVersion": "v1", "timeoutInMinutesOverride": 9}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range [][]string{
		{"list-projects"},
		{"list-projects", "--sort-by", "NAME", "--sort-order", "DESCENDING"},
		{"batch-get-builds", "--ids", "a:1", "b:2"},
		{"batch-get-builds", "--ids", `["a:1","b:2"]`},
		{"import-source-credentials", "--server-type", "GITHUB", "--auth-type", "PERSONAL_ACCESS_TOKEN", "--token", "x=y,z", "--no-should-overwrite"},
		{"start-build", "--cli-input-json", "file://" + input, "--source-version", "v2", "--privileged-mode-override", "--no-report-build-status-override"},
		{"start-build", "--project-name", "p", "--buildspec-override", "file://" + spec, "--timeout-in-minutes-override", "7"},
		{"start-build", "--project-name", "p", "--environment-variables-override", "name=A,value=1,type=PLAINTEXT", "name=B,value=two words", `name=C,value="a,b"`},
		{"start-build", "--project-name", "p", "--environment-variables-override", `[{"name":"A","value":""}]`, "--git-submodules-config-override", "fetchSubmodules=true"},
		{"create-project", "--name", "app", "--service-role", "r", "--artifacts", "type=NO_ARTIFACTS",
			"--source", "type=GITHUB,location=https://github.com/o/r.git,gitCloneDepth=1,auth={type=OAUTH},reportBuildStatus=true",
			"--environment", "type=LINUX_CONTAINER,image=aws/codebuild/standard:7.0,computeType=BUILD_GENERAL1_SMALL,environmentVariables=[{name=A,value=1},{name=B,value=2}]",
			"--vpc-config", "vpcId=v,subnets=a,b,securityGroupIds=[c,d]", "--tags", "key=k,value=v w", "key=k2,value=", "--badge-enabled"},
		{"create-webhook", "--project-name", "app", "--filter-groups", `[[{"type":"EVENT","pattern":"PUSH"}]]`},
	} {
		cmd := exec.Command(aws, append(append([]string{"codebuild"}, line...), "--endpoint-url", srv.URL)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("aws codebuild %q: %v\n%s", line, err, out)
		}
		wantTarget, want := rec.last()
		if err := codebuild(context.Background(), line, io.Discard, io.Discard); err != nil {
			t.Errorf("corbel codebuild %q: %v", line, err)
			continue
		}
		target, got := rec.last()
		if target != wantTarget {
			t.Errorf("%q calls %s, the AWS CLI %s", line, target, wantTarget)
		}
		var a, b any
		if err := errors.Join(json.Unmarshal([]byte(want), &a), json.Unmarshal([]byte(got), &b)); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(a, b); d != "" {
			t.Errorf("%q (-AWS CLI +corbel):\n%s", line, d)
		}
	}
}

func TestRun_Refuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args   []string
		status int
		text   string
	}{
		{[]string{"nonsense"}, 2, "there is no command"},
		{[]string{"codebuild", "nonsense"}, 252, "there is no operation"},
		{[]string{"codebuild", "start-build"}, 252, "the following arguments are required: --project-name"},
		{[]string{"codebuild", "start-build", "--project", "p"}, 252, "did you mean --project-name"},
		{[]string{"codebuild", "start-build", "--project-name", "p", "--timeout-in-minutes-override", "x"}, 252, "not a number"},
		{[]string{"codebuild", "start-build", "--project-name", "p", "--cache-override", "type=S3,nothing=1"}, 252, `unknown key "nothing"`},
		{[]string{"codebuild", "start-build", "--project-name", "p", "--cache-override", "type=S3,type=S3"}, 252, "given twice"},
		{[]string{"codebuild", "list-builds", "--output", "text"}, 252, "not supported"},
		{[]string{"codebuild", "list-builds", "--cli-input-json", "{"}, 252, "invalid JSON"},
		{[]string{"codebuild", "list-builds", "--cli-input-json", "file:///nonexistent"}, 252, "paramfile"},
		{[]string{"logs"}, 2, "one project"},
		{[]string{"keys", "burn"}, 2, "keys has no"},
		{[]string{"serve", "-listen", "0.0.0.0:80"}, 1, "no loopback address"},
		{[]string{"serve", "-verify-credentials", "maybe", "-sandbox-network", "x"}, 1, "not reject, record or off"},
	} {
		var out, errOut bytes.Buffer
		if got := runCommand(context.Background(), c.args, &out, &errOut); got != c.status || !strings.Contains(errOut.String(), c.text) {
			t.Errorf("%q: status %d, want %d; %q, want %q", c.args, got, c.status, errOut.String(), c.text)
		}
	}
}

func TestKebab(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ImportSourceCredentials": "import-source-credentials", "projectARNs": "project-arns", "insecureSslOverride": "insecure-ssl-override",
		"S3Logs": "s3-logs", "BatchGetReportGroups": "batch-get-report-groups", "timeoutInMinutes": "timeout-in-minutes",
	} {
		if got := kebab(in); got != want {
			t.Errorf("kebab(%s) = %s, want %s", in, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain\ttext\n":                   "plain\ttext\n",
		"\x1b[31mred\x1b[0m":              "\x1b[31mred\x1b[0m",
		"\x1b]0;title\x07x":               "]0;titlex",
		"\x1b[2Jclear":                    "[2Jclear",
		"\x1b]8;;javascript:x\x1b\\y":     "]8;;javascript:x\\y",
		"a\x00b\x7fc\u009bd":              "abcd",
		"\x1b[" + strings.Repeat("1", 99): "[" + strings.Repeat("1", 99),
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzShorthand(f *testing.F) {
	f.Add("type=GITHUB,location=https://github.com/o/r,auth={type=OAUTH}")
	f.Add(`environmentVariables=[{name=A,value="x,y"},{name=B}]`)
	f.Add("a=[[[[[")
	c := &call{model: &api.Contract, op: api.Contract.Operation("CreateProject")}
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range c.input().Members {
			if v, err := c.value(m.Shape, []string{text}); err == nil && !strings.Contains(text, "file") {
				if _, err := json.Marshal(v); err != nil {
					t.Errorf("%q gives what is not JSON: %v", text, err)
				}
			}
		}
	})
}

// The environment that "corbel env" prints is quoted for a shell.
func TestQuote(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"plain", "it's", "$(id)", "a b"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(in)).Output()
		if err != nil || string(out) != in {
			t.Errorf("quote(%q) gives the shell %q, %v", in, out, err)
		}
	}
}

func TestPutSection(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sub", "config")
	for range 2 {
		for _, name := range []string{"profile a", "profile b"} {
			if err := putSection(path, name, "region = x\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || !regexp.MustCompile(`^\[profile a\]\nregion = x\n\[profile b\]\nregion = x\n$`).Match(got) {
		t.Errorf("file = %q, %v", got, err)
	}
}

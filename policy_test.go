package corbel_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
)

// A key does what its policy allows: reading builds implies neither reading nor
// replacing tokens, one project is not another, and an ended key does nothing.
func TestPolicy(t *testing.T) {
	t.Parallel()
	awsCLI(t)
	s := serve(t, "-verify-credentials", "off")
	s.load(planted)
	spec := "version: 0.2\nphases: {build: {commands: [\"true\"]}}\n"
	s.project("site", spec)
	s.project("other", spec)
	b := s.build(&api.StartBuildInput{ProjectName: new("other")})
	as := func(key string, args ...string) (string, error) {
		cmd := exec.Command("aws", args...)
		id, secret, _ := strings.Cut(strings.TrimSpace(key), " ")
		cmd.Env = append(s.env(), "AWS_ACCESS_KEY_ID="+id, "AWS_SECRET_ACCESS_KEY="+secret)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	create := func(policy string, more ...string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "policy.json")
		if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
			t.Fatal(err)
		}
		return s.must(corbel(t), append([]string{"keys", "create", "-user", "narrow", "-policy", file, "-data", s.data}, more...)...)
	}
	reader := create(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["codebuild:BatchGet*","codebuild:ListBuilds*","codebuild:ListProjects","logs:*"],"Resource":"*"}}`)
	one := create(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"codebuild:*","Resource":"arn:aws:codebuild:*:*:project/site"}}`)
	token := s.health().Arn
	for _, c := range []struct {
		key     string
		allowed bool
		args    []string
	}{
		{reader, true, []string{"codebuild", "batch-get-builds", "--ids", *b.Id}},
		{reader, true, []string{"codebuild", "list-projects"}},
		{reader, true, []string{"sts", "get-caller-identity"}},
		{reader, false, []string{"codebuild", "list-source-credentials"}},
		{reader, false, []string{"codebuild", "import-source-credentials", "--server-type", "GITHUB", "--auth-type", "PERSONAL_ACCESS_TOKEN", "--token", "ghp_x"}},
		{reader, false, []string{"codebuild", "delete-source-credentials", "--arn", token}},
		{reader, false, []string{"codebuild", "start-build", "--project-name", "site"}},
		{reader, false, []string{"secretsmanager", "get-secret-value", "--secret-id", "x"}},
		{reader, false, []string{"ssm", "get-parameter", "--name", "/x"}},
		{one, true, []string{"codebuild", "start-build", "--project-name", "site"}},
		{one, true, []string{"codebuild", "batch-get-projects", "--names", "site"}},
		{one, false, []string{"codebuild", "start-build", "--project-name", "other"}},
		{one, false, []string{"codebuild", "start-build", "--project-name", strings.Replace(*b.Arn, "build/"+*b.Id, "project/other", 1)}},
		{one, false, []string{"codebuild", "batch-get-projects", "--names", "site", "other"}},
		{one, false, []string{"codebuild", "batch-get-builds", "--ids", *b.Id}},
		{one, false, []string{"codebuild", "batch-get-builds", "--ids", *b.Arn}},
		{one, false, []string{"codebuild", "stop-build", "--id", *b.Id}},
		{one, false, []string{"codebuild", "list-builds-for-project", "--project-name", "nobody"}},
		{one, false, []string{"codebuild", "list-source-credentials"}},
	} {
		out, err := as(c.key, c.args...)
		denied := strings.Contains(out, "(AccessDeniedException)") && strings.Contains(out, ":user/narrow is not authorized to perform: "+c.args[0]+":")
		if c.allowed && err != nil || !c.allowed && !denied {
			t.Errorf("aws %q: %v %s", c.args, err, out)
		}
	}
	// Who the caller is and what the server can do needs no grant; how the server
	// is set up does.
	s.must(corbel(t), "hosts", "add", "GITHUB_ENTERPRISE=https://git.example.com", "-data", s.data)
	for key, granted := range map[string]bool{one: false, create(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"corbel:DescribeServer","Resource":"*"}}`): true} {
		id, secret, _ := strings.Cut(strings.TrimSpace(key), " ")
		b := newBrowser(t, s.url+"/console/")
		b.login(id, secret)
		if status, out := b.call("Corbel_20261101.DescribeSession", "{}"); status != 200 || out["user"] != "narrow" || out["restricted"] != true {
			t.Errorf("the session: %d %v", status, out)
		}
		status, out := b.call("Corbel_20261101.DescribeServer", "{}")
		if text := fmt.Sprint(out["providers"]); status != 200 || !strings.Contains(text, "GitHub Enterprise") || strings.Contains(text, "insecureSsl") != granted || strings.Contains(text, "api.github.com") != granted {
			t.Errorf("the providers: %d %v", status, text)
		}
		for _, member := range []string{"version", "publicUrl", "builds", "verifyCredentials", "executor"} {
			if _, tells := out[member]; tells != granted {
				t.Errorf("granted %t, it tells %s: %t", granted, member, tells)
			}
		}
	}
	id, _, _ := strings.Cut(reader, " ")
	s.must(corbel(t), "keys", "policy", id, "none", "-data", s.data)
	s.until("the key has all rights", func() bool { _, err := as(reader, "codebuild", "list-source-credentials"); return err == nil })

	ended := create(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`, "-expires", "1ms")
	for _, args := range [][]string{{"codebuild", "list-projects"}, {"sts", "get-caller-identity"}} {
		if out, err := as(ended, args...); err == nil || !strings.Contains(out, "is expired") {
			t.Errorf("an ended key, %q: %v %s", args, err, out)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.json")
	for _, text := range []string{"", "{}", `{"Statement":{"Effect":"Maybe"}}`, strings.Repeat("x", 1<<20)} {
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := s.run(corbel(t), "keys", "create", "-policy", bad, "-data", s.data); err == nil {
			t.Errorf("policy %.40q: %s", text, out)
		}
	}
	if list := s.must(corbel(t), "audit", "list", "-failed", "-data", s.data); !strings.Contains(list, "AccessDeniedException") {
		t.Errorf("the audit log of failures is\n%s", list)
	}
}

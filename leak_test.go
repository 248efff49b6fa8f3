package corbel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/corbel-build/corbel/api"
)

// While a build of a private repository runs, its token is in no process list,
// no environment, no file of the data directory with the build's workspace, no
// answer and no log. The commands print what they can find out themselves.
func TestLeak_WhileABuildRuns(t *testing.T) {
	t.Parallel()
	host, _ := newHost(t, map[string]string{"buildspec.yml": `version: 0.2
phases:
  build:
    commands:
      - env; git config --list --show-origin; cat .git/config; find / -name '*credential*' -not -path '/proc/*' -not -path '/usr/*' 2>/dev/null; true
      - cat /proc/*/cmdline /proc/*/environ 2>/dev/null | tr '\0' '\n'
      - 'echo "protocol=https\nhost=github.com\n" | GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=/bin/false git credential fill; true'
      - sleep 86398.5
`})
	s := serve(t, "-host", "github.com="+host.URL)
	c := s.client()
	if _, err := c.ImportSourceCredentials(context.Background(), &api.ImportSourceCredentialsInput{ServerType: "GITHUB", AuthType: "PERSONAL_ACCESS_TOKEN", Token: planted}); err != nil {
		t.Fatal(err)
	}
	s.project("app", "version: 0.2\nphases:\n  build:\n    commands: [true]\n")
	out, err := c.StartBuild(context.Background(), &api.StartBuildInput{ProjectName: new("app"), SourceTypeOverride: "GITHUB", SourceLocationOverride: new("https://github.com/octo/app.git"), BuildspecOverride: new("buildspec.yml")})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "the last command", func() bool { return running(t, "86398.5") })

	findPlanted(t, s.data, needles())
	files, err := filepath.Glob("/proc/[0-9]*/*")
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, file := range files {
		switch filepath.Base(file) {
		case "cmdline", "environ":
		default:
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			continue // of a process that has ended, or of another user
		}
		looked++
		for _, n := range needles() {
			if bytes.Contains(data, n) {
				t.Errorf("%s has the planted token", file)
			}
		}
	}
	if looked < 4 {
		t.Errorf("only %d files of processes could be read", looked)
	}
	got, err := c.Do(context.Background(), &api.Contract, "BatchGetBuilds", []byte(`{"ids":["`+*out.Build.Id+`"]}`))
	if err != nil {
		t.Fatal(err)
	}
	log, err := s.run(corbel(t), "logs", "app", "--build", *out.Build.Id)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	for _, n := range needles() {
		for what, where := range map[string]string{"an answer": string(got), "the build's log": log, "the server's log": s.log.String()} {
			if bytes.Contains([]byte(where), n) {
				t.Errorf("%s has the planted token", what)
			}
		}
	}
	if !bytes.Contains([]byte(log), []byte("CODEBUILD_BUILD_ID=")) {
		t.Error("the commands did not print their environment; this shows nothing")
	}
	if _, err := c.StopBuild(context.Background(), &api.StopBuildInput{Id: out.Build.Id}); err != nil {
		t.Fatal(err)
	}
	s.await(*out.Build.Id)
}

// A server that is made to dump its memory leaves none: no core file, and a
// trace without what is in it.
func TestLeak_Crash(t *testing.T) {
	t.Parallel()
	host, _ := newHost(t, map[string]string{"x": "y"})
	s := serve(t, "-host", "github.com="+host.URL)
	s.load(planted)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`Max core file size\s+0\s+0`).Match(limits) {
		t.Errorf("core files are not switched off:\n%s", limits)
	}
	if err := s.cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	if !strings.Contains(s.log.String(), "SIGABRT") {
		t.Error("the server did not crash as it should")
	}
	for _, n := range needles() {
		if bytes.Contains([]byte(s.log.String()), n) {
			t.Error("the trace has the planted token")
		}
	}
	s.start() // so that it can be stopped
	findPlanted(t, s.data, needles())
}

// After a thousand builds, with credentials that come and go, backups, the
// audit log, metrics, logs and every file are without the token.
func TestLeak_ThousandBuilds(t *testing.T) {
	t.Parallel()
	needs(t, "git")
	host, _ := newHost(t, map[string]string{"x": "y"})
	s := serve(t, "-host", "github.com="+host.URL, "-metrics", "127.0.0.1:0", "-builds", "4")
	s.load(planted)
	s.projectOf("app", &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/octo/app.git"), ReportBuildStatus: new(true)})
	c := s.client()
	spec := func(command string) *string {
		return new("version: 0.2\nenv: {git-credential-helper: yes}\nphases: {build: {commands: [" + strconv.Quote(command) + "]}}\n")
	}
	kinds := []*api.StartBuildInput{
		{BuildspecOverride: spec("true")},
		{BuildspecOverride: spec("env; cat $GIT_CONFIG_SYSTEM .git/config; git remote show origin; cat /proc/*/cmdline /proc/*/environ; true")},
		{BuildspecOverride: spec("git ls-remote https://github.com/octo/other.git")},
		{BuildspecOverride: spec("true"), SourceVersion: new("no-such-branch")},
		{BuildspecOverride: spec("true"), SourceLocationOverride: new("https://github.com/octo/none.git")},
	}
	const builds = 1000
	ids := make([]string, builds)
	for i := range ids {
		in := *kinds[0]
		if i%5 == 0 {
			in = *kinds[i/5%len(kinds)]
		}
		in.ProjectName = new("app")
		out, err := c.StartBuild(context.Background(), &in)
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = *out.Build.Id
		if i%250 == 100 { // builds meet a credential that is gone, and one that is new
			list, err := c.ListSourceCredentials(context.Background(), &api.ListSourceCredentialsInput{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.DeleteSourceCredentials(context.Background(), &api.DeleteSourceCredentialsInput{Arn: list.SourceCredentialsInfos[0].Arn}); err != nil {
				t.Fatal(err)
			}
			s.load(planted)
		}
		if i%500 == 300 {
			s.must(corbel(t), "vault", "rotate", "-data", s.data)
		}
	}
	ends := map[api.StatusType]int{}
	for page := range slices.Chunk(ids, 100) {
		var last []api.Build
		s.until("the builds have ended", func() bool {
			out, err := c.BatchGetBuilds(context.Background(), &api.BatchGetBuildsInput{Ids: page})
			if err != nil || len(out.Builds) != len(page) {
				t.Fatalf("%d of %d builds: %v", len(out.Builds), len(page), err)
			}
			last = out.Builds
			return !slices.ContainsFunc(last, func(b api.Build) bool { return !*b.BuildComplete })
		})
		for _, b := range last {
			ends[b.BuildStatus]++
		}
	}
	if ends[api.StatusTypeSUCCEEDED] < builds/2 || ends[api.StatusTypeFAILED] < builds/20 {
		t.Errorf("the builds ended as %v", ends)
	}

	out := t.TempDir()
	save := func(name, text string) {
		if text == "" {
			t.Errorf("there is no %s to look at", name)
		}
		if err := os.WriteFile(filepath.Join(out, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := regexp.MustCompile(`url=(\S+/metrics)`).FindStringSubmatch(s.log.String())
	if at == nil {
		t.Fatal("the log does not say where metrics are")
	}
	resp, err := http.Get(at[1])
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	save("metrics", string(text))
	save("audit", s.must(corbel(t), "audit", "list", "-data", s.data, "-output", "json"))
	save("export", s.must(corbel(t), "audit", "export", "-data", s.data))
	save("credentials", s.must(corbel(t), "credentials", "list", "-output", "json"))
	save("log", s.log.String())
	file := filepath.Join(out, "backup")
	s.must(corbel(t), "backup", "-out", file, "-data", s.data)
	s.must(corbel(t), "restore", "-in", file, "-data", filepath.Join(out, "restored"))
	s.must(corbel(t), "vault", "verify", "-data", s.data)
	findPlanted(t, s.data, needles())
	findPlanted(t, out, needles())
}

package corbel_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

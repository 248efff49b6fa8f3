package corbel_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/client"
)

// client returns a client of the server.
func (s *server) client() *client.Client {
	s.t.Helper()
	vars := map[string]string{}
	for _, v := range s.env() {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	c, err := client.FromEnvironment(func(name string) string { return vars[name] }, client.Overrides{Endpoint: s.url})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// project creates a project without a source.
func (s *server) project(name, buildspec string) {
	s.t.Helper()
	s.projectOf(name, &api.ProjectSource{Type: api.SourceTypeNO_SOURCE, Buildspec: &buildspec})
}

// projectOf creates a project with these sources, the primary one first.
func (s *server) projectOf(name string, primary *api.ProjectSource, secondary ...api.ProjectSource) {
	s.t.Helper()
	_, err := s.client().CreateProject(context.Background(), &api.CreateProjectInput{
		Name: &name, ServiceRole: new("arn:aws:iam::" + s.account() + ":role/x"),
		Source: primary, SecondarySources: secondary,
		Artifacts:   &api.ProjectArtifacts{Type: api.ArtifactsTypeNO_ARTIFACTS},
		Environment: &api.ProjectEnvironment{Type: api.EnvironmentTypeLINUX_CONTAINER, Image: new("host"), ComputeType: api.ComputeTypeBUILD_GENERAL1_SMALL},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// account is the one that the server was made with.
func (s *server) account() string {
	s.t.Helper()
	list := s.must(corbel(s.t), "keys", "list", "-data", s.data)
	return strings.Fields(strings.Split(list, "\n")[1])[1]
}

// until waits until something is so.
func (s *server) until(what string, is func() bool) {
	s.t.Helper()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline:
			s.t.Fatalf("it never came to pass that %s", what)
		case <-tick.C:
		}
	}
}

// await waits for the end of a build.
func (s *server) await(id string) *api.Build {
	s.t.Helper()
	c := s.client()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := c.BatchGetBuilds(context.Background(), &api.BatchGetBuildsInput{Ids: []string{id}})
		if err != nil {
			s.t.Fatal(err)
		}
		if len(out.Builds) != 1 {
			s.t.Fatalf("build %s is lost", id)
		}
		if *out.Builds[0].BuildComplete {
			return &out.Builds[0]
		}
		select {
		case <-deadline:
			s.t.Fatalf("build %s hangs in %s", id, *out.Builds[0].CurrentPhase)
		case <-tick.C:
		}
	}
}

// context is the first message of a phase that did not succeed.
func problem(b *api.Build) (phase api.BuildPhaseType, code, message string) {
	for _, p := range b.Phases {
		if p.PhaseStatus != "" && p.PhaseStatus != api.StatusTypeSUCCEEDED {
			if len(p.Contexts) > 0 {
				return p.PhaseType, *p.Contexts[0].StatusCode, *p.Contexts[0].Message
			}
			return p.PhaseType, "", ""
		}
	}
	return "", "", ""
}

// A counter counts who calls it, by the line that a caller sends. It is how a
// build tells the outside that it runs.
type counter struct {
	port int
	mu   sync.Mutex
	seen map[string]int
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &counter{port: l.Addr().(*net.TCPAddr).Port, seen: map[string]int{}}
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			var line string
			if _, err := fmt.Fscan(conn, &line); err == nil {
				c.mu.Lock()
				c.seen[line]++
				c.mu.Unlock()
			}
			conn.Close()
		}
	}()
	return c
}

func (c *counter) count(line string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[line]
}

// Whatever moment the server is killed at: no acknowledged build is lost, none
// runs its commands twice, and none hangs.
func TestKill_LosesNothingAndRunsNothingTwice(t *testing.T) {
	t.Parallel()
	needs(t, "bash")
	count := newCounter(t)
	s := serve(t)
	s.project("app", fmt.Sprintf("version: 0.2\nphases:\n  build:\n    commands:\n      - bash -c 'echo $CODEBUILD_BUILD_ID > /dev/tcp/127.0.0.1/%d'\n", count.port))
	rnd := rand.New(rand.NewPCG(7, uint64(time.Now().UnixNano())))
	var started []string
	for range 6 {
		c := s.client()
		killed := time.After(time.Duration(20+rnd.IntN(300)) * time.Millisecond)
		done := make(chan []string)
		stop := make(chan struct{})
		go func() { // ends with the kill, or after ten builds
			var ids []string
			for range 10 {
				select {
				case <-stop:
				default:
					out, err := c.StartBuild(context.Background(), &api.StartBuildInput{ProjectName: new("app")})
					if err == nil {
						ids = append(ids, *out.Build.Id)
						continue
					}
				}
				break
			}
			done <- ids
		}()
		<-killed
		s.kill()
		close(stop)
		started = append(started, <-done...)
		s.start()
	}
	if len(started) < 6 {
		t.Fatalf("only %d builds were acknowledged; this shows nothing", len(started))
	}
	statuses := map[api.StatusType]int{}
	for _, id := range started {
		b := s.await(id)
		statuses[b.BuildStatus]++
		if b.BuildStatus == api.StatusTypeSUCCEEDED { // what it sent may still be under way
			wait(t, "the line of build "+id, func() bool { return count.count(id) > 0 })
		}
		n := count.count(id)
		switch {
		case n > 1:
			t.Errorf("build %s ran its command %d times", id, n)
		case b.BuildStatus == api.StatusTypeSUCCEEDED && n != 1, b.BuildStatus != api.StatusTypeSUCCEEDED && b.BuildStatus != api.StatusTypeFAULT:
			t.Errorf("build %s is %s and ran its command %d times", id, b.BuildStatus, n)
		}
	}
	t.Logf("%d builds over 6 kills: %v", len(started), statuses)
	if statuses[api.StatusTypeSUCCEEDED] == 0 {
		t.Error("no build succeeded")
	}
}

// A build whose command runs when the server is killed ends as FAULT, and none
// of its processes stays.
func TestKill_EndsWhatRuns(t *testing.T) {
	t.Parallel()
	needs(t, "bash")
	count := newCounter(t)
	s := serve(t)
	const marker = "86399.25" // an argument that is found in the process list
	s.project("app", fmt.Sprintf("version: 0.2\nphases:\n  build:\n    commands:\n      - bash -c 'echo up > /dev/tcp/127.0.0.1/%d'; sleep %s\n", count.port, marker))
	out, err := s.client().StartBuild(context.Background(), &api.StartBuildInput{ProjectName: new("app")})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "the build's command", func() bool { return count.count("up") > 0 })
	wait(t, "the build's process", func() bool { return running(t, marker) })
	s.kill()
	wait(t, "the end of the build's processes", func() bool { return !running(t, marker) })
	s.start()
	b := s.await(*out.Build.Id)
	phase, _, message := problem(b)
	if b.BuildStatus != api.StatusTypeFAULT || phase != api.BuildPhaseTypeBUILD || !strings.Contains(message, "Build container found dead before completing the build") {
		t.Errorf("the build is %s, in %s: %q", b.BuildStatus, phase, message)
	}
	if n := count.count("up"); n != 1 {
		t.Errorf("the command ran %d times", n)
	}
}

// running reports whether a process has the argument.
func running(t *testing.T, argument string) bool {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range list {
		if b, err := os.ReadFile(file); err == nil && strings.Contains(string(b), "sleep\x00"+argument) {
			return true
		}
	}
	return false
}

// wait waits for a condition, at most a minute.
func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("%s does not come", what)
		case <-tick.C:
		}
	}
}

// Stopping the server as an operator does sends builds that have not begun
// back to the queue, and StopBuild ends one that runs, at once.
func TestStopBuild_EndsACommandThatNeverEnds(t *testing.T) {
	t.Parallel()
	s := serve(t)
	s.project("app", "version: 0.2\nphases:\n  build:\n    commands:\n      - trap '' TERM; echo waiting; sleep 86399\n")
	c := s.client()
	out, err := c.StartBuild(context.Background(), &api.StartBuildInput{ProjectName: new("app")})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "the BUILD phase", func() bool {
		got, err := c.BatchGetBuilds(context.Background(), &api.BatchGetBuildsInput{Ids: []string{*out.Build.Id}})
		return err == nil && *got.Builds[0].CurrentPhase == "BUILD"
	})
	if _, err := c.StopBuild(context.Background(), &api.StopBuildInput{Id: out.Build.Id}); err != nil {
		t.Fatal(err)
	}
	b := s.await(*out.Build.Id)
	if phase, _, _ := problem(b); b.BuildStatus != api.StatusTypeSTOPPED || phase != api.BuildPhaseTypeBUILD {
		t.Errorf("the build is %s, in %s", b.BuildStatus, phase)
	}
}

func startInput(project string) *api.StartBuildInput {
	return &api.StartBuildInput{ProjectName: &project}
}

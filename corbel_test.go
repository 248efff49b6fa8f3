// Package corbel_test runs Corbel as its users do: the built program, the
// real AWS CLI, boto3 and the Go SDK, against a live server.
package corbel_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// strict is set in CI: there, a test may not skip for want of a tool.
var strict = os.Getenv("CORBEL_TEST_STRICT") != ""

// needs finds a program, or skips the test and says so.
func needs(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if strict {
		t.Fatalf("none of %v is installed, and CI may skip nothing", names)
	}
	t.Skipf("none of %v is installed", names)
	return ""
}

// knowing is whether the AWS CLI found first knows the newest members of the
// API that a test gives it. Debian 12's own, 2.9.19, does not, nor does it read
// AWS_ENDPOINT_URL.
var knowing = sync.OnceValue(func() bool {
	out, err := exec.Command("aws", "codebuild", "create-webhook", "--generate-cli-skeleton").Output()
	return err == nil && strings.Contains(string(out), "pullRequestBuildPolicy")
})

// awsCLI returns the AWS CLI, or skips the test where there is none that knows
// today's CodeBuild.
func awsCLI(t *testing.T) string {
	t.Helper()
	path := needs(t, "aws")
	if !knowing() {
		const text = "the AWS CLI is older than what is tested with it; install a current one"
		if strict {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	return path
}

// binary builds the program once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "corbel-test-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "corbel")
	out, err := exec.Command("go", "build", "-o", path, "./cmd/corbel").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func corbel(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMain(m *testing.M) {
	code := m.Run()
	stopChromium()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// A server is a running "corbel serve".
type server struct {
	t    *testing.T
	data string
	url  string
	args []string
	// environ is what the program has in its environment beside the tester's.
	environ []string
	cmd     *exec.Cmd
	// ended is closed when the program has ended and its log is complete.
	ended   <-chan struct{}
	log     *lockedBuffer
	printed string // by "corbel env" since it was started
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve starts a server on a fresh data directory. The test's end stops it.
func serve(t *testing.T, args ...string) *server {
	t.Helper()
	// Not t.TempDir: builds run under another user id, which must be able to
	// pass through.
	data, err := os.MkdirTemp("", "corbel-data-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(data) })
	if err := os.Chmod(data, 0o711); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, data: data, args: args, log: &lockedBuffer{}}
	s.start()
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("server log (of builds and problems):\n%s", withoutRequests(s.log.String()))
		}
	})
	return s
}

var listening = regexp.MustCompile(`msg=listening url=(\S+)`)

// start runs the program and waits until it listens.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(corbel(s.t), append([]string{"serve", "-data", s.data, "-listen", "127.0.0.1:0"}, s.args...)...)
	s.cmd.Env = append(os.Environ(), s.environ...)
	s.printed = ""
	up := make(chan string, 1)
	s.cmd.Stderr = &startLog{to: s.log, up: up}
	// A process that the server left behind may hold its error output.
	s.cmd.WaitDelay = 2 * time.Second
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	s.ended = ended
	go func() {
		_ = s.cmd.Wait()
		close(ended)
	}()
	select {
	case s.url = <-up:
	case <-ended:
		s.t.Fatalf("the server ended:\n%s", s.log)
	case <-time.After(30 * time.Second):
		s.t.Fatalf("the server does not listen:\n%s", s.log)
	}
}

// A startLog passes a log on and says once where the server listens.
type startLog struct {
	to   *lockedBuffer
	seen bytes.Buffer
	up   chan<- string
}

func (l *startLog) Write(p []byte) (int, error) {
	if l.up != nil {
		l.seen.Write(p)
		if m := listening.FindSubmatch(l.seen.Bytes()); m != nil && bytes.HasSuffix(p, []byte("\n")) {
			l.up <- string(m[1])
			l.up = nil
		}
	}
	return l.to.Write(p)
}

// stop ends the server as an operator does.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended
}

// kill ends it without notice.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// env is the environment that "corbel env" sets up, without anything of AWS
// that the tester has.
func (s *server) env() []string {
	s.t.Helper()
	if s.printed == "" {
		s.printed = s.printEnv()
	}
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "AWS_CA_BUNDLE") {
			env = append(env, v)
		}
	}
	for line := range strings.Lines(s.printed) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			env = append(env, strings.ReplaceAll(v, "'", ""))
		}
	}
	return append(env, "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
		"PYTHONWARNINGS=ignore")
}

func (s *server) printEnv() string {
	s.t.Helper()
	out, err := exec.Command(corbel(s.t), "env", "-data", s.data).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		s.t.Fatalf("corbel env: %v", err)
	}
	return string(out)
}

// run runs a command against the server and returns what it printed.
func (s *server) run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = s.env()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must is run for a command that has to succeed.
func (s *server) must(name string, args ...string) string {
	s.t.Helper()
	out, err := s.run(name, args...)
	if err != nil {
		s.t.Fatalf("%s %q: %v\n%s", filepath.Base(name), args, err, out)
	}
	return out
}

// findPlanted looks for a planted token, raw and encoded, in every file below
// dir.
func findPlanted(t *testing.T, dir string, needles [][]byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // a running server's files come and go
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		for _, n := range needles {
			if bytes.Contains(data, n) {
				t.Errorf("%s holds the planted token (as %q...)", path, n[:8])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestServe_AnswersWithin(t *testing.T) {
	t.Parallel()
	s := serve(t, "-builds", "0")
	resp, err := http.Get(s.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("GET /healthz = %s", resp.Status)
	}
}

// withoutRequests leaves out the lines about requests, of which there are many.
func withoutRequests(log string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "msg=request ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

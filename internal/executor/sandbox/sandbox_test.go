//go:build linux

package sandbox

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/corbel-build/corbel/internal/executor"
	"github.com/corbel-build/corbel/internal/executor/executortest"
)

// The test binary plays several parts, told by a variable.
const (
	partVariable = "CORBEL_SANDBOX_TEST"
	partServer   = "server"       // start an environment in $DIR, report, wait to be killed
	partNew      = "new"          // call New, report its error
	partOther    = "unprivileged" // run the tests as somebody who is not root
	partDial     = "dial"         // try what must not work
)

func TestMain(m *testing.M) {
	Main()
	switch os.Getenv(partVariable) {
	case partServer:
		serve()
	case partDial:
		dial()
		os.Exit(0)
	case partNew:
		s, err := New(context.Background(), Config{})
		if err != nil {
			fmt.Println("refused:", err)
			os.Exit(0)
		}
		fmt.Println("started:", s.Traits())
		s.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// open makes a sandbox that ends with the test.
func open(t testing.TB, config Config) *Sandbox {
	t.Helper()
	s, err := New(context.Background(), config)
	if err != nil {
		t.Fatalf("New(%+v): %v", config, err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newSpec(t testing.TB) executor.Spec {
	return executor.Spec{Build: "test-" + rand.Text(), Dir: t.TempDir(), Env: []string{"PATH=/usr/bin:/bin"}}
}

func startIn(t testing.TB, s *Sandbox, spec executor.Spec) *environment {
	t.Helper()
	e, err := s.Start(context.Background(), spec)
	if err != nil {
		t.Fatalf("Start(%+v): %v", spec, err)
	}
	t.Cleanup(func() {
		e.Close()
		if text := e.(*environment).p.stderr.String(); text != "" {
			t.Errorf("init of %s says: %s", spec.Build, text)
		}
	})
	return e.(*environment)
}

func run(t testing.TB, e executor.Environment, script string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	status, err := e.Run(context.Background(), executor.Command{Script: script}, &out)
	if err != nil {
		t.Fatalf("Run(%q) = %d, %v; output %q", script, status, err, out.String())
	}
	return strings.TrimSpace(out.String()), status
}

func TestExecutor(t *testing.T) {
	t.Parallel()
	executortest.Run(t, func(t *testing.T) executor.Executor { return open(t, Config{}) })
}

// Without overlays, as on an overlay file system, sources are copied.
func TestExecutor_Copying(t *testing.T) {
	t.Parallel()
	executortest.Run(t, func(t *testing.T) executor.Executor {
		s := open(t, Config{copying: true})
		if got := s.Traits().String(); !strings.Contains(got, "copied sources") {
			t.Fatalf("traits %q do not say that sources are copied", got)
		}
		return s
	})
}

func TestExecutor_NoNetwork(t *testing.T) {
	t.Parallel()
	executortest.Run(t, func(t *testing.T) executor.Executor { return open(t, Config{Network: "none"}) })
}

// TestUnprivileged runs this file's tests again as somebody else.
func TestUnprivileged(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the tests run without root already")
	}
	const id = 64123 // nobody's
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, id, id); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^Test", "-test.v", "-test.timeout=5m", "-test.parallel=4")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, partVariable + "=" + partOther}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		var short strings.Builder
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, "=== ") && !strings.Contains(line, "--- PASS") {
				short.WriteString(line)
			}
		}
		t.Fatalf("tests as user %d: %v\n%s", id, err, short.String())
	}
	for _, want := range []string{"--- PASS: TestExecutor ", "user namespace with the server's own id"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("tests as user %d do not print %q:\n%s", id, want, out)
		}
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "traits:") || strings.Contains(line, "SKIP") {
			t.Logf("as user %d: %s", id, strings.TrimSpace(line))
		}
	}
}

// serve is a server that has an environment with processes in it.
func serve() {
	fail := func(err error) {
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	s, err := New(ctx, Config{})
	fail(err)
	e, err := s.Start(ctx, executor.Spec{Build: os.Getenv("BUILD"), Dir: os.Getenv("DIR"), Env: []string{"PATH=/usr/bin:/bin"}})
	fail(err)
	var out bytes.Buffer
	_, err = e.Run(ctx, executor.Command{Script: `cat /proc/*/environ /proc/self/environ 2>/dev/null | tr '\0' '\n'; env`}, &out)
	fail(err)
	if strings.Contains(out.String(), os.Getenv("SECRET")) {
		fail(errors.New("the build sees the server's environment: " + out.String()))
	}
	_, err = e.Run(ctx, executor.Command{Script: "trap '' TERM HUP; (setsid sh -c 'trap \"\" TERM HUP; sleep 300; :' &) ; sleep 300 & sleep 300 & :"}, &out)
	fail(err)
	fmt.Println("ready", e.(*environment).p.cmd.Process.Pid)
	_, err = e.Run(ctx, executor.Command{Script: "sleep 300"}, &out)
	fail(err)
}

// descendants are the processes of the host below pid, and pid.
func descendants(t *testing.T, pid int) []int {
	t.Helper()
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		n, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		data, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(data), ") ")
		parent, err := strconv.Atoi(strings.Fields(after)[1])
		if err != nil {
			t.Fatal(err)
		}
		children[parent] = append(children[parent], n)
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

func TestServerKilled_LeavesNoProcess(t *testing.T) {
	t.Parallel()
	dir, build := t.TempDir(), "killed-"+rand.Text()
	secret := "ghp_" + rand.Text()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = []string{partVariable + "=" + partServer, "DIR=" + dir, "BUILD=" + build, "SECRET=" + secret, "TMPDIR=" + os.TempDir()}
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready ") {
		_ = cmd.Process.Kill()
		t.Fatalf("server says %q, %v", line, err)
	}
	// All of them, the spare too, each with a descriptor that becomes readable
	// when the process ends.
	var pids []int
	var waits []unix.PollFd
	for _, pid := range descendants(t, cmd.Process.Pid) {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has ended
		}
		defer unix.Close(fd)
		pids = append(pids, pid)
		waits = append(waits, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	if len(pids) < 5 {
		t.Errorf("server, init and sleeps: found processes %v, want at least 5", pids)
	}
	begin := time.Now()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for n := range waits {
		for {
			ready, err := unix.Poll(waits[n:n+1], 10_000)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if ready != 1 || err != nil {
				t.Errorf("process %d lives on after its server was killed: %d, %v", pids[n], ready, err)
			}
			break
		}
	}
	t.Logf("%d processes ended %v after kill -9 of the server", len(pids), time.Since(begin))
	_ = cmd.Wait()

	// The next server removes the groups.
	s := open(t, Config{})
	for _, base := range s.cgroups.dirs() {
		if _, err := os.Stat(filepath.Join(base, build)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("cgroup of the killed server's build is still in %s: %v", base, err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Errorf("remove the killed build's directory: %v", err)
	}
}

func TestClose_LeavesNothing(t *testing.T) {
	t.Parallel()
	s := open(t, Config{})
	spec := newSpec(t)
	tree := t.TempDir()
	e := startIn(t, s, spec)
	if err := e.Place(t.Context(), executor.Tree{Dir: tree, Target: "/codebuild/output/src"}); err != nil {
		t.Fatal(err)
	}
	run(t, e, "mkdir -p /codebuild/output/src/a/b; chmod 0 /codebuild/output/src/a; mkdir /tmp/ro; touch /tmp/ro/x; chmod 555 /tmp/ro; setsid sleep 300 & sleep 300 &")
	pids := descendants(t, e.p.cmd.Process.Pid)
	for _, base := range s.cgroups.dirs() {
		if _, err := os.Stat(filepath.Join(base, spec.Build)); err != nil {
			t.Errorf("cgroup while the build runs: %v", err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d of %v is there after Close: %v", pid, pids, err)
		}
	}
	for _, base := range s.cgroups.dirs() {
		if _, err := os.Stat(filepath.Join(base, spec.Build)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("cgroup after Close in %s: %v", base, err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), spec.Dir) || strings.Contains(string(mounts), tree) {
		t.Errorf("mounts after Close:\n%s", mounts)
	}
	if err := os.RemoveAll(spec.Dir); err != nil {
		t.Errorf("remove what is left: %v", err)
	}
}

// A directory that is closed to everybody but root must not be in the way of
// builds that root starts: the data directory is such a place.
func TestPrivateParent(t *testing.T) {
	t.Parallel()
	s := open(t, Config{})
	private := filepath.Join(t.TempDir(), "data")
	for _, dir := range []string{private, private + "/build", private + "/source"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	uid, gid := s.FileOwner()
	if err := os.WriteFile(private+"/source/file", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chown(private+"/source", uid, gid), os.Chown(private+"/source/file", uid, gid)); err != nil {
		t.Fatal(err)
	}
	spec := newSpec(t)
	spec.Dir = private + "/build"
	e := startIn(t, s, spec)
	if err := e.Place(t.Context(), executor.Tree{Dir: private + "/source", Target: "/codebuild/output/src"}); err != nil {
		t.Fatal(err)
	}
	if got, _ := run(t, e, "cd /codebuild/output/src; cat file; echo y > file; cat file"); got != "xy" {
		t.Errorf("source below a private directory: %q", got)
	}
}

func TestHidden(t *testing.T) {
	t.Parallel()
	shown := t.TempDir()
	for d := shown; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"/data", "/open"} {
		if err := os.Mkdir(shown+dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(shown+dir+"/file", []byte("content"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(shown+"/key", []byte("content"), 0o644), os.Symlink("data", shown+"/way-to-data")); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{ReadOnly: []string{shown}, Hidden: []string{shown + "/way-to-data", shown + "/key", shown + "/none"}})
	e := startIn(t, s, newSpec(t))
	for script, want := range map[string]string{
		"cat " + shown + "/open/file":       "content",
		"ls -A " + shown + "/data":          "",
		"cat " + shown + "/key":             "",
		"ls -A " + shown + "/way-to-data/.": "",
	} {
		if got, status := run(t, e, script); got != want || status != 0 {
			t.Errorf("Run(%q) = %q, status %d; want %q", script, got, status, want)
		}
	}
	if got, status := run(t, e, "touch "+shown+"/open/x"); status == 0 {
		t.Errorf("a ReadOnly directory can be written: %q", got)
	}
}

// Inside a sandbox there can be no other: New must say so, and what to do.
func TestNew_Refused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() // a directory that the build may read, with the binary
	e := startIn(t, open(t, Config{}), newSpec(t))
	copySelf(t, e.sandbox, dir)
	if err := e.Place(t.Context(), executor.Tree{Dir: dir, Target: "/codebuild/output/bin"}); err != nil {
		t.Fatal(err)
	}
	got, status := run(t, e, partVariable+"="+partNew+" /codebuild/output/bin/self")
	if status != 0 || !strings.HasPrefix(got, "refused: ") {
		t.Fatalf("New inside a sandbox: %q, status %d; want refused", got, status)
	}
	for _, want := range []string{"start init in new namespaces", "operation not permitted", "--security-opt"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not contain %q", got, want)
		}
	}
}

// copySelf puts the test binary into dir, for builds to run, as self.
func copySelf(t *testing.T, s *Sandbox, dir string) {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	// Another process writes the file: ours is forked by other tests meanwhile, and
	// a program cannot be run while any copy of us has it open for writing.
	binary := filepath.Join(dir, "self")
	cmd := exec.Command("sh", "-c", `cat > "$1" && chmod 755 "$1"`, "sh", binary)
	cmd.Stdin = self
	uid, gid := s.FileOwner()
	if err := errors.Join(cmd.Run(), os.Chown(binary, uid, gid), os.Chown(dir, uid, gid)); err != nil {
		t.Fatal(err)
	}
}

// With the network of the host a build must not reach what is not a network:
// sockets of the host, its processes; nor calls that the filter denies.
func TestReach(t *testing.T) {
	t.Parallel()
	s := open(t, Config{})
	dir := t.TempDir()
	copySelf(t, s, dir)
	e := startIn(t, s, newSpec(t))
	if err := e.Place(t.Context(), executor.Tree{Dir: dir, Target: "/codebuild/output/bin"}); err != nil {
		t.Fatal(err)
	}
	want := "tcp connect\ntcp listen\ndone"
	if landlockABI() < 6 {
		want = "abstract socket\n" + want
	}
	got, _ := run(t, e, strings.Join(listeners(t, t.TempDir()), " ")+" BOUNDED=1 HOSTFILE="+dir+"/self /codebuild/output/bin/self")
	if got != want {
		t.Errorf("a build can do:\n%s\nwant:\n%s", got, want)
	}
}

func TestConfig_Invalid(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{ReadOnly: []string{"x"}}, `"x" is not absolute`},
		{Config{Hidden: []string{"y"}}, `"y" is not absolute`},
		{Config{Network: "bridge"}, `network "bridge"`},
		{Config{BaseID: 5}, "base id 5"},
		{Config{Limits: executor.Limits{CPUs: -1}}, "negative limit"},
	} {
		if s, err := New(t.Context(), c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			if s != nil {
				s.Close()
			}
			t.Errorf("New(%+v): %v, want %q", c.config, err, c.want)
		}
	}
}

// A spare that somebody has killed is replaced without a word.
func TestSpareKilled(t *testing.T) {
	t.Parallel()
	s := open(t, Config{})
	s.filler.Wait() // for the spare
	p := <-s.spare
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.gone
	s.spare <- p
	if got, _ := run(t, startIn(t, s, newSpec(t)), "echo fine"); got != "fine" {
		t.Errorf("after the spare was killed: %q", got)
	}
}

// A run that is cancelled at any moment of its beginning ends.
func TestCancel_AtOnce(t *testing.T) {
	t.Parallel()
	spec := newSpec(t)
	spec.StopGrace = 50 * time.Millisecond
	e := startIn(t, open(t, Config{}), spec)
	for n := range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*50*time.Microsecond)
		var out bytes.Buffer
		status, err := e.Run(ctx, executor.Command{Script: "exec sleep 300"}, &out)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("run %d, cancelled after %d µs: %d, %v; output %q", n, n*50, status, err, out.String())
		}
	}
	if got, _ := run(t, e, "echo fine"); got != "fine" {
		t.Errorf("after all that: %q", got)
	}
}

// When init is killed the error is ErrDead, and says how.
func TestInitKilled(t *testing.T) {
	t.Parallel()
	e := startIn(t, open(t, Config{}), newSpec(t))
	run(t, e, "true")
	if err := e.p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_, err := e.Run(t.Context(), executor.Command{Script: "true"}, new(bytes.Buffer))
	if !errors.Is(err, executor.ErrDead) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Run after init was killed: %v, want ErrDead that says killed", err)
	}
}

func TestNoNetwork(t *testing.T) {
	t.Parallel()
	e := startIn(t, open(t, Config{Network: "none"}), newSpec(t))
	got, status := run(t, e, "tail -n +3 /proc/net/dev | sed 's/:.*//' | tr -d ' '")
	if got != "lo" || status != 0 {
		t.Errorf("interfaces: %q, status %d; want lo", got, status)
	}
}

func TestDuplicateBuild(t *testing.T) {
	t.Parallel()
	s := open(t, Config{})
	if len(s.cgroups.dirs()) == 0 {
		t.Skip("no cgroups here: nothing on the host has the name of a build")
	}
	spec := newSpec(t)
	startIn(t, s, spec)
	spec.Dir = t.TempDir()
	// An empty group with a lock: not to be taken over.
	if e, err := s.Start(t.Context(), spec); err == nil {
		e.Close()
		t.Error("two environments with one name: no error")
	}
}

func BenchmarkStartPlaceRun(b *testing.B) {
	s := open(b, Config{})
	tree := b.TempDir()
	root := b.TempDir()
	n := 0
	for b.Loop() {
		b.StopTimer()
		s.filler.Wait() // measure a start from the spare, as the first of a quiet server
		n++
		dir := filepath.Join(root, strconv.Itoa(n))
		if err := os.Mkdir(dir, 0o700); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		e, err := s.Start(context.Background(), executor.Spec{Build: "bench-" + strconv.Itoa(n), Dir: dir, Env: []string{"PATH=/usr/bin:/bin"}})
		if err != nil {
			b.Fatal(err)
		}
		if err := e.Place(context.Background(), executor.Tree{Dir: tree, Target: "/codebuild/output/src"}); err != nil {
			b.Fatal(err)
		}
		if status, err := e.Run(context.Background(), executor.Command{Script: "true"}, new(bytes.Buffer)); status != 0 || err != nil {
			b.Fatal(status, err)
		}
		b.StopTimer()
		e.Close()
		b.StartTimer()
	}
}

func BenchmarkRun(b *testing.B) {
	e := startIn(b, open(b, Config{}), newSpec(b))
	for b.Loop() {
		if status, err := e.Run(context.Background(), executor.Command{Script: "true"}, new(bytes.Buffer)); status != 0 || err != nil {
			b.Fatal(status, err)
		}
	}
}

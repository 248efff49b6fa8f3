// Package executortest defines the contract of executor.Executor by tests.
//
// Every adapter runs the suite in a test of its own:
//
//	func TestExecutor(t *testing.T) {
//		executortest.Run(t, func(t *testing.T) executor.Executor { ... })
//	}
//
// The stories use a shell and the usual small programs (cat, sleep, head, tr,
// tail, mkdir, id), so an adapter's environments must have these. All stories of
// one suite run at the same time on one executor.
package executortest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/internal/executor"
)

// soon is the longest that anything here may take that should be immediate. It
// is generous, since machines that run tests are busy.
const soon = 20 * time.Second

// Run runs the suite on the executor that open returns. Open registers the
// executor's Close with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) executor.Executor) {
	ex := open(t)
	t.Logf("traits: %s", ex.Traits())
	story := func(name string, f func(*testing.T, executor.Executor)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, ex)
		})
	}
	for _, shell := range []string{"sh", "bash"} {
		in := func(f func(*testing.T, executor.Executor, string)) func(*testing.T, executor.Executor) {
			return func(t *testing.T, ex executor.Executor) { f(t, ex, shell) }
		}
		story("State/"+shell, in(state))
		story("Exit/"+shell, in(exit))
		story("SetE/"+shell, in(setE))
		story("KilledShell/"+shell, in(killedShell))
		story("Statuses/"+shell, in(statuses))
		story("Environment/"+shell, in(environment))
		story("CommandEnv/"+shell, in(commandEnv))
		story("Output/"+shell, in(output))
		story("Background/"+shell, in(background))
		story("Descriptors/"+shell, in(descriptors))
		story("Cancel/"+shell, in(cancel))
	}
	story("ShellOfCommand", shellOfCommand)
	story("WriterFails", writerFails)
	story("CancelStubborn", cancelStubborn)
	story("CancelledBefore", cancelledBefore)
	story("Close", closing)
	story("KillEverything", killEverything)
	story("Place", place)
	story("PlaceInLinks", placeInLinks)
	story("Put", put)
	story("TooLate", tooLate)
	story("RunAs", runAs)
	story("Apart", apart)
	story("HostIsNotThere", hostIsNotThere)
	story("SystemIsReadOnly", systemIsReadOnly)
	story("NoPrivileges", noPrivileges)
	story("MemoryHog", memoryHog)
	story("ForkBomb", forkBomb)
	story("FileLimits", fileLimits)
	story("ManyAtOnce", manyAtOnce)
	story("BadSpecs", badSpecs)
}

// A build is an environment with what tests want from it.
type build struct {
	t *testing.T
	executor.Environment
}

// start makes an environment that ends with the test.
func start(t *testing.T, ex executor.Executor, change ...func(*executor.Spec)) build {
	t.Helper()
	spec := executor.Spec{
		Build: "test-" + rand.Text(),
		Dir:   t.TempDir(),
		Env:   []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/root"},
	}
	for _, f := range change {
		f(&spec)
	}
	env, err := ex.Start(t.Context(), spec)
	if err != nil {
		t.Fatalf("Start(%+v): %v", spec, err)
	}
	t.Cleanup(func() {
		if err := env.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return build{t, env}
}

func inShell(shell string) func(*executor.Spec) {
	return func(s *executor.Spec) { s.Shell = shell }
}

// shellOfCommand asks for bash although the environment was started for sh.
func shellOfCommand(t *testing.T, ex executor.Executor) {
	b := start(t, ex, inShell("sh"))
	for i, c := range []struct{ script, want string }{
		{`[[ abc == a* ]] && list=(1 2 3) && echo "${#list[@]}"`, "3"},
		{`echo "${list[2]}"`, "3"},
	} {
		if got, status := b.do(executor.Command{Script: c.script, Shell: "bash", Env: []string{"A=b"}}); got != c.want || status != 0 {
			t.Errorf("command %d in bash prints %q with status %d, want %q", i, got, status, c.want)
		}
	}
	if _, err := b.Run(t.Context(), executor.Command{Script: "true", Shell: "fish"}, io.Discard); err == nil {
		t.Error("a shell that there is not was accepted")
	}
}

// do runs a script as command and returns its output, trimmed, and its status.
func (b build) do(command executor.Command) (string, int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	var out bytes.Buffer
	status, err := b.Run(ctx, command, &out)
	if err != nil {
		b.t.Fatalf("Run(%q) = %d, %v; output %q", command.Script, status, err, out.String())
	}
	return strings.TrimSpace(out.String()), status
}

// want runs a script that must succeed with this output.
func (b build) want(script, output string) {
	b.t.Helper()
	got, status := b.do(executor.Command{Script: script})
	if got != output || status != 0 {
		b.t.Errorf("Run(%q) = %q, status %d; want %q, status 0", script, got, status, output)
	}
}

// refuse runs a script that must fail.
func (b build) refuse(script string) {
	b.t.Helper()
	if got, status := b.do(executor.Command{Script: script}); status == 0 {
		b.t.Errorf("Run(%q) = %q, status 0; want it to fail", script, got)
	}
}

func state(t *testing.T, ex executor.Executor, shell string) {
	b := start(t, ex, inShell(shell))
	b.want("mkdir -p /tmp/a && cd /tmp/a", "")
	b.want("pwd", "/tmp/a")
	b.want("plain=1; export exported=2", "")
	b.want(`echo "$plain $exported"`, "1 2")
	b.want(`sh -c 'echo "[$plain] [$exported]"'`, "[] [2]")
	b.want("greet() { echo \"hello $1\"; }", "")
	b.want("greet world", "hello world")
	b.want("echo 'sourced=3; twice() { echo $1$1; }' > lib.sh\n. ./lib.sh", "")
	b.want("twice $sourced", "33")
	b.want("unset HOME; umask 027", "")
	b.want(`echo "[$HOME]"; umask`, "[]\n0027")
	b.refuse("false")
	b.want(`echo "$plain" finally`, "1 finally")
}

func exit(t *testing.T, ex executor.Executor, shell string) {
	b := start(t, ex, inShell(shell), func(s *executor.Spec) { s.Env = append(s.Env, "GIVEN=from the start") })
	b.want(`mkdir "/tmp/it's a dir"; cd "/tmp/it's a dir"; plain=1; export KEPT="it's
two lines" GIVEN; unset HOME`, "")
	if got, status := b.do(executor.Command{Script: "export LATE=4; echo bye; exit 3; echo never"}); got != "bye" || status != 3 {
		t.Errorf("exit 3: output %q, status %d; want bye, 3", got, status)
	}
	b.want(`echo "[$KEPT] [$LATE] [$GIVEN] [$plain] [$HOME]"; pwd`, "[it's\ntwo lines] [4] [from the start] [] []\n/tmp/it's a dir")
	if _, status := b.do(executor.Command{Script: "exit 0"}); status != 0 {
		t.Errorf("exit 0: status %d", status)
	}
	b.want(`echo "$LATE"`, "4")

	// A trap of the build's own runs; the state is then that of the command before.
	b.want("export BEFORE=5", "")
	if got, status := b.do(executor.Command{Script: "trap 'echo trapped' EXIT; exit 6"}); got != "trapped" || status != 6 {
		t.Errorf("trap: output %q, status %d; want trapped, 6", got, status)
	}
	b.want(`echo "$BEFORE"`, "5")

	// A directory that has gone is no reason to fail.
	b.want("mkdir /tmp/gone; cd /tmp/gone; rmdir /tmp/gone", "")
	if _, status := b.do(executor.Command{Script: "exit 7"}); status != 7 {
		t.Errorf("exit 7: status %d", status)
	}
	b.want(`echo "$BEFORE"`, "5")
}

func setE(t *testing.T, ex executor.Executor, shell string) {
	b := start(t, ex, inShell(shell))
	b.want("export KEPT=1", "")
	if got, status := b.do(executor.Command{Script: "set -e\necho one\nfalse\necho two"}); got != "one" || status != 1 {
		t.Errorf("set -e: output %q, status %d; want one, 1", got, status)
	}
	b.want("false\necho $KEPT", "1") // a new shell, without -e
	b.want("set -e", "")
	b.want("echo still here", "still here")
	if got, status := b.do(executor.Command{Script: "(exit 9)\necho never"}); got != "" || status != 9 {
		t.Errorf("under set -e: output %q, status %d; want none, 9", got, status)
	}
	b.want("set -u; set -C", "")
	b.want("echo options do no harm", "options do no harm")
	b.refuse(`echo "$nothing"`)
	b.want("echo $KEPT", "1")
}

func killedShell(t *testing.T, ex executor.Executor, shell string) {
	b := start(t, ex, inShell(shell))
	b.want("export KEPT=1; cd /tmp", "")
	if _, status := b.do(executor.Command{Script: "kill -9 $$"}); status != 137 {
		t.Errorf("kill -9 $$: status %d, want 137", status)
	}
	b.want("echo $KEPT; pwd", "1\n/tmp")
	if got, status := b.do(executor.Command{Script: "exec sh -c 'echo other; exit 8'"}); got != "other" || status != 8 {
		t.Errorf("exec: output %q, status %d; want other, 8", got, status)
	}
	b.want("echo $KEPT; pwd", "1\n/tmp")
}

func statuses(t *testing.T, ex executor.Executor, shell string) {
	b := start(t, ex, inShell(shell))
	b.want("printf 'no program' > /tmp/plain; mkdir /tmp/dir", "")
	for _, c := range []struct {
		script string
		want   int
	}{
		{"", 0},
		{"\n\n", 0},
		{"# nothing", 0},
		{"true", 0},
		{"false", 1},
		{"false\ntrue", 0}, // the last one counts
		{"true\nfalse", 1},
		{"if true; then\n  (exit 4)\nfi", 4},
		{"return 5\ntrue", 5},
		{"exit 255", 255},
		{"sh -c 'exit 42'", 42},
		{"no-such-program", 127},
		{"/no/such/program", 127},
		{"/tmp/plain", 126},
		{"/tmp/dir", 126},
		{"sh -c 'kill -TERM $$'", 143},
		{"sh -c 'kill -KILL $$'", 137},
		{"true; true &", 0},
		{"cat <<EOF\ntext\nEOF\n", 0},
		{"cat", 0}, // standard input is empty
		{"echo " + strings.Repeat("x", 100_000), 0},
		{strings.Repeat(": line\n", 50_000) + "false", 1},
	} {
		if got, status := b.do(executor.Command{Script: c.script}); status != c.want {
			t.Errorf("Run(%.60q): status %d, want %d; output %.200q", c.script, status, c.want, got)
		}
	}
	if _, status := b.do(executor.Command{Script: "if"}); status == 0 || status > 2 {
		t.Errorf("syntax error: status %d, want 1 or 2", status)
	}
	b.want("echo works", "works")
}

func environment(t *testing.T, ex executor.Executor, shell string) {
	env := []string{"PATH=/usr/bin:/bin", "EMPTY=", "QUOTES='\"`$(id)\\", "LINES=a\nb\n", "BYTES=\xff\xfe", "PLUS=a=b"}
	b := start(t, ex, inShell(shell), func(s *executor.Spec) { s.Env, s.WorkDir = env, "/codebuild/output/src1/src" })
	out, _ := b.do(executor.Command{Script: "cat /proc/self/environ"})
	var got []string
	for kv := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		switch key, _, _ := strings.Cut(kv, "="); key {
		case "PWD", "OLDPWD", "SHLVL", "_": // made by shells
		default:
			got = append(got, kv)
		}
	}
	slices.Sort(got)
	slices.Sort(env)
	if diff := cmp.Diff(env, got); diff != "" {
		t.Errorf("environment of a program (-want +got):\n%s", diff)
	}
	b.want("pwd", "/codebuild/output/src1/src")
}

func commandEnv(t *testing.T, ex executor.Executor, shell string) {
	b := start(t, ex, inShell(shell))
	value := "it's \"$x\" `y` \\ \n two"
	got, _ := b.do(executor.Command{Script: `sh -c 'echo "$GIVEN"'`, Env: []string{"GIVEN=" + value, "CODEBUILD_BUILD_SUCCEEDING=1"}})
	if got != value {
		t.Errorf("variable of the command = %q, want %q", got, value)
	}
	b.want("echo $CODEBUILD_BUILD_SUCCEEDING", "1")
	b.do(executor.Command{Script: "false", Env: []string{"CODEBUILD_BUILD_SUCCEEDING=0"}})
	b.want("echo $CODEBUILD_BUILD_SUCCEEDING", "0")
	for _, bad := range []string{"a-b=1", "1a=1", "noequals", "=1", "a;id=1", "a=\x00"} {
		if status, err := b.Run(t.Context(), executor.Command{Script: "true", Env: []string{bad}}, new(bytes.Buffer)); err == nil {
			t.Errorf("Run with variable %q: status %d, no error", bad, status)
		}
	}
}

// A strictWriter notices writes at the same time, by the race detector, and
// writes after it was closed.
type strictWriter struct {
	bytes.Buffer
	mu     sync.Mutex
	closed bool
	late   int
}

func (w *strictWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	if w.closed {
		w.late++
	}
	w.mu.Unlock()
	return w.Buffer.Write(p) // not under the lock
}

func output(t *testing.T, ex executor.Executor, shell string) {
	b := start(t, ex, inShell(shell))
	// Order over both streams.
	var want strings.Builder
	for i := range 500 {
		fmt.Fprintf(&want, "out %d\nerr %d\n", i, i)
	}
	got, _ := b.do(executor.Command{Script: "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"})
	if diff := cmp.Diff(strings.TrimSpace(want.String()), got); diff != "" {
		t.Errorf("order of streams (-want +got):\n%s", diff)
	}

	// Volume, at the very end of the command, and nothing after Run.
	for range 3 {
		w := &strictWriter{}
		status, err := b.Run(t.Context(), executor.Command{Script: "head -c 1048576 /dev/zero | tr '\\0' x; echo; echo end"}, w)
		w.mu.Lock()
		w.closed = true
		w.mu.Unlock()
		if err != nil || status != 0 {
			t.Fatalf("1 MiB: status %d, %v", status, err)
		}
		if want := strings.Repeat("x", 1<<20) + "\nend\n"; w.String() != want {
			t.Errorf("1 MiB: %d bytes, want %d", w.Len(), len(want))
		}
		b.do(executor.Command{Script: "echo to another writer"})
		w.mu.Lock()
		if w.late > 0 {
			t.Errorf("%d writes after Run returned", w.late)
		}
		w.mu.Unlock()
	}

	// Bytes are bytes.
	b.want(`printf '\001\377\033[31m\n'`, "\x01\xff\x1b[31m")
}

func background(t *testing.T, ex executor.Executor, shell string) {
	b := start(t, ex, inShell(shell))
	begin := time.Now()
	b.want("sleep 300 & (sleep 300; echo never) & pid=$!", "")
	b.want("sleep 300 > /dev/null 2>&1 & echo started", "started")
	if d := time.Since(begin); d > soon {
		t.Errorf("commands with background processes took %v", d)
	}
	b.want("kill -0 $pid && echo alive", "alive")
	b.want("kill $pid; wait $pid 2>/dev/null; [ $? = 143 ] && echo ended", "ended")

	// What it writes later comes with the Run that waits for it.
	b.want("mkfifo /tmp/go; (read x < /tmp/go; echo from behind; echo done > /tmp/go) &", "")
	b.want("echo first", "first")
	b.want("echo x > /tmp/go; read y < /tmp/go", "from behind")
}

func descriptors(t *testing.T, ex executor.Executor, shell string) {
	b := start(t, ex, inShell(shell))
	for _, script := range []string{"sh -c 'echo /proc/self/fd/*; exec ls /proc/self/fd'", "cd /tmp; ls /proc/self/fd"} {
		got, _ := b.do(executor.Command{Script: script})
		fields := strings.Fields(got)
		fields = slices.DeleteFunc(fields, func(s string) bool { return strings.HasPrefix(s, "/") })
		if want := []string{"0", "1", "2", "3"}; !slices.Equal(fields, want) { // 3 is the directory that ls reads
			t.Errorf("Run(%q): descriptors %v, want %v", script, fields, want)
		}
	}
	// Numbers that scripts use for themselves work.
	b.want("exec 3>/tmp/three 9>/tmp/nine; echo a >&3; echo b >&9", "")
	b.want("echo c >&3; cat /tmp/three /tmp/nine", "a\nc\nb")
}

// watch calls f when the text has been written to it. It is for one line.
type watch struct {
	bytes.Buffer
	text string
	f    func()
}

func (w *watch) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if w.f != nil && strings.Contains(w.String(), w.text) {
		w.f()
		w.f = nil
	}
	return n, err
}

func cancel(t *testing.T, ex executor.Executor, shell string) {
	b := start(t, ex, inShell(shell))
	b.want("export KEPT=1; cd /tmp; sleep 300 &", "")
	reason := errors.New("stopped by a person")
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	script := `sh -c 'trap "echo got TERM; exit 1" TERM; echo ready; while :; do sleep 0.05; done'
echo the script goes on`
	w := &watch{text: "ready", f: func() { stop(reason) }}
	begin := time.Now()
	status, err := b.Run(ctx, executor.Command{Script: script}, w)
	if !errors.Is(err, reason) || status != -1 {
		t.Errorf("cancelled Run = %d, %v; want -1, %v", status, err, reason)
	}
	if d := time.Since(begin); d > soon {
		t.Errorf("cancelled Run took %v", d)
	}
	if got := w.String(); !strings.Contains(got, "got TERM") || strings.Contains(got, "goes on") {
		t.Errorf("output of the cancelled script: %q", got)
	}
	b.want("echo $KEPT; pwd", "1\n/tmp")
	b.want("n=0; for p in /proc/[0-9]*/comm; do [ \"$(cat $p 2>/dev/null)\" = sleep ] && n=$((n+1)); done; echo $n", "0")
}

func cancelStubborn(t *testing.T, ex executor.Executor) {
	b := start(t, ex, func(s *executor.Spec) { s.StopGrace = 100 * time.Millisecond })
	late := errors.New("the build took too long")
	for range 2 {
		ctx, stop := context.WithCancelCause(t.Context())
		w := &watch{text: "ready", f: func() { stop(late) }}
		begin := time.Now()
		status, err := b.Run(ctx, executor.Command{Script: "trap '' TERM; echo ready; while :; do sleep 1; done"}, w)
		if !errors.Is(err, late) {
			t.Errorf("Run = %d, %v; want %v", status, err, late)
		}
		if d := time.Since(begin); d > soon {
			t.Errorf("a process that ignores SIGTERM held Run up for %v", d)
		}
		stop(nil)
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := b.Run(ctx, executor.Command{Script: "sleep 300"}, new(bytes.Buffer)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run past its deadline: %v", err)
	}
	b.want("echo alive", "alive")
}

func cancelledBefore(t *testing.T, ex executor.Executor) {
	b := start(t, ex)
	reason := errors.New("never mind")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(reason)
	if _, err := b.Run(ctx, executor.Command{Script: "echo ran > /tmp/ran"}, new(bytes.Buffer)); !errors.Is(err, reason) {
		t.Errorf("Run with an ended context: %v, want %v", err, reason)
	}
	b.refuse("test -e /tmp/ran")
}

func writerFails(t *testing.T, ex executor.Executor) {
	b := start(t, ex)
	full := errors.New("disk full")
	status, err := b.Run(t.Context(), executor.Command{Script: "head -c 1000000 /dev/zero; exit 3"}, failingWriter{full})
	if !errors.Is(err, full) || status != 3 {
		t.Errorf("Run = %d, %v; want 3, %v", status, err, full)
	}
	b.want("echo on", "on")
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func closing(t *testing.T, ex executor.Executor) {
	b := start(t, ex)
	w := &watch{text: "ready", f: func() { go b.Close() }} // ends with the Run below
	begin := time.Now()
	if status, err := b.Run(t.Context(), executor.Command{Script: "trap '' TERM HUP; echo ready; while :; do sleep 1; done"}, w); !errors.Is(err, executor.ErrDead) {
		t.Errorf("Run during Close = %d, %v; want ErrDead", status, err)
	}
	if d := time.Since(begin); d > soon {
		t.Errorf("Close took %v", d)
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
	}
	if _, err := b.Run(t.Context(), executor.Command{Script: "true"}, w); !errors.Is(err, executor.ErrDead) {
		t.Errorf("Run after Close: %v, want ErrDead", err)
	}
	if err := b.Place(t.Context(), executor.Tree{Dir: t.TempDir(), Target: "/codebuild/output/src"}); !errors.Is(err, executor.ErrDead) {
		t.Errorf("Place after Close: %v, want ErrDead", err)
	}
	if err := b.Put(t.Context(), "/codebuild/readonly/x", nil); !errors.Is(err, executor.ErrDead) {
		t.Errorf("Put after Close: %v, want ErrDead", err)
	}
}

// killEverything is a build that kills whatever it can, itself included.
func killEverything(t *testing.T, ex executor.Executor) {
	b := start(t, ex)
	neighbour := start(t, ex)
	neighbour.want("sleep 300 &", "")
	b.want("export KEPT=1", "")
	for _, script := range []string{"kill -9 -1", "kill -TERM -1", "for s in HUP INT QUIT ABRT SEGV TERM USR1 USR2 STOP KILL; do kill -$s 1; done 2>/dev/null; kill -9 $$"} {
		b.do(executor.Command{Script: script})
		b.want("echo $KEPT", "1")
	}
	neighbour.want("kill -0 $! && echo alive", "alive")
}

// tree makes a directory that belongs to whom the executor wants it to.
func tree(t *testing.T, ex executor.Executor, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(to, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o644)
			if strings.HasPrefix(content, "#!") {
				err = errors.Join(err, os.Chmod(path, 0o755))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if owner, ok := ex.(interface{ FileOwner() (uid, gid int) }); ok {
		uid, gid := owner.FileOwner()
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, uid, gid))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// content lists a tree: names with modes, times and content.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		var data []byte
		switch {
		case info.Mode().IsRegular():
			data, err = os.ReadFile(path)
		case info.Mode()&fs.ModeSymlink != 0:
			var to string
			to, err = os.Readlink(path)
			data = []byte(to)
		}
		out[path] = fmt.Sprintf("%v %v %s", info.Mode(), info.ModTime().UnixNano(), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func place(t *testing.T, ex executor.Executor) {
	dir := tree(t, ex, map[string]string{
		"README": "hello\n", "sub/deep/file": "deep\n", "run.sh": "#!/bin/sh\necho ran in $PWD\n",
		"link": "-> sub/deep", "remove/me": "x", "rename": "y\n", "locked/file": "z\n",
	})
	before := content(t, dir)
	const target = "/codebuild/output/src123/src/github.com/o/r"
	specDir := t.TempDir()
	b := start(t, ex, func(s *executor.Spec) { s.WorkDir, s.Dir = target, specDir })
	second := tree(t, ex, map[string]string{"two": "2\n"})
	for _, tr := range []executor.Tree{{Dir: dir, Target: target}, {Dir: second, Target: "/codebuild/output/src456/src"}} {
		if err := b.Place(t.Context(), tr); err != nil {
			t.Fatalf("Place(%+v): %v", tr, err)
		}
	}
	b.want("pwd; cat README sub/deep/file link/file; ./run.sh; cat /codebuild/output/src456/src/two", target+"\nhello\ndeep\ndeep\nran in "+target+"\n2")
	b.want("stat -c %U README sub .", "root\nroot\nroot")
	b.want("echo more >> README; echo new > new; mkdir -p made/here; rm -r remove; mv rename renamed; mv sub moved; chmod 600 run.sh; ln README hard; rm link; touch locked/x; chmod 0 locked; echo 3 > /codebuild/output/src456/src/three", "")
	b.want("cat README renamed moved/deep/file; ls -A | sort | tr '\\n' ' '", "hello\nmore\ny\ndeep\nREADME hard locked made moved new renamed run.sh")
	if diff := cmp.Diff(before, content(t, dir)); diff != "" {
		t.Errorf("the build changed its source on the host (-before +after):\n%s", diff)
	}
	for _, target := range []string{"relative", "/", "/usr", "/codebuild/output", "/codebuild/output/../../usr", ""} {
		if err := start(t, ex).Place(t.Context(), executor.Tree{Dir: dir, Target: target}); err == nil {
			t.Errorf("Place at %q: no error", target)
		}
	}
	// The same tree for another build at the same time: as it was.
	other := start(t, ex)
	if err := other.Place(t.Context(), executor.Tree{Dir: dir, Target: target}); err != nil {
		t.Fatalf("Place again: %v", err)
	}
	other.want("cd "+target+"; cat README; ls -A | sort | tr '\\n' ' '", "hello\nREADME link locked remove rename run.sh sub")
	if err := b.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := os.RemoveAll(specDir); err != nil {
		t.Errorf("what is left after Close cannot be removed: %v", err)
	}
}

// placeInLinks: a source may hold links that lead out of it.
func placeInLinks(t *testing.T, ex executor.Executor) {
	outside := t.TempDir()
	b := start(t, ex)
	evil := tree(t, ex, map[string]string{"etc": "-> /etc", "up": "-> ../../../../../..", "host": "-> " + outside, "passwd": "-> /etc/passwd"})
	if err := b.Place(t.Context(), executor.Tree{Dir: evil, Target: "/codebuild/output/src"}); err != nil {
		t.Fatalf("Place: %v", err)
	}
	for _, target := range []string{"/codebuild/output/src/etc/x", "/codebuild/output/src/up/x", "/codebuild/output/src/host/x"} {
		if err := b.Place(t.Context(), executor.Tree{Dir: tree(t, ex, map[string]string{"a": "b"}), Target: target}); err == nil {
			t.Logf("Place at %s stays inside", target)
		}
		if err := b.Put(t.Context(), target+"-put", []byte("x")); err == nil {
			t.Logf("Put at %s stays inside", target)
		}
	}
	if err := b.Put(t.Context(), "/codebuild/output/src/passwd", []byte("evil")); err == nil {
		b.refuse("grep evil /etc/passwd")
	}
	b.refuse("test -e /etc/x")
	for _, path := range []string{outside + "/x", outside + "/x-put", "/etc/x", "/etc/x-put"} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s appeared on the host", path)
		}
	}
}

func put(t *testing.T, ex executor.Executor) {
	b := start(t, ex)
	for _, path := range []string{"/codebuild/readonly/buildspec.yml", "/codebuild/output/a/b/c", "/new/place"} {
		if err := b.Put(t.Context(), path, []byte("version: 0.2\xff\n")); err != nil {
			t.Fatalf("Put(%s): %v", path, err)
		}
	}
	for _, path := range []string{"/codebuild/readonly/buildspec.yml", "/codebuild/output/a/b/c", "/new/place"} {
		b.want("cat "+path, "version: 0.2\xff")
		b.refuse("echo x >> " + path)
		b.refuse("rm -f " + path)
		b.refuse("mv " + path + " " + path + ".moved")
		b.want("cat "+path, "version: 0.2\xff")
	}
	b.refuse("touch /codebuild/readonly/mine")
	if err := b.Put(t.Context(), "relative", nil); err == nil {
		t.Error("Put of a relative path: no error")
	}
}

func tooLate(t *testing.T, ex executor.Executor) {
	b := start(t, ex)
	b.want("true", "")
	if err := b.Place(t.Context(), executor.Tree{Dir: t.TempDir(), Target: "/codebuild/output/src"}); err == nil {
		t.Error("Place after Run: no error")
	}
	if err := b.Put(t.Context(), "/codebuild/readonly/late", nil); err == nil {
		t.Error("Put after Run: no error")
	}
	b.want("echo alive", "alive")
}

func runAs(t *testing.T, ex executor.Executor) {
	b := start(t, ex)
	b.want("id -un; x=root", "root")
	var out bytes.Buffer
	status, err := b.Run(t.Context(), executor.Command{Script: "id -un; x=nobody", User: "nobody"}, &out)
	if !ex.Traits().RunAs {
		if err == nil || !strings.Contains(err.Error(), "nobody") {
			t.Errorf("run as nobody where it cannot be: status %d, error %v; want one that names the user", status, err)
		}
		b.want("echo alive", "alive")
		return
	}
	if err != nil || status != 0 || out.String() != "nobody\n" {
		t.Fatalf("run as nobody: %q, status %d, %v", out.String(), status, err)
	}
	as := func(script string) (string, int) {
		return b.do(executor.Command{Script: script, User: "nobody"})
	}
	if got, _ := as("echo $x; echo mine > /tmp/nobodys; echo $USER"); got != "nobody\nnobody" {
		t.Errorf("the user's own shell: %q", got)
	}
	if got, status := as("exit 4"); got != "" || status != 4 {
		t.Errorf("exit 4 as nobody: %q, %d", got, status)
	}
	b.want("echo $x; stat -c %U /tmp/nobodys", "root\nnobody")
	for _, script := range []string{"echo x > /root/x", "echo x > /codebuild/output/x", "kill -9 1", "chown nobody /etc/passwd"} {
		if got, status := as(script); status == 0 {
			t.Errorf("nobody may %q: %s", script, got)
		}
	}
	if _, err := b.Run(t.Context(), executor.Command{Script: "true", User: "no-such-user"}, &out); err == nil || !strings.Contains(err.Error(), "no-such-user") {
		t.Errorf("run as a user who does not exist: %v", err)
	}
	all := start(t, ex, func(s *executor.Spec) { s.User = "nobody" })
	all.want("id -un", "nobody")
	if got, _ := all.do(executor.Command{Script: "id -un", User: "root"}); got != "root" {
		t.Errorf("run as root over a default of nobody: %q", got)
	}
}

// apart: two environments and nothing between them.
func apart(t *testing.T, ex executor.Executor) {
	one, two := start(t, ex), start(t, ex)
	mark := rand.Text()
	for _, dir := range []string{"/tmp", "/root", "/home", "/codebuild/output", "/var/tmp", "/dev/shm", "/run"} {
		one.want("echo x > "+dir+"/"+mark, "")
		two.refuse("test -e " + dir + "/" + mark)
	}
	one.want("sleep 98765 & until grep -q sleep /proc/$!/comm; do :; done", "")
	two.refuse("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q '[s]leep 98765'")
	one.want("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q '[s]leep 98765' && echo own", "own")
}

func hostIsNotThere(t *testing.T, ex executor.Executor) {
	secret := "ghp_" + rand.Text()
	dirs := []string{t.TempDir()}
	if home, err := os.MkdirTemp(os.Getenv("HOME"), ".executortest-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(home) })
		dirs = append(dirs, home)
	}
	b := start(t, ex)
	for _, dir := range dirs {
		path := filepath.Join(dir, "credentials")
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(secret), 0o644); err != nil {
			t.Fatal(err)
		}
		b.refuse("cat " + path)
		b.refuse("cat /proc/1/root" + path)
	}
	// A search of all that can be read, less the system's own directories. The
	// script itself holds the text in two parts.
	got, _ := b.do(executor.Command{Script: "grep -rsl '" + secret[:6] + "'\"" + secret[6:] + "\" /root /home /tmp /var /run /codebuild /dev/shm /srv /mnt /media 2>/dev/null"})
	for line := range strings.Lines(got) {
		t.Errorf("secret of the host found in %s", line)
	}
	// The processes are the build's own.
	pids, _ := b.do(executor.Command{Script: "ls -d /proc/[0-9]* | wc -l"})
	if n, err := strconv.Atoi(pids); err != nil || n > 10 {
		t.Errorf("/proc shows %s processes", pids)
	}
	own, err := os.ReadFile("/proc/self/cmdline")
	if err == nil {
		name, _, _ := strings.Cut(string(own), "\x00")
		name = filepath.Base(name)
		b.refuse("cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep '[" + name[:1] + "]" + name[1:] + "'")
	}
	b.refuse("cat /proc/1/environ | grep -q .")
	b.refuse("cat /proc/1/maps | grep -q .")
	b.refuse("readlink /proc/1/fd/* | grep -q .")
	b.refuse("cat /proc/1/fd/*")
	b.refuse("ls /proc/1/cwd/")
	b.want("find / -xdev -type s 2>/dev/null", "") // no sockets to talk to
	for _, dir := range []string{"/run/docker.sock", "/var/run/docker.sock", "/sys/kernel", "/boot", "/dev/mem", "/dev/vda", "/dev/kvm", "/dev/sda"} {
		b.refuse("test -e " + dir)
	}
}

func systemIsReadOnly(t *testing.T, ex executor.Executor) {
	b := start(t, ex)
	for _, dir := range []string{"/", "/usr", "/usr/bin", "/etc", "/proc", "/proc/sys/kernel", "/opt", "/dev/fd/.."} {
		b.refuse("touch " + dir + "/corbel-executortest")
	}
	b.refuse("echo x >> /etc/passwd")
	b.refuse("chmod 777 /etc/passwd")
	b.refuse("echo 1 > /proc/sys/kernel/core_pattern")
	b.refuse("echo b > /proc/sysrq-trigger")
	b.want("echo x > /tmp/x; echo x > /var/tmp/x; echo x > /root/x; echo x > /codebuild/output/x; echo x > /dev/null; echo fine", "fine")
}

func noPrivileges(t *testing.T, ex executor.Executor) {
	b := start(t, ex)
	for _, script := range []string{
		"mount -t tmpfs none /tmp",
		"mount -o remount,rw /usr",
		"mount --bind /tmp /etc",
		"umount /proc",
		"unshare -m true",
		"unshare -r true",
		"unshare -n true",
		"nsenter -t 1 -m true",
		"mknod /tmp/sda b 8 0",
		"chroot / mount -t tmpfs none /tmp",
		"hostname other",
		"dmesg",
	} {
		b.refuse(script)
	}
	got, _ := b.do(executor.Command{Script: "grep NoNewPrivs /proc/self/status"})
	if f := strings.Fields(got); len(f) != 2 || f[1] != "1" {
		t.Errorf("no_new_privs: %q", got)
	}
	b.want("ulimit -c", "0")
}

func memoryHog(t *testing.T, ex executor.Executor) {
	hog := start(t, ex, func(s *executor.Spec) { s.Limits.MemoryBytes = 64 << 20 })
	neighbour := start(t, ex, func(s *executor.Spec) { s.Limits.MemoryBytes = 64 << 20 })
	neighbour.want("sleep 300 & kept=1", "")
	hog.want("export KEPT=1", "")
	ctx, stop := context.WithTimeout(t.Context(), soon)
	defer stop()
	for _, script := range []string{
		"tail /dev/zero", // keeps the last line, which never ends
		"x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}",
	} {
		var out bytes.Buffer
		status, err := hog.Run(ctx, executor.Command{Script: script}, &out)
		switch {
		case status == 0:
			t.Errorf("%q fits into 64 MiB: status 0, %v, output %.100q", script, err, out.String())
		case ex.Traits().TotalMemory && !errors.Is(err, executor.ErrOutOfMemory):
			t.Errorf("%q: status %d, error %v; want ErrOutOfMemory", script, status, err)
		case err != nil && !strings.Contains(err.Error(), "out of memory"):
			t.Errorf("%q: error %v does not say out of memory", script, err)
		}
		hog.want("echo $KEPT", "1")
	}
	neighbour.want("kill -0 $! && echo $kept", "1")
}

func forkBomb(t *testing.T, ex executor.Executor) {
	b := start(t, ex, func(s *executor.Spec) { s.Limits.Processes, s.StopGrace = 50, 100*time.Millisecond })
	neighbour := start(t, ex)
	neighbour.want("echo before", "before")
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	var out bytes.Buffer
	_, _ = b.Run(ctx, executor.Command{Script: "bomb() { bomb | bomb & }; bomb; sleep 300"}, &out)
	// While the limit is full, or after: the neighbour has its own.
	neighbour.want("for i in 1 2 3 4 5 6 7 8 9; do sh -c :; done; echo during", "during")
	neighbour.want("ls -d /proc/[0-9]* | wc -l | { read n; [ $n -lt 10 ]; } && echo few", "few")
	// Without a bomb: more than the limit cannot be had.
	limited := start(t, ex, func(s *executor.Spec) { s.Limits.Processes = 30 })
	limited.want("(i=0; while [ $i -lt 200 ]; do sleep 300 & i=$((i+1)); done) 2>/dev/null; set -- /proc/[0-9]*; [ $# -lt 60 ] || echo $# processes", "")
	got, _ := neighbour.do(executor.Command{Script: "echo after"})
	if got != "after" {
		t.Errorf("neighbour: %q", got)
	}
	begin := time.Now()
	if err := errors.Join(b.Close(), limited.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if d := time.Since(begin); d > soon {
		t.Errorf("Close of a fork bomb took %v", d)
	}
}

func fileLimits(t *testing.T, ex executor.Executor) {
	b := start(t, ex, func(s *executor.Spec) { s.Limits.FileBytes, s.Limits.OpenFiles = 1<<20, 64 })
	b.want("head -c 1000000 /dev/zero > /tmp/small && echo fits", "fits")
	b.refuse("head -c 2000000 /dev/zero > /tmp/large")
	b.want("ulimit -n", "64")
	b.refuse("ulimit -n 128")
}

func manyAtOnce(t *testing.T, ex executor.Executor) {
	var wg sync.WaitGroup
	for n := range 8 {
		dir := t.TempDir()
		wg.Go(func() { // ends with its commands
			env, err := ex.Start(t.Context(), executor.Spec{Build: "many-" + rand.Text(), Dir: dir, Env: []string{"PATH=/usr/bin:/bin"}})
			if err != nil {
				t.Errorf("Start: %v", err)
				return
			}
			defer env.Close()
			for i := range 5 {
				var out bytes.Buffer
				script := fmt.Sprintf("n=$((n + %d)); echo $n", n)
				if status, err := env.Run(t.Context(), executor.Command{Script: script}, &out); err != nil || status != 0 || strings.TrimSpace(out.String()) != strconv.Itoa(n*(i+1)) {
					t.Errorf("environment %d, command %d: %q, status %d, %v", n, i, out.String(), status, err)
				}
			}
		})
	}
	wg.Wait()
}

func badSpecs(t *testing.T, ex executor.Executor) {
	for _, c := range []struct {
		why  string
		spec executor.Spec
	}{
		{"no name", executor.Spec{Dir: t.TempDir()}},
		{"name that is a path", executor.Spec{Build: "../x", Dir: t.TempDir()}},
		{"name ..", executor.Spec{Build: "..", Dir: t.TempDir()}},
		{"no directory", executor.Spec{Build: "bad-1"}},
		{"directory that is not there", executor.Spec{Build: "bad-2", Dir: filepath.Join(t.TempDir(), "none")}},
		{"unknown shell", executor.Spec{Build: "bad-3", Dir: t.TempDir(), Shell: "fish"}},
		{"relative work directory", executor.Spec{Build: "bad-4", Dir: t.TempDir(), WorkDir: "src"}},
		{"negative limit", executor.Spec{Build: "bad-5", Dir: t.TempDir(), Limits: executor.Limits{Processes: -1}}},
		{"variable without =", executor.Spec{Build: "bad-6", Dir: t.TempDir(), Env: []string{"x"}}},
	} {
		if env, err := ex.Start(t.Context(), c.spec); err == nil {
			env.Close()
			t.Errorf("Start with %s: no error", c.why)
		}
	}
}

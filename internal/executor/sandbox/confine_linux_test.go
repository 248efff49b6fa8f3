package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// workspace is a directory as Confine wants it: FileOwner's, and reachable.
func workspace(t testing.TB, s *Sandbox) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	uid, gid := s.FileOwner()
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestConfine(t *testing.T) {
	t.Parallel()
	s := open(t, Config{})
	dir, other := workspace(t, s), workspace(t, s)
	if err := os.WriteFile(other+"/secret", []byte("ghp_"), 0o644); err != nil {
		t.Fatal(err)
	}
	uid, _ := s.FileOwner()
	for _, c := range []struct {
		script, want string
		status       int
	}{
		{"echo hello; echo $#-$1-$2", "hello\n2-a-b c", 0},
		{"exit 7", "", 7},
		{"id -u", strconv.Itoa(uid), 0},
		{"pwd", dir, 0},
		{"cat", "typed", 0},
		{"env | grep -v -e ^PWD= -e ^OLDPWD= -e ^SHLVL= -e ^_= -e ^PATH=", "GIVEN=1", 0},
		{"mkdir a; echo x > a/b; mv a/b c; ln c d; cat d; rm -r a c d", "x", 0},
		{"echo x > " + other + "/x", "", 2},
		{"cat " + other + "/secret 2>/dev/null", "", 1},
		{"ls " + other + " 2>/dev/null", "", 2},
		{"cat /etc/shadow 2>/dev/null", "", 1},
		{"cat /etc/hostname 2>/dev/null", "", 1},
		{"cat /proc/$PPID/environ 2>/dev/null", "", 1},
		{"echo x > /tmp/corbel-confine-test", "", 2},
		{"ulimit -c", "0", 0},
		{"cat /proc/self/status 2>/dev/null", "", 1},
		{"unshare -r true 2>/dev/null", "", 1},
		{"bash -c 'for ((n = 3; n < 1000; n++)); do (: <&$n) 2>/dev/null && echo $n; done; :'", "", 0},
	} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", c.script, "sh", "a", "b c")
		cmd.Dir = dir
		cmd.Env = []string{"PATH=/usr/bin:/bin", "GIVEN=1"}
		cmd.Stdin = strings.NewReader("typed")
		var out, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &stderr
		s.Confine(cmd, dir)
		err := cmd.Run()
		if got := strings.TrimSpace(out.String()); got != c.want || cmd.ProcessState.ExitCode() != c.status {
			t.Errorf("confined %q: %q, %v; want %q, status %d; stderr %q", c.script, got, err, c.want, c.status, stderr.String())
		}
	}
}

// An environment that is nil would be the server's.
func TestConfine_NoEnvironment(t *testing.T) {
	t.Parallel()
	s := open(t, Config{})
	dir := workspace(t, s)
	cmd := exec.Command("/usr/bin/env")
	cmd.Dir = dir
	s.Confine(cmd, dir)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("environment %q, %v; want none", out, err)
	}
}

func TestConfine_CannotStart(t *testing.T) {
	t.Parallel()
	s := open(t, Config{})
	cmd := exec.Command("no-such-program")
	s.Confine(cmd)
	if err := cmd.Run(); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a program that is not there: %v, want %v", err, exec.ErrNotFound)
	}
	cmd = exec.Command("true")
	cmd.Dir = "/"
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	s.Confine(cmd, filepath.Join(t.TempDir(), "none"))
	if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), "confine") {
		t.Errorf("a directory that is not there: %v, %q; want an error of confine", err, stderr.String())
	}
}

// Cancelling takes the grandchildren along.
func TestConfine_Cancel(t *testing.T) {
	t.Parallel()
	s := open(t, Config{})
	dir := workspace(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, "sh", "-c", "trap '' TERM; sleep 300 & echo $!; wait")
	cmd.Dir = dir
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.Confine(cmd, dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(stdout, &pid); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	cancel()
	if err := cmd.Wait(); err == nil {
		t.Error("cancelled command: no error")
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000); n != 1 || err != nil {
		t.Errorf("grandchild %d lives on: %d, %v", pid, n, err)
	}
}

// dial is the part of the test binary that tries what its restrictions forbid,
// and prints what it could do.
func dial() {
	try := func(what string, err error) {
		if err == nil {
			fmt.Println(what)
		}
	}
	_, err := net.Dial("unix", "@"+os.Getenv("ABSTRACT"))
	try("abstract socket", err)
	_, err = net.Dial("unix", os.Getenv("SOCKET"))
	try("socket", err)
	_, err = net.Dial("tcp", os.Getenv("TCP"))
	try("tcp connect", err)
	// Go's default is multipath TCP, which Landlock does not know yet.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	try("tcp listen", err)
	pid, _ := strconv.Atoi(os.Getenv("PID"))
	try("signal", unix.Kill(pid, 0))
	_, err = unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	try("vsock", err)
	_, err = unix.Socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
	try("alg", err)
	_, err = unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
	try("keyring", err)
	try("namespace", unix.Unshare(unix.CLONE_NEWUSER))
	_, _, errno := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, 0, 0)
	if !errors.Is(errno, unix.EPERM) {
		fmt.Println("io_uring", errno)
	}
	_, _, errno = unix.RawSyscall(unix.SYS_CLONE3, 0, 0, 0)
	if !errors.Is(errno, unix.ENOSYS) {
		fmt.Println("clone3", errno)
	}
	_, _, errno = unix.RawSyscall(unix.SYS_BPF, 0, 0, 0)
	if !errors.Is(errno, unix.EPERM) {
		fmt.Println("bpf", errno)
	}
	// The old way out of a chroot, for a root that may call it.
	if os.Mkdir("/tmp/in", 0o755) == nil && unix.Chroot("/tmp/in") == nil {
		_ = unix.Chdir("../../../../../..")
		_ = unix.Chroot(".")
		_, err := os.Stat(os.Getenv("HOSTFILE"))
		try("file of the host", err)
		_, err = os.Stat(oldRoot)
		try("root of the host", err)
	}
	if on, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); on != 1 || err != nil {
		fmt.Println("new privileges", err)
	}
	for c := range uintptr(unix.CAP_LAST_CAP + 1) {
		if on, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0); on == 1 && !slices.Contains(capabilities, c) && os.Getenv("BOUNDED") != "" {
			fmt.Println("capability", c, err)
		}
	}
	fmt.Println("done")
}

// listeners are what dial tries to reach, and their addresses as variables.
func listeners(t *testing.T, dir string) []string {
	t.Helper()
	abstract := fmt.Sprintf("corbel-test-%d-%s", os.Getpid(), filepath.Base(filepath.Dir(dir)))
	var env []string
	for _, l := range []struct{ network, address, name string }{
		{"unix", "@" + abstract, "ABSTRACT=" + abstract},
		{"unix", dir + "/socket", "SOCKET=" + dir + "/socket"},
		{"tcp", "127.0.0.1:0", "TCP="},
	} {
		listener, err := net.Listen(l.network, l.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		if l.network == "tcp" {
			l.name += listener.Addr().String()
		}
		env = append(env, l.name)
	}
	return append(env, "PID="+strconv.Itoa(os.Getpid()), partVariable+"="+partDial)
}

func TestConfine_Reach(t *testing.T) {
	t.Parallel()
	abi := landlockABI()
	if abi < 6 {
		t.Skipf("Landlock %d here: signals and abstract sockets are bounded from 6 on", abi)
	}
	s := open(t, Config{})
	dir := workspace(t, s)
	copySelf(t, s, dir)
	cmd := exec.CommandContext(t.Context(), dir+"/self")
	cmd.Dir = dir
	cmd.Env = listeners(t, t.TempDir())
	s.Confine(cmd, dir)
	out, err := cmd.CombinedOutput()
	if got, want := string(out), "tcp connect\ndone\n"; err != nil || got != want {
		t.Errorf("a confined command can do:\n%s%v; want\n%s", got, err, want)
	}
}

func BenchmarkConfine(b *testing.B) {
	s := open(b, Config{})
	dir := workspace(b, s)
	for b.Loop() {
		cmd := exec.CommandContext(b.Context(), "/bin/true")
		cmd.Dir = dir
		s.Confine(cmd, dir)
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	}
}

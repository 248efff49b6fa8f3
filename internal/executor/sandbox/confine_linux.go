package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// confinedReadable is what a confined command may read: programs, libraries,
// names, certificates. Nothing of /proc. All of /etc would show the server's own configuration.
var confinedReadable = []string{
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
	"/etc/alternatives", "/etc/ca-certificates", "/etc/group", "/etc/hosts", "/etc/ld.so.cache", "/etc/ld.so.conf",
	"/etc/ld.so.conf.d", "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/passwd", "/etc/pki",
	"/etc/resolv.conf", "/etc/ssl", "/dev/random", "/dev/urandom", "/dev/zero",
}

// confinement is what the confined process needs to know before it becomes the
// command.
type confinement struct {
	ReadWrite []string
	FileBytes int64
	Parent    int
	Files     int // descriptors from 0 on that the command gets
}

// Confine makes cmd, a command of the server itself such as git, run with as
// little as it needs. cmd is complete but for being started: Path, Args, Env and
// Dir are kept, and Env is exact. Confined are:
//
//   - files: it reads system programs and libraries and does what it likes below
//     the directories readWrite, and sees no content elsewhere (Landlock)
//   - user: as root, it runs as FileOwner, so readWrite belongs to that user, and
//     the directories above let it through (mode 0711 does)
//   - network: it may connect; it cannot listen on TCP, nor use Unix sockets, as
//     services of the host that trust the server's user have them
//   - system calls, privileges gained by exec, core dumps, and the size of files
//
// If ctx of cmd ends, all its processes are killed; they have a process group of
// their own. If the server ends, so does the command. Where the kernel has no Landlock, Traits says so and files are
// bounded by the user alone.
func (s *Sandbox) Confine(cmd *exec.Cmd, readWrite ...string) {
	if cmd.Err != nil {
		return // the command was not found: Start says so
	}
	spec, err := json.Marshal(confinement{ReadWrite: readWrite, FileBytes: s.config.Limits.FileBytes, Parent: os.Getpid(), Files: 3 + len(cmd.ExtraFiles)})
	if err != nil {
		cmd.Err = err
		return
	}
	if cmd.Env == nil {
		cmd.Env = []string{} // nil would be the server's environment
	}
	cmd.Args = append([]string{confineName, string(spec), cmd.Path}, cmd.Args...)
	cmd.Path = "/proc/self/exe"
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if s.asRoot {
		id := uint32(s.config.BaseID)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: id, Gid: id}
	}
	if cmd.Cancel != nil { // made with a context
		cmd.Cancel = func() error {
			err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			if errors.Is(err, syscall.ESRCH) {
				return os.ErrProcessDone
			}
			return err
		}
		cmd.WaitDelay = 5 * time.Second
	}
}

// confined is the other side of Confine. It returns only with an error.
func confined(args []string) error {
	if len(args) < 3 {
		return errors.New("confine: want settings, path and arguments")
	}
	var c confinement
	if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	// The restrictions are this thread's; exec ends the others. The signal comes
	// when the thread of the server ends that started us: the server's threads do
	// not end before it, as long as none of its goroutines ends while locked to one.
	runtime.LockOSThread()
	filter, err := seccompFilter(unix.AF_VSOCK, unix.AF_ALG, unix.AF_UNIX)
	if err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	fileBytes := uint64(c.FileBytes)
	err = errors.Join(
		unix.CloseRange(uint(c.Files), math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC),
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}),
		lowerRlimit(unix.RLIMIT_FSIZE, fileBytes),
		unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0),
		setNoNewPrivs(),
		restrictFiles(confinedReadable, append(c.ReadWrite, "/dev/null"), true),
		restrictCalls(filter))
	if err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	if os.Getppid() != c.Parent {
		return errors.New("confine: the server has ended")
	}
	return fmt.Errorf("confine: %s: %w", args[1], syscall.Exec(args[1], args[2:], os.Environ()))
}

func lowerRlimit(resource int, value uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return err
	}
	value = min(value, now.Max)
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: value, Max: value})
}

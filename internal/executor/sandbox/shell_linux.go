package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A shell reads a line from descriptor 8 for each command, sources the script
// that init has written, and answers its status on the same descriptor. While a
// script runs the descriptor is closed for it; shells keep what they closed for
// the length of a command at a number above 9 and out of the programs they
// start. In DIR, under /codebuild/output/tmp:
//
//	script.sh   the command
//	env.sh      exports to do before it, if the line ends in "e"
//	.env .pwd   what the next shell needs if this one ends, written after each
//	            command and by a trap when the shell exits
//
// The first shell is started before the source and the work directory are there.
// It says "ready" when it has loaded all that it needs, and goes to the directory
// when a line begins with "c".
//
// The words "# end" in .env show that the shell was not killed while writing.
// Descriptor 8, names with _corbel and the trap are the only traces; with set -x
// the sourcing shows too.
const bootText = `_corbel_keep() {
  { command export -p; command printf '# end\n'; } >|DIR/.env
  command pwd >|DIR/.pwd || :
} 2>/dev/null
if [ -n "$1" ]; then . DIR/.env; fi
shift $#
umask 022
trap _corbel_keep EXIT
command printf 'ready\n' >&8
while { IFS= command read -r _corbel_next <&8; } 2>/dev/null; do
  case $_corbel_next in c*) cd WORK || exit 1; unset OLDPWD ;; esac
  case $_corbel_next in *e) . DIR/env.sh ;; esac
  . DIR/script.sh 8<&-
  { command printf '%s\n' "$?" >&8; _corbel_keep; } 2>/dev/null
done
`

const stateEnd = "# end\n"

// A shell is one running shell.
type shell struct {
	program string // sh or bash
	pid     int
	control int                     // init's end of descriptor 8
	exited  chan syscall.WaitStatus // one status, when it has ended
	answers chan string             // lines from descriptor 8; closed by listen, nil once seen closed
	first   string                  // to go before the first line
}

// run performs opRun and answers it.
func (i *initProcess) run(r request) {
	i.turn.Lock()
	status, err := i.runScript(r)
	i.mu.Lock()
	stopped := i.stopped
	i.running = 0 // from here on a stop comes too late
	i.mu.Unlock()
	if stopped != nil {
		<-stopped
		i.forgetDead()
	}
	i.turn.Unlock()
	i.answer(answer{Seq: r.Seq, Status: status, Stopped: stopped != nil}, err)
}

// forgetDead lets go of the shells that ended when everything was killed.
func (i *initProcess) forgetDead() {
	for user, sh := range i.shells {
		select {
		case <-sh.exited:
			i.forget(user)
		default:
		}
	}
}

func (i *initProcess) forget(user string) {
	sh := i.shells[user]
	delete(i.shells, user)
	// A background process may hold the other end: this ends listen in any case.
	_ = unix.Shutdown(sh.control, unix.SHUT_RDWR)
	if sh.answers != nil {
		for range sh.answers { // until listen is done with the descriptor
		}
	}
	unix.Close(sh.control)
}

func (i *initProcess) runScript(r request) (int, error) {
	if err := i.seal(); err != nil {
		return -1, err
	}
	name := r.User
	if name == "" {
		name = i.start.User
	}
	user, err := i.lookUser(name)
	if err != nil {
		return -1, err
	}
	program := r.Shell
	if program == "" {
		program = i.start.Shell
	}
	sh, err := i.shellOf(user, program)
	if err != nil {
		return -1, err
	}
	if strings.HasSuffix(sh.first, "c") && !isDir(i.start.WorkDir) {
		return -1, fmt.Errorf("work directory %s is not there", i.start.WorkDir)
	}
	line := "\n"
	if len(r.Env) > 0 {
		exports, err := exportText(splitEnv(r.Env))
		if err != nil {
			return -1, err
		}
		if err := i.replaceFile(user.dir+"/env.sh", exports); err != nil {
			return -1, fmt.Errorf("write variables: %w", err)
		}
		line = "e\n"
	}
	if err := i.replaceFile(user.dir+"/script.sh", r.Data); err != nil {
		return -1, fmt.Errorf("write script: %w", err)
	}
	// Either the shell has its line before everything is killed, or it gets none.
	i.mu.Lock()
	stopped := i.stopped != nil
	heard := !stopped && sh.send(line)
	i.mu.Unlock()
	if stopped {
		return -1, nil
	}
	if !heard {
		_ = syscall.Kill(sh.pid, syscall.SIGKILL)
	}
	for {
		select {
		case text, ok := <-sh.answers:
			if !ok {
				sh.answers = nil // its end is closed: only its death is left
				continue
			}
			if status, err := strconv.Atoi(text); err == nil { // it may be "ready"
				return status, nil
			}
		case status := <-sh.exited:
			defer i.forget(user.name)
			select {
			case text := <-sh.answers: // it answered, then ended
				if status, err := strconv.Atoi(text); err == nil {
					return status, nil
				}
			default:
			}
			return exitStatus(status), nil
		}
	}
}

// shellOf returns the running shell of the user, or a new one if there is none
// or it is another program.
func (i *initProcess) shellOf(u user, program string) (*shell, error) {
	if sh := i.shells[u.name]; sh != nil {
		if (sh.program == "bash") != (program == "bash") {
			_ = syscall.Kill(sh.pid, syscall.SIGKILL)
			<-sh.exited
			i.forget(u.name)
		} else {
			select {
			case <-sh.exited: // between two commands
				i.forget(u.name)
			default:
				return sh, nil
			}
		}
	}
	if err := i.makeShellDir(u); err != nil {
		return nil, fmt.Errorf("make directory of the shell: %w", err)
	}
	sh, err := i.newShell(u, program)
	if err != nil {
		return nil, fmt.Errorf("start shell: %w", err)
	}
	return sh, nil
}

// exitStatus is the status as a shell shows it.
func exitStatus(w syscall.WaitStatus) int {
	if w.Signaled() {
		return 128 + int(w.Signal())
	}
	return w.ExitStatus()
}

// awaitReady waits until the shell has been loaded, or has ended.
func (s *shell) awaitReady() {
	select {
	case <-s.answers:
	case status := <-s.exited:
		s.exited <- status // for the next to look
	}
}

// send gives the shell its next line, after dropping answers that no command
// of ours has asked for.
func (s *shell) send(line string) bool {
	for {
		select {
		case _, ok := <-s.answers:
			if ok {
				continue
			}
			s.answers = nil
			return false
		default:
		}
		break
	}
	err := unix.Send(s.control, []byte(s.first+line), unix.MSG_NOSIGNAL)
	s.first = ""
	return err == nil
}

// listen brings lines from the shell until it or its end of the socket is gone.
func (s *shell) listen(answers chan<- string) {
	defer close(answers)
	lines := bufio.NewScanner(readFD(s.control))
	for lines.Scan() {
		answers <- lines.Text()
	}
}

// readFD reads a descriptor without owning it.
type readFD int

func (fd readFD) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if n <= 0 && err == nil {
			err = io.EOF
		}
		return max(n, 0), err
	}
}

// newShell starts a shell and makes it the user's.
func (i *initProcess) newShell(u user, program string) (*shell, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pair[1])
	null, err := unix.Open(i.path("/dev/null"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(null)

	// A shell that follows another takes over its variables, and with them what
	// it had unset, so it starts from none.
	restore, dir, env := "", i.start.WorkDir, u.env(splitEnv(i.start.Env), i.path("/"))
	if cwd, ok := i.keptState(u); ok {
		restore, dir, env = "restore", cwd, nil
	}
	if !isDir(dir) { // the build has removed it
		dir = "/codebuild/output"
	}
	first, chroot := "", ""
	if !i.sealed {
		first, chroot, dir = "c", newRoot, "/"
	}
	boot := strings.NewReplacer("DIR", "/codebuild/output/"+u.dir, "WORK", quote(i.start.WorkDir)).Replace(bootText)
	argv := []string{"sh", "-c", boot, "sh", restore}
	if program == "bash" {
		// bash reads $BASH_ENV, a file of the build, when it starts: that waits for
		// the first line.
		argv = []string{"sh", "-c", `printf 'ready\n' >&8; IFS= read -r _ <&8; unset _; exec "$@"`, "sh", "bash", "-c", boot, "bash", restore}
		first = "\n" + first
	}
	closed := ^uintptr(0)
	attr := &syscall.ProcAttr{
		Dir:   dir,
		Env:   env,
		Files: []uintptr{uintptr(null), uintptr(i.output), uintptr(i.output), closed, closed, closed, closed, closed, uintptr(pair[1])},
		Sys: &syscall.SysProcAttr{
			Setsid: true,
			Chroot: chroot, // the root to be, which is "/" once sealed
			Credential: &syscall.Credential{
				Uid: u.uid, Gid: u.gid, Groups: u.groups, NoSetGroups: !i.start.RunAs,
			},
		},
	}
	l := i.launch(launch{path: "/bin/sh", argv: argv, attr: attr})
	if l.err != nil {
		unix.Close(pair[0])
		return nil, fmt.Errorf("/bin/sh in %s: %w", dir, l.err)
	}
	sh := &shell{program: program, pid: l.pid, control: pair[0], exited: l.exited, answers: make(chan string, 1), first: first}
	go sh.listen(sh.answers) // ended by forget
	i.shells[u.name] = sh
	// The shell waits for its first line, so all this is done before it has run
	// anything of the build.
	if err := i.limit(sh.pid); err != nil {
		_ = syscall.Kill(sh.pid, syscall.SIGKILL)
		<-sh.exited
		i.forget(u.name)
		return nil, err
	}
	return sh, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// limit puts a process under the limits of the environment.
func (i *initProcess) limit(pid int) error {
	for _, fd := range i.groups[i.start.Tasks:] {
		if _, err := unix.Pwrite(fd, []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
	}
	for _, l := range i.start.Rlimits {
		var now unix.Rlimit
		if err := unix.Prlimit(pid, l.Resource, nil, &now); err != nil {
			return fmt.Errorf("read resource limit %d: %w", l.Resource, err)
		}
		value := min(l.Value, now.Max)
		if err := unix.Prlimit(pid, l.Resource, &unix.Rlimit{Cur: value, Max: value}, nil); err != nil {
			return fmt.Errorf("set resource limit %d: %w", l.Resource, err)
		}
	}
	// When the machine runs out of memory, builds go before the server.
	_ = os.WriteFile(i.path(fmt.Sprintf("/proc/%d/oom_score_adj", pid)), []byte("300"), 0)
	return nil
}

// keptState returns the working directory of the last shell of this user, if
// there was one and its state is complete.
func (i *initProcess) keptState(u user) (cwd string, ok bool) {
	env, err := i.readTail(u.dir+"/.env", int64(len(stateEnd)))
	if err != nil || env != stateEnd {
		return "", false
	}
	cwd, err = i.readTail(u.dir+"/.pwd", 8192)
	if err != nil {
		return "", false
	}
	return strings.TrimSuffix(cwd, "\n"), true
}

// readTail reads the last n bytes of a file that the build can put anything in
// the place of: a pipe must not hold init up.
func (i *initProcess) readTail(name string, n int64) (string, error) {
	file, err := i.outputRoot.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", fs.ErrInvalid
	}
	data := make([]byte, min(n, info.Size()))
	_, err = file.ReadAt(data, info.Size()-int64(len(data)))
	return string(data), err
}

// replaceFile makes a new file under /codebuild/output, since a shell may still
// have the old one open. os.Root keeps it there whatever links the build made.
func (i *initProcess) replaceFile(name string, data []byte) error {
	err := i.outputRoot.Remove(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if err := i.outputRoot.RemoveAll(name); err != nil {
			return err
		}
	}
	file, err := i.outputRoot.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

func (i *initProcess) makeShellDir(u user) error {
	info, err := i.outputRoot.Lstat(u.dir)
	if err == nil && info.IsDir() {
		return nil
	}
	if err == nil {
		if err := i.outputRoot.RemoveAll(u.dir); err != nil {
			return err
		}
	}
	if err := i.outputRoot.MkdirAll(u.dir, 0o755); err != nil {
		return err
	}
	if u.uid != 0 {
		return i.outputRoot.Lchown(u.dir, int(u.uid), int(u.gid))
	}
	return nil
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// exportText is the shell text that exports env.
func exportText(env []string) ([]byte, error) {
	var b strings.Builder
	for _, kv := range env {
		key, value, _ := strings.Cut(kv, "=")
		if !identifier.MatchString(key) {
			return nil, fmt.Errorf("environment variable %q: not a shell identifier", key)
		}
		fmt.Fprintf(&b, "export %s=%s\n", key, quote(value))
	}
	return []byte(b.String()), nil
}

// quote makes a word of the shell that stands for text.
func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// A user of the environment, from its /etc/passwd and /etc/group.
type user struct {
	name     string
	uid, gid uint32
	groups   []uint32
	home     string
	dir      string // files of its shell, under /codebuild/output
}

// lookUser finds a user by name or number. The empty name is root.
func (i *initProcess) lookUser(name string) (user, error) {
	if name == "" || name == "root" || name == "0" {
		return user{name: "root", dir: "tmp"}, nil
	}
	u, err := i.readUser(name)
	if err == nil && u.uid != 0 && !i.start.RunAs {
		err = errors.New("this machine gives builds one user only; others need a server that is started by root")
	}
	if err != nil {
		return user{}, fmt.Errorf("run as %q: %w", name, err)
	}
	return u, nil
}

func (i *initProcess) readUser(name string) (user, error) {
	passwd, err := os.ReadFile(i.path("/etc/passwd"))
	if err != nil {
		return user{}, err
	}
	var u user
	for line := range strings.Lines(string(passwd)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 7 || (f[0] != name && f[2] != name) {
			continue
		}
		uid, err1 := strconv.ParseUint(f[2], 10, 32)
		gid, err2 := strconv.ParseUint(f[3], 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return user{}, err
		}
		u = user{name: f[0], uid: uint32(uid), gid: uint32(gid), home: f[5]}
		break
	}
	if u.name == "" {
		return user{}, errors.New("no such user in /etc/passwd")
	}
	if u.uid == 0 {
		return user{name: "root", dir: "tmp"}, nil
	}
	u.dir = path.Join("tmp", "user-"+strconv.FormatUint(uint64(u.uid), 10))
	group, err := os.ReadFile(i.path("/etc/group"))
	if err != nil {
		return u, nil //nolint:nilerr // no groups then
	}
	for line := range strings.Lines(string(group)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 {
			continue
		}
		for member := range strings.SplitSeq(f[3], ",") {
			if member != u.name {
				continue
			}
			if gid, err := strconv.ParseUint(f[2], 10, 32); err == nil {
				u.groups = append(u.groups, uint32(gid))
			}
		}
	}
	return u, nil
}

// env is env with what names the user. A home under /home is made, where root is
// the path of the build's "/" for init.
func (u user) env(env []string, root string) []string {
	if u.uid == 0 {
		return env
	}
	out := make([]string, 0, len(env)+3)
	for _, kv := range env {
		switch key, _, _ := strings.Cut(kv, "="); key {
		case "HOME", "USER", "LOGNAME":
		default:
			out = append(out, kv)
		}
	}
	if home := path.Join(root, u.home); strings.HasPrefix(u.home, "/home/") && os.Mkdir(home, 0o700) == nil {
		_ = os.Lchown(home, int(u.uid), int(u.gid))
	}
	return append(out, "HOME="+u.home, "USER="+u.name, "LOGNAME="+u.name)
}

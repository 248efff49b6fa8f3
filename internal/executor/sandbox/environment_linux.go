package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/corbel-build/corbel/internal/executor"
	"golang.org/x/sys/unix"
)

// A process is the server's view of an init.
type process struct {
	cmd      *exec.Cmd
	conn     *net.UnixConn
	answers  chan answer   // closed by listen when init is gone
	gone     chan struct{} // closed when init has been waited for
	stderr   tail
	sending  sync.Mutex // one request at a time
	landlock int        // version in force inside
}

// A tail keeps the last bytes that were written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if n := len(t.data) - 1024; n > 0 {
		t.data = bytes.Clone(t.data[n:])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.data))
}

// spawn starts an init and has it prepare its root.
func (s *Sandbox) spawn(ctx context.Context) (*process, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket of init: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "init")
	defer theirs.Close()
	ours := os.NewFile(uintptr(pair[0]), "server")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, fmt.Errorf("socket of init: %w", err)
	}

	p := &process{conn: conn.(*net.UnixConn), answers: make(chan answer, 1), gone: make(chan struct{})}
	p.cmd = exec.Command("/proc/self/exe")
	p.cmd.Args = []string{initName}
	// More than there are processors: a goroutine of init that waits in a system
	// call keeps its place for up to 10 ms, and several always wait.
	p.cmd.Env = []string{"GOMAXPROCS=8", "GOTRACEBACK=single"}
	p.cmd.Dir = "/"
	p.cmd.Stderr = &p.stderr
	p.cmd.ExtraFiles = []*os.File{theirs} // becomes initSocket
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	groups := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	if s.asRoot {
		ids[0].HostID, ids[0].Size = s.config.BaseID, idRange
		groups = ids
	}
	flags := unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP
	if s.config.Network == "none" {
		flags |= unix.CLONE_NEWNET
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:                 uintptr(flags),
		UidMappings:                ids,
		GidMappings:                groups,
		GidMappingsEnableSetgroups: s.asRoot,
		Credential:                 &syscall.Credential{NoSetGroups: !s.asRoot},
		Setsid:                     true,
	}
	if err := p.cmd.Start(); err != nil {
		conn.Close()
		return nil, hint(fmt.Errorf("start init in new namespaces: %w", err))
	}
	go p.listen() // ends when init is gone
	go func() {   // likewise
		_ = p.cmd.Wait() // the state says it all
		close(p.gone)
	}()

	a, err := p.call(ctx, request{
		Op: opPrepare, ReadOnly: s.config.ReadOnly, Hidden: s.hidden,
		Loopback: s.config.Network == "none", Copy: s.config.copying,
	})
	if err != nil {
		p.end()
		return nil, hint(fmt.Errorf("prepare root: %w", err))
	}
	p.landlock, _ = strconv.Atoi(a.Note)
	return p, nil
}

// listen receives the answers of init.
func (p *process) listen() {
	defer close(p.answers)
	for {
		var a answer
		if err := readFrame(p.conn, &a); err != nil {
			return
		}
		p.answers <- a
	}
}

func (p *process) alive() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// end kills init, and with it its namespace, and returns when all that has gone.
func (p *process) end() {
	_ = p.cmd.Process.Kill()
	<-p.gone
	p.conn.Close()
	for range p.answers { // until listen has ended
	}
}

// send gives init a request. Files are duplicated, the caller closes them.
func (p *process) send(r request, files ...*os.File) error {
	message, err := frame(r)
	if err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for n, file := range files {
			fds[n] = int(file.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	n, _, err := p.conn.WriteMsgUnix(message, rights, nil)
	if err == nil && n < len(message) {
		_, err = p.conn.Write(message[n:])
	}
	return err
}

// errRefused is what init answered; others mean that init cannot be talked to.
type errRefused string

func (e errRefused) Error() string { return string(e) }

// call sends a request and waits for its answer. If ctx ends first, init is
// killed, since nobody knows how far it has come.
func (p *process) call(ctx context.Context, r request, files ...*os.File) (answer, error) {
	if err := p.send(r, files...); err != nil {
		return answer{}, executor.ErrDead
	}
	select {
	case a, ok := <-p.answers:
		if !ok {
			return answer{}, executor.ErrDead
		}
		if a.Err != "" {
			return a, errRefused(a.Err)
		}
		return a, nil
	case <-ctx.Done():
		_ = p.cmd.Process.Kill()
		return answer{}, context.Cause(ctx)
	}
}

// An environment is an executor.Environment.
type environment struct {
	sandbox *Sandbox
	p       *process
	group   *group
	dir     string // Spec.Dir/env
	grace   time.Duration
	output  *os.File // the read end of the pipe that all shells write to

	use sync.Mutex // one Place, Put or Run at a time
	seq int
	buf []byte

	closing sync.Once
	closed  chan struct{} // closed by Close, first of all
}

func (e *environment) start(ctx context.Context, spec executor.Spec, env []byte) error {
	group, err := e.sandbox.cgroups.create(spec.Build, spec.Limits)
	if err != nil {
		return err
	}
	e.group = group
	defer group.closeEntries()
	output, write, err := os.Pipe()
	if err != nil {
		return err
	}
	e.output = output
	defer write.Close()
	mount, err := e.sandbox.openTree(e.dir)
	if err != nil {
		return err
	}
	files := []*os.File{write}
	if mount != nil {
		defer mount.Close()
		files = append(files, mount)
	}
	_, err = e.p.call(ctx, request{
		Op: opStart, Dir: e.dir, HasDir: mount != nil, Env: env, WorkDir: filepath.Clean(spec.WorkDir),
		Shell: spec.Shell, User: spec.User, RunAs: e.sandbox.asRoot, StopGrace: spec.StopGrace,
		Rlimits: e.sandbox.rlimits(spec.Limits), Tasks: group.tasks,
	}, append(files, group.entries...)...)
	return e.explain(err)
}

// explain adds to ErrDead why, as far as it is known.
func (e *environment) explain(err error) error {
	if !errors.Is(err, executor.ErrDead) {
		return err
	}
	select {
	case <-e.closed:
		return fmt.Errorf("%w: closed", executor.ErrDead)
	default:
	}
	_ = e.p.cmd.Process.Kill() // if only the socket broke
	<-e.p.gone
	if e.group.oomKills() > 0 {
		return fmt.Errorf("%w: %w", executor.ErrDead, executor.ErrOutOfMemory)
	}
	why := e.p.cmd.ProcessState.String()
	if text := e.p.stderr.String(); text != "" {
		why += ": " + text
	}
	return fmt.Errorf("%w: init: %s", executor.ErrDead, why)
}

// Place shows a tree of the host, copy-on-write.
func (e *environment) Place(ctx context.Context, tree executor.Tree) error {
	if _, err := e.place(ctx, tree); err != nil {
		return fmt.Errorf("place %s: %w", tree.Target, err)
	}
	return nil
}

func (e *environment) place(ctx context.Context, tree executor.Tree) (how string, err error) {
	target := filepath.Clean(tree.Target)
	if !filepath.IsAbs(tree.Dir) || !strings.HasPrefix(target, "/codebuild/output/") {
		return "", fmt.Errorf("tree %q at %q: want an absolute path, and one below /codebuild/output", tree.Dir, tree.Target)
	}
	e.use.Lock()
	defer e.use.Unlock()
	mount, err := e.sandbox.openTree(tree.Dir)
	if err != nil {
		return "", err
	}
	var files []*os.File
	if mount != nil {
		defer mount.Close()
		files = append(files, mount)
	}
	a, err := e.p.call(ctx, request{Op: opPlace, Dir: tree.Dir, HasDir: mount != nil, Target: target}, files...)
	return a.Note, e.explain(err)
}

// Put writes a file that the build can only read.
func (e *environment) Put(ctx context.Context, path string, data []byte) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("put %q: path is not absolute", path)
	}
	e.use.Lock()
	defer e.use.Unlock()
	if _, err := e.p.call(ctx, request{Op: opPut, Path: path, Data: data}); err != nil {
		return fmt.Errorf("put %s: %w", path, e.explain(err))
	}
	return nil
}

// Run gives a script to the shell.
func (e *environment) Run(ctx context.Context, command executor.Command, out io.Writer) (int, error) {
	env, err := joinEnv(command.Env)
	if err != nil {
		return -1, err
	}
	if command.Shell != "" && command.Shell != "sh" && command.Shell != "bash" {
		return -1, fmt.Errorf("shell %q: want sh or bash", command.Shell)
	}
	e.use.Lock()
	defer e.use.Unlock()
	if err := ctx.Err(); err != nil {
		return -1, context.Cause(ctx)
	}
	killed := e.group.oomKills()
	e.seq++
	seq := e.seq
	if err := e.output.SetReadDeadline(time.Time{}); err != nil {
		return -1, e.explain(executor.ErrDead)
	}
	if err := e.p.send(request{Op: opRun, Seq: seq, User: command.User, Shell: command.Shell, Env: env, Data: []byte(command.Script)}); err != nil {
		return -1, e.explain(executor.ErrDead)
	}
	delivered := make(chan error, 1)
	go func() { delivered <- e.deliver(out) }() // ended by the deadline below, or with the environment

	cancelled := context.AfterFunc(ctx, func() { _ = e.p.send(request{Op: opStop, Seq: seq}) })
	a, ok := e.await(ctx)
	cancelled()
	_ = e.output.SetReadDeadline(time.Unix(1, 0))
	outErr := <-delivered

	switch {
	case !ok:
		err = e.explain(executor.ErrDead)
	case a.Stopped:
		err = context.Cause(ctx)
	case a.Err != "":
		err = errors.New(a.Err)
	}
	if err != nil {
		return -1, err
	}
	if a.Status != 0 && e.group.oomKills() > killed {
		return a.Status, fmt.Errorf("command ended with status %d: %w", a.Status, executor.ErrOutOfMemory)
	}
	if outErr != nil {
		return a.Status, fmt.Errorf("deliver output: %w", outErr)
	}
	return a.Status, nil
}

// await waits for the answer to a run. Once ctx has ended, init has the time
// that it was given, and a little more, before it is killed.
func (e *environment) await(ctx context.Context) (a answer, ok bool) {
	select {
	case a, ok = <-e.p.answers:
		return a, ok
	case <-ctx.Done():
	}
	late := time.NewTimer(e.grace + 5*time.Second)
	defer late.Stop()
	select {
	case a, ok = <-e.p.answers:
		return a, ok
	case <-late.C:
		_ = e.p.cmd.Process.Kill()
		a, ok = <-e.p.answers
		return a, ok
	}
}

// deliver copies the output pipe to out until the read deadline passes, and then
// what is in the pipe at that moment. After an error of out it goes on reading,
// so that the build is not held up, and returns the first error.
func (e *environment) deliver(out io.Writer) error {
	if e.buf == nil {
		e.buf = make([]byte, 64<<10) // the size of a pipe
	}
	var failed error
	write := func(p []byte) {
		if failed == nil && len(p) > 0 {
			_, failed = out.Write(p)
		}
	}
	for {
		n, err := e.output.Read(e.buf)
		write(e.buf[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return failed // all writers are gone, or Close has been called
		}
	}
	raw, err := e.output.SyscallConn()
	if err != nil {
		return failed
	}
	// Nobody else reads, so as much as is there now can be read without waiting.
	_ = raw.Control(func(fd uintptr) {
		left, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ) // FIONREAD by its other name
		for err == nil && left > 0 {
			var n int
			if n, err = unix.Read(int(fd), e.buf[:min(left, len(e.buf))]); n <= 0 {
				break
			}
			write(e.buf[:n])
			left -= n
		}
	})
	return failed
}

// Close kills and unmounts everything.
func (e *environment) Close() error {
	var err error
	e.closing.Do(func() {
		close(e.closed)
		e.p.end()
		if e.output != nil {
			e.output.Close()
		}
		e.group.remove()
		if !e.sandbox.asRoot {
			err = makeRemovable(e.dir)
		}
	})
	return err
}

// makeRemovable opens directories that the build closed to their owner, such as
// a read-only module cache, so that a caller without root can remove them.
func makeRemovable(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil || info.Mode().Perm()&0o700 == 0o700 {
			return err
		}
		return os.Chmod(path, info.Mode().Perm()|0o700)
	})
}

package sandbox

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Names by which the program knows what it was started as.
const (
	initName    = "corbel-init"
	confineName = "corbel-confine"
)

// initSocket is the descriptor on which init finds the server.
const initSocket = 3

// Main returns unless this process was started by a Sandbox to be the init of an
// environment or a confined command; then it never returns. Call it first in
// main, and in TestMain of tests that use a Sandbox.
func Main() {
	switch {
	case len(os.Args) == 0:
	case os.Args[0] == initName:
		runInit()
	case os.Args[0] == confineName:
		fmt.Fprintln(os.Stderr, "corbel:", confined(os.Args[1:]))
		os.Exit(126)
	}
}

// An initProcess is number 1 of an environment: it builds the root, starts the
// shells, reaps whatever is orphaned, and ends when the server does.
type initProcess struct {
	socket socket
	write  sync.Mutex // one answer at a time

	turn    sync.Mutex // one request at a time has what follows; the server sees to it too
	machine request    // what is alike for all builds, from opPrepare
	start   request    // the build, from opStart
	output  int        // the write end of the output pipe
	groups  []int      // files to enter cgroups by: start.Tasks of version 1, the rest of version 2

	trees      int // number of placed trees
	sealed     bool
	outputRoot *os.Root      // /codebuild/output
	early      chan struct{} // closed when the first shell has been loaded, or failed
	launches   chan launch

	mu       sync.Mutex
	children map[int]chan syscall.WaitStatus // shells by pid; each gets one status
	running  int                             // Seq of the run in progress, else 0
	stopped  chan struct{}                   // closed when its processes are gone; nil if nobody asked
	shells   map[string]*shell               // by user

	childless chan struct{} // one token: there were no children at all
	reap      chan os.Signal
}

// runInit serves requests until the server closes the socket.
func runInit() {
	// Also what the server itself has inherited without wanting to: nothing but
	// what is named goes on to a shell.
	if err := unix.CloseRange(initSocket, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		fmt.Fprintln(os.Stderr, "init: close_range:", err)
		os.Exit(1)
	}
	// No process of the build may look into this one.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "init: not dumpable:", err)
		os.Exit(1)
	}
	unix.Umask(0) // modes are meant as written; shells set their own
	i := &initProcess{
		socket:    socket{fd: initSocket},
		children:  map[int]chan syscall.WaitStatus{},
		shells:    map[string]*shell{},
		childless: make(chan struct{}, 1),
		reap:      make(chan os.Signal, 1),
		launches:  make(chan launch),
	}
	// A caught signal is not a deadly one, and programs started from here get the
	// default again; an ignored one would stay ignored in the build.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught)
	signal.Reset(syscall.SIGCHLD, syscall.SIGURG)
	signal.Notify(i.reap, syscall.SIGCHLD)
	go i.reaper() // ends with the process

	for {
		var r request
		if err := readFrame(&i.socket, &r); err != nil {
			syscall.Exit(0) // the server is gone: take everything along, at once
		}
		switch r.Op {
		case opRun:
			i.mu.Lock()
			i.running, i.stopped = r.Seq, nil
			i.mu.Unlock()
			go i.run(r) // answers when the command has ended
		case opStop:
			i.stop(r.Seq)
		default:
			note, err := i.do(r)
			i.answer(answer{Seq: r.Seq, Note: note}, err)
		}
	}
}

func (i *initProcess) answer(a answer, err error) {
	if err != nil {
		a.Err = err.Error()
	}
	message, err := frame(a)
	if err != nil {
		os.Exit(1)
	}
	i.write.Lock()
	defer i.write.Unlock()
	if _, err := i.socket.Write(message); err != nil {
		syscall.Exit(0)
	}
}

// do performs the requests that come before the first run.
func (i *initProcess) do(r request) (note string, err error) {
	i.turn.Lock()
	defer i.turn.Unlock()
	switch {
	case r.Op == opPrepare:
		i.machine = r
		if r.Loopback {
			if err := loopbackUp(); err != nil {
				return "", err
			}
		}
		go i.launcher() // ends with the process
		return strconv.Itoa(landlockABI()), prepareRoot(r.ReadOnly, r.Hidden)
	case i.sealed:
		for _, fd := range i.socket.fds {
			unix.Close(fd)
		}
		i.socket.fds = nil
		return "", errors.New("too late: a command has run")
	case r.Op == opStart:
		i.start = r
		if i.output, err = i.socket.take(); err != nil {
			return "", err
		}
		fd := -1
		if r.HasDir {
			if fd, err = i.socket.take(); err != nil {
				return "", err
			}
		}
		i.groups, i.socket.fds = i.socket.fds, nil
		return "", i.begin(fd)
	case r.Op == opPlace:
		fd := -1
		if r.HasDir {
			if fd, err = i.socket.take(); err != nil {
				return "", err
			}
		}
		i.awaitFirstShell()
		i.trees++
		return placeTree(fd, r.Dir, r.Target, i.trees, i.machine.Copy)
	case r.Op == opPut:
		i.awaitFirstShell()
		return "", putFile(r.Path, r.Data)
	}
	return "", fmt.Errorf("unknown request %q", r.Op)
}

// begin takes on a build: its directories, its restrictions, and the first shell,
// which then starts while the server is busy with the source.
func (i *initProcess) begin(fd int) error {
	if err := startRoot(fd, i.start.Dir, i.machine.ReadOnly, i.machine.Hidden); err != nil {
		return err
	}
	output, err := os.OpenRoot(newRoot + "/codebuild/output")
	if err != nil {
		return err
	}
	i.outputRoot = output
	if err := i.launch(launch{restrict: true}).err; err != nil {
		return err
	}
	i.early = make(chan struct{})
	go func() { // ends when the shell is there, or not
		defer close(i.early)
		if user, err := i.lookUser(i.start.User); err == nil {
			if sh, err := i.shellOf(user, i.start.Shell); err == nil {
				sh.awaitReady()
			}
		}
	}()
	return nil
}

// awaitFirstShell waits for the shell that begin has started. The host is still
// in its mount namespace, and chroot no wall: so nothing that others have written
// may be there for it to load, as LD_PRELOAD could have it do. If there is no
// such shell, the first run tries again and says why.
func (i *initProcess) awaitFirstShell() { <-i.early }

// seal ends the time of Place and Put.
func (i *initProcess) seal() error {
	if i.sealed {
		return nil
	}
	i.awaitFirstShell()
	// The work directory is made where it can be.
	root, err := os.OpenRoot(newRoot)
	if err != nil {
		return err
	}
	_ = root.MkdirAll(strings.TrimPrefix(i.start.WorkDir, "/"), 0o755)
	if err := errors.Join(root.Close(), sealRoot()); err != nil {
		return err
	}
	i.sealed = true
	return nil
}

// path is where a path of the build is for init.
func (i *initProcess) path(path string) string {
	if i.sealed {
		return path
	}
	return newRoot + path
}

// A launch asks the launcher for a process.
type launch struct {
	path string
	argv []string
	attr *syscall.ProcAttr
	done chan launched

	restrict bool // no process: restrict the thread from here on
}

type launched struct {
	pid    int
	exited chan syscall.WaitStatus
	err    error
}

func (i *initProcess) launch(l launch) launched {
	l.done = make(chan launched, 1)
	i.launches <- l
	return <-l.done
}

// launcher starts all processes of the build. It owns one thread, which carries
// the restrictions, so that they hold for what it starts and not for init.
func (i *initProcess) launcher() {
	runtime.LockOSThread()
	failed := restrictThread()
	for l := range i.launches {
		if l.restrict {
			l.done <- launched{err: errors.Join(failed, i.restrict())}
			continue
		}
		// With the lock held the reaper cannot meet a child that has no entry.
		i.mu.Lock()
		pid, err := syscall.ForkExec(l.path, l.argv, l.attr)
		exited := make(chan syscall.WaitStatus, 1)
		if err == nil {
			i.children[pid] = exited
		}
		i.mu.Unlock()
		l.done <- launched{pid, exited, err}
	}
}

// restrict is the part of the restrictions that is about one build.
func (i *initProcess) restrict() error {
	writable := []string{newRoot + "/dev", newRoot + "/proc"}
	for _, d := range owned {
		writable = append(writable, newRoot+d.target)
	}
	for _, m := range inMemory {
		writable = append(writable, newRoot+m.target)
	}
	// In version 1 threads move alone. Only when one moves itself does the kernel
	// take no lock on all processes of the machine, which costs 10 ms and more.
	for _, fd := range i.groups[:i.start.Tasks] {
		if _, err := unix.Pwrite(fd, []byte("0"), 0); err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
	}
	return restrictFiles([]string{newRoot}, writable, false)
}

// reaper collects the children, the shells and every orphan of the environment.
func (i *initProcess) reaper() {
	for range i.reap {
		for i.reapOne() {
		}
	}
}

func (i *initProcess) reapOne() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	switch {
	case errors.Is(err, syscall.EINTR):
		return true
	case err != nil: // ECHILD: everything in the namespace descends from us
		select {
		case i.childless <- struct{}{}:
		default:
		}
		return false
	case pid == 0:
		return false
	}
	if exited, ok := i.children[pid]; ok {
		delete(i.children, pid)
		exited <- status
	}
	return true
}

// stop ends all processes because the run with this number was cancelled.
func (i *initProcess) stop(seq int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.running != seq || i.stopped != nil {
		return // it has ended, or is being stopped
	}
	i.stopped = make(chan struct{})
	go i.killAll(i.stopped) // ends when no process is left
}

func (i *initProcess) killAll(done chan struct{}) {
	defer close(done)
	select {
	case <-i.childless: // an old token
	default:
	}
	deadline := time.NewTimer(i.start.StopGrace)
	defer deadline.Stop()
	// Kill of -1 means every process of the namespace but this one.
	_ = syscall.Kill(-1, syscall.SIGTERM)
	_ = syscall.Kill(-1, syscall.SIGCONT)
	for {
		// The reaper may have seen the last child go before the token was taken.
		select {
		case i.reap <- syscall.SIGCHLD:
		default:
		}
		select {
		case <-i.childless:
			return
		case <-deadline.C:
			_ = syscall.Kill(-1, syscall.SIGKILL)
			deadline.Reset(20 * time.Millisecond) // again, for what was being forked
		}
	}
}

// loopbackUp gives a new network namespace its loopback.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	return nil
}

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/corbel-build/corbel/internal/executor"
	"golang.org/x/sys/unix"
)

// idRange is how many user ids a build gets from a server that root started: all
// that 16 bits hold, with nobody.
const idRange = 65536

// Config says how environments are made. The zero value is good.
type Config struct {
	// ReadOnly are more directories or files of the host that builds see, at the
	// same path. Absolute.
	ReadOnly []string

	// Hidden are directories and files within what builds see that they must not
	// see, such as a data directory below /opt. Absolute; they exist when New is
	// called. /etc/corbel is always hidden.
	Hidden []string

	// Network is "host", the default, or "none": a loopback of its own.
	Network string

	// BaseID is the first of 65536 user and group ids of the host that builds use
	// if root started the server. It must not be anyone's. Default: 100000.
	BaseID int

	// Limits are for builds that name none. Defaults: three quarters of the
	// machine's memory, 4096 processes, all processors, files of 64 GiB, 65536
	// open files.
	Limits executor.Limits

	copying bool // tests: as if overlays did not work
}

// validate fills in defaults and returns all that is wrong.
func (c *Config) validate() error {
	var errs []error
	for _, path := range slices.Concat(c.ReadOnly, c.Hidden) {
		if !filepath.IsAbs(path) {
			errs = append(errs, fmt.Errorf("sandbox: path %q is not absolute", path))
		}
	}
	if c.Network == "" {
		c.Network = "host"
	}
	if c.Network != "host" && c.Network != "none" {
		errs = append(errs, fmt.Errorf("sandbox: network %q: want host or none", c.Network))
	}
	if c.BaseID == 0 {
		c.BaseID = 100_000
	}
	if c.BaseID < 1000 {
		errs = append(errs, fmt.Errorf("sandbox: base id %d is below 1000, where ids of the system are", c.BaseID))
	}
	l := &c.Limits
	if l.MemoryBytes == 0 {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			errs = append(errs, fmt.Errorf("sandbox: size of memory: %w", err))
		}
		l.MemoryBytes = int64(info.Totalram) * int64(info.Unit) / 4 * 3
	}
	if l.Processes == 0 {
		l.Processes = 4096
	}
	if l.FileBytes == 0 {
		l.FileBytes = 64 << 30
	}
	if l.OpenFiles == 0 {
		l.OpenFiles = 65536
	}
	if l.MemoryBytes < 0 || l.Processes < 0 || l.CPUs < 0 || l.FileBytes < 0 || l.OpenFiles < 0 {
		errs = append(errs, fmt.Errorf("sandbox: negative limit in %+v", *l))
	}
	return errors.Join(errs...)
}

// A Sandbox is an executor.Executor that uses the Linux kernel and nothing else.
type Sandbox struct {
	config  Config
	asRoot  bool // with the rights to map a range of ids
	hidden  []string
	cgroups cgroups
	traits  executor.Traits

	// spare is an init that has done what it can without knowing the build.
	spare   chan *process
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	mu      sync.Mutex
	filling bool           // the spare is being made, or will be soon
	filler  sync.WaitGroup // for that
}

// refillDelay keeps the making of the next spare from taking the processor of
// the build that has just taken this one.
const refillDelay = 20 * time.Millisecond

var _ executor.Executor = (*Sandbox)(nil)

// New returns a sandbox after running a command in it. ctx bounds that trial.
func New(ctx context.Context, config Config) (*Sandbox, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	asRoot := mayMapRange(config.BaseID)
	if os.Geteuid() == 0 && !asRoot && !inUserNamespace() {
		return nil, fmt.Errorf("sandbox: started by root, but without the capabilities to give builds ids %d to %d, so that builds would be root of the host: "+
			"start it as another user, or with CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_DAC_OVERRIDE and CAP_KILL", config.BaseID, config.BaseID+idRange-1)
	}
	s := &Sandbox{
		config: config,
		asRoot: asRoot,
		spare:  make(chan *process, 1),
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, path := range append([]string{"/etc/corbel"}, config.Hidden...) {
		// A link on the way would lead around the cover.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		s.hidden = append(s.hidden, filepath.Clean(path))
	}
	s.cgroups = findCgroups("/proc/self")
	s.cgroups.sweep()
	if err := s.probe(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("sandbox: trial environment: %w", err)
	}
	return s, nil
}

// mayMapRange tells whether this process may give a user namespace a range of
// ids: it needs the capabilities, and the ids must exist where it runs.
func mayMapRange(base int) bool {
	if os.Geteuid() != 0 {
		return false
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	for _, c := range []int{unix.CAP_SYS_ADMIN, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_KILL} {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return mapped("/proc/self/uid_map", base) && mapped("/proc/self/gid_map", base)
}

// inUserNamespace tells whether root is not the host's root.
func inUserNamespace() bool {
	data, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(data))
	return err == nil && (len(f) != 3 || f[0] != "0" || f[1] != "0" || f[2] != "4294967295")
}

// mapped tells whether the ids from base on all exist in this user namespace.
func mapped(file string, base int) bool {
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		first, err1 := strconv.Atoi(f[0])
		count, err2 := strconv.Atoi(f[2])
		if err1 == nil && err2 == nil && first <= base && base+idRange <= first+count {
			return true
		}
	}
	return false
}

// probe runs one environment through and fills in the traits.
func (s *Sandbox) probe(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "corbel-probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	spec := executor.Spec{Build: "probe-" + filepath.Base(dir), Dir: dir}
	if err := s.checkSpec(&spec); err != nil {
		return err
	}
	e, err := s.start(ctx, spec)
	if err != nil {
		return err
	}
	defer e.Close()
	how, err := e.place(ctx, executor.Tree{Dir: tree, Target: "/codebuild/output/tree"})
	if err != nil {
		return err
	}
	var out strings.Builder
	status, err := e.Run(ctx, executor.Command{Script: "true"}, &out)
	if err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("true exits with status %d: %s", status, strings.TrimSpace(out.String()))
	}

	t := executor.Traits{Name: "sandbox", RunAs: s.asRoot, TotalMemory: s.cgroups.base["memory"] != ""}
	add := func(list *[]string, format string, args ...any) { *list = append(*list, fmt.Sprintf(format, args...)) }
	if s.asRoot {
		add(&t.InForce, "user namespace with ids %d to %d", s.config.BaseID, s.config.BaseID+idRange-1)
	} else {
		add(&t.InForce, "user namespace with the server's own id")
		add(&t.Missing, "users other than root (the server is not root)")
	}
	add(&t.InForce, "mount, pid, ipc, uts and cgroup namespaces")
	if s.config.Network == "none" {
		add(&t.InForce, "no network")
	} else {
		add(&t.InForce, "network of the host")
	}
	if how == "overlay" {
		add(&t.InForce, "overlay sources")
	} else {
		add(&t.InForce, "copied sources")
		add(&t.Missing, "overlays in a user namespace")
	}
	if abi := e.p.landlock; abi > 0 {
		add(&t.InForce, "Landlock %d", abi)
		if abi < 6 {
			add(&t.Missing, "scope of signals and abstract sockets (Landlock 6)")
		}
	} else {
		add(&t.Missing, "Landlock")
	}
	add(&t.InForce, "seccomp")
	inForce, missing := s.cgroups.words()
	t.InForce = append(t.InForce, inForce...)
	t.Missing = append(t.Missing, missing...)
	if s.cgroups.base["memory"] == "" {
		add(&t.InForce, "memory limit of each process")
	}
	if s.cgroups.base["pids"] == "" {
		add(&t.InForce, "process limit by rlimit")
	}
	s.traits = t
	return nil
}

// Traits says what is in force here.
func (s *Sandbox) Traits() executor.Traits { return s.traits }

// FileOwner is the user and group of the host that is root in every build. Trees
// for Place and directories for Confine should belong to it: what belongs to
// others appears in a build as nobody's.
func (s *Sandbox) FileOwner() (uid, gid int) {
	if s.asRoot {
		return s.config.BaseID, s.config.BaseID
	}
	return os.Getuid(), os.Getgid()
}

// Close ends the spare. Environments live on until they are closed themselves.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock() // from here on no refill begins
	s.filler.Wait()
	select {
	case p := <-s.spare:
		p.end()
	default:
	}
	return nil
}

// Start makes an environment, from the spare if there is one.
func (s *Sandbox) Start(ctx context.Context, spec executor.Spec) (executor.Environment, error) {
	if err := s.checkSpec(&spec); err != nil {
		return nil, err
	}
	e, err := s.start(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("start sandbox of build %s: %w", spec.Build, err)
	}
	return e, nil
}

// checkSpec fills in defaults and refuses what cannot be honoured.
func (s *Sandbox) checkSpec(spec *executor.Spec) error {
	var errs []error
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:", r))
	}
	if n := len(spec.Build); n < 1 || n > 200 || strings.ContainsFunc(spec.Build, bad) || strings.Trim(spec.Build, ".") == "" {
		errs = append(errs, fmt.Errorf("build name %q: want 1 to 200 letters, digits, '-', '_', '.', ':'", spec.Build))
	}
	if !filepath.IsAbs(spec.Dir) {
		errs = append(errs, fmt.Errorf("directory %q is not absolute", spec.Dir))
	}
	if spec.WorkDir == "" {
		spec.WorkDir = "/codebuild/output"
	}
	if !filepath.IsAbs(spec.WorkDir) {
		errs = append(errs, fmt.Errorf("work directory %q is not absolute", spec.WorkDir))
	}
	if spec.Shell != "" && spec.Shell != "sh" && spec.Shell != "bash" {
		errs = append(errs, fmt.Errorf("shell %q: want sh or bash", spec.Shell))
	}
	if spec.StopGrace == 0 {
		spec.StopGrace = 5 * time.Second
	}
	l, d := &spec.Limits, s.config.Limits
	if l.MemoryBytes == 0 {
		l.MemoryBytes = d.MemoryBytes
	}
	if l.Processes == 0 {
		l.Processes = d.Processes
	}
	if l.CPUs == 0 {
		l.CPUs = d.CPUs
	}
	if l.FileBytes == 0 {
		l.FileBytes = d.FileBytes
	}
	if l.OpenFiles == 0 {
		l.OpenFiles = d.OpenFiles
	}
	if l.MemoryBytes < 0 || l.Processes < 0 || l.CPUs < 0 || l.FileBytes < 0 || l.OpenFiles < 0 || spec.StopGrace < 0 {
		errs = append(errs, fmt.Errorf("negative limit in %+v", *spec))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	return nil
}

// take returns an init that is ready for a build, and has the next one made.
func (s *Sandbox) take(ctx context.Context) (*process, error) {
	for {
		select {
		case p := <-s.spare:
			if p.alive() {
				return p, nil
			}
			p.end()
			continue
		default:
		}
		return s.spawn(ctx)
	}
}

// refill makes the next spare in a moment, unless that is under way.
func (s *Sandbox) refill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.filling || len(s.spare) > 0 || s.ctx.Err() != nil {
		return
	}
	s.filling = true
	s.filler.Go(func() { // ends when the spare is ready, or with Close
		defer func() {
			s.mu.Lock()
			s.filling = false
			s.mu.Unlock()
		}()
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(refillDelay):
		}
		if p, err := s.spawn(s.ctx); err == nil { // an error is for the next Start to meet
			s.spare <- p // there is room: nobody else sends
		}
	})
}

func (s *Sandbox) start(ctx context.Context, spec executor.Spec) (*environment, error) {
	env, err := joinEnv(spec.Env)
	if err != nil {
		return nil, err
	}
	// Files of the environment are in a directory of their own, whose owner is
	// root of the environment.
	dir := filepath.Join(spec.Dir, "env")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if uid, gid := s.FileOwner(); s.asRoot {
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
	}
	p, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	e := &environment{sandbox: s, p: p, dir: dir, grace: spec.StopGrace, closed: make(chan struct{})}
	if err := e.start(ctx, spec, env); err != nil {
		e.Close()
		return nil, err
	}
	s.refill()
	return e, nil
}

// rlimits are the limits that hold without cgroups, or beside them.
func (s *Sandbox) rlimits(l executor.Limits) []rlimit {
	limits := []rlimit{
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_FSIZE, uint64(l.FileBytes)},
		{unix.RLIMIT_NOFILE, uint64(l.OpenFiles)},
	}
	if s.cgroups.base["pids"] == "" {
		// Counted by user within the namespace, with the threads of init.
		limits = append(limits, rlimit{unix.RLIMIT_NPROC, uint64(l.Processes + 16)})
	}
	if s.cgroups.base["memory"] == "" {
		limits = append(limits, rlimit{unix.RLIMIT_DATA, uint64(l.MemoryBytes)})
	}
	return limits
}

// openTree returns a detached mount of dir that can be handed to another mount
// namespace, or nil if this process may not make one and init can walk to dir.
func (s *Sandbox) openTree(dir string) (*os.File, error) {
	if !s.asRoot {
		return nil, nil //nolint:nilnil // no descriptor is needed
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil, &fs.PathError{Op: "open_tree", Path: dir, Err: err}
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "mount_setattr", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// hint adds what a person can do when the kernel refuses to make namespaces.
func hint(err error) error {
	var todo string
	read := func(file string) string {
		data, _ := os.ReadFile(file)
		return strings.TrimSpace(string(data))
	}
	switch {
	case read("/proc/sys/user/max_user_namespaces") == "0":
		todo = "allow user namespaces: sysctl user.max_user_namespaces=15000"
	case read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
		todo = "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1"
	case read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
		todo = "AppArmor keeps user namespaces from programs without a profile: give this program one with the rule 'userns,', or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
	case says(err, unix.EPERM) || says(err, unix.EACCES):
		todo = "in a container, start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
	case says(err, unix.ENOSPC):
		todo = "the limit of namespaces is reached: raise the sysctls user.max_*_namespaces"
	case says(err, unix.ENOSYS):
		todo = "a kernel of version 5.12 or later is needed"
	default:
		return err
	}
	return fmt.Errorf("%w (%s)", err, todo)
}

// says tells whether err is about errno, which from init comes as text.
func says(err error, errno unix.Errno) bool {
	return strings.Contains(err.Error(), errno.Error())
}

package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// What this file sets belongs to one thread and goes on to the programs that the
// thread starts or becomes. The thread that uses it is locked to its goroutine
// and never given back, so the rest of the process is not touched.

// restrictThread sets what does not depend on files. Denied are sockets to the
// host of a virtual machine, and those to the kernel's ciphers.
func restrictThread() error {
	filter, err := seccompFilter(unix.AF_VSOCK, unix.AF_ALG)
	if err != nil {
		return fmt.Errorf("assemble seccomp filter: %w", err)
	}
	return errors.Join(dropCapabilities(), setNoNewPrivs(), restrictCalls(filter))
}

// capabilities are what root of a build keeps, all of them valid in its own user
// namespace only: file ownership, users, signals, low ports, chroot. They are the
// usual ones of a container less raw sockets, mknod, audit and file capabilities.
var capabilities = []uintptr{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_KILL,
	unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_CHROOT,
}

// dropCapabilities takes all others out of the bounding set, so that no program
// started from this thread can have them.
func dropCapabilities() error {
	for c := uintptr(0); ; c++ {
		if slices.Contains(capabilities, c) {
			continue
		}
		switch err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); {
		case errors.Is(err, unix.EINVAL):
			return nil // past the last one that this kernel knows
		case err != nil:
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
}

func setNoNewPrivs() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return nil
}

// landlockABI is the version of Landlock that the kernel has, 0 for none.
// Source: kernel documentation, userspace-api/landlock.
func landlockABI() int {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(v)
}

// Rights on files, as sets that grow with the version: refer came with 2,
// truncate with 3, ioctl on devices with 5.
const (
	landlockRead = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockFile = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV // those that a rule for a file may name
)

func landlockAll(abi int) uint64 {
	switch {
	case abi >= 5:
		return 1<<16 - 1
	case abi >= 3:
		return 1<<15 - 1
	case abi == 2:
		return 1<<14 - 1
	}
	return 1<<13 - 1
}

// restrictFiles puts this thread into a Landlock domain: it may read and execute
// below readable, do everything below writable, and nothing else. Signals and
// abstract sockets do not leave the domain (version 6), and no TCP port can be
// listened on if noListen is set (version 4). Readable paths may be missing, the
// writable ones may not. Without Landlock in the kernel it does nothing; Traits tells.
//
// The calls are made directly: the Go library for Landlock restricts all threads
// of a process, and init must stay outside.
func restrictFiles(readable, writable []string, noListen bool) error {
	abi := landlockABI()
	if abi == 0 {
		return nil
	}
	all := landlockAll(abi)
	attr := unix.LandlockRulesetAttr{Handled_access_fs: all}
	size := uintptr(8)
	if abi >= 4 {
		size = 16
		if noListen {
			attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP
		}
	}
	if abi >= 6 {
		size = 24
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	defer unix.Close(int(ruleset))
	for _, path := range readable {
		err := landlockAllow(int(ruleset), path, landlockRead&all)
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EACCES) {
			return err
		}
	}
	for _, path := range writable {
		if err := landlockAllow(int(ruleset), path, all); err != nil {
			return err
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); errno != 0 {
		return fmt.Errorf("landlock_restrict_self: %w", errno)
	}
	return nil
}

func landlockAllow(ruleset int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("landlock: open %s: %w", path, err)
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return fmt.Errorf("landlock: stat %s: %w", path, err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= landlockFile
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("landlock_add_rule %s: %w", path, errno)
	}
	return nil
}

// denied are system calls that no build needs and that have opened kernels
// before: mounts and namespaces, module and kernel loading, tracing of the whole
// machine, key rings, clocks, handles that go around paths, io_uring.
var denied = []string{
	"acct", "add_key", "adjtimex", "bpf", "clock_adjtime", "clock_settime", "create_module", "delete_module",
	"fanotify_init", "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "get_kernel_syms", "init_module",
	"io_uring_enter", "io_uring_register", "io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load",
	"keyctl", "lookup_dcookie", "mount", "mount_setattr", "move_mount", "move_pages", "nfsservctl", "open_by_handle_at",
	"open_tree", "perf_event_open", "pivot_root", "process_madvise", "query_module", "quotactl", "quotactl_fd", "reboot",
	"request_key", "setns", "settimeofday", "stime", "swapoff", "swapon", "_sysctl", "sysfs", "syslog", "umount",
	"umount2", "uselib", "userfaultfd", "ustat", "vhangup", "vm86", "vm86old", "vmsplice",
}

// newNamespaces are the flags of clone and unshare that make namespaces, with
// all their bits but CLONE_NEWTIME, which clone cannot take.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// seccompFilter assembles the filter, which also denies sockets of some families.
// Denied calls fail with EPERM.
func seccompFilter(families ...uint64) ([]bpf.RawInstruction, error) {
	native, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	var names []string // those that this architecture has
	for _, name := range denied {
		if _, ok := native.SyscallNames[name]; ok {
			names = append(names, name)
		}
	}
	when := func(name string, op seccomp.Operation, argument uint32, value uint64) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: seccomp.ArgumentConditions{{Argument: argument, Operation: op, Value: value}}}
	}
	conditional := []seccomp.NameWithConditions{
		when("clone", seccomp.BitsSet, 0, newNamespaces),
		when("unshare", seccomp.BitsSet, 0, newNamespaces|unix.CLONE_NEWTIME),
	}
	for _, family := range families {
		conditional = append(conditional, when("socket", seccomp.Equal, 0, family))
	}
	policy := seccomp.Policy{
		DefaultAction: seccomp.ActionAllow,
		Syscalls: []seccomp.SyscallGroup{
			// The flags of clone3 are in memory, where a filter cannot look. libc
			// takes clone when it is told that there is no clone3.
			{Names: []string{"clone3"}, Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)},
			{Names: names, Action: seccomp.ActionErrno},
			{NamesWithCondtions: conditional, Action: seccomp.ActionErrno},
		},
	}
	program, err := policy.Assemble()
	if err != nil {
		return nil, err
	}
	// Assemble allows every call of a foreign ABI, which on x86 is a way around
	// the whole list: refuse those first.
	const archOffset = 4 // of struct seccomp_data
	program = append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: archOffset, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(native.ID), SkipTrue: 1},
		bpf.RetConstant{Val: uint32(seccomp.ActionErrno) | uint32(unix.EPERM)},
	}, program...)
	return bpf.Assemble(program)
}

// restrictCalls loads the filter into this thread, which has no_new_privs.
func restrictCalls(filter []bpf.RawInstruction) error {
	program := make([]unix.SockFilter, len(filter))
	for i, in := range filter {
		program[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

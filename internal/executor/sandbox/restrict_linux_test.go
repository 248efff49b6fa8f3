package sandbox

import (
	"encoding/binary"
	"runtime"
	"testing"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The filter, interpreted: what it answers to calls, those of a foreign ABI too.
func TestSeccompFilter(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		t.Skip("the numbers in this table are those of amd64")
	}
	const (
		amd64, i386 = unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386
		x32         = 0x40000000
		allow       = uint32(seccomp.ActionAllow)
		eperm       = uint32(seccomp.ActionErrno) | uint32(unix.EPERM)
		enosys      = uint32(seccomp.ActionErrno) | uint32(unix.ENOSYS)
		vforkLike   = unix.CLONE_VFORK | unix.CLONE_VM | uint64(unix.SIGCHLD)
	)
	raw, err := seccompFilter(unix.AF_VSOCK, unix.AF_ALG)
	if err != nil {
		t.Fatal(err)
	}
	program, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("filter has instructions that cannot be read back")
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		arch uint32
		nr   uint32
		arg  uint64
		want uint32
	}{
		{"read", amd64, unix.SYS_READ, 0, allow},
		{"execve", amd64, unix.SYS_EXECVE, 0, allow},
		{"chroot", amd64, unix.SYS_CHROOT, 0, allow},
		{"mount", amd64, unix.SYS_MOUNT, 0, eperm},
		{"mount, other ABI", i386, 21, 0, eperm},
		{"read, other ABI", i386, 3, 0, eperm},
		{"mount, x32", amd64, x32 | unix.SYS_MOUNT, 0, enosys},
		{"read, x32", amd64, x32 | unix.SYS_READ, 0, enosys},
		{"fork", amd64, unix.SYS_CLONE, uint64(unix.SIGCHLD), allow},
		{"vfork", amd64, unix.SYS_CLONE, vforkLike, allow},
		{"clone into a user namespace", amd64, unix.SYS_CLONE, vforkLike | unix.CLONE_NEWUSER, eperm},
		{"clone into a network namespace", amd64, unix.SYS_CLONE, unix.CLONE_NEWNET, eperm},
		{"clone3", amd64, unix.SYS_CLONE3, 0, enosys},
		{"unshare of files", amd64, unix.SYS_UNSHARE, unix.CLONE_FILES, allow},
		{"unshare of mounts", amd64, unix.SYS_UNSHARE, unix.CLONE_NEWNS, eperm},
		{"unshare of time", amd64, unix.SYS_UNSHARE, unix.CLONE_NEWTIME, eperm},
		{"socket", amd64, unix.SYS_SOCKET, unix.AF_INET6, allow},
		{"unix socket", amd64, unix.SYS_SOCKET, unix.AF_UNIX, allow},
		{"vsock", amd64, unix.SYS_SOCKET, unix.AF_VSOCK, eperm},
		{"setns", amd64, unix.SYS_SETNS, 0, eperm},
		{"keyctl", amd64, unix.SYS_KEYCTL, 0, eperm},
		{"open_by_handle_at", amd64, unix.SYS_OPEN_BY_HANDLE_AT, 0, eperm},
		{"io_uring_setup", amd64, unix.SYS_IO_URING_SETUP, 0, eperm},
		{"a call that is not known yet", amd64, 9999, 0, allow},
	} {
		// struct seccomp_data: nr, arch, instruction pointer, arguments. The
		// interpreter reads words the network's way round, the kernel its own.
		data := make([]byte, 64)
		binary.BigEndian.PutUint32(data, c.nr)
		binary.BigEndian.PutUint32(data[4:], c.arch)
		binary.BigEndian.PutUint32(data[16:], uint32(c.arg))
		binary.BigEndian.PutUint32(data[20:], uint32(c.arg>>32))
		got, err := vm.Run(data)
		if err != nil || uint32(got) != c.want {
			t.Errorf("%s: %#x, %v; want %#x", c.name, got, err, c.want)
		}
	}
}

package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The root of an environment is built in three steps, so that the long one can
// be done before there is a build:
//
//	prepare   a small file system becomes "/", with the host at oldRoot and the
//	          root of the build to be at newRoot: system directories, /dev, /proc
//	start     the build's own directories, from Spec.Dir
//	seal      newRoot becomes "/", everything else is gone, and it is read-only
//	          where it should be
//
// Before seal no process of the build exists, so paths under newRoot lead where
// we made them lead; only trees from Place hold links of others, and targets are
// resolved by os.Root for that reason.
const (
	oldRoot = "/oldroot"
	newRoot = "/newroot"
	ownDir  = "/own"   // Spec.Dir's part for this build
	trees   = "/trees" // where lower directories of Place are attached
)

// system are the directories of the host that every build sees, read-only.
var system = []string{"/usr", "/bin", "/sbin", "/lib*", "/etc", "/opt"}

// devices are bound from the host: mknod of them needs more than we have.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// owned are the writable directories, kept on the disk in Spec.Dir by name. They
// are few, since making them is most of the time that Start takes.
var owned = []struct {
	name, target string
	mode         os.FileMode
}{
	{"output", "/codebuild/output", 0o755},
	{"home", "/home", 0o755},
	{"root", "/root", 0o700},
	{"tmp", "/tmp", 0o777 | os.ModeSticky},
	{"var-tmp", "/var/tmp", 0o777 | os.ModeSticky},
}

// inMemory are small writable file systems.
var inMemory = []struct{ target, options string }{
	{"/dev/shm", "mode=1777,size=256m"},
	{"/run", "mode=0755,size=64m"},
	{"/var", "mode=0755,size=256m"},
}

// prepare is the first step. The caller is alone in a new mount namespace.
func prepareRoot(readOnly, hidden []string) error {
	// Mounts made on the host later still arrive, none of ours leave.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	const base = "/tmp"
	if err := unix.Mount("corbel", base, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=16m"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	for _, dir := range []string{oldRoot, newRoot, ownDir, trees} {
		if err := os.Mkdir(base+dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.PivotRoot(base, base+oldRoot); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Mount("corbel", newRoot, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64m"); err != nil {
		return fmt.Errorf("mount root of the build: %w", err)
	}

	var shown []string
	for _, pattern := range append(slices.Clone(system), readOnly...) {
		// A pattern of ours, or a path that is its own match.
		paths, err := filepath.Glob(oldRoot + pattern)
		if err != nil || !strings.HasSuffix(pattern, "*") {
			paths = []string{oldRoot + filepath.Clean(pattern)}
		}
		for _, path := range paths {
			path = strings.TrimPrefix(path, oldRoot)
			if inOwned(path) || slices.ContainsFunc(shown, func(dir string) bool { return within(path, dir) }) {
				continue
			}
			if err := show(path); err != nil {
				return fmt.Errorf("show %s: %w", path, err)
			}
			shown = append(shown, path)
		}
	}
	if err := makeDev(); err != nil {
		return err
	}
	for _, m := range inMemory {
		if err := os.MkdirAll(newRoot+m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("corbel", newRoot+m.target, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	if err := showResolver(shown); err != nil {
		return err
	}
	for _, path := range hidden {
		if inOwned(path) {
			continue
		}
		if err := hide(path); err != nil {
			return fmt.Errorf("hide %s: %w", path, err)
		}
	}
	if err := makeProc(); err != nil {
		return err
	}
	dirs := []string{"/codebuild/readonly", "/var/cache", "/var/lib", "/var/log"}
	for _, dir := range owned {
		dirs = append(dirs, dir.target)
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(newRoot+dir, 0o755); err != nil {
			return err
		}
	}
	return os.Symlink("/run", newRoot+"/var/run")
}

func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}

// inOwned tells whether a path is in a directory of the build's own, and so can be
// shown or hidden only when that is there.
func inOwned(path string) bool {
	for _, d := range owned {
		if within(path, d.target) {
			return true
		}
	}
	return false
}

// show makes a file or directory of the host visible, read-only; a link stays
// the link it is. What the host does not have is left out.
func show(path string) error {
	info, err := os.Lstat(oldRoot + path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(newRoot+filepath.Dir(path), 0o755); err != nil {
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(oldRoot + path)
		if err != nil {
			return err
		}
		return os.Symlink(to, newRoot+path)
	case info.IsDir():
		err = os.Mkdir(newRoot+path, 0o755)
	default:
		err = os.WriteFile(newRoot+path, nil, 0o644)
	}
	if err != nil {
		return err
	}
	return bind(oldRoot+path, newRoot+path, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
}

// bind shows from at to with all that is mounted below, since the kernel does not
// let a user namespace look under a mount that it did not make.
func bind(from, to string, attributes uint64) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	attr := unix.MountAttr{Attr_set: attributes, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(unix.AT_FDCWD, to, unix.AT_RECURSIVE, &attr); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}

// showResolver shows what /etc/resolv.conf points to, often in /run.
func showResolver(shown []string) error {
	to, err := os.Readlink(oldRoot + "/etc/resolv.conf")
	if err != nil {
		to = "" // a file, or none
	}
	if !filepath.IsAbs(to) {
		to = filepath.Join("/etc", to)
	}
	if slices.ContainsFunc(shown, func(dir string) bool { return within(to, dir) }) {
		return nil
	}
	if info, err := os.Stat(oldRoot + to); err != nil || !info.Mode().IsRegular() {
		return nil //nolint:nilerr // a dangling link on the host dangles here too
	}
	if err := show(to); err != nil {
		return fmt.Errorf("show %s: %w", to, err)
	}
	return nil
}

// hide covers a path of the host that a shown directory contains.
func hide(path string) error {
	info, err := os.Stat(newRoot + path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		return unix.Mount("hidden", newRoot+path, "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "mode=0555,size=4k")
	}
	return unix.Mount(oldRoot+"/dev/null", newRoot+path, "", unix.MS_BIND, "")
}

// makeProc mounts /proc of the new pid namespace. The kernel guards what is about
// the whole machine by user id; here it is out of reach for every id.
func makeProc() error {
	proc := newRoot + "/proc"
	if err := os.Mkdir(proc, 0o555); err != nil {
		return err
	}
	if err := unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	for _, name := range []string{"/bus", "/fs", "/irq", "/sys", "/sysrq-trigger"} {
		if _, err := os.Stat(proc + name); err != nil {
			continue // a kernel without it
		}
		if err := bind(proc+name, proc+name, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC); err != nil {
			return fmt.Errorf("make /proc%s read-only: %w", name, err)
		}
	}
	for _, name := range []string{"/kcore", "/keys", "/timer_list"} {
		if err := hide("/proc" + name); err != nil {
			return fmt.Errorf("hide /proc%s: %w", name, err)
		}
	}
	return nil
}

func makeDev() error {
	dev := newRoot + "/dev"
	if err := os.Mkdir(dev, 0o755); err != nil {
		return err
	}
	for _, name := range devices {
		if err := os.WriteFile(dev+"/"+name, nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount(oldRoot+"/dev/"+name, dev+"/"+name, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind /dev/%s: %w", name, err)
		}
	}
	for name, to := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(to, dev+"/"+name); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dev+"/pts", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("devpts", dev+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return fmt.Errorf("mount /dev/pts: %w", err)
	}
	return nil
}

// attach makes a directory of the host appear at the path to. As root the server
// has made a detached mount of it, since this process may not be able to walk
// there; else fd is -1 and this process has the server's rights.
func attach(fd int, dir, to string) error {
	if fd >= 0 {
		defer unix.Close(fd)
		if err := unix.MoveMount(fd, "", unix.AT_FDCWD, to, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("move_mount: %w", err)
		}
		return nil
	}
	return bind(oldRoot+dir, to, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
}

// startRoot is the second step: the directories that the build may write.
func startRoot(fd int, dir string, readOnly, hidden []string) error {
	if err := attach(fd, dir, ownDir); err != nil {
		return fmt.Errorf("attach the build's directory: %w", err)
	}
	for _, d := range owned {
		from := ownDir + "/" + d.name
		if err := os.Mkdir(from, d.mode); err != nil {
			return err
		}
		// The copy has the attributes that ownDir was given.
		if err := unix.Mount(from, newRoot+d.target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", d.target, err)
		}
	}
	for _, path := range readOnly {
		if !inOwned(path) {
			continue
		}
		if err := show(filepath.Clean(path)); err != nil {
			return fmt.Errorf("show %s: %w", path, err)
		}
	}
	for _, path := range hidden {
		if !inOwned(path) {
			continue
		}
		if err := hide(path); err != nil {
			return fmt.Errorf("hide %s: %w", path, err)
		}
	}
	// Scripts and the state of shells change with every command: not on the disk.
	scripts := newRoot + "/codebuild/output/tmp"
	if err := os.Mkdir(scripts, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("scripts", scripts, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64m"); err != nil {
		return fmt.Errorf("mount %s: %w", "/codebuild/output/tmp", err)
	}
	return nil
}

// placeTree shows tree number n at target, writable, by an overlay or a copy.
func placeTree(fd int, dir, target string, n int, copying bool) (string, error) {
	lower := trees + "/" + strconv.Itoa(n)
	if err := os.Mkdir(lower, 0o755); err != nil {
		return "", err
	}
	if err := attach(fd, dir, lower); err != nil {
		return "", fmt.Errorf("attach %s: %w", dir, err)
	}
	root, err := os.OpenRoot(newRoot)
	if err != nil {
		return "", err
	}
	defer root.Close()
	inside := strings.TrimPrefix(filepath.Clean(target), "/")
	if err := root.MkdirAll(inside, 0o755); err != nil {
		return "", fmt.Errorf("make target %s: %w", target, err)
	}
	at, err := root.Open(inside)
	if err != nil {
		return "", fmt.Errorf("open target %s: %w", target, err)
	}
	defer at.Close()
	mountPoint := fmt.Sprintf("%s/proc/self/fd/%d", oldRoot, at.Fd())

	var info unix.Stat_t
	if err := unix.Stat(lower, &info); err != nil {
		return "", err
	}
	upper := fmt.Sprintf("%s/tree-%d", ownDir, n)
	work := upper + "-work"
	// The top directory of an overlay has the mode of the upper one.
	if err := os.Mkdir(upper, os.FileMode(info.Mode&0o777)|0o700); err != nil {
		return "", err
	}
	if !copying {
		if err := os.Mkdir(work, 0o700); err != nil {
			return "", err
		}
		err = unix.Mount("overlay", mountPoint, "overlay", unix.MS_NOSUID|unix.MS_NODEV,
			"userxattr,lowerdir="+lower+",upperdir="+upper+",workdir="+work)
		if err == nil {
			return "overlay", nil
		}
		// A kernel before 5.11, or a file system that cannot be an upper layer,
		// such as an overlay itself.
	}
	if err := copyTree(lower, upper); err != nil {
		return "", fmt.Errorf("copy %s: %w", dir, err)
	}
	if err := unix.Mount(upper, mountPoint, "", unix.MS_BIND, ""); err != nil {
		return "", fmt.Errorf("bind copy at %s: %w", target, err)
	}
	return "copy", nil
}

// putFile writes a file and covers it with a read-only mount of itself, so that
// the build can neither change nor remove it, wherever it is.
func putFile(path string, data []byte) error {
	root, err := os.OpenRoot(newRoot)
	if err != nil {
		return err
	}
	defer root.Close()
	inside := strings.TrimPrefix(filepath.Clean(path), "/")
	if err := root.MkdirAll(filepath.Dir(inside), 0o755); err != nil {
		return err
	}
	if err := root.WriteFile(inside, data, 0o444); err != nil {
		return err
	}
	file, err := root.Open(inside)
	if err != nil {
		return err
	}
	defer file.Close()
	mount, err := unix.OpenTree(int(file.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer unix.Close(mount)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	err = unix.MoveMount(mount, "", int(file.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}

// sealRoot is the last step: only newRoot is left, and it is "/".
func sealRoot() error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, newRoot, 0, &attr); err != nil {
		return fmt.Errorf("make root read-only: %w", err)
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach the host: %w", err)
	}
	return os.Chdir("/")
}

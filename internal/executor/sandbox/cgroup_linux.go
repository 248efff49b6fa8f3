package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/corbel-build/corbel/internal/executor"
	"golang.org/x/sys/unix"
)

// controllers are the cgroup controllers that limits need.
var controllers = []string{"memory", "pids", "cpu"}

// cgroups are the places where this machine lets us make groups. Both versions
// can be in use at the same time, one controller here and another there.
type cgroups struct {
	base map[string]string // directory "corbel" by controller; no entry where we may not
	v2   map[string]bool   // by controller
}

// findCgroups looks for controllers below the group of this process and makes
// the directory "corbel" there. What cannot be used is left out.
// Source: cgroups(7), proc_pid_cgroup(5), proc_pid_mountinfo(5).
func findCgroups(procSelf string) cgroups {
	c := cgroups{base: map[string]string{}, v2: map[string]bool{}}
	own := ownGroups(procSelf)
	for _, m := range cgroupMounts(procSelf) {
		for _, name := range controllers {
			group, ok := own[""]
			if !m.v2 {
				if group, ok = own[name]; !slices.Contains(m.options, name) {
					continue
				}
			}
			if _, done := c.base[name]; done || !ok {
				continue
			}
			// Inside a container the mount shows a part of the tree only.
			inside, ok := strings.CutPrefix(group, strings.TrimSuffix(m.root, "/"))
			if !ok {
				inside = ""
			}
			parent := filepath.Join(m.point, inside)
			if m.v2 {
				parent = enableV2(parent, name)
			}
			if parent == "" {
				continue
			}
			base := filepath.Join(parent, "corbel")
			if usable(base, name, m.v2) {
				c.base[name], c.v2[name] = base, m.v2
			}
		}
	}
	return c
}

// ownGroups are the groups of this process by controller; "" is version 2.
func ownGroups(procSelf string) map[string]string {
	groups := map[string]string{}
	data, _ := os.ReadFile(filepath.Join(procSelf, "cgroup")) // none: no groups
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		for name := range strings.SplitSeq(f[1], ",") {
			groups[name] = f[2]
		}
	}
	return groups
}

type cgroupMount struct {
	root, point string
	v2          bool
	options     []string
}

func cgroupMounts(procSelf string) []cgroupMount {
	file, err := os.Open(filepath.Join(procSelf, "mountinfo"))
	if err != nil {
		return nil
	}
	defer file.Close()
	var mounts []cgroupMount
	for lines := bufio.NewScanner(file); lines.Scan(); {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		if right[0] == "cgroup" || right[0] == "cgroup2" {
			mounts = append(mounts, cgroupMount{left[3], left[4], right[0] == "cgroup2", strings.Split(right[2], ",")})
		}
	}
	return mounts
}

// enableV2 hands a controller down to the children of parent and returns the
// group to build in, or "". A group with processes may not have children with
// controllers (cgroup v2, "No Internal Process Constraint"), so this process may
// have to move to a group beside the builds first.
func enableV2(parent, controller string) string {
	const ours = "corbel-server"
	if filepath.Base(parent) == ours {
		parent = filepath.Dir(parent)
	}
	if !has(filepath.Join(parent, "cgroup.controllers"), controller) {
		return ""
	}
	handDown := func(dir string) error {
		file := filepath.Join(dir, "cgroup.subtree_control")
		if has(file, controller) {
			return nil
		}
		return os.WriteFile(file, []byte("+"+controller), 0o644)
	}
	err := handDown(parent)
	if errors.Is(err, unix.EBUSY) {
		aside := filepath.Join(parent, ours)
		if err = os.Mkdir(aside, 0o755); err == nil || errors.Is(err, fs.ErrExist) {
			if err = os.WriteFile(filepath.Join(aside, "cgroup.procs"), []byte("0"), 0o644); err == nil {
				err = handDown(parent)
			}
		}
	}
	if err != nil {
		return ""
	}
	base := filepath.Join(parent, "corbel")
	if err := os.Mkdir(base, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return ""
	}
	if handDown(base) != nil {
		return ""
	}
	return parent
}

// has tells whether a file holds a word.
func has(file, word string) bool {
	data, err := os.ReadFile(file)
	return err == nil && slices.Contains(strings.Fields(string(data)), word)
}

// usable tries whether groups with this controller can be made in base.
func usable(base, controller string, v2 bool) bool {
	if err := os.MkdirAll(base, 0o755); err != nil {
		return false
	}
	probe, err := os.MkdirTemp(base, "probe-")
	if err != nil {
		return false
	}
	defer os.Remove(probe)
	file := map[string]string{"memory": "memory.limit_in_bytes", "pids": "pids.max", "cpu": "cpu.cfs_quota_us"}[controller]
	if v2 {
		file = controller + ".max"
	}
	return unix.Access(filepath.Join(probe, file), unix.W_OK) == nil
}

// words says which limits are in force, for Traits.
func (c cgroups) words() (inForce, missing []string) {
	names := map[string]string{"memory": "memory", "pids": "process", "cpu": "processor"}
	for _, name := range controllers {
		switch {
		case c.base[name] == "":
			missing = append(missing, names[name]+" limit of the whole build (cgroups not writable)")
		case c.v2[name]:
			inForce = append(inForce, names[name]+" limit (cgroup v2)")
		default:
			inForce = append(inForce, names[name]+" limit (cgroup v1)")
		}
	}
	return inForce, missing
}

// dirs are the distinct directories of c.
func (c cgroups) dirs() []string {
	var dirs []string
	for _, dir := range c.base {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// sweep removes groups that a server left behind when it was killed. A group in
// use has a lock, which the kernel releases with the server.
func (c cgroups) sweep() {
	for _, base := range c.dirs() {
		entries, _ := os.ReadDir(base)
		for _, entry := range entries {
			if !entry.IsDir() {
				continue
			}
			dir := filepath.Join(base, entry.Name())
			if lock, err := lockDir(dir); err == nil {
				_ = os.Remove(dir)
				lock.Close()
			}
		}
	}
}

// lockDir locks a directory for as long as the result is open.
func lockDir(dir string) (*os.File, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// A group is the cgroups of one build.
type group struct {
	dirs    []string
	locks   []*os.File
	entries []*os.File // files to enter by, open until init has them
	tasks   int        // how many of entries, the first ones, are of version 1
	oom     string     // the file that counts processes ended for memory, or ""
}

// create makes the groups of a build with its limits.
func (c cgroups) create(build string, limits executor.Limits) (*group, error) {
	g := &group{}
	// Version 1 first, as init expects the files.
	for _, v2 := range []bool{false, true} {
		for _, base := range c.dirs() {
			if c.isV2(base) != v2 {
				continue
			}
			file := "tasks"
			if v2 {
				file = "cgroup.procs"
			}
			entry, err := g.add(filepath.Join(base, build), file)
			if err != nil {
				g.remove()
				return nil, fmt.Errorf("make cgroup of build %s: %w", build, err)
			}
			g.entries = append(g.entries, entry)
			if !v2 {
				g.tasks++
			}
		}
	}
	if err := c.limit(g, build, limits); err != nil {
		g.remove()
		return nil, fmt.Errorf("limit cgroup of build %s: %w", build, err)
	}
	return g, nil
}

func (c cgroups) isV2(base string) bool {
	for name, dir := range c.base {
		if dir == base {
			return c.v2[name]
		}
	}
	return false
}

// add makes one group and opens the file through which processes enter it.
func (g *group) add(dir, entry string) (*os.File, error) {
	// A sweep of another server can remove the directory before it is locked.
	var err error
	for range 5 {
		err = os.Mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) {
			stale, locked := lockDir(dir)
			if locked != nil {
				return nil, fmt.Errorf("%s is in use: %w", dir, err)
			}
			err = os.Remove(dir) // left behind by a server that was killed
			stale.Close()
			if err == nil {
				continue
			}
			return nil, err
		}
		if err != nil {
			return nil, err
		}
		var lock, file *os.File
		if lock, err = lockDir(dir); err != nil {
			continue
		}
		if file, err = os.OpenFile(filepath.Join(dir, entry), os.O_WRONLY, 0); err != nil {
			lock.Close()
			continue
		}
		g.dirs = append(g.dirs, dir)
		g.locks = append(g.locks, lock)
		return file, nil
	}
	return nil, err
}

func (c cgroups) limit(g *group, build string, limits executor.Limits) error {
	set := func(controller, file, value string) error {
		return os.WriteFile(filepath.Join(c.base[controller], build, file), []byte(value), 0o644)
	}
	if c.base["memory"] != "" {
		bytes := strconv.FormatInt(limits.MemoryBytes, 10)
		dir := filepath.Join(c.base["memory"], build)
		var err error
		if c.v2["memory"] {
			g.oom = filepath.Join(dir, "memory.events")
			err = set("memory", "memory.max", bytes)
			_ = set("memory", "memory.swap.max", "0") // absent without swap accounting
		} else {
			g.oom = filepath.Join(dir, "memory.oom_control")
			err = set("memory", "memory.limit_in_bytes", bytes)
			_ = set("memory", "memory.memsw.limit_in_bytes", bytes) // likewise
		}
		if err != nil {
			return err
		}
	}
	if c.base["pids"] != "" {
		if err := set("pids", "pids.max", strconv.Itoa(limits.Processes)); err != nil {
			return err
		}
	}
	if c.base["cpu"] != "" && limits.CPUs > 0 {
		const period = 100_000 // µs, the kernel's default
		quota := strconv.Itoa(int(limits.CPUs * period))
		if c.v2["cpu"] {
			return set("cpu", "cpu.max", quota+" "+strconv.Itoa(period))
		}
		return set("cpu", "cpu.cfs_quota_us", quota)
	}
	return nil
}

// oomKills counts the processes that the kernel has ended because the group was
// at its memory limit.
func (g *group) oomKills() int {
	if g == nil || g.oom == "" {
		return 0
	}
	data, _ := os.ReadFile(g.oom)
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(value))
			return n
		}
	}
	return 0
}

// remove removes the groups, whose processes have been killed. The kernel may
// need a moment to forget the last of them.
func (g *group) remove() {
	if g == nil {
		return
	}
	g.closeEntries()
	for n, dir := range g.dirs {
		for wait := time.Millisecond; os.Remove(dir) != nil && wait < time.Second; wait *= 2 {
			time.Sleep(wait)
		}
		g.locks[n].Close()
	}
	g.dirs, g.locks = nil, nil
}

func (g *group) closeEntries() {
	for _, file := range g.entries {
		file.Close()
	}
	g.entries = nil
}

package sandbox

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/internal/executor"
)

// write makes a file with its directories.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// Version 2 by a directory that looks like it: the machine on which this was
// written has no controllers there. It shows where things are written, not that
// the kernel takes them.
func TestCgroupV2_FakeDirectory(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	proc := filepath.Join(root, "proc")
	fs := filepath.Join(root, "cgroup")
	service := filepath.Join(fs, "system.slice/corbel.service")
	write(t, proc+"/cgroup", "0::/system.slice/corbel.service\n")
	write(t, proc+"/mountinfo", "35 31 0:32 / "+fs+" rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n")
	write(t, service+"/cgroup.controllers", "cpuset cpu io memory pids\n")
	write(t, service+"/cgroup.subtree_control", "cpu memory pids\n")
	write(t, service+"/corbel/cgroup.subtree_control", "cpu memory pids\n")

	// The kernel makes these files with the directory; here a probe has none.
	if c := findCgroups(proc); len(c.base) != 0 {
		t.Errorf("controllers without their files: %v", c.base)
	}
	base := service + "/corbel"
	c := cgroups{
		base: map[string]string{"memory": base, "pids": base, "cpu": base},
		v2:   map[string]bool{"memory": true, "pids": true, "cpu": true},
	}
	write(t, base+"/b1/memory.events", "low 0\nhigh 0\nmax 4\noom 2\noom_kill 2\noom_group_kill 0\n")
	g := &group{dirs: []string{base + "/b1"}}
	limits := executor.Limits{MemoryBytes: 64 << 20, Processes: 30, CPUs: 1.5}
	if err := c.limit(g, "b1", limits); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, file := range []string{"memory.max", "memory.swap.max", "pids.max", "cpu.max"} {
		got[file] = read(t, base+"/b1/"+file)
	}
	want := map[string]string{"memory.max": "67108864", "memory.swap.max": "0", "pids.max": "30", "cpu.max": "150000 100000"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	if n := g.oomKills(); n != 2 {
		t.Errorf("oomKills = %d, want 2", n)
	}
	if inForce, missing := c.words(); len(inForce) != 3 || len(missing) != 0 {
		t.Errorf("words = %q, %q", inForce, missing)
	}
}

func TestEnableV2(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, controllers, handed string
		want                      bool
	}{
		{"handed down already", "memory pids", "memory pids", true},
		{"to be handed down", "memory pids", "", true},
		{"not ours", "pids", "", false},
	} {
		dir := filepath.Join(t.TempDir(), "service")
		write(t, dir+"/cgroup.controllers", c.controllers)
		write(t, dir+"/cgroup.subtree_control", c.handed)
		write(t, dir+"/corbel/cgroup.subtree_control", c.handed)
		if got := enableV2(dir, "memory"); (got == dir) != c.want {
			t.Errorf("%s: enableV2 = %q, want it to succeed: %v", c.name, got, c.want)
		}
		// Started again, the server is in the group that it made for itself.
		if got := enableV2(dir+"/corbel-server", "memory"); c.want && got != dir {
			t.Errorf("%s: enableV2 from the server's group = %q, want %q", c.name, got, dir)
		}
	}
}

func TestCgroupMounts(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	write(t, proc+"/mountinfo", `24 1 0:21 / /proc rw - proc proc rw
31 24 0:28 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct
32 24 0:29 / /sys/fs/cgroup/memory rw shared:3 - cgroup cgroup rw,memory
33 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
broken
`)
	write(t, proc+"/cgroup", "9:name=systemd:/\n4:memory:/a:b\n1:cpu,cpuacct:/docker/abc\n0::/x\n")
	want := []cgroupMount{
		{"/docker/abc", "/sys/fs/cgroup/cpu,cpuacct", false, []string{"rw", "cpu", "cpuacct"}},
		{"/", "/sys/fs/cgroup/memory", false, []string{"rw", "memory"}},
		{"/", "/sys/fs/cgroup/unified", true, []string{"rw"}},
	}
	if diff := cmp.Diff(want, cgroupMounts(proc), cmp.AllowUnexported(cgroupMount{})); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	groups := map[string]string{"name=systemd": "/", "memory": "/a:b", "cpu": "/docker/abc", "cpuacct": "/docker/abc", "": "/x"}
	if diff := cmp.Diff(groups, ownGroups(proc)); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// Limits on this machine, as the kernel shows them.
func TestCgroup_Limits(t *testing.T) {
	t.Parallel()
	s := open(t, Config{Limits: executor.Limits{CPUs: 1.5}})
	if len(s.cgroups.base) == 0 {
		t.Skip("cgroups are not writable here")
	}
	spec := newSpec(t)
	spec.Limits = executor.Limits{MemoryBytes: 96 << 20, Processes: 40}
	e := startIn(t, s, spec)
	got, _ := run(t, e, "cat /proc/self/cgroup")
	for _, name := range controllers {
		base := s.cgroups.base[name]
		if base == "" {
			continue
		}
		if !strings.Contains(got, "/corbel/"+spec.Build) {
			t.Errorf("groups of the build: %q", got)
		}
		file, want := map[string][2]string{
			"memory": {"memory.limit_in_bytes", "100663296"},
			"pids":   {"pids.max", "40"},
			"cpu":    {"cpu.cfs_quota_us", "150000"},
		}[name][0], map[string]string{"memory": "100663296", "pids": "40", "cpu": "150000"}[name]
		if s.cgroups.v2[name] {
			file = name + ".max"
		}
		if value := read(t, filepath.Join(base, spec.Build, file)); !slices.Contains(strings.Fields(value), want) {
			t.Errorf("%s = %q, want %q", file, value, want)
		}
	}
}

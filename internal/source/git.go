package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settings is the configuration of every git process, beside the fixed one of
// the repository it works on. There is no other: files of system and user are
// not read.
var settings = [][2]string{
	{"core.hooksPath", "/dev/null"},
	{"core.fsmonitor", "false"},
	{"core.protectNTFS", "true"},
	{"core.protectHFS", "true"},
	{"core.logAllRefUpdates", "false"}, // reflogs would name this machine
	{"core.fsync", "pack,pack-metadata"},
	{"credential.helper", ""},
	{"credential.interactive", "false"},
	{"http.followRedirects", "false"},
	{"http.lowSpeedLimit", "1000"},
	{"http.lowSpeedTime", "30"},
	{"protocol.version", "2"},
	{"protocol.allow", "never"},
	{"protocol.http.allow", "always"}, // of the proxy
	{"transfer.fsckObjects", "true"},
	{"fetch.fsckObjects", "true"},
	{"transfer.unpackLimit", "1"}, // packs only: a tree links few files
	{"transfer.bundleURI", "false"},
	{"transfer.credentialsInUrl", "die"},
	{"fetch.recurseSubmodules", "false"},
	{"submodule.recurse", "false"},
	{"gc.auto", "0"},
	{"maintenance.auto", "false"},
	{"safe.bareRepository", "explicit"},
	{"advice.detachedHead", "false"},
}

// environment is the exact environment of a git process. Nothing of the
// server's own goes into it: no proxies, no trust store, no trace file.
func environment(git string, extra ...[2]string) []string {
	env := []string{
		"PATH=" + filepath.Dir(git) + ":/usr/bin:/bin",
		"HOME=/nonexistent",
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_ASKPASS=/bin/false",
		"SSH_ASKPASS=/bin/false",
		"GIT_ALLOW_PROTOCOL=http",
		"GIT_PROTOCOL_FROM_USER=0",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_NO_LAZY_FETCH=1",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_LITERAL_PATHSPECS=1",
		"GIT_LFS_SKIP_SMUDGE=1",
		"GCM_INTERACTIVE=Never",
	}
	n := 0
	for _, list := range [][][2]string{settings, extra} {
		for _, kv := range list {
			env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", n, kv[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", n, kv[1]))
			n++
		}
	}
	return append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(n))
}

// A command is one call of git.
type command struct {
	dir    string      // where it runs and may write, absolute
	bare   bool        // dir is a bare repository; else a work tree with .git
	config [][2]string // beside settings
	stdin  io.Reader   // nil is empty
	args   []string
}

// gitError is a git process that failed by itself.
type gitError struct {
	command string
	stderr  string
	err     error
}

func (e *gitError) Error() string {
	return fmt.Sprintf("git %s: %v: %s", e.command, e.err, printable(e.words()))
}

func (e *gitError) Unwrap() error { return e.err }

// words is what git itself had to say, without what it repeats of the host.
func (e *gitError) words() string {
	var kept []string
	for line := range strings.Lines(e.stderr) {
		line = strings.TrimSpace(line)
		if line == "" || strings.Contains(line, "remote") || strings.Contains(line, "http://") {
			continue
		}
		kept = append(kept, line)
	}
	if len(kept) == 0 {
		return "it gave no reason"
	}
	return strings.Join(kept[max(0, len(kept)-3):], "; ")
}

// maxOutput bounds what is kept of a git process's output, in bytes. The
// largest is the list of submodules.
const maxOutput = 1 << 20

// run calls git and returns its standard output. It is killed, with all that
// it started, when ctx ends.
func (f *Fetcher) run(ctx context.Context, c command) ([]byte, error) {
	cmd := exec.CommandContext(ctx, f.git, c.args...)
	cmd.Dir = c.dir
	cmd.Env = environment(f.git, c.config...)
	if c.bare {
		cmd.Env = append(cmd.Env, "GIT_DIR=.")
	} else {
		cmd.Env = append(cmd.Env, "GIT_DIR=.git", "GIT_WORK_TREE=.")
	}
	stdout, stderr := &head{left: maxOutput}, &head{left: 16 << 10}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.stdin, stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if f.foreign {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(f.config.UID), Gid: uint32(f.config.GID)}
	}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	cmd.WaitDelay = 5 * time.Second
	if f.config.Confine != nil {
		f.config.Confine(cmd, c.dir)
	}
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, &gitError{c.args[0], stderr.String(), err}
	case stdout.left < 0:
		return nil, &gitError{c.args[0], "", errors.New("too much output")}
	}
	return stdout.Bytes(), nil
}

// head keeps the beginning of what is written to it.
type head struct {
	bytes.Buffer
	left int // below 0: something was dropped
}

func (h *head) Write(p []byte) (int, error) {
	keep := min(len(p), max(h.left, 0))
	h.left -= len(p)
	h.Buffer.Write(p[:keep])
	return len(p), nil
}

// checkGit refuses a git that does not have the security fixes of July 2025
// (2.43.7, 2.44.4, 2.45.4, 2.46.4, 2.47.3, 2.48.2, 2.49.1, 2.50.1). Distributions
// carry them under older numbers, so git is asked for the fix of CVE-2025-48384:
// a value that ends in CR is written in quotes.
// Source: release notes of git 2.43.7.
func (f *Fetcher) checkGit(ctx context.Context) error {
	out, err := f.run(ctx, command{dir: f.dir("tmp"), args: []string{"version"}})
	if errors.Is(err, fs.ErrPermission) && f.foreign {
		return fmt.Errorf("user %d must be able to pass through the directories above %s: %w", f.config.UID, f.config.Dir, err)
	} else if err != nil {
		return fmt.Errorf("ask %s for its version: %w", f.git, err)
	}
	f.version = strings.TrimPrefix(strings.TrimSpace(string(out)), "git version ")
	var major, minor int
	if _, err := fmt.Sscanf(f.version, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("%s says that its version is %s", f.git, printable(f.version))
	}
	if major < 2 || major == 2 && minor < 38 {
		return fmt.Errorf("git %s is too old: install 2.43.7, 2.50.1 or later, or what your distribution has as a security update", printable(f.version))
	}
	dir, err := f.temp()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := f.run(ctx, command{dir: dir, args: []string{"config", "--file", "probe", "a.b", "c\r"}}); err != nil {
		return fmt.Errorf("try git: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "probe"))
	if err != nil {
		return fmt.Errorf("try git: %w", err)
	}
	if !bytes.Contains(text, []byte("\"c\r\"")) {
		return fmt.Errorf("git %s lacks the fix of CVE-2025-48384, with which a repository can run programs: install git 2.43.7, 2.50.1 or later, or what your distribution has as a security update", printable(f.version))
	}
	return nil
}

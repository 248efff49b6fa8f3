//go:build !linux

package sandbox

import (
	"context"
	"errors"
	"os"
	"os/exec"

	"github.com/corbel-build/corbel/internal/executor"
)

// Config says how environments are made, on Linux.
type Config struct {
	ReadOnly []string
	Hidden   []string
	Network  string
	BaseID   int
	Limits   executor.Limits
}

// A Sandbox needs Linux. New makes none elsewhere.
type Sandbox struct{ executor.Executor }

// Main does nothing but on Linux.
func Main() {}

// New returns an error: namespaces are Linux's.
func New(context.Context, Config) (*Sandbox, error) {
	return nil, errors.New("sandbox: the embedded executor needs Linux; use another executor on this system")
}

// FileOwner is the user of this process.
func (s *Sandbox) FileOwner() (uid, gid int) { return os.Getuid(), os.Getgid() }

// Confine makes cmd fail.
func (s *Sandbox) Confine(cmd *exec.Cmd, _ ...string) {
	cmd.Err = errors.New("sandbox: cannot confine a command on this system")
}

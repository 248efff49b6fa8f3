// Package executor is the seam between a build and the machine it runs on.
//
// An Executor makes Environments. An Environment is a small private machine for
// the commands of exactly one build: its own processes, its own files, and one
// shell that lives as long as the build does.
//
//	env, err := ex.Start(ctx, executor.Spec{Build: id, Dir: dir, WorkDir: "/codebuild/output/src"})
//	defer env.Close()
//	err = env.Place(ctx, executor.Tree{Dir: checkout, Target: "/codebuild/output/src"})
//	status, err := env.Run(ctx, executor.Command{Script: "make"}, log)
//
// # One shell
//
// Buildspec version 0.2 runs all commands of a build in the same instance of
// the shell (user guide, "Buildspec versions"). So the working directory,
// exported and plain variables, functions and everything else that a shell
// remembers go on from one Run to the next. A command that ends the shell
// (exit, or a failure under set -e) gives its status to Run; the next Run then
// has a new shell with the exported variables and the working directory of
// the old one, and nothing else.
//
// # Statuses and errors
//
// A command that fails is not an error: Run returns its status, 1 to 255, with
// 126 and 127 for a command that cannot be run or found, and 128+n for one that
// signal n ended. An error means that the command could not be run to its end.
// There is one exception, ErrOutOfMemory, which comes together with the status.
//
// Output of a command is data: nothing in it is ever interpreted.
//
// executortest.Run defines the contract; every adapter passes it.
package executor

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
)

// ErrDead means that the environment is gone: killed, or ended by a failure of
// the machine. Every later call returns it too. The text says why, if known.
var ErrDead = errors.New("build environment died")

// ErrOutOfMemory means that the kernel ended a process of the build because the
// build reached its memory limit. Run returns it together with the status of a
// command that failed for this reason; the environment can be used further
// unless the error is ErrDead as well.
var ErrOutOfMemory = errors.New("out of memory")

// An Executor makes environments in which the commands of builds run.
//
// Implementations are safe for concurrent use. Nothing written in one
// environment is visible in another, nor on the host outside Spec.Dir.
type Executor interface {
	// Start makes an environment: the PROVISIONING of a build. It returns when
	// Place, Put and Run can be called. ctx bounds the call, not the life of
	// the environment, which ends with Close or with the calling process,
	// however that ends.
	Start(ctx context.Context, spec Spec) (Environment, error)

	// Traits says what keeps builds apart and within limits on this machine.
	// It does not change while the executor lives.
	Traits() Traits

	// Close releases what the executor keeps for itself. Environments are the
	// caller's: close them first. Close may be called twice.
	Close() error
}

// An Environment runs the commands of one build. Its methods may be called from
// any goroutine; Run, Place and Put wait for each other, Close waits for none. If
// ctx ends during Place or Put, the environment may be dead.
type Environment interface {
	// Place shows the directory tree.Dir of the host at tree.Target, which is
	// made if it does not exist. The build may write there, and nothing that it
	// writes reaches tree.Dir. The caller leaves tree.Dir unchanged until Close.
	// Only before the first Run.
	Place(ctx context.Context, tree Tree) error

	// Put writes a small file that the build can read and not change, such as
	// /codebuild/readonly/buildspec.yml. Directories of path are made.
	// Only before the first Run.
	Put(ctx context.Context, path string, data []byte) error

	// Run gives command.Script to the shell of the build and returns the exit
	// status of its last command. Standard output and standard error go to out
	// as one stream, in order, with no two calls of Write at the same time and
	// none after Run returned. Everything that the script itself wrote has then
	// been delivered. Standard input is empty. Processes that the script leaves
	// in the background live on and do not hold Run up; what they write later
	// comes with a later Run.
	//
	// When ctx ends, all processes of the environment get SIGTERM and, after
	// Spec.StopGrace, SIGKILL; Run returns context.Cause(ctx) with status -1.
	// Later Runs work as after exit. If out fails, the script runs to its end
	// and Run returns the error with the status.
	Run(ctx context.Context, command Command, out io.Writer) (status int, err error)

	// Close kills every process of the environment, at once and without
	// exception, and unmounts what was mounted. What is left in Spec.Dir can be
	// removed by the caller. It may be called at any time, also during Run,
	// which then returns ErrDead, and more than once.
	Close() error
}

// A Spec describes an environment.
type Spec struct {
	// Build names the environment on the host, for example its cgroup. Letters,
	// digits, '-', '_', '.' and ':', 1 to 200; unique among running builds.
	Build string

	// Dir is an existing directory on the host that belongs to this environment
	// alone and holds what the build writes. An absolute path. The caller
	// removes it after Close.
	Dir string

	// Env is the exact environment of the first shell, as KEY=value.
	Env []string

	// WorkDir is where the first shell starts, made if it does not exist.
	// Default: /codebuild/output.
	WorkDir string

	// Shell is "sh" or "bash". Default: sh.
	Shell string

	// User is who a command runs as if it names nobody. Default: root, which
	// is the environment's own and has no rights on the host.
	User string

	// Limits bound the environment. A zero means the executor's default.
	Limits Limits

	// StopGrace is the time from SIGTERM to SIGKILL when a Run is cancelled.
	// Default: 5 s.
	StopGrace time.Duration
}

// Limits bound what one environment takes from the machine. Where the machine
// cannot enforce one for the environment as a whole, Traits says so.
type Limits struct {
	MemoryBytes int64   // memory of all processes together, with tmpfs files
	Processes   int     // processes and threads at one time
	CPUs        float64 // processor time per time, 1.5 is one and a half cores
	FileBytes   int64   // the largest single file
	OpenFiles   int     // open files of one process
}

// A Tree is a directory of the host shown at a place in the environment.
type Tree struct {
	Dir    string // on the host, absolute; owned as the executor wants it
	Target string // in the environment, below /codebuild/output
}

// A Command is what Run gives to the shell.
type Command struct {
	// Script is any number of lines. They run as one sourced file, and the
	// status of the last one counts, unless the script says set -e.
	Script string

	// User overrides Spec.User (run-as of the buildspec). Each user has a shell
	// of their own, so variables of one are not seen by another.
	User string

	// Shell overrides Spec.Shell: "sh" or "bash". A user has one shell; asked for
	// the other kind, it begins anew: name the same one in every command.
	Shell string

	// Env is exported in the shell before the script runs, as KEY=value, and
	// stays there. Keys are shell identifiers.
	Env []string
}

// Traits say what is in force, in words for a person and in a few facts for a
// program. They go into the server's start message and the context of a build's
// PROVISIONING phase.
type Traits struct {
	Name    string   // of the executor: "sandbox"
	InForce []string // what isolates and limits builds here, each a short phrase
	Missing []string // what this machine does not give, each a short phrase

	RunAs       bool // users other than root can be honoured
	TotalMemory bool // MemoryBytes holds for the environment, else for each process
}

// String is one line: the name, what is in force, and what is missing.
func (t Traits) String() string {
	s := t.Name + ": " + strings.Join(t.InForce, ", ")
	if len(t.Missing) > 0 {
		s += "; missing: " + strings.Join(t.Missing, ", ")
	}
	return s
}

// Command corbel is the build service and its client.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/corbel-build/corbel/internal/executor/sandbox"
)

const usage = `Corbel is a build service for your own machines that speaks the AWS CodeBuild
API.

Usage:
    corbel serve [flags]                   run the server
    corbel env [-profile NAME]             print what points the AWS CLI at it
    corbel keys create|list|delete         manage access keys
    corbel hosts list|add|remove           manage where tokens may be sent
    corbel vault status|verify|rotate|wrap manage the root keys
    corbel backup -out FILE                copy everything but the root keys
    corbel restore -in FILE                read such a copy
    corbel audit list|verify|export        read who did what
    corbel codebuild OPERATION [flags]     call an operation, as "aws codebuild" does
    corbel logs PROJECT [--follow]         print the log of a build
    corbel credentials list|check|resolve  tell about stored source credentials
    corbel webhook deliveries|who|replay|... tell what webhooks heard, and poll
    corbel version

"corbel COMMAND -h" says more about a command. "corbel codebuild help" lists
the operations, "corbel codebuild OPERATION help" the flags of one.

The client commands read what "corbel env" sets: AWS_ENDPOINT_URL_CODEBUILD,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, or a profile by
AWS_PROFILE.

Example:
    $ corbel serve &
    $ eval "$(corbel env)"
    $ corbel codebuild list-projects

Exit status: 0 done, 1 failed, 2 wrong usage; for "corbel codebuild" as the AWS
CLI has it: 252 wrong usage, 253 no configuration, 254 refused by the service,
255 anything else.
`

// A command is a verb of the program.
type command struct {
	name string
	run  func(ctx context.Context, args []string, out, errOut io.Writer) error
}

var commands = []command{
	{"serve", serve},
	{"env", env},
	{"keys", keys},
	{"hosts", hosts},
	{"vault", vaults},
	{"backup", backUp},
	{"restore", restore},
	{"audit", auditLog},
	{"codebuild", codebuild},
	{"logs", tailLogs},
	{"credentials", credentials},
	{"webhook", webhooks},
	{"version", version},
}

// A usageError is a command line that cannot be understood.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// parse reads the flags of a command. The flag package prints what is wrong and
// the usage.
func parse(flags *flag.FlagSet, args []string) error {
	err := flags.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return usageError{err.Error()}
	}
	return err
}

// A hinted error has a next step for the user.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

func main() {
	sandbox.Main() // does not return in a process that the sandbox started
	os.Exit(runCommand(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// runCommand runs one command and returns the exit status.
func runCommand(ctx context.Context, args []string, out, errOut io.Writer) int {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "--help"}, args[0]) {
		fmt.Fprint(out, usage)
		return 0
	}
	i := slices.IndexFunc(commands, func(c command) bool { return c.name == args[0] })
	if i < 0 {
		fmt.Fprintf(errOut, "corbel: error: there is no command %q\ncorbel: hint: corbel help lists the commands\n", args[0])
		return 2
	}
	err := commands[i].run(ctx, args[1:], out, errOut)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var refused serviceError
	var wrong usageError
	var hint hinted
	var status exitStatus
	isCLI := args[0] == "codebuild"
	switch {
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &refused):
		fmt.Fprintf(errOut, "\n%v\n", err)
		return 254
	}
	fmt.Fprintf(errOut, "corbel: error: %v\n", err)
	if errors.As(err, &hint) {
		fmt.Fprintf(errOut, "corbel: hint: %s\n", hint.hint)
	}
	switch {
	case errors.As(err, &wrong) && isCLI:
		return 252
	case errors.As(err, &wrong):
		return 2
	case errors.As(err, new(configError)) && isCLI:
		return 253
	case isCLI:
		return 255
	}
	return 1
}

// An exitStatus ends the program with that status and without a message.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// A configError is a client that does not know where to go or as whom.
type configError struct{ error }

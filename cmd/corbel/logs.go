package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/logs"
	"github.com/corbel-build/corbel/internal/awsjson"
	"github.com/corbel-build/corbel/internal/client"
)

const logsUsage = `Usage:
    corbel logs PROJECT [--follow] [--build BUILD_ID]

Prints the log of the project's latest build, or of the build named. With
--follow it goes on until the build has ended.

Example:
    $ corbel logs app --follow

Exit status: 0 the build succeeded, or is not finished and was not followed;
1 it did not succeed, or its log could not be read; 2 wrong usage.
`

// pollTime is the wait between questions for more of a log.
const pollTime = 250 * time.Millisecond

// tailLogs is "corbel logs".
func tailLogs(ctx context.Context, args []string, out, errOut io.Writer) error {
	fs := flag.NewFlagSet("logs", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.Usage = func() { fmt.Fprint(errOut, logsUsage) }
	var o client.Overrides
	follow := fs.Bool("follow", false, "")
	build := fs.String("build", "", "")
	fs.StringVar(&o.Endpoint, "endpoint-url", "", "")
	fs.StringVar(&o.Region, "region", "", "")
	fs.StringVar(&o.Profile, "profile", "", "")
	var operands []string
	for len(args) > 0 { // flags may come after the project
		if err := parse(fs, args); err != nil {
			return err
		}
		if args = fs.Args(); len(args) > 0 {
			operands, args = append(operands, args[0]), args[1:]
		}
	}
	if len(operands) != 1 {
		return usageError{"logs takes one project"}
	}
	c, err := client.FromEnvironment(os.Getenv, o)
	if err != nil {
		return err
	}
	if *build == "" {
		list, err := c.ListBuildsForProject(ctx, &api.ListBuildsForProjectInput{ProjectName: &operands[0]})
		if err != nil {
			return err
		}
		if len(list.Ids) == 0 {
			return fmt.Errorf("project %s has no builds", operands[0])
		}
		*build = list.Ids[0]
	}
	t := &tail{c: c, id: *build, out: out, colours: isTerminal(out)}
	return t.run(ctx, *follow)
}

// A tail prints one build's log.
type tail struct {
	c       *client.Client
	id      string
	out     io.Writer
	colours bool // out is a terminal: let colours pass, but no other control sequence
	token   *string
}

// run prints until there is nothing more, and when following until the build
// has ended as well.
func (t *tail) run(ctx context.Context, follow bool) error {
	empty := 0
	for {
		// Asked for first: what is in the log afterwards is all of it.
		got, err := t.c.BatchGetBuilds(ctx, &api.BatchGetBuildsInput{Ids: []string{t.id}})
		if err != nil {
			return err
		}
		if len(got.Builds) == 0 {
			return fmt.Errorf("build %s does not exist", t.id)
		}
		b := &got.Builds[0]
		n, err := t.print(ctx, b)
		if err != nil {
			return err
		}
		if n > 0 {
			empty = 0
			continue
		}
		empty++
		ended := b.BuildComplete != nil && *b.BuildComplete
		switch {
		case ended && empty >= 2:
			if b.BuildStatus != api.StatusTypeSUCCEEDED {
				return fmt.Errorf("build %s ended as %s%s", t.id, b.BuildStatus, reason(b))
			}
			return nil
		case !ended && !follow:
			return nil
		case ended:
			continue
		}
		select {
		case <-time.After(pollTime):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reason is the context of the phase that failed.
func reason(b *api.Build) string {
	for _, p := range b.Phases {
		for _, c := range p.Contexts {
			if c.Message != nil && *c.Message != "" {
				return fmt.Sprintf(" in %s: %s", p.PhaseType, *c.Message)
			}
		}
	}
	return ""
}

// print prints the next page and returns how many events it had.
func (t *tail) print(ctx context.Context, b *api.Build) (int, error) {
	if b.Logs == nil || b.Logs.GroupName == nil || b.Logs.StreamName == nil {
		return 0, nil
	}
	in, err := json.Marshal(logs.GetLogEventsRequest{LogGroupName: b.Logs.GroupName, LogStreamName: b.Logs.StreamName, StartFromHead: new(true), NextToken: t.token})
	if err != nil {
		return 0, err
	}
	answer, err := t.c.Do(ctx, &logs.Contract, "GetLogEvents", in)
	var refused *awsjson.ResponseError
	if errors.As(err, &refused) && refused.Code == "ResourceNotFoundException" {
		return 0, nil // the build has not begun to write
	} else if err != nil {
		return 0, err
	}
	var page logs.GetLogEventsResponse
	if err := json.Unmarshal(answer, &page); err != nil {
		return 0, fmt.Errorf("decode the log: %w", err)
	}
	for _, e := range page.Events {
		text := *e.Message
		if t.colours {
			text = printable(text)
		}
		if _, err := io.WriteString(t.out, text); err != nil {
			return 0, err
		}
	}
	t.token = page.NextForwardToken
	return len(page.Events), nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// printable drops what a log could do to a terminal: every control character
// but tab, line end and carriage return, and every escape sequence but
// colours.
func printable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == 0x1b {
			if n := colour(s[i:]); n > 0 {
				b.WriteString(s[i : i+n])
				i += n - 1
			}
			continue
		}
		if c >= ' ' && c != 0x7f || c == '\t' || c == '\n' || c == '\r' {
			b.WriteByte(c)
		}
	}
	return strings.Map(func(r rune) rune {
		if r >= 0x80 && r < 0xa0 { // the other way to write escape sequences
			return -1
		}
		return r
	}, b.String())
}

// colour returns the length of the colour sequence that s begins with, or 0.
func colour(s string) int {
	if !strings.HasPrefix(s, "\x1b[") {
		return 0
	}
	for i := 2; i < len(s) && i < 32; i++ {
		switch c := s[i]; {
		case c == 'm':
			return i + 1
		case c != ';' && (c < '0' || c > '9'):
			return 0
		}
	}
	return 0
}

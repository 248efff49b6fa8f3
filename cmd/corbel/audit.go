package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/corbel-build/corbel/internal/audit"
	"github.com/corbel-build/corbel/internal/store/sqlite"
)

const auditUsage = `Usage:
    corbel audit list   [filters] [-output text|json] [-data DIR]
    corbel audit export [filters] [-data DIR]
    corbel audit verify [-expect SEQ:HASH] [-data DIR]

Reads the audit log: who changed, read or used a credential, secret, project or
key, when, from where and with which outcome. It works on the data directory,
beside a running server.

list     one line for each record; json is one object a line
export   JSON lines in the shape of CloudTrail's records
verify   checks that no line was changed, removed from the middle or put in, and
         prints the last line's number and hash. Lines removed from the end do
         not show by themselves: keep what verify prints elsewhere, and give it
         to -expect the next time

Filters:
    -since TIME, -until TIME   such as 2026-11-23 or 2026-11-23T12:00:00Z
    -account ID, -event NAME, -principal TEXT, -resource TEXT
    -failed                    only what was refused or failed

list and export check the chain as they go and fail where it is broken.

Exit status: 0 done, 1 failed or the log was tampered with, 2 wrong usage.
`

// auditLog is "corbel audit".
func auditLog(ctx context.Context, args []string, out, errOut io.Writer) (err error) {
	fs := flag.NewFlagSet("audit", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.Usage = func() { fmt.Fprint(errOut, auditUsage) }
	var data, output, since, until, account, event, principal, resource, expect string
	var failed bool
	dataFlag(fs, &data)
	for name, v := range map[string]*string{"since": &since, "until": &until, "account": &account, "event": &event, "principal": &principal, "resource": &resource, "expect": &expect} {
		fs.StringVar(v, name, "", "")
	}
	fs.StringVar(&output, "output", "text", "")
	fs.BoolVar(&failed, "failed", false, "")
	if len(args) == 0 {
		fs.Usage()
		return usageError{"audit needs list, export or verify"}
	}
	verb := args[0]
	if verb == "-h" || verb == "--help" || verb == "help" {
		fmt.Fprint(out, auditUsage)
		return nil
	}
	if err := parse(fs, args[1:]); err != nil {
		return err
	}
	switch {
	case verb != "list" && verb != "export" && verb != "verify":
		return usageError{fmt.Sprintf("audit has no %q: want list, export or verify", verb)}
	case fs.NArg() > 0:
		return usageError{fmt.Sprintf("audit %s takes no argument %q", verb, fs.Arg(0))}
	case output != "text" && output != "json":
		return usageError{fmt.Sprintf("-output %s: want text or json", output)}
	}
	from, err := moment(since)
	if err != nil {
		return usageError{"-since: " + err.Error()}
	}
	to, err := moment(until)
	if err != nil {
		return usageError{"-until: " + err.Error()}
	}
	c := config{data: data}
	s, err := sqlite.Open(ctx, c.database())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	table := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	if verb == "list" && output == "text" {
		fmt.Fprintln(table, "TIME\tWHO\tEVENT\tRESOURCE\tOUTCOME\tFROM\tDETAIL")
	}
	met := false
	head, err := audit.Walk(ctx, s, func(r audit.Record, h audit.Head) error {
		met = met || h.String() == expect
		if !from.IsZero() && r.Time.Before(from) || !to.IsZero() && !r.Time.Before(to) || account != "" && r.Account != account ||
			event != "" && r.Event != event || !strings.Contains(r.Principal, principal) || !strings.Contains(r.Resource, resource) || failed && r.Outcome == "" {
			return nil
		}
		switch {
		case verb == "export":
			return encoder.Encode(audit.CloudTrail(r, h))
		case verb == "list" && output == "json":
			return encoder.Encode(r)
		case verb == "list":
			outcome := "done"
			if r.Outcome != "" {
				outcome = r.Outcome
			}
			_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Time.Format(time.RFC3339), r.Principal, r.Event, r.Resource, outcome, r.From, r.Detail)
			return err
		}
		return nil
	})
	if flushed := table.Flush(); err == nil {
		err = flushed
	}
	if broken, ok := errors.AsType[*audit.Broken](err); ok {
		return hinted{fmt.Errorf("the audit log was tampered with: %w", broken), "everything before that line is as it was written"}
	} else if err != nil {
		return err
	}
	if verb == "verify" {
		if expect != "" && !met {
			return hinted{fmt.Errorf("the audit log has no line %s", expect), "lines were removed from its end, or it is another installation's"}
		}
		fmt.Fprintf(out, "%s\n", head)
	}
	return nil
}

// moment reads a time; "" is the zero one.
func moment(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time like 2026-11-23 or 2026-11-23T12:00:00Z", text)
}

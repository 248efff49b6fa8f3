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
	"text/tabwriter"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/awsjson"
	"github.com/corbel-build/corbel/internal/client"
)

const credentialsUsage = `Usage:
    corbel credentials list    [ARN] [flags]
    corbel credentials check   [ARN] [--repository URL] [flags]
    corbel credentials resolve PROJECT [flags]

Tells what the server knows of the stored source credentials; never a token.

list     whose each token is, what it may do and lacks, when it ends, when and
         for what it was last used, and which hosts it is sent to
check    asks the providers now; with a repository also whether the credential
         that it would use can clone it, report a status and make a webhook
resolve  which credential each source of a project would use, and why

The states are VALID, UNVERIFIED (nobody could be asked), INSUFFICIENT (scopes
are missing), EXPIRING (within 14 days), EXPIRED and REVOKED.

Flags:
    --output text|json     text is for people (default text)
    --endpoint-url URL, --region REGION, --profile NAME

Example:
    $ corbel credentials check --repository https://github.com/octo-org/shop

Exit status: 0 done; 1 failed, or with check: a credential is not VALID or
EXPIRING, or a repository's answer is not three times YES; 2 wrong usage.
`

// credentials is "corbel credentials".
func credentials(ctx context.Context, args []string, out, errOut io.Writer) error {
	fs := flag.NewFlagSet("credentials", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.Usage = func() { fmt.Fprint(errOut, credentialsUsage) }
	var o client.Overrides
	var repository, output string
	fs.StringVar(&repository, "repository", "", "")
	fs.StringVar(&output, "output", "text", "")
	fs.StringVar(&o.Endpoint, "endpoint-url", "", "")
	fs.StringVar(&o.Region, "region", "", "")
	fs.StringVar(&o.Profile, "profile", "", "")
	if len(args) == 0 {
		fs.Usage()
		return usageError{"credentials needs list, check or resolve"}
	}
	verb, args := args[0], args[1:]
	if verb == "-h" || verb == "--help" || verb == "help" {
		fmt.Fprint(out, credentialsUsage)
		return nil
	}
	var operands []string
	for len(args) > 0 { // flags may come after operands
		if err := parse(fs, args); err != nil {
			return err
		}
		if args = fs.Args(); len(args) > 0 {
			operands, args = append(operands, args[0]), args[1:]
		}
	}
	switch {
	case verb != "list" && verb != "check" && verb != "resolve":
		return usageError{fmt.Sprintf("credentials has no %q: want list, check or resolve", verb)}
	case len(operands) > 1, verb == "resolve" && len(operands) != 1:
		return usageError{"credentials " + verb + " takes one " + map[bool]string{true: "project", false: "ARN at most"}[verb == "resolve"]}
	case repository != "" && verb != "check":
		return usageError{"--repository is for credentials check"}
	case output != "text" && output != "json":
		return usageError{fmt.Sprintf("--output %s: want text or json", output)}
	}
	cl, err := client.FromEnvironment(os.Getenv, o)
	if err != nil {
		return err
	}
	var arn *string
	if len(operands) == 1 {
		arn = &operands[0]
	}
	p := printer{out: out, json: output == "json", now: time.Now()}
	switch verb {
	case "list":
		answer, err := ask[corbel.DescribeSourceCredentialsOutput](ctx, cl, "DescribeSourceCredentials", corbel.DescribeSourceCredentialsInput{Arn: arn})
		if err != nil || p.document(answer) {
			return err
		}
		return p.credentials(answer.SourceCredentials)
	case "check":
		in := corbel.CheckSourceCredentialsInput{Arn: arn}
		if repository != "" {
			in.Repository = &repository
		}
		answer, err := ask[corbel.CheckSourceCredentialsOutput](ctx, cl, "CheckSourceCredentials", in)
		if err != nil {
			return err
		}
		if !p.document(answer) {
			if err := p.credentials(answer.SourceCredentials); err != nil {
				return err
			}
			p.repository(answer.Repository)
		}
		return healthy(answer)
	}
	answer, err := ask[corbel.ResolveSourceCredentialsOutput](ctx, cl, "ResolveSourceCredentials", corbel.ResolveSourceCredentialsInput{ProjectName: arn})
	if err != nil || p.document(answer) {
		return err
	}
	return p.sources(answer.Sources)
}

// ask calls one of Corbel's own operations.
func ask[T any](ctx context.Context, cl *client.Client, operation string, in any) (*T, error) {
	document, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	answer, err := cl.Do(ctx, &corbel.Contract, operation, document)
	if refused, ok := errors.AsType[*awsjson.ResponseError](err); ok {
		return nil, fmt.Errorf("%s: %s", refused.Code, refused.Message)
	} else if err != nil {
		return nil, fmt.Errorf("could not call %s at %s: %w", operation, cl.Endpoint, err)
	}
	out := new(T)
	if err := json.Unmarshal(answer, out); err != nil {
		return nil, fmt.Errorf("decode the answer: %w", err)
	}
	return out, nil
}

// healthy makes the exit status of a check.
func healthy(a *corbel.CheckSourceCredentialsOutput) error {
	for _, c := range a.SourceCredentials {
		if c.State != corbel.CredentialStateVALID && c.State != corbel.CredentialStateEXPIRING {
			return exitStatus(1)
		}
	}
	if r := a.Repository; r != nil {
		for _, can := range []*corbel.Ability{r.Clone, r.Status, r.Webhook} {
			if can == nil || can.Answer != corbel.AnswerTypeYES {
				return exitStatus(1)
			}
		}
	}
	return nil
}

// A printer prints answers for people, or as they are.
type printer struct {
	out  io.Writer
	json bool
	now  time.Time
}

// document prints an answer as JSON if that is wanted.
func (p *printer) document(v any) bool {
	if p.json {
		e := json.NewEncoder(p.out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "    ")
		_ = e.Encode(v) // plain structures; a closed pipe has nobody left to tell
	}
	return p.json
}

func (p *printer) credentials(list []corbel.SourceCredential) error {
	if len(list) == 0 {
		fmt.Fprintln(p.out, "No source credentials are stored in this account and region.")
		return nil
	}
	for i, c := range list {
		if i > 0 {
			fmt.Fprintln(p.out)
		}
		fmt.Fprintf(p.out, "%s  %s\n", text(c.Arn), c.State)
		w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
		row := func(name, value string) {
			if value != "" {
				fmt.Fprintf(w, "    %s\t%s\n", name, value)
			}
		}
		row("token", join(", ", text(c.AuthType), text(c.Kind)))
		row("user", text(c.User))
		row("secret", text(c.Resource))
		row("detail", text(c.Detail))
		row("scopes", strings.Join(c.Scopes, ", "))
		for _, m := range c.MissingScopes {
			row("missing", text(m.Scope)+": "+text(m.NeededFor))
		}
		row("ends", p.when(c.Expires))
		row("imported", p.when(c.Imported))
		row("checked", p.when(c.LastChecked))
		if u := c.LastUsed; u != nil {
			row("last used", join(" ", p.when(u.At), "for", text(u.Purpose), text(u.Build)))
		}
		row("sent to", strings.Join(c.Hosts, ", "))
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (p *printer) repository(r *corbel.RepositoryAbilities) {
	if r == nil {
		return
	}
	fmt.Fprintf(p.out, "\n%s\n", text(r.Location))
	for _, row := range []struct {
		name string
		can  *corbel.Ability
	}{{"clone", r.Clone}, {"status", r.Status}, {"webhook", r.Webhook}} {
		if row.can != nil {
			fmt.Fprintf(p.out, "    %-8s  %-7s  %s\n", row.name, row.can.Answer, text(row.can.Reason))
		}
	}
}

func (p *printer) sources(list []corbel.ResolvedSource) error {
	w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SOURCE\tLOCATION\tCREDENTIAL\tSTATE\tWHY")
	for _, s := range list {
		id, used := text(s.SourceIdentifier), text(s.Arn)
		if id == "" {
			id = "(primary)"
		}
		if used == "" {
			used = "none"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", id, join(" ", text(s.Type), text(s.Location)), used, s.State, text(s.Reason))
	}
	return w.Flush()
}

// when is a time with how far away it is.
func (p *printer) when(t *api.Timestamp) string {
	if t == nil {
		return ""
	}
	far := t.Sub(p.now)
	format := "%s (in %s)"
	if far < 0 {
		far, format = -far, "%s (%s ago)"
	}
	amount := fmt.Sprintf("%d days", int(far/(24*time.Hour)))
	switch {
	case far < time.Minute:
		amount = fmt.Sprintf("%d s", int(far.Seconds()))
	case far < time.Hour:
		amount = fmt.Sprintf("%d min", int(far.Minutes()))
	case far < 48*time.Hour:
		amount = fmt.Sprintf("%d h", int(far.Hours()))
	}
	return fmt.Sprintf(format, t.Local().Format("2006-01-02 15:04"), amount)
}

// text is what a provider may have said, safe for a terminal.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, *s)
}

// join joins what is not empty.
func join(sep string, parts ...string) string {
	var kept []string
	for _, part := range parts {
		if part != "" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, sep)
}

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/client"
)

const webhookUsage = `Usage:
    corbel webhook deliveries PROJECT [--limit N] [flags]
    corbel webhook redeliver  ID [flags]
    corbel webhook replay     FILE --project PROJECT [--event NAME] [--start] [flags]
    corbel webhook who        PROJECT [flags]
    corbel webhook poll       PROJECT --every DURATION [flags]
    corbel webhook approvals  [PROJECT] [flags]
    corbel webhook approve    PROJECT NUMBER COMMIT [--repository NAME] [flags]

Tells what came for the webhook of a project and what came of it. The webhook
itself is made with create-webhook.

deliveries  what came, the newest first: what each event matched, or which
            filter said no, and the build that it started
redeliver   look at a delivery again, whatever came of it: what it matches now
            starts another build
replay      what would come of a saved payload; - is standard input. The file is
            the JSON body, or headers, an empty line and the body. Nothing is
            started without --start, which needs the right to start builds
who         the ways in which somebody could start a build, the weakest first;
            what was refused, and whether the provider has another address than
            this server's
poll        ask the provider for changes every so often, for a server that it
            cannot reach; off ends it. The webhook needs manualCreation. Pushes
            and open pull requests are found; comments, merges and releases are
            not, and nobody knows who pushed
approvals   the pull requests whose builds wait for an approval
approve     approve the build of a commit, as the comment at the provider does

Flags:
    --event NAME           of replay, as the provider calls it (push,
                           pull_request, repo:push, "Merge Request Hook", ...),
                           where the file has no headers
    --repository NAME      of approve, such as octo/app, where the webhook of an
                           organization or a group has several with that number
    --output text|json     text is for people (default text)
    --endpoint-url URL, --region REGION, --profile NAME

Example:
    $ corbel webhook replay push.json --project shop --event push

Exit status: 0 done; 1 failed, or with replay and no --start: nothing would
start; 2 wrong usage.
`

// webhooks is "corbel webhook".
func webhooks(ctx context.Context, args []string, out, errOut io.Writer) error {
	fs := flag.NewFlagSet("webhook", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.Usage = func() { fmt.Fprint(errOut, webhookUsage) }
	var o client.Overrides
	var project, event, every, repository, output string
	var start bool
	var limit int
	fs.StringVar(&project, "project", "", "")
	fs.StringVar(&event, "event", "", "")
	fs.StringVar(&every, "every", "", "")
	fs.StringVar(&repository, "repository", "", "")
	fs.BoolVar(&start, "start", false, "")
	fs.IntVar(&limit, "limit", 20, "")
	fs.StringVar(&output, "output", "text", "")
	fs.StringVar(&o.Endpoint, "endpoint-url", "", "")
	fs.StringVar(&o.Region, "region", "", "")
	fs.StringVar(&o.Profile, "profile", "", "")
	if len(args) == 0 {
		fs.Usage()
		return usageError{"webhook needs deliveries, redeliver, replay, who, poll, approvals or approve"}
	}
	verb, args := args[0], args[1:]
	if verb == "-h" || verb == "--help" || verb == "help" {
		fmt.Fprint(out, webhookUsage)
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
	want, known := map[string][2]int{
		"deliveries": {1, 1}, "redeliver": {1, 1}, "replay": {1, 1}, "who": {1, 1}, "poll": {1, 1}, "approvals": {0, 1}, "approve": {3, 3},
	}[verb]
	switch {
	case !known:
		return usageError{fmt.Sprintf("webhook has no %q: want deliveries, redeliver, replay, who, poll, approvals or approve", verb)}
	case len(operands) < want[0] || len(operands) > want[1]:
		return usageError{fmt.Sprintf("webhook %s takes %d arguments, not %d; corbel webhook -h says which", verb, want[1], len(operands))}
	case output != "text" && output != "json":
		return usageError{fmt.Sprintf("--output %s: want text or json", output)}
	case limit < 1:
		return usageError{"--limit is at least 1"}
	case verb == "replay" && project == "":
		return usageError{"webhook replay needs --project"}
	}
	cl, err := client.FromEnvironment(os.Getenv, o)
	if err != nil {
		return err
	}
	p := printer{out: out, json: output == "json", now: time.Now()}
	switch verb {
	case "deliveries":
		return p.deliveries(ctx, cl, operands[0], limit)
	case "redeliver":
		answer, err := ask[corbel.RedeliverWebhookOutput](ctx, cl, "RedeliverWebhook", corbel.RedeliverWebhookInput{DeliveryId: &operands[0]})
		if err != nil || p.document(answer) {
			return err
		}
		fmt.Fprintf(out, "Delivery %s is looked at as delivery %s\n", operands[0], text(answer.Delivery.Id))
	case "replay":
		return p.replay(ctx, cl, operands[0], project, event, start)
	case "who":
		answer, err := ask[corbel.DescribeWebhookOutput](ctx, cl, "DescribeWebhook", corbel.DescribeWebhookInput{ProjectName: &operands[0]})
		if err != nil || p.document(answer) {
			return err
		}
		return p.who(answer)
	case "poll":
		return p.poll(ctx, cl, operands[0], every)
	case "approvals":
		in := corbel.ListPendingApprovalsInput{}
		if len(operands) > 0 {
			in.ProjectName = &operands[0]
		}
		answer, err := ask[corbel.ListPendingApprovalsOutput](ctx, cl, "ListPendingApprovals", in)
		if err != nil || p.document(answer) {
			return err
		}
		for _, a := range answer.Approvals {
			fmt.Fprintf(out, "%s  %s#%d by %s, since %s\n    %s\n    %s\n", text(a.ProjectName), text(a.Repository), *a.PullRequest, text(a.Author), p.when(a.Since), text(a.Title), text(a.Command))
		}
	case "approve":
		number, err := strconv.Atoi(strings.TrimPrefix(operands[1], "#"))
		if err != nil || number < 1 {
			return usageError{fmt.Sprintf("%q is not the number of a pull request", operands[1])}
		}
		in := corbel.ApprovePullRequestInput{ProjectName: &operands[0], PullRequest: &number, Sha: &operands[2]}
		if repository != "" {
			in.Repository = &repository
		}
		answer, err := ask[corbel.ApprovePullRequestOutput](ctx, cl, "ApprovePullRequest", in)
		if err != nil || p.document(answer) {
			return err
		}
		fmt.Fprintf(out, "The approval is looked at as delivery %s; \"corbel webhook deliveries %s\" says what it started\n", text(answer.Delivery.Id), operands[0])
	}
	return nil
}

// deliveries prints the newest ones, page by page.
func (p *printer) deliveries(ctx context.Context, cl *client.Client, project string, limit int) error {
	all := &corbel.ListWebhookDeliveriesOutput{Deliveries: []corbel.WebhookDelivery{}}
	for len(all.Deliveries) < limit {
		page := min(limit-len(all.Deliveries), 100)
		answer, err := ask[corbel.ListWebhookDeliveriesOutput](ctx, cl, "ListWebhookDeliveries", corbel.ListWebhookDeliveriesInput{ProjectName: &project, MaxResults: &page, NextToken: all.NextToken})
		if err != nil {
			return err
		}
		all.Deliveries, all.NextToken = append(all.Deliveries, answer.Deliveries...), answer.NextToken
		if all.NextToken == nil {
			break
		}
	}
	if p.document(all) {
		return nil
	}
	for _, d := range all.Deliveries {
		fmt.Fprintf(p.out, "%s  %s  %s  %s\n", text(d.Id), p.when(d.Received), join(" ", text(d.Event), text(d.ProviderId)), d.State)
		if d.Problem != nil {
			attempt := ""
			if *d.Attempts > 0 {
				attempt = fmt.Sprintf("attempt %d: ", *d.Attempts)
			}
			fmt.Fprintf(p.out, "    %s%s\n", attempt, text(d.Problem))
		}
		p.results(d.Results)
	}
	return nil
}

func (p *printer) results(list []corbel.DeliveryResult) {
	for _, r := range list {
		at := ""
		if r.PullRequest != nil {
			at = "#" + strconv.Itoa(*r.PullRequest)
		}
		sha := text(r.Sha)
		who := text(r.Login)
		if r.Actor != nil {
			who = join(" ", "by", who, "("+text(r.Actor)+")")
		}
		fmt.Fprintf(p.out, "    %s  %s\n", r.Outcome, join(" ", text(r.Event), text(r.Repository)+at, text(r.HeadRef), sha[:min(len(sha), 12)], who))
		fmt.Fprintf(p.out, "        %s\n", join(": ", text(r.BuildId), text(r.Reason)))
		if r.Outcome == corbel.DeliveryOutcomeNO_MATCH {
			for _, g := range r.Groups {
				fmt.Fprintf(p.out, "        filter group %d: %s\n", *g.Group, text(g.Reason))
			}
		}
	}
}

// eventHeaders are where providers name their events.
var eventHeaders = []string{"X-GitHub-Event", "X-Event-Key", "X-Gitlab-Event", "X-Gitea-Event"}

// replay sends a saved payload.
func (p *printer) replay(ctx context.Context, cl *client.Client, file, project, event string, start bool) error {
	var saved []byte
	var err error
	if file == "-" {
		saved, err = io.ReadAll(os.Stdin)
	} else {
		saved, err = os.ReadFile(file)
	}
	if err != nil {
		return fmt.Errorf("read the payload: %w", err)
	}
	in := corbel.TestWebhookInput{ProjectName: &project}
	if start {
		in.Start = &start
	}
	header := func(name, value string) {
		in.Headers = append(in.Headers, corbel.WebhookHeader{Name: &name, Value: &value})
	}
	for event == "" && !bytes.HasPrefix(bytes.TrimSpace(saved), []byte("{")) {
		line, rest, more := bytes.Cut(saved, []byte("\n"))
		saved = rest
		name, value, ok := strings.Cut(strings.TrimRight(string(line), "\r"), ":")
		if ok {
			header(strings.TrimSpace(name), strings.TrimSpace(value))
		} else if !more || len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	if event != "" {
		for _, name := range eventHeaders {
			header(name, event)
		}
	}
	if len(in.Headers) == 0 {
		return hinted{errors.New("the file has no headers, so it does not say which event it is"), "give --event NAME, such as push"}
	}
	in.Payload = new(string(saved))
	answer, err := ask[corbel.TestWebhookOutput](ctx, cl, "TestWebhook", in)
	if err != nil {
		return err
	}
	if !p.document(answer) {
		p.results(answer.Results)
		if answer.Delivery != nil {
			fmt.Fprintf(p.out, "It is looked at as delivery %s\n", text(answer.Delivery.Id))
		}
	}
	if start || slices.ContainsFunc(answer.Results, func(r corbel.DeliveryResult) bool { return r.Outcome == corbel.DeliveryOutcomeWOULD_START }) {
		return nil
	}
	return exitStatus(1)
}

func (p *printer) who(d *corbel.DescribeWebhookOutput) error {
	fmt.Fprintf(p.out, "%s at %s\n", text(d.Owner), text(d.Host))
	w := tabwriter.NewWriter(p.out, 0, 8, 2, ' ', 0)
	for _, way := range d.Ways {
		group := "no filter group"
		if way.Group != nil {
			group = fmt.Sprintf("filter group %d", *way.Group)
		}
		fmt.Fprintf(w, "    %s\t%s\t%s\n", way.Strength, group, text(way.Text))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if d.ServerPayloadUrl != nil {
		fmt.Fprintf(p.out, "The provider has another payload address than this server:\n    %s at the provider\n    %s at this server\n", text(d.PayloadUrl), text(d.ServerPayloadUrl))
		next := "Next: corbel codebuild update-webhook --project-name " + text(d.ProjectName)
		if d.ManualCreation != nil && *d.ManualCreation {
			next = "Next: change the hook at the provider, which was made by hand, and then run corbel codebuild update-webhook --project-name " + text(d.ProjectName)
		}
		fmt.Fprintln(p.out, next)
	}
	if d.LastDelivery != nil {
		fmt.Fprintf(p.out, "Last delivery: %s, %s\n", text(d.LastDelivery.Id), p.when(d.LastDelivery.Received))
	}
	if d.Refused != nil && *d.Refused > 0 {
		fmt.Fprintf(p.out, "Refused: %d, the last one %s: %s\n", *d.Refused, p.when(d.LastRefused), text(d.RefusedReason))
	}
	if d.PollSeconds != nil && *d.PollSeconds > 0 {
		fmt.Fprintf(p.out, "Polled every %d s\n", *d.PollSeconds)
		if d.PollProblem != nil {
			fmt.Fprintf(p.out, "    fails since %s: %s\n", p.when(d.PollFailingSince), text(d.PollProblem))
		}
	}
	return nil
}

// poll sets how often a repository is polled.
func (p *printer) poll(ctx context.Context, cl *client.Client, project, every string) error {
	seconds := 0
	if every != "off" {
		d, err := time.ParseDuration(every)
		if err != nil || d <= 0 {
			return usageError{fmt.Sprintf("--every %q: want a duration such as 30s, or off", every)}
		}
		seconds = int((d + time.Second - 1) / time.Second) // less than one is not off
	}
	answer, err := ask[corbel.UpdateWebhookPollingOutput](ctx, cl, "UpdateWebhookPolling", corbel.UpdateWebhookPollingInput{ProjectName: &project, Seconds: &seconds})
	if err != nil || p.document(answer) {
		return err
	}
	if seconds == 0 {
		fmt.Fprintf(p.out, "%s is not polled any more\n", project)
	} else {
		fmt.Fprintf(p.out, "%s is polled every %d s\n", project, seconds)
	}
	return nil
}

package service

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/api/corbel"
	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/delivery"
	"github.com/corbel-build/corbel/internal/filtergroup"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

// shortestPoll is the shortest time between two polls of a repository.
const shortestPoll = 15 * time.Second

// ListWebhookDeliveries lists what came for the webhook of a project, the
// newest first, with what each event matched and what it started.
func (s CorbelService) ListWebhookDeliveries(ctx context.Context, in *corbel.ListWebhookDeliveriesInput) (*corbel.ListWebhookDeliveriesOutput, error) {
	p := access.From(ctx)
	project, w, err := s.webhook(ctx, p.Scope, *in.ProjectName)
	if err != nil {
		return nil, err
	}
	limit := 20
	if in.MaxResults != nil {
		limit = *in.MaxResults
	}
	query := "deliveries " + w.Address
	from, err := after[int64](p.Scope, query, in.NextToken)
	if err != nil {
		return nil, err
	}
	list, err := s.Store.Deliveries(ctx, w.Address, value(from), limit+1)
	if err != nil {
		return nil, fmt.Errorf("list deliveries of %s: %w", *project.Name, err)
	}
	out := &corbel.ListWebhookDeliveriesOutput{Deliveries: []corbel.WebhookDelivery{}}
	if len(list) > limit {
		list = list[:limit]
		out.NextToken = nextToken(p.Scope, query, list[limit-1].ID)
	}
	for _, d := range list {
		out.Deliveries = append(out.Deliveries, describeDelivery(d))
	}
	return out, nil
}

func describeDelivery(d store.Delivery) corbel.WebhookDelivery {
	out := corbel.WebhookDelivery{
		Id: new(strconv.FormatInt(d.ID, 10)), ProjectName: &d.Project, Received: api.At(d.Received), Origin: corbel.DeliveryOrigin(d.Origin),
		Event: some(d.Event), ProviderId: some(d.Provider), Attempts: new(d.Attempts), Problem: some(d.Problem), Results: []corbel.DeliveryResult{},
		State: map[store.DeliveryState]corbel.DeliveryState{
			store.Waiting: corbel.DeliveryStateWAITING, store.Done: corbel.DeliveryStateDONE, store.Failed: corbel.DeliveryStateFAILED,
		}[d.State],
	}
	if d.State == store.Waiting && d.Behind == 0 {
		out.NextAttempt = api.At(d.Next)
	}
	for _, r := range d.Results {
		out.Results = append(out.Results, describeResult(r))
	}
	return out
}

func describeResult(r store.Result) corbel.DeliveryResult {
	out := corbel.DeliveryResult{
		Event: some(r.Event), Note: some(r.Note), Repository: some(r.Repository), HeadRef: some(r.HeadRef), BaseRef: some(r.BaseRef), Sha: some(r.SHA),
		Actor: some(r.Actor), Login: some(r.Login), Outcome: corbel.DeliveryOutcome(r.Outcome), Reason: some(r.Reason), BuildId: some(r.Build),
	}
	if r.Pull > 0 {
		out.PullRequest = new(r.Pull)
	}
	for i, why := range r.Groups {
		out.Groups = append(out.Groups, corbel.FilterGroupVerdict{Group: new(i + 1), Matched: new(why == ""), Reason: some(why)})
	}
	return out
}

// RedeliverWebhook puts a delivery into the inbox again, whatever came of it
// before: what it matches now starts another build.
func (s CorbelService) RedeliverWebhook(ctx context.Context, in *corbel.RedeliverWebhookInput) (*corbel.RedeliverWebhookOutput, error) {
	p := access.From(ctx)
	id, err := strconv.ParseInt(*in.DeliveryId, 10, 64)
	if err != nil {
		return nil, api.InvalidInputException("Invalid deliveryId: it is a number, as list-webhook-deliveries tells it")
	}
	d, err := s.Store.Delivery(ctx, id)
	if absent(err) || err == nil && d.Scope != p.Scope {
		return nil, api.ResourceNotFoundException("There is no delivery %d in this account and region", id)
	} else if err != nil {
		return nil, fmt.Errorf("read delivery %d: %w", id, err)
	}
	d.Origin = store.Redelivered
	out, err := s.deliver(ctx, "RedeliverWebhook", d, fmt.Sprintf("delivery %d again", id))
	return &corbel.RedeliverWebhookOutput{Delivery: out}, err
}

// deliver puts a delivery that a user gave into the inbox.
func (s *Service) deliver(ctx context.Context, operation string, d store.Delivery, detail string) (*corbel.WebhookDelivery, error) {
	d.Received, d.Next, d.Digest = s.Now(), s.Now(), nil
	d.State, d.Attempts, d.Problem, d.Results = store.Waiting, 0, "", nil
	err := s.Store.Update(ctx, func(tx store.Tx) (err error) {
		if d.ID, err = tx.PutDelivery(ctx, d); absent(err) {
			return api.ResourceNotFoundException("The webhook of project %s that it came for was deleted", d.Project)
		} else if err != nil {
			return err
		}
		return s.audit(ctx, tx, operation, resource(d.Scope, "project", d.Project), detail)
	})
	if err != nil {
		return nil, err
	}
	out := describeDelivery(d)
	return &out, nil
}

// TestWebhook says what would come of a payload, with the project's filter
// groups or those that are given. With given groups the project needs no
// webhook, and source can stand in the place of a project: then no provider is
// asked, no credential is used, and what the payload does not have is not
// known. It needs no signature, and with start puts the payload into the inbox
// like a delivery: whatever the payload claims then holds, so this takes the
// right to start builds.
func (s CorbelService) TestWebhook(ctx context.Context, in *corbel.TestWebhookInput) (*corbel.TestWebhookOutput, error) {
	p := access.From(ctx)
	if value(in.Start) {
		doc, err := json.Marshal(map[string]*string{"projectName": in.ProjectName})
		if err != nil {
			return nil, err
		}
		if err := s.Authorize(ctx, "codebuild", "StartBuild", doc); err != nil {
			return nil, err
		}
	}
	project, w, err := s.tested(ctx, p.Scope, in)
	if err != nil {
		return nil, err
	}
	provider, ok := s.Hosts.Provider(api.ServerType(w.Source))
	if !ok || provider.Deliveries.Parse == nil {
		return nil, api.InvalidInputException("Webhooks of %s are not supported", w.Source)
	}
	hook := project.Webhook
	if in.FilterGroups != nil {
		if value(in.Start) {
			return nil, api.InvalidInputException("Invalid filterGroups: a payload that may start a build is looked at with the project's own")
		}
		groups := make([][]api.WebhookFilter, len(in.FilterGroups))
		for i, g := range in.FilterGroups {
			for _, f := range g {
				groups[i] = append(groups[i], api.WebhookFilter{Type: api.WebhookFilterType(f.Type), Pattern: f.Pattern, ExcludeMatchedPattern: f.ExcludeMatchedPattern})
			}
		}
		if err := filtergroup.Check(groups, provider.Deliveries.Events, forge.OwnerKind(w.Kind)); err != nil {
			return nil, api.InvalidInputException("Invalid filterGroups: %v", err)
		}
		hook = &api.Webhook{FilterGroups: groups}
		if project.Webhook != nil {
			hook.PullRequestBuildPolicy = project.Webhook.PullRequestBuildPolicy
		}
	}
	h := http.Header{}
	for _, one := range in.Headers {
		h.Set(*one.Name, *one.Value)
	}
	d := store.Delivery{Scope: w.Scope, Project: w.Project, Hook: w.Address, Origin: store.Replayed, Headers: delivery.Headers(h)}
	d.Event, d.Provider = provider.Deliveries.Describe(h)
	if d.Body, err = delivery.Pack([]byte(*in.Payload)); err != nil {
		return nil, err
	}
	events, err := delivery.Events(s.Hosts, w, d)
	if err != nil {
		return nil, api.InvalidInputException("Invalid payload: %v", err)
	}
	out := &corbel.TestWebhookOutput{Results: []corbel.DeliveryResult{}}
	for _, e := range events {
		out.Results = append(out.Results, describeResult(s.try(ctx, w, project, hook, e, in.Source == nil)))
	}
	if value(in.Start) {
		if out.Delivery, err = s.deliver(ctx, "TestWebhook", d, "a payload"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// tested is the project whose webhook a payload is for. Where that has none, or
// there is no project yet, they are as they would be with the source.
func (s CorbelService) tested(ctx context.Context, scope store.Scope, in *corbel.TestWebhookInput) (*api.Project, store.Webhook, error) {
	var project *api.Project
	switch {
	case (in.ProjectName == nil) == (in.Source == nil):
		return nil, store.Webhook{}, api.InvalidInputException("Invalid source: give projectName, or the source of a project that there is not yet, and not both")
	case in.ProjectName != nil:
		var err error
		if project, err = s.project(ctx, s.Store, scope, *in.ProjectName); err != nil {
			return nil, store.Webhook{}, err
		}
		if project.Webhook != nil || in.FilterGroups == nil || value(in.Start) {
			return s.webhook(ctx, scope, *in.ProjectName)
		}
	case in.FilterGroups == nil || value(in.Start):
		return nil, store.Webhook{}, api.InvalidInputException("Invalid source: without a project there are no filter groups but those that are given, and no build can start")
	default:
		project = &api.Project{Name: new(""), Source: &api.ProjectSource{Type: api.SourceType(*in.Source.Type), Location: in.Source.Location}}
	}
	repo, err := s.Hosts.Locate(project.Source.Type, value(project.Source.Location))
	if err != nil {
		return nil, store.Webhook{}, api.InvalidInputException("Invalid source: %v", err)
	}
	return project, store.Webhook{
		Scope: scope, Project: *project.Name, Source: project.Source.Type, Host: repo.Host.Name, Owner: repo.Name, Kind: string(forge.OfRepository),
	}, nil
}

// try says what would come of an event with the filters of hook. It asks the
// provider for what the payload does not have, as for a delivery, if it may ask
// and the provider has it. Else the result notes what is not known.
func (s *Service) try(ctx context.Context, w store.Webhook, project *api.Project, hook *api.Webhook, e forge.Event, mayAsk bool) store.Result {
	r := delivery.Describe(e)
	if e.Type == forge.NotOfInterest {
		r.Outcome, r.Reason = "IGNORED", e.Note
		return r
	}
	if why := delivery.Misplaced(s.Hosts, w, project, e); why != "" {
		r.Outcome, r.Reason = "IGNORED", why
		return r
	}
	if e.Type == forge.Comment {
		r.Outcome, r.Reason = "IGNORED", "a comment can approve a build and matches no filter"
		return r
	}
	failed := func(err error) store.Result {
		r.Outcome, r.Reason = "FAILED", err.Error()
		return r
	}
	// unknown notes what the provider does not tell. Any other error stays.
	unknown := func(what string, err error) error {
		said, ok := errors.AsType[*forge.Error](err)
		if !errors.Is(err, errNotAsked) && !errors.Is(err, credential.ErrNoCredential) && (!ok || said.Kind != nil || said.Worthwhile) {
			return err
		}
		r.Note = strings.TrimPrefix(r.Note+"; ", "; ") + fmt.Sprintf("%s not known: %v", what, err)
		return nil
	}
	ask := func(call func(ctx context.Context, f forge.Forge, t forge.Token, repo forge.Repository) error) error {
		if !mayAsk {
			return errNotAsked
		}
		src := delivery.Source(s.Hosts, w, project, e)
		a, err := s.Checker.Resolve(ctx, w.Scope, src, project.Source)
		if err != nil {
			return err
		}
		t, err := a.Token(ctx, credential.ForWebhook)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, hookTime)
		defer cancel()
		return call(ctx, s.Checker.Forges[a.ServerType], t, a.Repository)
	}
	if e.Message == "" && e.SHA != "" && filtergroup.NeedsMessage(hook.FilterGroups) {
		if err := unknown("the message of commit "+forge.Cut(e.SHA, 64)+" is", ask(func(ctx context.Context, f forge.Forge, t forge.Token, repo forge.Repository) (err error) {
			e.Message, err = f.Message(ctx, repo.Host, t, repo.Name, e.SHA)
			return err
		})); err != nil {
			return failed(fmt.Errorf("read the message of commit %s: %w", e.SHA, err))
		}
	}
	v, err := filtergroup.Match(ctx, hook.FilterGroups, value(hook.BranchFilter), e, func(ctx context.Context) (paths []string, complete bool, err error) {
		if e.FilesKnown {
			return e.Files, true, nil
		}
		number := 0
		if e.Pull != nil {
			number = e.Pull.Number
		}
		err = ask(func(ctx context.Context, f forge.Forge, t forge.Token, repo forge.Repository) (err error) {
			paths, complete, err = f.ChangedFiles(ctx, repo.Host, t, repo.Name, number, e.Before, e.SHA)
			return err
		})
		if err != nil {
			return e.Files, false, unknown("the files that have changed are", err)
		}
		return paths, complete, nil
	})
	if err != nil {
		return failed(err)
	}
	r.Groups, r.Reason, r.Outcome = v.Groups, v.Reason, "NO_MATCH"
	if v.Matched {
		r.Outcome = "WOULD_START"
		if pol := hook.PullRequestBuildPolicy; e.Pull != nil && pol != nil && pol.RequiresCommentApproval != api.PullRequestBuildCommentApprovalDISABLED {
			r.Reason += "; the policy " + string(pol.RequiresCommentApproval) + " may ask for an approval first"
		}
	}
	return r
}

// errNotAsked says why something is not known that a delivery would ask for.
var errNotAsked = errors.New("the payload does not tell, and without a project no provider is asked")

// DescribeWebhook tells what CodeBuild's API does not of a webhook: where it
// is, when it last heard something, what was refused, and in which ways
// somebody could start a build, the weakest first. serverPayloadUrl is there if
// the provider has another address than this server takes deliveries at, until
// UpdateWebhook.
func (s CorbelService) DescribeWebhook(ctx context.Context, in *corbel.DescribeWebhookInput) (*corbel.DescribeWebhookOutput, error) {
	p := access.From(ctx)
	project, w, err := s.webhook(ctx, p.Scope, *in.ProjectName)
	if err != nil {
		return nil, err
	}
	hook := project.Webhook
	out := &corbel.DescribeWebhookOutput{
		ProjectName: project.Name, Host: &w.Host, Owner: &w.Owner, HookId: some(w.HookID), PayloadUrl: hook.PayloadUrl, ManualCreation: hook.ManualCreation,
		PollSeconds: new(int(w.PollEvery / time.Second)), Refused: new(w.Refused), RefusedReason: some(w.RefusedReason), LastRefused: stamp(w.RefusedAt), Ways: []corbel.WebhookWay{},
	}
	if w.PollEvery > 0 {
		out.NextPoll, out.PollProblem, out.PollFailingSince = stamp(w.PollNext), some(w.PollProblem), stamp(w.PollFailing)
	} else if now := credential.HookAddress(s.URL, w.Address); now != value(hook.PayloadUrl) {
		out.ServerPayloadUrl = &now
	}
	last, err := s.Store.Deliveries(ctx, w.Address, 0, 1)
	if err != nil {
		return nil, fmt.Errorf("read the last delivery of %s: %w", w.Project, err)
	}
	for _, d := range last {
		out.LastDelivery = new(describeDelivery(d))
	}
	names := map[filtergroup.Strength]corbel.WayStrength{
		filtergroup.Anybody: corbel.WayStrengthANYBODY, filtergroup.Approved: corbel.WayStrengthANYBODY_AFTER_APPROVAL,
		filtergroup.Writer: corbel.WayStrengthWRITERS, filtergroup.Named: corbel.WayStrengthNAMED_ACCOUNTS,
	}
	for _, way := range filtergroup.Who(hook.FilterGroups, value(hook.BranchFilter), hook.PullRequestBuildPolicy) {
		one := corbel.WebhookWay{Strength: names[way.Strength], Text: new(way.Text)}
		if way.Group > 0 {
			one.Group = new(way.Group)
		}
		out.Ways = append(out.Ways, one)
	}
	return out, nil
}

// someNames is how many projects a line of the log names.
const someNames = 5

// NoteAddresses says in the log which webhooks have an address at their providers
// that is not this server's, as after a change of -public-url. Nobody hears of
// that otherwise: what is sent elsewhere does not come here.
func (s *Service) NoteAddresses(ctx context.Context) {
	projects, err := s.Store.WebhooksElsewhere(ctx, credential.HookBase(s.URL))
	if err != nil && ctx.Err() == nil {
		s.Log.ErrorContext(ctx, "look for webhooks with another address", "error", err)
	}
	total := len(projects)
	if total == 0 {
		return
	}
	slices.Sort(projects)
	if total > someNames {
		projects = append(projects[:someNames], "...")
	}
	s.Log.WarnContext(ctx, "webhooks have another address at their providers than this server's -public-url, so it may hear nothing of what happens there",
		"webhooks", total, "projects", strings.Join(projects, ", "), "public_url", s.URL,
		"next", "run corbel codebuild update-webhook --project-name NAME for each; a hook that was made by hand is changed at its provider first; see docs/operating.md")
}

// UpdateWebhookPolling sets how often the repository is asked for what changed,
// for a server that its provider cannot reach; 0 is never. It is for webhooks
// with manualCreation, since one hears of everything twice otherwise.
func (s CorbelService) UpdateWebhookPolling(ctx context.Context, in *corbel.UpdateWebhookPollingInput) (*corbel.UpdateWebhookPollingOutput, error) {
	p := access.From(ctx)
	project, w, err := s.webhook(ctx, p.Scope, *in.ProjectName)
	if err != nil {
		return nil, err
	}
	every := time.Duration(*in.Seconds) * time.Second
	switch {
	case every != 0 && every < shortestPoll:
		return nil, api.InvalidInputException("Invalid seconds: %d is less than %d; 0 ends polling", *in.Seconds, int(shortestPoll/time.Second))
	case every != 0 && w.Kind != string(forge.OfRepository):
		return nil, api.InvalidInputException("The webhook watches more than one repository, which cannot be polled")
	case every != 0 && !value(project.Webhook.ManualCreation):
		return nil, api.InvalidInputException("The provider tells this webhook what happens. To poll in its place, delete the webhook and create it with manualCreation")
	}
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		now, err := tx.Webhook(ctx, w.Scope, w.Project)
		if err != nil {
			return err
		}
		now.PollEvery, now.PollNext = every, s.Now()
		if w = now; every == 0 {
			w.Marks = nil // what happens until it begins again is not told of
		}
		if err := tx.SetPoll(ctx, w); err != nil {
			return err
		}
		return s.audit(ctx, tx, "UpdateWebhookPolling", *project.Arn, every.String())
	})
	if absent(err) {
		return nil, noWebhook(project)
	} else if err != nil {
		return nil, err
	}
	return &corbel.UpdateWebhookPollingOutput{ProjectName: project.Name, Seconds: in.Seconds, NextPoll: stamp(w.PollNext)}, nil
}

// ListPendingApprovals lists the pull requests whose builds wait for somebody to
// approve them, the oldest first, 1,000 at most.
func (s CorbelService) ListPendingApprovals(ctx context.Context, in *corbel.ListPendingApprovalsInput) (*corbel.ListPendingApprovalsOutput, error) {
	p := access.From(ctx)
	only := ""
	if in.ProjectName != nil {
		project, err := s.project(ctx, s.Store, p.Scope, *in.ProjectName)
		if err != nil {
			return nil, err
		}
		only = *project.Name
	}
	list, err := s.Store.Approvals(ctx, p.Scope, only)
	if err != nil {
		return nil, fmt.Errorf("list pull requests that wait for approval: %w", err)
	}
	out := &corbel.ListPendingApprovalsOutput{Approvals: []corbel.PendingApproval{}}
	roles := map[string][]string{}
	for _, a := range list {
		if _, known := roles[a.Project]; !known {
			project, err := s.Store.Project(ctx, p.Scope, a.Project)
			if err != nil && !absent(err) {
				return nil, fmt.Errorf("read project %s: %w", a.Project, err)
			}
			roles[a.Project] = []string{}
			if err == nil && project.Webhook != nil && project.Webhook.PullRequestBuildPolicy != nil {
				for _, r := range project.Webhook.PullRequestBuildPolicy.ApproverRoles {
					roles[a.Project] = append(roles[a.Project], string(r))
				}
			}
		}
		out.Approvals = append(out.Approvals, corbel.PendingApproval{
			ProjectName: &a.Project, Repository: &a.Repository, PullRequest: &a.Number, Title: some(a.Title), Author: some(a.Author), Sha: &a.SHA,
			Since: api.At(a.Since), Command: new("/codebuild_run(" + a.SHA + ")"), ApproverRoles: roles[a.Project],
		})
	}
	return out, nil
}

// commitPattern is a whole commit id.
var commitPattern = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// ApprovePullRequest approves the build of a commit of a pull request, as the
// comment at the provider does, for whoever the policy of the access key lets.
// It must still be the pull request's newest commit.
func (s CorbelService) ApprovePullRequest(ctx context.Context, in *corbel.ApprovePullRequestInput) (*corbel.ApprovePullRequestOutput, error) {
	p := access.From(ctx)
	project, w, err := s.webhook(ctx, p.Scope, *in.ProjectName)
	if err != nil {
		return nil, err
	}
	sha := strings.ToLower(*in.Sha)
	if !commitPattern.MatchString(sha) {
		return nil, api.InvalidInputException("Invalid sha: give the whole id of the commit that you have looked at")
	}
	repository := value(in.Repository)
	if w.Kind == string(forge.OfRepository) {
		if repository != "" && !strings.EqualFold(repository, w.Owner) {
			return nil, api.InvalidInputException("Invalid repository: the webhook watches %s", w.Owner)
		}
		repository = w.Owner
	}
	waiting, err := s.Store.Approvals(ctx, p.Scope, *project.Name)
	if err != nil {
		return nil, fmt.Errorf("list pull requests that wait for approval: %w", err)
	}
	waiting = slices.DeleteFunc(waiting, func(a store.Approval) bool {
		return a.Number != *in.PullRequest || repository != "" && !strings.EqualFold(a.Repository, repository)
	})
	switch {
	case len(waiting) == 0:
		return nil, api.ResourceNotFoundException("No build of pull request %d of %s waits for approval in project %s", *in.PullRequest, cmp.Or(repository, w.Owner), *project.Name)
	case len(waiting) > 1:
		return nil, api.InvalidInputException("Invalid repository: pull requests %d of %s and %s wait; say which", *in.PullRequest, waiting[0].Repository, waiting[1].Repository)
	case waiting[0].SHA != sha:
		return nil, api.InvalidInputException("Invalid sha: what waits is commit %s; look at it and approve that one", waiting[0].SHA)
	}
	d, err := delivery.Permitted(store.Delivery{Scope: w.Scope, Project: w.Project, Hook: w.Address}, waiting[0].Repository, *in.PullRequest, sha, p.User)
	if err != nil {
		return nil, err
	}
	out, err := s.deliver(ctx, "ApprovePullRequest", d, fmt.Sprintf("pull request %d of %s at %s", *in.PullRequest, waiting[0].Repository, sha))
	return &corbel.ApprovePullRequestOutput{Delivery: out}, err
}

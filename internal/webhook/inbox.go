package webhook

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/delivery"
	"github.com/corbel-build/corbel/internal/filtergroup"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

const (
	// crowd is how many webhooks are looked after at a time; the deliveries of
	// one are taken in their order.
	crowd = 8
	batch = 256
	// callTime bounds one call of a provider.
	callTime = 20 * time.Second
	// first and longest bound the wait between attempts, which doubles; giveUp
	// is how long a delivery is tried.
	first, longest, giveUp = 2 * time.Second, 5 * time.Minute, 8 * time.Hour
	// sweepEvery is how often is looked for what is old. As long as there is
	// some, sweepMost are removed at a time with a sweepPause after them, 60,000
	// a minute at most, so that nobody waits for it.
	sweepEvery, sweepMost, sweepPause = time.Minute, 100, 100 * time.Millisecond
	// unmade is how long a webhook may take to be made.
	unmade = 2 * time.Minute
)

// Outcomes of an event.
const (
	Started   = "STARTED"
	NoMatch   = "NO_MATCH"
	Awaiting  = "AWAITING_APPROVAL"
	Ignored   = "IGNORED"
	GaveUp    = "FAILED"
	undecided = ""
)

// Run looks at deliveries, settles hooks and removes old deliveries, until ctx
// ends.
func (in *Inbox) Run(ctx context.Context) error {
	timer, sweep := time.NewTimer(0), time.NewTimer(sweepEvery)
	defer timer.Stop()
	defer sweep.Stop()
	done := make(chan string) // addresses whose goroutine has ended
	busy := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			for range len(busy) {
				<-done
			}
			return nil
		case <-in.Store.Delivered():
		case <-timer.C:
		case hook := <-done:
			delete(busy, hook)
		case <-sweep.C:
			sweep.Reset(in.sweep(ctx))
			continue
		}
		in.remove(ctx)
		next, err := in.dispatch(ctx, busy, done)
		if err != nil && ctx.Err() == nil {
			in.Log.ErrorContext(ctx, "look at deliveries", "error", err)
			next = first
		}
		timer.Reset(next)
	}
}

// dispatch gives what is due to goroutines, one for a webhook, and returns how
// long until there is more. The end of a goroutine wakes Run too.
func (in *Inbox) dispatch(ctx context.Context, busy map[string]bool, done chan<- string) (time.Duration, error) {
	except := slices.Collect(maps.Keys(busy))
	if len(busy) < crowd {
		due, err := in.Store.DueHooks(ctx, in.Now(), except, crowd-len(busy))
		if err != nil {
			return 0, err
		}
		for _, hook := range due {
			busy[hook] = true
			except = append(except, hook)
			go func() { // ends when each that is due was looked at once, or soon after ctx
				in.attend(ctx, hook)
				done <- hook
			}()
		}
	}
	wait := time.Hour
	if len(busy) < crowd { // else the end of one is what is waited for
		// What somebody looks at already is due as long as they do.
		next, err := in.Store.NextDelivery(ctx, except)
		if err == nil {
			wait = min(wait, next.Sub(in.Now()))
		} else if !errors.Is(err, store.ErrNotFound) {
			return 0, err
		}
	}
	removal, err := in.Store.NextRemoval(ctx)
	if err == nil {
		wait = min(wait, removal.Sub(in.Now()))
	} else if !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	return max(wait, 10*time.Millisecond), nil
}

// attend looks at what is due to one webhook, one delivery after the other.
func (in *Inbox) attend(ctx context.Context, hook string) {
	list, err := in.Store.DueDeliveries(ctx, in.Now(), hook, batch)
	if err != nil && ctx.Err() == nil {
		in.Log.ErrorContext(ctx, "list the deliveries to a webhook", "error", err)
	}
	for _, d := range list {
		if ctx.Err() == nil {
			in.look(ctx, d)
		}
	}
}

// look takes one delivery as far as it goes now.
func (in *Inbox) look(ctx context.Context, d store.Delivery) {
	err := in.events(ctx, &d)
	if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrNotFound) { // not found: it is not waiting any more
		return
	}
	d.Problem = err.Error()
	d.Attempts++
	after, again := later(err)
	if again = again && in.Now().Sub(d.Received) < giveUp; again {
		wait := min(first<<min(d.Attempts-1, 16), longest)
		d.Next = in.Now().Add(max(wait/2+rand.N(wait/2), after))
	} else {
		d.State = store.Failed
		for i := range d.Results {
			if d.Results[i].Outcome == undecided {
				d.Results[i].Outcome, d.Results[i].Reason = GaveUp, d.Problem
			}
		}
	}
	in.Log.WarnContext(ctx, "delivery", name(d), "error", err, "attempt", d.Attempts, "again", again)
	if err := in.Store.Update(ctx, func(tx store.Tx) error { return tx.SaveDelivery(ctx, d) }); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrNotFound) {
		in.Log.ErrorContext(ctx, "store what came of a delivery", name(d), "error", err)
	}
}

// final is an error that no other attempt would mend.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// later says whether another attempt may do better, and how long to wait at
// least.
func later(err error) (after time.Duration, again bool) {
	if known, ok := errors.AsType[*forge.Error](err); ok {
		return known.After, known.Worthwhile
	}
	if _, ok := errors.AsType[final](err); ok {
		return 0, false
	}
	if refused, ok := errors.AsType[*api.Error](err); ok { // by StartBuild
		return 0, refused.Code == "AccountLimitExceededException"
	}
	return 0, true
}

// events decides each event of a delivery that is not decided yet, and stores
// what came of it, one after the other. d is kept as it is stored.
func (in *Inbox) events(ctx context.Context, d *store.Delivery) error {
	hook, err := in.Store.WebhookAt(ctx, d.Hook)
	if errors.Is(err, store.ErrNotFound) {
		return final{errors.New("the webhook was deleted")}
	} else if err != nil {
		return fmt.Errorf("read the webhook: %w", err)
	}
	project, err := in.Store.Project(ctx, hook.Scope, hook.Project)
	if err == nil && project.Webhook == nil {
		if in.Now().Sub(hook.Created) < unmade {
			return errors.New("the webhook is still being made")
		}
		return final{errors.New("the webhook was not made to its end")}
	} else if errors.Is(err, store.ErrNotFound) {
		return final{errors.New("the project was deleted")}
	} else if err != nil {
		return fmt.Errorf("read the project: %w", err)
	}
	full, err := in.Store.Delivery(ctx, d.ID)
	if err != nil {
		return err
	}
	list, err := in.parse(hook, full)
	if err != nil {
		return final{err}
	}
	full.Body = nil // what follows may take minutes
	if len(d.Results) != len(list) {
		d.Results = make([]store.Result, len(list))
	}
	c := &candidate{in: in, hook: hook, project: project, delivery: d}
	for i, e := range list {
		r := &d.Results[i]
		if r.Outcome != undecided {
			continue
		}
		*r = delivery.Describe(e)
		c.Event = e
		then, err := c.decide(ctx, full, r)
		if err != nil {
			return err
		}
		saved := *d
		if i == len(list)-1 {
			saved.State = store.Done
		}
		err = in.Store.Update(ctx, func(tx store.Tx) error {
			if then != nil {
				if err := then(tx, r); err != nil {
					return err
				}
			}
			saved.Problem = ""
			return tx.SaveDelivery(ctx, saved)
		})
		if refused, ok := errors.AsType[*api.Error](err); ok && refused.Code != "AccountLimitExceededException" {
			r.Outcome, r.Reason, r.Build = GaveUp, refused.Message, ""
			err = in.Store.Update(ctx, func(tx store.Tx) error { return tx.SaveDelivery(ctx, saved) })
		}
		if err != nil {
			r.Outcome = undecided
			return err
		}
		in.Log.InfoContext(ctx, "delivery", name(*d), "type", e.Type, "outcome", r.Outcome, "build", r.Build, "after", in.Now().Sub(d.Received).Round(time.Microsecond))
	}
	if len(list) == 0 {
		d.State = store.Done
		return in.Store.Update(ctx, func(tx store.Tx) error { return tx.SaveDelivery(ctx, *d) })
	}
	return nil
}

// parse reads the events in a delivery, of the large ones one at a time.
func (in *Inbox) parse(hook store.Webhook, d store.Delivery) ([]forge.Event, error) {
	if delivery.Size(d.Body) > large {
		in.parsing.Lock()
		defer in.parsing.Unlock()
	}
	return delivery.Events(in.Credentials.Hosts, hook, d)
}

// A candidate is an event that may start a build.
type candidate struct {
	forge.Event
	in       *Inbox
	hook     store.Webhook
	project  *api.Project
	delivery *store.Delivery

	access *credential.Access // nil before it is needed
}

// An effect is what a decision writes.
type effect func(tx store.Tx, r *store.Result) error

// decide fills r, and returns what is to be written with it, nil if nothing
// is. Its error means that nothing is decided.
func (c *candidate) decide(ctx context.Context, d store.Delivery, r *store.Result) (effect, error) {
	ignore := func(format string, args ...any) (effect, error) {
		r.Outcome, r.Reason = Ignored, fmt.Sprintf(format, args...)
		return nil, nil
	}
	if c.Type == forge.NotOfInterest {
		return ignore("%s", c.Note)
	}
	if why := c.misplaced(); why != "" {
		return ignore("%s", why)
	}
	if c.Type == forge.Comment {
		return c.comment(ctx, d, r)
	}
	if why, err := c.complete(ctx); err != nil {
		return nil, err
	} else if why != "" {
		return ignore("%s", why)
	}
	r.SHA = c.SHA
	return c.match(ctx, r, false)
}

// complete finds the whole id of a pull request's commit where the delivery
// has a part of it, as Bitbucket's have. why says that it is not the newest
// one any more.
func (c *candidate) complete(ctx context.Context) (why string, err error) {
	if c.Pull == nil || c.SHA == "" || len(c.SHA) >= 40 {
		return "", nil
	}
	var now forge.PullRequest
	ok, err := c.ask(ctx, func(ctx context.Context, f forge.Forge, host forge.Host, t forge.Token, repo string) (err error) {
		now, err = f.PullRequest(ctx, host, t, repo, c.Pull.Number)
		return err
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("read pull request %d: %w", c.Pull.Number, err)
	case !ok:
		return "there is no credential to find the whole id of commit " + c.SHA + " with", nil
	case !strings.HasPrefix(now.HeadSHA, c.SHA):
		return fmt.Sprintf("the newest commit of pull request %d is %s already, and not %s", c.Pull.Number, forge.Cut(now.HeadSHA, 64), c.SHA), nil
	}
	c.SHA = now.HeadSHA
	pull := *c.Pull
	pull.HeadSHA = now.HeadSHA
	if pull.HeadURL == "" {
		pull.HeadURL = now.HeadURL
	}
	c.Pull = &pull
	return "", nil
}

// misplaced says why the event is none of the webhook's, "" if it is.
func (c *candidate) misplaced() string {
	switch kind := forge.OwnerKind(c.hook.Kind); kind {
	case forge.OfOrganization:
		if !strings.EqualFold(c.Organization, c.hook.Owner) {
			return fmt.Sprintf("it is of %q, and the webhook watches the organization %s", forge.Cut(c.Repository, 200), c.hook.Owner)
		}
		return ""
	case forge.OfGroup:
		if !strings.HasPrefix(strings.ToLower(c.Repository), strings.ToLower(c.hook.Owner)+"/") {
			return fmt.Sprintf("it is of %q, and the webhook watches the group %s", forge.Cut(c.Repository, 200), c.hook.Owner)
		}
		return ""
	case forge.OfEnterprise:
		return ""
	}
	if !strings.EqualFold(c.Repository, c.hook.Owner) {
		return fmt.Sprintf("it is of %q, and the webhook watches %s; if the repository was renamed, correct the project's source location and update the webhook", forge.Cut(c.Repository, 200), c.hook.Owner)
	}
	repo, err := c.in.Credentials.Hosts.Locate(c.project.Source.Type, deref(c.project.Source.Location))
	if err != nil || !strings.EqualFold(repo.Name, c.hook.Owner) || repo.Host.Name != c.hook.Host {
		return fmt.Sprintf("the project's source is another one than the webhook watches, %s at %s: update the webhook", c.hook.Owner, c.hook.Host)
	}
	return ""
}

// source is the project's source for the event's repository.
func (c *candidate) source() *api.ProjectSource {
	src := *c.project.Source
	if c.hook.Kind != string(forge.OfRepository) {
		src.Location = new(c.in.Credentials.Hosts.Address(api.ServerType(c.hook.Source), c.hook.Host, c.Repository))
	}
	return &src
}

// ask calls the provider, with the credential of the project's source. ok is
// false if there is none that may be sent there; then call was not called.
func (c *candidate) ask(ctx context.Context, call func(ctx context.Context, f forge.Forge, host forge.Host, t forge.Token, repo string) error) (ok bool, err error) {
	f := c.in.Forges[api.ServerType(c.hook.Source)]
	if f == nil {
		return false, final{fmt.Errorf("%s is not supported", c.hook.Source)}
	}
	if c.access == nil {
		src := c.source()
		if c.access, err = c.in.Credentials.Resolve(ctx, c.hook.Scope, src, c.project.Source); err != nil {
			return false, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	t, err := c.access.Token(ctx, credential.ForWebhook)
	if errors.Is(err, credential.ErrNoCredential) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	err = call(ctx, f, c.access.Repository.Host, t, c.access.Repository.Name)
	if errors.Is(err, forge.ErrRefused) {
		c.access.Refused(ctx)
	}
	return true, err
}

// match applies the filter groups. approved says that somebody has approved the
// commit.
func (c *candidate) match(ctx context.Context, r *store.Result, approved bool) (effect, error) {
	hook := c.project.Webhook
	if c.Message == "" && c.SHA != "" && filtergroup.NeedsMessage(hook.FilterGroups) {
		if _, err := c.ask(ctx, func(ctx context.Context, f forge.Forge, host forge.Host, t forge.Token, repo string) (err error) {
			c.Message, err = f.Message(ctx, host, t, repo, c.SHA)
			return err
		}); err != nil {
			return nil, fmt.Errorf("read the message of commit %s: %w", c.SHA, err)
		}
	}
	v, err := filtergroup.Match(ctx, hook.FilterGroups, deref(hook.BranchFilter), c.Event, c.files)
	if err != nil {
		return nil, err
	}
	r.Groups, r.Reason = v.Groups, v.Reason
	if !v.Matched {
		r.Outcome = NoMatch
		if c.Pull != nil && (c.Type == forge.PullClosed || c.Type == forge.PullMerged) {
			return func(tx store.Tx, _ *store.Result) error { return c.forget(ctx, tx) }, nil
		}
		return nil, nil
	}
	b, err := c.plan()
	if err != nil {
		r.Outcome, r.Reason = GaveUp, err.Error()
		return nil, nil
	}
	if c.Pull != nil && !approved {
		need, untrusted, err := c.judge(ctx)
		if err != nil {
			return nil, err
		}
		if need != "" && c.Type == forge.PullClosed { // nobody can approve it any more
			r.Outcome, r.Reason = Ignored, need
			return func(tx store.Tx, _ *store.Result) error { return c.forget(ctx, tx) }, nil
		}
		if need != "" {
			r.Outcome, r.Reason = Awaiting, need
			return func(tx store.Tx, _ *store.Result) error { return c.await(ctx, tx) }, nil
		}
		b.trigger.Untrusted = untrusted
	}
	return c.start(ctx, r, b), nil
}

// start returns what queues the build.
func (c *candidate) start(ctx context.Context, r *store.Result, b plan) effect {
	r.Outcome = Started
	return func(tx store.Tx, r *store.Result) error {
		build, err := c.in.Start(ctx, tx, c.hook.Scope, &b.input, initiator(*c.delivery), b.trigger)
		if err != nil {
			return err
		}
		r.Build = *build.Id
		if c.Pull == nil {
			return nil
		}
		return c.forget(ctx, tx)
	}
}

// files are the paths that the event changed: from the delivery where it has
// all of them, else from the provider.
func (c *candidate) files(ctx context.Context) (paths []string, complete bool, err error) {
	if c.FilesKnown {
		return c.Files, true, nil
	}
	paths = c.Files
	number := 0
	if c.Pull != nil {
		number = c.Pull.Number
	}
	if number == 0 && c.SHA == "" { // such as a release
		return nil, true, nil
	}
	ok, err := c.ask(ctx, func(ctx context.Context, f forge.Forge, host forge.Host, t forge.Token, repo string) error {
		list, whole, err := f.ChangedFiles(ctx, host, t, repo, number, c.Before, c.SHA)
		paths, complete = append(slices.Clone(paths), list...), whole
		return err
	})
	if !ok && err == nil {
		return paths, false, nil
	}
	return paths, complete, err
}

// A plan is a build to be queued.
type plan struct {
	input   api.StartBuildInput
	trigger store.Trigger
}

// plan says what is built. Commits are bound to the ref that they were
// delivered with, so that neither a later push nor a commit that only a fork
// has can take their place.
// Source of source versions and variables: builds seen at the service.
func (c *candidate) plan() (plan, error) {
	p := plan{
		input: api.StartBuildInput{ProjectName: &c.hook.Project},
		trigger: store.Trigger{
			Event: string(c.Type), HeadRef: c.HeadRef, BaseRef: c.BaseRef, Actor: c.Actor.ID, MergeCommit: c.Merge, Delivery: c.delivery.ID, SHA: c.SHA,
		},
	}
	t := &p.trigger
	if c.hook.Kind != string(forge.OfRepository) {
		p.input.SourceLocationOverride = c.source().Location
	}
	branch, isBranch := strings.CutPrefix(c.HeadRef, "refs/heads/")
	tag, isTag := strings.CutPrefix(c.HeadRef, "refs/tags/")
	switch {
	case c.Pull != nil:
		t.Trigger = fmt.Sprintf("pr/%d", c.Pull.Number)
		if c.SHA == "" {
			return plan{}, errors.New("the delivery does not say which commit the pull request has")
		}
		p.input.SourceVersion = new(c.SHA)
		provider, _ := c.in.Credentials.Hosts.Provider(api.ServerType(c.hook.Source))
		switch ref := provider.Deliveries.PullRef; {
		case ref != "":
			t.Version = fmt.Sprintf(ref, c.Pull.Number) + "^{" + c.SHA + "}"
			if strings.HasPrefix(ref, "refs/pull/") {
				p.input.SourceVersion = new(t.Trigger)
			}
		case c.Type == forge.PullMerged && c.Merge != "":
			if p.input.SourceVersion, t.Version = new(c.Merge), c.Merge; len(c.Merge) >= 40 {
				t.Version = c.BaseRef + "^{" + c.Merge + "}"
			}
		case c.Pull.Fork && c.Pull.HeadURL == "":
			return plan{}, errors.New("the repository that the pull request comes from is gone")
		case c.Pull.Fork:
			p.input.SourceLocationOverride = &c.Pull.HeadURL
			fallthrough
		default:
			t.Version = c.HeadRef + "^{" + c.SHA + "}"
		}
	case c.Type == forge.Released || c.Type == forge.Prereleased:
		t.Trigger, t.Version = "tag/"+c.Tag, "refs/tags/"+c.Tag
		t.HeadRef = t.Version
		p.input.SourceVersion = new(t.Version)
		if c.SHA != "" {
			t.Version += "^{" + c.SHA + "}"
			p.input.SourceVersion = new(c.SHA)
		}
	case c.SHA == "" || !isBranch && !isTag:
		return plan{}, errors.New("the delivery does not say which commit of which branch or tag to build")
	case isBranch:
		t.Trigger, t.PrevCommit = "branch/"+branch, c.Before
	default:
		t.Trigger = "tag/" + tag
	}
	if c.Pull == nil && p.input.SourceVersion == nil {
		p.input.SourceVersion, t.Version = new(c.SHA), c.HeadRef+"^{"+c.SHA+"}"
	}
	return p, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// sweep removes some of the deliveries that are old, and returns how long until
// it is to be called again.
func (in *Inbox) sweep(ctx context.Context) time.Duration {
	var n int
	err := in.Store.Update(ctx, func(tx store.Tx) (err error) {
		n, err = tx.DeleteDeliveries(ctx, in.Now().Add(-in.Keep), sweepMost)
		return err
	})
	if err != nil && ctx.Err() == nil {
		in.Log.ErrorContext(ctx, "remove old deliveries", "error", err)
	}
	if err != nil || n == 0 {
		return sweepEvery
	}
	return sweepPause
}

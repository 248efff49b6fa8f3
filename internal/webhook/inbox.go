package webhook

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/crowd"
	"github.com/corbel-build/corbel/internal/delivery"
	"github.com/corbel-build/corbel/internal/filtergroup"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

const (
	// crowded is how many webhooks of a host are looked after at a time. After a
	// turn one lets others come, unless a call of a provider takes longer.
	crowded, turn = 16, time.Second
	batch         = 256
	// callTime bounds one call of a provider.
	callTime = 20 * time.Second
	// first and longest bound the wait between attempts, which doubles; giveUp
	// is how long a delivery is tried.
	first, longest, giveUp = 2 * time.Second, 5 * time.Minute, 8 * time.Hour
	// longestFull is the longest wait for the end of another build: whoever waits
	// next does so on behalf of all.
	longestFull = 30 * time.Second
	// sweepEvery is how often is looked for what is old. As long as there is
	// some, sweepMost are removed at a time with a sweepPause after them, 60,000
	// a minute at most, so that nobody waits for it.
	sweepEvery, sweepMost, sweepPause = time.Minute, 100, 100 * time.Millisecond
	// unmade is how long a webhook may take to be made, and unmadeWait how long
	// its deliveries are put off at a time.
	unmade, unmadeWait = 2 * time.Minute, 500 * time.Millisecond
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
	timer, sweep, note := time.NewTimer(0), time.NewTimer(sweepEvery), time.NewTicker(noteEvery)
	defer timer.Stop()
	defer sweep.Stop()
	defer note.Stop()
	defer in.noteRefused(context.WithoutCancel(ctx))
	busy := crowd.New[string](crowded)
	for {
		select {
		case <-ctx.Done():
			busy.Wait()
			return nil
		case <-in.Store.Delivered():
		case <-timer.C:
		case hook := <-busy.Left():
			busy.Leave(hook)
		case <-sweep.C:
			sweep.Reset(in.sweep(ctx))
			continue
		case <-note.C:
			in.noteRefused(ctx)
			continue
		}
		in.remove(ctx)
		next, err := in.dispatch(ctx, busy)
		if err != nil && ctx.Err() == nil {
			in.Log.ErrorContext(ctx, "look at deliveries", "error", err)
			next = first
		}
		timer.Reset(next)
	}
}

// dispatch gives what is due to goroutines, one for a webhook, and returns how
// long until there is more. The end of a goroutine wakes Run too.
func (in *Inbox) dispatch(ctx context.Context, busy *crowd.Crowd[string]) (time.Duration, error) {
	for more := true; more; {
		except, full := busy.Busy()
		due, err := in.Store.DueHooks(ctx, in.Now(), except, full, crowded)
		if err != nil {
			return 0, err
		}
		for _, hook := range due { // the first one joins: its host is not full
			busy.Join(hook.Address, hook.Host, func() { in.attend(ctx, hook.Address) })
		}
		more = len(due) == crowded
	}
	wait := time.Hour
	// What somebody looks at already is due as long as they do, and where as many
	// are as may be, the end of one is what is waited for.
	except, full := busy.Busy()
	next, err := in.Store.NextDelivery(ctx, except, full)
	if err == nil {
		wait = min(wait, next.Sub(in.Now()))
	} else if !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	removal, err := in.Store.NextRemoval(ctx)
	if err == nil {
		wait = min(wait, removal.Sub(in.Now()))
	} else if !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	return max(wait, 10*time.Millisecond), nil
}

// attend looks at what is due to one webhook, one delivery after the other, for
// a turn.
func (in *Inbox) attend(ctx context.Context, hook string) {
	list, err := in.Store.DueDeliveries(ctx, in.Now(), hook, batch)
	if err != nil && ctx.Err() == nil {
		in.Log.ErrorContext(ctx, "list the deliveries to a webhook", "error", err)
	}
	began := time.Now()
	for _, d := range list {
		if ctx.Err() != nil || time.Since(began) > turn {
			return
		}
		in.look(ctx, d)
	}
}

// look takes one delivery as far as it goes now.
func (in *Inbox) look(ctx context.Context, d store.Delivery) {
	err := in.events(ctx, &d)
	if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrNotFound) { // not found: it is not waiting any more
		return
	}
	log := in.Log.With(name(d), "error", err)
	after, again := later(err)
	_, queues := errors.AsType[behind](err)
	switch again = again && in.Now().Sub(d.Received) < giveUp; {
	case queues:
		log.DebugContext(ctx, "delivery waits for another")
		d.Problem = err.Error()
	case errors.Is(err, errUnmade):
		log.DebugContext(ctx, "delivery waits for its webhook")
		d.Next = in.Now().Add(unmadeWait)
	default:
		d.Attempts++
		log.WarnContext(ctx, "delivery", "attempt", d.Attempts, "again", again)
		if !again {
			for i := range d.Results {
				if d.Results[i].Outcome == undecided {
					d.Results[i].Outcome, d.Results[i].Reason = GaveUp, err.Error()
				}
			}
			d.State, d.Problem = store.Failed, err.Error()
			break
		}
		most := longest
		if limited(err) {
			most = longestFull
			d.Lanes = append(d.Lanes, everything)
		}
		wait := min(first<<min(d.Attempts-1, 16), most)
		d.Problem, d.Next = err.Error(), in.Now().Add(max(wait/2+rand.N(wait/2), after))
	}
	in.save(ctx, d)
}

// save notes how a delivery is.
func (in *Inbox) save(ctx context.Context, d store.Delivery) {
	err := in.Store.Update(ctx, func(tx store.Tx) error { return tx.SaveDelivery(ctx, d) })
	if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrNotFound) {
		in.Log.ErrorContext(ctx, "store what came of a delivery", name(d), "error", err)
	}
}

// everything is the lane of what waits for a limit of builds, or is not known
// yet. Whatever came after it to the same webhook waits too.
const everything = "*"

// laneOf is in what the builds of an event keep their order.
func laneOf(r store.Result) string {
	ref := r.HeadRef
	if r.Pull > 0 {
		ref = "pr/" + strconv.Itoa(r.Pull)
	}
	return strings.ToLower(r.Repository) + " " + ref
}

// behind is the error of a delivery that has to wait for another.
type behind struct{ id int64 }

func (b behind) Error() string {
	return fmt.Sprintf("delivery %d came before it and is not decided yet", b.id)
}

// errUnmade is no attempt: the provider delivers from the moment that it has
// made the hook.
var errUnmade = errors.New("the webhook is still being made")

// queue is an error of behind if an earlier delivery waits in one of d's lanes.
func (in *Inbox) queue(ctx context.Context, d *store.Delivery) error {
	id, at, err := in.Store.LastWaiting(ctx, d.Hook, d.ID, append(slices.Clone(d.Lanes), everything))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("look for earlier deliveries: %w", err)
	case at == everything: // so that what comes after it waits for it, and not for the same one
		d.Lanes = append(d.Lanes, everything)
	}
	d.Behind = id
	return behind{id}
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
	if _, ok := errors.AsType[*api.Error](err); ok { // by StartBuild
		return 0, limited(err)
	}
	return 0, true
}

// limited reports whether an error is that too many builds wait or run.
func limited(err error) bool {
	refused, ok := errors.AsType[*api.Error](err)
	return ok && refused.Code == "AccountLimitExceededException"
}

// events decides each event of a delivery that is not decided yet, and stores
// what came of it. d is kept as it is stored. The error is one of those why
// something is not decided yet.
func (in *Inbox) events(ctx context.Context, d *store.Delivery) error {
	d.Lanes = []string{everything}
	hook, err := in.Store.WebhookAt(ctx, d.Hook)
	if errors.Is(err, store.ErrNotFound) {
		return final{errors.New("the webhook was deleted")}
	} else if err != nil {
		return fmt.Errorf("read the webhook: %w", err)
	}
	whole, err := in.Store.Delivery(ctx, d.ID)
	if err != nil {
		return err
	}
	list, err := in.parse(hook, whole)
	if err != nil {
		return final{err}
	}
	whole.Body = nil // what follows may take minutes
	if len(d.Results) != len(list) {
		d.Results = make([]store.Result, len(list))
	}
	tried := map[string]bool{} // lanes
	for i, e := range list {
		if r := &d.Results[i]; r.Outcome == undecided {
			why := r.Reason
			*r = delivery.Describe(e)
			r.Reason = why
			tried[laneOf(*r)] = tried[laneOf(*r)] || why != ""
		}
	}
	c := &candidate{in: in, hook: hook, delivery: d}
	if d.Lanes = lanes(list, d.Results); len(d.Lanes) > 0 {
		if err := in.queue(ctx, d); err != nil {
			return err
		}
		if c.project, err = in.made(ctx, hook); err != nil {
			return err
		}
	}
	// What another look has tried comes last, so that it does not keep the rest
	// from being tried at all.
	var problem error
	stuck, began := map[string]bool{}, time.Now()
	for _, again := range []bool{false, true} {
		for i, e := range list {
			r := &d.Results[i]
			at := laneOf(*r)
			if r.Outcome != undecided || tried[at] != again || stuck[at] {
				continue
			}
			c.Event, c.asked, c.squash = e, nil, ""
			err := c.event(ctx, whole, r)
			if err == nil {
				continue
			}
			if ctx.Err() != nil || errors.Is(err, store.ErrNotFound) {
				return err
			}
			r.Reason = err.Error()
			after, worthwhile := later(err)
			if !worthwhile {
				in.Log.WarnContext(ctx, "event given up", name(*d), "type", e.Type, "ref", r.HeadRef, "error", err)
				r.Outcome = GaveUp
				continue
			}
			stuck[at], problem = true, err
			if limited(err) || after > 0 || time.Since(began) > callTime/2 { // the next one would not do better
				d.Lanes = lanes(list, d.Results)
				return err
			}
		}
	}
	d.Lanes = lanes(list, d.Results)
	if problem == nil && d.State == store.Waiting { // there was none, or the last one was given up
		in.save(ctx, settled(*d))
	}
	return problem
}

// made returns the project of a webhook that was made to its end.
func (in *Inbox) made(ctx context.Context, hook store.Webhook) (*api.Project, error) {
	project, err := in.Store.Project(ctx, hook.Scope, hook.Project)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, final{errors.New("the project was deleted")}
	case err != nil:
		return nil, fmt.Errorf("read the project: %w", err)
	case project.Webhook != nil:
		return project, nil
	case in.Now().Sub(hook.Created) < unmade:
		return nil, errUnmade
	}
	return nil, final{errors.New("the webhook was not made to its end")}
}

// lanes are those of what is not decided yet. Nothing is built of an event that
// is of no interest.
func lanes(list []forge.Event, results []store.Result) []string {
	out := []string{}
	for i, r := range results {
		if r.Outcome == undecided && list[i].Type != forge.NotOfInterest {
			out = append(out, laneOf(r))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// settled is a delivery with its state by what came of its events: one in which
// one was given up has failed, whatever became of the others.
func settled(d store.Delivery) store.Delivery {
	d.State, d.Problem = store.Done, ""
	for _, r := range d.Results {
		switch {
		case r.Outcome == undecided:
			d.State, d.Problem = store.Waiting, ""
			return d
		case r.Outcome == GaveUp && d.State == store.Done:
			d.State, d.Problem = store.Failed, r.Reason
		}
	}
	if d.State == store.Failed {
		d.Attempts++
	}
	return d
}

// event decides one event and stores what came of it.
func (c *candidate) event(ctx context.Context, whole store.Delivery, r *store.Result) error {
	d := c.delivery
	*r = delivery.Describe(c.Event)
	then, err := c.decide(ctx, whole, r)
	if err != nil {
		r.Outcome = undecided
		return err
	}
	var saved store.Delivery
	save := func(then effect) error {
		return c.in.Store.Update(ctx, func(tx store.Tx) error {
			if then != nil {
				if err := then(tx, r); err != nil {
					return err
				}
			}
			saved = settled(*d)
			saved.Lanes = nil // it stays in those in which it is
			return tx.SaveDelivery(ctx, saved)
		})
	}
	err = save(then)
	if refused, ok := errors.AsType[*api.Error](err); ok && !limited(err) {
		r.Outcome, r.Reason, r.Build = GaveUp, refused.Message, ""
		err = save(nil)
	}
	if err != nil {
		r.Outcome = undecided
		return err
	}
	*d = saved
	c.in.Log.InfoContext(ctx, "delivery", name(*d), "type", c.Event.Type, "outcome", r.Outcome, "build", r.Build, "after", c.in.Now().Sub(d.Received).Round(time.Microsecond))
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
	asked  *forge.PullRequest // of the event, nil before it is asked for
	squash string             // the commit that a squash made, as the service tells it
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
	if why := delivery.Misplaced(c.in.Credentials.Hosts, c.hook, c.project, c.Event); why != "" {
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
	now, ok, err := c.pull(ctx)
	switch {
	case err != nil:
		return "", err
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

// pull asks for the event's pull request as it is now, once. ok is as in ask.
func (c *candidate) pull(ctx context.Context) (now forge.PullRequest, ok bool, err error) {
	if c.asked != nil {
		return *c.asked, true, nil
	}
	ok, err = c.ask(ctx, func(ctx context.Context, f forge.Forge, host forge.Host, t forge.Token, repo string) (err error) {
		now, err = f.PullRequest(ctx, host, t, repo, c.Pull.Number)
		return err
	})
	if err != nil {
		return now, false, fmt.Errorf("read pull request %d: %w", c.Pull.Number, err)
	}
	if ok {
		c.asked = &now
	}
	return now, ok, nil
}

// merged finds the commit of a merge that the build hears of.
func (c *candidate) merged(ctx context.Context) error {
	if c.Pull == nil || c.Type != forge.PullMerged {
		return nil
	}
	if provider, _ := c.in.Credentials.Hosts.Provider(api.ServerType(c.hook.Source)); !provider.Deliveries.Squash {
		c.squash = c.Merge
		return nil
	}
	now, _, err := c.pull(ctx)
	c.squash = now.Squash
	return err
}

// source is the project's source for the event's repository.
func (c *candidate) source() *api.ProjectSource {
	return delivery.Source(c.in.Credentials.Hosts, c.hook, c.project, c.Event)
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
		ok, err := c.ask(ctx, func(ctx context.Context, f forge.Forge, host forge.Host, t forge.Token, repo string) (err error) {
			c.Message, err = f.Message(ctx, host, t, repo, c.SHA)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read the message of commit %s: %w", c.SHA, err)
		}
		c.MessageUnknown = !ok
	}
	v, err := filtergroup.Match(ctx, hook.FilterGroups, deref(hook.BranchFilter), c.Event, c.files)
	if err != nil {
		return nil, err
	}
	r.Groups, r.Reason = v.Groups, v.Reason
	if !v.Matched {
		r.Outcome = NoMatch
		if c.Pull != nil && (c.Type == forge.PullClosed || c.Type == forge.PullMerged) {
			return c.forget(ctx), nil
		}
		if c.Pull != nil && c.Type == forge.PullUpdated {
			return c.outdate(ctx), nil
		}
		return nil, nil
	}
	if err := c.merged(ctx); err != nil {
		return nil, err
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
			return c.forget(ctx), nil
		}
		if need != "" {
			return c.await(ctx, r, b, need)
		}
		b.trigger.Untrusted = untrusted
	}
	return c.start(ctx, r, b), nil
}

// start returns what queues the build.
func (c *candidate) start(ctx context.Context, r *store.Result, b plan) effect {
	r.Outcome = Started
	return func(tx store.Tx, r *store.Result) (err error) {
		if c.Pull != nil {
			if b.trigger.Waited, err = c.settle(ctx, tx); err != nil {
				return err
			}
		}
		build, err := c.in.Start(ctx, tx, c.hook.Scope, &b.input, initiator(*c.delivery), b.trigger)
		if err != nil {
			return err
		}
		r.Build = *build.Id
		return nil
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
			Event: string(c.Type), HeadRef: c.HeadRef, BaseRef: c.BaseRef, Actor: c.Actor.ID, MergeCommit: c.squash, Delivery: c.delivery.ID, SHA: c.SHA,
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
			p.input.SourceLocationOverride, t.Location = &c.Pull.HeadURL, deref(c.source().Location)
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

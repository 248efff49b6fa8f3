package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/crowd"
	"github.com/corbel-build/corbel/internal/delivery"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

// pollCrowd is how many repositories of a host are asked at a time, pollTime
// bounds one, and pollMost is how many events one may bring at a time. maxPulls
// is how many open pull requests forge.Hooks.Poll tells of.
const (
	maxPulls  = 1000
	pollCrowd = 4
	pollTime  = 30 * time.Second
	pollMost  = 200
)

// memory is what polling a repository remembers.
type memory struct {
	Marks map[string]string `json:"marks,omitzero"` // the provider's
	Refs  map[string]string `json:"refs,omitzero"`  // full name -> commit
	Pulls map[int]string    `json:"pulls,omitzero"` // open ones -> commit
	// Owner is what was asked; another one begins anew.
	Owner string `json:"owner"`
}

// Poll asks the repositories of webhooks that are polled, until ctx ends. What
// it finds changed goes through the inbox like any delivery.
func (in *Inbox) Poll(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	busy := crowd.New[string](pollCrowd)
	for {
		select {
		case <-ctx.Done():
			busy.Wait()
			return nil
		case <-in.Store.Polling():
		case <-timer.C:
		case address := <-busy.Left():
			busy.Leave(address)
		}
		next, err := in.pollDue(ctx, busy)
		if err != nil && ctx.Err() == nil {
			in.Log.ErrorContext(ctx, "poll repositories", "error", err)
			next = first
		}
		timer.Reset(next)
	}
}

// pollDue begins to poll what is due, and returns how long until there is more.
// The end of a poll wakes Poll too.
func (in *Inbox) pollDue(ctx context.Context, busy *crowd.Crowd[string]) (time.Duration, error) {
	for more := true; more; {
		except, full := busy.Busy()
		due, err := in.Store.DuePolls(ctx, in.Now(), except, full, pollCrowd)
		if err != nil {
			return 0, err
		}
		for _, w := range due { // the first one joins: its host is not full
			busy.Join(w.Address, w.Host, func() {
				if err := in.poll(ctx, w); err != nil && ctx.Err() == nil {
					in.Log.ErrorContext(ctx, "store what a poll found", "project", w.Project, "error", err)
					select { // it is still due
					case <-time.After(first):
					case <-ctx.Done():
					}
				}
			})
		}
		more = len(due) == pollCrowd
	}
	except, full := busy.Busy()
	next, err := in.Store.NextPoll(ctx, except, full)
	if errors.Is(err, store.ErrNotFound) {
		return time.Hour, nil
	} else if err != nil {
		return 0, err
	}
	return max(next.Sub(in.Now()), 10*time.Millisecond), nil
}

// poll polls one repository and stores what it found with what it remembers.
// Its error is the store's.
func (in *Inbox) poll(ctx context.Context, w store.Webhook) error {
	before := memory{}
	if len(w.Marks) > 0 && json.Unmarshal(w.Marks, &before) != nil || before.Owner != w.Owner {
		before = memory{Owner: w.Owner}
	}
	w.PollNext = in.Now().Add(w.PollEvery)
	after, events, wait, problem := in.changes(ctx, w, before)
	if ctx.Err() != nil {
		return nil
	}
	if problem == nil {
		w.PollProblem, w.PollFailing = "", time.Time{}
	} else {
		if w.PollProblem = forge.Cut(problem.Error(), 1000); w.PollFailing.IsZero() {
			w.PollFailing = in.Now()
		}
		in.Log.WarnContext(ctx, "repository not polled", "project", w.Project, "repository", w.Owner, "error", problem)
	}
	marks, err := json.Marshal(after)
	if err != nil {
		return err
	}
	if at := in.Now().Add(max(wait, forge.Retry(problem).After)); at.After(w.PollNext) {
		w.PollNext = at
	}
	d := store.Delivery{Scope: w.Scope, Project: w.Project, Hook: w.Address, Received: in.Now(), Next: in.Now()}
	if d, err = delivery.Polled(d, events); err != nil {
		return err
	}
	err = in.Store.Update(ctx, func(tx store.Tx) error {
		now, err := tx.WebhookAt(ctx, w.Address)
		if err != nil || now.PollEvery == 0 { // somebody has ended it
			return err
		}
		w.PollEvery, w.Marks = now.PollEvery, marks
		if err := tx.SetPoll(ctx, w); err != nil {
			return err
		}
		if problem == nil {
			if err := forgetClosed(ctx, tx, w, after.Pulls); err != nil {
				return err
			}
		}
		if len(events) == 0 {
			return nil
		}
		_, err = tx.PutDelivery(ctx, d)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil // the webhook was deleted
	}
	return err
}

// forgetClosed notes that pull requests wait no more that are not among the open
// ones, unless those may not be all.
func forgetClosed(ctx context.Context, tx store.Tx, w store.Webhook, open map[int]string) error {
	if open == nil || len(open) >= maxPulls {
		return nil
	}
	list, err := tx.Approvals(ctx, w.Scope, w.Project)
	if err != nil {
		return err
	}
	for _, a := range list {
		if _, there := open[a.Number]; !there && strings.EqualFold(a.Repository, w.Owner) {
			if err := forget(ctx, tx, w, a.Repository, a.Number); err != nil {
				return err
			}
		}
	}
	return nil
}

// changes asks the provider what there is, and compares.
func (in *Inbox) changes(ctx context.Context, w store.Webhook, before memory) (after memory, events []forge.Event, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, pollTime)
	defer cancel()
	fail := func(err error) (memory, []forge.Event, time.Duration, error) { return before, nil, 0, err }
	f := in.Forges[api.ServerType(w.Source)]
	if f == nil {
		return fail(fmt.Errorf("%s is not supported", w.Source))
	}
	project, err := in.Store.Project(ctx, w.Scope, w.Project)
	if err != nil {
		return fail(fmt.Errorf("read project %s: %w", w.Project, err))
	}
	a, err := in.Credentials.Resolve(ctx, w.Scope, project.Source, project.Source)
	if err != nil {
		return fail(err)
	}
	if !strings.EqualFold(a.Repository.Name, w.Owner) {
		return fail(fmt.Errorf("the project's source is another one than the webhook watches, %s: update the webhook", w.Owner))
	}
	t, err := a.Token(ctx, credential.ForWebhook)
	if err != nil {
		return fail(err)
	}
	got, err := f.Poll(ctx, a.Repository.Host, t, a.Repository.Name, before.Marks)
	if err != nil {
		if errors.Is(err, forge.ErrRefused) {
			a.Refused(ctx)
		}
		return fail(err)
	}
	after = memory{Marks: got.Marks, Owner: w.Owner, Refs: before.Refs, Pulls: before.Pulls}
	if !got.RefsUnchanged {
		if before.Refs == nil { // what was there before is not news
			after.Refs = got.Refs
		} else {
			events = append(events, pushes(w, before.Refs, got.Refs)...)
			after.Refs = got.Refs
		}
	}
	if !got.PullsUnchanged {
		after.Pulls = map[int]string{}
		for _, p := range got.Pulls {
			after.Pulls[p.Number] = p.HeadSHA
			if sha, known := before.Pulls[p.Number]; before.Pulls != nil && sha != p.HeadSHA {
				e := forge.Event{
					Type: forge.PullCreated, Repository: a.Repository.Name, HeadRef: p.HeadRef, BaseRef: p.BaseRef, SHA: p.HeadSHA, Pull: new(p), At: in.Now(),
				}
				if known {
					e.Type = forge.PullUpdated
				} else {
					e.Actor = p.Author
				}
				events = append(events, e)
			}
		}
	}
	if len(events) > pollMost {
		in.Log.WarnContext(ctx, "too much has changed at once: only a part starts builds", "project", w.Project, "changes", len(events), "of_which", pollMost)
		events = events[:pollMost]
	}
	return after, events, got.After, nil
}

// pushes are the refs that are new or changed, by name.
func pushes(w store.Webhook, before, now map[string]string) (list []forge.Event) {
	for _, name := range slices.Sorted(maps.Keys(now)) {
		sha, old := now[name], before[name]
		if sha == old {
			continue
		}
		if old == "" {
			old = strings.Repeat("0", len(sha))
		}
		e := forge.Event{Type: forge.Push, Repository: w.Owner, HeadRef: name, SHA: sha, Before: old}
		list = append(list, e)
	}
	return list
}

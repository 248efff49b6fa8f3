// Package status sends commit statuses from the outbox to the providers.
//
// A status is put into the outbox in the transaction that changes its build,
// and removed when the provider has it, so a crash repeats one rather than
// loses it. Of one commit and context only the oldest is under way, which
// keeps their order. Nothing here can fail a build.
package status

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/crowd"
	"github.com/corbel-build/corbel/internal/forge"
	"github.com/corbel-build/corbel/internal/store"
)

const (
	// giveUp is for how long a status is tried again.
	giveUp = 24 * time.Hour
	// callTime bounds one attempt.
	callTime = 20 * time.Second
	// first and longest bound the wait between attempts, which doubles.
	first, longest = 2 * time.Second, 15 * time.Minute
	// crowded is how many are under way to a host at a time.
	crowded = 20
)

// A Sender empties the outbox. One runs for each store.
type Sender struct {
	Store       store.Store
	Credentials *credential.Resolver
	Forges      map[api.ServerType]forge.Forge // statuses of others are dropped with a line in the log
	Log         *slog.Logger
	Now         func() time.Time
}

// Run sends what is due until ctx ends.
func (s *Sender) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	busy := crowd.New[int64](crowded)
	for {
		select {
		case <-ctx.Done():
			busy.Wait()
			return nil
		case <-s.Store.Outgoing():
		case <-timer.C:
		case id := <-busy.Left():
			busy.Leave(id)
		}
		next, err := s.drain(ctx, busy)
		if err != nil && ctx.Err() == nil {
			s.Log.ErrorContext(ctx, "send commit statuses", "error", err)
			next = first
		}
		timer.Reset(next)
	}
}

// drain begins to send what is due, and returns how long until there is more.
// What has ended wakes Run too. Different commits do not wait for each other.
func (s *Sender) drain(ctx context.Context, busy *crowd.Crowd[int64]) (time.Duration, error) {
	for {
		except, full := busy.Busy()
		var due []store.CommitStatus
		var next time.Time
		err := s.Store.Update(ctx, func(tx store.Tx) (err error) {
			if due, err = tx.DueStatuses(ctx, s.Now(), except, full, crowded); err != nil || len(due) > 0 {
				return err
			}
			next, err = tx.NextStatus(ctx, except, full)
			return err
		})
		if errors.Is(err, store.ErrNotFound) {
			return time.Hour, nil
		}
		if err != nil {
			return 0, err
		}
		if len(due) == 0 {
			return max(next.Sub(s.Now()), 10*time.Millisecond), nil
		}
		for _, d := range due { // the first one joins: its host is not full
			busy.Join(d.ID, d.Host, func() {
				if err := s.one(ctx, d); err != nil && ctx.Err() == nil {
					s.Log.ErrorContext(ctx, "note what became of a commit status", "build", d.Build, "error", err)
					select { // it is still due
					case <-time.After(first):
					case <-ctx.Done():
					}
				}
			})
		}
	}
}

// one tries one status and notes what came of it. Its error is the store's.
func (s *Sender) one(ctx context.Context, c store.CommitStatus) error {
	log := s.Log.With("build", c.Build, "sha", c.SHA, "state", c.State, "attempt", c.Attempts+1)
	err := s.send(ctx, c)
	if ctx.Err() != nil {
		return nil // the next start sends it again
	}
	again := forge.Retry(err)
	age := s.Now().Sub(c.Created)
	switch {
	case err == nil:
		log.InfoContext(ctx, "commit status sent")
	case !again.Worthwhile || age > giveUp:
		log.ErrorContext(ctx, "commit status given up", "error", err)
	default:
		wait := min(first<<min(c.Attempts, 16), longest)
		wait = max(wait/2+rand.N(wait/2), again.After)
		log.WarnContext(ctx, "commit status not sent", "error", err, "again_in", wait)
		return s.Store.Update(ctx, func(tx store.Tx) error {
			return tx.DeferStatus(ctx, c.ID, s.Now().Add(wait), err.Error())
		})
	}
	return s.Store.Update(ctx, func(tx store.Tx) error {
		if err != nil && c.Build != "" {
			code, text := gaveUp, "The status "+c.State+" of commit "+c.SHA+" was given up at attempt "+strconv.Itoa(c.Attempts+1)+": "+err.Error()
			if err := tx.AddContext(ctx, c.Scope, c.Build, api.PhaseContext{StatusCode: &code, Message: &text}); err != nil {
				return err
			}
		}
		return tx.DeleteStatus(ctx, c.ID)
	})
}

// gaveUp is the code of the context that a build has whose status was given up.
// It is ours; the service tells nobody.
const gaveUp = "COMMIT_STATUS_NOT_SENT"

func (s *Sender) send(ctx context.Context, c store.CommitStatus) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	a, err := s.Credentials.Resolve(ctx, c.Scope, c.Source, c.Source)
	var mendable *credential.Problem
	if errors.As(err, &mendable) {
		return err
	} else if err != nil { // of the store, most likely: later is better
		return &forge.Error{Host: "credential", Text: err.Error(), Again: forge.Again{Worthwhile: true}, Cause: err}
	}
	f := s.Forges[a.ServerType]
	if f == nil {
		return errors.New("statuses of " + string(a.ServerType) + " are not supported yet")
	}
	a.Build = c.Build
	token, err := a.Token(ctx, credential.ForStatus)
	if err != nil {
		return err
	}
	err = f.SetStatus(ctx, a.Repository.Host, token, a.Repository.Name, forge.Status{
		SHA: c.SHA, State: c.State, Context: c.Context, Description: c.Description, TargetURL: c.TargetURL,
	})
	if errors.Is(err, forge.ErrRefused) {
		a.Refused(ctx)
	}
	return err
}

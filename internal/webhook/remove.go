package webhook

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/corbel-build/corbel/internal/store"
)

// removeFor is how long a hook is tried to be removed or put right,
// removeLongest the longest wait between two attempts.
const removeFor, removeLongest = 3 * 24 * time.Hour, time.Hour

// remove starts to settle the hooks that are due. Each is put off first, so
// that no other turn takes it while its provider is asked.
func (in *Inbox) remove(ctx context.Context) {
	due, err := in.Store.DueRemovals(ctx, in.Now(), crowded)
	if err != nil || len(due) == 0 {
		if err != nil && ctx.Err() == nil {
			in.Log.ErrorContext(ctx, "read hooks to remove", "error", err)
		}
		return
	}
	for _, r := range due {
		wait := min(10*time.Second<<min(r.Attempts, 16), removeLongest)
		next := in.Now().Add(max(callTime+time.Second, wait/2+rand.N(wait/2)))
		if err := in.Store.Update(ctx, func(tx store.Tx) error { return tx.DeferRemoval(ctx, r.ID, next, "") }); err != nil {
			continue // somebody took it back, or ctx ended
		}
		go in.removeOne(ctx, r) // ends soon after callTime
	}
}

func (in *Inbox) removeOne(ctx context.Context, r store.Removal) {
	log := in.Log.With("project", r.Project, "owner", r.Owner, "attempt", r.Attempts+1)
	gone, err := in.Settle(ctx, r)
	if ctx.Err() != nil {
		return
	}
	done := err == nil || in.Now().Sub(r.Created) > removeFor
	switch {
	case err == nil && gone:
		log.InfoContext(ctx, "hook removed")
	case err == nil:
		log.InfoContext(ctx, "hook put right")
	case done && gone:
		log.ErrorContext(ctx, "hook not removed: given up; remove it at the provider", "error", err)
	case done:
		log.ErrorContext(ctx, "hook not put right: given up; run update-webhook", "error", err)
	case gone:
		log.WarnContext(ctx, "hook not removed yet", "error", err)
	default:
		log.WarnContext(ctx, "hook not put right yet", "error", err)
	}
	if !done {
		return // it is put off already
	}
	if err := in.Store.Update(ctx, func(tx store.Tx) error { return in.forgetUnmade(ctx, tx, r) }); err != nil && !errors.Is(err, store.ErrNotFound) {
		log.ErrorContext(ctx, "note that a hook was removed", "error", err)
	}
}

// forgetUnmade ends a removal, and forgets the webhook that it was for if a
// crash kept that from being made to its end.
func (in *Inbox) forgetUnmade(ctx context.Context, tx store.Tx, r store.Removal) error {
	if err := tx.DeleteRemoval(ctx, r.ID); err != nil {
		return err
	}
	w, err := tx.Webhook(ctx, r.Scope, r.Project)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	project, err := tx.Project(ctx, r.Scope, r.Project)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if (err != nil || project.Webhook == nil) && in.Now().Sub(w.Created) > unmade {
		return tx.DeleteWebhook(ctx, r.Scope, r.Project)
	}
	return nil
}

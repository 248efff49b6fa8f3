package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

// exists reports whether home has the project.
func (b *bench) exists(name string) bool {
	b.Helper()
	_, err := b.s.Project(context.WithoutCancel(b.ctx), home, name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		b.Errorf("Project(%s): %v", name, err)
	}
	return err == nil
}

// An error of fn comes back as it is and undoes all that fn wrote.
func updateUndoes(b *bench) {
	b.queue("site", 3)
	running, err := b.claim("runner", 10)
	b.is("ClaimBuild", err, nil)
	b.putStatuses(status("sha", "ci", 0))
	why := &api.Error{Code: "X", Message: "y"}
	calls := 0
	err = b.s.Update(b.ctx, func(tx store.Tx) error {
		calls++
		n, err := tx.NextBuildNumber(b.ctx, home, "site")
		if err != nil {
			return err
		}
		stopped, err := tx.RequestStop(b.ctx, home, buildID("site", 3))
		if err != nil {
			return err
		}
		saved := running
		saved.State = store.Complete
		if err := errors.Join(
			tx.PutAccount(b.ctx, store.Account{ID: home.Account, Created: at(0)}),
			tx.PutAccessKey(b.ctx, store.AccessKey{ID: "AKIA", Account: home.Account, Sealed: []byte{1}}),
			tx.PutCredential(b.ctx, store.Credential{Scope: home, ServerType: api.ServerTypeGITHUB, Sealed: []byte{1}}),
			tx.CreateProject(b.ctx, home, project("site")),
			tx.QueueBuild(b.ctx, build("site", int(n)+10)),
			tx.EndQueuedBuild(b.ctx, stopped),
			tx.SaveBuild(b.ctx, saved),
			tx.PutIdempotent(b.ctx, home, store.Idempotent{Token: "t", Build: "b", Expires: at(9)}),
			tx.PutLogStream(b.ctx, home, logStream("g", "s", 0)),
			tx.PutStatus(b.ctx, status("sha", "ci", 0)),
			tx.PutAudit(b.ctx, store.AuditLine{Seq: 1, Hash: []byte{1}}),
			tx.PutCheck(b.ctx, "c", []byte{1}),
		); err != nil {
			return err
		}
		if _, err := tx.ClaimBuild(b.ctx, "runner", at(10)); err != nil {
			return err
		}
		return why
	})
	if err != error(why) {
		b.Fatalf("Update returned %v, want the very error of fn", err)
	}
	if calls != 1 {
		b.Errorf("fn ran %d times", calls)
	}
	b.depth("after an update that failed", 2)
	for what, read := range map[string]func() error{
		"Account":         func() error { _, err := b.s.Account(b.ctx, home.Account); return err },
		"AccessKey":       func() error { _, err := b.s.AccessKey(b.ctx, "AKIA"); return err },
		"Credential":      func() error { _, err := b.s.Credential(b.ctx, home, api.ServerTypeGITHUB); return err },
		"Project":         func() error { _, err := b.s.Project(b.ctx, home, "site"); return err },
		"Build":           func() error { _, err := b.s.Build(b.ctx, home, buildID("site", 11)); return err },
		"IdempotentBuild": func() error { _, err := b.s.IdempotentBuild(b.ctx, home, "t", at(0)); return err },
		"LogStream":       func() error { _, err := b.s.LogStream(b.ctx, home, "g", "s"); return err },
		"Check":           func() error { _, err := b.s.Check(b.ctx, "c"); return err },
	} {
		b.is(what+" that was undone", read(), store.ErrNotFound)
	}
	if got := b.due(9, 9); len(got) != 1 {
		b.Errorf("%d statuses are due, want the one from before", len(got))
	}
	for id, want := range map[string]store.BuildState{buildID("site", 1): store.Running, buildID("site", 2): store.Queued, buildID("site", 3): store.Queued} {
		got, err := b.s.Build(b.ctx, home, id)
		b.is("Build", err, nil)
		if got.State != want || got.Stop {
			b.Errorf("build %s has state %d and stop %t, want %d and false", id, got.State, got.Stop, want)
		}
	}
	b.complete(running) // the lease is as it was
}

func updateSeesItsOwnWrites(b *bench) {
	b.update(func(tx store.Tx) error {
		if err := errors.Join(tx.CreateProject(b.ctx, home, project("site")), tx.QueueBuild(b.ctx, build("site", 1))); err != nil {
			return err
		}
		if _, err := tx.Project(b.ctx, home, "site"); err != nil {
			return fmt.Errorf("project: %w", err)
		}
		if n, err := tx.QueuedBuilds(b.ctx, home.Account); n != 1 || err != nil {
			return fmt.Errorf("%d builds, %w", n, err)
		}
		if b.exists("site") {
			b.Errorf("others see the project before the commit")
		}
		c, err := tx.ClaimBuild(b.ctx, "runner", at(1))
		if err != nil {
			return err
		}
		c.State = store.Complete
		return tx.SaveBuild(b.ctx, c)
	})
	if !b.exists("site") {
		b.Errorf("the project is not there after the commit")
	}
}

// Updates that may share a commit fail and succeed each for itself.
func updateAmongNeighbours(b *bench) {
	why := errors.New("not this one")
	for round := range 5 {
		each(func(i int) {
			name := fmt.Sprintf("p-%d-%d", round, i)
			calls := 0
			err := b.s.Update(b.ctx, func(tx store.Tx) error {
				calls++
				if err := errors.Join(tx.CreateProject(b.ctx, home, project(name)), tx.QueueBuild(b.ctx, build(name, 1))); err != nil {
					return err
				}
				if i%2 == 1 {
					return why
				}
				return nil
			})
			if want := i%2 == 0; (err == nil) != want || !want && err != why || calls != 1 {
				b.Errorf("Update %s: %v after %d calls", name, err, calls)
			}
			if want := i%2 == 0; b.exists(name) != want {
				b.Errorf("project %s exists: %t, want %t", name, !want, want)
			}
		})
		b.depth(fmt.Sprintf("round %d", round), (round+1)*many/2)
	}
}

// A panic in one update is its error and nobody else's.
func updatePanics(b *bench) {
	each(func(i int) {
		name := fmt.Sprintf("p-%d", i)
		err := b.s.Update(b.ctx, func(tx store.Tx) error {
			if err := tx.CreateProject(b.ctx, home, project(name)); err != nil {
				return err
			}
			if i%4 == 0 {
				panic("out of " + name)
			}
			return nil
		})
		if i%4 == 0 && (err == nil || !strings.Contains(err.Error(), "out of "+name)) {
			b.Errorf("Update %s that panics: %v", name, err)
		}
		if i%4 != 0 && err != nil {
			b.Errorf("Update %s beside one that panics: %v", name, err)
		}
		if got, want := b.exists(name), i%4 != 0; got != want {
			b.Errorf("project %s exists: %t, want %t", name, got, want)
		}
	})
}

// A context that has ended starts nothing.
func updateContext(b *bench) {
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	for range 100 { // often, lest it be chance
		err := b.s.Update(ctx, func(store.Tx) error {
			b.Error("fn ran")
			return nil
		})
		b.is("Update", err, context.Canceled)
	}
}

// A context that ends while its update is under way harms nobody else, and
// the caller learns what became of its own.
func updateContextEndsInside(b *bench) {
	big := strings.Repeat("x", 20_000)
	for round := range 3 {
		each(func(i int) {
			name := fmt.Sprintf("p-%d-%d", round, i)
			ctx, cancel := context.WithCancel(b.ctx)
			defer cancel()
			err := b.s.Update(ctx, func(tx store.Tx) error {
				if i%4 == 0 {
					go cancel() // ends at once, somewhere in the next lines
				}
				p := project(name)
				p.Description = &big
				if err := tx.CreateProject(ctx, home, p); err != nil {
					return err
				}
				for range 10 {
					if err := tx.UpdateProject(ctx, home, p); err != nil {
						return err
					}
				}
				return nil
			})
			if i%4 != 0 && err != nil {
				b.Errorf("Update %s beside one whose context ended: %v", name, err)
			}
			if exists := b.exists(name); exists != (err == nil) {
				b.Errorf("Update %s returned %v, but the project exists: %t", name, err, exists)
			}
		})
	}
}

func readContext(b *bench) {
	b.queue("site", 2)
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	_, err := b.s.Build(ctx, home, buildID("site", 1))
	b.is("Build", err, context.Canceled)
	_, err = b.s.BuildKeys(ctx, home, store.BuildPage{Limit: 9})
	b.is("BuildKeys", err, context.Canceled)
	_, err = b.s.Build(b.ctx, home, buildID("site", 1))
	b.is("Build with another context", err, nil)
}

// Close ends everything and leaves nobody waiting.
func closeStore(b *bench) {
	b.queue("site", 1)
	var refused atomic.Int64
	var wg sync.WaitGroup
	started := make(chan struct{}, many)
	for i := range many {
		wg.Go(func() {
			started <- struct{}{}
			for n := 0; ; n++ {
				err := b.s.Update(b.ctx, func(tx store.Tx) error {
					return tx.CreateProject(b.ctx, home, project(fmt.Sprintf("p-%d-%d", i, n)))
				})
				if err != nil {
					refused.Add(1)
					return
				}
			}
		})
	}
	for range many {
		<-started
	}
	b.is("Close", b.s.Close(), nil)
	wg.Wait()
	if n := refused.Load(); n != many {
		b.Errorf("%d of %d writers were refused", n, many)
	}
	if err := b.s.Update(b.ctx, func(store.Tx) error { return nil }); err == nil {
		b.Errorf("Update after Close succeeded")
	}
	if _, err := b.s.Build(b.ctx, home, buildID("site", 1)); err == nil {
		b.Errorf("Build after Close succeeded")
	}
	for what, ch := range map[string]<-chan struct{}{"Queued": b.s.Queued(), "Stopping": b.s.Stopping(), "Outgoing": b.s.Outgoing(), "Delivered": b.s.Delivered(), "Polling": b.s.Polling()} {
		select {
		case _, open := <-ch:
			if !open {
				b.Errorf("%s is closed", what)
			}
		default:
		}
	}
	b.is("Close again", b.s.Close(), nil)
}

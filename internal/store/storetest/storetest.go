// Package storetest defines what a store promises, as tests that each adapter
// runs.
//
// An adapter calls Run from a test of its own, with a function that opens an
// empty store. What only one adapter can be asked, such as what its files look
// like or what a crash leaves, it tests itself.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

// many is how many goroutines work at once where exclusion is tested.
const many = 64

// Run tests the store that open returns, a new and empty one for each call.
// open closes what it opened at the end of the test it is given; closing a
// store twice must do no harm.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"Accounts", accounts},
		{"AccessKeys", accessKeys},
		{"Sessions", sessions},
		{"Credentials", credentials},
		{"Secrets", secrets},
		{"Sealed", sealed},
		{"Parameters", parameters},
		{"Projects", projects},
		{"ProjectNames", projectNames},
		{"Badges", badges},
		{"Builds", builds},
		{"BuildKeys", buildKeys},
		{"BuildFilters", buildFilters},
		{"BuildOutcomes", buildOutcomes},
		{"BuildNumbers", buildNumbers},
		{"Regions", regions},
		{"ScopesAreApart", scopesAreApart},
		{"DocumentsAreCopies", documentsAreCopies},

		{"UpdateUndoes", updateUndoes},
		{"UpdateSeesItsOwnWrites", updateSeesItsOwnWrites},
		{"UpdateAmongNeighbours", updateAmongNeighbours},
		{"UpdatePanics", updatePanics},
		{"UpdateContext", updateContext},
		{"UpdateContextEndsInside", updateContextEndsInside},
		{"ReadContext", readContext},
		{"Close", closeStore},

		{"ClaimOldestFirst", claimOldestFirst},
		{"ClaimExclusive", claimExclusive},
		{"Fencing", fencing},
		{"Return", returnBuild},
		{"QueueDepth", queueDepth},
		{"Leases", leases},
		{"Overdue", overdue},
		{"Stop", stop},
		{"EndQueued", endQueued},
		{"DeleteBuild", deleteBuild},
		{"ActiveBuilds", activeBuilds},
		{"WakeUps", wakeUps},
		{"Idempotency", idempotency},

		{"Statuses", statuses},
		{"StatusLanes", statusLanes},
		{"LogGroups", logGroups},
		{"LogStreams", logStreams},
		{"Checks", checks},
		{"Audit", audit},

		{"Webhooks", webhooks},
		{"WebhooksElsewhere", webhooksElsewhere},
		{"SealedWebhooks", sealedWebhooks},
		{"Polls", polls},
		{"Refused", refused},
		{"Deliveries", deliveries},
		{"DeliveryPages", deliveryPages},
		{"Digests", digests},
		{"DueDeliveries", dueDeliveries},
		{"FullHosts", fullHosts},
		{"DeliveryLanes", deliveryLanes},
		{"DeleteDeliveries", deleteDeliveries},
		{"Approvals", approvals},
		{"Removals", removals},
		{"WebhookWakeUps", webhookWakeUps},
		{"Triggers", triggers},
		{"AddContext", addContext},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(&bench{T: t, s: open(t), ctx: t.Context()})
		})
	}
}

// A bench is a test with its store.
type bench struct {
	*testing.T
	s   store.Store
	ctx context.Context
}

var (
	home = store.Scope{Account: "111122223333", Region: "eu-west-1"}
	// Each of these differs from home in one part.
	elsewhere = []store.Scope{
		{Account: "111122223333", Region: "us-east-1"},
		{Account: "444455556666", Region: "eu-west-1"},
	}
)

// at is a moment, in seconds after the first one. It has milliseconds.
func at(seconds int) time.Time {
	return time.UnixMilli(1_700_000_000_123).UTC().Add(time.Duration(seconds) * time.Second)
}

// update runs fn, which must succeed.
func (b *bench) update(fn func(tx store.Tx) error) {
	b.Helper()
	if err := b.s.Update(b.ctx, fn); err != nil {
		b.Fatalf("Update: %v", err)
	}
}

// is fails the test unless err is want, or both are nil.
func (b *bench) is(what string, err, want error) {
	b.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		b.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

// same compares with cmp. what says what was compared.
func (b *bench) same(what string, got, want any) {
	b.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func project(name string) *api.Project {
	return &api.Project{Name: &name, Created: api.At(at(0)), LastModified: api.At(at(0))}
}

func buildID(project string, n int) string { return fmt.Sprintf("%s:%08d", project, n) }

// build is number n of a project, requested n seconds after the first moment.
func build(project string, n int) store.Build {
	return store.Build{
		Scope:      home,
		Doc:        &api.Build{Id: new(buildID(project, n)), ProjectName: &project, BuildNumber: new(int64(n)), Initiator: new("ada")},
		Requested:  at(n),
		QueueUntil: at(n + 1000),
	}
}

// queue stores builds 1 to n of a project.
func (b *bench) queue(project string, n int) {
	b.Helper()
	b.update(func(tx store.Tx) error {
		for i := 1; i <= n; i++ {
			if err := tx.QueueBuild(b.ctx, build(project, i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// claim claims a build for holder until a second.
func (b *bench) claim(holder string, until int) (c store.Build, err error) {
	err = b.s.Update(b.ctx, func(tx store.Tx) error {
		c, err = tx.ClaimBuild(b.ctx, holder, at(until))
		return err
	})
	return c, err
}

// complete ends a build that is held.
func (b *bench) complete(c store.Build) {
	b.Helper()
	c.State = store.Complete
	b.update(func(tx store.Tx) error { return tx.SaveBuild(b.ctx, c) })
}

// depth fails the test unless n builds of home's account are queued.
func (b *bench) depth(when string, n int) {
	b.Helper()
	got, err := b.s.QueuedBuilds(b.ctx, home.Account)
	b.is("QueuedBuilds", err, nil)
	if got != n {
		b.Errorf("%s: %d builds are queued, want %d", when, got, n)
	}
}

// woken fails the test unless the channel has a wake-up or gets one soon.
func (b *bench) woken(when string, ch <-chan struct{}) {
	b.Helper()
	select {
	case _, open := <-ch:
		if !open {
			b.Errorf("%s: the channel is closed", when)
		}
	case <-time.After(10 * time.Second):
		b.Errorf("%s: nobody was woken", when)
	}
}

// each runs fn in many goroutines at once and waits for all.
func each(fn func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range many {
		wg.Go(func() { <-start; fn(i) })
	}
	close(start)
	wg.Wait()
}

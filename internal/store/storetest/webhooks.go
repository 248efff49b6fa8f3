package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

// webhook is one of home's with the address.
func webhook(project, address string) store.Webhook {
	return store.Webhook{
		Scope: home, Project: project, Address: address, Source: api.SourceTypeGITHUB, Host: "github.com", Owner: "acme/" + project, Kind: "REPOSITORY",
		HookID: "17", Sealed: []byte{1, 0, 0xff}, Version: 3, Created: at(1),
	}
}

// delivery came for a webhook n seconds after the first moment, and is due then.
func delivery(w store.Webhook, n int) store.Delivery {
	return store.Delivery{
		Scope: w.Scope, Project: w.Project, Hook: w.Address, Origin: store.Delivered, Received: at(n), Next: at(n), Event: "push", Provider: fmt.Sprint("id-", n),
		Headers: map[string]string{"X-Github-Event": "push"}, Digest: fmt.Append(nil, "digest-", n), Body: []byte{0x1f, 0x8b, 0, byte(n)},
	}
}

// put stores deliveries and returns them with their ids.
func (b *bench) put(list ...store.Delivery) []store.Delivery {
	b.Helper()
	b.update(func(tx store.Tx) (err error) {
		for i := range list {
			if list[i].ID, err = tx.PutDelivery(b.ctx, list[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return list
}

// putError is what becomes of putting one delivery.
func (b *bench) putError(d store.Delivery) error {
	return b.s.Update(b.ctx, func(tx store.Tx) error {
		_, err := tx.PutDelivery(b.ctx, d)
		return err
	})
}

// equal compares records of webhooks, in which nothing and empty are the same.
func (b *bench) equal(what string, got, want any) {
	b.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		b.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// listed is a delivery as a list has it: without what only the store needs.
func listed(list ...store.Delivery) (out []store.Delivery) {
	for _, d := range list {
		d.Digest, d.Body = nil, nil
		out = append(out, d)
	}
	return out
}

func ids(list []store.Delivery) (out []int64) {
	for _, d := range list {
		out = append(out, d.ID)
	}
	return out
}

func webhooks(b *bench) {
	site, other := webhook("site", "addr-1"), webhook("other", "addr-2")
	foreign := webhook("site", "addr-3")
	foreign.Scope = elsewhere[0]
	account := webhook("site", "addr-4")
	account.Scope = elsewhere[1]
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.PutWebhook(b.ctx, site), tx.PutWebhook(b.ctx, other), tx.PutWebhook(b.ctx, foreign), tx.PutWebhook(b.ctx, account))
	})
	for _, w := range []store.Webhook{site, other, foreign, account} {
		got, err := b.s.Webhook(b.ctx, w.Scope, w.Project)
		b.is("Webhook", err, nil)
		b.equal("Webhook", got, w)
		got, err = b.s.WebhookAt(b.ctx, w.Address)
		b.is("WebhookAt", err, nil)
		b.equal("WebhookAt", got, w)
	}
	_, err := b.s.Webhook(b.ctx, elsewhere[0], "other")
	b.is("Webhook of another scope", err, store.ErrNotFound)
	for _, address := range []string{"", "addr", "addr-11", "ADDR-1", "addr-%"} {
		_, err = b.s.WebhookAt(b.ctx, address)
		b.is(fmt.Sprintf("WebhookAt(%q)", address), err, store.ErrNotFound)
	}

	site.Source, site.Host, site.Owner, site.Kind, site.HookID, site.Sealed, site.Version, site.Created = api.SourceTypeGITHUB_ENTERPRISE, "git.acme.example", "acme", "ORGANIZATION", "", []byte{7}, 4, at(2)
	b.update(func(tx store.Tx) error { return tx.PutWebhook(b.ctx, site) })
	got, err := b.s.Webhook(b.ctx, home, "site")
	b.is("Webhook", err, nil)
	b.equal("Webhook that was replaced", got, site)
	got, err = b.s.Webhook(b.ctx, elsewhere[0], "site")
	b.is("Webhook", err, nil)
	b.equal("Webhook of another scope beside it", got, foreign)

	taken := webhook("third", other.Address)
	b.is("PutWebhook with a taken address", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.PutWebhook(b.ctx, taken) }), store.ErrExists)

	remove := func(s store.Scope, project string) error {
		return b.s.Update(b.ctx, func(tx store.Tx) error { return tx.DeleteWebhook(b.ctx, s, project) })
	}
	b.is("DeleteWebhook of another scope", remove(elsewhere[0], "other"), store.ErrNotFound)
	b.is("DeleteWebhook", remove(home, "site"), nil)
	b.is("DeleteWebhook again", remove(home, "site"), store.ErrNotFound)
	_, err = b.s.WebhookAt(b.ctx, site.Address)
	b.is("WebhookAt of a deleted one", err, store.ErrNotFound)
	_, err = b.s.Webhook(b.ctx, elsewhere[0], "site")
	b.is("Webhook of another scope after it", err, nil)
}

// Those webhooks are elsewhere whose address begins with something else, whoever
// has them.
func webhooksElsewhere(b *bench) {
	put := func(s store.Scope, name, payload string, every time.Duration) {
		p, w := project(name), webhook(name, "addr-"+s.Account+s.Region+name)
		if payload != "" {
			p.Webhook = &api.Webhook{PayloadUrl: &payload}
		}
		w.Scope, w.PollEvery = s, every
		b.update(func(tx store.Tx) error {
			return errors.Join(tx.CreateProject(b.ctx, s, p), tx.PutWebhook(b.ctx, w), tx.SetPoll(b.ctx, w))
		})
	}
	look := func(base string, want ...string) {
		b.Helper()
		got, err := b.s.WebhooksElsewhere(b.ctx, base)
		b.is("WebhooksElsewhere", err, nil)
		slices.Sort(got)
		b.equal("WebhooksElsewhere of "+base, got, want)
	}
	look("https://ci.example/h?t=")
	put(home, "here", "https://ci.example/h?t=1", 0)
	put(home, "making", "", 0)
	put(home, "polled", "https://old.example/h?t=2", time.Minute)
	look("https://ci.example/h?t=")
	put(home, "old", "https://old.example/h?t=3", 0)
	put(elsewhere[0], "here", "http://ci.example/h?t=4", 0)
	put(elsewhere[1], "case", "https://CI.example/h?t=5", 0)
	b.update(func(tx store.Tx) error { return tx.CreateProject(b.ctx, home, project("none")) })
	look("https://ci.example/h?t=", "case", "here", "old")
	look("https://old.example/h?t=", "case", "here", "here")
	look("https://ci.example/h?t", "case", "here", "old")
}

// What the store seals for a webhook is found with its binding, and sealed
// again.
func sealedWebhooks(b *bench) {
	w := webhook("site", "addr-1")
	b.update(func(tx store.Tx) error { return tx.PutWebhook(b.ctx, w) })
	if !slices.Contains(b.s.SealedKinds(), "webhook") {
		b.Fatalf("the kinds are %v", b.s.SealedKinds())
	}
	list, err := b.s.SealedValues(b.ctx, "webhook", nil, 9)
	b.is("SealedValues", err, nil)
	b.same("SealedValues", list, []store.SealedValue{{
		Kind: "webhook", Key: []string{home.Account, home.Region, "site"}, Parts: []string{"addr-1", home.Account, home.Region, "site", "3"}, Sealed: w.Sealed,
	}})
	again := func(v store.SealedValue) error {
		return b.s.Update(b.ctx, func(tx store.Tx) error { return tx.Reseal(b.ctx, v, []byte{99}) })
	}
	b.is("Reseal", again(list[0]), nil)
	b.is("Reseal of what has changed", again(list[0]), store.ErrNotFound)
	w.Sealed = []byte{99}
	got, err := b.s.WebhookAt(b.ctx, w.Address)
	b.is("WebhookAt", err, nil)
	b.equal("what was sealed again", got, w)
}

func polls(b *bench) {
	site, other, never := webhook("site", "addr-1"), webhook("other", "addr-2"), webhook("never", "addr-3")
	other.Scope = elsewhere[1] // whoever polls does it for all scopes
	_, err := b.s.NextPoll(b.ctx, nil, nil)
	b.is("NextPoll without webhooks", err, store.ErrNotFound)
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.PutWebhook(b.ctx, site), tx.PutWebhook(b.ctx, other), tx.PutWebhook(b.ctx, never))
	})
	_, err = b.s.NextPoll(b.ctx, nil, nil)
	b.is("NextPoll without polled webhooks", err, store.ErrNotFound)
	set := func(w store.Webhook) error {
		return b.s.Update(b.ctx, func(tx store.Tx) error { return tx.SetPoll(b.ctx, w) })
	}
	due := func(now, limit int, want ...store.Webhook) {
		b.Helper()
		list, err := b.s.DuePolls(b.ctx, at(now), nil, nil, limit)
		b.is("DuePolls", err, nil)
		b.equal(fmt.Sprintf("DuePolls at %d", now), list, want)
	}
	next := func(want int) {
		b.Helper()
		got, err := b.s.NextPoll(b.ctx, nil, nil)
		b.is("NextPoll", err, nil)
		b.same("NextPoll", got, at(want))
	}
	site.PollEvery, site.PollNext, site.Marks = 90*time.Second, at(20), []byte(`{"refs":"etag"}`)
	other.PollEvery, other.PollNext, other.PollProblem, other.PollFailing = 1500*time.Millisecond, at(10), "no answer", at(3)
	b.is("SetPoll", set(site), nil)
	b.is("SetPoll", set(other), nil)
	b.woken("after SetPoll", b.s.Polling())
	next(10)
	due(9, 9)
	due(10, 9, other)
	due(20, 9, other, site)
	due(20, 1, other)

	// PutWebhook leaves it as it is, SetPoll everything else.
	changed := site
	changed.HookID, changed.PollEvery, changed.PollNext, changed.Marks = "18", 0, time.Time{}, nil
	b.update(func(tx store.Tx) error { return tx.PutWebhook(b.ctx, changed) })
	site.HookID = "18"
	got, err := b.s.WebhookAt(b.ctx, site.Address)
	b.is("WebhookAt", err, nil)
	b.equal("after PutWebhook", got, site)
	stale := site
	stale.HookID, stale.Sealed, stale.PollNext = "17", []byte{4}, at(30)
	b.is("SetPoll", set(stale), nil)
	site.PollNext = at(30)
	due(30, 9, other, site)

	other.PollEvery, other.PollProblem, other.PollFailing = 0, "", time.Time{}
	b.is("SetPoll to never", set(other), nil)
	due(99, 9, site)
	next(30)

	b.update(func(tx store.Tx) error { return tx.DeleteWebhook(b.ctx, home, "site") })
	b.is("SetPoll of a deleted one", set(site), store.ErrNotFound)
	b.update(func(tx store.Tx) error { return tx.PutWebhook(b.ctx, webhook("site", "addr-9")) })
	b.is("SetPoll of one that was replaced", set(site), store.ErrNotFound)
	got, err = b.s.WebhookAt(b.ctx, "addr-9")
	b.is("WebhookAt", err, nil)
	b.equal("the new one", got, webhook("site", "addr-9"))
	_, err = b.s.NextPoll(b.ctx, nil, nil)
	b.is("NextPoll at the end", err, store.ErrNotFound)
}

func refused(b *bench) {
	w, other := webhook("site", "addr-1"), webhook("other", "addr-2")
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.PutWebhook(b.ctx, w), tx.PutWebhook(b.ctx, other),
			tx.NoteRefused(b.ctx, "addr-1", 2, "no signature", at(5)), tx.NoteRefused(b.ctx, "addr-1", 40, "wrong signature", at(6)),
			tx.NoteRefused(b.ctx, "addr-none", 1, "x", at(7)))
	})
	w.Refused, w.RefusedReason, w.RefusedAt = 42, "wrong signature", at(6)
	b.update(func(tx store.Tx) error { return tx.PutWebhook(b.ctx, webhook("site", "addr-1")) })
	for _, want := range []store.Webhook{w, other} {
		got, err := b.s.WebhookAt(b.ctx, want.Address)
		b.is("WebhookAt", err, nil)
		b.equal("after NoteRefused", got, want)
	}
	each(func(int) {
		b.is("NoteRefused", b.s.Update(b.ctx, func(tx store.Tx) error { return tx.NoteRefused(b.ctx, "addr-2", 1, "x", at(8)) }), nil)
	})
	got, err := b.s.WebhookAt(b.ctx, "addr-2")
	b.is("WebhookAt", err, nil)
	b.same("those that many counted at once", got.Refused, int64(many))
}

func deliveries(b *bench) {
	w, other := webhook("site", "addr-1"), webhook("other", "addr-2")
	other.Scope = elsewhere[1]
	b.update(func(tx store.Tx) error { return errors.Join(tx.PutWebhook(b.ctx, w), tx.PutWebhook(b.ctx, other)) })
	one := delivery(w, 1)
	one.Headers = map[string]string{"Content-Type": `a"b`, "X-Gitlab-Event": "Push Hook\n"}
	bare := store.Delivery{Scope: home, Project: "site", Hook: w.Address, Origin: store.Polled, Received: at(2), Next: at(2), Body: []byte{}}
	stored := b.put(one, bare, bare, delivery(other, 3))
	b.woken("after PutDelivery", b.s.Delivered())
	for i, d := range stored {
		if d.ID == 0 || i > 0 && d.ID <= stored[i-1].ID {
			b.Errorf("delivery %d has the id %d", i, d.ID)
		}
		got, err := b.s.Delivery(b.ctx, d.ID)
		b.is("Delivery", err, nil)
		d.Digest = nil
		b.equal("Delivery", got, d)
	}
	_, err := b.s.Delivery(b.ctx, 1<<40)
	b.is("Delivery that is not there", err, store.ErrNotFound)

	list, err := b.s.Deliveries(b.ctx, other.Address, 0, 9)
	b.is("Deliveries", err, nil)
	b.equal("Deliveries", list, listed(stored[3]))
	list, err = b.s.Deliveries(b.ctx, "addr-none", 0, 9)
	b.is("Deliveries of no webhook", err, nil)
	b.same("Deliveries of no webhook", len(list), 0)

	b.is("PutDelivery to no webhook", b.putError(delivery(webhook("none", "addr-none"), 1)), store.ErrNotFound)
	b.update(func(tx store.Tx) error { return tx.DeleteWebhook(b.ctx, home, "site") })
	b.is("PutDelivery to a deleted webhook", b.putError(delivery(w, 9)), store.ErrNotFound)
	bare.Digest = nil
	b.is("PutDelivery without digest to a deleted webhook", b.putError(bare), store.ErrNotFound)
}

func deliveryPages(b *bench) {
	w, other := webhook("site", "addr-1"), webhook("other", "addr-2")
	b.update(func(tx store.Tx) error { return errors.Join(tx.PutWebhook(b.ctx, w), tx.PutWebhook(b.ctx, other)) })
	var want []int64
	for i := range 25 {
		d := b.put(delivery(w, 100-i), delivery(other, i))[0] // by id, whatever the time
		want = append(want, d.ID)
	}
	slices.Reverse(want)
	for _, limit := range []int{1, 7, 25, 100} {
		var got []int64
		for before := int64(0); ; before = got[len(got)-1] {
			list, err := b.s.Deliveries(b.ctx, w.Address, before, limit)
			b.is("Deliveries", err, nil)
			if len(list) > limit {
				b.Fatalf("a page of %d has %d", limit, len(list))
			}
			if len(list) == 0 {
				break
			}
			got = append(got, ids(list)...)
		}
		b.same(fmt.Sprintf("pages of %d", limit), got, want)
	}
	// Ids are never given twice, so a page goes on where it was.
	b.update(func(tx store.Tx) error {
		for _, id := range want[:3] {
			if err := tx.SaveDelivery(b.ctx, store.Delivery{ID: id, State: store.Done}); err != nil {
				return err
			}
		}
		_, err := tx.DeleteDeliveries(b.ctx, at(1000), 100)
		return err
	})
	if d := b.put(delivery(w, 999))[0]; d.ID <= want[0] {
		b.Errorf("id %d was given after %d", d.ID, want[0])
	}
}

// What was signed once is taken once, however often and at once it comes.
func digests(b *bench) {
	w, other := webhook("site", "addr-1"), webhook("other", "addr-2")
	b.update(func(tx store.Tx) error { return errors.Join(tx.PutWebhook(b.ctx, w), tx.PutWebhook(b.ctx, other)) })
	for round := range 3 {
		var stored, again atomic.Int64
		each(func(int) {
			switch err := b.putError(delivery(w, round)); {
			case err == nil:
				stored.Add(1)
			case errors.Is(err, store.ErrExists):
				again.Add(1)
			default:
				b.Errorf("PutDelivery: %v", err)
			}
		})
		if stored.Load() != 1 || again.Load() != many-1 {
			b.Errorf("round %d: %d stored, %d refused of %d", round, stored.Load(), again.Load(), many)
		}
	}
	list, err := b.s.Deliveries(b.ctx, w.Address, 0, many)
	b.is("Deliveries", err, nil)
	b.same("deliveries", len(list), 3)
	b.is("PutDelivery of the same digest to another webhook", b.putError(delivery(other, 0)), nil)

	// Who was refused may go on in the same transaction, and has written nothing.
	b.update(func(tx store.Tx) error {
		_, err := tx.PutDelivery(b.ctx, delivery(w, 0))
		b.is("PutDelivery again", err, store.ErrExists)
		_, err = tx.PutDelivery(b.ctx, delivery(w, 50))
		return err
	})
	list, err = b.s.Deliveries(b.ctx, w.Address, 0, many)
	b.is("Deliveries", err, nil)
	b.same("deliveries", len(list), 4)

	// What was undone was not taken.
	why := errors.New("undo")
	b.is("Update", b.s.Update(b.ctx, func(tx store.Tx) error {
		_, err := tx.PutDelivery(b.ctx, delivery(w, 60))
		return errors.Join(err, why)
	}), why)
	b.is("PutDelivery of what was undone", b.putError(delivery(w, 60)), nil)

	// A digest outlives its delivery.
	b.update(func(tx store.Tx) error {
		for _, d := range list {
			d.State = store.Done
			if err := tx.SaveDelivery(b.ctx, d); err != nil {
				return err
			}
		}
		n, err := tx.DeleteDeliveries(b.ctx, at(9999), 100)
		b.same("removed", n, len(list))
		return err
	})
	for _, d := range list {
		_, err := b.s.Delivery(b.ctx, d.ID)
		b.is("Delivery that was removed", err, store.ErrNotFound)
	}
	for _, n := range []int{0, 1, 2, 50} {
		b.is("PutDelivery after its delivery was removed", b.putError(delivery(w, n)), store.ErrExists)
	}
	nameless := delivery(w, 0)
	nameless.Digest = nil
	b.is("PutDelivery without digest", b.putError(nameless), nil)
	b.is("PutDelivery without digest again", b.putError(nameless), nil)
}

func dueDeliveries(b *bench) {
	_, err := b.s.NextDelivery(b.ctx, nil, nil)
	b.is("NextDelivery of none", err, store.ErrNotFound)
	first, second := webhook("site", "addr-1"), webhook("other", "addr-2")
	second.Scope = elsewhere[0]
	b.update(func(tx store.Tx) error { return errors.Join(tx.PutWebhook(b.ctx, first), tx.PutWebhook(b.ctx, second)) })
	d := b.put(delivery(first, 30), delivery(second, 10), delivery(first, 20), delivery(second, 20+1), delivery(first, 20+2))
	tie := delivery(second, 500)
	tie.Next = at(20)
	d = append(d, b.put(tie)...)
	hooks := func(now int, except []string, limit int, want ...string) {
		b.Helper()
		list, err := b.s.DueHooks(b.ctx, at(now), except, nil, limit)
		b.is("DueHooks", err, nil)
		got := []string{}
		for _, h := range list {
			got = append(got, h.Address)
			b.same("the host of "+h.Address, h.Host, "github.com")
		}
		b.equal(fmt.Sprintf("DueHooks at %d but for %q", now, except), got, append([]string{}, want...))
	}
	due := func(now int, hook string, limit int, want ...store.Delivery) {
		b.Helper()
		list, err := b.s.DueDeliveries(b.ctx, at(now), hook, limit)
		b.is("DueDeliveries", err, nil)
		b.equal(fmt.Sprintf("DueDeliveries at %d to %q", now, hook), list, listed(want...))
	}
	next := func(want int, except ...string) {
		b.Helper()
		got, err := b.s.NextDelivery(b.ctx, except, nil)
		b.is("NextDelivery", err, nil)
		b.same("NextDelivery", got, at(want))
	}
	next(10)
	next(20, "addr-2", "addr-none")
	_, err = b.s.NextDelivery(b.ctx, []string{"addr-1", "addr-2"}, nil)
	b.is("NextDelivery but for all", err, store.ErrNotFound)
	hooks(9, nil, 9)
	hooks(10, nil, 9, "addr-2")
	hooks(20, nil, 9, "addr-2", "addr-1")
	hooks(99, []string{}, 9, "addr-2", "addr-1")
	hooks(99, nil, 1, "addr-2")
	hooks(99, []string{"addr-2", `a"b`, "addr-none"}, 9, "addr-1")
	hooks(99, []string{"addr-1", "addr-2"}, 9)
	due(9, "addr-2", 9)
	due(10, "addr-2", 9, d[1])
	due(99, "addr-2", 9, d[1], d[5], d[3])
	due(99, "addr-2", 2, d[1], d[5])
	due(99, "addr-1", 9, d[2], d[4], d[0])
	due(99, "addr-none", 9)

	save := func(d store.Delivery) error {
		return b.s.Update(b.ctx, func(tx store.Tx) error { return tx.SaveDelivery(b.ctx, d) })
	}
	later := d[1]
	later.Next, later.Attempts, later.Problem = at(40), 2, "the provider is down"
	later.Results = []store.Result{{
		Event: "PUSH", Note: "n", Repository: "acme/site", HeadRef: "refs/heads/a\"b", BaseRef: "refs/heads/main", SHA: "abc", Actor: "1", Login: "ada", Pull: 7,
		Outcome: "STARTED", Reason: "filter group 2 matches", Groups: []string{"why", ""}, Build: "site:1",
	}, {}}
	// Only what is the inbox's to change is changed.
	forged := later
	forged.Hook, forged.Project, forged.Body, forged.Received, forged.Headers, forged.Event = "x", "x", []byte("x"), at(0), nil, "x"
	b.is("SaveDelivery", save(forged), nil)
	got, err := b.s.Delivery(b.ctx, later.ID)
	b.is("Delivery", err, nil)
	want := later
	want.Digest = nil
	b.equal("Delivery that was saved", got, want)
	due(39, "addr-2", 9, d[5], d[3])
	due(40, "addr-2", 9, d[5], d[3], later)
	hooks(99, nil, 9, "addr-1", "addr-2")
	next(20)

	// One that does not wait any more is not written.
	later.State = store.Done
	b.is("SaveDelivery of the end", save(later), nil)
	for _, state := range []store.DeliveryState{store.Waiting, store.Done, store.Failed} {
		again := later
		again.State, again.Problem = state, "written twice"
		b.is("SaveDelivery after the end", save(again), store.ErrNotFound)
	}
	failed := d[0]
	failed.State = store.Failed
	b.is("SaveDelivery of one given up", save(failed), nil)
	b.is("SaveDelivery of one given up, again", save(failed), store.ErrNotFound)
	b.is("SaveDelivery of none", save(store.Delivery{ID: 1 << 40}), store.ErrNotFound)
	got, err = b.s.Delivery(b.ctx, later.ID)
	b.is("Delivery", err, nil)
	want = later
	want.Digest = nil
	b.equal("Delivery that ended", got, want)
	due(99, "addr-1", 9, d[2], d[4])
	due(99, "addr-2", 9, d[5], d[3])

	// Of several that decide the same delivery, one writes.
	var wrote atomic.Int64
	each(func(i int) {
		mine := d[2]
		mine.State, mine.Problem = store.Done, fmt.Sprint(i)
		if err := save(mine); err == nil {
			wrote.Add(1)
		} else if !errors.Is(err, store.ErrNotFound) {
			b.Errorf("SaveDelivery: %v", err)
		}
	})
	b.same("who wrote", wrote.Load(), int64(1))
	b.update(func(tx store.Tx) error {
		for _, d := range []store.Delivery{d[3], d[4], d[5]} {
			d.State = store.Done
			if err := tx.SaveDelivery(b.ctx, d); err != nil {
				return err
			}
		}
		return nil
	})
	_, err = b.s.NextDelivery(b.ctx, nil, nil)
	b.is("NextDelivery when none waits", err, store.ErrNotFound)
}

// What is at a host that has its share is left out, and what is under way.
func fullHosts(b *bench) {
	site, other, gone := webhook("site", "addr-1"), webhook("other", "addr-2"), webhook("gone", "addr-3")
	other.Host = `git."example".com`
	for _, w := range []*store.Webhook{&site, &other} {
		w.PollEvery, w.PollNext = time.Minute, at(10)
	}
	other.PollNext = at(20)
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.PutWebhook(b.ctx, site), tx.PutWebhook(b.ctx, other), tx.PutWebhook(b.ctx, gone), tx.SetPoll(b.ctx, site), tx.SetPoll(b.ctx, other))
	})
	b.put(delivery(site, 10), delivery(other, 20), delivery(gone, 30))
	far := status("sha", "ci", 20)
	far.Source = &api.ProjectSource{Type: api.SourceTypeGITHUB_ENTERPRISE, Location: new("https://me@git.example.com:8443/a/b")}
	far.Host = "git.example.com:8443"
	b.putStatuses(status("sha", "ci", 10), far)
	ids := map[string]int64{}
	for _, c := range b.due(99, 9) {
		ids[c.Host] = c.ID
	}
	b.update(func(tx store.Tx) error { return tx.DeleteWebhook(b.ctx, home, "gone") })

	for _, c := range []struct {
		except, full []string
		ids          []int64
		hooks        []store.DueHook
		polls        []string
		next, poll   int // 0 is never
		statuses     []string
		status       int
	}{
		{hooks: []store.DueHook{{Address: "addr-1", Host: "github.com"}, {Address: "addr-2", Host: other.Host}, {Address: "addr-3"}}, polls: []string{"addr-1", "addr-2"}, next: 10, poll: 10, statuses: []string{"github.com", far.Host}, status: 10},
		{full: []string{"github.com"}, hooks: []store.DueHook{{Address: "addr-2", Host: other.Host}, {Address: "addr-3"}}, polls: []string{"addr-2"}, next: 20, poll: 20, statuses: []string{far.Host}, status: 20},
		{full: []string{other.Host, far.Host, ""}, hooks: []store.DueHook{{Address: "addr-1", Host: "github.com"}}, polls: []string{"addr-1"}, next: 10, poll: 10, statuses: []string{"github.com"}, status: 10},
		{full: []string{"github.com", far.Host, ""}, except: []string{"addr-2"}},
		{except: []string{"addr-1", "addr-3"}, ids: []int64{ids["github.com"]}, hooks: []store.DueHook{{Address: "addr-2", Host: other.Host}}, polls: []string{"addr-2"}, next: 20, poll: 20, statuses: []string{far.Host}, status: 20},
	} {
		what := fmt.Sprintf("but for %q and what is at %q", c.except, c.full)
		hooks, err := b.s.DueHooks(b.ctx, at(99), c.except, c.full, 9)
		b.is("DueHooks", err, nil)
		b.equal("DueHooks "+what, hooks, c.hooks)
		list, err := b.s.DuePolls(b.ctx, at(99), c.except, c.full, 9)
		b.is("DuePolls", err, nil)
		var polls []string
		for _, w := range list {
			polls = append(polls, w.Address)
		}
		b.equal("DuePolls "+what, polls, c.polls)
		var statuses []string
		for _, s := range b.dueBut(c.ids, c.full, 99, 9) {
			statuses = append(statuses, s.Host)
		}
		b.equal("DueStatuses "+what, statuses, c.statuses)
		for name, one := range map[string]struct {
			want int
			ask  func() (time.Time, error)
		}{
			"NextDelivery": {c.next, func() (time.Time, error) { return b.s.NextDelivery(b.ctx, c.except, c.full) }},
			"NextPoll":     {c.poll, func() (time.Time, error) { return b.s.NextPoll(b.ctx, c.except, c.full) }},
			"NextStatus": {c.status, func() (v time.Time, err error) {
				err = b.s.Update(b.ctx, func(tx store.Tx) (err error) { v, err = tx.NextStatus(b.ctx, c.ids, c.full); return err })
				return v, err
			}},
		} {
			got, err := one.ask()
			if one.want == 0 {
				b.is(name+" "+what, err, store.ErrNotFound)
				continue
			}
			b.is(name+" "+what, err, nil)
			b.same(name+" "+what, got, at(one.want))
		}
	}
}

// What waits for an earlier delivery is due once that leaves a lane, and not
// before.
func deliveryLanes(b *bench) {
	w, other := webhook("site", "addr-1"), webhook("other", "addr-2")
	b.update(func(tx store.Tx) error { return errors.Join(tx.PutWebhook(b.ctx, w), tx.PutWebhook(b.ctx, other)) })
	d := b.put(delivery(w, 1), delivery(w, 2), delivery(w, 3), delivery(w, 4), delivery(other, 5))
	save := func(i int, change func(d *store.Delivery)) {
		b.Helper()
		change(&d[i])
		b.update(func(tx store.Tx) error { return tx.SaveDelivery(b.ctx, d[i]) })
	}
	last := func(before int, lanes []string, want int, at string) {
		b.Helper()
		id, lane, err := b.s.LastWaiting(b.ctx, "addr-1", d[before].ID, lanes)
		if want < 0 {
			b.is("LastWaiting", err, store.ErrNotFound)
			return
		}
		b.is("LastWaiting", err, nil)
		b.same("LastWaiting", id, d[want].ID)
		b.same("its lane", lane, at)
	}
	due := func(want ...int) {
		b.Helper()
		list, err := b.s.DueDeliveries(b.ctx, at(99), "addr-1", 9)
		b.is("DueDeliveries", err, nil)
		var all []int64
		for _, i := range want {
			all = append(all, d[i].ID)
		}
		b.equal("due", ids(list), all)
	}
	const main, topic = "acme/site refs/heads/main", `acme/site refs/heads/"topic"`
	last(3, []string{main}, -1, "")
	save(0, func(d *store.Delivery) { d.Next, d.Lanes = at(50), []string{main, topic, main} })
	save(4, func(d *store.Delivery) { d.Lanes = []string{main} }) // another webhook's
	last(0, []string{main}, -1, "")
	last(3, []string{"other"}, -1, "")
	last(3, nil, -1, "")
	last(3, []string{"other", main}, 0, main)
	last(3, []string{main, topic}, 0, topic)
	save(1, func(x *store.Delivery) { x.Lanes, x.Behind = []string{topic}, d[0].ID })
	save(2, func(x *store.Delivery) { x.Lanes, x.Behind = []string{main}, d[0].ID })
	last(3, []string{topic, main}, 2, main)
	last(2, []string{topic, main}, 1, topic)
	due(3, 0)
	got, err := b.s.Delivery(b.ctx, d[2].ID)
	b.is("Delivery", err, nil)
	b.same("what it waits for", got.Behind, d[0].ID)
	next, err := b.s.NextDelivery(b.ctx, []string{"addr-2"}, nil)
	b.is("NextDelivery", err, nil)
	b.same("NextDelivery", next, at(4))

	// It stays where it is, and then leaves one lane.
	save(0, func(d *store.Delivery) { d.Lanes, d.Attempts = nil, 1 })
	due(3, 0)
	last(1, []string{main, topic}, 0, topic)
	save(0, func(d *store.Delivery) { d.Lanes = []string{main} })
	last(1, []string{main, topic}, 0, main)
	due(1, 2, 3, 0)
	save(2, func(x *store.Delivery) { x.Behind = d[0].ID })
	due(1, 3, 0)

	// Its end leaves all. None waits for what does not wait, is later, or is
	// another webhook's.
	save(0, func(d *store.Delivery) { d.State = store.Failed })
	due(1, 2, 3)
	last(3, []string{main}, 2, main)
	for _, to := range []int{0, 2, 3, 4} {
		save(2, func(x *store.Delivery) { x.Behind = d[to].ID })
		due(1, 2, 3)
	}
	save(2, func(d *store.Delivery) { d.State, d.Behind = store.Done, 0 })
	save(1, func(d *store.Delivery) { d.State = store.Done })
	last(3, []string{main, topic}, -1, "")
	due(3)
}

func deleteDeliveries(b *bench) {
	w, other := webhook("site", "addr-1"), webhook("other", "addr-2")
	b.update(func(tx store.Tx) error { return errors.Join(tx.PutWebhook(b.ctx, w), tx.PutWebhook(b.ctx, other)) })
	var list []store.Delivery
	for i := range 10 {
		list = append(list, b.put(delivery(w, i))...)
	}
	b.put(delivery(other, 0))
	b.update(func(tx store.Tx) error {
		for i, d := range list[:8] {
			if d.State = store.Done; i%2 == 1 {
				d.State = store.Failed
			}
			if err := tx.SaveDelivery(b.ctx, d); err != nil {
				return err
			}
		}
		return nil
	})
	remove := func(before, limit int) (n int) {
		b.Helper()
		b.update(func(tx store.Tx) (err error) {
			n, err = tx.DeleteDeliveries(b.ctx, at(before), limit)
			return err
		})
		return n
	}
	left := func(hook string) []int64 {
		b.Helper()
		list, err := b.s.Deliveries(b.ctx, hook, 0, 99)
		b.is("Deliveries", err, nil)
		got := ids(list)
		slices.Reverse(got)
		return got
	}
	b.same("removed before any ended", remove(0, 99), 0)
	b.same("removed, the oldest", remove(6, 4), 4)
	b.same("left", left(w.Address), ids(list[4:]))
	b.same("removed, the rest of the old", remove(6, 4), 2)
	b.same("removed again", remove(6, 4), 0)
	b.same("left", left(w.Address), ids(list[6:]))
	b.same("removed, all that ended", remove(9999, 99), 2)
	b.same("left, since they wait", left(w.Address), ids(list[8:]))
	b.same("left of another", len(left(other.Address)), 1)

	// Of a deleted webhook everything goes, what waits too, some at a time, and
	// with it the digests, so that the last call removes nothing.
	b.update(func(tx store.Tx) error { return tx.DeleteWebhook(b.ctx, home, "site") })
	total := 0
	for range 100 {
		n := remove(0, 3)
		if n > 2*3 {
			b.Errorf("%d rows went at once", n)
		}
		if n == 0 {
			break
		}
		total += n
	}
	if least := 2 + len(list); total < least {
		b.Errorf("%d rows were removed, want the 2 deliveries and %d digests at least", total, len(list))
	}
	b.same("removed at the end", remove(0, 3), 0)
	b.same("left of the deleted webhook", len(left(w.Address)), 0)
	b.same("left of another", len(left(other.Address)), 1)
	b.is("PutDelivery again to the other", b.putError(delivery(other, 0)), store.ErrExists)

	// What was signed for a webhook that is gone can be said to the next one of
	// the project, which has another secret: it knows nothing of it.
	b.update(func(tx store.Tx) error { return tx.PutWebhook(b.ctx, webhook("site", "addr-9")) })
	b.is("PutDelivery to the next webhook", b.putError(delivery(webhook("site", "addr-9"), 1)), nil)
}

func approvals(b *bench) {
	w := webhook("site", "addr-1")
	pull := func(project, repository string, number, since int) store.Approval {
		return store.Approval{
			Scope: home, Project: project, Repository: repository, Number: number, Title: "A \"title\"", Author: "eve", SHA: "abc", Since: at(since), Event: []byte(`{"Type":"PUSH"}`),
		}
	}
	late, early, other := pull("site", "acme/site", 7, 9), pull("site", "acme/web", 7, 3), pull("other", "acme/site", 7, 5)
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.PutWebhook(b.ctx, w), tx.PutApproval(b.ctx, late), tx.PutApproval(b.ctx, early), tx.PutApproval(b.ctx, other))
	})
	b.noise(func(tx store.Tx, s store.Scope) error {
		a := late
		a.Scope, a.Title = s, "another's"
		return tx.PutApproval(b.ctx, a)
	})
	list := func(what, project string, want ...store.Approval) {
		b.Helper()
		got, err := b.s.Approvals(b.ctx, home, project)
		b.is("Approvals", err, nil)
		b.equal("Approvals, "+what, got, want)
	}
	list("of all", "", early, other, late)
	list("of one project", "site", early, late)
	list("of no project", "none")
	got, err := b.s.Approval(b.ctx, home, "site", "acme/site", 7)
	b.is("Approval", err, nil)
	b.equal("Approval", got, late)
	for _, number := range []int{0, 8, 77} {
		_, err = b.s.Approval(b.ctx, home, "site", "acme/site", number)
		b.is("Approval that is not there", err, store.ErrNotFound)
	}
	late.SHA, late.Title, late.Since, late.Event = "def", "Another", at(1), []byte(`{}`)
	b.update(func(tx store.Tx) error { return tx.PutApproval(b.ctx, late) })
	list("one replaced", "", late, early, other)

	remove := func(repository string) error {
		return b.s.Update(b.ctx, func(tx store.Tx) error { return tx.DeleteApproval(b.ctx, home, "site", repository, 7) })
	}
	b.is("DeleteApproval", remove("acme/web"), nil)
	b.is("DeleteApproval again", remove("acme/web"), store.ErrNotFound)
	list("one deleted", "", late, other)
	b.update(func(tx store.Tx) error { return tx.DeleteWebhook(b.ctx, home, "site") })
	list("with their webhook", "", other)
	for _, s := range elsewhere {
		got, err := b.s.Approvals(b.ctx, s, "")
		b.is("Approvals", err, nil)
		b.same("Approvals of another scope", len(got), 1)
	}
}

func removals(b *bench) {
	_, err := b.s.NextRemoval(b.ctx)
	b.is("NextRemoval of none", err, store.ErrNotFound)
	r := store.Removal{
		Scope: home, Project: "site", Source: &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/acme/site")},
		Primary: &api.ProjectSource{Type: api.SourceTypeBITBUCKET}, Host: "github.com", Owner: "acme/site", Kind: "REPOSITORY", HookID: "17",
		Address: "https://ci.acme.example/hooks/addr-1", Created: at(1), Next: at(20),
	}
	soon := r
	soon.Scope, soon.HookID, soon.Next = elsewhere[1], "", at(10)
	b.update(func(tx store.Tx) (err error) {
		if r.ID, err = tx.PutRemoval(b.ctx, r); err == nil {
			soon.ID, err = tx.PutRemoval(b.ctx, soon)
		}
		return err
	})
	b.woken("after PutRemoval", b.s.Delivered())
	due := func(now, limit int, want ...store.Removal) {
		b.Helper()
		got, err := b.s.DueRemovals(b.ctx, at(now), limit)
		b.is("DueRemovals", err, nil)
		b.equal(fmt.Sprintf("DueRemovals at %d", now), got, want)
	}
	next := func(want int) {
		b.Helper()
		got, err := b.s.NextRemoval(b.ctx)
		b.is("NextRemoval", err, nil)
		b.same("NextRemoval", got, at(want))
	}
	next(10)
	due(9, 9)
	due(10, 9, soon)
	due(20, 9, soon, r)
	due(20, 1, soon)
	later := func(id int64) error {
		return b.s.Update(b.ctx, func(tx store.Tx) error { return tx.DeferRemoval(b.ctx, id, at(30), "refused") })
	}
	b.is("DeferRemoval", later(soon.ID), nil)
	soon.Attempts, soon.Next = 1, at(30)
	next(20)
	due(30, 9, r, soon)
	b.is("DeferRemoval again", later(soon.ID), nil)
	soon.Attempts = 2
	remove := func(id int64) error {
		return b.s.Update(b.ctx, func(tx store.Tx) error { return tx.DeleteRemoval(b.ctx, id) })
	}
	b.is("DeleteRemoval", remove(r.ID), nil)
	b.is("DeleteRemoval again", remove(r.ID), store.ErrNotFound)
	b.is("DeferRemoval of none", later(r.ID), store.ErrNotFound)
	due(30, 9, soon)
	b.is("DeleteRemoval", remove(soon.ID), nil)
	_, err = b.s.NextRemoval(b.ctx)
	b.is("NextRemoval at the end", err, store.ErrNotFound)
	b.update(func(tx store.Tx) error {
		id, err := tx.PutRemoval(b.ctx, r)
		if id <= soon.ID {
			b.Errorf("id %d was given after %d", id, soon.ID)
		}
		return err
	})
}

// What is to be woken is woken after the commit, and by nothing that was
// undone.
func webhookWakeUps(b *bench) {
	w := webhook("site", "addr-1")
	w.PollEvery, w.PollNext = time.Minute, at(1)
	b.update(func(tx store.Tx) error { return tx.PutWebhook(b.ctx, w) })
	why := errors.New("undo")
	b.is("Update", b.s.Update(b.ctx, func(tx store.Tx) error {
		_, err := tx.PutDelivery(b.ctx, delivery(w, 1))
		_, other := tx.PutRemoval(b.ctx, store.Removal{Scope: home})
		return errors.Join(err, other, tx.SetPoll(b.ctx, w), why)
	}), why)
	b.update(func(store.Tx) error { return nil }) // whoever was to be woken by the one before is by now
	for what, ch := range map[string]<-chan struct{}{"Delivered": b.s.Delivered(), "Polling": b.s.Polling()} {
		select {
		case <-ch:
			b.Errorf("%s after what was undone", what)
		default:
		}
	}
	for i := range 10 {
		b.put(delivery(w, i))
		b.update(func(tx store.Tx) error { return tx.SetPoll(b.ctx, w) })
	}
	b.woken("after ten deliveries", b.s.Delivered())
	b.woken("after ten polls", b.s.Polling())

	// A receiver that looks for everything at each wake-up misses nothing.
	const n = 300
	var wg sync.WaitGroup
	wg.Go(func() { // ends when it has seen everything, or something fails
		for {
			list, err := b.s.Deliveries(b.ctx, w.Address, 0, 2*n)
			if err != nil {
				b.Errorf("Deliveries: %v", err)
				return
			}
			if len(list) == n+10 {
				return
			}
			select {
			case <-b.s.Delivered():
			case <-time.After(10 * time.Second):
				b.Errorf("nobody was woken after %d of %d deliveries", len(list), n+10)
				return
			}
		}
	})
	each(func(i int) {
		for j := i; j < n; j += many {
			b.is("PutDelivery", b.putError(delivery(w, 1000+j)), nil)
		}
	})
	wg.Wait()
}

// What started a build stays with it, whoever has it.
func triggers(b *bench) {
	t := store.Trigger{
		Event: "PULL_REQUEST_CREATED", Trigger: "pr/7", HeadRef: "refs/heads/a\"b", BaseRef: "refs/heads/main", Actor: "755743", PrevCommit: "abc", MergeCommit: "def",
		Version: "refs/pull/7/head^{abc}", Untrusted: "a fork", Delivery: 1 << 40, SHA: "abc",
	}
	hooked := build("site", 1)
	hooked.Trigger = &t
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.QueueBuild(b.ctx, hooked), tx.QueueBuild(b.ctx, build("site", 2)))
	})
	read := func(when string) {
		b.Helper()
		for n, want := range map[int]*store.Trigger{1: &t, 2: nil} {
			got, err := b.s.Build(b.ctx, home, buildID("site", n))
			b.is("Build", err, nil)
			b.same(fmt.Sprintf("the trigger of build %d %s", n, when), got.Trigger, want)
		}
	}
	read("in the queue")
	for attempt := range 2 {
		var held [2]store.Build
		for i := range held {
			var err error
			held[i], err = b.claim("runner", 10)
			b.is("ClaimBuild", err, nil)
		}
		b.same("the trigger of the claimed build", held[0].Trigger, &t)
		b.same("that of another", held[1].Trigger, (*store.Trigger)(nil))
		read("while it is held")
		b.update(func(tx store.Tx) error {
			expired, err := tx.ExpiredBuilds(b.ctx, at(99), "", false)
			for _, c := range expired {
				if *c.Doc.Id == buildID("site", 1) {
					b.same("the trigger of an expired build", c.Trigger, &t)
				}
			}
			return err
		})
		for _, c := range held {
			c.Trigger = nil // what is written of a held build has no say in it
			if attempt == 0 {
				b.update(func(tx store.Tx) error { return tx.ReturnBuild(b.ctx, c) })
			} else {
				b.complete(c)
			}
		}
		read("afterwards")
	}
}

func addContext(b *bench) {
	phases := func(names ...string) (out []api.BuildPhase) {
		for _, n := range names {
			out = append(out, api.BuildPhase{PhaseType: api.BuildPhaseType(n)})
		}
		return out
	}
	b.queue("site", 3)
	c := api.PhaseContext{StatusCode: new("STATUS"), Message: new("the status could not be sent")}
	add := func(s store.Scope, id string) {
		b.Helper()
		b.update(func(tx store.Tx) error { return tx.AddContext(b.ctx, s, id, c) })
	}
	first, err := b.claim("runner", 10)
	b.is("ClaimBuild", err, nil)
	id := *first.Doc.Id
	first.Doc.Phases = phases("BUILD", "FINALIZING", "COMPLETED")
	b.update(func(tx store.Tx) error { return tx.SaveBuild(b.ctx, first) })
	add(home, id)                 // it runs
	add(home, "site:none")        // there is none
	add(home, buildID("site", 3)) // it waits
	add(elsewhere[0], id)         // it is another's
	got, err := b.s.Build(b.ctx, home, id)
	b.is("Build", err, nil)
	b.same("a running build", got.Doc.Phases, first.Doc.Phases)
	b.complete(first)
	add(elsewhere[0], id)
	add(home, id)
	add(home, id)
	first.Doc.Phases[1].Contexts = []api.PhaseContext{c, c}
	got, err = b.s.Build(b.ctx, home, id)
	b.is("Build", err, nil)
	b.same("a completed build", got.Doc, first.Doc)

	second, err := b.claim("runner", 10)
	b.is("ClaimBuild", err, nil)
	second.Doc.Phases = phases("COMPLETED")
	b.complete(second)
	add(home, *second.Doc.Id) // it has no phase for it
	got, err = b.s.Build(b.ctx, home, *second.Doc.Id)
	b.is("Build", err, nil)
	b.same("a build without phases", got.Doc.Phases, phases("COMPLETED"))
}

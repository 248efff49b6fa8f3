package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

func builds(b *bench) {
	b.queue("site", 3)
	got, err := b.s.Build(b.ctx, home, buildID("site", 2))
	b.is("Build", err, nil)
	b.same("Build", got, build("site", 2))
	_, err = b.s.Build(b.ctx, home, "site:none")
	b.is("Build that is not there", err, store.ErrNotFound)
	b.is("QueueBuild of a taken id", b.s.Update(b.ctx, func(tx store.Tx) error {
		again := build("site", 2)
		again.Doc.BuildNumber = new(int64(99))
		return tx.QueueBuild(b.ctx, again)
	}), store.ErrExists)

	docs, err := b.s.BuildDocuments(b.ctx, home, []string{buildID("site", 3), "site:none", buildID("site", 1)})
	b.is("BuildDocuments", err, nil)
	b.same("BuildDocuments", docs, []api.Build{*build("site", 3).Doc, *build("site", 1).Doc})
	docs, err = b.s.BuildDocuments(b.ctx, home, nil)
	b.is("BuildDocuments of nothing", err, nil)
	b.same("BuildDocuments of nothing", len(docs), 0)
}

func buildKeys(b *bench) {
	var all []store.BuildKey
	put := func(tx store.Tx, s store.Scope, prefix string) error {
		for _, i := range rand.Perm(30) {
			c := build([]string{"site", "site-2", "other"}[i%3], i/3+1)
			c.Scope = s
			c.Requested = at(i * 7 % 5) // many ties, and not in the order of the numbers
			*c.Doc.Id = prefix + *c.Doc.Id
			if err := tx.QueueBuild(b.ctx, c); err != nil {
				return err
			}
			if s == home {
				all = append(all, store.BuildKey{ID: *c.Doc.Id, Number: *c.Doc.BuildNumber, Requested: c.Requested})
			}
		}
		return nil
	}
	b.update(func(tx store.Tx) error { return put(tx, home, "") })
	b.noise(func(tx store.Tx, s store.Scope) error { return put(tx, s, s.Account+s.Region) })
	byTime := slices.SortedFunc(slices.Values(all), func(x, y store.BuildKey) int {
		if c := x.Requested.Compare(y.Requested); c != 0 {
			return c
		}
		if x.ID < y.ID {
			return -1
		}
		return 1
	})
	byNumber := []store.BuildKey{}
	for _, k := range all {
		if len(k.ID) == len("site:00000000") && k.ID[:5] == "site:" {
			byNumber = append(byNumber, k)
		}
	}
	slices.SortFunc(byNumber, func(x, y store.BuildKey) int { return int(x.Number - y.Number) })
	for project, want := range map[string][]store.BuildKey{"": byTime, "site": byNumber, "none": {}} {
		for _, descending := range []bool{false, true} {
			if descending {
				want = reversed(want)
			}
			for _, limit := range []int{1, 4, 10, 100} {
				what := fmt.Sprintf("BuildKeys of %q, descending %t, limit %d", project, descending, limit)
				got := pages(b, what, limit, func(after *store.BuildKey) ([]store.BuildKey, error) {
					return b.s.BuildKeys(b.ctx, home, store.BuildPage{Project: project, Descending: descending, After: after, Limit: limit})
				})
				b.same(what, got, want)
			}
		}
	}
}

// Numbers go up by one from 1, each is given once, also at the same time and
// after the project was deleted.
func buildNumbers(b *bench) {
	b.update(func(tx store.Tx) error { return tx.CreateProject(b.ctx, home, project("site")) })
	next := func(s store.Scope, project string) (n int64, err error) {
		err = b.s.Update(b.ctx, func(tx store.Tx) error {
			n, err = tx.NextBuildNumber(b.ctx, s, project)
			return err
		})
		return n, err
	}
	given := make([]int64, many)
	each(func(i int) {
		var err error
		given[i], err = next(home, "site")
		b.is("NextBuildNumber", err, nil)
	})
	slices.Sort(given)
	for i, n := range given {
		if n != int64(i+1) {
			b.Fatalf("the numbers are %v, want 1 to %d", given, many)
		}
	}
	b.update(func(tx store.Tx) error {
		return errors.Join(tx.DeleteProject(b.ctx, home, "site"), tx.CreateProject(b.ctx, home, project("site")))
	})
	for _, c := range []struct {
		scope   store.Scope
		project string
		want    int64
	}{{home, "site", many + 1}, {home, "other", 1}, {elsewhere[0], "site", 1}, {elsewhere[1], "site", 1}, {home, "site", many + 2}} {
		n, err := next(c.scope, c.project)
		b.is("NextBuildNumber", err, nil)
		if n != c.want {
			b.Errorf("NextBuildNumber of %s in %v is %d, want %d", c.project, c.scope, n, c.want)
		}
	}
}

func claimOldestFirst(b *bench) {
	_, err := b.claim("runner", 10)
	b.is("ClaimBuild from an empty queue", err, store.ErrNotFound)
	foreign := build("site", 5)
	foreign.Scope, *foreign.Doc.Id = elsewhere[1], "site:foreign"
	b.update(func(tx store.Tx) error {
		return errors.Join(
			tx.QueueBuild(b.ctx, build("site", 9)), tx.QueueBuild(b.ctx, foreign),
			tx.QueueBuild(b.ctx, build("site", 2)), tx.QueueBuild(b.ctx, build("other", 7)))
	})
	for i, want := range []string{buildID("site", 2), "site:foreign", buildID("other", 7), buildID("site", 9)} {
		got, err := b.claim("runner", 10)
		b.is("ClaimBuild", err, nil)
		if *got.Doc.Id != want {
			b.Errorf("claim %d got %s, want %s", i, *got.Doc.Id, want)
		}
		if got.State != store.Running || got.Holder != "runner" || got.Attempt != 1 {
			b.Errorf("claim %d: %+v", i, got)
		}
		read, err := b.s.Build(b.ctx, got.Scope, want)
		b.is("Build", err, nil)
		b.same("Build after its claim", read, got)
	}
	_, err = b.claim("runner", 10)
	b.is("ClaimBuild from an empty queue", err, store.ErrNotFound)
}

// However many holders claim at once, each build has one.
func claimExclusive(b *bench) {
	const n = 200
	b.queue("site", n)
	var mu sync.Mutex
	holders := map[string]string{}
	each(func(i int) {
		holder := fmt.Sprint("runner-", i)
		for {
			got, err := b.claim(holder, 10)
			if errors.Is(err, store.ErrNotFound) {
				return
			}
			if err != nil {
				b.Errorf("ClaimBuild: %v", err)
				return
			}
			mu.Lock()
			if other, twice := holders[*got.Doc.Id]; twice {
				b.Errorf("%s and %s both have %s", other, holder, *got.Doc.Id)
			}
			holders[*got.Doc.Id] = holder
			mu.Unlock()
		}
	})
	if len(holders) != n {
		b.Errorf("%d of %d builds were claimed", len(holders), n)
	}
	for id, holder := range holders {
		got, err := b.s.Build(b.ctx, home, id)
		b.is("Build", err, nil)
		if got.Holder != holder {
			b.Errorf("%s is held by %s, but %s claimed it", id, got.Holder, holder)
		}
	}
	b.depth("after all were claimed", 0)
}

// Who lost the lease cannot write, even under the same name.
func fencing(b *bench) {
	b.queue("site", 1)
	first, err := b.claim("runner", 10)
	b.is("ClaimBuild", err, nil)
	save := func(c store.Build) error {
		return b.s.Update(b.ctx, func(tx store.Tx) error { return tx.SaveBuild(b.ctx, c) })
	}
	giveBack := func(c store.Build) error {
		return b.s.Update(b.ctx, func(tx store.Tx) error { return tx.ReturnBuild(b.ctx, c) })
	}
	other := first
	other.Holder = "other"
	b.is("SaveBuild by another", save(other), store.ErrLeaseLost)
	b.is("ReturnBuild by another", giveBack(other), store.ErrLeaseLost)
	b.is("SaveBuild", save(first), nil)
	b.is("ReturnBuild", giveBack(first), nil)
	b.is("SaveBuild after ReturnBuild", save(first), store.ErrLeaseLost)
	b.is("ReturnBuild again", giveBack(first), store.ErrLeaseLost)
	b.depth("after one return", 1)

	second, err := b.claim("runner", 20)
	b.is("ClaimBuild", err, nil)
	if second.Attempt != first.Attempt+1 {
		b.Errorf("attempt %d after %d", second.Attempt, first.Attempt)
	}
	*first.Doc.Initiator = "stale"
	b.is("SaveBuild of the first attempt", save(first), store.ErrLeaseLost)
	b.is("ReturnBuild of the first attempt", giveBack(first), store.ErrLeaseLost)
	b.complete(second)
	b.is("SaveBuild after the end", save(second), store.ErrLeaseLost)
	b.is("ReturnBuild after the end", giveBack(second), store.ErrLeaseLost)
	got, err := b.s.Build(b.ctx, home, buildID("site", 1))
	b.is("Build", err, nil)
	if got.State != store.Complete || *got.Doc.Initiator != "ada" {
		b.Errorf("the build ended as %+v", got)
	}
	b.depth("at the end", 0)
}

func returnBuild(b *bench) {
	b.queue("site", 3)
	first, err := b.claim("runner", 10)
	b.is("ClaimBuild", err, nil)
	first.Doc.CurrentPhase = new("QUEUED")
	b.update(func(tx store.Tx) error { return tx.ReturnBuild(b.ctx, first) })
	b.depth("after a return", 3)
	got, err := b.s.Build(b.ctx, home, *first.Doc.Id)
	b.is("Build", err, nil)
	if got.State != store.Queued || got.Doc.CurrentPhase == nil || *got.Doc.CurrentPhase != "QUEUED" {
		b.Errorf("returned build: %+v", got)
	}
	again, err := b.claim("other", 10)
	b.is("ClaimBuild", err, nil)
	if *again.Doc.Id != *first.Doc.Id {
		b.Errorf("claimed %s, want the returned %s, which is the oldest", *again.Doc.Id, *first.Doc.Id)
	}
}

// Whatever happens to builds, the depth is their number in state Queued.
func queueDepth(b *bench) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	state := map[string]store.BuildState{}
	held := map[string]store.Build{}
	why := errors.New("undo")
	number := 0
	for step := range 400 {
		undo := random.IntN(5) == 0
		var note func() // what the step does to the model, unless it is undone
		err := b.s.Update(b.ctx, func(tx store.Tx) error {
			note = func() {}
			var err error
			switch random.IntN(6) {
			case 0, 1:
				number++
				c := build("site", number)
				err = tx.QueueBuild(b.ctx, c)
				note = func() { state[*c.Doc.Id] = store.Queued }
			case 2:
				var c store.Build
				c, err = tx.ClaimBuild(b.ctx, "runner", at(10))
				if errors.Is(err, store.ErrNotFound) {
					return nil
				}
				note = func() { state[*c.Doc.Id], held[*c.Doc.Id] = store.Running, c }
			case 3:
				for _, id := range slices.Sorted(maps.Keys(held)) {
					c := held[id]
					err = tx.ReturnBuild(b.ctx, c)
					note = func() { state[id] = store.Queued; delete(held, id) }
					break
				}
			case 4:
				for _, id := range slices.Sorted(maps.Keys(held)) {
					c := held[id]
					c.State = store.Complete
					err = tx.SaveBuild(b.ctx, c)
					note = func() { state[id] = store.Complete; delete(held, id) }
					break
				}
			case 5:
				for _, id := range slices.Sorted(maps.Keys(state)) {
					if state[id] == store.Queued {
						c := build("site", 0)
						c.Doc.Id = &id
						err = tx.EndQueuedBuild(b.ctx, c)
						note = func() { state[id] = store.Complete }
						break
					}
				}
			}
			if err == nil && undo {
				return why
			}
			return err
		})
		if err == nil {
			note()
		} else if err != why {
			b.Fatalf("seed %d, step %d: %v", seed, step, err)
		}
		want := 0
		for _, s := range state {
			if s == store.Queued {
				want++
			}
		}
		b.depth(fmt.Sprintf("seed %d, step %d", seed, step), want)
		if b.Failed() {
			return
		}
	}
	n, err := b.s.QueuedBuilds(b.ctx, elsewhere[1].Account)
	b.is("QueuedBuilds", err, nil)
	if n != 0 {
		b.Errorf("another account has %d queued builds", n)
	}
}

// expired lists the ids of ExpiredBuilds.
func (b *bench) expired(now int, except string, others bool) (ids []string) {
	b.Helper()
	b.update(func(tx store.Tx) error {
		list, err := tx.ExpiredBuilds(b.ctx, at(now), except, others)
		for _, c := range list {
			ids = append(ids, *c.Doc.Id)
		}
		return err
	})
	slices.Sort(ids)
	return ids
}

func leases(b *bench) {
	b.queue("site", 4)
	for _, holder := range []string{"a", "a", "b"} {
		_, err := b.claim(holder, 100)
		b.is("ClaimBuild", err, nil)
	}
	one, two, three := buildID("site", 1), buildID("site", 2), buildID("site", 3)
	check := func(when string, got []string, want ...string) {
		b.Helper()
		if !slices.Equal(got, want) {
			b.Errorf("%s: expired are %v, want %v", when, got, want)
		}
	}
	check("before the end", b.expired(100, "a", false))
	check("after the end", b.expired(101, "a", false), one, two, three)
	b.update(func(tx store.Tx) error { return tx.ExtendLeases(b.ctx, "a", at(200)) })
	check("after one holder went on", b.expired(101, "a", false), three)
	check("after both ends", b.expired(201, "", false), one, two, three)
	check("all of others", b.expired(0, "a", true), three)
	check("all of others than nobody", b.expired(0, "nobody", true), one, two, three)
	got, err := b.s.Build(b.ctx, home, one)
	b.is("Build", err, nil)
	b.complete(got)
	check("after one ended", b.expired(201, "", false), two, three)
	// A lease that ended and was not taken is still a lease.
	late, err := b.s.Build(b.ctx, home, two)
	b.is("Build", err, nil)
	b.complete(late)
}

func overdue(b *bench) {
	b.queue("site", 3) // the time of number n ends at 1000+n
	claimed, err := b.claim("runner", 10)
	b.is("ClaimBuild", err, nil)
	list := func(now int) (ids []string) {
		b.Helper()
		b.update(func(tx store.Tx) error {
			list, err := tx.OverdueBuilds(b.ctx, at(now))
			for _, c := range list {
				ids = append(ids, *c.Doc.Id)
			}
			return err
		})
		return ids
	}
	b.same("OverdueBuilds early", list(1002), []string(nil))
	b.same("OverdueBuilds of the second", list(1003), []string{buildID("site", 2)})
	b.same("OverdueBuilds later", list(9999), []string{buildID("site", 2), buildID("site", 3)})
	b.update(func(tx store.Tx) error { return tx.ReturnBuild(b.ctx, claimed) })
	b.same("OverdueBuilds with the returned one", list(1002), []string{buildID("site", 1)})
}

func stop(b *bench) {
	b.queue("site", 4)
	var held [2]store.Build
	for i := range held {
		var err error
		held[i], err = b.claim([]string{"a", "b"}[i], 10)
		b.is("ClaimBuild", err, nil)
	}
	request := func(id string) (c store.Build, err error) {
		err = b.s.Update(b.ctx, func(tx store.Tx) error {
			c, err = tx.RequestStop(b.ctx, home, id)
			return err
		})
		return c, err
	}
	requests := func(holder string) []string {
		b.Helper()
		ids, err := b.s.StopRequests(b.ctx, holder)
		b.is("StopRequests", err, nil)
		return ids
	}
	_, err := request("site:none")
	b.is("RequestStop of what is not there", err, store.ErrNotFound)
	b.same("StopRequests at first", len(requests("a")), 0)

	c, err := request(*held[0].Doc.Id)
	b.is("RequestStop", err, nil)
	if !c.Stop || c.State != store.Running || c.Holder != "a" {
		b.Errorf("RequestStop of a running build returned %+v", c)
	}
	b.woken("after RequestStop", b.s.Stopping())
	b.same("StopRequests of the holder", requests("a"), []string{*held[0].Doc.Id})
	b.same("StopRequests of another", len(requests("b")), 0)
	_, err = request(*held[0].Doc.Id)
	b.is("RequestStop again", err, nil)
	b.same("StopRequests of the holder", requests("a"), []string{*held[0].Doc.Id})

	// A request survives what the holder writes, and the way back to the queue.
	b.update(func(tx store.Tx) error { return tx.SaveBuild(b.ctx, held[0]) })
	b.same("StopRequests after SaveBuild", requests("a"), []string{*held[0].Doc.Id})
	b.update(func(tx store.Tx) error { return tx.ReturnBuild(b.ctx, held[0]) })
	b.same("StopRequests after ReturnBuild", len(requests("a")), 0)
	c, err = b.claim("c", 10)
	b.is("ClaimBuild", err, nil)
	if !c.Stop {
		b.Errorf("the request was lost: %+v", c)
	}
	b.same("StopRequests of the next holder", requests("c"), []string{*held[0].Doc.Id})

	c, err = request(buildID("site", 3))
	b.is("RequestStop", err, nil)
	if !c.Stop || c.State != store.Queued {
		b.Errorf("RequestStop of a queued build returned %+v", c)
	}
	b.complete(held[1])
	c, err = request(*held[1].Doc.Id)
	b.is("RequestStop", err, nil)
	if c.Stop || c.State != store.Complete {
		b.Errorf("RequestStop of a complete build returned %+v", c)
	}
	b.same("StopRequests of its holder", len(requests("b")), 0)
}

func endQueued(b *bench) {
	b.queue("site", 2)
	claimed, err := b.claim("runner", 10)
	b.is("ClaimBuild", err, nil)
	end := func(c store.Build) error {
		return b.s.Update(b.ctx, func(tx store.Tx) error { return tx.EndQueuedBuild(b.ctx, c) })
	}
	b.is("EndQueuedBuild of a running build", end(claimed), store.ErrNotFound)
	waiting := build("site", 2)
	*waiting.Doc.Initiator = "changed"
	b.is("EndQueuedBuild", end(waiting), nil)
	b.is("EndQueuedBuild again", end(waiting), store.ErrNotFound)
	b.depth("at the end", 0)
	got, err := b.s.Build(b.ctx, home, buildID("site", 2))
	b.is("Build", err, nil)
	if got.State != store.Complete || *got.Doc.Initiator != "changed" {
		b.Errorf("the build ended as %+v", got)
	}
	_, err = b.claim("runner", 10)
	b.is("ClaimBuild", err, store.ErrNotFound)
}

func deleteBuild(b *bench) {
	b.queue("site", 2)
	remove := func(id string) error {
		return b.s.Update(b.ctx, func(tx store.Tx) error { return tx.DeleteBuild(b.ctx, home, id) })
	}
	id := buildID("site", 1)
	b.is("DeleteBuild of a queued build", remove(id), store.ErrNotFound)
	c, err := b.claim("runner", 10)
	b.is("ClaimBuild", err, nil)
	b.is("DeleteBuild of a running build", remove(id), store.ErrNotFound)
	b.complete(c)
	b.is("DeleteBuild", remove(id), nil)
	b.is("DeleteBuild again", remove(id), store.ErrNotFound)
	_, err = b.s.Build(b.ctx, home, id)
	b.is("Build", err, store.ErrNotFound)
	b.depth("at the end", 1)
}

func activeBuilds(b *bench) {
	b.queue("site", 5)
	b.queue("other", 2)
	c, err := b.claim("runner", 10)
	b.is("ClaimBuild", err, nil)
	count := func(project string, limit, want int) {
		b.Helper()
		n, err := b.s.ActiveBuilds(b.ctx, home, project, limit)
		b.is("ActiveBuilds", err, nil)
		if n != want {
			b.Errorf("ActiveBuilds of %s up to %d is %d, want %d", project, limit, n, want)
		}
	}
	count("site", 100, 5)
	count("site", 5, 5)
	count("site", 3, 3)
	count("other", 100, 2)
	count("none", 100, 0)
	b.complete(c)
	count(*c.Doc.ProjectName, 100, map[string]int{"site": 4, "other": 1}[*c.Doc.ProjectName])
}

// A wake-up comes after the commit, so that who is woken sees the reason, and
// nobody has to be there to take it.
func wakeUps(b *bench) {
	b.queue("site", 1)
	b.woken("after QueueBuild", b.s.Queued())
	for i := range 10 {
		b.update(func(tx store.Tx) error {
			return errors.Join(tx.QueueBuild(b.ctx, build("more", i)), tx.PutStatus(b.ctx, status(fmt.Sprint(i), "ci", 0)))
		})
	}
	b.woken("after ten builds", b.s.Queued())
	b.woken("after ten statuses", b.s.Outgoing())

	c, err := b.claim("runner", 10)
	b.is("ClaimBuild", err, nil)
	for drained := false; !drained; {
		select {
		case <-b.s.Queued():
		default:
			drained = true
		}
	}
	b.update(func(tx store.Tx) error { return tx.ReturnBuild(b.ctx, c) })
	b.woken("after ReturnBuild", b.s.Queued())

	// A receiver that looks for everything at each wake-up misses nothing.
	const n = 300
	done := make(chan struct{})
	go func() { // ends when it has claimed everything, or something fails
		defer close(done)
		claimed := 0
		for claimed < n+11 {
			if _, err := b.claim("runner", 10); err == nil {
				claimed++
				continue
			} else if !errors.Is(err, store.ErrNotFound) {
				b.Errorf("ClaimBuild: %v", err)
				return
			}
			select {
			case <-b.s.Queued():
			case <-time.After(10 * time.Second):
				b.Errorf("nobody was woken after %d of %d builds", claimed, n+11)
				return
			}
		}
	}()
	each(func(i int) {
		for j := range n {
			if j%many != i {
				continue
			}
			if err := b.s.Update(b.ctx, func(tx store.Tx) error { return tx.QueueBuild(b.ctx, build("last", j)) }); err != nil {
				b.Errorf("Update: %v", err)
			}
		}
	})
	<-done
}

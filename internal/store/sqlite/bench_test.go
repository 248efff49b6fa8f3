package sqlite

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

// benchBuild is number n of a project with a document of a usual size, some
// 2 kB.
func benchBuild(project string, n int64) store.Build {
	id := fmt.Sprintf("%s:00000000-0000-4000-8000-%012d", project, n)
	return store.Build{Scope: home, Requested: time.UnixMilli(1_700_000_000_000 + n), Doc: &api.Build{
		Id: &id, ProjectName: &project, BuildNumber: &n,
		Source: &api.ProjectSource{Type: api.SourceTypeGITHUB, Location: new("https://github.com/acme/site"), Buildspec: new(strings.Repeat("x", 1800))},
	}}
}

// BenchmarkUpdate stores a build with its number, as StartBuild does.
func BenchmarkUpdate(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint("writers=", writers), func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "corbel.db"))
			ctx := b.Context()
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if err := s.Update(ctx, func(tx store.Tx) error {
							n, err := tx.NextBuildNumber(ctx, home, "site")
							if err != nil {
								return err
							}
							return tx.QueueBuild(ctx, benchBuild("site", n))
						}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// filled has 10 000 builds of a project.
func filled(b *testing.B) *Store {
	b.Helper()
	s := open(b, filepath.Join(b.TempDir(), "corbel.db"))
	for n := int64(1); n <= 10_000; n += 100 {
		if err := s.Update(b.Context(), func(tx store.Tx) error {
			for i := range int64(100) {
				if err := tx.QueueBuild(b.Context(), benchBuild("site", n+i)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func BenchmarkBuild(b *testing.B) {
	s := filled(b)
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = *benchBuild("site", int64(i*10+1)).Doc.Id
	}
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := s.Build(b.Context(), home, ids[i%len(ids)]); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkBuildKeys reads a page of 100 from the middle of 10 000 builds.
func BenchmarkBuildKeys(b *testing.B) {
	s := filled(b)
	for _, project := range []string{"", "site"} {
		b.Run(fmt.Sprintf("project=%q", project), func(b *testing.B) {
			page := store.BuildPage{
				Project: project, Descending: true, Limit: 100,
				After: &store.BuildKey{ID: "site:", Number: 5000, Requested: time.UnixMilli(1_700_000_000_000 + 5000)},
			}
			for b.Loop() {
				keys, err := s.BuildKeys(b.Context(), home, page)
				if err != nil || len(keys) != 100 {
					b.Fatal(len(keys), err)
				}
			}
		})
	}
}

// BenchmarkClaimBuild claims the oldest of 10 000 queued builds and returns
// it.
func BenchmarkClaimBuild(b *testing.B) {
	s := filled(b)
	for b.Loop() {
		if err := s.Update(b.Context(), func(tx store.Tx) error {
			c, err := tx.ClaimBuild(b.Context(), "runner", time.Now())
			if err != nil {
				return err
			}
			return tx.ReturnBuild(b.Context(), c)
		}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDeliveries lists a page of 20 from the start and from the middle of
// the deliveries to a webhook, however many there are and whoever else has
// some.
func BenchmarkDeliveries(b *testing.B) {
	for _, rows := range []int64{10_000, 1_000_000} {
		if testing.Short() && rows > 10_000 {
			continue
		}
		s := open(b, filepath.Join(b.TempDir(), "corbel.db"))
		// Written by one statement: two of three are the webhook's, the rest another's.
		if _, err := s.w.ExecContext(b.Context(), `with recursive n (i) as (select 1 union all select i + 1 from n where i < $1)
			insert into delivery (account, region, project, hook, origin, received, event, provider, headers, state, next)
			select $2, $3, 'site', iif(i % 3, 'addr-1', 'addr-2'), 'DELIVERED', i, 'push', i, '{"X-Github-Event":"push"}', iif(i % 1000, 1, 0), i from n`,
			rows, home.Account, home.Region); err != nil {
			b.Fatal(err)
		}
		for _, c := range []struct {
			name string
			list func() ([]store.Delivery, error)
		}{
			{"start", func() ([]store.Delivery, error) { return s.Deliveries(b.Context(), "addr-1", 0, 20) }},
			{"middle", func() ([]store.Delivery, error) { return s.Deliveries(b.Context(), "addr-1", rows/2, 20) }},
			{"due", func() ([]store.Delivery, error) {
				return s.DueDeliveries(b.Context(), time.Now(), "addr-1", 5)
			}},
		} {
			b.Run(fmt.Sprintf("rows=%d/%s", rows, c.name), func(b *testing.B) {
				for b.Loop() {
					if list, err := c.list(); err != nil || len(list) < 5 {
						b.Fatal(len(list), err)
					}
				}
			})
		}
	}
}

// BenchmarkDueHooks asks for what is due beside a webhook that is being looked
// at and for which many wait, and beside many others.
func BenchmarkDueHooks(b *testing.B) {
	for _, c := range []struct{ rows, hooks int }{{100, 1}, {10_000, 1}, {100_000, 1}, {100_000, 100}, {100_000, 1000}} {
		s := open(b, filepath.Join(b.TempDir(), "corbel.db"))
		if _, err := s.w.ExecContext(b.Context(), `with recursive n (i) as (select 1 union all select i + 1 from n where i < $1)
			insert into delivery (account, region, project, hook, origin, received, event, provider, headers, next)
			select $2, $3, 'site', iif(i < $1, 'addr-' || (i % $4), 'other'), 'DELIVERED', i, 'push', i, '{"X-Github-Event":"push"}', i from n`,
			c.rows, home.Account, home.Region, c.hooks); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("waiting=%d/hooks=%d", c.rows, c.hooks), func(b *testing.B) {
			for b.Loop() {
				if list, err := s.DueHooks(b.Context(), time.Now(), []string{"addr-0"}, nil, 8); err != nil || len(list) != min(c.hooks, 8) {
					b.Fatal(len(list), err)
				}
			}
		})
	}
}

// BenchmarkDeleteDeliveries removes 100 old deliveries at a time, whose bodies
// have 2.6 kB, and waits for the commit.
func BenchmarkDeleteDeliveries(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "corbel.db"))
	for _, text := range []string{
		`with recursive n (i) as (select 1 union all select i + 1 from n where i < $1)
			insert into delivery (account, region, project, hook, origin, received, event, provider, headers, state, next)
			select '123456789012', 'us-west-2', 'site', 'addr-' || (i % 8), 'DELIVERED', i, 'push', i, '{"X-Github-Event":"push"}', 1, i from n`,
		`insert into delivery_body (id, body) select id, randomblob(2600) from delivery limit $1`,
	} {
		if _, err := s.w.ExecContext(b.Context(), text, 100*b.N); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for range b.N {
		if err := s.Update(b.Context(), func(tx store.Tx) error {
			n, err := tx.DeleteDeliveries(b.Context(), time.Now(), 100)
			if n != 100 {
				return fmt.Errorf("removed %d: %w", n, err)
			}
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
}

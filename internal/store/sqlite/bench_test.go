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

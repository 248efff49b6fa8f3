package source

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// benchRepo is a repository of 500 files with 50 commits.
func benchRepo(b *testing.B) (*host, *repo) {
	h := newHost(b)
	r := h.repo("private.git")
	var files []string
	for i := range 500 {
		files = append(files, filepath.Join(fmt.Sprintf("dir%d", i%20), fmt.Sprintf("file%d", i)), fmt.Sprintf("content of file %d\n", i))
	}
	r.commit("refs/heads/main", files...)
	for i := range 50 {
		r.commit("refs/heads/main", "changing", fmt.Sprint(i))
	}
	return h, r
}

// report says which part of the time was the host's, which here is a process
// for each request.
func report(b *testing.B, h *host) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b.ReportMetric(float64(h.spent.Microseconds())/float64(b.N)/1000, "host-ms/op")
	b.ReportMetric(float64(len(h.seen))/float64(b.N), "requests/op")
}

func (h *host) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spent, h.seen = 0, nil
}

func BenchmarkFetch_Warm(b *testing.B) {
	h, r := benchRepo(b)
	f := newFetcher(b)
	req := authorized(r.url, "main")
	req.Depth = 1
	fetch(b, f, req)
	h.forget()
	for b.Loop() {
		tree, err := f.Fetch(b.Context(), req)
		if err != nil {
			b.Fatal(err)
		}
		tree.Release()
	}
	report(b, h)
}

func BenchmarkFetch_Cold(b *testing.B) {
	h, r := benchRepo(b)
	for _, depth := range []int{0, 1} {
		b.Run(fmt.Sprint("depth ", depth), func(b *testing.B) {
			h.forget()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				f := newFetcher(b)
				b.StartTimer()
				req := authorized(r.url, "main")
				req.Depth = depth
				tree, err := f.Fetch(b.Context(), req)
				if err != nil {
					b.Fatal(err)
				}
				tree.Release()
			}
			report(b, h)
		})
	}
}

func BenchmarkFetch_SmallPush(b *testing.B) {
	h, r := benchRepo(b)
	for _, depth := range []int{0, 1} {
		b.Run(fmt.Sprint("depth ", depth), func(b *testing.B) {
			f := newFetcher(b)
			req := authorized(r.url, "main")
			req.Depth = depth
			fetch(b, f, req)
			h.forget()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				r.commit("refs/heads/main", "changing", fmt.Sprint(time.Now().UnixNano()))
				b.StartTimer()
				tree, err := f.Fetch(b.Context(), req)
				if err != nil {
					b.Fatal(err)
				}
				tree.Release()
			}
			report(b, h)
		})
	}
}

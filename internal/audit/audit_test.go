package audit_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/corbel-build/corbel/internal/audit"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
)

func open(t testing.TB, path string) store.Store {
	t.Helper()
	s, err := sqlite.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func write(ctx context.Context, s store.Store, event string) error {
	return s.Update(ctx, func(tx store.Tx) error {
		return audit.Append(ctx, tx, audit.Record{Time: time.Unix(1800000000, 0), Account: "123456789012", Principal: "p", Event: event, Agent: "evil\nagent\x1b[31m"})
	})
}

// lines is a chain in memory that can be tampered with.
type lines []store.AuditLine

func (l lines) LastAudit(context.Context) (store.AuditLine, error) { return l[len(l)-1], nil }

func (l lines) AccountAudit(context.Context, string, string, int64, int) ([]store.AuditLine, error) {
	return nil, errors.New("the chain is not walked by account")
}

func (l lines) AuditLines(_ context.Context, seq int64, limit int) ([]store.AuditLine, error) {
	for i, line := range l {
		if line.Seq > seq {
			return l[i:min(len(l), i+limit)], nil
		}
	}
	return nil, nil
}

// Every line that is edited, removed, put in or moved is found.
func TestWalk_FindsTampering(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "db"))
	const n = 20
	for i := range n {
		if err := write(t.Context(), s, fmt.Sprintf("Event%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := s.AuditLines(t.Context(), 0, n)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	head, err := audit.Walk(t.Context(), s, func(r audit.Record, _ audit.Head) error {
		if r.Event != fmt.Sprintf("Event%d", seen) || strings.ContainsAny(r.Agent, "\n\x1b") {
			t.Errorf("record %d is %+v", seen, r)
		}
		seen++
		return nil
	})
	if err != nil || head.Seq != n || seen != n {
		t.Fatalf("the untouched chain: %d records, head %v, %v", seen, head, err)
	}
	clone := func() lines {
		l := slices.Clone(whole)
		for i := range l {
			l[i].Doc, l[i].Hash = slices.Clone(l[i].Doc), slices.Clone(l[i].Hash)
		}
		return l
	}
	for i := range n {
		for name, tamper := range map[string]func(lines) lines{
			"edited":    func(l lines) lines { l[i].Doc[len(l[i].Doc)/2] ^= 1; return l },
			"new hash":  func(l lines) lines { l[i].Hash[5] ^= 1; return l },
			"moved":     func(l lines) lines { j := (i + 1) % n; l[i].Doc, l[j].Doc = l[j].Doc, l[i].Doc; return l },
			"later":     func(l lines) lines { l[i].At = l[i].At.Add(time.Hour); return l },
			"elsewhere": func(l lines) lines { l[i].Account = "1"; return l },
			"put in":    func(l lines) lines { return slices.Insert(l, i, l[i]) },
			"removed": func(l lines) lines {
				l = slices.Delete(l, i, i+1)
				return l
			},
			"renumbered": func(l lines) lines {
				l = slices.Delete(l, i, i+1)
				for j := i; j < len(l); j++ {
					l[j].Seq--
				}
				return l
			},
		} {
			if i == n-1 && (name == "removed" || name == "renumbered") {
				continue // shows in the head alone
			}
			if i == n-1 && name == "put in" || name == "put in" {
				continue // the same number twice: the store refuses it
			}
			var broken *audit.Broken
			if _, err := audit.Walk(t.Context(), tamper(clone()), nil); !errors.As(err, &broken) {
				t.Errorf("line %d %s: %v", i+1, name, err)
			}
		}
	}
	cut, err := audit.Walk(t.Context(), clone()[:n-1], nil)
	if err != nil || cut == head {
		t.Errorf("a chain that was cut has the head %v, %v", cut, err)
	}
}

// Two processes on one file write one chain.
func TestAppend_FromTwoStores(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db")
	a, b := open(t, path), open(t, path)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			if err := write(context.Background(), []store.Store{a, b}[i%2], "E"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if head, err := audit.Walk(t.Context(), a, nil); err != nil || head.Seq != 100 {
		t.Errorf("the chain has %d lines, %v", head.Seq, err)
	}
}

// A record whose transaction fails leaves nothing.
func TestAppend_WithItsTransaction(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "db"))
	fault := errors.New("the write failed")
	err := s.Update(t.Context(), func(tx store.Tx) error {
		if err := audit.Append(t.Context(), tx, audit.Record{Event: "E"}); err != nil {
			return err
		}
		return fault
	})
	if !errors.Is(err, fault) {
		t.Fatal(err)
	}
	if head, err := audit.Walk(t.Context(), s, nil); err != nil || head.Seq != 0 {
		t.Errorf("the chain has %d lines, %v", head.Seq, err)
	}
}

func BenchmarkAppend(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "db"))
	for b.Loop() {
		if err := write(b.Context(), s, "E"); err != nil {
			b.Fatal(err)
		}
	}
}

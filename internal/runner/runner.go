// Package runner takes queued builds to their end, phase by phase.
//
// A Runner claims a build with a lease and holds it while the build runs.
// What a build's document says is written before what it announces is done:
// INSTALL is in the store before the first command runs, so that after a
// crash a build in an earlier phase can safely begin again, while a later one
// is ended and never run twice.
package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/buildlog"
	"github.com/corbel-build/corbel/internal/credential"
	"github.com/corbel-build/corbel/internal/executor"
	"github.com/corbel-build/corbel/internal/phase"
	"github.com/corbel-build/corbel/internal/source"
	"github.com/corbel-build/corbel/internal/store"
)

const (
	// lease is how long a build stays with a runner that says nothing. It
	// bounds how long a build waits for its rescue when several servers
	// share a store; with one, its restart rescues at once.
	lease = 30 * time.Second
	// beat is how often leases are extended and time limits looked at.
	beat = 5 * time.Second
	// diskBeat is how often the free space is looked at while builds run.
	diskBeat = 500 * time.Millisecond
	// maxAttempts bounds how often a build begins again after crashes that
	// came before its first command.
	maxAttempts = 3
)

// Why a build is ended from outside, as the cause of its context.
var (
	errStopped  = errors.New("the build was stopped")
	errTimedOut = errors.New("the build timed out")
	errShutdown = errors.New("the server was shut down")
	errDiskFull = errors.New("the disk of the server is nearly full")
)

// A Runner runs up to Slots builds at a time.
type Runner struct {
	Store       store.Store
	Executor    executor.Executor
	Sources     *source.Fetcher
	Credentials *credential.Resolver
	// Secrets and Parameters read what variables of the types SECRETS_MANAGER
	// and PARAMETER_STORE name. Their errors have no value.
	Secrets    func(ctx context.Context, s store.Scope, reference string) (api.Secret, error)
	Parameters func(ctx context.Context, s store.Scope, name string) (api.Secret, error)
	Logs       *buildlog.Logs
	Log        *slog.Logger
	Now        func() time.Time

	Holder      string // names this runner in leases; differs with each start
	Alone       bool   // no other runner uses the store, so every other lease is a dead one's
	Slots       int    // builds at a time
	Dir         string // where builds have their working directories
	URL         string // where people reach this server
	MaxMemory   int64  // bytes that a build may have, whatever its compute type; 0 is no bound
	DiskReserve uint64 // bytes of free space below which the largest build is ended; 0 is none

	mu      sync.Mutex
	running map[string]*build // by build id
}

// Run claims and runs builds until ctx ends, and returns when none runs any
// more: those that had not run a command go back to the queue, others end as
// FAULT.
func (r *Runner) Run(ctx context.Context) error {
	r.running = map[string]*build{}
	// What a crash left behind belongs to nobody.
	if err := os.RemoveAll(r.Dir); err != nil {
		return fmt.Errorf("clear working directories: %w", err)
	}
	if err := os.MkdirAll(r.Dir, 0o711); err != nil {
		return fmt.Errorf("make the directory of builds: %w", err)
	}
	if err := r.rescue(ctx, r.Alone); err != nil {
		return fmt.Errorf("rescue builds: %w", err)
	}
	var builds sync.WaitGroup
	defer builds.Wait()
	ended := make(chan struct{}, r.Slots) // never blocks a build: one place for each
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	disk := time.NewTicker(diskBeat)
	defer disk.Stop()
	for free := r.Slots; ; {
		for free > 0 && ctx.Err() == nil {
			b, err := r.claim(ctx)
			if err != nil {
				if !errors.Is(err, store.ErrNotFound) {
					r.Log.ErrorContext(ctx, "claim a build", "error", err) // the next beat tries again
				}
				break
			}
			free--
			run := r.begin(ctx, b) // before the next rescue looks who runs
			builds.Go(func() {     // ends with its build, which ends with ctx
				run()
				ended <- struct{}{}
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
			free++
		case <-r.Store.Queued():
		case <-r.Store.Stopping():
			r.stop(ctx)
		case <-disk.C:
			r.watchDisk(ctx)
		case <-ticker.C:
			r.stop(ctx)
			r.keep(ctx)
		}
	}
}

func (r *Runner) claim(ctx context.Context) (b store.Build, err error) {
	err = r.Store.Update(ctx, func(tx store.Tx) error {
		b, err = tx.ClaimBuild(ctx, r.Holder, r.Now().Add(lease))
		return err
	})
	return b, err
}

// keep extends the leases and ends what waited or was held too long.
func (r *Runner) keep(ctx context.Context) {
	err := r.Store.Update(ctx, func(tx store.Tx) error {
		now := r.Now()
		if err := tx.ExtendLeases(ctx, r.Holder, now.Add(lease)); err != nil {
			return err
		}
		overdue, err := tx.OverdueBuilds(ctx, now)
		if err != nil {
			return err
		}
		for _, b := range overdue {
			phase.Leave(b.Doc, api.StatusTypeTIMED_OUT, "", "", now)
			phase.Complete(b.Doc, api.StatusTypeTIMED_OUT, now)
			if err := tx.EndQueuedBuild(ctx, b); err != nil {
				return err
			}
			if err := r.report(ctx, tx, b); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = r.rescue(ctx, r.Alone)
	}
	if err != nil {
		r.Log.ErrorContext(ctx, "keep leases", "error", err)
	}
}

// runs reports whether a build runs here.
func (r *Runner) runs(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running[id] != nil
}

// rescue takes care of builds whose runner is gone, or could not write their
// end. One that has not run a
// command goes back to the queue; another ends as FAULT, since running it
// again could do its work twice.
func (r *Runner) rescue(ctx context.Context, others bool) error {
	return r.Store.Update(ctx, func(tx store.Tx) error {
		now := r.Now()
		lost, err := tx.ExpiredBuilds(ctx, now, "", others)
		if err != nil {
			return err
		}
		for _, b := range lost {
			if b.Holder == r.Holder && r.runs(*b.Doc.Id) {
				continue
			}
			switch {
			case b.Stop:
				phase.Leave(b.Doc, api.StatusTypeSTOPPED, "", "", now)
				phase.Complete(b.Doc, api.StatusTypeSTOPPED, now)
			case fresh(b.Doc) && b.Attempt < maxAttempts:
				r.Log.WarnContext(ctx, "build returned to the queue", "build", *b.Doc.Id, "attempt", b.Attempt)
				phase.Requeue(b.Doc, now)
				if err := tx.ReturnBuild(ctx, b); err != nil {
					return err
				}
				continue
			default:
				r.Log.WarnContext(ctx, "build lost", "build", *b.Doc.Id, "phase", *b.Doc.CurrentPhase)
				phase.Leave(b.Doc, api.StatusTypeFAULT, codeInternal, "Build container found dead before completing the build. The server stopped while the build was running; start the build again", now)
				phase.Complete(b.Doc, api.StatusTypeFAULT, now)
			}
			b.State = store.Complete
			if err := r.finish(ctx, tx, b); err != nil {
				return err
			}
		}
		return nil
	})
}

// finish stores a build that has ended, and its commit status.
func (r *Runner) finish(ctx context.Context, tx store.Tx, b store.Build) error {
	b.State = store.Complete
	if err := tx.SaveBuild(ctx, b); err != nil {
		return err
	}
	return r.report(ctx, tx, b)
}

// fresh reports whether none of the build's commands has run.
func fresh(b *api.Build) bool {
	switch api.BuildPhaseType(*b.CurrentPhase) {
	case api.BuildPhaseTypeQUEUED, api.BuildPhaseTypePROVISIONING, api.BuildPhaseTypeDOWNLOAD_SOURCE:
		return true
	}
	return false
}

// stop ends those running builds that StopBuild was called for.
func (r *Runner) stop(ctx context.Context) {
	ids, err := r.Store.StopRequests(ctx, r.Holder)
	if err != nil {
		r.Log.ErrorContext(ctx, "read stop requests", "error", err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if b := r.running[id]; b != nil {
			b.cancel(errStopped)
		}
	}
}

// watchDisk ends the largest build when the disk is nearly full, so that the
// server can go on writing.
func (r *Runner) watchDisk(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.DiskReserve == 0 || len(r.running) == 0 {
		return
	}
	var st unix.Statfs_t
	if err := unix.Statfs(r.Dir, &st); err != nil || st.Bavail*uint64(st.Bsize) >= r.DiskReserve {
		return
	}
	var largest *build
	size := int64(-1)
	for _, b := range r.running {
		if n := usage(b.dir); n > size && context.Cause(b.ctx) == nil {
			largest, size = b, n
		}
	}
	if largest != nil {
		r.Log.WarnContext(ctx, "disk nearly full, ending a build", "build", *largest.Doc.Id, "bytes", size)
		largest.cancel(errDiskFull)
	}
}

// usage is how many bytes the files below dir have.
func usage(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a running build changes its files
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

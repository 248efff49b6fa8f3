// Package sqlite keeps the store in one SQLite file, with SQLite compiled to
// Go so that no C compiler is needed.
//
// Writes go through one goroutine that takes all waiting transactions into one
// commit. With synchronous=FULL that is as fast under load as not syncing at
// all, and nothing acknowledged is lost by a crash or a power cut. Reads have
// connections of their own and never wait for a write.
//
// Other processes may open the same file, such as "corbel keys" beside a
// running server; they are not woken by each other's writes.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver; its name appears here only

	"github.com/corbel-build/corbel/internal/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Group commit takes at most maxGroup transactions or the work of maxTurn into
// one commit: the first bounds what a crash undoes, the second how long the
// first of a group waits.
const (
	maxGroup = 256
	maxTurn  = 20 * time.Millisecond
)

// A Store is a store.Store in a file.
type Store struct {
	*queries // outside transactions

	writes   chan write
	quit     chan struct{} // closed by Close; ends the writer
	done     chan struct{} // closed by the writer when it has ended
	quitOnce sync.Once
	w, r     *sql.DB

	queued, stopping, outgoing, delivered, polling chan struct{}
}

var errClosed = errors.New("the store is closed")

type write struct {
	fn   func(store.Tx) error
	done chan error // buffered, so that the writer never waits
}

// Open opens or creates the database file at path and migrates its schema.
// A file of a newer Corbel is refused.
func Open(ctx context.Context, path string) (*Store, error) {
	if f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	} else if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	w, err := connect(path, 1)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, w); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate %s: %w", path, err), w.Close())
	}
	r, err := connect(path, 4)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	s := &Store{
		queries: newQueries(r), w: w, r: r,
		writes: make(chan write, 4*maxGroup),
		quit:   make(chan struct{}), done: make(chan struct{}),
		queued: make(chan struct{}, 1), stopping: make(chan struct{}, 1), outgoing: make(chan struct{}, 1),
		delivered: make(chan struct{}, 1), polling: make(chan struct{}, 1),
	}
	go s.writer()
	return s, nil
}

func connect(path string, conns int) (*sql.DB, error) {
	q := url.Values{"_pragma": {"busy_timeout(5000)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(1)", "secure_delete(1)"}, "_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// maxAttempts is how often a process may come second to others that migrate the
// same file.
const maxAttempts = 5

func migrate(ctx context.Context, db *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir)
	if err != nil {
		return err
	}
	// Another process may be migrating the same file. Each step is a transaction,
	// so whoever comes second fails and finds the step done.
	for range maxAttempts {
		var have, want int64
		if have, want, err = p.GetVersions(ctx); err != nil {
			continue
		}
		if have > want {
			return fmt.Errorf("the schema is version %d and this program knows %d: use a newer corbel", have, want)
		}
		if have == want {
			return nil
		}
		_, err = p.Up(ctx)
	}
	return err
}

// Close waits for the writes under way and closes the file.
func (s *Store) Close() error {
	s.quitOnce.Do(func() { close(s.quit) })
	<-s.done
	return errors.Join(s.w.Close(), s.r.Close())
}

// Queued implements store.Store.
func (s *Store) Queued() <-chan struct{} { return s.queued }

// Stopping implements store.Store.
func (s *Store) Stopping() <-chan struct{} { return s.stopping }

// Outgoing implements store.Store.
func (s *Store) Outgoing() <-chan struct{} { return s.outgoing }

// Delivered implements store.Store.
func (s *Store) Delivered() <-chan struct{} { return s.delivered }

// Polling implements store.Store.
func (s *Store) Polling() <-chan struct{} { return s.polling }

// Update implements store.Store.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := write{fn, make(chan error, 1)}
	select {
	case s.writes <- w:
	case <-s.quit:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	// Once handed over it is quick, and the caller must know how it ended.
	select {
	case err := <-w.done:
		return err
	case <-s.done:
		select {
		case err := <-w.done:
			return err
		default:
			return errClosed
		}
	}
}

// writer is the one goroutine that writes. Close ends it.
func (s *Store) writer() {
	defer close(s.done)
	ctx := context.Background()
	tx := &tx{queries: newQueries(s.w)}
	tx.shared = true
	errs := make([]error, 0, maxGroup)
	group := make([]write, 0, maxGroup)
	for {
		select {
		case <-s.quit: // wins over a queue that never empties
			return
		default:
		}
		var first write
		select {
		case first = <-s.writes:
		case <-s.quit:
			return
		}
		group, errs = append(group[:0], first), errs[:0]
		tx.wake = wake{}
		began := time.Now()
		err := tx.exec(ctx, "begin immediate")
		for i := 0; err == nil && i < len(group); i++ {
			var own error
			own, err = tx.run(ctx, group[i].fn)
			errs = append(errs, own)
			if len(group) < maxGroup && time.Since(began) < maxTurn {
				select {
				case w := <-s.writes:
					group = append(group, w)
				default:
				}
			}
		}
		if err == nil {
			err = tx.exec(ctx, "commit")
		}
		if err != nil {
			// Fails where there is no transaction, which is then as it should be.
			_ = tx.exec(ctx, "rollback")
			err = fmt.Errorf("write to the database: %w", err)
		}
		for i, w := range group {
			if err != nil {
				w.done <- err
			} else {
				w.done <- errs[i]
			}
		}
		clear(group) // keeps nothing of its callers alive while it waits
		if err == nil {
			s.notify(tx.wake)
		}
	}
}

// wake says whom to wake after a commit.
type wake struct{ queued, stopping, outgoing, delivered, polling bool }

func (s *Store) notify(w wake) {
	for _, c := range []struct {
		set bool
		ch  chan struct{}
	}{{w.queued, s.queued}, {w.stopping, s.stopping}, {w.outgoing, s.outgoing}, {w.delivered, s.delivered}, {w.polling, s.polling}} {
		if c.set {
			select {
			case c.ch <- struct{}{}:
			default: // one is waiting already
			}
		}
	}
}

// run runs fn in a savepoint, so that an error undoes only what fn wrote. own
// is the error of fn. broken is the transaction's: SQLite gives all of it up
// when the disk is full, for example, and then nothing of the group is
// committed.
func (t *tx) run(ctx context.Context, fn func(store.Tx) error) (own, broken error) {
	before := t.wake
	if err := t.exec(ctx, "savepoint one"); err != nil {
		return nil, err
	}
	if own = protect(fn, t); own != nil {
		t.wake = before
		if err := t.exec(ctx, "rollback to one"); err != nil {
			return own, errors.Join(own, err)
		}
	}
	return own, t.exec(ctx, "release one")
}

// protect turns a panic of one caller into its error, since the writer serves
// all.
func protect(fn func(store.Tx) error, t *tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a transaction: %v\n%s", p, debug.Stack())
		}
	}()
	return fn(t)
}

// Copy writes the database at path as it is at one moment into a new file,
// beside whoever uses it.
func Copy(ctx context.Context, path, to string) error {
	db, err := connect(path, 1)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "vacuum into $1", to)
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", path, err)
	}
	return os.Chmod(to, 0o600)
}

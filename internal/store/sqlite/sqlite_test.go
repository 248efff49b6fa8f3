package sqlite

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/storetest"
)

// The tests run themselves as a child: what to do and with which database are
// in these variables.
const (
	childRole = "CORBEL_SQLITE_CHILD"
	childPath = "CORBEL_SQLITE_PATH"
)

func TestMain(m *testing.M) {
	role := map[string]func(context.Context, *Store) error{
		"write until killed": writeUntilKilled,
		"write a little":     writeALittle,
	}[os.Getenv(childRole)]
	if role == nil {
		os.Exit(m.Run())
	}
	ctx := context.Background()
	s, err := Open(ctx, os.Getenv(childPath))
	if err == nil {
		err = errors.Join(role(ctx, s), s.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is this program in a role, not started yet.
func child(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self)
	c.Env = append(os.Environ(), childRole+"="+role, childPath+"="+path)
	c.Stderr = os.Stderr
	return c
}

var home = store.Scope{Account: "111122223333", Region: "eu-west-1"}

// queueBuild stores the next build of a project and returns its id.
func queueBuild(ctx context.Context, s store.Store, project string) (id string, err error) {
	return id, s.Update(ctx, func(tx store.Tx) error {
		n, err := tx.NextBuildNumber(ctx, home, project)
		if err != nil {
			return err
		}
		id = fmt.Sprintf("%s:%d", project, n)
		return tx.QueueBuild(ctx, store.Build{Scope: home, Requested: time.Now(), Doc: &api.Build{Id: &id, ProjectName: &project, BuildNumber: &n}})
	})
}

// writeUntilKilled prints the id of each build that was acknowledged.
func writeUntilKilled(ctx context.Context, s *Store) error {
	failed := make(chan error)
	for i := range 8 {
		go func() { // ends with the process
			for {
				id, err := queueBuild(ctx, s, fmt.Sprint("p", i))
				if err == nil {
					_, err = fmt.Println(id) // one write of a short line, so lines do not mix
				}
				if err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

func writeALittle(ctx context.Context, s *Store) error {
	for range 50 {
		if _, err := queueBuild(ctx, s, "shared"); err != nil {
			return err
		}
	}
	return nil
}

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
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

// one reads a single value with SQL of its own.
func one[T any](t *testing.T, s *Store, text string) (v T) {
	t.Helper()
	if err := s.r.QueryRowContext(t.Context(), text).Scan(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// sound fails the test unless the file is whole and the depth of the queue is
// what it counts.
func sound(t *testing.T, s *Store) {
	t.Helper()
	if got := one[string](t, s, `pragma integrity_check`); got != "ok" {
		t.Errorf("integrity_check: %s", got)
	}
	if got, want := one[int](t, s, `select coalesce(sum(builds), 0) from queue_depth`), one[int](t, s, `select count(*) from build where state = 0`); got != want {
		t.Errorf("the queue's depth is %d, but %d builds are queued", got, want)
	}
}

// A process that is killed at any moment has lost nothing that it was told is
// stored.
func TestOpen_AfterKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "corbel.db")
	var acknowledged []string
	for round := range 6 {
		c := child(t, "write until killed", path)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		kill := 1 + rand.IntN(400) // after so many acknowledgements
		before := len(acknowledged)
		for {
			line, err := lines.ReadString('\n')
			if err != nil { // what is left is half a line
				if !errors.Is(err, io.EOF) && !errors.Is(err, fs.ErrClosed) {
					t.Fatal(err)
				}
				break
			}
			acknowledged = append(acknowledged, strings.TrimSpace(line))
			if len(acknowledged)-before == kill {
				if err := c.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := c.Wait(); err == nil || c.ProcessState.ExitCode() != -1 {
			t.Fatalf("round %d: the child was not killed: %v", round, err)
		}
		s := open(t, path)
		for _, id := range acknowledged {
			if _, err := s.Build(t.Context(), home, id); err != nil {
				t.Errorf("round %d: build %s was acknowledged: %v", round, id, err)
			}
		}
		sound(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d builds were acknowledged in 6 lives", len(acknowledged))
}

// Several processes write to one file, and open it at the same time when there
// is none yet.
func TestOpen_SeveralProcesses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "corbel.db")
	const children = 3
	var procs [children]*exec.Cmd
	for i := range procs {
		procs[i] = child(t, "write a little", path)
		if err := procs[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, path)
	for range 50 {
		if _, err := queueBuild(t.Context(), s, "shared"); err != nil {
			t.Error(err)
		}
	}
	for _, p := range procs {
		if err := p.Wait(); err != nil {
			t.Errorf("child: %v", err)
		}
	}
	if got, want := one[int](t, s, `select last from build_number`), 50*(children+1); got != want {
		t.Errorf("the last build has number %d, want %d", got, want)
	}
	sound(t, s)
}

func TestOpen_NewerSchema(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "corbel.db")
	s := open(t, path)
	if _, err := s.w.ExecContext(t.Context(), `insert into goose_db_version (version_id, is_applied) values (9999, 1)`); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := Open(t.Context(), path)
	if err == nil {
		t.Cleanup(func() { got.Close() })
	}
	if err == nil || !strings.Contains(err.Error(), "use a newer corbel") || !strings.Contains(err.Error(), path) {
		t.Errorf("Open of a newer file: %v", err)
	}
}

func TestOpen_NotADatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "corbel.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is not a database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(t.Context(), path); err == nil {
		s.Close()
		t.Error("Open of a text file succeeded")
	}
	if s, err := Open(t.Context(), filepath.Join(path, "below", "a", "file")); err == nil {
		s.Close()
		t.Error("Open below a file succeeded")
	}
}

// The files hold sealed secrets and build variables, so nobody else may read
// them, whatever the umask says.
func TestOpen_FileMode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "corbel.db"))
	if _, err := queueBuild(t.Context(), s, "site"); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 {
		t.Errorf("%d files, want the database, -wal and -shm", len(files))
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != 0o600 {
			t.Errorf("%s has mode %v, want -rw-------", f.Name(), got)
		}
	}
}

// A path may have characters that mean something in a URI, and what was stored
// is there when it is opened again.
func TestOpen_Path(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"plain", "a b", "a?b=c", "a#b", "100%", "%41", "ü", "file:x", "a&b;c"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), name)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, name+".db")
			s := open(t, path)
			id, err := queueBuild(t.Context(), s, "site")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path); err != nil || info.Size() == 0 {
				t.Errorf("the file: %v, %v", info, err)
			}
			if _, err := open(t, path).Build(t.Context(), home, id); err != nil {
				t.Errorf("after opening again: %v", err)
			}
		})
	}
}

// A full disk is the error of everybody in the commit, nothing of it is
// stored, and when there is room again everything works.
func TestUpdate_DiskFull(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "corbel.db"))
	ctx := t.Context()
	limit := func(pages int) {
		t.Helper()
		if _, err := s.w.ExecContext(ctx, fmt.Sprintf(`pragma max_page_count = %d`, pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(one[int](t, s, `pragma page_count`) + 10)
	big := strings.Repeat("x", 50_000)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			p := &api.Project{Name: new(fmt.Sprint("p", i)), Created: api.At(time.Now()), LastModified: api.At(time.Now())}
			if i%8 == 0 {
				p.Description = &big
			}
			err := s.Update(ctx, func(tx store.Tx) error {
				if err := tx.CreateProject(ctx, home, p); i != 8 {
					return err
				}
				return nil // one that does not look
			})
			_, read := s.Project(ctx, home, *p.Name)
			switch {
			case read != nil && !errors.Is(read, store.ErrNotFound):
				t.Errorf("Project: %v", read)
			case (read == nil) != (err == nil) && i != 8:
				t.Errorf("Update returned %v, and then Project %v", err, read)
			case i%8 == 0 && read == nil:
				t.Errorf("%d bytes found room", len(big))
			}
		})
	}
	wg.Wait()
	sound(t, s)
	limit(1 << 30)
	if _, err := queueBuild(ctx, s, "site"); err != nil {
		t.Errorf("Update when there is room again: %v", err)
	}
	sound(t, s)
}

// What was stored before a step is found by what the step added.
func TestOpen_Migrates(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "corbel.db")
	db, err := connect(path, 1)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, steps)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`insert into project (account, region, name, created, modified, doc) values ('1', 'r', 'site', 0, 0, '{"webhook":{"payloadUrl":"https://old.example/h?t=1"}}')`,
		`insert into project (account, region, name, created, modified, doc) values ('1', 'r', 'other', 0, 0, '{}')`,
		`insert into webhook (account, region, project, address, source, host, owner, kind, hook_id, sealed, version, created) values ('1', 'r', 'site', '1', '', '', '', '', '', '', 1, 0)`,
	} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if list, err := s.WebhooksElsewhere(t.Context(), "https://ci.example/h?t="); err != nil || !slices.Equal(list, []string{"site"}) {
		t.Errorf("WebhooksElsewhere = %v, %v", list, err)
	}
}

// Every statement that the conformance suite makes finds its rows by an index.
func TestStore(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	statements := map[string]bool{}
	note := func(q *queries) {
		mu.Lock()
		defer mu.Unlock()
		q.stmts.Range(func(text, _ any) bool {
			statements[text.(string)] = true
			return true
		})
	}
	t.Run("Suite", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store {
			s := open(t, filepath.Join(t.TempDir(), "corbel.db"))
			t.Cleanup(func() {
				note(s.queries)
				// The suite may have closed the store.
				_ = s.Update(context.Background(), func(w store.Tx) error {
					note(w.(*tx).queries)
					return nil
				})
			})
			return s
		})
	})

	db := open(t, filepath.Join(t.TempDir(), "corbel.db")).r
	explained := 0
	for text := range statements {
		if verb, _, _ := strings.Cut(text, " "); !slices.Contains([]string{"select", "insert", "update", "delete"}, verb) {
			continue // begin, savepoint, ...
		}
		explained++
		for _, step := range explain(t, db, text) {
			if table, ok := strings.CutPrefix(step, "SCAN "); ok && !slices.Contains(bounded, table) {
				t.Errorf("%s\n\tin %s", step, text)
			}
			if strings.HasPrefix(step, "USE TEMP B-TREE") && strings.Contains(text, "limit $") {
				t.Errorf("a page is sorted: %s\n\tin %s", step, text)
			}
		}
	}
	if explained == 0 {
		t.Error("no statement was explained")
	}
}

// bounded is what may be read whole, because it is small however long Corbel
// has been running: what is queued, running or to be sent, accounts and keys,
// and a count that has a limit.
var bounded = []string{
	"build USING INDEX build_queue", "build USING COVERING INDEX build_queue", "build USING INDEX build_running",
	"a", // the outbox, in the order of its ids
	"account", "access_key", "(subquery-1)",
	"json_each VIRTUAL TABLE INDEX 1:", // the webhooks that are being looked at
	// Of these the first is read.
	"webhook USING INDEX webhook_poll_next", "hook_removal USING COVERING INDEX hook_removal_next", "webhook_gone",
}

func explain(t *testing.T, db *sql.DB, text string) (steps []string) {
	t.Helper()
	var args []any // the plan does not depend on them
	for strings.Contains(text, fmt.Sprint("$", len(args)+1)) {
		args = append(args, nil)
	}
	rows, err := db.QueryContext(t.Context(), "explain query plan "+text, args...)
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}

// Every column of sealed values is known to those who seal again.
func TestSealed_CoversSchema(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows, err := s.r.QueryContext(t.Context(), `select m.name, c.name from sqlite_schema m, pragma_table_info(m.name) c
		where m.type = 'table' and lower(c.type) = 'blob' and m.name not in ('audit_line', 'delivery_body', 'delivery_digest') order by 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		n++
		if !slices.ContainsFunc(vessels, func(v vessel) bool { return v.table == table && v.column == column }) {
			t.Errorf("%s.%s may hold sealed values and is not in vessels", table, column)
		}
	}
	if err := rows.Err(); err != nil || n < len(vessels) {
		t.Errorf("%d columns of bytes, %v", n, err)
	}
}

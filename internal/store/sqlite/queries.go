package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

// queries reads from one handle, with statements prepared once.
type queries struct {
	db    *sql.DB
	stmts sync.Map // SQL text -> *sql.Stmt

	// shared is set where several callers are in one transaction. A context
	// that ends would interrupt SQLite, which then gives up the transaction of
	// all of them, so contexts count only until a caller's turn has come.
	shared bool
}

func newQueries(db *sql.DB) *queries { return &queries{db: db} }

// stmt returns the statement of text and the context to run it with.
func (q *queries) stmt(ctx context.Context, text string) (context.Context, *sql.Stmt, error) {
	if q.shared {
		ctx = context.Background()
	}
	if s, ok := q.stmts.Load(text); ok {
		return ctx, s.(*sql.Stmt), nil
	}
	s, err := q.db.PrepareContext(ctx, text)
	if err != nil {
		return ctx, nil, fmt.Errorf("prepare %q: %w", text, err)
	}
	if prev, loaded := q.stmts.LoadOrStore(text, s); loaded {
		_ = s.Close() // another goroutine was first
		s = prev.(*sql.Stmt)
	}
	return ctx, s, nil
}

func (q *queries) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	ctx, s, err := q.stmt(ctx, text)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// row scans the only row of a query; store.ErrNotFound if there is none.
func (q *queries) row(ctx context.Context, text string, args []any, dest ...any) error {
	ctx, s, err := q.stmt(ctx, text)
	if err != nil {
		return err
	}
	err = s.QueryRowContext(ctx, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return store.ErrNotFound
	}
	return err
}

// list scans every row of a query.
func list[T any](ctx context.Context, q *queries, scan func(*sql.Rows, *T) error, text string, args ...any) ([]T, error) {
	rows, err := q.query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := []T{}
	for rows.Next() {
		var v T
		if err := scan(rows, &v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// ms reads and writes times as milliseconds; the zero time is 0.
type ms time.Time

func (t *ms) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time is a %T", v)
	}
	*t = ms{}
	if n != 0 {
		*t = ms(time.UnixMilli(n).UTC())
	}
	return nil
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// doc reads a JSON column.
type doc struct{ into any }

func (d doc) Scan(v any) error {
	switch v := v.(type) {
	case string:
		return json.Unmarshal([]byte(v), d.into)
	case []byte:
		return json.Unmarshal(v, d.into)
	}
	return fmt.Errorf("document is a %T", v)
}

func text(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

func (q *queries) Account(ctx context.Context, id string) (a store.Account, err error) {
	a.ID = id
	err = q.row(ctx, `select created from account where id = $1`, []any{id}, (*ms)(&a.Created))
	return a, err
}

func (q *queries) Accounts(ctx context.Context) ([]store.Account, error) {
	return list(ctx, q, func(r *sql.Rows, a *store.Account) error {
		return r.Scan(&a.ID, (*ms)(&a.Created))
	}, `select id, created from account order by created, id`)
}

func (q *queries) Regions(ctx context.Context, account string) ([]string, error) {
	return list(ctx, q, func(r *sql.Rows, region *string) error { return r.Scan(region) },
		`select region from project where account = $1 union select region from source_credential where account = $1 order by region`, account)
}

func (q *queries) AccessKey(ctx context.Context, id string) (k store.AccessKey, err error) {
	k.ID = id
	err = q.row(ctx, `select account, username, sealed, created, policy, expires from access_key where id = $1`, []any{id},
		&k.Account, &k.User, &k.Sealed, (*ms)(&k.Created), &k.Policy, (*ms)(&k.Expires))
	return k, err
}

func (q *queries) AccessKeys(ctx context.Context, account string) ([]store.AccessKey, error) {
	return list(ctx, q, func(r *sql.Rows, k *store.AccessKey) error {
		return r.Scan(&k.ID, &k.Account, &k.User, &k.Sealed, (*ms)(&k.Created), &k.Policy, (*ms)(&k.Expires))
	}, `select id, account, username, sealed, created, policy, expires from access_key where account = $1 order by created, id`, account)
}

func (q *queries) Project(ctx context.Context, s store.Scope, name string) (*api.Project, error) {
	p := new(api.Project)
	if err := q.row(ctx, `select doc from project where account = $1 and region = $2 and name = $3`,
		[]any{s.Account, s.Region, name}, doc{p}); err != nil {
		return nil, err
	}
	return p, nil
}

func (q *queries) ProjectNames(ctx context.Context, s store.Scope, page store.ProjectPage) ([]store.ProjectKey, error) {
	column := map[api.ProjectSortByType]string{
		api.ProjectSortByTypeCREATED_TIME:       "created",
		api.ProjectSortByTypeLAST_MODIFIED_TIME: "modified",
	}[page.SortBy]
	op, order := ">", "asc"
	if page.Descending {
		op, order = "<", "desc"
	}
	args := []any{s.Account, s.Region, page.Limit}
	where, by := "", "name "+order
	if column != "" {
		by = column + " " + order + ", name " + order
	}
	if a := page.After; a != nil {
		if column == "" {
			where, args = " and name "+op+" $4", append(args, a.Name)
		} else {
			at := a.Created
			if column == "modified" {
				at = a.Modified
			}
			where, args = " and ("+column+", name) "+op+" ($4, $5)", append(args, millis(at), a.Name)
		}
	}
	return list(ctx, q, func(r *sql.Rows, k *store.ProjectKey) error {
		return r.Scan(&k.Name, (*ms)(&k.Created), (*ms)(&k.Modified))
	}, `select name, created, modified from project where account = $1 and region = $2`+where+` order by `+by+` limit $3`, args...)
}

const buildColumns = `select account, region, doc, state, requested, queue_until, stop, holder, attempt, ref, trigger from build`

func buildDest(b *store.Build) []any {
	b.Doc = new(api.Build)
	return []any{&b.Account, &b.Region, doc{b.Doc}, &b.State, (*ms)(&b.Requested), (*ms)(&b.QueueUntil), &b.Stop, &b.Holder, &b.Attempt, &b.Ref, trigger{&b.Trigger}}
}

// trigger reads the JSON of a trigger; "" is nil.
type trigger struct{ into **store.Trigger }

func (t trigger) Scan(v any) error {
	text, _ := v.(string)
	if text == "" {
		*t.into = nil
		return nil
	}
	*t.into = new(store.Trigger)
	return json.Unmarshal([]byte(text), *t.into)
}

func scanBuild(r *sql.Rows, b *store.Build) error { return r.Scan(buildDest(b)...) }

func (q *queries) Build(ctx context.Context, s store.Scope, id string) (b store.Build, err error) {
	err = q.row(ctx, buildColumns+` where id = $1 and account = $2 and region = $3`, []any{id, s.Account, s.Region}, buildDest(&b)...)
	return b, err
}

func (q *queries) BuildDocuments(ctx context.Context, s store.Scope, ids []string) ([]api.Build, error) {
	out := make([]api.Build, 0, len(ids))
	for _, id := range ids {
		var b api.Build
		err := q.row(ctx, `select doc from build where id = $1 and account = $2 and region = $3`, []any{id, s.Account, s.Region}, doc{&b})
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

func (q *queries) BadgeStatus(ctx context.Context, badge, ref string) (status api.StatusType, err error) {
	err = q.row(ctx, `select json_extract(build.doc, '$.buildStatus')
		from project join build on build.account = project.account and build.region = project.region and build.project = project.name
		where project.badge = $1 and project.badge <> '' and build.ref = $2 and build.ref <> '' order by build.number desc limit 1`, []any{badge, ref}, &status)
	return status, err
}

func (q *queries) BuildKeys(ctx context.Context, s store.Scope, page store.BuildPage) ([]store.BuildKey, error) {
	op, order := ">", "asc"
	if page.Descending {
		op, order = "<", "desc"
	}
	args := []any{s.Account, s.Region, page.Limit}
	var where, by string
	if page.Project != "" {
		where, by = " and project = $4", "number "+order
		args = append(args, page.Project)
		if page.After != nil {
			where, args = where+" and number "+op+" $5", append(args, page.After.Number)
		}
	} else {
		by = "requested " + order + ", id " + order
		if page.After != nil {
			where, args = " and (requested, id) "+op+" ($4, $5)", append(args, millis(page.After.Requested), page.After.ID)
		}
	}
	filter := func(column, op string, v any) {
		args = append(args, v)
		where += fmt.Sprintf(" and %s %s $%d", column, op, len(args))
	}
	if page.Status != "" {
		filter("status", "=", string(page.Status))
	}
	if page.Initiator != "" {
		filter("initiator", "=", page.Initiator)
	}
	if !page.Since.IsZero() {
		column := "requested"
		if page.Project != "" {
			column = "+requested" // the order of numbers is what the index is for
		}
		filter(column, ">=", millis(page.Since))
	}
	return list(ctx, q, func(r *sql.Rows, k *store.BuildKey) error {
		return r.Scan(&k.ID, &k.Number, (*ms)(&k.Requested))
	}, `select id, number, requested from build where account = $1 and region = $2`+where+` order by `+by+` limit $3`, args...)
}

func (q *queries) BuildOutcomes(ctx context.Context, s store.Scope, project string, since time.Time, visit func(store.BuildOutcome) error) error {
	where, args := ` and requested >= $3 order by requested desc, id desc`, []any{s.Account, s.Region, millis(since)}
	if project != "" {
		where, args = ` and +requested >= $3 and project = $4 order by number desc`, append(args, project)
	}
	rows, err := q.query(ctx, `select id, project, status, requested, dequeued, ended from build where account = $1 and region = $2`+where, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var o store.BuildOutcome
		if err := rows.Scan(&o.ID, &o.Project, &o.Status, (*ms)(&o.Requested), (*ms)(&o.Dequeued), (*ms)(&o.Ended)); err != nil {
			return err
		}
		if err := visit(o); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (q *queries) UnfinishedBuilds(ctx context.Context, s store.Scope, project string) (queued, running int, err error) {
	where, args := ``, []any{s.Account, s.Region}
	if project != "" {
		where, args = ` and project = $3`, append(args, project)
	}
	err = q.row(ctx, `select count(*) filter (where state = 0), count(*) filter (where state = 1) from build
		where account = $1 and region = $2 and state < 2`+where, args, &queued, &running)
	return queued, running, err
}

func (q *queries) ActiveBuilds(ctx context.Context, s store.Scope, project string, limit int) (n int, err error) {
	err = q.row(ctx, `select count(*) from (select 1 from build where account = $1 and region = $2 and project = $3 and state < 2 limit $4)`,
		[]any{s.Account, s.Region, project, limit}, &n)
	return n, err
}

func (q *queries) QueuedBuilds(ctx context.Context, account string) (n int, err error) {
	err = q.row(ctx, `select coalesce(sum(builds), 0) from queue_depth where account = $1`, []any{account}, &n)
	return n, err
}

func (q *queries) IdempotentBuild(ctx context.Context, s store.Scope, token string, now time.Time) (store.Idempotent, error) {
	i := store.Idempotent{Token: token}
	err := q.row(ctx, `select digest, build, expires from idempotency_token where account = $1 and region = $2 and token = $3 and expires > $4`,
		[]any{s.Account, s.Region, token, millis(now)}, &i.Digest, &i.Build, (*ms)(&i.Expires))
	return i, err
}

func (q *queries) StopRequests(ctx context.Context, holder string) ([]string, error) {
	return list(ctx, q, func(r *sql.Rows, id *string) error { return r.Scan(id) },
		`select id from build where holder = $1 and state = 1 and stop = 1`, holder)
}

// last is a character after all others: what starts with a prefix comes before
// the prefix and last.
const last = "char(1114111)"

func (q *queries) LogGroups(ctx context.Context, s store.Scope, prefix, after string, limit int) ([]store.LogGroup, error) {
	return list(ctx, q, func(r *sql.Rows, g *store.LogGroup) error {
		return r.Scan(&g.Name, (*ms)(&g.Created))
	}, `select name, created from log_group where account = $1 and region = $2 and name > $3 and name >= $4 and name < $4 || `+last+`
		order by name limit $5`, s.Account, s.Region, after, prefix, limit)
}

func scanStream(r *sql.Rows, l *store.LogStream) error {
	return r.Scan(&l.Group, &l.Name, &l.Build, (*ms)(&l.Created))
}

func (q *queries) LogStreams(ctx context.Context, s store.Scope, page store.StreamPage) ([]store.LogStream, error) {
	op, order := ">", "asc"
	if page.Descending {
		op, order = "<", "desc"
	}
	args := []any{s.Account, s.Region, page.Group, page.Prefix, page.Limit}
	where, by := " and name >= $4 and name < $4 || "+last, "name "+order
	if page.ByTime {
		where, by = " and substr(name, 1, length($4)) = $4", "created "+order+", name "+order
	}
	if a := page.After; a != nil {
		if page.ByTime {
			where, args = where+" and (created, name) "+op+" ($6, $7)", append(args, millis(a.Created), a.Name)
		} else {
			where, args = where+" and name "+op+" $6", append(args, a.Name)
		}
	}
	return list(ctx, q, scanStream, `select log_group, name, build, created from log_stream
		where account = $1 and region = $2 and log_group = $3`+where+` order by `+by+` limit $5`, args...)
}

func (q *queries) LogStream(ctx context.Context, s store.Scope, group, stream string) (store.LogStream, error) {
	l := store.LogStream{Group: group, Name: stream}
	err := q.row(ctx, `select build, created from log_stream where account = $1 and region = $2 and log_group = $3 and name = $4`,
		[]any{s.Account, s.Region, group, stream}, &l.Build, (*ms)(&l.Created))
	return l, err
}

func (q *queries) Check(ctx context.Context, name string) (v []byte, err error) {
	err = q.row(ctx, `select value from check_value where name = $1`, []any{name}, &v)
	return v, err
}

// tx writes within the transaction that the writer has begun.
type tx struct {
	*queries
	wake
}

func (t *tx) exec(ctx context.Context, text string, args ...any) error {
	_, err := t.count(ctx, text, args...)
	return err
}

func (t *tx) count(ctx context.Context, text string, args ...any) (int64, error) {
	ctx, s, err := t.stmt(ctx, text)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(ctx, args...)
	if err != nil {
		if strings.Contains(err.Error(), "UNIQUE constraint") || strings.Contains(err.Error(), "PRIMARY KEY") {
			return 0, store.ErrExists
		}
		return 0, err
	}
	return r.RowsAffected()
}

// must is exec where one row has to change; none is the given error.
func (t *tx) must(ctx context.Context, none error, text string, args ...any) error {
	n, err := t.count(ctx, text, args...)
	if err == nil && n == 0 {
		return none
	}
	return err
}

func (t *tx) PutAccount(ctx context.Context, a store.Account) error {
	return t.exec(ctx, `insert into account (id, created) values ($1, $2)`, a.ID, millis(a.Created))
}

func (t *tx) PutAccessKey(ctx context.Context, k store.AccessKey) error {
	return t.exec(ctx, `insert into access_key (id, account, username, sealed, created, policy, expires) values ($1, $2, $3, $4, $5, $6, $7)`,
		k.ID, k.Account, k.User, k.Sealed, millis(k.Created), k.Policy, millis(k.Expires))
}

func (t *tx) SetPolicy(ctx context.Context, id, policy string) error {
	return t.must(ctx, store.ErrNotFound, `update access_key set policy = $1 where id = $2`, policy, id)
}

func (t *tx) DeleteAccessKey(ctx context.Context, id string) error {
	if err := t.exec(ctx, `delete from session where key_id = $1`, id); err != nil {
		return err
	}
	return t.must(ctx, store.ErrNotFound, `delete from access_key where id = $1`, id)
}

func (t *tx) CreateProject(ctx context.Context, s store.Scope, p *api.Project) error {
	d, err := text(p)
	if err != nil {
		return err
	}
	return t.exec(ctx, `insert into project (account, region, name, created, modified, doc, badge) values ($1, $2, $3, $4, $5, $6, $7)`,
		s.Account, s.Region, *p.Name, millis(p.Created.Time), millis(p.LastModified.Time), d, store.BadgeOf(p))
}

func (t *tx) UpdateProject(ctx context.Context, s store.Scope, p *api.Project) error {
	d, err := text(p)
	if err != nil {
		return err
	}
	return t.must(ctx, store.ErrNotFound, `update project set modified = $4, doc = $5, badge = $6 where account = $1 and region = $2 and name = $3`,
		s.Account, s.Region, *p.Name, millis(p.LastModified.Time), d, store.BadgeOf(p))
}

func (t *tx) DeleteProject(ctx context.Context, s store.Scope, name string) error {
	return t.must(ctx, store.ErrNotFound, `delete from project where account = $1 and region = $2 and name = $3`, s.Account, s.Region, name)
}

func (t *tx) NextBuildNumber(ctx context.Context, s store.Scope, project string) (n int64, err error) {
	err = t.row(ctx, `insert into build_number (account, region, project, last) values ($1, $2, $3, 1)
		on conflict (account, region, project) do update set last = last + 1 returning last`, []any{s.Account, s.Region, project}, &n)
	return n, err
}

func (t *tx) depth(ctx context.Context, account string, by int) error {
	return t.exec(ctx, `insert into queue_depth (account, builds) values ($1, $2)
		on conflict (account) do update set builds = builds + excluded.builds`, account, by)
}

func (t *tx) QueueBuild(ctx context.Context, b store.Build) error {
	d, err := text(b.Doc)
	if err != nil {
		return err
	}
	cause := ""
	if b.Trigger != nil {
		if cause, err = text(b.Trigger); err != nil {
			return err
		}
	}
	if err := t.exec(ctx, `insert into build (id, account, region, project, number, state, requested, queue_until, doc, trigger)
		values ($1, $2, $3, $4, $5, 0, $6, $7, $8, $9)`,
		*b.Doc.Id, b.Account, b.Region, *b.Doc.ProjectName, *b.Doc.BuildNumber, millis(b.Requested), millis(b.QueueUntil), d, cause); err != nil {
		return err
	}
	t.queued = true
	return t.depth(ctx, b.Account, 1)
}

func (t *tx) RequestStop(ctx context.Context, s store.Scope, id string) (store.Build, error) {
	n, err := t.count(ctx, `update build set stop = 1 where id = $1 and account = $2 and region = $3 and state < 2`, id, s.Account, s.Region)
	if err != nil {
		return store.Build{}, err
	}
	t.stopping = t.stopping || n > 0
	return t.Build(ctx, s, id)
}

func (t *tx) EndQueuedBuild(ctx context.Context, b store.Build) error {
	d, err := text(b.Doc)
	if err != nil {
		return err
	}
	if err := t.must(ctx, store.ErrNotFound, `update build set state = 2, doc = $2 where id = $1 and state = 0`, *b.Doc.Id, d); err != nil {
		return err
	}
	return t.depth(ctx, b.Account, -1)
}

func (t *tx) DeleteBuild(ctx context.Context, s store.Scope, id string) error {
	return t.must(ctx, store.ErrNotFound, `delete from build where id = $1 and account = $2 and region = $3 and state = 2`, id, s.Account, s.Region)
}

func (t *tx) AddContext(ctx context.Context, s store.Scope, id string, c api.PhaseContext) error {
	b, err := t.Build(ctx, s, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && (b.State != store.Complete || len(b.Doc.Phases) < 2) {
		return nil
	} else if err != nil {
		return err
	}
	p := &b.Doc.Phases[len(b.Doc.Phases)-2]
	p.Contexts = append(p.Contexts, c)
	d, err := text(b.Doc)
	if err != nil {
		return err
	}
	return t.must(ctx, store.ErrNotFound, `update build set doc = $2 where id = $1 and state = 2`, id, d)
}

func (t *tx) PutIdempotent(ctx context.Context, s store.Scope, i store.Idempotent) error {
	// Old tokens go when a new one comes, a few at a time.
	if err := t.exec(ctx, `delete from idempotency_token where (account, region, token) in
		(select account, region, token from idempotency_token where expires <= $1 limit 10)`, millis(i.Expires.Add(-time.Hour))); err != nil {
		return err
	}
	return t.exec(ctx, `insert or replace into idempotency_token (account, region, token, digest, build, expires) values ($1, $2, $3, $4, $5, $6)`,
		s.Account, s.Region, i.Token, i.Digest, i.Build, millis(i.Expires))
}

func (t *tx) ClaimBuild(ctx context.Context, holder string, until time.Time) (b store.Build, err error) {
	err = t.row(ctx, `update build set state = 1, holder = $1, lease_until = $2, attempt = attempt + 1
		where id = (select id from build where state = 0 order by requested, id limit 1)
		returning account, region, doc, state, requested, queue_until, stop, holder, attempt, ref, trigger`, []any{holder, millis(until)}, buildDest(&b)...)
	if err != nil {
		return store.Build{}, err
	}
	return b, t.depth(ctx, b.Account, -1)
}

func (t *tx) ExtendLeases(ctx context.Context, holder string, until time.Time) error {
	return t.exec(ctx, `update build set lease_until = $2 where holder = $1 and state = 1`, holder, millis(until))
}

func (t *tx) SaveBuild(ctx context.Context, b store.Build) error {
	d, err := text(b.Doc)
	if err != nil {
		return err
	}
	return t.must(ctx, store.ErrLeaseLost, `update build set state = $4, doc = $5, ref = $6 where id = $1 and holder = $2 and attempt = $3 and state = 1`,
		*b.Doc.Id, b.Holder, b.Attempt, int(b.State), d, b.Ref)
}

func (t *tx) ReturnBuild(ctx context.Context, b store.Build) error {
	b.State = store.Queued
	if err := t.SaveBuild(ctx, b); err != nil {
		return err
	}
	t.queued = true
	return t.depth(ctx, b.Account, 1)
}

func (t *tx) ExpiredBuilds(ctx context.Context, now time.Time, except string, others bool) ([]store.Build, error) {
	return list(ctx, t.queries, scanBuild, buildColumns+` where state = 1 and (lease_until < $1 or ($2 and holder <> $3)) order by requested limit 1000`,
		millis(now), others, except)
}

func (t *tx) OverdueBuilds(ctx context.Context, now time.Time) ([]store.Build, error) {
	return list(ctx, t.queries, scanBuild, buildColumns+` where state = 0 and queue_until < $1 order by requested limit 1000`, millis(now))
}

func (t *tx) PutLogStream(ctx context.Context, s store.Scope, l store.LogStream) error {
	if err := t.exec(ctx, `insert into log_group (account, region, name, created) values ($1, $2, $3, $4)
		on conflict do update set created = excluded.created where excluded.created < created`,
		s.Account, s.Region, l.Group, millis(l.Created)); err != nil {
		return err
	}
	return t.exec(ctx, `insert into log_stream (account, region, log_group, name, build, created) values ($1, $2, $3, $4, $5, $6) on conflict do nothing`,
		s.Account, s.Region, l.Group, l.Name, l.Build, millis(l.Created))
}

func (t *tx) PutStatus(ctx context.Context, s store.CommitStatus) error {
	source, err := text(s.Source)
	if err != nil {
		return err
	}
	lane, err := text([]string{s.Account, s.Region, *s.Source.Location, s.SHA, s.Context})
	if err != nil {
		return err
	}
	host := ""
	if u, err := url.Parse(*s.Source.Location); err == nil {
		host = u.Host
	}
	t.outgoing = true
	return t.exec(ctx, `insert into commit_status (account, region, project, build, source, lane, host, sha, state, context, description, target_url, created, next)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		s.Account, s.Region, s.Project, s.Build, source, lane, host, s.SHA, s.State, s.Context, s.Description, s.TargetURL, millis(s.Created), millis(s.Next))
}

func (t *tx) DueStatuses(ctx context.Context, now time.Time, except []int64, full []string, limit int) ([]store.CommitStatus, error) {
	ids, err := among(except)
	if err != nil {
		return nil, err
	}
	hosts, err := among(full)
	if err != nil {
		return nil, err
	}
	return list(ctx, t.queries, func(r *sql.Rows, s *store.CommitStatus) error {
		s.Source = new(api.ProjectSource)
		return r.Scan(&s.ID, &s.Account, &s.Region, &s.Project, &s.Build, doc{s.Source}, &s.Host, &s.SHA, &s.State, &s.Context, &s.Description,
			&s.TargetURL, (*ms)(&s.Created), (*ms)(&s.Next), &s.Attempts)
	}, `select id, account, region, project, build, source, host, sha, state, context, description, target_url, created, next, attempts
		from commit_status a where next <= $1 and id not in (select value from json_each($2)) and host not in (select value from json_each($3))
		and not exists (select 1 from commit_status b where b.lane = a.lane and b.id < a.id) order by id limit $4`, millis(now), ids, hosts, limit)
}

func (t *tx) DeferStatus(ctx context.Context, id int64, next time.Time, problem string) error {
	return t.must(ctx, store.ErrNotFound, `update commit_status set attempts = attempts + 1, next = $2, problem = $3 where id = $1`, id, millis(next), problem)
}

func (t *tx) DeleteStatus(ctx context.Context, id int64) error {
	return t.must(ctx, store.ErrNotFound, `delete from commit_status where id = $1`, id)
}

func (t *tx) NextStatus(ctx context.Context, except []int64, full []string) (at time.Time, err error) {
	ids, err := among(except)
	if err != nil {
		return at, err
	}
	hosts, err := among(full)
	if err != nil {
		return at, err
	}
	var n sql.NullInt64
	err = t.row(ctx, `select min(next) from commit_status a where id not in (select value from json_each($1)) and host not in (select value from json_each($2))
		and not exists (select 1 from commit_status b where b.lane = a.lane and b.id < a.id)`, []any{ids, hosts}, &n)
	if err == nil && !n.Valid {
		err = store.ErrNotFound
	}
	return time.UnixMilli(n.Int64).UTC(), err
}

func (t *tx) PutCheck(ctx context.Context, name string, value []byte) error {
	return t.exec(ctx, `insert into check_value (name, value) values ($1, $2)`, name, value)
}

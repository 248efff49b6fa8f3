package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

const webhookColumns = `select account, region, project, address, source, host, owner, kind, hook_id, sealed, version, created,
	poll_every, poll_next, poll_problem, poll_failing, marks, refused, refused_reason, refused_at from webhook`

func webhookDest(w *store.Webhook) []any {
	return []any{&w.Account, &w.Region, &w.Project, &w.Address, &w.Source, &w.Host, &w.Owner, &w.Kind, &w.HookID, &w.Sealed, &w.Version, (*ms)(&w.Created),
		(*span)(&w.PollEvery), (*ms)(&w.PollNext), &w.PollProblem, (*ms)(&w.PollFailing), &w.Marks, &w.Refused, &w.RefusedReason, (*ms)(&w.RefusedAt)}
}

func scanWebhook(r *sql.Rows, w *store.Webhook) error { return r.Scan(webhookDest(w)...) }

// span reads a duration in milliseconds.
type span time.Duration

func (d *span) Scan(v any) error {
	n, _ := v.(int64)
	*d = span(time.Duration(n) * time.Millisecond)
	return nil
}

func (q *queries) Webhook(ctx context.Context, s store.Scope, project string) (w store.Webhook, err error) {
	err = q.row(ctx, webhookColumns+` where account = $1 and region = $2 and project = $3`, []any{s.Account, s.Region, project}, webhookDest(&w)...)
	return w, err
}

func (q *queries) WebhookAt(ctx context.Context, address string) (w store.Webhook, err error) {
	err = q.row(ctx, webhookColumns+` where address = $1`, []any{address}, webhookDest(&w)...)
	return w, err
}

// addressed is followed by which payload addresses.
const addressed = `select p.name from project p join webhook w on w.account = p.account and w.region = p.region and w.project = p.name where w.poll_every = 0 and `

func (q *queries) WebhooksElsewhere(ctx context.Context, base string) ([]string, error) {
	// What is before those that begin with base and what is after, by the index.
	return list(ctx, q, func(r *sql.Rows, name *string) error { return r.Scan(name) },
		addressed+`p.payload < $1 union all `+addressed+`p.payload > $1 || char(0x10ffff)`, base)
}

// among is a list for "in (select value from json_each($1))". JSON's null would
// be unequal to everything.
func among[T any](list []T) (string, error) { return text(append([]T{}, list...)) }

// others are the webhooks and the hosts that a question is not about.
func others(except, full []string) (hooks, hosts string, err error) {
	if hooks, err = among(except); err == nil {
		hosts, err = among(full)
	}
	return hooks, hosts, err
}

func (q *queries) DuePolls(ctx context.Context, now time.Time, except, full []string, limit int) ([]store.Webhook, error) {
	hooks, hosts, err := others(except, full)
	if err != nil {
		return nil, err
	}
	return list(ctx, q, scanWebhook, webhookColumns+` where poll_every > 0 and poll_next <= $1 and address not in (select value from json_each($2))
		and host not in (select value from json_each($3)) order by poll_next limit $4`, millis(now), hooks, hosts, limit)
}

func (q *queries) NextPoll(ctx context.Context, except, full []string) (at time.Time, err error) {
	hooks, hosts, err := others(except, full)
	if err != nil {
		return at, err
	}
	err = q.row(ctx, `select poll_next from webhook where poll_every > 0 and address not in (select value from json_each($1))
		and host not in (select value from json_each($2)) order by poll_next limit 1`, []any{hooks, hosts}, (*ms)(&at))
	return at, err
}

func (t *tx) PutWebhook(ctx context.Context, w store.Webhook) error {
	return t.exec(ctx, `insert into webhook (account, region, project, address, source, host, owner, kind, hook_id, sealed, version, created)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		on conflict (account, region, project) do update set address = excluded.address, source = excluded.source, host = excluded.host, owner = excluded.owner,
		kind = excluded.kind, hook_id = excluded.hook_id, sealed = excluded.sealed, version = excluded.version, created = excluded.created`,
		w.Account, w.Region, w.Project, w.Address, string(w.Source), w.Host, w.Owner, w.Kind, w.HookID, w.Sealed, w.Version, millis(w.Created))
}

func (t *tx) DeleteWebhook(ctx context.Context, s store.Scope, project string) error {
	for _, text := range []string{
		`insert into webhook_gone (address) select address from webhook where account = $1 and region = $2 and project = $3`,
		`delete from approval where account = $1 and region = $2 and project = $3`,
	} {
		if err := t.exec(ctx, text, s.Account, s.Region, project); err != nil {
			return err
		}
	}
	return t.must(ctx, store.ErrNotFound, `delete from webhook where account = $1 and region = $2 and project = $3`, s.Account, s.Region, project)
}

func (t *tx) SetPoll(ctx context.Context, w store.Webhook) error {
	t.polling = true
	return t.must(ctx, store.ErrNotFound, `update webhook set poll_every = $1, poll_next = $2, poll_problem = $3, poll_failing = $4, marks = $5 where address = $6`,
		w.PollEvery.Milliseconds(), millis(w.PollNext), w.PollProblem, millis(w.PollFailing), string(w.Marks), w.Address)
}

func (t *tx) NoteRefused(ctx context.Context, address string, add int, reason string, at time.Time) error {
	return t.exec(ctx, `update webhook set refused = refused + $1, refused_reason = $2, refused_at = $3 where address = $4`, add, reason, millis(at), address)
}

const deliveryColumns = `id, account, region, project, hook, origin, received, event, provider, headers, state, next, attempts, problem, results, behind`

func deliveryDest(d *store.Delivery) []any {
	return []any{&d.ID, &d.Account, &d.Region, &d.Project, &d.Hook, &d.Origin, (*ms)(&d.Received), &d.Event, &d.Provider, doc{&d.Headers},
		&d.State, (*ms)(&d.Next), &d.Attempts, &d.Problem, doc{&d.Results}, &d.Behind}
}

func scanDelivery(r *sql.Rows, d *store.Delivery) error { return r.Scan(deliveryDest(d)...) }

func (q *queries) Delivery(ctx context.Context, id int64) (d store.Delivery, err error) {
	err = q.row(ctx, `select `+deliveryColumns+`, body from delivery join delivery_body using (id) where id = $1`, []any{id}, append(deliveryDest(&d), &d.Body)...)
	return d, err
}

func (q *queries) Deliveries(ctx context.Context, hook string, before int64, limit int) ([]store.Delivery, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	return list(ctx, q, scanDelivery, `select `+deliveryColumns+` from delivery where hook = $1 and id < $2 order by id desc limit $3`, hook, before, limit)
}

// waiting has each webhook to which a delivery waits, and when the first of
// them is due. It goes from one to the next by the index, so that it takes as
// long as there are such webhooks, however many deliveries wait.
const waiting = `with recursive hop (hook) as (
		select min(hook) from delivery where state = 0 and behind = 0
		union all select (select min(hook) from delivery where state = 0 and behind = 0 and hook > hop.hook) from hop where hook is not null
	), waiting (hook, next) as (select hook, (select min(next) from delivery where state = 0 and behind = 0 and hook = hop.hook) from hop where hook is not null) `

// elsewhere is whether a waiting webhook is at none of the hosts in a list.
// Nearly always that is empty, and no webhook is read.
const elsewhere = `($2 = '[]' or coalesce((select host from webhook where address = waiting.hook), '') not in (select value from json_each($2))) `

func (q *queries) DueHooks(ctx context.Context, now time.Time, except, full []string, limit int) ([]store.DueHook, error) {
	hooks, hosts, err := others(except, full)
	if err != nil {
		return nil, err
	}
	return list(ctx, q, func(r *sql.Rows, h *store.DueHook) error { return r.Scan(&h.Address, &h.Host) },
		waiting+`, due (hook, next) as (select hook, next from waiting where next <= $3 and hook not in (select value from json_each($1)) and `+elsewhere+`order by next, hook limit $4)
		select hook, coalesce((select host from webhook where address = due.hook), '') from due order by next, hook`, hooks, hosts, millis(now), limit)
}

func (q *queries) DueDeliveries(ctx context.Context, now time.Time, hook string, limit int) ([]store.Delivery, error) {
	return list(ctx, q, scanDelivery, `select `+deliveryColumns+` from delivery where state = 0 and behind = 0 and hook = $1 and next <= $2 order by next, id limit $3`, hook, millis(now), limit)
}

func (q *queries) NextDelivery(ctx context.Context, except, full []string) (at time.Time, err error) {
	hooks, hosts, err := others(except, full)
	if err != nil {
		return at, err
	}
	err = q.row(ctx, waiting+`select next from waiting where hook not in (select value from json_each($1)) and `+elsewhere+`order by next limit 1`, []any{hooks, hosts}, (*ms)(&at))
	return at, err
}

func (q *queries) LastWaiting(ctx context.Context, hook string, before int64, lanes []string) (id int64, lane string, err error) {
	names, err := among(lanes)
	if err != nil {
		return 0, "", err
	}
	err = q.row(ctx, `select last, lane from (select value as lane, (select max(id) from delivery_lane d where d.hook = $1 and d.lane = value and d.id < $2) as last, key from json_each($3))
		where last is not null order by last desc, key desc limit 1`, []any{hook, before, names}, &id, &lane)
	return id, lane, err
}

func (t *tx) PutDelivery(ctx context.Context, d store.Delivery) (id int64, err error) {
	var there int
	if err := t.row(ctx, `select 1 from webhook where address = $1`, []any{d.Hook}, &there); err != nil {
		return 0, err
	}
	if d.Digest != nil {
		if err := t.exec(ctx, `insert into delivery_digest (hook, digest) values ($1, $2)`, d.Hook, d.Digest); err != nil {
			return 0, err
		}
	}
	headers, err := text(d.Headers)
	if err != nil {
		return 0, err
	}
	t.delivered = true
	if err := t.row(ctx, `insert into delivery (account, region, project, hook, origin, received, event, provider, headers, next)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) returning id`,
		[]any{d.Account, d.Region, d.Project, d.Hook, string(d.Origin), millis(d.Received), d.Event, d.Provider, headers, millis(d.Next)}, &id); err != nil {
		return 0, err
	}
	return id, t.exec(ctx, `insert into delivery_body (id, body) values ($1, $2)`, id, d.Body)
}

func (t *tx) SaveDelivery(ctx context.Context, d store.Delivery) error {
	if d.Results == nil {
		d.Results = []store.Result{}
	}
	results, err := text(d.Results)
	if err != nil {
		return err
	}
	if d.State != store.Waiting {
		d.Lanes, d.Behind = []string{}, 0
	}
	if err := t.must(ctx, store.ErrNotFound, `update delivery set state = $2, next = $3, attempts = $4, problem = $5, results = $6,
		behind = iif($7 = 0, 0, coalesce((select b.id from delivery b where b.id = $7 and b.hook = delivery.hook and b.id < delivery.id and b.state = 0), 0)) where id = $1 and state = 0`,
		d.ID, int(d.State), millis(d.Next), d.Attempts, d.Problem, results, d.Behind); err != nil {
		return err
	}
	lanes, err := among(d.Lanes)
	if err != nil || d.Lanes == nil {
		return err
	}
	left, err := t.count(ctx, `delete from delivery_lane where id = $1 and lane not in (select value from json_each($2))`, d.ID, lanes)
	if err == nil && left > 0 {
		err = t.exec(ctx, `update delivery set behind = 0 where state = 0 and behind > 0 and behind = $1`, d.ID)
	}
	if err == nil && len(d.Lanes) > 0 {
		err = t.exec(ctx, `insert or ignore into delivery_lane (hook, lane, id) select (select hook from delivery where id = $1), value, $1 from json_each($2)`, d.ID, lanes)
	}
	return err
}

func (t *tx) DeleteDeliveries(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := t.count(ctx, `delete from delivery where id in (select id from delivery where state > 0 and received < $1 order by received limit $2)`, millis(before), limit)
	if err != nil {
		return 0, err
	}
	var gone string
	err = t.row(ctx, `select address from webhook_gone limit 1`, nil, &gone)
	if errors.Is(err, store.ErrNotFound) {
		return int(n), nil
	} else if err != nil {
		return 0, err
	}
	var left int64
	for _, text := range []string{
		`delete from delivery where id in (select id from delivery where hook = $1 limit $2)`,
		`delete from delivery_digest where hook = $1 and digest in (select digest from delivery_digest where hook = $1 limit $2)`,
	} {
		m, err := t.count(ctx, text, gone, limit)
		if err != nil {
			return 0, err
		}
		left += m
	}
	if left == 0 {
		left = 1 // the row itself
		err = t.exec(ctx, `delete from webhook_gone where address = $1`, gone)
	}
	return int(n + left), err
}

const approvalColumns = `select account, region, project, repository, number, title, author, sha, since, event from approval`

func approvalDest(a *store.Approval) []any {
	return []any{&a.Account, &a.Region, &a.Project, &a.Repository, &a.Number, &a.Title, &a.Author, &a.SHA, (*ms)(&a.Since), &a.Event}
}

func (q *queries) Approvals(ctx context.Context, s store.Scope, project string) ([]store.Approval, error) {
	return list(ctx, q, func(r *sql.Rows, a *store.Approval) error { return r.Scan(approvalDest(a)...) },
		approvalColumns+` where account = $1 and region = $2 and ($3 = '' or project = $3) order by since, project, number limit 1000`, s.Account, s.Region, project)
}

func (q *queries) Approval(ctx context.Context, s store.Scope, project, repository string, number int) (a store.Approval, err error) {
	err = q.row(ctx, approvalColumns+` where account = $1 and region = $2 and project = $3 and repository = $4 and number = $5`,
		[]any{s.Account, s.Region, project, repository, number}, approvalDest(&a)...)
	return a, err
}

func (t *tx) PutApproval(ctx context.Context, a store.Approval) error {
	return t.exec(ctx, `insert or replace into approval (account, region, project, repository, number, title, author, sha, since, event)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		a.Account, a.Region, a.Project, a.Repository, a.Number, a.Title, a.Author, a.SHA, millis(a.Since), string(a.Event))
}

func (t *tx) DeleteApproval(ctx context.Context, s store.Scope, project, repository string, number int) error {
	return t.must(ctx, store.ErrNotFound, `delete from approval where account = $1 and region = $2 and project = $3 and repository = $4 and number = $5`,
		s.Account, s.Region, project, repository, number)
}

func (q *queries) DueRemovals(ctx context.Context, now time.Time, limit int) ([]store.Removal, error) {
	return list(ctx, q, func(r *sql.Rows, m *store.Removal) error {
		m.Source, m.Primary = new(api.ProjectSource), new(api.ProjectSource)
		return r.Scan(&m.ID, &m.Account, &m.Region, &m.Project, doc{m.Source}, doc{m.Primary}, &m.Host, &m.Owner, &m.Kind, &m.HookID, &m.Address, (*ms)(&m.Created), (*ms)(&m.Next), &m.Attempts)
	}, `select id, account, region, project, source, primary_source, host, owner, kind, hook_id, address, created, next, attempts
		from hook_removal where next <= $1 order by next limit $2`, millis(now), limit)
}

func (q *queries) NextRemoval(ctx context.Context) (at time.Time, err error) {
	err = q.row(ctx, `select next from hook_removal order by next limit 1`, nil, (*ms)(&at))
	return at, err
}

func (t *tx) PutRemoval(ctx context.Context, r store.Removal) (id int64, err error) {
	source, err := text(r.Source)
	if err != nil {
		return 0, err
	}
	primary, err := text(r.Primary)
	if err != nil {
		return 0, err
	}
	t.delivered = true
	err = t.row(ctx, `insert into hook_removal (account, region, project, source, primary_source, host, owner, kind, hook_id, address, created, next)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) returning id`,
		[]any{r.Account, r.Region, r.Project, source, primary, r.Host, r.Owner, r.Kind, r.HookID, r.Address, millis(r.Created), millis(r.Next)}, &id)
	return id, err
}

func (t *tx) DeferRemoval(ctx context.Context, id int64, next time.Time, problem string) error {
	return t.must(ctx, store.ErrNotFound, `update hook_removal set attempts = attempts + 1, next = $2, problem = $3 where id = $1`, id, millis(next), problem)
}

func (t *tx) DeleteRemoval(ctx context.Context, id int64) error {
	return t.must(ctx, store.ErrNotFound, `delete from hook_removal where id = $1`, id)
}

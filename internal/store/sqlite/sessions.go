package sqlite

import (
	"context"
	"time"

	"github.com/corbel-build/corbel/internal/store"
)

func (q *queries) Session(ctx context.Context, hash string) (s store.Session, err error) {
	err = q.row(ctx, `select hash, key_id, region, created, used, expires from session where hash = $1`, []any{hash},
		&s.Hash, &s.KeyID, &s.Region, (*ms)(&s.Created), (*ms)(&s.Used), (*ms)(&s.Expires))
	return s, err
}

func (t *tx) PutSession(ctx context.Context, s store.Session) error {
	return t.must(ctx, store.ErrExists, `insert into session (hash, key_id, region, created, used, expires) values ($1, $2, $3, $4, $5, $6) on conflict do nothing`,
		s.Hash, s.KeyID, s.Region, millis(s.Created), millis(s.Used), millis(s.Expires))
}

func (t *tx) UseSession(ctx context.Context, hash string, at time.Time) error {
	return t.must(ctx, store.ErrNotFound, `update session set used = $1 where hash = $2`, millis(at), hash)
}

func (t *tx) DeleteSession(ctx context.Context, hash string) error {
	return t.must(ctx, store.ErrNotFound, `delete from session where hash = $1`, hash)
}

func (t *tx) DeleteSessions(ctx context.Context, now, idle time.Time) error {
	return t.exec(ctx, `delete from session where expires <= $1 or used <= $2`, millis(now), millis(idle))
}

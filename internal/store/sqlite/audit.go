package sqlite

import (
	"context"
	"database/sql"
	"math"

	"github.com/corbel-build/corbel/internal/store"
)

const auditColumns = `select seq, at, account, doc, hash from audit_line`

func auditDest(l *store.AuditLine) []any {
	return []any{&l.Seq, (*ms)(&l.At), &l.Account, &l.Doc, &l.Hash}
}

func (q *queries) LastAudit(ctx context.Context) (l store.AuditLine, err error) {
	err = q.row(ctx, auditColumns+` where seq > 0 order by seq desc limit 1`, nil, auditDest(&l)...)
	return l, err
}

func scanAudit(r *sql.Rows, l *store.AuditLine) error { return r.Scan(auditDest(l)...) }

func (q *queries) AccountAudit(ctx context.Context, account, resource string, before int64, limit int) ([]store.AuditLine, error) {
	where, args := ` where account = $1 and seq < $2`, []any{account, before, limit}
	if before == 0 {
		args[1] = int64(math.MaxInt64)
	}
	if resource != "" {
		where, args = where+` and resource = $4`, append(args, resource)
	}
	return list(ctx, q, scanAudit, auditColumns+where+` order by seq desc limit $3`, args...)
}

func (q *queries) AuditLines(ctx context.Context, seq int64, limit int) ([]store.AuditLine, error) {
	return list(ctx, q, scanAudit, auditColumns+` where seq > $1 order by seq limit $2`, seq, limit)
}

func (t *tx) PutAudit(ctx context.Context, l store.AuditLine) error {
	return t.must(ctx, store.ErrExists, `insert into audit_line (seq, at, account, doc, hash) values ($1, $2, $3, $4, $5) on conflict do nothing`,
		l.Seq, millis(l.At), l.Account, string(l.Doc), l.Hash)
}

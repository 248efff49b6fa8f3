package sqlite

import (
	"context"
	"database/sql"

	"github.com/corbel-build/corbel/internal/store"
)

const secretColumns = `select account, region, name, arn, doc from secret`

func secretDest(s *store.Secret) []any {
	return []any{&s.Account, &s.Region, &s.Name, &s.ARN, doc{&s.Doc}}
}

func (q *queries) Secret(ctx context.Context, s store.Scope, name string) (v store.Secret, err error) {
	err = q.row(ctx, secretColumns+` where account = $1 and region = $2 and name = $3`, []any{s.Account, s.Region, name}, secretDest(&v)...)
	return v, err
}

func (q *queries) SecretOfARN(ctx context.Context, s store.Scope, arn string) (v store.Secret, err error) {
	err = q.row(ctx, secretColumns+` where account = $1 and region = $2 and arn = $3`, []any{s.Account, s.Region, arn}, secretDest(&v)...)
	return v, err
}

func (q *queries) Secrets(ctx context.Context, s store.Scope, after string, limit int) ([]store.Secret, error) {
	return list(ctx, q, func(r *sql.Rows, v *store.Secret) error {
		return r.Scan(secretDest(v)...)
	}, secretColumns+` where account = $1 and region = $2 and name > $3 order by name limit $4`, s.Account, s.Region, after, limit)
}

func (q *queries) SecretVersions(ctx context.Context, s store.Scope, arn string) ([]store.SecretVersion, error) {
	return list(ctx, q, func(r *sql.Rows, v *store.SecretVersion) error {
		return r.Scan(&v.Account, &v.Region, &v.Secret, &v.ID, doc{&v.Stages}, &v.Binary, &v.Sealed, (*ms)(&v.Created))
	}, `select account, region, secret, id, stages, binary, sealed, created from secret_version
		where account = $1 and region = $2 and secret = $3 order by created desc, id`, s.Account, s.Region, arn)
}

func (t *tx) PutSecret(ctx context.Context, s store.Secret) error {
	d, err := text(s.Doc)
	if err != nil {
		return err
	}
	return t.exec(ctx, `insert into secret (account, region, name, arn, doc) values ($1, $2, $3, $4, $5)
		on conflict (account, region, name) do update set arn = excluded.arn, doc = excluded.doc`, s.Account, s.Region, s.Name, s.ARN, d)
}

func (t *tx) DeleteSecret(ctx context.Context, s store.Scope, name string) error {
	if err := t.exec(ctx, `delete from secret_version where account = $1 and region = $2 and secret =
		(select arn from secret where account = $1 and region = $2 and name = $3)`, s.Account, s.Region, name); err != nil {
		return err
	}
	return t.must(ctx, store.ErrNotFound, `delete from secret where account = $1 and region = $2 and name = $3`, s.Account, s.Region, name)
}

func (t *tx) PutSecretVersion(ctx context.Context, v store.SecretVersion) error {
	stages, err := text(v.Stages)
	if err != nil {
		return err
	}
	return t.exec(ctx, `insert into secret_version (account, region, secret, id, stages, binary, sealed, created) values ($1, $2, $3, $4, $5, $6, $7, $8)
		on conflict (account, region, secret, id) do update set stages = excluded.stages, binary = excluded.binary, sealed = excluded.sealed, created = excluded.created`,
		v.Account, v.Region, v.Secret, v.ID, stages, v.Binary, v.Sealed, millis(v.Created))
}

func (t *tx) DeleteSecretVersion(ctx context.Context, s store.Scope, arn, version string) error {
	return t.must(ctx, store.ErrNotFound, `delete from secret_version where account = $1 and region = $2 and secret = $3 and id = $4`, s.Account, s.Region, arn, version)
}

const parameterColumns = `select account, region, name, version, arn, doc, sealed from parameter`

func parameterDest(p *store.Parameter) []any {
	return []any{&p.Account, &p.Region, &p.Name, &p.Version, &p.ARN, doc{&p.Doc}, &p.Sealed}
}

func (q *queries) Parameter(ctx context.Context, s store.Scope, name string, version int64) (p store.Parameter, err error) {
	if version == 0 {
		err = q.row(ctx, parameterColumns+` where account = $1 and region = $2 and name = $3 and newest = 1`, []any{s.Account, s.Region, name}, parameterDest(&p)...)
	} else {
		err = q.row(ctx, parameterColumns+` where account = $1 and region = $2 and name = $3 and version = $4`, []any{s.Account, s.Region, name, version}, parameterDest(&p)...)
	}
	return p, err
}

func (q *queries) Parameters(ctx context.Context, s store.Scope, after string, limit int) ([]store.Parameter, error) {
	return list(ctx, q, func(r *sql.Rows, p *store.Parameter) error {
		return r.Scan(parameterDest(p)...)
	}, parameterColumns+` where account = $1 and region = $2 and name > $3 and newest = 1 order by name limit $4`, s.Account, s.Region, after, limit)
}

func (t *tx) PutParameter(ctx context.Context, p store.Parameter) error {
	d, err := text(p.Doc)
	if err != nil {
		return err
	}
	if err := t.exec(ctx, `update parameter set newest = 0 where account = $1 and region = $2 and name = $3 and newest = 1`, p.Account, p.Region, p.Name); err != nil {
		return err
	}
	return t.must(ctx, store.ErrExists, `insert into parameter (account, region, name, version, arn, newest, doc, sealed) values ($1, $2, $3, $4, $5, 1, $6, $7)
		on conflict do nothing`, p.Account, p.Region, p.Name, p.Version, p.ARN, d, p.Sealed)
}

func (t *tx) DeleteParameter(ctx context.Context, s store.Scope, name string, before int64) error {
	if before > 0 {
		return t.must(ctx, store.ErrNotFound, `delete from parameter where account = $1 and region = $2 and name = $3 and version < $4`, s.Account, s.Region, name, before)
	}
	return t.must(ctx, store.ErrNotFound, `delete from parameter where account = $1 and region = $2 and name = $3`, s.Account, s.Region, name)
}

package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
)

const credentialColumns = `select account, region, server_type, auth_type, arn, resource, sealed, generation, created, modified, health, next_check from source_credential`

func credentialDest(c *store.Credential) []any {
	return []any{&c.Account, &c.Region, &c.ServerType, &c.AuthType, &c.ARN, &c.Resource, &c.Sealed, &c.Generation,
		(*ms)(&c.Created), (*ms)(&c.Modified), doc{&c.Health}, (*ms)(&c.NextCheck)}
}

func scanCredential(r *sql.Rows, c *store.Credential) error { return r.Scan(credentialDest(c)...) }

func (q *queries) Credential(ctx context.Context, s store.Scope, server api.ServerType) (c store.Credential, err error) {
	err = q.row(ctx, credentialColumns+` where account = $1 and region = $2 and server_type = $3`,
		[]any{s.Account, s.Region, string(server)}, credentialDest(&c)...)
	return c, err
}

func (q *queries) Credentials(ctx context.Context, s store.Scope) ([]store.Credential, error) {
	return list(ctx, q, scanCredential, credentialColumns+` where account = $1 and region = $2 order by server_type`, s.Account, s.Region)
}

func (q *queries) CredentialsAfter(ctx context.Context, after store.Credential, limit int) ([]store.Credential, error) {
	return list(ctx, q, scanCredential, credentialColumns+` where (account, region, server_type) > ($1, $2, $3) order by account, region, server_type limit $4`,
		after.Account, after.Region, string(after.ServerType), limit)
}

func (q *queries) DueCredentials(ctx context.Context, now time.Time, limit int) ([]store.Credential, error) {
	return list(ctx, q, scanCredential, credentialColumns+` where next_check > 0 and next_check <= $1 order by next_check limit $2`, millis(now), limit)
}

func (q *queries) NextCheck(ctx context.Context) (at time.Time, err error) {
	err = q.row(ctx, `select next_check from source_credential where next_check > 0 order by next_check limit 1`, nil, (*ms)(&at))
	return at, err
}

func (q *queries) CredentialUse(ctx context.Context, s store.Scope, arn string) (u store.CredentialUse, err error) {
	err = q.row(ctx, `select arn, used_at, purpose, build, host from credential_use where account = $1 and region = $2 and arn = $3`,
		[]any{s.Account, s.Region, arn}, &u.ARN, (*ms)(&u.At), &u.Purpose, &u.Build, &u.Host)
	return u, err
}

func (t *tx) PutCredential(ctx context.Context, c store.Credential) error {
	health, err := text(c.Health)
	if err != nil {
		return err
	}
	return t.exec(ctx, `insert into source_credential (account, region, server_type, auth_type, arn, resource, sealed, generation, created, modified, health, next_check)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		on conflict (account, region, server_type) do update set auth_type = excluded.auth_type, arn = excluded.arn, resource = excluded.resource,
		sealed = excluded.sealed, generation = excluded.generation, modified = excluded.modified, health = excluded.health, next_check = excluded.next_check`,
		c.Account, c.Region, string(c.ServerType), string(c.AuthType), c.ARN, c.Resource, c.Sealed, c.Generation, millis(c.Created), millis(c.Modified), health, millis(c.NextCheck))
}

func (t *tx) DeleteCredential(ctx context.Context, s store.Scope, server api.ServerType) error {
	if err := t.exec(ctx, `delete from credential_use where (account, region, arn) in
		(select account, region, arn from source_credential where account = $1 and region = $2 and server_type = $3)`, s.Account, s.Region, string(server)); err != nil {
		return err
	}
	return t.must(ctx, store.ErrNotFound, `delete from source_credential where account = $1 and region = $2 and server_type = $3`,
		s.Account, s.Region, string(server))
}

func (t *tx) PutHealth(ctx context.Context, c store.Credential) error {
	health, err := text(c.Health)
	if err != nil {
		return err
	}
	return t.must(ctx, store.ErrNotFound, `update source_credential set health = $1, next_check = $2
		where account = $3 and region = $4 and server_type = $5 and generation = $6 and created = $7`,
		health, millis(c.NextCheck), c.Account, c.Region, string(c.ServerType), c.Generation, millis(c.Created))
}

func (t *tx) NoteUse(ctx context.Context, s store.Scope, u store.CredentialUse) error {
	return t.exec(ctx, `insert into credential_use (account, region, arn, used_at, purpose, build, host) values ($1, $2, $3, $4, $5, $6, $7)
		on conflict (account, region, arn) do update set used_at = excluded.used_at, purpose = excluded.purpose, build = excluded.build, host = excluded.host`,
		s.Account, s.Region, u.ARN, millis(u.At), u.Purpose, u.Build, u.Host)
}

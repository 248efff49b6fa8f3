package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/corbel-build/corbel/internal/store"
)

// A vessel is a table with a column of sealed values. A test looks for tables
// that are not here.
type vessel struct {
	kind, table, column string
	key                 []string // columns of the primary key
	parts               []string // columns of the binding
}

var vessels = []vessel{
	{"access-key", "access_key", "sealed", []string{"id"}, []string{"id", "account"}},
	{"source-credential", "source_credential", "sealed", []string{"account", "region", "server_type"}, []string{"arn", "account", "region", "generation"}},
	{"secret", "secret_version", "sealed", []string{"account", "region", "secret", "id"}, []string{"secret", "account", "region", "id"}},
	{"parameter", "parameter", "sealed", []string{"account", "region", "name", "version"}, []string{"arn", "account", "region", "version"}},
	{"webhook", "webhook", "sealed", []string{"account", "region", "project"}, []string{"address", "account", "region", "project", "version"}},
	{"check", "check_value", "value", []string{"name"}, nil},
}

func vesselOf(kind string) (vessel, error) {
	i := slices.IndexFunc(vessels, func(v vessel) bool { return v.kind == kind })
	if i < 0 {
		return vessel{}, fmt.Errorf("there are no sealed values of kind %q", kind)
	}
	return vessels[i], nil
}

func (*queries) SealedKinds() []string {
	var list []string
	for _, v := range vessels {
		list = append(list, v.kind)
	}
	return list
}

func (q *queries) SealedValues(ctx context.Context, kind string, after []string, limit int) ([]store.SealedValue, error) {
	v, err := vesselOf(kind)
	if err != nil {
		return nil, err
	}
	if after == nil { // no first column of a key is empty
		after = make([]string, len(v.key))
	}
	args := []any{limit}
	var marks []string
	for _, k := range after {
		args = append(args, k)
		marks = append(marks, fmt.Sprintf("$%d", len(args)))
	}
	where := " where (" + strings.Join(v.key, ", ") + ") > (" + strings.Join(marks, ", ") + ")"
	columns := append(slices.Clone(v.key), v.parts...)
	return list(ctx, q, func(r *sql.Rows, out *store.SealedValue) error {
		texts := make([]string, len(columns))
		dest := []any{&out.Sealed}
		for i := range texts {
			dest = append(dest, &texts[i])
		}
		if err := r.Scan(dest...); err != nil {
			return err
		}
		out.Kind, out.Key, out.Parts = kind, texts[:len(v.key)], texts[len(v.key):]
		return nil
	}, "select "+v.column+", "+strings.Join(columns, ", ")+" from "+v.table+where+" order by "+strings.Join(v.key, ", ")+" limit $1", args...)
}

func (t *tx) Reseal(ctx context.Context, v store.SealedValue, sealed []byte) error {
	at, err := vesselOf(v.Kind)
	if err != nil {
		return err
	}
	args := []any{sealed, v.Sealed}
	var where []string
	for i, k := range v.Key {
		args = append(args, k)
		where = append(where, fmt.Sprintf("%s = $%d", at.key[i], len(args)))
	}
	return t.must(ctx, store.ErrNotFound, "update "+at.table+" set "+at.column+" = $1 where "+at.column+" = $2 and "+strings.Join(where, " and "), args...)
}

// Wipe leaves nothing in the database's files of sealed values that were
// replaced or deleted before it was called. It builds their tables anew, since
// a page keeps traces of what was moved to another one; pages that are given
// up are cleared. Then it moves the log of writes into the database and cuts it
// to nothing. Other processes go on; it waits for them, seconds at most, and
// fails if one reads or writes all that time.
func (s *Store) Wipe(ctx context.Context) error {
	for _, v := range vessels {
		err := s.Update(ctx, func(w store.Tx) error {
			for _, text := range []string{"create temp table anew as select * from main.X", "delete from main.X", "insert into main.X select * from temp.anew", "drop table temp.anew"} {
				if err := w.(*tx).exec(ctx, strings.ReplaceAll(text, "main.X", "main."+v.table)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("build table %s anew: %w", v.table, err)
		}
	}
	var busy, pages, moved int
	for range maxAttempts { // each waits as long as busy_timeout
		if err := s.r.QueryRowContext(ctx, "pragma wal_checkpoint(truncate)").Scan(&busy, &pages, &moved); err != nil {
			return fmt.Errorf("clear the log of the database: %w", err)
		}
		if busy == 0 {
			return nil
		}
	}
	return errors.New("clear the log of the database: it is in use all the time")
}

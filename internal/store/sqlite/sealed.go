package sqlite

import (
	"context"
	"database/sql"
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

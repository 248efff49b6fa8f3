package store

import (
	"context"
	"time"
)

// AuditReader is what can be read of the audit log.
type AuditReader interface {
	// LastAudit returns the newest line; ErrNotFound if there is none.
	LastAudit(ctx context.Context) (AuditLine, error)
	// AuditLines lists lines in their order, those after seq. limit is at
	// least 1.
	AuditLines(ctx context.Context, seq int64, limit int) ([]AuditLine, error)
	// AccountAudit lists the lines of an account from the newest on, those
	// before the line with the number, which is 0 for the start. resource is the
	// ARN that they are about; "" is any. limit is at least 1.
	AccountAudit(ctx context.Context, account, resource string, before int64, limit int) ([]AuditLine, error)
}

// AuditWriter is what can be written of it. There is no way to change or
// remove a line.
type AuditWriter interface {
	// PutAudit appends a line; ErrExists if its number is taken.
	PutAudit(ctx context.Context, l AuditLine) error
}

// An AuditLine is a record with its place in the chain. Package audit knows
// what is in it.
type AuditLine struct {
	Seq     int64 // from 1, without gaps
	At      time.Time
	Account string
	Doc     []byte // JSON
	Hash    []byte // of this line and all before it
}

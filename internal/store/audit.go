package store

// AuditReader is what can be read of the audit log.
type AuditReader interface{}

// AuditWriter is what can be written of it.
type AuditWriter interface{}

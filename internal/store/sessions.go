package store

import (
	"context"
	"time"
)

// SessionReader is what can be read of the console's sessions.
type SessionReader interface {
	// Session returns the session whose cookie has that hash, also one whose
	// time is over.
	Session(ctx context.Context, hash string) (Session, error)
}

// SessionWriter is what can be written of them.
type SessionWriter interface {
	// PutSession stores a new session; ErrExists if the hash is taken.
	PutSession(ctx context.Context, s Session) error
	// UseSession notes when a session was used last; ErrNotFound if it has
	// ended.
	UseSession(ctx context.Context, hash string, at time.Time) error
	// DeleteSession ends a session; ErrNotFound if there is none.
	DeleteSession(ctx context.Context, hash string) error
	// DeleteSessions removes those that were not used since idle, and those
	// that expired by now.
	DeleteSessions(ctx context.Context, now, idle time.Time) error
}

// A Session stands for the access key that somebody signed in with. It is gone
// with the key.
type Session struct {
	Hash    string // SHA-256 of what the cookie holds, which is stored nowhere
	KeyID   string
	Region  string // chosen at sign-in
	Created time.Time
	Used    time.Time
	Expires time.Time // whatever its use
}

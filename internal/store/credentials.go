package store

import (
	"context"
	"time"

	"github.com/corbel-build/corbel/api"
)

// CredentialReader is what can be read of source credentials.
type CredentialReader interface {
	Credential(ctx context.Context, s Scope, server api.ServerType) (Credential, error)
	// Credentials lists a scope's credentials, ordered by server type.
	Credentials(ctx context.Context, s Scope) ([]Credential, error)
	// CredentialsAfter lists a page of every scope's credentials: by account,
	// region and server type, those after the given one's. limit is at least 1.
	CredentialsAfter(ctx context.Context, after Credential, limit int) ([]Credential, error)
	// DueCredentials lists the credentials of every scope whose NextCheck is
	// not after now, the longest overdue first. A zero NextCheck is never due.
	DueCredentials(ctx context.Context, now time.Time, limit int) ([]Credential, error)
	// NextCheck returns when the next credential is due; ErrNotFound if none
	// ever is.
	NextCheck(ctx context.Context) (time.Time, error)

	// CredentialUse returns the last use of what has the ARN: a source
	// credential or a secret.
	CredentialUse(ctx context.Context, s Scope, arn string) (CredentialUse, error)
}

// CredentialWriter is what can be written of them.
type CredentialWriter interface {
	// PutCredential stores or replaces the credential of its scope and
	// server type.
	PutCredential(ctx context.Context, c Credential) error
	// DeleteCredential removes a credential and what was noted of its use.
	DeleteCredential(ctx context.Context, s Scope, server api.ServerType) error
	// PutHealth writes c's health and NextCheck; ErrNotFound if the credential
	// was deleted, or replaced since it had c's generation.
	PutHealth(ctx context.Context, c Credential) error
	// NoteUse replaces what is known of the last use.
	NoteUse(ctx context.Context, s Scope, u CredentialUse) error
}

// A Credential is a stored source credential. The token and the user name
// are inside Sealed.
type Credential struct {
	Scope
	ServerType api.ServerType
	AuthType   api.AuthType
	ARN        string
	Resource   string // connection or secret ARN, for auth types that have one
	Sealed     []byte
	Generation int64 // counts the imports; part of the seal's binding
	Created    time.Time
	Modified   time.Time
	Health     Health
	NextCheck  time.Time // zero is never
}

// Health is what the provider said of a credential when it was last asked.
type Health struct {
	State     string            `json:"state"`              // see package credential
	Detail    string            `json:"detail,omitzero"`    // why it is not VALID
	Login     string            `json:"login,omitzero"`     // the provider's user
	Kind      string            `json:"kind,omitzero"`      // sort of token
	Scopes    []string          `json:"scopes,omitzero"`    // nil where the provider does not tell
	Missing   []string          `json:"missing,omitzero"`   // scopes that the guide asks for
	Purpose   map[string]string `json:"purpose,omitzero"`   // what each missing scope is for
	Host      string            `json:"host,omitzero"`      // who was asked
	Expires   time.Time         `json:"expires,omitzero"`   // when the token ends, if known
	Checked   time.Time         `json:"checked,omitzero"`   // when the provider last answered
	Remaining *int              `json:"remaining,omitzero"` // requests left, where the provider tells
	Noticed   int               `json:"noticed,omitzero"`   // days before the end of which notice was given last
}

// A CredentialUse is the last time that a token was used.
type CredentialUse struct {
	ARN     string // of the credential or the secret
	At      time.Time
	Purpose string
	Build   string // build id, "" if it was not for a build
	Host    string
}

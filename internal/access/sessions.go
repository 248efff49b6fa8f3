package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/corbel-build/corbel/internal/store"
)

// Sessions keeps the sessions of the console. A session stands for the access
// key that somebody signed in with, and ends with it.
type Sessions struct {
	Keys *Keys

	// Life is how long a session lasts, Idle how long one that is not used
	// does.
	Life, Idle time.Duration
}

// The times of sessions unless an operator says otherwise.
const (
	DefaultLife = 12 * time.Hour
	DefaultIdle = time.Hour
)

// useTime is how exactly the last use of a session is known: not each request
// is a write.
const useTime = time.Minute

// ErrNoSession says that there is no such session, or none any more.
var ErrNoSession = errors.New("the session has ended")

// Region is what the name of a region looks like.
var Region = regexp.MustCompile(`^[a-z]{2,}(-[a-z0-9]+)+$`)

// hash is what is stored of a session's token.
func hash(token string) string {
	h := sha256.Sum256([]byte(token))
	return hex.EncodeToString(h[:])
}

// Open makes a session for a key, in tx. The token is for the browser's cookie.
func (s *Sessions) Open(ctx context.Context, tx store.Tx, key store.AccessKey, region string) (token string, err error) {
	var b [32]byte
	rand.Read(b[:])
	token = base64.RawURLEncoding.EncodeToString(b[:])
	now := s.Keys.Now()
	if err := tx.DeleteSessions(ctx, now, now.Add(-s.Idle)); err != nil {
		return "", fmt.Errorf("remove sessions that have ended: %w", err)
	}
	if err := tx.PutSession(ctx, store.Session{Hash: hash(token), KeyID: key.ID, Region: region, Created: now, Used: now, Expires: now.Add(s.Life)}); err != nil {
		return "", fmt.Errorf("store a session: %w", err)
	}
	return token, nil
}

// Find returns whom a session's token stands for, and notes that it was used if
// used says so.
// ErrNoSession if there is no session, its time is over, or its key's is. What
// the principal's request was is for the caller to add.
func (s *Sessions) Find(ctx context.Context, token string, used bool) (Principal, error) {
	st, now := s.Keys.Store, s.Keys.Now()
	session, err := st.Session(ctx, hash(token))
	if errors.Is(err, store.ErrNotFound) {
		return Principal{}, ErrNoSession
	} else if err != nil {
		return Principal{}, fmt.Errorf("read a session: %w", err)
	}
	if !now.Before(session.Expires) || now.Sub(session.Used) >= s.Idle {
		return Principal{}, ErrNoSession
	}
	key, policy, _, err := s.Keys.Find(ctx, session.KeyID)
	if errors.Is(err, store.ErrNotFound) || err == nil && key.Ended(now) {
		return Principal{}, ErrNoSession
	} else if err != nil {
		return Principal{}, err
	}
	if used && now.Sub(session.Used) >= useTime {
		err := st.Update(ctx, func(tx store.Tx) error { return tx.UseSession(ctx, session.Hash, now) })
		if errors.Is(err, store.ErrNotFound) {
			return Principal{}, ErrNoSession
		} else if err != nil {
			return Principal{}, fmt.Errorf("note the use of a session: %w", err)
		}
	}
	ends := session.Expires
	if !key.Expires.IsZero() && key.Expires.Before(ends) {
		ends = key.Expires
	}
	return Principal{
		Scope: store.Scope{Account: key.Account, Region: session.Region}, User: key.User, KeyID: key.ID, Policy: policy,
		Session: session.Hash, Ends: ends,
	}, nil
}

// Close ends a session, in tx; ErrNoSession if there is none.
func (s *Sessions) Close(ctx context.Context, tx store.Tx, token string) error {
	err := tx.DeleteSession(ctx, hash(token))
	if errors.Is(err, store.ErrNotFound) {
		return ErrNoSession
	}
	return err
}

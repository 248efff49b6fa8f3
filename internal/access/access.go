// Package access knows who calls: accounts, their access keys, and the
// principal that a signed request stands for.
//
// Every key has all rights in its account and none outside it. The region is
// the one that the request was signed for.
package access

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"math/big"
	"regexp"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/vault"
)

// A Principal is who signed a request, and for which region.
type Principal struct {
	store.Scope
	User  string
	KeyID string

	// What is known of the request, for the audit log.
	Service   string // that it was signed for, such as codebuild
	From      string // IP address
	Agent     string // user agent
	RequestID string
}

// ARN is the principal's name in answers and in the audit log.
func (p Principal) ARN() string { return "arn:aws:iam::" + p.Account + ":user/" + p.User }

type principalKey struct{}

// With returns a context that carries p.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From returns the principal of a request's context. There is one behind
// every call of the service; without one it panics, rather than serve nobody.
func From(ctx context.Context) Principal { return ctx.Value(principalKey{}).(Principal) }

// Keys makes access keys and opens their secrets.
type Keys struct {
	Store store.Store
	Vault *vault.Vault
	Now   func() time.Time

	recent sync.Map // key id -> *found
}

// keyTime is how long a key that was found is used without looking again. A
// deleted key works no longer than that.
const keyTime = 100 * time.Millisecond

// found is a key with its opened secret.
type found struct {
	key    store.AccessKey
	secret api.Secret
	at     time.Time
}

var userName = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`) // IAM user names: API reference, CreateUser

// Create makes and stores a key for a user of the account.
func (k *Keys) Create(ctx context.Context, account, user string) (id string, secret api.Secret, err error) {
	if !userName.MatchString(user) {
		return "", "", fmt.Errorf("user name %q: want 1 to 64 letters, digits or _+=,.@-", user)
	}
	// The shapes are those of IAM: AKIA and 16 characters of base32, and 40
	// characters of base64.
	var b [40]byte
	rand.Read(b[:])
	id = "AKIA" + base32.StdEncoding.EncodeToString(b[:10])
	secret = api.Secret(base64.StdEncoding.EncodeToString(b[10:]))
	return id, secret, k.Store.Update(ctx, func(tx store.Tx) error {
		sealed, err := k.Vault.Seal(binding(id, account), secret)
		if err != nil {
			return fmt.Errorf("seal access key %s: %w", id, err)
		}
		return tx.PutAccessKey(ctx, store.AccessKey{ID: id, Account: account, User: user, Sealed: sealed, Created: k.Now()})
	})
}

// Find returns a key and its secret; store.ErrNotFound if there is none.
// Reading and opening a key for each request would be a third of its cost.
func (k *Keys) Find(ctx context.Context, id string) (store.AccessKey, api.Secret, error) {
	old, _ := k.recent.Load(id)
	before, _ := old.(*found)
	if before != nil && time.Since(before.at) < keyTime {
		return before.key, before.secret, nil
	}
	key, err := k.Store.AccessKey(ctx, id)
	if err != nil {
		k.recent.Delete(id)
		return key, "", err
	}
	now := &found{key: key, at: time.Now()}
	if before != nil && string(before.key.Sealed) == string(key.Sealed) {
		now.secret = before.secret
	} else if now.secret, err = k.Vault.Open(binding(key.ID, key.Account), key.Sealed); err != nil {
		return key, "", fmt.Errorf("open access key %s: %w", id, err)
	}
	k.recent.Store(id, now)
	return key, now.secret, nil
}

func binding(id, account string) string { return vault.Binding("access-key", id, account) }

// CreateAccount makes an account with a random 12-digit number.
func CreateAccount(ctx context.Context, s store.Store, now time.Time) (store.Account, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(9e11))
	if err != nil {
		return store.Account{}, err
	}
	a := store.Account{ID: fmt.Sprintf("%012d", 1e11+n.Int64()), Created: now}
	return a, s.Update(ctx, func(tx store.Tx) error { return tx.PutAccount(ctx, a) })
}

// Package access knows who calls: accounts, their access keys, the sessions of
// the console that stand for a key, and the principal behind a request.
//
// A key has no rights outside its account, and in it all, or those that its
// policy gives it. The region is the one that the request was signed for, or that
// the console chose.
package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/vault"
)

// A Principal is who sent a request, and for which region.
type Principal struct {
	store.Scope
	User  string
	KeyID string

	// What is known of the request, for the audit log.
	Service   string // that it was signed for or is of, such as codebuild
	From      string // IP address
	Agent     string // user agent
	RequestID string
	Secure    bool // it came by TLS

	Policy *Policy // nil is everything

	// Session tells the console's sessions apart; "" for a signed request.
	Session string
	Ends    time.Time // of the session or the key, whichever is first; zero is never
}

// Context is what the conditions of a policy can ask of the caller.
// Source: IAM user guide, "AWS global condition context keys".
func (p Principal) Context(now time.Time) map[string][]string {
	return map[string][]string{
		"aws:username": {p.User}, "aws:userid": {p.KeyID}, "aws:principalarn": {p.ARN()}, "aws:principalaccount": {p.Account}, "aws:principaltype": {"User"},
		"aws:requestedregion": {p.Region}, "aws:sourceip": {p.From}, "aws:useragent": {p.Agent}, "aws:securetransport": {strconv.FormatBool(p.Secure)},
		"aws:currenttime": {now.UTC().Format(time.RFC3339)}, "aws:epochtime": {strconv.FormatInt(now.Unix(), 10)},
	}
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

// found is a key with its opened secret and its policy.
type found struct {
	key    store.AccessKey
	secret api.Secret
	policy *Policy
	at     time.Time
}

var userName = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`) // IAM user names: API reference, CreateUser

// New makes a key for a user of the account, to be stored. A policy of "" is
// everything, a zero time never. Its errors are the caller's.
func (k *Keys) New(account, user, policy string, expires time.Time) (store.AccessKey, api.Secret, error) {
	key := store.AccessKey{Account: account, User: user, Created: k.Now(), Policy: policy, Expires: expires}
	if !userName.MatchString(user) {
		return key, "", fmt.Errorf("user name %q: want 1 to 64 letters, digits or _+=,.@-", user)
	}
	if policy != "" {
		if _, err := ParsePolicy(policy); err != nil {
			return key, "", err
		}
	}
	// The shapes are those of IAM: AKIA and 16 characters of base32, and 40
	// characters of base64.
	var b [40]byte
	rand.Read(b[:])
	key.ID = "AKIA" + base32.StdEncoding.EncodeToString(b[:10])
	return key, api.Secret(base64.StdEncoding.EncodeToString(b[10:])), nil
}

// Put stores a new key with its secret, in tx.
func (k *Keys) Put(ctx context.Context, tx store.Tx, key store.AccessKey, secret api.Secret) (err error) {
	if key.Sealed, err = k.Vault.Seal(binding(key.ID, key.Account), secret); err != nil {
		return fmt.Errorf("seal access key %s: %w", key.ID, err)
	}
	return tx.PutAccessKey(ctx, key)
}

// Create makes and stores a key.
func (k *Keys) Create(ctx context.Context, account, user, policy string, expires time.Time) (id string, secret api.Secret, err error) {
	key, secret, err := k.New(account, user, policy, expires)
	if err != nil {
		return "", "", err
	}
	return key.ID, secret, k.Store.Update(ctx, func(tx store.Tx) error { return k.Put(ctx, tx, key, secret) })
}

// Find returns a key with its policy and its secret; store.ErrNotFound if there
// is none. Reading and opening a key for each request would be a third of its cost.
func (k *Keys) Find(ctx context.Context, id string) (store.AccessKey, *Policy, api.Secret, error) {
	old, _ := k.recent.Load(id)
	before, _ := old.(*found)
	if before != nil && time.Since(before.at) < keyTime {
		return before.key, before.policy, before.secret, nil
	}
	key, err := k.Store.AccessKey(ctx, id)
	if err != nil {
		k.recent.Delete(id)
		return key, nil, "", err
	}
	now := &found{key: key, at: time.Now()}
	if before != nil && string(before.key.Sealed) == string(key.Sealed) {
		now.secret = before.secret
	} else if now.secret, err = k.Vault.Open(binding(key.ID, key.Account), key.Sealed); err != nil {
		return key, nil, "", fmt.Errorf("open access key %s: %w", id, err)
	}
	if key.Policy != "" {
		if before != nil && before.key.Policy == key.Policy {
			now.policy = before.policy
		} else if now.policy, err = ParsePolicy(key.Policy); err != nil {
			return key, nil, "", fmt.Errorf("read the policy of access key %s: %w", id, err)
		}
	}
	k.recent.Store(id, now)
	return key, now.policy, now.secret, nil
}

// ErrEnded says that a key's time is over.
var ErrEnded = errors.New("the access key has ended")

// Match returns the key whose secret is the one given, while it has not ended;
// store.ErrNotFound if the id or the secret is wrong, in the same time.
func (k *Keys) Match(ctx context.Context, id string, secret api.Secret) (store.AccessKey, error) {
	key, _, want, err := k.Find(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		// Open something, as for a key that is there, and compare with it.
		sealed, sealErr := k.Vault.Seal(binding(id, ""), api.Secret(rand.Text()))
		if sealErr != nil {
			return key, sealErr
		}
		if want, sealErr = k.Vault.Open(binding(id, ""), sealed); sealErr != nil {
			return key, sealErr
		}
	} else if err != nil {
		return key, err
	}
	given, kept := sha256.Sum256([]byte(secret.Reveal())), sha256.Sum256([]byte(want.Reveal()))
	switch {
	case subtle.ConstantTimeCompare(given[:], kept[:]) == 0 || err != nil:
		return store.AccessKey{}, store.ErrNotFound
	case key.Ended(k.Now()):
		return key, ErrEnded
	}
	return key, nil
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

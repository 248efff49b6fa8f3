package kek

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"golang.org/x/crypto/argon2"

	"github.com/corbel-build/corbel/internal/vault"
)

// passphrase makes a key with argon2id and wraps with AES-256-GCM, nonce
// first.
type passphrase struct{ aead cipher.AEAD }

// shortest is the length of the shortest passphrase, in bytes.
const shortest = 12

// fillPassphrase adds salt and cost. Source of the cost: RFC 9106, section 4,
// the second recommended option.
func fillPassphrase(with map[string]string) {
	salt := make([]byte, 16)
	rand.Read(salt)
	maps.Copy(with, map[string]string{
		"salt": base64.StdEncoding.EncodeToString(salt), "passes": "3", "memory-kib": "65536", "lanes": "4",
	})
}

func openPassphrase(with map[string]string) (vault.KEK, error) {
	salt, err := base64.StdEncoding.DecodeString(with["salt"])
	if err != nil || len(salt) < 16 {
		return nil, errors.New("its salt is damaged")
	}
	// Bounds keep a damaged ring from taking all memory or time, and from
	// making guesses cheap (the lower one of memory is OWASP's).
	var cost [3]uint32
	for i, c := range []struct {
		name     string
		min, max uint64
	}{{"passes", 1, 100}, {"memory-kib", 19 << 10, 4 << 20}, {"lanes", 1, 64}} {
		n, err := strconv.ParseUint(with[c.name], 10, 32)
		if err != nil || n < c.min || n > c.max {
			return nil, fmt.Errorf("its setting %s is %q, want %d to %d", c.name, with[c.name], c.min, c.max)
		}
		cost[i] = uint32(n)
	}
	text, err := secret(with["file"])
	if err != nil {
		return nil, fmt.Errorf("read the passphrase: %w", err)
	}
	if len(text) < shortest {
		return nil, fmt.Errorf("the passphrase in %s has less than %d characters", with["file"], shortest)
	}
	block, err := aes.NewCipher(argon2.IDKey(text, salt, cost[0], cost[1], uint8(cost[2]), 32))
	if err != nil {
		return nil, err
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	return passphrase{a}, err
}

// label is the associated data of what a passphrase wraps.
var label = []byte("corbel/root-key/1")

func (p passphrase) Wrap(_ context.Context, key []byte) ([]byte, error) {
	return p.aead.Seal(nil, nil, key, label), nil
}

func (p passphrase) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	key, err := p.aead.Open(nil, nil, wrapped, label)
	if err != nil {
		return nil, errors.New("the passphrase is not the one that wrapped it, or it is damaged")
	}
	return key, nil
}

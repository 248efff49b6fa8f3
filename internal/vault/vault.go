// Package vault seals and opens secrets. It is the only door to plaintext.
//
// Open reads the ring of root keys, Seal and Vault.Open work with it, Binding
// makes the name of what a secret belongs to. A database keeps a CheckValue,
// so that a server started with another ring says so at once.
//
// # Keys
//
// A ring of root keys lives in a file of mode 0600 outside the database:
//
//	{"keys": [{"id": 1, "state": "primary", "created": "2026-11-01T09:00:00Z", "key": "<base64 of 32 bytes>"}]}
//
// The one primary key seals, primary and active keys open, a retired key does
// neither: its bytes are gone, and only its id is kept from being used again.
// So a rotation is to add a primary key, which makes the former one active, to
// seal everything again that KeyID finds under it, and to retire it: see
// Change.
//
// The keys may be wrapped by a passphrase or by a key that is kept elsewhere.
// A member "wrap" then says by what, and "key" is whatever that made of the 32
// bytes:
//
//	{"wrap": {"kind": "aws-kms", "with": {"key": "alias/corbel"}}, "keys": [...]}
//
// A Vault follows its file, so a server needs no word when another process has
// changed the ring. It rather seals nothing than under a key that the file may
// have lost.
//
// Each secret is sealed under a key of its own, derived from the root key with
// HKDF-SHA256 and a random salt: random nonces repeat under no key, however
// many secrets there are.
//
// # Format of a sealed secret, version 1
//
//	offset  bytes  content
//	0       1      version, 1
//	1       4      id of the root key, big endian
//	5       16     salt
//	21      12     nonce
//	33      n+16   AES-256-GCM ciphertext with its tag
//
// The record key is HKDF-SHA256(root key, salt, "corbel/vault/1"), 32 bytes.
// The associated data is the first 21 bytes followed by the binding. All its
// members but the last have a fixed length and the binding's own parts carry
// theirs, so no two tuples give the same data: a sealed value that was moved
// elsewhere, or given another key id, does not open.
//
// testdata/vectors.json has examples for other implementations. Version 1
// will open for as long as Corbel exists; a change of the format is a new
// version.
//
// The standard library's primitives are used alone, so that the package works
// with GODEBUG=fips140=only.
package vault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/corbel-build/corbel/api"
)

const (
	version    = 1
	keySize    = 32
	saltSize   = 16
	headerSize = 1 + 4 + saltSize
	label      = "corbel/vault/1"
	// overhead is what sealing adds to a secret: header, nonce and tag.
	overhead = headerSize + 12 + 16
)

// What callers branch on.
var (
	// ErrNoRing says that there is no file. A caller whose database holds
	// sealed secrets must not make one.
	ErrNoRing = errors.New("there is no ring of root keys")
	// ErrNoKey says that the ring lacks the key that sealed a secret.
	ErrNoKey = errors.New("the root key is not available")
	// ErrTampered says that a sealed secret is not as it was sealed, that it
	// belongs elsewhere, or that another ring sealed it: these look alike.
	ErrTampered = errors.New("the sealed secret is damaged or belongs elsewhere")
)

// A Vault holds an open ring. It is safe for concurrent use and prints nothing
// of it.
type Vault struct {
	path string
	keks KEKs

	file    sync.Mutex  // held while the file is looked at, so that no older ring follows a newer one
	tried   os.FileInfo // of a ring that could not be read
	problem error       // with it
	triedAt time.Time

	mu      sync.RWMutex // guards what was read
	seen    os.FileInfo  // of the file as it was read
	wrap    Wrap
	primary uint32
	keys    map[uint32]key
}

// Format implements fmt.Formatter.
func (*Vault) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[vault]") }

// Binding names what a secret belongs to. Each part is preceded by its
// length, so that no two lists of parts give the same name.
func Binding(kind string, parts ...string) string {
	var b strings.Builder
	for _, p := range append([]string{kind}, parts...) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(p)))
		b.Write(n[:])
		b.WriteString(p)
	}
	return b.String()
}

// aead is the cipher of one record, and its associated data.
func (v *Vault) aead(header []byte, binding string) (cipher.AEAD, []byte, error) {
	id := binary.BigEndian.Uint32(header[1:5])
	root, ok := v.key(id)
	if !ok { // perhaps it is a new one
		if err := v.follow(); err != nil {
			return nil, nil, fmt.Errorf("%w: no key %d in ring: %w", ErrNoKey, id, err)
		}
		root, ok = v.key(id)
	}
	if !ok {
		return nil, nil, fmt.Errorf("%w: no key %d in ring", ErrNoKey, id)
	}
	if len(root.Key) == 0 {
		return nil, nil, fmt.Errorf("%w: key %d is retired", ErrNoKey, id)
	}
	record, err := hkdf.Key(sha256.New, root.Key, header[5:headerSize], label, keySize)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(record)
	if err != nil {
		return nil, nil, err
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	return a, append(bytes.Clone(header[:headerSize]), binding...), err
}

// Seal seals a secret under the primary key for the binding. What is to be
// stored is sealed inside the transaction that stores it, so that a rotation,
// whose last look at the store is a transaction too, misses nothing. It fails
// if the ring's file is gone or cannot be read: the key might be lost.
func (v *Vault) Seal(binding string, secret api.Secret) ([]byte, error) {
	if err := v.follow(); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	out := make([]byte, headerSize, overhead+len(secret))
	out[0] = version
	binary.BigEndian.PutUint32(out[1:5], v.Primary())
	rand.Read(out[5:headerSize])
	a, ad, err := v.aead(out, binding)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return a.Seal(out, nil, []byte(secret.Reveal()), ad), nil
}

// Open opens what Seal sealed for the same binding. ErrNoKey if the ring
// lacks its key, ErrTampered if anything about it is different.
func (v *Vault) Open(binding string, sealed []byte) (api.Secret, error) {
	if _, err := KeyID(sealed); err != nil {
		return "", err
	}
	a, ad, err := v.aead(sealed, binding)
	if err != nil {
		return "", err
	}
	text, err := a.Open(nil, nil, sealed[headerSize:], ad)
	if err != nil {
		return "", ErrTampered
	}
	return api.Secret(text), nil
}

// KeyID returns which root key sealed a secret, without opening it.
func KeyID(sealed []byte) (uint32, error) {
	if len(sealed) < overhead {
		return 0, fmt.Errorf("%w: it was cut to %d bytes", ErrTampered, len(sealed))
	}
	if sealed[0] != version {
		return 0, fmt.Errorf("%w: its format has version %d, this version of Corbel knows %d", ErrTampered, sealed[0], version)
	}
	return binary.BigEndian.Uint32(sealed[1:5]), nil
}

// checkText is sealed into a database when it is made.
const checkText = "this ring opens this database"

// CheckValue returns a value by which Check recognises the ring later. It is
// sealed like a secret, so a rotation seals it again.
func (v *Vault) CheckValue() ([]byte, error) { return v.Seal(Binding("check"), checkText) }

// Check reports why the ring is not the one that made value, or nil.
func (v *Vault) Check(value []byte) error {
	_, err := v.Open(Binding("check"), value)
	return err
}

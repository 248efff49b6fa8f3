// Package vault seals and opens secrets. It is the only door to plaintext.
//
// # Keys
//
// A ring of root keys lives in a file of mode 0600 outside the database. One
// key is primary and seals; every key of the ring opens. Each secret is sealed
// under a key of its own, derived from the root key with HKDF-SHA256 and a
// random salt, so that one key never seals much.
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
// The record key is HKDF-SHA256(root key, salt, "corbel/vault/1"). The
// associated data is the first 21 bytes followed by the binding, which names
// what the secret belongs to: a sealed value moved elsewhere does not open.
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
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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
	ErrNoRing   = errors.New("there is no ring of root keys")
	ErrNoKey    = errors.New("the ring lacks the root key that sealed this")
	ErrTampered = errors.New("the sealed secret is damaged or belongs elsewhere")
)

// A Vault holds an open ring. It is safe for concurrent use.
type Vault struct {
	primary uint32
	keys    map[uint32][]byte
}

// ring is the file.
type ring struct {
	Primary uint32 `json:"primary"`
	Keys    []key  `json:"keys"`
}

type key struct {
	ID      uint32    `json:"id"`
	Key     string    `json:"key"` // base64 of 32 bytes
	Created time.Time `json:"created"`
}

// Open reads the ring at path. It refuses a file that others may read, that is
// no regular file, or that holds anything but whole keys. ErrNoRing if there
// is none.
func Open(path string) (*Vault, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w at %s", ErrNoRing, path)
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %#o, so others can read the root keys: chmod 600 it", path, perm)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// Errors below never quote the file.
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var r ring
	if d.Decode(&r) != nil {
		return nil, fmt.Errorf("%s is not a ring of root keys", path)
	}
	v := &Vault{primary: r.Primary, keys: map[uint32][]byte{}}
	for _, k := range r.Keys {
		raw, err := base64.StdEncoding.DecodeString(k.Key)
		if err != nil || len(raw) != keySize {
			return nil, fmt.Errorf("%s: root key %d is not %d bytes of base64", path, k.ID, keySize)
		}
		if v.keys[k.ID] != nil {
			return nil, fmt.Errorf("%s: root key %d stands twice", path, k.ID)
		}
		v.keys[k.ID] = raw
	}
	if v.keys[v.primary] == nil {
		return nil, fmt.Errorf("%s: the primary root key %d is missing", path, r.Primary)
	}
	return v, nil
}

// OpenOrCreate is Open, but makes a ring with one random key if there is
// none.
func OpenOrCreate(path string) (*Vault, error) {
	v, err := Open(path)
	if !errors.Is(err, ErrNoRing) {
		return v, err
	}
	raw := make([]byte, keySize)
	rand.Read(raw)
	data, err := json.MarshalIndent(ring{1, []key{{1, base64.StdEncoding.EncodeToString(raw), time.Now().UTC().Truncate(time.Second)}}}, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := create(path, append(data, '\n')); err != nil {
		return nil, fmt.Errorf("write the ring of root keys: %w", err)
	}
	return Open(path)
}

// create writes a file that did not exist, durably: losing a ring after
// sealing with it would lose the secrets.
func create(path string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".ring-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil { // fails if another was first
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

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
	root, ok := v.keys[id]
	if !ok {
		return nil, nil, fmt.Errorf("%w: key %d", ErrNoKey, id)
	}
	record, err := hkdf.Key(sha256.New, root, header[5:headerSize], label, keySize)
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

// Seal seals a secret under the primary key for the binding.
func (v *Vault) Seal(binding string, secret api.Secret) ([]byte, error) {
	out := make([]byte, headerSize, overhead+len(secret))
	out[0] = version
	binary.BigEndian.PutUint32(out[1:5], v.primary)
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
	if len(sealed) < overhead || sealed[0] != version {
		return "", ErrTampered
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

// KeyID returns which root key sealed a secret.
func KeyID(sealed []byte) (uint32, error) {
	if len(sealed) < overhead || sealed[0] != version {
		return 0, ErrTampered
	}
	return binary.BigEndian.Uint32(sealed[1:5]), nil
}

// checkText is sealed into a database when it is made.
const checkText = "this ring opens this database"

// CheckValue returns a value by which Check recognises the ring later.
func (v *Vault) CheckValue() ([]byte, error) { return v.Seal(Binding("check"), checkText) }

// Check reports why the ring is not the one that made value, or nil.
func (v *Vault) Check(value []byte) error {
	_, err := v.Open(Binding("check"), value)
	return err
}

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
// neither: its bytes are gone, and only its id is kept from being used again. So a rotation is to add
// a primary key and make the former one active, seal everything again that
// KeyID finds under it, and retire it.
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
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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

// A Vault holds an open ring. It is safe for concurrent use and prints
// nothing of it. It follows its file: before it seals it looks whether another
// process has changed the ring, and before it says that it lacks a key.
type Vault struct {
	path string

	mu      sync.RWMutex
	seen    os.FileInfo // of the file as it was read
	primary uint32
	keys    map[uint32]key
}

// Format implements fmt.Formatter.
func (*Vault) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[vault]") }

// ring is the file.
type ring struct {
	Keys []key `json:"keys"`
}

type key struct {
	ID      uint32    `json:"id"`
	State   state     `json:"state"`
	Created time.Time `json:"created"`
	Key     []byte    `json:"key,omitzero"` // none when retired
}

// A state says what a root key does.
type state string

const (
	primary state = "primary" // seals and opens
	active  state = "active"  // opens
	retired state = "retired" // neither
)

// maxRing bounds the file: thousands of keys.
const maxRing = 1 << 20

// Open reads the ring at path. It refuses a file that others than its owner
// may use, that is no regular file, or that holds anything but whole keys with
// one primary among them. ErrNoRing if there is none.
func Open(path string) (*Vault, error) {
	data, info, err := read(path)
	if err != nil {
		return nil, err
	}
	v := &Vault{path: path, seen: info, keys: map[uint32]key{}}
	r, err := parse(path, data)
	if err != nil {
		return nil, err
	}
	for _, k := range r.Keys {
		if k.State == retired {
			k.Key = nil
		}
		v.keys[k.ID] = k
		if k.State == primary {
			v.primary = k.ID
		}
	}
	return v, nil
}

// parse reads a ring that is whole.
func parse(path string, data []byte) (*ring, error) {
	// Errors below never quote the file.
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var r ring
	if d.Decode(&r) != nil || d.Decode(&struct{}{}) != io.EOF {
		return nil, fmt.Errorf("%s is not a ring of root keys", path)
	}
	ids := map[uint32]bool{}
	first := -1
	for i, k := range r.Keys {
		if len(k.Key) != keySize && (k.State != retired || len(k.Key) != 0) {
			return nil, fmt.Errorf("%s: root key %d has %d bytes, want %d", path, k.ID, len(k.Key), keySize)
		}
		if ids[k.ID] {
			return nil, fmt.Errorf("%s: root key %d stands twice", path, k.ID)
		}
		ids[k.ID] = true
		switch k.State {
		case primary:
			if first >= 0 {
				return nil, fmt.Errorf("%s: root keys %d and %d are both primary", path, r.Keys[first].ID, k.ID)
			}
			first = i
		case active, retired:
		default:
			return nil, fmt.Errorf("%s: root key %d is neither primary, active nor retired", path, k.ID)
		}
	}
	if first < 0 {
		return nil, fmt.Errorf("%s: no root key is primary", path)
	}
	return &r, nil
}

// follow reads the ring again if its file is another one than before. A file
// that cannot be read, or is no ring, changes nothing.
func (v *Vault) follow() {
	info, err := os.Stat(v.path)
	if err != nil {
		return
	}
	v.mu.RLock()
	same := v.seen != nil && os.SameFile(info, v.seen) && info.ModTime().Equal(v.seen.ModTime()) && info.Size() == v.seen.Size()
	v.mu.RUnlock()
	if same {
		return
	}
	fresh, err := Open(v.path)
	if err != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, k := range v.keys {
		if len(k.Key) > 0 && fresh.keys[id].State == retired {
			// Somebody may have read a row just before it was sealed again, and
			// open it just after. The process knew the key anyway.
			k.State = retired
			fresh.keys[id] = k
		}
	}
	v.seen, v.primary, v.keys = fresh.seen, fresh.primary, fresh.keys
}

// Primary returns the id of the key that seals.
func (v *Vault) Primary() uint32 {
	v.follow()
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.primary
}

// A Key is what may be known of a root key.
type Key struct {
	ID      uint32
	State   string // primary, active or retired
	Created time.Time
}

// Keys lists the ring, the oldest key first.
func (v *Vault) Keys() []Key {
	v.follow()
	v.mu.RLock()
	defer v.mu.RUnlock()
	var list []Key
	for _, k := range v.keys {
		list = append(list, Key{k.ID, string(k.State), k.Created})
	}
	slices.SortFunc(list, func(a, b Key) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// AddKey makes a new primary key; the former one stays active. Vaults that are
// open on the file use it from their next Seal on.
func (v *Vault) AddKey() error {
	return v.change(func(r *ring) {
		next := uint32(1)
		for i := range r.Keys {
			next = max(next, r.Keys[i].ID+1)
			if r.Keys[i].State == primary {
				r.Keys[i].State = active
			}
		}
		k := key{ID: next, State: primary, Created: time.Now().UTC().Truncate(time.Second), Key: make([]byte, keySize)}
		rand.Read(k.Key)
		r.Keys = append(r.Keys, k)
	})
}

// Retire forgets every key but the primary one. Nothing may be sealed under
// them any more: it could not be opened again.
func (v *Vault) Retire() error {
	return v.change(func(r *ring) {
		for i := range r.Keys {
			if r.Keys[i].State != primary {
				r.Keys[i].State, r.Keys[i].Key = retired, nil
			}
		}
	})
}

// change writes the ring anew, whole and durably, and takes it.
func (v *Vault) change(edit func(*ring)) error {
	data, _, err := read(v.path)
	if err != nil {
		return err
	}
	r, err := parse(v.path, data)
	if err != nil {
		return err
	}
	edit(r)
	if data, err = json.MarshalIndent(r, "", "  "); err != nil {
		return err
	}
	if err := replace(v.path, append(data, '\n')); err != nil {
		return fmt.Errorf("write the ring of root keys: %w", err)
	}
	v.follow()
	return nil
}

// read returns a ring's file if only its owner may use it.
func read(path string) ([]byte, os.FileInfo, error) {
	named, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%w at %s", ErrNoRing, path)
	}
	if err != nil {
		return nil, nil, err
	}
	if !named.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !os.SameFile(named, info) {
		return nil, nil, fmt.Errorf("%s was replaced while it was opened", path)
	}
	if perm := info.Mode().Perm(); perm&^0o600 != 0 {
		return nil, nil, fmt.Errorf("%s has mode %#o, want 0600: chmod 600 it, and if others could read it, rotate the root key", path, perm)
	}
	if info.Size() > maxRing {
		return nil, nil, fmt.Errorf("%s is not a ring of root keys", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRing))
	return data, info, err
}

// OpenOrCreate is Open, but makes a ring with one random key if there is
// none.
func OpenOrCreate(path string) (*Vault, error) {
	v, err := Open(path)
	if !errors.Is(err, ErrNoRing) {
		return v, err
	}
	k := key{ID: 1, State: primary, Created: time.Now().UTC().Truncate(time.Second), Key: make([]byte, keySize)}
	rand.Read(k.Key)
	data, err := json.MarshalIndent(ring{[]key{k}}, "", "  ")
	if err != nil {
		return nil, err
	}
	err = create(path, append(data, '\n'))
	if err != nil && !errors.Is(err, fs.ErrExist) { // another may have been first: theirs is the ring
		return nil, fmt.Errorf("write the ring of root keys: %w", err)
	}
	return Open(path)
}

// create writes a file that did not exist, whole and durably or not at all:
// losing a ring after sealing with it would lose the secrets.
func create(path string, data []byte) error {
	return write(path, data, os.Link) // fails if there is one, where rename would replace it
}

// replace writes a file in place of one, whole and durably or not at all.
func replace(path string, data []byte) error { return write(path, data, os.Rename) }

func write(path string, data []byte, place func(from, to string) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".ring-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := place(tmp.Name(), path); err != nil {
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
	v.mu.RLock()
	root, ok := v.keys[id]
	v.mu.RUnlock()
	if !ok {
		v.follow()
		v.mu.RLock()
		root, ok = v.keys[id]
		v.mu.RUnlock()
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
// whose last look at the store is a transaction too, misses nothing.
func (v *Vault) Seal(binding string, secret api.Secret) ([]byte, error) {
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

package vault

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ring is the file.
type ring struct {
	Wrap *Wrap `json:"wrap,omitzero"` // nil: the keys are as they are
	Keys []key `json:"keys"`
}

type key struct {
	ID      uint32    `json:"id"`
	State   state     `json:"state"`
	Created time.Time `json:"created"`
	Key     []byte    `json:"key,omitzero"` // none when retired
}

// newKey makes a primary key.
func newKey(id uint32) key {
	k := key{ID: id, State: primary, Created: time.Now().UTC().Truncate(time.Second), Key: make([]byte, keySize)}
	rand.Read(k.Key)
	return k
}

// A state says what a root key does.
type state string

const (
	primary state = "primary" // seals and opens
	active  state = "active"  // opens
	retired state = "retired" // neither
)

// A Wrap says by what the keys of a ring are wrapped, so that the file alone
// opens nothing. Its members are no secrets.
type Wrap struct {
	Kind string            `json:"kind"`
	With map[string]string `json:"with,omitzero"`
}

// A KEK wraps root keys: a passphrase, or a key that is kept elsewhere.
type KEK interface {
	// Wrap returns what only Unwrap of the same KEK gives the key for.
	Wrap(ctx context.Context, key []byte) ([]byte, error)
	// Unwrap fails on anything that Wrap of the same KEK did not return.
	Unwrap(ctx context.Context, wrapped []byte) ([]byte, error)
}

// KEKs opens the KEK that a ring names.
type KEKs func(Wrap) (KEK, error)

const (
	// maxRing bounds the file, in bytes: thousands of keys.
	maxRing = 1 << 20
	// openTime and followTime bound what is asked of a KEK for one ring, at a
	// start and by those who wait for a changed ring; after a failure the
	// latter wait for pauseTime before they ask again.
	openTime   = 20 * time.Second
	followTime = 5 * time.Second
	pauseTime  = 15 * time.Second
)

// Open reads the ring at path. keks, one at most, opens what wraps it. It
// refuses a file that others than its owner may use, that is no regular file,
// or that holds anything but whole keys with one primary among them. ErrNoRing
// if there is none.
func Open(path string, keks ...KEKs) (*Vault, error) {
	v := &Vault{path: path}
	if len(keks) > 0 {
		v.keks = keks[0]
	}
	return v, v.take(openTime)
}

// OpenOrCreate is Open, but makes a ring with one random key if there is none.
func OpenOrCreate(path string, keks ...KEKs) (*Vault, error) {
	v, err := Open(path, keks...)
	if !errors.Is(err, ErrNoRing) {
		return v, err
	}
	if err := Create(path, nil, nil); err != nil && !errors.Is(err, fs.ErrExist) { // another may have been first: theirs is the ring
		return nil, err
	}
	return Open(path, keks...)
}

// Create makes a ring with one random key, wrapped as w says, nil for not.
// fs.ErrExist if there is a file.
func Create(path string, w *Wrap, keks KEKs) error {
	return (&ring{Wrap: w, Keys: []key{newKey(1)}}).save(path, keks, os.Link) // Link fails if there is a file, where Rename would replace it
}

// take reads the file and makes what is in it the ring. It takes no ring but
// the one it has or what was made from it: anything sealed under another would
// be lost when the right one is put back.
func (v *Vault) take(limit time.Duration) error {
	r, info, err := load(v.path, v.keks, limit)
	if err != nil {
		return err
	}
	fresh := map[uint32]key{}
	for _, k := range r.Keys {
		if k.State == retired {
			k.Key = nil
		}
		fresh[k.ID] = k
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for id, had := range v.keys {
		has, ok := fresh[id]
		if !ok || len(has.Key) > 0 && !bytes.Equal(has.Key, had.Key) {
			return fmt.Errorf("%s was replaced by another ring of root keys: put the right one back", v.path)
		}
		if has.State == retired && len(had.Key) > 0 {
			// Somebody may have read a row just before it was sealed again, and
			// open it just after. The process knew the key anyway.
			has.Key = had.Key
			fresh[id] = has
		}
	}
	v.seen, v.keys, v.wrap = info, fresh, Wrap{}
	if r.Wrap != nil {
		v.wrap = *r.Wrap
	}
	for _, k := range r.Keys {
		if k.State == primary {
			v.primary = k.ID
		}
	}
	return nil
}

// follow takes the ring again if its file is another one than before. It
// reports why the file is not to be relied on, if so.
func (v *Vault) follow() error {
	v.file.Lock()
	defer v.file.Unlock()
	info, err := os.Lstat(v.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w at %s any more: put it back", ErrNoRing, v.path)
	} else if err != nil {
		return err
	}
	if same(info, v.seen) { // only written here
		return nil
	}
	if v.tried != nil && same(info, v.tried) && time.Since(v.triedAt) < pauseTime {
		return v.problem
	}
	v.problem = v.take(followTime)
	v.tried, v.triedAt = info, time.Now()
	return v.problem
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// key returns a key as it was last read.
func (v *Vault) key(id uint32) (key, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	k, ok := v.keys[id]
	return k, ok
}

// Primary returns the id of the key that seals.
func (v *Vault) Primary() uint32 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.primary
}

// Wrap returns what the ring is wrapped by; its Kind is "" if by nothing.
func (v *Vault) Wrap() Wrap {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.wrap
}

// A Key is what may be known of a root key.
type Key struct {
	ID      uint32
	State   string // primary, active or retired
	Created time.Time
}

// Keys lists the ring, the oldest key first.
func (v *Vault) Keys() []Key {
	v.mu.RLock()
	defer v.mu.RUnlock()
	var list []Key
	for k := range maps.Values(v.keys) {
		list = append(list, Key{k.ID, string(k.State), k.Created})
	}
	slices.SortFunc(list, func(a, b Key) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// A Change changes the ring. Each step is on disk, whole, when it returns, and
// vaults that are open on the file seal accordingly from then on.
type Change struct{ v *Vault }

// Change calls fn, which changes the ring while no other process may. It fails
// at once if one does.
func (v *Vault) Change(fn func(*Change) error) error {
	dir, err := os.Open(filepath.Dir(v.path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("another process is changing the root keys in %s", dir.Name())
	} else if err != nil {
		return fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	// Not by Close alone: a process that is being started may have the file too.
	defer syscall.Flock(int(dir.Fd()), syscall.LOCK_UN)
	names, err := dir.Readdirnames(-1)
	for _, name := range names {
		if strings.HasPrefix(name, unfinished(v.path)) { // its writer was killed, and it may hold keys
			err = errors.Join(err, os.Remove(filepath.Join(dir.Name(), name)))
		}
	}
	if err = errors.Join(err, v.follow()); err != nil {
		return err
	}
	return fn(&Change{v})
}

// AddKey makes a new primary key; the former one stays active.
func (c *Change) AddKey() error {
	return c.apply(func(r *ring) error {
		var last uint32
		for i, k := range r.Keys {
			last = max(last, k.ID)
			if k.State == primary {
				r.Keys[i].State = active
			}
		}
		r.Keys = append(r.Keys, newKey(last+1))
		return nil
	})
}

// Retire forgets the active keys of these ids. Nothing may be sealed under them
// any more: it could not be opened again.
func (c *Change) Retire(ids ...uint32) error {
	return c.apply(func(r *ring) error {
		for i, k := range r.Keys {
			if !slices.Contains(ids, k.ID) {
				continue
			}
			if k.State == primary {
				return fmt.Errorf("root key %d is the primary one", k.ID)
			}
			r.Keys[i].State, r.Keys[i].Key = retired, nil
		}
		return nil
	})
}

// Rewrap wraps the keys by something else, or with nil by nothing. What they
// seal does not change.
func (c *Change) Rewrap(w *Wrap) error {
	return c.apply(func(r *ring) error { r.Wrap = w; return nil })
}

func (c *Change) apply(edit func(*ring) error) error {
	r, _, err := load(c.v.path, c.v.keks, openTime)
	if err != nil {
		return err
	}
	if err := edit(r); err != nil {
		return err
	}
	if err := r.save(c.v.path, c.v.keks, os.Rename); err != nil {
		return err
	}
	return c.v.follow()
}

// load reads a ring and unwraps its keys.
func load(path string, keks KEKs, limit time.Duration) (*ring, os.FileInfo, error) {
	data, info, err := read(path)
	if err != nil {
		return nil, nil, err
	}
	r, err := parse(path, data)
	if err != nil {
		return nil, nil, err
	}
	k, err := r.kek(keks)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for i := range r.Keys {
		at := &r.Keys[i]
		if at.State == retired {
			continue
		}
		if k != nil {
			if at.Key, err = k.Unwrap(ctx, at.Key); err != nil {
				return nil, nil, fmt.Errorf("%s: root key %d: %w", path, at.ID, err)
			}
		}
		if len(at.Key) != keySize {
			return nil, nil, fmt.Errorf("%s: root key %d has %d bytes, want %d", path, at.ID, len(at.Key), keySize)
		}
	}
	return r, info, nil
}

// kek opens the KEK of the ring, nil if it has none.
func (r *ring) kek(keks KEKs) (KEK, error) {
	if r.Wrap == nil {
		return nil, nil
	}
	if keks == nil {
		return nil, fmt.Errorf("the root keys are wrapped by %s, which cannot be opened here", r.Wrap.Kind)
	}
	k, err := keks(*r.Wrap)
	if err != nil {
		return nil, fmt.Errorf("the root keys are wrapped by %s: %w", r.Wrap.Kind, err)
	}
	return k, nil
}

// save writes a ring, wrapped as it says, if what was wrapped unwraps.
func (r *ring) save(path string, keks KEKs, place func(from, to string) error) error {
	k, err := r.kek(keks)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTime)
	defer cancel()
	out := ring{r.Wrap, slices.Clone(r.Keys)}
	for i, plain := range r.Keys {
		if k == nil || plain.State == retired {
			continue
		}
		wrapped, err := k.Wrap(ctx, plain.Key)
		if err != nil {
			return fmt.Errorf("root key %d: %w", plain.ID, err)
		}
		if again, err := k.Unwrap(ctx, wrapped); err != nil || !bytes.Equal(again, plain.Key) {
			return fmt.Errorf("root key %d would be lost: %s does not unwrap what it wrapped: %w", plain.ID, r.Wrap.Kind, cmp.Or(err, errors.New("it gives something else")))
		}
		out.Keys[i].Key = wrapped
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err == nil {
		err = write(path, append(data, '\n'), place)
	}
	if err != nil {
		return fmt.Errorf("write the ring of root keys: %w", err)
	}
	return nil
}

// parse reads a ring with one primary key. Whether the keys are whole shows
// when they are unwrapped. Its errors never quote the file.
func parse(path string, data []byte) (*ring, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var r ring
	if d.Decode(&r) != nil || d.Decode(&struct{}{}) != io.EOF {
		return nil, fmt.Errorf("%s is not a ring of root keys", path)
	}
	ids := map[uint32]bool{}
	first := -1
	for i, k := range r.Keys {
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

// read returns a ring's file if only its owner may use it.
func read(path string) ([]byte, os.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("%w at %s", ErrNoRing, path)
	case errors.Is(err, syscall.ELOOP):
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	case err != nil:
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
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

// unfinished is how the names of files begin that write leaves if it is killed.
func unfinished(path string) string { return ".ring-" + filepath.Base(path) + "-" }

// write writes a file, whole and durably or not at all: losing a ring after
// sealing with it would lose the secrets. place puts it where it belongs.
func write(path string, data []byte, place func(from, to string) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), unfinished(path)+"*") // mode 0600
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

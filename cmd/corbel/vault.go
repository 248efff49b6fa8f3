package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/corbel-build/corbel/internal/audit"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
	"github.com/corbel-build/corbel/internal/vault"
	"github.com/corbel-build/corbel/internal/vault/kek"
)

const vaultUsage = `Usage:
    corbel vault status [-data DIR] [-root-key FILE]
    corbel vault verify [-data DIR] [-root-key FILE]
    corbel vault rotate [-data DIR] [-root-key FILE]
    corbel vault wrap passphrase -file FILE [-data DIR] [-root-key FILE]
    corbel vault wrap aws-kms -key KEY [-region REGION] [-endpoint URL] ...
    corbel vault wrap transit -address URL -key KEY -token-file FILE [-mount PATH] [-namespace NAME] ...
    corbel vault wrap none ...

Manages the root keys that seal the stored secrets. It works on the data
directory and the ring of root keys, beside a running server, which follows.

status   lists the root keys: number, state and when each was made
verify   opens every sealed value and says how many there are of each kind, and
         under which root key
rotate   makes a new root key, seals everything again under it, and forgets the
         former keys when nothing is sealed under them any more. The server
         goes on answering. If it is interrupted, run it again
wrap     wraps the root keys, so that the ring alone opens nothing: by the
         passphrase in a file, a key of AWS KMS (with the credentials that the
         AWS CLI would use), or a key of the transit engine of HashiCorp Vault
         or OpenBao (with the token in a file). The server needs the same file
         or credentials at each start. Before the first start, it makes the
         ring. none unwraps them

A backup that was made before a rotation needs the ring of its time: keep a copy
of the ring as long as you keep the backup.

Exit status: 0 done, 1 failed or something does not open, 2 wrong usage.
`

// vaults is "corbel vault".
func vaults(ctx context.Context, args []string, out, errOut io.Writer) (err error) {
	flags := flag.NewFlagSet("vault", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.Usage = func() { fmt.Fprint(errOut, vaultUsage) }
	var c config
	dataFlag(flags, &c.data)
	flags.StringVar(&c.rootKey, "root-key", "", "")
	verbs := []string{"status", "verify", "rotate", "wrap"}
	if len(args) == 0 {
		flags.Usage()
		return usageError{"vault needs status, verify, rotate or wrap"}
	}
	verb, args := args[0], args[1:]
	if verb == "-h" || verb == "--help" || verb == "help" {
		fmt.Fprint(out, vaultUsage)
		return nil
	}
	if !slices.Contains(verbs, verb) {
		return usageError{fmt.Sprintf("vault has no %q: want status, verify, rotate or wrap", verb)}
	}
	var kind string
	with := map[string]string{}
	if verb == "wrap" {
		for _, setting := range []string{"file", "key", "region", "endpoint", "address", "token-file", "mount", "namespace"} {
			flags.Func(setting, "", func(value string) error { with[setting] = value; return nil })
		}
		if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			kind, args = args[0], args[1:]
		}
	}
	if err := parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() > 0 || verb == "wrap" && kind == "" {
		return usageError{fmt.Sprintf("vault %s does not take these arguments; corbel vault -h lists them", verb)}
	}
	c.rootKey = cmp.Or(c.rootKey, filepath.Join(c.data, "root.key"))
	if verb == "wrap" {
		return wrapVault(ctx, c, kind, with, out)
	}
	s, v, err := openSealed(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	switch verb {
	case "status":
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "KEY\tSTATE\tMADE")
		for _, k := range v.Keys() {
			fmt.Fprintf(w, "%d\t%s\t%s\n", k.ID, k.State, k.Created.Format(time.RFC3339))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		by := v.Wrap()
		fmt.Fprintf(out, "\nThe ring is %s, wrapped by %s.\n", c.rootKey, cmp.Or(by.Kind, "nothing"))
		for _, setting := range slices.Sorted(maps.Keys(by.With)) {
			fmt.Fprintf(out, "    %s: %s\n", setting, by.With[setting])
		}
		return nil
	case "verify":
		return verifyVault(ctx, s, v, out, errOut)
	}
	return rotateVault(ctx, s, s.Wipe, v, out)
}

// openSealed opens an existing database and the ring that seals it.
func openSealed(ctx context.Context, c config) (*sqlite.Store, *vault.Vault, error) {
	if _, err := os.Stat(c.database()); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, hinted{fmt.Errorf("%s is not a data directory of Corbel", c.data), "name the server's with -data"}
	}
	v, err := vault.Open(c.rootKey, kek.Open)
	if err != nil {
		return nil, nil, fmt.Errorf("open root keys: %w", err)
	}
	s, err := sqlite.Open(ctx, c.database())
	return s, v, err
}

// wrapVault wraps a ring, or makes a wrapped one where no server was yet.
func wrapVault(ctx context.Context, c config, kind string, with map[string]string, out io.Writer) (err error) {
	var by *vault.Wrap
	if kind != "none" {
		w, err := kek.New(kind, with)
		if err != nil {
			return usageError{err.Error()}
		}
		by = &w
	} else if len(with) > 0 {
		return usageError{"vault wrap none has no settings"}
	}
	_, noDatabase := os.Stat(c.database())
	_, noRing := os.Lstat(c.rootKey)
	if errors.Is(noDatabase, fs.ErrNotExist) && errors.Is(noRing, fs.ErrNotExist) {
		if err := os.MkdirAll(c.data, 0o711); err != nil {
			return fmt.Errorf("make data directory: %w", err)
		}
		if err := vault.Create(c.rootKey, by, kek.Open); err != nil {
			return err
		}
		fmt.Fprintf(out, "Made root key 1 in %s, wrapped by %s.\n", c.rootKey, kind)
		return nil
	}
	s, v, err := openSealed(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	before := cmp.Or(v.Wrap().Kind, "none")
	if err := v.Change(func(r *vault.Change) error { return r.Rewrap(by) }); err != nil {
		return fmt.Errorf("wrap root keys: %w", err)
	}
	if err := note(ctx, s, "WrapRootKeys", "by "+kind+", before by "+before); err != nil {
		return err
	}
	fmt.Fprintf(out, "The root keys in %s are wrapped by %s.\n", c.rootKey, kind)
	if before == "none" && by != nil {
		fmt.Fprintln(out, "Copies of the file as it was still open the secrets; \"corbel vault rotate\" ends that.")
	}
	return nil
}

// note writes what was done to the root keys into the audit log.
func note(ctx context.Context, s store.Store, event, detail string) error {
	return s.Update(ctx, func(tx store.Tx) error { return noteIn(ctx, tx, event, detail) })
}

func noteIn(ctx context.Context, tx store.Tx, event, detail string) error {
	return audit.Append(ctx, tx, audit.Record{Time: time.Now(), Principal: "corbel", Source: "corbel", Event: event, Detail: detail})
}

// sealedPage is how many sealed values are read, and sealed again, at a time.
// The server's writes come between.
const sealedPage = 100

// sealedValues visits every sealed value, a page at a time.
func sealedValues(ctx context.Context, s store.Reader, visit func([]store.SealedValue) error) error {
	for _, kind := range s.SealedKinds() {
		var after []string
		for {
			page, err := s.SealedValues(ctx, kind, after, sealedPage)
			if err != nil {
				return fmt.Errorf("list sealed values: %w", err)
			}
			if len(page) == 0 {
				break
			}
			if err := visit(page); err != nil {
				return err
			}
			after = page[len(page)-1].Key
		}
	}
	return nil
}

// neededKeys lists the root keys that what is sealed needs.
func neededKeys(ctx context.Context, s store.Reader) ([]uint32, error) {
	ids := map[uint32]bool{}
	err := sealedValues(ctx, s, func(page []store.SealedValue) error {
		for _, value := range page {
			if id, err := vault.KeyID(value.Sealed); err == nil { // else verify says so
				ids[id] = true
			}
		}
		return nil
	})
	return slices.Sorted(maps.Keys(ids)), err
}

func bindingOf(v store.SealedValue) string { return vault.Binding(v.Kind, v.Parts...) }

func verifyVault(ctx context.Context, s store.Reader, v *vault.Vault, out, errOut io.Writer) error {
	good, bad := map[string]int{}, 0
	err := sealedValues(ctx, s, func(page []store.SealedValue) error {
		for _, value := range page {
			if _, err := v.Open(bindingOf(value), value.Sealed); err != nil {
				bad++
				fmt.Fprintf(errOut, "%s %q: %v\n", value.Kind, value.Key, err)
				continue
			}
			id, err := vault.KeyID(value.Sealed)
			if err != nil {
				return err
			}
			good[fmt.Sprintf("of kind %s open, under root key %d", value.Kind, id)]++
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, what := range slices.Sorted(maps.Keys(good)) {
		fmt.Fprintln(out, good[what], what)
	}
	if bad > 0 {
		return hinted{fmt.Errorf("%d sealed values do not open", bad), "put the right ring of root keys back, or import those secrets anew"}
	}
	return nil
}

// rotateVault seals everything under a new key, has the traces of what was
// there wiped, and forgets the former keys. Its last look at the store is a
// transaction: whatever is stored after it was sealed after the new key was
// there. It can be stopped anywhere and called again.
func rotateVault(ctx context.Context, s store.Store, wipe func(context.Context) error, v *vault.Vault, out io.Writer) error {
	return v.Change(func(ring *vault.Change) error {
		former := activeKeys(v)
		if len(former) == 0 { // else a rotation was stopped: finish that one
			if err := ring.AddKey(); err != nil {
				return err
			}
			former = activeKeys(v)
		}
		primary, start, count := v.Primary(), time.Now(), 0
		again := func(tx store.Tx, page []store.SealedValue) error {
			for _, value := range page {
				if id, err := vault.KeyID(value.Sealed); err == nil && id == primary {
					continue
				}
				text, err := v.Open(bindingOf(value), value.Sealed)
				if err != nil {
					return hinted{fmt.Errorf("open %s %q: %w", value.Kind, value.Key, err), "nothing is lost: the former root keys are kept. corbel vault verify lists what does not open"}
				}
				sealed, err := v.Seal(bindingOf(value), text)
				if err != nil {
					return err
				}
				err = tx.Reseal(ctx, value, sealed)
				if errors.Is(err, store.ErrNotFound) {
					continue // replaced or deleted meanwhile
				} else if err != nil {
					return fmt.Errorf("seal %s %q again: %w", value.Kind, value.Key, err)
				}
				count++
			}
			return nil
		}
		err := sealedValues(ctx, s, func(page []store.SealedValue) error {
			return s.Update(ctx, func(tx store.Tx) error { return again(tx, page) })
		})
		if err != nil {
			return err
		}
		err = s.Update(ctx, func(tx store.Tx) error {
			if err := sealedValues(ctx, tx, func(page []store.SealedValue) error { return again(tx, page) }); err != nil {
				return err
			}
			return noteIn(ctx, tx, "RotateRootKey", fmt.Sprintf("key %d, %d values", primary, count))
		})
		if err != nil {
			return err
		}
		if err := wipe(ctx); err != nil {
			return hinted{err, "everything is sealed under the new root key; run it again to wipe the traces of the former ones and to forget them"}
		}
		if err := ring.Retire(former...); err != nil {
			return err
		}
		fmt.Fprintf(out, "Root key %d seals %d values that were sealed anew, in %v. The former keys are forgotten.\n", primary, count, time.Since(start).Round(time.Millisecond))
		return nil
	})
}

func activeKeys(v *vault.Vault) (ids []uint32) {
	for _, k := range v.Keys() {
		if k.State == "active" {
			ids = append(ids, k.ID)
		}
	}
	return ids
}

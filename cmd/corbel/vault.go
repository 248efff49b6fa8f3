package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/corbel-build/corbel/internal/audit"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
	"github.com/corbel-build/corbel/internal/vault"
)

const vaultUsage = `Usage:
    corbel vault status [-data DIR] [-root-key FILE]
    corbel vault verify [-data DIR] [-root-key FILE]
    corbel vault rotate [-data DIR] [-root-key FILE]

Manages the root keys that seal the stored secrets. It works on the data
directory and the ring of root keys, beside a running server.

status   lists the root keys: number, state and when each was made
verify   opens every sealed value and says how many there are of each kind
rotate   makes a new root key, seals everything again under it, and forgets the
         former keys when nothing is sealed under them any more. The server
         goes on answering. If it is interrupted, run it again

A backup that was made before a rotation needs the ring of its time: keep a copy
of the ring as long as you keep the backup.

Exit status: 0 done, 1 failed or something does not open, 2 wrong usage.
`

// vaults is "corbel vault".
func vaults(ctx context.Context, args []string, out, errOut io.Writer) (err error) {
	fs := flag.NewFlagSet("vault", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.Usage = func() { fmt.Fprint(errOut, vaultUsage) }
	var data, rootKey string
	dataFlag(fs, &data)
	fs.StringVar(&rootKey, "root-key", "", "")
	if len(args) == 0 {
		fs.Usage()
		return usageError{"vault needs status, verify or rotate"}
	}
	verb := args[0]
	if verb == "-h" || verb == "--help" || verb == "help" {
		fmt.Fprint(out, vaultUsage)
		return nil
	}
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	if fs.NArg() > 0 || !slices.Contains([]string{"status", "verify", "rotate"}, verb) {
		return usageError{fmt.Sprintf("vault has no %q: want status, verify or rotate", verb)}
	}
	c := config{data: data, rootKey: rootKey}
	if c.rootKey == "" {
		c.rootKey = filepath.Join(data, "root.key")
	}
	s, err := sqlite.Open(ctx, c.database())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	v, err := vault.Open(c.rootKey)
	if err != nil {
		return fmt.Errorf("open root keys: %w", err)
	}
	switch verb {
	case "status":
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "KEY\tSTATE\tMADE")
		for _, k := range v.Keys() {
			fmt.Fprintf(w, "%d\t%s\t%s\n", k.ID, k.State, k.Created.Format(time.RFC3339))
		}
		return w.Flush()
	case "verify":
		return verifyVault(ctx, s, v, out, errOut)
	}
	return rotateVault(ctx, s, v, out)
}

// sealedValues visits every sealed value.
func sealedValues(ctx context.Context, s store.Reader, visit func(store.SealedValue) error) error {
	for _, kind := range s.SealedKinds() {
		var after []string
		for {
			page, err := s.SealedValues(ctx, kind, after, 200)
			if err != nil {
				return fmt.Errorf("list sealed values: %w", err)
			}
			if len(page) == 0 {
				break
			}
			for _, value := range page {
				if err := visit(value); err != nil {
					return err
				}
			}
			after = page[len(page)-1].Key
		}
	}
	return nil
}

func bindingOf(v store.SealedValue) string { return vault.Binding(v.Kind, v.Parts...) }

func verifyVault(ctx context.Context, s store.Store, v *vault.Vault, out, errOut io.Writer) error {
	good, bad := map[string]int{}, 0
	err := sealedValues(ctx, s, func(value store.SealedValue) error {
		if _, err := v.Open(bindingOf(value), value.Sealed); err != nil {
			bad++
			fmt.Fprintf(errOut, "%s %q: %v\n", value.Kind, value.Key, err)
			return nil
		}
		good[value.Kind]++
		return nil
	})
	if err != nil {
		return err
	}
	for _, kind := range slices.Sorted(maps.Keys(good)) {
		fmt.Fprintf(out, "%d of kind %s open\n", good[kind], kind)
	}
	if bad > 0 {
		return hinted{fmt.Errorf("%d sealed values do not open", bad), "put the right ring of root keys back, or import those secrets anew"}
	}
	return nil
}

// rotateVault seals everything under a new key. The last look is a transaction:
// whatever is stored after it was sealed after the new key was there.
func rotateVault(ctx context.Context, s store.Store, v *vault.Vault, out io.Writer) error {
	former := slices.DeleteFunc(v.Keys(), func(k vault.Key) bool { return k.State != "active" })
	if len(former) == 0 { // else one was interrupted: finish that
		if err := v.AddKey(); err != nil {
			return err
		}
	}
	primary, start, count := v.Primary(), time.Now(), 0
	stale := func(r store.Reader) ([]store.SealedValue, error) {
		var list []store.SealedValue
		err := sealedValues(ctx, r, func(value store.SealedValue) error {
			if id, err := vault.KeyID(value.Sealed); err != nil || id != primary {
				list = append(list, value)
			}
			return nil
		})
		return list, err
	}
	again := func(tx store.Tx, list []store.SealedValue) error {
		for _, value := range list {
			text, err := v.Open(bindingOf(value), value.Sealed)
			if err != nil {
				return fmt.Errorf("open %s %q: %w", value.Kind, value.Key, err)
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
	list, err := stale(s)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(list, 100) { // the server's writes come between
		if err := s.Update(ctx, func(tx store.Tx) error { return again(tx, batch) }); err != nil {
			return err
		}
	}
	err = s.Update(ctx, func(tx store.Tx) error {
		rest, err := stale(tx)
		if err == nil {
			err = again(tx, rest)
		}
		if err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Record{Time: time.Now(), Principal: "corbel", Source: "corbel", Event: "RotateRootKey", Detail: fmt.Sprintf("key %d, %d values", primary, count)})
	})
	if err != nil {
		return err
	}
	if err := v.Retire(); err != nil {
		return err
	}
	fmt.Fprintf(out, "Root key %d seals %d values that were sealed anew, in %v. The former keys are forgotten.\n", primary, count, time.Since(start).Round(time.Millisecond))
	return nil
}

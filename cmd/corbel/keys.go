package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/corbel-build/corbel/internal/access"
	"github.com/corbel-build/corbel/internal/audit"
	"github.com/corbel-build/corbel/internal/store"
	"github.com/corbel-build/corbel/internal/store/sqlite"
	"github.com/corbel-build/corbel/internal/vault"
	"github.com/corbel-build/corbel/internal/vault/kek"
)

const keysUsage = `Usage:
    corbel keys create [-user NAME] [-policy FILE] [-expires TIME] [-account ID] [-data DIR]
    corbel keys list   [-account ID] [-data DIR]
    corbel keys policy KEY_ID [FILE|none] [-data DIR]
    corbel keys delete KEY_ID [-data DIR]

Manages the access keys that sign requests. It works on the data directory, so
it needs no key itself; a running server knows a new key at once and refuses a
deleted one within a tenth of a second.

A policy is an IAM policy document (JSON), - reads it from standard input. A key
without one has all rights in its account; one with a policy has those that it
allows and does not deny. TIME is a duration such as 12h, or a time such as
2026-12-01T00:00:00Z, after which the key is refused. "policy" prints a key's
policy, or sets it; none gives all rights back.

create prints the key and its secret, and the secret is not shown again except
by "corbel env". Without -account it takes the only account.

Example:
    $ corbel keys create -user ci
    AKIAQ2JHEXAMPLEK2DQX mUq7P0e...

Exit status: 0 done, 1 failed, 2 wrong usage.
`

// keys is "corbel keys".
func keys(ctx context.Context, args []string, out, errOut io.Writer) error {
	fs := flag.NewFlagSet("keys", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.Usage = func() { fmt.Fprint(errOut, keysUsage) }
	var data, rootKey, account, user string
	dataFlag(fs, &data)
	fs.StringVar(&rootKey, "root-key", "", "")
	fs.StringVar(&account, "account", "", "")
	fs.StringVar(&user, "user", "admin", "")
	var policy, expires string
	fs.StringVar(&policy, "policy", "", "")
	fs.StringVar(&expires, "expires", "", "")
	if len(args) == 0 {
		fs.Usage()
		return usageError{"keys needs create, list, policy or delete"}
	}
	verb, args := args[0], args[1:]
	var operands []string
	for len(args) > 0 { // flags may come after operands
		if err := parse(fs, args); err != nil {
			return err
		}
		if args = fs.Args(); len(args) > 0 {
			operands, args = append(operands, args[0]), args[1:]
		}
	}
	if !slices.Contains([]string{"create", "list", "policy", "delete"}, verb) {
		return usageError{fmt.Sprintf("keys has no %q: want create, list, policy or delete", verb)}
	}
	if want := map[string]int{"delete": 1, "policy": 1}[verb]; len(operands) != want && (verb != "policy" || len(operands) != 2) {
		return usageError{fmt.Sprintf("keys %s takes %d arguments, not %d", verb, want, len(operands))}
	}
	s, k, err := openKeys(ctx, data, rootKey)
	if err != nil {
		return err
	}
	defer s.Close()
	if account == "" && verb != "delete" {
		if account, err = onlyAccount(ctx, s); err != nil {
			return err
		}
	}
	switch verb {
	case "create":
		if _, err := s.Account(ctx, account); errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("account %s does not exist", account)
		} else if err != nil {
			return err
		}
		until, err := deadline(expires)
		if err != nil {
			return usageError{"-expires: " + err.Error()}
		}
		if policy != "" {
			if policy, err = readPolicy(policy); err != nil {
				return err
			}
		}
		id, secret, err := k.Create(ctx, account, user, policy, until)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, id, secret.Reveal())
	case "list":
		list, err := s.AccessKeys(ctx, account)
		if err != nil {
			return fmt.Errorf("list keys: %w", err)
		}
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "KEY\tACCOUNT\tUSER\tCREATED\tEXPIRES\tRIGHTS")
		for _, key := range list {
			ends, rights := "never", "all"
			if !key.Expires.IsZero() {
				ends = key.Expires.Format(time.RFC3339)
			}
			if key.Policy != "" {
				rights = "policy"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", key.ID, key.Account, key.User, key.Created.Format(time.RFC3339), ends, rights)
		}
		return w.Flush()
	case "policy":
		key, err := s.AccessKey(ctx, operands[0])
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("access key %s does not exist", operands[0])
		} else if err != nil {
			return err
		}
		if len(operands) == 1 {
			if key.Policy == "" {
				key.Policy = "The key has no policy and so all rights in its account."
			}
			fmt.Fprintln(out, key.Policy)
			return nil
		}
		text := ""
		if operands[1] != "none" {
			if text, err = readPolicy(operands[1]); err != nil {
				return err
			}
		}
		return s.Update(ctx, func(tx store.Tx) error {
			if err := tx.SetPolicy(ctx, key.ID, text); err != nil {
				return err
			}
			return audit.Append(ctx, tx, audit.Record{Time: time.Now(), Account: key.Account, Principal: "corbel", Source: "corbel", Event: "SetPolicy", Resource: "arn:aws:iam::" + key.Account + ":user/" + key.User, Detail: key.ID})
		})
	case "delete":
		err := s.Update(ctx, func(tx store.Tx) error { return tx.DeleteAccessKey(ctx, operands[0]) })
		if errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("access key %s does not exist", operands[0])
		}
		return err
	}
	return nil
}

// deadline reads when a key ends; "" is never.
func deadline(text string) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return time.Now().Add(d), nil
	}
	return moment(text)
}

// readPolicy reads a policy document and checks it.
func readPolicy(file string) (string, error) {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(io.LimitReader(os.Stdin, 1<<20))
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return "", fmt.Errorf("read the policy: %w", err)
	}
	if _, err := access.ParsePolicy(string(text)); err != nil {
		return "", fmt.Errorf("policy %s: %w", file, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// openKeys opens an existing data directory beside a server that may run.
func openKeys(ctx context.Context, data, rootKey string) (*sqlite.Store, *access.Keys, error) {
	c := config{data: data, rootKey: rootKey, listen: "127.0.0.1:0", verify: "off", network: "host"}
	if err := errors.Join(c.validate()...); err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(c.database()); errors.Is(err, os.ErrNotExist) {
		return nil, nil, hinted{fmt.Errorf("%s is not a data directory of Corbel", c.data), "start \"corbel serve -data " + c.data + "\" first"}
	}
	v, err := vault.Open(c.rootKey, kek.Open)
	if err != nil {
		return nil, nil, fmt.Errorf("open root keys: %w", err)
	}
	s, err := sqlite.Open(ctx, c.database())
	if err != nil {
		return nil, nil, err
	}
	return s, &access.Keys{Store: s, Vault: v, Now: time.Now}, nil
}

func onlyAccount(ctx context.Context, s store.Store) (string, error) {
	accounts, err := s.Accounts(ctx)
	if err != nil {
		return "", fmt.Errorf("list accounts: %w", err)
	}
	if len(accounts) != 1 {
		return "", usageError{fmt.Sprintf("there are %d accounts: name one with -account", len(accounts))}
	}
	return accounts[0].ID, nil
}

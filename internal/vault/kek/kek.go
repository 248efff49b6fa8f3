// Package kek has what can wrap root keys: a passphrase in a file, a key of AWS
// KMS, and a key of the transit engine of HashiCorp Vault or OpenBao.
//
// New makes the vault.Wrap that a ring of root keys carries, Open opens what
// such a Wrap names. Nothing secret stands in it: passphrase and token are read
// from files, the credentials for AWS are those of the environment, as for any
// AWS program. Whoever has the ring alone has nothing.
package kek

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/corbel-build/corbel/internal/vault"
)

// A kind is a kind of wraps.
type kind struct {
	name       string
	needs, may []string // settings; those of a file end in "file"
	open       func(map[string]string) (vault.KEK, error)
	fill       func(map[string]string) // adds what nobody chooses
}

var kinds = []kind{
	{name: "passphrase", needs: []string{"file"}, open: openPassphrase, fill: fillPassphrase},
	{name: "aws-kms", needs: []string{"key"}, may: []string{"region", "endpoint"}, open: openKMS},
	{name: "transit", needs: []string{"address", "key", "token-file"}, may: []string{"mount", "namespace"}, open: openTransit},
}

func kindOf(name string) (kind, error) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return kind{}, fmt.Errorf("there is no kind %q of wraps: want passphrase, aws-kms or transit", name)
	}
	return kinds[i], nil
}

// Open opens the KEK that w names. It is a vault.KEKs.
func Open(w vault.Wrap) (vault.KEK, error) {
	k, err := kindOf(w.Kind)
	if err != nil {
		return nil, err
	}
	return k.open(w.With)
}

// New makes a wrap from its settings:
//
//	passphrase  file        with the passphrase on its one line
//	aws-kms     key         id, ARN or alias of a symmetric key
//	            region      default that of the environment
//	            endpoint    of something else that speaks the API of KMS
//	transit     address     https://HOST:PORT
//	            key         name of the key
//	            token-file  with a token that may encrypt and decrypt
//	            mount       path of the engine, default transit
//	            namespace   default none
//
// Files get absolute names. Whether it works shows when it wraps something.
func New(name string, with map[string]string) (vault.Wrap, error) {
	k, err := kindOf(name)
	if err != nil {
		return vault.Wrap{}, err
	}
	w := vault.Wrap{Kind: name, With: map[string]string{}}
	for setting, value := range with {
		if value == "" {
			continue
		}
		if !slices.Contains(append(slices.Clone(k.needs), k.may...), setting) {
			return vault.Wrap{}, fmt.Errorf("%s has no setting %s", name, setting)
		}
		if strings.HasSuffix(setting, "file") {
			if value, err = filepath.Abs(value); err != nil {
				return vault.Wrap{}, err
			}
		}
		w.With[setting] = value
	}
	for _, setting := range k.needs {
		if w.With[setting] == "" {
			return vault.Wrap{}, fmt.Errorf("%s needs %s", name, setting)
		}
	}
	if k.fill != nil {
		k.fill(w.With)
	}
	return w, nil
}

// Files lists the files with secrets that w needs.
func Files(w vault.Wrap) (files []string) {
	for setting, value := range w.With {
		if strings.HasSuffix(setting, "file") {
			files = append(files, value)
		}
	}
	return files
}

// maxSecret bounds a passphrase and a token, in bytes.
const maxSecret = 64 << 10

// secret reads a file that only its owner may read, without its line end.
func secret(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %#o, want 0600", file, perm)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if text = bytes.TrimRight(text, "\r\n"); len(text) == 0 || len(text) > maxSecret {
		return nil, fmt.Errorf("%s has %d bytes, want 1 to %d", file, len(text), maxSecret)
	}
	return text, nil
}

// address checks where root keys would be sent: over TLS, or to this machine.
func address(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("its address is none like https://vault.example.com:8200")
	}
	a, _ := netip.ParseAddr(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || !a.IsLoopback()) {
		return fmt.Errorf("%s://%s is no https address, so root keys would cross the network in plain text", u.Scheme, u.Host)
	}
	return nil
}

package kek

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/corbel-build/corbel/api"
	"github.com/corbel-build/corbel/internal/vault"
	"github.com/corbel-build/corbel/internal/vault/kek/kektest"
)

const phrase = "correct horse battery staple"

func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": kektest.AccessKey, "AWS_SECRET_ACCESS_KEY": kektest.Secret, "AWS_REGION": "eu-central-1",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		os.Setenv(name, value)
	}
	os.Exit(m.Run())
}

// file writes a file that only its owner may read.
func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func wrapOf(t *testing.T, kind string, with map[string]string) vault.Wrap {
	t.Helper()
	w, err := New(kind, with)
	if err != nil {
		t.Fatalf("New(%s, %v): %v", kind, with, err)
	}
	return w
}

// each is a working wrap of each kind, and one of the same kind by another key.
func each(t *testing.T) map[string][2]vault.Wrap {
	kms, transit := kektest.KMS(t, "alias/corbel", "alias/other"), kektest.Transit(t, "corbel", "other")
	token := file(t, kektest.Token+"\n")
	return map[string][2]vault.Wrap{
		"passphrase": {wrapOf(t, "passphrase", map[string]string{"file": file(t, phrase+"\n")}), wrapOf(t, "passphrase", map[string]string{"file": file(t, "another long phrase")})},
		"aws-kms":    {wrapOf(t, "aws-kms", map[string]string{"key": "alias/corbel", "endpoint": kms.URL}), wrapOf(t, "aws-kms", map[string]string{"key": "alias/other", "endpoint": kms.URL})},
		"transit":    {wrapOf(t, "transit", map[string]string{"key": "corbel", "address": transit.URL, "token-file": token}), wrapOf(t, "transit", map[string]string{"key": "other", "address": transit.URL + "/", "token-file": token})},
	}
}

// What a KEK promises.
func TestKEK(t *testing.T) {
	t.Parallel()
	for name, wraps := range each(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			open := func(w vault.Wrap) vault.KEK {
				k, err := Open(w)
				if err != nil {
					t.Fatalf("Open: %v", err)
				}
				return k
			}
			k, other := open(wraps[0]), open(wraps[1])
			key := bytes.Repeat([]byte{0xa5}, 32)
			wrapped, err := k.Wrap(ctx, key)
			if err != nil {
				t.Fatalf("Wrap: %v", err)
			}
			if bytes.Contains(wrapped, key) || bytes.Contains(wrapped, []byte(base64.StdEncoding.EncodeToString(key))) {
				t.Errorf("the key is in what wraps it: %q", wrapped)
			}
			if again, err := k.Wrap(ctx, key); err != nil || bytes.Equal(again, wrapped) {
				t.Errorf("wrapped twice, a key gives the same bytes (%v)", err)
			}
			if got, err := open(wraps[0]).Unwrap(ctx, wrapped); err != nil || !bytes.Equal(got, key) {
				t.Errorf("Unwrap = %d bytes, %v", len(got), err)
			}
			if got, err := other.Unwrap(ctx, wrapped); err == nil || len(got) > 0 {
				t.Errorf("another key unwraps it to %d bytes", len(got))
			}
			for _, bad := range [][]byte{nil, wrapped[:len(wrapped)-1], append(bytes.Clone(wrapped), 'A'), bytes.Replace(wrapped, wrapped[len(wrapped)/2:len(wrapped)/2+4], []byte("0000"), 1)} {
				if got, err := k.Unwrap(ctx, bad); err == nil || len(got) > 0 {
					t.Errorf("Unwrap of %d damaged bytes = %d bytes, %v", len(bad), len(got), err)
				} else if strings.Contains(err.Error(), phrase) || strings.Contains(err.Error(), kektest.Token) || strings.Contains(err.Error(), kektest.Secret) {
					t.Errorf("the error tells a secret: %v", err)
				}
			}
			ended, cancel := context.WithCancel(ctx)
			cancel()
			if _, err := k.Wrap(ended, key); err == nil && name != "passphrase" {
				t.Error("Wrap does not mind that its context has ended")
			}
			for setting, value := range wraps[0].With {
				if strings.Contains(value, phrase) || strings.Contains(value, kektest.Token) || strings.Contains(value, kektest.Secret) {
					t.Errorf("the ring would hold a secret in %s", setting)
				}
			}
		})
	}
}

// A ring goes from plain to each kind, is rotated there, and goes back. The
// vault that was open before follows.
func TestRing(t *testing.T) {
	t.Parallel()
	for name, wraps := range each(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "root.key")
			server, err := vault.OpenOrCreate(path, Open)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			const text = api.Secret("ghp_KekTest0000000000000000000000000001")
			first, err := server.Seal("x", text)
			if err != nil {
				t.Fatal(err)
			}
			change := func(fn func(*vault.Change) error) {
				t.Helper()
				v, err := vault.Open(path, Open)
				if err == nil {
					err = v.Change(fn)
				}
				if err != nil {
					t.Fatal(err)
				}
				if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) != 1 {
					t.Errorf("beside the ring are %v, %v", list, err)
				}
			}
			change(func(c *vault.Change) error { return c.Rewrap(&wraps[0]) })
			wrapped, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			key := strings.Split(strings.Split(string(plain), `"key": "`)[1], `"`)[0]
			if strings.Contains(string(wrapped), key) {
				t.Errorf("the key is still in the ring: %s", wrapped)
			}
			if server.Wrap().Kind != "" {
				t.Error("nobody has asked, and the vault has read the file")
			}
			change(func(c *vault.Change) error { return c.AddKey() })
			second, err := server.Seal("x", text)
			if err != nil {
				t.Fatal(err)
			}
			if id, err := vault.KeyID(second); id != 2 || err != nil {
				t.Errorf("after the key was changed, key %d seals (%v)", id, err)
			}
			if server.Wrap().Kind != name {
				t.Errorf("the ring is wrapped by %q", server.Wrap().Kind)
			}
			change(func(c *vault.Change) error { return c.Rewrap(&wraps[1]) })
			change(func(c *vault.Change) error { return c.Retire(1) })
			later, err := vault.Open(path, Open)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := later.Open("x", second); err != nil || got != text {
				t.Errorf("Open = %d bytes, %v", len(got), err)
			}
			if _, err := later.Open("x", first); err == nil {
				t.Error("a retired key opens")
			}
			if _, err := vault.Open(path); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("without anything that unwraps: %v", err)
			}
			change(func(c *vault.Change) error { return c.Rewrap(nil) })
			bare, err := vault.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := bare.Open("x", second); err != nil || got != text {
				t.Errorf("with the plain ring: %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestCreate(t *testing.T) {
	t.Parallel()
	w := wrapOf(t, "passphrase", map[string]string{"file": file(t, phrase)})
	path := filepath.Join(t.TempDir(), "root.key")
	for _, want := range []error{nil, os.ErrExist} {
		if err := vault.Create(path, &w, Open); want == nil && err != nil || want != nil && !strings.Contains(fmt.Sprint(err), "exists") {
			t.Errorf("Create = %v, want %v", err, want)
		}
	}
	if v, err := vault.Open(path, Open); err != nil || v.Wrap().Kind != "passphrase" {
		t.Errorf("Open: %v", err)
	}
}

// What is wrong is said, and the ring stays as it was.
func TestRing_Refused(t *testing.T) {
	t.Parallel()
	kms, transit := kektest.KMS(t, "alias/corbel"), kektest.Transit(t, "corbel")
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"data":{}}`)) }))
	t.Cleanup(silent.Close)
	var redirected bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { redirected = true }))
	t.Cleanup(elsewhere.Close)
	redirects := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(redirects.Close)
	token := file(t, kektest.Token)
	readable := file(t, phrase)
	if err := os.Chmod(readable, 0o644); err != nil {
		t.Fatal(err)
	}
	good := wrapOf(t, "passphrase", map[string]string{"file": token}).With
	passphrase := func(name, value string) vault.Wrap {
		with := map[string]string{name: value}
		for k, v := range good {
			if k != name {
				with[k] = v
			}
		}
		return vault.Wrap{Kind: "passphrase", With: with}
	}
	for name, c := range map[string]struct {
		wrap vault.Wrap
		want string
	}{
		"kind":               {vault.Wrap{Kind: "rot13"}, "rot13"},
		"no passphrase":      {passphrase("file", "/nonexistent/phrase"), "no such file"},
		"short passphrase":   {passphrase("file", file(t, "short\n")), "less than 12"},
		"empty passphrase":   {passphrase("file", file(t, "\n")), "0 bytes"},
		"readable":           {passphrase("file", readable), "0644"},
		"salt":               {passphrase("salt", "c2hvcnQ="), "salt"},
		"cheap":              {passphrase("memory-kib", "8"), "memory-kib"},
		"bomb":               {passphrase("memory-kib", "4294967295"), "memory-kib"},
		"passes":             {passphrase("passes", ""), "passes"},
		"KMS key":            {wrapOf(t, "aws-kms", map[string]string{"key": "alias/x", "endpoint": kms.URL}), "NotFoundException"},
		"KMS plain http":     {wrapOf(t, "aws-kms", map[string]string{"key": "k", "endpoint": "http://kms.example.com"}), "https"},
		"transit key":        {wrapOf(t, "transit", map[string]string{"key": "x", "address": transit.URL, "token-file": token}), "encryption key not found"},
		"transit token":      {wrapOf(t, "transit", map[string]string{"key": "corbel", "address": transit.URL, "token-file": file(t, "hvs.wrong")}), "permission denied"},
		"transit mount":      {wrapOf(t, "transit", map[string]string{"key": "corbel", "address": transit.URL, "token-file": token, "mount": "a/b"}), "404"},
		"transit plain http": {wrapOf(t, "transit", map[string]string{"key": "k", "address": "http://vault.example.com", "token-file": token}), "https"},
		"transit address":    {wrapOf(t, "transit", map[string]string{"key": "k", "address": "vault", "token-file": token}), "address"},
		"transit is down":    {wrapOf(t, "transit", map[string]string{"key": "corbel", "address": "http://127.0.0.1:1", "token-file": token}), "refused"},
		"transit says less":  {wrapOf(t, "transit", map[string]string{"key": "corbel", "address": silent.URL, "token-file": token}), "would be lost"},
		"transit redirects":  {wrapOf(t, "transit", map[string]string{"key": "corbel", "address": redirects.URL, "token-file": token}), "307"},
	} {
		path := filepath.Join(t.TempDir(), "root.key")
		v, err := vault.OpenOrCreate(path, Open)
		if err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		err = v.Change(func(ch *vault.Change) error { return ch.Rewrap(&c.wrap) })
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), kektest.Token) {
			t.Errorf("%s: error is %v, want %q in it", name, err, c.want)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, before) {
			t.Errorf("%s: the ring changed (%v)", name, err)
		}
		if _, err := v.Seal("x", "still works"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if redirected {
		t.Error("the transit engine's redirect was followed")
	}
}

func TestNew_Refuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind string
		with map[string]string
		want string
	}{
		{"rot13", nil, "rot13"}, {"passphrase", nil, "needs file"}, {"aws-kms", map[string]string{"region": "r"}, "needs key"},
		{"transit", map[string]string{"key": "k", "address": "https://v"}, "needs token-file"},
		{"passphrase", map[string]string{"file": "f", "key": "k"}, "no setting key"},
		{"passphrase", map[string]string{"file": "f", "salt": "AAAA"}, "no setting salt"},
	} {
		if w, err := New(c.kind, c.with); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New(%s, %v) = %v, %v, want %q", c.kind, c.with, w, err, c.want)
		}
	}
	if w, err := New("passphrase", map[string]string{"file": "here"}); err != nil || !filepath.IsAbs(w.With["file"]) {
		t.Errorf("a relative name stays one: %v, %v", w, err)
	}
}

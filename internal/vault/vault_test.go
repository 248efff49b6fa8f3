package vault

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/corbel-build/corbel/api"
	"pgregory.net/rapid"
)

const planted = "ghp_VaultPlanted0123456789abcdefghijklm"

var here = Binding("source-credential", "arn:aws:codebuild:eu-west-1:123456789012:token/github", "1")

// newVault returns a vault with a fresh ring, and the ring's path.
func newVault(t testing.TB) (*Vault, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "root.key")
	v, err := OpenOrCreate(path)
	if err != nil {
		t.Fatalf("OpenOrCreate: %v", err)
	}
	return v, path
}

func seal(t testing.TB, v *Vault, binding, text string) []byte {
	t.Helper()
	sealed, err := v.Seal(binding, api.Secret(text))
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	return sealed
}

// writeRing writes a ring of keys and returns its path.
func writeRing(t testing.TB, keys ...key) string {
	t.Helper()
	data, err := json.Marshal(ring{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "root.key")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// testKey is a key whose bytes are all id.
func testKey(id uint32, s state) key {
	return key{ID: id, State: s, Key: bytes.Repeat([]byte{byte(id)}, keySize)}
}

func TestSealOpen(t *testing.T) {
	t.Parallel()
	v, path := newVault(t)
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "x", planted, strings.Repeat("long ", 20000), "\x00\xff not UTF-8"} {
		sealed := seal(t, v, here, text)
		if len(sealed) != len(text)+overhead {
			t.Errorf("%d bytes sealed are %d, want %d more", len(text), len(sealed), overhead)
		}
		got, err := again.Open(here, sealed)
		if err != nil || got.Reveal() != text {
			t.Errorf("Open of %d bytes = %d bytes, %v", len(text), len(got), err)
		}
	}
	if bytes.Equal(seal(t, v, here, planted), seal(t, v, here, planted)) {
		t.Error("one secret sealed twice gives the same bytes")
	}
}

// vectors is testdata/vectors.json.
type vectors struct {
	Comment string `json:"comment"`
	Ring    ring   `json:"ring"`
	Vectors []struct {
		Name           string   `json:"name"`
		Binding        []string `json:"binding"`
		AssociatedData string   `json:"associatedData"`
		RecordKey      string   `json:"recordKey"`
		Text           string   `json:"text"`
		Sealed         string   `json:"sealed"`
	} `json:"vectors"`
}

func readVectors(t testing.TB) (*Vault, vectors) {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all vectors
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	v, err := Open(writeRing(t, all.Ring.Keys...))
	if err != nil {
		t.Fatal(err)
	}
	return v, all
}

func TestVectors(t *testing.T) {
	t.Parallel()
	v, all := readVectors(t)
	if len(all.Vectors) == 0 {
		t.Fatal("there are no vectors")
	}
	for _, c := range all.Vectors {
		sealed, err := hex.DecodeString(c.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		binding := Binding(c.Binding[0], c.Binding[1:]...)
		if _, ad, err := v.aead(sealed, binding); err != nil || hex.EncodeToString(ad) != c.AssociatedData {
			t.Errorf("%s: associated data is %x, %v, want %s", c.Name, ad, err, c.AssociatedData)
		}
		got, err := v.Open(binding, sealed)
		if err != nil || got.Reveal() != c.Text {
			t.Errorf("%s: Open = %q, %v, want %q", c.Name, got.Reveal(), err, c.Text)
		}
	}
}

// In the strictest mode of the FIPS module every primitive that it did not
// approve panics or fails.
func TestFIPS(t *testing.T) {
	t.Parallel()
	if os.Getenv("VAULT_TEST_FIPS") != "" {
		t.Skip("this is the child process")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^(TestVectors|TestSealOpen|TestOpen_EachBitCounts)$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG=fips140=only", "VAULT_TEST_FIPS=1")
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Count(out, []byte("--- PASS")) != 3 {
		t.Errorf("with GODEBUG=fips140=only: %v\n%s", err, out)
	}
}

func TestOpen_EachBitCounts(t *testing.T) {
	t.Parallel()
	v, err := Open(writeRing(t, testKey(1, primary), testKey(2, active), testKey(3, active)))
	if err != nil {
		t.Fatal(err)
	}
	sealed := seal(t, v, here, planted)
	for bit := range len(sealed) * 8 {
		bad := bytes.Clone(sealed)
		bad[bit/8] ^= 1 << (bit % 8)
		got, err := v.Open(here, bad)
		if !errors.Is(err, ErrTampered) && !errors.Is(err, ErrNoKey) || got != "" {
			t.Errorf("bit %d flipped: %d bytes, %v", bit, len(got), err)
		}
	}
}

func TestOpen_EachLengthCounts(t *testing.T) {
	t.Parallel()
	v, _ := newVault(t)
	sealed := seal(t, v, here, planted)
	for n := range len(sealed) {
		if got, err := v.Open(here, sealed[:n:n]); !errors.Is(err, ErrTampered) || got != "" {
			t.Errorf("cut to %d bytes: %d bytes, %v", n, len(got), err)
		}
	}
	if _, err := v.Open(here, append(bytes.Clone(sealed), 0)); !errors.Is(err, ErrTampered) {
		t.Errorf("a byte longer: %v", err)
	}
	for name, want := range map[string]string{
		string(sealed[:12]):                         "cut to 12 bytes",
		"\x02" + string(sealed[1:]):                 "version 2",
		string(sealed[:len(sealed)-1]):              "damaged",
		"\x01\x00\x00\x00\x09" + string(sealed[5:]): "no key 9 in ring",
	} {
		if _, err := v.Open(here, []byte(name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want it to say %q", err, want)
		}
	}
}

func TestOpen_BindingCounts(t *testing.T) {
	t.Parallel()
	v, _ := newVault(t)
	bindings := []string{
		"", here,
		Binding("source-credential", "arn:aws:codebuild:eu-west-1:123456789012:token/github", "2"), // an older generation
		Binding("source-credential", "arn:aws:codebuild:eu-west-1:210987654321:token/github", "1"), // another account
		Binding("access-key", "arn:aws:codebuild:eu-west-1:123456789012:token/github", "1"),        // another kind
		Binding("source-credential", "arn:aws:codebuild:eu-west-1:123456789012:token/github1"),
	}
	for i, sealedFor := range bindings {
		sealed := seal(t, v, sealedFor, planted)
		for j, openedFor := range bindings {
			got, err := v.Open(openedFor, sealed)
			if i == j && (err != nil || got.Reveal() != planted) || i != j && (!errors.Is(err, ErrTampered) || got != "") {
				t.Errorf("sealed for %q and opened for %q: %d bytes, %v", sealedFor, openedFor, len(got), err)
			}
		}
	}
}

// Parts of one sealed secret with parts of another are no secret.
func TestOpen_Spliced(t *testing.T) {
	t.Parallel()
	v, _ := newVault(t)
	a, b := seal(t, v, here, planted), seal(t, v, here, planted)
	for n := 1; n < len(a); n++ {
		spliced := append(bytes.Clone(a[:n]), b[n:]...)
		if bytes.Equal(spliced, a) || bytes.Equal(spliced, b) {
			continue // they agree so far
		}
		if _, err := v.Open(here, spliced); !errors.Is(err, ErrTampered) {
			t.Errorf("%d bytes of one and the rest of another: %v", n, err)
		}
	}
}

func TestBinding_NoTwoAlike(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.StringMatching(`[ab\x00\x01]{0,3}`), 1, 4)
		a, b := parts.Draw(t, "a"), parts.Draw(t, "b")
		if same := Binding(a[0], a[1:]...) == Binding(b[0], b[1:]...); same != slices.Equal(a, b) {
			t.Fatalf("bindings of %q and %q: same is %v", a, b, same)
		}
	})
}

func TestRotation(t *testing.T) {
	t.Parallel()
	before, err := Open(writeRing(t, testKey(1, primary)))
	if err != nil {
		t.Fatal(err)
	}
	old := seal(t, before, here, planted)

	during, err := Open(writeRing(t, testKey(1, active), testKey(2, primary)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := during.Open(here, old)
	if err != nil || got.Reveal() != planted {
		t.Fatalf("what the older key sealed does not open: %v", err)
	}
	renewed := seal(t, during, here, got.Reveal())
	for want, sealed := range map[uint32][]byte{1: old, 2: renewed} {
		if id, err := KeyID(sealed); id != want || err != nil {
			t.Errorf("KeyID = %d, %v, want %d", id, err, want)
		}
	}

	for name, path := range map[string]string{
		"key 1 is retired": writeRing(t, testKey(1, retired), testKey(2, primary)),
		"no key 1 in ring": writeRing(t, testKey(2, primary)),
	} {
		after, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := after.Open(here, renewed); err != nil {
			t.Errorf("%s: what the new key sealed: %v", name, err)
		}
		if _, err := after.Open(here, old); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), name) {
			t.Errorf("error is %v, want %q", err, name)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	v, path := newVault(t)
	value, err := v.CheckValue()
	if err != nil {
		t.Fatal(err)
	}
	same, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := same.Check(value); err != nil {
		t.Errorf("the ring that made the value: %v", err)
	}
	other, _ := newVault(t)
	if err := other.Check(value); !errors.Is(err, ErrTampered) {
		t.Errorf("another ring: %v", err)
	}
	later, err := Open(writeRing(t, testKey(2, primary)))
	if err != nil {
		t.Fatal(err)
	}
	if err := later.Check(value); !errors.Is(err, ErrNoKey) {
		t.Errorf("a ring without the key: %v", err)
	}
	if err := v.Check(nil); !errors.Is(err, ErrTampered) {
		t.Errorf("no value: %v", err)
	}
}

func TestOpen_NoRing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "root.key")
	if _, err := Open(path); !errors.Is(err, ErrNoRing) {
		t.Errorf("Open without a file: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open made a file: %v", err)
	}
	if _, err := OpenOrCreate(filepath.Join(path, "root.key")); err == nil {
		t.Error("OpenOrCreate in a directory that is not there succeeds")
	}
}

func TestOpen_FilesRefused(t *testing.T) {
	t.Parallel()
	_, good := newVault(t)
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660, 0o666, 0o700, 0o601} {
		path := filepath.Join(t.TempDir(), "root.key")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %#o: %v", mode, err)
		}
		if _, err := OpenOrCreate(path); err == nil {
			t.Errorf("mode %#o: OpenOrCreate succeeds", mode)
		}
	}
	for _, mode := range []fs.FileMode{0o600, 0o400} {
		if err := os.Chmod(good, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(good); err != nil {
			t.Errorf("mode %#o: %v", mode, err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	dangling := filepath.Join(t.TempDir(), "dangling")
	if err := os.Symlink(filepath.Join(t.TempDir(), "nothing"), dangling); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, dangling, t.TempDir()} {
		if _, err := OpenOrCreate(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s is no regular file: %v", path, err)
		}
	}
}

func TestOpen_RingsRefused(t *testing.T) {
	t.Parallel()
	const root = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
	entry := func(id int, s, k string) string {
		return fmt.Sprintf(`{"id":%d,"state":"%s","created":"2026-11-01T09:00:00Z","key":"%s"}`, id, s, k)
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty file", ``, "not a ring"},
		{"no keys", `{"keys":[]}`, "no root key is primary"},
		{"null", `null`, "no root key is primary"},
		{"something else", `-----BEGIN PRIVATE KEY-----`, "not a ring"},
		{"cut", `{"keys":[` + entry(1, "primary", root), "not a ring"},
		{"more behind it", `{"keys":[` + entry(1, "primary", root) + `]} {}`, "not a ring"},
		{"unknown member", `{"keys":[],"primary":1}`, "not a ring"},
		{"key too short", `{"keys":[` + entry(1, "primary", root[:40]) + `]}`, "root key 1 has 30 bytes, want 32"},
		{"key too long", `{"keys":[` + entry(1, "primary", "AAAA"+root) + `]}`, "root key 1 has 35 bytes, want 32"},
		{"key not base64", `{"keys":[` + entry(1, "primary", "*"+root[1:]) + `]}`, "not a ring"},
		{"id twice", `{"keys":[` + entry(1, "primary", root) + `,` + entry(1, "active", root) + `]}`, "stands twice"},
		{"two primaries", `{"keys":[` + entry(0, "primary", root) + `,` + entry(2, "primary", root) + `]}`, "0 and 2 are both primary"},
		{"no primary", `{"keys":[` + entry(0, "active", root) + `]}`, "no root key is primary"},
		{"unknown state", `{"keys":[` + entry(1, "principal", root) + `]}`, "neither primary, active nor retired"},
		{"id too large", `{"keys":[` + entry(1<<32, "primary", root) + `]}`, "not a ring"},
		{"too large", `{"keys":[` + entry(1, "primary", root) + `]}` + strings.Repeat(" ", maxRing), "not a ring"},
	} {
		path := filepath.Join(t.TempDir(), "root.key")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), root[:20]) {
			t.Errorf("%s: the error quotes the key: %v", c.name, err)
		}
	}
}

// Of many who make a ring at once, one makes it and the others use it.
func TestOpenOrCreate_Race(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "root.key")
	vaults := make([]*Vault, 8)
	var wg sync.WaitGroup
	for i := range vaults {
		wg.Go(func() {
			v, err := OpenOrCreate(path)
			if err != nil {
				t.Errorf("OpenOrCreate: %v", err)
			}
			vaults[i] = v
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	sealed := seal(t, vaults[0], here, planted)
	for i, v := range vaults {
		if _, err := v.Open(here, sealed); err != nil {
			t.Errorf("vault %d has another ring: %v", i, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the ring's mode is %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".ring-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Neither what is stored nor what is printed has the secret or a root key.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	v, path := newVault(t)
	sealed := seal(t, v, here, planted)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, tampered := v.Open("elsewhere", sealed)
	secret, err := v.Open(here, sealed)
	if err != nil {
		t.Fatal(err)
	}
	holder := struct {
		Vault  *Vault
		Secret api.Secret
	}{v, secret}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("text", "vault", v, "holder", holder, "secret", secret)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("JSON", "vault", v, "secret", secret)
	printed := fmt.Sprintf("%v %+v %#v %s %d %x %v %+v", v, v, v, v, v, v, holder, tampered) + log.String()

	if strings.Contains(string(sealed)+string(file), planted) {
		t.Error("the token is in what is stored")
	}
	if strings.Contains(printed, planted) {
		t.Errorf("the token is printed: %s", printed)
	}
	for _, k := range v.keys {
		for _, form := range []string{string(k.Key), hex.EncodeToString(k.Key), base64.StdEncoding.EncodeToString(k.Key), fmt.Sprint(k.Key)} {
			if strings.Contains(printed, strings.Trim(form, "[]")) || bytes.Contains(sealed, []byte(form)) {
				t.Errorf("a root key is printed or stored: %s", printed)
			}
		}
	}
}

// Whatever bytes open were sealed as they are: nobody can make others of them.
func FuzzOpen(f *testing.F) {
	v, all := readVectors(f)
	known := map[string]string{}
	for _, c := range all.Vectors {
		sealed, _ := hex.DecodeString(c.Sealed)
		binding := Binding(c.Binding[0], c.Binding[1:]...)
		known[binding+string(sealed)] = c.Text
		f.Add(binding, sealed)
		f.Add(binding[:len(binding)-1], sealed)
		f.Add(binding, sealed[:len(sealed)-1])
	}
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, binding string, sealed []byte) {
		got, err := v.Open(binding, sealed)
		text, ok := known[binding+string(sealed)]
		if ok != (err == nil) || got.Reveal() != text {
			t.Errorf("Open(%q, %x) = %q, %v", binding, sealed, got.Reveal(), err)
		}
		if err != nil && !errors.Is(err, ErrTampered) && !errors.Is(err, ErrNoKey) {
			t.Errorf("Open(%q, %x): %v", binding, sealed, err)
		}
	})
}

// FuzzRing reads damaged rings.
func FuzzRing(f *testing.F) {
	_, path := newVault(f)
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"keys":[{"id":1,"state":"primary","key":""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "root.key")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := Open(path)
		if err != nil {
			return
		}
		if _, err := v.Open(here, seal(t, v, here, planted)); err != nil {
			t.Errorf("the ring opened but does not work: %v", err)
		}
	})
}

func BenchmarkSealOpen(b *testing.B) {
	v, _ := newVault(b)
	for b.Loop() {
		if _, err := v.Open(here, seal(b, v, here, planted)); err != nil {
			b.Fatal(err)
		}
	}
}

package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
)

const planted = "ghs-Planted+In/Redact=Test 0123456789" // not of a token's shape, so that the secret itself has to be known

// through writes text in pieces of n bytes and returns what comes out.
func through(text string, n int, secrets ...string) string {
	var b strings.Builder
	r := New(&b)
	for _, s := range secrets {
		r.Add(s)
	}
	for len(text) > 0 {
		k := min(n, len(text))
		_, _ = r.Write([]byte(text[:k]))
		text = text[k:]
	}
	_ = r.Close()
	return b.String()
}

func TestWriter(t *testing.T) {
	t.Parallel()
	b64 := base64.StdEncoding.EncodeToString
	quoted, _ := json.Marshal(planted)
	for _, c := range []struct {
		name, in, want string
		secrets        []string
	}{
		{"nothing to hide", "hello, world\n", "hello, world\n", nil},
		{"plain", "a " + planted + " b", "a *** b", []string{planted}},
		{"twice", planted + planted, "******", []string{planted}},
		{"hex", hex.EncodeToString([]byte(planted)), "***", []string{planted}},
		{"URL", "x=" + url.QueryEscape(planted) + "&", "x=***&", []string{planted}},
		{"JSON", `{"t":` + string(quoted) + `}`, `{"t":"***"}`, []string{planted}},
		{"too short to hide", "abc abcde", "abc abcde", []string{"abcde"}},
		{"overlapping", "12345678901234", "***", []string{"1234567890", "6789012345", "0123456789", "01234"[:4] + "56", "90123456", "789012345", "901234"}},
		{"one inside another", "xabcdefghijx", "x***x", []string{"abcdefghij", "cdefgh"}},
		{"repeating itself", "aaaaaaaaa", "***", []string{"aaaaaa"}},
		{"secret like the replacement", "******", "***", []string{"******"}},
		{"lines of a secret", "-- second line --", "-- *** --", []string{"first line\nsecond line\n"}},
		{"known shape", "token ghp_" + strings.Repeat("A1", 18) + ".", "token ***.", nil},
		{"access key id", "AKIAIOSFODNN7EXAMPLE", "***", nil},
		{"shape too short", "ghp_short AKIA", "ghp_short AKIA", nil},
		{"multibyte runes", "é" + planted + "日本", "é***日本", []string{planted}},
	} {
		for _, n := range []int{1 << 20, 17, 3, 1} {
			if got := through(c.in, n, c.secrets...); got != c.want {
				t.Errorf("%s, in pieces of %d:\n got %q\nwant %q", c.name, n, got, c.want)
			}
		}
	}
	for shift := range 4 {
		in := b64([]byte("xyz!"[:shift] + planted + "\n"))
		if got := through(in, 5, planted); strings.Contains(got, b64([]byte(planted))[4:20]) || !strings.Contains(got, replacement) {
			t.Errorf("base64 at shift %d: %q of %q", shift, got, in)
		}
	}
}

// Whatever the pieces, no secret comes out and nothing else is lost.
func TestWriter_AnyPieces(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		secrets := make([]string, 1+rnd.IntN(4))
		for i := range secrets {
			b := make([]byte, minLength+rnd.IntN(12))
			for j := range b {
				b[j] = "abcd"[rnd.IntN(4)]
			}
			secrets[i] = string(b)
		}
		var text strings.Builder
		for text.Len() < 200 {
			if rnd.IntN(4) == 0 {
				text.WriteString(secrets[rnd.IntN(len(secrets))])
			} else {
				text.WriteByte("abcd"[rnd.IntN(4)])
			}
		}
		got := through(text.String(), 1+rnd.IntN(40), secrets...)
		for _, s := range secrets {
			if strings.Contains(got, s) {
				t.Fatalf("secret %q in %q of %q", s, got, text.String())
			}
		}
		if want := through(text.String(), 1<<20, secrets...); got != want {
			t.Fatalf("pieces give %q, whole gives %q, of %q with %q", got, want, text.String(), secrets)
		}
	}
}

func TestWriter_FlushHoldsOnlyBeginnings(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	r := New(&b)
	r.Add(planted)
	_, _ = r.Write([]byte("waiting for input: "))
	_ = r.Flush()
	if got := b.String(); got != "waiting for input: " {
		t.Errorf("after Flush: %q", got)
	}
	_, _ = r.Write([]byte("key=" + planted[:9]))
	_ = r.Flush()
	if got := b.String(); strings.Contains(got, planted[:4]) {
		t.Errorf("Flush passed on the beginning of a secret: %q", got)
	}
	_, _ = r.Write([]byte(planted[9:] + "\n"))
	_ = r.Close()
	if got, want := b.String(), "waiting for input: key=***\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzWriter(f *testing.F) {
	f.Add("some text with secret99 in it", "secret99", 3)
	f.Add("AKIAAKIAIOSFODNN7EXAMPLE", "AKIAIO", 1)
	f.Fuzz(func(t *testing.T, text, secret string, n int) {
		n = 1 + (n&0x7fffffff)%64
		got := through(text, n, secret)
		if want := through(text, 1<<20, secret); got != want {
			t.Errorf("pieces of %d give %q, whole gives %q", n, got, want)
		}
		if len(secret) >= minLength && !strings.Contains(replacement+replacement, secret) && strings.Contains(got, secret) && !strings.Contains(secret, "*") {
			t.Errorf("%q shows in %q", secret, got)
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	line := strings.Repeat("2026/11/23 compiling package example/of/a/long/path with some options\n", 470)[:32<<10]
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := New(io.Discard)
			for i := range n {
				r.Add(fmt.Sprintf("secret-number-%d-%d", i, i*7919))
			}
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				_, _ = r.Write([]byte(line))
			}
		})
	}
}

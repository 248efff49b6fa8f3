package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// planted is not of a token's shape, so that the secret itself has to be known.
const planted = "ghs-Planted+In/Redact='Test' <0123456789> $&é"

// token is one whose forms are mostly the same text.
const token = "tokenPlantedInRedact0123456789abcdefghij"

const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2
OF/2NxApJCzGCEDdfSp6VQO30hyhRANCAAQRWz+jn65BtOMvdyHKcvjBeBSDZH2r
1RTwjmYSi9R/zpBnuQ4EiMnCqfMPWiZqB4QdbAd0E7oH50VpuZ1P087G
-----END PRIVATE KEY-----
`

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

// folds are the parts of a text that its view leaves out.
var folds = regexp.MustCompile(`(?:^|[\r\n])(?:[ \t\r\n]|\x1b\[[0-9;:]{0,29}[mK])*|\x1b\[[0-9;:]{0,29}[mK]`)

// naiveView folds a whole text, and says where each byte of the view is.
func naiveView(text string) (view []byte, place []int) {
	at := 0
	for _, f := range append(folds.FindAllStringIndex(text, -1), []int{len(text), len(text)}) {
		for ; at < f[0]; at++ {
			view = append(view, text[at])
			place = append(place, at)
		}
		at = f[1]
	}
	return view, place
}

// naive is what a Writer has to do, done slowly to a whole text.
func naive(text string, secrets ...string) string {
	type span struct{ from, to int }
	var hits []span
	view, place := naiveView(text)
	for _, secret := range secrets {
		for _, v := range variants(secret) {
			n, _ := naiveView("x" + v)
			n = n[1:]
			if len(n) < minLength {
				continue
			}
			for i := 0; i+len(n) <= len(view); i++ {
				s := span{place[i], place[i+len(n)-1] + 1}
				if bytes.Equal(view[i:i+len(n)], n) && (len(n) >= minSplit || len(n) < len(v) || s.to-s.from == len(n)) {
					hits = append(hits, s)
				}
			}
		}
	}
	for i := range text {
		for _, s := range shapes {
			rest, ok := strings.CutPrefix(text[i:], s.prefix)
			n := 0
			for ok && n < len(rest) && n+len(s.prefix) < maxShape && s.in(rest[n]) {
				n++
			}
			if ok && n >= s.min {
				hits = append(hits, span{i, i + len(s.prefix) + n})
			}
		}
	}
	slices.SortFunc(hits, func(a, b span) int { return a.from - b.from })
	var out strings.Builder
	at := 0 // behind the last secret
	for _, h := range hits {
		if at == 0 || h.from >= at {
			out.WriteString(text[at:h.from])
			out.WriteString(replacement)
		}
		at = max(at, h.to)
	}
	return out.String() + text[at:]
}

func TestWriter(t *testing.T) {
	t.Parallel()
	b64 := base64.StdEncoding.EncodeToString
	asJSON, _ := json.Marshal(planted)
	var asXML bytes.Buffer
	if err := xml.EscapeText(&asXML, []byte(planted)); err != nil {
		t.Fatal(err)
	}
	wrap := func(s string, n int, eol string) string {
		var b strings.Builder
		for len(s) > n {
			b.WriteString(s[:n] + eol)
			s = s[n:]
		}
		return b.String() + s + eol
	}
	for _, c := range []struct {
		name, in, want string
		secrets        []string
	}{
		{"nothing to hide", "hello, world\n", "hello, world\n", nil},
		{"plain", "a " + planted + " b", "a *** b", []string{planted}},
		{"twice", planted + planted, "******", []string{planted}},
		{"hex", hex.EncodeToString([]byte(planted)), "***", []string{planted}},
		{"hex in capitals", strings.ToUpper(hex.EncodeToString([]byte(planted))), "***", []string{planted}},
		{"query", "x=" + url.QueryEscape(planted) + "&", "x=***&", []string{planted}},
		{"query with %20", "x=" + strings.ReplaceAll(url.QueryEscape(planted), "+", "%20"), "x=***", []string{planted}},
		{"path", "/a/" + url.PathEscape(planted) + "/", "/a/***/", []string{planted}},
		{"JSON", `{"t":` + string(asJSON) + `}`, `{"t":"***"}`, []string{planted}},
		{"JSON of others", `{"t":"say \"` + planted + `\""}`, `{"t":"say \"***\""}`, []string{planted}},
		{"Go", strconv.Quote("\t" + planted), `"\t***"`, []string{planted}},
		{"shell", "echo '" + strings.ReplaceAll(planted, "'", `'\''`) + "'", "echo '***'", []string{planted}},
		{"HTML", "<b>" + html.EscapeString(planted) + "</b>", "<b>***</b>", []string{planted}},
		{"XML", "<b>" + asXML.String() + "</b>", "<b>***</b>", []string{planted}},
		{"XML with names", "<b>" + xmlNamed.Replace(planted) + "</b>", "<b>***</b>", []string{planted}},
		{"dollars", "x = " + strings.ReplaceAll(planted, "$", "$$"), "x = ***", []string{planted}},
		{"too short to hide", "abc abcde", "abc abcde", []string{"abcde"}},
		{"short is not split", "abcdefghijklmno abcdef\nghijklmno", "*** abcdef\nghijklmno", []string{"abcdefghijklmno"}},
		{"overlapping", "12345678901234", "***", []string{"12345678", "567890", "789012", "901234"}},
		{"adjacent", "abcdefuvwxyz", "******", []string{"abcdef", "uvwxyz"}},
		{"one inside another", "xabcdefghijx", "x***x", []string{"abcdefghij", "cdefgh"}},
		{"the longer of two", "abcdefghij abcdefgh", "*** ***gh", []string{"abcdef", "abcdefghij"}},
		{"repeating itself", "aaaaaaaaa", "***", []string{"aaaaaa"}},
		{"repeating itself in turns", "abababab-ab", "***-ab", []string{"ababab"}},
		{"one with a line end and one without", "abc\ndef abcdef", "*** ***", []string{"abcdef", "abc\ndef"}},
		{"secret like the replacement", "******", "***", []string{"******"}},
		{"space around a secret", "[" + token + "]", "[***]", []string{" \t" + token + "\r\n"}},
		{"multibyte runes", "é" + planted + "日本", "é***日本", []string{planted}},
		{"bytes that are no text", "\xff\xfe" + token + "\xff\x00", "\xff\xfe***\xff\x00", []string{token}},
		{"a rune cut in two", "パスワード\xe3", "***\xe3", []string{"パスワード"}},

		{"lines of a secret", "-- second line --", "-- *** --", []string{"first line\nsecond line\n"}},
		{"many lines", "key:\n" + key + "end", "key:\n***\nend", []string{key}},
		{"many lines with carriage returns", "key:\r\n" + strings.ReplaceAll(key, "\n", "\r\n") + "end", "key:\r\n***\r\nend", []string{key}},
		{"many lines without ends", strings.ReplaceAll(key, "\n", ""), "***", []string{key}},
		{"many lines, indented", strings.ReplaceAll("key: |\n"+key, "\n", "\n    "), "key: |\n    ***\n    ", []string{key}},
		{"many lines in JSON", strings.ReplaceAll(key, "\n", `\n`), `***\n`, []string{key}},
		{"many lines behind a prompt", strings.ReplaceAll(key, "\n", "\n> "), strings.Repeat("***\n> ", 5), []string{key}},

		{"base64 in lines", wrap(b64([]byte(key)), 76, "\n"), "***Cg==\n", []string{key}},
		{"base64 in lines, lines counted", wrap(b64([]byte("user:"+token+token)), 64, "\r\n"), "dXNlcjp***g==\r\n", []string{token + token}},
		{"hex in lines", wrap(hex.EncodeToString([]byte(token)), 60, "\n"), "***\n", []string{token}},
		{"wrapped and indented", token[:20] + "\n\t    " + token[20:], "***", []string{token}},
		{"colours", "\x1b[1;31m" + token[:5] + "\x1b[0m" + token[5:] + "\x1b[0m", "\x1b[1;31m***\x1b[0m", []string{token}},
		{"grep", "\x1b[01;31m\x1b[K" + token[:9] + "\x1b[m\x1b[K" + token[9:], "\x1b[01;31m\x1b[K***", []string{token}},
		{"space within a line stays", token[:20] + " " + token[20:], token[:20] + " " + token[20:], []string{token}},
		{"other escapes stay", token[:20] + "\x1b[2J" + token[20:], token[:20] + "\x1b[2J" + token[20:], []string{token}},
		{"escape that never ends", "\x1b[" + strings.Repeat("1;", 40) + token, "\x1b[" + strings.Repeat("1;", 40) + "***", []string{token}},
		{"an escape and the end", token + "\x1b[3", "***\x1b[3", []string{token}},

		{"known shape", "token ghp_" + strings.Repeat("A1", 18) + ".", "token ***.", nil},
		{"fine-grained", "github_pat_" + strings.Repeat("A1", 11) + "_" + strings.Repeat("b2", 29), "***", nil},
		{"GitLab", "glpat-" + strings.Repeat("x-", 10) + "\n", "***\n", nil},
		{"Bitbucket", "ATBB" + strings.Repeat("aB3", 10) + ":", "***:", nil},
		{"access key id", "AKIAIOSFODNN7EXAMPLE", "***", nil},
		{"shape at the end of a line", "ghp_" + strings.Repeat("A1", 18) + "\nNext line", "***\nNext line", nil},
		{"shape too short", "ghp_short AKIA", "ghp_short AKIA", nil},
		{"shape too long", "ghp_" + strings.Repeat("x", 600), "***" + strings.Repeat("x", 604-maxShape), nil},
		{"shape in a shape", "ASIAKIAIOSFODNN7EXAMPLE", "***", nil},
		{"shape and secret", "ghp_" + strings.Repeat("A1", 18) + "=secret-behind", "***", []string{"A1=secret-behind"}},
	} {
		for _, n := range []int{1 << 20, 17, 3, 1} {
			if got := through(c.in, n, c.secrets...); got != c.want {
				t.Errorf("%s, in pieces of %d:\n got %q\nwant %q\n  of %q", c.name, n, got, c.want, c.in)
			}
		}
		if got := naive(c.in, c.secrets...); got != c.want {
			t.Errorf("%s: the slow way gives %q, want %q", c.name, got, c.want)
		}
		if got := String(c.in, c.secrets...); got != c.want {
			t.Errorf("%s: String gives %q, want %q", c.name, got, c.want)
		}
	}
}

// Whatever stands around a secret, its part of the base64 is replaced: at most
// one character on each side mixes with it.
func TestWriter_Base64AtEachAlignment(t *testing.T) {
	t.Parallel()
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 4 {
			for after := range 4 {
				in := enc.EncodeToString([]byte("xyz!"[:before] + planted + "\n!?."[:after]))
				got := through(in, 5, planted)
				if left := strings.TrimRight(strings.Replace(got, replacement, "", 1), "="); len(left) > (before*8+5)/6+(after*8+5)/6+1 || !strings.Contains(got, replacement) {
					t.Errorf("%d bytes before, %d behind: %q of %q", before, after, got, in)
				}
			}
		}
	}
}

// piece draws a part of a stream: of secrets, of their variants, or between.
func piece(t *rapid.T, secrets []string) string {
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0, 1:
		return rapid.SampledFrom(secrets).Draw(t, "secret")
	case 2, 3:
		return rapid.SampledFrom(variants(rapid.SampledFrom(secrets).Draw(t, "of"))).Draw(t, "variant")
	case 4:
		s := rapid.SampledFrom(secrets).Draw(t, "cut")
		return s[:rapid.IntRange(0, len(s)).Draw(t, "at")]
	case 5: // split
		s := rapid.SampledFrom(variants(rapid.SampledFrom(secrets).Draw(t, "of"))).Draw(t, "split")
		n := rapid.IntRange(0, len(s)).Draw(t, "at")
		return s[:n] + rapid.SampledFrom([]string{"\n", "\r\n", "\n  ", "\x1b[0m", "\x1b[m\x1b[K", "\x1b[31?"}).Draw(t, "by") + s[n:]
	case 6:
		return rapid.SampledFrom([]string{"ghp_", "AKIA", "AKIAIOSFODNN7EXAMPLE", "ghp_aaaaaaaaaaaaaaaaaaaaa", "github_pat_", "\x1b[?"}).Draw(t, "shape")
	}
	return rapid.StringMatching(`[ab \n]{0,5}`).Draw(t, "text")
}

var someSecrets = rapid.SliceOfN(rapid.OneOf(
	rapid.StringMatching(`[ab]{6,10}`),
	rapid.StringMatching(`[ab]{15,24}`),
	rapid.StringMatching(`[ab\n]{6,30}[ab]{3}`),
	rapid.StringMatching(`[a-c'"<$/ é]{6,20}`),
	rapid.StringMatching(`[a-zA-Z0-9]{40}`),
).Filter(func(s string) bool { return len(variants(s)) > 0 }), 1, 4) // not all spaces

// However the stream is cut, what comes out is what the slow way gives, and
// the secrets are not in it.
func TestWriter_AnyPieces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secrets := someSecrets.Draw(t, "secrets")
		var text string
		for range rapid.IntRange(1, 8).Draw(t, "pieces") {
			text += piece(t, secrets)
		}
		want := naive(text, secrets...)
		var b strings.Builder
		r := New(&b)
		for _, s := range secrets {
			r.Add(s)
		}
		for rest := text; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "cut")
			if _, err := r.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); got != want {
			t.Fatalf("%q with %q:\n got %q\nwant %q", text, secrets, got, want)
		}
		check(t, text, b.String(), secrets)
	})
}

// Flushed at any time, no secret comes out either: a split one keeps at most
// its first few bytes.
func TestWriter_AnyFlushes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secrets := someSecrets.Draw(t, "secrets")
		var text string
		for range rapid.IntRange(1, 6).Draw(t, "pieces") {
			text += piece(t, secrets)
		}
		var b strings.Builder
		r := New(&b)
		for _, s := range secrets {
			r.Add(s)
		}
		for i := range len(text) {
			_, _ = r.Write([]byte{text[i]})
			if rapid.Bool().Draw(t, "flush") {
				_ = r.Flush()
			}
		}
		_ = r.Close()
		check(t, text, b.String(), secrets)
		if !strings.ContainsAny(text, "\r\n\x1b") && b.String() != naive(text, secrets...) {
			t.Fatalf("%q with %q gives %q, want %q", text, secrets, b.String(), naive(text, secrets...))
		}
	})
}

// check makes sure that no secret is in got and that nothing else is missing.
func check(t *rapid.T, text, got string, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		if s = strings.Trim(s, " \t\r\n"); len(strings.ReplaceAll(s, "\n", "")) >= minLength && strings.Contains(got, s) {
			t.Fatalf("secret %q in %q of %q", s, got, text)
		}
	}
	rest := text
	for _, c := range []byte(strings.ReplaceAll(got, replacement, "")) {
		i := strings.IndexByte(rest, c)
		if i < 0 {
			t.Fatalf("%q is not what is left of %q", got, text)
		}
		rest = rest[i+1:]
	}
	if !strings.Contains(got, replacement) && got != text {
		t.Fatalf("%q came out of %q", got, text)
	}
}

func TestWriter_FlushHoldsOnlyBeginnings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, out, rest, want string }{
		{"a prompt", "waiting for input: ", "waiting for input: ", "x", "waiting for input: x"},
		{"a whole line", "line\n", "line\n", "next", "line\nnext"},
		{"a beginning", "key=" + token[:9], "key=", token[9:] + ".", "key=***."},
		{"one byte", "key=" + token[:1], "key=", token[1:] + ".", "key=***."},
		{"one byte, of something else", "key=" + token[:1], "key=", "wo", "key=two"},
		{"a beginning, split", token[:9] + "\n", "", token[9:], "***"},
		{"a short beginning, split", "put\n", "put\n", token[1:], "put\n***"},
		{"a beginning of what is not split", "short-secr\n", "short-secr\n", "et", "short-secr\net"},
		{"a short beginning of nothing", "put\n", "put\n", "up", "put\nup"},
		{"a shape that goes on", "x ghp_" + strings.Repeat("A", 30), "x ", "AA\n", "x ***\n"},
		{"a shape and the end of its line", "x ghp_" + strings.Repeat("A", 30) + "\n", "x ***\n", "AA\n", "x ***\nAA\n"},
		{"the beginning of a shape", "x gh", "x ", "ost", "x ghost"},
		{"half an escape", "red\x1b[3", "red", "1m!", "red\x1b[31m!"},
		{"half an escape and a line", "red\n\x1b[3", "red\n", "1m!", "red\n\x1b[31m!"},
	} {
		var b strings.Builder
		r := New(&b)
		r.Add(token)
		r.Add("short-secret")
		_, _ = r.Write([]byte(c.in))
		for range 2 {
			if err := r.Flush(); err != nil {
				t.Fatal(err)
			}
			if got := b.String(); got != c.out {
				t.Errorf("%s: after Flush: %q, want %q", c.name, got, c.out)
			}
		}
		_, _ = r.Write([]byte(c.rest))
		_ = r.Close()
		if got := b.String(); got != c.want {
			t.Errorf("%s: at the end: %q, want %q", c.name, got, c.want)
		}
	}
}

// A secret within what Flush lets go of is replaced all the same.
func TestWriter_FlushFindsShortOnes(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	r := New(&b)
	r.Add("abcdefg0123456789")
	r.Add("bcdefg")
	r.Add("klmnopq0123456789")
	r.Add("klmnop")
	for _, s := range []string{"abcdefg\n", ".", "klmnop\n", "."} {
		_, _ = r.Write([]byte(s))
		_ = r.Flush()
	}
	_ = r.Close()
	if got, want := b.String(), "a***\n.***\n."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What Flush let go of comes out once, however it is decided on.
func TestWriter_FlushLetsGoOnce(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	r := New(&b)
	r.Add("put-0123456789-long")
	r.Add("to-0123456789-long")
	for _, s := range []string{"put\n", "o", "nly\n"} {
		_, _ = r.Write([]byte(s))
		_ = r.Flush()
	}
	_, _ = r.Write([]byte("-put-01\n"))
	_ = r.Flush()
	r.Add("put-01") // too late for this one
	_, _ = r.Write([]byte("put-01.\n"))
	_ = r.Close()
	if got, want := b.String(), "put\nonly\n-put-01\n***.\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWriter_AddCountsFromThere(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	r := New(&b)
	_, _ = io.WriteString(r, "before "+token+" ")
	r.Add(token)
	_, _ = io.WriteString(r, "behind "+token+"\n")
	_ = r.Close()
	if got, want := b.String(), "before "+token+" behind ***\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWriter_LargeSecret(t *testing.T) {
	t.Parallel()
	large := make([]byte, 16<<10)
	for i := range large {
		large[i] = "abcdefghijklmnop"[rand.N(16)]
	}
	text := strings.Repeat("some output\n", 10) + string(large) + "\n" + base64.StdEncoding.EncodeToString(append([]byte("u:"), large...)) + "\n"
	for _, n := range []int{1, 1000, 1 << 20} {
		got := through(text, n, string(large))
		if strings.Count(got, replacement) != 2 || len(got) > 150 {
			t.Errorf("in pieces of %d: %d bytes came out: %.200q", n, len(got), got)
		}
	}
}

// Two streams written at once, and secrets added meanwhile, lose nothing.
func TestWriter_Concurrent(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	r := New(&b)
	r.Add(token)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 200 {
				fmt.Fprintf(r, "[%d-%d] %s\n", i, j, token)
				if j%10 == 0 {
					r.Add(fmt.Sprintf("another-secret-%d-%d", i, j))
					_ = r.Flush()
				}
			}
		})
	}
	wg.Wait()
	_ = r.Close()
	if got := b.String(); strings.Count(got, "] ***\n") != 800 || strings.Contains(got, token) {
		t.Errorf("%d of 800 lines came out", strings.Count(got, "] ***\n"))
	}
}

// full fails once.
type full struct {
	strings.Builder
	failed bool
}

func (f *full) Write(p []byte) (int, error) {
	if !f.failed {
		f.failed = true
		return 0, errors.New("no space left")
	}
	return f.Builder.Write(p)
}

func TestWriter_GoesOnAfterAnError(t *testing.T) {
	t.Parallel()
	var w full
	r := New(&w)
	r.Add(token)
	if n, err := r.Write([]byte("lost " + token + "\n.")); err == nil || n != len(token)+7 {
		t.Errorf("Write to a full disk: %d, %v", n, err)
	}
	if _, err := r.Write([]byte("kept " + token + "\n.")); err != nil {
		t.Error(err)
	}
	_ = r.Close()
	if got, want := w.String(), "kept ***\n."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzWriter(f *testing.F) {
	f.Add("some text with secret99 in it", "secret99", "another", []byte{3})
	f.Add("AKIAAKIAIOSFODNN7EXAMPLE", "AKIAIO", "", []byte{1})
	f.Add("c2VjcmV0LW51bWJl\r\nci05OTk5\x1b[0m OTk5", "secret-number-9999", "999999", []byte{5, 0x80})
	f.Add("one\n  two\nthree", "one\ntwo\nthree", "\x1b[31mabcdefg", []byte{0x81})
	f.Add("\x1b[\x1b[3\x1b[31;m", "\x1b[31m\x1b[31m", "abc\n\n\nabc", []byte{})
	// Each byte of cuts is the length of a piece; with the high bit, a Flush
	// follows it.
	f.Fuzz(func(t *testing.T, text, secret, other string, cuts []byte) {
		if len(text) > 4096 || len(secret) > 256 || len(other) > 256 {
			return
		}
		want := naive(text, secret, other)
		if got := String(text, secret, other); got != want {
			t.Errorf("%q without %q, %q:\n got %q\nwant %q", text, secret, other, got, want)
		}
		var b strings.Builder
		r := New(&b)
		r.Add(secret)
		r.Add(other)
		flushed := false
		rest := text
		for i := 0; len(rest) > 0; i++ {
			n := len(rest)
			if len(cuts) > 0 {
				c := cuts[i%len(cuts)]
				n = min(n, 1+int(c&0x7f))
				_, _ = io.WriteString(r, rest[:n])
				if c&0x80 != 0 {
					_ = r.Flush()
					flushed = true
				}
			} else {
				_, _ = io.WriteString(r, rest)
			}
			rest = rest[n:]
		}
		_ = r.Close()
		got := b.String()
		if (!flushed || !strings.ContainsAny(text, "\r\n\x1b")) && got != want {
			t.Errorf("%q without %q, %q in pieces %v:\n got %q\nwant %q", text, secret, other, cuts, got, want)
		}
		for _, s := range []string{secret, other} {
			if s = strings.Trim(s, " \t\r\n"); len(s) >= minLength && !strings.ContainsAny(s+text, "*\r\n\x1b") && strings.Contains(got, s) {
				t.Errorf("%q shows in %q", s, got)
			}
		}
	})
}

// logLines are n bytes of a build's output.
func logLines(n int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "2026/11/23 10:%02d:%02d [INFO] compiling module-%d/src/main/java/org/example/Service%d.java (%d ms)\n",
			rnd.IntN(60), rnd.IntN(60), rnd.IntN(40), rnd.IntN(500), rnd.IntN(900))
	}
	return b.Bytes()[:n]
}

func BenchmarkWriter(b *testing.B) {
	text := logLines(1 << 20)
	colour := bytes.ReplaceAll(text, []byte("[INFO]"), []byte("[\x1b[1;34mINFO\x1b[m]"))
	for _, bm := range []struct {
		name    string
		text    []byte
		secrets int
		piece   int
	}{
		{"1", text, 1, 32 << 10}, {"10", text, 10, 32 << 10}, {"100", text, 100, 32 << 10},
		{"100/pieces=1009", text, 100, 1009}, {"100/pieces=98", text, 100, 98}, {"100/pieces=17", text, 100, 17},
		{"100/colours", colour, 100, 32 << 10}, {"100/CRLF", bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), 100, 32 << 10},
	} {
		b.Run(bm.name, func(b *testing.B) {
			rnd := rand.New(rand.NewPCG(3, 4))
			r := New(io.Discard)
			for range bm.secrets {
				s := make([]byte, 40)
				for i := range s {
					s[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"[rnd.IntN(62)]
				}
				r.Add(string(s))
			}
			b.SetBytes(int64(len(bm.text)))
			for b.Loop() {
				for p := range slices.Chunk(bm.text, bm.piece) {
					_, _ = r.Write(p)
				}
			}
		})
	}
}

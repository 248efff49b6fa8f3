// Package redact takes secrets out of a stream of output.
//
// A Writer knows secrets and passes on what it is given with each of them
// replaced by ***: as it is and in the encodings that tools print by accident
// (base64 at each alignment, hex, URL, JSON, shell and XML quoting), wherever
// the stream is cut into pieces. It also replaces what looks like an access
// token of the known providers, for tokens that nobody told it about.
//
// It protects against accidents. Who wants to get a secret past it can: by
// encoding it twice, for example.
package redact

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"html"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	replacement = "***"
	// minLength is the shortest text that is replaced; shorter ones would
	// replace words of ordinary output.
	minLength = 6
	// maxRun bounds the length of what looks like a token.
	maxRun = 512
)

// A prefix starts what looks like a token; at least min characters of its
// alphabet follow.
type prefix struct {
	text string
	min  int
	in   func(byte) bool
}

func word(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

func upper(c byte) bool { return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }

// prefixes are those that the providers document for their tokens.
var prefixes = []prefix{
	{"ghp_", 20, word}, {"gho_", 20, word}, {"ghu_", 20, word}, {"ghs_", 20, word}, {"ghr_", 20, word}, {"github_pat_", 20, word},
	{"glpat-", 16, word}, {"glrt-", 16, word}, {"ATBB", 24, word}, {"ATATT", 24, word}, {"ATCTT", 24, word},
	{"AKIA", 16, upper}, {"ASIA", 16, upper},
}

// A Writer redacts what is written to it. It is safe for concurrent use.
type Writer struct {
	mu      sync.Mutex
	w       io.Writer
	needles map[uint32][]string // by their first four bytes, longest first
	nets    map[uint32][]prefix
	filter  [1 << 10]uint64 // which hashes of four bytes begin a needle or a prefix
	longest int
	known   map[string]bool
	buf     []byte // not yet passed on
	out     []byte
}

// New returns a Writer that passes on to w.
func New(w io.Writer) *Writer {
	r := &Writer{w: w, needles: map[uint32][]string{}, nets: map[uint32][]prefix{}, known: map[string]bool{}, longest: 4}
	for _, p := range prefixes {
		head := first(p.text)
		r.nets[head] = append(r.nets[head], p)
		r.mark(head)
	}
	return r
}

func first[T string | []byte](s T) uint32 {
	return binary.LittleEndian.Uint32([]byte(s[:4]))
}

// hash spreads four bytes over the filter's 2^16 bits.
func hash(head uint32) uint32 { return head * 2654435761 >> 16 }

func (r *Writer) mark(head uint32) {
	h := hash(head)
	r.filter[h>>6] |= 1 << (h & 63)
}

// Add replaces a secret and its encodings from here on. A secret of fewer
// than six bytes is not replaced.
func (r *Writer) Add(secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range variants(secret) {
		if r.known[n] {
			continue
		}
		r.known[n] = true
		head := first(n)
		r.needles[head] = append(r.needles[head], n)
		slices.SortFunc(r.needles[head], func(a, b string) int { return len(b) - len(a) })
		r.mark(head)
		r.longest = max(r.longest, len(n))
	}
}

// variants lists the forms of a secret that are replaced.
func variants(secret string) []string {
	texts := []string{secret}
	if strings.Contains(secret, "\n") {
		unix := strings.ReplaceAll(secret, "\r\n", "\n")
		texts = append(texts, unix, strings.ReplaceAll(unix, "\n", "\r\n"), strings.ReplaceAll(unix, "\n", ""))
		texts = append(texts, strings.Split(unix, "\n")...)
	}
	var all []string
	for _, s := range texts {
		if len(s) < minLength {
			continue
		}
		all = append(all, s, hex.EncodeToString([]byte(s)), strings.ToUpper(hex.EncodeToString([]byte(s))),
			url.QueryEscape(s), url.PathEscape(s), strings.ReplaceAll(s, "'", `'\''`), html.EscapeString(s), strings.ReplaceAll(s, "$", "$$"))
		if j, err := json.Marshal(s); err == nil {
			all = append(all, strings.Trim(string(j), `"`))
		}
		q := strconv.Quote(s)
		all = append(all, q[1:len(q)-1])
		all = append(all, base64Forms(s)...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(s string) bool { return len(s) < minLength })
}

// base64Forms are the characters that a secret alone determines when it is
// encoded at each of the three alignments within a longer text.
func base64Forms(s string) (out []string) {
	for shift := range 3 {
		padded := append(make([]byte, shift), s...)
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString(padded)
			from := (shift*8 + 5) / 6 // the first character with none of the padding's bits
			to := len(padded) * 8 / 6 // the last one that is whole
			out = append(out, text[from:to])
		}
	}
	return out
}

// Write takes output. Some of its end may be held back until more comes, or
// Flush.
func (r *Writer) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf = append(r.buf, p...)
	if err := r.pass(len(r.buf)-r.longest+1, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush passes on what is held back, but for an end that may be the beginning
// of a secret.
func (r *Writer) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	limit := len(r.buf)
	for i := max(0, len(r.buf)-r.longest+1); i < len(r.buf); i++ {
		if r.begins(r.buf[i:]) {
			limit = i
			break
		}
	}
	return r.pass(limit, false)
}

// begins reports whether tail is the beginning of a needle or a prefix.
func (r *Writer) begins(tail []byte) bool {
	if len(tail) >= 4 {
		head := first(tail)
		for _, n := range r.needles[head] {
			if len(n) > len(tail) && n[:len(tail)] == string(tail) {
				return true
			}
		}
		for _, p := range r.nets[head] {
			if strings.HasPrefix(p.text, string(tail)) {
				return true
			}
		}
		return false
	}
	for n := range r.known {
		if strings.HasPrefix(n, string(tail)) {
			return true
		}
	}
	for _, p := range prefixes {
		if strings.HasPrefix(p.text, string(tail)) {
			return true
		}
	}
	return false
}

// Close passes on everything that is held back.
func (r *Writer) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pass(len(r.buf), true)
}

// pass passes on what begins before limit; end is the end of the stream.
func (r *Writer) pass(limit int, end bool) error {
	if limit <= 0 {
		return nil
	}
	out, i, plain := r.out[:0], 0, 0
	for i < limit && i+4 <= len(r.buf) {
		h := hash(first(r.buf[i:]))
		if r.filter[h>>6]&(1<<(h&63)) == 0 {
			i++
			continue
		}
		n, wait := r.match(i, end)
		if wait {
			limit = i
			break
		}
		if n == 0 {
			i++
			continue
		}
		// Secrets may overlap: the end of one may begin the next, of which
		// perhaps not all is here yet.
		for j := i + 1; j < i+n && !wait; j++ {
			if !end && len(r.buf)-j < r.longest && r.begins(r.buf[j:]) {
				wait = true
			} else if j+4 <= len(r.buf) {
				var m int
				if m, wait = r.match(j, end); j+m > i+n {
					n = j + m - i
				}
			}
		}
		if wait {
			limit = i
			break
		}
		out = append(out, r.buf[plain:i]...)
		out = append(out, replacement...)
		i += n
		plain = i
	}
	out = append(out, r.buf[plain:min(max(limit, plain), len(r.buf))]...)
	r.buf = append(r.buf[:0], r.buf[min(max(limit, plain), len(r.buf)):]...)
	r.out = out
	if len(out) == 0 {
		return nil
	}
	_, err := r.w.Write(out)
	return err
}

// match returns the length of the secret that begins at i, or 0. wait says
// that more of the stream is needed to tell.
func (r *Writer) match(i int, end bool) (n int, wait bool) {
	head := first(r.buf[i:])
	for _, needle := range r.needles[head] {
		if len(r.buf)-i >= len(needle) && string(r.buf[i:i+len(needle)]) == needle {
			n = len(needle)
			break
		}
	}
	for _, p := range r.nets[head] {
		if len(r.buf)-i < len(p.text) || string(r.buf[i:i+len(p.text)]) != p.text {
			continue
		}
		j := i + len(p.text)
		for j < len(r.buf) && j-i < maxRun && p.in(r.buf[j]) {
			j++
		}
		if j == len(r.buf) && j-i < maxRun && !end {
			return 0, true // the token may go on
		}
		if j-i-len(p.text) >= p.min {
			n = max(n, j-i)
		}
	}
	return n, false
}

// String redacts one text that is whole.
func String(s string, secrets ...string) string {
	var b strings.Builder
	r := New(&b)
	for _, secret := range secrets {
		r.Add(secret)
	}
	// A strings.Builder takes everything.
	_, _ = r.Write([]byte(s))
	_ = r.Close()
	return b.String()
}

// Package redact takes secrets out of a stream of output.
//
// A Writer knows secrets and passes on what it is given with each of them
// replaced by ***: as it is and in the forms that tools print by accident
// (variants.go lists them), wherever the stream is cut into pieces. It also
// finds what is split by the ends of lines or by colours, as base64, PEM
// tools and terminals do, and it replaces what looks like an access token of
// the known providers, for tokens that nobody told it about. String does the
// same to one text, such as an error message.
//
// It protects against accidents. Who wants to get a secret past it can: by
// encoding it twice, by reversing it, by printing it letter by letter. A
// secret of fewer than six bytes is not replaced, and neither is one that
// begins or ends inside an escape sequence of a terminal.
//
// # How it finds them
//
// The stream is searched in a folded view: without line ends, the spaces that
// begin a line, and the escape sequences for colours. Places in the view are
// mapped back to the stream. A secret of 16 bytes or more may lie across what
// was left out; a shorter one must not, since words that happen to stand on
// two lines are not a secret.
//
// A hash of each four bytes of the view is looked up in a bitmap, and only
// where that says so are they compared with secrets. So speed does not depend
// on how many secrets there are, and adding one costs little at any time.
//
// Secrets that overlap are replaced by one ***. What begins at a byte is
// decided as soon as no secret can still begin there; only the end of the
// stream that may be the beginning of one is held back.
package redact

import (
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"sync"
)

const (
	replacement = "***"
	// minLength is the shortest text that is replaced, in bytes; shorter ones
	// would replace words of ordinary output.
	minLength = 6
	// minSplit is the shortest text that is replaced also when it is split.
	minSplit = 16
	// minHeld is the shortest beginning of a secret, in bytes, for which Flush
	// holds back the end of a line. Nearly every letter begins the encoding of
	// some secret, so without it whole lines would wait for the next one.
	minHeld = 8
)

// A needle is what is searched for in the view.
type needle struct {
	text  string
	split bool // it may lie across what was left out of the view
}

// A Writer redacts what is written to it. It is safe for concurrent use.
type Writer struct {
	mu      sync.Mutex
	w       io.Writer
	needles map[uint32][]needle // by their first four bytes, longest first
	shapes  map[uint32][]shape  // likewise
	heads   map[string]bool     // their first one, two and three bytes
	filter  [1 << 10]uint64     // which hashes of four bytes begin any of them

	fold   folder // of the stream from its first byte that is not decided on
	next   int    // in the view; no secret that begins before it is still to be found
	passed int    // in the stream; what is before it was passed on or replaced
	hidden int    // in the stream; where the secret ends that was replaced last
	out    []byte // what one call passes on
}

// New returns a Writer that passes on to w.
func New(w io.Writer) *Writer {
	r := &Writer{w: w, needles: map[uint32][]needle{}, shapes: map[uint32][]shape{}, heads: map[string]bool{}}
	r.fold.lineStart = true
	for _, s := range shapes {
		h := head(s.prefix)
		r.shapes[h] = append(r.shapes[h], s)
		r.mark(s.prefix)
	}
	return r
}

func head[T string | []byte](s T) uint32 { return binary.LittleEndian.Uint32([]byte(s[:4])) }

// hash spreads four bytes over the filter's 2^16 bits. The factor is the
// golden ratio's, as in Knuth's multiplicative hashing.
func hash(head uint32) uint32 { return head * 2654435761 >> 16 }

// mark enters a beginning into the filter and the heads.
func (r *Writer) mark(text string) {
	h := hash(head(text))
	r.filter[h>>6] |= 1 << (h & 63)
	for n := 1; n < 4; n++ {
		r.heads[text[:n]] = true
	}
}

// Add replaces a secret and its variants from here on; what was passed on
// stays as it is. Space and line ends around a secret are no part of it. A
// secret of fewer than six bytes is not replaced.
func (r *Writer) Add(secret string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range variants(secret) {
		f := folder{raw: []byte(v)}
		f.more(true)
		if len(f.view) < minLength {
			continue
		}
		n := needle{string(f.view), len(f.view) >= minSplit || len(f.view) < len(v)}
		h := head(n.text)
		list := r.needles[h]
		if i := slices.IndexFunc(list, func(o needle) bool { return o.text == n.text }); i >= 0 {
			list[i].split = list[i].split || n.split
			continue
		}
		list = append(list, n)
		slices.SortFunc(list, func(a, b needle) int { return len(b.text) - len(a.text) })
		r.needles[h] = list
		r.mark(n.text)
	}
}

// Write takes output. An end of it that may begin a secret is held back until
// more comes. All of p counts as written also when passing on fails: what
// could not be passed on is dropped.
func (r *Writer) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fold.raw = append(r.fold.raw, p...)
	return len(p), r.pass(false)
}

// Flush passes on what is held back, but for an end that is the beginning of
// a secret. Call it on a timer to let readers see output that waits for more,
// such as a prompt.
func (r *Writer) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	// The end of a line that could be the first few bytes of a split secret
	// goes out and stays here: if it was one, its rest will be replaced.
	f := &r.fold
	to := f.pos
	for i := r.next; i < len(f.view); i++ {
		n, wait := r.match(i, false)
		if n > 0 || wait && (f.whole(i) || len(f.view)-i >= minHeld) {
			to = f.place(i)
			break
		}
	}
	r.out = r.out[:0]
	r.emit(to)
	return r.send()
}

// Close passes on everything that is held back. It does not close the Writer
// below.
func (r *Writer) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pass(true)
}

// pass decides on as much of the stream as it can, and passes that on. end
// says that nothing more comes.
func (r *Writer) pass(end bool) error {
	f := &r.fold
	f.more(end)
	r.out = r.out[:0]
	for i := r.next; ; i++ {
		i = r.candidate(i)
		r.next = i
		if i >= len(f.view) {
			break
		}
		n, wait := r.match(i, end)
		if wait {
			break
		}
		if n > 0 {
			r.hide(f.place(i), f.place(i+n-1)+1)
		}
	}
	undecided := f.pos
	if r.next < len(f.view) {
		undecided = f.place(r.next)
	}
	r.emit(undecided)
	r.forget(undecided)
	return r.send()
}

// candidate returns the first place in view from i on where a needle may
// begin. The last three are always such places.
func (r *Writer) candidate(i int) int {
	view := r.fold.view
	for ; i+8 <= len(view); i += 4 {
		x := binary.LittleEndian.Uint64(view[i:])
		a, b, c, d := hash(uint32(x)), hash(uint32(x>>8)), hash(uint32(x>>16)), hash(uint32(x>>24))
		if (r.filter[a>>6]>>(a&63)|r.filter[b>>6]>>(b&63)|r.filter[c>>6]>>(c&63)|r.filter[d>>6]>>(d&63))&1 != 0 {
			break
		}
	}
	for ; i+4 <= len(view); i++ {
		if h := hash(head(view[i:])); r.filter[h>>6]>>(h&63)&1 != 0 {
			break
		}
	}
	return i
}

// match returns the length in the view of the longest secret that begins at
// i, or 0. wait says that a longer one may begin there whose end has not come
// yet.
func (r *Writer) match(i int, end bool) (n int, wait bool) {
	f := &r.fold
	tail := f.view[i:]
	if len(tail) < 4 {
		return 0, !end && r.heads[string(tail)]
	}
	h := head(tail)
	if k := hash(h); r.filter[k>>6]>>(k&63)&1 == 0 {
		return 0, false
	}
	for _, o := range r.needles[h] {
		switch {
		case len(o.text) > len(tail):
			if !end && o.text[:len(tail)] == string(tail) && (o.split || f.whole(i)) {
				wait = true
			}
		case n == 0 && string(tail[:len(o.text)]) == o.text && (o.split || f.adjacent(i, i+len(o.text))):
			n = len(o.text)
		}
	}
	for _, s := range r.shapes[h] {
		m, more := s.match(f.line(i))
		wait = wait || more && !end && f.whole(i)
		n = max(n, m)
	}
	return n, wait
}

// hide replaces what is between two places of the stream.
func (r *Writer) hide(from, to int) {
	if from >= r.hidden && to > r.passed {
		r.emit(from)
		r.out = append(r.out, replacement...)
	}
	r.hidden = max(r.hidden, to)
}

// emit adds the stream up to a place to what is passed on, but for what is
// hidden.
func (r *Writer) emit(to int) {
	r.passed = max(r.passed, min(r.hidden, to))
	if to > r.passed {
		r.out = append(r.out, r.fold.raw[r.passed:to]...)
		r.passed = to
	}
}

// forget drops the stream up to a place, once that is half of what is there:
// so a byte is moved once on average, however the stream is cut.
func (r *Writer) forget(to int) {
	if to < len(r.fold.raw) && to < len(r.fold.raw)/2 {
		return
	}
	r.fold.forget(to, r.next)
	r.next = 0
	r.passed = max(0, r.passed-to)
	r.hidden = max(0, r.hidden-to)
}

// send writes what is passed on.
func (r *Writer) send() error {
	if len(r.out) == 0 {
		return nil
	}
	_, err := r.w.Write(r.out)
	return err
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

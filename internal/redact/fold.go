package redact

import (
	"bytes"
	"slices"
	"sort"
)

// maxEscape bounds an escape sequence in bytes; what is longer is text.
const maxEscape = 32

// A folder keeps a part of the stream and its folded view.
type folder struct {
	raw  []byte // of the stream
	pos  int    // in raw; what is before it is in the view
	view []byte // raw without line ends, spaces that begin a line, and colours
	runs []run  // which parts of raw the view consists of, in order

	lineStart bool // pos is at the start of a line
}

// A run is a part of the view that is one part of the stream.
type run struct{ view, raw int }

// more extends the view over what was added to raw. An escape sequence that
// is not complete waits, unless the stream ends here.
func (f *folder) more(end bool) {
	// Where the next byte of each kind is. Searching for them is much faster
	// than looking at each byte, as most runs are long.
	next := [...]struct {
		c  byte
		at int
	}{{'\n', -1}, {'\r', -1}, {'\x1b', -1}}
	for f.pos < len(f.raw) {
		switch c := f.raw[f.pos]; {
		case c == '\n' || c == '\r':
			f.lineStart = true
			f.pos++
			continue
		case f.lineStart && (c == ' ' || c == '\t'):
			f.pos++
			continue
		case c == '\x1b':
			n, more := escape(f.raw[f.pos:])
			if more && !end {
				return
			}
			if n > 0 {
				f.pos += n
				continue
			}
		}
		to := len(f.raw)
		for i := range next {
			n := &next[i]
			if n.at <= f.pos {
				if n.at = bytes.IndexByte(f.raw[f.pos+1:], n.c); n.at < 0 {
					n.at = len(f.raw)
				} else {
					n.at += f.pos + 1
				}
			}
			to = min(to, n.at)
		}
		if len(f.view) == 0 || f.place(len(f.view)-1)+1 != f.pos {
			f.runs = append(f.runs, run{len(f.view), f.pos})
		}
		f.view = append(f.view, f.raw[f.pos:to]...)
		f.pos = to
		f.lineStart = false
	}
}

// escape returns the length of the escape sequence that text begins with, if
// it is one for colours or, as grep prints beside them, for erasing the rest
// of the line. more says that it is not complete.
func escape(text []byte) (n int, more bool) {
	for i, c := range text[:min(len(text), maxEscape)] {
		switch {
		case i == 0: // the escape character
		case i == 1:
			if c != '[' {
				return 0, false
			}
		case c == 'm' || c == 'K':
			return i + 1, false
		case (c < '0' || c > '9') && c != ';' && c != ':':
			return 0, false
		}
	}
	return 0, len(text) < maxEscape
}

// place maps a place in the view to the stream.
func (f *folder) place(i int) int {
	r := f.runs[len(f.runs)-1]
	if i < r.view {
		r = f.runs[f.runOf(i)]
	}
	return r.raw + i - r.view
}

// runOf returns which run a place in the view is in.
func (f *folder) runOf(i int) int {
	return sort.Search(len(f.runs), func(k int) bool { return f.runs[k].view > i }) - 1
}

// adjacent reports whether nothing was left out within view[i:j].
func (f *folder) adjacent(i, j int) bool { return f.place(j-1)-f.place(i) == j-1-i }

// whole reports whether nothing was left out from view[i] to the end of the
// stream so far.
func (f *folder) whole(i int) bool { return len(f.raw)-f.place(i) == len(f.view)-i }

// line returns the view from i on to where something was left out.
func (f *folder) line(i int) []byte {
	to := len(f.view)
	if k := f.runOf(i) + 1; k < len(f.runs) {
		to = f.runs[k].view
	}
	return f.view[i:to]
}

// forget drops what is before a place of the stream and the view.
func (f *folder) forget(raw, view int) {
	if view == len(f.view) {
		f.runs = f.runs[:0]
	} else {
		k := f.runOf(view)
		f.runs = slices.Delete(f.runs, 0, k)
		f.runs[0] = run{view, f.runs[0].raw + view - f.runs[0].view}
		for k := range f.runs {
			f.runs[k].view -= view
			f.runs[k].raw -= raw
		}
	}
	f.raw = f.raw[:copy(f.raw, f.raw[raw:])]
	f.view = f.view[:copy(f.view, f.view[view:])]
	f.pos -= raw
}

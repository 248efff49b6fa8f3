package buildlog

import (
	"bytes"
	"errors"
	"time"
)

// Lines is an io.Writer that makes an event of each line, with its newline.
// Lines that come together share one time, as at the service. A line longer
// than MaxMessage becomes several events.
type Lines struct {
	w       *Writer
	now     func() time.Time
	partial []byte // a line without its end
}

// NewLines returns a Lines that appends to w. It is not safe for concurrent
// use.
func NewLines(w *Writer, now func() time.Time) *Lines { return &Lines{w: w, now: now} }

// Write appends the lines that p completes and keeps the rest. All of p counts
// as written also when appending fails: those lines are dropped.
func (l *Lines) Write(p []byte) (int, error) {
	now := l.now()
	var first error
	note := func(err error) {
		if first == nil {
			first = err
		}
	}
	for rest := p; len(rest) > 0; {
		n := bytes.IndexByte(rest, '\n') + 1
		if n > 0 && len(l.partial) == 0 {
			note(l.w.Append(now, rest[:n]))
			rest = rest[n:]
			continue
		}
		ended := n > 0
		if !ended {
			n = len(rest)
		}
		if room := MaxMessage + 1 - len(l.partial); n > room {
			n, ended = room, false
		}
		l.partial = append(l.partial, rest[:n]...)
		rest = rest[n:]
		if ended || len(l.partial) > MaxMessage {
			note(l.append(now, ended))
		}
	}
	return len(p), first
}

// append makes an event of the partial line: all of it, or as much as fits.
func (l *Lines) append(at time.Time, all bool) error {
	n := len(l.partial)
	if !all {
		n = cut(l.partial)
	}
	err := l.w.Append(at, l.partial[:n])
	l.partial = l.partial[:copy(l.partial, l.partial[n:])]
	return err
}

// Flush appends an unfinished line as it is and lets other processes see it.
// Call it when a line has waited for its end for long enough.
func (l *Lines) Flush() error {
	var err error
	if len(l.partial) > 0 {
		err = l.append(l.now(), true)
	}
	return errors.Join(err, l.w.Flush())
}

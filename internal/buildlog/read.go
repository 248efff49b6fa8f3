package buildlog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// End is the Offset behind everything that a log has.
const End Offset = 1<<63 - 1

// A Page is what one read returns: events in order, and the places before the
// first and behind the last.
type Page struct {
	Events []Event
	From   Offset
	Next   Offset
}

// A Span bounds events by time: at or after Start and before End. Zero times
// do not bound.
type Span struct{ Start, End time.Time }

func (s Span) has(t time.Time) bool {
	return (s.Start.IsZero() || !t.Before(s.Start)) && (s.End.IsZero() || t.Before(s.End))
}

// open returns a log's file for reading with what its writer has buffered.
func (l *Logs) open(id string) (*os.File, int64, []entry, error) {
	path, err := l.path(id)
	if err != nil {
		return nil, 0, nil, err
	}
	if w := l.writer(id); w != nil {
		if err := w.Flush(); err != nil && !errors.Is(err, fs.ErrClosed) {
			return nil, 0, nil, err
		}
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil, fmt.Errorf("log %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, 0, nil, fmt.Errorf("read log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, nil, errors.Join(err, f.Close())
	}
	var entries []entry
	if index, err := os.Open(path + ".index"); err == nil {
		entries, err = readIndex(index)
		if err = errors.Join(err, index.Close()); err != nil {
			return nil, 0, nil, errors.Join(err, f.Close())
		}
	}
	return f, info.Size(), entries, nil
}

// Written returns when a log was last written to, at least.
func (l *Logs) Written(id string) (time.Time, error) {
	f, _, _, err := l.open(id)
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return time.Time{}, fmt.Errorf("read log: %w", err)
	}
	return info.ModTime(), nil
}

// Read returns up to limit events, of up to size bytes together but at least
// one, from the place from on.
func (l *Logs) Read(id string, from Offset, span Span, limit, size int) (Page, error) {
	f, end, entries, err := l.open(id)
	if err != nil {
		return Page{}, err
	}
	defer f.Close()
	if int64(from) > end {
		from = Offset(end)
	}
	at := from
	if !span.Start.IsZero() { // skip what the index says is earlier
		for _, e := range entries {
			if e.time < span.Start.UnixMilli() && e.offset > int64(at) {
				at = Offset(e.offset)
			}
		}
	}
	page := Page{From: from, Next: at, Events: []Event{}}
	for e := range events(f, at, Offset(end)) {
		if len(page.Events) == limit || len(page.Events) > 0 && len(e.Message) > size {
			break
		}
		if span.has(e.Time) {
			size -= len(e.Message)
			page.Events = append(page.Events, e)
		}
		page.Next = e.Next
	}
	return page, nil
}

// ReadBack returns up to limit events, of up to size bytes together but at
// least one, that end at the place before.
func (l *Logs) ReadBack(id string, before Offset, span Span, limit, size int) (Page, error) {
	f, end, entries, err := l.open(id)
	if err != nil {
		return Page{}, err
	}
	defer f.Close()
	before = min(before, Offset(end))
	page := Page{Next: before, From: before, Events: []Event{}}
	// Step back over the index until there is enough.
	for i := len(entries); i >= 0; i-- {
		var at Offset
		if i > 0 {
			if at = Offset(entries[i-1].offset); at >= before {
				continue
			}
		}
		var found []Event
		last := at
		for e := range events(f, at, page.From) {
			if span.has(e.Time) {
				found = append(found, e)
			}
			last = e.Next
		}
		if at == 0 && last < page.From && len(page.Events) == 0 {
			page.Next = last // a torn end
		}
		for j := len(found) - 1; j >= 0; j-- {
			e := found[j]
			if len(page.Events) == limit || len(page.Events) > 0 && len(e.Message) > size {
				return reversed(page), nil
			}
			size -= len(e.Message)
			page.Events = append(page.Events, e)
			page.From = e.Offset
		}
		page.From = at
	}
	return reversed(page), nil
}

func reversed(p Page) Page {
	for i, j := 0, len(p.Events)-1; i < j; i, j = i+1, j-1 {
		p.Events[i], p.Events[j] = p.Events[j], p.Events[i]
	}
	if len(p.Events) > 0 {
		p.From = p.Events[0].Offset
	}
	return p
}

// events yields the whole records between two places.
func events(f *os.File, from, to Offset) func(func(Event) bool) {
	return func(yield func(Event) bool) {
		r := bufio.NewReaderSize(io.NewSectionReader(f, int64(from), int64(to-from)), bufferSize)
		for from < to {
			e, err := readRecord(r, from)
			if err != nil || !yield(e) {
				return
			}
			from = e.Next
		}
	}
}

// Lines is an io.Writer that makes an event of each line, with its newline.
// Lines that come together share one time, as at the service.
type Lines struct {
	w       *Writer
	now     func() time.Time
	partial []byte
}

// NewLines returns a Lines that appends to w. It is not safe for concurrent
// use.
func NewLines(w *Writer, now func() time.Time) *Lines { return &Lines{w: w, now: now} }

// Write appends the lines that p completes and keeps the rest.
func (l *Lines) Write(p []byte) (int, error) {
	now := l.now()
	var first error
	rest := p
	for len(rest) > 0 {
		n := MaxMessage - len(l.partial)
		i := -1
		if n = min(n, len(rest)); n > 0 {
			i = bytes.IndexByte(rest[:n], '\n')
		}
		if i >= 0 {
			n = i + 1
		}
		l.partial = append(l.partial, rest[:n]...)
		rest = rest[n:]
		if i >= 0 || len(l.partial) >= MaxMessage {
			if err := l.emit(now); err != nil && first == nil {
				first = err
			}
		}
	}
	return len(p), first
}

func (l *Lines) emit(at time.Time) error {
	err := l.w.Append(at, l.partial)
	l.partial = l.partial[:0]
	return err
}

// Flush appends an unfinished line as it is and lets other processes see it.
func (l *Lines) Flush() error {
	var err error
	if len(l.partial) > 0 {
		err = l.emit(l.now())
	}
	return errors.Join(err, l.w.Flush())
}

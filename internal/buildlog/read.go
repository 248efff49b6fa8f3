package buildlog

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"
)

// End is the Offset behind everything that a log has.
const End Offset = math.MaxInt64

// An Event is one message of a log.
type Event struct {
	Time    time.Time
	Message string
	Offset  Offset // of the event itself
	Next    Offset // behind it
}

// A Page is what one read returns: events in order, and the places before the
// first and behind the last. Read from Next for what follows, ReadBack from
// From for what is before. At an end of the log the page is empty and its
// places stay the same.
type Page struct {
	Events []Event
	From   Offset
	Next   Offset
}

// A Span bounds events by time: at or after Start and before End. Zero times
// do not bound.
type Span struct{ Start, End time.Time }

// bounds are the span in milliseconds.
func (s Span) bounds() (start, end int64) {
	start, end = math.MinInt64, math.MaxInt64
	if !s.Start.IsZero() {
		start = ceilMilli(s.Start)
	}
	if !s.End.IsZero() {
		end = ceilMilli(s.End)
	}
	return start, end
}

// ceilMilli is the first millisecond that is not before t.
func ceilMilli(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }

// view opens a log for reading.
func (l *Logs) view(id string) (*view, error) {
	path, err := l.path(id)
	if err != nil {
		return nil, err
	}
	if w := l.writer(id); w != nil {
		_ = w.Flush() // whoever appends gets the error; what is in the file can be read
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("log %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	v := &view{scanner: scanner{f: f}}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read log: %w", err), f.Close())
	}
	v.end = info.Size()
	// Without the index everything takes longer, no more.
	if v.index, err = os.Open(path + ".index"); err == nil {
		_ = v.countEntries()
	}
	return v, nil
}

func (v *view) close() {
	_ = v.f.(*os.File).Close()
	if v.index != nil {
		_ = v.index.Close()
	}
}

func event(r record) Event {
	return Event{time.UnixMilli(r.time), string(r.message), Offset(r.offset), Offset(r.next)}
}

// Written returns when a log was last written to, by the clock of its files:
// no event is later unless that clock went back. It is faster than a Read.
func (l *Logs) Written(id string) (time.Time, error) {
	path, err := l.path(id)
	if err != nil {
		return time.Time{}, err
	}
	if w := l.writer(id); w != nil {
		_ = w.Flush()
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, fmt.Errorf("log %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read log: %w", err)
	}
	return info.ModTime(), nil
}

// Read returns up to limit events of the span, of up to size bytes together
// but at least one, from the place from on. A place between two events counts
// as that of the second.
func (l *Logs) Read(id string, from Offset, span Span, limit, size int) (Page, error) {
	v, err := l.view(id)
	if err != nil {
		return Page{}, err
	}
	defer v.close()
	start, end := span.bounds()
	// From a known record on to the place, so that any place is a good one.
	at := v.before(func(e entry) bool { return e.offset > int64(from) })
	if start > math.MinInt64 {
		at = max(at, v.before(func(e entry) bool { return e.time >= start }))
	}
	likely := max(0, min(int64(limit), min(v.end-at, int64(size))/(headerSize+64)))
	page := Page{Events: make([]Event, 0, likely), From: -1, Next: Offset(at)}
	for r := range v.records(at, v.end) {
		if Offset(r.offset) >= from {
			if page.From < 0 {
				page.From, page.Next = Offset(r.offset), Offset(r.offset)
			}
			if r.time >= end || r.time >= start && (len(page.Events) >= limit || len(page.Events) > 0 && len(r.message) > size) {
				break
			}
			if r.time >= start {
				size -= len(r.message)
				page.Events = append(page.Events, event(r))
			}
		}
		page.Next = Offset(r.next)
	}
	if page.From < 0 {
		page.From = page.Next
	}
	return page, v.err
}

// ReadBack returns up to limit events of the span, of up to size bytes
// together but at least one, that are the last ones before a place.
func (l *Logs) ReadBack(id string, before Offset, span Span, limit, size int) (Page, error) {
	v, err := l.view(id)
	if err != nil {
		return Page{}, err
	}
	defer v.close()
	start, end := span.bounds()
	to := min(int64(max(before, 0)), v.end)
	if i := v.search(func(e entry) bool { return e.time >= end }); i < v.entries {
		if e, ok := v.entry(i); ok && e.time >= end {
			to = min(to, e.offset)
		}
	}
	page := Page{Events: []Event{}, Next: -1}
	// Part by part from the end, as the index divides it. Of a part no more is
	// kept than is wanted, since without an index it is all of the log.
	for {
		at := v.before(func(e entry) bool { return e.offset >= to })
		var part []Event
		bytes, next := 0, at
		for r := range v.records(at, to) {
			if r.time >= end {
				break
			}
			part = append(part, event(r))
			bytes += len(r.message)
			next = r.next
			for len(part) > limit+1 || len(part) > 1 && bytes-len(part[0].Message) > size {
				bytes -= len(part[0].Message)
				part = part[1:]
			}
		}
		if page.Next < 0 {
			page.Next, page.From = Offset(next), Offset(next)
		}
		for _, e := range slices.Backward(part) {
			if e.Time.UnixMilli() < start || len(page.Events) >= limit || len(page.Events) > 0 && len(e.Message) > size {
				slices.Reverse(page.Events)
				return page, v.err
			}
			size -= len(e.Message)
			page.Events = append(page.Events, e)
			page.From = e.Offset
		}
		to = at
		if len(part) > 0 {
			to = int64(part[0].Offset)
		}
		if at == 0 && (to == 0 || len(part) == 0) {
			slices.Reverse(page.Events)
			return page, v.err
		}
	}
}

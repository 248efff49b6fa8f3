// Package buildlog keeps the logs of builds: it appends events, follows them
// while they come, and reads from any place.
//
// Each log is an append-only file of records with a sparse index beside it. A
// record is its length (4 bytes), its time (8 bytes, milliseconds since 1970)
// and the message, all big endian. An Offset is a place between records; it
// stays valid for as long as the log does. What a crash tore is cut off at
// the last whole record.
//
// One Writer appends to a log; any number of readers, also in other
// processes, may read meanwhile.
package buildlog

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

const (
	header = 12
	// MaxMessage bounds a message in bytes; a longer one is split.
	MaxMessage = 64 << 10
	// indexEvery is the distance between entries of the index, in bytes.
	indexEvery = 64 << 10
	indexEntry = 16 // offset, time
	bufferSize = 64 << 10
)

// ErrNotFound is the error of a log that does not exist.
var ErrNotFound = errors.New("there is no such log")

// An Offset is a place in a log, in bytes from its start.
type Offset int64

// An Event is one message of a log.
type Event struct {
	Time    time.Time
	Message string
	Offset  Offset // of the event itself
	Next    Offset // behind it
}

// Logs is a directory of logs.
type Logs struct {
	dir    string
	mu     sync.Mutex
	active map[string]*Writer
}

// Open uses dir, which it makes if it is not there.
func Open(dir string) (*Logs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open logs: %w", err)
	}
	return &Logs{dir: dir, active: map[string]*Writer{}}, nil
}

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{3,63}$`)

// path is the file of a log, in one of 256 directories by the id's start.
func (l *Logs) path(id string) (string, error) {
	if !idPattern.MatchString(id) {
		return "", fmt.Errorf("log %q: %w", id, ErrNotFound)
	}
	return filepath.Join(l.dir, id[:2], id+".log"), nil
}

// Create opens a log for appending. A log that exists is continued behind its
// last whole record.
func (l *Logs) Create(id string) (*Writer, error) {
	path, err := l.path(id)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.active[id] != nil {
		return nil, fmt.Errorf("log %s is being written", id)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	index, err := os.OpenFile(path+".index", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create log: %w", err), f.Close())
	}
	w := &Writer{logs: l, id: id, f: f, index: index, changed: make(chan struct{})}
	if err := w.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("create log: %w", err), f.Close(), index.Close())
	}
	l.active[id] = w
	return w, nil
}

// Delete removes a log. One that is not there is no error.
func (l *Logs) Delete(id string) error {
	path, err := l.path(id)
	if err != nil {
		return err
	}
	for _, p := range []string{path, path + ".index"} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// writer returns who writes the log in this process, if anyone.
func (l *Logs) writer(id string) *Writer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.active[id]
}

// Wait returns when the log has more than after, when its writer is done, or
// when ctx ends.
func (l *Logs) Wait(ctx context.Context, id string, after Offset) error {
	for {
		w := l.writer(id)
		if w == nil {
			return nil
		}
		w.mu.Lock()
		more, changed := w.size > int64(after), w.changed
		w.mu.Unlock()
		if more {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A Writer appends to one log. It is safe for concurrent use.
type Writer struct {
	logs  *Logs
	id    string
	mu    sync.Mutex
	f     *os.File
	index *os.File
	buf   []byte
	size  int64 // of the log with what is buffered
	flat  int64 // of the file
	last  int64 // offset of the last entry of the index; 0 at the start

	changed chan struct{} // closed, and made anew, when there is more; closed by Close for good
	closed  bool
}

// recover finds the end of the log.
func (w *Writer) recover() error {
	entries, err := readIndex(w.index)
	if err != nil {
		return err
	}
	var start int64
	if n := len(entries); n > 0 {
		start = entries[n-1].offset
	}
	r := bufio.NewReaderSize(io.NewSectionReader(w.f, start, 1<<62), bufferSize)
	end := start
	for {
		e, err := readRecord(r, Offset(end))
		if err != nil {
			break
		}
		end = int64(e.Next)
	}
	if err := w.f.Truncate(end); err != nil {
		return err
	}
	if err := w.index.Truncate(int64(len(entries) * indexEntry)); err != nil {
		return err
	}
	w.size, w.flat, w.last = end, end, start
	return nil
}

// Append adds one event.
func (w *Writer) Append(at time.Time, message []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for first := true; first || len(message) > 0; first = false {
		n := min(len(message), MaxMessage)
		if err := w.append(at, message[:n]); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}

func (w *Writer) append(at time.Time, message []byte) error {
	if w.closed {
		return errors.New("append to a closed log")
	}
	if w.size-w.last >= indexEvery {
		if err := w.mark(at); err != nil {
			return err
		}
	}
	w.buf = binary.BigEndian.AppendUint32(w.buf, uint32(len(message)))
	w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(at.UnixMilli()))
	w.buf = append(w.buf, message...)
	w.size += header + int64(len(message))
	var err error
	if len(w.buf) >= bufferSize {
		err = w.flush()
	}
	close(w.changed)
	w.changed = make(chan struct{})
	return err
}

// mark adds an entry to the index for the record that comes next.
func (w *Writer) mark(at time.Time) error {
	if err := w.flush(); err != nil { // the index never points behind the log
		return err
	}
	var e [indexEntry]byte
	binary.BigEndian.PutUint64(e[:], uint64(w.size))
	binary.BigEndian.PutUint64(e[8:], uint64(at.UnixMilli()))
	end, err := w.index.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := w.index.WriteAt(e[:], end-end%indexEntry); err != nil {
		return err
	}
	w.last = w.size
	return nil
}

// flush writes the buffer. When the disk is full the buffer is lost and the
// file ends with its last whole record, so that writing can go on later.
func (w *Writer) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.f.WriteAt(w.buf, w.flat)
	if err != nil {
		w.size = w.flat
		w.buf = w.buf[:0]
		return errors.Join(fmt.Errorf("write log: %w", err), w.f.Truncate(w.flat))
	}
	w.flat += int64(len(w.buf))
	w.buf = w.buf[:0]
	return nil
}

// Flush lets other processes see what was appended. Readers in this process
// see it anyway.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

// Close makes the log durable and ends every Wait.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	err := errors.Join(w.flush(), w.f.Sync(), w.f.Close(), w.index.Close())
	close(w.changed)
	w.logs.mu.Lock()
	delete(w.logs.active, w.id)
	w.logs.mu.Unlock()
	return err
}

var errTorn = errors.New("the record is not whole")

// readRecord reads the record at offset at.
func readRecord(r *bufio.Reader, at Offset) (Event, error) {
	var h [header]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return Event{}, err
	}
	n := binary.BigEndian.Uint32(h[:4])
	if n > MaxMessage {
		return Event{}, errTorn
	}
	message := make([]byte, n)
	if _, err := io.ReadFull(r, message); err != nil {
		return Event{}, errTorn
	}
	return Event{
		Time:    time.UnixMilli(int64(binary.BigEndian.Uint64(h[4:]))),
		Message: string(message),
		Offset:  at,
		Next:    at + header + Offset(n),
	}, nil
}

type entry struct{ offset, time int64 }

// readIndex reads the whole entries of an index. A log of a gigabyte has
// 16,384 of them.
func readIndex(f *os.File) ([]entry, error) {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<62))
	if err != nil {
		return nil, err
	}
	out := make([]entry, 0, len(data)/indexEntry)
	var before int64
	for ; len(data) >= indexEntry; data = data[indexEntry:] {
		e := entry{int64(binary.BigEndian.Uint64(data)), int64(binary.BigEndian.Uint64(data[8:]))}
		if e.offset <= before {
			break // damaged; what is before it is good
		}
		before = e.offset
		out = append(out, e)
	}
	return out, nil
}

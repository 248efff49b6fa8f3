// Package buildlog keeps the logs of builds: it appends events, follows them
// while they come, and reads from any place in both directions.
//
// Logs is a directory of logs, each named by its build's UUID. Create gives
// the Writer that appends to one, best through Lines, which makes an event of
// each line of output. Read and ReadBack return pages, Wait waits for more.
//
// # Files
//
// A log is one append-only file of records. All numbers are big endian:
//
//	offset  bytes  content
//	0       4      CRC-32C of what follows it in the record
//	4       4      length of the message, 1 to 65,536
//	8       8      time, milliseconds since 1970
//	16      n      message
//
// An Offset is the place of a record in the file and stays valid for as long
// as the log does. Times never go back within a log: an event is given the
// time of the one before it if the clock says that it is earlier.
//
// Beside it an index has an entry for a record about each 64 KiB: its offset
// and its time, 8 bytes each. It only saves time. Without it, or when an entry
// does not point to a record of that time, logs are read all the same.
//
// # Promises
//
// One Writer appends to a log; any number of readers, also in other
// processes, may read meanwhile. Readers in the writer's process see an event
// at once, others within 50 ms. Events are on the disk after Sync or Close.
//
// What a crash tore is cut off at the last whole record when the log is
// created again; readers do not see it either. A reader goes past a damaged
// place at the next entry of the index.
//
// On a full disk nothing that Append took is lost: it waits in memory, and
// when that is full Append fails, until there is room again.
package buildlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"
)

const (
	// indexEvery is the distance between entries of the index, in bytes.
	indexEvery = 64 << 10
	// bufferSize is how much is collected before it is written, in bytes.
	bufferSize = 64 << 10
	// flushTime is how long an event waits before it is written. Other
	// processes need to look at the file as well within the promised 50 ms.
	flushTime = 25 * time.Millisecond
	// retryTime is how long a write that failed waits for another try.
	retryTime = time.Second
)

// ErrNotFound is the error of a log that does not exist.
var ErrNotFound = errors.New("there is no such log")

// An Offset is a place in a log, in bytes from its start.
type Offset int64

// Logs is a directory of logs. It is safe for concurrent use.
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
// last whole record. It must have no other Writer, in any process.
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
	w := &Writer{logs: l, id: id, f: f, index: index, writeAt: f.WriteAt}
	w.timer = time.AfterFunc(flushTime, w.tick)
	w.timer.Stop() // until there is something to flush
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
			return fmt.Errorf("delete log: %w", err)
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

// Wait returns when the log has something behind after, when no Writer of
// this process appends to it, or when ctx ends. If a Read from after then
// finds nothing, the log is complete.
func (l *Logs) Wait(ctx context.Context, id string, after Offset) error {
	w := l.writer(id)
	if w == nil {
		path, err := l.path(id)
		if err != nil {
			return err
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("log %s: %w", id, ErrNotFound)
		}
		return nil
	}
	for {
		more := w.after(after)
		if more == nil {
			return nil
		}
		select {
		case <-more:
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

	writeAt func(p []byte, off int64) (int, error) // to f; a test may fill the disk

	buf     []byte // records that are not in the file yet
	flat    int64  // the length of the file
	last    int64  // the time of the last record
	marks   []byte // entries that are not in the index yet
	entries int64  // how many are
	marked  int64  // the offset of the last entry
	synced  bool   // the directories have the file's name for good
	broken  error  // why the file's content is not known any more
	closed  bool

	timer *time.Timer   // calls tick; stopped by Close
	armed bool          // the timer runs
	more  chan struct{} // closed by the next append and by Close; nil if nobody waits
}

// recover finds the end of the log, and completes the index.
func (w *Writer) recover() error {
	info, err := w.f.Stat()
	if err != nil {
		return err
	}
	v := view{scanner: scanner{f: w.f, end: info.Size()}, index: w.index}
	if err := v.countEntries(); err != nil {
		return err
	}
	for w.entries = v.entries; w.entries > 0; w.entries-- {
		if e, ok := v.entry(w.entries - 1); ok {
			w.flat, w.marked = e.offset, e.offset
			break
		}
	}
	for {
		r, ok := v.record(w.flat)
		if !ok {
			break
		}
		w.mark(w.flat, r.time)
		w.flat, w.last = r.next, r.time
	}
	if err := v.err; err != nil {
		return err
	}
	if err := errors.Join(w.f.Truncate(w.flat), w.index.Truncate(w.entries*entrySize)); err != nil {
		return err
	}
	w.writeMarks()
	return nil
}

// mark makes an entry of the index for the record at offset if one is due.
func (w *Writer) mark(offset, time int64) {
	if offset-w.marked < indexEvery {
		return
	}
	w.marks = binary.BigEndian.AppendUint64(w.marks, uint64(offset))
	w.marks = binary.BigEndian.AppendUint64(w.marks, uint64(time))
	w.marked = offset
}

// Append adds one event, or several if the message is longer than MaxMessage.
// An empty message is none. If Append fails, nothing was added.
func (w *Writer) Append(at time.Time, message []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("append to log %s: %w", w.id, fs.ErrClosed)
	}
	if w.broken != nil {
		return w.broken
	}
	if len(w.buf) > 0 && len(w.buf)+headerSize+len(message) > bufferSize {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.last = max(w.last, at.UnixMilli())
	for len(message) > 0 {
		n := cut(message)
		w.mark(w.flat+int64(len(w.buf)), w.last)
		w.buf = appendRecord(w.buf, w.last, message[:n])
		message = message[n:]
	}
	if !w.armed {
		w.armed = true
		w.timer.Reset(flushTime)
	}
	w.wake()
	return nil
}

// wake ends every Wait, to look again.
func (w *Writer) wake() {
	if w.more != nil {
		close(w.more)
		w.more = nil
	}
}

// after returns nil if there is more than after or nothing to wait for, else
// a channel to wait on.
func (w *Writer) after(after Offset) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.flat+int64(len(w.buf)) > int64(after) {
		return nil
	}
	if w.more == nil {
		w.more = make(chan struct{})
	}
	return w.more
}

// tick writes what has waited for flushTime. The timer runs it.
func (w *Writer) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	if !w.closed && w.flush() != nil { // Append will say why, when the buffer is full
		w.armed = true
		w.timer.Reset(retryTime)
	}
}

// flush writes the buffer. If it fails the buffer is kept and the file ends
// with its last whole record.
func (w *Writer) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if _, err := w.writeAt(w.buf, w.flat); err != nil {
		// What is behind flat is no record and will be written over. Cutting
		// it off makes room for others, that is all.
		_ = w.f.Truncate(w.flat)
		return fmt.Errorf("write log: %w", err)
	}
	w.flat += int64(len(w.buf))
	w.buf = w.buf[:0]
	w.writeMarks()
	return nil
}

// writeMarks writes new entries of the index, after the records that they
// point to. What fails is tried again with the next ones: reading is slower
// meanwhile, but right.
func (w *Writer) writeMarks() {
	if _, err := w.index.WriteAt(w.marks, w.entries*entrySize); err == nil {
		w.entries += int64(len(w.marks) / entrySize)
		w.marks = w.marks[:0]
	}
}

// Flush lets other processes see what was appended.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

// Sync makes durable what was appended.
func (w *Writer) Sync() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("sync log %s: %w", w.id, fs.ErrClosed)
	}
	return w.sync()
}

func (w *Writer) sync() error {
	if w.broken != nil {
		return w.broken
	}
	if err := w.flush(); err != nil {
		return err
	}
	err := errors.Join(w.f.Sync(), w.index.Sync())
	if dir := filepath.Dir(w.f.Name()); err == nil && !w.synced {
		err = errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
		w.synced = err == nil
	}
	if err != nil {
		// The system may have dropped what it could not write, and would say
		// nothing of it at the next try.
		w.broken = fmt.Errorf("sync log: %w", err)
	}
	return w.broken
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Close makes the log durable and ends every Wait.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	w.timer.Stop()
	err := errors.Join(w.sync(), w.f.Close(), w.index.Close())
	w.wake()
	w.logs.mu.Lock()
	delete(w.logs.active, w.id)
	w.logs.mu.Unlock()
	return err
}

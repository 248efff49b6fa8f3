package buildlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sort"
	"unicode/utf8"
)

const (
	headerSize = 16
	entrySize  = 16
	// MaxMessage bounds the message of an event in bytes; a longer one is
	// split, between characters. CloudWatch Logs allows 1 MB.
	// Source: CloudWatch Logs API reference, PutLogEvents.
	MaxMessage = 64 << 10
	// window is how much a scanner reads at a time, in bytes.
	window = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// cut returns how much of message fits an event.
func cut(message []byte) int {
	if len(message) <= MaxMessage {
		return len(message)
	}
	for n := MaxMessage; n > MaxMessage-utf8.UTFMax; n-- {
		if utf8.RuneStart(message[n]) {
			return n
		}
	}
	return MaxMessage // it is no text
}

// appendRecord appends a record of a message that is neither empty nor longer
// than MaxMessage.
func appendRecord(b []byte, time int64, message []byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(message)))
	b = binary.BigEndian.AppendUint64(b, uint64(time))
	b = append(b, message...)
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b[at+4:], castagnoli))
	return b
}

// A record is one as it stands in the file.
type record struct {
	offset  int64
	next    int64 // behind it
	time    int64
	message []byte // until the scanner reads on
}

// A scanner reads records from anywhere in a file.
type scanner struct {
	f   io.ReaderAt
	end int64 // of what is read
	err error // the first error of reading, other than the end

	buf  []byte // a part of the file
	base int64  // where it is
}

// bytes returns n bytes from offset on, or nil if they are not there.
func (s *scanner) bytes(offset int64, n int) []byte {
	if offset < 0 || offset > s.end-int64(n) {
		return nil
	}
	if offset < s.base || offset+int64(n) > s.base+int64(len(s.buf)) {
		size := int(min(int64(max(n, window)), s.end-offset))
		if cap(s.buf) < size {
			s.buf = make([]byte, max(size, window))
		}
		got, err := s.f.ReadAt(s.buf[:size], offset)
		if err != nil && !errors.Is(err, io.EOF) && s.err == nil {
			s.err = fmt.Errorf("read log: %w", err)
		}
		s.buf, s.base = s.buf[:got], offset
		if got < n {
			return nil // a writer cut the file meanwhile
		}
	}
	return s.buf[offset-s.base:][:n]
}

// record reads the one at offset. ok is false if there is none that is whole.
func (s *scanner) record(offset int64) (r record, ok bool) {
	h := s.bytes(offset, headerSize)
	if h == nil {
		return record{}, false
	}
	n := int(binary.BigEndian.Uint32(h[4:]))
	if n > MaxMessage {
		return record{}, false
	}
	b := s.bytes(offset, headerSize+n)
	if b == nil || binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return record{}, false
	}
	return record{offset, offset + int64(len(b)), int64(binary.BigEndian.Uint64(b[8:])), b[headerSize:]}, true
}

// A view is what a log is at one moment.
type view struct {
	scanner
	index   *os.File // nil if there is none
	entries int64
}

// countEntries looks how many whole entries the index has.
func (v *view) countEntries() error {
	info, err := v.index.Stat()
	if err != nil {
		return err
	}
	v.entries = info.Size() / entrySize
	return nil
}

type entry struct{ offset, time int64 }

// raw reads an entry of the index as it is; zero if it cannot be read.
func (v *view) raw(i int64) entry {
	var b [entrySize]byte
	if _, err := v.index.ReadAt(b[:], i*entrySize); err != nil {
		return entry{}
	}
	return entry{int64(binary.BigEndian.Uint64(b[:])), int64(binary.BigEndian.Uint64(b[8:]))}
}

// entry reads an entry of the index, and makes sure that it points to a record.
func (v *view) entry(i int64) (entry, bool) {
	e := v.raw(i)
	r, ok := v.record(e.offset)
	return e, ok && r.time == e.time
}

// search returns the first entry that is true for, or how many there are.
// Every entry behind it must be true as well; if the index is damaged the
// result is any entry.
func (v *view) search(is func(entry) bool) int64 {
	return int64(sort.Search(int(v.entries), func(i int) bool { return is(v.raw(int64(i))) }))
}

// before returns the offset of a record that is not behind the first one that
// is true for, and close to it; 0 if there is none.
func (v *view) before(is func(entry) bool) int64 {
	for i := v.search(is) - 1; i >= 0; i-- {
		if e, ok := v.entry(i); ok && !is(e) {
			return e.offset
		}
	}
	return 0
}

// records yields the whole records that begin between two offsets, in order.
// The first one begins at from. Past a damaged place it goes on where the
// index knows of a record.
func (v *view) records(from, to int64) func(func(record) bool) {
	return func(yield func(record) bool) {
		for from < to {
			r, ok := v.record(from)
			if !ok {
				if from, ok = v.behind(from); !ok {
					return
				}
				continue
			}
			if !yield(r) {
				return
			}
			from = r.next
		}
	}
}

// behind returns the next record behind offset that the index knows of.
func (v *view) behind(offset int64) (int64, bool) {
	for i := v.search(func(e entry) bool { return e.offset > offset }); i < v.entries; i++ {
		if e, ok := v.entry(i); ok && e.offset > offset {
			return e.offset, true
		}
	}
	return 0, false
}

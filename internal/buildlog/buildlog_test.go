package buildlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const id = "0b57ac1e-5d3f-4c1a-9f27-6a1d5e0c9b42"

const all = 1 << 30

var start = time.UnixMilli(1763900000000).UTC()

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

func open(t testing.TB, dir string) *Logs {
	t.Helper()
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// create opens a log for appending; the end of the test closes it.
func create(t testing.TB, l *Logs) *Writer {
	t.Helper()
	w, err := l.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func add(t testing.TB, w *Writer, ms int, messages ...string) {
	t.Helper()
	for _, m := range messages {
		if err := w.Append(at(ms), []byte(m)); err != nil {
			t.Fatalf("Append(%.40q): %v", m, err)
		}
	}
}

func read(t testing.TB, l *Logs, from Offset, span Span, limit, size int) Page {
	t.Helper()
	p, err := l.Read(id, from, span, limit, size)
	if err != nil {
		t.Fatalf("Read from %d: %v", from, err)
	}
	return p
}

func readBack(t testing.TB, l *Logs, before Offset, span Span, limit, size int) Page {
	t.Helper()
	p, err := l.ReadBack(id, before, span, limit, size)
	if err != nil {
		t.Fatalf("ReadBack before %d: %v", before, err)
	}
	return p
}

func messages(events []Event) []string {
	out := []string{}
	for _, e := range events {
		out = append(out, e.Message)
	}
	return out
}

func want(t testing.TB, what string, got []Event, want ...string) {
	t.Helper()
	if d := cmp.Diff(append([]string{}, want...), messages(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// logFile is the file of the test's log.
func logFile(dir string) string { return filepath.Join(dir, id[:2], id+".log") }

// many appends n lines, a millisecond apart, and returns them.
func many(t testing.TB, w *Writer, n int) []string {
	t.Helper()
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("line %07d %s\n", i, strings.Repeat("x", i%150))
		add(t, w, i, lines[i])
	}
	return lines
}

func TestReadWhatWasAppended(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	w := create(t, l)
	add(t, w, 0, "one\n", "two\n")
	add(t, w, 5, "", "no end", "\xff not text\n")
	p := read(t, l, 0, Span{}, all, all)
	want(t, "all", p.Events, "one\n", "two\n", "no end", "\xff not text\n")
	if got := p.Events[3]; !got.Time.Equal(at(5)) || got.Offset != p.Events[2].Next || got.Next != p.Next {
		t.Errorf("the last event is %+v, want it at %v from %d to %d", got, at(5), p.Events[2].Next, p.Next)
	}
	if again := read(t, l, p.Next, Span{}, all, all); len(again.Events) != 0 || again.Next != p.Next || again.From != p.Next {
		t.Errorf("behind the end: %+v, want nothing at %d", again, p.Next)
	}
	add(t, w, 6, "later\n")
	want(t, "what came since", read(t, l, p.Next, Span{}, all, all).Events, "later\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, "after Close", read(t, l, p.Next, Span{}, all, all).Events, "later\n")
}

func TestLogsThatAreNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	for _, id := range []string{id, "", "ab", "../../../etc/passwd", "0b57ac1e/..", "ABCD-EFGH", "abcd\x00", strings.Repeat("a", 65)} {
		_, err1 := l.Read(id, 0, Span{}, 1, 1)
		_, err2 := l.ReadBack(id, End, Span{}, 1, 1)
		_, err3 := l.Written(id)
		err4 := l.Wait(t.Context(), id, 0)
		for _, err := range []error{err1, err2, err3, err4} {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("log %q: %v, want ErrNotFound", id, err)
			}
		}
	}
	if _, err := l.Create("../x"); err == nil {
		t.Error("Create of ../x succeeds")
	}
	if err := l.Delete(id); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	w := create(t, l)
	add(t, w, 0, "gone\n")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Delete(id); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(id, 0, Span{}, 1, 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("after Delete: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", "*")); len(left) > 0 {
		t.Errorf("Delete left %v", left)
	}
}

func TestWriter_OneAtATime(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	w := create(t, l)
	if _, err := l.Create(id); err == nil {
		t.Error("a second Writer is created")
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	if err := w.Append(at(0), []byte("late\n")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Append after Close: %v", err)
	}
	if err := w.Sync(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Sync after Close: %v", err)
	}
	add(t, create(t, l), 0, "again\n")
}

// Pages forward and backward, of any size and from any place, give each event
// once and in order.
func TestPages(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	lines := many(t, create(t, l), 5000) // some 7 entries of the index
	ends := map[Offset]bool{0: true}
	for _, e := range read(t, l, 0, Span{}, all, all).Events {
		ends[e.Next] = true
	}
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.OneOf(rapid.IntRange(1, 40), rapid.IntRange(41, 6000)).Draw(rt, "limit")
		size := rapid.OneOf(rapid.IntRange(0, 500), rapid.IntRange(501, 1<<20)).Draw(rt, "size")
		from := rapid.IntRange(0, len(lines)-1).Draw(rt, "from")
		span := Span{}
		first, last := 0, len(lines)
		if rapid.Bool().Draw(rt, "start") {
			first = rapid.IntRange(0, len(lines)).Draw(rt, "first")
			span.Start = at(first)
		}
		if rapid.Bool().Draw(rt, "end") {
			last = rapid.IntRange(0, len(lines)).Draw(rt, "last")
			span.End = at(last)
		}
		place := l.place(t, from)

		forward := lines[min(max(from, first), last):last]
		var got []string
		for at, n := place, 0; ; n++ {
			p := read(t, l, at, span, limit, size)
			if len(p.Events) == 0 {
				if again := read(t, l, p.Next, span, limit, size); again.Next != p.Next || len(again.Events) != 0 {
					rt.Fatalf("the end of the pages moved from %d to %d", p.Next, again.Next)
				}
				break
			}
			fits(rt, p, limit, size)
			got = append(got, messages(p.Events)...)
			if at = p.Next; !ends[p.Next] || !ends[p.From] || n > 20 {
				break
			}
		}
		if len(got) > len(forward) || !slices.Equal(got, forward[:len(got)]) || len(got) < min(len(forward), 1) {
			rt.Fatalf("forward from line %d in [%d,%d): %d lines, first %q", from, first, last, len(got), got[:min(1, len(got))])
		}

		back := lines[min(first, from, last):min(from, last)]
		got = nil
		for at, n := place, 0; ; n++ {
			p := readBack(t, l, at, span, limit, size)
			if len(p.Events) == 0 {
				if again := readBack(t, l, p.From, span, limit, size); again.From != p.From || len(again.Events) != 0 {
					rt.Fatalf("the start of the pages moved from %d to %d", p.From, again.From)
				}
				break
			}
			fits(rt, p, limit, size)
			got = append(messages(p.Events), got...)
			if at = p.From; !ends[p.Next] || !ends[p.From] || n > 20 {
				break
			}
		}
		if len(got) > len(back) || !slices.Equal(got, back[len(back)-len(got):]) || len(got) < min(len(back), 1) {
			rt.Fatalf("backward from line %d in [%d,%d): %d lines, last %q", from, first, last, len(got), got[:min(1, len(got))])
		}
	})
}

// place returns where a line of the test begins.
func (l *Logs) place(t testing.TB, line int) Offset {
	t.Helper()
	return read(t, l, 0, Span{Start: at(line)}, 1, all).Events[0].Offset
}

func fits(t *rapid.T, p Page, limit, size int) {
	bytes := 0
	for _, e := range p.Events {
		bytes += len(e.Message)
	}
	if len(p.Events) > limit || len(p.Events) > 1 && bytes > size {
		t.Fatalf("a page of %d events and %d bytes, want up to %d and %d", len(p.Events), bytes, limit, size)
	}
}

// All pages together are the log, in both directions.
func TestPages_All(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	lines := many(t, create(t, l), 3000)
	for _, limit := range []int{1, 7, 1000, 10000} {
		var forward, back []string
		for at := Offset(0); ; {
			p := read(t, l, at, Span{}, limit, 1<<20)
			if len(p.Events) == 0 {
				break
			}
			forward, at = append(forward, messages(p.Events)...), p.Next
		}
		var pages [][]string
		for at := End; ; {
			p := readBack(t, l, at, Span{}, limit, 1<<20)
			if len(p.Events) == 0 {
				if p.From != 0 {
					t.Errorf("the start is at %d", p.From)
				}
				break
			}
			pages, at = append(pages, messages(p.Events)), p.From
		}
		slices.Reverse(pages)
		back = slices.Concat(pages...)
		if !slices.Equal(forward, lines) || !slices.Equal(back, lines) {
			t.Errorf("by %d: %d lines forward, %d backward, want %d", limit, len(forward), len(back), len(lines))
		}
	}
}

// A place from outside may be any number.
func TestRead_AnyPlace(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	w := create(t, l)
	add(t, w, 0, "one\n", "two\n", "three\n")
	events := read(t, l, 0, Span{}, all, all).Events
	end := events[2].Next
	for place := Offset(-3); place < end+3; place++ {
		var forward, back []Event
		for _, e := range events {
			if e.Offset >= place {
				forward = append(forward, e)
			} else {
				back = append(back, e)
			}
		}
		want(t, fmt.Sprintf("Read from %d", place), read(t, l, place, Span{}, all, all).Events, messages(forward)...)
		want(t, fmt.Sprintf("ReadBack before %d", place), readBack(t, l, place, Span{}, all, all).Events, messages(back)...)
	}
	want(t, "Read from End", read(t, l, End, Span{}, all, all).Events)
	if p := readBack(t, l, End, Span{}, 1, all); p.Next != end || p.From != events[2].Offset {
		t.Errorf("the last page is from %d to %d, want %d to %d", p.From, p.Next, events[2].Offset, end)
	}
	if p := read(t, l, 0, Span{}, 0, all); len(p.Events) != 0 || p.Next != 0 {
		t.Errorf("a page of no events: %+v", p)
	}
	if p := readBack(t, l, End, Span{}, 0, all); len(p.Events) != 0 || p.From != end {
		t.Errorf("a page back of no events: %+v", p)
	}
}

func TestEmptyLog(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	create(t, l)
	for _, p := range []Page{read(t, l, 0, Span{}, all, all), readBack(t, l, End, Span{}, all, all), read(t, l, End, Span{Start: at(0)}, 1, 1)} {
		if p.Events == nil || len(p.Events) != 0 || p.From != 0 || p.Next != 0 {
			t.Errorf("page of an empty log: %+v", p)
		}
	}
}

// Times never go back, whatever the clock does, also over a restart.
func TestAppend_ClockGoesBack(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	w := create(t, l)
	add(t, w, 1000, "a")
	add(t, w, 0, "b")
	add(t, w, 2000, "c")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	add(t, create(t, l), 1, "d")
	var got []int64
	for _, e := range read(t, l, 0, Span{}, all, all).Events {
		got = append(got, e.Time.Sub(start).Milliseconds())
	}
	if d := cmp.Diff([]int64{1000, 1000, 2000, 2000}, got); d != "" {
		t.Errorf("times (-want +got):\n%s", d)
	}
	want(t, "a span of less than a millisecond", read(t, l, 0, Span{at(999), at(1000).Add(time.Microsecond)}, all, all).Events, "a", "b")
	want(t, "from within a millisecond", read(t, l, 0, Span{Start: at(1000).Add(time.Microsecond)}, all, all).Events, "c", "d")
}

func TestAppend_LongMessages(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	w := create(t, l)
	long := strings.Repeat("é", MaxMessage) // twice MaxMessage bytes, cut between runes
	odd := "x" + strings.Repeat("é", MaxMessage/2)
	garbage := strings.Repeat("\x80", MaxMessage+1)
	add(t, w, 0, long, odd, garbage, strings.Repeat("y", MaxMessage))
	var got []int
	var text string
	for _, e := range read(t, l, 0, Span{}, all, all).Events {
		got = append(got, len(e.Message))
		text += e.Message
	}
	if d := cmp.Diff([]int{MaxMessage, MaxMessage, MaxMessage - 1, 2, MaxMessage, 1, MaxMessage}, got); d != "" {
		t.Errorf("lengths (-want +got):\n%s", d)
	}
	if text != long+odd+garbage+strings.Repeat("y", MaxMessage) {
		t.Error("the text changed")
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	x := strings.Repeat("x", MaxMessage-1)
	for _, c := range []struct {
		name   string
		writes []string // "<flush>" flushes
		want   []string
	}{
		{"whole lines", []string{"a\nb\n", "c\n"}, []string{"a\n", "b\n", "c\n"}},
		{"in pieces", []string{"a", "b", "\nc", "d\n"}, []string{"ab\n", "cd\n"}},
		{"empty lines", []string{"\n\n", "\n"}, []string{"\n", "\n", "\n"}},
		{"without an end", []string{"a\nb", "<flush>"}, []string{"a\n", "b"}},
		{"goes on after a flush", []string{"a", "<flush>", "b\n", "<flush>"}, []string{"a", "b\n"}},
		{"nothing to flush", []string{"<flush>", "", "<flush>"}, nil},
		{"carriage returns", []string{"10%\r20%\r\n"}, []string{"10%\r20%\r\n"}},
		{"as long as can be", []string{x, "\n"}, []string{x + "\n"}},
		{"a byte too long", []string{x + "y", "\n"}, []string{x + "y", "\n"}},
		{"too long at once", []string{x + x + "\n"}, []string{x + "x", x[1:] + "\n"}},
		{"too long within a rune", []string{x, "é\n"}, []string{x, "é\n"}},
		{"too long, in pieces", []string{"ab", x, x, "\n", "<flush>"}, []string{"ab" + x[1:], x + "x", "\n"}},
	} {
		l := open(t, t.TempDir())
		lines := NewLines(create(t, l), func() time.Time { return at(0) })
		for _, s := range c.writes {
			if s == "<flush>" {
				if err := lines.Flush(); err != nil {
					t.Fatal(err)
				}
			} else if n, err := lines.Write([]byte(s)); n != len(s) || err != nil {
				t.Fatalf("%s: Write of %d bytes = %d, %v", c.name, len(s), n, err)
			}
		}
		want(t, c.name, read(t, l, 0, Span{}, all, all).Events, c.want...)
	}
}

func TestLines_AnyPieces(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	lines := NewLines(create(t, l), func() time.Time { return at(0) })
	var text []byte
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		text = append(text, strings.Repeat("z", rnd.IntN(9000)*rnd.IntN(20))+"\n"...)
	}
	for rest := text; len(rest) > 0; {
		n := min(len(rest), 1+rnd.IntN(70000))
		_, _ = lines.Write(rest[:n])
		rest = rest[n:]
	}
	got := messages(read(t, l, 0, Span{}, all, all).Events)
	if strings.Join(got, "") != string(text) {
		t.Error("the text changed")
	}
	for i, m := range got {
		if len(m) > MaxMessage || !strings.HasSuffix(m, "\n") && len(m) != MaxMessage || strings.Contains(m[:len(m)-1], "\n") {
			t.Errorf("event %d of %d bytes ends with %q", i, len(m), m[len(m)-1:])
		}
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := open(t, t.TempDir())
		w := create(t, l)
		add(t, w, 0, "one\n")
		if err := l.Wait(t.Context(), id, 0); err != nil {
			t.Errorf("with something there: %v", err)
		}
		end := read(t, l, 0, Span{}, all, all).Next

		done := make(chan error, 3)
		wait := func(ctx context.Context) { go func() { done <- l.Wait(ctx, id, end) }() }
		returned := func(what string, want error, n int) {
			t.Helper()
			synctest.Wait()
			if len(done) != n {
				t.Fatalf("%s: %d waits returned, want %d", what, len(done), n)
			}
			for range n {
				if err := <-done; !errors.Is(err, want) {
					t.Errorf("%s: Wait returned %v, want %v", what, err, want)
				}
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		wait(ctx)
		returned("with nothing new", nil, 0)
		cancel()
		returned("cancelled", context.Canceled, 1)

		wait(t.Context())
		wait(t.Context())
		returned("with nothing new", nil, 0)
		add(t, w, 1, "two\n")
		returned("after an append", nil, 2)
		p := read(t, l, end, Span{}, all, all)
		want(t, "what Wait announced", p.Events, "two\n")
		end = p.Next

		wait(t.Context())
		returned("with nothing new", nil, 0)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		returned("after Close", nil, 1)
		if p := read(t, l, end, Span{}, all, all); len(p.Events) > 0 {
			t.Errorf("a complete log has more: %v", messages(p.Events))
		}
		if err := l.Wait(t.Context(), id, End); err != nil {
			t.Errorf("of a complete log: %v", err)
		}
	})
}

// Another process, here another Logs, sees events within 50 ms. The clock is
// the bubble's.
func TestVisibleSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w, reader := create(t, open(t, dir)), open(t, dir)
		for i := range 3 {
			add(t, w, i, "line\n")
			if n := len(read(t, reader, 0, Span{}, all, all).Events); n != i {
				t.Errorf("%d events at once, want %d: writing each event is slow", n, i)
			}
			<-time.After(50 * time.Millisecond)
			synctest.Wait()
			if n := len(read(t, reader, 0, Span{}, all, all).Events); n != i+1 {
				t.Errorf("%d events after 50 ms, want %d", n, i+1)
			}
		}
	})
}

// Many follow while one writes, here and elsewhere.
func TestFollow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	w := create(t, l)
	const n = 20000
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			var at Offset
			seen := 0
			for {
				if err := l.Wait(t.Context(), id, at); err != nil {
					t.Error(err)
					return
				}
				p := read(t, l, at, Span{}, 1000, 1<<20)
				if len(p.Events) == 0 {
					break
				}
				for _, e := range p.Events {
					if want := strconv.Itoa(seen) + "\n"; e.Message != want {
						t.Errorf("event %q, want %q", e.Message, want)
						return
					}
					seen++
				}
				at = p.Next
			}
			if seen != n {
				t.Errorf("a follower saw %d events, want %d", seen, n)
			}
		})
	}
	stop := make(chan struct{}) // closed when the writer is done; ends the reader elsewhere
	wg.Go(func() {
		other := open(t, dir)
		for {
			p := readBack(t, other, End, Span{}, 100, 1<<20)
			for i, e := range p.Events[:max(0, len(p.Events)-1)] {
				a, _ := strconv.Atoi(strings.TrimSpace(e.Message))
				if b, _ := strconv.Atoi(strings.TrimSpace(p.Events[i+1].Message)); b != a+1 {
					t.Errorf("elsewhere %d follows %d", b, a)
					return
				}
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for i := range n {
		add(t, w, i, strconv.Itoa(i)+"\n")
		if i%5000 == 0 {
			if err := w.Sync(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
}

// Wherever a crash cut the log, it is read and continued from its last whole
// record.
func TestCreate_CutsWhatIsTorn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	w := create(t, l)
	lines := many(t, w, 3000)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	events := read(t, l, 0, Span{}, all, all).Events
	data, err := os.ReadFile(logFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(logFile(dir) + ".index")
	if err != nil || len(index) < 3*entrySize {
		t.Fatalf("the index has %d bytes, %v", len(index), err)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range 120 {
		n := rnd.IntN(len(data))
		if round < 40 { // each byte of the last records
			n = len(data) - round
		}
		whole := 0
		for whole < len(events) && int(events[whole].Next) <= n {
			whole++
		}
		torn := slices.Clone(data[:n])
		switch round % 4 {
		case 1: // the system made the file longer before it wrote it
			torn = append(torn, make([]byte, rnd.IntN(5000))...)
		case 2: // what was there before
			torn = append(torn, bytes.Repeat([]byte{0, 0, 0, 9, 7}, rnd.IntN(2000))...)
			if rest := len(data) - n; rest > 0 {
				copy(torn[n:], data[n+rest/2:]) // misses a part
			}
		}
		ix := index
		switch rnd.IntN(4) { // it is not written at the same time as the log
		case 0:
			ix = index[:rnd.IntN(len(index))]
		case 1:
			ix = append(slices.Clone(index), 1, 2, 3)
		}
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Dir(logFile(dir)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(logFile(dir), torn, 0o600), os.WriteFile(logFile(dir)+".index", ix, 0o600)); err != nil {
			t.Fatal(err)
		}
		l := open(t, dir)
		if got := messages(read(t, l, 0, Span{}, all, all).Events); !slices.Equal(got, lines[:whole]) {
			t.Fatalf("cut to %d bytes: %d events can be read, want %d", n, len(got), whole)
		}
		w := create(t, l)
		add(t, w, 5000, "behind\n")
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		expected := append(slices.Clone(lines[:whole]), "behind\n")
		if got := messages(read(t, l, 0, Span{}, all, all).Events); !slices.Equal(got, expected) {
			t.Fatalf("cut to %d bytes and continued: %d events, want %d", n, len(got), len(expected))
		}
		last := readBack(t, l, End, Span{}, 1, all)
		want(t, "the last", last.Events, "behind\n")
		if info, err := os.Stat(logFile(dir)); err != nil || info.Size() != int64(last.Next) {
			t.Errorf("cut to %d bytes and continued: the file has %d bytes, %v, want %d", n, info.Size(), err, last.Next)
		}
		if ix, err := os.ReadFile(logFile(dir) + ".index"); err != nil || !bytes.HasPrefix(index, ix) || len(ix) < (n/(indexEvery+20000))*entrySize {
			t.Errorf("cut to %d bytes: the index has %d bytes and is other than it was, %v", n, len(ix), err)
		}
	}
}

// Reading goes past a damaged place, and does not need the index.
func TestRead_PastDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	w := create(t, l)
	lines := many(t, w, 5000)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	index := logFile(dir) + ".index"
	good, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	var reversed, times []byte
	for e := range slices.Chunk(good, entrySize) {
		reversed = append(slices.Clone(e), reversed...)
		times = append(append(times, e[:8]...), 0, 0, 0, 0, 0, 0, 0, 1)
	}
	for name, ix := range map[string][]byte{"none": nil, "zeros": make([]byte, len(good)), "half": good[:len(good)/2], "garbage": bytes.Repeat([]byte{0x7f}, len(good)), "shifted": good[8:], "reversed": reversed, "times": times} {
		if err := os.WriteFile(index, ix, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := messages(read(t, l, 0, Span{Start: at(100), End: at(4900)}, all, all).Events); !slices.Equal(got, lines[100:4900]) {
			t.Errorf("index %s: %d events forward", name, len(got))
		}
		if got := messages(readBack(t, l, End, Span{Start: at(100), End: at(4900)}, all, all).Events); !slices.Equal(got, lines[100:4900]) {
			t.Errorf("index %s: %d events backward", name, len(got))
		}
		for line := 0; line < len(lines); line += 97 {
			want(t, "index "+name, read(t, l, l.place(t, line), Span{}, 1, all).Events, lines[line])
		}
		want(t, "index "+name, readBack(t, l, End, Span{}, 2, all).Events, lines[4998:]...)
	}
	if err := os.WriteFile(index, good, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(logFile(dir), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), 100_000); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]string{
		"forward":  messages(read(t, l, 0, Span{}, all, all).Events),
		"backward": messages(readBack(t, l, End, Span{}, all, all).Events),
	} {
		if n := len(got); n < 4000 || n >= 5000 || got[0] != lines[0] || got[n-1] != lines[4999] {
			t.Errorf("%s: %d events, want most of 5000", name, n)
		}
	}
}

// On a full disk Append fails at last, nothing that it took is lost, and it
// goes on when there is room.
func TestAppend_DiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	w := create(t, l)
	room := int64(100_000) // like writeAt, under the Writer's lock
	w.mu.Lock()
	w.writeAt = func(p []byte, off int64) (int, error) {
		if end := off + int64(len(p)); end > room {
			n, _ := w.f.WriteAt(p[:max(0, min(int64(len(p)), room-off))], off)
			return n, syscall.ENOSPC
		}
		return w.f.WriteAt(p, off)
	}
	w.mu.Unlock()
	var taken []string
	failed := 0
	for i := range 4000 {
		if failed == 500 {
			w.mu.Lock()
			room = all
			w.mu.Unlock()
		}
		line := fmt.Sprintf("line %d %s\n", i, strings.Repeat("x", 80))
		switch err := w.Append(at(i), []byte(line)); {
		case err == nil:
			taken = append(taken, line)
		case errors.Is(err, syscall.ENOSPC):
			failed++
			if failed == 1 { // readers and the file are well meanwhile
				p := read(t, l, 0, Span{}, all, all)
				if n := len(p.Events); n == 0 || !slices.Equal(messages(p.Events), taken[:n]) {
					t.Errorf("%d events can be read on a full disk", n)
				}
				if info, err := os.Stat(logFile(dir)); err != nil || info.Size() != int64(p.Next) {
					t.Errorf("the file ends at %v, %v, want the last whole record at %d", info.Size(), err, p.Next)
				}
			}
		default:
			t.Fatal(err)
		}
	}
	if failed != 500 || len(taken) != 3500 {
		t.Errorf("%d lines failed, %d were taken", failed, len(taken))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := messages(read(t, l, 0, Span{}, all, all).Events); !slices.Equal(got, taken) {
		t.Errorf("%d events, want the %d that were taken", len(got), len(taken))
	}
}

// A process that is killed keeps what it synced, and what it left can be
// continued.
func TestKilled(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("BUILDLOG_TEST_DIR"); dir != "" { // the child: append until killed
		w := create(t, open(t, dir))
		for i := 0; ; i++ {
			add(t, w, i, fmt.Sprintf("%d %s\n", i, strings.Repeat("x", i%300)))
			if i%100 == 99 {
				if err := w.Sync(); err != nil {
					t.Fatal(err)
				}
				fmt.Println("synced", i)
			}
		}
	}
	dir := t.TempDir()
	for round := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "BUILDLOG_TEST_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		synced := -1
		for synced < 99+round*700 {
			if _, err := fmt.Fscanf(out, "synced %d\n", &synced); err != nil {
				t.Fatalf("the child says nothing: %v", err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		l := open(t, dir)
		check := func(events []Event) {
			for i, e := range events {
				if want := fmt.Sprintf("%d %s\n", i, strings.Repeat("x", i%300)); e.Message != want {
					t.Fatalf("round %d: event %d is %.20q, want %.20q", round, i, e.Message, want)
				}
			}
			if len(events) <= synced {
				t.Fatalf("round %d: %d events, but %d were synced", round, len(events), synced+1)
			}
		}
		check(read(t, l, 0, Span{}, all, all).Events)
		if err := create(t, l).Close(); err != nil {
			t.Fatal(err)
		}
		check(read(t, l, 0, Span{}, all, all).Events)
		if err := l.Delete(id); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzFiles reads and continues damaged files: nothing panics, pages are in
// order, and what was appended can be read.
func FuzzFiles(f *testing.F) {
	dir := f.TempDir()
	w := create(f, open(f, dir))
	add(f, w, 0, "one\n", "two\n", "three\n", "four\n")
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	log, err1 := os.ReadFile(logFile(dir))
	index, err2 := os.ReadFile(logFile(dir) + ".index")
	if err := errors.Join(err1, err2); err != nil {
		f.Fatal(err)
	}
	f.Add(log, index, int64(0), int64(0), int64(0))
	second := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, headerSize+4), uint64(start.UnixMilli()))
	f.Add(log, second, int64(21), int64(0), int64(0))
	f.Add(log[:len(log)-3], index, int64(20), start.UnixMilli(), start.UnixMilli()+1)
	f.Add(log[:60], []byte("\x00\x00\x00\x00\x00\x00\x00\x14\x00\x00\x01\x9a"), int64(-1), int64(5), int64(-5))
	f.Add([]byte("\x00\x00\x00\x00\xff\xff\xff\xff"), []byte{}, int64(1<<62), int64(1<<62), int64(1<<62))
	f.Fuzz(func(t *testing.T, log, index []byte, place, start, end int64) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Dir(logFile(dir)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(logFile(dir), log, 0o600), os.WriteFile(logFile(dir)+".index", index, 0o600)); err != nil {
			t.Fatal(err)
		}
		l := open(t, dir)
		var span Span
		if start != 0 {
			span.Start = time.UnixMilli(start)
		}
		if end != 0 {
			span.End = time.UnixMilli(end)
		}
		for _, p := range []Page{read(t, l, Offset(place), span, 3, 100), readBack(t, l, Offset(place), span, 3, 100)} {
			last := p.From
			for _, e := range p.Events {
				if e.Offset < last || e.Next <= e.Offset || e.Next > p.Next || e.Next > Offset(len(log)) {
					t.Errorf("event from %d to %d in a page from %d to %d", e.Offset, e.Next, p.From, p.Next)
				}
				last = e.Next
			}
			if len(p.Events) > 3 {
				t.Errorf("%d events, want 3 at most", len(p.Events))
			}
		}
		before := read(t, l, 0, Span{}, all, all)
		w, err := l.Create(id)
		if err != nil {
			t.Fatal(err)
		}
		add(t, w, 0, "behind\n")
		w.timer.Stop() // Close would wait for the disk
		if err := errors.Join(w.Flush(), w.f.Close(), w.index.Close()); err != nil {
			t.Fatal(err)
		}
		delete(l.active, id)
		after := messages(read(t, l, 0, Span{}, all, all).Events)
		if len(after) == 0 || after[len(after)-1] != "behind\n" || len(after) > len(before.Events)+1 {
			t.Errorf("%d events before and %d after one was appended", len(before.Events), len(after))
		}
		want(t, "the last event", readBack(t, l, End, Span{}, 1, all).Events, "behind\n")
	})
}

// benchLine is of the length of those in other logs' measurements.
var benchLine = []byte("2026/11/23 10:20:30 [INFO] compiling module-7/src/main/java/org/example/Service42.java (123 ms)..\n")

func BenchmarkAppend(b *testing.B) {
	w := create(b, open(b, b.TempDir()))
	b.SetBytes(int64(len(benchLine)))
	for b.Loop() {
		if err := w.Append(start, benchLine); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

func BenchmarkLines(b *testing.B) {
	chunk := bytes.Repeat(benchLine, 32<<10/len(benchLine))
	lines := NewLines(create(b, open(b, b.TempDir())), func() time.Time { return start })
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		if _, err := lines.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(chunk)/len(benchLine))/b.Elapsed().Seconds(), "lines/s")
}

func BenchmarkRead(b *testing.B) {
	l := open(b, b.TempDir())
	w := create(b, l)
	for i := range 1_000_000 {
		if err := w.Append(at(i), benchLine); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	record := headerSize + len(benchLine)
	for _, bm := range []struct {
		name string
		read func(line int) Page
	}{
		{"forward", func(line int) Page { return read(b, l, Offset(line*record), Span{}, 1000, all) }},
		{"back", func(line int) Page { return readBack(b, l, Offset((line+1000)*record), Span{}, 1000, all) }},
		{"time", func(line int) Page { return read(b, l, 0, Span{Start: at(line)}, 1000, all) }},
		{"last", func(int) Page { return readBack(b, l, End, Span{}, 1000, all) }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			rnd := rand.New(rand.NewPCG(1, 2))
			for b.Loop() {
				if p := bm.read(rnd.IntN(998_000)); len(p.Events) != 1000 {
					b.Fatalf("%d events", len(p.Events))
				}
			}
		})
	}
}

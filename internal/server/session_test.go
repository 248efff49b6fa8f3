package server

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Who tries keys waits twice as long each time, is forgotten after a while, and
// keeps nobody else out.
func TestAttempts(t *testing.T) {
	t.Parallel()
	a := attempts{of: map[string]*tried{}}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for i := range freeAttempts {
		if wait := a.begin(now, "address x", "key y"); wait != 0 {
			t.Fatalf("attempt %d waits %v", i+1, wait)
		}
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		want *= time.Second
		if got := a.begin(now, "address x"); got != want {
			t.Errorf("the address waits %v, want %v", got, want)
		}
		if got := a.begin(now, "address z", "key y"); got != want {
			t.Errorf("the key waits %v from another address, want %v", got, want)
		}
		if got := a.begin(now, "address z", "key other"); got != 0 {
			t.Errorf("somebody else waits %v", got)
		}
		a.succeed("address z", "key other")
		now = now.Add(want)
		if got := a.begin(now, "address x", "key y"); got != 0 {
			t.Errorf("after %v it still waits %v", want, got)
		}
	}
	now = now.Add(longestWait + forgetAfter + time.Second)
	for i := range freeAttempts {
		if wait := a.begin(now, "address x"); wait != 0 {
			t.Errorf("long after, attempt %d waits %v", i+1, wait)
		}
	}
	a.succeed("address x")
	if wait := a.begin(now, "address x"); wait != 0 {
		t.Errorf("after a success it waits %v", wait)
	}
	for i := range 3 * maxTried {
		a.begin(now, fmt.Sprint("address ", i))
	}
	if len(a.of) > maxTried {
		t.Errorf("%d names are kept", len(a.of))
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]string{
		"": "./", "projects/app": "./projects/app", "builds?status=FAILED#2": "./builds?status=FAILED#2",
		"/": "./", "//evil.example": "./", `\\evil.example`: "./", "../../admin": "./", "a/../../b": "./", "javascript:alert(1)": "./javascript:alert(1)",
		"a b": "./", "a\nb": "./", "%zz": "./", "é": "./",
	} {
		if got := within(next); got != want {
			t.Errorf("within(%q) = %q, want %q", next, got, want)
		}
	}
}

// Wherever within leads, it is a page of this server's console.
func FuzzWithin(f *testing.F) {
	for _, next := range []string{"projects/app", "//evil.example", "/\\evil.example", "\t//evil.example", "%2e%2e/x", ";@evil.example", "?x", "#y", "a/./../.."} {
		f.Add(next)
	}
	at, err := url.Parse("https://corbel.example.com/corbel/console/login")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, next string) {
		to, err := at.Parse(within(next))
		if err != nil || to.Scheme != "https" || to.Host != at.Host || !strings.HasPrefix(to.Path, "/corbel/console/") || to.User != nil {
			t.Errorf("within(%q) = %q leads to %v, %v", next, within(next), to, err)
		}
	})
}

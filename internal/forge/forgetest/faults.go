package forgetest

import (
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

// A Fault makes some requests go wrong.
type Fault struct {
	Method string // "" is every method
	// Path is the beginning of the path, without /api/v3.
	Path  string
	Times int // how often; 0 is always
	// Do answers. next is the server without the fault.
	Do func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

// Inject adds a fault. The one that was added first wins.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// Heal removes all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) fault(method, path string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults {
		if (f.Method == "" || f.Method == method) && strings.HasPrefix(path, f.Path) {
			if f.Times--; f.Times == 0 {
				s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
			}
			return f
		}
	}
	return nil
}

// Answer is a fault's Do that gives a fixed answer. header may be nil.
func Answer(status int, header map[string]string, body string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// Redirect sends requests to location.
func Redirect(status int, location string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return Answer(status, map[string]string{"Location": location}, "")
}

// RateLimited is what GitHub says when the hour's requests are used up, with
// the time when there are new ones.
// Source: GitHub, "Rate limits for the REST API".
func RateLimited(reset time.Time) func(http.ResponseWriter, *http.Request, http.Handler) {
	return Answer(http.StatusForbidden, map[string]string{
		"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Used": "5000",
		"X-RateLimit-Resource": "core", "X-RateLimit-Reset": strconv.FormatInt(reset.Unix(), 10),
	}, `{"message":"API rate limit exceeded for user ID 1.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api","status":"403"}`)
}

// SecondaryLimit is what GitHub says to too many requests at a time. After 0
// it does not tell how long to wait.
// Source: GitHub, "Rate limits for the REST API".
func SecondaryLimit(after time.Duration) func(http.ResponseWriter, *http.Request, http.Handler) {
	header := map[string]string{"X-RateLimit-Remaining": "4321"}
	if after > 0 {
		header["Retry-After"] = strconv.Itoa(int(after.Seconds()))
	}
	return Answer(http.StatusForbidden, header,
		`{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.","documentation_url":"https://docs.github.com/free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits","status":"403"}`)
}

// Hold keeps requests waiting until the channel is closed, or the client
// leaves. Then they go on.
func Hold(until <-chan struct{}) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case <-until:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
}

// Late keeps the answer, of a request that was carried out, until the channel
// is closed or the client leaves.
func Late(until <-chan struct{}) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		kept := httptest.NewRecorder()
		next.ServeHTTP(kept, r)
		select {
		case <-until:
			maps.Copy(w.Header(), kept.Header())
			w.WriteHeader(kept.Code)
			_, _ = w.Write(kept.Body.Bytes())
		case <-r.Context().Done():
		}
	}
}

// Lost carries a request out and breaks the connection without an answer.
func Lost() func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		Reset()(w, r, next)
	}
}

// Twice carries a request out two times, as when something on the way sends it
// again, and gives the second answer.
func Twice() func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client left
		}
		for _, to := range []http.ResponseWriter{httptest.NewRecorder(), w} {
			again := r.Clone(r.Context())
			again.Body = io.NopCloser(bytes.NewReader(body))
			next.ServeHTTP(to, again)
		}
	}
}

// Reset breaks the connection without an answer.
func Reset() func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		if h, ok := w.(http.Hijacker); ok {
			if c, _, err := h.Hijack(); err == nil {
				if tcp, ok := c.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0) // a reset in place of an orderly end
				}
				_ = c.Close()
				return
			}
		}
		panic(http.ErrAbortHandler) // HTTP/2 has no connection to take over
	}
}

// Truncate breaks the connection after n bytes of the answer's body.
func Truncate(n int) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&truncated{w, n}, r)
	}
}

type truncated struct {
	http.ResponseWriter
	left int
}

func (t *truncated) Write(b []byte) (int, error) {
	if len(b) <= t.left {
		t.left -= len(b)
		return t.ResponseWriter.Write(b)
	}
	_, _ = t.ResponseWriter.Write(b[:t.left])
	if f, ok := t.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}

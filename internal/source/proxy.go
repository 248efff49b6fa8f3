package source

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// capabilityHeader carries what opens a proxy. A header, and not a part of the
// address: git repeats addresses in the arguments of its helpers, which every
// user of a machine can read.
const capabilityHeader = "Corbel-Capability"

// proxyPath is the repository's address at the proxy of a fetch.
const proxyPath = "/source"

// A proxy lets git read repositories for a time: one for a fetch, those of a
// gate for a build. It is where the Authorization header is added.
type proxy struct {
	address    string // http://HOST:PORT
	capability string

	server *http.Server
	ctx    context.Context // ends with the proxy, and all its requests with it
	cancel context.CancelFunc
	served sync.WaitGroup
	left   atomic.Int64 // bytes that may still come from the host

	mu  sync.Mutex
	err error // the first failure on the side of the host
}

// newProxy listens on a free port of the loopback interface and has answer
// answer whoever knows the capability. The caller closes the proxy.
func newProxy(ctx context.Context, maxBytes int64, answer func(*proxy, http.ResponseWriter, *http.Request)) (*proxy, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for git: %w", err)
	}
	p := &proxy{
		address:    "http://" + l.Addr().String(),
		capability: rand.Text() + rand.Text(), // 260 bits
	}
	p.left.Store(maxBytes)
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if subtle.ConstantTimeCompare([]byte(req.Header.Get(capabilityHeader)), []byte(p.capability)) != 1 {
				http.Error(w, "forbidden", http.StatusForbidden)
				return
			}
			answer(p, w, req)
		}),
		ReadHeaderTimeout: 5 * time.Second,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return p.ctx },
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	p.served.Go(func() { p.server.Serve(l) }) // ends with close
	return p, nil
}

// close ends the proxy and every request in it. Its capability is worthless
// afterwards.
func (p *proxy) close() {
	p.cancel()
	p.server.Close()
	p.served.Wait()
}

// failure is what went wrong between the proxy and the host, if anything.
func (p *proxy) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *proxy) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && p.ctx.Err() == nil {
		p.err = err
	}
}

// Headers that git may send to the host, and the host to git.
var (
	requestHeaders  = []string{"Accept", "Content-Type", "Content-Encoding", "Git-Protocol"}
	responseHeaders = []string{"Content-Type", "Cache-Control", "Expires", "Pragma"}
)

// forFetch answers the two requests of a fetch of r and refuses all others.
func forFetch(r *remote) func(*proxy, http.ResponseWriter, *http.Request) {
	return func(p *proxy, w http.ResponseWriter, req *http.Request) {
		if path, ok := readOf(req, proxyPath); ok {
			p.forward(w, req, r, path)
			return
		}
		http.Error(w, "forbidden", http.StatusForbidden)
	}
}

// readOf tells which of the two requests of a fetch is made of the repository at
// a path of the proxy.
func readOf(req *http.Request, repository string) (path string, ok bool) {
	switch {
	case req.Method == http.MethodGet && req.URL.Path == repository+infoRefs && req.URL.RawQuery == service:
		return infoRefs, true
	case req.Method == http.MethodPost && req.URL.Path == repository+uploadPack && req.URL.RawQuery == "":
		return uploadPack, true
	}
	return "", false
}

// forward makes one of the requests of a fetch at the host.
func (p *proxy) forward(w http.ResponseWriter, req *http.Request, r *remote, path string) {
	var body io.Reader
	if req.Method == http.MethodPost {
		body = req.Body
	}
	header := http.Header{}
	for _, name := range requestHeaders {
		if v := req.Header.Values(name); len(v) > 0 {
			header[name] = v
		}
	}
	resp, err := r.send(req.Context(), req.Method, path, header, body, req.ContentLength)
	if req.Context().Err() != nil {
		return // git has gone; it says why
	}
	if err != nil {
		p.fail(err)
		status := http.StatusBadGateway
		var known statusError
		if errors.As(err, &known) {
			status = int(known)
		}
		http.Error(w, "the host did not serve the request", status)
		return
	}
	defer resp.Body.Close()
	for _, name := range responseHeaders {
		if v := resp.Header.Values(name); len(v) > 0 {
			w.Header()[name] = v
		}
	}
	if err := p.copy(w, resp.Body, r.base.Load().Host); err != nil && req.Context().Err() == nil {
		p.fail(err)
		panic(http.ErrAbortHandler) // so that git does not take the rest for the end
	}
}

// copy streams a body to git. Its error is one of the host's side.
func (p *proxy) copy(w http.ResponseWriter, body io.Reader, host string) error {
	flusher := http.NewResponseController(w)
	buf := make([]byte, 64<<10)
	for {
		n, err := body.Read(buf)
		if p.left.Add(-int64(n)) < 0 {
			return errTooLarge
		}
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return nil // git has gone; it says why
			}
			if n < len(buf) {
				flusher.Flush()
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return networkError{host, reason(err)}
		}
	}
}

// errTooLarge ends a transfer that exceeds Config.MaxBytes.
var errTooLarge = errors.New("the source is too large")

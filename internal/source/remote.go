package source

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// askTimeout bounds one question about refs; a hanging host costs a build
	// that much, three times.
	askTimeout = 30 * time.Second
	infoRefs   = "/info/refs"
	uploadPack = "/git-upload-pack"
	service    = "service=git-upload-pack"
)

// A remote is one repository on its host, for one fetch. It makes all requests
// to the host and alone asks for the Authorization header.
type remote struct {
	transport http.RoundTripper
	agent     string
	authorize func(context.Context) (string, error) // nil: anonymous
	base      atomic.Pointer[url.URL]               // moves when the repository was renamed
}

// Ways in which a host can fail us, for explain.
type (
	statusError   int                           // an HTTP status that is no success
	redirectError struct{ from, to string }     // to another host
	insecureError struct{ host string }         // a token would go over plain HTTP
	networkError  struct{ host, reason string } // no answer
	foreignError  struct {
		host string
		err  error
	} // an answer that is not git's
	authError struct{ err error } // Authorize failed: ours
)

func (e statusError) Error() string   { return fmt.Sprintf("status %d", int(e)) }
func (e redirectError) Error() string { return e.from + " redirects to " + e.to }
func (e insecureError) Error() string { return "no token is sent to " + e.host + " without TLS" }
func (e networkError) Error() string  { return e.host + ": " + e.reason }
func (e foreignError) Error() string  { return e.host + ": " + e.err.Error() }
func (e authError) Error() string     { return "make the Authorization header: " + e.err.Error() }
func (e authError) Unwrap() error     { return e.err }

// send makes one request below the repository's address and returns an answer
// with status 200. It follows one redirect, if that stays on scheme, host and
// port and is what a host does after a rename; body must be a Seeker then.
func (r *remote) send(ctx context.Context, method, path string, header http.Header, body io.Reader, length int64) (*http.Response, error) {
	base := r.base.Load()
	for redirected := false; ; redirected = true {
		target := base.String() + path
		if path == infoRefs {
			target += "?" + service
		}
		req, err := http.NewRequestWithContext(ctx, method, target, body)
		if err != nil {
			return nil, errors.New("make a request to " + base.Host)
		}
		req.ContentLength = length
		for name, values := range header {
			req.Header[name] = values
		}
		req.Header.Set("User-Agent", r.agent)
		if r.authorize != nil {
			if base.Scheme != "https" && !isLoopback(base.Hostname()) {
				return nil, insecureError{base.Host}
			}
			value, err := r.authorize(ctx)
			if err != nil {
				return nil, authError{err}
			}
			req.Header.Set("Authorization", value)
		}
		resp, err := r.transport.RoundTrip(req)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, networkError{base.Host, reason(err)}
		}
		if resp.StatusCode == http.StatusOK {
			r.base.Store(base)
			return resp, nil
		}
		drain(resp)
		resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			return nil, statusError(resp.StatusCode)
		}
		moved, err := follow(base, path, resp.Header.Get("Location"))
		if err != nil {
			return nil, err
		}
		if redirected {
			return nil, redirectError{base.Host, "more than one other address"}
		}
		if body != nil {
			again, ok := body.(io.Seeker)
			if !ok {
				return nil, redirectError{base.Host, "another address in the middle of a transfer"}
			}
			if _, err := again.Seek(0, io.SeekStart); err != nil {
				return nil, err
			}
		}
		base = moved
	}
}

// drain reads to the end, if that is near, so that the connection can be used
// again: making one costs more than the question.
func drain(resp *http.Response) { io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10)) }

// follow returns the repository's new address, if a redirect is one to the same
// path of another repository on the same scheme, host and port.
func follow(base *url.URL, path, location string) (*url.URL, error) {
	target, err := base.Parse(location)
	if err != nil || location == "" {
		return nil, redirectError{base.Host, "an address that is none"}
	}
	if origin(target) != origin(base) || target.User != nil {
		return nil, redirectError{base.Host, printable(origin(target))}
	}
	to, ok := strings.CutSuffix(target.Path, path)
	if !ok || to == "" || target.RawPath != "" || path == infoRefs && target.RawQuery != service {
		return nil, redirectError{base.Host, "a page that is not a repository"}
	}
	moved, err := checkURL(origin(target) + to)
	if err != nil {
		return nil, redirectError{base.Host, "a page that is not a repository"}
	}
	return moved, nil
}

// origin is scheme, host and port.
func origin(u *url.URL) string {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	if port == "80" && u.Scheme == "http" || port == "443" && u.Scheme == "https" {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return u.Scheme + "://" + host
	}
	return u.Scheme + "://" + net.JoinHostPort(host, port)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// reason says in our words why a round trip failed. Text that may come from
// the host is left out.
func reason(err error) string {
	var (
		dns *net.DNSError
		op  *net.OpError
		tlv *tls.CertificateVerificationError
		out net.Error
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no such host"
	case errors.As(err, &dns):
		return "its name could not be looked up"
	case errors.As(err, &tlv):
		return "its certificate is not valid: " + printable(tlv.Err.Error())
	case errors.As(err, &out) && out.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "it did not answer in time"
	case errors.As(err, &op):
		return printable(op.Op + ": " + op.Err.Error())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe):
		return "it closed the connection"
	case strings.Contains(err.Error(), "malformed"), strings.Contains(err.Error(), "net/http"), strings.Contains(err.Error(), "http2"):
		return "its answer is not HTTP as it should be"
	}
	return printable(err.Error())
}

// A dialect is how a host speaks: what is tried first, and learned once.
type dialect struct {
	version int // 2 or 0
	format  string
}

// refs asks the host for those refs that want wants, all of which must begin
// with one of prefixes. It repeats what fails for a passing reason.
func (f *Fetcher) refs(ctx context.Context, r *remote, prefixes []string, want func(name string) bool) ([]ref, error) {
	for attempt := 1; ; attempt++ {
		refs, err := f.refsOnce(ctx, r, prefixes, want)
		if err == nil || attempt == attempts || ctx.Err() != nil || !passing(err) {
			return refs, err
		}
		if err := f.wait(ctx, pause(attempt)); err != nil {
			return nil, err
		}
	}
}

// attempts is how often something is tried that fails for a passing reason.
const attempts = 3

// pause is the time before the next attempt: 0.25 s, 1 s.
func pause(attempt int) time.Duration { return 250 * time.Millisecond << (2 * (attempt - 1)) }

// passing reports whether an error may be gone a moment later.
func passing(err error) bool {
	var network networkError
	var status statusError
	if errors.As(err, &status) {
		return slices.Contains([]int{500, 502, 503, 504}, int(status))
	}
	return errors.As(err, &network)
}

func (f *Fetcher) refsOnce(ctx context.Context, r *remote, prefixes []string, want func(name string) bool) ([]ref, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, networkError{r.base.Load().Host, "it did not answer in time"})
	defer cancel()
	key := r.base.Load().String()
	how, known := f.dialects.get(key)
	if !known {
		how = dialect{version: 2, format: sha1Format}
	}
	if how.version == 2 {
		refs, err := r.lsRefs(ctx, how.format, prefixes, want)
		var foreign foreignError
		var status statusError
		switch {
		case err == nil:
			return refs, nil
		case errors.As(err, &foreign):
		case errors.As(err, &status) && !slices.Contains([]int{401, 403, 404, 429, 502, 503, 504}, int(status)):
		default:
			return nil, err
		}
	}
	ad, err := r.advertisement(ctx, want)
	if err != nil {
		return nil, err
	}
	if learned := (dialect{ad.version, ad.format}); learned != how {
		how = learned
		f.dialects.put(key, how)
	}
	if ad.version == 0 {
		return ad.refs, nil
	}
	return r.lsRefs(ctx, how.format, prefixes, want)
}

// lsRefs asks in protocol version 2, without the usual question for
// capabilities first: a host that does not understand says so.
func (r *remote) lsRefs(ctx context.Context, format string, prefixes []string, want func(string) bool) ([]ref, error) {
	body := lsRefs(format, prefixes)
	header := http.Header{
		"Git-Protocol": {"version=2"},
		"Content-Type": {"application/x-git-upload-pack-request"},
		"Accept":       {"application/x-git-upload-pack-result"},
	}
	resp, err := r.send(ctx, http.MethodPost, uploadPack, header, bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if !hasType(resp, "application/x-git-upload-pack-result") {
		return nil, foreignError{r.base.Load().Host, errProtocol}
	}
	refs, err := parseRefs(resp.Body, want)
	drain(resp)
	return refs, r.bodyError(ctx, err)
}

func (r *remote) advertisement(ctx context.Context, want func(string) bool) (advertisement, error) {
	header := http.Header{"Git-Protocol": {"version=2"}, "Accept": {"application/x-git-upload-pack-advertisement"}}
	resp, err := r.send(ctx, http.MethodGet, infoRefs, header, nil, 0)
	if err != nil {
		return advertisement{}, err
	}
	defer resp.Body.Close()
	if !hasType(resp, "application/x-git-upload-pack-advertisement") {
		return advertisement{}, foreignError{r.base.Load().Host, errProtocol}
	}
	ad, err := parseAdvertisement(resp.Body, want)
	drain(resp)
	return ad, r.bodyError(ctx, err)
}

// bodyError tells a host that speaks wrongly from a connection that broke.
func (r *remote) bodyError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errProtocol):
		return foreignError{r.base.Load().Host, err}
	}
	return networkError{r.base.Load().Host, reason(err)}
}

func hasType(resp *http.Response, want string) bool {
	got, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && got == want
}

// dialects remembers how hosts speak, by repository.
type dialects struct {
	mu sync.Mutex
	m  map[string]dialect
}

func (d *dialects) get(key string) (dialect, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.m[key]
	return v, ok
}

func (d *dialects) put(key string, v dialect) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.m == nil || len(d.m) >= 10_000 {
		d.m = map[string]dialect{} // it can all be learned again
	}
	d.m[key] = v
}

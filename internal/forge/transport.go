package forge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The limits of a connection to a provider. A whole call is bounded by its
// context.
const (
	dialTime   = 5 * time.Second // with the look-up of the name
	tlsTime    = 5 * time.Second
	headerTime = 30 * time.Second
	idleTime   = 90 * time.Second
	idleConns  = 16      // kept for each host
	maxAnswer  = 8 << 20 // bytes of an answer that a Client reads
	maxHops    = 5       // redirects within a host that a Client follows
)

// ErrRedirect is the error of a Client that was sent elsewhere. Its text names
// the target.
var ErrRedirect = errors.New("redirect refused")

// Transport returns the one way to providers. It follows no redirect, uses no
// proxy of the environment, verifies certificates with the authorities that
// the operator gave for the host or else the system's, and keeps connections.
// A single one should be used by everything.
//
// Credentials leave only for the origins (scheme, host and port) of hosts; a
// request that carries some to another fails before it is sent. To hosts that
// the operator did not list, only public addresses are dialled: the address is
// checked, not the name, so that a name with several or changing addresses
// does not get round it.
func Transport(hosts *Hosts) http.RoundTripper { return newTransport(hosts, nil) }

type transport struct {
	hosts *Hosts
	rest  *http.Transport

	now  atomic.Pointer[routes]
	turn sync.Mutex // of who makes routes anew
}

// routes are what follows from one table of hosts.
type routes struct {
	table   *[]Host
	origins map[string]bool            // where credentials may go
	own     map[string]*http.Transport // by host and port: hosts with their own authorities
	listed  map[string]string          // host and port -> scheme, of the operator's hosts
}

func newTransport(hosts *Hosts, resolver *net.Resolver) *transport {
	t := &transport{hosts: hosts}
	t.rest = &http.Transport{
		DialContext:           (&dialer{resolver, func() map[string]string { return t.routes().listed }}).dial,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   tlsTime,
		ResponseHeaderTimeout: headerTime,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   idleConns,
		IdleConnTimeout:       idleTime,
		ForceAttemptHTTP2:     true,
	}
	return t
}

// routes are those of the table that is in force. Connections of a former one
// are used no more.
func (t *transport) routes() *routes {
	if r := t.now.Load(); r != nil && r.table == t.hosts.table.Load() {
		return r
	}
	t.turn.Lock()
	defer t.turn.Unlock()
	table, old := t.hosts.table.Load(), t.now.Load()
	if old != nil && old.table == table {
		return old
	}
	r := &routes{table: table, origins: map[string]bool{}, own: map[string]*http.Transport{}, listed: map[string]string{}}
	for _, h := range *table {
		for _, address := range []string{h.Git, h.API} {
			u, err := url.Parse(address)
			if err != nil {
				panic("forge: " + err.Error()) // Hosts put it together
			}
			r.origins[origin(u)] = true
			if h.listed {
				r.listed[hostPort(u)] = u.Scheme
			}
			if h.roots != nil || h.insecure {
				own := t.rest.Clone()
				own.TLSClientConfig.RootCAs = h.roots
				own.TLSClientConfig.InsecureSkipVerify = h.insecure // the operator's word, for this host
				r.own[hostPort(u)] = own
			}
		}
	}
	t.now.Store(r)
	if old != nil {
		t.rest.CloseIdleConnections()
		old.close()
	}
	return r
}

func (r *routes) close() {
	for _, own := range r.own {
		own.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	routes := t.routes()
	if err := routes.admit(r); err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	if own := routes.own[hostPort(r.URL)]; own != nil && r.URL.Scheme == "https" {
		return own.RoundTrip(r)
	}
	return t.rest.RoundTrip(r)
}

// CloseIdleConnections is for http.Client's method of that name.
func (t *transport) CloseIdleConnections() {
	t.rest.CloseIdleConnections()
	t.routes().close()
}

// credentials are the headers that providers take tokens in.
var credentials = []string{"Authorization", "Cookie", "Private-Token", "Job-Token", "Proxy-Authorization"}

// admit checks a request before a connection is made.
func (t *routes) admit(r *http.Request) error {
	switch {
	case r.URL.Scheme != "https" && r.URL.Scheme != "http":
		return fmt.Errorf("refused to use %q: only https and http are for source providers", r.URL.Scheme)
	case strings.ContainsFunc(r.URL.Host, func(c rune) bool { return c > '~' }):
		// The dialer would map it to ASCII, perhaps to another name's.
		return errors.New("refused to send a request to a host that is not written in ASCII")
	case r.URL.User != nil:
		return errors.New("refused to send a request whose address contains a user name or password")
	case r.Host != "" && !strings.EqualFold(r.Host, r.URL.Host):
		return fmt.Errorf("refused to send a request for %s to %s", r.Host, r.URL.Host)
	case t.origins[origin(r.URL)]:
		return nil
	}
	for _, name := range credentials {
		if r.Header.Get(name) != "" {
			return fmt.Errorf("refused to send credentials to %s: they are for the known hosts and those listed with -host", origin(r.URL))
		}
	}
	return nil
}

// origin is the scheme, host and port of u.
func origin(u *url.URL) string { return u.Scheme + "://" + hostPort(u) }

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// A dialer checks addresses.
type dialer struct {
	resolver *net.Resolver
	listed   func() map[string]string // as in routes
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	scheme := d.listed()[strings.ToLower(address)]
	// Control sees each address that the name stands for, just before the
	// connection, so there is no second look-up that could answer otherwise.
	control := func(_, to string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(to)
		switch ip := a.Addr(); {
		case err != nil:
			return fmt.Errorf("refused to dial %q", to)
		case scheme == "" && !public(ip):
			return fmt.Errorf("refused to dial %s, which is not a public address; if the host is meant, list it with -host", ip)
		case scheme == "http" && !ip.IsLoopback():
			return fmt.Errorf("refused to dial %s with http, which is for loopback addresses", ip)
		}
		return nil
	}
	return (&net.Dialer{Timeout: dialTime, KeepAlive: 30 * time.Second, Resolver: d.resolver, Control: control}).DialContext(ctx, network, address)
}

// special are the ranges that IsGlobalUnicast and IsPrivate do not tell apart
// from public ones.
// Source: IANA's registries of special-purpose addresses (RFC 6890).
var special = func() (list []netip.Prefix) {
	for _, p := range strings.Fields(`
		0.0.0.0/8 100.64.0.0/10 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24
		198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
		168.63.129.16/32
		::/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32
		2002::/16 3fff::/20 5f00::/16 fec0::/10`) {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}()

// public reports whether ip is an address of the public Internet. 168.63.129.16
// looks like one and is where Azure's machines find their host. Ranges that
// wrap an IPv4 address (NAT64, 6to4, Teredo) are not public, since the address
// inside may be private.
func public(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// Client returns an HTTP client for one host's API over rt. It sends nothing
// but to the origins of host, follows a redirect only within an origin and
// only with the method unchanged (a POST that became a GET would look like a
// success), and reads at most 8 MiB of an answer.
func Client(rt http.RoundTripper, host Host) *http.Client {
	b := &bound{next: rt}
	for _, address := range []string{host.Git, host.API} {
		if u, err := url.Parse(address); err == nil {
			b.origins = append(b.origins, origin(u))
		}
	}
	return &http.Client{Transport: b, CheckRedirect: checkRedirect}
}

func checkRedirect(r *http.Request, via []*http.Request) error {
	last := via[len(via)-1]
	switch target := origin(r.URL); {
	case target != origin(last.URL) || r.URL.User != nil:
		return fmt.Errorf("%w: to another host, %s", ErrRedirect, target)
	case r.Method != last.Method:
		return fmt.Errorf("%w: to %s, which would turn %s into %s", ErrRedirect, r.URL.Path, last.Method, r.Method)
	case len(via) > maxHops:
		return fmt.Errorf("%w: more than %d in a row", ErrRedirect, maxHops)
	}
	return nil
}

// bound keeps a client to one host.
type bound struct {
	next    http.RoundTripper
	origins []string
}

func (b *bound) RoundTrip(r *http.Request) (*http.Response, error) {
	for _, o := range b.origins {
		if o == origin(r.URL) {
			res, err := b.next.RoundTrip(r)
			if err == nil {
				res.Body = limited{io.LimitReader(res.Body, maxAnswer), res.Body}
			}
			return res, err
		}
	}
	if r.Body != nil {
		r.Body.Close()
	}
	return nil, fmt.Errorf("refused to send a request to %s, which is not %s", origin(r.URL), strings.Join(b.origins, " or "))
}

// limited is a body with a limit.
type limited struct {
	io.Reader
	io.Closer
}

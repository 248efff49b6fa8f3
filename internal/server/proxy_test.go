package server

import (
	"crypto/tls"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// A proxy is believed if it is trusted, and only as far as it speaks for itself.
func TestFrom(t *testing.T) {
	trusting := &server{Config: Config{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}}}
	for _, c := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"straight", "192.0.2.7:4000", nil, "192.0.2.7"},
		{"a stranger who says he is another", "192.0.2.7:4000", []string{"198.51.100.1"}, "192.0.2.7"},
		{"a proxy", "127.0.0.1:4000", []string{"192.0.2.7"}, "192.0.2.7"},
		{"a proxy behind a proxy", "127.0.0.1:4000", []string{"192.0.2.7, 10.1.2.3"}, "192.0.2.7"},
		{"in two headers", "127.0.0.1:4000", []string{"192.0.2.7", "10.1.2.3"}, "192.0.2.7"},
		{"what a client put before", "127.0.0.1:4000", []string{"198.51.100.1, 192.0.2.7"}, "192.0.2.7"},
		{"a client who says he is a proxy", "127.0.0.1:4000", []string{"198.51.100.1, 10.1.2.3, 192.0.2.7"}, "192.0.2.7"},
		{"a client on the proxy's machine", "127.0.0.1:4000", []string{"127.0.0.1"}, "127.0.0.1"},
		{"a proxy that does not say", "127.0.0.1:4000", nil, "127.0.0.1"},
		{"a proxy that says something else", "127.0.0.1:4000", []string{"192.0.2.7, unknown"}, "127.0.0.1"},
		{"IPv6", "[fd00::1]:4000", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:4000", []string{"::ffff:192.0.2.7"}, "192.0.2.7"},
		{"a socket", "@", []string{"192.0.2.7"}, "@"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		r.Header["X-Forwarded-For"] = c.forwarded
		if got := trusting.from(r); got != c.want {
			t.Errorf("%s: from %s, want %s", c.name, got, c.want)
		}
		if got, want := new(server).from(r), peer(r); got != want {
			t.Errorf("%s: without trusted proxies from %s, want %s", c.name, got, want)
		}
	}
}

func TestOverTLS(t *testing.T) {
	trusting := &server{Config: Config{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}}
	for _, c := range []struct {
		remote, proto string
		tls, want     bool
	}{
		{"192.0.2.7:1", "", false, false},
		{"192.0.2.7:1", "", true, true},
		{"192.0.2.7:1", "https", false, false},
		{"127.0.0.1:1", "https", false, true},
		{"127.0.0.1:1", "http", false, false},
		{"127.0.0.1:1", "https, http", false, false},
		{"127.0.0.1:1", "", false, false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		if c.proto != "" {
			r.Header.Set("X-Forwarded-Proto", c.proto)
		}
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got := trusting.overTLS(r); got != c.want {
			t.Errorf("%+v: over TLS is %v", c, got)
		}
	}
}

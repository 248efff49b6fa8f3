package server

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// from is the address of who sent r: of who connected, or, where that is a
// trusted proxy, of who it says sent it. Each proxy appends to X-Forwarded-For
// whom it heard, so the last that no trusted proxy has is who sent r; what
// stands before it is that one's own word.
func (s *server) from(r *http.Request) string {
	host := peer(r)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && s.trusts(host); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break // the proxy does not say, or not as proxies do
		}
		host = hop.Unmap().WithZone("").String()
	}
	return host
}

// overTLS reports whether r came by TLS to this server, or to the trusted proxy
// before it.
func (s *server) overTLS(r *http.Request) bool {
	protos := strings.Split(strings.Join(r.Header.Values("X-Forwarded-Proto"), ","), ",")
	return r.TLS != nil || s.trusts(peer(r)) && strings.EqualFold(strings.TrimSpace(protos[len(protos)-1]), "https")
}

// trusts reports whether the address is of a trusted proxy.
func (s *server) trusts(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(s.Proxies, func(p netip.Prefix) bool { return p.Contains(addr.Unmap().WithZone("")) })
}

// peer is the address of who connected.
func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

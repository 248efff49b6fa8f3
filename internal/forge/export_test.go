package forge

import (
	"context"
	"net"
	"net/http"
	"net/netip"
)

// What the tests see of the inside.
func TransportWithResolver(h *Hosts, r *net.Resolver) http.RoundTripper { return newTransport(h, r) }
func UsesProxy(rt http.RoundTripper) bool                               { return rt.(*transport).rest.Proxy != nil }
func Public(ip netip.Addr) bool                                         { return public(ip) }
func Dial(ctx context.Context, r *net.Resolver, listed map[string]string, address string) (net.Conn, error) {
	return (&dialer{r, func() map[string]string { return listed }}).dial(ctx, "tcp", address)
}

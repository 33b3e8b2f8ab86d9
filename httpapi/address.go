package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientAddress is where a request comes from. That is who opened the connection, unless that
// is a trusted proxy: then it is who the proxy says it comes from in X-Forwarded-For, and so
// on, to the first hop from the right that is not trusted. What stands further left anybody
// may have written. The zero Addr is for a connection that has no address.
func clientAddress(r *http.Request, trusted []netip.Prefix) netip.Addr {
	peer := parseAddress(r.RemoteAddr)
	if len(trusted) == 0 {
		return peer
	}
	isTrusted := func(a netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !isTrusted(peer) {
			break
		}
		next := parseAddress(strings.TrimSpace(hop))
		if !next.IsValid() {
			break // a proxy that hides its client, or no header
		}
		peer = next
	}
	return peer
}

// parseAddress reads an address with or without a port, in whichever of its forms.
func parseAddress(s string) netip.Addr {
	if with, err := netip.ParseAddrPort(s); err == nil {
		return with.Addr().Unmap().WithZone("")
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// addressGroup is what counts as one client: an IPv4 address, or all of an IPv6 network of 64
// bits, for that is what one of those is given. Empty for none.
func addressGroup(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return ""
	case a.Is4():
		return a.String()
	}
	network, err := a.Prefix(64)
	if err != nil { // there are more bits
		return a.String()
	}
	return network.String()
}

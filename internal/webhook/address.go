package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"code.dny.dev/ssrf"

	iris "github.com/iris-mcp/iris-mcp"
)

// guardian knows the addresses that belong to nobody on the internet: private, loopback,
// link-local (the metadata of clouds), shared, multicast, documentation, and everything of IPv6
// that is not global unicast or wraps an IPv4 address. The one it does not know is where the
// machines of Azure find their metadata.
var guardian = ssrf.New(ssrf.WithAnyPort(), ssrf.WithDeniedV4Prefixes(netip.MustParsePrefix("168.63.129.16/32")))

// errRefused is why an address is not dialled.
var errRefused = errors.New("the address is refused")

// judge refuses an address that is not a public one, and ports on which other protocols might
// take a request for something else.
func judge(a netip.AddrPort) error {
	if p := a.Port(); p != 80 && p != 443 && p < 1024 {
		return fmt.Errorf("%w: port %d", errRefused, p)
	}
	if err := guardian.SafeAddr(a.Addr()); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return nil
}

// control judges an address when it is about to be dialled: after names were looked up, so
// that a name that means another address a moment later gains nothing.
func (s *Sender) control(network, address string, _ syscall.RawConn) error {
	if s.cfg.Settings().AllowPrivate {
		return nil
	}
	a, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%w: %s %s", errRefused, network, address)
	}
	return judge(a)
}

const (
	maxURL         = 2048 // bytes
	maxHeaders     = 20
	maxHeaderBytes = 8 << 10 // of all names and values
)

// Methods are those that a delivery may be sent with.
var Methods = []string{http.MethodPost, http.MethodPut, http.MethodPatch}

var (
	hostName   = regexp.MustCompile(`^[\pL\pM\pN_](?:[\pL\pM\pN_.-]{0,251}[\pL\pM\pN_])?\.?$`)
	numeric    = regexp.MustCompile(`(?i)^(?:[0-9]+|0x[0-9a-f]*)$`)
	headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$")
)

// Check says what is wrong with a callback, and with which of its fields; both are empty for
// a good one. Whether a name leads to a good address shows only at the dial.
func (s *Sender) Check(c iris.Callback) (field, problem string) {
	if problem := checkURL(c.URL, s.cfg.Settings().AllowPrivate); problem != "" {
		return "callback.url", problem
	}
	if c.Method != "" && !slices.Contains(Methods, c.Method) {
		return "callback.method", "must be one of: " + strings.Join(Methods, ", ")
	}
	if len(c.Headers) > maxHeaders {
		return "callback.headers", fmt.Sprintf("must be at most %d", maxHeaders)
	}
	bytes, seen := 0, map[string]bool{}
	for name, value := range c.Headers {
		if problem := checkHeader(name, value); problem != "" {
			if len(name) > 100 || !headerName.MatchString(name) {
				return "callback.headers", problem
			}
			return "callback.headers." + name, problem
		}
		canonical := http.CanonicalHeaderKey(name)
		if seen[canonical] {
			return "callback.headers." + name, "is given twice"
		}
		seen[canonical] = true
		bytes += len(name) + len(value)
	}
	if bytes > maxHeaderBytes {
		return "callback.headers", fmt.Sprintf("must have at most %d bytes together", maxHeaderBytes)
	}
	return "", ""
}

func checkURL(text string, allowPrivate bool) string {
	const private = "leads to a private or reserved address; webhooks.allowPrivate: true in the configuration allows that"
	if len(text) > maxURL {
		return fmt.Sprintf("must have at most %d bytes", maxURL)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return "is not a URL: encode what cannot stand in one"
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return "must be a whole address: https://… or http://…"
	case u.User != nil:
		return "must not have a user in it: send a credential in callback.headers"
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return "must not have a # in it: what follows it is never sent"
	}
	port := uint16(443)
	if u.Scheme == "http" {
		port = 80
	}
	if text := u.Port(); text != "" {
		ap, err := netip.ParseAddrPort("192.0.2.1:" + text)
		if err != nil || ap.Port() == 0 {
			return "has no good port: from 1 to 65535"
		}
		port = ap.Port()
	} else if strings.HasSuffix(u.Host, ":") {
		return "has no good port: from 1 to 65535"
	}
	if !allowPrivate && port != 80 && port != 443 && port < 1024 {
		return "has the port of another protocol: 80, 443 and those from 1024 are good; webhooks.allowPrivate: true in the configuration allows any"
	}
	host := u.Hostname()
	if addr, err := netip.ParseAddr(host); err == nil {
		if !allowPrivate && judge(netip.AddrPortFrom(addr.Unmap(), port)) != nil {
			return private
		}
		return ""
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case !hostName.MatchString(host) || numeric.MatchString(last):
		return "names no host: neither an address nor a name"
	case !allowPrivate && last == "localhost":
		return private
	}
	return ""
}

// own are the headers that belong to the connection, to the body or to the signature.
var own = []string{
	"Host", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Connection", "Keep-Alive",
	"Te", "Trailer", "Upgrade", "Expect", "Http2-Settings",
}

func checkHeader(name, value string) string {
	if !headerName.MatchString(name) {
		return "have a name that is none: letters, digits and dashes, at most 100"
	}
	canonical := http.CanonicalHeaderKey(name)
	if slices.Contains(own, canonical) || strings.HasPrefix(canonical, "Proxy-") || strings.HasPrefix(canonical, "Webhook-") {
		return "is set by Iris itself"
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }) {
		return "must have visible ASCII characters only"
	}
	return ""
}

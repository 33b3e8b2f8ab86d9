package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	iris "github.com/iris-mcp/iris-mcp"
)

// What pages of the configured origins may send and read. No cookie is ever looked at, so
// none is allowed.
var (
	corsMethods = strings.Join([]string{
		http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
	}, ", ")
	corsSent = strings.Join([]string{
		"Authorization", "Content-Type", "Idempotency-Key", "Iris-Attend", "Last-Event-ID", "Mcp-Protocol-Version",
		"Mcp-Session-Id", "Traceparent", "Tracestate", "X-Api-Key", "X-Request-Id",
	}, ", ")
	corsRead = strings.Join([]string{
		"Idempotent-Replayed", "Location", "Mcp-Session-Id", "Retry-After", "WWW-Authenticate",
		"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Request-Id",
	}, ", ")
)

// cors says which pages may read the answer, and reports whether the request was only the
// browser's question for that (a preflight, which carries no key) and is answered. A page of
// another origin is told nothing, and so its browser refuses it.
func (s *Server) cors(g *gin.Context) (answered bool) {
	origins := s.cfg.Origins()
	if len(origins) == 0 {
		return false
	}
	h := g.Writer.Header()
	h.Add("Vary", "Origin")
	origin := g.GetHeader("Origin")
	if origin == "" || !allowed(origins, origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if g.Request.Method != http.MethodOptions || g.GetHeader("Access-Control-Request-Method") == "" {
		h.Set("Access-Control-Expose-Headers", corsRead)
		return false
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsSent)
	h.Set("Access-Control-Max-Age", "600")
	requestOf(g.Request.Context()).body.spare()
	g.AbortWithStatus(http.StatusNoContent)
	return true
}

// allowed reports whether the configured origins have this one, or all.
func allowed(origins []string, origin string) bool {
	return slices.ContainsFunc(origins, func(o string) bool { return o == "*" || strings.EqualFold(o, origin) })
}

// sameOrigin reports whether a page may talk to this server although its browser does not
// ask for leave, as for a WebSocket: it is this server's own, or of a configured origin. What
// sends no Origin is no page.
func (s *Server) sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || allowed(s.cfg.Origins(), origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// foreign is FORBIDDEN when a server that only this machine can reach is called by a name
// that is not this machine's, or by a page of somebody else: a hostile page may let its own
// name lead here (DNS rebinding), and then its browser takes this server for the page's own.
// It is for what answers without a key, or with more than a program would ask for.
func (s *Server) foreign(r *http.Request) error {
	if !s.loopback {
		return nil
	}
	if host := hostOf(r.Host); !isLoopback(host) && !slices.ContainsFunc(s.cfg.Origins(), func(o string) bool {
		u, err := url.Parse(o)
		return err == nil && strings.EqualFold(u.Hostname(), host)
	}) {
		return iris.Errorf(iris.CodeForbidden, "this page answers to the names of this machine alone, such as http://localhost; behind a proxy, add the origin that people see to api.cors.origins")
	}
	if !s.sameOrigin(r) {
		return iris.Errorf(iris.CodeForbidden, "pages of other origins may not call this; add theirs to api.cors.origins if they should")
	}
	return nil
}

// borrowed reports whether a request with a password may come from a page of somebody else,
// whose reader's browser knows the password and adds it unasked. Browsers say where a request
// comes from in Sec-Fetch-Site, if the server is reached over TLS or on their own machine, and
// else in Origin, but for a plain GET: one that does something is not taken then.
func (s *Server) borrowed(r *http.Request, to *route) bool {
	origin := r.Header.Get("Origin")
	if origin != "" && slices.ContainsFunc(s.cfg.Origins(), func(o string) bool { return strings.EqualFold(o, origin) }) {
		return false // named, not just any
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
		u, err := url.Parse(origin)
		return origin != "" && (err != nil || !strings.EqualFold(u.Host, r.Host)) || to.asks
	}
	return true
}

// hostOf is a Host header without its port and brackets.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// isLoopback reports whether the name can only be this machine's (RFC 6761, section 6.3).
func isLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

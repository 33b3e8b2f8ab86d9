package httpapi_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/iris-mcp/iris-mcp/httpapi"
)

func TestCORS(t *testing.T) {
	const origin, other = "https://app.example.com", "https://evil.example.com"
	preflight := func(origin string) call {
		return call{method: "OPTIONS", path: "/api/v1/teams/backend/ask", key: "-", header: http.Header{
			"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization,content-type"}}}
	}
	from := func(origin, key string) call {
		return call{path: "/api/v1/teams", key: key, header: http.Header{"Origin": {origin}}}
	}
	tests := []struct {
		name    string
		origins []string
		call    call
		status  int
		allowed string // Access-Control-Allow-Origin
	}{
		{"off, a preflight", nil, preflight(origin), 405, ""},
		{"off, a request", nil, from(origin, ""), 200, ""},
		{"a preflight needs no key", []string{"https://a.example.com", origin}, preflight(origin), 204, origin},
		{"a request", []string{origin}, from(origin, ""), 200, origin},
		{"an origin in other letters", []string{"https://App.Example.com"}, from(origin, ""), 200, origin},
		{"an error can be read too", []string{origin}, from(origin, "-"), 401, origin},
		{"another origin's preflight", []string{origin}, preflight(other), 405, ""},
		{"another origin", []string{origin}, from(other, ""), 200, ""},
		{"an origin that begins alike", []string{origin}, from(origin+".evil.com", ""), 200, ""},
		{"another port", []string{origin}, from(origin+":8443", ""), 200, ""},
		{"another scheme", []string{origin}, from("http://app.example.com", ""), 200, ""},
		{"no origin at all, as of a file", []string{origin}, from("null", ""), 200, ""},
		{"all, when that is written", []string{"*"}, from(other, ""), 200, other},
		{"no Origin", []string{origin}, call{path: "/api/v1/teams"}, 200, ""},
		{"OPTIONS that is no preflight", []string{origin}, call{method: "OPTIONS", path: "/api/v1/teams", header: http.Header{"Origin": {origin}}}, 405, origin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(httpapi.Config{Origins: func() []string { return tt.origins }})
			w := f.do(tt.call)
			h := w.Header()
			if w.Code != tt.status || h.Get("Access-Control-Allow-Origin") != tt.allowed {
				t.Errorf("%d, allowed %q: %s", w.Code, h.Get("Access-Control-Allow-Origin"), w.Body)
			}
			if h.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("credentials are allowed")
			}
			if (h.Get("Vary") == "Origin") != (len(tt.origins) > 0) {
				t.Errorf("Vary is %q", h.Get("Vary"))
			}
			for name, want := range map[string]struct {
				when bool
				has  string
			}{
				"Access-Control-Allow-Headers":  {w.Code == 204, "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Api-Key, X-Request-Id"},
				"Access-Control-Allow-Methods":  {w.Code == 204, "GET, POST, PATCH, DELETE"},
				"Access-Control-Expose-Headers": {tt.allowed != "" && w.Code != 204, "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id, Retry-After, Location, Idempotent-Replayed"},
			} {
				if !want.when {
					if h.Get(name) != "" {
						t.Errorf("%s is %q", name, h.Get(name))
					}
					continue
				}
				for one := range strings.SplitSeq(want.has, ", ") {
					if !strings.Contains(h.Get(name), one) {
						t.Errorf("%s lacks %s: %q", name, one, h.Get(name))
					}
				}
			}
		})
	}
}

// TestForeign: a server of this machine alone does not answer to names that lead to it, nor
// to other people's pages; where it is asked with a key by a program, it does.
func TestForeign(t *testing.T) {
	const docs, teams = "/openapi.json", "/api/v1/teams"
	header := func(k, v string) http.Header { return http.Header{k: {v}} }
	tests := []struct {
		name, path, host string
		header           http.Header
		status           int
	}{
		{"by address", docs, "127.0.0.1:3100", nil, 200},
		{"by another address of the machine", docs, "127.1.2.3", nil, 200},
		{"by its IPv6 address", docs, "[::1]:3100", nil, 200},
		{"by name", docs, "localhost:3100", nil, 200},
		{"by name, in capitals and with a dot", docs, "LocalHost.", nil, 200},
		{"by a name below localhost", docs, "iris.localhost:3100", nil, 200},
		{"by a name that leads here", docs, "evil.example.com:3100", nil, 403},
		{"by a name that begins like ours", docs, "localhost.evil.com", nil, 403},
		{"by a name that ends like ours", docs, "evillocalhost", nil, 403},
		{"by an address that is not ours", docs, "192.168.1.1:3100", nil, 403},
		{"by the name of a configured origin", docs, "iris.example.com", nil, 200},
		{"by its own page", docs, "localhost:3100", header("Origin", "http://localhost:3100"), 200},
		{"by a page of another port", docs, "localhost:3100", header("Origin", "http://localhost:8080"), 403},
		{"by a page of elsewhere", docs, "localhost:3100", header("Origin", "https://evil.example.com"), 403},
		{"by a page of nowhere", docs, "localhost:3100", header("Origin", "null"), 403},
		{"by a page of a configured origin", docs, "localhost:3100", header("Origin", "https://iris.example.com"), 200},
		{"the API, by any name", teams, "evil.example.com", nil, 200},
		{"the API, by a page of elsewhere that has a key", teams, "localhost:3100", header("Origin", "https://evil.example.com"), 200},
		{"MCP, by name", "/mcp", "localhost:3100", nil, 200},
		{"MCP, by a name that leads here", "/mcp", "evil.example.com:3100", nil, 403},
		{"MCP, by a page of elsewhere", "/mcp", "localhost:3100", header("Origin", "https://evil.example.com"), 403},
		{"MCP, by a page of a configured origin", "/mcp", "localhost:3100", header("Origin", "https://iris.example.com"), 200},
		{"health, by any name", "/healthz", "evil.example.com", nil, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, loopback := range []bool{true, false} {
				f := withTools(httpapi.Config{Origins: func() []string { return []string{"https://iris.example.com"} }})
				address := "127.0.0.1:0"
				if !loopback {
					address = "0.0.0.0:0"
				}
				url := f.listen(t, address)
				c := call{path: tt.path, header: tt.header}
				if tt.path == "/mcp" {
					c.body = `{}`
				}
				r := c.request(t.Context(), url)
				r.Host = tt.host
				res, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				want := tt.status
				if !loopback {
					want = 200
				}
				if res.StatusCode != want {
					t.Errorf("loopback %v: %d, want %d", loopback, res.StatusCode, want)
				}
			}
		})
	}
}

// listen serves the front on an address until the test is over, and gives its URL.
func (f *front) listen(t *testing.T, address string) string {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		http.DefaultClient.CloseIdleConnections()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return "http://127.0.0.1:" + port
}

package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// counts writes down what it is told.
type counts struct {
	mu   sync.Mutex
	told []string
	err  error
}

func (c *counts) tell(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, fmt.Sprintf(format, args...))
}

func (c *counts) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	told := c.told
	c.told = nil
	return told
}

func (c *counts) Request(route, method string, status int, took time.Duration) {
	c.tell("%s %s %d %t", method, route, status, took >= 0)
}
func (c *counts) Connections(n int)          { c.tell("connections %+d", n) }
func (c *counts) Streams(kind string, n int) { c.tell("%s %+d", kind, n) }
func (c *counts) Limited(of string)          { c.tell("limited %s", of) }
func (c *counts) LoginFailed()               { c.tell("login failed") }
func (c *counts) Text() ([]byte, error)      { return []byte("iris 1\n"), c.err }

// full is a limit that is used up.
type full struct{}

func (full) Take(_ context.Context, _ string, l iris.Limit) (iris.Allowance, error) {
	return iris.Allowance{Limit: l, ResetAt: time.Now().Add(time.Second)}, nil
}

// TestWhatIsCounted: the routes by their templates, refusals by their reason.
func TestWhatIsCounted(t *testing.T) {
	c := &counts{}
	f := newFront(httpapi.Config{Metrics: c})
	for _, tt := range []struct {
		call call
		want []string
	}{
		{call{path: "/api/v1/teams/backend/status"}, []string{"GET /api/v1/teams/:team/status 200 true"}},
		{call{path: "/api/v1/teams/backend/stream", body: `{"message":"work"}`}, []string{"sse +1", "sse -1", "POST /api/v1/teams/:team/stream 200 true"}},
		{call{path: "/nothing/that/is/there"}, []string{"GET  404 true"}},
		{call{path: "/api/v1/teams", key: "wrong"}, []string{"login failed", "GET /api/v1/teams 401 true"}},
	} {
		f.do(tt.call)
		f.running.Wait()
		if got := c.take(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: counted %q, want %q", tt.call.path, got, tt.want)
		}
	}

	limited := newFront(httpapi.Config{Metrics: c, Limits: full{}, Failures: full{}})
	limited.do(call{path: "/api/v1/teams"})
	r := call{path: "/api/v1/teams", key: "wrong"}.request(t.Context(), "http://x")
	r.RemoteAddr = "192.168.1.7:999"
	limited.server.Handler().ServeHTTP(httptest.NewRecorder(), r)
	want := []string{"limited key", "GET /api/v1/teams 429 true", "login failed", "limited address", "GET /api/v1/teams 429 true"}
	if got := c.take(); !slices.Equal(got, want) {
		t.Errorf("counted %q, want %q", got, want)
	}

	url := f.listen(t, "127.0.0.1:0")
	if _, err := http.Get(url + "/healthz"); err != nil {
		t.Fatal(err)
	}
	if got := c.take(); !slices.Contains(got, "connections +1") {
		t.Errorf("counted %q", got)
	}
}

// TestWhoSeesMetrics: a program of this machine for itself, else who has the scope.
func TestWhoSeesMetrics(t *testing.T) {
	header := func(k, v string) http.Header { return http.Header{k: {v}} }
	tests := []struct {
		name, peer, host, key string
		header                http.Header
		status                int
	}{
		{"a program of this machine", "127.0.0.1:999", "localhost:3100", "-", nil, 200},
		{"over IPv6", "[::1]:999", "[::1]:3100", "-", nil, 200},
		{"another machine", "192.168.1.7:999", "localhost:3100", "-", nil, 401},
		{"a proxy of this machine", "127.0.0.1:999", "localhost:3100", "-", header("X-Forwarded-For", "192.168.1.7"), 401},
		{"another kind of proxy", "127.0.0.1:999", "localhost:3100", "-", header("Forwarded", "for=192.168.1.7"), 401},
		{"by a name that leads here", "127.0.0.1:999", "evil.example.com", "-", nil, 401},
		{"a page", "127.0.0.1:999", "localhost:3100", "-", header("Origin", "http://localhost:8080"), 401},
		{"a bad key, from this machine", "127.0.0.1:999", "localhost:3100", "wrong", nil, 401},
		{"a key, from another machine", "192.168.1.7:999", "iris.example.com", "watcher", nil, 200},
		{"a key that lacks the scope", "127.0.0.1:999", "localhost:3100", "reader", nil, 403},
		{"a key that is bound to teams", "192.168.1.7:999", "iris.example.com", "boundwatcher", nil, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(httpapi.Config{Metrics: &counts{}})
			f.keys.all["boundwatcher"] = iris.Caller{Kind: iris.CallerKey, Name: "b", Scopes: []iris.Scope{iris.ScopeProcessesRead}, Teams: []string{"backend"}}
			r := call{path: "/metrics", key: tt.key, header: tt.header}.request(t.Context(), "http://x")
			r.RemoteAddr, r.Host = tt.peer, tt.host
			w := httptest.NewRecorder()
			f.server.Handler().ServeHTTP(w, r)
			if w.Code != tt.status || w.Code == 200 && (w.Body.String() != "iris 1\n" || w.Header().Get("Content-Type") != "text/plain; version=0.0.4; charset=utf-8") {
				t.Errorf("%d %s %s", w.Code, w.Header().Get("Content-Type"), w.Body)
			}
		})
	}
	t.Run("which cannot be read", func(t *testing.T) {
		w := newFront(httpapi.Config{Metrics: &counts{err: errors.New("disk on fire")}}).do(call{path: "/metrics"})
		if e := errorOf(t, w.Body.Bytes()); w.Code != 500 || strings.Contains(e.Message, "fire") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// tools is a front for MCP clients: it says who asked what, and waits where it is told to.
type tools struct{}

func (tools) Serve(w http.ResponseWriter, r *http.Request, body []byte, who iris.Caller) {
	if string(body) == `"wait"` {
		<-r.Context().Done()
		body = []byte(fmt.Sprintf("%q", iris.CodeOf(context.Cause(r.Context()))))
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"who":%q,"accept":%q,"body":%s}`, who.Name, r.Header.Get("Accept"), body)
}

func withTools(cfg httpapi.Config) *front {
	cfg.MCP = tools{}
	return newFront(cfg)
}

func TestMCPIsForWhoHasAKey(t *testing.T) {
	f := withTools(httpapi.Config{MaxBodyBytes: func() int64 { return 100 }})
	header := func(name, value string) http.Header { return http.Header{name: {value}} }
	for name, tt := range map[string]struct {
		call   call
		status int
		has    string
	}{
		"a key without scopes":    {call{path: "/mcp", body: `{"a":1}`, key: "none", header: header("Accept", "a/b")}, 200, `{"who":"none","accept":"a/b","body":{"a":1}}`},
		"no key":                  {call{path: "/mcp", body: `{}`, key: "-"}, 401, `"code":"UNAUTHORIZED"`},
		"a wrong key":             {call{path: "/mcp", body: `{}`, key: "wrong"}, 401, `"code":"UNAUTHORIZED"`},
		"any type":                {call{path: "/mcp", body: `{}`, header: header("Content-Type", "text/plain")}, 200, `"body":{}`},
		"but a form with files":   {call{path: "/mcp", body: `{}`, header: header("Content-Type", "multipart/form-data; boundary=a")}, 415, `"code":"UNSUPPORTED_MEDIA_TYPE"`},
		"nor what is compressed":  {call{path: "/mcp", body: `{}`, header: header("Content-Encoding", "gzip")}, 415, `"code":"UNSUPPORTED_MEDIA_TYPE"`},
		"a body that is too long": {call{path: "/mcp", body: strings.Repeat("a", 101)}, 413, `"code":"PAYLOAD_TOO_LARGE"`},
		"a GET":                   {call{path: "/mcp"}, 405, `"code":"METHOD_NOT_ALLOWED"`},
		"a DELETE":                {call{path: "/mcp", method: "DELETE"}, 405, `"code":"METHOD_NOT_ALLOWED"`},
	} {
		w := f.do(tt.call)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.has) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w.Code == 405 && w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: allowed is %q", name, w.Header().Get("Allow"))
		}
	}
	if w := newFront(httpapi.Config{}).do(call{path: "/mcp", body: `{}`}); w.Code != 404 {
		t.Errorf("a server without MCP: %d %s", w.Code, w.Body)
	}
}

func TestAKeyThatIsRevokedEndsItsMCPCalls(t *testing.T) {
	in(t, httpapi.Config{MCP: tools{}}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		time.AfterFunc(5*time.Second, func() { f.revoke("all") })
		_, body, took := send(t, client, call{path: "/mcp", body: `"wait"`})
		if took > 6100*time.Millisecond || !strings.Contains(string(body), `"body":"UNAUTHORIZED"`) {
			t.Errorf("after %s: %s", took, body)
		}
	})
}

func TestMCPCountsAsRequests(t *testing.T) {
	limits := newCounter()
	f := withTools(httpapi.Config{Limits: limits})
	f.keys.all["two"] = iris.Caller{Kind: iris.CallerKey, Name: "two", Limit: iris.Limit{Requests: 2, Window: time.Minute}}
	for i, want := range []int{200, 200, 429} {
		if w := f.do(call{path: "/mcp", body: `{}`, key: "two"}); w.Code != want || w.Header().Get("X-RateLimit-Limit") != "2" {
			t.Errorf("request %d: %d %s", i+1, w.Code, w.Body)
		}
	}
}

package httpapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// TestLog: one line a request, with its words and without anybody's text.
func TestLog(t *testing.T) {
	tests := []struct {
		name  string
		call  call
		level string
		route string
		key   string
	}{
		{"an ask", call{path: "/api/v1/teams/backend/ask", body: `{"question":"SECRET","sessionId":"SECRET"}`}, "INFO", "/api/v1/teams/:team/ask", "all"},
		{"a message in the query", call{path: "/api/v1/teams/backend/stream?message=SECRET"}, "INFO", "/api/v1/teams/:team/stream", "all"},
		{"a bad query", call{path: "/api/v1/teams?SECRET=%zz"}, "INFO", "/api/v1/teams", "all"},
		{"a path that is not there", call{path: "/SECRET"}, "INFO", "", ""},
		{"a method that is not there", call{method: strings.Repeat("SECRET", 1), path: "/api/v1/teams"}, "INFO", "", ""},
		{"a wrong key", call{path: "/api/v1/teams", key: "iris_sk_SECRET"}, "INFO", "/api/v1/teams", ""},
		{"the local user", call{path: "/api/v1/teams", key: "local"}, "INFO", "/api/v1/teams", ""},
		{"a probe", call{path: "/healthz", key: "-"}, "DEBUG", "/healthz", ""},
		{"a panic", call{path: "/api/v1/teams/backend/ask", body: `{"question":"panic"}`}, "ERROR", "/api/v1/teams/:team/ask", "all"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(httpapi.Config{})
			tt.call.header = http.Header{"X-Request-Id": {"mine"}}
			w := f.do(tt.call)
			f.running.Wait()
			var line struct {
				Level, Msg, Route, Key, RequestID, Message, Code, Err string
				Status                                                int
				Took                                                  *int64
			}
			if err := json.Unmarshal([]byte(f.logged.String()), &line); err != nil {
				t.Fatalf("not one line: %v: %s", err, f.logged)
			}
			if line.Msg != "request" || line.Level != tt.level || line.Route != tt.route || line.Key != tt.key ||
				line.RequestID != "mine" || line.Status != w.Code || line.Took == nil || (line.Code != "") != (w.Code >= 400) {
				t.Errorf("got %s", f.logged)
			}
			if asked := w.Code == http.StatusOK && strings.Contains(tt.route, ":team/"); asked != strings.HasPrefix(line.Message, "msg_") {
				t.Errorf("the message that was asked is %q", line.Message)
			}
			if strings.Contains(f.logged.String(), "SECRET") && tt.call.method == "" {
				t.Errorf("a secret in %s", f.logged)
			}
			if (tt.level == "ERROR") != strings.Contains(line.Err, "fake_test.go") {
				t.Errorf("the stack of a panic, and of nothing else: %s", f.logged)
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	f := newFront(httpapi.Config{})
	for given, kept := range map[string]bool{
		"a": true, strings.Repeat("x", 128): true, "~!@#": true,
		"": false, strings.Repeat("x", 129): false, "a b": false, "ä": false, "a\tb": false, "a\x7f": false,
	} {
		w := f.do(call{path: "/nothing", header: http.Header{"X-Request-Id": {given}}})
		got := w.Header().Get("X-Request-Id")
		if (got == given) != kept || got == "" || errorOf(t, w.Body.Bytes()).RequestID != got {
			t.Errorf("%q became %q", given, got)
		}
	}
}

// TestPanicInStream: what is cut by a panic must not look as if it had ended well.
func TestPanicInStream(t *testing.T) {
	f := newFront(httpapi.Config{})
	f.scripts["bad"] = func(f *fake, id string) { f.emit(id, iris.Event{Kind: iris.EventToolUse}) } // without a Tool
	srv := httptest.NewServer(f.server.Handler())
	defer srv.Close()
	res, err := srv.Client().Do(call{path: "/api/v1/teams/backend/stream", body: `{"message":"bad"}`}.request(t.Context(), srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the stream ended as if all was well")
	}
	if !strings.Contains(f.logged.String(), "panic") {
		t.Errorf("log: %s", f.logged)
	}
}

// TestWhoAsked: the line says from where and with what a request came, clipped, and of which
// trace it is a part.
func TestWhoAsked(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	for name, tt := range map[string]struct {
		header http.Header
		want   []string
		no     string
	}{
		"all of it":            {http.Header{"User-Agent": {"curl/8"}, "Traceparent": {"00-" + id + "-b7ad6b7169203331-01"}}, []string{`"address":"192.168.1.7"`, `"userAgent":"curl/8"`, `"trace":"` + id + `"`}, "SECRET"},
		"a long agent":         {http.Header{"User-Agent": {strings.Repeat("a", 5000)}}, []string{`aaa…"`}, strings.Repeat("a", 101)},
		"a trace that is none": {http.Header{"Traceparent": {"00-SECRET-b7ad6b7169203331-01"}}, nil, "SECRET"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFront(httpapi.Config{})
			r := call{path: "/api/v1/teams", header: tt.header}.request(t.Context(), "http://x")
			r.RemoteAddr = "192.168.1.7:999"
			f.server.Handler().ServeHTTP(httptest.NewRecorder(), r)
			for _, want := range tt.want {
				if !strings.Contains(f.logged.String(), want) {
					t.Errorf("there is no %s in %s", want, f.logged)
				}
			}
			if strings.Contains(f.logged.String(), tt.no) {
				t.Errorf("there is %s in %s", tt.no, f.logged)
			}
		})
	}
}

package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coder/websocket"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// FuzzBody: no body whatever is answered with a 500, or taken as something else than it says.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		`{"question":"a"}`, `{"question":"a","timeout":1,"context":{"source":"b","metadata":[1]},"sessionId":"c","priority":"low","cancelOnTimeout":true}`,
		`null`, `[]`, `{"question":1e999}`, "\xff", `{"Question":"a"}`, `{"question":"a","timeout":1e3}`, `{"":0}`, `{"question":"\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	front := newFront(httpapi.Config{})
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/teams/backend/execute", strings.NewReader(strings.ReplaceAll(string(body), "question", "task")))
		r.Header.Set("Authorization", "Bearer all")
		w := httptest.NewRecorder()
		front.forget()
		front.server.Handler().ServeHTTP(w, r)
		front.running.Wait()
		switch w.Code {
		case 202:
			if len(front.asks) != 1 || strings.TrimSpace(front.asks[0].Text) == "" {
				t.Errorf("%q was taken as %+v", body, front.asks)
			}
		case 400, 413:
			errorOf(t, w.Body.Bytes())
			if len(front.asks) > 0 {
				t.Errorf("%q was refused and sent", body)
			}
		default:
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	})
}

// FuzzRoutes: the same for every other POST that takes a body.
func FuzzRoutes(f *testing.F) {
	paths := []string{
		"/api/v1/teams/backend/ask", "/api/v1/teams/backend/stream", "/api/v1/teams/backend/sleep", "/api/v1/teams/backend/wake",
		"/api/v1/teams", "/api/v1/api-keys", "/api/v1/api-keys/new/rotate", "/api/v1/permissions/per_1", "/api/v1/messages/msg_1/cancel",
	}
	for i, s := range []string{
		`{"question":"a","timeout":1,"cancelOnTimeout":true}`, `{"message":"a","stream":false,"timeout":1}`, `{"force":true}`, `{"force":null}`,
		`{"name":"a","path":"/a","env":{"A":"b"},"allowedTools":["Read"],"maxProcesses":2,"turnTimeout":1000}`,
		`{"name":"k","scopes":["*"],"rateLimit":{"requests":1,"window":"1m"},"expires":"90d"}`, `{"grace":"1h"}`, `{"decision":"allow"}`, `{}`,
	} {
		f.Add(i, []byte(s))
	}
	f.Fuzz(func(t *testing.T, i int, body []byte) {
		front := newFront(httpapi.Config{})
		path := paths[uint(i)%uint(len(paths))]
		for text := range front.scripts {
			if bytes.Contains(body, []byte(text)) {
				t.Skip("it asks for an error")
			}
		}
		r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
		r.Header.Set("Authorization", "Bearer all")
		w := httptest.NewRecorder()
		front.server.Handler().ServeHTTP(w, r)
		front.running.Wait()
		switch {
		case w.Code >= 500:
			t.Errorf("%s %q: %d %s", path, body, w.Code, w.Body)
		case w.Code >= 400:
			errorOf(t, w.Body.Bytes())
			if len(front.asks) > 0 && w.Code != 408 || w.Code == 400 && len(front.controls) > 0 {
				t.Errorf("%s %q was refused and done: %q", path, body, front.controls)
			}
		}
	})
}

// FuzzHistory: no query is answered with a 500.
func FuzzHistory(f *testing.F) {
	for _, s := range []string{"", "limit=3&page=2", "q=%22&from=api&status=failed", "cursor=gNCPpZhj8B4C", "since=1&until=2&team=a&to=b", "%zz", "limit=1e3", "page=1&cursor=x", "q=%00%ff;", "limit=1&limit=2"} {
		f.Add(s)
	}
	front := newFront(httpapi.Config{})
	for range 5 {
		front.Submit(f.Context(), iris.Ask{Team: "backend", Text: "q", Caller: iris.Caller{Kind: iris.CallerKey, Name: "all"}})
	}
	front.running.Wait()
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/api/v1/messages/history", nil)
		r.URL.RawQuery = query
		r.Header.Set("Authorization", "Bearer all")
		w := httptest.NewRecorder()
		front.server.Handler().ServeHTTP(w, r)
		var page past
		switch w.Code {
		case 200:
			if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || page.Pagination.Limit < len(page.Messages) {
				t.Errorf("%q: %s", query, w.Body)
			}
		case 400:
			errorOf(t, w.Body.Bytes())
		default:
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
	})
}

// FuzzLastEventID: a header of a stranger resumes nothing that it does not name.
func FuzzLastEventID(f *testing.F) {
	const id = "msg_00000000000000000000000001"
	for _, s := range []string{id + ":1", id + ":9", id + ":10", id + ":-1", id + ":01", id + ":", ":", id, "msg_:1", "job_00000000000000000000000001:1", id + ":99999999999999999999"} {
		f.Add(s)
	}
	front := newFront(httpapi.Config{})
	f.Fuzz(func(t *testing.T, header string) {
		front.forget()
		front.ask(t, "all", "backend", "work")
		if header == "" {
			t.Skip("no header")
		}
		w := front.do(call{path: "/api/v1/teams/backend/stream", header: http.Header{"Last-Event-Id": {header}}})
		switch w.Code {
		case 200, 204:
			if !strings.HasPrefix(header, id+":") {
				t.Errorf("%q resumed: %d %s", header, w.Code, w.Body)
			}
		case 400, 404:
			errorOf(t, w.Body.Bytes())
		default:
			t.Errorf("%q: %d %s", header, w.Code, w.Body)
		}
		if len(front.asks) != 1 {
			t.Fatalf("%q asked", header)
		}
	})
}

// noting is a dispatcher that notes what it is asked, and takes nothing.
type noting struct {
	*fake
	asked chan iris.Ask
}

func (n noting) Submit(_ context.Context, a iris.Ask) (iris.Message, error) {
	n.asked <- a
	return iris.Message{}, iris.Errorf(iris.CodeNotFound, "noted")
}

// FuzzFrame: no text frame ends a WebSocket or is taken as something else than it says.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		`{"type":"subscribe","team":"backend"}`, `{"type":"unsubscribe","team":"backend"}`, `{"type":"ping"}`, `{"type":"cancel","messageId":"msg_1"}`,
		`{"type":"message","team":"backend","message":"a","sessionId":"b","timeout":1,"context":{"source":"c","metadata":[1]},"ref":"d"}`,
		`{"type":"resume","messageId":"msg_00000000000000000000000001","after":1}`, `{"type":"message","team":"backend","message":"a","timeout":1e3}`,
		`null`, `[]`, "\xff", `{"Type":"ping"}`, `{"type":"ping","type":"cancel"}`, `{"":0}`, `{"type":"message","team":"backend","message":"\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	d := noting{newFake(), make(chan iris.Ask, 1)}
	server := httpapi.New(httpapi.Config{}, d, d, newKeys(), slog.New(slog.DiscardHandler))
	p := newPipe()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, p) }()
	conn, _, err := websocket.Dial(ctx, "ws://iris.test/api/v1/stream", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: p.dial}}, HTTPHeader: http.Header{"X-Api-Key": {"all"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { conn.CloseNow(); stop(); <-ended })
	f.Fuzz(func(t *testing.T, text []byte) {
		const mark = "the end of this one"
		if len(text) > 1<<20 || bytes.Contains(text, []byte(mark)) {
			t.Skip("a frame that is too large ends it")
		}
		for _, frame := range [][]byte{text, []byte(`{"type":"no such","ref":"` + mark + `"}`)} {
			if err := conn.Write(ctx, websocket.MessageText, frame); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
		noted := false
		for {
			_, answer, err := conn.Read(ctx)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			var a struct{ Type, Error, Code, Ref string }
			if err := json.Unmarshal(answer, &a); err != nil || a.Type == "" || (a.Type == "error") != (a.Code != "" && a.Error != "") || a.Code == "INTERNAL_ERROR" {
				t.Fatalf("%q was answered with %s", text, answer)
			}
			noted = noted || a.Error == "noted"
			if a.Ref == mark {
				break
			}
		}
		select {
		case a := <-d.asked:
			if !noted || strings.TrimSpace(a.Text) == "" || !iris.TeamName.MatchString(a.Team) || a.Timeout < 0 || !utf8.ValidString(a.Text+a.SessionID) {
				t.Errorf("%q was taken as %+v", text, a)
			}
		default:
		}
	})
}

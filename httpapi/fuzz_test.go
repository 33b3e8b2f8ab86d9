package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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

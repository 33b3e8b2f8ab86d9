package httpapi_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

func TestACallbackGoesToTheDispatcherAsItIs(t *testing.T) {
	f := newFront(httpapi.Config{})
	for body, want := range map[string]*iris.Callback{
		`{"task":"t"}`:                 nil,
		`{"task":"t","callback":null}`: nil,
		`{"task":"t","callback":{"url":"https://a.example/b"}}`:    {URL: "https://a.example/b", Method: "POST"},
		`{"task":"t","callback":{"url":"ftp://x","headers":null}}`: {URL: "ftp://x", Method: "POST"},
		`{"task":"t","callback":{"url":"https://a.example","method":"PATCH","headers":{"X-A":"1"}}}`: {
			URL: "https://a.example", Method: "PATCH", Headers: map[string]string{"X-A": "1"}},
	} {
		f.forget()
		if w := f.do(call{path: "/api/v1/teams/backend/execute", body: body}); w.Code != http.StatusAccepted {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
			continue
		}
		got, _ := json.Marshal(f.asks[0].Callback)
		if wanted, _ := json.Marshal(want); string(got) != string(wanted) {
			t.Errorf("%s: the callback is %s, want %s", body, got, wanted)
		}
		f.running.Wait()
	}
	for _, front := range []string{"ask", "stream"} {
		body := `{"question":"q","callback":{"url":"https://a.example"}}`
		if front == "stream" {
			body = strings.Replace(body, "question", "message", 1)
		}
		if w := f.do(call{path: "/api/v1/teams/backend/" + front, body: body}); w.Code != http.StatusBadRequest {
			t.Errorf("%s takes a callback: %d", front, w.Code)
		}
	}
}

func TestWhatTheDispatcherFindsWrongIsAListAsEverywhere(t *testing.T) {
	f := newFront(httpapi.Config{})
	f.refusal = iris.Errorf(iris.CodeInvalidRequest, "callback.url is odd").
		With("errors", []map[string]string{{"field": "callback.url", "problem": "is odd"}})
	w := f.do(call{path: "/api/v1/teams/backend/execute", body: `{"task":"t","callback":{"url":"odd"}}`})
	var got struct {
		Details []struct{ Field, Problem string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusBadRequest || len(got.Details) != 1 || got.Details[0].Field != "callback.url" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestResend(t *testing.T) {
	f := newFront(httpapi.Config{})
	f.ask(t, "asker", "backend", "without")
	for _, text := range []string{"with", "never"} {
		f.do(call{path: "/api/v1/teams/backend/execute", body: `{"task":"` + text + `","callback":{"url":"https://a.example"}}`, key: "asker"})
	}
	f.running.Wait()
	path := func(n string) string { return "/api/v1/messages/job_0000000000000000000000000" + n + "/resend" }
	for _, tt := range []struct {
		path, key string
		want      int
	}{
		{path("2"), "asker", http.StatusOK},  // its own
		{path("2"), "writer", http.StatusOK}, // of others, with the scope
		{path("2"), "reader", http.StatusForbidden},
		{path("2"), "bound", http.StatusForbidden},
		{path("2"), "-", http.StatusUnauthorized},
		{path("1"), "asker", http.StatusNotFound},
		{path("3"), "asker", http.StatusConflict},
		{path("9"), "asker", http.StatusNotFound},
	} {
		if w := f.do(call{method: http.MethodPost, path: tt.path, key: tt.key}); w.Code != tt.want {
			t.Errorf("%s by %s: %d %s", tt.path, tt.key, w.Code, w.Body)
		}
	}
	if want := []string{f.messages[1].ID, f.messages[1].ID}; !slices.Equal(f.resent, want) {
		t.Errorf("sent again were %s", f.resent)
	}
}

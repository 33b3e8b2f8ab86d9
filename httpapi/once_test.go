package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// under is the call with an Idempotency-Key.
func (c call) under(key string) call {
	c.header = http.Header{"Idempotency-Key": {key}}
	return c
}

// same fails unless the second answer is the first, but for what each request has of its own.
func same(t *testing.T, first, second *httptest.ResponseRecorder) {
	t.Helper()
	plain := func(w *httptest.ResponseRecorder) string {
		var e map[string]any
		if json.Unmarshal(w.Body.Bytes(), &e) != nil || e["requestId"] == nil {
			return w.Body.String()
		}
		delete(e, "requestId")
		delete(e, "timestamp")
		text, _ := json.Marshal(e)
		return string(text)
	}
	if first.Code != second.Code || plain(first) != plain(second) || first.Header().Get("Location") != second.Header().Get("Location") {
		t.Errorf("the second answer is %d %s, the first was %d %s", second.Code, second.Body, first.Code, first.Body)
	}
	if got := first.Header().Get("Idempotent-Replayed"); got != "" {
		t.Errorf("the first answer is replayed: %s", got)
	}
	if got := second.Header().Get("Idempotent-Replayed"); got != "true" {
		t.Errorf("the second answer has Idempotent-Replayed %q", got)
	}
}

func TestARequestThatComesAgainIsNotDoneAgain(t *testing.T) {
	const message = "/api/v1/messages/msg_00000000000000000000000001"
	for _, tt := range []struct {
		name string
		call call
		asks int
	}{
		{"ask", call{path: "/api/v1/teams/backend/ask", body: `{"question":"q"}`}, 1},
		{"an ask that fails", call{path: "/api/v1/teams/backend/ask", body: `{"question":"fail"}`}, 1},
		{"an ask that is cancelled", call{path: "/api/v1/teams/backend/ask", body: `{"question":"cancel"}`}, 1},
		{"an ask that waits too briefly, twice", call{path: "/api/v1/teams/backend/ask", body: `{"question":"never","timeout":1}`}, 1},
		{"execute", call{path: "/api/v1/teams/backend/execute", body: `{"task":"<b> & t"}`}, 1},
		{"stream", call{path: "/api/v1/teams/backend/stream", body: `{"message":"work"}`}, 1},
		{"stream, whole", call{path: "/api/v1/teams/backend/stream", body: `{"message":"work","stream":false}`}, 1},
		{"cancel", call{method: "POST", path: message + "/cancel"}, 0},
		{"wake", call{method: "POST", path: "/api/v1/teams/backend/wake"}, 0},
		{"sleep", call{path: "/api/v1/teams/backend/sleep", body: `{"force":true}`}, 0},
		{"restart", call{path: "/api/v1/teams/backend/restart", body: `{}`}, 0},
		{"a new team", call{path: "/api/v1/teams", body: `{"name":"new","path":"/a","env":{"A":"<b>"},"allowedTools":["Read"],"turnTimeout":1000}`}, 0},
		{"a decision", call{path: "/api/v1/permissions/per_1", body: `{"decision":"allow"}`}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(httpapi.Config{})
			if tt.asks == 0 {
				f.ask(t, "all", "backend", "never")
				f.asks = nil
			}
			first := f.do(tt.call.under("k"))
			f.running.Wait()
			f.controls = nil
			same(t, first, f.do(tt.call.under("k")))
			if len(f.asks) != tt.asks || len(f.controls) > 0 {
				t.Errorf("%d messages were sent, and then done: %q", len(f.asks), f.controls)
			}

			other := tt.call
			if other.body = strings.Replace(other.body, "{", "{ ", 1); other.body == "" {
				other.body = "{}"
			}
			w := f.do(other.under("k"))
			if e := errorOf(t, w.Body.Bytes()); w.Code != 409 || e.Code != "CONFLICT" {
				t.Errorf("another body: %d %s", w.Code, w.Body)
			}
			for name, c := range map[string]call{"another key": tt.call.under("K"), "no key": tt.call, "another caller": tt.call.under("k")} {
				if name == "another caller" {
					c.key = "admin"
				}
				if w := f.do(c); w.Header().Get("Idempotent-Replayed") != "" || w.Code != first.Code {
					t.Errorf("%s: %d, replayed %q", name, w.Code, w.Header().Get("Idempotent-Replayed"))
				}
			}
			if tt.asks > 0 && len(f.asks) != 4 {
				t.Errorf("%d messages were sent, want 4", len(f.asks))
			}
			f.running.Wait()
		})
	}
}

func TestAKeyIsForOnePath(t *testing.T) {
	f := newFront(httpapi.Config{})
	for _, path := range []string{"/api/v1/teams/backend/execute", "/api/v1/teams/frontend/execute", "/api/v1/teams/backend/ask"} {
		body := `{"task":"t"}`
		if strings.HasSuffix(path, "ask") {
			body = `{"question":"t"}`
		}
		if w := f.do(call{path: path, body: body}.under("k")); w.Code >= 300 || w.Header().Get("Idempotent-Replayed") != "" {
			t.Errorf("%s: %d, replayed %q", path, w.Code, w.Header().Get("Idempotent-Replayed"))
		}
	}
	f.running.Wait()
	if len(f.asks) != 3 {
		t.Errorf("%d messages were sent", len(f.asks))
	}
}

func TestWhatWasRefusedIsNotRemembered(t *testing.T) {
	f := newFront(httpapi.Config{})
	c := call{path: "/api/v1/teams/backend/execute", body: `{"task":"t"}`}.under("k")
	f.refusal = iris.Errorf(iris.CodeQueueFull, "full")
	if w := f.do(c); w.Code != 503 {
		t.Fatalf("full: %d", w.Code)
	}
	f.refusal = nil
	bad := c
	bad.body = `{"task":""}`
	if w := f.do(bad); w.Code != 400 {
		t.Fatalf("bad: %d", w.Code)
	}
	for _, replayed := range []string{"", "true"} {
		if w := f.do(c); w.Code != 202 || w.Header().Get("Idempotent-Replayed") != replayed {
			t.Errorf("%d %s, replayed %q, want %q", w.Code, w.Body, w.Header().Get("Idempotent-Replayed"), replayed)
		}
	}
	f.running.Wait()
}

func TestALongAnswerIsNotKept(t *testing.T) {
	f := newFront(httpapi.Config{})
	f.do(call{path: "/api/v1/teams/backend/execute", body: `{"task":"` + strings.Repeat("x", 5000) + `","callback":{"url":"https://a.example"}}`})
	f.running.Wait()
	c := call{method: "POST", path: "/api/v1/messages/msg_00000000000000000000000001/cancel"}.under("k")
	same(t, f.do(c), f.do(c)) // it is harmless to cancel again
	c.path = strings.Replace(c.path, "cancel", "resend", 1)
	if w := f.do(c); w.Code != 200 {
		t.Fatalf("resend: %d %s", w.Code, w.Body)
	}
	w := f.do(c)
	if e := errorOf(t, w.Body.Bytes()); w.Code != 409 || !strings.Contains(e.Message, "was done before") || len(f.resent) != 1 {
		t.Errorf("resend again: %d %s, %d sent", w.Code, w.Body, len(f.resent))
	}
	for id, k := range f.known {
		if len(k.answer) > 0 {
			t.Errorf("%s keeps %d bytes", id, len(k.answer))
		}
	}
}

func TestAKeyThatWasMadeIsNotKept(t *testing.T) {
	f := newFront(httpapi.Config{})
	for _, c := range []call{
		{path: "/api/v1/api-keys", body: `{"name":"new","scopes":["*"]}`},
		{path: "/api/v1/api-keys/new/rotate", body: `{}`},
	} {
		if w := f.do(c.under("k")); w.Code >= 300 || !strings.Contains(w.Body.String(), "iris_sk_NEW") {
			t.Fatalf("%s: %d %s", c.path, w.Code, w.Body)
		}
		w := f.do(c.under("k"))
		if e := errorOf(t, w.Body.Bytes()); w.Code != 409 || !strings.Contains(e.Message, "was done before") {
			t.Errorf("%s again: %d %s", c.path, w.Code, w.Body)
		}
	}
	for id, k := range f.known {
		if len(k.answer) > 0 {
			t.Errorf("%s keeps %s", id, k.answer)
		}
	}
}

func TestIdempotencyKeysThatAreNone(t *testing.T) {
	f := newFront(httpapi.Config{})
	for _, keys := range [][]string{{""}, {" "}, {"a b"}, {"ä"}, {"a\x7f"}, {strings.Repeat("k", 256)}, {"a", "a"}} {
		w := f.do(call{path: "/api/v1/teams/backend/execute", body: `{"task":"t"}`, header: http.Header{"Idempotency-Key": keys}})
		if e := errorOf(t, w.Body.Bytes()); w.Code != 400 || !strings.Contains(e.Message, "Idempotency-Key must be one text of 1 to 255 visible ASCII characters") {
			t.Errorf("%q: %d %s", keys, w.Code, w.Body)
		}
	}
	if w := f.do(call{path: "/api/v1/teams/backend/execute", body: `{"task":"t"}`}.under(strings.Repeat("~", 255))); w.Code != 202 {
		t.Errorf("255 characters: %d %s", w.Code, w.Body)
	}
	if w := f.do(call{path: "/api/v1/teams"}.under("a b")); w.Code != 200 {
		t.Errorf("a GET, which has no use for it: %d", w.Code)
	}
	f.running.Wait()
}

// TestARepeatWaitsForTheFirst: whether that becomes a message or not.
func TestARepeatWaitsForTheFirst(t *testing.T) {
	for _, tt := range []struct {
		name string
		call call
	}{
		{"ask", call{path: "/api/v1/teams/backend/ask", body: `{"question":"slow"}`}},
		{"stream", call{path: "/api/v1/teams/backend/stream", body: `{"message":"slow"}`}},
		{"wake", call{method: "POST", path: "/api/v1/teams/backend/wake"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFront(httpapi.Config{})
				f.scripts["slow"], f.wakes = later(10*time.Second), 10*time.Second
				answers := make(chan *httptest.ResponseRecorder, 5)
				begin := time.Now()
				first := make(chan *httptest.ResponseRecorder, 1)
				go func() { first <- f.do(tt.call.under("k")) }()
				synctest.Wait()
				for i := range cap(answers) {
					go func() { answers <- f.do(tt.call.under("k")) }()
					time.Sleep(time.Duration(i) * time.Second)
				}
				one := <-first
				for range cap(answers) {
					same(t, one, <-answers)
				}
				if took := time.Since(begin); took != 10*time.Second || len(f.asks) > 1 || len(f.controls) > 1 {
					t.Errorf("%d messages, %q, after %s", len(f.asks), f.controls, took)
				}
				f.running.Wait()
			})
		})
	}
}

// TestAnAskThatWasWithdrawnMayComeAgain: the server ended before it was begun, and said so.
func TestAnAskThatWasWithdrawnMayComeAgain(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, stop func()) {
		stopped := make(chan struct{})
		time.AfterFunc(time.Second, func() { stop(); close(stopped) })
		if status, body, _ := send(t, client, call{path: "/api/v1/teams/backend/ask", body: `{"question":"never","timeout":3600000}`}.under("k")); status != 503 {
			t.Fatalf("%d %s", status, body)
		}
		if len(f.known) > 0 {
			t.Error("it is known, so that it would be answered CANCELLED")
		}
		<-stopped
	})
}

// FuzzIdempotencyKey: whatever is in the header, a request is refused or done once.
func FuzzIdempotencyKey(f *testing.F) {
	for _, s := range []string{"", "k", " k", "k\x00", "ä", strings.Repeat("k", 256), `"k"`} {
		f.Add(s)
	}
	front := newFront(httpapi.Config{})
	f.Fuzz(func(t *testing.T, key string) {
		front.forget()
		clear(front.known)
		c := call{path: "/api/v1/teams/backend/execute", body: `{"task":"t"}`}.under(key)
		first, second := front.do(c), front.do(c)
		front.running.Wait()
		if first.Code == 400 {
			errorOf(t, first.Body.Bytes())
			if len(front.asks) > 0 || second.Code != 400 {
				t.Errorf("%q: refused and sent", key)
			}
			return
		}
		if same(t, first, second); len(front.asks) != 1 {
			t.Errorf("%q: sent %d times", key, len(front.asks))
		}
	})
}

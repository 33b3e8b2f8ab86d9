package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// TestResume goes on behind an event, over every path that streams.
func TestResume(t *testing.T) {
	const first = "msg_00000000000000000000000001" // 9 events, finished
	tests := []struct {
		name   string
		call   call
		status int
		events []int
	}{
		{"the team's stream by GET goes on", call{path: "/api/v1/teams/backend/stream?message=q", header: after(first, 8)}, 200, []int{9, 10}},
		{"it needs no message then", call{path: "/api/v1/teams/backend/stream", header: after(first, 9)}, 200, []int{10}},
		{"the team's stream by POST goes on", call{path: "/api/v1/teams/backend/stream", body: `{"message":"q"}`, header: after(first, 9)}, 200, []int{10}},
		{"it needs no body then", call{method: "POST", path: "/api/v1/teams/backend/stream", header: after(first, 9)}, 200, []int{10}},
		{"read to its end", call{path: "/api/v1/teams/backend/stream?message=q", header: after(first, 10)}, 204, nil},
		{"read to its end, by POST", call{path: "/api/v1/teams/backend/stream", body: `{"message":"q"}`, header: after(first, 10)}, 204, nil},
		{"read to its end, by the message", call{path: "/api/v1/messages/" + first + "/stream", header: after(first, 10)}, 204, nil},
		{"read to its end, by number", call{path: "/api/v1/messages/" + first + "/stream?after=10"}, 204, nil},
		{"beyond its end", call{path: "/api/v1/messages/" + first + "/stream?after=11"}, 400, nil},
		{"beyond its end, by id", call{path: "/api/v1/teams/backend/stream", header: after(first, 11)}, 400, nil},
		{"from the beginning", call{path: "/api/v1/messages/" + first + "/stream"}, 200, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"from number 0", call{path: "/api/v1/messages/" + first + "/stream?after=0"}, 200, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"by the job's id", call{path: "/api/v1/messages/job_" + first[4:] + "/stream?after=8"}, 200, []int{9, 10}},
		{"the header counts before after", call{path: "/api/v1/messages/" + first + "/stream?after=2", header: after(first, 8)}, 200, []int{9, 10}},
		{"another message's event", call{path: "/api/v1/messages/" + first + "/stream", header: after("msg_00000000000000000000000002", 1)}, 400, nil},
		{"another team's message", call{path: "/api/v1/teams/frontend/stream", header: after(first, 8)}, 404, nil},
		{"somebody else's message", call{path: "/api/v1/teams/backend/stream", header: after(first, 8), key: "ci"}, 403, nil},
		{"somebody else's message with the scope", call{path: "/api/v1/teams/backend/stream", header: after(first, 8), key: "streamer"}, 200, []int{9, 10}},
		{"an event 0", call{path: "/api/v1/teams/backend/stream", header: after(first, 0)}, 400, nil},
	}
	f := newFront(httpapi.Config{})
	f.ask(t, "all", "backend", "work")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := f.do(tt.call)
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d: %s", w.Code, tt.status, w.Body)
			}
			if tt.name == "beyond its end" && !strings.Contains(w.Body.String(), `"after names an event that has not happened; the last one has the number 10"`) {
				t.Errorf("the answer does not name what was sent: %s", w.Body)
			}
			if tt.status == 200 {
				var want strings.Builder
				for _, n := range tt.events {
					fmt.Fprintf(&want, "id: %s:%d\n", first, n)
				}
				if got := lines(w.Body.String(), "id: "); got != want.String() {
					t.Errorf("got\n%swant\n%s", got, want.String())
				}
			}
			if tt.status == 204 && w.Body.Len() > 0 {
				t.Errorf("204 with a body: %s", w.Body)
			}
		})
	}
	if n := len(f.asks); n != 1 {
		t.Errorf("%d messages were sent: a resumed stream asked again", n)
	}
}

func after(id string, n int) http.Header {
	return http.Header{"Last-Event-Id": {fmt.Sprintf("%s:%d", id, n)}}
}

// lines is those lines of s that begin so.
func lines(s, prefix string) string {
	var out strings.Builder
	for line := range strings.Lines(s) {
		if strings.HasPrefix(line, prefix) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// TestWhatIsSubmitted: every field reaches the dispatcher.
func TestWhatIsSubmitted(t *testing.T) {
	f := newFront(httpapi.Config{})
	send := func(path, body string) iris.Ask {
		t.Helper()
		if w := f.do(call{path: "/api/v1/teams/backend/" + path, body: body}); w.Code >= 300 {
			t.Fatalf("%s: %d %s", path, w.Code, w.Body)
		}
		f.running.Wait()
		a := f.asks[len(f.asks)-1]
		if a.Caller.Name != "all" || a.Team != "backend" || a.Text != "q" {
			t.Errorf("%s: %+v", path, a)
		}
		return a
	}
	a := send("ask", `{"question":"q","priority":"high","sessionId":"s","context":{"source":"ci","metadata":{"pr":1}}}`)
	if a.Priority != iris.PriorityHigh || a.SessionID != "s" || a.Context.Source != "ci" || string(a.Context.Metadata) != `{"pr":1}` || a.Task || a.Timeout != 0 {
		t.Errorf("ask: %+v", a)
	}
	a = send("execute", `{"task":"q","priority":"low","timeout":5000,"dedupe":false,"maxAttempts":2,"callback":null}`)
	if a.Priority != iris.PriorityLow || !a.Task || a.Timeout.Seconds() != 5 || !a.NoDedupe || a.MaxAttempts != 2 || a.Context != nil {
		t.Errorf("execute: %+v", a)
	}
	if a = send("execute", `{"task":"q"}`); a.Priority != iris.PriorityNormal || a.NoDedupe || a.Timeout != 0 || a.MaxAttempts != 0 {
		t.Errorf("execute without options: %+v", a)
	}
	if a = send("stream", `{"message":"q","timeout":5000,"sessionId":"s"}`); a.Timeout.Seconds() != 5 || a.SessionID != "s" || a.Task {
		t.Errorf("stream: %+v", a)
	}
	if a = send("stream", `{"message":"q","timeout":5000,"stream":false}`); a.Timeout != 0 {
		t.Errorf("stream false: %+v", a)
	}
	f.do(call{path: "/api/v1/teams/backend/stream?message=%ff&timeout=7&sessionId=s"})
	f.running.Wait()
	if a := f.asks[len(f.asks)-1]; a.Text != "\ufffd" || a.Timeout.Milliseconds() != 7 || a.SessionID != "s" {
		t.Errorf("stream by GET: %+v", a)
	}
}

// TestRefusals: what the dispatcher refuses is an answer of its own status, for streams too.
func TestRefusals(t *testing.T) {
	tests := []struct {
		err        error
		status     int
		code       string
		retryAfter string
	}{
		{iris.Errorf(iris.CodeQueueFull, "10000 messages wait"), 503, "QUEUE_FULL", "5"},
		{iris.Errorf(iris.CodeShuttingDown, "bye"), 503, "SHUTTING_DOWN", "5"},
		{iris.Errorf(iris.CodeNotFound, "no such session"), 404, "NOT_FOUND", ""},
		{iris.Errorf(iris.CodeInvalidRequest, "too long"), 400, "INVALID_REQUEST", ""},
		{fmt.Errorf("disk: secret path"), 500, "INTERNAL_ERROR", ""},
	}
	for _, tt := range tests {
		f := newFront(httpapi.Config{})
		f.refusal = tt.err
		for path, field := range map[string]string{"ask": "question", "execute": "task", "stream": "message"} {
			w := f.do(call{path: "/api/v1/teams/backend/" + path, body: `{"` + field + `":"q"}`})
			e := errorOf(t, w.Body.Bytes())
			if w.Code != tt.status || e.Code != tt.code || w.Header().Get("Retry-After") != tt.retryAfter || strings.Contains(e.Message, "secret") {
				t.Errorf("%s, %v: %d %v %s", path, tt.err, w.Code, w.Header(), w.Body)
			}
		}
		if tt.status == 500 && !strings.Contains(f.logged.String(), "secret path") {
			t.Errorf("the cause is not in the log: %s", f.logged)
		}
	}
}

// TestAStreamThatIsLeft: the log says that it was not read to its end, and that this is no fault of ours.
func TestAStreamThatIsLeft(t *testing.T) {
	f := newFront(httpapi.Config{})
	ctx, leave := context.WithCancel(t.Context())
	f.scripts["leave"] = func(*fake, string) { leave() }
	r := call{path: "/api/v1/teams/backend/stream", body: `{"message":"leave"}`}.request(ctx, "http://iris.test")
	f.server.Handler().ServeHTTP(httptest.NewRecorder(), r)
	if got := f.logged.String(); !strings.Contains(got, `"level":"INFO"`) || !strings.Contains(got, `"err":"context canceled"`) {
		t.Errorf("logged is %s", got)
	}
}

// TestBrokenEvents: a stream whose events fail is cut between two events, without a last one,
// so that its client comes back.
func TestBrokenEvents(t *testing.T) {
	f := newFront(httpapi.Config{})
	f.eventErr = fmt.Errorf("the reader has fallen behind")
	w := f.do(call{path: "/api/v1/teams/backend/stream", body: `{"message":"never"}`})
	if got := lines(w.Body.String(), "event: "); got != "event: start\n" {
		t.Errorf("events %q", got)
	}
	if !strings.Contains(f.logged.String(), "fallen behind") {
		t.Errorf("not in the log: %s", f.logged)
	}
}

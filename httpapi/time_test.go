package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// in runs do with a front and a client in a bubble, where time passes at once.
func in(t *testing.T, cfg httpapi.Config, do func(t *testing.T, f *front, client *http.Client, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFront(cfg)
		client, stop := f.serve(t)
		defer f.running.Wait()
		defer stop()
		do(t, f, client, stop)
	})
}

// later makes a message take some time and then be answered.
func later(d time.Duration) func(*fake, string) {
	return func(f *fake, id string) {
		time.Sleep(d)
		f.end(id, iris.StatusCompleted, "late", nil)
	}
}

// send plays a request and gives status, body and how long it took.
func send(t *testing.T, client *http.Client, c call) (int, []byte, time.Duration) {
	t.Helper()
	began := time.Now()
	res, err := client.Do(c.request(context.Background(), "http://iris.test"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body, time.Since(began)
}

func TestAskWaits(t *testing.T) {
	tests := []struct {
		name   string
		takes  time.Duration
		body   string
		status int
		after  time.Duration
		state  iris.Status // of the message, when the answer has come
	}{
		{"until it is answered", 29 * time.Second, `{"question":"slow"}`, 200, 29 * time.Second, iris.StatusCompleted},
		{"thirty seconds by default, and the turn goes on", time.Minute, `{"question":"slow"}`, 408, 30 * time.Second, iris.StatusQueued},
		{"as long as it is told", time.Minute, `{"question":"slow","timeout":1000}`, 408, time.Second, iris.StatusQueued},
		{"for hours", 5 * time.Hour, `{"question":"slow","timeout":86400000}`, 200, 5 * time.Hour, iris.StatusCompleted},
		{"and cancels when it is to", time.Minute, `{"question":"slow","cancelOnTimeout":true}`, 408, 30 * time.Second, iris.StatusCancelled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
				f.scripts["slow"] = later(tt.takes)
				status, body, took := send(t, client, call{path: "/api/v1/teams/backend/ask", body: tt.body})
				if status != tt.status || took != tt.after {
					t.Errorf("%d after %s: %s", status, took, body)
				}
				m, _ := f.Message(t.Context(), "msg_00000000000000000000000001")
				if m.Status != tt.state {
					t.Errorf("the message is %s, want %s", m.Status, tt.state)
				}
				if status == 408 {
					details, _ := errorOf(t, body).Details.(map[string]any)
					if details["messageId"] != m.ID {
						t.Errorf("no way to the answer: %s", body)
					}
				}
			})
		})
	}
}

// TestAskerLeaves: the turn goes on, and the log says what became of the request.
func TestAskerLeaves(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		f.scripts["slow"] = later(time.Minute)
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		_, err := client.Do(call{path: "/api/v1/teams/backend/ask", body: `{"question":"slow"}`}.request(ctx, "http://iris.test"))
		if err == nil {
			t.Fatal("no error")
		}
		if m, err := f.Wait(t.Context(), "msg_00000000000000000000000001"); err != nil || m.Status != iris.StatusCompleted {
			t.Errorf("the message is %s, %v", m.Status, err)
		}
		if !strings.Contains(f.logged.String(), `"status":499`) {
			t.Errorf("log: %s", f.logged)
		}
	})
}

func TestLongPoll(t *testing.T) {
	tests := []struct {
		name  string
		wait  string
		state iris.Status
		after time.Duration
	}{
		{"answers when it is finished", "60000", iris.StatusCompleted, 20 * time.Second},
		{"answers when the time is over", "5000", iris.StatusQueued, 5 * time.Second},
		{"answers at once without a wait", "0", iris.StatusQueued, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
				f.scripts["slow"] = later(20 * time.Second)
				send(t, client, call{path: "/api/v1/teams/backend/execute", body: `{"task":"slow"}`})
				status, body, took := send(t, client, call{path: "/api/v1/messages/job_00000000000000000000000001?wait=" + tt.wait})
				var m struct{ Status iris.Status }
				if err := json.Unmarshal(body, &m); err != nil || status != 200 || m.Status != tt.state || took != tt.after {
					t.Errorf("%d after %s: %s", status, took, body)
				}
			})
		})
	}
}

// TestHeartbeat: a silent stream is kept awake, and an event comes at once.
func TestHeartbeat(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		f.scripts["slow"] = func(f *fake, id string) {
			time.Sleep(20 * time.Second)
			f.emit(id, iris.Event{Kind: iris.EventChunk, Text: "a"})
			time.Sleep(31 * time.Second)
			f.end(id, iris.StatusCompleted, "a", nil)
		}
		res, err := client.Do(call{path: "/api/v1/teams/backend/stream", body: `{"message":"slow"}`}.request(t.Context(), "http://iris.test"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		began := time.Now()
		var got []string
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if line := lines.Text(); strings.HasPrefix(line, "event: ") || strings.HasPrefix(line, ":") {
				got = append(got, time.Since(began).String()+" "+line)
			}
		}
		want := "0s event: start|15s : still working|20s event: chunk|35s : still working|50s : still working|51s event: complete"
		if strings.Join(got, "|") != want {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "|"), want)
		}
	})
}

// TestRevokedKey: a stream ends within the recheck when its key is revoked; it says why, in an
// event without an id, for it is none of the message's.
func TestRevokedKey(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		f.scripts["chatty"] = func(f *fake, id string) {
			for range 100 {
				time.Sleep(100 * time.Millisecond)
				f.emit(id, iris.Event{Kind: iris.EventChunk, Text: "a"})
			}
			f.end(id, iris.StatusCompleted, "a", nil)
		}
		time.AfterFunc(5*time.Second, func() { f.revoke("all") })
		_, body, took := send(t, client, call{path: "/api/v1/teams/backend/stream", body: `{"message":"chatty"}`})
		tail := string(body[strings.LastIndex(string(body), "\n\nevent: "):])
		if took > 6100*time.Millisecond || !strings.Contains(tail, "event: error\ndata: ") || !strings.Contains(tail, `"code":"UNAUTHORIZED"`) {
			t.Errorf("after %s: %s", took, tail)
		}
	})
}

// TestRightsWhileItWaits: what a key has lost while its answer was on its way it is not told;
// its own messages stay its own.
func TestRightsWhileItWaits(t *testing.T) {
	type change func(f *front, c iris.Caller)
	set := func(f *front, c iris.Caller) { f.keys.all["one"] = c }
	fewer := func(f *front, c iris.Caller) {
		c.Scopes = []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesWrite, iris.ScopeMessagesStream}
		set(f, c)
	}
	only := func(f *front, c iris.Caller) { c.Scopes = []iris.Scope{iris.ScopeTeamsRead}; set(f, c) }
	elsewhere := func(f *front, c iris.Caller) { c.Teams = []string{"frontend"}; set(f, c) }
	revoked := func(f *front, _ iris.Caller) { delete(f.keys.all, "one") }
	expired := func(f *front, _ iris.Caller) {
		f.keys.gone = iris.Errorf(iris.CodeUnauthorized, "API key expired: get another one").Because(iris.ErrExpired)
		delete(f.keys.all, "one")
	}
	const (
		forbidden, unauthorized = `"code":"FORBIDDEN"`, `"code":"UNAUTHORIZED"`
		loss, end               = 5500 * time.Millisecond, 10 * time.Second
	)
	others, backend := "/api/v1/messages/msg_00000000000000000000000001", "/api/v1/teams/backend/"
	asks, streams := call{path: backend + "ask", body: `{"question":"chatty"}`}, call{path: backend + "stream", body: `{"message":"chatty"}`}
	tests := []struct {
		name   string
		call   call
		change change
		status int
		want   string        // in the answer
		after  time.Duration // that it comes, or that of the next event
	}{
		{"following another's message, with fewer scopes", call{path: others + "/stream"}, fewer, 200, forbidden, 6 * time.Second},
		{"following another's message, bound to other teams", call{path: others + "/stream"}, elsewhere, 200, forbidden, 6 * time.Second},
		{"its own stream, with fewer scopes", streams, only, 200, "event: complete", end},
		{"its own stream, revoked", streams, revoked, 200, unauthorized, 6 * time.Second},
		{"waiting for another's message, with fewer scopes", call{path: others + "?wait=60000"}, fewer, 403, forbidden, end},
		{"waiting for another's message, bound to other teams", call{path: others + "?wait=60000"}, elsewhere, 403, forbidden, end},
		{"waiting for another's message, revoked", call{path: others + "?wait=60000"}, revoked, 401, unauthorized, end},
		{"waiting for another's message, expired", call{path: others + "?wait=60000"}, expired, 200, `"response":"done"`, end},
		{"cancelling another's message, revoked", call{method: "POST", path: others + "/cancel"}, revoked, 401, unauthorized, end},
		{"asking, with fewer scopes", asks, only, 200, `"response":"done"`, end},
		{"asking, bound to other teams", asks, elsewhere, 200, `"response":"done"`, end},
		{"asking, revoked", asks, revoked, 401, unauthorized, end},
		{"asking, expired", asks, expired, 200, `"response":"done"`, end},
		{"asking by stream: false, revoked", call{path: backend + "stream", body: `{"message":"chatty","stream":false}`}, revoked, 401, unauthorized, end},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
				f.slow = true
				f.scripts["chatty"] = func(f *fake, id string) {
					for range 10 {
						time.Sleep(time.Second)
						f.emit(id, iris.Event{Kind: iris.EventChunk, Text: "a"})
					}
					f.end(id, iris.StatusCompleted, "done", nil)
				}
				caller := iris.Caller{Kind: iris.CallerKey, Name: "one", Scopes: []iris.Scope{
					iris.ScopeTeamsRead, iris.ScopeMessagesRead, iris.ScopeMessagesWrite, iris.ScopeMessagesStream}}
				f.keys.mu.Lock()
				f.keys.all["one"] = caller
				f.keys.mu.Unlock()
				send(t, client, call{path: backend + "execute", body: `{"task":"chatty"}`})
				time.AfterFunc(loss, func() {
					f.keys.mu.Lock()
					defer f.keys.mu.Unlock()
					tt.change(f, caller)
				})
				tt.call.key = "one"
				status, body, took := send(t, client, tt.call)
				if status != tt.status || !strings.Contains(string(body), tt.want) || took.Round(time.Second) != tt.after {
					t.Errorf("%d after %s: %s", status, took, body)
				}
				if lost := tt.want == forbidden || tt.want == unauthorized; lost && strings.Contains(string(body), "done") {
					t.Errorf("it was told all the same: %s", body)
				}
			})
		})
	}
}

// TestSlowReader: who does not read is dropped, and nobody else notices.
func TestSlowReader(t *testing.T) {
	in(t, httpapi.Config{WriteTimeout: 10 * time.Second}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		f.scripts["big"] = func(f *fake, id string) {
			for range 60 {
				time.Sleep(time.Second)
				f.emit(id, iris.Event{Kind: iris.EventChunk, Text: strings.Repeat("a", 10_000)})
			}
			f.end(id, iris.StatusCompleted, "a", nil)
		}
		res, err := client.Do(call{path: "/api/v1/teams/backend/stream", body: `{"message":"big"}`}.request(t.Context(), "http://iris.test"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close() // never read: a pipe has no buffer
		_, body, took := send(t, client, call{path: "/api/v1/messages/msg_00000000000000000000000001/stream"})
		if n := strings.Count(string(body), "event: chunk"); n != 60 || took != time.Minute {
			t.Errorf("the other reader got %d chunks in %s", n, took)
		}
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("the slow one was not dropped")
		}
	})
}

// TestConnectionGoesOn: the write deadline of one answer does not hurt the next one on the
// same connection, however long after, whether that has a body or not. (By POST: a GET whose
// connection broke is sent again by the client, and nothing would be seen.)
func TestConnectionGoesOn(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		client.Transport.(*http.Transport).DisableKeepAlives = false
		f.scripts["slow"] = later(time.Minute)
		for _, c := range []call{
			{path: "/api/v1/teams/backend/stream", body: `{"message":"work"}`},
			{path: "/api/v1/teams/backend/stream", body: `{"message":"work"}`, header: after("msg_00000000000000000000000001", 9)}, // 204
			{path: "/api/v1/teams/backend/ask", body: `{"question":"slow","timeout":100000}`},
			{path: "/api/v1/teams/backend/stream", body: `{"message":"slow"}`},
			{path: "/api/v1/messages/msg_00000000000000000000000001/cancel", method: "POST"},
		} {
			if status, body, _ := send(t, client, c); status >= 300 {
				t.Errorf("%s: %d %s", c.path, status, body)
			}
			time.Sleep(time.Minute)
		}
	})
}

// TestSlowBody: a body that does not come in time is the client's fault; its deadline does
// not end an ask that waits for long after it.
func TestSlowBody(t *testing.T) {
	tests := []struct {
		name   string
		pause  time.Duration // before each half of the body
		status int
		after  time.Duration
	}{
		{"too slow", 20 * time.Second, 400, 30 * time.Second},
		{"slow, and then the ask waits", 10 * time.Second, 200, 10*time.Minute + 20*time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
				f.scripts["slow"] = later(10 * time.Minute)
				r, w := io.Pipe()
				written := make(chan struct{})
				defer func() { r.Close(); <-written }()
				go func() {
					defer close(written)
					defer w.Close()
					for _, half := range []string{`{"question":"slow",`, `"timeout":86400000}`} {
						time.Sleep(tt.pause)
						if _, err := io.WriteString(w, half); err != nil {
							return
						}
					}
				}()
				req := call{method: "POST", path: "/api/v1/teams/backend/ask"}.request(t.Context(), "http://iris.test")
				req.Body = r
				began := time.Now()
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if took := time.Since(began); res.StatusCode != tt.status || took != tt.after {
					t.Errorf("%d after %s: %s", res.StatusCode, took, body)
				}
			})
		})
	}
}

// TestNoBody: a stream that is resumed by POST without a body has no deadline at all.
func TestNoBody(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		f.scripts["slow"] = later(10 * time.Minute)
		send(t, client, call{path: "/api/v1/teams/backend/execute", body: `{"task":"slow"}`})
		status, body, took := send(t, client, call{method: "POST", path: "/api/v1/teams/backend/stream", header: after("msg_00000000000000000000000001", 1)})
		if status != 200 || took != 10*time.Minute || !strings.Contains(string(body), "event: complete") {
			t.Errorf("%d after %s: %s", status, took, body)
		}
	})
}

// TestShutdown: what runs may end within the grace; then it is cut, honestly.
func TestShutdown(t *testing.T) {
	tests := []struct {
		name  string
		call  call
		takes time.Duration
		after time.Duration
		says  string
	}{
		{"an ask that ends in time", call{path: "/api/v1/teams/backend/ask", body: `{"question":"slow"}`}, 10 * time.Second, 10 * time.Second, `"response":"late"`},
		{"an ask that does not", call{path: "/api/v1/teams/backend/ask", body: `{"question":"slow","timeout":3600000}`}, time.Hour, 21 * time.Second, `"code":"SHUTTING_DOWN","message":"Iris is shutting down; send the request again in a few seconds","details":{"messageId":"msg_00000000000000000000000001"}`},
		{"a stream that ends in time", call{path: "/api/v1/teams/backend/stream", body: `{"message":"slow"}`}, 10 * time.Second, 10 * time.Second, "event: complete"},
		{"a stream that does not", call{path: "/api/v1/teams/backend/stream", body: `{"message":"slow"}`}, time.Hour, 21 * time.Second, "event: start"},
		{"a long poll", call{path: "/api/v1/messages/msg_00000000000000000000000001?wait=60000"}, time.Hour, time.Second, `"status":"queued"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, stop func()) {
				f.scripts["slow"] = later(tt.takes)
				if tt.call.body == "" {
					send(t, client, call{path: "/api/v1/teams/backend/execute", body: `{"task":"slow"}`})
				}
				stopped := make(chan time.Duration, 1)
				began := time.Now()
				time.AfterFunc(time.Second, func() { stop(); stopped <- time.Since(began) })
				status, body, took := send(t, client, tt.call)
				if took != tt.after || !strings.Contains(string(body), tt.says) {
					t.Errorf("%d after %s: %s", status, took, body)
				}
				if ended := <-stopped; ended > 23*time.Second {
					t.Errorf("Serve ended after %s", ended)
				}
				if m := f.find("msg_00000000000000000000000001"); strings.Contains(tt.says, "send the request again") && m.Status != iris.StatusCancelled {
					t.Errorf("the message is %s, and would be answered beside the one that is sent again", m.Status)
				}
				if w := f.do(call{path: "/readyz", key: "-"}); w.Code != 503 {
					t.Errorf("readyz: %d", w.Code)
				}
			})
		})
	}
}

// TestReadiness: the store is asked once a second at most, whoever asks.
func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fault error
		f := newFront(httpapi.Config{Fault: func() error { return fault }})
		ready := func(want int) {
			t.Helper()
			w := f.do(call{path: "/readyz", key: "-"})
			if w.Code != want || strings.Contains(w.Body.String(), "disk") {
				t.Errorf("%d %s, want %d", w.Code, w.Body, want)
			}
		}
		ready(200)
		f.broken = context.DeadlineExceeded
		ready(200)
		time.Sleep(1100 * time.Millisecond)
		ready(503)
		f.broken, fault = nil, errors.New("disk on fire")
		time.Sleep(1100 * time.Millisecond)
		ready(503)
		fault = nil
		ready(200)
	})
}

package iris_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	iris "github.com/iris-mcp/go-client"
)

// serve starts a server that answers with h, and a client that talks to it.
func serve(t *testing.T, h http.HandlerFunc, options ...iris.ClientOption) *iris.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	options = append([]iris.ClientOption{iris.WithBaseURL(server.URL), iris.WithAPIKey("iris_sk_test")}, options...)
	return iris.NewClient(options...)
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func TestWhatIsSent(t *testing.T) {
	long, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	tests := []struct {
		name string
		call func(*iris.Client) error
		want string // method, path and body
	}{
		{"a plain question", func(c *iris.Client) error {
			_, err := c.Teams.Backend.Ask(t.Context(), "why?")
			return err
		}, `POST /api/v1/teams/backend/ask {"question":"why?"}`},
		{"everything an ask can have", func(c *iris.Client) error {
			_, err := c.Teams.Team("a.b").Ask(t.Context(), "why?", iris.WithTimeout(time.Second), iris.WithSession("s"),
				iris.WithContext(iris.Context{Source: "ci", Metadata: []int{1}}), iris.WithPriority(iris.PriorityHigh), iris.CancelOnTimeout())
			return err
		}, `POST /api/v1/teams/a.b/ask {"question":"why?","timeout":1000,"context":{"source":"ci","metadata":[1]},"sessionId":"s","priority":"high","cancelOnTimeout":true}`},
		{"a deadline becomes the timeout, a little less", func(c *iris.Client) error {
			_, err := c.Teams.Frontend.Ask(long, "why?")
			return err
		}, `POST /api/v1/teams/frontend/ask {"question":"why?","timeout":599***}`},
		{"a task", func(c *iris.Client) error {
			_, err := c.Teams.Backend.Execute(t.Context(), "do", iris.WithoutDedupe(), iris.WithMaxAttempts(2), iris.WithPriority("low"))
			return err
		}, `POST /api/v1/teams/backend/execute {"task":"do","priority":"low","dedupe":false,"maxAttempts":2}`},
		{"a task with a callback", func(c *iris.Client) error {
			_, err := c.Teams.Backend.Execute(t.Context(), "do", iris.WithCallback(iris.Callback{URL: "https://a.example", Headers: map[string]string{"A": "b"}}))
			return err
		}, `POST /api/v1/teams/backend/execute {"task":"do","callback":{"url":"https://a.example","headers":{"A":"b"}}}`},
		{"a callback that is called again", func(c *iris.Client) error {
			_, err := c.Messages.Resend(t.Context(), "job_1")
			return err
		}, `POST /api/v1/messages/job_1/resend `},
		{"a name that would be another path", func(c *iris.Client) error {
			_, err := c.Teams.Team("../x?y").Ask(t.Context(), "why?")
			return err
		}, `POST /api/v1/teams/..%2Fx%3Fy/ask {"question":"why?"}`},
		{"a status", func(c *iris.Client) error {
			_, err := c.Teams.Backend.Status(t.Context())
			return err
		}, `GET /api/v1/teams/backend/status `},
		{"a cancel", func(c *iris.Client) error {
			_, err := c.Messages.Cancel(t.Context(), "msg_1")
			return err
		}, `POST /api/v1/messages/msg_1/cancel `},
		{"a history", func(c *iris.Client) error {
			_, err := c.Messages.History(t.Context(), iris.HistoryFilter{Team: "b", From: "api", Status: iris.StatusFailed, Limit: 5, Page: 2, Since: time.UnixMilli(7)})
			return err
		}, `GET /api/v1/messages/history?from=api&limit=5&page=2&since=7&status=failed&team=b `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sent := make(chan string, 1)
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				sent <- r.Method + " " + r.URL.RequestURI() + " " + string(body)
				if key := r.Header.Get("Authorization"); key != "Bearer iris_sk_test" {
					t.Errorf("Authorization: %q", key)
				}
				answer(w, 200, `{}`)
			})
			if err := tt.call(c); err != nil {
				t.Fatal(err)
			}
			got := <-sent
			head, tail, hidden := strings.Cut(tt.want, "***")
			if got != tt.want && !(hidden && strings.HasPrefix(got, head) && strings.HasSuffix(got, tail)) {
				t.Errorf("sent %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestBaseURLIsForgiving(t *testing.T) {
	for _, url := range []string{"http://h:1", "http://h:1/", "http://h:1/api/v1", "http://h:1/api/v1/"} {
		if got := iris.NewClient(iris.WithBaseURL(url)).BaseURL(); got != "http://h:1" {
			t.Errorf("%q became %q", url, got)
		}
	}
}

func TestNamesThatAreNoPathNeverLeave(t *testing.T) {
	c := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	for _, name := range []string{"", ".", ".."} {
		if _, err := c.Teams.Team(name).Ask(t.Context(), "hi"); iris.CodeOf(err) != iris.CodeTeamNotFound {
			t.Errorf("team %q: %v", name, err)
		}
		if _, err := c.Messages.Get(t.Context(), name); iris.CodeOf(err) != iris.CodeMessageNotFound {
			t.Errorf("message %q: %v", name, err)
		}
	}
}

func TestTextsThatJSONCannotCarryNeverLeave(t *testing.T) {
	sent := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sent++ }))
	defer server.Close()
	team := iris.NewClient(iris.WithBaseURL(server.URL)).Teams.Backend
	_, asked := team.Ask(t.Context(), "\xff")
	_, executed := team.Execute(t.Context(), "\xff")
	var streamed error
	for _, err := range team.Stream(t.Context(), "hello", iris.WithSession("\xff")) {
		streamed = err
	}
	for _, err := range []error{asked, executed, streamed} {
		if iris.CodeOf(err) != iris.CodeInvalidRequest || sent > 0 {
			t.Errorf("got %v, and %d requests were sent", err, sent)
		}
	}
}

func TestErrorsSayWhatTheServerSaid(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   iris.Error
	}{
		{"in Iris's form", 408, `{"error":"Timeout","code":"TIMEOUT","message":"late","details":{"messageId":"msg_9"},"requestId":"r"}`,
			iris.Error{Code: "TIMEOUT", Name: "Timeout", Message: "late", Details: json.RawMessage(`{"messageId":"msg_9"}`), RequestID: "r", Status: 408, Tries: 1}},
		{"with scopes", 403, `{"error":"Insufficient permissions","code":"FORBIDDEN","message":"no","required":["a"],"provided":["b"],"requestId":"r"}`,
			iris.Error{Code: "FORBIDDEN", Name: "Insufficient permissions", Message: "no", Required: []string{"a"}, Provided: []string{"b"}, RequestID: "r", Status: 403, Tries: 1}},
		{"from something else on the port", 404, `<html>`,
			iris.Error{Code: "INTERNAL_ERROR", Message: "… answered 404 Not Found, which is not Iris's way to say it: is that address Iris?", RequestID: "h", Status: 404, Tries: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Request-Id", "h")
				answer(w, tt.status, tt.body)
			})
			_, err := c.Teams.Backend.Ask(t.Context(), "hi")
			var got *iris.Error
			if !errors.As(err, &got) {
				t.Fatal(err)
			}
			got.Message = strings.ReplaceAll(got.Message, c.BaseURL(), "…")
			if !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got  %#v\nwant %#v", *got, tt.want)
			}
			if tt.status == 408 && got.MessageID() != "msg_9" {
				t.Errorf("MessageID: %q", got.MessageID())
			}
		})
	}
}

// hangUp breaks the connection off.
func hangUp(t *testing.T, w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	conn.Close()
}

func TestACallWithAKeyIsRepeatedWhenItsConnectionBreaks(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options []iris.Option
		breaks  int64
		sent    int64
		ok      bool
	}{
		{"as often as allowed", []iris.Option{iris.WithIdempotencyKey("k")}, 2, 3, true},
		{"and not more", []iris.Option{iris.WithIdempotencyKey("k")}, 9, 3, false},
		{"without a key it is not", nil, 1, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sent atomic.Int64
			bodies := make(chan string, 9)
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				bodies <- r.Header.Get("Idempotency-Key") + string(body)
				if sent.Add(1) <= tt.breaks {
					hangUp(t, w)
					return
				}
				answer(w, 200, `{"response":"yes"}`)
			}, iris.WithRetry(3, time.Minute))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var options []iris.AskOption
			for _, o := range tt.options {
				options = append(options, o)
			}
			_, err := c.Teams.Backend.Ask(ctx, "q", options...)
			if got := sent.Load(); got != tt.sent || (err == nil) != tt.ok || err != nil && !errors.Is(err, iris.ErrUnreachable) {
				t.Errorf("sent %d times, %v", got, err)
			}
			for tt.options != nil && len(bodies) > 0 {
				if got := <-bodies; got != `k{"question":"q"}` {
					t.Errorf("sent %s", got)
				}
			}
		})
	}
}

func TestAStreamWithAKeyIsAskedForAgainWhenItBreaksBeforeItsFirstEvent(t *testing.T) {
	for key, want := range map[string]int64{"": 1, "k": 2} {
		var sent atomic.Int64
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			if sent.Add(1) == 1 {
				hangUp(t, w)
				return
			}
			io.WriteString(w, "id: msg_1:1\nevent: start\ndata: {}\n\nid: msg_1:2\nevent: complete\ndata: {}\n\n")
		})
		var kinds []iris.EventKind
		var failed error
		for event, err := range c.Teams.Backend.Stream(t.Context(), "q", iris.WithIdempotencyKey(key)) {
			kinds, failed = append(kinds, event.Kind), err
		}
		if sent.Load() != want || (failed == nil) != (key != "") {
			t.Errorf("key %q: sent %d times, %v, %v", key, sent.Load(), kinds, failed)
		}
	}
}

func TestATurnedAwayCallIsRepeated(t *testing.T) {
	tests := []struct {
		name       string
		refusals   int64
		status     int
		retryAfter string
		timeout    time.Duration
		sent       int64
		ok         bool
	}{
		{"as the server says", 2, 429, "0", time.Minute, 3, true},
		{"also when it is full", 1, 503, "0", time.Minute, 2, true},
		{"but not for ever", 100, 503, "0", time.Minute, 3, false},
		{"not if the pause is longer than allowed", 1, 429, "3600", 2 * time.Hour, 1, false},
		{"not if the context would end before", 1, 429, "30", 10 * time.Second, 1, false},
		{"not for any other failure", 1, 500, "0", time.Minute, 1, false},
		{"not if the message was taken", 1, 503, "0", time.Minute, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var sent atomic.Int64
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if sent.Add(1) > tt.refusals {
					answer(w, 200, `{"response":"yes"}`)
					return
				}
				w.Header().Set("Retry-After", tt.retryAfter)
				details := ""
				if tt.name == "not if the message was taken" {
					details = `,"details":{"messageId":"msg_9"}`
				}
				answer(w, tt.status, `{"code":"RATE_LIMITED","message":"slow down"`+details+`}`)
			}, iris.WithRetry(3, time.Minute))
			ctx, cancel := context.WithTimeout(t.Context(), tt.timeout)
			defer cancel()
			_, err := c.Teams.Backend.Ask(ctx, "hi")
			if (err == nil) != tt.ok || sent.Load() != tt.sent {
				t.Errorf("sent %d times: %v", sent.Load(), err)
			}
			if e := (*iris.Error)(nil); !tt.ok && (!errors.As(err, &e) || int64(e.Tries) != tt.sent || errors.Is(err, context.DeadlineExceeded)) {
				t.Errorf("not honest: %v", err)
			}
		})
	}
}

func TestAPauseEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "30")
		answer(w, 429, `{"code":"RATE_LIMITED","message":"slow down"}`)
		cancel()
	})
	_, err := c.Teams.Backend.Ask(ctx, "hi")
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAnUnreachableServerIsNamedSo(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	c := iris.NewClient(iris.WithBaseURL(server.URL))
	if _, err := c.Teams.List(t.Context()); !errors.Is(err, iris.ErrUnreachable) {
		t.Error(err)
	}
	for _, err := range c.Teams.Backend.Stream(t.Context(), "hi") {
		if !errors.Is(err, iris.ErrUnreachable) {
			t.Error(err)
		}
	}
}

func TestWaitOutlivesABrokenConnection(t *testing.T) {
	var calls atomic.Int64
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("wait") != "60000" {
			t.Errorf("asked %s", r.URL)
		}
		switch calls.Add(1) {
		case 1:
			answer(w, 200, `{"messageId":"msg_1","status":"processing"}`)
		case 2:
			panic(http.ErrAbortHandler)
		default:
			answer(w, 200, `{"messageId":"msg_1","status":"failed","error":"it died","code":"PROCESS_ERROR"}`)
		}
	})
	m, err := c.Messages.Wait(t.Context(), "msg_1")
	if err != nil || m.Status != iris.StatusFailed || iris.CodeOf(m.Err()) != iris.CodeProcess {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestHistoryIsMadeOfWholeMessages(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, `{"messages":[{"messageId":"msg_1","from":"api","to":"backend","message":"q","response":null,"status":"queued","duration":null,"timestamp":7}],"pagination":{"page":1,"limit":50,"total":1,"hasNext":false}}`)
	})
	h, err := c.Messages.History(t.Context(), iris.HistoryFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if m := h.Messages[0]; m.Team != "backend" || m.CreatedAt.UnixMilli() != 7 || m.Response != "" || h.Pagination.Total != 1 {
		t.Errorf("%+v, %+v", m, h.Pagination)
	}
}

func TestTimesAreMillisecondsOnTheWire(t *testing.T) {
	const text = `{"messageId":"msg_1","team":"b","question":"q","response":"r","duration":2847,"timestamp":1704067200000}`
	var a iris.Answer
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	if a.Duration.Seconds() != 2.847 || a.Timestamp.UTC().Year() != 2024 {
		t.Errorf("%v, %v", a.Duration, a.Timestamp)
	}
	if back, err := json.Marshal(a); err != nil || string(back) != text {
		t.Errorf("%s, %v", back, err)
	}
}

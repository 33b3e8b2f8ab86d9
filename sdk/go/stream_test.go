package iris_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	iris "github.com/iris-mcp/go-client"
)

func events(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
}

// event writes event n of msg_1, as Iris does.
func event(w io.Writer, n int, name, data string) {
	fmt.Fprintf(w, "id:msg_1:%d\nevent:%s\ndata:%s\n\n", n, name, data)
}

func TestAStreamIsTakenUpWhereItBroke(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		calls = append(calls, r.Method+" "+r.URL.Path+" "+r.Header.Get("Last-Event-ID"))
		n := len(calls)
		mu.Unlock()
		events(w)
		switch n {
		case 1:
			event(w, 1, "start", `{"messageId":"msg_1","team":"backend","sessionId":"ses_1"}`)
			event(w, 2, "chunk", `{"text":"one "}`)
			io.WriteString(w, "id:msg_1:3\nevent:chunk\ndata:{\"text\":\"cut") // in the middle of an event
		case 2: // broken again, without anything new
			panic(http.ErrAbortHandler)
		default:
			event(w, 3, "tool_use", `{"tool":"Read","file":"a.go","input":{"path":"a.go"}}`)
			io.WriteString(w, ": a comment\n\n")
			event(w, 4, "chunk", `{"text":"two"}`)
			event(w, 5, "complete", `{"duration":5,"timestamp":1,"messageId":"msg_1"}`)
			event(w, 6, "chunk", `{"text":"nobody reads on"}`)
		}
	})
	var text strings.Builder
	var last int64
	broken := 0
	for e, err := range c.Teams.Backend.Stream(t.Context(), "hi") {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == iris.EventReconnect {
			broken++
			continue
		}
		text.WriteString(e.Text)
		if e.Seq != last+1 || e.MessageID != "msg_1" {
			t.Errorf("event %d of %q after %d", e.Seq, e.MessageID, last)
		}
		last = e.Seq
		if e.Kind == iris.EventToolUse && (e.Tool != "Read" || e.File != "a.go" || string(e.Input) != `{"path":"a.go"}`) {
			t.Errorf("%+v", e)
		}
	}
	want := []string{
		"POST /api/v1/teams/backend/stream ",
		"GET /api/v1/messages/msg_1/stream msg_1:2",
		"GET /api/v1/messages/msg_1/stream msg_1:2",
	}
	if text.String() != "one two" || last != 5 || broken == 0 || strings.Join(calls, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, %d events, calls:\n%s", text.String(), last, strings.Join(calls, "\n"))
	}
}

func TestAMessageIsNeverSentTwice(t *testing.T) {
	var calls atomic.Int64
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		events(w)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler) // before the first event
	})
	for _, err := range c.Teams.Backend.Stream(t.Context(), "hi") {
		if !errors.Is(err, iris.ErrUnreachable) {
			t.Error(err)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
}

func TestAStreamEndsWithItsError(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		events(w)
		event(w, 1, "start", `{"messageId":"msg_1"}`)
		event(w, 2, "error", `{"error":"ProcessError","code":"PROCESS_ERROR","message":"it died"}`)
	})
	var got error
	var n int
	for _, err := range c.Teams.Backend.Stream(t.Context(), "hi") {
		n, got = n+1, err
	}
	if n != 2 || !errors.Is(got, &iris.Error{Code: iris.CodeProcess}) {
		t.Errorf("%d, %v", n, got)
	}
}

func TestARefusedStreamEndsAtOnce(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		answer(w, 401, `{"code":"UNAUTHORIZED","message":"no"}`)
	})
	for _, err := range c.Messages.Stream(t.Context(), "msg_1", 0) {
		if iris.CodeOf(err) != iris.CodeUnauthorized {
			t.Error(err)
		}
	}
}

func TestLeavingTheLoopClosesTheConnection(t *testing.T) {
	gone := make(chan struct{})
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		events(w)
		event(w, 1, "start", `{"messageId":"msg_1"}`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	})
	for range c.Teams.Backend.Stream(t.Context(), "hi") {
		break
	}
	<-gone
}

func TestAStreamEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	why := errors.New("enough")
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		events(w)
		event(w, 1, "start", `{"messageId":"msg_1"}`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	var got error
	for _, err := range c.Teams.Backend.Stream(ctx, "hi") {
		got = err
		cancel(why)
	}
	if !errors.Is(got, why) {
		t.Error(got)
	}
}

func TestALongLineIsOneEvent(t *testing.T) {
	big := strings.Repeat("x", 3<<20)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		events(w)
		if r.URL.Query().Get("after") != "7" {
			t.Errorf("asked %s", r.URL)
		}
		event(w, 8, "chunk", `{"text":"`+big+`"}`)
		event(w, 9, "complete", `{}`)
	})
	var got string
	for e, err := range c.Messages.Stream(t.Context(), "msg_1", 7) {
		if err != nil {
			t.Fatal(err)
		}
		got += e.Text
	}
	if got != big {
		t.Errorf("%d bytes", len(got))
	}
}

// roundTrip is an http.RoundTripper without a network, for tests in which time is made.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestASilentConnectionCountsAsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls int
		began := time.Now()
		c := iris.NewClient(iris.WithHTTPClient(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			calls++
			body, w := io.Pipe()
			context.AfterFunc(r.Context(), func() { w.CloseWithError(r.Context().Err()) })
			go func(call int) {
				if call == 2 {
					event(w, 2, "complete", `{}`)
					return
				}
				event(w, 1, "start", `{"messageId":"msg_1"}`)
				for range 3 {
					time.Sleep(15 * time.Second)
					io.WriteString(w, ": still here\n\n")
				}
			}(calls)
			return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: body, Request: r}, nil
		})}))
		for _, err := range c.Teams.Backend.Stream(t.Context(), "hi") {
			if err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began).Round(time.Second); calls != 2 || took != 105*time.Second {
			t.Errorf("%d calls, %s", calls, took)
		}
	})
}

func TestAnotherServerIsNoStream(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { answer(w, 200, `{}`) })
	for _, err := range c.Teams.Backend.Stream(t.Context(), "hi") {
		if err == nil || !strings.Contains(err.Error(), "is that address Iris?") {
			t.Error(err)
		}
	}
}

package mcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/mcp"
)

func TestFourSessionsUseOneIDAtOnce(t *testing.T) {
	f := newFake()
	s := mcp.New(f, f, quiet(), "1")
	var all sync.WaitGroup
	for i := range 4 {
		c := connect(t, t.Context(), s, local)
		all.Go(func() {
			for n := range 50 {
				question := fmt.Sprintf("hello %d of %d", n, i)
				c.send(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"ask_team","arguments":{"team":"backend","question":%q}}}`, question)
				r := c.reply()
				if want := "backend says: " + question; string(r.ID) != "7" || r.Result.Structured.Response != want {
					t.Errorf("session %d has %q under id %s, want %q", i, r.Result.Structured.Response, r.ID, want)
				}
			}
		})
	}
	all.Wait()
}

// In each case two calls with nearly the same id run, and one of them is cancelled.
func TestACancelHitsOnlyItsOwn(t *testing.T) {
	for _, tt := range []struct {
		name      string
		second    string // the id of the second call, that of the first being 7
		sameOne   bool   // both calls in one session
		cancelled string
		want      string
	}{
		{"session", `7`, false, `7`, "frontend"},
		{"id: text is no number", `"7"`, true, `"7"`, "frontend"},
		{"id: a number is no text", `"7"`, true, `7`, "backend"},
		{"id: an unknown one is nobody's", `8`, true, `78`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				s := mcp.New(f, f, quiet(), "1")
				a := connect(t, t.Context(), s, local)
				b := a
				if !tt.sameOne {
					b = connect(t, t.Context(), s, local)
				}
				const ask = `{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"ask_team","arguments":{"team":%q,"question":"hang"}}}`
				a.send(ask, "7", "backend")
				b.send(ask, tt.second, "frontend")
				synctest.Wait()
				b.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}`, tt.cancelled)
				synctest.Wait()
				for _, m := range f.messagesOf() {
					if got := m.Status == iris.StatusCancelled; got != (m.Team == tt.want) {
						t.Errorf("the message to %s is %s", m.Team, m.Status)
					}
				}
			})
		})
	}
}

func TestACancelThatFollowsAtOnceIsNotLost(t *testing.T) {
	f := newFake()
	s := mcp.New(f, f, quiet(), "1")
	c := connect(t, t.Context(), s, local)
	const times = 200
	for i := range times {
		c.send(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"ask_team","arguments":{"team":"backend","question":"hang"}}}`, i)
		c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%d}}`, i)
	}
	c.in.Close() // the session ends when all calls have; a lost cancel would leave its message queued
	if rest, _ := io.ReadAll(c.out); len(rest) > 0 {
		t.Errorf("cancelled calls were answered: %s", rest)
	}
	<-c.done
	if n := f.statuses(); n[iris.StatusQueued] != 0 || n[iris.StatusCompleted] != 0 {
		t.Errorf("the messages are %v, want them cancelled, or never begun", n)
	}
}

func TestAnIDInUseIsRefused(t *testing.T) {
	f := newFake()
	c := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), local)
	for range 2 {
		c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask_team","arguments":{"team":"backend","question":"hang"}}}`)
	}
	if r := c.reply(); r.Error == nil || r.Error.Code != -32600 {
		t.Errorf("got %+v, want an error", r)
	}
}

func TestWhenTheClientGoesItsMessagesGoOn(t *testing.T) {
	f := newFake()
	c := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), local)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask_team","arguments":{"team":"backend","question":"hang"}}}`)
	c.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"tell_team","arguments":{"team":"ops","message":"deploy"}}}`)
	c.in.Close()
	for range 2 { // also what came right before the end is answered
		r := c.reply()
		if string(r.ID) == "1" && (r.Result.code() != iris.CodeTimeout || r.Result.Structured.Error.MessageID == "") {
			t.Errorf("the ask ended with %+v, want TIMEOUT with a message id", r.Result)
		}
		if string(r.ID) == "2" && r.Result.Structured.Status != iris.StatusQueued {
			t.Errorf("tell_team ended with %+v", r.Result)
		}
	}
	<-c.done
	if n := f.statuses(); c.err != nil || n[iris.StatusQueued] != 2 {
		t.Errorf("Serve gave %v, the messages are %v; want two left as they were", c.err, n)
	}
}

func TestWhenIrisStopsCallsAreToldSo(t *testing.T) {
	f := newFake()
	ctx, stop := context.WithCancelCause(t.Context())
	c := connect(t, ctx, mcp.New(f, f, quiet(), "1"), local)
	c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask_team","arguments":{"team":"backend","question":"hang"}}}`)
	c.send(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
	c.line()
	over := errors.New("over")
	stop(over)
	if r := c.reply().Result; r.code() != iris.CodeShuttingDown || r.Structured.Error.MessageID == "" {
		t.Errorf("got %+v, want SHUTTING_DOWN with a message id", r)
	}
	<-c.done
	if !errors.Is(c.err, over) || f.statuses()[iris.StatusCancelled] != 0 {
		t.Errorf("Serve gave %v, the messages are %v", c.err, f.statuses())
	}
}

// A client that neither reads nor goes must not hold up the end of Iris.
func TestAClientThatDoesNotReadHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		ctx, stop := context.WithCancel(t.Context())
		c := connect(t, ctx, mcp.New(f, f, quiet(), "1"), local)
		for i := range 5 {
			c.send(`{"jsonrpc":"2.0","id":%d,"method":"ping"}`, i)
			synctest.Wait()
		}
		began := time.Now()
		stop()
		<-c.done
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("Serve returned after %s", took)
		}
	})
}

func TestAPanicIsAnErrorWithoutItsText(t *testing.T) {
	f := newFake()
	var log bytes.Buffer
	c := connect(t, t.Context(), mcp.New(f, f, logTo(&log), "1"), local)
	for _, tt := range []struct{ tool, arguments string }{
		{"ask_team", `{"team":"backend","question":"panic"}`},
		{"ask_teams", `{"teams":["backend","ops"],"question":"panic"}`},
		{"tell_team", `{"team":"backend","message":"panic"}`},
	} {
		c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tt.tool, tt.arguments)
		line := c.line()
		if strings.Contains(line, "secret") || !strings.Contains(line, `"INTERNAL_ERROR"`) || !strings.Contains(line, `"isError":true`) {
			t.Errorf("%s: %s", tt.tool, line)
		}
	}
	if !strings.Contains(log.String(), "secret of the house") {
		t.Error("the log does not have the panic")
	}
	if r := c.tool("list_teams", `{}`); r.IsError {
		t.Errorf("the session does not go on: %+v", r)
	}
}

func TestLinesOfAnyLength(t *testing.T) {
	f := newFake()
	c := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), local)
	long := strings.Repeat("x", 2_000_000)
	if r := c.tool("ask_team", fmt.Sprintf(`{"team":"backend","question":"hello %s"}`, long)); r.Structured.Response != "backend says: hello "+long {
		t.Errorf("a long question has an answer of %d bytes", len(r.Structured.Response))
	}
	tooLong := strings.Repeat("x", mcp.MaxLine)
	for _, tt := range []struct{ name, line, id string }{
		{"the id first", `{"jsonrpc":"2.0","id":7,"method":"x","params":"` + tooLong + `"}`, "7"},
		{"the id last", `{"method":"x","params":{"id":3,"p":"` + tooLong + `"},"jsonrpc":"2.0","id":"a7"}`, `"a7"`},
		{"the id in the middle", `{"method":"x","params":"` + tooLong + `","id":7,"params":"` + tooLong + `"}`, "null"},
		{"an id of something else", `{"method":"x","params":{"p":"` + tooLong + `","id":7}}`, "null"},
		{"no JSON", tooLong + "x", "null"},
	} {
		c.send("%s", tt.line)
		if r := c.reply(); r.Error == nil || r.Error.Code != -32600 || string(r.ID) != tt.id {
			t.Errorf("%s: got id %s, %+v, want an error for %s", tt.name, r.ID, r.Error, tt.id)
		}
	}
	if r := c.tool("list_teams", `{}`); r.IsError {
		t.Errorf("the session does not go on: %+v", r)
	}
}

func TestAMessageNeedsNoLineBreakAtTheEnd(t *testing.T) {
	f := newFake()
	var out bytes.Buffer
	conn := mcp.Lines(strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`), &out)
	if err := mcp.New(f, f, quiet(), "1").Serve(t.Context(), conn, local); err != nil {
		t.Fatal(err)
	}
	if want := `{"jsonrpc":"2.0","id":1,"result":{}}` + "\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

// FuzzLines feeds a session whatever a stranger may send: each line of what it says is a
// JSON-RPC message, and it ends.
func FuzzLines(f *testing.F) {
	for _, line := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `[]`, `{}`, `null`, `"`, "\x00", `{"id":1,"id":2}`,
		`{"jsonrpc":"2.0","id":-1,"method":"tools/call","params":{"name":"ask_team","arguments":{"team":"backend","question":"@/etc/passwd\u0000\ud800"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask_teams","arguments":{"teams":"*","question":"hello"},"_meta":{"progressToken":{}}}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":}}`,
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":7}}\n\n{\"id\":",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		d := newFake()
		var out bytes.Buffer
		if err := mcp.New(d, d, quiet(), "1").Serve(t.Context(), mcp.Lines(bytes.NewReader(said), &out), local); err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(out.Bytes()) {
			var m struct {
				JSONRPC string `json:"jsonrpc"`
			}
			if err := json.Unmarshal(line, &m); err != nil || m.JSONRPC != "2.0" {
				t.Errorf("%q made it say %q", said, line)
			}
		}
		d.stop()
	})
}

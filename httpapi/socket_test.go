package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// line is a WebSocket of a test.
type line struct {
	t *testing.T
	*websocket.Conn
	heard chan string // what its reader has read; nil if it has none, and hear reads
}

// dial connects with a key, and reads all the time, as clients do.
func dial(t *testing.T, client *http.Client, key string) *line {
	t.Helper()
	l := dialDeaf(t, client, key)
	heard := make(chan string, 10_000)
	go func() {
		for {
			text := l.hear()
			heard <- text
			if strings.HasPrefix(text, "closed") || strings.HasPrefix(text, "broken") {
				return
			}
		}
	}()
	reading := *l
	reading.heard = heard
	return &reading
}

// dialDeaf connects with a key and reads only when it is told to.
func dialDeaf(t *testing.T, client *http.Client, key string) *line {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "ws://iris.test/api/v1/stream", &websocket.DialOptions{
		HTTPClient: client, HTTPHeader: http.Header{"Authorization": {"Bearer " + key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(-1)
	t.Cleanup(func() { conn.CloseNow() })
	return &line{t: t, Conn: conn}
}

// say sends frames.
func (l *line) say(frames ...string) {
	l.t.Helper()
	for _, f := range frames {
		if err := l.Write(l.t.Context(), websocket.MessageText, []byte(f)); err != nil {
			l.t.Fatal(err)
		}
	}
}

// hear is the next frame as it came, or "closed" with the code and the reason.
func (l *line) hear() string {
	l.t.Helper()
	if l.heard != nil {
		return <-l.heard
	}
	kind, text, err := l.Read(context.Background())
	if c, ok := errors.AsType[websocket.CloseError](err); ok {
		return fmt.Sprintf("closed %d %s", c.Code, c.Reason)
	}
	if err != nil {
		return "broken: " + err.Error()
	}
	if kind != websocket.MessageText || strings.HasSuffix(string(text), "\n") {
		l.t.Errorf("a strange frame: %q", text)
	}
	return string(text)
}

// frame is a frame from the server, of any kind.
type frame struct {
	Type, MessageID, Team, SessionID, Ref, Text, Tool, Error, Code, Response string

	Seq, Timestamp, Duration int64
	Details                  any
}

// next is the next frame.
func (l *line) next() frame {
	l.t.Helper()
	text := l.hear()
	var f frame
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		l.t.Fatalf("%q is no frame", text)
	}
	return f
}

// expect reads frames that are, in short, as wanted: "type", and "type code" for an error,
// with "#seq" for an event.
func (l *line) expect(want ...string) (all []frame) {
	l.t.Helper()
	for _, w := range want {
		f := l.next()
		all = append(all, f)
		got := f.Type
		if f.Code != "" {
			got += " " + f.Code
		}
		if f.Seq > 0 {
			got += fmt.Sprintf("#%d", f.Seq)
		}
		if got != w {
			l.t.Fatalf("got %s (%+v), want %s", got, f, w)
		}
	}
	return all
}

// silent checks that nothing comes.
func (l *line) silent() {
	l.t.Helper()
	l.say(`{"type":"ping"}`)
	if f := l.next(); f.Type != "pong" {
		l.t.Errorf("got %+v, want nothing", f)
	}
}

// TestSocketAsDesigned is the example of the API's design: a client that subscribes to a team
// and sends it a message sees each event once.
func TestSocketAsDesigned(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		l := dial(t, client, "all")
		l.say(`{"type":"subscribe","team":"backend"}`, `{"type":"message","team":"backend","message":"work"}`)
		l.expect("subscribed", "start#1", "chunk#2", "thinking#3", "tool_use#4", "tool_result#5", "progress#6", "permission#7", "retry#8", "restart#9", "complete#10")
		l.silent()
		l.say(`{"type":"message","team":"backend","message":"never","sessionId":"mine"}`)
		start := l.expect("start#1")[0]
		if start.SessionID != "mine" || start.Team != "backend" {
			t.Errorf("%+v", start)
		}
		l.say(`{"type":"cancel","messageId":"` + start.MessageID + `"}`)
		if end := l.expect("error CANCELLED#2")[0]; end.MessageID != start.MessageID || end.Error != "the message was cancelled" || end.Timestamp == 0 {
			t.Errorf("%+v", end)
		}
		l.silent()
	})
}

// TestSocketBytes holds every kind of frame as clients see it.
func TestSocketBytes(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		var got strings.Builder
		l := dial(t, client, "all")
		play := func(answers int, frames ...string) {
			for _, frame := range frames {
				fmt.Fprintf(&got, "> %s\n", frame)
				l.say(frame)
			}
			for range answers {
				fmt.Fprintf(&got, "< %s\n", l.hear())
			}
		}
		play(2, `{"type":"ping"}`, `{"type":"subscribe","team":"backend"}`)
		play(10, `{"type":"message","team":"backend","message":"work","sessionId":"github:acme/api#123","timeout":5000,"context":{"source":"chat"},"ref":"one"}`)
		play(2, `{"type":"message","team":"backend","message":"fail","ref":"two"}`)
		play(2, `{"type":"message","team":"frontend","message":"cancel"}`)
		play(2, `{"type":"resume","messageId":"msg_00000000000000000000000001","after":8}`)
		play(1, `{"type":"unsubscribe","team":"backend"}`)
		play(1, `{"type":"message","team":"backnd","message":"q","ref":"three"}`)
		play(1, `{"type":"message","team":"backend","message":" ","timeout":0,"zzz":1,"ref":"four"}`)
		play(1, `{"type":"cancel","messageId":"msg_nope"}`)
		golden(t, "socket.golden", got.String())
	})
}

func TestSocketHandshake(t *testing.T) {
	const key = "iris_sk_1234567890"
	tests := []struct {
		name   string
		header http.Header
		status int // of a refusal; 101 if there is none
		code   string
	}{
		{"a bearer", http.Header{"Authorization": {"Bearer " + key}}, 101, ""},
		{"another header", http.Header{"X-Api-Key": {key}}, 101, ""},
		{"a browser", http.Header{"Sec-Websocket-Protocol": {"iris.v1, iris.key." + key}, "Origin": {"http://iris.test"}}, 101, ""},
		{"a browser in the other order", http.Header{"Sec-Websocket-Protocol": {"iris.key." + key + ",iris.v1"}}, 101, ""},
		{"two lines", http.Header{"Sec-Websocket-Protocol": {"iris.v1", "iris.key." + key}}, 101, ""},
		{"a page of a configured origin", http.Header{"Authorization": {"Bearer " + key}, "Origin": {"https://app.example.com"}}, 101, ""},
		{"a page of another origin", http.Header{"Authorization": {"Bearer " + key}, "Origin": {"https://evil.example.com"}}, 403, "FORBIDDEN"},
		{"a page without an origin", http.Header{"Authorization": {"Bearer " + key}, "Origin": {"null"}}, 403, "FORBIDDEN"},
		{"no key", http.Header{}, 401, "UNAUTHORIZED"},
		{"a wrong key", http.Header{"Authorization": {"Bearer iris_sk_wrong"}}, 401, "UNAUTHORIZED"},
		{"a browser with a wrong key", http.Header{"Sec-Websocket-Protocol": {"iris.v1, iris.key.iris_sk_wrong"}}, 401, "UNAUTHORIZED"},
		{"a browser that shows a proxy its password", http.Header{"Authorization": {"Basic eDp5"}, "Sec-Websocket-Protocol": {"iris.v1, iris.key." + key}}, 101, ""},
		{"the header counts", http.Header{"Authorization": {"Bearer iris_sk_wrong"}, "Sec-Websocket-Protocol": {"iris.v1, iris.key." + key}}, 401, "UNAUTHORIZED"},
		{"a key without the scope", http.Header{"Authorization": {"Bearer asker"}}, 403, "FORBIDDEN"},
		{"an old version", http.Header{"Authorization": {"Bearer " + key}, "Sec-Websocket-Version": {"8"}}, 400, "INVALID_REQUEST"},
		{"a plain GET", http.Header{"Authorization": {"Bearer " + key}, "Upgrade": {"-"}}, 426, "INVALID_REQUEST"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in(t, httpapi.Config{Origins: func() []string { return []string{"https://app.example.com"} }}, func(t *testing.T, f *front, client *http.Client, _ func()) {
				f.keys.all[key] = f.keys.all["all"]
				h := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"MDEyMzQ1Njc4OWFiY2RlZg=="}}
				for k, v := range tt.header {
					h[k] = v
				}
				res, err := client.Do(call{path: "/api/v1/stream", header: h, key: "-"}.request(t.Context(), "http://iris.test"))
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if res.StatusCode != tt.status {
					t.Errorf("status %d, want %d", res.StatusCode, tt.status)
				}
				if agreed := res.Header.Get("Sec-Websocket-Protocol"); (agreed == "iris.v1") != (tt.status == 101 && h["Sec-Websocket-Protocol"] != nil) || len(agreed) > 7 {
					t.Errorf("agreed on %q", agreed)
				}
				if tt.status == 426 && (res.Header.Get("Upgrade") != "websocket" || !strings.Contains(res.Header.Get("Connection"), "Upgrade")) {
					t.Errorf("headers %v", res.Header)
				}
				if tt.code != "" {
					body := make([]byte, 2000)
					n, _ := res.Body.Read(body)
					if e := errorOf(t, body[:n]); e.Code != tt.code || res.Header.Get("Content-Type") != "application/json" {
						t.Errorf("%s %v", body[:n], res.Header)
					}
				}
				if res.Body.Close(); strings.Contains(f.logged.String(), "iris_sk_") || strings.Contains(fmt.Sprint(res.Header), "iris_sk_") {
					t.Errorf("the key shows: %v, %s", res.Header, f.logged)
				}
			})
		})
	}
}

// TestSocketBadFrames: each gets an error that names what is wrong, and the connection stays.
func TestSocketBadFrames(t *testing.T) {
	tests := []struct {
		name, frame, code, says string
	}{
		{"not JSON", `hello`, "INVALID_REQUEST", "frame is not valid JSON at byte 1"},
		{"nothing", ``, "INVALID_REQUEST", "frame is not valid JSON"},
		{"two objects", `{"type":"ping"}{"type":"ping"}`, "INVALID_REQUEST", "frame is not valid JSON"},
		{"a list", `[1]`, "INVALID_REQUEST", "frame must be a JSON object"},
		{"null", `null`, "INVALID_REQUEST", "frame must be a JSON object"},
		{"not UTF-8", "{\"type\":\"\xff\"}", "INVALID_REQUEST", "frame is not valid UTF-8"},
		{"no type", `{}`, "INVALID_REQUEST", "type is missing; known are subscribe, unsubscribe, message, cancel, resume, ping"},
		{"an unknown type", `{"type":"shout"}`, "INVALID_REQUEST", "type must be one of: subscribe, unsubscribe"},
		{"a type that is a number", `{"type":1}`, "INVALID_REQUEST", "type must be one of"},
		{"a type in capitals", `{"type":"PING"}`, "INVALID_REQUEST", "type must be one of"},
		{"an unknown field", `{"type":"subscribe","team":"backend","zzz":1}`, "INVALID_REQUEST", "zzz is not a known field"},
		{"a field of another frame", `{"type":"ping","team":"backend"}`, "INVALID_REQUEST", "team is not a known field"},
		{"the wrong case", `{"type":"subscribe","Team":"backend"}`, "INVALID_REQUEST", "Team is not a known field; team is missing"},
		{"a missing field", `{"type":"message","message":"q"}`, "INVALID_REQUEST", "team is missing"},
		{"a wrong type", `{"type":"message","team":["backend"],"message":"q"}`, "INVALID_REQUEST", "team must be a text"},
		{"null", `{"type":"subscribe","team":null}`, "INVALID_REQUEST", "team must be a text"},
		{"a blank message", `{"type":"message","team":"backend","message":" \t\u3000"}`, "INVALID_REQUEST", "message must be a text that is not blank"},
		{"a timeout of nothing", `{"type":"message","team":"backend","message":"q","timeout":0}`, "INVALID_REQUEST", "timeout must be at least 1"},
		{"a timeout above a day", `{"type":"message","team":"backend","message":"q","timeout":86400001}`, "INVALID_REQUEST", "timeout must be at most 86400000"},
		{"a timeout that is a fraction", `{"type":"message","team":"backend","message":"q","timeout":1e-1}`, "INVALID_REQUEST", "timeout must be a whole number"},
		{"a long session", `{"type":"message","team":"backend","message":"q","sessionId":"` + strings.Repeat("s", 129) + `"}`, "INVALID_REQUEST", "sessionId must have at most 128 characters"},
		{"an unknown field of context", `{"type":"message","team":"backend","message":"q","context":{"zzz":1}}`, "INVALID_REQUEST", "context.zzz is not a known field"},
		{"a long ref", `{"type":"message","team":"backend","message":"q","ref":"` + strings.Repeat("r", 129) + `"}`, "INVALID_REQUEST", "ref must have at most 128 characters"},
		{"no team of this name", `{"type":"message","team":"backnd","message":"q"}`, "TEAM_NOT_FOUND", "did you mean"},
		{"no team can have this name", `{"type":"subscribe","team":"../x"}`, "TEAM_NOT_FOUND", "no team can have this name"},
		{"a team that is not there", `{"type":"subscribe","team":"nope"}`, "TEAM_NOT_FOUND", "does not exist"},
		{"a message that is not there", `{"type":"cancel","messageId":"msg_nope"}`, "MESSAGE_NOT_FOUND", "no message"},
		{"an id that is too long", `{"type":"resume","messageId":"` + strings.Repeat("m", 65) + `"}`, "MESSAGE_NOT_FOUND", "as long as this"},
		{"behind an event to come", `{"type":"resume","messageId":"msg_00000000000000000000000001","after":11}`, "INVALID_REQUEST", "after names an event that has not happened; the last one has the number 10"},
		{"behind less than nothing", `{"type":"resume","messageId":"msg_00000000000000000000000001","after":-1}`, "INVALID_REQUEST", "after must be at least 0"},
		{"a megabyte of numbers", `{"type":"message","team":"backend","message":"q","timeout":[` + strings.Repeat("1e3,", 250_000) + `1]}`, "INVALID_REQUEST", "timeout must be a whole number"},
		{"a megabyte of fields", `{"type":"ping"` + strings.Repeat(`,"zzz":1e3`, 100_000) + `}`, "INVALID_REQUEST", "zzz is given twice"},
	}
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		f.ask(t, "all", "backend", "work")
		l := dial(t, client, "all")
		for _, tt := range tests {
			l.say(tt.frame)
			e := l.next()
			if e.Type != "error" || e.Code != tt.code || !strings.Contains(e.Error, tt.says) || e.Timestamp == 0 {
				t.Errorf("%s: got %+v, want %s %q", tt.name, e, tt.code, tt.says)
			}
		}
		l.silent()
		if len(f.asks) != 1 {
			t.Errorf("%d messages were sent", len(f.asks))
		}
	})
}

// TestSocketEnds: what no frame may be ends the connection.
func TestSocketEnds(t *testing.T) {
	in(t, httpapi.Config{MaxBodyBytes: func() int64 { return 1000 }}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		l := dial(t, client, "all")
		go l.Write(t.Context(), websocket.MessageText, []byte(`{"type":"message","team":"backend","message":"`+strings.Repeat("x", 1000)+`"}`))
		if got := l.hear(); got != "closed 1009 a frame may have at most 1000 bytes" {
			t.Error(got)
		}
		l = dial(t, client, "all")
		go l.Write(t.Context(), websocket.MessageBinary, []byte(`{"type":"ping"}`))
		if got := l.hear(); got != "closed 1003 send text frames" {
			t.Error(got)
		}
	})
}

// TestSocketSubmits: every field of a message reaches the dispatcher, with the rights that
// its key needs.
func TestSocketSubmits(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		l := dial(t, client, "streamer")
		l.say(`{"type":"message","team":"backend","message":"q","sessionId":"s","timeout":5000,"context":{"source":"ci","metadata":{"pr":1}}}`)
		l.expect("start#1", "complete#2")
		a := f.asks[0]
		if a.Caller.Name != "streamer" || a.Team != "backend" || a.Text != "q" || a.SessionID != "s" || a.Timeout != 5*time.Second || a.Context.Source != "ci" ||
			string(a.Context.Metadata) != `{"pr":1}` || a.Task || a.Priority != iris.PriorityNormal {
			t.Errorf("%+v", a)
		}
		f.refusal = iris.Errorf(iris.CodeQueueFull, "10000 messages wait")
		l.say(`{"type":"message","team":"backend","message":"q","ref":"r"}`)
		if e := l.expect("error QUEUE_FULL")[0]; e.Ref != "r" {
			t.Errorf("%+v", e)
		}
		f.refusal = fmt.Errorf("disk: secret path")
		l.say(`{"type":"message","team":"backend","message":"q"}`)
		if e := l.expect("error INTERNAL_ERROR")[0]; strings.Contains(e.Error, "secret") || !strings.Contains(f.logged.String(), "secret path") {
			t.Errorf("%+v, %s", e, f.logged)
		}

		f.keys.all["looker"] = iris.Caller{Kind: iris.CallerKey, Name: "looker", Scopes: []iris.Scope{iris.ScopeMessagesStream}}
		l = dial(t, client, "looker")
		l.say(`{"type":"message","team":"backend","message":"q"}`, `{"type":"resume","messageId":"msg_00000000000000000000000001"}`, `{"type":"cancel","messageId":"msg_00000000000000000000000001"}`)
		for _, e := range l.expect("error FORBIDDEN", "error FORBIDDEN", "error FORBIDDEN") {
			if d, _ := e.Details.(map[string]any); d["required"] == nil || d["provided"] == nil {
				t.Errorf("%+v", e)
			}
		}
		l = dial(t, client, "bound")
		l.say(`{"type":"message","team":"backend","message":"q"}`, `{"type":"subscribe","team":"backend"}`, `{"type":"resume","messageId":"msg_00000000000000000000000001"}`, `{"type":"subscribe","team":"frontend"}`)
		l.expect("error FORBIDDEN", "error FORBIDDEN", "error FORBIDDEN", "subscribed")
	})
}

// steps makes a message say a word each second, and end after them.
func steps(words ...string) func(*fake, string) {
	return func(f *fake, id string) {
		for _, w := range words {
			time.Sleep(time.Second)
			f.emit(id, iris.Event{Kind: iris.EventChunk, Text: w})
		}
		time.Sleep(time.Second)
		f.end(id, iris.StatusCompleted, strings.Join(words, ""), nil)
	}
}

// TestSocketSubscription: who follows a team sees all that happens there from then on, and
// once, whoever sent it.
func TestSocketSubscription(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		f.scripts["slow"] = steps("a", "b", "c")
		running := submit(t, f, "all", "backend", "slow")
		time.Sleep(1500 * time.Millisecond)
		waiting := submit(t, f, "all", "backend", "slow")

		l := dial(t, client, "streamer")
		l.say(`{"type":"subscribe","team":"backend"}`)
		l.expect("subscribed")
		seen := map[string][]string{}
		other := submit(t, f, "local", "backend", "slow")
		submit(t, f, "all", "frontend", "slow")
		l.say(`{"type":"message","team":"backend","message":"slow","ref":"mine"}`)
		var mine string
		for ends := 0; ends < 4; {
			fr := l.next()
			if fr.Type == "start" && fr.Ref != "" {
				mine = fr.MessageID
			}
			if fr.Type == "complete" {
				ends++
			}
			seen[fr.MessageID] = append(seen[fr.MessageID], fmt.Sprint(fr.Type, fr.Seq, fr.Text))
		}
		l.say(`{"type":"subscribe","team":"backend"}`)
		l.expect("subscribed")
		l.silent()
		all := []string{"start1", "chunk2a", "chunk3b", "chunk4c", "complete5"}
		want := map[string][]string{running: all[2:], waiting: all, other: all, mine: all}
		for id, events := range want {
			if !slices.Equal(seen[id], events) {
				t.Errorf("%s: got %q, want %q", id, seen[id], events)
			}
		}
		if len(seen) != 4 {
			t.Errorf("saw %v", seen)
		}

		submit(t, f, "all", "backend", "slow")
		l.expect("start#1")
		l.say(`{"type":"message","team":"backend","message":"slow"}`)
		l.expect("start#1", "chunk#2", "chunk#2")
		l.say(`{"type":"unsubscribe","team":"backend"}`, `{"type":"unsubscribe","team":"backend"}`)
		l.expect("unsubscribed", "unsubscribed", "chunk#3", "chunk#4", "complete#5") // its own goes on
		submit(t, f, "all", "backend", "slow")
		time.Sleep(time.Minute)
		l.silent()
	})
}

// submit sends a message by another way and does not wait for it.
func submit(t *testing.T, f *front, key, team, text string) string {
	t.Helper()
	w := f.do(call{path: "/api/v1/teams/" + team + "/execute", body: fmt.Sprintf(`{"task":%q}`, text), key: key})
	var got struct{ MessageID string }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.MessageID == "" {
		t.Fatalf("execute: %d %s", w.Code, w.Body)
	}
	return got.MessageID
}

// TestSocketSubscriptionWithoutRead: a key that may not read what others sent sees its own.
func TestSocketSubscriptionWithoutRead(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		f.keys.all["ci"] = iris.Caller{Kind: iris.CallerKey, Name: "ci", Scopes: []iris.Scope{iris.ScopeTeamsRead, iris.ScopeTeamsWrite}}
		l := dial(t, client, "ci")
		l.say(`{"type":"subscribe","team":"backend"}`)
		l.expect("subscribed")
		submit(t, f, "all", "backend", "q")
		id := submit(t, f, "ci", "backend", "q")
		if got := l.expect("start#1", "complete#2"); got[0].MessageID != id || got[1].MessageID != id {
			t.Errorf("%+v", got)
		}
		l.silent()
	})
}

func TestSocketCancel(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		sender, follower := dial(t, client, "streamer"), dial(t, client, "all")
		f.keys.all["writer"] = iris.Caller{Kind: iris.CallerKey, Name: "writer", Scopes: []iris.Scope{iris.ScopeMessagesWrite, iris.ScopeMessagesStream}}
		writer := dial(t, client, "writer")
		start := func() string {
			t.Helper()
			sender.say(`{"type":"message","team":"backend","message":"never","ref":"r"}`)
			return sender.expect("start#1")[0].MessageID
		}
		cancel := func(l *line, id string) { l.say(`{"type":"cancel","messageId":"` + id + `"}`) }

		id := start()
		follower.say(`{"type":"resume","messageId":"` + id + `"}`)
		follower.expect("start#1")
		cancel(writer, "job_"+id[4:])
		if e := sender.expect("error CANCELLED#2")[0]; e.Ref != "r" {
			t.Errorf("the sender sees %+v", e)
		}
		follower.expect("error CANCELLED#2")
		if e := writer.expect("error CANCELLED")[0]; e.MessageID != id {
			t.Errorf("who cancelled sees %+v", e)
		}
		cancel(follower, id) // it is over: it is told how
		follower.expect("error CANCELLED#2")
		done := f.ask(t, "streamer", "backend", "q")
		cancel(follower, done)
		if e := follower.expect("complete#2")[0]; e.Response != "We use Prisma." {
			t.Errorf("%+v", e)
		}
		cancel(writer, done)
		if e := writer.expect("error CONFLICT")[0]; e.MessageID != done || strings.Contains(fmt.Sprint(e), "Prisma") {
			t.Errorf("%+v", e)
		}
		for _, l := range []*line{sender, follower, writer} {
			l.silent()
		}
		// A client that cancels and leaves has cancelled.
		id = start()
		cancel(writer, id)
		writer.CloseNow()
		sender.expect("error CANCELLED#2")
	})
}

// TestSocketResume: behind any event, on any connection, also while the message is followed.
func TestSocketResume(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		f.scripts["slow"] = steps("a", "b", "c")
		l := dial(t, client, "streamer")
		l.say(`{"type":"message","team":"backend","message":"slow"}`)
		id := l.expect("start#1", "chunk#2")[0].MessageID
		l.CloseNow()

		l = dial(t, client, "streamer")
		l.say(`{"type":"resume","messageId":"`+id+`","after":2}`, `{"type":"subscribe","team":"backend"}`)
		l.expect("subscribed", "chunk#3")
		l.say(`{"type":"resume","messageId":"` + id + `","after":1}`) // to see more of it
		l.expect("chunk#2", "chunk#3", "chunk#4", "complete#5")
		l.say(`{"type":"resume","messageId":"` + id + `","after":5}`)
		l.silent()
		l.say(`{"type":"resume","messageId":"job_` + id[4:] + `"}`)
		l.expect("start#1", "chunk#2", "chunk#3", "chunk#4", "complete#5")
		l.silent()
	})
}

// TestSocketManyMessages: they run side by side, and there is an end to it.
func TestSocketManyMessages(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		l := dial(t, client, "local")
		for i := range 1001 {
			l.say(fmt.Sprintf(`{"type":"message","team":"backend","message":"never","ref":"%d"}`, i))
			want := "start#1"
			if i == 1000 {
				want = "error RATE_LIMITED"
			}
			if got := l.expect(want)[0]; got.Ref != fmt.Sprint(i) {
				t.Fatalf("%+v", got)
			}
		}
		l.say(`{"type":"cancel","messageId":"msg_00000000000000000000000001"}`)
		l.expect("error RATE_LIMITED")
		f.end("msg_00000000000000000000000001", iris.StatusCompleted, "at last", nil)
		l.expect("complete#2")
		synctest.Wait()
		l.say(`{"type":"message","team":"backend","message":"q"}`)
		l.expect("start#1", "complete#2")
	})
}

// TestSocketLimit: the handshake and every frame but a ping count against the key's limit.
func TestSocketLimit(t *testing.T) {
	limits := newCounter()
	in(t, httpapi.Config{Limits: limits}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		f.keys.all["few"] = iris.Caller{Kind: iris.CallerKey, Name: "few", Scopes: []iris.Scope{iris.ScopeAll}, Limit: iris.Limit{Requests: 4, Window: time.Minute}}
		l := dial(t, client, "few")
		l.say(`{"type":"subscribe","team":"frontend"}`, `nonsense`, `{"type":"message","team":"backend","message":"q"}`)
		l.expect("subscribed", "error INVALID_REQUEST", "start#1", "complete#2")
		for range 100 {
			l.silent()
		}
		l.say(`{"type":"message","team":"backend","message":"q","ref":"r"}`, `{"type":"message","team":"backend","message":"`+strings.Repeat("q", 20_000)+`"}`)
		refused := l.expect("error RATE_LIMITED", "error RATE_LIMITED")
		details, _ := refused[0].Details.(map[string]any)
		if refused[0].Ref != "r" || details["limit"] != 4.0 || details["window"] != 60000.0 || details["resetAt"] != float64(time.Now().Add(time.Minute).UnixMilli()) {
			t.Errorf("%+v", refused[0])
		}
		if w := f.do(call{path: "/api/v1/teams", key: "few"}); w.Code != 429 {
			t.Errorf("REST has a limit of its own: %d", w.Code)
		}
		if _, res, err := websocket.Dial(t.Context(), "ws://iris.test/api/v1/stream", &websocket.DialOptions{HTTPClient: client, HTTPHeader: http.Header{"X-Api-Key": {"few"}}}); err == nil || res.StatusCode != 429 || res.Header.Get("Retry-After") != "60" {
			t.Errorf("a handshake: %v, %v", err, res)
		}
		limits.mu.Lock()
		clear(limits.used)
		limits.mu.Unlock()
		l.say(`{"type":"message","team":"backend","message":"q"}`)
		l.expect("start#1", "complete#2")
		if n := len(f.asks); n != 2 {
			t.Errorf("%d messages were sent", n)
		}
	})
}

// TestSocketKey: a key that is revoked, or gets other rights, ends the connection; soon when
// nothing happens on it, and before anything is told that happened a second later.
func TestSocketKey(t *testing.T) {
	tests := []struct {
		name   string
		change func(f *front)
		do     string // what the message does meanwhile
		within time.Duration
		code   string
	}{
		{"revoked, and nothing happens", func(f *front) { f.revoke("streamer") }, "never", 2 * time.Second, "UNAUTHORIZED"},
		{"revoked while events come", func(f *front) { f.revoke("streamer") }, "chatty", 1100 * time.Millisecond, "UNAUTHORIZED"},
		{"less rights", func(f *front) {
			f.keys.mu.Lock()
			defer f.keys.mu.Unlock()
			f.keys.all["streamer"] = iris.Caller{Kind: iris.CallerKey, Name: "streamer", Scopes: []iris.Scope{iris.ScopeMessagesStream}}
		}, "chatty", 1100 * time.Millisecond, "FORBIDDEN"},
		{"other teams", func(f *front) {
			f.keys.mu.Lock()
			defer f.keys.mu.Unlock()
			c := f.keys.all["streamer"]
			c.Teams = []string{"frontend"}
			f.keys.all["streamer"] = c
		}, "never", 2 * time.Second, "FORBIDDEN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
				f.scripts["chatty"] = func(f *fake, id string) {
					for range 100 {
						time.Sleep(100 * time.Millisecond)
						f.emit(id, iris.Event{Kind: iris.EventChunk, Text: "a"})
					}
				}
				l := dial(t, client, "streamer")
				l.say(`{"type":"message","team":"backend","message":"` + tt.do + `"}`)
				time.AfterFunc(3050*time.Millisecond, func() { tt.change(f) })
				began := time.Now()
				var last frame
				for last.Code == "" {
					last = l.next()
				}
				took := time.Since(began) - 3050*time.Millisecond
				if last.Code != tt.code || last.MessageID != "" || took < 0 || took > tt.within {
					t.Errorf("%+v after %s", last, took)
				}
				if got := l.hear(); got != "closed 1008 "+tt.code {
					t.Error(got)
				}
				synctest.Wait()
				if !strings.Contains(f.logged.String(), `"status":101`) || !strings.Contains(f.logged.String(), `"code":"`+tt.code) {
					t.Errorf("log: %s", f.logged)
				}
			})
		})
	}
}

// TestSocketKeyStore: a store that cannot be asked is no reason to cut anybody.
func TestSocketKeyStore(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		l := dial(t, client, "all")
		f.keys.mu.Lock()
		f.keys.err = errors.New("disk")
		f.keys.mu.Unlock()
		time.Sleep(time.Minute)
		l.silent()
	})
}

// TestSocketSlowReader: who does not read is cut with 1013 and can resume; nobody waits.
func TestSocketSlowReader(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		f.scripts["big"] = func(f *fake, id string) {
			for range 60 {
				time.Sleep(time.Second)
				f.emit(id, iris.Event{Kind: iris.EventChunk, Text: strings.Repeat("a", 10_000)})
			}
			f.end(id, iris.StatusCompleted, "a", nil)
		}
		slow, other := dialDeaf(t, client, "streamer"), dial(t, client, "streamer")
		other.say(`{"type":"subscribe","team":"backend"}`)
		other.expect("subscribed")
		slow.say(`{"type":"message","team":"backend","message":"big"}`)
		began := time.Now()
		for {
			if f := other.next(); f.Type == "complete" {
				break
			}
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("the other reader was done after %s", took)
		}
		var last frame
		for {
			text := slow.hear()
			if strings.HasPrefix(text, "closed 1013") {
				break
			}
			if err := json.Unmarshal([]byte(text), &last); err != nil || last.Seq > 20 {
				t.Fatalf("%.100q", text)
			}
		}
		again := dial(t, client, "streamer")
		again.say(fmt.Sprintf(`{"type":"resume","messageId":%q,"after":%d}`, last.MessageID, last.Seq))
		for n := last.Seq + 1; n <= 62; n++ {
			if f := again.next(); f.Seq != n {
				t.Fatalf("%d came, want %d", f.Seq, n)
			}
		}
	})
}

// TestSocketBehind: a watch that was given up on ends the connection, for it missed something.
func TestSocketBehind(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		l := dial(t, client, "all")
		l.say(`{"type":"subscribe","team":"backend"}`)
		l.expect("subscribed")
		f.change(func() {
			for w := range f.watchers {
				w <- iris.News{} // the fake's word for it
			}
		})
		if got := l.hear(); !strings.HasPrefix(got, "closed 1013 you read too slowly") {
			t.Error(got)
		}
	})
}

// TestSocketHangsUp: a client that goes while its frame is looked into is no fault of anybody.
func TestSocketHangsUp(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		f.watches = time.Second
		l := dial(t, client, "all")
		l.say(`{"type":"subscribe","team":"backend"}`)
		synctest.Wait()
		l.CloseNow()
		time.Sleep(2 * time.Second)
		if log := f.logged.String(); strings.Contains(log, "living messages") {
			t.Error(log)
		}
	})
}

// TestSocketBrokenEvents: the message ends for this client with an error, and the rest goes on.
func TestSocketBrokenEvents(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		f.eventErr = errors.New("disk: secret")
		l := dial(t, client, "all")
		l.say(`{"type":"message","team":"backend","message":"never","ref":"r"}`)
		if e := l.expect("start#1", "error INTERNAL_ERROR")[1]; e.MessageID == "" || e.Ref != "r" || strings.Contains(e.Error, "secret") {
			t.Errorf("%+v", e)
		}
		l.silent()
		if !strings.Contains(f.logged.String(), "disk: secret") {
			t.Errorf("log: %s", f.logged)
		}
	})
}

// TestSocketShutdown: a connection on which nothing is under way is closed at once, another
// when that is over or when the grace is; a client that answers nothing holds nobody up.
func TestSocketShutdown(t *testing.T) {
	tests := []struct {
		name  string
		takes time.Duration // of the message; 0 for none
		after time.Duration
		reads bool
	}{
		{"idle", 0, 0, true},
		{"a message that ends in time", 10 * time.Second, 10 * time.Second, true},
		{"a message that does not", time.Hour, 20 * time.Second, true},
		{"a client that is gone", time.Hour, 21 * time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, stop func()) {
				f.scripts["slow"] = later(tt.takes)
				l := dialDeaf(t, client, "all")
				l.say(`{"type":"subscribe","team":"backend"}`)
				l.expect("subscribed")
				if tt.takes > 0 {
					l.say(`{"type":"message","team":"backend","message":"slow"}`)
					l.expect("start#1")
				}
				synctest.Wait()
				began := time.Now()
				stopped := make(chan struct{})
				go func() { stop(); close(stopped) }()
				if tt.reads {
					if tt.after == 10*time.Second {
						l.expect("complete#2")
					}
					if got := l.hear(); got != "closed 1001 the server is shutting down; connect again and resume your messages" {
						t.Error(got)
					}
				}
				<-stopped
				if took := time.Since(began); took.Round(time.Second) != tt.after {
					t.Errorf("it ended after %s", took)
				}
			})
		})
	}
}

// TestSocketRaces: many connections of several kinds at once; each sees each event once and
// in order.
func TestSocketRaces(t *testing.T) {
	in(t, httpapi.Config{}, func(t *testing.T, f *front, client *http.Client, _ func()) {
		const connections, messages = 8, 20
		done := make(chan struct{}, connections)
		var lines []*line
		for range connections {
			l := dial(t, client, "streamer")
			l.say(`{"type":"subscribe","team":"backend"}`)
			l.expect("subscribed")
			lines = append(lines, l)
		}
		for i, l := range lines {
			go func() {
				seqs, ends := map[string]int64{}, 0
				go func() {
					for n := range messages {
						l.say(fmt.Sprintf(`{"type":"message","team":"backend","message":"work","ref":"%d-%d"}`, i, n))
					}
				}()
				for ends < connections*messages {
					fr := l.next()
					if seqs[fr.MessageID]++; seqs[fr.MessageID] != fr.Seq {
						t.Errorf("%s: %d came, want %d", fr.MessageID, fr.Seq, seqs[fr.MessageID])
					}
					if fr.Type == "complete" {
						ends++
					}
				}
				done <- struct{}{}
			}()
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		for range connections {
			select {
			case <-done:
			case <-ctx.Done():
				t.Fatal("not all messages ended for all")
			}
		}
	})
}

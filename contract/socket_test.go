//go:build contract

package contract_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestSocket: every type of frame, to and fro.
func TestSocket(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	k := s.dial(t, "all", nil)
	k.send(map[string]any{"type": "subscribe", "team": "backend"})
	if f := k.next("subscribed"); len(wantFields(t, f, "type", "team")) != 2 || f["team"] != "backend" {
		t.Errorf("%v", f)
	}
	k.send(map[string]any{"type": "ping"})
	wantFields(t, k.next("pong"), "type", "timestamp?")

	k.send(map[string]any{"type": "message", "team": "backend", "message": busy, "sessionId": "mine", "timeout": 30000, "context": map[string]any{"source": "x"}, "ref": "r1"})
	all := k.until(ofType("complete"))
	var id any
	for i, f := range all {
		if i == 0 {
			id = f["messageId"]
			wantFields(t, f, "type", "messageId", "team", "sessionId", "ref", "timestamp", "seq")
			if f["type"] != "start" || f["team"] != "backend" || f["sessionId"] != "mine" || f["ref"] != "r1" {
				t.Errorf("%v", f)
			}
		}
		if f["messageId"] != id || f["seq"] != float64(i+1) {
			t.Errorf("frame %d is %v", i+1, f)
		}
		wantNow(t, f["timestamp"])
		switch f["type"] {
		case "chunk":
			wantFields(t, f, "type", "messageId", "text", "timestamp", "seq")
		case "tool_use":
			wantFields(t, f, "type", "messageId", "tool", "input", "file?", "id?", "timestamp", "seq")
			if f["tool"] != "Read" || f["input"].(map[string]any)["file_path"] != "src/auth/jwt.ts" {
				t.Errorf("%v", f)
			}
		case "complete":
			wantFields(t, f, "type", "messageId", "duration", "timestamp", "response", "metadata", "seq")
			if f["response"] != s.finished(fmt.Sprint(id)).json["response"] {
				t.Errorf("%v", f)
			}
		}
	}

	// The events of what others send to the team come too, until unsubscribe.
	other := s.do(req{path: "/teams/backend/ask", body: `{"question":"[[say overheard]]"}`, key: "other"}).is(200).id("messageId")
	for _, f := range k.until(ofType("complete")) {
		if f["messageId"] != other {
			t.Errorf("%v", f)
		}
	}
	k.send(map[string]any{"type": "unsubscribe", "team": "backend"})
	k.until(ofType("unsubscribed"))
	s.ask("not for the connection")

	// Many messages in flight.
	for i := range 5 {
		k.send(map[string]any{"type": "message", "team": "backend", "message": fmt.Sprintf("[[say answer %d]]", i), "ref": fmt.Sprint(i)})
	}
	refs, responses := map[any]any{}, map[any]any{}
	for len(responses) < 5 {
		f := k.until(func(map[string]any) bool { return true })[0]
		if f["type"] == "start" {
			refs[f["ref"]] = f["messageId"]
		}
		if f["type"] == "complete" {
			responses[f["messageId"]] = f["response"]
		}
	}
	for i := range 5 {
		if got := responses[refs[fmt.Sprint(i)]]; got != fmt.Sprintf("answer %d", i) {
			t.Errorf("message %d was answered %v", i, got)
		}
	}

	// A cancelled message ends with CANCELLED, also for who cancelled it.
	k.send(map[string]any{"type": "message", "team": "backend", "message": "[[say a]] [[hang]]"})
	started := k.next("start")
	k.until(ofType("chunk"))
	k.send(map[string]any{"type": "cancel", "messageId": started["messageId"]})
	all = k.until(ofType("error"))
	e := wantFields(t, all[len(all)-1], "type", "messageId", "error", "code", "timestamp", "seq", "ref?", "details?")
	if e["code"] != "CANCELLED" || e["messageId"] != started["messageId"] || e["error"] == "" || e["error"] == "Cancelled" {
		t.Errorf("%v", e)
	}

	// Resume: behind a number, on a message that is over, by another connection.
	again := s.dial(t, "all", nil)
	again.send(map[string]any{"type": "resume", "messageId": id, "after": 3})
	resumed := again.until(ofType("complete"))
	if resumed[0]["seq"] != 4.0 {
		t.Errorf("%v", resumed[0])
	}
}

// TestSocketErrors: a bad frame gets an error and the connection stays.
func TestSocketErrors(t *testing.T) {
	t.Parallel()
	s := start(t, func(config, api, teams map[string]any) { api["maxBodyBytes"] = 65536 })
	k := s.dial(t, "all", nil)
	for frame, code := range map[string]string{
		`x`: "INVALID_REQUEST", `[]`: "INVALID_REQUEST", `{}`: "INVALID_REQUEST", `{"type":"nonsense"}`: "INVALID_REQUEST", `{"type":5}`: "INVALID_REQUEST", ``: "INVALID_REQUEST",
		`{"type":"message","team":"backend"}`: "INVALID_REQUEST", `{"type":"message","team":"backend","message":" "}`: "INVALID_REQUEST",
		`{"type":"message","team":"backend","message":"m","timeout":0}`: "INVALID_REQUEST", `{"type":"message","team":"backend","message":"m","zzz":1}`: "INVALID_REQUEST",
		`{"type":"message","team":"nobody","message":"m"}`: "TEAM_NOT_FOUND", `{"type":"message","team":"../x","message":"m"}`: "TEAM_NOT_FOUND",
		`{"type":"subscribe","team":"nobody"}`: "TEAM_NOT_FOUND", `{"type":"subscribe"}`: "INVALID_REQUEST",
		`{"type":"cancel","messageId":"msg_nothing"}`: "MESSAGE_NOT_FOUND", `{"type":"resume","messageId":"msg_nothing","after":0}`: "MESSAGE_NOT_FOUND",
		`{"type":"cancel"}`: "INVALID_REQUEST",
	} {
		k.send(frame)
		e := k.next("error")
		wantFields(t, e, "type", "error", "code", "timestamp", "details?", "messageId?", "ref?")
		if e["code"] != code || e["error"] == "" {
			t.Errorf("%s: %v", frame, e)
		}
		wantNow(t, e["timestamp"])
	}
	k.send(map[string]any{"type": "message", "team": "nobody", "message": "m", "ref": "mine"})
	if e := k.next("error"); e["ref"] != "mine" {
		t.Errorf("%v", e)
	}
	k.send(map[string]any{"type": "message", "team": "backend", "message": "[[fail 400]]"})
	all := k.until(ofType("error"))
	if e := all[len(all)-1]; e["code"] != "PROCESS_ERROR" || e["messageId"] == nil {
		t.Errorf("%v", e)
	}
	k.send(`{"type":"ping"}`)
	k.next("pong")

	if err := k.conn.Write(t.Context(), websocket.MessageBinary, []byte(`{"type":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	k.closes(websocket.StatusUnsupportedData) // 1003
	k = s.dial(t, "all", nil)
	k.send(`{"type":"message","team":"backend","message":"` + strings.Repeat("x", 65536) + `"}`)
	k.closes(websocket.StatusMessageTooBig) // 1009
}

// TestSocketHandshake: who gets a connection.
func TestSocketHandshake(t *testing.T) {
	t.Parallel()
	s := start(t, func(config, api, teams map[string]any) {
		api["cors"] = map[string]any{"origins": []any{"https://app.example"}}
	})
	k := s.dial(t, "", nil, "iris.v1", "iris.key."+keyOf("all"))
	if got := k.conn.Subprotocol(); got != "iris.v1" {
		t.Errorf("the server selects %q", got)
	}
	k.send(`{"type":"ping"}`)
	k.next("pong")
	s.dial(t, "", http.Header{"X-Api-Key": {keyOf("all")}})
	for _, origin := range []string{s.URL, "https://app.example"} {
		s.dial(t, "all", http.Header{"Origin": {origin}})
	}
	for _, tt := range []struct {
		key       string
		header    http.Header
		protocols []string
		status    int
	}{
		{"", nil, nil, 401}, {"unknown", nil, nil, 401}, {"", nil, []string{"iris.v1", "iris.key.iris_sk_wrong"}, 401}, {"", nil, []string{"iris.v1"}, 401},
		{"reader", nil, nil, 403}, {"asker", nil, nil, 403},
		{"all", http.Header{"Origin": {"https://evil.example"}}, nil, 403}, {"all", http.Header{"Origin": {"null"}}, nil, 403},
	} {
		_, res, err := s.handshake(tt.key, tt.header, tt.protocols...)
		if err == nil || res == nil || res.StatusCode != tt.status {
			t.Errorf("%s %v %v: %v %v", tt.key, tt.header, tt.protocols, res, err)
		}
	}
	s.do(req{path: "/stream"}).fails(426, "INVALID_REQUEST")
	if strings.Contains(s.Stderr(), keyOf("all")) {
		t.Error("a key stands in the log")
	}

	// messages:stream alone may follow its own, and send nothing.
	weak := s.dial(t, "streamer", nil)
	weak.send(map[string]any{"type": "message", "team": "backend", "message": "m"})
	if e := weak.next("error"); e["code"] != "FORBIDDEN" {
		t.Errorf("%v", e)
	}
	theirs := s.ask("q").id("messageId")
	weak.send(map[string]any{"type": "resume", "messageId": theirs, "after": 0})
	if e := weak.next("error"); e["code"] != "FORBIDDEN" {
		t.Errorf("%v", e)
	}
	bound := s.dial(t, "bound", nil)
	bound.send(map[string]any{"type": "subscribe", "team": "frontend"})
	if e := bound.next("error"); e["code"] != "FORBIDDEN" {
		t.Errorf("%v", e)
	}
}

// TestSocketPrivacy: only the sender, and subscribers of the team, see a message's events.
func TestSocketPrivacy(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	bystander := s.dial(t, "all", nil)
	bystander.send(map[string]any{"type": "subscribe", "team": "frontend"})
	bystander.next("subscribed")
	own := s.dial(t, "streamer", nil) // no messages:read: its own alone
	own.send(map[string]any{"type": "subscribe", "team": "backend"})
	own.next("subscribed")
	sender := s.dial(t, "all", nil)
	sender.send(map[string]any{"type": "message", "team": "backend", "message": "private"})
	sender.until(ofType("complete"))
	mine := numbered(t, s.open(req{path: "/teams/backend/stream?message=mine", key: "streamer"}).rest(), 1)
	for _, f := range own.until(ofType("complete")) {
		if f["messageId"] != mine {
			t.Errorf("without messages:read it sees %v", f)
		}
	}
	bystander.send(`{"type":"ping"}`)
	bystander.next("pong") // and nothing before it
}

// TestSocketAcrossACrash: resume goes on behind what was seen.
func TestSocketAcrossACrash(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	k := s.dial(t, "all", nil)
	k.send(map[string]any{"type": "subscribe", "team": "backend"})
	k.next("subscribed")
	id := s.do(req{path: "/teams/backend/execute", body: `{"task":"[[pace 50ms]] [[say a b c d e f g h]]"}`}).is(202).id("messageId")
	had := k.until(ofType("chunk"))
	s.kill()
	k.closes(-1) // no code: the server is gone
	k = s.dial(t, "all", nil)
	k.send(map[string]any{"type": "resume", "messageId": id, "after": had[len(had)-1]["seq"]})
	all := append(had, k.until(ofType("complete"))...)
	shown := ""
	for i, f := range all {
		if f["seq"] != float64(i+1) {
			t.Errorf("frame %d is %v", i+1, f)
		}
		switch f["type"] {
		case "restart":
			shown = ""
		case "chunk":
			shown += f["text"].(string)
		}
	}
	if shown != "a b c d e f g h" {
		t.Errorf("it reads %q", shown)
	}
}

// TestSocketsAndLimits: frames count as requests, together with REST.
func TestSocketsAndLimits(t *testing.T) {
	t.Parallel()
	s := limited(t)
	k := s.dial(t, "ten", nil) // one
	for range 4 {
		k.send(`{"type":"cancel","messageId":"msg_x"}`)
		if e := k.next("error"); e["code"] != "MESSAGE_NOT_FOUND" {
			t.Errorf("%v", e)
		}
	}
	for range 5 {
		s.do(req{path: "/teams", key: "ten"}).is(200)
	}
	s.do(req{path: "/teams", key: "ten"}).fails(429, "RATE_LIMITED")
	k.send(`{"type":"message","team":"backend","message":"m","ref":"late"}`)
	if e := k.next("error"); e["code"] != "RATE_LIMITED" || e["ref"] != "late" {
		t.Errorf("%v", e)
	}
	k.send(`{"type":"ping"}`) // counts for nothing
	k.next("pong")
	if _, res, err := s.handshake("ten", nil); err == nil || res.StatusCode != 429 {
		t.Errorf("a handshake over the limit: %v", err)
	}
}

// TestSocketEnds: a revoked key's connections end, and everybody's when the server does.
func TestSocketEnds(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	out, err := s.cli("api-key", "create", "--name", "soon-gone", "--scope", "*")
	_, secret, ok := strings.Cut(out, "API Key: ")
	if err != nil || !ok {
		t.Fatal(err, out)
	}
	secret, _, _ = strings.Cut(secret, "\n")
	k := s.dial(t, "", http.Header{"Authorization": {"Bearer " + secret}})
	k.send(map[string]any{"type": "message", "team": "backend", "message": "[[say a]] [[hang]]"})
	k.until(ofType("chunk"))
	if out, err := s.cli("api-key", "revoke", "soon-gone"); err != nil {
		t.Fatal(err, out)
	}
	revoked := time.Now()
	if all := k.until(ofType("error")); all[len(all)-1]["code"] != "UNAUTHORIZED" {
		t.Errorf("%v", all)
	}
	k.closes(websocket.StatusPolicyViolation) // 1008
	if took := time.Since(revoked); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}

	idle := s.dial(t, "all", nil)
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	idle.closes(websocket.StatusGoingAway) // 1001
}

// TestSlowSockets: a client that reads too slowly slows nobody.
func TestSlowSockets(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	conn, _, err := s.handshake("all", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(64 << 20)
	write := func(v any) {
		data, _ := json.Marshal(v)
		if err := conn.Write(t.Context(), websocket.MessageText, data); err != nil {
			t.Fatal(err)
		}
	}
	write(map[string]any{"type": "subscribe", "team": "backend"})
	if _, data, err := conn.Read(t.Context()); err != nil || !strings.Contains(string(data), `"subscribed"`) {
		t.Fatalf("%s %v", data, err)
	}
	for i := range 12 { // more than any buffer between the two holds
		a := s.do(req{path: "/teams/backend/ask", body: map[string]any{"question": "[[bytes 2000000]]"}}).is(200)
		if i == 0 && len(a.text("response")) != 2_000_000 {
			t.Error("the answer is not whole")
		}
	}
	// It has read nothing so far, and nothing of what comes is missing. That it is closed with
	// 1013 in the end takes a minute: httpapi's own tests see it.
	seen := map[string]float64{}
	for complete := 0; complete < 12; {
		_, data, err := conn.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var f struct {
			Type, MessageID string
			Seq             float64
		}
		if err := json.Unmarshal(data, &f); err != nil {
			t.Fatal(err)
		}
		if seen[f.MessageID]++; seen[f.MessageID] != f.Seq {
			t.Errorf("%s %s has the number %v, want %v", f.Type, f.MessageID, f.Seq, seen[f.MessageID])
		}
		if f.Type == "complete" {
			complete++
		}
	}
}

// TestFramesAreDocumented: x-frames lists the types of the contract.
func TestFramesAreDocumented(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	list := func(side string) (types []string) {
		all, _ := s.doc.at("paths", "/api/v1/stream", "get", "x-frames", side).([]any)
		for _, f := range all {
			types = append(types, f.(map[string]any)["type"].(string))
		}
		return types
	}
	for side, want := range map[string]string{
		"client": "subscribe unsubscribe message cancel resume ping",
		"server": "subscribed start chunk tool_use complete error pong",
	} {
		for kind := range strings.FieldsSeq(want) {
			if !slices.Contains(list(side), kind) {
				t.Errorf("%s: %s is not documented: %v", side, kind, list(side))
			}
		}
	}
}

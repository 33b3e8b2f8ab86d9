//go:build contract

package contract_test

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

const busy = `[[think hmm]] [[say one]] [[tool Read {"file_path":"src/auth/jwt.ts"}]] [[say two]]`

// TestStream is POST /teams/:team/stream and its GET form.
func TestStream(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, r := range []req{
		{path: "/teams/backend/stream", body: map[string]any{"message": busy, "stream": true, "context": map[string]any{"source": "x"}, "timeout": 30000}},
		{path: "/teams/backend/stream?message=" + query(busy) + "&timeout=30000&sessionId=mine"},
	} {
		events := s.open(r).rest()
		id := numbered(t, events, 1)
		if got := names(events); got != "start thinking chunk tool_use tool_result chunk complete" {
			t.Errorf("the events are %s", got)
		}
		if text(events) != "onetwo" && text(events) != "one\n\ntwo" {
			t.Errorf("the chunks say %q", text(events))
		}
		for _, e := range events {
			// The lines of each event, as the design shows them, with an id.
			lines := strings.Split(e.raw, "\n")
			if len(lines) != 5 || !strings.HasPrefix(lines[0], "id: "+id+":") || lines[1] != "event: "+e.name || !strings.HasPrefix(lines[2], "data: {") || lines[3] != "" {
				t.Errorf("an event is written %q", e.raw)
			}
			switch e.name {
			case "start":
				wantFields(t, e.data, "messageId", "team", "sessionId")
				if e.data["messageId"] != id || e.data["team"] != "backend" || r.body == nil && e.data["sessionId"] != "mine" {
					t.Errorf("%s", e.raw)
				}
			case "chunk":
				wantFields(t, e.data, "text")
			case "tool_use":
				wantFields(t, e.data, "tool", "file?", "input", "id?")
				if e.data["tool"] != "Read" || e.data["file"] != "src/auth/jwt.ts" || e.data["input"].(map[string]any)["file_path"] != "src/auth/jwt.ts" {
					t.Errorf("%s", e.raw)
				}
			case "complete":
				wantFields(t, e.data, "duration", "timestamp", "messageId", "metadata")
				wantCount(t, e.data["duration"])
				wantNow(t, e.data["timestamp"])
				wantFields(t, e.data["metadata"], "filesAccessed", "toolsUsed", "model?", "usage", "costUsd", "turns")
			}
		}
		if m := s.finished(id); m.json["status"] != "completed" {
			t.Errorf("%s", m.body)
		}
	}

	whole := s.do(req{path: "/teams/backend/stream", body: `{"message":"[[say all]]","stream":false}`}).is(200)
	wantFields(t, whole.json, "messageId", "team", "question", "response", "duration", "timestamp", "sessionId", "metadata")
	s.do(req{path: "/teams/backend/stream", body: `{"message":"[[hang]]","stream":false,"timeout":50}`}).fails(408, "TIMEOUT")
}

// TestStreamsAreLive: chunks come as the model makes them.
func TestStreamsAreLive(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	held := newGate(t)
	st := s.open(req{path: "/teams/backend/stream", body: `{"message":"[[say first]] ` + held.step() + ` [[say second]]","timeout":60000}`})
	st.until("chunk") // else it ends with an error
	held.open()
	st.until("complete")
}

// TestStreamsOfRetries: restart voids what was shown.
func TestStreamsOfRetries(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	events := s.open(req{path: "/teams/backend/stream", body: `{"message":"[[cut void words]] [[say kept]]"}`}).rest()
	i, shown := 0, ""
	for _, e := range events {
		switch e.name {
		case "restart":
			i, shown = i+1, ""
			wantFields(t, e.data)
		case "chunk":
			shown += e.data["text"].(string)
		}
	}
	if i != 1 || shown != "kept" {
		t.Errorf("%d restarts, then %q: %s", i, shown, names(events))
	}
}

// TestStreamsThatFail: the last event has the shape of errors; what is refused before the
// message is accepted is an ordinary answer.
func TestStreamsThatFail(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	events := s.open(req{path: "/teams/backend/stream", body: `{"message":"[[say a]] [[fail 500]]"}`}).rest()
	if got := names(events); !strings.HasSuffix(got, "error") || strings.Count(got, "error") != 1 || strings.Contains(got, "complete") {
		t.Errorf("the events are %s", got)
	}
	wantError(t, events[len(events)-1].data, "PROCESS_ERROR")
	numbered(t, events, 1)

	st := s.open(req{path: "/teams/backend/stream", body: `{"message":"[[hang]]"}`})
	id := st.until("start").data["messageId"].(string)
	s.do(req{method: "POST", path: "/messages/" + id + "/cancel"}).is(200)
	wantError(t, st.until("error").data, "CANCELLED")
	if _, more := st.next(); more {
		t.Error("something follows the last event")
	}

	st = s.open(req{path: "/teams/backend/stream", body: `{"message":"[[hang]]","timeout":200}`})
	wantError(t, st.until("error").data, "TIMEOUT")
	s.do(req{path: "/teams/nobody/stream", body: `{"message":"m"}`}).fails(404, "TEAM_NOT_FOUND")
}

// TestHeartbeat: a comment every 15 s.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	st := s.open(req{path: "/teams/backend/stream", body: `{"message":"[[hang]]"}`})
	began := st.until("start").at
	for {
		line, err := st.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, ":") {
			break
		}
	}
	if took := time.Since(began); took < 10*time.Second || took > 25*time.Second {
		t.Errorf("the comment came after %s", took)
	}
}

// TestResume: by Last-Event-ID on the stream's own paths, and by name.
func TestResume(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	all := s.open(req{path: "/teams/backend/stream", body: map[string]any{"message": busy}}).rest()
	id := numbered(t, all, 1)
	count := func() float64 {
		return s.do(req{path: "/messages/history"}).is(200).json["pagination"].(map[string]any)["total"].(float64)
	}
	before := count()
	behind := func(n int) map[string]string { return map[string]string{"Last-Event-ID": all[n-1].id} }
	for _, r := range []req{
		{path: "/teams/backend/stream", method: "POST", header: behind(2)},
		{path: "/teams/backend/stream", body: `{"message":"asked again?"}`, header: behind(2)},
		{path: "/teams/backend/stream?message=again", header: behind(2)},
		{path: "/teams/backend/stream", method: "GET", header: behind(2)},
		{path: "/messages/" + id + "/stream", header: behind(2)},
		{path: "/messages/" + id + "/stream?after=2"},
		{path: "/messages/" + id + "/stream?after=1", header: behind(2)},
	} {
		got := s.open(r).rest()
		numbered(t, got, 3)
		if names(got) != names(all[2:]) || text(got) != text(all[2:]) {
			t.Errorf("%s %s: %s", r.method, r.path, names(got))
		}
	}
	if got := s.open(req{path: "/messages/" + id + "/stream"}).rest(); names(got) != names(all) {
		t.Errorf("all of it: %s", names(got))
	}
	// Read to its end already: that ends the reconnecting.
	end := behind(len(all))
	for _, r := range []req{
		{path: "/teams/backend/stream", method: "POST", header: end}, {path: "/teams/backend/stream?message=again", header: end},
		{path: "/messages/" + id + "/stream", header: end},
	} {
		if a := s.do(r).is(204); len(a.body) > 0 {
			t.Errorf("204 with %q", a.body)
		}
	}
	if count() != before {
		t.Error("resuming asked again")
	}
	for _, strange := range []string{"x", id, id + ":", id + ":0", id + ":x", id + ":999999", "msg_01KAH3M4R0E7C8B9A2D3F4G5H6:1", ":1", id + ":1:1", id + ":-1", id + ":01"} {
		a := s.do(req{path: "/teams/backend/stream?message=m", header: map[string]string{"Last-Event-ID": strange}})
		if a.status != 400 && a.status != 404 {
			t.Errorf("%q: %d %s", strange, a.status, a.body)
		}
	}
	// The message of another team is not to be had here, nor somebody else's without the scopes.
	if a := s.do(req{path: "/teams/frontend/stream?message=m", header: behind(2)}); a.status != 404 && a.status != 400 {
		t.Errorf("another team's path: %d %s", a.status, a.body)
	}
	s.do(req{path: "/teams/backend/stream?message=m", header: behind(2), key: "streamer"}).fails(403, "FORBIDDEN")
}

// TestFollowers: any number of clients follow one message, live.
func TestFollowers(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	const message = `[[pace 20ms]] [[say one two three four five six seven eight nine ten eleven twelve]]`
	asker := s.open(req{path: "/teams/backend/stream", body: map[string]any{"message": message}})
	first := asker.until("start")
	id := first.data["messageId"].(string)
	got := make([]string, 12)
	together(len(got), func(i int) {
		time.Sleep(time.Duration(i) * 20 * time.Millisecond)
		r := req{path: "/messages/" + id + "/stream", key: "other"}
		if i%3 == 0 {
			r.header = map[string]string{"Last-Event-ID": first.id}
		}
		events := s.open(r).rest()
		numbered(t, events, 1+len("x")*btoi(i%3 == 0))
		got[i] = text(events)
	})
	want := text(asker.rest())
	for i, text := range got {
		if text != want {
			t.Errorf("follower %d read %q, the asker %q", i, text, want)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestResumeAcrossACrash: nothing is missed or repeated. An interactive message that ran
// fails; a task runs again, and its events go on.
func TestResumeAcrossACrash(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	held := newGate(t)
	slow := `[[say begun]] ` + held.step() + ` [[say ended]]`
	st := s.open(req{path: "/teams/backend/stream", body: map[string]any{"message": slow}})
	var had []event
	for names(had) != "start chunk" {
		e, _ := st.next()
		had = append(had, e)
	}
	task := s.do(req{path: "/teams/backend/execute", body: map[string]any{"task": slow + " [[say again]]"}}).is(202).id("jobId")
	follower := s.open(req{path: "/messages/" + task + "/stream"})
	var seen []event
	for names(seen) != "start chunk" {
		e, ok := follower.next()
		if !ok {
			t.Fatal("the stream ended")
		}
		if e.name != "" {
			seen = append(seen, e)
		}
	}
	s.kill()
	held.open()
	io.Copy(io.Discard, st.in)

	rest := s.open(req{path: "/teams/backend/stream", method: "POST", header: map[string]string{"Last-Event-ID": had[len(had)-1].id}}).rest()
	numbered(t, append(had, rest...), 1)
	wantError(t, rest[len(rest)-1].data, "PROCESS_ERROR")

	rest = s.open(req{path: "/messages/" + task + "/stream", header: map[string]string{"Last-Event-ID": seen[len(seen)-1].id}}).rest()
	numbered(t, append(seen, rest...), 1)
	last := rest[len(rest)-1]
	if m := s.finished(task); last.name != "complete" || m.json["status"] != "completed" || m.json["attempts"].(float64) != 2 {
		t.Errorf("%s, %s", last.raw, m.body)
	}
}

// TestSlowReaders: one that does not read slows nobody else.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	res, err := client.Do(s.request(req{path: "/teams/backend/stream", body: `{"message":"[[bytes 2000000]] [[say end]]"}`}).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReaderSize(res.Body, 16)
	line, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(line, "id: "), ":")
	if m := s.finished(id); m.json["status"] != "completed" { // although nobody reads its stream
		t.Errorf("%.200s", m.body)
	}
}

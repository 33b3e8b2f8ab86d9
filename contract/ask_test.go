//go:build contract

package contract_test

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestAsk is POST /teams/:team/ask.
func TestAsk(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	a := s.do(req{path: "/teams/backend/ask", body: map[string]any{
		"question": `[[tool Read {"file_path":"prisma/schema.prisma"}]] [[tool Grep {"pattern":"x","path":"."}]] [[tool Read {"file_path":"package.json"}]] [[tool Read {"file_path":"prisma/schema.prisma"}]] [[say We use Prisma.]]`,
		"timeout":  30000,
		"context":  map[string]any{"source": "github-webhook", "metadata": map[string]any{"pr_number": 123, "author": "john.doe"}},
		"priority": "high", "cancelOnTimeout": true,
	}}).is(200)
	wantFields(t, a.json, "messageId", "team", "question", "response", "duration", "timestamp", "sessionId", "metadata")
	a.id("messageId")
	a.id("sessionId")
	if a.text("team") != "backend" || a.text("response") != "We use Prisma." || !strings.HasPrefix(a.text("question"), "[[tool Read") {
		t.Errorf("%s", a.body)
	}
	wantNow(t, a.json["timestamp"])
	wantCount(t, a.json["duration"])
	metadata := wantFields(t, a.json["metadata"], "filesAccessed", "toolsUsed", "model?", "usage", "costUsd", "turns")
	if got := fmt.Sprint(metadata["filesAccessed"], metadata["toolsUsed"]); got != "[prisma/schema.prisma package.json] [Read Grep]" {
		t.Errorf("filesAccessed and toolsUsed are %s", got)
	}
	usage := wantFields(t, metadata["usage"], "inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens")
	for _, n := range usage {
		wantCount(t, n)
	}
	wantCount(t, metadata["turns"])
	if _, ok := metadata["costUsd"].(float64); !ok {
		t.Errorf("costUsd is %v", metadata["costUsd"])
	}
	bare := s.ask("hello")
	if !reflect.DeepEqual(bare.json["metadata"].(map[string]any)["filesAccessed"], []any{}) {
		t.Errorf("no files are %s", bare.body)
	}

	// The context is data beside the question, and kept with the message.
	a = s.do(req{path: "/teams/backend/ask", body: `{"question":"[[say {prompt}]]","context":{"source":"github-webhook","metadata":{"pr_number":123}}}`}).is(200)
	for _, part := range []string{"github-webhook", `"pr_number":123`} {
		if !strings.Contains(strings.ReplaceAll(a.text("response"), " ", ""), part) {
			t.Errorf("the agent is not told %s: %s", part, a.body)
		}
	}
}

// TestConversations: without a sessionId each message has its own, with one it goes on.
func TestConversations(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	earlier := func(key, session string) (string, string) {
		body := map[string]any{"question": "[[say after: {earlier}]]"}
		if session != "" {
			body["sessionId"] = session
		}
		a := s.do(req{path: "/teams/backend/ask", body: body, key: key}).is(200)
		return a.text("sessionId"), a.text("response")
	}
	first, said := earlier("all", "")
	if strings.TrimSpace(said) != "after:" {
		t.Errorf("a fresh conversation has %q", said)
	}
	if id, said := earlier("all", ""); id == first || strings.TrimSpace(said) != "after:" {
		t.Errorf("the second one goes on: %s %q", id, said)
	}
	if id, said := earlier("all", first); id != first || !strings.Contains(said, "[[say") && !strings.Contains(said, "after: [") {
		t.Errorf("an id does not go on: %s %q", id, said)
	}
	name := "github:acme/api#123 ä " + strings.Repeat("x", 100)
	if id, said := earlier("all", name); id != name || strings.TrimSpace(said) != "after:" {
		t.Errorf("a name: %s %q", id, said)
	}
	if id, said := earlier("all", name); id != name || strings.TrimSpace(said) == "after:" {
		t.Errorf("a name does not go on: %s %q", id, said)
	}
	if _, said := earlier("other", name); strings.TrimSpace(said) != "after:" {
		t.Errorf("a name belongs to its key, but another reads %q", said)
	}
	s.do(req{path: "/teams/backend/ask", body: map[string]any{"question": "q", "sessionId": first}, key: "other"}).fails(404, "NOT_FOUND")
	s.do(req{path: "/teams/frontend/ask", body: map[string]any{"question": "q", "sessionId": first}}).fails(404, "NOT_FOUND")
	s.do(req{path: "/teams/backend/ask", body: map[string]any{"question": "q", "sessionId": "ses_01KAH3M4R0E7C8B9A2D3F4G5H6"}}).fails(404, "NOT_FOUND")
}

// TestAskTimeout: the turn goes on and its answer stays retrievable, unless it is cancelled.
func TestAskTimeout(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	held := newGate(t)
	a := s.do(req{path: "/teams/backend/ask", body: `{"question":"` + held.step() + ` [[say late]]","timeout":100}`}).fails(408, "TIMEOUT")
	id := a.json["details"].(map[string]any)["messageId"].(string)
	if m := s.do(req{path: "/messages/" + id}).is(200); m.json["status"] == "completed" {
		t.Errorf("the answer was there: %s", m.body)
	}
	held.open()
	if m := s.finished(id); m.json["status"] != "completed" || m.json["response"] != "late" {
		t.Errorf("%s", m.body)
	}

	a = s.do(req{path: "/teams/backend/ask", body: `{"question":"[[hang]]","timeout":100,"cancelOnTimeout":true}`}).fails(408, "TIMEOUT")
	if m := s.finished(a.json["details"].(map[string]any)["messageId"].(string)); m.json["status"] != "cancelled" {
		t.Errorf("%s", m.body)
	}
}

// TestAskWaitsFromItsArrival: time in the queue is included.
func TestAskWaitsFromItsArrival(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	busy := s.do(req{path: "/teams/backend/stream", body: `{"message":"[[hang]]","stream":false,"timeout":1,"sessionId":"one"}`}).fails(408, "TIMEOUT")
	began := time.Now()
	s.do(req{path: "/teams/backend/ask", body: `{"question":"q","timeout":300,"sessionId":"one"}`}).fails(408, "TIMEOUT")
	if took := time.Since(began); took < 300*time.Millisecond || took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	s.do(req{method: "POST", path: "/messages/" + busy.json["details"].(map[string]any)["messageId"].(string) + "/cancel"}).is(200)
}

// TestAskAndItsClient: one that goes away stops nothing; one whose message somebody else
// cancels hears so.
func TestAskAndItsClient(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	ctx, leave := context.WithCancel(t.Context())
	held := newGate(t)
	q := s.request(req{path: "/teams/backend/ask", body: `{"question":"` + held.step() + ` [[say done anyway]]"}`}).WithContext(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if res, err := client.Do(q); err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	}()
	newest := func() map[string]any {
		all := s.do(req{path: "/messages/history?limit=1"}).is(200).json["messages"].([]any)
		if len(all) == 0 {
			return nil
		}
		return all[0].(map[string]any)
	}
	eventually(t, func() bool { m := newest(); return m != nil && m["status"] == "processing" })
	leave()
	<-gone
	held.open()
	if m := s.finished(newest()["messageId"].(string)); m.json["response"] != "done anyway" {
		t.Errorf("%s", m.body)
	}

	for _, r := range []req{
		{path: "/teams/backend/ask", body: `{"question":"[[hang]]"}`}, {path: "/teams/backend/stream", body: `{"message":"[[hang]]","stream":false}`},
	} {
		answered := make(chan answer, 1)
		go func() { answered <- s.do(r) }()
		eventually(t, func() bool { return newest()["status"] == "processing" })
		id := newest()["messageId"].(string)
		s.do(req{method: "POST", path: "/messages/" + id + "/cancel", key: "other"}).is(200)
		if a := (<-answered).fails(409, "CANCELLED"); a.json["details"].(map[string]any)["messageId"] != id {
			t.Errorf("%s", a.body)
		}
	}
}

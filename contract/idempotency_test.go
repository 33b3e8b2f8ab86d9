//go:build contract

package contract_test

import (
	"fmt"
	"testing"
)

// TestIdempotencyKeys: the same request, carried out once.
func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	keyed := func(path string, body any, idempotency, key string) answer {
		t.Helper()
		return s.do(req{method: "POST", path: path, body: body, key: key, header: map[string]string{"Idempotency-Key": idempotency}})
	}
	total := func() float64 {
		return s.do(req{path: "/messages/history"}).is(200).json["pagination"].(map[string]any)["total"].(float64)
	}
	for _, tt := range []struct {
		path  string
		body  map[string]any
		other map[string]any
		field string
	}{
		{"/teams/backend/ask", map[string]any{"question": "q"}, map[string]any{"question": "other"}, "question"},
		{"/teams/backend/execute", map[string]any{"task": "t", "dedupe": false}, map[string]any{"task": "other"}, "task"},
	} {
		first := keyed(tt.path, tt.body, "one", "all")
		before := total()
		again := keyed(tt.path, tt.body, "one", "all")
		if again.status != first.status || string(again.body) != string(first.body) || again.header.Get("Idempotent-Replayed") != "true" || first.header.Get("Idempotent-Replayed") != "" {
			t.Errorf("%s: %d %v %s, first %d %s", tt.path, again.status, again.header, again.body, first.status, first.body)
		}
		if again.header.Get("Location") != first.header.Get("Location") {
			t.Errorf("Location: %q, first %q", again.header.Get("Location"), first.header.Get("Location"))
		}
		keyed(tt.path, tt.other, "one", "all").fails(409, "CONFLICT")
		if total() != before {
			t.Errorf("%s: it was carried out again", tt.path)
		}
		if a := keyed(tt.path, tt.body, "one", "other"); a.header.Get("Idempotent-Replayed") != "" || string(a.body) == string(first.body) {
			t.Errorf("%s: another key's answer is told", tt.path)
		}
		if a := keyed(tt.path, tt.body, "two", "all"); string(a.body) == string(first.body) {
			t.Errorf("%s: another Idempotency-Key has the same answer", tt.path)
		}
	}

	// A call that comes while the first is in flight waits for the same answer.
	answers := make([]answer, 4)
	before := total()
	together(len(answers), func(i int) {
		answers[i] = keyed("/teams/backend/ask", map[string]any{"question": "[[wait 300ms]] [[say once]]"}, "flight", "all")
	})
	for _, a := range answers {
		if a.is(200); string(a.body) != string(answers[0].body) {
			t.Errorf("%s, another got %s", a.body, answers[0].body)
		}
	}
	if total() != before+1 {
		t.Errorf("%v messages for one", total()-before)
	}

	// A stream replays the same events.
	var told []string
	for range 2 {
		events := s.open(req{path: "/teams/backend/stream", body: map[string]any{"message": busy}, header: map[string]string{"Idempotency-Key": "stream"}}).rest()
		told = append(told, numbered(t, events, 1)+" "+names(events)+" "+text(events))
	}
	if told[0] != told[1] {
		t.Errorf("%v", told)
	}

	// Across a crash, too.
	first := keyed("/teams/backend/execute", map[string]any{"task": "durable", "dedupe": false}, "crash", "all").is(202)
	s.kill()
	if again := keyed("/teams/backend/execute", map[string]any{"task": "durable", "dedupe": false}, "crash", "all"); fmt.Sprint(again.json["jobId"]) != first.id("jobId") {
		t.Errorf("%s, first %s", again.body, first.body)
	}
}

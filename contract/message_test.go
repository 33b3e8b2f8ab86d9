//go:build contract

package contract_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func query(s string) string { return url.QueryEscape(s) }

var messageFields = []string{
	"messageId", "jobId?", "team", "from", "to", "status", "progress", "createdAt", "startedAt?", "completedAt?",
	"estimatedCompletion?", "attempts", "response?", "result?", "error?", "code?", "details?", "metadata?", "deliveries?",
	"caller?", "sessionId", "message?", "duration?",
}

// TestMessage is GET /messages/:id, through a message's whole life.
func TestMessage(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	held := newGate(t)
	task := s.do(req{path: "/teams/backend/execute", body: `{"task":"` + held.step() + ` [[say First paragraph.\n\nThe rest.]]"}`}).is(202).id("jobId")
	states := map[string]bool{}
	var m answer
	for end := time.Now().Add(patience); time.Now().Before(end); {
		m = s.do(req{path: "/messages/" + task}).is(200)
		wantFields(t, m.json, messageFields...)
		status := m.text("status")
		if status == "processing" && !states[status] {
			held.open()
		}
		states[status] = true
		progress := wantFields(t, m.json["progress"], "current", "total", "percentage")
		if status == "completed" {
			if fmt.Sprint(progress) != fmt.Sprint(map[string]any{"current": 1, "total": 1, "percentage": 100}) {
				t.Errorf("%v", progress)
			}
			break
		}
		if progress["percentage"].(float64) == 100 || m.json["completedAt"] != nil || m.json["response"] != nil {
			t.Errorf("%s", m.body)
		}
	}
	if !states["processing"] || !states["completed"] {
		t.Errorf("the states were %v", states)
	}
	if m.json["from"] != "api" || m.json["to"] != "backend" || m.json["team"] != "backend" || m.json["attempts"] != 1.0 || m.json["caller"] != "all" {
		t.Errorf("%s", m.body)
	}
	result := wantFields(t, m.json["result"], "summary", "details")
	if result["summary"] != "First paragraph." || result["details"] != "First paragraph.\n\nThe rest." || m.json["response"] != result["details"] {
		t.Errorf("%s", m.body)
	}
	long := s.do(req{path: "/teams/backend/execute", body: `{"task":"[[say ` + strings.Repeat("wörter ", 100) + `]]"}`}).is(202).id("jobId")
	if summary := s.finished(long).json["result"].(map[string]any)["summary"].(string); len([]rune(summary)) > 280 || len(summary) < 100 {
		t.Errorf("the summary has %d characters", len([]rune(summary)))
	}

	failed := s.do(req{path: "/teams/backend/execute", body: `{"task":"[[fail 400]]","maxAttempts":1}`}).is(202).id("jobId")
	if m := s.finished(failed); m.json["status"] != "failed" || m.json["code"] != "PROCESS_ERROR" || m.text("error") == "" || m.json["response"] != nil {
		t.Errorf("%s", m.body)
	}
}

// TestWait: a long poll until it is finished, or the time is over.
func TestWait(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	held := newGate(t)
	id := s.do(req{path: "/teams/backend/execute", body: `{"task":"` + held.step() + ` [[say done]]"}`}).is(202).id("jobId")
	began := time.Now()
	if m := s.do(req{path: "/messages/" + id + "?wait=50"}).is(200); m.json["status"] == "completed" || time.Since(began) < 50*time.Millisecond {
		t.Errorf("after %s: %s", time.Since(began), m.body)
	}
	time.AfterFunc(500*time.Millisecond, held.open)
	if m := s.do(req{path: "/messages/" + id + "?wait=60000"}).is(200); m.json["status"] != "completed" || time.Since(began) > 20*time.Second {
		t.Errorf("after %s: %s", time.Since(began), m.body)
	}
	for _, n := range []string{"-1", "60001", "x", "1.5"} {
		s.do(req{path: "/messages/" + id + "?wait=" + n}).fails(400, "INVALID_REQUEST")
	}
}

// TestProgress comes from the agent's own list of tasks.
func TestProgress(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	todo := func(states ...string) string {
		var all []string
		for i, state := range states {
			all = append(all, fmt.Sprintf(`{"content":"step %d","status":%q,"activeForm":"doing %d"}`, i, state, i))
		}
		return `[[tool TodoWrite {"todos":[` + strings.Join(all, ",") + `]}]]`
	}
	held := newGate(t)
	message := todo("completed", "completed", "completed", "in_progress", "pending") + " " + held.step() + " " +
		todo("completed", "completed", "completed", "completed", "completed") + ` [[say done]]`
	st := s.open(req{path: "/teams/backend/stream", body: map[string]any{"message": message}})
	e := st.until("progress")
	wantFields(t, e.data, "current", "total", "percentage")
	id, _, _ := strings.Cut(e.id, ":")
	if m := s.do(req{path: "/messages/" + id}).is(200); fmt.Sprint(m.json["progress"]) != "map[current:3 percentage:60 total:5]" {
		t.Errorf("%s", m.body)
	}
	held.open()
	st.until("complete")
	if m := s.finished(id); fmt.Sprint(m.json["progress"]) != "map[current:5 percentage:100 total:5]" {
		t.Errorf("%s", m.body)
	}
}

// TestCancel: queued at once, processing by an interrupt, finished not at all.
func TestCancel(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	ask := func(message string) string {
		return s.do(req{path: "/teams/backend/execute", body: map[string]any{"task": message, "sessionId": "one", "dedupe": false}}).is(202).id("messageId")
	}
	running, waiting := ask("[[say a]] [[hang]]"), ask("[[say b]]")
	eventually(t, func() bool { return s.do(req{path: "/messages/" + running}).json["status"] == "processing" })
	pid := func() any {
		processes := s.do(req{path: "/teams/backend/status"}).is(200).json["processes"].([]any)
		if len(processes) != 1 {
			t.Fatalf("there are the processes %v", processes)
		}
		return processes[0].(map[string]any)["pid"]
	}
	eventually(t, func() bool { return pid() != 0.0 }) // 0 while it starts
	if m := s.do(req{method: "POST", path: "/messages/" + waiting + "/cancel"}).is(200); m.json["status"] != "cancelled" || m.json["startedAt"] != nil {
		t.Errorf("%s", m.body)
	}
	before := pid()
	m := s.do(req{method: "POST", path: "/messages/" + running + "/cancel"}).is(200)
	wantFields(t, m.json, messageFields...)
	if m.json["status"] != "cancelled" || m.json["code"] != "CANCELLED" {
		t.Errorf("%s", m.body)
	}
	s.do(req{path: "/teams/backend/ask", body: `{"question":"q","sessionId":"one"}`}).is(200)
	if pid() != before {
		t.Error("the process did not survive")
	}
	again := s.do(req{method: "POST", path: "/messages/" + running + "/cancel"}).is(200)
	done := s.ask("q").id("messageId")
	finished := s.do(req{method: "POST", path: "/messages/" + done + "/cancel"}).is(200)
	if again.json["status"] != "cancelled" || again.json["completedAt"] != m.json["completedAt"] || finished.json["status"] != "completed" {
		t.Errorf("%s %s", again.body, finished.body)
	}
}

// TestHistory is GET /messages/history.
func TestHistory(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	var times []float64
	for i := range 7 {
		team, text := "backend", fmt.Sprintf("[[say answer %d about indexes]]", i)
		if i%2 == 1 {
			team = "frontend"
		}
		if i == 6 {
			text = "[[fail 400]]"
		}
		a := s.do(req{path: "/teams/" + team + "/ask", body: map[string]any{"question": text}, key: []string{"all", "other"}[i%2]})
		if i == 6 {
			a.fails(500, "PROCESS_ERROR")
		} else {
			a.is(200)
		}
		newest := s.do(req{path: "/messages/history?limit=1"}).json["messages"].([]any)[0].(map[string]any)
		times = append(times, newest["timestamp"].(float64))
		time.Sleep(2 * time.Millisecond)
	}
	history := func(query string) ([]map[string]any, map[string]any) {
		t.Helper()
		a := s.do(req{path: "/messages/history" + query}).is(200)
		wantFields(t, a.json, "messages", "pagination")
		var all []map[string]any
		for _, m := range a.json["messages"].([]any) {
			o := wantFields(t, m, "messageId", "jobId?", "from", "to", "caller?", "sessionId", "message", "response", "status", "error?", "code?", "duration", "timestamp")
			wantNow(t, o["timestamp"])
			all = append(all, o)
		}
		page := wantFields(t, a.json["pagination"], "page", "limit", "total", "hasNext", "nextCursor?", "totalCapped?")
		return all, page
	}
	all, page := history("")
	if len(all) != 7 || page["page"] != 1.0 || page["limit"] != 50.0 || page["total"] != 7.0 || page["hasNext"] != false {
		t.Errorf("%d messages, %v", len(all), page)
	}
	for i, m := range all {
		if m["timestamp"] != times[6-i] || m["from"] != "api" {
			t.Errorf("message %d is %v", i, m)
		}
	}
	if all[0]["status"] != "failed" || all[0]["response"] != nil || all[0]["code"] != "PROCESS_ERROR" || all[1]["response"] != "answer 5 about indexes" {
		t.Errorf("%v %v", all[0], all[1])
	}
	for query, want := range map[string]int{
		"?team=backend": 4, "?to=frontend": 3, "?team=backend&to=frontend": 0, "?from=api": 7, "?from=backend": 0, "?status=failed": 1, "?status=completed": 6,
		"?status=queued": 0, "?team=backend&status=completed": 3, "?team=nobody": 0, "?limit=200": 7,
		fmt.Sprintf("?since=%.0f", times[4]): 3, fmt.Sprintf("?until=%.0f", times[4]): 5, fmt.Sprintf("?since=%.0f&until=%.0f", times[2], times[4]): 3,
	} {
		if got, page := history(query); len(got) != want || page["total"] != float64(want) {
			t.Errorf("%s: %d messages, %v", query, len(got), page)
		}
	}
	// Pages, stable under inserts by the cursor.
	var paged []string
	for i := 1; ; i++ {
		got, page := history(fmt.Sprintf("?limit=3&page=%d", i))
		if page["page"] != float64(i) || page["total"] != 7.0 {
			t.Errorf("%v", page)
		}
		for _, m := range got {
			paged = append(paged, m["messageId"].(string))
		}
		if page["hasNext"] != true {
			break
		}
	}
	var want []string
	for _, m := range all {
		want = append(want, m["messageId"].(string))
	}
	if !slices.Equal(paged, want) {
		t.Errorf("page by page %v, at once %v", paged, want)
	}
	paged = nil
	for next := "?limit=3"; ; {
		got, page := history(next)
		for _, m := range got {
			paged = append(paged, m["messageId"].(string))
		}
		s.ask("one more") // comes in meanwhile
		cursor, more := page["nextCursor"].(string)
		if page["hasNext"] != more {
			t.Errorf("%v", page)
		}
		if !more {
			break
		}
		next = "?limit=3&cursor=" + query(cursor)
	}
	if !slices.Equal(paged, want) {
		t.Errorf("by the cursor %v, at once %v", paged, want)
	}
	s.do(req{path: "/messages/history?cursor=nonsense"}).fails(400, "INVALID_REQUEST")
}

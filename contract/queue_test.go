//go:build contract

package contract_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// TestExecute is POST /teams/:team/execute.
func TestExecute(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	execute := func(body map[string]any) answer {
		t.Helper()
		a := s.do(req{path: "/teams/backend/execute", body: body}).is(202)
		wantFields(t, a.json, "jobId", "messageId", "team", "status", "estimatedCompletion", "position")
		if a.header.Get("Location") != "/api/v1/messages/"+a.id("jobId") || a.json["team"] != "backend" || a.json["status"] != "queued" {
			t.Errorf("%v %s", a.header, a.body)
		}
		return a
	}
	held := newGate(t)
	first := execute(map[string]any{"task": held.step() + " [[say first]]", "timeout": 30000, "context": map[string]any{"source": "cron", "metadata": []int{1}}, "maxAttempts": 2})
	if first.json["position"] != 1.0 || first.json["estimatedCompletion"] != nil {
		t.Errorf("%s", first.body)
	}
	eventually(t, func() bool { return s.do(req{path: "/messages/" + first.id("jobId")}).json["status"] == "processing" })

	// high before normal before low, first come first served within; position says so.
	var jobs []string
	want := map[int]string{}
	for i, priority := range []string{"low", "", "high", "normal", "high", "low"} {
		body := map[string]any{"task": fmt.Sprintf("[[say %d]]", i), "priority": priority}
		if priority == "" {
			delete(body, "priority")
		}
		a := execute(body)
		jobs = append(jobs, a.id("jobId"))
		want[i] = fmt.Sprint(a.json["position"])
	}
	if fmt.Sprint(want) != "map[0:1 1:1 2:1 3:3 4:2 5:6]" {
		t.Errorf("the positions were %v", want)
	}
	held.open()
	type done struct {
		i  int
		at float64
	}
	var order []done
	for i, id := range jobs {
		m := s.finished(id)
		order = append(order, done{i, m.json["startedAt"].(float64)})
	}
	slices.SortStableFunc(order, func(a, b done) int { return int(a.at - b.at) })
	at := map[int]float64{}
	for _, d := range order {
		at[d.i] = d.at
	}
	for _, pair := range [][2]int{{2, 4}, {4, 1}, {1, 3}, {3, 0}, {0, 5}} {
		if at[pair[0]] > at[pair[1]] {
			t.Errorf("job %d ran after job %d: %v", pair[0], pair[1], order)
		}
	}
	if known := execute(map[string]any{"task": "[[say once more]]"}); known.json["estimatedCompletion"] == nil {
		t.Errorf("with a history there is no estimate: %s", known.body)
	} else {
		wantNow(t, known.json["estimatedCompletion"])
	}

	limited := execute(map[string]any{"task": "[[hang]]", "timeout": 300, "maxAttempts": 1})
	if m := s.finished(limited.id("jobId")); m.json["status"] != "failed" || m.json["code"] != "TIMEOUT" {
		t.Errorf("timeout does not bound the run: %s", m.body)
	}
}

// TestDedupe: identical jobs that still wait or run are one.
func TestDedupe(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	held := newGate(t)
	s.do(req{path: "/teams/backend/execute", body: map[string]any{"task": held.step()}}).is(202)
	job := func(key string, body map[string]any) string {
		return s.do(req{path: "/teams/backend/execute", body: body, key: key}).is(202).id("jobId")
	}
	same := map[string]any{"task": "the same", "context": map[string]any{"source": "x"}, "sessionId": "s", "priority": "low"}
	first := job("all", same)
	if job("all", same) != first {
		t.Error("an identical job is another one")
	}
	for name, other := range map[string]map[string]any{
		"task": with(same, map[string]any{"task": "another"}), "context": with(same, map[string]any{"context": map[string]any{"source": "y"}}),
		"session": with(same, map[string]any{"sessionId": "other"}), "priority": with(same, map[string]any{"priority": "high"}), "dedupe": with(same, map[string]any{"dedupe": false}),
	} {
		if job("all", other) == first {
			t.Errorf("a job with another %s is the same one", name)
		}
	}
	if job("other", same) == first {
		t.Error("another key's job is the same one")
	}
	held.open()
	s.finished(first)
	if job("all", same) == first {
		t.Error("a finished job is still the same one")
	}
}

// TestQueueFull: 503 with Retry-After.
func TestQueueFull(t *testing.T) {
	t.Parallel()
	s := start(t, func(config, api, teams map[string]any) {
		config["queue"] = map[string]any{"maxWaiting": 2}
	})
	var full answer
	for i := range 10 {
		if full = s.do(req{path: "/teams/backend/execute", body: map[string]any{"task": fmt.Sprint("[[hang]]", i)}}); full.status != 202 {
			break
		}
	}
	full.fails(503, "QUEUE_FULL")
	if full.header.Get("Retry-After") == "" {
		t.Errorf("%v", full.header)
	}
}

// TestRetries: what is worth it, up to maxAttempts; an ask never.
func TestRetries(t *testing.T) {
	t.Parallel()
	s := start(t, func(config, api, teams map[string]any) {
		config["queue"] = map[string]any{"backoff": "50ms"}
	})
	for _, tt := range []struct {
		body     map[string]any
		attempts float64
	}{
		{map[string]any{"task": "[[exit 3]]"}, 3}, {map[string]any{"task": "[[exit 4]]", "maxAttempts": 2}, 2}, {map[string]any{"task": "[[fail 400]]"}, 1},
	} {
		id := s.do(req{path: "/teams/backend/execute", body: tt.body}).is(202).id("jobId")
		if m := s.finished(id); m.json["status"] != "failed" || m.json["attempts"] != tt.attempts {
			t.Errorf("%v: %s", tt.body, m.body)
		}
	}
	a := s.do(req{path: "/teams/backend/ask", body: `{"question":"[[exit 3]]"}`}).fails(500, "PROCESS_ERROR")
	if m := s.finished(a.json["details"].(map[string]any)["messageId"].(string)); m.json["attempts"] != 1.0 {
		t.Errorf("%s", m.body)
	}
}

// call is what a receiver of webhooks got.
type call struct {
	method string
	header http.Header
	body   []byte
}

// TestWebhooks: a task's end is told to its callback, signed, at least once.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	s := start(t, func(config, api, teams map[string]any) {
		config["webhooks"] = map[string]any{"allowPrivate": true, "secret": secret, "retryDelays": []any{"50ms", "50ms"}}
	})
	var mu sync.Mutex
	var calls []call
	broken := 1 // so often it answers 500
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, call{r.Method + " " + r.URL.Path, r.Header, body})
		if broken > 0 {
			broken--
			w.WriteHeader(500)
		}
	}))
	defer receiver.Close()
	got := func(n int) []call {
		eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(calls) >= n })
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(calls)
	}
	job := s.do(req{path: "/teams/backend/execute", body: map[string]any{
		"task": "[[say Fixed 3 vulnerabilities, 0 require manual review\n\nMore.]]", "priority": "normal",
		"callback": map[string]any{"url": receiver.URL + "/webhooks/iris", "method": "POST", "headers": map[string]any{"Authorization": "Bearer webhook-secret"}},
	}}).is(202)
	all := got(2)
	verify, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if err := verify.Verify(c.body, c.header); err != nil {
			t.Errorf("the signature: %v", err)
		}
		if c.method != "POST /webhooks/iris" || c.header.Get("Authorization") != "Bearer webhook-secret" || c.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %v", c.method, c.header)
		}
		if c.header.Get("Webhook-Id") != all[0].header.Get("Webhook-Id") {
			t.Error("a repetition has another id")
		}
		var body map[string]any
		if err := json.Unmarshal(c.body, &body); err != nil {
			t.Fatal(err)
		}
		wantFields(t, body, "jobId", "messageId", "team", "status", "result", "duration", "timestamp")
		wantNow(t, body["timestamp"])
		wantCount(t, body["duration"])
		result := wantFields(t, body["result"], "summary", "details")
		if body["jobId"] != job.id("jobId") || body["messageId"] != job.id("messageId") || body["team"] != "backend" || body["status"] != "completed" ||
			result["summary"] != "Fixed 3 vulnerabilities, 0 require manual review" || result["details"] != "Fixed 3 vulnerabilities, 0 require manual review\n\nMore." {
			t.Errorf("%s", c.body)
		}
	}
	eventually(t, func() bool {
		m := s.do(req{path: "/messages/" + job.id("jobId")}).is(200)
		return strings.Contains(string(m.body), `"state":"delivered"`)
	})
	if m := s.do(req{path: "/messages/" + job.id("jobId")}); len(m.json["deliveries"].([]any)[0].(map[string]any)["attempts"].([]any)) != 2 || strings.Contains(string(m.body), "webhook-secret") {
		t.Errorf("%s", m.body)
	}

	failed := s.do(req{path: "/teams/backend/execute", body: map[string]any{"task": "[[fail 400]]", "callback": map[string]any{"url": receiver.URL, "method": "PUT"}}}).is(202)
	var body map[string]any
	last := got(3)[2]
	json.Unmarshal(last.body, &body)
	wantFields(t, body, "jobId", "messageId", "team", "status", "error", "code", "duration", "timestamp")
	if last.method != "PUT /" || body["jobId"] != failed.id("jobId") || body["status"] != "failed" || body["code"] != "PROCESS_ERROR" {
		t.Errorf("%s %s", last.method, last.body)
	}
	waiting := s.do(req{path: "/teams/backend/execute", body: map[string]any{"task": "[[hang]]", "callback": map[string]any{"url": receiver.URL}}}).is(202)
	s.do(req{method: "POST", path: "/messages/" + waiting.id("jobId") + "/cancel"}).is(200)
	json.Unmarshal(got(4)[3].body, &body)
	if body["status"] != "cancelled" || body["code"] != "CANCELLED" {
		t.Errorf("%v", body)
	}

	// Called again by hand.
	s.do(req{method: "POST", path: "/messages/" + job.id("jobId") + "/resend"}).is(200)
	got(5)
	s.do(req{method: "POST", path: "/messages/" + s.ask("q").id("messageId") + "/resend"}).fails(404, "NOT_FOUND")
	again := s.do(req{path: "/teams/backend/execute", body: map[string]any{"task": "[[hang]] x", "callback": map[string]any{"url": receiver.URL}}}).is(202)
	s.do(req{method: "POST", path: "/messages/" + again.id("jobId") + "/resend"}).fails(409, "CONFLICT")

	for _, callback := range []any{"x", map[string]any{}, map[string]any{"url": "ftp://x"}, map[string]any{"url": "https://x", "method": "GET"}, map[string]any{"url": "https://x", "header": 1}, map[string]any{"url": "https://x", "headers": map[string]any{"a b": "c"}}} {
		s.do(req{path: "/teams/backend/execute", body: map[string]any{"task": "t", "callback": callback}}).fails(400, "INVALID_REQUEST")
	}
	guarded := start(t, nil)
	for _, url := range []string{"http://127.0.0.1:9999/", "http://localhost/", "http://10.0.0.1/", "http://[::1]/", "http://169.254.169.254/"} {
		a := guarded.do(req{path: "/teams/backend/execute", body: map[string]any{"task": "t", "callback": map[string]any{"url": url}}})
		if a.status == 202 { // a name is judged at the dial
			eventually(t, func() bool {
				return strings.Contains(string(guarded.do(req{path: "/messages/" + a.id("jobId")}).body), `"error"`)
			})
		} else {
			a.fails(400, "INVALID_REQUEST")
		}
	}
}

// TestWebhooksThatFail: 410 ends a callback, a redirect is a failure and is not followed, and after
// the last attempt it is given up; what becomes of it never changes the task.
func TestWebhooksThatFail(t *testing.T) {
	t.Parallel()
	s := start(t, func(config, api, teams map[string]any) {
		config["webhooks"] = map[string]any{"allowPrivate": true, "retryDelays": []any{"20ms", "20ms"}}
	})
	var followed atomic.Bool
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/gone":
			w.WriteHeader(http.StatusGone)
		case "/moved":
			http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
		case "/there":
			followed.Store(true)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer receiver.Close()
	for _, tt := range []struct {
		path, state string
		attempts    int
	}{{"/gone", "gone", 1}, {"/moved", "failed", 3}, {"/none", "failed", 3}} {
		job := s.do(req{path: "/teams/backend/execute", body: map[string]any{"task": "for " + tt.path, "callback": map[string]any{"url": receiver.URL + tt.path}}}).is(202)
		var m answer
		eventually(t, func() bool {
			m = s.do(req{path: "/messages/" + job.id("jobId")}).is(200)
			return strings.Contains(string(m.body), `"state":"`+tt.state+`"`)
		})
		delivery := m.json["deliveries"].([]any)[0].(map[string]any)
		if n := len(delivery["attempts"].([]any)); n != tt.attempts || m.json["status"] != "completed" || delivery["nextAttempt"] != nil {
			t.Errorf("%s: %s", tt.path, m.body)
		}
	}
	if followed.Load() {
		t.Error("a redirect was followed")
	}
}

// TestDurable: what was answered 202 survives a crash and runs afterwards, with one final state.
func TestDurable(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	var jobs []string
	s.do(req{path: "/teams/backend/execute", body: `{"task":"[[wait 1s]]"}`}).is(202)
	for i := range 5 {
		jobs = append(jobs, s.do(req{path: "/teams/backend/execute", body: map[string]any{"task": fmt.Sprint("[[say ", i, "]]")}}).is(202).id("jobId"))
	}
	s.kill()
	for i, id := range jobs {
		if m := s.finished(id); m.json["status"] != "completed" || m.json["response"] != fmt.Sprint(i) {
			t.Errorf("%s", m.body)
		}
	}
}

// TestShutdown: who asks while the server ends is told to come back, and streams go on later.
func TestShutdown(t *testing.T) {
	t.Parallel()
	s := start(t, func(config, api, teams map[string]any) {
		config["settings"].(map[string]any)["shutdownGrace"] = patience.String()
	})
	held := newGate(t)
	st := s.open(req{path: "/teams/backend/stream", body: `{"message":"[[say a]] ` + held.step() + ` [[say b]]"}`})
	st.until("chunk")
	ended := make(chan error, 1)
	go func() { ended <- s.Stop() }()
	var refused answer
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if refused = s.do(req{path: "/teams/backend/ask", body: `{"question":"q","timeout":1}`}); refused.status == 503 {
			break
		}
	}
	refused.fails(503, "SHUTTING_DOWN")
	if refused.header.Get("Retry-After") == "" {
		t.Errorf("%v", refused.header)
	}
	if a := s.do(req{path: "//readyz"}); a.status != 503 {
		t.Errorf("readyz: %d", a.status)
	}
	held.open()
	if rest := st.rest(); !strings.HasSuffix(names(rest), "complete") {
		t.Errorf("what ran was cut: %s", names(rest))
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

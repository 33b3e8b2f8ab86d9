//go:build contract

package contract_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestBodies: JSON in UTF-8, camelCase, read as JSON whatever the type says; what is unknown
// or wrong is refused with the name of the field.
func TestBodies(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	const ask, execute, stream = "/teams/backend/ask", "/teams/backend/execute", "/teams/backend/stream"

	for _, kind := range []string{"application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain", "application/octet-stream", "nonsense", ""} {
		a := s.do(req{path: ask, body: `{"question":"q"}`, header: map[string]string{"Content-Type": kind}}).is(200)
		if a.text("response") != "You said: q" {
			t.Errorf("%q: %s", kind, a.body)
		}
	}
	for _, kind := range []string{"multipart/form-data; boundary=x", "Multipart/Mixed"} {
		s.do(req{path: ask, body: "--x--", header: map[string]string{"Content-Type": kind}}).fails(415, "UNSUPPORTED_MEDIA_TYPE")
	}

	s.do(req{path: ask, body: "\x1f\x8b", header: map[string]string{"Content-Encoding": "gzip"}}).fails(415, "UNSUPPORTED_MEDIA_TYPE")

	for _, tt := range []struct{ path, body, field string }{
		{ask, `{"question":"q","qestion":"q"}`, "qestion"},
		{ask, `{"question":"q","Timeout":5}`, "Timeout"},
		{ask, `{"question":"q","context":{"sauce":"x"}}`, "context.sauce"},
		{ask, `{}`, "question"},
		{ask, `{"question":5}`, "question"},
		{ask, `{"question":["q"]}`, "question"},
		{ask, `{"question":"q","sessionId":5}`, "sessionId"},
		{ask, `{"question":"q","sessionId":"` + strings.Repeat("x", 129) + `"}`, "sessionId"},
		{ask, `{"question":"q","priority":"urgent"}`, "priority"},
		{ask, `{"question":"q","cancelOnTimeout":"yes"}`, "cancelOnTimeout"},
		{ask, `{"question":"q","context":"x"}`, "context"},
		{ask, `{"question":"q","context":{"source":5}}`, "context.source"},
		{execute, `{"task":"t","priority":1}`, "priority"},
		{execute, `{"task":"t","dedupe":"no"}`, "dedupe"},
		{execute, `{"task":"t","maxAttempts":0}`, "maxAttempts"},
		{execute, `{"question":"q"}`, "question"},
		{stream, `{"message":"m","stream":"yes"}`, "stream"},
		{stream, `{"message":"m","priority":"high"}`, "priority"},
		{stream, `{"question":"q"}`, "question"},
	} {
		a := s.do(req{path: tt.path, body: tt.body}).fails(400, "INVALID_REQUEST")
		if !slices.Contains(a.problems(), tt.field) || !strings.Contains(a.text("message"), tt.field) {
			t.Errorf("%s %s: want a problem with %s: %s", tt.path, tt.body, tt.field, a.body)
		}
	}
	for _, body := range []string{"", "{", `{"question":"q"`, `{"question":"q"} x`, "null", "[]", `"q"`, "5", `question=q`, "{\"question\":\"\xff\"}", `{'question':'q'}`} {
		s.do(req{path: ask, body: body}).fails(400, "INVALID_REQUEST")
	}

	for _, blank := range []string{``, ` `, `\n\t `, `\u00a0`, `\u3000`, `\u0000`} {
		s.do(req{path: ask, body: `{"question":"` + blank + `"}`}).fails(400, "INVALID_REQUEST")
		s.do(req{path: execute, body: `{"task":"` + blank + `"}`}).fails(400, "INVALID_REQUEST")
		s.do(req{path: stream, body: `{"message":"` + blank + `"}`}).fails(400, "INVALID_REQUEST")
	}
	for _, n := range []string{"0", "-1", "86400001", "1.5", `"5"`, "1e400", "99999999999999999999"} {
		for path, body := range map[string]string{ask: `{"question":"q"`, execute: `{"task":"t"`, stream: `{"message":"m"`} {
			a := s.do(req{path: path, body: body + `,"timeout":` + n + `}`}).fails(400, "INVALID_REQUEST")
			if !strings.Contains(a.text("message"), "timeout") && n != "1e400" && n != "99999999999999999999" {
				t.Errorf("timeout %s: %s", n, a.body)
			}
		}
	}
	s.do(req{path: ask, body: `{"question":"q","timeout":86400000}`}).is(200)
	s.do(req{path: ask, body: `{"question":"[[hang]]","timeout":1,"cancelOnTimeout":true}`}).fails(408, "TIMEOUT")

	for path, parameter := range map[string]string{
		"/teams?colour=red": "colour", "/messages/history?limit=0": "limit", "/messages/history?limit=201": "limit", "/messages/history?limit=x": "limit",
		"/messages/history?page=0": "page", "/messages/history?status=done": "status", "/messages/history?since=-1": "since", "/messages/history?since=yesterday": "since",
		"/teams/backend/stream?message=m&timeout=0": "timeout", "/teams/backend/stream?message=%20": "message", "/teams/backend/stream": "message",
		"/messages/history?until=x": "until", "/messages/history?max=1": "max", "/messages/history?team=backend&team=frontend": "team",
		"/teams/backend/stream?message=a&message=b": "message",
	} {
		if a := s.do(req{path: path}).fails(400, "INVALID_REQUEST"); !slices.Contains(a.problems(), parameter) {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}

// TestBodyLimit: 1 MiB unless it is configured otherwise.
func TestBodyLimit(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1 << 20, 4096} {
		s := start(t, func(config, api, teams map[string]any) {
			if limit != 1<<20 {
				api["maxBodyBytes"] = limit
			}
		})
		frame := len(`{"question":"[[say ok]]"}`)
		body := func(n int) string { return `{"question":"[[say ok]]` + strings.Repeat("x", n-frame) + `"}` }
		s.do(req{path: "/teams/backend/ask", body: body(limit)}).is(200)
		s.do(req{path: "/teams/backend/ask", body: body(limit + 1)}).fails(413, "PAYLOAD_TOO_LARGE")
	}
}

// TestRequestIDs: the client's own one if it is sane, on every answer and in every error.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	paths := []req{
		{path: "/teams"}, {path: "/teams/nobody/status"}, {path: "/nothing"}, {path: "/teams", method: "DELETE"}, {path: "/teams", key: "-"},
		{path: "//healthz", key: "-"}, {path: "/teams/backend/ask", body: `{"question":"q"}`}, {path: "/teams/backend/ask", body: `{`},
		{path: "/teams/backend/stream?message=m"},
	}
	for _, sane := range []string{"a", "trace/1?x=\"y\"", strings.Repeat("x", 128), "~!"} {
		for _, r := range paths {
			r.header = map[string]string{"X-Request-Id": sane}
			a := s.do(r)
			if got := a.header.Get("X-Request-Id"); got != sane {
				t.Errorf("%s %s: sent %q, got %q", r.method, r.path, sane, got)
			}
			if a.status >= 400 && a.json["requestId"] != sane {
				t.Errorf("%s %s: %s", r.method, r.path, a.body)
			}
		}
	}
	made := map[string]bool{}
	for _, strange := range []string{"", strings.Repeat("x", 129), "a b", "ä", "x\ty"} {
		for _, r := range paths {
			r.header = map[string]string{"X-Request-Id": strange}
			got := s.do(r).header.Get("X-Request-Id")
			if got == "" || got == strange || made[got] {
				t.Errorf("%s %s: sent %q, got %q", r.method, r.path, strange, got)
			}
			made[got] = true
		}
	}
	st := s.open(req{path: "/teams/backend/stream", body: `{"message":"[[fail 500]]"}`, header: map[string]string{"X-Request-Id": "mine"}})
	if e := st.until("error"); e.data["requestId"] != "mine" {
		t.Errorf("%v", e.data)
	}
	s.do(req{path: "/teams", header: map[string]string{"X-Request-Id": "find-me-in-the-log"}})
	eventually(t, func() bool { return strings.Contains(s.Stderr(), "find-me-in-the-log") })
}

// TestTeamNames: what no team can be named is no team, and never a file.
func TestTeamNames(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, name := range []string{"nobody", "Backend", "..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "a%20b", ".hidden", "-x", "%00", "%ff", "b%C3%A4ckend", strings.Repeat("x", 65), "backend%0d%0ax", "a:b", "%2F"} {
		for _, r := range []req{
			{path: "/ask", body: `{"question":"q"}`}, {path: "/execute", body: `{"task":"t"}`}, {path: "/stream", body: `{"message":"m"}`},
			{path: "/stream?message=m"}, {path: "/status"},
		} {
			if name == ".." {
				continue // a client resolves it before it sends it
			}
			r.path = "/teams/" + name + r.path
			s.do(r).fails(404, "TEAM_NOT_FOUND")
		}
	}
	if a := s.do(req{path: "/teams/backnd/status"}).fails(404, "TEAM_NOT_FOUND"); a.json["error"] != "TeamNotFound" || !strings.Contains(a.text("message"), `"backend"`) {
		t.Errorf("no suggestion: %s", a.body)
	}
	s.do(req{path: "/teams//status"}).fails(404, "TEAM_NOT_FOUND")
}

// TestPathsAndMethods: what there is not, and what a path does not know.
func TestPathsAndMethods(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, path := range []string{"/nothing", "//api/v2/teams", "//nothing", "/teams/backend/asks"} {
		if a := s.do(req{path: path}); a.status != 404 && a.status != 405 { // a path may know other methods
			t.Errorf("%s: %d", path, a.status)
		}
	}
	s.do(req{path: "/nothing"}).fails(404, "NOT_FOUND")
	for _, tt := range []struct{ method, path, allow string }{
		{"GET", "/teams/backend/ask", "POST"}, {"DELETE", "/teams/backend/stream", "GET, POST"}, {"PUT", "/messages/history", "GET"},
		{"POST", "//healthz", "GET, HEAD"}, {"GET", "/messages/msg_1/cancel", "POST"},
	} {
		a := s.do(req{method: tt.method, path: tt.path}).fails(405, "METHOD_NOT_ALLOWED")
		allow := strings.Split(strings.ReplaceAll(a.header.Get("Allow"), " ", ""), ",")
		slices.Sort(allow)
		if strings.Join(allow, ", ") != tt.allow {
			t.Errorf("%s %s: Allow: %v", tt.method, tt.path, allow)
		}
	}
	for _, path := range []string{"//healthz", "//readyz", "//openapi.json", "//docs"} {
		if a := s.do(req{method: "HEAD", path: path, key: "none"}).is(200); len(a.body) > 0 || a.header.Get("Content-Type") == "" {
			t.Errorf("HEAD %s: %v, %d bytes", path, a.header, len(a.body))
		}
	}
}

// TestIDs: opaque, and every lookup takes a task's both ones.
func TestIDs(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	a := s.do(req{path: "/teams/backend/execute", body: `{"task":"[[say done]]"}`}).is(202)
	job, message := a.id("jobId"), a.id("messageId")
	if !strings.HasPrefix(job, "job_") || !strings.HasPrefix(message, "msg_") {
		t.Errorf("%s", a.body)
	}
	s.finished(job)
	for _, id := range []string{job, message} {
		for _, r := range []req{{path: "/messages/" + id}, {path: "/messages/" + id, method: "POST"}} {
			if r.method != "" {
				r.path += "/cancel"
			}
			if a := s.do(r).is(200); a.id("messageId") != message || a.id("jobId") != job {
				t.Errorf("%s: %s", id, a.body)
			}
		}
		events := s.open(req{path: "/messages/" + id + "/stream"}).rest()
		if numbered(t, events, 1) != message {
			t.Errorf("%s: %v", id, events)
		}
	}
	for _, id := range []string{"msg_nothing", "job_", "x", "%00", "msg_01KAH3M4R0E7C8B9A2D3F4G5H6", strings.Repeat("m", 1000), "'%20or%201=1"} {
		s.do(req{path: "/messages/" + id}).fails(404, "MESSAGE_NOT_FOUND")
		s.do(req{path: "/messages/" + id + "/stream"}).fails(404, "MESSAGE_NOT_FOUND")
		s.do(req{path: "/messages/" + id + "/cancel", method: "POST"}).fails(404, "MESSAGE_NOT_FOUND")
	}
}

// TestProcessErrors: what is wrong with Claude Code is told by who may know it.
func TestProcessErrors(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, tt := range []struct {
		question string
		detail   string
	}{
		{"[[stderr a secret tail]] [[exit 3]]", "exitCode"},
		{"[[fail 401]]", ""},
		{"[[fail 529]]", ""},
	} {
		body := map[string]any{"question": tt.question}
		a := s.do(req{path: "/teams/backend/ask", body: body}).fails(500, "PROCESS_ERROR")
		details, _ := a.json["details"].(map[string]any)
		if id, _ := details["messageId"].(string); !idForm.MatchString(id) || a.json["error"] != "ProcessError" || tt.detail != "" && details[tt.detail] == nil {
			t.Errorf("%s: %s", tt.question, a.body)
		}
		mute := s.do(req{path: "/teams/backend/ask", body: body, key: "asker"}).fails(500, "PROCESS_ERROR")
		if strings.Contains(string(mute.body), "secret tail") || strings.Contains(string(mute.body), s.options.Home) {
			t.Errorf("a key without processes:read is told %s", mute.body)
		}
		if tt.detail != "" && !strings.Contains(string(a.body), "secret tail") {
			t.Errorf("a key with processes:read is not told the end of stderr: %s", a.body)
		}
	}
	missing := start(t, func(config, api, teams map[string]any) {
		teams["backend"].(map[string]any)["claudePath"] = "/nowhere/claude"
	})
	for _, r := range []req{{key: "asker"}, {}} {
		r.path, r.body = "/teams/backend/ask", `{"question":"q"}`
		a := missing.do(r).fails(500, "PROCESS_ERROR")
		if told := strings.Contains(string(a.body), "/nowhere"); told && r.key == "asker" {
			t.Errorf("a key without processes:read is told the path: %s", a.body)
		}
	}
	if a := missing.do(req{path: "/teams/backend/status"}).is(200); a.json["status"] != "error" || a.json["lastError"] == nil {
		t.Errorf("%s", a.body)
	}
}

// TestTimes: Unix milliseconds, and milliseconds.
func TestTimes(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	a := s.do(req{path: "/teams/backend/execute", body: `{"task":"[[wait 200ms]] [[say done]]"}`}).is(202)
	m := s.finished(a.id("jobId"))
	for _, field := range []string{"createdAt", "startedAt", "completedAt"} {
		wantNow(t, m.json[field])
	}
	if d, _ := m.json["duration"].(float64); d < 200 || d > 60000 || d != m.json["completedAt"].(float64)-m.json["createdAt"].(float64) {
		t.Errorf("the duration is %v: %s", d, m.body)
	}
	answered := s.ask("[[wait 100ms]] [[say done]]")
	wantNow(t, answered.json["timestamp"])
	if d, _ := answered.json["duration"].(float64); d < 100 {
		t.Error(fmt.Sprint("the duration is ", d))
	}
}

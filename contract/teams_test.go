//go:build contract

package contract_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp/agent/agenttest"
)

// TestTeams is GET /teams and GET /teams/:team/status.
func TestTeams(t *testing.T) {
	t.Parallel()
	s := start(t, func(config, api, teams map[string]any) { teams["backend"].(map[string]any)["color"] = "#ff0000" })
	list := s.do(req{path: "/teams"}).is(200)
	wantFields(t, list.json, "teams", "configError?")
	var found []string
	for _, team := range list.json["teams"].([]any) {
		o := wantFields(t, team, "name", "description", "color?", "status", "queue", "path?")
		found = append(found, o["name"].(string))
		if path, _ := o["path"].(string); !strings.HasSuffix(path, o["name"].(string)) {
			t.Errorf("an admin sees the path %q", path)
		}
	}
	if fmt.Sprint(found) != "[backend frontend]" {
		t.Errorf("%v", found)
	}
	if a := s.do(req{path: "/teams", key: "reader"}).is(200); strings.Contains(string(a.body), "path") || strings.Contains(string(a.body), s.options.Home) {
		t.Errorf("everybody sees the path: %s", a.body)
	}

	status := func() map[string]any {
		a := s.do(req{path: "/teams/backend/status", key: "reader"}).is(200)
		return wantFields(t, a.json, "team", "description", "status", "processes", "queue", "sessions", "usage", "lastError?", "pausedUntil?", "paused?")
	}
	if st := status(); st["team"] != "backend" || st["description"] != "The backend" || st["status"] != "asleep" || len(st["processes"].([]any)) != 0 || st["sessions"] != 0.0 {
		t.Errorf("%v", st)
	}
	id := s.do(req{path: "/teams/backend/execute", body: `{"task":"[[hang]]"}`}).is(202).id("jobId")
	second := s.do(req{path: "/teams/backend/execute", body: `{"task":"[[say b]]"}`}).is(202).id("jobId")
	eventually(t, func() bool { return status()["status"] == "busy" })
	var st, p map[string]any
	eventually(t, func() bool {
		st = status()
		all := st["processes"].([]any)
		p = wantFields(t, all[0], "pid", "sessionId?", "from?", "state", "startedAt", "lastUsedAt?", "messages", "rssBytes")
		return p["state"] == "busy"
	})
	if p["from"] != "api" || !idForm.MatchString(fmt.Sprint(p["sessionId"])) || p["pid"].(float64) <= 1 || p["rssBytes"].(float64) <= 0 {
		t.Errorf("%v", p)
	}
	wantNow(t, p["startedAt"])
	wantNow(t, p["lastUsedAt"])
	if q := wantFields(t, st["queue"], "waiting", "running"); q["waiting"] != 1.0 || q["running"] != 1.0 {
		t.Errorf("%v", q)
	}
	s.do(req{method: "POST", path: "/messages/" + id + "/cancel"}).is(200)
	s.finished(second)
	eventually(t, func() bool { return status()["status"] == "idle" })
	if s.do(req{path: "/teams/backend/ask", body: `{"question":"[[fail 400]]"}`}); status()["lastError"] == nil {
		t.Error("there is no last error")
	}
	if s.do(req{path: "/teams/backend/ask", body: `{"question":"[[exit 3]]"}`}).fails(500, "PROCESS_ERROR"); status()["lastError"] == nil {
		t.Error("there is no last error of a process that died")
	}
	s.do(req{method: "POST", path: "/teams/backend/sleep"}).is(200)
	eventually(t, func() bool { return status()["status"] == "error" })
	s.ask("q")
	if st := status(); st["status"] != "idle" || st["lastError"] != nil {
		t.Errorf("after a good answer: %v", st)
	}
}

// TestChangingTeams: teams are made, changed and taken out, in the YAML file, comments kept.
func TestChangingTeams(t *testing.T) {
	t.Parallel()
	s := start(t, func(config, api, teams map[string]any) {
		auth := api["auth"].(map[string]any)
		auth["keys"] = append(auth["keys"].([]any), key("writer", "teams:read", "teams:write"), key("remover", "teams:delete"))
	})
	file := filepath.Join(s.options.Home, "iris-config.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const comment = "# why the backend comes first\n"
	commented := strings.Replace(string(text), "    backend:", "    "+comment+"    backend:", 1)
	if commented == string(text) {
		commented = strings.Replace(string(text), "  backend:", "  "+comment+"  backend:", 1)
	}
	if err := os.WriteFile(file, []byte(commented), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	self := s.options.Config["teams"].(map[string]any)["backend"].(map[string]any)
	made := s.do(req{path: "/teams", body: map[string]any{
		"name": "web", "path": folder, "description": "the page", "claudePath": self["claudePath"], "env": self["env"], "maxProcesses": 2,
	}}).is(201)
	if made.header.Get("Location") != "/api/v1/teams/web" {
		t.Errorf("%v", made.header)
	}
	if a := s.do(req{path: "/teams/web/ask", body: `{"question":"[[say hello]]"}`}).is(200); a.json["response"] != "hello" {
		t.Errorf("%s", a.body) // in force when the answer came
	}
	s.do(req{path: "/teams", body: map[string]any{"name": "web", "path": folder}}).fails(409, "CONFLICT")
	if a := s.do(req{method: "PATCH", path: "/teams/web", body: `{"description":"the new page","maxProcesses":null}`, key: "writer"}).is(200); a.json["description"] != "the new page" {
		t.Errorf("%s", a.body)
	}
	if a := s.do(req{path: "/teams/web", key: "reader"}).is(200); a.json["description"] != "the new page" || strings.Contains(string(a.body), folder) {
		t.Errorf("%s", a.body)
	}
	for _, tt := range []struct {
		req
		field string
	}{
		{req{path: "/teams", body: map[string]any{"name": "a b", "path": folder}}, "name"},
		{req{path: "/teams", body: map[string]any{"name": "x"}}, "path"},
		{req{path: "/teams", body: map[string]any{"name": "x", "path": folder + "/missing"}}, "path"},
		{req{path: "/teams", body: map[string]any{"name": "x", "path": s.options.Home}}, "path"},
		{req{path: "/teams", body: map[string]any{"name": "x", "path": folder, "zzz": 1}}, "zzz"},
		{req{path: "/teams", body: map[string]any{"name": "x", "path": folder, "env": map[string]any{"A-B": "c"}}}, "env.A-B"},
		{req{path: "/teams/web", method: "PATCH", body: `{"idleTimeout":-1}`}, "idleTimeout"},
		{req{path: "/teams/web", method: "PATCH", body: `{"permissions":"maybe"}`}, "permissions"},
		{req{path: "/teams/web", method: "PATCH", body: `{"allowedTools":["Read","--x"]}`}, "allowedTools[1]"},
	} {
		if a := s.do(tt.req).fails(400, "INVALID_REQUEST"); !slices.Contains(a.problems(), tt.field) {
			t.Errorf("want a problem with %s: %s", tt.field, a.body)
		}
	}
	s.do(req{path: "/teams", body: map[string]any{"name": "x", "path": folder}, key: "reader"}).fails(403, "FORBIDDEN")
	s.do(req{method: "PATCH", path: "/teams/web", body: `{"claudePath":"/bin/sh"}`, key: "writer"}).fails(403, "FORBIDDEN")
	s.do(req{method: "PATCH", path: "/teams/nobody", body: `{"description":"x"}`}).fails(404, "TEAM_NOT_FOUND")
	s.do(req{method: "DELETE", path: "/teams/web", key: "writer"}).fails(403, "FORBIDDEN")
	s.do(req{method: "DELETE", path: "/teams/web", key: "remover"}).is(200)
	s.do(req{method: "DELETE", path: "/teams/web"}).fails(404, "TEAM_NOT_FOUND")
	s.do(req{path: "/teams/web/status"}).fails(404, "TEAM_NOT_FOUND")
	after, err := os.ReadFile(file)
	if err != nil || string(after) != commented {
		t.Errorf("the file is not what it was before: %v\n%s\nwas\n%s", err, after, commented)
	}

	if err := os.WriteFile(file, []byte(commented+"zzz: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, r := range []req{
		{path: "/teams", body: map[string]any{"name": "x", "path": folder}}, {method: "PATCH", path: "/teams/backend", body: `{"description":"x"}`}, {method: "DELETE", path: "/teams/backend"},
	} {
		s.do(r).fails(409, "CONFLICT") // the file has an error
	}
	eventually(t, func() bool { return strings.Contains(string(s.do(req{path: "/teams"}).body), "configError") })
}

// TestProcesses: listed, woken, put to sleep, ended.
func TestProcesses(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	state := func() any { return s.do(req{path: "/teams/backend/status"}).is(200).json["status"] }
	processes := func() []any { return s.do(req{path: "/processes"}).is(200).json["processes"].([]any) }
	if all := processes(); len(all) != 0 {
		t.Errorf("%v", all)
	}
	a := s.do(req{method: "POST", path: "/teams/backend/wake"}).is(200)
	if a.json["team"] != "backend" || state() != "idle" {
		t.Errorf("%s", a.body)
	}
	all := processes()
	if len(all) != 1 {
		t.Fatalf("%v", all)
	}
	p := wantFields(t, all[0], "team", "pid", "sessionId?", "from?", "state", "startedAt", "lastUsedAt?", "messages", "rssBytes")
	restarted := s.do(req{method: "POST", path: "/teams/backend/restart"}).is(200)
	if now := processes(); len(now) != 1 || now[0].(map[string]any)["pid"] == p["pid"] {
		t.Errorf("%s: %v, before %v", restarted.body, now, p)
	}
	s.do(req{method: "POST", path: "/teams/backend/sleep"}).is(200)
	eventually(t, func() bool { return state() == "asleep" && len(processes()) == 0 })
	s.ask("q") // wakes it by itself

	st := s.open(req{path: "/teams/backend/stream", body: `{"message":"[[say a]] [[hang]]"}`})
	st.until("chunk")
	for _, p := range processes() {
		p := p.(map[string]any)
		if p["state"] == "busy" {
			s.do(req{method: "DELETE", path: fmt.Sprint("/processes/", p["pid"])}).is(200)
		}
	}
	began := time.Now()
	wantError(t, st.until("error").data, "PROCESS_ERROR")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("its caller heard after %s", took)
	}
	for _, pid := range []string{"1", "0", "-1", "x", "99999999"} {
		if a := s.do(req{method: "DELETE", path: "/processes/" + pid}); a.status != 404 && a.status != 400 {
			t.Errorf("DELETE /processes/%s: %d %s", pid, a.status, a.body)
		}
	}
	ready := newGate(t)
	slow := start(t, func(config, api, teams map[string]any) {
		teams["backend"].(map[string]any)["env"].(map[string]any)[agenttest.Script] = "start: " + ready.step()
	})
	slow.do(req{path: "/teams/backend/wake", body: `{"timeout":100}`}).fails(408, "TIMEOUT")
	ready.open()
	eventually(t, func() bool { return slow.do(req{path: "/teams/backend/status"}).json["status"] == "idle" }) // it went on starting
	ready.shut()
	slow.do(req{path: "/teams/backend/restart", body: `{"timeout":100}`}).fails(408, "TIMEOUT")
	for _, verb := range []string{"wake", "sleep", "restart"} {
		s.do(req{method: "POST", path: "/teams/nobody/" + verb}).fails(404, "TEAM_NOT_FOUND")
	}
}

// TestPermissions: what the agent asks leave for is put to who can decide, else denied at once.
func TestPermissions(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	const message = `[[ask Bash {"command":"npm test"}]] [[say done]]`
	began := time.Now()
	s.do(req{path: "/teams/backend/ask", body: map[string]any{"question": message}, key: "asker"}).is(200)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("with nobody there it took %s", took)
	}
	for _, decision := range []string{"allow", "deny"} {
		st := s.open(req{path: "/teams/backend/stream", body: map[string]any{"message": message}})
		asked := st.until("permission")
		if asked.data["tool"] != "Bash" || asked.data["decision"] != nil || asked.data["input"].(map[string]any)["command"] != "npm test" {
			t.Errorf("%s", asked.raw)
		}
		list := s.do(req{path: "/permissions"}).is(200).json["permissions"].([]any)
		if len(list) != 1 || list[0].(map[string]any)["id"] != asked.data["id"] {
			t.Fatalf("%v", list)
		}
		path := fmt.Sprint("/permissions/", asked.data["id"])
		for _, body := range []string{`{}`, `{"decision":"maybe"}`, `{"decision":"deny","why":"x"}`} {
			s.do(req{path: path, body: body}).fails(400, "INVALID_REQUEST")
		}
		for _, k := range []string{"asker", "reader", "none"} {
			if a := s.do(req{path: path, body: `{"decision":"allow"}`, key: k}); a.status != 403 && a.status != 404 {
				t.Errorf("%s may decide: %d %s", k, a.status, a.body)
			}
		}
		s.do(req{path: path, body: map[string]any{"decision": decision, "message": map[string]string{"deny": "use make test"}[decision]}}).is(200)
		if decided := st.until("permission"); decided.data["decision"] != decision || decided.data["id"] != asked.data["id"] {
			t.Errorf("%s", decided.raw)
		}
		if result := st.until("tool_result"); (result.data["isError"] == true) != (decision == "deny") {
			t.Errorf("%s", result.raw)
		}
		st.until("complete")
		s.do(req{path: path, body: `{"decision":"allow"}`}).fails(404, "NOT_FOUND")
	}
}

// TestOutside: what stands beside /api/v1.
func TestOutside(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, path := range []string{"//healthz", "//readyz"} {
		s.do(req{path: path, key: "-"}).is(200)
	}
	doc := s.do(req{path: "//openapi.json", key: "-"}).is(200)
	if version, _ := doc.json["openapi"].(string); !strings.HasPrefix(version, "3.1") {
		t.Errorf("OpenAPI %s", version)
	}
	page := s.do(req{path: "//docs", key: "-"}).is(200)
	if strings.Contains(string(page.body), "<script") || !strings.Contains(page.header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%v", page.header)
	}
	if a := s.do(req{path: "//", key: "-"}); a.status != 302 || a.header.Get("Location") != "/docs" {
		t.Errorf("/: %d %v", a.status, a.header)
	}
	s.ask("q")
	for _, r := range []req{{key: "-"}, {}} { // from loopback without a key
		r.path = "//metrics"
		if a := s.do(r).is(200); !strings.Contains(string(a.body), "\niris_") || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
			t.Errorf("%v", a.header)
		}
	}
	s.do(req{path: "//metrics", key: "-", header: map[string]string{"X-Forwarded-For": "192.0.2.1"}}).fails(401, "UNAUTHORIZED")
	for _, h := range []string{"X-Content-Type-Options", "Cache-Control", "Content-Security-Policy"} {
		if doc.header.Get(h) == "" {
			t.Errorf("the header %s is missing", h)
		}
	}
}

// TestMCP: the tools over streamable HTTP, with a key as for REST.
func TestMCP(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	session := ""
	send := func(key, body string) answer {
		t.Helper()
		return s.do(req{path: "//mcp", body: body, key: key, header: map[string]string{
			"Accept": "application/json, text/event-stream", "Content-Type": "application/json", "Mcp-Session-Id": session,
		}})
	}
	const hello = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"contract","version":"1"}}}`
	a := send("all", hello).is(200)
	if !strings.Contains(string(a.body), `"protocolVersion":"2025-06-18"`) {
		t.Errorf("%s", a.body)
	}
	session = a.header.Get("Mcp-Session-Id")
	send("all", `{"jsonrpc":"2.0","method":"notifications/initialized"}`).is(202)
	list := string(send("all", `{"jsonrpc":"2.0","id":2,"method":"tools/list"}`).is(200).body)
	for _, tool := range []string{"ask_team", "tell_team", "ask_teams", "check_message", "cancel_message", "list_teams", "team_status"} {
		if !strings.Contains(list, `"name":"`+tool+`"`) {
			t.Errorf("there is no tool %s", tool)
		}
	}
	asked := send("all", `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"ask_team","arguments":{"team":"backend","question":"[[say from a tool]]"}}}`).is(200)
	if !strings.Contains(string(asked.body), "from a tool") {
		t.Errorf("%s", asked.body)
	}
	newest := s.do(req{path: "/messages/history?limit=1"}).is(200).json["messages"].([]any)[0].(map[string]any)
	if newest["from"] != "api" || newest["caller"] != "all" {
		t.Errorf("%v", newest)
	}
	send("-", hello).fails(401, "UNAUTHORIZED")
	q := s.request(req{path: "//mcp", body: hello})
	q.Header.Set("Origin", "https://evil.example")
	if res, err := client.Do(q); err != nil || res.StatusCode != 403 {
		t.Errorf("a foreign page: %v %v", res, err)
	}
}

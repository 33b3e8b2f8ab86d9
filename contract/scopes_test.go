//go:build contract

package contract_test

import (
	"slices"
	"strings"
	"testing"
)

// endpoint is a row of the contract: what is asked, and with which scopes.
type endpoint struct {
	method, path string
	body         string
	scopes       string // all of them, blank between; "own" in front for messages of the key itself
}

// endpoints ask for what there is not where an answer would change something: who may ask gets
// 404, who may not 403. MESSAGE is a message of somebody else.
var endpoints = []endpoint{
	{"POST", "/teams/backend/ask", `{"question":"q"}`, "teams:read messages:write"},
	{"POST", "/teams/backend/execute", `{"task":"t"}`, "teams:read messages:write"},
	{"POST", "/teams/backend/stream", `{"message":"m"}`, "teams:read messages:stream"},
	{"GET", "/teams/backend/stream?message=m", "", "teams:read messages:stream"},
	{"GET", "/messages/MESSAGE/stream", "", "messages:read messages:stream"},
	{"GET", "/messages/MESSAGE", "", "messages:read"},
	{"GET", "/messages/MESSAGE?wait=1", "", "messages:read"},
	{"POST", "/messages/MESSAGE/cancel", "", "messages:write"},
	{"GET", "/messages/history", "", "messages:read"},
	{"GET", "/teams", "", "teams:read"},
	{"GET", "/teams/backend/status", "", "teams:read"},
	{"GET", "/teams/backend", "", "teams:read"},
	{"POST", "/teams", `{"name":"new"}`, "teams:write"},
	{"PATCH", "/teams/nobody", `{"description":"d"}`, "teams:write"},
	{"DELETE", "/teams/nobody", "", "teams:delete"},
	{"GET", "/processes", "", "processes:read"},
	{"POST", "/teams/nobody/wake", "", "processes:manage"},
	{"POST", "/teams/nobody/sleep", "", "processes:manage"},
	{"POST", "/teams/nobody/restart", "", "processes:manage"},
	{"DELETE", "/processes/1", "", "processes:manage"},
	{"POST", "/messages/MESSAGE/resend", "", "messages:write"},
	{"GET", "/api-keys", "", "admin:*"},
	{"POST", "/api-keys", `{"name":"new"}`, "admin:*"},
	{"GET", "/api-keys/nobody", "", "admin:*"},
	{"DELETE", "/api-keys/nobody", "", "admin:*"},
	{"POST", "/api-keys/nobody/rotate", "", "admin:*"},
	{"GET", "/permissions", "", "processes:manage"},
}

// granted are the scopes of the design, and what stands for several.
var granted = []string{
	"teams:read", "teams:write", "teams:delete", "messages:read", "messages:write", "messages:stream",
	"processes:read", "processes:manage", "admin:*", "*", "teams:*", "messages:*", "processes:*",
	"teams:read messages:write", "teams:read messages:stream", "messages:read messages:stream", "teams:read teams:write",
}

// may is the rule: * and admin:* have all, x:* every x:…, teams:write includes messages:write
// and messages:stream.
func may(granted, needed string) bool {
	for want := range strings.FieldsSeq(needed) {
		if !slices.ContainsFunc(strings.Fields(granted), func(has string) bool {
			group, all := strings.CutSuffix(has, ":*")
			return has == want || has == "*" || has == "admin:*" || all && strings.HasPrefix(want, group+":") ||
				(has == "teams:write" || has == "teams:*") && (want == "messages:write" || want == "messages:stream")
		}) {
			return false
		}
	}
	return true
}

// TestScopes tries every endpoint with a key of each scope, on a message of somebody else.
func TestScopes(t *testing.T) {
	t.Parallel()
	s := start(t, func(config, api, teams map[string]any) {
		keys := api["auth"].(map[string]any)["keys"].([]any)
		for _, scopes := range granted {
			keys = append(keys, key(nameOf(scopes), strings.Fields(scopes)...))
		}
		api["auth"].(map[string]any)["keys"] = keys
	})
	message := s.ask("q").id("messageId")
	for _, e := range endpoints {
		path := strings.Replace(e.path, "MESSAGE", message, 1)
		r := req{method: e.method, path: path}
		if e.body != "" {
			r.body = e.body
		}
		for _, bad := range []string{"-", "unknown"} {
			r.key = bad
			if a := s.do(r).fails(401, "UNAUTHORIZED"); a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s: 401 without WWW-Authenticate", e.method, e.path)
			}
		}
		for _, scopes := range granted {
			r.key = nameOf(scopes)
			a := s.do(r)
			if may(scopes, e.scopes) {
				if a.status == 401 || a.status == 403 || a.status >= 500 {
					t.Errorf("%s %s with %s: %d %s", e.method, e.path, scopes, a.status, a.body)
				}
				continue
			}
			a.fails(403, "FORBIDDEN")
			if a.json["error"] != "Insufficient permissions" || join(a.json["required"]) != e.scopes || join(a.json["provided"]) != scopes {
				t.Errorf("%s %s with %s: %s", e.method, e.path, scopes, a.body)
			}
		}
	}
	for _, path := range []string{"//healthz", "//readyz", "//openapi.json", "//docs", "//"} {
		for _, k := range []string{"-", "unknown", "none"} {
			if a := s.do(req{path: path, key: k}); a.status >= 400 {
				t.Errorf("%s is not open: %d %s", path, a.status, a.body)
			}
		}
	}
}

func nameOf(scopes string) string {
	return "has-" + strings.NewReplacer(":", "-", " ", "_", "*", "all").Replace(scopes)
}

func join(v any) string {
	var all []string
	list, _ := v.([]any)
	for _, x := range list {
		all = append(all, x.(string))
	}
	return strings.Join(all, " ")
}

// TestOwnMessages: a key may always read, wait for, follow and cancel the messages that it sent.
func TestOwnMessages(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, k := range []string{"asker", "streamer"} {
		r := req{path: "/teams/backend/stream?message=q", key: k}
		var id string
		if k == "asker" {
			id = s.do(req{path: "/teams/backend/execute", body: `{"task":"q"}`, key: k}).is(202).id("messageId")
		} else {
			id = numbered(t, s.open(r).rest(), 1)
		}
		m := s.do(req{path: "/messages/" + id + "?wait=30000", key: k}).is(200)
		if m.json["response"] != "You said: q" {
			t.Errorf("%s", m.body)
		}
		s.open(req{path: "/messages/" + id + "/stream", key: k}).rest()
		s.do(req{method: "POST", path: "/messages/" + id + "/cancel", key: k}).is(200)
		s.do(req{path: "/messages/history", key: k}).fails(403, "FORBIDDEN")
		// Nobody else's, and what one may cancel and not read is shown without its texts.
		s.do(req{path: "/messages/" + id, key: "none"}).fails(403, "FORBIDDEN")
		if k == "streamer" {
			seen := s.do(req{method: "POST", path: "/messages/" + id + "/cancel", key: "asker"}).is(200)
			if seen.json["response"] != nil || seen.json["message"] != nil {
				t.Errorf("who may cancel reads %s", seen.body)
			}
		}
	}
}

// TestBoundKeys: a key of some teams knows no others.
func TestBoundKeys(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.do(req{path: "/teams/backend/ask", body: `{"question":"q"}`, key: "bound"}).is(200)
	theirs := s.do(req{path: "/teams/frontend/ask", body: `{"question":"q"}`}).is(200).id("messageId")
	for _, r := range []req{
		{path: "/teams/frontend/ask", body: `{"question":"q"}`}, {path: "/teams/frontend/execute", body: `{"task":"q"}`}, {path: "/teams/frontend/stream?message=q"},
		{path: "/teams/frontend/status"}, {path: "/messages/" + theirs}, {path: "/messages/" + theirs + "/stream"}, {path: "/messages/history?team=frontend"},
		{path: "/messages/" + theirs + "/cancel", method: "POST"}, {path: "/teams/frontend/wake", method: "POST"}, {path: "/teams/nobody/status"},
	} {
		r.key = "bound"
		s.do(r).fails(403, "FORBIDDEN")
	}
	teams := s.do(req{path: "/teams", key: "bound"}).is(200).json["teams"].([]any)
	if len(teams) != 1 || teams[0].(map[string]any)["name"] != "backend" {
		t.Errorf("it sees the teams %v", teams)
	}
	if total := s.do(req{path: "/messages/history", key: "bound"}).is(200).json["pagination"].(map[string]any)["total"]; total != 1.0 {
		t.Errorf("it sees %v messages", total)
	}
}

package httpapi_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// TestScopes tries every route with every key, on a message of somebody else. A route that is
// in the table of routes and not in this one fails the test.
func TestScopes(t *testing.T) {
	everybody := []string{"all", "admin", "local", "none", "ci", "reader", "writer", "asker", "streamer", "bound", "watcher", "operator"}
	tests := map[string]struct {
		path, body string
		allowed    []string
	}{
		"POST /api/v1/teams/{team}/ask":            {"/api/v1/teams/backend/ask", `{"question":"q"}`, []string{"all", "admin", "local", "ci", "asker", "streamer"}},
		"POST /api/v1/teams/{team}/execute":        {"/api/v1/teams/backend/execute", `{"task":"q"}`, []string{"all", "admin", "local", "ci", "asker", "streamer"}},
		"POST /api/v1/teams/{team}/stream":         {"/api/v1/teams/backend/stream", `{"message":"q"}`, []string{"all", "admin", "local", "ci", "streamer"}},
		"GET /api/v1/teams/{team}/stream":          {"/api/v1/teams/backend/stream?message=q", "", []string{"all", "admin", "local", "ci", "streamer"}},
		"GET /api/v1/teams":                        {"/api/v1/teams", "", []string{"all", "admin", "local", "ci", "reader", "asker", "streamer", "bound"}},
		"GET /api/v1/teams/{team}/status":          {"/api/v1/teams/backend/status", "", []string{"all", "admin", "local", "ci", "reader", "asker", "streamer"}},
		"GET /api/v1/messages/history":             {"/api/v1/messages/history", "", []string{"all", "admin", "local", "reader", "streamer", "bound"}},
		"GET /api/v1/messages/{messageId}":         {"/api/v1/messages/ID", "", []string{"all", "admin", "local", "reader", "streamer"}},
		"GET /api/v1/messages/{messageId}/stream":  {"/api/v1/messages/ID/stream", "", []string{"all", "admin", "local", "streamer"}},
		"POST /api/v1/messages/{messageId}/cancel": {"/api/v1/messages/ID/cancel", "", []string{"all", "admin", "local", "ci", "writer", "asker", "streamer"}},
		"POST /api/v1/messages/{messageId}/resend": {"/api/v1/messages/ID/resend", "", []string{"all", "admin", "local", "ci", "writer", "asker", "streamer"}},
		"POST /api/v1/teams":                       {"/api/v1/teams", `{"name":"new","path":"/n"}`, []string{"all", "admin", "local", "ci"}},
		"GET /api/v1/teams/{team}":                 {"/api/v1/teams/backend", "", []string{"all", "admin", "local", "ci", "reader", "asker", "streamer"}},
		"PATCH /api/v1/teams/{team}":               {"/api/v1/teams/backend", `{"description":"x"}`, []string{"all", "admin", "local", "ci"}},
		"DELETE /api/v1/teams/{team}":              {"/api/v1/teams/backend", "", []string{"all", "admin", "local"}},
		"GET /api/v1/processes":                    {"/api/v1/processes", "", []string{"all", "admin", "local", "watcher", "operator"}},
		"DELETE /api/v1/processes/{pid}":           {"/api/v1/processes/42", "", []string{"all", "admin", "local", "operator"}},
		"POST /api/v1/teams/{team}/wake":           {"/api/v1/teams/backend/wake", "", []string{"all", "admin", "local", "operator"}},
		"POST /api/v1/teams/{team}/sleep":          {"/api/v1/teams/backend/sleep", "", []string{"all", "admin", "local", "operator"}},
		"POST /api/v1/teams/{team}/restart":        {"/api/v1/teams/backend/restart", "", []string{"all", "admin", "local", "operator"}},
		"GET /api/v1/permissions":                  {"/api/v1/permissions", "", []string{"all", "admin", "local", "operator"}},
		"POST /api/v1/permissions/{permissionId}":  {"/api/v1/permissions/per_1", `{"decision":"deny"}`, []string{"all", "admin", "local", "operator"}},
		"GET /metrics":                             {"/metrics", "", []string{"all", "admin", "local", "watcher", "operator"}},
		"GET /api/v1/stream":                       {"/api/v1/stream", "", []string{"all", "admin", "local", "ci", "streamer", "bound"}},
		"GET /api/v1/api-keys":                     {"/api/v1/api-keys", "", []string{"all", "admin", "local"}},
		"POST /api/v1/api-keys":                    {"/api/v1/api-keys", `{"name":"new","scopes":["*"]}`, []string{"all", "admin", "local"}},
		"GET /api/v1/api-keys/{name}":              {"/api/v1/api-keys/old", "", []string{"all", "admin", "local"}},
		"DELETE /api/v1/api-keys/{name}":           {"/api/v1/api-keys/old", "", []string{"all", "admin", "local"}},
		"POST /api/v1/api-keys/{name}/rotate":      {"/api/v1/api-keys/old/rotate", "", []string{"all", "admin", "local"}},
		"GET /openapi.json":                        {"/openapi.json", "", append([]string{"-", "wrong"}, everybody...)},
		"GET /docs":                                {"/docs", "", append([]string{"-", "wrong"}, everybody...)},
		"GET /":                                    {"/", "", append([]string{"-", "wrong"}, everybody...)},
		"POST /mcp":                                {"/mcp", `{}`, everybody},
		"GET /healthz":                             {"/healthz", "", append([]string{"-", "wrong"}, everybody...)},
		"GET /readyz":                              {"/readyz", "", append([]string{"-", "wrong"}, everybody...)},
	}
	for route, scopes := range documented(t) {
		tt, ok := tests[route]
		if !ok {
			t.Errorf("%s is not tested", route)
			continue
		}
		method, _, _ := strings.Cut(route, " ")
		for _, key := range append([]string{"-", "wrong"}, everybody...) {
			t.Run(route+" with "+key, func(t *testing.T) {
				f := withTools(httpapi.Config{})
				f.keys.all["somebody"] = iris.Caller{Kind: iris.CallerKey, Name: "somebody", Scopes: []iris.Scope{iris.ScopeAll}}
				id := f.ask(t, "somebody", "backend", "q")
				f.stored = []iris.Key{{Name: "old"}}
				f.find(id).Callback = &iris.Callback{URL: "https://a.example"}
				w := f.do(call{method: method, path: strings.ReplaceAll(tt.path, "ID", id), body: tt.body, key: key})
				f.running.Wait()
				switch {
				case slices.Contains(tt.allowed, key):
					if w.Code >= 400 && w.Code != http.StatusUpgradeRequired { // there is no handshake here
						t.Errorf("refused: %d %s", w.Code, w.Body)
					}
				case key == "-" || key == "wrong":
					if e := errorOf(t, w.Body.Bytes()); w.Code != http.StatusUnauthorized || e.Code != "UNAUTHORIZED" || w.Header().Get("Www-Authenticate") == "" {
						t.Errorf("%d %s", w.Code, w.Body)
					}
				default:
					e := errorOf(t, w.Body.Bytes())
					if w.Code != http.StatusForbidden || e.Code != "FORBIDDEN" || !slices.Equal(e.Required, scopes) || e.Provided == nil {
						t.Errorf("%d %s, want FORBIDDEN that requires %v", w.Code, w.Body, scopes)
					}
				}
			})
		}
	}
}

// TestOwnMessages: a key may always read, wait for, follow and cancel what it sent.
func TestOwnMessages(t *testing.T) {
	f := newFront(httpapi.Config{})
	id := f.ask(t, "asker", "backend", "q")
	f.keys.all["none"] = iris.Caller{Kind: iris.CallerKey, Name: "asker"} // the same, without scopes
	for _, c := range []call{
		{path: "/api/v1/messages/" + id},
		{path: "/api/v1/messages/" + id + "?wait=10"},
		{path: "/api/v1/messages/" + id + "/stream"},
		{path: "/api/v1/messages/" + id + "/cancel", method: "POST"},
	} {
		c.key = "none"
		if w := f.do(c); w.Code != 200 || !strings.Contains(w.Body.String(), id) {
			t.Errorf("%s: %d %s", c.path, w.Code, w.Body)
		}
	}
	if w := f.do(call{path: "/api/v1/messages/" + id, key: "none"}); !strings.Contains(w.Body.String(), "We use Prisma.") {
		t.Errorf("its own message without the answer: %s", w.Body)
	}
}

// TestBoundKey: a key that is bound to teams knows no other.
func TestBoundKey(t *testing.T) {
	f := newFront(httpapi.Config{})
	f.ask(t, "all", "backend", "theirs")
	f.ask(t, "all", "frontend", "its own")
	get := func(path string, want int) string {
		t.Helper()
		w := f.do(call{path: path, key: "bound"})
		if w.Code != want {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, want)
		}
		return w.Body.String()
	}
	for _, path := range []string{"/api/v1/teams", "/api/v1/messages/history"} {
		if body := get(path, 200); strings.Contains(body, "backend") || strings.Contains(body, "theirs") || !strings.Contains(body, "frontend") {
			t.Errorf("%s: %s", path, body)
		}
	}
	if body := get("/api/v1/messages/history", 200); !strings.Contains(body, `"total":1`) {
		t.Errorf("the total counts other teams: %s", body)
	}
	get("/api/v1/teams/frontend/status", 200)
	get("/api/v1/teams/backend/status", 403)
	get("/api/v1/teams/nope/status", 403) // nor whether there is such a team
	get("/api/v1/messages/history?team=backend", 403)
	get("/api/v1/messages/history?to=backend", 403)
	get("/api/v1/messages/msg_00000000000000000000000001", 403)
	get("/api/v1/messages/msg_00000000000000000000000002", 200)
}

// documented is every route of the OpenAPI document with its scopes.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			Scopes []string `json:"x-scopes"`
		}
	}
	if err := json.Unmarshal(newFront(httpapi.Config{}).do(call{path: "/openapi.json"}).Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	routes := map[string][]string{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			routes[strings.ToUpper(method)+" "+path] = op.Scopes
		}
	}
	return routes
}

package httpapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/iris-mcp/iris-mcp/httpapi"
)

// TestBytes holds the bytes that clients rely on: run with -update, and read the difference.
func TestBytes(t *testing.T) {
	tests := []struct {
		name string
		call call
	}{
		{"ask", call{path: "/api/v1/teams/backend/ask", body: `{"question":"What <database> & why?","sessionId":"github:acme/api#123"}`}},
		{"ask-failed", call{path: "/api/v1/teams/backend/ask", body: `{"question":"fail"}`, key: "asker"}},
		{"ask-failed-private", call{path: "/api/v1/teams/backend/ask", body: `{"question":"fail"}`}},
		{"ask-cancelled", call{path: "/api/v1/teams/backend/ask", body: `{"question":"cancel"}`}},
		{"ask-timeout", call{path: "/api/v1/teams/backend/ask", body: `{"question":"never","timeout":1}`}},
		{"ask-no-team", call{path: "/api/v1/teams/backnd/ask", body: `{"question":"q"}`}},
		{"ask-problems", call{path: "/api/v1/teams/backend/ask", body: `{"timeout":0,"context":{"zzz":1},"priority":"urgent"}`}},
		{"execute", call{path: "/api/v1/teams/backend/execute", body: `{"task":"npm audit","priority":"high"}`}},
		{"execute-no-estimate", call{path: "/api/v1/teams/frontend/execute", body: `{"task":"npm audit"}`}},
		{"execute-callback", call{path: "/api/v1/teams/backend/execute", body: `{"task":"t","callback":{"url":"https://example.com/hook?token=1","method":"PUT","headers":{"Authorization":"Bearer webhook-secret"}}}`}},
		{"execute-callback-bad", call{path: "/api/v1/teams/backend/execute", body: `{"task":"t","callback":{"method":"GET","headers":{"A":1},"secret":"x"}}`}},
		{"message-delivery", call{path: "/api/v1/messages/msg_00000000000000000000000004"}},
		{"message-delivery-others", call{path: "/api/v1/messages/msg_00000000000000000000000004", key: "reader"}},
		{"message-delivery-unread", call{method: "POST", path: "/api/v1/messages/msg_00000000000000000000000004/resend", key: "writer"}},
		{"stream", call{path: "/api/v1/teams/backend/stream", body: `{"message":"work","stream":true}`}},
		{"stream-failed", call{path: "/api/v1/teams/backend/stream", body: `{"message":"fail"}`, key: "streamer"}},
		{"stream-whole", call{path: "/api/v1/teams/backend/stream", body: `{"message":"work","stream":false}`}},
		{"stream-get", call{path: "/api/v1/teams/backend/stream?message=work&sessionId=mine"}},
		{"message", call{path: "/api/v1/messages/job_00000000000000000000000001"}},
		{"message-failed", call{path: "/api/v1/messages/msg_00000000000000000000000002"}},
		{"message-queued", call{path: "/api/v1/messages/msg_00000000000000000000000003"}},
		{"message-unknown", call{path: "/api/v1/messages/msg_nope"}},
		{"message-stream", call{path: "/api/v1/messages/msg_00000000000000000000000001/stream?after=7"}},
		{"cancel", call{method: "POST", path: "/api/v1/messages/msg_00000000000000000000000003/cancel"}},
		{"cancel-unread", call{method: "POST", path: "/api/v1/messages/msg_00000000000000000000000001/cancel", key: "writer"}},
		{"history", call{path: "/api/v1/messages/history?limit=2"}},
		{"history-search", call{path: "/api/v1/messages/history?q=work"}},
		{"history-bad", call{path: "/api/v1/messages/history?limit=201&query=x&page=0&status=done"}},
		{"teams", call{path: "/api/v1/teams"}},
		{"teams-unprivileged", call{path: "/api/v1/teams", key: "asker"}},
		{"status", call{path: "/api/v1/teams/backend/status", key: "asker"}},
		{"status-error", call{path: "/api/v1/teams/frontend/status"}},
		{"processes", call{path: "/api/v1/processes", key: "watcher"}},
		{"kill", call{path: "/api/v1/processes/42", method: "DELETE", key: "operator"}},
		{"permissions", call{path: "/api/v1/permissions"}},
		{"permissions-forbidden", call{path: "/api/v1/permissions", key: "asker"}},
		{"decide", call{path: "/api/v1/permissions/per_1", body: `{"decision":"deny","message":"not on a Sunday"}`}},
		{"decide-unknown", call{path: "/api/v1/permissions/per_2", body: `{"decision":"allow"}`}},
		{"decide-forbidden", call{path: "/api/v1/permissions/per_1", body: `{"decision":"allow"}`, key: "asker"}},
		{"decide-problems", call{path: "/api/v1/permissions/per_1", body: `{"decision":"maybe"}`}},
		{"decide-answers", call{path: "/api/v1/permissions/per_1", body: `{"decision":"allow","answers":{"Why?":"x"}}`}},
		{"unauthorized", call{path: "/api/v1/teams", key: "-"}},
		{"invalid-key", call{path: "/api/v1/teams", key: "iris_sk_wrong"}},
		{"forbidden", call{path: "/api/v1/teams/backend/ask", body: `{"question":"q"}`, key: "reader"}},
		{"forbidden-team", call{path: "/api/v1/teams/backend/ask", body: `{"question":"q"}`, key: "bound"}},
		{"not-found", call{path: "/api/v1/nothing", key: "-"}},
		{"not-allowed", call{method: "DELETE", path: "/api/v1/teams/backend/stream"}},
		{"healthz", call{path: "/healthz", key: "-"}},
		{"readyz", call{path: "/readyz", key: "-"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(httpapi.Config{})
			f.ask(t, "all", "backend", "work")
			f.ask(t, "all", "backend", "fail")
			f.ask(t, "local", "frontend", "never")
			if strings.HasPrefix(tt.name, "message-delivery") {
				f.do(call{path: "/api/v1/teams/backend/execute", body: `{"task":"t","callback":{"url":"https://example.com/hook?token=1","headers":{"Authorization":"Bearer webhook-secret"}}}`})
				f.running.Wait()
			}
			tt.call.header = http.Header{"X-Request-Id": {"req-of-the-test"}}
			w := f.do(tt.call)
			f.running.Wait()

			var got strings.Builder
			fmt.Fprintln(&got, w.Code)
			for _, k := range slices.Sorted(maps.Keys(w.Header())) {
				fmt.Fprintf(&got, "%s: %s\n", k, strings.Join(w.Header()[k], ", "))
			}
			fmt.Fprintf(&got, "\n%s", w.Body)
			golden(t, tt.name+".golden", got.String())
		})
	}
}

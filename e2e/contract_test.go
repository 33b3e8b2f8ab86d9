//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/iris-mcp/iris-mcp/internal/drive"
)

// TestTheContractOnTheRealCLI is a short pass of what contract/ walks at length on the scripted
// CLI: what the answers and events are made of comes from the real one here.
func TestTheContractOnTheRealCLI(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		r.team.Env["CLAUDE_CODE_ENABLE_TODO_TOOLS"] = "1" // 2.1.330 offers these tools to some models only
		s := r.serve("backend")
		if err := os.WriteFile(filepath.Join(r.team.Path, "backend", "notes.md"), []byte("the notes\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		post := func(path string, body map[string]any, want int) map[string]any {
			t.Helper()
			var out map[string]any
			if status, err := s.JSON(t.Context(), "POST", path, body, &out); err != nil || status != want {
				t.Fatalf("%s: %d %v %v", path, status, err, out)
			}
			return out
		}
		get := func(path string) map[string]any {
			t.Helper()
			var out map[string]any
			if status, err := s.JSON(t.Context(), "GET", path, nil, &out); err != nil || status != http.StatusOK {
				t.Fatalf("%s: %d %v %v", path, status, err, out)
			}
			return out
		}

		// Ask: the answer, the files and the tools, tokens and cost.
		const reads = `[[tool Read {"file_path":"notes.md"}]][[say read it]]`
		a := post("/teams/backend/ask", map[string]any{"question": reads, "sessionId": "one"}, http.StatusOK)
		metadata := a["metadata"].(map[string]any)
		if a["response"] != "read it" || fmt.Sprint(metadata["toolsUsed"]) != "[Read]" || fmt.Sprint(metadata["filesAccessed"]) != "[notes.md]" || metadata["turns"] != 2.0 {
			t.Errorf("%v", a)
		}
		if usage := metadata["usage"].(map[string]any); usage["outputTokens"].(float64) <= 0 || metadata["model"] == nil {
			t.Errorf("%v", metadata)
		}

		// Execute, and the message that becomes of it.
		job := post("/teams/backend/execute", map[string]any{"task": "[[say First.\n\nSecond.]]"}, http.StatusAccepted)
		m := get("/messages/" + job["jobId"].(string) + "?wait=60000")
		if result := m["result"].(map[string]any); m["status"] != "completed" || result["summary"] != "First." || result["details"] != "First.\n\nSecond." {
			t.Errorf("%v", m)
		}

		// Stream: the order of events, and their data.
		var names, text []string
		if err := s.Stream(t.Context(), "POST", "/teams/backend/stream", map[string]any{"message": reads}, func(e drive.Event) {
			if len(names) == 0 || names[len(names)-1] != e.Name {
				names = append(names, e.Name)
			}
			var data map[string]any
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Error(err)
			}
			switch e.Name {
			case "chunk":
				text = append(text, data["text"].(string))
			case "tool_use":
				if data["tool"] != "Read" || data["file"] != "notes.md" {
					t.Errorf("%s", e.Data)
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(names, " "); got != "start tool_use tool_result chunk complete" || strings.Join(text, "") != "read it" {
			t.Errorf("%s: %q", got, text)
		}

		// A permission that is given over HTTP, and progress from the agent's own list.
		var seen []string
		list := `[[tool TaskCreate {"subject":"a","description":"a","activeForm":"a"}]][[tool TaskCreate {"subject":"b","description":"b","activeForm":"b"}]][[tool TaskUpdate {"taskId":"1","status":"completed"}]]`
		if err := s.Stream(t.Context(), "POST", "/teams/backend/stream", map[string]any{
			"message": `[[tool Bash {"command":"touch made","description":"make a file"}]]` + list + `[[say done]]`,
		}, func(e drive.Event) {
			var data map[string]any
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Error(err)
			}
			switch e.Name {
			case "permission":
				seen = append(seen, fmt.Sprint(data["tool"], " ", data["decision"]))
				if data["decision"] == nil {
					post("/permissions/"+data["id"].(string), map[string]any{"decision": "allow"}, http.StatusOK)
				}
			case "progress":
				seen = append(seen, fmt.Sprint(data["current"], " of ", data["total"]))
			case "complete":
				m := get("/messages/" + data["messageId"].(string))
				if m["progress"].(map[string]any)["percentage"] != 50.0 {
					t.Errorf("%v", m)
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(seen, ", "); got != "Bash <nil>, Bash allow, 0 of 1, 0 of 2, 1 of 2" {
			t.Errorf("permissions and progress were %s", got)
		}
		if !r.exists("backend/made") {
			t.Error("what was allowed was not done")
		}

		// WebSocket: chunks, a cancel that the process survives, and the next answer from it.
		conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+"/api/v1/stream", &websocket.DialOptions{
			Subprotocols: []string{"iris.v1", "iris.key." + s.Key},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		send := func(frame map[string]any) {
			t.Helper()
			data, _ := json.Marshal(frame)
			if err := conn.Write(t.Context(), websocket.MessageText, data); err != nil {
				t.Fatal(err)
			}
		}
		until := func(kind string) map[string]any {
			t.Helper()
			for {
				_, data, err := conn.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var f map[string]any
				if err := json.Unmarshal(data, &f); err != nil {
					t.Fatal(err)
				}
				if f["type"] == kind {
					return f
				}
				if f["type"] == "error" {
					t.Fatalf("%s", data)
				}
			}
		}
		send(map[string]any{"type": "message", "team": "backend", "message": "[[pace 100ms]][[say " + strings.Repeat("word ", 300) + "]]", "sessionId": "one"})
		id := until("start")["messageId"]
		until("chunk")
		send(map[string]any{"type": "cancel", "messageId": id})
		if e := until("error"); e["code"] != "CANCELLED" || e["messageId"] != id {
			t.Errorf("%v", e)
		}
		pid := func() any {
			for _, p := range get("/teams/backend/status")["processes"].([]any) {
				if p := p.(map[string]any); p["sessionId"] != nil && p["from"] == "local" && p["messages"].(float64) >= 1 {
					return p["pid"]
				}
			}
			return nil
		}
		before := pid()
		send(map[string]any{"type": "message", "team": "backend", "message": "[[say still here]]", "sessionId": "one"})
		if f := until("complete"); f["response"] != "still here" || pid() != before {
			t.Errorf("%v, by the process %v, before %v", f, pid(), before)
		}

		// What the CLI cannot do is an error that says so.
		failed := post("/teams/backend/ask", map[string]any{"question": "[[fail 400 no such thing]]"}, http.StatusInternalServerError)
		if details := failed["details"].(map[string]any); failed["code"] != "PROCESS_ERROR" || details["apiStatus"] != 400.0 || details["messageId"] == nil {
			t.Errorf("%v", failed)
		}
	})
}

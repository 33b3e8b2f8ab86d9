//go:build e2e

package e2e_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestATeamIsAskedOverMCP(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		s := r.serve("backend", "frontend")
		res, err := s.MCP.Call("ask_team", map[string]any{"team": "backend", "question": "[[say Hello over MCP.]]"})
		if err != nil || res.IsError || !strings.Contains(res.Text, "Hello over MCP.") {
			t.Errorf("%v: %+v", err, res)
		}
		// A second iris-mcp, in the frontend's folder, relays to the first and is that team.
		relay, err := s.Relay(t.Context(), filepath.Join(r.team.Path, "frontend"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := relay.Close(); err != nil {
				t.Error(err)
			}
		}()
		res, err = relay.Call("ask_team", map[string]any{"team": "backend", "question": "[[say Hello through a relay.]]"})
		if err != nil || res.IsError || !strings.Contains(res.Text, "Hello through a relay.") {
			t.Errorf("%v: %+v", err, res)
		}
		asked := r.model.Requests()
		if text := asked[len(asked)-1].Text; !strings.HasPrefix(text, "Message through Iris from team frontend:") {
			t.Errorf("the backend was asked by %.60q", text)
		}
	})
}

// The main job: a real Claude Code in one project asks the team of another through Iris.
func TestClaudeCodeAsksATeamThroughIris(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		s := r.serve("backend", "frontend")
		servers, err := json.Marshal(map[string]any{"mcpServers": map[string]any{"iris": map[string]any{
			"command": s.opts.Binary, "args": []string{"serve", "--home", s.opts.Home, "--config", filepath.Join(s.opts.Home, "iris-config.yaml")},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), r.team.ClaudePath, "-p", "--mcp-config", string(servers), "--allowedTools", "mcp__iris__ask_team", "--",
			`Please. [[tool mcp__iris__ask_team {"team":"backend","question":"What is this project?"}]][[say They say: {result}]]`)
		cmd.Dir, cmd.Env = filepath.Join(r.team.Path, "frontend"), r.model.Env(t.TempDir())
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "They say: ") || !strings.Contains(string(out), "This is the backend project.") {
			t.Errorf("%v: %s", err, out)
		}
		var history struct {
			Messages []struct{ From, To, Status string }
		}
		if _, err := s.JSON(t.Context(), "GET", "/messages/history", nil, &history); err != nil || len(history.Messages) != 1 ||
			history.Messages[0].From != "frontend" || history.Messages[0].To != "backend" || history.Messages[0].Status != "completed" {
			t.Errorf("%v: history %+v", err, history)
		}
	})
}

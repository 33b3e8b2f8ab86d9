//go:build e2e

package e2e_test

import (
	"slices"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
)

func TestTheAgentsOwnListIsItsProgress(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		r.team.Env["CLAUDE_CODE_ENABLE_TODO_TOOLS"] = "1" // 2.1.330 offers these tools to some models only
		o := r.fresh().answer(
			`[[tool TaskCreate {"subject":"Read the notes","description":"all of them","activeForm":"Reading"}]]` +
				`[[tool TaskCreate {"subject":"Say what they say","description":"briefly","activeForm":"Saying"}]]` +
				`[[tool TaskUpdate {"taskId":"1","status":"in_progress"}]]` +
				`[[tool TaskUpdate {"taskId":"1","status":"completed"}]][[say Half done.]]`)
		var told []iris.Progress
		for _, e := range o.of(iris.EventProgress) {
			told = append(told, *e.Progress)
		}
		if want := []iris.Progress{{Current: 0, Total: 1}, {Current: 0, Total: 2}, {Current: 1, Total: 2}}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v; the answer is %q, the tools %v", told, want, o.Text, o.Metadata.ToolsUsed)
		}
	})
}

package agent

import (
	"os"
	"os/exec"
	"slices"
	"strings"

	iris "github.com/iris-mcp/iris-mcp"
)

// command is the CLI as it is started, in the team's folder. Only the team's configuration
// and the conversation's id come into it: no word of a caller is ever an argument.
func command(team iris.Team, agentID string, resume bool) (*exec.Cmd, error) {
	if dir, err := os.Stat(team.Path); err != nil || !dir.IsDir() {
		return nil, noFolder(team, err)
	}
	path, err := exec.LookPath(team.ClaudePath)
	if err != nil {
		return nil, notExecutable(team, err)
	}
	cmd := exec.Command(path, arguments(team, agentID, resume)...)
	cmd.Dir = team.Path
	cmd.Env = environment(os.Environ(), team)
	return cmd, nil
}

func arguments(team iris.Team, agentID string, resume bool) []string {
	args := []string{
		"-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose",
		"--include-partial-messages", "--replay-user-messages", "--permission-prompt-tool", "stdio",
	}
	// The tools that Iris serves to its teams are announced here, by --mcp-config.
	if resume {
		args = append(args, "--resume", agentID)
	} else {
		args = append(args, "--session-id", agentID)
	}
	// Values are joined to their options: --allowedTools takes every argument up to the next
	// that begins with a dash, and one that does would be an option of its own (seen with
	// 2.1.197 and 2.1.330). Given again, it adds to what it has.
	option := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				args = append(args, name+"="+v)
			}
		}
	}
	option("--model", team.Model)
	option("--permission-mode", team.PermissionMode)
	option("--append-system-prompt", team.AppendSystemPrompt)
	option("--allowedTools", team.AllowedTools...)
	option("--disallowedTools", team.DisallowedTools...)
	return args
}

// removed are the variables that tell a CLI that it runs inside another one, whose child
// Iris may be. All others pass: they say who pays.
var removed = []string{
	"CLAUDECODE", "CLAUDE_CODE_SESSION_ID", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT", "CLAUDE_PROJECT_DIR",
	"PWD", // is another here
}

// environment is what the CLI gets of ours, then what Iris sets, then the team's own, which
// wins. Nothing that begins with IRIS_, and no secret of Iris, passes but by the team's own.
func environment(ours []string, team iris.Team) []string {
	env := slices.DeleteFunc(slices.Clone(ours), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "IRIS_") || slices.Contains(removed, name) || slices.Contains(team.Withheld, name)
	})
	env = append(env,
		"PWD="+team.Path,
		"CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS=1", // says when it is idle
		"CLAUDE_CODE_MAX_RETRIES=3",               // of a failed model call; ten take minutes
		"DISABLE_AUTOUPDATER=1",
	)
	for name, value := range team.Env {
		env = append(env, name+"="+value)
	}
	return env
}

package doctor

import (
	"cmp"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/iris-mcp/iris-mcp"
)

// payerVariables are those that decide who pays, in the order in which Claude Code heeds
// them; after all of them comes the login of "claude /login". See
// https://code.claude.com/docs/en/authentication, "Authentication precedence".
var payerVariables = []struct{ name, payer string }{
	{"CLAUDE_CODE_USE_BEDROCK", "Amazon Bedrock"},
	{"CLAUDE_CODE_USE_VERTEX", "Google Vertex AI"},
	{"CLAUDE_CODE_USE_FOUNDRY", "Microsoft Foundry"},
	{"ANTHROPIC_AUTH_TOKEN", "a bearer token"},
	{"ANTHROPIC_API_KEY", "an Anthropic API key"},
	{"CLAUDE_CODE_OAUTH_TOKEN", "a Claude subscription's token"},
}

// payers says what pays for the teams: the source, never what is in it.
func (d *Doctor) payers() []Finding {
	var found []Finding
	if len(d.Teams) == 0 || slices.ContainsFunc(d.Teams, func(t iris.Team) bool { return !decides(t) }) {
		found = append(found, d.payer("who pays", nil))
	}
	for _, t := range d.Teams {
		if decides(t) {
			found = append(found, d.payer("who pays for "+t.Name, t.Env))
		}
	}
	return found
}

// decides reports whether the team's own variables change who pays.
func decides(t iris.Team) bool {
	names := []string{"ANTHROPIC_BASE_URL", "CLAUDE_CONFIG_DIR", "HOME"}
	for _, v := range payerVariables {
		names = append(names, v.name)
	}
	for _, name := range names {
		if _, ok := t.Env[name]; ok {
			return true
		}
	}
	return false
}

// payer finds the source for a process with these variables beside ours.
func (d *Doctor) payer(subject string, env map[string]string) Finding {
	get := func(name string) string {
		if value, ok := env[name]; ok {
			return value
		}
		return d.Getenv(name)
	}
	where := func(name string) string {
		if _, ok := env[name]; ok {
			return name + " of the team's env"
		}
		return name + " in the environment"
	}
	var elsewhere string
	if get("ANTHROPIC_BASE_URL") != "" {
		elsewhere = "; the model is at another address (" + where("ANTHROPIC_BASE_URL") + ")"
	}
	for _, v := range payerVariables {
		if value := get(v.name); value == "" || strings.HasPrefix(v.name, "CLAUDE_CODE_USE_") && (value == "0" || value == "false") {
			continue
		}
		return Finding{subject, OK, v.payer + ": " + where(v.name) + elsewhere, ""}
	}
	login := filepath.Join(cmp.Or(get("CLAUDE_CONFIG_DIR"), filepath.Join(get("HOME"), ".claude")), ".credentials.json")
	if _, err := os.Stat(login); err == nil {
		return Finding{subject, OK, "the login of Claude Code: " + login + elsewhere, ""}
	}
	if runtime.GOOS == "darwin" {
		return Finding{subject, OK, "no variable: the login of Claude Code, if the keychain has one" + elsewhere, ""}
	}
	return Finding{subject, Warn, "found neither a login of Claude Code nor a variable that names a payer" + elsewhere, `run "claude" and type /login, or set ANTHROPIC_API_KEY where Iris is started`}
}

package model_test

import (
	"strings"
	"testing"

	"github.com/iris-mcp/iris-mcp/internal/model"
)

const claudeMD = `<system-reminder>
As you answer the user's questions, you can use the following context:
# claudeMd
Contents of /p/backend/CLAUDE.md (project instructions, checked into the codebase):

# Backend

- API versions: v1 (deprecated), v2
- Deploys run on Tuesdays.

## How errors look
Every error has a code.
It never has a stack trace.
# currentDate
Today's date is 2026-11-22.
</system-reminder>
`

func TestTheDefaultAnswerComesFromTheProject(t *testing.T) {
	for question, want := range map[string]string{
		"Which API version do you support?":   "API versions: v1 (deprecated), v2",
		"When is a deploy?":                   "Deploys run on Tuesdays.",
		"What do your errors look like?":      "Every error has a code. It never has a stack trace.",
		"What about Tuesday's date of today?": "Deploys run on Tuesdays.",
	} {
		k := &talk{t: t, s: start(t, model.Options{})}
		k.messages = []any{msg("user", []any{map[string]any{"type": "text", "text": claudeMD}, map[string]any{"type": "text", "text": question}})}
		if a := k.send(false); a.Text != "You asked: “"+question+"”. This project's CLAUDE.md says: "+want {
			t.Errorf("%s: %s", question, a.Text)
		}
	}
}

func TestRules(t *testing.T) {
	script, err := model.ParseScript([]byte(`
rules:
  - match: '(?i)^which (?P<what>\w+) versions'
    project: '(?i)versions: (?P<list>.+)'
    reply: 'For {what}: {list}'
  - match: '^call (?P<who>.+)$'
    tools: [mcp__iris__ask_team]
    reply: 'One moment. [[tool mcp__iris__ask_team {"team":"{who}"}]] They say: {result}'
  - match: '^call'
    reply: '[[fail 503 nobody there]]Nobody.'
`))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, model.Options{Script: script})
	with := func(tools ...string) *talk { return &talk{t: t, s: s, tools: tools} }

	k := with()
	k.messages = []any{msg("user", claudeMD)}
	if a := k.ask("Which API versions are there?"); a.Text != "For API: v1 (deprecated), v2" {
		t.Errorf("with a project: %+v", a)
	}
	if a := with().ask("Which API versions are there?"); !strings.HasPrefix(a.Text, "You asked:") {
		t.Errorf("without a project: %+v", a)
	}
	if a := with().ask("call home"); a.Status != 503 {
		t.Errorf("without the tool: %+v", a)
	}
	k = with("mcp__iris__ask_team")
	a := k.ask(`call "x" {result} [[say`)
	if a.Text != "One moment." || string(a.Tools[0].Input) != `{"team":"\"x\" {result} [[say"}` {
		t.Errorf("with the tool: %+v %s", a, a.Tools)
	}
	if a := k.result(a, "hello"); a.Text != "They say: hello" {
		t.Errorf("after the tool: %+v", a)
	}
	if a := with().ask("call home [[say a marker wins]]"); a.Text != "a marker wins" {
		t.Errorf("with a marker: %+v", a)
	}

	// A tool that the CLI holds back is loaded first.
	k = with("ToolSearch")
	k.messages = []any{msg("user", "<system-reminder>Deferred tools:\nmcp__iris__ask_team\n</system-reminder>")}
	a = k.ask("call home")
	if len(a.Tools) != 1 || a.Tools[0].Name != "ToolSearch" || !strings.Contains(string(a.Tools[0].Input), "select:mcp__iris__ask_team") {
		t.Fatalf("a deferred tool: %+v", a)
	}
	k.tools = append(k.tools, "mcp__iris__ask_team")
	if a = k.result(a, ""); a.Text != "One moment." || a.Tools[0].Name != "mcp__iris__ask_team" {
		t.Errorf("once loaded: %+v", a)
	}
	if a = k.result(a, "hello"); a.Text != "They say: hello" {
		t.Errorf("after the loaded tool: %+v", a)
	}
}

func TestABadScriptSaysWhere(t *testing.T) {
	for text, want := range map[string]string{
		"rules: [{match: '(', reply: x}]":             "rule 1: match: error parsing regexp",
		"rules: [{match: a, reply: b}, {match: a}]":   "rule 2: a rule needs match and reply",
		"rules: [{match: a, reply: '[[fail x]]'}]":    "rule 1: reply: [[fail x]]",
		"rules: [{match: a, project: '(', reply: x}]": "rule 1: project:",
		"rules: [{match: a, reply: x, tool: [Read]}]": "field tool not found",
		"rules: 7": "line 1",
	} {
		if _, err := model.ParseScript([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestTheDemoAsksTheOtherTeam(t *testing.T) {
	for question, want := range map[string]string{
		"Ask the backend team which API versions they support": `{"team":"backend","question":"which API versions they support"}`,
		"ask backend: what is new?":                            `{"team":"backend","question":"what is new?"}`,
		"Ask the backend team about deploys":                   `{"team":"backend","question":"deploys"}`,
	} {
		k := &talk{t: t, s: start(t, model.Options{Script: model.Demo()}), tools: []string{"mcp__iris__ask_team"}}
		a := k.ask(question)
		if len(a.Tools) != 1 || string(a.Tools[0].Input) != want {
			t.Errorf("%s: %s", question, a.Tools)
		}
	}
}

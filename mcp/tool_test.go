package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/mcp"
)

func TestWhatGoesWrongIsAnErrorThatHelps(t *testing.T) {
	reader := iris.Caller{Kind: iris.CallerKey, Name: "ci", Scopes: []iris.Scope{iris.ScopeTeamsRead}}
	bound := iris.Caller{Kind: iris.CallerKey, Name: "ci", Scopes: []iris.Scope{iris.ScopeAll}, Teams: []string{"ops"}}
	for _, tt := range []struct {
		name            string
		who             iris.Caller
		tool, arguments string
		code            iris.Code
		says            string
	}{
		{"no team", local, "ask_team", `{"question":"hello"}`, iris.CodeInvalidRequest, `"team" is missing. ask_team takes team, question; optional: timeout, sessionId`},
		{"nothing at all", local, "ask_team", `null`, iris.CodeInvalidRequest, `"team" is missing; "question" is missing`},
		{"null is absent", local, "ask_team", `{"team":null,"question":"hello"}`, iris.CodeInvalidRequest, `"team" is missing`},
		{"a list of arguments", local, "ask_team", `["backend","hello"]`, iris.CodeInvalidRequest, "the arguments of ask_team are a JSON object: team, question"},
		{"an unknown argument", local, "ask_team", `{"team":"backend","question":"hello","zzz":1}`, iris.CodeInvalidRequest, `"zzz" is not an argument of ask_team`},
		{"an argument in capitals", local, "ask_team", `{"team":"backend","QUESTION":"hello"}`, iris.CodeInvalidRequest, `"question" is missing; "QUESTION" is not an argument`},
		{"a blank question", local, "ask_team", `{"team":"backend","question":" \n"}`, iris.CodeInvalidRequest, `"question" is empty`},
		{"a number for a text", local, "ask_team", `{"team":7,"question":"hello"}`, iris.CodeInvalidRequest, `"team" must be text, not 7`},
		{"a text for a number", local, "ask_team", `{"team":"backend","question":"hello","timeout":"5s"}`, iris.CodeInvalidRequest, `"timeout" must be a whole number of milliseconds, not text`},
		{"no patience", local, "ask_team", `{"team":"backend","question":"hello","timeout":0}`, iris.CodeInvalidRequest, `"timeout" must be from 1 to 86400000`},
		{"too much patience", local, "ask_team", `{"team":"backend","question":"hello","timeout":86400001}`, iris.CodeInvalidRequest, `"timeout" must be from 1 to 86400000`},
		{"half a millisecond", local, "check_message", `{"messageId":"msg_1","wait":0.5}`, iris.CodeInvalidRequest, `"wait" must be a whole number`},
		{"an unknown priority", local, "tell_team", `{"team":"backend","message":"x","priority":"urgent"}`, iris.CodeInvalidRequest, `"priority" must be one of low, normal, high, not "urgent"`},
		{"no teams", local, "ask_teams", `{"teams":[],"question":"hello"}`, iris.CodeInvalidRequest, `"teams" is an empty list`},
		{"teams that are no texts", local, "ask_teams", `{"teams":["ops",7],"question":"hello"}`, iris.CodeInvalidRequest, `"teams" has an item 2 that must be text, not 7`},
		{"an argument where there are none", local, "list_teams", `{"team":"x"}`, iris.CodeInvalidRequest, `list_teams takes no arguments`},
		{"an unknown team", local, "ask_team", `{"team":"backnd","question":"hello"}`, iris.CodeTeamNotFound, "did you mean \"backend\"?\nCall list_teams for the names."},
		{"an unknown team to tell", local, "tell_team", `{"team":"backnd","message":"hello"}`, iris.CodeTeamNotFound, "did you mean"},
		{"the state of an unknown team", local, "team_status", `{"team":"backnd"}`, iris.CodeTeamNotFound, "did you mean"},
		{"an unknown message", local, "check_message", `{"messageId":"msg_77"}`, iris.CodeMessageNotFound, "Check the message id."},
		{"an unknown message to cancel", local, "cancel_message", `{"messageId":"msg_77"}`, iris.CodeMessageNotFound, "Check the message id."},
		{"a team that asks itself", frontend, "ask_team", `{"team":"frontend","question":"hello"}`, iris.CodeInvalidRequest, `you are team "frontend"`},
		{"a team that tells itself", frontend, "tell_team", `{"team":"frontend","message":"hello"}`, iris.CodeInvalidRequest, `you are team "frontend"`},
		{"an unknown team to wake", local, "wake_team", `{"team":"backnd"}`, iris.CodeTeamNotFound, "did you mean"},
		{"an unknown team to put to sleep", local, "sleep_team", `{"team":"backnd"}`, iris.CodeTeamNotFound, "did you mean"},
		{"nobody to wake", local, "wake_team", `{}`, iris.CodeInvalidRequest, `"team" is missing`},
		{"a key that may not wake", reader, "wake_team", `{"team":"backend"}`, iris.CodeForbidden, "lacks the scope processes:manage"},
		{"a key of other teams that wakes", bound, "wake_team", `{"team":"backend"}`, iris.CodeForbidden, `may not reach team "backend"`},
		{"a key of other teams that puts to sleep", bound, "sleep_team", `{"team":"backend"}`, iris.CodeForbidden, `may not reach team "backend"`},
		{"a process that dies", local, "ask_team", `{"team":"backend","question":"fail"}`, iris.CodeProcess, "PROCESS_ERROR: the Claude Code process died (message msg_1)\nTell the user"},
		{"a key that may not write", reader, "ask_team", `{"team":"backend","question":"hello"}`, iris.CodeForbidden, "lacks the scope messages:write"},
		{"a key of other teams", bound, "ask_team", `{"team":"backend","question":"hello"}`, iris.CodeForbidden, `may not reach team "backend"`},
		{"the state of another key's team", bound, "team_status", `{"team":"backend"}`, iris.CodeForbidden, `may not reach team "backend"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			r := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), tt.who).tool(tt.tool, tt.arguments)
			if !r.IsError || r.code() != tt.code || !strings.Contains(r.text(), tt.says) {
				t.Errorf("got %q (error: %t)\nwant %s and %q", r.text(), r.IsError, tt.code, tt.says)
			}
			if !strings.HasPrefix(r.text(), string(tt.code)+": ") || r.Structured.Error.Message == "" {
				t.Errorf("%q does not begin with its code, or is not structured", r.text())
			}
		})
	}
}

func TestAskTeamsIsAnErrorOnlyIfNobodyAnswers(t *testing.T) {
	bound := iris.Caller{Kind: iris.CallerKey, Name: "ci", Scopes: []iris.Scope{iris.ScopeAll}, Teams: []string{"ops"}}
	for _, tt := range []struct {
		name      string
		who       iris.Caller
		arguments string
		isError   bool
		says      []string
	}{
		{"all", local, `{"teams":"*","question":"hello"}`, false, []string{"3 of 3 teams answered", "## backend\nbackend says: hello", "## ops\n"}},
		{"all but itself", frontend, `{"teams":["*"],"question":"hello"}`, false, []string{"2 of 2 teams answered"}},
		{"all that a key reaches", bound, `{"teams":"*","question":"hello"}`, false, []string{"1 of 1 teams answered"}},
		{"a single one", local, `{"teams":"ops","question":"hello"}`, false, []string{"1 of 1 teams answered"}},
		{"one of two", local, `{"teams":["ops","backnd"],"question":"hello"}`, false, []string{"1 of 2 teams answered", "## backnd did not answer\nTEAM_NOT_FOUND"}},
		{"none", local, `{"teams":["ops","backend"],"question":"fail"}`, true, []string{"0 of 2 teams answered", "PROCESS_ERROR"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			r := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), tt.who).tool("ask_teams", tt.arguments)
			if r.IsError != tt.isError {
				t.Errorf("isError is %t: %s", r.IsError, r.text())
			}
			for _, part := range tt.says {
				if !strings.Contains(r.text(), part) {
					t.Errorf("%q is not in %s", part, r.text())
				}
			}
		})
	}
	f := newFake()
	f.teams = nil
	if r := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), local).tool("ask_teams", `{"teams":"*","question":"hello"}`); !r.IsError || !strings.Contains(r.text(), "iris-mcp team add") {
		t.Errorf("without teams: %+v", r)
	}
}

func TestWhoWakesATeamIsToldWhenItTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		began := time.Now()
		r := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), local).tool("wake_team", `{"team":"ops"}`)
		if r.code() != iris.CodeTimeout || !strings.Contains(r.text(), `no process of team "ops" was ready within 1m0s`) || time.Since(began) != time.Minute {
			t.Errorf("after %v: %s", time.Since(began), r.text())
		}
	})
}

func TestTheMessageIsSubmittedAsItWasSaid(t *testing.T) {
	f := newFake()
	c := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), frontend)
	c.tool("ask_team", `{"team":"backend","question":"@/etc/passwd\u0000 \ud800","sessionId":"ses_9","timeout":1000}`)
	c.tool("tell_team", `{"team":"ops","message":"deploy","priority":"low"}`)
	if left := time.Until(f.asks[0].Until); left <= 0 || left > time.Second {
		t.Errorf("its asker leaves in %v, want within a second", left)
	}
	f.asks[0].Until = time.Time{}
	want := []iris.Ask{
		{Caller: frontend, Team: "backend", Text: "@/etc/passwd\x00 \uFFFD", SessionID: "ses_9", Priority: iris.PriorityNormal},
		{Caller: frontend, Team: "ops", Text: "deploy", Priority: iris.PriorityLow, Task: true},
	}
	if got := fmt.Sprintf("%+v", f.asks); got != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %s\nwant %+v", got, want)
	}
}

func TestATimeoutLeavesTheMessageToBeChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), local)
		began := time.Now()
		r := c.tool("ask_team", `{"team":"backend","question":"slow 1m","timeout":20000}`)
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("it waited %s", took)
		}
		if r.code() != iris.CodeTimeout || !strings.Contains(r.text(), "within 20000 ms (message msg_1)") || !strings.Contains(r.text(), "check_message") {
			t.Errorf("got %s", r.text())
		}
		if r := c.tool("check_message", `{"messageId":"msg_1","wait":10000}`); r.IsError || r.Structured.Status.Final() || time.Since(began) != 30*time.Second {
			t.Errorf("after %s: %+v", time.Since(began), r)
		}
		r = c.tool("check_message", `{"messageId":"msg_1","wait":86400000}`)
		if r.IsError || r.Structured.Response != "backend says: slow 1m" || time.Since(began) != time.Minute {
			t.Errorf("after %s: %+v", time.Since(began), r)
		}
	})
}

func TestWithoutATimeoutAnAskWaitsAsLongAsItTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), local)
		if r := c.tool("ask_team", `{"team":"backend","question":"slow 3h"}`); r.Structured.Response == "" {
			t.Errorf("got %+v", r)
		}
	})
}

func TestAskTeamsBringsWhatThereIsWhenTheTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), local)
		began := time.Now()
		r := c.tool("ask_teams", `{"teams":["backend","ops"],"question":"slow 1m","timeout":90000}`)
		if took := time.Since(began); r.IsError || took != time.Minute {
			t.Errorf("one after the other? %s: %+v", took, r)
		}
		if r = c.tool("ask_teams", `{"teams":["backend","ops"],"question":"slow 1m","timeout":5000}`); !r.IsError || strings.Count(r.text(), "TIMEOUT") != 2 {
			t.Errorf("got %+v", r)
		}
		f.stop()
	})
}

func TestProgressComesWhenThereIsNewsAndEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), local)
		began := time.Now()
		c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask_team","arguments":{"team":"backend","question":"slow 4s"},"_meta":{"progressToken":"p"}}}`)
		c.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"ask_team","arguments":{"team":"ops","question":"hang","timeout":65000},"_meta":{"progressToken":7}}}`)
		last, told, messages := map[any]float64{}, map[any]time.Time{}, map[any][]string{}
		for answered := 0; answered < 2; {
			r := c.reply()
			if r.Method == "" {
				answered++
				if string(r.ID) == "1" {
					told["p"] = time.Time{}
				}
				continue
			}
			token := r.Params.Token
			if before, ok := told[token]; ok {
				if before.IsZero() {
					t.Fatalf("progress after its answer: %+v", r.Params)
				}
				if gap := time.Since(before); gap > 10*time.Second || gap < time.Second {
					t.Errorf("progress of %v after %s", token, gap)
				}
				if r.Params.Progress <= last[token] {
					t.Errorf("progress goes from %v to %v", last[token], r.Params.Progress)
				}
			}
			last[token], told[token] = r.Params.Progress, time.Now()
			messages[token] = append(messages[token], r.Params.Message)
		}
		if news := strings.Join(messages["p"], "\n"); len(messages["p"]) < 4 || !strings.Contains(news, "backend: reading src/") {
			t.Errorf("progress of the busy team:\n%s", news)
		}
		if want := "ops: waiting to start (60 s)"; len(messages[7.0]) != 7 || messages[7.0][6] != want {
			t.Errorf("progress of the silent team: %q, want seven up to %q", messages[7.0], want)
		}
		if time.Since(began) != 65*time.Second {
			t.Errorf("took %s", time.Since(began))
		}
	})
}

// The client does not read until both the progress and the answer wait to be written.
func TestProgressNeverComesAfterItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), local)
		for range 20 {
			c.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
			synctest.Wait() // the answer is being written
			c.send(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"ask_team","arguments":{"team":"backend","question":"slow 5s"},"_meta":{"progressToken":1}}}`)
			<-time.After(time.Minute)
			c.line()
			progress := 0
			for c.reply().Method != "" {
				progress++
			}
			if progress < 4 {
				t.Fatalf("%d times progress before the answer", progress)
			}
		}
	})
}

func TestWithoutATokenThereIsNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), local)
		c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask_team","arguments":{"team":"backend","question":"slow 1h"}}}`)
		if r := c.reply(); r.Method != "" {
			t.Errorf("got %+v", r)
		}
	})
}

// schemasOf are the tools as a client sees them.
func schemasOf(t *testing.T, c *client) map[string]toolDef {
	c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	var list struct {
		Result struct {
			Tools []toolDef `json:"tools"`
		} `json:"result"`
	}
	if err := json.Unmarshal([]byte(c.line()), &list); err != nil {
		t.Fatal(err)
	}
	tools := map[string]toolDef{}
	for _, def := range list.Result.Tools {
		tools[def.Name] = def
	}
	return tools
}

type toolDef struct {
	Name, Title, Description  string
	InputSchema, OutputSchema *jsonschema.Schema
	Annotations               map[string]any
}

// A wrong tag would empty a schema without a word.
func TestEveryToolIsDescribed(t *testing.T) {
	f := newFake()
	tools := schemasOf(t, connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), local))
	want := map[string]string{
		"ask_team":       "team! question! timeout sessionId -> response team status messageId sessionId duration metadata error",
		"ask_teams":      "teams! question! timeout -> answered failed answers error",
		"tell_team":      "team! message! priority -> messageId jobId team status position estimatedCompletion error",
		"check_message":  "messageId! wait -> status response error team from messageId jobId sessionId attempts createdAt startedAt completedAt duration position estimatedCompletion metadata",
		"cancel_message": "messageId! -> cancelled status messageId team error",
		"list_teams":     "-> teams error",
		"team_status":    "team -> teams error",
		"wake_team":      "team! -> awake teams error",
		"sleep_team":     "team! -> team ended finishing error",
	}
	for name, fields := range want {
		def, ok := tools[name]
		if !ok {
			t.Errorf("there is no %s", name)
			continue
		}
		in, out, _ := strings.Cut(fields, "->")
		for _, field := range strings.Fields(in) {
			bare := strings.TrimSuffix(field, "!")
			p := def.InputSchema.Properties[bare]
			if p == nil || p.Description == "" || slices.Contains(def.InputSchema.Required, bare) != (bare != field) {
				t.Errorf("%s: the argument %s is missing, not described or not required as it should be", name, field)
			}
		}
		if n := len(strings.Fields(in)); len(def.InputSchema.Properties) != n || def.InputSchema.AdditionalProperties == nil {
			t.Errorf("%s has %d arguments, want these only: %s", name, len(def.InputSchema.Properties), in)
		}
		for _, field := range strings.Fields(out) {
			if def.OutputSchema.Properties[field] == nil {
				t.Errorf("%s: the answer has no %s", name, field)
			}
		}
		if n := len(strings.Fields(out)); len(def.OutputSchema.Properties) != n {
			t.Errorf("%s answers with %d fields, want %s", name, len(def.OutputSchema.Properties), out)
		}
		for _, hint := range []string{"title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"} {
			if _, ok := def.Annotations[hint]; !ok {
				t.Errorf("%s lacks the annotation %s", name, hint)
			}
		}
		if def.Title == "" || len(def.Description) < 100 {
			t.Errorf("%s has no title or hardly a description", name)
		}
	}
	if len(tools) != len(want) {
		t.Errorf("there are %d tools, want %d", len(tools), len(want))
	}
}

// Clients check structured content against the schema, that of errors too (the TypeScript SDK,
// and so Claude Code).
func TestEveryAnswerFitsItsSchema(t *testing.T) {
	f := newFake()
	f.teams[2].Description = strings.Repeat("long ", 100)
	c := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), local)
	tools := schemasOf(t, c)
	for _, tt := range []struct{ tool, arguments string }{
		{"ask_team", `{"team":"backend","question":"hello"}`},
		{"ask_team", `{"team":"backend","question":"fail"}`},
		{"ask_team", `{}`},
		{"ask_teams", `{"teams":["backend","nobody"],"question":"hello"}`},
		{"ask_teams", `{"teams":["backend"],"question":"fail"}`},
		{"ask_teams", `{}`},
		{"tell_team", `{"team":"ops","message":"x"}`},
		{"tell_team", `{}`},
		{"check_message", `{"messageId":"msg_1"}`},
		{"check_message", `{"messageId":"msg_2"}`},
		{"check_message", `{"messageId":"msg_5"}`},
		{"check_message", `{"messageId":"msg_99"}`},
		{"cancel_message", `{"messageId":"job_5"}`},
		{"cancel_message", `{"messageId":"msg_99"}`},
		{"list_teams", `{}`},
		{"list_teams", `{"x":1}`},
		{"team_status", `{}`},
		{"team_status", `{"team":"nobody"}`},
	} {
		schema, err := tools[tt.tool].OutputSchema.Resolve(nil)
		if err != nil {
			t.Fatal(err)
		}
		c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tt.tool, tt.arguments)
		var r struct {
			Result struct {
				StructuredContent map[string]any `json:"structuredContent"`
			} `json:"result"`
		}
		line := c.line()
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(r.Result.StructuredContent); err != nil || strings.Contains(line, "null") {
			t.Errorf("%s %s: %v in %s", tt.tool, tt.arguments, err, line)
		}
	}
}

func TestAskTeamNamesTheTeamsUnlessTheyAreMany(t *testing.T) {
	f := newFake()
	c := connect(t, t.Context(), mcp.New(f, f, quiet(), "1"), frontend)
	if d := schemasOf(t, c)["ask_team"].Description; !strings.HasSuffix(d, "The teams: backend (REST API in Go), ops.") {
		t.Errorf("got %s", d)
	}
	for i := range 30 {
		f.teams = append(f.teams, iris.Team{Name: fmt.Sprint("t", i)})
	}
	if d := schemasOf(t, c)["ask_team"].Description; strings.Contains(d, "The teams:") {
		t.Errorf("got %s", d)
	}
}

// Another's message is as good as none, and what Iris knows of a fault is not for everybody.
func TestAKeySeesOnlyWhatIsItsOwn(t *testing.T) {
	f := newFake()
	s := mcp.New(f, f, quiet(), "1")
	owner := connect(t, t.Context(), s, local)
	if r := owner.tool("tell_team", `{"team":"backend","message":"x"}`); r.IsError {
		t.Fatal(r.text())
	}
	key := connect(t, t.Context(), s, iris.Caller{Kind: iris.CallerKey, Name: "ci", Scopes: []iris.Scope{iris.ScopeMessagesWrite}})
	for _, tool := range []string{"check_message", "cancel_message"} {
		if r := key.tool(tool, `{"messageId":"msg_1"}`); r.code() != iris.CodeMessageNotFound {
			t.Errorf("%s: %+v", tool, r)
		}
	}
	if r := owner.tool("team_status", `{}`); strings.Contains(r.text(), "secret") {
		t.Errorf("team_status shows private details: %s", r.text())
	}
}

func TestAnErrorNobodyNamedIsMuteOutside(t *testing.T) {
	var log strings.Builder
	f := newFake()
	c := connect(t, t.Context(), mcp.New(f, broken{}, logTo(&log), "1"), local)
	r := c.tool("check_message", `{"messageId":"msg_1"}`)
	if r.code() != iris.CodeInternal || strings.Contains(r.text(), "disk") || !strings.Contains(log.String(), "disk on fire") {
		t.Errorf("the client reads %q, the log %q", r.text(), log.String())
	}
}

type broken struct{ mcp.Store }

func (broken) Message(context.Context, string) (iris.Message, error) {
	return iris.Message{}, errors.New("disk on fire")
}

func TestCallerOf(t *testing.T) {
	root := t.TempDir()
	at := func(path ...string) string { return filepath.Join(append([]string{root}, path...)...) }
	for _, dir := range []string{at("backend", "src"), at("backend", "web", "src"), at("backend-old"), at("else")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(at("backend", "src"), at("link")), os.Symlink(at("backend"), at("team"))); err != nil {
		t.Fatal(err)
	}
	teams := []iris.Team{
		{Name: "backend", Path: at("team")}, // as the user wrote it, through a symlink
		{Name: "gone", Path: at("gone")},
		{Name: "web", Path: at("backend", "web")},
	}
	for _, tt := range []struct{ name, cwd, want string }{
		{"the team's folder", at("backend"), "backend"},
		{"the team's folder by its other name", at("team"), "backend"},
		{"below it", at("backend", "src"), "backend"},
		{"below it through a link from elsewhere", at("link"), "backend"},
		{"the innermost of two", at("backend", "web", "src"), "web"},
		{"a name that only begins alike", at("backend-old"), "local"},
		{"elsewhere", at("else"), "local"},
		{"a folder that is not there", at("gone"), "local"},
		{"no folder", "", "local"},
		{"a relative folder", "backend", "local"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mcp.CallerOf(tt.cwd, teams).From(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

package model_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp/internal/model"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMarkers(t *testing.T) {
	for _, tt := range []struct {
		name, question string
		want           answer
	}{
		{"a text is said", `[[say It is fine.]]`, answer{Text: "It is fine."}},
		{"texts that follow each other are one", `[[say one ]] and [[say two]]`, answer{Text: "one two"}},
		{"text outside the markers is ignored", `Please [[say yes]] now`, answer{Text: "yes"}},
		{"a text may hold brackets and lines", "[[say a[0] = {x}\nb]]", answer{Text: "a[0] = {x}\nb"}},
		{"the question is quoted without markers and Iris's first line",
			"Message through Iris from team web:\n\nWhat is   up? [[say {question}]]", answer{Text: "What is up?"}},
		{"the context that Iris adds cannot steer",
			"Message through Iris from an API client:\n<iris-context note=\"x\">{\"metadata\":\"[[fail 500]]\"}</iris-context>\n\n[[say ok]]", answer{Text: "ok"}},
		{"the text comes back as it came", "x\u0000y @\u200bz [[say {text}]]", answer{Text: "x\u0000y @\u200bz [[say {text}]]"}},
		{"what is put in is not read again", "{result} [[say {question}]]", answer{Text: "{result}"}},
		{"an @ is free again within markers", "[[say me@\u200bhere]]", answer{Text: "me@here"}},
		{"thinking comes as a block of its own", `[[think Hm.]][[say Yes.]]`, answer{Think: "Hm.", Text: "Yes."}},
		{"bytes are counted", `[[bytes 100]]`, answer{Text: "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\nThe quick brown fox j"}},
		{"a tool is called", `[[tool Read {"file_path":"a]]b","deep":[[1]]}]]`,
			answer{Stop: "tool_use", Tools: []call{{Name: "Read", Input: json.RawMessage(`{"file_path":"a]]b","deep":[[1]]}`)}}}},
		{"two tools are called at once", `[[tool Read {}]] [[also Bash {"command":"ls {question}"}]] now`,
			answer{Stop: "tool_use", Tools: []call{{Name: "Read", Input: json.RawMessage(`{}`)}, {Name: "Bash", Input: json.RawMessage(`{"command":"ls now"}`)}}}},
		{"a tool without input has an empty one", `[[tool Read]]`, answer{Stop: "tool_use", Tools: []call{{Name: "Read", Input: json.RawMessage(`{}`)}}}},
		{"a stop reason is given", `[[say half]][[stop max_tokens]][[say rest]]`, answer{Text: "half", Stop: "max_tokens"}},
		{"a refusal is a stop reason", `[[stop refusal]]`, answer{Stop: "refusal"}},
		{"a wait and a pace change nothing else", `[[wait 1ms]][[pace 1ms]][[say a b]]`, answer{Text: "a b"}},
		{"a failure has its type and words", `[[fail 429 retry-after=7 Slow down.]]`, answer{Status: 429, Error: "rate_limit_error", Message: "Slow down."}},
		{"a failure without words has the API's", `[[fail 529]]`, answer{Status: 529, Error: "overloaded_error", Message: "Overloaded"}},
		{"other failures have the type of their class", `[[fail 422]]`, answer{Status: 422, Error: "invalid_request_error", Message: "The scripted model was told to fail"}},
		{"other server failures too", `[[fail 503]]`, answer{Status: 503, Error: "api_error", Message: "Internal server error"}},
		{"a cut breaks the connection", `[[say a]][[cut]]`, answer{Broken: true}},
		{"a break is an error", `[[say a]][[break overloaded_error]]`, answer{Status: 529, Error: "overloaded_error", Message: "Overloaded"}},
		{"an unknown name is no marker", `if [[ -f x ]]; see [[Home]]`,
			answer{Text: "You asked: “if [[ -f x ]]; see [[Home]]”. I am Iris's scripted model and know only this project's CLAUDE.md, which says nothing about it."}},
		{"an open marker is no marker", `[[say x`, answer{Text: "You asked: “[[say x”. I am Iris's scripted model and know only this project's CLAUDE.md, which says nothing about it."}},
		{"a fail behind a text is refused", `[[say a]][[fail 500]]`,
			answer{Status: 400, Error: "invalid_request_error", Message: "scripted model: [[fail]]: an HTTP status comes before the answer, so put it first, or use [[break]] or [[cut]]"}},
		{"an also alone is refused", `[[also Read]]`,
			answer{Status: 400, Error: "invalid_request_error", Message: "scripted model: [[also]]: it adds a call to a [[tool]] directly before it"}},
		{"bad JSON is refused", `[[tool Read {a}]]`,
			answer{Status: 400, Error: "invalid_request_error", Message: "scripted model: [[tool …]]: the tool's input is no JSON: invalid character 'a' looking for beginning of object key string"}},
		{"a bad number is refused", `[[fail 20]]`,
			answer{Status: 400, Error: "invalid_request_error", Message: `scripted model: [[fail 20]]: want an HTTP status of 400 to 599, not "20"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &talk{t: t, s: start(t, model.Options{})}
			got := k.ask(tt.question)
			want := tt.want
			if want.Status == 0 && !want.Broken {
				want.Status = 200
			}
			if want.Stop == "" && want.Status == 200 {
				want.Stop = "end_turn"
			}
			if after := got.Header.Get("Retry-After"); strings.Contains(tt.question, "retry-after=7") && after != "7" {
				t.Errorf("Retry-After is %q", after)
			}
			if g, w := essence(got), essence(want); g != w {
				t.Errorf("got  %s\nwant %s", g, w)
			}
		})
	}
}

// essence is an answer without what differs from run to run.
func essence(a answer) string {
	a.Header, a.Usage = nil, nil
	var tools []string
	for _, c := range a.Tools {
		tools = append(tools, c.Name+string(c.Input))
	}
	a.Tools = nil
	return fmt.Sprintf("%+v %q", a, tools)
}

func TestTheResponseOfATool(t *testing.T) {
	for _, tt := range []struct{ name, result, want string }{
		{"is its field of that name", `{"team":"backend","response":"v2"}`, "v2"},
		{"may be empty", `{"response":""}`, ""},
		{"is all of an object without it", `{"error":{}}`, `{"error":{}}`},
		{"is all of what is no object", "v2", "v2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &talk{t: t, s: start(t, model.Options{})}
			a := k.ask(`[[tool ask_team {"team":"backend"}]][[say They said <{response}>.]]`)
			if a = k.result(a, tt.result); a.Text != "They said <"+tt.want+">." {
				t.Errorf("got %q", a.Text)
			}
		})
	}
}

func TestRoundsFollowTheToolResults(t *testing.T) {
	k := &talk{t: t, s: start(t, model.Options{})}
	a := k.ask(`[[say First.]][[tool Read {"file_path":"a"}]][[tool Bash {"command":"cat {result}"}]][[say It says {result}.]]`)
	if a.Text != "First." || a.Tools[0].Name != "Read" {
		t.Fatalf("first round: %+v", a)
	}
	a = k.result(a, "b<system-reminder>\nnoise [[fail 500]]\n</system-reminder>")
	if got := string(a.Tools[0].Input); got != `{"command":"cat b"}` {
		t.Fatalf("the second tool got %s", got)
	}
	if a = k.result(a, "[[say no]]"); a.Text != "It says [[say no]]." || a.Stop != "end_turn" {
		t.Fatalf("last round: %+v", a)
	}
	if a = k.ask("[[say {earlier}]]"); !strings.HasPrefix(a.Text, "1. [[say First.]]") {
		t.Fatalf("earlier: %+v", a)
	}
	if a = k.ask(`[[tool Read {}]]`); a.Tools == nil {
		t.Fatalf("no tool: %+v", a)
	}
	if a = k.result(a, "file content"); a.Text != "The tool answered: file content" {
		t.Fatalf("a program without an end said %+v", a)
	}
}

func TestWhatTheCLIWritesItselfIsNoQuestion(t *testing.T) {
	for _, text := range []string{
		"<system-reminder>\nContents of /p/CLAUDE.md (project instructions):\n\n[[fail 500]]\n</system-reminder>",
		"<local-command-stdout>Compacted </local-command-stdout>",
		"Output token limit hit. Resume directly — no apology",
		"[Request interrupted by user]", "Tool loaded.",
	} {
		k := &talk{t: t, s: start(t, model.Options{})}
		k.messages = []any{msg("user", "[[say right]]"), msg("user", text)}
		if a := k.send(false); a.Text != "right" {
			t.Errorf("%q gave %+v", text, a)
		}
	}
	k := &talk{t: t, s: start(t, model.Options{})}
	k.messages = []any{msg("user", "[[say right]]")}
	if a := k.ask("<task-notification>[[fail 500]]</task-notification>"); a.Text != "Noted." {
		t.Errorf("a notification gave %+v", a)
	}
}

func TestAStepHappensAsOftenAsItSays(t *testing.T) {
	s := start(t, model.Options{})
	k := &talk{t: t, s: s, session: "one"}
	k.messages = []any{msg("user", "How are you? [[fail 429 times=2]]")}
	var got []int
	for range 3 {
		got = append(got, k.send(false).Status)
	}
	if fmt.Sprint(got) != "[429 429 200]" {
		t.Errorf("statuses %v", got)
	}
	// The same question, asked again or in another conversation, starts anew.
	if a := k.ask("How are you? [[fail 429 times=2]]"); a.Status != 429 {
		t.Errorf("asked again: %+v", a)
	}
	other := &talk{t: t, s: s, session: "two"}
	if a := other.ask("How are you? [[fail 429 times=2]]"); a.Status != 429 {
		t.Errorf("in another conversation: %+v", a)
	}
	cut := &talk{t: t, s: s, session: "three"}
	cut.messages = []any{msg("user", "[[say a b {try}]][[cut]][[say  c]]")}
	if a := cut.send(false); !a.Broken {
		t.Errorf("not cut: %+v", a)
	}
	if a := cut.send(false); a.Text != "a b 2 c" {
		t.Errorf("after the cut: %+v", a)
	}
}

func TestAHangEndsWhenTheClientLeavesOrTheServerCloses(t *testing.T) {
	s := model.New(model.Options{})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	k := &talk{t: t, s: s}
	k.messages = []any{msg("user", "[[say a]][[hang]]")}
	ctx, leave := context.WithCancel(t.Context())
	res, err := http.DefaultClient.Do(k.request(true).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 20)
	if _, err := io.ReadFull(res.Body, first); err != nil {
		t.Fatal(err)
	}
	leave()
	res.Body.Close()

	res, err = http.DefaultClient.Do(k.request(true))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	s.Close()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the answer ended well, though the server closed")
	}
}

// TestStream compares whole streams, byte by byte, with what the real API would send.
func TestStream(t *testing.T) {
	for name, question := range map[string]string{
		"text":  "[[say Two words.]]",
		"tool":  `[[think Let me see.]][[say Reading.]][[tool Read {"file_path":"a b"}]][[also Bash {}]]`,
		"break": "[[say Half an]][[break overloaded_error]]",
		"stop":  "[[say Too lo]][[stop max_tokens]]",
	} {
		t.Run(name, func(t *testing.T) {
			k := &talk{t: t, s: start(t, model.Options{})}
			k.messages = []any{msg("user", question)}
			res, err := http.DefaultClient.Do(k.request(true))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if ct := res.Header.Get("Content-Type"); ct != "text/event-stream; charset=utf-8" {
				t.Errorf("Content-Type %q", ct)
			}
			body = regexp.MustCompile(`(msg|toolu)_[0-9a-f]{6}`).ReplaceAll(body, []byte("${1}_seed"))
			golden(t, name+".sse", body)
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got:\n%s", file, got)
	}
}

func TestABigAnswerComesWhole(t *testing.T) {
	k := &talk{t: t, s: start(t, model.Options{})}
	if a := k.ask("[[bytes 2000000]]"); len(a.Text) != 2_000_000 {
		t.Errorf("%d bytes", len(a.Text))
	}
}

func TestUsageIsPlausible(t *testing.T) {
	k := &talk{t: t, s: start(t, model.Options{})}
	first, second := k.ask("hello"), k.ask("hello again")
	if first.Usage["cache_creation_input_tokens"] == 0 || first.Usage["cache_read_input_tokens"] != 0 {
		t.Errorf("first: %v", first.Usage)
	}
	if second.Usage["cache_read_input_tokens"] == 0 || second.Usage["cache_creation_input_tokens"] != 0 || second.Usage["output_tokens"] < 2 {
		t.Errorf("second: %v", second.Usage)
	}
}

func TestSideRequestsAreKeptApart(t *testing.T) {
	s := start(t, model.Options{})
	for _, tt := range []struct{ name, body, want string }{
		{"a title", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"<session>hi</session>"}],"output_config":{"format":{"type":"json_schema","schema":{"required":["title"]}}}}`,
			`{\"title\":\"Scripted conversation\"}`},
		{"a quota check", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"quota"}]}`, `"ok"`},
		{"a summary", `{"model":"m","max_tokens":9,"tools":[{"name":"Read"}],"messages":[{"role":"user","content":"What now?"},{"role":"assistant","content":"This."},
			{"role":"user","content":"CRITICAL: Respond with TEXT ONLY. Do NOT call any tools."}]}`, `1. What now?`},
	} {
		r, _ := http.NewRequestWithContext(t.Context(), "POST", s.URL()+"/v1/messages", strings.NewReader(tt.body))
		r.Header.Set("x-api-key", "k")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if !strings.Contains(string(body), tt.want) {
			t.Errorf("%s: %s", tt.name, body)
		}
	}
	if len(s.Requests()) != 0 || len(s.SideRequests()) != 3 {
		t.Errorf("%d conversation requests, %d side requests", len(s.Requests()), len(s.SideRequests()))
	}
}

func TestOtherCallsAreAnsweredHarmlessly(t *testing.T) {
	s := start(t, model.Options{})
	for _, tt := range []struct {
		method, path, key, body string
		status                  int
		want                    string
	}{
		{"HEAD", "/", "", "", 200, ""},
		{"GET", "/api/hello", "", "", 200, "hello"},
		{"POST", "/v1/messages/count_tokens", "k", `{"messages":[]}`, 200, `{"input_tokens":4}`},
		{"GET", "/v1/elsewhere", "k", "", 404, `"not_found_error"`},
		{"POST", "/v1/messages", "", `{}`, 401, `"authentication_error"`},
		{"POST", "/v1/messages", "k", `{}`, 400, "model, max_tokens and messages are required"},
		{"POST", "/v1/messages", "k", `{`, 400, "unexpected end of JSON input"},
	} {
		r, _ := http.NewRequestWithContext(t.Context(), tt.method, s.URL()+tt.path, strings.NewReader(tt.body))
		if tt.key != "" {
			r.Header.Set("x-api-key", tt.key)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != tt.status || !strings.Contains(string(body), tt.want) {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, res.StatusCode, body)
		}
	}
}

func TestRequestsAreRecorded(t *testing.T) {
	s := start(t, model.Options{Keep: 2})
	k := &talk{t: t, s: s, session: "abc"}
	k.ask("zero")
	k.ask("[[fail 500]]")
	k.messages = append(k.messages, msg("user", "[[say two]]"))
	res, err := http.DefaultClient.Do(k.request(true))
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	got := s.Requests()
	if len(got) != 2 || got[0].Text != "[[fail 500]]" || got[0].Status != 500 || got[1].Text != "[[say two]]" || got[1].Status != 200 {
		t.Fatalf("requests %+v", got)
	}
	if r := got[1]; r.Session != "abc" || r.Model != "claude-test" || !r.Stream || r.FirstDelta.Before(r.At) || !bytes.Contains(r.Body, []byte("two")) || fmt.Sprint(r.Tools) != "[Read Bash]" {
		t.Errorf("request %+v", r)
	}
}

func TestHundredsAtOnce(t *testing.T) {
	s := start(t, model.Options{Pace: time.Millisecond})
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			k := &talk{t: t, s: s, session: fmt.Sprint(i)}
			k.messages = []any{msg("user", fmt.Sprintf("[[fail 529 times=1]] [[say number %d]]", i))}
			if a := k.send(false); a.Status != 529 {
				t.Errorf("%d: %+v", i, a)
			}
			if a := k.send(false); a.Text != fmt.Sprint("number ", i) {
				t.Errorf("%d: %+v", i, a)
			}
		})
	}
	wg.Wait()
}

func TestTheEnvironmentIsTheScriptedModelsOwn(t *testing.T) {
	t.Setenv("ANTHROPIC_AUTH_TOKEN", "the person's")
	t.Setenv("CLAUDE_CODE_USE_BEDROCK", "1")
	s := start(t, model.Options{})
	env := strings.Join(s.Env("/tmp/home"), "\n") + "\n"
	for _, want := range []string{"ANTHROPIC_BASE_URL=" + s.URL(), "HOME=/tmp/home", "CLAUDE_CONFIG_DIR=/tmp/home/.claude", "PATH="} {
		if !strings.Contains(env, want) {
			t.Errorf("no %s in\n%s", want, env)
		}
	}
	if strings.Contains(env, "AUTH_TOKEN") || strings.Contains(env, "BEDROCK") {
		t.Errorf("foreign variables in\n%s", env)
	}
	if v, ok := s.Vars("/tmp/home")["ANTHROPIC_AUTH_TOKEN"]; !ok || v != "" {
		t.Errorf("ANTHROPIC_AUTH_TOKEN is not blanked: %q", v)
	}
}

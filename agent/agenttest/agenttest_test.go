package agenttest_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp/agent/agenttest"
)

func TestMain(m *testing.M) {
	agenttest.Main()
	os.Exit(m.Run())
}

// fake runs the fake CLI as a host would, answering permissions with yes.
type fake struct {
	t   *testing.T
	cmd *exec.Cmd
	in  *json.Encoder
	out *bufio.Scanner
	end func() error

	printed []string
}

func run(t *testing.T, script, home string, args ...string) *fake {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{
		"-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose",
		"--include-partial-messages", "--replay-user-messages", "--permission-prompt-tool", "stdio",
	}, args...)...)
	cmd.Env = append(os.Environ(), agenttest.Script+"="+script, agenttest.Home+"="+home, "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	f := &fake{t: t, cmd: cmd, in: json.NewEncoder(in), out: bufio.NewScanner(out), end: in.Close}
	f.out.Buffer(nil, 8<<20)
	return f
}

func (f *fake) ask(text string) {
	f.in.Encode(map[string]any{"type": "user", "uuid": "11111111-1111-4111-8111-111111111111", "message": map[string]any{"role": "user", "content": text}})
}

func (f *fake) control(subtype string) {
	f.in.Encode(map[string]any{"type": "control_request", "request_id": subtype, "request": map[string]any{"subtype": subtype}})
}

// until reads to the line that contains the text.
func (f *fake) until(text string) string {
	f.t.Helper()
	for f.out.Scan() {
		line := f.out.Text()
		f.printed = append(f.printed, line)
		var l struct {
			Type      string `json:"type"`
			RequestID string `json:"request_id"`
			Request   struct {
				Input json.RawMessage `json:"input"`
			} `json:"request"`
		}
		if json.Unmarshal([]byte(line), &l); l.Type == "control_request" {
			f.in.Encode(map[string]any{"type": "control_response", "response": map[string]any{
				"subtype": "success", "request_id": l.RequestID, "response": map[string]any{"behavior": "allow", "updatedInput": l.Request.Input},
			}})
		}
		if strings.Contains(line, text) {
			return line
		}
	}
	f.t.Fatalf("it ended without %q; it printed %q", text, f.printed)
	return ""
}

const id = "22222222-2222-4222-8222-222222222222"

// TestItsLinesAreLikeTheRealOnes compares the keys of everything that the fake prints, by type
// of line, with those of the recordings of 2.1.197: it may leave some out and invent none.
func TestItsLinesAreLikeTheRealOnes(t *testing.T) {
	real := map[string]map[string]bool{}
	files, err := filepath.Glob("../testdata/transcripts/*.jsonl")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			var rec struct{ Dir, Line string }
			if json.Unmarshal(s.Bytes(), &rec) == nil && rec.Dir == "out" {
				shape(real, rec.Line)
			}
		}
		f.Close()
	}

	played := map[string]map[string]bool{}
	f := run(t, "echo", t.TempDir(), "--session-id", id)
	f.control("initialize")
	f.until("control_response")
	f.control("nonsense")
	f.until("control_response")
	for _, says := range []string{
		"hello", "[[think hm]][[say a ]][[say b]]", `[[say x]][[tool Read {"file_path":"a"}]][[ask Bash {"command":"touch x"}]][[say y]]`,
		"[[cut lost]][[retry 529]][[retry 0]][[say found]]", "[[fail 429]]", "[[fail 0]]", "[[bytes 100]]",
	} {
		f.ask(says)
		f.until(`"state":"idle"`)
	}
	f.ask("[[say a]][[news b]]")
	f.until(`"task-notification"`)
	for _, says := range []string{"[[say a]][[hang]]", "[[pace 1m]][[tool Bash]]"} {
		f.ask(says)
		f.until(`"assistant"`)
		f.control("interrupt")
		f.until(`"result"`)
	}
	f.end()
	f.cmd.Wait()
	unknown := run(t, "echo", t.TempDir(), "--resume", id)
	unknown.until("No conversation found")
	for _, line := range append(f.printed, unknown.printed...) {
		shape(played, line)
	}
	if len(played) < 20 {
		t.Errorf("only %d types of line were played", len(played))
	}
	for _, kind := range slices.Sorted(maps.Keys(played)) {
		for key := range played[kind] {
			if !real[kind][key] {
				t.Errorf("%s: the real CLI prints no %s", kind, key)
			}
		}
	}
}

// shape adds the keys of a line to those of its kind.
func shape(kinds map[string]map[string]bool, line string) {
	var v map[string]any
	if json.Unmarshal([]byte(line), &v) != nil {
		return
	}
	kind := fmt.Sprint(v["type"], "/", v["subtype"])
	for _, name := range []string{"event", "request", "response"} {
		if in, ok := v[name].(map[string]any); ok {
			kind += fmt.Sprint("/", in["type"], in["subtype"])
			if delta, ok := in["delta"].(map[string]any); ok {
				kind += fmt.Sprint("/", delta["type"])
			}
		}
	}
	if kinds[kind] == nil {
		kinds[kind] = map[string]bool{}
	}
	keys(kinds[kind], "", v)
}

func keys(all map[string]bool, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if kind, ok := v["type"].(string); ok {
			path += "<" + kind + ">"
		}
		for name, value := range v {
			at := path + "." + name
			all[at] = true
			switch name {
			case "input", "tool_input", "tool_use_result", "modelUsage", "commands", "agents", "models", "account":
			default:
				keys(all, at, value)
			}
		}
	case []any:
		for _, value := range v {
			keys(all, path+"[]", value)
		}
	}
}

func TestItKeepsTheRulesAboutConversations(t *testing.T) {
	home := t.TempDir()
	f := run(t, "echo", home, "--session-id", id)
	f.ask("my name is Ada")
	f.until(`"result"`)
	f.end()
	if err := f.cmd.Wait(); err != nil {
		t.Error(err)
	}
	again := run(t, "echo", home, "--resume", id)
	again.ask("[[say {earlier}]]")
	if got := again.until(`"result"`); !strings.Contains(got, "my name is Ada") {
		t.Error(got)
	}
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"an id in use", []string{"--session-id", id}},
		{"an id that is none", []string{"--session-id", "zzz"}},
		{"an unknown option", []string{"--no-such-flag"}},
		{"an unknown conversation", []string{"--resume", "33333333-2222-4222-8222-222222222222"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := run(t, "echo", home, tt.args...)
			for f.out.Scan() {
			}
			if err := f.cmd.Wait(); err == nil || f.cmd.ProcessState.ExitCode() != 1 {
				t.Error(err)
			}
		})
	}
}

func TestAScriptDecidesByWords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "script")
	script := "start: [[wait 1ms]]\nversion: [[say v2, asked {question}]]\n*: [[say anything]]\n"
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, given := range []string{script, file} {
		f := run(t, given, t.TempDir())
		for says, want := range map[string]string{
			"Message through Iris from team x:\n\nwhich version?": `"result":"v2, asked which version?"`,
			"hello":              `"result":"anything"`,
			"[[say of its own]]": `"result":"of its own"`,
		} {
			f.ask(says)
			if got := f.until(`"type":"result"`); !strings.Contains(got, want) {
				t.Errorf("%q: %s", says, got)
			}
		}
	}
}

func TestItWaitsForAFile(t *testing.T) {
	dir := t.TempDir()
	ready, file := filepath.Join(dir, "ready"), filepath.Join(dir, "file")
	if err := os.WriteFile(ready, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := run(t, "start: [[until "+ready+"]]\n", t.TempDir())
	says := "[[say a]][[until " + file + "]][[say b]]"
	f.ask(says)
	f.until(`"assistant"`)
	f.control("interrupt") // heeded meanwhile
	if got := f.until(`"type":"result"`); strings.Contains(got, `"result":`) {
		t.Error(got)
	}
	f.ask(says)
	f.until(`"assistant"`)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := f.until(`"type":"result"`); !strings.Contains(got, `"result":"b"`) {
		t.Error(got)
	}
}

func TestItDiesOfABadLine(t *testing.T) {
	f := run(t, "echo", t.TempDir())
	f.in.Encode(json.RawMessage(`{"type":"user","message":{"role":"assistant"}}`))
	done := make(chan error, 1)
	go func() { done <- f.cmd.Wait() }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("it ended well")
		}
	case <-time.After(30 * time.Second):
		t.Error("it lives")
	}
}

package model_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/iris-mcp/iris-mcp/internal/model"
)

// start serves a model until the test ends.
func start(t *testing.T, o model.Options) *model.Server {
	t.Helper()
	s := model.New(o)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// talk is a conversation as the CLI keeps it.
type talk struct {
	t        *testing.T
	s        *model.Server
	session  string
	tools    []string
	messages []any
}

func msg(role string, content any) any { return map[string]any{"role": role, "content": content} }

// ask puts the question and sends the conversation.
func (k *talk) ask(question string) answer {
	k.messages = append(k.messages, msg("user", question))
	return k.send(false)
}

// result answers the last call of a tool.
func (k *talk) result(a answer, text string) answer {
	k.t.Helper()
	if len(a.Tools) == 0 {
		k.t.Fatalf("no tool was called, but: %+v", a)
	}
	k.messages = append(k.messages, msg("user", []any{map[string]any{"type": "tool_result", "tool_use_id": a.Tools[0].ID, "content": text}}))
	return k.send(false)
}

func (k *talk) request(stream bool) *http.Request {
	tools := []any{}
	for _, name := range append([]string{"Read", "Bash"}, k.tools...) {
		tools = append(tools, map[string]any{"name": name})
	}
	body, err := json.Marshal(map[string]any{
		"model": "claude-test", "max_tokens": 1000, "stream": stream, "messages": k.messages, "tools": tools,
		"thinking": map[string]any{"type": "adaptive"},
	})
	if err != nil {
		k.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(k.t.Context(), "POST", k.s.URL()+"/v1/messages?beta=true", bytes.NewReader(body))
	if err != nil {
		k.t.Fatal(err)
	}
	r.Header.Set("x-api-key", "sk-ant-x")
	r.Header.Set("X-Claude-Code-Session-Id", k.session)
	return r
}

type answer struct {
	Status  int
	Header  http.Header
	Text    string
	Think   string
	Stop    string
	Error   string // the type of an error
	Message string // its message
	Broken  bool   // the connection ended too early
	Tools   []call
	Usage   map[string]int
}

type call struct {
	ID, Name string
	Input    json.RawMessage
}

// send sends the conversation and adds the answer to it.
func (k *talk) send(stream bool) (a answer) {
	k.t.Helper()
	res, err := http.DefaultClient.Do(k.request(stream))
	if err != nil {
		return answer{Broken: true}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	a = answer{Status: res.StatusCode, Header: res.Header, Broken: err != nil}
	if a.Broken {
		return a
	}
	var m struct {
		Content []struct {
			Type, Text, Thinking, ID, Name string
			Input                          json.RawMessage
		}
		Stop  string `json:"stop_reason"`
		Error struct{ Type, Message string }
		Usage map[string]int
	}
	if err := json.Unmarshal(body, &m); err != nil {
		k.t.Fatalf("%v in %s", err, body)
	}
	a.Stop, a.Error, a.Message, a.Usage = m.Stop, m.Error.Type, m.Error.Message, m.Usage
	var content []any
	for _, b := range m.Content {
		switch b.Type {
		case "text":
			a.Text += b.Text
			content = append(content, map[string]any{"type": "text", "text": b.Text})
		case "thinking":
			a.Think += b.Thinking
		case "tool_use":
			a.Tools = append(a.Tools, call{b.ID, b.Name, b.Input})
			content = append(content, map[string]any{"type": "tool_use", "id": b.ID, "name": b.Name, "input": b.Input})
		}
	}
	if a.Status == http.StatusOK {
		k.messages = append(k.messages, msg("assistant", content))
	}
	return a
}

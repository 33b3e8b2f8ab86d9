package agent

import (
	"context"
	"errors"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
)

// A CLI may be killed between its first words and the count of what was written to it.
func TestWhoHasBegunToAnswerHadTheMessage(t *testing.T) {
	for _, tt := range []struct {
		name  string
		says  string // before it dies
		begun bool
	}{
		{"one that said nothing", "", false},
		{"one that says which message it starts", `{"type":"command_lifecycle","state":"started","command_uuid":"u"}`, true},
		{"one that repeats the message", `{"type":"user","isReplay":true,"uuid":"u","message":{"role":"user","content":"hello"}}`, true},
		{"one that begins a turn", `{"type":"system","subtype":"init","model":"opus"}`, true},
		{"one that spoke of something else", `{"type":"system","subtype":"status"}`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newReplay(t).a
			close(a.tail.whole)
			tn := &turn{Turn: iris.Turn{Text: "hello"}, ctx: context.Background(), uuid: "u", over: make(chan struct{})}
			a.begin(tn)
			if l, ok := parse([]byte(tt.says)); ok {
				a.line(l)
			}
			a.gone()
			if begun := !errors.Is(tn.err, iris.ErrNotBegun); begun != tt.begun {
				t.Errorf("begun: %v, want %v (%v)", begun, tt.begun, tn.err)
			}
		})
	}
}

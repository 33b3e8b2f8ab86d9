package agent_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/agent/agenttest"
)

// Nobody sits before a CLI that waits minutes for its model: the turn is broken off at once
// when it says that it will, and the error says until when it is no use.
func TestALimitIsToldAtOnce(t *testing.T) {
	a := start(t, agenttest.Team(t, "backend", "echo"))
	for _, tt := range []struct {
		says    string
		awaited bool
		tells   string        // empty: it is waited for
		rest    time.Duration // zero: nobody knows
	}{
		{"[[retry 429 2m]]", true, "takes no more requests", 2 * time.Minute},
		{"[[retry 429 2m]]", false, "takes no more requests", 2 * time.Minute},
		{"[[limited 5h]][[retry 429]][[hang]]", true, "takes no more requests", 5 * time.Hour},
		{"[[limited 5h]][[retry 429]][[hang]]", false, "takes no more requests", 5 * time.Hour},
		{"[[limited 5h]][[fail 429]]", false, "takes no more requests", 5 * time.Hour},
		{"[[fail 429]]", true, "takes no more requests", time.Minute},
		{"[[retry 529 20s]]", true, "overloaded", 30 * time.Second},
		{"[[retry 500 20s]]", true, "failed (500)", 0},
		{"[[retry 0 20s]]", true, "cannot reach", 0},
		{"[[retry 429 50ms]][[say hello]]", true, "", 0},
		{"[[limited 1s]][[retry 529]][[say hello]]", true, "", 0},
	} {
		name := tt.says
		if tt.awaited {
			name += " awaited"
		}
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			r, err := a.Turn(t.Context(), iris.Turn{From: "local", Text: tt.says, Awaited: tt.awaited})
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			if tt.tells == "" {
				if err != nil || r.Text != "hello" {
					t.Errorf("got %q, %v", r.Text, err)
				}
				return
			}
			e, ok := errors.AsType[*iris.Error](err)
			if !ok || !e.Retry || !strings.Contains(e.Message, tt.tells) {
				t.Fatalf("got %v", err)
			}
			rest := time.Until(e.RetryAt)
			if tt.rest == 0 && !e.RetryAt.IsZero() || tt.rest > 0 && (rest > tt.rest || rest < tt.rest-15*time.Second) {
				t.Errorf("to be left alone for %v, want %v", rest, tt.rest)
			}
		})
	}
	if r, _, err := say(t.Context(), a, "still there?"); r.Text != "You said: still there?" {
		t.Errorf("then: %q, %v", r.Text, err)
	}
}

func TestATaskHasMorePatience(t *testing.T) {
	a := start(t, agenttest.Team(t, "backend", "echo"))
	began := time.Now()
	ask := func(awaited bool) <-chan error {
		got := make(chan error, 1)
		go func() {
			_, err := a.Turn(t.Context(), iris.Turn{From: "local", Text: "[[retry 529 16s]][[say hello]]", Awaited: awaited})
			got <- err
		}()
		return got
	}
	if err := <-ask(true); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("with somebody waiting: %v after %v", err, time.Since(began))
	}
	select {
	case err := <-ask(false):
		t.Errorf("a task was broken off: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
}

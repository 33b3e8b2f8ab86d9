package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/drive"
)

// floor is the bare CLI with the arguments that Iris gives it, read by nothing but a loop.
type floor struct{ *drive.Program }

// startFloor starts it and waits until it is ready, as Iris does.
func (b *bench) startFloor(ctx context.Context) (*floor, error) {
	env := slices.Concat(b.model.Env(filepath.Join(b.dir, "home")), []string{"CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS=1", "CLAUDE_CODE_MAX_RETRIES=3"})
	p, err := drive.Run(ctx, filepath.Join(b.dir, "team"), env, b.claude,
		"-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose",
		"--include-partial-messages", "--replay-user-messages", "--permission-prompt-tool", "stdio",
		"--session-id", iris.NewUUID())
	if err != nil {
		return nil, err
	}
	f := &floor{p}
	if err := f.Write(map[string]any{"type": "control_request", "request_id": "1", "request": map[string]any{"subtype": "initialize"}}); err != nil {
		return nil, err
	}
	for {
		_, said, err := f.next()
		if err != nil {
			return nil, err
		}
		if said.Type == "control_response" {
			return f, nil
		}
	}
}

// spoken is what matters of a line of the CLI.
type spoken struct {
	Type   string
	Result string
	Event  struct {
		Delta struct{ Type string }
	}
}

func (f *floor) next() (drive.Line, spoken, error) {
	var said spoken
	l, err := f.Read()
	if err == nil {
		err = json.Unmarshal(l.Text, &said)
	}
	return l, said, err
}

// timing is how a turn went.
type timing struct {
	took  time.Duration
	first time.Time // when the first piece of text was printed
}

func (f *floor) turn(text string) (t timing, err error) {
	began := time.Now()
	// As long as the line that Iris puts in front.
	text = "Message through Iris from the local user:\n\n" + text
	if err := f.Write(map[string]any{"type": "user", "message": map[string]any{"role": "user", "content": text}, "uuid": iris.NewUUID()}); err != nil {
		return t, err
	}
	for {
		l, said, err := f.next()
		if err != nil {
			return t, err
		}
		switch {
		case said.Event.Delta.Type == "text_delta" && t.first.IsZero():
			t.first = l.At
		case said.Type == "result":
			t.took = l.At.Sub(began)
			if said.Result != wanted {
				return t, fmt.Errorf("the bare CLI answered %s", l.Text)
			}
			return t, nil
		}
	}
}

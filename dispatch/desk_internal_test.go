package dispatch

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// door accepts messages as accept says.
type door struct {
	Store
	accept func(m iris.Message) (iris.Message, bool, error)
}

func (d *door) Accept(_ context.Context, m iris.Message, _ bool, _ string) (iris.Message, bool, error) {
	return d.accept(m)
}

func (*door) Wake() {}

// anyTeam is a configuration that has every team.
type anyTeam struct{ configuration }

type configuration = Teams // a field of that name would hide its method

func (anyTeam) Team(name string) (iris.Team, error) { return iris.Team{Name: name}, nil }

// TestWhenAnAskerLeavesIsForgotten: of a message that is over, or was never there, nothing stays.
func TestWhenAnAskerLeavesIsForgotten(t *testing.T) {
	var d *Dispatcher
	for _, tt := range []struct {
		name   string
		accept func(iris.Message) (iris.Message, bool, error)
		left   int
	}{
		{"accepted", func(m iris.Message) (iris.Message, bool, error) { return m, true, nil }, 1},
		{"over before Accept returns", func(m iris.Message) (iris.Message, bool, error) { d.forget(m.ID); return m, true, nil }, 0},
		{"refused", func(m iris.Message) (iris.Message, bool, error) { return m, false, errors.New("full") }, 0},
		{"the same as another", func(iris.Message) (iris.Message, bool, error) { return iris.Message{ID: "msg_other"}, false, nil }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			at := &door{accept: tt.accept}
			d = New(Config{MaxAttempts: func() int { return 3 }}, anyTeam{}, at, nil, nil, at, slog.New(slog.DiscardHandler))
			_, _ = d.Submit(t.Context(), iris.Ask{Caller: iris.Caller{Kind: iris.CallerLocal}, Team: "backend", Text: "hello", Until: time.Now().Add(time.Minute)})
			if n := len(d.desk.leaves); n != tt.left {
				t.Errorf("%d notes are left, want %d", n, tt.left)
			}
		})
	}
}

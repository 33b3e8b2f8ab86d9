package main

import (
	"bytes"
	"context"
	"reflect"
	"strings"
	"testing"

	sdk "github.com/iris-mcp/go-client"
)

func TestAPersonIsAskedForLeave(t *testing.T) {
	bash := sdk.Event{ID: "per_1", Tool: "Bash", Input: []byte(`{"command":"npm \u001b[31mtest"}`)}
	asks := sdk.Event{ID: "per_2", Tool: "AskUserQuestion", Input: []byte(
		`{"questions":[{"question":"Which DB?","options":[{"label":"Postgres","description":"pg"},{"label":"SQLite","description":"lite"}]},{"question":"When?"}]}`)}
	for _, tt := range []struct {
		name  string
		event sdk.Event
		types string
		shown string
		want  sdk.Decision
	}{
		{"yes", bash, "y\n", "wants to use Bash npm [31mtest", sdk.Decision{Allow: true}},
		{"no", bash, "n\n", "[y/N", sdk.Decision{}},
		{"nothing", bash, "\n", "[y/N", sdk.Decision{}},
		{"why not", bash, "use make test\n", "[y/N", sdk.Decision{Message: "use make test"}},
		{"answers", asks, "2\n3 weeks\n", "2  SQLite  lite", sdk.Decision{Allow: true, Answers: map[string]string{"Which DB?": "SQLite", "When?": "3 weeks"}}},
		{"no answer", asks, "\n", "asks: Which DB?", sdk.Decision{Message: "The user does not want to answer. Decide for yourself, and say in your answer what you assumed."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			l := newLeave(sdk.NewClient(), strings.NewReader(tt.types), &out, "backend")
			ctx, done := context.WithCancel(t.Context())
			decided := make(chan sdk.Decision, 1)
			l.decide = func(_ context.Context, id string, d sdk.Decision) (*sdk.Permission, error) {
				if id != tt.event.ID {
					t.Errorf("decided on %s", id)
				}
				decided <- d
				return nil, nil
			}
			l.asks(ctx, tt.event)
			if got := <-decided; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("decided %+v, want %+v", got, tt.want)
			}
			if !strings.Contains(out.String(), tt.shown) {
				t.Errorf("shown %q, want %q in it", out.String(), tt.shown)
			}
			done()
		})
	}
}

func TestWhatWasDecidedElsewhereIsNotAskedFor(t *testing.T) {
	var out bytes.Buffer
	l := newLeave(sdk.NewClient(), strings.NewReader(""), &out, "backend")
	l.open["per_1"] = true
	l.decided("per_1")
	l.decide = func(context.Context, string, sdk.Decision) (*sdk.Permission, error) {
		t.Error("decided")
		return nil, nil
	}
	l.in.Reset(strings.NewReader("y\n"))
	l.one(t.Context(), sdk.Event{ID: "per_1", Tool: "Bash"})
	if !strings.Contains(out.String(), "decided meanwhile") {
		t.Errorf("shown %q", out.String())
	}
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"

	sdk "github.com/iris-mcp/go-client"
)

// leave asks the person at the terminal for what a team wants leave for, one thing after the
// other. Its goroutine reads lines that were asked for and no others; one that waits for a line
// ends with the program, since a read of a terminal can't be broken off.
type leave struct {
	decide func(context.Context, string, sdk.Decision) (*sdk.Permission, error)
	in     *bufio.Reader
	out    io.Writer
	team   string

	mu      sync.Mutex
	open    map[string]bool // permission ids that nobody has decided
	queue   chan sdk.Event
	started sync.Once
}

func newLeave(client *sdk.Client, in io.Reader, out io.Writer, team string) *leave {
	return &leave{
		decide: client.Permissions.Decide, in: bufio.NewReader(in), out: out, team: team,
		open: map[string]bool{}, queue: make(chan sdk.Event, 64),
	}
}

// asks puts a permission to the person. It does not wait.
func (l *leave) asks(ctx context.Context, e sdk.Event) {
	l.mu.Lock()
	l.open[e.ID] = true
	l.mu.Unlock()
	l.started.Do(func() { go l.run(ctx) })
	select {
	case l.queue <- e:
	default: // so many at once: the server denies what nobody answers
	}
}

// decided says that a permission is no longer open, whoever decided.
func (l *leave) decided(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, id)
}

func (l *leave) isOpen(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[id]
}

func (l *leave) run(ctx context.Context) {
	for {
		select {
		case e := <-l.queue:
			if l.isOpen(e.ID) {
				l.one(ctx, e)
			}
		case <-ctx.Done():
			return
		}
	}
}

// one asks for a single decision and hands it on.
func (l *leave) one(ctx context.Context, e sdk.Event) {
	d, ok := l.ask(e)
	if !ok || ctx.Err() != nil {
		return
	}
	if !l.isOpen(e.ID) {
		fmt.Fprintln(l.out, "iris-mcp: that was decided meanwhile")
		return
	}
	if _, err := l.decide(ctx, e.ID, d); err != nil {
		_, why := explain(err)
		fmt.Fprintf(l.out, "iris-mcp: %s\n", why)
	}
}

// ask asks and reads; false when there is nobody to read from.
func (l *leave) ask(e sdk.Event) (sdk.Decision, bool) {
	questions := questionsOf(e)
	if len(questions) == 0 {
		fmt.Fprintf(l.out, "iris-mcp: %s wants to use %s %s\nAllow it? [y/N, or say why not] ", l.team, e.Tool, printable(subject(e)))
		line, err := l.in.ReadString('\n')
		if err != nil {
			return sdk.Decision{}, false
		}
		switch line = strings.TrimSpace(line); strings.ToLower(line) {
		case "y", "yes":
			return sdk.Decision{Allow: true}, true
		case "", "n", "no":
			return sdk.Decision{}, true
		}
		return sdk.Decision{Message: line}, true
	}
	answers := map[string]string{}
	for _, q := range questions {
		fmt.Fprintf(l.out, "iris-mcp: %s asks: %s\n", l.team, printable(q.Question))
		for i, o := range q.Options {
			fmt.Fprintf(l.out, "  %d  %s\n", i+1, printable(o.Label+"  "+o.Description))
		}
		fmt.Fprint(l.out, "Your answer (a number, or words; empty to let it decide): ")
		line, err := l.in.ReadString('\n')
		if err != nil {
			return sdk.Decision{}, false
		}
		if line = strings.TrimSpace(line); line == "" {
			return sdk.Decision{Message: "The user does not want to answer. Decide for yourself, and say in your answer what you assumed."}, true
		}
		var n int
		if _, err := fmt.Sscanf(line, "%d", &n); err == nil && n >= 1 && n <= len(q.Options) && fmt.Sprint(n) == line {
			line = q.Options[n-1].Label
		}
		answers[q.Question] = line
	}
	return sdk.Decision{Allow: true, Answers: answers}, true
}

// question is one that an agent asks a person.
type question struct {
	Question string `json:"question"`
	Options  []struct {
		Label       string `json:"label"`
		Description string `json:"description"`
	} `json:"options"`
}

// questionsOf are those of the tool AskUserQuestion.
func questionsOf(e sdk.Event) []question {
	if e.Tool != "AskUserQuestion" {
		return nil
	}
	var in struct {
		Questions []question `json:"questions"`
	}
	_ = json.Unmarshal(e.Input, &in) // an input of another form asks nothing
	return in.Questions
}

package mcp

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

const (
	progressEvery = 10 * time.Second // at the latest: clients abort silent calls
	progressGap   = time.Second      // at the earliest, when what a team does has changed
)

// progress tells a client that waits what its teams are doing: "backend: reading
// src/auth.ts (12 s)". Its methods may be called at once.
type progress struct {
	send    func(params map[string]any)
	token   any
	began   time.Time
	changed chan struct{} // buffered: one change waits to be told

	mu    sync.Mutex
	lines []*line
}

// line is what one message is doing.
type line struct{ team, doing string }

func newProgress(send func(map[string]any), token any) *progress {
	return &progress{send: send, token: token, began: time.Now(), changed: make(chan struct{}, 1)}
}

// add begins the line of a message.
func (p *progress) add(team, doing string) *line {
	l := &line{team: team}
	p.mu.Lock()
	p.lines = append(p.lines, l)
	p.mu.Unlock()
	p.set(l, doing)
	return l
}

// set changes a line; "" is no news.
func (p *progress) set(l *line, doing string) {
	p.mu.Lock()
	news := doing != "" && doing != l.doing
	if news {
		l.doing = doing
	}
	p.mu.Unlock()
	if !news {
		return
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// run tells until ctx ends: when there is a first line, when something changed and at least
// every progressEvery.
func (p *progress) run(ctx context.Context) {
	var told time.Time
	next := time.NewTimer(progressEvery)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
			next.Reset(max(0, time.Until(told.Add(progressGap))))
		case <-next.C:
			told = time.Now()
			passed := told.Sub(p.began)
			p.send(map[string]any{
				"progressToken": p.token,
				"progress":      passed.Seconds(),
				"message":       fmt.Sprintf("%s (%d s)", p.text(), int(passed.Seconds())),
			})
			next.Reset(progressEvery)
		}
	}
}

func (p *progress) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var parts []string
	for _, l := range p.lines {
		parts = append(parts, l.team+": "+l.doing)
	}
	return strings.Join(parts, " · ")
}

// What a message does before its turn begins and when it is over.
const (
	doingWait = "waiting to start"
	doingDone = "done"
)

// doing says what an event tells of the team's work; "" when it tells nothing new.
func doing(e iris.Event) string {
	switch e.Kind {
	case iris.EventThinking, iris.EventToolResult:
		return "thinking"
	case iris.EventChunk:
		return "writing its answer"
	case iris.EventToolUse:
		if e.Tool != nil {
			return using(*e.Tool)
		}
	case iris.EventPermission:
		if e.Permission != nil && e.Permission.Decision == "" {
			return "waiting for leave to use " + e.Permission.Tool
		}
	case iris.EventProgress:
		if e.Progress != nil {
			return fmt.Sprintf("%d of %d steps done", e.Progress.Current, e.Progress.Total)
		}
	case iris.EventRetry:
		return "trying again to reach its model"
	case iris.EventRestart:
		return "beginning its answer anew"
	case iris.EventComplete, iris.EventError:
		return doingDone
	}
	return ""
}

// using says what a tool of Claude Code does, as far as that is known.
func using(t iris.Tool) string {
	verb := map[string]string{
		"Read": "reading", "Edit": "editing", "Write": "writing", "NotebookEdit": "editing",
		"Grep": "searching", "Glob": "looking for files in",
	}[t.Name]
	switch {
	case verb != "" && t.File != "":
		return verb + " " + t.File
	case t.Name == "Grep" || t.Name == "Glob":
		return "searching its files"
	case t.Name == "Bash":
		return "running a command"
	case t.Name == "WebFetch" || t.Name == "WebSearch":
		return "looking on the web"
	}
	return "using " + t.Name
}

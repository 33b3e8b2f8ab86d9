package agent

import (
	"cmp"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// round is one turn as the CLI takes it: what it prints from one result to the next. Most are
// the answer to the turn we asked for; some nobody asked for (background_bash), and nobody is
// told of those. Once it is known to whom a round belongs, emit is set.
type round struct {
	emit func(iris.Event) // nil: shown to nobody
	sure bool             // the CLI said that it answers our message

	answer answer
	calls  []*call
	todo   todo
	paths  paths
	model  string

	status int    // of the last failed model call; zero: it did not get through, or none failed
	reason string // the CLI's word for the failure it gave up on

	failing time.Time // since when its model calls fail; zero: they don't
	resets  time.Time // when the account's plan allows requests again, if it was said
}

// call is a call of a tool, the agent's own or a subagent's.
type call struct {
	iris.Tool
	inner bool // a subagent's
	over  bool
}

func newRound(root string) *round {
	r := &round{paths: newPaths(root)}
	r.answer.show = func(kind iris.EventKind, text string) { r.tell(iris.Event{Kind: kind, Text: text}) }
	return r
}

func (r *round) tell(e iris.Event) {
	if r.emit != nil {
		r.emit(e)
	}
}

// line takes a line of the model's answer.
func (r *round) line(l line) {
	switch l.Type {
	case "system":
		if l.Subtype == "init" {
			r.model = cmp.Or(r.model, l.Model)
		} else if l.Subtype == "api_retry" {
			r.retry(l)
		}
	case "stream_event":
		if l.Parent == nil {
			r.stream(l)
		}
	case "assistant":
		r.assistant(l)
	case "user":
		r.user(l)
	}
}

func (r *round) stream(l line) {
	var e streamEvent
	json.Unmarshal(l.Event, &e)
	switch e.Type {
	case "message_start":
		r.answer.start(e.Message.ID)
	case "content_block_delta":
		switch e.Delta.Type {
		case "text_delta":
			r.answer.delta(e.Delta.Text)
		case "thinking_delta":
			if e.Delta.Thinking != "" {
				r.tell(iris.Event{Kind: iris.EventThinking, Text: e.Delta.Thinking})
			}
		}
	case "message_delta":
		r.answer.stopped(e.Delta.StopReason)
	case "message_stop":
		if len(l.Abandoned) > 0 {
			r.answer.abandon()
		}
	}
}

// assistant takes finished blocks. Those of a subagent count as tool calls, but their text is
// between the agents. The text of a failure is not the answer's.
func (r *round) assistant(l line) {
	var m message
	json.Unmarshal(l.Message, &m)
	if reason := text(l.Error); reason != "" {
		r.reason = reason
		return
	}
	r.status, r.failing = 0, time.Time{}
	if l.Parent == nil && m.Model != "" && m.Model != "<synthetic>" {
		r.model = m.Model
	}
	for _, b := range m.blocks() {
		if b.Type == "tool_use" {
			r.toolUse(b, l.Parent != nil)
		}
		switch {
		case l.Parent != nil:
		case b.Type == "text":
			r.answer.block(m.ID, m.StopReason, b.Text)
		default:
			if b.Type == "thinking" && r.answer.streaming != m.ID {
				r.tell(iris.Event{Kind: iris.EventThinking, Text: b.Thinking}) // else the deltas told it
			}
			r.answer.other(m.ID, m.StopReason, b.Type == "tool_use")
		}
	}
}

func (r *round) toolUse(b block, inner bool) {
	c := &call{inner: inner, Tool: iris.Tool{ID: b.ID, Name: b.Name, File: r.paths.of(b.Input), Input: b.Input}}
	r.calls = append(r.calls, c)
	tool := c.Tool
	r.tell(iris.Event{Kind: iris.EventToolUse, Tool: &tool})
}

// user takes the results of tools.
func (r *round) user(l line) {
	var m message
	json.Unmarshal(l.Message, &m)
	for _, b := range m.blocks() {
		i := slices.IndexFunc(r.calls, func(c *call) bool { return c.ID == b.ToolUseID && !c.over })
		if b.Type != "tool_result" || i < 0 {
			continue
		}
		c := r.calls[i]
		c.over, c.IsError = true, b.IsError
		r.tell(iris.Event{Kind: iris.EventToolResult, Tool: &iris.Tool{ID: c.ID, Name: c.Name, File: c.File, IsError: c.IsError}})
		if !c.inner && !c.IsError && r.todo.take(c.Tool, b.result()) {
			r.tell(iris.Event{Kind: iris.EventProgress, Progress: new(r.todo.said)})
		}
	}
}

// retry tells why the model is called again; what was shown of a broken stream is void.
func (r *round) retry(l line) {
	r.status = l.ErrorStatus
	if r.failing.IsZero() {
		r.failing = time.Now()
	}
	r.tell(iris.Event{Kind: iris.EventRetry, Text: retryText(l)})
	r.answer.abandon()
}

// working reports whether a tool call is open: the CLI then prints nothing for as long as it
// takes. The calls of subagents do not count: while they hold the turn up, so does the call
// that started them.
func (r *round) working() bool {
	return slices.ContainsFunc(r.calls, func(c *call) bool { return !c.over && !c.inner })
}

// metadata sums up what was done. A file that a call failed to get at was not accessed.
func (r *round) metadata() iris.Metadata {
	m := iris.Metadata{FilesAccessed: []string{}, ToolsUsed: []string{}, Model: r.model}
	for _, c := range r.calls {
		if !slices.Contains(m.ToolsUsed, c.Name) {
			m.ToolsUsed = append(m.ToolsUsed, c.Name)
		}
		if c.File != "" && !c.IsError && !slices.Contains(m.FilesAccessed, c.File) {
			m.FilesAccessed = append(m.FilesAccessed, c.File)
		}
	}
	return m
}

// paths makes the files that tools name relative to the team's folder. The CLI calls the
// folder by its real path, whatever symlinks the team's path has.
type paths struct {
	roots []string
}

func newPaths(root string) paths {
	p := paths{[]string{filepath.Clean(root)}}
	if resolved, err := filepath.EvalSymlinks(root); err == nil && resolved != p.roots[0] {
		p.roots = append(p.roots, resolved)
	}
	return p
}

// of is the file that a tool's input names: relative to the folder when it is inside, else
// absolute. It is empty when there is none, or it is the folder itself.
func (p paths) of(input json.RawMessage) string {
	var in struct {
		FilePath     json.RawMessage `json:"file_path"`
		NotebookPath json.RawMessage `json:"notebook_path"`
		Path         json.RawMessage `json:"path"`
	}
	json.Unmarshal(input, &in)
	file := cmp.Or(text(in.FilePath), text(in.NotebookPath), text(in.Path))
	if file == "" {
		return ""
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(p.roots[0], file)
	}
	for _, root := range p.roots {
		rel, err := filepath.Rel(root, file)
		if err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			if rel == "." {
				return ""
			}
			return filepath.ToSlash(rel)
		}
	}
	return filepath.Clean(file)
}

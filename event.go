package iris

import (
	"encoding/json"
	"time"
)

// EventKind is the name of an event, the same in the store, in SSE and over WebSocket.
type EventKind string

const (
	EventStart      EventKind = "start"       // the message was accepted
	EventChunk      EventKind = "chunk"       // Text: a piece of the answer
	EventThinking   EventKind = "thinking"    // Text: a piece of the model's thinking
	EventToolUse    EventKind = "tool_use"    // Tool: the agent calls a tool
	EventToolResult EventKind = "tool_result" // Tool: the call is over
	EventPermission EventKind = "permission"  // Permission: the agent asked for leave
	EventProgress   EventKind = "progress"    // Progress: the agent's own list of tasks changed
	EventRetry      EventKind = "retry"       // Text: why the CLI calls its model again, or why the task will run again
	EventRestart    EventKind = "restart"     // what was shown is void: the answer begins anew
	EventComplete   EventKind = "complete"    // the last event of a completed message
	EventError      EventKind = "error"       // the last event of a failed or cancelled one
)

// Event is one thing that happened to a message. Whoever runs the message makes it, once;
// from then on it is a value and may be shared freely. The tagged fields are what is stored.
type Event struct {
	MessageID string    `json:"-"` // "msg_…"
	Seq       int64     `json:"-"` // 1, 2, 3… within the message, no gaps; the SSE id
	At        time.Time `json:"-"` // the owner's clock, UTC; milliseconds on the wire
	Kind      EventKind `json:"-"`

	Team       string        `json:"team,omitempty"`       // start
	SessionID  string        `json:"sessionId,omitempty"`  // start; the caller's name for it, if it has one
	Text       string        `json:"text,omitempty"`       // UTF-8; may end mid-line, never mid-rune
	Tool       *Tool         `json:"tool,omitempty"`       // tool_use, tool_result
	Permission *Permission   `json:"permission,omitempty"` // permission
	Progress   *Progress     `json:"progress,omitempty"`   // progress
	Duration   time.Duration `json:"duration,omitempty"`   // complete; as Message.Duration
	Metadata   *Metadata     `json:"metadata,omitempty"`   // complete
	Err        *Error        `json:"error,omitempty"`      // error
}

// Last reports whether no event of the message follows this one.
func (e Event) Last() bool { return e.Kind == EventComplete || e.Kind == EventError }

// Tool is a call of one of the agent's tools.
type Tool struct {
	ID      string          `json:"id"` // the call's, the same in tool_use and tool_result
	Name    string          `json:"name"`
	File    string          `json:"file,omitempty"` // the file it works on, project-relative
	Input   json.RawMessage `json:"input,omitempty"`
	IsError bool            `json:"isError,omitempty"` // tool_result
}

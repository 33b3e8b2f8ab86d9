package httpapi

import (
	"cmp"
	"encoding/json"

	iris "github.com/iris-mcp/iris-mcp"
)

type startData struct {
	MessageID string `json:"messageId"`
	Team      string `json:"team"`
	SessionID string `json:"sessionId"`
}

type textData struct {
	Text string `json:"text"`
}

type toolUseData struct {
	Tool  string          `json:"tool"`
	File  string          `json:"file,omitempty"`
	Input json.RawMessage `json:"input"`
	ID    string          `json:"id"`
}

type toolResultData struct {
	Tool    string `json:"tool"`
	File    string `json:"file,omitempty"`
	IsError bool   `json:"isError"`
	ID      string `json:"id"`
}

type permissionData struct {
	ID       string          `json:"id"`
	Tool     string          `json:"tool"`
	Input    json.RawMessage `json:"input"`
	Decision string          `json:"decision,omitempty"`
	Reason   string          `json:"reason,omitempty"`
}

type completeData struct {
	Duration  int64         `json:"duration"`
	Timestamp int64         `json:"timestamp"`
	MessageID string        `json:"messageId"`
	Metadata  iris.Metadata `json:"metadata"`
}

// eventData is an event's data on the wire, for this caller.
func (req *request) eventData(ev iris.Event) any {
	switch ev.Kind {
	case iris.EventStart:
		return startData{ev.MessageID, ev.Team, ev.SessionID}
	case iris.EventChunk, iris.EventThinking, iris.EventRetry:
		return textData{ev.Text}
	case iris.EventToolUse:
		t := *ev.Tool
		return toolUseData{t.Name, t.File, object(t.Input), t.ID}
	case iris.EventToolResult:
		t := *ev.Tool
		return toolResultData{t.Name, t.File, t.IsError, t.ID}
	case iris.EventPermission:
		p := *ev.Permission
		return permissionData{p.ID, p.Tool, object(p.Input), p.Decision, p.Reason}
	case iris.EventProgress:
		return progressOf(*ev.Progress)
	case iris.EventComplete:
		return completeData{ev.Duration.Milliseconds(), ev.At.UnixMilli(), ev.MessageID, metadataOf(ev.Metadata)}
	case iris.EventError:
		f := req.newFailure(cmp.Or(ev.Err, errUnknown))
		f.Timestamp = ev.At.UnixMilli()
		return f
	}
	return struct{}{}
}

// object is the input of a tool, {} for one without any.
func object(input json.RawMessage) json.RawMessage {
	if len(input) == 0 {
		return json.RawMessage("{}")
	}
	return input
}

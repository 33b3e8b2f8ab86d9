package httpapi

import (
	"cmp"
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	iris "github.com/iris-mcp/iris-mcp"
)

type startData struct {
	MessageID string `json:"messageId" doc:"The message" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	Team      string `json:"team" doc:"The team that was asked" example:"backend"`
	SessionID string `json:"sessionId" doc:"Continues this conversation" example:"ses_01KAH3M4R1J5K6M7N8P9Q0R1S2"`
}

type textData struct {
	Text string `json:"text" doc:"May end in the middle of a line" example:"The authentication flow consists of"`
}

type toolUseData struct {
	Tool  string          `json:"tool" doc:"The tool's name" example:"Read"`
	File  string          `json:"file,omitempty" doc:"The file that it works on, relative to the project" example:"src/auth/jwt.ts"`
	Input json.RawMessage `json:"input" doc:"What the tool was called with, an object" example:"{\"file_path\":\"src/auth/jwt.ts\"}"`
	ID    string          `json:"id" doc:"Of the call; its tool_result has the same" example:"toolu_01"`
}

type toolResultData struct {
	Tool    string `json:"tool" doc:"The tool's name" example:"Read"`
	File    string `json:"file,omitempty" doc:"The file that it worked on, relative to the project" example:"src/auth/jwt.ts"`
	IsError bool   `json:"isError" doc:"The tool failed, or was refused" example:"false"`
	ID      string `json:"id" doc:"Of the call; its tool_use has the same" example:"toolu_01"`
}

type permissionData struct {
	ID        string          `json:"id" doc:"Of the permission" example:"per_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	Tool      string          `json:"tool" doc:"The tool that the agent asks leave for" example:"Bash"`
	Input     json.RawMessage `json:"input" doc:"What it wants to call the tool with, an object" example:"{\"command\":\"npm install\"}"`
	Decision  string          `json:"decision,omitempty" enum:"allow,deny" doc:"Once it is decided"`
	Reason    string          `json:"reason,omitempty" doc:"Why, in words for a person" example:"nobody is there who could decide"`
	ExpiresAt *int64          `json:"expiresAt,omitempty" doc:"Denied then unless it is decided before, Unix milliseconds" example:"1704067260000"`
}

type restartData struct{}

type completeData struct {
	Duration  int64         `json:"duration" doc:"Milliseconds from acceptance to answer" example:"4532"`
	Timestamp int64         `json:"timestamp" doc:"When it was answered, Unix milliseconds" example:"1704067204532"`
	MessageID string        `json:"messageId" doc:"The message" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	Metadata  iris.Metadata `json:"metadata" doc:"What the turn did and cost"`
}

// kinds documents the events of a stream, in the order in which a reader meets them.
var kinds = []struct {
	kind iris.EventKind
	doc  string
	data any
}{
	{iris.EventStart, "The message was accepted. Always the first", startData{}},
	{iris.EventChunk, "A piece of the answer", textData{}},
	{iris.EventThinking, "A piece of the model's thinking", textData{}},
	{iris.EventToolUse, "The agent calls a tool", toolUseData{}},
	{iris.EventToolResult, "The call of a tool is over", toolResultData{}},
	{iris.EventPermission, "The agent asks leave for a call of a tool", permissionData{}},
	{iris.EventProgress, "How far the agent is, by its own list of tasks", progress{}},
	{iris.EventRetry, "The model is called again, for this reason", textData{}},
	{iris.EventRestart, "The model's stream broke and the answer begins anew: clear what you showed", restartData{}},
	{iris.EventComplete, "The answer is whole. The last event of a completed message", completeData{}},
	{iris.EventError, "The message failed or was cancelled. The last event then", failure{}},
}

// documentedEvent is a row of x-events in the document.
type documentedEvent struct {
	Event       iris.EventKind `json:"event"`
	Description string         `json:"description"`
	Last        bool           `json:"last"`
	Data        *huma.Schema   `json:"data"`
}

func documentedEvents(schemas huma.Registry) []documentedEvent {
	var all []documentedEvent
	for _, k := range kinds {
		schema := schemas.Schema(reflect.TypeOf(k.data), true, "")
		all = append(all, documentedEvent{k.kind, k.doc, iris.Event{Kind: k.kind}.Last(), schema})
	}
	return all
}

// streamEvent is the schema of any event of a stream, as its reader parses it: data is a text
// that has JSON in it.
func streamEvent(schemas huma.Registry) *huma.Schema {
	all := &huma.Schema{Description: "An event of a stream, by the name of its kind"}
	for _, e := range documentedEvents(schemas) {
		all.OneOf = append(all.OneOf, &huma.Schema{
			Type: huma.TypeObject, Description: e.Description, Required: []string{"event", "data"},
			Properties: map[string]*huma.Schema{
				"id":    {Type: huma.TypeString, Description: "messageId:number; what Last-Event-ID goes on behind"},
				"event": {Type: huma.TypeString, Enum: []any{string(e.Event)}},
				"data": {Type: huma.TypeString, Extensions: map[string]any{
					"contentMediaType": "application/json", "contentSchema": e.Data,
				}},
			},
		})
	}
	return all
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
		expires := unixMilli(p.ExpiresAt)
		if p.Decision != "" {
			expires = nil
		}
		return permissionData{p.ID, p.Tool, object(p.Input), p.Decision, p.Reason, expires}
	case iris.EventProgress:
		return progressOf(*ev.Progress)
	case iris.EventComplete:
		return completeData{ev.Duration.Milliseconds(), ev.At.UnixMilli(), ev.MessageID, metadataOf(ev.Metadata)}
	case iris.EventError:
		f := req.newFailure(cmp.Or(ev.Err, errUnknown))
		f.Timestamp = ev.At.UnixMilli()
		return f
	}
	return restartData{}
}

// object is the input of a tool, {} for one without any.
func object(input json.RawMessage) json.RawMessage {
	if len(input) == 0 {
		return json.RawMessage("{}")
	}
	return input
}

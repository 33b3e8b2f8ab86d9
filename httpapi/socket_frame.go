package httpapi

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	iris "github.com/iris-mcp/iris-mcp"
)

// What a client may send over a WebSocket: a JSON object in each text frame.

type subscribeFrame struct {
	Type string `json:"type" enum:"subscribe" doc:"What the frame is" example:"subscribe"`
	Team string `json:"team" doc:"The team whose messages are followed from now on" example:"backend"`
}

type unsubscribeFrame struct {
	Type string `json:"type" enum:"unsubscribe" doc:"What the frame is" example:"unsubscribe"`
	Team string `json:"team" doc:"The team whose messages are followed no longer; those that were sent over this connection are" example:"backend"`
}

type messageFrame struct {
	Type      string        `json:"type" enum:"message" doc:"What the frame is" example:"message"`
	Team      string        `json:"team" doc:"The team to ask" example:"backend"`
	Message   string        `json:"message" pattern:"[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]" patternDescription:"a text that is not blank" doc:"What to ask" example:"What database indexes do we have?"`
	SessionID string        `json:"sessionId,omitempty" maxLength:"128" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"a readable text, not blank and without control characters" doc:"The conversation to continue, as for ask" example:"github:acme/api#123"`
	Timeout   int64         `json:"timeout,omitempty" minimum:"1" maximum:"86400000" doc:"How long the team may work on it, in milliseconds; without it the configured turnTimeout" example:"600000"`
	Context   *iris.Context `json:"context,omitempty" doc:"Where the message comes from; the agent gets it as data beside the message" example:"{\"source\":\"chat\",\"metadata\":{\"room\":7}}"`
	Ref       string        `json:"ref,omitempty" maxLength:"128" doc:"A word of the client's own for the message; it comes back in its start and in every error about it" example:"question-1"`
}

type cancelFrame struct {
	Type      string `json:"type" enum:"cancel" doc:"What the frame is" example:"cancel"`
	MessageID string `json:"messageId" doc:"The id of a message or of a job" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
}

type resumeFrame struct {
	Type      string `json:"type" enum:"resume" doc:"What the frame is" example:"resume"`
	MessageID string `json:"messageId" doc:"The id of a message or of a job" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	After     int64  `json:"after,omitempty" minimum:"0" doc:"The seq of the last event that was seen; without it the message is told from its beginning" example:"7"`
}

type pingFrame struct {
	Type string `json:"type" enum:"ping" doc:"What the frame is" example:"ping"`
}

// frameKind is a row of the table of frames that a client may send.
type frameKind struct {
	about string
	route route        // scopes and own, as for a REST route that does the same
	frame reflect.Type // as huma reads it
	take  func(c *client, req *request, text []byte) error

	name   string // set by registerFrames, as is the next
	schema *huma.Schema
}

// takes makes a row's handler out of a function; its type is the frame's.
func takes[F any](about string, r route, handle func(*client, *request, *F) error) *frameKind {
	return &frameKind{about: about, route: r, frame: reflect.TypeFor[F](), take: func(c *client, req *request, text []byte) error {
		var f F
		if err := decode(text, &f); err != nil {
			return req.invalid("", []error{frameError(err)})
		}
		return handle(c, req, &f)
	}}
}

// frameKinds is the table.
func frameKinds() []*frameKind {
	return []*frameKind{
		takes("Follow the messages of a team: every one that is sent to it from now on, by whomever, those that wait, and those that run, from now on. Without messages:read only the key's own are shown.",
			route{}, (*client).subscribe),
		takes("Follow them no longer.", route{}, (*client).unsubscribe),
		takes("Ask a team, and follow the answer.",
			route{scopes: []iris.Scope{iris.ScopeMessagesWrite}}, (*client).message),
		takes("Cancel a message. It ends with an error CANCELLED for everybody who follows it, and for who cancelled it.",
			route{scopes: []iris.Scope{iris.ScopeMessagesWrite}, own: true}, (*client).cancel),
		takes("Follow a message from behind an event, whoever sent it and wherever; after a broken connection nothing is missed or repeated.",
			route{scopes: []iris.Scope{iris.ScopeMessagesRead, iris.ScopeMessagesStream}, own: true}, (*client).resume),
		takes("Ask for a pong. It is the one frame that does not count against the key's limit.", route{}, (*client).ping),
	}
}

// registerFrames gives the rows their schemas, in the document, by which they are validated.
func (s *Server) registerFrames() {
	s.frames = frameKinds()
	for _, k := range s.frames {
		k.schema = s.schemas().Schema(k.frame, true, "")
		kind, _ := k.frame.FieldByName("Type")
		k.name = kind.Tag.Get("enum")
	}
}

func (s *Server) schemas() huma.Registry { return s.api.OpenAPI().Components.Schemas }

// frameOf finds out what a client has sent: the row of its kind, if it is a good frame of
// one, and its ref even if it is not.
func (s *Server) frameOf(req *request, text []byte) (kind *frameKind, ref string, err error) {
	var v any
	if err := decode(text, &v); err != nil {
		return nil, "", req.invalid("", []error{frameError(err)})
	}
	fields, ok := v.(map[string]any)
	if !ok {
		return nil, "", req.refuse(problem{"frame", "must be a JSON object"})
	}
	if word, _ := fields["ref"].(string); len(word) <= 4*128 {
		ref = word
	}
	name, isText := fields["type"].(string)
	var known []string
	for _, k := range s.frames {
		if k.name == name {
			kind = k
		}
		known = append(known, k.name)
	}
	switch {
	case fields["type"] == nil:
		return nil, ref, req.refuse(problem{"type", "is missing; known are " + strings.Join(known, ", ")})
	case !isText || kind == nil:
		return nil, ref, req.refuse(problem{"type", "must be one of: " + strings.Join(known, ", ")})
	}
	var res huma.ValidateResult
	huma.Validate(s.schemas(), kind.schema, huma.NewPathBuffer([]byte("frame"), len("frame")), huma.ModeWriteToServer, v, &res)
	if len(res.Errors) > 0 {
		return nil, ref, req.invalid("", res.Errors)
	}
	return kind, ref, nil
}

// frameError is what is wrong with a frame as a whole.
func frameError(err error) error { return &huma.ErrorDetail{Location: "frame", Message: err.Error()} }

// isPing reports whether the text is a ping, without a look at one that is too long for it.
func isPing(text []byte) bool {
	var f map[string]string
	return len(text) <= 64 && json.Unmarshal(text, &f) == nil && len(f) == 1 && f["type"] == "ping"
}

package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	iris "github.com/iris-mcp/iris-mcp"
)

// What the server sends over a WebSocket: a JSON object in each text frame.

type subscribedFrame struct {
	Type string `json:"type" enum:"subscribed" doc:"What the frame is" example:"subscribed"`
	Team string `json:"team" doc:"The team that is followed now" example:"backend"`
}

type unsubscribedFrame struct {
	Type string `json:"type" enum:"unsubscribed" doc:"What the frame is" example:"unsubscribed"`
	Team string `json:"team" doc:"The team that is followed no longer" example:"backend"`
}

type pongFrame struct {
	Type string `json:"type" enum:"pong" doc:"What the frame is" example:"pong"`
}

// eventHead begins every frame that is an event of a message; what the event's data is over
// SSE follows in the same object.
type eventHead struct {
	Type      iris.EventKind `json:"type" doc:"The name of the event, as in x-events" example:"chunk"`
	MessageID string         `json:"messageId" doc:"The message" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	Seq       int64          `json:"seq" doc:"The event's number within the message: 1, 2, 3… without gaps. It goes into after of resume" example:"2"`
	Timestamp int64          `json:"timestamp" doc:"When it happened, Unix milliseconds" example:"1704067200000"`
}

type startRest struct {
	Team      string `json:"team" doc:"The team that was asked" example:"backend"`
	SessionID string `json:"sessionId" doc:"Continues this conversation" example:"ses_01KAH3M4R1J5K6M7N8P9Q0R1S2"`
	Ref       string `json:"ref,omitempty" doc:"The message's own ref, for who sent it over this connection" example:"question-1"`
}

type completeRest struct {
	Duration int64         `json:"duration" doc:"Milliseconds from acceptance to answer" example:"4532"`
	Response string        `json:"response" doc:"The whole answer" example:"We have indexes on…"`
	Metadata iris.Metadata `json:"metadata" doc:"What the turn did and cost"`
}

// errorFrame is the end of a message that failed or was cancelled, and then has a seq; or what
// is wrong with a frame of the client's, or with its key.
type errorFrame struct {
	Type      string    `json:"type" enum:"error" doc:"What the frame is" example:"error"`
	MessageID string    `json:"messageId,omitempty" doc:"The message, if it is about one" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	Seq       int64     `json:"seq,omitempty" doc:"The event's number, if it is the last event of the message" example:"3"`
	Error     string    `json:"error" doc:"What is wrong and what to do about it" example:"the message was cancelled"`
	Code      iris.Code `json:"code" doc:"For programs" example:"CANCELLED"`
	Timestamp int64     `json:"timestamp" doc:"Unix milliseconds" example:"1704067200000"`
	Ref       string    `json:"ref,omitempty" doc:"The ref of the frame that it is about" example:"question-1"`
	Details   any       `json:"details,omitempty" doc:"For machines: the problems of a frame; limit, window and resetAt of RATE_LIMITED; required and provided of FORBIDDEN"`
}

// event sends an event, if the key is still good. It fails when the connection or ctx is over,
// or when the answer cannot be read.
func (c *client) event(ctx context.Context, req *request, ev iris.Event, ref string) (err error) {
	if _, ok := c.now(); !ok {
		return context.Canceled
	}
	gone := c.conn.Send(ctx, func() []byte {
		head := eventHead{ev.Kind, ev.MessageID, ev.Seq, ev.At.UnixMilli()}
		switch ev.Kind {
		case iris.EventStart:
			return joinFrame(head, startRest{ev.Team, ev.SessionID, ref})
		case iris.EventComplete:
			var m iris.Message // read only now that it can be sent: an answer may be long
			if m, err = c.server.store.Message(ctx, ev.MessageID); err != nil {
				return nil
			}
			return joinFrame(head, completeRest{ev.Duration.Milliseconds(), m.Response, metadataOf(ev.Metadata)})
		case iris.EventError:
			f := c.errorOf(req, cmp.Or(ev.Err, errUnknown))
			f.MessageID, f.Seq, f.Timestamp, f.Ref = ev.MessageID, ev.Seq, head.Timestamp, ref
			return encodeFrame(f)
		}
		return joinFrame(head, req.eventData(ev))
	})
	return cmp.Or(err, gone)
}

// errorOf shows an error. What nobody may see of it goes into the log.
func (c *client) errorOf(req *request, err error) errorFrame {
	f := req.failure(context.Background(), err)
	out := errorFrame{Type: string(iris.EventError), Error: f.Message, Code: f.Code, Timestamp: time.Now().UnixMilli(), Details: f.Details}
	switch f.Code {
	case iris.CodeForbidden:
		if f.Required != nil {
			out.Details = map[string]any{"required": f.Required, "provided": f.Provided}
		}
	case iris.CodeRateLimited:
		if f.Limit > 0 {
			out.Details = map[string]any{"limit": f.Limit, "window": f.Window, "resetAt": f.ResetAt}
		}
	case iris.CodeInternal:
		c.server.log.Error("WebSocket frame failed", "requestId", req.id, "err", err)
	}
	if details, ok := f.Details.(map[string]any); ok {
		out.MessageID, _ = details["messageId"].(string)
	}
	return out
}

// encodeFrame is a frame as it is sent; the frame is one of ours.
func encodeFrame(frame any) []byte {
	var buf bytes.Buffer
	if err := encodeJSON(&buf, frame); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// joinFrame makes one object of two. They have no field in common.
func joinFrame(head eventHead, rest any) []byte {
	first, second := encodeFrame(head), encodeFrame(rest)
	if len(second) == len("{}") {
		return first
	}
	return append(append(first[:len(first)-1], ','), second[1:]...)
}

// documentedFrames is x-frames of the document: what either side of a WebSocket sends.
type documentedFrames struct {
	Client []documentedFrame `json:"client"`
	Server []documentedFrame `json:"server"`
}

type documentedFrame struct {
	Type        string       `json:"type"`
	Description string       `json:"description"`
	Scopes      []iris.Scope `json:"scopes,omitempty"` // besides those of the connection
	Own         bool         `json:"own,omitempty"`    // they are not needed for the key's own messages
	Frame       *huma.Schema `json:"frame"`
}

func (s *Server) documentedFrames() documentedFrames {
	var all documentedFrames
	for _, k := range s.frames {
		all.Client = append(all.Client, documentedFrame{k.name, k.about, k.route.scopes, k.route.own, k.schema})
	}
	schemas := s.schemas()
	answer := func(name, doc string, frame any) {
		all.Server = append(all.Server, documentedFrame{Type: name, Description: doc, Frame: schemas.Schema(reflect.TypeOf(frame), true, "")})
	}
	answer("subscribed", "The team is followed from here on", subscribedFrame{})
	answer("unsubscribed", "The team is followed no longer", unsubscribedFrame{})
	answer("pong", "The answer to a ping", pongFrame{})
	for _, k := range kinds {
		rest := k.data
		switch k.kind {
		case iris.EventStart:
			rest = startRest{}
		case iris.EventComplete:
			rest = completeRest{}
		case iris.EventError:
			answer(string(k.kind), k.doc+". Or what is wrong with a frame of the client's: the connection stays. Or why it ends: the key is no longer good", errorFrame{})
			continue
		}
		all.Server = append(all.Server, documentedFrame{Type: string(k.kind), Description: k.doc, Frame: joinSchema(schemas, k.kind, rest)})
	}
	return all
}

// joinSchema documents what joinFrame makes of an event of this kind, as a schema of its own.
func joinSchema(schemas huma.Registry, kind iris.EventKind, rest any) *huma.Schema {
	whole := &huma.Schema{Type: huma.TypeObject, AdditionalProperties: false, Properties: map[string]*huma.Schema{}}
	for _, part := range []any{eventHead{}, rest} {
		s := huma.SchemaFromType(schemas, reflect.TypeOf(part))
		for name, field := range s.Properties {
			whole.Properties[name] = field
		}
		whole.Required = append(whole.Required, s.Required...)
	}
	whole.Properties["type"].Enum = []any{string(kind)}
	name := ""
	for word := range strings.SplitSeq(string(kind), "_") {
		name += strings.ToUpper(word[:1]) + word[1:]
	}
	name += "Frame"
	schemas.Map()[name] = whole
	return &huma.Schema{Ref: "#/components/schemas/" + name}
}

package httpapi

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-contrib/sse"
	"github.com/gin-gonic/gin"

	iris "github.com/iris-mcp/iris-mcp"
)

// heartbeat is how long a stream stays silent before a comment keeps proxies awake.
const heartbeat = 15 * time.Second

type streamIn struct {
	Team        string      `path:"team" doc:"The team's name" example:"backend"`
	LastEventID string      `header:"Last-Event-ID" doc:"The id of the last event that was seen: the stream goes on behind it, and nothing is asked"`
	Attend      string      `header:"Iris-Attend" enum:"yes,no" doc:"no: nobody who reads this stream decides on permissions"`
	Body        *streamBody `doc:"May be left out with Last-Event-ID"`
}

type streamBody struct {
	Message   string        `json:"message" pattern:"[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]" patternDescription:"a text that is not blank" doc:"What to ask" example:"Explain the authentication flow step by step"`
	Stream    *bool         `json:"stream,omitempty" doc:"By default true; false answers as ask does" example:"true"`
	Timeout   int64         `json:"timeout,omitempty" minimum:"1" maximum:"86400000" doc:"How long the team may work on it, in milliseconds; without it the configured turnTimeout. With stream false: how long to wait, as for ask" example:"600000"`
	Context   *iris.Context `json:"context,omitempty" doc:"Where the message comes from; the agent gets it as data beside the message" example:"{\"source\":\"github-webhook\",\"metadata\":{\"pr_number\":123,\"author\":\"john.doe\"}}"`
	SessionID string        `json:"sessionId,omitempty" maxLength:"128" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"a readable text, not blank and without control characters" doc:"The conversation to continue, as for ask" example:"github:acme/api#123"`
}

type streamByQueryIn struct {
	Team        string `path:"team" doc:"The team's name" example:"backend"`
	LastEventID string `header:"Last-Event-ID" doc:"As for POST; an EventSource sends it by itself"`
	Attend      string `header:"Iris-Attend" enum:"yes,no" doc:"As for POST"`
	Message     string `query:"message" pattern:"[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]" patternDescription:"a text that is not blank" doc:"What to ask; needed unless there is a Last-Event-ID" example:"Explain the authentication flow step by step"`
	Timeout     int64  `query:"timeout" minimum:"1" maximum:"86400000" doc:"As for POST"`
	SessionID   string `query:"sessionId" maxLength:"128" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"a readable text, not blank and without control characters" doc:"As for POST"`
}

type followIn struct {
	ID          string `path:"messageId" doc:"The id of a message or of a job" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	LastEventID string `header:"Last-Event-ID" doc:"The id of the last event that was seen; counts before after"`
	Attend      string `header:"Iris-Attend" enum:"yes,no" doc:"no: nobody who reads this stream decides on permissions"`
	After       int64  `query:"after" minimum:"0" doc:"The number of the last event that was seen"`
}

// streamOut answers by a function, for an answer that is written bit by bit.
type streamOut struct {
	Body func(huma.Context)
}

func (s *Server) stream(ctx context.Context, req *request, in *streamIn) (*streamOut, error) {
	if err := req.team(in.Team); err != nil {
		return nil, err
	}
	if in.LastEventID != "" {
		return s.resume(ctx, req, in.Team, in.LastEventID)
	}
	if in.Body == nil {
		return nil, req.refuse(problem{"body", "is missing: send a JSON object"})
	}
	b := in.Body
	ask := iris.Ask{
		Caller: req.caller, Team: in.Team, Text: b.Message, Context: contextOf(b.Context),
		SessionID: b.SessionID, Priority: iris.PriorityNormal,
	}
	if b.Stream == nil || *b.Stream {
		ask.Timeout = milliseconds(b.Timeout)
		return s.begin(ctx, req, ask)
	}
	patience := 30 * time.Second
	if b.Timeout > 0 {
		patience = milliseconds(b.Timeout)
	}
	ask.Until = req.arrived.Add(patience)
	m, err := s.submit(ctx, req, ask)
	if err != nil {
		return nil, err
	}
	if m, err = s.await(ctx, req, m, patience, false); err != nil {
		return nil, err
	}
	return &streamOut{func(h huma.Context) { s.writeJSON(humagin.Unwrap(h), http.StatusOK, answerOf(m)) }}, nil
}

func (s *Server) streamByQuery(ctx context.Context, req *request, in *streamByQueryIn) (*streamOut, error) {
	if err := req.team(in.Team); err != nil {
		return nil, err
	}
	if in.LastEventID != "" {
		return s.resume(ctx, req, in.Team, in.LastEventID)
	}
	if in.Message == "" {
		return nil, req.refuse(problem{"message", "is missing"})
	}
	return s.begin(ctx, req, iris.Ask{
		Caller: req.caller, Team: in.Team, Text: strings.ToValidUTF8(in.Message, "�"),
		SessionID: strings.ToValidUTF8(in.SessionID, "�"), Priority: iris.PriorityNormal, Timeout: milliseconds(in.Timeout),
	})
}

func (s *Server) followMessage(ctx context.Context, req *request, in *followIn) (*streamOut, error) {
	m, err := s.head(ctx, req, in.ID)
	if err != nil {
		return nil, err
	}
	field, after := "after", in.After
	if in.LastEventID != "" {
		id, n, ok := parseEventID(in.LastEventID)
		if !ok || id != m.ID {
			return nil, req.refuse(problem{"Last-Event-ID", "is not the id of an event of this message"})
		}
		field, after = "Last-Event-ID", n
	}
	return s.goOn(ctx, req, m, field, after)
}

// begin asks and follows the answer. What Submit refuses is an answer like any other; from
// then on errors are events.
func (s *Server) begin(ctx context.Context, req *request, a iris.Ask) (*streamOut, error) {
	m, err := s.submit(ctx, req, a)
	if err != nil {
		return nil, err
	}
	return s.follow(req, m, 0), nil
}

// resume goes on behind an event of a message that was asked over this team's stream.
func (s *Server) resume(ctx context.Context, req *request, team, lastEventID string) (*streamOut, error) {
	id, after, ok := parseEventID(lastEventID)
	if !ok {
		return nil, req.refuse(problem{"Last-Event-ID", "is not the id of an event of Iris; leave the header out to ask anew"})
	}
	m, err := s.store.Head(ctx, id)
	if err != nil {
		return nil, err
	}
	if m.Team != team {
		return nil, iris.Errorf(iris.CodeMessageNotFound, "no message of this team has the id in Last-Event-ID")
	}
	if err := req.reach(m, iris.ScopeMessagesRead, iris.ScopeMessagesStream); err != nil {
		return nil, err
	}
	return s.goOn(ctx, req, m, "Last-Event-ID", after)
}

// goOn follows a message from behind an event, which the field named (the header, or the
// parameter) told. If that was its last one the answer is 204, which keeps an EventSource from
// asking for more.
func (s *Server) goOn(ctx context.Context, req *request, m iris.Message, field string, after int64) (*streamOut, error) {
	if after > 0 {
		last, err := s.store.LastSeq(ctx, m.ID)
		if err != nil {
			return nil, err
		}
		if after > last {
			return nil, req.refuse(problem{field, "names an event that has not happened; the last one has the number " + strconv.FormatInt(last, 10)})
		}
		if after == last && m.Status.Final() {
			return &streamOut{func(h huma.Context) { h.SetStatus(http.StatusNoContent) }}, nil
		}
	}
	return s.follow(req, m, after), nil
}

// follow writes a message's events, from behind one to the last.
func (s *Server) follow(req *request, m iris.Message, after int64) *streamOut {
	m = iris.Message{ID: m.ID, Team: m.Team, Caller: m.Caller} // its answer may be long
	req.message = m.ID
	return &streamOut{func(h huma.Context) {
		g := humagin.Unwrap(h)
		f := &follower{server: s, req: req, message: m, g: g, checked: time.Now()}
		header := g.Writer.Header()
		header.Set("Content-Type", "text/event-stream")
		header.Set("X-Accel-Buffering", "no") // nginx would gather the events
		g.Status(http.StatusOK)
		defer s.attend(req, g.Request.Header, m.ID)()
		s.cfg.Metrics.Streams("sse", 1)
		defer s.cfg.Metrics.Streams("sse", -1)
		ctx := g.Request.Context()
		if err := f.run(ctx, after); err != nil {
			if req.err = err; ctx.Err() == nil {
				req.code = iris.CodeInternal
			}
		}
	}}
}

// follower is one client that follows one message. It belongs to its request's goroutine.
type follower struct {
	server  *Server
	req     *request
	message iris.Message // only whose it is, and of which team
	g       *gin.Context
	buf     bytes.Buffer
	checked time.Time // when the key was last known to be good
}

// run returns why the stream ended before its last event: the events failed; or ctx ended, for
// the client is gone or too slow, or the server ends. The client goes on with the id of the
// last event it saw.
func (f *follower) run(ctx context.Context, after int64) error {
	ctx, stop := context.WithCancel(ctx)
	var failed error // set before events is closed
	events := make(chan iris.Event, 4)
	go func() {
		defer close(events)
		for ev, err := range f.server.dispatcher.Events(ctx, f.message.ID, after) {
			if err != nil {
				failed = err
				return
			}
			select {
			case events <- ev:
			case <-ctx.Done():
				failed = context.Cause(ctx)
				return
			}
		}
	}()
	defer func() { // waits for the goroutine
		stop()
		for range events {
		}
	}()

	f.g.Writer.Flush()
	beat := time.NewTimer(heartbeat)
	defer beat.Stop()
	for {
		select {
		case ev, open := <-events:
			if !open {
				return failed
			}
			if !f.stillGood(ctx) {
				return nil
			}
			f.event(ev)
			if ev.Last() || len(events) == 0 {
				f.g.Writer.Flush()
			}
			if ev.Last() {
				return nil
			}
			beat.Reset(heartbeat)
		case <-beat.C:
			if !f.stillGood(ctx) {
				return nil
			}
			_, _ = f.g.Writer.WriteString(": still working\n\n")
			f.g.Writer.Flush()
			beat.Reset(heartbeat)
		}
	}
}

// stillGood asks now and then whether the key is still good, and still may follow the message;
// if not it says so and the stream is over. Between two checks nothing is written.
func (f *follower) stillGood(ctx context.Context) bool {
	if time.Since(f.checked) < recheck {
		return true
	}
	err := f.server.still(ctx, f.req)
	if err == nil {
		err = f.req.reach(f.message, iris.ScopeMessagesRead, iris.ScopeMessagesStream)
	}
	if err == nil {
		f.checked = time.Now()
		return true
	}
	f.send("", string(iris.EventError), f.req.failure(ctx, err))
	f.g.Writer.Flush()
	return false
}

func (f *follower) event(ev iris.Event) {
	f.send(eventID(ev.MessageID, ev.Seq), string(ev.Kind), f.req.eventData(ev))
}

// send writes one event. The blanks make it look as the specification's examples do: a
// reader drops the first one of each field.
func (f *follower) send(id, name string, data any) {
	if f.buf.Reset(); f.buf.Cap() > 64<<10 {
		f.buf = bytes.Buffer{} // the last event was a large one
	}
	f.buf.WriteByte(' ')
	if err := encodeJSON(&f.buf, data); err != nil {
		panic(err) // data is one of ours
	}
	if id != "" {
		id = " " + id
	}
	line := bytes.TrimSuffix(f.buf.Bytes(), []byte("\n"))
	_ = sse.Encode(f.g.Writer, sse.Event{Id: id, Event: " " + name, Data: line}) // one that fails ends ctx
}

// eventID is what a client gives back to go on behind the event.
func eventID(messageID string, seq int64) string {
	return messageID + ":" + strconv.FormatInt(seq, 10)
}

// parseEventID reads an eventID, and only what eventID may have written.
func parseEventID(s string) (messageID string, seq int64, ok bool) {
	messageID, number, ok := strings.Cut(s, ":")
	if !ok || !strings.HasPrefix(messageID, iris.MessagePrefix) || len(messageID) > longestID {
		return "", 0, false
	}
	seq, err := strconv.ParseInt(number, 10, 64)
	if err != nil || seq < 1 || strconv.FormatInt(seq, 10) != number {
		return "", 0, false
	}
	return messageID, seq, true
}

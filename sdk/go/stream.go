package iris

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// EventKind is the name of an event.
type EventKind string

// The kinds of events. Later servers may send others; they can be ignored.
const (
	EventStart      EventKind = "start"       // the first: the message was accepted
	EventChunk      EventKind = "chunk"       // Text: a piece of the answer
	EventThinking   EventKind = "thinking"    // Thinking: a piece of the model's thinking
	EventToolUse    EventKind = "tool_use"    // Tool, File, Input: the agent calls a tool
	EventToolResult EventKind = "tool_result" // Tool: the call is over
	EventPermission EventKind = "permission"  // ID, Tool, Input: the agent asks for leave; Decision once decided
	EventProgress   EventKind = "progress"    // Progress: the agent's own list of tasks changed
	EventRetry      EventKind = "retry"       // Reason: the agent calls its model again
	EventRestart    EventKind = "restart"     // what was shown is void: the answer begins anew
	EventComplete   EventKind = "complete"    // the last: Duration, Timestamp, Metadata

	// EventReconnect is this package's own and has no Seq: the connection broke, for Reason, and
	// is about to be taken up again where it was. A program that shows no progress ignores it.
	EventReconnect EventKind = "reconnect"
)

// Event is one thing that happened to a message.
type Event struct {
	Kind      EventKind `json:"-"`
	MessageID string    `json:"messageId"`
	Seq       int64     `json:"-"` // 1, 2, 3… within the message

	Text      string          `json:"-"`         // EventChunk alone, so that it can be printed unseen
	Thinking  string          `json:"-"`         // EventThinking
	Team      string          `json:"team"`      // EventStart
	SessionID string          `json:"sessionId"` // EventStart
	ID        string          `json:"id"`        // of a tool's call, or of a permission
	Tool      string          `json:"tool"`
	File      string          `json:"file"`     // the one that the tool works on
	Input     json.RawMessage `json:"input"`    // the tool's arguments
	IsError   bool            `json:"isError"`  // EventToolResult
	Decision  string          `json:"decision"` // EventPermission: "allow" or "deny", or open
	Reason    string          `json:"reason"`   // EventRetry, EventPermission: why, for a person
	Progress  *Progress       `json:"-"`        // EventProgress
	Duration  Duration        `json:"duration"` // EventComplete
	Timestamp Time            `json:"timestamp"`
	Metadata  *Metadata       `json:"metadata"` // EventComplete

	Data json.RawMessage `json:"-"` // the event as the server sent it
}

// reconnects is how many times in a row, about half a minute in all, a stream or a wait that
// broke is taken up again without having heard anything new.
const reconnects = 10

// silence is how long a stream may be without a sign of life before the connection counts as
// broken. The server sends a comment every 15 seconds.
const silence = time.Minute

// eventError is the kind of the last event of a message that failed; the stream ends with the
// Error that it carries.
const eventError EventKind = "error"

// stream follows one message through any number of connections.
type stream struct {
	client  *Client
	first   call   // the call that began it
	reached bool   // the server accepted a call
	lastID  string // of the last event that was yielded
	id      string // of the message
}

// errBroken is why a connection was given up: it ended, or fell silent, before the message did.
var errBroken = errors.New("the stream broke off")

// errLeft is the end of a stream whose reader wants no more.
var errLeft = errors.New("left")

// run yields events up to the last one.
func (s *stream) run(ctx context.Context, yield func(Event, error) bool) {
	next := s.first
	for broken := 0; ; {
		before := s.lastID
		done, err := s.follow(ctx, next, yield)
		switch {
		case done || errors.Is(err, errLeft):
			return
		case ctx.Err() != nil:
			yield(Event{}, fmt.Errorf("iris: %w", context.Cause(ctx)))
			return
		case !errors.Is(err, ErrUnreachable) && !errors.Is(err, errBroken):
			yield(Event{}, err)
			return
		case !s.reached || s.id == "" && s.first.method == http.MethodPost && s.first.key == "":
			// Nobody knows whether a message was accepted, so it is not sent again: only with a
			// key it may be.
			yield(Event{}, asUnreachable(err))
			return
		}
		if s.lastID != before {
			broken = 0
		}
		if broken++; broken > reconnects {
			yield(Event{}, fmt.Errorf("%w, %d times in a row", asUnreachable(err), broken))
			return
		}
		if !yield(Event{Kind: EventReconnect, MessageID: s.id, Reason: err.Error()}, nil) {
			return
		}
		if s.id != "" {
			next = call{method: http.MethodGet, path: "/messages/" + s.id + "/stream", lastID: s.lastID, stream: true, attend: s.first.attend}
		}
		if err := sleep(ctx, backoff(broken, 100*time.Millisecond)); err != nil {
			yield(Event{}, fmt.Errorf("iris: %w", err))
			return
		}
	}
}

func asUnreachable(err error) error {
	if errors.Is(err, ErrUnreachable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// follow yields the events of one connection. It reports whether the last one was among them.
func (s *stream) follow(ctx context.Context, r call, yield func(Event, error) bool) (done bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := s.client.send(ctx, r)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	s.reached = true
	if resp.StatusCode == http.StatusNoContent {
		return true, nil // all was read before
	}
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		return false, fmt.Errorf("iris: %s answered with %q instead of an event stream: is that address Iris?", s.client.baseURL, kind)
	}
	watchdog := time.AfterFunc(silence, func() { cancel(errBroken) })
	defer watchdog.Stop()
	lines := bufio.NewReader(resp.Body)
	for {
		f, err := readFrame(lines, func() { watchdog.Reset(silence) })
		if err != nil {
			return false, fmt.Errorf("%w: %w", errBroken, err)
		}
		event, err := s.event(f)
		if err != nil {
			return false, err
		}
		if f.id != "" {
			s.lastID = f.id
		}
		watchdog.Stop() // the reader may take its time
		if !yield(event, nil) {
			return false, errLeft
		}
		watchdog.Reset(silence)
		if event.Kind == EventComplete {
			return true, nil
		}
	}
}

// event makes an Event of a frame, or the error that ends the stream.
func (s *stream) event(f frame) (Event, error) {
	if EventKind(f.name) == eventError {
		e := &Error{}
		if err := json.Unmarshal(f.data, e); err != nil {
			return Event{}, fmt.Errorf("iris: read the last event: %w", err)
		}
		return Event{}, e
	}
	event := Event{Kind: EventKind(f.name), Data: f.data}
	if err := json.Unmarshal(f.data, &event); errors.As(err, new(*json.SyntaxError)) {
		return Event{}, fmt.Errorf("iris: read an event %q: %w", f.name, err)
	} // an event of a later server may have a field in another form: Data has it
	var data struct {
		Text string `json:"text"`
	}
	_ = json.Unmarshal(f.data, &data) // as above
	switch event.Kind {
	case EventChunk:
		event.Text = data.Text
	case EventThinking:
		event.Thinking = data.Text
	case EventRetry:
		event.Reason = data.Text
	case EventProgress:
		event.Progress = new(Progress)
		_ = json.Unmarshal(f.data, event.Progress) // as above
	}
	if id, seq, ok := strings.Cut(f.id, ":"); ok { // "<messageId>:<n>"
		event.MessageID = id
		event.Seq, _ = strconv.ParseInt(seq, 10, 64) // zero when the server numbers otherwise
		s.id = id
	} else if event.MessageID != "" {
		s.id = event.MessageID
	}
	return event, nil
}

// frame is one server-sent event (HTML Living Standard, 9.2).
type frame struct {
	id, name string
	data     []byte
}

// readFrame reads up to the end of the next event that has data. Every line that comes in,
// comments too, is a sign of life. An event that is cut short is an error, not an event.
func readFrame(r *bufio.Reader, alive func()) (frame, error) {
	f := frame{name: "message"}
	var has bool
	for {
		line, err := r.ReadBytes('\n') // lines may be megabytes long
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return frame{}, err
		}
		alive()
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			if has {
				return f, nil
			}
			f = frame{name: "message"}
			continue
		}
		field, value, _ := strings.Cut(text, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			f.id = value
		case "event":
			f.name = value
		case "data":
			if has {
				f.data = append(f.data, '\n')
			}
			f.data = append(f.data, value...)
			has = true
		}
	}
}

package iris

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Messages are what was said to the teams and what became of it.
type Messages struct{ client *Client }

// Get is the message as it stands. The id is a message's or a job's.
func (m *Messages) Get(ctx context.Context, id string) (*Message, error) {
	return m.get(ctx, id, nil)
}

// Wait waits until the message is finished, for as long as the context lasts. It outlives
// short absences of the server. A message that failed is no error of Wait: see Message.Err.
func (m *Messages) Wait(ctx context.Context, id string) (*Message, error) {
	for broken := 0; ; {
		message, err := m.get(ctx, id, url.Values{"wait": {"60000"}})
		switch {
		case err == nil && message.Status.Final():
			return message, nil
		case err == nil:
			broken = 0
		case !errors.Is(err, ErrUnreachable) || broken == reconnects:
			return nil, err
		default:
			broken++
			if sleep(ctx, backoff(broken, 100*time.Millisecond)) != nil {
				return nil, fmt.Errorf("iris: %w", context.Cause(ctx))
			}
		}
	}
}

// Cancel cancels the message: a waiting one is not run, a running one is interrupted. One that
// is finished stays as it is. It returns the message.
func (m *Messages) Cancel(ctx context.Context, id string) (*Message, error) {
	return m.post(ctx, id, "/cancel")
}

// Resend has the callback of a finished task called again now, whatever became of it before.
// It returns the message.
func (m *Messages) Resend(ctx context.Context, id string) (*Message, error) {
	return m.post(ctx, id, "/resend")
}

func (m *Messages) post(ctx context.Context, id, verb string) (*Message, error) {
	path, err := messagePath(id, verb)
	if err != nil {
		return nil, err
	}
	var message Message
	if err := m.client.do(ctx, call{method: http.MethodPost, path: path}, &message); err != nil {
		return nil, err
	}
	return &message, nil
}

// Stream yields what happened to the message after event number after (0: from the start),
// then what happens, to its end, like Team.Stream. The message of a job goes by its job's id
// too.
func (m *Messages) Stream(ctx context.Context, id string, after int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		path, err := messagePath(id, "/stream")
		if err != nil {
			yield(Event{}, err)
			return
		}
		query := url.Values{"after": {strconv.FormatInt(after, 10)}}
		s := &stream{client: m.client, first: call{method: http.MethodGet, path: path, query: query, stream: true}}
		s.run(ctx, yield)
	}
}

// HistoryFilter selects messages. Its zero value selects the newest fifty.
type HistoryFilter struct {
	Team   string
	From   string // a team, "api" or "local"
	To     string // the same as Team
	Status Status
	Since  time.Time // by the message's creation
	Until  time.Time
	Query  string // all its words stand in the message or its response
	Limit  int    // 1 to 200; zero is 50
	Page   int    // from 1; zero is 1
	Cursor string // instead of a page: what comes after the History whose NextCursor it is
}

// History is a page of messages, newest first.
type History struct {
	Messages   []Message  `json:"messages"`
	Pagination Pagination `json:"pagination"`
}

// Pagination says which page of how many messages it is.
type Pagination struct {
	Page    int  `json:"page"`
	Limit   int  `json:"limit"`
	Total   int  `json:"total"`
	HasNext bool `json:"hasNext"`
	// TotalCapped says that a Query found more than Total.
	TotalCapped bool `json:"totalCapped,omitempty"`
	// NextCursor is the Cursor of the next page, empty on the last. Unlike a page's number it
	// means the same however many messages come meanwhile.
	NextCursor string `json:"nextCursor"`
}

// History is the messages that the filter selects.
func (m *Messages) History(ctx context.Context, f HistoryFilter) (*History, error) {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" && value != "0" {
			q.Set(name, value)
		}
	}
	set("team", f.Team)
	set("from", f.From)
	set("to", f.To)
	set("status", string(f.Status))
	set("limit", strconv.Itoa(f.Limit))
	set("page", strconv.Itoa(f.Page))
	set("cursor", f.Cursor)
	if f.Query != "" { // "0" is a word
		q.Set("q", f.Query)
	}
	if !f.Since.IsZero() {
		q.Set("since", strconv.FormatInt(f.Since.UnixMilli(), 10))
	}
	if !f.Until.IsZero() {
		q.Set("until", strconv.FormatInt(f.Until.UnixMilli(), 10))
	}
	var history History
	if err := m.client.do(ctx, call{method: http.MethodGet, path: "/messages/history", query: q}, &history); err != nil {
		return nil, err
	}
	for i := range history.Messages { // which has them under one name each
		m := &history.Messages[i]
		m.Team, m.CreatedAt = m.To, m.Timestamp
	}
	return &history, nil
}

func (m *Messages) get(ctx context.Context, id string, query url.Values) (*Message, error) {
	path, err := messagePath(id, "")
	if err != nil {
		return nil, err
	}
	var message Message
	if err := m.client.do(ctx, call{method: http.MethodGet, path: path, query: query}, &message); err != nil {
		return nil, err
	}
	return &message, nil
}

// messagePath refuses ids that would make another path of it.
func messagePath(id, verb string) (string, error) {
	if id == "" || id == "." || id == ".." || id == "history" {
		return "", &Error{Code: CodeMessageNotFound, Message: fmt.Sprintf("message %q does not exist", id)}
	}
	return "/messages/" + url.PathEscape(id) + verb, nil
}

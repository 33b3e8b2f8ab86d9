package httpapi

import (
	"context"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

type historyIn struct {
	Team   string      `query:"team" doc:"The team that was asked"`
	From   string      `query:"from" doc:"Who asked: a team, api, or local"`
	To     string      `query:"to" doc:"The same as team"`
	Status iris.Status `query:"status" enum:"queued,processing,completed,failed,cancelled"`
	Limit  int         `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Page   int         `query:"page" minimum:"1" maximum:"1000000" default:"1"`
	Since  int64       `query:"since" minimum:"0" maximum:"253402300799999" doc:"Accepted at this time or later, Unix milliseconds"`
	Until  int64       `query:"until" minimum:"1" maximum:"253402300799999" doc:"Accepted at this time or earlier, Unix milliseconds"`
}

type historyOut struct {
	Body struct {
		Messages   []historyItem `json:"messages"`
		Pagination pagination    `json:"pagination"`
	}
}

// historyItem is a message of the history. Response and Duration are null until there are any.
type historyItem struct {
	MessageID string      `json:"messageId"`
	JobID     string      `json:"jobId,omitempty"`
	From      string      `json:"from"`
	To        string      `json:"to"`
	Caller    string      `json:"caller,omitempty"`
	SessionID string      `json:"sessionId"`
	Message   string      `json:"message"`
	Response  *string     `json:"response"`
	Status    iris.Status `json:"status"`
	Error     string      `json:"error,omitempty"`
	Code      iris.Code   `json:"code,omitempty"`
	Duration  *int64      `json:"duration" doc:"Milliseconds from acceptance to end"`
	Timestamp int64       `json:"timestamp" doc:"When it was accepted, Unix milliseconds"`
}

type pagination struct {
	Page    int  `json:"page"`
	Limit   int  `json:"limit"`
	Total   int  `json:"total" doc:"Of all pages, exact"`
	HasNext bool `json:"hasNext"`
}

func (s *Server) history(ctx context.Context, req *request, in *historyIn) (*historyOut, error) {
	out := &historyOut{}
	out.Body.Messages = []historyItem{}
	out.Body.Pagination = pagination{Page: in.Page, Limit: in.Limit}
	for _, team := range []string{in.Team, in.To} {
		if team != "" && !req.caller.Reaches(team) {
			return nil, req.forbid(req.route.scopes, "this key is bound to other teams than the one asked for")
		}
	}
	if in.Team != "" && in.To != "" && in.Team != in.To {
		return out, nil // no message goes to two teams
	}
	f := iris.Filter{
		Team: in.Team, From: in.From, Status: in.Status, Teams: req.caller.Teams,
		Since: fromMilli(in.Since), Until: fromMilli(in.Until), Limit: in.Limit, Page: in.Page,
	}
	if in.To != "" {
		f.Team = in.To
	}
	page, err := s.store.Messages(ctx, f)
	if err != nil {
		return nil, err
	}
	out.Body.Pagination.Total = page.Total
	out.Body.Pagination.HasNext = in.Page*in.Limit < page.Total
	for _, m := range page.Messages {
		out.Body.Messages = append(out.Body.Messages, itemOf(m))
	}
	return out, nil
}

func itemOf(m iris.Message) historyItem {
	item := historyItem{
		MessageID: m.ID, From: m.Caller.From(), To: m.Team, SessionID: m.SessionRef(),
		Message: m.Text, Status: m.Status, Timestamp: m.CreatedAt.UnixMilli(),
	}
	if m.Task {
		item.JobID = m.JobID()
	}
	if m.Caller.Kind == iris.CallerKey {
		item.Caller = m.Caller.Name
	}
	if m.Status == iris.StatusCompleted {
		item.Response = &m.Response
	}
	if m.Err != nil {
		item.Error, item.Code = m.Err.Message, m.Err.Code
	}
	if m.Status.Final() {
		item.Duration = new(m.Duration().Milliseconds())
	}
	return item
}

// fromMilli is the zero time for 0.
func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

package httpapi

import (
	"context"
	"strings"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

type historyIn struct {
	Team   string      `query:"team" doc:"The team that was asked" example:"backend"`
	From   string      `query:"from" doc:"Who asked: a team, api, or local" example:"api"`
	To     string      `query:"to" doc:"The same as team" example:"backend"`
	Status iris.Status `query:"status" enum:"queued,processing,completed,failed,cancelled" doc:"Only those of this status" example:"completed"`
	Query  string      `query:"q" maxLength:"1000" doc:"Only messages in which, or in whose response, all these words stand; any text will do" example:"database indexes"`
	Limit  int         `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Messages on a page"`
	Page   int         `query:"page" minimum:"1" maximum:"1000000" doc:"Number of the page, from 1, which is the default; not beside a cursor" example:"1"`
	Cursor string      `query:"cursor" doc:"The nextCursor of an earlier answer: what comes after it, however many messages have come since" example:"gNCPpZhj8B4C"`
	Since  int64       `query:"since" minimum:"0" maximum:"253402300799999" doc:"Accepted at this time or later, Unix milliseconds" example:"1704067200000"`
	Until  int64       `query:"until" minimum:"1" maximum:"253402300799999" doc:"Accepted at this time or earlier, Unix milliseconds" example:"1735689600000"`
}

type historyOut struct {
	Body struct {
		Messages   []historyItem `json:"messages" doc:"Newest first"`
		Pagination pagination    `json:"pagination" doc:"Where the page is"`
	}
}

// historyItem is a message of the history. Response and Duration are null until there are any.
type historyItem struct {
	MessageID string      `json:"messageId" doc:"Fetches it" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	JobID     string      `json:"jobId,omitempty" doc:"Of a task"`
	From      string      `json:"from" doc:"The team that asked, api, or local" example:"api"`
	To        string      `json:"to" doc:"The team that was asked" example:"backend"`
	Caller    string      `json:"caller,omitempty" doc:"The name of the API key that asked" example:"ci"`
	SessionID string      `json:"sessionId" doc:"Continues its conversation" example:"ses_01KAH3M4R1J5K6M7N8P9Q0R1S2"`
	Message   string      `json:"message" doc:"What was said to the team" example:"What database indexes exist?"`
	Response  *string     `json:"response" doc:"The answer; null until there is one" example:"We have indexes on users.email and orders.created_at."`
	Status    iris.Status `json:"status" enum:"queued,processing,completed,failed,cancelled" doc:"The last three are final" example:"completed"`
	Error     string      `json:"error,omitempty" doc:"Why it failed or was cancelled"`
	Code      iris.Code   `json:"code,omitempty" doc:"The code of the error"`
	Duration  *int64      `json:"duration" doc:"Milliseconds from acceptance to end; null until then" example:"2847"`
	Timestamp int64       `json:"timestamp" doc:"When it was accepted, Unix milliseconds" example:"1704067200000"`
}

type pagination struct {
	Page        int     `json:"page" doc:"From 1" example:"1"`
	Limit       int     `json:"limit" doc:"Messages on a page" example:"50"`
	Total       int     `json:"total" doc:"Of all pages, exact; with q at most 10,000" example:"247"`
	TotalCapped bool    `json:"totalCapped,omitempty" doc:"With q: there are more than total"`
	HasNext     bool    `json:"hasNext" doc:"There is a page after this one" example:"true"`
	NextCursor  *string `json:"nextCursor" doc:"The cursor of the next page; null on the last" example:"gNCPpZhj8B4C"`
}

func (s *Server) history(ctx context.Context, req *request, in *historyIn) (*historyOut, error) {
	out := &historyOut{}
	out.Body.Messages = []historyItem{}
	p := &out.Body.Pagination
	p.Page, p.Limit = max(in.Page, 1), in.Limit
	var after iris.Cursor
	if in.Cursor != "" {
		var ok bool
		if after, ok = iris.ParseCursor(in.Cursor); !ok {
			return nil, req.refuse(problem{"cursor", "is not a nextCursor of this API; leave it out to begin with the newest message"})
		}
		if in.Page != 0 {
			return nil, req.refuse(problem{"page", "says where a page begins, and so does cursor: send one of them"})
		}
		p.Page = after.Page + 1
	}
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
		Since: fromMilli(in.Since), Until: fromMilli(in.Until), Limit: in.Limit, Page: p.Page, After: after, Query: strings.TrimSpace(in.Query),
	}
	if in.To != "" {
		f.Team = in.To
	}
	page, err := s.store.Messages(ctx, f)
	if err != nil {
		return nil, err
	}
	p.Total, p.TotalCapped = page.Total, page.TotalCapped
	if !page.Next.IsZero() {
		p.HasNext, p.NextCursor = true, new(page.Next.String())
	}
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
	if m.Caller.Credentialed() {
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

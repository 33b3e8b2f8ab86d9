package httpapi

import (
	"context"
	"encoding/json"

	iris "github.com/iris-mcp/iris-mcp"
)

type executeIn struct {
	Team string `path:"team" doc:"The team's name"`
	Body executeBody
}

type executeBody struct {
	Task        string          `json:"task" pattern:"[^\\s\\p{Z}\\p{Cc}]" patternDescription:"a text that is not blank" doc:"What to do"`
	Priority    string          `json:"priority,omitempty" enum:"low,normal,high" default:"normal"`
	Timeout     int64           `json:"timeout,omitempty" minimum:"1" maximum:"86400000" doc:"How long the team may work on it, in milliseconds; without it the configured turnTimeout"`
	Callback    json.RawMessage `json:"callback,omitempty" hidden:"true"` // refused below, in words of its own
	Context     *iris.Context   `json:"context,omitempty" doc:"Where the task comes from; the agent gets it as data beside the task"`
	SessionID   string          `json:"sessionId,omitempty" maxLength:"128" pattern:"^\\P{Cc}*[^\\s\\p{Z}\\p{Cc}]\\P{Cc}*$" patternDescription:"a readable text without control characters" doc:"The conversation to continue, as for ask"`
	Dedupe      *bool           `json:"dedupe,omitempty" doc:"By default true: the same task that still waits or runs is not queued twice"`
	MaxAttempts int             `json:"maxAttempts,omitempty" minimum:"1" maximum:"100" doc:"How often it may begin; it begins again only when Iris was ended in its middle. Without it the configured queue.maxAttempts"`
}

type executeOut struct {
	Location string `header:"Location" doc:"Where to ask what became of it"`
	Body     accepted
}

// accepted is what an execute comes back with.
type accepted struct {
	JobID               string      `json:"jobId"`
	MessageID           string      `json:"messageId"`
	Team                string      `json:"team"`
	Status              iris.Status `json:"status" enum:"queued,processing"`
	EstimatedCompletion *int64      `json:"estimatedCompletion" doc:"Unix milliseconds; null when the team has not done enough yet to tell"`
	Position            int         `json:"position" doc:"From 1, among the team's waiting jobs; 0 when it runs already"`
}

func (s *Server) execute(ctx context.Context, req *request, in *executeIn) (*executeOut, error) {
	b := in.Body
	if !absent(b.Callback) {
		return nil, req.refuse(problem{"callback", "is refused: webhooks are not delivered by this version; poll GET " + base + "/messages/<jobId>?wait=60000"})
	}
	if err := req.team(in.Team); err != nil {
		return nil, err
	}
	priority, _ := iris.ParsePriority(b.Priority)
	m, err := s.submit(ctx, iris.Ask{
		Caller: req.caller, Team: in.Team, Text: b.Task, Context: contextOf(b.Context), SessionID: b.SessionID,
		Task: true, Priority: priority, Timeout: milliseconds(b.Timeout),
		MaxAttempts: b.MaxAttempts, NoDedupe: b.Dedupe != nil && !*b.Dedupe,
	})
	if err != nil {
		return nil, err
	}
	position, completion, err := s.dispatcher.Estimate(context.WithoutCancel(ctx), m)
	if err != nil {
		return nil, about(ctx, m.ID, err)
	}
	if m.Status == iris.StatusQueued {
		position = max(position, 1) // it was the first in line, and has been taken since
	}
	return &executeOut{
		Location: base + "/messages/" + m.JobID(),
		Body: accepted{
			JobID: m.JobID(), MessageID: m.ID, Team: m.Team, Status: m.Status,
			EstimatedCompletion: unixMilli(completion), Position: position,
		},
	}, nil
}

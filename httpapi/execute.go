package httpapi

import (
	"context"

	iris "github.com/iris-mcp/iris-mcp"
)

type executeIn struct {
	Team string `path:"team" doc:"The team's name" example:"backend"`
	Body executeBody
}

type executeBody struct {
	Task        string        `json:"task" pattern:"[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]" patternDescription:"a text that is not blank" doc:"What to do" example:"Run npm audit and fix any vulnerabilities with auto-fixable patches"`
	Priority    string        `json:"priority,omitempty" enum:"low,normal,high" default:"normal" doc:"Which of the team's waiting messages goes first"`
	Timeout     int64         `json:"timeout,omitempty" minimum:"1" maximum:"86400000" doc:"How long the team may work on it, in milliseconds; without it the configured turnTimeout" example:"600000"`
	Callback    *callback     `json:"callback,omitempty" doc:"Whom to tell when the task has ended, however it ended"`
	Context     *iris.Context `json:"context,omitempty" doc:"Where the task comes from; the agent gets it as data beside the task" example:"{\"source\":\"github-webhook\",\"metadata\":{\"pr_number\":123,\"author\":\"john.doe\"}}"`
	SessionID   string        `json:"sessionId,omitempty" maxLength:"128" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"a readable text, not blank and without control characters" doc:"The conversation to continue, as for ask" example:"nightly"`
	Dedupe      *bool         `json:"dedupe,omitempty" doc:"By default true: the same task that still waits or runs is not queued twice" example:"true"`
	MaxAttempts int           `json:"maxAttempts,omitempty" minimum:"1" maximum:"100" doc:"How often it may begin: again when it failed in a way that may pass, or when Iris was ended in its middle. Without it the configured queue.maxAttempts" example:"3"`
}

// callback is a webhook. What it may be is said by the dispatcher.
type callback struct {
	URL     string            `json:"url" doc:"https or http, at a public address unless webhooks.allowPrivate is set" example:"https://api.example.com/webhooks/iris"`
	Method  string            `json:"method,omitempty" enum:"POST,PUT,PATCH" default:"POST" doc:"How the address is called"`
	Headers map[string]string `json:"headers,omitempty" doc:"Sent along; never shown again" example:"{\"Authorization\":\"Bearer webhook-secret\"}"`
}

func (c *callback) of() *iris.Callback {
	if c == nil {
		return nil
	}
	return &iris.Callback{URL: c.URL, Method: c.Method, Headers: c.Headers}
}

type executeOut struct {
	Location string `header:"Location" doc:"Where to ask what became of it"`
	Body     accepted
}

// accepted is what an execute comes back with.
type accepted struct {
	JobID               string      `json:"jobId" doc:"Wherever an id is wanted, this or messageId" example:"job_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	MessageID           string      `json:"messageId" doc:"Wherever an id is wanted, this or jobId" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	Team                string      `json:"team" doc:"The team that has the task" example:"backend"`
	Status              iris.Status `json:"status" enum:"queued,processing" doc:"processing for a repeated task that runs already"`
	EstimatedCompletion *int64      `json:"estimatedCompletion" doc:"Unix milliseconds; null when the team has not done enough yet to tell" example:"1704067500000"`
	Position            int         `json:"position" doc:"From 1, among the team's waiting jobs; 0 when it runs already" example:"3"`
}

func (s *Server) execute(ctx context.Context, req *request, in *executeIn) (*executeOut, error) {
	b := in.Body
	if err := req.team(in.Team); err != nil {
		return nil, err
	}
	priority, _ := iris.ParsePriority(b.Priority)
	m, err := s.submit(ctx, req, iris.Ask{
		Caller: req.caller, Team: in.Team, Text: b.Task, Context: contextOf(b.Context), SessionID: b.SessionID,
		Task: true, Priority: priority, Timeout: milliseconds(b.Timeout),
		MaxAttempts: b.MaxAttempts, NoDedupe: b.Dedupe != nil && !*b.Dedupe, Callback: b.Callback.of(),
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

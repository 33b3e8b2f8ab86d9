package httpapi

import (
	"context"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

type messageIn struct {
	ID   string `path:"messageId" doc:"The id of a message or of a job" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	Wait int64  `query:"wait" minimum:"0" maximum:"60000" doc:"Answer when the message is finished, or after this many milliseconds" example:"60000"`
}

type cancelIn struct {
	ID string `path:"messageId" doc:"The id of a message or of a job" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
}

type messageOut struct {
	Body messageView
}

// messageView is a message as those who may read it see it. What is not there yet is left out.
type messageView struct {
	MessageID           string         `json:"messageId" doc:"Fetches, follows and cancels it" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	JobID               string         `json:"jobId,omitempty" doc:"Of a task" example:"job_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	Team                string         `json:"team" doc:"The team that was asked" example:"backend"`
	From                string         `json:"from" doc:"The team that asked, api, or local" example:"api"`
	To                  string         `json:"to" doc:"The same as team" example:"backend"`
	Caller              string         `json:"caller,omitempty" doc:"The name of the API key that asked" example:"ci"`
	SessionID           string         `json:"sessionId" doc:"Continues its conversation" example:"ses_01KAH3M4R1J5K6M7N8P9Q0R1S2"`
	Message             string         `json:"message,omitempty" doc:"What was said to the team" example:"Run npm audit and fix any vulnerabilities with auto-fixable patches"`
	Status              iris.Status    `json:"status" enum:"queued,processing,completed,failed,cancelled" doc:"The last three are final" example:"completed"`
	Progress            progress       `json:"progress" doc:"How far it is"`
	CreatedAt           int64          `json:"createdAt" doc:"Unix milliseconds, as all times" example:"1704067200000"`
	StartedAt           *int64         `json:"startedAt,omitempty" doc:"Of its last turn" example:"1704067205000"`
	CompletedAt         *int64         `json:"completedAt,omitempty" doc:"When it became final" example:"1704067215234"`
	EstimatedCompletion *int64         `json:"estimatedCompletion,omitempty" doc:"Of one that is not finished, when anybody can know"`
	Attempts            int            `json:"attempts" doc:"How often it began" example:"1"`
	Duration            *int64         `json:"duration,omitempty" doc:"Milliseconds from acceptance to end" example:"15234"`
	Response            *string        `json:"response,omitempty" doc:"The answer, when it is completed" example:"Fixed 3 vulnerabilities, 0 require manual review"`
	Result              *result        `json:"result,omitempty" doc:"Of a completed task"`
	Error               string         `json:"error,omitempty" doc:"Why it failed or was cancelled"`
	Code                iris.Code      `json:"code,omitempty" doc:"The code of the error"`
	Details             any            `json:"details,omitempty" doc:"The details of the error"`
	Metadata            *iris.Metadata `json:"metadata,omitempty" doc:"What its turn did and cost"`
	Deliveries          []deliveryView `json:"deliveries,omitempty" doc:"Of a task with a callback"`
}

type progress struct {
	Current    int `json:"current" doc:"How many steps are done" example:"5"`
	Total      int `json:"total" doc:"How many steps there are" example:"5"`
	Percentage int `json:"percentage" doc:"0 to 100" example:"100"`
}

// progressOf is what the agent's list says, 0 of 1 without one.
func progressOf(p iris.Progress) progress {
	return progress{p.Current, max(p.Total, 1), p.Percentage()}
}

// result is a task's answer: its first paragraph, and all of it.
type result struct {
	Summary string `json:"summary" doc:"The first paragraph of the answer, at most 280 characters" example:"Fixed 3 vulnerabilities, 0 require manual review"`
	Details string `json:"details" doc:"The whole answer" example:"Fixed 3 vulnerabilities, 0 require manual review"`
}

func (s *Server) getMessage(ctx context.Context, req *request, in *messageIn) (*messageOut, error) {
	m, err := s.message(ctx, req, in.ID)
	if err != nil {
		return nil, err
	}
	if in.Wait > 0 && !m.Status.Final() {
		if m, err = s.poll(ctx, req, m, milliseconds(in.Wait)); err != nil {
			return nil, err
		}
		if err := s.waited(ctx, req, m); err != nil {
			return nil, err
		}
	}
	return s.view(ctx, req, m)
}

// poll waits until the message is final, the time is over or the server wants to end, and
// says how the message is then.
func (s *Server) poll(ctx context.Context, req *request, m iris.Message, patience time.Duration) (iris.Message, error) {
	wait, stop := context.WithDeadlineCause(ctx, req.arrived.Add(patience), errPatience)
	defer stop()
	wait, enough := context.WithCancelCause(wait)
	defer enough(nil)
	defer context.AfterFunc(s.draining, func() { enough(errPatience) })()
	final, err := s.dispatcher.Wait(wait, m.ID)
	if err != nil && context.Cause(wait) == errPatience {
		return s.store.Message(ctx, m.ID)
	}
	return final, err
}

func (s *Server) cancel(ctx context.Context, req *request, in *cancelIn) (*messageOut, error) {
	m, err := s.message(ctx, req, in.ID)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeoutCause(context.WithoutCancel(ctx), cancelLimit, errPatience)
	defer stop()
	final, err := s.dispatcher.Cancel(ctx, m.ID)
	if err != nil && context.Cause(ctx) == errPatience {
		ctx = context.WithoutCancel(ctx)
		final, err = s.store.Message(ctx, m.ID) // it will end; its status says that it has not yet
	}
	if err != nil {
		return nil, err
	}
	if err := s.waited(ctx, req, final); err != nil {
		return nil, err
	}
	return s.view(ctx, req, final)
}

// cancelLimit is how long a cancel is waited for. An interrupt takes milliseconds, an agent
// that heeds none is killed after some seconds.
const cancelLimit = 30 * time.Second

// view shows a message. Who may cancel it and not read it sees only what became of it.
func (s *Server) view(ctx context.Context, req *request, m iris.Message) (*messageOut, error) {
	v := messageView{
		MessageID: m.ID, Team: m.Team, From: m.Caller.From(), To: m.Team, SessionID: m.SessionRef(),
		Status: m.Status, Progress: progressOf(m.Progress), Attempts: m.Attempts,
		CreatedAt: m.CreatedAt.UnixMilli(), StartedAt: unixMilli(m.StartedAt), CompletedAt: unixMilli(m.CompletedAt),
	}
	if m.Caller.Credentialed() {
		v.Caller = m.Caller.Name
	}
	if m.Task {
		v.JobID = m.JobID()
	}
	if m.Status == iris.StatusCompleted && m.Progress.Total == 0 {
		v.Progress = progress{1, 1, 100}
	}
	if m.Status.Final() {
		v.Duration = new(m.Duration().Milliseconds())
	} else {
		_, completion, err := s.dispatcher.Estimate(ctx, m)
		if err != nil {
			return nil, err
		}
		v.EstimatedCompletion = unixMilli(completion)
	}
	if !req.caller.MayRead(m) {
		return &messageOut{v}, nil
	}
	v.Message = m.Text
	if m.Status == iris.StatusCompleted {
		v.Response = &m.Response
		if m.Task {
			v.Result = &result{m.Summary(), m.Response}
		}
	}
	if m.Err != nil {
		v.Error, v.Code = m.Err.Message, m.Err.Code
		if details := req.details(m.Err); len(details) > 0 {
			v.Details = details
		}
	}
	if m.Metadata != nil {
		v.Metadata = new(metadataOf(m.Metadata))
	}
	if m.Task {
		d, ok, err := s.store.Delivery(ctx, m.ID)
		if err != nil {
			return nil, err
		}
		if ok {
			v.Deliveries = []deliveryView{deliveryOf(d, req.caller.Is(m.Caller))}
		}
	}
	return &messageOut{v}, nil
}

// unixMilli is nil for a time that has not come.
func unixMilli(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.UnixMilli())
}

package mcp

import (
	"context"
	"errors"
	"fmt"

	iris "github.com/iris-mcp/iris-mcp"
)

type checkArgs struct {
	MessageID string `json:"messageId" jsonschema:"msg_… or job_…, from tell_team or from a TIMEOUT error"`
	Wait      int64  `json:"wait,omitempty" jsonschema:"how long to wait for its end, in milliseconds; without it the answer comes at once"`
}

// messageAnswer is a message as it stands. Times are Unix milliseconds.
type messageAnswer struct {
	Status              iris.Status    `json:"status" jsonschema:"queued, processing, completed, failed or cancelled; only a completed one has a response"`
	Response            string         `json:"response,omitempty" jsonschema:"the team's answer"`
	Error               *problem       `json:"error,omitempty" jsonschema:"why the message failed or was cancelled; or, in a result that is an error, what went wrong"`
	Team                string         `json:"team"`
	From                string         `json:"from" jsonschema:"who asked"`
	MessageID           string         `json:"messageId"`
	JobID               string         `json:"jobId,omitempty" jsonschema:"of a task"`
	SessionID           string         `json:"sessionId,omitempty"`
	Attempts            int            `json:"attempts" jsonschema:"how often the team began it"`
	CreatedAt           int64          `json:"createdAt" jsonschema:"Unix milliseconds"`
	StartedAt           int64          `json:"startedAt,omitempty" jsonschema:"Unix milliseconds"`
	CompletedAt         int64          `json:"completedAt,omitempty" jsonschema:"Unix milliseconds"`
	Duration            int64          `json:"duration,omitempty" jsonschema:"milliseconds"`
	Position            int            `json:"position,omitempty" jsonschema:"while queued: its place among the team's waiting messages, from 1"`
	EstimatedCompletion int64          `json:"estimatedCompletion,omitempty" jsonschema:"while it is not final: when it will probably be done, Unix milliseconds"`
	Metadata            *iris.Metadata `json:"metadata,omitempty" jsonschema:"what the team did for it"`
}

func (a messageAnswer) text() string {
	switch a.Status {
	case iris.StatusCompleted:
		return fmt.Sprintf("Team %s completed message %s:\n\n%s", a.Team, a.MessageID, a.Response)
	case iris.StatusFailed, iris.StatusCancelled:
		text := fmt.Sprintf("Message %s to team %s was not answered, it is %s.", a.MessageID, a.Team, a.Status)
		if a.Error != nil {
			text += "\n" + a.Error.text()
		}
		return text
	case iris.StatusQueued:
		text := fmt.Sprintf("Message %s waits for team %s", a.MessageID, a.Team)
		if a.Position > 0 {
			text += fmt.Sprintf(", number %d in its queue", a.Position)
		}
		return text + ". Check again later."
	default:
		return fmt.Sprintf("Team %s is working on message %s. Check again later.", a.Team, a.MessageID)
	}
}

// message says how a message stands.
func (s *Server) message(ctx context.Context, m iris.Message) messageAnswer {
	a := messageAnswer{
		Status: m.Status, Response: m.Response, Team: m.Team, From: m.Caller.From(), MessageID: m.ID,
		SessionID: m.SessionRef(), Attempts: m.Attempts, CreatedAt: millis(m.CreatedAt),
		StartedAt: millis(m.StartedAt), CompletedAt: millis(m.CompletedAt), Duration: m.Duration().Milliseconds(),
	}
	if m.Task {
		a.JobID = m.JobID()
	}
	if m.Metadata != nil {
		a.Metadata = metadata(m)
	}
	if !m.Status.Final() {
		a.Position, a.EstimatedCompletion = s.estimate(ctx, m)
	} else if err := m.Outcome(); err != nil {
		a.Error = problemOf(err)
	}
	return a
}

// find gives a message that the caller may read. Another's is as good as none.
func (s *Server) find(ctx context.Context, who iris.Caller, id string) (iris.Message, error) {
	m, err := s.db.Message(ctx, id)
	if err == nil && !who.MayRead(m) {
		err = iris.Errorf(iris.CodeMessageNotFound, "there is no message %q", id)
	}
	return m, err
}

// check looks a message up. With a wait the end of the wait is no error: the answer says how
// the message stands then. A cancel of this call ends the wait only, for the message is not
// this call's.
func (s *Server) check(ctx context.Context, c call[checkArgs]) (messageAnswer, error) {
	m, err := s.find(ctx, c.Who, c.Args.MessageID)
	if err != nil {
		return messageAnswer{}, err
	}
	if c.Args.Wait > 0 && !m.Status.Final() {
		waiting, stop := c.patience(ctx, c.Args.Wait)
		defer stop()
		if m, err = s.wait(waiting, c.Progress, m); err != nil {
			if waiting.Err() == nil {
				return messageAnswer{}, about(m.ID, err)
			}
			// The wait is over. The message may have begun since it was looked up.
			if m, err = s.find(context.WithoutCancel(ctx), c.Who, m.ID); err != nil {
				return messageAnswer{}, err
			}
		}
	}
	return s.message(context.WithoutCancel(ctx), m), nil
}

type cancelArgs struct {
	MessageID string `json:"messageId" jsonschema:"msg_… or job_…, from tell_team or from a TIMEOUT error"`
}

type cancelAnswer struct {
	Cancelled bool        `json:"cancelled" jsonschema:"false if it had ended before"`
	Status    iris.Status `json:"status" jsonschema:"cancelled, or how it had ended before: completed or failed"`
	MessageID string      `json:"messageId"`
	Team      string      `json:"team"`
}

func (a cancelAnswer) text() string {
	if a.Cancelled {
		return fmt.Sprintf("Message %s to team %s is cancelled.", a.MessageID, a.Team)
	}
	return fmt.Sprintf("Nothing was cancelled: message %s to team %s was already %s. check_message shows it.", a.MessageID, a.Team, a.Status)
}

func (s *Server) cancelMessage(ctx context.Context, c call[cancelArgs]) (cancelAnswer, error) {
	m, err := s.find(ctx, c.Who, c.Args.MessageID)
	if err != nil {
		return cancelAnswer{}, err
	}
	ended := m.Status.Final()
	if !ended {
		if m, err = s.d.Cancel(ctx, m.ID); err != nil && !errors.Is(err, iris.ErrFinal) {
			return cancelAnswer{}, about(c.Args.MessageID, err)
		}
	}
	return cancelAnswer{
		Cancelled: !ended && m.Status == iris.StatusCancelled, Status: m.Status, MessageID: m.ID, Team: m.Team,
	}, nil
}

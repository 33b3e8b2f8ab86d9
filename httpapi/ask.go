package httpapi

import (
	"cmp"
	"context"
	"errors"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

type askIn struct {
	Team string `path:"team" doc:"The team's name" example:"backend"`
	Body askBody
}

type askBody struct {
	Question        string        `json:"question" pattern:"[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]" patternDescription:"a text that is not blank" doc:"What to ask" example:"What database migration system do you use?"`
	Timeout         int64         `json:"timeout,omitempty" minimum:"1" maximum:"86400000" default:"30000" doc:"How long to wait for the answer, in milliseconds from the request's arrival"`
	Context         *iris.Context `json:"context,omitempty" doc:"Where the question comes from; the agent gets it as data beside the question" example:"{\"source\":\"github-webhook\",\"metadata\":{\"pr_number\":123,\"author\":\"john.doe\"}}"`
	SessionID       string        `json:"sessionId,omitempty" maxLength:"128" pattern:"^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x20\\x7f-\\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\\x00-\\x1f\\x7f-\\x9f]*$" patternDescription:"a readable text, not blank and without control characters" doc:"The conversation to continue: the sessionId of an earlier answer, or a name of one's own, made at first use. Without it the conversation is a new one" example:"github:acme/api#123"`
	Priority        string        `json:"priority,omitempty" enum:"low,normal,high" default:"normal" doc:"Which of the team's waiting messages goes first"`
	CancelOnTimeout bool          `json:"cancelOnTimeout,omitempty" doc:"Cancel the question when the timeout is over, instead of letting the team finish" example:"false"`
}

type askOut struct {
	Body answer
}

// answer is what an ask comes back with.
type answer struct {
	MessageID string        `json:"messageId" doc:"Fetches, follows and cancels it" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	Team      string        `json:"team" doc:"The team that was asked" example:"backend"`
	Question  string        `json:"question" doc:"What was asked" example:"What database migration system do you use?"`
	Response  string        `json:"response" doc:"What the team answered" example:"We use Prisma for database migrations."`
	Duration  int64         `json:"duration" doc:"Milliseconds from acceptance to answer" example:"2847"`
	Timestamp int64         `json:"timestamp" doc:"When it was answered, Unix milliseconds" example:"1704067202847"`
	SessionID string        `json:"sessionId" doc:"Continues this conversation" example:"github:acme/api#123"`
	Metadata  iris.Metadata `json:"metadata" doc:"What the turn did and cost"`
}

func (s *Server) ask(ctx context.Context, req *request, in *askIn) (*askOut, error) {
	if err := req.team(in.Team); err != nil {
		return nil, err
	}
	b := in.Body
	priority, _ := iris.ParsePriority(b.Priority)
	m, err := s.submit(ctx, req, iris.Ask{
		Caller: req.caller, Team: in.Team, Text: b.Question, Context: contextOf(b.Context),
		SessionID: b.SessionID, Priority: priority, Until: req.arrived.Add(milliseconds(b.Timeout)),
	})
	if err != nil {
		return nil, err
	}
	m, err = s.await(ctx, req, m, milliseconds(b.Timeout), b.CancelOnTimeout)
	if err != nil {
		return nil, err
	}
	return &askOut{answerOf(m)}, nil
}

// submit hands the message in. A client that leaves meanwhile changes nothing: what it sent
// was complete. If it had sent the same before, it gets the message that came of that.
func (s *Server) submit(ctx context.Context, req *request, a iris.Ask) (iris.Message, error) {
	a.Once = req.once()
	m, err := s.dispatcher.Submit(context.WithoutCancel(ctx), a)
	if m.Repeated {
		req.replayed()
	}
	req.message = m.ID
	return m, err
}

// await waits for the answer, for as long as the caller's patience lasts, counted from the
// request's arrival. The message goes on when the caller is gone, and when the patience is
// over unless it is to be cancelled then.
func (s *Server) await(ctx context.Context, req *request, m iris.Message, patience time.Duration, cancelLate bool) (iris.Message, error) {
	wait, stop := context.WithDeadlineCause(ctx, req.arrived.Add(patience), errPatience)
	defer stop()
	final, err := s.dispatcher.Wait(wait, m.ID)
	if err != nil && errors.Is(context.Cause(wait), errPatience) {
		final, err = s.late(ctx, m, patience, cancelLate)
	}
	if err != nil && errors.Is(context.Cause(ctx), errShutdown) {
		final, err = s.withdraw(ctx, req, m)
	}
	if err == nil {
		err = cmp.Or(s.waited(ctx, req, final), final.Outcome())
	}
	if err != nil {
		return iris.Message{}, about(ctx, m.ID, err)
	}
	return final, nil
}

// late is what an ask comes to whose time is over: TIMEOUT, or the answer that was quicker
// than the cancel.
func (s *Server) late(ctx context.Context, m iris.Message, patience time.Duration, cancel bool) (iris.Message, error) {
	if !cancel {
		return m, iris.Errorf(iris.CodeTimeout, "%s has not answered within %s and works on; GET %s/messages/%s gives the answer later", m.Team, patience, base, m.ID)
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // an interrupt takes milliseconds
	defer stop()
	if final, err := s.dispatcher.Cancel(ctx, m.ID); err == nil && final.Status == iris.StatusCompleted {
		return final, nil
	}
	return m, iris.Errorf(iris.CodeTimeout, "%s has not answered within %s and was cancelled; ask again with a longer timeout", m.Team, patience)
}

// withdraw is what an ask comes to that still waits in the queue when the server ends. Its
// client is told to send it again, and so do the SDKs by themselves: left in the queue, it
// would be answered twice.
func (s *Server) withdraw(ctx context.Context, req *request, m iris.Message) (iris.Message, error) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
	defer stop()
	final, err := s.dispatcher.Cancel(ctx, m.ID)
	if err == nil && final.Status != iris.StatusCancelled {
		return final, nil // it was quicker
	}
	if once := req.once(); err == nil && !once.IsZero() {
		if err := s.store.Forget(ctx, once); err != nil {
			s.log.Warn("a request that was not carried out is still known", "message", m.ID, "error", err)
		}
	}
	return m, errShutdown
}

// about adds the message's id to an error's details, in a copy: the error may be shared.
func about(ctx context.Context, id string, err error) error {
	if err = cause(ctx, err); left(ctx, err) {
		return err
	}
	return iris.AsError(err).About(id)
}

func answerOf(m iris.Message) answer {
	return answer{
		MessageID: m.ID, Team: m.Team, Question: m.Text, Response: m.Response,
		Duration: m.Duration().Milliseconds(), Timestamp: m.CompletedAt.UnixMilli(),
		SessionID: m.SessionRef(), Metadata: metadataOf(m.Metadata),
	}
}

// metadataOf has lists that are never null.
func metadataOf(m *iris.Metadata) iris.Metadata {
	var out iris.Metadata
	if m != nil {
		out = *m
	}
	if out.FilesAccessed == nil {
		out.FilesAccessed = []string{}
	}
	if out.ToolsUsed == nil {
		out.ToolsUsed = []string{}
	}
	return out
}

// contextOf drops what says nothing.
func contextOf(c *iris.Context) *iris.Context {
	if c == nil {
		return nil
	}
	if absent(c.Metadata) {
		c.Metadata = nil
	}
	if c.Source == "" && c.Metadata == nil {
		return nil
	}
	return c
}

// absent reports whether a field of any type was left out or null.
func absent(raw []byte) bool { return len(raw) == 0 || string(raw) == "null" }

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

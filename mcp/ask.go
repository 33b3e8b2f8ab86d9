package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

type askArgs struct {
	Team      string `json:"team" jsonschema:"the team's name, as list_teams gives it"`
	Question  string `json:"question" jsonschema:"the whole question. The team sees neither your conversation nor your files: say what you need to know and why"`
	Timeout   int64  `json:"timeout,omitempty" jsonschema:"how long to wait for the answer, in milliseconds; without it, for as long as the team may work. When it passes the result is a TIMEOUT error with the message id, and the team goes on"`
	SessionID string `json:"sessionId,omitempty" jsonschema:"only to go on with a particular conversation: the sessionId of an earlier answer, or a name of your own. Without it the team remembers all that you asked it before"`
}

type askAnswer struct {
	Response  string        `json:"response" jsonschema:"the team's answer"`
	Team      string        `json:"team"`
	Status    iris.Status   `json:"status" jsonschema:"completed"`
	MessageID string        `json:"messageId" jsonschema:"names this question in check_message"`
	SessionID string        `json:"sessionId" jsonschema:"the conversation it belongs to"`
	Duration  int64         `json:"duration" jsonschema:"milliseconds"`
	Metadata  iris.Metadata `json:"metadata" jsonschema:"what the team did for it"`
}

func (a askAnswer) text() string { return a.Response }

func (s *Server) ask(ctx context.Context, c call[askArgs]) (askAnswer, error) {
	ctx, stop := c.patience(ctx, c.Args.Timeout)
	defer stop()
	m, err := s.answer(ctx, c.Progress, iris.Ask{
		Caller: c.Who, Team: c.Args.Team, Text: c.Args.Question, SessionID: c.Args.SessionID, Priority: iris.PriorityNormal,
	})
	if err != nil {
		return askAnswer{}, err
	}
	return askAnswer{
		Response: m.Response, Team: m.Team, Status: m.Status, MessageID: m.ID, SessionID: m.SessionRef(),
		Duration: m.Duration().Milliseconds(), Metadata: *metadata(m),
	}, nil
}

type tellArgs struct {
	Team     string   `json:"team" jsonschema:"the team's name, as list_teams gives it"`
	Message  string   `json:"message" jsonschema:"the whole task or news. The team sees neither your conversation nor your files"`
	Priority priority `json:"priority,omitempty" jsonschema:"which of the team's waiting tasks comes first; normal without it"`
}

// priority is a priority's name.
type priority string

type tellAnswer struct {
	MessageID           string      `json:"messageId" jsonschema:"for check_message and cancel_message"`
	JobID               string      `json:"jobId"`
	Team                string      `json:"team"`
	Status              iris.Status `json:"status" jsonschema:"queued: the team has not read it yet"`
	Position            int         `json:"position,omitempty" jsonschema:"its place among the team's waiting messages, from 1"`
	EstimatedCompletion int64       `json:"estimatedCompletion,omitempty" jsonschema:"when it will probably be done, Unix milliseconds"`
}

func (a tellAnswer) text() string {
	text := fmt.Sprintf("Queued for team %s as message %s", a.Team, a.MessageID)
	if a.Position > 1 {
		text += fmt.Sprintf(", number %d in its queue", a.Position)
	}
	return text + ". It is not done yet: check_message tells when it is."
}

func (s *Server) tell(ctx context.Context, c call[tellArgs]) (tellAnswer, error) {
	p, _ := iris.ParsePriority(string(c.Args.Priority)) // the schema has the names
	began := time.Now().Truncate(time.Millisecond)      // as exact as a stored time may be
	m, err := s.submit(ctx, iris.Ask{Caller: c.Who, Team: c.Args.Team, Text: c.Args.Message, Priority: p, Task: true})
	if err != nil {
		return tellAnswer{}, err
	}
	// A task that waited already when the same one was told is an earlier call's.
	if context.Cause(ctx) == errCancelled && !m.CreatedAt.Before(began) {
		return tellAnswer{}, s.cancelled(ctx, m)
	}
	a := tellAnswer{MessageID: m.ID, JobID: m.JobID(), Team: m.Team, Status: m.Status}
	a.Position, a.EstimatedCompletion = s.estimate(ctx, m)
	return a, nil
}

// estimate is a help, so an error of it is only logged.
func (s *Server) estimate(ctx context.Context, m iris.Message) (position int, completion int64) {
	position, at, err := s.d.Estimate(ctx, m)
	if err != nil {
		s.log.Warn("cannot estimate when a message will be done", "message", m.ID, "err", err)
		return 0, 0
	}
	return position, millis(at)
}

type askManyArgs struct {
	Teams    teamNames `json:"teams" jsonschema:"the teams' names, or \"*\" for every team but your own"`
	Question string    `json:"question" jsonschema:"the whole question, the same for each. The teams see neither your conversation nor your files"`
	Timeout  int64     `json:"timeout,omitempty" jsonschema:"how long to wait for the answers, in milliseconds; a team that is not done by then has a TIMEOUT error with its message id, and goes on"`
}

// teamNames is a list of names; a single one need not be in a list.
type teamNames []string

func (t *teamNames) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*t = teamNames{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(t))
}

type askManyAnswer struct {
	Answered int       `json:"answered" jsonschema:"how many teams answered"`
	Failed   int       `json:"failed" jsonschema:"how many did not"`
	Answers  []outcome `json:"answers" jsonschema:"one for each team, in the order asked"`
}

// outcome is what one of several teams answered, or why it did not.
type outcome struct {
	Team      string   `json:"team"`
	Answered  bool     `json:"answered"`
	Response  string   `json:"response,omitempty" jsonschema:"the team's answer"`
	MessageID string   `json:"messageId,omitempty"`
	SessionID string   `json:"sessionId,omitempty"`
	Duration  int64    `json:"duration,omitempty" jsonschema:"milliseconds"`
	Error     *problem `json:"error,omitempty" jsonschema:"why there is no answer"`
}

// failed makes the result an error when no team answered. One answer is worth having, and
// the text says first that others are missing.
func (a askManyAnswer) failed() bool { return a.Answered == 0 }

func (a askManyAnswer) text() string {
	text := fmt.Sprintf("%d of %d teams answered.", a.Answered, a.Answered+a.Failed)
	for _, o := range a.Answers {
		if o.Answered {
			text += "\n\n## " + o.Team + "\n" + o.Response
		} else {
			text += "\n\n## " + o.Team + " did not answer\n" + o.Error.text()
		}
	}
	return text
}

func (s *Server) askMany(ctx context.Context, c call[askManyArgs]) (askManyAnswer, error) {
	names, err := s.chosen(c.Who, c.Args.Teams)
	if err != nil {
		return askManyAnswer{}, err
	}
	ctx, stop := c.patience(ctx, c.Args.Timeout)
	defer stop()
	a := askManyAnswer{Answers: make([]outcome, len(names))}
	var running sync.WaitGroup
	for i, name := range names {
		a.Answers[i] = outcome{Team: name, Error: problemOf(internal)} // stays so if it panics
		running.Go(func() {
			defer s.survive()
			a.Answers[i] = s.outcome(ctx, c.Progress, iris.Ask{
				Caller: c.Who, Team: name, Text: c.Args.Question, Priority: iris.PriorityNormal,
			})
		})
	}
	running.Wait()
	for _, o := range a.Answers {
		if o.Answered {
			a.Answered++
		} else {
			a.Failed++
		}
	}
	return a, nil
}

// chosen is each team once. The star stands for those that the caller may ask.
func (s *Server) chosen(who iris.Caller, names teamNames) ([]string, error) {
	if !slices.Contains(names, "*") {
		var each []string
		for _, name := range names {
			if !slices.Contains(each, name) {
				each = append(each, name)
			}
		}
		return each, nil
	}
	var all []string
	for _, t := range s.d.Teams() {
		if who.Reaches(t.Name) && !isTeam(who, t.Name) {
			all = append(all, t.Name)
		}
	}
	if len(all) == 0 {
		return nil, iris.Errorf(iris.CodeInvalidRequest, "there is no other team to ask; a person adds one with: iris-mcp team add NAME PATH")
	}
	return all, nil
}

func (s *Server) outcome(ctx context.Context, p *progress, a iris.Ask) outcome {
	m, err := s.answer(ctx, p, a)
	if err != nil {
		e := problemOf(err)
		return outcome{Team: a.Team, MessageID: e.MessageID, Error: e}
	}
	return outcome{
		Team: m.Team, Answered: true, Response: m.Response, MessageID: m.ID, SessionID: m.SessionRef(),
		Duration: m.Duration().Milliseconds(),
	}
}

// patience bounds how long the call waits; zero is no bound, for the turn has one of its own.
func (c call[A]) patience(ctx context.Context, ms int64) (context.Context, context.CancelFunc) {
	if ms == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, time.Duration(ms)*time.Millisecond, errPatience)
}

// answer submits a message and waits for its end. What is no answer is an error.
func (s *Server) answer(ctx context.Context, p *progress, a iris.Ask) (iris.Message, error) {
	began := time.Now()
	m, err := s.submit(ctx, a)
	if err != nil {
		return m, err
	}
	if m, err = s.wait(ctx, p, m); err != nil {
		return m, s.left(ctx, m, time.Since(began), err)
	}
	return m, m.Outcome()
}

// submit checks what only this front knows and hands the message over. Once it is handed
// over no cancel can lose it half-way, so the context is only asked before.
func (s *Server) submit(ctx context.Context, a iris.Ask) (iris.Message, error) {
	switch {
	case context.Cause(ctx) == errCancelled:
		return iris.Message{}, iris.Errorf(iris.CodeCancelled, "the call was cancelled before it began")
	case !a.Caller.Reaches(a.Team):
		return iris.Message{}, iris.Errorf(iris.CodeForbidden, "the key %q may not reach team %q", a.Caller.Name, a.Team)
	case isTeam(a.Caller, a.Team):
		return iris.Message{}, iris.Errorf(iris.CodeInvalidRequest,
			"you are team %q: you work in its folder yourself, so look there instead of asking; a second agent would only be in your way", a.Team)
	}
	if leaves, ok := ctx.Deadline(); ok && !a.Task {
		a.Until = leaves
	}
	return s.d.Submit(context.WithoutCancel(ctx), a)
}

// wait gives the message when it is final, and tells meanwhile what the team is doing.
func (s *Server) wait(ctx context.Context, p *progress, m iris.Message) (iris.Message, error) {
	if p != nil {
		telling, stop := context.WithCancel(ctx)
		var teller sync.WaitGroup
		defer func() { stop(); teller.Wait() }()
		l := p.add(m.Team, doingWait)
		defer p.set(l, doingDone)
		teller.Go(func() {
			defer s.survive()
			for e, err := range s.d.Events(telling, m.ID, 0) {
				if err != nil {
					return // progress goes on without news
				}
				p.set(l, doing(e))
			}
		})
	}
	final, err := s.d.Wait(ctx, m.ID)
	if err != nil {
		return m, err
	}
	return final, nil
}

// left says what became of a call that ended before its message did: only the client's own
// cancel ends the message too.
func (s *Server) left(ctx context.Context, m iris.Message, waited time.Duration, err error) error {
	if ctx.Err() == nil {
		return about(m.ID, err)
	}
	switch cause := context.Cause(ctx); {
	case cause == errCancelled:
		return s.cancelled(ctx, m)
	case cause == errPatience:
		return about(m.ID, iris.Errorf(iris.CodeTimeout, "team %q did not answer within %d ms", m.Team, waited.Milliseconds()))
	case iris.CodeOf(cause) == iris.CodeUnauthorized: // its key was revoked meanwhile
		return about(m.ID, cause)
	case cause == errGone:
		return about(m.ID, iris.Errorf(iris.CodeTimeout, "the client closed its side, so Iris stopped waiting for team %q", m.Team))
	default:
		return about(m.ID, iris.Errorf(iris.CodeShuttingDown, "Iris is shutting down and stopped waiting for team %q; check_message tells after a restart what became of the message", m.Team).Because(cause))
	}
}

// cancelled ends the message of a call that its client cancelled.
func (s *Server) cancelled(ctx context.Context, m iris.Message) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer stop()
	if _, err := s.d.Cancel(ctx, m.ID); err != nil && !errors.Is(err, iris.ErrFinal) {
		s.log.Warn("cannot cancel a message", "message", m.ID, "err", err)
		return about(m.ID, err)
	}
	return about(m.ID, iris.Errorf(iris.CodeCancelled, "the call was cancelled"))
}

// metadata is what the message's turn did, with lists that are never null.
func metadata(m iris.Message) *iris.Metadata {
	var md iris.Metadata
	if m.Metadata != nil {
		md = *m.Metadata
	}
	md.FilesAccessed = append([]string{}, md.FilesAccessed...)
	md.ToolsUsed = append([]string{}, md.ToolsUsed...)
	return &md
}

func isTeam(who iris.Caller, name string) bool {
	return who.Kind == iris.CallerTeam && who.Name == name
}

// millis is Unix milliseconds; zero for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

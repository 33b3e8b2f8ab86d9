package dispatch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/iris-mcp/iris-mcp"
)

const (
	maxSessionName = 128            // characters
	maxTimeout     = 24 * time.Hour // of a turn
	maxAttempts    = 100            // of a task
)

// Submit stores the message, queues its job and returns at once. A task that waits or runs
// already is not queued twice: its message comes back; so does that of a request that came
// before. TEAM_NOT_FOUND, CONFLICT (it asked for something else then), FORBIDDEN (a key bound
// to other teams), INVALID_REQUEST, NOT_FOUND (no such session of this caller), QUEUE_FULL,
// SHUTTING_DOWN.
func (d *Dispatcher) Submit(ctx context.Context, a iris.Ask) (iris.Message, error) {
	if d.closed.Load() {
		return iris.Message{}, iris.Errorf(iris.CodeShuttingDown, "Iris is shutting down; ask again when it is back")
	}
	team, err := d.teams.Team(a.Team)
	if err != nil {
		return iris.Message{}, err
	}
	if err := d.check(a); err != nil {
		return iris.Message{}, err
	}
	if a.Callback != nil && a.Callback.Method == "" {
		a.Callback = &iris.Callback{URL: a.Callback.URL, Method: "POST", Headers: a.Callback.Headers}
	}
	m := iris.Message{
		ID: iris.NewID(iris.MessagePrefix), Team: team.Name,
		Caller: iris.Caller{Kind: a.Caller.Kind, Name: a.Caller.Name},
		Text:   a.Text, Context: a.Context, Task: a.Task,
		Priority: a.Priority, Timeout: a.Timeout, MaxAttempts: a.MaxAttempts, Callback: a.Callback, Once: a.Once,
		Status: iris.StatusQueued, CreatedAt: time.Now().UTC(),
	}
	if m.Priority == 0 {
		m.Priority = iris.PriorityNormal
	}
	if m.MaxAttempts == 0 {
		m.MaxAttempts = d.cfg.MaxAttempts()
	}
	if strings.HasPrefix(a.SessionID, iris.SessionPrefix) {
		m.SessionID = a.SessionID
	} else {
		m.SessionName = a.SessionID
	}
	fresh := a.Caller.Credentialed() && !a.Caller.Standing // DESIGN D3
	dedupe := ""
	if a.Task && !a.NoDedupe {
		dedupe = sameness(a)
	}
	id := m.ID
	d.desk.setLeave(id, a.Until) // before anybody can end it, which forgets this
	m, created, err := d.store.Accept(ctx, m, fresh, dedupe)
	if !created {
		d.desk.setLeave(id, time.Time{})
	}
	if err != nil {
		if e, ok := errors.AsType[*iris.Error](err); ok && e.Code == iris.CodeQueueFull {
			e.RetryAt = d.pace.next()
			e.Message += fmt.Sprintf("; try again in %s", time.Until(e.RetryAt).Round(time.Second))
		}
		return iris.Message{}, err
	}
	if created {
		d.watchers.tell(m)
	}
	d.queue.Wake()
	d.log.Info("message accepted", "message", m.ID, "team", m.Team, "from", m.Caller.From(), "session", m.SessionID, "new", created)
	return m, nil
}

// check refuses what no front may submit.
func (d *Dispatcher) check(a iris.Ask) error {
	bad := func(field, problem string) error {
		return iris.Errorf(iris.CodeInvalidRequest, "%s %s", field, problem).
			With("errors", []map[string]string{{"field": field, "problem": problem}})
	}
	switch {
	case !a.Caller.Reaches(a.Team):
		return iris.Errorf(iris.CodeForbidden, "this key may not reach the team %q", a.Team)
	case strings.TrimSpace(a.Text) == "":
		return bad("text", "must not be blank")
	case !utf8.ValidString(a.Text):
		return bad("text", "must be valid UTF-8")
	case a.Timeout < 0 || a.Timeout > maxTimeout:
		return bad("timeout", "must be between 1 ms and 24 h")
	case a.MaxAttempts < 0 || a.MaxAttempts > maxAttempts:
		return bad("maxAttempts", "must be between 1 and 100")
	case utf8.RuneCountInString(a.SessionID) > maxSessionName:
		return bad("sessionId", "must have at most 128 characters")
	case !utf8.ValidString(a.SessionID) || strings.ContainsFunc(a.SessionID, unicode.IsControl):
		return bad("sessionId", "must be readable text without control characters")
	case a.Callback == nil:
	case !a.Task:
		return bad("callback", "is for tasks: who asks is answered")
	case d.cfg.Callback == nil:
		return bad("callback", "is not served here")
	default:
		if field, problem := d.cfg.Callback(*a.Callback); problem != "" {
			return bad(field, problem)
		}
	}
	return nil
}

// sameness is equal for two tasks that are the same piece of work.
func sameness(a iris.Ask) string {
	text, _ := json.Marshal([]any{a.Caller.Kind, a.Caller.Name, a.Team, a.Text, a.Context, a.SessionID, a.Priority, a.Callback})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Status is what the team is doing; TEAM_NOT_FOUND.
func (d *Dispatcher) Status(ctx context.Context, name string) (iris.TeamStatus, error) {
	team, err := d.teams.Team(name)
	if err != nil {
		return iris.TeamStatus{}, err
	}
	backlog, err := d.store.Backlog(ctx, team.Name)
	if err != nil {
		return iris.TeamStatus{}, err
	}
	sessions, err := d.store.SessionCount(ctx, team.Name)
	if err != nil {
		return iris.TeamStatus{}, err
	}
	usage, err := d.store.Usage(ctx, team.Name)
	if err != nil {
		return iris.TeamStatus{}, err
	}
	s := iris.TeamStatus{
		Team: team, Processes: d.pool.Processes(team.Name), LastError: d.pool.LastError(team.Name),
		Waiting: backlog.Waiting, Running: backlog.Running, Sessions: sessions, Usage: usage,
	}
	s.State = state(s)
	if why := d.leftAlone(team.Name); why != nil {
		s.LastError = why
	}
	return s, nil
}

// state sums up a team's processes.
func state(s iris.TeamStatus) iris.TeamState {
	count := map[iris.ProcessState]int{}
	for _, p := range s.Processes {
		count[p.State]++
	}
	switch {
	case count[iris.ProcessBusy] > 0:
		return iris.TeamBusy
	case count[iris.ProcessIdle] > 0:
		return iris.TeamIdle
	case count[iris.ProcessStarting] > 0:
		return iris.TeamStarting
	case s.LastError != nil:
		return iris.TeamError
	default:
		return iris.TeamAsleep
	}
}

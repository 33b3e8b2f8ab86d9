package iris

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
)

// Teams are the teams of the server. Every name is reached by Team; Backend and Frontend are
// there because most projects have them.
type Teams struct {
	Backend  *Team
	Frontend *Team

	client *Client
}

// Team is the team of that name. Whether it exists shows at the first call.
func (t *Teams) Team(name string) *Team { return &Team{name: name, client: t.client} }

// List is every team that the key may ask, by name.
func (t *Teams) List(ctx context.Context) ([]TeamInfo, error) {
	o, err := t.Overview(ctx)
	if err != nil {
		return nil, err
	}
	return o.Teams, nil
}

// Overview is List, and what is wrong with the server's configuration.
func (t *Teams) Overview(ctx context.Context) (*Overview, error) {
	var o Overview
	if err := t.client.do(ctx, call{method: http.MethodGet, path: "/teams"}, &o); err != nil {
		return nil, err
	}
	return &o, nil
}

// Team is one team.
type Team struct {
	name   string
	client *Client
}

// Name is the team's name.
func (t *Team) Name() string { return t.name }

// Ask asks a question and waits for the whole answer: as long as WithTimeout says, else until
// shortly before the context's deadline, else 30 seconds. After an *Error with CodeTimeout
// the team goes on, and Messages.Wait(ctx, err.MessageID()) fetches the answer.
func (t *Team) Ask(ctx context.Context, question string, options ...AskOption) (*Answer, error) {
	r := &request{Question: question}
	for _, o := range options {
		o.ask(r)
	}
	r.patience(ctx)
	var answer Answer
	if err := t.do(ctx, http.MethodPost, "/ask", r, &answer); err != nil {
		return nil, err
	}
	return &answer, nil
}

// Execute queues a task and returns at once. Messages.Wait waits for its end.
func (t *Team) Execute(ctx context.Context, task string, options ...ExecuteOption) (*Job, error) {
	r := &request{Task: task}
	for _, o := range options {
		o.execute(r)
	}
	var job Job
	if err := t.do(ctx, http.MethodPost, "/execute", r, &job); err != nil {
		return nil, err
	}
	return &job, nil
}

// Stream sends a message and yields what happens to it, from EventStart to EventComplete, as
// it happens. A connection that breaks is taken up again where it broke: nothing is missed or
// repeated. A message that fails ends the stream with an *Error. Leaving the loop early stops
// the stream, not the team; Messages.Stream joins it again.
func (t *Team) Stream(ctx context.Context, message string, options ...StreamOption) iter.Seq2[Event, error] {
	r := &request{Message: message}
	for _, o := range options {
		o.stream(r)
	}
	return func(yield func(Event, error) bool) {
		path, err := teamPath(t.name, "/stream")
		if err == nil {
			err = r.valid()
		}
		if err != nil {
			yield(Event{}, err)
			return
		}
		s := &stream{client: t.client, first: call{method: http.MethodPost, path: path, body: r, stream: true, attend: r.attended, key: r.key}}
		s.run(ctx, yield)
	}
}

// Status is what the team is doing.
func (t *Team) Status(ctx context.Context) (*TeamStatus, error) {
	var status TeamStatus
	if err := t.do(ctx, http.MethodGet, "/status", nil, &status); err != nil {
		return nil, err
	}
	return &status, nil
}

func (t *Team) do(ctx context.Context, method, verb string, r *request, out any) error {
	if err := r.valid(); err != nil {
		return err
	}
	path, err := teamPath(t.name, verb)
	if err != nil {
		return err
	}
	c := call{method: method, path: path}
	if r != nil {
		c.body, c.key = r, r.key
	}
	return t.client.do(ctx, c, out)
}

// teamPath refuses names that would make another path of it.
func teamPath(name, verb string) (string, error) {
	if name == "" || name == "." || name == ".." {
		return "", &Error{Code: CodeTeamNotFound, Message: fmt.Sprintf("team %q does not exist", name)}
	}
	return "/teams/" + url.PathEscape(name) + verb, nil
}

// Overview is the teams of the server.
type Overview struct {
	Teams []TeamInfo `json:"teams"`
	// ConfigError says why the last edit of the configuration is not in force; empty when it
	// is, and for keys without an admin scope.
	ConfigError string `json:"configError,omitempty"`
}

// TeamInfo is a team in the list.
type TeamInfo struct {
	Name        string    `json:"name"`
	Description string    `json:"description"`
	Color       string    `json:"color,omitempty"`
	Path        string    `json:"path,omitempty"` // only for admin scopes
	Status      TeamState `json:"status"`
	Queue       Queue     `json:"queue"`
}

// TeamState sums a team up in a word.
type TeamState string

// What a team may be.
const (
	TeamAsleep   TeamState = "asleep" // no process; the next message wakes it
	TeamStarting TeamState = "starting"
	TeamIdle     TeamState = "idle"
	TeamBusy     TeamState = "busy"
	TeamError    TeamState = "error" // no process, and the last start or turn failed
)

// TeamStatus is what a team is doing.
type TeamStatus struct {
	Team        string    `json:"team"`
	Description string    `json:"description"`
	Path        string    `json:"path,omitempty"` // only for admin scopes
	Status      TeamState `json:"status"`
	Processes   []Process `json:"processes"`
	Queue       Queue     `json:"queue"`
	Sessions    int       `json:"sessions"`
	Usage       TeamUsage `json:"usage"`
	LastError   *Error    `json:"lastError,omitempty"` // of the last failure, until something succeeds
}

// TeamUsage sums up a team's finished messages.
type TeamUsage struct {
	Messages int `json:"messages"`
	Usage
	CostUSD float64 `json:"costUsd"`
}

// Process is a running Claude Code of a team.
type Process struct {
	PID        int    `json:"pid"`
	SessionID  string `json:"sessionId,omitempty"`
	From       string `json:"from,omitempty"`
	State      string `json:"state"` // starting, idle, busy or stopping
	StartedAt  Time   `json:"startedAt"`
	LastUsedAt Time   `json:"lastUsedAt,omitzero"`
	Messages   int    `json:"messages"`
	RSSBytes   int64  `json:"rssBytes,omitempty"`
}

// Queue counts a team's messages.
type Queue struct {
	Waiting int `json:"waiting"`
	Running int `json:"running"`
}

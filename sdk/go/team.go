package iris

import (
	"context"
	"encoding/json"
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
func (t *Teams) List(ctx context.Context) ([]TeamStatus, error) {
	var answer struct {
		Teams []TeamStatus `json:"teams"`
	}
	err := t.client.do(ctx, call{method: http.MethodGet, path: "/teams"}, &answer)
	return answer.Teams, err
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
		if err != nil {
			yield(Event{}, err)
			return
		}
		s := &stream{client: t.client, first: call{method: http.MethodPost, path: path, body: r, stream: true}}
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
	path, err := teamPath(t.name, verb)
	if err != nil {
		return err
	}
	c := call{method: method, path: path}
	if r != nil {
		c.body = r
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

// TeamStatus is what a team is doing.
type TeamStatus struct {
	Team        string          `json:"team"`
	Description string          `json:"description,omitempty"`
	Path        string          `json:"path,omitempty"` // only for admin scopes
	Status      string          `json:"status"`         // asleep, starting, idle, busy or error
	Processes   []Process       `json:"processes,omitempty"`
	Queue       Queue           `json:"queue"`
	Sessions    int             `json:"sessions"`
	Usage       json.RawMessage `json:"usage,omitempty"`
	LastError   *Error          `json:"lastError,omitempty"` // of the last failure, until something succeeds
}

// Process is a running Claude Code of a team.
type Process struct {
	PID        int    `json:"pid"`
	SessionID  string `json:"sessionId,omitempty"`
	From       string `json:"from,omitempty"`
	State      string `json:"state"` // starting, idle, busy or stopping
	StartedAt  Time   `json:"startedAt"`
	LastUsedAt Time   `json:"lastUsedAt"`
	Messages   int    `json:"messages"`
	RSSBytes   int64  `json:"rssBytes,omitempty"`
}

// Queue counts a team's messages.
type Queue struct {
	Waiting int `json:"waiting"`
	Running int `json:"running"`
}

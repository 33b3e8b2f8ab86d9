package mcp_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// fake is a dispatcher and its store. What a team does is said by the message's words:
//
//	hello            answers at once
//	slow DURATION    answers after that long, and meanwhile reads a file each second
//	hang             answers when the test says so
//	fail             PROCESS_ERROR
//	panic            Submit panics
type fake struct {
	teams []iris.Team

	mu       sync.Mutex
	messages map[string]*fakeMessage
	asks     []iris.Ask
	running  sync.WaitGroup
}

type fakeMessage struct {
	iris.Message
	events  []iris.Event
	changed chan struct{} // closed at each change
	over    chan struct{} // closed when final
}

var noon = time.UnixMilli(1704067200000).UTC()

func newFake() *fake {
	return &fake{
		teams: []iris.Team{
			{Name: "backend", Description: "REST API in Go"},
			{Name: "frontend", Description: "web shop"},
			{Name: "ops"},
		},
		messages: map[string]*fakeMessage{},
	}
}

func (f *fake) Submit(ctx context.Context, a iris.Ask) (iris.Message, error) {
	if a.Text == "panic" {
		panic("secret of the house")
	}
	if _, err := f.Team(a.Team); err != nil {
		return iris.Message{}, err
	}
	if ctx.Err() != nil {
		return iris.Message{}, ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m := &fakeMessage{changed: make(chan struct{}), over: make(chan struct{})}
	m.Message = iris.Message{
		ID: fmt.Sprintf("msg_%d", len(f.messages)+1), Team: a.Team, Caller: a.Caller, SessionID: "ses_1", Text: a.Text,
		Task: a.Task, Priority: a.Priority, Status: iris.StatusQueued, CreatedAt: noon,
	}
	if !strings.HasPrefix(a.SessionID, iris.SessionPrefix) {
		m.SessionName = a.SessionID
	}
	f.messages[m.ID] = m
	f.asks = append(f.asks, a)
	m.event(iris.Event{Kind: iris.EventStart})
	f.running.Go(func() { f.run(m) })
	return m.Message, nil
}

// run is the team at work.
func (f *fake) run(m *fakeMessage) {
	word, rest, _ := strings.Cut(m.Text, " ")
	switch {
	case m.Task || word == "hang":
		return
	case word == "fail":
		f.end(m, iris.StatusFailed, "", iris.Errorf(iris.CodeProcess, "the Claude Code process died").With("exitCode", 1))
	case word == "slow":
		d, err := time.ParseDuration(rest)
		if err != nil {
			panic(err)
		}
		for i := 1; d > 0; i++ {
			f.mu.Lock()
			m.event(iris.Event{Kind: iris.EventToolUse, Tool: &iris.Tool{Name: "Read", File: fmt.Sprintf("src/%d.ts", i)}})
			f.mu.Unlock()
			step := min(d, time.Second)
			d -= step
			select {
			case <-time.After(step):
			case <-m.over:
				return
			}
		}
		fallthrough
	default:
		f.end(m, iris.StatusCompleted, m.Team+" says: "+m.Text, nil)
	}
}

// event is called under the lock.
func (m *fakeMessage) event(e iris.Event) {
	e.MessageID, e.Seq = m.ID, int64(len(m.events)+1)
	m.events = append(m.events, e)
	close(m.changed)
	m.changed = make(chan struct{})
}

// answer ends a message that hangs.
func (f *fake) answer(id string) {
	f.mu.Lock()
	m := f.messages[id]
	f.mu.Unlock()
	f.end(m, iris.StatusCompleted, m.Team+" says: "+m.Text, nil)
}

func (f *fake) end(m *fakeMessage, status iris.Status, response string, err *iris.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.Status.Final() {
		return
	}
	m.Status, m.Response, m.Err = status, response, err
	m.CompletedAt = noon.Add(1500 * time.Millisecond)
	if status == iris.StatusCompleted {
		m.Metadata = &iris.Metadata{ToolsUsed: []string{"Read"}, Model: "scripted", Turns: 1, CostUSD: 0.25}
		m.event(iris.Event{Kind: iris.EventComplete})
	} else {
		m.event(iris.Event{Kind: iris.EventError, Err: err})
	}
	close(m.over)
}

func (f *fake) find(id string) (*fakeMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.messages[iris.MessageID(id)]
	if m == nil {
		return nil, iris.Errorf(iris.CodeMessageNotFound, "there is no message %q", id)
	}
	return m, nil
}

func (f *fake) Message(_ context.Context, id string) (iris.Message, error) {
	m, err := f.find(id)
	if err != nil {
		return iris.Message{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return m.Message, nil
}

func (f *fake) Events(ctx context.Context, id string, after int64) iter.Seq2[iris.Event, error] {
	return func(yield func(iris.Event, error) bool) {
		m, err := f.find(id)
		if err != nil {
			yield(iris.Event{}, err)
			return
		}
		for i := int(after); ; {
			f.mu.Lock()
			events, changed := m.events[i:], m.changed
			f.mu.Unlock()
			for _, e := range events {
				i++
				if !yield(e, nil) || e.Last() {
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				yield(iris.Event{}, ctx.Err())
				return
			}
		}
	}
}

func (f *fake) Wait(ctx context.Context, id string) (iris.Message, error) {
	m, err := f.find(id)
	if err != nil {
		return iris.Message{}, err
	}
	select {
	case <-m.over:
		return f.Message(ctx, id)
	case <-ctx.Done():
		return iris.Message{}, ctx.Err()
	}
}

func (f *fake) Cancel(ctx context.Context, id string) (iris.Message, error) {
	m, err := f.find(id)
	if err != nil {
		return iris.Message{}, err
	}
	f.end(m, iris.StatusCancelled, "", nil)
	return f.Message(ctx, id)
}

func (f *fake) Status(_ context.Context, team string) (iris.TeamStatus, error) {
	t, err := f.Team(team)
	if err != nil {
		return iris.TeamStatus{}, err
	}
	st := iris.TeamStatus{Team: t, State: iris.TeamAsleep}
	if team == "backend" {
		st.State, st.Waiting, st.Running, st.Sessions = iris.TeamBusy, 2, 1, 3
		st.Processes = []iris.Process{{
			PID: 4242, Team: team, SessionID: "ses_1", From: "frontend", State: iris.ProcessBusy,
			StartedAt: noon, UsedAt: noon, Messages: 7, RSS: 1 << 20,
		}}
		st.Usage = iris.TeamUsage{Messages: 7, Usage: iris.Usage{InputTokens: 10}, CostUSD: 1.5}
		st.LastError = &iris.Error{Code: iris.CodeProcess, Message: "not logged in", Private: map[string]any{"stderr": "secret"}}
	}
	return st, nil
}

func (f *fake) Estimate(_ context.Context, m iris.Message) (int, time.Time, error) {
	if m.Status != iris.StatusQueued {
		return 0, time.Time{}, nil
	}
	return 2, noon.Add(time.Minute), nil
}

func (f *fake) Team(name string) (iris.Team, error) {
	for _, t := range f.teams {
		if t.Name == name {
			return t, nil
		}
	}
	return iris.Team{}, iris.Errorf(iris.CodeTeamNotFound, "team %q does not exist; did you mean \"backend\"?", name)
}

func (f *fake) Teams() []iris.Team { return f.teams }

// Wake starts backend, finds frontend awake, has no room for ops without eviction, and with
// it takes an hour.
func (f *fake) Wake(ctx context.Context, team string, evict bool) (bool, error) {
	if _, err := f.Team(team); err != nil {
		return false, err
	}
	if team == "ops" && !evict {
		return false, iris.Errorf(iris.CodeConflict, "there is no room for a process of team ops")
	}
	if team == "ops" {
		select {
		case <-time.After(time.Hour):
		case <-ctx.Done():
			return true, fmt.Errorf("wait: %w", context.Cause(ctx))
		}
	}
	return team == "backend", nil
}

func (f *fake) Sleep(_ context.Context, team string, force bool) (iris.Slept, error) {
	if force {
		panic("no tool of a model ends what a team works on")
	}
	_, err := f.Team(team)
	return map[string]iris.Slept{"backend": {Ended: 2, Finishing: 1}, "frontend": {Ended: 1}}[team], err
}

// statuses counts the messages by status.
func (f *fake) statuses() map[iris.Status]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := map[iris.Status]int{}
	for _, m := range f.messages {
		n[m.Status]++
	}
	return n
}

func (f *fake) messagesOf() []iris.Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []iris.Message
	for _, m := range f.messages {
		all = append(all, m.Message)
	}
	return all
}

// stop ends what the teams still do.
func (f *fake) stop() {
	for _, m := range f.messagesOf() {
		f.Cancel(context.Background(), m.ID)
	}
	f.running.Wait()
}

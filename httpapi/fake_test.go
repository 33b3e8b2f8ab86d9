package httpapi_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// epoch is when everything in the fake began; a message's events are a second apart.
var epoch = time.UnixMilli(1704067200000).UTC()

// fake is a dispatcher and a store in memory. A message plays the script of its text.
type fake struct {
	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at each change
	messages  []*iris.Message
	events    map[string][]iris.Event
	asks      []iris.Ask
	resent    []string
	attending int
	running   sync.WaitGroup
	watchers  map[chan iris.News]string // the team
	known     map[string]kept           // by Once.ID

	scripts  map[string]func(f *fake, id string)
	statuses map[string]iris.TeamStatus
	refusal  error // of Submit
	broken   error // of the store
	stored   []iris.Key
	eventErr error         // of Events, after what is there
	controls []string      // what was asked of processes
	wakes    time.Duration // how long a wake takes
	watches  time.Duration // how long it takes to find a team's messages
	slow     bool          // a cancel waits for the end that comes by itself
}

func newFake() *fake {
	return &fake{
		changed:  make(chan struct{}),
		events:   map[string][]iris.Event{},
		watchers: map[chan iris.News]string{},
		known:    map[string]kept{},
		scripts: map[string]func(*fake, string){
			"never":  func(*fake, string) {},
			"fail":   func(f *fake, id string) { f.end(id, iris.StatusFailed, "", crash()) },
			"panic":  func(*fake, string) { panic("the fake panics") },
			"cancel": func(f *fake, id string) { f.end(id, iris.StatusCancelled, "", nil) },
			"work":   work,
		},
		statuses: map[string]iris.TeamStatus{
			"backend": {
				Team:  iris.Team{Name: "backend", Path: "/home/me/backend", Description: "The API", Color: "#ff0000"},
				State: iris.TeamBusy, Waiting: 2, Running: 1, Sessions: 3,
				Processes: []iris.Process{{
					PID: 42, Team: "backend", SessionID: "ses_1", From: "api", State: iris.ProcessBusy,
					StartedAt: epoch, UsedAt: epoch.Add(time.Second), Messages: 7, RSS: 1 << 20,
				}, {State: iris.ProcessStarting, StartedAt: epoch}},
				Usage: iris.TeamUsage{Messages: 7, Usage: iris.Usage{InputTokens: 1, OutputTokens: 2}, CostUSD: 0.5},
			},
			"frontend": {Team: iris.Team{Name: "frontend", Path: "/home/me/frontend"}, State: iris.TeamError, LastError: crash()},
		},
	}
}

func crash() *iris.Error {
	return &iris.Error{
		Code: iris.CodeProcess, Message: "Claude Code is not logged in: run claude and log in",
		Details: map[string]any{"exitCode": 1}, Private: map[string]any{"stderr": "secret tail"},
	}
}

// work is a turn that does everything once.
func work(f *fake, id string) {
	f.emit(id, iris.Event{Kind: iris.EventChunk, Text: "The <flow> & its\n\n"})
	f.emit(id, iris.Event{Kind: iris.EventThinking, Text: "hmm"})
	f.emit(id, iris.Event{Kind: iris.EventToolUse, Tool: &iris.Tool{ID: "t1", Name: "Read", File: "src/auth/jwt.ts", Input: []byte(`{"file_path":"src/auth/jwt.ts"}`)}})
	f.emit(id, iris.Event{Kind: iris.EventToolResult, Tool: &iris.Tool{ID: "t1", Name: "Read", File: "src/auth/jwt.ts"}})
	f.emit(id, iris.Event{Kind: iris.EventProgress, Progress: &iris.Progress{Current: 1, Total: 3}})
	f.emit(id, iris.Event{Kind: iris.EventPermission, Permission: &iris.Permission{ID: "p1", Tool: "Bash", Input: []byte(`{"command":"touch x"}`), Decision: "deny", Reason: "nobody can decide"}})
	f.emit(id, iris.Event{Kind: iris.EventRetry, Text: "overloaded"})
	f.emit(id, iris.Event{Kind: iris.EventRestart})
	f.end(id, iris.StatusCompleted, "First.\n\nSecond.", nil)
}

// change runs do and wakes who waits.
func (f *fake) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) find(id string) *iris.Message {
	i := slices.IndexFunc(f.messages, func(m *iris.Message) bool { return m.ID == iris.MessageID(id) })
	if i < 0 {
		return nil
	}
	return f.messages[i]
}

func (f *fake) add(id string, ev iris.Event) {
	seq := len(f.events[id]) + 1
	ev.MessageID, ev.Seq, ev.At = id, int64(seq), epoch.Add(time.Duration(seq)*time.Second)
	f.events[id] = append(f.events[id], ev)
	m := f.find(id)
	n := iris.News{Message: iris.Message{ID: id, Team: m.Team, Caller: m.Caller, SessionID: m.SessionID, SessionName: m.SessionName, Status: iris.StatusQueued, CreatedAt: m.CreatedAt}}
	if seq == 2 {
		n.Message.Status, n.After = iris.StatusProcessing, 1
	}
	for w, team := range f.watchers {
		if team == m.Team && seq <= 2 {
			w <- n
		}
	}
}

// Watch tells of a message when it has its first event and when it has its second.
func (f *fake) Watch(ctx context.Context, team string) (iter.Seq2[iris.News, error], error) {
	if _, ok := f.statuses[team]; !ok {
		return nil, iris.Errorf(iris.CodeTeamNotFound, "team %q does not exist", team)
	}
	select {
	case <-time.After(f.watches):
	case <-ctx.Done():
		return nil, fmt.Errorf("read the living messages: %w", ctx.Err())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w := make(chan iris.News, 10_000)
	f.watchers[w] = team
	for _, m := range f.messages {
		if n := int64(len(f.events[m.ID])); m.Team == team && !m.Status.Final() {
			news := iris.News{Message: *m}
			if n > 1 {
				news.Message.Status, news.After = iris.StatusProcessing, n
			}
			w <- news
		}
	}
	return func(yield func(iris.News, error) bool) {
		defer func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.watchers, w)
		}()
		for {
			select {
			case n := <-w:
				if n.Message.ID == "" {
					yield(n, iris.Errorf(iris.CodeQueueFull, "behind"))
					return
				}
				if !yield(n, nil) {
					return
				}
			case <-ctx.Done():
				yield(iris.News{}, ctx.Err())
				return
			}
		}
	}, nil
}

func (f *fake) emit(id string, ev iris.Event) { f.change(func() { f.add(id, ev) }) }

// end gives the message its final state, if it has none yet.
func (f *fake) end(id string, status iris.Status, response string, failure *iris.Error) {
	f.change(func() {
		m := f.find(id)
		if m.Status.Final() {
			return
		}
		m.Status, m.Response, m.Err = status, response, failure
		m.StartedAt, m.CompletedAt, m.Attempts = m.CreatedAt.Add(time.Second), m.CreatedAt.Add(2847*time.Millisecond), 1
		last := iris.Event{Kind: iris.EventComplete, Duration: m.Duration()}
		if status != iris.StatusCompleted {
			if status == iris.StatusCancelled {
				m.Err = iris.Errorf(iris.CodeCancelled, "the message was cancelled")
			}
			last = iris.Event{Kind: iris.EventError, Err: m.Err}
		} else {
			m.Metadata = &iris.Metadata{FilesAccessed: []string{"src/auth/jwt.ts"}, Model: "scripted", Turns: 2, CostUSD: 0.01}
			last.Metadata = m.Metadata
		}
		f.add(id, last)
	})
}

func (f *fake) Submit(ctx context.Context, a iris.Ask) (iris.Message, error) {
	if f.refusal != nil {
		return iris.Message{}, f.refusal
	}
	if _, ok := f.statuses[a.Team]; !ok {
		return iris.Message{}, iris.Errorf(iris.CodeTeamNotFound, "team %q does not exist; did you mean \"backend\"?", a.Team)
	}
	var m iris.Message
	if _, before, err := f.Kept(ctx, a.Once); before || err != nil {
		if err == nil {
			m, err = f.Message(ctx, f.known[a.Once.ID].message)
			m.Repeated = true
		}
		return m, err
	}
	f.change(func() {
		n := len(f.messages) + 1
		m = iris.Message{
			ID: fmt.Sprintf("msg_%026d", n), Team: a.Team, Caller: a.Caller, SessionID: fmt.Sprintf("ses_%026d", n),
			SessionName: a.SessionID, Text: a.Text, Context: a.Context, Task: a.Task, Priority: a.Priority,
			Timeout: a.Timeout, MaxAttempts: a.MaxAttempts, Callback: a.Callback, Status: iris.StatusQueued, CreatedAt: epoch,
		}
		if !a.Once.IsZero() {
			f.known[a.Once.ID] = kept{a.Once, m.ID, nil}
		}
		f.asks = append(f.asks, a)
		f.messages = append(f.messages, new(m))
		f.add(m.ID, iris.Event{Kind: iris.EventStart, Team: m.Team, SessionID: m.SessionRef()})
	})
	if a.Text == "panic" {
		panic("the fake panics")
	}
	script, ok := f.scripts[a.Text]
	if !ok {
		script = func(f *fake, id string) { f.end(id, iris.StatusCompleted, "We use Prisma.", nil) }
	}
	f.running.Go(func() { script(f, m.ID) })
	return m, nil
}

func (f *fake) Wait(ctx context.Context, id string) (iris.Message, error) {
	for {
		f.mu.Lock()
		m, changed := *f.find(id), f.changed
		f.mu.Unlock()
		if m.Status.Final() {
			return m, nil
		}
		select {
		case <-ctx.Done():
			return iris.Message{}, ctx.Err()
		case <-changed:
		}
	}
}

func (f *fake) Events(ctx context.Context, id string, after int64) iter.Seq2[iris.Event, error] {
	return func(yield func(iris.Event, error) bool) {
		for {
			f.mu.Lock()
			events, changed := slices.Clone(f.events[id][after:]), f.changed
			f.mu.Unlock()
			for _, ev := range events {
				if !yield(ev, nil) || ev.Last() {
					return
				}
				after = ev.Seq
			}
			if f.eventErr != nil {
				yield(iris.Event{}, f.eventErr)
				return
			}
			select {
			case <-ctx.Done():
				yield(iris.Event{}, ctx.Err())
				return
			case <-changed:
			}
		}
	}
}

func (f *fake) Cancel(ctx context.Context, id string) (iris.Message, error) {
	if !f.slow {
		f.end(id, iris.StatusCancelled, "", nil)
	}
	return f.Wait(ctx, id)
}

func (f *fake) Status(ctx context.Context, team string) (iris.TeamStatus, error) {
	st, ok := f.statuses[team]
	if !ok {
		return st, iris.Errorf(iris.CodeTeamNotFound, "team %q does not exist", team)
	}
	return st, nil
}

func (f *fake) Estimate(_ context.Context, m iris.Message) (int, time.Time, error) {
	if m.Team == "frontend" {
		return 0, time.Time{}, nil
	}
	return 3, epoch.Add(300 * time.Second), nil
}

func (f *fake) Teams() []iris.Team {
	return []iris.Team{f.statuses["backend"].Team, f.statuses["frontend"].Team, {Name: "removed"}}
}

func (f *fake) Message(_ context.Context, id string) (iris.Message, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return iris.Message{}, f.broken
	}
	if m := f.find(id); m != nil {
		return *m, nil
	}
	return iris.Message{}, iris.Errorf(iris.CodeMessageNotFound, "there is no message with this id")
}

func (f *fake) Head(ctx context.Context, id string) (iris.Message, error) {
	m, err := f.Message(ctx, id)
	m.Text, m.Response, m.Context, m.Err, m.Metadata = "", "", nil, nil, nil
	return m, err
}

func (f *fake) Messages(_ context.Context, q iris.Filter) (iris.Page, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var page iris.Page
	for _, m := range slices.Backward(f.messages) {
		if q.Team != "" && q.Team != m.Team || q.From != "" && q.From != m.Caller.From() || q.Status != "" && q.Status != m.Status ||
			len(q.Teams) > 0 && !slices.Contains(q.Teams, m.Team) || m.CreatedAt.Before(q.Since) || !q.Until.IsZero() && !m.CreatedAt.Before(q.Until) {
			continue
		}
		if !strings.Contains(m.Text, q.Query) {
			continue
		}
		page.Total++
		page.Messages = append(page.Messages, *m)
	}
	first := min((q.Page-1)*q.Limit, len(page.Messages))
	if !q.After.IsZero() { // the fake's messages have the numbers 1, 2, 3…
		first = slices.IndexFunc(page.Messages, func(m iris.Message) bool { return number(m) < q.After.N })
	}
	last := min(first+q.Limit, len(page.Messages))
	if last < len(page.Messages) {
		page.Next = iris.Cursor{CreatedAt: epoch, N: number(page.Messages[last-1]), Page: q.Page}
	}
	page.Messages = page.Messages[first:last]
	page.TotalCapped = q.Query != "" // it finds all there are, and says so to be heard
	return page, nil
}

func number(m iris.Message) (n int64) {
	fmt.Sscanf(m.ID, "msg_%d", &n)
	return n
}

func (f *fake) LastSeq(_ context.Context, id string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.events[id])), nil
}

// Delivery is one that failed, was put off and will be tried again, of every task with a callback.
func (f *fake) Delivery(_ context.Context, id string) (iris.Delivery, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.find(id)
	if m == nil || m.Callback == nil {
		return iris.Delivery{}, false, nil
	}
	d := iris.Delivery{URL: m.Callback.URL, Method: "POST", State: iris.DeliveryPending, Failures: 2, NextAt: epoch.Add(time.Hour)}
	d.Attempts = []iris.DeliveryAttempt{
		{At: epoch, Took: 15 * time.Second, Problem: "no answer within 15s"},
		{At: epoch.Add(20 * time.Second), Took: 40 * time.Millisecond, Status: 500, Problem: "the receiver answered 500"},
	}
	return d, true, nil
}

func (f *fake) Resend(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch m := f.find(id); {
	case m.Callback == nil:
		return iris.Errorf(iris.CodeNotFound, "it has no callback")
	case !m.Status.Final():
		return iris.Errorf(iris.CodeConflict, "it has not ended")
	}
	f.resent = append(f.resent, id)
	return nil
}

// kept is a request that was carried out.
type kept struct {
	iris.Once
	message string
	answer  []byte
}

func (f *fake) Kept(_ context.Context, o iris.Once) ([]byte, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k, ok := f.known[o.ID]
	if ok && k.Body != o.Body {
		return nil, false, iris.Errorf(iris.CodeConflict, "another body")
	}
	return k.answer, ok, nil
}

func (f *fake) Keep(_ context.Context, o iris.Once, answer []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known[o.ID] = kept{o, f.known[o.ID].message, answer}
	return nil
}

func (f *fake) Forget(_ context.Context, o iris.Once) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.known, o.ID)
	return nil
}

func (f *fake) Ping(context.Context) error { return f.broken }

func (f *fake) Keys(context.Context) ([]iris.Key, error) { return slices.Clone(f.stored), f.broken }

func (f *fake) CreateKey(_ context.Context, k iris.Key) error {
	if f.keyOf(k.Name) != nil {
		return iris.Errorf(iris.CodeConflict, "there is an API key named %q", k.Name)
	}
	f.stored = append(f.stored, k)
	return nil
}

func (f *fake) RevokeKey(_ context.Context, name string, at time.Time) error {
	k := f.keyOf(name)
	if k == nil {
		return iris.Errorf(iris.CodeNotFound, "there is no key named %q", name)
	}
	k.RevokedAt = at
	return nil
}

func (f *fake) RotateKey(_ context.Context, name, hash string, at time.Time, grace time.Duration) (iris.Key, error) {
	old := f.keyOf(name)
	if old == nil {
		return iris.Key{}, iris.Errorf(iris.CodeNotFound, "there is no key named %q", name)
	}
	k := *old
	k.Hash, k.CreatedAt = hash, at
	old.ReplacedAt, old.ExpiresAt = at, at.Add(grace)
	f.stored = append(f.stored, k)
	return k, nil
}

func (f *fake) keyOf(name string) *iris.Key {
	i := slices.IndexFunc(f.stored, func(k iris.Key) bool { return k.Name == name && k.RevokedAt.IsZero() && k.ReplacedAt.IsZero() })
	if i < 0 {
		return nil
	}
	return &f.stored[i]
}

// keys is who may come in.
type keys struct {
	mu  sync.Mutex
	all map[string]iris.Caller
	err error

	gone error // what is said of a key that is not there; nil: that it is wrong
}

func newKeys() *keys {
	k := &keys{all: map[string]iris.Caller{"local": {Kind: iris.CallerLocal}}}
	key := func(name string, teams []string, scopes ...iris.Scope) {
		k.all[name] = iris.Caller{Kind: iris.CallerKey, Name: name, Scopes: scopes, Teams: teams}
	}
	key("all", nil, iris.ScopeAll)
	key("admin", nil, iris.ScopeAdmin)
	key("none", nil)
	key("ci", nil, iris.ScopeTeamsRead, iris.ScopeTeamsWrite)
	key("reader", nil, iris.ScopeTeamsRead, iris.ScopeMessagesRead)
	key("writer", nil, iris.ScopeMessagesWrite)
	key("asker", nil, iris.ScopeTeamsRead, iris.ScopeMessagesWrite)
	key("streamer", nil, iris.ScopeTeamsRead, "messages:*")
	key("bound", []string{"frontend"}, iris.ScopeTeamsRead, "messages:*")
	key("watcher", nil, iris.ScopeProcessesRead)
	key("operator", nil, "processes:*")
	return k
}

func (k *keys) Caller(_ context.Context, credential string) (iris.Caller, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return iris.Caller{}, k.err
	}
	if c, ok := k.all[credential]; ok {
		return c, nil
	}
	if credential == "" {
		return iris.Caller{}, iris.Errorf(iris.CodeUnauthorized, "Missing or invalid Authorization header: send an API key")
	}
	if k.gone != nil {
		return iris.Caller{}, k.gone
	}
	return iris.Caller{}, iris.Errorf(iris.CodeUnauthorized, "Invalid API key: use another one")
}

func (k *keys) NewKey() (key, hash string) { return "iris_sk_NEW", "HASH" }

func (k *keys) revoke(credential string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.all, credential)
}

// Of the fake's permissions one waits for the boss, and one is forwarded to whoever asked.
func waiting() iris.Permission {
	return iris.Permission{
		ID: "per_1", MessageID: "msg_00000000000000000000000001", Team: "backend", Caller: iris.Caller{Kind: iris.CallerKey, Name: "ci"},
		Tool: "Bash", Input: []byte(`{"command":"npm test"}`), AskedAt: epoch, ExpiresAt: epoch.Add(time.Minute),
	}
}

func (f *fake) Attend(string, iris.Caller) func() {
	f.change(func() { f.attending++ })
	return func() { f.change(func() { f.attending-- }) }
}

func (f *fake) Permissions(iris.Caller) []iris.Permission { return []iris.Permission{waiting()} }

func (f *fake) Decide(c iris.Caller, id string, d iris.Decision) (iris.Permission, error) {
	p := waiting()
	if id != p.ID {
		return p, iris.Errorf(iris.CodeNotFound, "no permission of this id waits")
	}
	if !c.May(iris.ScopeProcessesManage) {
		return p, iris.Errorf(iris.CodeForbidden, "this permission is not this key's to decide")
	}
	p.Decision, p.Reason = d.Word(), d.Message
	return p, p.CheckAnswers(d)
}

package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/dispatch"
	"github.com/iris-mcp/iris-mcp/internal/bus"
	"github.com/iris-mcp/iris-mcp/internal/store"
	"github.com/iris-mcp/iris-mcp/queue"
)

// office is everything but the processes: the real record, bus and queue, and a pool that
// plays what the question says.
type office struct {
	*dispatch.Dispatcher
	db   *store.DB
	stop func() // ends the queue, as a shutdown does
}

var reasons = dispatch.Reasons{Shutdown: queue.ErrShutdown, LeaseLost: queue.ErrLeaseLost}

// open starts an office on the record in the folder; begin is false to leave its queue idle.
func open(t *testing.T, dir string, begin bool) *office {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(t.Context(), filepath.Join(dir, "iris.db"))
	if err != nil {
		t.Fatal(err)
	}
	b := bus.New(db, log)
	var d *dispatch.Dispatcher
	q := queue.New(queue.Config{
		Worker: "test", Grace: func() time.Duration { return 20 * time.Second },
		Limits: func() queue.Limits {
			return queue.Limits{Jobs: 10, Resting: d.Resting(), Team: func(string) (int, int) { return 4, 1 }}
		},
	}, db, log)
	d = dispatch.New(dispatch.Config{
		MaxAttempts: func() int { return 3 },
		Backoff:     func() time.Duration { return time.Second },
		Callback:    check,
	}, teams{}, db, b, &actor{}, q, log)
	q.Handle(iris.JobTurn, func(ctx context.Context, j iris.Job) { d.Run(ctx, j, reasons) })
	if err := d.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var serve sync.WaitGroup
	if begin {
		serve.Go(func() { q.Serve(ctx) })
	}
	stop := sync.OnceFunc(func() {
		d.Stop()
		cancel()
		serve.Wait()
		if err := errors.Join(b.Close(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return &office{Dispatcher: d, db: db, stop: stop}
}

// check takes callbacks with an https address.
func check(c iris.Callback) (field, problem string) {
	if !strings.HasPrefix(c.URL, "https://") {
		return "callback.url", "is odd"
	}
	return "", ""
}

// teams has one of every policy.
type teams struct{}

func (teams) Team(name string) (iris.Team, error) {
	for _, t := range (teams{}).Teams() {
		if t.Name == name {
			return t, nil
		}
	}
	return iris.Team{}, iris.Errorf(iris.CodeTeamNotFound, "team %q does not exist", name)
}

func (teams) Teams() (list []iris.Team) {
	for _, p := range []iris.PermissionPolicy{iris.PermissionsAsk, iris.PermissionsDeny, iris.PermissionsAllow, iris.PermissionsForward} {
		list = append(list, iris.Team{Name: string(p), Permissions: p, MaxProcesses: 4, ParallelTasks: 1, TurnTimeout: time.Hour, PermissionTimeout: time.Minute})
	}
	return list
}

func (teams) AddTeam(name string, _ []iris.Setting) (iris.Team, error) {
	return iris.Team{Name: name}, nil
}
func (t teams) ChangeTeam(name string, _ []iris.Setting, _ func(iris.Team) error) (iris.Team, error) {
	return t.Team(name)
}
func (t teams) RemoveTeam(name string) error { _, err := t.Team(name); return err }

// actor plays a turn by its text: "slow" takes a minute, "fail" fails, "touch" needs leave,
// "flaky 2" fails twice in a way that may pass, "limited 1h" once, for so long.
type actor struct {
	mu    sync.Mutex
	turns map[string]int // by message
}

func (a *actor) failed(messageID string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.turns == nil {
		a.turns = map[string]int{}
	}
	a.turns[messageID]++
	return a.turns[messageID] - 1
}

func (*actor) Processes(string) []iris.Process                     { return nil }
func (*actor) LastError(string) *iris.Error                        { return nil }
func (*actor) Wake(context.Context, iris.Team, bool) (bool, error) { return true, nil }
func (*actor) Kill(context.Context, string, int) error             { return nil }
func (*actor) Sleep(context.Context, string, bool) (iris.Slept, error) {
	return iris.Slept{Ended: 1}, nil
}
func (a *actor) Turn(ctx context.Context, t iris.Turn) (iris.Result, error) {
	var flaky int
	if n, _ := fmt.Sscanf(t.Text, "flaky %d", &flaky); n == 1 && a.failed(t.MessageID) < flaky {
		err := iris.Errorf(iris.CodeProcess, "it died")
		err.Retry = true
		return iris.Result{Metadata: iris.Metadata{Turns: 1, CostUSD: 0.25, ToolsUsed: []string{"Read"}, Usage: iris.Usage{InputTokens: 10}}}, err
	}
	var limit string
	if n, _ := fmt.Sscanf(t.Text, "limited %s", &limit); n == 1 && a.failed(t.MessageID) == 0 {
		d, _ := time.ParseDuration(limit)
		err := iris.Errorf(iris.CodeProcess, "no more requests for now: later").With("hint", "later")
		err.Retry, err.RetryAt = true, time.Now().Add(d)
		return iris.Result{}, err
	}
	t.Emit(iris.Event{Kind: iris.EventChunk, Text: "well, "})
	switch t.Text {
	case "slow":
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
			return iris.Result{}, fmt.Errorf("turn: %w", context.Cause(ctx))
		}
	case "fail":
		return iris.Result{}, iris.Errorf(iris.CodeProcess, "died")
	case "touch", "AskUserQuestion":
		d := t.Decide(ctx, iris.Permission{Tool: t.Text})
		return iris.Result{Text: fmt.Sprintf("%v %s", d.Allow, d.Message)}, nil
	}
	t.Emit(iris.Event{Kind: iris.EventChunk, Text: t.Text})
	return iris.Result{Text: "well, " + t.Text, Metadata: iris.Metadata{Turns: 1, CostUSD: 0.5, ToolsUsed: []string{"Read", "Edit"}, Usage: iris.Usage{InputTokens: 1}}}, nil
}

func ask(text string) iris.Ask {
	return iris.Ask{Caller: iris.Caller{Kind: iris.CallerKey, Name: "ci"}, Team: "ask", Text: text}
}

func task(text string) iris.Ask {
	a := ask(text)
	a.Task = true
	return a
}

func submit(t *testing.T, o *office, a iris.Ask) iris.Message {
	t.Helper()
	m, err := o.Submit(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wait(t *testing.T, o *office, id string) iris.Message {
	t.Helper()
	m, err := o.Wait(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func kinds(t *testing.T, o *office, id string) (list []iris.EventKind) {
	t.Helper()
	for e, err := range o.Events(t.Context(), id, 0) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e.Kind)
	}
	return list
}

func TestAMessageEndsOnce(t *testing.T) {
	late := ask("slow")
	late.Timeout = time.Second
	const start, chunk, complete, failed = iris.EventStart, iris.EventChunk, iris.EventComplete, iris.EventError
	for _, tt := range []struct {
		name   string
		ask    iris.Ask
		status iris.Status
		code   iris.Code
		events []iris.EventKind
	}{
		{"answered", ask("hello"), iris.StatusCompleted, "", []iris.EventKind{start, chunk, chunk, complete}},
		{"failed", ask("fail"), iris.StatusFailed, iris.CodeProcess, []iris.EventKind{start, chunk, failed}},
		{"too late", late, iris.StatusFailed, iris.CodeTimeout, []iris.EventKind{start, chunk, failed}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := open(t, t.TempDir(), true)
				m := wait(t, o, submit(t, o, tt.ask).ID)
				if m.Status != tt.status || tt.code != "" && (m.Err == nil || m.Err.Code != tt.code) {
					t.Errorf("ended %s with %v", m.Status, m.Err)
				}
				if got := kinds(t, o, m.ID); !slices.Equal(got, tt.events) {
					t.Errorf("events %v, want %v", got, tt.events)
				}
				if m.Status == iris.StatusCompleted && (m.Response != "well, hello" || m.Metadata.CostUSD != 0.5) {
					t.Errorf("answered %q, %+v", m.Response, m.Metadata)
				}
			})
		})
	}
}

func TestSubmitRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		bound := ask("hello")
		bound.Caller.Teams = []string{"deny"}
		other := ask("hello")
		other.Team = "nobody"
		long := ask("hello")
		long.SessionID = string(make([]byte, 129))
		foreign := ask("hello")
		foreign.SessionID = iris.NewID(iris.SessionPrefix)
		late := ask("hello")
		late.Timeout = 25 * time.Hour
		for _, tt := range []struct {
			name string
			ask  iris.Ask
			want iris.Code
		}{
			{"an unknown team", other, iris.CodeTeamNotFound},
			{"a key bound to other teams", bound, iris.CodeForbidden},
			{"a blank text", ask(" \n\t"), iris.CodeInvalidRequest},
			{"broken UTF-8", ask("\xff"), iris.CodeInvalidRequest},
			{"a long session name", long, iris.CodeInvalidRequest},
			{"an unknown session", foreign, iris.CodeNotFound},
			{"a timeout of more than a day", late, iris.CodeInvalidRequest},
		} {
			if _, err := o.Submit(t.Context(), tt.ask); iris.CodeOf(err) != tt.want {
				t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
			}
		}
		o.Stop()
		if _, err := o.Submit(t.Context(), ask("hello")); iris.CodeOf(err) != iris.CodeShuttingDown {
			t.Errorf("after Stop: got %v", err)
		}
	})
}

func TestWhoseSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		session := func(a iris.Ask) string { return submit(t, o, a).SessionID }
		named := ask("hello")
		named.SessionID = "github:acme/api#123"
		elsewhere := named
		elsewhere.Caller.Name = "other"
		local := ask("hello")
		local.Caller = iris.Caller{Kind: iris.CallerLocal}
		frontend := ask("hello")
		frontend.Caller = iris.Caller{Kind: iris.CallerTeam, Name: "frontend"}
		standing := ask("hello")
		standing.Caller.Standing = true
		again := ask("hello")
		again.SessionID = session(ask("hello"))

		for _, tt := range []struct {
			name string
			a, b iris.Ask
			same bool
		}{
			{"a key's messages are fresh conversations", ask("hello"), ask("hello"), false},
			{"a name of its own continues one", named, named, true},
			{"the same name of another key is another", named, elsewhere, false},
			{"an id continues one", again, again, true},
			{"a standing key has one per team", standing, standing, true},
			{"the local user has one per team", local, local, true},
			{"a team has one per team it asks", frontend, frontend, true},
			{"of its own", frontend, local, false},
		} {
			if a, b := session(tt.a), session(tt.b); (a == b) != tt.same {
				t.Errorf("%s: %s and %s", tt.name, a, b)
			}
		}
	})
}

// lastAnswer is a record and a bus of a message that ends in the moment in which the wait for
// it does, as everything does at a shutdown.
type lastAnswer struct {
	dispatch.Store
	dispatch.Bus
	end   context.CancelFunc
	reads int
}

func (l *lastAnswer) Message(ctx context.Context, id string) (iris.Message, error) {
	if l.reads++; l.reads == 1 {
		l.end()
		return iris.Message{ID: id, Status: iris.StatusProcessing}, nil
	}
	return iris.Message{ID: id, Status: iris.StatusCompleted}, ctx.Err()
}

func (l *lastAnswer) Ended(string) (<-chan struct{}, func()) {
	ended := make(chan struct{})
	close(ended)
	return ended, func() {}
}

func TestAnAnswerThatIsThereIsGivenWhateverElseEnds(t *testing.T) {
	for range 50 { // a select picks by chance
		ctx, end := context.WithCancel(t.Context())
		l := &lastAnswer{end: end}
		d := dispatch.New(dispatch.Config{}, teams{}, l, l, &actor{}, nil, slog.New(slog.DiscardHandler))
		if m, err := d.Wait(ctx, "msg_1"); err != nil || m.Status != iris.StatusCompleted {
			t.Fatalf("got %s, %v", m.Status, err)
		}
	}
}

// unreadable is a record that cannot be read so many times, and a bus that keeps what it is given.
type unreadable struct {
	dispatch.Store
	dispatch.Bus
	fault error
	times int
	end   iris.Message
}

func (u *unreadable) Message(context.Context, string) (iris.Message, error) {
	if u.times == 0 {
		return iris.Message{ID: "msg_1", Team: "ask", Text: "hello", CreatedAt: time.Now()}, nil
	}
	u.times--
	return iris.Message{}, u.fault
}

func (*unreadable) Session(context.Context, string) (iris.Session, error) { return iris.Session{}, nil }

func (u *unreadable) Finish(_ context.Context, m iris.Message, _ int, _ iris.Event) error {
	u.end = m
	return nil
}

func (*unreadable) Publish(iris.Event) {}

func TestAClaimedMessageThatCannotBeRead(t *testing.T) {
	passes := &iris.Error{Code: iris.CodeInternal, Message: "the disk fails", Retry: true}
	for _, tt := range []struct {
		name  string
		fault error
		times int
		ends  iris.Status // none: it is left to the next owner
		after time.Duration
	}{
		{"ends", errors.New("disk on fire"), 1, iris.StatusFailed, 0},
		{"runs when the fault has passed", passes, 5, iris.StatusCompleted, 5 * time.Second},
		{"is left alone when Iris stops before that", passes, 100, "", time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &unreadable{fault: tt.fault, times: tt.times}
				d := dispatch.New(dispatch.Config{}, teams{}, u, u, &actor{}, nil, slog.New(slog.DiscardHandler))
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				time.AfterFunc(time.Minute, func() { cancel(queue.ErrShutdown) })
				began := time.Now()
				d.Run(ctx, iris.Job{ID: "job_1", MessageID: "msg_1", Team: "ask", Attempt: 1}, reasons)
				if took := time.Since(began); u.end.Status != tt.ends || took != tt.after {
					t.Errorf("it ended as %+v after %v", u.end, took)
				}
			})
		})
	}
}

func TestCancel(t *testing.T) {
	for _, tt := range []struct {
		name  string
		begun bool
	}{
		{"a waiting message", false},
		{"a running one", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := open(t, t.TempDir(), tt.begun)
				m := submit(t, o, ask("slow"))
				synctest.Wait()
				got, err := o.Cancel(t.Context(), m.ID)
				if err != nil || got.Status != iris.StatusCancelled || got.Err.Code != iris.CodeCancelled {
					t.Fatalf("got %s (%v), %v", got.Status, got.Err, err)
				}
				if again, err := o.Cancel(t.Context(), m.ID); err != nil || again.Status != iris.StatusCancelled {
					t.Errorf("the second time: %s, %v", again.Status, err)
				}
				if k := kinds(t, o, m.ID); k[len(k)-1] != iris.EventError {
					t.Errorf("events %v", k)
				}
			})
		})
	}
	t.Run("at every moment ends the message once", func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				m, err := o.Submit(t.Context(), ask("hello"))
				if err != nil {
					t.Error(err)
					return
				}
				if m, err = o.Cancel(t.Context(), m.ID); err != nil || !m.Status.Final() {
					t.Errorf("got %s, %v", m.Status, err)
				}
			})
		}
		all.Wait()
	})
	t.Run("is not forgotten when who wants it leaves before the turn begins", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o := open(t, t.TempDir(), false)
			m := submit(t, o, ask("slow"))
			j, ok, err := o.db.Claim(t.Context(), iris.Claim{Worker: "test", Lease: time.Minute})
			if !ok || err != nil {
				t.Fatalf("claim: %v, %v", ok, err)
			}
			ctx, leave := context.WithTimeout(t.Context(), time.Second)
			defer leave()
			if _, err := o.Cancel(ctx, m.ID); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %v", err)
			}
			o.Run(t.Context(), j, reasons)
			if got := wait(t, o, m.ID); got.Status != iris.StatusCancelled {
				t.Errorf("it is %s", got.Status)
			}
		})
	})
	t.Run("of an unknown message says so", func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		if _, err := o.Cancel(t.Context(), iris.NewID(iris.MessagePrefix)); iris.CodeOf(err) != iris.CodeMessageNotFound {
			t.Errorf("got %v", err)
		}
	})
}

func TestPermissions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		for _, tt := range []struct {
			team, tool string
			allow      bool
		}{
			{"ask", "touch", false}, {"deny", "touch", false}, {"forward", "touch", false}, {"allow", "touch", true},
			{"allow", "AskUserQuestion", false},
		} {
			a := ask(tt.tool)
			a.Team = tt.team
			start := time.Now()
			m := wait(t, o, submit(t, o, a).ID)
			if got := m.Response[:4] == "true"; got != tt.allow {
				t.Errorf("%s with permissions %s: %s", tt.tool, tt.team, m.Response)
			}
			if !tt.allow && len(m.Response) < 40 {
				t.Errorf("the model is told only %q", m.Response)
			}
			if took := time.Since(start); took > 0 {
				t.Errorf("deciding took %v", took)
			}
		}
	})
}

func TestTheSameTaskIsNotQueuedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		first := submit(t, o, task("slow"))
		if again := submit(t, o, task("slow")); again.ID != first.ID {
			t.Error("a task that runs was queued again")
		}
		always := task("slow")
		always.NoDedupe = true
		if again := submit(t, o, always); again.ID == first.ID {
			t.Error("a task that wants to be queued was not")
		}
		urgent := task("slow")
		urgent.Priority = iris.PriorityHigh
		if other := submit(t, o, urgent); other.ID == first.ID {
			t.Error("another priority counts as the same task")
		}
		if a, b := submit(t, o, ask("slow")), submit(t, o, ask("slow")); a.ID == b.ID {
			t.Error("two asks became one")
		}
	})
}

func TestShutdown(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ask   iris.Ask
		after iris.Status // the shutdown
		then  iris.Status // at the next owner
	}{
		{"an ask that is late fails", ask("slow"), iris.StatusFailed, iris.StatusFailed},
		{"a task that is late runs again", task("slow"), iris.StatusQueued, iris.StatusCompleted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				o := open(t, dir, true)
				m := submit(t, o, tt.ask)
				synctest.Wait()
				start := time.Now()
				o.stop()
				if took := time.Since(start); took != 20*time.Second {
					t.Errorf("took %v, want the grace", took)
				}
				idle := open(t, dir, false)
				got, _ := idle.db.Message(t.Context(), m.ID)
				if got.Status != tt.after {
					t.Errorf("after the shutdown it is %s, want %s", got.Status, tt.after)
				}
				if got.Err != nil && got.Err.Code != iris.CodeProcess { // which clients do not send again by themselves
					t.Errorf("it failed with %v", got.Err)
				}
				idle.stop()
				o = open(t, dir, true)
				if got := wait(t, o, m.ID); got.Status != tt.then {
					t.Errorf("then it is %s (%v), want %s", got.Status, got.Err, tt.then)
				}
				if told := slices.Contains(kinds(t, o, m.ID), iris.EventRetry); told != (tt.then == iris.StatusCompleted) {
					t.Errorf("its stream tells why it runs again: %v", told)
				}
			})
		})
	}
}

func TestRecover(t *testing.T) {
	for _, tt := range []struct {
		name string
		ask  iris.Ask
		dies int // times
		then iris.Status
	}{
		{"an ask fails", ask("hello"), 1, iris.StatusFailed},
		{"a task runs again", task("hello"), 1, iris.StatusCompleted},
		{"a task that took Iris down each time fails", task("hello"), 3, iris.StatusFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				o := open(t, dir, false)
				m := submit(t, o, tt.ask)
				for range tt.dies { // claimed, and then Iris is no more
					if _, ok, err := o.db.Claim(t.Context(), iris.Claim{Worker: "dead", Lease: time.Minute}); !ok || err != nil {
						t.Fatalf("claim: %v, %v", ok, err)
					}
					o.stop()
					o = open(t, dir, false)
				}
				o.stop()
				got := wait(t, open(t, dir, true), m.ID)
				if got.Status != tt.then {
					t.Errorf("it is %s (%v), want %s", got.Status, got.Err, tt.then)
				}
				if got.Status == iris.StatusFailed && got.Err.Code != iris.CodeProcess {
					t.Errorf("failed with %v", got.Err)
				}
			})
		})
	}
}

// TestControlKnowsTheTeams: what is asked of a team's processes is asked of a configured team.
func TestControlKnowsTheTeams(t *testing.T) {
	o := open(t, t.TempDir(), false)
	team := o.Teams()[0].Name
	if started, err := o.Wake(t.Context(), team, true); !started || err != nil {
		t.Errorf("wake: %v, %v", started, err)
	}
	if slept, err := o.Restart(t.Context(), team, false); slept.Ended != 1 || err != nil {
		t.Errorf("restart: %+v, %v", slept, err)
	}
	_, wake := o.Wake(t.Context(), "nobody", true)
	_, sleep := o.Sleep(t.Context(), "nobody", false)
	_, restart := o.Restart(t.Context(), "nobody", false)
	for what, err := range map[string]error{"wake": wake, "sleep": sleep, "restart": restart} {
		if iris.CodeOf(err) != iris.CodeTeamNotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestACallback(t *testing.T) {
	bad := func(t *testing.T, o *office, a iris.Ask, field string) {
		t.Helper()
		_, err := o.Submit(t.Context(), a)
		e, ok := errors.AsType[*iris.Error](err)
		if !ok || e.Code != iris.CodeInvalidRequest || !strings.HasPrefix(e.Message, field+" ") {
			t.Errorf("%+v: %v, want INVALID_REQUEST about %s", a.Callback, err, field)
		}
	}
	with := func(a iris.Ask, c iris.Callback) iris.Ask { a.Callback = &c; return a }
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), false)
		bad(t, o, with(ask("a"), iris.Callback{URL: "https://good.example"}), "callback")
		bad(t, o, with(task("a"), iris.Callback{URL: "odd"}), "callback.url")
		a := submit(t, o, with(task("a"), iris.Callback{URL: "https://good.example"}))
		for name, same := range map[string]bool{
			submit(t, o, with(task("a"), iris.Callback{URL: "https://good.example", Method: "POST"})).ID:                       true,
			submit(t, o, with(task("a"), iris.Callback{URL: "https://good.example", Method: "PUT"})).ID:                        false,
			submit(t, o, with(task("a"), iris.Callback{URL: "https://good.example", Headers: map[string]string{"A": "1"}})).ID: false,
			submit(t, o, with(task("a"), iris.Callback{URL: "https://good.example/2"})).ID:                                     false,
			submit(t, o, task("a")).ID: false,
		} {
			if (name == a.ID) != same {
				t.Errorf("%s is the same task as %s: %v", name, a.ID, !same)
			}
		}
		if _, err := o.Cancel(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
		if d, ok, err := o.db.Delivery(t.Context(), a.ID); !ok || err != nil || d.Method != "POST" || d.NextAt.IsZero() {
			t.Errorf("the delivery of a cancelled task is %+v %v, %v", d, ok, err)
		}
	})
}

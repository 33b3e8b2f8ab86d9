package pool_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/pool"
)

// launcher starts fake agents and counts them.
type launcher struct {
	takes time.Duration // a start
	dies  time.Duration // after its start; zero: never
	fails func(agentID string, resume bool) error

	mu       sync.Mutex
	agents   []*fake
	starting int
	most     int // starts under way at once
	live     int
	mostLive int
}

func (l *launcher) start(ctx context.Context, team iris.Team, agentID string, resume bool) (pool.Agent, error) {
	l.mu.Lock()
	l.starting++
	l.most = max(l.most, l.starting)
	l.mu.Unlock()
	select {
	case <-time.After(l.takes):
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starting--
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l.fails != nil {
		if err := l.fails(agentID, resume); err != nil {
			return nil, err
		}
	}
	a := &fake{launcher: l, pid: len(l.agents) + 1, team: team, agentID: agentID, resumed: resume, done: make(chan struct{})}
	l.agents = append(l.agents, a)
	if l.dies > 0 {
		time.AfterFunc(l.dies, a.gone)
	}
	l.live++
	l.mostLive = max(l.mostLive, l.live)
	return a, nil
}

func (l *launcher) started() []*fake {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*fake(nil), l.agents...)
}

// fake is an agent whose turn takes a second for "slow", never ends for "forever", dies for
// "die", and else is over at once.
type fake struct {
	launcher *launcher
	pid      int
	team     iris.Team
	agentID  string
	resumed  bool
	once     sync.Once
	done     chan struct{}

	mu   sync.Mutex
	busy bool
	dead bool // the next turn finds out
}

func (f *fake) Turn(ctx context.Context, t iris.Turn) (iris.Result, error) {
	f.mu.Lock()
	if f.busy {
		panic("two turns at once in one process")
	}
	f.busy = true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.busy = false
		f.mu.Unlock()
	}()
	if f.dead {
		return iris.Result{}, &iris.Error{Code: iris.CodeProcess, Message: "died", Err: iris.ErrNotBegun}
	}
	switch t.Text {
	case "forever":
		<-ctx.Done()
		return iris.Result{}, fmt.Errorf("turn: %w", context.Cause(ctx))
	case "die slowly": // Done comes late, as the real one's does
		f.dead = true
		time.AfterFunc(50*time.Millisecond, f.gone)
		return iris.Result{}, &iris.Error{Code: iris.CodeProcess, Message: "died", Retry: true}
	case "die":
		f.gone()
		return iris.Result{}, &iris.Error{Code: iris.CodeProcess, Message: "died", Retry: true}
	case "slow":
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return iris.Result{}, fmt.Errorf("turn: %w", context.Cause(ctx))
		case <-f.done:
			return iris.Result{}, &iris.Error{Code: iris.CodeProcess, Message: "died", Retry: true}
		}
	}
	return iris.Result{Text: fmt.Sprintf("%s by %d", t.Text, f.pid)}, nil
}

func (f *fake) gone() {
	f.once.Do(func() {
		f.launcher.mu.Lock()
		f.launcher.live--
		f.launcher.mu.Unlock()
		close(f.done)
	})
}

func (f *fake) Done() <-chan struct{} { return f.done }
func (f *fake) PID() int              { return f.pid }
func (f *fake) Close() error {
	select {
	case <-f.done:
	case <-time.After(100 * time.Millisecond):
		f.gone()
	}
	return nil
}

// sessions remembers what the pool stores.
type sessions struct {
	takes  time.Duration // to be stored
	mu     sync.Mutex
	agents map[string]string
}

func (s *sessions) SetAgent(ctx context.Context, id, agentID string, _ bool) error {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents[id] = agentID
	return nil
}

// open makes a pool for the rest of the bubble.
func open(t *testing.T, l *launcher, limit int, teams ...iris.Team) (*pool.Pool, *sessions) {
	t.Helper()
	return openFor(t, l, limit, func() []iris.Team { return teams })
}

// openFor is open with teams that may change.
func openFor(t *testing.T, l *launcher, limit int, teams func() []iris.Team) (*pool.Pool, *sessions) {
	t.Helper()
	s := &sessions{agents: map[string]string{}}
	p := pool.New(pool.Config{
		MaxProcesses: func() int { return limit },
		Teams:        teams,
		Starts:       2,
		RSS:          func(int) int64 { return 0 },
	}, l.start, s, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.live != 0 {
			t.Errorf("%d processes are left over", l.live)
		}
	})
	return p, s
}

func team(name string) iris.Team {
	return iris.Team{Name: name, MaxProcesses: 4, IdleTimeout: 10 * time.Minute}
}

func turn(team iris.Team, session, text string) iris.Turn {
	return iris.Turn{Session: iris.Session{ID: session, Team: team.Name, AgentID: "uuid-" + session}, Team: team, Text: text}
}

func TestTurns(t *testing.T) {
	backend := team("backend")
	for _, tt := range []struct {
		name       string
		turns      []iris.Turn // all at once
		limit      int
		want       int // launches
		took       time.Duration
		mostAtOnce int // starts
	}{
		{"of one session launch one process and take turns",
			[]iris.Turn{turn(backend, "s1", "slow"), turn(backend, "s1", "slow"), turn(backend, "s1", "slow")}, 10, 1, 3*time.Second + 500*time.Millisecond, 1},
		{"of two sessions run side by side",
			[]iris.Turn{turn(backend, "s1", "slow"), turn(backend, "s2", "slow")}, 10, 2, 1500 * time.Millisecond, 2},
		{"start no more processes at once than there are cores",
			[]iris.Turn{turn(backend, "s1", "slow"), turn(backend, "s2", "slow"), turn(backend, "s3", "slow"), turn(backend, "s4", "slow")}, 10, 4, 2 * time.Second, 2},
		{"wait for an idle process to make room at the global limit",
			[]iris.Turn{turn(backend, "s1", "slow"), turn(team("other"), "s2", "slow")}, 1, 2, 3100 * time.Millisecond, 1},
		{"wait for room at the team's limit",
			[]iris.Turn{turn(backend, "s1", "slow"), turn(backend, "s2", "slow"), turn(backend, "s3", "slow"), turn(backend, "s4", "slow"), turn(backend, "s5", "slow")}, 10, 5, 0, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &launcher{takes: 500 * time.Millisecond}
				p, _ := open(t, l, tt.limit)
				start := time.Now()
				var all sync.WaitGroup
				for _, turn := range tt.turns {
					all.Go(func() {
						if _, err := p.Turn(t.Context(), turn); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if took := time.Since(start); tt.took != 0 && took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if n := len(l.started()); n != tt.want {
					t.Errorf("%d launches, want %d", n, tt.want)
				}
				if l.most > tt.mostAtOnce {
					t.Errorf("%d starts at once, want at most %d", l.most, tt.mostAtOnce)
				}
				if l.mostLive > tt.limit || l.mostLive > 4 {
					t.Errorf("%d processes at once", l.mostLive)
				}
			})
		})
	}
}

func TestASessionKeepsItsProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &launcher{}
		p, s := open(t, l, 10)
		for range 3 {
			res, err := p.Turn(t.Context(), turn(team("backend"), "s1", "hello"))
			if err != nil || res.Text != "hello by 1" {
				t.Fatalf("got %q, %v", res.Text, err)
			}
		}
		if got := s.agents["s1"]; got != "uuid-s1" {
			t.Errorf("the session's conversation is stored as %q", got)
		}
	})
}

func TestADeadProcessIsReplacedAtTheNextTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &launcher{}
		p, _ := open(t, l, 10)
		backend := team("backend")
		if _, err := p.Turn(t.Context(), turn(backend, "s1", "die")); iris.CodeOf(err) != iris.CodeProcess {
			t.Fatalf("got %v", err)
		}
		if p.LastError("backend") == nil {
			t.Error("the failure is not remembered")
		}
		next := turn(backend, "s1", "hello")
		next.Session.Started = true
		res, err := p.Turn(t.Context(), next)
		if err != nil || res.Text != "hello by 2" {
			t.Fatalf("got %q, %v", res.Text, err)
		}
		if a := l.started()[1]; !a.resumed || a.agentID != "uuid-s1" {
			t.Errorf("the second process did not resume the conversation: %+v", a)
		}
		if p.LastError("backend") != nil {
			t.Error("the failure is still there after a success")
		}
		// And one that dies while it idles.
		l.started()[1].gone()
		synctest.Wait()
		if n := len(p.Processes("backend")); n != 0 && p.Processes("backend")[0].State != iris.ProcessStopping {
			t.Errorf("a dead process is listed: %+v", p.Processes("backend"))
		}
		if res, err = p.Turn(t.Context(), next); err != nil || res.Text != "hello by 3" {
			t.Fatalf("got %q, %v", res.Text, err)
		}
	})
}

func TestATurnThatMeetsADyingProcessIsTakenToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &launcher{}
		p, _ := open(t, l, 10)
		if _, err := p.Turn(t.Context(), turn(team("backend"), "s1", "die slowly")); iris.CodeOf(err) != iris.CodeProcess {
			t.Fatalf("got %v", err)
		}
		res, err := p.Turn(t.Context(), turn(team("backend"), "s1", "hello"))
		if err != nil || res.Text != "hello by 2" || !l.started()[1].resumed {
			t.Fatalf("got %q, %v", res.Text, err)
		}
	})
}

func TestIdleProcessesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &launcher{}
		p, _ := open(t, l, 10)
		ask := func() {
			if _, err := p.Turn(t.Context(), turn(team("backend"), "s1", "slow")); err != nil {
				t.Fatal(err)
			}
		}
		ask()
		time.Sleep(9 * time.Minute)
		ask() // its time begins anew
		time.Sleep(9 * time.Minute)
		if n := len(p.Processes("backend")); n != 1 {
			t.Fatalf("%d processes after 9 idle minutes", n)
		}
		time.Sleep(2 * time.Minute)
		if n := len(p.Processes("backend")); n != 0 {
			t.Errorf("%d processes after 11 idle minutes", n)
		}
	})
}

func TestTheLeastRecentlyUsedIdleProcessMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &launcher{}
		p, _ := open(t, l, 2)
		backend := team("backend")
		for _, s := range []string{"s1", "s2", "s1", "s3"} {
			if _, err := p.Turn(t.Context(), turn(backend, s, "slow")); err != nil {
				t.Fatal(err)
			}
		}
		var left []string
		for _, pr := range p.Processes("backend") {
			left = append(left, pr.SessionID)
		}
		if fmt.Sprint(left) != "[s1 s3]" {
			t.Errorf("left are %v", left)
		}
	})
}

func TestSparesAnswerAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &launcher{takes: time.Second}
		backend := team("backend")
		backend.Warm = 1
		p, s := open(t, l, 3, backend)
		ctx, stop := context.WithCancel(t.Context())
		var serve sync.WaitGroup
		serve.Go(func() { p.Serve(ctx) })
		defer serve.Wait()
		defer stop()
		time.Sleep(2 * time.Second)
		for i := range 2 {
			start := time.Now()
			id := fmt.Sprintf("s%d", i)
			if _, err := p.Turn(t.Context(), turn(backend, id, "hello")); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 0 {
				t.Errorf("a new session waited %v for its process", took)
			}
			if s.agents[id] != l.started()[i].agentID {
				t.Errorf("session %s is stored with the conversation %q", id, s.agents[id])
			}
			time.Sleep(2 * time.Second)
		}
		if n := len(p.Processes("backend")); n != 3 {
			t.Errorf("%d processes, want two sessions' and a spare", n)
		}
	})
}

func TestSparesLeaveRoomForTurns(t *testing.T) {
	warm := team("backend")
	warm.Warm = 1
	small := warm
	small.MaxProcesses = 1
	cases := map[string]struct {
		spares iris.Team
		turn   iris.Turn
	}{
		"of another team":                    {warm, turn(team("frontend"), "s1", "hello")},
		"of a conversation that is to go on": {small, iris.Turn{Session: iris.Session{ID: "s1", AgentID: "uuid-s1", Started: true}, Team: small, Text: "hello"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &launcher{takes: time.Second}
				p, _ := open(t, l, 1, c.spares)
				stop := serve(t, p)
				defer stop()
				time.Sleep(2 * time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := p.Turn(ctx, c.turn); err != nil {
					t.Error(err)
				}
				if n := len(l.started()); n != 2 {
					t.Errorf("%d processes were started, want the spare and the turn's", n)
				}
			})
		})
	}
}

// serve keeps the pool's spares until stop.
func serve(t *testing.T, p *pool.Pool) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { p.Serve(ctx) })
	return func() { cancel(); serving.Wait() }
}

func TestSparesFollowTheConfiguration(t *testing.T) {
	before := team("backend")
	before.Warm = 1
	changed := before
	changed.Model = "opus"
	cases := map[string]struct {
		after  []iris.Team
		starts int
		live   int
	}{
		"a changed team gets a new spare, once": {[]iris.Team{changed}, 2, 1},
		"a team that is gone keeps none":        {nil, 1, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &launcher{takes: time.Second}
				var teams atomic.Pointer[[]iris.Team]
				teams.Store(&[]iris.Team{before})
				p, _ := openFor(t, l, 10, func() []iris.Team { return *teams.Load() })
				stop := serve(t, p)
				defer stop()
				time.Sleep(5 * time.Second)
				teams.Store(&c.after)
				time.Sleep(time.Minute)
				if n := len(l.started()); n != c.starts {
					t.Errorf("%d spares were started, want %d", n, c.starts)
				}
				if n := len(p.Processes("backend")); n != c.live {
					t.Errorf("%d processes, want %d", n, c.live)
				}
			})
		})
	}
}

func TestSparesThatDieAreNotReplacedWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &launcher{takes: time.Second, dies: time.Second}
		backend := team("backend")
		backend.Warm = 1
		p, _ := open(t, l, 3, backend)
		stop := serve(t, p)
		defer stop()
		time.Sleep(10 * time.Minute)
		if n := len(l.started()); n != 2 {
			t.Errorf("%d spares were started", n)
		}
		if err := p.LastError("backend"); err == nil {
			t.Error("nobody is told")
		}
		l.dies = 0
		if _, err := p.Turn(t.Context(), turn(backend, "s1", "hello")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if n := len(p.Processes("backend")); n != 2 {
			t.Errorf("%d processes after a turn that went well, want its own and a spare", n)
		}
	})
}

func TestTheCLIsOwnRecordDecidesHowASessionGoesOn(t *testing.T) {
	for _, tt := range []struct {
		name    string
		says    error
		started bool
		resumed bool // in the end
		same    bool // the conversation's id
	}{
		{"a lost conversation begins anew", iris.ErrConversationLost, true, false, false},
		{"one that exists already is resumed", iris.ErrConversationTaken, false, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &launcher{}
				l.fails = func(agentID string, resume bool) error {
					if resume == tt.started && agentID == "uuid-s1" {
						return &iris.Error{Code: iris.CodeProcess, Message: "no", Err: tt.says}
					}
					return nil
				}
				p, s := open(t, l, 10)
				ask := turn(team("backend"), "s1", "hello")
				ask.Session.Started = tt.started
				if _, err := p.Turn(t.Context(), ask); err != nil {
					t.Fatal(err)
				}
				a := l.started()[0]
				if a.resumed != tt.resumed || (a.agentID == "uuid-s1") != tt.same {
					t.Errorf("went on as %q, resumed %v", a.agentID, a.resumed)
				}
				if s.agents["s1"] != a.agentID {
					t.Errorf("stored %q, runs %q", s.agents["s1"], a.agentID)
				}
			})
		})
	}
}

func TestFailingStartsAreHeldBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		retry bool
		least time.Duration // that ten failing starts take
		most  time.Duration // that one takes
	}{
		{"what may pass is tried less and less often, yet in time for who asks", true, 5 * time.Second, 15 * time.Second},
		{"what no repetition mends is told at once", false, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &launcher{fails: func(string, bool) error {
					return &iris.Error{Code: iris.CodeProcess, Message: "exit status 1", Retry: tt.retry}
				}}
				p, _ := open(t, l, 10)
				start := time.Now()
				for try := range 10 {
					began := time.Now()
					if _, err := p.Turn(t.Context(), turn(team("backend"), "s1", "hello")); iris.CodeOf(err) != iris.CodeProcess {
						t.Fatalf("got %v", err)
					}
					if took := time.Since(began); try < 2 && took > 0 || took > tt.most {
						t.Errorf("try %d was held back for %v", try, took)
					}
				}
				if took := time.Since(start); took < tt.least {
					t.Errorf("ten failing starts took only %v", took)
				}
				l.fails = nil
				if _, err := p.Turn(t.Context(), turn(team("backend"), "s1", "hello")); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestATurnThatWaitsSeesThatTheLimitWasRaised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var limit atomic.Int64
		limit.Store(1)
		l := &launcher{}
		p := pool.New(pool.Config{
			MaxProcesses: func() int { return int(limit.Load()) },
			Teams:        func() []iris.Team { return nil },
			Starts:       2,
			RSS:          func(int) int64 { return 0 },
		}, l.start, &sessions{agents: map[string]string{}}, slog.New(slog.DiscardHandler))
		defer p.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var all sync.WaitGroup
		defer all.Wait()
		defer cancel()
		all.Go(func() { p.Serve(ctx) })
		all.Go(func() { p.Turn(ctx, turn(team("backend"), "s1", "forever")) })
		synctest.Wait()
		time.AfterFunc(5*time.Second, func() { limit.Store(2) })
		start := time.Now()
		if _, err := p.Turn(ctx, turn(team("backend"), "s2", "hello")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 7*time.Second {
			t.Errorf("it waited %v", took)
		}
	})
}

func TestAChangedTeamGetsANewProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &launcher{}
		p, _ := open(t, l, 10)
		before := team("backend")
		after := before
		after.Model = "opus"
		renamed := after
		renamed.Description, renamed.IdleTimeout = "another one", time.Hour
		for _, team := range []iris.Team{before, after, after, renamed} {
			if _, err := p.Turn(t.Context(), turn(team, "s1", "hello")); err != nil {
				t.Fatal(err)
			}
		}
		if agents := l.started(); len(agents) != 2 || agents[1].team.Model != "opus" {
			t.Errorf("%d launches", len(agents))
		}
		time.Sleep(30 * time.Minute)
		if n := len(p.Processes("backend")); n != 1 {
			t.Errorf("%d processes: the new idle time does not count", n)
		}
	})
}

func TestACallerWhoLeaves(t *testing.T) {
	why := errors.New("left")
	for _, tt := range []struct {
		name  string
		after time.Duration
	}{
		{"while the process starts", 100 * time.Millisecond},
		{"while the conversation is stored", 550 * time.Millisecond},
		{"in mid-turn", 700 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &launcher{takes: 500 * time.Millisecond}
				p, s := open(t, l, 10)
				s.takes = 100 * time.Millisecond
				ctx, leave := context.WithCancelCause(t.Context())
				time.AfterFunc(tt.after, func() { leave(why) })
				if _, err := p.Turn(ctx, turn(team("backend"), "s1", "slow")); !errors.Is(err, why) {
					t.Fatalf("got %v, want %v", err, why)
				}
				if p.LastError("backend") != nil {
					t.Error("that counts as the team's failure")
				}
				if _, err := p.Turn(t.Context(), turn(team("backend"), "s1", "hello")); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestCloseEndsWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &launcher{takes: 500 * time.Millisecond}
		p, _ := open(t, l, 10)
		errs := make(chan error, 2)
		go func() { _, err := p.Turn(t.Context(), turn(team("backend"), "s1", "slow")); errs <- err }()
		time.Sleep(600 * time.Millisecond)
		go func() { _, err := p.Turn(t.Context(), turn(team("backend"), "s2", "slow")); errs <- err }()
		time.Sleep(100 * time.Millisecond)
		p.Close()
		for range 2 {
			if err := <-errs; iris.CodeOf(err) != iris.CodeProcess && iris.CodeOf(err) != iris.CodeShuttingDown {
				t.Errorf("got %v", err)
			}
		}
		if _, err := p.Turn(t.Context(), turn(team("backend"), "s3", "hello")); iris.CodeOf(err) != iris.CodeShuttingDown {
			t.Errorf("after Close: got %v", err)
		}
	})
}

// What a process was weighs more than its place: nothing may hold on to one that is gone, such
// as the timer that would have ended it. No bubble: there a timer that was stopped lives on.
func TestAProcessThatDiedIsForgotten(t *testing.T) {
	l := &launcher{}
	p, _ := open(t, l, 10)
	if _, err := p.Turn(t.Context(), turn(team("backend"), "s1", "hello")); err != nil {
		t.Fatal(err)
	}
	died := weak.Make(l.agents[0])
	l.agents[0].gone()
	l.agents = nil
	for began := time.Now(); died.Value() != nil; runtime.GC() {
		if time.Since(began) > 10*time.Second {
			t.Fatal("something holds on to it")
		}
	}
}

// Package pool holds the processes: real, long-lived CLIs, one for each session that is
// awake, and a few spare ones. A session's process is found warm, taken from the spares or
// started, runs one turn at a time, and ends when it was idle for long enough, when somebody
// needs its place, or when it dies. Busy processes are never ended to make room.
//
// One mutex guards the picture of what there is; nothing waits while it is held. Turns that
// cannot have a process yet stand in a line (line.go), which is gone through at each change of
// that picture; whoever else needs a change waits for the changed channel and looks again. Each
// process has one goroutine that sees its end, and that is the only place where it leaves the
// picture.
package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// Agent is one running CLI; *agent.Agent is one.
type Agent interface {
	// Turn runs one turn to its end. When the context ends it interrupts the turn and
	// returns the context's cause, wrapped; the agent can then be used again unless Done.
	// iris.ErrNotBegun, wrapped: the process was gone before it heard of the message.
	Turn(ctx context.Context, t iris.Turn) (iris.Result, error)
	// Done closes when the process has gone.
	Done() <-chan struct{}
	PID() int
	// Close ends the process and all it left behind, and waits for that.
	Close() error
}

// Start launches a CLI for the team and returns once it is ready for a turn. It begins the
// conversation of that id or, with resume, goes on with it. It fails with an *iris.Error that
// wraps iris.ErrConversationLost or iris.ErrConversationTaken where the CLI said so.
type Start func(ctx context.Context, team iris.Team, agentID string, resume bool) (Agent, error)

// Store keeps which of the CLI's conversations a session is; *store.DB is one.
type Store interface {
	SetAgent(ctx context.Context, sessionID, agentID string, started bool) error
}

// Config is what the pool is told once; the functions are asked anew each time.
type Config struct {
	MaxProcesses func() int         // of all teams together
	Teams        func() []iris.Team // whose spares to keep
	Starts       int                // CLIs that may start at once: the number of cores
	RSS          func(pid int) int64
}

// Pool is safe for concurrent use.
type Pool struct {
	cfg   Config
	start Start
	store Store
	log   *slog.Logger

	gate    chan struct{} // holds a token for each start under way
	closing context.Context
	close   context.CancelFunc
	work    sync.WaitGroup // watchers, stops and spares being started

	mu        sync.Mutex
	processes map[*process]struct{}
	sessions  map[string]*process // by session id
	failures  map[string]*failure // by team; starts and turns that failed
	asleep    map[string]bool     // by team; its spares are not kept until somebody wants it
	line      []*waiter           // who waits for a process, first come first
	changed   chan struct{}       // closed and replaced whenever the picture changes
}

// process is one CLI, or the place of one that is starting. Pool.mu guards it.
type process struct {
	team    iris.Team
	session iris.Session // zero for a spare
	agentID string
	agent   Agent // nil while starting
	state   iris.ProcessState
	started time.Time
	used    time.Time
	turns   int
	idle    *time.Timer // ends it; while idle

	woken  bool                    // a spare that somebody asked for: it too ends when idle for long
	leaves bool                    // it ends as soon as it is not busy
	killed *iris.Error             // it was ended in its turn or its start, which fails with this
	cancel context.CancelCauseFunc // ends its start; nil before and after
	failed error                   // why its start did not go well
}

// New makes an empty pool. Close it.
func New(cfg Config, start Start, store Store, log *slog.Logger) *Pool {
	p := &Pool{
		cfg: cfg, start: start, store: store, log: log,
		gate:      make(chan struct{}, max(1, cfg.Starts)),
		processes: map[*process]struct{}{},
		sessions:  map[string]*process{},
		failures:  map[string]*failure{},
		asleep:    map[string]bool{},
		changed:   make(chan struct{}),
	}
	p.closing, p.close = context.WithCancel(context.Background())
	return p
}

// Close ends every process and returns when all are gone. No turn may begin any more; one
// that runs is ended.
func (p *Pool) Close() error {
	p.close()
	p.mu.Lock()
	for pr := range p.processes {
		p.stop(pr)
	}
	p.mu.Unlock()
	p.work.Wait()
	return nil
}

// maxTries is how many processes a turn may find dead.
const maxTries = 3

// Turn runs a turn in the session's process, which it wakes, starts or waits for first.
// Turns of one session come one after the other. The error is an *iris.Error, or wraps the
// cause of the context's end.
func (p *Pool) Turn(ctx context.Context, t iris.Turn) (iris.Result, error) {
	for tries := 1; ; tries++ {
		pr, err := p.take(ctx, t)
		if err != nil {
			return iris.Result{}, err
		}
		res, err := pr.agent.Turn(ctx, t)
		if err = p.give(pr, err); !errors.Is(err, iris.ErrNotBegun) || ctx.Err() != nil || tries == maxTries {
			return res, err
		}
		// It died while it was idle, or is still dying of its last turn.
		t.Session.AgentID, t.Session.Started = pr.session.AgentID, true
	}
}

// take returns the session's process, busy from then on for this turn alone.
func (p *Pool) take(ctx context.Context, t iris.Turn) (*process, error) {
	got, err := p.await(ctx, func() (place, bool) { return p.find(t) })
	if err != nil {
		return nil, err
	}
	if got.starts {
		if err := p.launch(ctx, got.process); err != nil {
			return nil, err
		}
	}
	return got.process, p.begin(ctx, got.process)
}

// find looks for the process of the turn's session and makes it busy; with mu held. When
// there is none but room for one, it makes the place, which the caller must launch. It is
// false while there is nothing to do but wait for a change.
func (p *Pool) find(t iris.Turn) (place, bool) {
	delete(p.asleep, t.Team.Name)
	if pr := p.sessions[t.Session.ID]; pr != nil {
		if pr.state != iris.ProcessIdle {
			return place{}, false
		}
		if !same(pr.team, t.Team) || !alive(pr) {
			p.stop(pr) // the configuration changed, or it just died: the next one is right
			return place{}, false
		}
		pr.session.Started = t.Session.Started
		pr.team = t.Team
		p.busy(pr)
		return place{process: pr}, true
	}
	if !t.Session.Started {
		if spare := p.spare(t.Team); spare != nil {
			spare.session = t.Session
			p.sessions[t.Session.ID] = spare
			p.busy(spare)
			p.keepSpares()
			return place{process: spare}, true
		}
	}
	if !p.room(t.Team, true) {
		return place{}, false
	}
	pr := p.add(t.Team, t.Session.AgentID)
	pr.session = t.Session
	p.sessions[t.Session.ID] = pr
	return place{pr, true}, true
}

// alive reports whether the process is still there as far as anybody knows.
func alive(pr *process) bool {
	select {
	case <-pr.agent.Done():
		return false
	default:
		return true
	}
}

// add makes the place of a starting process; with mu held.
func (p *Pool) add(team iris.Team, agentID string) *process {
	now := time.Now()
	pr := &process{team: team, agentID: agentID, state: iris.ProcessStarting, started: now, used: now}
	p.processes[pr] = struct{}{}
	return pr
}

// busy gives an idle process to a turn; with mu held.
func (p *Pool) busy(pr *process) {
	if pr.idle != nil {
		pr.idle.Stop()
	}
	pr.state, pr.used = iris.ProcessBusy, time.Now()
	pr.turns++
}

// begin writes down, before the first message of a conversation, which one of the CLI's it
// is, so that whatever happens it can be resumed.
func (p *Pool) begin(ctx context.Context, pr *process) error {
	p.mu.Lock()
	s, agentID := pr.session, pr.agentID
	p.mu.Unlock()
	if s.Started && s.AgentID == agentID {
		return nil
	}
	if err := p.store.SetAgent(ctx, s.ID, agentID, true); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx) // the store says only that it was broken off
		}
		err = fmt.Errorf("store the session's conversation: %w", err)
		return p.give(pr, err)
	}
	p.mu.Lock()
	pr.session.AgentID, pr.session.Started = agentID, true
	p.mu.Unlock()
	return nil
}

// give takes a process back after its turn, and says how that ended: of a turn whose process
// was killed, why it was.
func (p *Pool) give(pr *process, turnErr error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.change()
	if turnErr != nil && pr.killed != nil {
		return fmt.Errorf("turn: %w", pr.killed)
	}
	if !errors.Is(turnErr, iris.ErrNotBegun) {
		p.judge(pr.team.Name, turnErr)
	}
	switch {
	case pr.state != iris.ProcessBusy: // being ended meanwhile
	case !alive(pr) || errors.Is(turnErr, iris.ErrNotBegun):
		p.stop(pr)
	default:
		p.rest(pr)
	}
	return turnErr
}

// rest makes a process idle, or ends it if it is to leave; with mu held.
func (p *Pool) rest(pr *process) {
	if pr.leaves {
		p.stop(pr)
		return
	}
	pr.state, pr.used = iris.ProcessIdle, time.Now()
	if pr.session.ID == "" && !pr.woken {
		return // a spare waits as long as it takes
	}
	pr.idle = time.AfterFunc(pr.team.IdleTimeout, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if pr.state == iris.ProcessIdle && time.Since(pr.used) >= pr.team.IdleTimeout {
			p.log.Info("process ends: idle", "team", pr.team.Name, "session", pr.session.ID)
			p.stop(pr)
		}
	})
}

// stop ends a process that has started; with mu held. One that is starting ends because
// its start's context does.
func (p *Pool) stop(pr *process) {
	if pr.agent == nil || pr.state == iris.ProcessStopping {
		return
	}
	if pr.idle != nil {
		pr.idle.Stop()
	}
	pr.state = iris.ProcessStopping
	a := pr.agent
	p.work.Go(func() {
		if err := a.Close(); err != nil {
			p.log.Warn("process did not end well", "team", pr.team.Name, "pid", a.PID(), "error", err)
		}
	})
}

// watch waits for the process's end, clears up after it and takes it out of the picture.
func (p *Pool) watch(pr *process) {
	<-pr.agent.Done()
	p.mu.Lock()
	if pr.state == iris.ProcessIdle || pr.state == iris.ProcessBusy {
		p.log.Warn("process died", "team", pr.team.Name, "pid", pr.agent.PID(), "session", pr.session.ID)
		pr.state = iris.ProcessStopping
		if pr.session.ID == "" { // else it would be replaced, die, and be replaced without end
			p.startFailed(pr.team.Name, iris.Errorf(iris.CodeProcess,
				"a spare Claude Code process of team %s ended by itself: run `claude` in the team's folder to see why", pr.team.Name))
		}
	}
	p.mu.Unlock()
	if err := pr.agent.Close(); err != nil {
		p.log.Warn("process did not end well", "team", pr.team.Name, "pid", pr.agent.PID(), "error", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(pr)
	p.keepSpares()
}

// remove takes a process out of the picture; with mu held.
func (p *Pool) remove(pr *process) {
	delete(p.processes, pr)
	if pr.idle != nil {
		pr.idle.Stop() // it would keep what is gone in memory for as long as an idle process may live
	}
	if p.sessions[pr.session.ID] == pr {
		delete(p.sessions, pr.session.ID)
	}
	p.change()
}

// change serves the line and wakes everybody else who waits for a change; with mu held.
func (p *Pool) change() {
	p.serveLine()
	close(p.changed)
	p.changed = make(chan struct{})
}

// judge remembers how the team's last start or turn went; with mu held. A turn that somebody
// cut short says nothing about the team.
func (p *Pool) judge(team string, err error) {
	if err == nil {
		delete(p.failures, team)
		return
	}
	if e, ok := errors.AsType[*iris.Error](err); ok && e.Code == iris.CodeProcess {
		f := p.failures[team]
		if f == nil {
			f = &failure{}
			p.failures[team] = f
		}
		f.last = e
	}
}

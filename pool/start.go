package pool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/iris-mcp/iris-mcp"
)

// failure is what went wrong with a team last, and how long starts are held back for it.
type failure struct {
	last   *iris.Error
	starts int // failed in a row
	delay  *backoff.ExponentialBackOff
	until  time.Time // no start before
}

// freeFailures is how many starts may fail in a row before the next one is held back: a
// mended installation should be seen at once, a process that dies at each start should not
// take the machine down.
const freeFailures = 2

// maxDelay is the longest that a start is held back, give or take half of it. An asker with
// the usual patience of 30 s still hears why.
const maxDelay = 10 * time.Second

// launch starts the CLI for a place: that of a turn is busy from then on, a spare is idle. On
// an error the place is gone.
func (p *Pool) launch(ctx context.Context, pr *process) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.closing, func() {
		cancel(errClosing)
	})()
	p.mu.Lock()
	if pr.cancel = cancel; pr.killed != nil {
		cancel(pr.killed)
	}
	p.mu.Unlock()

	began := time.Now()
	a, agentID, err := p.startGated(ctx, pr)
	p.mu.Lock()
	defer p.mu.Unlock()
	pr.cancel = nil
	if err != nil {
		defer p.remove(pr)
		if ctx.Err() != nil {
			pr.failed = fmt.Errorf("start a process: %w", context.Cause(ctx))
			return pr.failed
		}
		p.startFailed(pr.team.Name, err)
		pr.failed = err
		return err
	}
	defer p.change()
	if f := p.failures[pr.team.Name]; f != nil && pr.session.ID != "" { // a spare may yet die unused
		f.starts, f.until, f.delay = 0, time.Time{}, nil
	}
	pr.agent, pr.agentID = a, agentID
	pr.started = time.Now()
	if pr.session.ID == "" {
		p.rest(pr)
	} else {
		p.busy(pr)
	}
	p.work.Go(func() { p.watch(pr) })
	p.log.Info("process started", "team", pr.team.Name, "pid", a.PID(), "session", pr.session.ID, "took", time.Since(began).Round(time.Millisecond))
	if p.closing.Err() != nil {
		p.stop(pr)
	}
	if pr.killed != nil { // in the moment in which it was ready
		p.stop(pr)
		pr.failed = fmt.Errorf("start a process: %w", pr.killed)
		return pr.failed
	}
	return nil
}

// startGated starts the CLI when its turn has come: after the team's back-off, and no more at
// once than there are cores (four at once on two cores take longer than two after two).
func (p *Pool) startGated(ctx context.Context, pr *process) (Agent, string, error) {
	p.mu.Lock()
	var wait time.Duration
	if f := p.failures[pr.team.Name]; f != nil {
		wait = time.Until(f.until)
	}
	p.mu.Unlock()
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, "", ctx.Err()
		}
	}
	select {
	case p.gate <- struct{}{}:
		defer func() { <-p.gate }()
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	return p.startConversation(ctx, pr)
}

// startConversation starts the CLI in the session's conversation. The CLI's own record is the
// truth about what it has: a conversation that it lost begins anew under another id, one that
// it turns out to have is resumed.
func (p *Pool) startConversation(ctx context.Context, pr *process) (Agent, string, error) {
	agentID, resume := pr.agentID, pr.session.Started
	a, err := p.start(ctx, pr.team, agentID, resume)
	switch {
	case errors.Is(err, iris.ErrConversationLost):
		p.log.Warn("the CLI has lost the conversation; the session begins anew", "team", pr.team.Name, "session", pr.session.ID)
		agentID = iris.NewUUID()
		a, err = p.start(ctx, pr.team, agentID, false)
	case errors.Is(err, iris.ErrConversationTaken):
		a, err = p.start(ctx, pr.team, agentID, true)
	}
	return a, agentID, err
}

// startFailed counts a failed start and holds the next ones back; with mu held. What no
// repetition mends (there is no CLI, no folder) was found out before a process was started, so
// it is told at once, however often.
func (p *Pool) startFailed(team string, err error) {
	e := iris.AsError(err)
	p.judge(team, e)
	f := p.failures[team]
	if f == nil {
		return
	}
	if f.starts++; f.starts < freeFailures || !e.Retry {
		return
	}
	if f.delay == nil {
		f.delay = backoff.NewExponentialBackOff()
		f.delay.InitialInterval, f.delay.MaxInterval = 250*time.Millisecond, maxDelay
	}
	f.until = time.Now().Add(f.delay.NextBackOff())
}

// Serve keeps the teams' spare processes until the context ends: it adapts each second.
func (p *Pool) Serve(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		p.Adapt()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Adapt looks at the configuration anew: processes of teams that are gone or are configured
// otherwise now leave, spares are kept and idle processes end as it says now, and turns that
// wait have the room that it makes.
func (p *Pool) Adapt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reconfigure()
	p.keepSpares()
	if len(p.line) > 0 {
		p.change()
	}
}

// reconfigure has the processes leave that the configuration no longer has a place for, gives
// the others their team as it is now, and forgets what is known of teams that are gone; with
// mu held. A session whose process leaves goes on in another one.
func (p *Pool) reconfigure() {
	now := map[string]iris.Team{}
	for _, t := range p.cfg.Teams() {
		now[t.Name] = t
	}
	spares := map[string]int{}
	for pr := range p.processes {
		team, there := now[pr.team.Name]
		if pr.leaves || there && pr.state != iris.ProcessIdle {
			continue
		}
		unwanted := !there || !same(pr.team, team)
		if pr.session.ID == "" && !pr.woken {
			spares[team.Name]++
			unwanted = unwanted || spares[team.Name] > team.Warm
		}
		if unwanted {
			p.log.Info("process ends: its team has changed", "team", pr.team.Name, "session", pr.session.ID)
			p.leave(pr)
			continue
		}
		was := pr.team.IdleTimeout
		if pr.team = team; pr.idle != nil && was != team.IdleTimeout {
			pr.idle.Reset(time.Until(pr.used.Add(team.IdleTimeout)))
		}
	}
	gone := func(name string) bool { _, there := now[name]; return !there }
	maps.DeleteFunc(p.asleep, func(name string, _ bool) bool { return gone(name) })
	maps.DeleteFunc(p.failures, func(name string, _ *failure) bool { return gone(name) })
}

// spare is an idle spare process of the team as it is configured now, or nil; with mu held.
func (p *Pool) spare(team iris.Team) *process {
	for pr := range p.processes {
		if pr.session.ID == "" && pr.state == iris.ProcessIdle && same(pr.team, team) && alive(pr) {
			return pr
		}
	}
	return nil
}

// keepSpares starts spares until each team has as many as it wants; with mu held. It does so
// while there is room without ending anything and no turn waits for that room: else the spare would be
// ended for the turn, another would take its place, and the turn would never get it.
func (p *Pool) keepSpares() {
	teams := p.cfg.Teams()
	have := map[string]int{}
	for pr := range p.processes {
		if pr.session.ID != "" || pr.state == iris.ProcessStopping {
			continue
		}
		have[pr.team.Name]++
	}
	if len(p.line) > 0 || p.closing.Err() != nil {
		return
	}
	for _, team := range teams {
		if p.asleep[team.Name] {
			continue
		}
		f := p.failures[team.Name]
		for n := have[team.Name]; n < team.Warm && (f == nil || f.starts < freeFailures) && p.room(team, false); n++ {
			p.startSpare(p.add(team, iris.NewUUID()))
		}
	}
}

// startSpare starts a process that has no session; with mu held.
func (p *Pool) startSpare(pr *process) {
	p.work.Go(func() {
		if err := p.launch(p.closing, pr); err != nil {
			p.log.Warn("no spare process", "team", pr.team.Name, "error", err)
		}
	})
}

// room reports whether the team may have one more process. When evict is set and only idle
// processes stand in the way, the least recently used of them is told to end, and there will
// be room when it has; with mu held.
func (p *Pool) room(team iris.Team, evict bool) bool {
	all, own := len(p.processes), 0
	var oldest, oldestOwn *process // idle
	older := func(a, b *process) *process {
		if b == nil || a.used.Before(b.used) {
			return a
		}
		return b
	}
	stopping, stoppingOwn := false, false
	for pr := range p.processes {
		isOwn := pr.team.Name == team.Name
		if isOwn {
			own++
		}
		switch pr.state {
		case iris.ProcessIdle:
			oldest = older(pr, oldest)
			if isOwn {
				oldestOwn = older(pr, oldestOwn)
			}
		case iris.ProcessStopping:
			stopping = true
			stoppingOwn = stoppingOwn || isOwn
		}
	}
	var victim *process
	switch {
	case own >= team.MaxProcesses:
		if victim = oldestOwn; stoppingOwn {
			victim = nil // one is on its way out already
		}
	case all >= p.cfg.MaxProcesses():
		if victim = oldest; stopping {
			victim = nil
		}
	default:
		return true
	}
	if evict && victim != nil {
		p.log.Info("process ends: its place is needed", "team", victim.team.Name, "session", victim.session.ID)
		p.stop(victim)
	}
	return false
}

package pool

import (
	"context"
	"fmt"

	"github.com/iris-mcp/iris-mcp"
)

// Wake has a process of the team ready for its next message and says whether it had to start
// one. A process that runs or starts already is enough. Where there is no room, evict says
// whether to make some and wait for it, as a turn does, or to fail with CONFLICT. When the
// context ends, what it started goes on starting. PROCESS_ERROR when the start fails.
func (p *Pool) Wake(ctx context.Context, team iris.Team, evict bool) (started bool, err error) {
	got, err := p.await(ctx, func() (place, bool) { return p.findAwake(team, evict) })
	if err != nil {
		return false, err
	}
	pr := got.process
	if pr == nil {
		return false, iris.Errorf(iris.CodeConflict, "there is no room for a process of team %s: settings.maxProcesses (or the team's own) allows no more; put another team to sleep", team.Name)
	}
	err = p.until(ctx, func() bool { return pr.failed != nil || pr.state != iris.ProcessStarting })
	if err != nil {
		return got.starts, fmt.Errorf("wait for the process to be ready: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return got.starts, pr.failed
}

// findAwake looks for a process of the team, or starts one; with mu held. Without evict it
// finds a place without a process when there is no room.
func (p *Pool) findAwake(team iris.Team, evict bool) (place, bool) {
	delete(p.asleep, team.Name)
	var starting *process
	for pr := range p.processes {
		switch {
		case pr.team.Name != team.Name || pr.leaves || pr.killed != nil || pr.agent != nil && !alive(pr):
		case pr.state == iris.ProcessIdle && same(pr.team, team), pr.state == iris.ProcessBusy:
			return place{process: pr}, true
		case pr.state == iris.ProcessStarting:
			starting = pr
		}
	}
	if starting != nil {
		return place{process: starting}, true
	}
	if !p.room(team, evict) {
		return place{}, !evict
	}
	pr := p.add(team, iris.NewUUID())
	pr.woken = true
	p.startSpare(pr)
	return place{pr, true}, true
}

// Sleep ends the team's processes until somebody wants one again: idle ones at once, busy ones
// after their turn, or with force at once too; what they were doing then fails with a
// PROCESS_ERROR that says so. It returns when those that end at once have gone.
func (p *Pool) Sleep(ctx context.Context, team string, force bool) (iris.Slept, error) {
	var s iris.Slept
	var ending []*process
	p.mu.Lock()
	p.asleep[team] = true
	for pr := range p.processes {
		switch {
		case pr.team.Name != team:
			continue
		case pr.state == iris.ProcessBusy && !force, pr.state == iris.ProcessStarting && pr.session.ID != "" && !force:
			pr.leaves = true
			s.Finishing++
			continue
		case pr.state == iris.ProcessStopping: // by itself
		default:
			p.log.Info("process ends: its team was put to sleep", "team", team, "session", pr.session.ID)
			p.kill(pr, "team "+team+" was put to sleep while it worked on this; what it did until then stays done")
			s.Ended++
		}
		ending = append(ending, pr)
	}
	p.mu.Unlock()
	return s, p.untilGone(ctx, ending...)
}

// Kill ends one process of the team now and returns when it has gone. A turn that it runs
// fails with a PROCESS_ERROR that says so. NOT_FOUND: the team has no process of that id.
func (p *Pool) Kill(ctx context.Context, team string, pid int) error {
	p.mu.Lock()
	var victim *process
	for pr := range p.processes {
		if pr.team.Name == team && pr.agent != nil && pr.agent.PID() == pid {
			victim = pr
		}
	}
	if victim == nil {
		p.mu.Unlock()
		return iris.Errorf(iris.CodeNotFound, "no process of a team has the id %d", pid)
	}
	p.log.Info("process ends: somebody ended it", "team", team, "pid", pid, "session", victim.session.ID)
	p.kill(victim, "somebody ended the process of team "+team+" that worked on this; what it did until then stays done")
	p.mu.Unlock()
	return p.untilGone(ctx, victim)
}

// kill ends a process whatever it does; with mu held. Its turn, or its start, fails for the
// reason given, and nobody repeats it: somebody wanted it to end.
func (p *Pool) kill(pr *process, why string) {
	if pr.state != iris.ProcessIdle {
		pr.killed = iris.Errorf(iris.CodeProcess, "%s", why)
	}
	if pr.cancel != nil {
		pr.cancel(pr.killed)
	}
	p.stop(pr)
}

// leave has a process end as soon as it is not busy; with mu held.
func (p *Pool) leave(pr *process) {
	if pr.leaves = true; pr.state == iris.ProcessIdle {
		p.stop(pr)
	}
}

// until waits until is holds, which is asked with mu held, or the context ends.
func (p *Pool) until(ctx context.Context, is func() bool) error {
	for {
		p.mu.Lock()
		done, changed := is(), p.changed
		p.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// untilGone waits until the processes have left the picture.
func (p *Pool) untilGone(ctx context.Context, processes ...*process) error {
	err := p.until(ctx, func() bool {
		for _, pr := range processes {
			if _, there := p.processes[pr]; there {
				return false
			}
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("wait for processes to end: %w", err)
	}
	return nil
}

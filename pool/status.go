package pool

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/iris-mcp/iris-mcp"
)

// Processes lists the team's processes, or with "" those of all teams, oldest first.
func (p *Pool) Processes(team string) []iris.Process {
	p.mu.Lock()
	var list []iris.Process
	for pr := range p.processes {
		if team != "" && pr.team.Name != team {
			continue
		}
		one := iris.Process{
			Team: pr.team.Name, SessionID: pr.session.ID, State: pr.state,
			StartedAt: pr.started, UsedAt: pr.used, Messages: pr.turns,
		}
		if pr.session.ID != "" {
			one.From = pr.session.Caller.From()
		}
		if pr.agent != nil {
			one.PID = pr.agent.PID()
		}
		list = append(list, one)
	}
	p.mu.Unlock()
	for i := range list {
		if list[i].PID != 0 {
			list[i].RSS = p.cfg.RSS(list[i].PID)
		}
	}
	slices.SortFunc(list, func(a, b iris.Process) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.PID, b.PID))
	})
	return list
}

// LastError is how the team's last start or turn failed, nil once one went well.
func (p *Pool) LastError(team string) *iris.Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.failures[team]; f != nil {
		return f.last
	}
	return nil
}

// same reports whether a process made for one configuration of a team serves the other: what
// the process itself never sees may differ.
func same(a, b iris.Team) bool { return reflect.DeepEqual(seen(a), seen(b)) }

// seen is the team as its processes see it.
func seen(t iris.Team) iris.Team {
	t.Description, t.Color = "", ""
	t.MaxProcesses, t.ParallelTasks, t.Warm = 0, 0, 0
	t.TurnTimeout, t.IdleTimeout, t.PermissionTimeout = 0, 0, 0
	return t
}

package dispatch

import (
	"context"

	"github.com/iris-mcp/iris-mcp"
)

// Processes lists the processes of all teams, oldest first; also of teams that are no longer
// configured, while they last.
func (d *Dispatcher) Processes() []iris.Process { return d.pool.Processes("") }

// Wake has a process of the team ready for its next message and says whether it had to start
// one. With evict it makes room as a message would, and waits for it; else it fails with
// CONFLICT when there is none. TEAM_NOT_FOUND, PROCESS_ERROR, SHUTTING_DOWN.
func (d *Dispatcher) Wake(ctx context.Context, team string, evict bool) (started bool, err error) {
	t, err := d.teams.Team(team)
	if err != nil {
		return false, err
	}
	return d.pool.Wake(ctx, t, evict)
}

// Sleep ends the team's processes until somebody asks it again: busy ones after their turn,
// or with force in its middle. TEAM_NOT_FOUND.
func (d *Dispatcher) Sleep(ctx context.Context, team string, force bool) (iris.Slept, error) {
	if _, err := d.teams.Team(team); err != nil {
		return iris.Slept{}, err
	}
	return d.pool.Sleep(ctx, team, force)
}

// Restart puts the team to sleep and wakes it: what it is asked from then on goes to new
// processes. TEAM_NOT_FOUND, PROCESS_ERROR, SHUTTING_DOWN.
func (d *Dispatcher) Restart(ctx context.Context, team string, force bool) (iris.Slept, error) {
	slept, err := d.Sleep(ctx, team, force)
	if err == nil {
		_, err = d.Wake(ctx, team, true)
	}
	return slept, err
}

// Kill ends one process of the team in whatever it does. NOT_FOUND.
func (d *Dispatcher) Kill(ctx context.Context, team string, pid int) error {
	return d.pool.Kill(ctx, team, pid)
}

// AddTeam writes a team into the configuration; it can be asked when AddTeam returns. CONFLICT,
// INVALID_REQUEST.
func (d *Dispatcher) AddTeam(name string, settings []iris.Setting) (iris.Team, error) {
	return d.teams.AddTeam(name, settings)
}

// ChangeTeam changes settings of a team if may, which is asked about the team as it is, has
// nothing against it. Turns that run go on as they began. TEAM_NOT_FOUND, CONFLICT,
// INVALID_REQUEST.
func (d *Dispatcher) ChangeTeam(name string, settings []iris.Setting, may func(is iris.Team) error) (iris.Team, error) {
	return d.teams.ChangeTeam(name, settings, may)
}

// RemoveTeam takes a team out of the configuration and says what it was doing. What runs may
// end; what waits fails in its turn, one by one, with TEAM_NOT_FOUND. TEAM_NOT_FOUND, CONFLICT.
func (d *Dispatcher) RemoveTeam(ctx context.Context, name string) (iris.TeamStatus, error) {
	was, err := d.Status(ctx, name)
	if err != nil {
		return was, err
	}
	return was, d.teams.RemoveTeam(name)
}

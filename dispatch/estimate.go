package dispatch

import (
	"context"
	"slices"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

const (
	recentTurns = 40 // that an estimate goes by
	longestLine = 50 // jobs whose turns are played through; what stands further back is reckoned
)

// Estimate says where a waiting message stands among its team's waiting jobs, in the order in
// which they will begin (from 1; 0 when it does not wait), and when it may be done, by how long
// the team's last turns took; the zero time while nothing is known. What other teams do does
// not count, nor what will come with a higher priority.
func (d *Dispatcher) Estimate(ctx context.Context, m iris.Message) (position int, completion time.Time, err error) {
	if m.Status.Final() {
		return 0, time.Time{}, nil
	}
	var took turns
	if took.tasks, took.others, err = d.store.Durations(ctx, m.Team, recentTurns); err != nil {
		return 0, time.Time{}, err
	}
	position, runAt, err := d.store.Position(ctx, m)
	if err != nil {
		return 0, time.Time{}, err
	}
	l := line{took: took, now: time.Now(), rest: d.restsUntil(m.Team), jobs: 1, tasks: 1}
	if team, err := d.teams.Team(m.Team); err == nil {
		l.jobs, l.tasks = max(team.MaxProcesses, 1), max(team.ParallelTasks, 1)
	}
	if position == 0 {
		completion = l.now.Add(took.left(m.Task, since(m.StartedAt, l.now)))
	} else {
		completion = l.reckon(position, m.Task, runAt)
	}
	if 0 < position && position <= longestLine {
		running, waiting, err := d.store.Line(ctx, m.Team, longestLine)
		if err != nil {
			return 0, time.Time{}, err
		}
		if slices.ContainsFunc(waiting, func(j iris.Job) bool { return j.ID == m.JobID() }) {
			position, completion = l.play(running, waiting, m.JobID())
		}
	}
	if took.none() {
		completion = time.Time{}
	}
	return position, completion, nil
}

// since is how long ago a turn began; no time if nobody knows that it has.
func since(began, now time.Time) time.Duration {
	if began.IsZero() {
		return 0
	}
	return now.Sub(began)
}

// turns are how long a team's last turns took.
type turns struct{ tasks, others []time.Duration }

func (t turns) none() bool { return len(t.tasks)+len(t.others) == 0 }

// like gives those of a kind of message, if there are any, else all.
func (t turns) like(task bool) []time.Duration {
	switch {
	case task && len(t.tasks) > 0:
		return t.tasks
	case !task && len(t.others) > 0:
		return t.others
	}
	return slices.Concat(t.tasks, t.others)
}

// mean is how long a turn will take.
func (t turns) mean(task bool) time.Duration {
	const unknown = time.Minute // any will do, to find out the order
	return mean(t.like(task), unknown)
}

// left is how much longer a turn will take that has taken so long: what those took beyond that
// which took longer. One that is longer than all of them will take as long again as they did.
func (t turns) left(task bool, so time.Duration) time.Duration {
	var beyond []time.Duration
	for _, d := range t.like(task) {
		if d > so {
			beyond = append(beyond, d-so)
		}
	}
	return mean(beyond, t.mean(task))
}

// mean is at least a millisecond, or no time would pass.
func mean(of []time.Duration, none time.Duration) time.Duration {
	if len(of) == 0 {
		return none
	}
	var sum time.Duration
	for _, d := range of {
		sum += d
	}
	return max(sum/time.Duration(len(of)), time.Millisecond)
}

// line is a team's queue, to be played through as it will go if each turn takes as long as
// those before it.
type line struct {
	took        turns
	now         time.Time
	rest        time.Time // when its tasks may begin again, if they may not now
	jobs, tasks int       // that may run at once
}

// turn is one that runs.
type turn struct {
	session string
	task    bool
	end     time.Time
}

// begin is when a job that waits for its time may begin.
func (l *line) begin(task bool, runAt time.Time) time.Time {
	if task {
		return latest(runAt, l.rest)
	}
	return runAt
}

// reckon is when a job far back may be done: those before it go in rounds, then itself.
func (l *line) reckon(position int, task bool, runAt time.Time) time.Time {
	slots := l.jobs
	if task {
		slots = min(slots, l.tasks)
	}
	rounds := 1 + (position+slots-1)/slots
	return latest(l.now, l.begin(task, runAt)).Add(time.Duration(rounds) * l.took.mean(task))
}

// play starts the waiting jobs one after the other, as the queue will (store.Claim): the first
// that is due, whose session is free, and for which there is room. It says as which the job
// begins and when that is over.
func (l *line) play(running []iris.Message, waiting []iris.Job, id string) (position int, end time.Time) {
	var active []turn
	for _, m := range running {
		active = append(active, turn{m.SessionID, m.Task, l.now.Add(l.took.left(m.Task, l.now.Sub(m.StartedAt)))})
	}
	for {
		i := slices.IndexFunc(waiting, func(j iris.Job) bool { return l.may(active, j) })
		if i < 0 {
			active = l.pass(active, waiting)
			continue
		}
		j := waiting[i]
		position, end = position+1, l.now.Add(l.took.mean(j.Task))
		if j.ID == id {
			return position, end
		}
		active = append(active, turn{j.SessionID, j.Task, end})
		waiting = slices.Delete(waiting, i, i+1)
	}
}

// may reports whether the job may begin now.
func (l *line) may(active []turn, j iris.Job) bool {
	tasks := 0
	for _, t := range active {
		if t.session == j.SessionID {
			return false
		}
		if t.task {
			tasks++
		}
	}
	return len(active) < l.jobs && (!j.Task || tasks < l.tasks) && !l.begin(j.Task, j.RunAt).After(l.now)
}

// pass lets time pass until the next turn ends or the next job is due, and gives what runs then.
func (l *line) pass(active []turn, waiting []iris.Job) []turn {
	var next time.Time
	sooner := func(at time.Time) {
		if at.After(l.now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for _, t := range active {
		sooner(t.end)
	}
	for _, j := range waiting {
		sooner(l.begin(j.Task, j.RunAt))
	}
	l.now = next
	return slices.DeleteFunc(active, func(t turn) bool { return !t.end.After(l.now) })
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

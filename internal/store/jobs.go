package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// headStart is how much longer a job of lower priority must have waited to come first. It
// makes the order of two jobs a matter of two numbers that never change, and starves nobody.
var headStart = map[iris.Priority]time.Duration{
	iris.PriorityLow:    0,
	iris.PriorityNormal: 10 * time.Minute,
	iris.PriorityHigh:   time.Hour,
}

// rank orders waiting jobs, lower first.
func rank(p iris.Priority, created time.Time) int64 {
	return created.Add(-headStart[p]).UnixMilli()
}

const jobColumns = `id, kind, message_id, team, session_id, task, priority, attempt, run_at, lease_ends`

const (
	// One look per team and kind of message that has a waiting job, in the index job_waiting,
	// however many jobs wait there or are passed over. $2, $3: teams, each between commas.
	nextJob = `WITH RECURSIVE
		busy (team) AS (
			SELECT min(team) FROM job WHERE state = 'waiting'
			UNION ALL
			SELECT (SELECT min(j.team) FROM job j WHERE j.state = 'waiting' AND j.team > busy.team) FROM busy WHERE busy.team IS NOT NULL),
		lane (team, task) AS (
			SELECT team, 0 FROM busy WHERE instr($2, ',' || team || ',') = 0
			UNION ALL
			SELECT team, 1 FROM busy WHERE instr($2, ',' || team || ',') = 0 AND instr($3, ',' || team || ',') = 0)
		SELECT best.id FROM lane JOIN job best ON best.id = (
			SELECT j.id FROM job j
			WHERE j.state = 'waiting' AND j.next = 1 AND j.team = lane.team AND j.task = lane.task AND j.run_at <= $1
			ORDER BY j.rank, j.id LIMIT 1)
		ORDER BY best.rank, best.id LIMIT 1`
	claimJob = `UPDATE job SET state = 'running', next = 0, attempt = attempt + 1, worker = $2, lease_ends = $3, run_at = 0
		WHERE id = $1 RETURNING ` + jobColumns
	startMessage = `UPDATE message SET status = 'processing', attempts = $2, started_at = $3, progress_current = 0, progress_total = 0 WHERE id = $1`

	renewJob  = `UPDATE job SET lease_ends = $3 WHERE id = $1 AND state = 'running' AND attempt = $2`
	returnJob = `UPDATE job SET state = 'waiting', next = 0, worker = '', lease_ends = 0, run_at = $3
		WHERE id = $1 AND state = 'running' AND attempt = $2`
	requeueMessage = `UPDATE message SET status = 'queued', metadata = coalesce($2, metadata) WHERE id = $1`
	finishJob      = `UPDATE job SET state = 'done', next = 0, lease_ends = 0
		WHERE id = $1 AND ((state = 'running' AND attempt = $2) OR (state = 'waiting' AND $2 = 0))
		RETURNING session_id, kind`

	// What of the session's line comes next: of tasks and of others each the best that is due,
	// else the first to be due; none while a job of the session runs.
	promote = `UPDATE job SET next = 1
		WHERE id IN (
			coalesce(
				(SELECT id FROM job WHERE session_id = $1 AND state = 'waiting' AND next = 0 AND task = 0 AND run_at <= $2 ORDER BY rank, id LIMIT 1),
				(SELECT id FROM job WHERE session_id = $1 AND state = 'waiting' AND next = 0 AND task = 0 ORDER BY run_at, id LIMIT 1)),
			coalesce(
				(SELECT id FROM job WHERE session_id = $1 AND state = 'waiting' AND next = 0 AND task = 1 AND run_at <= $2 ORDER BY rank, id LIMIT 1),
				(SELECT id FROM job WHERE session_id = $1 AND state = 'waiting' AND next = 0 AND task = 1 ORDER BY run_at, id LIMIT 1)))
		AND NOT EXISTS (
			SELECT 1 FROM job other
			WHERE other.session_id = $1 AND (other.next = 1 OR other.state = 'running') AND (other.state = 'running' OR other.task = job.task))`
	demote = `UPDATE job SET next = 0 WHERE session_id = $1 AND next = 1`

	nextRun = `SELECT coalesce(min(run_at), 0) FROM job WHERE next = 1 AND run_at > 0 AND run_at > $1`
	// (next = 1 OR …) leads to the index of that condition, past all that is done.
	running = `SELECT ` + jobColumns + ` FROM job WHERE (next = 1 OR state = 'running') AND state = 'running'`

	// Those that are due run in their rank, those that wait for their time ($2: now) when it comes.
	position = `SELECT count(*), coalesce(max(mine.run_at), 0) FROM job j, job mine
		WHERE mine.id = $1 AND mine.state = 'waiting' AND j.state = 'waiting' AND j.team = mine.team
		AND CASE WHEN mine.run_at <= $2 THEN j.run_at <= $2 AND (j.rank, j.id) <= (mine.rank, mine.id)
			ELSE j.run_at <= $2 OR (j.run_at, j.rank, j.id) <= (mine.run_at, mine.rank, mine.id) END`
	// A message is in the state of its job (docs/messages.md), and the index of the living is small.
	backlog = `SELECT count(*) FILTER (WHERE status = 'queued'), count(*) FILTER (WHERE status = 'processing')
		FROM message WHERE team = $1 AND status IN ('queued', 'processing')`
)

// Claim takes the best job that is due: the highest priority (a lower one that has waited much
// longer comes first, see headStart), then the oldest. Its message is processing from then on.
// It reports false when there is none. However many claim at once, each job goes to one.
func (db *DB) Claim(ctx context.Context, c iris.Claim) (job iris.Job, ok bool, err error) {
	fullTeams, fullTasks := between(c.FullTeams), between(c.FullTasks)
	err = db.write(ctx, func(tx tx) error {
		now := time.Now()
		var id string
		err := tx.row(nextJob, millis(now), fullTeams, fullTasks).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			db.looked.Store(now.UnixMilli())
			return nil
		}
		if err != nil {
			return err
		}
		if job, err = scanJob(tx.row(claimJob, id, c.Worker, millis(now.Add(c.Lease)))); err != nil {
			return err
		}
		tx.waits(job.Kind, -1)
		if _, err := tx.exec(demote, job.SessionID); err != nil {
			return err
		}
		_, err = tx.exec(startMessage, job.MessageID, job.Attempt, millis(now))
		return err
	})
	return job, err == nil && job.ID != "", wrap(err, "claim a job")
}

// between puts each team's name between commas, which no name has.
func between(teams []string) string {
	if len(teams) == 0 {
		return ""
	}
	return "," + strings.Join(teams, ",") + ","
}

// Renew makes the lease last until then; ErrFinal when it is lost.
func (db *DB) Renew(ctx context.Context, j iris.Job, until time.Time) error {
	err := db.write(ctx, func(tx tx) error {
		return final(tx.exec(renewJob, j.ID, j.Attempt, millis(until)))
	})
	return wrap(err, "renew the lease of %s", j.ID)
}

// Return puts a running job back into the queue, to be claimed not before runAt (past: at
// once, so whoever claims is to be woken); ErrFinal when the lease is lost. Its place among
// those that wait is its old one. What its turns have done so far is kept with its message,
// unless it is nil.
func (db *DB) Return(ctx context.Context, j iris.Job, did *iris.Metadata, runAt time.Time) error {
	metadata, err := encodeOr(did)
	if err != nil {
		return wrap(err, "return %s to the queue", j.ID)
	}
	err = db.write(ctx, func(tx tx) error {
		now := time.Now()
		if unix(runAt) <= unix(now) { // NextRun would not tell of it
			runAt = time.Time{}
		}
		if err := final(tx.exec(returnJob, j.ID, j.Attempt, millis(runAt))); err != nil {
			return err
		}
		tx.waits(j.Kind, +1)
		if _, err := tx.exec(requeueMessage, j.MessageID, metadata); err != nil {
			return err
		}
		_, err := tx.exec(promote, j.SessionID, millis(now))
		return err
	})
	return wrap(err, "return %s to the queue", j.ID)
}

// final is ErrFinal when no row was changed.
func final(n int64, err error) error {
	if err == nil && n == 0 {
		return iris.ErrFinal
	}
	return err
}

// NextRun tells when the first of the jobs that wait for their time is due. Those that were
// due when a Claim last found nothing do not count: a limit holds them back, and who keeps the
// limit knows when there is room. It reports false when none waits for its time.
func (db *DB) NextRun(ctx context.Context) (at time.Time, ok bool, err error) {
	err = db.row(ctx, nextRun, db.looked.Load()).Scan((*millis)(&at))
	return at, !at.IsZero(), wrap(err, "read when the next job is due")
}

// Lost gives the jobs that are marked as running. At start all of them are lost: their
// worker died with the last owner of the data folder. The oldest come first.
func (db *DB) Lost(ctx context.Context) ([]iris.Job, error) {
	var jobs []iris.Job
	rows, err := db.query(ctx, running)
	if err == nil {
		jobs, err = collect(rows, scanJob)
	}
	slices.SortFunc(jobs, func(a, b iris.Job) int { return strings.Compare(a.ID, b.ID) })
	return jobs, wrap(err, "read lost jobs")
}

// Position is the place of the message's job among the team's waiting ones in the order they
// run, 1 for the next, and the time that it waits for, if it does; 0 when it does not wait.
func (db *DB) Position(ctx context.Context, m iris.Message) (n int, runAt time.Time, err error) {
	err = db.row(ctx, position, m.JobID(), millis(time.Now())).Scan(&n, (*millis)(&runAt))
	return n, runAt, wrap(err, "read the position of %s", m.ID)
}

// Backlog counts the team's waiting and running jobs.
func (db *DB) Backlog(ctx context.Context, team string) (b iris.Backlog, err error) {
	err = db.row(ctx, backlog, team).Scan(&b.Waiting, &b.Running)
	return b, wrap(err, "count the jobs of %s", team)
}

func scanJob(row scanner) (j iris.Job, err error) {
	err = row.Scan(&j.ID, &j.Kind, &j.MessageID, &j.Team, &j.SessionID, &j.Task, &j.Priority, &j.Attempt, (*millis)(&j.RunAt), (*millis)(&j.LeaseEnds))
	return j, err
}

package store

import (
	"context"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

const (
	// The inner query sorts within an index.
	waitingOf = `SELECT id, session_id, task, run_at FROM job
		WHERE id IN (SELECT id FROM job WHERE team = $1 AND state = 'waiting' ORDER BY rank, id LIMIT $2) ORDER BY rank, id`
	runningOf = `SELECT id, session_id, task, started_at FROM message
		WHERE status IN ('queued', 'processing') AND status = 'processing' AND team = $1`
	turnsOf = `SELECT task, completed_at - started_at FROM message
		WHERE team = $1 AND status IN ('completed', 'failed', 'cancelled') AND status = 'completed' ORDER BY created_at DESC, n DESC LIMIT $2`
)

// Line gives the team's running messages (ID, SessionID, Task and StartedAt of each) and the
// first of its waiting jobs (ID, SessionID, Task, RunAt) in the order of their ranks, most of
// them at most.
func (db *DB) Line(ctx context.Context, team string, most int) (running []iris.Message, waiting []iris.Job, err error) {
	rows, err := db.query(ctx, runningOf, team)
	if err == nil {
		running, err = collect(rows, func(row scanner) (m iris.Message, err error) {
			return m, row.Scan(&m.ID, &m.SessionID, &m.Task, (*millis)(&m.StartedAt))
		})
	}
	if err == nil {
		rows, err = db.query(ctx, waitingOf, team, most)
	}
	if err == nil {
		waiting, err = collect(rows, func(row scanner) (j iris.Job, err error) {
			return j, row.Scan(&j.ID, &j.SessionID, &j.Task, (*millis)(&j.RunAt))
		})
	}
	return running, waiting, wrap(err, "read the line of %s", team)
}

// Durations tells how long the last n completed turns of a team took, tasks and others, the
// newest message's first.
func (db *DB) Durations(ctx context.Context, team string, n int) (tasks, others []time.Duration, err error) {
	rows, err := db.query(ctx, turnsOf, team, n)
	if err == nil {
		_, err = collect(rows, func(row scanner) (none struct{}, err error) {
			var task bool
			var took time.Duration
			if err = row.Scan(&task, (*span)(&took)); task {
				tasks = append(tasks, took)
			} else {
				others = append(others, took)
			}
			return none, err
		})
	}
	return tasks, others, wrap(err, "read the durations of %s", team)
}

package store

import (
	"context"

	"github.com/iris-mcp/iris-mcp"
)

const livingOf = `SELECT id, team, caller_kind, caller_name, session_id, session_name, task, status, created_at,
	CASE status WHEN 'queued' THEN 0 ELSE (SELECT coalesce(max(seq), 0) FROM event WHERE message_id = message.id) END
	FROM message WHERE team = $1 AND status IN ('queued', 'processing') ORDER BY n`

// Living gives the team's messages that wait or run, the oldest first; of one that runs, with
// the number of its newest event, which is not its last.
func (db *DB) Living(ctx context.Context, team string) ([]iris.News, error) {
	var all []iris.News
	rows, err := db.query(ctx, livingOf, team)
	if err == nil {
		all, err = collect(rows, func(row scanner) (n iris.News, err error) {
			m := &n.Message
			err = row.Scan(&m.ID, &m.Team, &m.Caller.Kind, &m.Caller.Name, &m.SessionID, &m.SessionName, &m.Task, &m.Status, (*millis)(&m.CreatedAt), &n.After)
			return n, err
		})
	}
	return all, wrap(err, "read the living messages of %s", team)
}

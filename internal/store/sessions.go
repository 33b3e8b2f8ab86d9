package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

const sessionColumns = `id, team, caller_kind, caller_name, name, agent_id, started, created_at, used_at`

const (
	// Each finds or makes in one go, so concurrent first messages share one session.
	putStanding = `INSERT INTO session (` + sessionColumns + `, standing)
		VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $7, 1)
		ON CONFLICT (team, caller_kind, caller_name) WHERE standing = 1 DO UPDATE SET used_at = excluded.used_at
		RETURNING ` + sessionColumns
	putNamed = `INSERT INTO session (` + sessionColumns + `, standing)
		VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $7, 0)
		ON CONFLICT (team, caller_kind, caller_name, name) WHERE name <> '' DO UPDATE SET used_at = excluded.used_at
		RETURNING ` + sessionColumns
	putFresh = `INSERT INTO session (` + sessionColumns + `, standing)
		VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $7, 0)
		RETURNING ` + sessionColumns
	useSession = `UPDATE session SET used_at = $5
		WHERE id = $1 AND team = $2 AND caller_kind = $3 AND caller_name = $4
		RETURNING ` + sessionColumns

	getSession = `SELECT ` + sessionColumns + ` FROM session WHERE id = $1`
	setAgent   = `UPDATE session SET agent_id = $2, started = $3, used_at = $4 WHERE id = $1`
)

// sessionOf finds or makes the session of a message that is being accepted.
func (tx tx) sessionOf(m iris.Message, fresh bool) (iris.Session, error) {
	if m.SessionID != "" {
		s, err := scanSession(tx.row(useSession, m.SessionID, m.Team, m.Caller.Kind, m.Caller.Name, millis(m.CreatedAt)))
		if errors.Is(err, sql.ErrNoRows) {
			return s, iris.Errorf(iris.CodeNotFound,
				"you have no session %q with team %q: use the sessionId of an earlier answer of that team, or leave it out", m.SessionID, m.Team)
		}
		return s, err
	}
	put := putStanding
	switch {
	case m.SessionName != "":
		put = putNamed
	case fresh:
		put = putFresh
	}
	return scanSession(tx.row(put, iris.NewID(iris.SessionPrefix), m.Team, m.Caller.Kind, m.Caller.Name, m.SessionName, iris.NewUUID(), millis(m.CreatedAt)))
}

// Session gives a session by its id; NOT_FOUND.
func (db *DB) Session(ctx context.Context, id string) (iris.Session, error) {
	s, err := scanSession(db.row(ctx, getSession, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = noSession(id)
	}
	return s, wrap(err, "read session %s", id)
}

// SetAgent records under which id the CLI knows the session's conversation, whether it was
// given a first message there, and that the session is used now; NOT_FOUND.
func (db *DB) SetAgent(ctx context.Context, sessionID, agentID string, started bool) error {
	err := db.write(ctx, func(tx tx) error {
		n, err := tx.exec(setAgent, sessionID, agentID, started, millis(time.Now()))
		if err == nil && n == 0 {
			err = noSession(sessionID)
		}
		return err
	})
	return wrap(err, "update session %s", sessionID)
}

// SessionCount counts the sessions of a team.
func (db *DB) SessionCount(ctx context.Context, team string) (n int, err error) {
	err = db.row(ctx, `SELECT count(*) FROM session WHERE team = $1`, team).Scan(&n)
	return n, wrap(err, "count sessions of %s", team)
}

func noSession(id string) error {
	return iris.Errorf(iris.CodeNotFound, "there is no session %q: use the sessionId of an earlier answer", id)
}

func scanSession(row scanner) (s iris.Session, err error) {
	err = row.Scan(&s.ID, &s.Team, &s.Caller.Kind, &s.Caller.Name, &s.Name, &s.AgentID, &s.Started, (*millis)(&s.CreatedAt), (*millis)(&s.UsedAt))
	return s, err
}

package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

const messageColumns = `id, team, caller_kind, caller_name, session_id, session_name, task, priority, timeout, max_attempts,
	status, attempts, created_at, started_at, completed_at, text, context, response, error, metadata, progress_current, progress_total`

const (
	findSame = `SELECT message_id FROM job WHERE dedupe = $1 AND state <> 'done'`
	// The session's job that runs or, of this kind, is next.
	findTurn = `SELECT id, state, rank, run_at FROM job
		WHERE session_id = $1 AND (next = 1 OR state = 'running') AND (state = 'running' OR task = $2)`
	stepBack = `UPDATE job SET next = 0 WHERE id = $1`

	addMessage = `INSERT INTO message (` + messageColumns + `, origin)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'queued', 0, $11, 0, 0, $12, $13, '', NULL, NULL, 0, 0, $14)`
	addJob = `INSERT INTO job (` + jobColumns + `, state, next, rank, worker, dedupe)
		VALUES ($1, 'turn', $2, $3, $4, $5, $6, 0, 0, 0, 'waiting', $7, $8, '', $9)`

	finishMessage = `UPDATE message SET status = $2, completed_at = $3, response = $4, error = $5, metadata = coalesce($6, metadata)
		WHERE id = $1 RETURNING team, caller_kind, caller_name, metadata`
	addUsage = `INSERT INTO usage (team, caller_kind, caller_name, day, messages, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_usd)
		VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9)
		ON CONFLICT (team, caller_kind, caller_name, day) DO UPDATE SET
			messages           = usage.messages + 1,
			input_tokens       = usage.input_tokens + excluded.input_tokens,
			output_tokens      = usage.output_tokens + excluded.output_tokens,
			cache_read_tokens  = usage.cache_read_tokens + excluded.cache_read_tokens,
			cache_write_tokens = usage.cache_write_tokens + excluded.cache_write_tokens,
			cost_usd           = usage.cost_usd + excluded.cost_usd`

	getMessage = `SELECT ` + messageColumns + ` FROM message WHERE id = $1`
	getHead    = `SELECT id, team, caller_kind, caller_name, session_id, session_name, task, priority, timeout, max_attempts,
		status, attempts, created_at, started_at, completed_at, '', NULL, '', NULL, NULL, progress_current, progress_total FROM message WHERE id = $1`
)

// Accept stores a message with its session, its job, its callback and its first event: from
// then on it is queued. The caller has set ID, CreatedAt and what was asked.
//
// The session is the one that m.SessionID names, which must be this team's and this caller's
// (else NOT_FOUND); or the caller's own of that m.SessionName, made at its first use; or a new
// one if fresh; or the standing one of team and caller, likewise made.
//
// If as many turns wait as Bound allows, it is QUEUE_FULL.
//
// If a job waits or runs that has the same dedupe hash (unless that is empty), nothing is
// stored: its message comes back, and created is false. So it does if a message was accepted
// for the same m.Once: that one comes back, and is Repeated. CONFLICT if that asked for
// something else.
func (db *DB) Accept(ctx context.Context, m iris.Message, fresh bool, dedupe string) (accepted iris.Message, created bool, err error) {
	details, err := encodeOr(m.Context)
	if err != nil {
		return m, false, wrap(err, "accept message")
	}
	m.Caller = iris.Caller{Kind: m.Caller.Kind, Name: m.Caller.Name}
	m.CreatedAt = time.UnixMilli(m.CreatedAt.UnixMilli()).UTC()
	m.Status = iris.StatusQueued
	same, repeated := "", false
	err = db.write(ctx, func(tx tx) (err error) {
		if same, err = tx.before(m.Once); err != nil || same != "" {
			repeated = true
			return err
		}
		if dedupe != "" {
			if err := tx.row(findSame, dedupe).Scan(&same); err == nil {
				return tx.remember(m.Once, same, true, nil)
			} else if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		if d := db.waiting; d.most != nil && d.now >= d.most() {
			return iris.Errorf(iris.CodeQueueFull, "%d messages wait already, and no more may (queue.maxWaiting)", d.now)
		}
		s, err := tx.sessionOf(m, fresh)
		if err != nil {
			return err
		}
		m.SessionID, m.SessionName = s.ID, s.Name
		if _, err := tx.exec(addMessage, m.ID, m.Team, m.Caller.Kind, m.Caller.Name, m.SessionID, m.SessionName,
			m.Task, m.Priority, span(m.Timeout), m.MaxAttempts, millis(m.CreatedAt), m.Text, details, origin(m.Caller)); err != nil {
			return err
		}
		if err := tx.enqueue(m, dedupe); err != nil {
			return err
		}
		if m.Callback != nil {
			if err := tx.hold(m); err != nil {
				return err
			}
		}
		if err := tx.remember(m.Once, m.ID, false, nil); err != nil {
			return err
		}
		start, err := eventArgs([]iris.Event{{
			MessageID: m.ID, Seq: 1, At: m.CreatedAt, Kind: iris.EventStart, Team: m.Team, SessionID: m.SessionRef(),
		}})
		if err != nil {
			return err
		}
		return tx.append(start)
	})
	m.Callback, m.Once = nil, iris.Once{} // from here on they are no part of it
	if err == nil && same != "" {
		m, err = db.Message(ctx, same)
		m.Repeated = repeated
		return m, false, err
	}
	db.changed()
	return m, err == nil, wrap(err, "accept message")
}

// enqueue adds the message's job. It is next in its session if no job there runs, and no other
// of its kind that comes before it is.
func (tx tx) enqueue(m iris.Message, dedupe string) error {
	var (
		other string
		state iris.JobState
		place int64
		runAt time.Time
		mine  = rank(m.Priority, m.CreatedAt)
		next  = true
	)
	err := tx.row(findTurn, m.SessionID, m.Task).Scan(&other, &state, &place, (*millis)(&runAt))
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return err
	case state == iris.JobWaiting && (mine < place || runAt.After(time.Now())):
		if _, err := tx.exec(stepBack, other); err != nil {
			return err
		}
	default:
		next = false
	}
	tx.waits(iris.JobTurn, +1)
	_, err = tx.exec(addJob, m.JobID(), m.ID, m.Team, m.SessionID, m.Task, m.Priority, next, mine, sql.NullString{String: dedupe, Valid: dedupe != ""})
	return err
}

// Finish writes the one final state of a message: Status, Response, Err, Metadata and
// CompletedAt (zero: last.At) of m, the job's end and the last event, which the caller has
// numbered; whoever is to be told of it is told from then on. Without Metadata, that of earlier
// attempts stays. With an attempt above zero it does so only if the job runs under that attempt;
// with zero, only if the job waits. Otherwise it writes nothing and gives ErrFinal.
func (db *DB) Finish(ctx context.Context, m iris.Message, attempt int, last iris.Event) error {
	err := db.finish(ctx, m, attempt, last)
	db.changed()
	return wrap(err, "finish %s", m.ID)
}

func (db *DB) finish(ctx context.Context, m iris.Message, attempt int, last iris.Event) error {
	if !m.Status.Final() || !last.Last() || last.MessageID != m.ID {
		return fmt.Errorf("status %q and event %q of %q are no end", m.Status, last.Kind, last.MessageID)
	}
	if m.CompletedAt.IsZero() {
		m.CompletedAt = last.At
	}
	failure, err := encodeOr(m.Err)
	if err != nil {
		return err
	}
	metadata, err := encodeOr(m.Metadata)
	if err != nil {
		return err
	}
	end, err := eventArgs([]iris.Event{last})
	if err != nil {
		return err
	}
	var told int64
	err = db.write(ctx, func(tx tx) error {
		var session string
		var kind iris.JobKind
		err := tx.row(finishJob, m.JobID(), attempt).Scan(&session, &kind)
		if errors.Is(err, sql.ErrNoRows) {
			return iris.ErrFinal
		}
		if err != nil {
			return err
		}
		if attempt == 0 { // it waited
			tx.waits(kind, -1)
		}
		if _, err := tx.exec(promote, session, millis(time.Now())); err != nil {
			return err
		}
		var team string
		var caller iris.Caller
		var did iris.Metadata
		if err := tx.row(finishMessage, m.ID, m.Status, millis(m.CompletedAt), m.Response, failure, metadata).
			Scan(&team, &caller.Kind, &caller.Name, structure{&did}); err != nil {
			return err
		}
		u := did.Usage
		if _, err := tx.exec(addUsage, team, caller.Kind, caller.Name, m.CompletedAt.Unix()/(24*60*60),
			u.InputTokens, u.OutputTokens, u.CacheReadTokens, u.CacheWriteTokens, did.CostUSD); err != nil {
			return err
		}
		if told, err = tx.exec(releaseDelivery, m.ID, millis(time.Now())); err != nil {
			return err
		}
		return tx.append(end)
	})
	if err == nil && told > 0 {
		db.deliver()
	}
	return err
}

// Message gives a message by its own id or its job's; MESSAGE_NOT_FOUND.
func (db *DB) Message(ctx context.Context, id string) (iris.Message, error) {
	return db.message(ctx, getMessage, id)
}

// Head gives a message without its texts, and without what it came to: many may ask at once
// for one whose answer is long. MESSAGE_NOT_FOUND.
func (db *DB) Head(ctx context.Context, id string) (iris.Message, error) {
	return db.message(ctx, getHead, id)
}

func (db *DB) message(ctx context.Context, text, id string) (iris.Message, error) {
	m, err := scanMessage(db.row(ctx, text, iris.MessageID(id)))
	if errors.Is(err, sql.ErrNoRows) {
		err = iris.Errorf(iris.CodeMessageNotFound, "there is no message %q: use the messageId or jobId of an answer of this Iris", id)
	}
	return m, wrap(err, "read message %s", id)
}

// Usage sums up the team's finished messages.
func (db *DB) Usage(ctx context.Context, team string) (u iris.TeamUsage, err error) {
	err = db.row(ctx, `SELECT coalesce(sum(messages), 0), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0),
		coalesce(sum(cache_read_tokens), 0), coalesce(sum(cache_write_tokens), 0), coalesce(sum(cost_usd), 0.0)
		FROM usage WHERE team = $1`, team).
		Scan(&u.Messages, &u.Usage.InputTokens, &u.Usage.OutputTokens, &u.Usage.CacheReadTokens, &u.Usage.CacheWriteTokens, &u.CostUSD)
	return u, wrap(err, "sum up the usage of %s", team)
}

func scanMessage(row scanner) (m iris.Message, err error) {
	err = row.Scan(&m.ID, &m.Team, &m.Caller.Kind, &m.Caller.Name, &m.SessionID, &m.SessionName, &m.Task, &m.Priority, (*span)(&m.Timeout), &m.MaxAttempts,
		&m.Status, &m.Attempts, (*millis)(&m.CreatedAt), (*millis)(&m.StartedAt), (*millis)(&m.CompletedAt),
		&m.Text, structure{&m.Context}, &m.Response, structure{&m.Err}, structure{&m.Metadata}, &m.Progress.Current, &m.Progress.Total)
	return m, err
}

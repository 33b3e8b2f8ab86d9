package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// What is old is removed in steps so small that nobody who wants to write notices them.
const (
	pruneMessages = 50                   // messages in a step, at most
	pruneBySize   = 5                    // …when the size is looked at after each step
	pruneEvents   = 500                  // events in a step
	pruneSessions = 100                  // sessions in a step
	pruneFor      = 5 * time.Millisecond // after which a step takes no further message
	pruneShare    = 4                    // for how many times as long as a step took the next one waits
	pruneRest     = 2 * time.Millisecond // …but at least so long
)

const (
	// The oldest finished messages before $1. One whose end somebody is yet to be told of stays,
	// and so does the newest of all: its number must never be given again.
	oldMessages = `SELECT id FROM message
		WHERE created_at < $1 AND completed_at < $1 AND status IN ('completed', 'failed', 'cancelled')
		AND n < (SELECT max(n) FROM message)
		AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.message_id = message.id AND delivery.state IN ('held', 'waiting', 'running'))
		ORDER BY created_at LIMIT $2`
	dropMessage = `DELETE FROM message WHERE id = $1`
	dropJob     = `DELETE FROM job WHERE id = $1 AND state = 'done'`
	notePruned  = `INSERT INTO pruned (message_id) VALUES ($1)`
	somePruned  = `SELECT message_id FROM pruned LIMIT 1`
	dropPruned  = `DELETE FROM pruned WHERE message_id = $1`
	dropEvents  = `DELETE FROM event WHERE message_id = $1 AND seq IN (SELECT seq FROM event WHERE message_id = $1 ORDER BY seq LIMIT $2)`
	// A session that a waiting or running job has is used by it, however long that takes.
	dropSessions = `DELETE FROM session WHERE id IN (
		SELECT id FROM session WHERE standing = 0 AND used_at < $1
		AND NOT EXISTS (SELECT 1 FROM job WHERE job.session_id = session.id AND (job.next = 1 OR job.state = 'running'))
		AND NOT EXISTS (SELECT 1 FROM job WHERE job.session_id = session.id AND job.state = 'waiting' AND job.next = 0)
		LIMIT $2)`
	bytesUsed = `SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size`
)

// Pruned is what Prune has removed.
type Pruned struct {
	Messages int
	Sessions int
	Events   int
}

// Prune removes what is older than before: finished messages with all that belongs to them,
// and the sessions that nobody has used since, but for standing ones. Then, while the record
// takes more than so many bytes (0: as many as it likes), it removes the oldest finished
// messages, whatever their age. It does so in small steps, between which others write.
//
// The file does not get smaller: what has become free in it is used for what comes next.
func (db *DB) Prune(ctx context.Context, before time.Time, bytes int64) (did Pruned, err error) {
	for {
		began := time.Now()
		more, err := db.pruneStep(ctx, before, bytes, &did)
		if err != nil || !more {
			return did, wrap(err, "remove what is old")
		}
		select {
		case <-time.After(max(pruneShare*time.Since(began), pruneRest)):
		case <-ctx.Done():
			return did, nil
		}
	}
}

// pruneStep does one step, and says whether there may be another.
func (db *DB) pruneStep(ctx context.Context, before time.Time, bytes int64, did *Pruned) (more bool, err error) {
	n, err := db.pruneEvents(ctx)
	if did.Events += n; n > 0 || err != nil {
		return true, err
	}
	if n, err = db.pruneMessages(ctx, before, pruneMessages); n > 0 || err != nil {
		did.Messages += n
		return true, err
	}
	if n, err = db.pruneSessions(ctx, before); n > 0 || err != nil {
		did.Sessions += n
		return true, err
	}
	if bytes == 0 {
		return false, nil
	}
	used, err := db.Size(ctx)
	if err != nil || used <= bytes {
		return false, err
	}
	n, err = db.pruneMessages(ctx, time.Now(), pruneBySize)
	did.Messages += n
	return n > 0, err
}

// pruneEvents removes some events of a message that is gone.
func (db *DB) pruneEvents(ctx context.Context) (n int, err error) {
	var id string
	if err := db.row(ctx, somePruned).Scan(&id); errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	err = db.write(ctx, func(tx tx) error {
		rows, err := tx.exec(dropEvents, id, pruneEvents)
		if n = int(rows); err != nil || n == pruneEvents {
			return err
		}
		_, err = tx.exec(dropPruned, id)
		return err
	})
	return max(n, 1), err // one that had none is done with too
}

// pruneMessages removes some messages, the oldest first. Their events go in later steps.
func (db *DB) pruneMessages(ctx context.Context, before time.Time, most int) (n int, err error) {
	rows, err := db.query(ctx, oldMessages, millis(before), most)
	if err != nil {
		return 0, err
	}
	ids, err := collect(rows, func(row scanner) (id string, err error) { return id, row.Scan(&id) })
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	err = db.write(ctx, func(tx tx) error {
		began := time.Now()
		for _, id := range ids {
			for _, do := range []struct{ text, id string }{{notePruned, id}, {dropJob, iris.Message{ID: id}.JobID()}, {dropMessage, id}} {
				if _, err := tx.exec(do.text, do.id); err != nil {
					return err
				}
			}
			if n++; time.Since(began) > pruneFor {
				return nil
			}
		}
		return nil
	})
	return n, err
}

func (db *DB) pruneSessions(ctx context.Context, before time.Time) (n int, err error) {
	err = db.write(ctx, func(tx tx) error {
		rows, err := tx.exec(dropSessions, millis(before), pruneSessions)
		n = int(rows)
		return err
	})
	return n, err
}

// Size is how many bytes the record takes, without what is free in its file.
func (db *DB) Size(ctx context.Context) (n int64, err error) {
	err = db.row(ctx, bytesUsed).Scan(&n)
	return n, wrap(err, "read the size of the record")
}

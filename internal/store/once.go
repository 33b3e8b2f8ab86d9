package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

const (
	// keepOnce is how long a request is known again.
	keepOnce = 24 * time.Hour
	// mostLight is how many requests without a message of their own are known of a caller.
	mostLight = 1000

	findOnce = `SELECT body, message_id, answer FROM once WHERE id = $1 AND created_at > $2`
	putOnce  = `INSERT INTO once (id, caller, body, message_id, light, answer, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET body = excluded.body, message_id = excluded.message_id, light = excluded.light,
			answer = excluded.answer, created_at = excluded.created_at`
	answerOnce = `UPDATE once SET answer = $2 WHERE id = $1 AND created_at > $3`
	// Each that comes takes some of the old ones away, so they never lie long and never go all at once.
	dropOld   = `DELETE FROM once WHERE id IN (SELECT id FROM once WHERE created_at <= $1 ORDER BY created_at LIMIT 10)`
	dropLight = `DELETE FROM once WHERE id IN (
		SELECT id FROM once WHERE caller = $1 AND light = 1 ORDER BY created_at DESC LIMIT 10 OFFSET $2)`
	forgetOnce = `DELETE FROM once WHERE id = $1`
)

// onceWrites are those that a message with a key costs more than one without. findOnce is not
// among them: what is prepared for writing sees what is not yet committed, and Kept must not.
func onceWrites() []string { return []string{putOnce, answerOnce, dropOld, dropLight} }

// before finds the message that the request led to when it came before, empty if it did not.
// CONFLICT if that was another request.
func (tx tx) before(o iris.Once) (messageID string, err error) {
	if o.IsZero() {
		return "", nil
	}
	messageID, _, _, err = scanOnce(tx.row(findOnce, o.ID, millis(time.Now().Add(-keepOnce))), o)
	return messageID, err
}

// remember makes the request known again. light says that no message came with it.
func (tx tx) remember(o iris.Once, messageID string, light bool, answer any) error {
	if o.IsZero() {
		return nil
	}
	now := time.Now()
	if _, err := tx.exec(putOnce, o.ID, o.Caller, o.Body, messageID, light, answer, millis(now)); err != nil {
		return err
	}
	if _, err := tx.exec(dropOld, millis(now.Add(-keepOnce))); err != nil {
		return err
	}
	if !light {
		return nil
	}
	_, err := tx.exec(dropLight, o.Caller, mostLight)
	return err
}

// Kept tells whether the request came before, and gives the answer that was kept of it, nil if
// none was. CONFLICT if that was another request.
func (db *DB) Kept(ctx context.Context, o iris.Once) (answer []byte, ok bool, err error) {
	_, answer, ok, err = scanOnce(db.row(ctx, findOnce, o.ID, millis(time.Now().Add(-keepOnce))), o)
	return answer, ok, wrap(err, "look for an earlier request")
}

// Keep makes the request known again, for a day or until its caller has sent a thousand others,
// with this answer, unless it is nil.
func (db *DB) Keep(ctx context.Context, o iris.Once, answer []byte) error {
	text := sql.NullString{String: string(answer), Valid: answer != nil}
	err := db.write(ctx, func(tx tx) error {
		n, err := tx.exec(answerOnce, o.ID, text, millis(time.Now().Add(-keepOnce)))
		if err != nil || n > 0 {
			return err // it led to a message, or came before
		}
		return tx.remember(o, "", true, text)
	})
	return wrap(err, "keep an answer")
}

// Forget makes the request a new one when it comes again.
func (db *DB) Forget(ctx context.Context, o iris.Once) error {
	err := db.write(ctx, func(tx tx) error {
		_, err := tx.exec(forgetOnce, o.ID)
		return err
	})
	return wrap(err, "forget a request")
}

func scanOnce(row scanner, o iris.Once) (messageID string, answer []byte, ok bool, err error) {
	var body string
	var text sql.NullString
	err = row.Scan(&body, &messageID, &text)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", nil, false, nil
	case err != nil:
		return "", nil, false, err
	case body != o.Body:
		return "", nil, false, iris.Errorf(iris.CodeConflict, "this Idempotency-Key came before, with another body: give each request a key of its own, and send it again as it was")
	}
	if text.Valid {
		answer = []byte(text.String)
	}
	return messageID, answer, true, nil
}

package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/iris-mcp/iris-mcp"
)

const (
	eventsAfter = `SELECT message_id, seq, kind, at, body FROM event WHERE message_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`
	setProgress = `UPDATE message SET progress_current = $2, progress_total = $3 WHERE id = $1`
	lastSeq     = `SELECT coalesce(max(seq), 0) FROM event WHERE message_id = $1`
)

// batches are the numbers of rows that one INSERT takes, each with its statement: a batch is
// cut into the largest that fit, so that four prepared statements serve every size.
var batches = []struct {
	rows int
	text string
}{batch(64), batch(16), batch(4), batch(1)}

func batch(n int) (b struct {
	rows int
	text string
}) {
	values := make([]string, n)
	for i := range values {
		p := 5 * i
		values[i] = fmt.Sprintf("($%d, $%d, $%d, $%d, $%d)", p+1, p+2, p+3, p+4, p+5)
	}
	b.rows, b.text = n, "INSERT INTO event (message_id, seq, kind, at, body) VALUES "+strings.Join(values, ", ")
	return b
}

// AppendEvents stores events, all or none. Their numbers are the caller's business, but a
// number that a message has already is an error.
func (db *DB) AppendEvents(ctx context.Context, events []iris.Event) error {
	args, err := eventArgs(events) // before the write, so that nobody waits for the encoding
	if err == nil {
		err = db.write(ctx, func(tx tx) error {
			if err := tx.append(args); err != nil {
				return err
			}
			return tx.progress(events)
		})
	}
	return wrap(err, "store %d events", len(events))
}

// progress keeps what a message's last event of that kind says where the message is read.
func (tx tx) progress(events []iris.Event) error {
	for _, e := range events {
		if e.Progress == nil {
			continue
		}
		if _, err := tx.exec(setProgress, e.MessageID, e.Progress.Current, e.Progress.Total); err != nil {
			return err
		}
	}
	return nil
}

// append inserts rows of five values each.
func (tx tx) append(args []any) error {
	for _, b := range batches {
		for len(args) >= 5*b.rows {
			if _, err := tx.exec(b.text, args[:5*b.rows]...); err != nil {
				return err
			}
			args = args[5*b.rows:]
		}
	}
	return nil
}

func eventArgs(events []iris.Event) ([]any, error) {
	args := make([]any, 0, 5*len(events))
	for _, e := range events {
		body, err := encode(e)
		if err != nil {
			return nil, err
		}
		args = append(args, e.MessageID, e.Seq, string(e.Kind), millis(e.At), body)
	}
	return args, nil
}

// page is how many bytes of events are read at once, give or take one event: many may read
// the events of large tool calls at once.
const page = 64 << 10

// Events gives some of a message's events that follow number after, in order: up to limit, and
// not many bytes, but one if there is any. A message that does not exist has none.
func (db *DB) Events(ctx context.Context, messageID string, after int64, limit int) ([]iris.Event, error) {
	events, err := db.events(ctx, messageID, after, limit)
	return events, wrap(err, "read events of %s", messageID)
}

// events keeps the connection no longer than it takes to copy: there are few.
func (db *DB) events(ctx context.Context, messageID string, after int64, limit int) ([]iris.Event, error) {
	var events []iris.Event
	var bodies []string
	rows, err := db.query(ctx, eventsAfter, messageID, after, limit)
	if err != nil {
		return nil, err
	}
	for size := 0; size < page && rows.Next(); {
		var e iris.Event
		var body string
		if err = rows.Scan(&e.MessageID, &e.Seq, &e.Kind, (*millis)(&e.At), &body); err != nil {
			break
		}
		events, bodies = append(events, e), append(bodies, body)
		size += len(body)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for i, body := range bodies {
		if err := json.Unmarshal([]byte(body), &events[i]); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// LastSeq is the number of a message's newest event, 0 when it has none.
func (db *DB) LastSeq(ctx context.Context, messageID string) (n int64, err error) {
	err = db.row(ctx, lastSeq, messageID).Scan(&n)
	return n, wrap(err, "read last event number of %s", messageID)
}

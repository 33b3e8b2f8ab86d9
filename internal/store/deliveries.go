package store

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// keptAttempts is how many attempts to deliver are kept of a message, the newest.
const keptAttempts = 20

const (
	addDelivery = `INSERT INTO delivery (message_id, url, host, caller, method, headers, state, failures, run_at, attempt, worker, lease_ends)
		VALUES ($1, $2, $3, $4, $5, $6, 'held', 0, 0, 0, '', 0)`
	releaseDelivery = `UPDATE delivery SET state = 'waiting', run_at = $2 WHERE message_id = $1 AND state = 'held'`

	// The one that has waited longest of those whose host and whose caller have room.
	nextDelivery = `WITH
		full_host (host) AS MATERIALIZED (SELECT host FROM delivery WHERE state = 'running' GROUP BY host HAVING count(*) >= $2),
		full_caller (caller) AS MATERIALIZED (SELECT caller FROM delivery WHERE state = 'running' GROUP BY caller HAVING count(*) >= $3)
		SELECT message_id FROM delivery
		WHERE state = 'waiting' AND run_at <= $1 AND host NOT IN (SELECT host FROM full_host) AND caller NOT IN (SELECT caller FROM full_caller)
		ORDER BY run_at, message_id LIMIT 1`
	claimDelivery = `UPDATE delivery SET state = 'running', attempt = attempt + 1, worker = $2, lease_ends = $3
		WHERE message_id = $1 AND state = 'waiting' RETURNING attempt`
	renewDelivery  = `UPDATE delivery SET lease_ends = $3 WHERE message_id = $1 AND state = 'running' AND attempt = $2`
	returnDelivery = `UPDATE delivery SET state = 'waiting', run_at = $3, worker = '', lease_ends = 0
		WHERE message_id = $1 AND state = 'running' AND attempt = $2`
	endAttempt = `UPDATE delivery SET state = $3, run_at = $4, failures = failures + $5, worker = '', lease_ends = 0
		WHERE message_id = $1 AND state = 'running' AND attempt = $2`
	addAttempt  = `INSERT INTO delivery_attempt (message_id, n, at, took, status, problem) VALUES ($1, $2, $3, $4, $5, $6)`
	dropAttempt = `DELETE FROM delivery_attempt WHERE message_id = $1 AND n NOT IN (
		SELECT n FROM delivery_attempt WHERE message_id = $1 ORDER BY n DESC LIMIT $2)`
	resendDelivery = `UPDATE delivery SET state = 'waiting', run_at = $2, failures = 0
		WHERE message_id = $1 AND state NOT IN ('held', 'running')`
	recoverDeliveries = `UPDATE delivery SET state = 'waiting', run_at = $1, worker = '', lease_ends = 0 WHERE state = 'running'`

	nextDeliveryRun = `SELECT coalesce(min(run_at), 0) FROM delivery WHERE state = 'waiting' AND run_at > $1`
	deliveryState   = `SELECT state FROM delivery WHERE message_id = $1`
	getDelivery     = `SELECT url, method, state, failures, run_at FROM delivery WHERE message_id = $1`
	getCallback     = `SELECT url, method, headers FROM delivery WHERE message_id = $1`
	getAttempts     = `SELECT at, took, status, problem FROM delivery_attempt WHERE message_id = $1 ORDER BY n`
)

// deliveryWrites is what a message meets on its way, deliveryReads what the queue of deliveries
// asks while it has nothing to do.
func deliveryWrites() []string { return []string{addDelivery, releaseDelivery} }
func deliveryReads() []string  { return []string{nextDelivery, nextDeliveryRun} }

// hold stores whom to tell of the message's end.
func (tx tx) hold(m iris.Message) error {
	headers, err := encode(m.Callback.Headers)
	if err != nil {
		return err
	}
	_, err = tx.exec(addDelivery, m.ID, m.Callback.URL, hostOf(m.Callback.URL), string(m.Caller.Kind)+"/"+m.Caller.Name,
		m.Callback.Method, headers)
	return err
}

// hostOf is the host of an address in one spelling.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
}

// OnDelivery has wake called whenever a delivery has become due: a hint, for the record is the
// truth. Call it before anything else may happen.
func (db *DB) OnDelivery(wake func()) { db.deliver = wake }

// Deliveries are the deliveries as a queue of their own: no slow receiver holds up a turn. Of
// one host and of one caller only so many run at once.
type Deliveries struct {
	db                 *DB
	perHost, perCaller int
	looked             atomic.Int64 // as DB.looked
}

// Deliveries is that queue, of which perHost and perCaller may run at once of one host, and of
// one caller's.
func (db *DB) Deliveries(perHost, perCaller int) *Deliveries {
	return &Deliveries{db: db, perHost: perHost, perCaller: perCaller}
}

// Claim takes the delivery that has been due for longest; false when there is none that may
// run. While there is none, nothing is written.
func (d *Deliveries) Claim(ctx context.Context, c iris.Claim) (job iris.Job, ok bool, err error) {
	for {
		now := time.Now()
		var id string
		err := d.db.row(ctx, nextDelivery, millis(now), d.perHost, d.perCaller).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			d.looked.Store(now.UnixMilli())
			return iris.Job{}, false, nil
		}
		if err != nil {
			return iris.Job{}, false, wrap(err, "look for a delivery")
		}
		j := iris.Job{ID: "delivery of " + id, Kind: iris.JobDelivery, MessageID: id, LeaseEnds: now.Add(c.Lease)}
		err = d.db.write(ctx, func(tx tx) error {
			return tx.row(claimDelivery, id, c.Worker, millis(j.LeaseEnds)).Scan(&j.Attempt)
		})
		if !errors.Is(err, sql.ErrNoRows) { // which would mean that it has gone meanwhile
			return j, err == nil, wrap(err, "claim a delivery")
		}
	}
}

// Renew makes the lease last until then; ErrFinal when it is lost.
func (d *Deliveries) Renew(ctx context.Context, j iris.Job, until time.Time) error {
	err := d.db.write(ctx, func(tx tx) error {
		return final(tx.exec(renewDelivery, j.MessageID, j.Attempt, millis(until)))
	})
	return wrap(err, "renew the lease of the %s", j.ID)
}

// NextRun tells when the first of the deliveries that wait for their time is due, as
// DB.NextRun does for turns.
func (d *Deliveries) NextRun(ctx context.Context) (at time.Time, ok bool, err error) {
	err = d.db.row(ctx, nextDeliveryRun, d.looked.Load()).Scan((*millis)(&at))
	return at, !at.IsZero(), wrap(err, "read when the next delivery is due")
}

// RecoverDeliveries makes those due that an earlier owner was about: whether the receiver heard
// of them nobody knows. It says how many there were.
func (db *DB) RecoverDeliveries(ctx context.Context) (n int, err error) {
	err = db.write(ctx, func(tx tx) error {
		rows, err := tx.exec(recoverDeliveries, millis(time.Now()))
		n = int(rows)
		return err
	})
	return n, wrap(err, "recover deliveries")
}

// ReturnDelivery gives a delivery back that was not attempted, to be claimed not before at;
// ErrFinal when the lease is lost.
func (db *DB) ReturnDelivery(ctx context.Context, j iris.Job, at time.Time) error {
	err := db.write(ctx, func(tx tx) error {
		return final(tx.exec(returnDelivery, j.MessageID, j.Attempt, millis(at)))
	})
	return wrap(err, "return the %s", j.ID)
}

// Attempted stores how an attempt went and what comes of the delivery: with DeliveryPending it
// is due again at next, every other state is the last until it is sent again. ErrFinal when
// the lease is lost.
func (db *DB) Attempted(ctx context.Context, j iris.Job, a iris.DeliveryAttempt, state iris.DeliveryState, next time.Time) error {
	column, failed := string(state), 1
	switch state {
	case iris.DeliveryPending:
		column = "waiting"
	case iris.DeliveryDelivered:
		failed = 0
	}
	err := db.write(ctx, func(tx tx) error {
		if err := final(tx.exec(endAttempt, j.MessageID, j.Attempt, column, millis(next), failed)); err != nil {
			return err
		}
		if _, err := tx.exec(addAttempt, j.MessageID, j.Attempt, millis(a.At), span(a.Took), a.Status, a.Problem); err != nil {
			return err
		}
		_, err := tx.exec(dropAttempt, j.MessageID, keptAttempts)
		return err
	})
	return wrap(err, "store an attempt of the %s", j.ID)
}

// Resend makes the message's delivery due now, with all its attempts before it again; one that
// is being attempted is left to that. NOT_FOUND: it has no callback; CONFLICT: it has not ended.
func (db *DB) Resend(ctx context.Context, messageID string) error {
	messageID = iris.MessageID(messageID)
	err := db.write(ctx, func(tx tx) error {
		n, err := tx.exec(resendDelivery, messageID, millis(time.Now()))
		if err != nil || n > 0 {
			return err
		}
		var state string
		err = tx.row(deliveryState, messageID).Scan(&state)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return iris.Errorf(iris.CodeNotFound, "the message %s has no callback: nobody is to be told of its end", messageID)
		case err == nil && state == "held":
			return iris.Errorf(iris.CodeConflict, "the message %s has not ended: its callback is called by itself when it does", messageID)
		}
		return err
	})
	if err == nil {
		db.deliver()
	}
	return wrap(err, "send %s again", messageID)
}

// Callback is whom to tell of the message's end, with the headers that are nobody else's
// business; NOT_FOUND without one.
func (db *DB) Callback(ctx context.Context, messageID string) (c iris.Callback, err error) {
	err = db.row(ctx, getCallback, messageID).Scan(&c.URL, &c.Method, structure{&c.Headers})
	if errors.Is(err, sql.ErrNoRows) {
		err = iris.Errorf(iris.CodeNotFound, "the message %s has no callback", messageID)
	}
	return c, wrap(err, "read the callback of %s", messageID)
}

// Delivery is how far the telling of the message's end has come; false when nobody is to be
// told.
func (db *DB) Delivery(ctx context.Context, messageID string) (d iris.Delivery, ok bool, err error) {
	err = db.row(ctx, getDelivery, messageID).Scan(&d.URL, &d.Method, &d.State, &d.Failures, (*millis)(&d.NextAt))
	if errors.Is(err, sql.ErrNoRows) {
		return d, false, nil
	}
	switch d.State {
	case "held", "running":
		d.State, d.NextAt = iris.DeliveryPending, time.Time{}
	case "waiting":
		d.State = iris.DeliveryPending
	default:
		d.NextAt = time.Time{}
	}
	var rows *sql.Rows
	if err == nil {
		rows, err = db.query(ctx, getAttempts, messageID)
	}
	if err == nil {
		d.Attempts, err = collect(rows, func(row scanner) (a iris.DeliveryAttempt, err error) {
			return a, row.Scan((*millis)(&a.At), (*span)(&a.Took), &a.Status, &a.Problem)
		})
	}
	return d, err == nil, wrap(err, "read the delivery of %s", messageID)
}

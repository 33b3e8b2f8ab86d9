package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// Reasons are the causes with which the queue ends a running job's context.
type Reasons struct {
	Shutdown  error // the grace is over
	LeaseLost error // the job belongs to somebody else now
}

const (
	storeAgain = time.Second // between tries of what a fault of the record prevents
	unstored   = "what became of a message can't be stored"
)

// Run runs the message of a job to its end, or to the next attempt. The context ends with one
// of the reasons when it must stop: a message cut off by a shutdown goes back to the queue or
// fails, by the same rule as after a crash; a job whose lease was lost is left alone.
func (d *Dispatcher) Run(ctx context.Context, j iris.Job, why Reasons) {
	log := d.log.With("message", j.MessageID, "team", j.Team, "job", j.ID, "attempt", j.Attempt)
	m, err := d.claimed(ctx, j)
	switch {
	case err != nil && ctx.Err() != nil:
		return // the next owner settles it
	case err != nil:
		log.Error("a claimed message can't be read", "error", err)
		d.finish(ctx, ended(iris.Message{ID: j.MessageID}, iris.StatusFailed, iris.AsError(err)), j)
		return
	}
	d.watchers.tell(m)
	var res iris.Result
	if err = d.spare(m); err == nil {
		began := time.Now()
		res, err = d.turn(ctx, m, j)
		d.rest(m.Team, began, err)
	}
	d.pace.over()
	if err == nil || res.Metadata.Turns > 0 { // else there is nothing to tell of it
		did := res.Metadata
		if m.Metadata != nil { // of earlier attempts
			did = m.Metadata.Plus(did)
		}
		m.Metadata = &did
	}
	var end iris.Message
	switch cause := context.Cause(ctx); {
	case err == nil:
		end = ended(m, iris.StatusCompleted, nil)
		end.Response = res.Text
	case errors.Is(err, errCancelled):
		end = ended(m, iris.StatusCancelled, errCancelled)
	case errors.Is(cause, why.LeaseLost):
		log.Warn("lease lost; the turn was given up")
		return
	case d.wished(m.ID): // while it came to another end
		end = ended(m, iris.StatusCancelled, errCancelled)
	case errors.Is(cause, why.Shutdown) && runsAgain(m):
		d.bus.Publish(interrupted(m))
		d.handBack(ctx, m, j, time.Now())
		return
	case errors.Is(cause, why.Shutdown):
		end = ended(m, iris.StatusFailed, cutOff())
	case iris.Passes(err) && runsAgain(m):
		delay := max(backoff(d.cfg.Backoff(), j.Attempt), time.Until(iris.AsError(err).RetryAt))
		log.Warn("task failed and will run again", "code", iris.CodeOf(err), "in", delay.Round(time.Millisecond), "error", err)
		d.bus.Publish(iris.Event{MessageID: m.ID, Kind: iris.EventRetry, Text: fmt.Sprintf(
			"attempt %d of %d failed: %s. The next one follows in %s", j.Attempt, m.MaxAttempts, reason(iris.AsError(err)), delay.Round(100*time.Millisecond))})
		d.handBack(ctx, m, j, time.Now().Add(delay))
		return
	default:
		end = ended(m, iris.StatusFailed, iris.AsError(err))
		log.Warn("message failed", "code", end.Err.Code, "error", err)
	}
	d.finish(ctx, end, j)
	log.Info("message ended", "status", end.Status, "took", end.Duration().Round(time.Millisecond))
}

// claimed reads the message of a claimed job, for as long as it takes the record to come back
// from a fault that may pass: what cannot be read cannot be ended either.
func (d *Dispatcher) claimed(ctx context.Context, j iris.Job) (m iris.Message, err error) {
	d.insist(ctx, j.MessageID, "a claimed message can't be read", func(ctx context.Context) error {
		if m, err = d.store.Message(ctx, j.MessageID); iris.Passes(err) {
			return err
		}
		return nil
	})
	return m, err
}

// turn runs one turn of the message.
func (d *Dispatcher) turn(ctx context.Context, m iris.Message, j iris.Job) (iris.Result, error) {
	team, err := d.teams.Team(m.Team)
	if err != nil {
		return iris.Result{}, iris.Errorf(iris.CodeTeamNotFound, "team %q was removed from the configuration while this message waited", m.Team).Because(err)
	}
	session, err := d.store.Session(ctx, m.SessionID)
	if err != nil {
		return iris.Result{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := team.TurnTimeout
	if m.Timeout > 0 {
		limit = min(limit, m.Timeout)
	}
	late := iris.Errorf(iris.CodeTimeout, "the turn took longer than %s and was interrupted; raise the timeout or ask for less at once", limit)
	ends := time.Now().Add(limit)
	defer time.AfterFunc(limit, func() { cancel(late) }).Stop()

	d.begin(m.ID, cancel)
	defer d.end(m.ID)
	if j.Attempt > 1 {
		d.bus.Publish(iris.Event{MessageID: m.ID, Kind: iris.EventRestart})
	}
	return d.pool.Turn(ctx, iris.Turn{
		MessageID: m.ID, Session: session, Team: team,
		From: m.Caller.From(), Text: m.Text, Context: m.Context, Awaited: !m.Task,
		Emit: func(e iris.Event) {
			e.MessageID = m.ID
			d.bus.Publish(e)
		},
		Decide: func(ctx context.Context, p iris.Permission) iris.Decision { return d.decide(ctx, team, m, p, ends) },
	})
}

// begin makes the turn known to Cancel, which may have been called already.
func (d *Dispatcher) begin(messageID string, cancel context.CancelCauseFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running[messageID] = cancel
	if d.cancels[messageID] {
		cancel(errCancelled)
	}
}

func (d *Dispatcher) end(messageID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.running, messageID)
}

// finish stores the message's end.
func (d *Dispatcher) finish(ctx context.Context, end iris.Message, j iris.Job) {
	if d.insist(ctx, end.ID, unstored, func(ctx context.Context) error { return d.bus.Finish(ctx, end, j.Attempt, last(end)) }) {
		d.forget(end.ID)
	}
}

// handBack puts the job back into the queue, to run again not before runAt. Who wanted the
// message cancelled meanwhile finds it running before and waiting after, so the wish is looked
// for once it waits (see Cancel for the other half).
func (d *Dispatcher) handBack(ctx context.Context, m iris.Message, j iris.Job, runAt time.Time) {
	if !d.insist(ctx, m.ID, unstored, func(ctx context.Context) error { return d.store.Return(ctx, j, m.Metadata, runAt) }) {
		return
	}
	d.queue.Wake()
	if !d.wished(m.ID) {
		return
	}
	if _, err := d.cancelWaiting(ctx, m); err != nil && !errors.Is(err, iris.ErrFinal) {
		d.log.Error("a message that was handed back can't be cancelled; its next turn will be", "message", m.ID, "error", err)
	}
}

// insist does something with the record, and tries again until that works or Iris stops: then
// the next owner settles the message. It reports whether there is nothing more to do.
func (d *Dispatcher) insist(ctx context.Context, messageID, fault string, do func(context.Context) error) bool {
	for tries := 1; ; tries++ {
		err := do(context.WithoutCancel(ctx))
		if err == nil {
			return true
		}
		if errors.Is(err, iris.ErrFinal) {
			d.log.Warn("a message had ended before", "message", messageID, "error", err)
			return true
		}
		if tries&(tries-1) == 0 { // less and less often
			d.log.Error(fault+"; trying again", "message", messageID, "tries", tries, "error", err)
		}
		select {
		case <-time.After(storeAgain):
		case <-ctx.Done():
			return false
		}
	}
}

// ended is the message in its final state, ended now.
func ended(m iris.Message, s iris.Status, why *iris.Error) iris.Message {
	m.Status, m.Err, m.CompletedAt = s, why, time.Now().UTC()
	return m
}

// last is the last event of a final message.
func last(m iris.Message) iris.Event {
	if m.Status == iris.StatusCompleted {
		return iris.Event{Kind: iris.EventComplete, Duration: m.Duration(), Metadata: m.Metadata}
	}
	return iris.Event{Kind: iris.EventError, Err: m.Err}
}

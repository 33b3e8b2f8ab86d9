package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// Reasons are the causes with which the queue ends a running job's context.
type Reasons struct {
	Shutdown  error // the grace is over
	LeaseLost error // the job belongs to somebody else now
}

const finishAgain = time.Second // between tries to store a message's end

// Run runs the message of a job to its end. The context ends with one of the reasons when it
// must stop: a message cut off by a shutdown goes back to the queue or fails, by the same rule
// as after a crash; a job whose lease was lost is left alone.
func (d *Dispatcher) Run(ctx context.Context, j iris.Job, why Reasons) {
	defer d.forget(j.MessageID)
	log := d.log.With("message", j.MessageID, "team", j.Team, "job", j.ID, "attempt", j.Attempt)
	m, err := d.store.Message(ctx, j.MessageID)
	if err != nil {
		log.Error("a claimed message can't be read", "error", err)
		d.finish(ctx, ended(iris.Message{ID: j.MessageID}, iris.StatusFailed, iris.AsError(err)), j)
		return
	}
	res, err := d.turn(ctx, m, j)
	var end iris.Message
	switch cause := context.Cause(ctx); {
	case err == nil:
		end = ended(m, iris.StatusCompleted, nil)
		end.Response = res.Text
	case errors.Is(err, errCancelled):
		end = ended(m, iris.StatusCancelled, errCancelled)
	case cause != nil && errors.Is(cause, why.LeaseLost):
		log.Warn("lease lost; the turn was given up")
		return
	case cause != nil && errors.Is(cause, why.Shutdown) && d.wished(m.ID):
		end = ended(m, iris.StatusCancelled, errCancelled)
	case cause != nil && errors.Is(cause, why.Shutdown) && runsAgain(m):
		if err := d.store.Return(context.WithoutCancel(ctx), j, time.Now()); err != nil {
			log.Error("a job can't be handed back", "error", err)
		}
		return
	case cause != nil && errors.Is(cause, why.Shutdown):
		end = ended(m, iris.StatusFailed, cutOff())
	default:
		end = ended(m, iris.StatusFailed, iris.AsError(err))
		log.Warn("message failed", "code", end.Err.Code, "error", err)
	}
	if res.Metadata.Turns > 0 || err == nil {
		end.Metadata = &res.Metadata
	}
	d.finish(ctx, end, j)
	log.Info("message ended", "status", end.Status, "took", end.Duration().Round(time.Millisecond))
}

// turn runs one turn of the message.
func (d *Dispatcher) turn(ctx context.Context, m iris.Message, j iris.Job) (iris.Result, error) {
	team, err := d.teams.Team(m.Team)
	if err != nil {
		return iris.Result{}, err
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
	defer time.AfterFunc(limit, func() { cancel(late) }).Stop()

	d.begin(m.ID, cancel)
	defer d.end(m.ID)
	if j.Attempt > 1 {
		d.bus.Publish(iris.Event{MessageID: m.ID, Kind: iris.EventRestart})
	}
	return d.pool.Turn(ctx, iris.Turn{
		MessageID: m.ID, Session: session, Team: team,
		From: m.Caller.From(), Text: m.Text, Context: m.Context,
		Emit: func(e iris.Event) {
			e.MessageID = m.ID
			d.bus.Publish(e)
		},
		Decide: func(ctx context.Context, p iris.Permission) iris.Decision { return d.decide(team, m, p) },
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

// finish stores the message's end, and tries again until the store takes it or Iris stops:
// then the next owner settles it.
func (d *Dispatcher) finish(ctx context.Context, end iris.Message, j iris.Job) {
	for {
		err := d.bus.Finish(context.WithoutCancel(ctx), end, j.Attempt, last(end))
		if err == nil {
			return
		}
		if errors.Is(err, iris.ErrFinal) {
			d.log.Warn("a message had ended before", "message", end.ID, "error", err)
			return
		}
		d.log.Error("a message's end can't be stored; trying again", "message", end.ID, "error", err)
		select {
		case <-time.After(finishAgain):
		case <-ctx.Done():
			return
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

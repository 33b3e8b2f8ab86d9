package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// turn is one call of Turn. All but what begin sets belongs to run until over is closed.
type turn struct {
	iris.Turn
	ctx  context.Context
	uuid string

	sent    bool
	line    int64     // which of all lines to the CLI the message is, from 1
	stop    error     // why it is being broken off
	stopped time.Time // when that began
	asked   time.Time // when the CLI was last asked to break off

	deciding sync.WaitGroup // calls of Decide
	over     chan struct{}
	result   iris.Result
	err      error
}

// Turn puts a message to the agent and returns its answer. It emits what happens on the way,
// waits its turn if another one is under way, and does not hold the process up longer than
// Emit does.
//
// When the context ends the agent is interrupted; the error then wraps the context's cause,
// and the agent can take the next turn at once. Any other failure is a PROCESS_ERROR that
// says what to do; its Retry says whether another attempt may help. The result of a failed
// turn says what it had done and cost by then. If the agent has died, Done is closed soon; the
// error wraps iris.ErrNotBegun if it never got the message.
func (a *Agent) Turn(ctx context.Context, t iris.Turn) (iris.Result, error) {
	tn := &turn{Turn: t, ctx: ctx, uuid: iris.NewUUID(), over: make(chan struct{})}
	select {
	case a.turns <- tn:
	case <-ctx.Done():
		return iris.Result{}, brokenOff(ctx)
	case <-a.done:
		return iris.Result{}, a.died("before the message reached it", iris.ErrNotBegun)
	}
	<-tn.over
	tn.deciding.Wait()
	return tn.result, tn.err
}

func brokenOff(ctx context.Context) error {
	return fmt.Errorf("the turn was broken off: %w", context.Cause(ctx))
}

// emit is Emit with the message's id.
func (t *turn) emit(e iris.Event) {
	if t.Emit != nil {
		e.MessageID = t.MessageID
		t.Emit(e)
	}
}

// begin takes up a turn: it is sent when the CLI is idle.
func (a *Agent) begin(t *turn) {
	a.turn, a.heard = t, time.Now()
	if t.ctx.Err() != nil {
		a.breakOff(brokenOff(t.ctx))
		return
	}
	a.send()
}

// send puts the message to the CLI, if one waits and the CLI is idle. A message that comes
// while the CLI takes a turn of its own would be steered into that one or merged with others.
func (a *Agent) send() {
	if a.turn == nil || a.turn.sent || a.turn.stop != nil || !a.idle {
		return
	}
	a.turn.sent = true
	a.queue = append(a.queue, userLine(a.turn.uuid, prompt(a.turn.Turn)))
	a.turn.line = a.given + int64(len(a.queue))
}

// claim makes the round that the CLI is in the answer to our message. How it is known:
//
//   - 2.1.330 says that it started our message (command_lifecycle), and names it on what
//     follows (user_message_uuids).
//   - 2.1.197 says nothing before the first block is finished, then it repeats the message.
//     So a round that begins after we sent ours, and not with the news of a background task,
//     is taken for ours; a result with an origin still proves that wrong.
//   - A message that came while the CLI took a turn of its own may be answered in that same
//     turn, and the repetition comes in its middle (queued_message_during_tool). What was
//     said before is not for us.
func (a *Agent) claim(sure bool) {
	if a.turn == nil || !a.turn.sent || a.round.sure {
		return
	}
	r := a.round
	r.sure = sure
	if r.emit != nil {
		return
	}
	r.answer.forget()
	r.calls = nil
	r.emit = a.turn.emit
	r.answer.reveal()
}

// names reports whether the CLI says by this line that it answers our message.
func (t *turn) named(l line) bool {
	switch l.Type {
	case "command_lifecycle":
		return l.Command == t.uuid && l.State == "started"
	case "user":
		return l.IsReplay && l.UUID == t.uuid
	}
	for _, uuid := range l.UserMessages {
		if uuid == t.uuid {
			return true
		}
	}
	return false
}

// ended takes a result: the CLI's round is over, and with it the turn if it was its answer.
func (a *Agent) ended(raw json.RawMessage) {
	var res result
	json.Unmarshal(raw, &res)
	r, t := a.round, a.turn
	a.round, a.news = newRound(a.team.Path), false

	m := r.metadata()
	m.Usage = iris.Usage{
		InputTokens: res.Usage.Input, OutputTokens: res.Usage.Output,
		CacheReadTokens: res.Usage.CacheRead, CacheWriteTokens: res.Usage.CacheWrite,
	}
	m.Turns = res.NumTurns
	// The total is the process's so far; /clear begins it anew (2.1.330).
	m.CostUSD = res.TotalCostUSD - a.cost
	if m.CostUSD < 0 {
		m.CostUSD = res.TotalCostUSD
	}
	a.cost = res.TotalCostUSD

	switch {
	case t == nil:
		a.fatal = res.Errors // of a start; or of a turn that nobody asked for
		a.log.Debug("the agent took a turn of its own", "cost", m.CostUSD)
		return
	case !t.sent:
		if t.stop != nil {
			a.finish(iris.Result{}, t.stop)
		}
		return
	case res.Origin != nil && !r.sure:
		if r.emit != nil && (r.answer.truth.Len() > 0 || r.answer.preview != "") {
			t.emit(iris.Event{Kind: iris.EventRestart})
		}
		return
	}
	out := iris.Result{Metadata: m}
	if res.IsError || res.aborted() {
		if t.stop != nil {
			a.finish(out, t.stop)
		} else {
			a.finish(out, a.failed(res, r))
		}
		return
	}
	if r.emit == nil {
		r.emit = t.emit
		r.answer.reveal()
	}
	r.answer.abandon()
	out.Text = r.answer.message()
	if out.Text == "" { // a local command prints no more than its result (clear)
		out.Text = res.Result
		if !strings.HasSuffix(r.answer.truth.String(), out.Text) {
			r.answer.block("result", "", out.Text)
		}
	}
	a.finish(out, nil)
}

// aborted reports whether an interrupt ended the round; 2.1.197 may call that a success
// (priority_now).
func (r result) aborted() bool {
	return r.TerminalReason == "aborted_streaming" || r.TerminalReason == "aborted_tools"
}

// finish ends the turn. A round that goes on, because it was none of the turn's or has not
// been broken off yet, is shown to nobody from here on.
func (a *Agent) finish(r iris.Result, err error) {
	t := a.turn
	a.turn, a.round.emit = nil, nil
	t.result, t.err = r, err
	for id, d := range a.open {
		if d.turn == t {
			d.cancel()
			delete(a.open, id)
		}
	}
	close(t.over)
}

package agent

import (
	"encoding/json"
	"fmt"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// state is what run knows about the conversation.
type state struct {
	turn  *turn  // under way, or nil
	round *round // that the CLI is in, or that will be next

	idle    bool      // it takes a message: it said so, or has just answered one
	tasks   bool      // there were background tasks: it may take rounds that nobody asked for
	news    bool      // a background task has ended: the next round may be about that
	speaks  bool      // the CLI says which message it starts (2.1.330)
	heard   time.Time // when the last line came
	cost    float64   // the process's, by its last result
	fatal   []string  // errors of the last result that nobody waited for
	leaving bool      // Close was called
	leaveBy time.Time // then stdin is closed, whatever the CLI does

	queue [][]byte                         // lines to be written
	given int64                            // how many were given to write
	asked map[string]func(controlResponse) // what to do with the answers to our requests
	count int                              // of our requests
	open  map[string]*decision             // permissions that the CLI waits for

	isShut bool
}

// lingering is how long a dead process's output is read on when somebody else holds its pipe.
const lingering = 200 * time.Millisecond

// run owns the conversation, from the start of the process to the end of its output.
func (a *Agent) run() {
	a.request("initialize", nil, a.initialized)
	var (
		closing = a.closing
		reaped  = a.reaped
		linger  <-chan time.Time
		alarm   = time.NewTimer(0)
	)
	defer alarm.Stop()
	for {
		var (
			turns  chan *turn
			ended  <-chan struct{}
			writes chan []byte
			head   []byte
		)
		switch {
		case a.turn == nil && !a.leaving:
			turns = a.turns
		case a.turn != nil && a.turn.stop == nil:
			ended = a.turn.ctx.Done()
		}
		if !a.isShut && len(a.queue) > 0 {
			writes, head = a.writes, a.queue[0]
		} else if a.leaving && a.turn == nil && len(a.asked) == 0 && a.idle {
			a.shutStdin()
		}
		if at := a.nextAlarm(); !at.IsZero() {
			alarm.Reset(time.Until(at))
		}
		select {
		case l, ok := <-a.lines:
			if !ok {
				a.gone()
				return
			}
			if linger != nil {
				linger = time.After(lingering)
			}
			a.line(l)
		case writes <- head:
			a.queue = a.queue[1:]
			a.given++
		case t := <-turns:
			a.begin(t)
		case d := <-a.decided:
			a.answerPermission(d)
		case <-ended:
			a.breakOff(brokenOff(a.turn.ctx))
		case now := <-alarm.C:
			a.late(now)
		case <-closing:
			closing = nil
			a.leave()
		case <-reaped:
			reaped = nil
			linger = time.After(lingering)
		case <-linger:
			a.gone()
			return
		}
	}
}

// initialized takes the answer that says that the CLI is ready.
func (a *Agent) initialized(r controlResponse) {
	if r.Subtype == "error" {
		a.fatal = []string{r.Error}
		a.child.Kill()
		return
	}
	a.idle = true
	close(a.ready)
}

// line takes one line of the CLI.
func (a *Agent) line(l line) {
	a.heard = time.Now()
	if a.turn != nil && a.turn.sent && a.turn.named(l) {
		a.claim(true)
	}
	switch l.Type {
	case "control_response":
		a.response(l)
	case "control_request":
		a.asksUs(l)
	case "control_cancel_request":
		a.asksNoMore(l.RequestID)
	case "command_lifecycle":
		a.speaks = true
		if t := a.turn; t != nil && t.stop != nil && l.Command == t.uuid && l.State == "cancelled" {
			a.finish(turnNotBegun, t.stop) // no result comes of it (2.1.330)
		}
	case "result":
		a.ended(l.raw)
	case "rate_limit_event":
		var plan limit
		json.Unmarshal(l.Limit, &plan)
		a.round.limited(plan)
	case "system":
		a.system(l)
	default:
		a.round.line(l)
	}
}

func (a *Agent) system(l line) {
	switch l.Subtype {
	case "session_state_changed":
		a.idle = l.State == "idle"
		if a.idle {
			a.news = false
			if t := a.turn; t != nil && !t.sent && t.stop != nil {
				a.finish(turnNotBegun, t.stop) // broken off between two rounds, of which no result comes
			}
		}
		a.send()
		return
	case "task_started", "background_tasks_changed":
		a.tasks = true
	case "task_notification":
		a.tasks, a.news = true, true
	case "init":
		if !a.news && !a.speaks {
			a.claim(false)
		}
	case "api_retry":
		if l.ErrorStatus == 401 && a.round.emit != nil {
			a.breakOff(a.notLoggedIn(401, text(l.Error)))
			return
		}
		a.round.line(l)
		if a.round.emit != nil {
			a.patience(l)
		}
		return
	}
	a.round.line(l)
}

// request asks the CLI for something; then takes the answer.
func (a *Agent) request(subtype string, fields map[string]any, then func(controlResponse)) {
	a.count++
	id := fmt.Sprintf("iris_%d", a.count)
	request := map[string]any{"subtype": subtype}
	for name, value := range fields {
		request[name] = value
	}
	a.asked[id] = then
	a.queue = append(a.queue, jsonLine(map[string]any{"type": "control_request", "request_id": id, "request": request}))
}

func (a *Agent) response(l line) {
	var r controlResponse
	json.Unmarshal(l.Response, &r)
	if then := a.asked[r.RequestID]; then != nil {
		delete(a.asked, r.RequestID)
		then(r)
	}
}

func nothing(controlResponse) {}

// breakOff ends the turn for the reason given. The CLI's result, which comes within
// milliseconds, finishes it.
func (a *Agent) breakOff(why error) {
	t := a.turn
	if t == nil || t.stop != nil {
		return
	}
	if !t.sent && t.ctx.Err() != nil {
		a.finish(turnNotBegun, why)
		return
	}
	t.stop, t.stopped = why, time.Now()
	if t.sent && !a.round.sure {
		// It may still be waiting in the CLI's queue, where no interrupt reaches it
		// (interrupt_with_queue, queued_then_cancel).
		a.request("cancel_async_message", map[string]any{"message_uuid": t.uuid}, func(r controlResponse) {
			var got struct {
				Cancelled bool `json:"cancelled"`
			}
			json.Unmarshal(r.Response, &got)
			if got.Cancelled && a.turn == t {
				a.finish(turnNotBegun, why)
			}
		})
	}
	a.interrupt()
}

func (a *Agent) interrupt() {
	if a.turn != nil {
		a.turn.asked = time.Now()
	}
	a.request("interrupt", nil, nothing)
}

// nudge is how long a CLI that was interrupted may go on before it is told once more: an
// interrupt that overtakes the message it is meant for is without effect.
const nudge = 250 * time.Millisecond

// nextAlarm is when late has something to do; zero is never.
func (a *Agent) nextAlarm() time.Time {
	switch t := a.turn; {
	case t != nil && t.stop != nil:
		return earlier(t.asked.Add(nudge), t.stopped.Add(a.grace))
	case a.leaving && !a.isShut:
		return a.leaveBy
	case t != nil && a.team.SilenceTimeout > 0 && !a.round.working() && len(a.open) == 0:
		return a.heard.Add(a.team.SilenceTimeout)
	}
	return time.Time{}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// late does what is due by now.
func (a *Agent) late(now time.Time) {
	if at := a.nextAlarm(); at.IsZero() || at.After(now) {
		return // the alarm was for something that has passed
	}
	switch t := a.turn; {
	case t != nil && t.stop != nil && now.Sub(t.stopped) >= a.grace:
		a.log.Warn("the agent does not heed an interrupt and is killed", "message", t.MessageID)
		t.stopped = now
		a.child.Kill()
	case t != nil && t.stop != nil:
		a.interrupt()
	case a.leaving:
		a.shutStdin()
	default:
		a.breakOff(a.silent())
	}
}

// gone ends what is still open when the process is over.
func (a *Agent) gone() {
	select {
	case <-a.reaped:
	case <-time.After(a.grace): // it closed its output, and lives
		a.child.Kill()
		<-a.reaped
	}
	select {
	case <-a.tail.whole: // its last words say why
	case <-time.After(lingering): // somebody else holds its stderr
	}
	if t := a.turn; t != nil {
		err := t.stop
		switch {
		case err != nil:
		case t.sent && (a.written.Load() >= t.line || a.round.emit != nil):
			// Who has begun to answer had the message, counted as written or not: a kill may
			// come between the CLI's first words and the count.
			err = a.died("in the middle of its answer", nil)
		default:
			err = a.died("before the message reached it", iris.ErrNotBegun)
		}
		a.finish(turnNotBegun, err)
	}
	a.shutStdin()
}

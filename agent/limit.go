package agent

import (
	"fmt"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// The CLI makes a failed model call again by itself, and may pause for as long as the API says
// (api_error_429_retry): minutes without a word. A turn is broken off rather than that, sooner
// when somebody waits for it; a task may yet come through, and runs again later if not.
const (
	patienceAwaited = 15 * time.Second
	patienceTask    = time.Minute
)

// How long a team that met a limit or an overload is left alone, when nobody said how long.
const (
	restLimited    = time.Minute
	restOverloaded = 30 * time.Second
)

// limited notes what the CLI says about the account's plan.
func (r *round) limited(plan limit) {
	if r.resets = (time.Time{}); plan.Status == "rejected" && plan.ResetsAt > 0 {
		r.resets = time.Unix(plan.ResetsAt, 0).UTC()
	}
}

// patience breaks the turn off when its model call, which the CLI will make again, would take
// too long to come through.
func (a *Agent) patience(l line) {
	now := time.Now()
	next := now.Add(time.Duration(l.RetryDelay * float64(time.Millisecond)))
	if l.ErrorStatus == 429 && a.round.resets.After(next) {
		next = a.round.resets
	}
	most := patienceTask
	if a.turn != nil && a.turn.Awaited {
		most = patienceAwaited
	}
	if next.Sub(a.round.failing) <= most {
		return
	}
	e := a.overloaded(l.ErrorStatus, text(l.Error), a.round)
	if l.ErrorStatus == 429 && next.After(e.RetryAt) {
		a.until(e, next)
	}
	a.breakOff(e)
}

// overloaded is a failure of the model's API that passes by itself; status zero: it can't be
// reached.
func (a *Agent) overloaded(status int, reason string, r *round) *iris.Error {
	var e *iris.Error
	switch {
	case status == 429 || reason == "rate_limit":
		e = problem("the model's API takes no more requests for now (429)", hintLater)
		rest := time.Now().Add(restLimited)
		if r.resets.After(time.Now()) {
			rest = r.resets
		}
		a.until(e, rest)
	case status == 529 || reason == "overloaded":
		e = problem("the model's API is overloaded (529)", hintLater)
		a.until(e, time.Now().Add(restOverloaded))
	case status >= 500:
		e = problem(fmt.Sprintf("the model's API failed (%d)", status), hintLater)
	default:
		e = problem("the Claude Code CLI cannot reach the model's API", "check the network, and ANTHROPIC_BASE_URL if it is set")
	}
	e.Retry = true
	return e.With("apiStatus", status).With("reason", reason)
}

// until says when the team may be asked again.
func (a *Agent) until(e *iris.Error, at time.Time) {
	e.RetryAt = at.Truncate(time.Millisecond)
	e.With("retryAt", e.RetryAt.UnixMilli())
}

package dispatch

import (
	"errors"
	"fmt"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// A team whose model takes no requests for now (its plan's limit, an overload) rests: tasks wait,
// for they would only use up their attempts, and who asks is told at once. The first task after
// that finds out how things are.

// rest leaves the team alone for as long as the error of its turn says, if it does.
func (d *Dispatcher) rest(team string, err error) {
	e, ok := errors.AsType[*iris.Error](err)
	if !ok || e.Code != iris.CodeProcess || !e.RetryAt.After(time.Now()) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if was := d.rests[team]; was != nil && !e.RetryAt.After(was.RetryAt) {
		return
	}
	d.rests[team] = e
	d.log.Warn("team rests", "team", team, "until", e.RetryAt.Format(time.RFC3339), "because", e.Message)
	time.AfterFunc(time.Until(e.RetryAt), d.queue.Wake)
}

// resting is why the team is left alone now; nil when it is not.
func (d *Dispatcher) resting(team string) *iris.Error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.rests[team]
	if e != nil && !e.RetryAt.After(time.Now()) {
		delete(d.rests, team)
		return nil
	}
	return e
}

// Resting lists the teams whose tasks are to wait now.
func (d *Dispatcher) Resting() (teams []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for team, e := range d.rests {
		if e.RetryAt.After(now) {
			teams = append(teams, team)
		}
	}
	return teams
}

// spared is what who asks a resting team is told.
func spared(team string, why *iris.Error) *iris.Error {
	left := time.Until(why.RetryAt).Round(time.Second)
	e := iris.Errorf(iris.CodeProcess, "team %s is left alone until %s, for %s more, because %s", team, why.RetryAt.UTC().Format("15:04:05 UTC"), left, reason(why))
	for key, value := range why.Details {
		e.With(key, value)
	}
	e.Retry, e.RetryAt = true, why.RetryAt
	return e.With("hint", fmt.Sprintf("ask again in %s", left))
}

// reason is what the error says without what to do about it.
func reason(e *iris.Error) string {
	hint, _ := e.Details["hint"].(string)
	if n := len(e.Message) - len(hint) - len(": "); hint != "" && n > 0 && e.Message[n:] == ": "+hint {
		return e.Message[:n]
	}
	return e.Message
}

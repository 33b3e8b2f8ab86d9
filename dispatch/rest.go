package dispatch

import (
	"errors"
	"fmt"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// A team whose model takes no requests for now (its plan's limit, an overload) rests: tasks wait,
// for they would only use up their attempts, and who asks is told at once. The first task after
// that finds out how things are. Until then one ask a minute does, for a limit may go before its
// time: somebody logs in with another account, or buys more.

// probeEvery is the pause between two asks that are let through to a resting team.
const probeEvery = time.Minute

// rest is why a team is left alone, until why.RetryAt.
type rest struct {
	why   *iris.Error
	since time.Time
	tried time.Time // when it was last asked all the same
}

// rest leaves the team alone for as long as the error of a turn that began then says, if it
// does. A turn that began since and went well ends it.
func (d *Dispatcher) rest(team string, began time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		if r := d.rests[team]; r != nil && !began.Before(r.since) {
			delete(d.rests, team)
			d.log.Info("team rests no longer: a message came through", "team", team)
			d.queue.Wake()
		}
		return
	}
	e, ok := errors.AsType[*iris.Error](err)
	if !ok || e.Code != iris.CodeProcess || !e.RetryAt.After(time.Now()) {
		return
	}
	if was := d.rests[team]; was != nil && !e.RetryAt.After(was.why.RetryAt) {
		return
	}
	d.rests[team] = &rest{e, time.Now(), time.Now()}
	d.log.Warn("team rests", "team", team, "until", e.RetryAt.Format(time.RFC3339), "because", e.Message)
	time.AfterFunc(time.Until(e.RetryAt), d.queue.Wake)
}

// resting is the team's rest, nil when it has none; with mu held.
func (d *Dispatcher) resting(team string) *rest {
	r := d.rests[team]
	if r != nil && !r.why.RetryAt.After(time.Now()) {
		delete(d.rests, team)
		return nil
	}
	return r
}

// spare is what who asks a resting team is told, nil when the message is to be tried.
func (d *Dispatcher) spare(m iris.Message) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.resting(m.Team)
	if r == nil || m.Task {
		return nil
	}
	if time.Since(r.tried) >= probeEvery {
		r.tried = time.Now()
		return nil
	}
	return spared(m.Team, r.why)
}

// restsUntil is when the team may be asked again; the zero time when it may now.
func (d *Dispatcher) restsUntil(team string) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.resting(team); r != nil {
		return r.why.RetryAt
	}
	return time.Time{}
}

// leftAlone is what a resting team's status says of it, nil when it does not rest.
func (d *Dispatcher) leftAlone(team string) *iris.Error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.resting(team); r != nil {
		return spared(team, r.why)
	}
	return nil
}

// Resting lists the teams whose tasks are to wait now.
func (d *Dispatcher) Resting() (teams []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for team := range d.rests {
		if d.resting(team) != nil {
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

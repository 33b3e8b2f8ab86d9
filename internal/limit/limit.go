// Package limit counts requests: an exact sliding log, in memory. Of every request that it
// lets in it remembers the moment until the window has passed over it, so there are never
// more than the limit in any window, wherever that begins.
//
// A backend that several nodes share would have the same method and pass the same suite,
// limittest.
package limit

import (
	"context"
	"sync"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// sweepEvery is how often what nobody uses any more is looked for.
const sweepEvery = time.Minute

// Memory counts in memory. Its methods may be called at once.
type Memory struct {
	start time.Time // moments are durations since then, by the clock that does not jump
	most  int       // logs; 0 for any number

	mu    sync.Mutex
	logs  map[string]*log
	sweep time.Duration // when the next one is due
}

// log is the moments of one caller's requests, the oldest first.
type log struct {
	moments []time.Duration
	window  time.Duration // the last request's
}

// New makes a Memory that remembers at most so many callers, 0 for any number. Beyond that
// some other is forgotten for a new one, which then may do more than its limit: a bound is
// for callers of whom strangers make any number, such as addresses.
func New(most int) *Memory {
	return &Memory{start: time.Now(), most: most, logs: map[string]*log{}, sweep: sweepEvery}
}

// Take counts one request of who against the limit and says what is left of it. One that is
// refused is not counted. The limit may be another one each time and holds at once, for what
// came before too, as far back as the window reached then. The error is always nil here: a
// shared backend may have one.
func (m *Memory) Take(_ context.Context, who string, l iris.Limit) (iris.Allowance, error) {
	if l.Requests <= 0 {
		return iris.Allowance{Allowed: true}, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	at := time.Now()
	now := at.Sub(m.start)
	if now >= m.sweep {
		m.forget(now)
		m.sweep = now + sweepEvery
	}
	g := m.logs[who]
	if g == nil {
		g = m.add(who)
	}
	g.window = l.Window
	g.pass(now - l.Window)
	a := iris.Allowance{Limit: l}
	if used := len(g.moments); used >= l.Requests {
		next := g.moments[used-l.Requests] + l.Window // when so many have passed that one is free
		a.ResetAt = at.Add(next - now)
		return a, nil
	}
	g.moments = append(g.moments, now)
	a.Allowed, a.Remaining, a.ResetAt = true, l.Requests-len(g.moments), at.Add(l.Window)
	return a, nil
}

// add makes the log of a caller who has none. m.mu is held.
func (m *Memory) add(who string) *log {
	for other := range m.logs { // whichever comes first: a search for the oldest would be work that a stranger can order
		if m.most == 0 || len(m.logs) < m.most {
			break
		}
		delete(m.logs, other)
	}
	g := &log{}
	m.logs[who] = g
	return g
}

// forget drops the logs of which nothing is left. m.mu is held.
func (m *Memory) forget(now time.Duration) {
	for who, g := range m.logs {
		if g.pass(now - g.window); len(g.moments) == 0 {
			delete(m.logs, who)
		}
	}
}

// pass drops the moments up to a moment, which is no longer in the window either.
func (g *log) pass(until time.Duration) {
	n := 0
	for n < len(g.moments) && g.moments[n] <= until {
		n++
	}
	if n == 0 {
		return
	}
	if rest := g.moments[n:]; len(rest) < cap(g.moments)/4 {
		g.moments = append([]time.Duration(nil), rest...) // a burst does not hold its memory for ever
	} else {
		g.moments = rest
	}
}

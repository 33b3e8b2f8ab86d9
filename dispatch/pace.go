package dispatch

import (
	"slices"
	"sync"
	"time"
)

// pace remembers when the last turns were over, which is when places in the queue became free.
type pace struct {
	mu   sync.Mutex
	ends []time.Time // the last ones, oldest first
}

const (
	paceOf     = 20               // ends that are remembered
	shortest   = time.Second      // that somebody is told to wait
	unknown    = 5 * time.Second  // while there is nothing to go by
	longestGap = 10 * time.Minute // no estimate is further off
)

func (p *pace) over() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ends) == paceOf {
		p.ends = append(p.ends[:0], p.ends[1:]...)
	}
	p.ends = append(p.ends, time.Now())
}

// next is when a place will probably be free: after the usual gap between two ends (the median:
// an hour in which nobody asked anything says nothing of now), or if there was none for longer
// than that, after so long again.
func (p *pace) next() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, n := time.Now(), len(p.ends)
	if n == 0 {
		return now.Add(unknown)
	}
	since := now.Sub(p.ends[n-1])
	wait := since
	if n > 1 {
		gaps := make([]time.Duration, n-1)
		for i := range gaps {
			gaps[i] = p.ends[i+1].Sub(p.ends[i])
		}
		slices.Sort(gaps)
		wait = max(since, gaps[len(gaps)/2]-since)
	}
	return now.Add(min(max(wait, shortest), longestGap))
}

package pool

import (
	"context"
	"fmt"
	"slices"

	"github.com/iris-mcp/iris-mcp"
)

// errClosing is what everybody is told who still wants something of a pool that closes.
var errClosing = iris.Errorf(iris.CodeShuttingDown, "Iris is shutting down; ask again when it is back")

// waiter is somebody who waits for a process.
type waiter struct {
	// find gives what is waited for, or false while it is not there; with mu held.
	find func() (place, bool)
	got  chan place // takes one
}

// place is a process that somebody was given. A turn that was given a new one must launch it.
type place struct {
	process *process
	starts  bool // it is a new one
}

// await gives what find finds, at once or after a change. Whoever came first is served first:
// who comes later only overtakes where the other's process cannot be had yet, for his session
// is busy or his team is full. (The priority of messages was heeded when the queue let them
// go; here it would let the low ones starve.)
func (p *Pool) await(ctx context.Context, find func() (place, bool)) (place, error) {
	w := &waiter{find, make(chan place, 1)}
	p.mu.Lock()
	if p.closing.Err() != nil {
		p.mu.Unlock()
		return place{}, errClosing
	}
	if len(p.line) == 0 {
		if got, ok := find(); ok {
			p.mu.Unlock()
			return got, nil
		}
	}
	p.line = append(p.line, w)
	p.serveLine()
	p.mu.Unlock()

	var err error
	select {
	case got := <-w.got:
		return got, nil
	case <-ctx.Done():
		err = fmt.Errorf("wait for a process: %w", context.Cause(ctx))
	case <-p.closing.Done():
		err = errClosing
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.line, w); i >= 0 {
		p.line = slices.Delete(p.line, i, i+1)
		return place{}, err
	}
	return <-w.got, nil // it was served in the same moment, and will find out by itself
}

// serveLine gives everybody in the line what can be had now; with mu held.
func (p *Pool) serveLine() {
	if p.closing.Err() != nil {
		return // they are told
	}
	waits := p.line[:0]
	for _, w := range p.line {
		if got, ok := w.find(); ok {
			w.got <- got
		} else {
			waits = append(waits, w)
		}
	}
	clear(p.line[len(waits):])
	p.line = waits
}

package agent

import (
	"errors"
	"syscall"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// turnNotBegun is the result of a turn of which the CLI reported nothing.
var turnNotBegun = iris.Result{Metadata: iris.Metadata{FilesAccessed: []string{}, ToolsUsed: []string{}}}

var errStopped = errors.New("the agent was stopped")

// Close ends the agent, in the order in which least is lost and least is left over: interrupt
// what runs and wait for its result, close stdin, SIGTERM, SIGKILL to the group, each after a
// grace; then it ends whatever the agent has started and left running. It returns when all
// that is over. A turn under way fails. Close may be called again and at once.
//
// The exit status says nothing: after an interrupt it is 1 (interrupt_before_first_token).
func (a *Agent) Close() error {
	a.stop.Do(func() {
		close(a.closing)
		select {
		case <-a.shut:
		case <-a.done:
		}
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			if a.over() {
				return
			}
			a.log.Warn("the agent does not end", "signal", sig)
			if sig == syscall.SIGKILL {
				a.child.Kill()
			} else {
				a.child.Signal(sig)
			}
		}
	})
	<-a.done
	return nil
}

// over waits for the process to end, for as long as the grace is.
func (a *Agent) over() bool {
	limit := time.NewTimer(a.grace)
	defer limit.Stop()
	select {
	case <-a.reaped:
		return true
	case <-limit.C:
		return false
	}
}

// leave begins the end. The interrupt is also for background tasks, for which the CLI would
// wait five seconds once its stdin is closed.
func (a *Agent) leave() {
	a.leaving, a.leaveBy = true, time.Now().Add(a.grace)
	if t := a.turn; t != nil {
		cause := errStopped
		if !t.sent {
			cause = errors.Join(cause, iris.ErrNotBegun)
		}
		a.breakOff(problem("the agent of team "+a.team.Name+" was stopped", hintAgain).Because(cause))
	} else {
		a.interrupt()
	}
}

// shutStdin closes the CLI's stdin once what is queued is written, or given up.
func (a *Agent) shutStdin() {
	if !a.isShut {
		a.isShut = true
		a.queue = nil
		close(a.writes)
		close(a.shut)
	}
}

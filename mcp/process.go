package mcp

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// readyIn is how long a wake may take; a start alone is given as long.
const readyIn = time.Minute

type wakeArgs struct {
	Team string `json:"team" jsonschema:"one team's name, or * for all but your own"`
}

type wakeAnswer struct {
	Awake int     `json:"awake" jsonschema:"how many teams are awake"`
	Teams []awake `json:"teams" jsonschema:"one for each team"`
}

// awake is what became of one team that was to wake.
type awake struct {
	Team    string   `json:"team"`
	Awake   bool     `json:"awake"`
	Started bool     `json:"started,omitempty" jsonschema:"a process was started; else one ran already"`
	Error   *problem `json:"error,omitempty" jsonschema:"why it is not awake"`
}

// failed makes the result an error when no team is awake.
func (a wakeAnswer) failed() bool { return a.Awake == 0 }

func (a wakeAnswer) text() string {
	var lines []string
	for _, t := range a.Teams {
		switch {
		case !t.Awake:
			lines = append(lines, t.Team+" is not awake: "+strings.ReplaceAll(t.Error.text(), "\n", " "))
		case t.Started:
			lines = append(lines, t.Team+" is awake now.")
		default:
			lines = append(lines, t.Team+" was awake already.")
		}
	}
	return strings.Join(lines, "\n")
}

func (s *Server) wake(ctx context.Context, c call[wakeArgs]) (wakeAnswer, error) {
	names, err := s.chosen(c.Who, teamNames{c.Args.Team})
	if err != nil {
		return wakeAnswer{}, err
	}
	ctx, stop := context.WithTimeoutCause(ctx, readyIn, errPatience)
	defer stop()
	a := wakeAnswer{Teams: make([]awake, len(names))}
	var starting sync.WaitGroup
	for i, name := range names {
		a.Teams[i] = awake{Team: name, Error: problemOf(internal)} // stays so if it panics
		starting.Go(func() {
			defer s.survive()
			if c.Progress != nil {
				l := c.Progress.add(name, "waking")
				defer c.Progress.set(l, "awake")
			}
			// One team may take another's place; all of them would take each other's.
			started, err := s.wakeOne(ctx, c.Who, name, c.Args.Team != "*")
			if err != nil {
				a.Teams[i].Error = problemOf(err)
				return
			}
			a.Teams[i] = awake{Team: name, Awake: true, Started: started}
		})
	}
	starting.Wait()
	if e := a.Teams[0].Error; e != nil && c.Args.Team != "*" {
		return a, &iris.Error{Code: e.Code, Message: e.Message, Details: e.Details, Retry: e.Retry}
	}
	for _, t := range a.Teams {
		if t.Awake {
			a.Awake++
		}
	}
	return a, nil
}

func (s *Server) wakeOne(ctx context.Context, who iris.Caller, name string, evict bool) (started bool, err error) {
	if !who.Reaches(name) {
		return false, iris.Errorf(iris.CodeForbidden, "the key %q may not reach team %q", who.Name, name)
	}
	started, err = s.d.Wake(ctx, name, evict)
	if err == nil || ctx.Err() == nil {
		return started, err
	}
	switch cause := context.Cause(ctx); cause {
	case errPatience:
		return false, iris.Errorf(iris.CodeTimeout, "no process of team %q was ready within %s; it goes on starting, and there is no need to wait before you ask", name, readyIn)
	case errCancelled:
		return false, iris.Errorf(iris.CodeCancelled, "the call was cancelled; team %q wakes all the same", name)
	default:
		return false, iris.Errorf(iris.CodeShuttingDown, "Iris stopped waiting for team %q", name).Because(cause)
	}
}

type sleepArgs struct {
	Team string `json:"team" jsonschema:"the team's name"`
}

type sleepAnswer struct {
	Team      string `json:"team"`
	Ended     int    `json:"ended" jsonschema:"processes that have ended"`
	Finishing int    `json:"finishing" jsonschema:"busy processes that end when they are done"`
}

func (a sleepAnswer) text() string {
	switch {
	case a.Finishing > 0:
		return fmt.Sprintf("Team %s: processes that ended: %d; busy ones that end when they are done: %d.", a.Team, a.Ended, a.Finishing)
	case a.Ended > 0:
		return fmt.Sprintf("Team %s sleeps now; processes that ended: %d.", a.Team, a.Ended)
	}
	return fmt.Sprintf("Team %s slept already.", a.Team)
}

func (s *Server) sleep(ctx context.Context, c call[sleepArgs]) (sleepAnswer, error) {
	if !c.Who.Reaches(c.Args.Team) {
		return sleepAnswer{}, iris.Errorf(iris.CodeForbidden, "the key %q may not reach team %q", c.Who.Name, c.Args.Team)
	}
	slept, err := s.d.Sleep(ctx, c.Args.Team, false)
	return sleepAnswer{c.Args.Team, slept.Ended, slept.Finishing}, err
}

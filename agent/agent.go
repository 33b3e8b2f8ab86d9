// Package agent runs the Claude Code CLI of one conversation: it starts the program in its
// team's folder, speaks its stream-json protocol and turns what it says into events.
//
// A Launcher starts Agents. An Agent is one process and one conversation; Turn puts a message
// to it and blocks until the answer is there. One goroutine reads what the CLI prints, one
// writes what it is told, and one, run, owns everything that is known about the conversation:
// what the two others and the callers of the methods want goes through its channels.
//
// Where the protocol is odd, a comment says in which recording it was seen; the recordings
// are testdata/transcripts, of Claude Code 2.1.197 and 2.1.330 (in v2.1.330).
package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/process"
)

// Config is what a Launcher needs. Keeper and Log must be there.
type Config struct {
	Keeper *process.Keeper
	Log    *slog.Logger

	// StartTimeout is how long a CLI may take until it is ready; zero is a minute.
	StartTimeout time.Duration
	// Grace is how long an agent waits for what normally takes milliseconds before it takes
	// the next harder step: interrupt, end of input, SIGTERM, SIGKILL. Zero is five seconds,
	// which is also what the CLI gives its own background tasks.
	Grace time.Duration
}

// Launcher starts agents. It may be used by many at once; how many CLIs start at the same
// time is for its user to bound.
type Launcher struct {
	cfg Config
}

// New makes a Launcher.
func New(cfg Config) *Launcher {
	cfg.StartTimeout = cmp.Or(cfg.StartTimeout, time.Minute)
	cfg.Grace = cmp.Or(cfg.Grace, 5*time.Second)
	return &Launcher{cfg}
}

// Start starts the CLI of the team for the conversation agentID, a UUID: a new one, or with
// resume the one that it knows by that id. It returns when the CLI is ready, which costs no
// model call. The agent lives until Close, or its own death; the context is only the start's.
//
// What goes wrong is a PROCESS_ERROR whose message says what to do. It wraps
// iris.ErrConversationLost or iris.ErrConversationTaken where one of them is why, and the
// cause of the context when that ended first.
func (l *Launcher) Start(ctx context.Context, team iris.Team, agentID string, resume bool) (*Agent, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, startFailed(team, err)
	}
	cmd, err := command(team, agentID, resume)
	if err != nil {
		return nil, err
	}
	a, err := l.launch(cmd, team)
	if err != nil {
		return nil, notExecutable(team, err)
	}
	limit := time.NewTimer(l.cfg.StartTimeout)
	defer limit.Stop()
	select {
	case <-a.ready:
		return a, nil
	case <-a.done:
		return nil, a.diedAtStart()
	case <-limit.C:
		err = startTookTooLong(team, l.cfg.StartTimeout)
	case <-ctx.Done():
		err = startFailed(team, context.Cause(ctx))
	}
	a.child.Kill() // no conversation has begun: there is nothing to end in order
	<-a.done
	return nil, err
}

// Agent is a running CLI that holds one conversation. Its methods may be called at once.
type Agent struct {
	team  iris.Team
	grace time.Duration
	log   *slog.Logger
	child *process.Child
	tail  *tail // of stderr

	ready   chan struct{}  // closed when the CLI has answered initialize
	turns   chan *turn     // Turn → run
	decided chan *decision // from the goroutines that ask Decide → run
	lines   chan line      // read → run; closed at the end of stdout
	writes  chan []byte    // run → write; closed to close the CLI's stdin
	written atomic.Int64   // how many of them the CLI's stdin has taken whole
	reaped  chan struct{}  // closed when the process is over; exit is set then
	exit    error
	done    chan struct{} // closed when run, read, write and the sweep are over

	stop    sync.Once
	closing chan struct{} // closed by Close
	shut    chan struct{} // closed when run has closed writes

	state // belongs to run
}

// launch starts the process and the goroutines that serve it.
func (l *Launcher) launch(cmd *exec.Cmd, team iris.Team) (*Agent, error) {
	a := newAgent(team, l.cfg.Log.With("team", team.Name), l.cfg.Grace)
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	stdout, out, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close(), stdin.Close())
	}
	stderr, errs, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close(), stdin.Close(), stdout.Close(), out.Close())
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errs
	a.child, err = l.cfg.Keeper.Start(cmd)
	for _, theirs := range []*os.File{in, out, errs} {
		theirs.Close()
	}
	if err != nil {
		return nil, errors.Join(err, stdin.Close(), stdout.Close(), stderr.Close())
	}

	var serving sync.WaitGroup
	serving.Go(func() { a.read(stdout) })
	serving.Go(func() { a.write(stdin) })
	serving.Go(func() { a.tail.read(stderr) })
	serving.Go(func() {
		a.exit = a.child.Wait()
		close(a.reaped)
		if n := a.child.Sweep(); n > 0 {
			a.log.Info("ended what the agent left running", "count", n)
		}
	})
	go func() {
		a.run()
		stdout.Close() // a process that escaped the sweep may still hold its other end
		stderr.Close()
		for range a.lines { // read may have some more
		}
		serving.Wait()
		close(a.done)
	}()
	return a, nil
}

// newAgent makes an agent without a process.
func newAgent(team iris.Team, log *slog.Logger, grace time.Duration) *Agent {
	return &Agent{
		team:    team,
		grace:   grace,
		log:     log,
		tail:    newTail(),
		ready:   make(chan struct{}),
		turns:   make(chan *turn),
		decided: make(chan *decision),
		lines:   make(chan line, 64),
		writes:  make(chan []byte),
		reaped:  make(chan struct{}),
		done:    make(chan struct{}),
		closing: make(chan struct{}),
		shut:    make(chan struct{}),
		state: state{
			asked: map[string]func(controlResponse){},
			open:  map[string]*decision{},
			round: newRound(team.Path),
		},
	}
}

// Done is closed when the process has gone and everything it started with it.
func (a *Agent) Done() <-chan struct{} { return a.done }

// PID is the process id of the CLI.
func (a *Agent) PID() int { return a.child.PID() }

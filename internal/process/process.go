// Package process starts every child of Iris, and sees to it that none outlives its purpose.
//
// The Claude Code CLI starts children of its own (a Bash tool is a session of its own, and
// what it detached outlives even a kill of its group), so a signal to the CLI is not enough.
// Five rules, each tried against the real thing:
//
//   - A child carries a mark in its environment, IRIS_MARK=<data folder>/<run>.<nonce>, which all
//     its descendants inherit. What carries the mark can be found and ended, also by the next
//     run of Iris.
//   - Iris is a subreaper: orphans among its descendants become its own children.
//   - A child leads a process group of its own and is killed by the kernel when Iris dies.
//     The kernel means the death of the thread that started it, so every child is started by
//     one goroutine that is locked to its thread and lives as long as its Keeper.
//   - When a child is over, the marked ones are looked for and killed until two looks in a row
//     find none. A guard (guard.go) does so when Iris itself is over, however it ended.
//   - Adopted zombies are reaped one by one, and only those that nobody else waits for: a
//     wait for any child would steal the exit codes of exec.Cmd.
//
// That is Linux. On macOS there is neither a subreaper nor a death signal: groups, marks and
// sweeps work by the process table, so what Iris leaves behind when it is killed is ended by
// the guard or at the next start. Elsewhere only the process itself is ended. Neither was run by us.
//
// Found by none of this while Iris lives: a process that was detached and has thrown away its
// environment. It is ended when Iris ends in good order.
package process

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mark is the variable that every child finds in its environment.
const Mark = "IRIS_MARK"

// Marked is the mark that this program found in its own environment. It is empty, unless the
// program runs inside the Claude Code of a team: then it must not own anything that is to
// last, for it will be swept away with that process.
func Marked() string { return os.Getenv(Mark) }

// own holds the children that somebody waits for. It is the program's and not a Keeper's,
// because so are the children. Starting a child and entering it here is one step under the
// lock, and so is looking up a zombie and reaping it.
var own = struct {
	sync.Mutex
	pids map[int]bool
}{pids: map[int]bool{}}

var errClosed = errors.New("shutting down: no process is started any more")

// Keeper starts children and ends what they leave behind. A program has one. Its methods may
// be called at once.
type Keeper struct {
	prefix string // of the mark: "IRIS_MARK=<dataID>/"
	run    string // of this Keeper's marks: prefix, a nonce and a dot
	log    *slog.Logger

	starts  chan func() // run by the one goroutine that starts children
	closed  chan struct{}
	running sync.WaitGroup // the starter and the reaper

	mu       sync.Mutex
	children map[*Child]bool // started and not yet waited for
	over     bool
	guard    *guard // nil without one
}

// New makes a Keeper whose marks name the data folder by dataID, any text without a slash.
func New(dataID string, log *slog.Logger) *Keeper {
	prefix := Mark + "=" + dataID + "/"
	k := &Keeper{
		prefix:   prefix,
		run:      prefix + rand.Text() + ".",
		log:      log,
		starts:   make(chan func()),
		closed:   make(chan struct{}),
		children: map[*Child]bool{},
	}
	if err := adopt(); err != nil {
		log.Warn("orphans of the agents will not come to Iris", "err", err)
	}
	k.running.Go(k.start)
	k.running.Go(func() { reap(k.closed) })
	return k
}

// start runs what Start hands to it. The thread is never given back: a child dies with it.
func (k *Keeper) start() {
	runtime.LockOSThread()
	for {
		select {
		case f := <-k.starts:
			f()
		case <-k.closed:
			return
		}
	}
}

// Start starts the command as Cmd.Start does, in a process group of its own and marked. The
// command must not be started or waited for by anybody else; call Wait on the child, always.
// A nil Env is this program's, as usual.
func (k *Keeper) Start(cmd *exec.Cmd) (*Child, error) {
	c := &Child{keeper: k, cmd: cmd, mark: k.run + rand.Text()}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	attributes(cmd.SysProcAttr)
	cmd.Env = append(cmd.Environ(), c.mark)

	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return nil, errClosed
	}
	if err := k.enter(cmd); err != nil {
		return nil, err
	}
	k.children[c] = true
	return c, nil
}

// enter starts the command on the starter's thread and enters it among our own.
func (k *Keeper) enter(cmd *exec.Cmd) error {
	started := make(chan error)
	k.starts <- func() {
		own.Lock()
		defer own.Unlock()
		err := cmd.Start()
		if err == nil {
			own.pids[cmd.Process.Pid] = true
		}
		started <- err
	}
	return <-started
}

// reaped waits for the command's end and takes it out of our own.
func reaped(cmd *exec.Cmd) error {
	err := cmd.Wait()
	own.Lock()
	defer own.Unlock()
	delete(own.pids, cmd.Process.Pid)
	return err
}

// SweepAll ends what an earlier run for the same data folder left behind: every process with
// the mark of this folder that no living child of this Keeper accounts for, and all their
// descendants. While no child lives it also ends the unmarked orphans that came to us. It
// returns how many it killed, and gives up when the context ends.
func (k *Keeper) SweepAll(ctx context.Context) int {
	k.mu.Lock()
	living := make(map[string]bool, len(k.children))
	for c := range k.children {
		living[c.mark] = true
	}
	k.mu.Unlock()
	return k.sweep(ctx, len(living) == 0, func(mark string) bool {
		return strings.HasPrefix(mark, k.prefix) && !living[mark]
	})
}

// Close kills the children that still run, sweeps up everything and starts no more.
// Whoever waits for a child is told as usual.
func (k *Keeper) Close() error {
	k.mu.Lock()
	if k.over {
		k.mu.Unlock()
		return nil
	}
	k.over = true
	for c := range k.children {
		c.Kill()
	}
	clear(k.children) // so the sweep spares none of them
	k.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), sweepLimit)
	defer cancel()
	if n := k.SweepAll(ctx); n > 0 {
		k.log.Info("ended processes that were left over", "count", n)
	}
	k.dismiss()
	close(k.closed)
	k.running.Wait()
	return nil
}

// Child is a process that a Keeper started. Its methods may be called at once.
type Child struct {
	keeper *Keeper
	cmd    *exec.Cmd
	mark   string // "IRIS_MARK=<dataID>/<nonce of the run>.<nonce>"

	wait sync.Once
	err  error
}

// PID is the child's process id, which is also the id of its group.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Wait waits for the end of the child as Cmd.Wait does, and returns what that returned.
func (c *Child) Wait() error {
	c.wait.Do(func() {
		c.err = reaped(c.cmd)
		c.keeper.mu.Lock()
		delete(c.keeper.children, c)
		c.keeper.mu.Unlock()
	})
	return c.err
}

// Signal sends a signal to the child alone.
func (c *Child) Signal(sig os.Signal) error { return c.cmd.Process.Signal(sig) }

// Kill kills the child's process group at once. Descendants with a group of their own stay:
// they are for Sweep, after the child's end.
func (c *Child) Kill() {
	killGroup(c.cmd.Process)
}

// Sweep ends all descendants of the child, and the child too if it still runs. It returns how
// many it killed.
func (c *Child) Sweep() int {
	ctx, cancel := context.WithTimeout(context.Background(), sweepLimit)
	defer cancel()
	return c.keeper.sweep(ctx, false, func(mark string) bool { return mark == c.mark })
}

// sweepLimit bounds a sweep: a process that does not die of SIGKILL by then hangs in the
// kernel, and waiting for it would hang us too.
const sweepLimit = 3 * time.Second

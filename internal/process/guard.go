package process

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// guard is a second copy of this program, which outlives it by a moment. The kernel kills our
// children when we are killed, but not what they have started in sessions of their own (a
// Bash tool at work); the guard ends those.
type guard struct {
	cmd  *exec.Cmd
	line io.Closer // the guard watches its other end: it breaks when we are gone
}

// Guard starts the guard: the program with these arguments and then one more, which it must
// give to StandGuard. The guard is no Child: it has no mark, a session of its own, and ends
// by itself after us.
func (k *Keeper) Guard(program string, args ...string) error {
	in, line, err := os.Pipe() // closed at exec, so no child of ours holds it open after us
	if err != nil {
		return fmt.Errorf("start the guard: %w", err)
	}
	defer in.Close()
	cmd := exec.Command(program, append(args[1:], k.run)...)
	cmd.Args[0] = args[0]
	cmd.Stdin = in
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		line.Close()
		return errClosed
	}
	if err := k.enter(cmd); err != nil {
		line.Close()
		return fmt.Errorf("start the guard: %w", err)
	}
	k.guard = &guard{cmd: cmd, line: line}
	return nil
}

// dismiss lets the guard go, which has nothing left to do, and waits for it.
func (k *Keeper) dismiss() {
	if k.guard == nil {
		return
	}
	k.guard.line.Close()
	late := time.AfterFunc(sweepLimit, func() { k.guard.cmd.Process.Kill() })
	defer late.Stop()
	if err := reaped(k.guard.cmd); err != nil {
		k.log.Warn("the guard did not end well", "error", err)
	}
}

// StandGuard is the guard's work: it waits until line breaks, because the program that holds
// its other end has gone, and ends every process that carries a mark of that program's run.
// Signals that ended the program are not for the guard.
func StandGuard(line io.Reader, run string) error {
	if !strings.HasPrefix(run, Mark+"=") || !strings.HasSuffix(run, ".") {
		return fmt.Errorf("%q is no run to guard: Iris itself starts this", run)
	}
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	io.Copy(io.Discard, line) // nothing ever comes but the end
	ctx, cancel := context.WithTimeout(context.Background(), sweepLimit)
	defer cancel()
	k := &Keeper{log: slog.New(slog.DiscardHandler)}
	k.sweep(ctx, false, func(mark string) bool { return strings.HasPrefix(mark, run) })
	return nil
}

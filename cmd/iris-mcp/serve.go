package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/owner"
	"github.com/iris-mcp/iris-mcp/internal/process"
	"github.com/iris-mcp/iris-mcp/internal/store"
	"github.com/iris-mcp/iris-mcp/mcp"
)

func serveCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve MCP on stdio and HTTP, in one process",
		Long: `Serve the teams to everybody who may ask them: over MCP on stdio when stdin is a pipe or a
socket, as it is when Claude Code starts iris-mcp, and over HTTP unless api.enabled is false.

The first server on a data folder owns it. A second one passes its MCP client on to the first
and starts nothing of its own.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := homeDir(cmd)
			if err != nil {
				return err
			}
			file, err := configFile(cmd, true)
			if err != nil {
				return err
			}
			httpOnly, _ := cmd.Flags().GetBool("http-only")
			s := server{home: home, configFile: file, log: os.Stderr}
			if !httpOnly && isMCP(os.Stdin) {
				s.in, s.out = os.Stdin, os.Stdout
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return s.run(ctx)
		},
	}
	cmd.Flags().Bool("http-only", false, "do not speak MCP on stdio")
	return cmd
}

// isMCP reports whether an MCP client may be at the other end: a pipe or a socket. A terminal,
// /dev/null or a file is none.
func isMCP(stdin *os.File) bool {
	info, err := stdin.Stat()
	return err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0
}

// untilSignal ends its context at the first signal to stop. A second one means now: what
// runs is ended at once, and settled by the next start. Whoever started the server may have
// had it ignore a signal, as nohup does; it stays ignored.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(sig) {
			signal.Notify(signals, sig)
		}
	}
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
		<-signals
		os.Exit(exitInterrupted)
	}()
	return ctx, cancel
}

// server is what one iris-mcp serve is given.
type server struct {
	home       string    // the data folder
	configFile string    // absolute
	in         io.Reader // the MCP client; nil without one
	out        io.Writer
	log        io.Writer
	ready      func(url string) // called once HTTP answers; may be nil
}

// run serves until the context or the MCP client ends: as the owner of the data folder, or as
// a relay to whoever owns it.
func (s server) run(ctx context.Context) (err error) {
	if process.Marked() != "" {
		return s.relay(ctx, "this iris-mcp was started by a team's own Claude, so it only passes calls on")
	}
	own, err := owner.Take(s.home)
	for errors.Is(err, owner.ErrTaken) {
		err = s.relay(ctx, "another iris-mcp serves this data folder")
		if !errors.Is(err, owner.ErrNoOwner) || ctx.Err() != nil {
			return err
		}
		own, err = owner.Take(s.home) // it ended before it heard of the client
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, own.Close()) }()
	log, closeLog, err := openLog(s.home, s.log)
	if err != nil {
		return err
	}
	defer closeLog()
	return s.untilServed(ctx, log, func() error { return s.own(ctx, own, log) })
}

// untilServed starts to serve again and again while the disk is full, as Iris would wait for room
// if it ran: whoever restarts it gives up at some time. An MCP client is told at once.
func (s server) untilServed(ctx context.Context, log *slog.Logger, own func() error) error {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		err := own()
		e, ok := errors.AsType[notStarted](err)
		if !ok || s.in != nil || !store.Passes(e.error) || ctx.Err() != nil {
			return err
		}
		log.Error("Iris cannot start; it tries again", "in", pause, "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// notStarted is why nothing was served.
type notStarted struct{ error }

func (e notStarted) Unwrap() error { return e.error }

// relay passes the MCP client on to the owner. Without a client there is nothing to do here.
func (s server) relay(ctx context.Context, why string) error {
	if s.in == nil {
		return fmt.Errorf("%s, and there is no MCP client on stdin: nothing to do here; %q shows what runs", why, "iris-mcp status")
	}
	log := slog.New(shownLog(s.log, s.log))
	log.Info("relaying", "because", why, "home", s.home)
	return owner.Relay(ctx, s.home, s.hello(), s.in, s.out, log)
}

// hello says to the owner who its client is.
func (s server) hello() owner.Hello {
	cwd, _ := os.Getwd() // unknown is nobody's folder
	return owner.Hello{
		Iris: 1, Cwd: cwd, ProjectDir: os.Getenv("CLAUDE_PROJECT_DIR"),
		Version: version, Config: s.configFile, PID: os.Getpid(),
	}
}

// caller is who an MCP client is, by the folder that it works in.
func caller(h owner.Hello, teams []iris.Team) iris.Caller {
	return mcp.CallerOf(cmp.Or(h.ProjectDir, h.Cwd), teams)
}

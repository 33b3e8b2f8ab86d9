package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	sdk "github.com/iris-mcp/go-client"
	"github.com/iris-mcp/iris-mcp"
	"github.com/spf13/cobra"
)

func askCmd() *cobra.Command {
	var o struct {
		json    bool
		fresh   bool
		session string
		timeout time.Duration
	}
	cmd := &cobra.Command{
		Use:   "ask TEAM [QUESTION]",
		Short: "Ask a team and read its answer",
		Long: `Ask a team and read its answer, as it is written on a terminal, whole when it goes elsewhere.

What is piped in is the question, or is put below the one on the command line:

  git diff | iris-mcp ask backend "Is this change safe?"

Questions continue your standing conversation with the team, unless --new or --session names
another. Without --timeout the wait is as long as the team may take.

At a terminal you are asked for what the team needs leave for; elsewhere that is denied unless
the team's configuration allows it.

Ctrl-C cancels the message: the team stops.`,
		Args:              teamAndText("question"),
		ValidArgsFunction: completeTeam,
		RunE: func(cmd *cobra.Command, args []string) error {
			question, err := textOf(cmd.InOrStdin(), args[1:], "question")
			if err != nil {
				return err
			}
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var options []sdk.StreamOption
			if o.fresh {
				o.session = iris.NewID("cli_")
			}
			if o.session != "" {
				options = append(options, sdk.WithSession(o.session))
			}
			ctx, cancel := patience(cmd.Context(), o.timeout)
			defer cancel()
			r := newReader(cmd, client, args[0], o.json)
			if r.live && isTerminal(cmd.InOrStdin()) {
				r.leave = newLeave(client, cmd.InOrStdin(), cmd.ErrOrStderr(), args[0])
				options = append(options, sdk.Attended())
			}
			r.question = question
			r.stopOnInterrupt = true
			return r.follow(ctx, client.Teams.Team(args[0]).Stream(ctx, question, options...))
		},
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print the answer and all that is known of it as JSON")
	cmd.Flags().BoolVar(&o.fresh, "new", false, "begin a fresh conversation")
	cmd.Flags().StringVar(&o.session, "session", "", "continue that conversation: a name of your own, or the sessionId of an earlier answer")
	cmd.Flags().Var((*duration)(&o.timeout), "timeout", "wait no longer than this: 90s, 5m (the team goes on)")
	cmd.MarkFlagsMutuallyExclusive("new", "session")
	return clientFlags(cmd)
}

// teamAndText wants a team, and maybe words.
func teamAndText(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf(`which team? %s TEAM "…"; "iris-mcp team list" shows them`, cmd.CommandPath())
		}
		if len(args) > 2 {
			return fmt.Errorf(`put the %s in quotes: %s %s "%s"`, what, cmd.CommandPath(), args[0], strings.Join(args[1:], " "))
		}
		return nil
	}
}

// textOf is what is said to the team: the words of the command line, and below them what was
// piped in. A socket, which is what some programs give their children for a stdin that they
// never write to, is read only if there are no words.
func textOf(stdin io.Reader, words []string, what string) (string, error) {
	text := strings.Join(words, " ")
	if piped(stdin, text == "") {
		more, err := io.ReadAll(stdin)
		if err != nil {
			return "", fmt.Errorf("read the %s: %w", what, err)
		}
		if !utf8.Valid(more) {
			return "", usage("what is piped in is not text in UTF-8: a team can read a file of its own, so name it; iconv converts other text")
		}
		if strings.TrimSpace(string(more)) != "" {
			text = strings.TrimSpace(text + "\n\n" + strings.TrimRight(string(more), "\n"))
		}
	}
	if strings.TrimSpace(text) == "" {
		return "", usage("the %s is empty: put it in quotes behind the team, or pipe it in", what)
	}
	return text, nil
}

// piped reports whether stdin has something for us.
func piped(stdin io.Reader, sockets bool) bool {
	f, ok := stdin.(*os.File)
	if !ok {
		return true
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	mode := info.Mode()
	return mode.IsRegular() || mode&os.ModeNamedPipe != 0 || sockets && mode&os.ModeSocket != 0
}

// Why a wait ended before its answer.
var (
	errInterrupted = errors.New("interrupted")
	errLate        = errors.New("late")
)

// patience is a context that ends with Ctrl-C, SIGTERM, or after the timeout unless that is 0.
// A second Ctrl-C ends the program at once.
func patience(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	signalled, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(signalled, func() {
		stop() // from here on signals do what they do by default
		cancel(errInterrupted)
	})
	end := func() { cancel(nil) }
	if timeout == 0 {
		return ctx, end
	}
	ctx, late := context.WithTimeoutCause(ctx, timeout, errLate)
	return ctx, func() { late(); end() }
}

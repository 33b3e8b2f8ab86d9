package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	sdk "github.com/iris-mcp/go-client"
	"github.com/spf13/cobra"
)

// reader follows one message to its end and shows it: piece by piece on a terminal, else the
// whole answer and nothing but it. What the team is doing goes to a line of stderr.
type reader struct {
	client          *sdk.Client
	team            string
	question        string
	stopOnInterrupt bool // Ctrl-C cancels the message; else it only ends the wait
	json            bool
	live            bool // a person reads the answer while it is written
	out, err        io.Writer
	line            *statusLine
	leave           *leave // asks the person for leave; nil where nobody sits

	id      string // of the message, once it is known
	session string
	wrote   bool // some of the answer was shown
	newline bool // what was shown ends its line
	lent    bool // …by a line end that was not the answer's
}

func newReader(cmd *cobra.Command, client *sdk.Client, team string, asJSON bool) *reader {
	out, err := cmd.OutOrStdout(), cmd.ErrOrStderr()
	return &reader{
		client: client, team: team, json: asJSON,
		live: !asJSON && isTerminal(out),
		out:  out, err: err, line: newStatusLine(err), newline: true,
	}
}

// follow shows the events up to the last, and then what is still to be shown.
func (r *reader) follow(ctx context.Context, events iter.Seq2[sdk.Event, error]) error {
	defer r.line.Close()
	r.line.Show(r.team + " · no word yet")
	for e, err := range events {
		if err != nil {
			r.endLine()
			return r.ended(ctx, err)
		}
		r.show(ctx, e)
	}
	r.endLine()
	r.line.Hide()
	if r.live && r.wrote {
		return nil
	}
	m, err := r.client.Messages.Get(ctx, r.id)
	if err != nil {
		return r.ended(ctx, err)
	}
	if r.json {
		return printJSON(r.out, r.answer(m))
	}
	text := m.Response
	if r.live {
		text = printable(text)
	}
	_, err = fmt.Fprintln(r.out, strings.TrimRight(text, "\n"))
	return err
}

// answer is the message in the form of an answer to ask.
func (r *reader) answer(m *sdk.Message) sdk.Answer {
	question := r.question
	if question == "" {
		question = m.Message
	}
	return sdk.Answer{
		MessageID: m.MessageID, Team: m.Team, Question: question, Response: m.Response,
		Duration: sdk.Duration{Duration: m.CompletedAt.Sub(m.CreatedAt.Time)}, Timestamp: m.CompletedAt,
		SessionID: r.session, Metadata: m.Metadata,
	}
}

func (r *reader) show(ctx context.Context, e sdk.Event) {
	if r.id == "" {
		r.id = e.MessageID
	}
	switch e.Kind {
	case sdk.EventStart:
		r.session = e.SessionID
	case sdk.EventChunk:
		r.write(e.Text)
	case sdk.EventThinking:
		r.doing("thinking")
	case sdk.EventToolUse:
		r.doing(e.Tool + " " + subject(e))
	case sdk.EventToolResult:
		r.doing("thinking")
	case sdk.EventPermission:
		r.permission(ctx, e)
	case sdk.EventProgress:
		r.doing(fmt.Sprintf("%d of %d steps done", e.Progress.Current, e.Progress.Total))
	case sdk.EventRetry:
		r.doing(e.Reason)
	case sdk.EventReconnect:
		r.doing("the server is gone, trying again")
	case sdk.EventRestart:
		r.endLine()
		if r.live && r.wrote {
			r.line.Hide()
			fmt.Fprintln(r.err, "iris-mcp: the answer broke off; here it comes anew")
		}
	}
}

// permission asks the person, if one is there, and says what became of it.
func (r *reader) permission(ctx context.Context, e sdk.Event) {
	switch {
	case e.Decision == "" && r.leave != nil:
		r.endLine()
		r.line.Hide()
		r.leave.asks(ctx, e)
		return
	case e.Decision == "":
		r.doing("waits for leave to use " + e.Tool)
		return
	case r.leave != nil:
		r.leave.decided(e.ID)
	}
	if e.Decision == "deny" {
		r.doing("may not use " + e.Tool)
	}
}

// write shows a piece of the answer to a person.
func (r *reader) write(text string) {
	if !r.live || text == "" {
		r.doing("answers")
		return
	}
	r.line.Hide()
	if text = printable(text); text == "" {
		return
	}
	if r.lent {
		text = strings.TrimPrefix(text, "\n")
	}
	fmt.Fprint(r.out, text)
	r.wrote, r.lent, r.newline = true, false, strings.HasSuffix(text, "\n")
}

// doing says what the team does, on a line of its own.
func (r *reader) doing(what string) {
	r.endLine()
	r.line.Show(r.team + " · " + what)
}

// endLine ends a line of the answer that is still open.
func (r *reader) endLine() {
	if !r.newline {
		fmt.Fprintln(r.out)
		r.newline, r.lent = true, true
	}
}

// subject is what a tool works on, in a few words.
func subject(e sdk.Event) string {
	if e.File != "" {
		return e.File
	}
	var input map[string]json.RawMessage
	_ = json.Unmarshal(e.Input, &input) // an input of another form has no subject
	for _, key := range []string{"command", "pattern", "query", "url", "team", "description"} {
		var text string
		if json.Unmarshal(input[key], &text) == nil && text != "" {
			return text
		}
	}
	return ""
}

// ended makes of the end of a wait what a person should read.
func (r *reader) ended(ctx context.Context, err error) error {
	r.line.Hide()
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errInterrupted):
		return r.interrupted(ctx)
	case errors.Is(cause, errLate) && r.id != "":
		return fail(exitTimeout, "%s has not answered in time and goes on; %s", r.team, laterAdvice(r.id))
	case errors.Is(cause, errLate):
		return fail(exitTimeout, "the server did not take the message in time; \"iris-mcp status %s\" shows what the team does", r.team)
	case errors.Is(err, sdk.ErrUnreachable) && r.id != "":
		return fail(exitUnreachable, "the server has gone; once it is back, %s", laterAdvice(r.id))
	}
	return err
}

// interrupted cancels the message, if that is what Ctrl-C is for, and says what became of it.
func (r *reader) interrupted(ctx context.Context) error {
	switch {
	case r.id == "":
		return fail(exitInterrupted, "interrupted before the server took the message; \"iris-mcp status %s\" shows whether it runs", r.team)
	case !r.stopOnInterrupt:
		return fail(exitInterrupted, "interrupted; the team goes on: %s", laterAdvice(r.id))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	m, err := r.client.Messages.Cancel(ctx, r.id)
	switch {
	case err != nil:
		_, why := explain(err)
		return fail(exitInterrupted, "interrupted, but %s could not be cancelled: %s", r.id, why)
	case m.Status == sdk.StatusCancelled:
		return fail(exitInterrupted, "interrupted; %s is cancelled", r.id)
	}
	return fail(exitInterrupted, "interrupted; %s had already ended: %s", r.id, laterAdvice(r.id))
}

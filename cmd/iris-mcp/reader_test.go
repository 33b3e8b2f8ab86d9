package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	sdk "github.com/iris-mcp/go-client"
)

// told is an event stream of these events, and then of the error unless it is nil.
func told(err error, events ...sdk.Event) iter.Seq2[sdk.Event, error] {
	return func(yield func(sdk.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
		if err != nil {
			yield(sdk.Event{}, err)
		}
	}
}

// answers is a client of a server that knows one message, and cancels it when asked to.
func answers(t *testing.T, message string) *sdk.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/cancel") {
			message = strings.Replace(message, `"processing"`, `"cancelled"`, 1)
		}
		fmt.Fprint(w, message)
	}))
	t.Cleanup(server.Close)
	return sdk.NewClient(sdk.WithBaseURL(server.URL))
}

func TestAPersonSeesTheAnswerAsItIsWritten(t *testing.T) {
	var out, errs bytes.Buffer
	r := &reader{team: "backend", live: true, out: &out, err: &errs, newline: true}
	err := r.follow(t.Context(), told(nil,
		sdk.Event{Kind: sdk.EventStart, MessageID: "msg_1", SessionID: "ses_1"},
		sdk.Event{Kind: sdk.EventChunk, Text: "Let me look."},
		sdk.Event{Kind: sdk.EventToolUse, Tool: "Read", File: "a.go"},
		sdk.Event{Kind: sdk.EventToolResult, Tool: "Read"},
		sdk.Event{Kind: sdk.EventChunk, Text: "\n\nIt is \x1b[31mred\n"},
		sdk.Event{Kind: sdk.EventRestart},
		sdk.Event{Kind: sdk.EventChunk, Text: "It is blue"},
		sdk.Event{Kind: sdk.EventComplete},
	))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "Let me look.\n\nIt is [31mred\nIt is blue\n"; got != want {
		t.Errorf("saw %q, want %q", got, want)
	}
	if got := errs.String(); got != "iris-mcp: the answer broke off; here it comes anew\n" {
		t.Errorf("was told %q", got)
	}
}

func TestAPersonIsToldWhatTheTeamDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, screen bytes.Buffer
		r := &reader{team: "backend", live: true, out: &out, err: io.Discard, line: startStatusLine(&screen, 80), newline: true}
		err := r.follow(t.Context(), told(nil,
			sdk.Event{Kind: sdk.EventStart, MessageID: "msg_1"},
			sdk.Event{Kind: sdk.EventRetry, Reason: "the model's API failed (status 529): attempt 1 of 10 follows"},
			sdk.Event{Kind: sdk.EventThinking},
			sdk.Event{Kind: sdk.EventToolUse, Tool: "Bash", Input: []byte(`{"command":"sleep 3"}`)},
			sdk.Event{Kind: sdk.EventPermission, Tool: "Bash"},
			sdk.Event{Kind: sdk.EventPermission, Tool: "Bash", Decision: "deny"},
			sdk.Event{Kind: sdk.EventChunk, Text: "I may not."},
			sdk.Event{Kind: sdk.EventComplete},
		))
		if err != nil || out.String() != "I may not.\n" {
			t.Errorf("%q, %v", out.String(), err)
		}
		var want strings.Builder
		for _, doing := range []string{
			"no word yet", "the model's API failed (status 529): attempt 1 of 10 follows", "thinking", "Bash sleep 3",
			"waits for leave to use Bash", "may not use Bash",
		} {
			fmt.Fprintf(&want, "\r\x1b[K\x1b[2mbackend · %s (0 s)\x1b[0m", doing)
		}
		if got := screen.String(); got != want.String()+"\r\x1b[K" {
			t.Errorf("drew %q\nwant %q", got, want.String())
		}
	})
}

func TestWhatIsSaidBesideTheAnswerHasALineOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, screen bytes.Buffer
		r := &reader{team: "backend", live: true, out: &out, err: &screen, line: startStatusLine(&screen, 80), newline: true}
		err := r.follow(t.Context(), told(nil,
			sdk.Event{Kind: sdk.EventStart, MessageID: "msg_1"},
			sdk.Event{Kind: sdk.EventChunk, Text: "It"},
			sdk.Event{Kind: sdk.EventRetry, Reason: "it died"},
			sdk.Event{Kind: sdk.EventRestart},
			sdk.Event{Kind: sdk.EventChunk, Text: "It is blue."},
			sdk.Event{Kind: sdk.EventComplete},
		))
		if want := "it died (0 s)\x1b[0m\r\x1b[Kiris-mcp: the answer broke off"; err != nil || !strings.Contains(screen.String(), want) {
			t.Errorf("%q, %v, want %q in it", screen.String(), err, want)
		}
	})
}

func TestAPipeGetsTheAnswerAlone(t *testing.T) {
	const message = `{"messageId":"msg_1","team":"backend","status":"completed","response":"It is blue.\n\n","createdAt":1000,"completedAt":3500}`
	events := told(nil,
		sdk.Event{Kind: sdk.EventStart, MessageID: "msg_1", SessionID: "ses_1"},
		sdk.Event{Kind: sdk.EventChunk, Text: "Let me look."},
		sdk.Event{Kind: sdk.EventChunk, Text: "It is blue."},
		sdk.Event{Kind: sdk.EventComplete},
	)
	var out bytes.Buffer
	r := &reader{client: answers(t, message), team: "backend", out: &out, err: io.Discard, newline: true}
	if err := r.follow(t.Context(), events); err != nil || out.String() != "It is blue.\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	out.Reset()
	r = &reader{client: answers(t, message), team: "backend", question: "why?", json: true, out: &out, err: io.Discard, newline: true}
	if err := r.follow(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"question": "why?"`, `"sessionId": "ses_1"`, `"duration": 2500`, `"timestamp": 3500`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
}

func TestHowAWaitEnds(t *testing.T) {
	const processing = `{"messageId":"msg_1","status":"processing"}`
	start := sdk.Event{Kind: sdk.EventStart, MessageID: "msg_1"}
	tests := []struct {
		name   string
		cause  error // why the context ended
		err    error // what the stream said
		begun  bool
		cancel bool
		code   int
		want   string
	}{
		{"Ctrl-C cancels an ask", errInterrupted, context.Canceled, true, true, 130, "interrupted; msg_1 is cancelled"},
		{"Ctrl-C leaves a task", errInterrupted, context.Canceled, true, false, 130, `interrupted; the team goes on: read its answer later with "iris-mcp history msg_1", or stop it with "iris-mcp cancel msg_1"`},
		{"Ctrl-C comes before the server answered", errInterrupted, context.Canceled, false, true, 130, `interrupted before the server took the message; "iris-mcp status backend" shows whether it runs`},
		{"the wait is over", errLate, context.DeadlineExceeded, true, true, 6, `backend has not answered in time and goes on; read its answer later with "iris-mcp history msg_1", or stop it with "iris-mcp cancel msg_1"`},
		{"the server went away", nil, sdk.ErrUnreachable, true, true, 7, `the server has gone; once it is back, read its answer later with "iris-mcp history msg_1", or stop it with "iris-mcp cancel msg_1"`},
		{"the team failed", nil, &sdk.Error{Code: sdk.CodeProcess, Message: "it died"}, true, true, 1, "it died"},
		{"somebody cancelled it", nil, &sdk.Error{Code: sdk.CodeCancelled, Message: "cancelled"}, true, true, 1, "cancelled"},
		{"the team is unknown", nil, &sdk.Error{Code: sdk.CodeTeamNotFound, Message: "no team"}, false, true, 4, "no team"},
		{"the key may not", nil, &sdk.Error{Code: sdk.CodeForbidden, Message: "no"}, false, true, 3, "no"},
		{"the key is wrong", nil, &sdk.Error{Code: sdk.CodeUnauthorized, Name: "Invalid API key", Message: "m"}, false, true, 3, `Invalid API key; name a key with IRIS_API_KEY or --key-file ("iris-mcp api-key create" makes one)`},
		{"no key was sent", nil, &sdk.Error{Code: sdk.CodeUnauthorized, Name: "Missing or invalid Authorization header", Message: "m"}, false, true, 3, `the Iris that answers is not the one of this data folder and wants an API key: name it with IRIS_API_KEY or --key-file, or start your own with "iris-mcp serve"`},
		{"there were too many", nil, &sdk.Error{Code: sdk.CodeRateLimited, Message: "slow", RetryAfter: 1500e6}, false, true, 5, "slow; try again in 2 s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, end := context.WithCancelCause(t.Context())
			defer end(nil)
			if tt.cause != nil {
				end(tt.cause)
			}
			events := told(tt.err)
			if tt.begun {
				events = told(tt.err, start)
			}
			r := &reader{client: answers(t, processing), team: "backend", stopOnInterrupt: tt.cancel, out: io.Discard, err: io.Discard, newline: true}
			code, text := explain(r.follow(ctx, events))
			if code != tt.code || text != tt.want {
				t.Errorf("%d %s\nwant %d %s", code, text, tt.code, tt.want)
			}
		})
	}
}

func TestWhatIsSaidToTheTeam(t *testing.T) {
	file := func(text string) *os.File {
		name := filepath.Join(t.TempDir(), "in")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	tests := []struct {
		name  string
		stdin io.Reader
		words []string
		want  string // empty: an error
	}{
		{"the words", null, []string{"why?"}, "why?"},
		{"what is piped in", file("why?\n"), nil, "why?"},
		{"both, one below the other", file("diff\n"), []string{"safe?"}, "safe?\n\ndiff"},
		{"the words, if the pipe is empty", file("\n"), []string{"safe?"}, "safe?"},
		{"nothing", null, nil, ""},
		{"no binary file", file("\x7fELF\x01\xff"), []string{"what is this?"}, ""},
		{"blanks", file(" \n"), []string{" "}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := textOf(tt.stdin, tt.words, "question")
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestWhatATeamIsDoingInAFewWords(t *testing.T) {
	for input, want := range map[string]string{
		`{"command":"npm test"}`: "npm test",
		`{"pattern":"TODO"}`:     "TODO",
		`{"x":1}`:                "",
		`[]`:                     "",
	} {
		if got := subject(sdk.Event{Input: []byte(input)}); got != want {
			t.Errorf("%s is %q, want %q", input, got, want)
		}
	}
	if got := subject(sdk.Event{File: "a.go", Input: []byte(`{"command":"x"}`)}); got != "a.go" {
		t.Errorf("%q", got)
	}
}

func TestAFailureKeepsItsCode(t *testing.T) {
	err := fmt.Errorf("around: %w", fail(exitTimeout, "late: %w", io.EOF))
	if code, _ := explain(err); code != exitTimeout || !errors.Is(err, io.EOF) {
		t.Errorf("%d %v", code, err)
	}
}

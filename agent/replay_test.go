package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestEveryRecordingIsUnderstood plays each recorded transcript of both versions to an agent
// and compares what it makes of it with a golden file: events, results, errors. The recordings
// are shortened (long strings, and deltas after the sixtieth), so in a few of them the preview
// is not the beginning of the text, and a restart shows.
func TestEveryRecordingIsUnderstood(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.jsonl")
	newer, _ := filepath.Glob("testdata/transcripts/v2.1.330/*.jsonl")
	if files = append(files, newer...); err != nil || len(files) < 100 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "testdata/transcripts/"), ".jsonl")
		t.Run(name, func(t *testing.T) {
			got := newReplay(t).play(file)
			golden := filepath.Join("testdata", "golden", strings.ReplaceAll(name, "/", "_")+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("%v: got\n%s\nwant\n%s", err, got, want)
			}
		})
	}
}

var errHost = errors.New("the host interrupted")

// replay is an agent without a process, to which a recording is played.
type replay struct {
	t       *testing.T
	a       *Agent
	out     strings.Builder
	turns   int
	pending []*turn // sent while another was under way
	seen    *turn   // the turn whose end is not yet noted

	started bool // the CLI printed more than the reason why it does not start
	answers chan iris.Decision

	text   string // that a reader of this turn holds
	chunks int    // in a row
}

func newReplay(t *testing.T) *replay {
	team := iris.Team{Name: "backend", Path: "/home/dev/projects/backend", Model: "opus"}
	a := newAgent(team, slog.New(slog.DiscardHandler), time.Second)
	a.idle = true
	close(a.reaped)
	return &replay{t: t, a: a, answers: make(chan iris.Decision, 1)}
}

func (r *replay) play(file string) string {
	f, err := os.Open(file)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	for {
		b, err := lines.ReadBytes('\n')
		var rec struct {
			Dir  string `json:"dir"`
			Line string `json:"line"`
		}
		if len(b) > 0 && json.Unmarshal(b, &rec) != nil {
			r.t.Fatalf("no record: %s", b)
		}
		switch rec.Dir {
		case "in":
			r.in(rec.Line)
		case "out":
			if l, ok := parse([]byte(rec.Line)); ok {
				r.started = r.started || l.Type != "result"
				r.a.line(l)
			}
		case "err":
			r.a.tail.end = append(r.a.tail.end, rec.Line+"\n"...)
		case "exit":
			r.exit(rec.Line)
		}
		r.a.queue = nil
		r.ended()
		if err != nil {
			return r.out.String()
		}
	}
}

// in does what the host of the recording did.
func (r *replay) in(line string) {
	var in struct {
		input
		Response struct {
			RequestID string `json:"request_id"`
			Subtype   string `json:"subtype"`
			Response  struct {
				Behavior string `json:"behavior"`
				Message  string `json:"message"`
			} `json:"response"`
		} `json:"response"`
	}
	if json.Unmarshal([]byte(line), &in) != nil {
		r.note("the host sends what is no line")
		return
	}
	switch in.Type {
	case "user":
		r.turns++
		tn := &turn{uuid: in.UUID, ctx: context.Background(), sent: true, over: make(chan struct{})}
		tn.MessageID = fmt.Sprintf("turn %d", r.turns)
		tn.Emit = r.emit
		tn.Decide = func(context.Context, iris.Permission) iris.Decision { return <-r.answers }
		r.pending = append(r.pending, tn)
		if r.a.turn != nil {
			r.note(tn.MessageID + " is sent while another is under way")
		}
	case "control_request":
		switch in.Request.Subtype {
		case "initialize":
			r.a.asked[in.RequestID] = func(controlResponse) { r.note("ready") }
		case "interrupt":
			r.a.breakOff(errHost)
		}
	case "control_response":
		if d := r.a.open[in.Response.RequestID]; d != nil {
			answer := in.Response.Response
			r.answers <- iris.Decision{Allow: answer.Behavior == "allow", Message: answer.Message}
			r.a.answerPermission(<-r.a.decided)
		}
	}
}

// input is a line of the host.
type input struct {
	Type      string `json:"type"`
	UUID      string `json:"uuid"`
	RequestID string `json:"request_id"`
	Request   struct {
		Subtype string `json:"subtype"`
	} `json:"request"`
}

// ended notes the end of a turn and begins the next one that was sent.
func (r *replay) ended() {
	if r.seen != nil && r.a.turn != r.seen && r.started {
		tn := r.seen
		r.seen = nil
		r.flush()
		if tn.err == nil && !strings.HasSuffix(r.text, tn.result.Text) {
			r.t.Errorf("%s: a reader holds %q, and the answer is %q", tn.MessageID, r.text, tn.result.Text)
		}
		r.finished(tn)
		r.text = ""
	}
	if r.a.turn == nil && r.seen == nil && len(r.pending) > 0 {
		r.a.turn, r.pending = r.pending[0], r.pending[1:]
		r.seen = r.a.turn
		r.note("%s", r.seen.MessageID)
	}
}

func (r *replay) finished(tn *turn) {
	m := tn.result.Metadata
	if tn.err != nil {
		r.note("  failed: %v", tn.err)
		if e, ok := errors.AsType[*iris.Error](tn.err); ok {
			if !e.RetryAt.IsZero() {
				e.Details["retryAt"] = "in " + time.Until(e.RetryAt).Round(time.Second).String()
			}
			details, _ := json.Marshal(e.Details)
			private, _ := json.Marshal(e.Private)
			r.note("    retry %v, details %s, private %s", e.Retry, details, cut(string(private)))
		}
	} else {
		r.note("  answer: %s", quote(tn.result.Text))
	}
	r.note("    files %q, tools %q, model %s, in %d, out %d, cost %.5f, calls %d",
		m.FilesAccessed, m.ToolsUsed, m.Model, m.Usage.InputTokens, m.Usage.OutputTokens, m.CostUSD, m.Turns)
}

func (r *replay) exit(status string) {
	r.a.exit = errors.New("exit status " + status)
	switch {
	case !r.started:
		r.note("does not start: %v", r.a.diedAtStart())
	case r.a.turn != nil:
		r.a.gone()
		r.ended()
	}
	for _, tn := range r.pending {
		r.note("%s: never answered", tn.MessageID)
	}
	r.note("exit %s", status)
}

func (r *replay) emit(e iris.Event) {
	switch e.Kind {
	case iris.EventChunk:
		r.text += e.Text
		r.chunks++
		return
	case iris.EventRestart:
		r.flush()
		r.text = ""
	}
	r.flush()
	switch {
	case e.Tool != nil:
		r.note("  %s %s %s %s error=%v", e.Kind, e.Tool.Name, e.Tool.File, cut(string(e.Tool.Input)), e.Tool.IsError)
	case e.Permission != nil:
		r.note("  %s %s %s %q", e.Kind, e.Permission.Tool, e.Permission.Decision, e.Permission.Reason)
	case e.Text != "":
		r.note("  %s %s", e.Kind, quote(e.Text))
	default:
		r.note("  %s", e.Kind)
	}
}

// flush notes the chunks so far, by what a reader holds after them.
func (r *replay) flush() {
	if r.chunks > 0 {
		r.note("  chunks: %d, a reader holds %s", r.chunks, quote(r.text))
		r.chunks = 0
	}
}

func (r *replay) note(format string, args ...any) {
	fmt.Fprintf(&r.out, format+"\n", args...)
}

func quote(s string) string { return fmt.Sprintf("%q", cut(s)) }

func cut(s string) string {
	if r := []rune(s); len(r) > 240 {
		return fmt.Sprintf("%s…%s (%d)", string(r[:120]), string(r[len(r)-60:]), len(r))
	}
	return s
}

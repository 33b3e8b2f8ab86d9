//go:build e2e

package e2e_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/agent"
	"github.com/iris-mcp/iris-mcp/internal/model"
	"github.com/iris-mcp/iris-mcp/internal/process"
)

// patience bounds whatever should take milliseconds; the machine may be busy.
const patience = 30 * time.Second

// atOnce is how soon something comes that waits for no grace of five seconds and for no further
// try of the CLI, on a machine that is busy. How soon it comes on a quiet one is a figure of make soak.
const atOnce = 4 * time.Second

// mark names this run in the environment of every process that it starts.
var mark = "e2e-" + rand.Text()

var (
	keeper   *process.Keeper
	buildDir string // of what is built for this run
)

func TestMain(m *testing.M) {
	var err error
	if buildDir, err = os.MkdirTemp("", "iris-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	keeper = process.New(mark, slog.New(slog.DiscardHandler))
	code := m.Run()
	if err := errors.Join(keeper.Close(), os.RemoveAll(buildDir)); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// everyCLI runs the test with each pinned version, or with IRIS_E2E_CLAUDE alone.
func everyCLI(t *testing.T, test func(t *testing.T, r *rig)) {
	if path := os.Getenv("IRIS_E2E_CLAUDE"); path != "" {
		t.Run("IRIS_E2E_CLAUDE", func(t *testing.T) { test(t, newRig(t, path)) })
		return
	}
	versions, err := os.ReadFile("../scripts/claude-versions")
	if err != nil {
		t.Fatal(err)
	}
	for version := range strings.FieldsSeq(string(versions)) {
		t.Run(version, func(t *testing.T) {
			path, err := filepath.Abs(filepath.Join("../.cache/claude", version, "claude"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path); err != nil {
				t.Fatalf("Claude Code %s is not there: run `make claude` (%v)", version, err)
			}
			test(t, newRig(t, path))
		})
	}
}

// rig is a model, a team's folder and what starts agents in it.
type rig struct {
	t     *testing.T
	model *model.Server
	team  iris.Team
}

func newRig(t *testing.T, claude string) *rig {
	t.Helper()
	m := model.New(model.Options{})
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	// The CLI writes to its home until it is gone; only then can the folder be removed.
	r := &rig{t: t, model: m, team: iris.Team{
		Name: "backend", Path: t.TempDir(), ClaudePath: claude, Env: m.Vars(t.TempDir()),
		SilenceTimeout: patience,
	}}
	r.write("CLAUDE.md", "# Backend\n\nAPI versions: v1 (deprecated), v2\n")
	return r
}

// write makes a file in the team's folder and returns its path.
func (r *rig) write(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.team.Path, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func (r *rig) exists(name string) bool {
	_, err := os.Stat(filepath.Join(r.team.Path, name))
	return err == nil
}

// start starts an agent that is closed when the test ends.
func (r *rig) start(id string, resume bool) (*agent.Agent, error) {
	r.t.Helper()
	log := slog.New(slog.NewTextHandler(r.t.Output(), nil))
	a, err := agent.New(agent.Config{Keeper: keeper, Log: log}).Start(r.t.Context(), r.team, id, resume)
	if err == nil {
		r.t.Cleanup(func() { a.Close() })
	}
	return a, err
}

// talk starts an agent for a conversation.
func (r *rig) talk(id string, resume bool) *talk {
	r.t.Helper()
	a, err := r.start(id, resume)
	if err != nil {
		r.t.Fatal(err)
	}
	return &talk{rig: r, agent: a}
}

// fresh starts an agent for a new conversation.
func (r *rig) fresh() *talk { r.t.Helper(); return r.talk(iris.NewUUID(), false) }

// nap is a command that sleeps for a time that no other process has, so that running finds it.
func nap() string {
	var b [8]byte
	rand.Read(b[:])
	return fmt.Sprintf("sleep 61.%d", binary.BigEndian.Uint64(b[:]))
}

// talk is a running agent and how it is asked.
type talk struct {
	*rig
	agent *agent.Agent

	decide func(iris.Permission) iris.Decision // nil: nothing may need leave
	seen   func(iris.Event)                    // looks at each event as it comes
}

// outcome is what a turn came to.
type outcome struct {
	iris.Result
	Err    error
	Events []iris.Event
	Took   time.Duration
}

// ask puts a message to the agent.
func (k *talk) ask(ctx context.Context, turn iris.Turn) (o outcome) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	var mu sync.Mutex
	turn.From = "frontend"
	turn.Emit = func(e iris.Event) {
		mu.Lock()
		o.Events = append(o.Events, e)
		mu.Unlock()
		if k.seen != nil {
			k.seen(e)
		}
	}
	turn.Decide = func(_ context.Context, p iris.Permission) iris.Decision {
		if k.decide == nil {
			k.t.Errorf("asked for leave to use %s %s", p.Tool, p.Input)
			return iris.Decision{Message: "unexpected"}
		}
		return k.decide(p)
	}
	began := time.Now()
	o.Result, o.Err = k.agent.Turn(ctx, turn)
	o.Took = time.Since(began)
	return o
}

// answer asks and wants an answer.
func (k *talk) answer(text string) outcome {
	k.t.Helper()
	o := k.ask(k.t.Context(), iris.Turn{Text: text})
	if o.Err != nil {
		k.t.Fatalf("%.80q failed: %v", text, o.Err)
	}
	return o
}

// says asks and wants that answer.
func (k *talk) says(text, want string) outcome {
	k.t.Helper()
	o := k.answer(text)
	if o.Text != want {
		k.t.Errorf("%.80q gave %.200q, want %.200q", text, o.Text, want)
	}
	return o
}

// fails asks and wants a PROCESS_ERROR.
func (k *talk) fails(text string) (*iris.Error, outcome) {
	k.t.Helper()
	o := k.ask(k.t.Context(), iris.Turn{Text: text})
	if iris.CodeOf(o.Err) != iris.CodeProcess {
		k.t.Fatalf("%.80q gave %.200q and the error %v, want a PROCESS_ERROR", text, o.Text, o.Err)
	}
	return iris.AsError(o.Err), o
}

// shown is what a reader of the events has before them at the end.
func (o outcome) shown() string {
	var b strings.Builder
	for _, e := range o.Events {
		switch e.Kind {
		case iris.EventChunk:
			b.WriteString(e.Text)
		case iris.EventRestart:
			b.Reset()
		}
	}
	return b.String()
}

func (o outcome) of(kind iris.EventKind) []iris.Event {
	var out []iris.Event
	for _, e := range o.Events {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

// running lists the processes whose command line holds the text.
func running(text string) []string {
	var out []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, err := os.ReadFile(file)
		if args := strings.ReplaceAll(string(line), "\x00", " "); err == nil && strings.Contains(args, text) {
			out = append(out, filepath.Base(filepath.Dir(file))+" "+args)
		}
	}
	return out
}

// within waits until the condition holds, and reports whether it ever did.
func within(limit time.Duration, ok func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	over := time.After(limit)
	for !ok() {
		select {
		case <-tick.C:
		case <-over:
			return false
		}
	}
	return true
}

// eventually wants the condition to hold soon.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !within(patience, ok) {
		t.Fatalf("%s: not within %v", what, patience)
	}
}

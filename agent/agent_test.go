package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/agent"
	"github.com/iris-mcp/iris-mcp/agent/agenttest"
	"github.com/iris-mcp/iris-mcp/internal/process"
)

const (
	conversation = "11111111-1111-4111-8111-111111111111"
	another      = "22222222-2222-4222-8222-222222222222"
)

// patience is a grace in which any agent does what it means to do, however busy the machine
// is: who is killed after it would never have ended.
const patience = 30 * time.Second

// atOnce is how soon something comes that waits for no grace, on a machine that is busy.
const atOnce = 4 * time.Second

// newLauncher makes a launcher of agents with that grace: a test of its end wants it short.
func newLauncher(t testing.TB, grace time.Duration) *agent.Launcher {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	k := process.New("agent-test-"+strconv.Itoa(os.Getpid()), log)
	t.Cleanup(func() { k.Close() })
	return agent.New(agent.Config{Keeper: k, Log: log, Grace: grace, StartTimeout: patience})
}

func start(t testing.TB, team iris.Team) *agent.Agent {
	t.Helper()
	return startWith(t, team, patience)
}

func startWith(t testing.TB, team iris.Team, grace time.Duration) *agent.Agent {
	t.Helper()
	a, err := newLauncher(t, grace).Start(t.Context(), team, conversation, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// told is what a turn emitted: the kinds in order, chunks in a row as one, and the text that a
// reader holds who clears it at a restart.
type told struct {
	mu     sync.Mutex
	kinds  []string
	text   string
	events []iris.Event
	notify chan struct{} // closed at the first chunk
	first  sync.Once
}

func newTold() *told { return &told{notify: make(chan struct{})} }

func (o *told) emit(e iris.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
	switch e.Kind {
	case iris.EventChunk:
		o.text += e.Text
		o.first.Do(func() { close(o.notify) })
	case iris.EventRestart:
		o.text = ""
	}
	if n := len(o.kinds); n == 0 || o.kinds[n-1] != string(e.Kind) {
		o.kinds = append(o.kinds, string(e.Kind))
	}
}

// say puts a message as the local user; nobody grants anything.
func say(ctx context.Context, a *agent.Agent, text string) (iris.Result, *told, error) {
	o := newTold()
	r, err := a.Turn(ctx, iris.Turn{
		MessageID: "msg_1", From: "local", Text: text, Emit: o.emit,
		Decide: func(context.Context, iris.Permission) iris.Decision {
			return iris.Decision{Message: "nobody is there"}
		},
	})
	return r, o, err
}

func TestATurnTellsWhatHappensAndAnswers(t *testing.T) {
	a := start(t, agenttest.Team(t, "back end", "echo"))
	for _, tt := range []struct {
		name, says, answer, stream string
		kinds                      []string
	}{
		{"an echo", "hello", "You said: hello", "You said: hello", []string{"chunk"}},
		{"text around a tool", `[[say I look.]][[tool Read {"file_path":"a.txt"}]][[say It is there.]]`,
			"It is there.", "I look.\n\nIt is there.", []string{"chunk", "tool_use", "tool_result", "chunk"}},
		{"two texts of one message", `[[say one ]][[say two]]`, "one two", "one two", []string{"chunk"}},
		{"thinking between them", `[[say one]][[think hm]][[say two]]`, "one\n\ntwo", "one\n\ntwo", []string{"chunk", "thinking", "chunk"}},
		{"a broken stream", `[[cut never said]][[retry 0]][[say the truth]]`, "the truth", "the truth", []string{"chunk", "retry", "restart", "chunk"}},
		{"a broken stream after a tool", `[[say first]][[tool Bash]][[cut never]][[say last]]`,
			"last", "first\n\nlast", []string{"chunk", "tool_use", "tool_result", "chunk", "restart", "chunk"}},
		{"a failed call that is made again", `[[retry 529]][[say at last]]`, "at last", "at last", []string{"retry", "chunk"}},
		{"garbage between the lines", `[[say one ]][[garbage]][[say two]]`, "one two", "one two", []string{"chunk"}},
		{"a permission that nobody grants", `[[ask Bash {"command":"touch x"}]][[say not allowed]]`,
			"not allowed", "not allowed", []string{"tool_use", "permission", "tool_result", "chunk"}},
		{"noise on stderr", `[[stderr trouble]][[say fine]]`, "fine", "fine", []string{"chunk"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, o, err := say(t.Context(), a, tt.says)
			if err != nil {
				t.Fatal(err)
			}
			if r.Text != tt.answer || o.text != tt.stream || !slices.Equal(o.kinds, tt.kinds) {
				t.Errorf("answer %q, stream %q, events %v", r.Text, o.text, o.kinds)
			}
		})
	}
}

func TestALineOfTwoMegabytesArrivesWhole(t *testing.T) {
	a := start(t, agenttest.Team(t, "backend", "echo"))
	r, o, err := say(t.Context(), a, "[[bytes 2000000]]")
	if err != nil || len(r.Text) != 2_000_000 || o.text != r.Text {
		t.Errorf("%d bytes, streamed %d, %v", len(r.Text), len(o.text), err)
	}
}

func TestAQuestionOfAMillionBytesArrivesWhole(t *testing.T) {
	a := start(t, agenttest.Team(t, "backend", "echo"))
	question := strings.Repeat("0123456789", 100_000)
	r, _, err := say(t.Context(), a, question)
	if err != nil || r.Text != "You said: "+question {
		t.Errorf("%d bytes, %v", len(r.Text), err)
	}
}

func TestMetadataIsTheTurns(t *testing.T) {
	team := agenttest.Team(t, "backend", "echo")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(team.Path, link); err != nil {
		t.Fatal(err)
	}
	real := team.Path
	team.Path = link
	a := start(t, team)
	if _, _, err := say(t.Context(), a, "before"); err != nil {
		t.Fatal(err)
	}
	r, _, err := say(t.Context(), a, fmt.Sprintf(`[[tool Read {"file_path":%q}]][[tool Grep {"pattern":"x","path":"src"}]][[tool Read {"file_path":%q}]]`+
		`[[tool Glob {"pattern":"*","path":%q}]][[tool Read {"file_path":"/etc/hosts"}]][[ask Write {"file_path":"denied.txt"}]][[tool NotebookEdit {"notebook_path":"n.ipynb"}]][[say done]]`,
		real+"/a.txt", link+"/a.txt", real))
	if err != nil {
		t.Fatal(err)
	}
	m := r.Metadata
	if want := []string{"a.txt", "src", "/etc/hosts", "n.ipynb"}; !slices.Equal(m.FilesAccessed, want) {
		t.Errorf("files %q, want %q", m.FilesAccessed, want)
	}
	if want := []string{"Read", "Grep", "Glob", "Write", "NotebookEdit"}; !slices.Equal(m.ToolsUsed, want) {
		t.Errorf("tools %q, want %q", m.ToolsUsed, want)
	}
	if m.Turns != 8 || m.CostUSD < 0.0079 || m.CostUSD > 0.0081 || m.Usage.InputTokens != 800 || m.Usage.OutputTokens != 160 || m.Model != "claude-opus-4-8" {
		t.Errorf("%+v", m)
	}
}

func TestAConversationOutlivesItsProcess(t *testing.T) {
	l, team := newLauncher(t, patience), agenttest.Team(t, "backend", "echo")
	first, err := l.Start(t.Context(), team, conversation, false)
	if err != nil {
		t.Fatal(err)
	}
	say(t.Context(), first, "my name is Ada")
	first.Close()
	second, err := l.Start(t.Context(), team, conversation, true)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if r, _, err := say(t.Context(), second, "[[say {earlier}]]"); r.Text != "my name is Ada" {
		t.Errorf("%q, %v", r.Text, err)
	}
	if _, err := l.Start(t.Context(), team, conversation, false); !errors.Is(err, iris.ErrConversationTaken) || iris.CodeOf(err) != iris.CodeProcess {
		t.Errorf("begun twice: %v", err)
	}
	if _, err := l.Start(t.Context(), team, another, true); !errors.Is(err, iris.ErrConversationLost) || iris.CodeOf(err) != iris.CodeProcess {
		t.Errorf("an unknown one resumed: %v", err)
	}
}

func TestAStartThatFailsSaysWhatToDo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "claude")
	if err := os.WriteFile(file, []byte("no program\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "claude")
	if err := os.WriteFile(text, []byte("no program\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		spoil func(*iris.Team)
		says  string
		retry bool
	}{
		{"the folder is missing", func(team *iris.Team) { team.Path += "/gone" }, "folder of team backend is not there", false},
		{"the folder is a file", func(team *iris.Team) { team.Path = file }, "is no folder", false},
		{"no CLI by that name", func(team *iris.Team) { team.ClaudePath = "no-such-claude" }, "npm install -g @anthropic-ai/claude-code", false},
		{"no CLI at that path", func(team *iris.Team) { team.ClaudePath = "/no/such/claude" }, "team backend, claude, was not found", false},
		{"the CLI is not executable", func(team *iris.Team) { team.ClaudePath = file }, "chmod +x", false},
		{"the CLI is no program", func(team *iris.Team) { team.ClaudePath = text }, "no program that this machine can run", false},
		{"the CLI ends at once", func(team *iris.Team) {
			team.Env[agenttest.Script] = "start: [[stderr Error: no space in /home/ada/x]][[exit 1]]"
		}, "ended at its start: Error: no space in", true},
		{"the CLI ends in silence", func(team *iris.Team) { team.Env[agenttest.Script] = "start: [[exit 0]]" }, "said nothing", true},
		{"the CLI dies", func(team *iris.Team) { team.Env[agenttest.Script] = "start: [[kill]]" }, "said nothing", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			team := agenttest.Team(t, "backend", "echo")
			tt.spoil(&team)
			_, err := newLauncher(t, patience).Start(t.Context(), team, conversation, false)
			e, ok := errors.AsType[*iris.Error](err)
			if !ok || e.Code != iris.CodeProcess || !strings.Contains(e.Message, tt.says) || e.Retry != tt.retry {
				t.Fatalf("%v, want %q", err, tt.says)
			}
			if strings.Contains(e.Message, "/home/") || strings.Contains(e.Message, team.Path) || strings.Contains(e.Message, filepath.Dir(team.ClaudePath)) && team.ClaudePath != "no-such-claude" {
				t.Errorf("the message tells a path: %q", e.Message)
			}
		})
	}
}

func TestAStartIsBrokenOff(t *testing.T) {
	team := agenttest.Team(t, "backend", "start: [[spawn sleep 4751]][[wait 1m]]")
	cause := errors.New("nobody wants it")
	t.Run("by its context", func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, cause)
		defer cancel()
		if _, err := newLauncher(t, patience).Start(ctx, team, conversation, false); !errors.Is(err, cause) {
			t.Error(err)
		}
	})
	t.Run("when it takes too long", func(t *testing.T) {
		k := process.New("agent-late", slog.New(slog.DiscardHandler))
		defer k.Close()
		l := agent.New(agent.Config{Keeper: k, Log: slog.New(slog.DiscardHandler), StartTimeout: 100 * time.Millisecond})
		if _, err := l.Start(t.Context(), team, conversation, false); err == nil || !strings.Contains(err.Error(), "not ready after 100ms") {
			t.Error(err)
		}
	})
	if running(t, "sleep 4751") {
		t.Error("a child of the broken start is left")
	}
}

func TestASlowStartIsWaitedFor(t *testing.T) {
	a := start(t, agenttest.Team(t, "backend", "start: [[wait 200ms]]"))
	if r, _, err := say(t.Context(), a, "hello"); r.Text != "You said: hello" {
		t.Error(r, err)
	}
}

// running reports whether a process runs this command.
func running(t testing.TB, command string) bool {
	t.Helper()
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	return slices.ContainsFunc(lines, func(file string) bool {
		b, _ := os.ReadFile(file)
		return strings.TrimRight(strings.ReplaceAll(string(b), "\x00", " "), " ") == command
	})
}

func TestAnInterruptedTurnLeavesTheAgentUsable(t *testing.T) {
	cause := errors.New("nobody wants the answer")
	for _, tt := range []struct{ name, says string }{
		{"while the model speaks", "[[pace 5ms]][[say " + strings.Repeat("word ", 2000) + "]]"},
		{"before the first word", "[[hang]]"},
		{"in a tool", `[[pace 1m]][[tool Bash {"command":"sleep 60"}]]`},
		{"while the model is called again", "[[retry 529]][[hang]]"},
		{"while a permission is open", `[[ask Bash {"command":"touch x"}]]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := start(t, agenttest.Team(t, "backend", "echo"))
			ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
			defer cancel()
			began := time.Now()
			_, err := a.Turn(ctx, iris.Turn{From: "local", Text: tt.says, Decide: func(ctx context.Context, _ iris.Permission) iris.Decision {
				<-ctx.Done()
				return iris.Decision{Allow: true}
			}})
			if took := time.Since(began); !errors.Is(err, cause) || took > atOnce {
				t.Errorf("after %v: %v", took, err)
			}
			if r, _, err := say(t.Context(), a, "hello"); r.Text != "You said: hello" {
				t.Errorf("then: %q, %v", r.Text, err)
			}
		})
	}
}

func TestATurnWhoseContextIsOverIsNotBegun(t *testing.T) {
	a := start(t, agenttest.Team(t, "backend", "echo"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := say(ctx, a, "never"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if r, _, err := say(t.Context(), a, "[[say {earlier}]]"); r.Text != "" || err != nil {
		t.Errorf("%q, %v", r.Text, err)
	}
}

func TestAnAgentThatHeedsNoInterruptIsKilled(t *testing.T) {
	a := startWith(t, agenttest.Team(t, "backend", "echo"), 500*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := a.Turn(ctx, iris.Turn{Text: "[[deaf]][[stubborn]][[say so far]][[hang]]", Emit: func(e iris.Event) {
		if e.Kind == iris.EventChunk {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-a.Done()
}

func TestADeathInMidAnswerIsToldAtOnce(t *testing.T) {
	for _, tt := range []struct{ name, says string }{
		{"kill -9", "[[say half an]][[kill]]"},
		{"an exit", "[[say half an]][[stderr it hurts]][[exit 7]]"},
		{"kill -9 while a grandchild holds its output", "[[spawn sleep 4752]][[say half an]][[kill]]"},
		{"kill -9 while one that nobody finds holds it", "[[spawn env -i setsid sleep 4753]][[say half an]][[kill]]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := start(t, agenttest.Team(t, "backend", "echo"))
			began := time.Now()
			_, o, err := say(t.Context(), a, tt.says)
			if e, ok := errors.AsType[*iris.Error](err); !ok || e.Code != iris.CodeProcess || !e.Retry || !strings.Contains(e.Message, "died in the middle") {
				t.Error(err)
			} else if tt.name == "an exit" && (e.Private["stderr"] != "it hurts\n" || !strings.Contains(e.Message, "exit status 7")) {
				t.Errorf("%v, %v", e, e.Private)
			}
			if took := time.Since(began); took > atOnce || o.text != "half an" {
				t.Errorf("after %v, told %q", took, o.text)
			}
			<-a.Done()
			if errors.Is(err, iris.ErrNotBegun) {
				t.Error("the turn had begun")
			}
			if _, _, err := say(t.Context(), a, "anybody?"); iris.CodeOf(err) != iris.CodeProcess || !errors.Is(err, iris.ErrNotBegun) {
				t.Errorf("a dead agent says %v", err)
			}
			if running(t, "sleep 4752") {
				t.Error("its grandchild is left")
			}
		})
	}
}

func TestADeadProcessNeverGotTheMessage(t *testing.T) {
	for range 20 {
		a := start(t, agenttest.Team(t, "backend", "echo"))
		syscall.Kill(a.PID(), syscall.SIGKILL)
		_, _, err := say(t.Context(), a, strings.Repeat("more than a pipe holds ", 10_000))
		if !errors.Is(err, iris.ErrNotBegun) {
			t.Fatal(err)
		}
	}
}

func TestFailuresOfTheModelSayWhatToDo(t *testing.T) {
	a := start(t, agenttest.Team(t, "backend", "echo"))
	for _, tt := range []struct {
		says   string
		tells  string
		status int
		retry  bool
	}{
		{"[[retry 401]][[hang]]", "/login", 401, false},
		{"[[fail 401]]", "/login", 401, false},
		{"[[fail 403]]", "forbids", 403, false},
		{"[[fail 404]]", "team's model", 404, false},
		{"[[fail 400]]", "refused the request (400)", 400, false},
		{"[[fail 429]]", "takes no more requests", 429, true},
		{"[[fail 500]]", "failed (500)", 500, true},
		{"[[retry 529]][[fail 529]]", "overloaded", 529, true},
		{"[[fail 0]]", "cannot reach", 0, true},
		{"[[retry 529]][[tool Bash]][[fail 0]]", "cannot reach", 0, true},
	} {
		t.Run(tt.says, func(t *testing.T) {
			r, o, err := say(t.Context(), a, tt.says)
			e, ok := errors.AsType[*iris.Error](err)
			if !ok || e.Code != iris.CodeProcess || e.Retry != tt.retry || !strings.Contains(e.Message, tt.tells) || e.Details["apiStatus"] != tt.status || e.Details["hint"] == "" {
				t.Errorf("%v, details %v", err, e.Details)
			}
			if o.text != "" || r.Text != "" || r.Metadata.ToolsUsed == nil { // the failure's own text is no answer
				t.Errorf("told %q, result %+v", o.text, r)
			}
		})
	}
	if r, _, err := say(t.Context(), a, "still there?"); r.Text != "You said: still there?" {
		t.Error(r, err)
	}
}

func TestSilenceIsEndedButNotThatOfATool(t *testing.T) {
	team := agenttest.Team(t, "backend", "echo")
	team.SilenceTimeout = time.Second
	a := start(t, team)
	_, _, err := say(t.Context(), a, "[[say so far]][[hang]]")
	if e, ok := errors.AsType[*iris.Error](err); !ok || !e.Retry || !strings.Contains(e.Message, "printed nothing for 1s") {
		t.Errorf("silence: %v", err)
	}
	if r, _, err := say(t.Context(), a, "[[pace 1500ms]][[tool Bash]][[pace 1ms]][[say done]]"); r.Text != "done" {
		t.Errorf("a long tool: %v", err)
	}
	r, err := a.Turn(t.Context(), iris.Turn{Text: "[[ask Bash]][[say allowed]]", Decide: func(ctx context.Context, _ iris.Permission) iris.Decision {
		select {
		case <-time.After(1500 * time.Millisecond):
			return iris.Decision{Allow: true}
		case <-ctx.Done():
			return iris.Decision{}
		}
	}})
	if r.Text != "allowed" {
		t.Errorf("a permission that took long: %v", err)
	}
}

func TestWhatNobodyAskedForIsToldToNobody(t *testing.T) {
	a := start(t, agenttest.Team(t, "backend", "echo"))
	r, o, err := say(t.Context(), a, "[[say Started it.]][[news It has ended.]]")
	if err != nil || r.Text != "Started it." || o.text != r.Text {
		t.Errorf("%q, streamed %q, %v", r.Text, o.text, err)
	}
	for range 20 {
		r, o, err := say(t.Context(), a, "[[say Mine.]][[news Its own.]]")
		if err != nil || r.Text != "Mine." || o.text != r.Text || r.Metadata.CostUSD > 0.0011 {
			t.Fatalf("%q, streamed %q, cost %v, %v", r.Text, o.text, r.Metadata.CostUSD, err)
		}
	}
}

func TestTurnsOfOneAgentWaitForEachOther(t *testing.T) {
	a := start(t, agenttest.Team(t, "backend", "echo"))
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			text := fmt.Sprintf("number %d", i)
			if r, _, err := say(t.Context(), a, text); r.Text != "You said: "+text {
				t.Errorf("%q, %v", r.Text, err)
			}
		})
	}
	all.Wait()
}

func TestPermissionsAreAskedForAndAnswered(t *testing.T) {
	a := start(t, agenttest.Team(t, "backend", "echo"))
	for _, tt := range []struct {
		name, says string
		decision   iris.Decision
		result     string // of the tool, as the model sees it
		decided    string
	}{
		{"allowed, with its whole input", `[[ask Bash {"command":"touch x"}]][[say done]]`, iris.Decision{Allow: true}, "", "allow"},
		{"denied, with a reason", `[[ask Bash {"command":"touch x"}]][[say done]]`, iris.Decision{Message: "not on Fridays"}, "not on Fridays", "deny"},
		{"denied without one", `[[ask Bash {}]][[say done]]`, iris.Decision{}, "Permission denied.", "deny"},
		{"a question to a person", `[[ask AskUserQuestion {"questions":[]}]][[say done]]`, iris.Decision{Allow: true}, "Nobody can answer questions", "deny"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newTold()
			var asked iris.Permission
			_, err := a.Turn(t.Context(), iris.Turn{Text: tt.says, Emit: o.emit, Decide: func(_ context.Context, p iris.Permission) iris.Decision {
				asked = p
				return tt.decision
			}})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(o.events, func(e iris.Event) bool { return e.Kind == iris.EventPermission })
			p := o.events[i].Permission
			if p.Decision != tt.decided || p.Tool != asked.Tool || p.ID == "" || p.ID != asked.ID || !json.Valid(p.Input) || !strings.Contains(p.Reason, tt.result) {
				t.Errorf("%+v", p)
			}
			if done := o.events[i+1]; done.Kind != iris.EventToolResult || done.Tool.IsError != (tt.decided == "deny") {
				t.Errorf("then %+v", done)
			}
		})
	}
}

func TestCloseEndsEveryAgent(t *testing.T) {
	for _, tt := range []struct {
		name, before string
		grace        time.Duration
	}{
		{"an idle one", "hello", patience},
		{"one that was interrupted before", "[[fail 500]]", patience},
		{"one with children", "[[spawn sleep 4754]]", patience},
		{"a stubborn one", "[[stubborn]][[spawn sleep 4754]]", 500 * time.Millisecond},
		{"a deaf and stubborn one", "[[stubborn]][[deaf]]", 500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := startWith(t, agenttest.Team(t, "backend", "echo"), tt.grace)
			say(t.Context(), a, tt.before)
			began := time.Now()
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() { a.Close() })
			}
			all.Wait()
			if took := time.Since(began); took > atOnce {
				t.Errorf("took %v", took)
			}
			if syscall.Kill(a.PID(), 0) == nil || running(t, "sleep 4754") {
				t.Error("something is left")
			}
		})
	}
}

func TestCloseEndsTheTurnUnderWay(t *testing.T) {
	a := start(t, agenttest.Team(t, "backend", "echo"))
	o := newTold()
	var all sync.WaitGroup
	all.Go(func() {
		_, err := a.Turn(t.Context(), iris.Turn{Text: "[[say so far]][[hang]]", Emit: o.emit})
		if e, ok := errors.AsType[*iris.Error](err); !ok || e.Code != iris.CodeProcess || !strings.Contains(e.Message, "was stopped") {
			t.Error(err)
		}
	})
	<-o.notify
	a.Close()
	all.Wait()
}

func TestTheEnvironmentIsFiltered(t *testing.T) {
	for _, name := range []string{"CLAUDECODE", "CLAUDE_CODE_SESSION_ID", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT", "CLAUDE_PROJECT_DIR", "IRIS_SECRET", "CI_KEY", "SHARED_KEY"} {
		t.Setenv(name, "ours")
	}
	t.Setenv("CLAUDE_CODE_OAUTH_TOKEN", "pays")
	team := agenttest.Team(t, "backend", "echo")
	team.Withheld = []string{"CI_KEY", "SHARED_KEY"}
	team.Env["CLAUDE_CODE_MAX_RETRIES"], team.Env["SHARED_KEY"] = "7", "given"
	a := start(t, team)
	r, _, err := say(t.Context(), a, "[[say {env CLAUDECODE}{env CLAUDE_CODE_SESSION_ID}{env CLAUDE_CODE_ENTRYPOINT}{env CLAUDE_CODE_SSE_PORT}{env CLAUDE_PROJECT_DIR}{env IRIS_SECRET}{env CI_KEY}"+
		"|{env SHARED_KEY}|{env CLAUDE_CODE_OAUTH_TOKEN}|{env CLAUDE_CODE_MAX_RETRIES}|{env CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS}|{env DISABLE_AUTOUPDATER}|{env PWD}]]")
	if want := "|given|pays|7|1|1|" + team.Path; r.Text != want {
		t.Errorf("%q, want %q, %v", r.Text, want, err)
	}
}

func TestEveryOptionIsPassedOn(t *testing.T) {
	team := agenttest.Team(t, "backend", "echo")
	team.Model, team.PermissionMode, team.AppendSystemPrompt = "opus", "plan", "-- be brief\nand kind"
	team.AllowedTools, team.DisallowedTools = []string{"Bash(git log:*)", "--mcp-config"}, []string{"Write"}
	a := start(t, team)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", a.PID()))
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc to read the command line from")
	}
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose", "--include-partial-messages", "--replay-user-messages",
		"--permission-prompt-tool", "stdio", "--session-id", conversation, "--model=opus", "--permission-mode=plan",
		"--append-system-prompt=-- be brief\nand kind", "--allowedTools=Bash(git log:*)", "--allowedTools=--mcp-config", "--disallowedTools=Write",
	}
	if got := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")[1:]; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

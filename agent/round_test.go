package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

const mine = "11111111-1111-4111-8111-111111111111"

// Lines as the CLI prints them, as far as they are read.
const (
	running = `{"type":"system","subtype":"session_state_changed","state":"running"}`
	idle    = `{"type":"system","subtype":"session_state_changed","state":"idle"}`
	begins  = `{"type":"system","subtype":"init"}`
	news    = `{"type":"system","subtype":"task_notification","status":"completed"}`
	started = `{"type":"command_lifecycle","command_uuid":"` + mine + `","state":"started"}`
	dropped = `{"type":"command_lifecycle","command_uuid":"` + mine + `","state":"cancelled"}`
	replays = `{"type":"user","uuid":"` + mine + `","isReplay":true,"message":{"role":"user","content":"hi"}}`
	broken  = `{"type":"stream_event","event":{"type":"message_stop"},"abandoned_blocks":{"from_block_index":1}}`
	retries = `{"type":"system","subtype":"api_retry","attempt":1,"max_retries":3,"error_status":null,"error":"unknown"}`
	ofOurs  = `{"type":"result","subtype":"success","result":"?"}`
	ofIts   = `{"type":"result","subtype":"success","result":"?","origin":{"kind":"task-notification"}}`
)

func opens(id string) string {
	return fmt.Sprintf(`{"type":"stream_event","event":{"type":"message_start","message":{"id":%q}}}`, id)
}

func delta(s string) string {
	return fmt.Sprintf(`{"type":"stream_event","event":{"type":"content_block_delta","delta":{"type":"text_delta","text":%q}}}`, s)
}

func says(id, s string) string {
	return fmt.Sprintf(`{"type":"assistant","message":{"id":%q,"model":"m","content":[{"type":"text","text":%q}]}}`, id, s)
}

func thinks(id string) string {
	return fmt.Sprintf(`{"type":"assistant","message":{"id":%q,"model":"m","content":[{"type":"thinking","thinking":"hm"}]}}`, id)
}

func uses(id, tool string) string {
	return fmt.Sprintf(`{"type":"assistant","message":{"id":%q,"model":"m","content":[{"type":"tool_use","id":%q,"name":%q,"input":{}}]}}`, id, id+tool, tool)
}

func stops(reason string) string {
	return fmt.Sprintf(`{"type":"stream_event","event":{"type":"message_delta","delta":{"stop_reason":%q}}}`, reason)
}

// hears plays lines to an agent that has just sent a message. It returns the turn and what a
// reader holds of it; a restart is noted by a bar.
func hears(t *testing.T, lines ...string) (tn *turn, held, log string) {
	t.Helper()
	a := newAgent(iris.Team{Name: "backend", Path: t.TempDir()}, slog.New(slog.DiscardHandler), time.Second)
	close(a.reaped)
	a.idle = true
	tn = &turn{uuid: mine, ctx: context.Background(), over: make(chan struct{})}
	tn.Emit = func(e iris.Event) {
		switch e.Kind {
		case iris.EventChunk:
			held += e.Text
			log += e.Text
		case iris.EventRestart:
			held = ""
			log += "|"
		case iris.EventToolUse:
			log += "[" + e.Tool.Name + "]"
		}
	}
	a.begin(tn)
	for _, s := range lines {
		l, ok := parse([]byte(s))
		if !ok {
			t.Fatalf("no line: %s", s)
		}
		a.line(l)
	}
	return tn, held, log
}

func TestOnlyOurRoundIsOurs(t *testing.T) {
	its := []string{opens("i"), delta("its "), says("i", "its own"), uses("i", "Bash")}
	ours := []string{opens("o"), delta("our "), replays, says("o", "our answer"), stops("end_turn")}
	with := func(lines ...any) (all []string) {
		for _, l := range lines {
			switch l := l.(type) {
			case string:
				all = append(all, l)
			case []string:
				all = append(all, l...)
			}
		}
		return all
	}
	for _, tt := range []struct {
		name   string
		lines  []string
		answer string
		log    string
	}{
		{"2.1.197 just answers", with(running, begins, ours, ofOurs, idle), "our answer", "our answer"},
		{"2.1.330 just answers", with(running, started, begins, ours, ofOurs, idle), "our answer", "our answer"},
		{"2.1.197 has news first", with(running, news, begins, its, ofIts, begins, ours, ofOurs, idle), "our answer", "our answer"},
		{"2.1.330 has news first", with(news, running, strings.Replace(started, mine, "x", 1), begins, its, ofIts, started, begins, ours, ofOurs, idle), "our answer", "our answer"},
		{"a round is taken for ours and is not", with(running, begins, its, ofIts, begins, ours, ofOurs, idle), "our answer", "its own[Bash]|our answer"},
		{"our message is steered into a round of its own", with(running, news, begins, its, replays, opens("j"), says("j", "both answers"), stops("end_turn"), ofIts, idle), "both answers", "both answers"},
		{"our message is merged with the news", with(running, news, begins, ours, ofIts, idle), "our answer", "our answer"},
		{"nothing says whose it is but the result", with(running, news, begins, opens("o"), says("o", "our answer"), ofOurs, idle), "our answer", "our answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tn, held, log := hears(t, tt.lines...)
			select {
			case <-tn.over:
			default:
				t.Fatal("the turn is not over")
			}
			if tn.err != nil || tn.result.Text != tt.answer || held != tt.answer || log != tt.log {
				t.Errorf("answer %q, a reader holds %q of %q, %v", tn.result.Text, held, log, tn.err)
			}
		})
	}
}

func TestAReaderEndsWithTheTruth(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lines  []string
		answer string
		held   string
		log    string
	}{
		{"2.1.197 makes a broken stream good without a stream",
			[]string{opens("a"), delta("lost "), delta("words"), says("b", "found")}, "found", "found", "lost words|found"},
		{"it happens to begin the same",
			[]string{opens("a"), delta("found "), says("b", "found it")}, "found it", "found it", "found it"},
		{"2.1.330 begins a new stream",
			[]string{opens("a"), delta("lost "), broken, retries, opens("b"), delta("fou"), says("b", "found"), stops("end_turn")}, "found", "found", "lost |found"},
		{"what was whole stays",
			[]string{opens("a"), delta("first"), says("a", "first"), uses("a", "Read"), stops("tool_use"), opens("b"), delta("lost"), broken, retries, opens("c"), delta("last"), says("c", "last"), stops("end_turn")},
			"last", "first\n\nlast", "first[Read]\n\nlost|first\n\nlast"},
		{"2.1.330 resumes after the blocks that were whole",
			[]string{opens("a"), delta("one "), says("a", "one "), delta("lost"), broken, opens("b"), delta("two"), says("b", "two"), stops("end_turn")},
			"one two", "one two", "one lost|one two"},
		{"the token limit",
			[]string{opens("a"), delta("cut o"), says("a", "cut o"), stops("max_tokens"), opens("b"), thinks("b"), delta("ff"), says("b", "ff"), stops("end_turn")}, "cut off", "cut off", "cut off"},
		{"thinking between two texts",
			[]string{opens("a"), says("a", "one"), thinks("a"), delta("two"), says("a", "two"), stops("end_turn")}, "one\n\ntwo", "one\n\ntwo", "one\n\ntwo"},
		{"an interrupted block is whole as far as it came",
			[]string{opens("a"), delta("so "), delta("far"), says("a", "so far and"), broken}, "so far and", "so far and", "so far and"},
		{"a block that turns out empty",
			[]string{opens("a"), delta("lost"), says("a", ""), says("a", "found")}, "found", "found", "lost|found"},
		{"a preview that nothing confirms", []string{opens("a"), says("a", "one"), stops("tool_use"), opens("b"), delta("lost")}, "one", "one", "one\n\nlost|one"},
		{"a subagent's text", []string{opens("a"), delta("mi"), strings.Replace(says("s", "its own"), `"message"`, `"parent_tool_use_id":"t","message"`, 1), delta("ne"), says("a", "mine")}, "mine", "mine", "mine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tn, held, log := hears(t, append(append([]string{running, begins}, tt.lines...), ofOurs)...)
			if tn.err != nil || tn.result.Text != tt.answer || held != tt.held || log != tt.log {
				t.Errorf("answer %q, a reader holds %q of %q, %v", tn.result.Text, held, log, tn.err)
			}
		})
	}
}

func TestAMessageThatTheCLIDropsIsOver(t *testing.T) {
	a := newAgent(iris.Team{Name: "backend", Path: t.TempDir()}, slog.New(slog.DiscardHandler), time.Second)
	a.idle = true
	why := errors.New("nobody wants it")
	tn := &turn{uuid: mine, ctx: context.Background(), over: make(chan struct{})}
	a.begin(tn)
	a.breakOff(why)
	if got := fmt.Sprintf("%s", a.queue[1:]); !strings.Contains(got, "cancel_async_message") || !strings.Contains(got, `"interrupt"`) {
		t.Errorf("it is told %s", got)
	}
	l, _ := parse([]byte(dropped))
	a.line(l)
	select {
	case <-tn.over:
	default:
		t.Fatal("the turn is not over")
	}
	if tn.err != why {
		t.Error(tn.err)
	}
}

// A CLI that has answered and says nothing more for a while takes no message yet, and has
// nothing to break off.
func TestATurnThatIsBrokenOffBeforeTheCLIIsIdleIsOver(t *testing.T) {
	a := newAgent(iris.Team{Name: "backend", Path: t.TempDir()}, slog.New(slog.DiscardHandler), time.Second)
	a.idle = true
	hear := func(s string) {
		l, _ := parse([]byte(s))
		a.line(l)
	}
	hear(running)
	tn := &turn{uuid: mine, ctx: context.Background(), over: make(chan struct{})}
	a.begin(tn)
	why := errors.New("silence")
	a.breakOff(why)
	hear(idle)
	if a.turn != nil || tn.err != why || tn.sent {
		t.Fatalf("it goes on: %v, sent: %v", tn.err, tn.sent)
	}
	next := &turn{uuid: mine, ctx: context.Background(), over: make(chan struct{})}
	if a.begin(next); !next.sent {
		t.Error("the next one is not sent")
	}
}

// A round of the CLI's own may be taken for the answer to a message that the CLI then drops.
func TestARoundThatOutlivesItsTurnIsToldToNobody(t *testing.T) {
	a := newAgent(iris.Team{Name: "backend", Path: t.TempDir()}, slog.New(slog.DiscardHandler), time.Second)
	a.idle = true
	over := false
	tn := &turn{uuid: mine, ctx: context.Background(), over: make(chan struct{})}
	tn.Decide = func(context.Context, iris.Permission) iris.Decision { return iris.Decision{} }
	tn.Emit = func(e iris.Event) {
		if over {
			t.Errorf("told %+v after the turn", e)
		}
	}
	hear := func(lines ...string) {
		for _, s := range lines {
			l, _ := parse([]byte(s))
			a.line(l)
		}
	}
	a.begin(tn)
	hear(running, begins, opens("i"), delta("its "))
	a.breakOff(errors.New("nobody wants it"))
	hear(dropped)
	<-tn.over
	over, a.queue = true, nil
	hear(delta("own"), says("i", "its own"), uses("i", "Bash"),
		`{"type":"control_request","request_id":"r","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{}}}`)
	if got := fmt.Sprintf("%s", a.queue); !strings.Contains(got, `"behavior":"deny"`) {
		t.Errorf("the permission was answered %s", got)
	}
}

func TestAMessageWaitsForTheRoundBeforeIt(t *testing.T) {
	a := newAgent(iris.Team{Name: "backend", Path: t.TempDir()}, slog.New(slog.DiscardHandler), time.Second)
	a.idle = true
	hear := func(lines ...string) {
		for _, s := range lines {
			l, _ := parse([]byte(s))
			a.line(l)
		}
	}
	hear(running, news, begins, opens("i"), delta("its own"))
	tn := &turn{uuid: mine, ctx: context.Background(), over: make(chan struct{})}
	tn.Emit = func(e iris.Event) { t.Errorf("told %+v", e) }
	a.begin(tn)
	hear(says("i", "its own"), ofIts)
	if tn.sent {
		t.Error("sent before the CLI was idle")
	}
	hear(idle)
	if !tn.sent {
		t.Error("not sent when the CLI was idle")
	}
}

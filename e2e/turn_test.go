//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

func TestAnAnswerIsStreamedAndCounted(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		k := r.fresh()
		o := k.says("[[say One two three.]]", "One two three.")
		if o.shown() != "One two three." || len(o.of(iris.EventChunk)) != 3 {
			t.Errorf("events %+v", o.Events)
		}
		m := o.Metadata
		if m.Model == "" || m.CostUSD <= 0 || m.Turns != 1 || m.Usage.InputTokens == 0 || m.Usage.OutputTokens == 0 || m.Usage.CacheWriteTokens == 0 {
			t.Errorf("metadata %+v", m)
		}
		// The CLI's cost is a running total; ours is the turn's.
		second := k.says("Which API versions do you support?",
			"You asked: “Which API versions do you support?”. This project's CLAUDE.md says: API versions: v1 (deprecated), v2")
		if c := second.Metadata.CostUSD; c <= 0 || c >= m.CostUSD {
			t.Errorf("the second turn, whose prompt comes from the cache, cost %v, the first %v", c, m.CostUSD)
		}
		if second.Metadata.Usage.CacheReadTokens == 0 {
			t.Errorf("metadata of the second turn %+v", second.Metadata)
		}
	})
}

func TestToolsAndFilesAreThoseOfTheTurn(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		r.team.DisallowedTools = []string{"Bash"} // then the CLI offers Grep
		r.write("notes.txt", "v2 is current\n")
		k := r.fresh()
		o := k.answer(`[[say Looking.]][[tool Read {"file_path":"` + r.team.Path + `/notes.txt"}]]` +
			`[[tool Grep {"pattern":"current","path":"notes.txt","output_mode":"content"}]][[say Found: {result}]]`)
		if !strings.HasPrefix(o.Text, "Found: ") || !strings.Contains(o.Text, "v2 is current") {
			t.Errorf("answer %q", o.Text)
		}
		if !slices.Equal(o.Metadata.ToolsUsed, []string{"Read", "Grep"}) || !slices.Equal(o.Metadata.FilesAccessed, []string{"notes.txt"}) || o.Metadata.Turns != 3 {
			t.Errorf("metadata %+v", o.Metadata)
		}
		var calls []string
		for _, e := range o.of(iris.EventToolUse) {
			calls = append(calls, e.Tool.Name+" "+e.Tool.File)
		}
		if !slices.Equal(calls, []string{"Read notes.txt", "Grep notes.txt"}) || len(o.of(iris.EventToolResult)) != 2 {
			t.Errorf("calls %q, events %+v", calls, o.Events)
		}
		if next := k.answer("[[say Nothing used.]]"); len(next.Metadata.ToolsUsed) != 0 || len(next.Metadata.FilesAccessed) != 0 {
			t.Errorf("the next turn's metadata %+v", next.Metadata)
		}
	})
}

func TestThinkingIsShownApart(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		o := r.fresh().says("[[think Let me see.]][[say Yes.]]", "Yes.")
		var thought strings.Builder
		for _, e := range o.of(iris.EventThinking) {
			thought.WriteString(e.Text)
		}
		if thought.String() != "Let me see." || o.shown() != "Yes." {
			t.Errorf("events %+v", o.Events)
		}
	})
}

func TestLeaveIsAskedAndObeyed(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		k := r.fresh()
		touch := func(name string) outcome {
			return k.answer(`[[tool Bash {"command":"touch ` + name + `","description":"make a file"}]][[say {result}]]`)
		}
		k.decide = func(iris.Permission) iris.Decision { return iris.Decision{Message: "not on a Sunday"} }
		o := touch("denied")
		if r.exists("denied") || !strings.Contains(o.Text, "not on a Sunday") {
			t.Errorf("denied, the model was told %q", o.Text)
		}
		if p := o.of(iris.EventPermission); len(p) != 1 || p[0].Permission.Decision != "deny" || p[0].Permission.Tool != "Bash" {
			t.Errorf("events %+v", o.Events)
		}
		k.decide = func(iris.Permission) iris.Decision { return iris.Decision{Allow: true} }
		if o = touch("allowed"); !r.exists("allowed") {
			t.Errorf("allowed, but there is no file; the model was told %q", o.Text)
		}
	})
}

func TestAnInterruptEndsTheTurnAndNothingElse(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		r.team.AllowedTools = []string{"Bash", "--version"} // the last one is no option
		k := r.fresh()
		sleep, chunks, asked := nap(), atomic.Int64{}, 0
		k.seen = func(e iris.Event) {
			if e.Kind == iris.EventChunk {
				chunks.Add(1)
			}
		}
		for _, tt := range []struct {
			name, text string
			ready      func() bool
		}{
			{"in the middle of a text", "[[pace 50ms]][[bytes 5000]]", func() bool { return chunks.Load() > 2 }},
			{"in a tool", `[[tool Bash {"command":"true && ` + sleep + `"}]]`, func() bool { return len(running(sleep)) > 0 }},
			{"before the first word", "[[hang]]", func() bool { return len(r.model.Requests()) > asked }},
		} {
			asked = len(r.model.Requests())
			enough := errors.New(tt.name)
			ctx, cancel := context.WithCancelCause(t.Context())
			var at time.Time
			var watch sync.WaitGroup
			watch.Go(func() {
				if !within(patience, tt.ready) {
					t.Errorf("%s: never came to that", tt.name)
				}
				at = time.Now()
				cancel(enough)
			})
			o := k.ask(ctx, iris.Turn{Text: tt.text})
			watch.Wait()
			if took := time.Since(at); took > atOnce {
				t.Errorf("%s: %v from the interrupt to the end", tt.name, took)
			}
			if !errors.Is(o.Err, enough) {
				t.Errorf("%s: %q, %v", tt.name, o.Text, o.Err)
			}
			eventually(t, "the tool's process is gone", func() bool { return len(running(sleep)) == 0 })
			k.says("[[say Still here.]]", "Still here.")
		}
	})
}

func TestAConversationGoesOnInANewProcess(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		id := iris.NewUUID()
		first := r.talk(id, false)
		first.answer("My name is Ada.")
		if err := first.agent.Close(); err != nil {
			t.Fatal(err)
		}
		o := r.talk(id, true).answer("[[say {earlier}]]")
		if o.Text != "1. My name is Ada." {
			t.Errorf("after the resume it remembers %q", o.Text)
		}
		if _, err := r.start(id, false); !errors.Is(err, iris.ErrConversationTaken) {
			t.Errorf("a second conversation of that id: %v", err)
		}
		if _, err := r.start(iris.NewUUID(), true); !errors.Is(err, iris.ErrConversationLost) {
			t.Errorf("an unknown conversation: %v", err)
		}
	})
}

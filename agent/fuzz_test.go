package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// FuzzLines plays any lines to an agent in the middle of a turn. It must neither fall over nor
// tell a reader anything but the truth: a turn that ends well leaves the reader with a text
// that ends with the answer.
func FuzzLines(f *testing.F) {
	for _, name := range []string{"tool_use", "v2.1.330/stream_cut", "subagent", "max_tokens_stop", "permission_allow", "v2.1.330/background_bash"} {
		f.Add(printed(f, filepath.Join("testdata/transcripts", name+".jsonl")))
	}
	f.Add([]byte("{\"type\":\"assistant\",\"message\":{\"id\":\"a\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}}\n{\"type\":\"result\",\"subtype\":\"success\"}"))
	f.Fuzz(func(t *testing.T, lines []byte) {
		a := newAgent(iris.Team{Name: "backend", Path: "/home/dev/projects/backend"}, slog.New(slog.DiscardHandler), time.Second)
		close(a.reaped)
		a.idle = true
		held := ""
		tn := &turn{uuid: "11111111-1111-4111-8111-111111111111", ctx: context.Background(), sent: true, over: make(chan struct{})}
		tn.Emit = func(e iris.Event) {
			switch e.Kind {
			case iris.EventChunk:
				held += e.Text
			case iris.EventRestart:
				held = ""
			}
		}
		a.turn = tn
		a.lines = make(chan line)
		go a.read(bytes.NewReader(lines))
		for l := range a.lines {
			a.line(l)
		}
		if a.turn != nil {
			a.gone()
		}
		<-tn.over
		if tn.err == nil && !strings.HasSuffix(held, tn.result.Text) {
			t.Errorf("a reader holds %q, and the answer is %q", held, tn.result.Text)
		}
	})
}

// printed is what the CLI of a recording printed.
func printed(t testing.TB, file string) []byte {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []byte
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var rec struct {
			Dir  string `json:"dir"`
			Line string `json:"line"`
		}
		if json.Unmarshal(lines.Bytes(), &rec) == nil && rec.Dir == "out" {
			out = append(append(out, rec.Line...), '\n')
		}
	}
	return out
}

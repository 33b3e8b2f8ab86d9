package mcp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"go.uber.org/goleak"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/mcp"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	local    = iris.Caller{Kind: iris.CallerLocal}
	frontend = iris.Caller{Kind: iris.CallerTeam, Name: "frontend"}
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// client is an MCP client of one session, over pipes as over stdio.
type client struct {
	t    testing.TB
	in   *io.PipeWriter
	out  *bufio.Reader
	done chan struct{} // closed when Serve has returned
	err  error         // of Serve
}

func connect(t testing.TB, ctx context.Context, s *mcp.Server, who iris.Caller) *client {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	c := &client{t: t, in: inW, out: bufio.NewReader(outR), done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.err = s.Serve(ctx, mcp.Lines(inR, outW), who)
		inR.Close()
		outW.Close()
	}()
	t.Cleanup(func() { // the client goes, and reads no more
		inW.Close()
		outR.Close()
		<-c.done
	})
	return c
}

func (c *client) send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.in, format+"\n", args...); err != nil {
		c.t.Fatal(err)
	}
}

// line is the next line from the server; it must be one JSON object.
func (c *client) line() string {
	c.t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		c.t.Fatalf("the server says no more: %v", err)
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(line), &object); err != nil {
		c.t.Fatalf("stdout is for JSON-RPC only, not %q", line)
	}
	return strings.TrimSuffix(line, "\n")
}

// result is a tool's result, as a client reads it.
type result struct {
	Content []struct {
		Text string `json:"text"`
	} `json:"content"`
	Structured struct {
		Error *struct {
			Code      iris.Code `json:"code"`
			Message   string    `json:"message"`
			Hint      string    `json:"hint"`
			MessageID string    `json:"messageId"`
		} `json:"error"`
		Response  string      `json:"response"`
		Status    iris.Status `json:"status"`
		MessageID string      `json:"messageId"`
	} `json:"structuredContent"`
	IsError bool `json:"isError"`
}

func (r result) text() string { return r.Content[0].Text }

func (r result) code() iris.Code {
	if r.Structured.Error == nil {
		return ""
	}
	return r.Structured.Error.Code
}

type reply struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Result result          `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Params struct {
		Token    any     `json:"progressToken"`
		Progress float64 `json:"progress"`
		Message  string  `json:"message"`
	} `json:"params"`
}

func (c *client) reply() reply {
	c.t.Helper()
	line := c.line()
	var r reply
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		c.t.Fatalf("%v in %s", err, line)
	}
	return r
}

// tool calls a tool and gives its result.
func (c *client) tool(name, arguments string) result {
	c.t.Helper()
	c.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, name, arguments)
	return c.reply().Result
}

// TestTranscripts plays the conversations of testdata: what the client says, then what the
// server answers, line by line. The first line of a file says who the client is.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			who := local
			if strings.HasPrefix(string(a.Comment), "frontend:") {
				who = frontend
			}
			f := newFake()
			c := connect(t, t.Context(), mcp.New(f, f, quiet(), "1.2.3"), who)
			for i, f := range a.Files {
				if f.Name == "client" {
					for line := range strings.Lines(string(f.Data)) {
						c.send("%s", strings.TrimSuffix(line, "\n"))
					}
					continue
				}
				var got strings.Builder
				for range max(1, strings.Count(string(f.Data), "\n")) {
					got.WriteString(c.line() + "\n")
				}
				if *update {
					a.Files[i].Data = []byte(got.String())
				} else if got.String() != string(f.Data) {
					t.Errorf("after %s\ngot  %swant %s", a.Files[i-1].Data, got.String(), f.Data)
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

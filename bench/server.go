package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/iris-mcp/iris-mcp/internal/drive"
)

// server is a running iris-mcp.
type server struct{ *drive.Server }

// startIris starts the server on a data folder of that name: the second time on one that is
// there already. With stdio it serves MCP beside HTTP.
func (b *bench) startIris(ctx context.Context, name string, stdio bool) (server, error) {
	team := func(more map[string]any) map[string]any {
		t := map[string]any{"path": filepath.Join(b.dir, "team"), "env": b.model.Vars(filepath.Join(b.dir, "home")), "maxProcesses": 6}
		for k, v := range more {
			t[k] = v
		}
		return t
	}
	teams := map[string]any{"backend": team(nil)}
	if name == "cold" {
		teams = map[string]any{
			"cold":  team(map[string]any{"idleTimeout": "200ms"}),
			"spare": team(map[string]any{"idleTimeout": "200ms", "warm": 1}),
		}
	}
	s, err := drive.Start(ctx, drive.Options{
		Binary: b.iris, Home: filepath.Join(b.dir, "iris-"+name), Stdio: stdio,
		Env:    b.model.Env(filepath.Join(b.dir, "home")),
		Config: map[string]any{"settings": map[string]any{"claudePath": b.claude}, "teams": teams},
	})
	return server{s}, err
}

// ask asks over HTTP and times it.
func (s server) ask(ctx context.Context, team, session, text string) (time.Duration, error) {
	began := time.Now()
	res, err := s.Send(ctx, "POST", "/teams/"+team+"/ask", map[string]string{"question": text, "sessionId": session})
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	took := time.Since(began)
	if err == nil && (res.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(wanted))) {
		err = fmt.Errorf("the answer was %s: %s", res.Status, body)
	}
	return took, err
}

// stream asks over SSE, tells when the first chunk had come, and times the whole.
func (s server) stream(ctx context.Context, team, session, text string) (first time.Time, took time.Duration, err error) {
	began := time.Now()
	var last drive.Event
	err = s.Stream(ctx, "POST", "/teams/"+team+"/stream", map[string]string{"message": text, "sessionId": session}, func(e drive.Event) {
		if e.Name == "chunk" && first.IsZero() {
			first = e.At
		}
		last = e
	})
	if err == nil && (first.IsZero() || last.Name != "complete") {
		err = fmt.Errorf("the stream ended with %s %s", last.Name, last.Data)
	}
	return first, last.At.Sub(began), err
}

// askTeam asks over MCP and times it.
func askTeam(m *drive.MCP, team, session, text string) (time.Duration, error) {
	res, err := m.Call("ask_team", map[string]any{"team": team, "question": text, "sessionId": session})
	if err == nil && (res.IsError || !strings.Contains(res.Text, wanted)) {
		err = fmt.Errorf("ask_team gave %s", res.Text)
	}
	return res.Took, err
}

// wanted is in every right answer.
const wanted = "All is well here, thank you."

// rss is the server's own memory in megabytes (10⁶ bytes).
func (s server) rss() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(text)) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == "VmRSS:" {
			kb, err := strconv.ParseFloat(f[1], 64)
			return kb * 1024 / 1e6, err
		}
	}
	return 0, errors.New("no VmRSS in /proc/PID/status")
}

// cpu is the processor time that the server has used.
func (s server) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2) // ticks of 1/100 s
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gopkg.in/yaml.v3"
)

// server is a running iris-mcp.
type server struct {
	*program
	mcp   *mcp // with stdio
	home  string
	url   string
	key   string
	ready time.Duration // from its start to /readyz
}

// startIris starts the server on a data folder of that name: the second time on one that is
// there already. With stdio it serves MCP beside HTTP.
func (b *bench) startIris(ctx context.Context, name string, stdio bool) (*server, error) {
	s := &server{home: filepath.Join(b.dir, "iris-"+name)}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s.url = "http://127.0.0.1:" + strconv.Itoa(port)
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
	config, err := yaml.Marshal(map[string]any{
		"api": map[string]any{"port": port}, "settings": map[string]any{"claudePath": b.claude}, "teams": teams,
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.home, "iris-config.yaml")
	if err := errors.Join(os.MkdirAll(s.home, 0o700), os.WriteFile(file, config, 0o600)); err != nil {
		return nil, err
	}
	args := []string{"serve", "--config", file}
	if !stdio {
		args = append(args, "--http-only")
	}
	began := time.Now()
	if s.program, err = start(ctx, b.command(ctx, s.home, args...)); err != nil {
		return nil, err
	}
	if err := s.untilReady(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.ready = time.Since(began)
	key, err := os.ReadFile(filepath.Join(s.home, "local.key"))
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.key = strings.TrimSpace(string(key))
	if stdio {
		s.mcp = &mcp{program: s.program}
		if err := s.mcp.initialize(); err != nil {
			return nil, errors.Join(err, s.stop())
		}
	}
	return s, nil
}

// startRelay starts a second iris-mcp on the server's data folder, as every Claude Code but
// the first does.
func (b *bench) startRelay(ctx context.Context, s *server) (*mcp, error) {
	p, err := start(ctx, b.command(ctx, s.home, "serve", "--config", filepath.Join(s.home, "iris-config.yaml")))
	if err != nil {
		return nil, err
	}
	m := &mcp{program: p}
	if err := m.initialize(); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

func (b *bench) command(ctx context.Context, home string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.iris, args...)
	cmd.Dir = b.dir
	cmd.Env = append(b.model.Env(filepath.Join(b.dir, "home")), "IRIS_HOME="+home)
	return cmd
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return ln.Addr().(*net.TCPAddr).Port, ln.Close()
}

func (s *server) untilReady(ctx context.Context) error {
	for began := time.Now(); time.Since(began) < 30*time.Second; {
		res, err := http.Get(s.url + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(500 * time.Microsecond):
		}
	}
	return fmt.Errorf("the server was not ready within 30 s: %s", s.stderr)
}

// stop ends the server as its user would.
func (s *server) stop() error {
	s.cmd.Process.Signal(syscall.SIGTERM)
	return s.close()
}

// post sends a request and returns the answer, which the caller closes.
func (s *server) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, s.url+"/api/v1"+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		return nil, fmt.Errorf("%s: %s: %s", path, res.Status, text)
	}
	return res, nil
}

// ask asks over HTTP and times it.
func (s *server) ask(ctx context.Context, team, session, text string) (time.Duration, error) {
	began := time.Now()
	res, err := s.send(ctx, "POST", "/teams/"+team+"/ask", map[string]string{"question": text, "sessionId": session})
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	took := time.Since(began)
	if err == nil && !bytes.Contains(body, []byte(wanted)) {
		err = fmt.Errorf("the answer was %s", body)
	}
	return took, err
}

// stream asks over SSE and tells when the first chunk had come.
func (s *server) stream(ctx context.Context, team, session, text string) (first time.Time, err error) {
	res, err := s.send(ctx, "POST", "/teams/"+team+"/stream", map[string]string{"message": text, "sessionId": session})
	if err != nil {
		return first, err
	}
	defer res.Body.Close()
	event, last := "", ""
	for in := bufio.NewReader(res.Body); ; {
		text, err := in.ReadString('\n')
		if err != nil {
			break
		}
		switch name, value, _ := strings.Cut(strings.TrimSpace(text), ":"); name {
		case "event":
			event = strings.TrimSpace(value)
		case "data":
			if event == "chunk" && first.IsZero() {
				first = time.Now()
			}
			last = event + value
		}
	}
	if first.IsZero() || !strings.HasPrefix(last, "complete") {
		return first, fmt.Errorf("the stream ended with %s", last)
	}
	return first, nil
}

// status is what a team's processes do.
type status struct {
	Processes []struct{ SessionID, State string }
}

// until waits until the team's processes are as wanted.
func (s *server) until(ctx context.Context, team string, wanted func(status) bool) error {
	for began := time.Now(); time.Since(began) < time.Minute; {
		res, err := s.send(ctx, "GET", "/teams/"+team+"/status", nil)
		if err != nil {
			return err
		}
		var st status
		err = json.NewDecoder(res.Body).Decode(&st)
		res.Body.Close()
		if err != nil || wanted(st) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("the processes of %s are not as they should be after a minute", team)
}

// rss is the server's own memory in megabytes (10⁶ bytes).
func (s *server) rss() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
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

// cpu is the processor time the server has used.
func (s *server) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2) // ticks of 1/100 s
}

//go:build attack

package attack_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp/agent/agenttest"
	"github.com/iris-mcp/iris-mcp/internal/drive"
)

// patience bounds whatever should take milliseconds; the machine may be busy.
const patience = 30 * time.Second

var binary string // iris-mcp, built for this run

// TestMain plays claude when a team starts it, and else builds iris-mcp and runs the tests.
func TestMain(m *testing.M) {
	agenttest.Main()
	os.Exit(drive.WithBinary(func(built string) int {
		binary = built
		return m.Run()
	}))
}

const (
	good = "iris_sk_good" // may do everything, without a limit
	low  = "iris_sk_lowprivileges"
)

// server is a running iris-mcp with a team that answers at once.
type server struct {
	*drive.Server
	t       *testing.T
	address string
}

func start(t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	key := func(name, key, tier string, scopes ...string) map[string]any {
		return map[string]any{"name": name, "key": key, "scopes": scopes, "tier": tier}
	}
	s, err := drive.Start(context.WithoutCancel(t.Context()), drive.Options{
		Binary: binary, Home: filepath.Join(dir, "home"),
		Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir},
		Config: map[string]any{
			"api": map[string]any{"auth": map[string]any{"keys": []any{
				key("good", good+"xxxxxxxx", "enterprise", "*"), key("low", low, "standard", "teams:read"),
			}}},
			"settings": map[string]any{"shutdownGrace": "1s", "logLevel": "warn"},
			"teams": map[string]any{"backend": map[string]any{
				"path": dir, "claudePath": self, "maxProcesses": 4, "idleTimeout": "10m",
				"env": map[string]any{agenttest.Script: "echo", agenttest.Home: filepath.Join(dir, "conversations")},
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("the server did not end well: %v", err)
		}
	})
	return &server{s, t, strings.TrimPrefix(s.URL, "http://")}
}

// dial connects, from an address of loopback if one is given.
func (s *server) dial(from string) *net.TCPConn {
	s.t.Helper()
	d := net.Dialer{Timeout: patience}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := d.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// raw sends bytes and gives the answers that come until the server hangs up or is silent. The
// whole of it is one connection.
func (s *server) raw(send string) (statuses []int, bodies [][]byte) {
	s.t.Helper()
	conn := s.dial("")
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	go func() {
		io.WriteString(conn, send)
		time.Sleep(50 * time.Millisecond) // a half-closed connection is a client that has gone
		conn.CloseWrite()
	}()
	for in := bufio.NewReader(conn); ; {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return statuses, bodies
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		statuses, bodies = append(statuses, res.StatusCode), append(bodies, body)
	}
}

// send is a request like any other.
func (s *server) send(method, path, key, body string) (status int, header http.Header, answer []byte) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, res.Header, answer
}

// refused checks that an answer blames the client, in the one shape of errors.
func refused(t *testing.T, what string, status int, body []byte) {
	t.Helper()
	if status < 400 || status > 499 {
		t.Errorf("%s: %d %.300s", what, status, body)
		return
	}
	var e struct{ Error, Code, Message, RequestID string }
	if err := json.Unmarshal(body, &e); err != nil || e.Error == "" || e.Code == "" || e.Message == "" || e.RequestID == "" {
		t.Errorf("%s: %d is not the shape of an error: %.300s", what, status, body)
	}
}

// memory is what the process has now and had at its peak, in megabytes.
func (s *server) memory() (now, peak int) {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		s.t.Skip("no /proc here:", err)
	}
	for line := range bytes.Lines(text) {
		name, rest, _ := strings.Cut(string(line), ":")
		kb, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
		switch name {
		case "VmRSS":
			now = kb >> 10
		case "VmHWM":
			peak = kb >> 10
		}
	}
	return now, peak
}

// neighbour asks one question after the other, as it should, until stop is called, and tells
// how long the answers took.
func (s *server) neighbour() (stop func() times) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var took times
	var all sync.WaitGroup
	all.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			status, _, body := s.send("POST", "/api/v1/teams/backend/ask", good+"xxxxxxxx", `{"question":"hello","sessionId":"neighbour"}`)
			took = append(took, time.Since(began))
			if status != 200 {
				s.t.Errorf("a good caller got %d %s", status, body)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	return func() times {
		cancel()
		all.Wait()
		slices.Sort(took)
		return took
	}
}

type times []time.Duration

func (t times) at(share float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	return t[min(int(share*float64(len(t))), len(t)-1)].Round(100 * time.Microsecond)
}

func (t times) String() string {
	return fmt.Sprintf("median %s, p99 %s of %d", t.at(.5), t.at(.99), len(t))
}

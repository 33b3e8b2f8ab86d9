//go:build chaos

package chaos_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp/agent/agenttest"
	"github.com/iris-mcp/iris-mcp/internal/drive"
)

var binary string // iris-mcp, built for this run

// TestMain plays claude when a team starts it, and else builds iris-mcp and runs the tests.
func TestMain(m *testing.M) {
	agenttest.Main()
	os.Exit(drive.WithBinary(func(built string) int {
		binary = built
		return m.Run()
	}))
}

// longer is how many times as long as in the suite a test is to take.
func longer() int {
	n, _ := strconv.Atoi(os.Getenv("IRIS_CHAOS"))
	return max(n, 1)
}

// site is a data folder with its teams, and the Iris that serves it now.
type site struct {
	t    *testing.T
	opts drive.Options
	*drive.Server
	teams  []string
	record string // folder of the scripted CLI's conversations
}

// newSite makes the teams; start serves them.
func newSite(t *testing.T, teams []string, change func(config map[string]any)) *site {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, teams: teams, record: filepath.Join(dir, "record")}
	configured := map[string]any{}
	for _, name := range append(teams, "record") {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range teams {
		configured[name] = map[string]any{
			"path": filepath.Join(dir, name), "parallelTasks": 3, "maxProcesses": 3,
			"env": map[string]string{agenttest.Script: "echo", agenttest.Home: s.record},
		}
	}
	config := map[string]any{
		"settings": map[string]any{"claudePath": self, "maxProcesses": 12, "shutdownGrace": "10s"},
		"teams":    configured,
		"queue":    map[string]any{"maxAttempts": 100, "backoff": "100ms"},
		"webhooks": map[string]any{"allowPrivate": true, "retryDelays": []string{"200ms", "1s", "1s", "1s", "1s"}},
	}
	if change != nil {
		change(config)
	}
	s.opts = drive.Options{Binary: binary, Home: filepath.Join(dir, "home"), Env: os.Environ(), Config: config}
	t.Cleanup(func() {
		if s.Server != nil {
			s.Server.Stop()
		}
	})
	return s
}

func (s *site) start() {
	s.t.Helper()
	server, err := drive.Start(context.WithoutCancel(s.t.Context()), s.opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Server, s.opts.Port = server, 0
}

// kill ends Iris as nobody can prevent.
func (s *site) kill() {
	s.Server.End(syscall.SIGKILL)
	s.Server = nil
}

// stop ends Iris in good order, and wants it to end well.
func (s *site) stop() {
	s.t.Helper()
	if err := s.Server.Stop(); err != nil {
		s.t.Error(err)
	}
	s.Server = nil
}

// message is what the history says of one.
type message struct {
	MessageID string
	Message   string
	Status    string
	Duration  int64 // from acceptance to its end
	Response  string
	Error     string
}

// history reads all messages.
func (s *site) history() map[string]message {
	s.t.Helper()
	all := map[string]message{}
	for page := 1; ; page++ {
		var got struct {
			Messages   []message
			Pagination struct{ HasNext bool }
		}
		path := fmt.Sprintf("/messages/history?limit=200&page=%d", page)
		if code, err := s.JSON(s.t.Context(), "GET", path, nil, &got); err != nil || code != 200 {
			s.t.Fatalf("history: %d, %v", code, err)
		}
		for _, m := range got.Messages {
			all[m.MessageID] = m
		}
		if !got.Pagination.HasNext {
			return all
		}
	}
}

// attempts is how often the message began.
func (s *site) attempts(m message) int {
	s.t.Helper()
	var got struct{ Attempts int }
	if code, err := s.JSON(s.t.Context(), "GET", "/messages/"+m.MessageID, nil, &got); err != nil || code != 200 {
		s.t.Fatalf("message: %d, %v", code, err)
	}
	return got.Attempts
}

// wholeEnd replays the message's events and says what is wrong with them: they are numbered
// without gaps, and the only last one is the last.
func (s *site) wholeEnd(m message) error {
	res, err := s.Send(s.t.Context(), "GET", "/messages/"+m.MessageID+"/stream", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	last, n := "", 0
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			if n++; value != fmt.Sprintf("%s:%d", m.MessageID, n) {
				return fmt.Errorf("event %d has the id %s", n, value)
			}
		case "event":
			if last == "complete" || last == "error" {
				return fmt.Errorf("after its last event comes %s", value)
			}
			last = value
		}
	}
	if want := map[bool]string{true: "complete", false: "error"}[m.Status == "completed"]; last != want {
		return fmt.Errorf("it is %s and its last event is %q", m.Status, last)
	}
	return nil
}

// runs counts, by question, how often the scripted CLI answered it.
func (s *site) runs() map[string]int {
	count := map[string]int{}
	files, _ := filepath.Glob(filepath.Join(s.record, "*.json"))
	for _, file := range files {
		var questions []string
		if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &questions) == nil {
			for _, q := range questions {
				count[q]++
			}
		}
	}
	return count
}

// leftOver lists the processes that belong to the site's teams.
func (s *site) leftOver() (all []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		env, err := os.ReadFile(file)
		dir := filepath.Dir(file)
		if err != nil || !bytes.Contains(env, []byte("IRIS_MARK=")) || !bytes.Contains(env, []byte(filepath.Dir(s.record))) {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		all = append(all, filepath.Base(dir)+" "+strings.ReplaceAll(string(cmdline[:min(len(cmdline), 100)]), "\x00", " "))
	}
	return all
}

// doing tells what Iris says of its processes and of what waits or runs, and of each thread of
// the processes what it does: its state, what of the kernel it sleeps in, and its call of the system.
func (s *site) doing() string {
	var b strings.Builder
	for _, path := range []string{"/processes", "/messages/history?status=queued", "/messages/history?status=processing"} {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		res, err := s.Send(ctx, http.MethodGet, path, nil)
		if err == nil {
			var body []byte
			body, err = io.ReadAll(res.Body)
			res.Body.Close()
			fmt.Fprintf(&b, "%s: %s\n", path, bytes.TrimSpace(body))
		}
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", path, err)
		}
		cancel()
	}
	for _, p := range s.leftOver() {
		fmt.Fprintln(&b, p)
		pid, _, _ := strings.Cut(p, " ")
		threads, _ := filepath.Glob("/proc/" + pid + "/task/*")
		for _, thread := range threads {
			stat, _ := os.ReadFile(thread + "/stat")
			sleeps, _ := os.ReadFile(thread + "/wchan")
			call, _ := os.ReadFile(thread + "/syscall")
			_, state, _ := strings.Cut(string(stat), ") ")
			fmt.Fprintf(&b, "\t%s %.1s %s %s\n", filepath.Base(thread), state, sleeps, bytes.TrimSpace(call))
		}
	}
	return b.String()
}

// wantNoneLeft waits a little for the last ones to go.
func (s *site) wantNoneLeft() {
	s.t.Helper()
	var left []string
	for range 100 {
		if left = s.leftOver(); len(left) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.t.Errorf("left over: %s", strings.Join(left, "\n"))
}

// until waits for something to come true, at most two minutes.
func (s *site) until(what string, so func() bool) {
	s.t.Helper()
	for began := time.Now(); !so(); time.Sleep(100 * time.Millisecond) {
		if time.Since(began) > 2*time.Minute {
			said := s.Stderr()
			s.t.Fatalf("%s: not within two minutes\n%s", what, said[max(0, len(said)-3000):])
		}
	}
}

// receiver takes webhooks and counts them by message.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	told map[string][]string // statuses
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{told: map[string][]string{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body struct{ MessageID, Status string }
		b, err := io.ReadAll(req.Body)
		if err != nil || json.Unmarshal(b, &body) != nil {
			w.WriteHeader(http.StatusBadRequest) // it was cut off, and comes again
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.told[body.MessageID] = append(r.told[body.MessageID], body.Status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) heard(id string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told[id]
}

// story is what Iris's log says of the message of an event, once Iris has had the time to notice
// that its reader is gone, and whatever it calls an error.
func (s *site) story(eventID string) string {
	time.Sleep(time.Second)
	id, _, _ := strings.Cut(eventID, ":")
	text, err := os.ReadFile(filepath.Join(s.opts.Home, "iris.log"))
	if err != nil || id == "" {
		return ""
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, id) || strings.Contains(line, `"level":"ERROR"`) {
			b.WriteString("\n" + strings.TrimSpace(line))
		}
	}
	return b.String()
}

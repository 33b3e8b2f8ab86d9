//go:build chaos

package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp/internal/model"
)

// Iris is killed ten times while it accepts and works off tasks. Whatever it has accepted comes
// to exactly one end; what had ended stays as it was; who is to be told of it is told.
func TestIrisIsKilledOverAndOver(t *testing.T) {
	s := newSite(t, []string{"one", "two", "three"}, nil)
	s.overAndOver(work{
		tasks: 1000 * longer(), kills: 10 * longer(), sessions: 3,
		least: 300 * time.Millisecond, most: 1500 * time.Millisecond,
		text: func(i int) string { return fmt.Sprintf("[[wait %dms]][[say Task %d is done.]]", 5+rand.N(40), i) },
	})
	answered, more := s.runs(), 0
	for _, n := range answered {
		more += n - 1
	}
	if len(answered) < 900*longer() { // a kill may come before the agent has written its answer down
		t.Errorf("the agents have answered only %d tasks", len(answered))
	}
	t.Logf("the agents have answered %d tasks, %d of them once more", len(answered), more)
}

func TestIrisIsKilledOverAndOverWithTheRealCLI(t *testing.T) {
	versions, err := os.ReadFile("../scripts/claude-versions")
	if err != nil {
		t.Fatal(err)
	}
	cache := os.Getenv("CLAUDE_CACHE")
	if cache == "" {
		cache = "../.cache/claude"
	}
	version := strings.Fields(string(versions))
	claude, err := filepath.Abs(filepath.Join(cache, version[len(version)-1], "claude"))
	if err == nil {
		_, err = os.Stat(claude)
	}
	if err != nil {
		t.Fatalf("the real CLI is not there: run `make claude` (%v)", err)
	}
	m := model.New(model.Options{})
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	home := t.TempDir()
	s := newSite(t, []string{"one", "two"}, func(config map[string]any) {
		config["settings"].(map[string]any)["claudePath"] = claude
		for _, team := range config["teams"].(map[string]any) {
			team := team.(map[string]any)
			team["env"] = m.Vars(home)
			team["parallelTasks"], team["maxProcesses"] = 1, 1
		}
	})
	s.overAndOver(work{
		tasks: 50 * longer(), kills: 10 * longer(), sessions: 1,
		least: 500 * time.Millisecond, most: 3 * time.Second,
		text: func(i int) string { return fmt.Sprintf("Task %d. [[wait 20ms]][[say Task %d is done.]]", i, i) },
	})
}

// work is what Iris has to do while it is killed.
type work struct {
	tasks, kills, sessions int
	least, most            time.Duration // from readiness to a kill
	text                   func(i int) string
}

func (s *site) overAndOver(w work) {
	t := s.t
	hook := newReceiver(t)
	began := time.Now()
	s.start()

	accepted := map[string]bool{}
	called := map[string]bool{} // those with a callback
	submit := func(i int) bool {
		body := map[string]any{"task": w.text(i), "sessionId": fmt.Sprint("session ", i/len(s.teams)%w.sessions), "dedupe": false}
		if i%10 == 0 {
			body["callback"] = map[string]any{"url": hook.URL}
		}
		var got struct{ MessageID string }
		code, err := s.JSON(t.Context(), "POST", "/teams/"+s.teams[i%len(s.teams)]+"/execute", body, &got)
		if err != nil || code != 202 {
			return false // whether it was accepted nobody knows; it does not count
		}
		accepted[got.MessageID] = true
		called[got.MessageID] = i%10 == 0
		return true
	}
	done := map[string]message{} // as they were when they were first seen
	check := func() (open int) {
		all := s.history()
		for id := range accepted {
			m, ok := all[id]
			if !ok {
				t.Fatalf("%s is lost", id)
			}
			was, ended := done[id]
			switch {
			case ended && m != was:
				t.Errorf("it had ended as %+v, and now it is %+v", was, m)
			case m.Status == "completed" || m.Status == "failed" || m.Status == "cancelled":
				done[id] = m
			default:
				open++
			}
		}
		return open
	}

	next := 0
	var recovered time.Duration
	for kill := range w.kills {
		at := time.Now().Add(w.least + rand.N(w.most-w.least))
		killed := make(chan struct{})
		server := s.Server
		go func() {
			defer close(killed)
			time.Sleep(time.Until(at))
			server.End(9)
		}()
		for until := w.tasks * (kill + 1) / max(w.kills-2, 1); next < min(until, w.tasks) && submit(next); next++ {
		}
		<-killed
		s.Server = nil
		s.start()
		recovered = max(recovered, s.Ready)
		check()
	}
	for ; next < w.tasks; next++ {
		if !submit(next) {
			t.Fatal("a task was not accepted in quiet times")
		}
	}
	s.until("all is done", func() bool { return check() == 0 })

	ran := s.runs()
	ends, again := map[string]int{}, 0
	for id, m := range done {
		ends[m.Status]++
		attempts := s.attempts(m)
		again += attempts - 1
		if n := ran[m.Message]; n > attempts {
			t.Errorf("%q was answered %d times in %d attempts", m.Message, n, attempts)
		}
		if m.Status != "completed" {
			t.Errorf("%s is %s after %d attempts: %s", id, m.Status, attempts, m.Error)
		}
		if err := s.wholeEnd(m); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	twice := 0
	for id, wanted := range called {
		if !wanted {
			continue
		}
		s.until("callback of "+id, func() bool { return len(hook.heard(id)) > 0 })
		twice += len(hook.heard(id)) - 1
		for _, status := range hook.heard(id) {
			if status != done[id].Status {
				t.Errorf("the receiver was told that %s is %s, and it is %s", id, status, done[id].Status)
			}
		}
	}
	s.stop()
	s.wantNoneLeft()
	t.Logf("%d accepted, ends %v, %d attempts more than tasks, %d callbacks made again, %d kills, ready again within %v, all in %v",
		len(accepted), ends, again, twice, w.kills, recovered.Round(time.Millisecond), time.Since(began).Round(time.Second))
}

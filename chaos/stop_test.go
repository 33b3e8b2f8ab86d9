//go:build chaos

package chaos_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A shutdown lets what is short come to its end, hands back what is long, tells the service
// manager, and ends with 0.
func TestAShutdownInGoodOrder(t *testing.T) {
	s := newSite(t, []string{"one"}, func(config map[string]any) {
		config["settings"].(map[string]any)["shutdownGrace"] = "4s"
	})
	manager := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: manager, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.opts.Env = append(s.opts.Env, "NOTIFY_SOCKET="+manager)
	told := func() string {
		t.Helper()
		b := make([]byte, 1000)
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		n, err := conn.Read(b)
		if err != nil {
			t.Error(err)
		}
		return string(b[:n])
	}
	s.start()
	if got := told(); !strings.HasPrefix(got, "READY=1\n") {
		t.Errorf("told %q", got)
	}
	stopping := filepath.Join(t.TempDir(), "stopping")
	short, long := s.execute("[[until "+stopping+"]][[say Short.]]", "a"), s.execute("[[wait 1m]][[say Long.]]", "b")
	waiting := s.execute("[[say {env NOTIFY_SOCKET}.]]", "b")
	s.until("both run", func() bool {
		return s.status(short) == "processing" && s.status(long) == "processing"
	})
	said := make(chan string, 1)
	go func() {
		said <- told()
		if err := os.WriteFile(stopping, nil, 0o600); err != nil {
			t.Error(err)
		}
	}()
	began := time.Now()
	s.stop()
	took := time.Since(began)
	if got := <-said; !strings.HasPrefix(got, "STOPPING=1\n") || !strings.Contains(got, "EXTEND_TIMEOUT_USEC=14000000") {
		t.Errorf("told %q", got)
	}
	s.wantNoneLeft()
	s.start()
	if got := s.status(short); got != "completed" {
		t.Errorf("what was short is %s", got)
	}
	if got := s.status(long); got != "processing" && got != "queued" {
		t.Errorf("what was long is %s", got)
	}
	if code, err := s.JSON(t.Context(), "POST", "/messages/"+long+"/cancel", nil, &struct{}{}); code != 200 {
		t.Errorf("cancel: %d, %v", code, err)
	}
	s.until("what waited is done", func() bool { return s.status(waiting) == "completed" })
	if m := s.history()[waiting]; m.Response != "." {
		t.Errorf("a team's process hears of the service manager: %q", m.Response)
	}
	s.stop()
	s.wantNoneLeft()
	t.Logf("a shutdown with a grace of 4s took %v", took.Round(time.Millisecond))
}

func TestASecondSignalMeansNow(t *testing.T) {
	s := newSite(t, []string{"one"}, nil)
	s.start()
	long := s.execute("[[wait 1m]][[say Long.]]", "a")
	s.until("it runs", func() bool { return s.status(long) == "processing" })
	pid := s.PID()
	time.AfterFunc(500*time.Millisecond, func() { syscall.Kill(pid, syscall.SIGTERM) })
	began := time.Now()
	err := s.Server.Stop()
	s.Server = nil
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 130 || time.Since(began) > 8*time.Second {
		t.Errorf("it ended with %v after %v", err, time.Since(began))
	}
	s.wantNoneLeft()
	s.start()
	if m := s.history()[long]; m.Status != "processing" && m.Status != "queued" {
		t.Errorf("what ran is %+v", m)
	}
	s.kill()
	s.wantNoneLeft()
}

// A server that an MCP client started ends when that goes.
func TestTheClientOfStdinGoes(t *testing.T) {
	s := newSite(t, []string{"one"}, nil)
	s.opts.Stdio = true
	s.start()
	going := filepath.Join(t.TempDir(), "going")
	short := s.execute("[[until "+going+"]][[say Short.]]", "a")
	s.until("it runs", func() bool { return s.status(short) == "processing" })
	time.AfterFunc(500*time.Millisecond, func() {
		if err := os.WriteFile(going, nil, 0o600); err != nil {
			t.Error(err)
		}
	})
	if err := s.Server.Close(); err != nil {
		t.Error(err)
	}
	s.opts.Stdio = false
	s.start()
	if got := s.status(short); got != "completed" {
		t.Errorf("what ran is %s", got)
	}
	s.stop()
	for _, name := range []string{"iris.db-wal", "iris.db-shm", "address"} {
		if _, err := os.Stat(filepath.Join(s.opts.Home, name)); err == nil {
			t.Errorf("%s is left behind: the end was not in good order", name)
		}
	}
	s.wantNoneLeft()
}

// execute gives team one a task.
func (s *site) execute(task, session string) (id string) {
	s.t.Helper()
	var got struct{ MessageID string }
	code, err := s.JSON(s.t.Context(), "POST", "/teams/one/execute", map[string]any{"task": task, "sessionId": session}, &got)
	if err != nil || code != 202 {
		s.t.Fatal(code, err)
	}
	return got.MessageID
}

// status is where the message is.
func (s *site) status(id string) string {
	s.t.Helper()
	var got struct{ Status string }
	if code, err := s.JSON(s.t.Context(), "GET", "/messages/"+id, nil, &got); err != nil || code != 200 {
		s.t.Fatal(code, err)
	}
	return got.Status
}

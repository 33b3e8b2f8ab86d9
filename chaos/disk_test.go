//go:build chaos

package chaos_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const ownMounts = "IRIS_CHAOS_MOUNTS" // set where the test may mount what it likes

// The disk under the data folder fills up and becomes free again, while tasks run.
func TestADiskThatIsFull(t *testing.T) {
	if os.Getenv(ownMounts) == "" {
		again := exec.Command("unshare", "-m", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		again.Env = append(os.Environ(), ownMounts+"=1")
		out, err := again.CombinedOutput()
		if bytes.Contains(out, []byte("unshare:")) || errors.Is(err, exec.ErrNotFound) {
			t.Skipf("this system gives no mount namespace: %s", out)
		}
		if t.Log(string(out)); err != nil {
			t.Error(err)
		}
		return
	}

	s := newSite(t, []string{"one"}, nil)
	if err := os.Mkdir(s.opts.Home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", s.opts.Home, "tmpfs", 0, "size=6m,mode=700"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(s.opts.Home, syscall.MNT_DETACH)
	s.start()

	type answer struct {
		MessageID, Response, Code, Message string
		Details                            map[string]any
	}
	ask := func(question string) (int, answer) {
		t.Helper()
		var a answer
		code, err := s.JSON(t.Context(), "POST", "/teams/one/ask", map[string]any{"question": question, "sessionId": "one", "timeout": 60_000}, &a)
		if err != nil {
			t.Fatal(err)
		}
		return code, a
	}
	ready := func() int {
		t.Helper()
		res, err := http.Get(s.URL + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	if code, a := ask("[[say One.]]"); code != 200 {
		t.Fatalf("at first: %d %+v", code, a)
	}
	var task, failing struct{ MessageID string }
	for body, into := range map[string]any{"[[wait 3s]][[say Ended meanwhile.]]": &task, "[[wait 2s]][[exit 3]]": &failing} {
		if code, err := s.JSON(t.Context(), "POST", "/teams/one/execute", map[string]any{"task": body, "maxAttempts": 2}, into); code != 202 {
			t.Fatal(code, err)
		}
	}
	time.Sleep(500 * time.Millisecond) // they run by now, or wait: either must do

	ballast := filepath.Join(s.opts.Home, "ballast")
	fill := func() {
		t.Helper()
		f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for size := 64 << 10; size > 0; size /= 2 {
			for err = nil; err == nil; _, err = f.Write(make([]byte, size)) {
			}
		}
	}
	fill()
	refused := 0
	for i := range 40 {
		code, a := ask(fmt.Sprintf("[[say %d.]] %s", i, strings.Repeat("x", 30_000)))
		switch {
		case code == 503 && a.Code == "INTERNAL_ERROR" && a.Details["store"] == "full" && strings.Contains(a.Message, "full"):
			refused++
		case code != 200:
			t.Errorf("on a full disk an ask is answered %d %+v", code, a)
		}
		fill() // a checkpoint may have made room
	}
	if refused < 20 {
		t.Errorf("only %d of 40 asks were refused", refused)
	}
	time.Sleep(4 * time.Second) // both tasks come to their ends, which can't be stored
	if code := ready(); code != 503 {
		t.Errorf("/readyz says %d", code)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.until("all is well again", func() bool { return ready() == 200 })
	s.until("an ask is answered", func() bool { code, _ := ask("[[say Two.]]"); return code == 200 })
	var m struct {
		Status   string
		Response string
		Attempts int
	}
	s.until("what had ended is stored", func() bool {
		_, err := s.JSON(t.Context(), "GET", "/messages/"+task.MessageID, nil, &m)
		return err == nil && m.Status == "completed"
	})
	if m.Response != "Ended meanwhile." {
		t.Errorf("it is %+v", m)
	}
	s.until("what had failed runs again", func() bool {
		_, err := s.JSON(t.Context(), "GET", "/messages/"+failing.MessageID, nil, &m)
		return err == nil && m.Status == "failed"
	})
	if m.Attempts != 2 {
		t.Errorf("it is %+v", m)
	}

	if code, err := s.JSON(t.Context(), "POST", "/teams/one/execute", map[string]any{"task": "[[wait 3s]][[say Done again.]]"}, &task); code != 202 {
		t.Fatal(code, err)
	}
	fill()
	ask("[[say Three.]]")
	backup := exec.Command(binary, "backup", filepath.Join(s.opts.Home, "backup.db"))
	backup.Env = append(os.Environ(), "IRIS_HOME="+s.opts.Home)
	if out, err := backup.CombinedOutput(); err == nil || !strings.Contains(string(out), "no room for") {
		t.Errorf("a backup to a full disk: %v, %s", err, out)
	}
	s.kill()
	fill()
	time.AfterFunc(3*time.Second, func() { os.Remove(ballast) })
	s.start() // waits for room
	s.until("what was accepted is done", func() bool {
		_, err := s.JSON(t.Context(), "GET", "/messages/"+task.MessageID, nil, &m)
		return err == nil && m.Status == "completed"
	})
	for id, m := range s.history() {
		if err := s.wholeEnd(m); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	time.Sleep(time.Second)
	if code := ready(); code != 200 {
		t.Errorf("after a kill and a start /readyz says %d", code)
	}
	if log, _ := os.ReadFile(filepath.Join(s.opts.Home, "iris.log")); !bytes.Contains(log, []byte("the record is whole")) && !strings.Contains(s.Stderr(), "the record is whole") {
		t.Errorf("nobody has checked the record: %s", s.Stderr())
	}

	s.until("an ask is answered", func() bool { code, _ := ask("[[say Four.]]"); return code == 200 })
	s.stop()
	s.wantNoneLeft()
}

package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/audit"
)

func TestAnEntryIsALine(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home") // it is made
	var said bytes.Buffer
	l := audit.New(home, slog.New(slog.NewTextHandler(&said, nil)))
	l.Record(t.Context(), iris.AuditEntry{
		Action: iris.AuditKeyCreated, Subject: "a\n\"b\" <c>", By: iris.Caller{Kind: iris.CallerKey, Name: "boss"},
		Address: "192.0.2.1", RequestID: "req_1", Details: map[string]any{"scopes": []iris.Scope{"teams:read"}},
	})
	l.Record(t.Context(), iris.AuditEntry{Action: iris.AuditKeyRevoked, Subject: "b", By: iris.Caller{Kind: iris.CallerLocal}})
	file := filepath.Join(home, audit.FileName)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	const form = "2006-01-02T15:04:05.000Z"
	at, rest, _ := strings.Cut(strings.TrimPrefix(lines[0], `{"at":"`), `"`)
	if when, err := time.Parse(form, at); err != nil || time.Since(when).Abs() > time.Minute {
		t.Errorf("the time is %s", at)
	}
	want := `,"action":"key.created","subject":"a\n\"b\" <c>","by":"key","name":"boss","address":"192.0.2.1","requestId":"req_1","details":{"scopes":["teams:read"]}}`
	if rest != want || len(lines) != 3 || lines[2] != "" || !strings.HasSuffix(lines[1], `,"action":"key.revoked","subject":"b","by":"local"}`) {
		t.Errorf("got %s", text)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if said.Len() > 0 {
		t.Errorf("log: %s", &said)
	}
}

// TestWritersDoNotMix: several logs of one file, as of several processes, write whole lines.
func TestWritersDoNotMix(t *testing.T) {
	home := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		l := audit.New(home, slog.New(slog.DiscardHandler))
		all.Go(func() {
			for i := range 50 {
				l.Record(t.Context(), iris.AuditEntry{Action: iris.AuditTeamChanged, Subject: fmt.Sprint(i), Details: map[string]any{"x": strings.Repeat("x", 5000)}})
			}
		})
	}
	all.Wait()
	if n := entries(t, home); n != 400 {
		t.Errorf("%d entries, want 400", n)
	}
}

func TestALineThatWasCutOffStandsAlone(t *testing.T) {
	home := t.TempDir()
	file := filepath.Join(home, audit.FileName)
	if err := os.WriteFile(file, []byte(`{"at":"20`), 0o600); err != nil {
		t.Fatal(err)
	}
	l := audit.New(home, slog.New(slog.DiscardHandler))
	l.Record(t.Context(), iris.AuditEntry{Action: iris.AuditTeamRemoved, Subject: "a"})
	text, _ := os.ReadFile(file)
	cut, rest, _ := bytes.Cut(text, []byte("\n"))
	if string(cut) != `{"at":"20` || !json.Valid(rest) {
		t.Errorf("got %s", text)
	}
}

// TestAnEntryThatCannotBeWritten is said, with what it was about.
func TestAnEntryThatCannotBeWritten(t *testing.T) {
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, audit.FileName), 0o700); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	l := audit.New(home, slog.New(slog.NewTextHandler(&said, nil)))
	l.Record(t.Context(), iris.AuditEntry{Action: iris.AuditProcessKilled, Subject: "42", By: iris.Caller{Kind: iris.CallerKey, Name: "boss"}})
	for _, want := range []string{"level=WARN", "is a directory", "action=process.killed", "subject=42", "name=boss"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("no %s in %s", want, &said)
		}
	}
}

// entries counts the lines, each of which must be an entry.
func entries(t *testing.T, home string) (n int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(home, audit.FileName))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !json.Valid([]byte(line)) {
			t.Fatalf("no entry: %.200s", line)
		}
		n++
	}
	return n
}

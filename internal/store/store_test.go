package store_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

// open gives an empty record that the test's end closes, and its file.
func open(t testing.TB) (*store.DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "iris.db")
	return reopen(t, path), path
}

func reopen(t testing.TB, path string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

var (
	local = iris.Caller{Kind: iris.CallerLocal}
	ci    = iris.Caller{Kind: iris.CallerKey, Name: "ci"}
	web   = iris.Caller{Kind: iris.CallerTeam, Name: "web"}
)

// ask is a message to a team as a dispatcher hands it to Accept.
func ask(team string, from iris.Caller, change ...func(*iris.Message)) iris.Message {
	m := iris.Message{
		ID: iris.NewID(iris.MessagePrefix), Team: team, Caller: from, Text: "which versions?",
		Priority: iris.PriorityNormal, Timeout: time.Minute, CreatedAt: time.Now(),
	}
	for _, c := range change {
		c(&m)
	}
	return m
}

func with(p iris.Priority) func(*iris.Message) { return func(m *iris.Message) { m.Priority = p } }
func named(name string) func(*iris.Message)    { return func(m *iris.Message) { m.SessionName = name } }
func in(session string) func(*iris.Message)    { return func(m *iris.Message) { m.SessionID = session } }
func task(m *iris.Message)                     { m.Task = true }
func at(when time.Time) func(*iris.Message)    { return func(m *iris.Message) { m.CreatedAt = when } }

// accept stores the message in a fresh session, unless it names one.
func accept(t testing.TB, db *store.DB, m iris.Message) iris.Message {
	t.Helper()
	m, created, err := db.Accept(t.Context(), m, true, "")
	if err != nil || !created {
		t.Fatalf("accept: created %v, %v", created, err)
	}
	return m
}

func claim(t testing.TB, db *store.DB, full ...string) (iris.Job, bool) {
	t.Helper()
	j, ok, err := db.Claim(t.Context(), iris.Claim{Worker: "w", Lease: time.Minute, FullTeams: full})
	if err != nil {
		t.Fatal(err)
	}
	return j, ok
}

// mustClaim claims the one job that the test expects.
func mustClaim(t testing.TB, db *store.DB, want iris.Message) iris.Job {
	t.Helper()
	j, ok := claim(t, db)
	if !ok || j.MessageID != want.ID {
		t.Fatalf("claimed %v %q, want %q", ok, j.MessageID, want.ID)
	}
	return j
}

// completed is the end of m, with its last event.
func completed(m iris.Message, seq int64) (iris.Message, iris.Event) {
	m.Status, m.Response = iris.StatusCompleted, "v1 and v2"
	m.CompletedAt = time.Now()
	return m, iris.Event{MessageID: m.ID, Seq: seq, At: m.CompletedAt, Kind: iris.EventComplete}
}

func finish(t testing.TB, db *store.DB, m iris.Message, attempt int) {
	t.Helper()
	seq, err := db.LastSeq(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	m, last := completed(m, seq+1)
	if err := db.Finish(t.Context(), m, attempt, last); err != nil {
		t.Fatal(err)
	}
}

func TestTheFileIsForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "iris.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil { // even if somebody made it for all
		t.Fatal(err)
	}
	db := reopen(t, path)
	if err := db.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("iris.db%s has mode %o, want 600", suffix, got)
		}
	}
}

func TestOpenTakesAnyPath(t *testing.T) {
	for _, name := range []string{"a b", "100%", "what?", "a#b", "a&b=c", "ü", "%20", "'q'"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name, "iris.db")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			m := accept(t, reopen(t, path), ask("api", local))
			if info, err := os.Stat(path); err != nil || info.Size() == 0 {
				t.Fatalf("the file is not where it should be: %v, %v", info, err)
			}
			if _, err := reopen(t, path).Message(t.Context(), m.ID); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestSeveralMayOpenTheSameNewFileAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "iris.db")
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			db, err := store.Open(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			for range 20 {
				if _, _, err := db.Accept(t.Context(), ask("api", local), false, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	db := reopen(t, path)
	if b, err := db.Backlog(t.Context(), "api"); err != nil || b.Waiting != 6*20 {
		t.Errorf("backlog %+v (%v), want 120 waiting", b, err)
	}
	if n, err := db.SessionCount(t.Context(), "api"); err != nil || n != 1 {
		t.Errorf("%d sessions (%v), want 1", n, err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	write := func(t *testing.T, path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	execute := func(t *testing.T, path, text string) {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		make func(t *testing.T, path string) string // gives the path to open
		want string
	}{
		{"the folder does not exist", func(t *testing.T, path string) string {
			return filepath.Join(filepath.Dir(path), "no", "iris.db")
		}, "does not exist: make it"},
		{"the folder is a file", func(t *testing.T, path string) string {
			write(t, path, "")
			return filepath.Join(path, "iris.db")
		}, "cannot be written"},
		{"the file is a folder", func(t *testing.T, path string) string {
			return filepath.Dir(path)
		}, "cannot be written"},
		{"the folder is read-only", func(t *testing.T, path string) string {
			if os.Geteuid() == 0 {
				return "/sys/iris.db" // where root may not write either
			}
			if err := os.Chmod(filepath.Dir(path), 0o500); err != nil {
				t.Fatal(err)
			}
			return path
		}, "cannot be written"},
		{"the file is no database", func(t *testing.T, path string) string {
			write(t, path, strings.Repeat("no database ", 1000))
			return path
		}, "put a backup in its place"},
		{"the file is too short for a database", func(t *testing.T, path string) string {
			write(t, path, "hello")
			return path
		}, "not a database"},
		{"the database is another program's", func(t *testing.T, path string) string {
			execute(t, path, "CREATE TABLE bookmark (url TEXT)")
			return path
		}, "database of another program"},
		{"the database is of a newer Iris", func(t *testing.T, path string) string {
			if err := reopen(t, path).Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			execute(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)")
			return path
		}, "newer Iris (form 9999"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.make(t, filepath.Join(t.TempDir(), "iris.db"))
			db, err := store.Open(t.Context(), path)
			if err == nil {
				db.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error says %q, want %q in it", err, tt.want)
			}
		})
	}
}

func TestARefusedDatabaseIsLeftAsItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "iris.db")
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec("CREATE TABLE bookmark (url TEXT)"); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(t.Context(), path); err == nil {
		t.Fatal("opened")
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("the file was changed")
	}
}

func TestWritesWaitForTheirTurnOnlyWhileTheirContextLasts(t *testing.T) {
	db, _ := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a write with an ended context gave %v", err)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("the next write gave %v", err)
	}
}

func TestTheStoreWorksInABubble(t *testing.T) {
	path := filepath.Join(t.TempDir(), "iris.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		m := accept(t, db, ask("api", local))
		j := mustClaim(t, db, m)
		if err := db.Return(t.Context(), j, nil, time.Now().Add(10*time.Minute)); err != nil {
			t.Fatal(err)
		}
		if j, ok := claim(t, db); ok {
			t.Fatalf("claimed %v before its time", j)
		}
		due, ok, err := db.NextRun(t.Context())
		if err != nil || !ok || time.Until(due) != 10*time.Minute {
			t.Fatalf("the next run is in %v (%v, %v), want 10m", time.Until(due), ok, err)
		}
		time.Sleep(time.Until(due))
		if j := mustClaim(t, db, m); j.Attempt != 2 {
			t.Errorf("attempt %d, want 2", j.Attempt)
		}
	})
}

package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// faulty is a record and a message that it accepts, if it can.
func faulty(t *testing.T) (*DB, string, func() error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "iris.db")
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, path, func() error {
		_, _, err := db.Accept(t.Context(), iris.Message{
			ID: iris.NewID(iris.MessagePrefix), Team: "api", Caller: iris.Caller{Kind: iris.CallerLocal},
			Text: strings.Repeat("x", 10_000), Priority: iris.PriorityNormal, CreatedAt: time.Now(),
		}, true, "")
		return err
	}
}

func TestAFaultIsNamedAndPasses(t *testing.T) {
	for _, tt := range []struct{ name, begins, ends string }{
		{"full", "max_page_count = 60", "max_page_count = 100000"},
		{"readonly", "query_only = 1", "query_only = 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db, _, accept := faulty(t)
			pragma := func(p string) {
				t.Helper()
				if _, err := db.writer.Exec("PRAGMA " + p); err != nil {
					t.Fatal(err)
				}
			}
			if err := accept(); err != nil {
				t.Fatal(err)
			}
			pragma(tt.begins)
			stored, err := 1, error(nil)
			for ; err == nil; err = accept() {
				if stored++; stored > 100 {
					t.Fatal("it never fails")
				}
			}
			stored--
			e, ok := errors.AsType[*iris.Error](err)
			if !ok || e.Status() != 503 || e.Details["store"] != tt.name || strings.Contains(e.Message, "/") {
				t.Errorf("got %v", err)
			}
			if tt.name == "readonly" {
				if err := db.Ping(t.Context()); err == nil {
					t.Error("the store says that all is well")
				}
			}
			pragma(tt.ends)
			if err := accept(); err != nil {
				t.Errorf("when the fault has gone: %v", err)
			}
			db.Bound(func() int { return stored + 1 })
			if err := accept(); iris.CodeOf(err) != iris.CodeQueueFull {
				t.Errorf("with room for %d: %v: what failed was counted", stored+1, err)
			}
		})
	}
}

func TestADamagedRecordIsFound(t *testing.T) {
	db, path, accept := faulty(t)
	for range 50 {
		if err := accept(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(b); i += 4096 { // where a long text goes on, it is said on which page it goes on from there
		if bytes.Count(b[i:i+4096], []byte("x")) > 4000 {
			copy(b[i:], "\xa5\xa5\xa5\xa5")
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if db, err = Open(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("before anybody has looked: %v", err)
	}
	for range 2 {
		e, ok := errors.AsType[*iris.Error](db.Check(t.Context()))
		if !ok || e.Details["store"] != "damaged" || e.Err == nil {
			t.Errorf("got %v", e)
		}
	}
	if err := db.Ping(t.Context()); err == nil || !strings.Contains(fmt.Sprint(err), "damaged") {
		t.Errorf("then: %v", err)
	}
}

func TestAnUncleanEndIsSeen(t *testing.T) {
	db, path, accept := faulty(t)
	if err := accept(); err != nil || db.Unclean() {
		t.Fatalf("a new record: unclean %v, %v", db.Unclean(), err)
	}
	dir := t.TempDir() // what a kill leaves behind
	for _, name := range []string{"iris.db", "iris.db-wal"} {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []bool{true, false} {
		killed, err := Open(t.Context(), filepath.Join(dir, "iris.db"))
		if err != nil {
			t.Fatal(err)
		}
		if killed.Unclean() != want {
			t.Errorf("opened for the %d. time, it is unclean: %v", i+1, !want)
		}
		if err := killed.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

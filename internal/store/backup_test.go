package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

func TestABackupIsWholeWhileOthersWrite(t *testing.T) {
	db, path := open(t)
	for range 50 {
		accept(t, db, ask("api", ci))
	}
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				accept(t, db, ask("api", ci))
			}
		}
	})
	to := filepath.Join(t.TempDir(), "iris.db")
	err := store.Backup(t.Context(), path, to)
	close(stop)
	writing.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy has mode %v, %v", info.Mode(), err)
	}
	if left, _ := os.ReadDir(filepath.Dir(to)); len(left) != 1 {
		t.Errorf("beside it lies %v", left)
	}
	copied := reopen(t, to)
	if err := copied.Check(t.Context()); err != nil {
		t.Error(err)
	}
	page, err := copied.Messages(t.Context(), iris.Filter{Limit: 200})
	if err != nil || page.Total < 50 {
		t.Errorf("the copy has %d messages, %v", page.Total, err)
	}
	backlog, err := copied.Backlog(t.Context(), "api")
	if err != nil || backlog.Waiting != page.Total {
		t.Errorf("%d jobs wait there, %v", backlog.Waiting, err)
	}
}

func TestABackupOverwritesNothing(t *testing.T) {
	db, path := open(t)
	accept(t, db, ask("api", ci))
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.db")
	if err := os.WriteFile(other, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, from, to, says string }{
		{"a file that exists", path, there, "exists"},
		{"itself", path, path, "exists"},
		{"from nothing", filepath.Join(dir, "none.db"), filepath.Join(dir, "new"), "nothing to back up"},
		{"from what is no database", other, filepath.Join(dir, "new"), "damaged"},
		{"into a folder that is not there", path, filepath.Join(dir, "no", "new"), "there is no folder "},
	} {
		if err := store.Backup(t.Context(), tt.from, tt.to); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if b, _ := os.ReadFile(there); string(b) != "mine" {
		t.Errorf("it now says %q", b)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("left over is %v", left)
	}
}

package auth_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/iris-mcp/iris-mcp/internal/auth"
)

func TestTheLocalKeyIsMadeOnce(t *testing.T) {
	for range 50 { // starters seldom meet at the very same instant
		dir := filepath.Join(t.TempDir(), "data")
		keys := make([]string, 8)
		start := make(chan struct{})
		var starters sync.WaitGroup
		for i := range keys {
			starters.Go(func() {
				<-start
				key, err := auth.LocalKey(dir)
				if err != nil {
					t.Error(err)
				}
				keys[i] = key
			})
		}
		close(start)
		starters.Wait()
		for _, key := range keys {
			if key != keys[0] || len(key) < 48 {
				t.Fatalf("%q beside %q", key, keys[0])
			}
		}
		for path, mode := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, "local.key"): 0o600} {
			if info, err := os.Stat(path); err != nil || info.Mode() != mode {
				t.Errorf("%s has mode %v, want %v", path, info.Mode(), mode)
			}
		}
	}
}

func TestALocalKeyThatIsNotGoodEnough(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		want       string // of the error; empty: a key
	}{
		{"a maker died before it wrote", "", 0o600, ""},
		{"others may have read it", "iris_sk_" + strings.Repeat("k", 43), 0o640, "is open to others (mode 0640), so its key may be known"},
		{"it holds something else", "hello", 0o600, "holds no key"},
		{"it holds half a key", "iris_sk_abc", 0o600, "holds no key"},
		{"it holds two keys", strings.Repeat("iris_sk_"+strings.Repeat("k", 43)+"\n", 2), 0o600, "holds no key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "local.key")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			key, err := auth.LocalKey(dir)
			switch {
			case tt.want == "" && (err != nil || key == ""):
				t.Errorf("got %q, %v", key, err)
			case tt.want != "" && (err == nil || key != "" || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %q, %v, want %s", key, err, tt.want)
			}
		})
	}
}

func TestTheLocalKeyIsNoSymlink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), filepath.Join(dir, "local.key")); err != nil {
		t.Fatal(err)
	}
	if key, err := auth.LocalKey(dir); err == nil {
		t.Errorf("got %q", key)
	}
}

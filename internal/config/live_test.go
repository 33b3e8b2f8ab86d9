package config_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/config"
)

func TestATeamThatDoesNotExist(t *testing.T) {
	live := config.NewLive(load(t, "teams: {backend: {path: .}, web: {path: .}}"))
	if got, err := live.Team("web"); err != nil || got.Name != "web" {
		t.Errorf("web is %+v, %v", got, err)
	}
	for name, want := range map[string]string{
		"backnd": `team "backnd" does not exist; did you mean "backend"?`,
		"ops":    `team "ops" does not exist`,
		"../web": `team "../web" does not exist`,
	} {
		_, err := live.Team(name)
		if e, ok := errors.AsType[*iris.Error](err); !ok || e.Code != iris.CodeTeamNotFound || e.Message != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if teams := live.Teams(); len(teams) != 2 || teams[0].Name != "backend" {
		t.Errorf("teams are %v", teams)
	}
}

// watched is a configuration that is followed, and what is heard of it.
type watched struct {
	t       *testing.T
	file    string
	live    *config.Live
	changes chan *config.Config
	logged  chan string
}

func watch(t *testing.T, file string) *watched {
	t.Helper()
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t, file: file, live: config.NewLive(c), changes: make(chan *config.Config, 16), logged: make(chan string, 64)}
	w.live.OnChange(func(c *config.Config) { w.changes <- c })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.live.Watch(ctx, slog.New(slog.NewTextHandler(w, nil)))
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func (w *watched) Write(line []byte) (int, error) {
	w.logged <- string(line)
	return len(line), nil
}

// edit replaces the file as an editor does.
func (w *watched) edit(text string) {
	w.t.Helper()
	if err := os.WriteFile(w.file+"~", []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(w.file+"~", w.file); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) change() *config.Config {
	w.t.Helper()
	select {
	case c := <-w.changes:
		return c
	case <-time.After(20 * time.Second):
		w.t.Fatal("the edit was not seen")
		return nil
	}
}

func (w *watched) log(part string) string {
	w.t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case line := <-w.logged:
			if strings.Contains(line, part) {
				return line
			}
		case <-late:
			w.t.Fatalf("nothing was logged of %q", part)
		}
	}
}

func TestAGoodEditIsPutInForce(t *testing.T) {
	w := watch(t, write(t, "teams: {a: {path: .}}"))
	w.edit("api: {port: 4000}\nteams: {a: {path: .}, b: {path: gone}}")
	if c := w.change(); c != w.live.Get() || names(c) != "a b" {
		t.Errorf("teams are %s", names(c))
	}
	if line := w.log("there is no folder"); !strings.Contains(line, "level=WARN") {
		t.Error(line)
	}
	if line := w.log("next start"); !strings.Contains(line, "key=api.port") {
		t.Error(line)
	}
	// in place, as `echo >>` does it
	f, err := os.OpenFile(w.file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("\nqueue: {maxConcurrent: 3}\n"); err != nil {
		t.Fatal(err)
	}
	if c := w.change(); c.Queue.MaxConcurrent != 3 {
		t.Errorf("queue is %+v", c.Queue)
	}
}

func TestABadEditIsRefusedWhole(t *testing.T) {
	good := "teams: {a: {path: .}}"
	w := watch(t, write(t, good))
	was := w.live.Get()
	w.edit("teams: {a: {path: .}, b: {path: .}}\nqueue: {maxWating: 3}")
	w.log("the old one stays in force")
	if err := w.live.LastError(); err == nil || !strings.Contains(err.Error(), "did you mean maxWaiting?") {
		t.Errorf("LastError is %v", err)
	}
	if w.live.Get() != was {
		t.Error("the old configuration did not stay")
	}
	w.edit(" \n")
	w.log("is empty")
	if err := w.live.LastError(); err == nil || w.live.Get() != was {
		t.Errorf("LastError is %v", err)
	}
	if err := os.Remove(w.file); err != nil {
		t.Fatal(err)
	}
	w.log("is gone")
	if err := w.live.LastError(); err == nil || w.live.Get() != was {
		t.Errorf("LastError is %v", err)
	}
	w.edit(good + "\n")
	if w.change(); w.live.LastError() != nil {
		t.Errorf("LastError is %v", w.live.LastError())
	}
}

func TestTheFirstTeamOfARunningServer(t *testing.T) {
	home := t.TempDir()
	t.Setenv("IRIS_HOME", home)
	w := watch(t, filepath.Join(home, config.FileName))
	if len(w.live.Get().Warnings) != 1 {
		t.Errorf("warnings are %q", w.live.Get().Warnings)
	}
	w.edit("teams: {a: {path: .}}")
	if c := w.change(); names(c) != "a" {
		t.Errorf("teams are %s", names(c))
	}
}

func TestAnEditBehindASymlinkIsSeen(t *testing.T) {
	target := write(t, "teams: {a: {path: .}}")
	link := filepath.Join(t.TempDir(), "link.yaml")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	w := watch(t, link)
	w.file = target
	w.edit("teams: {b: {path: .}}")
	if c := w.change(); names(c) != "b" || c.Teams[0].Path != filepath.Dir(link) {
		t.Errorf("teams are %+v", c.Teams)
	}
}

func names(c *config.Config) string {
	var all []string
	for _, t := range c.Teams {
		all = append(all, t.Name)
	}
	return strings.Join(all, " ")
}

package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/config"
)

// running is a server's configuration, in a data folder of its own, and a project folder.
func running(t *testing.T, text string) (live *config.Live, file, project string) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("IRIS_HOME", home)
	file = filepath.Join(home, config.FileName)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return config.NewLive(c), file, t.TempDir()
}

func path(path string) []iris.Setting { return []iris.Setting{{Key: "path", Value: path}} }

func TestTeamsAreInForceWhenTheyAreWritten(t *testing.T) {
	live, file, project := running(t, "# mine\nteams: # all\n")
	told := 0
	live.OnChange(func(c *config.Config) { told = 10*told + len(c.Teams) })
	settings := append(path(project), iris.Setting{Key: "idleTimeout", Value: 90 * time.Second},
		iris.Setting{Key: "env.A", Value: "${HOME} $"}, iris.Setting{Key: "model"}, iris.Setting{Key: "allowedTools", Value: []string{"Read", "Bash(ls:*)"}})
	made, err := live.AddTeam("backend", settings)
	if err != nil {
		t.Fatal(err)
	}
	is, err := live.Team("backend")
	if err != nil || is.Path != project || is.IdleTimeout != 90*time.Second || is.Env["A"] != "${HOME} $" || is.MaxProcesses != 4 || len(is.AllowedTools) != 2 {
		t.Errorf("in force is %+v, %v", is, err)
	}
	if fmt.Sprint(made) != fmt.Sprint(is) {
		t.Errorf("it gave %+v, and in force is %+v", made, is)
	}
	want := "# mine\nteams: # all\n  backend:\n    path: " + project + "\n    allowedTools:\n      - Read\n      - Bash(ls:*)\n    env:\n      A: $${HOME} $$\n    idleTimeout: 90s\n"
	if text, _ := os.ReadFile(file); string(text) != want {
		t.Errorf("the file says\n%s", text)
	}
	changed, err := live.ChangeTeam("backend", []iris.Setting{{Key: "warm", Value: 2}, {Key: "env.A"}}, nil)
	if is, _ := live.Team("backend"); err != nil || changed.Warm != 2 || is.Warm != 2 || len(is.Env) != 0 {
		t.Errorf("changed to %+v, %v", is, err)
	}
	if err := live.RemoveTeam("backend"); err != nil {
		t.Error(err)
	}
	if _, err := live.Team("backend"); iris.CodeOf(err) != iris.CodeTeamNotFound || told != 110 {
		t.Errorf("after its end: %v; told were %d", err, told)
	}
	if text, _ := os.ReadFile(file); string(text) != "# mine\nteams: # all\n" {
		t.Errorf("the file says\n%s", text)
	}
}

// TestPathsFromOutside: a team from outside is a folder that is there and gives nothing of
// Iris's own away, however its path is written.
func TestPathsFromOutside(t *testing.T) {
	live, file, project := running(t, "teams: {}\n")
	home, user := filepath.Dir(file), t.TempDir()
	t.Setenv("HOME", user)
	link := func(name, to string) string {
		from := filepath.Join(project, name)
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
		return from
	}
	for _, dir := range []string{filepath.Join(home, "logs"), filepath.Join(user, "src"), filepath.Join(project, "${HOME}")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	plain := filepath.Join(project, "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, path, says string }{
		{"a folder", project, ""},
		{"a folder in the home folder", "~/src", ""},
		{"a symlink to a folder", link("to-src", filepath.Join(user, "src")), ""},
		{"a folder with a variable's name", filepath.Join(project, "${HOME}"), ""},
		{"a relative path", "src", "must be a whole path"},
		{"nothing", "", "must be a whole path"},
		{"another user's", "~root/x", "must be a whole path"},
		{"a variable", "${HOME}", "must be a whole path"},
		{"what is not there", filepath.Join(project, "gone"), "there is no folder"},
		{"a file", plain, "there is no folder"},
		{"a NUL", project + "\x00", "there is no folder"},
		{"the data folder", home, "holds the data folder"},
		{"the data folder, roundabout", project + "/../" + filepath.Base(project) + "/" + strings.Repeat("../", 20) + home, "holds the data folder"},
		{"a symlink to the data folder", link("to-home", home), "holds the data folder"},
		{"a folder that holds it", filepath.Dir(home), "holds the data folder"},
		{"everything", "/", "holds the data folder"},
		{"a folder in it", filepath.Join(home, "logs"), "lies in the data folder"},
		{"a folder in it behind a symlink", link("to-logs", filepath.Join(home, "logs")), "lies in the data folder"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			team, err := live.AddTeam("x", path(tt.path))
			if tt.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				if info, err := os.Stat(team.Path); err != nil || !info.IsDir() {
					t.Errorf("it became %s: %v", team.Path, err)
				}
				if err := live.RemoveTeam("x"); err != nil {
					t.Fatal(err)
				}
				return
			}
			if iris.CodeOf(err) != iris.CodeInvalidRequest || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %s", err, tt.says)
			}
			if e := iris.AsError(err); fmt.Sprint(e.Details) != fmt.Sprintf("map[errors:[map[field:path problem:%s]]]", strings.TrimPrefix(e.Message, "path: ")) {
				t.Errorf("its details are %v", e.Details)
			}
		})
	}
	if _, err := live.AddTeam("x", path(project)); err != nil {
		t.Fatal(err)
	}
	if _, err := live.ChangeTeam("x", path(home), nil); iris.CodeOf(err) != iris.CodeInvalidRequest {
		t.Errorf("a team was led into the data folder: %v", err)
	}
	elsewhere := filepath.Join(t.TempDir(), "sub", config.FileName)
	if err := os.MkdirAll(filepath.Dir(elsewhere), 0o700); err != nil {
		t.Fatal(err)
	}
	other := config.NewLive(&config.Config{File: elsewhere})
	for _, folder := range []string{filepath.Dir(elsewhere), filepath.Dir(filepath.Dir(elsewhere))} {
		if _, err := other.AddTeam("x", path(folder)); iris.CodeOf(err) != iris.CodeInvalidRequest || !strings.Contains(err.Error(), "holds the configuration") {
			t.Errorf("%s: %v", folder, err)
		}
	}
}

// TestAFolderThatGivesIrisAway: whoever writes the file may have such a team, and is told.
func TestAFolderThatGivesIrisAway(t *testing.T) {
	_, file, project := running(t, "")
	for folder, warned := range map[string]bool{project: false, filepath.Dir(file): true, "/": true} {
		if err := os.WriteFile(file, []byte("teams: {a: {path: "+folder+"}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(file)
		if err != nil || strings.Contains(strings.Join(c.Warnings, "\n"), "can read the local user's key") != warned {
			t.Errorf("%s: %v, %v", folder, c.Warnings, err)
		}
	}
}

// TestTheFileIsNotFilledFromADistance: it stays one that Load takes.
func TestTheFileIsNotFilledFromADistance(t *testing.T) {
	var many strings.Builder
	many.WriteString("teams:\n")
	for i := range 1000 {
		fmt.Fprintf(&many, "  t%d: {path: /}\n", i)
	}
	live, _, project := running(t, many.String())
	if _, err := live.AddTeam("x", path(project)); iris.CodeOf(err) != iris.CodeConflict || !strings.Contains(err.Error(), "1000 teams") {
		t.Errorf("one team more: %v", err)
	}
	if _, err := live.ChangeTeam("t1", []iris.Setting{{Key: "color", Value: "red"}}, nil); err != nil {
		t.Error(err)
	}
	if _, err := live.ChangeTeam("t1", []iris.Setting{{Key: "description", Value: strings.Repeat("x", 1<<20)}}, nil); iris.CodeOf(err) != iris.CodeConflict {
		t.Errorf("a megabyte more: %v", err)
	}
	if err := live.RemoveTeam("t1"); err != nil {
		t.Error(err)
	}
}

// TestWhoMayChangeATeamIsAskedAboutTheTeamAsItIs: not as it was before somebody else's edit.
func TestWhoMayChangeATeamIsAskedAboutTheTeamAsItIs(t *testing.T) {
	live, file, _ := running(t, "teams: {a: {path: /}}\n")
	if err := os.WriteFile(file, []byte("teams: {a: {path: /, permissions: allow}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	_, err := live.ChangeTeam("a", []iris.Setting{{Key: "color", Value: "red"}}, func(is iris.Team) error {
		if is.Permissions == iris.PermissionsAllow {
			return no
		}
		return nil
	})
	if !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	if text, _ := os.ReadFile(file); strings.Contains(string(text), "red") {
		t.Errorf("the file says\n%s", text)
	}
}

func TestAnEditByHandIsNotLost(t *testing.T) {
	live, file, project := running(t, "teams: {}\n")
	if err := os.WriteFile(file, []byte("settings:\n  maxProcesses: 3 # by hand\nteams: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := live.AddTeam("a", path(project)); err != nil {
		t.Fatal(err)
	}
	if live.Get().Settings.MaxProcesses != 3 {
		t.Error("the edit by hand is not in force")
	}
	if text, _ := os.ReadFile(file); !strings.Contains(string(text), "# by hand") {
		t.Errorf("the file says\n%s", text)
	}
	if err := os.WriteFile(file, []byte("settings:\n  maxProcesses: none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := live.ChangeTeam("a", []iris.Setting{{Key: "color", Value: "red"}}, nil)
	if e := iris.AsError(err); e.Code != iris.CodeConflict || strings.Contains(e.Message, file) || e.Private["file"] != file || !strings.Contains(e.Message, "has errors") {
		t.Errorf("into a broken file: %+v", e)
	}
}

// TestChangesAtOnce: from several callers, and from other programs that know the lock.
func TestChangesAtOnce(t *testing.T) {
	live, file, project := running(t, "teams:\n  a:\n    path: /\n")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if _, err := live.AddTeam(fmt.Sprint("live-", i), path(project)); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if err := config.AddTeam(file, fmt.Sprint("cli-", i), config.Team{Path: project}); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if _, err := live.ChangeTeam("a", []iris.Setting{{Key: fmt.Sprint("env.V", i), Value: "x"}}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	c, err := config.Load(file)
	if err != nil || len(c.Teams) != 17 {
		t.Fatalf("%d teams, %v", len(c.Teams), err)
	}
	if a, _ := c.Team("a"); len(a.Env) != 8 {
		t.Errorf("%d of 8 changes are left", len(a.Env))
	}
}

// TestTheWatchDoesNotPutAnOldFileInForce: what was edited stays in force while the file is
// followed.
func TestTheWatchDoesNotPutAnOldFileInForce(t *testing.T) {
	t.Setenv("IRIS_HOME", t.TempDir())
	w := watch(t, write(t, "teams: {}\n"))
	project := t.TempDir()
	for i := range 20 {
		name := fmt.Sprint("t", i)
		if _, err := w.live.AddTeam(name, path(project)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		if _, err := w.live.Team(name); err != nil {
			t.Fatal(err)
		}
		w.change()
	}
}

func TestAFileThatMayNotBeWritten(t *testing.T) {
	for err, says := range map[error]string{
		fs.ErrPermission: "may not be written by the user that Iris runs as",
		syscall.EROFS:    "file system that cannot be written",
		syscall.EBUSY:    "mount its folder",
	} {
		got := config.CannotWrite("/etc/iris.yaml", fmt.Errorf("rename: %w", err))
		if iris.CodeOf(got) != iris.CodeConflict || !strings.Contains(got.Error(), "/etc/iris.yaml") || !strings.Contains(got.Error(), says) || !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
	if got := config.CannotWrite("/etc/iris.yaml", syscall.ENOSPC); iris.CodeOf(got) != iris.CodeInternal {
		t.Errorf("a full disk: %v", got)
	}
	if os.Getuid() == 0 {
		return // who may write everything
	}
	live, file, project := running(t, "teams: {}\n")
	if err := os.Chmod(file, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := live.AddTeam("a", path(project)); iris.CodeOf(err) != iris.CodeConflict {
		t.Errorf("a file that may only be read: %v", err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(file), 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(filepath.Dir(file), 0o700)
	if _, err := live.AddTeam("a", path(project)); iris.CodeOf(err) != iris.CodeConflict {
		t.Errorf("a folder that may only be read: %v", err)
	}
}

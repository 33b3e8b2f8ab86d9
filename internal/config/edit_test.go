package config_test

import (
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/config"
)

var update = flag.Bool("update", false, "write what the tests see into the golden files")

// noBreak at the end of a golden file stands for a missing line break, which txtar cannot have.
const noBreak = "\\n-missing-\n"

// Each file of testdata/edit is one edit of one text: what comes out, or why it is refused.
func TestEditsKeepEveryOtherByte(t *testing.T) {
	files, err := filepath.Glob("testdata/edit/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, golden := range files {
		t.Run(strings.TrimSuffix(filepath.Base(golden), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			before := strings.TrimSuffix(string(a.Files[0].Data), noBreak)
			for _, eol := range []string{"\n", "\r\n"} {
				file := write(t, strings.ReplaceAll(before, "\n", eol))
				verb, rest, _ := strings.Cut(strings.TrimSpace(string(a.Comment)), " ")
				name, settings, _ := strings.Cut(rest, " ")
				switch verb {
				case "add":
					err = config.AddTeam(file, name, config.Team{Path: "/srv/web app", Description: "answers: #1"})
				case "remove":
					err = config.RemoveTeam(file, name)
				case "change":
					_, err = config.NewLive(&config.Config{File: file}).ChangeTeam(name, settingsOf(t, settings), nil)
				}
				text, readErr := os.ReadFile(file)
				if readErr != nil {
					t.Fatal(readErr)
				}
				after := strings.ReplaceAll(string(text), eol, "\n")
				if eol != "\n" && strings.Contains(strings.ReplaceAll(string(text), eol, ""), "\n") && len(before) > 0 {
					t.Errorf("the line breaks are mixed:\n%q", text)
				}
				if after != "" && !strings.HasSuffix(after, "\n") {
					after += noBreak
				}
				got := txtar.File{Name: "after.yaml", Data: []byte(after)}
				if err != nil {
					if after != string(a.Files[0].Data) {
						t.Errorf("the edit was refused, but the file changed to\n%s", after)
					}
					says := strings.ReplaceAll(strings.ReplaceAll(err.Error(), file, "FILE"), config.FileName, "FILE")
					got = txtar.File{Name: "refused", Data: []byte(says + "\n")}
				}
				if *update {
					a.Files = append(a.Files[:1], got)
					if err := os.WriteFile(golden, txtar.Format(a), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if len(a.Files) != 2 || a.Files[1].Name != got.Name || string(a.Files[1].Data) != string(got.Data) {
					t.Errorf("got %s:\n%s", got.Name, got.Data)
				}
			}
		})
	}
}

// settingsOf reads settings from a JSON object.
func settingsOf(t *testing.T, text string) []iris.Setting {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	var settings []iris.Setting
	for _, key := range slices.Sorted(maps.Keys(all)) {
		value := all[key]
		switch v := value.(type) {
		case float64:
			value = int(v)
		case []any:
			list := []string{}
			for _, item := range v {
				list = append(list, item.(string))
			}
			value = list
		}
		settings = append(settings, iris.Setting{Key: key, Value: value})
	}
	return settings
}

// full is a team with every key.
var full = config.Team{
	Path:               "/srv/$HOME/${x} $$",
	Description:        "says: \"hello\", # and more",
	Color:              "#1e90ff",
	Model:              "opus",
	Permissions:        iris.PermissionsDeny,
	PermissionMode:     "plan",
	AllowedTools:       []string{"Read", "Bash(git log:*)"},
	DisallowedTools:    []string{"WebFetch"},
	AppendSystemPrompt: "  Be brief.\n# no comment\n\n\tBe kind.\n",
	Env:                map[string]string{"B": "yes", "A": "007", "EMPTY": ""},
	MaxProcesses:       3,
	ParallelTasks:      2,
	Warm:               1,
	PerTeam: config.PerTeam{
		ClaudePath: "claude-next", TurnTimeout: 90 * time.Minute, SilenceTimeout: 36 * time.Hour,
		IdleTimeout: 1500 * time.Millisecond, PermissionTimeout: 48 * time.Hour,
	},
}

func TestEveryKeyOfATeamIsWrittenAndReadBack(t *testing.T) {
	for _, before := range []string{"", "teams: {other: {path: /}}\n", "teams:\n    other:\n       path: /\n\n    more: {path: /}\n"} {
		file := write(t, before)
		if err := config.AddTeam(file, "null", full); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Team("null")
		if err != nil {
			t.Fatal(err)
		}
		if got.Path != full.Path || got.Description != full.Description || got.Color != full.Color || got.Model != full.Model ||
			got.Permissions != full.Permissions || got.PermissionMode != full.PermissionMode ||
			!slices.Equal(got.AllowedTools, full.AllowedTools) || !slices.Equal(got.DisallowedTools, full.DisallowedTools) ||
			got.AppendSystemPrompt != full.AppendSystemPrompt || len(got.Env) != 3 || got.Env["A"] != "007" || got.Env["B"] != "yes" ||
			got.MaxProcesses != 3 || got.ParallelTasks != 2 || got.Warm != 1 || got.ClaudePath != "claude-next" ||
			got.TurnTimeout != full.TurnTimeout || got.SilenceTimeout != full.SilenceTimeout ||
			got.IdleTimeout != full.IdleTimeout || got.PermissionTimeout != full.PermissionTimeout {
			text, _ := os.ReadFile(file)
			t.Errorf("%s\nis read as\n%+v", text, got)
		}
	}
}

func TestABadTeamIsNotWritten(t *testing.T) {
	file := write(t, "")
	err := config.AddTeam(file, "a", config.Team{Path: file, Permissions: "never", Warm: 9})
	want := "teams.a.path: " + file + " is a file; a team is a folder; " +
		`teams.a.permissions: must be ask, allow, deny or forward, not "never"; ` +
		"teams.a.warm: is 9, but the team may have no more than 4 processes (maxProcesses)"
	if e, ok := errors.AsType[*iris.Error](err); !ok || e.Code != iris.CodeInvalidRequest || e.Message != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if err := config.AddTeam(file, "a", config.Team{}); iris.CodeOf(err) != iris.CodeInvalidRequest {
		t.Errorf("a team without a path: %v", err)
	}
}

func TestAddTeamMakesTheFile(t *testing.T) {
	home := filepath.Join(t.TempDir(), "not", "yet")
	t.Setenv("IRIS_HOME", home)
	file := filepath.Join(home, config.FileName)
	if err := config.RemoveTeam(file, "a"); err == nil {
		t.Error("a team was removed from nothing")
	}
	project := t.TempDir()
	if err := config.AddTeam(file, "a", config.Team{Path: project}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), "# Iris: ") || !strings.HasSuffix(string(text), "\n\nteams:\n  a:\n    path: "+project+"\n") {
		t.Errorf("the file is %q, %v", text, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if c, err := config.Load(file); err != nil || len(c.Teams) != 1 || len(c.Warnings) != 0 {
		t.Errorf("it loads as %+v, %v", c, err)
	}
}

func TestAnEditKeepsTheModeAndTheSymlink(t *testing.T) {
	file := write(t, "teams: {}\n")
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link.yaml")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := config.AddTeam(link, "a", config.Team{Path: "/"}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the symlink became %v, %v", info.Mode(), err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o640 {
		t.Errorf("the mode became %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".*")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	if c, err := config.Load(file); err != nil || len(c.Teams) != 1 {
		t.Errorf("it loads as %+v, %v", c, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := config.AddTeam(link, "b", config.Team{Path: "/"}); err == nil {
		t.Error("a symlink that leads nowhere was written through")
	}
}

func TestEditsAtOnceLoseNothing(t *testing.T) {
	file := write(t, "teams:\n  a0: {path: /}\n")
	var editors sync.WaitGroup
	for i := range 20 {
		editors.Go(func() {
			if err := config.AddTeam(file, "b"+string(rune('a'+i)), config.Team{Path: "/"}); err != nil {
				t.Error(err)
			}
		})
	}
	editors.Wait()
	if c, err := config.Load(file); err != nil || len(c.Teams) != 21 {
		t.Errorf("%d teams, %v", len(c.Teams), err)
	}
}

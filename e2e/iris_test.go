//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	sdk "github.com/iris-mcp/go-client"
)

func TestTheQuickExample(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		s := r.site(map[string]settings{"backend": {"disallowedTools": []string{"Bash"}}})
		status, body := s.post("/api/v1/teams/backend/ask", `{
    "question": "What database migration system do you use? [[say We use Prisma for database migrations...]]",
    "timeout": 30000
  }`)
		var got map[string]any
		if err := json.Unmarshal([]byte(body), &got); status != 200 || err != nil {
			t.Fatalf("%d %s", status, body)
		}
		for _, field := range []string{"messageId", "team", "question", "response", "duration", "timestamp", "sessionId", "metadata"} {
			if got[field] == nil {
				t.Errorf("the answer has no %s: %s", field, body)
			}
		}
		if got["response"] != "We use Prisma for database migrations..." {
			t.Errorf("answered %q", got["response"])
		}

		dir := r.teamFolder(s, "backend")
		a := s.answer("backend", fmt.Sprintf(`[[tool Read {"file_path":%q}]] [[tool Grep {"pattern":"secret","path":%q}]] [[say done]]`,
			filepath.Join(dir, "CLAUDE.md"), dir))
		if !slices.Equal(a.Metadata.ToolsUsed, []string{"Read", "Grep"}) || !slices.Equal(a.Metadata.FilesAccessed, []string{"CLAUDE.md"}) {
			t.Errorf("tools %q, files %q", a.Metadata.ToolsUsed, a.Metadata.FilesAccessed)
		}
	})
}

// TestTheDemo runs what `make demo` runs, and wants nothing of it to be left.
func TestTheDemo(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		path, err := program()
		if err != nil {
			t.Fatal(err)
		}
		tmp := t.TempDir()
		cmd := exec.CommandContext(t.Context(), path, "demo", "--claude", r.team.ClaudePath)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "TMPDIR="+tmp)
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Count(string(out), "v1 (deprecated, gone in March) and v2 (current)") != 3 || !strings.Contains(string(out), "SCRIPT") {
			t.Errorf("%v\n%s", err, out)
		}
		if left, err := filepath.Glob(filepath.Join(tmp, "iris-demo-*")); err != nil || len(left) > 0 {
			t.Errorf("it left %v, %v", left, err)
		}
		if left := running("iris-demo-"); len(left) > 0 {
			t.Errorf("it left running:\n%s", strings.Join(left, "\n"))
		}
	})
}

// teamFolder is where a team of the server works, with symlinks resolved.
func (r *rig) teamFolder(s *site, team string) string {
	r.t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "path: "); ok && filepath.Base(path) == team {
			return path
		}
	}
	r.t.Fatalf("no folder of %s in %s", team, text)
	return ""
}

func TestTwentyAsksOfFiveColdTeams(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		teams := map[string]settings{}
		names := []string{"a", "b", "c", "d", "e"}
		for i, name := range names {
			teams[name] = settings{}
			if i == 0 {
				teams[name]["path"] = filepath.Join(r.t.TempDir(), "with space, a.dot and_underscore", "a")
			}
		}
		link := filepath.Join(r.t.TempDir(), "link")
		if err := os.Symlink(r.t.TempDir(), link); err != nil {
			t.Fatal(err)
		}
		teams["b"]["path"] = filepath.Join(link, "b")
		s := r.site(teams)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				name := names[i%5]
				a, err := s.ask(t.Context(), name, fmt.Sprintf("What is the secret? [[say %d {lookup}]]", i))
				if err != nil {
					t.Errorf("ask %d: %v", i, err)
				} else if !strings.Contains(a.Response, fmt.Sprint(i)) || !strings.Contains(a.Response, name+"-secret") {
					t.Errorf("ask %d of %s was answered %q", i, name, a.Response)
				}
			})
		}
		all.Wait()
		if n := strings.Count(s.log.String(), "process started"); n > 20 {
			t.Errorf("%d launches for 20 sessions", n)
		}
	})
}

func TestConversations(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		s := r.site(map[string]settings{"backend": {}})
		var mu sync.Mutex
		sessions := map[string]bool{}
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				a, err := s.ask(t.Context(), "backend", fmt.Sprintf("I am caller %d. [[say <{earlier}>]]", i))
				if err != nil || !strings.Contains(a.Response, "<nothing") {
					t.Errorf("caller %d: %+v, %v", i, a, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				sessions[a.SessionID] = true
			})
		}
		all.Wait()
		if len(sessions) != 10 {
			t.Errorf("ten callers share %d conversations", len(sessions))
		}

		s.sideBySide()

		name := sdk.WithSession("github:acme/api#123")
		first := s.answer("backend", "My word is apple.", name)
		if first.SessionID != "github:acme/api#123" {
			t.Errorf("the name comes back as %q", first.SessionID)
		}
		again := s.answer("backend", "And? [[say {earlier}]]", name)
		if !strings.Contains(again.Response, "apple") {
			t.Errorf("by its name it remembers only %q", again.Response)
		}
		byID := s.answer("backend", "My word is pear.")
		again = s.answer("backend", "And? [[say {earlier}]]", sdk.WithSession(byID.SessionID))
		if !strings.Contains(again.Response, "pear") || strings.Contains(again.Response, "apple") {
			t.Errorf("by its id it remembers %q", again.Response)
		}

		_, slow := s.begun("backend", "First. [[wait 2s]] [[say one]]", name)
		began := time.Now()
		second := s.answer("backend", "Second. [[say {earlier}]]", name)
		if err := <-slow; err != nil || time.Since(began) < time.Second || !strings.Contains(second.Response, "First.") {
			t.Errorf("the second message of a busy session was answered %q after %v (the first: %v)", second.Response, time.Since(began), err)
		}
	})
}

// sideBySide wants five asks of one team to be four turns at once and one that waits.
func (s *site) sideBySide() {
	s.t.Helper()
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() { s.ask(s.t.Context(), "backend", "[[hang]]") }) // cancelled below
	}
	var now *sdk.TeamStatus
	busy := func() bool {
		var err error
		if now, err = s.client().Teams.Backend.Status(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
		return now.Queue.Running == 4 && now.Queue.Waiting == 1 && len(now.Processes) == 4 && now.Processes[3].State == "busy"
	}
	if !within(patience, busy) {
		s.t.Errorf("five asks at once are %+v", now)
	}
	page, err := s.client().Messages.History(s.t.Context(), sdk.HistoryFilter{Limit: 5})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range page.Messages {
		if m, err := s.client().Messages.Cancel(s.t.Context(), m.MessageID); err != nil || m.Status != sdk.StatusCancelled {
			s.t.Errorf("cancel: %+v, %v", m, err)
		}
	}
	all.Wait()
}

func TestACallerHearsAtOnceWhenTheProcessIsKilled(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		s := r.site(map[string]settings{"backend": {}})
		name := sdk.WithSession("mine")
		s.answer("backend", "My word is apple.", name)
		pid, outcome := s.begun("backend", "[[say well,]] [[wait 30s]] [[say no]]", name)
		killed := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		err := <-outcome
		if took := time.Since(killed); sdk.CodeOf(err) != sdk.CodeProcess || took > atOnce {
			t.Errorf("after %v the caller heard %v", took, err)
		}
		if a := s.answer("backend", "And? [[say {earlier}]]", name); !strings.Contains(a.Response, "apple") {
			t.Errorf("the next ask was answered %q", a.Response)
		}
	})
}

func TestNothingIsLeftWhenTheServerEnds(t *testing.T) {
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		t.Run(end.String(), func(t *testing.T) {
			everyCLI(t, func(t *testing.T, r *rig) {
				s := r.site(map[string]settings{"backend": {"permissions": "allow"}, "idle": {}})
				s.answer("idle", "Hello.")
				work := nap()
				go s.ask(t.Context(), "backend", fmt.Sprintf(`[[tool Bash {"command":"(setsid %s &) ; true && %s"}]] [[say done]]`, work, work))
				if !within(patience, func() bool { return len(running("\x00"+work)) > 0 || len(running(work)) >= 3 }) {
					t.Fatal("the tool does not run")
				}
				began := time.Now()
				s.stop(end)
				if took := time.Since(began); took > 20*time.Second {
					t.Errorf("it took %v to end", took)
				}
				if !within(patience, func() bool { return len(s.left()) == 0 && len(running(work)) == 0 }) {
					t.Errorf("left over:\n%s\n%s", strings.Join(s.left(), "\n"), strings.Join(running(work), "\n"))
				}
			})
		})
	}
}

// written reports whether the CLI has the text in the record of a conversation.
func (r *rig) written(text string) bool {
	files, _ := filepath.Glob(filepath.Join(r.team.Env["CLAUDE_CONFIG_DIR"], "projects", "*", "*.jsonl"))
	return slices.ContainsFunc(files, func(file string) bool {
		record, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(record), `"text":"`+text+`"`)
	})
}

func TestARestartForgetsNothing(t *testing.T) {
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(end.String(), func(t *testing.T) {
			everyCLI(t, func(t *testing.T, r *rig) {
				s := r.site(map[string]settings{"backend": {}})
				name := sdk.WithSession("mine")
				first := s.answer("backend", "My word is apple. [[say noted]]", name)
				var before []sdk.Event
				for e, err := range s.client().Messages.Stream(t.Context(), first.MessageID, 0) {
					if err != nil {
						t.Fatal(err)
					}
					before = append(before, e)
				}
				// 2.1.197 writes a turn down some 60 ms after its result.
				if !within(patience, func() bool { return r.written("noted") }) {
					t.Fatal("the CLI does not write the conversation down")
				}
				s.stop(end)
				s.start()

				m, err := s.client().Messages.Get(t.Context(), first.MessageID)
				if err != nil || m.Response != "noted" {
					t.Errorf("the message is %+v, %v", m, err)
				}
				page, err := s.client().Messages.History(t.Context(), sdk.HistoryFilter{Team: "backend"})
				if err != nil || page.Pagination.Total != 1 {
					t.Errorf("the history has %+v, %v", page, err)
				}
				var after []sdk.Event
				for e, err := range s.client().Messages.Stream(t.Context(), first.MessageID, 0) {
					if err != nil {
						t.Fatal(err)
					}
					after = append(after, e)
				}
				if len(before) < 3 || !reflect.DeepEqual(before, after) {
					t.Errorf("the stream was\n%v\nand is\n%v", before, after)
				}
				if a := s.answer("backend", "And? [[say {earlier}]]", name); !strings.Contains(a.Response, "apple") {
					t.Errorf("the conversation goes on with %q", a.Response)
				}
			})
		})
	}
}

func TestPermissionsOfATeam(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		s := r.site(map[string]settings{"careful": {}, "free": {"permissions": "allow"}})
		for _, team := range []string{"careful", "free"} {
			began := time.Now()
			a := s.answer(team, `[[tool Bash {"command":"touch x"}]] [[say {result}]]`)
			_, err := os.Stat(filepath.Join(r.teamFolder(s, team), "x"))
			if ran := err == nil; ran != (team == "free") {
				t.Errorf("%s: the tool ran: %v", team, ran)
			}
			if team == "careful" && !strings.Contains(a.Response, "needs a permission") {
				t.Errorf("the model was told %q", a.Response)
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("%s took %v", team, took)
			}
		}
	})
}

func TestNobodysTextIsACommand(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		s := r.site(map[string]settings{"backend": {}})
		secret := filepath.Join(r.t.TempDir(), "secret.txt")
		if err := os.WriteFile(secret, []byte("TOP-SECRET"), 0o600); err != nil {
			t.Fatal(err)
		}
		name := sdk.WithSession("mine")
		first := s.answer("backend", "My word is apple.", name)
		for _, text := range []string{
			"@" + secret, "look at @" + secret, "@\"" + secret + "\"",
			"/clear", "/compact", "/cost", "-p", "--dangerously-skip-permissions",
			"a NUL: \x00, an escape: \x1b[2J, a separator: \u2028", "!ls", "#x",
			strings.Repeat("many words ", 90_909),
		} {
			a := s.answer("backend", text+" [[say ok]]", name)
			if a.Response != "ok" || a.SessionID != first.SessionID {
				t.Errorf("%.60q was answered %.200q", text, a.Response)
			}
		}
		// What no Go string can hold, as it comes over the wire.
		if status, body := s.post("/api/v1/teams/backend/ask", `{"question":"half a pair: \ud800 [[say ok]]","sessionId":"mine"}`); status != 200 {
			t.Errorf("a lone surrogate: %d %s", status, body)
		}
		a := s.answer("backend", "And? [[say {earlier}]]", name)
		if !strings.Contains(a.Response, "apple") {
			t.Errorf("in the end it remembers only %.200q", a.Response)
		}
		for _, req := range r.model.Requests() {
			if strings.Contains(string(req.Body), "TOP-SECRET") {
				t.Fatal("a file went to the model that nobody may read by asking")
			}
		}
		if a := s.answer("backend", "[[bytes 2000000]]"); len(a.Response) != 2_000_000 {
			t.Errorf("an answer of 2,000,000 bytes came as %d", len(a.Response))
		}
	})
}

func TestWhatIsWrongWithTheMachineIsSaid(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		loggedOut := map[string]string{}
		for k, v := range r.team.Env {
			loggedOut[k] = v
		}
		loggedOut["ANTHROPIC_API_KEY"] = ""
		gone := filepath.Join(r.t.TempDir(), "gone")
		s := r.site(map[string]settings{
			"notinstalled": {"claudePath": "no-such-claude"},
			"wrongpath":    {"claudePath": "/dev/null"},
			"notloggedin":  {"env": loggedOut},
			"missing":      {"path": gone},
			"deleted":      {},
		})
		s.answer("deleted", "Hello.", sdk.WithSession("mine"))
		for _, dir := range []string{gone, r.teamFolder(s, "deleted")} {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		for team, want := range map[string]string{
			"notinstalled": "npm install", "wrongpath": "null, is n", "notloggedin": "log in", "missing": "folder", "deleted": "folder",
		} {
			_, err := s.ask(t.Context(), team, "Hello. [[say hi]]", sdk.WithSession("mine"))
			if team == "deleted" && err == nil {
				continue // 2.1.330 goes on in a folder that was removed
			}
			if sdk.CodeOf(err) != sdk.CodeProcess || !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("%s: %v", team, err)
			}
		}
	})
}

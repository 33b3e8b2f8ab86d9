// Package agenttest plays the Claude Code CLI, for tests that want it exact or fast: deaths,
// garbage, silence, thousands of turns. It takes the arguments, speaks the protocol and keeps
// the rules about conversations of Claude Code 2.1.197; a test holds the lines that it prints
// to recorded ones.
//
// A test binary plays it when the environment says so, so TestMain begins like this:
//
//	func TestMain(m *testing.M) {
//		agenttest.Main()
//		os.Exit(m.Run())
//	}
//
// and a team that is to run it has the binary as its ClaudePath and IRIS_FAKE_AGENT in its
// Env: an agent gets nothing that begins with IRIS_ from the environment of Iris, but its
// team's own variables come last. Team makes such a team.
//
// # Scripts
//
// The value of IRIS_FAKE_AGENT is a script or the name of a file that holds one. It has a rule
// a line, "word: steps": a message that contains the word is answered by these steps, the word
// * fits every message, and the steps of the rule "start" are played before the CLI is ready.
// But if a message has steps of its own, they are played instead; if nothing fits, it is
// answered "You said: …". A script without rules, "echo" for one, is fine.
//
// Steps are written like the markers of internal/model, and mean the same where they have the
// same name. Other text is ignored.
//
//	[[say text]]           a text, streamed word by word; the first after tools begins a message
//	[[bytes 2000000]]      a text of so many bytes, in one piece
//	[[think text]]         a thinking block
//	[[tool Read {…}]]      a call of a tool, and its result; the input is JSON
//	[[ask Bash {…}]]       the same, but the CLI asks for permission first
//	[[wait 2s]]            a pause
//	[[until file]]         a pause until there is a file of that name
//	[[pace 50ms]]          a pause before each of the following words and in tools
//	[[retry 529]]          a model call that failed and is made again
//	[[retry 429 60s]]      the same, after a pause
//	[[limited 1h]]         the account's plan allows nothing for so long
//	[[cut text]]           a text that is shown in pieces and then void: its stream broke
//	[[fail 429]]           ends the turn with that status of the model's API; 0: no connection
//	[[hang]]               prints nothing until it is interrupted
//	[[news text]]          after the turn, one that nobody asked for, with this text
//	[[garbage]]            lines that are none of the protocol
//	[[stderr text]]        writes to stderr
//	[[spawn sleep 300]]    a shell with this command, in a session of its own, holding stdout
//	[[deaf]]               heeds no interrupt from now on
//	[[stubborn]]           ends neither with its input nor by SIGTERM from now on
//	[[exit 3]]             ends at once with that status
//	[[kill]]               kills itself, as kill -9 does
//
// In a text, {question} is the message without what Iris adds, {prompt} all of it, {earlier}
// the earlier questions of the conversation, one a line, {pid} the process id, {cwd} the
// working folder and {env NAME} a variable.
//
// Conversations are kept in the folder IRIS_FAKE_AGENT_HOME, or one below the system's
// temporary folder; a conversation begins with its first message.
package agenttest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// The environment of a fake.
const (
	Script = "IRIS_FAKE_AGENT"
	Home   = "IRIS_FAKE_AGENT_HOME"
)

// Main plays the CLI and ends the program, if the environment has a script. Otherwise it
// returns at once.
func Main() {
	script := os.Getenv(Script)
	if script == "" {
		return
	}
	if b, err := os.ReadFile(script); err == nil {
		script = string(b)
	}
	syscall.Exit(play(script)) // os.Exit would wait a second under the race detector
}

// Team is a team of its own folder, whose CLI is this test binary playing the script, and with
// limits that suit tests. TestMain of the test must call Main.
func Team(t testing.TB, name, script string) iris.Team {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return iris.Team{
		Name:              name,
		Path:              path,
		ClaudePath:        self,
		Permissions:       iris.PermissionsAsk,
		Env:               map[string]string{Script: script, Home: t.TempDir()},
		MaxProcesses:      4,
		ParallelTasks:     1,
		TurnTimeout:       time.Minute,
		SilenceTimeout:    30 * time.Second,
		IdleTimeout:       time.Minute,
		PermissionTimeout: 10 * time.Second,
	}
}

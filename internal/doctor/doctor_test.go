package doctor_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/doctor"
)

// healthy is a Doctor that finds nothing wrong, in a world of its own.
func healthy(t *testing.T) *doctor.Doctor {
	t.Helper()
	home := t.TempDir()
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	return &doctor.Doctor{
		Home:       home,
		File:       filepath.Join(home, "iris-config.yaml"),
		Teams:      []iris.Team{{Name: "backend", Path: t.TempDir(), ClaudePath: program(t, "echo '2.1.330 (Claude Code)'")}},
		ClaudePath: program(t, "echo '2.1.197 (Claude Code)'"),
		Run:        (*exec.Cmd).Run,
		Getenv: func(name string) string {
			return map[string]string{"ANTHROPIC_API_KEY": "sk-secret-value", "HOME": home}[name]
		},
	}
}

// program makes a program of a line of shell.
func program(t *testing.T, line string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "claude")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+line+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

// text is the findings as lines to search in.
func text(found []doctor.Finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s|%s|%s|%s\n", f.Level, f.Subject, f.Text, f.Do)
	}
	return b.String()
}

func TestNothingWrong(t *testing.T) {
	found := healthy(t).Examine(t.Context())
	if doctor.Worst(found) != doctor.OK {
		t.Errorf("found something:\n%s", text(found))
	}
	if strings.Contains(text(found), "sk-secret") {
		t.Error("told a credential")
	}
}

func TestWhatIsWrongIsFound(t *testing.T) {
	foreign := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(foreign.Close)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"ok"}`) }))
	t.Cleanup(other.Close)
	address := func(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }

	tests := []struct {
		name string
		harm func(*testing.T, *doctor.Doctor)
		want string // level|subject|…text
	}{
		{"the configuration was refused", func(_ *testing.T, d *doctor.Doctor) { d.Problems = []string{"f:1:2: no"} },
			"fail|configuration|f:1:2: no|correct the file"},
		{"the configuration is odd", func(_ *testing.T, d *doctor.Doctor) { d.Warnings = []string{"f:1: hm"} },
			"warn|configuration|f:1: hm"},
		{"the CLI is not installed", func(_ *testing.T, d *doctor.Doctor) { d.ClaudePath = "no-such-claude" },
			"fail|claude|no-such-claude is not in the PATH|install it"},
		{"the CLI is elsewhere", func(_ *testing.T, d *doctor.Doctor) { d.ClaudePath = "/no/claude" },
			"fail|claude|there is no /no/claude"},
		{"the CLI fails", func(t *testing.T, d *doctor.Doctor) { d.ClaudePath = program(t, "echo broken >&2; exit 3") },
			"--version failed: exit status 3 broken"},
		{"the CLI is old", func(t *testing.T, d *doctor.Doctor) { d.ClaudePath = program(t, "echo 2.1.99") },
			"is older than 2.1.197"},
		{"the CLI is of another age", func(t *testing.T, d *doctor.Doctor) { d.ClaudePath = program(t, "echo 3.0.0") },
			"is much newer than"},
		{"the CLI is something else", func(t *testing.T, d *doctor.Doctor) { d.ClaudePath = program(t, "echo hello") },
			`does not say a version but "hello"`},
		{"a team's own CLI is missing", func(_ *testing.T, d *doctor.Doctor) { d.Teams[0].ClaudePath = "/no/claude" },
			"fail|claude of backend|there is no /no/claude"},
		{"a team's folder is missing", func(_ *testing.T, d *doctor.Doctor) { d.Teams[0].Path = "/no/folder" },
			"fail|team backend|/no/folder does not exist"},
		{"a team's folder is a file", func(_ *testing.T, d *doctor.Doctor) { d.Teams[0].Path = d.ClaudePath },
			"is not a folder|correct the path"},
		{"nobody pays", func(_ *testing.T, d *doctor.Doctor) { d.Getenv = func(string) string { return "" } },
			"warn|who pays|found neither a login"},
		{"a team has a payer of its own", func(_ *testing.T, d *doctor.Doctor) {
			d.Teams[0].Env = map[string]string{"CLAUDE_CODE_USE_BEDROCK": "1"}
		}, "ok|who pays for backend|Amazon Bedrock: CLAUDE_CODE_USE_BEDROCK of the team's env"},
		{"not every team has a payer of its own", func(t *testing.T, d *doctor.Doctor) {
			other := d.Teams[0]
			other.Name, other.Env = "other", map[string]string{"CLAUDE_CODE_USE_BEDROCK": "1"}
			d.Teams = append(d.Teams, other)
			d.Getenv = func(string) string { return "" }
		}, "warn|who pays|found neither a login"},
		{"the data folder can be read by others", func(t *testing.T, d *doctor.Doctor) {
			if err := os.Chmod(d.Home, 0o755); err != nil {
				t.Fatal(err)
			}
		}, "(mode 0755)|chmod 700"},
		{"the data folder is a file", func(_ *testing.T, d *doctor.Doctor) { d.Home = d.ClaudePath },
			"fail|data folder|"},
		{"the data folder is not there yet", func(_ *testing.T, d *doctor.Doctor) { d.Home = filepath.Join(d.Home, "a", "b") },
			"will be made at the first start"},
		{"the data folder is deep", func(_ *testing.T, d *doctor.Doctor) { d.Socket = strings.Repeat("x", 120) },
			"which will lie in the temporary folder"},
		{"another program holds the port", func(_ *testing.T, d *doctor.Doctor) { d.Address = address(foreign) },
			"fail|port|another program holds"},
		{"another Iris holds the port", func(_ *testing.T, d *doctor.Doctor) { d.Address = address(other) },
			"fail|port|another Iris, with another data folder, holds"},
		{"our own server holds the port", func(_ *testing.T, d *doctor.Doctor) { d.Address, d.Running = address(other), other.URL },
			"ok|server|runs at http://"},
		{"the server that ran has gone", func(_ *testing.T, d *doctor.Doctor) { d.Running = "http://" + free(t) },
			"ok|server|does not run"},
		{"the port is free", func(_ *testing.T, d *doctor.Doctor) { d.Address = free(t) },
			"ok|port|127.0.0.1:"},
		{"the host is not of this machine", func(_ *testing.T, d *doctor.Doctor) { d.Address = "192.0.2.1:3100" },
			"fail|port|cannot listen on 192.0.2.1:3100"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := healthy(t)
			tt.harm(t, d)
			if got := text(d.Examine(t.Context())); !strings.Contains(got, tt.want) {
				t.Errorf("no %q in:\n%s", tt.want, got)
			}
		})
	}
}

func TestALoginIsFoundByItsFile(t *testing.T) {
	d := healthy(t)
	dir := t.TempDir()
	d.Getenv = func(name string) string { return map[string]string{"CLAUDE_CONFIG_DIR": dir}[name] }
	if err := os.WriteFile(filepath.Join(dir, ".credentials.json"), nil, 0o000); err != nil { // nobody may read it
		t.Fatal(err)
	}
	if got := text(d.Examine(t.Context())); !strings.Contains(got, "ok|who pays|the login of Claude Code: "+dir) {
		t.Error(got)
	}
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

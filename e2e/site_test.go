//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	sdk "github.com/iris-mcp/go-client"
	"github.com/iris-mcp/iris-mcp/internal/drive"
	"gopkg.in/yaml.v3"
)

// program builds iris-mcp once, with the race detector, so that what is tested is what is there.
var program = sync.OnceValues(func() (string, error) { return drive.Build(buildDir, "-race") })

// site is Iris on the real binary: a data folder, a configuration and, while it runs, a
// process.
type site struct {
	*rig
	home   string
	config string
	cmd    *exec.Cmd
	log    *output
	url    string
	key    string
	ended  chan error
}

type settings map[string]any

// output collects what a process prints while it is being looked at.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// site starts Iris for the teams, whose settings come on top of what makes them use the rig's
// model and CLI. Every team has a folder whose CLAUDE.md holds a secret of its own.
func (r *rig) site(teams map[string]settings) *site {
	r.t.Helper()
	s := &site{rig: r, home: filepath.Join(r.t.TempDir(), "home")}
	s.config = filepath.Join(r.t.TempDir(), "iris-config.yaml")
	configured := map[string]settings{}
	for name, extra := range teams {
		t := settings{"env": r.team.Env}
		for k, v := range extra {
			t[k] = v
		}
		if t["path"] == nil {
			t["path"] = filepath.Join(r.t.TempDir(), name)
		}
		dir := t["path"].(string)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "CLAUDE.md"), []byte("# "+name+"\n\n- The secret is "+name+"-secret.\n"), 0o600); err != nil {
			r.t.Fatal(err)
		}
		configured[name] = t
	}
	text, err := yaml.Marshal(settings{
		"api":      settings{"port": 0},
		"settings": settings{"claudePath": r.team.ClaudePath, "shutdownGrace": "3s"},
		"teams":    configured,
	})
	if err == nil {
		err = os.WriteFile(s.config, text, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	s.start()
	r.t.Cleanup(func() { s.stop(syscall.SIGTERM) })
	return s
}

// command is a call of iris-mcp for this server.
func (s *site) command(args ...string) *exec.Cmd {
	s.t.Helper()
	path, err := program()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(path, append(args, "--config", s.config, "--home", s.home)...)
	cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	return cmd
}

// start starts the process and waits until it is ready.
func (s *site) start() {
	s.t.Helper()
	s.log = &output{}
	s.cmd = s.command("serve", "--http-only")
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(s.cmd, s.ended)
	ready := func() bool {
		url, err := os.ReadFile(filepath.Join(s.home, "address"))
		if err != nil {
			return false
		}
		s.url = strings.TrimSpace(string(url))
		res, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	}
	if !within(patience, ready) {
		s.cmd.Process.Kill()
		s.t.Fatalf("it is not ready: %v\n%s", <-s.ended, s.log)
	}
	if s.key == "" {
		out, err := s.command("api-key", "create", "--name", "ci-cd-pipeline", "--scope", "teams:read,teams:write,messages:read,processes:read,processes:manage", "--tier", "enterprise").Output()
		key, ok := strings.CutPrefix(strings.SplitN(string(out), "\n", 2)[0], "API Key: ")
		if err != nil || !ok {
			s.t.Fatalf("api-key create said %q, %v", out, err)
		}
		s.key = key
	}
}

// stop ends the process with the signal and waits for that.
func (s *site) stop(sig syscall.Signal) {
	s.t.Helper()
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(sig)
	select {
	case err := <-s.ended:
		if e, ok := errors.AsType[*exec.ExitError](err); ok && sig == syscall.SIGTERM {
			s.t.Errorf("it ended with %v\n%s", e, s.log)
		}
	case <-time.After(patience):
		s.t.Errorf("it does not end\n%s", s.log)
		s.cmd.Process.Kill()
		<-s.ended
	}
	s.cmd = nil
}

func (s *site) client() *sdk.Client {
	return sdk.NewClient(sdk.WithBaseURL(s.url), sdk.WithAPIKey(s.key))
}

// ask asks a team over HTTP.
func (s *site) ask(ctx context.Context, team, question string, options ...sdk.AskOption) (*sdk.Answer, error) {
	return s.client().Teams.Team(team).Ask(ctx, question, append([]sdk.AskOption{sdk.WithTimeout(patience)}, options...)...)
}

// answer asks and wants an answer.
func (s *site) answer(team, question string, options ...sdk.AskOption) *sdk.Answer {
	s.t.Helper()
	a, err := s.ask(s.t.Context(), team, question, options...)
	if err != nil {
		s.t.Fatalf("%s was asked %.80q: %v", team, question, err)
	}
	return a
}

// begun starts an ask and returns once the team has said something, with the process that
// says it and where the outcome will come.
func (s *site) begun(team, question string, options ...sdk.AskOption) (pid int, outcome chan error) {
	s.t.Helper()
	outcome = make(chan error, 1)
	before := len(s.model.Requests())
	go func() {
		_, err := s.ask(context.WithoutCancel(s.t.Context()), team, question, options...)
		outcome <- err
	}()
	if !within(patience, func() bool { return len(s.model.Requests()) > before }) {
		s.t.Fatal("the team does not begin")
	}
	status, err := s.client().Teams.Team(team).Status(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range status.Processes {
		if p.State == "busy" {
			return p.PID, outcome
		}
	}
	s.t.Fatalf("no process is busy: %+v", status)
	return 0, nil
}

// left lists what still runs of this server's teams.
func (s *site) left() []string {
	var out []string
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		env, err := os.ReadFile(file)
		if err == nil && bytes.Contains(env, []byte("ANTHROPIC_BASE_URL="+s.model.URL())) {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			out = append(out, filepath.Base(filepath.Dir(file))+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return out
}

// post sends a body as curl does, and gives the answer's status and body.
func (s *site) post(path, body string) (int, string) {
	s.t.Helper()
	return s.send(http.MethodPost, path, body)
}

func (s *site) send(method, path, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

package main

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	sdk "github.com/iris-mcp/go-client"
	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/iris-mcp/iris-mcp/internal/auth"
	"github.com/iris-mcp/iris-mcp/internal/model"
	"github.com/iris-mcp/iris-mcp/internal/process"
)

//go:embed demo
var demoProjects embed.FS

const (
	demoQuestion = "Which API versions do you support?"
	demoErrand   = "Ask the backend team: which API versions do you support?"
	demoPatience = 2 * time.Minute // for one step; a first start on a cold disk takes seconds
)

func demoCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the main job from end to end, in a minute and at no cost",
		Long: `Make two small projects in a temporary folder, start Iris for them, and ask one of the teams
three times: over HTTP, over MCP, and from a real Claude Code in the other project.

The Claude Code is real; its model is a script that comes with Iris, unless --real says to
use your own login. The demo touches nothing of yours and leaves nothing behind.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			claude, _ := cmd.Flags().GetString("claude")
			real, _ := cmd.Flags().GetBool("real")
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return runDemo(ctx, claude, real, cmd.OutOrStdout())
		},
	}
	cmd.Flags().String("claude", "claude", "the Claude Code CLI")
	cmd.Flags().Bool("real", false, "use your own Claude login and a real model (this costs what three short questions cost)")
	return cmd
}

// demo is a running demonstration.
type demo struct {
	out    io.Writer
	dir    string // all of it, temporary
	claude string // absolute
	env    map[string]string
	keeper *process.Keeper
	url    string
}

func runDemo(ctx context.Context, claude string, real bool, out io.Writer) (err error) {
	path, err := exec.LookPath(claude)
	if err != nil {
		return fmt.Errorf("the Claude Code CLI %q was not found: install it with \"npm install -g @anthropic-ai/claude-code\", or name it with --claude", claude)
	}
	d := &demo{out: out}
	if d.claude, err = filepath.Abs(path); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "iris-demo-"); err != nil {
		return fmt.Errorf("make the demo's folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	if d.dir, err = filepath.EvalSymlinks(d.dir); err != nil {
		return err
	}
	d.keeper = process.New("demo", slog.New(slog.DiscardHandler))
	defer func() { err = errors.Join(err, d.keeper.Close()) }()

	d.say("Iris demo")
	if real {
		d.say("The model is the real one, on your own login.")
	} else {
		d.say("The Claude Code is real, its model is a SCRIPT that comes with Iris: no account, no network, no cost.")
		m, err := d.script()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.Close()) }()
	}
	stop, err := d.serve(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	for i, step := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"A question over HTTP, streamed", d.overHTTP},
		{"An MCP client calls ask_team over stdio", d.overMCP},
		{"Claude Code in the frontend project asks the backend team through Iris", d.fromClaude},
	} {
		d.say("\n%d. %s", i+1, step.title)
		began := time.Now()
		ctx, cancel := context.WithTimeout(ctx, demoPatience)
		err := step.run(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("step %d of the demo failed: %w", i+1, err)
		}
		d.say("   (%s)", span(time.Since(began)))
	}
	name := "iris-mcp"
	if _, err := exec.LookPath(name); err != nil {
		name = os.Args[0] // not installed yet
	}
	d.say(`
It works. Next, with your own projects:
   %[1]s team add backend ~/code/backend
   claude mcp add iris --scope user -- %[2]s
   %[1]s serve        # then, elsewhere: %[1]s ask backend "…"`, name, absolute(name))
	return nil
}

// absolute is a program's name as Claude Code must know it, wherever it starts.
func absolute(name string) string {
	if path, err := filepath.Abs(name); err == nil && filepath.Base(name) != name {
		return path
	}
	return name
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// script starts the scripted model and shuts the person's own settings out: from here on
// nothing of this program or of what it starts can find a login.
func (d *demo) script() (*model.Server, error) {
	m := model.New(model.Options{Script: model.Demo(), Pace: 30 * time.Millisecond})
	if err := m.Start(); err != nil {
		return nil, err
	}
	home := filepath.Join(d.dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	d.env = m.Vars(home)
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "ANTHROPIC_") || strings.HasPrefix(name, "CLAUDE") || strings.HasPrefix(name, "IRIS_") {
			os.Unsetenv(name)
		}
	}
	return m, nil
}

// serve makes the projects and their configuration and starts Iris for them.
func (d *demo) serve(ctx context.Context) (stop func() error, err error) {
	projects, err := fs.Sub(demoProjects, "demo")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(d.dir, projects); err != nil {
		return nil, fmt.Errorf("make the demo's projects: %w", err)
	}
	type team struct {
		Path        string            `yaml:"path"`
		Description string            `yaml:"description"`
		Env         map[string]string `yaml:"env,omitempty"`
	}
	text, err := yaml.Marshal(map[string]any{
		"api":      map[string]any{"port": 0},
		"settings": map[string]any{"claudePath": escaped(d.claude)},
		"teams": map[string]team{
			"backend":  {escaped(filepath.Join(d.dir, "backend")), "The shop's HTTP service", escapedAll(d.env)},
			"frontend": {escaped(filepath.Join(d.dir, "frontend")), "The web shop", escapedAll(d.env)},
		},
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(d.config(), text, 0o600); err != nil {
		return nil, fmt.Errorf("write the demo's configuration: %w", err)
	}

	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ready, ended := make(chan string, 1), make(chan error, 1)
	var log bytes.Buffer
	go func() {
		ended <- server{home: d.home(), configFile: d.config(), log: &log, ready: func(url string) { ready <- url }}.run(ctx)
	}()
	select {
	case d.url = <-ready:
	case err := <-ended:
		cancel()
		return nil, fmt.Errorf("start Iris: %w", cmp.Or(err, errors.New("it ended at once")))
	}
	return func() error {
		cancel()
		return <-ended
	}, nil
}

func (d *demo) home() string   { return filepath.Join(d.dir, "iris") }
func (d *demo) config() string { return filepath.Join(d.dir, "iris-config.yaml") }

// escaped keeps a dollar sign from being read as a variable of the configuration.
func escaped(text string) string { return strings.ReplaceAll(text, "$", "$$") }

func escapedAll(env map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range env {
		out[k] = escaped(v)
	}
	return out
}

// overHTTP asks as any program would.
func (d *demo) overHTTP(ctx context.Context) error {
	key, err := auth.LocalKey(d.home())
	if err != nil {
		return err
	}
	d.say(`   POST %s/api/v1/teams/backend/stream {"message":%q}`, d.url, demoQuestion)
	fmt.Fprint(d.out, "   backend: ")
	for event, err := range sdk.NewClient(sdk.WithBaseURL(d.url), sdk.WithAPIKey(key)).Teams.Backend.Stream(ctx, demoQuestion) {
		if err != nil {
			return err
		}
		fmt.Fprint(d.out, indented(event.Text))
	}
	d.say("")
	return nil
}

// overMCP is an MCP client in the frontend's folder. The iris-mcp that it starts finds the
// one that serves already, and passes the calls on to it.
func (d *demo) overMCP(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "serve", "--home", d.home(), "--config", d.config())
	cmd.Dir = filepath.Join(d.dir, "frontend")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	child, err := d.keeper.Start(cmd)
	if err != nil {
		return fmt.Errorf("start iris-mcp: %w", err)
	}
	defer child.Wait()
	defer stdin.Close()
	c := client.NewClient(transport.NewIO(stdout, stdin, io.NopCloser(strings.NewReader(""))))
	if err := c.Start(ctx); err != nil {
		return err
	}
	if _, err := c.Initialize(ctx, mcpgo.InitializeRequest{Params: mcpgo.InitializeParams{
		ProtocolVersion: mcpgo.LATEST_PROTOCOL_VERSION, ClientInfo: mcpgo.Implementation{Name: "iris-demo", Version: version},
	}}); err != nil {
		return fmt.Errorf("initialize: %w", err)
	}
	d.say(`   → ask_team {"team":"backend","question":%q}`, demoQuestion)
	res, err := c.CallTool(ctx, mcpgo.CallToolRequest{Params: mcpgo.CallToolParams{
		Name: "ask_team", Arguments: map[string]any{"team": "backend", "question": demoQuestion},
	}})
	if err != nil {
		return err
	}
	var text []string
	for _, part := range res.Content {
		if t, ok := part.(mcpgo.TextContent); ok {
			text = append(text, t.Text)
		}
	}
	if res.IsError {
		return errors.New(strings.Join(text, "\n"))
	}
	d.say("   ← %s", indented(strings.Join(text, "\n")))
	return nil
}

// fromClaude runs a Claude Code in the frontend's folder, as a person would, with Iris as its
// MCP server.
func (d *demo) fromClaude(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	servers, err := json.Marshal(map[string]any{"mcpServers": map[string]any{"iris": map[string]any{
		"command": self, "args": []string{"serve", "--home", d.home(), "--config", d.config()}, "alwaysLoad": true,
	}}})
	if err != nil {
		return err
	}
	cmd := exec.Command(d.claude, "-p", "--strict-mcp-config", "--mcp-config", string(servers), "--allowedTools", "mcp__iris__ask_team", "--", demoErrand)
	cmd.Dir = filepath.Join(d.dir, "frontend")
	cmd.Env = os.Environ()
	for k, v := range d.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	child, err := d.keeper.Start(cmd)
	if err != nil {
		return fmt.Errorf("start %s: %w", d.claude, err)
	}
	defer context.AfterFunc(ctx, child.Kill)()
	d.say("   frontend$ claude -p %q", demoErrand)
	if err := child.Wait(); err != nil {
		return fmt.Errorf("claude: %w: %s", cmp.Or(context.Cause(ctx), err), strings.TrimSpace(stderr.String()+stdout.String()))
	}
	answer := strings.TrimSpace(stdout.String())
	d.say("   frontend: %s", indented(answer))
	if asked, err := d.wasAsked(ctx); err != nil || !asked {
		return errors.Join(err, fmt.Errorf("claude answered without asking the backend team: %s", answer))
	}
	return nil
}

// wasAsked reports whether the frontend asked the backend twice: once over MCP, once by Claude.
func (d *demo) wasAsked(ctx context.Context) (bool, error) {
	key, err := auth.LocalKey(d.home())
	if err != nil {
		return false, err
	}
	page, err := sdk.NewClient(sdk.WithBaseURL(d.url), sdk.WithAPIKey(key)).Messages.History(ctx, sdk.HistoryFilter{From: "frontend", To: "backend", Status: "completed"})
	if err != nil {
		return false, err
	}
	return page.Pagination.Total == 2, nil
}

// indented keeps the lines of an answer below each other.
func indented(text string) string { return strings.ReplaceAll(text, "\n", "\n      ") }

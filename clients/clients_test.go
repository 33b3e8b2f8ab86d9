//go:build clients

package clients_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp/agent/agenttest"
	"github.com/iris-mcp/iris-mcp/internal/drive"
)

const (
	patience = 90 * time.Second // for a client's whole program; the machine may be busy
	apiKey   = "iris_sk_of_the_clients_0123456789abcdefghijklmnopqrst"
)

var binary string // iris-mcp, built for this run

// TestMain plays claude when a team starts it, and else builds iris-mcp and runs the tests.
func TestMain(m *testing.M) {
	agenttest.Main()
	os.Exit(drive.WithBinary(func(built string) int {
		binary = built
		return m.Run()
	}))
}

// rig is a server and, at an origin of its own, what the clients steer the test with: /kill
// kills the server and starts it again, and the n-th time makes the file killedn in the team's
// folder, which a message can wait for, /page/ are the pages, /iris/ is a proxy that adds the
// key, and a page tells at /report how it went.
type rig struct {
	t       *testing.T
	mu      sync.Mutex // of server
	server  *drive.Server
	kills   int
	options drive.Options
	team    string // its folder
	control *httptest.Server
	reports chan string
}

func start(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, reports: make(chan string, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /kill", func(http.ResponseWriter, *http.Request) { r.kill() })
	mux.Handle("GET /page/", http.StripPrefix("/page/", http.FileServer(http.Dir("page"))))
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, q *http.Request) {
		var text bytes.Buffer
		text.ReadFrom(q.Body)
		r.reports <- text.String()
	})
	mux.Handle("/iris/", http.StripPrefix("/iris", &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			to, _ := url.Parse(r.server.URL)
			p.SetURL(to)
			p.Out.Header.Set("Authorization", "Bearer "+apiKey)
		},
		FlushInterval: -1,
		// No answer: an EventSource tries again after a broken connection, not after a 502.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}))
	r.control = httptest.NewServer(mux)
	t.Cleanup(r.control.Close)

	dir := t.TempDir()
	r.team = filepath.Join(dir, "backend")
	if err := os.Mkdir(r.team, 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r.options = drive.Options{
		Binary: binary, Home: filepath.Join(dir, "home"), Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir},
		Config: map[string]any{
			"api": map[string]any{
				"auth": map[string]any{"keys": []any{map[string]any{"name": "clients", "key": apiKey, "scopes": []string{"*"}, "tier": "enterprise"}}},
				"cors": map[string]any{"origins": []string{r.control.URL}},
			},
			"settings": map[string]any{"shutdownGrace": "1s"},
			"teams": map[string]any{"backend": map[string]any{
				"path": r.team, "claudePath": self, "description": "The backend",
				"env": map[string]any{agenttest.Script: "echo", agenttest.Home: filepath.Join(dir, "conversations")},
			}},
		},
	}
	r.run()
	t.Cleanup(func() { r.server.Stop() })
	return r
}

func (r *rig) run() {
	var err error
	if r.server, err = drive.Start(context.WithoutCancel(r.t.Context()), r.options); err != nil {
		r.t.Error(err)
		panic(http.ErrAbortHandler)
	}
	r.options.Port, _ = strconv.Atoi(r.server.URL[strings.LastIndex(r.server.URL, ":")+1:])
}

// kill ends the server as a crash does, and starts it again.
func (r *rig) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server.End(syscall.SIGKILL)
	r.kills++
	if err := os.WriteFile(filepath.Join(r.team, fmt.Sprint("killed", r.kills)), nil, 0o600); err != nil {
		r.t.Error(err)
	}
	r.run()
}

// program runs a client's program until it ends well.
func (r *rig) program(name string, args ...string) {
	r.t.Helper()
	r.programIn(".", name, args...)
}

func (r *rig) programIn(dir, name string, args ...string) (printed string) {
	r.t.Helper()
	ctx, stop := context.WithTimeout(r.t.Context(), patience)
	defer stop()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "IRIS="+r.server.URL, "IRIS_API_KEY="+apiKey, "CONTROL="+r.control.URL, "PYTHONDONTWRITEBYTECODE=1")
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// python is a program of the environment that scripts/clients.sh makes.
func python(name string) string { return absolute("../.cache/clients/bin/" + name) }

func absolute(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		panic(err)
	}
	return path
}

func TestCurl(t *testing.T) {
	t.Parallel()
	start(t).program("bash", "curl.sh")
}

func TestNode(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"axios.mjs"}, {"ws.mjs"}, {"eventsource.mjs", "2"}, {"eventsource.mjs", "3"}, {"eventsource.mjs", "4"}, {"fetch-event-source.mjs"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			start(t).program("node", append([]string{filepath.Join("node", args[0])}, args[1:]...)...)
		})
	}
}

func TestPython(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"with_httpx.py", "with_websockets.py"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start(t).program(python("python"), filepath.Join("python", name))
		})
	}
}

// TestChromium has a page of another origin do what a page can.
func TestChromium(t *testing.T) {
	t.Parallel()
	r := start(t)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	query := url.Values{"iris": {r.server.URL}, "key": {apiKey}}
	cmd := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-port=0", r.control.URL+"/page/?"+query.Encode())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stop()
	select {
	case report := <-r.reports:
		if report != "ok" {
			t.Error(report)
		}
	case <-ctx.Done():
		stop()
		cmd.Wait()
		t.Errorf("the page never said how it went: %.3000s", out.String())
	}
}

// TestOpenAPI has a validator and schemathesis look at the served document, and at the server
// through it.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	r := start(t)
	res, err := http.Get(r.server.URL + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var doc map[string]any
	if err := json.NewDecoder(res.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	r.program(python("python"), "-m", "openapi_spec_validator", "../docs/openapi.json")
	// In a folder of its own: it keeps what it has found.
	r.programIn(t.TempDir(), python("st"), "--config-file", absolute("schemathesis.toml"), "run", r.server.URL+"/openapi.json",
		"--header", "Authorization: Bearer "+apiKey, "--checks", "all", "--max-examples", "15", "--seed", "1", "--no-shrink", "--workers", "1", "--warnings", "off")
	if m := fmt.Sprint(doc["openapi"]); !strings.HasPrefix(m, "3.1") {
		t.Error(m)
	}
}

// TestTheGuideIsTrue runs every piece of docs/clients.md as printed, but for the page, which
// is clients/page at length.
func TestTheGuideIsTrue(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	r := start(t)
	dir := t.TempDir()
	if err := os.Symlink(absolute("node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	const inNode = `globalThis.window = globalThis; globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "page.mjs"), []byte(inNode), 0o600); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for i, block := range regexp.MustCompile("(?s)```(bash|js|python)\n(.*?)```").FindAllStringSubmatch(string(guide), -1) {
		language, text := block[1], strings.ReplaceAll(block[2], `from "eventsource"`, `from "eventsource4"`)
		if strings.Contains(text, "iris_sk_…") {
			continue // what stands in the environment here
		}
		if language == "js" && strings.Contains(text, "fetch-event-source") {
			text = `import "./page.mjs";` + "\n" + text
		}
		file := filepath.Join(dir, fmt.Sprintf("piece%d.%s", i, map[string]string{"bash": "sh", "js": "mjs", "python": "py"}[language]))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out := r.programIn(dir, map[string]string{"bash": "bash", "js": "node", "python": python("python")}[language], file)
		if !strings.Contains(out, "You said: ") && !strings.Contains(out, `"text":"You `) {
			t.Errorf("a piece prints %q:\n%s", out, text)
		}
		ran++
	}
	if ran != 7 {
		t.Errorf("%d pieces", ran)
	}
}

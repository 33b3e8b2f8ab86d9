//go:build contract

package contract_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
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

// patience bounds whatever should take milliseconds; the machine may be busy.
const patience = 30 * time.Second

var binary string // iris-mcp, built for this run

// TestMain plays claude when a team starts it, and else builds iris-mcp and runs the tests.
func TestMain(m *testing.M) {
	agenttest.Main()
	os.Exit(drive.WithBinary(func(built string) int {
		binary = built
		if code := m.Run(); code != 0 {
			return code
		}
		return seen.check()
	}))
}

// keys are those of the file, by name; their credentials are made of the names.
func keyOf(name string) string { return "iris_sk_" + name + strings.Repeat("x", 40) }

// key is an entry of api.auth.keys.
func key(name string, scopes ...string) map[string]any {
	return map[string]any{"name": name, "key": keyOf(name), "scopes": scopes, "tier": "enterprise"}
}

// with adds to a map.
func with(m map[string]any, more map[string]any) map[string]any {
	m = maps.Clone(m)
	maps.Copy(m, more)
	return m
}

// server is a running iris-mcp.
type server struct {
	*drive.Server
	t       testing.TB
	options drive.Options
	doc     *document
}

// start starts a server with the teams backend and frontend and a key of every kind. change
// may change its configuration, whose parts api and teams are there.
func start(t testing.TB, change func(config, api, teams map[string]any)) *server {
	t.Helper()
	s := &server{t: t}
	dir := t.TempDir()
	team := func(name string) map[string]any {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		return map[string]any{
			"path": path, "description": "The " + name, "claudePath": self,
			"env": map[string]any{agenttest.Script: "echo", agenttest.Home: filepath.Join(dir, "conversations")},
		}
	}
	api := map[string]any{"auth": map[string]any{"type": "bearer", "keys": []any{
		key("all", "*"), key("other", "*"), key("admin", "admin:*"),
		key("reader", "teams:read", "messages:read"), key("asker", "teams:read", "messages:write"),
		key("streamer", "teams:read", "messages:stream"), key("none", "teams:delete"),
		with(key("bound", "*"), map[string]any{"teams": []any{"backend"}}),
	}}}
	teams := map[string]any{"backend": team("backend"), "frontend": team("frontend")}
	config := map[string]any{"api": api, "teams": teams, "settings": map[string]any{"shutdownGrace": "1s"}}
	if change != nil {
		change(config, api, teams)
	}
	s.options = drive.Options{
		Binary: binary, Home: filepath.Join(dir, "home"), Config: config,
		Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir},
	}
	s.run()
	t.Cleanup(func() { s.Stop() })
	return s
}

// run starts the server, again on its port and its data.
func (s *server) run() {
	s.t.Helper()
	var err error
	if s.Server, err = drive.Start(s.t.Context(), s.options); err != nil {
		s.t.Fatal(err)
	}
	s.options.Port, _ = strconv.Atoi(s.URL[strings.LastIndex(s.URL, ":")+1:])
	s.doc = s.document()
}

// kill ends the server as a crash does, and starts it again.
func (s *server) kill() {
	s.t.Helper()
	if err := s.End(syscall.SIGKILL); err == nil {
		s.t.Fatal("a killed server ended well")
	}
	s.run()
}

// req is a request. Its path is below /api/v1 unless it begins with two slashes.
type req struct {
	method, path string
	body         any    // a string as it is, anything else as JSON
	key          string // of the file; "all" if empty, "-" for none
	header       map[string]string
}

func (s *server) url(path string) string {
	if outside, ok := strings.CutPrefix(path, "//"); ok {
		return s.URL + "/" + outside
	}
	return s.URL + "/api/v1" + path
}

func (s *server) request(r req) *http.Request {
	s.t.Helper()
	var body io.Reader
	switch b := r.body.(type) {
	case nil:
	case string:
		body = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			s.t.Fatal(err)
		}
		body = bytes.NewReader(data)
	}
	if r.method == "" {
		r.method = http.MethodGet
		if r.body != nil {
			r.method = http.MethodPost
		}
	}
	q, err := http.NewRequestWithContext(s.t.Context(), r.method, s.url(r.path), body)
	if err != nil {
		s.t.Fatal(err)
	}
	if r.key == "" {
		r.key = "all"
	}
	if r.key != "-" {
		q.Header.Set("Authorization", "Bearer "+keyOf(r.key))
	}
	for name, value := range r.header {
		if value == "" {
			q.Header.Del(name)
		} else {
			q.Header.Set(name, value)
		}
	}
	return q
}

// client follows no redirects.
var client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// answer is what came back.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
	json   map[string]any // of a JSON object
}

// do sends a request and holds the answer to the OpenAPI document.
func (s *server) do(r req) answer {
	s.t.Helper()
	q := s.request(r)
	res, err := client.Do(q)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	a := answer{t: s.t, status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		s.t.Fatal(err)
	}
	json.Unmarshal(a.body, &a.json)
	s.doc.check(s.t, q, a)
	return a
}

// is wants a status.
func (a answer) is(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %.500s", a.status, status, a.body)
	}
	return a
}

// fails wants the one shape of errors, with this status and code.
func (a answer) fails(status int, code string) answer {
	a.t.Helper()
	a.is(status)
	wantError(a.t, a.json, code)
	if a.json["requestId"] != a.header.Get("X-Request-Id") {
		a.t.Errorf("the error has the request id %v, the header %s", a.json["requestId"], a.header.Get("X-Request-Id"))
	}
	return a
}

// wantError holds an error to its shape.
func wantError(t testing.TB, e map[string]any, code string) {
	t.Helper()
	if e["code"] != code {
		t.Fatalf("the code is %v, want %s: %v", e["code"], code, e)
	}
	for field, v := range e {
		switch field {
		case "error", "code", "message", "requestId":
			if text, ok := v.(string); !ok || text == "" {
				t.Errorf("%s is %v", field, v)
			}
		case "timestamp":
			wantNow(t, v)
		case "details":
		case "required", "provided":
			if _, ok := v.([]any); !ok || code != "FORBIDDEN" {
				t.Errorf("%s is %v", field, v)
			}
		case "limit", "window", "resetAt":
			if _, ok := v.(float64); !ok || code != "RATE_LIMITED" {
				t.Errorf("%s is %v", field, v)
			}
		default:
			t.Errorf("an error has the field %s", field)
		}
	}
	for _, field := range []string{"error", "code", "message", "timestamp", "requestId"} {
		if _, ok := e[field]; !ok {
			t.Errorf("an error has no %s: %v", field, e)
		}
	}
}

// wantNow wants Unix milliseconds of about now.
func wantNow(t testing.TB, v any) {
	t.Helper()
	n, ok := v.(float64)
	if off := time.Since(time.UnixMilli(int64(n))); !ok || n != float64(int64(n)) || off < -time.Minute || off > 5*time.Minute {
		t.Errorf("%v is not the time in Unix milliseconds", v)
	}
}

// wantCount wants a whole number that is not negative.
func wantCount(t testing.TB, v any) {
	t.Helper()
	if n, ok := v.(float64); !ok || n < 0 || n != float64(int64(n)) {
		t.Errorf("%v is not a count", v)
	}
}

// wantFields wants an object with exactly these fields; those with a ? at the end may be missing.
func wantFields(t testing.TB, v any, fields ...string) map[string]any {
	t.Helper()
	o, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("%v is no object", v)
	}
	known := map[string]bool{}
	for _, f := range fields {
		name, optional := strings.CutSuffix(f, "?")
		known[name] = true
		if _, ok := o[name]; !ok && !optional {
			t.Errorf("the field %s is missing in %v", name, o)
		}
	}
	for name := range o {
		if !known[name] {
			t.Errorf("there is a field %s in %v", name, o)
		}
	}
	return o
}

var idForm = regexp.MustCompile(`^(msg|job|ses)_[0-9A-HJKMNP-TV-Z]{26}$`)

// id gives a field that is an id.
func (a answer) id(field string) string {
	a.t.Helper()
	id, _ := a.json[field].(string)
	if !idForm.MatchString(id) {
		a.t.Fatalf("%s is %v, no id: %s", field, a.json[field], a.body)
	}
	return id
}

func (a answer) text(field string) string {
	a.t.Helper()
	text, ok := a.json[field].(string)
	if !ok {
		a.t.Fatalf("%s is %v, no text: %s", field, a.json[field], a.body)
	}
	return text
}

// problems are the names of the fields that a refused request's details list.
func (a answer) problems() []string {
	var names []string
	list, _ := a.json["details"].([]any)
	for _, p := range list {
		o := wantFields(a.t, p, "field", "problem")
		names = append(names, fmt.Sprint(o["field"]))
	}
	return names
}

// eventually waits until it is so.
func eventually(t testing.TB, so func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen within %s", patience)
		}
	}
}

// finished waits for a message's end.
func (s *server) finished(id string) answer {
	s.t.Helper()
	return s.do(req{path: "/messages/" + id + "?wait=30000"}).is(200)
}

// ask asks and wants an answer.
func (s *server) ask(question string) answer {
	s.t.Helper()
	return s.do(req{path: "/teams/backend/ask", body: map[string]any{"question": question}}).is(200)
}

// gate is what a script waits for, as a step of it, so that a test decides what is still running
// and no clock does.
type gate struct {
	t    testing.TB
	file string
}

func newGate(t testing.TB) gate { return gate{t, filepath.Join(t.TempDir(), "open")} }

// step waits until the gate is open.
func (g gate) step() string { return "[[until " + g.file + "]]" }

// open may be called from any goroutine.
func (g gate) open() {
	g.t.Helper()
	if err := os.WriteFile(g.file, nil, 0o600); err != nil {
		g.t.Error(err)
	}
}

func (g gate) shut() {
	g.t.Helper()
	if err := os.Remove(g.file); err != nil {
		g.t.Fatal(err)
	}
}

// together runs the functions side by side.
func together(n int, do func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

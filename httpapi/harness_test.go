package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// front is a server with fakes behind it.
type front struct {
	*fake
	*keys
	server *httpapi.Server
	logged *buffer
}

func newFront(cfg httpapi.Config) *front {
	f := &front{fake: newFake(), keys: newKeys(), logged: &buffer{}}
	log := slog.New(slog.NewJSONHandler(f.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.server = httpapi.New(cfg, f.fake, f.fake, f.keys, log)
	return f
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// call is a request of a test; it has the key all unless it names another.
type call struct {
	method, path, body string
	key                string
	header             http.Header
}

func (c call) request(ctx context.Context, baseURL string) *http.Request {
	method := c.method
	if method == "" {
		method = http.MethodGet
		if c.body != "" {
			method = http.MethodPost
		}
	}
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	r, err := http.NewRequestWithContext(ctx, method, baseURL+c.path, body)
	if err != nil {
		panic(err)
	}
	for k, v := range c.header {
		r.Header[k] = v
	}
	switch c.key {
	case "":
		r.Header.Set("Authorization", "Bearer all")
	case "-":
	default:
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	return r
}

// do plays one request without a connection, and waits until the fake is at rest.
func (f *front) do(c call) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := c.request(context.Background(), "http://iris.test")
	f.server.Handler().ServeHTTP(w, r)
	return w
}

// forget drops all messages and the log.
func (f *front) forget() {
	f.messages, f.events, f.asks = nil, map[string][]iris.Event{}, nil
	f.logged.mu.Lock()
	f.logged.buf.Reset()
	f.logged.mu.Unlock()
}

// ask sends a message that is over when ask returns, and gives its id.
func (f *front) ask(t *testing.T, key, team, text string) string {
	t.Helper()
	w := f.do(call{path: "/api/v1/teams/" + team + "/execute", body: fmt.Sprintf(`{"task":%q}`, text), key: key})
	var got struct{ MessageID string }
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.MessageID == "" {
		t.Fatalf("execute: %d %s", w.Code, w.Body)
	}
	f.running.Wait()
	return got.MessageID
}

// wire is an error as a client reads it.
type wire struct {
	Error, Code, Message string
	Details              any
	Timestamp            int64
	RequestID            string
	Required, Provided   []string
}

func errorOf(t *testing.T, body []byte) wire {
	t.Helper()
	var e wire
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatalf("not the error shape: %v: %s", err, body)
	}
	if e.Error == "" || e.Code == "" || e.Message == "" || e.Timestamp == 0 || e.RequestID == "" {
		t.Fatalf("not the whole error shape: %s", body)
	}
	return e
}

// now is a timestamp that is not of the fake's.
var now = regexp.MustCompile(`"timestamp":1[0-9]{12}`)

// golden compares with testdata/name.
func golden(t *testing.T, name string, got string) {
	t.Helper()
	got = now.ReplaceAllStringFunc(got, func(s string) string {
		if strings.HasPrefix(s, `"timestamp":17040672`) {
			return s
		}
		return `"timestamp":NOW`
	})
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	had, has := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range max(len(had), len(has)) {
		if i >= len(had) || i >= len(has) || had[i] != has[i] {
			t.Fatalf("%s:%d differs: got\n%.2000s\nwant\n%.2000s", file, i+1, strings.Join(has[min(i, len(has)):], "\n"), strings.Join(had[min(i, len(had)):], "\n"))
		}
	}
}

// pipe serves the front over net.Pipe, which a bubble can watch. The client has one
// connection a request.
type pipe struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipe() *pipe { return &pipe{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipe) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (p *pipe) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// serve runs the front on a pipe until stop is called, which waits for its end.
func (f *front) serve(t *testing.T) (client *http.Client, stop func()) {
	t.Helper()
	p := newPipe()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.server.Serve(ctx, p) }()
	transport := &http.Transport{DialContext: p.dial, DisableKeepAlives: true}
	return &http.Client{Transport: transport}, sync.OnceFunc(func() {
		cancel()
		transport.CloseIdleConnections()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

package main

import (
	"encoding/hex"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/iris-mcp/iris-mcp/internal/drive"
)

// TestWhatOthersSee: the real program, asked once, tells Prometheus and OpenTelemetry of it.
func TestWhatOthersSee(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	var mu sync.Mutex
	spans := map[string]bool{} // names, of the trace
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var batch collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &batch); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range batch.ResourceSpans {
			for _, span := range rs.ScopeSpans[0].Spans {
				if hex.EncodeToString(span.TraceId) == id {
					spans[span.Name] = true
				}
			}
		}
	}))
	defer sink.Close()

	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iris-mcp", "claude"} { // see TestMain
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	home := filepath.Join(dir, "home")
	srv, err := drive.Start(t.Context(), drive.Options{
		Binary: filepath.Join(dir, "iris-mcp"), Home: home,
		Env: []string{"PATH=" + dir, "HOME=" + dir, "GORACE=atexit_sleep_ms=0", "OTEL_EXPORTER_OTLP_ENDPOINT=" + sink.URL},
		Config: map[string]any{"teams": map[string]any{"backend": map[string]any{
			"path": dir, "env": map[string]string{"IRIS_FAKE_AGENT": "echo", "IRIS_FAKE_AGENT_HOME": filepath.Join(dir, "agent")},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceValue(srv.Stop)
	defer stop()
	ask, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/api/v1/teams/backend/ask", strings.NewReader(`{"question":"hello"}`))
	if err != nil {
		t.Fatal(err)
	}
	ask.Header.Set("Authorization", "Bearer "+srv.Key)
	ask.Header.Set("Traceparent", "00-"+id+"-b7ad6b7169203331-01")
	res, err := http.DefaultClient.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Fatalf("%d %s", res.StatusCode, answer)
	}

	// What is counted after the answer was given, and the process at rest, take a moment.
	var text []byte
	for late := time.Now().Add(20 * time.Second); time.Now().Before(late); time.Sleep(10 * time.Millisecond) {
		if res, err = http.Get(srv.URL + "/metrics"); err != nil {
			t.Fatal(err)
		}
		text, _ = io.ReadAll(res.Body)
		res.Body.Close()
		if strings.Contains(string(text), "\niris_messages_total{") && strings.Contains(string(text), `state="idle",team="backend"} 1`) {
			break
		}
	}
	problems, err := promlint.New(strings.NewReader(string(text))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	for _, want := range []string{
		`iris_messages_accepted_total{kind="ask",team="backend"} 1`,
		`iris_messages_total{kind="ask",outcome="completed",team="backend"} 1`,
		`iris_turns_total{outcome="completed",team="backend"} 1`,
		`iris_queue_wait_seconds_count{team="backend"} 1`,
		`iris_process_starts_total{outcome="started",team="backend"} 1`,
		`iris_processes{state="idle",team="backend"} 1`,
		`iris_http_requests_total{method="POST",route="/api/v1/teams/:team/ask",status="200"} 1`,
		`iris_config_last_reload_successful 1`,
	} {
		if !strings.Contains(string(text), "\n"+want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}

	if err := stop(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got, want := slices.Sorted(maps.Keys(spans)), []string{"POST /api/v1/teams/:team/ask", "message", "queue", "turn"}; !slices.Equal(got, want) {
		t.Errorf("the trace has %v, want %v", got, want)
	}
	if log, err := os.ReadFile(filepath.Join(home, "iris.log")); err != nil || !strings.Contains(string(log), `"trace":"`+id+`"`) {
		t.Errorf("the log does not name the trace (%v): %s", err, log)
	}
}

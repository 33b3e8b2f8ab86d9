package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/metrics"
)

// busy is a server in which everything has happened at least once.
func busy() *metrics.Metrics {
	m := metrics.New("1.2.3", metrics.State{
		Teams: func() []iris.Team { return []iris.Team{{Name: "backend"}, {Name: "broken"}} },
		Processes: func(team string) []iris.Process {
			return []iris.Process{{State: iris.ProcessBusy}, {State: iris.ProcessBusy}, {State: iris.ProcessIdle}}
		},
		Backlog: func(_ context.Context, team string) (iris.Backlog, error) {
			if team == "broken" {
				return iris.Backlog{}, errors.New("disk on fire")
			}
			return iris.Backlog{Waiting: 3, Running: 2}, nil
		},
		Refused: func() error { return nil },
		Size:    func() int64 { return 4096 },
		Expires: func() time.Time { return time.Unix(1704067200, 0) },
		Log:     slog.New(slog.DiscardHandler),
	})
	at := time.Unix(1704067200, 0)
	ask := iris.Message{Team: "backend", Status: iris.StatusCompleted, CreatedAt: at, CompletedAt: at.Add(3 * time.Second)}
	task := ask
	task.Task, task.Status = true, iris.StatusFailed
	for _, msg := range []iris.Message{ask, task} {
		m.Accepted(msg)
		m.Waited("backend", 40*time.Millisecond)
		m.Ended(msg)
	}
	m.Ended(iris.Message{Status: iris.StatusFailed}) // one that could not be read
	m.Waited("backend", -time.Second)                // a clock that was set back
	did := iris.Metadata{CostUSD: 0.5, Usage: iris.Usage{InputTokens: 10, OutputTokens: 20, CacheReadTokens: 30, CacheWriteTokens: 40}}
	m.Turn("backend", metrics.OutcomeCompleted, 2*time.Second, did)
	m.Turn("backend", metrics.OutcomeFailed, time.Second, iris.Metadata{})
	m.Started("backend", 300*time.Millisecond, nil)
	m.Started("backend", 0, errors.New("no such program"))
	m.Request("/api/v1/teams/:team/ask", "POST", 200, time.Second)
	m.Request("", "FROB-0123456789", 405, time.Millisecond)
	m.Connections(1)
	m.Streams("sse", 1)
	m.Streams("sse", 1)
	m.Streams("sse", -1)
	m.Limited("key")
	m.LoginFailed()
	m.Webhook(iris.DeliveryDelivered, time.Second)
	m.Webhook(iris.DeliveryPending, time.Second)
	return m
}

func text(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	got, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestWhatIsTold(t *testing.T) {
	got := text(t, busy())
	for _, want := range []string{
		`iris_messages_accepted_total{kind="task",team="backend"} 1`,
		`iris_messages_total{kind="ask",outcome="completed",team="backend"} 1`,
		`iris_messages_total{kind="task",outcome="failed",team="backend"} 1`,
		`iris_message_duration_seconds_sum{kind="ask",team="backend"} 3`,
		`iris_queue_wait_seconds_count{team="backend"} 3`,
		`iris_queue_wait_seconds_sum{team="backend"} 0.08`,
		`iris_queue_waiting{team="backend"} 3`,
		`iris_queue_running{team="backend"} 2`,
		`iris_processes{state="busy",team="backend"} 2`,
		`iris_processes{state="starting",team="backend"} 0`,
		`iris_processes{state="busy",team="broken"} 2`,
		`iris_turns_total{outcome="failed",team="backend"} 1`,
		`iris_turn_duration_seconds_sum{team="backend"} 3`,
		`iris_tokens_total{team="backend",type="cache_read"} 30`,
		`iris_cost_usd_total{team="backend"} 0.5`,
		`iris_process_starts_total{outcome="failed",team="backend"} 1`,
		`iris_process_start_duration_seconds_count{team="backend"} 1`,
		`iris_http_requests_total{method="POST",route="/api/v1/teams/:team/ask",status="200"} 1`,
		`iris_http_requests_total{method="other",route="none",status="405"} 1`,
		`iris_http_connections 1`,
		`iris_streams{kind="sse"} 1`,
		`iris_rate_limited_total{of="key"} 1`,
		`iris_failed_logins_total 1`,
		`iris_webhook_attempts_total{outcome="delivered"} 1`,
		`iris_webhook_attempts_total{outcome="retry"} 1`,
		`iris_config_last_reload_successful 1`,
		`iris_store_size_bytes 4096`,
		`iris_certificate_expiry_timestamp_seconds 1.7040672e+09`,
		`iris_build_info{goversion="go`,
	} {
		if !strings.Contains(got, "\n"+want) {
			t.Errorf("there is no %s", want)
		}
	}
	for _, no := range []string{`iris_queue_waiting{team="broken"}`, `team=""`, "FROB"} {
		if strings.Contains(got, no) {
			t.Errorf("there is %s", no)
		}
	}
}

// TestPrometheusLikesIt: its own linter finds nothing in what a busy server tells.
func TestPrometheusLikesIt(t *testing.T) {
	got := text(t, busy())
	problems, err := promlint.New(strings.NewReader(got)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewBufferString(got))
	if err != nil || len(families) < 30 {
		t.Errorf("%d families, %v", len(families), err)
	}
}

// TestTheDocumentIsTrue: docs/metrics.md has each metric with its labels, and no other.
func TestTheDocumentIsTrue(t *testing.T) {
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{} // name and labels → type
	types := map[string]string{}
	got := text(t, busy())
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (iris_\S+) (\S+)$`).FindAllStringSubmatch(got, -1) {
		types[m[1]] = m[2]
	}
	for _, m := range regexp.MustCompile(`(?m)^(iris_[a-z_]+?)(?:\{([^}]*)\})? `).FindAllStringSubmatch(got, -1) {
		name := m[1]
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			if short := strings.TrimSuffix(name, part); types[short] == "histogram" {
				name = short
			}
		}
		var labels []string
		for _, l := range regexp.MustCompile(`([a-z]+)="`).FindAllStringSubmatch(m[2], -1) {
			if l[1] != "le" {
				labels = append(labels, "`"+l[1]+"`")
			}
		}
		told["| `"+name+"` | "+types[name]+" | "+strings.Join(labels, " ")+" |"] = name
	}
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `iris_[a-z_]+` \\| [a-z]+ \\| [a-z` ]*\\|").FindAllString(string(doc), -1) {
		m = strings.Replace(m, "|  |", "| |", 1)
		if told[m] == "" && told[strings.Replace(m, "| |", "|  |", 1)] == "" {
			t.Errorf("docs/metrics.md tells of what is not so: %s", m)
		}
		rows = append(rows, m)
	}
	for row := range told {
		if !slices.Contains(rows, strings.Replace(row, "|  |", "| |", 1)) {
			t.Errorf("docs/metrics.md lacks %s", row)
		}
	}
	// Every metric that an example asks for is there.
	for _, name := range regexp.MustCompile(`iris_[a-z_]+`).FindAllString(string(doc), -1) {
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, part)
		}
		if types[name] == "" {
			t.Errorf("docs/metrics.md has %s, which is none", name)
		}
	}
}

// TestAtOnce: everybody may count and ask at once.
func TestAtOnce(t *testing.T) {
	m := busy()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				m.Request("/api/v1/teams", "GET", 200, time.Millisecond)
			}
			text(t, m)
		})
	}
	all.Wait()
	if got := text(t, m); !strings.Contains(got, `iris_http_requests_total{method="GET",route="/api/v1/teams",status="200"} 400`) {
		t.Error("not all requests were counted")
	}
}

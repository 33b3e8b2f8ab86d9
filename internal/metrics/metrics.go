// Package metrics counts what Iris does, for Prometheus. docs/metrics.md says of each metric
// what it means; a test holds the two together.
//
// A label is the template of a route, a method, a team, a state or an outcome: never an id, a
// key or an address, so that their number is bounded by the configuration.
package metrics

import (
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	iris "github.com/iris-mcp/iris-mcp"
)

// Outcomes of a turn beside the status of its message.
const (
	OutcomeCompleted   = "completed"
	OutcomeCancelled   = "cancelled"
	OutcomeTimeout     = "timeout"
	OutcomeInterrupted = "interrupted" // Iris ended, or the job went to another
	OutcomeFailed      = "failed"
)

var (
	// short fits what Iris does by itself, long what waits for a model. In seconds.
	short = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 30, 120}
	long  = []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600}
)

// Metrics is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	requests    *prometheus.CounterVec
	requestTime *prometheus.HistogramVec
	connections prometheus.Gauge
	streams     *prometheus.GaugeVec
	limited     *prometheus.CounterVec
	logins      prometheus.Counter

	accepted    *prometheus.CounterVec
	messages    *prometheus.CounterVec
	messageTime *prometheus.HistogramVec
	waits       *prometheus.HistogramVec
	turns       *prometheus.CounterVec
	turnTime    *prometheus.HistogramVec
	tokens      *prometheus.CounterVec
	cost        *prometheus.CounterVec
	starts      *prometheus.CounterVec
	startTime   *prometheus.HistogramVec
	webhooks    *prometheus.CounterVec
	webhookTime prometheus.Histogram
}

// New makes the metrics of a server of that version; what it is now is looked up at state when
// somebody asks.
func New(version string, state State) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "iris_" + name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "iris_" + name, Help: help}, labels)
		m.registry.MustRegister(g)
		return g
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "iris_" + name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(h)
		return h
	}

	m.requests = counter("http_requests_total", "HTTP requests that were answered.", "route", "method", "status")
	m.requestTime = histogram("http_request_duration_seconds", "Time from the arrival of an HTTP request to the end of its answer; for streams, their length.", short, "route", "method")
	m.connections = gauge("http_connections", "Open HTTP connections.").WithLabelValues()
	m.streams = gauge("streams", "Open event streams and WebSocket connections.", "kind")
	m.limited = counter("rate_limited_total", "Requests that were refused for a rate limit.", "of")
	m.logins = counter("failed_logins_total", "Requests with no or a bad credential.").WithLabelValues()

	m.accepted = counter("messages_accepted_total", "Messages that were accepted.", "team", "kind")
	m.messages = counter("messages_total", "Messages that came to their end.", "team", "kind", "outcome")
	m.messageTime = histogram("message_duration_seconds", "Time from the acceptance of a message to its end.", long, "team", "kind")
	m.waits = histogram("queue_wait_seconds", "Time that a job waited after it might have begun.", long, "team")
	m.turns = counter("turns_total", "Turns of Claude Code that ended.", "team", "outcome")
	m.turnTime = histogram("turn_duration_seconds", "Time of a turn, with the start of a process when it needed one.", long, "team")
	m.tokens = counter("tokens_total", "Tokens that turns used.", "team", "type")
	m.cost = counter("cost_usd_total", "What turns cost in US dollars, as Claude Code reckons it.", "team")
	m.starts = counter("process_starts_total", "Starts of Claude Code processes.", "team", "outcome")
	m.startTime = histogram("process_start_duration_seconds", "Time from the start of a Claude Code process until it was ready.", short, "team")
	m.webhooks = counter("webhook_attempts_total", "Attempts to deliver a webhook.", "outcome")
	m.webhookTime = histogram("webhook_attempt_duration_seconds", "Time of an attempt to deliver a webhook.", short).WithLabelValues().(prometheus.Histogram)

	gauge("build_info", "The version of this Iris; always 1.", "version", "goversion").WithLabelValues(version, runtime.Version()).Set(1)
	m.registry.MustRegister(
		&reader{state: state, log: state.Log},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Text is all metrics as Prometheus reads them (text format 0.0.4).
func (m *Metrics) Text() ([]byte, error) {
	families, err := m.registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather the metrics: %w", err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			return nil, fmt.Errorf("write the metrics: %w", err)
		}
	}
	return text.Bytes(), nil
}

// Request counts an answered request; route is the template, empty for a path that is none.
func (m *Metrics) Request(route, method string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions:
	default: // anybody may make up methods
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.requestTime.WithLabelValues(route, method).Observe(took.Seconds())
}

// Connections counts connections that were opened (1) and closed (-1).
func (m *Metrics) Connections(n int) { m.connections.Add(float64(n)) }

// Streams counts streams of a kind (sse, websocket) that were opened (1) and closed (-1).
func (m *Metrics) Streams(kind string, n int) { m.streams.WithLabelValues(kind).Add(float64(n)) }

// Limited counts a request that was refused for the limit of a key or of an address.
func (m *Metrics) Limited(of string) { m.limited.WithLabelValues(of).Inc() }

// LoginFailed counts a request with no or a bad credential.
func (m *Metrics) LoginFailed() { m.logins.Inc() }

// kind tells what somebody waits for from what somebody left behind.
func kind(m iris.Message) string {
	if m.Task {
		return "task"
	}
	return "ask"
}

// Accepted counts a message that was accepted.
func (m *Metrics) Accepted(msg iris.Message) { m.accepted.WithLabelValues(msg.Team, kind(msg)).Inc() }

// Ended counts a message that is final.
func (m *Metrics) Ended(msg iris.Message) {
	if msg.Team == "" {
		return // it could not be read, and failed for that
	}
	m.messages.WithLabelValues(msg.Team, kind(msg), string(msg.Status)).Inc()
	m.messageTime.WithLabelValues(msg.Team, kind(msg)).Observe(msg.Duration().Seconds())
}

// Waited counts a job of a team that begins, and for how long it might have begun before.
func (m *Metrics) Waited(team string, waited time.Duration) {
	m.waits.WithLabelValues(team).Observe(max(waited, 0).Seconds())
}

// Turn counts a turn that ended, with what it did.
func (m *Metrics) Turn(team, outcome string, took time.Duration, did iris.Metadata) {
	m.turns.WithLabelValues(team, outcome).Inc()
	m.turnTime.WithLabelValues(team).Observe(took.Seconds())
	for kind, n := range map[string]int64{
		"input": did.Usage.InputTokens, "output": did.Usage.OutputTokens,
		"cache_read": did.Usage.CacheReadTokens, "cache_write": did.Usage.CacheWriteTokens,
	} {
		m.tokens.WithLabelValues(team, kind).Add(float64(max(n, 0)))
	}
	m.cost.WithLabelValues(team).Add(max(did.CostUSD, 0))
}

// Started counts the start of a process, and how long it took if it went well.
func (m *Metrics) Started(team string, took time.Duration, err error) {
	if err != nil {
		m.starts.WithLabelValues(team, "failed").Inc()
		return
	}
	m.starts.WithLabelValues(team, "started").Inc()
	m.startTime.WithLabelValues(team).Observe(took.Seconds())
}

// Webhook counts an attempt to deliver a webhook, and what the delivery was after it.
func (m *Metrics) Webhook(state iris.DeliveryState, took time.Duration) {
	outcome := string(state)
	if state == iris.DeliveryPending {
		outcome = "retry"
	}
	m.webhooks.WithLabelValues(outcome).Inc()
	m.webhookTime.Observe(took.Seconds())
}

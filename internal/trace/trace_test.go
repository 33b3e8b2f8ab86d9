package trace_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/trace"
)

// sink is a collector.
type sink struct {
	*httptest.Server
	mu     sync.Mutex
	spans  map[string]*otlp.Span // by name
	raw    []byte
	header http.Header
	path   string
	about  map[string]string
	busy   int // so many requests are turned away first
}

func newSink(t *testing.T) *sink {
	s := &sink{spans: map[string]*otlp.Span{}, about: map[string]string{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.busy > 0 {
			s.busy--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		s.header, s.path = r.Header, r.URL.Path
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			body, _ = io.ReadAll(unpacked)
		}
		s.raw = append(s.raw, body...)
		var batch collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &batch); err != nil {
			t.Error(err)
			return
		}
		for _, rs := range batch.ResourceSpans {
			for _, a := range rs.Resource.Attributes {
				s.about[a.Key] = a.Value.GetStringValue()
			}
			for _, ss := range rs.ScopeSpans {
				for _, span := range ss.Spans {
					s.spans[span.Name] = span
				}
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if value, ok := strings.CutPrefix(p, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

const given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// play is a message from its request to its end.
func play(traces *trace.Traces) {
	r := httptest.NewRequest("POST", "/api/v1/teams/backend/ask", nil)
	r.Header.Set("Traceparent", given)
	ctx, _, answered := traces.Request(context.Background(), r, "/api/v1/teams/:team/ask")
	at := time.Now()
	m := iris.Message{ID: "msg_1", Team: "backend", Text: "SECRET", CreatedAt: at, SessionID: "ses_1", Caller: iris.Caller{Kind: iris.CallerKey, Name: "ci"}}
	traces.Accepted(ctx, m)
	traces.Claimed(iris.Job{ID: "job_1", MessageID: "msg_1", Team: "backend", Attempt: 1, RunAt: at})
	var seen []iris.EventKind
	turn := iris.Turn{MessageID: "msg_1", Team: iris.Team{Name: "backend"}, Text: "SECRET", Emit: func(e iris.Event) { seen = append(seen, e.Kind) }}
	ended := traces.Turn(&turn)
	turn.Emit(iris.Event{Kind: iris.EventChunk, Text: "SECRET"})
	turn.Emit(iris.Event{Kind: iris.EventToolUse, Tool: &iris.Tool{Name: "Read", File: "SECRET", Input: []byte(`"SECRET"`)}})
	turn.Emit(iris.Event{Kind: iris.EventToolResult, Tool: &iris.Tool{Name: "Read", IsError: true}})
	if !slices.Equal(seen, []iris.EventKind{iris.EventChunk, iris.EventToolUse, iris.EventToolResult}) {
		panic("not all events went through")
	}
	ended("failed", iris.Metadata{Model: "scripted", CostUSD: 0.5, Usage: iris.Usage{InputTokens: 3}}, errors.New("SECRET"))
	m.Status, m.Err, m.CompletedAt = iris.StatusFailed, iris.Errorf(iris.CodeProcess, "SECRET"), at.Add(time.Second)
	traces.Ended(m)
	traces.Ended(m)
	answered(500, iris.CodeProcess)
}

// TestAMessageIsOneTrace: from the request to the tools, in the trace that the client named.
func TestAMessageIsOneTrace(t *testing.T) {
	s := newSink(t)
	s.busy = 1
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test") // the library reads it itself
	traces := trace.Open(env("OTEL_EXPORTER_OTLP_ENDPOINT="+s.URL+"/", "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20x, a=b", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip"),
		"1.2.3", slog.New(slog.DiscardHandler))
	play(traces)
	if err := traces.Close(); err != nil {
		t.Fatal(err)
	}
	if s.path != "/v1/traces" || s.header.Get("Authorization") != "Bearer x" || s.header.Get("A") != "b" || s.header.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("sent to %s with %v", s.path, s.header)
	}
	if s.about["service.name"] != "iris-mcp" || s.about["service.version"] != "1.2.3" || s.about["deployment.environment"] != "test" {
		t.Errorf("the resource is %v", s.about)
	}
	if bytes.Contains(s.raw, []byte("SECRET")) {
		t.Error("what was said is in the spans")
	}
	names := []string{"POST /api/v1/teams/:team/ask", "message", "queue", "turn"}
	for _, name := range names {
		span := s.spans[name]
		if span == nil {
			t.Fatalf("there is no span %s, but %d others", name, len(s.spans))
		}
		if got := hex.EncodeToString(span.TraceId); got != "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("%s is in the trace %s", name, got)
		}
		parent := "b7ad6b7169203331"
		switch name {
		case "message":
			parent = hex.EncodeToString(s.spans[names[0]].SpanId)
		case "queue", "turn":
			parent = hex.EncodeToString(s.spans["message"].SpanId)
		}
		if got := hex.EncodeToString(span.ParentSpanId); got != parent {
			t.Errorf("%s is below %s, not %s", name, got, parent)
		}
		if span.EndTimeUnixNano < span.StartTimeUnixNano {
			t.Errorf("%s ends before it begins", name)
		}
	}
	if span := s.spans["message"]; time.Duration(span.EndTimeUnixNano-span.StartTimeUnixNano) != time.Second || span.Status.Code != otlp.Status_STATUS_CODE_ERROR || span.Status.Message != "PROCESS_ERROR" {
		t.Errorf("the message is %v", span)
	}
	if span := s.spans[names[0]]; span.Kind != otlp.Span_SPAN_KIND_SERVER || span.Status.Code != otlp.Status_STATUS_CODE_ERROR {
		t.Errorf("the request is %v", span)
	}
	turn := s.spans["turn"]
	if len(turn.Events) != 2 || turn.Events[0].Name != "tool_use" || turn.Events[0].Attributes[0].Value.GetStringValue() != "Read" || !turn.Events[1].Attributes[1].Value.GetBoolValue() {
		t.Errorf("the turn's events are %v", turn.Events)
	}
	got := map[string]any{}
	for _, a := range turn.Attributes {
		got[a.Key] = a.Value.String()
	}
	for name, want := range map[string]string{"iris.message": "msg_1", "iris.team": "backend", "iris.outcome": "failed", "gen_ai.response.model": "scripted"} {
		if !strings.Contains(got[name].(string), want) {
			t.Errorf("%s is %v", name, got[name])
		}
	}
}

// TestAcrossARestart: a message of an earlier Iris has a trace of its own.
func TestAcrossARestart(t *testing.T) {
	s := newSink(t)
	traces := trace.Open(env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="+s.URL+"/custom"), "1", slog.New(slog.DiscardHandler))
	at := time.Now()
	traces.Claimed(iris.Job{ID: "job_1", MessageID: "msg_1", Team: "backend", Attempt: 2, RunAt: at})
	traces.Turn(&iris.Turn{MessageID: "msg_1"})("completed", iris.Metadata{}, nil)
	traces.Ended(iris.Message{ID: "msg_1", Status: iris.StatusCompleted, CompletedAt: at.Add(time.Second)})
	if err := traces.Close(); err != nil {
		t.Fatal(err)
	}
	if s.path != "/custom" || len(s.spans) != 3 || !bytes.Equal(s.spans["turn"].TraceId, s.spans["message"].TraceId) || len(s.spans["message"].ParentSpanId) != 0 {
		t.Errorf("at %s: %v", s.path, s.spans)
	}
}

// TestOff: without a collector there is nothing, and nothing fails.
func TestOff(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  []string
		says string
	}{
		{"nothing is said", nil, ""},
		{"off", []string{"OTEL_TRACES_EXPORTER=none", "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318"}, ""},
		{"all is off", []string{"OTEL_SDK_DISABLED=true", "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318"}, ""},
		{"another exporter", []string{"OTEL_TRACES_EXPORTER=console"}, "knows otlp and none"},
		{"another protocol", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, "speaks http/protobuf"},
		{"no address", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=localhost"}, "http://localhost:4318"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var logged bytes.Buffer
			traces := trace.Open(env(tt.env...), "1", slog.New(slog.NewTextHandler(&logged, nil)))
			if traces != nil || (logged.Len() > 0) != (tt.says != "") || !strings.Contains(logged.String(), tt.says) {
				t.Fatalf("%v, logged %s", traces, logged.String())
			}
			play(traces)
			if err := traces.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNoCollector: one that cannot be reached is said once, holds nothing up, and is not told
// with its password.
func TestNoCollector(t *testing.T) {
	var logged bytes.Buffer
	traces := trace.Open(env("OTEL_EXPORTER_OTLP_ENDPOINT=http://me:SECRET@127.0.0.1:1"), "1", slog.New(slog.NewTextHandler(&logged, nil)))
	began := time.Now()
	play(traces)
	if err := traces.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	if strings.Contains(logged.String(), "SECRET") {
		t.Errorf("logged %s", logged.String())
	}
}

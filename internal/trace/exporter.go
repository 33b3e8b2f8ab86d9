package trace

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	about "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	otlp "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// exporter sends spans as OTLP over HTTP, in protobuf. OpenTelemetry's own exporter would link
// gRPC in, which is as large as a fifth of Iris.
type exporter struct {
	url    string
	shown  string // without a password
	header http.Header
	gzip   bool
	client *http.Client
}

// exporterOf reads the environment (opentelemetry.io/docs/specs/otel/protocol/exporter); nil
// when it names no collector.
func exporterOf(getenv func(string) string) (*exporter, error) {
	if strings.EqualFold(first(getenv, "OTEL_SDK_DISABLED"), "true") {
		return nil, nil
	}
	to := first(getenv, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	base := first(getenv, "OTEL_EXPORTER_OTLP_ENDPOINT")
	switch kind := first(getenv, "OTEL_TRACES_EXPORTER"); {
	case kind == "none", kind == "" && to == "" && base == "":
		return nil, nil
	case kind != "" && kind != "otlp":
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER is %q; this Iris knows otlp and none", kind)
	}
	if p := first(getenv, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); p != "" && p != "http/protobuf" {
		return nil, fmt.Errorf("the protocol for OTLP is %q; this Iris speaks http/protobuf: set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL to it, and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT to where it is spoken", p)
	}
	if to == "" {
		if base == "" {
			base = "http://localhost:4318"
		}
		to = strings.TrimSuffix(base, "/") + "/v1/traces"
	}
	u, err := url.Parse(to)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT must look like http://localhost:4318")
	}
	e := &exporter{
		url: to, shown: u.Redacted(), header: http.Header{},
		gzip:   first(getenv, "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION") == "gzip",
		client: &http.Client{Timeout: 10 * time.Second},
	}
	for pair := range strings.SplitSeq(first(getenv, "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"), ",") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			continue
		}
		if plain, err := url.PathUnescape(value); err == nil {
			value = plain
		}
		e.header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	if ms, err := strconv.Atoi(first(getenv, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")); err == nil && ms > 0 {
		e.client.Timeout = time.Duration(ms) * time.Millisecond
	}
	return e, nil
}

// ExportSpans sends a batch, again and again while the collector says that it may help and the
// context lets it.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	body, err := proto.Marshal(request(spans))
	if err != nil {
		return fmt.Errorf("encode spans: %w", err)
	}
	if e.gzip {
		var small bytes.Buffer
		w := gzip.NewWriter(&small)
		_, _ = w.Write(body) // into memory
		_ = w.Close()
		body = small.Bytes()
	}
	_, err = backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, e.send(ctx, body) }, backoff.WithMaxElapsedTime(20*time.Second))
	if err != nil {
		return fmt.Errorf("send spans to %s: %w", e.shown, err)
	}
	return nil
}

func (e *exporter) send(ctx context.Context, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return backoff.Permanent(err)
	}
	for name, values := range e.header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	if e.gzip {
		r.Header.Set("Content-Encoding", "gzip")
	}
	res, err := e.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
			return backoff.RetryAfter(seconds)
		}
		return fmt.Errorf("the collector answered %s", res.Status)
	}
	if res.StatusCode >= 300 {
		return backoff.Permanent(fmt.Errorf("the collector answered %s", res.Status))
	}
	return nil
}

// Shutdown has nothing to do.
func (e *exporter) Shutdown(context.Context) error { return nil }

// request is a batch on the wire. All spans are of one resource and one tracer: ours.
func request(spans []sdk.ReadOnlySpan) *collector.ExportTraceServiceRequest {
	if len(spans) == 0 {
		return &collector.ExportTraceServiceRequest{}
	}
	scope := &otlp.ScopeSpans{Scope: &common.InstrumentationScope{
		Name: spans[0].InstrumentationScope().Name, Version: spans[0].InstrumentationScope().Version,
	}}
	for _, s := range spans {
		scope.Spans = append(scope.Spans, span(s))
	}
	return &collector.ExportTraceServiceRequest{ResourceSpans: []*otlp.ResourceSpans{{
		Resource: resourceOf(spans[0].Resource()), ScopeSpans: []*otlp.ScopeSpans{scope},
	}}}
}

func resourceOf(r *resource.Resource) *about.Resource {
	return &about.Resource{Attributes: attributes(r.Attributes())}
}

func span(s sdk.ReadOnlySpan) *otlp.Span {
	trace, id, parent := s.SpanContext().TraceID(), s.SpanContext().SpanID(), s.Parent().SpanID()
	out := &otlp.Span{
		TraceId: trace[:], SpanId: id[:], TraceState: s.SpanContext().TraceState().String(),
		Flags: uint32(s.SpanContext().TraceFlags()), Name: s.Name(), Kind: otlp.Span_SpanKind(s.SpanKind()),
		StartTimeUnixNano: uint64(s.StartTime().UnixNano()), EndTimeUnixNano: uint64(s.EndTime().UnixNano()),
		Attributes: attributes(s.Attributes()), DroppedAttributesCount: uint32(s.DroppedAttributes()), DroppedEventsCount: uint32(s.DroppedEvents()),
		Status: &otlp.Status{Message: s.Status().Description},
	}
	if s.Parent().HasSpanID() {
		out.ParentSpanId = parent[:]
	}
	if s.Status().Code == codes.Error {
		out.Status.Code = otlp.Status_STATUS_CODE_ERROR
	}
	for _, e := range s.Events() {
		out.Events = append(out.Events, &otlp.Span_Event{Name: e.Name, TimeUnixNano: uint64(e.Time.UnixNano()), Attributes: attributes(e.Attributes)})
	}
	return out
}

func attributes(all []attribute.KeyValue) []*common.KeyValue {
	var out []*common.KeyValue
	for _, a := range all {
		v := &common.AnyValue{}
		switch a.Value.Type() {
		case attribute.BOOL:
			v.Value = &common.AnyValue_BoolValue{BoolValue: a.Value.AsBool()}
		case attribute.INT64:
			v.Value = &common.AnyValue_IntValue{IntValue: a.Value.AsInt64()}
		case attribute.FLOAT64:
			v.Value = &common.AnyValue_DoubleValue{DoubleValue: a.Value.AsFloat64()}
		default: // of the environment come texts alone
			v.Value = &common.AnyValue_StringValue{StringValue: a.Value.String()}
		}
		out = append(out, &common.KeyValue{Key: string(a.Key), Value: v})
	}
	return out
}

// Package trace tells an OpenTelemetry collector how a message went: the HTTP request, the
// message from its acceptance to its end, its wait in the queue, and its turns with the tools
// that they used. docs/traces.md is its document.
//
// It is off unless the environment names a collector, and then nothing of it runs: every
// method of a nil *Traces does nothing. What was asked and answered is in no span.
package trace

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	iris "github.com/iris-mcp/iris-mcp"
)

// Traces is safe for concurrent use.
type Traces struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer

	mu       sync.Mutex
	messages map[string]message // by id, until they are final
}

// message is what is known of one that is not final. It is in memory alone: a message that
// outlives its Iris begins a new trace.
type message struct {
	ctx  context.Context // carries its span
	span trace.Span
}

// remembered is how many messages may be held; what comes above that has spans without a
// common one.
const remembered = 20_000

// Open makes what the environment asks for, as OpenTelemetry's specification has it; nil when
// it asks for nothing, or, with a warning, for what is not there: the same variables are for
// other programs too. It wants a Close.
func Open(getenv func(string) string, version string, log *slog.Logger) *Traces {
	to, err := exporterOf(getenv)
	if err != nil {
		log.Warn("there are no traces", "error", err)
	}
	if to == nil {
		return nil
	}
	about, err := resource.New(context.Background(),
		resource.WithAttributes(attribute.String("service.name", "iris-mcp"), attribute.String("service.version", version)),
		resource.WithFromEnv(), // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come last, so they count
	)
	if err != nil {
		log.Warn("traces do not have all of OTEL_RESOURCE_ATTRIBUTES", "error", err)
	}
	otel.SetErrorHandler(&complaints{log: log})
	log.Info("traces go to a collector", "url", to.shown)
	provider := sdk.NewTracerProvider(sdk.WithBatcher(to), sdk.WithResource(about)) // and OTEL_TRACES_SAMPLER, OTEL_BSP_*
	return &Traces{
		provider: provider, tracer: provider.Tracer("github.com/iris-mcp/iris-mcp", trace.WithInstrumentationVersion(version)),
		messages: map[string]message{},
	}
}

// Close sends what has not been sent yet, for some seconds at most.
func (t *Traces) Close() error {
	if t == nil {
		return nil
	}
	ctx, stop := context.WithTimeout(context.Background(), 3*time.Second)
	defer stop()
	_ = t.provider.Shutdown(ctx) // what it could not send has been logged
	return nil
}

// complaints logs what goes wrong with sending, once a minute at most.
type complaints struct {
	log  *slog.Logger
	mu   sync.Mutex
	last time.Time
}

func (c *complaints) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.last) > time.Minute {
		c.last = time.Now()
		c.log.Warn("traces are lost", "error", err)
	}
}

// Request begins the span of an HTTP request, within the trace that its headers name. The
// context carries it; end ends it. The id is the trace's, empty when there is none.
func (t *Traces) Request(ctx context.Context, r *http.Request, route string) (_ context.Context, id string, end func(status int, code iris.Code)) {
	if t == nil {
		return ctx, "", func(int, iris.Code) {}
	}
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	ctx, span := t.tracer.Start(ctx, r.Method+" "+route, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", r.Method),
		attribute.String("http.route", route),
		attribute.String("url.scheme", scheme),
	))
	return ctx, span.SpanContext().TraceID().String(), func(status int, code iris.Code) {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
		if code != "" {
			span.SetAttributes(attribute.String("error.type", string(code)))
		}
		if status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, string(code))
		}
		span.End()
	}
}

// Accepted begins the span of a message that was accepted, within the context's.
func (t *Traces) Accepted(ctx context.Context, m iris.Message) {
	if t != nil {
		t.begin(ctx, m.ID, m.Team, m.CreatedAt, attribute.String("iris.from", m.Caller.From()), attribute.Bool("iris.task", m.Task),
			attribute.String("iris.session", m.SessionID))
	}
}

// begin begins the span of a message.
func (t *Traces) begin(ctx context.Context, id, team string, at time.Time, more ...attribute.KeyValue) message {
	ctx, span := t.tracer.Start(context.WithoutCancel(ctx), "message", trace.WithTimestamp(at), trace.WithAttributes(
		attribute.String("iris.message", id), attribute.String("iris.team", team),
	), trace.WithAttributes(more...))
	m := message{ctx, span}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.messages) < remembered {
		t.messages[id] = m
	}
	return m
}

// Claimed tells of the wait of a job that begins now.
func (t *Traces) Claimed(j iris.Job) {
	if t == nil {
		return
	}
	t.mu.Lock()
	m, known := t.messages[j.MessageID]
	t.mu.Unlock()
	if !known { // it was accepted by an Iris that has ended
		m = t.begin(context.Background(), j.MessageID, j.Team, j.RunAt)
	}
	_, span := t.tracer.Start(m.ctx, "queue", trace.WithTimestamp(j.RunAt), trace.WithAttributes(
		attribute.String("iris.job", j.ID), attribute.Int("iris.attempt", j.Attempt), attribute.String("iris.team", j.Team),
	))
	span.End()
}

// Turn begins the span of a turn, and has every tool that the turn uses told as an event of it;
// end ends it.
func (t *Traces) Turn(turn *iris.Turn) (end func(outcome string, did iris.Metadata, err error)) {
	if t == nil {
		return func(string, iris.Metadata, error) {}
	}
	t.mu.Lock()
	m, known := t.messages[turn.MessageID]
	t.mu.Unlock()
	if !known {
		m.ctx = context.Background()
	}
	_, span := t.tracer.Start(m.ctx, "turn", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("iris.message", turn.MessageID), attribute.String("iris.team", turn.Team.Name),
	))
	emit := turn.Emit
	turn.Emit = func(e iris.Event) {
		switch e.Kind {
		case iris.EventToolUse:
			span.AddEvent("tool_use", trace.WithAttributes(attribute.String("iris.tool", e.Tool.Name)))
		case iris.EventToolResult:
			span.AddEvent("tool_result", trace.WithAttributes(attribute.String("iris.tool", e.Tool.Name), attribute.Bool("error", e.Tool.IsError)))
		case iris.EventPermission, iris.EventRetry, iris.EventRestart:
			span.AddEvent(string(e.Kind))
		}
		emit(e)
	}
	return func(outcome string, did iris.Metadata, err error) {
		span.SetAttributes(
			attribute.String("iris.outcome", outcome),
			attribute.Int64("gen_ai.usage.input_tokens", did.Usage.InputTokens),
			attribute.Int64("gen_ai.usage.output_tokens", did.Usage.OutputTokens),
			attribute.Float64("iris.cost_usd", did.CostUSD),
		)
		if did.Model != "" {
			span.SetAttributes(attribute.String("gen_ai.response.model", did.Model))
		}
		if err != nil {
			span.SetStatus(codes.Error, string(iris.CodeOf(err)))
		}
		span.End()
	}
}

// Ended ends the span of a message that is final.
func (t *Traces) Ended(m iris.Message) {
	if t == nil {
		return
	}
	t.mu.Lock()
	held, known := t.messages[m.ID]
	delete(t.messages, m.ID)
	t.mu.Unlock()
	if !known {
		return
	}
	held.span.SetAttributes(attribute.String("iris.outcome", string(m.Status)))
	if m.Err != nil {
		held.span.SetStatus(codes.Error, string(m.Err.Code))
	}
	held.span.End(trace.WithTimestamp(m.CompletedAt))
}

// first is the first variable that is set to something.
func first(getenv func(string) string, names ...string) string {
	for _, name := range names {
		if v := strings.TrimSpace(getenv(name)); v != "" {
			return v
		}
	}
	return ""
}

package httpapi

import (
	"context"
	"net/http"
	"regexp"
	"strings"

	iris "github.com/iris-mcp/iris-mcp"
)

// Tracer follows requests for OpenTelemetry.
type Tracer interface {
	// Request begins a request's span; the context that comes back carries it, and end ends
	// it. The id is that of its trace, empty when nothing is traced.
	Request(ctx context.Context, r *http.Request, route string) (_ context.Context, id string, end func(status int, code iris.Code))
}

// untraced follows nobody.
type untraced struct{}

func (untraced) Request(ctx context.Context, _ *http.Request, _ string) (context.Context, string, func(int, iris.Code)) {
	return ctx, "", func(int, iris.Code) {}
}

// traceparent is the header's form (W3C Trace Context, section 3.2); the first group is the
// id of the trace.
var traceparent = regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)`)

// traced begins the span of a request to the API; probes and paths that are none have no
// spans. The log names the trace that the client named, also when there are no spans.
func (s *Server) traced(r *http.Request, route string, req *request) (ctx context.Context, end func(int, iris.Code)) {
	if m := traceparent.FindStringSubmatch(r.Header.Get("Traceparent")); m != nil {
		req.trace = m[1]
	}
	if !strings.HasPrefix(route, base+"/") && route != "/mcp" {
		return r.Context(), func(int, iris.Code) {}
	}
	ctx, id, end := s.cfg.Traces.Request(r.Context(), r, route)
	if id != "" {
		req.trace = id
	}
	return ctx, end
}

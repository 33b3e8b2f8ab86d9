package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	iris "github.com/iris-mcp/iris-mcp"
)

// request is what is known of a request beside its body. It belongs to the goroutine that
// answers the request.
type request struct {
	id         string
	arrived    time.Time
	address    netip.Addr  // of the client, as far as it can be known; zero if it cannot
	route      *route      // set by the guard, as are the next two
	caller     iris.Caller // zero on an open route
	credential string
	body       *body       // nil without one
	key        string      // names the request if it carries an Idempotency-Key: see once
	answer     http.Header // of the answer
	trace      string      // id of the trace that it is part of, for the log
	message    string      // id of the message that it asked or follows, likewise

	code iris.Code // of the failure that was answered, for the log
	err  error     // its cause, likewise
}

type requestKey struct{}

// requestOf finds the request in its own context: huma gives its handlers nothing else. It is
// taken out here and in the guard, and passed as an argument from there on.
func requestOf(ctx context.Context) *request { return ctx.Value(requestKey{}).(*request) }

// outer is around everything, unknown paths too: it names the request, bounds its body, turns
// a panic into an answer and writes the one line of the log. No body and no query gets there.
func (s *Server) outer(g *gin.Context) {
	req := &request{id: requestID(g.GetHeader("X-Request-Id")), arrived: time.Now(), address: clientAddress(g.Request, s.cfg.TrustedProxies())}
	ctx, traced := s.traced(g.Request, g.FullPath(), req)
	g.Request = g.Request.WithContext(context.WithValue(ctx, requestKey{}, req))
	out := s.patient(g)
	h := out.Header()
	h.Set("X-Request-Id", req.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if g.Request.TLS != nil && !isLoopback(hostOf(g.Request.Host)) { // localhost has other ports with other servers
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}

	req.answer = h
	req.body = s.bound(g)

	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			err := fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			if g.Writer.Written() {
				req.code, req.err = iris.CodeInternal, err
				s.record(g, req)
				traced(http.StatusInternalServerError, req.code)
				panic(http.ErrAbortHandler) // the answer is cut off where it is
			}
			s.fail(g, err)
		}
		s.record(g, req)
		traced(g.Writer.Status(), req.code)
		out.deadline() // for what is still on its way
		req.body.linger()
	}()
	if !s.cors(g) {
		g.Next()
	}
}

// record writes the request's line, and counts it.
func (s *Server) record(g *gin.Context, req *request) {
	level, status := slog.LevelInfo, g.Writer.Status()
	s.cfg.Metrics.Request(g.FullPath(), g.Request.Method, status, time.Since(req.arrived))
	switch {
	case req.code == iris.CodeInternal:
		level = slog.LevelError
	case status >= http.StatusInternalServerError:
		level = slog.LevelWarn
	case req.route != nil && (req.route.open || req.route.near):
		level = slog.LevelDebug // somebody asks every few seconds
	}
	attrs := []slog.Attr{
		slog.String("method", clip(g.Request.Method)),
		slog.String("route", g.FullPath()),
		slog.Int("status", status),
		slog.Duration("took", time.Since(req.arrived).Round(100*time.Microsecond)),
		slog.String("requestId", req.id),
	}
	if req.address.IsValid() {
		attrs = append(attrs, slog.String("address", req.address.String()))
	}
	if agent := g.Request.UserAgent(); agent != "" {
		attrs = append(attrs, slog.String("userAgent", clip(agent)))
	}
	if req.caller.Credentialed() {
		attrs = append(attrs, slog.String(string(req.caller.Kind), req.caller.Name))
	}
	if req.message != "" {
		attrs = append(attrs, slog.String("message", req.message))
	}
	if req.trace != "" {
		attrs = append(attrs, slog.String("trace", req.trace))
	}
	if req.code != "" {
		attrs = append(attrs, slog.String("code", string(req.code)))
	}
	if req.err != nil {
		attrs = append(attrs, slog.Any("err", req.err))
	}
	s.log.LogAttrs(context.WithoutCancel(g.Request.Context()), level, "request", attrs...)
}

// fail answers with an error from where huma has no part in it.
func (s *Server) fail(g *gin.Context, err error) {
	ctx := g.Request.Context()
	req := requestOf(ctx)
	f := req.failure(ctx, err)
	req.body.spare()
	for k, v := range f.GetHeaders() {
		g.Writer.Header()[k] = v
	}
	s.writeJSON(g, f.status, f)
	g.Abort()
}

// writeJSON answers with v.
func (s *Server) writeJSON(g *gin.Context, status int, v any) {
	g.Writer.Header().Set("Content-Type", "application/json")
	g.Status(status)
	if err := encode(g.Writer, v); err != nil {
		panic(err) // v is one of ours
	}
}

// requestID is the client's own id if it is sane, else a new one.
func requestID(given string) string {
	strange := func(r rune) bool { return r <= ' ' || r > '~' }
	if given == "" || len(given) > 128 || strings.ContainsFunc(given, strange) {
		return iris.NewID("req_")
	}
	return given
}

// cause is why something failed: if the request's context is over, the reason of that.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil && iris.CodeOf(err) == iris.CodeInternal {
		return context.Cause(ctx)
	}
	return err
}

// left reports whether the cause is that the client has gone away.
func left(ctx context.Context, cause error) bool {
	return ctx.Err() != nil && errors.Is(cause, context.Canceled)
}

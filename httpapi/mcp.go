package httpapi

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	iris "github.com/iris-mcp/iris-mcp"
)

// MCP is the front for MCP clients, which this one serves at /mcp: it answers a POST whose body
// is read. When r's context ends, its cause says why.
type MCP interface {
	Serve(w http.ResponseWriter, r *http.Request, body []byte, who iris.Caller)
}

// mcpRoute is what the document says of /mcp: the protocol says the rest.
func mcpRoute() *route {
	op := post("/mcp", "mcp", "Server", "The tools for MCP clients, over streamable HTTP", http.StatusOK)
	message := &huma.MediaType{
		Schema:  &huma.Schema{Type: huma.TypeObject, Description: "A JSON-RPC message, as the Model Context Protocol says"},
		Example: map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": map[string]any{"name": "list_teams", "arguments": map[string]any{}}},
	}
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": message}}
	op.Responses["200"] = &huma.Response{
		Content: map[string]*huma.MediaType{
			"application/json": {
				Schema:  &huma.Schema{Type: huma.TypeObject},
				Example: map[string]any{"jsonrpc": "2.0", "id": 1, "result": map[string]any{"content": []any{map[string]any{"type": "text", "text": "backend: The API"}}}},
			},
			"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}},
		},
	}
	op.Responses["202"] = &huma.Response{Description: "Taken; there is no answer to it"}
	return &route{
		op:     op,
		about:  "Revisions 2024-11-05 to 2026-07-28. Any key may call it; each tool needs the scopes of the operation that does the same. docs/mcp.md says more.",
		gives:  "The answer; as a stream of events when there is progress to tell before it",
		also:   []int{http.StatusNotFound},
		scopes: []iris.Scope{}, // the tools have theirs
		local:  true,
		register: func(s *Server, r *route) {
			for _, status := range []string{"400", "404"} { // of the protocol, or of what stands before it
				r.op.Responses[status] = &huma.Response{Description: "The message is none, or its session is unknown", Content: map[string]*huma.MediaType{
					"application/json": {Schema: &huma.Schema{AnyOf: []*huma.Schema{{Ref: "#/components/schemas/Error"}, mcpError()}}, Example: map[string]any{
						"jsonrpc": "2.0", "id": nil, "error": map[string]any{"code": -32600, "message": "a request has a method, as text"},
					}},
				}}
			}
			s.api.OpenAPI().AddOperation(&r.op)
			s.engine.POST(r.op.Path, func(g *gin.Context) {
				if err := s.serveMCP(g, r); err != nil {
					s.fail(g, err)
				}
			})
		},
	}
}

// mcpError is an error of JSON-RPC.
func mcpError() *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Required: []string{"jsonrpc", "error"}, Properties: map[string]*huma.Schema{
		"jsonrpc": {Type: huma.TypeString},
		"id":      {},
		"error": {Type: huma.TypeObject, Required: []string{"code", "message"}, Properties: map[string]*huma.Schema{
			"code": {Type: huma.TypeInteger}, "message": {Type: huma.TypeString},
		}},
	}}
}

// serveMCP lets a request through to the front for MCP clients.
func (s *Server) serveMCP(g *gin.Context, r *route) error {
	ctx := g.Request.Context()
	req := requestOf(ctx)
	req.route = r
	if err := s.foreign(g.Request); err != nil {
		return err
	}
	if err := s.admit(ctx, req, g.Request, g.Writer.Header()); err != nil {
		return err
	}
	if s.cfg.MCP == nil {
		return iris.Errorf(iris.CodeNotFound, "this server has no MCP")
	}
	if err := uncoded(g.Request.Header); err != nil {
		return err
	}
	body, err := io.ReadAll(g.Request.Body)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer s.watchKey(ctx, req, end)()
	s.cfg.MCP.Serve(&punctual{g.Writer, s.cfg.WriteTimeout}, g.Request.WithContext(ctx), body, req.caller)
	return nil
}

// watchKey ends the context when the key is revoked, until stop, which waits for its end.
func (s *Server) watchKey(ctx context.Context, req *request, end context.CancelCauseFunc) (stop func()) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(recheck)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if _, err := s.auth.Caller(ctx, req.credential); iris.CodeOf(err) == iris.CodeUnauthorized {
				end(err)
				return
			}
		}
	}()
	return func() { end(nil); <-over }
}

// punctual bounds each write: a client that takes nothing is hung up on. Between two there is no
// bound: over HTTP/2 one that passes resets the stream even while nothing is written.
type punctual struct {
	gin.ResponseWriter
	patience time.Duration
}

func (w *punctual) Write(p []byte) (int, error) {
	w.deadline(time.Now().Add(w.patience))
	return w.ResponseWriter.Write(p)
}

func (w *punctual) Flush() {
	w.deadline(time.Now().Add(w.patience))
	w.ResponseWriter.Flush()
	w.deadline(time.Time{})
}

// deadline fails in tests without a connection only.
func (w *punctual) deadline(t time.Time) {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(t)
}

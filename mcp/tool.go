package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	iris "github.com/iris-mcp/iris-mcp"
)

// tool describes a tool to the models that use it.
type tool struct {
	name        string
	title       string
	description string // when to use it, what comes back, what to do on an error
	scopes      []iris.Scope

	readOnly    bool // changes nothing
	destructive bool // may undo or overwrite something
	idempotent  bool // a repetition changes nothing more
	openWorld   bool // reaches beyond Iris itself
	always      bool // Claude Code shows it to its model without a search for tools
}

// call is one call of a tool, with its arguments checked.
type call[A any] struct {
	Args     A
	Who      iris.Caller
	Progress *progress // nil if the client did not ask for it
}

// answer is what a tool answers with: the structured content, and the same as text for
// clients that show their model only that.
type answer interface{ text() string }

// add registers a tool. Its schemas are made from A and R, whose tags are their descriptions.
func add[A any, R answer](s *Server, t tool, handle func(context.Context, call[A]) (R, error)) {
	in, out := inputSchema[A](), outputSchema[R]()
	def := mcpgo.Tool{
		Name:            t.name,
		Title:           t.title,
		Description:     t.description,
		RawInputSchema:  must(json.Marshal(in)),
		RawOutputSchema: must(json.Marshal(out)),
		Annotations: mcpgo.ToolAnnotation{
			Title:           t.title,
			ReadOnlyHint:    &t.readOnly,
			DestructiveHint: &t.destructive,
			IdempotentHint:  &t.idempotent,
			OpenWorldHint:   &t.openWorld,
		},
	}
	if t.always {
		def.Meta = &mcpgo.Meta{AdditionalFields: map[string]any{"anthropic/alwaysLoad": true}}
	}
	s.scopes[t.name] = t.scopes
	s.mcp.AddTool(def, func(ctx context.Context, r mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		c := call[A]{Who: callerFrom(ctx)}
		if missing := lacking(c.Who, t.scopes); len(missing) > 0 {
			return s.failure(iris.Errorf(iris.CodeForbidden, "the key %q lacks the scope %s", c.Who.Name, missing[0]).
				With("required", t.scopes).With("provided", c.Who.Scopes)), nil
		}
		if err := decode(t.name, in, r.Params.Arguments, &c.Args); err != nil {
			return s.failure(err), nil
		}
		if meta := r.Params.Meta; meta != nil && meta.ProgressToken != nil {
			c.Progress = newProgress(func(params map[string]any) {
				// An error means that the client does not read fast enough, and the next one follows.
				_ = s.mcp.SendNotificationToClient(ctx, "notifications/progress", params)
			}, meta.ProgressToken)
			telling, stop := context.WithCancel(ctx)
			var teller sync.WaitGroup
			teller.Go(func() { c.Progress.run(telling) })
			defer func() { stop(); teller.Wait() }() // no progress comes after the answer
		}
		result, err := handle(ctx, c)
		if err != nil {
			return s.failure(err), nil
		}
		failed, _ := any(result).(interface{ failed() bool })
		return &mcpgo.CallToolResult{
			Content:           []mcpgo.Content{mcpgo.NewTextContent(result.text())},
			StructuredContent: result,
			IsError:           failed != nil && failed.failed(),
		}, nil
	})
}

// lacking are those of the scopes that the caller does not have.
func lacking(who iris.Caller, scopes []iris.Scope) []iris.Scope {
	return slices.DeleteFunc(slices.Clone(scopes), who.May)
}

// allowed leaves in a list the tools that the client may call.
func (s *Server) allowed(ctx context.Context, _ any, _ *mcpgo.ListToolsRequest, list *mcpgo.ListToolsResult) {
	who := callerFrom(ctx)
	list.Tools = slices.DeleteFunc(slices.Clone(list.Tools), func(t mcpgo.Tool) bool { return len(lacking(who, s.scopes[t.Name])) > 0 })
}

// problem is a failure as a model reads it.
type problem struct {
	Code      iris.Code      `json:"code" jsonschema:"what kind of failure, e.g. TEAM_NOT_FOUND, TIMEOUT, PROCESS_ERROR"`
	Message   string         `json:"message" jsonschema:"what went wrong"`
	Hint      string         `json:"hint,omitempty" jsonschema:"what to do next"`
	MessageID string         `json:"messageId,omitempty" jsonschema:"the message it is about"`
	Retry     bool           `json:"retry,omitempty" jsonschema:"the same may go well another time"`
	Details   map[string]any `json:"details,omitempty" jsonschema:"for programs"`
}

// problemOf says what a caller may know of an error. Private details stay out.
func problemOf(err error) *problem {
	e := iris.AsError(err)
	p := &problem{Code: e.Code, Message: e.Message, Hint: e.Code.Hint(), Retry: e.Retry}
	for k, v := range e.Details {
		if id, ok := v.(string); ok && k == "messageId" {
			p.MessageID = id
			continue
		}
		if p.Details == nil {
			p.Details = map[string]any{}
		}
		p.Details[k] = v
	}
	return p
}

func (p *problem) text() string {
	text := string(p.Code) + ": " + p.Message
	if p.MessageID != "" {
		text += " (message " + p.MessageID + ")"
	}
	if p.Hint != "" {
		text += "\n" + p.Hint
	}
	return text
}

// about adds to an error which message it is about.
func about(messageID string, err error) error { return iris.AsError(err).About(messageID) }

// failure is an error as the result of a tool. It is structured too: clients check that
// against the tool's output schema even when it is an error, so every such schema allows it.
func (s *Server) failure(err error) *mcpgo.CallToolResult {
	if iris.CodeOf(err) == iris.CodeInternal {
		s.log.Error("an MCP tool failed", "err", err)
	}
	p := problemOf(err)
	return &mcpgo.CallToolResult{
		Content:           []mcpgo.Content{mcpgo.NewTextContent(p.text())},
		StructuredContent: map[string]any{"error": p},
		IsError:           true,
	}
}

// internal is all that a client hears of a fault of ours.
var internal = iris.AsError(fmt.Errorf("a panic"))

// guard logs each call and turns a panic into INTERNAL_ERROR; mcp-go's own recovery would
// show the client the panic's text.
func (s *Server) guard(next server.ToolHandlerFunc) server.ToolHandlerFunc {
	return func(ctx context.Context, r mcpgo.CallToolRequest) (result *mcpgo.CallToolResult, err error) {
		began := time.Now()
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("an MCP tool panicked", "tool", r.Params.Name, "panic", p, "stack", string(debug.Stack()))
				result, err = s.failure(internal), nil
			}
			s.log.Info("MCP tool", "tool", r.Params.Name, "from", callerFrom(ctx).From(), "failed", result.IsError, "took", time.Since(began))
		}()
		return next(ctx, r)
	}
}

// survive is guard for a goroutine of a tool's own: a panic there would end the program.
func (s *Server) survive() {
	if p := recover(); p != nil {
		s.log.Error("an MCP tool panicked", "panic", p, "stack", string(debug.Stack()))
	}
}

// inputSchema describes A: its required texts are not empty, its whole numbers are
// milliseconds up to a day, and its other bounds are in schemas.
func inputSchema[A any]() *jsonschema.Schema {
	schema := must(jsonschema.For[A](&jsonschema.ForOptions{TypeSchemas: schemas}))
	for name, p := range schema.Properties {
		switch {
		case p.Type == "integer":
			p.Minimum, p.Maximum = new(1.0), new(float64(maxTimeout.Milliseconds()))
		case p.Type == "string" && slices.Contains(schema.Required, name):
			p.MinLength = new(1)
		}
	}
	return schema
}

// outputSchema describes R, or instead of it the error of a result that is one.
func outputSchema[R any]() *jsonschema.Schema {
	schema := must(jsonschema.For[R](&jsonschema.ForOptions{TypeSchemas: schemas}))
	schema.AnyOf = []*jsonschema.Schema{{Required: schema.Required}, {Required: []string{"error"}}}
	schema.Required = nil
	if schema.Properties["error"] == nil {
		schema.Properties["error"] = must(jsonschema.For[problem](nil))
		schema.Properties["error"].Description = "only in a result that is an error: what went wrong"
		schema.PropertyOrder = append(schema.PropertyOrder, "error")
	}
	plain(schema)
	return schema
}

// plain says of lists and objects that they are never null: Iris makes sure of that, and some
// clients know no types but single ones.
func plain(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
	for _, p := range s.Properties {
		plain(p)
	}
	plain(s.Items)
}

// schemas are those that do not follow from a type alone.
var schemas = map[reflect.Type]*jsonschema.Schema{
	reflect.TypeFor[teamNames](): {
		AnyOf: []*jsonschema.Schema{
			{Type: "array", Items: &jsonschema.Schema{Type: "string"}, MinItems: new(1)},
			{Type: "string", MinLength: new(1)},
		},
	},
	reflect.TypeFor[priority]():  {Type: "string", Enum: []any{"low", "normal", "high"}},
	reflect.TypeFor[iris.Code](): {Type: "string"},
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // a type of ours that has no schema: the first start shows it
	}
	return v
}

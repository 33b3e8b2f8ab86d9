package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	iris "github.com/iris-mcp/iris-mcp"
)

const base = "/api/v1"

// route is a row of the table: what is served where, for whom, and by what.
type route struct {
	op     huma.Operation
	scopes []iris.Scope // all of them are needed

	open bool // no key is needed
	// own routes are about one message, which its sender may use without the scopes. The
	// guard lets every key in, and the handler asks Server.message for the message.
	own bool

	register func(*Server, *route)
}

// does makes a row's handler out of a function; its types are the route's types. in and out
// are structs as huma reads them.
func does[I, O any](handle func(*Server, context.Context, *request, *I) (*O, error)) func(*Server, *route) {
	return func(s *Server, r *route) {
		huma.Register(s.api, r.op, func(ctx context.Context, in *I) (*O, error) {
			req := requestOf(ctx)
			out, err := handle(s, ctx, req, in)
			if err != nil {
				return nil, req.failure(ctx, err)
			}
			return out, nil
		})
	}
}

// routes is the table. A static path stands before one with a parameter in its place.
func routes() []*route {
	return []*route{
		{
			op:       get(base+"/messages/history", "history", "Messages", "The messages that were sent, newest first"),
			scopes:   []iris.Scope{iris.ScopeMessagesRead},
			register: does((*Server).history),
		},
		{
			op:       get(base+"/messages/{messageId}", "message", "Messages", "A message or job, at once or when it is finished"),
			scopes:   []iris.Scope{iris.ScopeMessagesRead},
			own:      true,
			register: does((*Server).getMessage),
		},
		{
			op:       streaming(get(base+"/messages/{messageId}/stream", "follow", "Streams", "Follow a message, or go on following it")),
			scopes:   []iris.Scope{iris.ScopeMessagesRead, iris.ScopeMessagesStream},
			own:      true,
			register: does((*Server).followMessage),
		},
		{
			op:       post(base+"/messages/{messageId}/cancel", "cancel", "Messages", "Cancel a message or job", http.StatusOK),
			scopes:   []iris.Scope{iris.ScopeMessagesWrite},
			own:      true,
			register: does((*Server).cancel),
		},
		{
			op:       get(base+"/teams", "teams", "Teams", "The teams"),
			scopes:   []iris.Scope{iris.ScopeTeamsRead},
			register: does((*Server).listTeams),
		},
		{
			op:       get(base+"/teams/{team}/status", "teamStatus", "Teams", "What a team is doing"),
			scopes:   []iris.Scope{iris.ScopeTeamsRead},
			register: does((*Server).teamStatus),
		},
		{
			op:       post(base+"/teams/{team}/ask", "ask", "Teams", "Ask a team and wait for its answer", http.StatusOK),
			scopes:   []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesWrite},
			register: does((*Server).ask),
		},
		{
			op:       post(base+"/teams/{team}/execute", "execute", "Teams", "Give a team a task and do not wait", http.StatusAccepted),
			scopes:   []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesWrite},
			register: does((*Server).execute),
		},
		{
			op:     streaming(post(base+"/teams/{team}/stream", "stream", "Streams", "Ask a team and watch it answer", http.StatusOK)),
			scopes: []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesStream},
			register: func(s *Server, r *route) {
				whole := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[answer](), true, "Answer")
				r.op.Responses["200"].Content["application/json"] = &huma.MediaType{Schema: whole}
				does((*Server).stream)(s, r)
			},
		},
		{
			op:       streaming(get(base+"/teams/{team}/stream", "streamByQuery", "Streams", "Ask a team and watch it answer, for clients that can only GET")),
			scopes:   []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesStream},
			register: does((*Server).streamByQuery),
		},
		{
			op: get("/openapi.json", "openapi", "Server", "This API as an OpenAPI document"),
			register: func(s *Server, r *route) {
				r.op.Responses["200"] = &huma.Response{Description: "The document", Content: map[string]*huma.MediaType{
					"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}},
				}}
				does((*Server).serveOpenAPI)(s, r)
			},
		},
		{
			op:       get("/healthz", "healthz", "Server", "Whether the server is alive"),
			open:     true,
			register: does((*Server).healthz),
		},
		{
			op:       get("/readyz", "readyz", "Server", "Whether the server can take messages"),
			open:     true,
			register: does((*Server).readyz),
		},
	}
}

func get(path, id, tag, summary string) huma.Operation {
	return huma.Operation{
		Method: http.MethodGet, Path: path, OperationID: id, Tags: []string{tag}, Summary: summary,
		DefaultStatus: http.StatusOK, Responses: map[string]*huma.Response{},
	}
}

func post(path, id, tag, summary string, status int) huma.Operation {
	op := get(path, id, tag, summary)
	op.Method, op.DefaultStatus = http.MethodPost, status
	// The body's size and time are bounded by body.go: huma refuses a body of exactly its
	// limit, and its deadline outlives a request without a body and ends the context.
	op.MaxBodyBytes, op.BodyReadTimeout = -1, -1
	return op
}

// streaming documents the answers of an operation that answers with events.
func streaming(op huma.Operation) huma.Operation {
	text := &huma.Schema{Type: huma.TypeString}
	op.Responses["200"] = &huma.Response{
		Description: "The events of the message, each with the id messageId:number",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: text}},
	}
	op.Responses["204"] = &huma.Response{Description: "The message was read to its end before"}
	return op
}

// register builds everything from the table.
func (s *Server) register() {
	for _, r := range routes() {
		r.op.Metadata = map[string]any{routeKey: r}
		errs := []int{http.StatusBadRequest, http.StatusNotFound}
		if !r.open {
			errs = append(errs, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests)
			r.op.Security = []map[string][]string{{"bearer": {}}, {"apiKey": {}}}
			r.op.Extensions = map[string]any{"x-scopes": r.scopes}
		}
		if r.op.Method == http.MethodPost {
			errs = append(errs, http.StatusRequestTimeout, http.StatusConflict, http.StatusRequestEntityTooLarge,
				http.StatusUnsupportedMediaType)
		}
		errs = append(errs, http.StatusServiceUnavailable)
		slices.Sort(errs)
		r.op.Errors = errs
		r.register(s, r)
		delete(r.op.Responses, strconv.Itoa(http.StatusUnprocessableEntity)) // huma's; here it is 400
	}
	doc, err := json.Marshal(s.api.OpenAPI())
	if err != nil {
		panic(err) // made of constants
	}
	s.openapi = append(doc, '\n')
}

type openapiOut struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (s *Server) serveOpenAPI(context.Context, *request, *struct{}) (*openapiOut, error) {
	return &openapiOut{"application/json", s.openapi}, nil
}

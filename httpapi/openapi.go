package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	iris "github.com/iris-mcp/iris-mcp"
)

// apiVersion is the contract's, not the program's: docs/openapi.json is the same for every
// build of one state of the code.
const apiVersion = "1.0.0"

const introduction = `Ask a team of Claude Code, a project folder with its agent, from anything that speaks HTTP.

Times are Unix milliseconds, durations milliseconds. Ids are opaque; a task has a message id and a job id, and either may be used wherever an id is wanted. ` +
	`Request bodies are JSON whatever their Content-Type says; unknown fields and unknown query parameters are refused. ` +
	`Every answer has an X-Request-Id: yours, if you sent one of at most 128 visible ASCII characters, else a new one.

A key needs all scopes that an operation names (x-scopes). Where x-own is true it may do without them for the messages that it sent itself.`

// humaConfig is how huma reads and writes, JSON only and no pages of its own, and what is said
// of the API as a whole.
func (s *Server) humaConfig() huma.Config {
	cfg := huma.DefaultConfig("Iris", apiVersion)
	cfg.CreateHooks = nil // it would put $schema into every answer
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", ""
	cfg.RejectUnknownQueryParameters = true
	cfg.Formats = map[string]huma.Format{"application/json": {Marshal: encode, Unmarshal: decode}}

	cfg.Info.Description = introduction
	cfg.Info.License = &huma.License{Name: "MIT", Identifier: "MIT"}
	cfg.Servers = []*huma.Server{
		{URL: "/", Description: "The server that this document came from"},
		{URL: "http://127.0.0.1:3100", Description: "Where Iris listens unless it is told otherwise"},
	}
	cfg.Tags = []*huma.Tag{
		{Name: "Teams", Description: "Whom one can ask"},
		{Name: "Messages", Description: "What was said to a team, and what became of it"},
		{Name: "Permissions", Description: "What agents want leave for, and who gives it"},
		{Name: "API keys", Description: "Who may call, how often, and for what"},
		{Name: "Processes", Description: "The Claude Code processes that do it"},
		{Name: "Streams", Description: "Answers while they are made, as server-sent events"},
		{Name: "Server", Description: "The server itself"},
	}
	schemas := huma.NewMapRegistry("#/components/schemas/", schemaName)
	schemas.RegisterTypeAlias(reflect.TypeFor[iris.Code](), reflect.TypeFor[codeSchema]())
	cfg.Components = &huma.Components{
		Schemas: schemas,
		Headers: headers(),
		SecuritySchemes: map[string]*huma.SecurityScheme{
			"bearer": {Type: "http", Scheme: "bearer", Description: "An API key, iris_sk_…; where api.auth.type is jwt, also a token of the configured issuer"},
			"apiKey": {Type: "apiKey", In: "header", Name: "X-Api-Key", Description: "The same key"},
			"basic":  {Type: "http", Scheme: "basic", Description: "The key's name and the key, where api.auth.type is basic"},
		},
	}
	cfg.Components.Responses = failures(schemas)
	cfg.Extensions = map[string]any{"x-events": documentedEvents(schemas)}
	schemas.Map()["StreamEvent"] = streamEvent(schemas)
	return cfg
}

// schemaName is a type's name in the document: what it is, without how it is used here.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	if name == "Failure" {
		return "Error"
	}
	for _, use := range []string{"OutBody", "View"} {
		if short, ok := strings.CutSuffix(name, use); ok && short != "" {
			return short
		}
	}
	if event, ok := strings.CutSuffix(name, "Data"); ok && event != "" {
		return event + "Event"
	}
	return name
}

// codeSchema documents iris.Code.
type codeSchema string

// Schema lists the codes.
func (codeSchema) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, c := range iris.Codes() {
		s.Enum = append(s.Enum, string(c))
	}
	return s
}

// register builds everything from the table.
func (s *Server) register() {
	s.table = routes()
	for _, r := range s.table {
		r.op.Metadata = map[string]any{routeKey: r}
		r.op.Extensions = map[string]any{}
		r.op.Description = r.about
		if answer := r.op.Responses[strconv.Itoa(r.op.DefaultStatus)]; answer == nil {
			r.op.Responses[strconv.Itoa(r.op.DefaultStatus)] = &huma.Response{Description: r.gives}
		} else if answer.Description == "" {
			answer.Description = r.gives
		}
		if !r.open {
			r.op.Security = []map[string][]string{{"bearer": {}}, {"apiKey": {}}, {"basic": {}}}
			if r.near {
				r.op.Security = append(r.op.Security, map[string][]string{})
			}
			r.op.Extensions["x-scopes"] = r.scopes
		}
		if r.own {
			r.op.Extensions["x-own"] = true
		}
		for _, status := range r.refusals() {
			r.op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + refusals[status].name}
		}
		r.register(s, r)
		for _, answer := range r.op.Responses {
			r.document(answer)
		}
	}
	for _, path := range s.api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post, path.Put, path.Patch, path.Delete} {
			if op != nil && op.RequestBody != nil {
				s.exemplify(op.RequestBody.Content)
			}
			if op != nil {
				for _, answer := range op.Responses {
					s.exemplify(answer.Content)
				}
			}
		}
	}
	document.Do(func() { document.text = s.makeOpenAPI() })
	s.openapi = document.text
	s.docs = sync.OnceValue(s.makeDocs)
}

// document is the OpenAPI document, which is the same for every server: a process writes it
// once, however many servers its tests make.
var document struct {
	sync.Once
	text []byte
}

func (s *Server) makeOpenAPI() []byte {
	defer s.nullable()()
	doc, err := json.Marshal(s.api.OpenAPI())
	if err != nil {
		panic(err) // made of constants
	}
	var lines bytes.Buffer
	_ = json.Indent(&lines, doc, "", "  ") // doc is JSON
	return append(lines.Bytes(), '\n')
}

// refusals are the statuses of the errors that the route may answer with.
func (r *route) refusals() []int {
	all := append([]int{http.StatusBadRequest, http.StatusInternalServerError}, r.also...)
	if strings.Contains(r.op.Path, "{") {
		all = append(all, http.StatusNotFound)
	}
	if !r.open {
		all = append(all, http.StatusUnauthorized, http.StatusForbidden,
			http.StatusTooManyRequests, http.StatusServiceUnavailable)
	}
	if r.open && r.local {
		all = append(all, http.StatusForbidden)
	}
	if r.repeatable() {
		all = append(all, http.StatusConflict)
	}
	if r.op.Method != http.MethodGet {
		all = append(all, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	return all
}

// document says which headers an answer that is no error has.
func (r *route) document(answer *huma.Response) {
	if answer.Ref != "" {
		return
	}
	if answer.Headers == nil {
		answer.Headers = map[string]*huma.Param{}
	}
	for name := range headers() {
		if name == "X-Request-Id" || !r.open && strings.HasPrefix(name, "X-RateLimit-") {
			answer.Headers[name] = &huma.Param{Ref: "#/components/headers/" + name}
		}
	}
	if r.repeatable() {
		answer.Headers[idempotentReplayed] = &huma.Param{Ref: "#/components/headers/" + idempotentReplayed}
	}
}

// headers are those that more than one operation answers with.
func headers() map[string]*huma.Header {
	text := func(doc, example string) *huma.Header {
		return &huma.Header{Description: doc, Schema: &huma.Schema{Type: huma.TypeString, Examples: []any{example}}}
	}
	number := func(doc string, example int) *huma.Header {
		return &huma.Header{Description: doc, Schema: &huma.Schema{Type: huma.TypeInteger, Examples: []any{example}}}
	}
	return map[string]*huma.Header{
		"X-Request-Id":          text("The request's own X-Request-Id if it was sane, else a new one; it is in the log", "req_01KAH3M4QZ8W2V5N6P7R9S0T1X"),
		"X-RateLimit-Limit":     number("How many requests the key may send in any window. Missing, as the next two, if it has no limit", 100),
		"X-RateLimit-Remaining": number("How many it may send now", 95),
		"X-RateLimit-Reset":     number("When it may send more again, Unix seconds", 1704067200),
		idempotentReplayed:      text("true if the request came before under its Idempotency-Key, and this is the answer of then; else missing", "true"),
		"WWW-Authenticate":      text("How to authenticate", `Bearer realm="iris"`),
		"Upgrade":               text("What to speak instead", "websocket"),
		"Retry-After":           number("Seconds after which to try again", 5),
	}
}

// refusals are the answers that are errors, by status.
var refusals = map[int]struct {
	name, doc string
	headers   []string
	examples  []failure
}{
	http.StatusBadRequest: {"BadRequest", "The request is malformed: details lists what is wrong with it", nil, []failure{
		{Code: iris.CodeInvalidRequest, Message: "question is missing; priority must be one of: low, normal, high", Details: []problem{
			{"priority", "must be one of: low, normal, high"}, {"question", "is missing"},
		}},
	}},
	http.StatusUnauthorized: {"Unauthorized", "There is no credential, or it is not, or no longer, good", []string{"WWW-Authenticate"}, []failure{
		{Code: iris.CodeUnauthorized, Message: "Missing or invalid Authorization header: send an API key as `Authorization: Bearer iris_sk_…` or as `X-Api-Key`"},
	}},
	http.StatusForbidden: {"Forbidden", "The key lacks a scope, or is bound to other teams; or the page of a foreign origin asks", nil, []failure{
		{
			Code: iris.CodeForbidden, Message: "this key lacks the scope messages:write; use another one, or ask its maker for the scope",
			Required: []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesWrite}, Provided: []iris.Scope{iris.ScopeTeamsRead},
		},
	}},
	http.StatusNotFound: {"NotFound", "There is no such team, message, session or path", nil, []failure{
		{Code: iris.CodeTeamNotFound, Message: `team "backnd" does not exist; did you mean "backend"?`},
		{Code: iris.CodeMessageNotFound, Message: `there is no message "msg_1": use the messageId or jobId of an answer of this Iris`},
		{Code: iris.CodeNotFound, Message: `you have no session "ses_1" with team "backend": use the sessionId of an earlier answer of that team, or leave it out`},
	}},
	http.StatusRequestTimeout: {"Timeout", "The time is over and there is no answer yet; details has the messageId to fetch it with later", nil, []failure{
		{
			Code: iris.CodeTimeout, Message: "backend has not answered within 30s and works on; GET /api/v1/messages/msg_01KAH3M4R0E7C8B9A2D3F4G5H6 gives the answer later",
			Details: map[string]any{"messageId": "msg_01KAH3M4R0E7C8B9A2D3F4G5H6"},
		},
	}},
	http.StatusConflict: {"Conflict", "Somebody else cancelled the message, what is to be made is there already, or the Idempotency-Key came before with another body", nil, []failure{
		{
			Code: iris.CodeCancelled, Message: "the message was cancelled",
			Details: map[string]any{"messageId": "msg_01KAH3M4R0E7C8B9A2D3F4G5H6"},
		},
	}},
	http.StatusRequestEntityTooLarge: {"PayloadTooLarge", "The request's body is larger than api.maxBodyBytes", nil, []failure{
		{Code: iris.CodePayloadTooLarge, Message: "the request's body is larger than 1048576 bytes (api.maxBodyBytes)", Details: map[string]any{"limit": 1048576}},
	}},
	http.StatusUnsupportedMediaType: {"UnsupportedMediaType", "The request's body is a multipart form, or compressed", nil, []failure{
		{Code: iris.CodeUnsupportedMedia, Message: "send the request's body as JSON, not as a multipart form"},
	}},
	http.StatusUpgradeRequired: {"UpgradeRequired", "The request is no WebSocket handshake", []string{"Upgrade"}, []failure{
		{Code: iris.CodeInvalidRequest, Message: "this path speaks WebSocket: connect with a WebSocket client, over HTTP/1.1"},
	}},
	http.StatusTooManyRequests: {"RateLimited", "The key's limit is used up", []string{"Retry-After"}, []failure{
		{
			Code: iris.CodeRateLimited, Message: "this key has used up its limit of 100/1m; send this again in 12s",
			Limit: 100, Window: 60000, ResetAt: 1704067212000,
		},
	}},
	http.StatusInternalServerError: {"ServerError", "Claude Code could not start, died, or answered with an error (PROCESS_ERROR); or Iris failed (INTERNAL_ERROR)", nil, []failure{
		{
			Code: iris.CodeProcess, Message: "the Claude Code process of team backend died in the middle of its answer (exit status 3): ask again",
			Details: map[string]any{"messageId": "msg_01KAH3M4R0E7C8B9A2D3F4G5H6", "exitCode": 3, "hint": "ask again"},
		},
		{Code: iris.CodeInternal, Message: "something went wrong inside Iris; the log says what"},
	}},
	http.StatusServiceUnavailable: {"Unavailable", "Iris cannot take this now", []string{"Retry-After"}, []failure{
		{Code: iris.CodeShuttingDown, Message: errShutdown.Message},
	}},
}

// failures are the refusals as the document has them.
func failures(schemas huma.Registry) map[string]*huma.Response {
	schema := schemas.Schema(reflect.TypeFor[failure](), true, "Error")
	all := map[string]*huma.Response{}
	for status, r := range refusals {
		answer := &huma.Response{
			Description: r.doc,
			Headers:     map[string]*huma.Param{},
			Content:     map[string]*huma.MediaType{"application/json": {Schema: schema, Examples: map[string]*huma.Example{}}},
		}
		(&route{open: status == http.StatusUnauthorized}).document(answer)
		for _, name := range r.headers {
			answer.Headers[name] = &huma.Param{Ref: "#/components/headers/" + name}
		}
		for _, f := range r.examples {
			f.Name, f.Timestamp, f.RequestID = f.Code.Name(), 1704067200000, "req_01KAH3M4QZ8W2V5N6P7R9S0T1X"
			answer.Content["application/json"].Examples[string(f.Code)] = &huma.Example{Value: f}
		}
		all[r.name] = answer
	}
	return all
}

type openapiOut struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (s *Server) serveOpenAPI(context.Context, *request, *struct{}) (*openapiOut, error) {
	return &openapiOut{"application/json", s.openapi}, nil
}

package httpapi

import (
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	iris "github.com/iris-mcp/iris-mcp"
)

const base = "/api/v1"

// route is a row of the table: what is served where, for whom, and by what.
type route struct {
	op     huma.Operation
	about  string       // a paragraph for the document, or empty
	gives  string       // what an answer that is no error is
	scopes []iris.Scope // all of them are needed

	open  bool  // no key is needed
	near  bool  // nor for a program of this machine (near)
	asks  bool  // it is a GET, and asks a team
	also  []int // statuses of errors that only some routes answer with
	local bool  // on a loopback bind, only for this machine's own names and pages (Server.foreign)
	// socket routes are for browsers too, which send their key as a subprotocol (protocolKey).
	socket bool
	// own routes are about one message, which its sender may use without the scopes. The
	// guard lets every key in, and the handler asks Server.message for the message.
	own bool

	// What becomes of a request that comes again under its Idempotency-Key (once). follows routes
	// find the message that it led to, and answer as that goes. For others a short answer is
	// kept, unless it is secret; where none is, again routes do once more what they did.
	follows, again, secret bool

	register func(*Server, *route)
}

// does makes a row's handler out of a function; its types are the route's types. in and out
// are structs as huma reads them.
func does[I, O any](handle func(*Server, context.Context, *request, *I) (*O, error)) func(*Server, *route) {
	return func(s *Server, r *route) {
		if r.repeatable() {
			r.op.Parameters = append(r.op.Parameters, keyParameter)
		}
		answer := func(ctx context.Context, in *I) (*O, error) {
			req := requestOf(ctx)
			out, err := once(s, ctx, req, func() (*O, error) { return handle(s, ctx, req, in) })
			if err != nil {
				return nil, req.failure(ctx, err)
			}
			return out, nil
		}
		huma.Register(s.api, r.op, answer)
		if r.open && r.op.Method == http.MethodGet { // what watches a server likes to ask so
			head := r.op
			head.Method, head.Hidden = http.MethodHead, true
			huma.Register(s.api, head, answer)
		}
	}
}

// routes is the table. A static path stands before one with a parameter in its place.
func routes() []*route {
	waits := []int{http.StatusRequestTimeout, http.StatusConflict} // for an answer
	return []*route{
		{
			op:       get(base+"/messages/history", "history", "Messages", "The messages that were sent, newest first"),
			about:    "Filters may be combined. timestamp, since, until and the order go by when a message was accepted, so pages stay stable while new messages come in.",
			gives:    "A page of the history",
			scopes:   []iris.Scope{iris.ScopeMessagesRead},
			register: does((*Server).history),
		},
		{
			op:       get(base+"/messages/{messageId}", "message", "Messages", "A message or job, at once or when it is finished"),
			about:    "status is queued, processing, completed, failed or cancelled; the last three are final. jobId and result are there for tasks, response and metadata when it is completed, error and code when it failed or was cancelled.",
			gives:    "The message as it is now",
			scopes:   []iris.Scope{iris.ScopeMessagesRead},
			own:      true,
			register: does((*Server).getMessage),
		},
		{
			op:       streaming(get(base+"/messages/{messageId}/stream", "follow", "Streams", "Follow a message, or go on following it")),
			about:    "The events of any message from the beginning, or behind the number after, or behind Last-Event-ID; then live, to the last. Nothing is missed or repeated, also across a restart of the server. Any number of clients may follow one message.",
			scopes:   []iris.Scope{iris.ScopeMessagesRead, iris.ScopeMessagesStream},
			own:      true,
			register: does((*Server).followMessage),
		},
		{
			op:       post(base+"/messages/{messageId}/cancel", "cancel", "Messages", "Cancel a message or job", http.StatusOK),
			about:    "A queued message is cancelled at once, a running one is interrupted; the process lives on. Cancelling a finished one changes nothing. A key that may cancel the message and not read it gets it without its texts.",
			gives:    "The message, when it is over",
			again:    true,
			scopes:   []iris.Scope{iris.ScopeMessagesWrite},
			own:      true,
			register: does((*Server).cancel),
		},
		{
			op:       post(base+"/messages/{messageId}/resend", "resend", "Messages", "Call the callback of a task again", http.StatusOK),
			about:    "Of a task that has ended: its callback is called now, with the same body and webhook-id, whatever became of it before.",
			gives:    "The message; its deliveries show what becomes of the call",
			also:     []int{http.StatusConflict},
			scopes:   []iris.Scope{iris.ScopeMessagesWrite},
			own:      true,
			register: does((*Server).resend),
		},
		{
			op:       get(base+"/teams", "teams", "Teams", "The teams"),
			about:    "A key that is bound to teams sees only those.",
			gives:    "Every team, by name",
			scopes:   []iris.Scope{iris.ScopeTeamsRead},
			register: does((*Server).listTeams),
		},
		{
			op:       post(base+"/teams", "createTeam", "Teams", "Make a project folder a team", http.StatusCreated),
			about:    "It is written into the configuration file, whose every other byte stays, and can be asked at once. What widens what a team may do, or names a program, needs admin:* too. A path must be whole, of a folder that is there, and may neither be, hold nor lie in the data folder of Iris, nor hold its configuration. ${…} in a value is these characters. A key that is bound to teams makes none.",
			gives:    "The team is there",
			also:     []int{http.StatusConflict},
			scopes:   []iris.Scope{iris.ScopeTeamsWrite},
			register: does((*Server).createTeam),
		},
		{
			op:       get(base+"/teams/{team}", "team", "Teams", "A team as it is configured"),
			about:    "Defaults are filled in. The folder, the program, the prompt and the names of variables are for admin scopes only.",
			gives:    "The team's configuration",
			scopes:   []iris.Scope{iris.ScopeTeamsRead},
			register: does((*Server).getTeam),
		},
		{
			op:       patch(base+"/teams/{team}", "changeTeam", "Teams", "Change a team"),
			about:    "What is given is changed, null takes a setting out, everything else stays: in the configuration file too, comments included. Processes take it up with their next turn. The rules are those of making a team.",
			gives:    "The team as it is now",
			also:     []int{http.StatusConflict},
			scopes:   []iris.Scope{iris.ScopeTeamsWrite},
			register: does((*Server).changeTeam),
		},
		{
			op:       remove(base+"/teams/{team}", "removeTeam", "Teams", "Take a team out of the configuration"),
			about:    "Its folder is not touched, and what was said to it stays in the history. What it works on may end; its messages that wait fail one by one with TEAM_NOT_FOUND; its processes end, busy ones after their turn.",
			gives:    "The team is gone",
			also:     []int{http.StatusConflict},
			scopes:   []iris.Scope{iris.ScopeTeamsDelete},
			register: does((*Server).removeTeam),
		},
		{
			op:       get(base+"/teams/{team}/status", "teamStatus", "Teams", "What a team is doing"),
			about:    "status is asleep (no process), starting, idle, busy or error (no process, and the last start or turn failed). The folder, path, is for admin scopes only.",
			gives:    "The team now",
			scopes:   []iris.Scope{iris.ScopeTeamsRead},
			register: does((*Server).teamStatus),
		},
		{
			op:       post(base+"/teams/{team}/ask", "ask", "Teams", "Ask a team and wait for its answer", http.StatusOK),
			about:    "When the timeout is over the answer is 408 and the team works on, unless cancelOnTimeout: fetch the answer later with the messageId in details. A client that goes away stops nothing either.",
			gives:    "The answer",
			also:     waits,
			follows:  true,
			scopes:   []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesWrite},
			register: does((*Server).ask),
		},
		{
			op:       post(base+"/teams/{team}/execute", "execute", "Teams", "Give a team a task and do not wait", http.StatusAccepted),
			about:    "What was answered 202 survives a crash of the server and runs afterwards. Wait for it with GET /api/v1/messages/{jobId}?wait=60000.",
			gives:    "The task is queued; or the same one was, and still waits or runs",
			again:    true,
			scopes:   []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesWrite},
			register: does((*Server).execute),
		},
		{
			op:      streaming(post(base+"/teams/{team}/stream", "stream", "Streams", "Ask a team and watch it answer", http.StatusOK)),
			about:   "The answer is a stream of events, each sent as it happens; x-events lists them. After a broken connection send the id of the last event that you saw in Last-Event-ID to the same path: the stream goes on behind it, and nothing is asked again. With stream false it waits and answers as ask does.",
			also:    waits,
			follows: true,
			scopes:  []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesStream},
			register: func(s *Server, r *route) {
				whole := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[answer](), true, "Answer")
				r.op.Responses["200"].Content["application/json"] = &huma.MediaType{Schema: whole}
				does((*Server).stream)(s, r)
			},
		},
		{
			op:       streaming(get(base+"/teams/{team}/stream", "streamByQuery", "Streams", "Ask a team and watch it answer, for clients that can only GET")),
			about:    "For an EventSource. The query is never logged. With basic authentication only for this server's own pages.",
			asks:     true,
			scopes:   []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesStream},
			register: does((*Server).streamByQuery),
		},
		{
			op: func() huma.Operation {
				op := get(base+"/stream", "socket", "Streams", "A WebSocket: ask teams, watch them answer, follow others' messages")
				op.DefaultStatus = http.StatusSwitchingProtocols
				return op
			}(),
			about:  "The handshake of a WebSocket. Each text frame is a JSON object; x-frames lists those of both sides. A browser, which can set no header, offers the subprotocols iris.v1 and iris.key.{key}; the server agrees on iris.v1. A page must be of the server's own origin or of api.cors.origins. messages:write is needed to send a message. The handshake and every text frame but ping count as a request.",
			gives:  "The connection is a WebSocket from here on",
			also:   []int{http.StatusUpgradeRequired},
			scopes: []iris.Scope{iris.ScopeMessagesStream},
			socket: true,
			register: func(s *Server, r *route) {
				s.registerFrames()
				r.op.Extensions["x-frames"] = s.documentedFrames()
				does((*Server).openSocket)(s, r)
			},
		},
		{
			op:       post(base+"/teams/{team}/wake", "wake", "Processes", "Have a process of a team ready", http.StatusOK),
			about:    "A message wakes a team by itself: this is for who wants the first answer at once. The process takes the next new conversation, and ends like others when it was idle for idleTimeout. At a full pool an idle process of another team makes room. When the timeout is over the answer is 408, and what starts goes on starting.",
			gives:    "A process is ready",
			also:     []int{http.StatusRequestTimeout},
			scopes:   []iris.Scope{iris.ScopeProcessesManage},
			register: does((*Server).wake),
		},
		{
			op:       post(base+"/teams/{team}/sleep", "sleep", "Processes", "End a team's processes until it is asked again", http.StatusOK),
			about:    "Idle processes end, spare ones too; busy ones end after their turn, or with force in its middle: what they were doing fails with PROCESS_ERROR and is not run again. They come back when somebody asks or wakes the team. What waits in the queue is not touched.",
			gives:    "What became of the processes",
			scopes:   []iris.Scope{iris.ScopeProcessesManage},
			register: does((*Server).sleep),
		},
		{
			op:       post(base+"/teams/{team}/restart", "restart", "Processes", "End a team's processes and start anew", http.StatusOK),
			about:    "Sleep, then wake: what is asked from then on goes to new processes; conversations go on.",
			gives:    "What became of the processes; a new one is ready",
			also:     []int{http.StatusRequestTimeout},
			scopes:   []iris.Scope{iris.ScopeProcessesManage},
			register: does((*Server).restart),
		},
		{
			op:       get(base+"/processes", "processes", "Processes", "The processes of all teams"),
			gives:    "The processes",
			scopes:   []iris.Scope{iris.ScopeProcessesRead},
			register: does((*Server).processes),
		},
		{
			op:       remove(base+"/processes/{pid}", "kill", "Processes", "End one process, whatever it does"),
			about:    "Only a process of a team can be ended. The message that it was working on fails with PROCESS_ERROR and is not run again.",
			gives:    "The process as it was; it has ended",
			scopes:   []iris.Scope{iris.ScopeProcessesManage},
			register: does((*Server).kill),
		},
		{
			op:       get(base+"/api-keys", "apiKeys", "API keys", "The API keys, never the keys themselves"),
			about:    "Those of the configuration, then those that were made with the command line or here, revoked and expired ones too. Only for keys that reach all teams.",
			gives:    "The keys",
			scopes:   []iris.Scope{iris.ScopeAdmin},
			register: does((*Server).listKeys),
		},
		{
			op:       post(base+"/api-keys", "createApiKey", "API keys", "Make an API key", http.StatusCreated),
			about:    "The answer shows the key, this once: only its hash is kept. It is good at once. A name that a key has already, here or in the configuration, is refused with CONFLICT.",
			gives:    "The key, which is not shown again",
			also:     []int{http.StatusConflict},
			scopes:   []iris.Scope{iris.ScopeAdmin},
			secret:   true,
			register: does((*Server).createKey),
		},
		{
			op:       get(base+"/api-keys/{name}", "apiKey", "API keys", "An API key by its name"),
			gives:    "The key that has the name",
			scopes:   []iris.Scope{iris.ScopeAdmin},
			register: does((*Server).getKey),
		},
		{
			op:       remove(base+"/api-keys/{name}", "revokeApiKey", "API keys", "Revoke an API key, at once and for good"),
			about:    "Its streams end within a second. Its name is free again. A key of the configuration is revoked there, by taking it out: here it is CONFLICT.",
			gives:    "The key, revoked",
			also:     []int{http.StatusConflict},
			scopes:   []iris.Scope{iris.ScopeAdmin},
			register: does((*Server).revokeKey),
		},
		{
			op:       post(base+"/api-keys/{name}/rotate", "rotateApiKey", "API keys", "Put a new API key in the place of an old one", http.StatusOK),
			about:    "The new key has the name and everything else of the old one, and as long a life, from now. The old one is revoked, or stays good beside it for grace. Without a grace whatever an earlier one has left is revoked too.",
			gives:    "The new key, which is not shown again",
			also:     []int{http.StatusConflict},
			scopes:   []iris.Scope{iris.ScopeAdmin},
			secret:   true,
			register: does((*Server).rotateKey),
		},
		{
			op:    get("/docs", "docs", "Server", "This API as a page"),
			gives: "The OpenAPI document for people",
			open:  true,
			local: true,
			register: func(s *Server, r *route) {
				r.op.Responses["200"] = &huma.Response{Content: map[string]*huma.MediaType{"text/html": {Schema: &huma.Schema{Type: huma.TypeString}}}}
				does((*Server).serveDocs)(s, r)
			},
		},
		{
			op: func() huma.Operation {
				op := get("/", "home", "Server", "The way to the documentation")
				op.DefaultStatus = http.StatusFound
				return op
			}(),
			gives:    "The documentation is at /docs",
			open:     true,
			local:    true,
			register: does((*Server).home),
		},
		{
			op:       get(base+"/permissions", "permissions", "Permissions", "What agents wait to get leave for"),
			about:    "The permissions that this key may decide, the oldest first. Who asks for the list counts as there to decide for permissionTimeout: until then permissions stay open instead of being denied at once.",
			gives:    "What waits for a decision",
			scopes:   []iris.Scope{iris.ScopeProcessesManage},
			register: does((*Server).permissions),
		},
		{
			op:       post(base+"/permissions/{permissionId}", "decide", "Permissions", "Give an agent leave, or not", http.StatusOK),
			about:    "The first decision counts; a permission that no longer waits is 404. The tool AskUserQuestion asks a person something: allow it with an answer to each question, or deny it. Where the team has permissions: forward, whoever sent the message may decide without the scope.",
			gives:    "The permission with its decision",
			scopes:   []iris.Scope{iris.ScopeProcessesManage},
			own:      true, // where a team forwards, whoever asked may decide
			register: does((*Server).decide),
		},
		mcpRoute(),
		{
			op:    get("/openapi.json", "openapi", "Server", "This API as an OpenAPI document"),
			gives: "The document, OpenAPI 3.1",
			open:  true,
			local: true,
			register: func(s *Server, r *route) {
				r.op.Responses["200"] = &huma.Response{Content: map[string]*huma.MediaType{
					"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}},
				}}
				does((*Server).serveOpenAPI)(s, r)
			},
		},
		{
			op:     get("/metrics", "metrics", "Server", "Metrics for Prometheus"),
			about:  "docs/metrics.md says what each one means. A program on the server's own machine needs no key, unless it asks for somebody else, as a proxy does. A key that is bound to teams does not reach them.",
			gives:  "The metrics, text format 0.0.4",
			scopes: []iris.Scope{iris.ScopeProcessesRead},
			near:   true,
			register: func(s *Server, r *route) {
				r.op.Responses["200"] = &huma.Response{Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}
				does((*Server).metrics)(s, r)
			},
		},
		{
			op:       get("/healthz", "healthz", "Server", "Whether the server is alive"),
			gives:    "It is",
			open:     true,
			register: does((*Server).healthz),
		},
		{
			op:       get("/readyz", "readyz", "Server", "Whether the server can take messages"),
			about:    "It cannot when it is about to end, when its store cannot be written, or when its queue takes up no messages. A refused edit of the configuration changes nothing: the one before it stays in force.",
			gives:    "It can",
			also:     []int{http.StatusServiceUnavailable},
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

func patch(path, id, tag, summary string) huma.Operation {
	op := post(path, id, tag, summary, http.StatusOK)
	op.Method = http.MethodPatch
	return op
}

func remove(path, id, tag, summary string) huma.Operation {
	op := get(path, id, tag, summary)
	op.Method = http.MethodDelete
	return op
}

// streaming documents the answers of an operation that answers with events.
func streaming(op huma.Operation) huma.Operation {
	op.Responses["200"] = &huma.Response{
		Description: "The events of the message as they happen (x-events), each with an id of the form messageId:number, the numbers 1, 2, 3… without gaps. There is exactly one last event. After 15 s of silence comes a comment line.",
		Content: map[string]*huma.MediaType{"text/event-stream": {
			Schema:  &huma.Schema{Ref: "#/components/schemas/StreamEvent"},
			Example: sample,
		}},
	}
	op.Responses["204"] = &huma.Response{Description: "The message was read to its end before; an EventSource stops then"}
	return op
}

const sample = `id: msg_01KAH3M4R0E7C8B9A2D3F4G5H6:1
event: start
data: {"messageId":"msg_01KAH3M4R0E7C8B9A2D3F4G5H6","team":"backend","sessionId":"ses_01KAH3M4R1J5K6M7N8P9Q0R1S2"}

id: msg_01KAH3M4R0E7C8B9A2D3F4G5H6:2
event: chunk
data: {"text":"The authentication flow consists of several steps:\n\n"}

id: msg_01KAH3M4R0E7C8B9A2D3F4G5H6:3
event: complete
data: {"duration":4532,"timestamp":1704067204532,"messageId":"msg_01KAH3M4R0E7C8B9A2D3F4G5H6","metadata":{"filesAccessed":[],"toolsUsed":[],"usage":{"inputTokens":10,"outputTokens":200,"cacheReadTokens":0,"cacheWriteTokens":0},"costUsd":0.01,"turns":1}}

`

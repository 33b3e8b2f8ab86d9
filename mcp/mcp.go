// Package mcp is the front for MCP clients: tools with which a model asks teams, over stdio,
// the owner's socket or whatever else is a Conn, and over HTTP (http.go). A call is decoded, put to the dispatcher and
// its answer encoded; while it waits, the message's events become progress, and a
// notifications/cancelled becomes a cancel.
//
// mcp-go gives the protocol, from revision 2024-11-05 to 2026-07-28; sessions are our own
// (session.go): its stdio server knows one per process, and its HTTP server cannot tell a client
// that cancels from one that leaves.
package mcp

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"github.com/mark3labs/mcp-go/server"

	iris "github.com/iris-mcp/iris-mcp"
)

// Dispatcher is what the tools need of the dispatcher.
type Dispatcher interface {
	// Submit stores the message and queues its job. TEAM_NOT_FOUND, INVALID_REQUEST,
	// NOT_FOUND (the session), QUEUE_FULL, SHUTTING_DOWN.
	Submit(ctx context.Context, a iris.Ask) (iris.Message, error)
	// Events yields what follows event number after, then what comes, up to the last.
	Events(ctx context.Context, messageID string, after int64) iter.Seq2[iris.Event, error]
	// Wait gives the message when it is final, or ctx's error when that ends first.
	Wait(ctx context.Context, messageID string) (iris.Message, error)
	// Cancel ends the message and gives it when it is final; a final one is left as it is.
	Cancel(ctx context.Context, messageID string) (iris.Message, error)
	// Status says what a team is doing. TEAM_NOT_FOUND.
	Status(ctx context.Context, team string) (iris.TeamStatus, error)
	// Estimate gives the place of a waiting message, from 1, and when it will be done; zeros
	// where that is not known.
	Estimate(ctx context.Context, m iris.Message) (position int, completion time.Time, err error)
	// Team gives a team by its name. TEAM_NOT_FOUND, with the name that was probably meant.
	Team(name string) (iris.Team, error)
	// Wake has a process of the team ready and says whether it had to start one; with evict it
	// makes room for it. TEAM_NOT_FOUND, PROCESS_ERROR, CONFLICT (no room), ctx's cause.
	Wake(ctx context.Context, team string, evict bool) (started bool, err error)
	// Sleep ends the team's processes: busy ones after their turn, unless force. TEAM_NOT_FOUND.
	Sleep(ctx context.Context, team string, force bool) (iris.Slept, error)
	Teams() []iris.Team
}

// Store is the history that the tools read.
type Store interface {
	Message(ctx context.Context, id string) (iris.Message, error) // msg_… or job_…; MESSAGE_NOT_FOUND
}

// Server has the tools. Its methods may be called at once.
type Server struct {
	d   Dispatcher
	db  Store
	log *slog.Logger
	mcp *server.MCPServer

	scopes map[string][]iris.Scope // that a tool needs, by its name; set by New
}

// New makes a server; version is Iris's own, as clients are told it.
func New(d Dispatcher, db Store, log *slog.Logger, version string) *Server {
	s := &Server{d: d, db: db, log: log, scopes: map[string][]iris.Scope{}}
	// mcp-go checks arguments before any middleware and in words that help nobody ("<root>:
	// &{Properties:[zzz]}"), so WithInputSchemaValidation is off and add checks them.
	hooks := &server.Hooks{}
	hooks.AddAfterListTools(s.allowed) // as a filter it would hide from a call why it is refused
	s.mcp = server.NewMCPServer("iris", version,
		server.WithTitle("Iris"),
		server.WithDescription("Ask real Claude Code teams that work in other project folders."),
		server.WithInstructions(instructions),
		server.WithToolCapabilities(false),
		server.WithToolHandlerMiddleware(s.guard),
		server.WithHooks(hooks),
		server.WithToolFilter(s.nameTeams),
		server.WithOutputSchemaValidation(),
	)
	s.addTools()
	return s
}

const instructions = `Iris puts your questions to other teams. A team is a real Claude Code in its own project folder: it reads that project's files, follows its CLAUDE.md and remembers what you asked it before.
- ask_team asks one team and waits for its answer; ask_teams asks several at once. Prefer asking to guessing about code that lives in another project.
- tell_team hands over work and returns at once; check_message fetches its result by the id, cancel_message stops it.
- list_teams names the teams; team_status says what they are doing. wake_team and sleep_team are for people who ask for it: a team wakes by itself when it is asked.
- A result that is an error begins with a code and says what to do next. Nothing was answered then.`

// callerKey is the context's key for the caller: mcp-go's handlers get nothing but a context.
type callerKey struct{}

func withCaller(ctx context.Context, who iris.Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, who)
}

func callerFrom(ctx context.Context) iris.Caller {
	who, ok := ctx.Value(callerKey{}).(iris.Caller)
	if !ok {
		return iris.Caller{Kind: iris.CallerKey} // may do nothing
	}
	return who
}

package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
	"unicode/utf8"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	iris "github.com/iris-mcp/iris-mcp"
)

// Why a call stops before it has its answer. They are the causes of its context.
var (
	errCancelled = errors.New("the client cancelled the call")
	errGone      = errors.New("the client's side of the connection has ended")
	errPatience  = errors.New("the caller's timeout passed")
)

// flushTime is how long Serve goes on writing answers once its context has ended.
const flushTime = 2 * time.Second

// Serve runs one MCP session until the client ends its side, and returns nil, or until ctx
// ends, and returns its cause. Either way the calls that still wait are told so, honestly, and
// their messages go on. Sessions may run at once, on any kinds of Conn.
//
// When ctx ends first, the goroutine in conn.Read ends when the Conn is closed: a read of
// stdin cannot be interrupted.
func (s *Server) Serve(ctx context.Context, conn Conn, who iris.Caller) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	c, over, err := s.session(ctx, who)
	if err != nil {
		return err
	}
	defer over()

	written := make(chan struct{})
	go func() { defer close(written); c.write(conn, end) }()
	in := make(chan incoming)
	go read(conn, in, written)

	err = c.serve(in)
	end(errGone) // ctx may have ended before, with a cause of its own
	go func() { c.running.Wait(); close(c.out) }()
	select {
	case <-written:
	case <-time.After(flushTime):
		close(c.dead) // the client does not read; a Write that hangs ends when the Conn is closed
		c.running.Wait()
	}
	return err
}

// session begins a session, until over is called.
func (s *Server) session(ctx context.Context, who iris.Caller) (c *session, over func(), err error) {
	c = &session{
		id:    iris.NewID("mcp_"),
		srv:   s.mcp,
		log:   s.log.With("from", who.From()),
		notes: make(chan mcpgo.JSONRPCNotification, 256),
		out:   make(chan json.RawMessage),
		dead:  make(chan struct{}),
		calls: map[string]context.CancelCauseFunc{},
	}
	if err := s.mcp.RegisterSession(ctx, c); err != nil {
		return nil, nil, fmt.Errorf("register MCP session: %w", err)
	}
	c.ctx = s.mcp.WithContext(withCaller(ctx, who), c)
	return c, func() { s.mcp.UnregisterSession(context.WithoutCancel(ctx), c.id) }, nil
}

// incoming is what one Read gave.
type incoming struct {
	message json.RawMessage
	err     error
}

// read passes on what comes, up to the first error that ends the session or until the
// session is over.
func read(conn Conn, in chan<- incoming, over <-chan struct{}) {
	for {
		m, err := conn.Read()
		select {
		case in <- incoming{m, err}:
		case <-over:
			return
		}
		if _, bad := errors.AsType[*LineError](err); err != nil && !bad {
			return
		}
	}
}

// session is one client. It is mcp-go's ClientSession.
type session struct {
	id  string
	srv *server.MCPServer
	log *slog.Logger
	ctx context.Context // of every call: it has the caller and the session

	// Only the writer writes to the Conn. It empties notes before each answer, so that no
	// call's progress comes after its answer.
	notes   chan mcpgo.JSONRPCNotification
	out     chan json.RawMessage // closed when the last call is over
	dead    chan struct{}        // closed when nothing will be written any more
	running sync.WaitGroup       // the calls

	mu     sync.Mutex
	calls  map[string]context.CancelCauseFunc // running calls by the raw bytes of their ids
	info   mcpgo.Implementation
	client mcpgo.ClientCapabilities
}

// serve handles what comes until the client's side ends (nil) or the session's context does.
func (c *session) serve(in <-chan incoming) error {
	for {
		select {
		case <-c.ctx.Done():
			if cause := context.Cause(c.ctx); cause != errGone {
				return cause
			}
			return nil
		case m := <-in:
			if bad, ok := errors.AsType[*LineError](m.err); ok {
				c.refuse(bad.ID, mcpgo.INVALID_REQUEST, bad.Error())
			} else if m.err != nil {
				return nil // a connection that breaks is a client that has gone
			} else {
				c.handle(m.message)
			}
		}
	}
}

// handle answers what is no request and what must be done in order, and starts a goroutine
// for the rest.
func (c *session) handle(m json.RawMessage) {
	if !utf8.Valid(m) || !json.Valid(m) { // JSON in Go lets any bytes pass in texts
		c.refuse(nil, mcpgo.PARSE_ERROR, "this line is not JSON in UTF-8; send one JSON-RPC message a line")
		return
	}
	if m = bytes.TrimSpace(m); m[0] != '{' {
		c.refuse(nil, mcpgo.INVALID_REQUEST, "a message is one JSON object; batches are not taken")
		return
	}
	var head struct {
		ID     json.RawMessage `json:"id"`
		Method json.RawMessage `json:"method"`
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(m, &head); err != nil {
		c.refuse(nil, mcpgo.INVALID_REQUEST, "not a JSON-RPC message")
		return
	}
	var method string
	switch {
	case head.ID != nil && !isID(head.ID):
		c.refuse(nil, mcpgo.INVALID_REQUEST, "an id is a string or a number")
	case head.Method == nil && (head.Result != nil || head.Error != nil):
		// an answer, though Iris asks its clients nothing
	case json.Unmarshal(head.Method, &method) != nil || method == "":
		c.refuse(head.ID, mcpgo.INVALID_REQUEST, "a request has a method, as text")
	case head.ID == nil && method == string(mcpgo.MethodNotificationCancelled):
		c.cancel(m)
	case head.ID == nil:
		c.answer(c.ctx, nil, m)
	default:
		c.call(head.ID, method, m)
	}
}

// call runs a request. It can be cancelled from here on: were it entered by its goroutine, a
// cancel that follows at once would miss it. initialize is done on the spot, for a call sent
// right behind it must find what it sets.
func (c *session) call(id json.RawMessage, method string, m json.RawMessage) {
	ctx, end := context.WithCancelCause(c.ctx)
	c.mu.Lock()
	_, taken := c.calls[string(id)]
	if !taken {
		c.calls[string(id)] = end
	}
	c.mu.Unlock()
	if taken {
		end(nil)
		c.refuse(id, mcpgo.INVALID_REQUEST, "a request with this id is still running")
		return
	}
	run := func() {
		defer end(nil)
		answer := c.answer(ctx, id, m)
		c.mu.Lock()
		delete(c.calls, string(id)) // before it is answered, for then the client may use the id anew
		c.mu.Unlock()
		if answer != nil {
			c.send(answer)
		}
	}
	if method == string(mcpgo.MethodInitialize) {
		run()
		return
	}
	c.running.Go(run)
}

// answer gives a message to mcp-go. A notification has no answer (nil), nor has a request that
// was cancelled; a panic has one.
func (c *session) answer(ctx context.Context, id, m json.RawMessage) (answer json.RawMessage) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("an MCP message panicked", "panic", p, "stack", string(debug.Stack()))
			if answer = nil; id != nil {
				answer = failure(id, mcpgo.INTERNAL_ERROR, internal.Message)
			}
		}
	}()
	a := c.srv.HandleMessage(ctx, m)
	if a == nil || context.Cause(ctx) == errCancelled {
		return nil
	}
	return encode(id, a)
}

// cancel ends the call that a notifications/cancelled names, if it still runs.
func (c *session) cancel(m json.RawMessage) {
	var n struct {
		Params struct {
			RequestID json.RawMessage `json:"requestId"`
		} `json:"params"`
	}
	if json.Unmarshal(m, &n) != nil {
		return // a notification has no answer, not even this one
	}
	c.mu.Lock()
	end := c.calls[string(n.Params.RequestID)]
	c.mu.Unlock()
	if end != nil {
		end(errCancelled)
	}
}

// refuse answers with a JSON-RPC error.
func (c *session) refuse(id json.RawMessage, code int, message string) {
	c.send(failure(id, code, message))
}

func failure(id json.RawMessage, code int, message string) json.RawMessage {
	return encode(id, mcpgo.JSONRPCError{Error: mcpgo.NewJSONRPCErrorDetails(code, message, nil)})
}

func (c *session) send(m json.RawMessage) {
	select {
	case c.out <- m:
	case <-c.dead:
	}
}

// write sends answers and notifications until the last call is over. A Conn that cannot be
// written to is a client that has gone: what is left is thrown away.
func (c *session) write(conn writer, end context.CancelCauseFunc) {
	broken := false
	write := func(m json.RawMessage) {
		if broken {
			return
		}
		if err := conn.Write(m); err != nil {
			broken = true
			end(errGone)
		}
	}
	note := func(n mcpgo.JSONRPCNotification) {
		if m, err := json.Marshal(n); err == nil {
			write(m)
		}
	}
	for {
		select {
		case <-c.dead:
			return
		case n := <-c.notes:
			note(n)
		case m, ok := <-c.out:
			for range len(c.notes) {
				note(<-c.notes)
			}
			if !ok {
				return
			}
			write(m)
		}
	}
}

// writer is the side of a Conn that is written to.
type writer interface{ Write(json.RawMessage) error }

// isID reports whether JSON is a request's id.
func isID(raw json.RawMessage) bool {
	return raw[0] == '"' || raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'
}

// encode writes an answer under the id as the client wrote it; through mcp-go a number would
// have become a float.
func encode(id json.RawMessage, answer mcpgo.JSONRPCMessage) json.RawMessage {
	if id == nil {
		id = json.RawMessage("null")
	}
	var m []byte
	var err error
	switch a := answer.(type) {
	case mcpgo.JSONRPCResponse:
		m, err = json.Marshal(struct {
			JSONRPC string          `json:"jsonrpc"`
			ID      json.RawMessage `json:"id"`
			Result  any             `json:"result"`
		}{mcpgo.JSONRPC_VERSION, id, a.Result})
	case mcpgo.JSONRPCError:
		m, err = json.Marshal(struct {
			JSONRPC string                    `json:"jsonrpc"`
			ID      json.RawMessage           `json:"id"`
			Error   mcpgo.JSONRPCErrorDetails `json:"error"`
		}{mcpgo.JSONRPC_VERSION, id, a.Error})
	default:
		err = fmt.Errorf("mcp-go answered with a %T", answer)
	}
	if err != nil {
		panic(err) // session.answer answers
	}
	return m
}

// What mcp-go wants of a session.

func (c *session) SessionID() string { return c.id }

func (c *session) NotificationChannel() chan<- mcpgo.JSONRPCNotification { return c.notes }

func (c *session) Initialize() {}

// Initialized is about notifications: whoever gives a progress token wants them, with or
// without the handshake that the newest revision has no more.
func (c *session) Initialized() bool { return true }

func (c *session) GetClientInfo() mcpgo.Implementation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info
}

func (c *session) SetClientInfo(info mcpgo.Implementation) {
	c.mu.Lock()
	c.info = info
	c.mu.Unlock()
	c.log.Debug("MCP client", "name", info.Name, "version", info.Version)
}

func (c *session) GetClientCapabilities() mcpgo.ClientCapabilities {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.client
}

func (c *session) SetClientCapabilities(can mcpgo.ClientCapabilities) {
	c.mu.Lock()
	c.client = can
	c.mu.Unlock()
}

var _ server.SessionWithClientInfo = (*session)(nil)

// Package httpapi is the front for HTTP: REST, server-sent events and WebSockets. It decodes a request,
// hands it to the dispatcher and encodes what comes back; docs/api.md is its contract.
//
// One table (routes.go) holds every path with its scopes and its types; the router, the
// checks and the OpenAPI document are all made from it. A request passes, in this order, the
// outer handler (request.go: id, log, panics), the guard (guard.go: key, limit, scopes), huma's
// decoding and validation, and its own handler, which is told everything by its arguments.
package httpapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	iris "github.com/iris-mcp/iris-mcp"
)

// Dispatcher is what runs messages, as this front needs it. All its methods may be called at once.
type Dispatcher interface {
	// Submit stores the message, queues it and returns at once. TEAM_NOT_FOUND,
	// INVALID_REQUEST, NOT_FOUND (its session), QUEUE_FULL, SHUTTING_DOWN. A message that was
	// accepted for the same Once comes back Repeated; CONFLICT if that asked for something else.
	Submit(ctx context.Context, a iris.Ask) (iris.Message, error)
	// Events yields what follows event number after, from the store and then live, up to the
	// last, however far behind the reader is. It ends with ctx's error.
	Events(ctx context.Context, messageID string, after int64) iter.Seq2[iris.Event, error]
	// Wait returns the message once it is final, or ctx's error.
	Wait(ctx context.Context, messageID string) (iris.Message, error)
	// Cancel ends the message and waits until it is final. A final one is left as it is.
	Cancel(ctx context.Context, messageID string) (iris.Message, error)
	// Status says what a team is doing. TEAM_NOT_FOUND.
	Status(ctx context.Context, team string) (iris.TeamStatus, error)
	// Watch tells of the team's messages that wait or run, and of those to come (iris.News).
	// It ends with ctx's error, and with QUEUE_FULL for who is too slow. TEAM_NOT_FOUND.
	Watch(ctx context.Context, team string) (iter.Seq2[iris.News, error], error)
	// Estimate is the message's place among its team's waiting jobs, from 1, zero when it does
	// not wait; and when it will be done, zero when nobody can know.
	Estimate(ctx context.Context, m iris.Message) (position int, completion time.Time, err error)
	// Attend says that the caller follows the message and may be asked for leave, until the
	// function that comes back is called.
	Attend(messageID string, c iris.Caller) (leave func())
	// Permissions lists what waits for a decision that the caller may make, the oldest first.
	Permissions(c iris.Caller) []iris.Permission
	// Decide answers a permission that waits. NOT_FOUND, FORBIDDEN, INVALID_REQUEST.
	Decide(c iris.Caller, id string, d iris.Decision) (iris.Permission, error)
	// Teams lists the configured teams, sorted by name.
	Teams() []iris.Team

	// Team is one of them. TEAM_NOT_FOUND.
	Team(name string) (iris.Team, error)
	// AddTeam, ChangeTeam and RemoveTeam write the configuration, which is in force when they
	// return. INVALID_REQUEST, TEAM_NOT_FOUND, CONFLICT: the team is there already, or the file
	// cannot be written so. RemoveTeam gives what the team was doing.
	// ChangeTeam fails as may does, which it asks about the team as it is.
	AddTeam(name string, settings []iris.Setting) (iris.Team, error)
	ChangeTeam(name string, settings []iris.Setting, may func(is iris.Team) error) (iris.Team, error)
	RemoveTeam(ctx context.Context, name string) (iris.TeamStatus, error)

	// Processes lists the processes of all teams, oldest first.
	Processes() []iris.Process
	// Wake has a process of the team ready and says whether it had to start one; with evict
	// it makes room for it. TEAM_NOT_FOUND, PROCESS_ERROR, CONFLICT (no room), ctx's cause.
	Wake(ctx context.Context, team string, evict bool) (started bool, err error)
	// Sleep ends the team's processes: busy ones after their turn, unless force. TEAM_NOT_FOUND.
	Sleep(ctx context.Context, team string, force bool) (iris.Slept, error)
	// Restart is Sleep and then Wake.
	Restart(ctx context.Context, team string, force bool) (iris.Slept, error)
	// Kill ends a process of the team, whatever it does. NOT_FOUND.
	Kill(ctx context.Context, team string, pid int) error
}

// Store is the history, as this front reads it.
type Store interface {
	Message(ctx context.Context, id string) (iris.Message, error) // msg_… or job_…; MESSAGE_NOT_FOUND
	Head(ctx context.Context, id string) (iris.Message, error)    // likewise, without its texts and what it came to
	Messages(ctx context.Context, f iris.Filter) (iris.Page, error)
	LastSeq(ctx context.Context, messageID string) (int64, error) // of its last event; 0 without any
	// Delivery is how far the telling of the message's end has come; false without a callback.
	Delivery(ctx context.Context, messageID string) (d iris.Delivery, ok bool, err error)
	// Resend has the message's callback called again now. NOT_FOUND without one, CONFLICT
	// before the message's end.
	Resend(ctx context.Context, messageID string) error
	// Kept tells whether the request came before, and gives the answer that was kept of it,
	// nil if none was. CONFLICT if that was another request.
	Kept(ctx context.Context, o iris.Once) (answer []byte, ok bool, err error)
	// Keep makes the request known again, with the answer unless that is nil.
	Keep(ctx context.Context, o iris.Once, answer []byte) error
	// Forget makes it a new one when it comes again.
	Forget(ctx context.Context, o iris.Once) error
	Ping(ctx context.Context) error // nil if a write can be made
	Keys
}

// Auth turns a credential, empty if there is none, into who holds it; UNAUTHORIZED if it is
// not, or no longer, good. The message of that begins with a short name and a colon.
type Auth interface {
	Caller(ctx context.Context, credential string) (iris.Caller, error)
	NewKey() (key, hash string) // an API key, and what is kept of it
}

// Keys is where the API keys are that can be made and revoked.
type Keys interface {
	Keys(ctx context.Context) ([]iris.Key, error) // revoked and expired ones too, the oldest first
	// CreateKey stores a key; CONFLICT when one of that name has not been revoked.
	CreateKey(ctx context.Context, k iris.Key) error
	// RevokeKey ends the key of that name, and those that it took the place of; NOT_FOUND.
	RevokeKey(ctx context.Context, name string, at time.Time) error
	// RotateKey puts a key with another hash in the place of the one of that name, which stays
	// good for the grace; NOT_FOUND.
	RotateKey(ctx context.Context, name, hash string, at time.Time, grace time.Duration) (iris.Key, error)
}

// Limiter counts requests.
type Limiter interface {
	// Take counts one request of who against the limit, unless that is used up.
	Take(ctx context.Context, who string, l iris.Limit) (iris.Allowance, error)
}

// Audit is where it is written down who changed what.
type Audit interface {
	Record(ctx context.Context, e iris.AuditEntry) // never fails what was done
}

// Config is what the front is told. A zero value means what stands beside it.
type Config struct {
	Limits         Limiter               // counts the requests of callers; nobody is limited
	Failures       Limiter               // counts the refused credentials of addresses; likewise
	Audit          Audit                 // nothing is written down
	ConfigError    func() error          // why the last edit of the configuration is not in force; it is
	Basic          func() bool           // whether keys are taken as passwords, asked at each refusal; they are not
	Fault          func() error          // why no message would be worked on, for readiness; nil
	Metrics        Metrics               // nothing is counted
	Traces         Tracer                // nobody is followed
	FileKeys       func() []iris.Key     // those of the configuration, asked at each request; there are none
	File           string                // the configuration, for who looks for such a key
	TrustedProxies func() []netip.Prefix // whose word on a client's address is taken, asked at each request; nobody's
	MaxBodyBytes   func() int64          // the largest request body, asked at each request; 1 MiB
	HeaderTimeout  time.Duration         // for a request's head to arrive whole; 10 s
	BodyTimeout    time.Duration         // for a request body to arrive whole; 30 s
	WriteTimeout   time.Duration         // for a client to take what is written to it; 20 s
	IdleTimeout    time.Duration         // between two requests of a connection; 2 min
	ShutdownGrace  time.Duration         // for running requests once Serve is to end; 20 s

	// Origins are those whose pages may call the API, asked at each request; "*" is all. By
	// default none may.
	Origins func() []string
	// MCP is what answers at /mcp; nothing.
	MCP MCP
	// Certificate is the server's; without it HTTP is in the clear.
	Certificate Certificate
}

// Certificate gives the server's certificate for a handshake.
type Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

// Server is the front. It is made once and serves one listener.
type Server struct {
	cfg        Config
	dispatcher Dispatcher
	store      Store
	auth       Auth
	log        *slog.Logger
	engine     *gin.Engine
	api        huma.API
	table      []*route
	openapi    []byte        // the document
	docs       func() []byte // the page made of it
	loopback   bool          // only this machine can reach it; set by Serve

	draining context.Context // over once the server is about to end
	drain    context.CancelFunc
	ending   context.Context // over once nothing is taken any more, and what runs has the grace
	end      context.CancelFunc

	frames  []*frameKind // what a WebSocket takes
	sockets sockets

	flights flights
	health  health
}

// maxHeaderBytes is large because the GET form of stream has its message in the query.
const maxHeaderBytes = 256 << 10

var (
	errPatience = errors.New("the caller's patience is over")
	errUnknown  = iris.Errorf(iris.CodeInternal, "the message failed, and nothing says why")
	errShutdown = iris.Errorf(iris.CodeShuttingDown, "Iris is shutting down; send the request again in a few seconds")
)

// New makes the front. It starts nothing; log is where requests are recorded.
func New(cfg Config, d Dispatcher, store Store, auth Auth, log *slog.Logger) *Server {
	if cfg.Limits == nil {
		cfg.Limits = unlimited{}
	}
	if cfg.Failures == nil {
		cfg.Failures = unlimited{}
	}
	if cfg.Basic == nil {
		cfg.Basic = func() bool { return false }
	}
	if cfg.FileKeys == nil {
		cfg.FileKeys = func() []iris.Key { return nil }
	}
	if cfg.TrustedProxies == nil {
		cfg.TrustedProxies = func() []netip.Prefix { return nil }
	}
	if cfg.MaxBodyBytes == nil {
		cfg.MaxBodyBytes = func() int64 { return 1 << 20 }
	}
	if cfg.Origins == nil {
		cfg.Origins = func() []string { return nil }
	}
	if cfg.Fault == nil {
		cfg.Fault = func() error { return nil }
	}
	if cfg.Traces == nil {
		cfg.Traces = untraced{}
	}
	if cfg.Metrics == nil {
		cfg.Metrics = unmeasured{}
	}
	cfg.HeaderTimeout = cmp.Or(cfg.HeaderTimeout, 10*time.Second)
	cfg.BodyTimeout = cmp.Or(cfg.BodyTimeout, 30*time.Second)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, 20*time.Second)
	cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, 2*time.Minute)
	cfg.ShutdownGrace = cmp.Or(cfg.ShutdownGrace, 20*time.Second)
	setLibraries()

	s := &Server{cfg: cfg, dispatcher: d, store: store, auth: auth, log: log}
	s.draining, s.drain = context.WithCancel(context.Background())
	s.ending, s.end = context.WithCancel(context.Background())
	s.sockets = sockets{by: map[string]int{}, changed: make(chan struct{})}

	r := gin.New()
	r.HandleMethodNotAllowed = true // gin sets Allow before it calls NoMethod
	r.UseRawPath, r.UnescapePathValues = true, true
	r.RedirectTrailingSlash, r.RedirectFixedPath = false, false
	r.Use(s.outer)
	r.NoRoute(func(g *gin.Context) {
		s.fail(g, iris.Errorf(iris.CodeNotFound, "there is nothing at this path; GET /docs shows what there is"))
	})
	r.NoMethod(func(g *gin.Context) {
		s.fail(g, iris.Errorf(iris.CodeMethodNotAllowed, "this path does not know %s; the header Allow says what it knows", clip(g.Request.Method)))
	})
	s.engine = r
	s.api = humagin.New(r, s.humaConfig())
	s.api.UseMiddleware(s.guard)
	s.register()
	return s
}

// setLibraries sets what gin and huma keep in variables of their packages.
var setLibraries = sync.OnceFunc(func() {
	gin.SetMode(gin.ReleaseMode) // else it prints to stdout, which belongs to MCP
	setHuma()
})

// Handler is the front as a handler, for a server or a test of one's own.
func (s *Server) Handler() http.Handler { return s.engine }

// Drain says that the server is about to end: it is not ready any more, and long polls end
// with what is known. Serve does so by itself when its context ends; call it before that if
// other parts stop sooner. It may be called more than once.
func (s *Server) Drain() { s.drain() }

// Serve answers requests on ln until ctx ends, and returns when all it started is over.
//
// When ctx ends it drains, takes no new connection, and lets everything else run for the
// grace. What runs then is cut: an ask is answered SHUTTING_DOWN, a stream ends between two
// events, a WebSocket is closed with 1001 (at once, if nothing is under way on it), and their
// clients can resume.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	run, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	if tcp, ok := ln.Addr().(*net.TCPAddr); ok {
		s.loopback = tcp.IP.IsLoopback()
	}
	ln = bounded{ln}
	srv := &http.Server{
		Handler:           s.Handler(),
		BaseContext:       func(net.Listener) context.Context { return run },
		ReadHeaderTimeout: s.cfg.HeaderTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.connection,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),

		DisableGeneralOptionsHandler: true, // it waits for the body of OPTIONS * without an end
	}
	if s.cfg.Certificate != nil {
		srv.HTTP2 = &http.HTTP2Config{ // who is gone without a word is noticed, as by the deadlines of HTTP/1
			SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: s.cfg.WriteTimeout,
		}
		ln = newSecure(ln, s.cfg.Certificate, s.cfg.HeaderTimeout, s.log)
	} else {
		ln = refusing{ln}
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}

	s.Drain()
	s.end()
	over := func(ctx context.Context) error { return errors.Join(srv.Shutdown(ctx), s.sockets.wait(ctx)) }
	if !within(run, s.cfg.ShutdownGrace, over) {
		cut(errShutdown)
		if !within(context.WithoutCancel(run), 2*time.Second, over) {
			srv.Close()
		}
	}
	<-served
	return nil
}

// bounded accepts connections of which the system keeps no more than so many bytes that the
// client has not taken: by itself it would keep megabytes for each that reads nothing. It is
// enough for two megabytes a second to the other side of the world.
type bounded struct{ net.Listener }

const sendBuffer = 128 << 10 // Linux makes it twice as much

func (l bounded) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // who can't have it has what the system gives
	}
	return conn, err
}

// within reports whether do is done before the time is over.
func within(ctx context.Context, d time.Duration, do func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return do(ctx) == nil
}

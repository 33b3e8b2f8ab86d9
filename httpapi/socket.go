package httpapi

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi/socket"
)

const (
	// subprotocol is what a browser offers beside its key (see keyProtocol), and gets.
	subprotocol = "iris.v1"
	// keyProtocol begins the subprotocol that carries a browser's key: a page can set no
	// header of a WebSocket but this one. It is never agreed on, so it never comes back.
	keyProtocol = "iris.key."

	pingInterval = 30 * time.Second
)

// How many connections there may be. An idle one costs about 40 KB.
const (
	maxSockets          = 2000
	maxSocketsPerCaller = 1000
)

type socketIn struct {
	Attend string `header:"Iris-Attend" enum:"yes,no" doc:"no: nobody who reads this connection decides on permissions"`
}

// openSocket is the handshake of a WebSocket and then all of its life.
func (s *Server) openSocket(_ context.Context, req *request, _ *socketIn) (*streamOut, error) {
	return &streamOut{func(h huma.Context) {
		g := humagin.Unwrap(h)
		if err := s.serveSocket(g, req); err != nil {
			s.fail(g, err)
		}
	}}, nil
}

// serveSocket returns an error if there was no connection, else when it is over.
func (s *Server) serveSocket(g *gin.Context, req *request) error {
	if !s.sameOrigin(g.Request) {
		return iris.Errorf(iris.CodeForbidden, "pages of other origins may not connect; add theirs to api.cors.origins if they should")
	}
	leave, err := s.sockets.enter(req.caller)
	if err != nil {
		return err
	}
	defer leave()
	conn, err := socket.Accept(g.Writer, g.Request, socket.Config{
		Subprotocol: subprotocol, MaxFrame: s.cfg.MaxBodyBytes(), FrameTimeout: s.cfg.BodyTimeout,
		WriteTimeout: s.cfg.WriteTimeout, Ping: pingInterval,
	})
	if refusal, ok := errors.AsType[*socket.Refusal](err); ok {
		text := "this is no WebSocket handshake that the server understands; use version 13 of the protocol and one Sec-WebSocket-Key of 16 bytes"
		if refusal.Status == http.StatusUpgradeRequired {
			text = "this path speaks WebSocket: connect with a WebSocket client, over HTTP/1.1"
		}
		f := req.newFailure(iris.Errorf(iris.CodeInvalidRequest, "%s", text))
		f.status = refusal.Status
		return f
	}
	if err != nil {
		return err
	}
	s.cfg.Metrics.Streams("websocket", 1)
	defer s.cfg.Metrics.Streams("websocket", -1)
	c := newClient(s, conn, req, g.Request.Header)
	c.serve(g.Request.Context())
	return nil
}

// sockets counts the open connections.
type sockets struct {
	mu      sync.Mutex
	open    int
	by      map[string]int // by caller
	changed chan struct{}  // closed and replaced when one ends
}

// enter counts a connection until leave is called; or refuses it.
func (s *sockets) enter(caller iris.Caller) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := string(caller.Kind) + "/" + caller.Name
	switch {
	case s.open >= min(maxSockets, openFiles()/2):
		return nil, iris.Errorf(iris.CodeQueueFull, "%d WebSocket connections are open, which is as many as there may be; try again later", s.open)
	case s.by[who] >= maxSocketsPerCaller:
		return nil, iris.Errorf(iris.CodeRateLimited, "this key has %d WebSocket connections open, which is as many as it may have; close some, or send several messages over one", s.by[who])
	}
	s.open++
	s.by[who]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
		if s.by[who]--; s.by[who] == 0 {
			delete(s.by, who)
		}
		close(s.changed)
		s.changed = make(chan struct{})
	}, nil
}

// wait returns when no connection is open, or with ctx's error. net/http does not wait for
// those that it has handed over.
func (s *sockets) wait(ctx context.Context) error {
	for {
		s.mu.Lock()
		open, changed := s.open, s.changed
		s.mu.Unlock()
		if open == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

package httpapi

import (
	"context"
	"net"
	"net/http"
	"time"
)

// Metrics counts what the front does, and tells it.
type Metrics interface {
	// Request is an answered request; route is empty for a path that is none.
	Request(route, method string, status int, took time.Duration)
	Connections(n int)          // one was opened (1) or closed (-1)
	Streams(kind string, n int) // likewise; sse or websocket
	Limited(of string)          // a request was refused for the limit of a key or of an address
	LoginFailed()
	// Text is all metrics as Prometheus reads them (text format 0.0.4).
	Text() ([]byte, error)
}

// unmeasured counts nothing.
type unmeasured struct{}

func (unmeasured) Request(string, string, int, time.Duration) {}
func (unmeasured) Connections(int)                            {}
func (unmeasured) Streams(string, int)                        {}
func (unmeasured) Limited(string)                             {}
func (unmeasured) LoginFailed()                               {}
func (unmeasured) Text() ([]byte, error)                      { return nil, nil }

// connection counts connections, as http.Server.ConnState.
func (s *Server) connection(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.cfg.Metrics.Connections(1)
	case http.StateClosed, http.StateHijacked:
		s.cfg.Metrics.Connections(-1)
	}
}

type metricsOut struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (s *Server) metrics(_ context.Context, req *request, _ *struct{}) (*metricsOut, error) {
	if len(req.caller.Teams) > 0 {
		return nil, req.forbid(req.route.scopes, "this key is bound to teams, and the metrics are those of all teams")
	}
	text, err := s.cfg.Metrics.Text()
	if err != nil {
		return nil, err
	}
	return &metricsOut{"text/plain; version=0.0.4; charset=utf-8", text}, nil
}

// forwarding are the headers by which a proxy says that somebody else asks.
var forwarding = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"}

// near reports whether a program of this machine asks, without a key and for itself: it is no
// proxy, which asks for somebody else, and no page, not even one that has led its own name
// here (see foreign). What it may see then are names of teams and numbers.
func near(r *http.Request) bool {
	if credential(r.Header) != "" || r.Header.Get("Origin") != "" || !isLoopback(hostOf(r.RemoteAddr)) || !isLoopback(hostOf(r.Host)) {
		return false
	}
	for _, name := range forwarding {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	return true
}

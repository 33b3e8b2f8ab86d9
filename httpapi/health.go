package httpapi

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

type healthOut struct {
	Body struct {
		Status string `json:"status" doc:"ok, or ready" example:"ok"`
	}
}

// health remembers for a second what the store said: anybody may ask, and each answer costs
// a write.
type health struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

func (s *Server) healthz(context.Context, *request, *struct{}) (*healthOut, error) {
	out := &healthOut{}
	out.Body.Status = "ok"
	return out, nil
}

func (s *Server) readyz(ctx context.Context, req *request, _ *struct{}) (*healthOut, error) {
	if s.draining.Err() != nil {
		return nil, errShutdown
	}
	err := s.cfg.Fault()
	if err != nil {
		err = iris.Errorf(iris.CodeInternal, "the queue does not take up messages; the log says why").Because(err)
	}
	if err == nil {
		err = s.ping(ctx)
	}
	if err != nil {
		e, ok := errors.AsType[*iris.Error](err)
		if !ok {
			e = iris.Errorf(iris.CodeInternal, "the store cannot be written; the log says why").Because(err)
		}
		f := req.newFailure(e)
		f.status = http.StatusServiceUnavailable
		return nil, f
	}
	out := &healthOut{}
	out.Body.Status = "ready"
	return out, nil
}

func (s *Server) ping(ctx context.Context) error {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.at) > time.Second {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		h.err, h.at = s.store.Ping(ctx), time.Now()
	}
	return h.err
}

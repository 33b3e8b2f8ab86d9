package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/bus"
	"github.com/iris-mcp/iris-mcp/internal/metrics"
	"github.com/iris-mcp/iris-mcp/internal/store"
	"github.com/iris-mcp/iris-mcp/internal/trace"
	"github.com/iris-mcp/iris-mcp/pool"
	"github.com/iris-mcp/iris-mcp/queue"
)

// What the dispatcher does passes through here on its way to the record, the bus and the pool,
// and is counted and traced. Nothing is changed.

// watch is who looks on.
type watch struct {
	metrics *metrics.Metrics
	traces  *trace.Traces // nil: nobody
}

// watchedStore is the record.
type watchedStore struct {
	*store.DB
	watch
}

func (s watchedStore) Accept(ctx context.Context, m iris.Message, fresh bool, dedupe string) (iris.Message, bool, error) {
	m, created, err := s.DB.Accept(ctx, m, fresh, dedupe)
	if created {
		s.metrics.Accepted(m)
		s.traces.Accepted(ctx, m)
	}
	return m, created, err
}

// watchedBus is the bus, through which every message ends.
type watchedBus struct {
	*bus.Bus
	watch
}

func (b watchedBus) Finish(ctx context.Context, m iris.Message, attempt int, last iris.Event) error {
	err := b.Bus.Finish(ctx, m, attempt, last)
	if err == nil {
		b.metrics.Ended(m)
		b.traces.Ended(m)
	}
	return err
}

// watchedPool is the pool.
type watchedPool struct {
	*pool.Pool
	watch
}

func (p watchedPool) Turn(ctx context.Context, t iris.Turn) (iris.Result, error) {
	began, ended := time.Now(), p.traces.Turn(&t)
	res, err := p.Pool.Turn(ctx, t)
	p.metrics.Turn(t.Team.Name, outcome(err), time.Since(began), res.Metadata)
	ended(outcome(err), res.Metadata, err)
	return res, err
}

// outcome sums up how a turn ended.
func outcome(err error) string {
	switch code := iris.CodeOf(err); {
	case err == nil:
		return metrics.OutcomeCompleted
	case errors.Is(err, queue.ErrShutdown), errors.Is(err, queue.ErrLeaseLost):
		return metrics.OutcomeInterrupted
	case code == iris.CodeCancelled:
		return metrics.OutcomeCancelled
	case code == iris.CodeTimeout:
		return metrics.OutcomeTimeout
	}
	return metrics.OutcomeFailed
}

// recordSize is what the record takes on the disk, its log of writes included.
func recordSize(home string) int64 {
	var size int64
	for _, file := range []string{storeFile(home), storeFile(home) + "-wal"} {
		if info, err := os.Stat(file); err == nil {
			size += info.Size()
		}
	}
	return size
}

// Package queue runs jobs: the most urgent first, no more at once than allowed, each under a
// lease that says who may finish it. The rows in the store are the truth; what happens in
// memory only wakes the queue up early. It does not know what a job does.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// Store is the queue's record; *store.DB is one.
type Store interface {
	// Claim takes the best waiting job that c allows and counts its attempt; false when
	// there is none.
	Claim(ctx context.Context, c iris.Claim) (iris.Job, bool, error)
	// Renew extends the lease; iris.ErrFinal when it was lost or the job is done.
	Renew(ctx context.Context, j iris.Job, until time.Time) error
	// NextRun is when the next job that waits for its time may run; false when none does.
	NextRun(ctx context.Context) (time.Time, bool, error)
}

// Config is what the queue is told once.
type Config struct {
	Worker string               // names this owner in the record
	Lease  time.Duration        // zero: a minute
	Grace  func() time.Duration // how long running jobs may go on once Serve is to stop, asked then
	// Limits are asked anew for every claim, so they may change while the queue runs.
	Limits func() Limits
}

// Limits bound what runs at once.
type Limits struct {
	Jobs    int                                 // in all
	Team    func(team string) (jobs, tasks int) // of one team
	Resting []string                            // teams whose tasks wait, however few run
}

// Why a running job's context ends.
var (
	ErrShutdown  = errors.New("shutting down")
	ErrLeaseLost = errors.New("the job's lease was lost")
)

// Handler runs a job to its end. The context ends, with a cause, when the job must stop:
// ErrShutdown after the grace, or ErrLeaseLost, when it must not touch the job any more.
// What it leaves undone is settled by the next owner.
type Handler func(ctx context.Context, j iris.Job)

// Queue claims and runs. Wake is safe for concurrent use; Handle comes before Serve, and
// Serve runs once.
type Queue struct {
	cfg      Config
	store    Store
	log      *slog.Logger
	handlers map[iris.JobKind]Handler
	wake     chan struct{} // holds one wake-up
	ended    chan iris.Job // from a job's goroutine to Serve
	fault    atomic.Pointer[error]
}

var errIdle = errors.New("the queue does not serve")

const (
	defaultLease = time.Minute
	sweep        = 5 * time.Second // how late a lost wake-up may be noticed
	afterFault   = time.Second     // between tries while the store fails
)

// New makes a queue that Serve will run.
func New(cfg Config, store Store, log *slog.Logger) *Queue {
	if cfg.Lease == 0 {
		cfg.Lease = defaultLease
	}
	q := &Queue{
		cfg: cfg, store: store, log: log,
		handlers: map[iris.JobKind]Handler{},
		wake:     make(chan struct{}, 1),
		ended:    make(chan iris.Job),
	}
	q.fault.Store(&errIdle)
	return q
}

// Fault says why no job is claimed: nil while Serve does so, and its last look went well.
func (q *Queue) Fault() error { return *q.fault.Load() }

// Handle names who runs the jobs of a kind.
func (q *Queue) Handle(kind iris.JobKind, run Handler) { q.handlers[kind] = run }

// Wake tells the queue that a job waits. It never blocks; a wake-up that gets lost costs a
// few seconds, never the job.
func (q *Queue) Wake() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Serve claims jobs until the context ends. Then it takes no more, lets those that run go on
// for the grace, ends their contexts, and returns once they are over.
func (q *Queue) Serve(ctx context.Context) error {
	stop, stopNow := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stopNow(nil)
	var jobs sync.WaitGroup
	running := map[string]iris.Job{} // by id; this goroutine's

	start := func(j iris.Job) {
		running[j.ID] = j
		jobs.Go(func() {
			q.run(stop, j)
			q.ended <- j
		})
	}
	faults := 0 // in a row
	defer q.fault.Store(&errIdle)
	for ctx.Err() == nil {
		wait, err := q.claimAll(ctx, running, start)
		q.fault.Store(&err)
		if faults++; err == nil {
			faults = 0
		}
		if err != nil && ctx.Err() == nil {
			if faults&(faults-1) == 0 { // less and less often
				q.log.Error("jobs can't be claimed; trying again", "tries", faults, "error", err)
			}
			wait = afterFault
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-q.wake:
		case j := <-q.ended:
			delete(running, j.ID)
		case <-timer.C:
		}
		timer.Stop()
	}

	grace := time.AfterFunc(q.cfg.Grace(), func() { stopNow(ErrShutdown) })
	defer grace.Stop()
	for len(running) > 0 {
		j := <-q.ended
		delete(running, j.ID)
	}
	jobs.Wait()
	return nil
}

// claimAll starts what may start now and says how long there is nothing to do at the most.
func (q *Queue) claimAll(ctx context.Context, running map[string]iris.Job, start func(iris.Job)) (time.Duration, error) {
	for {
		c, free := q.claim(running)
		if !free {
			return sweep, nil
		}
		j, ok, err := q.store.Claim(ctx, c)
		if err != nil {
			return 0, fmt.Errorf("claim job: %w", err)
		}
		if !ok {
			break
		}
		start(j)
	}
	next, ok, err := q.store.NextRun(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for the next job: %w", err)
	}
	if !ok {
		return sweep, nil
	}
	return min(max(time.Until(next), time.Millisecond), sweep), nil
}

// claim says what may be taken beside what runs; false when nothing may.
func (q *Queue) claim(running map[string]iris.Job) (iris.Claim, bool) {
	limits := q.cfg.Limits()
	if len(running) >= limits.Jobs {
		return iris.Claim{}, false
	}
	c := iris.Claim{Worker: q.cfg.Worker, Lease: q.cfg.Lease, FullTasks: limits.Resting}
	jobs, tasks := map[string]int{}, map[string]int{}
	for _, j := range running {
		jobs[j.Team]++
		if j.Task {
			tasks[j.Team]++
		}
	}
	for team, n := range jobs {
		maxJobs, maxTasks := limits.Team(team)
		if n >= maxJobs {
			c.FullTeams = append(c.FullTeams, team)
		} else if tasks[team] >= maxTasks {
			c.FullTasks = append(c.FullTasks, team)
		}
	}
	return c, true
}

// run runs one job and renews its lease meanwhile.
func (q *Queue) run(ctx context.Context, j iris.Job) {
	handle := q.handlers[j.Kind]
	if handle == nil {
		q.log.Error("nobody runs jobs of this kind", "job", j.ID, "kind", j.Kind)
		return
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := make(chan struct{})
	var renewer sync.WaitGroup
	renewer.Go(func() { q.renew(j, over, cancel) })
	defer renewer.Wait()
	defer close(over)
	handle(ctx, j)
}

// renew keeps the lease until the job is over. A store that fails is asked again in time; a
// lease that has gone to somebody else ends the job.
func (q *Queue) renew(j iris.Job, over <-chan struct{}, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(q.cfg.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-tick.C:
		}
		err := q.store.Renew(context.Background(), j, time.Now().Add(q.cfg.Lease))
		if errors.Is(err, iris.ErrFinal) {
			cancel(ErrLeaseLost)
			return
		}
		if err != nil {
			q.log.Warn("lease not renewed", "job", j.ID, "error", err)
		}
	}
}

package queue_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/queue"
)

// rows is a record of jobs in memory, in the order in which they are to run.
type rows struct {
	mu      sync.Mutex
	waiting []iris.Job
	fault   error
	lost    map[string]bool // leases that somebody else has
	renewed int
}

func (r *rows) Claim(_ context.Context, c iris.Claim) (iris.Job, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault != nil {
		return iris.Job{}, false, r.fault
	}
	for i, j := range r.waiting {
		if slices.Contains(c.FullTeams, j.Team) || j.Task && slices.Contains(c.FullTasks, j.Team) || j.RunAt.After(time.Now()) {
			continue
		}
		r.waiting = slices.Delete(r.waiting, i, i+1)
		j.Attempt++
		return j, true, nil
	}
	return iris.Job{}, false, nil
}

func (r *rows) Renew(_ context.Context, j iris.Job, _ time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost[j.ID] {
		return iris.ErrFinal
	}
	r.renewed++
	return nil
}

func (r *rows) NextRun(context.Context) (next time.Time, ok bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.waiting {
		if !j.RunAt.IsZero() && (!ok || j.RunAt.Before(next)) {
			next, ok = j.RunAt, true
		}
	}
	return next, ok, nil
}

func (r *rows) add(jobs ...iris.Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, jobs...)
}

// bench is a queue at work in a bubble, and what its handler saw.
type bench struct {
	*queue.Queue
	rows *rows
	stop func()

	mu    sync.Mutex
	order []string
	now   int
	most  int
	ends  map[string]error // the cause with which a job's context ended
}

// seen is what has happened once everybody waits.
func (b *bench) seen() (order []string, ends map[string]error) {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.order), maps.Clone(b.ends)
}

// serve runs a queue whose jobs take as long as their id says.
func serve(t *testing.T, limits queue.Limits, r *rows) *bench {
	t.Helper()
	b := &bench{rows: r, ends: map[string]error{}}
	b.Queue = queue.New(queue.Config{
		Worker: "test", Grace: func() time.Duration { return 20 * time.Second }, Limits: func() queue.Limits { return limits },
	}, r, slog.New(slog.DiscardHandler))
	b.Handle(iris.JobTurn, func(ctx context.Context, j iris.Job) {
		b.mu.Lock()
		b.order = append(b.order, j.ID)
		b.now++
		b.most = max(b.most, b.now)
		b.mu.Unlock()
		takes, _ := time.ParseDuration(j.ID[1:])
		select {
		case <-time.After(takes):
		case <-ctx.Done():
		}
		b.mu.Lock()
		b.now--
		b.ends[j.ID] = context.Cause(ctx)
		b.mu.Unlock()
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Serve(ctx) }()
	b.stop = func() { cancel(); <-done }
	t.Cleanup(b.stop)
	return b
}

func limits(jobs, team, tasks int) queue.Limits {
	return queue.Limits{Jobs: jobs, Team: func(string) (int, int) { return team, tasks }}
}

func job(id, team string) iris.Job { return iris.Job{ID: id, Kind: iris.JobTurn, Team: team} }
func task(id, team string) iris.Job {
	j := job(id, team)
	j.Task = true
	return j
}

func TestLimits(t *testing.T) {
	five := []iris.Job{job("a1s", "x"), job("b1s", "x"), job("c1s", "y"), job("d1s", "y"), job("e1s", "z")}
	tasks := []iris.Job{task("a1s", "x"), task("b1s", "x"), job("c1s", "x")}
	for _, tt := range []struct {
		name   string
		jobs   []iris.Job
		limits queue.Limits
		most   int
		took   time.Duration
	}{
		{"all run at once when they may", five, limits(10, 4, 1), 5, time.Second},
		{"no more than the global limit", five, limits(2, 4, 1), 2, 3 * time.Second},
		{"no more than the team's", five, limits(10, 1, 1), 3, 2 * time.Second},
		{"tasks of a team come one by one, beside its other jobs", tasks, limits(10, 4, 1), 2, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &rows{}
				b := serve(t, tt.limits, r)
				start := time.Now()
				r.add(tt.jobs...)
				b.Wake()
				for {
					if _, ends := b.seen(); len(ends) == len(tt.jobs) {
						break
					}
					time.Sleep(100 * time.Millisecond)
				}
				if b.most != tt.most {
					t.Errorf("%d ran at once, want %d", b.most, tt.most)
				}
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
		})
	}
}

func TestAJobIsClaimedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rows{}
		b := serve(t, limits(10, 4, 1), r)
		synctest.Wait()
		start := time.Now()
		r.add(job("a0s", "x"))
		b.Wake()
		if ran, _ := b.seen(); len(ran) != 1 || time.Since(start) > 0 {
			t.Errorf("after %v: ran %v", time.Since(start), ran)
		}
	})
}

func TestALostWakeUpCostsSecondsNotTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rows{}
		b := serve(t, limits(10, 4, 1), r)
		synctest.Wait()
		r.add(job("a0s", "x"))
		time.Sleep(6 * time.Second)
		if ran, _ := b.seen(); len(ran) != 1 {
			t.Errorf("ran %v", ran)
		}
	})
}

func TestAJobWaitsForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		later := job("a0s", "x")
		later.RunAt = time.Now().Add(time.Second)
		r := &rows{}
		b := serve(t, limits(10, 4, 1), r)
		r.add(later)
		b.Wake()
		time.Sleep(999 * time.Millisecond)
		if ran, _ := b.seen(); len(ran) != 0 {
			t.Error("ran before its time")
		}
		time.Sleep(2 * time.Millisecond)
		if ran, _ := b.seen(); len(ran) != 1 {
			t.Error("did not run when its time had come")
		}
	})
}

func TestLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rows{lost: map[string]bool{"b10m": true}}
		b := serve(t, limits(10, 4, 1), r)
		r.add(job("a10m", "x"), job("b10m", "x"))
		b.Wake()
		time.Sleep(11 * time.Minute)
		_, ends := b.seen()
		if ends["a10m"] != nil {
			t.Errorf("a held lease ended its job: %v", ends["a10m"])
		}
		if r.renewed < 10*3-1 {
			t.Errorf("renewed %d times in ten minutes", r.renewed)
		}
		if !errors.Is(ends["b10m"], queue.ErrLeaseLost) {
			t.Errorf("a lost lease ended with %v", ends["b10m"])
		}
	})
}

func TestAStoreThatFailsIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rows{fault: errors.New("disk full")}
		b := serve(t, limits(10, 4, 1), r)
		r.add(job("a0s", "x"))
		b.Wake()
		time.Sleep(10 * time.Second)
		if err := b.Fault(); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("the fault is %v", err)
		}
		r.mu.Lock()
		r.fault = nil
		r.mu.Unlock()
		time.Sleep(1100 * time.Millisecond)
		if ran, _ := b.seen(); len(ran) != 1 {
			t.Errorf("ran %v", ran)
		}
		if err := b.Fault(); err != nil {
			t.Errorf("the fault is still %v", err)
		}
		b.stop()
		if b.Fault() == nil {
			t.Error("a queue that has ended has no fault")
		}
	})
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rows{}
		b := serve(t, limits(2, 4, 1), r)
		r.add(job("a10s", "x"), job("b10m", "x"), job("c0s", "x"))
		b.Wake()
		synctest.Wait()
		start := time.Now()
		b.stop()
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("took %v, want the grace", took)
		}
		ran, ends := b.seen()
		if ends["a10s"] != nil {
			t.Errorf("a job that ended in time was stopped: %v", ends["a10s"])
		}
		if !errors.Is(ends["b10m"], queue.ErrShutdown) {
			t.Errorf("a late job ended with %v", ends["b10m"])
		}
		if slices.Contains(ran, "c0s") {
			t.Error("a job was claimed during the shutdown")
		}
	})
}

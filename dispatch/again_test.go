package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/dispatch"
	"github.com/iris-mcp/iris-mcp/internal/bus"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

func TestATaskThatFailsInAWayThatMayPassRunsAgain(t *testing.T) {
	often := task("flaky 9")
	often.MaxAttempts = 5
	for _, tt := range []struct {
		name     string
		ask      iris.Ask
		status   iris.Status
		attempts int
		cost     float64
		least    time.Duration // less the jitter of a quarter
	}{
		{"once", task("flaky 1"), iris.StatusCompleted, 2, 0.75, time.Second},
		{"twice, after twice the time", task("flaky 2"), iris.StatusCompleted, 3, 1, 3 * time.Second},
		{"up to its attempts", task("flaky 9"), iris.StatusFailed, 3, 0.75, 3 * time.Second},
		{"up to attempts of its own", often, iris.StatusFailed, 5, 1.25, 15 * time.Second},
		{"but not when it would not help", task("fail"), iris.StatusFailed, 1, 0, 0},
		{"and a question never", ask("flaky 1"), iris.StatusFailed, 1, 0.25, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := open(t, t.TempDir(), true)
				m := wait(t, o, submit(t, o, tt.ask).ID)
				if m.Status != tt.status || m.Attempts != tt.attempts {
					t.Errorf("ended %s (%v) after %d attempts, want %s after %d", m.Status, m.Err, m.Attempts, tt.status, tt.attempts)
				}
				if took := m.Duration(); took < tt.least*3/4 || took > tt.least*5/4 {
					t.Errorf("took %v, want %v, give or take a quarter", took, tt.least)
				}
				if tt.cost > 0 && (m.Metadata == nil || m.Metadata.CostUSD != tt.cost || m.Metadata.Turns != tt.attempts) {
					t.Errorf("did %+v, want all that its %d turns did: $%v", m.Metadata, tt.attempts, tt.cost)
				}
				retries := 0
				for e, err := range o.Events(t.Context(), m.ID, 0) {
					if err != nil {
						t.Fatal(err)
					}
					if e.Kind == iris.EventRetry {
						retries++
						if want := fmt.Sprintf("attempt %d of %d failed: it died", retries, m.MaxAttempts); !strings.HasPrefix(e.Text, want) {
							t.Errorf("told %q, want %q", e.Text, want)
						}
					}
				}
				if retries != tt.attempts-1 {
					t.Errorf("%d retries were told, want %d", retries, tt.attempts-1)
				}
				if got := slices.Contains(kinds(t, o, m.ID), iris.EventRestart); got != (tt.attempts > 1) {
					t.Errorf("told to begin anew: %v", got)
				}
			})
		})
	}
}

func TestATaskWaitsBetweenItsAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		first := wait(t, o, submit(t, o, task("slow")).ID) // takes a minute: that is what is known of the team
		if first.Status != iris.StatusCompleted {
			t.Fatal(first.Err)
		}
		flaky := task("flaky 99")
		flaky.MaxAttempts = 100
		m := submit(t, o, flaky)
		time.Sleep(10 * time.Minute) // by now it waits up to five minutes
		synctest.Wait()
		m, err := o.db.Message(t.Context(), m.ID)
		if err != nil || m.Status != iris.StatusQueued || m.Attempts < 7 {
			t.Fatalf("it is %s after %d attempts, %v", m.Status, m.Attempts, err)
		}
		other := submit(t, o, task("hello"))
		if other = wait(t, o, other.ID); other.Duration() > 0 {
			t.Errorf("another task of the team waited %v for one that does not run", other.Duration())
		}
		position, done, err := o.Estimate(t.Context(), m)
		if err != nil || position != 1 || time.Until(done) <= 30*time.Second {
			t.Errorf("position %d, done in %v, %v", position, time.Until(done), err)
		}
	})
}

// A wish to cancel may come at any moment of a task that is handed back: while it runs, while
// the hand-back is stored, after it. It is never forgotten.
func TestACancelThatMeetsAHandBack(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration // of the cancel
	}{
		{"before the turn fails", 999 * time.Millisecond},
		{"while the hand-back is being stored", 1500 * time.Millisecond},
		{"after the hand-back was stored, before anybody heard of it", 2500 * time.Millisecond},
		{"while it waits for its next attempt", 4 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				idle := open(t, t.TempDir(), false)
				log := slog.New(slog.DiscardHandler)
				b := bus.New(idle.db, log)
				defer b.Close()
				d := dispatch.New(dispatch.Config{
					MaxAttempts: func() int { return 3 },
					Backoff:     func() time.Duration { return time.Hour },
				}, teams{}, slowReturns{idle.db}, b, &stumbler{}, deaf{}, log)
				m, err := d.Submit(t.Context(), task("hello"))
				if err != nil {
					t.Fatal(err)
				}
				j, _, err := idle.db.Claim(t.Context(), iris.Claim{Lease: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				var all sync.WaitGroup
				defer all.Wait()
				all.Go(func() { d.Run(t.Context(), j, reasons) })
				time.Sleep(tt.after)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				got, err := d.Cancel(ctx, m.ID)
				if err != nil || got.Status != iris.StatusCancelled {
					t.Errorf("it is %s, %v", got.Status, err)
				}
			})
		})
	}
}

// stumbler fails each turn after a second, whatever its context says.
type stumbler struct{ actor }

func (*stumbler) Turn(context.Context, iris.Turn) (iris.Result, error) {
	time.Sleep(time.Second)
	return iris.Result{}, &iris.Error{Code: iris.CodeProcess, Message: "it died", Retry: true}
}

// slowReturns takes a second to store a hand-back, and another to say so.
type slowReturns struct{ *store.DB }

func (s slowReturns) Return(ctx context.Context, j iris.Job, did *iris.Metadata, runAt time.Time) error {
	time.Sleep(time.Second)
	err := s.DB.Return(ctx, j, did, runAt)
	time.Sleep(time.Second)
	return err
}

// deaf is a queue that nobody serves.
type deaf struct{}

func (deaf) Wake() {}

func TestAFullQueueSaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		most := 3
		o.db.Bound(func() int { return most })
		full := func() *iris.Error {
			t.Helper()
			_, err := o.Submit(t.Context(), task("hello"))
			e, ok := errors.AsType[*iris.Error](err)
			if !ok || e.Code != iris.CodeQueueFull {
				t.Fatalf("got %v, want QUEUE_FULL", err)
			}
			return e
		}
		slow := func(n int) iris.Ask {
			a := task("slow")
			a.NoDedupe = true
			return a
		}
		submit(t, o, slow(0))
		synctest.Wait() // it runs, and each of the others waits
		for i := range 3 {
			submit(t, o, slow(i))
		}
		if e := full(); time.Until(e.RetryAt) != 5*time.Second {
			t.Errorf("with nothing to go by, it is to be tried in %v", time.Until(e.RetryAt))
		}
		same := slow(0)
		same.NoDedupe = false
		if _, err := o.Submit(t.Context(), same); iris.CodeOf(err) != iris.CodeQueueFull {
			t.Errorf("got %v", err)
		}
		time.Sleep(2*time.Minute + 30*time.Second) // two are over
		synctest.Wait()
		submit(t, o, slow(4))
		submit(t, o, slow(5))
		if e := full(); time.Until(e.RetryAt) != 30*time.Second {
			t.Errorf("with one a minute, half a minute after the last, it is to be tried in %v", time.Until(e.RetryAt))
		}
		most = 4
		submit(t, o, slow(6))
		full()

		time.Sleep(5 * time.Hour) // all are over, and nobody asks for a while
		synctest.Wait()
		most = 2
		submit(t, o, slow(7))
		synctest.Wait()
		submit(t, o, slow(8))
		submit(t, o, slow(9))
		time.Sleep(time.Minute)
		synctest.Wait() // one is over
		submit(t, o, slow(10))
		if e := full(); time.Until(e.RetryAt) != time.Minute {
			t.Errorf("with one a minute after hours of rest, it is to be tried in %v", time.Until(e.RetryAt))
		}
	})
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

// bubble runs a test with an empty record where time is the test's own.
func bubble(t *testing.T, test func(t *testing.T, db *store.DB)) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := open(t)
		test(t, db)
	})
}

func TestClaimGivesTheJobToOneWorkerAndSaysSo(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		m := accept(t, db, ask("api", ci, task, with(iris.PriorityHigh)))
		time.Sleep(time.Second)
		j := mustClaim(t, db, m)
		want := iris.Job{
			ID: m.JobID(), Kind: iris.JobTurn, MessageID: m.ID, Team: "api", SessionID: m.SessionID, Task: true,
			Priority: iris.PriorityHigh, Attempt: 1, LeaseEnds: time.Now().Add(time.Minute).UTC(),
		}
		if j != want {
			t.Errorf("claimed %+v, want %+v", j, want)
		}
		got, err := db.Message(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.Status != iris.StatusProcessing || got.Attempts != 1 || !got.StartedAt.Equal(time.Now()) {
			t.Errorf("its message is %s, attempts %d, started %v", got.Status, got.Attempts, got.StartedAt)
		}
		if j, ok := claim(t, db); ok {
			t.Errorf("claimed %s a second time", j.ID)
		}
	})
}

func TestClaimOrder(t *testing.T) {
	low, high := with(iris.PriorityLow), with(iris.PriorityHigh)
	type put struct {
		name  string
		after time.Duration // since the one before
		as    func(*iris.Message)
	}
	tests := []struct {
		name string
		puts []put
		want string
	}{
		{"first come, first served", []put{{"a", 0, nil}, {"b", time.Second, nil}, {"c", time.Second, nil}}, "abc"},
		{"of one millisecond, the first accepted", []put{{"a", 0, nil}, {"b", 0, nil}, {"c", 0, nil}}, "abc"},
		{"high before normal before low", []put{{"a", 0, low}, {"b", time.Second, nil}, {"c", time.Second, high}}, "cba"},
		{"a low one that has waited ten minutes longer comes before a normal one", []put{{"a", 0, low}, {"b", 10*time.Minute + time.Second, nil}}, "ab"},
		{"a normal one that has waited an hour longer comes before a high one", []put{{"a", 0, nil}, {"b", 61 * time.Minute, high}}, "ab"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, db *store.DB) {
				names := map[string]string{}
				for _, p := range tt.puts {
					time.Sleep(p.after)
					m := ask("api", local)
					if p.as != nil {
						p.as(&m)
					}
					names[accept(t, db, m).ID] = p.name
				}
				got := ""
				for j, ok := claim(t, db); ok; j, ok = claim(t, db) {
					got += names[j.MessageID]
				}
				if got != tt.want {
					t.Errorf("claimed in the order %s, want %s", got, tt.want)
				}
			})
		})
	}
}

func TestClaimKeepsToTheLimits(t *testing.T) {
	db, _ := open(t)
	a1 := accept(t, db, ask("a", local, task))
	a2 := accept(t, db, ask("a", local))
	b1 := accept(t, db, ask("b", local, task))
	steps := []struct {
		name string
		c    iris.Claim
		want string // message id, empty for none
	}{
		{"of a full team nothing is taken", iris.Claim{FullTeams: []string{"a", "b"}}, ""},
		{"a team is full only by its whole name", iris.Claim{FullTeams: []string{"aa", "ab", ","}, FullTasks: []string{"a", "b"}}, a2.ID},
		{"of a team full of tasks no task is taken", iris.Claim{FullTasks: []string{"a"}}, b1.ID},
		{"the rest is taken when there is room", iris.Claim{}, a1.ID},
		{"then there is none", iris.Claim{}, ""},
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			j, _, err := db.Claim(t.Context(), s.c)
			if err != nil || j.MessageID != s.want {
				t.Errorf("claimed %q (%v), want %q", j.MessageID, err, s.want)
			}
		})
	}
}

func TestASessionHasOneTurnAtATime(t *testing.T) {
	db, _ := open(t)
	first := accept(t, db, ask("api", ci, named("pr-1")))
	second := accept(t, db, ask("api", ci, named("pr-1")))
	urgent := accept(t, db, ask("api", ci, named("pr-1"), with(iris.PriorityHigh)))
	other := accept(t, db, ask("api", ci, named("pr-2")))
	j := mustClaim(t, db, urgent)
	mustClaim(t, db, other)
	if j, ok := claim(t, db); ok {
		t.Fatalf("claimed %s while its session is busy", j.MessageID)
	}
	finish(t, db, urgent, j.Attempt)
	finish(t, db, first, 0) // cancelled while it waits
	mustClaim(t, db, second)
}

func TestATaskThatHasToWaitForATaskHoldsUpNoAskOfItsSession(t *testing.T) {
	db, _ := open(t)
	mustClaim(t, db, accept(t, db, ask("api", ci, task)))
	accept(t, db, ask("api", ci, named("pr-1"), task))
	question := accept(t, db, ask("api", ci, named("pr-1")))
	j, ok, err := db.Claim(t.Context(), iris.Claim{FullTasks: []string{"api"}})
	if err != nil || !ok || j.MessageID != question.ID {
		t.Errorf("claimed %q (%v), want the ask", j.MessageID, err)
	}
}

func TestAJobThatWaitsForItsTimeHoldsUpNoOtherOfItsSession(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		late := accept(t, db, ask("api", ci, named("pr-1")))
		if err := db.Return(t.Context(), mustClaim(t, db, late), nil, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		soon := accept(t, db, ask("api", ci, named("pr-1")))
		finish(t, db, soon, mustClaim(t, db, soon).Attempt)
		if _, ok := claim(t, db); ok {
			t.Error("claimed before its time")
		}
		time.Sleep(time.Hour)
		mustClaim(t, db, late)
	})
}

func TestReturn(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		m := accept(t, db, ask("api", local))
		j := mustClaim(t, db, m)
		younger := accept(t, db, ask("api", local))
		if err := db.Return(t.Context(), j, nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if got, err := db.Message(t.Context(), m.ID); err != nil || got.Status != iris.StatusQueued {
			t.Errorf("the message is %s (%v), want queued", got.Status, err)
		}
		if err := db.Return(t.Context(), j, nil, time.Time{}); !errors.Is(err, iris.ErrFinal) {
			t.Errorf("a second return gave %v, want ErrFinal", err)
		}
		done, last := completed(m, 2)
		if err := db.Finish(t.Context(), done, j.Attempt, last); !errors.Is(err, iris.ErrFinal) {
			t.Errorf("an end under the attempt that was returned gave %v, want ErrFinal", err)
		}
		again := mustClaim(t, db, m) // in its old place
		if again.Attempt != 2 {
			t.Errorf("attempt %d, want 2", again.Attempt)
		}
		if err := db.Return(t.Context(), j, nil, time.Time{}); !errors.Is(err, iris.ErrFinal) {
			t.Errorf("the older attempt's return gave %v, want ErrFinal", err)
		}
		mustClaim(t, db, younger)
	})
}

func TestRenewWorksWhileTheLeaseIsHeld(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		m := accept(t, db, ask("api", local))
		j := mustClaim(t, db, m)
		until := time.Now().Add(time.Hour)
		if err := db.Renew(t.Context(), j, until); err != nil {
			t.Fatal(err)
		}
		lost, err := db.Lost(t.Context())
		if err != nil || len(lost) != 1 || !lost[0].LeaseEnds.Equal(until) {
			t.Errorf("the running jobs are %+v (%v), want one until %v", lost, err, until)
		}
		if err := db.Return(t.Context(), j, nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
		mustClaim(t, db, m)
		if err := db.Renew(t.Context(), j, until); !errors.Is(err, iris.ErrFinal) {
			t.Errorf("the older attempt's renewal gave %v, want ErrFinal", err)
		}
	})
}

func TestNextRun(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		next := func() string {
			t.Helper()
			at, ok, err := db.NextRun(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				return "none"
			}
			return time.Until(at).String()
		}
		m := accept(t, db, ask("api", local))
		if got := next(); got != "none" {
			t.Errorf("with a job that is due, the next run is %s", got)
		}
		if err := db.Return(t.Context(), mustClaim(t, db, m), nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		if got := next(); got != "none" {
			t.Errorf("with a job that was returned to run at once, the next run is %s", got)
		}
		if err := db.Return(t.Context(), mustClaim(t, db, m), nil, time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		later := accept(t, db, ask("web", local))
		if err := db.Return(t.Context(), mustClaim(t, db, later), nil, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if got := next(); got != "1m0s" {
			t.Errorf("the next run is in %s, want 1m", got)
		}
		time.Sleep(2 * time.Minute)
		if got := next(); got != "-1m0s" {
			t.Errorf("while nobody has looked, the next run is in %s, want -1m", got)
		}
		if j, ok := claim(t, db, "api"); ok {
			t.Fatalf("claimed %s of a full team", j.ID)
		}
		if got := next(); got != "58m0s" {
			t.Errorf("when only a limit holds the first back, the next run is in %s, want 58m", got)
		}
	})
}

func TestLostAreTheRunningJobsOfTheLastOwner(t *testing.T) {
	db, path := open(t)
	running := []iris.Message{accept(t, db, ask("api", local)), accept(t, db, ask("web", local, task))}
	accept(t, db, ask("api", local))
	for _, m := range running {
		mustClaim(t, db, m)
	}
	db = reopen(t, path)
	lost, err := db.Lost(t.Context())
	if err != nil || len(lost) != 2 {
		t.Fatalf("lost %+v (%v), want two", lost, err)
	}
	for i, j := range lost {
		if j.MessageID != running[i].ID || j.Task != running[i].Task || j.Attempt != 1 {
			t.Errorf("lost %+v, want %s", j, running[i].ID)
		}
	}
	if err := db.Return(t.Context(), lost[1], nil, time.Time{}); err != nil {
		t.Error(err)
	}
	finish(t, db, running[0], lost[0].Attempt)
}

func TestPositionAndBacklog(t *testing.T) {
	db, _ := open(t)
	now := time.Now()
	one := accept(t, db, ask("api", local, at(now)))
	two := accept(t, db, ask("api", local, at(now)))
	urgent := accept(t, db, ask("api", ci, with(iris.PriorityHigh)))
	other := accept(t, db, ask("web", local))
	check := func(backlog iris.Backlog, positions map[string]int) {
		t.Helper()
		if got, err := db.Backlog(t.Context(), "api"); err != nil || got != backlog {
			t.Errorf("the backlog is %+v (%v), want %+v", got, err, backlog)
		}
		for _, m := range []iris.Message{one, two, urgent, other} {
			if got, _, err := db.Position(t.Context(), m); err != nil || got != positions[m.ID] {
				t.Errorf("the position is %d (%v), want %d", got, err, positions[m.ID])
			}
		}
	}
	check(iris.Backlog{Waiting: 3}, map[string]int{urgent.ID: 1, one.ID: 2, two.ID: 3, other.ID: 1})
	j := mustClaim(t, db, urgent)
	check(iris.Backlog{Waiting: 2, Running: 1}, map[string]int{one.ID: 1, two.ID: 2, other.ID: 1})
	finish(t, db, urgent, j.Attempt)
	finish(t, db, one, 0)
	check(iris.Backlog{Waiting: 1}, map[string]int{two.ID: 1, other.ID: 1})
}

func TestConcurrentClaimsTakeEachJobOnce(t *testing.T) {
	db, _ := open(t)
	const jobs, workers = 200, 8
	for i := range jobs {
		accept(t, db, ask(fmt.Sprint("team", i%3), local))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := map[string]int{}
	for range workers {
		wg.Go(func() {
			for {
				j, ok, err := db.Claim(t.Context(), iris.Claim{Worker: "w", Lease: time.Minute})
				if err != nil {
					t.Error(err)
				}
				if !ok {
					return
				}
				mu.Lock()
				taken[j.MessageID]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for id, n := range taken {
		if n != 1 {
			t.Errorf("%s was claimed %d times", id, n)
		}
	}
	if len(taken) != jobs {
		t.Errorf("%d jobs were claimed, want %d", len(taken), jobs)
	}
}

// A queue in memory that is too simple to be wrong runs beside the store, and both are asked
// for the same.
func TestClaimAgreesWithASimpleQueue(t *testing.T) {
	type entry struct {
		m       iris.Message
		running bool
		job     iris.Job
		runAt   time.Time
	}
	weight := map[iris.Priority]time.Duration{iris.PriorityNormal: 10 * time.Minute, iris.PriorityHigh: time.Hour}
	place := func(e *entry) time.Time { return e.m.CreatedAt.Add(-weight[e.m.Priority]) }
	for _, delays := range []bool{false, true} {
		t.Run(fmt.Sprintf("delays %v", delays), func(t *testing.T) {
			for seed := range uint64(4) {
				bubble(t, func(t *testing.T, db *store.DB) {
					rng := rand.New(rand.NewPCG(seed, 1))
					var queue []*entry
					pick := func(running bool) *entry {
						var of []*entry
						for _, e := range queue {
							if e.running == running {
								of = append(of, e)
							}
						}
						if len(of) == 0 {
							return nil
						}
						return of[rng.IntN(len(of))]
					}
					drop := func(e *entry) { queue = slices.DeleteFunc(queue, func(o *entry) bool { return o == e }) }
					for step := range 150 {
						time.Sleep(time.Duration(rng.IntN(90)) * time.Second)
						switch op := rng.IntN(10); {
						case op < 4:
							m := ask([]string{"a", "b"}[rng.IntN(2)], local, named([]string{"x", "y", "z"}[rng.IntN(3)]), with(iris.Priority(1+rng.IntN(3))))
							m.Task = rng.IntN(2) == 0
							queue = append(queue, &entry{m: accept(t, db, m)})
						case op < 7:
							var c iris.Claim
							if rng.IntN(3) == 0 {
								c.FullTeams = []string{"a"}
							}
							if rng.IntN(2) == 0 {
								c.FullTasks = []string{"a", "b"}[:1+rng.IntN(2)]
							}
							var fit []*entry
							for _, e := range queue {
								busy := slices.ContainsFunc(queue, func(o *entry) bool { return o.running && o.m.SessionID == e.m.SessionID })
								if !e.running && !busy && !e.runAt.After(time.Now()) && !slices.Contains(c.FullTeams, e.m.Team) && !(e.m.Task && slices.Contains(c.FullTasks, e.m.Team)) {
									fit = append(fit, e)
								}
							}
							slices.SortFunc(fit, func(x, y *entry) int { return place(x).Compare(place(y)) })
							j, ok, err := db.Claim(t.Context(), c)
							if err != nil || ok != (len(fit) > 0) {
								t.Fatalf("seed %d, step %d: claim gave %v, %v, and %d would do", seed, step, ok, err, len(fit))
							}
							if !ok {
								break
							}
							i := slices.IndexFunc(fit, func(e *entry) bool { return e.m.ID == j.MessageID })
							if i < 0 || i > 0 && !delays && place(fit[i]).After(place(fit[0])) {
								t.Fatalf("seed %d, step %d: claimed number %d of %d", seed, step, i, len(fit))
							}
							fit[i].running, fit[i].job = true, j
						case op < 8:
							if e := pick(true); e != nil {
								finish(t, db, e.m, e.job.Attempt)
								drop(e)
							}
						case op < 9:
							if e := pick(true); e != nil {
								e.running = false
								if delays {
									e.runAt = time.Now().Add(time.Duration(rng.IntN(300)) * time.Second)
								}
								if err := db.Return(t.Context(), e.job, nil, e.runAt); err != nil {
									t.Fatal(err)
								}
							}
						default:
							if e := pick(false); e != nil {
								finish(t, db, e.m, 0)
								drop(e)
							}
						}
					}
				})
			}
		})
	}
}

// One message, and everybody wants to end it in another way at once.
func TestExactlyOneEndWins(t *testing.T) {
	db, _ := open(t)
	for range 50 {
		m := accept(t, db, ask("api", local))
		first := mustClaim(t, db, m)
		if err := db.Return(t.Context(), first, nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
		end := func(status iris.Status, kind iris.EventKind) (iris.Message, iris.Event) {
			m := m
			m.Status, m.CompletedAt = status, time.Now()
			return m, iris.Event{MessageID: m.ID, Seq: 2, At: m.CompletedAt, Kind: kind}
		}
		var won, lost atomic.Int32
		var by sync.Map
		try := func(name string, do func(context.Context) error) func() {
			return func() {
				switch err := do(t.Context()); {
				case err == nil:
					won.Add(1)
					by.Store(name, true)
				case errors.Is(err, iris.ErrFinal):
					lost.Add(1)
				default:
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		var wg sync.WaitGroup
		wg.Go(try("cancelled", func(ctx context.Context) error {
			m, last := end(iris.StatusCancelled, iris.EventError)
			return db.Finish(ctx, m, 0, last)
		}))
		wg.Go(try("failed", func(ctx context.Context) error { // the older attempt never wins
			m, last := end(iris.StatusFailed, iris.EventError)
			return db.Finish(ctx, m, first.Attempt, last)
		}))
		wg.Go(func() {
			j, ok, err := db.Claim(t.Context(), iris.Claim{Lease: time.Minute})
			if err != nil {
				t.Error(err)
			}
			if !ok { // cancelled before
				lost.Add(1)
				return
			}
			try("completed", func(ctx context.Context) error {
				m, last := end(iris.StatusCompleted, iris.EventComplete)
				return db.Finish(ctx, m, j.Attempt, last)
			})()
		})
		wg.Wait()
		if won.Load() != 1 || lost.Load() != 2 {
			t.Fatalf("%d won and %d lost, want 1 and 2", won.Load(), lost.Load())
		}
		got, err := db.Message(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := by.Load(string(got.Status)); !ok || got.Status == iris.StatusFailed {
			t.Errorf("the message is %s, and that one did not win", got.Status)
		}
		events, err := db.Events(t.Context(), m.ID, 0, 10)
		if err != nil || len(events) != 2 || !events[1].Last() {
			t.Errorf("its events are %+v (%v), want start and one last", events, err)
		}
	}
}

package queuetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

func (s *suite) claimed(t *testing.T) {
	db := s.open(t)
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
}

func (s *suite) returned(t *testing.T) {
	db := s.open(t)
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
}

func (s *suite) renewed(t *testing.T) {
	db := s.open(t)
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
}

func (s *suite) nextRun(t *testing.T) {
	db := s.open(t)
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
}

func (s *suite) lost(t *testing.T) {
	db := s.open(t)
	running := []iris.Message{accept(t, db, ask("api", local)), accept(t, db, ask("web", local, task))}
	accept(t, db, ask("api", local))
	for _, m := range running {
		mustClaim(t, db, m)
	}
	db = s.reopen(t)
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

func (s *suite) concurrentClaims(t *testing.T) {
	db := s.open(t)
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

// One message, and everybody wants to end it in another way at once.
func (s *suite) oneEnd(t *testing.T) {
	db := s.open(t)
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

func (s *suite) bound(t *testing.T) {
	db := s.open(t)
	most := 2
	db.Bound(func() int { return most })
	fits := func(want bool, when string) {
		t.Helper()
		_, _, err := db.Accept(t.Context(), ask("api", local), true, "")
		if err != nil && iris.CodeOf(err) != iris.CodeQueueFull || (err == nil) != want {
			t.Errorf("%s: %v, want room: %v", when, err, want)
		}
	}
	first := accept(t, db, ask("api", local))
	second := accept(t, db, ask("api", local))
	fits(false, "when as many wait as may")
	if _, _, err := db.Accept(t.Context(), ask("api", local, in("ses_of_nobody")), true, ""); iris.CodeOf(err) != iris.CodeQueueFull {
		t.Errorf("got %v", err)
	}
	j := mustClaim(t, db, first)
	fits(true, "when one of them runs")
	if err := db.Return(t.Context(), j, nil, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	most = 4
	fits(true, "when more may wait")
	fits(false, "when one came back")
	finish(t, db, second, 0)
	fits(true, "when one was cancelled")
	fits(false, "then")
	if _, _, err := db.Accept(t.Context(), ask("api", ci, in("ses_of_nobody")), true, ""); err == nil {
		t.Error("a session of nobody was taken")
	}
	db = s.reopen(t)
	db.Bound(func() int { return most })
	fits(false, "after a restart")
	finish(t, db, first, 0)
	fits(true, "then, when there is room")
}

func (s *suite) same(t *testing.T) {
	db := s.open(t)
	put := func(hash string) (iris.Message, bool) {
		t.Helper()
		m, created, err := db.Accept(t.Context(), ask("api", ci, task), true, hash)
		if err != nil {
			t.Fatal(err)
		}
		return m, created
	}
	first, _ := put("h")
	check := func(when string, want bool) iris.Message {
		t.Helper()
		m, created := put("h")
		if created != want || !want && (m.ID != first.ID || m.SessionID != first.SessionID) {
			t.Errorf("%s: created %v, message %s", when, created, m.ID)
		}
		return m
	}
	check("while it waits", false)
	if _, created := put("other"); !created {
		t.Error("another hash is another job")
	}
	for range 2 {
		if _, created := put(""); !created {
			t.Error("no hash is never the same")
		}
	}
	j := mustClaim(t, db, first)
	if m := check("while it runs", false); m.Status != iris.StatusProcessing {
		t.Errorf("it comes back %s, want processing", m.Status)
	}
	sessions, err := db.SessionCount(t.Context(), "api")
	if err != nil || sessions != 4 {
		t.Errorf("%d sessions (%v), want one for each job", sessions, err)
	}
	finish(t, db, first, j.Attempt)
	check("when it is done", true)
}

func (s *suite) concurrentSame(t *testing.T) {
	db := s.open(t)
	var wg sync.WaitGroup
	var made atomic.Int32
	var ids sync.Map
	for range 20 {
		wg.Go(func() {
			m, created, err := db.Accept(t.Context(), ask("api", ci, task), true, "h")
			if err != nil {
				t.Error(err)
			}
			if created {
				made.Add(1)
			}
			ids.Store(m.ID, true)
		})
	}
	wg.Wait()
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	if made.Load() != 1 || n != 1 {
		t.Errorf("%d made, %d ids, want one", made.Load(), n)
	}
}

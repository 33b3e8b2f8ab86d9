package dispatch_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

func estimate(t *testing.T, o *office, id string) (int, time.Time) {
	t.Helper()
	m, err := o.db.Message(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	position, done, err := o.Estimate(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if !done.IsZero() && done.Before(time.Now()) {
		t.Errorf("%s was done in the past, %v ago", id, time.Since(done))
	}
	return position, done
}

// TestAnEstimateComesTrue: where every turn takes a minute, each message begins as it was said
// and ends when it was said, whatever sessions, priorities, tasks and questions there are.
func TestAnEstimateComesTrue(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 1))
				o := open(t, t.TempDir(), true)
				wait(t, o, submit(t, o, ask("slow")).ID)
				var all []string
				for range 30 {
					// A task and a question of one session may end in one moment with something
					// else; which is first then, and so which of them is next, nobody can say.
					a := ask("slow")
					a.SessionID = []string{"", "", "a", "b"}[r.IntN(4)]
					if r.IntN(3) == 0 {
						a = task("slow")
						a.SessionID, a.NoDedupe = []string{"", "t"}[r.IntN(2)], true
					}
					a.Priority = iris.Priority(1 + r.IntN(3))
					all = append(all, submit(t, o, a).ID)
					time.Sleep(time.Duration(1+r.IntN(10_000)) * time.Millisecond)
				}
				time.Sleep(time.Duration(r.IntN(60)) * time.Second)
				synctest.Wait()
				positions, ends := map[string]int{}, map[string]time.Time{}
				var waiting []string
				for _, id := range all {
					if position, done := estimate(t, o, id); !done.IsZero() {
						positions[id], ends[id] = position, done
						if position > 0 {
							waiting = append(waiting, id)
						}
					}
				}
				began := map[string]time.Time{}
				for id, end := range ends {
					m := wait(t, o, id)
					if off := m.CompletedAt.Sub(end).Abs(); off > 100*time.Millisecond {
						t.Errorf("position %d, task %v: ended %v from when it was said", positions[id], m.Task, off)
					}
					began[id] = m.StartedAt
				}
				if len(waiting) < 5 {
					t.Fatalf("only %d waited", len(waiting))
				}
				slices.SortFunc(waiting, func(a, b string) int { return positions[a] - positions[b] })
				for i, id := range waiting {
					if positions[id] != i+1 {
						t.Errorf("position %d is that of message %d", positions[id], i+1)
					}
					if i > 0 && began[id].Before(began[waiting[i-1]]) {
						t.Errorf("position %d began before the one before it", i+1)
					}
				}
			})
		})
	}
}

func TestAnEstimateNeedsExperience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		first, second := task("slow"), task("slow")
		second.NoDedupe = true
		a, b := submit(t, o, first), submit(t, o, second)
		synctest.Wait()
		for id, want := range map[string]int{a.ID: 0, b.ID: 1} {
			if position, done := estimate(t, o, id); position != want || !done.IsZero() {
				t.Errorf("position %d, want %d; done at %v", position, want, done)
			}
		}
		wait(t, o, b.ID)
		if position, done := estimate(t, o, b.ID); position != 0 || !done.IsZero() {
			t.Errorf("when it is over: %d, %v", position, done)
		}
	})
}

// TestTasksAndQuestionsTakeTheirOwnTime, and a turn that is late is not said to have ended.
func TestTasksAndQuestionsTakeTheirOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		wait(t, o, submit(t, o, task("slow")).ID) // a minute
		wait(t, o, submit(t, o, ask("hello")).ID) // nothing
		asked, tasked := submit(t, o, ask("slow")), submit(t, o, task("slow"))
		synctest.Wait()
		if _, done := estimate(t, o, asked.ID); time.Until(done) > time.Second {
			t.Errorf("a question is said to take %v", time.Until(done))
		}
		if _, done := estimate(t, o, tasked.ID); time.Until(done).Round(time.Second) != time.Minute {
			t.Errorf("a task is said to take %v", time.Until(done))
		}
		for range 5 {
			time.Sleep(10 * time.Second)
			estimate(t, o, asked.ID)
		}
	})
}

// TestALongLineIsReckoned: what stands far back is not played through, and its time is near
// what it would be.
func TestALongLineIsReckoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		wait(t, o, submit(t, o, task("slow")).ID)
		var last iris.Message
		for i := range 400 {
			a := task("slow")
			a.SessionID = strings.Repeat("s", 1+i%5)
			a.NoDedupe = true
			last = submit(t, o, a)
		}
		synctest.Wait()
		position, done := estimate(t, o, last.ID)
		if left := time.Until(done); position != 399 || left < 395*time.Minute || left > 405*time.Minute {
			t.Errorf("position %d, done in %v", position, left)
		}
	})
}

package queuetest

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

func (s *suite) order(t *testing.T) {
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
		db := s.open(t)
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
			t.Errorf("%s: claimed in the order %s, want %s", tt.name, got, tt.want)
		}
	}
}

func (s *suite) limits(t *testing.T) {
	db := s.open(t)
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
	for _, step := range steps {
		j, _, err := db.Claim(t.Context(), step.c)
		if err != nil || j.MessageID != step.want {
			t.Errorf("%s: claimed %q (%v), want %q", step.name, j.MessageID, err, step.want)
		}
	}
}

func (s *suite) session(t *testing.T) {
	db := s.open(t)
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

func (s *suite) heldTask(t *testing.T) {
	db := s.open(t)
	mustClaim(t, db, accept(t, db, ask("api", ci, task)))
	accept(t, db, ask("api", ci, named("pr-1"), task))
	question := accept(t, db, ask("api", ci, named("pr-1")))
	j, ok, err := db.Claim(t.Context(), iris.Claim{FullTasks: []string{"api"}})
	if err != nil || !ok || j.MessageID != question.ID {
		t.Errorf("claimed %q (%v), want the ask", j.MessageID, err)
	}
}

func (s *suite) heldTime(t *testing.T) {
	db := s.open(t)
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
}

func (s *suite) position(t *testing.T) {
	db := s.open(t)
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

// A queue in memory that is too simple to be wrong runs beside the store, and both are asked
// for the same.
func (s *suite) agrees(t *testing.T) {
	type entry struct {
		m       iris.Message
		running bool
		job     iris.Job
		runAt   time.Time
	}
	weight := map[iris.Priority]time.Duration{iris.PriorityNormal: 10 * time.Minute, iris.PriorityHigh: time.Hour}
	place := func(e *entry) time.Time { return e.m.CreatedAt.Add(-weight[e.m.Priority]) }
	for _, delays := range []bool{false, true} {
		for seed := range uint64(4) {
			db := s.open(t)
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
		}
	}
}

func (s *suite) due(t *testing.T) {
	db := s.open(t)
	var all []iris.Message
	for _, pause := range []time.Duration{time.Hour, time.Minute, 0, 0} {
		m := accept(t, db, ask("api", local))
		if all = append(all, m); pause > 0 {
			if err := db.Return(t.Context(), mustClaim(t, db, m), nil, time.Now().Add(pause)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, want := range [][]int{{4, 3, 1, 2}, {4, 1, 2, 3}} {
		for i, m := range all {
			if n, _, err := db.Position(t.Context(), m); err != nil || n != want[i] {
				t.Errorf("message %d is at %d (%v), want %d", i, n, err, want[i])
			}
		}
		time.Sleep(2 * time.Minute) // the second is due now, and of older rank
	}
	if _, at, _ := db.Position(t.Context(), all[0]); time.Until(at) != 56*time.Minute {
		t.Errorf("the first waits until %v", at)
	}
}

// An endless stream of high ones runs one at a time, each accepted before the last is over.
func (s *suite) starves(t *testing.T) {
	db := s.open(t)
	low := accept(t, db, ask("api", local, with(iris.PriorityLow)))
	const each = 5 * time.Minute
	waited := time.Duration(0)
	for accept(t, db, ask("api", local, with(iris.PriorityHigh))); ; {
		accept(t, db, ask("api", local, with(iris.PriorityHigh)))
		j, _ := claim(t, db)
		if j.MessageID == low.ID {
			break
		}
		if waited += each; waited > 2*time.Hour {
			t.Fatalf("after %v the low one still waits", waited)
		}
		time.Sleep(each)
		finish(t, db, iris.Message{ID: j.MessageID}, j.Attempt)
	}
	if waited < time.Hour {
		t.Errorf("the low one ran after %v, before high ones that had waited as long as that", waited)
	}
}

func (s *suite) tenAndTen(t *testing.T) {
	db := s.open(t)
	running := accept(t, db, ask("api", local))
	j := mustClaim(t, db, running)
	full := iris.Claim{FullTeams: []string{"api"}}
	var want []string
	put := func(p iris.Priority) (ids []string) {
		for range 10 {
			ids = append(ids, accept(t, db, ask("api", local, with(p))).ID)
			if _, ok, err := db.Claim(t.Context(), full); ok || err != nil {
				t.Fatalf("claimed %v beside the running one, %v", ok, err)
			}
			time.Sleep(time.Second)
		}
		return ids
	}
	low := put(iris.PriorityLow)
	want = append(put(iris.PriorityHigh), low...)
	for i, id := range want {
		if n, _, err := db.Position(t.Context(), iris.Message{ID: id}); err != nil || n != i+1 {
			t.Errorf("number %d is said to be at %d (%v)", i+1, n, err)
		}
	}
	finish(t, db, running, j.Attempt)
	for i, id := range want {
		if j, _ := claim(t, db); j.MessageID != id {
			t.Fatalf("number %d was %s, want %s", i+1, j.MessageID, id)
		}
	}
}

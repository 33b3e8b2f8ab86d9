// Package limittest is what every backend of the limits must do.
package limittest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// Limiter is what is tested.
type Limiter interface {
	Take(ctx context.Context, who string, l iris.Limit) (iris.Allowance, error)
}

// Backend makes limiters that remember nothing yet.
type Backend struct {
	New  func(t *testing.T) Limiter
	In   func(*testing.T, func(*testing.T)) // runs a test where Pass holds
	Pass func(d time.Duration)              // lets time pass for them; it need not take any
	Size func(Limiter) int                  // how many callers something is remembered of
}

// Run plays everything, each on a limiter of its own. Where time is real it takes none, but
// what Pass needs.
func Run(t *testing.T, b Backend) {
	for name, test := range map[string]func(*suite){
		"one more than the limit is refused":              refusesOneMore,
		"so many at once are let in, and no more":         countsAtOnce,
		"the window slides":                               slides,
		"no window anywhere has more than the limit":      neverMore,
		"a refused request does not count":                refusedDoesNotCount,
		"without requests there is no limit":              noLimit,
		"each caller has his own":                         apart,
		"another limit holds at once":                     changes,
		"who is let in again is told when, to the moment": tellsWhen,
		"of who stays away nothing is remembered":         forgets,
	} {
		t.Run(name, func(t *testing.T) {
			b.In(t, func(t *testing.T) { test(&suite{t, b, b.New(t)}) })
		})
	}
}

type suite struct {
	*testing.T
	Backend
	l Limiter
}

func (s *suite) take(who string, l iris.Limit) iris.Allowance {
	s.Helper()
	a, err := s.l.Take(s.Context(), who, l)
	if err != nil {
		s.Fatal(err)
	}
	if l.Requests > 0 && (a.Limit != l || a.Remaining < 0 || a.Remaining >= l.Requests || !a.Allowed && a.Remaining != 0) {
		s.Fatalf("%v gives %+v", l, a)
	}
	return a
}

// let takes n, which must all be let in.
func (s *suite) let(n int, who string, l iris.Limit) {
	s.Helper()
	for i := range n {
		if a := s.take(who, l); !a.Allowed {
			s.Fatalf("request %d of %s is refused: %+v", i+1, who, a)
		}
	}
}

func (s *suite) refuse(who string, l iris.Limit) iris.Allowance {
	s.Helper()
	a := s.take(who, l)
	if a.Allowed {
		s.Fatalf("%s is let in: %+v", who, a)
	}
	return a
}

func refusesOneMore(s *suite) {
	l := iris.Limit{Requests: 3, Window: time.Minute}
	for want := 2; want >= 0; want-- {
		if a := s.take("a", l); !a.Allowed || a.Remaining != want {
			s.Fatalf("got %+v, want %d to remain", a, want)
		}
	}
	s.refuse("a", l)
	s.refuse("a", l)
}

func countsAtOnce(s *suite) {
	l := iris.Limit{Requests: 100, Window: time.Hour}
	var allowed atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 20 {
				if a, err := s.l.Take(s.Context(), "a", l); err != nil {
					s.Error(err)
				} else if a.Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if allowed.Load() != 100 {
		s.Errorf("%d of 320 were let in, want 100", allowed.Load())
	}
}

func slides(s *suite) {
	l := iris.Limit{Requests: 2, Window: time.Minute}
	s.let(1, "a", l)
	s.Pass(40 * time.Second)
	s.let(1, "a", l)
	s.Pass(19 * time.Second)
	s.refuse("a", l)
	s.Pass(time.Second) // the first is a minute old
	s.let(1, "a", l)
	s.refuse("a", l)
	s.Pass(40 * time.Second) // and now the second
	s.let(1, "a", l)
	s.refuse("a", l)
}

func neverMore(s *suite) {
	l := iris.Limit{Requests: 5, Window: time.Second}
	var let []time.Duration
	for now := time.Duration(0); now < 10*time.Second; now += 70 * time.Millisecond {
		if s.take("a", l).Allowed {
			let = append(let, now)
		}
		s.Pass(70 * time.Millisecond)
	}
	for i := 5; i < len(let); i++ {
		if let[i]-let[i-5] < l.Window {
			s.Fatalf("six within %v, from %v on", let[i]-let[i-5], let[i-5])
		}
	}
	if len(let) < 45 {
		s.Errorf("only %d were let in within 10 seconds", len(let))
	}
}

func refusedDoesNotCount(s *suite) {
	l := iris.Limit{Requests: 1, Window: time.Minute}
	s.let(1, "a", l)
	for range 59 {
		s.Pass(time.Second)
		s.refuse("a", l)
	}
	s.Pass(time.Second)
	s.let(1, "a", l)
}

func noLimit(s *suite) {
	for range 1000 {
		if a := s.take("a", iris.Limit{}); !a.Allowed || a.Limit != (iris.Limit{}) {
			s.Fatalf("got %+v", a)
		}
	}
	if n := s.Size(s.l); n != 0 {
		s.Errorf("something is remembered of %d callers", n)
	}
}

func apart(s *suite) {
	l := iris.Limit{Requests: 1, Window: time.Minute}
	s.let(1, "key/a", l)
	s.let(1, "key/b", l)
	s.let(1, "key/", l)
	s.refuse("key/a", l)
}

func changes(s *suite) {
	l := iris.Limit{Requests: 10, Window: time.Minute}
	s.let(6, "a", l)
	l.Requests = 5
	s.refuse("a", l)
	l.Requests = 7
	s.let(1, "a", l)
	s.refuse("a", l)
	l.Window = time.Second
	s.Pass(time.Second)
	s.let(7, "a", l)
	s.refuse("a", l)
	s.let(10, "a", iris.Limit{})
	s.refuse("a", l)
}

func tellsWhen(s *suite) {
	l := iris.Limit{Requests: 2, Window: 10 * time.Second}
	s.let(1, "a", l)
	s.Pass(3 * time.Second)
	if a := s.take("a", l); time.Until(a.ResetAt).Round(time.Second) != 10*time.Second {
		s.Errorf("all are there again in %v, want 10s", time.Until(a.ResetAt))
	}
	if a := s.refuse("a", l); time.Until(a.ResetAt).Round(time.Second) != 7*time.Second {
		s.Errorf("the next is let in in %v, want 7s", time.Until(a.ResetAt))
	}
	l.Requests = 1
	if a := s.refuse("a", l); time.Until(a.ResetAt).Round(time.Second) != 10*time.Second {
		s.Errorf("with a smaller limit, in %v, want 10s", time.Until(a.ResetAt))
	}
}

func forgets(s *suite) {
	l := iris.Limit{Requests: 3, Window: 10 * time.Second}
	for i := range 1000 {
		s.let(2, fmt.Sprint("stranger ", i), l)
	}
	if n := s.Size(s.l); n != 1000 {
		s.Fatalf("something is remembered of %d callers, want 1000", n)
	}
	s.Pass(2 * time.Minute)
	s.let(1, "a", l)
	if n := s.Size(s.l); n != 1 {
		s.Errorf("after their time something is remembered of %d callers, want 1", n)
	}
}

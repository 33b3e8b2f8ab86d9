package pool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/pool"
)

// run runs a turn beside the test and gives its end.
func run(t *testing.T, p *pool.Pool, turn iris.Turn) <-chan error {
	t.Helper()
	end := make(chan error, 1)
	go func() {
		_, err := p.Turn(t.Context(), turn)
		end <- err
	}()
	synctest.Wait()
	return end
}

func TestWakeStartsAProcessForTheNextSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &launcher{takes: time.Second}
		p, _ := open(t, l, 10)
		backend := team("backend")
		var started atomic.Int64
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				was := time.Now()
				is, err := p.Wake(t.Context(), backend, true)
				if err != nil || time.Since(was) != time.Second {
					t.Errorf("%v after %v", err, time.Since(was))
				}
				if is {
					started.Add(1)
				}
				for _, pr := range p.Processes("backend") {
					if pr.State != iris.ProcessIdle || pr.Messages != 0 {
						t.Errorf("a process that was woken is %s and has answered %d", pr.State, pr.Messages)
					}
				}
			})
		}
		all.Wait()
		if n := len(l.started()); n != 1 || started.Load() != 1 {
			t.Errorf("%d processes for three who wake the team; %d say that they started one", n, started.Load())
		}
		if is, err := p.Wake(t.Context(), backend, true); is || err != nil {
			t.Errorf("a team that is awake: started %v, %v", is, err)
		}
		was := time.Now()
		if res, err := p.Turn(t.Context(), turn(backend, "s1", "hello")); err != nil || res.Text != "hello by 1" || time.Since(was) > 0 {
			t.Errorf("got %q, %v after %v", res.Text, err, time.Since(was))
		}
	})
}

func TestAWokenTeamFallsAsleepAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := open(t, &launcher{}, 10)
		if _, err := p.Wake(t.Context(), team("backend"), true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Minute)
		if n := len(p.Processes("backend")); n != 1 {
			t.Errorf("%d processes after 9 minutes", n)
		}
		time.Sleep(2 * time.Minute)
		if n := len(p.Processes("backend")); n != 0 {
			t.Errorf("%d processes after 11 minutes", n)
		}
	})
}

func TestWakeSaysWhyItCannot(t *testing.T) {
	late := iris.Errorf(iris.CodeTimeout, "late")
	for _, tt := range []struct {
		name  string
		busy  string // what the pool's one process does
		evict bool
		fails error
		want  iris.Code
	}{
		{"the start fails", "", true, &iris.Error{Code: iris.CodeProcess, Message: "not logged in"}, iris.CodeProcess},
		{"the start fails, without eviction", "", false, &iris.Error{Code: iris.CodeProcess, Message: "not logged in"}, iris.CodeProcess},
		{"no room without eviction", "hello", false, nil, iris.CodeConflict},
		{"room by eviction", "hello", true, nil, ""},
		{"no room in time", "slow", true, nil, iris.CodeTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &launcher{}
				p, _ := open(t, l, 1)
				if tt.busy != "" {
					end := run(t, p, turn(team("other"), "s1", tt.busy))
					defer func() { <-end }()
				}
				if tt.fails != nil {
					l.fails = func(string, bool) error { return tt.fails }
				}
				ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, late)
				defer cancel()
				var code iris.Code
				if _, err := p.Wake(ctx, team("backend"), tt.evict); err != nil {
					code = iris.CodeOf(err)
				}
				if code != tt.want {
					t.Errorf("got %q, want %q", code, tt.want)
				}
			})
		})
	}
}

func TestAStartOutlivesWhoWantedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := open(t, &launcher{takes: time.Second}, 10)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if started, err := p.Wake(ctx, team("backend"), true); !started || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("started %v, %v", started, err)
		}
		time.Sleep(time.Second)
		if list := p.Processes("backend"); len(list) != 1 || list[0].State != iris.ProcessIdle {
			t.Errorf("left is %+v", list)
		}
	})
}

func TestSleep(t *testing.T) {
	for _, tt := range []struct {
		name  string
		force bool
		slept iris.Slept
		after time.Duration // until all processes of the team are gone
		fails bool          // the turn that ran
	}{
		{"busy processes finish their turn", false, iris.Slept{Ended: 2, Finishing: 1}, 1050 * time.Millisecond, false},
		{"or do not", true, iris.Slept{Ended: 3}, 100 * time.Millisecond, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &launcher{}
				backend := team("backend")
				backend.Warm = 1
				p, _ := open(t, l, 10, backend, team("other"))
				stop := serve(t, p)
				defer stop()
				if _, err := p.Turn(t.Context(), turn(team("other"), "s0", "hello")); err != nil {
					t.Fatal(err)
				}
				if _, err := p.Turn(t.Context(), turn(backend, "s1", "hello")); err != nil {
					t.Fatal(err)
				}
				end := run(t, p, turn(backend, "s2", "slow"))
				time.Sleep(50 * time.Millisecond) // there is a spare again
				began := time.Now()
				slept, err := p.Sleep(t.Context(), "backend", tt.force)
				if err != nil || slept != tt.slept {
					t.Errorf("got %+v, %v, want %+v", slept, err, tt.slept)
				}
				if took := time.Since(began); took != 100*time.Millisecond {
					t.Errorf("it returned after %v, and an end takes 100 ms", took)
				}
				switch err := <-end; {
				case tt.fails != (err != nil):
					t.Errorf("the turn that ran: %v", err)
				case err != nil:
					if e := iris.AsError(err); e.Code != iris.CodeProcess || e.Retry || !strings.Contains(e.Message, "put to sleep") {
						t.Errorf("the turn that ran: %+v", e)
					}
				}
				time.Sleep(tt.after - time.Since(began))
				synctest.Wait()
				time.Sleep(time.Minute) // no spare comes back
				if list := p.Processes("backend"); len(list) != 0 {
					t.Errorf("left are %+v", list)
				}
				if len(p.Processes("other")) != 1 || len(p.Processes("")) != 1 {
					t.Error("the other team has lost its process")
				}
				if err := p.LastError("backend"); err != nil {
					t.Errorf("that counts as a failure of the team: %v", err)
				}
				if _, err := p.Turn(t.Context(), turn(backend, "s1", "hello")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if n := len(p.Processes("backend")); n != 2 {
					t.Errorf("%d processes once it was asked again, want its own and a spare", n)
				}
			})
		})
	}
}

func TestKill(t *testing.T) {
	for _, tt := range []struct {
		name string
		text string // what the process does
		team string
		pid  int
		want iris.Code
	}{
		{"an idle one", "hello", "backend", 1, ""},
		{"a busy one", "slow", "backend", 1, ""},
		{"of another team", "hello", "other", 1, iris.CodeNotFound},
		{"of nobody", "hello", "backend", 4711, iris.CodeNotFound},
		{"that is none", "hello", "backend", 0, iris.CodeNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := open(t, &launcher{}, 10)
				end := run(t, p, turn(team("backend"), "s1", tt.text))
				err := p.Kill(t.Context(), tt.team, tt.pid)
				if tt.want != "" {
					if iris.CodeOf(err) != tt.want || len(p.Processes("backend")) != 1 {
						t.Errorf("got %v, and %d processes are left", err, len(p.Processes("backend")))
					}
					<-end
					return
				}
				if err != nil || len(p.Processes("backend")) != 0 {
					t.Errorf("got %v, and %d processes are left", err, len(p.Processes("backend")))
				}
				err = <-end
				if e := iris.AsError(err); (err != nil) != (tt.text == "slow") || err != nil && (e.Code != iris.CodeProcess || e.Retry || !strings.Contains(e.Message, "somebody ended")) {
					t.Errorf("its turn: %v", err)
				}
				if p.LastError("backend") != nil {
					t.Error("that counts as a failure of the team")
				}
				if _, err := p.Turn(t.Context(), turn(team("backend"), "s1", "hello")); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestSleepEndsWhatStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &launcher{takes: time.Minute}
		p, _ := open(t, l, 10)
		end := run(t, p, turn(team("backend"), "s1", "hello"))
		woken := make(chan error, 1)
		go func() { _, err := p.Wake(t.Context(), team("backend"), true); woken <- err }()
		synctest.Wait()
		if slept, err := p.Sleep(t.Context(), "backend", true); err != nil || slept.Ended != 1 {
			t.Errorf("got %+v, %v", slept, err)
		}
		for who, end := range map[string]<-chan error{"the turn": end, "who wakes it": woken} {
			if err := <-end; iris.CodeOf(err) != iris.CodeProcess || !strings.Contains(err.Error(), "put to sleep") {
				t.Errorf("%s: %v", who, err)
			}
		}
		if n := len(l.started()); n != 0 {
			t.Errorf("%d were started", n)
		}
	})
}

// TestFirstComeFirstServed: at a full pool places are given in the order in which they were
// wanted, whoever has them and whichever session wants them.
func TestFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := open(t, &launcher{}, 1)
		var mu sync.Mutex
		var order, want []string
		var all sync.WaitGroup
		for i := range 40 {
			name := fmt.Sprint("turn ", i)
			want = append(want, name)
			all.Go(func() {
				if _, err := p.Turn(t.Context(), turn(team(fmt.Sprint("team", i%3)), fmt.Sprint("s", i%7), "slow")); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
			})
			synctest.Wait() // it stands in the line
		}
		all.Wait()
		if !slices.Equal(order, want) {
			t.Errorf("served were %v", order)
		}
	})
}

// TestWhoLeavesTheLineHoldsNobodyUp: those behind one who gave up are served in their turn.
func TestWhoLeavesTheLineHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := open(t, &launcher{}, 1)
		first := run(t, p, turn(team("backend"), "s1", "slow"))
		ctx, leave := context.WithCancelCause(t.Context())
		why := errors.New("left")
		gone := make(chan error, 1)
		go func() { _, err := p.Turn(ctx, turn(team("backend"), "s2", "slow")); gone <- err }()
		synctest.Wait()
		last := run(t, p, turn(team("backend"), "s3", "slow"))
		leave(why)
		if err := <-gone; !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
		if err := errors.Join(<-first, <-last); err != nil {
			t.Error(err)
		}
	})
}

func TestProcessesOfATeamThatIsGoneEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var teams atomic.Pointer[[]iris.Team]
		teams.Store(&[]iris.Team{team("backend")})
		p, _ := openFor(t, &launcher{}, 10, func() []iris.Team { return *teams.Load() })
		stop := serve(t, p)
		defer stop()
		if _, err := p.Turn(t.Context(), turn(team("backend"), "s1", "hello")); err != nil {
			t.Fatal(err)
		}
		end := run(t, p, turn(team("backend"), "s2", "slow"))
		teams.Store(&[]iris.Team{})
		if err := <-end; err != nil {
			t.Errorf("a turn that ran was cut: %v", err)
		}
		time.Sleep(2 * time.Second)
		if n := len(p.Processes("backend")); n != 0 {
			t.Errorf("%d processes are left", n)
		}
	})
}

// TestIdleProcessesFollowTheConfiguration: what an edit says counts for processes that run.
func TestIdleProcessesFollowTheConfiguration(t *testing.T) {
	before := team("backend")
	before.Warm = 3
	for _, tt := range []struct {
		name  string
		edit  func(*iris.Team)
		after time.Duration
		left  int // of a session's process and three spares
	}{
		{"nothing that they see", func(t *iris.Team) { t.Description, t.TurnTimeout = "new", time.Hour }, time.Minute, 4},
		{"they end sooner", func(t *iris.Team) { t.IdleTimeout = 30 * time.Second }, time.Minute, 3},
		{"they end later", func(t *iris.Team) { t.IdleTimeout = time.Hour }, 50 * time.Minute, 4},
		{"fewer spares", func(t *iris.Team) { t.Warm = 1 }, 2 * time.Second, 2},
		{"another model: new spares, and the session has none until it is asked", func(t *iris.Team) { t.Model = "opus" }, 2 * time.Second, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var teams atomic.Pointer[[]iris.Team]
				teams.Store(&[]iris.Team{before})
				p, _ := openFor(t, &launcher{}, 10, func() []iris.Team { return *teams.Load() })
				stop := serve(t, p)
				defer stop()
				if _, err := p.Turn(t.Context(), turn(before, "s1", "hello")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				if n := len(p.Processes("backend")); n != 4 {
					t.Fatalf("%d processes before", n)
				}
				after := before
				tt.edit(&after)
				teams.Store(&[]iris.Team{after})
				p.Adapt()
				time.Sleep(tt.after)
				if n := len(p.Processes("backend")); n != tt.left {
					t.Errorf("%d processes, want %d", n, tt.left)
				}
			})
		})
	}
}

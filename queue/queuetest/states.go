package queuetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// state is where a message and its job are, as docs/messages.md draws it.
type state struct {
	job     iris.JobState
	status  iris.Status // of the message
	attempt int
	later   bool // it waits for its time
}

// most is how many attempts the model goes to: two make an old one and a new one.
const most = 2

// enough problems tell what is wrong.
const enough = 20

// deed is something that somebody may try to do to a job, whatever its state.
type deed struct {
	name string
	// model is what must become of it.
	model func(s state) (state, outcome)
	// do does it to the message m of b.
	do func(ctx context.Context, b Backend, m iris.Message) (outcome, error)
}

// outcome is what whoever did it is told.
type outcome struct {
	refused bool // iris.ErrFinal
	attempt int  // claimed, or found running; 0 for none
}

var (
	taken   = outcome{}
	refused = outcome{refused: true}
)

// deeds are all that can be tried, those that carry an attempt with each, past and to come.
func deeds() []deed {
	all := []deed{
		{"claim", func(s state) (state, outcome) {
			if s.job != iris.JobWaiting || s.later {
				return s, outcome{}
			}
			return state{iris.JobRunning, iris.StatusProcessing, s.attempt + 1, false}, outcome{attempt: s.attempt + 1}
		}, func(ctx context.Context, b Backend, m iris.Message) (outcome, error) {
			j, _, err := b.Claim(ctx, iris.Claim{Worker: "w", Lease: time.Minute})
			return outcome{attempt: j.Attempt}, err
		}},
		{"look for the lost", func(s state) (state, outcome) {
			if s.job != iris.JobRunning {
				return s, outcome{}
			}
			return s, outcome{attempt: s.attempt}
		}, func(ctx context.Context, b Backend, m iris.Message) (outcome, error) {
			jobs, err := b.Lost(ctx)
			for _, j := range jobs {
				if j.MessageID == m.ID {
					return outcome{attempt: j.Attempt}, err
				}
			}
			return outcome{}, err
		}},
		{"cancel while it waits", func(s state) (state, outcome) {
			if s.job != iris.JobWaiting {
				return s, refused
			}
			return state{iris.JobDone, iris.StatusCancelled, s.attempt, false}, taken
		}, func(ctx context.Context, b Backend, m iris.Message) (outcome, error) {
			return told(b.Finish(ctx, end(m, iris.StatusCancelled), 0, last(m, iris.StatusCancelled)))
		}},
	}
	for attempt := 1; attempt <= most+1; attempt++ {
		job := func(m iris.Message) iris.Job {
			return iris.Job{ID: m.JobID(), Kind: iris.JobTurn, MessageID: m.ID, Team: m.Team, SessionID: m.SessionID, Attempt: attempt}
		}
		// held is a deed that only the holder of the lease may do.
		held := func(name string, then func(state) state, do func(context.Context, Backend, iris.Message) error) {
			all = append(all, deed{fmt.Sprintf("%s under attempt %d", name, attempt), func(s state) (state, outcome) {
				if s.job != iris.JobRunning || s.attempt != attempt {
					return s, refused
				}
				return then(s), taken
			}, func(ctx context.Context, b Backend, m iris.Message) (outcome, error) {
				return told(do(ctx, b, m))
			}})
		}
		held("finish", func(s state) state {
			return state{iris.JobDone, iris.StatusCompleted, s.attempt, false}
		}, func(ctx context.Context, b Backend, m iris.Message) error {
			return b.Finish(ctx, end(m, iris.StatusCompleted), attempt, last(m, iris.StatusCompleted))
		})
		if attempt > most { // nobody has been given it yet
			break
		}
		held("renew", func(s state) state { return s }, func(ctx context.Context, b Backend, m iris.Message) error {
			return b.Renew(ctx, job(m), time.Now().Add(time.Minute))
		})
		held("return", func(s state) state {
			return state{iris.JobWaiting, iris.StatusQueued, s.attempt, false}
		}, func(ctx context.Context, b Backend, m iris.Message) error {
			return b.Return(ctx, job(m), nil, time.Time{})
		})
		held("return for later", func(s state) state {
			return state{iris.JobWaiting, iris.StatusQueued, s.attempt, true}
		}, func(ctx context.Context, b Backend, m iris.Message) error {
			return b.Return(ctx, job(m), nil, time.Now().Add(24*time.Hour))
		})
	}
	return all
}

func told(err error) (outcome, error) {
	if errors.Is(err, iris.ErrFinal) {
		return refused, nil
	}
	return taken, err
}

func end(m iris.Message, status iris.Status) iris.Message {
	m.Status, m.CompletedAt = status, time.Now()
	if status != iris.StatusCompleted {
		m.Err = iris.Errorf(iris.CodeProcess, "%s", status)
	}
	return m
}

// last is the message's last event. Two who end it at once give it the same number.
func last(m iris.Message, status iris.Status) iris.Event {
	e := iris.Event{MessageID: m.ID, Seq: 2, At: time.Now(), Kind: iris.EventError}
	if status == iris.StatusCompleted {
		e.Kind = iris.EventComplete
	}
	return e
}

// States drives a message into each state that can be reached, and there does all that can be
// tried: each deed alone, and each two at once. What the two are told and what the record then
// holds must be what the model says of one after the other, whichever came first. What does
// not fit is returned, up to enough of it. The backend must be empty, and nobody else may use it.
func States(ctx context.Context, b Backend) (problems []string, tried int) {
	all := deeds()
	ways := map[state][]deed{} // how each state is reached
	begin := state{job: iris.JobWaiting, status: iris.StatusQueued}
	ways[begin] = nil
	for next := []state{begin}; len(next) > 0; next = next[1:] {
		for _, d := range all {
			to, _ := d.model(next[0])
			if _, known := ways[to]; !known && to.attempt <= most {
				ways[to] = append(slices.Clone(ways[next[0]]), d)
				next = append(next, to)
			}
		}
	}
	for _, from := range sorted(ways) {
		for i, a := range all {
			for _, second := range append([]deed{{}}, all[i:]...) {
				at := []deed{a, second}
				if second.do == nil {
					at = at[:1]
				} else if still(from, a) && still(from, second) {
					continue // neither can be in the other's way
				}
				tried++
				if problem := experiment(ctx, b, from, ways[from], at); problem != "" {
					if problems = append(problems, problem); len(problems) == enough {
						return problems, tried
					}
				}
			}
		}
	}
	return problems, tried
}

// still reports whether the deed changes nothing there.
func still(s state, d deed) bool {
	to, _ := d.model(s)
	return to == s
}

func sorted(ways map[state][]deed) []state {
	all := []state{}
	for s := range ways {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b state) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return all
}

// experiment does the deeds at once in the state, and says what is wrong.
func experiment(ctx context.Context, b Backend, from state, way, at []deed) string {
	m, _, err := b.Accept(ctx, ask("api", local), true, "")
	if err != nil {
		return err.Error()
	}
	for _, d := range way {
		if _, err := d.do(ctx, b, m); err != nil {
			return err.Error()
		}
	}
	got, errs := make([]outcome, len(at)), make([]error, len(at))
	var all sync.WaitGroup
	for i, d := range at {
		all.Go(func() { got[i], errs[i] = d.do(ctx, b, m) })
	}
	all.Wait()
	is, err := look(ctx, b, m)
	if err = errors.Join(append(errs, err)...); err != nil {
		return fmt.Sprintf("%+v, %s: %v", from, names(at), err)
	}
	defer clear(ctx, b, m, is)
	for _, order := range orders(at) {
		s, said := from, make([]outcome, len(at))
		for _, i := range order {
			s, said[i] = at[i].model(s)
		}
		if s == is && slices.Equal(said, got) {
			return ""
		}
	}
	return fmt.Sprintf("%+v, %s: told %+v, and then it is %+v", from, names(at), got, is)
}

func names(at []deed) string {
	if len(at) == 1 {
		return at[0].name
	}
	return at[0].name + " and " + at[1].name
}

func orders(at []deed) [][]int {
	if len(at) == 1 {
		return [][]int{{0}}
	}
	return [][]int{{0, 1}, {1, 0}}
}

// look reads the state off the record, and wants all its parts to agree: the message, the
// queue, and the events.
func look(ctx context.Context, b Backend, m iris.Message) (state, error) {
	got, err := b.Message(ctx, m.ID)
	if err != nil {
		return state{}, err
	}
	s := state{status: got.Status, attempt: got.Attempts, job: iris.JobDone}
	place, runAt, err := b.Position(ctx, m)
	if err != nil {
		return s, err
	}
	if place > 0 {
		s.job, s.later = iris.JobWaiting, runAt.After(time.Now())
	}
	running, err := deeds()[1].do(ctx, b, m)
	if err != nil {
		return s, err
	}
	if running.attempt > 0 {
		if s.job == iris.JobWaiting || running.attempt != s.attempt {
			return s, fmt.Errorf("the job runs under attempt %d, waits at %d, and the message is %+v", running.attempt, place, s)
		}
		s.job = iris.JobRunning
	}
	events, err := b.Events(ctx, m.ID, 0, 10)
	if err != nil {
		return s, err
	}
	ends := 0
	for _, e := range events {
		if e.Last() {
			ends++
		}
	}
	if want := map[bool]int{true: 1}[s.job == iris.JobDone]; ends != want || s.status.Final() != (s.job == iris.JobDone) {
		return s, fmt.Errorf("the job is %s, the message %s, and it has %d last events", s.job, s.status, ends)
	}
	return s, nil
}

// clear ends a message that is still alive, so that no later experiment claims it.
func clear(ctx context.Context, b Backend, m iris.Message, is state) {
	switch is.job {
	case iris.JobWaiting:
		b.Finish(ctx, end(m, iris.StatusCancelled), 0, last(m, iris.StatusCancelled))
	case iris.JobRunning:
		b.Finish(ctx, end(m, iris.StatusFailed), is.attempt, last(m, iris.StatusFailed))
	}
}

func (s *suite) states(t *testing.T) {
	problems, tried := States(t.Context(), s.open(t))
	for _, p := range problems {
		t.Error(p)
	}
	if tried < 300 && len(problems) == 0 {
		t.Errorf("only %d schedules were tried", tried)
	}
	t.Logf("%d schedules, %d wrong", tried, len(problems))
}

// Package queuetest is what any record of a queue must do: a suite that each backend passes,
// and a model of the states of a job that is played against it.
package queuetest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// Backend is the record of a queue; *store.DB is one.
type Backend interface {
	Accept(ctx context.Context, m iris.Message, fresh bool, dedupe string) (iris.Message, bool, error)
	Bound(most func() int)
	Claim(ctx context.Context, c iris.Claim) (iris.Job, bool, error)
	Renew(ctx context.Context, j iris.Job, until time.Time) error
	Return(ctx context.Context, j iris.Job, did *iris.Metadata, runAt time.Time) error
	Finish(ctx context.Context, m iris.Message, attempt int, last iris.Event) error
	Lost(ctx context.Context) ([]iris.Job, error)

	NextRun(ctx context.Context) (at time.Time, ok bool, err error)
	Position(ctx context.Context, m iris.Message) (n int, runAt time.Time, err error)
	Backlog(ctx context.Context, team string) (iris.Backlog, error)
	SessionCount(ctx context.Context, team string) (int, error)

	Message(ctx context.Context, id string) (iris.Message, error)
	Events(ctx context.Context, messageID string, after int64, limit int) ([]iris.Event, error)
	LastSeq(ctx context.Context, messageID string) (int64, error)
}

// Open gives an empty record, closed when the test ends, and a function that closes it and
// opens it again, as the next owner does.
type Open func(t *testing.T) (b Backend, reopen func() Backend)

// Run passes a backend through the suite, each test in a bubble of its own.
func Run(t *testing.T, open Open) {
	for _, tt := range []struct {
		name string
		test func(*suite, *testing.T)
	}{
		{"a claim gives the job to one worker, and says so", (*suite).claimed},
		{"the order of claims", (*suite).order},
		{"a claim keeps to the limits", (*suite).limits},
		{"a session has one turn at a time", (*suite).session},
		{"a task that has to wait for a task holds up no ask of its session", (*suite).heldTask},
		{"a job that waits for its time holds up no other of its session", (*suite).heldTime},
		{"a job that returns runs again, in its old place", (*suite).returned},
		{"a lease is renewed while it is held", (*suite).renewed},
		{"when the next job is due", (*suite).nextRun},
		{"lost are the running jobs of the last owner", (*suite).lost},
		{"positions and the backlog", (*suite).position},
		{"concurrent claims take each job once", (*suite).concurrentClaims},
		{"claims agree with those of a queue too simple to be wrong", (*suite).agrees},
		{"exactly one end wins", (*suite).oneEnd},
		{"only so many may wait", (*suite).bound},
		{"what is due comes before what waits for its time", (*suite).due},
		{"the same job is not queued twice", (*suite).same},
		{"the same job is not queued twice at once", (*suite).concurrentSame},
		{"low is reached under an endless stream of high ones", (*suite).starves},
		{"ten low, then ten high behind a running job", (*suite).tenAndTen},
		{"no schedule loses or doubles an end", (*suite).states},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tt.test(&suite{with: open}, t) })
		})
	}
}

// suite is one test's way to its record.
type suite struct {
	with  Open
	again func() Backend
}

func (s *suite) open(t *testing.T) Backend {
	t.Helper()
	b, again := s.with(t)
	s.again = again
	return b
}

func (s *suite) reopen(t *testing.T) Backend {
	t.Helper()
	return s.again()
}

var (
	local = iris.Caller{Kind: iris.CallerLocal}
	ci    = iris.Caller{Kind: iris.CallerKey, Name: "ci"}
)

// ask is a message to a team as a dispatcher hands it to Accept.
func ask(team string, from iris.Caller, change ...func(*iris.Message)) iris.Message {
	m := iris.Message{
		ID: iris.NewID(iris.MessagePrefix), Team: team, Caller: from, Text: "which versions?",
		Priority: iris.PriorityNormal, Timeout: time.Minute, CreatedAt: time.Now(),
	}
	for _, c := range change {
		c(&m)
	}
	return m
}

func with(p iris.Priority) func(*iris.Message) { return func(m *iris.Message) { m.Priority = p } }
func named(name string) func(*iris.Message)    { return func(m *iris.Message) { m.SessionName = name } }
func in(session string) func(*iris.Message)    { return func(m *iris.Message) { m.SessionID = session } }
func task(m *iris.Message)                     { m.Task = true }
func at(when time.Time) func(*iris.Message)    { return func(m *iris.Message) { m.CreatedAt = when } }

// accept stores the message in a fresh session, unless it names one.
func accept(t *testing.T, db Backend, m iris.Message) iris.Message {
	t.Helper()
	m, created, err := db.Accept(t.Context(), m, true, "")
	if err != nil || !created {
		t.Fatalf("accept: created %v, %v", created, err)
	}
	return m
}

func claim(t *testing.T, db Backend, full ...string) (iris.Job, bool) {
	t.Helper()
	j, ok, err := db.Claim(t.Context(), iris.Claim{Worker: "w", Lease: time.Minute, FullTeams: full})
	if err != nil {
		t.Fatal(err)
	}
	return j, ok
}

// mustClaim claims the one job that the test expects.
func mustClaim(t *testing.T, db Backend, want iris.Message) iris.Job {
	t.Helper()
	j, ok := claim(t, db)
	if !ok || j.MessageID != want.ID {
		t.Fatalf("claimed %v %q, want %q", ok, j.MessageID, want.ID)
	}
	return j
}

// completed is the end of m, with its last event.
func completed(m iris.Message, seq int64) (iris.Message, iris.Event) {
	m.Status, m.Response = iris.StatusCompleted, "v1 and v2"
	m.CompletedAt = time.Now()
	return m, iris.Event{MessageID: m.ID, Seq: seq, At: m.CompletedAt, Kind: iris.EventComplete}
}

func finish(t *testing.T, db Backend, m iris.Message, attempt int) {
	t.Helper()
	seq, err := db.LastSeq(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	m, last := completed(m, seq+1)
	if err := db.Finish(t.Context(), m, attempt, last); err != nil {
		t.Fatal(err)
	}
}

// Package dispatch is the life of a message, and the one door through which every front
// submits one: accepted (stored, then queued), run as a turn of its session, told as events,
// and ended in exactly one final state. Fronts differ only in how they wait.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// Teams is the configuration as it is now; *config.Live is one.
type Teams interface {
	Team(name string) (iris.Team, error) // TEAM_NOT_FOUND
	Teams() []iris.Team
	AddTeam(name string, settings []iris.Setting) (iris.Team, error)
	ChangeTeam(name string, settings []iris.Setting, may func(is iris.Team) error) (iris.Team, error)
	RemoveTeam(name string) error
}

// Store is the record of messages; *store.DB is one.
type Store interface {
	// Accept stores a message with its job and its first event, in the session that
	// m.SessionID or m.SessionName says, else in a fresh one or the standing one. A task
	// whose dedupe text is that of one that waits or runs is not stored: that one comes
	// back, and false.
	Accept(ctx context.Context, m iris.Message, fresh bool, dedupe string) (iris.Message, bool, error)
	Message(ctx context.Context, id string) (iris.Message, error)
	Session(ctx context.Context, id string) (iris.Session, error)
	// Living gives the team's messages that wait or run, in order, as iris.News has them.
	Living(ctx context.Context, team string) ([]iris.News, error)
	// Return hands a running job back: it waits again, and so does its message, with what its
	// turns did so far (nil: as it is).
	Return(ctx context.Context, j iris.Job, did *iris.Metadata, runAt time.Time) error
	// Lost lists the jobs that an earlier owner was running.
	Lost(ctx context.Context) ([]iris.Job, error)

	Position(ctx context.Context, m iris.Message) (n int, runAt time.Time, err error)
	Durations(ctx context.Context, team string, n int) (tasks, others []time.Duration, err error)
	Line(ctx context.Context, team string, most int) (running []iris.Message, waiting []iris.Job, err error)
	Backlog(ctx context.Context, team string) (iris.Backlog, error)
	SessionCount(ctx context.Context, team string) (int, error)
	Usage(ctx context.Context, team string) (iris.TeamUsage, error)
}

// Bus carries events; *bus.Bus is one.
type Bus interface {
	Publish(e iris.Event)
	Finish(ctx context.Context, m iris.Message, attempt int, last iris.Event) error
	Events(ctx context.Context, messageID string, after int64) iter.Seq2[iris.Event, error]
	Ended(messageID string) (ended <-chan struct{}, release func())
}

// Pool runs turns; *pool.Pool is one.
type Pool interface {
	Turn(ctx context.Context, t iris.Turn) (iris.Result, error)
	Processes(team string) []iris.Process // of all teams with ""
	LastError(team string) *iris.Error
	Wake(ctx context.Context, team iris.Team, evict bool) (started bool, err error)
	Sleep(ctx context.Context, team string, force bool) (iris.Slept, error)
	Kill(ctx context.Context, team string, pid int) error
}

// Queue is told that a job waits; *queue.Queue is one.
type Queue interface{ Wake() }

// Audit is where it is written down what was decided; *audit.Log is one.
type Audit interface {
	Record(ctx context.Context, e iris.AuditEntry)
}

// Config is what the dispatcher is told once; the functions are asked anew each time.
type Config struct {
	MaxAttempts func() int           // of a task that says nothing about it
	Backoff     func() time.Duration // before a task's second attempt; it doubles with each
	Audit       Audit                // of permissions that no person decided; nil: nobody writes them down
	// Callback says what is wrong with a callback and with which of its fields, or nothing; nil
	// takes none.
	Callback func(iris.Callback) (field, problem string)
}

// Dispatcher is safe for concurrent use.
type Dispatcher struct {
	cfg    Config
	teams  Teams
	store  Store
	bus    Bus
	pool   Pool
	queue  Queue
	log    *slog.Logger
	desk   *desk
	closed atomic.Bool
	pace   pace

	watchers watchers

	mu      sync.Mutex
	running map[string]context.CancelCauseFunc // by message id
	cancels map[string]bool                    // wanted for messages that are not over
	rests   map[string]*rest                   // by team
}

// errCancelled is the cause with which a turn ends when somebody cancels its message.
var errCancelled = iris.Errorf(iris.CodeCancelled, "the message was cancelled")

// New fits a dispatcher together.
func New(cfg Config, teams Teams, store Store, bus Bus, pool Pool, queue Queue, log *slog.Logger) *Dispatcher {
	return &Dispatcher{
		cfg: cfg, teams: teams, store: store, bus: bus, pool: pool, queue: queue, log: log, desk: newDesk(),
		watchers: watchers{of: map[string]map[*watcher]struct{}{}},
		running:  map[string]context.CancelCauseFunc{},
		cancels:  map[string]bool{},
		rests:    map[string]*rest{},
	}
}

// Stop makes Submit refuse from now on.
func (d *Dispatcher) Stop() { d.closed.Store(true) }

// Team is the team of that name; TEAM_NOT_FOUND.
func (d *Dispatcher) Team(name string) (iris.Team, error) { return d.teams.Team(name) }

// Teams lists the configured teams.
func (d *Dispatcher) Teams() []iris.Team { return d.teams.Teams() }

// Events yields the message's events that follow number after, from the record and then
// live, up to the last. Nothing is missed or repeated. It fails with MESSAGE_NOT_FOUND, or
// with the context's error when that ends first.
func (d *Dispatcher) Events(ctx context.Context, messageID string, after int64) iter.Seq2[iris.Event, error] {
	return d.bus.Events(ctx, messageID, after)
}

// Wait returns the message once it is final; the context's error when that ends first.
func (d *Dispatcher) Wait(ctx context.Context, messageID string) (iris.Message, error) {
	ended, release := d.bus.Ended(iris.MessageID(messageID))
	defer release()
	m, err := d.store.Message(ctx, messageID)
	if err != nil || m.Status.Final() {
		return m, err
	}
	select {
	case <-ended:
	case <-ctx.Done():
		select {
		case <-ended: // at a shutdown both come at once, and an answer that is there is given
		default:
			return m, context.Cause(ctx)
		}
	}
	return d.store.Message(context.WithoutCancel(ctx), messageID)
}

// Cancel ends the message: at once when it waits, by interrupting its turn when it runs. It
// returns the message once it is final; one that was so before is returned as it is.
func (d *Dispatcher) Cancel(ctx context.Context, messageID string) (iris.Message, error) {
	m, err := d.store.Message(ctx, messageID)
	if err != nil || m.Status.Final() {
		return m, err
	}
	for range 2 {
		if m.Status == iris.StatusQueued {
			switch ended, err := d.cancelWaiting(ctx, m); {
			case err == nil:
				return ended, nil
			case !errors.Is(err, iris.ErrFinal):
				return m, fmt.Errorf("cancel message: %w", err)
			}
		}
		// It runs, or a worker has just claimed it, or it is over already. Or it was handed back
		// to the queue just before the wish was known there: so look once more.
		d.wish(m.ID)
		if m, err = d.store.Message(ctx, m.ID); err != nil {
			return m, err
		}
	}
	if m, err = d.Wait(ctx, m.ID); err == nil {
		d.forget(m.ID)
	}
	return m, err
}

// cancelWaiting ends a message that waits; iris.ErrFinal when it does not.
func (d *Dispatcher) cancelWaiting(ctx context.Context, m iris.Message) (iris.Message, error) {
	ended := ended(m, iris.StatusCancelled, errCancelled)
	if err := d.bus.Finish(context.WithoutCancel(ctx), ended, 0, last(ended)); err != nil {
		return m, err
	}
	d.forget(m.ID)
	d.watchers.tell(ended)
	d.queue.Wake()
	return ended, nil
}

// wish ends the message's turn, or the one that is about to begin: a wish outlives whoever
// made it, until the message is over.
func (d *Dispatcher) wish(messageID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cancels[messageID] = true
	if cancel := d.running[messageID]; cancel != nil {
		cancel(errCancelled)
	}
}

func (d *Dispatcher) wished(messageID string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cancels[messageID]
}

func (d *Dispatcher) forget(messageID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.cancels, messageID)
	d.desk.setLeave(messageID, time.Time{})
}

// Recover settles what an earlier owner was running when it ended: a task runs again while
// it has attempts left, anything else fails. Call it before the queue serves.
func (d *Dispatcher) Recover(ctx context.Context) error {
	jobs, err := d.store.Lost(ctx)
	if err != nil {
		return fmt.Errorf("recover jobs: %w", err)
	}
	for _, j := range jobs {
		m, err := d.store.Message(ctx, j.MessageID)
		if err != nil {
			return fmt.Errorf("recover job %s: %w", j.ID, err)
		}
		if runsAgain(m) {
			d.bus.Publish(interrupted(m))
			err = d.store.Return(ctx, j, nil, time.Now())
		} else {
			m = ended(m, iris.StatusFailed, cutOff())
			err = d.bus.Finish(ctx, m, j.Attempt, last(m))
		}
		if err != nil && !errors.Is(err, iris.ErrFinal) {
			return fmt.Errorf("recover message %s: %w", m.ID, err)
		}
		d.log.Info("recovered a message", "message", m.ID, "team", m.Team, "again", runsAgain(m))
	}
	return nil
}

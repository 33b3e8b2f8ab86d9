package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/bus"
	"github.com/iris-mcp/iris-mcp/internal/drive"
	"github.com/iris-mcp/iris-mcp/internal/store"
	"github.com/iris-mcp/iris-mcp/queue"
)

// sizes of what is measured of the record and the queue.
const (
	claims   = 2000   // one after the other
	accepts  = 10_000 // in the store itself
	executes = 4000   // over HTTP
	clients  = 8      // at once
	waiting  = 10_000 // jobs that a restart finds
	restarts = 10
	events   = 20_000 // as fast as they come
	paced    = 1000   // one a millisecond
	grown    = 2000   // messages
	pieces   = 50     // of each one's answer
)

// record measures the record and the queue, without any agent.
func (b *bench) record(ctx context.Context) error {
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"claims", b.claims},
		{"acceptance", b.accepts},
		{"restarts", b.restarts},
		{"events", b.events},
		{"growth", b.growth},
	} {
		fmt.Fprintf(os.Stderr, "bench: %s\n", part.name)
		if err := part.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// open opens a record of that name.
func (b *bench) open(ctx context.Context, name string) (*store.DB, error) {
	dir := filepath.Join(b.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return store.Open(ctx, filepath.Join(dir, "iris.db"))
}

// put is a message to be accepted.
func put(i int) iris.Message {
	return iris.Message{
		ID: iris.NewID(iris.MessagePrefix), Team: fmt.Sprint("team", i%10), Caller: iris.Caller{Kind: iris.CallerKey, Name: "ci"},
		Text: strings.Repeat("Which versions of the API do you support? ", 5), Task: true,
		Priority: iris.PriorityNormal, MaxAttempts: 3, CreatedAt: time.Now(),
	}
}

// claims measures how long an accepted message waits for an idle queue.
func (b *bench) claims(ctx context.Context) (err error) {
	db, err := b.open(ctx, "claims")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	q := queue.New(queue.Config{Worker: "bench", Grace: func() time.Duration { return 0 }, Limits: func() queue.Limits {
		return queue.Limits{Jobs: 10, Team: func(string) (int, int) { return 10, 10 }}
	}}, db, slog.New(slog.DiscardHandler))
	claimed, over := make(chan time.Time), make(chan struct{})
	q.Handle(iris.JobTurn, func(ctx context.Context, j iris.Job) {
		claimed <- time.Now()
		m := iris.Message{ID: j.MessageID, Status: iris.StatusCompleted, CompletedAt: time.Now()}
		if err := db.Finish(ctx, m, j.Attempt, iris.Event{MessageID: m.ID, Seq: 2, At: m.CompletedAt, Kind: iris.EventComplete}); err != nil {
			panic(err)
		}
		over <- struct{}{}
	})
	serving, stop := context.WithCancel(ctx)
	var serve sync.WaitGroup
	serve.Go(func() { q.Serve(serving) })
	defer serve.Wait()
	defer stop()
	for i := range claims {
		if _, _, err := db.Accept(ctx, put(i), true, ""); err != nil {
			return err
		}
		accepted := time.Now()
		q.Wake()
		b.addTime("enqueue to claim", (<-claimed).Sub(accepted))
		<-over
	}
	return nil
}

// accepts measures how many messages a second are stored, by the store itself and over HTTP.
func (b *bench) accepts(ctx context.Context) (err error) {
	db, err := b.open(ctx, "accepts")
	if err != nil {
		return err
	}
	took, err := atOnce(accepts, func(i int) error {
		_, _, err := db.Accept(ctx, put(i), true, "")
		return err
	})
	b.add("accepts", accepts/took.Seconds())
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}

	// What runs must not be on the bill: the one job that may run hangs.
	server, err := b.still(ctx, "executes")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	took, err = atOnce(executes, func(i int) error {
		var answer struct{ MessageID string }
		status, err := server.JSON(ctx, "POST", "/teams/still/execute", map[string]any{"task": fmt.Sprintf("Task %d [[hang]]", i)}, &answer)
		if err == nil && status != 202 {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
	b.add("executes", executes/took.Seconds())
	return err
}

// still starts a server that runs no more than one job, and waits for it when it ends no longer
// than it must.
func (b *bench) still(ctx context.Context, name string) (*drive.Server, error) {
	return drive.Start(ctx, drive.Options{
		Binary: b.iris, Home: filepath.Join(b.dir, name), Env: b.model.Env(filepath.Join(b.dir, "home")),
		Config: map[string]any{
			"settings": map[string]any{"claudePath": b.claude, "shutdownGrace": "1s"},
			"queue":    map[string]any{"maxConcurrent": 1, "maxWaiting": 1_000_000},
			"teams":    map[string]any{"still": map[string]any{"path": filepath.Join(b.dir, "team"), "env": b.model.Vars(filepath.Join(b.dir, "home"))}},
		},
	})
}

// atOnce does something so many times, by as many clients as there are.
func atOnce(n int, do func(i int) error) (time.Duration, error) {
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, clients)
	began := time.Now()
	for c := range clients {
		all.Go(func() {
			for i := int(next.Add(1)); i <= n && errs[c] == nil; i = int(next.Add(1)) {
				errs[c] = do(i)
			}
		})
	}
	all.Wait()
	return time.Since(began), errors.Join(errs...)
}

// restarts measures a start on a record that a kill left with many jobs, ten of them running.
func (b *bench) restarts(ctx context.Context) error {
	db, err := b.open(ctx, "restarts")
	if err != nil {
		return err
	}
	for i := range waiting {
		m := put(i)
		m.Team = "still"
		if _, _, err := db.Accept(ctx, m, true, ""); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	if err := db.Close(); err != nil {
		return err
	}
	for range restarts {
		db, err := b.open(ctx, "restarts")
		if err != nil {
			return err
		}
		for range 10 { // the last one was about them
			if _, _, err := db.Claim(ctx, iris.Claim{Worker: "killed", Lease: time.Minute}); err != nil {
				return errors.Join(err, db.Close())
			}
		}
		if err := db.Close(); err != nil {
			return err
		}
		server, err := b.still(ctx, "restarts")
		if err != nil {
			return err
		}
		b.addTime("recovery", server.Ready)
		server.End(syscall.SIGKILL)
	}
	return nil
}

// memory is a record of one message's events that writes nothing down.
type memory struct {
	mu  sync.Mutex
	all []iris.Event
}

func (m *memory) AppendEvents(_ context.Context, events []iris.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, events...)
	return nil
}

func (m *memory) Events(_ context.Context, _ string, after int64, limit int) ([]iris.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	later := m.all[after:] // numbers are given without gaps
	return later[:min(len(later), limit)], nil
}

func (*memory) LastSeq(context.Context, string) (int64, error)              { return 0, nil }
func (*memory) Finish(context.Context, iris.Message, int, iris.Event) error { return nil }

// events measures what it costs that each event is stored before it is shown.
func (b *bench) events(ctx context.Context) (err error) {
	db, err := b.open(ctx, "events")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, name := range []string{"stored", "not stored"} {
		for n, pace := range map[int]time.Duration{events: 0, paced: time.Millisecond} {
			var record bus.Store = db
			if name == "not stored" {
				record = &memory{}
			}
			events := bus.New(record, slog.New(slog.DiscardHandler))
			id := iris.NewID(iris.MessagePrefix)
			published := make([]time.Time, n+1)
			began := time.Now()
			go func() {
				for i := 1; i <= n; i++ {
					if pace > 0 {
						time.Sleep(time.Until(began.Add(time.Duration(i) * pace)))
					}
					published[i] = time.Now()
					events.Publish(iris.Event{MessageID: id, Kind: iris.EventChunk, Text: "one or two words "})
				}
			}()
			for e, err := range events.Events(ctx, id, 0) {
				if err != nil {
					return err
				}
				if pace > 0 {
					b.addTime("event "+name, time.Since(published[e.Seq]))
				}
				if e.Seq == int64(n) {
					break
				}
			}
			if pace == 0 {
				b.add("events "+name, float64(n)/time.Since(began).Seconds())
			}
			if err := events.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

// growth measures what a message leaves on the disk: a question of 200 characters, an answer of
// 1,000 in so many pieces; with the pieces, and without.
func (b *bench) growth(ctx context.Context) error {
	for name, n := range map[string]int{"with": pieces, "without": 0} {
		db, err := b.open(ctx, "growth-"+name)
		if err != nil {
			return err
		}
		before, err := db.Size(ctx)
		if err != nil {
			return errors.Join(err, db.Close())
		}
		for i := range grown {
			m := put(i)
			if err := live(ctx, db, m, n); err != nil {
				return errors.Join(err, db.Close())
			}
		}
		after, err := db.Size(ctx)
		if err = errors.Join(err, db.Close()); err != nil {
			return err
		}
		b.add("growth "+name, float64(after-before)/grown)
	}
	return nil
}

// live takes a message through its life.
func live(ctx context.Context, db *store.DB, m iris.Message, pieces int) error {
	if _, _, err := db.Accept(ctx, m, true, ""); err != nil {
		return err
	}
	j, _, err := db.Claim(ctx, iris.Claim{Worker: "bench", Lease: time.Minute})
	if err != nil {
		return err
	}
	var all []iris.Event
	for i := range pieces {
		all = append(all, iris.Event{MessageID: m.ID, Seq: int64(2 + i), At: time.Now(), Kind: iris.EventChunk, Text: strings.Repeat("word ", 4)})
	}
	if err := db.AppendEvents(ctx, all); err != nil {
		return err
	}
	m.Status, m.CompletedAt, m.Response = iris.StatusCompleted, time.Now(), strings.Repeat("word ", 200)
	m.Metadata = &iris.Metadata{FilesAccessed: []string{"CLAUDE.md"}, ToolsUsed: []string{"Read"}, Model: "model", Turns: 1}
	last := iris.Event{MessageID: m.ID, Seq: int64(2 + pieces), At: m.CompletedAt, Kind: iris.EventComplete, Metadata: m.Metadata}
	return db.Finish(ctx, m, j.Attempt, last)
}

// recordReport is the section about the record and the queue.
func (b *bench) recordReport(ctx context.Context) string {
	var w strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&w, format+"\n", args...) }
	p("%s\n", recordHeading)
	p("`go run ./bench -record`, on %s.\n", time.Now().UTC().Format(time.DateOnly))
	p("| | |\n| --- | --- |")
	for _, row := range machine(ctx, b.claude) {
		p("| %s | %s |", row[0], row[1])
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil { // what else it had to do counts
		p("| load, its own included | %s |", strings.Fields(string(load))[0])
	}
	p("\n| | median | p99 | n | mark |\n| --- | --- | --- | --- | --- |")
	p("| accepted → claimed by an idle queue, ms | %s | ≤ 0.5 |", b.cells("enqueue to claim"))
	p("| start to `/readyz` with %d queued jobs and ten that ran, after a kill, ms | %s |  |", waiting, b.cells("recovery"))
	p("| event published → shown, one a millisecond, ms | %s |  |", b.cells("event stored"))
	p("| … if it were not stored, ms | %s |  |", b.cells("event not stored"))
	one := func(what string) float64 { return b.got[what].at(.5) }
	p("\n| | | mark |\n| --- | --- | --- |")
	p("| messages stored and queued a second, %d clients | %.0f | ≥ 2000 |", clients, one("accepts"))
	p("| … over HTTP (`execute`) | %.0f |  |", one("executes"))
	p("| events a second, one message, as fast as they come | %.0f |  |", one("events stored"))
	p("| … if they were not stored | %.0f |  |", one("events not stored"))
	with, without := one("growth with"), one("growth without")
	p("| on the disk for each message, bytes: a question of 200 characters, an answer of 1,000 in %d pieces | %.0f |  |", pieces, with)
	p("| … of that, the pieces, bytes | %.0f |  |", with-without)
	return w.String()
}

const recordHeading = "## The record and the queue"

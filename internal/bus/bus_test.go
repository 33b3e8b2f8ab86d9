package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/bus"
)

// memory is a record of events whose faults can be switched on.
type memory struct {
	mu     sync.Mutex
	events map[string][]iris.Event
	final  map[string]bool
	fault  error
	unread error         // of reads of events
	slow   time.Duration // per write
	writes int
}

func newMemory() *memory {
	return &memory{events: map[string][]iris.Event{}, final: map[string]bool{}}
}

func (m *memory) AppendEvents(_ context.Context, events []iris.Event) error {
	time.Sleep(m.slow)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return m.fault
	}
	m.writes++
	for _, e := range events {
		m.add(e)
	}
	return nil
}

func (m *memory) add(e iris.Event) {
	if want := int64(len(m.events[e.MessageID]) + 1); e.Seq != want {
		panic(fmt.Sprintf("event %d of %s stored where %d comes next", e.Seq, e.MessageID, want))
	}
	m.events[e.MessageID] = append(m.events[e.MessageID], e)
}

func (m *memory) Events(_ context.Context, id string, after int64, limit int) ([]iris.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unread != nil {
		return nil, m.unread
	}
	all := m.events[id]
	all = all[min(after, int64(len(all))):]
	return slices.Clone(all[:min(limit, len(all))]), nil
}

func (m *memory) LastSeq(_ context.Context, id string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.events[id])), nil
}

func (m *memory) Finish(_ context.Context, msg iris.Message, _ int, last iris.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return m.fault
	}
	if m.final[msg.ID] {
		return iris.ErrFinal
	}
	m.final[msg.ID] = true
	m.add(last)
	return nil
}

func (m *memory) setFault(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = err
}

func open(t *testing.T, m *memory) *bus.Bus {
	t.Helper()
	b := bus.New(m, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { b.Close() })
	return b
}

func chunk(id, text string) iris.Event {
	return iris.Event{MessageID: id, Kind: iris.EventChunk, Text: text}
}

func complete(b *bus.Bus, id, response string) error {
	return b.Finish(context.Background(), iris.Message{ID: id, Response: response, CompletedAt: time.Now()}, 1, iris.Event{Kind: iris.EventComplete})
}

// read follows a message to its end and checks its numbers on the way.
func read(t *testing.T, b *bus.Bus, id string, after int64) (texts []string) {
	t.Helper()
	for e, err := range b.Events(t.Context(), id, after) {
		if err != nil {
			t.Errorf("following %s: %v", id, err)
			return texts
		}
		if after++; e.Seq != after {
			t.Errorf("%s gave event %d where %d comes next", id, e.Seq, after)
		}
		if e.Kind == iris.EventChunk {
			texts = append(texts, e.Text)
		} else {
			texts = append(texts, "<"+string(e.Kind)+">")
		}
	}
	return texts
}

func TestFollowersSeeEverythingOnceAndInOrder(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events int
	}{
		{"a short answer", 3},
		{"more than memory holds", 2000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, newMemory())
				var want []string
				for i := range tt.events {
					want = append(want, fmt.Sprint(i))
				}
				want = append(want, "<complete>")
				var readers sync.WaitGroup
				follow := func(after int64, want []string) {
					readers.Go(func() {
						if got := read(t, b, "msg_1", after); !slices.Equal(got, want) {
							t.Errorf("after %d: got %d events, want %d", after, len(got), len(want))
						}
					})
				}
				for range 20 {
					follow(0, want)
				}
				follow(2, want[2:])
				for i := range tt.events {
					b.Publish(chunk("msg_1", fmt.Sprint(i)))
					if i == tt.events/2 {
						follow(0, want) // one who comes later
					}
				}
				if err := complete(b, "msg_1", ""); err != nil {
					t.Fatal(err)
				}
				readers.Wait()
				if got := read(t, b, "msg_1", 0); !slices.Equal(got, want) {
					t.Errorf("afterwards: got %d events, want %d", len(got), len(want))
				}
			})
		})
	}
}

func TestASlowFollowerMakesNobodyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newMemory())
		slow := make(chan int)
		go func() {
			n := 0
			for range b.Events(t.Context(), "msg_1", 0) {
				time.Sleep(time.Second)
				n++
			}
			slow <- n
		}()
		start := time.Now()
		for range 1000 {
			b.Publish(chunk("msg_1", "x"))
		}
		if err := complete(b, "msg_1", ""); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("publishing took %v because somebody reads slowly", took)
		}
		if n := <-slow; n != 1001 {
			t.Errorf("the slow follower saw %d of 1001 events", n)
		}
	})
}

func TestWhatArrivesDuringACommitIsOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.slow = time.Millisecond
		b := open(t, m)
		for range 640 {
			b.Publish(chunk("msg_1", "x"))
		}
		if err := complete(b, "msg_1", ""); err != nil {
			t.Fatal(err)
		}
		if m.writes > 20 {
			t.Errorf("640 events took %d writes", m.writes)
		}
	})
}

// TestLongTextsAreCut: a text without end is many events, none of which cuts a rune in two.
func TestLongTextsAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, text := range map[string]string{
			"letters":            strings.Repeat("a", 200_000),
			"runes of two bytes": "a" + strings.Repeat("ä", 100_000),
			"no UTF-8":           strings.Repeat("\x80", 200_000),
			"just short enough":  strings.Repeat("a", 8<<10),
		} {
			for _, broken := range []bool{false, true} {
				m := newMemory()
				b := bus.New(m, slog.New(slog.DiscardHandler))
				if broken { // the answer comes whole with the end
					m.fault = errors.New("disk full")
				}
				b.Publish(iris.Event{MessageID: "msg_1", Kind: iris.EventChunk, Text: text})
				synctest.Wait()
				m.mu.Lock()
				m.fault = nil
				m.mu.Unlock()
				if err := b.Finish(t.Context(), iris.Message{ID: "msg_1", Response: text}, 1, iris.Event{Kind: iris.EventComplete}); err != nil {
					t.Fatal(err)
				}
				got := ""
				for _, e := range m.events["msg_1"] {
					if len(e.Text) > 8<<10 || strings.Contains(text, "ä") && !utf8.ValidString(e.Text) {
						t.Errorf("%s: an event has %d bytes", name, len(e.Text))
					}
					got += e.Text
				}
				if n := len(m.events["msg_1"]); got != text || name == "just short enough" && !broken && n != 2 {
					t.Errorf("%s, broken %v: %d bytes in %d events", name, broken, len(got), n)
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func TestNumbersGoOnAfterARestart(t *testing.T) {
	m := newMemory()
	first := bus.New(m, slog.New(slog.DiscardHandler))
	first.Publish(chunk("msg_1", "a"))
	first.Close()
	second := open(t, m)
	second.Publish(chunk("msg_1", "b"))
	if err := complete(second, "msg_1", ""); err != nil {
		t.Fatal(err)
	}
	if got := read(t, second, "msg_1", 0); !slices.Equal(got, []string{"a", "b", "<complete>"}) {
		t.Errorf("got %q", got)
	}
}

func TestEventsThatCouldNotBeStoredAreMadeGoodAtTheEnd(t *testing.T) {
	m := newMemory()
	b := open(t, m)
	b.Publish(chunk("msg_1", "one "))
	// Wait for it by following, so that the fault hits the next one.
	for range b.Events(t.Context(), "msg_1", 0) {
		break
	}
	m.setFault(errors.New("disk full"))
	b.Publish(chunk("msg_1", "two "))
	if err := complete(b, "msg_1", "one two three"); err == nil {
		t.Fatal("the end was accepted by a full disk")
	}
	m.setFault(nil)
	b.Publish(chunk("msg_1", "three"))
	if err := complete(b, "msg_1", "one two three"); err != nil {
		t.Fatal(err)
	}
	got := read(t, b, "msg_1", 0)
	shown := strings.Join(got[slices.Index(got, "<restart>")+1:], "")
	if !strings.HasPrefix(shown, "one two three") || !strings.HasSuffix(shown, "<complete>") {
		t.Errorf("got %q", got)
	}
}

func TestTheSecondEndIsRefusedAndShownToNobody(t *testing.T) {
	b := open(t, newMemory())
	if err := complete(b, "msg_1", ""); err != nil {
		t.Fatal(err)
	}
	if err := complete(b, "msg_1", ""); !errors.Is(err, iris.ErrFinal) {
		t.Errorf("got %v, want %v", err, iris.ErrFinal)
	}
	if got := read(t, b, "msg_1", 0); !slices.Equal(got, []string{"<complete>"}) {
		t.Errorf("got %q", got)
	}
}

func TestFollowingEnds(t *testing.T) {
	t.Run("with its context", func(t *testing.T) {
		b := open(t, newMemory())
		why := errors.New("left")
		ctx, leave := context.WithCancelCause(t.Context())
		leave(why)
		for _, err := range b.Events(ctx, "msg_1", 0) {
			if !errors.Is(err, why) {
				t.Errorf("got %v, want %v", err, why)
			}
		}
	})
	t.Run("when the number lies beyond the end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := open(t, newMemory())
			done := make(chan []string)
			go func() { done <- read(t, b, "msg_1", 99) }()
			synctest.Wait()
			if err := complete(b, "msg_1", ""); err != nil {
				t.Fatal(err)
			}
			if got := <-done; len(got) > 0 {
				t.Errorf("got %q", got)
			}
		})
	})
}

// TestAFollowerOutlivesAFaultOfTheStore: it hears the rest when the fault has passed; of one
// that does not pass it is told.
func TestAFollowerOutlivesAFaultOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		b := open(t, m)
		b.Publish(chunk("msg_1", "a"))
		if err := complete(b, "msg_1", ""); err != nil {
			t.Fatal(err)
		}
		busy := iris.Errorf(iris.CodeInternal, "the disk fails")
		busy.Retry = true
		m.unread = fmt.Errorf("read events: %w", busy)
		time.AfterFunc(10*time.Second, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.unread = nil
		})
		if got := read(t, b, "msg_1", 0); !slices.Equal(got, []string{"a", "<complete>"}) {
			t.Errorf("got %q", got)
		}

		for _, fault := range []error{errors.New("strange"), iris.Errorf(iris.CodeInternal, "damaged")} {
			m.unread = fault
			var told error
			for _, err := range b.Events(t.Context(), "msg_1", 0) {
				told = err
			}
			if !errors.Is(told, fault) {
				t.Errorf("got %v, want %v", told, fault)
			}
		}

		m.unread = busy
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		for _, err := range b.Events(ctx, "msg_1", 0) {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the context's error", err)
			}
		}
	})
}

func TestEndedClosesWithTheLastEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, newMemory())
		ended, release := b.Ended("msg_1")
		defer release()
		b.Publish(chunk("msg_1", "x"))
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("ended before the end")
		default:
		}
		if err := complete(b, "msg_1", ""); err != nil {
			t.Fatal(err)
		}
		<-ended
	})
}

// late is a context that is asked for its Done after the follower has looked for news and
// before it waits for some. Then does something, once.
type late struct {
	context.Context
	calls int
	then  func()
}

func (l *late) Done() <-chan struct{} {
	if l.calls--; l.calls == 0 {
		l.then()
	}
	return l.Context.Done()
}

// TestTheEndComesBetweenLookingAndWaiting: the news of it and the end itself are there at once,
// and whichever is taken, the last event is told.
func TestTheEndComesBetweenLookingAndWaiting(t *testing.T) {
	b := open(t, newMemory())
	for i := range 64 {
		id := fmt.Sprint("msg_", i)
		b.Publish(chunk(id, "a"))
		var last iris.Event
		ctx := &late{Context: t.Context(), calls: -1}
		for e, err := range b.Events(ctx, id, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if last = e; e.Kind == iris.EventChunk {
				ctx.calls, ctx.then = 1, func() {
					if err := complete(b, id, ""); err != nil {
						t.Error(err)
					}
				}
			}
		}
		if last.Kind != iris.EventComplete {
			t.Fatalf("following %s ended with %q", id, last.Kind)
		}
	}
}

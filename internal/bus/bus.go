// Package bus carries events: it numbers them, stores them, and only then shows them to
// whoever follows the message. One goroutine writes, so the order in which a message's events
// were published is the order in which everybody sees them, and a batch is whatever arrived
// while the previous one was being committed: nothing ever waits for more.
//
// A follower holds a number, not a buffer. It takes what it has not seen from the memory of
// the newest events or, when it is too far behind, from the store. So it can't miss or repeat
// anything, it may come back after a restart, and however slow it is, it makes nobody wait.
package bus

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/iris-mcp/iris-mcp"
)

const (
	maxBatch  = 64  // events in one commit
	maxTail   = 256 // newest events of a live message kept in memory
	maxReplay = 512 // events read from the store at once

	readAgain = time.Second // between tries of a read that a fault of the store prevents

	// maxText is how many bytes of text one event has, give or take a rune: a follower holds a
	// few events, and there may be many followers that read slowly.
	maxText = 8 << 10
)

// Store is the record of events; *store.DB is one.
type Store interface {
	// AppendEvents stores numbered events, all or none.
	AppendEvents(ctx context.Context, events []iris.Event) error
	// Events reads up to limit events that follow number after.
	Events(ctx context.Context, messageID string, after int64, limit int) ([]iris.Event, error)
	// LastSeq is the number of the message's newest event, 0 without any.
	LastSeq(ctx context.Context, messageID string) (int64, error)
	// Finish stores a message's one final state with its last event; iris.ErrFinal when the
	// message has one already or the attempt is not the one that holds the job.
	Finish(ctx context.Context, m iris.Message, attempt int, last iris.Event) error
}

// Bus is safe for concurrent use. It must be closed after the last Publish and Finish.
type Bus struct {
	store Store
	log   *slog.Logger
	in    chan item
	done  chan struct{} // the writer has ended
	reads chan struct{} // holds a token for each follower that reads the store

	mu     sync.Mutex
	topics map[string]*topic // live messages and followed ones
}

// item is what the writer gets: an event, or the end of a message.
type item struct {
	event iris.Event
	end   *end
}

type end struct {
	ctx     context.Context
	message iris.Message
	attempt int
	result  chan error // buffered
}

// topic is a message in memory. Bus.mu guards it, but for next.
type topic struct {
	users  int           // followers, and the writer while it ends the message
	live   bool          // published to, and not ended yet
	tail   []iris.Event  // the newest, without gaps
	news   chan struct{} // closed and replaced whenever tail grows
	ended  chan struct{} // closed after the last event was shown
	next   int64         // the writer's: number of the next event; 0 is unknown
	broken bool          // the writer's: an event could not be stored
}

// New starts the writer.
func New(store Store, log *slog.Logger) *Bus {
	b := &Bus{
		store: store, log: log,
		in: make(chan item, maxBatch), done: make(chan struct{}), reads: make(chan struct{}, runtime.GOMAXPROCS(0)),
		topics: map[string]*topic{},
	}
	go b.write()
	return b
}

// Close ends the writer once everything published is stored.
func (b *Bus) Close() error {
	close(b.in)
	<-b.done
	return nil
}

// Publish hands an event over to be numbered, stored and shown. It waits while the store is
// behind, never for a follower. When the event can't be stored it is not shown either; the
// message's end will then repeat the answer whole.
func (b *Bus) Publish(e iris.Event) {
	e.At = time.Now().UTC()
	for piece := range pieces(e) {
		b.in <- item{event: piece}
	}
}

// pieces cuts an event with a long text of the answer, or of thinking, into several.
func pieces(e iris.Event) iter.Seq[iris.Event] {
	return func(yield func(iris.Event) bool) {
		cut := e.Kind == iris.EventChunk || e.Kind == iris.EventThinking
		for piece := e; cut && len(e.Text) > maxText; {
			end := maxText
			for end > maxText-utf8.UTFMax && !utf8.RuneStart(e.Text[end]) {
				end--
			}
			piece.Text, e.Text = e.Text[:end], e.Text[end:]
			if !yield(piece) {
				return
			}
		}
		yield(e)
	}
}

// Finish stores the message's final state and its last event, after everything published for
// it, and shows the event. iris.ErrFinal: it ended otherwise before, and nothing was written.
func (b *Bus) Finish(ctx context.Context, m iris.Message, attempt int, last iris.Event) error {
	last.MessageID, last.At = m.ID, m.CompletedAt
	e := &end{ctx: ctx, message: m, attempt: attempt, result: make(chan error, 1)}
	b.in <- item{event: last, end: e}
	return <-e.result
}

// write is the one writer. Its context is its own: what was published gets stored even while
// everything else shuts down.
func (b *Bus) write() {
	defer close(b.done)
	var batch []iris.Event
	for it := range b.in {
		batch = batch[:0]
		for more := true; more; {
			if it.end != nil {
				b.append(batch)
				batch = batch[:0]
				it.end.result <- b.finish(it)
			} else {
				batch = append(batch, it.event)
			}
			if len(batch) == maxBatch {
				break
			}
			select {
			case it, more = <-b.in:
			default:
				more = false
			}
		}
		b.append(batch)
	}
}

// append numbers, stores and shows a batch.
func (b *Bus) append(batch []iris.Event) {
	ctx := context.Background()
	batch = slices.DeleteFunc(batch, func(e iris.Event) bool { return b.topic(e.MessageID).broken })
	for i := range batch {
		t := b.topic(batch[i].MessageID)
		if err := b.number(ctx, t, &batch[i]); err != nil {
			b.fail(batch, err)
			return
		}
	}
	if len(batch) == 0 {
		return
	}
	if err := b.store.AppendEvents(ctx, batch); err != nil {
		b.fail(batch, err)
		return
	}
	b.show(batch...)
}

// fail gives up on the events of a batch that could not be stored: their numbers are free
// again, and their messages get nothing more until they end.
func (b *Bus) fail(batch []iris.Event, err error) {
	b.log.Error("events could not be stored", "events", len(batch), "error", err)
	for _, e := range batch {
		t := b.topic(e.MessageID)
		t.broken, t.next = true, 0
	}
}

// finish stores the end of a message. A message whose events could not all be stored first
// gets its answer once more and whole, so that who follows it still ends with the truth.
func (b *Bus) finish(it item) error {
	t := b.join(it.event.MessageID)
	defer b.leave(it.event.MessageID, t)
	if t.broken {
		t.broken = false
		again := []iris.Event{{MessageID: it.event.MessageID, At: it.event.At, Kind: iris.EventRestart}}
		if text := it.end.message.Response; text != "" {
			again = slices.AppendSeq(again, pieces(iris.Event{MessageID: it.event.MessageID, At: it.event.At, Kind: iris.EventChunk, Text: text}))
		}
		if b.append(again); t.broken {
			return fmt.Errorf("finish message: its events can't be stored")
		}
	}
	last := it.event
	if err := b.number(it.end.ctx, t, &last); err != nil {
		return err
	}
	if err := b.store.Finish(it.end.ctx, it.end.message, it.end.attempt, last); err != nil {
		t.next = 0
		return err
	}
	b.show(last)
	return nil
}

// number gives the event the next number of its message.
func (b *Bus) number(ctx context.Context, t *topic, e *iris.Event) error {
	if t.next == 0 {
		last, err := b.store.LastSeq(ctx, e.MessageID)
		if err != nil {
			return fmt.Errorf("number events: %w", err)
		}
		t.next = last + 1
	}
	e.Seq = t.next
	t.next++
	return nil
}

// topic is the topic of a message to which something is published.
func (b *Bus) topic(messageID string) *topic {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.get(messageID)
	t.live = true
	return t
}

// get finds or makes a topic; with mu held.
func (b *Bus) get(messageID string) *topic {
	t := b.topics[messageID]
	if t == nil {
		t = &topic{news: make(chan struct{}), ended: make(chan struct{})}
		b.topics[messageID] = t
	}
	return t
}

// join keeps a topic in memory until leave.
func (b *Bus) join(messageID string) *topic {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.get(messageID)
	t.users++
	return t
}

func (b *Bus) leave(messageID string, t *topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.users--; t.users == 0 && !t.live {
		delete(b.topics, messageID)
	}
}

// show lets followers see stored events.
func (b *Bus) show(events ...iris.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	woken := map[*topic]bool{}
	for _, e := range events {
		t := b.get(e.MessageID)
		if len(t.tail) == maxTail {
			t.tail = slices.Clone(t.tail[maxTail/2:])
		}
		t.tail = append(t.tail, e)
		woken[t] = true
	}
	for t := range woken {
		close(t.news)
		t.news = make(chan struct{})
		if t.over() {
			t.live = false
			close(t.ended)
		}
	}
}

// over reports whether the message's last event was shown; with Bus.mu held.
func (t *topic) over() bool { return len(t.tail) > 0 && t.tail[len(t.tail)-1].Last() }

// Ended is a channel that closes when the message's last event is shown, if that is yet to
// come. Release it when it is no longer wanted.
func (b *Bus) Ended(messageID string) (ended <-chan struct{}, release func()) {
	t := b.join(messageID)
	return t.ended, func() { b.leave(messageID, t) }
}

// Events yields what follows event number after, from the store and then live, up to the
// last one. It ends with the context's error when that ends first, and with the store's when
// events can't be read and that will not pass; it waits for a fault that may pass. The message
// must exist, or it waits for one that never comes.
func (b *Bus) Events(ctx context.Context, messageID string, after int64) iter.Seq2[iris.Event, error] {
	return func(yield func(iris.Event, error) bool) {
		t := b.join(messageID)
		defer b.leave(messageID, t)
		for over := false; ; {
			events, news, covered := b.since(t, after)
			if !covered {
				var err error
				if events, err = b.replay(ctx, messageID, after); iris.Passes(err) {
					if err = pause(ctx); err == nil {
						continue // the newest may be in memory by now
					}
				}
				if err != nil {
					yield(iris.Event{}, err)
					return
				}
			}
			for _, e := range events {
				if !yield(e, nil) || e.Last() {
					return
				}
				after = e.Seq
			}
			if len(events) > 0 {
				continue
			}
			if over && covered {
				return // after is beyond the end
			}
			select {
			case <-news:
			case <-t.ended: // maybe since the last look, and then there is more
				over = true
			case <-ctx.Done():
				yield(iris.Event{}, context.Cause(ctx))
				return
			}
		}
	}
}

// replay reads events from the store. Not many do so at once: hundreds of followers that come
// back together would leave no processor to those who ask.
func (b *Bus) replay(ctx context.Context, messageID string, after int64) ([]iris.Event, error) {
	select {
	case b.reads <- struct{}{}:
		defer func() { <-b.reads }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return b.store.Events(ctx, messageID, after, maxReplay)
}

// pause waits a moment; it fails with the context's cause when that ends first.
func pause(ctx context.Context) error {
	select {
	case <-time.After(readAgain):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// since is what memory has after the number, and the channel that closes when there is more.
// covered is false when memory does not reach back so far. News is taken before the store is
// asked, so an event stored meanwhile is never slept over.
func (b *Bus) since(t *topic, after int64) (events []iris.Event, news <-chan struct{}, covered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(t.tail) == 0 || t.tail[0].Seq > after+1 {
		return nil, t.news, false
	}
	if n := after + 1 - t.tail[0].Seq; n < int64(len(t.tail)) {
		events = t.tail[n:]
	}
	return events, t.news, true
}

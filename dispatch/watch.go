package dispatch

import (
	"context"
	"iter"
	"sync"

	"github.com/iris-mcp/iris-mcp"
)

// maxNews is how many messages a watcher may be behind before it is given up on.
const maxNews = 4096

// errBehind is what a watcher ends with that was too slow. It is told so because it has missed
// something.
var errBehind = iris.Errorf(iris.CodeQueueFull, "the watcher fell %d messages behind; watch again, and read faster", maxNews)

// watchers are told of a team's messages, each once when it is accepted and once when it waits
// no longer: because its first turn begins, or because it is cancelled before.
type watchers struct {
	mu sync.Mutex
	of map[string]map[*watcher]struct{} // by team
}

// watcher is a queue of what one of them has not seen. watchers.mu guards it.
type watcher struct {
	news   []iris.Message
	behind bool
	wake   chan struct{} // 1
}

// tell tells those who watch the message's team how it is now. It waits for nobody.
func (w *watchers) tell(m iris.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.of[m.Team]) == 0 {
		return
	}
	m.Text, m.Context, m.Response, m.Err, m.Metadata = "", nil, "", nil, nil
	for one := range w.of[m.Team] {
		if one.behind = one.behind || len(one.news) == maxNews; one.behind {
			one.news = nil
		} else {
			one.news = append(one.news, m)
		}
		select {
		case one.wake <- struct{}{}:
		default:
		}
	}
}

func (w *watchers) join(team string) *watcher {
	w.mu.Lock()
	defer w.mu.Unlock()
	one := &watcher{wake: make(chan struct{}, 1)}
	if w.of[team] == nil {
		w.of[team] = map[*watcher]struct{}{}
	}
	w.of[team][one] = struct{}{}
	return one
}

func (w *watchers) leave(team string, one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.of[team], one)
	if len(w.of[team]) == 0 {
		delete(w.of, team)
	}
}

func (w *watchers) take(one *watcher) (news []iris.Message, behind bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	news, one.news = one.news, nil
	return news, one.behind
}

// Watch tells of the team's messages: of those that wait or run at the time of the call, then
// of each that is accepted, and of each when it waits no longer (see iris.News). Nothing is
// missed or told twice. It ends with ctx's error; or with QUEUE_FULL, after who ranges over it
// has fallen far behind: nobody waits for it. TEAM_NOT_FOUND. A team that is removed has no
// news, until it comes back.
func (d *Dispatcher) Watch(ctx context.Context, team string) (iter.Seq2[iris.News, error], error) {
	if _, err := d.teams.Team(team); err != nil {
		return nil, err
	}
	one := d.watchers.join(team)
	context.AfterFunc(ctx, func() { d.watchers.leave(team, one) })
	first, err := d.store.Living(ctx, team)
	if err != nil {
		return nil, err
	}
	return func(yield func(iris.News, error) bool) {
		book := newBook(first)
		for _, n := range first {
			if !yield(n, nil) {
				return
			}
		}
		first = nil
		for {
			batch, behind := d.watchers.take(one)
			if behind {
				yield(iris.News{}, errBehind)
				return
			}
			for _, m := range batch {
				for _, n := range book.enter(m) {
					if !yield(n, nil) {
						return
					}
				}
			}
			select {
			case <-one.wake:
			case <-ctx.Done():
				yield(iris.News{}, context.Cause(ctx))
				return
			}
		}
	}, nil
}

// book keeps what a watcher knows of messages, so that each is told of once as waiting and
// once as not. A message's acceptance and its turn are told by different goroutines, so in any
// order, and may be told of one that was in the record already when the watch began.
type book struct {
	old map[string]bool // messages that were there at the beginning: do they wait?
	new map[string]bool // those of which only one half was told since then: that they wait?
}

func newBook(first []iris.News) book {
	b := book{map[string]bool{}, map[string]bool{}}
	for _, n := range first {
		b.old[n.Message.ID] = n.Message.Status == iris.StatusQueued
	}
	return b
}

// enter is the news that it makes how the message is now.
func (b book) enter(m iris.Message) []iris.News {
	waits := m.Status == iris.StatusQueued
	queued, left := iris.News{Message: m}, iris.News{Message: m, After: 1} // it has seen the start
	queued.Message.Status = iris.StatusQueued
	if waits {
		left.Message.Status = iris.StatusProcessing
	}
	if waited, ok := b.old[m.ID]; ok {
		if waits || !waited {
			return nil
		}
		b.old[m.ID] = false
		return []iris.News{left}
	}
	if m.Attempts > 1 || m.Attempts == 1 && m.Status.Final() {
		return nil // its first turn was told
	}
	before, half := b.new[m.ID]
	if !half {
		b.new[m.ID] = waits
		if waits {
			return []iris.News{queued}
		}
		return nil // its acceptance is about to be told
	}
	delete(b.new, m.ID)
	if before {
		return []iris.News{left}
	}
	return []iris.News{queued, left}
}

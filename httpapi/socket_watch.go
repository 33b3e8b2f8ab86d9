package httpapi

import (
	"context"
	"iter"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi/socket"
)

// watch is a team whose messages are followed.
type watch struct {
	stop context.CancelFunc
	done chan struct{}
	// mine has the messages whose news are none, since the client wanted them by itself:
	// they are followed, or were, in their own right. client.mu guards it.
	mine map[string]bool
}

// subscribe follows a team.
func (c *client) subscribe(req *request, f *subscribeFrame) error {
	if err := req.team(f.Team); err != nil {
		return err
	}
	c.mu.Lock()
	known, n := c.watches[f.Team], len(c.watches)
	c.mu.Unlock()
	switch {
	case known != nil:
		c.send(subscribedFrame{"subscribed", f.Team})
		return nil
	case n >= maxFollows:
		return iris.Errorf(iris.CodeRateLimited, "this connection follows %d teams, as many as it may; open another one", n).With("limit", maxFollows)
	}
	ctx, stop := context.WithCancel(c.ctx)
	w := &watch{stop: stop, done: make(chan struct{}), mine: map[string]bool{}}
	c.mu.Lock()
	for id, f2 := range c.follows {
		if f2.team == f.Team {
			w.mine[id] = true
		}
	}
	c.mu.Unlock()
	news, err := c.server.dispatcher.Watch(ctx, f.Team)
	if err != nil {
		stop()
		return err
	}
	c.mu.Lock()
	c.watches[f.Team] = w
	c.mu.Unlock()
	c.send(subscribedFrame{"subscribed", f.Team})
	c.work.Go(func() {
		defer close(w.done)
		defer stop()
		c.listen(ctx, req, w, news)
	})
	return nil
}

// unsubscribe follows a team no longer. When the answer comes, nothing of the team follows
// but messages that the client wanted by itself.
func (c *client) unsubscribe(req *request, f *unsubscribeFrame) error {
	if err := req.team(f.Team); err != nil {
		return err
	}
	c.mu.Lock()
	w := c.watches[f.Team]
	delete(c.watches, f.Team)
	c.mu.Unlock()
	if w != nil {
		w.stop()
		<-w.done
		c.mu.Lock()
		var found []*follow
		for _, one := range c.follows {
			if one.by == w {
				one.stop()
				found = append(found, one)
			}
		}
		c.mu.Unlock()
		for _, one := range found {
			<-one.done
		}
	}
	c.send(unsubscribedFrame{"unsubscribed", f.Team})
	return nil
}

// listen follows the messages that a watch finds.
func (c *client) listen(ctx context.Context, req *request, w *watch, news iter.Seq2[iris.News, error]) {
	for n, err := range news {
		switch {
		case ctx.Err() != nil:
			return
		case iris.CodeOf(err) == iris.CodeQueueFull && err != nil:
			c.conn.End(socket.TryAgainLater, "you read too slowly; connect again and resume your messages", nil)
			return
		case err != nil:
			c.refuse(req, "", err)
			return
		}
		caller, ok := c.now()
		if !ok {
			return
		}
		if !caller.MayRead(n.Message) {
			continue
		}
		if c.meet(req, w, n) {
			start := iris.Event{MessageID: n.Message.ID, Seq: 1, At: n.Message.CreatedAt, Kind: iris.EventStart, Team: n.Message.Team, SessionID: n.Message.SessionRef()}
			if err := c.event(ctx, req, start, ""); err != nil {
				return
			}
		}
	}
}

// meet does what a message that a watch finds needs, and says whether its start is to be sent:
// one that waits is not followed, so that ten thousand of them cost next to nothing.
func (c *client) meet(req *request, w *watch, n iris.News) (start bool) {
	c.accepting.Lock()
	defer c.accepting.Unlock()
	id, waits := n.Message.ID, n.Message.Status == iris.StatusQueued
	c.mu.Lock()
	followed, mine, count := c.follows[id] != nil, w.mine[id], len(c.follows)
	if !waits {
		delete(w.mine, id)
	} else if followed {
		w.mine[id] = true
	}
	c.mu.Unlock()
	switch {
	case followed || mine:
	case waits:
		return true
	case count >= maxFollows: // they have ended and it has not read them
		c.conn.End(socket.TryAgainLater, "you read too slowly; connect again and resume your messages", nil)
	default:
		c.follow(req, n.Message, n.After, "", w)
	}
	return false
}

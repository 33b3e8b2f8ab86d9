package httpapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi/socket"
)

const (
	// maxFollows is how many messages, and how many teams, a connection may follow at once.
	maxFollows = 1000
	// idleRecheck is how often a connection's key is looked at when nothing happens on it.
	idleRecheck = 2 * time.Second
)

// client is who is at the other end of a WebSocket. One goroutine takes its frames, one after
// the other; each message that it follows has one, each team that it watches, and each cancel
// that is under way. serve waits for all of them.
type client struct {
	server *Server
	conn   *socket.Conn
	shake  *request        // the handshake; not written to until all else is over
	header http.Header     // the handshake's
	ctx    context.Context // ends with the connection, and has the handshake's values
	work   sync.WaitGroup

	// accepting is held while a message is being handed in, and while it is decided whether a
	// watched team's news is a message of this connection: else that would be told twice.
	accepting sync.Mutex

	mu      sync.Mutex // guards what follows
	caller  iris.Caller
	checked time.Time // when the caller was last known to be good
	cut     iris.Code // why the server ended the connection, if it did
	follows map[string]*follow
	watches map[string]*watch
	busy    int // follows, cancels and frames in hand
}

// follow is a message that is followed.
type follow struct {
	team string
	stop context.CancelFunc
	done chan struct{}
	by   *watch // the watch that found it; nil if the client wanted the message itself
}

func newClient(s *Server, conn *socket.Conn, shake *request, h http.Header) *client {
	return &client{
		server: s, conn: conn, shake: shake, header: h, caller: shake.caller, checked: time.Now(),
		follows: map[string]*follow{}, watches: map[string]*watch{},
	}
}

// serve is the connection's life. When ctx ends, so does the connection; when the server
// ends, it does so once nothing is under way on it.
func (c *client) serve(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c.ctx = ctx
	defer context.AfterFunc(c.conn.Over(), stop)()
	defer context.AfterFunc(ctx, func() { c.leave(context.Cause(ctx)) })()
	defer context.AfterFunc(c.server.ending, c.settle)()
	c.work.Go(c.keep)
	code, reason := c.conn.Serve(c.take)
	stop()
	c.work.Wait()
	c.shake.code = c.cut
	c.server.log.Debug("WebSocket closed", "closed", int(code), "reason", reason, "requestId", c.shake.id)
}

// leave ends the connection because the server does.
func (c *client) leave(why error) {
	if errors.Is(why, errShutdown) {
		c.conn.End(socket.GoingAway, "the server is shutting down; connect again and resume your messages", nil)
	}
}

// begin and done are around everything that a connection is kept for when the server ends.
func (c *client) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy++
}

func (c *client) done() {
	c.mu.Lock()
	c.busy--
	c.mu.Unlock()
	c.settle()
}

// settle ends the connection if the server ends and nothing is under way.
func (c *client) settle() {
	c.mu.Lock()
	idle := c.busy == 0
	c.mu.Unlock()
	if idle && c.server.ending.Err() != nil {
		c.leave(errShutdown)
	}
}

// keep looks after the key of a connection on which nothing happens.
func (c *client) keep() {
	tick := time.NewTicker(idleRecheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.now()
		case <-c.ctx.Done():
			return
		}
	}
}

// now is the caller, who is asked for again when it was last known to be good a recheck ago.
// If its key is good no longer, or has other rights, that is said and the connection ends.
func (c *client) now() (iris.Caller, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut != "" {
		return iris.Caller{}, false
	}
	if time.Since(c.checked) < recheck {
		return c.caller, true
	}
	caller, err := c.server.auth.Caller(c.ctx, c.shake.credential)
	if err == nil && !(slices.Equal(caller.Scopes, c.caller.Scopes) && slices.Equal(caller.Teams, c.caller.Teams)) {
		err = iris.Errorf(iris.CodeForbidden, "the rights of this key were changed; connect again")
	}
	switch code := iris.CodeOf(err); {
	case err == nil:
		c.caller = caller
	case code == iris.CodeUnauthorized || code == iris.CodeForbidden:
		c.cut = code
		f := c.errorOf(c.request(c.caller, &route{}), err)
		c.conn.End(socket.Policy, string(code), encodeFrame(f))
		return iris.Caller{}, false
	}
	c.checked = time.Now()
	return c.caller, true
}

// request is a request like the handshake, for something that a frame asks for.
func (c *client) request(caller iris.Caller, r *route) *request {
	req := *c.shake
	req.caller, req.route, req.code, req.err = caller, r, "", nil
	return &req
}

// take takes a frame.
func (c *client) take(text []byte) {
	c.begin()
	defer c.done()
	caller, ok := c.now()
	if !ok {
		return
	}
	req := c.request(caller, &route{})
	if isPing(text) {
		_ = c.ping(req, nil)
		return
	}
	left, refused := c.server.charge(c.ctx, caller)
	if refused != nil && len(text) > 16<<10 { // it is not worth reading
		c.refuse(req, "", req.limited(left, refused))
		return
	}
	kind, ref, err := c.server.frameOf(req, text)
	switch {
	case refused != nil:
		err = req.limited(left, refused)
	case err == nil && !kind.route.own:
		err = req.need(kind.route.scopes...)
	}
	if err == nil {
		req.route = &kind.route
		err = kind.take(c, req, text)
	}
	if err != nil {
		c.refuse(req, ref, err)
	}
}

// refuse says why a frame was refused. A client that has gone is told nothing, and what fails
// because it went is no fault.
func (c *client) refuse(req *request, ref string, err error) {
	if c.ctx.Err() != nil {
		return
	}
	f := c.errorOf(req, err)
	f.Ref = ref
	c.send(f)
}

// send sends a frame, unless the connection is over: whoever is told nothing then learns from
// the close.
func (c *client) send(frame any) {
	_ = c.conn.Send(c.ctx, func() []byte { return encodeFrame(frame) })
}

func (c *client) ping(*request, *pingFrame) error {
	c.send(pongFrame{"pong"})
	return nil
}

// message asks a team and follows the answer.
func (c *client) message(req *request, f *messageFrame) error {
	if err := req.team(f.Team); err != nil {
		return err
	}
	if err := c.room(); err != nil {
		return err
	}
	c.accepting.Lock()
	defer c.accepting.Unlock()
	m, err := c.server.submit(c.ctx, req, iris.Ask{
		Caller: req.caller, Team: f.Team, Text: f.Message, Context: contextOf(f.Context),
		SessionID: f.SessionID, Priority: iris.PriorityNormal, Timeout: milliseconds(f.Timeout),
	})
	if err != nil {
		return err
	}
	c.follow(req, m, 0, f.Ref, nil)
	return nil
}

// room refuses one message more than a connection may follow.
func (c *client) room() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.follows) >= maxFollows {
		return iris.Errorf(iris.CodeRateLimited, "this connection follows %d messages, as many as it may; wait for some to end, or open another one", len(c.follows)).With("limit", maxFollows)
	}
	return nil
}

// cancel cancels a message; when that is over, everybody who follows it is told, and so is
// who cancelled it.
func (c *client) cancel(req *request, f *cancelFrame) error {
	m, err := c.server.head(c.ctx, req, f.MessageID)
	if err != nil {
		return err
	}
	if err := c.room(); err != nil {
		return err
	}
	c.mu.Lock()
	follows := c.follows[m.ID] != nil
	c.busy++
	c.mu.Unlock()
	c.work.Go(func() {
		defer c.done()
		// A client that leaves at once has cancelled all the same.
		ctx, stop := context.WithTimeoutCause(context.WithoutCancel(c.ctx), cancelLimit, errPatience)
		defer stop()
		defer context.AfterFunc(c.ctx, func() { time.AfterFunc(time.Second, stop) })()
		final, err := c.server.dispatcher.Cancel(ctx, m.ID)
		switch {
		case c.ctx.Err() != nil || follows && err == nil:
		case err != nil && context.Cause(ctx) == errPatience: // it will end
			c.refuse(req, "", iris.Errorf(iris.CodeTimeout, "the message is being cancelled and has not ended within %s; GET %s/messages/%s says when it has", cancelLimit, base, m.ID).About(m.ID))
		case err != nil:
			c.refuse(req, "", iris.AsError(err).About(m.ID))
		case req.caller.MayRead(final):
			c.tellEnd(req, final)
		case final.Status == iris.StatusCancelled:
			c.refuse(req, "", final.Outcome())
		default:
			c.refuse(req, "", iris.Errorf(iris.CodeConflict, "the message had ended before it could be cancelled").About(m.ID))
		}
	})
	return nil
}

// tellEnd sends the last event of a message that this client did not follow.
func (c *client) tellEnd(req *request, m iris.Message) {
	last, err := c.server.store.LastSeq(c.ctx, m.ID)
	if err != nil {
		c.refuse(req, "", iris.AsError(err).About(m.ID))
		return
	}
	c.follow(req, m, last-1, "", nil)
}

// resume follows a message from behind an event. If it is followed already, that ends first.
func (c *client) resume(req *request, f *resumeFrame) error {
	m, err := c.server.head(c.ctx, req, f.MessageID)
	if err != nil {
		return err
	}
	last, err := c.server.store.LastSeq(c.ctx, m.ID)
	switch {
	case err != nil:
		return err
	case f.After > last:
		return req.refuse(problem{"after", "names an event that has not happened; the last one has the number " + strconv.FormatInt(last, 10)})
	case f.After == last && m.Status.Final():
		return nil // it has seen all there is
	}
	c.accepting.Lock()
	defer c.accepting.Unlock()
	c.mu.Lock()
	old := c.follows[m.ID]
	c.mu.Unlock()
	if old != nil {
		old.stop()
		<-old.done
	} else if err := c.room(); err != nil {
		return err
	}
	c.follow(req, m, f.After, "", nil)
	return nil
}

// follow starts to send the events of a message from behind one, unless the message is
// followed already.
func (c *client) follow(req *request, m iris.Message, after int64, ref string, by *watch) {
	ctx, stop := context.WithCancel(c.ctx)
	f := &follow{team: m.Team, stop: stop, done: make(chan struct{}), by: by}
	c.mu.Lock()
	if c.follows[m.ID] != nil {
		c.mu.Unlock()
		stop()
		return
	}
	c.follows[m.ID] = f
	c.busy++
	if w := c.watches[m.Team]; w != nil && by == nil && !m.Status.Final() {
		w.mine[m.ID] = true
	}
	c.mu.Unlock()
	id := m.ID // and not m, whose answer may be long, for as long as it is followed
	c.work.Go(func() {
		defer c.done()
		defer close(f.done)
		defer func() {
			stop()
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.follows, id)
		}()
		defer c.server.attend(req, c.header, id)()
		c.tell(ctx, req, id, after, ref)
	})
}

// tell sends the events of a message from behind one to the last.
func (c *client) tell(ctx context.Context, req *request, messageID string, after int64, ref string) {
	for ev, err := range c.server.dispatcher.Events(ctx, messageID, after) {
		if err == nil {
			err = c.event(ctx, req, ev, ref)
		}
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, socket.ErrOver) {
				c.refuse(req, ref, iris.AsError(err).About(messageID))
			}
			return
		}
	}
}

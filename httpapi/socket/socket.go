// Package socket is a WebSocket connection as a server has it: text frames come in one at a
// time, others go out through a bounded queue, and it ends with a code that says why. It knows
// nothing of what the frames say.
//
// Whoever sends waits while the queue is full, so a slow reader costs no more memory than the
// queue and one frame, however much there is for it. It makes only those wait who send to it,
// and not for long: a frame that cannot leave in time ends the connection with TryAgainLater.
package socket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Code says why a connection ends, as RFC 6455, section 7.4, and its registry have it.
type Code = websocket.StatusCode

const (
	Normal        = websocket.StatusNormalClosure   // 1000
	GoingAway     = websocket.StatusGoingAway       // 1001: the server ends
	Unsupported   = websocket.StatusUnsupportedData // 1003: a binary frame
	Policy        = websocket.StatusPolicyViolation // 1008
	TooBig        = websocket.StatusMessageTooBig   // 1009
	Internal      = websocket.StatusInternalError   // 1011
	TryAgainLater = websocket.StatusTryAgainLater   // 1013: the client reads too slowly
)

const (
	maxQueue = 64 << 10 // bytes that wait to be written, besides the last frame
	perFrame = 64       // what a frame costs beside its bytes
	fragment = 32 << 10 // bytes
	rate     = 64 << 10 // bytes a second that a client must be able to take
	control  = 5 * time.Second
)

// ErrOver is what a Send comes back with when the connection ends.
var ErrOver = errors.New("the connection is over")

// Config is what a connection is told. Every field is needed.
type Config struct {
	Subprotocol  string        // that is agreed on if the client offers it
	MaxFrame     int64         // bytes of a frame from the client
	FrameTimeout time.Duration // for a frame to arrive whole once it has begun
	WriteTimeout time.Duration // for a frame to leave, and a second more for each 64 KiB before it and in it
	Ping         time.Duration // between two pings; a client that shows no life for four of it is dead
}

// Conn is a connection. Its methods may be called at once.
type Conn struct {
	cfg Config
	ws  *websocket.Conn
	raw net.Conn

	baton chan struct{} // whoever holds it may add to the queue; nobody can while it is full
	more  chan struct{} // wakes the writer
	over  context.Context
	stop  context.CancelFunc
	begun time.Time
	seen  atomic.Int64 // when the client last showed life, in nanoseconds since begun

	mu     sync.Mutex
	queue  []frame
	size   int  // of the queue and of the frame that is being written
	full   bool // the baton is kept back
	code   Code // 0 until the end is decided
	reason string
}

type frame struct {
	text []byte
	due  time.Time // when it must have left
}

// Refusal is why a request is no handshake. Headers that belong into the answer are set.
type Refusal struct{ Status int }

func (r *Refusal) Error() string {
	return fmt.Sprintf("the request is no WebSocket handshake (status %d)", r.Status)
}

// Accept answers the handshake. It answers nothing and gives a *Refusal if the request is
// none. Whether a page of the request's origin may connect was decided before.
func Accept(w http.ResponseWriter, r *http.Request, cfg Config) (*Conn, error) {
	c := &Conn{cfg: cfg, baton: make(chan struct{}, 1), more: make(chan struct{}, 1), begun: time.Now()}
	c.baton <- struct{}{}
	c.over, c.stop = context.WithCancel(context.Background())
	h := &handshake{ResponseWriter: w}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{
		Subprotocols:       []string{cfg.Subprotocol},
		InsecureSkipVerify: true,
		OnPingReceived:     func(context.Context, []byte) bool { c.alive(); return true },
		OnPongReceived:     func(context.Context, []byte) { c.alive() },
	})
	if h.refused != 0 {
		return nil, &Refusal{h.refused}
	}
	if err != nil {
		return nil, fmt.Errorf("accept a WebSocket: %w", err)
	}
	ws.SetReadLimit(-1) // read bounds a frame itself
	c.ws, c.raw = ws, h.raw
	return c, nil
}

// handshake keeps back what the library says to a request that is no handshake, which is not
// in the words of the server, and keeps the connection of one that is.
type handshake struct {
	http.ResponseWriter
	refused int
	raw     net.Conn
}

func (h *handshake) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		h.ResponseWriter.WriteHeader(status)
	} else {
		h.refused = status
	}
}

// WriteHeaderNow is for gin, which holds headers back.
func (h *handshake) WriteHeaderNow() {
	if w, ok := h.ResponseWriter.(interface{ WriteHeaderNow() }); ok {
		w.WriteHeaderNow()
	}
}

func (h *handshake) Write(p []byte) (int, error) { return len(p), nil } // only refusals have a text

func (h *handshake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	raw, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.raw = raw
	return raw, rw, err
}

// Serve hands every text frame from the client to handle, one after the other, until the
// connection is over, and then says why it is: the code that was sent or has come, or 1006
// for one that broke. It is called once, and handle must return soon once Over is done.
func (c *Conn) Serve(handle func(text []byte)) (Code, string) {
	defer c.raw.Close() // also if handle panics
	defer c.End(Internal, "", nil)
	var own sync.WaitGroup
	own.Go(c.write)
	own.Go(c.ping)
	c.read(handle)
	own.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code, c.reason
}

// Over is done once it is decided that the connection ends.
func (c *Conn) Over() context.Context { return c.over }

// Send adds the text that encode makes to the queue. It waits while the queue is full, and
// calls encode only when there is room, one at a time for all who send; one that comes back
// with nil has nothing to send. ErrOver, or ctx's error when that ends first.
func (c *Conn) Send(ctx context.Context, encode func() []byte) error {
	select {
	case <-c.over.Done():
		return ErrOver
	default:
	}
	select {
	case <-c.baton:
	case <-c.over.Done():
		return ErrOver
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	text := encode()
	c.mu.Lock()
	defer c.mu.Unlock()
	if text != nil && c.code == 0 {
		c.add(text)
	}
	if c.full = c.size >= maxQueue; !c.full {
		c.baton <- struct{}{}
	}
	return nil
}

// add puts a frame into the queue; with mu held.
func (c *Conn) add(text []byte) {
	c.size += len(text) + perFrame
	c.queue = append(c.queue, frame{text, time.Now().Add(c.cfg.WriteTimeout + time.Duration(c.size)*time.Second/rate)})
	c.wake()
}

func (c *Conn) wake() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// End decides that the connection ends, unless that was decided before. What was sent is still
// written, and then last, if there is one; but nothing more to a client that is too slow. The
// client gets the code and the reason, of which 120 bytes at most, if it reads that far in the
// time that is left.
func (c *Conn) End(code Code, reason string, last []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	linger := control
	switch code {
	case GoingAway:
		linger = time.Second
	case TryAgainLater: // it may read again later, and then be told
		linger = 2 * c.cfg.WriteTimeout
	}
	if !c.decide(code, reason, linger) {
		return
	}
	if code == TryAgainLater {
		c.queue = nil
	}
	if last != nil {
		c.add(last)
	}
}

// lost decides that the connection, which has failed or was closed by the client, ends.
func (c *Conn) lost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	code := websocket.CloseStatus(err)
	switch network := (net.Error)(nil); {
	case code != -1:
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.As(err, &network), errors.Is(err, errDead):
		code = websocket.StatusAbnormalClosure
	default:
		code = websocket.StatusProtocolError
	}
	if c.decide(code, err.Error(), control) {
		c.queue = nil
	}
}

// decide sets why the connection ends, and the time that is left for it; false if that was
// done before. With mu held.
func (c *Conn) decide(code Code, reason string, linger time.Duration) bool {
	if c.code != 0 {
		return false
	}
	c.code, c.reason = code, strings.ToValidUTF8(reason[:min(len(reason), 120)], "")
	time.AfterFunc(linger, func() { c.raw.Close() })
	c.stop()
	c.wake()
	return true
}

// write writes what is in the queue, and closes the connection when it is to end.
func (c *Conn) write() {
	for {
		f, ok := c.next()
		if !ok {
			break
		}
		late := time.AfterFunc(time.Until(f.due), func() {
			c.End(TryAgainLater, "you read too slowly; connect again and resume your messages", nil)
		})
		err := c.put(f.text)
		late.Stop()
		if err != nil {
			c.lost(err)
			break
		}
		c.written(f)
	}
	c.mu.Lock()
	code, reason := c.code, c.reason
	c.mu.Unlock()
	c.ws.Close(code, reason) // waits for the client's own close frame; see End for how long
}

// put writes a frame, a large one in fragments, so that pings and pongs find their way between
// them. It has no deadline: the library's would cut the connection off without a word.
func (c *Conn) put(text []byte) error {
	if len(text) <= fragment {
		return c.ws.Write(context.Background(), websocket.MessageText, text)
	}
	w, err := c.ws.Writer(context.Background(), websocket.MessageText)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(text, fragment) {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return w.Close()
}

// next waits for a frame to write; there is none when the connection ends and all is written.
func (c *Conn) next() (frame, bool) {
	for {
		c.mu.Lock()
		if len(c.queue) > 0 {
			f := c.queue[0]
			c.queue[0] = frame{}
			if c.queue = c.queue[1:]; len(c.queue) == 0 {
				c.queue = nil
			}
			c.mu.Unlock()
			return f, true
		}
		over := c.code != 0
		c.mu.Unlock()
		if over {
			return frame{}, false
		}
		<-c.more
	}
}

// written makes room.
func (c *Conn) written(f frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size -= len(f.text) + perFrame
	if c.full && c.size < maxQueue {
		c.full = false
		c.baton <- struct{}{}
	}
}

// read reads frames until the connection fails or is closed. Those that come after its end is
// decided are passed over: they come from a client that does not know of it yet.
func (c *Conn) read(handle func([]byte)) {
	for {
		kind, r, err := c.ws.Reader(context.Background())
		c.alive()
		if errors.Is(err, context.DeadlineExceeded) {
			// A pong could not be written within the library's 5 s, behind a frame that is
			// being written. Whether that takes too long is for write to say.
			continue
		}
		var text []byte
		if err == nil {
			text, err = c.whole(r)
		}
		switch {
		case err != nil:
			c.lost(err)
			return
		case int64(len(text)) > c.cfg.MaxFrame:
			c.End(TooBig, fmt.Sprintf("a frame may have at most %d bytes", c.cfg.MaxFrame), nil)
			return // the rest of the frame is passed over when the connection is closed
		case kind != websocket.MessageText:
			c.End(Unsupported, "send text frames", nil)
		case c.over.Err() == nil:
			handle(text)
		}
	}
}

// whole reads a frame, and of one that is too large as much as shows it.
func (c *Conn) whole(r io.Reader) ([]byte, error) {
	defer time.AfterFunc(c.cfg.FrameTimeout, func() {
		c.End(Policy, "a frame must arrive within "+c.cfg.FrameTimeout.String(), nil)
	}).Stop()
	return io.ReadAll(io.LimitReader(r, c.cfg.MaxFrame+1))
}

var errDead = errors.New("the client shows no life")

// ping asks the client for a sign of life now and then.
func (c *Conn) ping() {
	tick := time.NewTicker(c.cfg.Ping)
	defer tick.Stop()
	for {
		select {
		case <-c.over.Done():
			return
		case <-tick.C:
		}
		if time.Since(c.begun)-time.Duration(c.seen.Load()) > 4*c.cfg.Ping {
			c.lost(errDead)
			c.raw.Close()
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), control)
		_ = c.ws.Ping(ctx) // what comes back is noted where it is read
		cancel()
	}
}

// alive notes that the client shows life.
func (c *Conn) alive() { c.seen.Store(int64(time.Since(c.begun))) }

package owner

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// What ends a relay, besides its client or its context.
var (
	// ErrNoOwner says that nobody owns the data folder, or has not begun to listen in time.
	// Nothing was read of the client then.
	ErrNoOwner = errors.New("no iris-mcp owns the data folder")
	// ErrOwnerGone says that the owner has ended; open requests were answered with errors.
	ErrOwnerGone = errors.New("the iris-mcp that owns the data folder has ended")
	// ErrOwnerHangs says that the owner lives but does not answer, stopped perhaps; open
	// requests were answered with errors.
	ErrOwnerHangs = errors.New("the iris-mcp that owns the data folder does not answer")
)

const (
	dialTime  = 2 * time.Second  // for an owner that has the lock to begin to listen
	pingEvery = 5 * time.Second  // while a request is open and the owner says nothing
	pongTime  = 15 * time.Second // an owner that says nothing for so long hangs
	leaveTime = 5 * time.Second  // for the owner's last answers once the client has gone
	pingID    = "iris-relay-ping"
)

// Relay passes the lines of an MCP client (in, out) to the owner of the data folder and back,
// until the client's side ends (nil), ctx does (its cause), or the owner goes or hangs. In
// the last cases every open request is answered with an error before Relay returns, so that
// no client waits for nobody. out is written by one goroutine at a time.
//
// A goroutine that reads in may outlive Relay: a read of stdin cannot be interrupted.
func Relay(ctx context.Context, dir string, hello Hello, in io.Reader, out io.Writer, log *slog.Logger) error {
	conn, owner, err := dial(ctx, dir, hello)
	if err != nil {
		return err
	}
	defer conn.Close()
	if owner.Version != hello.Version {
		log.Warn("the iris-mcp that owns the data folder is of another version; end it to change that",
			"version", hello.Version, "owner", owner.Version, "pid", owner.PID)
	}
	if hello.Config != "" && owner.Config != hello.Config {
		log.Warn("another configuration is in use: the one of the iris-mcp that owns the data folder counts",
			"config", hello.Config, "owner", owner.Config, "pid", owner.PID)
	}
	return newRelay(conn, owner, out).run(ctx, in)
}

// dial reaches the owner. One that has just taken the lock may not listen yet, and the socket
// of one that was killed stays and refuses.
func dial(ctx context.Context, dir string, hello Hello) (net.Conn, Welcome, error) {
	late := time.Now().Add(dialTime)
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", socketPath(dir))
		if err == nil {
			owner, err := greet(conn, hello)
			if err == nil {
				return conn, owner, nil
			}
			conn.Close()
			if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				return nil, owner, err
			} // else it ended between our dial and its answer
		} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOTDIR) {
			return nil, Welcome{}, fmt.Errorf("reach the owner of %s: %w", dir, err)
		}
		if time.Now().After(late) {
			return nil, Welcome{}, ErrNoOwner
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, Welcome{}, context.Cause(ctx)
		}
	}
}

// greet says who we are. It reads no byte beyond the answer.
func greet(conn net.Conn, hello Hello) (Welcome, error) {
	hello.Iris, hello.PID = 1, os.Getpid()
	line, err := json.Marshal(hello)
	if err != nil {
		return Welcome{}, fmt.Errorf("encode hello: %w", err)
	}
	conn.SetDeadline(time.Now().Add(helloTime))
	defer conn.SetDeadline(time.Time{})
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return Welcome{}, greetError(err)
	}
	var answer []byte
	for b := make([]byte, 1); len(answer) < maxHello; answer = append(answer, b[0]) {
		if _, err := conn.Read(b); err != nil {
			return Welcome{}, greetError(err)
		}
		if b[0] == '\n' {
			break
		}
	}
	var owner Welcome
	if err := json.Unmarshal(answer, &owner); err != nil {
		return owner, fmt.Errorf("the owner's answer is not understood: %w", err)
	}
	if !owner.OK {
		return owner, fmt.Errorf("the owner (process %d) refused: %s", owner.PID, owner.Error)
	}
	return owner, nil
}

func greetError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrOwnerHangs
	}
	return err
}

// relay is one client's connection to the owner.
type relay struct {
	conn  net.Conn
	owner Welcome

	mu    sync.Mutex // guards all below, and writing to out
	out   io.Writer
	open  map[string]json.RawMessage // method of each request that has no answer, by its id
	over  error                      // set when the owner answers no more
	heard time.Time                  // when the owner last said something, or was first asked after a silence
	left  bool                       // the client has gone
}

func newRelay(conn net.Conn, owner Welcome, out io.Writer) *relay {
	return &relay{conn: conn, owner: owner, out: out, open: map[string]json.RawMessage{}, heard: time.Now()}
}

// run relays and cleans up. Only a client that does not read can hold that up, and only for
// leaveTime: what is blocked then ends when out is closed.
func (r *relay) run(ctx context.Context, in io.Reader) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	over := make(chan error, 1)
	go func() { over <- r.serve(ctx, end, in) }()
	select {
	case err := <-over:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-over:
		return err
	case <-time.After(leaveTime):
		return context.Cause(ctx)
	}
}

func (r *relay) serve(ctx context.Context, end context.CancelCauseFunc, in io.Reader) error {
	defer context.AfterFunc(ctx, func() { r.conn.Close() })()
	var watch sync.WaitGroup
	pings := make(chan struct{}, 1)
	watch.Go(func() { r.watch(ctx, end, pings) })
	watch.Go(func() { r.ping(pings) })
	go r.up(ctx, end, in)

	r.down()
	r.mu.Lock()
	left := r.left
	r.mu.Unlock()
	if !left {
		end(fmt.Errorf("%w (process %d)", ErrOwnerGone, r.owner.PID)) // unless it ended for another reason
	} else {
		end(errLeft)
	}
	watch.Wait()
	if left {
		return nil
	}
	r.giveUp(context.Cause(ctx))
	return context.Cause(ctx)
}

// errLeft ends a relay whose client has gone.
var errLeft = errors.New("the MCP client has gone")

// up passes the client's lines to the owner.
func (r *relay) up(ctx context.Context, end context.CancelCauseFunc, in io.Reader) {
	lines := bufio.NewReaderSize(in, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			if line[len(line)-1] != '\n' {
				line = append(line, '\n')
			}
			if r.asked(line) {
				r.conn.Write(line) // down sees it when the owner has gone
			}
		}
		if err != nil {
			break
		}
	}
	r.mu.Lock()
	r.left = true
	r.mu.Unlock()
	// What the owner still answers is passed on, and then it closes its side.
	if half, ok := r.conn.(*net.UnixConn); ok {
		half.CloseWrite()
	}
	late := time.AfterFunc(leaveTime, func() { end(errLeft) })
	context.AfterFunc(ctx, func() { late.Stop() })
}

// asked enters a request. If the owner is over it answers instead.
func (r *relay) asked(line []byte) bool {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method json.RawMessage `json:"method"`
	}
	isRequest := json.Unmarshal(line, &m) == nil && len(m.ID) > 0 && string(m.ID) != "null" && len(m.Method) > 0
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over != nil {
		if isRequest {
			r.refuse(m.ID, m.Method)
		}
		return false
	}
	if isRequest {
		if len(r.open) == 0 {
			r.heard = time.Now()
		}
		r.open[string(m.ID)] = m.Method
	}
	var n struct {
		Params struct {
			RequestID json.RawMessage `json:"requestId"`
		} `json:"params"`
	}
	if string(m.Method) == `"notifications/cancelled"` && json.Unmarshal(line, &n) == nil {
		delete(r.open, string(n.Params.RequestID)) // a cancelled request has no answer
	}
	return true
}

// down passes the owner's lines to the client until there are no more, or no client.
func (r *relay) down() {
	lines := bufio.NewReaderSize(r.conn, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return // and half a line is none
		}
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method json.RawMessage `json:"method"`
		}
		isAnswer := json.Unmarshal(line, &m) == nil && len(m.Method) == 0
		r.mu.Lock()
		r.heard = time.Now()
		if isAnswer {
			delete(r.open, string(m.ID))
		}
		if !isAnswer || string(m.ID) != `"`+pingID+`"` {
			_, err = r.out.Write(line)
		}
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// watch has an owner pinged that is silent while a request is open. It is MCP's own ping:
// whoever answers that would answer the request too.
func (r *relay) watch(ctx context.Context, end context.CancelCauseFunc, pings chan<- struct{}) {
	defer close(pings)
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.mu.Lock()
		silent, open := time.Since(r.heard), len(r.open) > 0
		r.mu.Unlock()
		switch {
		case !open:
		case silent >= pongTime:
			end(fmt.Errorf("%w (process %d)", ErrOwnerHangs, r.owner.PID))
			return
		case silent >= pingEvery:
			select {
			case pings <- struct{}{}:
			default: // the last one is not even written yet
			}
		}
	}
}

// ping writes apart from watch, for an owner that hangs may not even read.
func (r *relay) ping(pings <-chan struct{}) {
	for range pings {
		fmt.Fprintf(r.conn, `{"jsonrpc":"2.0","id":%q,"method":"ping"}`+"\n", pingID)
	}
}

// giveUp answers every open request, and those that still come, with an error.
func (r *relay) giveUp(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = err
	for id, method := range r.open {
		r.refuse(json.RawMessage(id), method)
	}
	clear(r.open)
}

// refuse answers a request in the owner's place; r.mu is held. A tool's call gets a result
// that its model reads, anything else a JSON-RPC error.
func (r *relay) refuse(id, method json.RawMessage) {
	what := "is no longer reached, for the process between was told to end"
	switch {
	case errors.Is(r.over, ErrOwnerGone):
		what = "has ended"
	case errors.Is(r.over, ErrOwnerHangs):
		what = "does not answer"
	}
	message := fmt.Sprintf("the iris-mcp process %d, which did the work, %s; whether it was done is not known", r.owner.PID, what)
	const hint = "Before you ask again: if you have a message id, call check_message with it once Iris runs again; `iris-mcp history` shows what was asked and answered."
	answer := map[string]any{"jsonrpc": "2.0", "id": id}
	if strings.Contains(string(method), "tools/call") {
		answer["result"] = map[string]any{
			"isError":           true,
			"content":           []any{map[string]any{"type": "text", "text": "PROCESS_ERROR: " + message + "\n" + hint}},
			"structuredContent": map[string]any{"error": map[string]any{"code": "PROCESS_ERROR", "message": message, "hint": hint}},
		}
	} else {
		answer["error"] = map[string]any{"code": -32603, "message": message}
	}
	line, err := json.Marshal(answer)
	if err != nil {
		panic(err) // an id that was parsed as JSON
	}
	r.out.Write(append(line, '\n')) // a client that has gone needs no answer
}

package mcp

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	mcpgo "github.com/mark3labs/mcp-go/mcp"

	iris "github.com/iris-mcp/iris-mcp"
)

// HTTP is the server over streamable HTTP: each POST brings one message and is answered with
// JSON, or with a stream of events when there is something to tell before the answer. A POST is a
// session of its own as far as mcp-go knows, so that no call's progress gets into another's
// stream, and nothing is kept between two. What a client knows as its session is an id that
// proves itself: it is good for the caller that got it, at any later owner too, and tells apart
// whose call a cancel is about.
//
// There is nothing that Iris says on its own, so there is no GET, and nothing to end by DELETE.
type HTTP struct {
	srv    *Server
	secret []byte

	mu    sync.Mutex
	calls map[callID][]*context.CancelCauseFunc // those that run
}

// callID names a running call. Without a session several may have the same.
type callID struct {
	kind    iris.CallerKind
	caller  string
	session string
	id      string // the raw bytes
}

// HTTP gives the server over HTTP. Ids of sessions are made with the secret, and those that
// were made with the same one stay good.
func (s *Server) HTTP(secret []byte) *HTTP {
	return &HTTP{srv: s, secret: secret, calls: map[callID][]*context.CancelCauseFunc{}}
}

// Serve answers a POST whose body is read and whose caller is known. A client that leaves
// cancels nothing: the messages go on. When r's context ends for another reason, that is the
// cause with which its calls end.
func (h *HTTP) Serve(w http.ResponseWriter, r *http.Request, body []byte, who iris.Caller) {
	who.Standing = true // DESIGN D3
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
	}
	_ = json.Unmarshal(body, &m) // the session says what is wrong with it
	a := &answering{w: w, r: r}
	a.begin(m.Params)
	if refusal := a.check(m.Method, m.Params); refusal != "" && m.ID != nil {
		a.refuse(http.StatusBadRequest, failure(m.ID, mcpgo.HEADER_MISMATCH, refusal))
		return
	}
	session := ""
	switch {
	case a.modern: // it has no sessions
	case m.Method == string(mcpgo.MethodInitialize):
		w.Header().Set(mcpgo.HeaderSessionID, h.newSession(who))
	default:
		session = r.Header.Get(mcpgo.HeaderSessionID)
		if session != "" && !h.good(session, who) {
			a.refuse(http.StatusNotFound, failure(m.ID, mcpgo.INVALID_REQUEST, "there is no such session of this key: initialize anew"))
			return
		}
	}

	ctx, end := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer end(nil)
	defer context.AfterFunc(r.Context(), func() {
		if cause := context.Cause(r.Context()); cause == context.Canceled {
			end(errGone)
		} else {
			end(cause)
		}
	})()
	call := callID{who.Kind, who.Name, session, string(m.ID)}
	switch {
	case m.ID == nil && m.Method == string(mcpgo.MethodNotificationCancelled):
		call.id = cancelled(m.Params)
		h.cancel(call)
	case m.ID != nil && m.Method != "":
		if !h.enter(call, &end) {
			a.refuse(http.StatusBadRequest, failure(m.ID, mcpgo.INVALID_REQUEST, "a request with this id is still running"))
			return
		}
		defer h.leave(call, &end)
	}

	c, over, err := h.srv.session(ctx, who)
	if err != nil {
		panic(err) // its id is new
	}
	defer over()
	go func() {
		c.handle(body)
		c.running.Wait()
		close(c.out)
	}()
	stop := a.beat()
	c.write(a, end) // until the goroutine is over
	stop()
	a.finish()
}

// newSession makes an id that only its caller can use.
func (h *HTTP) newSession(who iris.Caller) string {
	var random [16]byte
	rand.Read(random[:])
	id := base64.RawURLEncoding.EncodeToString(random[:])
	return id + "." + h.proof(id, who)
}

// good reports whether the session's id was made for the caller.
func (h *HTTP) good(session string, who iris.Caller) bool {
	id, proof, _ := strings.Cut(session, ".")
	return hmac.Equal([]byte(proof), []byte(h.proof(id, who)))
}

func (h *HTTP) proof(id string, who iris.Caller) string {
	mac := hmac.New(sha256.New, h.secret)
	fmt.Fprintf(mac, "%s\x00%s\x00%s", id, who.Kind, who.Name)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// cancelled is the id that a notifications/cancelled is about, in raw bytes.
func cancelled(params json.RawMessage) string {
	var p struct {
		RequestID json.RawMessage `json:"requestId"`
	}
	_ = json.Unmarshal(params, &p)
	return string(p.RequestID)
}

// enter makes a call known to a cancel; false when its session has one of this id already.
func (h *HTTP) enter(call callID, end *context.CancelCauseFunc) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if call.session != "" && len(h.calls[call]) > 0 {
		return false
	}
	h.calls[call] = append(h.calls[call], end)
	return true
}

func (h *HTTP) leave(call callID, end *context.CancelCauseFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calls[call] = slices.DeleteFunc(h.calls[call], func(e *context.CancelCauseFunc) bool { return e == end }); len(h.calls[call]) == 0 {
		delete(h.calls, call)
	}
}

// cancel ends the call, if it is clear which one is meant.
func (h *HTTP) cancel(call callID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ends := h.calls[call]; len(ends) == 1 {
		(*ends[0])(errCancelled)
	}
}

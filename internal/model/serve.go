package model

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// maxBody is as much as the real API takes.
const maxBody = 32 << 20

// ServeHTTP answers the Messages API and, harmlessly, whatever else the CLI calls.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("request-id", s.newID("req"))
	switch {
	case r.URL.Path == "/v1/messages" && r.Method == http.MethodPost:
		s.messages(w, r)
	case r.URL.Path == "/v1/messages/count_tokens" && r.Method == http.MethodPost:
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			fail(w, http.StatusRequestEntityTooLarge, "Request exceeds the maximum size")
			return
		}
		reply(w, http.StatusOK, map[string]int{"input_tokens": tokens(len(body))})
	case r.URL.Path == "/" || r.URL.Path == "/api/hello": // a look whether anybody is there
		reply(w, http.StatusOK, map[string]string{"message": "hello"})
	default:
		fail(w, http.StatusNotFound, "Not found")
	}
}

func (s *Server) messages(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("x-api-key") == "" && r.Header.Get("Authorization") == "" {
		fail(w, http.StatusUnauthorized, "x-api-key header is required")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		fail(w, http.StatusRequestEntityTooLarge, "Request exceeds the maximum size")
		return
	}
	var req apiRequest
	if err := json.Unmarshal(body, &req); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	if req.Model == "" || req.MaxTokens < 1 || len(req.Messages) == 0 {
		fail(w, http.StatusBadRequest, "model, max_tokens and messages are required")
		return
	}
	c := read(&req)
	side := req.side(c)
	rec := &Request{
		At: time.Now(), Side: side != "", Session: session(r, &req), Model: req.Model, Stream: req.Stream,
		Text: c.text, Round: c.round, Tools: c.tools, Body: body, Status: http.StatusOK,
	}
	s.keep(rec)
	s.opts.Log.Debug("model asked", "session", rec.Session, "side", side, "round", c.round, "bytes", len(body))

	var steps []step
	var groups map[string]string
	if rec.Side {
		steps = []step{{verb: "say", text: sideAnswer(side, &req, c)}}
	} else {
		p, g, err := s.plan(c)
		if err != nil {
			s.note(func() { rec.Status = http.StatusBadRequest })
			fail(w, http.StatusBadRequest, "scripted model: "+err.Error())
			return
		}
		steps, groups = c.steps(p), g
	}

	m := &message{ID: s.newID("msg"), Type: "message", Role: "assistant", Model: req.Model, Content: []any{}, Usage: reckon(c, len(body))}
	key := retryKey(rec.Session, c)
	try := sync.OnceValue(func() int { return s.try(key) })
	pl := &player{s: s, ctx: r.Context(), rec: rec, pace: s.opts.Pace, key: key, value: c.value(groups, try)}
	if req.Stream {
		out := &stream{w: w, flush: http.NewResponseController(w).Flush, message: m, first: func() { s.note(func() { rec.FirstDelta = time.Now() }) }}
		pl.out = out
	} else {
		pl.pace = 0
		pl.out = &whole{w: w, message: m}
	}
	pl.play(w, steps)
}

// session is the CLI's id of the conversation.
func session(r *http.Request, req *apiRequest) string {
	if id := r.Header.Get("X-Claude-Code-Session-Id"); id != "" {
		return id
	}
	var user struct {
		SessionID string `json:"session_id"`
	}
	if json.Unmarshal([]byte(req.Metadata.UserID), &user) != nil {
		return ""
	}
	return user.SessionID
}

// retryKey is the same for a request and its repetitions, and differs for a question that is
// asked again.
func retryKey(session string, c *conversation) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%d\x00%d\x00%s", session, c.round, len(c.earlier), c.text)
	return string(h.Sum(nil))
}

// player plays the steps of one answer.
type player struct {
	s     *Server
	ctx   context.Context // over when the client has left
	rec   *Request
	out   sink
	pace  time.Duration
	key   string
	value func(string) (string, bool)
}

// sink is an answer under way, streamed or whole. Its errors say that the client has left.
type sink interface {
	text(delta string) error
	think(delta string) error
	tool(id, name string, input json.RawMessage, wait func() error) error
	fail(kind, message string) error // the API's error in the middle of an answer
	end(stop string) error
}

func (p *player) play(w http.ResponseWriter, steps []step) {
	stop := "end_turn"
	for i, st := range steps {
		err := p.step(w, i, st)
		if err == errOver {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler) // the client has left, or is to see a broken connection
		}
		switch st.verb {
		case "tool", "also", "load":
			stop = "tool_use"
		case "stop":
			stop = st.text
		}
	}
	p.out.end(stop) // a client that has left by now has all it wanted
}

var (
	errOver = fmt.Errorf("the answer is over")
	errCut  = fmt.Errorf("the connection is to break")
)

// step plays one step; the i-th of its round.
func (p *player) step(w http.ResponseWriter, i int, st step) error {
	now := func() bool { return st.times == 0 || p.s.try(fmt.Sprintf("%s%d", p.key, i)) <= st.times }
	wait := func() error { return pause(p.ctx, p.pace) }
	switch st.verb {
	case "say":
		return each(fill(st.text, p.value), p.out.text, wait)
	case "bytes":
		return each(filler(st.n), p.out.text, wait)
	case "think":
		return each(fill(st.text, p.value), p.out.think, wait)
	case "tool", "also":
		return p.out.tool(p.s.newID("toolu"), st.tool, fillJSON(st.input, p.value), wait)
	case "load":
		return p.out.tool(p.s.newID(loadPrefix), st.tool, st.input, wait)
	case "wait":
		return pause(p.ctx, st.wait)
	case "pace":
		p.pace = st.wait
	case "fail":
		if !now() {
			return nil
		}
		if st.after != "" {
			w.Header().Set("Retry-After", st.after)
		}
		p.s.note(func() { p.rec.Status = st.n })
		fail(w, st.n, fill(st.text, p.value))
		return errOver
	case "cut":
		if now() {
			return errCut
		}
	case "break":
		if now() {
			p.out.fail(st.text, phrase(st.text)) // over either way
			return errOver
		}
	case "hang":
		if now() {
			<-p.ctx.Done()
			return p.ctx.Err()
		}
	}
	return nil
}

// kinds are the API's error types by status; others below 500 are invalid requests.
var kinds = map[int]string{
	401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
	413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 529: "overloaded_error",
}

func statusOf(kind string) int {
	for status, k := range kinds {
		if k == kind {
			return status
		}
	}
	return http.StatusInternalServerError
}

// fail answers with an error in the API's shape.
func fail(w http.ResponseWriter, status int, message string) {
	kind := "invalid_request_error"
	if status >= 500 {
		kind = "api_error"
	}
	if k, ok := kinds[status]; ok {
		kind = k
	}
	if message == "" {
		message = phrase(kind)
	}
	reply(w, status, failure(kind, message))
}

func failure(kind, message string) any {
	return map[string]any{"type": "error", "error": map[string]string{"type": kind, "message": message}}
}

// phrase is what the API says with an error of that type.
func phrase(kind string) string {
	switch kind {
	case "authentication_error":
		return "invalid x-api-key"
	case "permission_error":
		return "Your API key does not have permission to use the specified resource"
	case "rate_limit_error":
		return "This request would exceed your rate limit"
	case "overloaded_error":
		return "Overloaded"
	case "api_error":
		return "Internal server error"
	}
	return "The scripted model was told to fail"
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // fails only when the client has left
}

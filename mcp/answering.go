package mcp

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// answering is the answer to one POST: the bare JSON, unless something is to be told before it.
// Then it becomes a stream of events, whose last one is the answer.
type answering struct {
	w http.ResponseWriter
	r *http.Request

	said   string // the revision that the body names
	modern bool   // 2026-07-28 or later: no sessions, and errors have statuses of their own
	json   bool   // the client takes JSON
	events bool   // it takes events
	awake  bool   // it knows events, so that it may be sent some to keep the line awake

	mu      sync.Mutex // of what follows, and of w
	stream  bool       // events are sent
	written bool       // something was
	last    time.Time  // when; at first, when the request came
	failed  error      // why nothing more can be
}

// heartbeat is how long the line may be silent: proxies cut those that are for long.
const heartbeat = 15 * time.Second

// begin finds out what the client takes, and which revision it speaks.
func (a *answering) begin(params json.RawMessage) {
	a.last = time.Now()
	accept := strings.ToLower(strings.Join(a.r.Header.Values("Accept"), ","))
	a.json = strings.Contains(accept, "application/json")
	a.awake = strings.Contains(accept, "text/event-stream")
	a.events = a.awake || !a.json // who names neither takes either
	a.json = a.json || !a.awake
	var p struct {
		Meta *mcpgo.Meta `json:"_meta"`
	}
	_ = json.Unmarshal(params, &p)
	a.said = p.Meta.ProtocolVersion()
	a.modern = mcpgo.IsModernProtocol(a.said) || mcpgo.IsModernProtocol(a.r.Header.Get(mcpgo.HeaderProtocolVersion))
}

// check says what is wrong with the headers of a request.
func (a *answering) check(method string, params json.RawMessage) (refusal string) {
	header := a.r.Header.Get(mcpgo.HeaderProtocolVersion)
	switch {
	case !a.modern && method != string(mcpgo.MethodInitialize) && header != "" && !mcpgo.IsValidProtocolVersion(header):
		return "the header " + mcpgo.HeaderProtocolVersion + " names a revision that Iris does not know"
	case !a.modern:
		return ""
	case a.said != header:
		return "the header " + mcpgo.HeaderProtocolVersion + " and " + mcpgo.MetaKeyProtocolVersion + " in _meta must name the same revision"
	case a.r.Header.Get(mcpgo.HeaderLastEventID) != "":
		return "a stream of revision " + mcpgo.ProtocolVersion20260728 + " cannot be taken up again: send the request anew"
	}
	if err := mcpgo.ValidateStandardHeaders(a.r.Header.Get, a.said, mcpgo.MCPMethod(method), params); err != nil {
		return err.Error()
	}
	return ""
}

// Write sends an answer or a notification. A client that takes no events is told none.
func (a *answering) Write(m json.RawMessage) error {
	var head struct {
		Method string `json:"method"`
		Error  *struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m, &head); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case head.Method != "" && !a.events:
		return a.failed
	case head.Method == "" && !a.stream && a.json:
		status := http.StatusOK
		if head.Error != nil {
			status = a.status(head.Error.Code)
		}
		a.w.Header().Set("Content-Type", "application/json")
		a.w.WriteHeader(status)
		return a.put(string(m) + "\n")
	}
	a.open()
	return a.put("event: message\ndata: " + string(m) + "\n\n")
}

// status is that of an answer which is a JSON-RPC error. Before the newest revision only what
// could not be taken at all has one.
func (a *answering) status(code int) int {
	switch code {
	case mcpgo.PARSE_ERROR, mcpgo.INVALID_REQUEST, mcpgo.HEADER_MISMATCH, mcpgo.UNSUPPORTED_PROTOCOL_VERSION:
		return http.StatusBadRequest
	case mcpgo.INVALID_PARAMS, mcpgo.MISSING_REQUIRED_CLIENT_CAPABILITY:
		if a.modern {
			return http.StatusBadRequest
		}
	case mcpgo.METHOD_NOT_FOUND:
		if a.modern {
			return http.StatusNotFound
		}
	}
	return http.StatusOK
}

// open makes a stream of it; with the lock held.
func (a *answering) open() {
	if a.stream {
		return
	}
	a.stream = true
	h := a.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	a.w.WriteHeader(http.StatusOK)
}

// put writes and sends off; with the lock held.
func (a *answering) put(text string) error {
	a.written, a.last = true, time.Now()
	if a.failed == nil {
		_, a.failed = io.WriteString(a.w, text)
	}
	if a.failed == nil {
		a.failed = http.NewResponseController(a.w).Flush()
	}
	return a.failed
}

// beat keeps the line awake until stop, which waits for its end.
func (a *answering) beat() (stop func()) {
	if !a.awake {
		return func() {}
	}
	over := make(chan struct{})
	var beating sync.WaitGroup
	beating.Go(func() {
		for wait := heartbeat; ; {
			select {
			case <-over:
				return
			case <-time.After(wait):
			}
			a.mu.Lock()
			if wait = heartbeat - time.Since(a.last); wait <= 0 {
				if a.stream || !a.written {
					a.open()
					_ = a.put(": still working\n\n") // the next write fails too
				}
				wait = heartbeat
			}
			a.mu.Unlock()
		}
	})
	return func() { close(over); beating.Wait() }
}

// refuse answers with an error instead of doing anything.
func (a *answering) refuse(status int, m json.RawMessage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.w.Header().Set("Content-Type", "application/json")
	a.w.WriteHeader(status)
	_ = a.put(string(m) + "\n")
}

// finish answers what has no answer: a notification, or a call that was cancelled.
func (a *answering) finish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.written && a.r.Context().Err() == nil {
		a.w.WriteHeader(http.StatusAccepted)
	}
}

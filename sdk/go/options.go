package iris

import (
	"context"
	"time"
	"unicode/utf8"
)

// request is the body of ask, execute and stream, whose texts have different names.
type request struct {
	Question string `json:"question,omitempty"`
	Task     string `json:"task,omitempty"`
	Message  string `json:"message,omitempty"`

	Timeout         int64    `json:"timeout,omitempty"` // milliseconds
	Context         *Context `json:"context,omitempty"`
	SessionID       string   `json:"sessionId,omitempty"`
	Priority        Priority `json:"priority,omitempty"`
	CancelOnTimeout bool     `json:"cancelOnTimeout,omitempty"`
	Dedupe          *bool    `json:"dedupe,omitempty"`
	MaxAttempts     int      `json:"maxAttempts,omitempty"`

	Callback *Callback `json:"callback,omitempty"`

	attended bool   // of Stream; a header
	key      string // likewise: Idempotency-Key
}

// valid refuses texts that JSON cannot carry: they would arrive as others.
func (r *request) valid() error {
	if r == nil {
		return nil
	}
	for _, text := range []string{r.Question, r.Task, r.Message, r.SessionID} {
		if !utf8.ValidString(text) {
			return &Error{Code: CodeInvalidRequest, Message: "a text is not valid UTF-8"}
		}
	}
	return nil
}

// AskOption changes how Ask works.
type AskOption interface{ ask(*request) }

// ExecuteOption changes how Execute works.
type ExecuteOption interface{ execute(*request) }

// StreamOption changes how Stream works.
type StreamOption interface{ stream(*request) }

// An Option serves Ask, Execute and Stream alike.
type Option func(*request)

func (o Option) ask(r *request)     { o(r) }
func (o Option) execute(r *request) { o(r) }
func (o Option) stream(r *request)  { o(r) }

// A QueueOption serves Ask and Execute.
type QueueOption func(*request)

func (o QueueOption) ask(r *request)     { o(r) }
func (o QueueOption) execute(r *request) { o(r) }

type askOnly func(*request)

func (o askOnly) ask(r *request) { o(r) }

type streamOnly func(*request)

func (o streamOnly) stream(r *request) { o(r) }

type executeOnly func(*request)

func (o executeOnly) execute(r *request) { o(r) }

// WithTimeout bounds the wait for the answer of Ask (the server's default is 30 seconds, or
// what is left of the context's deadline), and the run of Execute and Stream (the default is
// the team's own limit). From a millisecond to a day.
func WithTimeout(d time.Duration) Option {
	return func(r *request) { r.Timeout = max(d.Milliseconds(), 1) }
}

// WithSession continues a conversation: the SessionID of an earlier answer, or any name of
// your own (at most 128 characters), whose conversation begins at its first use.
func WithSession(id string) Option { return func(r *request) { r.SessionID = id } }

// WithIdempotencyKey makes sure that the message is taken once, however often the call is made:
// within 24 hours the same call with the same key, a word of your own of 1 to 255 visible ASCII
// characters, leads to the same message and its answer. So the call is also repeated, as often as
// WithRetry allows, when its connection breaks and nobody knows what became of it.
func WithIdempotencyKey(key string) Option { return func(r *request) { r.key = key } }

// Context says where a message comes from. The team gets it as data beside the message.
type Context struct {
	Source   string `json:"source,omitempty"`
	Metadata any    `json:"metadata,omitempty"` // anything that encodes as JSON
}

// WithContext sends data along with the message.
func WithContext(c Context) Option { return func(r *request) { r.Context = &c } }

// Priority orders the messages that wait for a team.
type Priority string

// The priorities. Within one, first come is first served.
const (
	PriorityLow    Priority = "low"
	PriorityNormal Priority = "normal"
	PriorityHigh   Priority = "high"
)

// WithPriority moves the message before or behind others that wait.
func WithPriority(p Priority) QueueOption { return func(r *request) { r.Priority = p } }

// CancelOnTimeout cancels the message when the wait for its answer is over, instead of
// letting the team finish it.
func CancelOnTimeout() AskOption { return askOnly(func(r *request) { r.CancelOnTimeout = true }) }

// WithMaxAttempts bounds how often a task is run if it fails for a passing reason.
func WithMaxAttempts(n int) ExecuteOption {
	return executeOnly(func(r *request) { r.MaxAttempts = n })
}

// Callback is whom the server tells when a task has ended: it sends the fields jobId, messageId,
// team, status, result, error, code, duration and timestamp as JSON, signed by the rules of
// Standard Webhooks, at least once.
type Callback struct {
	URL     string            `json:"url"`
	Method  string            `json:"method,omitempty"`  // POST (default), PUT or PATCH
	Headers map[string]string `json:"headers,omitempty"` // sent along
}

// WithCallback has the server tell somebody when the task has ended.
func WithCallback(c Callback) ExecuteOption {
	return executeOnly(func(r *request) { r.Callback = &c })
}

// WithoutDedupe queues the task even if the same one waits or runs already.
func WithoutDedupe() ExecuteOption {
	return executeOnly(func(r *request) { r.Dedupe = new(bool) })
}

// Attended says that whoever reads the stream decides on the permissions that the team asks
// for (EventPermission without a Decision) with Permissions.Decide. Without it the server asks
// others, or denies at once.
func Attended() StreamOption { return streamOnly(func(r *request) { r.attended = true }) }

// patience fills in the timeout of an ask from the context's deadline, a little less, so that
// the server's TIMEOUT, which names the message, comes before the context's end.
func (r *request) patience(ctx context.Context) {
	deadline, ok := ctx.Deadline()
	if r.Timeout != 0 || !ok || r.key != "" { // a repeat must say the same
		return
	}
	left := time.Until(deadline)
	left -= min(left/10, 500*time.Millisecond)
	r.Timeout = min(max(left.Milliseconds(), 1), (24 * time.Hour).Milliseconds())
}

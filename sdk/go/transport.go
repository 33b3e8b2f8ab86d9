package iris

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// retryRule bounds the repetition of calls that were turned away.
type retryRule struct {
	tries   int
	longest time.Duration
}

// call is one request to the API.
type call struct {
	method string
	path   string // below /api/v1, escaped
	query  url.Values
	body   any    // sent as JSON unless nil
	lastID string // Last-Event-ID
	key    string // Idempotency-Key
	stream bool   // the answer is an event stream
	attend bool   // …and whoever reads it decides on permissions
}

// do sends the call, decodes the JSON answer into out, and closes it.
func (c *Client) do(ctx context.Context, r call, out any) error {
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("iris: %s %s: %w", r.method, r.path, context.Cause(ctx))
		}
		if isSyntax(err) {
			return fmt.Errorf("iris: %s %s: the answer of %s is not Iris's: %w", r.method, r.path, c.baseURL, err)
		}
		return fmt.Errorf("%w: %s %s: the answer broke off: %w", ErrUnreachable, r.method, r.path, err)
	}
	return nil
}

// isSyntax reports whether the answer came whole but was not what it should be.
func isSyntax(err error) bool {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	return errors.As(err, &syntax) || errors.As(err, &kind)
}

// send sends the call until it is accepted, refused for good, or no longer worth repeating.
// The caller closes the body of the answer.
func (c *Client) send(ctx context.Context, r call) (*http.Response, error) {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return nil, fmt.Errorf("iris: encode the request: %w", err)
		}
	}
	for try := 1; ; try++ {
		resp, err := c.once(ctx, r, body)
		if r.key != "" && errors.Is(err, ErrUnreachable) && try < c.retry.tries {
			if sleep(ctx, backoff(try, 500*time.Millisecond)) == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		if resp.StatusCode < 300 {
			return resp, nil
		}
		refused := readError(resp, c.baseURL)
		refused.Tries = try
		pause, ok := c.retry.pause(ctx, refused)
		if !ok {
			return nil, refused
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, fmt.Errorf("iris: %w, while waiting to repeat a call that failed: %w", err, refused)
		}
	}
}

// once sends the call a single time.
func (c *Client) once(ctx context.Context, r call, body []byte) (*http.Response, error) {
	address := c.baseURL + "/api/v1" + r.path
	if len(r.query) > 0 {
		address += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, address, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("iris: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	if r.stream {
		req.Header.Set("Accept", "text/event-stream")
		if !r.attend {
			req.Header.Set("Iris-Attend", "no")
		}
	}
	if r.lastID != "" {
		req.Header.Set("Last-Event-ID", r.lastID)
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	if c.apiKey != "" {
		req.Header.Set("Authorization", "Bearer "+c.apiKey)
	}
	resp, err := c.http.Do(req)
	if err == nil {
		return resp, nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("iris: %s %s: %w", r.method, r.path, context.Cause(ctx))
	}
	return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// pause says how long to wait before a refused call is sent again, and whether to. A refusal
// that names a message is none of the call: that was taken, and would be done twice.
func (rule retryRule) pause(ctx context.Context, e *Error) (time.Duration, bool) {
	if e.Status != http.StatusTooManyRequests && e.Status != http.StatusServiceUnavailable || e.Tries >= rule.tries || e.MessageID() != "" {
		return 0, false
	}
	pause := e.RetryAfter
	if pause == 0 {
		pause = backoff(e.Tries, 500*time.Millisecond)
	}
	if pause > rule.longest {
		return 0, false
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= pause {
		return 0, false
	}
	return pause, true
}

// backoff doubles with every try, up to five seconds, and varies by a quarter so that clients
// which failed together do not come back together.
func backoff(try int, first time.Duration) time.Duration {
	pause := min(first<<min(try-1, 16), 5*time.Second)
	return pause - time.Duration(rand.Int64N(int64(pause)/4+1))
}

// sleep waits, or returns the reason why the context ended first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// retryAfter reads the header: seconds, or a date.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return max(time.Duration(seconds)*time.Second, 0)
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// readError makes an Error of a refusal and closes it. What is not in Iris's form (a proxy's
// page, another program on the port) keeps its status.
func readError(resp *http.Response, baseURL string) *Error {
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	e := &Error{}
	if json.Unmarshal(text, e) != nil || e.Code == "" {
		e = &Error{
			Code:    CodeInternal,
			Message: fmt.Sprintf("%s answered %s, which is not Iris's way to say it: is that address Iris?", baseURL, resp.Status),
		}
	}
	e.Status = resp.StatusCode
	e.RetryAfter = retryAfter(resp.Header)
	if e.RequestID == "" {
		e.RequestID = resp.Header.Get("X-Request-Id")
	}
	return e
}

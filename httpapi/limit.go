package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// failuresLimit is how many bad credentials an address may show before it is told to wait. It
// is there against guessing; a good credential is never refused by it, for others may share
// the address.
var failuresLimit = iris.Limit{Requests: 100, Window: time.Minute}

// unlimited lets everybody do anything.
type unlimited struct{}

func (unlimited) Take(context.Context, string, iris.Limit) (iris.Allowance, error) {
	return iris.Allowance{Allowed: true}, nil
}

// charge counts one request against the caller's limit: RATE_LIMITED when that is used up.
// The caller is as Auth has just said, for its limit may have been changed.
func (s *Server) charge(ctx context.Context, caller iris.Caller) (iris.Allowance, error) {
	left, err := take(ctx, s.cfg.Limits, string(caller.Kind)+"/"+caller.Name, caller.Limit, "this key has used up its limit of "+caller.Limit.String())
	if iris.CodeOf(err) == iris.CodeRateLimited {
		s.cfg.Metrics.Limited("key")
	}
	return left, err
}

// refused counts a bad credential against the address that it came from, and says what is
// said of it: that it is bad, or, after too many, to wait.
func (s *Server) refused(ctx context.Context, req *request, refusal error) error {
	if iris.CodeOf(refusal) != iris.CodeUnauthorized {
		return refusal
	}
	s.cfg.Metrics.LoginFailed()
	if who := addressGroup(req.address); who != "" {
		left, err := take(ctx, s.cfg.Failures, who, failuresLimit, "too many bad credentials came from your address")
		if iris.CodeOf(err) == iris.CodeRateLimited {
			s.cfg.Metrics.Limited("address")
		}
		if err != nil {
			return req.limited(left, err)
		}
	}
	f := req.newFailure(iris.AsError(refusal))
	f.basic = s.cfg.Basic()
	return f
}

// take counts one request; RATE_LIMITED with the reason if it is one too many.
func take(ctx context.Context, l Limiter, who string, limit iris.Limit, reason string) (iris.Allowance, error) {
	left, err := l.Take(ctx, who, limit)
	if err == nil && !left.Allowed {
		wait := max(time.Until(left.ResetAt), time.Millisecond)
		err = iris.Errorf(iris.CodeRateLimited, "%s; send this again in %s", reason, roundUp(wait))
	}
	return left, err
}

// roundUp makes a wait that a person reads; it is never too short.
func roundUp(d time.Duration) time.Duration {
	unit := time.Millisecond
	if d > time.Second {
		unit = time.Second
	}
	return (d + unit - 1).Truncate(unit)
}

// limited shows a RATE_LIMITED with what was left of the limit, which is nothing. Any other
// error stays as it is.
func (req *request) limited(left iris.Allowance, err error) error {
	if iris.CodeOf(err) != iris.CodeRateLimited {
		return err
	}
	f := req.newFailure(iris.AsError(err))
	f.Limit, f.Window, f.ResetAt = left.Limit.Requests, left.Limit.Window.Milliseconds(), ceilMillis(left.ResetAt)
	return f
}

// limitHeaders tells a caller what is left of its limit. Who has none is told nothing: there is
// no number that means it to every client.
func limitHeaders(h http.Header, left iris.Allowance) {
	if left.Limit.Requests == 0 {
		return
	}
	h.Set("X-RateLimit-Limit", strconv.Itoa(left.Limit.Requests))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(left.Remaining))
	h.Set("X-RateLimit-Reset", strconv.FormatInt((ceilMillis(left.ResetAt)+999)/1000, 10))
}

// ceilMillis rounds up: who comes back at that moment is not too early.
func ceilMillis(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }

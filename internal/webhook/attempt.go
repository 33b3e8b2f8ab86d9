package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// answer is how an attempt went: delivered, gone, or pending, which is a failure that may pass.
type answer struct {
	iris.DeliveryAttempt
	state      iris.DeliveryState
	retryAfter time.Duration // that the receiver asked for
	err        error         // for the log alone: it may name addresses
}

// errTimeout ends an attempt that takes too long.
var errTimeout = errors.New("timeout")

// attempt calls the receiver once. Only the head of its answer is read: what it says besides is
// of no use here, and may have no end.
func (s *Sender) attempt(ctx context.Context, m iris.Message, to iris.Callback, settings Settings) (a answer) {
	ctx, cancel := context.WithTimeoutCause(ctx, settings.Timeout, errTimeout)
	defer cancel()
	a.At, a.state = time.Now().UTC(), iris.DeliveryPending
	defer func() { a.Took = time.Since(a.At) }()
	r, err := s.request(ctx, m, to)
	if err != nil {
		a.err, a.Problem = bare(err), "Iris could not make the request; its log says why"
		return a
	}
	resp, err := s.client.Do(r)
	if err != nil {
		if errors.Is(context.Cause(ctx), errTimeout) {
			err = errTimeout
		}
		a.err, a.Problem = bare(err), problemOf(err, settings.Timeout)
		return a
	}
	resp.Body.Close()
	a.Status = resp.StatusCode
	switch {
	case a.Status >= 200 && a.Status < 300:
		a.state = iris.DeliveryDelivered
		return a
	case a.Status == http.StatusGone:
		a.state, a.Problem = iris.DeliveryGone, "the receiver answered 410: it wants no more of it"
	case a.Status >= 300 && a.Status < 400:
		a.Problem = fmt.Sprintf("the receiver answered %d, and redirects are not followed: give the address that it leads to", a.Status)
	default:
		a.Problem = fmt.Sprintf("the receiver answered %d", a.Status)
	}
	a.retryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	return a
}

// clip shortens what a certificate may have a say in.
func clip(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "")
}

// bare is the error without the URL, which may be as good as a password.
func bare(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// retryAfter reads the header of that name, seconds or a date (RFC 9110, 10.2.3); zero for
// none, and no more than a day.
func retryAfter(text string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// problemOf says why there was no answer, in words that name no address: who may read them may
// not know what a name means inside this network.
func problemOf(err error, timeout time.Duration) string {
	var (
		dns    *net.DNSError
		cert   *tls.CertificateVerificationError
		record tls.RecordHeaderError
		alert  tls.AlertError
	)
	switch {
	case errors.Is(err, errTimeout):
		return fmt.Sprintf("no answer within %s", timeout)
	case errors.Is(err, errRefused):
		return "the address is private or reserved, or the port is one of other protocols; webhooks.allowPrivate in the configuration would allow it"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the name of the host is not known"
	case errors.As(err, &dns):
		return "the name of the host could not be looked up"
	case errors.As(err, &cert):
		return "the certificate of the receiver is not good: " + clip(cert.Err.Error())
	case errors.As(err, &record), errors.As(err, &alert), errors.Is(err, http.ErrSchemeMismatch):
		return "the receiver does not speak TLS as it should"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: the connection was refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the receiver broke the connection"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "the receiver cannot be reached from here"
	}
	return "the receiver gave no answer that is HTTP"
}

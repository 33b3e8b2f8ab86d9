package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	sdk "github.com/iris-mcp/go-client"
	"github.com/iris-mcp/iris-mcp"
)

// The exit codes, for scripts.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3 // the key, or what it may do
	exitNotFound    = 4
	exitRateLimit   = 5
	exitTimeout     = 6
	exitUnreachable = 7
	exitInterrupted = 130 // as a shell gives for Ctrl-C
)

// failure is an error that knows its exit code. Its text is whole: it says what to do.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail makes an error with an exit code.
func fail(code int, format string, args ...any) error {
	return &failure{code, fmt.Errorf(format, args...)}
}

// usage makes an error of a wrong command line.
func usage(format string, args ...any) error { return fail(exitUsage, format, args...) }

// report prints the error, if there is one, and gives the exit code. Each line of it is a
// line of ours: most errors have just one.
func report(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	code, text := explain(err)
	for line := range strings.SplitSeq(printable(text), "\n") {
		if strings.TrimSpace(line) != "" {
			fmt.Fprintln(w, "iris-mcp: "+line)
		}
	}
	return code
}

// explain gives the exit code of an error and what a person should read.
func explain(err error) (code int, text string) {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code, f.Error()
	}
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		return exitCode(iris.Code(e.Code)), say(e)
	}
	if e, ok := errors.AsType[*iris.Error](err); ok {
		return exitCode(e.Code), e.Message
	}
	switch {
	case errors.Is(err, sdk.ErrUnreachable):
		return exitUnreachable, unreachable(err)
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout, "it took too long: " + err.Error()
	}
	return exitFailed, err.Error()
}

// unreachable says where nobody answered, and what to do.
func unreachable(err error) string {
	where, why := "the address", error(err)
	if e, ok := errors.AsType[*url.Error](err); ok {
		if u, err := url.Parse(e.URL); err == nil {
			where = u.Scheme + "://" + u.Host
		}
		why = e.Err
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		why = e
	}
	return fmt.Sprintf(`no Iris answers at %s (%s): start it with "iris-mcp serve"`, where, strings.TrimPrefix(why.Error(), "iris: "))
}

// exitCode is the exit code of a failure that the server named.
func exitCode(code iris.Code) int {
	switch code {
	case iris.CodeInvalidRequest, iris.CodePayloadTooLarge:
		return exitUsage
	case iris.CodeUnauthorized, iris.CodeForbidden:
		return exitRefused
	case iris.CodeTeamNotFound, iris.CodeMessageNotFound, iris.CodeNotFound:
		return exitNotFound
	case iris.CodeRateLimited:
		return exitRateLimit
	case iris.CodeTimeout:
		return exitTimeout
	}
	return exitFailed
}

// say is what the server said, and what it cannot know: what to do about it at this command
// line.
func say(e *sdk.Error) string {
	switch e.Code {
	case sdk.CodeUnauthorized:
		if os.Getenv("IRIS_API_KEY") != "" {
			return e.Name + `; the key is the one in IRIS_API_KEY ("iris-mcp api-key create" makes one)`
		}
		if e.Name == iris.CodeUnauthorized.Name() { // no key was sent: this data folder's own server gets the local user's
			return `the Iris that answers is not the one of this data folder and wants an API key: name it with IRIS_API_KEY or --key-file, or start your own with "iris-mcp serve"`
		}
		return e.Name + `; name a key with IRIS_API_KEY or --key-file ("iris-mcp api-key create" makes one)`
	case sdk.CodeRateLimited, sdk.CodeQueueFull, sdk.CodeShuttingDown:
		if e.RetryAfter > 0 {
			return fmt.Sprintf("%s; try again in %.0f s", e.Message, math.Ceil(e.RetryAfter.Seconds()))
		}
	case sdk.CodeTimeout:
		if id := e.MessageID(); id != "" {
			return e.Message + "; " + laterAdvice(id)
		}
	}
	return e.Message
}

// laterAdvice says how to come by an answer for which nobody waits any more.
func laterAdvice(id string) string {
	return fmt.Sprintf(`read its answer later with "iris-mcp history %s", or stop it with "iris-mcp cancel %s"`, id, id)
}

// ago says how long ago something was.
func ago(t time.Time) string { return span(time.Since(t)) + " ago" }

// span says a duration as a person would.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	iris "github.com/iris-mcp/iris-mcp"
)

// failure is the one shape of every error, over REST and in a stream's error event.
type failure struct {
	Name      string       `json:"error" doc:"A short name of the error" example:"TeamNotFound"`
	Code      iris.Code    `json:"code" doc:"For programs" example:"TEAM_NOT_FOUND"`
	Message   string       `json:"message" doc:"What is wrong and what to do about it" example:"team \"backnd\" does not exist; did you mean \"backend\"?"`
	Details   any          `json:"details,omitempty" doc:"For machines; for a refused request the list of its problems"`
	Timestamp int64        `json:"timestamp" doc:"Unix milliseconds" example:"1704067200000"`
	RequestID string       `json:"requestId" doc:"The answer's X-Request-Id; it finds the line of the log" example:"req_01KAH3M4QZ8W2V5N6P7R9S0T1X"`
	Required  []iris.Scope `json:"required,omitzero" doc:"FORBIDDEN: the scopes that are needed"`
	Provided  []iris.Scope `json:"provided,omitzero" doc:"FORBIDDEN: the scopes that the key has"`
	Limit     int          `json:"limit,omitempty" doc:"RATE_LIMITED: how many requests are let in in any window"`
	Window    int64        `json:"window,omitempty" doc:"RATE_LIMITED: the length of the window in milliseconds"`
	ResetAt   int64        `json:"resetAt,omitempty" doc:"RATE_LIMITED: when the next request is let in, Unix milliseconds"`

	status  int
	retryAt time.Time // zero: nobody knows
	basic   bool      // UNAUTHORIZED: basic authentication is taken, too
}

// problem is what is wrong with a field of the request.
type problem struct {
	Field   string `json:"field"`
	Problem string `json:"problem"`
}

// statusLeft is logged for a client that went away before its answer; nobody sees it.
const statusLeft = 499

// missing is how huma's text for a missing field is told from the others: it carries the
// field's name, while its location is the parent's.
const missing = "missing "

// most is how many problems of a request are listed.
const most = 20

func (f *failure) Error() string             { return string(f.Code) + ": " + f.Message }
func (f *failure) GetStatus() int            { return f.status }
func (f *failure) ContentType(string) string { return "application/json" }

// GetHeaders are the headers that go with the error.
func (f *failure) GetHeaders() http.Header {
	switch f.Code {
	case iris.CodeUnauthorized:
		h := http.Header{"Www-Authenticate": {`Bearer realm="iris"`}}
		if f.basic {
			h.Add("WWW-Authenticate", `Basic realm="iris", charset="UTF-8"`)
		}
		return h
	case iris.CodeRateLimited:
		wait := max(1, (f.ResetAt-f.Timestamp+999)/1000) // seconds, rounded up
		return http.Header{"Retry-After": {strconv.FormatInt(wait, 10)}}
	}
	if wait := time.Until(f.retryAt); wait > 0 {
		return http.Header{"Retry-After": {strconv.Itoa(int((wait + time.Second - 1) / time.Second))}}
	}
	if f.status == http.StatusServiceUnavailable {
		return http.Header{"Retry-After": {"5"}}
	}
	return nil
}

// failure is any error as the request's client may see it.
func (req *request) failure(ctx context.Context, err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if err = cause(ctx, err); left(ctx, err) {
		f := req.newFailure(iris.Errorf(iris.CodeCancelled, "the client went away"))
		f.status = statusLeft
		return f
	}
	return req.newFailure(iris.AsError(err))
}

// newFailure shows an error; what nobody may see of it is kept for the log.
func (req *request) newFailure(e *iris.Error) *failure {
	f := &failure{
		Name: e.Code.Name(), Code: e.Code, Message: e.Message,
		Timestamp: time.Now().UnixMilli(), RequestID: req.id, status: e.Status(), retryAt: e.RetryAt,
	}
	if details := req.details(e); len(details) > 0 {
		f.Details = details
	}
	if list, ok := e.Details["errors"]; ok && e.Code == iris.CodeInvalidRequest {
		f.Details = list // the dispatcher's, in the form of refuse
	}
	if e.Code == iris.CodeUnauthorized { // this one code has several short names, see Auth
		f.Name, _, _ = strings.Cut(e.Message, ":")
	}
	req.code, req.err = e.Code, e.Err
	return f
}

// details are the error's for this caller: paths and stderr only with processes:read.
func (req *request) details(e *iris.Error) map[string]any {
	if len(e.Private) == 0 || req.caller.Kind == "" || !req.caller.May(iris.ScopeProcessesRead) {
		return e.Details
	}
	all := maps.Clone(e.Private)
	maps.Copy(all, e.Details)
	return all
}

// refuse makes an INVALID_REQUEST that lists what is wrong.
func (req *request) refuse(problems ...problem) *failure {
	said := make([]string, len(problems))
	for i, p := range problems {
		said[i] = p.Field + " " + p.Problem
	}
	f := req.newFailure(iris.Errorf(iris.CodeInvalidRequest, "%s", strings.Join(said, "; ")))
	f.Details = problems
	return f
}

// setHuma gives huma our errors and our words. They are read when a route is registered.
func setHuma() {
	huma.ValidateStrictCasing = true  // it would take "Question" for "question"
	huma.DefaultArrayNullable = false // no list of ours is ever null
	huma.NewErrorWithContext = func(h huma.Context, _ int, msg string, errs ...error) huma.StatusError {
		return humaFailure(h, msg, errs)
	}
	// huma calls this one only to learn the type, for the OpenAPI document.
	huma.NewError = func(status int, msg string, _ ...error) huma.StatusError {
		return &failure{Message: msg, status: status}
	}
	validation.MsgUnexpectedProperty = "is not a known field"
	validation.MsgExpectedRequiredProperty = missing + "%s"
	validation.MsgExpectedString = "must be a text"
	validation.MsgExpectedBoolean = "must be true or false"
	validation.MsgExpectedNumber = "must be a number"
	validation.MsgExpectedInteger = "must be a whole number"
	validation.MsgExpectedArray = "must be a list"
	validation.MsgExpectedObject = "must be an object"
	validation.MsgExpectedOneOf = "must be one of: %s"
	validation.MsgExpectedMinimumNumber = "must be at least %.0f"
	validation.MsgExpectedMaximumNumber = "must be at most %.0f"
	validation.MsgExpectedMinLength = "must have at least %d characters"
	validation.MsgExpectedMaxLength = "must have at most %d characters"
	validation.MsgExpectedMinItems = "must have at least %d items"
	validation.MsgExpectedMaxItems = "must have at most %d items"
	validation.MsgExpectedMaxProperties = "must have at most %d fields"
	validation.MsgExpectedMatchExactlyOneSchema = "has none of the forms that it may have"
	validation.MsgExpectedBePattern = "must be %s"
}

// humaFailure is what huma found wrong with a request. huma gives it statuses of its own
// (422, 408, 500 for a broken body); here all of it is INVALID_REQUEST, unless the body's
// reader has said what it is.
func humaFailure(h huma.Context, msg string, errs []error) *failure {
	return requestOf(h.Context()).invalid(msg, errs)
}

// invalid makes an INVALID_REQUEST of huma's errors, or of its text if there is none.
func (req *request) invalid(msg string, errs []error) *failure {
	var problems []problem
	for _, err := range errs {
		if e, ok := errors.AsType[*iris.Error](err); ok {
			return req.newFailure(e)
		}
		p, path := problemOf(err)
		if path {
			return req.newFailure(emptyName(p.Field))
		}
		problems = append(problems, p)
	}
	if len(problems) == 0 {
		problems = []problem{{"body", "is missing: send a JSON object"}}
		if !strings.Contains(msg, "body is required") {
			problems[0].Problem = msg
		}
	}
	slices.SortStableFunc(problems, func(a, b problem) int { return cmp.Compare(a.Field, b.Field) })
	problems = slices.CompactFunc(problems, func(a, b problem) bool { return a.Field == b.Field })
	return req.refuse(problems[:min(len(problems), most)]...)
}

// problemOf reads one of huma's errors, and says whether it is about the path.
func problemOf(err error) (p problem, path bool) {
	d, ok := errors.AsType[*huma.ErrorDetail](err)
	if !ok {
		return problem{"body", err.Error()}, false
	}
	in, field, _ := strings.Cut(d.Location, ".")
	if name, ok := strings.CutPrefix(d.Message, missing); ok {
		if field != "" {
			name = field + "." + name
		}
		return problem{name, "is missing"}, false
	}
	if name, ok := strings.CutPrefix(d.Message, twice); ok {
		return problem{clip(name), "is given twice"}, false
	}
	text := d.Message
	switch text {
	case "unknown query parameter":
		text = "is not a known query parameter"
	case "invalid integer":
		text = validation.MsgExpectedInteger
	}
	return problem{clip(cmp.Or(field, in)), text}, in == "path"
}

// emptyName is what is wrong with a path like /teams//ask: its parameters have no rules that
// huma knows, but that they are there.
func emptyName(parameter string) *iris.Error {
	if parameter == "team" {
		return iris.Errorf(iris.CodeTeamNotFound, "the path has no team in it")
	}
	return iris.Errorf(iris.CodeMessageNotFound, "the path has no message id in it")
}

// clip shortens what a client named before it is told it again.
func clip(s string) string {
	const longest = 100
	if len(s) <= longest {
		return s
	}
	return fmt.Sprintf("%s…", strings.ToValidUTF8(s[:longest], ""))
}

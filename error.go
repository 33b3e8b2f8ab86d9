package iris

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// Code names a kind of failure to every caller, over every protocol.
type Code string

const (
	CodeInvalidRequest   Code = "INVALID_REQUEST"
	CodeUnauthorized     Code = "UNAUTHORIZED"
	CodeForbidden        Code = "FORBIDDEN"
	CodeTeamNotFound     Code = "TEAM_NOT_FOUND"
	CodeMessageNotFound  Code = "MESSAGE_NOT_FOUND"
	CodeNotFound         Code = "NOT_FOUND"
	CodeMethodNotAllowed Code = "METHOD_NOT_ALLOWED"
	CodeTimeout          Code = "TIMEOUT"
	CodeCancelled        Code = "CANCELLED"
	CodeConflict         Code = "CONFLICT"
	CodePayloadTooLarge  Code = "PAYLOAD_TOO_LARGE"
	CodeUnsupportedMedia Code = "UNSUPPORTED_MEDIA_TYPE"
	CodeRateLimited      Code = "RATE_LIMITED"
	CodeProcess          Code = "PROCESS_ERROR"
	CodeQueueFull        Code = "QUEUE_FULL"
	CodeShuttingDown     Code = "SHUTTING_DOWN"
	CodeInternal         Code = "INTERNAL_ERROR"
)

// codes is the only place where a failure meets a protocol. Whether a retry may help is said
// by the error itself (Error.Retry): one code has both kinds of cause.
var codes = map[Code]struct {
	status int
	name   string
	hint   string
}{
	CodeInvalidRequest:   {http.StatusBadRequest, "InvalidRequest", "Correct the arguments and call again."},
	CodeUnauthorized:     {http.StatusUnauthorized, "Missing or invalid Authorization header", "Ask the user for a valid API key."},
	CodeForbidden:        {http.StatusForbidden, "Insufficient permissions", "Tell the user which permission is missing."},
	CodeTeamNotFound:     {http.StatusNotFound, "TeamNotFound", "Call list_teams for the names."},
	CodeMessageNotFound:  {http.StatusNotFound, "MessageNotFound", "Check the message id."},
	CodeNotFound:         {http.StatusNotFound, "NotFound", "Check the id."},
	CodeMethodNotAllowed: {http.StatusMethodNotAllowed, "MethodNotAllowed", ""},
	CodeTimeout:          {http.StatusRequestTimeout, "Timeout", "The team is still working on it: call check_message with the message id."},
	CodeCancelled:        {http.StatusConflict, "Cancelled", "Ask again if the answer is still wanted."},
	CodeConflict:         {http.StatusConflict, "Conflict", ""},
	CodePayloadTooLarge:  {http.StatusRequestEntityTooLarge, "PayloadTooLarge", "Send less text."},
	CodeUnsupportedMedia: {http.StatusUnsupportedMediaType, "UnsupportedMediaType", ""},
	CodeRateLimited:      {http.StatusTooManyRequests, "Rate limit exceeded", "Wait, then call again."},
	CodeProcess:          {http.StatusInternalServerError, "ProcessError", "Tell the user what the message says; asking again may help if the process died."},
	CodeQueueFull:        {http.StatusServiceUnavailable, "QueueFull", "Wait, then call again."},
	CodeShuttingDown:     {http.StatusServiceUnavailable, "ShuttingDown", "Wait a few seconds, then call again."},
	CodeInternal:         {http.StatusInternalServerError, "InternalError", ""},
}

// Codes lists every code.
func Codes() []Code { return slices.Sorted(maps.Keys(codes)) }

// Status is the HTTP status of the code; an unknown code is an internal error.
func (c Code) Status() int {
	if row, ok := codes[c]; ok {
		return row.status
	}
	return http.StatusInternalServerError
}

// Name is the code's short name, the field "error" of a REST answer.
func (c Code) Name() string {
	if row, ok := codes[c]; ok {
		return row.name
	}
	return codes[CodeInternal].name
}

// Hint is what a model should do next, said after the message in an MCP tool result.
func (c Code) Hint() string { return codes[c].hint }

// Error is a failure that a caller is told of. It is stored with the message it ended.
type Error struct {
	Code    Code           `json:"code"`
	Message string         `json:"message"`           // tells a person what to do
	Details map[string]any `json:"details,omitempty"` // machine-readable
	Private map[string]any `json:"private,omitempty"` // details only for processes:read: paths, stderr
	Retry   bool           `json:"retry,omitempty"`   // the same may go well another time
	// RetryAt says when: before it, the same will not go well. Zero: nobody knows. On a
	// PROCESS_ERROR it is for all of the team.
	RetryAt time.Time `json:"retryAt,omitzero"`
	Err     error     `json:"-"` // for the log
}

// Errorf makes an Error with a formatted message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Status is the HTTP status of the error: that of its code, but an internal error that may pass
// by itself, such as a full disk, is one of the service for now.
func (e *Error) Status() int {
	if e.Code == CodeInternal && e.Retry {
		return http.StatusServiceUnavailable
	}
	return e.Code.Status()
}

// Passes reports whether what went wrong may pass, as the error itself says (Retry): then the
// same is worth another try.
func Passes(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Retry
}

// With adds a detail and returns the same error.
func (e *Error) With(key string, value any) *Error {
	if e.Details == nil {
		e.Details = map[string]any{}
	}
	e.Details[key] = value
	return e
}

// About is a copy of the error with the id of the message that it is about: the error itself
// may be shared.
func (e *Error) About(messageID string) *Error {
	about := *e
	about.Details = map[string]any{}
	maps.Copy(about.Details, e.Details)
	return about.With("messageId", messageID)
}

// Because sets the cause, for the log, and returns the same error.
func (e *Error) Because(err error) *Error {
	e.Err = err
	return e
}

func (e *Error) Error() string {
	if e.Err != nil {
		return string(e.Code) + ": " + e.Message + ": " + e.Err.Error()
	}
	return string(e.Code) + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is compare codes, against an Error that has nothing but a code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Message == "" && t.Code == e.Code
}

// CodeOf is the code of an error. What nobody named is an internal error.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// AsError is the error as a caller may see it: an Error is kept, anything else becomes a mute
// internal error whose cause is only for the log.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Message: "something went wrong inside Iris; the log says what", Err: err}
}

// ErrExpired is why a credential is refused that was good until it came to its own end, which
// nobody hastened.
var ErrExpired = errors.New("the credential has expired")

// ErrFinal is what comes back when a message already has its one final state, or when the
// job's lease has gone to another attempt.
var ErrFinal = errors.New("the message already ended, or its job belongs to another attempt")

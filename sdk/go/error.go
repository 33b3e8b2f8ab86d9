package iris

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrUnreachable is wrapped by every error of a call that got no answer: nobody listens at
// the address, or the connection broke.
var ErrUnreachable = errors.New("iris: the server cannot be reached")

// Code names a kind of failure.
type Code string

// The codes of the API. Clients should expect others, of later servers.
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

// Error is what the server says when it refuses a call, or when a message ended badly.
type Error struct {
	Code      Code            `json:"code"`
	Name      string          `json:"error,omitempty"`   // the short name, or words of the protocol
	Message   string          `json:"message"`           // tells a person what to do
	Details   json.RawMessage `json:"details,omitempty"` // machine-readable; what is in it depends on the code
	RequestID string          `json:"requestId,omitempty"`

	Required []string `json:"required,omitempty"` // FORBIDDEN: the scopes that are needed
	Provided []string `json:"provided,omitempty"` // FORBIDDEN: the scopes of the key

	Status     int           `json:"-"` // HTTP; zero in the last event of a stream
	RetryAfter time.Duration `json:"-"` // what the server asked to wait; zero if it did not
	Tries      int           `json:"-"` // how often the call was sent
}

func (e *Error) Error() string {
	text := fmt.Sprintf("iris: %s: %s", e.Code, e.Message)
	if e.Tries > 1 {
		text += fmt.Sprintf(" (gave up after %d tries)", e.Tries)
	}
	return text
}

// Is makes errors.Is compare codes, against an Error that has nothing but a code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Message == "" && t.Code == e.Code
}

// MessageID is the message that the error is about, where the server names it. After a
// TIMEOUT, Messages.Wait fetches its answer.
func (e *Error) MessageID() string {
	var details struct {
		MessageID string `json:"messageId"`
	}
	_ = json.Unmarshal(e.Details, &details) // details of another form name no message
	return details.MessageID
}

// CodeOf is the code of an error that came from the server, or empty.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

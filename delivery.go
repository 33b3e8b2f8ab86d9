package iris

import "time"

// Callback says whom to tell of a task's end. Its headers are its caller's secrets: they are
// sent to the receiver and shown to nobody.
type Callback struct {
	URL     string            `json:"url"`
	Method  string            `json:"method,omitempty"` // empty: POST
	Headers map[string]string `json:"headers,omitempty"`
}

// DeliveryState is where the telling of a task's end is.
type DeliveryState string

const (
	DeliveryPending   DeliveryState = "pending"   // the task has not ended, or an attempt is due or runs
	DeliveryDelivered DeliveryState = "delivered" // the receiver took it
	DeliveryFailed    DeliveryState = "failed"    // every attempt failed
	DeliveryGone      DeliveryState = "gone"      // the receiver wants no more of it (410)
)

// DeliveryStates lists all of them.
var DeliveryStates = []DeliveryState{DeliveryPending, DeliveryDelivered, DeliveryFailed, DeliveryGone}

// Delivery is the telling of one task's end to its callback.
type Delivery struct {
	URL      string
	Method   string
	State    DeliveryState
	Attempts []DeliveryAttempt // the newest, the oldest of them first
	Failures int               // in a row, since the task's end or since it was sent again
	NextAt   time.Time         // of the next attempt; zero when none is planned
}

// DeliveryAttempt is one call of a receiver.
type DeliveryAttempt struct {
	At      time.Time
	Took    time.Duration
	Status  int    // of the answer; zero without one
	Problem string // why it failed, in words that anybody may read who may read the message
}

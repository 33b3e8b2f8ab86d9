package iris

import (
	"encoding/json"
	"time"
)

// Time is a moment. On the wire it is Unix milliseconds.
type Time struct{ time.Time }

// MarshalJSON writes Unix milliseconds.
func (t Time) MarshalJSON() ([]byte, error) { return json.Marshal(t.UnixMilli()) }

// UnmarshalJSON reads Unix milliseconds; null leaves it unset.
func (t *Time) UnmarshalJSON(text []byte) error {
	var ms *int64
	if err := json.Unmarshal(text, &ms); err != nil || ms == nil {
		return err
	}
	t.Time = time.UnixMilli(*ms)
	return nil
}

// Duration is a span of time. On the wire it is milliseconds.
type Duration struct{ time.Duration }

// MarshalJSON writes milliseconds.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.Milliseconds()) }

// UnmarshalJSON reads milliseconds; null leaves it unset.
func (d *Duration) UnmarshalJSON(text []byte) error {
	var ms *int64
	if err := json.Unmarshal(text, &ms); err != nil || ms == nil {
		return err
	}
	d.Duration = time.Duration(*ms) * time.Millisecond
	return nil
}

// Answer is what a team answered to Ask.
type Answer struct {
	MessageID string    `json:"messageId"`
	Team      string    `json:"team"`
	Question  string    `json:"question"`
	Response  string    `json:"response"`
	Duration  Duration  `json:"duration"`
	Timestamp Time      `json:"timestamp"`
	SessionID string    `json:"sessionId,omitempty"` // continue the conversation with WithSession
	Metadata  *Metadata `json:"metadata,omitempty"`
}

// Metadata is what a turn did and cost.
type Metadata struct {
	FilesAccessed []string `json:"filesAccessed"` // relative to the team's folder, each once, in order
	ToolsUsed     []string `json:"toolsUsed"`     // each once, in order
	Model         string   `json:"model,omitempty"`
	Usage         Usage    `json:"usage"`
	CostUSD       float64  `json:"costUsd"`
	Turns         int      `json:"turns"` // the agent's round trips to its model
}

// Usage counts tokens.
type Usage struct {
	InputTokens      int64 `json:"inputTokens"`
	OutputTokens     int64 `json:"outputTokens"`
	CacheReadTokens  int64 `json:"cacheReadTokens"`
	CacheWriteTokens int64 `json:"cacheWriteTokens"`
}

// Job is a task that Execute left behind.
type Job struct {
	JobID               string `json:"jobId"`
	MessageID           string `json:"messageId"`
	Team                string `json:"team"`
	Status              Status `json:"status"`
	EstimatedCompletion Time   `json:"estimatedCompletion,omitzero"` // zero: unknown yet
	Position            int    `json:"position"`                     // 1 runs next; 0 runs already
}

// Status is where a message is in its life.
type Status string

// The statuses. The last three never change again.
const (
	StatusQueued     Status = "queued"
	StatusProcessing Status = "processing"
	StatusCompleted  Status = "completed"
	StatusFailed     Status = "failed"
	StatusCancelled  Status = "cancelled"
)

// Final reports whether the status never changes again.
func (s Status) Final() bool {
	return s == StatusCompleted || s == StatusFailed || s == StatusCancelled
}

// Message is what was said to a team and what became of it.
type Message struct {
	MessageID           string    `json:"messageId"`
	JobID               string    `json:"jobId,omitempty"`
	Team                string    `json:"team"`
	From                string    `json:"from"`
	To                  string    `json:"to"`
	Caller              string    `json:"caller,omitempty"` // the name of the API key that asked
	Message             string    `json:"message,omitempty"`
	Status              Status    `json:"status"`
	Progress            *Progress `json:"progress,omitempty"`
	CreatedAt           Time      `json:"createdAt,omitzero"`
	StartedAt           Time      `json:"startedAt,omitzero"`
	CompletedAt         Time      `json:"completedAt,omitzero"`
	Duration            Duration  `json:"duration,omitzero"`  // from its acceptance to its end
	Timestamp           Time      `json:"timestamp,omitzero"` // in History: its creation
	EstimatedCompletion Time      `json:"estimatedCompletion,omitzero"`
	Attempts            int       `json:"attempts,omitempty"` // runs begun; not in History
	Response            string    `json:"response,omitempty"`
	Error               string    `json:"error,omitempty"` // why it failed, for a person
	Code                Code      `json:"code,omitempty"`  // its code
	SessionID           string    `json:"sessionId,omitempty"`
	Metadata            *Metadata `json:"metadata,omitempty"`

	Deliveries []Delivery `json:"deliveries,omitempty"` // of a task with a callback
}

// Delivery is how far the telling of a task's end has come.
type Delivery struct {
	URL         string            `json:"url"` // whole only for who gave it
	Method      string            `json:"method"`
	State       string            `json:"state"`    // pending, delivered, failed, or gone: the receiver wants no more of it
	Attempts    []DeliveryAttempt `json:"attempts"` // the newest, the oldest of them first
	NextAttempt Time              `json:"nextAttempt,omitzero"`
}

// DeliveryAttempt is one call of a callback.
type DeliveryAttempt struct {
	Timestamp Time     `json:"timestamp"`
	Duration  Duration `json:"duration"`
	Status    int      `json:"status,omitempty"` // of the receiver's answer, if it gave one
	Error     string   `json:"error,omitempty"`  // why it failed
}

// Err is why the message failed or was cancelled, or nil.
func (m *Message) Err() error {
	if m.Code == "" {
		return nil
	}
	return &Error{Code: m.Code, Message: m.Error}
}

// Progress is how far a message has come, by the agent's own list of tasks.
type Progress struct {
	Current    int `json:"current"`
	Total      int `json:"total"`
	Percentage int `json:"percentage"`
}

package iris

import (
	"context"
	"errors"
	"time"
)

// What may become of a start or a turn; the pool knows what to do then.
var (
	// ErrConversationLost: it was to resume a conversation that it does not know.
	ErrConversationLost = errors.New("the CLI knows no such conversation")
	// ErrConversationTaken: it was to begin a conversation whose id exists already.
	ErrConversationTaken = errors.New("the CLI has a conversation of that id already")
	// ErrNotBegun: its process was gone before a turn's message reached it, so that turn can
	// be taken to another one.
	ErrNotBegun = errors.New("the process was gone before the message reached it")
)

// Session is one conversation of a team with a caller. It outlives the process that holds
// it and Iris itself.
type Session struct {
	ID        string // "ses_…"
	Team      string
	Caller    Caller // Kind and Name only
	Name      string // the caller's own name for it, or empty
	AgentID   string // the CLI's id of the conversation, a UUID
	Started   bool   // the CLI was given a first message under AgentID, so it can be resumed
	CreatedAt time.Time
	UsedAt    time.Time
}

// Turn is one run of a message in its session, as the agent is asked to do it.
type Turn struct {
	MessageID string
	Session   Session
	Team      Team
	From      string // who asks, as the agent is told: Caller.From
	Text      string // the caller's words, as they came
	Context   *Context
	Awaited   bool // somebody waits for the answer: a clear error is better than minutes of silence

	// Emit is called for each event of the turn, one at a time and in order, but for the
	// last, which is Turn's result. Only what the kind says is filled in.
	Emit func(Event)
	// Decide is asked for leave. Several calls may run at once; each ends with its context,
	// which is over when the agent no longer wants to know.
	Decide func(context.Context, Permission) Decision
}

// Result is how a turn ended well, or what a failed one had done by then.
type Result struct {
	Text     string // the whole text of the turn's last assistant message
	Metadata Metadata
}

// ProcessState is what a process is doing.
type ProcessState string

const (
	ProcessStarting ProcessState = "starting"
	ProcessIdle     ProcessState = "idle"
	ProcessBusy     ProcessState = "busy"
	ProcessStopping ProcessState = "stopping"
)

// Process is a running CLI, as status shows it.
type Process struct {
	PID       int // zero while it starts
	Team      string
	SessionID string // empty: a warm spare
	From      string // whose session; empty for a spare
	State     ProcessState
	StartedAt time.Time
	UsedAt    time.Time
	Messages  int   // turns it has run
	RSS       int64 // bytes; zero when unknown
}

// Slept says what became of the processes of a team that was put to sleep.
type Slept struct {
	Ended     int // at once
	Finishing int // busy ones, which end after their turn
}

// TeamState sums a team up in a word.
type TeamState string

const (
	TeamAsleep   TeamState = "asleep"   // no process
	TeamStarting TeamState = "starting" // only starting ones
	TeamIdle     TeamState = "idle"
	TeamBusy     TeamState = "busy"
	TeamError    TeamState = "error" // no process, and the last start or turn failed
)

// TeamStatus is what a team is doing.
type TeamStatus struct {
	Team      Team
	State     TeamState
	Processes []Process
	Waiting   int // jobs
	Running   int
	Sessions  int // ever made and not reset
	Usage     TeamUsage
	LastError *Error // of the last start or turn that failed, until one succeeds
}

// TeamUsage sums up a team's finished messages.
type TeamUsage struct {
	Messages int
	Usage    Usage
	CostUSD  float64
}

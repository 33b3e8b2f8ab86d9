package iris

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// Status is where a message is in its life. docs/messages.md draws it.
type Status string

const (
	StatusQueued     Status = "queued"
	StatusProcessing Status = "processing"
	StatusCompleted  Status = "completed"
	StatusFailed     Status = "failed"
	StatusCancelled  Status = "cancelled"
)

// Statuses lists all of them.
var Statuses = []Status{StatusQueued, StatusProcessing, StatusCompleted, StatusFailed, StatusCancelled}

// Final reports whether the status never changes again.
func (s Status) Final() bool {
	return s == StatusCompleted || s == StatusFailed || s == StatusCancelled
}

// Priority orders waiting jobs: higher first.
type Priority int

const (
	PriorityLow    Priority = 1
	PriorityNormal Priority = 2
	PriorityHigh   Priority = 3
)

func (p Priority) String() string {
	switch p {
	case PriorityLow:
		return "low"
	case PriorityHigh:
		return "high"
	default:
		return "normal"
	}
}

// ParsePriority reads low, normal or high; empty is normal.
func ParsePriority(s string) (Priority, bool) {
	switch s {
	case "low":
		return PriorityLow, true
	case "", "normal":
		return PriorityNormal, true
	case "high":
		return PriorityHigh, true
	}
	return 0, false
}

// Context is what a caller says about where its message comes from. The agent gets it as
// data beside the message.
type Context struct {
	Source   string          `json:"source,omitempty" doc:"A text" example:"github-webhook"`
	Metadata json.RawMessage `json:"metadata,omitempty" doc:"Any JSON"`
}

// Ask is a message as it is submitted.
type Ask struct {
	Caller      Caller
	Team        string
	Text        string // not blank; valid UTF-8
	Context     *Context
	SessionID   string // "ses_…", or a name of the caller's own; empty: the rule of DESIGN D3
	Task        bool   // execute, tell_team: nobody waits, it may run again
	Priority    Priority
	Timeout     time.Duration // the most a turn may take; zero: the team's
	Until       time.Time     // when whoever waits for the answer leaves; zero: nobody says
	MaxAttempts int           // of a task; zero: the queue's
	NoDedupe    bool          // a task: run it even if the same one waits or runs
	Callback    *Callback     // of a task: whom to tell of its end
	Once        Once          // the request that it came with, if that may come again
}

// Message is what a caller said to a team and what became of it.
type Message struct {
	ID          string // "msg_…"
	Team        string
	Caller      Caller // Kind and Name only
	SessionID   string // "ses_…"
	SessionName string // the caller's own name for the session, if it has one
	Text        string
	Context     *Context
	Task        bool
	Priority    Priority
	Timeout     time.Duration
	MaxAttempts int
	Callback    *Callback // as it is accepted; a message that is read has none, see Delivery
	Once        Once      // likewise: the request that it came with
	Repeated    bool      // as it comes back from Submit: the same request had been accepted before

	Status      Status
	Attempts    int // turns begun
	CreatedAt   time.Time
	StartedAt   time.Time // of the last turn; zero until there is one
	CompletedAt time.Time // zero until Final

	Progress Progress  // of the last attempt, by the agent's own list of tasks
	Response string    // the agent's answer, when completed
	Err      *Error    // why, when failed or cancelled
	Metadata *Metadata // what its turns did, when there were any
}

// JobID is the id of the job that runs the message; both share one ULID.
func (m Message) JobID() string { return JobPrefix + ULID(m.ID) }

// SessionRef is the session as its caller knows it: the caller's own name, else the id.
func (m Message) SessionRef() string {
	if m.SessionName != "" {
		return m.SessionName
	}
	return m.SessionID
}

// Outcome is nil for a completed message, else why it has no answer, with the message's id
// among the details.
func (m Message) Outcome() error {
	switch {
	case m.Status == StatusCompleted:
		return nil
	case m.Err != nil:
		return m.Err.About(m.ID)
	case m.Status == StatusCancelled:
		return Errorf(CodeCancelled, "the message to team %q was cancelled", m.Team).About(m.ID)
	default:
		return Errorf(CodeInternal, "the message to team %q is %s, and nothing says why", m.Team, m.Status).About(m.ID)
	}
}

// Duration is how long the message took from its acceptance to its end; zero until then.
func (m Message) Duration() time.Duration {
	if m.CompletedAt.IsZero() {
		return 0
	}
	return m.CompletedAt.Sub(m.CreatedAt)
}

// Progress is how much of what the agent set itself to do is done. Without a list of its own
// the total is zero: nothing is known.
type Progress struct {
	Current int `json:"current"`
	Total   int `json:"total"`
}

// Percentage is the whole percents that are done, 100 only when all is.
func (p Progress) Percentage() int {
	if p.Total == 0 {
		return 0
	}
	return 100 * p.Current / p.Total
}

// Metadata is what a turn did and cost, or all turns of a message together.
type Metadata struct {
	FilesAccessed []string `json:"filesAccessed" doc:"Files that its tools touched, relative to the project, each once, in order" example:"[\"prisma/schema.prisma\",\"package.json\"]"`
	ToolsUsed     []string `json:"toolsUsed" doc:"Tools that it called, each once, in order" example:"[\"Read\",\"Grep\"]"`
	Model         string   `json:"model,omitempty" doc:"The model that answered" example:"claude-sonnet-4-5"`
	Usage         Usage    `json:"usage" doc:"Tokens"`
	CostUSD       float64  `json:"costUsd" doc:"As Claude Code reckons it" example:"0.01"`
	Turns         int      `json:"turns" doc:"The agent's round trips to its model" example:"2"`
}

// Plus sums up what two turns of a message did, the later one last.
func (m Metadata) Plus(later Metadata) Metadata {
	return Metadata{
		FilesAccessed: union(m.FilesAccessed, later.FilesAccessed),
		ToolsUsed:     union(m.ToolsUsed, later.ToolsUsed),
		Model:         cmp.Or(later.Model, m.Model),
		Usage:         m.Usage.Plus(later.Usage),
		CostUSD:       m.CostUSD + later.CostUSD,
		Turns:         m.Turns + later.Turns,
	}
}

// union is both lists in order, each word once; never nil.
func union(a, b []string) []string {
	all := []string{}
	for _, s := range slices.Concat(a, b) {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// Usage counts tokens.
type Usage struct {
	InputTokens      int64 `json:"inputTokens" doc:"Tokens of input that were not cached" example:"10"`
	OutputTokens     int64 `json:"outputTokens" doc:"Tokens of output" example:"200"`
	CacheReadTokens  int64 `json:"cacheReadTokens" doc:"Tokens of input read from the cache" example:"0"`
	CacheWriteTokens int64 `json:"cacheWriteTokens" doc:"Tokens of input written to the cache" example:"0"`
}

// Plus is the sum.
func (u Usage) Plus(o Usage) Usage {
	return Usage{
		InputTokens:      u.InputTokens + o.InputTokens,
		OutputTokens:     u.OutputTokens + o.OutputTokens,
		CacheReadTokens:  u.CacheReadTokens + o.CacheReadTokens,
		CacheWriteTokens: u.CacheWriteTokens + o.CacheWriteTokens,
	}
}

// Filter selects messages of the history, newest first.
type Filter struct {
	Team   string   // "" any
	From   string   // as Caller.From; "" any
	Status Status   // "" any
	Teams  []string // a bound key's teams; empty: all
	Since  time.Time
	Until  time.Time
	Query  string // words that all stand in the message or its response; "" any
	Limit  int    // 1…200
	Page   int    // from 1; of no account beside a cursor
	After  Cursor // only what comes after it; zero: from the newest
}

// Page is one page of the history.
type Page struct {
	Messages    []Message
	Total       int    // of all pages, exact unless it is capped
	TotalCapped bool   // a query found more than Total
	Next        Cursor // where the next page begins; zero when this is the last
}

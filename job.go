package iris

import "time"

// JobKind says who runs a job.
type JobKind string

const (
	JobTurn     JobKind = "turn"     // runs a message
	JobDelivery JobKind = "delivery" // tells a webhook of one
)

// JobState is where a job is. A job whose message is final is done.
type JobState string

const (
	JobWaiting JobState = "waiting"
	JobRunning JobState = "running"
	JobDone    JobState = "done"
)

// Job is a row of the queue. Whoever holds its lease under this Attempt may finish it; an
// older attempt changes nothing.
type Job struct {
	ID        string // "job_…"
	Kind      JobKind
	MessageID string
	Team      string
	SessionID string
	Task      bool
	Priority  Priority
	Attempt   int       // 1 for the first claim
	RunAt     time.Time // not before
	LeaseEnds time.Time // while running
}

// Claim is what a free worker will take.
type Claim struct {
	Worker string        // names the owner, for the record
	Lease  time.Duration // how long the claim holds unless it is renewed
	// FullTeams take no job at all now, FullTasks no task. A session with a running job
	// never takes another.
	FullTeams []string
	FullTasks []string
}

// Backlog counts a team's jobs.
type Backlog struct {
	Waiting int
	Running int
}

package dispatch

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// runsAgain is the one rule for what did not come to its own end (DESIGN D12): a task goes
// back to the queue while it has attempts left, for somebody relies on its being done; a
// message that somebody waited for does not, since nobody does any more, or is told at once,
// and a side effect done twice is worse than an honest failure.
func runsAgain(m iris.Message) bool { return m.Task && m.Attempts < m.MaxAttempts }

// longestBackoff is the longest pause between two attempts, but for the jitter.
const longestBackoff = 5 * time.Minute

// backoff is the pause after so many attempts: it doubles with each, up to longestBackoff, and
// is up to a quarter longer or shorter, so that what failed together does not return together.
func backoff(first time.Duration, attempts int) time.Duration {
	pause := first
	for range attempts - 1 {
		if pause >= longestBackoff {
			break
		}
		pause *= 2
	}
	pause = min(pause, longestBackoff)
	return min(pause-pause/4+rand.N(pause/2+1), longestBackoff)
}

// interrupted tells of an attempt that the end of Iris cut off.
func interrupted(m iris.Message) iris.Event {
	return iris.Event{MessageID: m.ID, Kind: iris.EventRetry, Text: fmt.Sprintf(
		"Iris ended in the middle of attempt %d of %d. The next one follows", m.Attempts, m.MaxAttempts)}
}

// cutOff is why a message failed that was not run again. It is no SHUTTING_DOWN: that is for
// what was not begun, and clients send it again by themselves.
func cutOff() *iris.Error {
	return iris.Errorf(iris.CodeProcess,
		"Iris ended while the team was answering; what the team did until then stays done. Ask again if you still need the answer")
}

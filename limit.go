package iris

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Limit allows so many requests in any window of time. Without requests it is no limit.
type Limit struct {
	Requests int
	Window   time.Duration // whole milliseconds
}

// The bounds of a limit that somebody sets. They keep what has to be remembered of one caller
// below a few megabytes.
const (
	MaxLimitRequests = 1_000_000
	MaxLimitWindow   = 24 * time.Hour
)

// Tier is a limit with a name.
type Tier string

const (
	TierStandard   Tier = "standard" // what a key has of which nothing is said
	TierPremium    Tier = "premium"
	TierEnterprise Tier = "enterprise" // no limit
)

// Tiers lists them, the lowest first.
var Tiers = []Tier{TierStandard, TierPremium, TierEnterprise}

// Limit is what the tier allows; of an unknown one, what the standard allows.
func (t Tier) Limit() Limit {
	switch t {
	case TierPremium:
		return Limit{1000, time.Minute}
	case TierEnterprise:
		return Limit{}
	default:
		return Limit{100, time.Minute}
	}
}

// Check reports what is wrong with a limit that somebody sets, as the end of a sentence about
// it; nothing if it is good.
func (l Limit) Check() string {
	switch {
	case l.Requests < 1 || l.Requests > MaxLimitRequests:
		return "must allow from 1 to 1000000 requests; the tier enterprise is without a limit"
	case l.Window < time.Millisecond || l.Window > MaxLimitWindow:
		return "must have a window of 1ms to 24h"
	}
	return ""
}

// String is the limit as a command line has it, "100/1m"; "unlimited" for none.
func (l Limit) String() string {
	if l.Requests == 0 {
		return "unlimited"
	}
	window := l.Window.String() // 1h0m0s
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(window, zero) {
			window = window[:len(window)-2]
		}
	}
	return strconv.Itoa(l.Requests) + "/" + window
}

// ParseLimit reads a limit as a command line has it: "100/1m", "4/30s", "5000/1d". What is
// wrong with it is INVALID_REQUEST.
func ParseLimit(text string) (Limit, error) {
	requests, window, _ := strings.Cut(text, "/")
	n, err := strconv.Atoi(strings.TrimSpace(requests))
	d, ok := ParseSpan(strings.TrimSpace(window))
	if err != nil || !ok {
		return Limit{}, Errorf(CodeInvalidRequest, "%q is no limit; it looks like 100/1m: so many requests in any window of that length", clip(text))
	}
	l := Limit{n, d}
	if wrong := l.Check(); wrong != "" {
		return Limit{}, Errorf(CodeInvalidRequest, "%s %s", clip(text), wrong)
	}
	return l, nil
}

// ParseSpan reads a length of time as people write it: a number with ms, s, m, h or d. It is in
// whole milliseconds and may be nothing.
func ParseSpan(text string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		d := n * float64(24*time.Hour)
		return time.Duration(d).Truncate(time.Millisecond), err == nil && d >= 0 && d < math.MaxInt64/2
	}
	d, err := time.ParseDuration(text)
	return d.Truncate(time.Millisecond), err == nil && d >= 0
}

// clip shortens what somebody wrote before he is told it again.
func clip(s string) string {
	const longest = 50
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}

// Allowance is what a limit has left for a caller.
type Allowance struct {
	Allowed   bool
	Limit     Limit     // that it was held to; without requests there is none, and nothing below counts
	Remaining int       // requests that would still be let in now
	ResetAt   time.Time // when all of them are there again; of one that is refused, when the next is let in
}

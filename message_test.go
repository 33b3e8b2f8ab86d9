package iris

import (
	"slices"
	"testing"
	"time"
)

func TestStatuses(t *testing.T) {
	all := constants(t, "message.go", "Status")
	if len(all) != len(Statuses) {
		t.Errorf("%d statuses are listed, want %d", len(Statuses), len(all))
	}
	final := []Status{StatusCompleted, StatusFailed, StatusCancelled}
	for _, s := range all {
		if !slices.Contains(Statuses, Status(s)) {
			t.Errorf("%s is not listed", s)
		}
		if got := Status(s).Final(); got != slices.Contains(final, Status(s)) {
			t.Errorf("%s is final: %v", s, got)
		}
	}
}

func TestPriorities(t *testing.T) {
	for _, p := range []Priority{PriorityLow, PriorityNormal, PriorityHigh} {
		if got, ok := ParsePriority(p.String()); !ok || got != p {
			t.Errorf("%s is read as %v (%v)", p, got, ok)
		}
	}
	if got, ok := ParsePriority(""); !ok || got != PriorityNormal {
		t.Errorf("no priority is read as %v (%v), want normal", got, ok)
	}
	for _, s := range []string{"urgent", "High", " low", "2"} {
		if _, ok := ParsePriority(s); ok {
			t.Errorf("%q is read as a priority", s)
		}
	}
	if PriorityLow >= PriorityNormal || PriorityNormal >= PriorityHigh {
		t.Error("a higher priority is not the greater number")
	}
}

func TestTheLastEventIsCompleteOrError(t *testing.T) {
	for _, k := range constants(t, "event.go", "EventKind") {
		e := Event{Kind: EventKind(k)}
		if got, want := e.Last(), k == "complete" || k == "error"; got != want {
			t.Errorf("%s is the last: %v", k, got)
		}
	}
}

func TestWhatAMessageSaysOfItself(t *testing.T) {
	m := Message{SessionID: "ses_1", CreatedAt: time.UnixMilli(1000)}
	if m.SessionRef() != "ses_1" || m.Duration() != 0 {
		t.Errorf("session %s, duration %v", m.SessionRef(), m.Duration())
	}
	m.SessionName, m.CompletedAt = "pr-1", time.UnixMilli(3500)
	if m.SessionRef() != "pr-1" || m.Duration() != 2500*time.Millisecond {
		t.Errorf("session %s, duration %v", m.SessionRef(), m.Duration())
	}
}

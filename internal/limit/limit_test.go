package limit

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/limit/limittest"
)

func TestMemory(t *testing.T) {
	limittest.Run(t, limittest.Backend{
		New:  func(*testing.T) limittest.Limiter { return New(0) },
		In:   synctest.Test,
		Pass: time.Sleep,
		Size: func(l limittest.Limiter) int { return len(l.(*Memory).logs) },
	})
}

// TestOfStrangersOnlySoManyAreRemembered, and a new one is not refused for it.
func TestOfStrangersOnlySoManyAreRemembered(t *testing.T) {
	m := New(100)
	l := iris.Limit{Requests: 1, Window: time.Hour}
	for i := range 1000 {
		if a, _ := m.Take(t.Context(), fmt.Sprint(i), l); !a.Allowed {
			t.Fatalf("%d is refused", i)
		}
	}
	if len(m.logs) != 100 {
		t.Errorf("%d are remembered, want 100", len(m.logs))
	}
	if a, _ := m.Take(t.Context(), "999", l); a.Allowed {
		t.Error("the last one is forgotten, though there was room")
	}
}

// TestABurstDoesNotHoldItsMemory: what remains of a log after a burst needs no more room than
// it has moments.
func TestABurstDoesNotHoldItsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(0)
		l := iris.Limit{Requests: 100_000, Window: time.Minute}
		for range 100_000 {
			m.Take(t.Context(), "a", l)
		}
		time.Sleep(time.Minute)
		m.Take(t.Context(), "a", l)
		if g := m.logs["a"]; len(g.moments) != 1 || cap(g.moments) > 8 {
			t.Errorf("%d moments in room for %d", len(g.moments), cap(g.moments))
		}
	})
}

func BenchmarkTake(b *testing.B) {
	m := New(0)
	l := iris.Limit{Requests: 100, Window: time.Minute}
	b.ReportAllocs()
	for b.Loop() {
		m.Take(b.Context(), "key/ci", l)
	}
}

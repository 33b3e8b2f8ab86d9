package store_test

import (
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

func TestOnlySoManyMayWait(t *testing.T) {
	db, path := open(t)
	most := 2
	db.Bound(func() int { return most })
	fits := func(want bool, when string) {
		t.Helper()
		_, _, err := db.Accept(t.Context(), ask("api", local), true, "")
		if err != nil && iris.CodeOf(err) != iris.CodeQueueFull || (err == nil) != want {
			t.Errorf("%s: %v, want room: %v", when, err, want)
		}
	}
	first := accept(t, db, ask("api", local))
	second := accept(t, db, ask("api", local))
	fits(false, "when as many wait as may")
	if _, _, err := db.Accept(t.Context(), ask("api", local, in("ses_of_nobody")), true, ""); iris.CodeOf(err) != iris.CodeQueueFull {
		t.Errorf("got %v", err)
	}
	j := mustClaim(t, db, first)
	fits(true, "when one of them runs")
	if err := db.Return(t.Context(), j, nil, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	most = 4
	fits(true, "when more may wait")
	fits(false, "when one came back")
	finish(t, db, second, 0)
	fits(true, "when one was cancelled")
	fits(false, "then")
	if _, _, err := db.Accept(t.Context(), ask("api", ci, in("ses_of_nobody")), true, ""); err == nil {
		t.Error("a session of nobody was taken")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = reopen(t, path)
	db.Bound(func() int { return most })
	fits(false, "after a restart")
	finish(t, db, first, 0)
	fits(true, "then, when there is room")
}

func TestWhatIsDueComesBeforeWhatWaitsForItsTime(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		var all []iris.Message
		for _, pause := range []time.Duration{time.Hour, time.Minute, 0, 0} {
			m := accept(t, db, ask("api", local))
			if all = append(all, m); pause > 0 {
				if err := db.Return(t.Context(), mustClaim(t, db, m), nil, time.Now().Add(pause)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, want := range [][]int{{4, 3, 1, 2}, {4, 1, 2, 3}} {
			for i, m := range all {
				if n, _, err := db.Position(t.Context(), m); err != nil || n != want[i] {
					t.Errorf("message %d is at %d (%v), want %d", i, n, err, want[i])
				}
			}
			time.Sleep(2 * time.Minute) // the second is due now, and of older rank
		}
		if _, at, _ := db.Position(t.Context(), all[0]); time.Until(at) != 56*time.Minute {
			t.Errorf("the first waits until %v", at)
		}
	})
}

package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

func TestWhatIsOldIsRemoved(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		done := func(m iris.Message) iris.Message {
			m = accept(t, db, m)
			j, _ := claim(t, db, "slow")
			finish(t, db, m, j.Attempt)
			return m
		}
		old := []iris.Message{done(ask("api", ci)), done(ask("api", ci)), done(ask("web", local))}
		called := ask("web", ci, task)
		called.Callback = &iris.Callback{URL: "https://example.com/", Method: "POST"}
		untold := done(called)
		var many []iris.Event
		for i := range 1200 {
			many = append(many, iris.Event{MessageID: old[1].ID, Seq: int64(i + 10), At: time.Now(), Kind: iris.EventChunk, Text: "x"})
		}
		if err := db.AppendEvents(t.Context(), many); err != nil {
			t.Fatal(err)
		}
		waits := accept(t, db, ask("slow", ci, named("long")))
		time.Sleep(time.Hour)
		kept := []iris.Message{untold, waits, done(ask("api", ci)), done(ask("web", local))}

		did, err := db.Prune(t.Context(), time.Now().Add(-30*time.Minute), 0)
		if err != nil || did != (store.Pruned{Messages: 3, Events: 1200 + 3*2, Sessions: 4}) {
			t.Errorf("removed %+v, %v", did, err)
		}
		for _, m := range old {
			if _, err := db.Message(t.Context(), m.ID); iris.CodeOf(err) != iris.CodeMessageNotFound {
				t.Errorf("an old message is there: %v", err)
			}
			if events, err := db.Events(t.Context(), m.ID, 0, 10); len(events) > 0 || err != nil {
				t.Errorf("its events are there: %v, %v", events, err)
			}
		}
		for _, m := range kept {
			if _, err := db.Message(t.Context(), m.ID); err != nil {
				t.Error(err)
			}
			if _, err := db.Session(t.Context(), m.SessionID); err != nil && m.ID != untold.ID {
				t.Error(err)
			}
		}
		page, err := db.Messages(t.Context(), iris.Filter{Limit: 10})
		if err != nil || page.Total != len(kept) || len(page.Messages) != len(kept) {
			t.Errorf("the history has %d of %d (%v), want %d", len(page.Messages), page.Total, err, len(kept))
		}
		if u, err := db.Usage(t.Context(), "api"); err != nil || u.Messages != 3 {
			t.Errorf("the usage counts %d messages (%v): what was done stays counted", u.Messages, err)
		}
		mustClaim(t, db, waits)
		if did, err := db.Prune(t.Context(), time.Now().Add(-30*time.Minute), 0); err != nil || did != (store.Pruned{}) {
			t.Errorf("then removed %+v, %v", did, err)
		}
	})
}

// A number that is given again would make pages of the history, which go by it, repeat or miss
// messages.
func TestANumberIsNeverGivenAgain(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		cursor := func() int64 {
			t.Helper()
			for range 2 { // a page of one tells the number of its message only when another follows
				m := accept(t, db, ask("api", ci))
				finish(t, db, m, mustClaim(t, db, m).Attempt)
			}
			page, err := db.Messages(t.Context(), iris.Filter{Limit: 1})
			if err != nil {
				t.Fatal(err)
			}
			return page.Next.N
		}
		before := cursor()
		time.Sleep(time.Hour)
		if _, err := db.Prune(t.Context(), time.Now(), 0); err != nil {
			t.Fatal(err)
		}
		if after := cursor(); after <= before {
			t.Errorf("number %d was followed by %d", before, after)
		}
	})
}

func TestTheRecordKeepsToItsSize(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		put := func() {
			t.Helper()
			for range 40 {
				m := ask("api", ci)
				m.Text = strings.Repeat("x", 100_000)
				m = accept(t, db, m)
				finish(t, db, m, mustClaim(t, db, m).Attempt)
				time.Sleep(time.Second)
			}
		}
		size := func() int64 {
			t.Helper()
			n, err := db.Size(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		put()
		if size() < 4_000_000 {
			t.Fatalf("only %d bytes", size())
		}
		for range 3 { // it stays so, for what is free is used again
			did, err := db.Prune(t.Context(), time.Time{}, 2_000_000)
			if err != nil || did.Messages < 20 || size() > 2_000_000 || size() < 1_000_000 && did.Messages < 40 {
				t.Errorf("%d bytes after %+v, %v", size(), did, err)
			}
			put()
		}
		page, err := db.Messages(t.Context(), iris.Filter{Limit: 200})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(page.Messages, func(a, b iris.Message) int { return b.CreatedAt.Compare(a.CreatedAt) }) || len(page.Messages) < 40 {
			t.Errorf("%d messages are left", len(page.Messages))
		}
	})
}

func TestOthersWriteWhileWhatIsOldIsRemoved(t *testing.T) {
	db, _ := open(t)
	past := time.Now().Add(-time.Hour)
	for i := range 120 {
		m := accept(t, db, ask("api", ci, at(past), named(fmt.Sprint(i))))
		m, last := completed(m, 2)
		m.Status, m.CompletedAt, last.Kind = iris.StatusCancelled, past, iris.EventError
		if err := db.Finish(t.Context(), m, 0, last); err != nil {
			t.Fatal(err)
		}
	}
	pruned := make(chan error, 1)
	go func() {
		_, err := db.Prune(t.Context(), time.Now().Add(-time.Minute), 0)
		pruned <- err
	}()
	writes := 0
	for {
		select {
		case err := <-pruned:
			if err != nil {
				t.Error(err)
			}
			if writes < 20 { // there are at least a hundred steps
				t.Errorf("only %d writes came between", writes)
			}
			return
		default:
			if err := db.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			writes++
		}
	}
}

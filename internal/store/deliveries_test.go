package store_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

func telling(url string) func(*iris.Message) {
	return func(m *iris.Message) {
		m.Callback = &iris.Callback{URL: url, Method: "PUT", Headers: map[string]string{"Authorization": "Bearer <x>"}}
	}
}

// told is a finished task whose callback is due.
func told(t *testing.T, db *store.DB, from iris.Caller, url string) iris.Message {
	t.Helper()
	m := accept(t, db, ask("api", from, task, telling(url)))
	finish(t, db, m, 0)
	return m
}

func claimDelivery(t *testing.T, d *store.Deliveries) (iris.Job, bool) {
	t.Helper()
	j, ok, err := d.Claim(t.Context(), iris.Claim{Worker: "w", Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return j, ok
}

func mustClaimDelivery(t *testing.T, d *store.Deliveries, want iris.Message) iris.Job {
	t.Helper()
	j, ok := claimDelivery(t, d)
	if !ok || j.MessageID != want.ID || j.Kind != iris.JobDelivery {
		t.Fatalf("claimed %v %+v, want that of %s", ok, j, want.ID)
	}
	return j
}

func delivery(t *testing.T, db *store.DB, m iris.Message) iris.Delivery {
	t.Helper()
	d, ok, err := db.Delivery(t.Context(), m.ID)
	if err != nil || !ok {
		t.Fatalf("the delivery of %s: %v, %v", m.ID, ok, err)
	}
	return d
}

func attempted(t *testing.T, db *store.DB, j iris.Job, state iris.DeliveryState, next time.Time) iris.DeliveryAttempt {
	t.Helper()
	a := iris.DeliveryAttempt{At: time.Now().UTC(), Took: 40 * time.Millisecond, Status: 500, Problem: "no"}
	if err := db.Attempted(t.Context(), j, a, state, next); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestACallbackIsDueWhenItsMessageHasEnded(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		woken := 0
		db.OnDelivery(func() { woken++ })
		d := db.Deliveries(1, 1)
		m := accept(t, db, ask("api", ci, task, telling("https://A.example.:8443/hook")))
		if m.Callback != nil {
			t.Error("the message comes back with its callback")
		}
		if _, ok := claimDelivery(t, d); ok || woken > 0 {
			t.Error("it is due before the end")
		}
		if got := delivery(t, db, m); got.State != iris.DeliveryPending || !got.NextAt.IsZero() || got.URL != "https://A.example.:8443/hook" || got.Method != "PUT" {
			t.Errorf("it is %+v", got)
		}
		if err := db.Resend(t.Context(), m.JobID()); iris.CodeOf(err) != iris.CodeConflict {
			t.Errorf("resend before the end: %v", err)
		}
		finish(t, db, m, mustClaim(t, db, m).Attempt)
		if woken != 1 {
			t.Errorf("woken %d times", woken)
		}
		j := mustClaimDelivery(t, d, m)
		if _, ok := claimDelivery(t, d); ok {
			t.Error("it is claimed twice")
		}
		c, err := db.Callback(t.Context(), m.ID)
		if err != nil || c.URL != "https://A.example.:8443/hook" || c.Method != "PUT" || c.Headers["Authorization"] != "Bearer <x>" {
			t.Errorf("the callback is %+v, %v", c, err)
		}
		a := attempted(t, db, j, iris.DeliveryDelivered, time.Time{})
		if got := delivery(t, db, m); got.State != iris.DeliveryDelivered || got.Failures != 0 || !slices.Equal(got.Attempts, []iris.DeliveryAttempt{a}) {
			t.Errorf("it is %+v", got)
		}
		if _, ok := claimDelivery(t, d); ok {
			t.Error("it is due when it is delivered")
		}
	})
}

func TestWhateverEndsAMessageMakesItsCallbackDue(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		d := db.Deliveries(10, 10)
		waiting := told(t, db, ci, "https://a.example") // cancelled while it waited
		running := accept(t, db, ask("api", ci, task, telling("https://a.example")))
		j := mustClaim(t, db, running)
		mustClaimDelivery(t, d, waiting)
		if err := db.Return(t.Context(), j, nil, time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, ok := claimDelivery(t, d); ok {
			t.Error("a return is no end")
		}
		finish(t, db, running, mustClaim(t, db, running).Attempt)
		mustClaimDelivery(t, d, running)
		finish(t, db, accept(t, db, ask("api", ci, task)), 0) // which has none
		if _, ok := claimDelivery(t, d); ok {
			t.Error("a message without a callback has one")
		}
	})
}

func TestADeliveryThatFailsIsDueAgainInItsTime(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		d := db.Deliveries(1, 1)
		woken := 0
		db.OnDelivery(func() { woken++ })
		m := told(t, db, ci, "https://a.example")
		next := time.Now().Add(5 * time.Second)
		attempted(t, db, mustClaimDelivery(t, d, m), iris.DeliveryPending, next)
		if got := delivery(t, db, m); got.State != iris.DeliveryPending || got.Failures != 1 || !got.NextAt.Equal(next) {
			t.Errorf("it is %+v", got)
		}
		if _, ok := claimDelivery(t, d); ok {
			t.Error("it is due too early")
		}
		if at, ok, err := d.NextRun(t.Context()); err != nil || !ok || !at.Equal(next) {
			t.Errorf("the next run is %v %v, %v", at, ok, err)
		}
		time.Sleep(5 * time.Second)
		attempted(t, db, mustClaimDelivery(t, d, m), iris.DeliveryFailed, time.Time{})
		if got := delivery(t, db, m); got.State != iris.DeliveryFailed || got.Failures != 2 || len(got.Attempts) != 2 || !got.NextAt.IsZero() {
			t.Errorf("it is %+v", got)
		}
		if _, ok, err := d.NextRun(t.Context()); ok || err != nil {
			t.Errorf("something runs next: %v", err)
		}
		if err := db.Resend(t.Context(), m.JobID()); err != nil || woken != 2 {
			t.Fatalf("%v, woken %d times", err, woken)
		}
		if got := delivery(t, db, m); got.State != iris.DeliveryPending || got.Failures != 0 || len(got.Attempts) != 2 {
			t.Errorf("it is %+v", got)
		}
		for range 25 {
			attempted(t, db, mustClaimDelivery(t, d, m), iris.DeliveryPending, time.Now())
		}
		if got := delivery(t, db, m); len(got.Attempts) != 20 || got.Failures != 25 {
			t.Errorf("%d attempts are kept, %d failures", len(got.Attempts), got.Failures)
		}
	})
}

func TestConcurrentClaimsTakeEachDeliveryOnce(t *testing.T) {
	db, _ := open(t)
	d := db.Deliveries(1000, 1000)
	const all = 50
	for range all {
		told(t, db, ci, "https://a.example")
	}
	var mu sync.Mutex
	seen := map[string]bool{}
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for range all {
				j, ok, err := d.Claim(t.Context(), iris.Claim{Worker: "w", Lease: time.Minute})
				if err != nil || !ok {
					return
				}
				mu.Lock()
				if seen[j.MessageID] || j.Attempt != 1 {
					t.Errorf("%s is claimed again, attempt %d", j.MessageID, j.Attempt)
				}
				seen[j.MessageID] = true
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if len(seen) != all {
		t.Errorf("%d of %d are claimed", len(seen), all)
	}
}

func TestOneHostAndOneCallerTakeNotAllPlaces(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		d := db.Deliveries(2, 3)
		put := func(from iris.Caller, url string) iris.Message {
			time.Sleep(time.Millisecond)
			return told(t, db, from, url)
		}
		a1, a2, a3 := put(ci, "https://a.example/1"), put(ci, "http://A.example.:8080/2"), put(local, "https://a.example/3")
		b, c := put(ci, "https://b.example"), put(ci, "https://c.example")
		w := put(web, "https://w.example")
		first := mustClaimDelivery(t, d, a1)
		mustClaimDelivery(t, d, a2)
		mustClaimDelivery(t, d, b) // a.example is full
		mustClaimDelivery(t, d, w) // so is ci
		if j, ok := claimDelivery(t, d); ok {
			t.Errorf("claimed %+v beyond the limits", j)
		}
		attempted(t, db, first, iris.DeliveryGone, time.Time{})
		mustClaimDelivery(t, d, a3)
		mustClaimDelivery(t, d, c)
	})
}

func TestALostLeaseChangesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		d := db.Deliveries(1, 1)
		m := told(t, db, ci, "https://a.example")
		old := mustClaimDelivery(t, d, m)
		if err := d.Renew(t.Context(), old, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if err := db.Resend(t.Context(), m.ID); err != nil { // it is about to be delivered
			t.Fatal(err)
		}
		if n, err := db.RecoverDeliveries(t.Context()); n != 1 || err != nil {
			t.Fatalf("recovered %d, %v", n, err)
		}
		now := mustClaimDelivery(t, d, m)
		for name, err := range map[string]error{
			"renew":  d.Renew(t.Context(), old, time.Now()),
			"return": db.ReturnDelivery(t.Context(), old, time.Now()),
			"end":    db.Attempted(t.Context(), old, iris.DeliveryAttempt{}, iris.DeliveryGone, time.Time{}),
		} {
			if !errors.Is(err, iris.ErrFinal) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := delivery(t, db, m); got.State != iris.DeliveryPending || len(got.Attempts) > 0 {
			t.Errorf("it is %+v", got)
		}
		if err := db.ReturnDelivery(t.Context(), now, time.Now()); err != nil {
			t.Fatal(err)
		}
		mustClaimDelivery(t, d, m)
	})
}

func TestWhoHasNoCallback(t *testing.T) {
	db, _ := open(t)
	m := accept(t, db, ask("api", ci, task))
	if _, ok, err := db.Delivery(t.Context(), m.ID); ok || err != nil {
		t.Errorf("its delivery: %v, %v", ok, err)
	}
	if _, err := db.Callback(t.Context(), m.ID); iris.CodeOf(err) != iris.CodeNotFound {
		t.Errorf("its callback: %v", err)
	}
	if err := db.Resend(t.Context(), m.ID); iris.CodeOf(err) != iris.CodeNotFound {
		t.Errorf("resend: %v", err)
	}
}

func TestTheSameTaskTwiceHasOneCallback(t *testing.T) {
	db, _ := open(t)
	for range 2 {
		if _, _, err := db.Accept(t.Context(), ask("api", ci, task, telling("https://a.example")), true, "same"); err != nil {
			t.Fatal(err)
		}
	}
	m := mustClaimAny(t, db)
	finish(t, db, iris.Message{ID: m.MessageID}, m.Attempt)
	d := db.Deliveries(10, 10)
	if _, ok := claimDelivery(t, d); !ok {
		t.Error("nobody is told")
	}
	if _, ok := claimDelivery(t, d); ok {
		t.Error("told twice")
	}
}

func mustClaimAny(t *testing.T, db *store.DB) iris.Job {
	t.Helper()
	j, ok := claim(t, db)
	if !ok {
		t.Fatal("nothing waits")
	}
	return j
}

func TestAMessageThatGoesTakesItsDeliveriesAlong(t *testing.T) {
	db, path := open(t)
	m := told(t, db, ci, "https://a.example")
	attempted(t, db, func() iris.Job { j, _ := claimDelivery(t, db.Deliveries(1, 1)); return j }(), iris.DeliveryFailed, time.Time{})
	raw, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(60000)") // words are indexed beside
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if _, err := raw.Exec(`DELETE FROM message WHERE id = $1`, m.ID); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := raw.QueryRow(`SELECT (SELECT count(*) FROM delivery) + (SELECT count(*) FROM delivery_attempt)`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows are left, %v", left, err)
	}
}

// The headers of a callback are its caller's secrets: nothing that shows a message has them.
func TestNothingShowsTheHeaders(t *testing.T) {
	db, _ := open(t)
	m := told(t, db, ci, "https://a.example")
	read, err := db.Message(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	page, err := db.Messages(t.Context(), iris.Filter{Limit: 10, Page: 1})
	if err != nil {
		t.Fatal(err)
	}
	events, err := db.Events(t.Context(), m.ID, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	if all := fmt.Sprintf("%+v %+v %+v %+v %+v", m, read, page, events, delivery(t, db, m)); strings.Contains(all, "Bearer") || read.Callback != nil {
		t.Errorf("shown: %s", all)
	}
}

package store_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

func as(id, body string) func(*iris.Message) {
	return func(m *iris.Message) { m.Once = iris.Once{ID: id, Caller: "key/ci", Body: body} }
}

func TestARequestLeadsToItsMessageForADay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "iris.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { db.Close() }()
		waiting := 1
		db.Bound(func() int { return waiting })
		put := func(change ...func(*iris.Message)) (iris.Message, bool, error) {
			return db.Accept(t.Context(), ask("api", ci, change...), true, "")
		}
		first, created, err := put(as("k", "b"))
		if err != nil || !created || first.Repeated || !first.Once.IsZero() {
			t.Fatalf("first: %+v, created %v (%v)", first, created, err)
		}
		again := func(when string) {
			t.Helper()
			m, created, err := put(as("k", "b"))
			if err != nil || created || !m.Repeated || m.ID != first.ID || m.Text != first.Text {
				t.Errorf("%s: %+v, created %v (%v)", when, m, created, err)
			}
			if _, created, err := put(as("k", "c")); iris.CodeOf(err) != iris.CodeConflict || created {
				t.Errorf("%s, with another body: created %v (%v)", when, created, err)
			}
		}
		again("while the queue is full")
		finish(t, db, first, mustClaim(t, db, first).Attempt)
		again("when it is over")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if db, err = store.Open(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		again("after a restart")
		time.Sleep(24*time.Hour - time.Millisecond)
		again("after almost a day")
		time.Sleep(time.Millisecond)
		if m, created, err := put(as("k", "c")); err != nil || !created || m.ID == first.ID {
			t.Errorf("after a day: %+v, created %v (%v)", m, created, err)
		}
		if m, _, _ := put(as("k", "c")); !m.Repeated {
			t.Error("the new one is not known")
		}
	})
}

func TestARequestOfTheSameTaskLeadsThere(t *testing.T) {
	db, _ := open(t)
	put := func(id string) iris.Message {
		t.Helper()
		m, _, err := db.Accept(t.Context(), ask("api", ci, task, as(id, "b")), true, "dedupe")
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	first, second := put("k"), put("K")
	if second.ID != first.ID || second.Repeated {
		t.Errorf("the same task under another key is %+v", second)
	}
	finish(t, db, first, mustClaim(t, db, first).Attempt)
	for _, id := range []string{"k", "K"} {
		if m := put(id); m.ID != first.ID || !m.Repeated {
			t.Errorf("%s led to %+v", id, m)
		}
	}
	if m := put("other"); m.ID == first.ID {
		t.Error("another key led to what is over")
	}
}

func TestAnAnswerIsKept(t *testing.T) {
	db, _ := open(t)
	o := iris.Once{ID: "k", Caller: "key/ci", Body: "b"}
	check := func(when, answer string, known bool) {
		t.Helper()
		got, ok, err := db.Kept(t.Context(), o)
		if err != nil || ok != known || string(got) != answer || (got == nil) != (answer == "") {
			t.Errorf("%s: %q, %v (%v)", when, got, ok, err)
		}
	}
	keep := func(answer []byte) {
		t.Helper()
		if err := db.Keep(t.Context(), o, answer); err != nil {
			t.Fatal(err)
		}
	}
	check("before", "", false)
	keep(nil)
	check("kept without an answer", "", true)
	keep([]byte("{}"))
	check("kept", "{}", true)
	other := o
	other.Body = "c"
	if _, _, err := db.Kept(t.Context(), other); iris.CodeOf(err) != iris.CodeConflict {
		t.Errorf("another body gave %v", err)
	}
	if err := db.Forget(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	check("forgotten", "", false)

	m := accept(t, db, ask("api", ci, as("k", "b")))
	keep([]byte("queued"))
	check("of a message", "queued", true)
	if got, _, err := db.Accept(t.Context(), ask("api", ci, as("k", "b")), true, ""); err != nil || got.ID != m.ID {
		t.Errorf("then it led to %s (%v)", got.ID, err)
	}
}

// TestNobodyFillsTheDiskWithKeptAnswers: of one caller a thousand are kept, those of others
// stay; and what is a day old goes when others come.
func TestNobodyFillsTheDiskWithKeptAnswers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "iris.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		raw := besides(t, path)
		defer raw.Close()
		count := func() (n int) {
			t.Helper()
			if err := raw.QueryRow(`SELECT count(*) FROM once`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		keep := func(caller string, i int) {
			t.Helper()
			if err := db.Keep(t.Context(), iris.Once{ID: fmt.Sprint(caller, i), Caller: caller, Body: "b"}, []byte("a")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		keep("other", 0)
		accept(t, db, ask("api", ci, as("m", "b")))
		for i := range 1100 {
			keep("key/ci", i)
		}
		if n := count(); n != 1002 {
			t.Errorf("%d are kept", n)
		}
		for i, want := range map[int]bool{0: false, 99: false, 100: true, 1099: true} {
			if _, ok, err := db.Kept(t.Context(), iris.Once{ID: fmt.Sprint("key/ci", i), Body: "b"}); ok != want || err != nil {
				t.Errorf("%d is kept: %v (%v)", i, ok, err)
			}
		}
		time.Sleep(25 * time.Hour)
		for i := range 101 {
			keep("late", i)
		}
		if n := count(); n != 101 {
			t.Errorf("%d are left after a day", n)
		}
	})
}

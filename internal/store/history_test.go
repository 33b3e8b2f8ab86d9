package store_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

// pasts makes a random history of some days, whose clock now and then stands still or is set
// back, and gives its messages in the order of their acceptance.
func pasts(t *testing.T, r *rand.Rand, n int) (*store.DB, string, []iris.Message) {
	db, path := open(t)
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var all []iris.Message
	for range n {
		switch r.IntN(10) {
		case 0:
			clock = clock.Add(-time.Duration(r.IntN(36)) * time.Hour)
		case 1, 2, 3:
			clock = clock.Add(time.Duration(r.IntN(12)) * time.Hour)
		case 4:
			clock = clock.Truncate(24 * time.Hour)
		case 5, 6:
			clock = clock.Add(time.Millisecond)
		}
		m := ask(one(r, "a", "b", "c"), one(r, ci, local, web, iris.Caller{Kind: iris.CallerTeam, Name: "api"}), at(clock))
		m.Text = phrase(r)
		all = append(all, accept(t, db, m))
		if r.IntN(4) == 0 {
			continue
		}
		j, ok := claim(t, db)
		if !ok {
			t.Fatal("nothing to claim")
		}
		switch r.IntN(8) {
		case 0: // runs on
		case 1:
			if err := db.Return(t.Context(), j, nil, time.Time{}); err != nil {
				t.Fatal(err)
			}
		default:
			done, last := completed(iris.Message{ID: j.MessageID, Caller: local}, 2)
			done.Response = phrase(r)
			if done.Status = one(r, iris.StatusCompleted, iris.StatusFailed, iris.StatusCancelled); done.Status != iris.StatusCompleted {
				last.Kind = iris.EventError
			}
			if err := db.Finish(t.Context(), done, j.Attempt, last); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range all {
		m, err := db.Message(t.Context(), all[i].ID)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = m
	}
	return db, path, all
}

// phrase is some words, so few that they meet again.
func phrase(r *rand.Rand) string {
	words := make([]string, 1+r.IntN(3))
	for i := range words {
		words[i] = one(r, "alpha", "beta", "gamma", "delta", "epsilon", "zeta")
	}
	return strings.Join(words, " ")
}

func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// anyFilter asks for something about those messages.
func anyFilter(r *rand.Rand, all []iris.Message) iris.Filter {
	when := func() time.Time {
		at := all[r.IntN(len(all))].CreatedAt
		return one(r, time.Time{}, at, at.Add(time.Millisecond), at.Add(-time.Millisecond), at.Truncate(24*time.Hour), at.Truncate(24*time.Hour).Add(-time.Millisecond))
	}
	return iris.Filter{
		Team: one(r, "", "", "a", "b", "none"), From: one(r, "", "", "api", "local", "web", "none"),
		Status: one(r, append([]iris.Status{"", "", ""}, iris.Statuses...)...), Teams: one(r, nil, nil, []string{"a"}, []string{"c", "b", "none"}),
		Since: when(), Until: when(), Limit: 1 + r.IntN(20), Query: one(r, "", phrase(r)),
	}
}

// besides is the record's file, for what nobody but a test does to it.
func besides(t testing.TB, path string) *sql.DB {
	t.Helper()
	raw, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(60000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	return raw
}

// selects is what a filter means.
func selects(f iris.Filter, m iris.Message) bool {
	from := f.From == "" || m.Caller.From() == f.From
	if f.From == "api" {
		from = m.Caller.Kind == iris.CallerKey
	}
	said := m.Text
	if m.Status == iris.StatusCompleted {
		said += " " + m.Response
	}
	words := strings.Fields(said)
	for _, word := range strings.Fields(f.Query) {
		if !slices.Contains(words, word) {
			return false
		}
	}
	return from && (f.Team == "" || m.Team == f.Team) && (f.Status == "" || m.Status == f.Status) &&
		(len(f.Teams) == 0 || slices.Contains(f.Teams, m.Team)) &&
		!m.CreatedAt.Before(f.Since) && (f.Until.IsZero() || !m.CreatedAt.After(f.Until))
}

// want is the ids of what the filter selects, the newest first: by their time, or for a search
// by their acceptance.
func want(f iris.Filter, all []iris.Message) (ids []string) {
	all = slices.Clone(all)
	slices.Reverse(all)
	if f.Query == "" {
		slices.SortStableFunc(all, func(a, b iris.Message) int { return b.CreatedAt.Compare(a.CreatedAt) })
	}
	for _, m := range all {
		if selects(f, m) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// walk reads the whole history by pages or by cursors, and checks what each page says.
func walk(t *testing.T, db *store.DB, f iris.Filter, cursors bool, total int) (ids []string) {
	t.Helper()
	for f.Page = 1; ; f.Page++ {
		p, err := db.Messages(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		if p.Total != total {
			t.Fatalf("%+v: total %d, want %d", f, p.Total, total)
		}
		for _, m := range p.Messages {
			ids = append(ids, m.ID)
		}
		if more := len(ids) < total; p.Next.IsZero() == more || more && p.Next.Page != f.Page {
			t.Fatalf("%+v: after %d of %d the next page is at %+v", f, len(ids), total, p.Next)
		}
		if p.Next.IsZero() {
			return ids
		}
		if cursors {
			f.After = p.Next
		}
	}
}

func TestTheHistoryIsWhatTheFilterMeans(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			db, path, all := pasts(t, r, 60)
			check := func() {
				t.Helper()
				for range 30 {
					f := anyFilter(r, all)
					ids := want(f, all)
					for _, cursors := range []bool{false, true} {
						if got := walk(t, db, f, cursors, len(ids)); !slices.Equal(got, ids) {
							t.Fatalf("%+v, cursors %v: %v, want %v", f, cursors, got, ids)
						}
					}
				}
			}
			check()
			// What is deleted, whoever does it, is not counted any more.
			raw := besides(t, path)
			for range 30 {
				i := r.IntN(len(all))
				if _, err := raw.Exec(`DELETE FROM message WHERE id = ?`, all[i].ID); err != nil {
					t.Fatal(err)
				}
				all = slices.Delete(all, i, i+1)
			}
			check()
		})
	}
}

func TestACursorStaysWhereItIsWhileMessagesCome(t *testing.T) {
	db, _ := open(t)
	now := time.Now()
	var ids []string
	for range 9 {
		ids = append(ids, accept(t, db, ask("a", local, at(now))).ID)
	}
	slices.Reverse(ids)
	f := iris.Filter{Limit: 2}
	var got []string
	for {
		p, err := db.Messages(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range p.Messages {
			got = append(got, m.ID)
		}
		if p.Next.IsZero() {
			break
		}
		f.After = p.Next
		accept(t, db, ask("a", local, at(now)))
	}
	if !slices.Equal(got, ids) {
		t.Errorf("%v, want %v", got, ids)
	}
}

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

const (
	looks     = 25     // at each page of the history
	wordStock = 20_000 // of the made-up language
	span      = 30 * 24 * time.Hour
)

// past measures the history of a record of that many messages: of a month, to twenty teams, the
// first of them with a quarter of all, from keys, the local user and teams.
func (b *bench) past(ctx context.Context) (err error) {
	path := filepath.Join(b.dir, "iris.db")
	db, err := store.Open(ctx, path) // which makes the tables
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		return err
	}
	l := newLanguage()
	fmt.Fprintln(os.Stderr, "bench: writing the messages")
	if err := fill(ctx, path, b.history, l); err != nil {
		return err
	}
	if db, err = store.Open(ctx, path); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	fmt.Fprintln(os.Stderr, "bench: indexing their words")
	if err := indexed(ctx, path); err != nil {
		return err
	}
	return b.look(ctx, db, l)
}

// look times each way to look at the history.
func (b *bench) look(ctx context.Context, db *store.DB, l *language) error {
	now := time.Now()
	half := iris.Filter{Limit: 50, Page: max(b.history/2/50, 1)}
	deep, err := db.Messages(ctx, half)
	if err != nil {
		return err
	}
	phrase := strings.ReplaceAll(l.quoted, " ", "-")
	for _, view := range []struct {
		name string
		f    iris.Filter
	}{
		{"the first page", iris.Filter{}},
		{"the page in the middle, by its number", half},
		{"… by a cursor", iris.Filter{After: deep.Next}},
		{"the last page, by its number", iris.Filter{Page: max(b.history/50, 1)}},
		{"a team", iris.Filter{Team: "team0"}},
		{"… a small one", iris.Filter{Team: "team19"}},
		{"from the API", iris.Filter{From: "api"}},
		{"from a team that asks little", iris.Filter{From: "team19"}},
		{"completed", iris.Filter{Status: iris.StatusCompleted}},
		{"cancelled", iris.Filter{Status: iris.StatusCancelled}},
		{"queued", iris.Filter{Status: iris.StatusQueued}},
		{"a team, from the API", iris.Filter{Team: "team0", From: "api"}},
		{"a team, failed", iris.Filter{Team: "team0", Status: iris.StatusFailed}},
		{"local, failed", iris.Filter{From: "local", Status: iris.StatusFailed}},
		{"from a team that asks little, completed", iris.Filter{From: "team19", Status: iris.StatusCompleted}},
		{"a small team, from another, cancelled", iris.Filter{Team: "team18", From: "team19", Status: iris.StatusCancelled}},
		{"a key's three teams", iris.Filter{Teams: []string{"team3", "team4", "team19"}}},
		{"the last two weeks and a bit", iris.Filter{Since: now.Add(-345 * time.Hour)}},
		{"ten hours of last week", iris.Filter{Since: now.Add(-200 * time.Hour), Until: now.Add(-190 * time.Hour)}},
		{"search: the most common word", iris.Filter{Query: l.words[0]}},
		{"… its page 100", iris.Filter{Query: l.words[0], Page: 100}},
		{"… in a small team", iris.Filter{Query: l.words[0], Team: "team19"}},
		{"… failed, in a small team, from another", iris.Filter{Query: l.words[0], Team: "team18", From: "team19", Status: iris.StatusFailed}},
		{"… until two weeks ago", iris.Filter{Query: l.words[0], Until: now.Add(-14 * 24 * time.Hour)}},
		{"search: a rare word", iris.Filter{Query: l.words[len(l.words)-1]}},
		{"search: a common word and a rare one", iris.Filter{Query: l.words[0] + " " + l.words[len(l.words)-1]}},
		{"search: three words side by side", iris.Filter{Query: phrase}},
		{"search: two common words side by side", iris.Filter{Query: l.words[0] + "-" + l.words[1]}},
		{"search: a word that nobody said", iris.Filter{Query: "unsaid"}},
	} {
		f := view.f
		f.Limit = 50
		b.views = append(b.views, view.name)
		for i := range looks {
			began := time.Now()
			page, err := db.Messages(ctx, f)
			if err != nil {
				return fmt.Errorf("%s: %w", view.name, err)
			}
			if b.addTime(view.name, time.Since(began)); i == 0 {
				b.totals = append(b.totals, total(page))
			}
		}
	}
	for i := range 500 {
		began := time.Now()
		if _, _, err := db.Accept(ctx, put(i), true, ""); err != nil {
			return err
		}
		b.addTime("accept", time.Since(began))
	}
	return nil
}

func total(p iris.Page) string {
	if p.TotalCapped {
		return fmt.Sprint("> ", p.Total)
	}
	return fmt.Sprint(p.Total)
}

// fill writes the messages, past the store, which would take them one by one.
func fill(ctx context.Context, path string, n int, l *language) (err error) {
	db, err := sql.Open("sqlite", path+"?_pragma=synchronous(OFF)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	const most = 10_000 // in a transaction
	now := time.Now()
	for done := 0; done < n; done += most {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		for i := done; i < min(done+most, n); i++ {
			at := now.Add(-span + time.Duration(i)*(span/time.Duration(n)))
			if err := l.write(ctx, tx, i, at, i >= n-300); err != nil {
				return errors.Join(err, tx.Rollback())
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// indexed waits until the store has indexed everything.
func indexed(ctx context.Context, path string) (err error) {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for left := 1; left > 0; {
		if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM unindexed)`).Scan(&left); err != nil {
			return err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// language makes texts of words that are as common among each other as those of a real one.
type language struct {
	rand   *rand.Rand
	words  []string // the most common first; the last only one message in a hundred thousand has
	pick   *rand.Zipf
	team   *rand.Zipf
	quoted string // three words of a message, side by side
}

func newLanguage() *language {
	l := &language{rand: rand.New(rand.NewPCG(1, 2))}
	for range wordStock {
		word := make([]byte, 3+l.rand.IntN(8))
		for i := range word {
			word[i] = byte('a' + l.rand.IntN(26))
		}
		l.words = append(l.words, string(word))
	}
	l.words = append(l.words, "rareword")
	l.pick = rand.NewZipf(l.rand, 1.1, 5, wordStock-1)
	l.team = rand.NewZipf(l.rand, 1.3, 2, 19)
	return l
}

func (l *language) text(words int) string {
	all := make([]string, words)
	for i := range all {
		all[i] = l.words[l.pick.Uint64()]
	}
	return strings.Join(all, " ")
}

// write writes message number i, which is finished unless it lives.
func (l *language) write(ctx context.Context, tx *sql.Tx, i int, at time.Time, lives bool) error {
	kind, origin := "key", "key"
	switch x := l.rand.IntN(10); {
	case x < 2:
		kind, origin = "local", "local"
	case x < 3:
		kind, origin = "team", fmt.Sprint("team/team", l.team.Uint64())
	}
	text := l.text(20)
	if i%100_000 == 99 {
		text += " rareword"
	}
	if l.quoted == "" {
		l.quoted = strings.Join(strings.Fields(text)[5:8], " ")
	}
	id := fmt.Sprintf("msg_%026d", i)
	_, err := tx.ExecContext(ctx, `INSERT INTO message
		(id, team, caller_kind, caller_name, origin, session_id, session_name, task, priority, timeout, max_attempts,
		status, attempts, created_at, started_at, completed_at, text, response)
		VALUES ($1, $2, $3, '', $4, $5, '', 0, 2, 0, 1, 'queued', 0, $6, 0, 0, $7, '')`,
		id, fmt.Sprint("team", l.team.Uint64()), kind, origin, fmt.Sprint("ses_", i), at.UnixMilli(), text)
	if err != nil || lives {
		return err
	}
	status := iris.StatusCompleted
	switch x := l.rand.IntN(100); {
	case x < 7:
		status = iris.StatusFailed
	case x < 10:
		status = iris.StatusCancelled
	}
	_, err = tx.ExecContext(ctx, `UPDATE message SET status = $2, attempts = 1, started_at = $3, completed_at = $4, response = $5 WHERE id = $1`,
		id, status, at.UnixMilli(), at.UnixMilli()+3000, l.text(60))
	return err
}

// pastReport is the section of docs/benchmarks.md.
func (b *bench) pastReport(ctx context.Context) string {
	var w strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&w, format+"\n", args...) }
	p("## The history\n")
	p("`go run ./bench -history %d`, on %s: a record of that many messages of a month, 80 words each, to twenty teams of", b.history, time.Now().UTC().Format(time.DateOnly))
	p("very different sizes. Milliseconds for a page of 50 together with its total, in the store.\n")
	p("| | |\n| --- | --- |")
	for _, row := range machine(ctx, b.claude)[:3] { // but for the CLI, which has no part in it
		p("| %s | %s |", row[0], row[1])
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil { // what else it had to do counts
		p("| load, its own included | %s |", strings.Fields(string(load))[0])
	}
	p("\n| | total | median | p99 | n |\n| --- | --- | --- | --- | --- |")
	for i, name := range b.views {
		p("| %s | %s | %s |", name, b.totals[i], b.cells(name))
	}
	p("| a message accepted beside them |  | %s |", b.cells("accept"))
	return w.String()
}

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

// said stores a message with its answer, or without if that is empty.
func said(t testing.TB, db *store.DB, text, response string) iris.Message {
	t.Helper()
	m := ask("api", local)
	m.Text = text
	m = accept(t, db, m)
	if response == "" {
		return m
	}
	j := mustClaim(t, db, m)
	done, last := completed(m, 2)
	done.Response = response
	if err := db.Finish(t.Context(), done, j.Attempt, last); err != nil {
		t.Fatal(err)
	}
	return done
}

func find(t testing.TB, db *store.DB, query string) (texts []string) {
	t.Helper()
	p, err := db.Messages(t.Context(), iris.Filter{Query: query, Limit: 50})
	if err != nil {
		t.Fatalf("%q: %v", query, err)
	}
	for _, m := range p.Messages {
		texts = append(texts, m.Text)
	}
	if p.Total != len(texts) || p.TotalCapped || !p.Next.IsZero() {
		t.Errorf("%q: total %d, capped %v, next %v", query, p.Total, p.TotalCapped, p.Next)
	}
	return texts
}

func TestSearch(t *testing.T) {
	db, _ := open(t)
	for _, m := range [][2]string{
		{"Which Datenbank-Migration does foo_bar use?", "Prisma; see schema.prisma (line 42)."},
		{"Où est le café?", "It's in Île-de-France"},
		{"データベースの移行はどうしますか", "我们使用数据库迁移。"},
		{"데이터베이스를 어떻게 합니까", "ฐานข้อมูลคืออะไร"},
		{"a NUL \x00 inside", "-"},
		{`say "hello" to AND OR NOT NEAR(x, 5) * ^col:y`, "-"},
		{"🚀 rocket 𝔘𝔫𝔦 naïve", "\xff broken"},
	} {
		said(t, db, m[0], m[1])
	}
	for _, tt := range []struct{ query, want string }{
		{"datenbank", "Which"}, {"DATENBANK migration", "Which"}, {"migration datenbank", "Which"}, {"datenbank-migration", "Which"},
		{"migration-datenbank", ""}, {"foo_bar", "Which"}, {"bar foo", "Which"}, {"schema.prisma", "Which"}, {"42", "Which"}, {"daten", ""},
		{"use prisma", "Which"}, {"prisma café", ""}, {"ou est le cafe", "Où"}, {"ILE de france", "Où"}, {"it's", "Où"}, {"'it", "Où"},
		{"データベース", "データ"}, {"移行", "データ"}, {"行移", ""}, {"数据库", "データ"}, {"使用 迁移", "データ"}, {"库据", ""},
		{"데이터베이스", "데이터"}, {"ข้อมูล", "데이터"}, {"nul inside", "a NUL"}, {"nul\x00inside", "a NUL"},
		{`"hello"`, "say"}, {"AND OR NOT", "say"}, {"near(x, 5)", "say"}, {"col:y", "say"}, {"hello* to", "say"}, {"hel*", ""},
		{"rocket 🚀", "🚀"}, {"🚀", ""}, {"broken", "🚀"}, {"naive", "🚀"}, {"\xff", ""}, {`"`, ""}, {"*", ""}, {"()", ""}, {"\x00", ""},
	} {
		got := find(t, db, tt.query)
		if want := tt.want != ""; want != (len(got) == 1) || want && !strings.HasPrefix(got[0], tt.want) || !want && len(got) > 0 {
			t.Errorf("%q found %q, want %q", tt.query, got, tt.want)
		}
	}
}

func TestASearchFindsWhatWasJustSaid(t *testing.T) {
	db, path := open(t)
	check := func(query string, want ...string) {
		t.Helper()
		if got := find(t, db, query); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	m := said(t, db, "first", "")
	check("first", "first")
	j := mustClaim(t, db, m)
	check("first", "first")
	done, last := completed(m, 2)
	done.Status, done.Response, last.Kind = iris.StatusFailed, "halfway", iris.EventError
	if err := db.Finish(t.Context(), done, j.Attempt, last); err != nil {
		t.Fatal(err)
	}
	check("first", "first")
	check("halfway") // which nobody is shown
	said(t, db, "second", "answered first")
	check("first", "second", "first")
	check("answered", "second")

	raw := besides(t, path)
	if _, err := raw.Exec(`DELETE FROM message WHERE text = 'second'`); err != nil {
		t.Fatal(err)
	}
	check("first", "first")
	check("answered")
}

// TestWordsAreIndexedByThemselves: soon, with nobody searching, and what an end leaves over at
// the next start.
func TestWordsAreIndexedByThemselves(t *testing.T) {
	db, path := open(t)
	raw := besides(t, path)
	left := func() (n int) {
		t.Helper()
		if err := raw.QueryRow(`SELECT count(*) FROM unindexed`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	settle := func() {
		for left() > 0 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	said(t, db, "a", "b")
	settle()
	said(t, db, "a c", "b")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{`INSERT INTO words (words) VALUES ('delete-all')`, `INSERT OR IGNORE INTO unindexed SELECT n FROM message`} {
		if _, err := raw.Exec(text); err != nil {
			t.Fatal(err) // as if it had been killed at once
		}
	}
	db = reopen(t, path)
	settle()
	if got := find(t, db, "a b"); len(got) != 2 {
		t.Errorf("found %q", got)
	}
}

func TestASearchCountsToTenThousand(t *testing.T) {
	db, path := open(t)
	m := said(t, db, "word", "")
	raw := besides(t, path)
	for _, text := range []string{
		`INSERT INTO message SELECT value + 1, 'msg_' || value, team, caller_kind, caller_name, origin, session_id, session_name, task, priority, timeout, max_attempts,
			status, attempts, created_at, started_at, completed_at, text, context, response, error, metadata, progress_current, progress_total
			FROM generate_series(1, 10010), message WHERE id = '` + m.ID + `'`,
		`DELETE FROM unindexed`,
		`INSERT INTO words (rowid, text, response, labels) SELECT n, text, response, '' FROM message WHERE n NOT IN (SELECT rowid FROM words)`,
	} {
		text = strings.Replace(text, "generate_series(1, 10010)", "(WITH RECURSIVE s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s WHERE value < 10010) SELECT value FROM s)", 1)
		if _, err := raw.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	for page, want := range map[int]int{1: 200, 50: 200, 51: 11, 52: 0} {
		p, err := db.Messages(t.Context(), iris.Filter{Query: "word", Limit: 200, Page: page})
		if err != nil || p.Total != 10_000 || !p.TotalCapped || len(p.Messages) != want || p.Next.IsZero() != (page > 50) {
			t.Errorf("page %d: %d messages of %d, capped %v, next %v (%v)", page, len(p.Messages), p.Total, p.TotalCapped, p.Next, err)
		}
	}
}

func TestAQueryMayBeLong(t *testing.T) {
	db, _ := open(t)
	var words []string
	for i := range 500 {
		words = append(words, fmt.Sprint("w", i))
	}
	text := strings.Join(words, " ")
	said(t, db, text, "")
	if got := find(t, db, text); len(got) != 1 {
		t.Errorf("found %d messages", len(got))
	}
	if got := find(t, db, text+" x"); len(got) != 0 {
		t.Errorf("found %d messages with a word more", len(got))
	}
}

// FuzzQuery: any text is a search, and none is anything else.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"word", `"`, `word" OR "x`, "text:word", "{text}", "-", "*", "^a", "NEAR(a b)", "データ", "\xff\x00", "é\u0301", "((", "labels : team617069"} {
		f.Add(s)
	}
	db, _ := open(f)
	said(f, db, "word x labels", "")
	f.Fuzz(func(t *testing.T, query string) {
		p, err := db.Messages(t.Context(), iris.Filter{Query: query, Team: "other", Limit: 1})
		if err != nil || query != "" && p.Total > 0 {
			t.Errorf("%q: %d found (%v)", query, p.Total, err)
		}
		p, err = db.Messages(t.Context(), iris.Filter{Query: query, Limit: 1})
		if err != nil || query != "" && p.Total > 1 {
			t.Errorf("%q: %d found (%v)", query, p.Total, err)
		}
	})
}

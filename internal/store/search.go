package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/iris-mcp/iris-mcp"
)

// mostFound is how many messages a search counts. To count a common word's among a million takes
// longer than to find the newest of them.
const mostFound = 10_000

// searchLimit bounds a search, for it is not hard to think of words that keep a processor busy.
const searchLimit = 10 * time.Second

// search is messages for a filter with a query: a message is found if all words of the query
// stand in it or in its response. The newest are those that were accepted last, by whatever
// clock, for that is the order of the index.
func (db *DB) search(ctx context.Context, f iris.Filter) (iris.Page, error) {
	limit, stop := context.WithTimeout(ctx, searchLimit)
	defer stop()
	page, err := db.found(limit, f)
	if err != nil && ctx.Err() == nil && limit.Err() != nil {
		err = iris.Errorf(iris.CodeInvalidRequest, "the search takes longer than %s: search for fewer words, or for rarer ones", searchLimit)
	}
	return page, err
}

func (db *DB) found(ctx context.Context, f iris.Filter) (page iris.Page, err error) {
	query, ok := match(f)
	if !ok {
		return page, nil
	}
	if err := db.indexAll(ctx); err != nil {
		return page, err
	}
	tx, err := db.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return page, err
	}
	defer tx.Rollback()
	lowest, highest, err := numbers(ctx, tx, f)
	if err != nil || highest == 0 {
		return page, err
	}
	from, found := "words", clauses{}
	found.add("words MATCH ?", query)
	found.add("words.rowid BETWEEN ? AND ?", lowest, highest)
	if !f.Since.IsZero() || !f.Until.IsZero() { // the numbers are only near those times
		from = "words JOIN message ON message.n = words.rowid"
		found.add("message.created_at BETWEEN ? AND ?", unix(f.Since), latest(f))
	}
	if f.Status != "" && !f.Status.Final() {
		from = "words JOIN message ON message.n = words.rowid"
		found.add("message.status = ?", f.Status)
	}
	if err := tx.QueryRowContext(ctx, fmt.Sprintf(`SELECT count(*) FROM (SELECT 1 FROM %s%s LIMIT %d)`, from, found, mostFound+1), found.args...).Scan(&page.Total); err != nil {
		return page, err
	}
	if page.Total > mostFound {
		page.Total, page.TotalCapped = mostFound, true
	}
	number, offset := max(f.Page, 1), 0
	if f.After.IsZero() {
		offset = (number - 1) * f.Limit
	} else {
		number = f.After.Page + 1
		found.add("words.rowid < ?", f.After.N)
	}
	page.Messages, page.Next, err = readPage(ctx, tx, "n DESC", f.Limit, number, fmt.Sprintf(
		`SELECT words.rowid FROM %s%s ORDER BY words.rowid DESC LIMIT %d OFFSET %d`, from, found, f.Limit+1, offset), found.args)
	return page, err
}

// numbers bounds the numbers of the messages that the filter selects by their times: that is what
// an index of words knows of them. Both are zero when there are none.
func numbers(ctx context.Context, tx *sql.Tx, f iris.Filter) (lowest, highest int64, err error) {
	if f.Since.IsZero() && f.Until.IsZero() {
		return 1, forever, nil
	}
	since, until := unix(f.Since), latest(f)
	lowest = forever
	look := func(text string, where clauses) error {
		var low, high sql.NullInt64
		err := tx.QueryRowContext(ctx, text+where.String(), where.args...).Scan(&low, &high)
		if low.Valid {
			lowest, highest = min(lowest, low.Int64), max(highest, high.Int64)
		}
		return err
	}
	finished := tallied(f)
	finished.add("day BETWEEN ? AND ?", since/day, until/day)
	err = look(`SELECT min(lowest), max(highest) FROM tally`, finished)
	if err == nil && !f.Status.Final() {
		others := living(f)
		others.add("created_at BETWEEN ? AND ?", since, until)
		err = look(`SELECT min(n), max(n) FROM message`, others)
	}
	return lowest, highest, err
}

// match is the filter, but for its times, as FTS5 wants it. It is false for a query without any
// word: nothing can be found by that. What the user wrote is in quotes: never syntax.
func match(f iris.Filter) (text string, ok bool) {
	var all []string
	for word := range strings.FieldsSeq(strings.ReplaceAll(strings.ToValidUTF8(f.Query, " "), "\x00", " ")) {
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.In(r, unicode.L, unicode.N, unicode.Co) }) {
			all = append(all, `"`+strings.ReplaceAll(apart(word), `"`, `""`)+`"`)
		}
	}
	if len(all) == 0 {
		return "", false
	}
	slices.Sort(all)
	all = slices.Compact(all)
	slices.SortStableFunc(all, func(a, b string) int { return len(b) - len(a) }) // FTS5 goes by the first, and long words are rare
	text = "{text response} : (" + strings.Join(all, " AND ") + ")"
	if f.Team != "" {
		text += " AND labels : " + label("team", f.Team)
	}
	if len(f.Teams) > 0 {
		teams := make([]string, len(f.Teams))
		for i, team := range f.Teams {
			teams[i] = label("team", team)
		}
		text += " AND labels : (" + strings.Join(teams, " OR ") + ")"
	}
	if f.From != "" {
		text += " AND labels : " + label("origin", originOf(f.From))
	}
	if f.Status != "" {
		text += " AND labels : " + label("status", end(f.Status))
	}
	return text, true
}

// label is a word of the column labels. It is one for unicode61 whatever the value is.
func label(of, value string) string { return of + hex.EncodeToString([]byte(value)) }

// end is the status as the index knows it: those that change are one.
func end(s iris.Status) string {
	if s.Final() {
		return string(s)
	}
	return ""
}

// unspaced are the scripts that are written without blanks between words, or with more than a
// word between two: unicode61 would take a whole clause for a word.
var unspaced = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo,
	unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar,
}

// apart puts each character of those scripts apart, so that each is a word for the index. A word
// of a query becomes a phrase of them: it finds every text that it is a part of.
func apart(text string) string {
	const first = '\u0e00' // of unspaced
	i := strings.IndexFunc(text, func(r rune) bool { return r >= first })
	if i < 0 {
		return text
	}
	var b strings.Builder
	b.WriteString(text[:i])
	for _, r := range text[i:] {
		if r >= first && (unicode.In(r, unspaced...) || r == 'ー') {
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

const (
	// settle is how long the indexer waits for more. A quick answer is indexed once that way,
	// together with its question.
	settle = 200 * time.Millisecond
	// indexAgain is how long it waits after a failure.
	indexAgain = 5 * time.Second
	// What is indexed in one transaction, so that no other write waits long.
	indexMessages = 16
	indexBytes    = 128 << 10
	mergePages    = 50 // likewise; it keeps up with indexMessages of a hundred words
)

const (
	anyUnindexed  = `SELECT EXISTS (SELECT 1 FROM unindexed)`
	someUnindexed = `SELECT m.n, m.team, m.origin, m.status, m.text, m.response FROM message m
		WHERE m.n IN (SELECT n FROM unindexed ORDER BY n DESC LIMIT $1) ORDER BY m.n DESC`
	dropWords   = `DELETE FROM words WHERE rowid = $1`
	addWords    = `INSERT INTO words (rowid, text, response, labels) VALUES ($1, $2, $3, $4)`
	dropIndexed = `DELETE FROM unindexed WHERE n = $1`
	mergeWords  = `INSERT INTO words (words, rank) VALUES ('merge', $1)`
)

// changed tells the indexer that messages were accepted or have finished.
func (db *DB) changed() {
	select {
	case db.unindexed <- struct{}{}:
	default:
	}
}

// index keeps the words of the messages until the context ends: soon after they have come, and
// never in the write that brings them. What an end leaves over, a kill too, the next start finds.
// It makes the whole index anew after INSERT INTO words (words) VALUES ('delete-all') and
// INSERT OR IGNORE INTO unindexed SELECT n FROM message.
func (db *DB) index(ctx context.Context) {
	for {
		wait := settle
		for more := true; more && ctx.Err() == nil; {
			var err error
			if more, err = db.indexSome(ctx); err == nil {
				err = db.write(ctx, func(tx tx) error {
					_, err := tx.exec(mergeWords, mergePages)
					return err
				})
			}
			if err != nil {
				wait = indexAgain
				db.changed()
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-db.unindexed:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// indexAll indexes what there is, so that a search finds what was just said. It is patient for a
// second only: after a migration there are messages for minutes.
func (db *DB) indexAll(ctx context.Context) error {
	limit, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	for more := true; more && limit.Err() == nil; {
		var err error
		if more, err = db.indexSome(limit); err != nil && limit.Err() == nil {
			return err
		}
	}
	return ctx.Err()
}

// indexSome writes down the words of some messages, the newest first, and reports whether there
// may be more. Who calls it beside another finds what that one has left.
func (db *DB) indexSome(ctx context.Context) (more bool, err error) {
	if err := db.row(ctx, anyUnindexed).Scan(&more); err != nil || !more {
		return false, err
	}
	err = db.write(ctx, func(tx tx) error {
		rows, err := tx.query(someUnindexed, indexMessages)
		if err != nil {
			return err
		}
		var all []indexed
		size := 0
		for rows.Next() && size < indexBytes {
			var m indexed
			if err := rows.Scan(&m.n, &m.team, &m.origin, &m.status, &m.text, &m.response); err != nil {
				return errors.Join(err, rows.Close())
			}
			size += len(m.text) + len(m.response)
			all = append(all, m)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for _, m := range slices.Backward(all) { // FTS5 gathers only what comes in ascending order
			if err := tx.addWords(m); err != nil {
				return err
			}
		}
		more = len(all) == indexMessages || size >= indexBytes
		return nil
	})
	return more, err
}

// indexed is what the index knows of a message.
type indexed struct {
	n            int64
	team, origin string
	status       iris.Status
	text         string
	response     string
}

func (tx tx) addWords(m indexed) error {
	if m.status != iris.StatusCompleted {
		m.response = "" // nobody is shown it
	}
	labels := strings.Join([]string{label("team", m.team), label("origin", m.origin), label("status", end(m.status))}, " ")
	if _, err := tx.exec(dropWords, m.n); err != nil {
		return err
	}
	if _, err := tx.exec(addWords, m.n, apart(m.text), apart(m.response), labels); err != nil {
		return err
	}
	_, err := tx.exec(dropIndexed, m.n)
	return err
}

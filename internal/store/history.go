package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/iris-mcp/iris-mcp"
)

// day is the time that a row of the table tally counts, in milliseconds.
const day = 24 * 60 * 60 * 1000

// forever is later than any message.
const forever = int64(math.MaxInt64)

// Messages gives a page of the messages that f selects, the newest first by CreatedAt, and
// how many there are on all pages.
//
// Both come from the counts by days: their sum is the total, and they say on which day a page
// begins, so that however deep it lies, only what else happened on that day is passed over.
func (db *DB) Messages(ctx context.Context, f iris.Filter) (iris.Page, error) {
	read := db.messages
	if f.Query != "" {
		read = db.search
	}
	page, err := read(ctx, f)
	return page, wrap(err, "read messages")
}

func (db *DB) messages(ctx context.Context, f iris.Filter) (page iris.Page, err error) {
	// All is read from one state of the store.
	tx, err := db.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return page, err
	}
	defer tx.Rollback()
	counts, err := countByDay(ctx, tx, f)
	if err != nil {
		return page, err
	}
	for _, c := range counts {
		page.Total += c.messages
	}
	number, offset, until := f.After.Page+1, 0, unix(f.After.CreatedAt)
	if f.After.IsZero() {
		number, until = max(f.Page, 1), forever
		offset = (number - 1) * f.Limit
	}
	for len(counts) > 0 && (offset >= counts[0].messages || counts[0].since > until) {
		offset = max(offset-counts[0].messages, 0)
		counts = counts[1:]
	}
	if len(counts) == 0 {
		return page, nil
	}
	where := conditions(f)
	where.add("created_at BETWEEN ? AND ?", counts[len(counts)-1].since, min(until, counts[0].until))
	if !f.After.IsZero() {
		where.add("(created_at < ? OR n < ?)", until, f.After.N)
	}
	page.Messages, page.Next, err = readPage(ctx, tx, "created_at DESC, n DESC", f.Limit, number, fmt.Sprintf(
		`SELECT n FROM message%s ORDER BY created_at DESC, n DESC LIMIT %d OFFSET %d`, where, f.Limit+1, offset), where.args)
	return page, err
}

// readPage reads the messages whose numbers the inner query gives from an index: one more than
// the limit, if there is a next page.
func readPage(ctx context.Context, tx *sql.Tx, order string, limit, number int, inner string, args []any) (page []iris.Message, next iris.Cursor, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT `+messageColumns+`, n FROM message WHERE n IN (`+inner+`) ORDER BY `+order, args...)
	if err != nil {
		return nil, next, err
	}
	var n []int64
	page, err = collect(rows, func(row scanner) (iris.Message, error) {
		r := numbered{scanner: row}
		m, err := scanMessage(&r)
		n = append(n, r.n)
		return m, err
	})
	if err == nil && len(page) > limit {
		page = page[:limit]
		next = iris.Cursor{CreatedAt: page[limit-1].CreatedAt, N: n[limit-1], Page: number}
	}
	return page, next, err
}

// numbered is a row that ends with its number.
type numbered struct {
	scanner
	n int64
}

func (r *numbered) Scan(into ...any) error { return r.scanner.Scan(append(into, &r.n)...) }

// latest is the last millisecond that the filter selects.
func latest(f iris.Filter) int64 {
	if f.Until.IsZero() {
		return forever
	}
	return unix(f.Until)
}

// counted is how many messages, at least one, were accepted within some time.
type counted struct {
	since, until int64 // its first and last millisecond
	messages     int
}

// countByDay counts the messages that the filter selects, the newest first: those of whole days
// by the tally and, as far as they are not finished, in the small index of the living; and what
// since and until leave of a day in whatever index there is.
func countByDay(ctx context.Context, tx *sql.Tx, f iris.Filter) (counts []counted, err error) {
	since, until := unix(f.Since), latest(f)
	part := func(since, until int64) error {
		if since > until {
			return nil
		}
		where := conditions(f)
		where.add("created_at BETWEEN ? AND ?", since, until)
		c := counted{since: since, until: until}
		err := tx.QueryRowContext(ctx, `SELECT count(*) FROM message`+where.String(), where.args...).Scan(&c.messages)
		if c.messages > 0 {
			counts = append(counts, c)
		}
		return err
	}
	first, end := (since+day-1)/day, forever/day // of the whole days; end is the one behind them
	if until < forever {
		end = (until + 1) / day
	}
	if first >= end {
		return counts, part(since, until)
	}
	if until < forever {
		if err := part(end*day, until); err != nil {
			return nil, err
		}
	}
	days, err := wholeDays(ctx, tx, f, first, end)
	if err != nil {
		return nil, err
	}
	for _, d := range slices.Backward(slices.Sorted(maps.Keys(days))) {
		counts = append(counts, counted{d * day, (d+1)*day - 1, days[d]})
	}
	return counts, part(since, first*day-1)
}

// wholeDays counts the messages of each day from first until before end.
func wholeDays(ctx context.Context, tx *sql.Tx, f iris.Filter, first, end int64) (map[int64]int, error) {
	days := map[int64]int{}
	sum := func(text string, where clauses) error {
		rows, err := tx.QueryContext(ctx, fmt.Sprintf(text, where), where.args...)
		if err != nil {
			return err
		}
		_, err = collect(rows, func(row scanner) (none struct{}, err error) {
			var day int64
			var messages int
			err = row.Scan(&day, &messages)
			days[day] += messages
			return none, err
		})
		return err
	}
	if f.Status == "" || f.Status.Final() {
		where := tallied(f)
		where.add("day BETWEEN ? AND ?", first, end-1)
		if err := sum(`SELECT day, sum(messages) FROM tally%s GROUP BY day`, where); err != nil {
			return nil, err
		}
	}
	if !f.Status.Final() {
		where := living(f)
		where.add("created_at BETWEEN ? AND ?", first*day, end*day-1)
		if err := sum(fmt.Sprintf(`SELECT created_at / %d, count(*) FROM message%%s GROUP BY 1`, day), where); err != nil {
			return nil, err
		}
	}
	return days, nil
}

// clauses are the conditions of a WHERE with their arguments.
type clauses struct {
	all  []string
	args []any
}

// add adds a condition with a ? for each argument.
func (c *clauses) add(condition string, args ...any) {
	for _, arg := range args {
		c.args = append(c.args, arg)
		condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(c.args)), 1)
	}
	c.all = append(c.all, condition)
}

func (c clauses) String() string {
	if len(c.all) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.all, " AND ")
}

// teams adds what the filter says about teams.
func (c *clauses) teams(f iris.Filter) {
	if f.Team != "" {
		c.add("team = ?", f.Team)
	}
	if len(f.Teams) > 0 {
		args := make([]any, len(f.Teams))
		for i, team := range f.Teams {
			args[i] = team
		}
		c.add("team IN ("+strings.Repeat("?, ", len(args)-1)+"?)", args...)
	}
}

// conditions is the filter, but for its times, on the table message.
func conditions(f iris.Filter) (c clauses) {
	if f.Status != "" && !f.Status.Final() {
		return living(f)
	}
	c.teams(f)
	switch {
	case f.From != "" && f.Status != "": // || keeps SQLite to an index by status, which has the origin too
		c.add("origin || '' = ?", originOf(f.From))
	case f.From != "":
		c.add("origin = ?", originOf(f.From))
	}
	if f.Status != "" { // these words lead to the indexes of the finished
		c.add("status IN ('completed', 'failed', 'cancelled') AND status = ?", f.Status)
	}
	return c
}

// living is conditions for those messages that are not finished, few as they are: these words
// lead to the index that holds no others.
func living(f iris.Filter) (c clauses) {
	c.add("status IN ('queued', 'processing')")
	if f.Status != "" {
		c.add("status = ?", f.Status)
	}
	c.teams(f)
	if f.From != "" {
		c.add("origin || '' = ?", originOf(f.From))
	}
	return c
}

// tallied is conditions on the table tally.
func tallied(f iris.Filter) (c clauses) {
	c.teams(f)
	if f.From != "" {
		c.add("origin = ?", originOf(f.From))
	}
	if f.Status != "" {
		c.add("status = ?", f.Status)
	}
	return c
}

// origin is the column that a history's "from" selects by. It is not Caller.From, because a
// team may be called "api" or "local".
func origin(c iris.Caller) string {
	switch c.Kind {
	case iris.CallerTeam:
		return "team/" + c.Name
	case iris.CallerLocal:
		return "local"
	default:
		return "key" // whoever has a credential
	}
}

// originOf is the origin that Filter.From means.
func originOf(from string) string {
	switch from {
	case "api":
		return "key"
	case "local":
		return "local"
	default:
		return "team/" + from
	}
}

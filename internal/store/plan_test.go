package store

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/iris-mcp/iris-mcp"
)

// plan is how SQLite would run the statement, a step a line.
func plan(t *testing.T, db *DB, text string) string {
	t.Helper()
	places := map[string]bool{}
	for _, p := range regexp.MustCompile(`\$\d+`).FindAllString(text, -1) {
		places[p] = true
	}
	rows, err := db.reader.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, make([]any, len(places))...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	steps, err := collect(rows, func(row scanner) (step string, err error) {
		var ignored int
		return step, row.Scan(&ignored, &ignored, &ignored, &step)
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(steps, "\n")
}

func openForPlans(t *testing.T) *DB {
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "iris.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// A statement that reads a table from end to end is fast in every test and slow for everybody
// who has used Iris for a while.
func TestNoStatementReadsAWholeTable(t *testing.T) {
	db := openForPlans(t)
	scan := regexp.MustCompile(`(?m)^SCAN (job|message|event|session|api_key|usage|delivery|delivery_attempt)\b.*$`)
	for _, text := range append(hotWrites(), append(hotReads(), nextRun, resendDelivery, dropAttempt, getAttempts, livingOf,
		oldMessages, dropMessage, dropJob, dropPruned, dropEvents, dropSessions)...) {
		for _, step := range scan.FindAllString(plan(t, db, text), -1) {
			if !strings.HasSuffix(step, "INDEX delivery_running") { // as many as run at once, few
				t.Errorf("%s\n%s", step, text)
			}
		}
	}
	if got := plan(t, db, running); !strings.Contains(got, "INDEX job_turn") {
		t.Errorf("the running jobs are found by %s", got)
	}
}

func TestTheHistoryIsReadWithinAnIndex(t *testing.T) {
	db := openForPlans(t)
	for _, team := range []string{"", "api"} {
		for _, from := range []string{"", "api"} {
			for _, status := range []iris.Status{"", iris.StatusQueued, iris.StatusFailed} {
				where := conditions(iris.Filter{Team: team, From: from, Status: status})
				where.add("created_at BETWEEN ? AND ?", 1, 2)
				total := plan(t, db, "SELECT count(*) FROM message"+where.String())
				where.add("(created_at < ? OR n < ?)", 2, 3)
				page := plan(t, db, fmt.Sprintf("SELECT n FROM message%s ORDER BY created_at DESC, n DESC LIMIT 50", where))
				for _, got := range []string{page, total} {
					if !strings.Contains(got, "COVERING INDEX") || !strings.Contains(got, "message_living") && !strings.Contains(got, "created_at>? AND created_at<?") {
						t.Errorf("team %q, from %q, status %q: %s", team, from, status, got)
					}
				}
				if !strings.Contains(total, "message_living") && strings.Contains(page, "TEMP B-TREE") {
					t.Errorf("team %q, from %q, status %q: sorts: %s", team, from, status, page)
				}
			}
		}
	}
}

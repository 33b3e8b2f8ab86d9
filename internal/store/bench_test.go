package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

// clock gathers how long single calls take, for checkpoints spoil the mean.
type clock []time.Duration

func (c *clock) time(b *testing.B, call func() error) {
	begin := time.Now()
	err := call()
	*c = append(*c, time.Since(begin))
	if err != nil {
		b.Fatal(err)
	}
}

func (c clock) report(b *testing.B) {
	slices.Sort(c)
	b.ReportMetric(float64(c[len(c)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(c[len(c)*99/100].Microseconds()), "µs-p99")
}

func BenchmarkAccept(b *testing.B) {
	for _, bm := range []struct {
		name   string
		fresh  bool
		dedupe bool
	}{{"fresh session", true, false}, {"standing session", false, false}, {"fresh session, dedupe", true, true}} {
		b.Run(bm.name, func(b *testing.B) {
			db, _ := open(b)
			var c clock
			for b.Loop() {
				m, hash := ask("api", local), ""
				if bm.dedupe {
					hash = m.ID
				}
				c.time(b, func() error { _, _, err := db.Accept(b.Context(), m, bm.fresh, hash); return err })
			}
			c.report(b)
		})
	}
}

// BenchmarkClaim takes jobs out of 10,000 that wait, and puts each back.
func BenchmarkClaim(b *testing.B) {
	const waiting = 10_000
	for _, bm := range []struct {
		name    string
		team    func(i int) string
		session bool // all in one
		full    []string
	}{
		{"one team", func(int) string { return "api" }, false, nil},
		{"five teams", func(i int) string { return fmt.Sprint("team", i%5) }, false, nil},
		{"fifty teams", func(i int) string { return fmt.Sprint("team", i%50) }, false, nil},
		{"the best of full teams", func(i int) string { return fmt.Sprint("team", min(i/(waiting/5), 4)) }, false, []string{"team0", "team1", "team2", "team3"}},
		{"all but the last of one session", func(i int) string { return "api" }, true, nil},
	} {
		b.Run(bm.name, func(b *testing.B) {
			db, _ := open(b)
			for i := range waiting {
				if _, _, err := db.Accept(b.Context(), ask(bm.team(i), local), !bm.session, ""); err != nil {
					b.Fatal(err)
				}
			}
			if bm.session {
				accept(b, db, ask("api", local))
				if _, ok := claim(b, db); !ok {
					b.Fatal("nothing to claim")
				}
			}
			var c clock
			for b.Loop() {
				var j iris.Job
				c.time(b, func() (err error) {
					var ok bool
					if j, ok, err = db.Claim(b.Context(), iris.Claim{Worker: "w", Lease: time.Minute, FullTeams: bm.full}); !ok && err == nil {
						err = errors.New("nothing to claim")
					}
					return err
				})
				if err := db.Return(b.Context(), j, nil, time.Time{}); err != nil {
					b.Fatal(err)
				}
			}
			c.report(b)
		})
	}
}

func BenchmarkFinish(b *testing.B) {
	db, _ := open(b)
	var c clock
	for b.Loop() {
		m := accept(b, db, ask("api", local))
		j := mustClaim(b, db, m)
		m, last := completed(m, 2)
		m.Metadata = &iris.Metadata{ToolsUsed: []string{"Read"}, FilesAccessed: []string{"go.mod"}, Usage: iris.Usage{InputTokens: 10}}
		c.time(b, func() error { return db.Finish(b.Context(), m, j.Attempt, last) })
	}
	c.report(b)
}

func BenchmarkAppendEvents(b *testing.B) {
	for _, size := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			db, _ := open(b)
			seq := int64(0)
			var c clock
			for b.Loop() {
				events := make([]iris.Event, size)
				for i := range events {
					seq++
					events[i] = iris.Event{MessageID: "msg_1", Seq: seq, At: time.Now(), Kind: iris.EventChunk, Text: "a piece of the answer "}
				}
				c.time(b, func() error { return db.AppendEvents(b.Context(), events) })
			}
			c.report(b)
		})
	}
}

func BenchmarkRead(b *testing.B) {
	db, _ := open(b)
	m := accept(b, db, ask("api", local))
	if err := db.CreateKey(b.Context(), iris.Key{Name: "ci", Hash: "hash"}); err != nil {
		b.Fatal(err)
	}
	for name, read := range map[string]func(*store.DB) error{
		"message": func(db *store.DB) error { _, err := db.Message(b.Context(), m.ID); return err },
		"session": func(db *store.DB) error { _, err := db.Session(b.Context(), m.SessionID); return err },
		"key":     func(db *store.DB) error { _, _, err := db.KeyByHash(b.Context(), "hash"); return err },
		"events":  func(db *store.DB) error { _, err := db.Events(b.Context(), m.ID, 0, 100); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := read(db); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

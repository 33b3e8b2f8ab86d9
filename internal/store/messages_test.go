package store_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

// full is a message with something in every field that a caller sets.
func full() iris.Message {
	m := ask("api", iris.Caller{Kind: iris.CallerKey, Name: "ci", Scopes: []iris.Scope{iris.ScopeAll}}, named("pr-1"), task, with(iris.PriorityHigh))
	m.Text = "Grüße, \"quoted\" <tags> & a NUL \x00 and a very long line " + strings.Repeat("x", 1000)
	m.Context = &iris.Context{Source: "github", Metadata: json.RawMessage(`{"pr":1,"title":"<b>"}`)}
	m.MaxAttempts = 3
	m.Timeout = 90 * time.Second
	return m
}

func TestAMessageIsReadAsItWasStored(t *testing.T) {
	db, path := open(t)
	m := accept(t, db, full())
	if m.Status != iris.StatusQueued || m.SessionID == "" || m.SessionName != "pr-1" || m.Caller.Scopes != nil {
		t.Errorf("accepted %+v", m)
	}
	read := func(id string, want iris.Message) {
		t.Helper()
		got, err := db.Message(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("read\n%+v, want\n%+v", got, want)
		}
	}
	read(m.ID, m)
	read(m.JobID(), m)

	j := mustClaim(t, db, m)
	started, err := db.Message(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	done := started
	done.Status, done.Response = iris.StatusFailed, "half an answer \x00"
	done.CompletedAt = time.Now().Truncate(time.Millisecond).UTC()
	done.Err = iris.Errorf(iris.CodeProcess, "the CLI died").With("exitCode", "1")
	done.Err.Private = map[string]any{"stderr": "<oops>"}
	done.Metadata = &iris.Metadata{
		FilesAccessed: []string{"go.mod"}, ToolsUsed: []string{"Read"}, Model: "m", CostUSD: 0.25, Turns: 2,
		Usage: iris.Usage{InputTokens: 1, OutputTokens: 2, CacheReadTokens: 3, CacheWriteTokens: 4},
	}
	if err := db.Finish(t.Context(), done, j.Attempt, iris.Event{MessageID: m.ID, Seq: 2, At: done.CompletedAt, Kind: iris.EventError, Err: done.Err}); err != nil {
		t.Fatal(err)
	}
	read(m.ID, done)
	db = reopen(t, path)
	read(m.ID, done)
}

func TestAMessageThatIsNotThere(t *testing.T) {
	db, _ := open(t)
	for _, id := range []string{"msg_01M0000000000000000000000", "job_01M0000000000000000000000", "", "x'; DROP TABLE message"} {
		_, err := db.Message(t.Context(), id)
		if iris.CodeOf(err) != iris.CodeMessageNotFound {
			t.Errorf("%q gave %v, want MESSAGE_NOT_FOUND", id, err)
		}
	}
}

func TestTextsOfSeveralMegabytes(t *testing.T) {
	db, _ := open(t)
	big := strings.Repeat("€", 2<<20)
	m := ask("api", local)
	m.Text = big
	m = accept(t, db, m)
	j := mustClaim(t, db, m)
	if err := db.AppendEvents(t.Context(), []iris.Event{{MessageID: m.ID, Seq: 2, Kind: iris.EventChunk, Text: big}}); err != nil {
		t.Fatal(err)
	}
	done, last := completed(m, 3)
	done.Response = big
	if err := db.Finish(t.Context(), done, j.Attempt, last); err != nil {
		t.Fatal(err)
	}
	got, err := db.Message(t.Context(), m.ID)
	if err != nil || got.Text != big || got.Response != big {
		t.Errorf("text of %d and response of %d bytes came back (%v)", len(got.Text), len(got.Response), err)
	}
	events, err := db.Events(t.Context(), m.ID, 1, 1)
	if err != nil || len(events) != 1 || events[0].Text != big {
		t.Errorf("%d events came back (%v)", len(events), err)
	}
}

func TestARefusedMessageLeavesNothing(t *testing.T) {
	db, _ := open(t)
	first := accept(t, db, ask("api", ci))
	same := ask("api", ci)
	same.ID = first.ID
	if _, created, err := db.Accept(t.Context(), same, true, ""); err == nil || created {
		t.Fatalf("an id that is taken: created %v, %v", created, err)
	}
	if n, err := db.SessionCount(t.Context(), "api"); err != nil || n != 1 {
		t.Errorf("%d sessions (%v), want 1", n, err)
	}
	if b, err := db.Backlog(t.Context(), "api"); err != nil || b.Waiting != 1 {
		t.Errorf("backlog %+v (%v), want 1 waiting", b, err)
	}
}

func TestFinishRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(m *iris.Message, last *iris.Event, attempt *int)
		final  bool // with ErrFinal
	}{
		{"an older attempt", func(_ *iris.Message, _ *iris.Event, attempt *int) { *attempt = 1 }, true},
		{"a newer attempt", func(_ *iris.Message, _ *iris.Event, attempt *int) { *attempt = 3 }, true},
		{"a cancel while it runs", func(_ *iris.Message, _ *iris.Event, attempt *int) { *attempt = 0 }, true},
		{"a message that is not there", func(m *iris.Message, last *iris.Event, _ *int) {
			m.ID = "msg_0"
			last.MessageID = m.ID
		}, true},
		{"a status that is not final", func(m *iris.Message, _ *iris.Event, _ *int) { m.Status = iris.StatusProcessing }, false},
		{"an event that is not the last", func(_ *iris.Message, last *iris.Event, _ *int) { last.Kind = iris.EventChunk }, false},
		{"an event of another message", func(_ *iris.Message, last *iris.Event, _ *int) { last.MessageID = "msg_0" }, false},
		{"an event number that is taken", func(_ *iris.Message, last *iris.Event, _ *int) { last.Seq = 1 }, false},
	}
	db, _ := open(t)
	m := accept(t, db, ask("api", local))
	if err := db.Return(t.Context(), mustClaim(t, db, m), nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	j := mustClaim(t, db, m)
	before, err := db.Message(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			done, last := completed(m, 2)
			attempt := j.Attempt
			tt.change(&done, &last, &attempt)
			err := db.Finish(t.Context(), done, attempt, last)
			if err == nil || errors.Is(err, iris.ErrFinal) != tt.final {
				t.Errorf("gave %v", err)
			}
			after, err := db.Message(t.Context(), m.ID)
			if err != nil || !reflect.DeepEqual(before, after) {
				t.Errorf("the message changed to %+v (%v)", after, err)
			}
			if u, err := db.Usage(t.Context(), "api"); err != nil || u.Messages != 0 {
				t.Errorf("the usage is %+v (%v)", u, err)
			}
		})
	}
	finish(t, db, m, j.Attempt)
	done, last := completed(m, 3)
	for _, attempt := range []int{0, j.Attempt} {
		if err := db.Finish(t.Context(), done, attempt, last); !errors.Is(err, iris.ErrFinal) {
			t.Errorf("a second end, attempt %d, gave %v, want ErrFinal", attempt, err)
		}
	}
}

// history fills a record with 60 messages, i minutes after 2026-01-01: of teams a, b, c by
// turns, from key, local and team web by turns of four messages, each fifth failed.
func history(t *testing.T) (*store.DB, []iris.Message) {
	db, _ := open(t)
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	all := make([]iris.Message, 60)
	for i := range all {
		m := accept(t, db, ask([]string{"a", "b", "c"}[i%3], []iris.Caller{ci, local, web}[i/4%3], at(base.Add(time.Duration(i)*time.Minute))))
		if i < 50 {
			j := mustClaim(t, db, m)
			done, last := completed(m, 2)
			if done.CompletedAt = m.CreatedAt.Add(time.Second); i%5 == 0 {
				done.Status, last.Kind = iris.StatusFailed, iris.EventError
			}
			if err := db.Finish(t.Context(), done, j.Attempt, last); err != nil {
				t.Fatal(err)
			}
		} else if i == 50 {
			mustClaim(t, db, m)
		}
		m, err := db.Message(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = m
	}
	return db, all
}

func TestHistory(t *testing.T) {
	db, all := history(t)
	slices.Reverse(all)
	for _, team := range []string{"", "a", "none"} {
		for _, from := range []string{"", "api", "local", "web", "ci"} {
			for _, status := range append([]iris.Status{""}, iris.Statuses...) {
				for _, teams := range [][]string{nil, {"a"}, {"b", "c", "none"}} {
					for _, span := range [][2]int{{-1, -1}, {10, -1}, {-1, 52}, {10, 52}} {
						f := iris.Filter{Team: team, From: from, Status: status, Teams: teams, Page: 1, Limit: 200}
						if span[0] >= 0 {
							f.Since = all[len(all)-1-span[0]].CreatedAt
						}
						if span[1] >= 0 {
							f.Until = all[len(all)-1-span[1]].CreatedAt
						}
						var want []string
						for _, m := range all {
							if (team == "" || m.Team == team) && (from == "" || m.Caller.From() == from) && (status == "" || m.Status == status) &&
								(teams == nil || slices.Contains(teams, m.Team)) &&
								!m.CreatedAt.Before(f.Since) && (f.Until.IsZero() || !m.CreatedAt.After(f.Until)) {
								want = append(want, m.ID)
							}
						}
						page, err := db.Messages(t.Context(), f)
						if err != nil {
							t.Fatal(err)
						}
						var got []string
						for _, m := range page.Messages {
							got = append(got, m.ID)
						}
						if !slices.Equal(got, want) || page.Total != len(want) {
							t.Errorf("%+v: %d messages of %d, want %d", f, len(got), page.Total, len(want))
						}
					}
				}
			}
		}
	}
}

func TestHistoryPages(t *testing.T) {
	db, all := history(t)
	slices.Reverse(all)
	for _, limit := range []int{1, 7, 60, 200} {
		var got []iris.Message
		for page := 1; ; page++ {
			p, err := db.Messages(t.Context(), iris.Filter{Limit: limit, Page: page})
			if err != nil {
				t.Fatal(err)
			}
			if p.Total != len(all) {
				t.Errorf("page %d of %d: total %d, want %d", page, limit, p.Total, len(all))
			}
			if len(p.Messages) == 0 {
				break
			}
			got = append(got, p.Messages...)
		}
		if !reflect.DeepEqual(got, all) {
			t.Errorf("pages of %d: %d messages, and not the same ones in the same order", limit, len(got))
		}
	}
}

func TestMessagesOfOneMillisecondKeepTheirOrder(t *testing.T) {
	db, _ := open(t)
	now := time.Now()
	var want []string
	for range 20 {
		want = append(want, accept(t, db, ask("api", local, at(now))).ID)
	}
	slices.Reverse(want)
	for _, f := range []iris.Filter{{}, {Team: "api"}, {From: "local"}, {Status: iris.StatusQueued}, {Team: "api", Status: iris.StatusQueued}, {Teams: []string{"api", "web"}}} {
		f.Limit = 50
		page, err := db.Messages(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range page.Messages {
			got = append(got, m.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v gave another order", f)
		}
	}
}

func TestATeamCalledAPIIsNotTheAPI(t *testing.T) {
	db, _ := open(t)
	accept(t, db, ask("b", iris.Caller{Kind: iris.CallerTeam, Name: "api"}))
	m := accept(t, db, ask("b", ci))
	page, err := db.Messages(t.Context(), iris.Filter{From: "api", Limit: 10})
	if err != nil || page.Total != 1 || page.Messages[0].ID != m.ID {
		t.Errorf("from api: %+v (%v), want the key's message", page, err)
	}
}

func TestDurations(t *testing.T) {
	db, _ := open(t)
	for i := range 6 {
		m := ask("api", local)
		m.Task = i == 2
		m = accept(t, db, m)
		j := mustClaim(t, db, m)
		started, err := db.Message(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		done, last := completed(m, 2)
		done.CompletedAt = started.StartedAt.Add(time.Duration(i) * time.Second)
		if i == 3 {
			done.Status = iris.StatusFailed
		}
		if err := db.Finish(t.Context(), done, j.Attempt, last); err != nil {
			t.Fatal(err)
		}
	}
	tasks, others, err := db.Durations(t.Context(), "api", 4)
	if want := []time.Duration{5 * time.Second, 4 * time.Second, time.Second}; err != nil || !slices.Equal(others, want) || !slices.Equal(tasks, []time.Duration{2 * time.Second}) {
		t.Errorf("durations %v of tasks, %v of others (%v), want %v", tasks, others, err, want)
	}
	if tasks, others, err := db.Durations(t.Context(), "web", 3); err != nil || len(tasks)+len(others) != 0 {
		t.Errorf("of a team without turns: %v, %v (%v)", tasks, others, err)
	}
}

func TestUsageIsTheSumOfWhatFinished(t *testing.T) {
	db, path := open(t)
	end := func(m iris.Message, did *iris.Metadata, at time.Time) {
		t.Helper()
		m, last := completed(m, 2)
		m.Metadata, m.CompletedAt = did, at
		if err := db.Finish(t.Context(), m, mustClaim(t, db, m).Attempt, last); err != nil {
			t.Fatal(err)
		}
	}
	did := &iris.Metadata{CostUSD: 0.25, Usage: iris.Usage{InputTokens: 1, OutputTokens: 20, CacheReadTokens: 300, CacheWriteTokens: 4000}}
	now := time.Now()
	end(accept(t, db, ask("api", ci)), did, now)
	end(accept(t, db, ask("api", ci)), did, now)
	end(accept(t, db, ask("api", local)), did, now.Add(-48*time.Hour))
	end(accept(t, db, ask("api", local)), nil, now)
	end(accept(t, db, ask("web", local)), did, now)
	finish(t, db, accept(t, db, ask("api", local)), 0)
	again := accept(t, db, ask("api", local, task)) // what its first attempt did counts, whoever ends it
	if err := db.Return(t.Context(), mustClaim(t, db, again), did, now); err != nil {
		t.Fatal(err)
	}
	end(again, nil, now)
	accept(t, db, ask("api", local))
	db = reopen(t, path)
	if m, err := db.Message(t.Context(), again.ID); err != nil || m.Metadata == nil || m.Metadata.CostUSD != did.CostUSD {
		t.Errorf("of its first attempt there is left %+v (%v)", m.Metadata, err)
	}
	got, err := db.Usage(t.Context(), "api")
	want := iris.TeamUsage{Messages: 6, CostUSD: 1, Usage: iris.Usage{InputTokens: 4, OutputTokens: 80, CacheReadTokens: 1200, CacheWriteTokens: 16000}}
	if err != nil || got != want {
		t.Errorf("usage %+v (%v), want %+v", got, err, want)
	}
	if got, err := db.Usage(t.Context(), "none"); err != nil || got != (iris.TeamUsage{}) {
		t.Errorf("of a team without messages: %+v (%v)", got, err)
	}
}

// TestLiving: what waits or runs, in order, and nothing else.
func TestLiving(t *testing.T) {
	db, _ := open(t)
	caller := iris.Caller{Kind: iris.CallerKey, Name: "ci"}
	running := accept(t, db, ask("api", caller))
	mustClaim(t, db, running)
	if err := db.AppendEvents(t.Context(), []iris.Event{{MessageID: running.ID, Seq: 2, Kind: iris.EventChunk, Text: "a"}}); err != nil {
		t.Fatal(err)
	}
	over := accept(t, db, ask("api", caller))
	over.Status = iris.StatusCancelled
	if err := db.Finish(t.Context(), over, 0, iris.Event{MessageID: over.ID, Seq: 2, Kind: iris.EventError}); err != nil {
		t.Fatal(err)
	}
	waiting := accept(t, db, ask("api", caller, named("pr-1"), task))
	accept(t, db, ask("web", caller))

	got, err := db.Living(t.Context(), "api")
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, want := range []struct {
		m      iris.Message
		status iris.Status
		after  int64
	}{{running, iris.StatusProcessing, 2}, {waiting, iris.StatusQueued, 0}} {
		m := got[i].Message
		if m.ID != want.m.ID || m.Status != want.status || got[i].After != want.after || !m.Caller.Is(caller) ||
			m.SessionRef() != want.m.SessionRef() || m.Task != want.m.Task || !m.CreatedAt.Equal(want.m.CreatedAt) {
			t.Errorf("%+v, want %+v", got[i], want)
		}
	}
}

// TestHead: everything but the texts, also by the job's id.
func TestHead(t *testing.T) {
	db, _ := open(t)
	m := accept(t, db, full())
	for _, id := range []string{m.ID, m.JobID()} {
		got, err := db.Head(t.Context(), id)
		want := m
		want.Text, want.Context = "", nil
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%+v, %v, want\n%+v", id, got, err, want)
		}
	}
	if _, err := db.Head(t.Context(), "msg_01M0000000000000000000000"); iris.CodeOf(err) != iris.CodeMessageNotFound {
		t.Error(err)
	}
}

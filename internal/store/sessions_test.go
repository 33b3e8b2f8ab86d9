package store_test

import (
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

func TestWhichSessionAMessageGets(t *testing.T) {
	db, _ := open(t)
	put := func(m iris.Message, fresh bool) string {
		t.Helper()
		m, _, err := db.Accept(t.Context(), m, fresh, "")
		if err != nil {
			t.Fatal(err)
		}
		return m.SessionID
	}
	standing := put(ask("api", ci), false)
	prOne := put(ask("api", ci, named("pr-1")), true)
	fresh := put(ask("api", ci), true)
	tests := []struct {
		name  string
		m     iris.Message
		fresh bool
		want  string // empty: one of its own
	}{
		{"the standing one again", ask("api", ci), false, standing},
		{"another caller's standing one is another", ask("api", local), false, ""},
		{"a team of the key's name is another caller", ask("api", iris.Caller{Kind: iris.CallerTeam, Name: "ci"}), false, ""},
		{"another team's standing one is another", ask("web", ci), false, ""},
		{"a fresh one is another", ask("api", ci), true, ""},
		{"the one of a name again", ask("api", ci, named("pr-1")), true, prOne},
		{"the one of a name, standing or not", ask("api", ci, named("pr-1")), false, prOne},
		{"another name is another", ask("api", ci, named("pr-2")), true, ""},
		{"another caller's name is another", ask("api", local, named("pr-1")), true, ""},
		{"another team's name is another", ask("web", ci, named("pr-1")), true, ""},
		{"a fresh one again by its id", ask("api", ci, in(fresh)), true, fresh},
		{"a named one by its id", ask("api", ci, in(prOne)), true, prOne},
		{"the standing one by its id", ask("api", ci, in(standing)), true, standing},
	}
	seen := map[string]bool{standing: true, prOne: true, fresh: true}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := put(tt.m, tt.fresh)
			if tt.want != "" && got != tt.want || tt.want == "" && seen[got] {
				t.Errorf("got %s, want %q", got, tt.want)
			}
			seen[got] = true
		})
	}
	if got, err := db.SessionCount(t.Context(), "api"); err != nil || got != 8 {
		t.Errorf("%d sessions of api (%v), want 8", got, err)
	}
}

func TestSomebodyElsesSessionIsNotFound(t *testing.T) {
	db, _ := open(t)
	mine := accept(t, db, ask("api", ci)).SessionID
	for name, m := range map[string]iris.Message{
		"another key's":     ask("api", iris.Caller{Kind: iris.CallerKey, Name: "other"}, in(mine)),
		"a team's":          ask("api", iris.Caller{Kind: iris.CallerTeam, Name: "ci"}, in(mine)),
		"with another team": ask("web", ci, in(mine)),
		"none at all":       ask("api", ci, in("ses_0")),
	} {
		if _, created, err := db.Accept(t.Context(), m, true, ""); created || iris.CodeOf(err) != iris.CodeNotFound {
			t.Errorf("%s: created %v, %v, want NOT_FOUND", name, created, err)
		}
	}
	if _, err := db.Session(t.Context(), "ses_0"); iris.CodeOf(err) != iris.CodeNotFound {
		t.Errorf("reading none gave %v, want NOT_FOUND", err)
	}
	if err := db.SetAgent(t.Context(), "ses_0", "x", true); iris.CodeOf(err) != iris.CodeNotFound {
		t.Errorf("updating none gave %v, want NOT_FOUND", err)
	}
}

func TestASessionIsReadAsItWasStored(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		m := accept(t, db, ask("api", ci, named("pr-1")))
		s, err := db.Session(t.Context(), m.SessionID)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(s.AgentID) {
			t.Errorf("agent id %q is no UUID of version 4", s.AgentID)
		}
		now := time.Now().UTC()
		want := iris.Session{ID: m.SessionID, Team: "api", Name: "pr-1", AgentID: s.AgentID, CreatedAt: now, UsedAt: now}
		want.Caller.Kind, want.Caller.Name = ci.Kind, ci.Name
		check := func(when string) {
			t.Helper()
			got, err := db.Session(t.Context(), m.SessionID)
			if err != nil || got.Caller.Scopes != nil || !got.Caller.Is(want.Caller) {
				t.Fatalf("%s: %+v, %v", when, got, err)
			}
			got.Caller = want.Caller
			if got.ID != want.ID || got.Team != want.Team || got.Name != want.Name || got.AgentID != want.AgentID ||
				got.Started != want.Started || !got.CreatedAt.Equal(want.CreatedAt) || !got.UsedAt.Equal(want.UsedAt) {
				t.Errorf("%s: %+v, want %+v", when, got, want)
			}
		}
		check("when made")
		time.Sleep(time.Minute)
		accept(t, db, ask("api", ci, in(m.SessionID)))
		want.UsedAt = time.Now()
		check("when used")
		time.Sleep(time.Minute)
		if err := db.SetAgent(t.Context(), m.SessionID, "another", true); err != nil {
			t.Fatal(err)
		}
		want.AgentID, want.Started, want.UsedAt = "another", true, time.Now()
		check("when started")
	})
}

func TestConcurrentFirstMessagesShareTheirSession(t *testing.T) {
	for name, change := range map[string]func(*iris.Message){
		"standing": func(*iris.Message) {},
		"named":    named("pr-1"),
	} {
		t.Run(name, func(t *testing.T) {
			db, _ := open(t)
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if _, _, err := db.Accept(t.Context(), ask("api", ci, change), false, ""); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n, err := db.SessionCount(t.Context(), "api"); err != nil || n != 1 {
				t.Errorf("%d sessions (%v), want 1", n, err)
			}
		})
	}
}

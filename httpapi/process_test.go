package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// The fake's processes: what is asked of them is written down.

func (f *fake) Processes() []iris.Process {
	var all []iris.Process
	for _, name := range []string{"backend", "frontend"} {
		for _, p := range f.statuses[name].Processes {
			p.Team = name
			all = append(all, p)
		}
	}
	return all
}

func (f *fake) control(format string, args ...any) {
	f.change(func() { f.controls = append(f.controls, fmt.Sprintf(format, args...)) })
}

func (f *fake) Wake(ctx context.Context, team string, evict bool) (bool, error) {
	f.control("wake %s %v", team, evict)
	if st, err := f.Status(ctx, team); err != nil {
		return false, err
	} else if st.LastError != nil {
		return false, st.LastError
	}
	if f.wakes == 0 {
		return true, nil
	}
	select {
	case <-time.After(f.wakes):
		return true, nil
	case <-ctx.Done():
		return false, fmt.Errorf("wait: %w", context.Cause(ctx))
	}
}

func (f *fake) Sleep(ctx context.Context, team string, force bool) (iris.Slept, error) {
	f.control("sleep %s %v", team, force)
	_, err := f.Status(ctx, team)
	return iris.Slept{Ended: 2, Finishing: 1}, err
}

func (f *fake) Restart(ctx context.Context, team string, force bool) (iris.Slept, error) {
	slept, err := f.Sleep(ctx, team, force)
	if err == nil {
		_, err = f.Wake(ctx, team, true)
	}
	return slept, err
}

func (f *fake) Kill(_ context.Context, team string, pid int) error {
	f.control("kill %s %d", team, pid)
	return nil
}

func TestControl(t *testing.T) {
	const backend = "/api/v1/teams/backend"
	tests := []struct {
		name     string
		call     call
		status   int
		says     string // in the answer
		controls []string
	}{
		{"wake", call{path: backend + "/wake", method: "POST"}, 200, `"started":true`, []string{"wake backend true"}},
		{"wake with a timeout", call{path: backend + "/wake", body: `{"timeout":5000}`}, 200, `"status":"busy"`, []string{"wake backend true"}},
		{"wake with a wrong timeout", call{path: backend + "/wake", body: `{"timeout":0}`}, 400, "timeout must be at least 1", nil},
		{"wake what fails", call{path: "/api/v1/teams/frontend/wake", method: "POST"}, 500, "PROCESS_ERROR", []string{"wake frontend true"}},
		{"wake nobody", call{path: "/api/v1/teams/nobody/wake", method: "POST"}, 404, "TEAM_NOT_FOUND", []string{"wake nobody true"}},
		{"wake what can be no team", call{path: "/api/v1/teams/..%2fx/wake", method: "POST"}, 404, "TEAM_NOT_FOUND", nil},
		{"sleep", call{path: backend + "/sleep", method: "POST"}, 200, `"ended":2,"finishing":1`, []string{"sleep backend false"}},
		{"sleep now", call{path: backend + "/sleep", body: `{"force":true}`}, 200, `"ended":2`, []string{"sleep backend true"}},
		{"sleep with an unknown field", call{path: backend + "/sleep", body: `{"now":true}`}, 400, "now is not a known field", nil},
		{"restart", call{path: backend + "/restart", method: "POST"}, 200, `"ended":2,"finishing":1`, []string{"sleep backend false", "wake backend true"}},
		{"restart now", call{path: backend + "/restart", body: `{"force":true,"timeout":1000}`}, 200, `"ended":2`, []string{"sleep backend true", "wake backend true"}},
		{"kill", call{path: "/api/v1/processes/42", method: "DELETE"}, 200, `"team":"backend","pid":42`, []string{"kill backend 42"}},
		{"kill what is no process of a team", call{path: "/api/v1/processes/1", method: "DELETE"}, 404, `"NOT_FOUND"`, nil},
		{"kill one that starts", call{path: "/api/v1/processes/0", method: "DELETE"}, 404, `"NOT_FOUND"`, nil},
		{"kill a group", call{path: "/api/v1/processes/-42", method: "DELETE"}, 404, `"NOT_FOUND"`, nil},
		{"kill by another writing", call{path: "/api/v1/processes/042", method: "DELETE"}, 404, `"NOT_FOUND"`, nil},
		{"kill a word", call{path: "/api/v1/processes/all", method: "DELETE"}, 404, `"NOT_FOUND"`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(httpapi.Config{})
			w := f.do(tt.call)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("%d %s, want %d with %s", w.Code, w.Body, tt.status, tt.says)
			}
			if !slices.Equal(f.controls, tt.controls) {
				t.Errorf("did %v, want %v", f.controls, tt.controls)
			}
		})
	}
}

// audits is an audit log in memory.
type audits struct {
	mu      sync.Mutex
	entries []string
}

func (a *audits) Record(_ context.Context, e iris.AuditEntry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	details, _ := json.Marshal(e.Details)
	a.entries = append(a.entries, fmt.Sprintf("%s %s by %s %s", e.Action, e.Subject, e.By.Name, details))
}

// TestEndedProcessesAreWrittenDown: who cuts somebody's turn off is in the audit log; who only
// sends idle processes home is not.
func TestEndedProcessesAreWrittenDown(t *testing.T) {
	a := &audits{}
	f := newFront(httpapi.Config{Audit: a})
	for _, c := range []call{
		{method: "POST", path: "/api/v1/teams/backend/sleep"},
		{path: "/api/v1/teams/backend/sleep", body: `{"force":true}`},
		{path: "/api/v1/teams/frontend/restart", body: `{"force":true}`},
		{method: "DELETE", path: "/api/v1/processes/42"},
		{method: "DELETE", path: "/api/v1/processes/1"},
	} {
		c.key = "operator"
		f.do(c)
	}
	want := []string{
		`process.killed backend by operator {"ended":2,"team":"backend"}`,
		`process.killed frontend by operator {"ended":2,"team":"frontend"}`,
		`process.killed 42 by operator {"state":"busy","team":"backend"}`,
	}
	if !slices.Equal(a.entries, want) {
		t.Errorf("written down is %q, want %q", a.entries, want)
	}
}

// TestWakeIsPatientForAWhile: who wakes a team hears when nothing came of it in time.
func TestWakeIsPatientForAWhile(t *testing.T) {
	for path, body := range map[string]string{
		"/api/v1/teams/backend/wake":     "",
		"/api/v1/teams/backend/restart":  "",
		"/api/v1/teams/backend/wake?":    `{"timeout":60000}`,
		"/api/v1/teams/backend/restart?": `{"timeout":60000}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFront(httpapi.Config{})
			f.wakes = time.Hour
			began := time.Now()
			w := f.do(call{method: "POST", path: path, body: body})
			if e := errorOf(t, w.Body.Bytes()); w.Code != 408 || e.Code != "TIMEOUT" || !strings.Contains(e.Message, "within 1m0s") {
				t.Errorf("%s %s: %d %s", path, body, w.Code, w.Body)
			}
			if took := time.Since(began); took != time.Minute {
				t.Errorf("%s %s took %v", path, body, took)
			}
		})
	}
}

// TestBoundKeyControlsItsTeams: to a key that is bound to teams, processes of others are not there.
func TestBoundKeyControlsItsTeams(t *testing.T) {
	f := newFront(httpapi.Config{})
	f.keys.all["operator"] = iris.Caller{Kind: iris.CallerKey, Name: "operator", Scopes: []iris.Scope{"processes:*"}, Teams: []string{"frontend"}}
	var list struct{ Processes []json.RawMessage }
	if err := json.Unmarshal(f.do(call{path: "/api/v1/processes", key: "operator"}).Body.Bytes(), &list); err != nil || list.Processes == nil || len(list.Processes) != 0 {
		t.Errorf("it sees %s, %v", list.Processes, err)
	}
	for path, want := range map[string]int{
		"DELETE /api/v1/processes/42":         404,
		"POST /api/v1/teams/backend/sleep":    403,
		"POST /api/v1/teams/backend/wake":     403,
		"POST /api/v1/teams/backend/restart":  403,
		"POST /api/v1/teams/frontend/sleep":   200,
		"POST /api/v1/teams/frontend/restart": 500, // the fake's start fails
	} {
		method, path, _ := strings.Cut(path, " ")
		if w := f.do(call{method: method, path: path, key: "operator"}); w.Code != want {
			t.Errorf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, want)
		}
	}
}

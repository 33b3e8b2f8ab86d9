package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// The fake's configuration: what is changed in it is written down.

func (f *fake) Team(name string) (iris.Team, error) {
	st, err := f.Status(context.Background(), name)
	return st.Team, err
}

func (f *fake) AddTeam(name string, settings []iris.Setting) (iris.Team, error) {
	f.control("add %s %s", name, said(settings))
	if _, err := f.Team(name); err == nil {
		return iris.Team{}, iris.Errorf(iris.CodeConflict, "there is a team %q already", name)
	}
	t := iris.Team{Name: name, Permissions: iris.PermissionsAsk, MaxProcesses: 4, ParallelTasks: 1}
	for _, s := range settings {
		if s.Key == "path" {
			t.Path = s.Value.(string)
		}
	}
	return t, nil
}

func (f *fake) ChangeTeam(name string, settings []iris.Setting, may func(iris.Team) error) (iris.Team, error) {
	if t, err := f.Team(name); err != nil {
		return t, err
	} else if err := may(t); err != nil {
		return t, err
	}
	f.control("change %s %s", name, said(settings))
	return f.Team(name)
}

func (f *fake) RemoveTeam(ctx context.Context, name string) (iris.TeamStatus, error) {
	f.control("remove %s", name)
	return f.Status(ctx, name)
}

func said(settings []iris.Setting) string {
	var all []string
	for _, s := range settings {
		all = append(all, fmt.Sprintf("%s=%#v", s.Key, s.Value))
	}
	return strings.Join(all, " ")
}

// mighty is a team with every setting that widens what a team may do.
func mighty(f *front) {
	f.statuses["mighty"] = iris.TeamStatus{Team: iris.Team{
		Name: "mighty", Path: "/home/me/mighty", Permissions: iris.PermissionsAllow, PermissionMode: "acceptEdits",
		AllowedTools: []string{"Bash"}, DisallowedTools: []string{"WebFetch", "WebSearch"}, AppendSystemPrompt: "Be brave.",
		Env: map[string]string{"TOKEN": "hunter2"}, ClaudePath: "/opt/claude", MaxProcesses: 4, ParallelTasks: 1,
	}}
	f.statuses["strict"] = iris.TeamStatus{Team: iris.Team{Name: "strict", Path: "/home/me/strict", Permissions: iris.PermissionsDeny}}
}

func TestTeamsAreChanged(t *testing.T) {
	const teams = "/api/v1/teams"
	tests := []struct {
		name    string
		call    call
		status  int
		says    string // in the answer
		control string // what came of it
	}{
		{"a new team", call{path: teams, body: `{"name":"new","path":"/home/me/new"}`}, 201, `"name":"new"`, `add new path="/home/me/new"`},
		{"with settings", call{path: teams, body: `{"name":"new","path":"~/new","description":"x","maxProcesses":2,"warm":0,"idleTimeout":5000,"disallowedTools":["Bash"],"permissions":"deny","model":null}`}, 201, "",
			`add new description="x" model=<nil> permissions="deny" disallowedTools=[]string{"Bash"} maxProcesses=2 warm=0 idleTimeout=5000000000 path="~/new"`},
		{"with its variables", call{path: teams, body: `{"name":"new","path":"/n","env":{"A":"${HOME}","B":null}}`, key: "admin"}, 201, "", `add new env.A="${HOME}" env.B=<nil> path="/n"`},
		{"with too many variables", call{path: teams, body: `{"name":"new","path":"/n","env":{` + variables(101) + `}}`}, 400, "env must have at most 100 fields", ""},
		{"that is there", call{path: teams, body: `{"name":"backend","path":"/n"}`}, 409, "CONFLICT", `add backend path="/n"`},
		{"without a path", call{path: teams, body: `{"name":"new"}`}, 400, "path is missing", ""},
		{"without a name", call{path: teams, body: `{"path":"/n"}`}, 400, "name is missing", ""},
		{"whose name is a path", call{path: teams, body: `{"name":"../new","path":"/n"}`}, 400, "name must be letters", ""},
		{"that is called as no team is", call{path: teams, body: `{"name":"api","path":"/n"}`}, 400, "name must be another word", ""},
		{"that is called local", call{path: teams, body: `{"name":"local","path":"/n"}`}, 400, "name must be another word", ""},
		{"with an unknown setting", call{path: teams, body: `{"name":"new","path":"/n","claude":"x"}`}, 400, "claude is not a known field", ""},
		{"with a wrong setting", call{path: teams, body: `{"name":"new","path":"/n","maxProcesses":0}`}, 400, "maxProcesses must be at least 1", ""},
		{"with a setting of the wrong kind", call{path: teams, body: `{"name":"new","path":"/n","allowedTools":"Read"}`}, 400, "allowedTools must be a list", ""},
		{"with an unknown policy", call{path: teams, body: `{"name":"new","path":"/n","permissions":"always"}`}, 400, "permissions must be one of", ""},

		{"a change", call{method: "PATCH", path: teams + "/backend", body: `{"description":"y","color":null,"turnTimeout":1}`}, 200, `"name":"backend"`,
			`change backend description="y" color=<nil> turnTimeout=1000000`},
		{"a change of variables", call{method: "PATCH", path: teams + "/backend", body: `{"env":{"A":"1","B":null}}`}, 200, "", `change backend env.A="1" env.B=<nil>`},
		{"a change of too many variables", call{method: "PATCH", path: teams + "/backend", body: `{"env":{` + variables(101) + `}}`}, 400, "env must have at most 100 fields", ""},
		{"too many tools", call{method: "PATCH", path: teams + "/backend", body: `{"disallowedTools":["Bash"` + strings.Repeat(`,"Bash"`, 1000) + `]}`}, 400, "disallowedTools must have at most 1000 ", ""},
		{"all variables away", call{method: "PATCH", path: teams + "/backend", body: `{"env":null}`}, 200, "", `change backend env=<nil>`},
		{"another folder", call{method: "PATCH", path: teams + "/backend", body: `{"path":"/n"}`}, 200, "", `change backend path="/n"`},
		{"no change", call{method: "PATCH", path: teams + "/backend", body: `{}`}, 200, `"name":"backend"`, ""},
		{"no folder", call{method: "PATCH", path: teams + "/backend", body: `{"path":null}`}, 400, "path cannot be taken out", ""},
		{"another name", call{method: "PATCH", path: teams + "/backend", body: `{"name":"x"}`}, 400, "name is not a known field", ""},
		{"a change of nobody", call{method: "PATCH", path: teams + "/nobody", body: `{"description":"y"}`}, 404, "TEAM_NOT_FOUND", ""},

		{"a team less", call{method: "DELETE", path: teams + "/backend"}, 200, `{"team":"backend","waiting":2,"running":1,"processes":2}`, "remove backend"},
		{"nobody less", call{method: "DELETE", path: teams + "/nobody"}, 404, "TEAM_NOT_FOUND", "remove nobody"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(httpapi.Config{})
			w := f.do(tt.call)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("%d %s, want %d with %s", w.Code, w.Body, tt.status, tt.says)
			}
			if got := strings.Join(f.controls, "; "); got != tt.control {
				t.Errorf("did %s\nwant %s", got, tt.control)
			}
			if at := w.Header().Get("Location"); (at == "/api/v1/teams/new") != (tt.status == 201) {
				t.Errorf("Location is %q", at)
			}
		})
	}
}

// variables is n members of an env.
func variables(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"V%d":"x"`, i)
	}
	return strings.Join(all, ",")
}

// TestWhatNeedsAdmin: who may only write teams gives none more than others have.
func TestWhatNeedsAdmin(t *testing.T) {
	for _, tt := range []struct {
		team, change string
		allowed      bool
	}{
		{"", `"description":"x","color":"red","model":"opus","maxProcesses":1,"parallelTasks":1,"warm":1,"turnTimeout":1,"silenceTimeout":1,"idleTimeout":1,"permissionTimeout":1`, true},
		{"", `"permissions":"ask"`, true},
		{"", `"permissions":"deny"`, true},
		{"", `"disallowedTools":["Bash"]`, true},
		{"", `"permissions":"allow"`, false},
		{"", `"permissions":"forward"`, false},
		{"", `"permissionMode":"plan"`, false},
		{"", `"allowedTools":["Bash"]`, false},
		{"", `"appendSystemPrompt":"x"`, false},
		{"", `"claudePath":"/bin/sh"`, false},
		{"", `"env":{"PATH":"/tmp"}`, false},
		{"", `"env":null`, false},
		{"mighty", `"description":"x"`, true},
		{"mighty", `"permissions":"deny"`, true},
		{"mighty", `"permissions":"ask"`, true},
		{"mighty", `"permissions":null`, true},
		{"mighty", `"disallowedTools":["Bash","WebSearch","WebFetch"]`, true},
		{"mighty", `"disallowedTools":["WebFetch"]`, false},
		{"mighty", `"disallowedTools":null`, false},
		{"mighty", `"path":"/home/me/other"`, false},
		{"mighty", `"env":{"TOKEN":null}`, false},
		{"mighty", `"permissionMode":null`, false},
		{"strict", `"path":"/home/me/other"`, true},
		{"strict", `"permissions":"deny"`, true},
		{"strict", `"permissions":"ask"`, false},
		{"strict", `"permissions":null`, false},
	} {
		for _, key := range []string{"ci", "admin", "teams"} {
			f := newFront(httpapi.Config{})
			f.keys.all["teams"] = iris.Caller{Kind: iris.CallerKey, Name: "teams", Scopes: []iris.Scope{"teams:*"}}
			mighty(f)
			c := call{method: "POST", path: "/api/v1/teams", body: `{"name":"new","path":"/n",` + tt.change + "}", key: key}
			if tt.team != "" {
				c = call{method: "PATCH", path: "/api/v1/teams/" + tt.team, body: "{" + tt.change + "}", key: key}
			}
			w := f.do(c)
			if w.Code < 300 != (tt.allowed || key == "admin") {
				t.Errorf("%s of %q with %s: %d %s", tt.change, tt.team, key, w.Code, w.Body)
			}
			if w.Code >= 300 {
				if e := errorOf(t, w.Body.Bytes()); e.Code != "FORBIDDEN" || !slices.Equal(e.Required, []string{"teams:write", "admin:*"}) || len(f.controls) > 0 {
					t.Errorf("%s of %q with %s: %s, did %v", tt.change, tt.team, key, w.Body, f.controls)
				}
			}
		}
	}
}

// TestBoundKeysMakeNoTeams: a key of one team changes that one, where it is, and no other.
func TestBoundKeysMakeNoTeams(t *testing.T) {
	for _, scopes := range [][]iris.Scope{{"teams:*"}, {iris.ScopeAll}} {
		f := newFront(httpapi.Config{})
		f.keys.all["bound"] = iris.Caller{Kind: iris.CallerKey, Name: "bound", Scopes: scopes, Teams: []string{"frontend", "gone"}}
		for _, tt := range []struct {
			method, path, body string
			want               int
		}{
			{"POST", "/api/v1/teams", `{"name":"new","path":"/n"}`, 403},
			{"POST", "/api/v1/teams", `{"name":"gone","path":"/n"}`, 403},
			{"PATCH", "/api/v1/teams/backend", `{"description":"x"}`, 403},
			{"DELETE", "/api/v1/teams/backend", "", 403},
			{"GET", "/api/v1/teams/backend", "", 403},
			{"PATCH", "/api/v1/teams/frontend", `{"path":"/n"}`, 403},
			{"PATCH", "/api/v1/teams/frontend", `{"description":"x"}`, 200},
			{"GET", "/api/v1/teams/frontend", "", 200},
			{"DELETE", "/api/v1/teams/frontend", "", 200},
		} {
			if w := f.do(call{method: tt.method, path: tt.path, body: tt.body, key: "bound"}); w.Code != tt.want {
				t.Errorf("%v: %s %s %s: %d %s, want %d", scopes, tt.method, tt.path, tt.body, w.Code, w.Body, tt.want)
			}
		}
	}
}

// TestATeamIsShownAsFarAsTheKeyMaySee: no secret of a team is ever shown, and its folder only
// to admins.
func TestATeamIsShownAsFarAsTheKeyMaySee(t *testing.T) {
	f := newFront(httpapi.Config{})
	mighty(f)
	for key, admin := range map[string]bool{"reader": false, "ci": false, "admin": true, "local": true} {
		body := f.do(call{path: "/api/v1/teams/mighty", key: key}).Body.String()
		for _, part := range []string{`"path":"/home/me/mighty"`, `"claudePath":"/opt/claude"`, `"appendSystemPrompt":"Be brave."`, `"envNames":["TOKEN"]`} {
			if strings.Contains(body, part) != admin {
				t.Errorf("%s with %s: %s", part, key, body)
			}
		}
		if strings.Contains(body, "hunter2") || !strings.Contains(body, `"permissionMode":"acceptEdits"`) {
			t.Errorf("with %s: %s", key, body)
		}
	}
}

// TestChangedTeamsAreWrittenDown: without what may be secret.
func TestChangedTeamsAreWrittenDown(t *testing.T) {
	a := &audits{}
	f := newFront(httpapi.Config{Audit: a})
	for _, c := range []call{
		{path: "/api/v1/teams", body: `{"name":"new","path":"/n","env":{"TOKEN":"hunter2"}}`, key: "admin"},
		{path: "/api/v1/teams", body: `{"name":"backend","path":"/n"}`},
		{method: "PATCH", path: "/api/v1/teams/backend", body: `{"description":"x"}`, key: "ci"},
		{method: "PATCH", path: "/api/v1/teams/backend", body: `{"env":{"A":"x"}}`, key: "ci"},
		{method: "DELETE", path: "/api/v1/teams/backend", key: "all"},
	} {
		f.do(c)
	}
	want := []string{
		`team.created new by admin {"path":"/n","settings":["env.TOKEN","path"]}`,
		`team.changed backend by ci {"settings":["description"]}`,
		`team.removed backend by all {"path":"/home/me/backend"}`,
	}
	if !slices.Equal(a.entries, want) {
		t.Errorf("written down is %q, want %q", a.entries, want)
	}
}

// TestAConfigurationThatIsNotInForce: admins are told, for the error has paths in it.
func TestAConfigurationThatIsNotInForce(t *testing.T) {
	f := newFront(httpapi.Config{ConfigError: func() error { return errors.New("/home/me/iris-config.yaml:3: no") }})
	for key, want := range map[string]bool{"admin": true, "local": true, "reader": false} {
		if body := f.do(call{path: "/api/v1/teams", key: key}).Body.String(); strings.Contains(body, `"configError":"/home/me/iris-config.yaml:3: no"`) != want {
			t.Errorf("with %s: %s", key, body)
		}
	}
	if body := newFront(httpapi.Config{ConfigError: func() error { return nil }}).do(call{path: "/api/v1/teams"}).Body.String(); strings.Contains(body, "configError") {
		t.Errorf("while all is well: %s", body)
	}
}

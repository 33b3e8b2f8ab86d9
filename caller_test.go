package iris

import (
	"slices"
	"testing"
)

func TestScopes(t *testing.T) {
	every := []Scope{
		ScopeTeamsRead, ScopeTeamsWrite, ScopeTeamsDelete, ScopeMessagesRead, ScopeMessagesWrite, ScopeMessagesStream,
		ScopeProcessesRead, ScopeProcessesManage, ScopeAdmin, ScopeAll,
	}
	tests := []struct {
		has      Scope
		includes []Scope
	}{
		{ScopeAll, every},
		{ScopeAdmin, every},
		{ScopeTeamsRead, []Scope{ScopeTeamsRead}},
		{ScopeTeamsWrite, []Scope{ScopeTeamsWrite, ScopeMessagesWrite, ScopeMessagesStream}}, // who may define a team may talk to it
		{ScopeTeamsDelete, []Scope{ScopeTeamsDelete}},
		{"teams:*", []Scope{ScopeTeamsRead, ScopeTeamsWrite, ScopeTeamsDelete, ScopeMessagesWrite, ScopeMessagesStream}},
		{ScopeMessagesRead, []Scope{ScopeMessagesRead}},
		{ScopeMessagesWrite, []Scope{ScopeMessagesWrite}},
		{ScopeMessagesStream, []Scope{ScopeMessagesStream}},
		{"messages:*", []Scope{ScopeMessagesRead, ScopeMessagesWrite, ScopeMessagesStream}},
		{ScopeProcessesRead, []Scope{ScopeProcessesRead}},
		{ScopeProcessesManage, []Scope{ScopeProcessesManage}},
		{"processes:*", []Scope{ScopeProcessesRead, ScopeProcessesManage}},
		{"", nil},
		{":*", nil},
		{"team:*", nil},
		{"teams", nil},
		{"nonsense", nil},
	}
	for _, tt := range tests {
		t.Run(string(tt.has), func(t *testing.T) {
			for _, want := range every {
				if got := tt.has.Includes(want); got != slices.Contains(tt.includes, want) {
					t.Errorf("%q includes %q: %v", tt.has, want, got)
				}
			}
			if known := len(tt.includes) > 0; tt.has.Known() != known {
				t.Errorf("%q is known: %v", tt.has, !known)
			}
		})
	}
}

func TestWhatIsWrongWithAScope(t *testing.T) {
	const known = "is no scope; known are teams:read, teams:write, teams:delete, messages:read, messages:write, messages:stream, processes:read, processes:manage, admin:*, *"
	for scope, want := range map[Scope]string{
		"teams:reed": `is no scope; did you mean "teams:read"?`,
		"message:*":  known, "": known, "x": known, "a": known, "admin": known, "**": known, // nobody is led to everything
	} {
		if got := scope.Wrong(); got != want {
			t.Errorf("%q %s, want %s", scope, got, want)
		}
	}
}

func TestEveryScopeIsListed(t *testing.T) {
	for _, s := range constants(t, "caller.go", "Scope") {
		if !slices.Contains(Scopes, Scope(s)) {
			t.Errorf("%s is not in Scopes", s)
		}
	}
}

func TestWhoMayWhat(t *testing.T) {
	local := Caller{Kind: CallerLocal}
	team := Caller{Kind: CallerTeam, Name: "web"}
	key := Key{Name: "ci", Scopes: []Scope{ScopeTeamsRead, ScopeMessagesWrite}}.Caller()
	reader := Key{Name: "board", Scopes: []Scope{ScopeMessagesRead}, Teams: []string{"api"}}.Caller()
	none := Key{Name: "none"}.Caller()

	type message = Message
	of := func(team string, c Caller) message { return message{Team: team, Caller: c} }
	tests := []struct {
		name string
		got  bool
		want bool
	}{
		{"the local user may do everything", local.May(ScopeAdmin), true},
		{"a team may do everything", team.May(ScopeAdmin), true},
		{"a key may do what it has", key.May(ScopeMessagesWrite), true},
		{"a key may not do what it has not", key.May(ScopeMessagesRead), false},
		{"a key without scopes may do nothing", none.May(ScopeTeamsRead), false},

		{"the local user reaches every team", local.Reaches("api"), true},
		{"a team reaches every team", team.Reaches("api"), true},
		{"a key of no team reaches all", key.Reaches("api"), true},
		{"a key of a team reaches it", reader.Reaches("api"), true},
		{"a key of a team reaches no other", reader.Reaches("web"), false},

		{"anybody reads its own", none.MayRead(of("api", none)), true},
		{"its own even of a team it no longer reaches", reader.MayRead(of("web", reader)), true},
		{"those of others with the scope", reader.MayRead(of("api", local)), true},
		{"those of others not beyond its teams", reader.MayRead(of("web", local)), false},
		{"those of others not without the scope", key.MayRead(of("api", local)), false},
		{"those of a team of its own name are not its own", key.MayRead(of("api", Caller{Kind: CallerTeam, Name: "ci"})), false},
		{"those of another key are not its own", key.MayRead(of("api", Caller{Kind: CallerKey, Name: "board"})), false},
		{"the local user reads all", local.MayRead(of("api", key)), true},
		{"a team reads all", team.MayRead(of("api", key)), true},

		{"a caller is who it is, whatever it may do", key.Is(Caller{Kind: CallerKey, Name: "ci"}), true},
		{"of another kind it is another", key.Is(Caller{Kind: CallerTeam, Name: "ci"}), false},
		{"of another name it is another", key.Is(Caller{Kind: CallerKey, Name: "cd"}), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("got %v", tt.got)
			}
		})
	}
}

func TestFrom(t *testing.T) {
	for want, c := range map[string]Caller{
		"local": {Kind: CallerLocal},
		"web":   {Kind: CallerTeam, Name: "web"},
		"api":   {Kind: CallerKey, Name: "ci"},
	} {
		if got := c.From(); got != want {
			t.Errorf("%+v is from %q, want %q", c, got, want)
		}
	}
}

func TestTeamNames(t *testing.T) {
	for name, want := range map[string]bool{
		"backend": true, "a": true, "A.b-c_9": true, "7": true,
		"": false, ".": false, "..": false, "-x": false, "_x": false, "a/b": false, "a b": false, "a\x00": false, "ü": false, "a\n": false,
		"a123456789012345678901234567890123456789012345678901234567890123":  true,  // 64
		"a1234567890123456789012345678901234567890123456789012345678901234": false, // 65
	} {
		if got := TeamName.MatchString(name); got != want {
			t.Errorf("%q is a team's name: %v", name, got)
		}
	}
}

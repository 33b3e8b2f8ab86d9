package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	iris "github.com/iris-mcp/iris-mcp"
)

// maybe is a field that may be left out, or null, which in a change takes the setting out.
type maybe[T any] struct {
	given, null bool
	value       T
}

// UnmarshalJSON is called only for a field that is there.
func (m *maybe[T]) UnmarshalJSON(text []byte) error {
	m.given, m.null = true, string(text) == "null"
	return json.Unmarshal(text, &m.value)
}

// Schema is that of T, or null.
func (maybe[T]) Schema(r huma.Registry) *huma.Schema {
	s := *huma.SchemaFromType(r, reflect.TypeFor[T]())
	s.Nullable = true
	return &s
}

// TeamSettings are those that a team may have. (It has a capital because huma looks into no
// other embedded struct.)
type TeamSettings struct {
	Description       maybe[string]   `json:"description,omitempty" maxLength:"10000" doc:"What the team knows; callers see it, and Claude chooses by it" example:"The API"`
	Color             maybe[string]   `json:"color,omitempty" doc:"For pictures of the team: a name, or #1e90ff" example:"#1e90ff"`
	Model             maybe[string]   `json:"model,omitempty" maxLength:"200" doc:"The model; without it, Claude Code's own choice" example:"opus"`
	Permissions       maybe[string]   `json:"permissions,omitempty" enum:"ask,allow,deny,forward" doc:"What becomes of a tool call that needs leave. allow and forward need admin:*" example:"ask"`
	MaxProcesses      maybe[int]      `json:"maxProcesses,omitempty" minimum:"1" maximum:"1000" doc:"How many conversations with it run side by side" example:"4"`
	ParallelTasks     maybe[int]      `json:"parallelTasks,omitempty" minimum:"1" maximum:"1000" doc:"How many of its tasks run at once" example:"1"`
	Warm              maybe[int]      `json:"warm,omitempty" minimum:"0" maximum:"1000" doc:"Processes kept ready for new conversations" example:"0"`
	TurnTimeout       maybe[int64]    `json:"turnTimeout,omitempty" minimum:"1" maximum:"31536000000" doc:"A turn is interrupted after so many milliseconds" example:"3600000"`
	SilenceTimeout    maybe[int64]    `json:"silenceTimeout,omitempty" minimum:"1" maximum:"31536000000" doc:"Or when nothing was heard of it for so many" example:"300000"`
	IdleTimeout       maybe[int64]    `json:"idleTimeout,omitempty" minimum:"1" maximum:"31536000000" doc:"An idle process ends after so many milliseconds" example:"600000"`
	PermissionTimeout maybe[int64]    `json:"permissionTimeout,omitempty" minimum:"1" maximum:"31536000000" doc:"A permission that nobody decides is denied after so many milliseconds" example:"60000"`
	DisallowedTools   maybe[[]string] `json:"disallowedTools,omitempty" maxItems:"1000" doc:"Tools that it does not have. To take one off the list needs admin:*" example:"[\"WebFetch\"]"`

	AllowedTools       maybe[[]string]           `json:"allowedTools,omitempty" maxItems:"1000" doc:"Tools that need no leave. Needs admin:*"`
	PermissionMode     maybe[string]             `json:"permissionMode,omitempty" enum:"default,acceptEdits,plan,dontAsk,bypassPermissions,auto,manual" doc:"Claude Code's own mode. Needs admin:*"`
	AppendSystemPrompt maybe[string]             `json:"appendSystemPrompt,omitempty" maxLength:"100000" doc:"Added to Claude Code's system prompt. Needs admin:*"`
	ClaudePath         maybe[string]             `json:"claudePath,omitempty" maxLength:"4096" doc:"The program to run. Needs admin:*"`
	Env                maybe[map[string]*string] `json:"env,omitempty" maxProperties:"100" doc:"Variables of its processes, at most 100 in a request; in a change, those that are not named stay, and null takes one out. Needs admin:*"`
}

type createTeamIn struct {
	Body createTeamBody
}

type createTeamBody struct {
	Name string `json:"name" doc:"Letters, digits, dots, dashes and underscores, at most 64, the first a letter or a digit" example:"backend"`
	Path string `json:"path" maxLength:"4096" doc:"Its folder: whole, from / or ~/, and there" example:"/home/me/src/backend"`
	TeamSettings
}

type changeTeamIn struct {
	Team string `path:"team" doc:"The team's name" example:"backend"`
	Body changeTeamBody
}

type changeTeamBody struct {
	Path maybe[string] `json:"path,omitempty" maxLength:"4096" doc:"Its folder. Of a team with settings that need admin:*, this needs it too" example:"/home/me/src/backend"`
	TeamSettings
}

type createTeamOut struct {
	Location string `header:"Location" doc:"Where the team is"`
	Body     teamView
}

type teamOut struct {
	Body teamView
}

// teamView is a team as it is configured, defaults filled in.
type teamView struct {
	Name              string                `json:"name" doc:"The team's name" example:"backend"`
	Description       string                `json:"description" doc:"What it is for; may be empty" example:"The API"`
	Color             string                `json:"color,omitempty" doc:"For showing it" example:"#1e90ff"`
	Model             string                `json:"model,omitempty" doc:"Missing where it is Claude Code's own choice" example:"opus"`
	Permissions       iris.PermissionPolicy `json:"permissions" enum:"ask,allow,deny,forward" doc:"What becomes of a tool call that needs leave" example:"ask"`
	PermissionMode    string                `json:"permissionMode,omitempty" doc:"Claude Code's own mode"`
	AllowedTools      []string              `json:"allowedTools" doc:"Tools that need no leave"`
	DisallowedTools   []string              `json:"disallowedTools" doc:"Tools that it does not have" example:"[\"WebFetch\"]"`
	MaxProcesses      int                   `json:"maxProcesses" doc:"How many conversations with it run side by side" example:"4"`
	ParallelTasks     int                   `json:"parallelTasks" doc:"How many of its tasks run at once" example:"1"`
	Warm              int                   `json:"warm" doc:"Processes kept ready for new conversations" example:"0"`
	TurnTimeout       int64                 `json:"turnTimeout" doc:"Milliseconds" example:"3600000"`
	SilenceTimeout    int64                 `json:"silenceTimeout" doc:"Milliseconds" example:"300000"`
	IdleTimeout       int64                 `json:"idleTimeout" doc:"Milliseconds" example:"600000"`
	PermissionTimeout int64                 `json:"permissionTimeout" doc:"Milliseconds" example:"60000"`

	Path               string   `json:"path,omitempty" doc:"Its folder; only for admin scopes" example:"/home/me/src/backend"`
	ClaudePath         string   `json:"claudePath,omitempty" doc:"The program; only for admin scopes" example:"claude"`
	AppendSystemPrompt string   `json:"appendSystemPrompt,omitempty" doc:"Only for admin scopes"`
	EnvNames           []string `json:"envNames,omitempty" doc:"The names of its variables, whose values are never shown; only for admin scopes"`
}

type removeTeamOut struct {
	Body removedView
}

type removedView struct {
	Team      string `json:"team" doc:"The team that was" example:"backend"`
	Waiting   int    `json:"waiting" doc:"Messages that waited; they fail with TEAM_NOT_FOUND" example:"0"`
	Running   int    `json:"running" doc:"Messages that run, and may end" example:"0"`
	Processes int    `json:"processes" doc:"Processes that end, busy ones after their turn" example:"1"`
}

func (s *Server) getTeam(_ context.Context, req *request, in *teamIn) (*teamOut, error) {
	if err := req.team(in.Team); err != nil {
		return nil, err
	}
	t, err := s.dispatcher.Team(in.Team)
	if err != nil {
		return nil, err
	}
	return &teamOut{req.viewTeam(t)}, nil
}

func (s *Server) createTeam(ctx context.Context, req *request, in *createTeamIn) (*createTeamOut, error) {
	name := in.Body.Name
	switch {
	case len(req.caller.Teams) > 0:
		return nil, req.forbid(req.route.scopes, "this key is bound to teams, so it makes no others")
	case !iris.TeamName.MatchString(name):
		return nil, req.refuse(problem{"name", "must be letters, digits, dots, dashes and underscores, at most 64, the first a letter or a digit"})
	case name == iris.Caller{Kind: iris.CallerKey}.From() || name == iris.Caller{Kind: iris.CallerLocal}.From():
		return nil, req.refuse(problem{"name", "must be another word: messages have this one for who is no team"})
	}
	settings := in.Body.settings()
	settings = append(settings, iris.Setting{Key: "path", Value: in.Body.Path})
	if err := req.mayConfigure(settings, nil); err != nil {
		return nil, err
	}
	t, err := s.dispatcher.AddTeam(name, settings)
	if err != nil {
		return nil, err
	}
	s.audit(ctx, req, iris.AuditTeamCreated, name, map[string]any{"path": t.Path, "settings": keysOf(settings)})
	return &createTeamOut{base + "/teams/" + name, req.viewTeam(t)}, nil
}

func (s *Server) changeTeam(ctx context.Context, req *request, in *changeTeamIn) (*teamOut, error) {
	if err := req.team(in.Team); err != nil {
		return nil, err
	}
	is, err := s.dispatcher.Team(in.Team)
	if err != nil {
		return nil, err
	}
	settings := in.Body.settings()
	if p := in.Body.Path; p.null {
		return nil, req.refuse(problem{"path", "cannot be taken out: a team is a folder"})
	} else if p.given {
		settings = append(settings, iris.Setting{Key: "path", Value: p.value})
	}
	if len(settings) == 0 {
		return &teamOut{req.viewTeam(is)}, nil
	}
	t, err := s.dispatcher.ChangeTeam(in.Team, settings, func(is iris.Team) error { return req.mayConfigure(settings, &is) })
	if err != nil {
		return nil, err
	}
	details := map[string]any{"settings": keysOf(settings)}
	if t.Path != is.Path {
		details["path"] = t.Path
	}
	s.audit(ctx, req, iris.AuditTeamChanged, in.Team, details)
	return &teamOut{req.viewTeam(t)}, nil
}

func (s *Server) removeTeam(ctx context.Context, req *request, in *teamIn) (*removeTeamOut, error) {
	if err := req.team(in.Team); err != nil {
		return nil, err
	}
	was, err := s.dispatcher.RemoveTeam(ctx, in.Team)
	if err != nil {
		return nil, err
	}
	s.audit(ctx, req, iris.AuditTeamRemoved, in.Team, map[string]any{"path": was.Team.Path})
	return &removeTeamOut{removedView{in.Team, was.Waiting, was.Running, len(was.Processes)}}, nil
}

// settings are those that were given, a variable of a change's env each on its own.
func (b *TeamSettings) settings() []iris.Setting {
	var all []iris.Setting
	for _, s := range []struct {
		key   string
		given bool
		value any
	}{
		{"description", b.Description.given, b.Description.setting()},
		{"color", b.Color.given, b.Color.setting()},
		{"model", b.Model.given, b.Model.setting()},
		{"permissions", b.Permissions.given, b.Permissions.setting()},
		{"permissionMode", b.PermissionMode.given, b.PermissionMode.setting()},
		{"allowedTools", b.AllowedTools.given, b.AllowedTools.setting()},
		{"disallowedTools", b.DisallowedTools.given, b.DisallowedTools.setting()},
		{"appendSystemPrompt", b.AppendSystemPrompt.given, b.AppendSystemPrompt.setting()},
		{"maxProcesses", b.MaxProcesses.given, b.MaxProcesses.setting()},
		{"parallelTasks", b.ParallelTasks.given, b.ParallelTasks.setting()},
		{"warm", b.Warm.given, b.Warm.setting()},
		{"claudePath", b.ClaudePath.given, b.ClaudePath.setting()},
		{"turnTimeout", b.TurnTimeout.given, b.TurnTimeout.setting()},
		{"silenceTimeout", b.SilenceTimeout.given, b.SilenceTimeout.setting()},
		{"idleTimeout", b.IdleTimeout.given, b.IdleTimeout.setting()},
		{"permissionTimeout", b.PermissionTimeout.given, b.PermissionTimeout.setting()},
	} {
		if s.given {
			all = append(all, iris.Setting{Key: s.key, Value: s.value})
		}
	}
	if b.Env.null {
		all = append(all, iris.Setting{Key: "env"})
	}
	for _, name := range slices.Sorted(maps.Keys(b.Env.value)) {
		s := iris.Setting{Key: "env." + name}
		if text := b.Env.value[name]; text != nil {
			s.Value = *text
		}
		all = append(all, s)
	}
	return all
}

// setting is the value as a setting has it: nil for null, milliseconds as a duration.
func (m maybe[T]) setting() any {
	if m.null {
		return nil
	}
	if ms, ok := any(m.value).(int64); ok {
		return time.Duration(ms) * time.Millisecond
	}
	return m.value
}

// widening are the settings that widen what a team's Claude may do, or name a program or what
// it is told.
var widening = []string{"claudePath", "env", "permissionMode", "allowedTools", "appendSystemPrompt"}

// mayConfigure is FORBIDDEN if a setting needs more than teams:write. The team as it is, nil
// for a new one, counts too: what narrows it may not be undone, and a team that may do more
// than others may not be led into another folder.
func (req *request) mayConfigure(settings []iris.Setting, is *iris.Team) error {
	if req.caller.May(iris.ScopeAdmin) && len(req.caller.Teams) == 0 {
		return nil
	}
	for _, s := range settings {
		if s.Key == "path" && is != nil && len(req.caller.Teams) > 0 {
			return req.forbid(req.route.scopes, "this key is bound to teams, so it leads none into another folder")
		}
		if !req.caller.May(iris.ScopeAdmin) && widens(s, is) {
			return req.forbid(append(slices.Clone(req.route.scopes), iris.ScopeAdmin),
				fmt.Sprintf("this setting of %s needs the scope admin:* too, for it widens what the team may do or says what it runs", s.Key))
		}
	}
	return nil
}

func widens(s iris.Setting, is *iris.Team) bool {
	key, _, _ := strings.Cut(s.Key, ".")
	switch {
	case slices.Contains(widening, key):
		return true
	case key == "permissions":
		policy, _ := s.Value.(string)
		return policy == string(iris.PermissionsAllow) || policy == string(iris.PermissionsForward) ||
			is != nil && is.Permissions == iris.PermissionsDeny && policy != string(iris.PermissionsDeny)
	case key == "disallowedTools" && is != nil:
		tools, _ := s.Value.([]string)
		return slices.ContainsFunc(is.DisallowedTools, func(tool string) bool { return !slices.Contains(tools, tool) })
	case key == "path" && is != nil:
		return is.Permissions == iris.PermissionsAllow || is.Permissions == iris.PermissionsForward ||
			is.PermissionMode != "" || is.AppendSystemPrompt != "" || len(is.AllowedTools) > 0 || len(is.Env) > 0
	}
	return false
}

// viewTeam is the team's configuration as far as the caller may see it.
func (req *request) viewTeam(t iris.Team) teamView {
	v := teamView{
		Name: t.Name, Description: t.Description, Color: t.Color, Model: t.Model,
		Permissions: t.Permissions, PermissionMode: t.PermissionMode,
		AllowedTools: append([]string{}, t.AllowedTools...), DisallowedTools: append([]string{}, t.DisallowedTools...),
		MaxProcesses: t.MaxProcesses, ParallelTasks: t.ParallelTasks, Warm: t.Warm,
		TurnTimeout: t.TurnTimeout.Milliseconds(), SilenceTimeout: t.SilenceTimeout.Milliseconds(),
		IdleTimeout: t.IdleTimeout.Milliseconds(), PermissionTimeout: t.PermissionTimeout.Milliseconds(),
	}
	if req.caller.May(iris.ScopeAdmin) {
		v.Path, v.ClaudePath, v.AppendSystemPrompt = t.Path, t.ClaudePath, t.AppendSystemPrompt
		v.EnvNames = slices.Sorted(maps.Keys(t.Env))
	}
	return v
}

func keysOf(settings []iris.Setting) []string {
	keys := make([]string, len(settings))
	for i, s := range settings {
		keys[i] = s.Key
	}
	return keys
}

package httpapi

import (
	"context"

	iris "github.com/iris-mcp/iris-mcp"
)

type teamIn struct {
	Team string `path:"team" doc:"The team's name" example:"backend"`
}

type teamsOut struct {
	Body struct {
		Teams       []teamItem `json:"teams" doc:"By name"`
		ConfigError string     `json:"configError,omitempty" doc:"Why the last edit of the configuration is not in force; only for admin scopes"`
	}
}

// teamItem is a team in the list.
type teamItem struct {
	Name        string         `json:"name" doc:"The team's name" example:"backend"`
	Description string         `json:"description" doc:"What it is for; may be empty" example:"The API"`
	Color       string         `json:"color,omitempty" doc:"For showing it" example:"#4287f5"`
	Status      iris.TeamState `json:"status" enum:"asleep,starting,idle,busy,error" doc:"What its processes do" example:"idle"`
	Queue       queueView      `json:"queue" doc:"Its messages that are not finished"`
	Path        string         `json:"path,omitempty" doc:"Its folder; only for admin scopes"`
}

type teamStatusOut struct {
	Body teamStatusView
}

type teamStatusView struct {
	Team        string         `json:"team" doc:"The team's name" example:"backend"`
	Description string         `json:"description" doc:"What it is for; may be empty" example:"The API"`
	Status      iris.TeamState `json:"status" enum:"asleep,starting,idle,busy,error" doc:"What its processes do" example:"idle"`
	Processes   []processView  `json:"processes" doc:"Its running processes"`
	Queue       queueView      `json:"queue" doc:"Its messages that are not finished"`
	Sessions    int            `json:"sessions" doc:"Its conversations" example:"3"`
	Usage       teamUsage      `json:"usage" doc:"Of all its finished messages"`
	LastError   *lastError     `json:"lastError,omitempty" doc:"Of the last start or turn that failed, until one succeeds"`
	Path        string         `json:"path,omitempty" doc:"Its folder; only for admin scopes"`
}

type processView struct {
	PID        int               `json:"pid" doc:"0 while it starts" example:"4242"`
	SessionID  string            `json:"sessionId,omitempty" doc:"Missing for a spare one" example:"ses_01KAH3M4R1J5K6M7N8P9Q0R1S2"`
	From       string            `json:"from,omitempty" doc:"Whose conversation it is: a team, api, or local" example:"api"`
	State      iris.ProcessState `json:"state" enum:"starting,idle,busy,stopping" doc:"What it does" example:"idle"`
	StartedAt  int64             `json:"startedAt" doc:"Unix milliseconds" example:"1704067200000"`
	LastUsedAt *int64            `json:"lastUsedAt,omitempty" doc:"Unix milliseconds" example:"1704067201000"`
	Messages   int               `json:"messages" doc:"How many it has answered" example:"7"`
	RSSBytes   int64             `json:"rssBytes" doc:"0 when unknown" example:"104857600"`
}

type queueView struct {
	Waiting int `json:"waiting" doc:"Messages that wait" example:"0"`
	Running int `json:"running" doc:"Messages that run" example:"0"`
}

type lastError struct {
	Error   string    `json:"error" doc:"A short name of the error" example:"ProcessError"`
	Code    iris.Code `json:"code" doc:"The error's code" example:"PROCESS_ERROR"`
	Message string    `json:"message" doc:"What is wrong and what to do about it" example:"Claude Code is not logged in: run claude in the team's folder and log in"`
	Details any       `json:"details,omitempty" doc:"For machines"`
}

// teamUsage sums up the team's finished messages.
type teamUsage struct {
	Messages int `json:"messages" doc:"How many there are" example:"7"`
	iris.Usage
	CostUSD float64 `json:"costUsd" doc:"As Claude Code reckons it" example:"0.5"`
}

func (s *Server) listTeams(ctx context.Context, req *request, _ *struct{}) (*teamsOut, error) {
	out := &teamsOut{}
	out.Body.Teams = []teamItem{}
	if req.caller.May(iris.ScopeAdmin) && s.cfg.ConfigError != nil {
		if err := s.cfg.ConfigError(); err != nil {
			out.Body.ConfigError = err.Error()
		}
	}
	for _, t := range s.dispatcher.Teams() {
		if !req.caller.Reaches(t.Name) {
			continue
		}
		st, err := s.dispatcher.Status(ctx, t.Name)
		if err != nil && iris.CodeOf(err) == iris.CodeTeamNotFound {
			continue // it was removed just now
		}
		if err != nil {
			return nil, err
		}
		out.Body.Teams = append(out.Body.Teams, teamItem{
			Name: t.Name, Description: t.Description, Color: t.Color, Status: st.State,
			Queue: queueView{st.Waiting, st.Running}, Path: req.path(t),
		})
	}
	return out, nil
}

func (s *Server) teamStatus(ctx context.Context, req *request, in *teamIn) (*teamStatusOut, error) {
	if err := req.team(in.Team); err != nil {
		return nil, err
	}
	st, err := s.dispatcher.Status(ctx, in.Team)
	if err != nil {
		return nil, err
	}
	v := teamStatusView{
		Team: st.Team.Name, Description: st.Team.Description, Status: st.State, Processes: viewProcesses(st.Processes),
		Queue: queueView{st.Waiting, st.Running}, Sessions: st.Sessions,
		Usage: teamUsage{st.Usage.Messages, st.Usage.Usage, st.Usage.CostUSD}, Path: req.path(st.Team),
	}
	if e := st.LastError; e != nil {
		v.LastError = &lastError{Error: e.Code.Name(), Code: e.Code, Message: e.Message}
		if details := req.details(e); len(details) > 0 {
			v.LastError.Details = details
		}
	}
	return &teamStatusOut{v}, nil
}

// path is the team's folder, for those who may know it.
func (req *request) path(t iris.Team) string {
	if !req.caller.May(iris.ScopeAdmin) {
		return ""
	}
	return t.Path
}

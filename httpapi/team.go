package httpapi

import (
	"context"

	iris "github.com/iris-mcp/iris-mcp"
)

type teamIn struct {
	Team string `path:"team" doc:"The team's name"`
}

type teamsOut struct {
	Body struct {
		Teams []teamItem `json:"teams"`
	}
}

// teamItem is a team in the list.
type teamItem struct {
	Name        string         `json:"name"`
	Description string         `json:"description"`
	Color       string         `json:"color,omitempty"`
	Status      iris.TeamState `json:"status" enum:"asleep,starting,idle,busy,error"`
	Queue       queueView      `json:"queue"`
	Path        string         `json:"path,omitempty" doc:"Only for admin scopes"`
}

type teamStatusOut struct {
	Body teamStatusView
}

type teamStatusView struct {
	Team        string         `json:"team"`
	Description string         `json:"description"`
	Status      iris.TeamState `json:"status" enum:"asleep,starting,idle,busy,error"`
	Processes   []processView  `json:"processes"`
	Queue       queueView      `json:"queue"`
	Sessions    int            `json:"sessions"`
	Usage       usageView      `json:"usage"`
	LastError   *lastError     `json:"lastError,omitempty" doc:"Of the last start or turn that failed, until one succeeds"`
	Path        string         `json:"path,omitempty" doc:"Only for admin scopes"`
}

type processView struct {
	PID        int               `json:"pid" doc:"0 while it starts"`
	SessionID  string            `json:"sessionId,omitempty" doc:"Missing for a spare one"`
	From       string            `json:"from,omitempty"`
	State      iris.ProcessState `json:"state" enum:"starting,idle,busy,stopping"`
	StartedAt  int64             `json:"startedAt"`
	LastUsedAt *int64            `json:"lastUsedAt,omitempty"`
	Messages   int               `json:"messages"`
	RSSBytes   int64             `json:"rssBytes" doc:"0 when unknown"`
}

type queueView struct {
	Waiting int `json:"waiting"`
	Running int `json:"running"`
}

type lastError struct {
	Error   string    `json:"error"`
	Code    iris.Code `json:"code"`
	Message string    `json:"message"`
	Details any       `json:"details,omitempty"`
}

// usageView sums up the team's finished messages.
type usageView struct {
	Messages int `json:"messages"`
	iris.Usage
	CostUSD float64 `json:"costUsd"`
}

func (s *Server) listTeams(ctx context.Context, req *request, _ *struct{}) (*teamsOut, error) {
	out := &teamsOut{}
	out.Body.Teams = []teamItem{}
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
		Team: st.Team.Name, Description: st.Team.Description, Status: st.State, Processes: []processView{},
		Queue: queueView{st.Waiting, st.Running}, Sessions: st.Sessions,
		Usage: usageView{st.Usage.Messages, st.Usage.Usage, st.Usage.CostUSD}, Path: req.path(st.Team),
	}
	for _, p := range st.Processes {
		v.Processes = append(v.Processes, processView{
			PID: p.PID, SessionID: p.SessionID, From: p.From, State: p.State,
			StartedAt: p.StartedAt.UnixMilli(), LastUsedAt: unixMilli(p.UsedAt), Messages: p.Messages, RSSBytes: p.RSS,
		})
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

package mcp

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	mcpgo "github.com/mark3labs/mcp-go/mcp"

	iris "github.com/iris-mcp/iris-mcp"
)

type noArgs struct{}

type teamList struct {
	Teams []teamEntry `json:"teams"`
}

type teamEntry struct {
	Name        string `json:"name" jsonschema:"for the argument team of the other tools"`
	Description string `json:"description,omitempty"`
	You         bool   `json:"you,omitempty" jsonschema:"this is the team in whose folder you work yourself; it cannot be asked"`
}

func (l teamList) text() string {
	if len(l.Teams) == 0 {
		return "There are no teams yet. A person adds one with: iris-mcp team add NAME PATH"
	}
	var lines []string
	for _, t := range l.Teams {
		line := t.Name
		if t.You {
			line += " (you)"
		}
		if t.Description != "" {
			line += ": " + t.Description
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (s *Server) list(_ context.Context, c call[noArgs]) (teamList, error) {
	return s.teams(c.Who), nil
}

// teams are those that the caller may know of.
func (s *Server) teams(who iris.Caller) teamList {
	l := teamList{Teams: []teamEntry{}}
	for _, t := range s.d.Teams() {
		if who.Reaches(t.Name) {
			l.Teams = append(l.Teams, teamEntry{t.Name, t.Description, isTeam(who, t.Name)})
		}
	}
	return l
}

// nameTeams says in ask_team's description which teams there are, which saves a model the
// call of list_teams. Many teams would only fill its context.
func (s *Server) nameTeams(ctx context.Context, tools []mcpgo.Tool) []mcpgo.Tool {
	const most, longest = 20, 100
	i := slices.IndexFunc(tools, func(t mcpgo.Tool) bool { return t.Name == "ask_team" })
	if i < 0 {
		return tools
	}
	var names []string
	for _, t := range s.teams(callerFrom(ctx)).Teams {
		if t.You {
			continue
		}
		name := t.Name
		if d := []rune(t.Description); len(d) > longest {
			name += " (" + string(d[:longest]) + "…)"
		} else if len(d) > 0 {
			name += " (" + string(d) + ")"
		}
		names = append(names, name)
	}
	if len(names) == 0 || len(names) > most {
		return tools
	}
	tools = slices.Clone(tools)
	tools[i].Description += "\n\nThe teams: " + strings.Join(names, ", ") + "."
	return tools
}

type statusArgs struct {
	Team string `json:"team,omitempty" jsonschema:"one team's name; without it, all teams"`
}

type statusAnswer struct {
	Teams []teamState `json:"teams"`
}

// teamState is what a team is doing. Times are Unix milliseconds.
type teamState struct {
	Team        string         `json:"team"`
	Description string         `json:"description,omitempty"`
	Status      iris.TeamState `json:"status" jsonschema:"asleep (starts when asked), starting, idle, busy, or error (see lastError)"`
	Queue       queueState     `json:"queue"`
	Processes   []processState `json:"processes" jsonschema:"its running Claude Code processes"`
	Sessions    int            `json:"sessions" jsonschema:"conversations held with it"`
	Usage       usage          `json:"usage" jsonschema:"of all its messages"`
	LastError   *problem       `json:"lastError,omitempty" jsonschema:"why its last start or message failed"`
}

type queueState struct {
	Waiting int `json:"waiting"`
	Running int `json:"running"`
}

type processState struct {
	PID        int               `json:"pid,omitempty"`
	SessionID  string            `json:"sessionId,omitempty"`
	From       string            `json:"from,omitempty" jsonschema:"whose conversation it holds"`
	State      iris.ProcessState `json:"state"`
	StartedAt  int64             `json:"startedAt,omitempty" jsonschema:"Unix milliseconds"`
	LastUsedAt int64             `json:"lastUsedAt,omitempty" jsonschema:"Unix milliseconds"`
	Messages   int               `json:"messages"`
	RSSBytes   int64             `json:"rssBytes,omitempty"`
}

type usage struct {
	Messages int `json:"messages"`
	iris.Usage
	CostUSD float64 `json:"costUsd"`
}

func (a statusAnswer) text() string {
	if len(a.Teams) == 0 {
		return teamList{}.text()
	}
	var lines []string
	for _, t := range a.Teams {
		line := fmt.Sprintf("%s: %s, %d running, %d waiting", t.Team, t.Status, t.Queue.Running, t.Queue.Waiting)
		if t.LastError != nil {
			line += "; last error " + strings.ReplaceAll(t.LastError.text(), "\n", " ")
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (s *Server) status(ctx context.Context, c call[statusArgs]) (statusAnswer, error) {
	a := statusAnswer{Teams: []teamState{}}
	if c.Args.Team != "" {
		if !c.Who.Reaches(c.Args.Team) {
			return a, iris.Errorf(iris.CodeForbidden, "the key %q may not reach team %q", c.Who.Name, c.Args.Team)
		}
		st, err := s.d.Status(ctx, c.Args.Team)
		if err != nil {
			return a, err
		}
		a.Teams = append(a.Teams, stateOf(st))
		return a, nil
	}
	for _, t := range s.teams(c.Who).Teams {
		st, err := s.d.Status(ctx, t.Name)
		if iris.CodeOf(err) == iris.CodeTeamNotFound {
			continue // removed from the configuration meanwhile
		}
		if err != nil {
			return a, err
		}
		a.Teams = append(a.Teams, stateOf(st))
	}
	return a, nil
}

func stateOf(st iris.TeamStatus) teamState {
	t := teamState{
		Team: st.Team.Name, Description: st.Team.Description, Status: st.State,
		Queue: queueState{st.Waiting, st.Running}, Processes: []processState{}, Sessions: st.Sessions,
		Usage: usage{st.Usage.Messages, st.Usage.Usage, st.Usage.CostUSD},
	}
	for _, p := range st.Processes {
		t.Processes = append(t.Processes, processState{
			p.PID, p.SessionID, p.From, p.State, millis(p.StartedAt), millis(p.UsedAt), p.Messages, p.RSS,
		})
	}
	if st.LastError != nil {
		t.LastError = problemOf(st.LastError)
	}
	return t
}

// CallerOf says who works in a folder: the team whose path holds it, the innermost if several
// do, or the local user. Folders are compared as the file system knows them, so symlinks and
// the case of letters do not matter; a folder that is not there is nobody's. Of Claude Code's
// own folders that is CLAUDE_PROJECT_DIR where it is set, else the working folder.
func CallerOf(cwd string, teams []iris.Team) iris.Caller {
	local := iris.Caller{Kind: iris.CallerLocal}
	if !filepath.IsAbs(cwd) {
		return local
	}
	dir, err := filepath.EvalSymlinks(cwd)
	if err != nil {
		return local
	}
	paths := make([]os.FileInfo, len(teams)) // nil: not there
	for i, t := range teams {
		paths[i], _ = os.Stat(t.Path)
	}
	for {
		here, err := os.Stat(dir)
		for i, path := range paths {
			if err == nil && path != nil && os.SameFile(here, path) {
				return iris.Caller{Kind: iris.CallerTeam, Name: teams[i].Name}
			}
		}
		up := filepath.Dir(dir)
		if up == dir {
			return local
		}
		dir = up
	}
}

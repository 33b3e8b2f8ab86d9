package httpapi

import (
	"context"
	"slices"
	"strconv"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// readyIn is how long a wake or a restart waits without a timeout of its own; the CLI itself
// is given as long to start.
const readyIn = time.Minute

type processesOut struct {
	Body struct {
		Processes []runningView `json:"processes" doc:"Those of the teams that the key reaches, oldest first"`
	}
}

// runningView is a process in the list of all teams' processes.
type runningView struct {
	Team       string            `json:"team" doc:"Whose it is" example:"backend"`
	PID        int               `json:"pid" doc:"0 while it starts" example:"4242"`
	SessionID  string            `json:"sessionId,omitempty" doc:"Missing for a spare one" example:"ses_01KAH3M4R1J5K6M7N8P9Q0R1S2"`
	From       string            `json:"from,omitempty" doc:"Whose conversation it is: a team, api, or local" example:"api"`
	State      iris.ProcessState `json:"state" enum:"starting,idle,busy,stopping" doc:"What it does" example:"idle"`
	StartedAt  int64             `json:"startedAt" doc:"Unix milliseconds" example:"1704067200000"`
	LastUsedAt *int64            `json:"lastUsedAt,omitempty" doc:"Unix milliseconds" example:"1704067201000"`
	Messages   int               `json:"messages" doc:"How many it has answered" example:"7"`
	RSSBytes   int64             `json:"rssBytes" doc:"0 when unknown" example:"104857600"`
}

type pidIn struct {
	PID string `path:"pid" doc:"The process's id, as GET /processes has it" example:"4242"`
}

type killOut struct {
	Body runningView
}

type wakeIn struct {
	Team string `path:"team" doc:"The team's name" example:"backend"`
	Body *wakeBody
}

type wakeBody struct {
	Timeout int64 `json:"timeout,omitempty" minimum:"1" maximum:"86400000" default:"60000" doc:"How long to wait for a process that is ready, in milliseconds"`
}

type sleepIn struct {
	Team string `path:"team" doc:"The team's name" example:"backend"`
	Body *sleepBody
}

type sleepBody struct {
	Force bool `json:"force,omitempty" doc:"Whether to end busy processes too; what they were doing fails with PROCESS_ERROR" default:"false"`
}

type restartIn struct {
	Team string `path:"team" doc:"The team's name" example:"backend"`
	Body *restartBody
}

type restartBody struct {
	Force   bool  `json:"force,omitempty" doc:"As for sleep" default:"false"`
	Timeout int64 `json:"timeout,omitempty" minimum:"1" maximum:"86400000" default:"60000" doc:"As for wake"`
}

type wakeOut struct {
	Body wakeView
}

type wakeView struct {
	Team      string         `json:"team" doc:"The team's name" example:"backend"`
	Status    iris.TeamState `json:"status" enum:"asleep,starting,idle,busy,error" doc:"What its processes do now" example:"idle"`
	Processes []processView  `json:"processes" doc:"Its processes now"`
	Started   bool           `json:"started" doc:"Whether one had to be started; false if one ran already" example:"true"`
	Duration  int64          `json:"duration" doc:"Milliseconds that it took" example:"812"`
}

type sleepOut struct {
	Body sleepView
}

type sleepView struct {
	Team      string         `json:"team" doc:"The team's name" example:"backend"`
	Status    iris.TeamState `json:"status" enum:"asleep,starting,idle,busy,error" doc:"What its processes do now" example:"busy"`
	Processes []processView  `json:"processes" doc:"Its processes now"`
	Ended     int            `json:"ended" doc:"How many have ended" example:"2"`
	Finishing int            `json:"finishing" doc:"How many are busy and end after their turn" example:"1"`
	Duration  int64          `json:"duration" doc:"Milliseconds that it took" example:"164"`
}

func (s *Server) processes(_ context.Context, req *request, _ *struct{}) (*processesOut, error) {
	out := &processesOut{}
	out.Body.Processes = []runningView{}
	for _, p := range s.dispatcher.Processes() {
		if req.caller.Reaches(p.Team) {
			out.Body.Processes = append(out.Body.Processes, viewRunning(p))
		}
	}
	return out, nil
}

// kill answers with the process as it was.
func (s *Server) kill(ctx context.Context, req *request, in *pidIn) (*killOut, error) {
	all := s.dispatcher.Processes()
	i := slices.IndexFunc(all, func(p iris.Process) bool {
		return p.PID > 0 && strconv.Itoa(p.PID) == in.PID && req.caller.Reaches(p.Team)
	})
	if i < 0 {
		return nil, iris.Errorf(iris.CodeNotFound, "no process of a team has this id; GET %s/processes lists them", base)
	}
	victim := all[i]
	err := s.dispatcher.Kill(ctx, victim.Team, victim.PID)
	if iris.CodeOf(err) != iris.CodeNotFound { // it ends, even if the client does not wait for it
		s.audit(ctx, req, iris.AuditProcessKilled, in.PID, map[string]any{"team": victim.Team, "state": victim.State})
	}
	if err != nil {
		return nil, err
	}
	return &killOut{viewRunning(victim)}, nil
}

func (s *Server) wake(ctx context.Context, req *request, in *wakeIn) (*wakeOut, error) {
	if err := req.team(in.Team); err != nil {
		return nil, err
	}
	patience := readyIn
	if in.Body != nil && in.Body.Timeout > 0 {
		patience = milliseconds(in.Body.Timeout)
	}
	waiting, cancel := req.untilReady(ctx, in.Team, patience)
	defer cancel()
	started, err := s.dispatcher.Wake(waiting, in.Team, true)
	if err != nil {
		return nil, cause(waiting, err)
	}
	st, err := s.dispatcher.Status(ctx, in.Team)
	return &wakeOut{wakeView{in.Team, st.State, viewProcesses(st.Processes), started, req.took()}}, err
}

func (s *Server) sleep(ctx context.Context, req *request, in *sleepIn) (*sleepOut, error) {
	if err := req.team(in.Team); err != nil {
		return nil, err
	}
	force := in.Body != nil && in.Body.Force
	slept, err := s.dispatcher.Sleep(ctx, in.Team, force)
	s.auditForce(ctx, req, in.Team, force, slept)
	if err != nil {
		return nil, err
	}
	return s.slept(ctx, req, in.Team, slept)
}

func (s *Server) restart(ctx context.Context, req *request, in *restartIn) (*sleepOut, error) {
	if err := req.team(in.Team); err != nil {
		return nil, err
	}
	patience, force := readyIn, false
	if in.Body != nil {
		force = in.Body.Force
		if in.Body.Timeout > 0 {
			patience = milliseconds(in.Body.Timeout)
		}
	}
	waiting, cancel := req.untilReady(ctx, in.Team, patience)
	defer cancel()
	slept, err := s.dispatcher.Restart(waiting, in.Team, force)
	s.auditForce(ctx, req, in.Team, force, slept)
	if err != nil {
		return nil, cause(waiting, err)
	}
	return s.slept(ctx, req, in.Team, slept)
}

// slept says what became of a team that was put to sleep, and maybe woken again.
func (s *Server) slept(ctx context.Context, req *request, team string, slept iris.Slept) (*sleepOut, error) {
	st, err := s.dispatcher.Status(ctx, team)
	return &sleepOut{sleepView{team, st.State, viewProcesses(st.Processes), slept.Ended, slept.Finishing, req.took()}}, err
}

// took is how long the request has taken, in milliseconds.
func (req *request) took() int64 { return time.Since(req.arrived).Milliseconds() }

// auditForce writes down that processes were ended whatever they did.
func (s *Server) auditForce(ctx context.Context, req *request, team string, force bool, slept iris.Slept) {
	if force && slept.Ended > 0 {
		s.audit(ctx, req, iris.AuditProcessKilled, team, map[string]any{"team": team, "ended": slept.Ended})
	}
}

// untilReady is a context for the time in which a process of the team is to be ready, from the
// request's arrival on.
func (req *request) untilReady(ctx context.Context, team string, patience time.Duration) (context.Context, context.CancelFunc) {
	return context.WithDeadlineCause(ctx, req.arrived.Add(patience), iris.Errorf(iris.CodeTimeout,
		"no process of team %s was ready within %s: it still starts, or all places are taken by busy ones; GET %s/teams/%s/status shows when it is", team, patience, base, team))
}

func viewProcesses(list []iris.Process) []processView {
	views := make([]processView, len(list))
	for i, p := range list {
		views[i] = viewProcess(p)
	}
	return views
}

func viewProcess(p iris.Process) processView {
	return processView{
		PID: p.PID, SessionID: p.SessionID, From: p.From, State: p.State,
		StartedAt: p.StartedAt.UnixMilli(), LastUsedAt: unixMilli(p.UsedAt), Messages: p.Messages, RSSBytes: p.RSS,
	}
}

func viewRunning(p iris.Process) runningView {
	v := viewProcess(p)
	return runningView{p.Team, v.PID, v.SessionID, v.From, v.State, v.StartedAt, v.LastUsedAt, v.Messages, v.RSSBytes}
}

package httpapi

import (
	"context"
	"net/http"

	iris "github.com/iris-mcp/iris-mcp"
)

type permissionsOut struct {
	Body struct {
		Permissions []permissionView `json:"permissions" doc:"The oldest first"`
	}
}

// permissionView is a permission that waits, or was just decided.
type permissionView struct {
	ID        string `json:"id" doc:"Of the permission" example:"per_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	MessageID string `json:"messageId" doc:"The message in whose turn the agent asks" example:"msg_01KAH3M4R0E7C8B9A2D3F4G5H6"`
	Team      string `json:"team" doc:"Whose agent asks" example:"backend"`
	From      string `json:"from" doc:"Who asked the team: a team, api, or local"`
	Caller    string `json:"caller,omitempty" doc:"The name of the API key that asked"`
	Tool      string `json:"tool" doc:"What the agent wants to use; AskUserQuestion asks a person something"`
	Input     any    `json:"input" doc:"With which arguments"`
	CreatedAt int64  `json:"createdAt" doc:"Unix milliseconds"`
	ExpiresAt int64  `json:"expiresAt" doc:"Denied then, Unix milliseconds"`
	Decision  string `json:"decision,omitempty" enum:"allow,deny" doc:"Once it is decided"`
	Reason    string `json:"reason,omitempty" doc:"What the agent was told with it"`
}

type decideIn struct {
	ID   string `path:"permissionId" doc:"The id of a permission that waits"`
	Body struct {
		Decision string            `json:"decision" enum:"allow,deny" doc:"Whether the agent may call the tool"`
		Message  string            `json:"message,omitempty" maxLength:"10000" doc:"Told to the agent when denied: why, or what to do instead"`
		Answers  map[string]string `json:"answers,omitempty" doc:"To the agent's questions (AskUserQuestion), each by its text; any text is an answer"`
	}
}

type decideOut struct {
	Body permissionView
}

func (s *Server) permissions(_ context.Context, req *request, _ *struct{}) (*permissionsOut, error) {
	out := &permissionsOut{}
	out.Body.Permissions = []permissionView{}
	for _, p := range s.dispatcher.Permissions(req.caller) {
		out.Body.Permissions = append(out.Body.Permissions, permissionOf(p))
	}
	return out, nil
}

func (s *Server) decide(ctx context.Context, req *request, in *decideIn) (*decideOut, error) {
	b := in.Body
	p, err := s.dispatcher.Decide(req.caller, in.ID, iris.Decision{Allow: b.Decision == "allow", Message: b.Message, Answers: b.Answers})
	if e, ok := err.(*iris.Error); ok && e.Code == iris.CodeForbidden {
		return nil, req.forbid(req.route.scopes, e.Message)
	}
	if err != nil {
		return nil, err
	}
	s.audit(ctx, req, iris.AuditPermissionDecided, p.ID, map[string]any{
		"message": p.MessageID, "team": p.Team, "tool": p.Tool, "decision": p.Decision,
	})
	return &decideOut{permissionOf(p)}, nil
}

func permissionOf(p iris.Permission) permissionView {
	v := permissionView{
		ID: p.ID, MessageID: p.MessageID, Team: p.Team, From: p.Caller.From(), Tool: p.Tool, Input: object(p.Input),
		CreatedAt: p.AskedAt.UnixMilli(), ExpiresAt: p.ExpiresAt.UnixMilli(), Decision: p.Decision, Reason: p.Reason,
	}
	if p.Caller.Credentialed() {
		v.Caller = p.Caller.Name
	}
	return v
}

// attend says that the request's client, who follows the message, may be asked for leave. A
// client that nobody watches says so with Iris-Attend: no.
func (s *Server) attend(req *request, h http.Header, messageID string) (leave func()) {
	if h.Get("Iris-Attend") == "no" {
		return func() {}
	}
	return s.dispatcher.Attend(messageID, req.caller)
}

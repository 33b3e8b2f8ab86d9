package httpapi

import (
	"context"

	iris "github.com/iris-mcp/iris-mcp"
)

// audit writes down what the request has done, to whom (the name or the id of what it was done
// to) and, in details, how. It is called after the deed, and never with a secret.
func (s *Server) audit(ctx context.Context, req *request, action iris.AuditAction, subject string, details map[string]any) {
	if s.cfg.Audit == nil {
		return
	}
	e := iris.AuditEntry{Action: action, Subject: subject, By: req.caller, RequestID: req.id, Details: details}
	if req.address.IsValid() {
		e.Address = req.address.String()
	}
	s.cfg.Audit.Record(context.WithoutCancel(ctx), e)
}

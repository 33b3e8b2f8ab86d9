package agent

import (
	"context"
	"encoding/json"

	iris "github.com/iris-mcp/iris-mcp"
)

// decision is a permission that the CLI waits for.
type decision struct {
	iris.Permission
	request string // the CLI's id for it
	turn    *turn
	cancel  context.CancelFunc
	answer  iris.Decision
}

// asksUs answers what the CLI asks of us, now or later.
func (a *Agent) asksUs(l line) {
	var r controlRequest
	json.Unmarshal(l.Request, &r)
	switch r.Subtype {
	case "can_use_tool":
		a.askPermission(l.RequestID, r)
	case "elicitation":
		a.respond(l.RequestID, map[string]any{"action": "decline"}) // nobody sits at this CLI
	default:
		a.queue = append(a.queue, jsonLine(map[string]any{
			"type": "control_response",
			"response": map[string]any{
				"subtype": "error", "request_id": l.RequestID,
				"error": "Iris does not know the request " + r.Subtype,
			},
		}))
	}
}

func (a *Agent) respond(id string, response map[string]any) {
	a.queue = append(a.queue, jsonLine(map[string]any{
		"type":     "control_response",
		"response": map[string]any{"subtype": "success", "request_id": id, "response": response},
	}))
}

// askPermission puts the permission to whoever asked for the turn. In a turn that nobody
// asked for nobody decides, but a team may have allowed everything in advance.
func (a *Agent) askPermission(id string, r controlRequest) {
	p := iris.Permission{ID: iris.NewID(iris.PermissionPrefix), Tool: r.ToolName, Input: r.Input}
	d := &decision{Permission: p, request: id, turn: a.turn, cancel: func() {}}
	if a.round.emit == nil || a.turn.Decide == nil {
		d.turn = nil
		d.answer = iris.Decision{
			Allow:   a.team.Permissions == iris.PermissionsAllow,
			Message: "Permission denied: nobody is there to decide.",
		}
		a.open[id] = d
		a.answerPermission(d)
		return
	}
	var ctx context.Context
	ctx, d.cancel = context.WithCancel(a.turn.ctx)
	a.open[id] = d
	a.turn.deciding.Go(func() {
		d.answer = d.turn.Decide(ctx, p)
		select {
		case a.decided <- d:
		case <-ctx.Done(): // the turn is over, or the CLI wants to know no more
		}
	})
}

// asksNoMore takes back a request of the CLI: it gets no answer.
func (a *Agent) asksNoMore(id string) {
	if d := a.open[id]; d != nil {
		delete(a.open, id)
		d.cancel()
	}
}

// answerPermission answers the CLI, unless it has stopped to wait. 2.1.197 wants the whole
// input back with an allowance (permission_malformed_reply).
func (a *Agent) answerPermission(d *decision) {
	if a.open[d.request] != d {
		return
	}
	delete(a.open, d.request)
	d.cancel()
	p := d.Permission
	p.Decision = d.answer.Word()
	switch {
	case d.answer.Allow && p.Tool != iris.ToolAskUser:
		a.respond(d.request, map[string]any{"behavior": "allow", "updatedInput": p.Input})
	case d.answer.Allow && len(d.answer.Answers) > 0:
		a.respond(d.request, map[string]any{"behavior": "allow", "updatedInput": answered(p.Input, d.answer.Answers)})
	default:
		p.Decision, p.Reason = "deny", denial(p.Tool, d.answer)
		a.respond(d.request, map[string]any{"behavior": "deny", "message": p.Reason})
	}
	if d.turn != nil {
		d.turn.emit(iris.Event{Kind: iris.EventPermission, Permission: &p})
	}
}

// answered is the input of the agent's question with the answers, which is how the CLI gets
// them (ask_user_question).
func answered(input json.RawMessage, answers map[string]string) map[string]any {
	with := map[string]any{}
	json.Unmarshal(input, &with)
	with["answers"] = answers
	return with
}

// denial is what the model is told. A question to a person is not a matter of leave: to allow
// it without an answer would leave the model with none.
func denial(tool string, d iris.Decision) string {
	switch {
	case d.Message != "" && !d.Allow:
		return d.Message
	case tool == iris.ToolAskUser:
		return "Nobody can answer questions in this conversation. Choose what seems best, go on, and say in your answer what you assumed."
	default:
		return "Permission denied."
	}
}

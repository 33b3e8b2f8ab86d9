package dispatch

import "github.com/iris-mcp/iris-mcp"

// decide answers a tool call for which the agent needs leave, by the team's policy. Nobody is
// connected who could be asked, so ask and forward come to a denial; it is made at once, and
// says to the model what it means, for a turn that hangs helps nobody.
func (d *Dispatcher) decide(team iris.Team, m iris.Message, p iris.Permission) iris.Decision {
	decision := iris.Decision{}
	switch {
	case p.Tool == "AskUserQuestion":
		decision.Message = "Nobody can answer questions now. Decide for yourself, and say in your answer what you assumed."
	case team.Permissions == iris.PermissionsAllow:
		decision.Allow = true
	case team.Permissions == iris.PermissionsDeny:
		decision.Message = "This team may not use " + p.Tool + " in this way: its configuration denies whatever needs a permission. Do without it, and say in your answer what you could not do."
	default:
		decision.Message = "Using " + p.Tool + " in this way needs a permission, and nobody is connected who could give it. Do without it, and say in your answer what you could not do and which permission it needs."
	}
	d.log.Info("permission decided", "message", m.ID, "team", team.Name, "tool", p.Tool, "policy", team.Permissions, "allow", decision.Allow)
	return decision
}

package dispatch

import (
	"context"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// decide answers a tool call for which the agent needs leave (DESIGN D9): by the team's policy
// where that decides, else by whoever is there to decide, within the time that there is. With
// nobody there it is denied at once. A denial says to the model what it means, for a turn that
// hangs helps nobody. limit is when the turn itself ends.
func (d *Dispatcher) decide(ctx context.Context, team iris.Team, m iris.Message, p iris.Permission, limit time.Time) iris.Decision {
	asks := p.Tool == iris.ToolAskUser
	switch {
	case team.Permissions == iris.PermissionsDeny && asks:
		return d.decided(ctx, team, m, p, byPolicy, nobody(p.Tool, ""))
	case team.Permissions == iris.PermissionsDeny:
		return d.decided(ctx, team, m, p, byPolicy, iris.Decision{Message: "This team may not use " + p.Tool + " in this way: its configuration denies whatever needs a permission. Do without it, and say in your answer what you could not do."})
	case team.Permissions == iris.PermissionsAllow && !asks:
		return d.decided(ctx, team, m, p, byPolicy, iris.Decision{Allow: true})
	}
	now := time.Now()
	until := now.Add(team.PermissionTimeout)
	if leaves := d.desk.leave(m.ID); !leaves.IsZero() {
		limit = earlier(limit, leaves)
	}
	until = earlier(until, limit.Add(-askerMargin))
	if !until.After(now) || !d.desk.attended(team, m) {
		return d.decided(ctx, team, m, p, byAbsent, nobody(p.Tool, "nobody is connected who could give it"))
	}
	p.MessageID, p.Team, p.Caller, p.AskedAt, p.ExpiresAt = m.ID, team.Name, m.Caller, now.UTC(), until.UTC()
	o := d.desk.put(p, team, m)
	defer d.desk.take(o)
	shown := p
	d.bus.Publish(iris.Event{MessageID: m.ID, Kind: iris.EventPermission, Permission: &shown})
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	select {
	case decision := <-o.decided:
		return decision
	case <-ctx.Done():
		return iris.Decision{}
	case <-late.C:
	}
	d.desk.take(o)
	select {
	case decision := <-o.decided: // in the last moment
		return decision
	default:
		return d.decided(ctx, team, m, p, byClock, nobody(p.Tool, "nobody gave it in time"))
	}
}

// nobody is a denial because nobody decided.
func nobody(tool, why string) iris.Decision {
	if tool == iris.ToolAskUser {
		return iris.Decision{Message: "Nobody can answer questions now. Decide for yourself, and say in your answer what you assumed."}
	}
	return iris.Decision{Message: "Using " + tool + " in this way needs a permission, and " + why + ". Do without it, and say in your answer what you could not do and which permission it needs."}
}

// Who decides when no person does, as the log and the audit log name it.
const (
	byPolicy iris.CallerKind = "policy" // the team's configuration
	byAbsent iris.CallerKind = "nobody" // there is nobody to ask
	byClock  iris.CallerKind = "clock"  // nobody answered in time
)

// decided writes down a decision that no person made.
func (d *Dispatcher) decided(ctx context.Context, team iris.Team, m iris.Message, p iris.Permission, by iris.CallerKind, decision iris.Decision) iris.Decision {
	d.log.Info("permission decided", "message", m.ID, "team", team.Name, "tool", p.Tool, "policy", team.Permissions, "by", by, "allow", decision.Allow)
	if d.cfg.Audit != nil {
		d.cfg.Audit.Record(context.WithoutCancel(ctx), iris.AuditEntry{
			Action: iris.AuditPermissionDecided, Subject: p.ID, By: iris.Caller{Kind: by},
			Details: map[string]any{"message": m.ID, "team": team.Name, "tool": p.Tool, "decision": decision.Word()},
		})
	}
	return decision
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

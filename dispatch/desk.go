package dispatch

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// askerMargin is how long before its asker leaves a permission is denied: the model still has
// to say what it could not do.
const askerMargin = 5 * time.Second

// desk is where permissions lie that agents wait for. It also knows who is there to decide: who
// reads a message's stream, and who asked lately for what lies here. Its methods may be called
// at once.
type desk struct {
	mu     sync.Mutex
	open   map[string]*open          // by permission id
	reads  map[string][]*iris.Caller // who reads along, by message
	looked map[iris.CallerID]look    // who asked for the list
	leaves map[string]time.Time      // when a message's asker leaves
}

// open is a permission that waits.
type open struct {
	iris.Permission
	team    iris.Team
	message iris.Message
	decided chan iris.Decision // of one
}

type look struct {
	caller iris.Caller
	at     time.Time
}

func newDesk() *desk {
	return &desk{
		open: map[string]*open{}, reads: map[string][]*iris.Caller{},
		looked: map[iris.CallerID]look{}, leaves: map[string]time.Time{},
	}
}

// mayDecide is the one rule for who decides: who has processes:manage and reaches the team, and
// where the team forwards, whoever asked.
func mayDecide(c iris.Caller, team iris.Team, m iris.Message) bool {
	return c.May(iris.ScopeProcessesManage) && c.Reaches(team.Name) ||
		team.Permissions == iris.PermissionsForward && c.Is(m.Caller)
}

// attended reports whether somebody is there who may decide: a reader of the message's stream,
// or one who asked for the list not longer ago than a permission of the team waits.
func (k *desk) attended(team iris.Team, m iris.Message) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if slices.ContainsFunc(k.reads[m.ID], func(c *iris.Caller) bool { return mayDecide(*c, team, m) }) {
		return true
	}
	for _, l := range k.looked {
		if time.Since(l.at) < team.PermissionTimeout && mayDecide(l.caller, team, m) {
			return true
		}
	}
	return false
}

// put lays a permission on the desk; take takes it away, decided or not.
func (k *desk) put(p iris.Permission, team iris.Team, m iris.Message) *open {
	o := &open{Permission: p, team: team, message: m, decided: make(chan iris.Decision, 1)}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open[p.ID] = o
	return o
}

func (k *desk) take(o *open) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open[o.ID] == o {
		delete(k.open, o.ID)
	}
}

// leave is when the message's asker leaves; zero when nobody said.
func (k *desk) leave(messageID string) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.leaves[messageID]
}

func (k *desk) setLeave(messageID string, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if at.IsZero() {
		delete(k.leaves, messageID)
	} else {
		k.leaves[messageID] = at
	}
}

// Attend says that somebody follows the message who may be asked for leave meanwhile, until
// the function that comes back is called. Whether he may decide is looked at when it is asked.
func (d *Dispatcher) Attend(messageID string, c iris.Caller) (leave func()) {
	k := d.desk
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reads[messageID] = append(k.reads[messageID], &c)
	return sync.OnceFunc(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		rest := slices.DeleteFunc(k.reads[messageID], func(r *iris.Caller) bool { return r == &c })
		if len(rest) == 0 {
			delete(k.reads, messageID)
		} else {
			k.reads[messageID] = rest
		}
	})
}

// Permissions lists what waits for a decision that the caller may make, the oldest first. Who
// asks for the list is there to decide for as long as a permission waits (permissionTimeout).
func (d *Dispatcher) Permissions(c iris.Caller) []iris.Permission {
	k := d.desk
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(k.looked, func(_ iris.CallerID, l look) bool { return now.Sub(l.at) > maxTimeout })
	k.looked[c.ID()] = look{c, now}
	list := []iris.Permission{}
	for _, o := range k.open {
		if mayDecide(c, o.team, o.message) {
			list = append(list, o.Permission)
		}
	}
	slices.SortFunc(list, func(a, b iris.Permission) int {
		if byTime := a.AskedAt.Compare(b.AskedAt); byTime != 0 {
			return byTime
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

// Decide answers a permission that waits; the first answer counts. NOT_FOUND when none of that
// id waits (any more), FORBIDDEN when it is not the caller's to decide, INVALID_REQUEST for
// answers that are not those to the agent's questions.
func (d *Dispatcher) Decide(c iris.Caller, id string, decision iris.Decision) (iris.Permission, error) {
	k := d.desk
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.open[id]
	if o == nil {
		return iris.Permission{}, iris.Errorf(iris.CodeNotFound, "no permission of this id waits: it was decided, its time was over, or the agent no longer wants to know")
	}
	if !mayDecide(c, o.team, o.message) {
		return iris.Permission{}, iris.Errorf(iris.CodeForbidden, "this permission is not this key's to decide: that needs the scope %s and the team", iris.ScopeProcessesManage)
	}
	if err := o.CheckAnswers(decision); err != nil {
		return iris.Permission{}, err
	}
	delete(k.open, id)
	o.decided <- decision
	p := o.Permission
	p.Decision, p.Reason = decision.Word(), decision.Message
	d.log.Info("permission decided", "message", p.MessageID, "team", p.Team, "tool", p.Tool, "by", c.From(), "name", c.Name, "allow", decision.Allow)
	return p, nil
}

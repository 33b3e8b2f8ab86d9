package dispatch_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

var (
	manager = iris.Caller{Kind: iris.CallerKey, Name: "boss", Scopes: []iris.Scope{iris.ScopeProcessesManage}}
	asker   = ask("touch").Caller
)

func TestWhoIsThereDecides(t *testing.T) {
	elsewhere := manager
	elsewhere.Teams = []string{"deny"}
	for _, tt := range []struct {
		name    string
		team    string
		attends iris.Caller
		open    bool
	}{
		{"a reader with processes:manage", "ask", manager, true},
		{"the local user", "ask", iris.Caller{Kind: iris.CallerLocal}, true},
		{"a reader without the scope", "ask", asker, false},
		{"a key bound to other teams", "ask", elsewhere, false},
		{"where the team forwards, whoever asked", "forward", asker, true},
		{"where the team denies, nobody", "deny", manager, false},
		{"where the team allows, nobody need be asked", "allow", manager, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := open(t, t.TempDir(), false)
				a := ask("touch")
				a.Team = tt.team
				m := submit(t, o, a)
				leave := o.Attend(m.ID, tt.attends)
				defer leave()
				go run(t, o)
				synctest.Wait()
				got, _ := o.db.Message(t.Context(), m.ID)
				if open := got.Status == iris.StatusProcessing; open != tt.open {
					t.Fatalf("it is %s: %s", got.Status, got.Response)
				}
				if !tt.open {
					return
				}
				list := o.Permissions(iris.Caller{Kind: iris.CallerLocal})
				if len(list) != 1 || list[0].MessageID != m.ID || list[0].Tool != "touch" || list[0].ExpiresAt.Sub(list[0].AskedAt) != time.Minute {
					t.Fatalf("it lists %+v", list)
				}
				p, err := o.Decide(tt.attends, list[0].ID, iris.Decision{Message: "not on a Sunday"})
				if err != nil || p.Decision != "deny" {
					t.Fatalf("%+v, %v", p, err)
				}
				if got := wait(t, o, m.ID); got.Response != "false not on a Sunday" {
					t.Errorf("the agent heard %q", got.Response)
				}
				if _, err := o.Decide(tt.attends, list[0].ID, iris.Decision{Allow: true}); iris.CodeOf(err) != iris.CodeNotFound {
					t.Errorf("decided twice: %v", err)
				}
			})
		})
	}
}

// run runs the one job that waits.
func run(t *testing.T, o *office) {
	j, ok, err := o.db.Claim(t.Context(), iris.Claim{Worker: "test", Lease: time.Hour})
	if !ok || err != nil {
		t.Errorf("claim: %v, %v", ok, err)
		return
	}
	o.Run(t.Context(), j, reasons)
}

func TestAPermissionWaitsNoLongerThanAnybodyDoes(t *testing.T) {
	for _, tt := range []struct {
		name    string
		leaves  time.Duration // of the asker
		limit   time.Duration // of the turn
		decided time.Duration
	}{
		{"permissionTimeout", 0, 0, time.Minute},
		{"the asker leaves before", 30 * time.Second, 0, 25 * time.Second},
		{"the turn ends before", 0, 40 * time.Second, 35 * time.Second},
		{"there is no time", 5 * time.Second, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := open(t, t.TempDir(), true)
				o.Permissions(manager) // who looks at the list is there
				a := ask("touch")
				a.Timeout = tt.limit
				if tt.leaves > 0 {
					a.Until = time.Now().Add(tt.leaves)
				}
				began := time.Now()
				m := wait(t, o, submit(t, o, a).ID)
				if took := time.Since(began); took != tt.decided {
					t.Errorf("decided after %v, want %v", took, tt.decided)
				}
				if !strings.HasPrefix(m.Response, "false Using touch") {
					t.Errorf("the agent heard %q", m.Response)
				}
				if list := o.Permissions(manager); len(list) != 0 {
					t.Errorf("it still lists %+v", list)
				}
			})
		})
	}
}

func TestWhoLookedAtTheListIsThereForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		took := func() time.Duration {
			began := time.Now()
			wait(t, o, submit(t, o, ask("touch")).ID)
			return time.Since(began)
		}
		o.Permissions(asker) // may not decide, so is not there
		if d := took(); d != 0 {
			t.Errorf("with nobody there it took %v", d)
		}
		o.Permissions(manager)
		time.Sleep(59 * time.Second)
		if d := took(); d != time.Minute {
			t.Errorf("with somebody there it took %v", d)
		}
		if d := took(); d != 0 {
			t.Errorf("long after it took %v", d)
		}
	})
}

func TestACancelTakesThePermissionAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		o.Permissions(manager)
		m := submit(t, o, ask("touch"))
		synctest.Wait()
		list := o.Permissions(manager)
		if len(list) != 1 {
			t.Fatalf("it lists %+v", list)
		}
		if _, err := o.Decide(asker, list[0].ID, iris.Decision{Allow: true}); iris.CodeOf(err) != iris.CodeForbidden {
			t.Errorf("somebody who may not decide got %v", err)
		}
		if _, err := o.Cancel(t.Context(), m.ID); err != nil {
			t.Fatal(err)
		}
		if list := o.Permissions(manager); len(list) != 0 {
			t.Errorf("it still lists %+v", list)
		}
	})
}

//go:build e2e

package e2e_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

func TestAProcessThatIsKilledInMidAnswer(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		id := iris.NewUUID()
		k := r.talk(id, false)
		k.answer("My name is Ada.")
		var killed atomic.Int64
		k.seen = func(e iris.Event) {
			if e.Kind == iris.EventChunk && killed.CompareAndSwap(0, time.Now().UnixNano()) {
				if err := syscall.Kill(k.agent.PID(), syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
		}
		err, _ := k.fails("[[pace 50ms]][[bytes 5000]]")
		if took := time.Since(time.Unix(0, killed.Load())); took > atOnce {
			t.Errorf("the asker knew after %v", took)
		}
		if !err.Retry {
			t.Errorf("the error says that a retry is of no use: %v", err)
		}
		select {
		case <-k.agent.Done():
		case <-time.After(patience):
			t.Fatal("Done was never closed")
		}
		if o := r.talk(id, true).answer("[[say {earlier}]]"); !strings.HasPrefix(o.Text, "1. My name is Ada.") {
			t.Errorf("after the resume it remembers %q", o.Text)
		}
	})
}

// What a tool has started must not outlive its agent, in whatever way that ends: Bash children
// sit in sessions of their own and survive a kill of the CLI's group.
func TestNothingIsLeftOfAToolWhenItsAgentEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*talk) error
	}{
		{"by Close", func(k *talk) error { return k.agent.Close() }},
		{"by SIGTERM", func(k *talk) error { return syscall.Kill(k.agent.PID(), syscall.SIGTERM) }},
		{"by SIGKILL", func(k *talk) error { return syscall.Kill(k.agent.PID(), syscall.SIGKILL) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			everyCLI(t, func(t *testing.T, r *rig) {
				r.team.AllowedTools = []string{"Bash"}
				k := r.fresh()
				plain, detached := nap(), nap()
				ended := make(chan error, 1)
				go func() {
					if !within(patience, func() bool { return len(running(plain)) > 0 && len(running(detached)) > 0 }) {
						ended <- errors.New("the tool's processes never ran")
						k.agent.Close()
						return
					}
					ended <- tt.end(k)
				}()
				k.fails(`[[tool Bash {"command":"(setsid nohup ` + detached + ` >/dev/null 2>&1 &) ; true && ` + plain + `"}]]`)
				if err := <-ended; err != nil {
					t.Error(err)
				}
				select {
				case <-k.agent.Done():
				case <-time.After(patience):
					t.Fatal("Done was never closed")
				}
				if left := append(running(plain), running(detached)...); len(left) > 0 {
					t.Errorf("left over: %q", left)
				}
			})
		})
	}
}

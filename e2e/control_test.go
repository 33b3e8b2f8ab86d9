//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	sdk "github.com/iris-mcp/go-client"
)

// TestAnOperatorHasTheProcessesInHand: the real CLI is woken, put to sleep and ended, nothing is
// left of it, and the conversation goes on.
func TestAnOperatorHasTheProcessesInHand(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		s := r.site(map[string]settings{"backend": {}})
		if status, body := s.post("/api/v1/teams/backend/wake", ""); status != 200 || !strings.Contains(body, `"started":true`) || !strings.Contains(body, `"state":"idle"`) {
			t.Fatalf("%d %s", status, body)
		}
		woken := s.left()
		name := sdk.WithSession("mine")
		s.answer("backend", "My word is apple.", name)
		if now := s.left(); len(woken) != 1 || len(now) != 1 || now[0] != woken[0] {
			t.Errorf("it was not the woken process that answered: %v, %v", woken, now)
		}
		for what, end := range map[string]func(pid int) (int, string){
			"ended": func(pid int) (int, string) {
				return s.send(http.MethodDelete, fmt.Sprint("/api/v1/processes/", pid), "")
			},
			"put to sleep": func(int) (int, string) { return s.post("/api/v1/teams/backend/sleep", `{"force":true}`) },
		} {
			pid, outcome := s.begun("backend", "[[say well,]] [[wait 30s]] [[say no]]", name)
			if status, body := end(pid); status != 200 {
				t.Fatalf("%d %s", status, body)
			}
			if left := s.left(); len(left) > 0 {
				t.Errorf("left are %v", left)
			}
			err := <-outcome
			if e, ok := errors.AsType[*sdk.Error](err); !ok || e.Code != sdk.CodeProcess || !strings.Contains(e.Message, what) {
				t.Errorf("whoever asked is told %v", err)
			}
			if again := s.answer("backend", "And? [[say {earlier}]]", name); !strings.Contains(again.Response, "apple") {
				t.Errorf("it remembers only %q", again.Response)
			}
		}
		if status, body := s.post("/api/v1/teams/backend/restart", ""); status != 200 || !strings.Contains(body, `"ended":1,"finishing":0`) || len(s.left()) != 1 {
			t.Errorf("%d %s; left are %v", status, body, s.left())
		}
	})
}

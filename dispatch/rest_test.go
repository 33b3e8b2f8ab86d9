package dispatch_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

func TestATeamThatMeetsALimitRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		wait(t, o, submit(t, o, task("slow")).ID) // takes a minute: that is what is known of the team
		limited := submit(t, o, task("limited 1h"))
		synctest.Wait()
		start := time.Now()
		others := []iris.Message{submit(t, o, task("hello")), submit(t, o, task("hello again"))}
		other := task("hello")
		other.Team = "allow"
		elsewhere := submit(t, o, other)
		synctest.Wait()

		m, err := o.db.Message(t.Context(), limited.ID)
		if err != nil || m.Status != iris.StatusQueued || m.Attempts != 1 {
			t.Errorf("the one that met the limit is %s after %d attempts, %v", m.Status, m.Attempts, err)
		}
		for i, m := range others {
			_, done, err := o.Estimate(t.Context(), m)
			if want := time.Hour + time.Duration(i+1)*time.Minute; err != nil || time.Until(done).Round(10*time.Second) < want {
				t.Errorf("task %d may be done in %v, want at least %v (%v)", i, time.Until(done), want, err)
			}
		}
		if m := wait(t, o, elsewhere.ID); m.Duration() > 0 {
			t.Errorf("another team's waited %v", m.Duration())
		}

		refused := func(left string) {
			t.Helper()
			q := wait(t, o, submit(t, o, ask("hello")).ID)
			if q.Status != iris.StatusFailed || q.Duration() > 0 || q.Err.Code != iris.CodeProcess || !q.Err.RetryAt.Equal(start.Add(time.Hour)) ||
				!strings.Contains(q.Err.Message, "for "+left+" more, because no more requests for now") || strings.Contains(q.Err.Message, "later") {
				t.Errorf("an ask is %s after %v: %v, again at %v", q.Status, q.Duration(), q.Err, q.Err.RetryAt)
			}
		}
		time.Sleep(30 * time.Second)
		refused("59m30s")
		if s, err := o.Status(t.Context(), limited.Team); err != nil || s.LastError == nil || !strings.Contains(s.LastError.Message, "for 59m30s more") {
			t.Errorf("its status says %v, want until when it rests (%v)", s.LastError, err)
		}
		time.Sleep(9*time.Minute + 30*time.Second)
		if q := wait(t, o, submit(t, o, ask("limited 1m")).ID); q.Status != iris.StatusFailed || strings.Contains(q.Err.Message, "left alone") {
			t.Errorf("one ask now and then is tried all the same, and this is %s: %v", q.Status, q.Err)
		}
		refused("50m0s")

		for _, m := range append(others, limited) {
			if m = wait(t, o, m.ID); m.Status != iris.StatusCompleted || m.CompletedAt.Before(start.Add(time.Hour)) || m.CompletedAt.After(start.Add(time.Hour+time.Second)) {
				t.Errorf("a task is %s %v after the limit began, want an hour (%v)", m.Status, m.CompletedAt.Sub(start), m.Err)
			}
		}
		if m := wait(t, o, limited.ID); m.Attempts != 2 {
			t.Errorf("it took %d attempts", m.Attempts)
		}
		if q := wait(t, o, submit(t, o, ask("hello")).ID); q.Status != iris.StatusCompleted {
			t.Errorf("then an ask is %s: %v", q.Status, q.Err)
		}
		if s, err := o.Status(t.Context(), limited.Team); err != nil || s.LastError != nil {
			t.Errorf("then its status says %v (%v)", s.LastError, err)
		}
		for e, err := range o.Events(t.Context(), limited.ID, 0) {
			if want := "attempt 1 of 3 failed: no more requests for now. The next one follows in 1h0m0s"; err != nil || e.Kind == iris.EventRetry && e.Text != want {
				t.Errorf("it told %q (%v), want %q", e.Text, err, want)
			}
		}
	})
}

func TestALimitThatGoesBeforeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		wait(t, o, submit(t, o, ask("limited 5h")).ID)
		waiting := submit(t, o, task("hello"))
		time.Sleep(10 * time.Minute)
		if q := wait(t, o, submit(t, o, ask("hello")).ID); q.Status != iris.StatusCompleted {
			t.Errorf("an ask that is tried is %s: %v", q.Status, q.Err)
		}
		if m := wait(t, o, waiting.ID); m.Status != iris.StatusCompleted || m.Duration() > 10*time.Minute+time.Second {
			t.Errorf("the task that waited is %s after %v", m.Status, m.Duration())
		}
	})
}

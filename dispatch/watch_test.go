package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

// watch collects what a watcher of the team "ask" is told, until stop, which gives it.
func (o *office) watch(t *testing.T) (stop func() ([]iris.News, error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	news, err := o.Watch(ctx, "ask")
	if err != nil {
		t.Fatal(err)
	}
	var told []iris.News
	ended := make(chan error, 1)
	go func() {
		for n, err := range news {
			if err != nil {
				ended <- err
				return
			}
			told = append(told, n)
			if n.Message.Text != "" || n.Message.Caller.Name != "ci" || n.Message.SessionRef() == "" || n.Message.CreatedAt.IsZero() {
				t.Errorf("told of %+v", n.Message)
			}
		}
	}()
	return func() ([]iris.News, error) {
		cancel()
		err := <-ended
		return told, err
	}
}

// TestWatch: what waits or runs is told at once, what comes later as it comes; each message
// once as waiting and once as not, whatever becomes of it.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := open(t, t.TempDir(), true)
		names := map[string]string{}
		submit := func(a iris.Ask, name string) iris.Message {
			t.Helper()
			m, err := o.Submit(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			names[m.ID] = name
			return m
		}
		inSession := func(text, session string) iris.Ask { a := ask(text); a.SessionID = session; return a }
		submit(inSession("slow", "one"), "running")
		time.Sleep(time.Second)
		submit(inSession("quick", "one"), "waiting")
		done := submit(ask("done"), "done")
		if _, err := o.Wait(t.Context(), done.ID); err != nil {
			t.Fatal(err)
		}

		stop := o.watch(t)
		synctest.Wait()
		submit(ask("new"), "new")
		submit(iris.Ask{Caller: ask("").Caller, Team: "deny", Text: "x"}, "of another team")
		gone := submit(inSession("quick", "one"), "cancelled")
		time.Sleep(time.Second)
		if _, err := o.Cancel(t.Context(), gone.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		again := submit(task("slow"), "task") // it has to run still when it comes again
		if same, err := o.Submit(t.Context(), task("slow")); err != nil || same.ID != again.ID {
			t.Errorf("%s, %v", same.ID, err)
		}
		time.Sleep(time.Minute)
		news, err := stop()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
		var told []string
		for _, n := range news {
			told = append(told, fmt.Sprint(names[n.Message.ID], " ", n.Message.Status, " ", n.After))
		}
		want := []string{
			"running processing 2", "waiting queued 0",
			"new queued 0", "new processing 1",
			"cancelled queued 0", "cancelled cancelled 1",
			"waiting processing 1",
			"task queued 0", "task processing 1",
		}
		// The acceptance of one and the turn of the other meet anyhow.
		if got := slices.Sorted(slices.Values(told)); !slices.Equal(got, slices.Sorted(slices.Values(want))) || !slices.Equal(told[:2], want[:2]) {
			t.Errorf("told\n%q, want\n%q", told, want)
		}
	})
}

func TestWatchOfNoTeam(t *testing.T) {
	o := open(t, t.TempDir(), false)
	if _, err := o.Watch(t.Context(), "nobody"); iris.CodeOf(err) != iris.CodeTeamNotFound {
		t.Error(err)
	}
}

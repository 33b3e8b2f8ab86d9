package dispatch

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/iris-mcp/iris-mcp"
)

// TestBook: in whichever order what happened is told, a watcher learns of each message once as
// waiting and once as not.
func TestBook(t *testing.T) {
	status := map[string]iris.Message{
		"accepted": {Status: iris.StatusQueued},
		"begun":    {Status: iris.StatusProcessing, Attempts: 1},
		"again":    {Status: iris.StatusProcessing, Attempts: 2},
		"dropped":  {Status: iris.StatusCancelled},
		"ended":    {Status: iris.StatusCancelled, Attempts: 1}, // while it waited for its second turn
	}
	tests := []struct {
		name, first, told, want string
	}{
		{"as it is meant", "", "accepted begun", "queued processing"},
		{"the turn was quicker", "", "begun accepted", "queued processing"},
		{"cancelled before", "", "accepted dropped", "queued cancelled"},
		{"cancelled before it was told", "", "dropped accepted", "queued processing"},
		{"several turns", "", "accepted begun again again ended", "queued processing"},
		{"it waited", "queued", "begun", "processing"},
		{"it waited, and is told late", "queued", "accepted begun", "processing"},
		{"it waited, and is told very late", "queued", "begun accepted", "processing"},
		{"it waited for another turn", "queued", "again", "processing"},
		{"it waited for another turn and was cancelled", "queued", "ended", "cancelled"},
		{"it ran", "processing", "accepted begun again ended", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var first []iris.News
			if tt.first != "" {
				first = []iris.News{{Message: iris.Message{ID: "m", Status: iris.Status(tt.first)}}}
			}
			b := newBook(first)
			var got []string
			for _, word := range strings.Fields(tt.told) {
				m := status[word]
				m.ID = "m"
				for _, n := range b.enter(m) {
					got = append(got, string(n.Message.Status))
					if waits := n.Message.Status == iris.StatusQueued; waits != (n.After == 0) {
						t.Errorf("%s behind %d", n.Message.Status, n.After)
					}
				}
			}
			if want := strings.Fields(tt.want); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if len(b.new) > 0 {
				t.Errorf("it remembers %v", fmt.Sprint(b.new))
			}
		})
	}
}

// TestASlowWatcherIsGivenUpOn, and nobody waits for it.
func TestASlowWatcherIsGivenUpOn(t *testing.T) {
	w := watchers{of: map[string]map[*watcher]struct{}{}}
	slow, fast := w.join("api"), w.join("api")
	for i := range maxNews {
		w.tell(iris.Message{ID: fmt.Sprint(i), Team: "api", Text: "long"})
	}
	if news, behind := w.take(fast); len(news) != maxNews || behind || news[0].Text != "" {
		t.Errorf("%d news, behind %t, the first %+v", len(news), behind, news[0])
	}
	w.tell(iris.Message{ID: "one more", Team: "api"})
	if news, behind := w.take(fast); len(news) != 1 || behind {
		t.Errorf("%d news, behind %t", len(news), behind)
	}
	if news, behind := w.take(slow); len(news) != 0 || !behind {
		t.Errorf("%d news, behind %t", len(news), behind)
	}
	w.leave("api", slow)
	w.leave("api", fast)
	if w.tell(iris.Message{Team: "api"}); len(w.of) > 0 {
		t.Errorf("left over: %v", w.of)
	}
}

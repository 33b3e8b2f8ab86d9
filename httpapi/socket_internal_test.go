package httpapi

import (
	"context"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
)

// TestSockets: a key may have so many connections, and so may the server.
func TestSockets(t *testing.T) {
	s := sockets{by: map[string]int{}, changed: make(chan struct{})}
	var leaves []func()
	enter := func(name string, want iris.Code) {
		t.Helper()
		leave, err := s.enter(iris.Caller{Kind: iris.CallerKey, Name: name})
		if err != nil {
			if iris.CodeOf(err) != want {
				t.Fatal(err)
			}
			return
		}
		if want != "" {
			t.Fatalf("%s was let in", name)
		}
		leaves = append(leaves, leave)
	}
	most := min(maxSockets, openFiles()/2)
	for i := range most {
		enter(string(rune('a'+i%4)), "")
	}
	enter("z", iris.CodeQueueFull)
	leaves[0]()
	enter("z", "")
	for _, leave := range leaves[1:] {
		leave()
	}
	if len(s.by) > 0 || s.wait(context.Background()) != nil {
		t.Errorf("%d are open, %v", s.open, s.by)
	}
	if most >= maxSocketsPerCaller {
		for range maxSocketsPerCaller {
			enter("a", "")
		}
		enter("a", iris.CodeRateLimited)
		enter("b", "")
	}
}

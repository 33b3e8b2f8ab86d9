package httpapi_test

import (
	"encoding/json"
	"net/url"
	"slices"
	"testing"

	"github.com/iris-mcp/iris-mcp/httpapi"
)

// past is an answer of the history.
type past struct {
	Messages   []struct{ MessageID string }
	Pagination struct {
		Page, Limit, Total int
		HasNext            bool
		NextCursor         *string
	}
}

func (p past) ids() (ids []string) {
	for _, m := range p.Messages {
		ids = append(ids, m.MessageID)
	}
	return ids
}

func (f *front) history(t *testing.T, query url.Values) past {
	t.Helper()
	w := f.do(call{path: "/api/v1/messages/history?" + query.Encode()})
	var p past
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 200 {
		t.Fatalf("history %v: %d %s", query, w.Code, w.Body)
	}
	return p
}

// TestAWalkThroughTheHistoryMissesNothing: by cursors whatever comes meanwhile, by pages while
// nothing does.
func TestAWalkThroughTheHistoryMissesNothing(t *testing.T) {
	f := newFront(httpapi.Config{})
	var want []string
	for range 7 {
		want = append(want, f.ask(t, "all", "backend", "q"))
	}
	slices.Reverse(want)
	for _, by := range []string{"page", "cursor"} {
		var got []string
		query := url.Values{"limit": {"3"}, "from": {"api"}}
		for page := 1; ; page++ {
			h := f.history(t, query)
			p := h.Pagination
			got = append(got, h.ids()...)
			if p.HasNext != (p.NextCursor != nil) || p.Page != page || p.Limit != 3 {
				t.Errorf("by %s: page %d says %+v", by, page, p)
			}
			if !p.HasNext {
				break
			}
			if by == "page" {
				query.Set("page", string(rune('1'+page)))
			} else {
				f.ask(t, "all", "backend", "one more")
				query.Set("cursor", *p.NextCursor)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %s: %v, want %v", by, got, want)
		}
	}
}

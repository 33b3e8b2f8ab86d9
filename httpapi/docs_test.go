package httpapi_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/iris-mcp/iris-mcp/httpapi"
)

// TestDocs holds the page at /docs to the document that it is made of, and to loading nothing.
func TestDocs(t *testing.T) {
	f := newFront(httpapi.Config{})
	w := f.do(call{path: "/docs", key: "-"})
	page := w.Body.String()
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatal(w.Code, w.Header())
	}

	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(page)
	if style == nil {
		t.Fatal("no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	policy := w.Header()["Content-Security-Policy"]
	if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; len(policy) != 1 || !strings.Contains(policy[0], want) || !strings.HasPrefix(policy[0], "default-src 'none';") {
		t.Errorf("the policy %q does not allow this style, or more than it", policy)
	}
	for _, foreign := range []string{"<script", "src=", "url(", "@import", "<link", " style="} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page has %s", foreign)
		}
	}

	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(` id="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]] {
			t.Errorf("the id %s is there twice", m[1])
		}
		ids[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if to, inside := strings.CutPrefix(m[1], "#"); inside && !ids[to] || !inside && m[1] != "/openapi.json" {
			t.Errorf("a link leads to %s", m[1])
		}
	}

	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string
			Frames      map[string][]struct{ Type string } `json:"x-frames"`
		}
		Events []struct{ Event string } `json:"x-events"`
	}
	if err := json.Unmarshal(f.do(call{path: "/openapi.json", key: "-"}).Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			if !ids[op.OperationID] {
				t.Errorf("%s %s is not on the page", method, path)
			}
		}
	}
	for _, e := range doc.Events {
		if !ids["event-"+e.Event] {
			t.Errorf("the event %s is not on the page", e.Event)
		}
	}
	for side, frames := range doc.Paths["/api/v1/stream"]["get"].Frames {
		if len(frames) < 5 {
			t.Errorf("the document has the frames %v", frames)
		}
		for _, f := range frames {
			if !ids["frame-"+side+"-"+f.Type] {
				t.Errorf("the frame %s of the %s is not on the page", f.Type, side)
			}
		}
	}
	text := html.UnescapeString(page)
	for _, want := range []string{
		"curl -N -X POST \"$IRIS/api/v1/teams/backend/stream\" \\\n  -H \"Authorization: Bearer $IRIS_API_KEY\" \\\n  -d '{\n",
		"<code>context.source</code>", "<code>messages[].status</code>", "1…86400000; default 30000", "low, normal, high",
		"event: chunk\ndata: {\"text\":", "integer or null", "list of strings", "Retry-After",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if i := slices.Index(strings.Split(text, "\n"), "<h2>Iris API</h2>"); i < 0 {
		t.Error("the page has no title")
	}
}

func TestHomeLeadsToTheDocs(t *testing.T) {
	w := newFront(httpapi.Config{}).do(call{path: "/", key: "-"})
	if w.Code != http.StatusFound || w.Header().Get("Location") != "/docs" {
		t.Error(w.Code, w.Header())
	}
}

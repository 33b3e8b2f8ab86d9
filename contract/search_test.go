//go:build contract

package contract_test

import (
	"strings"
	"testing"
)

// TestSearch: any text is a search over message and response, never a syntax error.
func TestSearch(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, text := range []string{"alpha bravo [[say charlie delta]]", "alpha echo [[say foxtrot]]", "C++ & <Go> [[say naïve Übermut 日本語]]"} {
		s.ask(text)
	}
	for q, want := range map[string]int{
		"alpha": 2, "charlie": 1, "alpha charlie": 1, "ALPHA": 2, "foxtrot": 1, "nothing": 0, "C++": 1, "übermut": 1, "日本語": 1,
		"bravo&team=backend": 1, "bravo&team=frontend": 0, "alpha&status=completed": 2, "alpha&limit=1": 1,
	} {
		q, filter, _ := strings.Cut(q, "&")
		if q == "C++" {
			q, filter = "C++", ""
		}
		a := s.do(req{path: "/messages/history?q=" + query(q) + "&" + filter}).is(200)
		if got := len(a.json["messages"].([]any)); got != want {
			t.Errorf("%s %s: %d messages, want %d", q, filter, got, want)
		}
	}
	for _, q := range []string{`"`, `"alpha`, `alpha AND`, `NEAR(`, `*`, `alpha*`, `-alpha`, `(`, `a:b`, `^x`, `'; DROP TABLE messages; --`, "\x00", "%", "OR", strings.Repeat("x ", 500), "{}", "\\"} {
		s.do(req{path: "/messages/history?q=" + query(q)}).is(200)
	}
}

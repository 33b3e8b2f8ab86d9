package iris_test

import (
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
)

func TestClosest(t *testing.T) {
	teams := []string{"backend", "frontend", "infra", "qa"}
	for _, tt := range []struct{ name, word, want string }{
		{"a letter is missing", "backnd", "backend"},
		{"letters are swapped", "frotnend", "frontend"},
		{"only the case differs", "BackEnd", "backend"},
		{"it is there", "infra", "infra"},
		{"another word altogether", "billing", ""},
		{"a short word with one slip", "qs", "qa"},
		{"a short word with its letters swapped", "aq", "qa"},
		{"a short word with two slips is another word", "zz", ""},
		{"an empty word is near nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := iris.Closest(tt.word, teams); got != tt.want {
				t.Errorf("Closest(%q) = %q, want %q", tt.word, got, tt.want)
			}
		})
	}
}

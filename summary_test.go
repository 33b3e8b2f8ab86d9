package iris_test

import (
	"strings"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
)

func TestSummary(t *testing.T) {
	long := strings.Repeat("ä", 300)
	tests := []struct{ name, response, want string }{
		{"nothing", "", ""},
		{"one paragraph is all of it", "Fixed 3\nof 4.", "Fixed 3\nof 4."},
		{"the first of several", "\n\nFixed 3.\r\n\r\nDetails.", "Fixed 3."},
		{"cut between characters", long, strings.Repeat("ä", 279) + "…"},
		{"exactly as long as it may be", long[:560], long[:560]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := (iris.Message{Response: tt.response}).Summary(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

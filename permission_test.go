package iris_test

import (
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
)

func TestAQuestionIsAnswered(t *testing.T) {
	p := iris.Permission{Tool: iris.ToolAskUser, Input: []byte(`{"questions":[{"question":"Which DB?"},{"question":"When?"}]}`)}
	both := map[string]string{"Which DB?": "SQLite", "When?": "now"}
	for _, tt := range []struct {
		name     string
		p        iris.Permission
		decision iris.Decision
		ok       bool
	}{
		{"both", p, iris.Decision{Allow: true, Answers: both}, true},
		{"one", p, iris.Decision{Allow: true, Answers: map[string]string{"When?": "now"}}, false},
		{"none", p, iris.Decision{Allow: true}, false},
		{"another", p, iris.Decision{Allow: true, Answers: map[string]string{"Which DB?": "a", "When?": "b", "Why?": "c"}}, false},
		{"denied", p, iris.Decision{}, true},
		{"leave alone", iris.Permission{Tool: "Bash"}, iris.Decision{Allow: true}, true},
		{"leave with answers", iris.Permission{Tool: "Bash"}, iris.Decision{Allow: true, Answers: both}, false},
	} {
		if err := tt.p.CheckAnswers(tt.decision); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

package agent

import (
	"strings"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
)

func TestProgressIsTheAgentsOwnList(t *testing.T) {
	type call struct {
		tool, input, result string
		want                string // what is told; "" for nothing
	}
	for _, tt := range []struct {
		name  string
		calls []call
	}{
		{"a whole list each time", []call{
			{"TodoWrite", `{"todos":[{"content":"a","status":"in_progress"},{"content":"b","status":"pending"},{"content":"c","status":"pending"}]}`, "", "0/3"},
			{"TodoWrite", `{"todos":[{"content":"a","status":"completed"},{"content":"b","status":"in_progress"},{"content":"c","status":"pending"}]}`, "", "1/3"},
			{"TodoWrite", `{"todos":[{"content":"a","status":"completed"},{"content":"b","status":"pending"},{"content":"c","status":"in_progress"}]}`, "", ""},
			{"TodoWrite", `{"todos":[]}`, "", "0/0"},
		}},
		{"task by task", []call{
			{"TaskCreate", `{"subject":"a","description":"a"}`, "Task #1 created successfully: a", "0/1"},
			{"TaskCreate", `{"subject":"b","description":"b"}`, "Task #2 created successfully: b", "0/2"},
			{"TaskUpdate", `{"taskId":"1","status":"in_progress"}`, "Updated task #1 status", ""},
			{"TaskUpdate", `{"taskId":"1","status":"completed"}`, "Updated task #1 status", "1/2"},
			{"TaskUpdate", `{"taskId":"1","subject":"z"}`, "Updated task #1 subject", ""},
			{"TaskUpdate", `{"taskId":"2","status":"deleted"}`, "Updated task #2 deleted", "1/1"},
			{"TaskUpdate", `{"taskId":"9","status":"deleted"}`, "Updated task #9 deleted", ""},
		}},
		{"a task of an earlier turn is worked on", []call{
			{"TaskUpdate", `{"taskId":"4","status":"completed"}`, "Updated task #4 status", "1/1"},
		}},
		{"what is none", []call{
			{"Read", `{"file_path":"a"}`, "Task #1 created successfully", ""},
			{"TaskCreate", `{"subject":"a"}`, "nothing came of it", ""},
			{"TodoWrite", `[]`, "", ""},
			{"TaskUpdate", `"x"`, "", ""},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var list todo
			for _, c := range tt.calls {
				got := ""
				if list.take(iris.Tool{Name: c.tool, Input: []byte(c.input)}, c.result) {
					got = strings.Join([]string{itoa(list.said.Current), itoa(list.said.Total)}, "/")
				}
				if got != c.want {
					t.Errorf("%s %s: told %q, want %q", c.tool, c.input, got, c.want)
				}
			}
		})
	}
}

func itoa(n int) string { return string(rune('0' + n)) }

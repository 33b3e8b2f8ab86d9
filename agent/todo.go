package agent

import (
	"encoding/json"
	"regexp"
	"slices"

	iris "github.com/iris-mcp/iris-mcp"
)

// todo is the agent's own list of what it has to do in a round, as its tool calls tell it. Both
// of the CLI's kinds are read: TodoWrite, which gives the whole list anew each time, and
// TaskCreate with TaskUpdate, which change one entry. Nothing is made up: without such calls
// there is no progress.
type todo struct {
	entries []entry
	said    iris.Progress // what was told last
}

type entry struct {
	id   string // of a task; empty for TodoWrite's
	done bool
}

// taskMade is how the CLI says that a task was made, and reads it itself (seen in 2.1.197 and
// 2.1.330).
var taskMade = regexp.MustCompile(`Task #(\S+) created successfully`)

// take reads a call that went well, with the text of its result. It reports whether there is
// something new to tell.
func (t *todo) take(tool iris.Tool, result string) bool {
	switch tool.Name {
	case "TodoWrite":
		var in struct {
			Todos []struct {
				Status string `json:"status"`
			} `json:"todos"`
		}
		if json.Unmarshal(tool.Input, &in) != nil {
			return false
		}
		t.entries = nil
		for _, one := range in.Todos {
			t.entries = append(t.entries, entry{done: one.Status == "completed"})
		}
	case "TaskCreate":
		if made := taskMade.FindStringSubmatch(result); made != nil {
			t.entries = append(t.entries, entry{id: made[1]})
		}
	case "TaskUpdate":
		var in struct {
			ID     string `json:"taskId"`
			Status string `json:"status"`
		}
		if json.Unmarshal(tool.Input, &in) != nil || in.ID == "" || in.Status == "" {
			return false
		}
		t.update(in.ID, in.Status)
	default:
		return false
	}
	was := t.said
	t.said = t.progress()
	return t.said != was
}

// update changes a task. One that an earlier turn made joins the list by being worked on.
func (t *todo) update(id, status string) {
	i := slices.IndexFunc(t.entries, func(e entry) bool { return e.id == id })
	switch {
	case status == "deleted" && i >= 0:
		t.entries = slices.Delete(t.entries, i, i+1)
	case status == "deleted":
	case i >= 0:
		t.entries[i].done = status == "completed"
	default:
		t.entries = append(t.entries, entry{id: id, done: status == "completed"})
	}
}

func (t *todo) progress() iris.Progress {
	p := iris.Progress{Total: len(t.entries)}
	for _, e := range t.entries {
		if e.done {
			p.Current++
		}
	}
	return p
}

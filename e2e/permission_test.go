//go:build e2e

package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	sdk "github.com/iris-mcp/go-client"
	iris "github.com/iris-mcp/iris-mcp"
)

func TestAQuestionToAPersonIsAnswered(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		k := r.fresh()
		const asks = `[[tool AskUserQuestion {"questions":[{"question":"Which DB?","header":"DB","multiSelect":false,` +
			`"options":[{"label":"Postgres","description":"pg"},{"label":"SQLite","description":"lite"}]}]}]][[say {result}]]`
		for _, answer := range []string{"SQLite", "neither: plain files"} {
			k.decide = func(p iris.Permission) iris.Decision {
				if q := p.Questions(); len(q) != 1 || q[0] != "Which DB?" {
					t.Errorf("asked %q: %s", q, p.Input)
				}
				return iris.Decision{Allow: true, Answers: map[string]string{"Which DB?": answer}}
			}
			if o := k.answer(asks); !strings.Contains(o.Text, answer) {
				t.Errorf("the model was told %q, want %q in it", o.Text, answer)
			}
		}
		k.decide = func(iris.Permission) iris.Decision { return iris.Decision{Message: "nobody here"} }
		if o := k.answer(asks); !strings.Contains(o.Text, "nobody here") {
			t.Errorf("denied, the model was told %q", o.Text)
		}
	})
}

// A permission comes up the stream, somebody decides over HTTP, and the agent obeys.
func TestLeaveIsGivenOverHTTP(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		s := r.site(map[string]settings{"backend": {}})
		key, err := os.ReadFile(filepath.Join(s.home, "local.key"))
		if err != nil {
			t.Fatal(err)
		}
		client := sdk.NewClient(sdk.WithBaseURL(s.url), sdk.WithAPIKey(strings.TrimSpace(string(key))))
		for _, allow := range []bool{true, false} {
			var last sdk.Event
			text := ""
			for e, err := range client.Teams.Backend.Stream(t.Context(), `[[tool Bash {"command":"touch made","description":"make a file"}]][[say {result}]]`, sdk.Attended()) {
				if err != nil {
					t.Fatal(err)
				}
				text += e.Text
				if e.Kind != sdk.EventPermission {
					continue
				}
				last = e
				if e.Decision == "" {
					if _, err := client.Permissions.Decide(t.Context(), e.ID, sdk.Decision{Allow: allow, Message: "not on a Sunday"}); err != nil {
						t.Error(err)
					}
				}
			}
			if want := (iris.Decision{Allow: allow}).Word(); last.Decision != want {
				t.Errorf("the permission ended with %s: %s", last.Decision, last.Reason)
			}
			if !allow && !strings.Contains(text, "not on a Sunday") {
				t.Errorf("denied, the model was told %q", text)
			}
		}
		// A stream that nobody attends is denied at once.
		for e, err := range client.Teams.Backend.Stream(t.Context(), `[[tool Bash {"command":"touch made","description":"make a file"}]][[say {result}]]`) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == sdk.EventPermission && e.Decision != "deny" {
				t.Errorf("with nobody there: %+v", e)
			}
		}
	})
}

//go:build e2e

package e2e_test

import (
	"strings"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

func TestFailuresOfTheModel(t *testing.T) {
	for _, tt := range []struct {
		name, question string
		retry          bool   // another attempt may help
		says           string // part of the message
		within         time.Duration
	}{
		{"not logged in fails fast", "[[fail 401]]", false, "log", atOnce},
		{"forbidden", "[[fail 403]]", false, "", atOnce},
		{"no credit", "[[fail 400 Your credit balance is too low to access the Anthropic API.]]", false, "", atOnce},
		{"refused by the model", "[[stop refusal]][[stop refusal]][[stop refusal]]", false, "", atOnce},
		{"limited for longer than the CLI waits", "[[fail 429 retry-after=0]]", true, "", patience},
		{"broken for longer than the CLI waits", "[[fail 500]]", true, "", patience},
		{"overloaded for longer than the CLI waits", "[[fail 529]]", true, "", patience},
	} {
		t.Run(tt.name, func(t *testing.T) {
			everyCLI(t, func(t *testing.T, r *rig) {
				r.team.Env["CLAUDE_CODE_MAX_RETRIES"] = "1"
				k := r.fresh()
				err, o := k.fails(tt.question)
				if err.Retry != tt.retry || !strings.Contains(strings.ToLower(err.Message), tt.says) || o.Took > tt.within {
					t.Errorf("after %v: retry %v, %q", o.Took, err.Retry, err.Message)
				}
				k.says("[[say Still here.]]", "Still here.")
			})
		})
	}
}

func TestWhatTheCLIGetsOver(t *testing.T) {
	for _, tt := range []struct {
		name, question, want string
	}{
		{"a limit that passes", "[[fail 429 times=1 retry-after=1]][[say Here.]]", "Here."},
		{"an overload that passes", "[[fail 529 times=1]][[say Here.]]", "Here."},
		{"a stream that is cut", "[[say One two ]][[wait 300ms]][[cut]][[say three four.]]", "One two three four."},
		{"an answer that is cut by max_tokens", "[[say The first half, ]][[stop max_tokens]][[say the second half.]]", "The first half, the second half."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			everyCLI(t, func(t *testing.T, r *rig) {
				o := r.fresh().says(tt.question, tt.want)
				if got := o.shown(); got != tt.want {
					t.Errorf("a reader of the stream sees %q", got)
				}
			})
		})
	}
}

func TestACutStreamIsTakenBack(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		o := r.fresh().says("[[say Try {try}: one ]][[wait 300ms]][[cut]][[say two.]]", "Try 2: one two.")
		if o.shown() != o.Text || len(o.of(iris.EventRestart)) != 1 {
			t.Errorf("events %+v", o.Events)
		}
	})
}

func TestWithoutALogin(t *testing.T) {
	everyCLI(t, func(t *testing.T, r *rig) {
		r.team.Env["ANTHROPIC_API_KEY"] = ""
		err, o := r.fresh().fails("Hello?")
		if !strings.Contains(err.Message, "log in") || err.Retry || o.Took > atOnce {
			t.Errorf("after %v: retry %v, %q", o.Took, err.Retry, err.Message)
		}
		if n := len(r.model.Requests()); n != 0 {
			t.Errorf("the model was asked %d times", n)
		}
	})
}

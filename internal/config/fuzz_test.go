package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	iris "github.com/iris-mcp/iris-mcp"
)

var seeds = []string{
	"", "# c\n", "{}", "teams:\n", "teams: {}\n", "teams: {a: {path: .}}\n",
	"teams:\n  a: &a\n    path: .\n  b:\n    <<: *a\n", "teams: &t\n  a: *t\n", "<<: {<<: [a]}\n",
	"{\n \"api\": {\"port\": \"${P:-1}\"},\n \"teams\": {\n  \"a\": {\"path\": \"/\"}\n }\n}\n",
	"teams:\r\n  a:\r\n    path: .\r\n\r\n  # b\r\n  b: {path: .}\r\n# end", "a\u2028b: c\nteams: {a: {path: /}}",
	"teams:\n  a:\n    path: .\n    description: |+\n      x\n\n\nqueue: {}\n", "---\nteams:\n...\n", "? teams\n: {a: {path: .}}\n",
	"\ufeffteams: {a: {path: .}}", "api: {auth: {keys: [{name: a, key: iris_sk_12345678, scopes: ['*'], expiresAt: 2020-01-01}]}}",
}

// Whatever the text, it is read or refused; a refusal says what is wrong.
func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse("/nowhere/iris-config.yaml", []byte(text))
		problems, ok := errors.AsType[Problems](err)
		switch {
		case err == nil && c == nil, err != nil && c != nil:
			t.Fatalf("%v and %v", c, err)
		case err != nil && (!ok || len(problems) == 0):
			t.Fatalf("an error that is no list of problems: %v", err)
		}
	})
}

// Whatever the text, an edit keeps all of it and does what it says, or is refused.
func FuzzEdit(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	const file, name = "/nowhere/iris-config.yaml", "fuzz-9"
	f.Fuzz(func(t *testing.T, text string) {
		added, err := addTeam(file, []byte(text), name, toNode(Team{Path: "/", Env: map[string]string{"A": "b"}}))
		if err != nil {
			_, syntax := errors.AsType[Problems](err)
			if !syntax && iris.CodeOf(err) != iris.CodeConflict {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if kept(text, string(added)) < len(text) && !strings.Contains(text, "{}") {
			t.Fatalf("%q\nbecame\n%q", text, added)
		}
		if before, err := parse(file, []byte(text)); err == nil {
			after, err := parse(file, added)
			if err != nil || len(after.Teams) != len(before.Teams)+1 {
				t.Fatalf("%q\nbecame\n%q\n%v", text, added, err)
			}
		}
		removed, err := removeTeam(file, added, name)
		if err != nil {
			return // in braces
		}
		want, _ := open(file, []byte(text))
		if got, err := open(file, removed); err != nil || !slices.Equal(got.names(), want.names()) {
			t.Fatalf("%q\nbecame\n%q\nand then\n%q\n%v", text, added, removed, err)
		}
	})
}

// kept counts the bytes that two texts have in common at both ends.
func kept(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	m := 0
	for m < len(a)-n && m < len(b)-n && a[len(a)-1-m] == b[len(b)-1-m] {
		m++
	}
	return n + m
}

// Whatever the text, a change of a team keeps all that stands before and after the team and
// does what it says, or is refused.
func FuzzChange(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, "new: # x", "A")
	}
	f.Add("teams:\n  a:\n    path: /x # p\n    description: |\n      x\n    env: {A: 1, B: [} # c\n  # b\n  b: {path: /, env: {A: 'it''s'}}\n", "two\nlines", "B")
	f.Add("{\"teams\": {\"a\": {\"path\": \"/\", \"model\": \"x\",\n \"env\": {\"A\": \"1\"}\n}, \"b\": {}}}", "${HOME}", "A")
	const file = "/nowhere/iris-config.yaml"
	f.Fuzz(func(t *testing.T, text, value, variable string) {
		p, err := open(file, []byte(text))
		if err != nil || len(p.names()) == 0 {
			return
		}
		name := p.names()[0]
		_, wrong := parse(file, []byte(text)) // then a key may be there twice
		trail := p.find("teams", name)
		from, to := p.offset(trail.key()), len(text)
		for _, up := range slices.Backward(trail) {
			if next := up.i + 2; next < len(up.in.Content) {
				to = p.offset(up.in.Content[next])
				break
			}
		}
		for _, s := range []iris.Setting{
			{Key: "description", Value: value}, {Key: "env." + variable, Value: value}, {Key: "allowedTools", Value: []string{value, variable}},
			{Key: "warm", Value: 2}, {Key: "description"}, {Key: "path"}, {Key: "env"}, {Key: "env." + variable}, {Key: "allowedTools"},
		} {
			changed, err := changeSetting(file, []byte(text), name, s)
			if err != nil {
				if iris.CodeOf(err) != iris.CodeConflict && (iris.CodeOf(err) != iris.CodeInvalidRequest || utf8.ValidString(value) && utf8.ValidString(variable)) {
					t.Fatalf("%v is refused with %v", s, err)
				}
				continue
			}
			if len(changed) < from+len(text)-to || !strings.HasPrefix(string(changed), text[:from]) || !strings.HasSuffix(string(changed), text[to:]) {
				t.Fatalf("%v: %q\nbecame\n%q", s, text, changed)
			}
			now, err := open(file, changed)
			if err != nil || !slices.Equal(now.names(), p.names()) {
				t.Fatalf("%v: %q\nbecame\n%q\n%v", s, text, changed, err)
			}
			keys := append([]string{"teams", name}, strings.SplitN(s.Key, ".", 2)...)
			if got := now.find(keys...); (len(got) == len(keys)) != (s.Value != nil) && wrong == nil {
				t.Fatalf("%v: %q\nbecame\n%q", s, text, changed)
			}
		}
	})
}

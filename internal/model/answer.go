package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// plan decides what becomes of the question: its markers, the first rule that fits, or the
// default.
func (s *Server) plan(c *conversation) (program, map[string]string, error) {
	if c.text == "" {
		return program{{{verb: "say", text: "Nothing was asked."}}}, nil, nil
	}
	if !c.steered {
		return program{{{verb: "say", text: "Noted."}}}, nil, nil
	}
	steps, err := parse(words(c.text), false)
	if err != nil {
		return nil, nil, err
	}
	if slices.ContainsFunc(steps, step.answers) {
		p, err := rounds(steps)
		return p, nil, err
	}
	p, groups := s.opts.Script.answer(c)
	if p == nil {
		p = program{{{verb: "say", text: defaultAnswer}}}
	}
	// Markers that only hinder, like [[fail 429 times=2]], come before the answer.
	return append(program{slices.Concat(steps, p[0])}, p[1:]...), groups, nil
}

const defaultAnswer = `You asked: “{short}”. {lookup}`

// steps are what is to be done now: the round's steps, a call of ToolSearch where the round
// needs a tool that the CLI has not loaded, or a closing word when the program is over.
func (c *conversation) steps(p program) []step {
	if c.round >= len(p) {
		if c.result() == "" {
			return []step{{verb: "say", text: "That is all."}}
		}
		return []step{{verb: "say", text: "The tool answered: {result}"}}
	}
	round := p[c.round]
	for _, st := range round {
		if st.tool != "" && !slices.Contains(c.tools, st.tool) && c.offers(st.tool) {
			input, _ := json.Marshal(map[string]any{"query": "select:" + st.tool, "max_results": 1}) // strings always can
			return []step{{verb: "load", tool: "ToolSearch", input: input}}
		}
	}
	return round
}

// offers reports whether the model may use the tool, at once or after ToolSearch has loaded it.
func (c *conversation) offers(tool string) bool {
	if slices.Contains(c.tools, tool) {
		return true
	}
	return c.deferred && slices.Contains(strings.Fields(c.mentioned), tool)
}

// value gives the names in braces their meaning; try is how often this was asked.
func (c *conversation) value(groups map[string]string, try func() int) func(string) (string, bool) {
	return func(name string) (string, bool) {
		if v, ok := groups[name]; ok {
			return v, true
		}
		switch name {
		case "question":
			return c.question(), true
		case "short":
			return shorten(c.question()), true
		case "text":
			return c.text, true
		case "earlier":
			return c.remembered(), true
		case "result":
			return c.result(), true
		case "response":
			return c.response(), true
		case "lookup":
			return c.lookup(), true
		case "try":
			return strconv.Itoa(try()), true
		}
		return "", false
	}
}

// shorten cuts a question for a quotation.
func shorten(q string) string {
	if r := []rune(q); len(r) > 200 {
		return string(r[:200]) + "…"
	}
	return q
}

// lookup finds the lines of the project's instructions that have most words in common with
// the question. Below a heading that fits, all lines of its section fit.
func (c *conversation) lookup() string {
	asked := keywords(c.question())
	var best []string
	top := 0
	lines := strings.Split(c.project, "\n")
	for i, line := range lines {
		title, isTitle := strings.CutPrefix(strings.TrimSpace(line), "#")
		found := 0
		for w := range keywords(title) {
			if asked[w] {
				found++
			}
		}
		fits := []string{line}
		if isTitle {
			fits = section(lines[i+1:])
		}
		if found > top && len(fits) > 0 {
			best, top = fits, found
		}
	}
	if best == nil {
		return "I am Iris's scripted model and know only this project's CLAUDE.md, which says nothing about it."
	}
	for i, line := range best {
		best[i] = strings.TrimSpace(strings.TrimLeft(line, " \t-*"))
	}
	return "This project's CLAUDE.md says: " + strings.Join(best, " ")
}

// section is what stands up to the next heading, without empty lines.
func section(lines []string) []string {
	var out []string
	for _, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			break
		}
		if strings.TrimSpace(line) != "" {
			out = append(out, line)
		}
	}
	return out
}

// keywords are the words of a text that carry meaning, in lower case and the singular.
func keywords(text string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if len(w) > 1 && !common[w] {
			out[cmp.Or(strings.TrimSuffix(w, "s"), w)] = true
		}
	}
	return out
}

var common = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`a about all also an and any are as ask at be by can could did do does for from has have how i if in is it its
		me my now of on or our please say should so tell that the their them there they this to use was we were what when where which who why
		will with would you your`) {
		m[w] = true
	}
	return m
}()

// sideAnswer answers what is no conversation, so that the CLI is content and goes on.
func sideAnswer(kind string, req *apiRequest, c *conversation) string {
	switch kind {
	case "format":
		fields := map[string]string{}
		for _, name := range req.Output.Format.Schema.Required {
			fields[name] = "Scripted conversation"
		}
		out, _ := json.Marshal(fields) // strings always can
		return string(out)
	case "summary":
		return fmt.Sprintf("<analysis>A conversation with a scripted model.</analysis>\n<summary>The user asked:\n%s</summary>", c.remembered())
	}
	return "ok"
}

package agenttest

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// step is one marker.
type step struct {
	verb, arg string
}

// steps are the markers of a text.
func steps(s string) []step {
	var all []step
	for {
		_, rest, ok := strings.Cut(s, "[[")
		if !ok {
			return all
		}
		end := strings.Index(rest, "]]")
		if end < 0 {
			return all
		}
		verb, arg, _ := strings.Cut(rest[:end], " ")
		all = append(all, step{verb, arg})
		s = rest[end+2:]
	}
}

// rules are a script: the steps for the messages that contain a word, in order.
type rules []struct {
	word  string
	steps []step
}

func parseRules(script string) rules {
	var all rules
	for line := range strings.Lines(script) {
		if word, reply, ok := strings.Cut(line, ": "); ok {
			all = append(all, struct {
				word  string
				steps []step
			}{strings.TrimSpace(word), steps(reply)})
		}
	}
	return all
}

// start are the steps before the CLI is ready.
func (r rules) start() []step {
	for _, rule := range r {
		if rule.word == "start" {
			return rule.steps
		}
	}
	return nil
}

// reply are the steps that answer a question.
func (r rules) reply(question string) []step {
	if own := steps(question); len(own) > 0 {
		return own
	}
	for _, rule := range r {
		if rule.word != "start" && (rule.word == "*" || strings.Contains(question, rule.word)) {
			return rule.steps
		}
	}
	return []step{{"say", "You said: {question}"}}
}

// question is what the caller said, without what Iris puts before it and between its signs.
func question(prompt string) string {
	if strings.HasPrefix(prompt, "Message through Iris from ") {
		_, prompt, _ = strings.Cut(prompt, "\n\n")
	}
	return strings.ReplaceAll(prompt, "@\u200b", "@")
}

// fill replaces the names in braces.
func (p *player) fill(s string) string {
	cwd, _ := os.Getwd()
	s = strings.NewReplacer(
		"{question}", question(p.prompt),
		"{prompt}", p.prompt,
		"{earlier}", strings.Join(p.earlier, "\n"),
		"{pid}", strconv.Itoa(os.Getpid()),
		"{cwd}", cwd,
	).Replace(s)
	for {
		before, rest, ok := strings.Cut(s, "{env ")
		name, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			return s
		}
		s = before + os.Getenv(name) + after
	}
}

func (s step) duration() time.Duration {
	d, err := time.ParseDuration(s.arg)
	if err != nil {
		panic("agenttest: [[" + s.verb + " " + s.arg + "]]: " + err.Error())
	}
	return d
}

// look is how often it is looked whether a step is fulfilled: its file is there.
const look = 5 * time.Millisecond

func (s step) fulfilled() bool {
	_, err := os.Stat(s.arg)
	return err == nil
}

func (s step) number() int {
	n, err := strconv.Atoi(s.arg)
	if err != nil {
		panic("agenttest: [[" + s.verb + " " + s.arg + "]]: " + err.Error())
	}
	return n
}

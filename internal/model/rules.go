package model

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"gopkg.in/yaml.v3"
)

// Script is what a script file says: rules for questions that carry no markers. The first
// one that matches answers. It is YAML (so JSON will do):
//
//	rules:
//	  - match: '(?i)which (?P<what>\w+) versions'   # a regular expression on the question
//	    project: '(?i)versions: (?P<list>.+)'        # optional: one on the project's CLAUDE.md
//	    tools: [mcp__iris__ask_team]                 # optional: only where these are offered
//	    reply: 'We support {list}.'
//
// Named groups of both expressions are names in braces for the reply, beside those of the
// package comment. A reply is text and markers; what a group matched is text, whatever it
// looks like.
type Script struct {
	rules []rule
}

type rule struct {
	match, project *regexp.Regexp // project may be nil
	tools          []string
	reply          program
}

// ParseScript reads the text of a script file. Its errors name the rule.
func ParseScript(data []byte) (*Script, error) {
	var file struct {
		Rules []struct {
			Match   string
			Project string
			Tools   []string
			Reply   string
		}
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil && !errors.Is(err, io.EOF) { // EOF: an empty file has no rules
		return nil, err
	}
	s := &Script{}
	for i, r := range file.Rules {
		made, err := compile(r.Match, r.Project, r.Reply)
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
		made.tools = r.Tools
		s.rules = append(s.rules, made)
	}
	return s, nil
}

func compile(match, project, reply string) (r rule, err error) {
	if match == "" || reply == "" {
		return r, errors.New("a rule needs match and reply")
	}
	if r.match, err = regexp.Compile(match); err != nil {
		return r, fmt.Errorf("match: %w", err)
	}
	if project != "" {
		if r.project, err = regexp.Compile(project); err != nil {
			return r, fmt.Errorf("project: %w", err)
		}
	}
	steps, err := parse(reply, true)
	if err != nil {
		return r, fmt.Errorf("reply: %w", err)
	}
	r.reply, err = rounds(steps)
	return r, err
}

//go:embed demo.yaml
var demo []byte

// Demo is the script of `iris-mcp demo`.
func Demo() *Script {
	s, err := ParseScript(demo)
	if err != nil {
		panic("the demo's script: " + err.Error()) // it is part of the program; a test reads it
	}
	return s
}

// answer is the reply of the first rule that fits, and what its groups matched.
func (s *Script) answer(c *conversation) (program, map[string]string) {
	if s == nil {
		return nil, nil
	}
	question := c.question()
	for _, r := range s.rules {
		groups := map[string]string{}
		if !found(r.match, question, groups) || r.project != nil && !found(r.project, c.project, groups) {
			continue
		}
		if slices.ContainsFunc(r.tools, func(t string) bool { return !c.offers(t) }) {
			continue
		}
		return r.reply, groups
	}
	return nil, nil
}

func found(re *regexp.Regexp, text string, groups map[string]string) bool {
	m := re.FindStringSubmatch(text)
	for i, name := range re.SubexpNames() {
		if m != nil && name != "" {
			groups[name] = m[i]
		}
	}
	return m != nil
}

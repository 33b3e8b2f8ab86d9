package config

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong with the file.
type Problem struct {
	File   string
	Line   int    // from 1; 0 when it is about the file as a whole
	Column int    // from 1, in characters; 0 when only the line is known
	Key    string // teams.backend.path, api.auth.keys[0].scopes; empty for syntax
	Text   string // what is wrong and what to do
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Column > 0 {
		fmt.Fprintf(&b, ":%d", p.Column)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is everything that is wrong with a file, in the file's order. It is the error that
// Load returns for a file that it could read but not accept.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// sorted puts the problems in the order of the file.
func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return p
}

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)
	// what its parser says, as against its scanner
	yamlParser = regexp.MustCompile(`^did not find expected (?:<|node content|'-' indicator|key|',' or)`)
)

// syntax makes a problem of what yaml.v3 says. Its parser counts lines from 0 and its scanner
// from 1 (parser.fail in its decode.go); both leave out a 0. It knows no columns, and no line
// at all for an alias without its anchor.
func syntax(file string, err error) Problems {
	text := err.Error()
	line := 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		n, _ := strconv.Atoi(m[1])
		if yamlParser.MatchString(text) {
			n++
		}
		line = max(n, 1)
	}
	if strings.HasPrefix(text, "unknown anchor") {
		line = 0
	}
	if strings.Contains(text, "cannot start any token") {
		text += " (a tab, or a value that begins with @, % or a backquote): indent with blanks, put the value in quotes"
	}
	return Problems{{File: file, Line: line, Text: "not valid YAML: " + text}}
}

// foreign finds the first thing in the text that no YAML file has; yaml.v3 would not say
// where it is.
func foreign(file string, text []byte) Problems {
	for i, char := range string(text) {
		says := ""
		switch {
		case char == utf8.RuneError && !bytes.HasPrefix(text[i:], []byte("\uFFFD")):
			says = "not UTF-8 text"
		case char < ' ' && char != '\n' && char != '\r' && char != '\t', char == 0x7f:
			says = fmt.Sprintf("the control character %U", char)
		default:
			continue
		}
		before := text[:i]
		start := bytes.LastIndexByte(before, '\n') + 1
		return Problems{{File: file, Line: 1 + bytes.Count(before, []byte("\n")),
			Column: 1 + utf8.RuneCount(before[start:]), Text: "not valid YAML: " + says}}
	}
	return nil
}

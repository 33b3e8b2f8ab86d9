package config

import (
	"bytes"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// page is a file as text and as nodes at once: the nodes say where, the text is what changes.
// Writing the nodes back would lose blank lines, the alignment of comments, indentation and
// folded lines all over the file.
type page struct {
	file  string
	lines []string // with their line breaks
	eol   string   // the file's line break
	root  *yaml.Node
	key   int        // of teams in root.Content; -1 if there is none
	teams *yaml.Node // its value
	at    int        // the line that an edit is about
}

func open(file string, text []byte) (*page, error) {
	root, problems := nodes(file, text)
	if problems != nil {
		return nil, problems
	}
	p := &page{file: file, root: root, key: -1, eol: "\n"}
	p.lines = splitLines(string(text))
	if len(p.lines) > 0 && strings.HasSuffix(p.lines[0], "\r\n") {
		p.eol = "\r\n"
	}
	if root.Kind == yaml.MappingNode {
		for i := 0; i < len(root.Content); i += 2 {
			if root.Content[i].Value == "teams" {
				p.key, p.teams = i, root.Content[i+1]
				p.at = root.Content[i].Line
			}
		}
	}
	return p, nil
}

// splitLines splits where YAML 1.1 does, which yaml.v3 counts by: also at the line breaks of
// Unicode.
func splitLines(text string) []string {
	var lines []string
	for text != "" {
		end := len(text)
		if i := strings.IndexAny(text, "\r\n\u0085\u2028\u2029"); i >= 0 {
			_, size := utf8.DecodeRuneInString(text[i:])
			end = i + size
			if strings.HasPrefix(text[i:], "\r\n") {
				end++
			}
		}
		lines = append(lines, text[:end])
		text = text[end:]
	}
	return lines
}

// team is where a team's key stands in teams.Content, or -1.
func (p *page) team(name string) int {
	if p.teams == nil || p.teams.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i < len(p.teams.Content); i += 2 {
		if p.teams.Content[i].Value == name {
			return i
		}
	}
	return -1
}

func (p *page) names() []string {
	var names []string
	if p.teams != nil && p.teams.Kind == yaml.MappingNode {
		for i := 0; i < len(p.teams.Content); i += 2 {
			names = append(names, p.teams.Content[i].Value)
		}
	}
	return names
}

// put adds the entry to the nodes.
func (p *page) put(entry *yaml.Node) {
	if p.root.Kind == 0 {
		*p.root = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	}
	switch {
	case p.key < 0:
		p.root.Content = append(p.root.Content, textNode("teams"), entry)
	case hollow(p.teams):
		*p.teams = *entry
	case inBraces(p.teams): // there the first place is the one that can be found
		p.teams.Content = append(slices.Clone(entry.Content), p.teams.Content...)
	default:
		p.teams.Content = append(p.teams.Content, entry.Content...)
	}
	if p.key < 0 && inBraces(p.root) {
		n := len(p.root.Content) - 2
		p.root.Content = append(p.root.Content[n:n+2:n+2], p.root.Content[:n]...)
	}
}

func inBraces(n *yaml.Node) bool { return n.Style&yaml.FlowStyle != 0 }

// insert gives the text with the entry, a mapping of one name and its team.
func (p *page) insert(entry *yaml.Node) (string, error) {
	all := &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{textNode("teams"), entry}}
	const step = 2
	switch {
	case p.root.Kind == 0:
		return p.append(p.block(all, 0, step)), nil
	case p.root.Kind != yaml.MappingNode:
		return "", p.refuse(p.root.Line, "the top of the file must be a mapping with the key teams")
	case p.key < 0 && inBraces(p.root):
		return p.brace(p.root, all), nil
	case p.key < 0:
		return p.append(p.block(all, p.root.Column-1, step)), nil
	}
	indent := p.root.Content[p.key].Column - 1
	switch {
	case p.teams.Anchor != "":
		return "", p.refuse(p.at, "other parts of the file may use the teams' anchor; add the team by hand")
	case p.teams.Kind == yaml.ScalarNode && p.teams.Value == "" && p.teams.Tag == "!!null":
		return p.splice(p.at, p.at, p.block(entry, indent+step, step)), nil
	case p.teams.Kind == yaml.MappingNode && len(p.teams.Content) == 0 && !inBraces(p.root):
		if head, tail, ok := p.around(p.teams, "{}"); ok {
			p.lines[p.teams.Line-1] = strings.TrimRight(head, " ") + tail
			return p.splice(p.teams.Line, p.teams.Line, p.block(entry, indent+step, step)), nil
		}
		return p.brace(p.teams, entry), nil
	case p.teams.Kind == yaml.MappingNode && inBraces(p.teams):
		return p.brace(p.teams, entry), nil
	case p.teams.Kind == yaml.MappingNode:
		return p.below(p.find("teams"), entry), nil
	}
	return "", p.refuse(p.at, "teams must be a mapping of names; add the team by hand")
}

// below puts the entry after the last pair of the mapping that the trail leads to, indented
// and spaced as those before it are.
func (p *page) below(t trail, entry *yaml.Node) string {
	n := t.value()
	first, value := n.Content[0], n.Content[1]
	indent := first.Column - 1
	step := indent - (t.key().Column - 1)
	if value.Kind == yaml.MappingNode && !inBraces(value) && value.Line > first.Line {
		step = value.Content[0].Column - first.Column
	}
	end := p.end(append(t, pair{n, len(n.Content) - 2}), func(in int) bool { return in < indent })
	added := p.block(entry, indent, max(step, 1))
	if len(t) == 1 && len(n.Content) > 2 && blank(p.lines[p.head(n.Content[2])-1]) { // a team
		added = append([]string{p.eol}, added...)
	}
	return p.splice(end, end, added)
}

// cut gives the text without the lines of a pair.
func (p *page) cut(t trail) string {
	last := t[len(t)-1]
	indent := t.key().Column - 1
	from := p.head(t.key())
	to := p.end(t, func(in int) bool { return in <= indent })
	only, first := len(last.in.Content) == 2, last.i == 0
	for to < len(p.lines) && blank(p.lines[to]) && !only && (first || blank(p.lines[from-1])) {
		to++
	}
	for to == len(p.lines) && from > 0 && blank(p.lines[from-1]) {
		from--
	}
	return p.splice(from, to, nil)
}

// head is the index of the line where a pair begins: that of its key, or of the comment
// directly above it that is indented as the key is.
func (p *page) head(key *yaml.Node) int {
	at := key.Line - 1
	for at > 0 && comment(p.lines[at-1]) && indentOf(p.lines[at-1]) == key.Column-1 {
		at--
	}
	return at
}

// end is the index of the line after a pair's last: the next key, of whatever mapping, less
// the blank lines and the comments above it that are foreign to the pair by their indentation.
func (p *page) end(t trail, foreign func(indent int) bool) int {
	at := len(p.lines)
	for _, up := range slices.Backward(t) {
		if next := up.i + 2; next < len(up.in.Content) {
			at = up.in.Content[next].Line - 1
			break
		}
	}
	for at > t.key().Line && (blank(p.lines[at-1]) || comment(p.lines[at-1]) && foreign(indentOf(p.lines[at-1]))) {
		at--
	}
	return at
}

// append gives the text with a block after its end, and a blank line between.
func (p *page) append(block []string) string {
	if n := len(p.lines); n > 0 && !blank(p.lines[n-1]) {
		block = append([]string{p.eol}, block...)
	}
	return p.splice(len(p.lines), len(p.lines), block)
}

// splice gives the text with the lines from…to replaced.
func (p *page) splice(from, to int, by []string) string {
	if n := len(p.lines); from == n && n > 0 && len(by) > 0 && !strings.HasSuffix(p.lines[n-1], "\n") {
		p.lines[n-1] += p.eol
	}
	return strings.Join(slices.Concat(p.lines[:from], by, p.lines[to:]), "")
}

// brace gives the text with the entry as the first in the braces of a mapping; in a line of
// its own if the first there has one.
func (p *page) brace(n, entry *yaml.Node) string {
	head, tail, ok := p.around(n, "{")
	if !ok {
		return "" // no text is what is wanted: the edit is refused
	}
	inner := strings.TrimSpace(strings.Join(p.block(jsonLike(entry), 0, 2), " "))
	inner = strings.TrimSuffix(strings.TrimPrefix(inner, "{"), "}")
	switch {
	case len(n.Content) == 0:
		head += "{" + inner
	case n.Content[0].Line > n.Line:
		head += "{" + p.eol + strings.Repeat(" ", n.Content[0].Column-1) + inner + ","
	default:
		head += "{" + inner + ", "
	}
	p.lines[n.Line-1] = head + tail
	return strings.Join(p.lines, "")
}

// around splits the line of a node at a mark that the node begins with.
func (p *page) around(n *yaml.Node, mark string) (head, tail string, ok bool) {
	line := []rune(p.lines[n.Line-1])
	if n.Column > len(line) {
		return "", "", false
	}
	tail, ok = strings.CutPrefix(string(line[n.Column-1:]), mark)
	return string(line[:n.Column-1]), tail, ok
}

// block writes a mapping in lines.
func (p *page) block(n *yaml.Node, indent, step int) []string {
	var text bytes.Buffer
	enc := yaml.NewEncoder(&text)
	enc.SetIndent(step)
	_ = enc.Encode(n) // goodTeam wrote the same
	_ = enc.Close()
	var lines []string
	for line := range strings.Lines(text.String()) {
		line = strings.TrimSuffix(line, "\n")
		if line != "" {
			line = strings.Repeat(" ", indent) + line
		}
		lines = append(lines, line+p.eol)
	}
	return lines
}

// jsonLike has a mapping written in braces, as JSON does.
func jsonLike(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = nil
	for _, child := range n.Content {
		c.Content = append(c.Content, jsonLike(child))
	}
	if c.Kind == yaml.ScalarNode {
		if c.Tag == "!!str" {
			c.Style = yaml.DoubleQuotedStyle
		}
	} else {
		c.Style = yaml.FlowStyle
	}
	return &c
}

func blank(line string) bool   { return strings.TrimSpace(line) == "" }
func comment(line string) bool { return strings.HasPrefix(strings.TrimSpace(line), "#") }
func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func textNode(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	if strings.Contains(text, "\n") {
		n.Style = yaml.LiteralStyle
	}
	return n
}

// toNode writes a value as the reader reads it; what is zero is left out.
func toNode(value any) *yaml.Node {
	v := reflect.ValueOf(value)
	switch x := value.(type) {
	case time.Duration:
		return textNode(formatDuration(x))
	case int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(x)}
	}
	switch v.Kind() {
	case reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, f := range fields(v) {
			if !f.value.IsZero() {
				n.Content = append(n.Content, textNode(f.key), toNode(f.value.Interface()))
			}
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			n.Content = append(n.Content, textNode(k.String()), toNode(v.MapIndex(k).Interface()))
		}
		return n
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range v.Len() {
			n.Content = append(n.Content, toNode(v.Index(i).Interface()))
		}
		return n
	}
	return textNode(literal(v.String()))
}

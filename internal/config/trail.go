package config

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// trail leads to a pair: the pairs that hold it, the outermost first, and itself.
type trail []pair

// pair is a key in.Content[i] and its value after it.
type pair struct {
	in *yaml.Node // a mapping
	i  int
}

func (t trail) key() *yaml.Node    { return t[len(t)-1].in.Content[t[len(t)-1].i] }
func (t trail) value() *yaml.Node  { return t[len(t)-1].in.Content[t[len(t)-1].i+1] }
func (t trail) holder() *yaml.Node { return t[len(t)-1].in }

// find goes down by the keys, as far as there are such.
func (p *page) find(keys ...string) trail {
	var t trail
	n := p.root
	for _, key := range keys {
		if n.Kind != yaml.MappingNode {
			break
		}
		i := 0
		for i < len(n.Content) && n.Content[i].Value != key {
			i += 2
		}
		if i == len(n.Content) {
			break
		}
		t = append(t, pair{n, i})
		n = n.Content[i+1]
	}
	return t
}

// set, add and drop change the nodes alone: they say what an edit of the text must come to.
func (t trail) set(value *yaml.Node) { t.holder().Content[t[len(t)-1].i+1] = value }

func (t trail) add(entry *yaml.Node) {
	switch n := t.value(); {
	case hollow(n):
		*n = *entry
	case inBraces(n):
		n.Content = append(slices.Clone(entry.Content), n.Content...)
	default:
		n.Content = append(n.Content, entry.Content...)
	}
}

func (t trail) drop() {
	in, i := t.holder(), t[len(t)-1].i
	in.Content = slices.Delete(in.Content, i, i+2)
}

// putInto gives the text with the entry in the mapping that the trail leads to; no text where
// there is no way.
func (p *page) putInto(t trail, entry *yaml.Node) string {
	switch n := t.value(); {
	case hollow(n):
		return p.replace(t, entry)
	case n.Kind != yaml.MappingNode:
		return ""
	case inBraces(n):
		return p.brace(n, entry)
	default:
		return p.below(t, entry)
	}
}

// replace gives the text with another value for a pair. Its key, and the comment on the key's
// line, stay as they are.
func (p *page) replace(t trail, value *yaml.Node) string {
	key, old := t.key(), t.value()
	if inBraces(t.holder()) {
		text, from := p.text(), p.offset(old)
		return text[:from] + p.inline(jsonLike(value)) + text[tokenEnd(text, from, true):]
	}
	line := p.lines[key.Line-1]
	colon := tokenEnd(line, p.column(key), true)
	colon = len(line) - len(strings.TrimLeft(line[colon:], " \t"))
	if colon >= len(line) || line[colon] != ':' {
		return ""
	}
	head, gap, tail := line[:colon+1], " ", strings.TrimRight(line[colon+1:], "\r\n")
	if from := p.column(old); old.Line == key.Line && from > colon && from < len(line) && !blank(tail) && !comment(tail) {
		gap = line[colon+1 : from]
		tail = strings.TrimRight(line[min(tokenEnd(line, from, false), len(line)):], "\r\n")
	}
	switch {
	case comment(tail):
	case !blank(tail):
		return ""
	case old.LineComment != "": // at the end of text over several lines
		tail = " " + old.LineComment
	default:
		tail = ""
	}
	if inBraces(old) && len(old.Content) > 0 && value.Kind != yaml.ScalarNode {
		flow := *value
		flow.Style = yaml.FlowStyle
		value = &flow
	}
	step := 2
	if t.holder().Column > 1 && len(t) > 1 {
		step = max(1, key.Column-t[len(t)-2].in.Content[t[len(t)-2].i].Column)
	}
	lines := p.block(mapping("k", value), key.Column-1, step)
	first := strings.TrimRight(strings.TrimPrefix(strings.TrimLeft(lines[0], " "), "k:"), "\r\n")
	if inline, ok := strings.CutPrefix(first, " "); ok {
		first = gap + inline
	}
	lines[0] = head + first + tail + p.eol
	end := p.end(t, func(in int) bool { return in <= key.Column-1 })
	if end == len(p.lines) && !strings.HasSuffix(p.lines[end-1], "\n") {
		lines[len(lines)-1] = strings.TrimRight(lines[len(lines)-1], "\r\n")
	}
	return p.splice(key.Line-1, end, lines)
}

// drop gives the text without a pair.
func (p *page) drop(t trail) string {
	if !inBraces(t.holder()) {
		return p.cut(t)
	}
	in, i := t.holder(), t[len(t)-1].i
	text := p.text()
	from, to := p.offset(in.Content[i]), tokenEnd(text, p.offset(in.Content[i+1]), true)
	switch {
	case i+2 < len(in.Content) && in.Content[i+2].Line > t.value().Line && p.leads(in.Content[i]):
		// It has its lines for itself: they go, and the comma with them.
		comma := len(text) - len(strings.TrimLeft(text[to:], " \t"))
		if !strings.HasPrefix(text[comma:], ",") {
			return ""
		}
		rest, _, _ := strings.Cut(text[comma+1:], "\n")
		if strings.TrimSpace(rest) != "" && !comment(rest) {
			return ""
		}
		from -= p.column(in.Content[i])
		to = comma + 1 + len(rest) + 1
	case i+2 < len(in.Content):
		to = p.offset(in.Content[i+2])
	case i > 0:
		from = tokenEnd(text, p.offset(in.Content[i-1]), true)
	}
	if from > to || to > len(text) {
		return ""
	}
	return text[:from] + text[to:]
}

// leads reports whether the node is the first thing in its line.
func (p *page) leads(n *yaml.Node) bool {
	return blank(p.lines[n.Line-1][:p.column(n)])
}

func (p *page) text() string { return strings.Join(p.lines, "") }

// offset is where a node begins in the text, in bytes.
func (p *page) offset(n *yaml.Node) int {
	at := p.column(n)
	for _, line := range p.lines[:n.Line-1] {
		at += len(line)
	}
	return at
}

// column is where a node begins in its line, in bytes.
func (p *page) column(n *yaml.Node) int {
	line, at := p.lines[n.Line-1], 0
	for i := range line {
		if at++; at == n.Column {
			return i
		}
	}
	return len(line)
}

// inline writes a value within a line.
func (p *page) inline(value *yaml.Node) string {
	text := strings.TrimSpace(strings.Join(p.block(jsonLike(mapping("k", value)), 0, 2), " "))
	return strings.TrimSuffix(strings.TrimPrefix(text, `{"k": `), "}")
}

// tokenEnd is where what begins at an offset ends: quoted text, a collection in brackets, or
// plain text, which in braces ends at their marks too. It is a guess where YAML is odd, and
// every edit is held against what it was to come to.
func tokenEnd(text string, from int, braced bool) int {
	if from >= len(text) {
		return from
	}
	switch text[from] {
	case '"', '\'':
		return quotedEnd(text, from)
	case '{', '[':
		return bracketEnd(text, from)
	}
	end := from
	for end < len(text) && !strings.ContainsRune("\r\n", rune(text[end])) {
		next := byte('\n')
		if end+1 < len(text) {
			next = text[end+1]
		}
		if braced && strings.IndexByte(",[]{}", text[end]) >= 0 || braced && text[end] == ':' && strings.IndexByte(" \t\r\n,", next) >= 0 ||
			text[end] == '#' && end > from && (text[end-1] == ' ' || text[end-1] == '\t') {
			break
		}
		end++
	}
	return from + len(strings.TrimRight(text[from:end], " \t"))
}

func quotedEnd(text string, from int) int {
	quote := text[from]
	for i := from + 1; i < len(text); i++ {
		switch {
		case quote == '"' && text[i] == '\\':
			i++
		case quote == '\'' && strings.HasPrefix(text[i:], "''"):
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return len(text)
}

func bracketEnd(text string, from int) int {
	depth := 0
	for i := from; i < len(text); i++ {
		before := byte(' ')
		if i > 0 {
			before = text[i-1]
		}
		switch c := text[i]; {
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		case (c == '"' || c == '\'') && strings.IndexByte(" \t\r\n,:[{", before) >= 0:
			i = quotedEnd(text, i) - 1
		case c == '#' && strings.IndexByte(" \t\r\n", before) >= 0:
			for i < len(text) && text[i] != '\n' {
				i++
			}
		}
	}
	return len(text)
}

func mapping(key string, value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{textNode(key), value}}
}

package config

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	iris "github.com/iris-mcp/iris-mcp"
)

// reader walks the YAML nodes beside the Go types and notes every problem on the way. It is
// bounded by the types, which do not refer to themselves, so an anchor that contains itself
// cannot lead it in circles.
type reader struct {
	file     string
	problems Problems
	failed   map[string]bool         // keys whose values could not be read
	values   map[*yaml.Node]bool     // scalars that were expanded; true: and changed by it
	names    map[*yaml.Node][]string // the variables that they named
	secrets  []string                // the variables that secrets named
	said     []said                  // what the file says, in its order
	at       map[string]*said        // the same by key
}

// said is a key that the file has.
type said struct {
	key     string // teams.backend.path, api.auth.keys[0].name
	pattern string // teams.*.path, api.auth.keys[].name
	text    string // of a scalar, expanded
	line    int
	column  int

	fromEnv bool // a scalar in which something was expanded
}

func newReader(file string) *reader {
	return &reader{
		file:   file,
		failed: map[string]bool{},
		values: map[*yaml.Node]bool{},
		names:  map[*yaml.Node][]string{},
		at:     map[string]*said{},
	}
}

func (r *reader) problem(line, column int, key, format string, args ...any) {
	r.problems = append(r.problems, Problem{
		File: r.file, Line: line, Column: column, Key: key, Text: fmt.Sprintf(format, args...),
	})
}

// fail notes a problem with a node that cannot be read.
func (r *reader) fail(n *yaml.Node, key, format string, args ...any) {
	r.failed[key] = true
	r.problem(n.Line, n.Column, key, format, args...)
}

// wrong notes a problem with a key, at the place of the nearest thing that the file says;
// but not with what could not even be read.
func (r *reader) wrong(key, format string, args ...any) {
	for k := range upward(key) {
		if r.failed[k] {
			return
		}
	}
	var line, column int
	if s := r.nearest(key); s != nil {
		line, column = s.line, s.column
	}
	r.problem(line, column, key, format, args...)
}

// upward yields the key and then those that hold it, the nearest first.
func upward(key string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for yield(key) {
			i := strings.LastIndexAny(key, ".[")
			if i < 0 {
				return
			}
			key = key[:i]
		}
	}
}

// nearest is what the file says under the key or the nearest one that holds it.
func (r *reader) nearest(key string) *said {
	for k := range upward(key) {
		if s := r.at[k]; s != nil {
			return s
		}
	}
	return nil
}

// path is a key on its way down, as it is and as a pattern.
type path struct{ key, pattern string }

func (p path) field(name string) path {
	return path{strings.TrimPrefix(p.key+"."+name, "."), strings.TrimPrefix(p.pattern+"."+name, ".")}
}

func (p path) entry(name string) path { return path{p.key + "." + name, p.pattern + ".*"} }

func (p path) item(i int) path {
	return path{p.key + "[" + strconv.Itoa(i) + "]", p.pattern + "[]"}
}

// say remembers that the file has the key, and gives its value, expanded. The place of a
// mapping, a list or nothing is that of its key.
func (r *reader) say(p path, place, value *yaml.Node) *yaml.Node {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if _, done := r.values[value]; !done && value.Kind == yaml.ScalarNode {
		text, names, err := expandText(value.Value)
		r.values[value], r.names[value] = text != value.Value, names
		if err != nil {
			r.fail(value, p.key, "%s", err)
		}
		value.Value = text
	}
	s := &said{key: p.key, pattern: p.pattern, line: place.Line, column: place.Column}
	if value.Kind == yaml.ScalarNode && !r.nothing(value, wantText) || value.Value == "~" {
		s.text, s.line, s.column, s.fromEnv = value.Value, value.Line, value.Column, r.values[value]
	}
	r.said = append(r.said, *s)
	r.at[p.key] = s
	return value
}

// read reads the node into v, which holds the default. Nothing (null, or a variable without a
// value) leaves it as it is.
func (r *reader) read(n *yaml.Node, v reflect.Value, tag reflect.StructTag, p path) {
	kind := kindOf(v.Type())
	if r.failed[p.key] || r.nothing(n, kind) {
		return
	}
	switch n.Tag {
	case "", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!map", "!!seq", "!!merge":
	default:
		r.fail(n, p.key, "the tag %s means nothing here; remove it", n.Tag)
		return
	}
	switch kind {
	case wantStruct, wantMap:
		r.mapping(n, v, p)
	case wantList:
		r.list(n, v, tag, p)
	default:
		r.scalar(n, v, kind, tag, p)
	}
}

// nothing reports whether the node says nothing: null, a variable without a value, or an
// empty text where no text is wanted.
func (r *reader) nothing(n *yaml.Node, kind want) bool {
	switch {
	case n.Kind != yaml.ScalarNode:
		return n.Kind == 0
	case n.Value == "":
		return kind != wantText || r.values[n] || n.Tag == "!!null"
	default:
		return n.Tag == "!!null" && !r.values[n]
	}
}

func (r *reader) list(n *yaml.Node, v reflect.Value, tag reflect.StructTag, p path) {
	if n.Kind != yaml.SequenceNode {
		r.fail(n, p.key, "must be a list, not %s: [a, b]", shape(n))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		at := p.item(i)
		value := r.say(at, item, item)
		if r.nothing(value, kindOf(v.Type().Elem())) {
			r.fail(item, at.key, "is empty; remove it or fill it in")
		}
		r.read(value, list.Index(i), tag, at)
	}
	v.Set(list)
}

func (r *reader) mapping(n *yaml.Node, v reflect.Value, p path) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, p.key, "must be a mapping, not %s: a block of `key: value` lines", shape(n))
		return
	}
	if v.Kind() == reflect.Map && v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for key, value := range r.pairs(n, p) {
		if v.Kind() == reflect.Map {
			at := p.entry(key.Value)
			entry := reflect.New(v.Type().Elem()).Elem()
			r.read(r.say(at, key, value), entry, "", at)
			v.SetMapIndex(reflect.ValueOf(key.Value), entry)
			continue
		}
		at := p.field(key.Value)
		if f, ok := fieldOf(v, key.Value); ok {
			r.read(r.say(at, key, value), f.value, f.tag, at)
		} else {
			r.fail(key, at.key, "unknown key; %s", advice(v.Type(), at, key.Value))
		}
	}
}

// pairs yields the keys of a mapping and their values, and then those merged in by << that
// it has not itself. Of two that are merged in the first wins.
func (r *reader) pairs(n *yaml.Node, p path) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		first := map[string]*yaml.Node{}
		visited := map[*yaml.Node]bool{} // a mapping may be merged into itself
		for waiting := []*yaml.Node{n}; len(waiting) > 0; waiting = waiting[1:] {
			m := waiting[0]
			if m.Kind == yaml.AliasNode {
				m = m.Alias
			}
			if visited[m] {
				continue
			}
			visited[m] = true
			switch m.Kind {
			case yaml.SequenceNode:
				waiting = append(waiting, m.Content...)
				continue
			case yaml.ScalarNode:
				r.fail(m, p.key, "<< takes a mapping, not a single value")
				continue
			}
			for i := 0; i+1 < len(m.Content); i += 2 {
				key, value := m.Content[i], m.Content[i+1]
				if key.Kind == yaml.AliasNode {
					key = key.Alias
				}
				switch {
				case key.Kind != yaml.ScalarNode:
					r.fail(key, p.key, "a key must be a word, not %s", shape(key))
				case key.Tag == "!!merge":
					waiting = append(waiting, value)
				case first[key.Value] == nil:
					first[key.Value] = key
					if !yield(key, value) {
						return
					}
				case m == n:
					r.fail(key, p.field(key.Value).key, "is there already, on line %d", first[key.Value].Line)
				}
			}
		}
	}
}

// scalar reads one value and holds it to its field's tags.
func (r *reader) scalar(n *yaml.Node, v reflect.Value, kind want, tag reflect.StructTag, p path) {
	fail := func(format string, args ...any) { r.fail(n, p.key, format, args...) }
	if n.Kind != yaml.ScalarNode {
		fail("must be %s, not %s", kind.describe(tag), shape(n))
		return
	}
	if strings.ContainsRune(n.Value, 0) {
		fail("must not contain a zero byte")
		return
	}
	var err error
	switch value := v.Addr().Interface().(type) {
	case *time.Duration:
		*value, err = parseDuration(n.Value)
	case *Bytes:
		*value, err = parseBytes(n.Value)
	case *time.Time:
		*value, err = parseTime(n.Value)
	case *netip.Prefix:
		*value, err = parsePrefix(n.Value)
	case *bool:
		*value, err = parseBool(n.Value)
	case *Secret:
		*value = Secret(n.Value)
		r.secrets = append(r.secrets, r.names[n]...)
	case *int:
		if *value, err = strconv.Atoi(n.Value); err != nil {
			err = errNotThat
			break
		}
		least, hasLeast := bound(tag, "min")
		most, hasMost := bound(tag, "max")
		switch {
		case hasLeast && hasMost && (*value < least || *value > most):
			err = fmt.Errorf("must be from %d to %d, not %d", least, most, *value)
		case hasLeast && *value < least:
			err = fmt.Errorf("must be at least %d, not %d", least, *value)
		}
	default:
		v.SetString(n.Value)
		if words := strings.Fields(tag.Get("oneof")); len(words) > 0 && !slices.Contains(words, n.Value) {
			err = errNotThat
		}
	}
	switch {
	case errors.Is(err, errNotThat) && r.values[n]: // what the environment has may be secret
		fail("must be %s; what the variable gives is not", kind.describe(tag))
	case errors.Is(err, errNotThat):
		near := iris.Closest(n.Value, strings.Fields(tag.Get("oneof")))
		if near != "" {
			near = fmt.Sprintf("; did you mean %q?", near)
		}
		fail("must be %s, not %q%s", kind.describe(tag), n.Value, near)
	case err != nil:
		fail("%s", err)
	}
}

func bound(tag reflect.StructTag, name string) (int, bool) {
	n, err := strconv.Atoi(tag.Get(name))
	return n, err == nil
}

// shape names what a node is, for a person.
func shape(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}

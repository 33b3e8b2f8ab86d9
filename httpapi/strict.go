package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// longestNumber is the most characters that a number may have. What JSON numbers are for has
// twenty; one of a megabyte is only there to be converted.
const longestNumber = 100

// twice begins the text of the error about a field that is given twice; the field's name follows.
const twice = "twice "

// strict refuses what is valid JSON and yet means one thing to one reader and another to the
// next, or costs more to read than it can be worth: a field that is given twice, anywhere, and
// numbers without end. It passes over the text once; data must be valid JSON.
func strict(data []byte) error {
	var open []level
	name := false // whether a text that comes now is a field's name
	for i := 0; i < len(data); {
		switch c := data[i]; {
		case c == '{':
			open, name = append(open, level{object: true}), true
		case c == '[':
			open, name = append(open, level{}), false
		case c == '}' || c == ']':
			open, name = open[:len(open)-1], false
		case c == ',':
			name = open[len(open)-1].object
		case c == '"':
			end := i + textEnd(data[i:])
			if name {
				if !open[len(open)-1].enter(data[i:end]) {
					return errors.New(twice + path(open))
				}
				name = false
			}
			i = end
			continue
		case c == '-' || '0' <= c && c <= '9':
			end := i + 1
			for end < len(data) && bytes.IndexByte([]byte("+-.0123456789Ee"), data[end]) >= 0 {
				end++
			}
			if end-i > longestNumber {
				return errors.New("has a number of more than 100 characters")
			}
			i = end
			continue
		}
		i++
	}
	return nil
}

// level is an object or a list that has begun.
type level struct {
	object bool
	name   string          // of the field that is being read
	names  map[string]bool // of those read so far
}

// enter begins a field, its name as it stands in the text; false if there was one of that name.
func (l *level) enter(text []byte) bool {
	l.name = string(text[1 : len(text)-1])
	if strings.Contains(l.name, `\`) {
		_ = json.Unmarshal(text, &l.name) // the text is valid
	}
	if l.names[l.name] {
		return false
	}
	if l.names == nil {
		l.names = map[string]bool{}
	}
	l.names[l.name] = true
	return true
}

// path names the field that is being read, from the outermost object.
func path(open []level) string {
	var names []string
	for _, l := range open {
		if l.object {
			names = append(names, l.name)
		}
	}
	return strings.Join(names, ".")
}

// textEnd is where the text that begins data is over.
func textEnd(data []byte) int {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A step is one marker, or a text of a rule's reply, as the package comment lists them.
type step struct {
	verb  string
	text  string          // say, think; the message of fail; the type of break; the reason of stop
	tool  string          // tool, also
	input json.RawMessage // tool, also: a JSON object
	n     int             // bytes; the status of fail
	times int             // fail, cut, break, hang; 0: always
	after string          // fail: the header Retry-After
	wait  time.Duration   // wait, pace
}

// A program is what becomes of a question: the steps of each round, a round being one answer
// of the model.
type program [][]step

// answers reports whether the step is part of an answer, rather than a hindrance to it.
func (s step) answers() bool {
	switch s.verb {
	case "say", "bytes", "think", "tool", "also", "stop":
		return true
	}
	return false
}

// verbs reads the arguments of each marker.
var verbs = map[string]func(*step, string) error{
	"say":   text,
	"think": text,
	"bytes": func(s *step, arg string) (err error) {
		s.n, err = strconv.Atoi(strings.TrimSpace(arg))
		if err == nil && (s.n < 1 || s.n > maxBytes) {
			err = fmt.Errorf("want 1 to %d", maxBytes)
		}
		return err
	},
	"tool": call,
	"also": call,
	"wait": pauseFor,
	"pace": pauseFor,
	"stop": word,
	"fail": func(s *step, arg string) error {
		status, rest, _ := strings.Cut(strings.TrimSpace(arg), " ")
		n, err := strconv.Atoi(status)
		if err != nil || n < 400 || n > 599 {
			return fmt.Errorf("want an HTTP status of 400 to 599, not %q", status)
		}
		s.n = n
		return options(s, rest, 0)
	},
	"cut":   func(s *step, arg string) error { return options(s, arg, 1) },
	"break": func(s *step, arg string) error { return errors.Join(options(s, arg, 1), word(s, s.text)) },
	"hang":  func(s *step, arg string) error { return options(s, arg, 0) },
}

// maxBytes bounds [[bytes N]].
const maxBytes = 64 << 20

func text(s *step, arg string) error { s.text = arg; return nil }

func word(s *step, arg string) error {
	s.text = strings.TrimSpace(arg)
	if s.text == "" || strings.ContainsAny(s.text, " \n") {
		return fmt.Errorf("want one word, not %q", s.text)
	}
	return nil
}

func call(s *step, arg string) error {
	name, input, _ := strings.Cut(strings.TrimSpace(arg), " ")
	if input = strings.TrimSpace(input); input == "" {
		input = "{}"
	}
	s.tool, s.input = name, json.RawMessage(input)
	if name == "" || input[0] != '{' || !json.Valid(s.input) {
		return errors.New(`want a tool's name and a JSON object, like Read {"file_path":"a.txt"}`)
	}
	return nil
}

func pauseFor(s *step, arg string) (err error) {
	s.wait, err = time.ParseDuration(strings.TrimSpace(arg))
	return err
}

// options reads times=N and retry-after=V in any order; the rest is the step's text.
func options(s *step, arg string, times int) error {
	s.times = times
	for {
		arg = strings.TrimSpace(arg)
		word, rest, _ := strings.Cut(arg, " ")
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "times":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 {
				return fmt.Errorf("want times=1 or more, not %q", value)
			}
			s.times = n
		case "retry-after":
			s.after = value
		default:
			s.text = arg
			return nil
		}
		arg = rest
	}
}

// parse reads the markers of a text. Of a reply, which a rule wrote, the text between them is
// said too. A text without any marker gives no steps unless it is a reply.
func parse(s string, reply bool) ([]step, error) {
	var steps []step
	say := func(text string) {
		if text = strings.TrimSpace(text); reply && text != "" {
			steps = append(steps, step{verb: "say", text: text})
		}
	}
	for {
		before, st, rest, err := next(s)
		if err != nil {
			return nil, err
		}
		say(before)
		if st == nil {
			return steps, nil
		}
		steps = append(steps, *st)
		s = rest
	}
}

// next finds the first marker: what stands before it, the step (nil: there is none, and
// before is all of s), and what follows it.
func next(s string) (before string, st *step, rest string, err error) {
	for from := 0; ; {
		at := strings.Index(s[from:], "[[")
		if at < 0 {
			return s, nil, "", nil
		}
		at += from
		inner := s[at+2:]
		end := strings.Index(inner, "]]")
		if end < 0 {
			return s, nil, "", nil
		}
		verb, _, _ := strings.Cut(inner[:end], " ")
		read, known := verbs[verb]
		if !known {
			from = at + 2
			continue
		}
		// JSON may hold brackets of its own: it ends where it is complete.
		if verb == "tool" || verb == "also" {
			if end, err = callEnd(inner); err != nil {
				return "", nil, "", fmt.Errorf("[[%s …]]: %w", verb, err)
			}
		}
		st = &step{verb: verb}
		if err := read(st, strings.TrimPrefix(inner[len(verb):end], " ")); err != nil {
			return "", nil, "", fmt.Errorf("[[%s]]: %w", inner[:end], err)
		}
		return s[:at], st, inner[end+2:], nil
	}
}

// callEnd is where the marker's "]]" stands, behind the JSON if there is any.
func callEnd(inner string) (int, error) {
	end := strings.Index(inner, "]]")
	brace := strings.IndexByte(inner, '{')
	if brace < 0 || brace > end {
		return end, nil
	}
	dec := json.NewDecoder(strings.NewReader(inner[brace:]))
	var input json.RawMessage
	if err := dec.Decode(&input); err != nil {
		return 0, fmt.Errorf("the tool's input is no JSON: %w", err)
	}
	at := brace + int(dec.InputOffset())
	space := len(inner[at:]) - len(strings.TrimLeft(inner[at:], " \n"))
	if !strings.HasPrefix(inner[at+space:], "]]") {
		return 0, errors.New("want ]] behind the tool's input")
	}
	return at + space, nil
}

// strip is the text without its markers, or as it is when one makes no sense.
func strip(s string) string {
	var b strings.Builder
	for {
		before, st, rest, err := next(s)
		if err != nil {
			return b.String() + s
		}
		b.WriteString(before)
		if st == nil {
			return b.String()
		}
		s = rest
	}
}

// rounds groups the steps: a round ends with its tool calls, since the CLI must run them
// first, or with a stop.
func rounds(steps []step) (program, error) {
	var p program
	var cur []step
	for i, st := range steps {
		if st.verb == "fail" && slices.ContainsFunc(cur, step.answers) {
			return nil, errors.New("[[fail]]: an HTTP status comes before the answer, so put it first, or use [[break]] or [[cut]]")
		}
		if st.verb == "also" && (i == 0 || steps[i-1].verb != "tool" && steps[i-1].verb != "also") {
			return nil, errors.New("[[also]]: it adds a call to a [[tool]] directly before it")
		}
		cur = append(cur, st)
		call := st.verb == "tool" || st.verb == "also"
		if call && (i+1 == len(steps) || steps[i+1].verb != "also") || st.verb == "stop" {
			p, cur = append(p, cur), nil
		}
	}
	if len(cur) > 0 {
		p = append(p, cur)
	}
	return p, nil
}

// fill replaces {name} where value knows the name, in one pass: what is put in is not read
// again.
func fill(s string, value func(name string) (string, bool)) string {
	var b strings.Builder
	for {
		open := strings.IndexByte(s, '{')
		if open < 0 {
			break
		}
		b.WriteString(s[:open])
		s = s[open:]
		end := strings.IndexByte(s, '}')
		if end < 0 {
			break
		}
		if v, ok := value(s[1:end]); ok {
			b.WriteString(v)
			s = s[end+1:]
		} else {
			b.WriteByte('{')
			s = s[1:]
		}
	}
	b.WriteString(s)
	return b.String()
}

// fillJSON does the same in the strings of a JSON value, and leaves every other byte alone.
func fillJSON(in json.RawMessage, value func(string) (string, bool)) json.RawMessage {
	var out bytes.Buffer
	for rest := string(in); ; {
		quote := strings.IndexByte(rest, '"')
		if quote < 0 {
			out.WriteString(rest)
			return out.Bytes()
		}
		out.WriteString(rest[:quote])
		dec := json.NewDecoder(strings.NewReader(rest[quote:]))
		var s string
		if err := dec.Decode(&s); err != nil {
			if !errors.Is(err, io.EOF) {
				out.WriteString(rest[quote:])
			}
			return out.Bytes()
		}
		end := quote + int(dec.InputOffset())
		if filled := fill(s, value); filled != s {
			quoted, _ := json.Marshal(filled) // a string always can
			out.Write(quoted)
		} else {
			out.WriteString(rest[quote:end])
		}
		rest = rest[end:]
	}
}

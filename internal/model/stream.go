package model

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

// message is an answer of the Messages API.
type message struct {
	ID      string  `json:"id"`
	Type    string  `json:"type"`
	Role    string  `json:"role"`
	Model   string  `json:"model"`
	Content []any   `json:"content"`
	Stop    *string `json:"stop_reason"`
	Seq     *string `json:"stop_sequence"`
	Usage   usage   `json:"usage"`
}

type usage struct {
	Input      int `json:"input_tokens"`
	CacheWrite int `json:"cache_creation_input_tokens"`
	CacheRead  int `json:"cache_read_input_tokens"`
	Output     int `json:"output_tokens"`
}

// tokens is a plausible count: four bytes each.
func tokens(bytes int) int { return bytes/4 + 1 }

// reckon counts as the real API would with the CLI's cache marks: the question is new, what
// stands before it is written to the cache at first and read from it afterwards.
func reckon(c *conversation, body int) usage {
	u := usage{Input: tokens(len(c.text)), Output: 1}
	if before := tokens(max(0, body-len(c.text))); c.begun {
		u.CacheRead = before
	} else {
		u.CacheWrite = before
	}
	return u
}

type textBlock struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type thinkingBlock struct {
	Type      string `json:"type"`
	Thinking  string `json:"thinking"`
	Signature string `json:"signature"`
}

type toolBlock struct {
	Type  string          `json:"type"`
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Input json.RawMessage `json:"input"`
}

// signature stands in for the real API's seal on thinking; the CLI only passes it back.
const signature = "c2NyaXB0ZWQ="

// stream writes the answer as server-sent events, each flushed at once. Nothing is written
// before the first step that says something, so that a failure can still choose the status.
type stream struct {
	w       io.Writer
	flush   func() error
	message *message
	first   func() // called just before the first delta is written

	begun bool
	open  string // type of the open block, or empty
	index int    // of the open or the next block
	out   int    // bytes of content
}

func (s *stream) event(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(s.w, "event: "+name+"\ndata: "+string(data)+"\n\n"); err != nil {
		return err
	}
	return s.flush()
}

func (s *stream) begin() error {
	if s.begun {
		return nil
	}
	s.begun = true
	if w, ok := s.w.(http.ResponseWriter); ok {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
	}
	if err := s.event("message_start", struct {
		Type    string   `json:"type"`
		Message *message `json:"message"`
	}{"message_start", s.message}); err != nil {
		return err
	}
	return s.event("ping", map[string]string{"type": "ping"})
}

// block opens a block of that type, unless one is open already.
func (s *stream) block(kind string, start any) error {
	if s.open == kind && kind != "tool_use" {
		return nil
	}
	if err := s.begin(); err != nil {
		return err
	}
	if err := s.close(); err != nil {
		return err
	}
	s.open = kind
	return s.event("content_block_start", struct {
		Type  string `json:"type"`
		Index int    `json:"index"`
		Block any    `json:"content_block"`
	}{"content_block_start", s.index, start})
}

func (s *stream) delta(kind, field, value string) error {
	if s.first != nil {
		s.first()
		s.first = nil
	}
	s.out += len(value)
	return s.event("content_block_delta", struct {
		Type  string            `json:"type"`
		Index int               `json:"index"`
		Delta map[string]string `json:"delta"`
	}{"content_block_delta", s.index, map[string]string{"type": kind, field: value}})
}

func (s *stream) close() error {
	if s.open == "" {
		return nil
	}
	if s.open == "thinking" {
		if err := s.delta("signature_delta", "signature", signature); err != nil {
			return err
		}
	}
	s.open = ""
	s.index++
	return s.event("content_block_stop", map[string]any{"type": "content_block_stop", "index": s.index - 1})
}

func (s *stream) text(delta string) error {
	if err := s.block("text", textBlock{Type: "text"}); err != nil {
		return err
	}
	return s.delta("text_delta", "text", delta)
}

func (s *stream) think(delta string) error {
	if err := s.block("thinking", thinkingBlock{Type: "thinking"}); err != nil {
		return err
	}
	return s.delta("thinking_delta", "thinking", delta)
}

func (s *stream) tool(id, name string, input json.RawMessage, wait func() error) error {
	if err := s.block("tool_use", toolBlock{"tool_use", id, name, json.RawMessage("{}")}); err != nil {
		return err
	}
	return each(string(input), func(delta string) error { return s.delta("input_json_delta", "partial_json", delta) }, wait)
}

func (s *stream) fail(kind, message string) error {
	if err := s.begin(); err != nil {
		return err
	}
	return s.event("error", failure(kind, message))
}

func (s *stream) end(stop string) error {
	if err := s.begin(); err != nil {
		return err
	}
	if err := s.close(); err != nil {
		return err
	}
	if err := s.event("message_delta", map[string]any{
		"type":  "message_delta",
		"delta": map[string]any{"stop_reason": stop, "stop_sequence": nil},
		"usage": map[string]int{"output_tokens": tokens(s.out)},
	}); err != nil {
		return err
	}
	return s.event("message_stop", map[string]string{"type": "message_stop"})
}

// whole gathers the answer and writes it as one JSON object.
type whole struct {
	w       http.ResponseWriter
	message *message
	out     int
}

func (a *whole) text(delta string) error {
	a.out += len(delta)
	if last, ok := a.last().(*textBlock); ok {
		last.Text += delta
		return nil
	}
	a.message.Content = append(a.message.Content, &textBlock{"text", delta})
	return nil
}

func (a *whole) think(delta string) error {
	a.out += len(delta)
	if last, ok := a.last().(*thinkingBlock); ok {
		last.Thinking += delta
		return nil
	}
	a.message.Content = append(a.message.Content, &thinkingBlock{"thinking", delta, signature})
	return nil
}

func (a *whole) tool(id, name string, input json.RawMessage, _ func() error) error {
	a.out += len(input)
	a.message.Content = append(a.message.Content, &toolBlock{"tool_use", id, name, input})
	return nil
}

func (a *whole) last() any {
	if n := len(a.message.Content); n > 0 {
		return a.message.Content[n-1]
	}
	return nil
}

func (a *whole) fail(kind, message string) error {
	reply(a.w, statusOf(kind), failure(kind, message))
	return nil
}

func (a *whole) end(stop string) error {
	a.message.Stop = &stop
	a.message.Usage.Output = tokens(a.out)
	reply(a.w, http.StatusOK, a.message)
	return nil
}

// each gives a text to say in pieces: words with the space behind them, or pieces of some
// kilobytes where words would be too many. It waits before each piece.
func each(text string, say func(string) error, wait func() error) error {
	const many, piece = 64 << 10, 4 << 10
	size := func(rest string) int {
		if len(text) > many {
			n := min(piece, len(rest))
			for n < len(rest) && !utf8.RuneStart(rest[n]) {
				n++
			}
			return n
		}
		word := strings.IndexAny(rest, " \n\t")
		if word < 0 {
			return len(rest)
		}
		return len(rest) - len(strings.TrimLeft(rest[word:], " \n\t"))
	}
	for rest := text; rest != ""; {
		n := size(rest)
		if err := wait(); err != nil {
			return err
		}
		if err := say(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// filler is a readable text of n bytes.
func filler(n int) string {
	const line = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\n"
	return strings.Repeat(line, n/len(line)+1)[:n]
}

package mcp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// Conn carries whole JSON-RPC messages in both directions. Read is called by one goroutine
// and Write by another; neither is called twice at once. An error of Read ends the session,
// but for a *LineError. Whoever made the Conn closes it, after Serve has returned.
type Conn interface {
	Read() (json.RawMessage, error)
	Write(json.RawMessage) error
}

// MaxLine is the most bytes a message may have on a Conn of Lines.
const MaxLine = 8 << 20

// LineError is a message that Read could not take. The messages after it can be read.
type LineError struct {
	ID json.RawMessage // of the request, where it could be found; else nil
}

func (e *LineError) Error() string {
	return fmt.Sprintf("the message is longer than %d bytes; send less text", MaxLine)
}

// Lines is a Conn of one message a line, as MCP has it over stdio. Blank lines are passed over.
func Lines(r io.Reader, w io.Writer) Conn {
	return &lines{r: bufio.NewReaderSize(r, 64<<10), w: w}
}

type lines struct {
	r *bufio.Reader
	w io.Writer
}

// Read gives the next line. The last one needs no line break.
func (l *lines) Read() (json.RawMessage, error) {
	for {
		line, err := l.line()
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (l *lines) line() ([]byte, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		line = append(line, part...) // ReadSlice's bytes are valid only until the next read
		switch {
		case len(line) > MaxLine:
			return nil, l.skip(line, errors.Is(err, bufio.ErrBufferFull))
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}

// skip reads a line that is too long to its end, if there is more of it, and says whose it was.
func (l *lines) skip(head []byte, more bool) *LineError {
	const edge = 1 << 10
	tail := bytes.Clone(head[len(head)-edge:])
	for more {
		part, err := l.r.ReadSlice('\n')
		tail = append(tail, part...)
		tail = tail[max(0, len(tail)-edge):]
		more = errors.Is(err, bufio.ErrBufferFull)
	}
	if m := idFirst.FindSubmatch(head[:edge]); m != nil {
		return &LineError{ID: bytes.Clone(m[1])}
	}
	if m := idLast.FindSubmatch(tail); m != nil {
		return &LineError{ID: bytes.Clone(m[1])}
	}
	return &LineError{}
}

// The id of a request that is too long to be parsed: beside the outermost brackets it can be
// no other id than the request's. Claude Code writes it last.
var (
	idFirst = regexp.MustCompile(`^\s*\{\s*(?:"(?:jsonrpc|method)"\s*:\s*"[^"\\]*"\s*,\s*)*"id"\s*:\s*(-?\d+|"[^"\\]*")\s*,`)
	idLast  = regexp.MustCompile(`,\s*"id"\s*:\s*(-?\d+|"[^"\\]*")\s*\}\s*$`)
)

// Write sends the message, which has no line break of its own, and one.
func (l *lines) Write(m json.RawMessage) error {
	_, err := l.w.Write(append(m[:len(m):len(m)], '\n'))
	return err
}

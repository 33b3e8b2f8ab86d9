package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	hashes "hash"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	iris "github.com/iris-mcp/iris-mcp"
)

// body is a request's body that arrives within a size and a time, or fails with an error
// that says so. What nobody reads of it is dealt with as well (spare, linger): net/http reads
// it before it answers, and waits for it without an end.
//
// The time is a deadline of the connection, set when the request comes and, since huma lifts
// it, at the first read: net/http lifts it when the body has been read to its end. Set on a
// request whose body is empty or was read before, it would end the request's context in the
// middle of a long ask.
type body struct {
	io.Reader
	g        *gin.Context
	ctl      *http.ResponseController
	limit    int64
	patience time.Duration

	begun bool
	read  int64
	sum   hashes.Hash // of what was read, if the request may come again; else nil
	over  bool        // nothing more can be read: it came to its end, or broke off
}

const (
	// spareTime and spareSize are what an answer waits for of a body that it does not need:
	// one that is there already costs nothing, and the connection can be used again.
	spareTime = time.Second
	spareSize = 256 << 10
	// lingerTime and lingerSize are for a client that sends on after its answer: it would
	// not see the answer if the connection were closed under its hands.
	lingerTime = 2 * time.Second
	lingerSize = 256 << 20
)

// bound puts a body's bounds around a request, unless it has none.
func (s *Server) bound(g *gin.Context) *body {
	if g.Request.ContentLength == 0 {
		return nil
	}
	b := &body{
		Reader: g.Request.Body, g: g, ctl: http.NewResponseController(g.Writer),
		limit: s.cfg.MaxBodyBytes(), patience: s.cfg.BodyTimeout,
	}
	if g.GetHeader(idempotencyKey) != "" {
		b.sum = sha256.New()
	}
	b.deadline(b.patience)
	g.Request.Body = b
	return b
}

// deadline bounds the next reads. It fails in tests without a connection only.
func (b *body) deadline(d time.Duration) { _ = b.ctl.SetReadDeadline(time.Now().Add(d)) }

func (b *body) Read(p []byte) (int, error) {
	if b.g.Request.ContentLength > b.limit {
		return 0, b.tooLarge()
	}
	if !b.begun {
		b.begun = true
		b.deadline(b.patience)
	}
	n, err := b.Reader.Read(p)
	if b.read += int64(n); b.read > b.limit {
		return 0, b.tooLarge()
	}
	if b.sum != nil {
		b.sum.Write(p[:n])
	}
	if err == nil {
		return n, nil
	}
	b.over = true
	if err == io.EOF {
		return n, err
	}
	b.hangUp()
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return n, iris.Errorf(iris.CodeInvalidRequest, "the request's body did not arrive within %s", b.patience)
	}
	return n, iris.Errorf(iris.CodeInvalidRequest, "the request's body broke off or is not well chunked")
}

func (b *body) tooLarge() error {
	b.hangUp()
	return iris.Errorf(iris.CodePayloadTooLarge, "the request's body is larger than %d bytes (api.maxBodyBytes)", b.limit).With("limit", b.limit)
}

// Close does nothing: net/http closes its own body, and linger reads on.
func (b *body) Close() error { return nil }

// drain reads the body of a request that needs none, so that its client's leaving is seen.
func (b *body) drain() error {
	if b == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, b)
	return err
}

// spare is called before a request is answered that was refused without a look at its body.
func (b *body) spare() {
	if b == nil || b.over || b.hungUp() {
		return
	}
	if b.g.Request.ContentLength <= spareSize && b.g.GetHeader("Expect") == "" {
		b.deadline(spareTime)
		if _, err := io.CopyN(io.Discard, b.Reader, spareSize+1); err == io.EOF {
			b.over = true
			return
		}
	}
	b.hangUp()
}

// linger is called after a request was answered. If something is left of its body it reads on
// for a while, so that the client gets to reading.
func (b *body) linger() {
	if b == nil || b.over || !b.hungUp() {
		return
	}
	b.g.Writer.Flush()
	b.deadline(lingerTime)
	_, _ = io.CopyN(io.Discard, b.Reader, lingerSize)
}

// hangUp ends the connection behind the answer; over HTTP/2 the stream ends by itself.
func (b *body) hangUp() {
	if b.g.Request.ProtoMajor == 1 {
		b.g.Header("Connection", "close")
	}
}

func (b *body) hungUp() bool { return b.g.Writer.Header().Get("Connection") == "close" }

// buffers are for answers on their way out.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// encode writes v as JSON, all at once. That a client has gone is no error: net/http ends the
// request's context then.
func encode(w io.Writer, v any) error {
	buf := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= 1<<20 {
			buf.Reset()
			buffers.Put(buf)
		}
	}()
	if err := encodeJSON(buf, v); err != nil {
		return err
	}
	if w, ok := w.(http.ResponseWriter); ok && w.Header().Get("Connection") == "close" {
		w.Header().Set("Content-Length", strconv.Itoa(buf.Len())) // it is whole before the server lingers
	}
	_, _ = w.Write(buf.Bytes())
	return nil
}

// encodeJSON writes v and a line break; <, > and & stay as they are.
func encodeJSON(buf *bytes.Buffer, v any) error {
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// decode reads a body for huma, which calls it twice: into an any, to validate it, then into
// the route's type.
func decode(data []byte, v any) error {
	_, first := v.(*any)
	if first && !utf8.Valid(data) {
		return errors.New("is not valid UTF-8")
	}
	err := json.Unmarshal(data, v)
	if _, wrong := errors.AsType[*json.UnmarshalTypeError](err); wrong && !first {
		err = json.Unmarshal(whole(data), v)
	}
	if err != nil {
		return unreadable(err)
	}
	if first {
		return strict(data)
	}
	return nil
}

// unreadable says in our words why JSON was not read.
func unreadable(err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("is not valid JSON at byte %d: %w", syntax.Offset, syntax)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return errors.New("has a value of the wrong form in " + wrong.Field)
	}
	return errors.New("has a value that cannot be read, for instance a number that is too large")
}

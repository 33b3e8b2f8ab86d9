package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	iris "github.com/iris-mcp/iris-mcp"
)

// body is a request's body that arrives within a size and a time, or fails with an error
// that says so.
//
// The time is a deadline of the connection, set at the first read: net/http lifts it when the
// body has been read to its end. Set on a request whose body is empty or was read before, it
// would end the request's context in the middle of a long ask.
type body struct {
	io.ReadCloser
	g        *gin.Context
	ctl      *http.ResponseController
	limit    int64
	patience time.Duration

	begun bool
	read  int64
}

func (b *body) Read(p []byte) (int, error) {
	if b.g.Request.ContentLength > b.limit {
		return 0, b.tooLarge()
	}
	if !b.begun {
		b.begun = true
		_ = b.ctl.SetReadDeadline(time.Now().Add(b.patience)) // fails in tests without a connection only
	}
	n, err := b.ReadCloser.Read(p)
	if b.read += int64(n); b.read > b.limit {
		return 0, b.tooLarge()
	}
	if err == nil || err == io.EOF {
		return n, err
	}
	b.g.Header("Connection", "close")
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return n, iris.Errorf(iris.CodeInvalidRequest, "the request's body did not arrive within %s", b.patience)
	}
	return n, iris.Errorf(iris.CodeInvalidRequest, "the request's body broke off or is not well chunked")
}

func (b *body) tooLarge() error {
	b.g.Header("Connection", "close") // what is left of the body is not read
	return iris.Errorf(iris.CodePayloadTooLarge, "the request's body is larger than %d bytes (api.maxBodyBytes)", b.limit).With("limit", b.limit)
}

// buffers are for answers on their way out.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// encode writes v as JSON, all at once and with a deadline. That a client has gone is no
// error: net/http ends the request's context then.
func (s *Server) encode(w io.Writer, v any) error {
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
	if w, ok := w.(http.ResponseWriter); ok {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.cfg.WriteTimeout))
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
// the route's type. Of a field given twice the last counts, as in JavaScript and Python.
func decode(data []byte, v any) error {
	if _, first := v.(*any); first && !utf8.Valid(data) {
		return errors.New("is not valid UTF-8")
	}
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("is not valid JSON at byte %d: %w", syntax.Offset, syntax)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return errors.New("has a value of the wrong form in " + wrong.Field + " (a whole number has no exponent)")
	}
	return errors.New("has a value that cannot be read, for instance a number that is too large")
}

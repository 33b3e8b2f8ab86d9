package httpapi

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	iris "github.com/iris-mcp/iris-mcp"
)

// refusing accepts connections on which net/http's own refusals have our shape. What is no
// HTTP at all never reaches a handler: net/http answers it with a line of text, and what it
// does not know (a transfer coding, a version) with a 5xx, as if the server were to blame.
type refusing struct{ net.Listener }

func (l refusing) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return refuser{conn}, nil
}

// refuser is a connection of refusing.
type refuser struct{ net.Conn }

// ownHead is what net/http writes behind the status line of its refusals, in one Write with
// the rest (conn.serve, Go 1.26). No answer of ours has these two headers and nothing else.
const ownHead = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

func (c refuser) Write(p []byte) (int, error) {
	answer := refusal(p)
	if answer == nil {
		return c.Conn.Write(p)
	}
	if _, err := c.Conn.Write(answer); err != nil {
		return 0, err
	}
	return len(p), nil
}

// refusal is what to answer in place of a refusal of net/http; nil if it is none.
func refusal(p []byte) []byte {
	const version = "HTTP/1.1 "
	if len(p) > 1<<10 || !bytes.HasPrefix(p, []byte(version)) {
		return nil
	}
	line, text, ok := strings.Cut(string(p[len(version):]), ownHead)
	if !ok || strings.Contains(line, "\r\n") {
		return nil
	}
	status, _ := strconv.Atoi(line[:min(3, len(line))])
	err := iris.Errorf(iris.CodeInvalidRequest, "the request is no good HTTP")
	switch status {
	case http.StatusBadRequest: // "400 Bad Request: missing required Host header", maybe without the reason
		if _, reason, ok := strings.Cut(text, ": "); ok {
			err.Message += ": " + reason
		}
	case http.StatusRequestHeaderFieldsTooLarge:
		err = iris.Errorf(iris.CodePayloadTooLarge, "the request's headers are larger than %d bytes", maxHeaderBytes)
	case http.StatusNotImplemented:
		status, err.Message = http.StatusBadRequest, "the request's Transfer-Encoding is not known; send chunked or none"
	case http.StatusHTTPVersionNotSupported:
		status, err.Message = http.StatusBadRequest, "the request's version of HTTP is not known; send HTTP/1.1"
	default:
		return nil
	}
	return refuse(status, err)
}

// refuse is a whole answer, after which the connection is closed.
func refuse(status int, err *iris.Error) []byte {
	req := &request{id: requestID("")}
	var body bytes.Buffer
	if err := encodeJSON(&body, req.newFailure(err)); err != nil {
		panic(err) // it is one of ours
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nX-Request-Id: %s\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), body.Len(), req.id, body.Bytes())
}

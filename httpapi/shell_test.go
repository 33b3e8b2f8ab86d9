package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// TestUnreadBody: a body that nobody needs and that does not come holds neither the answer
// nor the connection.
func TestUnreadBody(t *testing.T) {
	head := func(line, more string) string { return line + " HTTP/1.1\r\nHost: x\r\n" + more + "\r\n" }
	const ask = "POST /api/v1/teams/backend/ask"
	const good, bad = "Authorization: Bearer all\r\n", "Authorization: Bearer wrong\r\n"
	tests := []struct {
		name, sent string
		status     int
		after      time.Duration // until the answer
		closed     time.Duration // and until the connection is closed; zero: it stays
	}{
		{"a bad key", head(ask, bad+"Content-Length: 100\r\n"), 401, time.Second, 3 * time.Second},
		{"a bad key, a large body", head(ask, bad+"Content-Length: 104857600\r\n"), 401, 0, 3 * time.Second},
		{"a bad key, chunks", head(ask, bad+"Transfer-Encoding: chunked\r\n"), 401, time.Second, 3 * time.Second},
		{"a bad key, the body is there", head(ask, bad+"Content-Length: 2\r\n") + "{}", 401, 0, 0},
		{"a bad key, the client waits for leave", head(ask, bad+"Expect: 100-continue\r\nContent-Length: 2\r\n"), 401, 0, 3 * time.Second},
		{"no such path", head("POST /nothing", good+"Content-Length: 100\r\n"), 404, time.Second, 3 * time.Second},
		{"no such method", head("DELETE /api/v1/teams", good+"Content-Length: 100\r\n"), 405, time.Second, 3 * time.Second},
		{"a body for a GET", head("GET /api/v1/teams", good+"Content-Length: 100\r\n"), 400, 30 * time.Second, time.Second},
		{"a body for a GET that is there", head("GET /api/v1/teams", good+"Content-Length: 2\r\n") + "{}", 200, 0, 0},
		{"a body for health", head("GET /healthz", "Content-Length: 100\r\n"), 400, 30 * time.Second, time.Second},
		{"OPTIONS * with a body", head("OPTIONS *", "Content-Length: 100\r\n"), 404, time.Second, 3 * time.Second},
		{"a body for an ask", head(ask, good+"Content-Length: 100\r\n"), 400, 30 * time.Second, time.Second},
		{"a body that is too large", head(ask, good+"Content-Length: 104857600\r\n"), 413, 0, 3 * time.Second},
		{"multipart", head(ask, good+"Content-Type: multipart/form-data\r\nContent-Length: 100\r\n"), 415, time.Second, 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFront(httpapi.Config{})
				conn, stop := f.dial(t)
				defer stop()
				began := time.Now()
				if _, err := io.WriteString(conn, tt.sent); err != nil {
					t.Fatal(err)
				}
				in := bufio.NewReader(conn)
				status, body := answer(t, in)
				if took := time.Since(began); status != tt.status || took != tt.after {
					t.Errorf("%d after %s: %s", status, took, body)
				}
				began = time.Now()
				if tt.closed == 0 {
					fmt.Fprint(conn, head("GET /healthz", ""))
					if status, body := answer(t, in); status != 200 {
						t.Errorf("the next request: %d %s", status, body)
					}
				} else if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 || time.Since(began) > tt.closed {
					t.Errorf("after %s came %q, %v", time.Since(began), rest, err)
				}
			})
		})
	}
}

// TestLargeBody: who sends a body that is refused gets to read why.
func TestLargeBody(t *testing.T) {
	f := newFront(httpapi.Config{})
	address := strings.TrimPrefix(f.listen(t, "127.0.0.1:0"), "http://")
	for _, key := range []string{"all", "wrong"} {
		for _, chunked := range []bool{false, true} {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			const size = 8 << 20
			length := fmt.Sprintf("Content-Length: %d", size)
			if chunked {
				length = "Transfer-Encoding: chunked"
			}
			fmt.Fprintf(conn, "POST /api/v1/teams/backend/ask HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n", key, length)
			if chunked {
				fmt.Fprintf(conn, "%x\r\n", size)
			}
			if _, err := conn.Write(make([]byte, size)); err != nil { // the whole of it, before it reads
				t.Errorf("%s, chunked %v: the body was not taken: %v", key, chunked, err)
				continue
			}
			status, body := answer(t, bufio.NewReader(conn))
			if want := map[string]int{"all": 413, "wrong": 401}[key]; status != want {
				t.Errorf("%s, chunked %v: %d %s", key, chunked, status, body)
			}
			errorOf(t, body)
		}
	}
}

// TestSlowClients: who sends or reads too slowly is hung up on.
func TestSlowClients(t *testing.T) {
	const head = "GET /healthz HTTP/1.1\r\nHost: x\r\n"
	tests := []struct {
		name, sent string
		after      time.Duration
	}{
		{"says nothing", "", 10 * time.Second},
		{"says half a head", head, 10 * time.Second},
		{"has an answer and says nothing more", head + "\r\n", 2 * time.Minute},
		{"has an answer and says half a head more", head + "\r\n" + head, 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFront(httpapi.Config{})
				conn, stop := f.dial(t)
				defer stop()
				began := time.Now()
				go io.WriteString(conn, tt.sent)
				got, err := io.ReadAll(conn)
				if took := time.Since(began); err != nil || took != tt.after {
					t.Errorf("hung up after %s, %v: %s", took, err, got)
				}
			})
		})
	}
	t.Run("reads no answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFront(httpapi.Config{WriteTimeout: 10 * time.Second})
			f.scripts["long"] = func(f *fake, id string) { f.end(id, iris.StatusCompleted, strings.Repeat("a", 1<<20), nil) }
			conn, stop := f.dial(t)
			defer stop()
			began := time.Now()
			const body = `{"question":"long"}`
			fmt.Fprintf(conn, "POST /api/v1/teams/backend/ask HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer all\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			time.Sleep(time.Minute)
			rest, err := io.ReadAll(conn)
			if took := time.Since(began); took != time.Minute || len(rest) > 1<<20 {
				t.Errorf("read %d bytes until %s, %v", len(rest), took, err)
			}
		})
	})
}

// TestNoGoodHTTP: what net/http refuses has our shape, and is the client's fault; a second
// request that hides in a first one is never answered.
func TestNoGoodHTTP(t *testing.T) {
	const get = "GET /healthz HTTP/1.1\r\n"
	const post = "POST /api/v1/teams/backend/ask HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer all\r\n"
	const hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	const body = `{"question":"a"}` // 16 bytes
	tests := []struct {
		name, sent string
		status     []int // of all answers
		says       string
	}{
		{"a length and chunks", post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n" + body + "\r\n0\r\n\r\n" + hidden, []int{200, 404}, ""}, // chunks count (RFC 9112, section 6.3)
		{"two lengths", post + "Content-Length: 16\r\nContent-Length: 0\r\n\r\n" + body + hidden, []int{400}, ""},
		{"two lengths in one", post + "Content-Length: 16, 0\r\n\r\n" + body + hidden, []int{400}, ""},
		{"the same length twice", post + "Content-Length: 16\r\nContent-Length: 16\r\n\r\n" + body, []int{200}, ""},
		{"a signed length", post + "Content-Length: +16\r\n\r\n" + body + hidden, []int{400}, ""},
		{"a negative length", post + "Content-Length: -1\r\n\r\n" + hidden, []int{400}, ""},
		{"a hexadecimal length", post + "Content-Length: 0x10\r\n\r\n" + body + hidden, []int{400}, ""},
		{"a length beyond all", post + "Content-Length: 99999999999999999999\r\n\r\n" + hidden, []int{400}, ""},
		{"no transfer coding that is known", post + "Transfer-Encoding: xchunked\r\n\r\n" + hidden, []int{400}, "Transfer-Encoding"},
		{"identity", post + "Transfer-Encoding: identity\r\nContent-Length: 16\r\n\r\n" + body + hidden, []int{400}, "Transfer-Encoding"},
		{"chunks in chunks", post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + hidden, []int{400}, "Transfer-Encoding"},
		{"gzip below chunks", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + hidden, []int{400}, "Transfer-Encoding"},
		{"two transfer codings", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden, []int{400}, ""},
		{"a blank before the colon", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden, []int{400}, ""},
		{"a folded line", post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", []int{400}, ""},
		{"a chunk length with more behind it", post + "Transfer-Encoding: chunked\r\n\r\n10zz\r\n" + body + "\r\n0\r\n\r\n" + hidden, []int{400}, ""},
		{"a chunk length beyond all", post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + hidden, []int{400}, ""},
		{"a chunk longer than it says", post + "Transfer-Encoding: chunked\r\n\r\n2\r\n" + body + "\r\n0\r\n\r\n" + hidden, []int{400}, ""},
		{"a chunk extension", post + "Transfer-Encoding: chunked\r\n\r\n10;a=b\r\n" + body + "\r\n0\r\n\r\n", []int{200}, ""},
		{"a trailer that is a header", post + "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\nContent-Length: 5\r\n\r\n" + hidden, []int{400}, ""},
		{"a bare line feed in a header", get + "Host: x\r\nA: b\nX-Api-Key: all\r\n\r\n", []int{200}, ""},
		{"a bare carriage return in a header", get + "Host: x\r\nA: b\rc\r\n\r\n", []int{400}, ""},
		{"NUL in a header", get + "Host: x\r\nA: b\x00c\r\n\r\n", []int{400}, ""},
		{"no name of a header", get + "Host: x\r\n: b\r\n\r\n", []int{400}, ""},
		{"blanks in the name of a header", get + "Host: x\r\nA B: c\r\n\r\n", []int{400}, ""},
		{"no Host", get + "\r\n", []int{400}, "missing required Host header"},
		{"two Hosts", get + "Host: x\r\nHost: y\r\n\r\n", []int{400}, ""},
		{"a Host that is none", get + "Host: x y/@\r\n\r\n", []int{400}, "malformed Host header"},
		{"a line break before the request", "\r\n" + get + "Host: x\r\n\r\n", []int{400}, ""},
		{"HTTP/0.9", "GET /healthz\r\n\r\n", []int{400}, ""},
		{"HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", []int{200}, ""},
		{"HTTP/2 without its handshake", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{404}, ""},
		{"HTTP/3", "GET /healthz HTTP/3.0\r\nHost: x\r\n\r\n", []int{400}, "HTTP/1.1"},
		{"a version that is none", "GET /healthz HTTP/x.y\r\n\r\n", []int{400}, ""},
		{"no method", " /healthz HTTP/1.1\r\nHost: x\r\n\r\n", []int{400}, ""},
		{"a method that is none", "G(T /healthz HTTP/1.1\r\nHost: x\r\n\r\n", []int{400}, ""},
		{"no path", "GET  HTTP/1.1\r\nHost: x\r\n\r\n", []int{400}, ""},
		{"a path with a blank", "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", []int{400}, ""},
		{"a path that is badly encoded", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", []int{400}, ""},
		{"a line break in a path", "GET /a%0d%0aX:%20y HTTP/1.1\r\nHost: x\r\n\r\n", []int{404}, ""},
		{"an absolute target", "GET http://y/healthz HTTP/1.1\r\nHost: x\r\n\r\n", []int{200}, ""},
		{"a target that is no path", "GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", []int{400}, ""},
		{"CONNECT", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", []int{404}, ""},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", []int{404}, ""},
		{"TRACE", "TRACE /healthz HTTP/1.1\r\nHost: x\r\n\r\n", []int{405}, ""},
		{"HTTP/2 by upgrade", get + "Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", []int{200}, ""},
		{"an expectation that is none", get + "Host: x\r\nExpect: 200-ok\r\n\r\n", []int{417}, ""},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", []int{400}, ""},
		{"headers without end", get + "Host: x\r\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 400) + "\r\n", []int{431}, "larger than 262144 bytes"},
		{"a header without end", get + "Host: x\r\nA: " + strings.Repeat("b", 400_000) + "\r\n\r\n", []int{431}, "larger than 262144 bytes"},
		{"a line without end", "GET /" + strings.Repeat("a", 400_000) + " HTTP/1.1\r\nHost: x\r\n\r\n", []int{431}, "larger than 262144 bytes"},
		{"two requests at once", get + "Host: x\r\n\r\n" + hidden, []int{200, 404}, ""},
	}
	f := newFront(httpapi.Config{})
	address := strings.TrimPrefix(f.listen(t, "127.0.0.1:0"), "http://")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute))
			go io.WriteString(conn, tt.sent)
			in := bufio.NewReader(conn)
			for _, want := range tt.status {
				status, body := answer(t, in)
				if status != want {
					t.Fatalf("%d, want %d: %s", status, want, body)
				}
				if status >= 400 && status != 417 {
					if e := errorOf(t, body); !strings.Contains(e.Message, tt.says) {
						t.Errorf("says %q, want %q in it", e.Message, tt.says)
					}
				}
			}
			conn.(*net.TCPConn).CloseWrite()
			if rest, _ := io.ReadAll(in); len(rest) > 0 {
				t.Errorf("one more answer: %s", rest)
			}
		})
	}
}

// answer reads one answer. Its request was no HEAD.
func answer(t *testing.T, in *bufio.Reader) (status int, body []byte) {
	t.Helper()
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body
}

// dial serves the front on a pipe and connects to it; stop waits for the end of both.
func (f *front) dial(t *testing.T) (conn net.Conn, stop func()) {
	t.Helper()
	p := newPipe()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.server.Serve(ctx, p) }()
	conn, err := p.dial(ctx, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return conn, func() {
		conn.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
}

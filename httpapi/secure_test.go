package httpapi_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/iris-mcp/iris-mcp/httpapi"
	"github.com/iris-mcp/iris-mcp/internal/cert/certtest"
)

// trusting is the TLS of a client that trusts anybody.
func trusting(protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}
}

// secure serves the front over TLS and gives its host and port.
func (f *front) secure(t *testing.T) string {
	return strings.TrimPrefix(f.listen(t, "127.0.0.1:0"), "http://")
}

func newSecureFront(t *testing.T, cfg httpapi.Config) *front {
	t.Helper()
	crt, key := filepath.Join(t.TempDir(), "c.pem"), filepath.Join(t.TempDir(), "k.pem")
	if err := certtest.Write(crt, key, "iris", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(crt, key)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }
	return newFront(cfg)
}

// TestTLS: every answer is the same over TLS, over HTTP/1.1 and over HTTP/2.
func TestTLS(t *testing.T) {
	f := newSecureFront(t, httpapi.Config{})
	address := f.secure(t)
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprintf("HTTP/%d", version), func(t *testing.T) {
			transport := &http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: version == 2}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			for _, tt := range []struct {
				call   call
				host   string
				status int
				says   string
			}{
				{call{path: "/api/v1/teams/backend/ask", body: `{"question":"a"}`}, "", 200, `"question":"a"`},
				{call{path: "/api/v1/teams/backend/stream", body: `{"message":"work"}`}, "iris.example.com", 200, "event: complete"},
				{call{path: "/api/v1/teams/backend/ask", body: `{"question":"a"}`, key: "wrong"}, "", 401, "UNAUTHORIZED"},
				{call{path: "/api/v1/teams/backend/ask", body: strings.Repeat(" ", 2<<20)}, "", 413, "PAYLOAD_TOO_LARGE"},
				{call{path: "/api/v1/teams/backend/ask", body: strings.Repeat(" ", 2<<20), key: "wrong"}, "", 401, "UNAUTHORIZED"},
			} {
				r := tt.call.request(t.Context(), "https://"+address)
				r.Host = tt.host
				res, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != tt.status || res.ProtoMajor != version || !strings.Contains(string(body), tt.says) {
					t.Errorf("%s: %s %d, %v: %s", tt.call.path, res.Proto, res.StatusCode, err, body)
				}
				// A browser that learned it of localhost would use TLS with all of its ports.
				if got, want := res.Header.Get("Strict-Transport-Security") != "", tt.host != ""; got != want {
					t.Errorf("host %q: Strict-Transport-Security: %v", tt.host, got)
				}
			}
		})
	}
}

// TestNoGoodTLS: what is refused below HTTP is refused over TLS as it is in the clear.
func TestNoGoodTLS(t *testing.T) {
	f := newSecureFront(t, httpapi.Config{HeaderTimeout: 2 * time.Second})
	address := f.secure(t)
	dial := func(t *testing.T, send string, cfg *tls.Config) *bufio.Reader {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(time.Minute))
		if cfg != nil {
			conn = tls.Client(conn, cfg)
		}
		if _, err := io.WriteString(conn, send); err != nil {
			t.Fatal(err)
		}
		return bufio.NewReader(conn)
	}
	for _, tt := range []struct {
		name, sent string
		tls        *tls.Config
		says       string
	}{
		{"a coding that nobody knows", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n", trusting("http/1.1"), "Transfer-Encoding is not known"},
		{"a request in the clear", "POST / HTTP/1.1\r\nHost: x\r\n\r\n", nil, "write https://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := answer(t, dial(t, tt.sent, tt.tls))
			if e := errorOf(t, body); status != 400 || !strings.Contains(e.Message, tt.says) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	for _, tt := range []struct{ name, sent string }{
		{"a client that says nothing", ""},
		{"half a handshake", "\x16\x03\x01\x02\x00"},
		{"what is neither", "hello, is anybody there?\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if rest, err := io.ReadAll(dial(t, tt.sent, nil)); len(rest) > 7 { // an alert may come
				t.Errorf("came %q, %v", rest, err)
			}
		})
	}
	t.Run("an old version", func(t *testing.T) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		old := trusting()
		old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		if err := tls.Client(conn, old).Handshake(); err == nil {
			t.Error("TLS 1.1 is spoken")
		}
	})
}

// TestTLSShutdown: nobody's handshake holds the end up.
func TestTLSShutdown(t *testing.T) {
	f := newSecureFront(t, httpapi.Config{HeaderTimeout: time.Hour})
	var conn net.Conn
	var began time.Time
	t.Run("", func(t *testing.T) { // its cleanup ends Serve
		var err error
		if conn, err = net.Dial("tcp", f.secure(t)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		began = time.Now()
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	conn.Close()
}

// TestWSS: a WebSocket over TLS, beside HTTP/2.
func TestWSS(t *testing.T) {
	f := newSecureFront(t, httpapi.Config{})
	address := f.secure(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trusting()}}
	conn, _, err := websocket.Dial(t.Context(), "wss://"+address+"/api/v1/stream", &websocket.DialOptions{
		HTTPClient: client, HTTPHeader: http.Header{"Authorization": {"Bearer all"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"ping"}`)); err != nil {
		t.Fatal(err)
	}
	if _, text, err := conn.Read(t.Context()); err != nil || string(text) != `{"type":"pong"}` {
		t.Errorf("%s, %v", text, err)
	}
	conn.Close(websocket.StatusNormalClosure, "")
}

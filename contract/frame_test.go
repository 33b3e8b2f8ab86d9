//go:build contract

package contract_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// socket is a WebSocket connection. Its frames are read by one goroutine, so that none is
// missed while another is waited for.
type socket struct {
	t      *testing.T
	conn   *websocket.Conn
	frames chan map[string]any // closed at the end of the connection
	ended  error               // set before
}

// dial connects with a key; the path is documented with status 101.
func (s *server) dial(t *testing.T, key string, header http.Header, protocols ...string) *socket {
	t.Helper()
	c, res, err := s.handshake(key, header, protocols...)
	if err != nil {
		t.Fatalf("%v %v", err, res)
	}
	seen.note(s.doc, s.request(req{path: "/stream"}), res.StatusCode)
	c.SetReadLimit(8 << 20)
	k := &socket{t: t, conn: c, frames: make(chan map[string]any, 1000)}
	go func() {
		defer close(k.frames)
		for {
			kind, data, err := c.Read(context.Background())
			if err != nil {
				k.ended = err
				return
			}
			var f map[string]any
			if err := json.Unmarshal(data, &f); err != nil || kind != websocket.MessageText {
				k.ended = fmt.Errorf("a frame of type %v is %.200q", kind, data)
				return
			}
			k.frames <- f
		}
	}()
	t.Cleanup(func() { c.CloseNow() })
	return k
}

func (s *server) handshake(key string, header http.Header, protocols ...string) (*websocket.Conn, *http.Response, error) {
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if key != "" {
		header.Set("Authorization", "Bearer "+keyOf(key))
	}
	return websocket.Dial(s.t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+"/api/v1/stream", &websocket.DialOptions{HTTPHeader: header, Subprotocols: protocols})
}

func (k *socket) send(v any) {
	k.t.Helper()
	data, ok := v.(string)
	if !ok {
		b, _ := json.Marshal(v)
		data = string(b)
	}
	if err := k.conn.Write(k.t.Context(), websocket.MessageText, []byte(data)); err != nil {
		k.t.Fatal(err)
	}
}

// until reads up to the first frame that fits, and gives all that it has read.
func (k *socket) until(fits func(map[string]any) bool) (all []map[string]any) {
	k.t.Helper()
	late := time.After(patience)
	for {
		select {
		case f, open := <-k.frames:
			if !open {
				k.t.Fatalf("the connection ended: %v; %v", k.ended, all)
			}
			if all = append(all, f); fits(f) {
				return all
			}
		case <-late:
			k.t.Fatalf("it did not come within %s: %v", patience, all)
		}
	}
}

// next wants the next frame to be of that type.
func (k *socket) next(kind string) map[string]any {
	k.t.Helper()
	f := k.until(func(map[string]any) bool { return true })[0]
	if f["type"] != kind {
		k.t.Fatalf("the next frame is %v, want %s", f, kind)
	}
	return f
}

func ofType(kind string) func(map[string]any) bool {
	return func(f map[string]any) bool { return f["type"] == kind }
}

// closes wants the connection to end with that code.
func (k *socket) closes(code websocket.StatusCode) {
	k.t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, open := <-k.frames:
			if open {
				continue
			}
			if got := websocket.CloseStatus(k.ended); got != code {
				k.t.Errorf("the connection ended with %v, want %d", k.ended, code)
			}
			return
		case <-late:
			k.t.Errorf("the connection did not end within %s", patience)
			return
		}
	}
}

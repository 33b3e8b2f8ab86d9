package socket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/iris-mcp/iris-mcp/httpapi/socket"
)

var config = socket.Config{
	Subprotocol: "test.v1", MaxFrame: 100, FrameTimeout: 10 * time.Second,
	WriteTimeout: 20 * time.Second, Ping: 30 * time.Second,
}

// line is a connection in a bubble, from both its ends.
type line struct {
	*socket.Conn
	client *websocket.Conn
	wire   net.Conn      // the client's
	got    chan string   // what handle was given; an echo comes back for each
	ended  chan struct{} // Serve has returned
	code   socket.Code
	reason string
}

// on runs do with a line whose handle echoes.
func on(t *testing.T, do func(t *testing.T, l *line)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &line{got: make(chan string, 1000), ended: make(chan struct{})}
		clientSide, serverSide := net.Pipe()
		l.wire = clientSide
		accepted := make(chan struct{})
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var err error
			if l.Conn, err = socket.Accept(w, r, config); err != nil {
				t.Error(err)
			}
			close(accepted)
			l.code, l.reason = l.Serve(func(text []byte) {
				l.got <- string(text)
				_ = l.Send(r.Context(), func() []byte { return text })
			})
			close(l.ended)
		})}
		ln := &single{conn: serverSide, done: make(chan struct{})}
		var serving sync.WaitGroup
		serving.Go(func() { srv.Serve(ln) })
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return clientSide, nil }}
		client, _, err := websocket.Dial(t.Context(), "ws://test/", &websocket.DialOptions{
			HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{"other", "test.v1"},
		})
		if err != nil {
			t.Fatal(err)
		}
		client.SetReadLimit(-1)
		l.client = client
		<-accepted
		if client.Subprotocol() != "test.v1" {
			t.Errorf("subprotocol %q", client.Subprotocol())
		}
		do(t, l)
		client.CloseNow()
		<-l.ended
		srv.Close()
		serving.Wait()
	})
}

// single is a listener with one connection.
type single struct {
	conn net.Conn
	once sync.Once
	done chan struct{}
}

func (s *single) Accept() (net.Conn, error) {
	if c := s.conn; c != nil {
		s.conn = nil
		return c, nil
	}
	<-s.done
	return nil, net.ErrClosed
}
func (s *single) Close() error   { s.once.Do(func() { close(s.done) }); return nil }
func (s *single) Addr() net.Addr { return &net.UnixAddr{Name: "single", Net: "unix"} }

func (l *line) write(t *testing.T, text string) {
	t.Helper()
	if err := l.client.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// read is the next frame, or "closed " and why.
func (l *line) read(t *testing.T) string {
	t.Helper()
	_, text, err := l.client.Read(t.Context())
	if c, ok := errors.AsType[websocket.CloseError](err); ok {
		return fmt.Sprintf("closed %d %s", c.Code, c.Reason)
	}
	if err != nil {
		return "broken"
	}
	return string(text)
}

func TestFramesGoBothWays(t *testing.T) {
	on(t, func(t *testing.T, l *line) {
		for i := range 100 {
			l.write(t, fmt.Sprint(i))
			if got := l.read(t); got != fmt.Sprint(i) {
				t.Fatalf("got %q, want %d", got, i)
			}
		}
		l.client.Close(websocket.StatusNormalClosure, "enough")
		<-l.ended
		if l.code != socket.Normal || !strings.Contains(l.reason, "enough") {
			t.Errorf("%d %s", l.code, l.reason)
		}
	})
}

func TestWhatEndsAConnection(t *testing.T) {
	write := func(kind websocket.MessageType, n int) func(*testing.T, *line) {
		return func(t *testing.T, l *line) {
			// A pipe holds nothing: the server may close before it has all of it.
			go l.client.Write(t.Context(), kind, []byte(strings.Repeat("x", n)))
		}
	}
	tests := []struct {
		name string
		do   func(*testing.T, *line)
		want string // what the client reads last
		code socket.Code
	}{
		{"a binary frame", write(websocket.MessageBinary, 5), "closed 1003 send text frames", socket.Unsupported},
		{"a frame that is too large by a byte", write(websocket.MessageText, 101), "closed 1009 a frame may have at most 100 bytes", socket.TooBig},
		{"a frame that is far too large", write(websocket.MessageText, 1<<20), "closed 1009 a frame may have at most 100 bytes", socket.TooBig},
		{"the server", func(t *testing.T, l *line) { l.End(socket.GoingAway, "bye", nil) }, "closed 1001 bye", socket.GoingAway},
		{"a reason that is too long", func(t *testing.T, l *line) { l.End(socket.Policy, strings.Repeat("é", 100), nil) }, "closed 1008 " + strings.Repeat("é", 60), socket.Policy},
		{"a frame that does not arrive", func(t *testing.T, l *line) {
			l.wire.Write([]byte{0x81, 0x85, 1, 2, 3, 4, 'a'}) // one of five bytes
		}, "closed 1008 a frame must arrive within 10s", socket.Policy},
		{"a frame that is not masked", func(t *testing.T, l *line) { l.wire.Write([]byte{0x81, 0x01, 'a'}) }, "closed 1002", websocket.StatusProtocolError},
		{"a frame of no kind", func(t *testing.T, l *line) { l.wire.Write([]byte{0x83, 0x80, 1, 2, 3, 4}) }, "closed 1002 received unknown opcode opcode(3)", websocket.StatusProtocolError},
		{"a wire that breaks", func(t *testing.T, l *line) { l.wire.Close() }, "broken", websocket.StatusAbnormalClosure},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			on(t, func(t *testing.T, l *line) {
				tt.do(t, l)
				if got := l.read(t); !strings.HasPrefix(got, tt.want) {
					t.Errorf("the client reads %q, want %q", got, tt.want)
				}
				l.client.CloseNow()
				<-l.ended
				if l.code != tt.code {
					t.Errorf("Serve says %d %s, want %d", l.code, l.reason, tt.code)
				}
				if err := l.Send(t.Context(), func() []byte { return nil }); err != socket.ErrOver {
					t.Errorf("Send: %v", err)
				}
			})
		})
	}
}

// TestLast: what was sent before the end still arrives, and the last word after it.
func TestLast(t *testing.T) {
	on(t, func(t *testing.T, l *line) {
		for _, text := range []string{"a", "b"} {
			l.Send(t.Context(), func() []byte { return []byte(text) })
		}
		l.End(socket.Policy, "because", []byte("last"))
		l.End(socket.GoingAway, "another reason", []byte("too late"))
		for _, want := range []string{"a", "b", "last", "closed 1008 because"} {
			if got := l.read(t); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
}

// TestSlowReader: it costs a bounded queue, and is told why when it reads again.
func TestSlowReader(t *testing.T) {
	on(t, func(t *testing.T, l *line) {
		sent, cut := 0, time.Duration(0)
		began := time.Now()
		for l.Send(t.Context(), func() []byte { return make([]byte, 1000) }) == nil {
			sent++
		}
		cut = time.Since(began)
		if sent < 30 || sent > 100 {
			t.Errorf("%d frames of 1000 bytes were taken, which nobody read", sent)
		}
		if cut < 20*time.Second || cut > 25*time.Second {
			t.Errorf("it was cut after %s", cut)
		}
		time.Sleep(30 * time.Second)
		l.read(t) // the frame that was on its way
		if got := l.read(t); !strings.HasPrefix(got, "closed 1013 you read too slowly") {
			t.Errorf("got %.80q", got)
		}
	})
}

// TestNeverReader: who never reads again is dropped for good.
func TestNeverReader(t *testing.T) {
	on(t, func(t *testing.T, l *line) {
		began := time.Now()
		l.Send(t.Context(), func() []byte { return make([]byte, 1000) })
		<-l.ended
		if took := time.Since(began); took > 70*time.Second || l.code != socket.TryAgainLater {
			t.Errorf("%d after %s", l.code, took)
		}
	})
}

// TestBusyReader: who reads all the time may be sent any amount, and a large frame may take
// longer than a small one.
func TestBusyReader(t *testing.T) {
	on(t, func(t *testing.T, l *line) {
		go func() {
			for range 100 {
				l.Send(t.Context(), func() []byte { return make([]byte, 10_000) })
			}
			l.Send(t.Context(), func() []byte { return make([]byte, 8<<20) })
			l.Send(t.Context(), func() []byte { return []byte("end") })
		}()
		for n := 0; ; n++ {
			kind, r, err := l.client.Reader(t.Context())
			if err != nil {
				t.Fatal(kind, err)
			}
			buf := make([]byte, 1<<20)
			size := 0
			for {
				k, err := r.Read(buf)
				size += k
				if errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(n, size, err)
				}
				if size > 10_000 {
					time.Sleep(time.Duration(k) * time.Second / (80 << 10)) // a slow line
				}
			}
			if size == 3 {
				return
			}
		}
	})
}

// TestFairness: the encoder runs only when there is room, and a sender that gives up waits no
// longer.
func TestFairness(t *testing.T) {
	on(t, func(t *testing.T, l *line) {
		for range 7 {
			l.Send(t.Context(), func() []byte { return make([]byte, 10_000) })
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if err := l.Send(ctx, func() []byte { t.Error("there is no room"); return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		for range 7 {
			l.read(t)
		}
		if err := l.Send(t.Context(), func() []byte { return []byte("now") }); err != nil || l.read(t) != "now" {
			t.Error(err)
		}
	})
}

// TestDeadClient: a client that answers no ping is dropped; one that does may be silent.
func TestDeadClient(t *testing.T) {
	on(t, func(t *testing.T, l *line) {
		silent := l.client.CloseRead(t.Context()) // answers pings
		time.Sleep(time.Hour)
		if l.Over().Err() != nil || silent.Err() != nil {
			t.Fatal("a silent client was dropped")
		}
	})
	on(t, func(t *testing.T, l *line) {
		go io.Copy(io.Discard, l.wire) // takes everything and says nothing
		began := time.Now()
		<-l.ended
		if took := time.Since(began); took > 3*time.Minute || took < 2*time.Minute {
			t.Errorf("dropped after %s: %d %s", took, l.code, l.reason)
		}
	})
}

// TestClientPings: a client that pings while it does not read is no reason to break the wire
// before its time.
func TestClientPings(t *testing.T) {
	on(t, func(t *testing.T, l *line) {
		l.Send(t.Context(), func() []byte { return make([]byte, 1000) })
		synctest.Wait()
		l.wire.Write([]byte{0x89, 0x80, 1, 2, 3, 4}) // the pong waits behind the frame
		time.Sleep(15 * time.Second)
		if l.Over().Err() != nil {
			t.Fatal("it is over")
		}
		if got := l.read(t); len(got) != 1000 {
			t.Errorf("got %.20q", got)
		}
		l.write(t, "on")
		if got := l.read(t); got != "on" {
			t.Errorf("got %.20q", got)
		}
	})
}

func TestNoHandshake(t *testing.T) {
	tests := []struct {
		name   string
		header http.Header
		status int
	}{
		{"a plain GET", http.Header{}, 426},
		{"no upgrade", http.Header{"Connection": {"Upgrade"}}, 426},
		{"another protocol", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"h2c"}}, 426},
		{"an old version", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"8"}}, 400},
		{"no key", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}}, 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header = tt.header
			w := httptest.NewRecorder()
			_, err := socket.Accept(w, r, config)
			refusal, ok := errors.AsType[*socket.Refusal](err)
			if !ok || refusal.Status != tt.status || w.Body.Len() > 0 {
				t.Errorf("%v, want %d; %q", err, tt.status, w.Body)
			}
			if tt.status == 426 && w.Header().Get("Upgrade") != "websocket" {
				t.Errorf("header %v", w.Header())
			}
		})
	}
}

// FuzzWire: whatever comes over the wire, the connection ends with it.
func FuzzWire(f *testing.F) {
	for _, s := range []string{
		"\x81\x85\x01\x02\x03\x04abcde", "\x81\x85\x01\x02\x03\x04ab", "\x82\x80\x00\x00\x00\x00", "\x89\x80\x00\x00\x00\x00", "\x88\x82\x00\x00\x00\x00\x03\xe8",
		"\x01\x81\x00\x00\x00\x00a\x80\x81\x00\x00\x00\x00b", "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\xc1\x80\x00\x00\x00\x00", "\x81\x01a", "\x8a\xfe\xff\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		on(t, func(t *testing.T, l *line) {
			go io.Copy(io.Discard, l.wire)
			l.wire.SetWriteDeadline(time.Now().Add(time.Minute)) // it may have been closed from there
			l.wire.Write(wire)
			l.wire.Close()
			<-l.ended
			for len(l.got) > 0 {
				if got := <-l.got; int64(len(got)) > config.MaxFrame {
					t.Errorf("a frame of %d bytes", len(got))
				}
			}
		})
	})
}

//go:build attack

package attack_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func readAnswer(t *testing.T, conn net.Conn) (status int, body []byte) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(patience))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	defer res.Body.Close()
	body, _ = io.ReadAll(res.Body)
	return res.StatusCode, body
}

// TestGuessedKeys: of ten thousand bad keys a hundred are looked at, and then their address is
// told to wait; good keys of the same address are not.
func TestGuessedKeys(t *testing.T) {
	s := start(t)
	quiet := s.neighbour()
	time.Sleep(2 * time.Second)
	before := quiet()
	stop := s.neighbour()
	began := time.Now()
	var unauthorized, limited, other atomic.Int64
	var all sync.WaitGroup
	const clients, each = 16, 625
	for c := range clients {
		all.Go(func() {
			for i := range each {
				status, header, body := s.send("GET", "/api/v1/teams", fmt.Sprintf("iris_sk_%06d%06d", c, i), "")
				switch {
				case status == 401:
					unauthorized.Add(1)
				case status == 429 && header.Get("Retry-After") != "":
					limited.Add(1)
				default:
					other.Add(1)
					t.Errorf("%d %s", status, body)
				}
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	during := stop()
	now, _ := s.memory()
	t.Logf("%d bad keys in %s: %d × 401, %d × 429; a good caller before: %s; meanwhile: %s; %d MB", clients*each, took.Round(time.Millisecond), unauthorized.Load(), limited.Load(), before, during, now)
	// Not all of it lies in one minute on a slow machine, and the window slides.
	if n, minutes := unauthorized.Load(), int64(took/time.Minute)+1; n > 100*(minutes+1) || n < 100 || other.Load() > 0 {
		t.Errorf("%d were looked at in %s", n, took)
	}
	if now > 300 || during.at(.99) > patience {
		t.Errorf("%s, %d MB", during, now)
	}
	// Another address has not guessed.
	conn := s.dial("127.0.0.2")
	fmt.Fprintf(conn, "GET /api/v1/teams HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer iris_sk_another\r\n\r\n")
	if status, body := readAnswer(t, conn); status != 401 {
		t.Errorf("another address: %d %s", status, body)
	}
}

// TestSlowSockets: six hundred connections that send or read nothing, or next to nothing. They
// are hung up on, cost little, and nobody else feels them.
func TestSlowSockets(t *testing.T) {
	s := start(t)
	quiet := s.neighbour()
	time.Sleep(2 * time.Second)
	before := quiet()

	// A message with much to read, for those who do not.
	status, _, body := s.send("POST", "/api/v1/teams/backend/ask", good+"xxxxxxxx", `{"question":"[[bytes 8000000]]"}`)
	if status != 200 {
		t.Fatalf("%d %.300s", status, body)
	}
	_, id, _ := strings.Cut(string(body), `"messageId":"`)
	id, _, _ = strings.Cut(id, `"`)

	key := "Authorization: Bearer " + good + "xxxxxxxx\r\n"
	post := "POST /api/v1/teams/backend/ask HTTP/1.1\r\nHost: x\r\n"
	kinds := []struct {
		name, head string
		drips      bool          // a byte a second follows
		gone       time.Duration // by then the server has hung up, at the latest; zero: it is not to be seen from here
	}{
		{"say nothing", "", false, 20 * time.Second},
		{"send a head byte by byte", "GET /healthz HTTP/1.1\r\nHost: x\r\nA: ", true, 20 * time.Second},
		{"send a body byte by byte", post + key + "Content-Length: 100000\r\n\r\n{", true, 40 * time.Second},
		{"send a body byte by byte, without a key", post + "Content-Length: 100000\r\n\r\n{", true, 20 * time.Second},
		{"read no stream", "GET /api/v1/messages/" + id + "/stream HTTP/1.1\r\nHost: x\r\n" + key + "\r\n", false, 0},
		{"read no WebSocket", "GET /api/v1/stream HTTP/1.1\r\nHost: x\r\n" + key + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" +
			frame(`{"type":"resume","messageId":"`+id+`","after":0}`), false, 0},
	}
	const each = 100
	var sockets sync.WaitGroup
	opened := time.Now()
	end := make(chan struct{})
	late := make([]atomic.Int64, len(kinds))
	for k, kind := range kinds {
		for range each {
			conn := s.dial("")
			if kind.gone == 0 {
				conn.SetReadBuffer(4 << 10) // else the system takes megabytes off the server's hands
			}
			sockets.Go(func() {
				defer conn.Close()
				io.WriteString(conn, kind.head)
				if kind.drips {
					go func() {
						for range 60 {
							if _, err := conn.Write([]byte("a")); err != nil {
								return
							}
							time.Sleep(time.Second)
						}
					}()
				}
				if kind.gone == 0 {
					<-end
					return
				}
				conn.SetReadDeadline(opened.Add(kind.gone + 10*time.Second))
				if _, err := io.Copy(io.Discard, conn); err != nil && isTimeout(err) {
					late[k].Add(1)
				}
			})
		}
	}
	stop := s.neighbour()
	time.Sleep(5 * time.Second)
	now, _ := s.memory()
	during := stop()
	rest := s.neighbour()
	// Who reads nothing cannot see its end. A WebSocket is given longer, more than this test has.
	for s.gauge(`iris_streams{kind="sse"}`) != "0" {
		if time.Since(opened) > 90*time.Second {
			t.Errorf("there are still %s streams that nobody reads", s.gauge(`iris_streams{kind="sse"}`))
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("streams that nobody reads were cut within %s", time.Since(opened).Round(time.Second))
	close(end)
	sockets.Wait()
	after := rest()
	_, peak := s.memory()
	t.Logf("a good caller before: %s; beside %d slow sockets: %s; while they were hung up on: %s; %d MB meanwhile, %d MB at the peak", before, each*len(kinds), during, after, now, peak)
	for k, kind := range kinds {
		if n := late[k].Load(); n > 0 {
			t.Errorf("%d of those that %s were not hung up on in time", n, kind.name)
		}
	}
	if during.at(.99) > patience || after.at(.99) > patience || peak > 500 {
		t.Errorf("%s; %s; %d MB", during, after, peak)
	}
}

// frame is a short text frame of a client (RFC 6455, section 5.2), with a mask of zeros.
func frame(text string) string {
	return "\x81" + string([]byte{byte(0x80 + len(text))}) + "\x00\x00\x00\x00" + text
}

// gauge is what /metrics says.
func (s *server) gauge(name string) string {
	_, _, text := s.send("GET", "/metrics", "", "")
	_, value, _ := strings.Cut(string(text), "\n"+name+" ")
	value, _, _ = strings.Cut(value, "\n")
	return value
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// TestLowKey: a key that may do next to nothing cannot do more by doing it often, and is felt
// by nobody.
func TestLowKey(t *testing.T) {
	s := start(t)
	stop := s.neighbour()
	count := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 250 {
				path, method, body := "/api/v1/teams", "GET", ""
				if i%2 == 0 {
					path, method, body = "/api/v1/teams/backend/execute", "POST", `{"task":"`+strings.Repeat("a", 100_000)+`"}`
				}
				status, _, _ := s.send(method, path, low, body)
				mu.Lock()
				count[status]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	took := stop()
	_, peak := s.memory()
	t.Logf("2000 requests of a low key: %v; a good caller meanwhile: %s; %d MB at the peak", count, took, peak)
	if count[200]+count[403] > 200 || count[429] < 1500 || count[200]+count[403]+count[429] != 2000 || peak > 300 {
		t.Errorf("%v, %d MB", count, peak)
	}
}

package owner

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The inside is the point: over a pipe in place of the socket the relay's clocks can be tested
// in no time.
func testRelay(t *testing.T, owner func(conn net.Conn), client func(say io.Writer, hear *bufio.Reader)) (time.Duration, error) {
	began := time.Now()
	near, far := net.Pipe()
	in, say := io.Pipe()
	hear, out := io.Pipe()
	r := newRelay(near, Welcome{PID: 42}, out)
	var ends sync.WaitGroup
	ends.Go(func() { owner(far); far.Close() })
	ends.Go(func() {
		client(say, bufio.NewReader(hear))
		say.Close()
		hear.Close()
	})
	err := r.run(t.Context(), in)
	took := time.Since(began)
	out.Close()
	near.Close()
	ends.Wait()
	return took, err
}

func TestAnOwnerThatHangsIsToldOf(t *testing.T) {
	for name, reads := range map[string]bool{"it reads and says nothing": true, "it does not even read": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took, err := testRelay(t, func(conn net.Conn) {
					lines := bufio.NewReader(conn)
					lines.ReadString('\n')
					if reads {
						io.Copy(io.Discard, lines)
					}
					<-time.After(time.Minute)
				}, func(say io.Writer, hear *bufio.Reader) {
					fmt.Fprintln(say, `{"jsonrpc":"2.0","id":2,"method":"tools/call"}`)
					line, _ := hear.ReadString('\n')
					if !strings.Contains(line, `"id":2`) || !strings.Contains(line, "process 42") || !strings.Contains(line, "does not answer") {
						t.Errorf("the client hears %q", line)
					}
				})
				if !errors.Is(err, ErrOwnerHangs) {
					t.Errorf("the relay ended with %v", err)
				}
				if took < pongTime || took > 2*pongTime {
					t.Errorf("it was told after %s", took)
				}
			})
		})
	}
}

// A silent owner that answers pings is at work; an idle one is not pinged. The client sees
// none of it.
func TestALongCallIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pings atomic.Int64
		_, err := testRelay(t, func(conn net.Conn) {
			lines := bufio.NewReader(conn)
			for {
				line, err := lines.ReadString('\n')
				switch {
				case err != nil:
					return
				case strings.Contains(line, pingID):
					pings.Add(1)
					fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%q,"result":{}}`+"\n", pingID)
				case strings.Contains(line, "ask_team"):
					// Not at a moment of the pings' clock: one that is on its way counts for neither hour.
					time.AfterFunc(time.Hour+time.Second, func() { fmt.Fprintln(conn, `{"jsonrpc":"2.0","id":1,"result":"late"}`) })
				}
			}
		}, func(say io.Writer, hear *bufio.Reader) {
			fmt.Fprintln(say, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask_team"}}`)
			if line, _ := hear.ReadString('\n'); !strings.Contains(line, "late") {
				t.Errorf("the client hears %q", line)
			}
			before := pings.Load()
			<-time.After(time.Hour)
			if after := pings.Load(); before == 0 || after != before {
				t.Errorf("%d pings while the call was open, %d in the idle hour", before, after-before)
			}
		})
		if err != nil {
			t.Errorf("the relay ended with %v", err)
		}
	})
}

func TestAClientThatDoesNotReadHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took, err := testRelay(t, func(conn net.Conn) {
			bufio.NewReader(conn).ReadString('\n')
		}, func(say io.Writer, _ *bufio.Reader) {
			fmt.Fprintln(say, `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`)
			<-time.After(time.Minute)
		})
		if !errors.Is(err, ErrOwnerGone) || took > leaveTime {
			t.Errorf("the relay ended with %v after %s", err, took)
		}
	})
}

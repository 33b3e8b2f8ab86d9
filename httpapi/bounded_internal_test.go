//go:build unix

package httpapi

import (
	"net"
	"syscall"
	"testing"
)

// TestBounded: the system keeps little for a client that takes nothing. With the size set it
// no longer lets the buffer grow.
func TestBounded(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := bounded{ln}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	raw.Control(func(fd uintptr) { size, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF) })
	if err != nil || size < sendBuffer/2 || size > 2*sendBuffer {
		t.Errorf("the buffer has %d bytes, %v", size, err)
	}
}

package main

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAServiceManagerIsTold(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@iris-test-" + filepath.Base(t.TempDir())} {
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Skip("no such sockets here:", err)
		}
		defer conn.Close()
		t.Setenv("NOTIFY_SOCKET", name)
		n := newNotifier(slog.New(slog.DiscardHandler))
		if _, there := os.LookupEnv("NOTIFY_SOCKET"); there {
			t.Error("what this process starts could speak for it")
		}
		n.ready("http://127.0.0.1:3100")
		n.stopping(30 * time.Second)
		for _, want := range []string{
			"READY=1\nSTATUS=Serving, HTTP: http://127.0.0.1:3100",
			"STOPPING=1\nSTATUS=Ending: what runs may come to its end\nEXTEND_TIMEOUT_USEC=30000000",
		} {
			b := make([]byte, 1000)
			conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if k, err := conn.Read(b); err != nil || string(b[:k]) != want {
				t.Errorf("told %q, %v", b[:k], err)
			}
		}
	}
	newNotifier(slog.New(slog.DiscardHandler)).ready("nobody listens") // must not matter
}

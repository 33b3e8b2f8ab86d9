package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"
)

// notifier tells a service manager what becomes of the server, as sd_notify(3) does; nil where
// nobody wants to know. A unit of Type=notify is up when the server says so, not before.
type notifier struct {
	to  *net.UnixAddr
	log *slog.Logger
}

// newNotifier reads where the service manager listens, and takes that out of the environment:
// it is for this process, not for those that it starts.
func newNotifier(log *slog.Logger) *notifier {
	path := os.Getenv("NOTIFY_SOCKET")
	os.Unsetenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	return &notifier{&net.UnixAddr{Name: path, Net: "unixgram"}, log} // a leading @ is net's word for an abstract one, too
}

// ready says that the server answers.
func (n *notifier) ready(address string) {
	n.send("READY=1", "STATUS=Serving, HTTP: "+address)
}

// stopping says that the server ends, and within which time.
func (n *notifier) stopping(within time.Duration) {
	n.send("STOPPING=1", "STATUS=Ending: what runs may come to its end",
		fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", within.Microseconds()))
}

func (n *notifier) send(lines ...string) {
	if n == nil {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, n.to)
	if err == nil {
		_, err = conn.Write([]byte(strings.Join(lines, "\n")))
		conn.Close()
	}
	if err != nil {
		n.log.Warn("the service manager can't be told", "what", lines[0], "error", err)
	}
}

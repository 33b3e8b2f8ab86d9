package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/testscript"
)

// playSocket connects as a browser does and plays a file: "> frame" is sent, "< regexp" is what
// the next frame must fit. {ID} stands for the id of the message that was heard of last, in later
// plays too.
func playSocket(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: websocket KEY FILE")
	}
	address, err := os.ReadFile(addressFile(ts.Getenv("IRIS_HOME")))
	ts.Check(err)
	ctx, stop := context.WithTimeout(context.Background(), patienceOfTests)
	defer stop()
	origin := strings.TrimSpace(string(address))
	conn, _, err := websocket.Dial(ctx, origin+"/api/v1/stream", &websocket.DialOptions{
		Subprotocols: []string{"iris.v1", "iris.key." + args[0]}, HTTPHeader: http.Header{"Origin": {origin}},
	})
	ts.Check(err)
	defer conn.CloseNow()
	if conn.Subprotocol() != "iris.v1" {
		ts.Fatalf("the server agreed on %q", conn.Subprotocol())
	}
	about := regexp.MustCompile(`"messageId":"(msg_\w+)"`)
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		line = strings.ReplaceAll(strings.TrimSpace(line), "{ID}", ts.Getenv("ID"))
		switch what, rest, _ := strings.Cut(line, " "); what {
		case ">":
			ts.Check(conn.Write(ctx, websocket.MessageText, []byte(rest)))
		case "<":
			_, text, err := conn.Read(ctx)
			if err != nil {
				ts.Fatalf("%s did not come: %v", rest, err)
			}
			fmt.Fprintf(ts.Stdout(), "%s\n", text)
			if !regexp.MustCompile(rest).Match(text) {
				ts.Fatalf("got %s, want %s", text, rest)
			}
			if id := about.FindSubmatch(text); id != nil {
				ts.Setenv("ID", string(id[1]))
			}
		default:
			ts.Fatalf("%q is nothing that can be played", line)
		}
	}
}

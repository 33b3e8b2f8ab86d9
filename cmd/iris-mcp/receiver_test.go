package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/iris-mcp/iris-mcp/internal/webhook"
)

// receiver is a program of the stories that takes callbacks: receiver LOG ANSWER… It listens on
// HOOK_PORT, answers the first request with the first status, and so on; the last one serves
// the rest, and "hang" is no answer at all. It writes to LOG that it is up, and for each request a line: method,
// path, status of the task, webhook-id, how many signatures there are, and whether the newest
// and the oldest secret of the data folder find a good one among them.
func receiver() {
	log, err := os.OpenFile(os.Args[1], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("HOOK_PORT"))
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(log, "up")
	answers := os.Args[2:]
	var n atomic.Int64
	err = http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := answers[min(int(n.Add(1)), len(answers))-1]
		body, _ := io.ReadAll(r.Body)
		var task struct{ Status string }
		json.Unmarshal(body, &task)
		fmt.Fprintf(log, "%s %s %s %s %d %s\n", r.Method, r.URL, task.Status, r.Header.Get("webhook-id"),
			len(strings.Fields(r.Header.Get("webhook-signature"))), verify(body, r.Header))
		if code, err := strconv.Atoi(answer); err == nil {
			w.WriteHeader(code)
		} else {
			<-r.Context().Done()
		}
	}))
	panic(err)
}

func verify(body []byte, h http.Header) string {
	secrets, err := webhook.Secrets(os.Getenv("IRIS_HOME"))
	if err != nil {
		return err.Error()
	}
	for _, secret := range []string{secrets[0], secrets[len(secrets)-1]} {
		w, err := standardwebhooks.NewWebhook(secret)
		if err == nil {
			err = w.Verify(body, h)
		}
		if err != nil {
			return err.Error()
		}
	}
	return "good"
}

//go:build clients

package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/webhook"
)

// record has one finished task, and forgets what became of its delivery.
type record struct{ url string }

func (r record) Message(context.Context, string) (iris.Message, error) {
	return iris.Message{
		ID: "msg_01", Team: "backend", Task: true, Status: iris.StatusCompleted, Response: "Häkchen ✓ <&>\u2028\n\nund mehr",
		CreatedAt: time.UnixMilli(1704067500000), CompletedAt: time.UnixMilli(1704067515234),
	}, nil
}

func (r record) Callback(context.Context, string) (iris.Callback, error) {
	return iris.Callback{URL: r.url}, nil
}

func (r record) Delivery(context.Context, string) (iris.Delivery, bool, error) {
	return iris.Delivery{}, true, nil
}

func (r record) Attempted(context.Context, iris.Job, iris.DeliveryAttempt, iris.DeliveryState, time.Time) error {
	return nil
}

func (r record) ReturnDelivery(context.Context, iris.Job, time.Time) error { return nil }

// TestWebhooksAreGoodForEverybody checks a delivery with the libraries of Standard Webhooks, by
// the new secret and by the old one.
func TestWebhooksAreGoodForEverybody(t *testing.T) {
	const secret, old, foreign = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	var body string
	headers := map[string]string{}
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		body = string(text)
		for name := range r.Header {
			headers[strings.ToLower(name)] = r.Header.Get(name)
		}
	}))
	s := webhook.New(webhook.Config{
		Settings: func() webhook.Settings { return webhook.Settings{AllowPrivate: true, Timeout: time.Minute} },
		Secrets:  func() ([]string, error) { return []string{secret, old}, nil },
	}, record{receiver.URL}, slog.New(slog.DiscardHandler))
	s.Run(t.Context(), iris.Job{MessageID: "msg_01"}, nil)
	receiver.Close() // waits for its handlers

	for language, command := range map[string][]string{
		"Python":     {"../.cache/clients/bin/python", "webhook.py"},
		"JavaScript": {"node", "webhook.mjs"},
	} {
		for _, tt := range []struct{ secret, body, want string }{
			{secret, body, "completed"}, {old, body, "completed"}, {foreign, body, "refused"}, {secret, body + " ", "refused"},
		} {
			given, err := json.Marshal(map[string]any{"secret": tt.secret, "headers": headers, "body": tt.body})
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
			var complaint strings.Builder
			cmd.Stdin, cmd.Stderr = bytes.NewReader(given), &complaint
			said, err := cmd.Output()
			if got := strings.TrimSpace(string(said)); err != nil || got != tt.want {
				t.Errorf("%s says %q, want %q: %v %s", language, got, tt.want, err, &complaint)
			}
		}
	}
}

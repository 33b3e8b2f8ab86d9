package webhook_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/webhook"
)

const (
	secret  = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	another = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

var errShutdown = errors.New("shutting down")

// record is a record of one delivery.
type record struct {
	mu       sync.Mutex
	message  iris.Message
	callback iris.Callback
	delivery iris.Delivery
	returned []time.Time
	faults   int // writes that fail yet
	final    bool
}

func newRecord(url string) *record {
	return &record{
		message: iris.Message{
			ID: "msg_01", Team: "backend", Task: true, Status: iris.StatusCompleted,
			CreatedAt: time.UnixMilli(1704067500000), CompletedAt: time.UnixMilli(1704067515234),
			Response: "Fixed 3 vulnerabilities, 0 require manual review\n\n<all> & more",
		},
		callback: iris.Callback{URL: url},
		delivery: iris.Delivery{URL: url, State: iris.DeliveryPending},
	}
}

func (r *record) Message(context.Context, string) (iris.Message, error)   { return r.message, nil }
func (r *record) Callback(context.Context, string) (iris.Callback, error) { return r.callback, nil }
func (r *record) Delivery(context.Context, string) (iris.Delivery, bool, error) {
	return r.delivery, true, nil
}

func (r *record) write() error {
	switch {
	case r.final:
		return iris.ErrFinal
	case r.faults > 0:
		r.faults--
		return errors.New("disk full")
	}
	return nil
}

func (r *record) Attempted(_ context.Context, _ iris.Job, a iris.DeliveryAttempt, state iris.DeliveryState, next time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.write(); err != nil {
		return err
	}
	r.delivery.Attempts = append(r.delivery.Attempts, a)
	r.delivery.State, r.delivery.NextAt = state, next
	r.delivery.Failures++
	return nil
}

func (r *record) ReturnDelivery(_ context.Context, _ iris.Job, at time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.write(); err != nil {
		return err
	}
	r.returned = append(r.returned, at)
	return nil
}

// last is the newest attempt.
func (r *record) last(t *testing.T) iris.DeliveryAttempt {
	t.Helper()
	if len(r.delivery.Attempts) == 0 {
		t.Fatal("no attempt is on record")
	}
	return r.delivery.Attempts[len(r.delivery.Attempts)-1]
}

var delays = []time.Duration{5 * time.Second, 5 * time.Minute}

// sender may send anywhere unless change says otherwise.
func sender(r *record, change func(*webhook.Config)) *webhook.Sender {
	cfg := webhook.Config{
		Version: "1.2.3",
		Settings: func() webhook.Settings {
			return webhook.Settings{AllowPrivate: true, RetryDelays: delays, Timeout: 30 * time.Second}
		},
		Secrets: func() ([]string, error) { return []string{secret, another}, nil },
	}
	if change != nil {
		change(&cfg)
	}
	return webhook.New(cfg, r, slog.New(slog.DiscardHandler))
}

func run(t *testing.T, r *record, change func(*webhook.Config)) {
	t.Helper()
	sender(r, change).Run(t.Context(), iris.Job{ID: "d", Kind: iris.JobDelivery, MessageID: "msg_01", Attempt: 1}, errShutdown)
}

func timeout(d time.Duration) func(*webhook.Config) {
	return func(c *webhook.Config) {
		s := c.Settings()
		s.Timeout = d
		c.Settings = func() webhook.Settings { return s }
	}
}

// got is a request as a receiver got it.
type got struct {
	*http.Request
	body []byte
}

// receiver answers with a handler and keeps what came.
func receiver(t *testing.T, answer http.HandlerFunc) (url string, all func() []got) {
	t.Helper()
	var mu sync.Mutex
	var list []got
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		list = append(list, got{r, body})
		mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() []got {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestADeliveryIsSentAsSaidAndSigned(t *testing.T) {
	url, all := receiver(t, status(http.StatusNoContent))
	r := newRecord(url + "/webhooks/iris?a=b")
	r.callback.Method = "PUT"
	r.callback.Headers = map[string]string{"authorization": "Bearer webhook-secret", "Content-Type": "application/vnd.iris+json"}
	run(t, r, nil)
	if a := r.last(t); r.delivery.State != iris.DeliveryDelivered || a.Status != 204 || a.Problem != "" || a.At.IsZero() || !r.delivery.NextAt.IsZero() {
		t.Errorf("the delivery is %+v", r.delivery)
	}
	g := all()[0]
	want := `{"jobId":"job_01","messageId":"msg_01","team":"backend","status":"completed","result":{"summary":"Fixed 3 vulnerabilities, 0 require manual review","details":"Fixed 3 vulnerabilities, 0 require manual review\n\n<all> & more"},"duration":15234,"timestamp":1704067515234}`
	if string(g.body) != want {
		t.Errorf("the body is\n%s, want\n%s", g.body, want)
	}
	if g.Method != "PUT" || g.URL.RequestURI() != "/webhooks/iris?a=b" || g.ContentLength != int64(len(want)) {
		t.Errorf("the request is %s %s of %d bytes", g.Method, g.URL, g.ContentLength)
	}
	for name, want := range map[string]string{
		"Authorization": "Bearer webhook-secret", "Content-Type": "application/vnd.iris+json", "User-Agent": "Iris/1.2.3", "Webhook-Id": "msg_01",
	} {
		if got := g.Header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, s := range []string{secret, another} {
		w, err := standardwebhooks.NewWebhook(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Verify(g.body, g.Header); err != nil {
			t.Errorf("by %s: %v", s, err)
		}
		if w.Verify(append(g.body, ' '), g.Header) == nil {
			t.Error("another body is good too")
		}
	}
}

func TestAFailureAndACancelAreToldToo(t *testing.T) {
	url, all := receiver(t, status(http.StatusOK))
	r := newRecord(url)
	r.message.Status, r.message.Response = iris.StatusFailed, ""
	r.message.Err = &iris.Error{Code: iris.CodeProcess, Message: "it died", Private: map[string]any{"stderr": "secret"}}
	run(t, r, nil)
	r.message.Status, r.message.Err = iris.StatusCancelled, iris.Errorf(iris.CodeCancelled, "the message was cancelled")
	run(t, r, nil)
	for i, want := range []string{
		`{"jobId":"job_01","messageId":"msg_01","team":"backend","status":"failed","error":"it died","code":"PROCESS_ERROR","duration":15234,"timestamp":1704067515234}`,
		`{"jobId":"job_01","messageId":"msg_01","team":"backend","status":"cancelled","error":"the message was cancelled","code":"CANCELLED","duration":15234,"timestamp":1704067515234}`,
	} {
		if g := all()[i]; string(g.body) != want || g.Method != "POST" || g.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s\n%s, want\n%s", g.Method, g.Header.Get("Content-Type"), g.body, want)
		}
	}
}

func TestWhatAnAnswerComesTo(t *testing.T) {
	answer := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			io.WriteString(w, "the receiver's own words")
		}
	}
	tomorrow := time.Now().Add(20 * time.Hour).UTC().Format(http.TimeFormat)
	tests := []struct {
		name     string
		failures int
		answer   http.HandlerFunc
		state    iris.DeliveryState
		wait     [2]time.Duration // until the next attempt
	}{
		{"2xx is success", 0, answer(202), iris.DeliveryDelivered, [2]time.Duration{}},
		{"a failure is tried again", 0, answer(500), iris.DeliveryPending, [2]time.Duration{5 * time.Second, 5500 * time.Millisecond}},
		{"later each time", 1, answer(404), iris.DeliveryPending, [2]time.Duration{5 * time.Minute, 330 * time.Second}},
		{"and given up in the end", 2, answer(500), iris.DeliveryFailed, [2]time.Duration{}},
		{"410 ends it", 0, answer(410), iris.DeliveryGone, [2]time.Duration{}},
		{"a redirect is a failure", 0, answer(302, "Location", "/elsewhere"), iris.DeliveryPending, [2]time.Duration{5 * time.Second, 5500 * time.Millisecond}},
		{"one that keeps the method too", 0, answer(308, "Location", "/elsewhere"), iris.DeliveryPending, [2]time.Duration{5 * time.Second, 5500 * time.Millisecond}},
		{"Retry-After is obeyed", 0, answer(429, "Retry-After", "60"), iris.DeliveryPending, [2]time.Duration{time.Minute, time.Minute}},
		{"as a date too", 0, answer(503, "Retry-After", tomorrow), iris.DeliveryPending, [2]time.Duration{20*time.Hour - time.Minute, 20 * time.Hour}},
		{"up to a day", 0, answer(503, "Retry-After", "99999999"), iris.DeliveryPending, [2]time.Duration{24 * time.Hour, 24 * time.Hour}},
		{"it makes no pause shorter", 1, answer(503, "Retry-After", "1"), iris.DeliveryPending, [2]time.Duration{5 * time.Minute, 330 * time.Second}},
		{"nonsense is no Retry-After", 0, answer(503, "Retry-After", "-1e9"), iris.DeliveryPending, [2]time.Duration{5 * time.Second, 5500 * time.Millisecond}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url, all := receiver(t, tt.answer)
			r := newRecord(url)
			r.delivery.Failures = tt.failures
			before := time.Now()
			run(t, r, nil)
			after := time.Now()
			d, a := r.delivery, r.last(t)
			if d.State != tt.state || len(all()) != 1 || (a.Problem == "") != (tt.state == iris.DeliveryDelivered) || a.Status == 0 {
				t.Errorf("the delivery is %+v after %d requests", d, len(all()))
			}
			if strings.Contains(a.Problem, "words") {
				t.Errorf("the problem shows what the receiver said: %s", a.Problem)
			}
			switch {
			case tt.wait[1] == 0:
				if !d.NextAt.IsZero() {
					t.Errorf("it is tried again at %s", d.NextAt)
				}
			case d.NextAt.Before(before.Add(tt.wait[0])) || d.NextAt.After(after.Add(tt.wait[1])):
				t.Errorf("it is tried again after %s", d.NextAt.Sub(before))
			}
		})
	}
}

// raw is a receiver that is no HTTP server; serve plays one connection.
func raw(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); conns.Wait() })
	return "http://" + ln.Addr().String()
}

// head reads a request's head.
func head(c net.Conn) {
	var all []byte
	for b := make([]byte, 1); !bytes.HasSuffix(all, []byte("\r\n\r\n")); all = append(all, b[0]) {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// flood writes until the other side has enough.
func flood(c net.Conn, text string) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
	}
}

func TestReceiversThatDoNotAnswerWell(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	https := httptest.NewTLSServer(status(200))
	https.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	t.Cleanup(https.Close)
	plain, _ := receiver(t, status(200))
	silent := raw(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	short := timeout(100 * time.Millisecond)
	tests := []struct {
		name, url string
		change    func(*webhook.Config)
		problem   string
		delivered bool
	}{
		{"nobody listens", closed.URL, nil, "nothing listens there: the connection was refused", false},
		{"it takes all and says nothing", silent, short, "no answer within 100ms", false},
		{"it reads nothing", raw(t, func(c net.Conn) { time.Sleep(time.Second) }), short, "no answer within 100ms", false},
		{"it hangs up", raw(t, func(c net.Conn) { head(c) }), nil, "the receiver broke the connection", false},
		{"it speaks something else", raw(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0-x\r\n"); head(c) }), nil, "the receiver gave no answer that is HTTP", false},
		{"the head of its answer has no end", raw(t, func(c net.Conn) {
			head(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			flood(c, "X: "+strings.Repeat("x", 1000)+"\r\n")
		}), nil, "the receiver gave no answer that is HTTP", false},
		{"the body of its answer has no end", raw(t, func(c net.Conn) {
			head(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			flood(c, strings.Repeat("x", 1000))
		}), nil, "", true},
		{"its answer never ends, and says nothing", raw(t, func(c net.Conn) {
			head(c)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
			io.Copy(io.Discard, c)
		}), nil, "", true},
		{"its certificate is its own", https.URL, nil, "the certificate of the receiver is not good: x509: certificate signed by unknown authority", false},
		{"it speaks no TLS", strings.Replace(plain, "http:", "https:", 1), nil, "the receiver does not speak TLS as it should", false},
		{"its name is unknown", "http://no-such-host.invalid", func(c *webhook.Config) { c.Resolver = names(t, nil) }, "the name of the host is not known", false},
		{"Iris cannot sign", plain, func(c *webhook.Config) {
			c.Secrets = func() ([]string, error) { return nil, errors.New("/home/me/.iris/webhook.secret") }
		}, "Iris could not make the request; its log says why", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRecord(tt.url)
			run(t, r, tt.change)
			if a := r.last(t); (r.delivery.State == iris.DeliveryDelivered) != tt.delivered || a.Problem != tt.problem {
				t.Errorf("the delivery is %+v", r.delivery)
			}
		})
	}
}

func TestAGoodCertificateAndHTTP2(t *testing.T) {
	proto := make(chan string, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { proto <- r.Proto }))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	r := newRecord(srv.URL)
	run(t, r, func(c *webhook.Config) { c.Authorities = srv.Client().Transport.(*http.Transport).TLSClientConfig })
	if r.delivery.State != iris.DeliveryDelivered || <-proto != "HTTP/2.0" {
		t.Errorf("the delivery is %+v", r.delivery)
	}
}

func TestAnAttemptThatIsCutOff(t *testing.T) {
	for _, cause := range []error{errShutdown, errors.New("the lease was lost")} {
		came := make(chan struct{})
		url := raw(t, func(c net.Conn) { head(c); close(came); io.Copy(io.Discard, c) })
		r := newRecord(url)
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { <-came; cancel(cause) }()
		sender(r, nil).Run(ctx, iris.Job{MessageID: "msg_01"}, errShutdown)
		if back := len(r.returned) == 1; back != (cause == errShutdown) || len(r.delivery.Attempts) > 0 {
			t.Errorf("%v: given back %d times, attempts %+v", cause, len(r.returned), r.delivery.Attempts)
		}
	}
}

func TestAStoreThatFailsIsAskedAgain(t *testing.T) {
	url, all := receiver(t, status(http.StatusOK))
	r := newRecord(url)
	r.faults = 1
	run(t, r, nil)
	if r.delivery.State != iris.DeliveryDelivered || len(all()) != 1 {
		t.Errorf("the delivery is %+v after %d requests", r.delivery, len(all()))
	}
	r.final = true // somebody else has it
	run(t, r, nil)
	if len(r.delivery.Attempts) != 1 {
		t.Errorf("the delivery is %+v", r.delivery)
	}
}

// A URL may be as good as a password, and so may a header: neither gets into the log.
func TestTheLogKeepsQuiet(t *testing.T) {
	var log bytes.Buffer
	for _, url := range []string{"http://127.0.0.1:1/hush?token=hush", "http://127.0.0.1:1/%zzhush"} {
		r := newRecord(url)
		r.callback.Headers = map[string]string{"Authorization": "hush"}
		s := webhook.New(webhook.Config{
			Settings: func() webhook.Settings { return webhook.Settings{AllowPrivate: true, Timeout: time.Minute} },
			Secrets:  func() ([]string, error) { return []string{secret}, nil },
		}, r, slog.New(slog.NewTextHandler(&log, nil)))
		s.Run(t.Context(), iris.Job{MessageID: "msg_01"}, errShutdown)
		if text := log.String() + r.last(t).Problem; strings.Contains(text, "hush") || !strings.Contains(text, "webhook given up") {
			t.Errorf("it says %s", text)
		}
	}
}

func TestTheFiguresAreTold(t *testing.T) {
	url, _ := receiver(t, status(http.StatusGone))
	var told string
	run(t, newRecord(url), func(c *webhook.Config) {
		c.Ended = func(state iris.DeliveryState, took time.Duration) { told = fmt.Sprintf("%s %v", state, took > 0) }
	})
	if told != "gone true" {
		t.Errorf("told was %q", told)
	}
}

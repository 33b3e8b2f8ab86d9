// Package webhook tells receivers of the ends of tasks: it signs a delivery, makes one attempt
// at a time, and says when the next one is due. That none is lost, none is made twice at once
// and none waits for another is the queue's business and the record's; a receiver is told at
// least once, and can tell a repetition by its webhook-id.
//
// Where a delivery goes was said by whoever holds an API key, so an address is judged when it
// is dialled (address.go), an answer is read no further than its head, and what the answer says
// is shown to nobody.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// Store is the record of deliveries; *store.DB is one. All but reading fails with
// iris.ErrFinal when the job's lease is lost.
type Store interface {
	Message(ctx context.Context, id string) (iris.Message, error)
	// Callback is where the message's end goes; NOT_FOUND without one.
	Callback(ctx context.Context, messageID string) (iris.Callback, error)
	Delivery(ctx context.Context, messageID string) (d iris.Delivery, ok bool, err error)
	// Attempted stores an attempt; with DeliveryPending the delivery is due again at next.
	Attempted(ctx context.Context, j iris.Job, a iris.DeliveryAttempt, state iris.DeliveryState, next time.Time) error
	// ReturnDelivery gives the job back unattempted, to be claimed not before at.
	ReturnDelivery(ctx context.Context, j iris.Job, at time.Time) error
}

// Settings are asked for at every attempt, so they may change meanwhile.
type Settings struct {
	AllowPrivate bool            // also private and loopback addresses, and any port
	RetryDelays  []time.Duration // before the second attempt, the third…
	Timeout      time.Duration   // for a whole attempt, name look-up included
}

// Config is what a Sender is told once.
type Config struct {
	Version  string // of Iris, for the User-Agent
	Settings func() Settings
	// Secrets are what a delivery is signed with, the newest first, each "whsec_…".
	Secrets func() ([]string, error)
	// Ended is told of each attempt, for the figures; nil is nobody.
	Ended func(state iris.DeliveryState, took time.Duration)

	Resolver    *net.Resolver // nil: the system's
	Authorities *tls.Config   // whose certificates are good; nil: the system's
}

// Sender attempts deliveries. It is safe for concurrent use.
type Sender struct {
	cfg    Config
	store  Store
	log    *slog.Logger
	client *http.Client
}

const (
	headBytes     = 16 << 10       // of an answer, at most
	maxRetryAfter = 24 * time.Hour // that a receiver may ask for
	storeAgain    = time.Second    // between tries while the store fails
)

// New makes a sender. It starts nothing.
func New(cfg Config, store Store, log *slog.Logger) *Sender {
	if cfg.Ended == nil {
		cfg.Ended = func(iris.DeliveryState, time.Duration) {}
	}
	s := &Sender{cfg: cfg, store: store, log: log}
	dialer := &net.Dialer{Control: s.control, Resolver: cfg.Resolver}
	s.client = &http.Client{
		Transport: &http.Transport{
			DialContext:       dialer.DialContext, // and no proxy: it would do the dialling
			TLSClientConfig:   cfg.Authorities,
			ForceAttemptHTTP2: true,
			// A connection serves one attempt, so that each is judged by the rules of its moment
			// and no receiver has Iris hold one open.
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: headBytes,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s
}

// Run makes one attempt of the job's delivery and stores what came of it. When the context
// ends first the attempt is cut off: with the cause shutdown it is given back, for nobody
// knows what the receiver heard; with any other it is somebody else's now.
func (s *Sender) Run(ctx context.Context, j iris.Job, shutdown error) {
	log := s.log.With("message", j.MessageID, "attempt", j.Attempt)
	m, to, d, err := s.load(ctx, j.MessageID)
	if iris.CodeOf(err) == iris.CodeMessageNotFound {
		return // it was removed, and its delivery with it
	}
	settings := s.cfg.Settings()
	var answer answer
	if err == nil {
		answer = s.attempt(ctx, m, to, settings)
	}
	cause := context.Cause(ctx)
	switch {
	case cause != nil && !errors.Is(cause, shutdown):
		log.Warn("the lease of a delivery was lost", "cause", cause)
		return
	case cause != nil && answer.state == iris.DeliveryPending, err != nil:
		if err != nil {
			log.Error("a delivery can't be read", "error", err)
		}
		s.keep(ctx, log, func(ctx context.Context) error {
			return s.store.ReturnDelivery(ctx, j, time.Now().Add(storeAgain))
		})
		return
	}
	state, next := answer.state, time.Time{}
	if state == iris.DeliveryPending {
		if d.Failures >= len(settings.RetryDelays) {
			state = iris.DeliveryFailed
		} else {
			next = time.Now().Add(max(jitter(settings.RetryDelays[d.Failures]), answer.retryAfter))
		}
	}
	a := answer.DeliveryAttempt
	s.keep(ctx, log, func(ctx context.Context) error { return s.store.Attempted(ctx, j, a, state, next) })
	s.cfg.Ended(state, a.Took)
	log = log.With("state", state, "status", a.Status, "took", a.Took.Round(time.Millisecond))
	if answer.err != nil {
		log = log.With("error", answer.err)
	}
	switch {
	case a.Problem == "":
		log.Info("webhook delivered")
	case next.IsZero():
		log.Warn("webhook given up", "problem", a.Problem)
	default:
		log.Warn("webhook failed", "problem", a.Problem, "again", time.Until(next).Round(time.Second))
	}
}

func (s *Sender) load(ctx context.Context, id string) (m iris.Message, to iris.Callback, d iris.Delivery, err error) {
	ctx = context.WithoutCancel(ctx)
	if m, err = s.store.Message(ctx, id); err == nil {
		to, err = s.store.Callback(ctx, id)
	}
	if err == nil {
		d, _, err = s.store.Delivery(ctx, id)
	}
	return m, to, d, err
}

// keep does what is to be stored, again and again until the store takes it or Iris stops: then
// the next owner attempts the delivery once more.
func (s *Sender) keep(ctx context.Context, log *slog.Logger, do func(context.Context) error) {
	for {
		err := do(context.WithoutCancel(ctx))
		switch {
		case err == nil:
			return
		case errors.Is(err, iris.ErrFinal):
			log.Warn("a delivery belongs to somebody else")
			return
		}
		log.Error("what became of a delivery can't be stored; trying again", "error", err)
		select {
		case <-time.After(storeAgain):
		case <-ctx.Done():
			return
		}
	}
}

// jitter adds up to a tenth, so that what failed together does not come back together.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/10+1) }

// body is what a receiver is sent. The same fields have the same names in GET /messages/:id.
type body struct {
	JobID     string      `json:"jobId"`
	MessageID string      `json:"messageId"`
	Team      string      `json:"team"`
	Status    iris.Status `json:"status"`
	Result    *result     `json:"result,omitempty"` // of a completed task
	Error     string      `json:"error,omitempty"`  // why it failed or was cancelled
	Code      iris.Code   `json:"code,omitempty"`   // of the error
	Duration  int64       `json:"duration"`         // ms from acceptance to end
	Timestamp int64       `json:"timestamp"`        // of the end, Unix ms
}

type result struct {
	Summary string `json:"summary"`
	Details string `json:"details"`
}

// bodyOf is the same for every attempt: a final message never changes.
func bodyOf(m iris.Message) ([]byte, error) {
	b := body{
		JobID: m.JobID(), MessageID: m.ID, Team: m.Team, Status: m.Status,
		Duration: m.Duration().Milliseconds(), Timestamp: m.CompletedAt.UnixMilli(),
	}
	if m.Status == iris.StatusCompleted {
		b.Result = &result{m.Summary(), m.Response}
	}
	if m.Err != nil {
		b.Error, b.Code = m.Err.Message, m.Err.Code
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(b)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

// request is a delivery as it is sent now.
func (s *Sender) request(ctx context.Context, m iris.Message, to iris.Callback) (*http.Request, error) {
	text, err := bodyOf(m)
	if err != nil {
		return nil, err
	}
	secrets, err := s.cfg.Secrets()
	if err != nil {
		return nil, err
	}
	signed, err := sign(secrets, m.ID, time.Now(), text)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, cmp.Or(to.Method, http.MethodPost), to.URL, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Iris/"+s.cfg.Version)
	for name, value := range to.Headers {
		r.Header.Set(name, value)
	}
	for name, value := range signed {
		r.Header.Set(name, value)
	}
	return r, nil
}

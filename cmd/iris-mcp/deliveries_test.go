package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/config"
	"github.com/iris-mcp/iris-mcp/internal/metrics"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

// A receiver that never answers has many deliveries, and others of its caller and of another
// one have one each: those are made at once.
func TestASlowReceiverHoldsUpNobody(t *testing.T) {
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "iris.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	release := make(chan struct{})
	hung := make(chan struct{}, 100)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		hung <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	came := make(chan string, 10)
	quick := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { came <- r.URL.Path }))
	defer quick.Close()
	_, port, err := net.SplitHostPort(quick.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}

	live := config.NewLive(&config.Config{
		Webhooks: config.Webhooks{AllowPrivate: true, Timeout: time.Minute, RetryDelays: []time.Duration{time.Hour}},
		Settings: config.Settings{ShutdownGrace: time.Second},
	})
	s := server{home: t.TempDir()}
	_, q, err := s.deliveries(t.Context(), db, live, metrics.New("test", metrics.State{}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var serve sync.WaitGroup
	serve.Go(func() { q.Serve(ctx) })
	defer serve.Wait()
	defer cancel()
	defer close(release)

	tell := func(caller, url string) {
		t.Helper()
		m := iris.Message{
			ID: iris.NewID(iris.MessagePrefix), Team: "backend", Caller: iris.Caller{Kind: iris.CallerKey, Name: caller}, Task: true,
			Text: "t", Priority: iris.PriorityNormal, CreatedAt: time.Now(), Callback: &iris.Callback{URL: url, Method: "POST"},
		}
		m, _, err := db.Accept(t.Context(), m, true, "")
		if err != nil {
			t.Fatal(err)
		}
		m.Status, m.CompletedAt = iris.StatusCompleted, time.Now()
		if err := db.Finish(t.Context(), m, 0, iris.Event{MessageID: m.ID, Seq: 2, At: m.CompletedAt, Kind: iris.EventComplete}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 * deliveriesToHost {
		tell("busy", fmt.Sprintf("%s/%d", slow.URL, i))
	}
	for range deliveriesToHost {
		<-hung
	}
	tell("busy", "http://localhost:"+port+"/its-own-other")
	tell("another", "http://localhost:"+port+"/somebody-elses")
	for range 2 {
		select {
		case <-came:
		case <-time.After(patienceOfTests):
			t.Fatal("a delivery waits for a slow receiver of others")
		}
	}
	if len(hung) > 0 {
		t.Errorf("%d more than %d go to one host at once", len(hung), deliveriesToHost)
	}
}

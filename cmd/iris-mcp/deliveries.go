package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/config"
	"github.com/iris-mcp/iris-mcp/internal/metrics"
	"github.com/iris-mcp/iris-mcp/internal/store"
	"github.com/iris-mcp/iris-mcp/internal/webhook"
	"github.com/iris-mcp/iris-mcp/queue"
)

// How many deliveries run at once: in all, to one host, and of one caller. Each lasts
// webhooks.timeout at most, so neither a slow receiver nor a caller with many of them takes
// all the places.
const (
	deliveriesAtOnce = 32
	deliveriesToHost = 4
	deliveriesOfOne  = 16
)

// deliveryGrace is how long deliveries may go on when the server ends; what is cut off then is
// attempted again by the next one.
const deliveryGrace = time.Second

// deliveries are the webhooks: who attempts one, and the queue that they stand in.
func (s server) deliveries(ctx context.Context, db *store.DB, live *config.Live, figures *metrics.Metrics, log *slog.Logger) (*webhook.Sender, *queue.Queue, error) {
	if _, err := secretsOf(s.home, live.Get()); err != nil {
		return nil, nil, err
	}
	sender := webhook.New(webhook.Config{
		Version: version,
		Settings: func() webhook.Settings {
			w := live.Get().Webhooks
			return webhook.Settings{AllowPrivate: w.AllowPrivate, RetryDelays: w.RetryDelays, Timeout: w.Timeout}
		},
		Secrets: func() ([]string, error) { return secretsOf(s.home, live.Get()) },
		Ended:   figures.Webhook,
	}, db, log)
	q := queue.New(queue.Config{
		Worker: fmt.Sprint("pid ", os.Getpid()),
		Grace:  func() time.Duration { return min(deliveryGrace, live.Get().Settings.ShutdownGrace/4) },
		Limits: func() queue.Limits {
			return queue.Limits{Jobs: deliveriesAtOnce, Team: func(string) (int, int) { return deliveriesAtOnce, deliveriesAtOnce }}
		},
	}, db.Deliveries(deliveriesToHost, deliveriesOfOne), log)
	q.Handle(iris.JobDelivery, func(ctx context.Context, j iris.Job) { sender.Run(ctx, j, queue.ErrShutdown) })
	db.OnDelivery(q.Wake)
	n, err := db.RecoverDeliveries(ctx)
	if n > 0 {
		log.Info("took up deliveries that an earlier run was about", "deliveries", n)
	}
	return sender, q, err
}

// secretsOf are what deliveries are signed with: the one of the file, else those of the data
// folder.
func secretsOf(home string, c *config.Config) ([]string, error) {
	if c.Webhooks.Secret != "" {
		return []string{string(c.Webhooks.Secret)}, nil
	}
	return webhook.Secrets(home)
}

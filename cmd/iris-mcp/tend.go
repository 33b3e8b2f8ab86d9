package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/iris-mcp/iris-mcp/internal/config"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

// tidyEvery is how often it is looked whether something has become too old.
const tidyEvery = time.Minute

// tend looks after the record until the context ends: it reads it through after an end that
// was none in good order, and removes what has been kept long enough.
func tend(ctx context.Context, db *store.DB, live *config.Live, log *slog.Logger) {
	if db.Unclean() {
		began := time.Now()
		switch err := db.Check(ctx); {
		case err == nil:
			log.Info("the last Iris did not end in good order; the record is whole", "took", time.Since(began).Round(time.Millisecond))
		case ctx.Err() == nil:
			log.Error("the last Iris did not end in good order, and the record can't be trusted", "error", err)
		}
	}
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		keep := live.Get().Queue
		began := time.Now()
		did, err := db.Prune(ctx, began.Add(-keep.Keep), int64(keep.KeepBytes))
		if did != (store.Pruned{}) {
			log.Info("removed what was old", "messages", did.Messages, "events", did.Events, "sessions", did.Sessions, "took", time.Since(began).Round(time.Millisecond))
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("what is old can't be removed", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

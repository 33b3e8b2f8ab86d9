package store_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
	"github.com/iris-mcp/iris-mcp/queue/queuetest"
)

// bubble runs a test with an empty record where time is the test's own.
func bubble(t *testing.T, test func(t *testing.T, db *store.DB)) {
	synctest.Test(t, func(t *testing.T) {
		db, _ := open(t)
		test(t, db)
	})
}

func TestQueue(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) (queuetest.Backend, func() queuetest.Backend) {
		db, path := open(t)
		return db, func() queuetest.Backend {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			return reopen(t, path)
		}
	})
}

// The model must be able to find fault: these are stores with the mistakes that it is for.
func TestTheModelOfStatesSeesMistakes(t *testing.T) {
	for name, broken := range map[string]func(queuetest.Backend) queuetest.Backend{
		"an end that does not heed the attempt": func(b queuetest.Backend) queuetest.Backend { return heedless{b} },
		"a refusal that nobody is told of":      func(b queuetest.Backend) queuetest.Backend { return mute{b} },
		"a hand-back that forgets the time":     func(b queuetest.Backend) queuetest.Backend { return hasty{b} },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, db *store.DB) {
				if problems, _ := queuetest.States(t.Context(), broken(db)); len(problems) == 0 {
					t.Error("it found nothing")
				}
			})
		})
	}
}

type heedless struct{ queuetest.Backend }

func (h heedless) Finish(ctx context.Context, m iris.Message, attempt int, last iris.Event) error {
	jobs, err := h.Lost(ctx)
	for _, j := range jobs {
		if j.MessageID == m.ID {
			attempt = j.Attempt
		}
	}
	return errors.Join(err, h.Backend.Finish(ctx, m, attempt, last))
}

type mute struct{ queuetest.Backend }

func (b mute) Finish(ctx context.Context, m iris.Message, attempt int, last iris.Event) error {
	if err := b.Backend.Finish(ctx, m, attempt, last); !errors.Is(err, iris.ErrFinal) {
		return err
	}
	return nil
}

type hasty struct{ queuetest.Backend }

func (h hasty) Return(ctx context.Context, j iris.Job, did *iris.Metadata, _ time.Time) error {
	return h.Backend.Return(ctx, j, did, time.Time{})
}

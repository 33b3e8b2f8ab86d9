package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

func TestAStartWaitsForRoom(t *testing.T) {
	full := iris.Errorf(iris.CodeInternal, "the disk is full").With("store", "full")
	full.Retry = true
	damaged := iris.Errorf(iris.CodeInternal, "the record is damaged").With("store", "damaged")
	for _, tt := range []struct {
		name  string
		err   error
		in    io.Reader
		tries int
	}{
		{"on a full disk", notStarted{fmt.Errorf("open database: %w", full)}, nil, 4},
		{"where no file can be written", notStarted{fmt.Errorf("write: %w", syscall.ENOSPC)}, nil, 4},
		{"but not with a client who waits", notStarted{full}, strings.NewReader(""), 1},
		{"nor for what does not pass", notStarted{damaged}, nil, 1},
		{"nor when it has served", full, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, tries := time.Now(), 0
				err := server{in: tt.in}.untilServed(t.Context(), slog.New(slog.DiscardHandler), func() error {
					if tries++; tries == 4 {
						return nil
					}
					return tt.err
				})
				if tries != tt.tries || (err == nil) != (tries == 4) || tries == 4 && time.Since(began) != 7*time.Second {
					t.Errorf("tried %d times in %v and got %v, want %d", tries, time.Since(began), err, tt.tries)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := server{}.untilServed(ctx, slog.New(slog.DiscardHandler), func() error { return notStarted{full} })
		if err != nil {
			t.Errorf("told to end it says %v", err)
		}
	})
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/lmittmann/tint"
)

// level is the server's log level; the configuration sets it, also while it runs.
var level slog.LevelVar

// maxLog is the size in bytes at which a start puts the log aside and begins a new one.
const maxLog = 10 << 20

// openLog logs to stderr, in colour for a person and as JSON for a program, and to iris.log
// in the data folder. Never to stdout: that is MCP's.
func openLog(home string, stderr io.Writer) (*slog.Logger, func() error, error) {
	name := filepath.Join(home, "iris.log")
	if info, err := os.Stat(name); err == nil && info.Size() > maxLog {
		if err := os.Rename(name, name+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("put the log aside: %w", err)
		}
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w; check that the data folder can be written, or name another with IRIS_HOME", err)
	}
	kept := slog.NewJSONHandler(file, jsonLog)
	aside := newAside(stderr)
	end := func() error {
		aside.end()
		return file.Close()
	}
	return slog.New(slog.NewMultiHandler(shownLog(stderr, aside), kept)), end, nil
}

// shownLog is the log as it appears on stderr, written to w.
func shownLog(stderr, w io.Writer) slog.Handler {
	if isTerminal(stderr) {
		return tint.NewTextHandler(w, &tint.Options{Level: &level, TimeFormat: "15:04:05.000"})
	}
	return slog.NewJSONHandler(w, jsonLog)
}

// aside writes in its own time what it is given, and leaves out what would have to wait for
// long: an MCP client may read nothing of stderr, and a person may have stopped the terminal,
// while everybody else waits for answers. What is left out is in iris.log.
type aside struct {
	lines   chan []byte
	left    atomic.Int64 // out, since the last line that was written
	ending  chan struct{}
	written chan struct{} // closed when all is
}

const (
	asideLines = 1000        // that wait at most
	asideEnd   = time.Second // for which the last lines are waited for
)

// newAside wants an end.
func newAside(w io.Writer) *aside {
	a := &aside{lines: make(chan []byte, asideLines), ending: make(chan struct{}), written: make(chan struct{})}
	go a.run(w)
	return a
}

func (a *aside) Write(line []byte) (int, error) {
	select {
	case a.lines <- bytes.Clone(line):
	default:
		a.left.Add(1)
	}
	return len(line), nil
}

func (a *aside) run(w io.Writer) {
	defer close(a.written)
	write := func(line []byte) {
		w.Write(line)
		if n := a.left.Swap(0); n > 0 {
			fmt.Fprintf(w, "iris-mcp: nobody read this for a while, so %d lines are in iris.log only\n", n)
		}
	}
	for {
		select {
		case line := <-a.lines:
			write(line)
			continue
		case <-a.ending:
		}
		for {
			select {
			case line := <-a.lines:
				write(line)
			default:
				return
			}
		}
	}
}

// end waits for the last lines, unless nobody reads them.
func (a *aside) end() {
	close(a.ending)
	select {
	case <-a.written:
	case <-time.After(asideEnd):
	}
}

// jsonLog writes durations as milliseconds, as everywhere on the wire.
var jsonLog = &slog.HandlerOptions{Level: &level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(float64(a.Value.Duration().Microseconds()) / 1000)
	}
	return a
}}

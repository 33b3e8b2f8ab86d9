package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

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
	return slog.New(slog.NewMultiHandler(shownLog(stderr), kept)), file.Close, nil
}

// shownLog is the log as it appears on stderr.
func shownLog(stderr io.Writer) slog.Handler {
	if isTerminal(stderr) {
		return tint.NewTextHandler(stderr, &tint.Options{Level: &level, TimeFormat: "15:04:05.000"})
	}
	return slog.NewJSONHandler(stderr, jsonLog)
}

// jsonLog writes durations as milliseconds, as everywhere on the wire.
var jsonLog = &slog.HandlerOptions{Level: &level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(float64(a.Value.Duration().Microseconds()) / 1000)
	}
	return a
}}

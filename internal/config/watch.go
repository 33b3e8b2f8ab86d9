package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long an edit must rest before it is read: editors write in several steps.
	settle = 200 * time.Millisecond
	// look is how often the file is looked at without being told. Network drives and mounted
	// folders tell nothing.
	look = 2 * time.Second
)

// Watch follows the edits of the file until ctx ends, and then returns. A good edit is put in
// force whole; a bad one is refused whole: the old configuration stays, and the error is logged
// and is LastError. A file that disappears or is emptied counts as a bad edit.
func (l *Live) Watch(ctx context.Context, log *slog.Logger) {
	w := &watch{live: l, log: log, file: l.Get().File}
	w.target = w.file
	if target, err := filepath.EvalSymlinks(w.file); err == nil {
		w.target = target
	}
	var events chan fsnotify.Event // nil, and so never ready, where the system tells nothing
	var errs chan error
	if told, err := w.tell(); err != nil {
		log.Warn("edits of the configuration are seen late", "file", w.file, "after", look, "error", err)
	} else {
		defer told.Close()
		events, errs = told.Events, told.Errors
	}
	ticks := time.NewTicker(look)
	defer ticks.Stop()

	w.stamp = w.look()
	w.read() // there may have been an edit since Load
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				events = nil
			} else if e.Name == w.file || e.Name == w.target {
				settled = time.After(settle)
			}
		case err, ok := <-errs:
			if !ok {
				errs = nil
			} else {
				log.Debug("an edit of the configuration may be seen late", "error", err)
			}
		case <-ticks.C:
			if settled == nil && w.look() != w.stamp {
				settled = time.After(settle)
			}
		case <-settled:
			settled = nil
			w.stamp = w.look()
			w.read()
		}
	}
}

// watch is what Watch knows.
type watch struct {
	live *Live
	log  *slog.Logger

	file   string
	target string // where a symlink leads, else the file
	stamp  stamp  // of the file as it was last read
	bad    error  // what was last refused and logged
}

// stamp tells one state of a file from another; zero when it is not there.
type stamp struct {
	modified time.Time
	size     int64
}

func (w *watch) look() stamp {
	info, err := os.Stat(w.file)
	if err != nil {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

// tell has the system tell of changes in the folders of the file and of its target: a file
// that is replaced, as editors do it, is a new one, so watching it alone would see one edit.
func (w *watch) tell() (*fsnotify.Watcher, error) {
	told, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	for _, file := range []string{w.file, w.target} {
		if err := told.Add(filepath.Dir(file)); err != nil {
			told.Close()
			return nil, err
		}
	}
	return told, nil
}

// read puts the file in force, or refuses it.
func (w *watch) read() {
	w.live.reading.Lock()
	defer w.live.reading.Unlock()
	was := w.live.Get()
	text, err := readFile(w.file)
	if errors.Is(err, fs.ErrNotExist) {
		if was.text == nil {
			return // there was none before
		}
		err = fmt.Errorf("%s is gone", w.file)
	}
	if err == nil && was.text != nil && bytes.Equal(text, was.text) {
		w.live.refused.Store(nil)
		w.bad = nil
		return
	}
	if err == nil && len(bytes.TrimSpace(text)) == 0 && len(was.Teams) > 0 {
		err = fmt.Errorf("%s is empty", w.file) // somebody is writing it, or could not
	}
	var is *Config
	if err == nil {
		is, err = parse(w.file, text)
	}
	if err != nil {
		w.live.refused.Store(&err)
		if w.bad == nil || w.bad.Error() != err.Error() {
			w.log.Error("the configuration has errors; the old one stays in force", "file", w.file, "error", err)
		}
		w.bad = err
		return
	}
	w.bad = nil
	w.live.Set(is)
	w.log.Info("the configuration changed", "file", w.file, "teams", names(is))
	for _, warning := range is.Warnings {
		w.log.Warn("configuration", "warning", warning)
	}
	for _, key := range laterOnly(was, is) {
		w.log.Warn("this change takes effect at the next start", "key", key)
	}
	w.live.tell(is)
}

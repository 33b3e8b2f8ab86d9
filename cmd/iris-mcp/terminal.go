package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/term"
)

// isTerminal reports whether a person sees what is written there, or types what is read.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// printable takes out what a terminal would obey instead of show: an answer may hold anything.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
}

// printJSON writes a value for scripts: indented, its text as it is.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// statusLine is one line on a terminal that says what is going on and for how long. It is
// redrawn in place and taken away without a trace. A nil statusLine shows nothing. Safe for
// concurrent use.
type statusLine struct {
	w     io.Writer
	width int // columns

	mu      sync.Mutex
	text    string // empty: hidden
	since   time.Time
	stopped chan struct{}
	done    chan struct{}
}

// newStatusLine makes a line on w, or nil if nobody would see it.
func newStatusLine(w io.Writer) *statusLine {
	if !isTerminal(w) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	width, _, err := term.GetSize(int(w.(*os.File).Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	return startStatusLine(w, width)
}

func startStatusLine(w io.Writer, width int) *statusLine {
	l := &statusLine{w: w, width: width, since: time.Now(), stopped: make(chan struct{}), done: make(chan struct{})}
	go l.run()
	return l
}

// run redraws the line each second until Close.
func (l *statusLine) run() {
	defer close(l.done)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-l.stopped:
			return
		case <-tick.C:
			l.mu.Lock()
			l.draw()
			l.mu.Unlock()
		}
	}
}

// Show says what is going on now.
func (l *statusLine) Show(text string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = strings.Join(strings.Fields(printable(text)), " ")
	l.draw()
}

// Hide takes the line away until the next Show.
func (l *statusLine) Hide() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.text != "" {
		l.text = ""
		fmt.Fprint(l.w, "\r\x1b[K")
	}
}

// Close takes the line away for good.
func (l *statusLine) Close() {
	if l == nil {
		return
	}
	l.Hide()
	close(l.stopped)
	<-l.done
}

// draw writes the line, cut to one row; l.mu is held.
func (l *statusLine) draw() {
	if l.text == "" {
		return
	}
	clock := fmt.Sprintf(" (%d s)", int(time.Since(l.since).Seconds()))
	text := []rune(l.text)
	if room := l.width - 1 - len(clock); len(text) > room {
		text = append(text[:room-1], '…')
	}
	fmt.Fprintf(l.w, "\r\x1b[K\x1b[2m%s%s\x1b[0m", string(text), clock)
}

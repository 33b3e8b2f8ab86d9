// Package drive runs iris-mcp and Claude Code as processes of their own and talks to them as
// their users do: over HTTP, and in lines of JSON over a pipe. The end-to-end tests and the
// benchmark stand on it.
package drive

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Program is a process that speaks JSON in lines. One goroutine at a time may use it.
type Program struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	out    *bufio.Reader
	stderr *tail
	wait   func() error
}

// Line is a line of output and when it had come.
type Line struct {
	At   time.Time
	Text []byte
}

// Run starts the command. When the context ends it gets SIGTERM. It wants a Close.
func Run(ctx context.Context, dir string, env []string, path string, args ...string) (*Program, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = dir, env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	p := &Program{cmd: cmd, stderr: &tail{}}
	cmd.Stderr = p.stderr
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReaderSize(out, 1<<20)
	p.wait = sync.OnceValue(func() error {
		io.Copy(io.Discard, p.out) // Wait may come only after the last read
		err := cmd.Wait()
		if _, exited := errors.AsType[*exec.ExitError](err); exited {
			err = fmt.Errorf("%s: %w: %s", path, err, p.stderr)
		}
		return err
	})
	return p, cmd.Start()
}

// PID is the process's id.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Stderr is the end of what it has written there.
func (p *Program) Stderr() string { return p.stderr.String() }

// Write writes a value as a line.
func (p *Program) Write(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.stdin.Write(append(data, '\n'))
	return err
}

// Read reads a line of any length.
func (p *Program) Read() (Line, error) {
	text, err := p.out.ReadBytes('\n')
	if err != nil {
		return Line{}, fmt.Errorf("%s ended: %w: %s", p.cmd.Path, err, p.stderr)
	}
	return Line{time.Now(), text}, nil
}

// Close closes its stdin and waits for its end. It may be called again.
func (p *Program) Close() error {
	p.stdin.Close()
	return p.wait()
}

// End sends the signal and waits for the end.
func (p *Program) End(sig syscall.Signal) error {
	p.cmd.Process.Signal(sig)
	return p.wait()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(data []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, data...)
	if over := len(t.text) - 64<<10; over > 0 {
		t.text = t.text[over:]
	}
	return len(data), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.text))
}

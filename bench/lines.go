package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// program is a process that speaks JSON in lines.
type program struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	out    *bufio.Reader
	stderr *strings.Builder
}

// line is a line and when it had come.
type line struct {
	at   time.Time
	text []byte
}

func start(ctx context.Context, cmd *exec.Cmd) (*program, error) {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	p := &program{cmd: cmd, stderr: &strings.Builder{}}
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
	return p, cmd.Start()
}

func (p *program) write(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.stdin.Write(append(data, '\n'))
	return err
}

func (p *program) read() (line, error) {
	text, err := p.out.ReadBytes('\n')
	if err != nil {
		return line{}, fmt.Errorf("%s ended: %w: %s", p.cmd.Path, err, p.stderr)
	}
	return line{time.Now(), text}, nil
}

// close closes stdin and waits for the end.
func (p *program) close() error {
	p.stdin.Close()
	io.Copy(io.Discard, p.out)
	err := p.cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		err = fmt.Errorf("%s: %w: %s", p.cmd.Path, err, p.stderr)
	}
	return err
}

// mcp is an MCP client on a program's stdin and stdout.
type mcp struct {
	*program
	calls int
}

func (m *mcp) call(method string, params any) (json.RawMessage, error) {
	m.calls++
	if err := m.write(map[string]any{"jsonrpc": "2.0", "id": m.calls, "method": method, "params": params}); err != nil {
		return nil, err
	}
	for {
		l, err := m.read()
		if err != nil {
			return nil, err
		}
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(l.text, &answer); err != nil {
			return nil, fmt.Errorf("%w in %q", err, l.text)
		}
		switch {
		case answer.ID != m.calls: // a notification
		case answer.Error != nil:
			return nil, errors.New(answer.Error.Message)
		default:
			return answer.Result, nil
		}
	}
}

func (m *mcp) initialize() error {
	_, err := m.call("initialize", map[string]any{
		"protocolVersion": "2025-11-25", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "iris-bench", "version": "1"},
	})
	if err != nil {
		return err
	}
	return m.write(map[string]any{"jsonrpc": "2.0", "method": "notifications/initialized"})
}

// askTeam calls the tool and times it.
func (m *mcp) askTeam(team, session, text string) (time.Duration, error) {
	began := time.Now()
	raw, err := m.call("tools/call", map[string]any{
		"name": "ask_team", "arguments": map[string]any{"team": team, "question": text, "sessionId": session},
	})
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	var result struct {
		IsError bool
		Content []struct{ Text string }
	}
	if err := json.Unmarshal(raw, &result); err != nil {
		return 0, err
	}
	if result.IsError || len(result.Content) == 0 || !strings.Contains(result.Content[0].Text, wanted) {
		return 0, fmt.Errorf("ask_team gave %s", raw)
	}
	return took, nil
}

// wanted is in every right answer.
const wanted = "All is well here, thank you."

package drive

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// MCP is an MCP client on a program's stdin and stdout. One goroutine at a time may use it.
type MCP struct {
	*Program
	calls int
}

// Connect says hello to the program.
func Connect(p *Program) (*MCP, error) {
	m := &MCP{Program: p}
	if _, err := m.call("initialize", map[string]any{
		"protocolVersion": "2025-11-25", "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "iris-drive", "version": "1"},
	}); err != nil {
		return nil, err
	}
	return m, m.Write(map[string]any{"jsonrpc": "2.0", "method": "notifications/initialized"})
}

func (m *MCP) call(method string, params any) (json.RawMessage, error) {
	m.calls++
	if err := m.Write(map[string]any{"jsonrpc": "2.0", "id": m.calls, "method": method, "params": params}); err != nil {
		return nil, err
	}
	for {
		l, err := m.Read()
		if err != nil {
			return nil, err
		}
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(l.Text, &answer); err != nil {
			return nil, fmt.Errorf("a line on stdout is no JSON: %w: %q", err, l.Text)
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

// Tool is what a tool call gave.
type Tool struct {
	Text       string
	IsError    bool
	Structured json.RawMessage
	Took       time.Duration
}

// Call calls a tool.
func (m *MCP) Call(name string, arguments map[string]any) (Tool, error) {
	began := time.Now()
	raw, err := m.call("tools/call", map[string]any{"name": name, "arguments": arguments})
	t := Tool{Took: time.Since(began)}
	if err != nil {
		return t, err
	}
	var result struct {
		IsError           bool
		Content           []struct{ Text string }
		StructuredContent json.RawMessage
	}
	if err := json.Unmarshal(raw, &result); err != nil {
		return t, err
	}
	for _, c := range result.Content {
		t.Text += c.Text
	}
	t.IsError, t.Structured = result.IsError, result.StructuredContent
	return t, nil
}

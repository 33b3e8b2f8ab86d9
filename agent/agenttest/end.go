package agenttest

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// tool plays a call of a tool: the block, the permission if it is to be asked for, the result.
// It is false if the turn was interrupted; its result is then printed.
func (t *turn) tool(s step, ask bool) bool {
	name, input, _ := strings.Cut(s.arg, " ")
	if input == "" {
		input = "{}"
	}
	t.open()
	id := fmt.Sprintf("toolu_%s_%d", t.id, t.index)
	block := map[string]any{"type": "tool_use", "id": id, "name": name, "input": json.RawMessage(input)}
	t.event(map[string]any{"type": "content_block_start", "index": t.index, "content_block": map[string]any{"type": "tool_use", "id": id, "name": name, "input": map[string]any{}}})
	t.event(map[string]any{"type": "content_block_delta", "index": t.index, "delta": map[string]any{"type": "input_json_delta", "partial_json": input}})
	t.finish(block)
	t.event(map[string]any{"type": "content_block_stop", "index": t.index})
	t.close("tool_use")

	result := map[string]any{"tool_use_id": id, "type": "tool_result", "content": "ok"}
	if ask {
		allowed, message, interrupted := t.permission(id, name, input)
		if interrupted {
			return t.abortedTool(id)
		}
		if !allowed {
			result["content"], result["is_error"] = message, true
			t.denials = append(t.denials, map[string]any{"tool_name": name, "tool_use_id": id, "tool_input": json.RawMessage(input)})
		} else {
			result["content"] = message
		}
	}
	if t.p.pause(t.pace) {
		return t.abortedTool(id)
	}
	t.told = true
	t.p.print(map[string]any{"type": "user", "message": map[string]any{"role": "user", "content": []any{result}}, "parent_tool_use_id": nil, "timestamp": now()})
	return true
}

// permission asks the host, for as long as it takes. Without a host that answers, or with a
// mode that never asks, it decides itself. The message of an allowance is the input to use.
func (t *turn) permission(id, name, input string) (allowed bool, message string, interrupted bool) {
	if !t.p.args.asks || t.p.args.mode == "dontAsk" {
		return false, "Permission to use " + name + " has been denied.", false
	}
	if t.p.args.mode == "bypassPermissions" {
		return true, input, false
	}
	request := t.p.uuid()
	t.p.print(map[string]any{"type": "control_request", "request_id": request, "request": map[string]any{
		"subtype": "can_use_tool", "tool_name": name, "display_name": name, "input": json.RawMessage(input), "description": name, "tool_use_id": id,
	}})
	for {
		in, ok := t.p.receive(make(chan time.Time))
		switch answer := in.Response; {
		case t.p.eof:
			return false, "Tool permission stream closed before response received", false
		case in.Type == "control_response" && answer.RequestID == request:
			switch {
			case answer.Subtype != "success":
				return false, "Tool permission request failed", false
			case answer.Response.Behavior == "allow" && len(answer.Response.UpdatedInput) > 0:
				return true, string(answer.Response.UpdatedInput), false
			case answer.Response.Behavior == "allow":
				return false, "ZodError: updatedInput is required", false
			}
			return false, answer.Response.Message, false
		case t.p.take(in, ok):
			t.p.print(map[string]any{"type": "control_cancel_request", "request_id": request})
			return false, "", true
		}
	}
}

// aborted ends a turn that was interrupted while the model spoke.
func (t *turn) aborted() bool {
	t.note("[Request interrupted by user]")
	t.broken("aborted_streaming", nil)
	return false
}

// abortedTool ends a turn that was interrupted during a tool.
func (t *turn) abortedTool(id string) bool {
	t.p.print(map[string]any{
		"type": "user", "parent_tool_use_id": nil, "timestamp": now(), "tool_use_result": "User rejected tool use",
		"message": map[string]any{"role": "user", "content": []any{map[string]any{
			"type": "tool_result", "content": "The user doesn't want to proceed with this tool use.", "is_error": true, "tool_use_id": id,
		}}},
	})
	t.note("[Request interrupted by user for tool use]")
	t.broken("aborted_tools", "tool_use")
	return false
}

func (t *turn) note(text string) {
	t.p.print(map[string]any{
		"type": "user", "parent_tool_use_id": nil, "timestamp": now(),
		"message": map[string]any{"role": "user", "content": []any{map[string]any{"type": "text", "text": text}}},
	})
}

func (t *turn) broken(why string, stop any) {
	t.p.print(t.p.result("error_during_execution", true, map[string]any{
		"num_turns": t.calls + 1, "stop_reason": stop, "terminal_reason": why,
		"errors": []string{fmt.Sprintf("[ede_diagnostic] result_type=user last_content_type=n/a stop_reason=%v", stop)},
	}))
}

// fail ends the turn with a failure of the model's API.
func (t *turn) fail(status int) {
	text := fmt.Sprintf("API Error: %d made up", status)
	var code any
	if status != 0 {
		code = status
	} else {
		text = "API Error: Unable to connect to API (ConnectionRefused)"
	}
	word := reason(status)
	if status == 0 || status == 529 {
		word = "server_error"
	}
	t.p.print(map[string]any{
		"type": "assistant", "parent_tool_use_id": nil, "error": word,
		"message": map[string]any{
			"id": t.p.uuid(), "model": "<synthetic>", "role": "assistant", "type": "message", "stop_reason": "stop_sequence", "stop_sequence": "",
			"usage": usage(0), "content": []any{map[string]any{"type": "text", "text": text}}, "context_management": nil,
		},
	})
	t.p.print(t.p.result("success", true, map[string]any{
		"api_error_status": code, "num_turns": 1, "result": text, "stop_reason": "stop_sequence", "terminal_reason": "completed",
	}))
}

// result is the line that ends a turn.
func (p *player) result(subtype string, isError bool, fields map[string]any) map[string]any {
	p.failed = isError
	line := map[string]any{
		"type": "result", "subtype": subtype, "is_error": isError, "duration_ms": 1, "duration_api_ms": 1, "num_turns": 1,
		"stop_reason": nil, "total_cost_usd": p.cost, "usage": usage(0), "modelUsage": map[string]any{}, "permission_denials": []any{},
	}
	if subtype == "success" {
		line["api_error_status"] = nil
	}
	for name, value := range fields {
		line[name] = value
	}
	return line
}

func usage(calls int) map[string]any {
	return map[string]any{
		"input_tokens": 100 * calls, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 20 * calls,
	}
}

// init begins a turn.
func (p *player) init() {
	cwd, _ := os.Getwd()
	p.print(map[string]any{
		"type": "system", "subtype": "init", "cwd": cwd, "tools": []string{"Bash", "Read", "Write"}, "mcp_servers": []any{},
		"model": model + "[1m]", "permissionMode": "default", "slash_commands": []string{}, "apiKeySource": "ANTHROPIC_API_KEY",
		"claude_code_version": "2.1.197", "output_style": "default", "agents": []string{}, "skills": []string{}, "plugins": []any{},
	})
}

func (p *player) state(state string) {
	if p.states {
		p.print(map[string]any{"type": "system", "subtype": "session_state_changed", "state": state})
	}
}

func now() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }

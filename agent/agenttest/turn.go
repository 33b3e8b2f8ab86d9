package agenttest

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"
)

// turn is the state of one turn.
type turn struct {
	p    *player
	user input
	told bool // the user's message was repeated

	id      string // of the open message; empty: none is open
	index   int    // of its next block
	calls   int    // of the model
	pace    time.Duration
	last    string // the text of the last message
	denials []any
	news    string
}

// turn plays one turn, from a user's message to its result.
func (p *player) turn(user input) {
	p.prompt = user.Message.Content
	t := &turn{p: p, user: user}
	p.state("running")
	p.init()
	if !t.run(p.rules.reply(question(p.prompt))) {
		p.state("idle")
		p.remember()
		return
	}
	t.close("end_turn")
	p.cost += 0.001 * float64(t.calls)
	p.print(p.result("success", false, map[string]any{
		"result": t.last, "num_turns": t.calls, "stop_reason": "end_turn", "terminal_reason": "completed",
		"usage": usage(t.calls), "permission_denials": append([]any{}, t.denials...),
	}))
	p.state("idle")
	p.remember()
	if t.news != "" {
		p.unasked(t.news)
	}
}

// unasked is a turn about a background task that has ended.
func (p *player) unasked(text string) {
	p.state("running")
	p.print(map[string]any{
		"type": "system", "subtype": "task_notification", "task_id": "b1", "tool_use_id": "toolu_b1",
		"status": "completed", "output_file": "", "summary": "Background command completed (exit code 0)",
	})
	p.init()
	t := &turn{p: p, told: true}
	t.say(text)
	t.close("end_turn")
	p.cost += 0.001
	p.print(p.result("success", false, map[string]any{
		"result": t.last, "num_turns": 1, "stop_reason": "end_turn", "terminal_reason": "completed", "usage": usage(1),
		"origin": map[string]any{"kind": "task-notification"},
	}))
	p.state("idle")
}

// remember keeps the question for later turns and processes.
func (p *player) remember() {
	p.earlier = append(p.earlier, question(p.prompt))
	b, _ := json.Marshal(p.earlier)
	// It may be killed in the middle.
	if err := errors.Join(os.WriteFile(p.file+".new", b, 0o600), os.Rename(p.file+".new", p.file)); err != nil {
		panic(err)
	}
}

// run plays the steps. It is false if the turn has ended otherwise than well; its result is
// then printed.
func (t *turn) run(steps []step) bool {
	for _, s := range steps {
		switch s.verb {
		case "say":
			if !t.say(t.p.fill(s.arg)) {
				return t.aborted()
			}
		case "bytes":
			text := strings.Repeat("0123456789abcde\n", s.number()/16+1)[:s.number()]
			t.block(map[string]any{"type": "text", "text": text}, "text_delta", "text", []string{text})
			t.last = text
		case "think":
			words := strings.SplitAfter(s.arg, " ")
			if !t.block(map[string]any{"type": "thinking", "thinking": s.arg, "signature": "c2ln"}, "thinking_delta", "thinking", words) {
				return t.aborted()
			}
		case "tool", "ask":
			if !t.tool(s, s.verb == "ask") {
				return false
			}
		case "wait", "hang":
			d := time.Duration(-1)
			if s.verb == "wait" {
				d = s.duration()
			}
			if t.p.pause(d) {
				return t.aborted()
			}
		case "until":
			for !s.fulfilled() {
				if t.p.pause(look) {
					return t.aborted()
				}
			}
		case "pace":
			t.pace = s.duration()
		case "retry":
			if !t.retry(s) {
				return t.aborted()
			}
		case "limited":
			t.p.print(map[string]any{"type": "rate_limit_event", "rate_limit_info": map[string]any{
				"status": "rejected", "resetsAt": time.Now().Add(s.duration()).Unix(), "rateLimitType": "five_hour",
			}})
		case "cut":
			if !t.cut(s.arg) {
				return t.aborted()
			}
		case "fail":
			t.fail(s.number())
			return false
		case "news":
			t.news = t.p.fill(s.arg)
		default:
			t.p.do(s)
		}
	}
	return true
}

// open begins a message, unless one is open.
func (t *turn) open() {
	if t.id != "" {
		return
	}
	t.calls++
	t.p.ids++
	t.id, t.index, t.last = "msg_"+strings.TrimLeft(t.p.uuid()[:8], "0"), 0, ""
	t.p.print(map[string]any{"type": "system", "subtype": "status", "status": "requesting"})
	t.event(map[string]any{"type": "message_start", "message": t.message(nil)})
}

// close ends the message.
func (t *turn) close(stop string) {
	if t.id == "" {
		return
	}
	t.event(map[string]any{"type": "message_delta", "delta": map[string]any{"stop_reason": stop, "stop_sequence": nil}, "usage": map[string]any{"output_tokens": 20}})
	t.event(map[string]any{"type": "message_stop"})
	t.id = ""
}

func (t *turn) message(content []any) map[string]any {
	return map[string]any{
		"id": t.id, "type": "message", "role": "assistant", "model": model, "content": append([]any{}, content...),
		"stop_reason": nil, "stop_sequence": nil,
		"usage": map[string]any{"input_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1},
	}
}

// event prints a piece of the model's stream.
func (t *turn) event(e map[string]any) {
	if t.p.args.partial {
		t.p.print(map[string]any{"type": "stream_event", "event": e, "parent_tool_use_id": nil})
	}
}

// say streams a text. It is false if that was interrupted.
func (t *turn) say(text string) bool {
	if !t.block(map[string]any{"type": "text", "text": text}, "text_delta", "text", strings.SplitAfter(text, " ")) {
		return false
	}
	t.last = text
	return true
}

// block streams a block in pieces and finishes it. When interrupted it finishes what was said.
func (t *turn) block(block map[string]any, delta, field string, pieces []string) bool {
	t.open()
	said, done := t.stream(block, delta, field, pieces)
	block[field] = said
	t.finish(block)
	if done {
		t.event(map[string]any{"type": "content_block_stop", "index": t.index})
		t.index++
	}
	return done
}

func (t *turn) stream(block map[string]any, delta, field string, pieces []string) (said string, done bool) {
	empty := map[string]any{}
	for name, value := range block {
		empty[name] = value
	}
	empty[field] = ""
	t.event(map[string]any{"type": "content_block_start", "index": t.index, "content_block": empty})
	for _, piece := range pieces {
		if t.pace > 0 && t.p.pause(t.pace) || t.p.poll() {
			return said, false
		}
		said += piece
		t.event(map[string]any{"type": "content_block_delta", "index": t.index, "delta": map[string]any{"type": delta, field: piece}})
	}
	return said, true
}

// finish prints the finished block, and before the first of the turn the user's message.
func (t *turn) finish(block map[string]any) {
	if !t.told && t.p.args.replay {
		t.p.print(map[string]any{
			"type": "user", "message": map[string]any{"role": "user", "content": t.user.Message.Content},
			"parent_tool_use_id": nil, "uuid": t.user.UUID, "timestamp": now(), "isReplay": true,
		})
	}
	t.told = true
	m := t.message([]any{block})
	m["context_management"] = nil
	t.p.print(map[string]any{"type": "assistant", "message": m, "parent_tool_use_id": nil, "request_id": "req_" + t.id})
}

// cut shows a text that never becomes true. It is false if that was interrupted.
func (t *turn) cut(text string) bool {
	t.open()
	_, done := t.stream(map[string]any{"type": "text", "text": text}, "text_delta", "text", strings.SplitAfter(text, " "))
	t.id = ""
	return done
}

// retry says that a model call failed and is made again, after the pause if one is named. It
// is false if that was interrupted.
func (t *turn) retry(s step) bool {
	code, pause, _ := strings.Cut(s.arg, " ")
	status := step{s.verb, code}.number()
	line := map[string]any{
		"type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 3, "retry_delay_ms": 500.5,
		"error_status": any(status), "error": reason(status),
	}
	if status == 0 {
		line["error_status"] = nil
	}
	var d time.Duration
	if pause != "" {
		d = step{s.verb, pause}.duration()
		line["retry_delay_ms"] = d.Milliseconds()
	}
	t.p.print(line)
	return d == 0 || !t.p.pause(d)
}

// reason is the CLI's word for a status of the model's API.
func reason(status int) string {
	switch {
	case status == 0:
		return "unknown"
	case status == 401, status == 403:
		return "authentication_failed"
	case status == 404:
		return "model_not_found"
	case status == 429:
		return "rate_limit"
	case status == 529:
		return "overloaded"
	case status >= 500:
		return "server_error"
	}
	return "invalid_request"
}

package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
)

// line is one line that the CLI printed: the fields that Iris understands, of any type of
// line. Whatever means different things in different lines is kept raw until its type is
// known, so a surprise in one field never costs the line.
type line struct {
	Type    string `json:"type"`
	Subtype string `json:"subtype"`
	UUID    string `json:"uuid"`
	// Parent is set on everything that a subagent says.
	Parent *string `json:"parent_tool_use_id"`
	// Model is init's; an assistant line has its own in the message.
	Model string `json:"model"`

	Message   json.RawMessage `json:"message"`  // assistant, user
	Event     json.RawMessage `json:"event"`    // stream_event
	Request   json.RawMessage `json:"request"`  // control_request
	Response  json.RawMessage `json:"response"` // control_response
	RequestID string          `json:"request_id"`

	IsReplay bool   `json:"isReplay"` // user: ours, echoed
	State    string `json:"state"`    // session_state_changed, command_lifecycle
	Command  string `json:"command_uuid"`
	// UserMessages are the user messages that a turn answers; 2.1.330 says so on its first
	// lines and on its result.
	UserMessages []string `json:"user_message_uuids"`
	// Abandoned is on the message_stop of a broken stream, of 2.1.330.
	Abandoned json.RawMessage `json:"abandoned_blocks"`

	ErrorStatus int             `json:"error_status"` // api_retry; zero: no answer at all
	Error       json.RawMessage `json:"error"`        // api_retry and assistant: a word for the kind of failure
	Attempt     int             `json:"attempt"`
	MaxRetries  int             `json:"max_retries"`
	RetryDelay  float64         `json:"retry_delay_ms"` // api_retry

	Limit json.RawMessage `json:"rate_limit_info"` // rate_limit_event

	raw json.RawMessage // the line itself, for a result
}

// limit is what a rate_limit_event says about the account's plan. Only subscriptions have it,
// and it was not recorded: the fields are those of the CLI's own schema.
type limit struct {
	Status   string `json:"status"`   // allowed, allowed_warning, rejected
	ResetsAt int64  `json:"resetsAt"` // Unix seconds
}

// result ends a turn.
type result struct {
	Subtype        string  `json:"subtype"`
	IsError        bool    `json:"is_error"`
	APIErrorStatus int     `json:"api_error_status"`
	Result         string  `json:"result"`
	NumTurns       int     `json:"num_turns"`
	TotalCostUSD   float64 `json:"total_cost_usd"`
	TerminalReason string  `json:"terminal_reason"`
	StopReason     string  `json:"stop_reason"`
	Usage          struct {
		Input      int64 `json:"input_tokens"`
		Output     int64 `json:"output_tokens"`
		CacheRead  int64 `json:"cache_read_input_tokens"`
		CacheWrite int64 `json:"cache_creation_input_tokens"`
	} `json:"usage"`
	Errors []string `json:"errors"`
	// Origin is there when nobody asked: a background task ended and the CLI took a turn.
	Origin *struct {
		Kind string `json:"kind"`
	} `json:"origin"`
}

// message is what an assistant or a user line carries.
type message struct {
	ID         string          `json:"id"`
	Model      string          `json:"model"`
	StopReason string          `json:"stop_reason"`
	Content    json.RawMessage `json:"content"` // text, or blocks
}

// block is a piece of a message.
type block struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	Thinking  string          `json:"thinking"`
	ID        string          `json:"id"` // tool_use
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"` // tool_result
	IsError   bool            `json:"is_error"`
	Content   json.RawMessage `json:"content"` // text, or blocks
}

// result is the text of a tool's result.
func (b block) result() string {
	all := text(b.Content)
	for _, part := range (message{Content: b.Content}).blocks() {
		all += part.Text
	}
	return all
}

// blocks are the message's; none if it is plain text.
func (m message) blocks() []block {
	var raw []json.RawMessage
	json.Unmarshal(m.Content, &raw)
	blocks := make([]block, len(raw))
	for i := range raw {
		json.Unmarshal(raw[i], &blocks[i])
	}
	return blocks
}

// streamEvent is a piece of the model's answer as it comes, of the Messages API.
type streamEvent struct {
	Type    string  `json:"type"`
	Message message `json:"message"` // message_start
	Delta   struct {
		Type       string `json:"type"`
		Text       string `json:"text"`
		Thinking   string `json:"thinking"`
		StopReason string `json:"stop_reason"` // message_delta
	} `json:"delta"` // content_block_delta, message_delta
}

// controlRequest is what the CLI asks of us.
type controlRequest struct {
	Subtype   string          `json:"subtype"`
	ToolName  string          `json:"tool_name"`
	Input     json.RawMessage `json:"input"`
	ToolUseID string          `json:"tool_use_id"`
}

// controlResponse answers what we asked of the CLI.
type controlResponse struct {
	Subtype   string          `json:"subtype"`
	RequestID string          `json:"request_id"`
	Response  json.RawMessage `json:"response"`
	Error     string          `json:"error"`
}

// parse reads one line. What is no JSON object, or says no type, is no line: ok is false.
func parse(b []byte) (l line, ok bool) {
	if err := json.Unmarshal(b, &l); err != nil {
		// A field of an unexpected type is skipped, the others are there.
		if _, odd := errors.AsType[*json.UnmarshalTypeError](err); !odd {
			return line{}, false
		}
	}
	if l.Type == "result" {
		l.raw = slices.Clone(b)
	}
	return l, l.Type != ""
}

// text is the raw value if it is a string, else empty.
func text(raw json.RawMessage) string {
	var s string
	json.Unmarshal(raw, &s)
	return s
}

// read hands the lines of stdout to run until there are no more. Lines reach megabytes
// (large_output), so none is too long.
func (a *Agent) read(stdout io.Reader) {
	defer close(a.lines)
	r := bufio.NewReaderSize(stdout, 64<<10)
	for {
		b, err := r.ReadBytes('\n')
		if l, ok := parse(b); ok {
			a.lines <- l
		} else if len(b) > 1 {
			a.log.Debug("the agent printed what is no line of its protocol", "bytes", len(b))
		}
		if err != nil {
			return
		}
	}
}

// write writes what run wants to be written, and closes stdin after the last. It has a
// goroutine of its own because a CLI that waits for its stdout to be read does not read its
// stdin.
func (a *Agent) write(stdin *os.File) {
	defer stdin.Close()
	for b := range a.writes {
		if _, err := stdin.Write(b); err != nil {
			for range a.writes { // the CLI has gone: run will notice
			}
			return
		}
		a.written.Add(1)
	}
}

// tail keeps the end of what the CLI writes to stderr. It is silent unless something is wrong.
type tail struct {
	whole chan struct{} // closed at the end of stderr
	mu    sync.Mutex
	end   []byte
}

const tailSize = 4 << 10

func newTail() *tail { return &tail{whole: make(chan struct{})} }

func (t *tail) read(stderr io.Reader) {
	defer close(t.whole)
	b := make([]byte, tailSize)
	for {
		n, err := stderr.Read(b)
		t.mu.Lock()
		t.end = append(t.end, b[:n]...)
		t.end = t.end[max(0, len(t.end)-tailSize):]
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// String is the tail; invalid UTF-8 is replaced, also where the beginning was cut.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return validText(t.end)
}

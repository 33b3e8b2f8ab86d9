package agenttest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

const model = "claude-opus-4-8"

// player is the CLI. One goroutine reads its input; all else happens in one.
type player struct {
	rules   rules
	args    arguments
	states  bool // print session_state_changed
	session string
	file    string // of the conversation

	out   *bufio.Writer
	lines chan input
	queue []input // user messages that came during a turn
	eof   bool

	prompt  string   // of this turn
	earlier []string // questions before it
	cost    float64  // so far
	ids     int
	failed  bool // the last result was an error
	deaf    bool
	sturdy  bool
}

// input is a line of stdin, as far as it matters.
type input struct {
	Type      string `json:"type"`
	UUID      string `json:"uuid"`
	RequestID string `json:"request_id"`
	Request   struct {
		Subtype     string `json:"subtype"`
		MessageUUID string `json:"message_uuid"`
	} `json:"request"`
	Response struct {
		Subtype   string `json:"subtype"`
		RequestID string `json:"request_id"`
		Response  struct {
			Behavior     string          `json:"behavior"`
			Message      string          `json:"message"`
			UpdatedInput json.RawMessage `json:"updatedInput"`
		} `json:"response"`
	} `json:"response"`
	Message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"message"`
	bad bool // not JSON
}

// arguments are those of the command line that matter here.
type arguments struct {
	sessionID, resume, mode string
	partial, replay, asks   bool
}

// flags are the options that the fake knows, and whether they take a value.
var flags = map[string]bool{
	"-p": false, "--verbose": false, "--include-partial-messages": false, "--replay-user-messages": false, "--strict-mcp-config": false,
	"--input-format": true, "--output-format": true, "--permission-prompt-tool": true, "--session-id": true, "--resume": true,
	"--model": true, "--permission-mode": true, "--append-system-prompt": true, "--mcp-config": true,
	"--allowedTools": true, "--disallowedTools": true,
}

// parseArguments reads the command line, or says what the CLI says of a bad one.
func parseArguments(argv []string) (a arguments, failure string) {
	given := map[string]string{}
	for i := 0; i < len(argv); i++ {
		name, value, joined := strings.Cut(argv[i], "=")
		takes, known := flags[name]
		if !known || joined && !takes {
			return a, fmt.Sprintf("error: unknown option '%s'", argv[i])
		}
		if given[name] = value; joined {
			continue // it takes no more
		}
		if takes && i+1 < len(argv) {
			i++
			given[name] = argv[i]
		}
		if strings.HasSuffix(name, "Tools") { // up to the next flag
			for i+1 < len(argv) && !strings.HasPrefix(argv[i+1], "-") {
				i++
			}
		}
	}
	_, a.partial = given["--include-partial-messages"]
	_, a.replay = given["--replay-user-messages"]
	a.asks = given["--permission-prompt-tool"] == "stdio"
	a.sessionID, a.resume, a.mode = given["--session-id"], given["--resume"], given["--permission-mode"]
	if _, ok := given["--verbose"]; !ok {
		return a, "Error: When using --print, --output-format=stream-json requires --verbose"
	}
	if a.sessionID != "" && !uuidForm.MatchString(a.sessionID) {
		return a, "Error: Invalid session ID. Must be a valid UUID."
	}
	return a, ""
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// play is the whole program; it returns the exit status.
func play(script string) int {
	p := &player{
		rules:  parseRules(script),
		states: os.Getenv("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS") == "1",
		out:    bufio.NewWriterSize(os.Stdout, 64<<10),
		lines:  make(chan input, 16),
	}
	var failure string
	if p.args, failure = parseArguments(os.Args[1:]); failure != "" {
		return p.die(failure)
	}
	go p.read(os.Stdin)
	for _, s := range p.rules.start() {
		p.do(s)
	}
	if text, ok := p.open(); !ok {
		return p.die(text)
	}
	for {
		if len(p.queue) > 0 {
			next := p.queue[0]
			p.queue = p.queue[1:]
			p.turn(next)
			continue
		}
		if p.eof {
			if p.sturdy {
				select {}
			}
			if p.failed {
				return 1
			}
			return 0
		}
		p.take(p.receive(nil))
	}
}

// die says why the program ends before it is ready.
func (p *player) die(text string) int {
	fmt.Fprintln(os.Stderr, text)
	return 1
}

// open finds the conversation, or begins one.
func (p *player) open() (failure string, ok bool) {
	home := os.Getenv(Home)
	if home == "" {
		home = filepath.Join(os.TempDir(), "iris-fake-agent")
	}
	p.session = p.args.sessionID
	if p.args.resume != "" {
		p.session = p.args.resume
	}
	if p.session == "" {
		p.session = p.uuid()
	}
	os.MkdirAll(home, 0o700)
	p.file = filepath.Join(home, p.session+".json")
	b, err := os.ReadFile(p.file)
	switch {
	case err == nil && p.args.resume == "":
		return "Error: Session ID " + p.session + " is already in use.", false
	case err != nil && p.args.resume != "":
		text := "No conversation found with session ID: " + p.session
		p.print(p.result("error_during_execution", true, map[string]any{"num_turns": 0, "errors": []string{text}}))
		return text, false
	}
	json.Unmarshal(b, &p.earlier)
	return "", true
}

// read parses stdin until its end.
func (p *player) read(stdin io.Reader) {
	defer close(p.lines)
	r := bufio.NewReaderSize(stdin, 64<<10)
	for {
		b, err := r.ReadBytes('\n')
		if len(b) > 1 {
			var in input
			in.bad = json.Unmarshal(b, &in) != nil && !json.Valid(b)
			p.lines <- in
		}
		if err != nil {
			return
		}
	}
}

// receive is the next line, or none if the alarm comes first.
func (p *player) receive(alarm <-chan time.Time) (input, bool) {
	lines := p.lines
	if p.eof {
		lines = nil
	}
	select {
	case in, ok := <-lines:
		if !ok {
			p.eof = true
			return input{}, alarm != nil
		}
		return in, true
	case <-alarm:
		return input{}, false
	}
}

// take deals with a line that belongs to no turn. It reports an interrupt.
func (p *player) take(in input, _ bool) (interrupted bool) {
	if in.bad {
		fmt.Fprintln(os.Stderr, "Error parsing streaming input line")
		os.Exit(1)
	}
	switch in.Type {
	case "user":
		if in.Message.Role != "user" {
			fmt.Fprintf(os.Stderr, "Error: Expected message role 'user', got '%s'\n", in.Message.Role)
			os.Exit(1)
		}
		p.queue = append(p.queue, in)
	case "control_request":
		answer := map[string]any{"subtype": "success", "request_id": in.RequestID}
		switch in.Request.Subtype {
		case "initialize":
			answer["response"] = map[string]any{
				"commands": []any{}, "agents": []any{}, "models": []any{}, "output_style": "default",
				"available_output_styles": []string{"default"}, "account": map[string]any{}, "pid": os.Getpid(),
			}
		case "interrupt":
			if p.deaf {
				return false
			}
			interrupted = true
		case "cancel_async_message":
			i := slices.IndexFunc(p.queue, func(q input) bool { return q.UUID == in.Request.MessageUUID })
			if i >= 0 {
				p.queue = slices.Delete(p.queue, i, i+1)
			}
			answer["response"] = map[string]any{"cancelled": i >= 0}
		default:
			answer = map[string]any{"subtype": "error", "request_id": in.RequestID, "error": "Unsupported control request subtype: " + in.Request.Subtype}
		}
		p.print(map[string]any{"type": "control_response", "response": answer})
	}
	return interrupted
}

// pause waits and listens. It reports whether it was interrupted; d < 0 is for ever.
func (p *player) pause(d time.Duration) (interrupted bool) {
	alarm := make(<-chan time.Time)
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		alarm = timer.C
	}
	for {
		in, ok := p.receive(alarm)
		if !ok {
			return false
		}
		if p.take(in, ok) {
			return true
		}
	}
}

// poll listens without waiting.
func (p *player) poll() (interrupted bool) {
	for {
		select {
		case in, ok := <-p.lines:
			if !ok {
				p.eof = true
				return false
			}
			if p.take(in, true) {
				return true
			}
		default:
			return false
		}
	}
}

// do plays a step that needs no turn.
func (p *player) do(s step) {
	switch s.verb {
	case "wait":
		time.Sleep(s.duration())
	case "until":
		for !s.fulfilled() {
			time.Sleep(look)
		}
	case "stderr":
		fmt.Fprintln(os.Stderr, p.fill(s.arg))
	case "garbage":
		p.out.WriteString("garbage\n{\"type\":\n[1,2]\n\"text\"\nnull\n{}\n\x00\xff\xfe\n{\"type\":7}\n{\"type\":\"nobody_knows\",\"event\":3}\n\n")
		p.out.Flush()
	case "spawn":
		spawn(s.arg)
	case "deaf":
		p.deaf = true
	case "stubborn":
		p.sturdy = true
		signal.Ignore(syscall.SIGTERM)
	case "exit":
		os.Exit(s.number())
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "hang":
		select {}
	}
}

// spawn starts what is to survive us.
func spawn(command string) {
	sh, err := os.StartProcess("/bin/sh", []string{"sh", "-c", command}, &os.ProcAttr{
		Files: []*os.File{nil, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		panic(err)
	}
	sh.Release()
}

// print prints a line, with what all of them have.
func (p *player) print(line map[string]any) {
	switch line["type"] {
	case "control_response", "control_request", "control_cancel_request":
	default:
		line["session_id"] = p.session
		if line["uuid"] == nil {
			line["uuid"] = p.uuid()
		}
	}
	b, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	p.out.Write(append(b, '\n'))
	p.out.Flush()
}

// uuid makes ids that are unique in the conversation, in the form of UUIDs.
func (p *player) uuid() string {
	p.ids++
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", p.ids, os.Getpid())
}

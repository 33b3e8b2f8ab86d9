// Package model is a Messages API that plays a script instead of thinking. The real Claude
// Code CLI talks to it over loopback (ANTHROPIC_BASE_URL), so that tests, benchmarks and the
// demo run the whole of Iris without network, account or cost, and in exactly the situation
// they want: a tool call, a stream that breaks, an overloaded model.
//
// # Steering
//
// What it answers is decided anew for each question, which is the last text of the user in
// the request. Markers in the question come first:
//
//	[[say It is {question} again.]]        a text, streamed word by word
//	[[bytes 2000000]]                      a text of that many bytes
//	[[think Let me see.]]                  a thinking block
//	[[tool Read {"file_path":"a.txt"}]]    a tool call; what follows is said after its result
//	[[also Grep {"pattern":"x"}]]          one more call in the same message
//	[[wait 2s]]                            a pause; as the first marker, before the first byte
//	[[pace 50ms]]                          a pause before each of the following deltas
//	[[stop max_tokens]]                    ends the message with that stop reason
//	[[fail 429 times=2 retry-after=1 m]]   an HTTP error with message m; times: so often, then
//	                                       go on; without it: always
//	[[cut]] [[cut times=2]]                the connection breaks here; times: 1 unless told
//	[[break overloaded_error]]             an SSE error event here; times=N as with cut
//	[[hang]] [[hang times=1]]              silence until the client leaves; always unless told
//
// Text outside the markers is ignored, an unknown name is no marker, and a known one with
// arguments that make no sense is answered by a 400 that says so. Where the markers only
// hinder an answer (wait, pace, fail, cut, break, hang) the usual one follows. Markers count in the user's
// text alone: in tool results, in files and in what the CLI adds they are plain text, so that
// nothing an agent reads can steer it.
//
// Names in braces are replaced within say, think and the strings of a tool's input:
//
//	{question}   the question as a person would read it: without markers and Iris's first line
//	{text}       the user's text exactly as it came
//	{earlier}    the earlier questions of this conversation, numbered
//	{result}     what the last tool call gave
//	{response}   that, or of a JSON object its field "response"
//	{lookup}     the lines of the project's CLAUDE.md that fit the question best
//	{try}        how often the CLI has sent this same request: 1, and more after a [[cut]]
//
// Without markers the rules of a script file are tried (see [Script]), and where none
// matches the answer quotes the question and {lookup}: friendly, deterministic, and honest
// about being a script.
//
// docs/scripted-model.md is the guide to this.
package model

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options are how a Server answers. The zero value is good.
type Options struct {
	Script *Script       // rules for questions without markers; nil: none
	Pace   time.Duration // pause before each delta, unless a [[pace]] says otherwise
	Keep   int           // so many of the last requests are kept for Requests; zero: 256, less: none
	Log    *slog.Logger  // one line a request, at debug; nil: silent
}

// Server is the scripted model: an http.Handler, and with Start a server of its own.
// Everything on it is safe for concurrent use.
type Server struct {
	opts Options
	id   string // makes ids differ between servers, since a conversation may outlive one

	mu       sync.Mutex
	made     int            // ids made
	requests []*Request     // oldest first
	tries    map[string]int // how often a step with times=N, or {try}, was played

	http *http.Server
	done chan struct{} // closed when http has ended
	url  string
}

// New makes a server that does not listen yet.
func New(o Options) *Server {
	o.Keep = cmp.Or(o.Keep, 256)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	var seed [3]byte
	rand.Read(seed[:])
	return &Server{opts: o, id: hex.EncodeToString(seed[:]), tries: map[string]int{}}
}

// Start listens on a free port of 127.0.0.1. It wants a Close.
func (s *Server) Start() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start the scripted model: %w", err)
	}
	s.url = "http://" + ln.Addr().String()
	s.http = &http.Server{Handler: s, ErrorLog: slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug)}
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		s.http.Serve(ln) // ends with Close, which is no error of interest
	}()
	return nil
}

// URL is the server's base address after Start, for ANTHROPIC_BASE_URL.
func (s *Server) URL() string { return s.url }

// Close ends the server and every answer it is giving, hanging ones too.
func (s *Server) Close() error {
	if s.http == nil {
		return nil
	}
	err := s.http.Close()
	<-s.done
	return err
}

// Vars are the variables that make a CLI use this server, with a made-up key, with home as its
// home and nothing of the person's own: variables of this program that would say otherwise
// are set to the empty string.
func (s *Server) Vars(home string) map[string]string {
	vars := map[string]string{}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); foreign(name) {
			vars[name] = ""
		}
	}
	for name, value := range map[string]string{
		"ANTHROPIC_BASE_URL": s.url,
		"ANTHROPIC_API_KEY":  "sk-ant-scripted-model",
		"HOME":               home,
		"CLAUDE_CONFIG_DIR":  filepath.Join(home, ".claude"),
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
		"DISABLE_AUTOUPDATER":                      "1",
		"NO_PROXY":                                 "127.0.0.1,localhost",
		"no_proxy":                                 "127.0.0.1,localhost",
	} {
		vars[name] = value
	}
	return vars
}

// Env is a whole environment, for exec.Cmd.Env: this program's, less what is foreign to the
// scripted model, with Vars.
func (s *Server) Env(home string) []string {
	vars := s.Vars(home)
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		_, ours := vars[name]
		return ours
	})
	for name, value := range vars {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	slices.Sort(env)
	return env
}

// foreign reports whether the variable says who pays, where the model is, or that the CLI
// runs inside another one.
func foreign(name string) bool {
	for _, prefix := range []string{"ANTHROPIC_", "CLAUDE", "AWS_BEARER_TOKEN", "CLOUD_ML_REGION", "VERTEX_REGION_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// Request is a call of the Messages API, as tests look at it.
type Request struct {
	At         time.Time // when it had been read
	FirstDelta time.Time // just before the first delta was written; zero without one
	Side       bool      // not the conversation: a title, a summary for /compact, a quota check
	Session    string    // the CLI's id of the conversation
	Model      string
	Stream     bool
	Text       string   // the user's last text, as the CLI sent it
	Round      int      // model calls of this question that came before
	Tools      []string // names of the tools offered
	Body       []byte   // all of it; read only
	Status     int      // the HTTP status of the answer
}

// Requests are the requests of conversations in the order of their arrival.
func (s *Server) Requests() []Request { return s.kept(false) }

// SideRequests are what the CLI asked beside its conversations, in the order of arrival.
func (s *Server) SideRequests() []Request { return s.kept(true) }

func (s *Server) kept(side bool) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Request
	for _, r := range s.requests {
		if r.Side == side {
			out = append(out, *r)
		}
	}
	return out
}

// keep records the request; from then on its fields are changed through note only.
func (s *Server) keep(r *Request) {
	if s.opts.Keep < 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.requests) >= s.opts.Keep {
		s.requests = slices.Delete(s.requests, 0, len(s.requests)-s.opts.Keep+1)
	}
	s.requests = append(s.requests, r)
}

func (s *Server) note(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// newID makes an id that no other server made.
func (s *Server) newID(prefix string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	return fmt.Sprintf("%s_%s%06d", prefix, s.id, s.made)
}

// try counts how often something was tried.
func (s *Server) try(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries[key]++
	return s.tries[key]
}

// pause waits for d, or until the client has left.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

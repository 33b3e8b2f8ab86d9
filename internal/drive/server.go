package drive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gopkg.in/yaml.v3"
)

// Options are what a server is started with.
type Options struct {
	Binary string         // iris-mcp
	Home   string         // its data folder, which is made if need be
	Env    []string       // its environment but for IRIS_HOME
	Port   int            // of its HTTP side; a free one if zero
	Config map[string]any // iris-config.yaml, but for api.port
	Stdio  bool           // serve MCP too
}

// Server is a running iris-mcp. Its HTTP side may be used by many goroutines at once.
type Server struct {
	*Program
	MCP   *MCP // with Stdio
	URL   string
	Key   string        // the local user's
	Ready time.Duration // from the start of the process to /readyz

	opts Options
}

// Start starts a server and waits until it is ready. It wants a Stop.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	if o.Port == 0 {
		if o.Port, err = FreePort(); err != nil {
			return nil, err
		}
	}
	s := &Server{URL: "http://127.0.0.1:" + strconv.Itoa(o.Port), opts: o}
	config, api := map[string]any{}, map[string]any{"port": o.Port}
	maps.Copy(config, o.Config)
	if given, ok := o.Config["api"].(map[string]any); ok {
		maps.Copy(api, given)
	}
	config["api"] = api
	text, err := yaml.Marshal(config)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(o.Home, 0o700), os.WriteFile(s.configFile(), text, 0o600)); err != nil {
		return nil, err
	}
	args := []string{"serve", "--config", s.configFile()}
	if !o.Stdio {
		args = append(args, "--http-only")
	}
	began := time.Now()
	if s.Program, err = s.run(ctx, o.Home, args...); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Stop())
		}
	}()
	ended := make(chan struct{})
	if !o.Stdio { // else its stdout, which must be read to its end first, is MCP's
		go func() {
			defer close(ended)
			s.wait()
		}()
	}
	if err := s.untilReady(ctx, ended); err != nil {
		return nil, err
	}
	s.Ready = time.Since(began)
	key, err := os.ReadFile(filepath.Join(o.Home, "local.key"))
	if err != nil {
		return nil, err
	}
	s.Key = strings.TrimSpace(string(key))
	if o.Stdio {
		s.MCP, err = Connect(s.Program)
	}
	return s, err
}

// Relay starts a second iris-mcp on the server's data folder, in that working folder, as every
// Claude Code but the first does. It wants a Close.
func (s *Server) Relay(ctx context.Context, dir string) (*MCP, error) {
	p, err := s.run(ctx, dir, "serve", "--config", s.configFile())
	if err != nil {
		return nil, err
	}
	m, err := Connect(p)
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return m, nil
}

func (s *Server) configFile() string { return filepath.Join(s.opts.Home, "iris-config.yaml") }

func (s *Server) run(ctx context.Context, dir string, args ...string) (*Program, error) {
	return Run(ctx, dir, slices.Concat(s.opts.Env, []string{"IRIS_HOME=" + s.opts.Home}), s.opts.Binary, args...)
}

// FreePort is a port to listen on at once or to come back to. It lies below those that a system
// gives to outgoing connections by itself, one of which could take it meanwhile.
func FreePort() (int, error) {
	var last error
	for range 100 {
		port := 10_000 + rand.IntN(20_000)
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, ln.Close()
		}
		last = err
	}
	return 0, fmt.Errorf("find a free port: %w", last)
}

func (s *Server) untilReady(ctx context.Context, ended <-chan struct{}) error {
	for began := time.Now(); time.Since(began) < time.Minute; {
		res, err := http.Get(s.URL + "/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ended:
			return s.wait()
		case <-time.After(500 * time.Microsecond):
		}
	}
	return fmt.Errorf("the server was not ready within a minute: %s", s.Stderr())
}

// Stop ends the server as its user would.
func (s *Server) Stop() error { return s.End(syscall.SIGTERM) }

// Send sends a request with the local user's key, to a path below /api/v1. The caller closes
// the answer's body.
func (s *Server) Send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, s.URL+"/api/v1"+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+s.Key)
	r.Header.Set("Content-Type", "application/json")
	return http.DefaultClient.Do(r)
}

// JSON sends a request and decodes the answer into out, whatever its status.
func (s *Server) JSON(ctx context.Context, method, path string, body, out any) (status int, err error) {
	res, err := s.Send(ctx, method, path, body)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	return res.StatusCode, json.NewDecoder(res.Body).Decode(out)
}

// Event is one server-sent event.
type Event struct {
	At   time.Time // when it had come
	ID   string
	Name string
	Data []byte
}

// Stream sends a request that is answered by a stream, and gives each event to see.
func (s *Server) Stream(ctx context.Context, method, path string, body any, see func(Event)) error {
	res, err := s.Send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	var e Event
	for in := bufio.NewReader(res.Body); ; {
		line, err := in.ReadString('\n')
		if err != nil {
			return ctx.Err()
		}
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			e.ID = value
		case "event":
			e.Name = value
		case "data":
			e.At, e.Data = time.Now(), append(e.Data, value...)
		case "":
			if e.Name != "" {
				see(e)
			}
			e = Event{}
		}
	}
}

// Processes are a team's processes as the API shows them.
type Processes []struct {
	PID       int
	SessionID string
	State     string
}

// Until waits, at most a minute, until the team's processes are as wanted.
func (s *Server) Until(ctx context.Context, team string, wanted func(Processes) bool) error {
	for began := time.Now(); time.Since(began) < time.Minute; {
		var st struct{ Processes Processes }
		if _, err := s.JSON(ctx, "GET", "/teams/"+team+"/status", nil, &st); err != nil || wanted(st.Processes) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("the processes of %s are not as they should be after a minute", team)
}

package owner_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/iris-mcp/iris-mcp/internal/owner"
)

// The test binary is also an iris-mcp: it takes the data folder, or relays stdin and stdout.
func TestMain(m *testing.M) {
	if dir := os.Getenv("IRIS_TEST_DATA"); dir != "" {
		if err := play(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func play(dir string) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	for {
		o, err := owner.Take(dir)
		if err == nil {
			fmt.Println("owner")
			go func() { io.Copy(io.Discard, os.Stdin); stop() }()
			o.Serve(ctx, owner.Welcome{Version: "1", Config: "/owner.yaml"}, serve)
			return o.Close()
		}
		if !errors.Is(err, owner.ErrTaken) {
			return err
		}
		hello := owner.Hello{Version: "2", Cwd: "/here", ProjectDir: "/project", Config: "/mine.yaml"}
		err = owner.Relay(ctx, dir, hello, os.Stdin, os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil)))
		if !errors.Is(err, owner.ErrNoOwner) {
			return err
		}
	}
}

// serve answers a request by its method: ping and echo at once, anything else never.
func serve(ctx context.Context, conn net.Conn, hello owner.Hello) {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var m struct {
			ID     json.RawMessage
			Method string
			Params json.RawMessage
		}
		if json.Unmarshal(line, &m) != nil {
			fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no JSON"}}`+"\n")
			continue
		}
		switch m.Method {
		case "ping":
			fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%s,"result":{}}`+"\n", m.ID)
		case "echo":
			fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", m.ID, m.Params)
		case "hello":
			fmt.Fprintf(conn, `{"jsonrpc":"2.0","id":%s,"result":"%d %s %s %s %s %t"}`+"\n", m.ID,
				hello.Iris, hello.Cwd, hello.ProjectDir, hello.Version, hello.Config, hello.PID > 0)
		}
	}
}

// program is a running iris-mcp.
type program struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err *bytes.Buffer // read after wait
}

func start(t *testing.T, dir string) *program {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "IRIS_TEST_DATA="+dir)
	p := &program{t: t, cmd: cmd, err: &bytes.Buffer{}}
	cmd.Stderr = p.err
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return p
}

func startOwner(t *testing.T, dir string) *program {
	t.Helper()
	p := start(t, dir)
	if line := p.line(); line != "owner" {
		t.Fatalf("the first says %q, want owner", line)
	}
	return p
}

func (p *program) line() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("it says no more: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (p *program) send(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *program) kill(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// wait gives what it wrote to stderr.
func (p *program) wait() string {
	p.cmd.Wait()
	return p.err.String()
}

func TestOfManyAtOnceOneOwnsAndTheOthersReachIt(t *testing.T) {
	dir := t.TempDir()
	const n = 6
	first := make([]string, n)
	var all sync.WaitGroup
	for i := range n {
		p := start(t, dir)
		all.Go(func() {
			io.WriteString(p.in, `{"jsonrpc":"2.0","id":1,"method":"hello"}`+"\n")
			line, _ := p.out.ReadString('\n')
			first[i] = strings.TrimSuffix(line, "\n")
		})
	}
	all.Wait()
	count := map[string]int{}
	for _, line := range first {
		count[line]++
	}
	relayed := `{"jsonrpc":"2.0","id":1,"result":"1 /here /project 2 /mine.yaml true"}`
	if count["owner"] != 1 || count[relayed] != n-1 {
		t.Errorf("they say %v, want one owner and %d relays", count, n-1)
	}
}

func TestAfterAKillTheNextOneOwns(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		o := startOwner(t, dir) // over the dead one's lock and socket
		o.kill(syscall.SIGKILL)
		o.wait()
		if _, err := os.Stat(filepath.Join(dir, "sock")); err != nil {
			t.Fatal("a killed owner leaves its socket, else this test shows nothing:", err)
		}
	}
	o := startOwner(t, dir)
	o.in.Close()
	if said := o.wait(); said != "" {
		t.Error(said)
	}
	if _, err := os.Stat(filepath.Join(dir, "sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after a good end the socket is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); err != nil {
		t.Errorf("the lock file must stay: %v", err)
	}
}

func TestARelayPassesLinesOfAnyLength(t *testing.T) {
	dir := t.TempDir()
	startOwner(t, dir)
	r := start(t, dir)
	long := `{"p":"` + strings.Repeat("x", 3<<20) + `"}`
	go io.WriteString(r.in, `{"jsonrpc":"2.0","id":1,"method":"echo","params":`+long+"}\n")
	if got, want := r.line(), `{"jsonrpc":"2.0","id":1,"result":`+long+`}`; got != want {
		t.Errorf("got %d bytes, want %d", len(got), len(want))
	}
	r.send("garbage")
	if got := r.line(); !strings.Contains(got, "-32700") {
		t.Errorf("garbage gave %s", got)
	}
	// The client goes: what it asked last is still answered.
	r.send(`{"jsonrpc":"2.0","id":2,"method":"echo","params":[]}`)
	r.in.Close()
	if got := r.line(); got != `{"jsonrpc":"2.0","id":2,"result":[]}` {
		t.Errorf("got %s", got)
	}
	said := r.wait()
	if r.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("the relay ended with %v", r.cmd.ProcessState)
	}
	for _, warning := range []string{"another version", "another configuration"} {
		if !strings.Contains(said, warning) {
			t.Errorf("no warning of %s in %s", warning, said)
		}
	}
}

func TestWhenTheOwnerGoesOpenRequestsAreAnswered(t *testing.T) {
	dir := t.TempDir()
	o := startOwner(t, dir)
	r := start(t, dir)
	r.send(`{"method":"tools/call","params":{"name":"ask_team"},"jsonrpc":"2.0","id":7}`)
	r.send(`{"jsonrpc":"2.0","id":"8","method":"never"}`)
	r.send(`{"jsonrpc":"2.0","id":9,"method":"never"}`)
	r.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}`)
	r.send(`{"jsonrpc":"2.0","id":10,"method":"ping"}`)
	r.line() // all above has reached the owner
	o.kill(syscall.SIGKILL)
	got := map[string]string{} // by its end and not by a clock, after which it would be said that it does not answer
	for range 2 {
		line := r.line()
		var m struct{ ID json.RawMessage }
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		got[string(m.ID)] = line
	}
	for id, parts := range map[string][]string{
		"7":   {`"isError":true`, `"code":"PROCESS_ERROR"`, `check_message`, fmt.Sprint(o.cmd.Process.Pid)},
		`"8"`: {`"code":-32603`, `has ended`},
	} {
		for _, part := range parts {
			if !strings.Contains(got[id], part) {
				t.Errorf("the answer to %s has no %s: %s", id, part, got[id])
			}
		}
	}
	if _, err := r.out.ReadByte(); err != io.EOF {
		t.Errorf("a cancelled request was answered, or the relay goes on: %v", err)
	}
	if said := r.wait(); r.cmd.ProcessState.ExitCode() == 0 || !strings.Contains(said, "has ended") {
		t.Errorf("the relay ended with %v and %q", r.cmd.ProcessState, said)
	}
}

func TestADeepFolderHasItsSocketElsewhere(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep/", 30))
	for range 2 { // a killed one's is used again
		o := startOwner(t, dir)
		r := start(t, dir)
		r.send(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
		r.line()
		path, err := os.ReadFile(filepath.Join(dir, "socket"))
		if err != nil {
			t.Fatal(err)
		}
		far := filepath.Dir(string(path))
		if info, err := os.Stat(far); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v; want a folder of ours alone", far, info.Mode(), err)
		}
		o.kill(syscall.SIGKILL)
		o.wait()
	}
}

func TestTheFolderAndTheSocketAreTheOwnersAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "data")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	o, err := owner.Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, dir + "/sock": 0o600, dir + "/lock": 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has %v (%v), want %v", path, info.Mode().Perm(), err, want)
		}
	}
	if _, err := owner.Take(dir); !errors.Is(err, owner.ErrTaken) {
		t.Errorf("a second one has %v, want ErrTaken", err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	o, err = owner.Take(dir)
	if err != nil {
		t.Fatalf("after Close it cannot be taken: %v", err)
	}
	o.Close()
}

func TestAFolderThatCannotBeUsedSaysWhatToDo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(t.TempDir(), "shared")
	if err := errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	readOnly := filepath.Join(t.TempDir(), "ro")
	if err := os.Mkdir(readOnly, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		readOnly = "/sys" // where root may not write either
	}
	for _, tt := range []struct{ name, dir, want string }{
		{"a file", file, "is not a folder"},
		{"below a file", filepath.Join(file, "data"), "is not a folder"},
		{"everybody's", shared, "all users share"},
		{"not writable", filepath.Join(readOnly, "data"), "cannot be written"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := owner.Take(tt.dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "set IRIS_HOME") {
				t.Errorf("got %v, want %q and what to do", err, tt.want)
			}
		})
	}
}

func TestWithoutAnOwnerNothingIsReadOfTheClient(t *testing.T) {
	in := strings.NewReader("line\n")
	err := owner.Relay(t.Context(), t.TempDir(), owner.Hello{}, in, io.Discard, slog.New(slog.DiscardHandler))
	if !errors.Is(err, owner.ErrNoOwner) || in.Len() != 5 {
		t.Errorf("got %v, %d bytes left", err, in.Len())
	}
}

func TestARelayOfAnotherProtocolIsRefused(t *testing.T) {
	dir := t.TempDir()
	startOwner(t, dir)
	conn, err := net.Dial("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, `{"iris":2}`)
	answer, _ := io.ReadAll(conn)
	if !bytes.Contains(answer, []byte(`"ok":false`)) || !bytes.Contains(answer, []byte("another protocol")) {
		t.Errorf("got %s", answer)
	}
}

func TestARelayEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	startOwner(t, dir)
	ctx, stop := context.WithCancelCause(t.Context())
	in, say := io.Pipe()
	defer say.Close()
	hear, out := io.Pipe()
	over := make(chan error, 1)
	go func() {
		over <- owner.Relay(ctx, dir, owner.Hello{}, in, out, slog.New(slog.DiscardHandler))
		out.Close()
	}()
	fmt.Fprintln(say, `{"jsonrpc":"2.0","id":1,"method":"tools/call"}`)
	fmt.Fprintln(say, `{"jsonrpc":"2.0","id":2,"method":"ping"}`)
	lines := bufio.NewReader(hear)
	lines.ReadString('\n')
	told := errors.New("told to end")
	stop(told)
	if line, _ := lines.ReadString('\n'); !strings.Contains(line, `"id":1`) || !strings.Contains(line, "told to end") {
		t.Errorf("got %q", line)
	}
	if err := <-over; !errors.Is(err, told) {
		t.Errorf("Relay gave %v", err)
	}
}

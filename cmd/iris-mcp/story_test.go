package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp/internal/cert/certtest"
	"github.com/iris-mcp/iris-mcp/internal/drive"
	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestStories runs the scripts of testdata/script, each in a folder and a data folder of its
// own. Beside testscript's commands they have:
//
//	exits CODE PROGRAM [ARG…]   runs it and wants it to end with the code
//	until REGEXP PROGRAM [ARG…] runs it again and again until its stdout fits
//	capture NAME REGEXP         makes what the group fits in the last stdout a variable
//	ready                       waits until the server of the data folder answers
//	gone                        waits until it does not
//	certificate FILE FILE       makes a certificate that nobody trusts, and its key
//	http METHOD PATH [BODY]     asks the server of the data folder with $IRIS_API_KEY (NAME:KEY
//	                            is basic authentication, - is nothing), or as the local user,
//	                            and prints status and answer
//	mcp FOLDER TOOL ARGUMENTS   an MCP client: starts iris-mcp in the folder and calls a tool
//	mcphttp KEY TOOL ARGUMENTS  an MCP client over HTTP: calls a tool of the running server
//	websocket KEY FILE          a WebSocket client: plays the file (playSocket)
func TestStories(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("IRIS_HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("GORACE", "atexit_sleep_ms=0")            // else every program takes a second to end
			for _, name := range []string{"PORT", "HOOK_PORT"} { // to come back to
				port, err := drive.FreePort()
				if err != nil {
					return err
				}
				env.Setenv(name, strconv.Itoa(port))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "until": until, "capture": capture, "ready": ready, "gone": gone, "certificate": certificate, "http": callHTTP, "mcp": callTool, "mcphttp": callToolHTTP, "websocket": playSocket,
		},
		UpdateScripts: *update,
	})
}

// patienceOfTests is more than any step of a story takes on a slow machine.
const patienceOfTests = 30 * time.Second

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	err = ts.Exec(args[1], args[2:]...)
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code, err = e.ExitCode(), nil
	}
	ts.Check(err)
	if code != want {
		ts.Fatalf("it exited with %d", code)
	}
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM [ARG…]")
	}
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	eventually(ts, func() bool {
		return ts.Exec(args[1], args[2:]...) == nil && re.MatchString(ts.ReadFile("stdout"))
	})
}

func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME REGEXP")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	m := re.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) != 2 {
		ts.Fatalf("stdout does not fit %s, or there is no group in it", args[1])
	}
	ts.Setenv(args[0], m[1])
}

func ready(ts *testscript.TestScript, neg bool, args []string) {
	eventually(ts, func() bool { return answering(ts) })
}

func gone(ts *testscript.TestScript, neg bool, args []string) {
	eventually(ts, func() bool { return !answering(ts) })
}

func certificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: certificate FILE FILE")
	}
	ts.Check(certtest.Write(ts.MkAbs(args[0]), ts.MkAbs(args[1]), "iris", time.Now().Add(365*24*time.Hour)))
}

// answering reports whether the server of the story's data folder can take messages.
func answering(ts *testscript.TestScript) bool {
	address, err := os.ReadFile(addressFile(ts.Getenv("IRIS_HOME")))
	if err != nil {
		return false
	}
	resp, err := http.Get(strings.TrimSpace(string(address)) + "/readyz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// eventually waits until it is so.
func eventually(ts *testscript.TestScript, so func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patienceOfTests)
	for !so() {
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("it did not happen within %s", patienceOfTests)
		}
	}
}

func callHTTP(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: http METHOD PATH [BODY]")
	}
	home := ts.Getenv("IRIS_HOME")
	key := ts.Getenv("IRIS_API_KEY")
	if key == "" {
		key = ts.ReadFile(localKeyFile(home))
	}
	address := strings.TrimSpace(ts.ReadFile(addressFile(home)))
	req, err := http.NewRequest(args[0], address+args[1], strings.NewReader(strings.Join(args[2:], "")))
	ts.Check(err)
	if name, password, basic := strings.Cut(key, ":"); basic {
		req.SetBasicAuth(name, password)
	} else if key != "-" {
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(key))
	}
	resp, err := (&http.Client{Timeout: patienceOfTests}).Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d %s", resp.StatusCode, body)
}

func callTool(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: mcp FOLDER TOOL ARGUMENTS")
	}
	program, err := exec.LookPath("iris-mcp")
	ts.Check(err)
	cmd := exec.Command(program)
	cmd.Dir = ts.MkAbs(args[0])
	cmd.Stderr = ts.Stderr()
	for _, name := range []string{"PATH", "HOME", "IRIS_HOME", "WORK"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	stdin, err := cmd.StdinPipe()
	ts.Check(err)
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	defer time.AfterFunc(patienceOfTests, func() { cmd.Process.Kill() }).Stop()

	answers := bufio.NewReader(stdout)
	_, err = fmt.Fprintln(stdin, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"story","version":"1"}}}`)
	ts.Check(err)
	result(ts, answers, 1)
	_, err = fmt.Fprintf(stdin, "%s\n%s\n", `{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"`+args[1]+`","arguments":`+args[2]+`}}`)
	ts.Check(err)
	var said struct {
		Content []struct{ Text string }
		IsError bool
	}
	ts.Check(json.Unmarshal(result(ts, answers, 2), &said))
	ts.Check(stdin.Close())
	if rest, err := io.ReadAll(answers); err != nil || len(rest) > 0 {
		ts.Fatalf("after the answer came %q, %v", rest, err)
	}
	ts.Check(cmd.Wait())
	if said.IsError {
		fmt.Fprint(ts.Stdout(), "error: ")
	}
	for _, c := range said.Content {
		fmt.Fprintln(ts.Stdout(), c.Text)
	}
}

func callToolHTTP(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: mcphttp KEY TOOL ARGUMENTS")
	}
	address, err := os.ReadFile(addressFile(ts.Getenv("IRIS_HOME")))
	ts.Check(err)
	c, err := client.NewStreamableHttpClient(strings.TrimSpace(string(address))+"/mcp",
		transport.WithHTTPHeaders(map[string]string{"Authorization": "Bearer " + args[0]}))
	ts.Check(err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patienceOfTests)
	defer cancel()
	ts.Check(c.Start(ctx))
	var hello mcpgo.InitializeRequest
	hello.Params.ProtocolVersion = mcpgo.LATEST_PROTOCOL_VERSION
	hello.Params.ClientInfo = mcpgo.Implementation{Name: "story", Version: "1"}
	_, err = c.Initialize(ctx, hello)
	ts.Check(err)
	var call mcpgo.CallToolRequest
	call.Params.Name = args[1]
	call.Params.Arguments = json.RawMessage(args[2])
	said, err := c.CallTool(ctx, call)
	ts.Check(err)
	if said.IsError {
		fmt.Fprint(ts.Stdout(), "error: ")
	}
	for _, c := range said.Content {
		if text, ok := c.(mcpgo.TextContent); ok {
			fmt.Fprintln(ts.Stdout(), text.Text)
		}
	}
}

// result reads lines up to the answer with that id. Every line must be MCP's.
func result(ts *testscript.TestScript, answers *bufio.Reader, id int) json.RawMessage {
	for {
		line, err := answers.ReadBytes('\n')
		ts.Check(err)
		var m struct {
			JSONRPC string
			ID      int
			Result  json.RawMessage
			Error   json.RawMessage
		}
		if err := json.Unmarshal(line, &m); err != nil || m.JSONRPC != "2.0" {
			ts.Fatalf("stdout has a line that is not MCP: %s", line)
		}
		if m.Error != nil {
			ts.Fatalf("the call failed: %s", m.Error)
		}
		if m.ID == id && m.Result != nil {
			return m.Result
		}
	}
}

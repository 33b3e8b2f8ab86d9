package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mcpclient "github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	mcpgo "github.com/mark3labs/mcp-go/mcp"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/mcp"
)

// site is the server over HTTP. The header Who is the name of the key that asks, with all
// scopes unless Scopes names them.
type site struct {
	*fake
	url string
}

func newSite(t *testing.T, secret string) *site {
	t.Helper()
	f := newFake()
	h := mcp.New(f, f, quiet(), "1.2.3").HTTP([]byte(secret))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		who := iris.Caller{Kind: iris.CallerKey, Name: r.Header.Get("Who"), Scopes: []iris.Scope{iris.ScopeAll}}
		if scopes := r.Header.Get("Scopes"); scopes != "" {
			who.Scopes = nil
			for scope := range strings.SplitSeq(scopes, " ") {
				who.Scopes = append(who.Scopes, iris.Scope(scope))
			}
		}
		h.Serve(w, r, body, who)
	}))
	t.Cleanup(func() { f.stop(); srv.Close() })
	return &site{f, srv.URL}
}

// post sends a message; header is names and values.
func (s *site) post(t *testing.T, ctx context.Context, body string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Who", "ci")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// text is the whole answer.
func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`

func (s *site) initialize(t *testing.T, who string) (session string) {
	t.Helper()
	resp := s.post(t, t.Context(), initialize, "Who", who)
	if text(t, resp); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	return resp.Header.Get("Mcp-Session-Id")
}

func ask(id, question string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"ask_team","arguments":{"team":"backend","question":%q}}}`, id, question)
}

func TestAPostIsAnsweredWithJSON(t *testing.T) {
	s := newSite(t, "x")
	session := s.initialize(t, "ci")
	resp := s.post(t, t.Context(), ask("9007199254740993", "hello"), "Mcp-Session-Id", session, "Mcp-Protocol-Version", "2025-06-18")
	var got reply
	body := text(t, resp)
	if err := json.Unmarshal([]byte(body), &got); err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s %v: %s", resp.Status, err, body)
	}
	if string(got.ID) != "9007199254740993" || got.Result.Structured.Response != "backend says: hello" {
		t.Errorf("the answer is %s", body)
	}
	if a := s.asks[0]; a.Caller.Name != "ci" || !a.Caller.Standing || a.Caller.From() != "api" {
		t.Errorf("the caller is %+v", a.Caller)
	}
	note := s.post(t, t.Context(), `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "Mcp-Session-Id", session)
	if body := text(t, note); note.StatusCode != http.StatusAccepted || body != "" {
		t.Errorf("a notification is answered %s %q", note.Status, body)
	}
	if again := text(t, s.post(t, t.Context(), ask("1", "without a session"))); !strings.Contains(again, "backend says") {
		t.Errorf("without a session: %s", again)
	}
}

func TestProgressComesAsEventsBeforeTheAnswer(t *testing.T) {
	s := newSite(t, "x")
	body := `{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"ask_team","arguments":{"team":"backend","question":"slow 1100ms"},"_meta":{"progressToken":"p"}}}`
	resp := s.post(t, t.Context(), body)
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(resp.Header)
	}
	var last reply
	progress := 0
	for line := range strings.Lines(text(t, resp)) {
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		last = reply{}
		if err := json.Unmarshal([]byte(data), &last); err != nil {
			t.Fatal(err)
		}
		if last.Method == "notifications/progress" && last.Params.Token == "p" {
			progress++
		}
	}
	if progress == 0 || string(last.ID) != `"a"` || last.Result.Structured.Response == "" {
		t.Errorf("%d times progress, and last %+v", progress, last)
	}
	resp = s.post(t, t.Context(), body, "Accept", "application/json")
	if got := text(t, resp); resp.Header.Get("Content-Type") != "application/json" || !strings.Contains(got, "backend says") {
		t.Errorf("who takes only JSON gets %s", got)
	}
	resp = s.post(t, t.Context(), ask("1", "hello"), "Accept", "text/event-stream")
	if got := text(t, resp); !strings.HasPrefix(got, "event: message\ndata: {") {
		t.Errorf("who takes only events gets %s", got)
	}
}

func TestOnlyItsOwnClientCancelsACall(t *testing.T) {
	s := newSite(t, "x")
	mine, others := s.initialize(t, "ci"), s.initialize(t, "ci")
	if mine == others {
		t.Fatal("two sessions are one")
	}
	answered := make(chan *http.Response, 2)
	for _, session := range []string{mine, others} {
		go func() { answered <- s.post(t, t.Context(), ask("7", "hang"), "Mcp-Session-Id", session) }()
	}
	eventually(t, func() bool { return s.statuses()[iris.StatusQueued] == 2 })
	if resp := s.post(t, t.Context(), ask("7", "hang"), "Mcp-Session-Id", mine); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("an id that is in use is answered %s", resp.Status)
	}
	cancel := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s}}`
	for _, wrong := range []struct{ id, who, session string }{
		{"7", "another", s.initialize(t, "another")}, {"7", "ci", ""}, {`"7"`, "ci", mine}, {"8", "ci", mine},
	} {
		if resp := s.post(t, t.Context(), fmt.Sprintf(cancel, wrong.id), "Who", wrong.who, "Mcp-Session-Id", wrong.session); resp.StatusCode != http.StatusAccepted {
			t.Errorf("a cancel is answered %s", resp.Status)
		}
	}
	if n := s.statuses()[iris.StatusCancelled]; n != 0 {
		t.Fatalf("%d messages are cancelled", n)
	}
	s.post(t, t.Context(), fmt.Sprintf(cancel, "7"), "Mcp-Session-Id", mine)
	if resp := <-answered; resp.StatusCode != http.StatusAccepted || text(t, resp) != "" {
		t.Errorf("the cancelled call is answered %s", resp.Status)
	}
	if got := s.statuses(); got[iris.StatusCancelled] != 1 || got[iris.StatusQueued] != 1 {
		t.Errorf("the messages are %v", got)
	}
	s.stop()
	<-answered
}

func TestAClientThatLeavesCancelsNothing(t *testing.T) {
	s := newSite(t, "x")
	ctx, leave := context.WithCancel(t.Context())
	var left sync.WaitGroup
	left.Go(func() {
		r, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader(ask("1", "hang")))
		if _, err := http.DefaultClient.Do(r); !errors.Is(err, context.Canceled) {
			t.Errorf("the call ended with %v", err)
		}
	})
	eventually(t, func() bool { return s.statuses()[iris.StatusQueued] == 1 })
	leave()
	left.Wait()
	resp := s.post(t, t.Context(), `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"check_message","arguments":{"messageId":"msg_1"}}}`)
	if got := text(t, resp); !strings.Contains(got, `"status":"queued"`) {
		t.Errorf("the message is %s", got)
	}
}

func TestASessionIsItsCallersAtAnyOwner(t *testing.T) {
	one, two, other := newSite(t, "same"), newSite(t, "same"), newSite(t, "other")
	session := one.initialize(t, "ci")
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	for name, tt := range map[string]struct {
		at           *site
		who, session string
		want         int
	}{
		"its own":               {one, "ci", session, 200},
		"at the next owner":     {two, "ci", session, 200},
		"of another key":        {one, "another", session, 404},
		"of another Iris":       {other, "ci", session, 404},
		"of nobody's":           {one, "ci", "abc", 404},
		"with a proof too much": {one, "ci", session + "x", 404},
	} {
		if resp := tt.at.post(t, t.Context(), ping, "Who", tt.who, "Mcp-Session-Id", tt.session); resp.StatusCode != tt.want {
			t.Errorf("a session %s is answered %s", name, resp.Status)
		}
	}
}

func TestWhatIsNoGoodRequest(t *testing.T) {
	s := newSite(t, "x")
	meta := `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
	list := `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + meta + `}}`
	for _, tt := range []struct {
		body   string
		header []string
		status int
		has    string
	}{
		{`{`, nil, 400, `"code":-32700`},
		{``, nil, 400, `"code":-32700`},
		{"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", nil, 400, `"code":-32700`},
		{`[` + initialize + `]`, nil, 400, `batches are not taken`},
		{`{"jsonrpc":"2.0","id":{},"method":"ping"}`, nil, 400, `an id is a string or a number`},
		{`{"jsonrpc":"2.0","id":1}`, nil, 400, `a request has a method`},
		{`{"jsonrpc":"2.0","id":1,"method":"nope"}`, nil, 200, `"code":-32601`},
		{`{"jsonrpc":"2.0","id":1,"result":{}}`, nil, 202, ``},
		{`{"jsonrpc":"2.0","id":1,"method":"ping"}`, []string{"Mcp-Protocol-Version", "1999-01-01"}, 400, `names a revision that Iris does not know`},
		{initialize, []string{"Mcp-Protocol-Version", "1999-01-01"}, 200, `"protocolVersion":"2025-06-18"`},
		{list, []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list"}, 200, `"ask_team"`},
		{list, []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call"}, 400, `Mcp-Method`},
		{list, []string{"Mcp-Protocol-Version", "2025-11-25", "Mcp-Method", "tools/list"}, 400, `must name the same revision`},
		{list, nil, 400, `must name the same revision`},
		{list, []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list", "Last-Event-ID", "1"}, 400, `cannot be taken up again`},
		{strings.Replace(list, "tools/list", "nope", 1), []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "nope"}, 404, `"code":-32601`},
	} {
		resp := s.post(t, t.Context(), tt.body, tt.header...)
		if got := text(t, resp); resp.StatusCode != tt.status || !strings.Contains(got, tt.has) || tt.has == "" && got != "" {
			t.Errorf("%.80s %v: %s %s", tt.body, tt.header, resp.Status, got)
		}
	}
}

func TestAKeySeesTheToolsThatItMayCall(t *testing.T) {
	s := newSite(t, "x")
	for scopes, want := range map[string][]string{
		"none":                      {"check_message"},
		"teams:read":                {"check_message", "list_teams", "team_status"},
		"teams:read messages:write": {"ask_team", "ask_teams", "cancel_message", "check_message", "list_teams", "team_status", "tell_team"},
	} {
		var list struct {
			Result struct{ Tools []struct{ Name string } }
		}
		if err := json.Unmarshal([]byte(text(t, s.post(t, t.Context(), `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, "Scopes", scopes))), &list); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, tool := range list.Result.Tools {
			got = append(got, tool.Name)
		}
		for _, name := range want {
			if !slices.Contains(got, name) {
				t.Errorf("with %s there is no %s", scopes, name)
			}
		}
		if scopes == "none" && len(got) > len(want) {
			t.Errorf("without a scope there are %s", got)
		}
	}
	if got := text(t, s.post(t, t.Context(), ask("1", "hello"), "Scopes", "teams:read")); !strings.Contains(got, "FORBIDDEN") || len(s.asks) > 0 {
		t.Errorf("a call without the scope: %s", got)
	}
}

// What ends the request's context is why its calls end.
func TestARevokedKeyEndsItsCalls(t *testing.T) {
	f := newFake()
	h := mcp.New(f, f, quiet(), "1.2.3").HTTP(nil)
	ctx, end := context.WithCancelCause(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/mcp", nil)
	go func() {
		for f.statuses()[iris.StatusQueued] == 0 {
			time.Sleep(time.Millisecond)
		}
		end(iris.Errorf(iris.CodeUnauthorized, "API key revoked: use another one"))
	}()
	w := httptest.NewRecorder()
	h.Serve(w, r, []byte(ask("1", "hang")), iris.Caller{Kind: iris.CallerKey, Name: "ci", Scopes: []iris.Scope{iris.ScopeAll}})
	if got := w.Body.String(); !strings.Contains(got, `"code":"UNAUTHORIZED"`) || f.statuses()[iris.StatusQueued] != 1 {
		t.Errorf("%d %s", w.Code, got)
	}
	f.stop()
}

// A long call that has nothing to tell keeps the line awake.
func TestTheLineIsKeptAwake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for accept, want := range map[string]int{"application/json, text/event-stream": 3, "application/json": 0, "*/*": 0} {
			f := newFake()
			h := mcp.New(f, f, quiet(), "1.2.3").HTTP(nil)
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/mcp", nil)
			r.Header.Set("Accept", accept)
			w := httptest.NewRecorder()
			h.Serve(w, r, []byte(ask("1", "slow 50s")), iris.Caller{Kind: iris.CallerKey, Name: "ci", Scopes: []iris.Scope{iris.ScopeAll}})
			if got := w.Body.String(); strings.Count(got, ": still working\n\n") != want || strings.Contains(got, "event: message\ndata: ") != (want > 0) || !strings.Contains(got, "backend says") {
				t.Errorf("%s: %s", accept, got)
			}
			f.stop()
		}
	})
}

// TestMCPGoClient is a client that is not of ours, in both eras.
func TestMCPGoClient(t *testing.T) {
	s := newSite(t, "x")
	c, err := mcpclient.NewStreamableHttpClient(s.url, transport.WithHTTPHeaders(map[string]string{"Who": "ci"}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	progress := 0
	told := sync.OnceFunc(func() { s.answer("msg_1") }) // the answer, which waits for the progress
	c.OnNotification(func(n mcpgo.JSONRPCNotification) {
		mu.Lock()
		defer mu.Unlock()
		if n.Method == "notifications/progress" {
			progress++
			told()
		}
	})
	var hello mcpgo.InitializeRequest
	hello.Params.ProtocolVersion = mcpgo.LATEST_PROTOCOL_VERSION
	hello.Params.ClientInfo = mcpgo.Implementation{Name: "t", Version: "1"}
	if _, err := c.Initialize(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	tools, err := c.ListTools(t.Context(), mcpgo.ListToolsRequest{})
	if err != nil || len(tools.Tools) < 7 {
		t.Fatalf("%d tools, %v", len(tools.Tools), err)
	}
	var call mcpgo.CallToolRequest
	call.Params.Name = "ask_team"
	call.Params.Arguments = map[string]any{"team": "backend", "question": "hang"}
	call.Params.Meta = &mcpgo.Meta{ProgressToken: "p"}
	answer, err := c.CallTool(t.Context(), call)
	if err != nil || answer.IsError {
		t.Fatalf("%+v, %v", answer, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if text, _ := answer.Content[0].(mcpgo.TextContent); text.Text != "backend says: hang" || progress == 0 {
		t.Errorf("the answer is %+v after %d times progress", answer.Content, progress)
	}
}

// eventually waits until it is so.
func eventually(t *testing.T, so func() bool) {
	t.Helper()
	for range 3000 {
		if so() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it did not happen")
}

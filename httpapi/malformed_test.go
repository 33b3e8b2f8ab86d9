package httpapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// TestMalformedBodies: whatever is sent as a body gets a clear answer, never a 500.
func TestMalformedBodies(t *testing.T) {
	deep := strings.Repeat("[", 20000)
	tests := []struct {
		name, body string
		status     int
		says       string // in the message
	}{
		{"not JSON", `question`, 400, "body is not valid JSON at byte 1"},
		{"cut off", `{"question":"a`, 400, "body is not valid JSON"},
		{"only blanks", "  \n ", 400, "body is not valid JSON"},
		{"trailing garbage", `{"question":"a"} x`, 400, "body is not valid JSON"},
		{"two objects", `{"question":"a"}{"question":"b"}`, 400, "body is not valid JSON"},
		{"null", `null`, 400, "body must be an object"},
		{"a list", `["a"]`, 400, "body must be an object"},
		{"a text", `"a"`, 400, "body must be an object"},
		{"a number", `1`, 400, "body must be an object"},
		{"nested too deep", deep, 400, "body is not valid JSON"},
		{"nested too deep in metadata", `{"question":"a","context":{"metadata":` + deep + `}}`, 400, "body is not valid JSON"},
		{"a byte order mark", "\ufeff" + `{"question":"a"}`, 400, "body is not valid JSON"},
		{"not UTF-8", "{\"question\":\"\xff\"}", 400, "body is not valid UTF-8"},
		{"UTF-16", "{\x00\"\x00", 400, "body is not valid JSON"},
		{"no field", `{}`, 400, "question is missing"},
		{"an unknown field", `{"question":"a","zzz":1}`, 400, "zzz is not a known field"},
		{"a field of another route", `{"question":"a","task":"b"}`, 400, "task is not a known field"},
		{"the wrong case", `{"Question":"a"}`, 400, "Question is not a known field; question is missing"},
		{"the wrong case beside the right one", `{"question":"a","QUESTION":"b"}`, 400, "QUESTION is not a known field"},
		{"a field is given twice", `{"question":"b","question":"a"}`, 400, "question is given twice"},
		{"a field is given twice, once in another spelling", `{"question":"b","\u0071uestion":"a"}`, 400, "question is given twice"},
		{"a field is given twice in context", `{"question":"b","context":{"source":"a","metadata":{"a":[{"x":1},{"x":1,"y":{},"x":[]}]}}}`, 400, "context.metadata.a.x is given twice"},
		{"an empty name is given twice", `{"question":"b","context":{"metadata":{"":1,"":2}}}`, 400, "context.metadata. is given twice"},
		{"a number without end", `{"question":"b","context":{"metadata":` + strings.Repeat("1", 101) + `}}`, 400, "number of more than 100 characters"},
		{"a megabyte of numbers", `{"question":"a","timeout":[` + strings.Repeat("1e3,", 250_000) + `1]}`, 400, "timeout must be a whole number"},
		{"a megabyte of unknown fields", `{` + unknown(80_000) + `"question":"a"}`, 400, "is not a known field"},
		{"an unknown field in context", `{"question":"a","context":{"zzz":1}}`, 400, "context.zzz is not a known field"},
		{"a long unknown field", `{"question":"a","` + strings.Repeat("z", 5000) + `":1}`, 400, "zzz… is not a known field"},
		{"context is a text", `{"question":"a","context":"b"}`, 400, "context must be an object"},
		{"context.source is a number", `{"question":"a","context":{"source":1}}`, 400, "context.source must be a text"},
		{"question is null", `{"question":null}`, 400, "question must be a text"},
		{"question is a number", `{"question":5}`, 400, "question must be a text"},
		{"question is a list", `{"question":["a"]}`, 400, "question must be a text"},
		{"question is empty", `{"question":""}`, 400, "question must be a text that is not blank"},
		{"question is blank", `{"question":" \t\r\n\u00a0\u3000\u0085"}`, 400, "question must be a text that is not blank"},
		{"timeout is a text", `{"question":"a","timeout":"30"}`, 400, "timeout must be a whole number"},
		{"timeout is a fraction", `{"question":"a","timeout":1.5}`, 400, "timeout must be a whole number"},
		{"timeout is a fraction with an exponent", `{"question":"a","timeout":1e-1}`, 400, "timeout must be a whole number"},
		{"timeout is zero", `{"question":"a","timeout":0}`, 400, "timeout must be at least 1"},
		{"timeout is negative", `{"question":"a","timeout":-1}`, 400, "timeout must be at least 1"},
		{"timeout is above a day", `{"question":"a","timeout":86400001}`, 400, "timeout must be at most 86400000"},
		{"timeout is no int64", `{"question":"a","timeout":1e300}`, 400, "timeout must be at most"},
		{"a number is no float64", `{"question":"a","timeout":1e999}`, 400, "number that is too large"},
		{"priority is unknown", `{"question":"a","priority":"HIGH"}`, 400, "priority must be one of: low, normal, high"},
		{"sessionId is too long", `{"question":"a","sessionId":"` + strings.Repeat("ä", 129) + `"}`, 400, "sessionId must have at most 128 characters"},
		{"sessionId is blank", `{"question":"a","sessionId":" "}`, 400, "sessionId must be a readable text"},
		{"sessionId has a control character", `{"question":"a","sessionId":"a\u0000b"}`, 400, "sessionId must be a readable text"},
		{"cancelOnTimeout is a text", `{"question":"a","cancelOnTimeout":"yes"}`, 400, "cancelOnTimeout must be true or false"},

		{"a plain question", `{"question":"a"}`, 200, ""},
		{"optional fields are null", `{"question":"a","timeout":null,"context":null,"sessionId":null,"priority":null,"cancelOnTimeout":null}`, 200, ""},
		{"context is empty", `{"question":"a","context":{"metadata":null}}`, 200, ""},
		{"metadata is anything", `{"question":"a","context":{"metadata":[1,{"a":1e400}]}}`, 400, "too large"},
		{"metadata is a list", `{"question":"a","context":{"metadata":[1,"b",null]}}`, 200, ""},
		{"sessionId has 128 characters", `{"question":"a","sessionId":"` + strings.Repeat("ä", 128) + `"}`, 200, ""},
		{"NUL is a character", `{"question":"a\u0000b"}`, 200, ""},
		{"a lone surrogate becomes U+FFFD", `{"question":"a\ud800b"}`, 200, ""},
		{"a question of 1,000,000 bytes", `{"question":"` + strings.Repeat("x", 1_000_000) + `"}`, 200, ""},
		{"one name at several places", `{"question":"a","context":{"metadata":{"question":"\"a\":","context":[{"a":1},{"a":-1.5e+3}],"a":{"a":{}}}}}`, 200, ""},
		{"timeout is whole, with a point", `{"question":"a","timeout":30000.0}`, 200, ""},
		{"timeout is whole, with an exponent", `{"question":"a","timeout":3e4,"context":{"metadata":[1e3,1e300]}}`, 200, ""},
		{"metadata is a megabyte of numbers", `{"question":"a","context":{"metadata":[` + strings.Repeat("1e3,", 250_000) + `1]}}`, 200, ""},
	}
	f := newFront(httpapi.Config{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := f.do(call{path: "/api/v1/teams/backend/ask", body: tt.body})
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d: %.300s", w.Code, tt.status, w.Body)
			}
			if tt.status != 200 {
				if e := errorOf(t, w.Body.Bytes()); e.Code != "INVALID_REQUEST" || !strings.Contains(e.Message, tt.says) {
					t.Errorf("%s %q, want %q in it", e.Code, e.Message, tt.says)
				}
			}
		})
	}
	f.running.Wait()
	for i, want := range map[int]string{0: "a", 5: "a\x00b", 6: "a\ufffdb"} {
		if got := f.asks[i].Text; got != want {
			t.Errorf("ask %d has the text %q, want %q", i, got, want)
		}
	}
	if n := len(f.asks[7].Text); n != 1_000_000 {
		t.Errorf("the long question has %d bytes", n)
	}
}

// unknown is that many fields that nobody knows.
func unknown(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"%05x":1e3,`, i)
	}
	return b.String()
}

// TestMalformedRequests: the same for what is around the body.
func TestMalformedRequests(t *testing.T) {
	const ask = "/api/v1/teams/backend/ask"
	header := func(k, v string) http.Header { return http.Header{k: {v}} }
	tests := []struct {
		name   string
		call   call
		status int
		code   string
		says   string
	}{
		{"no body", call{method: "POST", path: ask}, 400, "INVALID_REQUEST", "body is missing"},
		{"no body for a stream", call{method: "POST", path: "/api/v1/teams/backend/stream"}, 400, "INVALID_REQUEST", "body is missing"},
		{"multipart", call{path: ask, body: `{"question":"a"}`, header: header("Content-Type", "Multipart/Form-Data; boundary=x")}, 415, "UNSUPPORTED_MEDIA_TYPE", "as JSON"},
		{"compressed", call{path: ask, body: "\x1f\x8b", header: header("Content-Encoding", "gzip")}, 415, "UNSUPPORTED_MEDIA_TYPE", "without a Content-Encoding"},
		{"as it is, and says so", call{path: ask, body: `{"question":"a"}`, header: header("Content-Encoding", "identity")}, 200, "", ""},
		{"curl's form type", call{path: ask, body: `{"question":"a"}`, header: header("Content-Type", "application/x-www-form-urlencoded")}, 200, "", ""},
		{"a strange type", call{path: ask, body: `{"question":"a"}`, header: header("Content-Type", ";;+;")}, 200, "", ""},
		{"another charset", call{path: ask, body: `{"question":"a"}`, header: header("Content-Type", "text/plain; charset=latin1")}, 200, "", ""},
		{"an Accept nobody meets", call{path: ask, body: `{"question":"a"}`, header: header("Accept", "image/png")}, 200, "", ""},
		{"a foreign host", call{path: ask, body: `{"question":"a"}`, header: header("Host", "evil.example")}, 200, "", ""},
		{"an unknown query parameter", call{path: ask + "?zzz=1", body: `{"question":"a"}`}, 400, "INVALID_REQUEST", "zzz is not a known query parameter"},
		{"a megabyte of numbers for texts", call{path: "/api/v1/teams", body: `{"name":"x","path":"/x","allowedTools":[` + strings.Repeat("1e3,", 250_000) + `1]}`}, 400, "INVALID_REQUEST", "allowedTools must have at most"},
		{"a query parameter twice", call{path: "/api/v1/messages/history?status=failed&limit=5&status=queued"}, 400, "INVALID_REQUEST", "status is given twice"},
		{"two questions", call{path: "/api/v1/teams/backend/stream?message=a&message=b"}, 400, "INVALID_REQUEST", "message is given twice"},
		{"a query that is malformed", call{path: "/api/v1/messages/history?limit=%zz"}, 400, "INVALID_REQUEST", "query of the URL is malformed"},
		{"a limit that is no number", call{path: "/api/v1/messages/history?limit=ten"}, 400, "INVALID_REQUEST", "limit must be a whole number"},
		{"a limit of zero", call{path: "/api/v1/messages/history?limit=0"}, 400, "INVALID_REQUEST", "limit must be at least 1"},
		{"a limit above 200", call{path: "/api/v1/messages/history?limit=201"}, 400, "INVALID_REQUEST", "limit must be at most 200"},
		{"page zero", call{path: "/api/v1/messages/history?page=0"}, 400, "INVALID_REQUEST", "page must be at least 1"},
		{"a page beyond all pages", call{path: "/api/v1/messages/history?page=1000000"}, 200, "", ""},
		{"a status that does not exist", call{path: "/api/v1/messages/history?status=done"}, 400, "INVALID_REQUEST", "status must be one of"},
		{"since before the epoch", call{path: "/api/v1/messages/history?since=-1"}, 400, "INVALID_REQUEST", "since must be at least 0"},
		{"until beyond an int64", call{path: "/api/v1/messages/history?until=99999999999999999999"}, 400, "INVALID_REQUEST", "until must be a whole number"},
		{"a search for signs", call{path: "/api/v1/messages/history?q=%22*%00%28%20OR%20%ff"}, 200, "", ""},
		{"a search of more than a thousand characters", call{path: "/api/v1/messages/history?q=" + strings.Repeat("%C3%A4", 1001)}, 400, "INVALID_REQUEST", "q must have at most 1000 characters"},
		{"a cursor that is none", call{path: "/api/v1/messages/history?cursor=x"}, 400, "INVALID_REQUEST", "cursor is not a nextCursor"},
		{"a cursor beside a page", call{path: "/api/v1/messages/history?cursor=" + iris.Cursor{CreatedAt: epoch, N: 1, Page: 1}.String() + "&page=1"}, 400, "INVALID_REQUEST", "send one of them"},
		{"a wait above a minute", call{path: "/api/v1/messages/msg_1?wait=60001"}, 400, "INVALID_REQUEST", "wait must be at most 60000"},
		{"a negative wait", call{path: "/api/v1/messages/msg_1?wait=-1"}, 400, "INVALID_REQUEST", "wait must be at least 0"},
		{"an empty path of a team", call{path: "/api/v1/teams//ask", body: `{"question":"a"}`}, 404, "TEAM_NOT_FOUND", ""},
		{"a team with a slash in it", call{path: "/api/v1/teams/..%2f..%2fetc/ask", body: `{"question":"a"}`}, 404, "TEAM_NOT_FOUND", ""},
		{"a team that is two dots", call{path: "/api/v1/teams/../ask", body: `{"question":"a"}`}, 404, "TEAM_NOT_FOUND", ""},
		{"a team with a NUL in it", call{path: "/api/v1/teams/a%00b/status"}, 404, "TEAM_NOT_FOUND", ""},
		{"a team with a percent sign", call{path: "/api/v1/teams/a%25/status"}, 404, "TEAM_NOT_FOUND", ""},
		{"a team whose name is too long", call{path: "/api/v1/teams/" + strings.Repeat("a", 65) + "/status"}, 404, "TEAM_NOT_FOUND", ""},
		{"a team that is not configured", call{path: "/api/v1/teams/nope/status"}, 404, "TEAM_NOT_FOUND", ""},
		{"a team as its percent code", call{path: "/api/v1/teams/%62ackend/status"}, 200, "", ""},
		{"a message that is not there", call{path: "/api/v1/messages/..%2f"}, 404, "MESSAGE_NOT_FOUND", ""},
		{"a message id without end", call{path: "/api/v1/messages/" + strings.Repeat("x", 5000)}, 404, "MESSAGE_NOT_FOUND", "as long as this one"},
		{"a slash at the end", call{path: "/api/v1/teams/"}, 404, "NOT_FOUND", ""},
		{"a method nobody knows", call{method: "FROB", path: "/api/v1/teams"}, 405, "METHOD_NOT_ALLOWED", ""},
		{"DELETE of a message", call{method: "DELETE", path: "/api/v1/messages/msg_1"}, 405, "METHOD_NOT_ALLOWED", ""},
		{"a stream by GET without a message", call{path: "/api/v1/teams/backend/stream"}, 400, "INVALID_REQUEST", "message is missing"},
		{"a stream by GET with a blank message", call{path: "/api/v1/teams/backend/stream?message=%20"}, 400, "INVALID_REQUEST", "message must be a text that is not blank"},
		{"a Last-Event-ID of somebody else", call{path: "/api/v1/teams/backend/stream?message=a", header: header("Last-Event-Id", "42")}, 400, "INVALID_REQUEST", "Last-Event-ID is not the id of an event of Iris"},
		{"a Last-Event-ID of a message that is not there", call{path: "/api/v1/teams/backend/stream?message=a", header: header("Last-Event-Id", "msg_none:1")}, 404, "MESSAGE_NOT_FOUND", ""},
		{"a panic inside", call{path: ask, body: `{"question":"panic"}`}, 500, "INTERNAL_ERROR", "the log says what"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(httpapi.Config{})
			w := f.do(tt.call)
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d: %.300s", w.Code, tt.status, w.Body)
			}
			if tt.status != 200 {
				if e := errorOf(t, w.Body.Bytes()); e.Code != tt.code || !strings.Contains(e.Message, tt.says) {
					t.Errorf("%s %q, want %s and %q in it", e.Code, e.Message, tt.code, tt.says)
				}
			}
			if tt.status == 405 && w.Header().Get("Allow") == "" && tt.call.method != "FROB" {
				t.Error("405 without Allow")
			}
		})
	}
}

// TestBodyLimit: a body may have exactly as many bytes as the limit says.
func TestBodyLimit(t *testing.T) {
	f := newFront(httpapi.Config{MaxBodyBytes: func() int64 { return 100 }})
	srv := httptest.NewServer(f.server.Handler())
	defer srv.Close()
	for _, chunked := range []bool{false, true} {
		for n, want := range map[int]int{99: 200, 100: 200, 101: 413, 1_000_000: 413} {
			body := fmt.Sprintf(`{"question":%q}`, strings.Repeat("x", n-len(`{"question":""}`)))
			r := call{path: "/api/v1/teams/backend/ask", body: body}.request(t.Context(), srv.URL)
			if chunked {
				r.ContentLength = -1
				r.Body = io.NopCloser(r.Body)
			}
			res, err := srv.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("%d bytes, chunked %v: %d %s, want %d", n, chunked, res.StatusCode, got, want)
			}
			if want == 413 {
				if e := errorOf(t, got); e.Code != "PAYLOAD_TOO_LARGE" {
					t.Errorf("code %s", e.Code)
				}
			}
		}
	}
}

// TestBrokenConnections: what goes wrong below HTTP is the client's fault too.
func TestBrokenConnections(t *testing.T) {
	f := newFront(httpapi.Config{})
	srv := httptest.NewServer(f.server.Handler())
	defer srv.Close()
	const head = "POST /api/v1/teams/backend/ask HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer all\r\n"
	tests := []struct {
		name, sent string
		status     int
	}{
		{"an invalid chunk length", head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		{"a chunk without its end", head + "Transfer-Encoding: chunked\r\n\r\n3\r\n{}xyz\r\n", 400},
		{"a body shorter than it says", head + "Content-Length: 100\r\n\r\n{}", 400},
		{"a key in X-Api-Key", strings.Replace(head, "Authorization: Bearer", "X-Api-Key:", 1) + "Content-Length: 16\r\n\r\n{\"question\":\"a\"}", 200},
		{"a key behind bearer in small letters", strings.Replace(head, "Bearer", "bearer", 1) + "Content-Length: 16\r\n\r\n{\"question\":\"a\"}", 200},
		{"a key behind another scheme", strings.Replace(head, "Bearer", "Basic", 1) + "Content-Length: 16\r\n\r\n{\"question\":\"a\"}", 401},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, tt.sent); err != nil {
				t.Fatal(err)
			}
			if tt.status == 400 { // net/http takes it for a client that is gone
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %s", res.StatusCode, tt.status, body)
			}
			if tt.status != 200 {
				errorOf(t, body)
			}
		})
	}
}

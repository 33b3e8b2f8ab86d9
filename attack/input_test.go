//go:build attack

package attack_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// TestBadInput: every operation that the server documents, with everything that it does not
// want, in the path, in the query and as a body.
func TestBadInput(t *testing.T) {
	s := start(t)
	_, _, text := s.send("GET", "/openapi.json", "", "")
	var doc struct{ Paths map[string]map[string]any }
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Paths) < 10 {
		t.Fatalf("no document: %v %.300s", err, text)
	}
	deep := strings.Repeat("[", 50_000)
	bodies := []string{
		"", "null", "true", "1", `"a"`, "[]", "{", "}", "{}", `{"":""}`, "\x00", "\xff\xfe", "{\"a\":\"\xff\"}", "\ufeff{}", deep, strings.Repeat(`{"a":`, 50_000),
		`{"question":1e999}`, `{"timeout":1e308}`, `{"timeout":-1}`, `{"timeout":9223372036854775808}`, `{"question":{"a":[]}}`, `{"question":"\ud800"}`,
		`{"question":"a","question":1}`, `{"QUESTION":"a"}`, `{"__proto__":{"a":1}}`, `{"task":[],"message":{},"question":false,"decision":3,"name":null,"scopes":"x"}`,
		"[" + strings.Repeat("1e3,", 250_000) + "1]", `{"context":{"metadata":[` + strings.Repeat("1e3,", 200_000) + `1]}}`,
		`{"a":"` + strings.Repeat("a", 1_000_000) + `"}`, "{" + strings.Repeat(`"a":1,`, 150_000) + `"b":1}`,
		"question=a&task=b", "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
		`{"jsonrpc":"2.0","id":1,"method":"nothing"}`, `[{"jsonrpc":"2.0"},1,null]`, `{"jsonrpc":"2.0","id":{},"method":[]}`,
	}
	names := []string{
		"..", "../../etc/passwd", "a/b", "a\x00b", "a\r\nX-Evil: 1", strings.Repeat("a", 5000), "%", "%00", "'; DROP TABLE message; --", "msg_" + strings.Repeat("Z", 26),
		"job_00000000000000000000000000", "\u202e", "\xff", "-1", "9223372036854775808", "{}", "*", "con", ".", "~root", "$(id)",
	}
	queries := []string{
		"%zz", "limit=-1", "limit=9999999999999999999999", "limit=1e3", "page=0", "cursor=%00", "cursor=" + strings.Repeat("A", 5000), "q=%22%27*()", "q=" + strings.Repeat("a+", 5000),
		"since=-9223372036854775808", "wait=99999999999", "after=-1", "message=%20", "message=%ff", "a[b]=c", "status=done", "team=..%2f..", strings.Repeat("a=b&", 5000),
	}
	parameter := regexp.MustCompile(`\{[^}]+\}`)
	n := 0
	for path, methods := range doc.Paths {
		for method := range methods {
			method = strings.ToUpper(method)
			try := func(what, path, query, body string) {
				t.Helper()
				n++
				target := path
				if query != "" {
					target += "?" + query
				}
				statuses, answers := s.raw(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
					method, target, s.address, good+"xxxxxxxx", len(body), body))
				if len(statuses) != 1 {
					t.Errorf("%s %s with %s: %d answers %v", method, path, what, len(statuses), statuses)
				} else if statuses[0] >= 500 {
					t.Errorf("%s %s with %s: %d %.300s", method, path, what, statuses[0], answers[0])
				} else if statuses[0] >= 400 && path != "/mcp" {
					refused(t, method+" "+path+" with "+what, statuses[0], answers[0])
				}
			}
			nobody := parameter.ReplaceAllString(path, "nobody")
			for _, body := range bodies {
				try(fmt.Sprintf("the body %.40q", body), nobody, "", body)
			}
			if strings.Contains(path, "{team}") && method != "DELETE" {
				for _, body := range bodies[:30] {
					try(fmt.Sprintf("the body %.40q, to a team", body), strings.ReplaceAll(path, "{team}", "backend"), "", body)
				}
			}
			if parameter.MatchString(path) {
				for _, name := range names {
					try(fmt.Sprintf("the name %.40q", name), parameter.ReplaceAllLiteralString(path, url.PathEscape(name)), "", "{}")
				}
			}
			for _, query := range queries {
				try(fmt.Sprintf("the query %.40q", query), nobody, query, "{}")
			}
		}
	}
	for _, path := range []string{
		"/../../../etc/passwd", "/..%2f..%2fetc/passwd", "/docs/../../local.key", "/docs/%2e%2e/local.key", "//etc/passwd", "/api/v1/../../local.key",
		"/api/v1/teams/%2e%2e%2f%2e%2e/status", "/local.key", "/iris.db", "/.git/config", "/%00", "/\\..\\..\\", "/api/v1/messages/..;/history", "/;/", "/?/../..",
	} {
		statuses, answers := s.raw("GET " + path + " HTTP/1.1\r\nHost: " + s.address + "\r\nAuthorization: Bearer " + good + "xxxxxxxx\r\nConnection: close\r\n\r\n")
		n++
		if len(statuses) != 1 || path != "/?/../.." && (statuses[0] < 400 || statuses[0] > 499) {
			t.Errorf("%s: %v %.300s", path, statuses, answers)
		}
	}
	_, peak := s.memory()
	t.Logf("%d requests, %d MB at the peak", n, peak)
	if peak > 500 {
		t.Errorf("it took %d MB", peak)
	}
	if status, _, body := s.send("POST", "/api/v1/teams/backend/ask", good+"xxxxxxxx", `{"question":"still there?"}`); status != 200 {
		t.Errorf("afterwards: %d %s", status, body)
	}
}

// TestSmuggling: what is no good HTTP is refused by the real program too, and no second request
// hides in a first one. (httpapi has the long list.)
func TestSmuggling(t *testing.T) {
	s := start(t)
	post := "POST /api/v1/teams/backend/ask HTTP/1.1\r\nHost: " + s.address + "\r\nAuthorization: Bearer " + good + "xxxxxxxx\r\n"
	const hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, sent := range map[string]string{
		"two lengths":              post + "Content-Length: 2\r\nContent-Length: 0\r\n\r\n{}" + hidden,
		"identity":                 post + "Transfer-Encoding: identity\r\n\r\n" + hidden,
		"an unknown coding":        post + "Transfer-Encoding: xchunked\r\n\r\n" + hidden,
		"chunked behind a tab":     post + "Transfer-Encoding:\tchunked\x0b\r\n\r\n0\r\n\r\n" + hidden,
		"two codings":              post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden,
		"a blank before a colon":   post + "Content-Length : 2\r\n\r\n{}" + hidden,
		"a bad chunk":              post + "Transfer-Encoding: chunked\r\n\r\n2;\x00\r\n{}\r\nzz\r\n" + hidden,
		"a carriage return alone":  post + "A: b\rContent-Length: 2\r\n\r\n{}",
		"a header that is none":    post + "A b\r\n\r\n",
		"no version":               "GET /healthz\r\n\r\n" + hidden,
		"a version from nowhere":   "GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
		"no host":                  "GET /healthz HTTP/1.1\r\n\r\n" + hidden,
		"two hosts":                "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + hidden,
		"a line break in a header": post + "X-Request-Id: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
		"nothing but line breaks":  strings.Repeat("\r\n", 1000),
		"nothing but noise":        strings.Repeat("\x16\x03\x01\xff\x00", 1000),
		"a head without end":       post + strings.Repeat("A: "+strings.Repeat("a", 1000)+"\r\n", 500),
	} {
		statuses, bodies := s.raw(sent)
		if len(statuses) != 1 {
			t.Errorf("%s: %d answers: %v", name, len(statuses), statuses)
			continue
		}
		refused(t, name, statuses[0], bodies[0])
	}
}

// TestLargeBodies: a hundred megabytes are refused, whoever sends them and however, and nobody
// keeps them.
func TestLargeBodies(t *testing.T) {
	s := start(t)
	stop := s.neighbour()
	const size = 100 << 20
	piece := []byte(strings.Repeat(" ", 1<<20))
	for _, key := range []string{good + "xxxxxxxx", "iris_sk_wrongxxxxxxx"} {
		for _, chunked := range []bool{false, true} {
			conn := s.dial("")
			length := fmt.Sprintf("Content-Length: %d", size)
			if chunked {
				length = "Transfer-Encoding: chunked"
			}
			fmt.Fprintf(conn, "POST /api/v1/teams/backend/execute HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n", s.address, key, length)
			if chunked {
				fmt.Fprintf(conn, "%x\r\n", size)
			}
			var err error
			for sent := 0; sent < size && err == nil; sent += len(piece) {
				_, err = conn.Write(piece)
			}
			status, body := readAnswer(t, conn)
			if want := map[bool]int{true: 413, false: 401}[strings.HasPrefix(key, good)]; status != want {
				t.Errorf("chunked %v: %d, %v: %s", chunked, status, err, body)
			}
			conn.Close()
		}
	}
	took := stop()
	now, peak := s.memory()
	t.Logf("a good caller meanwhile: %s; %d MB now, %d MB at the peak", took, now, peak)
	if peak > 300 || took.at(.99) > patience {
		t.Errorf("%s, %d MB", took, peak)
	}
}

package httpapi_test

import (
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// shown is an Auth that only says what it was shown.
type shown struct{ credential *string }

func (s shown) Caller(_ context.Context, credential string) (iris.Caller, error) {
	*s.credential = credential
	return iris.Caller{Kind: iris.CallerKey, Name: "a", Scopes: []iris.Scope{iris.ScopeAll}}, nil
}

func (shown) NewKey() (key, hash string) { return "", "" }

// presenter gives a function that says which credential a request with these headers shows.
func presenter() func(h http.Header) (credential string, code int) {
	credential := "-"
	f := newFront(httpapi.Config{})
	server := httpapi.New(httpapi.Config{}, f.fake, f.fake, shown{&credential}, slog.New(slog.DiscardHandler))
	return func(h http.Header) (string, int) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/api/v1/teams", nil)
		r.Header = h
		server.Handler().ServeHTTP(w, r)
		return credential, w.Code
	}
}

func basicAuth(text string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(text))
}

func TestWhatIsACredential(t *testing.T) {
	present := presenter()
	for _, tt := range []struct {
		name   string
		header http.Header
		want   string
	}{
		{"none", http.Header{}, ""},
		{"bearer", http.Header{"Authorization": {"Bearer iris_sk_a"}}, "iris_sk_a"},
		{"bearer in any case and with blanks", http.Header{"Authorization": {"bEARER   iris_sk_a "}}, "iris_sk_a"},
		{"bearer alone", http.Header{"Authorization": {"Bearer"}}, ""},
		{"no scheme", http.Header{"Authorization": {"iris_sk_a"}}, ""},
		{"another scheme", http.Header{"Authorization": {"Digest iris_sk_a"}}, ""},
		{"X-Api-Key", http.Header{"X-Api-Key": {"iris_sk_a"}}, "iris_sk_a"},
		{"bearer before X-Api-Key", http.Header{"Authorization": {"Bearer iris_sk_b"}, "X-Api-Key": {"iris_sk_a"}}, "iris_sk_b"},
		{"another scheme beside X-Api-Key", http.Header{"Authorization": {"Digest x"}, "X-Api-Key": {"iris_sk_a"}}, "iris_sk_a"},
		{"the proxy's own basic beside X-Api-Key", http.Header{"Authorization": {basicAuth("me:pass")}, "X-Api-Key": {"iris_sk_a"}}, "iris_sk_a"},
		{"basic", http.Header{"Authorization": {basicAuth("ann:iris_sk_a")}}, "Basic ann:iris_sk_a"},
		{"basic in any case", http.Header{"Authorization": {"bASIC" + basicAuth("ann:iris_sk_a")[5:]}}, "Basic ann:iris_sk_a"},
		{"basic that is no base64", http.Header{"Authorization": {"Basic ann:iris_sk_a"}}, ""},
		{"the first of two", http.Header{"Authorization": {"Bearer iris_sk_a", "Bearer iris_sk_b"}}, "iris_sk_a"},
	} {
		if got, code := present(tt.header); got != tt.want || code != 200 {
			t.Errorf("%s: %q (%d), want %q", tt.name, got, code, tt.want)
		}
	}
}

func TestTheSchemesThatAreOn(t *testing.T) {
	on := false
	f := newFront(httpapi.Config{Basic: func() bool { return on }})
	for _, want := range [][]string{{`Bearer realm="iris"`}, {`Bearer realm="iris"`, `Basic realm="iris", charset="UTF-8"`}} {
		if got := f.do(call{path: "/api/v1/teams", key: "-"}).Header()["Www-Authenticate"]; !slices.Equal(got, want) {
			t.Errorf("with basic %v: %q", on, got)
		}
		on = true
	}
}

// TestAHolderOfATokenIsNoKey of the same name.
func TestAHolderOfATokenIsNoKey(t *testing.T) {
	f := newFront(httpapi.Config{})
	f.keys.all["ann"] = iris.Caller{Kind: iris.CallerKey, Name: "ann"}
	f.keys.all["token"] = iris.Caller{Kind: iris.CallerJWT, Name: "ann", Scopes: []iris.Scope{iris.ScopeTeamsRead, iris.ScopeMessagesWrite}}
	id := f.ask(t, "token", "backend", "q")
	if w := f.do(call{path: "/api/v1/messages/" + id, key: "ann"}); w.Code != 403 {
		t.Errorf("the key reads it: %d %s", w.Code, w.Body)
	}
	w := f.do(call{path: "/api/v1/messages/" + id, key: "token"})
	if body := w.Body.String(); w.Code != 200 || !strings.Contains(body, `"from":"api"`) || !strings.Contains(body, `"caller":"ann"`) {
		t.Errorf("%d %s", w.Code, body)
	}
	if !strings.Contains(f.logged.String(), `"jwt":"ann"`) {
		t.Errorf("log: %s", f.logged)
	}
}

// FuzzAuthorization: whatever stands in the header, nobody is let in for what is not there.
func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{
		"Bearer all", "bearer  all", "Bearer", "Basic YWxsOmFsbA==", "Basic !", "Basic", " ", "Bearer Bearer all", "Bearer all,Basic YQ==", "Bearer\tall", "Bearer \xff",
		"Basic YTpiOmM=", "Digest username=\"all\"", strings.Repeat("B", 10000),
	} {
		f.Add(s, "")
		f.Add("", s)
	}
	present, front := presenter(), newFront(httpapi.Config{})
	f.Fuzz(func(t *testing.T, authorization, apiKey string) {
		h := http.Header{"Authorization": {authorization}, "X-Api-Key": {apiKey}}
		got, _ := present(h)
		plain, basic := strings.CutPrefix(got, iris.BasicPrefix)
		decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(authorization[min(len(authorization), len("Basic")):]))
		switch {
		case got == "" || strings.Contains(authorization, got) || got == apiKey:
		case basic && err == nil && plain == string(decoded):
		default:
			t.Fatalf("%q, %q show %q", authorization, apiKey, got)
		}
		front.forget()
		r := httptest.NewRequest(http.MethodGet, "/api/v1/teams", nil)
		r.Header = h.Clone()
		w := httptest.NewRecorder()
		front.server.Handler().ServeHTTP(w, r)
		if _, known := front.keys.all[got]; w.Code != 200 && w.Code != 401 && w.Code != 403 || w.Code != 401 != known {
			t.Fatalf("%q, %q: %d %s", authorization, apiKey, w.Code, w.Body)
		}
	})
}

// TestAPasswordThatABrowserLends: a browser adds the password that it knows to whatever a page
// of anybody asks for, and Iris reads a body whatever its type says.
func TestAPasswordThatABrowserLends(t *testing.T) {
	get := call{path: "/api/v1/teams/backend/stream?message=q"}
	post := call{path: "/api/v1/teams/backend/execute", body: `{"task":"q"}`}
	list := call{path: "/api/v1/teams"}
	for _, tt := range []struct {
		name   string
		call   call
		header map[string]string
		taken  bool
	}{
		{"a program", post, nil, true},
		{"a program that reads", list, nil, true},
		{"a page of this server", post, map[string]string{"Origin": "http://iris.test", "Sec-Fetch-Site": "same-origin"}, true},
		{"a page of this server, long ago", post, map[string]string{"Origin": "http://iris.test"}, true},
		{"a page of this server that listens", get, map[string]string{"Sec-Fetch-Site": "same-origin"}, true},
		{"a person at the address bar", list, map[string]string{"Sec-Fetch-Site": "none"}, true},
		{"a page that is named", post, map[string]string{"Origin": "https://named.example", "Sec-Fetch-Site": "cross-site"}, true},
		{"another page", post, map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, false},
		{"another page, long ago", post, map[string]string{"Origin": "https://evil.example"}, false},
		{"a neighbour", post, map[string]string{"Origin": "http://other.iris.test", "Sec-Fetch-Site": "same-site"}, false},
		{"a page in a sandbox", post, map[string]string{"Origin": "null"}, false},
		{"an image of another page", get, map[string]string{"Sec-Fetch-Site": "cross-site"}, false},
		{"a GET of nobody knows whom", get, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFront(httpapi.Config{Origins: func() []string { return []string{"*", "https://named.example"} }})
			f.keys.all["Basic all:all"] = f.keys.all["all"]
			do := func(authorization string) int {
				tt.call.header, tt.call.key = http.Header{"Authorization": {authorization}}, "-"
				for k, v := range tt.header {
					tt.call.header.Set(k, v)
				}
				code := f.do(tt.call).Code
				f.running.Wait()
				return code
			}
			if code := do(basicAuth("all:all")); (code < 300) != tt.taken || !tt.taken && (code != 403 || len(f.asks) > 0) {
				t.Errorf("with a password: %d, asked is %+v", code, f.asks)
			}
			if code := do("Bearer all"); code >= 300 { // nobody adds that but a program that knows it
				t.Errorf("with a key: %d", code)
			}
		})
	}
}

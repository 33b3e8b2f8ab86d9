package httpapi_test

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// deeds is an audit log in memory.
type deeds []iris.AuditEntry

func (d *deeds) Record(_ context.Context, e iris.AuditEntry) { *d = append(*d, e) }

// keyFront has a key in the configuration and three in the store.
func keyFront() (*front, *deeds) {
	d := &deeds{}
	f := newFront(httpapi.Config{
		Audit: d, File: "/etc/iris-config.yaml",
		FileKeys: func() []iris.Key {
			return []iris.Key{{Name: "in file", Hash: "HASH-file", Scopes: []iris.Scope{"*"}, Tier: iris.TierEnterprise}}
		},
	})
	f.keys.all["bound-admin"] = iris.Caller{Kind: iris.CallerKey, Name: "bound-admin", Scopes: []iris.Scope{iris.ScopeAdmin}, Teams: []string{"backend"}}
	f.stored = []iris.Key{
		{Name: "gone", Hash: "HASH-gone", Scopes: []iris.Scope{"teams:read"}, CreatedAt: epoch, RevokedAt: epoch.Add(time.Second)},
		{Name: "over", Hash: "HASH-over", Scopes: []iris.Scope{"teams:read"}, CreatedAt: epoch.Add(-time.Hour), ExpiresAt: time.Unix(1, 0), Limit: iris.Limit{Requests: 5, Window: time.Second}},
		{Name: "ci", Hash: "HASH-ci", Scopes: []iris.Scope{"teams:read", "teams:write"}, Teams: []string{"backend"}, CreatedAt: epoch},
	}
	return f, d
}

func TestKeysAreListed(t *testing.T) {
	f, _ := keyFront()
	w := f.do(call{path: "/api/v1/api-keys"})
	want := `{"keys":[` +
		`{"name":"in file","state":"valid","source":"config","scopes":["*"],"tier":"enterprise"},` +
		`{"name":"gone","state":"revoked","source":"store","scopes":["teams:read"],"tier":"standard","rateLimit":{"requests":100,"window":60000},"createdAt":1704067200000,"revokedAt":1704067201000},` +
		`{"name":"over","state":"expired","source":"store","scopes":["teams:read"],"rateLimit":{"requests":5,"window":1000},"createdAt":1704063600000,"expiresAt":1000},` +
		`{"name":"ci","state":"valid","source":"store","scopes":["teams:read","teams:write"],"teams":["backend"],"tier":"standard","rateLimit":{"requests":100,"window":60000},"createdAt":1704067200000}]}` + "\n"
	if w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d %s\nwant %s", w.Code, w.Body, want)
	}
	for path, want := range map[string]int{"in%20file": 200, "ci": 200, "over": 200, "gone": 404, "nobody": 404} {
		if w := f.do(call{path: "/api/v1/api-keys/" + path}); w.Code != want || strings.Contains(w.Body.String(), "HASH") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestAKeyIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		day := func(n int) time.Time { return now.Add(time.Duration(n) * 24 * time.Hour) }
		for _, tt := range []struct {
			body string
			want iris.Key
			says string
		}{
			{`{"name":"a","scopes":["teams:read","messages:*","teams:read"]}`,
				iris.Key{Name: "a", Scopes: []iris.Scope{"teams:read", "messages:*"}},
				`"tier":"standard","rateLimit":{"requests":100,"window":60000}`},
			{`{"name":"a/b c","scopes":["*"],"teams":["backend"],"tier":"premium","expires":"90d"}`,
				iris.Key{Name: "a/b c", Scopes: []iris.Scope{"*"}, Teams: []string{"backend"}, Tier: iris.TierPremium, ExpiresAt: day(90)},
				`"tier":"premium","rateLimit":{"requests":1000,"window":60000}`},
			{`{"name":"a","scopes":["*"],"rateLimit":{"requests":5,"window":"10s"},"expiresAt":4102444800000}`,
				iris.Key{Name: "a", Scopes: []iris.Scope{"*"}, Limit: iris.Limit{Requests: 5, Window: 10 * time.Second}, ExpiresAt: time.UnixMilli(4102444800000).UTC()},
				`"rateLimit":{"requests":5,"window":10000}`},
			{`{"name":"a","scopes":["*"],"rateLimit":{"requests":5,"window":10000},"teams":null}`,
				iris.Key{Name: "a", Scopes: []iris.Scope{"*"}, Limit: iris.Limit{Requests: 5, Window: 10 * time.Second}},
				`"rateLimit":{"requests":5,"window":10000}`},
			{`{"name":"a","scopes":["*"],"tier":"enterprise"}`,
				iris.Key{Name: "a", Scopes: []iris.Scope{"*"}, Tier: iris.TierEnterprise}, `"tier":"enterprise","createdAt"`},
		} {
			f, d := keyFront()
			w := f.do(call{path: "/api/v1/api-keys", body: tt.body})
			location := map[string]string{"a": "/api/v1/api-keys/a", "a/b c": "/api/v1/api-keys/a%2Fb%20c"}[tt.want.Name]
			if body := w.Body.String(); w.Code != 201 || w.Header().Get("Location") != location || !strings.Contains(body, `"key":"iris_sk_NEW"`) || strings.Contains(body, "HASH") || !strings.Contains(body, tt.says) {
				t.Errorf("%s: %d %s at %s", tt.body, w.Code, w.Body, w.Header().Get("Location"))
			}
			tt.want.Hash, tt.want.CreatedAt = "HASH", now
			if got := f.stored[len(f.stored)-1]; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%s is stored as %+v, want %+v", tt.body, got, tt.want)
			}
			if w := f.do(call{path: w.Header().Get("Location")}); w.Code != 200 || strings.Contains(w.Body.String(), "iris_sk_") {
				t.Errorf("where it is: %d %s", w.Code, w.Body)
			}
			if len(*d) != 1 {
				t.Fatalf("%d %s, written down is %+v", w.Code, w.Body, *d)
			}
			if e := (*d)[0]; e.Action != iris.AuditKeyCreated || e.Subject != tt.want.Name || e.By.Name != "all" || e.RequestID == "" {
				t.Errorf("written down is %+v", *d)
			}
			text, _ := json.Marshal(*d)
			if all := string(text) + f.logged.String(); strings.Contains(all, "iris_sk_") || strings.Contains(all, "HASH") {
				t.Errorf("a secret in %s", all)
			}
		}
	})
}

func TestAKeyThatIsNotMade(t *testing.T) {
	for _, tt := range []struct {
		body string
		code int
		says string // or each of its lines
	}{
		{`{}`, 400, "name is missing"},
		{`{"name":"a"}`, 400, "scopes is missing"},
		{`{"name":"a","scopes":[]}`, 400, "scopes must have at least 1 items"},
		{`{"name":"a","scopes":[""]}`, 400, "scopes[0] is no scope; known are teams:read, teams:write"},
		{`{"name":"a","scopes":["teams:reed"]}`, 400, `scopes[0] is no scope; did you mean \"teams:read\"?`},
		{`{"name":"a:b","scopes":["*"]}`, 400, "name must be up to 128 visible characters"},
		{`{"name":" a","scopes":["*"]}`, 400, "name must be up to 128 visible characters"},
		{`{"name":"a","scopes":["*"],"teams":["backend","backnd"]}`, 400, "teams[1] is no team of this Iris"},
		{`{"name":"a","scopes":["*"],"expires":"soon"}`, 400, "expires must be a length of time like 12h or 90d"},
		{`{"name":"a","scopes":["*"],"expires":"0d"}`, 400, "expires must be a length of time"},
		{`{"name":"a","scopes":["*"],"expires":"1e300d"}`, 400, "expires must be a length of time"},
		{`{"name":"a","scopes":["*"],"expiresAt":1704067200}`, 400, "expiresAt must lie ahead, in Unix milliseconds"},
		{`{"name":"a","scopes":["*"],"expiresAt":-5}`, 400, "expiresAt must be at least 1"},
		{`{"name":"a","scopes":["*"],"expiresAt":4102444800000,"expires":"1d"}`, 400, "expires stands beside expiresAt"},
		{`{"name":"a","scopes":["*"],"tier":"gold"}`, 400, "tier must be one of"},
		{`{"name":"a","scopes":["*"],"tier":"premium","rateLimit":{"requests":1,"window":1}}`, 400, "tier stands beside rateLimit"},
		{`{"name":"a","scopes":["*"],"rateLimit":{"requests":1}}`, 400, "rateLimit.window is missing"},
		{`{"name":"a","scopes":["*"],"rateLimit":{"requests":1,"window":true}}`, 400, "rateLimit.window has none of the forms that it may have"},
		{`{"name":"a","scopes":["*"],"rateLimit":{"requests":1,"window":0}}`, 400, "rateLimit.window has none of the forms"},
		{`{"name":"a","scopes":["*"],"rateLimit":{"requests":1,"window":1.5}}`, 400, "rateLimit.window"},
		{`{"name":"a","scopes":["*"],"rateLimit":{"requests":1,"window":9e18}}`, 400, "rateLimit.window"},
		{`{"name":"a","scopes":["*"],"rateLimit":{"requests":1,"window":"1"}}`, 400, "rateLimit must have a window of 1ms to 24h"},
		{`{"name":"a","scopes":["*"],"rateLimit":{"requests":1,"window":"2d"}}`, 400, "rateLimit must have a window of 1ms to 24h"},
		{`{"name":"a","scopes":["*"],"rateLimit":{"requests":0,"window":1}}`, 400, "rateLimit.requests must be at least 1"},
		{`{"name":"a","scopes":["*"],"key":"iris_sk_12345678"}`, 400, "key is not a known field"},
		{`{"name":"ci","scopes":["*"]}`, 409, "there is an API key named"},
		{`{"name":"in file","scopes":["*"]}`, 409, `an API key named \"in file\" stands in /etc/iris-config.yaml: choose another name`},
	} {
		f, d := keyFront()
		w := f.do(call{path: "/api/v1/api-keys", body: tt.body})
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s: %d %s, want %d %s", tt.body, w.Code, w.Body, tt.code, tt.says)
		}
		if len(f.stored) != 3 || len(*d) != 0 {
			t.Errorf("%s: stored are %+v, written down is %+v", tt.body, f.stored, *d)
		}
	}
}

func TestAKeyEnds(t *testing.T) {
	f, d := keyFront()
	w := f.do(call{method: "DELETE", path: "/api/v1/api-keys/ci"})
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"state":"revoked"`) || f.stored[2].RevokedAt.IsZero() {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := f.do(call{method: "DELETE", path: "/api/v1/api-keys/ci"}); w.Code != 404 {
		t.Errorf("again: %d %s", w.Code, w.Body)
	}
	if w := f.do(call{method: "DELETE", path: "/api/v1/api-keys/in%20file"}); w.Code != 409 || !strings.Contains(w.Body.String(), "stands in /etc/iris-config.yaml: take it out there") {
		t.Errorf("one of the file: %d %s", w.Code, w.Body)
	}
	f.stored = append(f.stored, iris.Key{Name: "in file"}) // from before it was in the file
	if w := f.do(call{method: "POST", path: "/api/v1/api-keys/in%20file/rotate"}); w.Code != 200 {
		t.Errorf("one of the store, with its name: %d %s", w.Code, w.Body)
	}
	if w := f.do(call{method: "DELETE", path: "/api/v1/api-keys/in%20file"}); w.Code != 200 {
		t.Errorf("one of the store, with its name: %d %s", w.Code, w.Body)
	}
	if len(*d) != 3 || (*d)[0].Action != iris.AuditKeyRevoked || (*d)[0].Subject != "ci" {
		t.Errorf("written down is %+v", *d)
	}
}

func TestAKeyIsRotated(t *testing.T) {
	for _, tt := range []struct {
		body  string
		grace time.Duration
	}{{"", 0}, {`{}`, 0}, {`{"grace":3600000}`, time.Hour}} {
		f, d := keyFront()
		w := f.do(call{method: "POST", path: "/api/v1/api-keys/ci/rotate", body: tt.body})
		if body := w.Body.String(); w.Code != 200 || !strings.Contains(body, `"key":"iris_sk_NEW"`) || !strings.Contains(body, `"teams":["backend"]`) {
			t.Errorf("%s: %d %s", tt.body, w.Code, w.Body)
		}
		if old, is := f.stored[2], f.stored[3]; is.Hash != "HASH" || is.Name != "ci" || old.ExpiresAt.Sub(is.CreatedAt) != tt.grace {
			t.Errorf("%s: stored are %+v", tt.body, f.stored)
		}
		if e := (*d)[0]; e.Action != iris.AuditKeyRotated || e.Details["grace"] != tt.grace.Milliseconds() {
			t.Errorf("written down is %+v", e)
		}
	}
	f, _ := keyFront()
	for path, want := range map[string]int{"in%20file/rotate": 409, "nobody/rotate": 404} {
		if w := f.do(call{method: "POST", path: "/api/v1/api-keys/" + path}); w.Code != want {
			t.Errorf("%s: %d %s, want %d", path, w.Code, w.Body, want)
		}
	}
	if w := f.do(call{path: "/api/v1/api-keys/ci/rotate", body: `{"grace":2592000001}`}); w.Code != 400 {
		t.Errorf("a grace of more than 30 days: %d %s", w.Code, w.Body)
	}
}

// TestABoundKeyMakesNoKeys: it could make one that reaches more than itself.
func TestABoundKeyMakesNoKeys(t *testing.T) {
	for _, c := range []call{
		{path: "/api/v1/api-keys"}, {path: "/api/v1/api-keys/ci"}, {path: "/api/v1/api-keys", body: `{"name":"a","scopes":["*"],"teams":["backend"]}`},
		{method: "DELETE", path: "/api/v1/api-keys/ci"}, {method: "POST", path: "/api/v1/api-keys/ci/rotate"},
	} {
		f, d := keyFront()
		c.key = "bound-admin"
		if w := f.do(c); w.Code != 403 || !strings.Contains(w.Body.String(), "bound to teams") || len(*d) > 0 || len(f.stored) != 3 {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
}

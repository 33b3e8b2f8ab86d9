package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/httpapi"
)

// counter lets the first of each caller in, up to its limit, and never forgets.
type counter struct {
	mu   sync.Mutex
	used map[string]int
	err  error
}

func newCounter() *counter { return &counter{used: map[string]int{}} }

func (c *counter) Take(_ context.Context, who string, l iris.Limit) (iris.Allowance, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || l.Requests == 0 {
		return iris.Allowance{Allowed: c.err == nil}, c.err
	}
	a := iris.Allowance{Limit: l, ResetAt: time.Now().Add(l.Window)}
	if c.used[who] < l.Requests {
		c.used[who]++
		a.Allowed, a.Remaining = true, l.Requests-c.used[who]
	}
	return a, nil
}

// limitedFront has a key "three" that may send three requests a minute, and nobody else is
// limited.
func limitedFront() (f *front, limits, failures *counter) {
	limits, failures = newCounter(), newCounter()
	f = newFront(httpapi.Config{Limits: limits, Failures: failures})
	f.keys.all["three"] = iris.Caller{
		Kind: iris.CallerKey, Name: "three", Scopes: []iris.Scope{iris.ScopeTeamsRead},
		Limit: iris.Limit{Requests: 3, Window: time.Minute},
	}
	return f, limits, failures
}

func TestALimitThatIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, _ := limitedFront()
		now := time.Now() // midnight: whole seconds
		reset := strconv.FormatInt(now.Add(time.Minute).Unix(), 10)
		for i, path := range []string{
			"/api/v1/teams", "/api/v1/messages/history", "/api/v1/messages/msg_nothing", // forbidden and unknown ones count too
		} {
			h := f.do(call{path: path, key: "three"}).Header()
			if h.Get("X-Ratelimit-Limit") != "3" || h.Get("X-Ratelimit-Remaining") != strconv.Itoa(2-i) || h.Get("X-Ratelimit-Reset") != reset {
				t.Errorf("%s: %v", path, h)
			}
		}
		for _, path := range []string{"/api/v1/teams", "/api/v1/messages/history"} { // the limit before the scopes
			w := f.do(call{path: path, key: "three"})
			h := w.Header()
			if w.Code != 429 || h.Get("X-Ratelimit-Limit") != "3" || h.Get("X-Ratelimit-Remaining") != "0" || h.Get("X-Ratelimit-Reset") != reset || h.Get("Retry-After") != "60" {
				t.Errorf("%d %v", w.Code, h)
			}
			var body struct {
				Error, Code, Message   string
				Limit, Window, ResetAt int64
			}
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			if body.Error != "Rate limit exceeded" || body.Code != "RATE_LIMITED" || body.Limit != 3 || body.Window != 60000 ||
				body.ResetAt != now.Add(time.Minute).UnixMilli() || body.Message != "this key has used up its limit of 3/1m; send this again in 1m0s" {
				t.Errorf("%s", w.Body)
			}
		}
		if w := f.do(call{path: "/api/v1/teams", key: "asker"}); w.Code != 200 || w.Header()["X-Ratelimit-Limit"] != nil {
			t.Errorf("who has no limit: %d %v", w.Code, w.Header())
		}
		if w := f.do(call{path: "/healthz", key: "three"}); w.Code != 200 {
			t.Errorf("an open path: %d", w.Code)
		}
	})
}

// TestALimitFollowsItsKey: what Auth says now is what counts.
func TestALimitFollowsItsKey(t *testing.T) {
	f, _, _ := limitedFront()
	for range 4 {
		f.do(call{path: "/api/v1/teams", key: "three"})
	}
	more := f.keys.all["three"]
	more.Limit.Requests = 5
	f.keys.all["three"] = more
	if w := f.do(call{path: "/api/v1/teams", key: "three"}); w.Code != 200 || w.Header().Get("X-Ratelimit-Remaining") != "1" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestALimiterThatFails(t *testing.T) {
	f, limits, _ := limitedFront()
	limits.err = errors.New("the counter is broken")
	w := f.do(call{path: "/api/v1/teams", key: "three"})
	if e := errorOf(t, w.Body.Bytes()); w.Code != 500 || e.Code != "INTERNAL_ERROR" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestBadCredentialsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, limits, failures := limitedFront()
		from := func(address, key string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			r := call{path: "/api/v1/teams", key: key}.request(t.Context(), "http://iris.test")
			r.RemoteAddr = address
			f.server.Handler().ServeHTTP(w, r)
			return w
		}
		for i := range 100 {
			key := []string{"-", "wrong"}[i%2]
			if w := from(fmt.Sprint("192.0.2.1:", 1000+i), key); w.Code != 401 || w.Header()["X-Ratelimit-Limit"] != nil {
				t.Fatalf("%d: %d %v", i, w.Code, w.Header())
			}
		}
		w := from("192.0.2.1:9", "wrong")
		if e := errorOf(t, w.Body.Bytes()); w.Code != 429 || e.Code != "RATE_LIMITED" || w.Header().Get("Retry-After") != "60" || w.Header()["X-Ratelimit-Limit"] != nil {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
		if w := from("192.0.2.1:9", "all"); w.Code != 200 {
			t.Errorf("a good key from there: %d %s", w.Code, w.Body)
		}
		if w := from("192.0.2.2:9", "wrong"); w.Code != 401 {
			t.Errorf("another address: %d", w.Code)
		}
		if w := from("pipe", "wrong"); w.Code != 401 { // no address at all
			t.Errorf("a pipe: %d", w.Code)
		}
		from("[2001:db8::1]:9", "wrong")
		from("[2001:db8::ffff:1]:9", "wrong")
		from("[::ffff:192.0.2.2]:9", "wrong")
		if got := failures.used; got["2001:db8::/64"] != 2 || got["192.0.2.2"] != 2 || len(got) != 3 {
			t.Errorf("counted are %v", got)
		}
		if len(limits.used) != 0 {
			t.Errorf("somebody's limit was charged: %v", limits.used)
		}
	})
}

func TestAStoreThatFailsIsNobodysBadCredential(t *testing.T) {
	f, _, failures := limitedFront()
	f.keys.err = errors.New("disk full")
	if w := f.do(call{path: "/api/v1/teams"}); w.Code != 500 || len(failures.used) > 0 {
		t.Errorf("%d, counted are %v", w.Code, failures.used)
	}
}

func TestWhereARequestComesFrom(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, tt := range []struct {
		name      string
		peer      string
		forwarded []string
		trusted   bool
		want      string
	}{
		{"nobody is trusted", "10.0.0.1:1", []string{"192.0.2.9"}, false, "10.0.0.1/32"},
		{"who comes himself", "192.0.2.1:1", nil, true, "192.0.2.1/32"},
		{"who only says so", "192.0.2.1:1", []string{"192.0.2.9"}, true, "192.0.2.1/32"},
		{"behind a proxy", "10.0.0.1:1", []string{"192.0.2.9"}, true, "192.0.2.9/32"},
		{"behind two", "10.0.0.1:1", []string{"192.0.2.9, 10.2.3.4"}, true, "192.0.2.9/32"},
		{"behind two headers", "10.0.0.1:1", []string{"192.0.2.9", "10.2.3.4"}, true, "192.0.2.9/32"},
		{"what is left of the first stranger is made up", "10.0.0.1:1", []string{"203.0.113.1,  192.0.2.9 ,10.2.3.4"}, true, "192.0.2.9/32"},
		{"a proxy that hides its client", "10.0.0.1:1", []string{"192.0.2.9, unknown"}, true, "10.0.0.1/32"},
		{"a proxy that says nothing", "10.0.0.1:1", nil, true, "10.0.0.1/32"},
		{"all are proxies", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, true, "10.0.0.3/32"},
		{"with a port", "10.0.0.1:1", []string{"192.0.2.9:4711"}, true, "192.0.2.9/32"},
		{"IPv6", "[2001:db8:1::1]:1", []string{"2001:db8:2::1"}, true, "2001:db8:2::/64"},
		{"IPv6 with a port", "[2001:db8:1::1]:1", []string{"[2001:db8:2::1]:80"}, true, "2001:db8:2::/64"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:1", []string{"::ffff:192.0.2.9"}, true, "192.0.2.9/32"},
		{"a zone", "[fe80::1%eth0]:1", nil, true, "fe80::/64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			failures := newCounter()
			f := newFront(httpapi.Config{Failures: failures, TrustedProxies: func() []netip.Prefix {
				if tt.trusted {
					return trusted
				}
				return nil
			}})
			r := call{path: "/api/v1/teams", key: "wrong", header: http.Header{"X-Forwarded-For": tt.forwarded}}.request(t.Context(), "http://iris.test")
			r.RemoteAddr = tt.peer
			f.server.Handler().ServeHTTP(httptest.NewRecorder(), r)
			var got []string
			for who := range failures.used {
				if a, err := netip.ParseAddr(who); err == nil {
					who = netip.PrefixFrom(a, a.BitLen()).String()
				}
				got = append(got, who)
			}
			if !slices.Equal(got, []string{tt.want}) {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
}

//go:build contract

package contract_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// limited starts a server whose keys have limits.
func limited(t *testing.T) *server {
	return start(t, func(config, api, teams map[string]any) {
		auth := api["auth"].(map[string]any)
		of := func(name string, limit map[string]any) map[string]any {
			k := with(key(name, "*"), limit)
			if limit["tier"] == nil {
				delete(k, "tier")
			}
			return k
		}
		rate := func(n int, window any) map[string]any {
			return map[string]any{"rateLimit": map[string]any{"requests": n, "window": window}}
		}
		auth["keys"] = append(auth["keys"].([]any),
			of("default", map[string]any{}), of("standard", map[string]any{"tier": "standard"}), of("premium", map[string]any{"tier": "premium"}),
			of("enterprise", map[string]any{"tier": "enterprise"}), of("ten", rate(10, "1m")), of("quick", rate(2, "2s")), of("hour", rate(5, "1h")), of("millis", rate(5, 90000)),
			of("twenty", rate(20, "1m")))
	})
}

// TestRateLimits: the headers of every answer, and 429.
func TestRateLimits(t *testing.T) {
	t.Parallel()
	s := limited(t)
	for name, limit := range map[string]string{"default": "100", "standard": "100", "premium": "1000", "hour": "5", "millis": "5"} {
		h := s.do(req{path: "/teams", key: name}).is(200).header
		n, _ := strconv.Atoi(limit)
		if h.Get("X-RateLimit-Limit") != limit || h.Get("X-RateLimit-Remaining") != strconv.Itoa(n-1) {
			t.Errorf("%s: %v", name, h)
		}
		reset, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
		window := map[string]time.Duration{"hour": time.Hour, "millis": 90 * time.Second}[name]
		if window == 0 {
			window = time.Minute
		}
		if off := time.Until(time.Unix(reset, 0)) - window; err != nil || off < -10*time.Second || off > 2*time.Second {
			t.Errorf("%s: reset is %d (Unix seconds), %s off", name, reset, off)
		}
	}
	for range 150 { // no limit
		s.do(req{path: "/teams", key: "enterprise"}).is(200)
	}

	// Ten, whatever becomes of them; the eleventh is refused.
	for i, r := range []req{
		{path: "/teams"}, {path: "/teams/nobody/status"}, {path: "/teams/backend/ask", body: "{"}, {path: "/messages/history?limit=0"}, {path: "/messages/msg_x"},
		{path: "/teams/backend/ask", body: `{"question":"q"}`}, {path: "/teams/backend/stream?message=q"}, {path: "/teams/backend/execute", body: `{"task":"q"}`},
		{path: "/messages/msg_x/cancel", method: "POST"}, {path: "/teams"},
	} {
		r.key = "ten"
		if a := s.do(r); a.header.Get("X-RateLimit-Limit") != "10" || a.header.Get("X-RateLimit-Remaining") != strconv.Itoa(9-i) || a.header.Get("X-RateLimit-Reset") == "" {
			t.Errorf("%s: %d %v", r.path, a.status, a.header)
		}
	}
	for _, path := range []string{"/teams", "/teams/backend/stream?message=q"} {
		a := s.do(req{path: path, key: "ten"}).fails(429, "RATE_LIMITED")
		if a.json["error"] != "Rate limit exceeded" || a.json["limit"] != 10.0 || a.json["window"] != 60000.0 {
			t.Errorf("%s", a.body)
		}
		resetAt := time.UnixMilli(int64(a.json["resetAt"].(float64)))
		retry, err := strconv.Atoi(a.header.Get("Retry-After"))
		if wait := time.Until(resetAt); err != nil || wait < 30*time.Second || wait > time.Minute || float64(retry) < wait.Seconds() || float64(retry) > wait.Seconds()+2 {
			t.Errorf("Retry-After %d, resetAt in %s", retry, time.Until(resetAt))
		}
		if a.header.Get("X-RateLimit-Remaining") != "0" || a.header.Get("X-RateLimit-Limit") != "10" {
			t.Errorf("%v", a.header)
		}
	}
	s.do(req{path: "//healthz", key: "ten"}).is(200)

	// The window slides.
	var a answer
	eventually(t, func() bool {
		began := time.Now()
		s.do(req{path: "/teams", key: "quick"}).is(200)
		s.do(req{path: "/teams", key: "quick"}).is(200)
		if a = s.do(req{path: "/teams", key: "quick"}); a.status == 200 && time.Since(began) < 2*time.Second {
			t.Fatal("three of two got through within the window")
		}
		if a.status == 200 { // the window was over: once more, with a window of its own
			time.Sleep(2 * time.Second)
		}
		return a.status != 200
	})
	a.fails(429, "RATE_LIMITED")
	time.Sleep(time.Until(time.UnixMilli(int64(a.json["resetAt"].(float64)))))
	s.do(req{path: "/teams", key: "quick"}).is(200)
}

// TestLimitsAreExact: of many clients at once no more than the limit get through.
func TestLimitsAreExact(t *testing.T) {
	t.Parallel()
	s := limited(t)
	var through, refused atomic.Int32
	together(16, func(i int) {
		for j := range 5 {
			r := req{path: "/teams", key: "twenty", header: map[string]string{"User-Agent": fmt.Sprint(i, j)}}
			if i%2 == 1 {
				r.path = "/messages/history"
			}
			switch s.do(r).status {
			case 200:
				through.Add(1)
			case 429:
				refused.Add(1)
			}
		}
	})
	if through.Load() != 20 || refused.Load() != 60 {
		t.Errorf("%d got through, %d were refused", through.Load(), refused.Load())
	}
}

// TestBadCredentialsBehindAProxy: each address that a trusted proxy names has a count of its own.
func TestBadCredentialsBehindAProxy(t *testing.T) {
	t.Parallel()
	s := start(t, func(config, api, teams map[string]any) { api["trustedProxies"] = []any{"127.0.0.1"} })
	from := func(forwarded string) answer {
		return s.do(req{path: "/teams", key: "guess", header: map[string]string{"X-Forwarded-For": forwarded}})
	}
	for range 100 {
		from("198.51.100.1, 203.0.113.7").is(401)
	}
	from("198.51.100.2, 203.0.113.7").fails(429, "RATE_LIMITED")
	from("203.0.113.8").fails(401, "UNAUTHORIZED")
	from("203.0.113.7, 203.0.113.9").fails(401, "UNAUTHORIZED")
	s.do(req{path: "/teams", key: "guess"}).fails(401, "UNAUTHORIZED")
}

// TestBadCredentials: 100 a minute from one address, then 429; a good key is never refused by that.
func TestBadCredentials(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for i := range 100 {
		s.do(req{path: "/teams", key: fmt.Sprint("guess", i)}).fails(401, "UNAUTHORIZED")
		if i%10 == 0 {
			s.do(req{path: "/teams"}).is(200)
		}
	}
	a := s.do(req{path: "/teams", key: "guess"}).fails(429, "RATE_LIMITED")
	if a.header.Get("Retry-After") == "" {
		t.Errorf("%v", a.header)
	}
	s.do(req{path: "/teams", key: "-"}).fails(429, "RATE_LIMITED")
	for range 20 {
		s.do(req{path: "/teams"}).is(200)
	}
	s.do(req{path: "//healthz", key: "-"}).is(200)
}

//go:build contract

package contract_test

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestKeysOverREST is GET, POST /api-keys and DELETE /api-keys/:name.
func TestKeysOverREST(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	with := func(secret string) answer { return s.bearer("Bearer " + secret) }
	made := s.do(req{path: "/api-keys", body: map[string]any{
		"name": "ci-cd-pipeline", "scopes": []string{"teams:read", "messages:write"}, "teams": []string{"backend"}, "expires": "90d",
		"rateLimit": map[string]any{"requests": 20, "window": "10s"},
	}}).is(201)
	secret := made.text("key")
	if !regexp.MustCompile(`^iris_sk_[A-Za-z0-9_-]{40,}$`).MatchString(secret) || made.header.Get("Location") != "/api/v1/api-keys/ci-cd-pipeline" {
		t.Errorf("%v %s", made.header, made.body)
	}
	if left := time.Until(time.UnixMilli(int64(made.json["expiresAt"].(float64)))); left < 89*24*time.Hour || left > 91*24*time.Hour {
		t.Errorf("it expires in %s", left)
	}
	if h := with(secret).is(200).header; h.Get("X-RateLimit-Limit") != "20" {
		t.Errorf("%v", h)
	}
	list := s.do(req{path: "/api-keys"}).is(200)
	if body := string(list.body); !strings.Contains(body, `"ci-cd-pipeline"`) || !strings.Contains(body, `"all"`) || strings.Contains(body, secret) || strings.Contains(body, keyOf("all")) {
		t.Errorf("%s", list.body)
	}
	if one := s.do(req{path: "/api-keys/ci-cd-pipeline"}).is(200); one.json["state"] != "valid" || strings.Contains(string(one.body), secret) {
		t.Errorf("%s", one.body)
	}
	s.do(req{path: "/api-keys", body: map[string]any{"name": "ci-cd-pipeline", "scopes": []string{"*"}}}).fails(409, "CONFLICT")

	rotated := s.do(req{method: "POST", path: "/api-keys/ci-cd-pipeline/rotate"}).is(200)
	with(secret).fails(401, "UNAUTHORIZED")
	with(rotated.text("key")).is(200)
	s.do(req{method: "DELETE", path: "/api-keys/ci-cd-pipeline"}).is(200)
	with(rotated.text("key")).fails(401, "UNAUTHORIZED")
	s.do(req{path: "/api-keys/ci-cd-pipeline"}).fails(404, "NOT_FOUND")
	if list := s.do(req{path: "/api-keys"}).is(200); !strings.Contains(string(list.body), `"revoked"`) {
		t.Errorf("%s", list.body)
	}

	for _, body := range []map[string]any{
		{}, {"name": "x"}, {"name": "x", "scopes": []string{}}, {"name": "x", "scopes": []string{"nonsense"}}, {"name": "a:b", "scopes": []string{"*"}},
		{"name": "x", "scopes": []string{"*"}, "tier": "gold"}, {"name": "x", "scopes": []string{"*"}, "expires": "soon"}, {"name": "x", "scopes": []string{"*"}, "zzz": 1},
		{"name": "x", "scopes": []string{"*"}, "rateLimit": map[string]any{"requests": 0, "window": "1m"}},
	} {
		s.do(req{path: "/api-keys", body: body}).fails(400, "INVALID_REQUEST")
	}
	s.do(req{path: "/api-keys/nobody"}).fails(404, "NOT_FOUND")
	s.do(req{method: "DELETE", path: "/api-keys/nobody"}).fails(404, "NOT_FOUND")
	s.do(req{method: "DELETE", path: "/api-keys/all"}).fails(409, "CONFLICT") // of the file
	s.do(req{method: "POST", path: "/api-keys/all/rotate"}).fails(409, "CONFLICT")
	s.do(req{path: "/api-keys", body: map[string]any{"name": "wider", "scopes": []string{"*"}}, key: "bound"}).fails(403, "FORBIDDEN")
	for _, tier := range []string{"standard", "premium", "enterprise"} {
		k := s.do(req{path: "/api-keys", body: map[string]any{"name": tier, "scopes": []string{"*"}, "tier": tier}}).is(201).text("key")
		want := map[string]string{"standard": "100", "premium": "1000"}[tier]
		if got := with(k).is(200).header.Get("X-RateLimit-Limit"); got != want {
			t.Errorf("%s has the limit %q", tier, got)
		}
	}
}

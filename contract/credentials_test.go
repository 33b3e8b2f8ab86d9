//go:build contract

package contract_test

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// bearer sends a request with a credential of its own.
func (s *server) bearer(credential string) answer {
	s.t.Helper()
	return s.do(req{path: "/teams", key: "-", header: map[string]string{"Authorization": credential}})
}

// TestCredentials: how a key is shown, and what is no good one.
func TestCredentials(t *testing.T) {
	t.Parallel()
	hash := sha256.Sum256([]byte(keyOf("hashed")))
	s := start(t, func(config, api, teams map[string]any) {
		auth := api["auth"].(map[string]any)
		hashed := key("hashed", "*")
		delete(hashed, "key")
		hashed["keyHash"] = hex.EncodeToString(hash[:])
		auth["keys"] = append(auth["keys"].([]any), hashed,
			with(key("expired", "*"), map[string]any{"expiresAt": "2020-01-01"}),
			with(key("future", "*"), map[string]any{"expiresAt": time.Now().Add(time.Hour).UnixMilli()}),
			with(key("short", "*"), map[string]any{"key": "iris_sk_abc123..."}))
	})
	for _, good := range []string{"Bearer " + keyOf("all"), "bearer " + keyOf("all"), "BEARER  " + keyOf("all"), "Bearer " + keyOf("hashed"), "Bearer " + keyOf("future"), "Bearer iris_sk_abc123..."} {
		s.bearer(good).is(200)
	}
	s.do(req{path: "/teams", key: "-", header: map[string]string{"X-Api-Key": keyOf("all")}}).is(200)

	for credential, name := range map[string]string{
		"":                                 "Missing or invalid Authorization header",
		"Bearer":                           "Missing or invalid Authorization header",
		"Bearer ":                          "Missing or invalid Authorization header",
		"Basic " + basic("all", "x"):       "Missing or invalid Authorization header",
		keyOf("all"):                       "Missing or invalid Authorization header",
		"Bearer your-api-key":              "Invalid API key",
		"Bearer " + keyOf("nobody"):        "Invalid API key",
		"Bearer " + keyOf("all") + "x":     "Invalid API key",
		"Bearer " + keyOf("all")[:20]:      "Invalid API key",
		"Bearer " + keyOf("expired"):       "API key expired",
		"Bearer " + string(hash[:0]) + "x": "Invalid API key",
	} {
		a := s.bearer(credential).fails(401, "UNAUTHORIZED")
		if a.json["error"] != name || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%q: %s, %s", credential, a.body, a.header.Get("WWW-Authenticate"))
		}
	}
	s.do(req{path: "/teams", key: "-", header: map[string]string{"X-Api-Key": "nonsense"}}).fails(401, "UNAUTHORIZED")
	eventually(t, func() bool { return strings.Contains(s.Stderr(), "expired") }) // it warns of the expired key
	for _, secret := range []string{keyOf("all"), keyOf("hashed"), keyOf("nobody")} {
		if strings.Contains(s.Stderr(), secret) {
			t.Error("a key stands in the log")
		}
	}
	// The local user's key is the local user.
	info, err := os.Stat(filepath.Join(s.options.Home, "local.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("local.key: %v %v", info, err)
	}
	a := s.do(req{path: "/teams/backend/ask", body: `{"question":"q"}`, key: "-", header: map[string]string{"Authorization": "Bearer " + s.Key}}).is(200)
	if m := s.do(req{path: "/messages/" + a.id("messageId")}); m.json["from"] != "local" || m.json["caller"] != nil {
		t.Errorf("%s", m.body)
	}
}

func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// cli runs iris-mcp on the server's data folder.
func (s *server) cli(args ...string) (string, error) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), binary, args...)
	cmd.Env = append(s.options.Env, "IRIS_HOME="+s.options.Home)
	cmd.Dir = s.options.Home
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	s.t.Logf("iris-mcp %s: %v %s", strings.Join(args, " "), err, stderr.String())
	return string(out), err
}

// TestKeysOfTheStore: made, rotated and revoked while the server runs.
func TestKeysOfTheStore(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	made := regexp.MustCompile(`(?m)^API Key: (iris_sk_[A-Za-z0-9_-]{40,})$`)
	create := func(args ...string) string {
		out, err := s.cli(append([]string{"api-key", "create"}, args...)...)
		m := made.FindStringSubmatch(out)
		if err != nil || m == nil || !strings.Contains(out, "Save this key securely - it won't be shown again!") {
			t.Fatalf("%v: %q", err, out)
		}
		return m[1]
	}
	k := create("--name", "ci-cd-pipeline", "--scope", "teams:read,teams:write")
	ask := func(k string) answer {
		return s.do(req{path: "/teams/backend/ask", body: `{"question":"q"}`, key: "-", header: map[string]string{"Authorization": "Bearer " + k}})
	}
	a := ask(k).is(200) // teams:write includes messages:write
	if m := s.do(req{path: "/messages/" + a.id("messageId")}); m.json["from"] != "api" || m.json["caller"] != "ci-cd-pipeline" {
		t.Errorf("%s", m.body)
	}
	create("--name", "limited", "--scope", "*", "--rate", "100/1m", "--expires", "90d", "--team", "backend")
	create("--name", "rich", "--scope", "*", "--tier", "premium")
	if out, err := s.cli("api-key", "list"); err != nil || !strings.Contains(out, "ci-cd-pipeline") || strings.Contains(out, k) {
		t.Errorf("%v %s", err, out)
	}

	out, err := s.cli("api-key", "rotate", "ci-cd-pipeline")
	m := made.FindStringSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("%v %s", err, out)
	}
	ask(m[1]).is(200)

	// A revoked key stops at once, in open streams too: with their next event.
	st := s.open(req{path: "/teams/backend/stream?message=" + query("[[pace 100ms]] [[say "+strings.Repeat("word ", 2000)+"]]"), key: "-", header: map[string]string{"Authorization": "Bearer " + m[1]}})
	st.until("chunk")
	if out, err := s.cli("api-key", "revoke", "ci-cd-pipeline"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	ask(m[1]).fails(401, "UNAUTHORIZED")
	revoked := time.Now()
	rest := st.rest()
	if took := time.Since(revoked); took > 10*time.Second {
		t.Errorf("its stream went on for %s: %s", took, names(rest))
	}
	if last := rest[len(rest)-1]; last.name != "error" || last.data["code"] != "UNAUTHORIZED" {
		t.Errorf("its stream ended with %s", last.raw)
	}
}

// TestBasic: a name and its key as user and password, beside bearer.
func TestBasic(t *testing.T) {
	t.Parallel()
	s := start(t, func(config, api, teams map[string]any) { api["auth"].(map[string]any)["type"] = "basic" })
	s.bearer("Basic " + basic("all", keyOf("all"))).is(200)
	s.bearer("Bearer " + keyOf("all")).is(200)
	for _, bad := range []string{basic("other", keyOf("all")), basic("all", "x"), basic("", keyOf("all")), basic("all", ""), "!", ""} {
		if a := s.bearer("Basic "+bad).fails(401, "UNAUTHORIZED"); !strings.Contains(strings.Join(a.header.Values("WWW-Authenticate"), ", "), "Basic") {
			t.Errorf("%v", a.header)
		}
	}
}

// token makes a JWT.
func token(header, claims map[string]any, sign func([]byte) []byte) string {
	part := func(v any) string {
		data, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(data)
	}
	text := part(header) + "." + part(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(text)))
}

// TestJWT: HS256 with a secret, and the keys of a JWKS file.
func TestJWT(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef0123456789abcdef"
	hs := func(data []byte) []byte {
		m := hmac.New(sha256.New, []byte(secret))
		m.Write(data)
		return m.Sum(nil)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs := func(data []byte) []byte {
		sum := sha256.Sum256(data)
		sig, _ := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:])
		return sig
	}
	jwks := filepath.Join(t.TempDir(), "jwks.json")
	data, _ := json.Marshal(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig",
		"n": base64.RawURLEncoding.EncodeToString(private.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(private.E)).Bytes()),
	}}})
	if err := os.WriteFile(jwks, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for kind, jwt := range map[string]map[string]any{"HS256": {"secret": secret}, "RS256": {"jwks": jwks}} {
		s := start(t, func(config, api, teams map[string]any) {
			auth := api["auth"].(map[string]any)
			auth["type"], auth["jwt"] = "jwt", with(jwt, map[string]any{"issuer": "https://issuer.example", "audience": "iris"})
		})
		header := map[string]any{"alg": kind, "typ": "JWT", "kid": "one"}
		sign, other := hs, rs
		if kind == "RS256" {
			sign, other = rs, hs
		}
		now := time.Now().Unix()
		claims := map[string]any{"sub": "ada", "scope": "teams:read messages:write", "iss": "https://issuer.example", "aud": "iris", "exp": now + 60, "nbf": now - 60, "iat": now}
		good := "Bearer " + token(header, claims, sign)
		s.bearer(good).is(200)
		s.bearer("Bearer " + token(header, with(claims, map[string]any{"scope": nil, "scopes": []string{"teams:read"}, "aud": []string{"x", "iris"}}), sign)).is(200)
		a := s.do(req{path: "/teams/backend/ask", body: `{"question":"q"}`, key: "-", header: map[string]string{"Authorization": good}}).is(200)
		if m := s.do(req{path: "/messages/" + a.id("messageId")}); m.json["from"] != "api" || m.json["caller"] != "ada" {
			t.Errorf("%s", m.body)
		}
		s.do(req{path: "/messages/history", key: "-", header: map[string]string{"Authorization": good}}).fails(403, "FORBIDDEN")
		s.bearer("Bearer " + keyOf("all")).is(200)
		for name, bad := range map[string]string{
			"expired":       token(header, with(claims, map[string]any{"exp": now - 3600}), sign),
			"not yet":       token(header, with(claims, map[string]any{"nbf": now + 3600}), sign),
			"other issuer":  token(header, with(claims, map[string]any{"iss": "https://evil.example"}), sign),
			"other service": token(header, with(claims, map[string]any{"aud": "other"}), sign),
			"no sub":        token(header, with(claims, map[string]any{"sub": nil}), sign),
			"unsigned":      token(map[string]any{"alg": "none"}, claims, func([]byte) []byte { return nil }),
			"other key":     token(header, claims, func(b []byte) []byte { return sign(append(b, 'x')) }),
			"other method":  token(map[string]any{"alg": map[string]string{"HS256": "RS256", "RS256": "HS256"}[kind], "kid": "one"}, claims, other),
			"changed":       strings.Replace(token(header, claims, sign), ".", ".e", 1),
		} {
			if a := s.bearer("Bearer " + bad); a.status != 401 {
				t.Errorf("%s: %s: %d %s", kind, name, a.status, a.body)
			}
		}
	}
}

// TestBind: an address that others reach needs a key first.
func TestBind(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	config := filepath.Join(home, "iris-config.yaml")
	if err := os.WriteFile(config, []byte("api: {host: 0.0.0.0, port: 39151}\nteams: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "serve", "--http-only", "--config", config)
	cmd.Env = []string{"IRIS_HOME=" + home, "HOME=" + home, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("key")) {
		t.Errorf("%v: %s", err, out)
	}
}

// TestOrigins: CORS is off unless origins are configured; pages of others get nothing for them.
func TestOrigins(t *testing.T) {
	t.Parallel()
	off := start(t, nil)
	a := off.do(req{path: "/teams", header: map[string]string{"Origin": "https://app.example"}}).is(200)
	if a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%v", a.header)
	}
	on := start(t, func(config, api, teams map[string]any) {
		api["cors"] = map[string]any{"origins": []any{"https://app.example"}}
	})
	a = on.do(req{path: "/teams", header: map[string]string{"Origin": "https://app.example"}}).is(200)
	if a.header.Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("%v", a.header)
	}
	a = on.do(req{path: "/teams", header: map[string]string{"Origin": "https://evil.example"}}).is(200)
	if a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%v", a.header)
	}
	a = on.do(req{method: "OPTIONS", path: "/teams/backend/ask", key: "-", header: map[string]string{
		"Origin": "https://app.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type",
	}})
	if a.status/100 != 2 || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "POST") || !strings.Contains(strings.ToLower(a.header.Get("Access-Control-Allow-Headers")), "authorization") {
		t.Errorf("%d %v", a.status, a.header)
	}
	// A key-bearing request is taken by any name; a page without a key is not, on loopback.
	q := off.request(req{path: "/teams"})
	q.Host = "iris.internal"
	if res, err := client.Do(q); err != nil || res.StatusCode != 200 {
		t.Errorf("%v %v", res, err)
	}
	q = off.request(req{path: "//docs", key: "-"})
	q.Host = "rebound.example"
	if res, err := client.Do(q); err != nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("%v %v", res, err)
	}
}

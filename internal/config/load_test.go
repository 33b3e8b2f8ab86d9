package config_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/config"
)

// write puts a configuration into a folder of its own, beside the folders that its teams
// name, and gives its path.
func write(t *testing.T, text string, folders ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range folders {
		if err := os.MkdirAll(filepath.Join(dir, f), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, config.FileName)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func load(t *testing.T, text string, folders ...string) *config.Config {
	t.Helper()
	c, err := config.Load(write(t, text, folders...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnEmptyFileIsAllDefaults(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing yet\n", "---\n", "teams:\n", "teams: {}\napi:\nsettings: null\n"} {
		c := load(t, text)
		if len(c.Teams) != 0 || len(c.Keys) != 0 || len(c.Warnings) != 0 {
			t.Errorf("%q: teams %v, keys %v, warnings %v", text, c.Teams, c.Keys, c.Warnings)
		}
		if got := c.API.Address(); got != "127.0.0.1:3100" || !c.API.Enabled || c.API.Standing() || c.API.MaxBodyBytes != 1<<20 {
			t.Errorf("%q: api is %+v", text, c.API)
		}
		if s := c.Settings; s.ClaudePath != "claude" || s.MaxProcesses != 10 || s.TurnTimeout != time.Hour || s.ShutdownGrace != 20*time.Second {
			t.Errorf("%q: settings are %+v", text, s)
		}
		if q := c.Queue; q.Backend != "embedded" || q.MaxConcurrent != 10 || q.Keep != 30*24*time.Hour {
			t.Errorf("%q: queue is %+v", text, q)
		}
		if w := c.Webhooks; len(w.RetryDelays) != 6 || w.Timeout != 15*time.Second {
			t.Errorf("%q: webhooks are %+v", text, w)
		}
	}
}

func TestATeamTakesWhatItDoesNotSayFromTheSettings(t *testing.T) {
	c := load(t, `
settings:
  idleTimeout: 300000
  turnTimeout: 2h
  claudePath: ./bin/claude
teams:
  web:
    path: web app/v1.2_x
    description: React frontend
    color: "#61dafb"
    idleTimeout: 1.5m
    env: {NODE_ENV: test, PORT: 8080}
    allowedTools: [Read, "Bash(npm test:*)"]
    warm: 1
  backend: {path: backend, permissions: deny, maxProcesses: 2, claudePath: claude-next}
`, "web app/v1.2_x", "backend")
	if len(c.Warnings) != 0 {
		t.Errorf("warnings: %q", c.Warnings)
	}
	dir := filepath.Dir(c.File)
	if len(c.Teams) != 2 || c.Teams[0].Name != "backend" || c.Teams[1].Name != "web" {
		t.Fatalf("teams are %+v", c.Teams)
	}
	b, w := c.Teams[0], c.Teams[1]
	if b.Path != filepath.Join(dir, "backend") || b.Permissions != iris.PermissionsDeny || b.MaxProcesses != 2 ||
		b.ClaudePath != "claude-next" || b.IdleTimeout != 5*time.Minute || b.TurnTimeout != 2*time.Hour || b.SilenceTimeout != 5*time.Minute {
		t.Errorf("backend is %+v", b)
	}
	if w.Path != filepath.Join(dir, "web app/v1.2_x") || w.Permissions != iris.PermissionsAsk || w.MaxProcesses != 4 ||
		w.ParallelTasks != 1 || w.Warm != 1 || w.ClaudePath != filepath.Join(dir, "bin/claude") || w.IdleTimeout != 90*time.Second ||
		w.Env["PORT"] != "8080" || !slices.Equal(w.AllowedTools, []string{"Read", "Bash(npm test:*)"}) || w.Color != "#61dafb" {
		t.Errorf("web is %+v", w)
	}
}

// The block as the design of the product prints it, without its comments: JSON is YAML.
func TestTheDesignsOwnBlockLoads(t *testing.T) {
	hash := fmt.Sprintf("%x", sha256.Sum256([]byte("iris_sk_abc123...")))
	c := load(t, `{
  "api": {
    "enabled": true,
    "port": 3100,
    "auth": {
      "type": "bearer",
      "keys": [
        {
          "name": "ci-cd-pipeline",
          "key": "iris_sk_abc123...",
          "scopes": ["teams:read", "teams:write"],
          "rateLimit": {
            "requests": 100,
            "window": "1m"
          }
        }
      ]
    }
  }
}
`)
	if len(c.Keys) != 1 || c.Keys[0].Name != "ci-cd-pipeline" || !slices.Equal(c.Keys[0].Scopes, []iris.Scope{"teams:read", "teams:write"}) || c.Keys[0].Hash != hash {
		t.Errorf("keys are %+v", c.Keys)
	}
	if k := c.API.Auth.Keys[0]; k.RateLimit != (config.RateLimit{Requests: 100, Window: time.Minute}) || k.Key != "" {
		t.Errorf("the key is %+v", k)
	}
}

func TestVariablesAreExpandedThenTyped(t *testing.T) {
	t.Setenv("IRIS_TEST_PORT", "4000")
	t.Setenv("IRIS_TEST_QUOTED", "4001")
	t.Setenv("IRIS_TEST_EMPTY", "")
	t.Setenv("IRIS_TEST_EVIL", "x\n  path: /etc\nport: 1")
	c := load(t, `
api:
  port: ${IRIS_TEST_PORT}
  enabled: "${IRIS_TEST_NOT_SET:-no}"
  host: ${IRIS_TEST_EMPTY}
  maxBodyBytes: ${IRIS_TEST_NOT_SET:-2MiB}
settings: {turnTimeout: "${IRIS_TEST_EMPTY:-90m}", maxProcesses: "${IRIS_TEST_EMPTY}"}
teams:
  a:
    path: ${IRIS_TEST_NOT_SET:-one}/$two-$$three-$${four}
    description: ${IRIS_TEST_EVIL}
`, "one/$two-$three-${four}")
	if c.API.Port != 4000 || c.API.Enabled || c.API.Host != "127.0.0.1" || c.API.MaxBodyBytes != 2<<20 {
		t.Errorf("api is %+v", c.API)
	}
	if c.Settings.TurnTimeout != 90*time.Minute || c.Settings.MaxProcesses != 10 {
		t.Errorf("settings are %+v", c.Settings)
	}
	if got := c.Teams[0]; len(c.Warnings) != 0 || !strings.HasSuffix(got.Path, "/one/$two-$three-${four}") || got.Description != os.Getenv("IRIS_TEST_EVIL") {
		t.Errorf("a is %+v; %q", got, c.Warnings)
	}
}

func TestAnchorsAndMergesServeSeveralTeams(t *testing.T) {
	c := load(t, `
teams:
  a: &base
    path: a
    model: opus
    idleTimeout: 1m
  b:
    <<: *base
    path: b
  c: {<<: [{model: sonnet}, *base], path: c}
`, "a", "b", "c")
	if b := c.Teams[1]; !strings.HasSuffix(b.Path, "/b") || b.Model != "opus" || b.IdleTimeout != time.Minute {
		t.Errorf("b is %+v", b)
	}
	if got := c.Teams[2]; got.Model != "sonnet" || got.IdleTimeout != time.Minute {
		t.Errorf("c is %+v", got)
	}
}

func TestPathsAreTakenAsTheUserWroteThem(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	if err := os.MkdirAll(filepath.Join(home, "proj"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := write(t, `
teams:
  abs: {path: `+home+`/proj}
  home: {path: "~"}
  homely: {path: ~/proj}
  link: {path: link}
  here: {path: .}
  gone: {path: gone/away}
`)
	if err := os.Symlink(filepath.Join(home, "proj"), filepath.Join(filepath.Dir(file), "link")); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(file)
	for name, want := range map[string]string{
		"abs": home + "/proj", "home": home, "homely": home + "/proj", "link": dir + "/link", "here": dir, "gone": dir + "/gone/away",
	} {
		if got, err := c.Team(name); err != nil || got.Path != want {
			t.Errorf("%s is at %s, want %s (%v)", name, got.Path, want, err)
		}
	}
	if want := file + ":8: teams.gone.path: there is no folder " + dir + "/gone/away"; !slices.Equal(c.Warnings, []string{want}) {
		t.Errorf("warnings are %q, want %q", c.Warnings, want)
	}
}

func TestKeysOfTheFile(t *testing.T) {
	t.Setenv("IRIS_TEST_KEY", "iris_sk_"+strings.Repeat("k", 43))
	c := load(t, `
api:
  session: standing
  auth:
    keys:
      - {name: from env, key: "${IRIS_TEST_KEY}", scopes: ["*"], session: fresh}
      - {name: hashed, keyHash: `+strings.Repeat("AB", 32)+`, scopes: [messages:*], teams: [nobody], expiresAt: 2020-01-02}
      - {name: short, key: iris_sk_12345678, scopes: [teams:read], expiresAt: 4102444800000}
      - {name: later, keyHash: `+strings.Repeat("cd", 32)+`, scopes: [teams:read], expiresAt: "2100-01-01T01:00:00+01:00"}
`)
	k := c.Keys
	if len(k) != 4 || k[0].Standing || !k[1].Standing || k[1].Hash != strings.Repeat("ab", 32) {
		t.Fatalf("keys are %+v", k)
	}
	if far := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC); !k[2].ExpiresAt.Equal(far) || !k[3].ExpiresAt.Equal(far) || !k[0].ExpiresAt.IsZero() {
		t.Errorf("expiry is %v, %v", k[2].ExpiresAt, k[3].ExpiresAt)
	}
	want := []string{
		`:7: api.auth.keys[1].teams[0]: there is no team "nobody"`,
		`:7: api.auth.keys[1].expiresAt: the key "hashed" expired 2020-01-02T00:00:00Z; it is refused`,
		`:8: api.auth.keys[2].key: the key stands here in plain text; give it as ${IRIS_VAR}, or its SHA-256 as keyHash`,
		`:8: api.auth.keys[2].key: the key is short, so it can be guessed; ` + "`iris-mcp api-key create` makes a good one",
	}
	for i, w := range c.Warnings {
		c.Warnings[i] = strings.TrimPrefix(w, c.File)
	}
	if !slices.Equal(c.Warnings, want) {
		t.Errorf("warnings are\n%s\nwant\n%s", strings.Join(c.Warnings, "\n"), strings.Join(want, "\n"))
	}
}

func TestVariablesOfSecretsAreWithheldFromTheAgents(t *testing.T) {
	t.Setenv("TEST_HALF", "iris_sk_"+strings.Repeat("h", 20))
	t.Setenv("TEST_REST", strings.Repeat("r", 43))
	t.Setenv("TEST_PLAIN", "plain")
	c := load(t, `
api:
  auth:
    type: jwt
    jwt: {secret: "${TEST_JWT:-`+strings.Repeat("j", 32)+`}", audience: "${TEST_PLAIN}"}
    keys: [{name: "${TEST_PLAIN}", key: "${TEST_HALF}${TEST_REST}", scopes: ["*"]}]
teams:
  a: {path: a, description: "${TEST_PLAIN}", env: {GIVEN: "${TEST_REST}"}}
  b: {path: a}
`, "a")
	for _, team := range c.Teams {
		if want := []string{"TEST_HALF", "TEST_JWT", "TEST_REST"}; !slices.Equal(team.Withheld, want) {
			t.Errorf("from team %s are withheld %q, want %q", team.Name, team.Withheld, want)
		}
	}
}

func TestTokens(t *testing.T) {
	secret := strings.Repeat("s", 32)
	for _, tt := range []struct{ name, auth, warning string }{
		{"a secret", "{type: jwt, jwt: {secret: " + secret + "}}", ""},
		{"keys for this Iris alone", "{type: jwt, jwt: {jwks: 'https://a.example/keys', audience: iris}}", ""},
		{"keys that others use too", "{type: jwt, jwt: {jwks: 'https://a.example/keys', issuer: a}}", "api.auth.jwt: has no audience, so a token that this issuer has made for another service is good here too"},
		{"what does not count", "{type: basic, jwt: {secret: " + secret + "}}", "api.auth.jwt: counts only with api.auth.type: jwt"},
	} {
		c := load(t, "api: {auth: "+tt.auth+"}\n")
		if got := strings.Join(c.Warnings, "\n"); got != "" && tt.warning == "" || !strings.HasSuffix(got, tt.warning) {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
	c := load(t, "api: {auth: {type: jwt, jwt: {jwks: keys.json, audience: iris}}}\n")
	if want := filepath.Join(filepath.Dir(c.File), "keys.json"); c.API.Auth.JWT.JWKS != want {
		t.Errorf("a file is %s, want %s", c.API.Auth.JWT.JWKS, want)
	}
}

func TestWhatIsNotActedUponIsSaid(t *testing.T) {
	c := load(t, `
api:
  tls: {cert: c.pem, key: k.pem}
  cors: {origins: ["https://a.example", "http://localhost:8080"]}
  trustedProxies: [10.0.0.0/8, 192.168.1.7]
  auth:
    type: jwt
    jwt: {secret: 0123456789abcdef0123456789abcdef, issuer: me}
    keys:
      - {name: a, keyHash: `+strings.Repeat("ab", 32)+`, scopes: ["*"], tier: premium}
settings: {maxDepth: 2}
teams: {a: {path: ., permissions: forward}}
queue: {keep: 7d}
webhooks: {retryDelays: [1s]}
`)
	said := []string{
		"settings.maxDepth",
	}
	for _, key := range said {
		if !slices.ContainsFunc(c.Warnings, func(w string) bool { return strings.Contains(w, ": "+key+": is read but not acted upon") }) {
			t.Errorf("nothing is said of %s", key)
		}
	}
	if len(c.Warnings) != len(said) {
		t.Errorf("%d warnings: %s", len(c.Warnings), strings.Join(c.Warnings, "\n"))
	}
	if p := c.API.TrustedProxies; len(p) != 2 || p[1].String() != "192.168.1.7/32" {
		t.Errorf("proxies are %v", p)
	}
	if dir := filepath.Dir(c.File); c.API.TLS.Cert != dir+"/c.pem" || c.API.TLS.Key != dir+"/k.pem" {
		t.Errorf("tls is %+v", c.API.TLS)
	}
	if c.Webhooks.Timeout != 15*time.Second || len(c.Webhooks.RetryDelays) != 1 {
		t.Errorf("webhooks are %+v", c.Webhooks)
	}
}

package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iris-mcp/iris-mcp/internal/config"
)

// problems loads a bad configuration and gives what is wrong with it, without the file's name.
func problems(t *testing.T, text string) []string {
	t.Helper()
	file := write(t, text)
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "a-file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(file)
	list, ok := errors.AsType[config.Problems](err)
	if !ok {
		t.Fatalf("Load gave %v, want Problems", err)
	}
	var all []string
	for _, p := range list {
		all = append(all, strings.ReplaceAll(strings.TrimPrefix(p.String(), file+":"), filepath.Dir(file), "DIR"))
	}
	return all
}

func TestEveryProblemIsSaidAtOnceWithItsPlace(t *testing.T) {
	got := problems(t, `api:
  prot: 3100
  port: 70000
  enabled: maybe
  maxBodyBytes: 1 megabyte
settings:
  idleTimeout: 10 minutes
  maxProcesses: none
  logLevel: warning
teams:
  b:
    path: .
    desciption: the b team
    permissions: [ask]
    idleTimeout: 0
  c: just-a-path
maxProcesses: 3
`)
	want := []string{
		`2:3: api.prot: unknown key; did you mean port?`,
		`3:9: api.port: must be from 0 to 65535, not 70000`,
		`4:12: api.enabled: must be true or false, not "maybe"`,
		`5:17: api.maxBodyBytes: must be a size (bytes, or a number with KiB, MiB, GiB, KB, MB or GB: 1MiB), not "1 megabyte"`,
		`7:16: settings.idleTimeout: must be a duration (milliseconds, or a number with ms, s, m, h or d: 90s), not "10 minutes"`,
		`8:17: settings.maxProcesses: must be a whole number, not "none"`,
		`9:13: settings.logLevel: must be debug, info, warn or error, not "warning"`,
		`13:5: teams.b.desciption: unknown key; did you mean description?`,
		`14:18: teams.b.permissions: must be ask, allow, deny or forward, not a list`,
		`15:18: teams.b.idleTimeout: must be more than 0; leave it out for the default`,
		`16:6: teams.c: must be a mapping, not a single value: a block of ` + "`key: value` lines",
		`17:1: maxProcesses: unknown key; maxProcesses belongs into the block settings`,
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

func TestASingleProblem(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	key := func(text string) string { return "api: {auth: {keys: [" + text + "]}}" }
	for _, tt := range []struct{ name, text, want string }{
		{"not YAML", "teams:\n  a: [\n", `3: not valid YAML: did not find expected node content`},
		{"not YAML in its first line", "a: b: c\n", `1: not valid YAML: mapping values are not allowed in this context`},
		{"an alias without its anchor", "teams: *nobody\n", ` not valid YAML: unknown anchor 'nobody' referenced`},
		{"a second document", "teams: {}\n---\nteams: {}\n", `2:1: a second document begins here (after ---); put everything into one`},
		{"a list at the top", "- a\n", `1:1: must be a mapping, not a list: a block of ` + "`key: value` lines"},
		{"an anchor that contains itself", "settings: &s\n  logLevel: *s\n", `1:11: settings.logLevel: must be debug, info, warn or error, not a mapping`},
		{"a merge of a mapping into itself", "teams:\n  a: &a\n    <<: *a\n    path: .\n    b: 1\n", `5:5: teams.a.b: unknown key; known are `},
		{"a merge of a single value", "teams:\n  a:\n    <<: x\n    path: .\n", `3:9: teams.a: << takes a mapping, not a single value`},
		{"a byte that is not UTF-8", "teams:\n  ä: \xff\n", `2:6: not valid YAML: not UTF-8 text`},
		{"a control character", "teams:\n# \x00\n", `2:3: not valid YAML: the control character U+0000`},
		{"a key given twice", "api:\n  port: 1\n  port: 2\n", `3:3: api.port: is there already, on line 2`},
		{"a team given twice", "teams:\n  a: {path: .}\n  a: {path: .}\n", `3:3: teams.a: is there already, on line 2`},
		{"a foreign tag", "api: {port: !!binary aGk=}\n", `1:13: api.port: the tag !!binary means nothing here; remove it`},
		{"a zero byte", `teams: {a: {path: ., model: "a\0b"}}`, `1:29: teams.a.model: must not contain a zero byte`},

		{"a variable that is not set", "api:\n  port: ${IRIS_TEST_NOT_SET}\n", `2:9: api.port: the environment variable IRIS_TEST_NOT_SET is not set; set it, or give a default: ${IRIS_TEST_NOT_SET:-default}`},
		{"a broken variable", "api: {host: \"${1X}\"}\n", `1:13: api.host: ${ is not followed by NAME} or NAME:-default}; write $${ for the two characters themselves`},
		{"a variable that gives nonsense stays secret", "api:\n  port: ${IRIS_TEST_SECRET}\n", `2:9: api.port: must be a whole number; what the variable gives is not`},

		{"no host", "api: {host: \"\"}\n", `1:13: api.host: is empty, which would mean every network; write 127.0.0.1, or 0.0.0.0 if that is meant`},
		{"a host that is only a port", "api: {host: \":3100\"}\n", `1:13: api.host: ":3100" is no address: the port goes into api.port`},
		{"a host that is a star", "api: {host: \"*\"}\n", `1:13: api.host: "*" is neither an address nor a host name`},
		{"half of TLS", "api: {tls: {cert: a.pem}}\n", `1:19: api.tls.cert: needs api.tls.key beside it`},
		{"an origin with a path", "api: {cors: {origins: [\"https://a/b\"]}}\n", `1:24: api.cors.origins[0]: "https://a/b" is no origin`},
		{"a proxy that is no address", "api: {trustedProxies: [proxy.local]}\n", `1:24: api.trustedProxies[0]: must be an address or a range of them (10.0.0.0/8), not "proxy.local"`},
		{"jwks over http", "api: {auth: {type: jwt, jwt: {jwks: 'http://a.example/keys'}}}\n", `1:37: api.auth.jwt.jwks: "http://a.example/keys" must be an https address or a file`},
		{"jwks with a password", "api: {auth: {type: jwt, jwt: {jwks: 'https://me:pass@a.example/keys'}}}\n", `1:37: api.auth.jwt.jwks: must be an https address, without a name or a password in it`},
		{"jwks of nobody", "api: {auth: {type: jwt, jwt: {jwks: 'https:///keys'}}}\n", `1:37: api.auth.jwt.jwks: must be an https address, without a name or a password in it`},
		{"a limit beyond all reason", "api: {auth: {keys: [{name: a, key: iris_sk_12345678, scopes: ['*'], rateLimit: {requests: 1000001, window: 1m}}]}}\n", `1:69: api.auth.keys[0].rateLimit: must allow from 1 to 1000000 requests; the tier enterprise is without a limit`},
		{"a window beyond a day", "api: {auth: {keys: [{name: a, key: iris_sk_12345678, scopes: ['*'], rateLimit: {requests: 1, window: 25h}}]}}\n", `1:69: api.auth.keys[0].rateLimit: must have a window of 1ms to 24h`},
		{"jwt without a secret", "api: {auth: {type: jwt}}\n", `1:20: api.auth.type: jwt needs api.auth.jwt.secret or api.auth.jwt.jwks`},
		{"a mistyped word", "api: {session: standng}\n", `1:16: api.session: must be fresh or standing, not "standng"; did you mean "standing"?`},
		{"a queue elsewhere", "queue: {backend: redis}\n", `1:18: queue.backend: must be embedded, not "redis"`},
		{"a webhook secret of its own kind", "webhooks: {secret: hello}\n", `1:20: webhooks.secret: must be whsec_ and the base64 of 24 to 64 random bytes; leave it out and Iris makes one`},
		{"too long a time", "settings: {turnTimeout: 999999d}\n", `1:25: settings.turnTimeout: 999999d is too much`},

		{"a team without a path", "teams:\n  a:\n", `2:3: teams.a.path: is missing: the team's project folder`},
		{"a path that is null", "teams: {a: {path: ~}}\n", `1:19: teams.a.path: a lone ~ is nothing in YAML; put it into quotes, or write ~/`},
		{"a path of another user", "teams: {a: {path: ~root/x}}\n", `1:19: teams.a.path: "~root/x": only ~ and ~/… are known; write the path in full, or ./~root/x for a folder of that name`},
		{"a path that is a file", "teams: {a: {path: a-file}}\n", `1:19: teams.a.path: DIR/a-file is a file; a team is a folder`},
		{"a name that is a path", "teams: {../a: {path: .}}\n", `1:9: teams.../a: "../a" cannot name a team: letters, digits, dots, dashes and underscores, at most 64, the first a letter or digit`},
		{"a color that is code", "teams: {a: {path: ., color: \"red;}\"}}\n", `1:29: teams.a.color: "red;}" is no color: write a name, or "#1e90ff" in quotes`},
		{"an odd environment name", "teams: {a: {path: ., env: {A-B: 1}}}\n", `1:33: teams.a.env.A-B: "A-B" cannot name an environment variable: letters, digits and underscores`},
		{"more spares than processes", "teams: {a: {path: ., warm: 5}}\n", `1:28: teams.a.warm: is 5, but the team may have no more than 4 processes (maxProcesses)`},
		{"tools as text", "teams: {a: {path: ., allowedTools: Read}}\n", `1:36: teams.a.allowedTools: must be a list, not a single value: [a, b]`},
		{"a tool that is an option", "teams: {a: {path: ., allowedTools: [Read, --mcp-config]}}\n", `1:43: teams.a.allowedTools[1]: "--mcp-config" is no tool: it begins with a dash, as options of Claude Code do`},
		{"a tool that is an option behind a blank", "teams: {a: {path: ., disallowedTools: [\" -p\"]}}\n", `1:40: teams.a.disallowedTools[0]: " -p" is no tool`},
		{"a blank tool", "teams: {a: {path: ., allowedTools: [\" \"]}}\n", `1:37: teams.a.allowedTools[0]: is blank; name a tool`},
		{"a model that is an option", "teams: {a: {path: ., model: -p}}\n", `1:29: teams.a.model: "-p" is no model: it begins with a dash`},
		{"a key of the TypeScript Iris", "teams: {a: {path: ., grantPermission: yes}}\n", `1:22: teams.a.grantPermission: unknown key; it is now permissions: ask, allow, deny or forward`},

		{"a key without a prefix", key("{name: a, key: hunter2hunter2, scopes: ['*']}"), `1:36: api.auth.keys[0].key: must be iris_sk_ and at least 8 more characters`},
		{"a key that is too short", key("{name: a, key: iris_sk_1234567, scopes: ['*']}"), `1:36: api.auth.keys[0].key: must be iris_sk_ and at least 8 more characters`},
		{"a key without a key", key("{name: a, scopes: ['*']}"), `1:21: api.auth.keys[0]: needs key or keyHash; ` + "`iris-mcp api-key create` makes a key that needs no place here"},
		{"a key and a hash", key("{name: a, key: iris_sk_12345678, keyHash: " + hash + ", scopes: ['*']}"), `1:21: api.auth.keys[0]: takes key or keyHash, not both`},
		{"a hash that is none", key("{name: a, keyHash: abc, scopes: ['*']}"), `1:40: api.auth.keys[0].keyHash: must be the SHA-256 of the key: 64 hexadecimal digits`},
		{"a key without a name", key("{keyHash: " + hash + ", scopes: ['*']}"), `1:21: api.auth.keys[0].name: is missing`},
		{"a key without scopes", key("{name: a, keyHash: " + hash + "}"), `1:21: api.auth.keys[0].scopes: is missing; without a scope a key can do nothing. ` + "`[\"*\"]` is everything"},
		{"a mistyped scope", key("{name: a, keyHash: " + hash + ", scopes: [teams:raed]}"), `1:115: api.auth.keys[0].scopes[0]: "teams:raed" is no scope; did you mean "teams:read"?`},
		{"an expiry in seconds", key("{name: a, keyHash: " + hash + ", scopes: ['*'], expiresAt: 1767225600}"), `1:132: api.auth.keys[0].expiresAt: 1767225600 is a moment in the early 1970s; milliseconds since 1970 are wanted, not seconds`},
		{"a limit and a tier", key("{name: a, keyHash: " + hash + ", scopes: ['*'], tier: premium, rateLimit: {requests: 1, window: 1s}}"), `1:21: api.auth.keys[0]: takes rateLimit or tier, not both`},
		{"half a limit", key("{name: a, keyHash: " + hash + ", scopes: ['*'], rateLimit: {requests: 1}}"), `1:121: api.auth.keys[0].rateLimit: needs both requests and window`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("IRIS_TEST_SECRET", "hunter2")
			got := problems(t, tt.text)
			if len(got) != 1 || !strings.HasPrefix(got[0], tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), tt.want)
			}
		})
	}
}

func TestTwoKeysAreNeverOne(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	got := problems(t, fmt.Sprintf("api:\n  auth:\n    keys:\n    - {name: a, keyHash: %s, scopes: ['*']}\n    - {name: a, keyHash: %s, scopes: ['*']}\n", hash, hash))
	want := "5:7: api.auth.keys[1]: is the same key as keys[0]\n" + `5:14: api.auth.keys[1].name: "a" is the name of keys[0] already`
	if g := strings.Join(got, "\n"); g != want {
		t.Errorf("got\n%s\nwant\n%s", g, want)
	}
}

func TestNoMessageShowsASecret(t *testing.T) {
	const secret = "hunter2hunter2"
	for _, text := range []string{
		"api: {auth: {keys: [{name: a, key: " + secret + ", scopes: ['*']}]}}",
		"api: {auth: {keys: " + secret + "}}",
		"api: {auth: {jwt: {secret: " + secret + "}}}",
		"webhooks: {secret: " + secret + "}",
	} {
		if got := strings.Join(problems(t, text), "\n"); strings.Contains(got, secret) {
			t.Errorf("%s\nis answered by\n%s", text, got)
		}
	}
	c := load(t, "api: {auth: {jwt: {secret: "+strings.Repeat(secret, 3)+"}, keys: [{name: a, key: iris_sk_"+secret+", scopes: ['*']}]}}")
	all := new(strings.Builder)
	fmt.Fprintf(all, "%v %+v %#v %q\n", c.API, c.API, c.API, c.Warnings)
	slog.New(slog.NewTextHandler(all, nil)).Info("api", "api", c.API, "secret", c.API.Auth.JWT.Secret)
	if err := json.NewEncoder(all).Encode(c); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(all.String(), secret) || strings.Count(all.String(), "[secret]") != 6 {
		t.Errorf("the configuration is shown as %s", all)
	}
}

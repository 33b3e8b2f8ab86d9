package auth_test

import (
	"path/filepath"
	"strings"
	"testing"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/auth"
)

// FuzzCaller: whatever somebody shows, he is refused, in words that repeat nothing of it;
// unless it is the one good key.
func FuzzCaller(f *testing.F) {
	const key = "iris_sk_the-only-good-one"
	good := hs256(f, nil)
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	for _, s := range []string{
		"", key, "Basic a:" + key, "Basic a:", "Basic :", "..", "a.b.c", good, good[:len(good)-1], head + "." + payload + ".", head + ".." + signature,
		b64([]byte(`{"alg":"none"}`)) + "." + payload + ".", b64([]byte(`{"alg":"HS256","kid":{}}`)) + "." + payload + "." + signature,
		b64([]byte(`{"alg":"ES256","kid":"es256"}`)) + "." + payload + "." + b64(make([]byte, 64)),
		b64([]byte(`{"alg":"RS256","kid":"es256"}`)) + "." + b64([]byte(`{"exp":1e999}`)) + "." + signature, "iris_sk_a.b.c", "\xff.\xff.\xff",
	} {
		f.Add(s)
	}
	config := func(jwt auth.JWT) *auth.Auth {
		return tokens(jwt, func(c *auth.Config) {
			c.Keys = func() []iris.Key { return []iris.Key{{Name: "a", Hash: auth.Hash(key)}} }
			c.Basic = func() bool { return true }
		})
	}
	file := filepath.Join("testdata", "keys.json")
	all := map[string]*auth.Auth{"a secret": config(auth.JWT{Secret: "another secret, of 32 characters"}), "keys": config(auth.JWT{JWKS: file}), "no keys": config(auth.JWT{JWKS: "/nonexistent"})}
	f.Fuzz(func(t *testing.T, credential string) {
		for name, a := range all {
			who, err := a.Caller(t.Context(), credential)
			switch {
			case credential == key || credential == "Basic a:"+key:
				if err != nil || who.Name != "a" {
					t.Errorf("%s: the good one: %+v, %v", name, who, err)
				}
			case err == nil || who.Kind != "" || iris.CodeOf(err) != iris.CodeUnauthorized:
				t.Errorf("%s: %q is %+v, %v", name, credential, who, err)
			case len(err.Error()) > 600:
				t.Errorf("%s: %q is answered %d bytes", name, credential, len(err.Error()))
			}
		}
	})
}

package auth_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/auth"
)

const secret = "0123456789abcdef0123456789abcdef"

// say is what a token says; what is not given is good.
type say map[string]any

func (s say) claims() jwt.MapClaims {
	c := jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "iss": "https://id.example", "aud": "iris", "scope": "teams:read"}
	for k, v := range s {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

// sign makes a token.
func sign(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, s say) string {
	t.Helper()
	token := jwt.NewWithClaims(method, s.claims())
	for k, v := range header {
		token.Header[k] = v
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func hs256(t testing.TB, s say) string {
	return sign(t, jwt.SigningMethodHS256, []byte(secret), nil, s)
}

// tokens is an Auth that takes tokens.
func tokens(c auth.JWT, more ...func(*auth.Config)) *auth.Auth {
	cfg := auth.Config{
		Store: shelf{}, Keys: func() []iris.Key { return nil }, Standing: func() bool { return false },
		JWT: func() (auth.JWT, bool) { return c, true },
	}
	for _, change := range more {
		change(&cfg)
	}
	return auth.New(cfg)
}

func TestTokens(t *testing.T) {
	now := time.Now()
	in := func(d time.Duration) int64 { return now.Add(d).Unix() }
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	const malformed = "Invalid token: it is malformed, or not signed by whom this Iris trusts"
	const unwanted = "Invalid token: it is signed well, and one of exp, nbf, iss and aud is not as this Iris wants it"
	const expired = "Token expired: get a new one from where this one came from"
	const nameless = "Invalid token: its sub must be a readable text of at most 256 bytes"
	good := hs256(t, nil)
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	b64 := base64.RawURLEncoding.EncodeToString
	unsigned, _ := jwt.NewWithClaims(jwt.SigningMethodNone, say{}.claims()).SignedString(jwt.UnsafeAllowNoneSignatureType)
	for _, tt := range []struct {
		name, token string
		scopes      []iris.Scope
		refusal     string
	}{
		{"a good one", good, []iris.Scope{"teams:read"}, ""},
		{"scopes as a list", hs256(t, say{"scope": nil, "scopes": []string{"teams:read", "messages:*"}}), []iris.Scope{"teams:read", "messages:*"}, ""},
		{"scopes of both, for others too, some twice", hs256(t, say{"scope": "openid  teams:read teams:reed", "scopes": []string{"teams:read", "*", "root"}}), []iris.Scope{"teams:read", "*"}, ""},
		{"a scope as a list", hs256(t, say{"scope": []string{"teams:read"}}), []iris.Scope{"teams:read"}, ""},
		{"no scope", hs256(t, say{"scope": nil}), nil, ""},
		{"null scopes", hs256(t, say{"scopes": json.RawMessage("null")}), []iris.Scope{"teams:read"}, ""},
		{"several audiences", hs256(t, say{"aud": []string{"a", "iris"}}), []iris.Scope{"teams:read"}, ""},
		{"a clock that goes a little wrong", hs256(t, say{"nbf": in(5 * time.Second), "iat": in(5 * time.Second)}), []iris.Scope{"teams:read"}, ""},

		{"expired", hs256(t, say{"exp": in(-time.Minute)}), nil, expired},
		{"expired, and for others", hs256(t, say{"exp": in(-time.Minute), "aud": "x"}), nil, expired},
		{"without an end", hs256(t, say{"exp": nil}), nil, unwanted},
		{"not yet", hs256(t, say{"nbf": in(time.Minute)}), nil, unwanted},
		{"for others", hs256(t, say{"aud": "other"}), nil, unwanted},
		{"for nobody", hs256(t, say{"aud": nil}), nil, unwanted},
		{"of another issuer", hs256(t, say{"iss": "https://id.example.evil"}), nil, unwanted},
		{"of no issuer", hs256(t, say{"iss": nil}), nil, unwanted},
		{"of nobody", hs256(t, say{"sub": nil}), nil, nameless},
		{"of a strange name", hs256(t, say{"sub": "a\nb"}), nil, nameless},
		{"of a long name", hs256(t, say{"sub": strings.Repeat("x", 257)}), nil, nameless},
		{"of a number", hs256(t, say{"sub": 7}), nil, malformed},
		{"scopes that are none", hs256(t, say{"scope": 7}), nil, malformed},

		{"signed with another secret", sign(t, jwt.SigningMethodHS256, []byte("x"+secret), nil, nil), nil, malformed},
		{"signed with another secret, and expired", sign(t, jwt.SigningMethodHS256, []byte("x"+secret), nil, say{"exp": in(-time.Minute)}), nil, malformed},
		{"another algorithm with the secret", sign(t, jwt.SigningMethodHS512, []byte(secret), nil, nil), nil, malformed},
		{"an algorithm with keys", sign(t, jwt.SigningMethodRS256, rsaKey, nil, nil), nil, malformed},
		{"alg none", unsigned, nil, malformed},
		{"alg None", b64([]byte(`{"alg":"None","typ":"JWT"}`)) + "." + payload + ".", nil, malformed},
		{"no signature", head + "." + payload + ".", nil, malformed},
		{"another payload", head + "." + b64([]byte(`{"sub":"root","exp":9999999999,"iss":"https://id.example","aud":"iris","scope":"*"}`)) + "." + signature, nil, malformed},
		{"a header that must be understood", sign(t, jwt.SigningMethodHS256, []byte(secret), map[string]any{"crit": []string{"b64"}, "b64": false}, nil), nil, malformed},
		{"not base64", "a.b.c", nil, malformed},
		{"dots", "..", nil, malformed},
		{"padding", good + "=", nil, malformed},
		{"long", good + strings.Repeat("x", 8<<10), nil, "Invalid token: it is longer than 8 KiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := tokens(auth.JWT{Secret: secret, Issuer: "https://id.example", Audience: "iris"})
			got, err := a.Caller(t.Context(), tt.token)
			if tt.refusal == "" {
				if err != nil || !got.Is(iris.Caller{Kind: iris.CallerJWT, Name: "ann"}) || !slices.Equal(got.Scopes, tt.scopes) || got.Limit != iris.TierStandard.Limit() || got.From() != "api" {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			e, ok := errors.AsType[*iris.Error](err)
			if !ok || e.Code != iris.CodeUnauthorized || e.Message != tt.refusal || e.Details != nil || got.Name != "" {
				t.Errorf("got %+v, %v, want %q", got, err, tt.refusal)
			}
			if strings.Contains(err.Error(), signature) || strings.Contains(err.Error(), secret) || len(err.Error()) > 500 {
				t.Errorf("the error shows too much: %v", err)
			}
		})
	}
}

// TestTokensFollowTheConfiguration: the kind of credentials may be changed at any time, and
// API keys are good with each.
func TestTokensFollowTheConfiguration(t *testing.T) {
	key, hash := auth.NewKey()
	var now auth.JWT
	on := false
	a := tokens(now, func(c *auth.Config) {
		c.JWT = func() (auth.JWT, bool) { return now, on }
		c.Keys = func() []iris.Key { return []iris.Key{{Name: "ann", Hash: hash}} }
		c.Standing = func() bool { return true }
	})
	holder := func() iris.CallerKind {
		who, err := a.Caller(t.Context(), hs256(t, nil))
		if err != nil && iris.CodeOf(err) != iris.CodeUnauthorized {
			t.Error(err)
		}
		if err == nil && !who.Standing {
			t.Error("not standing")
		}
		return who.Kind
	}
	for _, step := range []struct {
		jwt  auth.JWT
		on   bool
		want iris.CallerKind
	}{
		{auth.JWT{Secret: secret}, false, ""},
		{auth.JWT{Secret: secret}, true, iris.CallerJWT},
		{auth.JWT{Secret: secret, Audience: "other"}, true, ""},
		{auth.JWT{Secret: "x" + secret}, true, ""},
		{auth.JWT{Secret: secret, Audience: "iris"}, true, iris.CallerJWT},
	} {
		now, on = step.jwt, step.on
		if got := holder(); got != step.want {
			t.Errorf("with %+v (%v) it is of %q, want %q", step.jwt, step.on, got, step.want)
		}
		if who, err := a.Caller(t.Context(), key); err != nil || who.Kind != iris.CallerKey {
			t.Errorf("a key with %+v: %+v, %v", step.jwt, who, err)
		}
	}
}

func TestATokenExpiresWhileItIsInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := tokens(auth.JWT{Secret: secret})
		token := hs256(t, say{"exp": time.Now().Add(time.Minute).Unix()})
		if _, err := a.Caller(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute + 11*time.Second)
		if _, err := a.Caller(t.Context(), token); iris.CodeOf(err) != iris.CodeUnauthorized {
			t.Errorf("after its time: %v", err)
		}
	})
}

func TestBasic(t *testing.T) {
	key, hash := auth.NewKey()
	stored, storedHash := auth.NewKey()
	local, localHash := auth.NewKey()
	on := true
	a := auth.New(auth.Config{
		Store: shelf{keys: []iris.Key{{Name: "bob:x", Hash: storedHash}}}, LocalHash: localHash, Standing: func() bool { return false },
		Keys:  func() []iris.Key { return []iris.Key{{Name: "ann", Hash: hash}} },
		Basic: func() bool { return on },
	})
	for _, tt := range []struct {
		credential string
		off        bool
		want       iris.CallerKind
	}{
		{"Basic ann:" + key, false, iris.CallerKey},
		{"Basic :" + local, false, iris.CallerLocal},
		{"Basic me:" + local, false, iris.CallerLocal},
		{key, false, iris.CallerKey},
		{key, true, iris.CallerKey},
		{"Basic ann:" + key, true, ""},
		{"Basic bob:" + key, false, ""},
		{"Basic Ann:" + key, false, ""},
		{"Basic :" + key, false, ""},
		{"Basic " + key, false, ""},
		{"Basic ann:", false, ""},
		{"Basic ann", false, ""},
		{"Basic ", false, ""},
		{"Basic ann:Basic ann:" + key, false, ""},
		{"Basic ann:" + stored, false, ""},
		{"Basic bob:x:" + stored, false, ""}, // no key has such a name
		{"Basic ann:" + hs256(t, nil), false, ""},
		{"ann:" + key, false, ""},
	} {
		on = !tt.off
		who, err := a.Caller(t.Context(), tt.credential)
		if who.Kind != tt.want || (err == nil) != (tt.want != "") || err != nil && iris.CodeOf(err) != iris.CodeUnauthorized {
			t.Errorf("%.12s… (off: %v) is %+v, %v", tt.credential, tt.off, who, err)
		}
		if err != nil && strings.Contains(err.Error(), "iris_sk_") && !strings.Contains(err.Error(), "iris_sk_…") {
			t.Errorf("a key in %v", err)
		}
	}
}

// signer is a key with what a JWKS says of it.
type signer struct {
	method jwt.SigningMethod
	key    crypto.Signer
	jwk    map[string]any
}

var b64 = base64.RawURLEncoding.EncodeToString

// signers has one of each kind, by kid. It is made once: RSA takes its time.
var signers = sync.OnceValue(func() map[string]signer {
	r, _ := rsa.GenerateKey(rand.Reader, 2048)
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	ec := func(k *ecdsa.PrivateKey, crv string) map[string]any {
		point, _ := k.PublicKey.Bytes()
		half := (len(point) - 1) / 2
		return map[string]any{"kty": "EC", "crv": crv, "x": b64(point[1 : 1+half]), "y": b64(point[1+half:])}
	}
	rsaJWK := func() map[string]any {
		return map[string]any{"kty": "RSA", "n": b64(r.N.Bytes()), "e": "AQAB"}
	}
	all := map[string]signer{
		"rs256": {jwt.SigningMethodRS256, r, rsaJWK()},
		"ps256": {jwt.SigningMethodPS256, r, rsaJWK()},
		"es256": {jwt.SigningMethodES256, p256, ec(p256, "P-256")},
		"es384": {jwt.SigningMethodES384, p384, ec(p384, "P-384")},
		"eddsa": {jwt.SigningMethodEdDSA, ed, map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(ed.Public().(ed25519.PublicKey))}},
	}
	for kid, s := range all {
		s.jwk["kid"] = kid
	}
	return all
})

// set is the JWKS of the keys with these kids, and whatever else is put in.
func set(more []any, kids ...string) string {
	keys := slices.Clone(more)
	for _, kid := range kids {
		keys = append(keys, signers()[kid].jwk)
	}
	text, _ := json.Marshal(map[string]any{"keys": keys})
	return string(text)
}

func (s signer) token(t *testing.T, kid string, say say) string {
	header := map[string]any{}
	if kid != "" {
		header["kid"] = kid
	}
	return sign(t, s.method, s.key, header, say)
}

func TestTokensOfKeys(t *testing.T) {
	all := signers()
	kids := []string{"rs256", "ps256", "es256", "es384", "eddsa"}
	file := write(t, "keys.json", set([]any{map[string]any{"kty": "oct", "kid": "oct", "k": b64([]byte(secret))}}, kids...))
	a := tokens(auth.JWT{JWKS: file})
	good := func(what, token string, want bool) {
		t.Helper()
		who, err := a.Caller(t.Context(), token)
		if (err == nil) != want || want && !who.Is(iris.Caller{Kind: iris.CallerJWT, Name: "ann"}) || err != nil && iris.CodeOf(err) != iris.CodeUnauthorized {
			t.Errorf("%s: %+v, %v", what, who, err)
		}
	}
	for _, kid := range kids {
		good(kid, all[kid].token(t, kid, nil), true)
		good(kid+" without its kid", all[kid].token(t, "", nil), true)
		good(kid+" that has expired", all[kid].token(t, kid, say{"exp": 1}), false)
		for _, other := range kids {
			if same := all[kid].jwk["n"] != nil && all[other].jwk["n"] != nil; other != kid && !same {
				good(kid+" with the kid of "+other, all[kid].token(t, other, nil), false)
			}
		}
	}
	good("an RSA key with another hash", sign(t, jwt.SigningMethodRS512, all["rs256"].key, map[string]any{"kid": "rs256"}, nil), false)

	// The classic: the public key, which everybody has, as the secret of an HMAC.
	pub := all["rs256"].key.Public().(*rsa.PublicKey)
	for _, known := range [][]byte{pub.N.Bytes(), []byte(set(nil, "rs256")), []byte(secret)} {
		good("an HMAC with what is known", sign(t, jwt.SigningMethodHS256, known, map[string]any{"kid": "rs256"}, nil), false)
		good("an HMAC with a key of the set", sign(t, jwt.SigningMethodHS256, known, map[string]any{"kid": "oct"}, nil), false)
	}
	unsigned, _ := jwt.NewWithClaims(jwt.SigningMethodNone, say{}.claims()).SignedString(jwt.UnsafeAllowNoneSignatureType)
	good("alg none", unsigned, false)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	good("another key with a known kid", sign(t, jwt.SigningMethodES256, other, map[string]any{"kid": "es256"}, nil), false)
	good("a key that the token brings along", sign(t, jwt.SigningMethodES256, other, map[string]any{"jwk": all["es256"].jwk, "jku": "https://evil.example"}, nil), false)
}

// TestKeysThatAreNotUsed: a set may have keys that are for others, or no good.
func TestKeysThatAreNotUsed(t *testing.T) {
	change := func(kid string, with map[string]any) any {
		k := map[string]any{}
		for name, v := range signers()[kid].jwk {
			k[name] = v
		}
		for name, v := range with {
			k[name] = v
		}
		return k
	}
	for _, tt := range []struct {
		name, kid string
		with      map[string]any
		good      bool
	}{
		{"for signatures", "es256", map[string]any{"use": "sig", "key_ops": []string{"verify"}, "alg": "ES256", "x5c": []string{"…"}}, true},
		{"for encryption", "es256", map[string]any{"use": "enc"}, false},
		{"for signing only", "es256", map[string]any{"key_ops": []string{"sign"}}, false},
		{"for another algorithm", "es256", map[string]any{"alg": "ES384"}, false},
		{"an RSA key for one algorithm only", "rs256", map[string]any{"alg": "PS256"}, false},
		{"an RSA key for encryption", "rs256", map[string]any{"alg": "RSA-OAEP"}, false},
		{"a short RSA key", "rs256", map[string]any{"n": b64(new(big.Int).SetBit(big.NewInt(1), 1023, 1).Bytes())}, false},
		{"a huge RSA key", "rs256", map[string]any{"n": b64(new(big.Int).SetBit(big.NewInt(1), 8192, 1).Bytes())}, false},
		{"an RSA exponent of 1", "rs256", map[string]any{"e": "AQ"}, false},
		{"an even RSA exponent", "rs256", map[string]any{"e": b64([]byte{4})}, false},
		{"a huge RSA exponent", "rs256", map[string]any{"e": b64(bytes.Repeat([]byte{1}, 9))}, false},
		{"no RSA number", "rs256", map[string]any{"n": "!"}, false},
		{"no RSA exponent", "rs256", map[string]any{"e": ""}, false},
		{"not on its curve", "es256", map[string]any{"x": b64([]byte{1})}, false},
		{"too far out", "es256", map[string]any{"x": b64(bytes.Repeat([]byte{255}, 40))}, false},
		{"on another curve", "es256", map[string]any{"crv": "P-384"}, false},
		{"on an unknown curve", "es256", map[string]any{"crv": "secp256k1"}, false},
		{"half an Ed25519 key", "eddsa", map[string]any{"x": b64(make([]byte, 16))}, false},
		{"an X25519 key", "eddsa", map[string]any{"crv": "X25519"}, false},
		{"of an unknown kind", "es256", map[string]any{"kty": "AKP"}, false},
		{"no object", "es256", map[string]any{"kty": 7}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The good key of another kind keeps the set from being useless.
			spare := "es384"
			a := tokens(auth.JWT{JWKS: write(t, "keys.json", set([]any{change(tt.kid, tt.with)}, spare))})
			for _, kid := range []string{tt.kid, ""} {
				if _, err := a.Caller(t.Context(), signers()[tt.kid].token(t, kid, nil)); (err == nil) != tt.good {
					t.Errorf("%q: %v", kid, err)
				}
			}
			if _, err := a.Caller(t.Context(), signers()[spare].token(t, spare, nil)); err != nil {
				t.Errorf("the other key: %v", err)
			}
		})
	}
}

// logged is an Auth's log.
func logged(to *bytes.Buffer) func(*auth.Config) {
	return func(c *auth.Config) { c.Log = slog.New(slog.NewTextHandler(to, nil)) }
}

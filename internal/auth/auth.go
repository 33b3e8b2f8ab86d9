// Package auth makes callers of credentials: API keys of the store and of the configuration,
// the local key, which is the person whose machine this is, and tokens of an issuer that the
// configuration trusts. Only hashes of keys are kept and compared; whoever has no good key
// learns nothing about the keys there are.
package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// KeyStore is where keys live that were made with a command or over the API.
type KeyStore interface {
	// KeyByHash finds a key by its hash, revoked and expired ones too.
	KeyByHash(ctx context.Context, hash string) (iris.Key, bool, error)
}

// Config is what an Auth knows keys from.
type Config struct {
	Store KeyStore
	// Keys is the configuration's keys now; it may be called at once.
	Keys func() []iris.Key
	// Standing reports whether keys of the store share one session per team now
	// (api.session); those of the configuration say it themselves. It may be called at once.
	Standing func() bool
	// LocalHash is the hash of the local key.
	LocalHash string
	// Basic reports whether keys may be shown as passwords now, and JWT says which tokens are
	// good now, if any are. Both may be called at once; nil is no.
	Basic func() bool
	JWT   func() (JWT, bool)

	Transport http.RoundTripper // gets JWKS; nil is http.DefaultTransport
	Log       *slog.Logger      // of JWKS that cannot be had; nil is none
}

// Auth tells who a caller is. Its methods may be called at once.
type Auth struct {
	c      Config
	client *http.Client // of JWKS

	mu  sync.Mutex
	set *keySet // of the JWKS that was last configured
}

// New makes an Auth.
func New(c Config) *Auth {
	if c.Basic == nil {
		c.Basic = func() bool { return false }
	}
	if c.JWT == nil {
		c.JWT = func() (JWT, bool) { return JWT{}, false }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Auth{c: c, client: newSetClient(cmp.Or(c.Transport, http.DefaultTransport))}
}

// The three things that are said to who has no good key, in the words of the API's design up
// to the colon. An unknown key and a revoked one are answered alike.
const (
	sayMissing = "Missing or invalid Authorization header: send an API key as `Authorization: Bearer iris_sk_…` or as `X-Api-Key`"
	sayInvalid = "Invalid API key: ask whoever runs this Iris for one; `iris-mcp api-key create` makes it"
	sayExpired = "API key expired: ask whoever runs this Iris for a new one; `iris-mcp api-key create` makes it"
)

// maxCredential is longer than any key; what is longer is not worth hashing.
const maxCredential = 1024

// Caller is who the credential belongs to: the key or the token alone, without "Bearer", or a
// name and a key behind iris.BasicPrefix. UNAUTHORIZED for one that is missing, unknown, revoked or
// expired, or of a kind that is not taken; an error of the store is no refusal and comes back
// as it is.
func (a *Auth) Caller(ctx context.Context, credential string) (iris.Caller, error) {
	name, basic := "", false
	if rest, ok := strings.CutPrefix(credential, iris.BasicPrefix); ok {
		if !a.c.Basic() {
			return iris.Caller{}, iris.Errorf(iris.CodeUnauthorized, sayMissing)
		}
		basic = true
		name, credential, _ = strings.Cut(rest, ":") // no name of a key has a colon
	}
	if credential == "" {
		return iris.Caller{}, iris.Errorf(iris.CodeUnauthorized, sayMissing)
	}
	if looksLikeToken(credential) && !basic {
		if jwt, ok := a.c.JWT(); ok {
			return a.token(ctx, jwt, credential)
		}
	}
	caller, err := a.key(ctx, credential)
	if err == nil && basic && !same(Hash(name), Hash(caller.Name)) && caller.Kind != iris.CallerLocal {
		return iris.Caller{}, iris.Errorf(iris.CodeUnauthorized, sayInvalid)
	}
	return caller, err
}

// key is who the key belongs to.
func (a *Auth) key(ctx context.Context, credential string) (iris.Caller, error) {
	if len(credential) > maxCredential {
		return iris.Caller{}, iris.Errorf(iris.CodeUnauthorized, sayInvalid)
	}
	hash := Hash(credential)
	if same(hash, a.c.LocalHash) {
		return iris.Caller{Kind: iris.CallerLocal}, nil
	}
	key, found := iris.Key{}, false
	for _, k := range a.c.Keys() { // to the end, whichever it is
		if same(hash, k.Hash) {
			key, found = k, true
		}
	}
	if !found {
		var err error
		if key, found, err = a.c.Store.KeyByHash(ctx, hash); err != nil {
			return iris.Caller{}, fmt.Errorf("look up an API key: %w", err)
		}
		found = found && same(hash, key.Hash)
		key.Standing = key.Standing || a.c.Standing()
	}
	switch {
	case !found || !key.RevokedAt.IsZero():
		return iris.Caller{}, iris.Errorf(iris.CodeUnauthorized, sayInvalid)
	case !key.ExpiresAt.IsZero() && !time.Now().Before(key.ExpiresAt):
		return iris.Caller{}, iris.Errorf(iris.CodeUnauthorized, sayExpired).Because(iris.ErrExpired)
	}
	return key.Caller(), nil
}

// same compares two hashes in a time that does not tell where they differ. No hash is the
// same as none.
func same(hash, other string) bool {
	return subtle.ConstantTimeCompare([]byte(hash), []byte(other)) == 1
}

// NewKey makes an API key, iris_sk_ and 43 URL-safe characters that carry 256 random bits, and
// its hash. The key is shown to its holder once; only the hash is kept.
func NewKey() (key, hash string) {
	var random [32]byte
	rand.Read(random[:])
	key = iris.KeyPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	return key, Hash(key)
}

// NewKey is NewKey, for who has an Auth and not this package.
func (*Auth) NewKey() (key, hash string) { return NewKey() }

// Hash is what is kept of a key: its SHA-256 in lower-case hex.
func Hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// ParseScopes reads scopes as the command line has them, "teams:read,messages:write": each
// once, in the order given. INVALID_REQUEST with a suggestion for one that means nothing.
func ParseScopes(text string) ([]iris.Scope, error) {
	var scopes []iris.Scope
	seen := map[iris.Scope]bool{}
	for word := range strings.SplitSeq(text, ",") {
		scope := iris.Scope(strings.TrimSpace(word))
		switch {
		case scope == "" || seen[scope]:
			continue
		case !scope.Known():
			return nil, iris.Errorf(iris.CodeInvalidRequest, "%q %s", scope, scope.Wrong())
		}
		seen[scope] = true
		scopes = append(scopes, scope)
	}
	if len(scopes) == 0 {
		return nil, iris.Errorf(iris.CodeInvalidRequest, "no scope is given; known are %s", iris.AllScopes())
	}
	return scopes, nil
}

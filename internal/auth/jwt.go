package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	iris "github.com/iris-mcp/iris-mcp"
)

// JWT says which tokens are good: those that the secret has signed, or a key of the JWKS, and
// that have the issuer and the audience, if one is given. It is comparable.
type JWT struct {
	Secret   string // of HS256
	JWKS     string // an https address or an absolute path
	Issuer   string
	Audience string
}

const (
	maxToken = 8 << 10           // bytes; headers of more than that many proxies refuse anyway
	leeway   = 10 * time.Second  // between the issuer's clock and ours
	maxName  = 256               // bytes of a token's subject
	oneToken = "Invalid token: " // what is said of a bad one begins with it
)

// looksLikeToken reports whether the credential has a token's form: three parts. No key has
// it that Iris makes.
func looksLikeToken(credential string) bool {
	return strings.Count(credential, ".") == 2 && !strings.HasPrefix(credential, iris.KeyPrefix)
}

// claims are what a token says that matters here.
type claims struct {
	jwt.RegisteredClaims
	Scope  words `json:"scope"`  // separated by blanks (RFC 8693, 4.2)
	Scopes words `json:"scopes"` // a list
}

// words are a list of texts, or one text of words.
type words []string

func (w *words) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil { // null too
		*w = strings.Fields(text)
		return nil
	}
	var list []string
	if err := json.Unmarshal(data, &list); err != nil {
		return errors.New("scopes are neither a text nor a list of texts")
	}
	*w = list
	return nil
}

// token is who holds the token. UNAUTHORIZED if it is not good, with the reason for the log:
// to who shows it nothing is said that he could use, before its signature is known to be good.
func (a *Auth) token(ctx context.Context, c JWT, text string) (iris.Caller, error) {
	if len(text) > maxToken {
		return iris.Caller{}, iris.Errorf(iris.CodeUnauthorized, oneToken+"it is longer than 8 KiB")
	}
	options := []jwt.ParserOption{jwt.WithExpirationRequired(), jwt.WithLeeway(leeway), jwt.WithStrictDecoding()}
	if c.Issuer != "" {
		options = append(options, jwt.WithIssuer(c.Issuer))
	}
	if c.Audience != "" {
		options = append(options, jwt.WithAudience(c.Audience))
	}
	find := func(t *jwt.Token) (any, error) { return []byte(c.Secret), nil }
	algorithms := []string{"HS256"}
	if c.Secret == "" {
		keys := a.keySet(c.JWKS)
		find = func(t *jwt.Token) (any, error) { return keys.find(ctx, t) }
		algorithms = keyAlgorithms
	}
	options = append(options, jwt.WithValidMethods(algorithms))

	var said claims
	_, err := jwt.NewParser(options...).ParseWithClaims(text, &said, func(t *jwt.Token) (any, error) {
		if _, ok := t.Header["crit"]; ok { // RFC 7515, 4.1.11: what must be understood and is not
			return nil, errors.New("it has a header crit")
		}
		return find(t)
	})
	switch {
	case errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return iris.Caller{}, iris.Errorf(iris.CodeUnauthorized, "Token expired: get a new one from where this one came from").Because(iris.ErrExpired)
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenInvalidIssuer), errors.Is(err, jwt.ErrTokenInvalidAudience), errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return iris.Caller{}, iris.Errorf(iris.CodeUnauthorized, oneToken+"it is signed well, and one of exp, nbf, iss and aud is not as this Iris wants it").Because(bounded(err))
	case err != nil:
		return iris.Caller{}, iris.Errorf(iris.CodeUnauthorized, oneToken+"it is malformed, or not signed by whom this Iris trusts").Because(bounded(err))
	}
	name := said.Subject
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return iris.Caller{}, iris.Errorf(iris.CodeUnauthorized, oneToken+"its sub must be a readable text of at most 256 bytes")
	}
	return iris.Caller{
		Kind: iris.CallerJWT, Name: name, Scopes: knownScopes(slices.Concat(said.Scope, said.Scopes)),
		Standing: a.c.Standing(), Limit: iris.TierStandard.Limit(),
	}, nil
}

// knownScopes are those that mean something here, each once: a token may be for other
// services, too.
func knownScopes(words []string) []iris.Scope {
	var scopes []iris.Scope
	for _, w := range words {
		if s := iris.Scope(w); s.Known() && !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// bounded is the error as a text of bounded length: parts of a token may be in it, though none
// that are secret.
func bounded(err error) error {
	text := strings.ToValidUTF8(err.Error(), "�")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "…"
	}
	return fmt.Errorf("%q", text)
}

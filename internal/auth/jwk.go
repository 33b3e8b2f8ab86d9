package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// keyAlgorithms are those that a token signed with a key of a JWKS may have. Which of them a
// certain key may do is settled by the kind of the key, never by the token.
var keyAlgorithms = []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}

// publicKey is one key of a JWKS.
type publicKey struct {
	id         string // its kid; may be empty
	algorithms []string
	key        any // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// A set with more keys than this is none that anybody needs, and a token without a kid is
// tried with each.
const maxKeys = 32

// jwk is a key as RFC 7517 writes it, and RFC 7518 and 8037 its kinds.
type jwk struct {
	Kty string   `json:"kty"`
	Kid string   `json:"kid"`
	Use string   `json:"use"`
	Alg string   `json:"alg"`
	Ops []string `json:"key_ops"`
	Crv string   `json:"crv"`
	N   string   `json:"n"`
	E   string   `json:"e"`
	X   string   `json:"x"`
	Y   string   `json:"y"`
}

// parseKeys reads a JWKS. Keys of other kinds, for other ends or that are not sound are left
// out, for a set may have some of them for others; it is an error when none remains.
func parseKeys(text []byte) ([]publicKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("it is no JWKS: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("it has %d keys; at most %d make sense", len(set.Keys), maxKeys)
	}
	var keys []publicKey
	var why error
	for _, raw := range set.Keys {
		key, err := parseKey(raw)
		if err != nil {
			why = errors.Join(why, err)
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.Join(errors.New("it has no key that could be used"), why)
	}
	return keys, nil
}

func parseKey(raw []byte) (publicKey, error) {
	var j jwk
	if err := json.Unmarshal(raw, &j); err != nil {
		return publicKey{}, err
	}
	if j.Use != "" && j.Use != "sig" || j.Ops != nil && !slices.Contains(j.Ops, "verify") {
		return publicKey{}, fmt.Errorf("the key %q is not for signatures", j.Kid)
	}
	k := publicKey{id: j.Kid}
	var err error
	switch j.Kty {
	case "RSA":
		k.algorithms = []string{"RS256", "PS256"}
		k.key, err = rsaKey(j)
	case "EC":
		k.algorithms, k.key, err = ecKey(j)
	case "OKP":
		k.algorithms = []string{"EdDSA"}
		k.key, err = edKey(j)
	default: // a symmetric key has no place in a set that anybody may read
		err = fmt.Errorf("kty is %q", j.Kty)
	}
	if err != nil {
		return publicKey{}, fmt.Errorf("the key %q: %w", j.Kid, err)
	}
	if j.Alg != "" {
		if !slices.Contains(k.algorithms, j.Alg) {
			return publicKey{}, fmt.Errorf("the key %q: alg is %q", j.Kid, j.Alg)
		}
		k.algorithms = []string{j.Alg}
	}
	return k, nil
}

func rsaKey(j jwk) (*rsa.PublicKey, error) {
	n, err := number(j.N)
	if err != nil {
		return nil, err
	}
	e, err := number(j.E)
	if err != nil {
		return nil, err
	}
	if bits := n.BitLen(); bits < 2048 || bits > 8192 {
		return nil, fmt.Errorf("it has %d bits", bits)
	}
	if !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || e.Bit(0) == 0 || n.Bit(0) == 0 {
		return nil, errors.New("it is not sound")
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

func ecKey(j jwk) (algorithms []string, key *ecdsa.PublicKey, err error) {
	var curve elliptic.Curve
	switch j.Crv {
	case "P-256":
		curve, algorithms = elliptic.P256(), []string{"ES256"}
	case "P-384":
		curve, algorithms = elliptic.P384(), []string{"ES384"}
	default:
		return nil, nil, fmt.Errorf("crv is %q", j.Crv)
	}
	x, err := number(j.X)
	if err != nil {
		return nil, nil, err
	}
	y, err := number(j.Y)
	if err != nil {
		return nil, nil, err
	}
	size := (curve.Params().BitSize + 7) / 8
	if x.BitLen() > size*8 || y.BitLen() > size*8 {
		return nil, nil, errors.New("it is no point of its curve")
	}
	point := make([]byte, 1+2*size) // SEC 1, 2.3.3
	point[0] = 4
	x.FillBytes(point[1 : 1+size])
	y.FillBytes(point[1+size:])
	key, err = ecdsa.ParseUncompressedPublicKey(curve, point)
	return algorithms, key, err
}

func edKey(j jwk) (ed25519.PublicKey, error) {
	x, err := base64.RawURLEncoding.DecodeString(j.X)
	if err != nil || j.Crv != "Ed25519" || len(x) != ed25519.PublicKeySize {
		return nil, errors.New("it is no Ed25519 key")
	}
	return x, nil
}

// number reads a Base64urlUInt.
func number(text string) (*big.Int, error) {
	if len(text) > 2000 {
		return nil, errors.New("a number in it is too long")
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) == 0 {
		return nil, errors.New("a number in it is malformed")
	}
	return new(big.Int).SetBytes(b), nil
}

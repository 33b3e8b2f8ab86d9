package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
)

// A key of the user's own choice has at least minKey characters after its prefix; one with
// fewer than goodKey earns a warning.
const (
	minKey  = 8
	goodKey = 40
)

var (
	keyText = regexp.MustCompile(`^[!-~]+$`)
	keyHash = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// keys checks api.auth.keys and fills in Config.Keys. The keys themselves do not stay: only
// their hashes do.
func (r *reader) keys(c *Config) {
	names, hashes := map[string]int{}, map[string]int{}
	for i := range c.API.Auth.Keys {
		k := &c.API.Auth.Keys[i]
		at := fmt.Sprintf("api.auth.keys[%d]", i)

		switch first, taken := names[k.Name]; {
		case k.Name == "":
			r.wrong(at+".name", "is missing")
		case !iris.KeyName.MatchString(k.Name):
			r.wrong(at+".name", "%q cannot name a key: up to 128 characters, no colon, no blanks around it", k.Name)
		case taken:
			r.wrong(at+".name", "%q is the name of keys[%d] already", k.Name, first)
		}
		names[k.Name] = i

		r.hash(c, at, k)
		if first, taken := hashes[k.KeyHash]; taken && k.KeyHash != "" {
			r.wrong(at, "is the same key as keys[%d]", first)
		}
		hashes[k.KeyHash] = i

		r.reach(c, at, k)
		if !k.ExpiresAt.IsZero() && !time.Now().Before(k.ExpiresAt) {
			r.warn(c, at+".expiresAt", "the key %q expired %s; it is refused", k.Name, k.ExpiresAt.Format(time.RFC3339))
		}
		if limited := k.RateLimit != (RateLimit{}); limited && k.Tier != "" {
			r.wrong(at, "takes rateLimit or tier, not both")
		} else if limited && (k.RateLimit.Requests == 0 || k.RateLimit.Window == 0) {
			r.wrong(at+".rateLimit", "needs both requests and window")
		} else if wrong := iris.Limit(k.RateLimit).Check(); limited && wrong != "" {
			r.wrong(at+".rateLimit", "%s", wrong)
		}

		c.Keys = append(c.Keys, iris.Key{
			Name:      k.Name,
			Hash:      k.KeyHash,
			Scopes:    k.Scopes,
			Teams:     k.Teams,
			Standing:  cmp.Or(k.Session, c.API.Session) == "standing",
			Tier:      iris.Tier(k.Tier),
			Limit:     iris.Limit(k.RateLimit),
			ExpiresAt: k.ExpiresAt,
		})
	}
}

// hash checks key and keyHash and leaves only the hash. No message shows the key.
func (r *reader) hash(c *Config, at string, k *Key) {
	key := string(k.Key)
	k.Key = ""
	k.KeyHash = strings.ToLower(k.KeyHash)
	secret, prefixed := strings.CutPrefix(key, iris.KeyPrefix)
	switch {
	case key == "" && k.KeyHash == "":
		r.wrong(at, "needs key or keyHash; `iris-mcp api-key create` makes a key that needs no place here")
	case key != "" && k.KeyHash != "":
		r.wrong(at, "takes key or keyHash, not both")
	case key == "":
		if !keyHash.MatchString(k.KeyHash) {
			r.wrong(at+".keyHash", "must be the SHA-256 of the key: 64 hexadecimal digits")
		}
	case !prefixed || len(secret) < minKey:
		r.wrong(at+".key", "must be %s and at least %d more characters", iris.KeyPrefix, minKey)
	case !keyText.MatchString(secret):
		r.wrong(at+".key", "must be visible ASCII characters, without blanks")
	default:
		sum := sha256.Sum256([]byte(key))
		k.KeyHash = hex.EncodeToString(sum[:])
		if s := r.at[at+".key"]; !s.fromEnv {
			r.warn(c, at+".key", "the key stands here in plain text; give it as ${IRIS_VAR}, or its SHA-256 as keyHash")
		}
		if len(secret) < goodKey {
			r.warn(c, at+".key", "the key is short, so it can be guessed; `iris-mcp api-key create` makes a good one")
		}
	}
}

// reach checks what a key may do, and with whom.
func (r *reader) reach(c *Config, at string, k *Key) {
	if len(k.Scopes) == 0 {
		r.wrong(at+".scopes", "is missing; without a scope a key can do nothing. `[\"*\"]` is everything")
	}
	for i, scope := range k.Scopes {
		if scope.Known() {
			continue
		}
		r.wrong(fmt.Sprintf("%s.scopes[%d]", at, i), "%q %s", scope, scope.Wrong())
	}
	for i, team := range k.Teams {
		if slices.ContainsFunc(c.Teams, func(t iris.Team) bool { return t.Name == team }) {
			continue
		}
		r.warn(c, fmt.Sprintf("%s.teams[%d]", at, i), "there is no team %q", team)
	}
}

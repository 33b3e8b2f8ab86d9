package iris

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// CallerKind says what a caller is.
type CallerKind string

const (
	CallerLocal CallerKind = "local" // the person whose machine this is
	CallerTeam  CallerKind = "team"  // a configured team, asking from its own folder
	CallerKey   CallerKind = "key"   // somebody with an API key
	CallerJWT   CallerKind = "jwt"   // somebody with a token of an issuer that is trusted
)

// Caller is who asks. Kind and Name are its identity; the rest is what it may do.
type Caller struct {
	Kind CallerKind
	Name string // the team's or the key's name, or a token's subject; empty for the local user

	Scopes   []Scope  // of a key or token; the local user and teams may do everything
	Teams    []string // the teams a key is bound to; empty means all
	Standing bool     // a key whose messages without a session share one per team (DESIGN D3)
	Limit    Limit    // of its requests; without requests, as for the local user and teams, there is none
}

// From is the caller as messages record it: a team's name, "api" or "local".
func (c Caller) From() string {
	switch c.Kind {
	case CallerTeam:
		return c.Name
	case CallerKey, CallerJWT:
		return "api"
	default:
		return "local"
	}
}

// CallerID is the identity of a caller, to be a map's key.
type CallerID struct {
	Kind CallerKind
	Name string
}

// ID is who the caller is, whatever it may do.
func (c Caller) ID() CallerID { return CallerID{c.Kind, c.Name} }

// Is reports whether both are the same caller, whatever they may do.
func (c Caller) Is(o Caller) bool { return c.ID() == o.ID() }

// May reports whether the caller has the scope.
func (c Caller) May(s Scope) bool {
	return c.trusted() || c.Credentialed() && slices.ContainsFunc(c.Scopes, func(has Scope) bool { return has.Includes(s) })
}

// Credentialed reports whether the caller came with a key or a token: it may do what that
// says, and "from" is not all of its name.
func (c Caller) Credentialed() bool { return c.Kind == CallerKey || c.Kind == CallerJWT }

// trusted reports whether the caller may do everything. Nobody, the zero Caller, may nothing.
func (c Caller) trusted() bool { return c.Kind == CallerLocal || c.Kind == CallerTeam }

// Reaches reports whether the caller may know about and ask the team.
func (c Caller) Reaches(team string) bool {
	return c.trusted() || c.Credentialed() && (len(c.Teams) == 0 || slices.Contains(c.Teams, team))
}

// MayRead reports whether the caller may read, follow and wait for the message: its own
// always, those of others with messages:read and within the teams it reaches.
func (c Caller) MayRead(m Message) bool {
	return c.Is(m.Caller) || c.May(ScopeMessagesRead) && c.Reaches(m.Team)
}

// Scope is something a key may do, as SEED.md names it.
type Scope string

const (
	ScopeTeamsRead       Scope = "teams:read"
	ScopeTeamsWrite      Scope = "teams:write"
	ScopeTeamsDelete     Scope = "teams:delete"
	ScopeMessagesRead    Scope = "messages:read"
	ScopeMessagesWrite   Scope = "messages:write"
	ScopeMessagesStream  Scope = "messages:stream"
	ScopeProcessesRead   Scope = "processes:read"
	ScopeProcessesManage Scope = "processes:manage"
	ScopeAdmin           Scope = "admin:*"
	ScopeAll             Scope = "*"
)

// Scopes lists every scope that names one right, then the two that name all.
var Scopes = []Scope{
	ScopeTeamsRead, ScopeTeamsWrite, ScopeTeamsDelete,
	ScopeMessagesRead, ScopeMessagesWrite, ScopeMessagesStream,
	ScopeProcessesRead, ScopeProcessesManage, ScopeAdmin, ScopeAll,
}

// Known reports whether the scope means anything: one of Scopes, or "x:*" for one of their x.
func (s Scope) Known() bool {
	if slices.Contains(Scopes, s) {
		return true
	}
	group, ok := strings.CutSuffix(string(s), ":*")
	return ok && group != "" && slices.ContainsFunc(Scopes, func(k Scope) bool {
		return strings.HasPrefix(string(k), group+":")
	})
}

// Wrong says what is wrong with a scope that means nothing, as the end of a sentence about it.
// It proposes the nearest one, but never one that is everything.
func (s Scope) Wrong() string {
	single := Scopes[:len(Scopes)-2]
	if near := Closest(s, single); near != "" && s != "" {
		return fmt.Sprintf("is no scope; did you mean %q?", near)
	}
	return "is no scope; known are " + AllScopes()
}

// AllScopes lists Scopes for a person.
func AllScopes() string {
	words := make([]string, len(Scopes))
	for i, s := range Scopes {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

// Includes reports whether who has s has want too: "*" and "admin:*" include everything,
// "x:*" every "x:…", and who may define a team may talk to it.
func (s Scope) Includes(want Scope) bool {
	switch s {
	case want, ScopeAll, ScopeAdmin:
		return true
	case ScopeTeamsWrite:
		return want == ScopeMessagesWrite || want == ScopeMessagesStream
	}
	group, ok := strings.CutSuffix(string(s), ":*")
	if !ok {
		return false
	}
	if strings.HasPrefix(string(want), group+":") {
		return true
	}
	return group == "teams" && ScopeTeamsWrite.Includes(want)
}

// KeyPrefix begins every API key.
const KeyPrefix = "iris_sk_"

// BasicPrefix begins a credential of basic authentication, where a credential is a text: a
// name and a key follow, decoded, with a colon between.
const BasicPrefix = "Basic "

// KeyName is the form of a key's name: up to 128 visible characters, with blanks only inside,
// and no colon, for the name is also the user of basic authentication.
var KeyName = regexp.MustCompile(`^[^\s\pC:](?:[^\pC:]{0,126}[^\s\pC:])?$`)

// Key is an API key. The key itself is known only to its holder.
type Key struct {
	Name       string
	Hash       string // SHA-256 of the whole key, lower-case hex
	Scopes     []Scope
	Teams      []string  // empty: all
	Standing   bool      // see Caller.Standing
	Tier       Tier      // empty: standard
	Limit      Limit     // its own, in place of the tier's
	ExpiresAt  time.Time // zero: never
	CreatedAt  time.Time
	ReplacedAt time.Time // zero: it has its name; else another has, and it is good until ExpiresAt
	RevokedAt  time.Time // zero: valid
}

// Valid reports whether the key is neither revoked nor expired now.
func (k Key) Valid() bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || time.Now().Before(k.ExpiresAt))
}

// Caller is who uses the key.
func (k Key) Caller() Caller {
	return Caller{Kind: CallerKey, Name: k.Name, Scopes: k.Scopes, Teams: k.Teams, Standing: k.Standing, Limit: k.Allows()}
}

// Granted is what the key may do, for the audit log.
func (k Key) Granted() map[string]any {
	g := map[string]any{"scopes": k.Scopes, "limit": k.Allows().String()}
	if len(k.Teams) > 0 {
		g["teams"] = k.Teams
	}
	if !k.ExpiresAt.IsZero() {
		g["expiresAt"] = k.ExpiresAt.UTC().Format(time.RFC3339)
	}
	return g
}

// Allows is the limit that the key is held to: its own, else its tier's.
func (k Key) Allows() Limit {
	if k.Limit.Requests > 0 {
		return k.Limit
	}
	return k.Tier.Limit()
}

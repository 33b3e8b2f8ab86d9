package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	iris "github.com/iris-mcp/iris-mcp"
)

type keysOut struct {
	Body struct {
		Keys []keyView `json:"keys" doc:"Those of the configuration, then the others, the oldest first"`
	}
}

type keyOut struct {
	Body keyView
}

type newKeyOut struct {
	Location string `header:"Location" doc:"Where the key can be looked at, without the key itself"`
	Body     newKeyView
}

// keyView is a key as it is shown: neither it nor its hash.
type keyView struct {
	Name       string         `json:"name" doc:"Its name" example:"ci-cd-pipeline"`
	State      string         `json:"state" enum:"valid,replaced,expired,revoked" doc:"Whether it is good; replaced is good, too, until expiresAt, beside the one that has its name" example:"valid"`
	Source     string         `json:"source" enum:"store,config" doc:"Where it is: in the data folder, or in the configuration, which is not changed here" example:"store"`
	Scopes     []iris.Scope   `json:"scopes" doc:"What it may do" example:"[\"teams:read\",\"messages:write\"]"`
	Teams      []string       `json:"teams,omitempty" doc:"The only teams that it reaches; all without it" example:"[\"backend\"]"`
	Tier       iris.Tier      `json:"tier,omitempty" enum:"standard,premium,enterprise" doc:"Its limit by name, unless it has its own" example:"standard"`
	RateLimit  *rateLimitView `json:"rateLimit,omitempty" doc:"Its limit; missing if it has none"`
	CreatedAt  int64          `json:"createdAt,omitempty" doc:"Unix milliseconds, as all times; not known of one of the configuration" example:"1704067200000"`
	ExpiresAt  int64          `json:"expiresAt,omitempty" doc:"Missing if it does not expire" example:"1711843200000"`
	ReplacedAt int64          `json:"replacedAt,omitempty" doc:"When another took its place"`
	RevokedAt  int64          `json:"revokedAt,omitempty" doc:"When it was revoked"`
}

type rateLimitView struct {
	Requests int   `json:"requests" doc:"How many requests are let in in any window" example:"100"`
	Window   int64 `json:"window" doc:"The window's length in milliseconds" example:"60000"`
}

// newKeyView is a new key.
type newKeyView struct {
	Key string `json:"key" doc:"The key itself; it is not shown again" example:"iris_sk_…"`
	keyView
}

// TransformSchema adds the fields of keyView, which huma does not see: its name is not exported.
func (newKeyView) TransformSchema(r huma.Registry, s *huma.Schema) *huma.Schema {
	whole := r.SchemaFromRef(r.Schema(reflect.TypeFor[keyView](), true, "").Ref)
	maps.Copy(s.Properties, whole.Properties)
	s.Required = append(s.Required, whole.Required...)
	return s
}

type keyNameIn struct {
	Name string `path:"name" doc:"The key's name" example:"ci-cd-pipeline"`
}

type createKeyIn struct {
	Body createKeyBody
}

type createKeyBody struct {
	Name      string       `json:"name" doc:"What the key is for; up to 128 visible characters, no colon, no blanks around it" example:"ci-cd-pipeline"`
	Scopes    []iris.Scope `json:"scopes" minItems:"1" maxItems:"50" doc:"What it may do" example:"[\"teams:read\",\"messages:write\"]"`
	Teams     []string     `json:"teams,omitempty" maxItems:"1000" doc:"The only teams that it reaches; all without it"`
	ExpiresAt int64        `json:"expiresAt,omitempty" minimum:"1" maximum:"253402300799999" doc:"From when on it is refused, Unix milliseconds; never without it" example:"4102444800000"`
	Expires   string       `json:"expires,omitempty" doc:"In place of expiresAt, how long it is good: 12h, 90d"`
	RateLimit *rateLimitIn `json:"rateLimit,omitempty" doc:"Its limit, in place of tier"`
	Tier      iris.Tier    `json:"tier,omitempty" enum:"standard,premium,enterprise" doc:"Its limit by name: 100 a minute, 1000 a minute, none; standard without either"`
}

type rateLimitIn struct {
	Requests int    `json:"requests" minimum:"1" maximum:"1000000" doc:"How many requests are let in in any window" example:"100"`
	Window   window `json:"window" doc:"The window's length: milliseconds, or as in the configuration, 1m; up to 24h"`
}

// window is the length of a limit's window: milliseconds, or text as in the configuration.
// What is neither is negative.
type window time.Duration

// Schema documents both forms.
func (window) Schema(huma.Registry) *huma.Schema {
	least, most := 1.0, float64(iris.MaxLimitWindow.Milliseconds())
	return &huma.Schema{OneOf: []*huma.Schema{
		{Type: huma.TypeInteger, Minimum: &least, Maximum: &most, Examples: []any{60000}},
		{Type: huma.TypeString, Examples: []any{"1m"}},
	}}
}

func (w *window) UnmarshalJSON(data []byte) error {
	*w = -1
	var text string
	if json.Unmarshal(data, &text) == nil {
		if d, ok := iris.ParseSpan(text); ok {
			*w = window(d)
		}
		return nil
	}
	var ms int64
	if json.Unmarshal(data, &ms) == nil && ms <= iris.MaxLimitWindow.Milliseconds() {
		*w = window(time.Duration(ms) * time.Millisecond)
	}
	return nil
}

type rotateKeyIn struct {
	Name string `path:"name" doc:"The key's name" example:"ci-cd-pipeline"`
	Body *rotateKeyBody
}

type rotateKeyBody struct {
	Grace int64 `json:"grace,omitempty" minimum:"0" maximum:"2592000000" default:"0" doc:"How long the old key stays good, in milliseconds; up to 30 days"`
}

// keyring is FORBIDDEN for a key that is bound to teams: another key could reach more.
func (req *request) keyring() error {
	if len(req.caller.Teams) > 0 {
		return req.forbid(req.route.scopes, "this key is bound to teams, and API keys are for those who reach all of them")
	}
	return nil
}

func (s *Server) listKeys(ctx context.Context, req *request, _ *struct{}) (*keysOut, error) {
	if err := req.keyring(); err != nil {
		return nil, err
	}
	stored, err := s.store.Keys(ctx)
	if err != nil {
		return nil, err
	}
	out := &keysOut{}
	out.Body.Keys = []keyView{}
	for _, k := range s.cfg.FileKeys() {
		out.Body.Keys = append(out.Body.Keys, viewKey(k, "config"))
	}
	for _, k := range stored {
		out.Body.Keys = append(out.Body.Keys, viewKey(k, "store"))
	}
	return out, nil
}

func (s *Server) getKey(ctx context.Context, req *request, in *keyNameIn) (*keyOut, error) {
	if err := req.keyring(); err != nil {
		return nil, err
	}
	if k, ok := s.fileKey(in.Name); ok {
		return &keyOut{viewKey(k, "config")}, nil
	}
	k, err := s.storedKey(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	return &keyOut{viewKey(k, "store")}, nil
}

func (s *Server) createKey(ctx context.Context, req *request, in *createKeyIn) (*newKeyOut, error) {
	if err := req.keyring(); err != nil {
		return nil, err
	}
	k, problems := s.newKey(in.Body, time.Now())
	if len(problems) > 0 {
		return nil, req.refuse(problems...)
	}
	if _, ok := s.fileKey(k.Name); ok {
		return nil, s.inFile(k.Name, "choose another name, for the two would be one caller")
	}
	key, hash := s.auth.NewKey()
	k.Hash = hash
	if err := s.store.CreateKey(ctx, k); err != nil {
		return nil, err
	}
	s.audit(ctx, req, iris.AuditKeyCreated, k.Name, k.Granted())
	return newKey(key, k), nil
}

func (s *Server) revokeKey(ctx context.Context, req *request, in *keyNameIn) (*keyOut, error) {
	if err := req.keyring(); err != nil {
		return nil, err
	}
	k, err := s.storedKey(ctx, in.Name)
	if err != nil {
		return nil, s.orInFile(err, in.Name, "take it out there")
	}
	k.RevokedAt = time.Now()
	if err := s.store.RevokeKey(ctx, in.Name, k.RevokedAt); err != nil {
		return nil, err
	}
	s.audit(ctx, req, iris.AuditKeyRevoked, in.Name, nil)
	return &keyOut{viewKey(k, "store")}, nil
}

func (s *Server) rotateKey(ctx context.Context, req *request, in *rotateKeyIn) (*newKeyOut, error) {
	if err := req.keyring(); err != nil {
		return nil, err
	}
	var grace int64
	if in.Body != nil {
		grace = in.Body.Grace
	}
	key, hash := s.auth.NewKey()
	k, err := s.store.RotateKey(ctx, in.Name, hash, time.Now(), milliseconds(grace))
	if err != nil {
		return nil, s.orInFile(err, in.Name, "change it there")
	}
	s.audit(ctx, req, iris.AuditKeyRotated, in.Name, map[string]any{"grace": grace})
	return newKey(key, k), nil
}

// newKey is the key that the body describes, without its hash, or what is wrong with it.
func (s *Server) newKey(b createKeyBody, now time.Time) (k iris.Key, problems []problem) {
	wrong := func(field, format string, args ...any) {
		problems = append(problems, problem{field, fmt.Sprintf(format, args...)})
	}
	k = iris.Key{Name: b.Name, Tier: b.Tier, Teams: b.Teams, CreatedAt: now}
	if !iris.KeyName.MatchString(b.Name) {
		wrong("name", "must be up to 128 visible characters, without a colon, and without blanks around them")
	}
	for i, scope := range b.Scopes {
		field := fmt.Sprintf("scopes[%d]", i)
		if !scope.Known() {
			wrong(field, "%s", scope.Wrong())
		} else if !slices.Contains(k.Scopes, scope) {
			k.Scopes = append(k.Scopes, scope)
		}
	}
	teams := s.dispatcher.Teams()
	for i, name := range b.Teams {
		if !slices.ContainsFunc(teams, func(t iris.Team) bool { return t.Name == name }) {
			wrong(fmt.Sprintf("teams[%d]", i), "is no team of this Iris; GET %s/teams lists them", base)
		}
	}
	switch {
	case b.Expires != "" && b.ExpiresAt != 0:
		wrong("expires", "stands beside expiresAt; give one of them")
	case b.Expires != "":
		d, ok := iris.ParseSpan(b.Expires)
		if !ok || d == 0 {
			wrong("expires", "must be a length of time like 12h or 90d")
		}
		k.ExpiresAt = now.Add(d)
	case b.ExpiresAt != 0:
		if k.ExpiresAt = time.UnixMilli(b.ExpiresAt).UTC(); !now.Before(k.ExpiresAt) {
			wrong("expiresAt", "must lie ahead, in Unix milliseconds")
		}
	}
	if b.RateLimit != nil {
		k.Limit = iris.Limit{Requests: b.RateLimit.Requests, Window: time.Duration(b.RateLimit.Window)}
		if says := k.Limit.Check(); says != "" {
			wrong("rateLimit", "%s", says)
		}
		if b.Tier != "" {
			wrong("tier", "stands beside rateLimit; give one of them")
		}
	}
	return k, problems
}

// fileKey is the key of that name in the configuration.
func (s *Server) fileKey(name string) (iris.Key, bool) {
	keys := s.cfg.FileKeys()
	i := slices.IndexFunc(keys, func(k iris.Key) bool { return k.Name == name })
	if i < 0 {
		return iris.Key{}, false
	}
	return keys[i], true
}

// inFile says that a key is not managed here.
func (s *Server) inFile(name, what string) error {
	return iris.Errorf(iris.CodeConflict, "an API key named %q stands in %s: %s", clip(name), s.cfg.File, what)
}

// orInFile is why there is no key of that name in the store, if it is in the configuration.
func (s *Server) orInFile(err error, name, what string) error {
	if _, ok := s.fileKey(name); ok && iris.CodeOf(err) == iris.CodeNotFound {
		return s.inFile(name, what)
	}
	return err
}

// storedKey is the one that has the name now; NOT_FOUND.
func (s *Server) storedKey(ctx context.Context, name string) (iris.Key, error) {
	keys, err := s.store.Keys(ctx)
	if err != nil {
		return iris.Key{}, err
	}
	for _, k := range keys {
		if k.Name == name && k.RevokedAt.IsZero() && k.ReplacedAt.IsZero() {
			return k, nil
		}
	}
	return iris.Key{}, iris.Errorf(iris.CodeNotFound, "no API key has this name; GET %s/api-keys lists them", base)
}

func newKey(key string, k iris.Key) *newKeyOut {
	return &newKeyOut{Location: base + "/api-keys/" + url.PathEscape(k.Name), Body: newKeyView{key, viewKey(k, "store")}}
}

func viewKey(k iris.Key, source string) keyView {
	ms := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.UnixMilli()
	}
	v := keyView{
		Name: k.Name, State: "valid", Source: source, Scopes: k.Scopes, Teams: k.Teams,
		CreatedAt: ms(k.CreatedAt), ExpiresAt: ms(k.ExpiresAt), ReplacedAt: ms(k.ReplacedAt), RevokedAt: ms(k.RevokedAt),
	}
	switch {
	case !k.RevokedAt.IsZero():
		v.State = "revoked"
	case !k.Valid():
		v.State = "expired"
	case !k.ReplacedAt.IsZero():
		v.State = "replaced"
	}
	if l := k.Allows(); l.Requests > 0 {
		v.RateLimit = &rateLimitView{l.Requests, l.Window.Milliseconds()}
	}
	if k.Limit.Requests == 0 {
		if v.Tier = k.Tier; v.Tier == "" {
			v.Tier = iris.TierStandard
		}
	}
	return v
}

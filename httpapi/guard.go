package httpapi

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	iris "github.com/iris-mcp/iris-mcp"
)

const (
	routeKey  = "route" // in an operation's metadata
	longestID = 64      // of a message or job; ours are shorter
)

// guard lets a request through to its route if its key is good and has the route's scopes.
func (s *Server) guard(h huma.Context, next func(huma.Context)) {
	g := humagin.Unwrap(h)
	ctx := g.Request.Context()
	req := requestOf(ctx)
	req.route = h.Operation().Metadata[routeKey].(*route)
	if req.route.local {
		if err := s.foreign(g.Request); err != nil {
			s.fail(g, err)
			return
		}
	}
	if !req.route.near || !near(g.Request) {
		if err := s.admit(ctx, req, g.Request, g.Writer.Header()); err != nil {
			s.fail(g, err)
			return
		}
	}
	if err := req.plain(g.Request); err != nil {
		s.fail(g, err)
		return
	}
	if err := req.name(g.Request); err != nil {
		s.fail(g, err)
		return
	}
	if h.Operation().RequestBody == nil {
		if err := req.body.drain(); err != nil {
			s.fail(g, err)
			return
		}
	}
	next(h)
}

// admit finds out who asks, and whether they may use the route, now. What their limit has left
// goes into the headers of the answer.
func (s *Server) admit(ctx context.Context, req *request, r *http.Request, answer http.Header) error {
	if req.route.open {
		return nil
	}
	if key := protocolKey(r.Header); key != "" && req.route.socket && r.Header.Get("X-Api-Key") == "" {
		r.Header.Set("X-Api-Key", key) // it is as good as that
	}
	req.credential = credential(r.Header)
	caller, err := s.auth.Caller(ctx, req.credential)
	if err != nil {
		return s.refused(ctx, req, err)
	}
	req.caller = caller
	left, err := s.charge(ctx, caller)
	limitHeaders(answer, left)
	if err != nil {
		return req.limited(left, err)
	}
	if strings.HasPrefix(req.credential, iris.BasicPrefix) && s.borrowed(r, req.route) {
		return iris.Errorf(iris.CodeForbidden, "a browser adds its password to whatever any page asks for, so this is not taken with one; send the key as `Authorization: Bearer iris_sk_…`")
	}
	if req.route.own {
		return nil
	}
	return req.need(req.route.scopes...)
}

// need is FORBIDDEN if the caller lacks one of the scopes.
func (req *request) need(scopes ...iris.Scope) error {
	for _, scope := range scopes {
		if !req.caller.May(scope) {
			return req.forbid(scopes, "this key lacks the scope "+string(scope)+"; use another one, or ask its maker for the scope")
		}
	}
	return nil
}

// team checks a team's name from outside, and that the caller's key is not bound to others.
// Only the dispatcher knows whether there is such a team.
func (req *request) team(name string) error {
	if !iris.TeamName.MatchString(name) {
		return iris.Errorf(iris.CodeTeamNotFound, "no team can have this name; GET %s/teams lists them", base)
	}
	if !req.caller.Reaches(name) {
		return req.forbid(req.route.scopes, "this key is bound to other teams than "+name)
	}
	return nil
}

// message finds the message that an own route is about, if the caller may use the route
// for it: on a message of its own always, else with the route's scopes.
func (s *Server) message(ctx context.Context, req *request, id string) (iris.Message, error) {
	return req.find(ctx, s.store.Message, id)
}

// head is the message likewise, without its texts and what it came to.
func (s *Server) head(ctx context.Context, req *request, id string) (iris.Message, error) {
	return req.find(ctx, s.store.Head, id)
}

func (req *request) find(ctx context.Context, read func(context.Context, string) (iris.Message, error), id string) (iris.Message, error) {
	if len(id) > longestID {
		return iris.Message{}, iris.Errorf(iris.CodeMessageNotFound, "no message has an id as long as this one")
	}
	m, err := read(ctx, id)
	if err != nil {
		return m, err
	}
	if err := req.reach(m, req.route.scopes...); err != nil {
		return iris.Message{}, err
	}
	return m, nil
}

// reach is FORBIDDEN if the message is another's, and the caller lacks one of the scopes or is
// bound to other teams.
func (req *request) reach(m iris.Message, scopes ...iris.Scope) error {
	if req.caller.Is(m.Caller) {
		return nil
	}
	if err := req.need(scopes...); err != nil {
		return err
	}
	if !req.caller.Reaches(m.Team) {
		return req.forbid(scopes, "this key is bound to other teams than the message's")
	}
	return nil
}

// recheck is how long an answer that takes its time trusts its key without asking again.
const recheck = time.Second

// still asks for the caller anew: UNAUTHORIZED if the key is good no longer; if it has other
// rights, they count from here on. A store that fails takes no rights away.
func (s *Server) still(ctx context.Context, req *request) error {
	caller, err := s.auth.Caller(ctx, req.credential)
	switch {
	case err == nil:
		req.caller = caller
	case iris.CodeOf(err) == iris.CodeUnauthorized:
		return err
	}
	return nil
}

// waited looks again whether a request that has waited may be told what became of the message.
// A key or token that only expired meanwhile was good for this: nobody took it away.
func (s *Server) waited(ctx context.Context, req *request, m iris.Message) error {
	if time.Since(req.arrived) < recheck {
		return nil
	}
	if err := s.still(ctx, req); err != nil && !errors.Is(err, iris.ErrExpired) {
		return err
	}
	return req.reach(m, req.route.scopes...)
}

// credential is what the request shows, or empty. Basic authentication comes last: it may be
// meant for a proxy in front of Iris.
func credential(h http.Header) string {
	scheme, rest, _ := strings.Cut(h.Get("Authorization"), " ")
	rest = strings.TrimSpace(rest)
	if strings.EqualFold(scheme, "Bearer") {
		return rest
	}
	if key := h.Get("X-Api-Key"); key != "" {
		return key
	}
	if strings.EqualFold(scheme, "Basic") {
		if decoded, err := base64.StdEncoding.DecodeString(rest); err == nil {
			return iris.BasicPrefix + string(decoded)
		}
	}
	return ""
}

// protocolKey is the key that a browser offers among the subprotocols of a WebSocket, or empty.
func protocolKey(h http.Header) string {
	for _, protocol := range strings.Split(strings.Join(h.Values("Sec-WebSocket-Protocol"), ","), ",") {
		if key, ok := strings.CutPrefix(strings.TrimSpace(protocol), keyProtocol); ok {
			return key
		}
	}
	return ""
}

// plain makes huma read the body as JSON, whatever its type says (curl says it is a form), and
// answer in JSON. It refuses what huma would silently drop.
func (req *request) plain(r *http.Request) error {
	if err := uncoded(r.Header); err != nil {
		return err
	}
	r.Header["Content-Type"] = jsonType
	delete(r.Header, "Accept")
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return iris.Errorf(iris.CodeInvalidRequest, "the query of the URL is malformed: encode each value in it")
	}
	var problems []problem
	for _, name := range slices.Sorted(maps.Keys(query)) {
		if len(query[name]) > 1 && len(problems) < most {
			problems = append(problems, problem{clip(name), "is given twice"})
		}
	}
	if len(problems) > 0 {
		return req.refuse(problems...)
	}
	return nil
}

// uncoded refuses bodies that cannot be JSON as they come: multipart forms and what is compressed.
func uncoded(h http.Header) error {
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(h.Get("Content-Type"))), "multipart/") {
		return iris.Errorf(iris.CodeUnsupportedMedia, "send the request's body as JSON, not as a multipart form")
	}
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return iris.Errorf(iris.CodeUnsupportedMedia, "send the request's body as it is, without a Content-Encoding")
	}
	return nil
}

var jsonType = []string{"application/json"}

// forbid makes a FORBIDDEN that says what is needed and what there is.
func (req *request) forbid(required []iris.Scope, message string) *failure {
	f := req.newFailure(iris.Errorf(iris.CodeForbidden, "%s", message))
	f.Required = required
	f.Provided = append([]iris.Scope{}, req.caller.Scopes...) // [] for none, never left out
	return f
}

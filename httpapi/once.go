package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	iris "github.com/iris-mcp/iris-mcp"
)

const (
	// idempotencyKey is the header by which a client says that it may send a request again.
	idempotencyKey = "Idempotency-Key"
	// idempotentReplayed is the header by which it learns that it had.
	idempotentReplayed = "Idempotent-Replayed"
	// longestKept is the most bytes of an answer that are kept.
	longestKept = 4 << 10
)

// keyParameter documents the header.
var keyParameter = &huma.Param{
	Name: idempotencyKey, In: "header", Example: "8e03978e-40d5-43dd-bc93-6894a57f9324",
	Description: "A word of yours for this request. Sent again under it within 24 hours, with the same body, the request is not carried out again: the answer is that of the first time, with Idempotent-Replayed: true. With another body it is CONFLICT. What was refused before anything was done is not remembered.",
	Schema:      &huma.Schema{Type: huma.TypeString, MinLength: new(1), MaxLength: new(255), Pattern: "^[!-~]+$"},
}

// repeatable reports whether the route's requests may carry a key.
func (r *route) repeatable() bool {
	return r.op.Method == http.MethodPost && strings.HasPrefix(r.op.Path, base)
}

// name names a request by its caller, its route and the key that it carries, if it does.
func (req *request) name(r *http.Request) error {
	keys := r.Header.Values(idempotencyKey)
	if !req.route.repeatable() || len(keys) == 0 {
		return nil
	}
	strange := func(r rune) bool { return r <= ' ' || r > '~' }
	if key := keys[0]; len(keys) > 1 || key == "" || len(key) > 255 || strings.ContainsFunc(key, strange) {
		return req.refuse(problem{idempotencyKey, "must be one text of 1 to 255 visible ASCII characters"})
	}
	req.key = digest(string(req.caller.Kind), req.caller.Name, r.URL.Path, r.URL.RawQuery, keys[0])
	return nil
}

// digest is a hash of texts, which differs if one does.
func digest(texts ...string) string {
	list, err := json.Marshal(texts)
	if err != nil {
		panic(err) // they are texts
	}
	sum := sha256.Sum256(list)
	return hex.EncodeToString(sum[:])
}

// once is the request as the store knows it again, zero without a key. Its body must have been read.
func (req *request) once() iris.Once {
	if req.key == "" {
		return iris.Once{}
	}
	o := iris.Once{ID: req.key, Caller: string(req.caller.Kind) + "/" + req.caller.Name}
	if req.body != nil && req.body.read > 0 {
		o.Body = hex.EncodeToString(req.body.sum.Sum(nil))
	}
	return o
}

// replayed says that the answer is that of an earlier request.
func (req *request) replayed() { req.answer.Set(idempotentReplayed, "true") }

// once does what a request wants, unless it came before: then its answer is that of then. One
// that comes while the first is on its way waits for that.
//
// Only what has been done is remembered. A server that is killed between doing and remembering
// does it again, except for what became a message: that is accepted and remembered in one.
func once[O any](s *Server, ctx context.Context, req *request, do func() (*O, error)) (*O, error) {
	o := req.once()
	if o.IsZero() || req.route.follows {
		return do()
	}
	leave, err := s.flights.enter(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	defer leave()
	kept, before, err := s.store.Kept(ctx, o)
	if err != nil {
		return nil, err
	}
	if before {
		req.replayed()
		switch {
		case kept != nil:
			out := new(O)
			return out, json.Unmarshal(kept, out)
		case !req.route.again:
			return nil, iris.Errorf(iris.CodeConflict, "this was done before, under the same Idempotency-Key, and its answer was not kept; use another key to do it once more")
		}
	}
	out, err := do()
	if err != nil || before {
		return out, err
	}
	if !req.route.secret {
		if kept, err = json.Marshal(out); err != nil {
			return nil, err
		}
		if len(kept) > longestKept {
			kept = nil
		}
	}
	if err := s.store.Keep(context.WithoutCancel(ctx), o, kept); err != nil {
		s.log.Warn("an answer was not kept for when its request comes again", "route", req.route.op.Path, "error", err)
	}
	return out, nil
}

// flights are the requests that are on their way, by their ids.
type flights struct {
	mu  sync.Mutex
	ids map[string]chan struct{} // closed when the request is over
}

// enter waits until no request of this id is on its way, and is one until leave is called.
func (f *flights) enter(ctx context.Context, id string) (leave func(), err error) {
	for {
		f.mu.Lock()
		over, busy := f.ids[id]
		if !busy {
			over = make(chan struct{})
			if f.ids == nil {
				f.ids = map[string]chan struct{}{}
			}
			f.ids[id] = over
			f.mu.Unlock()
			return func() {
				f.mu.Lock()
				defer f.mu.Unlock()
				delete(f.ids, id)
				close(over)
			}, nil
		}
		f.mu.Unlock()
		select {
		case <-over:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

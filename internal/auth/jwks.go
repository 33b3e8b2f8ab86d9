package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	maxSet     = 1 << 20          // bytes of a JWKS
	setAge     = 10 * time.Minute // after which it is read again
	setStale   = 24 * time.Hour   // for which it is used though it cannot be read again
	setPause   = 30 * time.Second // between two attempts to read it, whoever asks for what
	setTimeout = 5 * time.Second  // for its server to answer
)

// keySet is the keys of a JWKS, read when they are first needed. One goroutine reads at a
// time, and only who needs what is not there waits for it.
type keySet struct {
	source string // an https address or an absolute path
	client *http.Client
	log    *slog.Logger

	known   atomic.Pointer[knownKeys]
	reading chan struct{} // holds one thing while somebody reads; tried belongs to that one
	tried   time.Time
}

// knownKeys is what was read, and when.
type knownKeys struct {
	keys  []publicKey
	at    time.Time
	stamp string // of a file, to see that it is another one
}

// keySet is that of the source, and a new one when the configuration names another.
func (a *Auth) keySet(source string) *keySet {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.set == nil || a.set.source != source {
		a.set = &keySet{source: source, client: a.client, log: a.c.Log, reading: make(chan struct{}, 1)}
	}
	return a.set
}

// find gives the keys that may have signed the token: of its kid, or all without one, those
// that may do its algorithm. A kid that is not known may be new, so the set is read again
// for it, now and then.
func (s *keySet) find(ctx context.Context, t *jwt.Token) (any, error) {
	kid, _ := t.Header["kid"].(string)
	known := s.known.Load()
	needed := known == nil || time.Since(known.at) > setStale || len(known.of(kid)) == 0
	if needed || s.old(known) {
		s.read(ctx, known, needed)
		known = s.known.Load()
	}
	if known == nil || time.Since(known.at) > setStale {
		return nil, errors.New("the JWKS could not be read")
	}
	var fit jwt.VerificationKeySet
	for _, k := range known.of(kid) {
		if slices.Contains(k.algorithms, t.Method.Alg()) {
			fit.Keys = append(fit.Keys, k.key)
		}
	}
	if len(fit.Keys) == 0 {
		return nil, fmt.Errorf("the JWKS has no key for the algorithm %s with the kid %.60q", t.Method.Alg(), kid)
	}
	return fit, nil
}

// of gives the keys with the id, or all without one.
func (k *knownKeys) of(id string) []publicKey {
	if id == "" {
		return k.keys
	}
	var keys []publicKey
	for _, key := range k.keys {
		if key.id == id {
			keys = append(keys, key)
		}
	}
	return keys
}

// old reports whether the set should be read again, though what is needed is there.
func (s *keySet) old(k *knownKeys) bool {
	return time.Since(k.at) > setAge || s.isFile() && k.stamp != s.stamp()
}

// shown is the source for the log: what an address asks for may be secret.
func (s *keySet) shown() string {
	address, _, _ := strings.Cut(s.source, "?")
	return address
}

func (s *keySet) isFile() bool { return !strings.HasPrefix(s.source, "https://") }

// stamp tells one state of a file from another.
func (s *keySet) stamp() string {
	info, err := os.Stat(s.source)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}

// read reads the set again, unless somebody has done so since it was seen, or just now; or
// somebody is at it, and it is not needed at once. What goes wrong is in the log; the old set
// stays.
func (s *keySet) read(ctx context.Context, seen *knownKeys, needed bool) {
	select {
	case s.reading <- struct{}{}:
	default:
		if !needed {
			return
		}
		select {
		case s.reading <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
	defer func() { <-s.reading }()
	if s.known.Load() != seen || time.Since(s.tried) < setPause && !s.replaced(seen) {
		return
	}
	s.tried = time.Now()
	stamp := ""
	if s.isFile() {
		stamp = s.stamp()
	}
	// Who waits may go away; what is read is for everybody.
	keys, err := s.load(context.WithoutCancel(ctx))
	if err != nil {
		s.log.Warn("the JWKS cannot be read: tokens are held to what was read before, if anything was", "jwks", s.shown(), "error", err)
		return
	}
	s.known.Store(&knownKeys{keys, s.tried, stamp})
}

// replaced reports whether the file is another one than was read: then there is no need to
// pause.
func (s *keySet) replaced(seen *knownKeys) bool {
	return seen != nil && s.isFile() && seen.stamp != s.stamp()
}

func (s *keySet) load(ctx context.Context) ([]publicKey, error) {
	body, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(io.LimitReader(body, maxSet+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSet {
		return nil, fmt.Errorf("it is larger than %d MiB", maxSet>>20)
	}
	return parseKeys(text)
}

func (s *keySet) open(ctx context.Context) (io.ReadCloser, error) {
	if s.isFile() {
		if info, err := os.Stat(s.source); err == nil && !info.Mode().IsRegular() {
			return nil, errors.New("it is no file") // opening a pipe would wait for its writer
		}
		return os.Open(s.source)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.source, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.client.Do(r)
	if e, ok := errors.AsType[*url.Error](err); ok {
		return nil, e.Err // without the address
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("its server answers %s", resp.Status), resp.Body.Close())
	}
	return resp.Body, nil
}

// newSetClient gets JWKS: over TLS only, wherever it is led, and within setTimeout.
func newSetClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: transport,
		Timeout:   setTimeout,
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Scheme != "https" || len(via) > 3 {
				return errors.New("it is led astray")
			}
			return nil
		},
	}
}

package auth_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/auth"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// server answers for every address, without a network, so that a bubble can watch it.
type server struct {
	mu     sync.Mutex
	asked  []string
	answer func(r *http.Request) (status int, body io.Reader, err error)
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.String())
	answer := s.answer
	s.mu.Unlock()
	status, body, err := answer(r)
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	if status == http.StatusFound {
		to, _ := io.ReadAll(body)
		h.Set("Location", string(to))
		body = strings.NewReader("")
	}
	return &http.Response{StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Header: h, Body: io.NopCloser(body), Request: r}, nil
}

func (s *server) says(answer func(r *http.Request) (int, io.Reader, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *server) has(kids ...string) {
	text := set(nil, kids...)
	s.says(func(*http.Request) (int, io.Reader, error) { return 200, strings.NewReader(text), nil })
}

func (s *server) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

const address = "https://id.example/keys?token=SECRET"

func served(t *testing.T) (*auth.Auth, *server, *bytes.Buffer, func(kid string, want bool)) {
	s := &server{}
	log := &bytes.Buffer{}
	a := tokens(auth.JWT{JWKS: address}, logged(log), func(c *auth.Config) { c.Transport = s })
	return a, s, log, func(kid string, want bool) {
		t.Helper()
		if _, err := a.Caller(t.Context(), signers()[kid].token(t, kid, nil)); (err == nil) != want || err != nil && iris.CodeOf(err) != iris.CodeUnauthorized {
			t.Errorf("%s: %v", kid, err)
		}
	}
}

func TestKeysAreReadWhenTheyAreNeeded(t *testing.T) {
	signers()
	synctest.Test(t, func(t *testing.T) {
		_, s, _, good := served(t)
		s.has("es256")
		if s.times() != 0 {
			t.Error("they are read before anybody shows a token")
		}
		for range 10 {
			good("es256", true)
		}
		if s.times() != 1 {
			t.Errorf("read %d times for one key, want 1", s.times())
		}

		// A new key is found, but not looked for again and again.
		time.Sleep(time.Minute)
		for range 100 {
			good("eddsa", false)
		}
		if s.times() != 2 {
			t.Errorf("read %d times for keys that are not there, want 2", s.times())
		}
		s.has("es256", "eddsa")
		good("eddsa", false)
		time.Sleep(31 * time.Second)
		good("eddsa", true)
		if s.times() != 3 {
			t.Errorf("read %d times, want 3", s.times())
		}

		// One that is taken out is no longer good after a while.
		s.has("eddsa")
		time.Sleep(9 * time.Minute)
		good("es256", true)
		time.Sleep(2 * time.Minute)
		good("es256", false)
		good("eddsa", true)
	})
}

func TestKeysThatCannotBeHad(t *testing.T) {
	signers()
	synctest.Test(t, func(t *testing.T) {
		_, s, log, good := served(t)
		s.says(func(*http.Request) (int, io.Reader, error) { return 0, nil, errors.New("no route to host") })
		for range 50 {
			good("es256", false)
		}
		if s.times() != 1 || strings.Count(log.String(), "level=WARN") != 1 || strings.Contains(log.String(), "SECRET") || !strings.Contains(log.String(), "no route to host") {
			t.Errorf("asked %d times, log: %s", s.times(), log)
		}
		time.Sleep(31 * time.Second)
		s.has("es256")
		good("es256", true)

		// Then the old ones do, for a day.
		s.says(func(*http.Request) (int, io.Reader, error) { return 500, strings.NewReader("oops"), nil })
		for range 23 {
			time.Sleep(time.Hour)
			good("es256", true)
		}
		time.Sleep(2 * time.Hour)
		good("es256", false)
		s.has("es256")
		time.Sleep(31 * time.Second)
		good("es256", true)
	})
}

func TestAnswersThatAreNoKeys(t *testing.T) {
	signers()
	whole := set(nil, "es256")
	many := set(make([]any, 40), "es256")
	for _, tt := range []struct {
		name   string
		answer func(*http.Request) (int, io.Reader, error)
		good   bool
	}{
		{"not JSON", func(*http.Request) (int, io.Reader, error) { return 200, strings.NewReader("<html>"), nil }, false},
		{"no keys", func(*http.Request) (int, io.Reader, error) { return 200, strings.NewReader(`{"keys":[]}`), nil }, false},
		{"null", func(*http.Request) (int, io.Reader, error) { return 200, strings.NewReader(`null`), nil }, false},
		{"too many keys", func(*http.Request) (int, io.Reader, error) { return 200, strings.NewReader(many), nil }, false},
		{"a megabyte", func(*http.Request) (int, io.Reader, error) {
			return 200, strings.NewReader(whole + strings.Repeat(" ", 1<<20)), nil
		}, false},
		{"without an end", func(r *http.Request) (int, io.Reader, error) { return 200, &endless{done: r.Context().Done()}, nil }, false},
		{"nothing at all", func(r *http.Request) (int, io.Reader, error) { <-r.Context().Done(); return 0, nil, r.Context().Err() }, false},
		{"led to another address", func(r *http.Request) (int, io.Reader, error) {
			if r.URL.Host == "id.example" {
				return 302, strings.NewReader("https://cdn.example/keys"), nil
			}
			return 200, strings.NewReader(whole), nil
		}, true},
		{"led out of TLS", func(r *http.Request) (int, io.Reader, error) {
			if r.URL.Scheme == "https" {
				return 302, strings.NewReader("http://id.example/keys"), nil
			}
			return 200, strings.NewReader(whole), nil
		}, false},
		{"led in circles", func(r *http.Request) (int, io.Reader, error) { return 302, strings.NewReader(address), nil }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, s, log, good := served(t)
				s.says(tt.answer)
				began := time.Now()
				good("es256", tt.good)
				if took := time.Since(began); took > 6*time.Second {
					t.Errorf("it took %v", took)
				}
				if s.times() > 5 || strings.Contains(log.String(), "SECRET") || (log.Len() > 0) == tt.good {
					t.Errorf("asked %d times, log: %s", s.times(), log)
				}
			})
		})
	}
}

// endless is a body that trickles and never ends.
type endless struct{ done <-chan struct{} }

func (e *endless) Read(p []byte) (int, error) {
	select {
	case <-e.done:
		return 0, io.ErrUnexpectedEOF
	case <-time.After(100 * time.Millisecond):
		p[0] = ' '
		return 1, nil
	}
}

// TestASlowServerKeepsNobodyWaiting: who has a key that is known does not wait for the set to
// be read again, and who has not does not ask twice.
func TestASlowServerKeepsNobodyWaiting(t *testing.T) {
	signers()
	synctest.Test(t, func(t *testing.T) {
		_, s, _, good := served(t)
		s.has("es256")
		good("es256", true)
		time.Sleep(11 * time.Minute)
		let := make(chan struct{})
		text := set(nil, "es256", "eddsa")
		s.says(func(*http.Request) (int, io.Reader, error) { <-let; return 200, strings.NewReader(text), nil })
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { good("eddsa", true) })
		}
		synctest.Wait() // one of them reads, the others wait for it
		began := time.Now()
		good("es256", true)
		if took := time.Since(began); took > 0 {
			t.Errorf("it waited %v", took)
		}
		close(let)
		all.Wait()
		if s.times() != 2 {
			t.Errorf("asked %d times, want 2", s.times())
		}
	})
}

// TestAnotherSource: an edit of the configuration begins anew.
func TestAnotherSource(t *testing.T) {
	jwks := write(t, "a.json", set(nil, "es256"))
	a := tokens(auth.JWT{}, func(c *auth.Config) {
		c.JWT = func() (auth.JWT, bool) { return auth.JWT{JWKS: jwks}, true }
	})
	token := signers()["es256"].token(t, "es256", nil)
	if _, err := a.Caller(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	jwks = write(t, "b.json", set(nil, "eddsa"))
	if _, err := a.Caller(t.Context(), token); err == nil {
		t.Error("a key of the old set is still good")
	}
}

func TestAFileIsReadWhenItChanges(t *testing.T) {
	file := write(t, "keys.json", set(nil, "es256"))
	a := tokens(auth.JWT{JWKS: file})
	good := func(kid string, want bool) {
		t.Helper()
		if _, err := a.Caller(t.Context(), signers()[kid].token(t, kid, nil)); (err == nil) != want {
			t.Errorf("%s: %v", kid, err)
		}
	}
	good("es256", true)
	good("eddsa", false)
	if err := os.WriteFile(file, []byte(set(nil, "eddsa")), 0o600); err != nil {
		t.Fatal(err)
	}
	good("eddsa", true)
	good("es256", false)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	good("eddsa", true) // what was read before
	a = tokens(auth.JWT{JWKS: t.TempDir()})
	good("eddsa", false)
}

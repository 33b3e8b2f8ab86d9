package auth_test

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	iris "github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/auth"
)

// shelf is a store of keys.
type shelf struct {
	keys []iris.Key
	err  error
}

func (s shelf) KeyByHash(_ context.Context, hash string) (iris.Key, bool, error) {
	i := slices.IndexFunc(s.keys, func(k iris.Key) bool { return k.Hash == hash })
	if i < 0 || s.err != nil {
		return iris.Key{}, false, s.err
	}
	return s.keys[i], true, nil
}

func TestWhoACredentialBelongsTo(t *testing.T) {
	local, localHash := auth.NewKey()
	now := time.Now()
	scopes := []iris.Scope{"messages:read"}
	of := func(name string) string { return auth.Hash("iris_sk_" + name) }
	inFile := []iris.Key{
		{Name: "file", Hash: of("file"), Scopes: scopes, Teams: []string{"backend"}},
		{Name: "file-standing", Hash: of("file-standing"), Scopes: scopes, Standing: true},
		{Name: "file-expired", Hash: of("file-expired"), ExpiresAt: now.Add(-time.Second)},
	}
	inStore := []iris.Key{
		{Name: "store", Hash: of("store"), Scopes: scopes},
		{Name: "later", Hash: of("later"), ExpiresAt: now.Add(time.Hour)},
		{Name: "expired", Hash: of("expired"), ExpiresAt: now},
		{Name: "revoked", Hash: of("revoked"), RevokedAt: now},
		{Name: "both", Hash: of("both"), RevokedAt: now, ExpiresAt: now},
	}
	const invalid = "Invalid API key: ask whoever runs this Iris for one; `iris-mcp api-key create` makes it"
	const expired = "API key expired: ask whoever runs this Iris for a new one; `iris-mcp api-key create` makes it"
	for _, tt := range []struct {
		name, credential string
		standing         bool
		want             iris.Caller
		refusal          string
	}{
		{"the local key is the local user", local, true, iris.Caller{Kind: iris.CallerLocal}, ""},
		{"a key of the file", "iris_sk_file", false, iris.Caller{Kind: iris.CallerKey, Name: "file", Scopes: scopes, Teams: []string{"backend"}}, ""},
		{"a key of the file has its own word on sessions", "iris_sk_file", true, iris.Caller{Kind: iris.CallerKey, Name: "file", Scopes: scopes, Teams: []string{"backend"}}, ""},
		{"a standing key of the file", "iris_sk_file-standing", false, iris.Caller{Kind: iris.CallerKey, Name: "file-standing", Scopes: scopes, Standing: true}, ""},
		{"a key of the store", "iris_sk_store", false, iris.Caller{Kind: iris.CallerKey, Name: "store", Scopes: scopes}, ""},
		{"a key of the store where sessions are standing", "iris_sk_store", true, iris.Caller{Kind: iris.CallerKey, Name: "store", Scopes: scopes, Standing: true}, ""},
		{"a key that expires later", "iris_sk_later", false, iris.Caller{Kind: iris.CallerKey, Name: "later"}, ""},
		{"nothing", "", false, iris.Caller{}, "Missing or invalid Authorization header: send an API key as `Authorization: Bearer iris_sk_…` or as `X-Api-Key`"},
		{"an unknown key", "iris_sk_nobody", false, iris.Caller{}, invalid},
		{"a revoked key", "iris_sk_revoked", false, iris.Caller{}, invalid},
		{"a key that was revoked and has expired", "iris_sk_both", false, iris.Caller{}, invalid},
		{"a hash in place of its key", of("store"), false, iris.Caller{}, invalid},
		{"a key with a blank behind it", "iris_sk_store ", false, iris.Caller{}, invalid},
		{"a key of a megabyte", string(make([]byte, 1<<20)), false, iris.Caller{}, invalid},
		{"an expired key", "iris_sk_expired", false, iris.Caller{}, expired},
		{"an expired key of the file", "iris_sk_file-expired", false, iris.Caller{}, expired},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := auth.New(auth.Config{
				Store:     shelf{keys: inStore},
				Keys:      func() []iris.Key { return inFile },
				Standing:  func() bool { return tt.standing },
				LocalHash: localHash,
			})
			got, err := a.Caller(t.Context(), tt.credential)
			if tt.refusal == "" {
				if err != nil || !got.Is(tt.want) || got.Standing != tt.want.Standing || !slices.Equal(got.Scopes, tt.want.Scopes) || !slices.Equal(got.Teams, tt.want.Teams) {
					t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
				}
				return
			}
			e, ok := errors.AsType[*iris.Error](err)
			if !ok || e.Code != iris.CodeUnauthorized || e.Message != tt.refusal || e.Details != nil {
				t.Errorf("got %+v, %v, want %q", got, err, tt.refusal)
			}
		})
	}
}

func TestAKeyExpiresWhileItIsInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, hash := auth.NewKey()
		a := auth.New(auth.Config{
			Store:    shelf{keys: []iris.Key{{Name: "a", Hash: hash, ExpiresAt: time.Now().Add(time.Hour)}}},
			Keys:     func() []iris.Key { return nil },
			Standing: func() bool { return false },
		})
		if _, err := a.Caller(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour)
		if _, err := a.Caller(t.Context(), key); iris.CodeOf(err) != iris.CodeUnauthorized {
			t.Errorf("after an hour: %v", err)
		}
	})
}

func TestNoHashIsNobodysKey(t *testing.T) {
	a := auth.New(auth.Config{
		Store:    shelf{keys: []iris.Key{{Name: "empty"}}},
		Keys:     func() []iris.Key { return []iris.Key{{Name: "empty"}} },
		Standing: func() bool { return false },
	})
	for _, credential := range []string{"", "x", auth.Hash("")} {
		if who, err := a.Caller(t.Context(), credential); iris.CodeOf(err) != iris.CodeUnauthorized {
			t.Errorf("%q is %+v, %v", credential, who, err)
		}
	}
}

// careless is a store that finds the same key for every hash.
type careless struct{ key iris.Key }

func (c careless) KeyByHash(context.Context, string) (iris.Key, bool, error) { return c.key, true, nil }

func TestAKeyIsComparedWhateverTheStoreFinds(t *testing.T) {
	key, hash := auth.NewKey()
	a := auth.New(auth.Config{
		Store:    careless{iris.Key{Name: "a", Hash: hash}},
		Keys:     func() []iris.Key { return nil },
		Standing: func() bool { return false },
	})
	if who, err := a.Caller(t.Context(), key); err != nil || who.Name != "a" {
		t.Errorf("its own key: %+v, %v", who, err)
	}
	if who, err := a.Caller(t.Context(), key+"x"); iris.CodeOf(err) != iris.CodeUnauthorized {
		t.Errorf("another key: %+v, %v", who, err)
	}
}

func TestAStoreThatFailsIsNoRefusal(t *testing.T) {
	broken := errors.New("disk full")
	a := auth.New(auth.Config{
		Store:    shelf{err: broken},
		Keys:     func() []iris.Key { return nil },
		Standing: func() bool { return false },
	})
	if _, err := a.Caller(t.Context(), "iris_sk_x"); !errors.Is(err, broken) || iris.CodeOf(err) != iris.CodeInternal {
		t.Errorf("got %v", err)
	}
}

func TestNewKey(t *testing.T) {
	form := regexp.MustCompile(`^iris_sk_[A-Za-z0-9_-]{43}$`)
	seen := map[string]bool{}
	for range 1000 {
		key, hash := auth.NewKey()
		if !form.MatchString(key) || hash != auth.Hash(key) || seen[key] {
			t.Fatalf("%s, %s", key, hash)
		}
		seen[key] = true
	}
	if got := auth.Hash("abc"); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" { // FIPS 180-2, B.1
		t.Errorf("Hash(abc) = %s", got)
	}
}

func TestParseScopes(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []iris.Scope
		err  string
	}{
		{"teams:read,teams:write", []iris.Scope{"teams:read", "teams:write"}, ""},
		{" messages:* , teams:read,, messages:*", []iris.Scope{"messages:*", "teams:read"}, ""},
		{"*", []iris.Scope{"*"}, ""},
		{"teams:read,team:write", nil, `"team:write" is no scope; did you mean "teams:write"?`},
		{"root", nil, `"root" is no scope; known are teams:read, teams:write, teams:delete, messages:read, messages:write, messages:stream, processes:read, processes:manage, admin:*, *`},
		{" , ", nil, `no scope is given; known are teams:read, teams:write, teams:delete, messages:read, messages:write, messages:stream, processes:read, processes:manage, admin:*, *`},
	} {
		got, err := auth.ParseScopes(tt.text)
		if tt.err == "" && (err != nil || !slices.Equal(got, tt.want)) {
			t.Errorf("%q: %v, %v", tt.text, got, err)
		}
		if e, ok := errors.AsType[*iris.Error](err); tt.err != "" && (!ok || e.Code != iris.CodeInvalidRequest || e.Message != tt.err) {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.err)
		}
	}
}

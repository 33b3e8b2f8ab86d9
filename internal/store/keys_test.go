package store_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
	"github.com/iris-mcp/iris-mcp/internal/store"
)

func TestKeys(t *testing.T) {
	db, path := open(t)
	begin := time.UnixMilli(1_800_000_000_000).UTC()
	first := iris.Key{
		Name: "ci", Hash: "h1", Scopes: []iris.Scope{iris.ScopeMessagesRead, "teams:*"}, Teams: []string{"api"},
		Standing: true, Tier: iris.TierPremium, Limit: iris.Limit{Requests: 7, Window: 1500 * time.Millisecond}, ExpiresAt: begin.Add(time.Hour), CreatedAt: begin,
	}
	second := iris.Key{Name: "ci", Hash: "h2", Scopes: []iris.Scope{iris.ScopeAll}, CreatedAt: begin.Add(time.Minute)}

	if err := db.CreateKey(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if err := db.CreateKey(t.Context(), second); iris.CodeOf(err) != iris.CodeConflict {
		t.Errorf("a name in use gave %v, want CONFLICT", err)
	}
	if err := db.RevokeKey(t.Context(), "ci", begin.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	first.RevokedAt = begin.Add(time.Minute)
	if err := db.RevokeKey(t.Context(), "ci", begin); iris.CodeOf(err) != iris.CodeNotFound {
		t.Errorf("revoking it again gave %v, want NOT_FOUND", err)
	}
	if err := db.CreateKey(t.Context(), second); err != nil {
		t.Errorf("a revoked name is not free: %v", err)
	}
	if err := db.CreateKey(t.Context(), iris.Key{Name: "other", Hash: "h1"}); iris.CodeOf(err) != iris.CodeConflict {
		t.Errorf("a hash in use gave %v, want CONFLICT", err)
	}

	db = reopen(t, path)
	for _, want := range []iris.Key{first, second} {
		got, ok, err := db.KeyByHash(t.Context(), want.Hash)
		if err != nil || !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("by hash %+v (%v, %v), want %+v", got, ok, err, want)
		}
	}
	if got, ok, err := db.KeyByHash(t.Context(), "h3"); ok || err != nil || got.Name != "" {
		t.Errorf("an unknown hash gave %+v (%v, %v)", got, ok, err)
	}
	if got, err := db.Keys(t.Context()); err != nil || !reflect.DeepEqual(got, []iris.Key{first, second}) {
		t.Errorf("all keys are %+v (%v)", got, err)
	}
}

// validKeys are the hashes that are good at a time.
func validKeys(t *testing.T, db *store.DB, at time.Time) (hashes []string) {
	t.Helper()
	keys, err := db.Keys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || at.Before(k.ExpiresAt)) {
			hashes = append(hashes, k.Hash)
		}
	}
	slices.Sort(hashes)
	return hashes
}

func TestRotateKey(t *testing.T) {
	db, _ := open(t)
	begin := time.UnixMilli(1_800_000_000_000).UTC()
	first := iris.Key{
		Name: "ci", Hash: "h1", Scopes: []iris.Scope{"teams:*"}, Teams: []string{"api"}, Standing: true, Tier: iris.TierPremium,
		ExpiresAt: begin.Add(24 * time.Hour), CreatedAt: begin,
	}
	if err := db.CreateKey(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	rotate := func(hash string, at time.Time, grace time.Duration) iris.Key {
		t.Helper()
		k, err := db.RotateKey(t.Context(), "ci", hash, at, grace)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	valid := func(at time.Time, want ...string) {
		t.Helper()
		if got := validKeys(t, db, at); !slices.Equal(got, want) {
			t.Errorf("after %v %v are good, want %v", at.Sub(begin), got, want)
		}
	}

	noon := begin.Add(12 * time.Hour)
	second := rotate("h2", noon, time.Hour)
	want := first
	want.Hash, want.CreatedAt, want.ExpiresAt = "h2", noon, noon.Add(24*time.Hour)
	if stored, _, err := db.KeyByHash(t.Context(), "h2"); err != nil || !reflect.DeepEqual(second, want) || !reflect.DeepEqual(stored, want) {
		t.Errorf("the new one is %+v, stored %+v (%v), want %+v", second, stored, err, want)
	}
	valid(noon, "h1", "h2")
	valid(noon.Add(time.Hour), "h2")

	rotate("h3", noon.Add(time.Minute), 100*time.Hour) // longer than it would have lived
	valid(noon.Add(2*time.Minute), "h1", "h2", "h3")
	valid(noon.Add(24*time.Hour), "h3")

	rotate("h4", noon.Add(2*time.Minute), 0) // a key that leaked: no older one is left
	valid(noon.Add(3*time.Minute), "h4")

	rotate("h5", noon.Add(4*time.Minute), time.Hour)
	if err := db.CreateKey(t.Context(), iris.Key{Name: "ci", Hash: "h6"}); iris.CodeOf(err) != iris.CodeConflict {
		t.Errorf("the name is free: %v", err)
	}
	if err := db.RevokeKey(t.Context(), "ci", noon.Add(5*time.Minute)); err != nil {
		t.Error(err)
	}
	valid(noon.Add(6 * time.Minute))
	if _, err := db.RotateKey(t.Context(), "ci", "h7", noon, 0); iris.CodeOf(err) != iris.CodeNotFound {
		t.Errorf("rotating a revoked one gave %v, want NOT_FOUND", err)
	}
	if err := db.CreateKey(t.Context(), iris.Key{Name: "x", Hash: "h8"}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.RotateKey(t.Context(), "x", "h1", noon, 0); iris.CodeOf(err) != iris.CodeConflict {
		t.Errorf("a hash in use gave %v, want CONFLICT", err)
	}
	valid(noon.Add(6*time.Minute), "h8") // and nothing was changed
}

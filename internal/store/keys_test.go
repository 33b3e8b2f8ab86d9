package store_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

func TestKeys(t *testing.T) {
	db, path := open(t)
	begin := time.UnixMilli(1_800_000_000_000).UTC()
	first := iris.Key{
		Name: "ci", Hash: "h1", Scopes: []iris.Scope{iris.ScopeMessagesRead, "teams:*"}, Teams: []string{"api"},
		Standing: true, ExpiresAt: begin.Add(time.Hour), CreatedAt: begin,
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

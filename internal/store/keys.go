package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

const keyColumns = `hash, name, scopes, teams, standing, expires_at, created_at, revoked_at`

const keyByHash = `SELECT ` + keyColumns + ` FROM api_key WHERE hash = $1`

// CreateKey stores a key; CONFLICT when one of that name has not been revoked.
func (db *DB) CreateKey(ctx context.Context, k iris.Key) error {
	scopes, err := encode(k.Scopes)
	if err != nil {
		return wrap(err, "create key %q", k.Name)
	}
	teams, err := encode(k.Teams)
	if err != nil {
		return wrap(err, "create key %q", k.Name)
	}
	err = db.write(ctx, func(tx tx) error {
		n, err := tx.exec(`INSERT INTO api_key (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
			k.Hash, k.Name, scopes, teams, k.Standing, millis(k.ExpiresAt), millis(k.CreatedAt), millis(k.RevokedAt))
		if err == nil && n == 0 {
			err = iris.Errorf(iris.CodeConflict, "there is an API key named %q: choose another name, or revoke that one first", k.Name)
		}
		return err
	})
	return wrap(err, "create key %q", k.Name)
}

// Keys gives every key, revoked and expired ones too, the oldest first.
func (db *DB) Keys(ctx context.Context) ([]iris.Key, error) {
	var keys []iris.Key
	rows, err := db.query(ctx, `SELECT `+keyColumns+` FROM api_key ORDER BY created_at, name, hash`)
	if err == nil {
		keys, err = collect(rows, scanKey)
	}
	return keys, wrap(err, "read keys")
}

// KeyByHash finds the key of a hash, be it valid, expired or revoked: the key itself says. It
// reports false when there is none.
func (db *DB) KeyByHash(ctx context.Context, hash string) (k iris.Key, ok bool, err error) {
	k, err = scanKey(db.row(ctx, keyByHash, hash))
	if errors.Is(err, sql.ErrNoRows) {
		return iris.Key{}, false, nil
	}
	return k, err == nil, wrap(err, "read key")
}

// RevokeKey ends the validity of the key of that name and sets the name free; NOT_FOUND.
func (db *DB) RevokeKey(ctx context.Context, name string, at time.Time) error {
	err := db.write(ctx, func(tx tx) error {
		n, err := tx.exec(`UPDATE api_key SET revoked_at = $2 WHERE name = $1 AND revoked_at = 0`, name, millis(at))
		if err == nil && n == 0 {
			err = iris.Errorf(iris.CodeNotFound, "there is no valid API key named %q: iris-mcp api-key list shows them", name)
		}
		return err
	})
	return wrap(err, "revoke key %q", name)
}

func scanKey(row scanner) (k iris.Key, err error) {
	err = row.Scan(&k.Hash, &k.Name, structure{&k.Scopes}, structure{&k.Teams}, &k.Standing, (*millis)(&k.ExpiresAt), (*millis)(&k.CreatedAt), (*millis)(&k.RevokedAt))
	return k, err
}

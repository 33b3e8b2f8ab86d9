package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/iris-mcp/iris-mcp"
)

const keyColumns = `hash, name, scopes, teams, standing, tier, limit_requests, limit_window, expires_at, created_at, replaced_at, revoked_at`

const (
	keyByHash = `SELECT ` + keyColumns + ` FROM api_key WHERE hash = $1`
	keyByName = `SELECT ` + keyColumns + ` FROM api_key WHERE name = $1 AND revoked_at = 0 AND replaced_at = 0`
	insertKey = `INSERT INTO api_key (` + keyColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING`
)

// CreateKey stores a key; CONFLICT when one of that name has not been revoked.
func (db *DB) CreateKey(ctx context.Context, k iris.Key) error {
	err := db.write(ctx, func(tx tx) error { return addKey(tx, k) })
	return wrap(err, "create key %q", k.Name)
}

func addKey(tx tx, k iris.Key) error {
	scopes, err := encode(k.Scopes)
	if err != nil {
		return err
	}
	teams, err := encode(k.Teams)
	if err != nil {
		return err
	}
	n, err := tx.exec(insertKey, k.Hash, k.Name, scopes, teams, k.Standing, string(k.Tier), k.Limit.Requests, span(k.Limit.Window),
		millis(k.ExpiresAt), millis(k.CreatedAt), millis(k.ReplacedAt), millis(k.RevokedAt))
	if err == nil && n == 0 {
		err = iris.Errorf(iris.CodeConflict, "there is an API key named %q: choose another name, or revoke that one first", k.Name)
	}
	return err
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

// RevokeKey ends the validity of the key of that name, and of those that it took the place of,
// and sets the name free; NOT_FOUND.
func (db *DB) RevokeKey(ctx context.Context, name string, at time.Time) error {
	err := db.write(ctx, func(tx tx) error {
		n, err := tx.exec(`UPDATE api_key SET revoked_at = $2 WHERE name = $1 AND revoked_at = 0`, name, millis(at))
		if err == nil && n == 0 {
			err = noKey(name)
		}
		return err
	})
	return wrap(err, "revoke key %q", name)
}

// RotateKey puts a key with another hash in the place of the one of that name, with all that
// it may do and as long a life, from now. The old one stays good for the grace, if that is
// not beyond its end; without a grace it is revoked, and so is whatever an earlier grace has
// left. NOT_FOUND.
func (db *DB) RotateKey(ctx context.Context, name, hash string, at time.Time, grace time.Duration) (k iris.Key, err error) {
	err = db.write(ctx, func(tx tx) error {
		if k, err = scanKey(tx.row(keyByName, name)); errors.Is(err, sql.ErrNoRows) {
			return noKey(name)
		}
		if err != nil {
			return err
		}
		if grace > 0 {
			_, err = tx.exec(`UPDATE api_key SET replaced_at = $2, expires_at = CASE expires_at WHEN 0 THEN $3 ELSE min(expires_at, $3) END WHERE hash = $1`,
				k.Hash, millis(at), millis(at.Add(grace)))
		} else {
			_, err = tx.exec(`UPDATE api_key SET revoked_at = $2 WHERE name = $1 AND revoked_at = 0`, name, millis(at))
		}
		if err != nil {
			return err
		}
		if !k.ExpiresAt.IsZero() {
			k.ExpiresAt = at.Add(k.ExpiresAt.Sub(k.CreatedAt))
		}
		k.Hash, k.CreatedAt = hash, at
		return addKey(tx, k)
	})
	return k, wrap(err, "rotate key %q", name)
}

func noKey(name string) error {
	return iris.Errorf(iris.CodeNotFound, "there is no valid API key named %q: iris-mcp api-key list shows them", name)
}

func scanKey(row scanner) (k iris.Key, err error) {
	err = row.Scan(&k.Hash, &k.Name, structure{&k.Scopes}, structure{&k.Teams}, &k.Standing, &k.Tier, &k.Limit.Requests, (*span)(&k.Limit.Window),
		(*millis)(&k.ExpiresAt), (*millis)(&k.CreatedAt), (*millis)(&k.ReplacedAt), (*millis)(&k.RevokedAt))
	return k, err
}

-- What a key may ask for in a time, and keys that another took the place of.

-- +goose Up
ALTER TABLE api_key ADD COLUMN tier TEXT NOT NULL DEFAULT '';
ALTER TABLE api_key ADD COLUMN limit_requests INTEGER NOT NULL DEFAULT 0; -- 0: those of the tier
ALTER TABLE api_key ADD COLUMN limit_window INTEGER NOT NULL DEFAULT 0;
-- A key that was rotated is good until expires_at beside the one that has its name now.
ALTER TABLE api_key ADD COLUMN replaced_at INTEGER NOT NULL DEFAULT 0;
DROP INDEX api_key_name;
CREATE UNIQUE INDEX api_key_name ON api_key (name) WHERE revoked_at = 0 AND replaced_at = 0;

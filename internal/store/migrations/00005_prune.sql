-- +goose Up

-- Messages that are gone and whose events are yet to go: a message of many events goes in steps.
CREATE TABLE pruned (
    message_id TEXT NOT NULL PRIMARY KEY
) WITHOUT ROWID, STRICT;

-- The sessions that may go when nobody has used them for long.
CREATE INDEX session_used ON session (used_at) WHERE standing = 0;

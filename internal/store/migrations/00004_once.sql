-- +goose Up

-- Requests that carried an Idempotency-Key, so that sending one again does not carry it out
-- again. One that became a message leads to that; another has its short answer kept here.
CREATE TABLE once (
    id         TEXT    NOT NULL PRIMARY KEY, -- hash of caller, route and key
    caller     TEXT    NOT NULL,
    body       TEXT    NOT NULL, -- hash of what was asked for
    message_id TEXT    NOT NULL, -- or empty
    light      INTEGER NOT NULL, -- 1: no message came with it, so that nothing else bounds their number
    answer     TEXT,             -- NULL: none is kept
    created_at INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX once_created ON once (created_at);
CREATE INDEX once_light ON once (caller, created_at) WHERE light = 1;

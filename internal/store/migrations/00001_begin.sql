-- The record of Iris. Times are integer milliseconds since 1970 (UTC), 0 for "not yet";
-- durations are integer milliseconds; structures are JSON text, NULL for none.

-- +goose Up

-- One conversation of a team with a caller.
CREATE TABLE session (
    id          TEXT    NOT NULL PRIMARY KEY,
    team        TEXT    NOT NULL,
    caller_kind TEXT    NOT NULL,
    caller_name TEXT    NOT NULL,
    name        TEXT    NOT NULL, -- the caller's own name for it, or empty
    standing    INTEGER NOT NULL, -- 1: the one that messages without a session share
    agent_id    TEXT    NOT NULL, -- the CLI's id of the conversation
    started     INTEGER NOT NULL, -- 1: the CLI knows a conversation of that id
    created_at  INTEGER NOT NULL,
    used_at     INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX session_team ON session (team);
CREATE UNIQUE INDEX session_name ON session (team, caller_kind, caller_name, name) WHERE name <> '';
CREATE UNIQUE INDEX session_standing ON session (team, caller_kind, caller_name) WHERE standing = 1;

-- What a caller said and what became of it. Long texts stand last, so that the rest of a row
-- can be read without them.
CREATE TABLE message (
    n            INTEGER NOT NULL PRIMARY KEY, -- grows with each message
    id           TEXT    NOT NULL UNIQUE,
    team         TEXT    NOT NULL,
    caller_kind  TEXT    NOT NULL,
    caller_name  TEXT    NOT NULL,
    origin       TEXT    NOT NULL, -- what a history's "from" selects: key, local or team/NAME
    session_id   TEXT    NOT NULL,
    session_name TEXT    NOT NULL,
    task         INTEGER NOT NULL,
    priority     INTEGER NOT NULL,
    timeout      INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    status       TEXT    NOT NULL CHECK (status IN ('queued', 'processing', 'completed', 'failed', 'cancelled')),
    attempts     INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    started_at   INTEGER NOT NULL,
    completed_at INTEGER NOT NULL,
    text         TEXT    NOT NULL,
    context      TEXT,
    response     TEXT    NOT NULL,
    error        TEXT,
    metadata     TEXT
) STRICT;
-- The history is read by any of team, origin and status, newest first, with an exact total;
-- the last columns of an index save the look into the row. A message comes into the indexes by
-- status once, when it is final, and until then stands in the small one of the living.
CREATE INDEX message_created ON message (created_at);
CREATE INDEX message_team ON message (team, created_at, n, origin);
CREATE INDEX message_origin ON message (origin, created_at, n, team);
CREATE INDEX message_living ON message (status, team, created_at, n, origin) WHERE status IN ('queued', 'processing');
CREATE INDEX message_status ON message (status, created_at, n, origin, team) WHERE status IN ('completed', 'failed', 'cancelled');
CREATE INDEX message_team_status ON message (team, status, created_at, n, origin) WHERE status IN ('completed', 'failed', 'cancelled');

-- The queue. Jobs with the lower rank run first: rank is the time of acceptance, less the head
-- start of the priority, so that a low one comes first in the end.
CREATE TABLE job (
    id         TEXT    NOT NULL PRIMARY KEY,
    kind       TEXT    NOT NULL CHECK (kind IN ('turn', 'delivery')),
    state      TEXT    NOT NULL CHECK (state IN ('waiting', 'running', 'done')),
    message_id TEXT    NOT NULL,
    team       TEXT    NOT NULL,
    session_id TEXT    NOT NULL, -- a delivery, which waits for nobody's turn, has its own id here
    next       INTEGER NOT NULL, -- 1: its session is free, and it is the best of its kind (task or not) there
    task       INTEGER NOT NULL,
    priority   INTEGER NOT NULL,
    rank       INTEGER NOT NULL,
    run_at     INTEGER NOT NULL, -- not before; 0 for at once
    attempt    INTEGER NOT NULL,
    worker     TEXT    NOT NULL,
    lease_ends INTEGER NOT NULL,
    dedupe     TEXT -- two jobs that are not done never have the same
) WITHOUT ROWID, STRICT;
-- One turn at a time per session; while there is none, one task and one other job may be next.
CREATE UNIQUE INDEX job_turn ON job (session_id, (CASE state WHEN 'running' THEN -1 ELSE task END)) WHERE next = 1 OR state = 'running';
CREATE UNIQUE INDEX job_dedupe ON job (dedupe) WHERE state <> 'done' AND dedupe IS NOT NULL;
-- What a claim and a position look at, then the rest of a session's line, then what waits for its time.
CREATE INDEX job_waiting ON job (team, next, task, rank, id, run_at) WHERE state = 'waiting';
CREATE INDEX job_line ON job (session_id, task, rank, id, run_at) WHERE state = 'waiting' AND next = 0;
CREATE INDEX job_later ON job (run_at) WHERE next = 1 AND run_at > 0;

-- What happened to a message, numbered 1, 2, 3… without gaps. body holds what the kind has.
CREATE TABLE event (
    message_id TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    body       TEXT    NOT NULL,
    PRIMARY KEY (message_id, seq)
) WITHOUT ROWID, STRICT;

-- Sums of the finished messages, by team, caller and day (days since 1970, UTC).
CREATE TABLE usage (
    team               TEXT    NOT NULL,
    caller_kind        TEXT    NOT NULL,
    caller_name        TEXT    NOT NULL,
    day                INTEGER NOT NULL,
    messages           INTEGER NOT NULL,
    input_tokens       INTEGER NOT NULL,
    output_tokens      INTEGER NOT NULL,
    cache_read_tokens  INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    cost_usd           REAL    NOT NULL,
    PRIMARY KEY (team, caller_kind, caller_name, day)
) WITHOUT ROWID, STRICT;

-- API keys. A revoked one stays on record, its name is free again.
CREATE TABLE api_key (
    hash       TEXT    NOT NULL PRIMARY KEY, -- SHA-256 of the key, hex
    name       TEXT    NOT NULL,
    scopes     TEXT    NOT NULL,
    teams      TEXT    NOT NULL,
    standing   INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX api_key_name ON api_key (name) WHERE revoked_at = 0;

-- One row, written to see whether the store can be written.
CREATE TABLE ping (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    at  INTEGER NOT NULL
) STRICT;

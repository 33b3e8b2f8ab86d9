-- +goose Up

-- Who is to be told of a task's end. A row is stored with its message and comes into the queue
-- of deliveries in the transaction that ends the message. The attempt of a claim counts claims,
-- so that who has lost its lease changes nothing; failures count the attempts to deliver.
CREATE TABLE delivery (
    message_id TEXT    NOT NULL PRIMARY KEY,
    url        TEXT    NOT NULL,
    host       TEXT    NOT NULL, -- of the URL, with its port: what is called only so often at once
    caller     TEXT    NOT NULL, -- whose message it is, likewise
    method     TEXT    NOT NULL,
    headers    TEXT    NOT NULL, -- JSON
    state      TEXT    NOT NULL CHECK (state IN ('held', 'waiting', 'running', 'delivered', 'failed', 'gone')),
    failures   INTEGER NOT NULL,
    run_at     INTEGER NOT NULL, -- waiting: not before
    attempt    INTEGER NOT NULL,
    worker     TEXT    NOT NULL,
    lease_ends INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX delivery_due ON delivery (run_at, host, caller) WHERE state = 'waiting';
CREATE INDEX delivery_running ON delivery (host, caller) WHERE state = 'running';

-- The newest attempts to deliver, as they went.
CREATE TABLE delivery_attempt (
    message_id TEXT    NOT NULL,
    n          INTEGER NOT NULL, -- the claim's number
    at         INTEGER NOT NULL,
    took       INTEGER NOT NULL,
    status     INTEGER NOT NULL, -- of the answer; 0 without one
    problem    TEXT    NOT NULL,
    PRIMARY KEY (message_id, n)
) WITHOUT ROWID, STRICT;

-- A message that goes takes its deliveries along.
-- +goose StatementBegin
CREATE TRIGGER message_deliveries AFTER DELETE ON message BEGIN
    DELETE FROM delivery WHERE message_id = old.id;
    DELETE FROM delivery_attempt WHERE message_id = old.id;
END;
-- +goose StatementEnd

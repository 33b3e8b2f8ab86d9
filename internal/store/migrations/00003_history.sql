-- +goose Up

-- How many finished messages were accepted on a day (since 1970, UTC), so that a history knows
-- its total, and where a page of it lies, without counting. The few that are not finished are
-- counted where they stand, in message_living. The triggers keep it true whoever writes.
CREATE TABLE tally (
    team     TEXT    NOT NULL,
    origin   TEXT    NOT NULL,
    status   TEXT    NOT NULL,
    day      INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    lowest   INTEGER NOT NULL, -- of their numbers (n)
    highest  INTEGER NOT NULL,
    PRIMARY KEY (team, origin, status, day)
) WITHOUT ROWID, STRICT;
INSERT INTO tally (team, origin, status, day, messages, lowest, highest)
    SELECT team, origin, status, created_at / 86400000, count(*), min(n), max(n) FROM message
    WHERE status IN ('completed', 'failed', 'cancelled') GROUP BY 1, 2, 3, 4;

-- The words of what was said and answered, for the search; the texts themselves stand in message
-- alone. labels holds a word each for the team, the origin and the status (final, or not), so
-- that a search that wants those looks into the same lists. What has changed since its words
-- were written down stands in unindexed, in the same transaction, and goes from there in the
-- transaction that writes them: no message is ever forgotten.
CREATE VIRTUAL TABLE words USING fts5 (text, response, labels,
    content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2');
-- Merging is asked for bit by bit, between other writes: what FTS5 does by itself at once takes
-- twenty milliseconds here and seconds there.
INSERT INTO words (words, rank) VALUES ('automerge', 0);
INSERT INTO words (words, rank) VALUES ('crisismerge', 1000);
CREATE TABLE unindexed (n INTEGER NOT NULL PRIMARY KEY) STRICT;
INSERT INTO unindexed (n) SELECT n FROM message;

-- +goose StatementBegin
CREATE TRIGGER message_accepted AFTER INSERT ON message
BEGIN
    INSERT INTO unindexed (n) VALUES (new.n);
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER message_finished AFTER UPDATE OF status ON message
WHEN new.status IN ('completed', 'failed', 'cancelled') AND old.status IN ('queued', 'processing')
BEGIN
    INSERT INTO tally (team, origin, status, day, messages, lowest, highest)
        VALUES (new.team, new.origin, new.status, new.created_at / 86400000, 1, new.n, new.n)
        ON CONFLICT (team, origin, status, day) DO UPDATE SET
            messages = messages + 1, lowest = min(lowest, excluded.lowest), highest = max(highest, excluded.highest);
    INSERT INTO unindexed (n) VALUES (new.n) ON CONFLICT (n) DO NOTHING;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER message_deleted AFTER DELETE ON message
BEGIN
    DELETE FROM words WHERE rowid = old.n;
    DELETE FROM unindexed WHERE n = old.n;
    UPDATE tally SET messages = messages - 1
        WHERE team = old.team AND origin = old.origin AND status = old.status AND day = old.created_at / 86400000;
    DELETE FROM tally
        WHERE team = old.team AND origin = old.origin AND status = old.status AND day = old.created_at / 86400000 AND messages = 0;
END;
-- +goose StatementEnd

-- +goose Up

-- How much of its own list of tasks the agent has done; 0 of 0 without one.
ALTER TABLE message ADD COLUMN progress_current INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN progress_total INTEGER NOT NULL DEFAULT 0;

-- Self-hosted environments: their work queue, and keys that reach one environment only.

ALTER TABLE keys ADD COLUMN environment_id TEXT;

CREATE TABLE work (
    id TEXT NOT NULL PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    environment_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'starting', 'active', 'stopping', 'stopped')),
    created_at TEXT NOT NULL,
    metadata BLOB NOT NULL,
    polled_at TEXT,
    acknowledged_at TEXT,
    started_at TEXT,
    latest_heartbeat_at TEXT,
    lease_until TEXT,
    stop_requested_at TEXT,
    stopped_at TEXT,
    token_hash TEXT,
    revision INTEGER NOT NULL
) STRICT;

CREATE INDEX work_by_time ON work (environment_id, created_at, id);

CREATE UNIQUE INDEX work_by_session ON work (session_id) WHERE state <> 'stopped';

CREATE UNIQUE INDEX work_by_token ON work (token_hash) WHERE token_hash IS NOT NULL;

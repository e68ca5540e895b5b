-- The schema as it is today, for reading. The migrations make it, and a test proves that they add up to this file.
--
-- Columns that change at every write stand first: SQLite then leaves the pages that carry the tail of a long row alone.
-- JSON is kept as BLOB: its bytes come back as they went in, five times as fast as TEXT that has to be decoded.

CREATE TABLE objects (
    workspace_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    parent_id TEXT,
    number INTEGER,
    archived_at TEXT,
    body BLOB NOT NULL,
    private BLOB,
    PRIMARY KEY (workspace_id, kind, id)
) STRICT;

CREATE INDEX objects_by_time ON objects (workspace_id, kind, created_at, id);

CREATE INDEX objects_by_parent ON objects (workspace_id, kind, parent_id, created_at, id) WHERE parent_id IS NOT NULL;

CREATE UNIQUE INDEX objects_by_number ON objects (workspace_id, kind, parent_id, number)
    WHERE parent_id IS NOT NULL AND number IS NOT NULL;

CREATE INDEX files_by_content ON objects (json_extract(CAST(private AS TEXT), '$.sha256')) WHERE kind = 'file';

CREATE INDEX files_by_expiry ON objects (json_extract(CAST(body AS TEXT), '$.expires_at')) WHERE kind = 'file';

CREATE TABLE sessions (
    id TEXT NOT NULL PRIMARY KEY,
    last_seq INTEGER NOT NULL,
    last_ts TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    wake_no INTEGER NOT NULL,
    wake_at TEXT,
    owner TEXT,
    lease_until TEXT,
    status TEXT NOT NULL CHECK (status IN ('idle', 'running', 'rescheduling', 'terminated')),
    running_since TEXT,
    updated_at TEXT NOT NULL,
    config_rev INTEGER NOT NULL,
    workspace_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    agent_version INTEGER NOT NULL,
    environment_id TEXT NOT NULL,
    deployment_id TEXT,
    thread_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    archived_at TEXT,
    usage BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE INDEX sessions_by_time ON sessions (workspace_id, created_at, id);

CREATE INDEX sessions_by_environment ON sessions (environment_id);

CREATE INDEX sessions_due ON sessions (wake_at) WHERE wake_at IS NOT NULL AND owner IS NULL;

CREATE INDEX sessions_owned ON sessions (owner) WHERE owner IS NOT NULL;

CREATE TABLE events (
    session_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    thread_id TEXT,
    ts TEXT NOT NULL,
    answers TEXT,
    data BLOB NOT NULL,
    private BLOB,
    PRIMARY KEY (session_id, seq)
) STRICT;

CREATE UNIQUE INDEX events_by_id ON events (session_id, id);

CREATE INDEX events_by_type ON events (session_id, type, seq);

CREATE UNIQUE INDEX events_by_answer ON events (session_id, answers, type) WHERE answers IS NOT NULL;

CREATE TABLE inputs (
    session_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    id TEXT NOT NULL,
    type TEXT NOT NULL,
    thread_id TEXT,
    answers TEXT,
    received_at TEXT NOT NULL,
    seq INTEGER,
    data BLOB NOT NULL,
    PRIMARY KEY (session_id, n)
) STRICT;

CREATE UNIQUE INDEX inputs_by_id ON inputs (session_id, id);

CREATE INDEX inputs_waiting ON inputs (session_id, n) WHERE seq IS NULL;

CREATE UNIQUE INDEX inputs_by_answer ON inputs (session_id, answers, type) WHERE answers IS NOT NULL;

CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY,
    workspace_id TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    revoked_at TEXT,
    key_hash TEXT NOT NULL UNIQUE,
    environment_id TEXT
) STRICT;

CREATE INDEX keys_by_workspace ON keys (workspace_id, created_at, id);

CREATE TABLE replays (
    workspace_id TEXT NOT NULL,
    key TEXT NOT NULL,
    path TEXT NOT NULL,
    created_at TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    status INTEGER NOT NULL,
    reply BLOB NOT NULL,
    PRIMARY KEY (workspace_id, key, path)
) STRICT;

CREATE INDEX replays_by_time ON replays (created_at);

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

CREATE TABLE egress (
    session_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    at TEXT NOT NULL,
    method TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    decision TEXT NOT NULL CHECK (decision IN ('allowed', 'refused', 'failed')),
    reason TEXT NOT NULL,
    sent_bytes INTEGER NOT NULL,
    received_bytes INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    PRIMARY KEY (session_id, n)
) STRICT;

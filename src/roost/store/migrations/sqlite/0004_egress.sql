-- Keeps what each sandbox asked of the way out, and what became of it.

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

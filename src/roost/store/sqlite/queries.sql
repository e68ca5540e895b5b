-- Every query has a name and one sentence that says what it is for. `{object}`, `{session}`, `{key}`, `{egress}` and
-- `{work}` stand for the columns of ObjectRow, SessionRow, KeyRow, EgressRow and WorkRow, in the order of their fields.

-- name: fence
-- One row while the session's epoch is still the writer's.
SELECT 1 FROM sessions WHERE id = :session_id AND epoch = :epoch;

-- name: object_insert
-- Adds a plain object.
INSERT INTO objects (
    workspace_id, kind, id, created_at, updated_at, body, parent_id, number, archived_at, private
) VALUES (
    :workspace_id, :kind, :id, :created_at, :updated_at, :body, :parent_id, :number, :archived_at, :private
);

-- name: object_update
-- Replaces what may change of an object that nobody updated since it was read.
UPDATE objects
SET body = :body, number = :number, updated_at = :updated_at, archived_at = :archived_at, private = :private
WHERE workspace_id = :workspace_id AND kind = :kind AND id = :id AND updated_at = :was_updated_at;

-- name: object_delete
-- Removes one object.
DELETE FROM objects WHERE workspace_id = :workspace_id AND kind = :kind AND id = :id;

-- name: objects_delete_children
-- Removes every child of an object that is of one kind.
DELETE FROM objects WHERE workspace_id = :workspace_id AND kind = :kind AND parent_id = :parent_id;

-- name: object_unarchived
-- One row while the object exists and is not archived.
SELECT 1 FROM objects WHERE workspace_id = :workspace_id AND kind = :kind AND id = :id AND archived_at IS NULL;

-- name: environment_unused
-- One row while no session refers to the environment.
SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM sessions WHERE environment_id = :environment_id);

-- name: object_get
-- One object by id.
SELECT {object} FROM objects WHERE workspace_id = :workspace_id AND kind = :kind AND id = :id;

-- name: object_numbered
-- The child of an object that carries this number.
SELECT {object} FROM objects
WHERE workspace_id = :workspace_id AND kind = :kind AND parent_id = :parent_id AND number = :number;

-- name: objects_many
-- Those objects of a JSON array of ids that exist, in the array's order.
SELECT {object} FROM (SELECT key AS place, value AS wanted FROM json_each(:ids))
CROSS JOIN objects ON workspace_id = :workspace_id AND kind = :kind AND id = wanted
ORDER BY place;

-- name: objects_newest
-- A page of the objects of one kind, newest first.
SELECT {object} FROM objects
WHERE workspace_id = :workspace_id AND kind = :kind
    AND (created_at, id) > (:low_key, :low_id) AND (created_at, id) < (:high_key, :high_id)
    AND (:include_archived OR archived_at IS NULL)
ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: objects_oldest
-- A page of the objects of one kind, oldest first.
SELECT {object} FROM objects
WHERE workspace_id = :workspace_id AND kind = :kind
    AND (created_at, id) > (:low_key, :low_id) AND (created_at, id) < (:high_key, :high_id)
    AND (:include_archived OR archived_at IS NULL)
ORDER BY created_at, id LIMIT :limit;

-- name: children_newest
-- A page of the children of one object, newest first.
SELECT {object} FROM objects
WHERE workspace_id = :workspace_id AND kind = :kind AND parent_id = :parent_id
    AND (created_at, id) > (:low_key, :low_id) AND (created_at, id) < (:high_key, :high_id)
    AND (:include_archived OR archived_at IS NULL)
ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: children_oldest
-- A page of the children of one object, oldest first.
SELECT {object} FROM objects
WHERE workspace_id = :workspace_id AND kind = :kind AND parent_id = :parent_id
    AND (created_at, id) > (:low_key, :low_id) AND (created_at, id) < (:high_key, :high_id)
    AND (:include_archived OR archived_at IS NULL)
ORDER BY created_at, id LIMIT :limit;

-- name: numbered_newest
-- A page of the numbered children of one object, highest number first.
SELECT {object} FROM objects
WHERE workspace_id = :workspace_id AND kind = :kind AND parent_id = :parent_id
    AND number > :low AND number < :high
    AND created_at >= :floor AND created_at < :ceiling
    AND (:include_archived OR archived_at IS NULL)
ORDER BY number DESC LIMIT :limit;

-- name: numbered_oldest
-- A page of the numbered children of one object, lowest number first.
SELECT {object} FROM objects
WHERE workspace_id = :workspace_id AND kind = :kind AND parent_id = :parent_id
    AND number > :low AND number < :high
    AND created_at >= :floor AND created_at < :ceiling
    AND (:include_archived OR archived_at IS NULL)
ORDER BY number LIMIT :limit;

-- name: files_expired
-- Files of any workspace that expired by a time, the longest expired first.
SELECT {object} FROM objects
WHERE kind = 'file' AND json_extract(CAST(body AS TEXT), '$.expires_at') <= :by
ORDER BY json_extract(CAST(body AS TEXT), '$.expires_at') LIMIT :limit;

-- name: content_in_use
-- Which of a JSON array of contents are referred to, by a file that did not expire by a time or by a session.
SELECT value FROM json_each(:names) AS content
WHERE EXISTS (
    SELECT 1 FROM objects
    WHERE kind = 'file' AND json_extract(CAST(private AS TEXT), '$.sha256') = content.value
        AND coalesce(json_extract(CAST(body AS TEXT), '$.expires_at') > :expired_by, TRUE)
) OR value IN (
    SELECT json_extract(resource.value, '$.sha256')
    FROM sessions CROSS JOIN json_each(CAST(body AS TEXT), '$.resources') AS resource
);

-- name: session_insert
-- Adds a session.
INSERT INTO sessions (
    id, workspace_id, status, agent_id, agent_version, environment_id, thread_id, created_at, updated_at, body, usage,
    running_since, archived_at, deployment_id, epoch, owner, lease_until, wake_at, wake_no, last_seq, last_ts,
    config_rev
) VALUES (
    :id, :workspace_id, :status, :agent_id, :agent_version, :environment_id, :thread_id, :created_at, :updated_at,
    :body, :usage, :running_since, :archived_at, :deployment_id, :epoch, :owner, :lease_until, :wake_at, :wake_no,
    :last_seq, :last_ts, :config_rev
);

-- name: session_update
-- Replaces the body of a session that was not updated since it was read.
UPDATE sessions SET body = :body, updated_at = :updated_at, config_rev = config_rev + :config_step
WHERE id = :id AND updated_at = :was_updated_at;

-- name: session_quiet
-- Fences out whoever owns a session that is not running; what woke that owner is not forgotten.
UPDATE sessions
SET epoch = epoch + 1, wake_at = CASE WHEN owner IS NULL THEN wake_at ELSE created_at END,
    owner = NULL, lease_until = NULL
WHERE id = :id AND status IN ('idle', 'terminated');

-- name: session_open
-- One row while the session is neither archived nor terminated.
SELECT 1 FROM sessions WHERE id = :id AND archived_at IS NULL AND status <> 'terminated';

-- name: session_archive
-- Marks a session archived and terminated, with nothing left to wake it.
UPDATE sessions
SET archived_at = :at, updated_at = :at, status = 'terminated', wake_at = NULL, running_since = NULL
WHERE id = :id;

-- name: session_delete_events
-- Removes a session's log.
DELETE FROM events WHERE session_id = :id;

-- name: session_delete_inputs
-- Removes a session's inputs.
DELETE FROM inputs WHERE session_id = :id;

-- name: session_delete_egress
-- Removes a session's egress log.
DELETE FROM egress WHERE session_id = :id;

-- name: session_delete
-- Removes a session's row.
DELETE FROM sessions WHERE id = :id;

-- name: session_progress
-- Records what the brain knows of a session: status, usage and the open running interval.
UPDATE sessions SET status = :status, usage = :usage, running_since = :running_since, updated_at = :at
WHERE id = :id;

-- name: session_wake
-- Asks for a brain no later than a time, also while one is at work, and counts the asking.
UPDATE sessions SET wake_at = min(coalesce(wake_at, :at), :at), wake_no = wake_no + 1 WHERE id = :id;

-- name: session_release
-- Gives a lease back unless something woke the session in the meantime.
UPDATE sessions SET owner = NULL, lease_until = NULL, wake_at = :wake_at
WHERE id = :id AND epoch = :epoch AND wake_no = :seen_wake_no
RETURNING id;

-- name: session_get
-- One session of a workspace.
SELECT {session} FROM sessions WHERE id = :id AND workspace_id = :workspace_id;

-- name: session_load
-- One session, whatever its workspace.
SELECT {session} FROM sessions WHERE id = :id;

-- name: sessions_newest
-- A page of a workspace's sessions, newest first.
SELECT {session} FROM sessions
WHERE workspace_id = :workspace_id
    AND (created_at, id) > (:low_key, :low_id) AND (created_at, id) < (:high_key, :high_id)
    AND (:include_archived OR archived_at IS NULL)
    AND (:agent_id IS NULL OR agent_id = :agent_id)
    AND (:agent_version IS NULL OR agent_version = :agent_version)
    AND (:deployment_id IS NULL OR deployment_id = :deployment_id)
    AND (:statuses = '[]' OR status IN (SELECT value FROM json_each(:statuses)))
ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: sessions_oldest
-- A page of a workspace's sessions, oldest first.
SELECT {session} FROM sessions
WHERE workspace_id = :workspace_id
    AND (created_at, id) > (:low_key, :low_id) AND (created_at, id) < (:high_key, :high_id)
    AND (:include_archived OR archived_at IS NULL)
    AND (:agent_id IS NULL OR agent_id = :agent_id)
    AND (:agent_version IS NULL OR agent_version = :agent_version)
    AND (:deployment_id IS NULL OR deployment_id = :deployment_id)
    AND (:statuses = '[]' OR status IN (SELECT value FROM json_each(:statuses)))
ORDER BY created_at, id LIMIT :limit;

-- name: session_ids
-- The id of every session there is.
SELECT id FROM sessions;

-- name: environment_used
-- One row when some session refers to the environment.
SELECT 1 FROM sessions WHERE environment_id = :environment_id LIMIT 1;

-- name: log_advance
-- Takes the next sequence numbers of a session's log and a time that is not before the last one.
UPDATE sessions SET last_seq = last_seq + :count, last_ts = max(:now, last_ts) WHERE id = :session_id;

-- name: event_insert
-- Writes an event under a number that log_advance took, with the log's time put into its JSON.
INSERT INTO events (session_id, seq, id, type, thread_id, ts, answers, data, private)
SELECT id, last_seq - :back, :id, :type, :thread_id, last_ts, :answers,
    CAST(:head || '"' || last_ts || '"}' AS BLOB), :private
FROM sessions WHERE id = :session_id
RETURNING seq, ts;

-- name: input_insert
-- Queues an input behind those of its session, with a time of processing that is still null.
INSERT INTO inputs (session_id, n, id, type, thread_id, answers, received_at, data)
SELECT id, (SELECT coalesce(max(n), 0) + 1 FROM inputs WHERE session_id = :session_id), :id, :type, :thread_id,
    :answers, :received_at, CAST(:head || 'null}' AS BLOB)
FROM sessions WHERE id = :session_id
RETURNING n;

-- name: input_admit
-- Gives a waiting input the number of the event that the log now holds under its id.
UPDATE inputs SET seq = events.seq FROM events
WHERE inputs.session_id = :session_id AND inputs.n = :n AND inputs.id = :event_id AND inputs.seq IS NULL
    AND events.session_id = :session_id AND events.id = :event_id;

-- name: events_forward
-- Events of a stretch of the log, oldest first.
SELECT seq, id, type, ts, data, CASE WHEN :private THEN private END FROM events
WHERE session_id = :session_id AND seq > :after AND seq < :before
ORDER BY seq LIMIT :limit;

-- name: events_backward
-- Events of a stretch of the log, newest first.
SELECT seq, id, type, ts, data, CASE WHEN :private THEN private END FROM events
WHERE session_id = :session_id AND seq > :after AND seq < :before
ORDER BY seq DESC LIMIT :limit;

-- name: events_typed_forward
-- Events of some types in a stretch of the log, oldest first; they are chosen on the index alone.
SELECT seq, id, type, ts, data, CASE WHEN :private THEN private END FROM events
WHERE session_id = :session_id AND seq IN (
    SELECT seq FROM events
    WHERE session_id = :session_id AND type IN (SELECT value FROM json_each(:types)) AND seq > :after AND seq < :before
    ORDER BY seq LIMIT :limit
) ORDER BY seq;

-- name: events_typed_backward
-- Events of some types in a stretch of the log, newest first; they are chosen on the index alone.
SELECT seq, id, type, ts, data, CASE WHEN :private THEN private END FROM events
WHERE session_id = :session_id AND seq IN (
    SELECT seq FROM events
    WHERE session_id = :session_id AND type IN (SELECT value FROM json_each(:types)) AND seq > :after AND seq < :before
    ORDER BY seq DESC LIMIT :limit
) ORDER BY seq DESC;

-- name: events_find
-- Those events of a JSON array of ids that exist, by number.
SELECT seq, id, type, ts, data, CASE WHEN :private THEN private END FROM events
WHERE session_id = :session_id AND id IN (SELECT value FROM json_each(:ids))
ORDER BY seq;

-- name: event_time
-- When the event with a number was written.
SELECT ts FROM events WHERE session_id = :session_id AND seq = :seq;

-- name: log_end
-- The number of the log's last event.
SELECT max(seq) FROM events WHERE session_id = :session_id;

-- name: answers_find
-- What answers the calls of a JSON array of ids, in the log or waiting.
SELECT answers, type, data FROM events
WHERE session_id = :session_id AND answers IN (SELECT value FROM json_each(:ids))
UNION ALL
SELECT answers, type, data FROM inputs
WHERE session_id = :session_id AND answers IN (SELECT value FROM json_each(:ids)) AND seq IS NULL;

-- name: inputs_waiting
-- A session's inputs that wait to be admitted.
SELECT n, id, type, data, seq, thread_id, answers FROM inputs
WHERE session_id = :session_id AND n > :after AND seq IS NULL
ORDER BY n;

-- name: inputs_all
-- A session's inputs, admitted or not.
SELECT n, id, type, data, seq, thread_id, answers FROM inputs
WHERE session_id = :session_id AND n > :after
ORDER BY n;

-- name: input_last
-- The number of a session's newest input.
SELECT coalesce(max(n), 0) FROM inputs WHERE session_id = :session_id;

-- name: queue_claim
-- Leases sessions whose time has come and that nobody owns, each under a new epoch.
UPDATE sessions SET owner = :owner, lease_until = :lease_until, epoch = epoch + 1, wake_at = NULL
WHERE id IN (
    SELECT id FROM sessions WHERE wake_at IS NOT NULL AND owner IS NULL AND wake_at <= :now
    ORDER BY wake_at LIMIT :limit
)
RETURNING id, workspace_id, epoch, wake_no, lease_until;

-- name: queue_renew
-- Extends the leases of a JSON array of [id, epoch] that are still the owner's.
UPDATE sessions SET lease_until = :lease_until
WHERE owner = :owner AND (id, epoch) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:claims)
)
RETURNING id;

-- name: queue_reap
-- Drops leases that ran out or whose owner is not in a JSON array, and has their sessions claimed again.
UPDATE sessions SET owner = NULL, lease_until = NULL, wake_at = min(coalesce(wake_at, :now), :now)
WHERE owner IS NOT NULL AND (lease_until <= :now OR owner NOT IN (SELECT value FROM json_each(:alive)))
RETURNING id;

-- name: queue_next_wake
-- The earliest time at which an unowned session wants a brain.
SELECT min(wake_at) FROM sessions WHERE wake_at IS NOT NULL AND owner IS NULL;

-- name: queue_owners
-- Who holds which session for how long, in one workspace or in all.
SELECT id, owner, lease_until FROM sessions
WHERE owner IS NOT NULL AND (:workspace_id IS NULL OR workspace_id = :workspace_id)
ORDER BY id;

-- name: key_insert
-- Adds an API key by its hash.
INSERT INTO keys (id, workspace_id, name, created_at, revoked_at, environment_id, key_hash)
VALUES (:id, :workspace_id, :name, :created_at, :revoked_at, :environment_id, :key_hash);

-- name: key_revoke
-- Ends an API key that is in force.
UPDATE keys SET revoked_at = :at WHERE id = :id AND workspace_id = :workspace_id AND revoked_at IS NULL;

-- name: key_find
-- The key in force that has this hash.
SELECT {key} FROM keys WHERE key_hash = :key_hash AND revoked_at IS NULL;

-- name: keys_list
-- A workspace's keys, oldest first, revoked ones too.
SELECT {key} FROM keys WHERE workspace_id = :workspace_id ORDER BY created_at, id;

-- name: replay_insert
-- Records the answer to a request that carried an idempotency key.
INSERT INTO replays (workspace_id, key, path, created_at, body_hash, status, reply)
VALUES (:workspace_id, :key, :path, :created_at, :body_hash, :status, :reply);

-- name: replay_find
-- The answer recorded under an idempotency key since a time.
SELECT body_hash, status, reply FROM replays
WHERE workspace_id = :workspace_id AND key = :key AND path = :path AND created_at >= :since;

-- name: replays_expire
-- Forgets answers recorded before a time.
DELETE FROM replays WHERE created_at < :before;

-- name: work_ensure
-- Queues work for a session, unless some is queued or in hand already, or only a busy session wants any.
INSERT INTO work (id, workspace_id, environment_id, session_id, state, created_at, metadata, revision)
SELECT :id, workspace_id, environment_id, id, 'queued', :created_at, CAST('{}' AS BLOB), 0
FROM sessions WHERE id = :session_id AND (NOT :only_busy OR wake_at IS NOT NULL OR owner IS NOT NULL)
ON CONFLICT (session_id) WHERE state <> 'stopped' DO NOTHING;

-- name: work_claim
-- Hands out the oldest item that is free: never polled, polled but not acknowledged in time, or with a lapsed lease.
UPDATE work
SET state = 'queued', polled_at = :now, token_hash = :token_hash, acknowledged_at = NULL, started_at = NULL,
    latest_heartbeat_at = NULL, lease_until = NULL, revision = revision + 1
WHERE id = (
    SELECT id FROM work
    WHERE environment_id = :environment_id AND (
        (state = 'queued' AND coalesce(polled_at <= :polled_before, TRUE))
        OR (state IN ('starting', 'active') AND lease_until <= :now)
    )
    ORDER BY created_at, id LIMIT 1
)
RETURNING {work};

-- name: work_available
-- One row while an item could be handed out.
SELECT 1 FROM work
WHERE environment_id = :environment_id AND (
    (state = 'queued' AND coalesce(polled_at <= :polled_before, TRUE))
    OR (state IN ('starting', 'active') AND lease_until <= :now)
) LIMIT 1;

-- name: work_update
-- Replaces what may change of an item that nobody updated since it was read.
UPDATE work
SET state = :state, metadata = :metadata, acknowledged_at = :acknowledged_at, started_at = :started_at,
    latest_heartbeat_at = :latest_heartbeat_at, lease_until = :lease_until, stop_requested_at = :stop_requested_at,
    stopped_at = :stopped_at, token_hash = :token_hash, revision = revision + 1
WHERE id = :id AND revision = :revision;

-- name: work_lapse
-- Ends the items of an environment that were to stop and whose worker is gone.
UPDATE work SET state = 'stopped', stopped_at = :now, token_hash = NULL, revision = revision + 1
WHERE environment_id = :environment_id AND state = 'stopping' AND lease_until <= :now;

-- name: work_end
-- Stops a session's item: at once where no worker holds it, else its worker is told at the next heartbeat.
UPDATE work
SET state = CASE WHEN state = 'queued' THEN 'stopped' ELSE 'stopping' END, stop_requested_at = :now,
    stopped_at = CASE WHEN state = 'queued' THEN :now END,
    token_hash = CASE WHEN state = 'queued' THEN NULL ELSE token_hash END, revision = revision + 1
WHERE session_id = :session_id AND state IN ('queued', 'starting', 'active');

-- name: work_delete_session
-- Removes the items of a session.
DELETE FROM work WHERE session_id = :session_id;

-- name: work_get
-- One item of an environment.
SELECT {work} FROM work WHERE environment_id = :environment_id AND id = :id;

-- name: work_by_token
-- The item that was handed out with the token of this hash.
SELECT {work} FROM work WHERE token_hash = :token_hash;

-- name: work_newest
-- A page of an environment's items, newest first.
SELECT {work} FROM work
WHERE environment_id = :environment_id
    AND (created_at, id) > (:low_key, :low_id) AND (created_at, id) < (:high_key, :high_id)
ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: work_stats
-- How many items wait, how many were polled and not acknowledged yet, and since when the oldest of both is queued.
SELECT count(*) FILTER (WHERE polled_at IS NULL), count(*) FILTER (WHERE polled_at IS NOT NULL), min(created_at)
FROM work WHERE environment_id = :environment_id AND state = 'queued';

-- name: egress_insert
-- Adds to a session's egress log, where the session still exists.
INSERT INTO egress (
    session_id, n, at, method, host, port, decision, reason, sent_bytes, received_bytes, duration_ms
)
SELECT
    :session_id, coalesce((SELECT max(n) FROM egress WHERE session_id = :session_id), 0) + 1,
    :at, :method, :host, :port, :decision, :reason, :sent_bytes, :received_bytes, :duration_ms
WHERE EXISTS (SELECT 1 FROM sessions WHERE id = :session_id);

-- name: egress_trim
-- Removes all but the newest entries of a session's egress log.
DELETE FROM egress
WHERE session_id = :session_id AND n <= (SELECT max(n) FROM egress WHERE session_id = :session_id) - :kept;

-- name: egress_list
-- A page of a session's egress log, newest first.
SELECT {egress} FROM egress
WHERE session_id = :session_id AND n < :before AND (:decision IS NULL OR decision = :decision)
ORDER BY n DESC LIMIT :limit;

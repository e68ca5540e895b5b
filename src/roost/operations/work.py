"""The work queues of self-hosted environments: who polls gets a session to serve (contract/work-queue.md).

An item is in one worker's hands from the acknowledgement on, for as long as its lease is extended by heartbeats. When
the lease lapses, the next poll hands the item out anew; the last holder's token ends with that.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import replace

import orjson

from roost.core.clock import later, parse_timestamp, timestamp
from roost.core.ids import new_id
from roost.operations import environments
from roost.operations.cursor import Cursor, parse
from roost.operations.lists import cut
from roost.operations.operator import key_digest
from roost.operations.resource import Context, Reply, Results, Write
from roost.store.protocols import Batch, Statement
from roost.store.statements import work_claim, work_ensure, work_lapse, work_update
from roost.store.work import WorkRow, work_topic
from roost.wire.errors import ApiError, conflict, invalid, not_found
from roost.wire.fields import merged
from roost.wire.pages import PageQuery, page
from roost.wire.work import (
    NO_HEARTBEAT,
    TTL_DEFAULT_S,
    TTL_MAX_S,
    TTL_MIN_S,
    Heartbeat,
    HeartbeatQuery,
    PollQuery,
    Work,
    WorkData,
    WorkQueueStats,
    WorkStop,
    WorkUpdate,
)

NOTHING = Reply(b"null")
"""An empty poll is `null` with 200: the SDK's poller fails on everything else."""


async def poll(ctx: Context, *, environment_id: str, query: PollQuery) -> Reply | Write:
    """Hands out the oldest free item with a new token, or waits up to `block_ms` for one."""
    await _queue_of(ctx, environment_id)
    if query.worker_id:
        ctx.polling.seen(environment_id, query.worker_id)
    if not await _any(ctx, environment_id, query):
        return NOTHING
    token = f"sk-roost-item-{secrets.token_urlsafe(32)}"
    now = ctx.now()
    batch = Batch(
        (
            work_lapse(environment_id, now=now),
            work_claim(
                environment_id,
                now=now,
                polled_before=_before(now, query.reclaim_older_than_ms),
                token_hash=key_digest(token),
            ),
        )
    )

    def settled(results: Results) -> Reply:
        """Another poller may have been faster: then nothing is left, and this worker polls again."""
        claimed = results[1]
        return Reply(_shown(WorkRow(*claimed[0]), _secret(token)).encode()) if claimed else NOTHING

    return Write(batch, NOTHING, settled)


async def ack(ctx: Context, *, environment_id: str, work_id: str) -> Reply | Write:
    """Takes the item out of the queue: from now on it is the worker's, for one lease."""
    row = await _existing(ctx, environment_id, work_id)
    if row.state != "queued":
        raise conflict(f"The work item {work_id} is {row.state}; only a queued one can be acknowledged.")
    now = ctx.now()
    lease = timestamp(later(ctx.clock.now(), TTL_DEFAULT_S))
    return _changed(replace(row, state="starting", acknowledged_at=now, lease_until=lease))


async def heartbeat(ctx: Context, *, environment_id: str, work_id: str, query: HeartbeatQuery) -> Reply | Write:
    """Extends the lease of who holds it, which the last heartbeat proves; the first one makes the item active."""
    row = await _existing(ctx, environment_id, work_id)
    ttl_s = min(max(query.desired_ttl_seconds or TTL_DEFAULT_S, TTL_MIN_S), TTL_MAX_S)
    last = row.latest_heartbeat_at
    if row.state in ("stopping", "stopped"):
        told = Heartbeat(state=row.state, lease_extended=False, ttl_seconds=ttl_s, last_heartbeat=last or "")
        return Reply(told.encode())
    expected = query.expected_last_heartbeat
    if row.state == "queued" or (expected is not None and expected != (last or NO_HEARTBEAT)):
        raise _lost(row, ttl_s)
    now = ctx.after(last) if last else ctx.now()
    new = replace(
        row,
        state="active",
        started_at=row.started_at or now,
        latest_heartbeat_at=now,
        lease_until=timestamp(later(parse_timestamp(now), ttl_s)),
    )
    beat = Heartbeat(state="active", lease_extended=True, ttl_seconds=ttl_s, last_heartbeat=now)
    return Write(Batch((work_update(new),)), Reply(beat.encode()))


async def stop(ctx: Context, *, environment_id: str, work_id: str, body: WorkStop) -> Write:
    """Asks the holder to stop; stops at once with `force`, where nobody holds it, and when the holder confirms."""
    row = await _existing(ctx, environment_id, work_id)
    if row.state == "stopped":
        raise conflict(f"The work item {work_id} is already stopped.")
    now = ctx.now()
    requested = row.stop_requested_at or now
    if body.force or row.state in ("queued", "stopping"):
        ended = replace(row, state="stopped", stop_requested_at=requested, stopped_at=now, token_hash=None)
        # A worker that leaves an idle session must not miss the message that came at the same moment.
        left = ctx.worker and row.state in ("starting", "active")
        again = (work_ensure(new_id("work"), row.session_id, now=now, only_busy=True),) if left else ()
        return _changed(ended, *again)
    return _changed(replace(row, state="stopping", stop_requested_at=requested))


async def retrieve(ctx: Context, *, environment_id: str, work_id: str) -> Reply:
    return Reply(_shown(await _existing(ctx, environment_id, work_id)).encode())


async def update(ctx: Context, *, environment_id: str, work_id: str, body: WorkUpdate) -> Write:
    row = await _existing(ctx, environment_id, work_id)
    try:
        metadata = merged(orjson.loads(row.metadata), body.metadata)
    except ApiError as error:
        raise invalid(error.message, code="invalid_metadata") from None
    return _changed(replace(row, metadata=orjson.dumps(metadata)))


async def list_(ctx: Context, *, environment_id: str, query: PageQuery) -> Reply:
    await _queue_of(ctx, environment_id)
    name = f"work:{environment_id}"
    place = parse(query.page, name, descending=True)
    after = place.position if place else None
    rows = await ctx.store.work.list(environment_id, limit=query.limit + 1, after=after)
    shown, next_page = cut(rows, query.limit, lambda last: Cursor(name, True, last.created_at, last.id))
    return Reply(page([_shown(row).encode() for row in shown], next_page))


async def stats(ctx: Context, *, environment_id: str) -> Reply:
    await _queue_of(ctx, environment_id)
    found = await ctx.store.work.stats(environment_id)
    reply = WorkQueueStats(
        depth=found.depth,
        pending=found.pending,
        oldest_queued_at=found.oldest_queued_at,
        workers_polling=ctx.polling.count(environment_id),
    )
    return Reply(reply.encode())


# --- the parts -------------------------------------------------------------------------------------------------------


async def _queue_of(ctx: Context, environment_id: str) -> None:
    """Raises ApiError unless the environment is there and self-hosted: others have no queue."""
    row = await environments.existing(ctx, environment_id)
    if not environments.is_self_hosted(row):
        raise invalid(f"The environment {environment_id} is not self_hosted, so it has no work queue.")


async def _existing(ctx: Context, environment_id: str, work_id: str) -> WorkRow:
    await _queue_of(ctx, environment_id)
    row = await ctx.store.work.get(environment_id, work_id)
    if row is None:
        raise not_found("work item", work_id)
    return row


async def _any(ctx: Context, environment_id: str, query: PollQuery) -> bool:
    """Whether there is an item to hand out, now or within the time that the poll may wait. Holds no thread."""
    if query.block_ms is None:
        return await _available(ctx, environment_id, query)
    async with ctx.store.bus.subscribe(work_topic(environment_id)) as hints:
        if await _available(ctx, environment_id, query):
            return True
        return await hints.wait(query.block_ms / 1000) and await _available(ctx, environment_id, query)


async def _available(ctx: Context, environment_id: str, query: PollQuery) -> bool:
    now = ctx.now()
    before = _before(now, query.reclaim_older_than_ms)
    return await ctx.store.work.available(environment_id, now=now, polled_before=before)


def _before(now: str, ago_ms: int) -> str:
    return timestamp(later(parse_timestamp(now), -ago_ms / 1000))


def _changed(row: WorkRow, *also: Statement) -> Write:
    return Write(Batch((work_update(row), *also)), Reply(_shown(row).encode()))


def _lost(row: WorkRow, ttl_s: int) -> ApiError:
    """The lease is not this worker's: it drops the item and leaves it to whom it belongs."""
    current = {
        "type": "work_heartbeat",
        "last_heartbeat": row.latest_heartbeat_at,
        "lease_extended": False,
        "state": row.state,
        "ttl_seconds": ttl_s,
    }
    return ApiError(
        412,
        "expected_last_heartbeat: is not the last heartbeat of this work item",
        code="heartbeat_precondition_failed",
        details={"current_state": current},
    )


def _secret(token: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps({"sessions_token": token})).decode().rstrip("=")


def _shown(row: WorkRow, secret: str | None = None) -> Work:
    return Work(
        id=row.id,
        environment_id=row.environment_id,
        data=WorkData(id=row.session_id),
        state=row.state,
        metadata=orjson.loads(row.metadata),
        secret=secret,
        created_at=row.created_at,
        acknowledged_at=row.acknowledged_at,
        started_at=row.started_at,
        latest_heartbeat_at=row.latest_heartbeat_at,
        stop_requested_at=row.stop_requested_at,
        stopped_at=row.stopped_at,
    )

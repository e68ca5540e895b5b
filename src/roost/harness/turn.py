"""One session in the hands of one brain: carry out what `decide` asks for until nothing is left to do.

Every step ends in one batch that carries the claim's epoch. What a step learned only counts once that batch is durable:
the state is never changed directly, it folds the events just written. A brain that is killed anywhere leaves a log from
which the next one finds the same next step (the table in engine.md section 4).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from roost.core.clock import Clock, later, timestamp
from roost.core.settings import Settings
from roost.harness import decide
from roost.harness.calls import INTERRUPTED, CallRunner, answer, denial
from roost.harness.files import Outputs
from roost.harness.fold import Call, State, Usage, count
from roost.harness.ports import Hands
from roost.harness.reply import Reply, ReplyReader, model_usage
from roost.harness.request import Config, Context, model_request
from roost.sandbox.interface import ToolResult
from roost.store.protocols import (
    Claim,
    Conflict,
    EventDraft,
    QueuedInput,
    Row,
    SessionRow,
    Statement,
    Status,
    Store,
    StoredEvent,
    Subscription,
    input_topic,
)
from roost.store.statements import append, draft, fenced, input_admit, release, session_progress
from roost.wire.events import session as wire
from roost.wire.events.span import ModelRequestEnd, ModelRequestStart
from roost.wire.messages import ModelError, ModelProvider

NO_USAGE: Mapping[str, Any] = {}
CANCEL_WAIT_S = 5.0
"""How long an interrupt waits for the processes of a cancelled call to be dead."""
_ERROR_TYPES: Mapping[str, wire.ErrorType] = {
    "overloaded": "model_overloaded_error",
    "rate_limited": "model_rate_limited_error",
    "billing": "billing_error",
}


@dataclass(frozen=True)
class Tools:
    """Everything a turn works with; the same for all turns of a process."""

    store: Store
    hands: Hands
    models: ModelProvider
    outputs: Outputs
    clock: Clock
    settings: Settings
    jitter: Callable[[], float] = random.random


class Turn:
    """The work on one claim."""

    def __init__(self, tools: Tools, claim: Claim, row: SessionRow, context: Context) -> None:
        self._tools = tools
        self._claim = claim
        self._row = row
        self.context = context
        self._config = Config(row.body)
        self._calls = CallRunner(tools.hands, tools.store, claim, row)
        self._listening: asyncio.Task[bool] | None = None
        """The wait for a client's input; it goes on from one step to the next."""

    @property
    def _state(self) -> State:
        return self.context.state

    async def run(self) -> None:
        """Returns when the lease was given back. Raises Fenced or StaleEpoch when it was lost."""
        await self._catch_up()
        self._calls.inherit(self._state.open_calls)
        async with self._tools.store.bus.subscribe(input_topic(self._row.id)) as hints:
            try:
                while await self._step(hints):
                    pass
            finally:
                await _cancelled(*(self._listening,) if self._listening else ())

    async def _step(self, hints: Subscription) -> bool:
        """One step; where a client's answer has come first to a call that the step answers too, it is decided anew."""
        folded = self._state.cursor
        try:
            return await self._advance(hints)
        except Conflict:
            await self._catch_up()
            if self._state.cursor == folded:
                raise
            return True

    async def fail(self, reference: str) -> None:
        """Ends the turn after a fault of our own, so that the session never hangs."""
        await self._catch_up()
        if not await self._reload():
            return
        if self._state.span is not None:
            await self._close_span(NO_USAGE)
        message = f"The server failed in the middle of this turn; its log tells more under {reference}."
        if await self._give_up("unknown_error", message) and await self._reload():
            await self._release(self._now())

    # --- one step --------------------------------------------------------------------------------------------------

    async def _advance(self, hints: Subscription) -> bool:
        """Does the next thing; False once the lease is released."""
        if not await self._reload():
            return False
        inputs = await self._inputs()
        step = decide.next_step(self._state, inputs, now=self._now(), settings=self._tools.settings)
        match step:
            case decide.Interrupt():
                return await self._interrupt(step.inputs)
            case decide.CloseSpan():
                return await self._close_span(NO_USAGE)
            case decide.Confirm():
                return await self._confirm(step.inputs)
            case decide.Answer():
                return await self._write([*self._resume(), *(answer(call, denial(call)) for call in step.calls)])
            case decide.Execute():
                return await self._execute(step.calls, hints)
            case decide.Park():
                return await self._rest(wire.RequiresAction(event_ids=list(step.event_ids)))
            case decide.Ask():
                await self._open_request(step.inputs)
                return await self._request(hints)
            case decide.GiveUp():
                return await self._give_up(step.error, step.message)
            case decide.End():
                return await self._end()
            case decide.BackOff():
                return await self._release(step.until)
            case decide.Rest():
                return await self._release(None)

    async def _reload(self) -> bool:
        row = await self._tools.store.sessions.load(self._row.id)
        if row is None:
            return False
        if row.body != self._row.body:
            self._config = Config(row.body)
        self._row = row
        self._calls.follow(row)
        if row.last_seq > self._state.cursor:
            await self._catch_up()
        return True

    async def _inputs(self) -> list[QueuedInput]:
        return await self._tools.store.log.inputs(self._row.id)

    def _now(self) -> str:
        return timestamp(self._tools.clock.now())

    # --- asking the model ------------------------------------------------------------------------------------------

    async def _open_request(self, inputs: Sequence[QueuedInput], *before: EventDraft) -> None:
        """One batch: what came before, the inputs now taken up, and the start of the request that will see them."""
        admitted, marks = self._admit(inputs)
        start = draft(ModelRequestStart())
        await self._write([*before, *self._resume(), *admitted, start], *marks, *self._progress("running"))

    async def _request(self, hints: Subscription) -> bool:
        """Asks, watching for an interrupt; the reply, its failure or its end becomes one batch."""
        reader = ReplyReader(self._row.id, self._tools.store.bus)
        task = asyncio.create_task(self._ask(reader))
        try:
            if await self._interrupted({task}, hints):
                return await self._close_span(reader.usage)
            reply = task.result()
        except ModelError as error:
            await self._close_span(reader.usage)
            return await self._failed(error)
        finally:
            await _cancelled(task)
        drafts = reply.drafts(self._open_span, self._config.tools, remote=self._config.self_hosted)
        return await self._write(drafts, *self._progress("running", reply.usage))

    async def _ask(self, reader: ReplyReader) -> Reply:
        models, settings = self._tools.models, self._tools.settings
        limits = await models.limits(self._config.agent["model"]["id"])
        messages = await self.context.messages(self._tools.store, self._row.workspace_id)
        max_tokens = min(limits.max_output_tokens, settings.output_tokens_max)
        request = model_request(self._row, self._config, messages, max_tokens)
        async with aclosing(models.stream(request)) as events:
            async for event in events:
                reader.feed(event)
        return reader.finish()

    async def _failed(self, error: ModelError) -> bool:
        """A request that brought no reply: try again later, or give up."""
        settings, attempt = self._tools.settings, self._state.attempts + 1
        kind = _ERROR_TYPES.get(error.kind, "model_request_failed_error")
        if not error.retryable or attempt > settings.model_retries_max:
            return await self._give_up(kind, error.message)
        pause_s = min(settings.retry_first_s * 2 ** (attempt - 1), settings.retry_pause_max_s)
        pause_s *= 1 + settings.retry_jitter * (2 * self._tools.jitter() - 1)
        if error.retry_after_s is not None:
            pause_s = min(error.retry_after_s, settings.retry_after_max_s)
        retry_at = timestamp(later(self._tools.clock.now(), pause_s))
        again = f"Trying again in {pause_s:.1f} s ({attempt} of {settings.model_retries_max})."
        message = f"{error.message.rstrip('.')}. {again}"
        events = [
            draft(_session_error(kind, message, "retrying"), private=orjson.dumps({"retry_at": retry_at})),
            draft(wire.ThreadStatusRescheduled(**self._thread())),
            draft(wire.StatusRescheduled()),
        ]
        return await self._write(events, *self._progress("rescheduling"), wake_at=retry_at, release_lease=True)

    @property
    def _open_span(self) -> str:
        span = self._state.span
        assert span is not None, "a request is open between its start and its end"
        return span

    async def _close_span(self, usage: Mapping[str, Any]) -> bool:
        """Ends a request that brought no reply; what it cost all the same is counted."""
        end = ModelRequestEnd(model_request_start_id=self._open_span, is_error=True, model_usage=model_usage(usage))
        private = orjson.dumps({"usage": usage}) if usage else None
        return await self._write([draft(end, private=private)], *self._progress("running", usage))

    # --- tools -----------------------------------------------------------------------------------------------------

    async def _execute(self, calls: Sequence[Call], hints: Subscription) -> bool:
        """Runs calls side by side and records each result as it comes; stops for an interrupt."""
        if self._state.status != "running":
            await self._write(self._resume(), *self._progress("running"))
        running = {asyncio.create_task(self._calls.run(call)): call for call in calls}
        try:
            while running:
                if await self._interrupted(running.keys(), hints):
                    # Before the tasks are dropped: the hands must know the call while they still start its sandbox.
                    await self._calls.cancel(running.values())
                    # A call returns when its processes are dead, so none outlives the idle that follows.
                    await asyncio.wait(running, timeout=CANCEL_WAIT_S)
                    return True
                results = [(running.pop(task), task.result()) for task in [*running] if task.done()]
                if await self._record(results):
                    # Files may have come or gone while the calls ran; the model is told of those at hand now.
                    return await self._reload() and await self._request(hints)
        finally:
            await _cancelled(*running)
        return True

    async def _record(self, results: Sequence[tuple[Call, ToolResult]]) -> bool:
        """Writes results; with the last one the next request begins in the same batch. True if it did."""
        drafts = [answer(call, result) for call, result in results]
        answered = {call.event_id for call, _ in results}
        if all(call.event_id in answered for call in self._state.open_calls):
            inputs = await self._inputs()
            after = replace(self._state, calls={}, model_owes=True)
            step = decide.next_step(after, inputs, now=self._now(), settings=self._tools.settings)
            if isinstance(step, decide.Ask):
                await self._open_request(step.inputs, *drafts)
                return True
        await self._write(drafts)
        return False

    async def _confirm(self, inputs: Sequence[QueuedInput]) -> bool:
        """Takes up confirmations; the session runs again once nothing waits for the client any more."""
        admitted, marks = self._admit(inputs)
        said = [orjson.loads(entry.data) for entry in inputs]
        decided = {one["tool_use_id"]: one["result"] for one in said}
        open_calls = self._state.open_calls
        resumes = bool(open_calls) and all(_settled(call, decided.get(call.event_id)) for call in open_calls)
        before = self._resume() if resumes else []
        progress = self._progress("running") if resumes else ()
        return await self._write([*before, *admitted], *marks, *progress)

    async def _interrupt(self, inputs: Sequence[QueuedInput]) -> bool:
        open_calls = self._state.open_calls
        await self._calls.cancel(call for call in open_calls if not call.custom and not call.remote)
        admitted, marks = self._admit(inputs)
        answers = [answer(call, INTERRUPTED) for call in open_calls]
        # The lease is kept: what was sent along with the interrupt starts the next turn.
        return await self._rest(wire.EndTurn(), [*admitted, *answers], marks, release_lease=False)

    async def _interrupted(self, tasks: Any, hints: Subscription) -> bool:
        """Waits until one of the tasks is done; True when an interrupt came first."""
        while True:
            if self._listening is None:
                self._listening = asyncio.create_task(hints.wait(self._tools.settings.poll_s))
            await asyncio.wait({*tasks, self._listening}, return_when=asyncio.FIRST_COMPLETED)
            if any(task.done() for task in tasks):
                # A hint that came at the same moment stays in the finished wait, for the next look.
                return False
            self._listening = None
            if any(entry.type == "user.interrupt" for entry in await self._inputs()):
                return True

    # --- endings ---------------------------------------------------------------------------------------------------

    async def _end(self) -> bool:
        if self._state.reply_stop == "refusal":
            details = self._state.stop_details or {}
            shown = {name: details[name] for name in ("category", "explanation") if details.get(name) is not None}
            # The lease is kept: messages that wait do not go on with a refused turn, they start the next one.
            return await self._rest(wire.Refusal(), details=wire.StopDetails(**shown), release_lease=False)
        return await self._rest(wire.EndTurn())

    async def _give_up(self, kind: str, message: str) -> bool:
        """Ends a turn that cannot go on; what waits in the queue is flushed with it (engine.md section 4, Flush)."""
        flushed = await self._inputs()
        admitted, marks = self._admit(flushed, private=orjson.dumps({"flushed": True}))
        if flushed:
            message += f" {len(flushed)} queued input(s) were dropped with this turn."
        answers = [answer(call, INTERRUPTED) for call in self._state.open_calls]
        error = draft(_session_error(kind, message, "exhausted"))
        return await self._rest(wire.RetriesExhausted(), [*admitted, *answers, error], marks)

    async def _rest(
        self,
        reason: wire.StopReason,
        before: Sequence[EventDraft] = (),
        statements: Sequence[Statement] = (),
        details: wire.StopDetails | None = None,
        release_lease: bool = True,
    ) -> bool:
        """Goes idle: outputs, usage, status and the lease in one batch; `session.status_idle` is its last event."""
        outputs = await self._tools.outputs.publish(self._row) if self._state.used_hands else ()
        now = self._tools.clock.now()
        events = [
            *before,
            draft(wire.ThreadStatusIdle(**self._thread(), stop_reason=reason, stop_details=details)),
            draft(wire.SessionUsage(usage=_snapshot(self._usage_at(now)))),
            draft(wire.StatusIdle(stop_reason=reason, stop_details=details)),
        ]
        return await self._write(events, *statements, *outputs, *self._progress("idle"), release_lease=release_lease)

    async def _release(self, wake_at: str | None) -> bool:
        return await self._write([], wake_at=wake_at, release_lease=True)

    # --- writing ---------------------------------------------------------------------------------------------------

    def _resume(self) -> list[EventDraft]:
        """The events that open a turn, or open it again; none while it is running."""
        if self._state.status == "running":
            return []
        return [draft(wire.StatusRunning()), draft(wire.ThreadStatusRunning(**self._thread()))]

    def _thread(self) -> dict[str, str]:
        return {"session_thread_id": self._row.thread_id, "agent_name": self._config.agent_name}

    def _admit(
        self, inputs: Sequence[QueuedInput], private: bytes | None = None
    ) -> tuple[list[EventDraft], list[Statement]]:
        """Takes inputs up: the same event, now with a place in the log, and the mark in the queue."""
        drafts = [entry.draft(private=private) for entry in inputs]
        return drafts, [input_admit(self._row.id, entry.n, event_id=entry.id) for entry in inputs]

    def _progress(self, status: Status, counted: Mapping[str, Any] = NO_USAGE) -> tuple[Statement, ...]:
        """The session row's share of a batch: status, usage and the open running interval."""
        now = self._tools.clock.now()
        usage = self._usage_at(now if status != "running" else None)
        count(usage, counted)
        since = None
        if status == "running":
            since = timestamp(self._state.running_since or now)
        return (
            session_progress(
                self._row.id, status=status, usage=_usage_row(usage), running_since=since, at=timestamp(now)
            ),
        )

    def _usage_at(self, now: datetime | None) -> Usage:
        """The counters, with the open interval closed at `now`."""
        usage = replace(self._state.usage)
        if now is not None and self._state.running_since is not None:
            usage.active_s += max(0.0, (now - self._state.running_since).total_seconds())
        return usage

    async def _write(
        self,
        drafts: Sequence[EventDraft],
        *statements: Statement,
        wake_at: str | None = None,
        release_lease: bool = False,
    ) -> bool:
        """Commits under the claim's epoch and folds what was written. False when the lease was given back with it."""
        tail = (release(self._claim, seen_wake_no=self._row.wake_no, wake_at=wake_at),) if release_lease else ()
        appended = append(self._row.id, drafts, now=self._now())
        batch = fenced(self._claim, *appended, *statements, *tail, wakes=wake_at is not None)
        rows = await self._tools.store.commit(batch)
        await self._take(drafts, rows[1 : 1 + len(drafts)] if drafts else [])
        return not (release_lease and rows[-1])

    async def _take(self, drafts: Sequence[EventDraft], rows: Sequence[Sequence[Row]]) -> None:
        """Folds own events without reading them back, unless others wrote in between."""
        places = [inserted[0] for inserted in rows]
        if places and places[0][0] != self._state.cursor + 1:
            await self._catch_up()
        self._state.apply(
            StoredEvent(seq, entry.id, entry.type, ts, entry.head + b'"' + ts.encode() + b'"}', entry.private)
            for entry, (seq, ts) in zip(drafts, places, strict=True)
        )

    async def _catch_up(self) -> None:
        self._state.apply(await self._tools.store.log.read(self._row.id, after=self._state.cursor, private=True))


def _settled(call: Call, decision: str | None) -> bool:
    """Whether nobody outside owes anything for a call after this decision; one for a worker still waits for it."""
    return not call.waits or decision == "deny" or (decision == "allow" and not call.remote)


def _session_error(kind: Any, message: str, retry: wire.RetryState) -> wire.SessionError:
    return wire.SessionError(
        error=wire.ErrorBody(type=kind, message=message, retry_status=wire.RetryStatus(type=retry))
    )


def _snapshot(usage: Usage) -> wire.UsageSnapshot:
    return wire.UsageSnapshot(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_input_tokens=usage.cache_read_input_tokens,
        cache_creation=wire.CacheCreation(
            ephemeral_5m_input_tokens=usage.cache_5m_tokens, ephemeral_1h_input_tokens=usage.cache_1h_tokens
        ),
        active_seconds=round(usage.active_s, 3),
    )


def _usage_row(usage: Usage) -> bytes:
    snapshot = _snapshot(usage).model_dump(
        include={"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation"}
    )
    return orjson.dumps({**snapshot, "active_ms": round(usage.active_s * 1000)})


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Ends tasks and waits until they are gone; what they still had to say is dropped."""
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.gather(*pending, return_exceptions=True)

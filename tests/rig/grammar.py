"""The order of events in a session's log, as rules that any log must keep (contract/events.md, Event order)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Wire = Mapping[str, Any]

FOLLOWERS = {
    "session.status_running": "session.thread_status_running",
    "session.thread_status_rescheduled": "session.status_rescheduled",
    "session.thread_status_idle": "session.usage",
    "session.usage": "session.status_idle",
}
"""Events that stand directly behind others: they are written together."""
PRECEDED = {follower: first for first, follower in FOLLOWERS.items()}
CALLS = ("agent.tool_use", "agent.custom_tool_use")
REPLY = ("agent.thinking", "agent.message", *CALLS)


def broken_rules(events: Sequence[Wire], *, at_rest: bool = True) -> list[str]:
    """What is wrong with a log; `at_rest` says that it must end with an idle session."""
    reader = _Reader(self_hosted=any(event["type"] == "user.tool_result" for event in events))
    for place, event in enumerate(events, 1):
        for problem in reader.read(event):
            reader.problems.append(f"{place} {event['type']} {event['id']}: {problem}")
    if at_rest and events and events[-1]["type"] != "session.status_idle":
        reader.problems.append(f"the log ends with {events[-1]['type']}")
    return reader.problems


class _Reader:
    def __init__(self, *, self_hosted: bool) -> None:
        self.problems: list[str] = []
        self._self_hosted = self_hosted
        """Whether workers run the built-in tools, so that the session waits for their results too."""
        self._ids: set[str] = set()
        self._at = ""
        self._status = "idle"
        self._before: Wire = {"type": ""}
        self._span = ""
        self._replying = False
        self._calls: dict[str, Wire] = {}
        self._confirmed: set[str] = set()
        self._denied: set[str] = set()
        self._answered: set[str] = set()
        """Calls that the client answered."""
        self._stopping = False

    def read(self, event: Wire) -> list[str]:
        found = [*self._place(event), *self._rule(event)]
        self._before = event
        return found

    def _place(self, event: Wire) -> list[str]:
        """What holds for every event: one id each, time never backwards, companions side by side."""
        found = []
        if event["id"] in self._ids:
            found.append("its id was there before")
        if (event["processed_at"] or "") < self._at:
            found.append("it was processed before the event that precedes it")
        expected, last = FOLLOWERS.get(self._before["type"]), self._before["type"]
        if expected and event["type"] != expected:
            found.append(f"{expected} must follow {last}")
        if PRECEDED.get(event["type"], last) != last:
            found.append(f"{PRECEDED[event['type']]} must precede it")
        if self._replying and event["type"] not in (*REPLY, "span.model_request_end"):
            found.append("a reply was torn apart")
        self._ids.add(event["id"])
        self._at = event["processed_at"] or self._at
        return found

    def _rule(self, event: Wire) -> list[str]:
        rules = {
            "session.status_running": self._runs,
            "session.status_rescheduled": self._reschedules,
            "session.status_idle": self._rests,
            "session.error": self._fails,
            "span.model_request_start": self._asks,
            "span.model_request_end": self._replied,
            "user.message": self._says,
            "system.message": self._says,
            "user.interrupt": self._interrupts,
            "user.tool_confirmation": self._confirms,
            "agent.tool_result": self._answers,
            "user.custom_tool_result": self._answers,
            "user.tool_result": self._answers,
            **dict.fromkeys(REPLY, self._speaks),
        }
        rule = rules.get(event["type"])
        return [problem for problem, broken in rule(event).items() if broken] if rule else []

    # --- statuses ----------------------------------------------------------------------------------------------------

    def _runs(self, event: Wire) -> dict[str, bool]:
        was, self._status = self._status, "running"
        return {f"the session was {was}": was not in ("idle", "rescheduling")}

    def _reschedules(self, event: Wire) -> dict[str, bool]:
        was, self._status = self._status, "rescheduling"
        return {f"the session was {was}": was != "running"}

    def _fails(self, event: Wire) -> dict[str, bool]:
        return {"an error inside a request": bool(self._span)}

    def _rests(self, event: Wire) -> dict[str, bool]:
        self._status = "idle"
        reason = event["stop_reason"]
        waiting = reason["event_ids"] if reason["type"] == "requires_action" else []
        unsettled = [
            call_id
            for call_id, call in self._calls.items()
            if call["type"] == "agent.custom_tool_use"
            or (call["evaluated_permission"] == "ask" and call_id not in self._confirmed)
            or (self._self_hosted and call_id not in self._denied)
        ]
        settled = self._calls.keys() - unsettled - self._confirmed
        stopping, self._stopping = self._stopping, False
        # A client's answer may be stored at the moment the session decides to wait: that call is then named once more.
        named = [call_id for call_id in waiting if call_id not in self._answered]
        return {
            f"it names {waiting}, but {unsettled} wait for the client": named != unsettled,
            f"{sorted(settled)} were never answered": bool(settled),
            "calls were left open at the end of a turn": not waiting and bool(self._calls),
            "a request is still open": bool(self._span),
            "an interrupt ended otherwise": stopping and reason["type"] not in ("end_turn", "retries_exhausted"),
        }

    # --- requests ----------------------------------------------------------------------------------------------------

    def _asks(self, event: Wire) -> dict[str, bool]:
        was, self._span = self._span, event["id"]
        return {
            "the session does not run": self._status != "running",
            "another request is open": bool(was),
            f"{sorted(self._calls)} are not answered": bool(self._calls),
            "an interrupt was not obeyed": self._stopping,
        }

    def _speaks(self, event: Wire) -> dict[str, bool]:
        self._replying = True
        if event["type"] in CALLS:
            self._calls[event["id"]] = event
        return {"no request is open": not self._span}

    def _replied(self, event: Wire) -> dict[str, bool]:
        span, self._span = self._span, ""
        said, self._replying = self._replying, False
        return {
            "it ends no open request": event["model_request_start_id"] != span,
            "a request that failed brought a reply": bool(event["is_error"]) and said,
        }

    # --- inputs and answers ------------------------------------------------------------------------------------------

    def _says(self, event: Wire) -> dict[str, bool]:
        return {"the session does not run": self._status != "running"}

    def _interrupts(self, event: Wire) -> dict[str, bool]:
        self._stopping = True
        return {"a request is open": bool(self._span)}

    def _confirms(self, event: Wire) -> dict[str, bool]:
        asked = self._calls.get(event["tool_use_id"], {}).get("evaluated_permission") == "ask"
        twice = event["tool_use_id"] in self._confirmed
        self._confirmed.add(event["tool_use_id"])
        self._denied |= {event["tool_use_id"]} if event["result"] == "deny" else set()
        return {"it confirms a call that nobody asked about": not asked, "it confirms a call twice": twice}

    def _answers(self, event: Wire) -> dict[str, bool]:
        custom = event["type"] == "user.custom_tool_result"
        call_id = event["custom_tool_use_id" if custom else "tool_use_id"]
        call = self._calls.pop(call_id, None)
        if event["type"] != "agent.tool_result":
            self._answered.add(call_id)
        return {
            "it answers no open call": call is None,
            "a worker runs the built-in tools": self._self_hosted and event["type"] == "agent.tool_result",
            "it answers a call of another kind": bool(call)
            and (call or event)["type"] != ("agent.custom_tool_use" if custom else "agent.tool_use"),
        }

"""The same story told twice: by a model that only talks and calls, and by one that thinks and calls in parallel."""

from __future__ import annotations

from dataclasses import replace

from tests.messages_server import Answer, Reply, thinking, tool_use
from tests.messages_server.replies import ToolUse


def plainly(answer: Answer) -> Answer:
    return answer


def thinking_and_in_parallel(answer: Answer) -> Answer:
    """Thinks before it speaks, and looks for files beside every call."""
    if not isinstance(answer, Reply):
        return answer
    calls = [part for part in answer.parts if isinstance(part, ToolUse)]
    beside = [tool_use("glob", {"pattern": "*.none"})] if calls and not calls[-1].cut else []
    return replace(answer, parts=(thinking("Let me think about that."), *answer.parts, *beside))

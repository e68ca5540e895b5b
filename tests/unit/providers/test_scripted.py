"""The scripted model plays its plan, the same way every time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from roost.providers.script import PARTS, STOP_REASONS, PlanError, find_plan, parse_plan
from roost.providers.scripted import ScriptedProvider
from roost.wire.messages import Message, ModelError, ModelRequest
from tests.unit.providers.asking import Answer, ask, read, request, result, user


def plan(*steps: Any) -> str:
    lines = "\n".join(orjson.dumps(step).decode() for step in steps)
    return f"Do this:\n```roost-script\n{lines}\n```\nThank you."


def asked(*messages: Message, **more: Any) -> ModelRequest:
    return request(*messages, model="scripted", **more)


def calls_of(answer: Answer) -> list[dict[str, Any]]:
    return [block for block in answer.blocks if block["type"] == "tool_use"]


async def play(provider: ScriptedProvider, first: Message, results: Sequence[str]) -> list[Answer]:
    """A whole turn: each reply's calls are answered with the next results, until one calls nothing."""
    messages, answers, left = [first], [], iter(results)
    while True:
        answer = await ask(provider, asked(*messages))
        answers.append(answer)
        messages.append(answer.message)
        if not calls_of(answer):
            return answers
        messages.append(user(*[result(call, next(left)) for call in calls_of(answer)]))


LOOK = plan(
    {
        "thinking": "Two things to find out.",
        "text": "I look.",
        "tools": [{"name": "bash", "input": {"command": "ls"}}, {"name": "bash", "input": {"command": "pwd"}}],
    },
    {"tools": [{"name": "write", "input": {"lines": ["{{result 1}}", {"at": "{{ result 2 }}"}]}}]},
    {"text": "Written: {{last_result}}"},
)


async def test_a_plan_is_played_step_by_step_with_its_results() -> None:
    first, second, third = await play(ScriptedProvider(), user(LOOK), ["a.txt", "/workspace", "ok"])
    assert [block["type"] for block in first.blocks] == ["thinking", "text", "tool_use", "tool_use"]
    assert [call["input"] for call in calls_of(first)] == [{"command": "ls"}, {"command": "pwd"}]
    assert (first.stop_reason, third.stop_reason) == ("tool_use", "end_turn")
    assert calls_of(second)[0]["input"] == {"lines": ["a.txt", {"at": "/workspace"}]}
    assert third.text == "Written: ok"


async def test_the_same_conversation_gets_the_same_events_from_another_process() -> None:
    first = await play(ScriptedProvider(), user(LOOK), ["a.txt", "/workspace", "ok"])
    again = await play(ScriptedProvider(), user(LOOK), ["a.txt", "/workspace", "ok"])
    assert [answer.events for answer in first] == [answer.events for answer in again]
    ids = [call["id"] for answer in first for call in calls_of(answer)]
    assert len(set(ids)) == 3


async def test_text_comes_in_several_deltas_and_loses_nothing() -> None:
    words = " A long  sentence,\nwith an odd line\tand more words than fit into one delta. "
    answer = await ask(ScriptedProvider(), asked(user(plan({"text": words}))))
    deltas = [event for event in answer.events if event["type"] == "content_block_delta"]
    assert len(deltas) > 2
    assert answer.text == words


async def test_a_list_plays_a_key_twice_and_in_order() -> None:
    provider = ScriptedProvider()
    step = [{"text": "One."}, {"tools": [{"name": "bash"}]}, {"text": "Two."}]
    answer = await ask(provider, asked(user(plan(step))))
    assert [block["type"] for block in answer.blocks] == ["text", "tool_use", "text"]


async def test_a_newer_plan_takes_over_and_starts_at_its_beginning() -> None:
    provider = ScriptedProvider()
    (answer,) = await play(provider, user(plan({"text": "Old."})), [])
    messages = [user(plan({"text": "Old."})), answer.message, user(plan({"text": "New."}))]
    newer = await ask(provider, asked(*messages))
    over = await ask(provider, asked(*messages, newer.message, user("And now?")))
    assert newer.text == "New."
    assert "no further step" in over.text


async def test_a_step_without_a_reply_is_over_when_the_user_speaks_again() -> None:
    first = user(plan({"error": "billing"}, {"text": "Better."}))
    provider = ScriptedProvider()
    for _ in range(2):
        with pytest.raises(ModelError):
            await ask(provider, asked(first))
    note = Message("system", ({"type": "text", "text": "Hurry."},))
    assert (await ask(provider, asked(first, note, user("Go on.")))).text == "Better."


async def test_without_a_plan_it_says_what_it_is_and_how_to_give_it_one() -> None:
    answer = await ask(ScriptedProvider(), asked(user("Write a poem.")))
    assert "scripted model" in answer.text
    assert "```roost-script" in answer.text
    assert answer.stop_reason == "end_turn"


async def test_a_plan_file_serves_messages_that_carry_no_plan(tmp_path: Path) -> None:
    file = tmp_path / "plan.jsonl"
    file.write_text('{"text": "First."}\n{\n  "text": "Second."\n}\n')
    provider = ScriptedProvider(file)
    first = await ask(provider, asked(user("Hello")))
    second = await ask(provider, asked(user("Hello"), first.message, user("Go on.")))
    own = await ask(provider, asked(user("Hello"), first.message, user(plan({"text": "Mine."}))))
    assert [first.text, second.text, own.text] == ["First.", "Second.", "Mine."]


def test_a_plan_file_that_cannot_be_played_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "plan.jsonl"
    file.write_text("{oops}")
    with pytest.raises(PlanError, match=r"plan\.jsonl: The script is not JSON at line 1"):
        ScriptedProvider(file)
    with pytest.raises(PlanError, match=r"none\.jsonl"):
        ScriptedProvider(tmp_path / "none.jsonl")


# --- what can go wrong, on purpose -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    ["overloaded", "rate_limited", "unavailable", "request_failed", "authentication", "billing", "context_overflow"],
)
async def test_each_kind_of_error_can_be_played(kind: str) -> None:
    with pytest.raises(ModelError) as failure:
        await ask(ScriptedProvider(), asked(user(plan({"error": kind}))))
    assert failure.value.kind == kind


async def test_an_error_can_come_in_the_middle_with_its_own_words() -> None:
    failing = plan({"text": "Half.", "error": {"kind": "rate_limited", "message": "Slowly.", "retry_after_s": 2}})
    answer = Answer()
    with pytest.raises(ModelError, match="Slowly") as failure:
        await read(ScriptedProvider().stream(asked(user(failing))), answer)
    assert answer.text == "Half."
    assert failure.value.retry_after_s == 2


async def test_an_error_with_times_gives_way_to_the_rest_of_its_step() -> None:
    provider = ScriptedProvider()
    flaky = asked(user(plan({"error": {"kind": "overloaded", "times": 2}, "text": "At last."})), session_id="sesn_1")
    other = asked(*flaky.messages, session_id="sesn_2")
    for tried in (flaky, other, flaky, other):
        with pytest.raises(ModelError):
            await ask(provider, tried)
    assert (await ask(provider, flaky)).text == "At last."
    assert (await ask(provider, other)).text == "At last."


async def test_a_delay_waits_and_can_be_cancelled() -> None:
    waits: list[float] = []
    begun = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        begun.set()
        await asyncio.Event().wait()

    answer = Answer()
    events = ScriptedProvider(sleep=sleep).stream(asked(user(plan([{"text": "Before."}, {"delay_s": 60}]))))
    reading = asyncio.create_task(read(events, answer))
    await begun.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert waits == [60]
    assert answer.text == "Before."


async def test_stop_reasons_details_and_usage_are_as_written() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": None}
    usage = {"input_tokens": 1_000, "output_tokens": 7, "cache_read_input_tokens": 900}
    refused = await ask(
        ScriptedProvider(),
        asked(user(plan({"text": "No.", "stop": "refusal", "stop_details": details, "usage": usage}))),
    )
    paused = await ask(ScriptedProvider(), asked(user(plan({"text": "Wait.", "stop": "pause_turn"}))))
    assert (refused.stop_reason, refused.stop_details) == ("refusal", details)
    assert {name: refused.usage[name] for name in usage} == usage
    assert paused.stop_reason == "pause_turn"
    assert paused.usage["output_tokens"] > 0


async def test_a_call_can_be_cut_off() -> None:
    cut = plan(
        {"tools": [{"name": "bash", "input": {"command": "ls"}}, {"name": "write", "input": {"a": 1}, "cut": True}]}
    )
    answer = await ask(ScriptedProvider(), asked(user(cut)))
    whole, broken = calls_of(answer)
    assert whole["input"] == {"command": "ls"}
    assert isinstance(broken["input"], str)
    assert answer.stop_reason == "max_tokens"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("", "empty"),
        ("{x}", "not JSON at line 1"),
        ("[" * 100_000, "more than JSON can carry"),
        ('{"usage":' + "[" * 300 + "]" * 300 + "}", "more than JSON can carry"),
        ('{"usage": {"input_tokens": 99999999999999999999}}', "more than JSON can carry"),
        ('{"text": "' + "x" * 256_000 + '"}', "longer than 256,000"),
        ('{"text": "a"}\n\n{"text": }', "not JSON at line 3"),
        ('"hello"', "Step 1 of the script must be an object"),
        ('{"say": "a"}', "unknown key `say`; known: text, thinking"),
        ('{"text": 1}', "wrong `text`"),
        ('{"text": ""}', "wrong `text`"),
        ('{"tools": [{"input": {}}]}', "wrong `tools`"),
        ('{"tools": [{"name": "a", "arguments": {}}]}', "wrong `tools`"),
        ('{"delay_s": -1}', "wrong `delay_s`"),
        ('{"delay_s": true}', "wrong `delay_s`"),
        ('{"error": "whatever"}', "wrong `error`"),
        ('{"error": {"kind": "billing", "code": 1}}', "wrong `error`"),
        ('{"stop": "enough"}', "wrong `stop`"),
        ('{"text": "a"}{"usage": 3}', "Step 2 of the script has a wrong `usage`"),
    ],
)
async def test_a_plan_that_cannot_be_played_says_why(script: str, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        parse_plan(script)
    with pytest.raises(ModelError, match=words) as failure:
        await ask(ScriptedProvider(), asked(user(f"```roost-script\n{script}\n```")))
    assert failure.value.kind == "request_failed"


async def test_a_reference_to_a_result_that_is_not_there_says_so() -> None:
    with pytest.raises(ModelError, match=r"asks for \{\{result 2\}\}, but there are 0 tool results"):
        await ask(ScriptedProvider(), asked(user(plan({"text": "{{result 2}}"}))))


async def test_the_last_block_of_a_message_counts_and_need_not_be_closed() -> None:
    two = plan({"text": "One."}) + "\n ```roost-script \r\n" + '{"text": "Two."}'
    assert (await ask(ScriptedProvider(), asked(user(two)))).text == "Two."


def test_only_a_user_message_can_carry_a_plan() -> None:
    said = Message("assistant", ({"type": "text", "text": plan({"text": "x"})},))
    from_tool = user(result({"id": "toolu_1"}, plan({"text": "x"})))
    assert find_plan([user("Hi"), said, from_tool], None) is None


async def test_one_model_is_listed_with_the_usual_limits() -> None:
    provider = ScriptedProvider()
    assert [card.id for card in await provider.models()] == ["scripted"]
    assert (await provider.limits("scripted-slow")).max_output_tokens == 32_000


def test_the_guide_shows_only_plans_that_can_be_played() -> None:
    guide = Path(__file__).parents[3].joinpath("docs/guide/scripted-model.md").read_text(encoding="utf-8")
    plans = [block.partition("\n```")[0] for block in guide.split("```roost-script\n")[1:]]
    assert [len(parse_plan(source)) for source in plans] == [2, 1, 2]
    assert all(f"`{key}`" in guide for key in [*PARTS, *STOP_REASONS])

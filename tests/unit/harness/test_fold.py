"""A log becomes a conversation and a state, by causality."""

from __future__ import annotations

from datetime import timedelta

from roost.core.clock import timestamp
from roost.harness.fold import CUT_OFF_NOTE
from roost.wire.messages import Message
from tests.rig.logbook import START, LogBook, opening
from tests.rig.stream import USAGE, call, text, thinking


def user(*texts: str) -> Message:
    return Message("user", tuple(text(said) for said in texts))


def assistant(*texts: str) -> Message:
    return Message("assistant", tuple(text(said) for said in texts))


def asked(book: LogBook) -> list[Message]:
    """The messages of a request that begins now."""
    book.asks()
    return [*book.state.messages, *book.state.noted]


def result(block_id: str, said: str, **more: object) -> dict[str, object]:
    return {"type": "tool_result", "tool_use_id": block_id, "content": [text(said)], **more}


def test_a_turn_of_text_is_one_message_of_each_side() -> None:
    book = opening("Hello")
    book.replies(text("Hi"))
    assert book.state.messages == [user("Hello"), assistant("Hi")]
    assert not book.state.model_owes


def test_thinking_and_calls_come_back_as_the_model_said_them() -> None:
    book = opening()
    (used,) = book.replies(thinking("hm"), text("Let me see"), call("t1", "bash", command="ls"), stop_reason="tool_use")
    book.results(used, "a b")
    *_, said, answer = asked(book)
    assert said.content == (thinking("hm"), text("Let me see"), call("t1", "bash", command="ls"))
    assert answer.content == (result("t1", "a b"),)


def test_a_worker_s_result_answers_its_call_and_leaves_our_hands_unused() -> None:
    book = opening(self_hosted=True)
    (used,) = book.replies(call("t1", "bash", command="ls"), stop_reason="tool_use")
    book.worker_results(used, "a b")
    assert not book.state.used_hands
    assert asked(book)[-1].content == (result("t1", "a b"),)


def test_thinking_without_a_signature_is_not_sent_back() -> None:
    book = opening()
    book.replies(thinking("hm", signature=""), text("Hi"))
    assert book.state.messages[-1] == assistant("Hi")


def test_answers_stand_in_the_order_of_their_calls_whatever_order_they_came_in() -> None:
    book = opening()
    first, second = book.replies(call("t1", "bash"), call("t2", "look"), stop_reason="tool_use")
    book.answers(second, "early")
    book.results(first, "late", is_error=True)
    assert asked(book)[-1].content == (result("t1", "late", is_error=True), result("t2", "early"))


def test_a_message_sent_while_calls_run_follows_their_answers() -> None:
    book = opening()
    (used,) = book.replies(call("t1", "bash"), stop_reason="tool_use")
    book.says("And be quick")
    book.results(used, "ok")
    assert asked(book)[-1].content == (result("t1", "ok"), text("And be quick"))


def test_what_arrives_while_the_model_speaks_takes_its_place_after_the_reply() -> None:
    book = opening("One")
    book.says("Two")
    book.replies(text("Reply to one"))
    assert asked(book) == [user("One"), assistant("Reply to one"), user("Two")]


def test_messages_that_wait_together_are_one_message() -> None:
    book = LogBook()
    book.says("One")
    book.says("Two")
    assert asked(book) == [user("One", "Two")]


def test_a_system_message_stands_last_whatever_was_said_after_it() -> None:
    """The Messages API takes a system message only after a user's and before the model's."""
    book = LogBook()
    book.says("One")
    book.notes("Be brief")
    book.says("Two")
    assert asked(book) == [user("One", "Two"), Message("system", (text("Be brief"),))]


def test_a_system_message_whose_request_broke_off_stands_last_in_the_next_one() -> None:
    book = LogBook()
    book.says("One")
    book.notes("Be brief")
    book.asks()
    book.breaks_off()
    book.says("Two")
    assert asked(book) == [user("One"), user("Two"), Message("system", (text("Be brief"),))]


def test_a_system_message_stays_where_its_reply_has_seen_it() -> None:
    book = LogBook()
    book.says("One")
    book.notes("Be brief")
    book.asks()
    book.replies(text("Yes"))
    book.says("Two")
    assert asked(book) == [user("One"), Message("system", (text("Be brief"),)), assistant("Yes"), user("Two")]


def test_flushed_input_never_reaches_a_model() -> None:
    book = LogBook()
    book.says("Dropped", flushed=True)
    assert not book.state.model_owes
    book.says("Kept")
    assert asked(book) == [user("Kept")]


def test_a_refused_reply_is_not_history() -> None:
    book = opening("Something bad")
    book.replies(text("I can"), stop_reason="refusal", stop_details={"category": "cyber", "explanation": "no"})
    state = book.state
    assert state.messages == [user("Something bad")]
    assert (state.reply_stop, state.stop_details) == ("refusal", {"category": "cyber", "explanation": "no"})
    assert not state.model_owes


def test_a_reply_that_says_nothing_is_left_out_of_history() -> None:
    book = opening("Hello")
    book.replies(thinking("hm"))
    assert book.state.messages == [user("Hello")]


def test_a_paused_reply_is_history_and_the_model_still_owes() -> None:
    book = opening("Hello")
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "roost"}}
    book.replies(search, stop_reason="pause_turn")
    assert book.state.model_owes
    assert book.state.messages == [user("Hello"), Message("assistant", (search,))]


def test_a_call_cut_off_is_dropped_and_the_model_is_told() -> None:
    book = opening("Write")
    assert book.replies(text("Now"), call("t1", "write", content="x" * 9), stop_reason="max_tokens", cut=True) == []
    assert book.state.strikes == 1
    assert book.state.model_owes
    assert asked(book) == [user("Write"), assistant("Now"), user(CUT_OFF_NOTE)]


def test_the_note_about_a_dropped_call_follows_the_answers_of_the_calls_before_it() -> None:
    book = opening()
    (used,) = book.replies(call("t1", "bash"), call("t2", "write", content="x"), stop_reason="max_tokens", cut=True)
    book.results(used, "ok")
    assert asked(book)[-1].content == (result("t1", "ok"), text(CUT_OFF_NOTE))


def test_a_whole_reply_ends_a_row_of_strikes() -> None:
    book = opening()
    book.replies(call("t1", "write", content="x"), stop_reason="max_tokens", cut=True)
    book.asks()
    book.replies(text("Done"))
    assert book.state.strikes == 0


def test_a_request_that_broke_off_leaves_no_trace_in_the_conversation() -> None:
    book = opening("Hello")
    book.breaks_off()
    assert book.state.model_owes
    assert asked(book) == [user("Hello")]


def test_an_answer_without_content_says_so() -> None:
    book = opening()
    (used,) = book.replies(call("t1", "look"), stop_reason="tool_use")
    book.answers(used, None)
    assert asked(book)[-1].content == (result("t1", "(no output)"),)


def test_a_second_answer_changes_nothing() -> None:
    book = opening()
    (used,) = book.replies(call("t1", "bash"), stop_reason="tool_use")
    book.results(used, "first")
    book.results(used, "second")
    assert asked(book)[-1].content == (result("t1", "first"),)


def test_calls_are_sorted_by_what_may_happen_to_them() -> None:
    book = opening()
    calls = [call(f"t{n}", name) for n, name in enumerate(("bash", "write", "write", "write", "grep", "look"))]
    ids = book.replies(*calls, stop_reason="tool_use")
    book.allows(ids[1])
    book.denies(ids[2], "not now")
    found = list(book.state.calls.values())
    assert [c.event_id for c in found if c.runnable] == [ids[0], ids[1]]
    assert [c.event_id for c in found if c.refused] == [ids[2], ids[4]]
    assert [c.event_id for c in found if c.waits] == [ids[3], ids[5]]
    assert found[2].deny_message == "not now"


def test_the_model_owes_only_when_every_call_is_answered() -> None:
    book = opening()
    first, second = book.replies(call("t1", "bash"), call("t2", "bash"), stop_reason="tool_use")
    book.results(first)
    assert not book.state.model_owes
    book.results(second)
    assert book.state.model_owes


def test_usage_counts_replies_and_what_a_broken_request_had_cost() -> None:
    book = opening()
    book.replies(text("Hi"))
    book.asks()
    book.breaks_off(
        {"input_tokens": 10, "cache_creation_input_tokens": 6, "cache_creation": {"ephemeral_1h_input_tokens": 4}}
    )
    usage = book.state.usage
    assert usage.input_tokens == USAGE["input_tokens"] + 10
    assert usage.output_tokens == USAGE["output_tokens"]
    assert usage.cache_read_input_tokens == USAGE["cache_read_input_tokens"]
    assert usage.cache_5m_tokens == USAGE["cache_creation_input_tokens"] + 2
    assert usage.cache_1h_tokens == 4


def test_only_running_time_is_active_time() -> None:
    book = LogBook()
    book.runs()
    book.says("Hello")
    book.reschedules()
    book.says("Anything?")
    book.runs()
    book.rests()
    assert book.state.usage.active_s == 2 + 1
    assert book.state.running_since is None


def test_failed_tries_are_counted_until_a_reply_comes() -> None:
    at = timestamp(START + timedelta(seconds=30))
    book = opening()
    book.breaks_off()
    book.fails("retrying", retry_at=at)
    book.reschedules()
    assert (book.state.attempts, book.state.retry_at, book.state.status) == (1, at, "rescheduling")
    book.runs()
    book.asks()
    book.replies(text("Hi"))
    assert (book.state.attempts, book.state.retry_at) == (0, None)


def test_the_end_of_a_turn_forgets_what_belonged_to_it() -> None:
    book = opening()
    book.replies(call("t1", "write", content="x"), stop_reason="max_tokens", cut=True)
    book.rests()
    state = book.state
    assert (state.status, state.stop_reason) == ("idle", "end_turn")
    assert (state.rounds, state.strikes, state.attempts, state.model_owes) == (0, 0, 0, False)


def test_waiting_for_the_client_keeps_what_belongs_to_the_turn() -> None:
    book = opening()
    (used,) = book.replies(call("t1", "look"), stop_reason="tool_use")
    book.rests(used)
    assert (book.state.rounds, book.state.parked, book.state.stop_reason) == (1, (used,), "requires_action")
    book.answers(used)
    assert book.state.model_owes


def test_events_already_folded_are_passed_over() -> None:
    book = opening("Hello")
    state = book.state
    state.apply(book.events)
    assert state == book.state


def test_a_terminated_session_stays_so() -> None:
    book = opening()
    book.terminates()
    assert book.state.status == "terminated"

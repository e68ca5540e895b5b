"""The next step is a function of the state and of the inputs that wait."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from roost.core.clock import timestamp
from roost.core.settings import Settings
from roost.harness.decide import (
    Answer,
    Ask,
    BackOff,
    CloseSpan,
    Confirm,
    End,
    Execute,
    GiveUp,
    Interrupt,
    Park,
    Rest,
    Step,
    next_step,
)
from roost.store.protocols import QueuedInput
from tests.rig.logbook import START, LogBook, opening
from tests.rig.stream import call, text

SETTINGS = Settings(tool_rounds_max=2, max_tokens_strikes_max=2)


def after(book: LogBook, *waiting: str, at_s: float = 0) -> Step:
    inputs = [QueuedInput(n, f"sevt_{n}", kind, b"{}") for n, kind in enumerate(waiting)]
    return next_step(book.state, inputs, now=timestamp(START + timedelta(seconds=at_s)), settings=SETTINGS)


def calling(*names: str, self_hosted: bool = False) -> tuple[LogBook, list[str]]:
    book = opening(self_hosted=self_hosted)
    return book, book.replies(*(call(f"t{n}", name) for n, name in enumerate(names)), stop_reason="tool_use")


def test_a_new_session_rests() -> None:
    assert after(LogBook()) == Rest()


def test_a_message_makes_it_ask() -> None:
    step = after(LogBook(), "user.message", "system.message")
    assert isinstance(step, Ask)
    assert [entry.type for entry in step.inputs] == ["user.message", "system.message"]


def test_a_turn_ends_when_nobody_owes_anything() -> None:
    book = opening()
    book.replies(text("Hi"))
    assert after(book) == End()
    book.rests()
    assert after(book) == Rest()


def test_a_message_that_waits_at_the_end_of_a_reply_goes_on_with_the_turn() -> None:
    book = opening()
    book.replies(text("Hi"))
    assert isinstance(after(book, "user.message"), Ask)


def test_a_refusal_ends_its_turn_whoever_waits() -> None:
    book = opening()
    book.replies(text("No"), stop_reason="refusal")
    assert after(book, "user.message") == End()
    book.rests()
    assert isinstance(after(book, "user.message"), Ask)


def test_a_request_of_a_brain_that_is_gone_is_closed_first() -> None:
    book = opening()
    step = after(book, "user.interrupt")
    assert step == CloseSpan(book.events[-1].id)


def test_a_request_that_broke_off_is_asked_again() -> None:
    book = opening()
    book.breaks_off()
    assert after(book) == Ask(())


@pytest.mark.parametrize("names", [(), ("bash",), ("write",), ("look",)])
def test_an_interrupt_outranks_everything(names: tuple[str, ...]) -> None:
    book, _ = calling(*names)
    step = after(book, "user.message", "user.interrupt")
    assert isinstance(step, Interrupt)
    assert [entry.type for entry in step.inputs] == ["user.interrupt"]


def test_an_interrupt_takes_the_confirmations_along_since_they_decide_nothing_any_more() -> None:
    book, _ = calling("write")
    step = after(book, "user.tool_confirmation", "user.message", "user.interrupt")
    assert isinstance(step, Interrupt)
    assert [entry.type for entry in step.inputs] == ["user.tool_confirmation", "user.interrupt"]


def test_confirmations_are_taken_up_before_calls_run() -> None:
    book, _ = calling("write", "write")
    step = after(book, "user.message", "user.tool_confirmation", "user.tool_confirmation")
    assert isinstance(step, Confirm)
    assert len(step.inputs) == 2


def test_calls_that_may_run_run_together_and_messages_wait() -> None:
    book, ids = calling("bash", "bash")
    step = after(book, "user.message")
    assert isinstance(step, Execute)
    assert [found.event_id for found in step.calls] == ids


def test_calls_that_must_not_run_are_answered_first() -> None:
    book, ids = calling("bash", "grep")
    step = after(book)
    assert isinstance(step, Answer)
    assert [found.event_id for found in step.calls] == [ids[1]]


def test_allowed_calls_do_not_wait_for_those_that_need_approval() -> None:
    book, ids = calling("write", "bash", "look")
    step = after(book)
    assert isinstance(step, Execute)
    assert [found.event_id for found in step.calls] == [ids[1]]


def test_it_waits_for_the_client_when_nothing_else_is_left() -> None:
    book, ids = calling("write", "look")
    assert after(book) == Park(tuple(ids))
    book.rests(*ids)
    assert after(book, "user.message") == Rest()


def test_a_partial_answer_makes_it_wait_for_the_rest() -> None:
    book, ids = calling("write", "look")
    book.rests(*ids)
    book.answers(ids[1])
    assert after(book) == Park((ids[0],))


@pytest.mark.parametrize("settle", [LogBook.allows, LogBook.denies])
def test_approved_and_denied_calls_wait_until_all_are_settled(settle: Callable[[LogBook, str], str]) -> None:
    book, ids = calling("write", "write")
    settle(book, ids[0])
    assert after(book) == Park((ids[1],))
    book.allows(ids[1])
    assert isinstance(after(book), Execute | Answer)


def test_denied_calls_are_answered_before_the_approved_ones_run() -> None:
    book, ids = calling("write", "write")
    book.allows(ids[0])
    book.denies(ids[1])
    step = after(book)
    assert isinstance(step, Answer)
    assert [found.event_id for found in step.calls] == [ids[1]]
    book.results(ids[1], is_error=True)
    assert isinstance(after(book), Execute)


def test_what_a_worker_runs_is_waited_for_and_not_executed() -> None:
    book, ids = calling("bash", "look", self_hosted=True)
    assert after(book) == Park(tuple(ids))
    book.worker_results(ids[0])
    assert after(book) == Park((ids[1],))
    book.answers(ids[1])
    assert after(book) == Ask(())


def test_an_approved_call_of_a_worker_still_waits_for_its_result() -> None:
    book, ids = calling("write", self_hosted=True)
    book.rests(*ids)
    book.allows(ids[0])
    assert after(book) == Rest()
    book.worker_results(ids[0])
    assert after(book) == Ask(())


def test_a_call_that_no_worker_may_run_is_answered_here() -> None:
    book, ids = calling("bash", "grep", self_hosted=True)
    step = after(book)
    assert isinstance(step, Answer)
    assert [found.event_id for found in step.calls] == [ids[1]]


def test_a_worker_s_call_that_the_user_denies_is_answered_here() -> None:
    book, ids = calling("write", self_hosted=True)
    book.denies(ids[0])
    assert isinstance(after(book), Answer)


def test_the_model_is_asked_when_all_calls_are_answered() -> None:
    book, ids = calling("bash")
    book.results(ids[0])
    assert after(book) == Ask(())


def test_it_waits_for_the_time_of_the_next_try_also_when_a_message_comes() -> None:
    until = timestamp(START + timedelta(seconds=60))
    book = opening()
    book.breaks_off()
    book.fails("retrying", retry_at=until)
    book.reschedules()
    assert after(book, "user.message", at_s=59) == BackOff(until)
    assert isinstance(after(book, "user.message", at_s=60), Ask)


def test_an_interrupt_does_not_wait_for_the_next_try() -> None:
    book = opening()
    book.breaks_off()
    book.fails("retrying", retry_at=timestamp(START + timedelta(seconds=60)))
    book.reschedules()
    assert isinstance(after(book, "user.interrupt"), Interrupt)


def test_too_many_rounds_end_the_turn() -> None:
    book, ids = calling("bash")
    book.results(ids[0])
    book.asks()
    (used,) = book.replies(call("t9", "bash"), stop_reason="tool_use")
    assert isinstance(after(book), Execute)
    book.results(used)
    step = after(book)
    assert isinstance(step, GiveUp)
    assert step.error == "tool_use_limit_reached_error"


def test_too_many_calls_cut_off_in_a_row_end_the_turn() -> None:
    book = opening()
    book.replies(call("t1", "write", content="x"), stop_reason="max_tokens", cut=True)
    assert after(book) == Ask(())
    book.asks()
    book.replies(call("t2", "write", content="x"), stop_reason="max_tokens", cut=True)
    step = after(book)
    assert isinstance(step, GiveUp)
    assert step.error == "model_request_failed_error"


def test_a_terminated_session_does_nothing() -> None:
    book = opening()
    book.terminates()
    assert after(book, "user.message", "user.interrupt") == Rest()

"""Hints and previews: they reach whoever listens at that moment, pile up as one, and never grow without bound."""

from __future__ import annotations

import asyncio

from roost.store.protocols import Store

FLOOD = 100_000


class TestBus:
    async def test_a_hint_reaches_those_who_listen_to_its_topic(self, store: Store) -> None:
        async with store.bus.subscribe("a", "b") as both, store.bus.subscribe("c") as other:
            store.bus.publish("b")
            assert await both.wait(10)
            assert not await other.wait(0)

    async def test_a_hint_from_before_the_wait_is_not_missed(self, store: Store) -> None:
        async with store.bus.subscribe("a") as subscription:
            store.bus.publish("a")
            assert await subscription.wait()

    async def test_a_hint_ends_a_wait_that_has_begun(self, store: Store) -> None:
        async with store.bus.subscribe("a") as subscription:

            async def hint() -> None:
                store.bus.publish("a")

            came, _ = await asyncio.gather(subscription.wait(10), hint())
            assert came

    async def test_many_hints_are_one(self, store: Store) -> None:
        async with store.bus.subscribe("a", "b") as subscription:
            for topic in "abab":
                store.bus.publish(topic)
            assert await subscription.wait(10)
            assert not await subscription.wait(0)
            assert subscription.take() == []

    async def test_payloads_come_once_and_in_order(self, store: Store) -> None:
        async with store.bus.subscribe("a") as subscription:
            store.bus.publish("a", b"1")
            store.bus.publish("a")
            store.bus.publish("a", b"2")
            assert await subscription.wait(10)
            assert subscription.take() == [b"1", b"2"]
            assert subscription.take() == []

    async def test_a_slow_reader_loses_the_oldest_payloads_and_nobody_else_does(self, store: Store) -> None:
        async with store.bus.subscribe("a") as slow, store.bus.subscribe("a") as quick:
            seen = []
            for n in range(FLOOD):
                store.bus.publish("a", b"%d" % n)
                seen += quick.take()
            assert len(seen) == FLOOD
            kept = slow.take()
            assert 0 < len(kept) < FLOOD // 10
            assert kept == [b"%d" % n for n in range(FLOOD - len(kept), FLOOD)]

    async def test_who_has_left_is_not_listening(self, store: Store) -> None:
        assert not store.bus.listened("a")
        async with store.bus.subscribe("a"):
            async with store.bus.subscribe("a", "b"):
                assert store.bus.listened("b")
            assert store.bus.listened("a")
            assert not store.bus.listened("b")
        assert not store.bus.listened("a")
        store.bus.publish("a", b"to nobody")

"""The embedded store does what every store must do."""

from __future__ import annotations

from roost.store.conformance import (
    TestBlobs,
    TestBus,
    TestCommit,
    TestEgress,
    TestInputs,
    TestKeys,
    TestLog,
    TestObjects,
    TestQueue,
    TestSessions,
    TestWork,
)
from roost.store.protocols import Store
from roost.store.sqlite import SqliteStore

__all__ = [
    "TestBlobs",
    "TestBus",
    "TestCommit",
    "TestEgress",
    "TestInputs",
    "TestKeys",
    "TestLog",
    "TestObjects",
    "TestQueue",
    "TestSessions",
    "TestWork",
]


async def test_the_embedded_store_is_a_store(store: SqliteStore) -> None:
    """Checked by the type checker: every protocol's methods, with their types."""
    a_store: Store = store
    assert a_store.bus.listened("nothing") is False

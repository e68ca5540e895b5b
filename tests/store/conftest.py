"""A fresh embedded store for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roost.core.clock import SystemClock
from roost.store.sqlite import SqliteStore

pytest.register_assert_rewrite("roost.store.conformance")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "data", SystemClock())
    yield opened
    await opened.close()
